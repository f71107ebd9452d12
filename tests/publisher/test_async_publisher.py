"""The publisher on an event loop: what it shares with threads, and what only a loop can cause."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest
from tenacity import stop_after_attempt, wait_fixed, wait_none

from eventbridge_partner import (
    Accepted,
    AsyncEventPublisher,
    AsyncPartnerEventsClient,
    BufferFullError,
    ConfigurationError,
    EventPublisher,
    Exhausted,
    HttpRequest,
    HttpResponse,
    PartnerEvent,
    PublisherClosedError,
    Receipt,
    Rejected,
    RetryPolicy,
    Timeouts,
    Unconfirmed,
)
from eventbridge_partner.testing import FailEntries, FailRequest, FakeEventBridge, LocalServer
from eventbridge_partner.transports.tasks import TaskFlights
from tests.patience import SOON

QUICK = RetryPolicy(wait=wait_none(), throttle_wait=wait_none(), stop=stop_after_attempt(2))


def event(number: int = 0, source: str = "acme") -> PartnerEvent:
    return PartnerEvent(f"aws.partner/example.com/{source}/x", "t", {"number": number})


class Gate:
    """A transport that lets requests through when it is open."""

    def __init__(self, service: FakeEventBridge, *, is_open: bool = False) -> None:
        self._inner = service.transport()
        self.is_open = asyncio.Event()
        self.asked = asyncio.Semaphore(0)
        if is_open:
            self.is_open.set()

    async def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        self.asked.release()
        await self.is_open.wait()
        return self._inner.send(request, timeouts)

    async def close(self) -> None:
        pass


@pytest.fixture
def service() -> FakeEventBridge:
    return FakeEventBridge()


@pytest.fixture
def server(service: FakeEventBridge) -> Iterator[LocalServer]:
    with service.serve() as server:
        yield server


Scenario = Callable[["Stage"], Coroutine[Any, Any, None]]


class Stage:
    """A service, its gates, and a way to make publishers, for a scenario on a loop."""

    def __init__(self, service: FakeEventBridge) -> None:
        self.service = service
        self.gate = Gate(service)
        self.open_gate = Gate(service, is_open=True)

    def publisher(
        self, transport: Any = None, retry: RetryPolicy = QUICK, **settings: Any
    ) -> AsyncEventPublisher:
        client = AsyncPartnerEventsClient(
            self.service.region,
            credentials=self.service.credentials,
            transport=transport or self.open_gate,
            retry=retry,
        )
        return AsyncEventPublisher(client, **{"linger": 0.005} | settings)


@pytest.fixture
def play(service: FakeEventBridge) -> Callable[[Scenario], None]:
    """Runs a scenario on a loop, with a time limit."""

    def play(scenario: Scenario) -> None:
        async def main() -> None:
            await asyncio.wait_for(scenario(Stage(service)), 2 * SOON)

        asyncio.run(main())

    return play


Play = Callable[[Scenario], None]


def balances(publisher: AsyncEventPublisher) -> bool:
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


def test_both_publishers_have_the_same_methods() -> None:
    """The two publishers differ only in `await`."""
    for name in {*vars(EventPublisher), *vars(AsyncEventPublisher)}:
        if name.startswith("_") and name not in ("__init__", "__reduce__", "__repr__"):
            continue
        one, other = getattr(EventPublisher, name), getattr(AsyncEventPublisher, name)
        parameters = [list(inspect.signature(method).parameters) for method in (one, other)]
        assert parameters[0] == parameters[1], name
        defaults = [
            [parameter.default for parameter in inspect.signature(method).parameters.values()]
            for method in (one, other)
        ]
        assert defaults[0] == defaults[1], name


def test_receipts_have_the_outcomes_of_their_events(play: Play) -> None:
    """A full batch goes out as one request, and each receipt gets its own outcome."""

    async def scenario(stage: Stage) -> None:
        stage.service.play(FailEntries("NotAuthorizedForSourceException", indexes=[1]))
        async with stage.publisher(linger=10 * SOON) as publisher:
            receipts = await publisher.publish_many(map(event, range(20)))
            outcomes = [await receipt for receipt in receipts]
        assert [type(outcome) for outcome in outcomes].count(Accepted) == 19
        assert isinstance(outcomes[1], Rejected)
        assert stage.service.request_count == 1

    play(scenario)


def test_events_may_come_asynchronously(play: Play) -> None:
    """publish_many accepts an asynchronous iterable, and rejects mappings that break a limit."""

    async def arriving() -> AsyncIterator[Any]:
        for number in range(3):
            await asyncio.sleep(0)
            yield event(number)
        yield {"Source": "?"}

    async def scenario(stage: Stage) -> None:
        async with stage.publisher() as publisher:
            receipts = await publisher.publish_many(arriving())
            assert isinstance(await receipts[3], Rejected)
            assert (await publisher.flush(SOON)).sent.accepted == 3
            assert publisher.stats().rejected == 1 and balances(publisher)

    play(scenario)


def test_publish_waits_for_room_while_others_go_on(play: Play) -> None:
    """Publish raises if there is no room in time; a cancelled publish takes no event."""

    async def scenario(stage: Stage) -> None:
        publisher = stage.publisher(stage.gate, max_buffered_events=2, block_timeout=0.01)
        await publisher.publish_many([event(1), event(2)])
        with pytest.raises(BufferFullError, match=r"was full for 0.01 s"):
            await publisher.publish(event(3))
        waiting = asyncio.create_task(publisher.publish(event(4), timeout=SOON))
        cancelled = asyncio.create_task(publisher.publish(event(5), timeout=SOON))
        await asyncio.sleep(0.01)
        cancelled.cancel()
        stage.gate.is_open.set()
        assert isinstance(await (await waiting), Accepted)
        await publisher.close(SOON)
        assert publisher.stats().published == publisher.stats().accepted == 3

    play(scenario)


def test_room_that_a_cancelled_task_leaves_goes_to_the_next(play: Play) -> None:
    """Room that a cancelled task does not use goes to the next task that waits."""

    async def scenario(stage: Stage) -> None:
        publisher = stage.publisher(stage.gate, max_buffered_events=1, block_timeout=SOON)
        first = await publisher.publish(event(1))
        cancelled = asyncio.create_task(publisher.publish(event(2)))
        waiting = [asyncio.create_task(publisher.publish(event(number))) for number in range(3, 6)]
        await asyncio.sleep(0.01)
        first.add_done_callback(lambda _: cancelled.cancel())
        stage.gate.is_open.set()
        for one in waiting:
            assert isinstance(await (await one), Accepted)
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        await publisher.close(SOON)
        assert publisher.stats().published == publisher.stats().accepted == 4

    play(scenario)


def test_room_that_a_source_may_not_use_goes_to_the_next(play: Play) -> None:
    """If the next task's source has nine tenths of the room, the task behind it gets the rest."""

    async def scenario(stage: Stage) -> None:
        bad = event(source="bad").source
        stage.service.play(
            FailEntries(
                "ThrottlingException", times=None, matching=lambda entry: entry["Source"] == bad
            )
        )
        later = RetryPolicy(throttle_wait=wait_fixed(10 * SOON))
        publisher = stage.publisher(stage.gate, later, max_buffered_events=10, block_timeout=SOON)
        await publisher.publish_many(event(number, "bad") for number in range(9))
        await publisher.publish(event(source="good"))
        refused = asyncio.create_task(publisher.publish(event(source="bad")))
        behind = asyncio.create_task(publisher.publish(event(source="other")))
        await asyncio.sleep(0.01)
        stage.gate.is_open.set()
        assert isinstance(await (await behind), Accepted)
        assert not refused.done()
        await publisher.close(0)
        with pytest.raises(PublisherClosedError):
            await refused

    play(scenario)


