"""
OpenTelemetry spans and metrics, made from observations. Needs the extra `otel`.

    from eventbridge_partner.otel import OpenTelemetry

    client = PartnerEventsClient("us-east-1", observe=OpenTelemetry())

A call of `put_events` has a span, a child of the caller's span, and each of its requests has a
child of that. A request of a publisher or stream has no single caller: its span has no parent, and
links to the spans that were current when its events were published. No attribute holds a payload, a
credential or a message of the service.
"""

from __future__ import annotations

import functools
import re
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol, TypeVar
from urllib.parse import urlsplit

import attrs

from eventbridge_partner import _version, error_codes
from eventbridge_partner._bugs import log_bug
from eventbridge_partner.errors import ConfigurationError
from eventbridge_partner.observing import (
    ClaimSettled,
    DeliveryBegan,
    DeliveryEnded,
    Observation,
    OutcomesDecided,
    RequestEnded,
)

try:
    from opentelemetry import metrics, trace
    from opentelemetry.context import Context
    from opentelemetry.metrics import CallbackOptions
    from opentelemetry.metrics import Observation as Measurement
except ImportError as _missing:
    raise ConfigurationError(
        "OpenTelemetry is not installed: pip install 'eventbridge-partner[otel]'"
    ) from _missing

# The semantic conventions' names, as in their pages of 1.37: the Python package of them differs.
_SYSTEM: Final = "aws.eventbridge"
_SEND: Final = "PutPartnerEvents"
_OTHER: Final = "_OTHER"
_OUTCOMES: Final = ("Accepted", "Rejected", "Exhausted", "Unconfirmed")

_KNOWN_CODES: Final = (
    error_codes.PERMANENT
    | error_codes.TRANSIENT
    | error_codes.THROTTLING
    | {
        "BufferFull", "Cancelled", "ConfigurationError", "CredentialsError", "DeadlineExceeded",
        "EntryTooLarge", "ExpiredToken", "ExpiredTokenException", "InvalidEvent",
        "PublisherClosed", "RequestExpired", "RequestTimeTooSkewed", "ResourceNotFoundException",
        "SourceGone", "SourceParked", "SourcePending", "TlsError", "TransportError",
        "UnknownRegion", "UnreadableAnswerError", "ValidationException",
    }
)  # fmt: skip

_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9 _.:-]{0,63}")
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")

T = TypeVar("T")
Attributes = dict[str, str | int | float | bool]


class PublisherFigures(Protocol):
    """The figures of a publisher that the gauges read; `PublisherStats` has them."""

    @property
    def buffered(self) -> int:
        """Events that wait."""
        ...


class WatchedPublisher(Protocol):
    """A publisher, of threads or of asyncio."""

    def stats(self) -> PublisherFigures:
        """Return its figures."""
        ...


class OutboxFigures(Protocol):
    """The figures of an outbox that the gauges read; `OutboxStats` has them."""

    @property
    def waiting(self) -> int:
        """Events that wait."""
        ...

    @property
    def dead(self) -> int:
        """Dead letters."""
        ...

    @property
    def oldest_age(self) -> float | None:
        """Seconds since the oldest was added."""
        ...


class WatchedOutbox(Protocol):
    """An outbox."""

    def stats(self) -> OutboxFigures:
        """Return its figures."""
        ...


