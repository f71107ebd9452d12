"""Spans and metrics, as OpenTelemetry's own SDK receives them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from tenacity import wait_none

from eventbridge_partner import (
    AsyncEventPublisher,
    AsyncPartnerEventsClient,
    EventPublisher,
    PartnerEvent,
    PartnerEventsClient,
    ResourceNotFoundError,
    RetryPolicy,
)
from eventbridge_partner.observing import ClaimSettled, OutcomesDecided, RequestEnded
from eventbridge_partner.otel import OpenTelemetry
from eventbridge_partner.testing import (
    EVERY_FAULT,
    BlankResults,
    FailEntries,
    FailRequest,
    FakeEventBridge,
    LoseAnswer,
)
from tests.strategies import SOURCE

AT_ONCE = RetryPolicy(wait=wait_none(), throttle_wait=wait_none())
CANARY = "s3cr3t-canary"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def events(count: int) -> list[PartnerEvent]:
    return [PartnerEvent(SOURCE, "t", {"n": number, "c": CANARY}) for number in range(count)]


class Telemetry:
    """An observer, and the spans and metrics that it made."""

    def __init__(self, **settings: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.observer = OpenTelemetry(self.provider, MeterProvider([self.reader]), **settings)
        self.tracer = self.provider.get_tracer("tests")

    def spans(self, name: str) -> list[ReadableSpan]:
        return [one for one in self.exporter.get_finished_spans() if one.name == name]

    def points(self) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        data = self.reader.get_metrics_data()
        for resource in [] if data is None else data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    found[metric.name] = list(metric.data.data_points)
        return found


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def service() -> FakeEventBridge:
    return FakeEventBridge()


def in_threads(service: FakeEventBridge, telemetry: Telemetry, use: Callable[..., Any]) -> Any:
    with (
        service.serve() as server,
        PartnerEventsClient(
            service.region,
            endpoint_url=server.url,
            credentials=service.credentials,
            retry=AT_ONCE,
            observe=telemetry.observer,
        ) as client,
        telemetry.tracer.start_as_current_span("caller"),
    ):
        result = use(client)
        return list(result) if isinstance(result, Iterator) else result


def on_a_loop(service: FakeEventBridge, telemetry: Telemetry, use: Callable[..., Any]) -> Any:
    async def run(url: str) -> Any:
        async with AsyncPartnerEventsClient(
            service.region,
            endpoint_url=url,
            credentials=service.credentials,
            retry=AT_ONCE,
            observe=telemetry.observer,
        ) as client:
            with telemetry.tracer.start_as_current_span("caller"):
                result = use(client)
                if hasattr(result, "__aiter__"):
                    return [one async for one in result]
                return await result

    with service.serve() as server:
        return asyncio.run(run(server.url))


@pytest.fixture(params=[in_threads, on_a_loop], ids=["threads", "asyncio"])
def perform(request: pytest.FixtureRequest) -> Callable[..., Any]:
    found: Callable[..., Any] = request.param
    return found


def test_a_call_is_a_part_of_its_caller(
    perform: Any, telemetry: Telemetry, service: FakeEventBridge
) -> None:
    """A call's span is a child of its caller's, and requests are children of the call."""
    service.play(FailEntries("ThrottlingException", indexes=[0]))
    perform(service, telemetry, lambda client: client.put_events(events(20)))

    (caller,) = telemetry.spans("caller")
    (call,) = telemetry.spans("eventbridge_partner.put_events")
    requests = telemetry.spans("EventBridge.PutPartnerEvents")
    assert call.parent is not None and call.parent.span_id == caller.context.span_id
    assert call.kind is SpanKind.INTERNAL
    assert call.status.status_code is StatusCode.UNSET
    assert dict(call.attributes or {}) == {
        "cloud.region": service.region,
        "eventbridge_partner.events.accepted": 20,
        "eventbridge_partner.events.rejected": 0,
        "eventbridge_partner.events.exhausted": 0,
        "eventbridge_partner.events.unconfirmed": 0,
    }
    assert len(requests) == 2
    assert {one.parent and one.parent.span_id for one in requests} == {call.context.span_id}
    first = dict(requests[0].attributes or {})
    request_id = first.pop("aws.request_id")
    assert request_id
    assert first.pop("server.port")
    assert first == {
        "rpc.system.name": "aws-api",
        "rpc.method": "EventBridge/PutPartnerEvents",
        "rpc.system": "aws-api",
        "rpc.service": "EventBridge",
        "cloud.region": service.region,
        "server.address": "127.0.0.1",
        "messaging.system": "aws.eventbridge",
        "messaging.operation.name": "PutPartnerEvents",
        "messaging.operation.type": "send",
        "messaging.batch.message_count": 20,
        "http.response.status_code": 200,
        "error.type": "ThrottlingException",
        "eventbridge_partner.attempt": 1,
        "eventbridge_partner.entries.failed": 1,
    }
    assert requests[0].kind is SpanKind.CLIENT
    assert [one.status.status_code for one in requests] == [StatusCode.ERROR, StatusCode.UNSET]
    for one in (call, *requests):
        assert one.start_time and one.end_time and one.start_time <= one.end_time


def test_a_stream_links_to_where_it_began(
    perform: Any, telemetry: Telemetry, service: FakeEventBridge
) -> None:
    """A stream's requests link to its caller and have no parent, because it may run for days."""
    perform(service, telemetry, lambda client: client.stream_events(events(30)))
    (caller,) = telemetry.spans("caller")
    requests = telemetry.spans("EventBridge.PutPartnerEvents")
    assert requests
    for one in requests:
        assert one.parent is None
        assert [link.context.span_id for link in one.links] == [caller.context.span_id]


