"""Publishers in front of guards and routers: what waits for what, and what does not."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from tenacity import stop_after_attempt, wait_none

from eventbridge_partner import (
    AsyncEventPublisher,
    AsyncPartnerEventsClient,
    AsyncRegionRouter,
    AsyncSourceGuard,
    EventPublisher,
    Exhausted,
    PartnerEvent,
    PartnerEventsClient,
    RegionRouter,
    Rejected,
    RetryPolicy,
    SourceGuard,
    TransportError,
)
from eventbridge_partner.observing import OutcomesDecided
from eventbridge_partner.publisher import _news
from eventbridge_partner.testing import FailRequest, FakeEventBridge
from tests.patience import SOON

PREFIX = "aws.partner/example.com/"
ACCOUNT = "123456789012"
REGIONS = ("us-east-1", "eu-west-1")
AT_ONCE = RetryPolicy(wait=wait_none(), throttle_wait=wait_none(), stop=stop_after_attempt(2))


def event(name="active", number=0):
    return PartnerEvent(PREFIX + name, "t", {"number": number})


class World:
    """
    The service in two Regions; a look-up of a source whose name begins with `hangs` hangs.

    Attributes:
        down: A Region that does not answer.
        hanging: Set as soon as a look-up hangs.
        let_go: Set it to let those look-ups continue.
    """

    def __init__(self):
        self.services = {region: FakeEventBridge(region) for region in REGIONS}
        self.down = ""
        self.hanging = threading.Event()
        self.let_go = threading.Event()
        for service in self.services.values():
            names = [f"{one}{two}" for one in range(20) for two in (1, 2)]
            for name in {"active", "pending", "gone", "hangs", *map(str, range(20)), *names}:
                service.sources.create(PREFIX + name, ACCOUNT)
                if name not in ("pending", "gone"):
                    service.sources.associate(PREFIX + name, ACCOUNT)
            service.sources.expire(PREFIX + "gone", ACCOUNT)

    def send(self, request, timeouts):
        region = (urlsplit(request.url).hostname or "").split(".")[1]
        if region == self.down:
            assert self.let_go.wait(SOON)
            raise TransportError("no connection", may_have_been_sent=False)
        if b"/hangs" in request.body and b"DetailType" not in request.body:
            self.hanging.set()
            assert self.let_go.wait(SOON)
        return self.services[region].transport().send(request, timeouts)

    def close(self):
        pass

    @property
    def sent(self):
        """How many events of each source were accepted, by any Region."""
        return Counter(
            entry.source.removeprefix(PREFIX)
            for service in self.services.values()
            for entry in service.accepted
        )


@pytest.fixture
def world():
    world = World()
    yield world
    world.let_go.set()


@pytest.fixture
def client(world):
    with PartnerEventsClient(
        "us-east-1",
        credentials=world.services["us-east-1"].credentials,
        transport=world,
        retry=AT_ONCE,
    ) as client:
        yield client


def codes(receipts):
    return [getattr(receipt.result(SOON), "code", "accepted") for receipt in receipts]


def balances(stats):
    ended = stats.accepted + stats.rejected + stats.exhausted + stats.unconfirmed + stats.dropped
    return stats.published == ended + stats.buffered + stats.in_flight


EVENTS = [event("active"), event("pending", 1), event("gone", 2), event("active", 3)]
HELD_BACK = ["accepted", "SourcePending", "SourceGone", "accepted"]


def test_events_that_a_guard_holds_back_have_outcomes(client, world):
    """The receipts have the guard's outcomes, and none of those events was sent."""
    gone = []
    with EventPublisher(SourceGuard(client, on_source_gone=gone.append), linger=0) as publisher:
        assert codes(publisher.publish_many(EVENTS)) == HELD_BACK
        assert codes(publisher.publish_many(EVENTS)) == HELD_BACK
        assert publisher.stats().rejected == 4
        assert balances(publisher.stats())
    assert world.sent == {"active": 4}
    assert gone == [PREFIX + "gone"]


