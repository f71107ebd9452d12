"""The client: performs calls, and drives deliveries."""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
import uuid
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, NoReturn, Self, cast

import attrs

from eventbridge_partner import _wire, raw_call
from eventbridge_partner._aws import AwsConfiguration, Credentials
from eventbridge_partner._flight import Flight
from eventbridge_partner._http import Timeouts
from eventbridge_partner._setup import MAX_MULTIPLEXED, LookedUp, Setup
from eventbridge_partner.delivery import (
    Delivery,
    DeliverySettings,
    Finished,
    Send,
    Take,
    Wait,
)
from eventbridge_partner.errors import (
    ClockSkewError,
    CredentialsError,
    ExpiredCredentialsError,
    InputInterruptedError,
    PartnerEventsError,
)
from eventbridge_partner.limits import MAX_BATCH_BYTES, MAX_ENTRY_BYTES
from eventbridge_partner.models import DeliveryReport, GivenEvent, Outcome, PartnerEvent
from eventbridge_partner.raw_call import PutPartnerEventsResponse
from eventbridge_partner.retry import RetryPolicy, RetryQuota
from eventbridge_partner.transports import (
    Flights,
    MultiplexingTransport,
    Transport,
    TransportFactory,
)
from eventbridge_partner.transports.flights import BlockingFlights, WorkerThreads

_log: Final = logging.getLogger("eventbridge_partner")

_LONGEST_WAIT: Final = 3600.0
"""A longer wait is one of several: no clock takes infinity, which is a deadline like any other."""


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
        transport: Transport | TransportFactory[Transport] | None = None,
    ) -> None:
        self._setup = Setup.of(
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
        self._given_transport = transport
        self._forget_process()
        _clients.add(self)

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
        _check_deadline(deadline)
        outcomes: list[Outcome] = []
        try:
            # Lists and tuples have the next event at once; all else may let us wait for it.
            pauses = not isinstance(events, (list, tuple))
            settings = self._here().looked_up.settings
            for decided in self._deliver(events, settings, deadline, pauses=pauses):
                outcomes += decided
        except _InputError as error:
            report = DeliveryReport(outcomes)
            message = f"the iterable of events raised {error.kind} after {len(report)} events"
            raise InputInterruptedError(message, report) from error.__cause__
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
        _check_deadline(deadline)
        return self._stream(events, self._here().looked_up.stream_settings, deadline)

    def _stream(
        self, events: Iterable[GivenEvent], settings: DeliverySettings, deadline: float | None
    ) -> Iterator[Outcome]:
        count = 0
        try:
            for decided in self._deliver(events, settings, deadline, pauses=True):
                yield from decided
                count += len(decided)
        except _InputError as error:
            message = f"the iterable of events raised {error.kind} after {count} events"
            raise InputInterruptedError(message, DeliveryReport(())) from error.__cause__

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
        call = _wire.put_partner_events(raw_call.read_entries(Entries, looked_up.settings.limits))
        request = looked_up.edge.request(
            call, looked_up.credentials.frozen(), invocation_id=str(uuid.uuid4()), attempt=1
        )
        response = process.transport.send(request, self._setup.timeouts)
        return raw_call.to_response(response, _wire.answer(call, response))

    # ------------------------------------------------------------ driving a delivery

    def _deliver(
        self,
        events: Iterable[GivenEvent],
        settings: DeliverySettings,
        deadline: float | None,
        *,
        pauses: bool,
    ) -> Iterator[list[Outcome]]:
        if isinstance(events, (Mapping, PartnerEvent, str, bytes)):
            found = type(events).__qualname__
            raise TypeError(f"events is a {found}; allowed: an iterable of events, such as [event]")
        iterator = iter(events)
        process = self._here()
        process.looked_up.credentials.frozen()  # before an event is taken, so nothing is lost
        if deadline is not None:
            deadline += time.monotonic()
        delivery = Delivery(settings, self._quota, deadline=deadline)
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
        now = time.monotonic()
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
                        _receive(looked_up, delivery, flights, 0.0)
                    if decided := delivery.outcomes():
                        yield decided
                    try:
                        taken = _take(iterator, count, delivery)
                    except Exception as error:  # noqa: BLE001  # the caller's, whatever it is
                        input_error = error
                        taken = 0
                    if taken < count:
                        delivery.no_more_events()
                    if pauses:  # answers that came meanwhile came in time
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
            raise _InputError(input_error) from input_error

    # ------------------------------------------------------------ life

    def _here(self) -> _Process:
        """Return what belongs to this process, made at the first use in it."""
        if self._process is None:
            with _first_use:
                if self._process is None:
                    self._process = self._enter_process()
        return self._process

    def _enter_process(self) -> _Process:
        looked_up = self._setup.look_up()
        transport, is_owned = _open_transport(self._given_transport, looked_up.configuration)
        if self._setup.max_in_flight is None and isinstance(transport, MultiplexingTransport):
            settings = attrs.evolve(looked_up.settings, max_in_flight=MAX_MULTIPLEXED)
            looked_up = attrs.evolve(looked_up, settings=settings)
        return _Process(looked_up, transport, is_owned, WorkerThreads())

    def _forget_process(self) -> None:
        """Start as if nothing had been used yet: a lock may be held for ever after a fork."""
        self._process = None
        self._quota = RetryQuota(self._setup.retry.tokens)

    def close(self) -> None:
        """
        Close the connections, but not those of a `transport` that was given.

        Using the client again opens new ones.
        """
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

    def open_flights(self) -> Flights[Flight]:
        """Open the flights of one delivery."""
        if isinstance(self.transport, MultiplexingTransport):
            return self.transport.flights()
        return BlockingFlights(self.transport, self.workers)


_clients: Final[weakref.WeakSet[PartnerEventsClient]] = weakref.WeakSet()

# No fork happens in the middle of a first use: it imports modules, and one that is half imported
# by a thread that the child does not have would be waited for in there for ever.
_first_use: Final = threading.RLock()


def _forget_parent() -> None:
    for client in _clients:
        client._forget_process()  # pyright: ignore[reportPrivateUsage]
    _first_use.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_first_use.acquire,
        after_in_parent=_first_use.release,
        after_in_child=_forget_parent,
    )


