"""Siblings of both clients in other Regions, and the router in front of them."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections import Counter
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import botocore.session
import pytest
from botocore.credentials import Credentials
from tenacity import wait_none

from eventbridge_partner import (
    AsyncPartnerEventsClient,
    AsyncRegionRouter,
    AsyncSourceGuard,
    CallCancelledError,
    CallInterruptedError,
    ConfigurationError,
    CredentialsError,
    Exhausted,
    InputInterruptedError,
    Pace,
    PartnerEvent,
    PartnerEventsClient,
    RegionRouter,
    RetryPolicy,
    SourceGuard,
    SourceName,
    TransportError,
)
from eventbridge_partner.client._base import line_of
from eventbridge_partner.observing import OutcomesDecided
from eventbridge_partner.testing import FailEntries, FailRequest, FakeEventBridge
from tests.sources.plain import KINDS, Plain

REGIONS = ("us-east-1", "eu-west-1", "ap-south-1")
PREFIX = "aws.partner/example.com/"
ACCOUNT = "123456789012"
AT_ONCE = RetryPolicy(wait=wait_none(), throttle_wait=wait_none())


class World:
    """
    The service in several Regions, each reached by its host name.

    Attributes:
        services: One for each Region.
        before: Called with the Region of each request before it arrives.
    """

    def __init__(self):
        self.services = {region: FakeEventBridge(region) for region in REGIONS}
        self.before = lambda region: None

    def send(self, request, timeouts):
        region = (urlsplit(request.url).hostname or "").split(".")[1]
        self.before(region)
        return self.services[region].transport().send(request, timeouts)

    def close(self):
        pass


class AsyncWorld:
    """The same for event loops."""

    def __init__(self, world):
        self._world = world

    async def send(self, request, timeouts):
        return await asyncio.to_thread(self._world.send, request, timeouts)

    async def close(self):
        pass


@pytest.fixture
def world():
    return World()


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
def kind(request):
    return request.param


@pytest.fixture
def open_client(kind, world):
    with ExitStack() as stack:

        def make(region="us-east-1", **settings):
            usual = {
                "credentials": world.services["us-east-1"].credentials,
                "transport": AsyncWorld(world) if kind.is_async else world,
                "retry": AT_ONCE,
            }
            return kind.open(stack, region=region, **usual | settings)

        yield make


def region_of(source):
    """Return the Region in the name of a source, if it is one of ours."""
    name = source.removeprefix(PREFIX).partition("/")[0]
    return name if name in REGIONS else None


@pytest.fixture
def route(kind, open_client):
    """Return a function that makes routers."""

    def make(lookup=region_of, *, in_front=None, **settings):
        client = open_client(**settings)
        router = AsyncRegionRouter if kind.is_async else RegionRouter
        return Plain(router(client._wrapped, lookup, in_front=in_front), client._runner)

    return make


def event(region="us-east-1", number=0):
    return PartnerEvent(f"{PREFIX}{region}/customer", "t", {"number": number})


def seen(outcomes):
    return [
        f"{type(one).__name__} {getattr(one, 'code', '')} {one.attempts}".replace("  ", " ")
        for one in outcomes
    ]


# ---------------------------------------------------------------- siblings


def test_a_sibling_sends_to_its_region(open_client, world):
    """A sibling sends events and source operations to its own Region."""
    client = open_client()
    sibling = Plain(client._wrapped.in_region("eu-west-1"), client._runner)
    assert sibling._wrapped.region == "eu-west-1"
    assert sibling.put_events([event()]).counts.accepted == 1
    assert world.services["eu-west-1"].accepted_count == 1
    assert client.put_events([event()]).counts.accepted == 1
    assert world.services["us-east-1"].accepted_count == 1
    sibling.sources.ensure(PREFIX + "a", account=ACCOUNT)
    assert len(world.services["eu-west-1"].sources) == 1


def test_there_is_one_sibling_for_each_region(open_client):
    """A client has one sibling for each Region, and is itself the one for its own."""
    client = open_client()._wrapped
    assert client.in_region("us-east-1") is client
    assert client.in_region("eu-west-1") is client.in_region("eu-west-1")
    assert client.in_region("eu-west-1") is not client.in_region("ap-south-1")


def test_siblings_have_the_same_siblings(open_client):
    """Siblings share one client per Region; two would each use the Region's whole quota."""
    client = open_client()._wrapped
    sibling = client.in_region("eu-west-1")
    assert sibling.in_region("us-east-1") is client
    assert sibling.in_region("eu-west-1") is sibling
    assert sibling.in_region("ap-south-1") is client.in_region("ap-south-1")
    with pytest.raises(ConfigurationError):
        sibling.in_region("no region")