def test_parked_events_have_receipts_that_say_so(client, world):
    """Receipts say that the events are parked, and `on_pending` gets the events in their order."""
    parked = []
    with EventPublisher(SourceGuard(client, on_pending=parked.append), linger=0) as publisher:
        receipts = publisher.publish_many([event("pending", number) for number in range(50)])
        assert codes(receipts) == ["SourceParked"] * 50
    assert parked == [receipt.event for receipt in receipts]
    assert not world.sent


def test_a_function_that_parks_may_raise_or_end_its_thread(client):
    """The receipt says to send the event again, and other events are sent."""

    def park(event):
        raise SystemExit if "1" in event.detail else KeyError

    with EventPublisher(SourceGuard(client, on_pending=park), linger=0) as publisher:
        receipts = publisher.publish_many([event("pending", 0), event("pending", 1), event()])
        assert codes(receipts) == ["SourcePending", "SourcePending", "accepted"]
        outcome = receipts[1].outcome
        assert isinstance(outcome, Exhausted)
        assert outcome.message.startswith("the partner event source is PENDING, and")


def test_a_look_up_that_hangs_holds_up_its_own_source_only(client, world):
    """Events of all other sources, known or not, get their outcomes meanwhile."""
    with EventPublisher(SourceGuard(client), linger=0) as publisher:
        held_up = publisher.publish(event("hangs"))
        assert world.hanging.wait(SOON)
        others = [event(str(number % 20), number) for number in range(400)]
        assert codes(publisher.publish_many(others)) == ["accepted"] * 400
        assert not held_up.done()
        assert publisher.stats().buffered == 1
        world.let_go.set()
        assert codes([held_up]) == ["accepted"]
        assert balances(publisher.stats())


def test_close_keeps_its_timeout_while_a_look_up_hangs(client, world):
    """Events that wait for the look-up are reported as unsent, and are not sent later."""
    publisher = EventPublisher(SourceGuard(client), linger=0)
    held_up = [publisher.publish(event("hangs", number)) for number in range(30)]
    assert world.hanging.wait(SOON)
    report = publisher.close(0.05)
    assert [one.code for one in report.exhausted] == ["PublisherClosed"] * 30
    assert codes(held_up) == ["PublisherClosed"] * 30
    world.let_go.set()
    assert balances(publisher.stats())
    assert not world.sent


def test_one_source_that_waits_leaves_room(client, world):
    """A source that waits holds at most nine tenths of the room."""
    guard = SourceGuard(client)
    with EventPublisher(
        guard, linger=0, max_buffered_events=100, on_full="drop_newest"
    ) as publisher:
        held_up = [publisher.publish(event("hangs", number)) for number in range(120)]
        assert sum(receipt.done() for receipt in held_up) == 30
        assert codes([publisher.publish(event()) for _ in range(5)]) == ["accepted"] * 5
        world.let_go.set()
        assert Counter(codes(held_up)) == {"accepted": 90, "BufferFull": 30}


def test_the_oldest_of_what_waits_is_dropped(client, world):
    """With `drop_oldest`, events that wait for a look-up can be dropped."""
    guard = SourceGuard(client)
    with EventPublisher(
        guard, linger=0, max_buffered_events=10, on_full="drop_oldest"
    ) as publisher:
        held_up = [publisher.publish(event("hangs", number)) for number in range(12)]
        assert [receipt.done() for receipt in held_up] == [True] * 3 + [False] * 9
        world.let_go.set()
        assert codes(held_up) == ["BufferFull"] * 3 + ["accepted"] * 9
        assert balances(publisher.stats())


