"""The publisher for threads: takes events one by one, and sends them in the background."""

from __future__ import annotations

import atexit
import functools
import logging
import math
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, NoReturn, Self

from eventbridge_partner._arguments import check_function, check_number, check_whole, wrong_type
from eventbridge_partner._bugs import log_bug
from eventbridge_partner._clock import monotonic
from eventbridge_partner._forks import after_fork, first_use
from eventbridge_partner._logs import log
from eventbridge_partner._threads import SendingThread, is_sending
from eventbridge_partner.client._base import credentials_of, line_of, observed_by
from eventbridge_partner.client._blocking import PartnerEventsClient
from eventbridge_partner.client._probe import Probe, check_seconds
from eventbridge_partner.delivery.actions import Send, Wait
from eventbridge_partner.delivery.entries import Batch
from eventbridge_partner.delivery.given import read, refuse_single
from eventbridge_partner.errors import (
    BufferFullError,
    ConfigurationError,
    CredentialsError,
    PublisherClosedError,
)
from eventbridge_partner.guard import SourceGuard
from eventbridge_partner.guard._base import client_of, plans_of
from eventbridge_partner.line._blocking import Line
from eventbridge_partner.line._flight import Flight
from eventbridge_partner.models import DeliveryReport, GivenEvent, PartnerEvent, Readiness
from eventbridge_partner.models._counting import counted
from eventbridge_partner.publisher._buffer import BufferSettings, OnFull, checked_on_full
from eventbridge_partner.publisher._callbacks import Callbacks
from eventbridge_partner.publisher._dispatch import (
    REST,
    Dispatch,
    Shared,
    checked_seconds,
    closed_error,
    warn_of_left_out,
    warn_of_lost,
)
from eventbridge_partner.publisher._gate import Gate
from eventbridge_partner.publisher._look_ups import LookUps
from eventbridge_partner.publisher._news import Handing, News, OnUndelivered
from eventbridge_partner.publisher._receipts import (
    Book,
    FlushReport,
    PublisherStats,
    Receipt,
    close_report,
    flush_report,
    for_lock,
    reasons_against,
)
from eventbridge_partner.publisher._routes import Desk, Routes, sum_of_stats
from eventbridge_partner.regions._blocking import RegionRouter, client_behind, region_of, sender_of
from eventbridge_partner.sources import Sources
from eventbridge_partner.transports import Flights

_LONGEST_WAIT: Final = 3600.0
"""The longest single wait, in seconds; a longer one takes several."""

_LAST_SECONDS: Final = 1.0
"""Seconds for the thread to report the last outcomes, which takes far less."""


