"""The client for asyncio: makes calls and drives deliveries on an event loop."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from eventbridge_partner import models
from eventbridge_partner._clock import monotonic
from eventbridge_partner.client._async_input import Intake
from eventbridge_partner.client._base import BaseClient, line_of
from eventbridge_partner.client._boto3_shape import (
    PutPartnerEventsResponse,
    read_entries,
    to_response,
)
from eventbridge_partner.client._probe import check_seconds, late
from eventbridge_partner.delivery.actions import Finished, Send, Take, Wait
from eventbridge_partner.delivery.entries import Batch
from eventbridge_partner.delivery.given import (
    InputError,
    cancelled_call,
    check_deadline,
    interrupted_call,
    refuse_single,
)
from eventbridge_partner.delivery.machine import Delivery
from eventbridge_partner.errors import CredentialsError, PartnerEventsError
from eventbridge_partner.line._asyncio import AsyncLine
from eventbridge_partner.line._flight import Flight
from eventbridge_partner.line._off_loop import OffLoop
from eventbridge_partner.line._setup import Setup
from eventbridge_partner.line._undelivered import warn_of
from eventbridge_partner.models import DeliveryReport, GivenEvent, Outcome
from eventbridge_partner.transports import Answer, AsyncTransport
from eventbridge_partner.wire.calls import put_partner_events

if TYPE_CHECKING:
    from eventbridge_partner.line._witness import Account
    from eventbridge_partner.sources._asyncio import AsyncSources

_LONGEST_WAIT: Final = 3600.0
"""A longer wait is split into several: a deadline may be infinite, but no wait accepts that."""

_LONGEST_HOLD: Final = 0.01
"""How many seconds to work at a time before letting other tasks of the loop run."""


class AsyncPartnerEventsClient(BaseClient[AsyncTransport, AsyncLine, "AsyncSources"]):
    """
    Sends partner events to Amazon EventBridge, on an asyncio event loop.

    Make one and keep it, so that connections and credentials are reused. Any number of tasks can
    share it; it works in several event loops and on both sides of a fork. Settings that are not
    given are looked up at the first use, on a thread: making a client is cheap and reads no file,
    and nothing blocks the loop.
    """

    _off_loop: OffLoop

    def _make_sources(self, setup: Setup) -> AsyncSources:
        from eventbridge_partner.sources._asyncio import AsyncSources

        return AsyncSources(self._here, pace=setup.sources_pace, tokens=setup.retry.tokens)

    def _open_line(self) -> AsyncLine:
        return AsyncLine.open(self._setup, off_loop=self._off_loop)

    async def look_up(self, *, credentials: bool = False) -> Self:
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
        line = await self._here()
        if credentials:
            await line.frozen()
        return self

    async def readiness(self, *, timeout: float = 1.0) -> models.Readiness:  # noqa: ASYNC109  # as the other client
        """
        Tell whether it could send now: there are settings and credentials. It sends nothing.

        For a readiness probe, which may ask each second; see the how-to "Probe readiness".

        Args:
            timeout: Seconds to wait for look-ups; slower ones continue in the background.

        Raises:
            TypeError: `timeout` is no number.
            ValueError: It is not above 0.
        """
        check_seconds(timeout=timeout)
        return models.Readiness(await reasons_within(self.look_up(credentials=True), timeout))

    # ------------------------------------------------------------ sending

    async def put_events(
        self,
        events: Iterable[GivenEvent] | AsyncIterable[GivenEvent],
        *,
        deadline: float | None = None,
    ) -> DeliveryReport:
        """
        Send events, and retry transient failures.

        Args:
            events: Any number of `PartnerEvent`, or of mappings with an entry's member names;
                sent in batches of at most 20. An invalid mapping gets the outcome `Rejected`, and
                the other events are sent. If the next event may take a while to come, use an
                asynchronous iterable: sending goes on meanwhile.
            deadline: Seconds for all attempts together; None for no limit. After the deadline,
                the rest of `events` is read, but not sent.

        Returns:
            One outcome per event, in the order given. Failures are in the report, not raised.

        Raises:
            ConfigurationError: There is no Region, or a setting is invalid. Nothing was sent.
            CredentialsError: There are no usable AWS credentials. Nothing was sent.
            InputInterruptedError: `events` raised. The events read before that were sent, and
                `report` holds their outcomes.
            asyncio.CancelledError: The task was cancelled. Its cause is a `CallCancelledError`,
                whose `report` holds the outcomes of the events read so far.
        """
        check_deadline(deadline)
        refuse_single(events)
        outcomes: list[Outcome] = []
        call: _Call | None = None
        try:
            call = await self._begin(events, deadline, streams=False)
            while (decided := await call.decided()) is not None:
                outcomes += decided
        except InputError as error:
            raise error.interrupted(len(outcomes), outcomes) from error.__cause__
        except asyncio.CancelledError as cancelled:
            if call is not None:
                outcomes += await call.cancelled()
            raise cancelled from cancelled_call(outcomes)
        except BaseException as error:
            if call is None:
                raise
            outcomes += call.interrupted()
            raise error from interrupted_call(outcomes)
        finally:
            if call is not None:
                call.tell(outcomes)
                await call.close()
        return DeliveryReport(outcomes)

    def stream_events(
        self,
        events: Iterable[GivenEvent] | AsyncIterable[GivenEvent],
        *,
        deadline: float | None = None,
    ) -> AsyncGenerator[Outcome, None]:
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
            for events in flight; `contextlib.aclosing` ends the requests at once.

        Raises:
            ConfigurationError: There is no Region, or a setting is invalid. Nothing was sent.
            CredentialsError: There are no usable AWS credentials. Nothing was sent.
            InputInterruptedError: `events` raised. It comes after the outcomes of all events read
                before that; its own report is empty.
            asyncio.CancelledError: The task was cancelled while it waited for an outcome. Its
                cause is a `CallCancelledError`, whose `report` holds the outcomes that had not
                been yielded.
        """
        check_deadline(deadline)
        refuse_single(events)
        return self._stream(events, deadline)

    async def _stream(
        self,
        events: Iterable[GivenEvent] | AsyncIterable[GivenEvent],
        deadline: float | None,
    ) -> AsyncGenerator[Outcome, None]:
        count = 0
        call: _Call | None = None
        try:
            call = await self._begin(events, deadline, streams=True)
            while (decided := await call.decided()) is not None:
                call.tell(decided)
                for outcome in decided:
                    yield outcome
                count += len(decided)
        except InputError as error:
            raise error.interrupted(count, ()) from error.__cause__
        except asyncio.CancelledError as cancelled:
            outcomes: list[Outcome] = []
            if call is not None:
                outcomes = await call.cancelled()
                call.tell(outcomes)
            raise cancelled from cancelled_call(outcomes)
        except GeneratorExit:
            raise
        except BaseException as error:
            if call is None:
                raise
            left = call.interrupted()
            call.tell(left)
            raise error from interrupted_call(left)
        finally:
            if call is not None:
                await call.close()

    async def put_partner_events(
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
        line = await self._here()
        call = put_partner_events(read_entries(Entries, line.settings.limits))
        return to_response(*await line.exchange(call))

    async def _begin(
        self,
        events: Iterable[GivenEvent] | AsyncIterable[GivenEvent],
        deadline: float | None,
        *,
        streams: bool,
    ) -> _Call:
        source = events if isinstance(events, AsyncIterable) else iter(events)
        line = await self._here()
        await line.frozen()  # before reading an event, so that none is lost
        if deadline is not None:
            deadline += monotonic()
        settings = line.stream_settings if streams else line.settings
        delivery = Delivery(settings, line.quota, pace=line.pace, deadline=deadline)
        account = line.account("stream_events" if streams else "put_events")
        return _Call(line, delivery, source, deadline, account)

    # ------------------------------------------------------------ life

    async def _here(self) -> AsyncLine:
        """Return the line of this process, opened on a thread at the first use in it."""
        if self._line is None:
            await self._off_loop.run(self._enter)
        return self._enter()

    def _forget_process(self) -> None:
        super()._forget_process()
        self._off_loop = OffLoop()

    async def close(self) -> None:
        """
        Close the connections of the running loop, except those of a `transport` that was given.

        Using the client again opens new ones. Its siblings in other Regions are closed too.
        """
        for sibling in tuple(self._siblings.values()):
            await sibling.close()
        self._off_loop.stop()
        if self._line is not None:
            await self._line.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


async def async_line_of(client: AsyncPartnerEventsClient) -> AsyncLine:
    """
    Return a client's line in this process, for code with its own sending loop.

    Raises:
        ConfigurationError: There is no Region, or a setting is invalid.
    """
    await client.look_up()
    return line_of(client)


class _Call:
    """A call of `put_events` or `stream_events` in progress. For one task."""

    def __init__(
        self,
        line: AsyncLine,
        delivery: Delivery,
        events: Iterator[GivenEvent] | AsyncIterable[GivenEvent],
        deadline: float | None,
        account: Account | None,
    ) -> None:
        self._account = account
        self._line = line
        self._delivery = delivery
        self._deadline = deadline
        self._flights = line.open_flights()
        self._answers: deque[tuple[Flight, Answer]] = deque()
        self._input_error: Exception | None = None
        self._intake: Intake | None = None
        self._iterator: Iterator[GivenEvent] = iter(())
        self._had_turns_at = monotonic()
        if isinstance(events, AsyncIterable):
            self._intake = Intake(aiter(events), delivery, self._flights.wake)
        else:
            self._iterator = events

    async def decided(self) -> list[Outcome] | None:
        """
        Drive the delivery until there are outcomes, and return them; None after the last.

        Raises:
            InputError: The iterable raised, and all events read before that have outcomes.
        """
        delivery, intake = self._delivery, self._intake
        while True:
            now = monotonic()
            if now - self._had_turns_at > _LONGEST_HOLD:
                await asyncio.sleep(0)
                self._had_turns_at = now = monotonic()
            pauses = intake is not None and intake.pauses
            match delivery.next_action(now, input_pauses=pauses):
                case Send(batch):
                    await self._send(batch)
                case Take(count):
                    if decided := delivery.outcomes():
                        return decided
                    if intake is None:
                        self._take(count)
                    elif pauses:
                        await self._receive(None)
                    else:
                        intake.want(count)
                        # Events that are ready are taken in this one turn of the loop.
                        await asyncio.sleep(0)
                case Wait(until):
                    await self._receive(None if until is None else until - now)
                    if decided := delivery.outcomes():
                        return decided
                case Finished.FINISHED:
                    if decided := delivery.outcomes():
                        return decided
                    error = self._input_error if intake is None else intake.error
                    if error is not None:
                        raise InputError(error) from error
                    return None

    async def _send(self, batch: Batch) -> None:
        timeouts = self._line.timeouts
        if self._deadline is not None:
            timeouts = timeouts.within(self._deadline - monotonic())
        try:
            await self._line.submit(self._flights, batch, timeouts, self._account)
        except CredentialsError as error:
            self._delivery.not_sent(batch, error, monotonic())

    def _take(self, count: int) -> None:
        try:
            taken = self._delivery.take_all(itertools.islice(self._iterator, count))
        except Exception as error:  # noqa: BLE001  # the caller's iterable can raise anything
            self._input_error = error
            taken = 0
        if taken < count:
            self._delivery.no_more_events()

    async def _receive(self, seconds: float | None) -> None:
        if seconds is not None:
            seconds = min(max(0.0, seconds), _LONGEST_WAIT)
        answers = self._answers
        answers += await self._flights.collect(seconds)
        self._had_turns_at = monotonic()
        while answers:
            flight, answer = answers[0]
            await self._line.land(flight, answer, self._delivery)
            answers.popleft()
        if self._intake is not None and self._intake.was_cancelled:
            raise asyncio.CancelledError

    async def cancelled(self) -> list[Outcome]:
        """End now, and return the outcomes that were not yet returned."""
        self._answers += await self._flights.collect(0.0)
        self._line.land_last(self._answers, self._delivery)
        await self._stop()
        self._delivery.cancel()
        return self._delivery.outcomes()

    def interrupted(self) -> list[Outcome]:
        """End now without waiting, and return the outcomes that were not yet returned."""
        self._delivery.cancel()
        return self._delivery.outcomes()

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Tell the observer, if there is one, about outcomes."""
        warn_of(outcomes)
        if self._account is not None:
            self._account.decided(outcomes)

    async def close(self) -> None:
        """End everything that is still in progress, and tell the observer that the call is over."""
        try:
            await self._stop()
        finally:
            self._line.bugs.log()
            if self._account is not None:
                self._account.ended(self._deadline)

    async def _stop(self) -> None:
        try:
            await self._flights.close()
        finally:
            if self._intake is not None:
                await self._intake.close()


async def reasons_within(looking_up: Awaitable[object], seconds: float) -> tuple[str, ...]:
    """Return why nothing can be sent; await the look-up for so long."""
    try:
        async with asyncio.timeout(seconds):
            await looking_up
    except TimeoutError:
        return (late(seconds),)
    except PartnerEventsError as error:
        return (str(error),)
    return ()