def test_a_guard_learns_from_a_result_that_a_source_is_gone(client, world):
    """Once the service has reported a source as gone, the guard holds its events back."""
    is_learnt = threading.Event()
    guard = SourceGuard(client, on_source_gone=lambda _: is_learnt.set())
    with EventPublisher(guard, linger=0) as publisher:
        assert codes([publisher.publish(event())]) == ["accepted"]
        world.services["us-east-1"].sources.delete(PREFIX + "active", ACCOUNT)
        first = publisher.publish(event()).result(SOON)
        assert isinstance(first, Rejected)
        assert first.attempts == 1
        assert first.source_is_gone
        assert is_learnt.wait(SOON)
        assert codes([publisher.publish(event())]) == ["SourceGone"]


def by_region(source):
    return None if source.endswith("nowhere") else REGIONS[source.endswith("1")]


def test_a_router_sends_to_each_region(client, world):
    """Each event goes to the Region of its source; without a Region, it is rejected at once."""
    with EventPublisher(RegionRouter(client, by_region), linger=0) as publisher:
        events = [event(str(number)) for number in range(20)] + [event("nowhere"), {"Source": 5}]
        receipts = publisher.publish_many(events)
        assert codes(receipts)[:20] == ["accepted"] * 20
        assert codes(receipts)[20:] == ["UnknownRegion", "InvalidEvent"]
        stats = publisher.stats()
        assert (stats.published, stats.accepted, stats.rejected) == (22, 20, 2)
        assert balances(stats)
    assert [service.accepted_count for service in world.services.values()] == [18, 2]


class Desk:
    """Collects what an observer and the log are told of events without a Region."""

    def __init__(self, caplog, monkeypatch):
        self.seen, self.written = [], threading.Event()
        monkeypatch.setattr(_news, "_DELAY", 0.01)
        caplog.handler.addFilter(self._note)
        self._caplog = caplog

    def _note(self, record):
        if "UnknownRegion" in record.getMessage():
            self.written.set()
        return True

    @property
    def decided(self):
        """The outcomes reported to the observer, by Region."""
        told = [one for one in self.seen if isinstance(one, OutcomesDecided)]
        assert {one.kind for one in told} == {"publisher"}
        assert {one.delivery for one in told} == {None}
        found = {one.region: Counter() for one in told}
        for one in told:
            found[one.region].update(one.outcomes)
        return found

    @property
    def lines(self):
        """The warnings."""
        return [one.getMessage() for one in self._caplog.records if one.levelname == "WARNING"]

    @property
    def logged(self):
        """How many events of each code are in the log."""
        found = Counter()
        for record in self._caplog.records:
            if record.error_code and "not accepted" in record.getMessage():
                found[record.error_code] += record.entries
        return found


@pytest.fixture
def desk(caplog, monkeypatch):
    desk = Desk(caplog, monkeypatch)
    yield desk
    caplog.handler.removeFilter(desk._note)


TOLD = {
    "us-east-1": {("Accepted", ""): 1},
    None: {("Rejected", "UnknownRegion"): 2, ("Rejected", "InvalidEvent"): 1},
}
STRAY = [event("nowhere"), event("2"), event("nowhere"), {"Source": 5}]


def test_events_without_a_region_are_reported(world, desk):
    """The observer is told at once, and the log a moment later, not only at the end."""
    with PartnerEventsClient(
        "us-east-1",
        credentials=world.services["us-east-1"].credentials,
        transport=world,
        observe=desk.seen.append,
    ) as client:
        publisher = EventPublisher(RegionRouter(client, {PREFIX + "2": "us-east-1"}))
        publisher.publish_many(STRAY)
        assert desk.decided[None] == TOLD[None]
        assert desk.written.wait(SOON)
        publisher.close()
    assert desk.decided == TOLD
    assert desk.logged == {"UnknownRegion": 2, "InvalidEvent": 1}


PARKED = {
    "us-east-1": {
        ("Accepted", ""): 2,
        ("Exhausted", "SourceParked"): 1,
        ("Rejected", "SourceGone"): 1,
        ("Rejected", "InvalidEvent"): 1,
    }
}