class OpenTelemetry:
    """
    An observer that makes spans and metrics. One serves any number of clients and relays.

    Args:
        tracer_provider: Makes the spans; None for the global one.
        meter_provider: Makes the metrics; None for the global one.
        links: Whether requests of publishers and streams link to the spans that were current
            when their events were published.
        sources: Whether a request's span names the partner event source, if all its entries have
            the same. Metrics never name it.
    """

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        *,
        links: bool = True,
        sources: bool = False,
    ) -> None:
        name, version = "eventbridge_partner", _version.__version__
        self._tracer = trace.get_tracer(name, version, tracer_provider)
        meter = metrics.get_meter(name, version, meter_provider)
        self._sources = sources
        self.link: Callable[[], str | None] | None = _current if links else None
        self._calls: dict[int, trace.Span] = {}
        self._publishers: weakref.WeakSet[WatchedPublisher] = weakref.WeakSet()
        self._outboxes: weakref.WeakSet[WatchedOutbox] = weakref.WeakSet()
        self._duration = meter.create_histogram(
            "messaging.client.operation.duration", "s", "How long requests took"
        )
        self._sent = meter.create_counter(
            "messaging.client.sent.messages", "{message}", "Entries sent in requests"
        )
        self._events = meter.create_counter(
            "eventbridge_partner.events", "{event}", "Events by their final outcome"
        )
        self._throttled = meter.create_counter(
            "eventbridge_partner.throttled", "{request}", "Requests that were throttled"
        )
        self._lost = meter.create_counter(
            "eventbridge_partner.outbox.lost", "{event}", "Rows that two relays claimed"
        )
        gauges: dict[tuple[str, str], Callable[[CallbackOptions], Iterator[Measurement]]] = {
            ("eventbridge_partner.publisher.buffered", "{event}"): self._buffered,
            ("eventbridge_partner.outbox.waiting", "{event}"): self._waiting,
            ("eventbridge_partner.outbox.oldest_age", "s"): self._oldest_age,
            ("eventbridge_partner.outbox.dead", "{event}"): self._dead,
        }
        for (gauge, unit), callback in gauges.items():
            meter.create_observable_gauge(gauge, [callback], unit)

    def watch_publisher(self, publisher: WatchedPublisher) -> None:
        """Let the gauges report a publisher's buffered events as long as the publisher exists."""
        self._publishers.add(publisher)

    def watch_outbox(self, outbox: WatchedOutbox) -> None:
        """Let the gauges report an outbox's events; each reading is a query of its database."""
        self._outboxes.add(outbox)

    def __call__(self, observation: Observation) -> None:
        """Turn an observation into spans and metrics."""
        match observation:
            case RequestEnded():
                self._request_ended(observation)
            case OutcomesDecided():
                self._decided(observation)
            case DeliveryBegan(kind="put_events"):
                self._calls[observation.delivery] = self._tracer.start_span(
                    "eventbridge_partner.put_events",
                    kind=trace.SpanKind.INTERNAL,
                    attributes={"cloud.region": observation.region},
                    start_time=_nanoseconds(observation.started),
                )
            case DeliveryEnded():
                self._call_ended(observation)
            case ClaimSettled():
                self._claim_settled(observation)
            case _:
                pass

    # ------------------------------------------------------------ spans

    def _request_ended(self, request: RequestEnded) -> None:
        code = request.error_code
        place = _place(request.operation, request.region, request.endpoint_url)
        attributes = place.attributes.copy()
        attributes["eventbridge_partner.attempt"] = request.attempt
        if request.operation == _SEND:
            attributes["messaging.batch.message_count"] = request.entries
            attributes["eventbridge_partner.entries.failed"] = request.failed
        if request.request_id is not None:
            attributes["aws.request_id"] = request.request_id
        if request.status is not None:
            attributes["http.response.status_code"] = request.status
        if code is not None:
            attributes["error.type"] = code if _CODE.fullmatch(code) else _OTHER
        if self._sources and request.source is not None:
            attributes["messaging.destination.name"] = request.source
        span = self._tracer.start_span(
            place.span,
            context=self._context(request),
            kind=trace.SpanKind.CLIENT,
            attributes=attributes,
            links=_links(request.links),
            start_time=_nanoseconds(request.started),
        )
        if code is not None:
            span.set_status(trace.StatusCode.ERROR)
        span.end(_nanoseconds(request.started + request.seconds))
        self._measure(request, place.labels)

    def _context(self, request: RequestEnded) -> Context | None:
        """Return the parent of a request's span; None for the current context."""
        if request.delivery is None:
            return None
        call = self._calls.get(request.delivery)
        return Context() if call is None else trace.set_span_in_context(call, Context())

    def _call_ended(self, call: DeliveryEnded) -> None:
        span = self._calls.pop(call.delivery, None)
        if span is None:
            return
        counts: Counter[str] = Counter()
        for (outcome, _), count in call.outcomes.items():
            counts[outcome] += count
        for outcome in _OUTCOMES:
            span.set_attribute(f"eventbridge_partner.events.{outcome.lower()}", counts[outcome])
        if counts.total() > counts["Accepted"]:
            span.set_status(trace.StatusCode.ERROR)
        span.end(_nanoseconds(call.started + call.seconds))

    def _claim_settled(self, claim: ClaimSettled) -> None:
        span = self._tracer.start_span(
            "eventbridge_partner.relay",
            context=Context(),
            kind=trace.SpanKind.INTERNAL,
            attributes={
                "eventbridge_partner.outbox.claimed": claim.claimed,
                "eventbridge_partner.outbox.accepted": claim.gone,
                "eventbridge_partner.outbox.dead": claim.dead,
                "eventbridge_partner.outbox.later": claim.later,
                "eventbridge_partner.outbox.lost": claim.lost,
            },
            links=_links(claim.links),
            start_time=_nanoseconds(claim.started),
        )
        if claim.dead or claim.later or claim.lost:
            span.set_status(trace.StatusCode.ERROR)
        span.end(_nanoseconds(claim.started + claim.seconds))
        if claim.lost:
            self._lost.add(claim.lost)

    # ------------------------------------------------------------ metrics

    def _measure(self, request: RequestEnded, labels: Attributes) -> None:
        code = request.error_code
        failed = labels if code is None else {**labels, "error.type": _label(code)}
        self._duration.record(request.seconds, failed)
        if request.operation == _SEND:
            if request.accepted:
                self._sent.add(request.accepted, labels)
            for one, count in request.codes.items():
                if request.failed:
                    self._sent.add(count, {**labels, "error.type": _label(one)})
        if not error_codes.THROTTLING.isdisjoint(request.codes):
            self._throttled.add(1, labels)

    def _decided(self, decided: OutcomesDecided) -> None:
        region: Attributes = {} if decided.region is None else {"cloud.region": decided.region}
        for (outcome, code), count in decided.outcomes.items():
            labels: Attributes = {**region, "eventbridge_partner.outcome": outcome}
            if code:
                labels["eventbridge_partner.code"] = _label(code)
            self._events.add(count, labels)

    def _buffered(self, _: CallbackOptions) -> Iterator[Measurement]:
        figures = _figures(publisher.stats for publisher in tuple(self._publishers))
        if figures:
            yield Measurement(sum(one.buffered for one in figures))

    def _waiting(self, _: CallbackOptions) -> Iterator[Measurement]:
        figures = _figures(outbox.stats for outbox in tuple(self._outboxes))
        if figures:
            yield Measurement(sum(one.waiting for one in figures))

    def _oldest_age(self, _: CallbackOptions) -> Iterator[Measurement]:
        figures = _figures(outbox.stats for outbox in tuple(self._outboxes))
        if figures:
            yield Measurement(max(one.oldest_age or 0.0 for one in figures))

    def _dead(self, _: CallbackOptions) -> Iterator[Measurement]:
        figures = _figures(outbox.stats for outbox in tuple(self._outboxes))
        if figures:
            yield Measurement(sum(one.dead for one in figures))