class EventPublisher:
    """
    Takes events one at a time, and sends them in batches on a thread of its own.

    `publish` returns at once, with a receipt that will have the event's outcome. Thread-safe and
    fork-safe: the parent keeps its events, and the child starts with none. The thread starts with
    the first event.

    Close it with `with` or `close`. If a process ends without that, the events left have
    `exit_timeout` seconds, and a warning with the number of lost events is logged.

    Args:
        client: Sends the events: a client, a `SourceGuard` in front of one, or a `RegionRouter`,
            whose Regions may have guards. The caller closes the clients, after the publisher. With
            a guard, only events of a source that must be looked up wait for the look-up; events
            that it rejects or parks have that outcome. With a router, each Region has a thread of
            its own, and may use nine tenths of the room that other Regions leave; `publish` calls
            the router's `lookup` function, and caches the Region of each source for a minute.
        linger: Seconds that an event waits for others to share its request.
        max_buffered_events: The most events without an outcome, including those in flight. One
            source may use nine tenths of the room that other sources leave.
        max_buffered_bytes: The largest total size of these events, as the service counts bytes.
        on_full: What to do when the buffer is full: `block` until there is room, for up to
            `block_timeout`; `raise` BufferFullError; `drop_oldest` or `drop_newest`, which gives
            the dropped event the outcome `Exhausted` with the code `BufferFull`.
        block_timeout: Seconds that `publish` waits for room by default.
        exit_timeout: Seconds for the events left when a process ends without `close`.
        on_undelivered: Called on the callback thread with the outcomes of all events that are not
            accepted, in lists of at most 1,000, before `close` returns. At most as many outcomes
            wait for it as the buffer may hold events; if it is too slow, it misses the rest, and
            their number is logged. Exceptions that it raises are logged.

    Raises:
        ValueError: A setting is out of range.
        TypeError: An argument has the wrong type, such as an asynchronous client.
    """

    def __init__(
        self,
        client: PartnerEventsClient | SourceGuard | RegionRouter,
        *,
        linger: float = 0.05,
        max_buffered_events: int = 10_000,
        max_buffered_bytes: int = 64 * 1024 * 1024,
        on_full: OnFull = "block",
        block_timeout: float = 5.0,
        exit_timeout: float = 5.0,
        on_undelivered: OnUndelivered | None = None,
    ) -> None:
        check_number("linger", linger)
        check_number("block_timeout", block_timeout)
        check_number("exit_timeout", exit_timeout)
        check_whole("max_buffered_events", max_buffered_events)
        check_whole("max_buffered_bytes", max_buffered_bytes)
        check_function("on_undelivered", on_undelivered)
        self._client = client
        if not isinstance(client, RegionRouter):
            _parts(client)
        self._settings = BufferSettings(
            linger=linger,
            max_events=max_buffered_events,
            max_bytes=max_buffered_bytes,
        )
        self._on_full: OnFull = checked_on_full(on_full)
        self._block_timeout = checked_seconds("block_timeout", block_timeout)
        self._exit_timeout = checked_seconds("exit_timeout", exit_timeout)
        self._on_undelivered = on_undelivered
        self._is_closed = False
        self._fleet: _Fleet | None = None
        self._probe = Probe()
        after_fork(self, EventPublisher._leave_parent)

    # ------------------------------------------------------------ publishing

    def publish(self, event: GivenEvent, *, timeout: float | None = None) -> Receipt:
        """
        Queue an event, and return at once if there is room for it.

        Args:
            event: A `PartnerEvent`, or a mapping with an entry's member names. An invalid event
                has its outcome, `Rejected`, at once.
            timeout: Seconds to wait for room if `on_full` is `block`; None for the publisher's
                `block_timeout`.

        Returns:
            The event's receipt.

        Raises:
            BufferFullError: There was no room.
            PublisherClosedError: The publisher is closed.
            ConfigurationError: There is no Region, or a setting is wrong; found by the first
                call. The event was not queued.

        A signal handler or a finalizer may call this. If it interrupts the publisher itself, it
        always gets a receipt; without room, the outcome's code is `BufferFull`.
        """
        fleet = self._fleet or self._begin()
        sender, receipt = fleet.read(event)
        if sender is None:
            return receipt
        book = sender.dispatch.book
        if not sender.dispatch.admit(receipt):
            self._without_room(sender, receipt, timeout)
        if book.buffer.gone:
            book.tell()
        return receipt

    def publish_many(
        self, events: Iterable[GivenEvent], *, timeout: float | None = None
    ) -> list[Receipt]:
        """
        Queue events.

        Args:
            events: As for `publish`, any number.
            timeout: Seconds to wait for room, for all events together, if `on_full` is `block`;
                None for the publisher's `block_timeout`.

        Returns:
            A receipt for each event, in the order given. Without room, an event's outcome is
            `Exhausted` with the code `BufferFull`; after a `close`, with `PublisherClosed`.

        Raises:
            PublisherClosedError: The publisher is closed, and no event was queued.
            ConfigurationError: As for `publish`.
        """
        refuse_single(events)
        fleet = self._fleet or self._begin()
        if fleet.is_closed:
            raise closed_error()
        until = monotonic() + (self._block_timeout if timeout is None else timeout)
        receipts: list[Receipt] = []
        for event in events:
            sender, receipt = fleet.read(event)
            receipts.append(receipt)
            if sender is None:
                continue
            try:
                if not sender.dispatch.admit(receipt):
                    self._without_room(sender, receipt, until - monotonic())
            except BufferFullError:
                sender.dispatch.book.drop(receipt)
            except PublisherClosedError:
                sender.dispatch.book.refuse(receipt)
            if sender.dispatch.book.buffer.gone:
                sender.dispatch.book.tell()
        return receipts

    def _without_room(self, sender: _Sender, receipt: Receipt, timeout: float | None) -> None:
        match self._on_full:
            case "block":
                if timeout is None:
                    timeout = self._block_timeout
                if is_sending():
                    raise BufferFullError(
                        "the buffer is full, and the publisher's own thread cannot wait for room"
                    )
                if not sender.admit_within(receipt, timeout):
                    raise BufferFullError(f"the buffer was full for {timeout:g} s")
            case "raise":
                raise BufferFullError("the buffer is full")
            case "drop_newest":
                sender.dispatch.book.drop(receipt)
            case "drop_oldest":
                sender.dispatch.admit_dropping_oldest(receipt)

    # ------------------------------------------------------------ outcomes

    def flush(self, timeout: float | None = 30.0) -> FlushReport:
        """
        Send the buffered events without lingering, and wait for their outcomes.

        Args:
            timeout: Seconds; None for no bound.

        Returns:
            How many of these events have which outcome, and how many have none yet.

        Raises:
            RuntimeError: It was called on a thread that sends, which cannot wait for itself.
        """
        fleet = self._fleet
        return flush_report(()) if fleet is None else fleet.flush(timeout)

    def close(self, timeout: float | None = 30.0) -> DeliveryReport:
        """
        Send the buffered events, and close the publisher.

        After `timeout`, events in flight become `Unconfirmed`, and the others `Exhausted` with the
        code `PublisherClosed`, so every receipt has an outcome. It waits for due callbacks too,
        within the same time. Closing again does nothing.

        Args:
            timeout: Seconds; None for no bound.

        Returns:
            One outcome for each event that had none before. Events outside `accepted` were not
            sent, or may not have arrived.

        Raises:
            RuntimeError: It was called on a thread that sends, which cannot wait for itself. The
                publisher takes no more events, and goes on sending.
        """
        with first_use:
            self._is_closed = True
            fleet = self._fleet
        return DeliveryReport(()) if fleet is None else fleet.close(timeout)

    def stats(self) -> PublisherStats:
        """Return the current figures, and counts since this process began to publish."""
        fleet = self._fleet
        return PublisherStats() if fleet is None else fleet.stats()

    def readiness(self, *, max_age: float = 60.0, timeout: float = 1.0) -> Readiness:
        """
        Tell whether the publisher can take and send events now. It sends nothing.

        For a readiness probe, which may call it every second; see the how-to "Probe readiness".

        Args:
            max_age: Seconds for which the oldest event may wait for its outcome.
            timeout: Seconds to wait for look-ups; slower ones continue in the background.

        Returns:
            A `Readiness` with every reason why it is not ready. A publisher may be closed, its
            sender may have ended, its oldest event may be too old, and its client may lack
            settings or credentials.

        Raises:
            TypeError: `max_age` or `timeout` is not a number.
            ValueError: One of them is not above 0.
        """
        check_seconds(max_age=max_age, timeout=timeout)
        fleet = self._fleet
        age = 0.0 if fleet is None else fleet.stats().oldest_age
        own = reasons_against(
            is_closed=self._is_closed or (fleet is not None and fleet.is_closed),
            has_ended=fleet is not None and not fleet.is_alive,
            age=age,
            max_age=max_age,
        )
        if isinstance(self._client, RegionRouter):
            # Shared by its Regions, which are not known in advance.
            credentials = credentials_of(client_behind(self._client))
            reasons = self._probe.reasons(
                credentials.frozen, timeout, may_block=credentials.may_block()
            )
        else:
            reasons = _parts(self._client)[0].readiness(timeout=timeout).reasons
        return Readiness((*own, *reasons), age)

    # ------------------------------------------------------------ life

    def _begin(self) -> _Fleet:
        """Return the fleet of this process, made at its first use."""
        if self._is_closed:
            raise closed_error()
        if not isinstance(self._client, RegionRouter):
            line_of(_parts(self._client)[0])  # before the lock: it may raise
        with first_use:
            if self._is_closed:
                raise closed_error()
            if self._fleet is None:
                fleet = _Fleet(
                    self._client,
                    self._settings,
                    self._exit_timeout,
                    self._on_undelivered,
                    drops_oldest=self._on_full == "drop_oldest",
                )
                if self._fleet is not None:  # a signal handler has published meanwhile
                    fleet.retire()
                    return self._fleet
                self._fleet = fleet
                # A publisher that is garbage-collected without `close` still sends its events.
                weakref.finalize(self, fleet.retire).atexit = False
        return self._fleet

    def _leave_parent(self) -> None:
        self._fleet = None
        self._probe = Probe()

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
        raise TypeError("an EventPublisher cannot be pickled: make one in each process")

    def __repr__(self) -> str:
        fleet = self._fleet
        state = "closed" if self._is_closed else "not used yet" if fleet is None else "open"
        held = 0 if fleet is None else fleet.held
        return f"<EventPublisher, {state}, {counted(held)} without an outcome>"


