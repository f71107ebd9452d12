"""The publisher on a thread: receipts, bounds, flush, close, and what delays what."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import pickle
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tenacity import stop_after_attempt, wait_fixed, wait_none

from eventbridge_partner import (
    Accepted,
    BufferFullError,
    ConfigurationError,
    EventPublisher,
    Exhausted,
    HttpRequest,
    HttpResponse,
    PartnerEvent,
    PartnerEventsClient,
    PublisherClosedError,
    Receipt,
    Rejected,
    RetryPolicy,
    Timeouts,
    TlsError,
    Unconfirmed,
    _bugs,
)
from eventbridge_partner.testing import FailEntries, FailRequest, FakeEventBridge, SlowAnswer
from eventbridge_partner.transports.curl import CurlTransport
from tests.patience import SOON, until

QUICK = RetryPolicy(wait=wait_none(), throttle_wait=wait_none(), stop=stop_after_attempt(2))


def event(number: int = 0, source: str = "acme") -> PartnerEvent:
    return PartnerEvent(f"aws.partner/example.com/{source}/x", "t", {"number": number})


class Gate:
    """A transport that lets requests through when it is open."""

    def __init__(self, service: FakeEventBridge) -> None:
        self._inner = service.transport()
        self.is_open = threading.Event()
        self.asked = threading.Semaphore(0)

    def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        self.asked.release()
        assert self.is_open.wait(SOON)
        return self._inner.send(request, timeouts)

    def close(self) -> None:
        pass


@pytest.fixture
def service() -> FakeEventBridge:
    return FakeEventBridge()


@pytest.fixture
def gate(service: FakeEventBridge) -> Iterator[Gate]:
    gate = Gate(service)
    yield gate
    gate.is_open.set()


Open = Callable[..., EventPublisher]


@pytest.fixture
def open_publisher(service: FakeEventBridge) -> Iterator[Open]:
    """Opens publishers, and closes them at the end."""
    opened: list[EventPublisher] = []

    def open_one(
        transport: Any = None, retry: RetryPolicy = QUICK, **settings: Any
    ) -> EventPublisher:
        client = PartnerEventsClient(
            service.region,
            credentials=service.credentials,
            transport=transport or service.transport(),
            retry=retry,
        )
        publisher = EventPublisher(client, **{"linger": 0.005} | settings)
        opened.append(publisher)
        return publisher

    yield open_one
    for publisher in opened:
        publisher.close(0)


def balances(publisher: EventPublisher) -> bool:
    stats = publisher.stats()
    return stats.published == (
        stats.accepted
        + stats.rejected
        + stats.exhausted
        + stats.unconfirmed
        + stats.dropped
        + stats.buffered
        + stats.in_flight
    )


# ---------------------------------------------------------------- receipts


def test_a_receipt_has_the_outcome_of_its_event(
    open_publisher: Open, service: FakeEventBridge
) -> None:
    """Each receipt gets the outcome of its own event, whatever happens to its neighbours."""
    service.play(FailEntries("NotAuthorizedForSourceException", indexes=[1]))
    publisher = open_publisher()
    good, bad = publisher.publish(event(1)), publisher.publish(event(2))
    assert isinstance(good.result(SOON), Accepted)
    refused = bad.result(SOON)
    assert isinstance(refused, Rejected)
    assert refused.event == bad.event == event(2)
    assert good.done() and good.outcome is good.result()


def test_events_that_come_together_share_a_request(
    open_publisher: Open, service: FakeEventBridge
) -> None:
    """A batch that fills up before the linger time ends goes out as one request."""
    publisher = open_publisher(linger=10 * SOON)
    receipts = publisher.publish_many(map(event, range(20)))
    assert [type(receipt.result(SOON)) for receipt in receipts] == [Accepted] * 20
    assert service.request_count == 1


def test_under_load_batches_are_full(
    open_publisher: Open, gate: Gate, service: FakeEventBridge
) -> None:
    """Events that are published while requests are in flight go out in full batches."""
    publisher = open_publisher(gate, linger=0.001)
    receipts = [publisher.publish(event())]
    assert gate.asked.acquire(timeout=SOON)
    receipts += publisher.publish_many(map(event, range(199)))
    gate.is_open.set()
    publisher.flush(SOON)
    assert all(receipt.done() for receipt in receipts)
    assert service.request_count <= 12


def test_mappings_are_read_at_once(open_publisher: Open, service: FakeEventBridge) -> None:
    """A mapping may be reused for the next event; an invalid one is Rejected at once."""
    entry = {"Source": event().source, "DetailType": "t", "Detail": {"n": 1}}
    publisher = open_publisher()
    first = publisher.publish(entry)
    entry["Detail"] = {"n": 2}
    entry["DetailType"] = ""
    second = publisher.publish(entry)
    assert isinstance(first.result(SOON), Accepted)
    assert first.event.detail == '{"n":1}'
    refused = second.result(0)
    assert isinstance(refused, Rejected) and refused.findings[0].field == "detail_type"
    assert publisher.stats().rejected == 1 and balances(publisher)


def test_a_mapping_that_raises_is_rejected(open_publisher: Open) -> None:
    """The rejection names the exception's type, but not its text."""

    class Bad(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            raise RuntimeError("s3cr3t-canary")

    entry = Bad(Source="s", DetailType="t", Detail="{}")
    refused = open_publisher().publish(entry).result(0)
    assert isinstance(refused, Rejected)
    assert "RuntimeError" in refused.message and "s3cr3t" not in refused.message


def test_waiting_ends_in_time(open_publisher: Open, gate: Gate) -> None:
    """A wait that times out does not stop the event: a later wait returns its outcome."""
    receipt = open_publisher(gate).publish(event())
    with pytest.raises(TimeoutError, match=r"no outcome within 0.01 s"):
        receipt.result(0.01)
    gate.is_open.set()
    assert isinstance(receipt.result(SOON), Accepted)


def test_receipts_can_be_awaited(open_publisher: Open, gate: Gate) -> None:
    """Any number of tasks can await a receipt, and cancelling one leaves the others waiting."""
    receipt = open_publisher(gate).publish(event())

    async def wait() -> Any:
        return await receipt

    async def main() -> None:
        first, second = asyncio.create_task(wait()), asyncio.create_task(wait())
        await asyncio.sleep(0.01)
        first.cancel()
        gate.is_open.set()
        assert isinstance(await second, Accepted)
        assert first.cancelled() or first.done()
        assert await receipt is receipt.outcome

    asyncio.run(main())


def test_a_loop_may_end_before_the_receipt_it_awaits(open_publisher: Open, gate: Gate) -> None:
    """An event loop that ends while a task awaits a receipt does not stop the publisher."""
    publisher = open_publisher(gate)
    receipt = publisher.publish(event())

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wait(), 0.01)

    async def wait() -> Any:
        return await receipt

    asyncio.run(give_up())
    gate.is_open.set()
    assert isinstance(receipt.result(SOON), Accepted)


