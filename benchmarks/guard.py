"""
The cost of a guard with a warm cache: events a second with it, as a share of those without.

    python -m benchmarks.guard [--events 10000] [--rounds 15]

10,000 events over 200 sources go to a service on the loopback interface that gives every request
the same answer. In "open", all sources are ACTIVE; in "mixed", 20 of them are PENDING and 5 gone,
so that the guard holds back 1,250 events. Rounds with and without the guard take turns; the output
is the median of their ratios by CPU time, with its quartiles.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from botocore.credentials import Credentials

from benchmarks.service import Service
from eventbridge_partner import (
    AsyncPartnerEventsClient,
    AsyncSourceGuard,
    PartnerEvent,
    PartnerEventsClient,
    SourceAccount,
    SourceGuard,
    SourceState,
)
from eventbridge_partner.pacing import Pace

NAMES = [f"aws.partner/example.com/customer-{number:03}" for number in range(200)]
GONE, PENDING = frozenset(NAMES[7::40]), frozenset(NAMES[5::10])
DETAIL = '{"id": 700001, "text": "' + "x" * 470 + '"}'


class _States:
    """Answers look-ups without a request."""

    def __init__(self, *, mixed: bool) -> None:
        self.pace = Pace()
        self._mixed = mixed

    def of(self, name: str) -> list[SourceAccount]:
        if self._mixed and name in GONE:
            return []
        state = "PENDING" if self._mixed and name in PENDING else "ACTIVE"
        return [SourceAccount(name, "123456789012", SourceState(state))]


class _Blocking(_States):
    def accounts(self, name: str, *, timeout: float | None = None) -> Iterator[SourceAccount]:
        return iter(self.of(name))


class _OnLoop(_States):
    async def accounts(self, name: str, *, timeout: float | None = None) -> Any:
        for account in self.of(name):
            yield account


class _Client:
    """A client whose look-ups are answered without a request."""

    def __init__(self, client: Any, sources: _States) -> None:
        self.put_events = client.put_events
        self.stream_events = client.stream_events
        self.sources: Any = sources


def _events(count: int) -> list[PartnerEvent]:
    return [PartnerEvent(NAMES[n % len(NAMES)], "ticket.updated", DETAIL) for n in range(count)]


def _timed(send: Callable[[], Any]) -> float:
    started = time.process_time()
    send()
    return time.process_time() - started


def _compare(what: str, bare: Callable[[], Any], guarded: Callable[[], Any], rounds: int) -> None:
    for send in (bare, guarded):
        send()
    ratios = []
    for number in range(rounds):
        if number % 2:
            without, with_guard = _timed(bare), _timed(guarded)
        else:
            with_guard, without = _timed(guarded), _timed(bare)
        ratios.append(without / with_guard)
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"{what:32} {middle:.3f}  ({low:.3f} to {high:.3f})")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guard")
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    logging.disable()
    events = _events(arguments.events)
    print(f"{arguments.events:,} events: rate with the guard, as a share of that without")
    with Service(os.environ, None) as service:
        settings: dict[str, Any] = {
            "endpoint_url": service.url,
            "credentials": Credentials("AKIDEXAMPLE", "secret"),
        }
        with PartnerEventsClient("us-east-1", **settings) as client:
            for mixed in (False, True):
                guard = SourceGuard(_Client(client, _Blocking(mixed=mixed)), pending_ttl=3600)
                for name, send in (("put_events", _put), ("stream_events", _stream)):
                    _compare(
                        f"{name}, {'mixed' if mixed else 'open'}",
                        partial(send, client, events),
                        partial(send, guard, events),
                        arguments.rounds,
                    )
        with asyncio.Runner() as runner:
            on_loop = AsyncPartnerEventsClient("us-east-1", **settings)
            for mixed in (False, True):
                later = AsyncSourceGuard(_Client(on_loop, _OnLoop(mixed=mixed)), pending_ttl=3600)
                for name, start in (("put_events", _put), ("stream_events", _stream_later)):
                    _compare(
                        f"asyncio {name}, {'mixed' if mixed else 'open'}",
                        partial(_run, runner, start, on_loop, events),
                        partial(_run, runner, start, later, events),
                        arguments.rounds,
                    )
            runner.run(on_loop.close())


def _put(client: Any, events: list[PartnerEvent]) -> Any:
    return client.put_events(events)


def _stream(client: Any, events: list[PartnerEvent]) -> Any:
    return list(client.stream_events(iter(events)))


async def _stream_later(client: Any, events: list[PartnerEvent]) -> Any:
    return [outcome async for outcome in client.stream_events(iter(events))]


def _run(runner: asyncio.Runner, start: Callable[..., Any], *arguments: Any) -> Any:
    return runner.run(start(*arguments))


if __name__ == "__main__":
    main()