_Sends = PartnerEventsClient | SourceGuard


def _parts(sender: object) -> tuple[PartnerEventsClient, SourceGuard | None]:
    """
    Return the client, and the guard in front of it if there is one.

    Raises:
        TypeError: The sender is neither.
    """
    client: object = sender
    guard = None
    if isinstance(sender, SourceGuard):
        guard, client = sender, client_of(sender)
    if isinstance(client, PartnerEventsClient):
        return client, guard
    allowed = "a PartnerEventsClient, a SourceGuard in front of one, or a RegionRouter of these"
    raise wrong_type("client", client, allowed)


def _hand_to(
    on_undelivered: OnUndelivered | None,
    news: News,
    callbacks: Callbacks,
    buffering: BufferSettings,
) -> None:
    """Schedule calls of `on_undelivered` on the callback thread."""
    if on_undelivered is None:
        return

    def hand() -> None:
        while outcomes := handing.take():
            try:
                on_undelivered(outcomes)
            except BaseException as error:  # noqa: BLE001  # the caller's code, on our thread
                log_bug("on_undelivered", error)
        warn_of_left_out(handing)

    handing = news.handing = Handing(
        lambda: callbacks.do(hand), buffering.max_events, buffering.max_bytes
    )


class _Waiters:
    """Callers that wait for a condition that an outcome in any Region can change."""

    def __init__(self, lock: threading.RLock) -> None:
        self._changed = threading.Condition(lock)
        self._lock = lock
        self._count = 0

    def wait_until(self, is_so: Callable[[], bool], until: float, books: Iterable[Book]) -> bool:
        """Wait until a condition holds."""
        # Not `with self._changed`: it is the same lock, but Ctrl-C could leave it held.
        with self._lock:
            try:
                self._count += 1
                while not is_so():
                    left = until - monotonic()
                    if not left > 0:
                        return False
                    for book in books:
                        book.check_wait(left)
                    self._changed.wait(for_lock(left))
            finally:
                self._count -= 1
        return True

    def notify(self) -> None:
        """Let the callers check their conditions. The lock must be held."""
        if self._count:
            self._changed.notify_all()