def test_callbacks_are_called_once_with_the_receipt(open_publisher: Open, gate: Gate) -> None:
    """Callbacks run on a thread of their own; one that is added late runs at once."""
    publisher = open_publisher(gate)
    receipt = publisher.publish(event())
    called: list[tuple[Receipt, str]] = []
    is_called = threading.Semaphore(0)

    def note(done: Receipt) -> None:
        called.append((done, threading.current_thread().name))
        is_called.release()

    receipt.add_done_callback(note)
    gate.is_open.set()
    assert is_called.acquire(timeout=SOON)
    receipt.add_done_callback(note)
    assert is_called.acquire(timeout=SOON)
    assert called == [(receipt, "eventbridge-partner-callbacks")] * 2


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit])
def test_callbacks_that_raise_do_no_harm(
    open_publisher: Open,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[BaseException],
) -> None:
    """The exception is logged with its frames, but without its text, which may hold a payload."""
    monkeypatch.setattr(_bugs, "_logged_at", {})
    publisher = open_publisher()
    called = threading.Event()

    def fail(receipt: Receipt) -> None:
        raise kind("s3cr3t-canary")

    receipt = publisher.publish(event())
    receipt.add_done_callback(fail)
    receipt.add_done_callback(lambda _: called.set())
    assert called.wait(SOON)
    assert f"a callback of a receipt raised {kind.__name__}" in caplog.text
    assert f"{__file__}:{fail.__code__.co_firstlineno + 1} in fail" in caplog.text
    assert "s3cr3t" not in caplog.text


def test_callbacks_that_block_hold_up_no_event(open_publisher: Open) -> None:
    """Events are still sent, and close keeps its timeout."""
    publisher = open_publisher()
    goes_on = threading.Event()
    publisher.publish(event()).add_done_callback(lambda _: goes_on.wait(SOON))
    assert isinstance(publisher.publish(event()).result(SOON), Accepted)
    started = time.monotonic()
    publisher.close(0.1)
    assert time.monotonic() - started < SOON / 2
    goes_on.set()