class _InputError(Exception):
    """The caller's iterable raised; on its way to those who know what had been taken."""

    def __init__(self, error: Exception) -> None:
        self.kind = type(error).__name__
        super().__init__(self.kind)


def _check_deadline(deadline: float | None) -> None:
    if deadline is not None and not deadline > 0:
        raise ValueError(f"deadline is {deadline!r}; allowed: seconds above 0, or None")


def _open_transport(
    given: Transport | TransportFactory[Transport] | None, configuration: AwsConfiguration
) -> tuple[Transport, bool]:
    """Return what sends requests, and whether the client has to close it."""
    if given is None:
        from eventbridge_partner.transports.requests import RequestsTransport

        given = RequestsTransport
    # A class has the method of its instances too.
    elif hasattr(given, "send") and not isinstance(given, type):
        return cast("Transport", given), False
    factory = cast("TransportFactory[Transport]", given)
    return factory(ca_bundle=configuration.ca_bundle, proxies=configuration.proxies), True


def _take(iterator: Iterator[GivenEvent], count: int, delivery: Delivery) -> int:
    taken = 0
    for event in itertools.islice(iterator, count):
        delivery.take(event)
        taken += 1
    return taken


def _receive(
    looked_up: LookedUp, delivery: Delivery, flights: Flights[Flight], seconds: float | None
) -> None:
    for flight, answer in flights.collect(seconds):
        try:
            results = flight.results(answer)
        except PartnerEventsError as error:
            _log.info("a request of %d entries failed: %s", len(flight.batch), error)
            failure = _after_remedy(looked_up, flight, error)
            delivery.failed(flight.batch, failure, time.monotonic())
        else:
            delivery.answered(flight.batch, results, time.monotonic())


def _after_remedy(
    looked_up: LookedUp, flight: Flight, error: PartnerEventsError
) -> PartnerEventsError:
    """Do what one more try may need, and return the error to go on with."""
    match error:
        case ExpiredCredentialsError():
            try:
                looked_up.credentials.refresh(flight.credentials)
            except CredentialsError as without:
                return without
        case ClockSkewError() if error.server_time is not None:
            looked_up.edge.correct_clock(error.server_time)
        case _:
            pass
    return error
