"""The publisher: takes events one by one, and sends them in batches behind the caller's back."""

from __future__ import annotations

import atexit
import logging
import math
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Final, NoReturn, Self

import attrs

from eventbridge_partner._buffer import Buffer, BufferSettings, OnFull, checked_on_full
from eventbridge_partner._flight import Flight
from eventbridge_partner._forks import after_fork, first_use
from eventbridge_partner._input import refuse_single
from eventbridge_partner._receipts import (
    CUT_OFF,
    NOT_SENT,
    PUBLISHER_CLOSED,
    Book,
    Callback,
    FlushReport,
    PublisherStats,
    Receipt,
    Wakes,
    close_report,
    flush_report,
    for_lock,
    run_callback,
)
from eventbridge_partner.client import Means, PartnerEventsClient, means_of
from eventbridge_partner.delivery import Batch, Delivery, Finished, Send, Take, Wait
from eventbridge_partner.errors import (
    BufferFullError,
    CredentialsError,
    PublisherClosedError,
)
from eventbridge_partner.models import DeliveryReport, GivenEvent

_log: Final = logging.getLogger("eventbridge_partner")

_LONGEST_WAIT: Final = 3600.0
"""A longer wait is one of several: no clock takes infinity."""

_TURNS_OF_ONE: Final = 2
"""Of how many rounds of requests in flight one source may hold the events."""