def test_callbacks_may_publish_again(open_publisher: Open, service: FakeEventBridge) -> None:
    """A callback may publish even if the buffer is full and it has to wait for room."""
    publisher = open_publisher(max_buffered_events=1)
    receipts: list[Receipt] = []
    is_over = threading.Event()

    def again(receipt: Receipt) -> None:
        if len(receipts) == 5:
            is_over.set()
            return
        receipts.append(publisher.publish(event(len(receipts))))
        receipts[-1].add_done_callback(again)

    publisher.publish(event()).add_done_callback(again)
    assert is_over.wait(SOON)
    assert service.accepted_count == 6


def test_no_thread_for_callbacks_outlives_its_use(open_publisher: Open, gate: Gate) -> None:
    """The thread ends after close, after a late callback, and with a forgotten publisher."""
    before = set(threading.enumerate())
    called: queue.SimpleQueue[Receipt] = queue.SimpleQueue()
    gate.is_open.set()
    service = FakeEventBridge()
    publisher = EventPublisher(
        PartnerEventsClient(
            service.region, credentials=service.credentials, transport=service.transport()
        ),
        linger=0,
    )
    forgotten = publisher.publish(event())
    forgotten.add_done_callback(called.put)
    assert called.get(timeout=SOON) is forgotten
    del publisher
    closed = open_publisher(gate)
    receipt = closed.publish(event())
    closed.close(SOON)
    for _ in range(3):
        receipt.add_done_callback(called.put)
        assert called.get(timeout=SOON) is receipt
    for thread in set(threading.enumerate()) - before:
        if thread.name == "eventbridge-partner-callbacks":
            thread.join(SOON)
            assert not thread.is_alive()


def test_close_waits_for_callbacks(open_publisher: Open) -> None:
    """Close waits for callbacks; a callback that calls close itself does not deadlock."""
    publisher = open_publisher()
    called: list[str] = []

    def slow(receipt: Receipt) -> None:
        time.sleep(0.05)
        called.append("slow")

    publisher.publish(event()).add_done_callback(slow)
    publisher.close(SOON)
    assert called == ["slow"]

    publisher = open_publisher()
    is_closed = threading.Event()

    def close(receipt: Receipt) -> None:
        publisher.close(SOON)
        is_closed.set()

    publisher.publish(event()).add_done_callback(close)
    assert is_closed.wait(SOON)


# ---------------------------------------------------------------- bounds


def test_publish_waits_for_room(open_publisher: Open, gate: Gate) -> None:
    """If there is no room in time, publish raises, and the event is not counted."""
    publisher = open_publisher(gate, max_buffered_events=2, block_timeout=0.01)
    publisher.publish_many([event(1), event(2)])
    with pytest.raises(BufferFullError, match=r"the buffer was full for 0.01 s"):
        publisher.publish(event(3))
    with pytest.raises(BufferFullError):
        publisher.publish(event(3), timeout=0)
    assert publisher.stats().published == 2

    threading.Timer(0.05, gate.is_open.set).start()
    assert isinstance(publisher.publish(event(4), timeout=SOON).result(SOON), Accepted)


def test_publish_raises_at_once(open_publisher: Open, gate: Gate) -> None:
    """With `on_full="raise"`, publish does not wait for room."""
    publisher = open_publisher(gate, max_buffered_events=1, on_full="raise", block_timeout=SOON)
    publisher.publish(event(1))
    started = time.monotonic()
    with pytest.raises(BufferFullError):
        publisher.publish(event(2))
    assert time.monotonic() - started < SOON / 2


@pytest.mark.parametrize(("on_full", "lost"), [("drop_newest", [2, 3]), ("drop_oldest", [0, 1])])
def test_dropped_events_have_an_outcome(
    open_publisher: Open, gate: Gate, on_full: str, lost: list[int]
) -> None:
    """Dropped events are counted, and their receipts are decided."""
    publisher = open_publisher(gate, max_buffered_events=2, on_full=on_full, linger=10 * SOON)
    told: list[Receipt] = []
    receipts: list[Receipt] = []
    for number in range(4):
        receipts.append(publisher.publish(event(number)))
        receipts[-1].add_done_callback(told.append)
    dropped = [receipts[number].result(SOON) for number in lost]
    assert all(isinstance(one, Exhausted) and one.code == "BufferFull" for one in dropped)
    assert publisher.stats().dropped == 2 and balances(publisher)
    gate.is_open.set()
    assert publisher.flush(SOON).sent.accepted == 2
    publisher.close(SOON)
    assert set(told) == set(receipts)


