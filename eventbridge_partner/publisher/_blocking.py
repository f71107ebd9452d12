"""The publisher: takes events one by one, and sends them in batches behind the caller's back."""

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
from eventbridge_partner.client._base import credentials_of, line_of
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
"""A longer wait is one of several: no clock takes infinity."""

_LAST_SECONDS: Final = 1.0
"""So many seconds the thread has for telling of the last outcomes, which takes far less."""


class EventPublisher:
    """
    Takes events one at a time, and sends them in batches on a thread of its own.

    `publish` returns at once, with a receipt that will have the event's outcome. Thread-safe, and
    safe to use on both sides of a fork: the parent keeps its events, and the child begins with
    none. The thread starts with the first event.

    Close it: `with`, or `close`. At the end of a process that does not, what is left has
    `exit_timeout` seconds, and a warning is logged with the number of events that were lost.

    Args:
        client: What sends: a client, a `SourceGuard` in front of one, or a `RegionRouter`, whose
            Regions may have guards in front. Clients stay the caller's to close, after the
            publisher. Behind a guard, events of a source that must be looked up wait for that,
            and no others do; what it rejects or parks is the outcome of the receipt. Behind a
            router, each Region has a thread of its own, and may hold nine tenths of the room that
            the others leave; a `lookup` that is a function is asked by `publish`, and again for
            the same source after a minute.
        linger: Seconds that an event waits for others to share its request.
        max_buffered_events: How many events may have no outcome yet, those in flight included.
            One source may hold nine tenths of what the others leave.
        max_buffered_bytes: The size of those events together, as the service counts.
        on_full: What to do when there is no room: `block` until there is some, for up to
            `block_timeout`; `raise` BufferFullError; `drop_oldest` or `drop_newest`, which gives
            that event the outcome `Exhausted` with the code `BufferFull`.
        block_timeout: Seconds that `publish` waits for room, unless it is told otherwise.
        exit_timeout: Seconds for what is left at the end of a process without `close`.
        on_undelivered: Is given the outcomes of all events that are not accepted, in lists of
            1,000 at most, on the thread of callbacks, before `close` returns. As many wait for it
            as the buffer may hold; those that it is too slow for are left out, and the log says
            how many. What it raises is logged.

    Raises:
        ValueError: A number or word that cannot work.
        TypeError: An argument of the wrong type, such as a client of the other world.
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
        Take an event to be sent, and return at once if there is room for it.

        Args:
            event: A `PartnerEvent`, or a mapping with an entry's member names; one that breaks a
                limit has its outcome, `Rejected`, at once.
            timeout: Seconds to wait for room, where `on_full` is `block`; None for the
                publisher's `block_timeout`.

        Returns:
            The event's receipt.

        Raises:
            BufferFullError: There was no room.
            PublisherClosedError: The publisher is closed.
            ConfigurationError: No Region, or a setting that cannot work; looked up by the first
                call. The event was not taken.

        A signal's handler and a finalizer may call this. In the middle of a step of the publisher
        they get a receipt in any case; if there is no room, it has the code `BufferFull`.
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
        Take events to be sent.

        Args:
            events: As for `publish`, any number.
            timeout: Seconds to wait for room, for all of them together, where `on_full` is
                `block`; None for the publisher's `block_timeout`.

        Returns:
            A receipt for each event, in their order. An event for which there was no room has the
            outcome `Exhausted` with the code `BufferFull`; one that came after a `close` has
            `PublisherClosed`.

        Raises:
            PublisherClosedError: The publisher is closed, and no event was taken.
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
                        "the buffer is full, and the thread that makes room does not wait for it"
                    )
                if not sender.admit_within(receipt, timeout):
                    raise BufferFullError(f"the buffer is full, and was for {timeout:g} s")
            case "raise":
                raise BufferFullError("the buffer is full")
            case "drop_newest":
                sender.dispatch.book.drop(receipt)
            case "drop_oldest":
                sender.dispatch.admit_dropping_oldest(receipt)

    # ------------------------------------------------------------ what becomes of it

    def flush(self, timeout: float | None = 30.0) -> FlushReport:
        """
        Send what is here now without lingering, and wait until it has its outcomes.

        Args:
            timeout: Seconds; None for no bound.

        Returns:
            How many of those events came to which outcome, and how many are left.

        Raises:
            RuntimeError: It would wait for the thread that calls it, which is one that sends.
        """
        fleet = self._fleet
        return flush_report(()) if fleet is None else fleet.flush(timeout)

    def close(self, timeout: float | None = 30.0) -> DeliveryReport:
        """
        Take no more events, send what is here, and end.

        After `timeout`, what is in flight is `Unconfirmed` and what is not is `Exhausted`, with
        the code `PublisherClosed`: then no receipt is left open. Callbacks that are due are waited
        for, within the same time. Closing again does nothing.

        Args:
            timeout: Seconds; None for no bound.

        Returns:
            One outcome for each event that had none. What is not in `accepted` was not sent, or may
            not have been.

        Raises:
            RuntimeError: It would wait for the thread that calls it, which is one that sends. No
                more events are taken, and what is here goes on.
        """
        with first_use:
            self._is_closed = True
            fleet = self._fleet
        return DeliveryReport(()) if fleet is None else fleet.close(timeout)

    def stats(self) -> PublisherStats:
        """Return what there is, and what became of what there was; the counts of this process."""
        fleet = self._fleet
        return PublisherStats() if fleet is None else fleet.stats()

    def readiness(self, *, max_age: float = 60.0, timeout: float = 1.0) -> Readiness:
        """
        Tell whether it can take and send events now. It sends nothing.

        For a readiness probe, which may ask each second; see the how-to "Probe readiness".

        Args:
            max_age: Seconds for which the oldest event may have been without an outcome.
            timeout: Seconds to wait for what has to be looked up; longer ones go on by themselves.

        Returns:
            Every reason against it: it is closed, what sends has ended, the oldest event is too
            old, or the client lacks settings or credentials.

        Raises:
            TypeError: A number of seconds is none.
            ValueError: It is not above 0.
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
            # Its Regions share them; which Regions there will be nobody knows.
            credentials = credentials_of(client_behind(self._client))
            reasons = self._probe.reasons(
                credentials.frozen, timeout, may_block=credentials.may_block()
            )
        else:
            reasons = _parts(self._client)[0].readiness(timeout=timeout).reasons
        return Readiness((*own, *reasons), age)

    # ------------------------------------------------------------ life

    def _begin(self) -> _Fleet:
        """Return what belongs to this process, made at the first use in it."""
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
                if self._fleet is not None:  # a signal's handler published meanwhile
                    fleet.retire()
                    return self._fleet
                self._fleet = fleet
                # Who forgets a publisher without closing it gets its events sent all the same.
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
        return f"<EventPublisher, {state}, {held} events without an outcome>"