class _Fleet:
    """The part of a publisher that belongs to one process: a sender for each Region."""

    def __init__(
        self,
        client: _Sends | RegionRouter,
        buffering: BufferSettings,
        exit_timeout: float,
        on_undelivered: OnUndelivered | None,
        *,
        drops_oldest: bool,
    ) -> None:
        self._is_closed = False
        self._on_undelivered = on_undelivered
        self._shared = Shared()
        self._waiters = _Waiters(self._shared.lock)
        self._buffering = buffering
        self._exit_timeout = exit_timeout
        self._drops_oldest = drops_oldest
        self._senders: dict[str, _Sender] = {}
        self._only: _Sender | None = None
        if isinstance(client, RegionRouter):
            self._router = client
            self._routes = Routes(functools.partial(region_of, client))
            self._callbacks = Callbacks()
            observed = functools.partial(observed_by, client_behind(client), "publisher")
            self._desk = Desk(self._shared, self._callbacks.run, observed)
            _hand_to(on_undelivered, self._desk.news, self._callbacks, buffering)
        else:
            self._only = self._senders[""] = self._new_sender(client, None)

    @property
    def is_closed(self) -> bool:
        """Whether the publisher is closed."""
        only = self._only
        return self._is_closed or (only is not None and only.dispatch.book.is_closed)

    def _new_sender(self, sends: object, shared: Shared | None) -> _Sender:
        client, guard = _parts(sends)
        return _Sender(
            line_of(client),
            self._buffering,
            self._exit_timeout,
            self._on_undelivered,
            drops_oldest=self._drops_oldest,
            gate=None if guard is None else Gate(plans_of(guard), client.sources.pace),
            sources=client.sources if guard is not None else None,
            shared=shared,
            waiters=None if shared is None else self._waiters,
        )

    def read(self, given: GivenEvent) -> tuple[_Sender | None, Receipt]:
        """Return an event's sender and receipt; the sender is None if the event has its outcome."""
        if self._only is not None:
            return self._only, self._only.dispatch.book.read(given)
        if self.is_closed:
            raise closed_error()
        event = given if type(given) is PartnerEvent else read(given, None)
        if not isinstance(event, PartnerEvent):
            receipt = self._desk.book.read(given)
            self._desk.count(receipt)
            return None, receipt
        region = self._routes.region(event.source)
        if isinstance(region, ConfigurationError):
            receipt = self._desk.refused(event, region)
            self._desk.count(receipt)
            return None, receipt
        sender = self._senders.get(region) or self._begin(region)
        return sender, sender.dispatch.book.read(event)

    def _begin(self, region: str) -> _Sender:
        sends = sender_of(self._router, region)
        line_of(_parts(sends)[0])  # before the lock: it may raise
        with first_use:
            if self.is_closed:
                raise closed_error()
            sender = self._senders.get(region)
            if sender is None:
                sender = self._new_sender(sends, self._shared)
                if region in self._senders:  # a signal handler has published meanwhile
                    sender.dispatch.retire()
                    return self._senders[region]
                self._senders[region] = sender
        return sender

    def _all(self) -> list[_Sender]:
        return [*self._senders.values()]

    @property
    def is_alive(self) -> bool:
        """Whether each sending thread runs."""
        return all(sender.is_alive for sender in self._all())

    @property
    def held(self) -> int:
        """How many events have no outcome yet."""
        return sum([sender.dispatch.book.buffer.held for sender in self._all()])

    def stats(self) -> PublisherStats:
        """See `EventPublisher.stats`."""
        stats = [sender.dispatch.stats() for sender in self._all()]
        if self._only is None:
            stats.append(self._desk.book.stats(in_flight=0, throttled=0, requests_per_second=None))
        return sum_of_stats(stats)

    def flush(self, timeout: float | None) -> FlushReport:
        """See `EventPublisher.flush`."""
        until = math.inf if timeout is None else monotonic() + timeout
        receipts = [receipt for sender in self._all() for receipt in sender.dispatch.hurry()]
        for receipt in receipts:
            try:
                receipt.wait(until - monotonic())
            except TimeoutError:
                break
        return flush_report(receipts)

    def retire(self) -> list[Receipt]:
        """Stop taking events, and return the receipts without an outcome."""
        with first_use:
            self._is_closed = True
        return [receipt for sender in self._all() for receipt in sender.dispatch.retire()]

    def close(self, timeout: float | None) -> DeliveryReport:
        """See `EventPublisher.close`."""
        until = math.inf if timeout is None else monotonic() + timeout
        receipts = self.retire()
        for sender in self._all():
            sender.close_until(until)
        if self._only is None:
            self._callbacks.end()
            self._callbacks.join(until)
            self._desk.end()
        return close_report(receipts)