def test_drop_oldest_drops_the_new_event_if_no_other_waits(
    open_publisher: Open, gate: Gate
) -> None:
    """Events in flight are not dropped."""
    publisher = open_publisher(gate, max_buffered_events=1, on_full="drop_oldest")
    first = publisher.publish(event(1))
    assert gate.asked.acquire(timeout=SOON)
    second = publisher.publish(event(2)).result(0)
    assert isinstance(second, Exhausted) and second.code == "BufferFull"
    gate.is_open.set()
    assert isinstance(first.result(SOON), Accepted)


@pytest.mark.slow
def test_an_event_that_displaces_another_is_sent_at_once(
    open_publisher: Open, service: FakeEventBridge
) -> None:
    """The new event is sent even if all others wait for retries and nothing is due."""
    good = event(source="good").source
    service.play(
        FailEntries(
            "ThrottlingException", times=None, matching=lambda entry: entry["Source"] != good
        )
    )
    slow = RetryPolicy(throttle_wait=wait_fixed(60), tokens=None)
    publisher = open_publisher(
        retry=slow, max_buffered_events=1000, on_full="drop_oldest", linger=0.001
    )
    for source in ("bad", "worse", "worst", "last"):
        publisher.publish_many(event(number, source) for number in range(900))
    until(lambda: not publisher.stats().in_flight)
    assert publisher.stats().buffered == 1000
    time.sleep(2.5)  # until the pace has recovered, and only the retries are left
    assert isinstance(publisher.publish(event(source="good")).result(SOON), Accepted)


def test_publish_many_has_a_receipt_for_each(open_publisher: Open, gate: Gate) -> None:
    """Events for which there is no room in time are dropped, and their receipts say so."""
    publisher = open_publisher(gate, max_buffered_events=2)
    receipts = publisher.publish_many(map(event, range(4)), timeout=0.01)
    assert [receipt.done() for receipt in receipts] == [False, False, True, True]
    assert publisher.stats().dropped == 2 and balances(publisher)
    with pytest.raises(TypeError, match=r"allowed: an iterable of events"):
        publisher.publish_many(event())  # type: ignore[arg-type]


