"""The part that both publishers share: everything except sending and waiting."""

from __future__ import annotations

import functools
import logging
import math
import threading
from collections.abc import Callable, Sequence
from typing import Final, Unpack

import attrs

from eventbridge_partner._clock import monotonic
from eventbridge_partner._logs import Fields, log
from eventbridge_partner.delivery.actions import DeliverySettings, Finished, Send, Take, Wait
from eventbridge_partner.delivery.entries import Batch
from eventbridge_partner.delivery.machine import CANCELLED, Delivery
from eventbridge_partner.errors import (
    CredentialsError,
    PartnerEventsError,
    PublisherClosedError,
)
from eventbridge_partner.line._witness import Witness
from eventbridge_partner.models import DeliveryReport, Outcome, ResultEntry
from eventbridge_partner.models._counting import counted, were
from eventbridge_partner.pacing import Pace
from eventbridge_partner.publisher._buffer import Buffer, BufferSettings, Room
from eventbridge_partner.publisher._gate import Gate
from eventbridge_partner.publisher._news import LOOKED_AT, Handing, News, Origins, Tally
from eventbridge_partner.publisher._receipts import (
    CUT_OFF,
    NOT_SENT,
    PUBLISHER_CLOSED,
    Book,
    Callback,
    PublisherStats,
    Receipt,
)
from eventbridge_partner.retry import RetryQuota

_ROUNDS_OF_ONE: Final = 2
"""
The most rounds of requests in flight that may be full of events of one source.

It limits how many of the source's retries can be due at a time, ahead of other sources' events.
"""


_LOOKING_SECONDS: Final = 1.0
"""
For this many seconds after a batch, the sender polls once in each `linger`, and need not be woken.

Polling finds each event in time. Waking the sender would take several times as long as the rest of
`publish`.
"""

REST: Final = 0.1
"""How long the sender pauses after an unexpected error, in seconds: the next may be the same."""

_NOTE_SECONDS: Final = 10.0
"""
Seconds between two log lines about requests.

Without a limit, a log handler that publishes events would feed itself while the service fails.
"""

_LEAST_LOOK: Final = 0.005
"""The shortest poll interval, in seconds."""


def _nothing() -> None:
    pass


@attrs.frozen(eq=False)
class Shared:
    """
    State that the dispatches of one publisher, one for each Region, share.

    Attributes:
        lock: The lock of all their books.
        room: The room for all their events.
        tally: The counts for the log.
    """

    lock: threading.RLock = attrs.field(factory=threading.RLock)
    room: Room = attrs.field(factory=Room)
    tally: Tally = attrs.field(factory=Tally)


