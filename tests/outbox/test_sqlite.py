"""The outbox in a SQLite file: what every outbox does, and what only this one does."""

from __future__ import annotations

import contextlib
import datetime
import multiprocessing
import sqlite3
import threading
from pathlib import Path

import pytest

from eventbridge_partner import (
    OutboxSchemaError,
    OutboxUnavailableError,
    PartnerEvent,
)
from eventbridge_partner.outbox import Dead, Gone, Later, SqliteOutbox
from eventbridge_partner.outbox.contract import LEASE, OutboxContract, event


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.db"


@pytest.fixture
def outbox(path, clock):
    with SqliteOutbox(path, clock=clock) as outbox:
        outbox.create()
        yield outbox


def put(outbox: SqliteOutbox, path: Path, *events: PartnerEvent) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        outbox.add(connection, *events)


def claim(outbox, events=400):
    return outbox.claim(events=events, max_bytes=2**24, lease=LEASE)


class TestContract(OutboxContract):
    @pytest.fixture(autouse=True)
    def place(self, path, clock):
        self.path, self.clock = path, clock

    def make(self) -> SqliteOutbox:
        outbox = SqliteOutbox(self.path, clock=self.clock)
        outbox.create()
        return outbox

    def put(self, outbox, *events):
        put(outbox, self.path, *events)

    def pass_time(self, outbox, seconds):
        self.clock.now += seconds


# ---------------------------------------------------------------- tables


def test_create_again(outbox, path):
    """`create` is idempotent, and leaves rows alone."""
    put(outbox, path, event(1))
    outbox.create()
    assert outbox.stats().waiting == 1


def test_create_at_the_same_time(path):
    """Of several concurrent `create` calls, one makes the tables and none fails."""
    failures: list[Exception] = []

    def create() -> None:
        try:
            SqliteOutbox(path).create()
        except Exception as error:  # noqa: BLE001  # any failure
            failures.append(error)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert SqliteOutbox(path).stats().waiting == 0


def test_no_file(path):
    """A missing file is not created by reading, and the message names the command."""
    with pytest.raises(OutboxSchemaError, match="eventbridge-partner outbox create"):
        SqliteOutbox(path).stats()
    assert not path.exists()


def test_no_tables(path):
    """A database without an outbox is a clear error, from `add` too."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE orders (id)")
    with pytest.raises(OutboxSchemaError, match="outbox create"):
        claim(SqliteOutbox(path))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        with pytest.raises(OutboxSchemaError, match="outbox create"):
            SqliteOutbox(path).add(connection, event(1))


@pytest.mark.parametrize(
    ("version", "word"), [(0, "outbox upgrade"), (2, "install a newer release")]
)
def test_other_version(outbox, path, version, word):
    """Tables of another version are refused, by `create` too."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE eventbridge_outbox_version SET version = ?", (version,))
    outbox.close()
    for use in (outbox.stats, outbox.create, lambda: claim(outbox)):
        with pytest.raises(OutboxSchemaError, match=word):
            use()


def test_upgrade(outbox, path):
    """Tables of this version need no upgrade, and missing tables cannot be upgraded."""
    outbox.upgrade()
    with pytest.raises(OutboxSchemaError, match="outbox create"):
        SqliteOutbox(path, table="other").upgrade()
    with pytest.raises(OutboxSchemaError, match="outbox create"):
        SqliteOutbox(path.with_name("none.db")).upgrade()