def test_many_threads_wait_for_room(open_publisher: Open, service: FakeEventBridge) -> None:
    """Every thread that waits for room gets it in the end."""
    publisher = open_publisher(max_buffered_events=10, linger=0.0)
    receipts: list[Receipt] = []

    def publish(source: str) -> None:
        for number in range(50):
            receipts.append(publisher.publish(event(number, source), timeout=SOON))

    threads = [threading.Thread(target=publish, args=(f"s{n % 3}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert publisher.flush(SOON).left == 0
    assert service.accepted_count == len(receipts) == 400


# ---------------------------------------------------------------- flush, close, stats


def test_flush_says_what_was_sent_and_what_is_left(open_publisher: Open, gate: Gate) -> None:
    """A flush ends at its timeout and counts what it left."""
    publisher = open_publisher(gate, linger=10 * SOON)
    publisher.publish_many(map(event, range(3)))
    started = time.monotonic()
    report = publisher.flush(0.02)
    assert time.monotonic() - started < SOON / 2
    assert (report.sent.total, report.left) == (0, 3)
    gate.is_open.set()
    report = publisher.flush(SOON)
    assert (report.sent.accepted, report.left) == (3, 0)
    assert publisher.flush(SOON) == publisher.flush(None)


def test_flush_does_not_wait_for_what_comes_later(open_publisher: Open, gate: Gate) -> None:
    """Otherwise flush would never end while others publish."""
    publisher = open_publisher(gate, linger=10 * SOON)
    publisher.publish(event(1))
    flushed: list[Any] = []
    flushing = threading.Thread(target=lambda: flushed.append(publisher.flush(SOON)))
    flushing.start()
    assert gate.asked.acquire(timeout=SOON)
    later = publisher.publish(event(2))
    gate.is_open.set()
    flushing.join(SOON)
    assert flushed[0].sent.total == 1 and not later.done()


@pytest.mark.slow
def test_close_sends_what_is_there(open_publisher: Open, service: FakeEventBridge) -> None:
    """Close sends every buffered event, and its report holds their outcomes."""
    publisher = open_publisher(linger=10 * SOON)
    receipts = publisher.publish_many(map(event, range(30)))
    report = publisher.close(SOON)
    assert len(report.accepted) == 30 and service.accepted_count == 30
    assert {id(outcome) for outcome in report} == {id(one.outcome) for one in receipts}
    assert len(publisher.close()) == 0


def test_close_hands_back_what_it_could_not_send(open_publisher: Open, gate: Gate) -> None:
    """If the service hangs, events in flight are Unconfirmed, and the rest are Exhausted."""
    publisher = open_publisher(gate)
    flying = publisher.publish_many(event(number, "acme") for number in range(20))
    assert gate.asked.acquire(timeout=SOON)
    waiting = publisher.publish_many(event(number, "other") for number in range(100, 300))
    started = time.monotonic()
    report = publisher.close(0.05)
    assert time.monotonic() - started < SOON / 2
    assert len(report) == 220
    assert all(isinstance(receipt.result(0), Unconfirmed) for receipt in flying)
    unsent = [one.outcome for one in waiting if isinstance(one.outcome, Exhausted)]
    assert {one.code for one in unsent} == {"PublisherClosed"}
    assert {id(one) for one in unsent} == {id(one) for one in report.exhausted}
    assert len(report.unconfirmed) + len(report.exhausted) == 220
    assert publisher.stats().buffered == publisher.stats().in_flight == 0
    assert balances(publisher)


def test_nothing_is_sent_after_close_times_out(
    open_publisher: Open, gate: Gate, service: FakeEventBridge
) -> None:
    """Answers that arrive while close decides receipts trigger no new requests."""
    publisher = open_publisher(gate)
    receipts = publisher.publish_many(event(number, str(number)) for number in range(300))
    for _ in range(4):
        assert gate.asked.acquire(timeout=SOON)
    waits = threading.Event()

    class SlowLoop(asyncio.SelectorEventLoop):
        def call_soon_threadsafe(  # type: ignore[override]
            self, callback: Any, *args: Any, context: Any = None
        ) -> asyncio.Handle:
            gate.is_open.set()
            time.sleep(0.1)
            return super().call_soon_threadsafe(callback, *args, context=context)

    async def wait() -> None:
        asyncio.get_running_loop().call_soon(waits.set)
        await receipts[0]

    def wait_on_loop() -> None:
        loop = SlowLoop()
        loop.run_until_complete(wait())
        loop.close()

    waiting = threading.Thread(target=wait_on_loop)
    waiting.start()
    assert waits.wait(SOON)
    report = publisher.close(0)
    waiting.join(SOON)
    assert len(report) == 300 and all(receipt.done() for receipt in receipts)
    assert service.accepted_count <= 80


def test_a_late_answer_changes_nothing(
    open_publisher: Open, gate: Gate, service: FakeEventBridge
) -> None:
    """An outcome is final: an answer that arrives after close does not change it."""
    publisher = open_publisher(gate)
    receipt = publisher.publish(event())
    assert gate.asked.acquire(timeout=SOON)
    publisher.close(0)
    gate.is_open.set()
    for thread in threading.enumerate():
        if thread.name == "eventbridge-partner-publisher":
            thread.join(SOON)
    assert isinstance(receipt.outcome, Unconfirmed)
    assert balances(publisher)


def test_a_closed_publisher_takes_nothing(open_publisher: Open) -> None:
    """A closed publisher refuses events, whether it was used or not; flush and repr still work."""
    for is_used in (True, False):
        publisher = open_publisher()
        if is_used:
            publisher.publish(event()).result(SOON)
        publisher.close()
        with pytest.raises(PublisherClosedError, match="the publisher is closed"):
            publisher.publish(event())
        with pytest.raises(PublisherClosedError):
            publisher.publish_many([event()])
        assert publisher.flush().left == 0
        assert "closed" in repr(publisher)


def test_close_ends_the_wait_for_room(open_publisher: Open, gate: Gate) -> None:
    """A caller that waits for room is told that the publisher is closed."""
    publisher = open_publisher(gate, max_buffered_events=1)
    publisher.publish(event())
    errors: list[Exception] = []
    many: list[Receipt] = []

    def publish() -> None:
        try:
            publisher.publish(event(), timeout=SOON)
        except PublisherClosedError as error:
            errors.append(error)

    def publish_many() -> None:
        many.extend(publisher.publish_many([event(), event()], timeout=SOON))

    threads = [threading.Thread(target=publish), threading.Thread(target=publish_many)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    publisher.close(0.01)
    for thread in threads:
        thread.join(SOON)
    assert len(errors) == 1
    codes = {one.outcome.code for one in many if isinstance(one.outcome, Exhausted)}
    assert codes == {"PublisherClosed"}
    assert balances(publisher)


def test_stats_describe_the_publisher(
    open_publisher: Open, gate: Gate, service: FakeEventBridge
) -> None:
    """Stats include queue depth, age and throttling as well as the counts."""
    assert open_publisher().stats().published == 0
    publisher = open_publisher(gate, linger=10 * SOON)
    publisher.publish_many(map(event, range(25)))
    assert gate.asked.acquire(timeout=SOON)
    time.sleep(0.02)
    stats = publisher.stats()
    assert (stats.published, stats.in_flight, stats.buffered) == (25, 20, 5)
    assert stats.oldest_age >= 0.02
    assert stats.buffered_bytes > 25 * len(event().source)

    service.play(FailEntries("ThrottlingException", indexes=[0]))
    gate.is_open.set()
    publisher.flush(SOON)
    stats = publisher.stats()
    assert (stats.accepted, stats.buffered, stats.throttled) == (25, 0, 1)
    assert stats.oldest_age == stats.buffered_bytes == 0
    assert stats.requests_per_second is not None


# ---------------------------------------------------------------- what delays what


def test_a_throttled_source_delays_no_other(open_publisher: Open, service: FakeEventBridge) -> None:
    """Events of a throttled source wait for retries; others are sent meanwhile."""
    slow = RetryPolicy(throttle_wait=wait_fixed(30), tokens=None)
    is_throttled = event(source="bad").source
    service.play(
        FailEntries(
            "ThrottlingException",
            times=None,
            matching=lambda entry: entry["Source"] == is_throttled,
        )
    )
    publisher = open_publisher(retry=slow)
    held = publisher.publish_many(event(number, "bad") for number in range(500))
    for number in range(5):
        assert isinstance(publisher.publish(event(number, "good")).result(SOON), Accepted)
    report = publisher.close(0.01)
    assert not any(isinstance(receipt.outcome, Accepted) for receipt in held)
    assert report.counts.exhausted == 500


@pytest.mark.slow
def test_a_flood_of_one_source_delays_others_by_a_round(open_publisher: Open, gate: Gate) -> None:
    """An event of another source goes out with one of the next batches."""
    publisher = open_publisher(gate)
    flood = publisher.publish_many(event(number, "flood") for number in range(5000))
    assert gate.asked.acquire(timeout=SOON)
    time.sleep(0.05)
    done_before: list[int] = []
    quiet = publisher.publish(event(0, "quiet"))
    quiet.add_done_callback(lambda _: done_before.append(sum(one.done() for one in flood)))
    gate.is_open.set()
    quiet.result(SOON)
    publisher.close(SOON)
    assert done_before[0] < 1000


def test_no_lock_is_held_while_something_is_sent(open_publisher: Open, gate: Gate) -> None:
    """Publishing, counting and flushing do not block while the service is silent."""
    publisher = open_publisher(gate, linger=0.0)
    publisher.publish(event())
    assert gate.asked.acquire(timeout=SOON)
    started = time.monotonic()
    publisher.publish_many(map(event, range(500)))
    assert balances(publisher)
    publisher.flush(0)
    assert time.monotonic() - started < SOON / 2


def test_several_requests_are_in_flight(open_publisher: Open, gate: Gate) -> None:
    """A request that hangs does not hold up the others."""
    publisher = open_publisher(gate)
    publisher.publish_many(map(event, range(60)))
    for _ in range(3):
        assert gate.asked.acquire(timeout=SOON)


@pytest.mark.slow
def test_libcurl_wakes_for_new_events(service: FakeEventBridge) -> None:
    """An event that comes while a request hangs does not wait for its answer."""
    with service.serve() as server:
        client = PartnerEventsClient(
            service.region,
            endpoint_url=server.url,
            credentials=service.credentials,
            transport=CurlTransport,
        )
        with client, EventPublisher(client, linger=0.001) as publisher:
            assert isinstance(publisher.publish(event(1)).result(SOON), Accepted)
            service.play(SlowAnswer(1.0))
            slow = publisher.publish(event(2))
            time.sleep(0.05)
            assert isinstance(publisher.publish(event(3)).result(SOON), Accepted)
            assert not slow.done()
            time.sleep(0.05)  # nothing is due, so the transport waits without a timeout


# ---------------------------------------------------------------- life


def test_the_thread_starts_once(open_publisher: Open) -> None:
    """The first event starts the thread, even if several callers publish at the same time."""
    publisher = open_publisher()
    before = _senders()  # some of them may be about to end
    barrier = threading.Barrier(8)

    def publish() -> None:
        barrier.wait(SOON)
        publisher.publish(event())

    threads = [threading.Thread(target=publish) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert len(_senders() - before) == 1
    publisher.close(SOON)
    assert publisher.stats().accepted == 8


def _senders() -> set[threading.Thread]:
    return {one for one in threading.enumerate() if one.name == "eventbridge-partner-publisher"}


def test_an_invalid_setting_is_raised_by_the_first_publish(service: FakeEventBridge) -> None:
    """The first publish raises a ConfigurationError, and no event is taken."""
    publisher = EventPublisher(PartnerEventsClient(credentials=service.credentials))
    with pytest.raises(ConfigurationError, match="region is not set"):
        publisher.publish(event())
    assert publisher.stats().published == 0


@pytest.mark.parametrize(
    "wrong", [{"block_timeout": -1}, {"exit_timeout": float("nan")}, {"on_full": "wait"}]
)
def test_invalid_arguments(service: FakeEventBridge, wrong: dict[str, Any]) -> None:
    """Invalid arguments are refused when the publisher is made."""
    with pytest.raises(ValueError, match="allowed: "):
        EventPublisher(PartnerEventsClient(), **wrong)


def test_without_credentials_events_are_exhausted(
    service: FakeEventBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without credentials, the outcome has no attempts; once there are some, events are sent."""
    client = PartnerEventsClient(service.region, transport=service.transport(), retry=QUICK)
    with EventPublisher(client, linger=0) as publisher:
        outcome = publisher.publish(event()).result(SOON)
        assert isinstance(outcome, Exhausted)
        assert (outcome.code, outcome.attempts) == ("CredentialsError", 0)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", service.credentials.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", service.credentials.secret_key)
        assert isinstance(publisher.publish(event()).result(SOON), Accepted)


def test_the_publisher_continues_after_an_untrusted_endpoint(
    open_publisher: Open, service: FakeEventBridge
) -> None:
    """Events that meet an untrusted certificate are exhausted, and later events are sent."""
    inner = service.transport()
    is_trusted = False

    class Untrusted:
        def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
            if not is_trusted:
                raise TlsError("expired")
            return inner.send(request, timeouts)

        def close(self) -> None:
            pass

    publisher = open_publisher(Untrusted())
    outcome = publisher.publish(event()).result(SOON)
    assert isinstance(outcome, Exhausted) and outcome.code == "TlsError"
    is_trusted = True
    assert isinstance(publisher.publish(event()).result(SOON), Accepted)


def test_no_receipt_stays_open_when_the_sender_fails(
    open_publisher: Open, service: FakeEventBridge, caplog: pytest.LogCaptureFixture
) -> None:
    """The publisher continues with later events."""
    inner = service.transport()
    fails = True

    class Failing:
        def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
            if fails:
                raise SystemExit("s3cr3t-canary")
            return inner.send(request, timeouts)

        def close(self) -> None:
            pass

    publisher = open_publisher(Failing())
    outcome = publisher.publish(event()).result(SOON)
    assert isinstance(outcome, Unconfirmed)
    assert "goes on after SystemExit" in caplog.text and "s3cr3t" not in caplog.text
    fails = False
    assert isinstance(publisher.publish(event()).result(SOON), Accepted)
    assert balances(publisher)


class AsEvents(logging.Handler):
    """Publishes every log record, from any logger."""

    def __init__(self, publisher: EventPublisher) -> None:
        super().__init__()
        self.receipts: list[Receipt] = []
        self.refused = 0
        self._publisher = publisher

    def emit(self, record: logging.LogRecord) -> None:
        detail = {"message": record.getMessage()}
        try:
            receipt = self._publisher.publish(PartnerEvent("aws.partner/log/x/y", "t", detail))
            self.receipts.append(receipt)
        except BufferFullError:
            self.refused += 1


@pytest.mark.parametrize("block_timeout", [5.0, math.inf])
def test_a_log_handler_that_publishes_does_not_deadlock(
    open_publisher: Open, service: FakeEventBridge, block_timeout: float
) -> None:
    """The sender can log while a log handler waits for room and holds its lock."""
    service.play(FailRequest("ServiceUnavailable", 503, times=None))
    retry = RetryPolicy(wait=wait_none(), tokens=None)
    publisher = open_publisher(retry=retry, max_buffered_events=30, block_timeout=block_timeout)
    handler = AsEvents(publisher)
    root, own = logging.getLogger(), logging.getLogger("tests.as_events")

    def log_a_lot() -> None:
        for number in range(300):
            own.info("line %d", number)

    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        logger = threading.Thread(target=log_a_lot, daemon=True)
        logger.start()
        logger.join(SOON)
        assert not logger.is_alive()
        publisher.flush(SOON)
        # The publisher's own log lines became events, too, but few of them.
        assert 301 <= len(handler.receipts) + handler.refused <= 303
        publisher.close(SOON)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert all(receipt.done() for receipt in handler.receipts)
    assert len(handler.receipts) > 250


FAILURE = "ServiceUnavailable: The service is temporarily unavailable."


def test_failed_requests_are_logged_once_and_then_counted(
    open_publisher: Open, service: FakeEventBridge, caplog: pytest.LogCaptureFixture
) -> None:
    """The first failure is logged at once, and the number of others at the end."""
    service.play(FailRequest("ServiceUnavailable", 503, times=None))
    publisher = open_publisher(retry=RetryPolicy(wait=wait_none(), tokens=None))
    with caplog.at_level(logging.INFO, logger="eventbridge_partner"):
        for number in range(5):
            publisher.publish(event(number)).result(SOON)
        publisher.close(SOON)
        until(lambda: "14 more such lines about requests" in caplog.text)
    assert caplog.text.count(f"a request of 1 entry failed: {FAILURE}") == 1


@pytest.mark.parametrize(
    "wait",
    [
        lambda publisher, receipt: receipt.result(SOON),
        lambda publisher, receipt: publisher.flush(SOON),
        lambda publisher, receipt: publisher.close(SOON),
    ],
    ids=["result", "flush", "close"],
)
def test_waiting_on_the_sender_thread_is_refused(
    open_publisher: Open,
    service: FakeEventBridge,
    wait: Callable[[EventPublisher, Receipt], object],
) -> None:
    """A retry policy that waits there would wait for itself: it raises, and no event is lost."""
    errors: list[BaseException] = []
    receipts: list[Receipt] = []
    ready = threading.Event()

    def misguided(state: object) -> float:
        assert ready.wait(SOON)
        try:
            wait(publisher, receipts[0])
        except BaseException as error:  # noqa: BLE001  # checked in the test's own thread
            errors.append(error)
        return 0.0

    service.play(FailEntries("ThrottlingException", indexes=[0]))
    publisher = open_publisher(retry=RetryPolicy(throttle_wait=misguided))
    receipts.append(publisher.publish(event()))
    ready.set()
    assert isinstance(receipts[0].result(SOON), Accepted)
    assert [type(error) for error in errors] == [RuntimeError]
    assert "must not wait for events" in str(errors[0])


def test_publishing_on_the_sender_thread_never_waits(
    open_publisher: Open, service: FakeEventBridge
) -> None:
    """That thread is the one that makes room, so a full buffer raises at once."""
    errors: list[BaseException] = []

    def misguided(state: object) -> float:
        try:
            publisher.publish(event())
        except BaseException as error:  # noqa: BLE001  # checked in the test's own thread
            errors.append(error)
        return 0.0

    service.play(FailEntries("ThrottlingException", indexes=[0]))
    publisher = open_publisher(
        retry=RetryPolicy(throttle_wait=misguided), max_buffered_events=1, block_timeout=math.inf
    )
    assert isinstance(publisher.publish(event()).result(SOON), Accepted)
    assert [type(error) for error in errors] == [BufferFullError]


@pytest.mark.slow
def test_a_forgotten_publisher_loses_no_event(
    open_publisher: Open, service: FakeEventBridge
) -> None:
    """The events that it holds are sent, and then its thread ends."""
    before = _senders()
    client = PartnerEventsClient(
        service.region, credentials=service.credentials, transport=service.transport()
    )
    publisher = EventPublisher(client, linger=10 * SOON)
    receipt = publisher.publish(event())
    del publisher
    gc.collect()
    assert isinstance(receipt.result(SOON), Accepted)
    until(lambda: not _senders() - before)


def test_no_payload_is_shown(
    open_publisher: Open, caplog: pytest.LogCaptureFixture, service: FakeEventBridge
) -> None:
    """Payloads appear in no repr, log line or message."""
    caplog.set_level(logging.DEBUG)
    service.play(FailEntries("InternalFailure", times=None))
    publisher = open_publisher()
    receipt = publisher.publish(
        PartnerEvent(event().source, "t", {"k": "s3cr3t-canary"}, resources=["s3cr3t-canary"])
    )
    shown = [repr(receipt), repr(publisher)]
    receipt.result(SOON)
    shown += [repr(receipt), repr(publisher), repr(publisher.stats()), repr(receipt.outcome)]
    assert "s3cr3t" not in "".join(shown) + caplog.text
    assert "1 event without" not in repr(publisher)


def test_it_cannot_be_pickled(open_publisher: Open) -> None:
    """A publisher has a thread, so it cannot be pickled."""
    with pytest.raises(TypeError, match="make one in each process"):
        pickle.dumps(open_publisher())
