"""The client: performs calls, and drives deliveries."""

from __future__ import annotations

import functools
import itertools
import logging
import os
import threading
import time
import uuid
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, NoReturn, Self, TypedDict

import attrs

from eventbridge_partner import _wire
from eventbridge_partner._aws import (
    AwsConfiguration,
    Credentials,
    CredentialsKeeper,
    SigningEdge,
    checked_endpoint,
    checked_region,
    open_session,
    resolve,
)
from eventbridge_partner._http import Timeouts
from eventbridge_partner._sigv4 import FrozenCredentials
from eventbridge_partner.batching import BatchLimits
from eventbridge_partner.delivery import (
    Batch,
    Delivery,
    DeliverySettings,
    Finished,
    Send,
    Take,
    Wait,
)
from eventbridge_partner.errors import (
    ClockSkewError,
    ConfigurationError,
    CredentialsError,
    ExpiredCredentialsError,
    Finding,
    InputInterruptedError,
    InvalidEventError,
    PartnerEventsError,
    TransportError,
)
from eventbridge_partner.limits import MAX_BATCH_BYTES, MAX_ENTRIES, MAX_ENTRY_BYTES
from eventbridge_partner.models import (
    DeliveryReport,
    GivenEvent,
    Outcome,
    PartnerEvent,
    ResultEntry,
    entry_size,
)
from eventbridge_partner.retry import RetryPolicy, RetryQuota
from eventbridge_partner.transports import Transport
from eventbridge_partner.transports.flights import BlockingFlights, WorkerThreads

_log: Final = logging.getLogger("eventbridge_partner")

MAX_IN_FLIGHT: Final = 4
"""Requests of one call in flight at a time, unless the client is told otherwise."""

# An event that waits for its retry holds back the outcomes of those behind it, and by default
# waits up to 3 s in all. So many events can go by meanwhile.
_STREAM_EVENTS: Final = 10_000
_STREAM_BYTES: Final = 16 * 1024 * 1024

_LONGEST_WAIT: Final = 3600.0
"""A longer wait is one of several: no clock takes infinity, which is a deadline like any other."""


class ResultMembers(TypedDict, total=False):
    """One result of `put_partner_events`: an event id, or an error."""

    EventId: str
    ErrorCode: str
    ErrorMessage: str


class ResponseMetadata(TypedDict):
    """What boto3 adds to every answer."""

    RequestId: str
    HTTPStatusCode: int
    HTTPHeaders: dict[str, str]
    RetryAttempts: int


class PutPartnerEventsResponse(TypedDict):
    """The answer of `put_partner_events`, as boto3 gives it."""

    FailedEntryCount: int
    Entries: list[ResultMembers]
    ResponseMetadata: ResponseMetadata


