"""The client: performs calls, and drives deliveries."""

from __future__ import annotations

import functools
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, NoReturn, Self, TypeVar

import attrs

from eventbridge_partner._forks import after_fork, first_use
from eventbridge_partner._http import Timeouts
from eventbridge_partner.aws.credentials import Credentials
from eventbridge_partner.client._boto3_shape import (
    PutPartnerEventsResponse,
    read_entries,
    to_response,
)
from eventbridge_partner.delivery.actions import DeliverySettings, Finished, Send, Take, Wait
from eventbridge_partner.delivery.given import InputError, check_deadline, refuse_single
from eventbridge_partner.delivery.machine import Delivery
from eventbridge_partner.errors import CredentialsError, PartnerEventsError
from eventbridge_partner.limits import (
    MAX_BATCH_BYTES,
    MAX_ENTRY_BYTES,
    SOURCE_OPERATIONS_PER_SECOND,
)
from eventbridge_partner.line._flight import Flight, after_remedy, new_invocation_id
from eventbridge_partner.line._setup import MAX_MULTIPLEXED, LookedUp, Setup, open_transport
from eventbridge_partner.models import DeliveryReport, GivenEvent, Outcome
from eventbridge_partner.pacing import Pace
from eventbridge_partner.retry import RetryPolicy, RetryQuota
from eventbridge_partner.sources import Sources
from eventbridge_partner.transports import (
    Flights,
    MultiplexingTransport,
    Transport,
    TransportFactory,
)
from eventbridge_partner.transports.flights import BlockingFlights, WorkerThreads
from eventbridge_partner.wire import calls

T = TypeVar("T")

_log: Final = logging.getLogger("eventbridge_partner")

_LONGEST_WAIT: Final = 3600.0
"""A longer wait is one of several: no clock takes infinity, which is a deadline like any other."""


_PROMPT_SECONDS: Final = 0.001
"""Who gives us the next events within this time does not keep us from answers."""


