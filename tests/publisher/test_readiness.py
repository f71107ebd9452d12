"""Readiness: what is missing shows before the first event, and asking never takes long."""

from __future__ import annotations

import asyncio
import threading
import time

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
from eventbridge_partner.errors import CredentialsError
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
    """Credentials that come when they are let."""

    def __init__(self):
        self.let = threading.Event()
        self.asked = 0

    def get_frozen_credentials(self):
        self.asked += 1
        self.let.wait(60)
        return KEYS.get_frozen_credentials()


class Lost:
    """Credentials that cannot be had."""

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
    """Return what a client, or a publisher in front of it, says, and what it says then."""

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
    """With settings and credentials it is ready."""
    for said in asked({"credentials": KEYS}, kind, front):
        assert said == Readiness()
        assert said
        assert said.ok
    assert said.to_dict() == {"ok": True, "reasons": (), "oldest_age": 0.0}


@KINDS
@FRONTS
def test_no_credentials(kind, front):
    """Without credentials it is not, and says why each time."""
    for said in asked({"credentials": Lost()}, kind, front):
        assert said.reasons == ("no credentials today",)
        assert not said
        assert not said.ok


@KINDS
@FRONTS
def test_credentials_that_hang(kind, front):
    """Asking takes no longer than it may, starts one look-up only, and sees the end of that."""
    hanging = Hanging()
    first, second, third = asked({"credentials": hanging}, kind, front, timeout=0.02)
    late = "settings and credentials were not looked up within 0.02 s"
    assert first.reasons == second.reasons == (late,)
    assert third.ok
    assert hanging.asked == 1


@KINDS
def test_no_region(kind, monkeypatch):
    """A setting that is missing is a reason."""
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
def test_seconds_that_cannot_work(kind, timeout):
    """They are refused by name."""
    with pytest.raises((TypeError, ValueError), match="timeout is"):
        asked({"credentials": KEYS}, kind, timeout=timeout)
    with pytest.raises((TypeError, ValueError), match="max_age is"):
        asked({"credentials": KEYS}, kind, plain, max_age=timeout)


def test_a_publisher_behind(service, server):
    """An event that waits for longer than it may is a reason, and closing is one."""
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
    """The same on asyncio; a loop that has ended is a reason, too."""

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


def test_reasons_against_a_publisher():
    """Each is a sentence; at its bound an age is no reason yet."""
    none = {"is_closed": False, "has_ended": False, "age": 60.0, "max_age": 60.0}
    assert reasons_against(**none) == ()
    every = {"is_closed": True, "has_ended": True, "age": 75.2, "max_age": 60.0}
    assert reasons_against(**every) == (
        "the publisher is closed",
        "the sender has ended",
        "the oldest event has waited for 75 s; allowed: 60 s",
    )
