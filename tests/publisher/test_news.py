"""Events that are not accepted show in the log, on `on_undelivered`, and to the observer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
from collections.abc import Callable, Generator
from typing import Any, cast

import attrs
import pytest
from tenacity import wait_none

from eventbridge_partner import (
    AsyncEventPublisher,
    AsyncPartnerEventsClient,
    EventPublisher,
    PartnerEvent,
    PartnerEventsClient,
    Rejected,
    RetryPolicy,
)
from eventbridge_partner.observing import Observation, OutcomesDecided, RequestEnded
from eventbridge_partner.publisher import _news
from eventbridge_partner.publisher._news import Handing, News
from eventbridge_partner.testing import FailEntries, FailRequest, FakeEventBridge
from tests.strategies import SOURCE

AT_ONCE = RetryPolicy(wait=wait_none(), throttle_wait=wait_none())
CANARY = "s3cr3t-canary"
DENIED = FailRequest("AccessDeniedException", 400, message=CANARY, times=None)
INVALID = {"Source": SOURCE, "DetailType": "", "Detail": "{}"}

Use = Callable[[Any], Any]


@attrs.frozen
class Wait:
    """Asks for the outcome of this receipt."""

    receipt: Any


def event(number: int = 0) -> PartnerEvent:
    return PartnerEvent(SOURCE, "t", {"n": number, "c": CANARY})


def in_threads(service: FakeEventBridge, use: Use, *, observe: Any = None, **settings: Any) -> Any:
    """Give a publisher to a generator function that yields what it would await on a loop."""
    with (
        service.serve() as server,
        PartnerEventsClient(
            service.region,
            endpoint_url=server.url,
            credentials=service.credentials,
            retry=AT_ONCE,
            observe=observe,
        ) as client,
        EventPublisher(client, linger=0.01, **settings) as publisher,
    ):
        steps = use(publisher)
        with contextlib.suppress(StopIteration):
            step = next(steps)
            while True:
                if isinstance(step, Wait):
                    step = step.receipt.result(10)
                step = steps.send(step)


def on_a_loop(service: FakeEventBridge, use: Use, *, observe: Any = None, **settings: Any) -> Any:
    async def run(url: str) -> None:
        async with (
            AsyncPartnerEventsClient(
                service.region,
                endpoint_url=url,
                credentials=service.credentials,
                retry=AT_ONCE,
                observe=observe,
            ) as client,
            AsyncEventPublisher(client, linger=0.01, **settings) as publisher,
        ):
            steps = use(publisher)
            with contextlib.suppress(StopIteration):
                step = next(steps)
                while True:
                    if isinstance(step, Wait):
                        step = step.receipt
                    step = steps.send(await step)

    with service.serve() as server:
        asyncio.run(run(server.url))


@pytest.fixture(params=[in_threads, on_a_loop], ids=["threads", "asyncio"])
def publishing(request: pytest.FixtureRequest) -> Callable[..., Any]:
    found: Callable[..., Any] = request.param
    return found


@pytest.fixture
def service() -> FakeEventBridge:
    return FakeEventBridge()


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.DEBUG)

    def warnings() -> list[str]:
        return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]

    return warnings


def test_outcomes_nobody_looked_at_are_in_the_log(
    publishing: Any, service: FakeEventBridge, said: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """One line covers all events and says what to do; it quotes neither service nor event."""
    service.play(DENIED)

    publishing(service, fire_and_forget(100))

    assert said() == [
        (
            "100 events of a publisher were not accepted: Rejected, AccessDeniedException; allow "
            "events:PutPartnerEvents for the credentials that sign"
        )
    ]
    (record,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert (vars(record)["entries"], vars(record)["error_code"]) == (
        100,
        "AccessDeniedException",
    )
    assert CANARY not in "".join(said())


def fire_and_forget(count: int) -> Use:
    def use(publisher: Any) -> Generator[Any, Any, Any]:
        yield publisher.publish_many(event(number) for number in range(count))

    return use


def test_outcomes_somebody_looked_at_are_not_in_the_log(
    publishing: Any, service: FakeEventBridge, said: Any
) -> None:
    """A callback, a wait or reading the outcome each count as looking."""
    service.play(DENIED)

    def use(publisher: Any) -> Generator[Any, Any, Any]:
        receipts = yield from published(publisher, 3)
        receipts[0].add_done_callback(lambda _: None)
        yield from outcome_of(receipts[1])
        yield publisher.flush()
        assert isinstance(receipts[2].outcome, Rejected)

    publishing(service, use)
    assert said() == []


def published(publisher: Any, count: int) -> Generator[Any, Any, Any]:
    """Publish events, on threads or on a loop."""
    made = publisher.publish_many(map(event, range(count)))
    return (yield made)


def outcome_of(receipt: Any) -> Generator[Any, Any, Any]:
    return (yield Wait(receipt))


def test_events_that_break_a_limit(publishing: Any, service: FakeEventBridge, said: Any) -> None:
    """Invalid events are reported too, although they have their outcome at once."""
    seen: list[Observation] = []
    given: list[Any] = []

    def use(publisher: Any) -> Generator[Any, Any, Any]:
        yield publisher.publish_many([INVALID, event()])

    publishing(service, use, observe=seen.append, on_undelivered=given.extend)

    assert [one.split(";")[0] for one in said()] == [
        "1 event of a publisher was not accepted: Rejected, InvalidEvent"
    ]
    assert [type(one) for one in given] == [Rejected]
    counted = [one.outcomes for one in seen if isinstance(one, OutcomesDecided)]
    assert {("Rejected", "InvalidEvent"): 1} in counted
    assert sum(sum(one.values()) for one in counted) == 2


@pytest.mark.parametrize("on_full", ["drop_newest", "drop_oldest"])
def test_events_without_room(
    publishing: Any, service: FakeEventBridge, said: Any, on_full: str
) -> None:
    """Dropped events are reported like other undelivered ones."""
    seen: list[Any] = []
    given: list[Any] = []

    def use(publisher: Any) -> Generator[Any, Any, Any]:
        yield publisher.publish_many(map(event, range(40)))

    publishing(
        service,
        use,
        observe=seen.append,
        on_undelivered=given.extend,
        on_full=on_full,
        max_buffered_events=5,
    )

    decided = [one for one in seen if isinstance(one, OutcomesDecided)]
    dropped = sum(one.outcomes.get(("Exhausted", "BufferFull"), 0) for one in decided)
    assert dropped == len(given) > 0
    assert sum(sum(one.outcomes.values()) for one in decided) == 40
    assert {one.kind for one in decided} == {"publisher"}
    assert f"{dropped} events of a publisher were not accepted: Exhausted, BufferFull" in said()[0]


def test_on_undelivered_is_done_when_close_returns(
    publishing: Any, service: FakeEventBridge
) -> None:
    """on_undelivered gets each outcome once, in lists."""
    service.play(FailEntries("MalformedDetail", indexes=[1, 2], times=None))
    given: list[list[Any]] = []

    publishing(service, fire_and_forget(100), on_undelivered=given.append)

    assert sum(map(len, given)) == 10
    assert {one.code for outcomes in given for one in outcomes} == {"MalformedDetail"}


def test_on_undelivered_may_be_asynchronous(service: FakeEventBridge) -> None:
    """On an event loop, on_undelivered may be a coroutine function, and `close` waits for it."""
    service.play(DENIED)
    given: list[Any] = []

    async def keep(outcomes: list[Any]) -> None:
        await asyncio.sleep(0)
        given.extend(outcomes)

    on_a_loop(service, fire_and_forget(30), on_undelivered=keep)
    assert len(given) == 30


def test_on_undelivered_that_raises(
    publishing: Any, service: FakeEventBridge, caplog: pytest.LogCaptureFixture
) -> None:
    """Its exception is logged without its text, and it still gets the other outcomes."""
    service.play(DENIED)
    given: list[Any] = []

    def strange(outcomes: list[Any]) -> None:
        given.extend(outcomes)
        raise ZeroDivisionError(CANARY)

    publishing(service, fire_and_forget(60), on_undelivered=strange)
    assert len(given) == 60
    assert caplog.text.count("on_undelivered raised ZeroDivisionError") == 1
    assert CANARY not in "".join(one.getMessage() for one in caplog.records if one.levelno > 20)


def test_outcomes_beyond_the_bounds_of_on_undelivered() -> None:
    """Outcomes beyond the bounds on number and size are counted and left out."""
    handing = Handing(lambda: None, max_events=2, max_bytes=2000)
    outcome = Rejected("c", "m", event(), 0, 1)
    for size in (1500, 600, *[0] * 1000):
        handing.put(outcome, size)
    assert len(handing.take()) == 1000
    assert handing.left_out == 2
    assert handing.take() == []
    assert not handing.is_scheduled


def test_a_line_is_written_while_the_publisher_is_open(
    publishing: Any, service: FakeEventBridge, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log line needs neither another event nor a close."""
    monkeypatch.setattr(_news, "_DELAY", 0.01)
    service.play(DENIED)
    written = threading.Event()

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno == logging.WARNING:
                written.set()

    watch = Watch()
    logging.getLogger("eventbridge_partner").addHandler(watch)

    def use(publisher: Any) -> Generator[Any, Any, Any]:
        yield publisher.publish_many([event()])
        yield publisher.flush()
        if isinstance(publisher, AsyncEventPublisher):
            yield wait_for(written)
        else:
            assert written.wait(10)
        written.clear()

    try:
        publishing(service, use)
    finally:
        logging.getLogger("eventbridge_partner").removeHandler(watch)
    assert len(said()) == 1  # there is no more to say at the end


