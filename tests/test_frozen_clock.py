"""Waits end although a test has frozen the clock with freezegun, time-machine or pytest."""

from __future__ import annotations

import asyncio
import datetime
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import freezegun
import pytest
import time_machine

from eventbridge_partner import (
    Accepted,
    AsyncEventPublisher,
    AsyncPartnerEventsClient,
    BufferFullError,
    EventPublisher,
    Exhausted,
    Pace,
    PartnerEvent,
    PartnerEventsClient,
    RetryPolicy,
    SourceGuard,
    SourceNotActiveError,
    Unconfirmed,
)
from eventbridge_partner.testing import FailEntries, FailRequest, FakeEventBridge, LocalServer
from eventbridge_partner.transports.curl import CurlTransport

pytestmark = pytest.mark.slow

SOON = 10.0
SOURCE = "aws.partner/example.com/acme/x"
EVENT = PartnerEvent(SOURCE, "t", {"n": 1})
MOMENT = datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.UTC)
Freeze = Callable[[], AbstractContextManager[object]]


@contextmanager
def stopped() -> Generator[None]:
    """Stop the monotonic clock by patching it."""
    patch, now = pytest.MonkeyPatch(), time.monotonic()
    patch.setattr(time, "monotonic", lambda: now)
    try:
        yield
    finally:
        patch.undo()


@pytest.fixture(
    params=[
        lambda: freezegun.freeze_time(MOMENT, real_asyncio=True),
        lambda: time_machine.travel(MOMENT, tick=False),
        stopped,
    ],
    ids=["freezegun", "time-machine", "by hand"],
)
def freeze(request: pytest.FixtureRequest) -> Freeze:
    made: Freeze = request.param
    return made


@pytest.fixture
def service() -> FakeEventBridge:
    return FakeEventBridge()


@pytest.fixture
def server(service: FakeEventBridge) -> Iterator[LocalServer]:
    with service.serve() as server:
        yield server


def run_in_time(function: Callable[[], None]) -> None:
    """Run a function on a thread that may hang, and raise what it raises."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001  # told in the test's own thread
            errors.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    thread.join(2 * SOON)
    assert not thread.is_alive(), "a wait does not end"
    if errors:
        raise errors[0]


def settings(service: FakeEventBridge, server: LocalServer) -> dict[str, Any]:
    return {
        "region": service.region,
        "endpoint_url": server.url,
        "credentials": service.credentials,
        "retry": RetryPolicy(throttle_wait=lambda _: 0.05),
    }


def faults(service: FakeEventBridge) -> None:
    service.play(FailEntries("ThrottlingException", indexes=[0]))
    service.play(FailRequest("ServiceUnavailable", 503))


@pytest.mark.parametrize("transport", [None, CurlTransport], ids=["requests", "curl"])
@pytest.mark.parametrize("deadline", [None, 5.0])
def test_a_call_that_retries_returns(
    service: FakeEventBridge, server: LocalServer, freeze: Freeze, transport: Any, deadline: Any
) -> None:
    """A call and a stream with retries and a pace return, with or without a deadline."""
    faults(service)

    def call() -> None:
        with (
            freeze(),
            PartnerEventsClient(
                **settings(service, server), transport=transport, pace=Pace(100)
            ) as client,
        ):
            report = client.put_events([EVENT] * 90, deadline=deadline)
            assert report.counts.accepted == 90
            assert len([*client.stream_events([EVENT] * 90, deadline=deadline)]) == 90

    run_in_time(call)


@pytest.mark.parametrize("transport", [None, CurlTransport], ids=["requests", "curl"])
def test_a_deadline_passes(
    service: FakeEventBridge, server: LocalServer, freeze: Freeze, transport: Any
) -> None:
    """A deadline passes in real time."""
    service.play(FailEntries("ThrottlingException", indexes=[0], times=None))
    retry: Any = RetryPolicy(throttle_wait=lambda _: 0.05, stop=lambda _: False, tokens=None)

    def call() -> None:
        with (
            freeze(),
            PartnerEventsClient(
                **(settings(service, server) | {"retry": retry}), transport=transport
            ) as client,
        ):
            [outcome] = client.put_events([EVENT], deadline=0.3)
            # The deadline may pass while a request is in flight.
            assert isinstance(outcome, (Exhausted, Unconfirmed))
            assert outcome.attempts > 1

    run_in_time(call)


@pytest.mark.parametrize("transport", [None, CurlTransport], ids=["requests", "curl"])
def test_a_publisher_ends_its_waits(
    service: FakeEventBridge, server: LocalServer, freeze: Freeze, transport: Any
) -> None:
    """A publisher's waits end: for more events, for a retry, for room and for closing."""
    faults(service)

    def publish() -> None:
        with (
            freeze(),
            PartnerEventsClient(**settings(service, server), transport=transport) as client,
        ):
            with EventPublisher(client, max_buffered_events=1) as publisher:
                receipts = [publisher.publish(EVENT) for _ in range(3)]
                assert all(isinstance(one.result(SOON), Accepted) for one in receipts)
            full = EventPublisher(client, linger=60, max_buffered_events=1)
            full.publish(EVENT)
            with pytest.raises(BufferFullError):
                full.publish(EVENT, timeout=0.1)
            assert full.flush(SOON).left == 0
            assert full.close(SOON).counts.total == 0

    run_in_time(publish)


