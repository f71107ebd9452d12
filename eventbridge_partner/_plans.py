"""
Plans: generators that say what to do next, and are told how it went. They do no I/O.

`Running` keeps a plan between two steps, so that a driver is a loop over a `match`. What sends
single requests yields these steps:

    Perform(call)   send one request: go on with its value, or throw its error into the plan
    Sleep(seconds)  wait
    Give(items)     hand these to whoever iterates
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
        call: What is in it.
        attempt: How often it was sent, this time included.
        seconds: How long it may take; None if nothing but the client's time-outs bounds it.
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
    """Hand items to whoever iterates."""

    items: tuple[Any, ...]


Step = Perform | Sleep | Give
Operation = Generator[Step, Any, T]


@attrs.frozen
class Control:
    """
    What all operations of a client share.

    Attributes:
        judge: Says when to try again.
        quota: How many retries there may still be.
        pace: How many requests a second.
        clock: Tells seconds, from any beginning.
    """

    judge: Judge
    quota: RetryQuota
    pace: Pace
    clock: Callable[[], float]


Plan = Callable[[Control], Operation[T]]
"""An operation whose arguments have been checked."""


class Running(Generic[S, T]):
    """
    A plan under way.

    Attributes:
        step: What to do next; None if it is done.
        result: Of a plan that is done.
    """

    result: T

    def __init__(self, plan: Generator[S, Any, T]) -> None:
        self._plan = plan
        self.step: S | None = None
        self.go_on()

    def go_on(self, value: object = None) -> None:
        """Say that the step was done, and with what result."""
        try:
            self.step = self._plan.send(value)
        except StopIteration as end:
            self._end(end.value)

    def fail(self, error: Exception) -> None:
        """Say that the step failed. Raises what the plan makes of it."""
        try:
            self.step = self._plan.throw(error)
        except StopIteration as end:
            self._end(end.value)

    def _end(self, result: T) -> None:
        self.step, self.result = None, result


_RETRIED: Final = frozenset({Verdict.TRANSIENT, Verdict.THROTTLED, Verdict.UNKNOWN})


def perform(control: Control, call: Call[T], deadline: float | None = None) -> Operation[T]:
    """
    Send a request, at the pace of all of them, and retry transient failures.

    Args:
        control: What it shares with others.
        call: What is sent.
        deadline: When to give up, on the control's clock.

    Raises:
        PartnerEventsError: What the last attempt came to. It may have been sent if any attempt
            may have been.
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
        """Take the next turn, and return how long to wait for it."""
        control = self._control
        now = control.clock()
        # The turn is taken now, so that of many that wait each has its own.
        self._sent_at = max(now, control.pace.ready_at())
        if self._deadline is not None and self._sent_at >= self._deadline:
            raise self._error or TransportError("no turn came in time", may_have_been_sent=False)
        control.pace.sent(self._sent_at)
        self.made += 1
        self._waited += self._sent_at - now
        return self._sent_at - now

    def seconds_left(self) -> float | None:
        """Return how long the request may take."""
        return None if self._deadline is None else self._deadline - self._control.clock()

    def succeeded(self) -> None:
        """Give back what was taken for trying again."""
        self._control.pace.accepted(self._sent_at)
        self._control.quota.give_back(self._tokens or 1.0)

    def failed(self, error: PartnerEventsError) -> float:
        """Return how long to wait before the next attempt; raise the error if there is none."""
        control = self._control
        now = control.clock()
        self._may_have_been_sent |= error.may_have_been_sent
        # The last attempt may have been refused; that says nothing of those before it.
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