@pytest.mark.parametrize(("on_full", "lost"), [("drop_newest", [2, 3]), ("drop_oldest", [0, 1])])
def test_dropped_events_have_an_outcome(play: Play, on_full: str, lost: list[int]) -> None:
    """Their outcome is `Exhausted`, with a code of its own."""

    async def scenario(stage: Stage) -> None:
        publisher = stage.publisher(max_buffered_events=2, on_full=on_full, linger=10 * SOON)
        receipts = [await publisher.publish(event(number)) for number in range(4)]
        for number in lost:
            outcome = await receipts[number]
            assert isinstance(outcome, Exhausted) and outcome.code == "BufferFull"
        assert publisher.stats().dropped == 2 and balances(publisher)
        assert len((await publisher.close(SOON)).accepted) == 2

    play(scenario)


def test_publish_may_raise_at_once(play: Play) -> None:
    """With `on_full="raise"`, publish does not wait for room."""

    async def scenario(stage: Stage) -> None:
        publisher = stage.publisher(stage.gate, max_buffered_events=1, on_full="raise")
        await publisher.publish(event())
        with pytest.raises(BufferFullError):
            await publisher.publish(event())
        many = await publisher.publish_many([event()])
        assert isinstance(many[0].outcome, Exhausted)
        await publisher.close(0)

    play(scenario)