async def wait_for(written: threading.Event) -> None:
    assert await asyncio.to_thread(written.wait, 10)


class Tracing:
    """An observer that knows where each event was published."""

    def __init__(self) -> None:
        self.current: str | None = None
        self.seen: list[Observation] = []

    def __call__(self, observation: Observation) -> None:
        self.seen.append(observation)

    def link(self) -> str | None:
        return self.current


def test_requests_link_to_where_events_were_published(
    publishing: Any, service: FakeEventBridge
) -> None:
    """A request links to each place once."""
    observer = Tracing()

    def use(publisher: Any) -> Generator[Any, Any, Any]:
        for place in ("a", "b", "b", None):
            observer.current = place
            yield publisher.publish(event())

    publishing(service, use, observe=observer)
    requests = [one for one in observer.seen if isinstance(one, RequestEnded)]
    assert {link for one in requests for link in one.links} == {"a", "b"}
    assert all(len(set(one.links)) == len(one.links) for one in requests)
    assert {one.delivery for one in requests} == {None}


def test_the_observer_is_told_while_no_lock_is_held(service: FakeEventBridge) -> None:
    """Another thread may use the publisher meanwhile."""
    free: list[bool] = []
    publisher_of: list[EventPublisher] = []

    def observe(observation: Observation) -> None:
        if isinstance(observation, OutcomesDecided):
            other = threading.Thread(target=publisher_of[0].stats)
            other.start()
            other.join(5)
            free.append(not other.is_alive())

    def use(publisher: EventPublisher) -> Generator[Any, Any, Any]:
        publisher_of.append(publisher)
        yield publisher.publish_many([INVALID, *map(event, range(30))])

    in_threads(service, use, observe=observe, max_buffered_events=3)
    assert free and all(free)


def test_an_outcome_during_the_writing_of_a_line_is_not_left_out() -> None:
    """An outcome that arrives while another thread writes the due line gets a line of its own."""
    wakes: list[float] = []
    news = News(None, lambda: wakes.append(news.due_at))

    class Late:
        event, size, seen = event(), 1, 0

        def __init__(self, writes_at: int = 0) -> None:
            self.reads, self.writes_at = 0, writes_at

        @property
        def decided(self) -> Rejected:
            self.reads += 1
            if self.reads == self.writes_at:
                news.say(news.due_at)
            return Rejected("InvalidEvent", "", self.event, 0, 0)

    news.tell([cast("Any", Late())])
    assert len(wakes) == 1
    news.tell([cast("Any", Late(writes_at=2))])
    assert len(wakes) == 2
    assert wakes[1] == news.due_at < math.inf