def test_a_client_without_a_region_has_siblings(open_client):
    """A client without a Region has siblings, although it cannot send itself."""
    client = open_client(region=None)
    assert client._wrapped.in_region("eu-west-1").region == "eu-west-1"
    with pytest.raises(ConfigurationError):
        client.put_events([event()])


@pytest.mark.parametrize("region", ["", "eu west", "eu-west-1/", "EU-WEST-1"])
def test_what_is_no_region(open_client, region):
    """An invalid Region is refused at once."""
    with pytest.raises(ConfigurationError, match=r"region is .*; allowed"):
        open_client()._wrapped.in_region(region)


def test_settings_are_shared(open_client, world):
    """A sibling has all settings of its client, except those that belong to a Region."""
    pace = Pace(70)
    client = open_client(pace=pace, sources_pace=Pace(7), max_in_flight=3, timeout=9)._wrapped
    sibling = client.in_region("eu-west-1")
    of_a_region = {"region", "pace", "sources_pace"}
    for field in client._setup._fields:
        if field not in of_a_region:
            assert getattr(sibling._setup, field) == getattr(client._setup, field)
    assert sibling._setup.pace is not pace
    assert sibling._setup.pace.requests_per_second == 70
    assert sibling.sources.pace.requests_per_second == 7
    assert line_of(sibling).quota is not line_of(client).quota


def test_credentials_are_fetched_once(kind, monkeypatch):
    """A client and its siblings fetch credentials once."""
    fetched = []

    def fetch(session):
        fetched.append(session)
        return Credentials("AKIDEXAMPLE", "secret")

    monkeypatch.setattr(botocore.session.Session, "get_credentials", fetch)
    sent = []

    class Refusing:
        def send(self, request, timeouts):
            sent.append(request)
            raise TransportError("no connection", may_have_been_sent=False)

        close = send

    class RefusingLater:
        async def send(self, request, timeouts):
            return Refusing().send(request, timeouts)

        async def close(self):
            pass

    with ExitStack() as stack:
        transport = RefusingLater() if kind.is_async else Refusing()
        client = kind.open(stack, region="us-east-1", transport=transport, retry=AT_ONCE)
        for region in REGIONS:
            sibling = Plain(client._wrapped.in_region(region), client._runner)
            assert sibling.put_events([event()]).counts.exhausted == 1
    assert len({request.url for request in sent}) == 3
    assert len(fetched) == 1


def test_an_endpoint_that_was_given_is_shared(open_client):
    """An `endpoint_url` that was given applies to siblings too."""
    client = open_client(endpoint_url="https://vpce.example.com")._wrapped
    assert client.in_region("eu-west-1").endpoint_url == "https://vpce.example.com/"


