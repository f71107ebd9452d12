"""Code that Python runs in the middle of the publisher's own: it may publish, count and raise."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import pytest

from eventbridge_partner.delivery.batching import BatchLimits
from eventbridge_partner.models import Accepted, Exhausted, PartnerEvent
from eventbridge_partner.publisher._buffer import Buffer, BufferSettings
from eventbridge_partner.publisher._receipts import Book, PublisherStats, Receipt, run_callback

ROOM = 6
POINTS = ("_buffer.py", "_receipts.py")
Act = Callable[["Play"], None]


def event(source: str) -> PartnerEvent:
    return PartnerEvent(f"aws.partner/example.com/{source}/x", "t", {"n": 1})


class Play:
    """One scenario on the book of a publisher: what is published, and what must come of it."""

    def __init__(self, *, drops_oldest: bool) -> None:
        settings = BufferSettings(linger=1.0, max_events=ROOM, max_bytes=10**6, max_taken=3)
        self.buffer: Buffer[Receipt] = Buffer(settings, BatchLimits(max_entries=3))
        self.book = Book(self.buffer, run_callback, lambda: None, drops_oldest=drops_oldest)
        self.drops_oldest = drops_oldest
        self.receipts: list[Receipt] = []
        self.told: list[Receipt] = []
        self.first = 0
        self.broken_off = 0
        self.is_sender = False

    # ------------------------------------------------------------ what other threads do

    def publish(self, source: str = "a") -> None:
        book = self.book
        receipt = book.read(event(source))
        with book.lock:
            if not book.offer(receipt):
                if self.drops_oldest:
                    book.offer_dropping_oldest(receipt)
                else:
                    book.drop(receipt)
        book.tell()
        self.receipts.append(receipt)
        receipt.add_done_callback(self.told.append)

    def count(self) -> None:
        stats = self.stats()
        assert balance(stats) == 0
        assert min(stats.buffered, stats.buffered_bytes, stats.published) >= 0
        before, found = self.receipts.copy(), {*map(id, self.book.open_receipts())}
        assert {id(receipt) for receipt in before if not receipt.done()} <= found

    def stats(self) -> PublisherStats:
        return self.book.stats(in_flight=0, throttled=0, requests_per_second=None)

    # ------------------------------------------------------------ what the sender does

    def take(self) -> None:
        with self.sending():
            self.first += len(self.book.take(self.first))

    def settle(self, count: int) -> None:
        with self.sending():
            some = [*self.buffer.taken.items()][:count]
            self.book.settle([Accepted("id", one.event, index, 1) for index, one in some])
            self.book.tell()

    @contextmanager
    def sending(self) -> Generator[None]:
        self.is_sender = True
        try:
            yield
        except KeyboardInterrupt:
            self.book.settle_rest(self.first, "c", "m", "d")
            raise
        finally:
            self.is_sender = False

    # ------------------------------------------------------------ the whole

    def steps(self) -> Iterator[Callable[[], None]]:
        for source in "aaba":
            yield partial(self.publish, source)
        yield self.take
        for source in "cabadaab":
            yield partial(self.publish, source)
        yield lambda: self.settle(2)
        yield self.take
        yield self.count
        yield lambda: self.publish("e")
        yield lambda: self.settle(10)
        yield lambda: self.publish("b")
        yield self.take

    def run(self) -> None:
        for step in self.steps():
            try:
                step()
            except KeyboardInterrupt:
                self.broken_off += 1

    def end(self) -> None:
        """Decide every event, and check that each receipt has its outcome."""
        self.count()
        self.settle(10)
        self.book.settle_rest(self.first, "c", "m", "d")
        self.book.is_closed = True
        self.book.give_back(0)
        self.book.tell()
        stats = self.stats()
        assert all(receipt.done() for receipt in self.receipts)
        assert stats.buffered == stats.in_flight == stats.buffered_bytes == 0
        assert self.buffer.held == self.buffer.held_bytes == self.buffer.ready_events == 0
        assert balance(stats) == 0
        if self.broken_off:
            assert len(self.receipts) <= stats.published <= len(self.receipts) + self.broken_off
        else:
            assert stats.published == len(self.receipts)
            dropped = [one for one in self.receipts if isinstance(one.outcome, Exhausted)]
            assert stats.dropped + stats.exhausted == len(dropped)
            assert sorted(map(id, self.told)) == sorted(map(id, self.receipts))


def balance(stats: PublisherStats) -> int:
    decided = stats.accepted + stats.rejected + stats.exhausted + stats.unconfirmed
    return stats.published - decided - stats.dropped - stats.buffered - stats.in_flight


class Points:
    """Counts the points passed in the book's and buffer's code, and acts at one of them."""

    def __init__(self, chosen: int, act: Callable[[], None]) -> None:
        self.passed = 0
        self._chosen = chosen
        self._act = act

    def pass_one(self) -> None:
        self.passed += 1
        if self.passed - 1 == self._chosen:
            # No point that follows is chosen: the rest runs at full speed.
            sys.settrace(None)
            sys.setprofile(None)
            self._act()

    def on_line(self, frame: FrameType, kind: str, _: Any) -> Any:
        """Stop at every line, which is more often than a signal or a finalizer can."""
        if kind == "line":
            self.pass_one()
        elif kind == "call" and not frame.f_code.co_filename.endswith(POINTS):
            return None
        return self.on_line

    def on_call(self, frame: FrameType, kind: str, _: Any) -> None:
        """Stop where Python checks for signals: when a function begins and after a C call."""
        if frame.f_code.co_filename.endswith(POINTS) and kind in ("call", "c_return"):
            self.pass_one()


@contextmanager
def tracing(points: Points) -> Generator[None]:
    before = sys.gettrace()
    sys.settrace(points.on_line)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def profiling(points: Points) -> Generator[None]:
    before = sys.getprofile()
    sys.setprofile(points.on_call)
    try:
        yield
    finally:
        sys.setprofile(before)


def publish(play: Play) -> None:
    """Publish as a finalizer or a signal handler may."""
    for source in "aba":
        play.publish(source)
    play.count()


def publish_and_wait(play: Play) -> None:
    """Publish and let the sender run meanwhile, as waiting does on any thread but the sender's."""
    play.publish("f")
    if not (play.is_sender or play.buffer.is_changing):  # otherwise waiting is refused
        play.take()
        play.settle(1)
    play.count()


