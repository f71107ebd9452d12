"""
What an observer costs for each request in CPU time: none, an idle one, and OpenTelemetry.

    python -m benchmarks.telemetry [--quick]

The SDK of OpenTelemetry has a sampler that keeps every span, a processor that drops it, and a
reader of metrics, because exporting them is not our cost. Cases take turns, and each shows the
least of its rounds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import Tracer

from benchmarks.cases import BATCH, CASES
from benchmarks.pieces import AnsweredAtOnce
from eventbridge_partner import PartnerEvent, PartnerEventsClient, StaticCredentials
from eventbridge_partner.client._base import line_of
from eventbridge_partner.observing import Observation, Observer, RequestEnded
from eventbridge_partner.otel import OpenTelemetry

REQUESTS = 200
ROUNDS = 40


def _request(links: Sequence[str]) -> RequestEnded:
    return RequestEnded(
        delivery=None,
        operation="PutPartnerEvents",
        region="us-east-1",
        endpoint_url="https://events.us-east-1.amazonaws.com/",
        attempt=1,
        entries=BATCH,
        size=10_000,
        accepted=BATCH,
        failed=0,
        codes={},
        status=200,
        request_id="7d0b1c35-8a3f-4a46-8a55-1c0e6a4d2c11",
        source=None,
        links=links,
        started=time.time(),
        seconds=0.02,
    )


def _tracers() -> TracerProvider:
    tracers = TracerProvider()
    tracers.add_span_processor(SpanProcessor())
    return tracers


def telemetry() -> OpenTelemetry:
    """Return an observer whose spans and metrics go nowhere."""
    return OpenTelemetry(_tracers(), MeterProvider([InMemoryMetricReader()]))


def observed(observer: OpenTelemetry, links: int) -> Callable[[], None]:
    """Return a function that passes requests to an observer; each event has its own span."""
    tracer = _tracers().get_tracer("benchmark")
    requests = [
        _request([_published(observer, tracer) for _ in range(links)]) for _ in range(REQUESTS)
    ]

    def work() -> None:
        for request in requests:
            observer(request)

    return work


def _published(observer: OpenTelemetry, tracer: Tracer) -> str:
    with tracer.start_as_current_span("publish"):
        link = observer.link and observer.link()
    if link is None:
        raise AssertionError
    return link


def linked(observer: OpenTelemetry) -> Callable[[], None]:
    """Return a function that asks for the link of each event, as a publisher does."""
    link = observer.link
    tracer = _tracers().get_tracer("benchmark")

    def work() -> None:
        with tracer.start_as_current_span("publish"):
            for _ in range(REQUESTS * BATCH):
                if link is None or link() is None:
                    raise AssertionError

    return work


def off() -> Callable[[], None]:
    """Return what a line does for a request without an observer: it checks twice for one."""
    line = line_of(_client(None))

    def work() -> None:
        for _ in range(REQUESTS):
            if line.witness is not None:
                raise AssertionError
            if line.witness is not None:
                raise AssertionError

    return work


def _client(observer: Observer | None) -> PartnerEventsClient:
    return PartnerEventsClient(
        "us-east-1",
        endpoint_url="http://localhost:1",
        credentials=StaticCredentials("AKIDEXAMPLE", "benchmark"),
        transport=AnsweredAtOnce(),
        observe=observer,
    )


def called(observer: Observer | None) -> Callable[[], None]:
    """Return a function that sends requests that are answered at once."""
    client = _client(observer)
    events = [PartnerEvent(*value) for value in CASES["text-500"].values(BATCH * REQUESTS)]

    def work() -> None:
        client.put_events(events).raise_for_undelivered()

    return work


def nothing(_: Observation) -> None:
    """Observe without doing anything."""


WORKS: dict[str, Callable[[], Callable[[], None]]] = {
    "no observer: the checks alone": off,
    "a whole request, no observer": lambda: called(None),
    "a whole request, an observer that does nothing": lambda: called(nothing),
    "a whole request, OpenTelemetry": lambda: called(telemetry()),
    "OpenTelemetry alone": lambda: observed(telemetry(), 0),
    "OpenTelemetry alone, 20 links": lambda: observed(telemetry(), BATCH),
    "publishing in a span, 20 events": lambda: linked(telemetry()),
}


def measure(rounds: int) -> dict[str, float]:
    """Return the least CPU time of each case, in µs a request."""
    works = {name: make() for name, make in WORKS.items()}
    least = dict.fromkeys(works, float("inf"))
    for _ in range(rounds):
        for name, work in works.items():
            begun = time.process_time()
            work()
            least[name] = min(least[name], time.process_time() - begun)
    return {name: seconds / REQUESTS * 1e6 for name, seconds in least.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure what an observer costs.")
    parser.add_argument("--quick", action="store_true", help="two rounds: does it run at all?")
    rounds = 2 if parser.parse_args(arguments).quick else ROUNDS
    for name, micros in measure(rounds).items():
        print(f"{name:50} {micros:8.2f} µs a request")


if __name__ == "__main__":
    main()