def test_callbacks_are_called_on_the_loop(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    """Callbacks may publish; an exception in one is logged without its text."""

    async def scenario(stage: Stage) -> None:
        publisher = stage.publisher()
        threads: list[threading.Thread] = []
        published: list[asyncio.Task[Receipt]] = []

        def fail(receipt: Receipt) -> None:
            raise RuntimeError("s3cr3t-canary")

        def again(receipt: Receipt) -> None:
            threads.append(threading.current_thread())
            published.append(asyncio.create_task(publisher.publish(event(2))))

        receipt = await publisher.publish(event(1))
        receipt.add_done_callback(fail)
        receipt.add_done_callback(again)
        await receipt
        await asyncio.sleep(0.01)
        assert isinstance(await (await published[0]), Accepted)
        assert threads == [threading.current_thread()]
        await publisher.close(SOON)

    play(scenario)
    assert "raised RuntimeError" in caplog.text and "s3cr3t" not in caplog.text


def test_receipts_can_be_waited_for_in_other_threads_and_loops(play: Play) -> None:
    """Receipts are not futures of the loop."""

    async def scenario(stage: Stage) -> None:
        publisher = stage.publisher(stage.gate)
        receipt = await publisher.publish(event())

        async def wait() -> Any:
            return await receipt

        elsewhere = asyncio.to_thread(receipt.result, SOON)
        other_loop = asyncio.to_thread(lambda: asyncio.run(wait()))
        both = asyncio.gather(elsewhere, other_loop)
        await asyncio.sleep(0.05)
        stage.gate.is_open.set()
        assert [type(outcome) for outcome in await both] == [Accepted, Accepted]
        await publisher.close(SOON)

    play(scenario)


def test_flush_honours_its_time(play: Play) -> None:
    """Events that are left when a flush times out are still sent."""

    async def scenario(stage: Stage) -> None:
        publisher = stage.publisher(stage.gate, linger=10 * SOON)
        assert (await publisher.flush()).left == 0
        await publisher.publish_many(map(event, range(3)))
        report = await publisher.flush(0.02)
        assert (report.sent.total, report.left) == (0, 3)
        stage.gate.is_open.set()
        report = await publisher.flush(SOON)
        assert (report.sent.accepted, report.left) == (3, 0)
        await publisher.close(SOON)

    play(scenario)


def test_close_hands_back_what_it_could_not_send(play: Play) -> None:
    """Close keeps its timeout, and does the same when it is cancelled."""

    async def scenario(stage: Stage) -> None:
        for is_cancelled in (False, True):
            publisher = stage.publisher(stage.gate, linger=0)
            flying = await publisher.publish_many(event(number) for number in range(20))
            await stage.gate.asked.acquire()
            waiting = await publisher.publish_many(event(n, "other") for n in range(5))
            started = time.monotonic()
            if is_cancelled:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(publisher.close(SOON), 0.05)
            else:
                report = await publisher.close(0.05)
                assert len(report) == 25
            assert time.monotonic() - started < SOON / 2
            assert all(isinstance(receipt.outcome, Unconfirmed) for receipt in flying)
            assert all(receipt.done() for receipt in waiting)
            assert balances(publisher) and publisher.stats().buffered == 0
            with pytest.raises(PublisherClosedError):
                await publisher.publish(event())
            with pytest.raises(PublisherClosedError):
                await publisher.publish_many([event()])
            assert len(await publisher.close()) == 0

    play(scenario)


def test_close_ends_the_wait_for_room(play: Play) -> None:
    """A task that waits for room is told that the publisher is closed."""

    async def scenario(stage: Stage) -> None:
        publisher = stage.publisher(stage.gate, max_buffered_events=1)
        await publisher.publish(event())
        one = asyncio.create_task(publisher.publish(event(), timeout=SOON))
        many = asyncio.create_task(publisher.publish_many([event()], timeout=SOON))
        await asyncio.sleep(0.01)
        await publisher.close(0.01)
        with pytest.raises(PublisherClosedError):
            await one
        outcome = (await many)[0].outcome
        assert isinstance(outcome, Exhausted) and outcome.code == "PublisherClosed"

    play(scenario)


def test_a_throttled_source_delays_no_other(play: Play) -> None:
    """Events of a throttled source wait for retries; others are sent meanwhile."""

    async def scenario(stage: Stage) -> None:
        bad = event(source="bad").source
        stage.service.play(
            FailEntries(
                "ThrottlingException", times=None, matching=lambda entry: entry["Source"] == bad
            )
        )
        slow = RetryPolicy(throttle_wait=wait_fixed(30), tokens=None)
        publisher = stage.publisher(retry=slow)
        held = await publisher.publish_many(event(number, "bad") for number in range(500))
        for number in range(3):
            good = await publisher.publish(event(number, "good"))
            assert isinstance(await good, Accepted)
        await publisher.close(0.01)
        assert not any(isinstance(receipt.outcome, Accepted) for receipt in held)

    play(scenario)


def test_a_signer_that_fails_leaves_no_receipt_open(
    play: Play, service: FakeEventBridge, caplog: pytest.LogCaptureFixture
) -> None:
    """The publisher continues with later events."""

    class Credentials:
        fails = True

        def get_frozen_credentials(self) -> Any:
            if self.fails:
                raise ZeroDivisionError("s3cr3t-canary")
            return service.credentials.get_frozen_credentials()

    async def scenario(stage: Stage) -> None:
        credentials = Credentials()
        client = AsyncPartnerEventsClient(
            service.region, credentials=credentials, transport=stage.open_gate, retry=QUICK
        )
        async with AsyncEventPublisher(client, linger=0) as publisher:
            outcome = await (await publisher.publish(event()))
            assert not isinstance(outcome, Accepted)
            credentials.fails = False
            assert isinstance(await (await publisher.publish(event())), Accepted)
            assert balances(publisher)

    play(scenario)
    assert "s3cr3t" not in caplog.text


def test_a_log_handler_that_raises_changes_no_outcome(play: Play, service: FakeEventBridge) -> None:
    """Only its log line is lost."""

    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise ZeroDivisionError

    async def scenario(stage: Stage) -> None:
        service.play(FailRequest("ServiceUnavailable", 503))
        async with stage.publisher() as publisher:
            assert isinstance(await (await publisher.publish(event())), Accepted)

    handler, logger = Failing(), logging.getLogger("eventbridge_partner")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        play(scenario)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def test_an_invalid_setting_is_raised_by_the_first_publish(play: Play) -> None:
    """The first publish raises a ConfigurationError."""

    async def scenario(stage: Stage) -> None:
        publisher = AsyncEventPublisher(AsyncPartnerEventsClient())
        with pytest.raises(ConfigurationError, match="region is not set"):
            await publisher.publish(event())

    play(scenario)


# ---------------------------------------------------------------- loops that end


def test_a_loop_that_ends_without_close_sends_what_is_left(
    play: Play, service: FakeEventBridge
) -> None:
    """asyncio.run cancels the sender's task, which then uses its exit timeout to send."""
    kept: list[Receipt] = []

    async def scenario(stage: Stage) -> None:
        publisher = stage.publisher(linger=10 * SOON)
        kept.extend(await publisher.publish_many(map(event, range(30))))

    play(scenario)
    assert all(isinstance(receipt.outcome, Accepted) for receipt in kept)


def test_a_loop_that_ends_at_once_sends_what_is_left(service: FakeEventBridge) -> None:
    """Events are sent even if the sender's task has not run yet."""

    async def main() -> Receipt:
        return await Stage(service).publisher(linger=10 * SOON).publish(event())

    assert isinstance(asyncio.run(main()).outcome, Accepted)


@pytest.mark.parametrize("events", [20, 300])
def test_a_loop_that_ends_before_there_is_a_connection_sends_what_is_left(
    service: FakeEventBridge, server: LocalServer, events: int
) -> None:
    """asyncio.run cancels the tasks that connect, and new ones take their place."""

    async def main() -> list[Receipt]:
        client = AsyncPartnerEventsClient(
            service.region, endpoint_url=server.url, credentials=service.credentials
        )
        publisher = AsyncEventPublisher(client, exit_timeout=SOON)
        return await publisher.publish_many(map(event, range(events)))

    started = time.monotonic()
    receipts = asyncio.run(main())
    assert {type(receipt.outcome) for receipt in receipts} == {Accepted}
    assert service.request_count == events // 20
    assert time.monotonic() - started < SOON


@pytest.mark.parametrize("fault", ["first look", "refresh"])
def test_a_loop_that_ends_during_a_look_for_credentials_sends_what_is_left(
    service: FakeEventBridge, fault: str
) -> None:
    """No event is lost, whether the look-up precedes the first request or follows an answer."""
    asked, may_answer = threading.Event(), threading.Event()

    class Slow:
        """Blocks on the first look-up, or on the second."""

        asks = 0

        def get_frozen_credentials(self) -> Any:
            self.asks += 1
            if self.asks == (1 if fault == "first look" else 2):
                asked.set()
                assert may_answer.wait(SOON)
            return service.credentials.get_frozen_credentials()

    if fault == "refresh":
        service.play(FailRequest("ExpiredTokenException", 400))

    async def main() -> list[Receipt]:
        client = AsyncPartnerEventsClient(
            service.region,
            credentials=Slow(),
            transport=Gate(service, is_open=True),
            retry=QUICK,
        )
        publisher = AsyncEventPublisher(client, linger=0, exit_timeout=SOON)
        receipts = await publisher.publish_many(map(event, range(30)))
        assert await asyncio.to_thread(asked.wait, SOON)
        asyncio.get_running_loop().call_later(0.05, may_answer.set)
        return receipts

    receipts = asyncio.run(main())
    assert {type(receipt.outcome) for receipt in receipts} == {Accepted}


def test_a_sender_that_is_cancelled_before_its_first_step_leaves_no_receipt_open(
    service: FakeEventBridge,
) -> None:
    """Nothing was sent, and the receipts say so."""

    async def main() -> list[Receipt]:
        others = asyncio.all_tasks()
        publisher = Stage(service).publisher()
        receipts = await publisher.publish_many(map(event, range(30)))
        for task in asyncio.all_tasks() - others:
            task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return receipts

    receipts = asyncio.run(main())
    assert {type(receipt.outcome) for receipt in receipts} == {Exhausted}


def test_ctrl_c_in_the_sender_leaves_the_loop_usable(service: FakeEventBridge) -> None:
    """A program that catches Ctrl-C may run its loop again to close the publisher."""
    interrupts = iter([KeyboardInterrupt()])

    class Interrupted(Gate):
        def flights(self) -> TaskFlights[Any]:
            if interrupt := next(interrupts, None):
                raise interrupt
            return TaskFlights(self)

    async def publish(publisher: AsyncEventPublisher) -> None:
        receipts.append(await publisher.publish(event()))
        await asyncio.sleep(SOON)

    receipts: list[Receipt] = []
    loop = asyncio.new_event_loop()
    publisher = Stage(service).publisher(Interrupted(service, is_open=True), linger=0)
    publishing = loop.create_task(publish(publisher))
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(publishing)
    assert not publishing.done()
    publishing.cancel()
    loop.run_until_complete(publisher.close(SOON))
    loop.close()
    assert [type(receipt.outcome) for receipt in receipts] == [Accepted]


def test_a_loop_that_ends_while_the_service_hangs_says_what_was_lost(
    play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    """The sender stops at its exit timeout and logs the loss."""
    kept: list[Receipt] = []

    async def scenario(stage: Stage) -> None:
        publisher = stage.publisher(stage.gate, linger=0, exit_timeout=0.05)
        kept.extend(await publisher.publish_many(map(event, range(30))))
        await stage.gate.asked.acquire()

    play(scenario)
    assert all(receipt.done() for receipt in kept)
    assert "a publisher was not closed: " in caplog.text


def test_a_publisher_continues_in_the_next_loop(
    service: FakeEventBridge, caplog: pytest.LogCaptureFixture
) -> None:
    """A publisher can move to another loop once the first has ended, but not before."""
    publishers: list[AsyncEventPublisher] = []

    async def first() -> None:
        publishers.append(Stage(service).publisher())
        await (await publishers[0].publish(event()))

        async def elsewhere() -> None:
            await publishers[0].publish(event())

        with pytest.raises(RuntimeError, match="one event loop"):
            await asyncio.to_thread(lambda: asyncio.run(elsewhere()))

    async def second() -> None:
        receipt = await publishers[0].publish(event())
        await publishers[0].flush(SOON)
        assert receipt.done()
        await publishers[0].close(SOON)

    asyncio.run(first())
    asyncio.run(second())


def test_a_loop_that_is_dropped_leaves_no_receipt_open(
    service: FakeEventBridge, caplog: pytest.LogCaptureFixture
) -> None:
    """The next publish on another loop decides the receipts of the dropped one."""
    loop = asyncio.new_event_loop()
    stage = Stage(service)
    publisher = stage.publisher(stage.gate, linger=10 * SOON)
    receipt = loop.run_until_complete(publisher.publish(event()))
    (task,) = asyncio.all_tasks(loop)
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # dropped on purpose
    loop.close()

    async def later() -> None:
        again = await publisher.publish(event())
        stage.gate.is_open.set()
        await publisher.close(SOON)
        assert again.done()

    asyncio.run(later())
    assert receipt.done() and not isinstance(receipt.outcome, Accepted)
    assert "a publisher was not closed: 1 event was not sent" in caplog.text


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_leaves_events_to_the_parent(service: FakeEventBridge, server: LocalServer) -> None:
    """The child starts empty, on a loop of its own, and nothing is sent twice."""
    script = f"""
import asyncio, os
from eventbridge_partner import *
from botocore.credentials import Credentials

client = AsyncPartnerEventsClient(
    "us-east-1",
    endpoint_url={server.url!r},
    credentials=Credentials({service.credentials.access_key!r}, {service.credentials.secret_key!r}),
)
publisher = AsyncEventPublisher(client, linger=600)
def events(*numbers):
    return [PartnerEvent("aws.partner/example.com/acme", "t", {{"n": n}}) for n in range(*numbers)]

async def in_child():
    assert publisher.stats().published == 0
    await publisher.publish_many(events(10, 15))
    report = await publisher.close(20)
    assert len(report.accepted) == 5
    await client.close()

async def main():
    receipts = await publisher.publish_many(events(10))
    child = os.fork()
    if child == 0:
        try:
            assert not isinstance(receipts[0].outcome, Accepted)
            asyncio.events._set_running_loop(None)
            asyncio.run(in_child())
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert len((await publisher.close(20)).accepted) == 10
    await client.close()

asyncio.run(main())
"""
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    numbers = sorted(json.loads(entry.detail)["n"] for entry in service.accepted)
    assert numbers == list(range(15))


def test_the_repr_names_the_state(play: Play) -> None:
    """The repr names the state, and a publisher cannot be pickled."""

    async def scenario(stage: Stage) -> None:
        publisher = stage.publisher()
        assert "not used yet" in repr(publisher)
        await publisher.publish(event())
        assert "open, 1 event " in repr(publisher)
        await publisher.close(SOON)
        assert "closed" in repr(publisher)
        with pytest.raises(TypeError, match="make one in each process"):
            pickle.dumps(publisher)

    play(scenario)