@pytest.mark.slow
@pytest.mark.parametrize("drops_oldest", [True, False], ids=["drop_oldest", "drop_newest"])
@pytest.mark.parametrize("act", [publish, publish_and_wait])
def test_a_publish_in_the_middle_of_anything_finds_no_half_done_step(
    act: Act, drops_oldest: bool
) -> None:
    """No receipt is lost, at whichever line of the buffer or the book the publish happens."""
    count = Points(-1, lambda: None)
    with tracing(count):
        Play(drops_oldest=drops_oldest).run()
    assert count.passed > 500
    for chosen in range(count.passed):
        play = Play(drops_oldest=drops_oldest)
        with tracing(Points(chosen, partial(act, play))):
            play.run()
        play.end()


@pytest.mark.slow
@pytest.mark.parametrize("drops_oldest", [True, False], ids=["drop_oldest", "drop_newest"])
def test_ctrl_c_in_the_middle_of_anything_leaves_no_half_done_step(drops_oldest: bool) -> None:
    """Wherever Python raises it, every event with a receipt has an outcome in the end."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    count = Points(-1, lambda: None)
    with profiling(count):
        Play(drops_oldest=drops_oldest).run()
    broken_off = 0
    for chosen in range(count.passed):
        play = Play(drops_oldest=drops_oldest)
        with profiling(Points(chosen, interrupt)):
            play.run()
        play.end()
        broken_off += play.broken_off
    assert broken_off > 200


def test_waiting_in_the_middle_of_a_step_is_refused() -> None:
    """The step can continue only after the wait, so waiting raises at once."""
    play = Play(drops_oldest=False)
    play.publish()
    [receipt] = play.receipts
    with play.book.lock:
        play.buffer.is_changing = True
        with pytest.raises(RuntimeError, match="must not wait for events"):
            receipt.result(5)
        with pytest.raises(TimeoutError):
            receipt.result(0)
        play.buffer.is_changing = False


def test_waiting_releases_a_lock_that_this_thread_holds() -> None:
    """Otherwise a signal handler that waits in the middle of a publish would deadlock."""
    play = Play(drops_oldest=False)
    play.publish()
    [receipt] = play.receipts

    def send() -> None:
        play.take()
        play.settle(1)

    with play.book.lock:
        sender = threading.Thread(target=send)
        sender.start()
        assert isinstance(receipt.result(10), Accepted)
    sender.join(10)