def test_held_back_events_are_reported_to_the_observer(world, desk):
    """Parked, gone and invalid events are each reported once."""
    with (
        PartnerEventsClient(
            "us-east-1",
            credentials=world.services["us-east-1"].credentials,
            transport=world,
            observe=desk.seen.append,
        ) as client,
        EventPublisher(SourceGuard(client, on_pending=lambda _: None)) as publisher,
    ):
        publisher.publish_many([*EVENTS, {"Source": 5}])
    assert desk.decided == PARKED


def test_regions_share_the_lines_of_the_log(world, desk):
    """A code has one line for all Regions, and one sum at the end."""
    for service in world.services.values():
        service.play(FailRequest("AccessDeniedException", times=None))
    with (
        PartnerEventsClient(
            "us-east-1", credentials=world.services["us-east-1"].credentials, transport=world
        ) as client,
        EventPublisher(RegionRouter(client, by_region), linger=60) as publisher,
    ):
        publisher.publish_many(
            [*(event(f"{number}{one}") for number in range(20) for one in (1, 2))]
        )
    assert desk.logged == {"AccessDeniedException": 40}
    assert len(desk.lines) in (1, 3)  # two lines and the sum if the machine was slow


def test_guards_behind_a_router(client, world):
    """Each Region has a guard of its own."""
    router = RegionRouter(client, by_region, in_front=SourceGuard)
    with EventPublisher(router, linger=0) as publisher:
        assert codes(publisher.publish_many(EVENTS)) == HELD_BACK
    assert world.sent == {"active": 2}


def test_a_region_that_is_down_delays_no_other(client, world):
    """Its own events wait for their retries; others get their outcomes meanwhile."""
    world.down = "eu-west-1"
    router = RegionRouter(client, by_region)
    with EventPublisher(router, linger=0, max_buffered_events=100, on_full="drop_newest") as it:
        down = [it.publish(event(f"{number % 20}1", number)) for number in range(120)]
        assert sum(receipt.done() for receipt in down) == 30
        others = [it.publish(event(f"{number}2")) for number in range(5)]
        assert codes(others) == ["accepted"] * 5
        assert it.stats().buffered + it.stats().in_flight == 90
        world.let_go.set()
        assert Counter(codes(down)) == {"TransportError": 90, "BufferFull": 30}
        assert balances(it.stats())


def test_an_outage_and_a_look_up_that_hangs_hold_up_nothing_else(client, world):
    """Behind a router and guards, events of all other sources get their outcomes."""
    world.down = "eu-west-1"
    publisher = EventPublisher(RegionRouter(client, by_region, in_front=SourceGuard), linger=0)
    held_up = [publisher.publish(event("hangs", number)) for number in range(50)]
    held_up += [publisher.publish(event(f"{number % 20}1", number)) for number in range(200)]
    assert world.hanging.wait(SOON)
    others = [publisher.publish(event(f"{number % 20}2", number)) for number in range(2000)]
    assert codes(others) == ["accepted"] * 2000
    assert not any(receipt.done() for receipt in held_up)
    report = publisher.close(0.05)
    assert len(report) == 250 and not report.accepted
    assert all(receipt.done() for receipt in held_up)
    stats = publisher.stats()
    assert (stats.published, stats.accepted, stats.buffered, stats.in_flight) == (2250, 2000, 0, 0)
    assert balances(stats)
    assert world.sent == {f"{number}2": 100 for number in range(20)}


def test_a_publisher_refuses_other_clients(client):
    """The error names what is allowed."""
    for wrong in (object(), SourceGuard(object())):
        with pytest.raises(
            TypeError,
            match=r"client is of type object; allowed: a PartnerEventsClient, a SourceGuard",
        ):
            EventPublisher(wrong)


# ---------------------------------------------------------------- asyncio


