"""
What publishing events one by one costs, beside other ways to do it.

    python -m benchmarks.publishing

Prints tables. Each figure comes from a process of its own; the service is another process, and
gives every request the same answer.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import peers, publishers
from benchmarks.cases import BATCH, CASES, PlainEvent
from benchmarks.senders import REGION, our_settings

_CASE = CASES["text-500"]
_POOL_THREADS = 8
_LINGER = 0.01

_DELAY = 0.005
"""Seconds added to each answer when throughput is measured: no service answers at once."""

Figures = publishers.Figures


class Load(NamedTuple):
    """What a process measures with."""

    transport: str
    events: int
    rounds: int


def _events(count: int) -> list[Any]:
    from eventbridge_partner import PartnerEvent

    return [PartnerEvent(*value) for value in _CASE.values(count)]


def _median(values: list[float]) -> float:
    return statistics.median(values)


# ---------------------------------------------------------------- in processes of their own


def caller_threads(load: Load) -> Figures:
    """Measure the CPU time of the thread that publishes, at two rates."""
    from eventbridge_partner import EventPublisher, PartnerEvent, PartnerEventsClient

    given = _events(load.events)
    making: list[float] = []
    seldom: list[float] = []
    busy: list[float] = []
    with (
        PartnerEventsClient(REGION, **our_settings(load.transport, None)) as client,
        EventPublisher(client, max_buffered_events=2 * load.events) as publisher,
    ):
        publisher.publish(given[0]).result(60)
        for _ in range(load.rounds):
            for value in _CASE.values(40):
                time.sleep(0.01)
                started = time.thread_time()
                event = PartnerEvent(*value)
                made = time.thread_time()
                publisher.publish(event)
                seldom.append((time.thread_time() - made) * 1e6)
                making.append((made - started) * 1e6)
            publisher.flush(60)
            started = time.thread_time()
            for event in given:
                publisher.publish(event)
            busy.append((time.thread_time() - started) / load.events * 1e6)
            assert not publisher.flush(60).left
    return {
        "making_us_seldom": _median(making),
        "publish_us_seldom": _median(seldom),
        "publish_us_busy": _median(busy),
    }


def throughput_threads(load: Load) -> Figures:
    """
    Measure the CPU time of the process for events through the publisher, and through put_events.

    As in the other benchmarks, it is from plain values to outcomes: making events is included.
    """
    from eventbridge_partner import EventPublisher, PartnerEvent, PartnerEventsClient

    given = list(_CASE.values(load.events))
    direct: list[float] = []
    published: list[float] = []
    walls: list[float] = []
    with (
        PartnerEventsClient(REGION, **our_settings(load.transport, None)) as client,
        EventPublisher(client, linger=30, block_timeout=60) as publisher,
    ):
        for number in range(load.rounds + 1):
            started = time.process_time()
            report = client.put_events(PartnerEvent(*value) for value in given)
            middle, wall = time.process_time(), time.perf_counter()
            for value in given:
                publisher.publish(PartnerEvent(*value))
            flushed = publisher.flush(60)
            ended = time.process_time()
            assert not report.counts.undelivered, report
            assert not flushed.left
            if number:  # the first warms up
                direct.append(load.events / (middle - started))
                published.append(load.events / (ended - middle))
                walls.append(load.events / (time.perf_counter() - wall))
        assert publisher.stats().accepted == publisher.stats().published
    return _throughput(direct, published, walls)


def _throughput(direct: list[float], published: list[float], walls: list[float]) -> Figures:
    ratios = [one / other for one, other in zip(published, direct, strict=True)]
    return {
        "put_events_per_cpu_second": _median(direct),
        "published_per_cpu_second": _median(published),
        "published_per_second": _median(walls),
        "ratio": _median(ratios),
    }


def plain_values(load: Load) -> Figures:
    """Measure CPU time from plain values to outcomes: the caller's, and the whole process's."""
    from eventbridge_partner import EventPublisher, PartnerEvent, PartnerEventsClient

    with (
        PartnerEventsClient(REGION, **our_settings(load.transport, None)) as client,
        EventPublisher(client, max_buffered_events=2 * load.events, linger=30) as publisher,
    ):

        def publish(given: list[PlainEvent]) -> list[Any]:
            return [publisher.publish(PartnerEvent(*value)) for value in given]

        def arrive(published: list[Any]) -> None:
            for receipt in published:
                receipt.result(60)

        turns = [publishers.timed(publish, arrive, load.events) for _ in range(load.rounds + 1)]
        assert publisher.stats().accepted == (load.rounds + 1) * load.events
    return publishers.figures(turns, load.events)


async def _throughput_async(load: Load) -> Figures:
    from eventbridge_partner import AsyncEventPublisher, AsyncPartnerEventsClient, PartnerEvent

    given = list(_CASE.values(load.events))
    direct: list[float] = []
    published: list[float] = []
    walls: list[float] = []
    async with (
        AsyncPartnerEventsClient(REGION) as client,
        AsyncEventPublisher(client, linger=30, block_timeout=60) as publisher,
    ):
        for number in range(load.rounds + 1):
            started = time.process_time()
            report = await client.put_events(PartnerEvent(*value) for value in given)
            middle, wall = time.process_time(), time.perf_counter()
            for value in given:
                await publisher.publish(PartnerEvent(*value))
            flushed = await publisher.flush(60)
            ended = time.process_time()
            assert not report.counts.undelivered, report
            assert not flushed.left
            if number:
                direct.append(load.events / (middle - started))
                published.append(load.events / (ended - middle))
                walls.append(load.events / (time.perf_counter() - wall))
    return _throughput(direct, published, walls)


def throughput_asyncio(load: Load) -> Figures:
    """See `throughput_threads`."""
    import asyncio

    return asyncio.run(_throughput_async(load))


def latency_threads(load: Load) -> Figures:
    """Measure seconds from publish to outcome of single events, without the linger."""
    from eventbridge_partner import EventPublisher, PartnerEventsClient

    taken: list[float] = []
    with (
        PartnerEventsClient(REGION, **our_settings(load.transport, None)) as client,
        EventPublisher(client, linger=_LINGER) as publisher,
    ):
        for number, event in enumerate(_events(load.rounds * 20)):
            started = time.perf_counter()
            publisher.publish(event).result(60)
            if number:
                taken.append(time.perf_counter() - started - _LINGER)
            time.sleep(0.01)
    return _latency(taken)


def _latency(taken: list[float]) -> Figures:
    cuts = statistics.quantiles(taken, n=100)
    return {"added_ms_median": cuts[49] * 1e3, "added_ms_99": cuts[98] * 1e3}


def memory_threads(load: Load) -> Figures:
    """Measure the memory of a full buffer, without the events themselves."""
    from eventbridge_partner import BufferFullError, EventPublisher, PartnerEventsClient

    with PartnerEventsClient(REGION, **our_settings(load.transport, None)) as client:
        publisher = EventPublisher(client, on_full="raise")
        publisher.publish(_events(1)[0])
        publisher.flush(0.5)
        # Each event has text of its own, because a backend does not repeat the same 400 events.
        given = [_unlike(event, number) for number, event in enumerate(_events(10_000))]
        receipts: list[Any] = []
        tracemalloc.start()
        with suppress(BufferFullError):
            for event in given:
                receipts.append(publisher.publish(event))  # noqa: PERF401  # until it raises
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        publisher.close(0)
    assert len(receipts) > 9_900
    return {"bytes_an_event": taken / len(receipts)}


def _unlike(event: Any, number: int) -> Any:
    from eventbridge_partner import PartnerEvent

    detail = event.detail.replace('"id":', f'"number":{number},"id":', 1)
    return PartnerEvent(event.source, event.detail_type, detail)


_FLOOD = "aws.partner/example.com/flood"
_CONDITIONS = ("alone", "flood", "throttled", "gone")


def fairness(load: Load) -> Figures:
    """
    Measure seconds from publish to outcome of one customer's events while another misbehaves.

    The service is the package's local one here, because it can refuse one source's entries; it
    shares the process and the CPU with the publisher.
    """
    figures: Figures = {}
    for condition in _CONDITIONS:
        taken = _latencies_beside(condition, load)
        cuts = statistics.quantiles(taken, n=100)
        figures |= {
            f"{condition} median": cuts[49] * 1e3,
            f"{condition} 99": cuts[98] * 1e3,
            f"{condition} worst": max(taken) * 1e3,
        }
    return figures


def _latencies_beside(condition: str, load: Load) -> list[float]:
    from eventbridge_partner import EventPublisher, PartnerEvent, PartnerEventsClient
    from eventbridge_partner.testing import FailEntries, FakeEventBridge

    service = FakeEventBridge()
    codes = {"throttled": "ThrottlingException", "gone": "ResourceNotFoundException"}
    if condition in codes:
        service.play(
            FailEntries(codes[condition], times=None, matching=lambda one: one["Source"] == _FLOOD)
        )
    is_over = threading.Event()
    taken: list[float] = []
    with (
        service.serve() as server,
        PartnerEventsClient(
            REGION,
            endpoint_url=server.url,
            credentials=service.credentials,
            **our_settings(load.transport, None),
        ) as client,
        EventPublisher(client, linger=_LINGER, on_full="drop_newest") as publisher,
    ):

        def flood() -> None:
            event = PartnerEvent(_FLOOD, "t", {"text": "x" * 400})
            while not is_over.wait(0.001):
                for _ in range(20):  # 20,000 a second, more than can be sent
                    publisher.publish(event)

        if condition != "alone":
            threading.Thread(target=flood, daemon=True).start()
            time.sleep(1.0)
        for number in range(load.rounds * 40):
            event = PartnerEvent(f"aws.partner/example.com/customer-{number % 5}", "t", {"n": 1})
            started = time.perf_counter()
            publisher.publish(event).result(60)
            taken.append(time.perf_counter() - started)
            time.sleep(0.01)
        is_over.set()
        publisher.close(1.0)
    return taken


def boto3_pool(load: Load) -> Figures:
    """Measure the usual way with boto3: a call for each event, from a pool of threads."""
    import boto3
    from botocore.config import Config

    events = min(load.events, 500)
    entries = [
        {"Source": one.source, "DetailType": one.detail_type, "Detail": one.detail}
        for one in _CASE.values(events)
    ]
    config = Config(max_pool_connections=_POOL_THREADS)
    client = boto3.client("events", region_name=REGION, config=config)
    submits: list[float] = []
    rates: list[float] = []
    walls: list[float] = []
    with ThreadPoolExecutor(_POOL_THREADS) as pool:

        def submit(entry: Any) -> Future[Any]:
            return pool.submit(client.put_partner_events, Entries=[entry])

        for number in range(load.rounds + 1):
            wall, cpu, own = time.perf_counter(), time.process_time(), time.thread_time()
            futures = [submit(entry) for entry in entries]
            own = time.thread_time() - own
            for future in futures:
                future.result()
            if number:
                submits.append(own / events * 1e6)
                rates.append(events / (time.process_time() - cpu))
                walls.append(events / (time.perf_counter() - wall))
        taken: list[float] = []
        for entry in entries[: load.rounds * 20]:
            started = time.perf_counter()
            submit(entry).result()
            taken.append(time.perf_counter() - started)
            time.sleep(0.01)
    return {
        "publish_us_busy": _median(submits),
        "published_per_cpu_second": _median(rates),
        "published_per_second": _median(walls),
        **_latency(taken),
    }


_PARTS: Mapping[str, Callable[[Load], Figures]] = {
    "caller": caller_threads,
    "throughput": throughput_threads,
    "throughput-asyncio": throughput_asyncio,
    "plain-values": plain_values,
    "latency": latency_threads,
    "memory": memory_threads,
    "fairness": fairness,
    "boto3": boto3_pool,
}

# ---------------------------------------------------------------- for the process that starts them

ROWS = (
    ("publish_us_seldom", "CPU of a publish, 100 a second", "{:.1f} µs"),
    ("making_us_seldom", "CPU of making a PartnerEvent, 100 a second", "{:.1f} µs"),
    ("publish_us_busy", "CPU of a publish, as many as there may be", "{:.1f} µs"),
    ("put_events_per_cpu_second", "put_events, events a CPU second", "{:,.0f}"),
    ("published_per_cpu_second", "published, events a CPU second", "{:,.0f}"),
    ("ratio", "published / put_events", "{:.2f}"),
    ("published_per_second", "published, events a second", "{:,.0f}"),
    ("added_ms_median", "publish to outcome less linger, median", "{:.1f} ms"),
    ("added_ms_99", "the same, 99 of 100", "{:.1f} ms"),
    ("bytes_an_event", "memory of a buffered event of 500 B, event not counted", "{:,.0f} B"),
)


def plain_environment(directory: Path) -> dict[str, str]:
    """Return the environment of all processes, without TLS."""
    from benchmarks.environment import environment

    here = environment(directory, directory / "none")
    del here["AWS_CA_BUNDLE"], here["NODE_EXTRA_CA_CERTS"]
    return here


def measure(part: str, load: Load, environment: Mapping[str, str]) -> Figures:
    """Measure a part in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.publishing", "--part", part]
    command += ["--transport", load.transport, "--events", str(load.events)]
    command += ["--rounds", str(load.rounds)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    figures: Figures = json.loads(done.stdout)
    return figures


def table(columns: Mapping[str, Figures]) -> str:
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for key, title, form in ROWS:
        cells = [form.format(found[key]) if key in found else "-" for found in columns.values()]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


_BESIDE_OTHERS = (
    ("caller_us", "CPU of the caller, an event"),
    ("delivered_us", "CPU of the process, an event delivered"),
)


def others_table(columns: Mapping[str, Figures]) -> str:
    """Return a table of publishers; the others are compared to the first column."""
    ours = next(iter(columns.values()))
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for key, title in _BESIDE_OTHERS:
        cells = [f"{found[key]:.1f} µs" for found in columns.values()]
        ratios = [f"{found[key] / ours[key]:.1f}x" for found in columns.values()]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
        lines.append("| it / the first | " + " | ".join(ratios) + " |")
    shares = [f"{found['service']:.2f}" for found in columns.values()]
    lines.append("| CPU of its service, a share of its own | " + " | ".join(shares) + " |")
    return "\n".join(lines)


def measure_beside_others(here: Mapping[str, str], events: int, rounds: int) -> dict[str, Figures]:
    """Measure our publisher, and those publishers of other services that are installed."""
    from benchmarks.service import Service

    columns: dict[str, Figures] = {}
    for transport in ("requests", "curl"):
        with Service(here, None) as service:
            before = service.usage()
            there = dict(here) | {"AWS_ENDPOINT_URL_EVENTBRIDGE": service.url}
            found = measure("plain-values", Load(transport, events, rounds), there)
            share = publishers.service_share(
                found, before, service.usage(), events * (rounds + 1), BATCH
            )
            columns[f"publisher, {transport}"] = found | share
    for name, publisher in publishers.PUBLISHERS.items():
        if (need := publisher.missing()) is None:
            columns[name] = publishers.measure(name, events, rounds, here)
        else:
            print(f"not measured: {name}; needs {need}")
    return columns


def _fairness_table(columns: Mapping[str, Figures]) -> str:
    heads = [f"{name}, {what}" for name in columns for what in ("median", "99 of 100", "worst")]
    lines = ["| another source is | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    for condition in _CONDITIONS:
        cells = [
            f"{found[f'{condition} {what}']:.0f}"
            for found in columns.values()
            for what in ("median", "99", "worst")
        ]
        lines.append(f"| {condition} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _print_head(rounds: int) -> None:
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {rounds} rounds\n")


def main() -> None:
    from benchmarks.service import Service

    parser = argparse.ArgumentParser(prog="python -m benchmarks.publishing", description=__doc__)
    parser.add_argument("--part", choices=_PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--transport", default="requests", help=argparse.SUPPRESS)
    parser.add_argument("--events", type=int, default=8000, help="in a round (8,000)")
    parser.add_argument("--rounds", type=int, default=9, help="of each figure (9)")
    parser.add_argument(
        "--others", action="store_true", help="only what events take beside other publishers"
    )
    parser.add_argument(
        "--install-peers", action="store_true", help="first install peers that are missing"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    arguments = parser.parse_args()
    if arguments.part:
        load = Load(arguments.transport, arguments.events, arguments.rounds)
        found = _PARTS[arguments.part](load)
        print(json.dumps(found))
        return
    if arguments.events % BATCH:
        parser.error(f"--events must be a multiple of {BATCH}, so that all batches are full")
    if arguments.install_peers:
        peers.install_peers()
    with tempfile.TemporaryDirectory() as name:
        here = plain_environment(Path(name))
        others = measure_beside_others(here, arguments.events, arguments.rounds)
    if arguments.others:
        _print_head(arguments.rounds)
        print(others_table(others))
        if arguments.json:
            arguments.json.write_text(json.dumps(others, indent=1) + "\n")
        return
    columns: dict[str, Figures] = {}
    beside: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        here = plain_environment(Path(name))

        def of(part: str, transport: str, service: Service) -> Figures:
            load = Load(transport, arguments.events, arguments.rounds)
            return measure(part, load, here | {"AWS_ENDPOINT_URL_EVENTBRIDGE": service.url})

        full = stack.enter_context(Service(here, None, delay=_DELAY))
        # An empty answer fits any number of entries.
        fitting = stack.enter_context(Service(here, None, entries=0))
        silent = stack.enter_context(Service(here, None, delay=3600))
        for transport in ("requests", "curl"):
            columns[f"publisher, {transport}"] = {
                **of("caller", transport, fitting),
                **of("throughput", transport, full),
                **of("latency", transport, fitting),
                **of("memory", transport, silent),
            }
        columns["publisher, asyncio"] = of("throughput-asyncio", "aiohttp", full)
        columns[f"boto3, {_POOL_THREADS} threads"] = of("boto3", "boto3", fitting)
        for transport in ("requests", "curl"):
            beside[transport] = of("fairness", transport, fitting)
    _print_head(arguments.rounds)
    print(table(columns))
    print("\nfrom plain values to outcomes, beside other publishers\n")
    print(others_table(others))
    print("\npublish to outcome of a quiet source, linger of 10 ms included, in ms\n")
    print(_fairness_table(beside))
    columns |= {f"fairness, {transport}": found for transport, found in beside.items()}
    columns |= {f"plain values, {name}": found for name, found in others.items()}
    if arguments.json:
        arguments.json.write_text(json.dumps(columns, indent=1) + "\n")


if __name__ == "__main__":
    main()