def test_a_publisher_links_to_where_events_were_published(
    perform: Any, telemetry: Telemetry, service: FakeEventBridge
) -> None:
    """A publisher's requests link to each span that published, and have no parent."""

    def use(client: Any) -> Any:
        if isinstance(client, PartnerEventsClient):
            with EventPublisher(client) as publisher:
                for event in events(3):
                    with telemetry.tracer.start_as_current_span("request"):
                        publisher.publish(event)
            return None
        return publish(client)

    async def publish(client: AsyncPartnerEventsClient) -> None:
        async with AsyncEventPublisher(client) as publisher:
            for event in events(3):
                with telemetry.tracer.start_as_current_span("request"):
                    await publisher.publish(event)

    perform(service, telemetry, use)
    places = [one.context for one in telemetry.spans("request")]
    requests = telemetry.spans("EventBridge.PutPartnerEvents")
    assert [link.context for one in requests for link in one.links] == places
    assert {one.parent for one in requests} == {None}


@pytest.mark.parametrize("fault", EVERY_FAULT.values(), ids=EVERY_FAULT)
def test_each_attempt_of_a_publisher_links_to_where_its_event_was_published(
    perform: Any, telemetry: Telemetry, service: FakeEventBridge, fault: Any
) -> None:
    """After any fault, each attempt has the same link, and an error code if it failed."""
    service.play(fault)

    async def publish(client: AsyncPartnerEventsClient) -> None:
        async with AsyncEventPublisher(client) as publisher:
            with telemetry.tracer.start_as_current_span("request"):
                await publisher.publish(events(1)[0])

    def use(client: Any) -> Any:
        if not isinstance(client, PartnerEventsClient):
            return publish(client)
        with (
            EventPublisher(client) as publisher,
            telemetry.tracer.start_as_current_span("request"),
        ):
            publisher.publish(events(1)[0])
        return None

    perform(service, telemetry, use)
    (place,) = telemetry.spans("request")
    requests = telemetry.spans("EventBridge.PutPartnerEvents")
    assert [(one.attributes or {})["eventbridge_partner.attempt"] for one in requests] == [
        *range(1, len(requests) + 1)
    ]
    for one in requests:
        assert one.parent is None
        assert [link.context.span_id for link in one.links] == [place.context.span_id]
        is_error = one.status.status_code is StatusCode.ERROR
        assert is_error is ("error.type" in (one.attributes or {}))
    assert telemetry.spans("eventbridge_partner.put_events") == []
    everything = [one.to_json() for one in telemetry.exporter.get_finished_spans()]
    assert CANARY not in json.dumps(everything) + repr(telemetry.points())