def test_closing_a_client_closes_its_siblings(kind, world):
    """Closing a client closes its siblings; closing a sibling closes only that one."""
    opened, closed = [], []

    class Counting:
        def __init__(self, *, ca_bundle, proxies):
            opened.append(self)

        def send(self, request, timeouts):
            return world.send(request, timeouts)

        def close(self):
            closed.append(self)

    class CountingLater(Counting):
        async def send(self, request, timeouts):
            return world.send(request, timeouts)

        async def close(self):
            closed.append(self)

    with ExitStack() as stack:
        client = kind.open(
            stack,
            region="us-east-1",
            transport=CountingLater if kind.is_async else Counting,
            credentials=world.services["us-east-1"].credentials,
        )
        siblings = [
            Plain(client._wrapped.in_region(region), client._runner) for region in REGIONS[1:]
        ]
        for one in (client, *siblings):
            one.put_events([event()])
        assert len(opened) == 3
        siblings[0].close()
        assert len(closed) == 1
        client.close()
        assert set(closed) == set(opened)


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_siblings_on_both_sides_of_a_fork(world):
    """A child can keep using siblings and routers of its parent."""
    with PartnerEventsClient(
        "us-east-1", credentials=world.services["us-east-1"].credentials, transport=world
    ) as client:
        sibling = client.in_region("eu-west-1")
        sibling.put_events([event()])
        router = RegionRouter(client, region_of)
        router.put_events([event("us-east-1"), event("eu-west-1")])
        child = os.fork()
        if not child:
            ok = sibling.put_events([event()]).counts.accepted == 1
            both = router.put_events([event("us-east-1"), event("eu-west-1")])
            os._exit(0 if ok and both.counts.accepted == 2 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# ---------------------------------------------------------------- the router


def test_both_routers_have_the_same_surface():
    """Both routers have the same settings, and methods with the same parameters."""

    def parameters(function):
        return [
            (one.name, one.kind, one.default)
            for one in inspect.signature(function).parameters.values()
        ]

    assert parameters(AsyncRegionRouter) == parameters(RegionRouter)
    names = {name for name in vars(RegionRouter) if not name.startswith("_")}
    assert names == {name for name in vars(AsyncRegionRouter) if not name.startswith("_")}
    for name in names:
        assert parameters(vars(AsyncRegionRouter)[name]) == parameters(vars(RegionRouter)[name])


@pytest.mark.parametrize("of", [list, tuple, iter], ids=lambda one: one.__name__)
def test_each_event_goes_to_its_region(route, world, of):
    """Each event is sent to its Region; outcomes have the given events in the given order."""
    events = [event(REGIONS[number % 3], number) for number in range(100)]
    report = route().put_events(of(events))
    assert report.counts.accepted == 100
    assert [one.index for one in report] == list(range(100))
    assert all(one.event is sent for one, sent in zip(report, events, strict=True))
    assert [world.services[region].accepted_count for region in REGIONS] == [34, 33, 33]
    for region, service in world.services.items():
        assert {entry.source for entry in service.accepted} == {event(region).source}


def test_mappings_do_as_lookups(route, world):
    """A mapping can be the lookup, and is asked once per call for each source."""
    asked = Counter[str]()

    class Table(dict):
        def get(self, name, default=None):
            asked[name] += 1
            return super().get(name, default)

    table = Table({event(region).source: region for region in REGIONS})
    report = route(table).put_events([event(region) for region in REGIONS] * 5)
    assert report.counts.accepted == 15
    assert set(asked.values()) == {1}


@pytest.mark.parametrize("region", [None, "eu west", 7])
def test_no_region(route, world, region):
    """Events without a valid Region are rejected; the others are sent."""
    lookup = {event("us-east-1").source: "us-east-1", event("nowhere").source: region}
    report = route(lookup).put_events([event("nowhere"), event("us-east-1"), event("nowhere")])
    assert seen(report) == ["Rejected UnknownRegion 0", "Accepted 1", "Rejected UnknownRegion 0"]
    assert f"source {PREFIX}nowhere/customer" in report[0].message
    assert "None" not in report[0].message


def test_nothing_but_unknown_regions(route):
    """A call without any event to send is not an error."""
    assert seen(route().put_events([event("nowhere")])) == ["Rejected UnknownRegion 0"]
    assert len(route().put_events([])) == 0


def test_what_is_no_event(route):
    """An invalid event is rejected as by the client, with its index among all events."""
    report = route().put_events([event(), {"Source": "x"}, 7, event("eu-west-1")])
    assert seen(report) == ["Accepted 1", *["Rejected InvalidEvent 0"] * 2, "Accepted 1"]
    for index in (1, 2):
        assert f"of event {index} " in report[index].message
        assert {finding.index for finding in report[index].findings} == {index}


def test_a_mapping_may_be_filled_anew(route, world):
    """A mapping is read when it is taken, so the caller may fill it anew."""

    def entries():
        entry: dict[str, Any] = {"DetailType": "t"}
        for number in range(20):
            entry["Source"] = event(REGIONS[number % 2]).source
            entry["Detail"] = f'{{"n":{number}}}'
            yield entry

    assert route().put_events(entries()).counts.accepted == 20
    details = {entry.detail for entry in world.services["eu-west-1"].accepted}
    assert details == {f'{{"n":{number}}}' for number in range(1, 20, 2)}


def test_failures_keep_their_places(route, world):
    """Failures in different Regions keep their places in the report."""
    world.services["eu-west-1"].play(FailEntries("MalformedDetail", indexes=[1]))
    world.services["ap-south-1"].play(FailRequest("AccessDeniedException", times=None))
    report = route().put_events([event(REGIONS[number % 3], number) for number in range(9)])
    assert seen(report) == [
        *("Accepted 1", "Accepted 1", "Rejected AccessDeniedException 1"),
        *("Accepted 1", "Rejected MalformedDetail 1", "Rejected AccessDeniedException 1"),
        *("Accepted 1", "Accepted 1", "Rejected AccessDeniedException 1"),
    ]


def test_one_regions_outage_is_its_own(route, world):
    """When one Region cannot be reached, the events of the others are accepted."""

    def before(region):
        if region == "eu-west-1":
            raise TransportError("no connection", may_have_been_sent=False)

    world.before = before
    report = route().put_events([event(REGIONS[number % 3]) for number in range(6)])
    assert seen(report) == ["Accepted 1", "Exhausted TransportError 3", "Accepted 1"] * 2


def test_regions_do_not_wait_for_each_other(route, world):
    """While one Region is silent, the others are sent to, whichever comes first."""
    for slow in REGIONS[:2]:
        arrived = threading.Event()

        def before(region, slow=slow, arrived=arrived):
            if region == slow:
                assert arrived.wait(timeout=30)
            else:
                arrived.set()

        world.before = before
        report = route().put_events([event("us-east-1"), event("eu-west-1")])
        assert report.counts.accepted == 2


def test_where_no_thread_can_be_started(world, monkeypatch):
    """Without threads, as when the interpreter ends, Regions are sent to one after another."""

    def refuse(thread):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    with PartnerEventsClient(
        "us-east-1", credentials=world.services["us-east-1"].credentials, transport=world
    ) as client:
        router = RegionRouter(client, region_of)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        report = router.put_events([event(region) for region in REGIONS])
        monkeypatch.undo()
    assert report.counts.accepted == 3


def test_no_thread_is_left(world):
    """The router's threads end soon after the report is returned."""
    before = set(threading.enumerate())
    with PartnerEventsClient(
        "us-east-1", credentials=world.services["us-east-1"].credentials, transport=world
    ) as client:
        RegionRouter(client, region_of).put_events([event(region) for region in REGIONS])
        for thread in set(threading.enumerate()) - before:
            thread.join(timeout=30)
            assert not thread.is_alive()


def test_credentials_of_nobody(kind, world):
    """Missing credentials are raised if nothing can be sent to any Region."""
    with ExitStack() as stack:
        client = kind.open(
            stack, region="us-east-1", transport=AsyncWorld(world) if kind.is_async else world
        )
        router = AsyncRegionRouter if kind.is_async else RegionRouter
        plain = Plain(router(client._wrapped, region_of), client._runner)
        with pytest.raises(CredentialsError):
            plain.put_events([event("us-east-1"), event("eu-west-1")])


class Raising:
    """Stands in front of a client, and raises."""

    def __init__(self, error, *, is_async):
        self._error = error
        self.put_events = self._later if is_async else self._now

    def _now(self, events, *, deadline=None):
        raise self._error

    async def _later(self, events, *, deadline=None):
        raise self._error


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (CredentialsError("none"), "Exhausted CredentialsError 0"),
        (ConfigurationError("no"), "Exhausted ConfigurationError 0"),
        (LookupError("secret"), "Unconfirmed 0"),
    ],
)
def test_what_raises_in_one_region(kind, route, error, outcome):
    """An exception in one Region does not change the outcomes of the others."""

    def in_front(client):
        return Raising(error, is_async=kind.is_async) if client.region == "eu-west-1" else client

    report = route(in_front=in_front).put_events([event("eu-west-1"), event("us-east-1")])
    assert seen(report) == [outcome, "Accepted 1"]
    assert "secret" not in str(report[0])