class Dispatch:
    """
    A publisher's book, with the delivery that takes its events batch by batch.

    It has two short-held locks: the book's, and the delivery's. To hold both, take the delivery's
    first. Neither is held while sending, waiting, logging or calling back.

    Args:
        settings: The settings of the delivery.
        quota: Limits retries.
        pace: Limits requests a second.
        buffering: The limits of the buffer, except `max_taken`, which is set here.
        call: Calls a callback.
        on_room: Called after outcomes have come, with the book's lock held.
        witness: Reports outcomes to the observer; None without one.
        drops_oldest: Whether `admit_dropping_oldest` follows when there is no room.
        gate: Decides which events may be sent; None if all may.
        shared: State shared with the dispatches of other Regions; None without other Regions.

    Attributes:
        book: The book of its receipts.
        look_up: Starts the gate's work. Set by the publisher.
        wake: Wakes the sender while it waits. Set by the publisher.
        news: Reports outcomes.
        origins: Where the events of its batches come from; None without an observer.
    """

    def __init__(
        self,
        settings: DeliverySettings,
        quota: RetryQuota,
        pace: Pace,
        buffering: BufferSettings,
        *,
        call: Callable[[Callback, Receipt], None],
        on_room: Callable[[], None],
        witness: Witness | None,
        drops_oldest: bool,
        gate: Gate | None = None,
        shared: Shared | None = None,
    ) -> None:
        limits = settings.limits
        per_round = settings.max_in_flight * limits.max_entries
        buffering = attrs.evolve(buffering, max_taken=_ROUNDS_OF_ONE * per_round)
        buffer = Buffer[Receipt](
            buffering,
            limits,
            room=None if shared is None else shared.room,
            is_open=None if gate is None else gate.is_open,
        )
        self.look_up: Callable[[], None] = _nothing
        self._gate = gate
        self.wake: Callable[[], None] = _nothing
        self.news = News(
            None if witness is None else functools.partial(witness.decided, "publisher"),
            self._wake,
            None if shared is None else shared.tally,
        )
        self.news.share()
        self.book = Book(
            buffer,
            call,
            on_room,
            news=self.news,
            link=None if witness is None or not witness.links else witness.link,
            drops_oldest=drops_oldest,
            lock=None if shared is None else shared.lock,
        )
        self._witness = witness
        self.origins = Origins(self.book.link_at if self.book.link is not None else None)
        self._settings = settings
        self._quota = quota
        self._pace = pace
        self._turn = threading.RLock()
        self.book.outer = self._turn
        # The number of ready events at which to wake the sender; None not to wake it for events.
        self._alarm_at: int | None = None
        self._throttled_before = 0
        self._linger = buffering.linger
        # How many lines were left out since the last one, and when that was logged.
        self._left_out = 0
        self._noted_at = -math.inf
        self._looks_until = -math.inf
        self._begin_delivery()

    def _wake(self) -> None:
        self.wake()

    def _begin_delivery(self) -> None:
        self._delivery = Delivery(self._settings, self._quota, pace=self._pace, is_packed=True)
        self._first = 0

    # ------------------------------------------------------------ events in

    def admit(self, receipt: Receipt) -> bool:
        """
        Queue an event if there is room.

        Raises:
            PublisherClosedError: The publisher is closed.
        """
        book = self.book
        with book.lock:
            if book.is_closed:
                raise closed_error()
            if not receipt.size:  # a valid event always has a size
                return book.count_undelivered(receipt)
            if not book.offer(receipt):
                return False
            if self._alarm_at is not None:
                self._wake_if_enough(self._alarm_at)
        return True

    def _wake_if_enough(self, alarm_at: int) -> None:
        """Wake the sender if enough events are ready. The book must be locked."""
        buffer = self.book.buffer
        if buffer.ready_events >= alarm_at or buffer.has_batch():
            self.wake()  # first, because Ctrl-C may come in between
            self._alarm_at = None

    def admit_dropping_oldest(self, receipt: Receipt) -> None:
        """
        Queue an event, and drop the oldest one if there is no room.

        Raises:
            PublisherClosedError: The publisher is closed.
        """
        with self.book.lock:
            if self.book.is_closed:
                raise closed_error()
            self.book.offer_dropping_oldest(receipt)
            if self._alarm_at is not None:
                self._wake_if_enough(self._alarm_at)
        self.book.tell()

    # ------------------------------------------------------------ the end, and figures

    def hurry(self) -> list[Receipt]:
        """Make all events due, and return the receipts without an outcome."""
        with self.book.lock:
            receipts = self.book.open_receipts()
            self.book.buffer.hurry(monotonic())
        self.wake()
        return receipts

    def retire(self) -> list[Receipt]:
        """Stop taking events, and return the receipts without an outcome."""
        if self.book.is_parents:
            return []
        with self.book.lock:
            self.book.is_closed = True
            receipts = self.book.open_receipts()
            self.book.buffer.hurry(math.inf)
            self.book.on_room()
        self.wake()
        return receipts

    @property
    def is_over(self) -> bool:
        """Whether it is closed and all events have their outcome."""
        book = self.book
        return book.is_parents or (book.is_closed and not book.buffer.held)

    def cut_off(self, *, says_lost: bool = False) -> None:
        """
        Give every event without an outcome one, and send nothing more.

        Args:
            says_lost: Whether the caller logs how many events are lost.
        """
        with self._turn:
            if self.book.buffer.held:
                if says_lost:
                    for receipt in self.book.open_receipts():
                        receipt.seen = LOOKED_AT
                self._abandon(PUBLISHER_CLOSED, NOT_SENT, CUT_OFF)
                # In the same turn, or the sender would go on with the events that still wait.
                self.book.give_back(self._first)
        self.book.tell()
        self.wake()

    def give_up(self, error: BaseException) -> None:
        """Give all taken events an outcome after an error of the sender, and go on."""
        name = type(error).__name__
        log(logging.ERROR, "the publisher goes on after %s", name)
        with self._turn:
            try:
                self._abandon(name, "the sender failed", "the sender failed")
            finally:
                self._renew_delivery()
        self.book.tell()

    def _abandon(self, code: str, message: str, doubt: str) -> None:
        try:
            self._delivery.abandon(code, message, doubt)
            self.book.settle(self._delivery.outcomes())
        finally:
            # An exception may have come between taking events and giving them to the delivery, or
            # between their outcomes and their receipts.
            self.book.settle_rest(self._first, code, message, doubt)

    def leave_to_parent(self) -> None:
        """Do nothing in a forked child: the parent continues."""
        self.book.leave_to_parent()
        self.wake = _nothing

    def stats(self) -> PublisherStats:
        """Return the current figures."""
        delivery = self._delivery
        # Not in a turn: a signal handler that interrupts a turn may wait for the sender.
        return self.book.stats(
            in_flight=delivery.events_in_flight,
            throttled=self._throttled_before + delivery.throttled,
            requests_per_second=self._pace.requests_per_second,
        )

    # ------------------------------------------------------------ for look-ups

    def let_through(self, source: str) -> None:
        """Let the waiting events of a source be sent."""
        self.book.let_through(source)
        self.wake()

    def first_held_back(self, source: str) -> Receipt | None:
        """Hold back a source, and return its oldest waiting event."""
        return self.book.first_held_back(source)

    def refuse(self, receipt: Receipt, outcome: Outcome) -> None:
        """Give a waiting event its outcome, without sending it."""
        self.book.refuse_waiting(receipt, outcome)
        self.book.tell()
        if self.is_over:
            self.wake()

    # ------------------------------------------------------------ for the sender

    def next_step(self, now: float) -> Send | Wait | None:
        """
        Return the next step.

        Returns:
            A batch to send; how long to wait for answers or `wake`; or None to ask again.
        """
        with self._turn:
            step = self._next_step(now)
        self._after_turn()
        self.news.say(now)
        return step

    def _after_turn(self) -> None:
        self.book.tell()
        if self._gate is not None and self._gate.todo:
            self.look_up()

    def _settle(self) -> None:
        outcomes = self._delivery.outcomes()
        self.book.settle(outcomes)
        if self._gate is not None:
            self._gate.hear(outcomes)

    def _next_step(self, now: float) -> Send | Wait | None:
        delivery = self._delivery
        is_halted = delivery.is_halted
        is_due = not is_halted and self.book.buffer.due_at() <= now
        action = delivery.next_action(now, input_pauses=not is_due)
        until: float | None = None
        match action:
            case Send():
                return action
            case Wait(at):
                until = at
            case Take() | Finished.FINISHED if is_halted:
                # It sends no more, and nothing is in flight.
                self._renew_delivery()
                return None
            case Take() | Finished.FINISHED if is_due:
                if self._linger >= _LEAST_LOOK:
                    self._looks_until = now + _LOOKING_SECONDS
                taken = self.book.take(self._first)
                if not taken:  # all events wait for look-ups
                    return None
                delivery.take_all([receipt.event for receipt in taken])
                self._first += len(taken)
                self._settle()
                action = delivery.next_action(now, input_pauses=True)
                return action if isinstance(action, Send) else None
            case Take() | Finished.FINISHED:
                pass
        return self._wait(now, until, for_events=not (is_due or is_halted))

    def _wait(self, now: float, until: float | None, *, for_events: bool) -> Wait | None:
        if for_events:
            with self.book.lock:
                buffer = self.book.buffer
                due_at = buffer.due_at()
                if due_at <= now or self.is_over:
                    return None
                self._alarm_at = self._settings.limits.max_entries
                if not buffer.ready_events:
                    if now < self._looks_until:
                        due_at = now + self._linger
                    else:
                        self._alarm_at = 1
            if due_at < math.inf:
                until = due_at if until is None else min(until, due_at)
        if self.news.due_at < math.inf:
            until = self.news.due_at if until is None else min(until, self.news.due_at)
        return Wait(until)

    def has_waited(self) -> None:
        """Note that the sender's wait has ended."""
        self._alarm_at = None

    def _renew_delivery(self) -> None:
        self._throttled_before += self._delivery.throttled
        self._begin_delivery()

    def not_sent(self, batch: Batch, error: CredentialsError) -> None:
        """Note that a batch could not be signed."""
        self._tell(lambda delivery: delivery.not_sent(batch, error, monotonic()))

    def accepted(self, batch: Batch, event_ids: Sequence[str | None], now: float) -> None:
        """Note that all entries of a batch were accepted."""
        self._tell(lambda delivery: delivery.accepted(batch, event_ids, now))

    def answered(self, batch: Batch, results: Sequence[ResultEntry | None], now: float) -> None:
        """Note the service's results for the entries of a batch."""
        self._tell(lambda delivery: delivery.answered(batch, results, now))

    def failed(self, batch: Batch, error: PartnerEventsError, now: float) -> None:
        """Note the failure of a whole request."""
        self._tell(lambda delivery: delivery.failed(batch, error, now))

    def note(self, text: str, *args: object, **fields: Unpack[Fields]) -> None:
        """Log a line about a request: the first at once, later ones rate-limited."""
        now = monotonic()
        if now < self._noted_at + _NOTE_SECONDS:
            self._left_out += 1
            return
        self.note_others()
        self._noted_at = now
        log(logging.INFO, text, *args, **fields)

    def tell_unanswered(self) -> None:
        """Report the end of requests whose answers nobody waits for any more."""
        if self._witness is not None:
            self._witness.unanswered(self.origins, PUBLISHER_CLOSED if self.is_over else CANCELLED)

    def note_others(self) -> None:
        """Log how many lines were left out."""
        left_out, self._left_out = self._left_out, 0
        if left_out:
            log(logging.INFO, "%d more such lines about requests of a publisher", left_out)

    def _tell(self, say: Callable[[Delivery], None]) -> None:
        with self._turn:
            say(self._delivery)
            self._settle()
        self._after_turn()


def closed_error() -> PublisherClosedError:
    """Return the error that a closed publisher raises."""
    return PublisherClosedError("the publisher is closed")


def checked_seconds(name: str, seconds: float) -> float:
    """
    Refuse an invalid time.

    Raises:
        ValueError: It is below 0, or NaN.
    """
    if not seconds >= 0:
        raise ValueError(f"{name} is {seconds!r}; allowed: 0 or more seconds")
    return seconds


def warn_of_lost(report: DeliveryReport) -> None:
    """Log how many events an unclosed publisher has lost, if any."""
    counts = report.counts
    if counts.exhausted or counts.unconfirmed:
        log(
            logging.WARNING,
            "a publisher was not closed: %s %s not sent, and %d may or may not have arrived",
            counted(counts.exhausted),
            were(counts.exhausted),
            counts.unconfirmed,
        )


def warn_of_left_out(handing: Handing) -> None:
    """Log how many outcomes were left out because `on_undelivered` was too slow, if any."""
    left_out, handing.left_out = handing.left_out, 0
    if left_out:
        log(
            logging.WARNING,
            "on_undelivered is too slow: it was not given %s of events that were not accepted",
            counted(left_out, "outcome"),
            entries=left_out,
        )
