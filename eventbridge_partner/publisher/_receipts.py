"""Receipts, which `publish` returns, and the book of all receipts of a publisher."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

import attrs

from eventbridge_partner._bugs import log_bug
from eventbridge_partner._clock import monotonic
from eventbridge_partner.delivery.given import read
from eventbridge_partner.models import (
    DeliveryReport,
    Exhausted,
    GivenEvent,
    Outcome,
    OutcomeCounts,
    PartnerEvent,
    Unconfirmed,
    entry_size,
)
from eventbridge_partner.models._plain import plain_figures
from eventbridge_partner.publisher._buffer import Buffer, Lane
from eventbridge_partner.publisher._news import LOOKED_AT, News

BUFFER_FULL: Final = "BufferFull"
PUBLISHER_CLOSED: Final = "PublisherClosed"

NOT_SENT: Final = "the publisher was closed before it was sent"
CUT_OFF: Final = "the publisher was closed before its answer"

_NO_ROOM: Final = "there was no room for it in the buffer"
_FORKED: Final = "the process was forked: the parent has the event, and sends it"

Callback = Callable[["Receipt"], object]
Wakes = list[Callable[[], object]]


class Receipt:
    """
    The receipt for one published event: it will have the event's outcome.

    Thread-safe. It can be awaited in any event loop.

    Attributes:
        event: The event; read from the mapping if `publish` got one.
    """

    __slots__ = ("_book", "_wakes", "decided", "event", "lane", "link", "seen", "since", "size")

    event: PartnerEvent
    lane: Lane[Receipt]

    def __init__(self, book: Book, event: PartnerEvent, since: float, size: int) -> None:
        self._book = book
        self.decided: Outcome | None = None
        self._wakes: Wakes | None = None
        self.event = event
        self.since: float = since
        self.size: int = size
        self.seen: int = 0
        self.link: str | None = None

    def done(self) -> bool:
        """Tell whether there is an outcome."""
        return self.found() is not None

    @property
    def outcome(self) -> Outcome | None:
        """
        The outcome; None until there is one.

        In a child process forked meanwhile it is `Unconfirmed`, because the parent sends the
        event. The outcome's `index` has no meaning here.
        """
        outcome = self.found()
        if outcome is not None:
            self._look()
        return outcome

    def _look(self) -> None:
        if self.seen != LOOKED_AT:
            self._book.news.looked_at(self)

    def found(self) -> Outcome | None:
        """Return the outcome, for our own code: it does not count as looked at."""
        if self.decided is None and self._book.is_parents:
            self.decided = Unconfirmed(_FORKED, self.event, 0, 0)
        return self.decided

    def result(self, timeout: float | None = None) -> Outcome:
        """
        Wait for the outcome. On an event loop, await the receipt instead.

        Args:
            timeout: Seconds; None for no bound.

        Raises:
            TimeoutError: There is no outcome yet. The event is still being sent.
            RuntimeError: It was called on a thread that sends, which cannot wait for itself.
        """
        self._look()
        return self.wait(timeout)

    def wait(self, timeout: float | None) -> Outcome:
        """Wait for the outcome, for our own code; see `result`."""
        outcome = self.found()
        if outcome is not None:
            return outcome
        book = self._book
        # Waiting releases the lock completely, however often this thread holds it: a signal
        # handler may wait, too.
        decided = threading.Condition(book.lock)

        def wake() -> None:
            with book.lock:
                decided.notify_all()

        with book.lock:
            if self._wake(wake):
                try:
                    book.check_wait(timeout)
                    decided.wait(None if timeout is None else for_lock(timeout))
                finally:
                    self._forget(wake)
        outcome = self.found()
        if outcome is None:
            raise TimeoutError(f"no outcome within {timeout} s")
        return outcome

    def add_done_callback(self, callback: Callback) -> None:
        """
        Call a function with this receipt once there is an outcome.

        `EventPublisher` calls it on a thread for callbacks, `AsyncEventPublisher` on its event
        loop; exceptions are logged. It may publish. If it blocks, it delays other callbacks but no
        event.
        """

        def wake() -> None:
            self._book.call(callback, self)

        self._look()
        if self._wake(wake):
            self._book.expect_calls()
        else:
            wake()

    def __await__(self) -> Generator[Any, None, Outcome]:
        self._look()
        return self.arrive()

    def arrive(self) -> Generator[Any, None, Outcome]:
        """Wait for the outcome on an event loop, for our own code."""
        import asyncio

        outcome = self.found()
        if outcome is None:
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()

            def settle() -> None:
                if not future.done():
                    future.set_result(None)

            def wake() -> None:
                with suppress(
                    RuntimeError
                ):  # the loop, and the waiting task with it, may have ended
                    loop.call_soon_threadsafe(settle)

            if self._wake(wake):
                try:
                    yield from future
                finally:
                    self._forget(wake)
            outcome = self.found()
            assert outcome is not None  # noqa: S101  # only an outcome wakes
        return outcome

    def _wake(self, wake: Callable[[], object]) -> bool:
        """Call a function when there is an outcome; return False if there is one already."""
        with self._book.lock:
            if self.found() is not None:
                return False
            if (wakes := self._wakes) is None:
                wakes = self._wakes = []
            wakes.append(wake)
            if self.found() is None:
                return True
            # Code that interrupts this may have dropped the event and called the others.
            try:
                wakes.remove(wake)
            except ValueError:
                return True
            return False

    def _forget(self, wake: Callable[[], object]) -> None:
        with self._book.lock:
            if self._wakes is not None:
                with suppress(ValueError):
                    self._wakes.remove(wake)

    def tell(self) -> None:
        """Call all functions that wait for the outcome. Called by the publisher."""
        wakes, self._wakes = self._wakes or [], None
        try:
            while wakes:
                wakes.pop(0)()
        except BaseException:
            self._wakes = wakes
            raise

    def __repr__(self) -> str:
        outcome = self.found()
        return f"<Receipt of {self.event!r}: {outcome and type(outcome).__name__}>"


@attrs.frozen
class Arrival:
    """Waits for the outcome of a receipt, for our own code: it does not count as looked at."""

    receipt: Receipt

    def __await__(self) -> Generator[Any, None, Outcome]:
        return self.receipt.arrive()


def for_lock(seconds: float) -> float:
    """Return seconds as the timeout of a lock."""
    return min(max(0.0, seconds), threading.TIMEOUT_MAX)


@attrs.frozen(kw_only=True)
class PublisherStats:
    """
    The figures of a publisher: its events by outcome, and its buffer.

    `published` is always the sum of the seven counts that follow it.

    Attributes:
        published: Events that have a receipt.
        accepted: Events that the service accepted.
        rejected: Events to be fixed or dropped.
        exhausted: Events to be sent again later.
        unconfirmed: Events that may have arrived.
        dropped: Events dropped because the buffer was full; their outcome is `Exhausted`.
        buffered: Events that wait to be sent or retried.
        in_flight: Events in a request without an answer yet.
        buffered_bytes: The total size of the events that are buffered or in flight.
        oldest_age: Seconds since the oldest of these was published; 0 without any.
        throttled: Requests that the service throttled, as a whole or in part.
        requests_per_second: The client's current rate limit; None without one.
    """

    published: int = 0
    accepted: int = 0
    rejected: int = 0
    exhausted: int = 0
    unconfirmed: int = 0
    dropped: int = 0
    buffered: int = 0
    in_flight: int = 0
    buffered_bytes: int = 0
    oldest_age: float = 0.0
    throttled: int = 0
    requests_per_second: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, ready for JSON."""
        return plain_figures(self)