_Sends = PartnerEventsClient | SourceGuard


def _parts(sender: object) -> tuple[PartnerEventsClient, SourceGuard | None]:
    """
    Return the client that sends, and the guard in front of it if there is one.

    Raises:
        TypeError: It is neither.
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
    """Have outcomes handed to `on_undelivered` on the thread of callbacks."""
    if on_undelivered is None:
        return

    def hand() -> None:
        while outcomes := handing.take():
            try:
                on_undelivered(outcomes)
            except BaseException as error:  # noqa: BLE001  # the caller's, on a thread of ours
                log_bug("on_undelivered", error)
        warn_of_left_out(handing)

    handing = news.handing = Handing(
        lambda: callbacks.do(hand), buffering.max_events, buffering.max_bytes
    )


class _Waiters:
    """Those who wait for what can change with each outcome, in any Region."""

    def __init__(self, lock: threading.RLock) -> None:
        self._changed = threading.Condition(lock)
        self._lock = lock
        self._count = 0

    def wait_until(self, is_so: Callable[[], bool], until: float, books: Iterable[Book]) -> bool:
        """Wait until something is so."""
        # Not `with self._changed`: that is the same lock, but Ctrl-C could leave it held.
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
        """Let them look. The lock is held."""
        if self._count:
            self._changed.notify_all()


class _Fleet:
    """What of a publisher belongs to one process: a sender for each Region."""

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
            self._desk = Desk(self._shared, self._callbacks.run)
            _hand_to(on_undelivered, self._desk.book.news, self._callbacks, buffering)
        else:
            self._only = self._senders[""] = self._new_sender(client, None)

    @property
    def is_closed(self) -> bool:
        """Whether nothing may be published any more."""
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
        """Return the receipt of an event, and who sends it; None if it has its outcome."""
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
                if region in self._senders:  # a signal's handler published meanwhile
                    sender.dispatch.retire()
                    return self._senders[region]
                self._senders[region] = sender
        return sender

    def _all(self) -> list[_Sender]:
        return [*self._senders.values()]

    @property
    def is_alive(self) -> bool:
        """Whether each thread that sends is alive."""
        return all(sender.is_alive for sender in self._all())

    @property
    def held(self) -> int:
        """How many events have no outcome."""
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
        """Take no more events, and return the receipts without an outcome."""
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
            self._desk.book.news.sum_up()
        return close_report(receipts)


class _Sender:
    """What of a publisher belongs to one Region: its dispatch, and the thread that sends."""

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
            raise PublisherClosedError("the process ends, and starts no more threads") from error
        except BaseException:  # Ctrl-C; the thread may have started
            self.dispatch.retire()
            raise
        _at_end.add(self)
        # Not left to its publisher: that may be forgotten while this still sends.
        after_fork(self, _Sender.leave_to_parent)

    # ------------------------------------------------------------ in any thread

    @property
    def is_alive(self) -> bool:
        """Whether its thread is alive."""
        return self._thread.is_alive()

    def admit_within(self, receipt: Receipt, timeout: float) -> bool:
        """
        Take an event in when there is room for it.

        Raises:
            PublisherClosedError: Nothing is taken any more.
        """
        until = monotonic() + timeout
        return self._wait_until(lambda: self.dispatch.admit(receipt), until)

    def _wait_until(self, is_so: Callable[[], bool], until: float) -> bool:
        """Wait until something is so, which can change with each outcome."""
        return self._waiters.wait_until(is_so, until, (self.dispatch.book,))

    def _make_way(self) -> None:
        self._waiters.notify()

    def close(self, timeout: float | None, *, says_lost: bool = False) -> DeliveryReport:
        """Take no more events, send what is here, and end; see `Dispatch.cut_off`."""
        until = math.inf if timeout is None else monotonic() + timeout
        receipts = self.dispatch.retire()
        self.close_until(until, says_lost=says_lost)
        return close_report(receipts)

    def close_until(self, until: float, *, says_lost: bool = False) -> None:
        """Wait for what is here, and end; see `Dispatch.cut_off`."""
        self._wait_until(lambda: self.dispatch.is_over, until)
        self.dispatch.cut_off(says_lost=says_lost)
        # Until the thread has told of all outcomes.
        last = min(until, monotonic() + _LAST_SECONDS)
        self._waiters.wait_until(lambda: self._has_ended, last, ())
        self._callbacks.end()
        self._callbacks.join(until)
        self.dispatch.news.sum_up()

    def leave_to_parent(self) -> None:
        """Be nothing to the child process that this is a copy in: its parent goes on."""
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
            except BaseException as error:  # noqa: BLE001  # whatever it is, no receipt stays open
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
            except Exception as error:  # noqa: BLE001  # a transport's fault is no event's fate
                name = type(error).__name__
                log(logging.ERROR, "closing the publisher's connections raised %s", name)

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
    """Give what is left the time that its publisher has for that, and say what was lost."""
    senders = [*_at_end]
    started = monotonic()
    try:
        for sender in senders:
            sender.dispatch.retire()
        for sender in senders:
            left = sender.exit_timeout - (monotonic() - started)
            warn_of_lost(sender.close(max(0.0, left), says_lost=True))
    except KeyboardInterrupt:  # who asks twice is not to wait
        for sender in senders:
            warn_of_lost(sender.close(0.0, says_lost=True))


atexit.register(_end_process)