class AsyncWorld:
    """The same for event loops; a request that hangs waits for an asyncio event."""

    def __init__(self, world):
        self.world = world
        self.hanging = asyncio.Event()
        self.let_go = asyncio.Event()

    async def send(self, request, timeouts):
        region = (urlsplit(request.url).hostname or "").split(".")[1]
        if region == self.world.down:
            await self.let_go.wait()
            raise TransportError("no connection", may_have_been_sent=False)
        if b"/hangs" in request.body and b"DetailType" not in request.body:
            self.hanging.set()
            await self.let_go.wait()
        await asyncio.sleep(0)
        return self.world.services[region].transport().send(request, timeouts)

    async def close(self):
        pass


@pytest_asyncio.fixture
async def async_world(world):
    return AsyncWorld(world)


@pytest_asyncio.fixture
async def async_client(world, async_world):
    async with AsyncPartnerEventsClient(
        "us-east-1",
        credentials=world.services["us-east-1"].credentials,
        transport=async_world,
        retry=AT_ONCE,
    ) as client:
        yield client


async def async_codes(receipts):
    async with asyncio.timeout(SOON):
        return [getattr(await receipt, "code", "accepted") for receipt in receipts]


@pytest.mark.asyncio
async def test_events_that_a_guard_holds_back_have_outcomes_on_a_loop(async_client, world):
    """The outcomes are the same on a loop; callbacks may be asynchronous."""
    gone, parked = [], []

    async def park(event):
        await asyncio.sleep(0)
        parked.append(event)

    guard = AsyncSourceGuard(async_client, on_source_gone=gone.append)
    async with AsyncEventPublisher(guard, linger=0) as publisher:
        assert await async_codes(await publisher.publish_many(EVENTS)) == HELD_BACK
        assert await async_codes(await publisher.publish_many(EVENTS)) == HELD_BACK
        assert balances(publisher.stats())
    guard = AsyncSourceGuard(async_client, on_pending=park)
    async with AsyncEventPublisher(guard, linger=0) as publisher:
        assert await async_codes([await publisher.publish(event("pending"))]) == ["SourceParked"]
    assert parked == [event("pending")]
    assert gone == [PREFIX + "gone"]
    assert world.sent == {"active": 4}


@pytest.mark.asyncio
async def test_a_look_up_that_hangs_on_a_loop(async_client, async_world):
    """A hanging look-up holds up its own source, but neither another source nor `close`."""
    publisher = AsyncEventPublisher(AsyncSourceGuard(async_client), linger=0)
    held_up = await publisher.publish(event("hangs"))
    await asyncio.wait_for(async_world.hanging.wait(), SOON)
    others = [event(str(number % 20), number) for number in range(400)]
    assert await async_codes(await publisher.publish_many(others)) == ["accepted"] * 400
    assert not held_up.done()
    report = await publisher.close(0.05)
    assert [one.code for one in report.exhausted] == ["PublisherClosed"]
    assert balances(publisher.stats())
    assert "hangs" not in async_world.world.sent


@pytest.mark.asyncio
async def test_a_look_up_that_ends_on_a_loop(async_client, async_world):
    """Events that waited for the look-up are sent."""
    async with AsyncEventPublisher(AsyncSourceGuard(async_client), linger=0) as publisher:
        held_up = await publisher.publish(event("hangs"))
        await asyncio.wait_for(async_world.hanging.wait(), SOON)
        async_world.let_go.set()
        assert await async_codes([held_up]) == ["accepted"]


@pytest.mark.asyncio
async def test_a_router_on_a_loop(async_client, async_world, world):
    """Regions are kept apart, and share the room."""
    world.down = "eu-west-1"
    router = AsyncRegionRouter(async_client, by_region, in_front=AsyncSourceGuard)
    publisher = AsyncEventPublisher(
        router, linger=0, max_buffered_events=100, on_full="drop_newest"
    )
    async with publisher:
        down = [await publisher.publish(event(f"{n % 20}1", n)) for n in range(120)]
        assert sum(receipt.done() for receipt in down) == 30
        others = [await publisher.publish(one) for one in (*EVENTS, event("nowhere"))]
        assert await async_codes(others) == [*HELD_BACK, "UnknownRegion"]
        async_world.let_go.set()
        assert Counter(await async_codes(down)) == {"TransportError": 90, "BufferFull": 30}
        assert balances(publisher.stats())


