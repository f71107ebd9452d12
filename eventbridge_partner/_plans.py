"""
Plans: generators that yield the next step and receive its result. They do no I/O.

`Running` keeps a plan between two steps, so that a driver is a loop over a `match`. Plans that
send single requests yield these steps:

    Perform(call)   send one request: pass on its value, or throw its error into the plan
    Sleep(seconds)  wait
    Give(items)     hand these to the iterating caller
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final, Generic, TypeVar

import attrs

from eventbridge_partner.delivery.judging import Judge
from eventbridge_partner.errors import (
    ConfigurationError,
    CredentialsError,
    PartnerEventsError,
    TransportError,
)
from eventbridge_partner.pacing import Pace
from eventbridge_partner.retry import RetryQuota, Verdict
from eventbridge_partner.wire.calls import Call

S = TypeVar("S")
T = TypeVar("T")


@attrs.frozen
class Perform:
    """
    Send one request.

    Attributes:
        call: The request's content.
        attempt: The number of this attempt, from 1.
        seconds: How long it may take; None if only the client's timeouts bound it.
    """

    call: Call[Any]
    attempt: int
    seconds: float | None


@attrs.frozen
class Sleep:
    """Wait."""

    seconds: float


@attrs.frozen
class Give:
    """Hand items to the iterating caller."""

    items: tuple[Any, ...]


Step = Perform | Sleep | Give
Operation = Generator[Step, Any, T]


@attrs.frozen
class Control:
    """
    The state that all operations of a client share.

    Attributes:
        judge: Decides when to retry.
        quota: How many retries are left.
        pace: How many requests a second may go out.
        clock: Returns seconds, from any starting point.
    """

    judge: Judge
    quota: RetryQuota
    pace: Pace
    clock: Callable[[], float]


Plan = Callable[[Control], Operation[T]]
"""An operation whose arguments have been checked."""


class Running(Generic[S, T]):
    """
    A plan in progress.

    Attributes:
        step: What to do next; None if it is done.
        result: The plan's result, once it is done.
    """

    result: T

    def __init__(self, plan: Generator[S, Any, T]) -> None:
        self._plan = plan
        self.step: S | None = None
        self.go_on()

    def go_on(self, value: object = None) -> None:
        """Pass the result of the step to the plan."""
        try:
            self.step = self._plan.send(value)
        except StopIteration as end:
            self._end(end.value)

    def fail(self, error: Exception) -> None:
        """Throw the error of the step into the plan. Raises what the plan does not handle."""
        try:
            self.step = self._plan.throw(error)
        except StopIteration as end:
            self._end(end.value)

    def _end(self, result: T) -> None:
        self.step, self.result = None, result


_RETRIED: Final = frozenset({Verdict.TRANSIENT, Verdict.THROTTLED, Verdict.UNKNOWN})


def perform(control: Control, call: Call[T], deadline: float | None = None) -> Operation[T]:
    """
    Send a request at the shared pace, and retry transient failures.

    Args:
        control: The state that it shares with other operations.
        call: The request's content.
        deadline: When to give up, on the control's clock.

    Raises:
        PartnerEventsError: The last attempt's error. Its `may_have_been_sent` is true if any
            attempt may have been sent.
    """
    attempts = _Attempts(control, deadline)
    while True:
        waiting = attempts.begin()
        if waiting > 0:
            yield Sleep(waiting)
        try:
            value: T = yield Perform(call, attempts.made, attempts.seconds_left())
        except PartnerEventsError as error:
            waiting = attempts.failed(error)
        else:
            attempts.succeeded()
            return value
        if waiting > 0:
            yield Sleep(waiting)


class _Attempts:
    """The attempts of one request."""

    def __init__(self, control: Control, deadline: float | None) -> None:
        self.made = 0
        self._control = control
        self._deadline = deadline
        self._began = control.clock()
        self._sent_at = 0.0
        self._waited = 0.0
        self._tries = 0
        self._tokens = 0.0
        self._had_fresh_start = False
        self._may_have_been_sent = False
        self._error: PartnerEventsError | None = None

    def begin(self) -> float:
        """Reserve the next turn, and return how long to wait for it."""
        control = self._control
        now = control.clock()
        # Reserved now, so that each of several waiting requests has a turn of its own.
        self._sent_at = max(now, control.pace.ready_at())
        if self._deadline is not None and self._sent_at >= self._deadline:
            raise self._error or TransportError(
                "the deadline came before the request's turn", may_have_been_sent=False
            )
        control.pace.sent(self._sent_at)
        self.made += 1
        self._waited += self._sent_at - now
        return self._sent_at - now

    def seconds_left(self) -> float | None:
        """Return how long the request may take."""
        return None if self._deadline is None else self._deadline - self._control.clock()

    def succeeded(self) -> None:
        """Give back the retry tokens."""
        self._control.pace.accepted(self._sent_at)
        self._control.quota.give_back(self._tokens or 1.0)

    def failed(self, error: PartnerEventsError) -> float:
        """Return how long to wait before the next attempt; raise the error if there is none."""
        control = self._control
        now = control.clock()
        self._may_have_been_sent |= error.may_have_been_sent
        # The last attempt may have been refused; that says nothing about earlier ones.
        error.may_have_been_sent = self._may_have_been_sent
        self._error = error
        if isinstance(error, (ConfigurationError, CredentialsError)):
            raise error
        verdict = control.judge.verdict_on_request(error)
        if verdict is Verdict.THROTTLED:
            control.pace.throttled(1.0, self._sent_at, now, in_flight=1)
        if verdict is Verdict.FRESH_START and not self._had_fresh_start:
            self._had_fresh_start = True
            return 0.0
        if verdict not in _RETRIED:
            raise error
        self._tries += 1
        elapsed = now - self._began
        delay = control.judge.delay_after(
            self._tries, verdict, error, elapsed=elapsed, waited=self._waited
        )
        if delay is None or (self._deadline is not None and now + delay >= self._deadline):
            raise error
        tokens = control.quota.take(verdict, 1.0)
        if tokens is None:
            raise error
        self._tokens = tokens
        self._waited += delay
        return delay