def test_upgrade_refuses_newer(outbox, path):
    """Tables of a newer release are refused."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE eventbridge_outbox_version SET version = 7")
    with pytest.raises(OutboxSchemaError, match="version 7"):
        outbox.upgrade()


def test_schema_sql(path):
    """The SQL for a migration makes the tables that `create` makes."""
    outbox = SqliteOutbox(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(outbox.schema_sql())
    put(outbox, path, event(1))
    assert outbox.stats().waiting == 1
    outbox.create()
    assert outbox.schema_sql(since=1) == ""
    with pytest.raises(ValueError, match="allowed: 0 to 1"):
        outbox.schema_sql(since=2)


@pytest.mark.parametrize("table", ["Outbox", "o;drop", "1st", "", "o" * 41, 'o"'])
def test_table_names(path, table):
    """A name that would need quotes is refused."""
    with pytest.raises(ValueError, match="table is"):
        SqliteOutbox(path, table=table)


def test_two_outboxes_in_a_file(outbox, path):
    """Tables with another name are another outbox."""
    other = SqliteOutbox(path, table="other_outbox")
    other.create()
    put(other, path, event(1))
    assert (outbox.stats().waiting, other.stats().waiting) == (0, 1)


# ---------------------------------------------------------------- failures


def test_read_only_file(outbox, path):
    """A read-only file is a clear error."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        outbox.add(connection, event(1))

    class ReadOnly(SqliteOutbox):
        def _open(self, mode: str) -> sqlite3.Connection:
            return super()._open("ro")

    with pytest.raises(OutboxUnavailableError, match="readonly"):
        claim(ReadOnly(path))
    assert outbox.stats().waiting == 1


def test_disk_full(outbox, path):
    """A full disk is a clear error, nothing is half done, and a later settle succeeds."""
    put(outbox, path, *(event(number, padding=400) for number in range(200)))

    class Small(SqliteOutbox):
        def _connect(self) -> sqlite3.Connection:
            connection = super()._connect()
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages}")
            return connection

    taken = claim(outbox)
    with pytest.raises(OutboxUnavailableError, match="full"):
        Small(path).settle(taken, [Dead("X", "m" * 5000)] * 200)
    assert outbox.stats().dead == 0
    assert outbox.settle(taken, [Gone()] * 200).gone == 200


def test_not_a_database(path):
    """A file that is not a database is a clear error."""
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(OutboxUnavailableError, match="not a database"):
        SqliteOutbox(path).create()


def test_locked_by_another(outbox, path, monkeypatch):
    """A writer that keeps the lock is a clear error after a while."""
    monkeypatch.setattr("eventbridge_partner.outbox._sqlite._BUSY_SECONDS", 0.05)
    put(outbox, path, event(1))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutboxUnavailableError, match="locked"):
            claim(outbox)
        assert outbox.stats().waiting == 1
        other.execute("ROLLBACK")
    assert claim(outbox)


def test_torn_wal(outbox, path):
    """Earlier commits survive a log whose end was torn off, and the torn commit is gone whole."""
    put(outbox, path, event(1))
    keeper = sqlite3.connect(path)
    keeper.execute("SELECT count(*) FROM eventbridge_outbox").fetchone()
    before = path.with_name("shop.db-wal").stat().st_size
    put(outbox, path, event(2), event(3))
    wal = path.with_name("shop.db-wal").read_bytes()
    assert len(wal) > before
    copy = path.with_name("copy.db")
    copy.write_bytes(path.read_bytes())
    copy.with_name("copy.db-wal").write_bytes(wal[:-100])
    keeper.close()
    rows = claim(SqliteOutbox(copy)).rows
    assert [row.event() for row in rows] == [event(1)]


def test_the_clock_is_set_back(outbox, path, clock, caplog):
    """No row waits for the time that the clock showed before, and the log says so."""
    put(outbox, path, event(1), event(2), event(3, "held"))
    taken = claim(outbox)
    outbox.settle(taken, [Later(5, "Busy", "m"), Later(5, "Busy", "m"), Gone()])
    put(outbox, path, event(4))
    clock.now -= 3600
    taken = claim(outbox)
    assert [row.event() for row in taken.rows] == [event(4)]
    outbox.settle(taken, [Gone()])
    assert "set back by 3600 s" in caplog.text
    clock.now += 6
    assert len(claim(outbox).rows) == 2
    assert outbox.stats().oldest_age < 60