def test_guards_in_front_of_every_region(kind, route, world):
    """Each Region's states are looked up there, by a guard that is made once."""
    source = event("eu-west-1").source
    for service in world.services.values():
        service.sources.create(event(service.region).source, ACCOUNT)
    world.services["us-east-1"].sources.associate(event("us-east-1").source, ACCOUNT)
    made = []

    def in_front(client):
        made.append(client.region)
        return AsyncSourceGuard(client) if kind.is_async else SourceGuard(client)

    router = route(in_front=in_front)
    reports = [router.put_events([event("eu-west-1"), event("us-east-1")]) for _ in range(2)]
    for report in reports:
        assert seen(report) == ["Rejected SourcePending 0", "Accepted 1"]
    assert sorted(made) == ["eu-west-1", "us-east-1"]
    assert reports[0][0].event.source == source


def test_the_client_of_a_source(route):
    """`client_of` returns the client in the Region of a source, for operations on it."""
    router = route()._wrapped
    assert router.client_of(event("eu-west-1").source).region == "eu-west-1"
    name = SourceName("example.com", "customer", namespace=["ap-south-1"])
    assert router.client_of(name).region == "ap-south-1"
    with pytest.raises(ConfigurationError, match="no Region is known for source"):
        router.client_of(event("nowhere").source)