class EventPublisher:
    """
    Takes events one at a time, and sends them in batches on a thread of its own.

    `publish` returns at once, with a receipt that will have the event's outcome. Thread-safe, and
    safe to use on both sides of a fork: the parent keeps its events, and the child begins with
    none. The thread starts with the first event.

    Close it: `with`, or `close`. At the end of a process that does not, what is left has
    `exit_timeout` seconds, and a warning is logged with the number of events that were lost.

    Args:
        client: What sends. It stays the caller's to close, after the publisher.
        linger: Seconds that an event waits for others to share its request.
        max_buffered_events: How many events may have no outcome yet, those in flight included.
            One source may hold nine tenths of what the others leave.
        max_buffered_bytes: The size of those events together, as the service counts.
        on_full: What to do when there is no room: `block` until there is some, for up to
            `block_timeout`; `raise` BufferFullError; `drop_oldest` or `drop_newest`, which gives
            that event the outcome `Exhausted` with the code `BufferFull`.
        block_timeout: Seconds that `publish` waits for room, unless it is told otherwise.
        exit_timeout: Seconds for what is left at the end of a process without `close`.

    Raises:
        ValueError: A number or word that cannot work.
    """

    def __init__(
        self,
        client: PartnerEventsClient,
        *,
        linger: float = 0.05,
        max_buffered_events: int = 10_000,
        max_buffered_bytes: int = 64 * 1024 * 1024,
        on_full: OnFull = "block",
        block_timeout: float = 5.0,
        exit_timeout: float = 5.0,
    ) -> None:
        self._client = client
        self._settings = BufferSettings(
            linger=linger,
            max_events=max_buffered_events,
            max_bytes=max_buffered_bytes,
            max_taken=1,
        )
        self._on_full: OnFull = checked_on_full(on_full)
        self._block_timeout = checked_seconds("block_timeout", block_timeout)
        self._exit_timeout = checked_seconds("exit_timeout", exit_timeout)
        self._is_closed = False
        self._sender: _Sender | None = None
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
        """
        sender = self._sender or self._begin()
        receipt = sender.book.read(event)
        if not sender.admit(receipt):
            self._without_room(sender, receipt, timeout)
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
        sender = self._sender or self._begin()
        if sender.book.is_closed:
            raise _closed()
        until = time.monotonic() + (self._block_timeout if timeout is None else timeout)
        receipts: list[Receipt] = []
        for event in events:
            receipt = sender.book.read(event)
            receipts.append(receipt)
            try:
                if not sender.admit(receipt):
                    self._without_room(sender, receipt, until - time.monotonic())
            except BufferFullError:
                sender.book.drop(receipt)
            except PublisherClosedError:
                sender.book.refuse(receipt)
        return receipts

    def _without_room(self, sender: _Sender, receipt: Receipt, timeout: float | None) -> None:
        match self._on_full:
            case "block":
                if timeout is None:
                    timeout = self._block_timeout
                if not sender.admit_within(receipt, timeout):
                    raise BufferFullError(f"the buffer is full, and was for {timeout:g} s")
            case "raise":
                raise BufferFullError("the buffer is full")
            case "drop_newest":
                sender.book.drop(receipt)
            case "drop_oldest":
                sender.admit_dropping_oldest(receipt)

    # ------------------------------------------------------------ what becomes of it

    def flush(self, timeout: float | None = 30.0) -> FlushReport:
        """
        Send what is here now without lingering, and wait until it has its outcomes.

        Args:
            timeout: Seconds; None for no bound.

        Returns:
            How many of those events came to which outcome, and how many are left.
        """
        sender = self._sender
        return flush_report(()) if sender is None else sender.flush(timeout)

    def close(self, timeout: float | None = 30.0) -> DeliveryReport:
        """
        Take no more events, send what is here, and end.

        After `timeout`, what is in flight is `Unconfirmed` and what is not is `Exhausted`, with
        the code `PublisherClosed`: then no receipt is left open. Callbacks that are due are waited
        for, within the same time. Closing again does nothing.

        Args:
            timeout: Seconds; None for no bound.

        Returns:
            One outcome for each event that had none: what is not in `accepted` was not sent, or
            may not have been.
        """
        self._is_closed = True
        sender = self._sender
        return DeliveryReport(()) if sender is None else sender.close(timeout)

    def stats(self) -> PublisherStats:
        """Return what there is, and what became of what there was; the counts of this process."""
        sender = self._sender
        return PublisherStats() if sender is None else sender.stats()

    # ------------------------------------------------------------ life

    def _begin(self) -> _Sender:
        """Return what belongs to this process, made at the first use in it."""
        if self._is_closed:
            raise _closed()
        means = means_of(self._client)
        with first_use:
            if self._sender is None:
                self._sender = _Sender(means, self._settings, self._exit_timeout)
                # Who forgets a publisher without closing it gets its events sent all the same.
                weakref.finalize(self, self._sender.retire).atexit = False
        return self._sender

    def _leave_parent(self) -> None:
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.leave_to_parent()

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
        sender = self._sender
        state = "closed" if self._is_closed else "not used yet" if sender is None else "open"
        held = 0 if sender is None else sender.book.buffer.held
        return f"<EventPublisher, {state}, {held} events without an outcome>"


def checked_seconds(name: str, seconds: float) -> float:
    """
    Refuse a time that makes no sense.

    Raises:
        ValueError: It is below 0, or NaN.
    """
    if not seconds >= 0:
        raise ValueError(f"{name} is {seconds!r}; allowed: 0 or more seconds")
    return seconds


def _nothing() -> None:
    pass


def _closed() -> PublisherClosedError:
    return PublisherClosedError("the publisher is closed")


class _Sender:
    """
    What of a publisher belongs to one process: its book, and the thread that sends.

    Two locks, each held for moments: the book's, and one for the delivery. Who needs both takes
    the delivery's first. None is held while something is sent, or waited for.
    """

    def __init__(self, means: Means, settings: BufferSettings, exit_timeout: float) -> None:
        of_delivery = means.looked_up.settings
        limits = of_delivery.limits
        self._max_entries = limits.max_entries
        settings = attrs.evolve(
            settings, max_taken=_TURNS_OF_ONE * of_delivery.max_in_flight * limits.max_entries
        )
        self.exit_timeout = exit_timeout
        self._means = means
        self._callbacks = _Callbacks()
        self.book = Book(Buffer(settings, limits), self._callbacks.run, self._make_way)
        self._room = threading.Condition(self.book.lock)
        self._waiting_for_room = 0
        self._turn = threading.RLock()
        self._begin_delivery()
        self._throttled_before = 0
        self._flights = means.open_flights()
        self._wake = self._flights.waker()
        # With so many events ready, the thread wants to be woken; None if it does not.
        self._alarm_at: int | None = None
        _begin_thread(self._run, "eventbridge-partner-publisher")
        _at_end.add(self)

    def _begin_delivery(self) -> None:
        means = self._means
        self._delivery = Delivery(
            means.looked_up.settings, means.quota, pace=means.pace, is_packed=True
        )
        self._first = 0

    # ------------------------------------------------------------ in any thread

    def admit(self, receipt: Receipt) -> bool:
        """
        Take an event in if there is room.

        Raises:
            PublisherClosedError: Nothing is taken any more.
        """
        with self.book.lock:
            if not self._offer(receipt):
                return False
            rings = self._is_to_ring()
        if rings:
            self._wake()
        return True

    def _offer(self, receipt: Receipt) -> bool:
        book = self.book
        if book.is_closed:
            raise _closed()
        if receipt.outcome is not None:
            book.buffer.decide_at_once(receipt.outcome)
            return True
        return book.buffer.offer(receipt)

    def _is_to_ring(self) -> bool:
        alarm_at, buffer = self._alarm_at, self.book.buffer
        if alarm_at is None or not (buffer.ready_events >= alarm_at or buffer.has_batch()):
            return False
        self._alarm_at = None
        return True

    def admit_within(self, receipt: Receipt, timeout: float) -> bool:
        """
        Take an event in when there is room for it.

        Raises:
            PublisherClosedError: Nothing is taken any more.
        """
        until = time.monotonic() + timeout
        with self._room:
            self._waiting_for_room += 1
            try:
                while not self._offer(receipt):
                    left = until - time.monotonic()
                    if left <= 0:
                        return False
                    self._room.wait(for_lock(left))
            finally:
                self._waiting_for_room -= 1
            rings = self._is_to_ring()
        if rings:
            self._wake()
        return True

    def admit_dropping_oldest(self, receipt: Receipt) -> None:
        """
        Take an event in, and make room for it.

        Raises:
            PublisherClosedError: Nothing is taken any more.
        """
        with self.book.lock:
            if self.book.is_closed:
                raise _closed()
            wakes = self.book.offer_dropping_oldest(receipt)
        for wake in wakes:
            wake()

    def _make_way(self) -> None:
        if self._waiting_for_room:
            self._room.notify_all()

    def flush(self, timeout: float | None) -> FlushReport:
        """See `EventPublisher.flush`."""
        until = math.inf if timeout is None else time.monotonic() + timeout
        with self.book.lock:
            receipts = self.book.open_receipts()
            self.book.buffer.hurry(time.monotonic())
        self._wake()
        for receipt in receipts:
            try:
                receipt.result(until - time.monotonic())
            except TimeoutError:
                break
        return flush_report(receipts)

    def close(self, timeout: float | None) -> DeliveryReport:
        """See `EventPublisher.close`."""
        until = math.inf if timeout is None else time.monotonic() + timeout
        receipts = self.retire()
        with self._room:
            self._waiting_for_room += 1
            try:
                while self.book.buffer.held and (left := until - time.monotonic()) > 0:
                    self._room.wait(for_lock(left))
            finally:
                self._waiting_for_room -= 1
        self._cut_off()
        self._callbacks.end(until)
        return close_report(receipts)

    def retire(self) -> list[Receipt]:
        """Take no more events, and end when all that are here have their outcome."""
        if self.book.is_parents:
            return []
        with self._room:
            self.book.is_closed = True
            receipts = self.book.open_receipts()
            self.book.buffer.hurry(math.inf)
            self._room.notify_all()
        self._wake()
        return receipts

    def leave_to_parent(self) -> None:
        """Be nothing to the child process that this is: its parent goes on."""
        self.book.leave_to_parent()
        self._wake = _nothing
        _at_end.discard(self)

    def _cut_off(self) -> None:
        """Give everything that has no outcome one."""
        with self._turn:
            if not self.book.buffer.held:
                return
            wakes = self._abandon(PUBLISHER_CLOSED, NOT_SENT, CUT_OFF)
        for wake in wakes:
            wake()
        self.book.give_back()
        self._wake()

    def _abandon(self, code: str, message: str, doubt: str) -> Wakes:
        """End the delivery. Its lock is held."""
        self._delivery.abandon(code, message, doubt)
        return self.book.settle(self._delivery.outcomes())

    def stats(self) -> PublisherStats:
        """See `EventPublisher.stats`."""
        with self._turn:
            return self.book.stats(
                in_flight=self._delivery.events_in_flight,
                throttled=self._throttled_before + self._delivery.throttled,
                requests_per_second=self._means.pace.requests_per_second,
            )

    # ------------------------------------------------------------ in the thread

    def _run(self) -> None:
        while True:
            try:
                while not (self.book.is_closed and not self.book.buffer.held):
                    self._step()
                break
            except BaseException as error:  # noqa: BLE001  # whatever it is, no receipt stays open
                name = type(error).__name__
                _log.error("the publisher's thread goes on after %s", name)
                with self._turn:
                    wakes = self._abandon(name, "the sender failed", "the sender failed")
                    self._renew_delivery()
                for wake in wakes:
                    wake()
                self._flights.close()
                self._flights = self._means.open_flights()
                self._wake = self._flights.waker()
        self._flights.close()
        _at_end.discard(self)

    def _step(self) -> None:
        now = time.monotonic()
        with self._turn:
            delivery = self._delivery
            may_take = not delivery.is_halted
            is_due = may_take and self.book.buffer.due_at() <= now
            action = delivery.next_action(now, input_pauses=not is_due)
            if is_due and isinstance(action, Take):
                taken = self.book.take(self._first)
                self._first += len(taken)
                delivery.take_all([receipt.event for receipt in taken])
                wakes = self.book.settle(delivery.outcomes())
            elif isinstance(action, (Take, Finished)) and delivery.is_halted:
                wakes = self.book.settle(delivery.outcomes())
                self._renew_delivery()
            else:
                wakes = []
        for wake in wakes:
            wake()
        match action:
            case Send(batch):
                self._send(batch)
            case Wait(until):
                self._wait(now, math.inf if until is None else until, looks_at_buffer=not is_due)
            case Take() | Finished.FINISHED:
                if not is_due and may_take:
                    self._wait(now, math.inf, looks_at_buffer=True)

    def _renew_delivery(self) -> None:
        """Begin anew: the delivery that there was sends nothing any more."""
        self._throttled_before += self._delivery.throttled
        self._begin_delivery()

    def _send(self, batch: Batch) -> None:
        means = self._means
        try:
            credentials = means.looked_up.credentials.frozen()
        except CredentialsError as error:
            with self._turn:
                self._delivery.not_sent(batch, error, time.monotonic())
                wakes = self.book.settle(self._delivery.outcomes())
            for wake in wakes:
                wake()
            return
        flight = Flight.of(batch, credentials)
        self._flights.submit(flight, flight.request(means.looked_up.edge), means.timeouts)

    def _wait(self, now: float, until: float, *, looks_at_buffer: bool) -> None:
        """Wait for answers, until a time, or until a batch is due if there was none."""
        if looks_at_buffer:
            with self.book.lock:
                buffer = self.book.buffer
                due_at = buffer.due_at()
                if due_at <= now:
                    return
                self._alarm_at = self._max_entries if buffer.ready_events else 1
            until = min(until, due_at)
        self._receive(min(max(0.0, until - now), _LONGEST_WAIT))
        self._alarm_at = None

    def _receive(self, seconds: float) -> None:
        looked_up, delivery = self._means.looked_up, self._delivery
        for flight, answer in self._flights.collect(seconds):
            with self._turn:
                error = flight.landed(answer, delivery, time.monotonic())
            if error is not None:
                error = flight.after_remedy(error, looked_up.credentials, looked_up.edge)
                with self._turn:
                    delivery.failed(flight.batch, error, time.monotonic())
        with self._turn:
            wakes = self.book.settle(delivery.outcomes())
        for wake in wakes:
            wake()


class _Callbacks:
    """Calls callbacks one after the other, on a thread that starts with the first."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._due: queue.SimpleQueue[tuple[Callback, Receipt] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def run(self, callback: Callback, receipt: Receipt) -> None:
        """Call a callback soon; at once if the process ends and starts no more threads."""
        with self._lock:
            if self._thread is None:
                with suppress(RuntimeError):
                    self._thread = _begin_thread(self._call_all, "eventbridge-partner-callbacks")
            has_thread = self._thread is not None
            if has_thread:
                self._due.put((callback, receipt))
        if not has_thread:
            run_callback(callback, receipt)

    def _call_all(self) -> None:
        while (due := self._due.get()) is not None:
            run_callback(*due)
            del due  # an idle thread holds on to nothing

    def end(self, until: float) -> None:
        """Let the thread end when all callbacks were called, and wait for that."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is None:
                return
            self._due.put(None)
        if thread is not threading.current_thread():
            thread.join(for_lock(until - time.monotonic()))


def _begin_thread(target: Callable[[], None], name: str) -> threading.Thread:
    # A daemon: the end of the process waits for no request that hangs.
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread


# ---------------------------------------------------------------- the end of a process

_at_end: Final[set[_Sender]] = set()
"""The senders of this process that have not ended."""


def _end_process() -> None:
    """Give what is left the time that its publisher has for that, and say what was lost."""
    senders = [*_at_end]
    started = time.monotonic()
    try:
        for sender in senders:
            sender.retire()
        for sender in senders:
            left = sender.exit_timeout - (time.monotonic() - started)
            _warn_of_lost(sender.close(max(0.0, left)))
    except KeyboardInterrupt:  # who asks twice is not to wait
        for sender in senders:
            _warn_of_lost(sender.close(0.0))


def _warn_of_lost(report: DeliveryReport) -> None:
    counts = report.counts
    if counts.exhausted or counts.unconfirmed:
        _log.warning(
            "the process ends without a close() of its publisher: %d events were not sent, "
            "and %d may or may not have arrived",
            counts.exhausted,
            counts.unconfirmed,
        )


atexit.register(_end_process)
