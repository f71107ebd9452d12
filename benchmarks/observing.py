"""
What observation costs: µs of CPU for a request of 20 events, by the observer that is given.

    python -m benchmarks.observing [--rounds 15]

"off" is what a request takes without an observer. The others are what the client does for one
beside its request: an observer that does nothing, and `OpenTelemetry` with the SDK's spans and
two metrics, without links and with 20 different ones. Spans are recorded and dropped, for what an
exporter takes is its own. The least of all rounds counts.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator, Sequence

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from eventbridge_partner import PartnerEvent
from eventbridge_partner._http import HttpResponse
from eventbridge_partner.delivery.actions import DeliverySettings, Send
from eventbridge_partner.delivery.entries import Batch
from eventbridge_partner.delivery.machine import Delivery
from eventbridge_partner.line._witness import Witness
from eventbridge_partner.observing import Observer
from eventbridge_partner.otel import OpenTelemetry
from eventbridge_partner.retry import RetryQuota
from eventbridge_partner.wire.calls import AllAccepted, put_partner_events

REQUESTS = 2_000
SOURCE = "aws.partner/example.com/acme"


class _Origins:
    """Gives each request other links than the one before."""

    delivery = None

    def __init__(self, count: int) -> None:
        self._count = count
        self._numbers = itertools.count(1)

    def links_of(self, _: Batch) -> Sequence[str]:
        return [f"00-{next(self._numbers):032x}-b7ad6b7169203331-01" for _ in range(self._count)]


def _batch() -> Batch:
    delivery = Delivery(DeliverySettings(), RetryQuota(None))
    delivery.take_all([PartnerEvent(SOURCE, "ticket.created", '{"id":1}') for _ in range(20)])
    action = delivery.next_action(0.0)
    assert isinstance(action, Send)
    return action.batch


def _off() -> Callable[[], None]:
    witness: Witness | None = None

    def request() -> None:
        # The three places at which a line asks.
        for _ in range(REQUESTS):
            if witness is not None:
                raise AssertionError
            if witness is not None:
                raise AssertionError
            if witness is not None:
                raise AssertionError

    return request


def _on(observer: Observer, links: int = 0) -> Callable[[], None]:
    witness = Witness(observer, "us-east-1", "https://events.us-east-1.amazonaws.com/")
    batch, origins = _batch(), _Origins(links) if links else None
    call = put_partner_events(batch.events)
    answer = HttpResponse(200, {"x-amzn-requestid": "e8f5c1f0-0f1c-4c66-b1a6-5f0e3c0d2a11"}, b"")
    results = AllAccepted(["7bf73129-1428-4cd3-a780-000000000000"] * 20)

    def request() -> None:
        for _ in range(REQUESTS):
            departure = witness.batch_departs(batch, origins)
            witness.request_ended(departure, call, 1, answer, results, batch)

    return request


def _telemetry() -> OpenTelemetry:
    return OpenTelemetry(TracerProvider(), MeterProvider([InMemoryMetricReader()]))


def contenders() -> Iterator[tuple[str, float | None, Callable[[], None]]]:
    """Yield the name, the bound in µs if there is one, and a function of 2,000 requests."""
    yield "off", 0.1, _off()
    yield "does nothing", None, _on(lambda _: None)
    yield "OpenTelemetry", 80.0, _on(_telemetry())
    yield "OpenTelemetry, 20 links", 80.0, _on(_telemetry(), links=20)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.observing", description="Measure what observation costs."
    )
    parser.add_argument("--rounds", type=int, default=15, help="of 2,000 requests (15)")
    rounds = parser.parse_args().rounds
    least: dict[str, float] = {}
    allowed: dict[str, float | None] = {}
    made = list(contenders())
    for _ in range(rounds):
        for name, bound, requests in made:
            since = time.process_time()
            requests()
            took = (time.process_time() - since) / REQUESTS * 1e6
            least[name], allowed[name] = min(took, least.get(name, took)), bound
    print(f"{'observer':<26}{'µs a request':>14}{'at most':>10}")
    for name, took in least.items():
        bound = allowed[name]
        verdict = "" if bound is None else f"{bound:>10.1f}  {'pass' if took <= bound else 'MISS'}"
        print(f"{name:<26}{took:>14.2f}{verdict}")


if __name__ == "__main__":
    main()