class PartnerEventsClient:
    """
    Sends partner events to Amazon EventBridge.

    Thread-safe, and safe to use on both sides of a fork. Make one and keep it: its connections
    and its credentials are worth keeping. What is not given is looked up at the first use, so
    making one is cheap and reads no file.

    Args:
        region: The Region of the customers' partner event sources. Without it, that of a
            `session` that was given one, `AWS_REGION`, then what botocore finds:
            `AWS_DEFAULT_REGION`, the profile.
        endpoint_url: Where to send instead of the Region's endpoint. https, or http on loopback.
        profile: A profile of AWS's config files.
        session: A boto3 or botocore session to take all settings from.
        credentials: What to sign with, instead of what botocore finds: anything with
            `get_frozen_credentials()`, such as botocore's `Credentials`.
        retry: When to send failed entries again.
        timeout: Seconds that one request may take, for both connecting and reading, or
            `Timeouts` for each. The default is 5 s to connect and 30 s for the answer.
        max_in_flight: Requests of one call in flight at a time, at most. The default is 4 where
            each takes a thread (so there are more than one only where answers take more than
            2 ms), and 32 where one thread keeps them all, as `CurlTransport` does.
        max_batch_bytes: Up to what size several entries share a request.
        max_entry_bytes: Events larger than this are refused before sending.
        pace: How many requests a second may go out. Give the same to all clients that send to one
            account and Region, which share a quota. The default has no rate of its own, and
            slows down when the service throttles.
        sources_pace: How many requests a second `sources` may make, which share a quota of their
            own: 50 a second unless you give another one.
        transport: What sends requests, instead of `RequestsTransport`: a class such as
            `CurlTransport`, made with the certificates and proxies of the configuration, or a
            transport, which stays the caller's to close.

    Raises:
        ConfigurationError: A Region or endpoint is given that cannot work. What is looked up, and
            that no Region is found, is reported by the first call.
    """

    _process: _Process | None

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
        transport: Transport | TransportFactory[Transport] | None = None,
    ) -> None:
        setup = Setup.of(
            region=region,
            endpoint_url=endpoint_url,
            profile=profile,
            session=session,
            credentials=credentials,
            retry=retry,
            timeout=timeout,
            max_in_flight=max_in_flight,
            max_batch_bytes=max_batch_bytes,
            max_entry_bytes=max_entry_bytes,
        )
        sources_pace = sources_pace or Pace(SOURCE_OPERATIONS_PER_SECOND)
        self._set_up(setup, transport, pace or Pace(), sources_pace)

    def _set_up(
        self,
        setup: Setup,
        transport: Transport | TransportFactory[Transport] | None,
        pace: Pace,
        sources_pace: Pace,
    ) -> None:
        self._setup = setup
        self._given_transport = transport
        self._pace = pace
        self._sources = Sources(self._connect, pace=sources_pace, tokens=setup.retry.tokens)
        self._siblings: dict[str, PartnerEventsClient] = {}
        self._origin: PartnerEventsClient | None = None
        self._forget_process()
        after_fork(self, PartnerEventsClient._leave_parent)

    def look_up(self) -> Self:
        """
        Look up now what the first call would look up: Region, endpoint and settings.

        Returns:
            This client.

        Raises:
            ConfigurationError: No Region, or a setting that cannot work.
        """
        self._here()
        return self

    @property
    def region(self) -> str:
        """The Region that events are sent to; looked up, if need be."""
        return self._here().looked_up.configuration.region

    @property
    def endpoint_url(self) -> str:
        """The URL that events are sent to; looked up, if need be."""
        return self._here().looked_up.configuration.url

    @property
    def sources(self) -> Sources:
        """The partner event sources of the Region: create, find, watch and delete them."""
        return self._sources

    def in_region(self, region: str) -> PartnerEventsClient:
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

    def put_events(
        self, events: Iterable[GivenEvent], *, deadline: float | None = None
    ) -> DeliveryReport:
        """
        Send events, and send again those that failed for a passing reason.

        Args:
            events: Any number of `PartnerEvent` or of mappings with an entry's member names; sent
                in batches of at most 20. A mapping that breaks a limit becomes a `Rejected`
                outcome, and its neighbours go out.
            deadline: Seconds for all attempts together; None for no bound. It cannot be looked at
                while `events` lets us wait for the next event.

        Returns:
            One outcome per event, in the order given. Failures are in the report, not raised.

        Raises:
            ConfigurationError: No Region, or a setting that cannot work. Nothing was sent.
            CredentialsError: No usable AWS credentials. Nothing was sent.
            InputInterruptedError: `events` raised. What had been taken was sent; `report` has its
                outcomes.
        """
        check_deadline(deadline)
        outcomes: list[Outcome] = []
        try:
            # Lists and tuples have the next event at once; all else may let us wait for it.
            pauses = not isinstance(events, (list, tuple))
            settings = self._here().looked_up.settings
            for decided in self._deliver(events, settings, deadline, pauses=pauses):
                outcomes += decided
        except InputError as error:
            raise error.interrupted(len(outcomes), outcomes) from error.__cause__
        return DeliveryReport(outcomes)

    def stream_events(
        self, events: Iterable[GivenEvent], *, deadline: float | None = None
    ) -> Iterator[Outcome]:
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
            what is in flight then.

        Raises:
            ConfigurationError: No Region, or a setting that cannot work. Nothing was sent.
            CredentialsError: No usable AWS credentials. Nothing was sent.
            InputInterruptedError: `events` raised. Raised after the outcomes of all that had been
                taken; its own report is empty.
        """
        check_deadline(deadline)
        return self._stream(events, self._here().looked_up.stream_settings, deadline)

    def _stream(
        self, events: Iterable[GivenEvent], settings: DeliverySettings, deadline: float | None
    ) -> Iterator[Outcome]:
        count = 0
        try:
            for decided in self._deliver(events, settings, deadline, pauses=True):
                yield from decided
                count += len(decided)
        except InputError as error:
            raise error.interrupted(count, ()) from error.__cause__

    def put_partner_events(
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
        process = self._here()
        looked_up = process.looked_up
        call = calls.put_partner_events(read_entries(Entries, looked_up.settings.limits))
        request = looked_up.edge.request(
            call, looked_up.credentials.frozen(), invocation_id=new_invocation_id(), attempt=1
        )
        response = process.transport.send(request, self._setup.timeouts)
        return to_response(response, calls.answer(call, response))

    # ------------------------------------------------------------ driving a delivery

    def _deliver(
        self,
        events: Iterable[GivenEvent],
        settings: DeliverySettings,
        deadline: float | None,
        *,
        pauses: bool,
    ) -> Iterator[list[Outcome]]:
        refuse_single(events)
        iterator = iter(events)
        process = self._here()
        process.looked_up.credentials.frozen()  # before an event is taken, so nothing is lost
        if deadline is not None:
            deadline += time.monotonic()
        delivery = Delivery(settings, self._quota, pace=self._pace, deadline=deadline)
        flights = process.open_flights()
        try:
            yield from self._drive(
                process.looked_up, flights, delivery, iterator, deadline, pauses=pauses
            )
        finally:
            flights.close()

    def _drive(
        self,
        looked_up: LookedUp,
        flights: Flights[Flight],
        delivery: Delivery,
        iterator: Iterator[GivenEvent],
        deadline: float | None,
        *,
        pauses: bool,
    ) -> Iterator[list[Outcome]]:
        input_error: Exception | None = None
        looked_at = now = time.monotonic()
        while True:
            match delivery.next_action(now):
                case Send(batch):
                    try:
                        flight = Flight.of(batch, looked_up.credentials.frozen())
                    except CredentialsError as error:
                        delivery.not_sent(batch, error, time.monotonic())
                    else:
                        timeouts = self._setup.timeouts
                        if deadline is not None:
                            timeouts = timeouts.within(deadline - time.monotonic())
                        flights.submit(flight, flight.request(looked_up.edge), timeouts)
                case Take(count):
                    if pauses:
                        flights.flush()
                        if now - looked_at > _PROMPT_SECONDS:
                            _receive(looked_up, delivery, flights, 0.0)
                            flights.flush()
                            looked_at = now
                    if decided := delivery.outcomes():
                        yield decided
                    try:
                        taken = delivery.take_all(itertools.islice(iterator, count))
                    except Exception as error:  # noqa: BLE001  # the caller's, whatever it is
                        input_error = error
                        taken = 0
                    if taken < count:
                        delivery.no_more_events()
                    if pauses and time.monotonic() - now > _PROMPT_SECONDS:
                        # Answers that came meanwhile came in time.
                        _receive(looked_up, delivery, flights, 0.0)
                case Wait(until):
                    seconds = None if until is None else min(max(0.0, until - now), _LONGEST_WAIT)
                    _receive(looked_up, delivery, flights, seconds)
                    if decided := delivery.outcomes():
                        yield decided
                case Finished.FINISHED:
                    break
            now = time.monotonic()
        yield delivery.outcomes()
        if input_error is not None:
            raise InputError(input_error) from input_error

    # ------------------------------------------------------------ life

    def _here(self) -> _Process:
        """Return what belongs to this process, made at the first use in it."""
        if self._process is None:
            with first_use:
                if self._process is None:
                    self._process = self._enter_process()
        return self._process

    def _enter_process(self) -> _Process:
        looked_up = self._setup.look_up()
        transport, is_owned = open_transport(
            self._given_transport, looked_up.configuration, _requests_transport
        )
        if self._setup.max_in_flight is None and isinstance(transport, MultiplexingTransport):
            settings = attrs.evolve(looked_up.settings, max_in_flight=MAX_MULTIPLEXED)
            looked_up = attrs.evolve(looked_up, settings=settings)
        return _Process(looked_up, transport, is_owned, WorkerThreads())

    def _means(self) -> Means:
        process = self._here()
        return Means(
            process.looked_up,
            self._quota,
            self._pace,
            self._setup.timeouts,
            functools.partial(process.open_flights, stays_free=True),
        )

    def _connect(self) -> _Line:
        return _Line(self._here(), self._setup.timeouts)

    def _forget_process(self) -> None:
        """Start as if nothing had been used yet: a lock may be held for ever after a fork."""
        self._process = None
        self._quota = RetryQuota(self._setup.retry.tokens)

    def _leave_parent(self) -> None:
        self._setup.shared.forget()
        self._forget_process()
        self._pace.after_fork()
        self._sources.after_fork()

    def close(self) -> None:
        """
        Close the connections, but not those of a `transport` that was given.

        Using the client again opens new ones. Its siblings in other Regions are closed too.
        """
        for sibling in tuple(self._siblings.values()):
            sibling.close()
        process = self._process
        if process is not None:
            process.workers.stop()
            if process.owns_transport:
                process.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a PartnerEventsClient cannot be pickled: it holds connections and credentials; "
            "make one in each process"
        )

    def __repr__(self) -> str:
        if self._process is None:
            return "<PartnerEventsClient, not used yet>"
        configuration = self._process.looked_up.configuration
        return f"<PartnerEventsClient {configuration.region} {configuration.url}>"


@attrs.frozen
class _Process:
    """What of a client belongs to one process and must not cross a fork."""

    looked_up: LookedUp
    transport: Transport
    owns_transport: bool
    workers: WorkerThreads

    def open_flights(self, *, stays_free: bool = False) -> Flights[Flight]:
        """Open the flights of one delivery. See `BlockingFlights` for who is to stay free."""
        if isinstance(self.transport, MultiplexingTransport):
            return self.transport.flights()
        return BlockingFlights(self.transport, self.workers, stays_free=stays_free)


@attrs.frozen
class Means:
    """
    What a client sends with, for a sender with a loop of its own.

    Attributes:
        looked_up: What was looked up.
        quota: Of the client's retries.
        pace: The client's.
        timeouts: Of each request.
        open_flights: Opens the flights of one delivery.
    """

    looked_up: LookedUp
    quota: RetryQuota
    pace: Pace
    timeouts: Timeouts
    open_flights: Callable[[], Flights[Flight]]


def means_of(client: PartnerEventsClient) -> Means:
    """
    Return what a client sends with in this process.

    Raises:
        ConfigurationError: No Region, or a setting that cannot work.
    """
    return client._means()  # pyright: ignore[reportPrivateUsage]


@attrs.frozen
class _Line:
    """What sends the single requests of `Sources`."""

    process: _Process
    timeouts: Timeouts

    @property
    def retry(self) -> RetryPolicy:
        """When to try again."""
        return self.process.looked_up.settings.retry

    def perform(self, call: calls.Call[T], attempt: int, seconds: float | None) -> T:
        """Send a request once, and read its answer. See `Line.perform`."""
        looked_up = self.process.looked_up
        credentials = looked_up.credentials.frozen()
        request = looked_up.edge.request(
            call, credentials, invocation_id=new_invocation_id(), attempt=attempt
        )
        timeouts = self.timeouts if seconds is None else self.timeouts.within(seconds)
        try:
            return calls.answer(call, self.process.transport.send(request, timeouts))
        except PartnerEventsError as error:
            _log.info("%s failed: %s", call.operation, error)
            remedied = after_remedy(error, credentials, looked_up.credentials, looked_up.edge)
            if remedied is error:
                raise
            raise remedied from error


def _requests_transport() -> TransportFactory[Transport]:
    from eventbridge_partner.transports.requests import RequestsTransport

    return RequestsTransport


def _receive(
    looked_up: LookedUp, delivery: Delivery, flights: Flights[Flight], seconds: float | None
) -> None:
    for flight, answer in flights.collect(seconds):
        error = flight.landed(answer, delivery, time.monotonic())
        if error is not None:
            error = after_remedy(error, flight.credentials, looked_up.credentials, looked_up.edge)
            delivery.failed(flight.batch, error, time.monotonic())