@attrs.frozen
class _Flight:
    """A batch in flight: the call that carries it, and what that was signed with."""

    batch: Batch
    call: _wire.Call[tuple[ResultEntry, ...]]
    credentials: FrozenCredentials


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
        max_in_flight: Requests of one call in flight at a time, at most: each takes a thread, so
            there are more than one only where answers take more than 2 ms.
        max_batch_bytes: Up to what size several entries share a request.
        max_entry_bytes: Events larger than this are refused before sending.
        transport: What sends requests, instead of `RequestsTransport`. It stays the caller's to
            close.

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
        max_in_flight: int = MAX_IN_FLIGHT,
        max_batch_bytes: int = MAX_BATCH_BYTES,
        max_entry_bytes: int = MAX_ENTRY_BYTES,
        transport: Transport | None = None,
    ) -> None:
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight is {max_in_flight}; allowed: 1 or more")
        if timeout is None:
            timeout = Timeouts()
        elif not isinstance(timeout, Timeouts):
            timeout = Timeouts(connect=timeout, read=timeout)
        self._timeouts = timeout
        if profile is not None and session is not None:
            raise ConfigurationError("profile is given with a session; allowed: one of the two")
        self._open_session = functools.partial(open_session, profile, session)
        self._resolve = functools.partial(resolve, region=region, endpoint_url=endpoint_url)
        if region is not None:
            checked_region(region)
        if endpoint_url is not None:
            checked_endpoint(endpoint_url)
        self._credentials = credentials
        self._given_transport = transport
        self._settings = DeliverySettings(
            retry=retry or RetryPolicy(),
            limits=BatchLimits(max_batch_bytes=max_batch_bytes, max_entry_bytes=max_entry_bytes),
            max_in_flight=max_in_flight,
        )
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
        return self._here().configuration.region

    @property
    def endpoint_url(self) -> str:
        """The URL that events are sent to; looked up, if need be."""
        return self._here().configuration.url

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
            settings = self._here().settings
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
        settings = self._here().settings
        settings = attrs.evolve(settings, max_held=_STREAM_EVENTS, max_held_bytes=_STREAM_BYTES)
        return self._stream(events, settings, deadline)

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
        events = _checked_entries(Entries, process.settings.limits)
        call = _wire.put_partner_events(events)
        request = process.edge.request(
            call, process.credentials.frozen(), invocation_id=str(uuid.uuid4()), attempt=1
        )
        response = process.transport.send(request, self._timeouts)
        results = _wire.answer(call, response)
        failed = sum(result.error_code is not None for result in results)
        return {
            "FailedEntryCount": failed,
            "Entries": [
                {"ErrorCode": result.error_code, "ErrorMessage": result.error_message or ""}
                if result.error_code is not None
                else ({} if result.event_id is None else {"EventId": result.event_id})
                for result in results
            ],
            "ResponseMetadata": {
                "RequestId": response.headers.get("x-amzn-requestid", ""),
                "HTTPStatusCode": response.status,
                "HTTPHeaders": dict(response.headers),
                "RetryAttempts": 0,
            },
        }

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
        process.credentials.frozen()  # before the first event is taken, so that nothing is lost
        if deadline is not None:
            deadline += time.monotonic()
        delivery = Delivery(settings, self._quota, deadline=deadline)
        flights: BlockingFlights[_Flight] = BlockingFlights(process.transport, process.workers)
        input_error: Exception | None = None
        now = time.monotonic()
        while True:
            match delivery.next_action(now):
                case Send(batch):
                    self._send(process, flights, delivery, batch, deadline)
                case Take(count):
                    if pauses:
                        flights.flush()
                        self._receive(process, delivery, flights, 0.0)
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
                        self._receive(process, delivery, flights, 0.0)
                case Wait(until):
                    seconds = None if until is None else min(max(0.0, until - now), _LONGEST_WAIT)
                    self._receive(process, delivery, flights, seconds)
                    if decided := delivery.outcomes():
                        yield decided
                case Finished.FINISHED:
                    break
            now = time.monotonic()
        yield delivery.outcomes()
        if input_error is not None:
            raise _InputError(input_error) from input_error

    def _send(
        self,
        process: _Process,
        flights: BlockingFlights[_Flight],
        delivery: Delivery,
        batch: Batch,
        deadline: float | None,
    ) -> None:
        call = _wire.put_partner_events(batch.events)
        try:
            credentials = process.credentials.frozen()
        except CredentialsError as error:
            delivery.not_sent(batch, error, time.monotonic())
            return
        request = process.edge.request(
            call, credentials, invocation_id=str(uuid.uuid4()), attempt=batch.attempt
        )
        timeouts = self._timeouts
        if deadline is not None:
            timeouts = timeouts.within(deadline - time.monotonic())
        flights.submit(_Flight(batch, call, credentials), request, timeouts)

    def _receive(
        self,
        process: _Process,
        delivery: Delivery,
        flights: BlockingFlights[_Flight],
        seconds: float | None,
    ) -> None:
        for flight, answer in flights.collect(seconds):
            batch = flight.batch
            try:
                if isinstance(answer, TransportError):
                    raise answer
                results = _wire.answer(flight.call, answer)
            except PartnerEventsError as error:
                _log.info("a request of %d entries failed: %s", len(batch), error)
                failure = _after_remedy(process, flight, error)
                delivery.failed(batch, failure, time.monotonic())
            else:
                delivery.answered(batch, results, time.monotonic())

    # ------------------------------------------------------------ life

    def _here(self) -> _Process:
        """Return what belongs to this process, made at the first use in it."""
        if self._process is None:
            with _first_use:
                if self._process is None:
                    self._process = self._enter_process()
        return self._process

    def _enter_process(self) -> _Process:
        session = self._open_session()
        configuration = self._resolve(session)
        settings = self._settings
        if configuration.max_attempts is not None:
            retry = settings.retry.with_max_attempts(configuration.max_attempts)
            settings = attrs.evolve(settings, retry=retry)
        transport = self._given_transport
        return _Process(
            configuration=configuration,
            settings=settings,
            transport=_default_transport(configuration) if transport is None else transport,
            workers=WorkerThreads(),
            credentials=CredentialsKeeper(session, self._credentials),
            edge=SigningEdge(configuration),
        )

    def _forget_process(self) -> None:
        """Start as if nothing had been used yet: a lock may be held for ever after a fork."""
        self._process = None
        self._quota = RetryQuota(self._settings.retry.tokens)

    def close(self) -> None:
        """
        Close the connections, but not those of a `transport` that was given.

        Using the client again opens new ones.
        """
        process = self._process
        if process is not None:
            process.workers.stop()
            if self._given_transport is None:
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
        configuration = self._process.configuration
        return f"<PartnerEventsClient {configuration.region} {configuration.url}>"


