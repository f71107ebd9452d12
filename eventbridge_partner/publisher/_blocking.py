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

from eventbridge_partner._bugs import log_bug
from eventbridge_partner._clock import monotonic
from eventbridge_partner._forks import after_fork, first_use
from eventbridge_partner._logs import log
from eventbridge_partner._threads import SendingThread, is_sending
from eventbridge_partner.client._base import line_of
from eventbridge_partner.client._blocking import PartnerEventsClient
from eventbridge_partner.delivery.actions import Send, Wait
from eventbridge_partner.delivery.entries import Batch
from eventbridge_partner.delivery.given import refuse_single
from eventbridge_partner.errors import BufferFullError, CredentialsError, PublisherClosedError
from eventbridge_partner.line._blocking import Line
from eventbridge_partner.line._flight import Flight
from eventbridge_partner.models import DeliveryReport, GivenEvent
from eventbridge_partner.publisher._buffer import BufferSettings, OnFull, checked_on_full
from eventbridge_partner.publisher._callbacks import Callbacks
from eventbridge_partner.publisher._dispatch import (
    REST,
    Dispatch,
    checked_seconds,
    closed_error,
    warn_of_left_out,
    warn_of_lost,
)
from eventbridge_partner.publisher._news import Handing, OnUndelivered
from eventbridge_partner.publisher._receipts import (
    FlushReport,
    PublisherStats,
    Receipt,
    close_report,
    flush_report,
    for_lock,
)
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
        on_undelivered: Is given the outcomes of all events that are not accepted, in lists of
            1,000 at most, on the thread of callbacks, before `close` returns. As many wait for it
            as the buffer may hold; those that it is too slow for are left out, and the log says
            how many. What it raises is logged.

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
        on_undelivered: OnUndelivered | None = None,
    ) -> None:
        self._client = client
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

        A signal's handler and a finalizer may call this. In the middle of a step of the publisher
        they get a receipt in any case; if there is no room, it has the code `BufferFull`.
        """
        sender = self._sender or self._begin()
        book = sender.dispatch.book
        receipt = book.read(event)
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
        sender = self._sender or self._begin()
        if sender.dispatch.book.is_closed:
            raise closed_error()
        until = monotonic() + (self._block_timeout if timeout is None else timeout)
        receipts: list[Receipt] = []
        for event in events:
            receipt = sender.dispatch.book.read(event)
            receipts.append(receipt)
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
            One outcome for each event that had none. What is not in `accepted` was not sent, or may
            not have been.

        Raises:
            RuntimeError: It would wait for the thread that calls it, which is one that sends. No
                more events are taken, and what is here goes on.
        """
        with first_use:
            self._is_closed = True
            sender = self._sender
        return DeliveryReport(()) if sender is None else sender.close(timeout)

    def stats(self) -> PublisherStats:
        """Return what there is, and what became of what there was; the counts of this process."""
        sender = self._sender
        return PublisherStats() if sender is None else sender.dispatch.stats()

    # ------------------------------------------------------------ life

    def _begin(self) -> _Sender:
        """Return what belongs to this process, made at the first use in it."""
        if self._is_closed:
            raise closed_error()
        line = line_of(self._client)
        with first_use:
            if self._is_closed:
                raise closed_error()
            if self._sender is None:
                sender = _Sender(
                    line,
                    self._settings,
                    self._exit_timeout,
                    self._on_undelivered,
                    drops_oldest=self._on_full == "drop_oldest",
                )
                if self._sender is not None:  # a signal's handler published meanwhile
                    sender.dispatch.retire()
                    return self._sender
                self._sender = sender
                # Who forgets a publisher without closing it gets its events sent all the same.
                weakref.finalize(self, sender.dispatch.retire).atexit = False
        return self._sender

    def _leave_parent(self) -> None:
        self._sender = None

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
        held = 0 if sender is None else sender.dispatch.book.buffer.held
        return f"<EventPublisher, {state}, {held} events without an outcome>"


class _Sender:
    """What of a publisher belongs to one process: its dispatch, and the thread that sends."""

    def __init__(
        self,
        line: Line,
        buffering: BufferSettings,
        exit_timeout: float,
        on_undelivered: OnUndelivered | None,
        *,
        drops_oldest: bool,
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
        )
        if on_undelivered is not None:
            hand = functools.partial(self._hand, on_undelivered)
            self.dispatch.news.handing = Handing(
                lambda: self._callbacks.do(hand), buffering.max_events, buffering.max_bytes
            )
        self._has_ended = False
        self.dispatch.book.expect_calls = self._callbacks.expect
        self.dispatch.book.is_sending = is_sending
        self._room = threading.Condition(self.dispatch.book.lock)
        self._waiting_for_room = 0
        self._flights: Flights[Flight] | None = None
        self._open_flights()
        try:
            SendingThread(self._run, "eventbridge-partner-publisher").start()
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
        # Not `with self._room`: that is the same lock, but Ctrl-C could leave it held.
        with self.dispatch.book.lock:
            try:
                self._waiting_for_room += 1
                while not is_so():
                    left = until - monotonic()
                    if not left > 0:
                        return False
                    self.dispatch.book.check_wait(left)
                    self._room.wait(for_lock(left))
            finally:
                self._waiting_for_room -= 1
        return True

    def _make_way(self) -> None:
        if self._waiting_for_room:
            self._room.notify_all()

    def flush(self, timeout: float | None) -> FlushReport:
        """See `EventPublisher.flush`."""
        until = math.inf if timeout is None else monotonic() + timeout
        receipts = self.dispatch.hurry()
        for receipt in receipts:
            try:
                receipt.wait(until - monotonic())
            except TimeoutError:
                break
        return flush_report(receipts)

    def close(self, timeout: float | None, *, says_lost: bool = False) -> DeliveryReport:
        """See `EventPublisher.close`, and `Dispatch.cut_off`."""
        until = math.inf if timeout is None else monotonic() + timeout
        receipts = self.dispatch.retire()
        self._wait_until(lambda: self.dispatch.is_over, until)
        self.dispatch.cut_off(says_lost=says_lost)
        self._wait_for_end(min(until, monotonic() + _LAST_SECONDS))
        self._callbacks.end()
        self._callbacks.join(until)
        self.dispatch.news.sum_up()
        return close_report(receipts)

    def _wait_for_end(self, until: float) -> None:
        """Wait until the thread has told of all outcomes, with the lock released."""
        with self.dispatch.book.lock:
            while not self._has_ended and (left := until - monotonic()) > 0:
                self._room.wait(left)

    def _hand(self, on_undelivered: OnUndelivered) -> None:
        handing = self.dispatch.news.handing
        assert handing is not None  # noqa: S101  # it has this called
        while outcomes := handing.take():
            try:
                on_undelivered(outcomes)
            except BaseException as error:  # noqa: BLE001  # the caller's, on a thread of ours
                log_bug("on_undelivered", error)
        warn_of_left_out(handing)

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
            self._room.notify_all()
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
