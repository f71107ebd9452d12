"""Runs every row of the failure table and checks its spans: parents, links and status."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from eventbridge_partner import (
    AsyncPartnerEventsClient,
    Exhausted,
    PartnerEventsClient,
    Rejected,
    Unconfirmed,
)
from eventbridge_partner.otel import OpenTelemetry
from tests.docs import test_delivery_semantics as table
from tests.docs.test_delivery_semantics import FAULTS, STORIES, Make, rows, the_outcome

CALL, REQUEST = "eventbridge_partner.put_events", "EventBridge.PutPartnerEvents"
FAILURES = re.compile("`(Rejected|Exhausted|Unconfirmed|KeyboardInterrupt)`")
CANARY = "s3cr3t-canary"


class Trace:
    """Collects the spans and metrics of all clients of a row."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        observe = OpenTelemetry(provider, MeterProvider([self.reader]))
        for kind in (PartnerEventsClient, AsyncPartnerEventsClient):
            patch.setattr(table, kind.__name__, functools.partial(kind, observe=observe))
        patch.setattr(table, "SOURCE", f"aws.partner/example.com/{CANARY}")
        self.tracer = provider.get_tracer("tests")

    def of(self, name: str) -> list[ReadableSpan]:
        """Return the spans with a name."""
        return [one for one in self.exporter.get_finished_spans() if one.name == name]

    def check(self, *, has_failed: bool) -> None:
        """Check what must hold for the spans of every row."""
        (caller,) = self.of("caller")
        calls = {one.context.span_id: one for one in self.of(CALL)}
        for call in calls.values():
            assert call.parent is not None and call.parent.span_id == caller.context.span_id
            assert call.kind is SpanKind.INTERNAL and not call.links
            assert (call.status.status_code is StatusCode.ERROR) is bool(undelivered(call))
        assert any(map(undelivered, calls.values())) is has_failed
        for request in self.of(REQUEST):
            attributes = dict(request.attributes or {})
            if request.parent is None or request.parent.span_id not in calls:
                # A raw call has no span of its own, so its request belongs to its caller.
                assert request.parent is not None
                assert request.parent.span_id == caller.context.span_id
            assert request.kind is SpanKind.CLIENT and not request.links
            is_error = request.status.status_code is StatusCode.ERROR
            assert is_error is ("error.type" in attributes)
            if attributes["eventbridge_partner.entries.failed"]:
                assert is_error
            if is_error:
                assert request.status.description is None
        told = json.dumps([one.to_json() for one in self.exporter.get_finished_spans()])
        assert CANARY not in told + repr(self.reader.get_metrics_data())


def undelivered(call: ReadableSpan) -> int:
    """Return how many events of a call were not accepted, as its span says."""
    attributes = dict(call.attributes or {})
    kinds = ("rejected", "exhausted", "unconfirmed")
    return sum(int(str(attributes[f"eventbridge_partner.events.{kind}"])) for kind in kinds)


@pytest.fixture
def trace(monkeypatch: pytest.MonkeyPatch) -> Trace:
    return Trace(monkeypatch)


def faults() -> Iterator[Any]:
    for what, (_, seen, _) in rows().items():
        for beginning, made in FAULTS.items():
            if what.startswith(beginning):
                for code, make in made(what):
                    yield pytest.param(seen, code, make, id=f"{beginning}-{code}")


@pytest.mark.parametrize(("seen", "code", "make"), list(faults()))
def test_a_fault_is_traced(trace: Trace, seen: str, code: str, make: Make) -> None:
    """Each attempt has a span, and the last one names the code of an event that failed."""
    with trace.tracer.start_as_current_span("caller"):
        outcome = the_outcome(make(times=None))
    requests = trace.of(REQUEST)
    assert [(one.attributes or {})["eventbridge_partner.attempt"] for one in requests] == [
        *range(1, outcome.attempts + 1)
    ]
    if isinstance(outcome, (Rejected, Exhausted)):
        assert (requests[-1].attributes or {})["error.type"] == outcome.code == code
    elif isinstance(outcome, Unconfirmed):
        assert requests[-1].status.status_code is StatusCode.ERROR
    trace.check(has_failed=FAILURES.match(seen) is not None)


STORIES_HERE = [name for name in STORIES if "forks" not in name]


@pytest.mark.slow
@pytest.mark.parametrize("beginning", STORIES_HERE)
def test_a_story_is_traced(trace: Trace, beginning: str) -> None:
    """However a call ends, its span ends too, with the right status."""
    (seen,) = (cells[1] for what, cells in rows().items() if what.startswith(beginning))
    with trace.tracer.start_as_current_span("caller"):
        STORIES[beginning]()
    trace.check(has_failed=FAILURES.match(seen) is not None)
