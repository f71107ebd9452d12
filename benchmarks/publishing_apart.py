"""
Whether an outage affects other events: one Region is down, and the look-up of one source hangs.

    python -m benchmarks.publishing_apart [--events 100000] [--rate 5000] [--rounds 3]

Events of 200 sources in four Regions are published at a steady rate, through a router with a guard
in front of each Region, from threads and on asyncio. Rounds with and without the outage take turns.
What counts is the time from `publish` to the receipt's outcome, for events of neither that Region
nor that source: its p99 with the outage must be at most 1.5 times the p99 without it. The ledger of
each round must balance, and `close(5)` must return in time. Otherwise it exits with status 1.

The service is a transport in the same process. It answers after 5 ms; a Region that is down accepts
no connections, and the look-up that hangs is never answered. Before a round, one event of each
other source is published, so that the guards know them.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import attrs
from botocore.credentials import Credentials

from benchmarks.service import answer_bytes
from eventbridge_partner import (
    AsyncEventPublisher,
    AsyncPartnerEventsClient,
    AsyncRegionRouter,
    AsyncSourceGuard,
    DeliveryReport,
    EventPublisher,
    HttpRequest,
    HttpResponse,
    PartnerEvent,
    PartnerEventsClient,
    PublisherStats,
    Receipt,
    RegionRouter,
    SourceGuard,
    Timeouts,
    TransportError,
)

REGIONS = ("us-east-1", "us-west-2", "eu-west-1", "ap-south-1")
SOURCES = [f"aws.partner/example.com/customer-{number:03}" for number in range(200)]
REGION_OF = {name: REGIONS[number % len(REGIONS)] for number, name in enumerate(SOURCES)}
DOWN = REGIONS[-1]
HANGS = SOURCES[0]

MOST_RATIO = 1.5
CLOSE_SECONDS = 5.0

_DELAY = 0.005
_DETAIL = '{"id": 700001, "text": "' + "x" * 470 + '"}'
_LATE_SECONDS = 0.5
"""The delay of a busy machine that is allowed beyond the time that `close` was given."""

_ACCOUNTS = HttpResponse(
    200, {}, b'{"PartnerEventSourceAccounts":[{"Account":"123456789012","State":"ACTIVE"}]}'
)
_ANSWERS = [
    HttpResponse(200, {}, answer_bytes(count).partition(b"\r\n\r\n")[2]) for count in range(21)
]


def is_elsewhere(source: str) -> bool:
    """Tell whether a source is affected neither by the outage nor by the look-up that hangs."""
    return source != HANGS and REGION_OF[source] != DOWN


class _Service:
    """The service for both transports: how long an answer takes, and what it is."""

    def __init__(self, *, has_outage: bool) -> None:
        self._has_outage = has_outage
        self._lock = threading.Lock()
        self.accepted = 0

    def seconds(self, request: HttpRequest, timeouts: Timeouts) -> float:
        """Return how many seconds to wait before calling `answer`."""
        if self._has_outage:
            if self._is_down(request):
                return timeouts.connect
            if self._hangs(request):
                return timeouts.read
        return _DELAY

    def answer(self, request: HttpRequest) -> HttpResponse:
        """Return the answer, or raise the error that takes its place."""
        if self._has_outage and (self._is_down(request) or self._hangs(request)):
            raise TransportError("timed out", may_have_been_sent=False)
        if not (entries := request.body.count(b'"DetailType"')):
            return _ACCOUNTS
        with self._lock:
            self.accepted += entries
        return _ANSWERS[entries]

    def _is_down(self, request: HttpRequest) -> bool:
        return DOWN in (urlsplit(request.url).hostname or "")

    def _hangs(self, request: HttpRequest) -> bool:
        return b'"DetailType"' not in request.body and HANGS.encode() in request.body


class _Threads:
    """The transport for threads."""

    def __init__(self, service: _Service) -> None:
        self._service = service
        self._is_over = threading.Event()

    def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        seconds = self._service.seconds(request, timeouts)
        if seconds > _DELAY:
            self._is_over.wait(seconds)
        else:
            time.sleep(seconds)
        return self._service.answer(request)

    def close(self) -> None:
        """End everything that hangs."""
        self._is_over.set()


class _OnLoop:
    """The transport for event loops."""

    def __init__(self, service: _Service) -> None:
        self._service = service

    async def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        await asyncio.sleep(self._service.seconds(request, timeouts))
        return self._service.answer(request)

    async def close(self) -> None:
        """Do nothing, because nothing is open."""


@attrs.frozen
class Round:
    """
    The figures of a round.

    Attributes:
        latencies: Seconds of each unaffected event, in no order.
        outcomes: How many events have which outcome, by its name and code.
        stats: The publisher's, after `close`.
        decided: How many receipts are done.
        reported: How many outcomes the report of `close` has.
        accepted: How many events the service accepted.
        close_seconds: How long `close` took.
    """

    latencies: Sequence[float] = attrs.field(repr=False)
    outcomes: Counter[str]
    stats: PublisherStats
    decided: int
    reported: int
    accepted: int
    close_seconds: float

    @property
    def p99(self) -> float:
        """The p99 of the latencies, in seconds."""
        return statistics.quantiles(self.latencies, n=100)[98]

    @property
    def balances(self) -> bool:
        """Whether all counts agree that each event has one outcome."""
        stats = self.stats
        ends = (stats.accepted, stats.rejected, stats.exhausted, stats.unconfirmed, stats.dropped)
        return (
            stats.published == sum(ends) == self.decided == self.outcomes.total()
            and stats.buffered == stats.in_flight == 0
            and stats.accepted == self.accepted == self.outcomes["Accepted"]
        )

    @property
    def closed_in_time(self) -> bool:
        """Whether `close` returned in time."""
        return self.close_seconds <= CLOSE_SECONDS + _LATE_SECONDS


class _Log:
    """Receipts, and when each unaffected one was done."""

    def __init__(self) -> None:
        self._receipts: list[Receipt] = []
        self._latencies: list[float] = []

    def note(self, receipt: Any, began: float, *, counts: bool) -> None:
        self._receipts.append(receipt)
        if counts:
            receipt.add_done_callback(lambda _: self._latencies.append(time.perf_counter() - began))

    def round(
        self, stats: PublisherStats, report: DeliveryReport, service: _Service, seconds: float
    ) -> Round:
        done = [receipt.outcome for receipt in self._receipts if receipt.done()]
        names = [f"{type(one).__name__} {getattr(one, 'code', '')}".strip() for one in done]
        latencies = tuple(self._latencies)
        return Round(
            latencies, Counter(names), stats, len(done), len(report), service.accepted, seconds
        )


def _events(count: int) -> list[PartnerEvent]:
    return [
        PartnerEvent(SOURCES[n % len(SOURCES)], "ticket.updated", _DETAIL) for n in range(count)
    ]


def _warming() -> list[PartnerEvent]:
    return [PartnerEvent(source, "warm", "{}") for source in SOURCES if source != HANGS]


_SETTINGS: dict[str, Any] = {"credentials": Credentials("AKIDEXAMPLE", "secret")}
_PUBLISHING: dict[str, Any] = {"linger": 0.01, "on_full": "drop_newest"}
"""An event without room for its Region or source must not block the publishing thread."""


def threads(events: int, rate: float, *, has_outage: bool) -> Round:
    """Publish from a thread."""
    service, log = _Service(has_outage=has_outage), _Log()
    with PartnerEventsClient(REGIONS[0], transport=_Threads(service), **_SETTINGS) as client:
        router = RegionRouter(client, REGION_OF, in_front=SourceGuard)
        publisher = EventPublisher(router, **_PUBLISHING)
        for event in _warming():
            log.note(publisher.publish(event), 0.0, counts=False)
        publisher.flush(2)
        began = time.perf_counter()
        for number, event in enumerate(_events(events)):
            now = time.perf_counter()
            if (early := began + number / rate - now) > 0:
                time.sleep(early)
                now = time.perf_counter()
            log.note(publisher.publish(event), now, counts=is_elsewhere(event.source))
        began = time.perf_counter()
        report = publisher.close(CLOSE_SECONDS)
        seconds = time.perf_counter() - began
        return log.round(publisher.stats(), report, service, seconds)


async def _on_loop(events: int, rate: float, *, has_outage: bool) -> Round:
    service, log = _Service(has_outage=has_outage), _Log()
    transport = _OnLoop(service)
    async with AsyncPartnerEventsClient(REGIONS[0], transport=transport, **_SETTINGS) as client:
        router = AsyncRegionRouter(client, REGION_OF, in_front=AsyncSourceGuard)
        publisher = AsyncEventPublisher(router, **_PUBLISHING)
        for event in _warming():
            log.note(await publisher.publish(event), 0.0, counts=False)
        await publisher.flush(2)
        began = time.perf_counter()
        for number, event in enumerate(_events(events)):
            now = time.perf_counter()
            if (early := began + number / rate - now) > 0:
                await asyncio.sleep(early)
                now = time.perf_counter()
            log.note(await publisher.publish(event), now, counts=is_elsewhere(event.source))
        began = time.perf_counter()
        report = await publisher.close(CLOSE_SECONDS)
        seconds = time.perf_counter() - began
        return log.round(publisher.stats(), report, service, seconds)


def on_loop(events: int, rate: float, *, has_outage: bool) -> Round:
    """Publish from a task."""
    return asyncio.run(_on_loop(events, rate, has_outage=has_outage))


WORLDS: dict[str, Callable[..., Round]] = {"threads": threads, "asyncio": on_loop}


@attrs.frozen
class Found:
    """
    The figures of all rounds, for threads or for asyncio.

    Attributes:
        calm: The rounds without an outage.
        troubled: The rounds with one.
    """

    calm: Sequence[Round]
    troubled: Sequence[Round]

    @property
    def ratio(self) -> float:
        """The median of the ratios of p99, round by round."""
        pairs = zip(self.troubled, self.calm, strict=True)
        return statistics.median(troubled.p99 / calm.p99 for troubled, calm in pairs)

    def verdicts(self) -> dict[str, bool]:
        """Return each promise with the figure that was found, and whether it was kept."""
        rounds = [*self.calm, *self.troubled]
        longest = max(one.close_seconds for one in rounds)
        return {
            f"p99 with the outage / without: {self.ratio:.2f}": self.ratio <= MOST_RATIO,
            "the ledger balances": all(one.balances for one in rounds),
            f"close({CLOSE_SECONDS:g}) took {longest:.2f} s": (
                all(one.closed_in_time for one in rounds)
            ),
        }


def measure(world: str, events: int, rate: float, rounds: int) -> Found:
    """Measure rounds without and with the outage, in turn."""
    run = WORLDS[world]
    found: dict[bool, list[Round]] = {False: [], True: []}
    for number in range(rounds):
        for has_outage in (False, True) if number % 2 else (True, False):
            found[has_outage].append(run(events, rate, has_outage=has_outage))
    return Found(found[False], found[True])


def table(found: dict[str, Found]) -> str:
    """Show each round: latencies, and the ledger."""
    lines = [
        "| | median | p99 | published | accepted | exhausted | unconfirmed | dropped | close |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for world, both in found.items():
        for title, rounds in (("", both.calm), (", with the outage", both.troubled)):
            for one in rounds:
                stats = one.stats
                cells = [
                    f"{statistics.median(one.latencies) * 1e3:.1f} ms",
                    f"{one.p99 * 1e3:.1f} ms",
                    f"{stats.published:,}",
                    f"{stats.accepted:,}",
                    f"{stats.exhausted:,}",
                    f"{stats.unconfirmed:,}",
                    f"{stats.dropped:,}",
                    f"{one.close_seconds:.2f} s",
                ]
                lines.append(f"| {' | '.join([world + title, *cells])} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and tell whether all promises were kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.publishing_apart")
    add = parser.add_argument
    add("--events", type=int, default=100_000, help="in a round (100,000)")
    add("--rate", type=float, default=5000.0, help="events a second (5,000)")
    add("--rounds", type=int, default=3, help="of each kind (3)")
    add("--world", choices=WORLDS, action="append", help="may be repeated (both)")
    given = parser.parse_args(arguments)
    logging.disable()
    found = {
        world: measure(world, given.events, given.rate, given.rounds)
        for world in given.world or WORLDS
    }
    print(f"{given.events:,} events a round, {given.rate:,.0f} a second\n\n{table(found)}\n")
    kept = True
    for world, both in found.items():
        for what, is_kept in both.verdicts().items():
            print(f"{'PASS' if is_kept else 'MISS'}  {world}: {what}")
            kept &= is_kept
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