def test_input_that_raises(route):
    """If the iterable raises, the events read before that are sent and reported."""

    def events():
        yield event("us-east-1")
        yield event("nowhere")
        raise LookupError("secret")

    with pytest.raises(InputInterruptedError, match="after 2 events") as caught:
        route().put_events(events())
    assert seen(caught.value.report) == ["Accepted 1", "Rejected UnknownRegion 0"]
    assert isinstance(caught.value.__cause__, LookupError)


def test_a_lookup_that_raises(route, world):
    """An exception of the lookup reaches the caller before anything is sent."""

    def lookup(source):
        if "eu" in source:
            raise LookupError("the database went away")
        return "us-east-1"

    for of in (list, iter):
        with pytest.raises(LookupError, match="went away"):
            route(lookup).put_events(of([event("us-east-1"), event("eu-west-1")]))
    assert world.services["us-east-1"].accepted_count == 0


@pytest.mark.parametrize("wrong", [event(), "text", {"Source": "x"}, 7])
def test_what_is_no_iterable_of_events(route, wrong):
    """A single event, text or a number is refused, as by the client."""
    with pytest.raises(TypeError):
        route().put_events(wrong)


def test_deadlines_are_passed_on(route, world):
    """A deadline applies to every Region; a deadline of 0 is refused."""
    with pytest.raises(ValueError, match="deadline is 0"):
        route().put_events([], deadline=0)
    for service in world.services.values():
        service.play(FailEntries("ThrottlingException", times=None))
    slow = RetryPolicy(throttle_wait=lambda _: 60.0)
    report = route(retry=slow).put_events([event("us-east-1"), event("eu-west-1")], deadline=0.2)
    assert {type(one) for one in report} == {Exhausted}