class _Sender:
    """The part of a publisher that belongs to one Region: its dispatch, and the sending thread."""

    def __init__(
        self,
        line: Line,
        buffering: BufferSettings,
        exit_timeout: float,
        on_undelivered: OnUndelivered | None,
        *,
        drops_oldest: bool,
        gate: Gate | None = None,
        sources: Sources | None = None,
        shared: Shared | None = None,
        waiters: _Waiters | None = None,
    ) -> None:
        self.exit_timeout = exit_timeout
        self._line = line
        self._callbacks = Callbacks()
        self.dispatch = Dispatch(
            line.settings,
            line.quota,
            line.pace,
            buffering,
            call=self._callbacks.run,
            on_room=self._make_way,
            witness=line.witness,
            drops_oldest=drops_oldest,
            gate=gate,
            shared=shared,
        )
        self._waiters = waiters or _Waiters(self.dispatch.book.lock)
        if gate is not None and sources is not None:
            self.dispatch.look_up = LookUps(gate, self.dispatch, sources).begin
        _hand_to(on_undelivered, self.dispatch.news, self._callbacks, buffering)
        self._has_ended = False
        self.dispatch.book.expect_calls = self._callbacks.expect
        self.dispatch.book.is_sending = is_sending
        self._flights: Flights[Flight] | None = None
        self._open_flights()
        try:
            self._thread = SendingThread(self._run, "eventbridge-partner-publisher")
            self._thread.start()
        except RuntimeError as error:
            self._close_flights()
            raise PublisherClosedError("the process is ending, and can start no thread") from error
        except BaseException:  # Ctrl-C; the thread may have started
            self.dispatch.retire()
            raise
        _at_end.add(self)
        # Kept here: the publisher may be garbage-collected while this still sends.
        after_fork(self, _Sender.leave_to_parent)

    # ------------------------------------------------------------ in any thread

    @property
    def is_alive(self) -> bool:
        """Whether its thread is alive."""
        return self._thread.is_alive()

    def admit_within(self, receipt: Receipt, timeout: float) -> bool:
        """
        Queue an event once there is room for it.

        Raises:
            PublisherClosedError: The publisher is closed.
        """
        until = monotonic() + timeout
        return self._wait_until(lambda: self.dispatch.admit(receipt), until)

    def _wait_until(self, is_so: Callable[[], bool], until: float) -> bool:
        """Wait until a condition holds that an outcome can change."""
        return self._waiters.wait_until(is_so, until, (self.dispatch.book,))

    def _make_way(self) -> None:
        self._waiters.notify()

    def close(self, timeout: float | None, *, says_lost: bool = False) -> DeliveryReport:
        """Stop taking events, send those left, and end; see `Dispatch.cut_off`."""
        until = math.inf if timeout is None else monotonic() + timeout
        receipts = self.dispatch.retire()
        self.close_until(until, says_lost=says_lost)
        return close_report(receipts)

    def close_until(self, until: float, *, says_lost: bool = False) -> None:
        """Wait for the events left, and end; see `Dispatch.cut_off`."""
        self._wait_until(lambda: self.dispatch.is_over, until)
        self.dispatch.cut_off(says_lost=says_lost)
        # Until the thread has reported all outcomes.
        last = min(until, monotonic() + _LAST_SECONDS)
        self._waiters.wait_until(lambda: self._has_ended, last, ())
        self._callbacks.end()
        self._callbacks.join(until)
        self.dispatch.news.sum_up()

    def leave_to_parent(self) -> None:
        """Do nothing in a forked child: the parent continues."""
        self.dispatch.leave_to_parent()
        self._callbacks = Callbacks()
        self._callbacks.end()
        self.dispatch.book.call = self._callbacks.run
        self.dispatch.book.expect_calls = self._callbacks.expect
        _at_end.discard(self)

    # ------------------------------------------------------------ in the thread

    def _run(self) -> None:
        dispatch = self.dispatch
        while True:
            try:
                while not dispatch.is_over:
                    self._step()
                break
            except BaseException as error:  # noqa: BLE001  # every receipt must get an outcome
                dispatch.give_up(error)
                self._close_flights()
                time.sleep(REST)
        self._close_flights()
        dispatch.note_others()
        dispatch.news.sum_up()
        self._callbacks.end()
        with dispatch.book.lock:
            self._has_ended = True
            self._waiters.notify()
        _at_end.discard(self)

    def _close_flights(self) -> None:
        flights, self._flights = self._flights, None
        self.dispatch.wake = _nothing
        if flights is not None:
            try:
                flights.close()
            except Exception as error:  # noqa: BLE001  # a transport's error decides no event
                name = type(error).__name__
                log(logging.ERROR, "closing the publisher's connections raised %s", name)
            finally:
                self.dispatch.tell_unanswered()

    def _open_flights(self) -> Flights[Flight]:
        flights = self._flights = self._line.open_flights(stays_free=True)
        self.dispatch.wake = flights.waker()
        return flights

    def _step(self) -> None:
        flights = self._flights or self._open_flights()
        now = monotonic()
        match self.dispatch.next_step(now):
            case Send(batch):
                self._send(batch, flights)
            case Wait(until):
                self._receive(_LONGEST_WAIT if until is None else until - now, flights)
                self.dispatch.has_waited()
            case None:
                pass

    def _send(self, batch: Batch, flights: Flights[Flight]) -> None:
        try:
            self._line.submit(flights, batch, self._line.timeouts, self.dispatch.origins)
        except CredentialsError as error:
            self.dispatch.not_sent(batch, error)

    def _receive(self, seconds: float, flights: Flights[Flight]) -> None:
        seconds = min(max(0.0, seconds), _LONGEST_WAIT)
        for flight, answer in flights.collect(seconds):
            self._line.land(flight, answer, self.dispatch, self.dispatch.note)


def _nothing() -> None:
    pass


# ---------------------------------------------------------------- the end of a process

_at_end: Final[set[_Sender]] = set()
"""The senders of this process that have not ended."""


def _end_process() -> None:
    """Give the events left their publisher's `exit_timeout`, and log what was lost."""
    senders = [*_at_end]
    started = monotonic()
    try:
        for sender in senders:
            sender.dispatch.retire()
        for sender in senders:
            left = sender.exit_timeout - (monotonic() - started)
            warn_of_lost(sender.close(max(0.0, left), says_lost=True))
    except KeyboardInterrupt:  # a second Ctrl-C ends the wait
        for sender in senders:
            warn_of_lost(sender.close(0.0, says_lost=True))


atexit.register(_end_process)