@pytest.mark.asyncio
async def test_events_without_a_region_are_reported_on_a_loop(async_world, world, desk):
    """The observer and the log are told on a loop as on threads."""
    async with AsyncPartnerEventsClient(
        "us-east-1",
        credentials=world.services["us-east-1"].credentials,
        transport=async_world,
        observe=desk.seen.append,
    ) as client:
        router = AsyncRegionRouter(client, {PREFIX + "2": "us-east-1"})
        publisher = AsyncEventPublisher(router)
        await publisher.publish_many(STRAY)
        assert desk.decided[None] == TOLD[None]
        assert await asyncio.to_thread(desk.written.wait, SOON)
        await publisher.close()
    assert desk.decided == TOLD
    assert desk.logged == {"UnknownRegion": 2, "InvalidEvent": 1}


@pytest.mark.asyncio
async def test_held_back_events_are_reported_to_the_observer_on_a_loop(async_world, world, desk):
    """Parked, gone and invalid events are each reported once, on a loop as on threads."""
    async with AsyncPartnerEventsClient(
        "us-east-1",
        credentials=world.services["us-east-1"].credentials,
        transport=async_world,
        observe=desk.seen.append,
    ) as client:
        guard = AsyncSourceGuard(client, on_pending=lambda _: None)
        async with AsyncEventPublisher(guard) as publisher:
            await publisher.publish_many([*EVENTS, {"Source": 5}])
    assert desk.decided == PARKED


@pytest.mark.asyncio
async def test_an_outage_and_a_look_up_that_hangs_on_a_loop(async_client, async_world, world):
    """An outage and a hanging look-up hold up their own events and nothing else."""
    world.down = "eu-west-1"
    router = AsyncRegionRouter(async_client, by_region, in_front=AsyncSourceGuard)
    publisher = AsyncEventPublisher(router, linger=0)
    held_up = [await publisher.publish(event("hangs", number)) for number in range(50)]
    held_up += [await publisher.publish(event(f"{n % 20}1", n)) for n in range(200)]
    await asyncio.wait_for(async_world.hanging.wait(), SOON)
    others = [await publisher.publish(event(f"{n % 20}2", n)) for n in range(2000)]
    assert await async_codes(others) == ["accepted"] * 2000
    assert not any(receipt.done() for receipt in held_up)
    report = await publisher.close(0.05)
    assert len(report) == 250 and not report.accepted
    assert all(receipt.done() for receipt in held_up)
    stats = publisher.stats()
    assert (stats.published, stats.accepted, stats.buffered, stats.in_flight) == (2250, 2000, 0, 0)
    assert balances(stats)
    assert world.sent == {f"{number}2": 100 for number in range(20)}


@pytest.mark.asyncio
async def test_an_outcome_in_one_region_makes_room_for_another(async_client, async_world, world):
    """An outcome in one Region makes room for an event of another."""
    world.down = "eu-west-1"
    router = AsyncRegionRouter(
        async_client, {PREFIX + "11": "eu-west-1", PREFIX + "2": "us-east-1"}
    )
    async with AsyncEventPublisher(router, linger=0, max_buffered_events=1) as publisher:
        first = await publisher.publish(event("11"))
        waiting = asyncio.create_task(publisher.publish(event("2"), timeout=SOON))
        await asyncio.sleep(0)
        assert not waiting.done()
        async_world.let_go.set()
        assert await async_codes([first, await waiting]) == ["TransportError", "accepted"]


@pytest.mark.asyncio
async def test_an_async_publisher_refuses_other_clients(client):
    """For example, an async publisher refuses a client for threads."""
    for wrong in (client, SourceGuard(client), AsyncSourceGuard(object())):
        with pytest.raises(TypeError, match="client is of type"):
            AsyncEventPublisher(wrong)