# ---------------------------------------------------------------- event loops


async def _in_turn(events):
    for one in events:
        await asyncio.sleep(0)
        yield one


def test_asynchronous_events(world):
    """An asynchronous iterable can be sent."""

    async def main():
        async with AsyncPartnerEventsClient(
            "us-east-1",
            credentials=world.services["us-east-1"].credentials,
            transport=AsyncWorld(world),
        ) as client:
            router = AsyncRegionRouter(client, region_of)
            return await router.put_events(_in_turn([event(region) for region in REGIONS]))

    assert asyncio.run(main()).counts.accepted == 3


def test_cancelled_while_sending(world):
    """The cause of a cancellation has the outcomes of all Regions."""
    let_go = threading.Event()
    both_arrived = threading.Barrier(3)

    def before(region):
        both_arrived.wait(timeout=30)
        if region == "eu-west-1":
            let_go.wait(timeout=30)

    world.before = before

    async def main():
        async with AsyncPartnerEventsClient(
            "us-east-1",
            credentials=world.services["us-east-1"].credentials,
            transport=AsyncWorld(world),
        ) as client:
            router = AsyncRegionRouter(client, region_of)
            given = [event("us-east-1"), event("eu-west-1"), event("nowhere")]
            sending = asyncio.ensure_future(router.put_events(given))
            await asyncio.to_thread(both_arrived.wait, 30)
            await asyncio.sleep(0.1)
            sending.cancel()
            try:
                await sending
            except asyncio.CancelledError as cancelled:
                return cancelled.__cause__
            finally:
                let_go.set()

    cause = asyncio.run(main())
    assert isinstance(cause, CallCancelledError)
    assert seen(cause.report) == ["Accepted 1", "Unconfirmed 1", "Rejected UnknownRegion 0"]


def test_cancelled_while_taking(world):
    """If cancelled while events are read, it sends none; report and observer say so for each."""
    told = []

    async def main():
        waits = asyncio.Event()

        async def endless():
            yield event("us-east-1")
            yield event("nowhere")
            waits.set()
            await asyncio.sleep(60)

        async with AsyncPartnerEventsClient(
            "us-east-1",
            credentials=world.services["us-east-1"].credentials,
            transport=AsyncWorld(world),
            observe=told.append,
        ) as client:
            sending = asyncio.ensure_future(
                AsyncRegionRouter(client, region_of).put_events(endless())
            )
            await waits.wait()
            sending.cancel()
            try:
                await sending
            except asyncio.CancelledError as cancelled:
                return cancelled.__cause__

    cause = asyncio.run(main())
    assert isinstance(cause, CallCancelledError)
    assert seen(cause.report) == ["Exhausted Cancelled 0", "Rejected UnknownRegion 0"]
    assert own_outcomes(told) == NOT_BEGUN


NOT_BEGUN = {("Exhausted", "Cancelled"): 1, ("Rejected", "UnknownRegion"): 1}


def own_outcomes(told):
    """Return what an observer was told that the router decided."""
    counts = Counter()
    for one in told:
        if isinstance(one, OutcomesDecided) and one.kind == "router":
            counts.update(one.outcomes)
    return counts


def test_interrupted_while_taking(world):
    """If interrupted while events are read, it sends none; report and observer say so for each."""
    told = []

    def events():
        yield event("us-east-1")
        yield event("nowhere")
        raise KeyboardInterrupt

    with PartnerEventsClient(
        "us-east-1",
        credentials=world.services["us-east-1"].credentials,
        transport=world,
        observe=told.append,
    ) as client:
        with pytest.raises(KeyboardInterrupt) as caught:
            RegionRouter(client, region_of).put_events(events())
    cause = caught.value.__cause__
    assert isinstance(cause, CallInterruptedError)
    assert seen(cause.report) == ["Exhausted Cancelled 0", "Rejected UnknownRegion 0"]
    assert own_outcomes(told) == NOT_BEGUN