@attrs.frozen
class FlushReport:
    """
    The result of a flush.

    Attributes:
        sent: How many of the events have which outcome.
        left: How many have none yet.
    """

    sent: OutcomeCounts
    left: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, ready for JSON."""
        return plain_figures(self)


def reasons_against(
    *, is_closed: bool, has_ended: bool, age: float, max_age: float
) -> tuple[str, ...]:
    """Return why a publisher is not ready, without the reasons of its client."""
    reasons: list[str] = []
    if is_closed:
        reasons.append("the publisher is closed")
    elif has_ended:
        reasons.append("the sender has ended")
    if age > max_age:
        reasons.append(f"the oldest event has waited for {age:.0f} s; allowed: {max_age:g} s")
    return tuple(reasons)


def _nothing() -> None:
    pass


def _never() -> bool:
    return False


class Book:
    """
    The state of one publisher in one process: its buffer, and its waiting callers.

    Attributes:
        lock: Held briefly, and never while sending.
        buffer: The events.
        is_closed: Whether the publisher is closed.
        is_parents: Whether this is a copy in a forked child.
        call: Calls a callback.
        expect_calls: Called when a callback is registered. May be set by the publisher.
        on_room: Called after outcomes have come.
        is_sending: Tells whether this thread is one that sends. May be set by the sender.
        news: Reports outcomes.
        link: Returns where the event being read comes from; None without an observer.
        outer: A lock that may be held around this one; set by its owner.
    """

    def __init__(
        self,
        buffer: Buffer[Receipt],
        call: Callable[[Callback, Receipt], None],
        on_room: Callable[[], None],
        *,
        news: News | None = None,
        link: Callable[[], str | None] | None = None,
        drops_oldest: bool,
        lock: threading.RLock | None = None,
    ) -> None:
        self.news: News = news or News(None, _nothing)
        self.link = link
        # To be reported when no lock is held.
        self._told: deque[Receipt] = deque()
        # Re-entrant: a signal handler may publish and close.
        self.lock: threading.RLock = threading.RLock() if lock is None else lock
        self.buffer = buffer
        self.is_closed = False
        self.is_parents: bool = False
        self.call = call
        self.expect_calls: Callable[[], None] = _nothing
        self.on_room = on_room
        self.is_sending: Callable[[], bool] = _never
        self.outer: threading.RLock | None = None
        self._drops_oldest = drops_oldest
        # Events published by code that interrupted a step of the buffer.
        self._late: deque[Receipt] = deque()

    # ------------------------------------------------------------ in; the lock is held for offers

    def read(self, given: GivenEvent) -> Receipt:
        """Return a receipt for an event; it has its outcome already if the event is invalid."""
        now = monotonic()
        event = given if type(given) is PartnerEvent else read(given, None)
        if isinstance(event, PartnerEvent):
            receipt = Receipt(self, event, now, entry_size(event))
            if self.link is not None:
                receipt.link = self.link()
            return receipt
        receipt = Receipt(self, given, now, 0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        receipt.decided = event
        return receipt

    def offer(self, receipt: Receipt) -> bool:
        """Add an event if there is room for it."""
        if self.buffer.is_changing:
            self._late.append(receipt)
            return True
        is_taken = self.buffer.offer(receipt)
        if self._late:
            self._take_late()
        return is_taken

    def offer_dropping_oldest(self, receipt: Receipt) -> None:
        """Add an event, and drop the oldest one for it, or the event itself if none waits."""
        buffer = self.buffer
        if buffer.is_changing:
            self._late.append(receipt)
            return
        while not buffer.offer(receipt):
            if buffer.drop_oldest(receipt.event.source, _dropped) is None:
                self.drop(receipt)
                break
        if self._late:
            self._take_late()

    def _take_late(self) -> None:
        """
        Add the events that were published in the middle of a step.

        Their callers already have receipts, so a full buffer shows in the outcome.
        """
        buffer = self.buffer
        while self._late and not buffer.is_changing:
            receipt = self._late.popleft()
            if self.is_closed:
                self.refuse(receipt)
            elif self._drops_oldest:
                self.offer_dropping_oldest(receipt)
            elif not buffer.offer(receipt):
                self.drop(receipt)

    def count_undelivered(self, receipt: Receipt) -> bool:
        """Count an event that has its outcome already."""
        outcome = receipt.found()
        if outcome is not None:
            self.buffer.decide_at_once(outcome)
            self.buffer.gone.append(receipt)
        return True

    # ------------------------------------------------------------ out

    def link_at(self, index: int) -> str | None:
        """Return where a taken event without an outcome comes from."""
        receipt = self.buffer.taken.get(index)
        return None if receipt is None else receipt.link

    def take(self, first: int) -> list[Receipt]:
        """Take a batch from the buffer; its outcomes have the indexes from `first`."""
        with self.lock:
            try:
                return self.buffer.take(first)
            finally:
                self._take_late()

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Give outcomes to the receipts of taken events. Call `tell` afterwards."""
        if not outcomes:
            return
        with self.lock:
            try:
                self.buffer.decide(outcomes)
            finally:
                self._take_late()
                self.on_room()

    def settle_rest(self, first: int, code: str, message: str, doubt: str) -> None:
        """
        Give every taken event without an outcome one.

        Args:
            first: Events from this index on did not reach the delivery, so they were not sent.
            code: The code of their outcome.
            message: The message of their outcome.
            doubt: Why the others may have arrived.
        """
        with self.lock:
            self.buffer.mend()
            self.settle(
                [
                    Exhausted(code, message, receipt.event, index, 0)
                    if index >= first
                    else Unconfirmed(doubt, receipt.event, index, 1)
                    for index, receipt in tuple(self.buffer.taken.items())
                    if receipt.decided is None
                ]
            )

    def give_back(self, first: int) -> None:
        """Give every waiting event its outcome: it will not be sent."""
        with self.lock:
            try:
                self.buffer.take_back(first)
            finally:
                self._take_late()
            self.settle_rest(first, PUBLISHER_CLOSED, NOT_SENT, CUT_OFF)

    def tell(self) -> None:
        """Call all functions that wait for new outcomes. The lock must not be held."""
        gone = self.buffer.gone
        try:
            while gone:
                try:
                    receipt = gone.popleft()
                except IndexError:  # another thread was quicker
                    break
                try:
                    receipt.tell()
                except BaseException:
                    gone.appendleft(receipt)  # for its other waiting functions
                    raise
                self._told.append(receipt)
        finally:
            if self._told:
                self._tell_news()

    def _tell_news(self) -> None:
        """Report outcomes, unless this thread holds a lock: then it is called again without it."""
        if self.is_parents:
            self._told.clear()
            return
        if _is_held(self.lock) or (self.outer is not None and _is_held(self.outer)):
            return
        told: list[Receipt] = []
        with suppress(IndexError):  # another thread was quicker
            while self._told:
                told.append(self._told.popleft())
        self.news.tell(told)

    # ------------------------------------------------------------ lanes that are shut

    def let_through(self, source: str) -> None:
        """Open a source's lane."""
        with self.lock:
            try:
                self.buffer.open(source)
            finally:
                self._take_late()

    def first_held_back(self, source: str) -> Receipt | None:
        """Shut a source's lane, and return its oldest waiting event."""
        with self.lock:
            try:
                self.buffer.shut(source)
                return self.buffer.first_of(source)
            finally:
                self._take_late()

    def refuse_waiting(self, receipt: Receipt, outcome: Outcome) -> None:
        """Give a waiting event its outcome without sending it. Call `tell` afterwards."""
        with self.lock:
            try:
                self.buffer.refuse(receipt, outcome)
            finally:
                self._take_late()
                self.on_room()

    def drop(self, receipt: Receipt) -> None:
        """Drop an offered event."""
        with self.lock:
            receipt.decided = _dropped(receipt)
            self.buffer.drop_newest()
            self.buffer.gone.append(receipt)

    def refuse(self, receipt: Receipt) -> None:
        """Give an event that came after `close` its outcome."""
        with self.lock:
            receipt.decided = Exhausted(PUBLISHER_CLOSED, NOT_SENT, receipt.event, 0, 0)
            self.buffer.decide_at_once(receipt.decided)
            self.buffer.gone.append(receipt)

    def leave_to_parent(self) -> None:
        """Become the copy in a forked child: a thread of the parent may have held the lock."""
        self.is_parents = True
        self.lock = threading.RLock()

    def check_wait(self, seconds: float | None) -> None:
        """
        Refuse a wait that would deadlock this thread. The lock must be held.

        Raises:
            RuntimeError: A finalizer or a log handler called on the thread that sends, or in the
                middle of a step.
        """
        if (seconds is None or seconds > 0) and (self.buffer.is_changing or self.is_sending()):
            raise RuntimeError(
                "this would make the publisher's own thread wait for itself: a finalizer, a log "
                "handler or a retry policy must not wait for events"
            )

    # ------------------------------------------------------------ figures

    def open_receipts(self) -> list[Receipt]:
        """Return the receipts without an outcome."""
        with self.lock:
            self.buffer.mend()
            here = [*tuple(self.buffer.taken.values()), *self.buffer, *tuple(self._late)]
            return [receipt for receipt in here if receipt.decided is None]

    def stats(
        self, *, in_flight: int, throttled: int, requests_per_second: float | None
    ) -> PublisherStats:
        """Return the current figures."""
        with self.lock:
            self.buffer.mend()
            ledger, late = self.buffer.ledger(), len(self._late)
            taken = tuple(self.buffer.taken.values())
            since = min([self.buffer.waiting_since(), *[one.since for one in taken]])
            held_bytes = self.buffer.held_bytes
        held = ledger.held + late
        in_flight = min(in_flight, held)
        return PublisherStats(
            published=ledger.published + late,
            accepted=ledger.counts.accepted,
            rejected=ledger.counts.rejected,
            exhausted=ledger.counts.exhausted,
            unconfirmed=ledger.counts.unconfirmed,
            dropped=ledger.dropped,
            buffered=held - in_flight,
            in_flight=in_flight,
            buffered_bytes=held_bytes,
            oldest_age=max(0.0, monotonic() - since) if since < math.inf else 0.0,
            throttled=throttled,
            requests_per_second=requests_per_second,
        )


