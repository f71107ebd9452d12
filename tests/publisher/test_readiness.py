"""Readiness: what is missing shows before the first event, and asking never takes long."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import Any

import pytest

from eventbridge_partner import (
    AsyncEventPublisher,
    AsyncPartnerEventsClient,
    AsyncRegionRouter,
    AsyncSourceGuard,
    EventPublisher,
    PartnerEvent,
    PartnerEventsClient,
    Readiness,
    RegionRouter,
    SourceGuard,
    StaticCredentials,
)
from eventbridge_partner.errors import CredentialsError, PublisherClosedError
from eventbridge_partner.publisher._receipts import reasons_against
from eventbridge_partner.testing import FakeEventBridge

SOURCE = "aws.partner/example.com/acme"
KEYS = StaticCredentials("AKIDEXAMPLE", "canary-secret")


@pytest.fixture
def service():
    return FakeEventBridge()


@pytest.fixture
def server(service):
    with service.serve() as server:
        yield server


class Hanging:
    """Credentials that arrive only when the test allows it."""

    def __init__(self):
        self.let = threading.Event()
        self.asked = 0

    def get_frozen_credentials(self):
        self.asked += 1
        self.let.wait(60)
        return KEYS.get_frozen_credentials()


class Lost:
    """Credentials that are not available."""

    def get_frozen_credentials(self):
        raise CredentialsError("no credentials today")


def plain(client):
    return client


def routed(client):
    router = RegionRouter if isinstance(client, PartnerEventsClient) else AsyncRegionRouter
    return router(client, lambda source: "eu-west-1")


def guarded(client):
    guard = SourceGuard if isinstance(client, PartnerEventsClient) else AsyncSourceGuard
    return guard(client)


def asked(made, kind, front=None, **settings):
    """Ask a client or its publisher three times, the last time after any hang has ended."""

    def finished():
        credentials = made["credentials"]
        if isinstance(credentials, Hanging):
            credentials.let.set()

    if kind == "threads":
        client = PartnerEventsClient("eu-west-1", **made)
        asks = client if front is None else EventPublisher(front(client))
        first = asks.readiness(**settings)
        second = asks.readiness(**settings)
        finished()
        return first, second, asks.readiness()

    async def main():
        async with AsyncPartnerEventsClient("eu-west-1", **made) as client:
            asks = client if front is None else AsyncEventPublisher(front(client))
            first = await asks.readiness(**settings)
            second = await asks.readiness(**settings)
            finished()
            return first, second, await asks.readiness()

    return asyncio.run(main())


KINDS = pytest.mark.parametrize("kind", ["threads", "asyncio"])
FRONTS = pytest.mark.parametrize("front", [None, plain, guarded, routed])


@KINDS
@FRONTS
def test_ready(kind, front):
    """With settings and credentials, a client is ready."""
    for said in asked({"credentials": KEYS}, kind, front):
        assert said == Readiness()
        assert said
        assert said.ok
    assert said.to_dict() == {"ok": True, "reasons": (), "oldest_age": 0.0}


@KINDS
@FRONTS
def test_no_credentials(kind, front):
    """Without credentials, a client is not ready, and says why each time."""
    for said in asked({"credentials": Lost()}, kind, front):
        assert said.reasons == ("no credentials today",)
        assert not said
        assert not said.ok


@KINDS
@FRONTS
def test_credentials_that_hang(kind, front):
    """Asking keeps its timeout, starts only one look-up, and sees its result later."""
    hanging = Hanging()
    first, second, third = asked({"credentials": hanging}, kind, front, timeout=0.02)
    late = "settings and credentials were not looked up within 0.02 s"
    assert first.reasons == second.reasons == (late,)
    assert third.ok
    assert hanging.asked == 1


@KINDS
def test_no_region(kind, monkeypatch):
    """A missing setting is a reason."""
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    if kind == "threads":
        said = PartnerEventsClient(credentials=KEYS).readiness()
    else:
        said = asyncio.run(AsyncPartnerEventsClient(credentials=KEYS).readiness())
    (reason,) = said.reasons
    assert "region" in reason.lower()
    assert "canary" not in reason


@KINDS
@pytest.mark.parametrize("timeout", [0, -1, "1", float("nan")])
def test_invalid_seconds(kind, timeout):
    """An invalid number of seconds is refused by its argument's name."""
    with pytest.raises((TypeError, ValueError), match="timeout is"):
        asked({"credentials": KEYS}, kind, timeout=timeout)
    with pytest.raises((TypeError, ValueError), match="max_age is"):
        asked({"credentials": KEYS}, kind, plain, max_age=timeout)


def test_a_publisher_behind(service, server):
    """An event that has waited longer than `max_age` is a reason, and so is a closed publisher."""
    client = PartnerEventsClient(
        "us-east-1", endpoint_url=server.url, credentials=service.credentials
    )
    publisher = EventPublisher(client, linger=3600)
    publisher.publish(PartnerEvent(SOURCE, "t", {}))
    assert publisher.readiness().ok
    since = time.monotonic()
    while not (said := publisher.readiness(max_age=0.001)).reasons:
        assert time.monotonic() - since < 60
    assert said.reasons == ("the oldest event has waited for 0 s; allowed: 0.001 s",)
    assert said.oldest_age > 0
    publisher.close()
    assert publisher.readiness().reasons == ("the publisher is closed",)