def test_operations_on_sources(
    perform: Any, telemetry: Telemetry, service: FakeEventBridge
) -> None:
    """The span of a source operation is a child of its caller's."""
    with pytest.raises(ResourceNotFoundError):
        perform(service, telemetry, lambda client: client.sources.describe(SOURCE))
    (caller,) = telemetry.spans("caller")
    (span,) = telemetry.spans("EventBridge.DescribePartnerEventSource")
    assert span.parent is not None and span.parent.span_id == caller.context.span_id
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "ResourceNotFoundException"


FAULTS: dict[str, tuple[Any, list[tuple[str | None, int | None]], bool]] = {
    "none": (None, [(None, 200)], True),
    "an entry is refused": (
        FailEntries("MalformedDetail", indexes=[0], times=None),
        [("MalformedDetail", 200)],
        False,
    ),
    "an entry is throttled once": (
        FailEntries("ThrottlingException", indexes=[0]),
        [("ThrottlingException", 200), (None, 200)],
        True,
    ),
    "an internal failure of an entry, once": (
        FailEntries("InternalFailure", indexes=[0]),
        [("InternalFailure", 200), (None, 200)],
        True,
    ),
    "the request is refused": (
        FailRequest("AccessDeniedException", 400, message=CANARY, times=None),
        [("AccessDeniedException", 400)],
        False,
    ),
    "the request is throttled once": (
        FailRequest("ThrottlingException", 400, message=CANARY),
        [("ThrottlingException", 400), (None, 200)],
        True,
    ),
    "the service fails once": (
        FailRequest("InternalFailure", 500, message=CANARY),
        [("InternalFailure", 500), (None, 200)],
        True,
    ),
    "an answer is lost": (LoseAnswer(), [("TransportError", None), (None, 200)], True),
    "a result says nothing": (
        BlankResults([0]),
        [("UnreadableAnswerError", 200), (None, 200)],
        True,
    ),
    "a code that is no code": (
        FailRequest(f"{{'c': '{CANARY}'}}", 400, times=None),
        [("HTTP 400", 400)],
        False,
    ),
}


@pytest.mark.parametrize(("fault", "requests", "is_accepted"), FAULTS.values(), ids=FAULTS)
def test_status_and_error_of_each_failure(
    perform: Any,
    telemetry: Telemetry,
    service: FakeEventBridge,
    fault: Any,
    requests: list[tuple[str | None, int | None]],
    is_accepted: bool,
) -> None:
    """A request in error names its code; a call is in error if an event was not accepted."""
    if fault is not None:
        service.play(fault)
    perform(service, telemetry, lambda client: client.put_events(events(1)))

    spans = telemetry.spans("EventBridge.PutPartnerEvents")
    told = [(dict(one.attributes or {}), one.status.status_code) for one in spans]
    first = told[: len(requests)]
    assert [
        (attributes.get("error.type"), attributes.get("http.response.status_code"))
        for attributes, _ in first
    ] == requests
    for attributes, status in told:
        assert (status is StatusCode.ERROR) is ("error.type" in attributes)
    (call,) = telemetry.spans("eventbridge_partner.put_events")
    assert (call.status.status_code is StatusCode.ERROR) is not is_accepted
    everything = [one.to_json() for one in telemetry.exporter.get_finished_spans()]
    assert CANARY not in json.dumps(everything) + repr(telemetry.points())


