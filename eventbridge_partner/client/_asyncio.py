"""The client for asyncio: performs calls, and drives deliveries on an event loop."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from types import TracebackType
from typing import Any, Final, NoReturn, Self, TypeVar

import attrs

from eventbridge_partner._forks import after_fork, first_use
from eventbridge_partner._http import Timeouts
from eventbridge_partner.aws.credentials import Credentials
from eventbridge_partner.client._async_input import Intake
from eventbridge_partner.client._boto3_shape import (
    PutPartnerEventsResponse,
    read_entries,
    to_response,
)
from eventbridge_partner.delivery.actions import DeliverySettings, Finished, Send, Take, Wait
from eventbridge_partner.delivery.entries import Batch
from eventbridge_partner.delivery.given import InputError, check_deadline, refuse_single
from eventbridge_partner.delivery.machine import Delivery
from eventbridge_partner.errors import (
    CallCancelledError,
    CredentialsError,
    ExpiredCredentialsError,
    PartnerEventsError,
)
from eventbridge_partner.limits import (
    MAX_BATCH_BYTES,
    MAX_ENTRY_BYTES,
    SOURCE_OPERATIONS_PER_SECOND,
)
from eventbridge_partner.line._flight import Flight, after_remedy, new_invocation_id
from eventbridge_partner.line._off_loop import OffLoop
from eventbridge_partner.line._setup import MAX_MULTIPLEXED, LookedUp, Setup, open_transport
from eventbridge_partner.models import DeliveryReport, GivenEvent, Outcome
from eventbridge_partner.pacing import Pace
from eventbridge_partner.retry import RetryPolicy, RetryQuota
from eventbridge_partner.sources._asyncio import AsyncSources
from eventbridge_partner.transports import (
    Answer,
    AsyncFlights,
    AsyncTransport,
    MultiplexingAsyncTransport,
    TransportFactory,
)
from eventbridge_partner.transports.tasks import TaskFlights
from eventbridge_partner.wire import calls
from eventbridge_partner.wire.sigv4 import FrozenCredentials

T = TypeVar("T")

_log: Final = logging.getLogger("eventbridge_partner")

_LONGEST_WAIT: Final = 3600.0
"""A longer wait is one of several: no clock takes infinity, which is a deadline like any other."""

_LONGEST_HOLD: Final = 0.01
"""So many seconds of work at a time; then other tasks of the loop have their turn."""

_KEPT_SECONDS: Final = 1.0
"""
How long credentials are signed with that may have to be waited for.