def test_an_asyncio_publisher_behind(service, server):
    """The same holds on asyncio."""

    async def main():
        client = AsyncPartnerEventsClient(
            "us-east-1", endpoint_url=server.url, credentials=service.credentials
        )
        publisher = AsyncEventPublisher(client, linger=3600)
        await publisher.publish(PartnerEvent(SOURCE, "t", {}))
        assert (await publisher.readiness()).ok
        since = time.monotonic()
        while not (said := await publisher.readiness(max_age=0.001)).reasons:
            assert time.monotonic() - since < 60
        assert said.reasons == ("the oldest event has waited for 0 s; allowed: 0.001 s",)
        await publisher.close()
        assert (await publisher.readiness()).reasons == ("the publisher is closed",)
        await client.close()

    asyncio.run(main())


@KINDS
def test_a_provider_that_raises(kind):
    """Any exception of a provider is a reason, without its text."""

    class Broken:
        def get_frozen_credentials(self):
            raise ZeroDivisionError("canary")

    for said in asked({"credentials": Broken()}, kind):
        (reason,) = said.reasons
        assert "ZeroDivisionError" in reason
        assert "canary" not in reason


def test_nothing_is_sent(service, server):
    """Asking often sends nothing and leaves no thread behind."""
    client = PartnerEventsClient(
        "us-east-1", endpoint_url=server.url, credentials=service.credentials
    )
    with EventPublisher(client) as publisher:
        publisher.publish(PartnerEvent(SOURCE, "t", {})).result(60)
        sent, threads = len(service.requests), set(threading.enumerate())
        for _ in range(100):
            assert publisher.readiness().ok
        assert len(service.requests) == sent
        assert set(threading.enumerate()) <= threads


class Deadly:
    """A transport whose flights all fail, and that ends the thread that closes it."""

    def send(self, request, timeouts):
        raise AssertionError("it has flights")

    def flights(self):
        return self

    def submit(self, key, request, timeouts):
        raise ZeroDivisionError

    def collect(self, seconds):
        time.sleep(min(seconds or 0, 0.001))
        return []

    def flush(self):
        pass

    def waker(self):
        return lambda: None

    def close(self):
        raise SystemExit


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_thread():
    """A sender thread that has ended is a reason, until the publisher is closed."""
    client = PartnerEventsClient("us-east-1", credentials=KEYS, transport=Deadly())
    publisher = EventPublisher(client, linger=0)
    before = set(threading.enumerate())
    publisher.publish(PartnerEvent(SOURCE, "t", {}))
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
    assert publisher.readiness().reasons == ("the sender has ended",)
    publisher.close(0)
    assert publisher.readiness().reasons == ("the publisher is closed",)


@pytest.mark.parametrize(
    ("front", "reason"),
    [(plain, "the publisher is closed"), (routed, "the sender has ended")],
    ids=["plain", "routed"],
)
def test_a_cancelled_task(service, server, front, reason):
    """If all tasks of a running loop are cancelled, `publish` raises, and readiness says why."""

    async def main():
        async with AsyncPartnerEventsClient(
            "eu-west-1", endpoint_url=server.url, credentials=service.credentials
        ) as client:
            before = asyncio.all_tasks()
            publisher = AsyncEventPublisher(front(client))
            await (await publisher.publish(PartnerEvent(SOURCE, "t", {})))
            tasks = asyncio.all_tasks() - before
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            assert (await publisher.readiness()).reasons == (reason,)
            with pytest.raises(PublisherClosedError):
                await publisher.publish(PartnerEvent(SOURCE, "t", {}))

    asyncio.run(main())


def test_another_loop(service, server):
    """A publisher is not ready on a second loop until the first has ended."""

    async def publish():
        publisher = AsyncEventPublisher(client)
        await (await publisher.publish(PartnerEvent(SOURCE, "t", {})))
        assert (await publisher.readiness()).ok
        return publisher

    client = AsyncPartnerEventsClient(
        "us-east-1", endpoint_url=server.url, credentials=service.credentials
    )
    with asyncio.Runner() as first:
        publisher = first.run(publish())
        with asyncio.Runner() as second:
            (reason,) = second.run(publisher.readiness()).reasons
            assert "serves one event loop" in reason
    assert asyncio.run(publisher.readiness()) == Readiness()


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@KINDS
def test_a_forked_child_begins_anew(kind):
    """The child ignores what the parent holds, and has a look-up of its own."""
    read, write = os.pipe()
    runner, credentials = asyncio.Runner(), Hanging()
    arguments = {"timeout": 0.02, "max_age": 1e-9}
    event = PartnerEvent(SOURCE, "t", {})
    if kind == "threads":
        client = PartnerEventsClient("us-east-1", credentials=credentials)
        publisher: Any = EventPublisher(client, linger=3600)
        run, run_anew = (lambda done: done), (lambda done: done)
    else:
        async_client = AsyncPartnerEventsClient("us-east-1", credentials=credentials)
        publisher = AsyncEventPublisher(async_client, linger=3600)
        run, run_anew = runner.run, asyncio.run
    run(publisher.publish(event))
    # The event is too old, and credentials did not arrive in time.
    assert len(run(publisher.readiness(**arguments)).reasons) == 2
    child = os.fork()
    if child == 0:
        credentials.let.set()
        os.write(write, repr(run_anew(publisher.readiness())).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        assert pipe.read() == repr(Readiness())
    assert os.waitpid(child, 0)[1] == 0
    credentials.let.set()
    run(publisher.close(0))
    runner.close()


def test_reasons_against_a_publisher():
    """Each reason is a sentence; an age at its limit is not a reason yet."""
    none = {"is_closed": False, "has_ended": False, "age": 60.0, "max_age": 60.0}
    assert reasons_against(**none) == ()
    every = {"is_closed": True, "has_ended": True, "age": 75.2, "max_age": 60.0}
    old = "the oldest event has waited for 75 s; allowed: 60 s"
    assert reasons_against(**every) == ("the publisher is closed", old)
    every["is_closed"] = False
    assert reasons_against(**every) == ("the sender has ended", old)