@pytest.mark.process
def test_after_a_fork(outbox, path):
    """A child process uses connections of its own, and leaves its parent's alone."""
    put(outbox, path, event(1), event(2))
    assert len(claim(outbox, 1).rows) == 1

    def child() -> None:
        taken = claim(outbox, 1)
        outbox.settle(taken, [Gone()])

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert outbox.stats().waiting == 1
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# ---------------------------------------------------------------- figures, dead letters


def test_stats(outbox, path, clock):
    """Stats count rows that wait, are due, are leased or are dead, and held sources."""
    put(outbox, path, *(event(number, f"c{number}") for number in range(6)))
    clock.now += 10
    taken = claim(outbox, 3)
    outbox.settle(taken, [Dead("X", "m"), Later(60, "Busy", "m"), Gone()])
    claim(outbox, 1)
    outbox.hold(event(4, "c4").source, seconds=60)
    stats = outbox.stats()
    assert (stats.waiting, stats.due, stats.leased, stats.dead, stats.held) == (4, 1, 1, 1, 1)
    assert stats.oldest_age == pytest.approx(10, abs=0.01)


def bury(outbox, path, *events, code="X"):
    put(outbox, path, *events)
    while (taken := claim(outbox)) is not None:
        outbox.settle(taken, [Dead(code, "message")] * len(taken.rows))


def test_dead_letters(outbox, path, clock):
    """Dead letters keep every member, come newest first, and hide their payload in a repr."""
    at = datetime.datetime(2024, 5, 1, 12, 0, 0, 250_000, tzinfo=datetime.UTC)
    first = PartnerEvent(
        event(1).source, "t", {"secret": "canary"}, resources=["arn:a", "é\0"], time=at
    )
    bury(outbox, path, first, code="First")
    bury(outbox, path, *(event(number, "other") for number in range(600)))
    found = list(outbox.dead_letters(limit=None))
    assert len(found) == 601
    assert [one.id for one in found] == sorted((one.id for one in found), reverse=True)
    assert len(list(outbox.dead_letters())) == 100
    assert len(list(outbox.dead_letters(before=found[599].id))) == 1
    assert len(list(outbox.dead_letters(source=event(1, "other").source, limit=7))) == 7
    (one,) = outbox.dead_letters(code="First")
    assert (one.detail, one.resources, one.time) == (first.detail, first.resources, at)
    assert (one.code, one.message, one.tries, one.maybe_sent) == ("First", "message", 0, False)
    assert one.added_at <= one.died_at
    assert "canary" not in repr(one)


def test_redrive(outbox, path, clock):
    """The dead letters chosen are put back as new rows."""
    bury(outbox, path, *map(event, range(4)))
    bury(outbox, path, event(9, "other"), code="Y")
    ids = sorted(one.id for one in outbox.dead_letters())
    clock.now += 100
    assert outbox.redrive(ids[0], ids[0], 12345) == 1
    assert outbox.redrive(code="Y") == 1
    assert outbox.redrive(source=event(1).source, limit=2) == 2
    assert [one.id for one in outbox.dead_letters()] == [ids[3]]
    rows = claim(outbox).rows
    assert len(rows) == 4
    assert {(row.age, row.tries) for row in rows} == {(0, 0)}


def test_redrive_and_purge_need_a_choice(outbox):
    """Calls that choose no dead letters are refused."""
    with pytest.raises(TypeError, match="needs ids, source or code"):
        outbox.redrive()
    with pytest.raises(TypeError):
        outbox.purge()


def test_purge(outbox, path, clock):
    """Old dead letters are deleted for good."""
    bury(outbox, path, *map(event, range(1200)))
    bury(outbox, path, event(1), code="Y")
    clock.now += 100
    bury(outbox, path, event(2))
    age = datetime.timedelta(seconds=60)
    assert outbox.purge(older_than=age, code="Y") == 1
    assert outbox.purge(older_than=age) == outbox.stats().dead + 1199 == 1200
    assert outbox.stats().dead == 1


def test_repr(outbox, path):
    """The repr names the table and the file."""
    assert repr(outbox) == f"<SqliteOutbox eventbridge_outbox in {path}>"