def _figures(asked: Iterable[Callable[[], T]]) -> list[T]:
    found: list[T] = []
    for ask in asked:
        try:
            found.append(ask())
        except Exception as error:  # noqa: BLE001  # such as an unreachable database
            log_bug("the figures of an outbox", error)
    return found


@attrs.frozen
class _Place:
    """
    What all requests of one operation to one endpoint have in common.

    Attributes:
        span: The name of their spans.
        attributes: The attributes of their spans. To be copied.
        labels: The labels of their metrics.
    """

    span: str
    attributes: Attributes
    labels: Attributes


@functools.lru_cache(maxsize=1000)
def _place(operation: str, region: str, endpoint_url: str) -> _Place:
    endpoint = urlsplit(endpoint_url)
    labels: Attributes = {
        "cloud.region": region,
        "messaging.system": _SYSTEM,
        "messaging.operation.name": operation,
    }
    if operation == _SEND:
        labels["messaging.operation.type"] = "send"
    attributes: Attributes = {
        "rpc.system.name": "aws-api",
        "rpc.method": f"EventBridge/{operation}",
        "rpc.system": "aws-api",
        "rpc.service": "EventBridge",
        "cloud.region": region,
        "server.address": endpoint.hostname or "",
        "server.port": endpoint.port or (443 if endpoint.scheme == "https" else 80),
    }
    if operation == _SEND:
        attributes |= labels
    return _Place(f"EventBridge.{operation}", attributes, labels)


def _label(code: str) -> str:
    """Return a code as a metric's label, where each new value starts a series."""
    return code if code in _KNOWN_CODES else _OTHER


class _Origin(str):
    """The `traceparent` of a span, which also holds a link to it: parsing the text is slower."""

    __slots__ = ("link",)
    link: trace.Link


def _current() -> _Origin | None:
    """Return the `traceparent` of the current span; None without one."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    origin = _Origin(f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}")
    origin.link = trace.Link(context)
    return origin


def _links(traceparents: Sequence[str]) -> list[trace.Link]:
    """Return the links of `traceparent` texts, leaving out malformed ones."""
    links: list[trace.Link] = []
    for one in traceparents:
        if isinstance(one, _Origin):
            links.append(one.link)
        elif (match := _TRACEPARENT.match(one)) is not None:
            trace_id, span_id, flags = match.groups()
            context = trace.SpanContext(
                int(trace_id, 16), int(span_id, 16), True, trace.TraceFlags(int(flags, 16))
            )
            links.append(trace.Link(context))
    return links


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)


__all__ = ["OpenTelemetry"]