@attrs.frozen
class _Process:
    """What of a client belongs to one process and must not cross a fork."""

    configuration: AwsConfiguration
    settings: DeliverySettings
    transport: Transport
    workers: WorkerThreads
    credentials: CredentialsKeeper
    edge: SigningEdge


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


def _default_transport(configuration: AwsConfiguration) -> Transport:
    from eventbridge_partner.transports.requests import RequestsTransport

    return RequestsTransport(ca_bundle=configuration.ca_bundle, proxies=configuration.proxies)


def _take(iterator: Iterator[GivenEvent], count: int, delivery: Delivery) -> int:
    taken = 0
    for event in itertools.islice(iterator, count):
        delivery.take(event)
        taken += 1
    return taken


def _after_remedy(
    process: _Process, flight: _Flight, error: PartnerEventsError
) -> PartnerEventsError:
    """Do what one more try may need, and return the error to go on with."""
    match error:
        case ExpiredCredentialsError():
            try:
                process.credentials.refresh(flight.credentials)
            except CredentialsError as without:
                return without
        case ClockSkewError() if error.server_time is not None:
            process.edge.correct_clock(error.server_time)
        case _:
            pass
    return error


def _checked_entries(
    entries: Sequence[Mapping[str, Any]], limits: BatchLimits
) -> list[PartnerEvent]:
    findings: list[Finding] = []
    if not 1 <= len(entries) <= MAX_ENTRIES:
        found = f"has {len(entries)} entries"
        findings.append(Finding("Entries", found, f"allowed: 1 to {MAX_ENTRIES}"))
    events: list[PartnerEvent] = []
    for index, entry in enumerate(entries):
        try:
            events.append(PartnerEvent.from_entry(entry))
        except InvalidEventError as error:
            findings += error.at(index).findings
    size = sum(map(entry_size, events))
    if size > limits.max_entry_bytes:
        found = f"has {size} bytes"
        findings.append(Finding("Entries", found, f"the limit is {limits.max_entry_bytes}"))
    if findings:
        raise InvalidEventError(findings)
    return events