Handing that to a thread and back costs as much as a request; credentials that change are valid
side by side for far longer.
"""


class AsyncPartnerEventsClient:
    """
    Sends partner events to Amazon EventBridge, on an event loop of asyncio.

    Make one and keep it: its connections and its credentials are worth keeping. Any number of
    tasks can share it; it can be used in several event loops, and on both sides of a fork. What
    is not given is looked up at the first use, on a thread, so making one is cheap and reads no
    file, and nothing holds up the loop.

    Args:
        region: The Region of the customers' partner event sources. Without it, that of a
            `session` that was given one, `AWS_REGION`, then what botocore finds:
            `AWS_DEFAULT_REGION`, the profile.
        endpoint_url: Where to send instead of the Region's endpoint. https, or http on loopback.
        profile: A profile of AWS's config files.
        session: A boto3 or botocore session to take all settings from.
        credentials: What to sign with, instead of what botocore finds: anything with
            `get_frozen_credentials()`, such as botocore's `Credentials`. Those of other classes
            than botocore's are asked on a thread, and kept for a second.
        retry: When to send failed entries again.
        timeout: Seconds that one request may take, for both connecting and reading, or
            `Timeouts` for each. The default is 5 s to connect and 30 s for the answer.
        max_in_flight: Requests of one call in flight at a time, at most. The default is 32.
        max_batch_bytes: Up to what size several entries share a request.
        max_entry_bytes: Events larger than this are refused before sending.
        pace: How many requests a second may go out. Give the same to all clients that send to one
            account and Region, which share a quota. The default has no rate of its own, and
            slows down when the service throttles.
        sources_pace: How many requests a second `sources` may make, which share a quota of their
            own: 50 a second unless you give another one.
        transport: What sends requests, instead of `AiohttpTransport`: a class, made on a thread
            with the certificates and proxies of the configuration, or a transport, which stays
            the caller's to close.

    Raises:
        ConfigurationError: A Region or endpoint is given that cannot work. What is looked up, and
            that no Region is found, is reported by the first call.
    """

    _process: _Process | None
    _off_loop: OffLoop

    def __init__(
        self,
        region: str | None = None,
        *,
        endpoint_url: str | None = None,
        profile: str | None = None,
        session: Any = None,
        credentials: Credentials | None = None,
        retry: RetryPolicy | None = None,
        timeout: float | Timeouts | None = None,
        max_in_flight: int | None = None,
        max_batch_bytes: int = MAX_BATCH_BYTES,
        max_entry_bytes: int = MAX_ENTRY_BYTES,
        pace: Pace | None = None,
        sources_pace: Pace | None = None,
        transport: AsyncTransport | TransportFactory[AsyncTransport] | None = None,
    ) -> None:
        setup = Setup.of(
            region=region,
            endpoint_url=endpoint_url,
            profile=profile,
            session=session,
            credentials=credentials,
            retry=retry,
            timeout=timeout,
            max_in_flight=MAX_MULTIPLEXED if max_in_flight is None else max_in_flight,
            max_batch_bytes=max_batch_bytes,
            max_entry_bytes=max_entry_bytes,
        )
        sources_pace = sources_pace or Pace(SOURCE_OPERATIONS_PER_SECOND)
        self._set_up(setup, transport, pace or Pace(), sources_pace)

    def _set_up(
        self,
        setup: Setup,
        transport: AsyncTransport | TransportFactory[AsyncTransport] | None,
        pace: Pace,
        sources_pace: Pace,
    ) -> None:
        self._setup = setup
        self._given_transport = transport
        self._pace = pace
        self._sources = AsyncSources(self._connect, pace=sources_pace, tokens=setup.retry.tokens)
        self._siblings: dict[str, AsyncPartnerEventsClient] = {}
        self._origin: AsyncPartnerEventsClient | None = None
        self._forget_process()
        after_fork(self, AsyncPartnerEventsClient._leave_parent)

    async def look_up(self) -> Self:
        """
        Look up now what the first call would look up: Region, endpoint and settings.

        Returns:
            This client.

        Raises:
            ConfigurationError: No Region, or a setting that cannot work.
        """
        await self._here()
        return self

    @property
    def region(self) -> str:
        """The Region that events are sent to; looked up, if need be, while the loop waits."""
        return self._enter().looked_up.configuration.region

    @property
    def endpoint_url(self) -> str:
        """The URL that events are sent to; looked up, if need be, while the loop waits."""
        return self._enter().looked_up.configuration.url

    @property
    def sources(self) -> AsyncSources:
        """The partner event sources of the Region: create, find, watch and delete them."""
        return self._sources

    def in_region(self, region: str) -> AsyncPartnerEventsClient:
        """
        Return this client's sibling in another Region: the same one each time.

        A sibling has the same siblings, so that each Region's quotas are kept by one client.

        It shares session, credentials, settings, an `endpoint_url` and a `transport` that were
        given, and what else this client was told. Its connections, its retry quota and its pace
        (of the same limit) are its own, for so are the quotas of its Region. Closing the
        client that was made first closes them all; a sibling can also be closed alone.

        Args:
            region: The code of the Region.

        Raises:
            ConfigurationError: It is none.
        """
        if self._origin is not None:
            return self._origin.in_region(region)
        setup = self._setup.in_region(region)
        if region == self._setup.region:
            return self
        sibling = self._siblings.get(region)
        if sibling is None:
            sibling = object.__new__(type(self))
            sibling._set_up(
                setup, self._given_transport, self._pace.anew(), self._sources.pace.anew()
            )
            sibling._origin = self
            # Of several threads that ask at the same time, all have the first one's.
            sibling = self._siblings.setdefault(region, sibling)
        return sibling

    # ------------------------------------------------------------ sending

    async def put_events(
        self,
        events: Iterable[GivenEvent] | AsyncIterable[GivenEvent],
        *,
        deadline: float | None = None,
    ) -> DeliveryReport:
        """
        Send events, and send again those that failed for a passing reason.

        Args:
            events: Any number of `PartnerEvent` or of mappings with an entry's member names; sent
                in batches of at most 20. A mapping that breaks a limit becomes a `Rejected`
                outcome, and its neighbours go out. Where the next event may have to be waited
                for, an asynchronous iterable: all else goes on meanwhile.
            deadline: Seconds for all attempts together; None for no bound. What is left of
                `events` then is taken, but not sent.

        Returns:
            One outcome per event, in the order given. Failures are in the report, not raised.

        Raises:
            ConfigurationError: No Region, or a setting that cannot work. Nothing was sent.
            CredentialsError: No usable AWS credentials. Nothing was sent.
            InputInterruptedError: `events` raised. What had been taken was sent; `report` has its
                outcomes.
            asyncio.CancelledError: The task was cancelled. Its cause is a `CallCancelledError`,
                whose `report` has the outcomes of what had been taken.
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
            raise cancelled from _cancelled_call(outcomes)
        finally:
            if call is not None:
                await call.close()
        return DeliveryReport(outcomes)

    def stream_events(
        self,
        events: Iterable[GivenEvent] | AsyncIterable[GivenEvent],
        *,
        deadline: float | None = None,
    ) -> AsyncGenerator[Outcome, None]:
        """
        Send events without end, in bounded memory.

        Events are taken as outcomes are: not more than some 10,000 events or 16 MiB of them are
        taken and not handed out again at a time.

        Args:
            events: As for `put_events`, of any length.
            deadline: Seconds for all attempts together, from the first outcome asked for; None for
                no bound. What is left of `events` then is taken, but not sent.

        Yields:
            One outcome per event, in the order given. Whoever stops asking gets no outcome for
            what is in flight then; `contextlib.aclosing` ends that at once.

        Raises:
            ConfigurationError: No Region, or a setting that cannot work. Nothing was sent.
            CredentialsError: No usable AWS credentials. Nothing was sent.
            InputInterruptedError: `events` raised. Raised after the outcomes of all that had been
                taken; its own report is empty.
            asyncio.CancelledError: The task was cancelled while it waited for an outcome. Its
                cause is a `CallCancelledError`, whose `report` has the outcomes that had not been
                handed out.
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
                for outcome in decided:
                    yield outcome
                count += len(decided)
        except InputError as error:
            raise error.interrupted(count, ()) from error.__cause__
        except asyncio.CancelledError as cancelled:
            outcomes = [] if call is None else await call.cancelled()
            raise cancelled from _cancelled_call(outcomes)
        finally:
            if call is not None:
                await call.close()

    async def put_partner_events(
        self, *, Entries: Sequence[Mapping[str, Any]]
    ) -> PutPartnerEventsResponse:
        """
        Call PutPartnerEvents once, as boto3's method of that name does.

        One request, no retries; entries can fail while the call succeeds. `put_events` takes care
        of both.

        Args:
            Entries: 1 to 20 mappings with `Source`, `DetailType` and `Detail`, and `Resources`
                and `Time` if wanted.

        Returns:
            `FailedEntryCount`, `Entries` with one result for each entry, in their order, and
            `ResponseMetadata`.

        Raises:
            InvalidEventError: An entry breaks a limit, or there are too many. Nothing was sent.
            CredentialsError: No usable AWS credentials. Nothing was sent.
            ServiceError: The service refused the request.
            TransportError: No answer; see its `may_have_been_sent`.
            UnreadableAnswerError: The answer does not say what became of the entries.
        """
        process = await self._here()
        looked_up = process.looked_up
        call = calls.put_partner_events(read_entries(Entries, looked_up.settings.limits))
        credentials = process.credentials() or await process.credentials_off_loop()
        request = looked_up.edge.request(
            call, credentials, invocation_id=new_invocation_id(), attempt=1
        )
        response = await process.transport.send(request, self._setup.timeouts)
        return to_response(response, calls.answer(call, response))

    async def _means(self) -> AsyncMeans:
        return AsyncMeans(await self._here(), self._quota, self._pace, self._setup.timeouts)

    async def _begin(
        self,
        events: Iterable[GivenEvent] | AsyncIterable[GivenEvent],
        deadline: float | None,
        *,
        streams: bool,
    ) -> _Call:
        source = events if isinstance(events, AsyncIterable) else iter(events)
        process = await self._here()
        if process.credentials() is None:
            # Before an event is taken, so nothing is lost.
            await process.credentials_off_loop()
        if deadline is not None:
            deadline += time.monotonic()
        looked_up = process.looked_up
        settings: DeliverySettings = looked_up.stream_settings if streams else looked_up.settings
        delivery = Delivery(settings, self._quota, pace=self._pace, deadline=deadline)
        return _Call(process, delivery, source, deadline, self._setup.timeouts)

    # ------------------------------------------------------------ life

    async def _here(self) -> _Process:
        """Return what belongs to this process, made at the first use in it."""
        if self._process is None:
            await self._off_loop.run(self._enter)
        return self._enter()

    def _enter(self) -> _Process:
        if self._process is None:
            with first_use:
                if self._process is None:
                    self._process = self._enter_process()
        return self._process

    def _enter_process(self) -> _Process:
        looked_up = self._setup.look_up()
        transport, is_owned = open_transport(
            self._given_transport, looked_up.configuration, _aiohttp_transport
        )
        return _Process(looked_up, transport, is_owned, self._off_loop)

    async def _connect(self) -> _Line:
        return _Line(await self._here(), self._setup.timeouts)

    def _forget_process(self) -> None:
        """Start as if nothing had been used yet: a lock may be held for ever after a fork."""
        self._process = None
        self._off_loop = OffLoop()
        self._quota = RetryQuota(self._setup.retry.tokens)

    def _leave_parent(self) -> None:
        self._setup.shared.forget()
        self._forget_process()
        self._pace.after_fork()
        self._sources.after_fork()

    async def close(self) -> None:
        """
        Close the connections of the running loop, but not those of a `transport` that was given.

        Using the client again opens new ones. Its siblings in other Regions are closed too.
        """
        for sibling in tuple(self._siblings.values()):
            await sibling.close()
        self._off_loop.stop()
        process = self._process
        if process is not None and process.owns_transport:
            await process.transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an AsyncPartnerEventsClient cannot be pickled: it holds connections and credentials; "
            "make one in each process"
        )

    def __repr__(self) -> str:
        if self._process is None:
            return "<AsyncPartnerEventsClient, not used yet>"
        configuration = self._process.looked_up.configuration
        return f"<AsyncPartnerEventsClient {configuration.region} {configuration.url}>"


def _aiohttp_transport() -> TransportFactory[AsyncTransport]:
    from eventbridge_partner.transports.aiohttp import AiohttpTransport

    return AiohttpTransport


def _cancelled_call(outcomes: Sequence[Outcome]) -> CallCancelledError:
    report = DeliveryReport(outcomes)
    return CallCancelledError(f"the call was cancelled after {len(report)} events", report)


@attrs.define(eq=False)
class _Process:
    """What of a client belongs to one process and must not cross a fork."""

    looked_up: LookedUp
    transport: AsyncTransport
    owns_transport: bool
    off_loop: OffLoop
    _kept: FrozenCredentials | None = None
    _kept_until: float = 0.0

    def credentials(self) -> FrozenCredentials | None:
        """
        Return what to sign with, unless it has to be waited for.

        Raises:
            CredentialsError: There is nothing, as is known at once.
        """
        keeper = self.looked_up.credentials
        if not keeper.may_block():
            return keeper.frozen()
        if self._kept is not None and time.monotonic() >= self._kept_until:
            self._kept = None
        return self._kept

    async def credentials_off_loop(self) -> FrozenCredentials:
        """
        Return what to sign with, fetched on a thread for all who wait.

        Raises:
            CredentialsError: There is nothing.
        """
        self._kept = await self.off_loop.run(self.looked_up.credentials.frozen)
        self._kept_until = time.monotonic() + _KEPT_SECONDS
        return self._kept

    async def after_remedy(
        self, error: PartnerEventsError, signed_with: FrozenCredentials
    ) -> PartnerEventsError:
        """Do what one more try may need, and return the error to go on with."""
        looked_up = self.looked_up
        if not isinstance(error, ExpiredCredentialsError):
            return after_remedy(error, signed_with, looked_up.credentials, looked_up.edge)
        self._kept = None
        try:
            await self.off_loop.run(looked_up.credentials.refresh, signed_with)
        except CredentialsError as without:
            return without
        return error

    def open_flights(self) -> AsyncFlights[Flight]:
        """Open the flights of one delivery."""
        if isinstance(self.transport, MultiplexingAsyncTransport):
            return self.transport.flights()
        return TaskFlights(self.transport)


@attrs.frozen
class AsyncMeans:
    """
    What a client sends with, for a sender with a loop of its own.

    Attributes:
        process: What was looked up, the transport and the credentials.
        quota: Of the client's retries.
        pace: The client's.
        timeouts: Of each request.
    """

    process: _Process
    quota: RetryQuota
    pace: Pace
    timeouts: Timeouts


async def means_of(client: AsyncPartnerEventsClient) -> AsyncMeans:
    """
    Return what a client sends with in this process.

    Raises:
        ConfigurationError: No Region, or a setting that cannot work.
    """
    return await client._means()  # pyright: ignore[reportPrivateUsage]


@attrs.frozen
class _Line:
    """What sends the single requests of `AsyncSources`."""

    process: _Process
    timeouts: Timeouts

    @property
    def retry(self) -> RetryPolicy:
        """When to try again."""
        return self.process.looked_up.settings.retry

    async def perform(self, call: calls.Call[T], attempt: int, seconds: float | None) -> T:
        """Send a request once, and read its answer. See `AsyncLine.perform`."""
        process = self.process
        credentials = process.credentials() or await process.credentials_off_loop()
        request = process.looked_up.edge.request(
            call, credentials, invocation_id=new_invocation_id(), attempt=attempt
        )
        timeouts = self.timeouts if seconds is None else self.timeouts.within(seconds)
        try:
            return calls.answer(call, await process.transport.send(request, timeouts))
        except PartnerEventsError as error:
            _log.info("%s failed: %s", call.operation, error)
            remedied = await process.after_remedy(error, credentials)
            if remedied is error:
                raise
            raise remedied from error


class _Call:
    """A call of `put_events` or `stream_events` under way. For one task."""

    def __init__(
        self,
        process: _Process,
        delivery: Delivery,
        events: Iterator[GivenEvent] | AsyncIterable[GivenEvent],
        deadline: float | None,
        timeouts: Timeouts,
    ) -> None:
        self._process = process
        self._delivery = delivery
        self._deadline = deadline
        self._timeouts = timeouts
        self._flights = process.open_flights()
        self._answers: deque[tuple[Flight, Answer]] = deque()
        self._input_error: Exception | None = None
        self._intake: Intake | None = None
        self._iterator: Iterator[GivenEvent] = iter(())
        self._had_turns_at = time.monotonic()
        if isinstance(events, AsyncIterable):
            self._intake = Intake(aiter(events), delivery, self._flights.wake)
        else:
            self._iterator = events

    async def decided(self) -> list[Outcome] | None:
        """
        Go on until there are outcomes, and return them; None after the last.

        Raises:
            InputError: The iterable raised, and all that had been taken has its outcome.
        """
        delivery, intake = self._delivery, self._intake
        while True:
            now = time.monotonic()
            if now - self._had_turns_at > _LONGEST_HOLD:
                await asyncio.sleep(0)
                self._had_turns_at = now = time.monotonic()
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
                        # Events that are here already are taken in this one turn of the loop.
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
        process = self._process
        try:
            credentials = process.credentials() or await process.credentials_off_loop()
        except CredentialsError as error:
            self._delivery.not_sent(batch, error, time.monotonic())
            return
        flight = Flight.of(batch, credentials)
        timeouts = self._timeouts
        if self._deadline is not None:
            timeouts = timeouts.within(self._deadline - time.monotonic())
        self._flights.submit(flight, flight.request(process.looked_up.edge), timeouts)

    def _take(self, count: int) -> None:
        try:
            taken = self._delivery.take_all(itertools.islice(self._iterator, count))
        except Exception as error:  # noqa: BLE001  # the caller's, whatever it is
            self._input_error = error
            taken = 0
        if taken < count:
            self._delivery.no_more_events()

    async def _receive(self, seconds: float | None) -> None:
        if seconds is not None:
            seconds = min(max(0.0, seconds), _LONGEST_WAIT)
        answers = self._answers
        answers += await self._flights.collect(seconds)
        self._had_turns_at = time.monotonic()
        while answers:
            flight, answer = answers[0]
            error = flight.landed(answer, self._delivery, time.monotonic())
            if error is not None:
                error = await self._process.after_remedy(error, flight.credentials)
                self._delivery.failed(flight.batch, error, time.monotonic())
            answers.popleft()
        if self._intake is not None and self._intake.was_cancelled:
            raise asyncio.CancelledError

    async def cancelled(self) -> list[Outcome]:
        """End now, and return the outcomes that were not returned yet."""
        self._answers += await self._flights.collect(0.0)
        for flight, answer in self._answers:
            error = flight.landed(answer, self._delivery, time.monotonic())
            if error is not None:
                self._delivery.failed(flight.batch, error, time.monotonic())
        await self.close()
        self._delivery.cancel()
        return self._delivery.outcomes()

    async def close(self) -> None:
        """Leave nothing under way."""
        try:
            await self._flights.close()
        finally:
            if self._intake is not None:
                await self._intake.close()