def test_a_publisher_outlives_a_frozen_clock(
    service: FakeEventBridge, server: LocalServer, freeze: Freeze
) -> None:
    """A publisher that starts before the clock freezes works during and after that."""

    def publish() -> None:
        with PartnerEventsClient(**settings(service, server)) as client:
            with EventPublisher(client) as publisher:
                assert isinstance(publisher.publish(EVENT).result(SOON), Accepted)
                with freeze():
                    assert isinstance(publisher.publish(EVENT).result(SOON), Accepted)
                    late = publisher.publish(EVENT)
                assert isinstance(late.result(SOON), Accepted)
                assert isinstance(publisher.publish(EVENT).result(SOON), Accepted)
                assert publisher.flush(SOON).left == 0

    run_in_time(publish)
    assert service.accepted_count == 4


def test_waits_on_a_loop_end(service: FakeEventBridge, server: LocalServer, freeze: Freeze) -> None:
    """Waits on an event loop end if the loop's own clock runs, as with `real_asyncio=True`."""
    faults(service)

    async def main() -> None:
        async with AsyncPartnerEventsClient(**settings(service, server)) as client:
            assert (await client.put_events([EVENT] * 90)).counts.accepted == 90
            service.play(FailEntries("ThrottlingException", indexes=[0]))
            async with AsyncEventPublisher(client, max_buffered_events=1) as publisher:
                receipts = [await publisher.publish(EVENT) for _ in range(3)]
                assert [type(await receipt) for receipt in receipts] == [Accepted] * 3

    def run() -> None:
        with freeze():
            asyncio.run(main())

    if freeze is stopped:
        pytest.skip("the loop's own clock stands still, too")

    run_in_time(run)


def test_the_wait_for_a_source_ends(
    service: FakeEventBridge, server: LocalServer, freeze: Freeze
) -> None:
    """Waiting for a source ends, and so do a guard's look-ups, which are retried too."""

    def wait() -> None:
        with freeze(), PartnerEventsClient(**settings(service, server)) as client:
            client.sources.create(SOURCE, account="123456789012")
            service.play(FailRequest("ThrottlingException", 400))
            with pytest.raises(SourceNotActiveError):
                client.sources.wait_until_active(SOURCE, account="123456789012", timeout=0.5)
            service.play(FailRequest("ThrottlingException", 400))
            [outcome] = SourceGuard(client, on_pending="reject").put_events([EVENT], deadline=SOON)
            assert not isinstance(outcome, Accepted)

    run_in_time(wait)