def _is_held(lock: threading.RLock) -> bool:
    """Tell whether this thread holds a lock, as `threading.Condition` does."""
    is_owned: Callable[[], bool] = getattr(lock, "_is_owned", _never)
    return is_owned()


def _dropped(receipt: Receipt) -> Outcome:
    return Exhausted(BUFFER_FULL, _NO_ROOM, receipt.event, 0, 0)


def flush_report(receipts: Iterable[Receipt]) -> FlushReport:
    """Return the report of a flush."""
    outcomes = [receipt.found() for receipt in receipts]
    decided = [outcome for outcome in outcomes if outcome is not None]
    return FlushReport(OutcomeCounts.of(decided), len(outcomes) - len(decided))


def close_report(receipts: Iterable[Receipt]) -> DeliveryReport:
    """Return the outcomes of receipts that all have one."""
    return DeliveryReport(
        outcome for receipt in receipts if (outcome := receipt.found()) is not None
    )


def run_callback(callback: Callback, receipt: Receipt) -> None:
    """Call a callback; log an exception with its frames, but without its text."""
    try:
        callback(receipt)
    except Exception as error:  # noqa: BLE001  # the caller's code may raise anything
        note_raised(error)


def note_raised(error: BaseException) -> None:
    """Log an exception of a callback with its frames, but without its text."""
    log_bug("a callback of a receipt", error)
