"""20,000 events through a real HTTP service under every fault at once, on every transport."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

import attrs
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tenacity import wait_none

from eventbridge_partner import (
    AsyncPartnerEventsClient,
    Outcome,
    PartnerEvent,
    PartnerEventsClient,
    RetryPolicy,
    Timeouts,
)
from eventbridge_partner.observing import Observation, OutcomesDecided, all_of
from eventbridge_partner.otel import OpenTelemetry
from eventbridge_partner.testing import FakeEventBridge, LocalServer
from eventbridge_partner.transports.curl import CurlTransport
from tests.storm import PATIENT, READ_TIMEOUT, check_ledger, storm_events, storm_faults

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("STORM_SEED", "20261123"))
EVENTS = 20_000
CALLERS = 8

Outcomes = list[Outcome]
Events = list[PartnerEvent]


class Way(Protocol):
    """A way through a storm: a client on a transport."""

    def one_call(self, settings: dict[str, Any], events: Events) -> Outcomes:
        """Send all events in one call of put_events."""
        ...

    def many_calls(self, settings: dict[str, Any], shares: list[Events]) -> list[Outcomes]:
        """Send in concurrent calls on one client, every other one a stream."""
        ...


@attrs.frozen
class InThreads:
    """The blocking client, with additional settings."""

    settings: dict[str, Any] = attrs.field(factory=dict)

    def one_call(self, settings: dict[str, Any], events: Events) -> Outcomes:
        with PartnerEventsClient(**settings | self.settings) as client:
            return list(client.put_events(events))

    def many_calls(self, settings: dict[str, Any], shares: list[Events]) -> list[Outcomes]:
        outcomes: list[Outcomes] = [[] for _ in shares]
        with PartnerEventsClient(**settings | self.settings) as client:

            def send(caller: int, share: Events) -> None:
                sent = client.stream_events(share) if caller % 2 else client.put_events(share)
                outcomes[caller] += sent

            threads = [threading.Thread(target=send, args=one) for one in enumerate(shares)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return outcomes


@attrs.frozen
class InTasks:
    """The asyncio client, with additional settings."""

    settings: dict[str, Any] = attrs.field(factory=dict)

    def one_call(self, settings: dict[str, Any], events: Events) -> Outcomes:
        async def main() -> Outcomes:
            async with AsyncPartnerEventsClient(**settings | self.settings) as client:
                return list(await client.put_events(events))

        return asyncio.run(main())

    def many_calls(self, settings: dict[str, Any], shares: list[Events]) -> list[Outcomes]:
        async def arriving(share: Events) -> AsyncIterator[PartnerEvent]:
            for number, event in enumerate(share):
                if number % 50 == 0:
                    await asyncio.sleep(0)
                yield event

        async def main() -> list[Outcomes]:
            async with AsyncPartnerEventsClient(**settings | self.settings) as client:

                async def send(caller: int, share: Events) -> Outcomes:
                    if caller % 2:
                        return [outcome async for outcome in client.stream_events(arriving(share))]
                    return list(await client.put_events(arriving(share) if caller % 4 else share))

                return await asyncio.gather(*(send(*one) for one in enumerate(shares)))

        return asyncio.run(main())


WAYS: dict[str, Way] = {
    "requests": InThreads(),
    "curl": InThreads({"transport": CurlTransport, "max_in_flight": 32}),
    "aiohttp": InTasks(),
}


@pytest.fixture(params=list(WAYS.values()), ids=list(WAYS))
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


@pytest.fixture
def service() -> FakeEventBridge:
    service = FakeEventBridge(seed=SEED)
    service.play(*storm_faults())
    return service


@pytest.fixture
def server(service: FakeEventBridge) -> Iterator[LocalServer]:
    with service.serve() as server:
        yield server


@pytest.fixture
def settings(service: FakeEventBridge, server: LocalServer) -> dict[str, Any]:
    return {
        "region": service.region,
        "endpoint_url": server.url,
        "credentials": service.credentials,
        "retry": PATIENT,
        "timeout": Timeouts(connect=5, read=READ_TIMEOUT),
        "max_in_flight": 4,
    }


class Watching:
    """Observers that count outcomes, trace with OpenTelemetry, and fail."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.spans = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.spans))
        telemetry = OpenTelemetry(provider, MeterProvider([InMemoryMetricReader()]))
        self.observe = all_of(self._count, self._fail, telemetry)

    def _count(self, observation: Observation) -> None:
        if isinstance(observation, OutcomesDecided):
            for (name, _), number in observation.outcomes.items():
                self.outcomes[name] += number

    def _fail(self, _: Observation) -> None:
        raise ZeroDivisionError


def test_one_call_accounts_for_every_event_of_a_storm(
    service: FakeEventBridge, server: LocalServer, settings: dict[str, Any], way: Way
) -> None:
    """
    put_events loses no event, knowingly duplicates none, and reports what is true.

    So do the span of the call and an observer, although another observer raises each
    time.
    """
    events = storm_events(EVENTS, SEED)
    watching = Watching()

    outcomes = way.one_call(settings | {"observe": watching.observe}, events)
    server.close()  # so that the service has noticed which slow answers nobody waited for

    assert [outcome.index for outcome in outcomes] == list(range(EVENTS))
    assert [outcome.event for outcome in outcomes] == events
    counts = check_ledger(service, events, outcomes)
    assert counts["Accepted"] > 0.9 * EVENTS
    assert counts["Rejected"] > 0 and counts["Unconfirmed"] > 0, "the storm was too mild"
    assert watching.outcomes == {name: number for name, number in counts.items() if number}
    (call,) = [
        one for one in watching.spans.get_finished_spans() if one.name.endswith("put_events")
    ]
    attributes = dict(call.attributes or {})
    for name, number in counts.items():
        assert attributes[f"eventbridge_partner.events.{name.lower()}"] == number


def test_concurrent_calls_account_for_every_event_of_a_storm(
    service: FakeEventBridge, server: LocalServer, settings: dict[str, Any], way: Way
) -> None:
    """Concurrent calls on one client, half of them streams, do not mix their outcomes."""
    events = storm_events(EVENTS, SEED + 1)

    parts = way.many_calls(settings, [events[caller::CALLERS] for caller in range(CALLERS)])
    server.close()

    for part in parts:
        assert [outcome.index for outcome in part] == list(range(EVENTS // CALLERS))
    check_ledger(service, events, [outcome for part in parts for outcome in part])


def test_an_observer_changes_no_outcome() -> None:
    """The same storm, one request at a time, has the same outcomes with an observer and without."""

    def told(**settings: Any) -> list[tuple[str, str, int]]:
        service = FakeEventBridge(seed=SEED)
        service.play(*storm_faults())
        with PartnerEventsClient(
            service.region,
            credentials=service.credentials,
            transport=service.transport(),
            retry=RetryPolicy(wait=wait_none(), throttle_wait=wait_none(), tokens=None),
            timeout=Timeouts(connect=5, read=READ_TIMEOUT),
            max_in_flight=1,
            **settings,
        ) as client:
            return [
                (type(one).__name__, getattr(one, "code", ""), one.attempts)
                for one in client.put_events(storm_events(EVENTS // 10, SEED))
            ]

    without = told()
    assert len({name for name, _, _ in without}) >= 3, "the storm was too mild"
    assert told(observe=Watching().observe) == without