def test_metrics(perform: Any, telemetry: Telemetry, service: FakeEventBridge) -> None:
    """Metrics have durations and entries of requests, events by outcome, and throttled requests."""
    service.play(FailEntries("ThrottlingException", indexes=[0]))
    perform(service, telemetry, lambda client: client.put_events(events(20)))
    points = telemetry.points()
    sent = {
        point.attributes.get("error.type"): point.value
        for point in points["messaging.client.sent.messages"]
    }
    assert sent == {None: 20, "ThrottlingException": 1}
    assert sum(point.count for point in points["messaging.client.operation.duration"]) == 2
    (decided,) = points["eventbridge_partner.events"]
    assert (decided.value, decided.attributes["eventbridge_partner.outcome"]) == (20, "Accepted")
    (throttled,) = points["eventbridge_partner.throttled"]
    assert throttled.value == 1


def test_a_claim_is_a_trace_of_its_own(telemetry: Telemetry) -> None:
    """A claim has a trace of its own, which links to where its rows were added."""
    with telemetry.tracer.start_as_current_span("caller"):
        telemetry.observer(
            ClaimSettled(
                claimed=3, gone=1, dead=0, later=1, lost=1,
                links=[PARENT, "nonsense"], started=100.0, seconds=0.5,
            )
        )  # fmt: skip
    (span,) = telemetry.spans("eventbridge_partner.relay")
    assert span.parent is None
    assert [f"{link.context.span_id:016x}" for link in span.links] == ["b7ad6b7169203331"]
    assert span.end_time is not None and span.start_time is not None
    assert span.end_time - span.start_time == 500_000_000
    (lost,) = telemetry.points()["eventbridge_partner.outbox.lost"]
    assert lost.value == 1


def test_sources_and_codes_make_few_series(telemetry: Telemetry) -> None:
    """Ten thousand sources and codes in three Regions make at most 200 series."""
    for number in range(10_000):
        region = ("us-east-1", "eu-west-1", "ap-southeast-2")[number % 3]
        telemetry.observer(
            RequestEnded(
                delivery=None, operation="PutPartnerEvents", region=region,
                endpoint_url="https://events.example", attempt=1, entries=1, size=1,
                accepted=0, failed=1, codes={f"Code{number}": 1}, status=200, request_id="x",
                source=f"aws.partner/example.com/{number}", links=(), started=1.0, seconds=0.1,
            )
        )  # fmt: skip
        telemetry.observer(
            OutcomesDecided(
                delivery=None, kind="publisher", region=region,
                outcomes={("Rejected", f"Code{number}"): 1},
            )
        )  # fmt: skip
    assert sum(map(len, telemetry.points().values())) <= 200


def test_sources_are_named_where_that_is_wanted(service: FakeEventBridge) -> None:
    """With `sources=True`, spans name the source, and metrics do not."""
    telemetry = Telemetry(sources=True, links=False)
    in_threads(service, telemetry, lambda client: client.put_events(events(1)))
    (span,) = telemetry.spans("EventBridge.PutPartnerEvents")
    assert (span.attributes or {})["messaging.destination.name"] == SOURCE
    assert SOURCE not in repr(telemetry.points())
    assert telemetry.observer.link is None


def test_gauges(service: FakeEventBridge, telemetry: Telemetry, caplog: Any) -> None:
    """Gauges ask what is watched; one that raises does not affect the others."""

    class Outbox:
        waiting, dead, oldest_age = 3, 2, 1.5

        def stats(self) -> Any:
            return self

    class Broken:
        def stats(self) -> Any:
            raise ZeroDivisionError(CANARY)

    client = PartnerEventsClient(
        service.region, credentials=service.credentials, transport=service.transport()
    )
    outbox, broken = Outbox(), Broken()
    telemetry.observer.watch_outbox(outbox)
    telemetry.observer.watch_outbox(broken)
    with EventPublisher(client) as publisher:
        telemetry.observer.watch_publisher(publisher)
        points = telemetry.points()
    assert {
        name.removeprefix("eventbridge_partner."): [point.value for point in found]
        for name, found in points.items()
    } == {
        "publisher.buffered": [0],
        "outbox.waiting": [3],
        "outbox.dead": [2],
        "outbox.oldest_age": [1.5],
    }
    assert CANARY not in caplog.text
