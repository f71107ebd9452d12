"""The client: makes calls and drives deliveries."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from eventbridge_partner import models
from eventbridge_partner._clock import monotonic
from eventbridge_partner._signals import let_pass
from eventbridge_partner.client._base import BaseClient
from eventbridge_partner.client._boto3_shape import (
    PutPartnerEventsResponse,
    read_entries,
    to_response,
)
from eventbridge_partner.delivery.actions import Finished, Send, Take, Wait
from eventbridge_partner.delivery.entries import Batch
from eventbridge_partner.delivery.given import (
    InputError,
    check_deadline,
    interrupted_call,
    refuse_single,
)
from eventbridge_partner.delivery.machine import Delivery
from eventbridge_partner.errors import CredentialsError
from eventbridge_partner.line._blocking import Line
from eventbridge_partner.line._flight import Flight
from eventbridge_partner.line._setup import Setup
from eventbridge_partner.line._undelivered import warn_of
from eventbridge_partner.models import DeliveryReport, GivenEvent, Outcome
from eventbridge_partner.transports import Answer, Transport
from eventbridge_partner.transports.flights import WorkerThreads
from eventbridge_partner.wire.calls import put_partner_events

if TYPE_CHECKING:
    from eventbridge_partner.client._probe import Probe
    from eventbridge_partner.line._witness import Account
    from eventbridge_partner.sources import Sources

_LONGEST_WAIT: Final = 3600.0
"""A longer wait is split into several: a deadline may be infinite, but no wait accepts that."""


_PROMPT_SECONDS: Final = 0.001
"""An iterable that yields within this time does not delay reading answers."""


class PartnerEventsClient(BaseClient[Transport, Line, "Sources"]):
    """
    Sends partner events to Amazon EventBridge.

    Thread-safe, and safe on both sides of a fork. Make one and keep it, so that connections and
    credentials are reused. Settings that are not given are looked up at the first use: making a
    client is cheap and reads no file.
    """

    _probe: Probe | None

    def _make_sources(self, setup: Setup) -> Sources:
        from eventbridge_partner.sources import Sources

        return Sources(self._enter, pace=setup.sources_pace, tokens=setup.retry.tokens)

    def _open_line(self) -> Line:
        return Line.open(self._setup, workers=WorkerThreads())

    def look_up(self, *, credentials: bool = False) -> Self:
        """
        Look up now what the first call would look up: Region, endpoint and settings.

        Args:
            credentials: Whether to look up credentials too, which may use the network. It does
                not check whether the service accepts them.

        Returns:
            This client.

        Raises:
            ConfigurationError: There is no Region, or a setting is invalid.
            CredentialsError: `credentials` is true, and there are no usable AWS credentials.
        """
        line = self._enter()
        if credentials:
            line.credentials.frozen()
        return self

    def readiness(self, *, timeout: float = 1.0) -> models.Readiness:
        """
        Tell whether it could send now: there are settings and credentials. It sends nothing.

        For a readiness probe, which may ask each second; see the how-to "Probe readiness".

        Args:
            timeout: Seconds to wait for look-ups; slower ones continue in the background.

        Raises:
            TypeError: `timeout` is no number.
            ValueError: It is not above 0.
        """
        from eventbridge_partner.client._probe import Probe, check_seconds, reasons_now

        check_seconds(timeout=timeout)
        if self._line is not None and not self._line.credentials.may_block():
            return models.Readiness(reasons_now(self._line.credentials.frozen))
        if self._probe is None:
            self._probe = Probe()
        return models.Readiness(self._probe.reasons(self._look_up_all, timeout))

    def _look_up_all(self) -> None:
        self.look_up(credentials=True)

    def _forget_process(self) -> None:
        super()._forget_process()
        self._probe = None

    # ------------------------------------------------------------ sending

    def put_events(
        self, events: Iterable[GivenEvent], *, deadline: float | None = None
    ) -> DeliveryReport:
        """
        Send events, and retry transient failures.

        Args:
            events: Any number of `PartnerEvent`, or of mappings with an entry's member names;
                sent in batches of at most 20. An invalid mapping gets the outcome `Rejected`, and
                the other events are sent.
            deadline: Seconds for all attempts together; None for no limit. It is not checked
                while the call waits for `events` to yield the next one.

        Returns:
            One outcome per event, in the order given. Failures are in the report, not raised.

        Raises:
            ConfigurationError: There is no Region, or a setting is invalid. Nothing was sent.
            CredentialsError: There are no usable AWS credentials. Nothing was sent.
            InputInterruptedError: `events` raised. The events read before that were sent, and
                `report` holds their outcomes.
        """
        check_deadline(deadline)
        outcomes: list[Outcome] = []
        # Lists and tuples yield the next event at once; other iterables may take a while.
        pauses = not isinstance(events, (list, tuple))
        call = self._begin(events, deadline, pauses=pauses)
        try:
            for decided in call.decided():
                outcomes += decided
        except InputError as error:
            raise error.interrupted(len(outcomes), outcomes) from error.__cause__
        except BaseException as error:
            outcomes += call.interrupted()
            raise error from interrupted_call(outcomes)
        finally:
            call.tell(outcomes)
            call.close()
        return DeliveryReport(outcomes)

    def stream_events(
        self, events: Iterable[GivenEvent], *, deadline: float | None = None
    ) -> Iterator[Outcome]:
        """
        Send any number of events, even endless, in bounded memory.

        Events are read as outcomes are taken. At most about 10,000 events, or 16 MiB of them, are
        held at a time.

        Args:
            events: As for `put_events`, of any length.
            deadline: Seconds for all attempts together, counted from the request for the first
                outcome; None for no limit. After the deadline, the rest of `events` is read, but
                not sent.

        Yields:
            One outcome per event, in the order given. If you stop iterating, you get no outcome
            for events in flight.

        Raises:
            ConfigurationError: There is no Region, or a setting is invalid. Nothing was sent.
            CredentialsError: There are no usable AWS credentials. Nothing was sent.
            InputInterruptedError: `events` raised. It comes after the outcomes of all events read
                before that; its own report is empty.
        """
        check_deadline(deadline)
        self._enter()
        return self._stream(events, deadline)

    def _stream(self, events: Iterable[GivenEvent], deadline: float | None) -> Iterator[Outcome]:
        count = 0
        call = self._begin(events, deadline, pauses=True, streams=True)
        try:
            for decided in call.decided():
                call.tell(decided)
                yield from decided
                count += len(decided)
        except InputError as error:
            raise error.interrupted(count, ()) from error.__cause__
        except GeneratorExit:
            raise
        except BaseException as error:
            left = call.interrupted()
            call.tell(left)
            raise error from interrupted_call(left)
        finally:
            call.close()

    def put_partner_events(
        self, *, Entries: Sequence[Mapping[str, Any]]
    ) -> PutPartnerEventsResponse:
        """
        Call PutPartnerEvents once, like boto3's method of the same name.

        It sends one request and never retries, and entries can fail although the call succeeds.
        `put_events` handles both.

        Args:
            Entries: 1 to 20 mappings with `Source`, `DetailType` and `Detail`, and optionally
                `Resources` and `Time`.

        Returns:
            `FailedEntryCount`, `Entries` with one result for each entry, in their order, and
            `ResponseMetadata`.

        Raises:
            InvalidEventError: An entry breaks a limit, or there are too many. Nothing was sent.
            CredentialsError: There are no usable AWS credentials. Nothing was sent.
            ServiceError: The service refused the request.
            TransportError: There was no answer; see its `may_have_been_sent`.
            UnreadableAnswerError: The answer does not say what happened to the entries.
        """
        line = self._enter()
        call = put_partner_events(read_entries(Entries, line.settings.limits))
        return to_response(*line.exchange(call))

    def _begin(
        self,
        events: Iterable[GivenEvent],
        deadline: float | None,
        *,
        pauses: bool,
        streams: bool = False,
    ) -> _Call:
        refuse_single(events)
        iterator = iter(events)
        line = self._enter()
        line.credentials.frozen()  # before reading an event, so that none is lost
        if deadline is not None:
            deadline += monotonic()
        settings = line.stream_settings if streams else line.settings
        delivery = Delivery(settings, line.quota, pace=line.pace, deadline=deadline)
        account = line.account("stream_events" if streams else "put_events")
        return _Call(line, delivery, iterator, deadline, account, pauses=pauses)

    # ------------------------------------------------------------ life

    def close(self) -> None:
        """
        Close the connections, except those of a `transport` that was given.

        Using the client again opens new ones. Its siblings in other Regions are closed too.
        """
        for sibling in tuple(self._siblings.values()):
            sibling.close()
        if self._line is not None:
            self._line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Call:
    """A call of `put_events` or `stream_events` in progress. For one thread."""

    def __init__(
        self,
        line: Line,
        delivery: Delivery,
        events: Iterator[GivenEvent],
        deadline: float | None,
        account: Account | None,
        *,
        pauses: bool,
    ) -> None:
        self._account = account
        self._line = line
        self._delivery = delivery
        self._events = events
        self._deadline = deadline
        self._pauses = pauses
        self._flights = line.open_flights()
        self._answers: deque[tuple[Flight, Answer]] = deque()
        self._input_error: Exception | None = None

    def decided(self) -> Iterator[list[Outcome]]:
        """
        Drive the delivery to its end, and yield outcomes as they are decided.

        Raises:
            InputError: The iterable raised, and all events read before that have outcomes.
        """
        delivery, flights, pauses = self._delivery, self._flights, self._pauses
        looked_at = now = monotonic()
        while True:
            match delivery.next_action(now):
                case Send(batch):
                    self._send(batch)
                case Take(count):
                    if pauses:
                        flights.flush()
                        if now - looked_at > _PROMPT_SECONDS:
                            self._receive(0.0)
                            flights.flush()
                            looked_at = now
                    if decided := delivery.outcomes():
                        yield decided
                    self._take(count)
                    if pauses and monotonic() - now > _PROMPT_SECONDS:
                        # Answers that came meanwhile are in time.
                        self._receive(0.0)
                case Wait(until):
                    seconds = None if until is None else min(max(0.0, until - now), _LONGEST_WAIT)
                    self._receive(seconds)
                    if decided := delivery.outcomes():
                        yield decided
                case Finished.FINISHED:
                    break
            now = monotonic()
        yield delivery.outcomes()
        if self._input_error is not None:
            raise InputError(self._input_error) from self._input_error

    def _send(self, batch: Batch) -> None:
        timeouts = self._line.timeouts
        if self._deadline is not None:
            timeouts = timeouts.within(self._deadline - monotonic())
        try:
            self._line.submit(self._flights, batch, timeouts, self._account)
        except CredentialsError as error:
            self._delivery.not_sent(batch, error, monotonic())

    def _take(self, count: int) -> None:
        try:
            taken = self._delivery.take_all(itertools.islice(self._events, count))
        except Exception as error:  # noqa: BLE001  # the caller's iterable can raise anything
            let_pass(error)
            self._input_error = error
            taken = 0
        if taken < count:
            self._delivery.no_more_events()

    def _receive(self, seconds: float | None) -> None:
        answers = self._answers
        answers += self._flights.collect(seconds)
        while answers:
            flight, answer = answers[0]
            self._line.land(flight, answer, self._delivery)
            answers.popleft()

    def interrupted(self) -> list[Outcome]:
        """End now, and return the outcomes that were not yet handed out."""
        delivery = self._delivery
        if (batch := self._line.withdraw(self._flights)) is not None:
            delivery.withdrawn(batch)
        self._line.land_last(self._answers, delivery)
        delivery.cancel()
        return delivery.outcomes()

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Log events that were not accepted, and tell the observer, if there is one."""
        warn_of(outcomes)
        if self._account is not None:
            self._account.decided(outcomes)

    def close(self) -> None:
        """End everything that is still in progress."""
        self._flights.close()
        self._line.bugs.log()
        if self._account is not None:
            self._account.ended(self._deadline)
