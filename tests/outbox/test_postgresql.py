"""The outbox in PostgreSQL: what every outbox does, and what only this one does."""

from __future__ import annotations

import datetime
import json
import multiprocessing
import threading
import time

import psycopg
import pytest

from eventbridge_partner import (
    ConfigurationError,
    OutboxSchemaError,
    OutboxUnavailableError,
    PartnerEvent,
)
from eventbridge_partner.outbox import Dead, Gone, Later, PostgresOutbox
from eventbridge_partner.outbox._schema import Names
from eventbridge_partner.outbox._statements import Statements
from eventbridge_partner.outbox.contract import LEASE, OutboxContract, event

pytestmark = [pytest.mark.process, pytest.mark.slow]  # the tests start PostgreSQL


@pytest.fixture
def outbox(dsn):
    with PostgresOutbox(dsn) as outbox:
        outbox.create()
        outbox.dsn = dsn  # type: ignore[attr-defined]
        yield outbox


def sql(dsn, *statements):
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursors = [connection.execute(statement.encode()) for statement in statements]
        return cursors[-1].fetchall() if cursors[-1].description else []


def put(outbox, *events):
    with psycopg.connect(outbox.dsn) as connection:
        outbox.add(connection, *events)


def claim(outbox, events=400):
    return outbox.claim(events=events, max_bytes=2**24, lease=LEASE)


def pass_time(dsn, seconds):
    """Move every time in the database into the past."""
    by = f"interval '{seconds} seconds'"
    sql(
        dsn,
        f"UPDATE eventbridge_outbox SET due_at = due_at - {by}, added_at = added_at - {by}",
        f"UPDATE eventbridge_outbox_hold SET until = until - {by}",
        f"UPDATE eventbridge_outbox_dead_letter SET died_at = died_at - {by}",
    )


class TestContract(OutboxContract):
    @pytest.fixture(autouse=True)
    def place(self, outbox):
        self.outbox = outbox

    def make(self):
        return self.outbox

    def put(self, outbox, *events):
        put(outbox, *events)

    def pass_time(self, outbox, seconds):
        pass_time(outbox.dsn, seconds)


# ---------------------------------------------------------------- tables


def test_create_at_the_same_time(dsn):
    """Of several concurrent `create` calls, one makes the tables and none fails."""
    failures: list[Exception] = []

    def create() -> None:
        try:
            PostgresOutbox(dsn).create()
        except Exception as error:  # noqa: BLE001  # any failure
            failures.append(error)

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert PostgresOutbox(dsn).stats().waiting == 0


def test_no_tables(dsn):
    """A database without an outbox is a clear error, from `add` too."""
    with pytest.raises(OutboxSchemaError, match="eventbridge-partner outbox create"):
        claim(PostgresOutbox(dsn))
    with pytest.raises(OutboxSchemaError, match="outbox create"):
        PostgresOutbox(dsn).upgrade()
    with psycopg.connect(dsn) as connection:
        with pytest.raises(OutboxSchemaError, match="outbox create"):
            PostgresOutbox().add(connection, event(1))


def test_a_table_goes_missing(outbox):
    """A table that is dropped under a relay is a clear error."""
    assert claim(outbox) is None
    sql(outbox.dsn, "DROP TABLE eventbridge_outbox_hold")
    with pytest.raises(OutboxSchemaError, match="not all of it"):
        claim(outbox)


@pytest.mark.parametrize(
    ("version", "word"), [(0, "outbox upgrade"), (2, "install a newer release")]
)
def test_other_version(outbox, version, word):
    """Tables of another version are refused, by `create` too."""
    sql(outbox.dsn, f"UPDATE eventbridge_outbox_version SET version = {version}")
    outbox.close()
    for use in (outbox.stats, outbox.create, lambda: claim(outbox)):
        with pytest.raises(OutboxSchemaError, match=word):
            use()


def test_upgrade(outbox):
    """Tables of this version need no upgrade, and those of a newer release are refused."""
    outbox.upgrade()
    outbox.create()
    sql(outbox.dsn, "UPDATE eventbridge_outbox_version SET version = 9")
    with pytest.raises(OutboxSchemaError, match="version 9"):
        outbox.upgrade()


def test_schema_sql(dsn):
    """The SQL for a migration makes the tables that `create` makes."""
    outbox = PostgresOutbox(dsn)
    sql(dsn, outbox.schema_sql())
    assert outbox.stats().waiting == 0
    outbox.create()
    assert outbox.schema_sql(since=1) == ""


def test_a_custom_schema_and_table(outbox, postgresql):
    """Tables may be in a schema outside the search path."""
    schema = outbox.dsn.partition("search_path=")[2].rstrip("'")
    other = PostgresOutbox(postgresql, table="mine", schema=schema)
    other.create()
    with psycopg.connect(postgresql) as connection:
        other.add(connection, event(1))
    assert len(claim(other).rows) == 1
    assert outbox.stats().waiting == 0
    with pytest.raises(ValueError, match="schema is"):
        PostgresOutbox(schema="Pub lic")


def test_collation(outbox):
    """Sources rotate in byte order, whatever the database's collation."""
    names = ["b", "B", "a_", "a-", "a.", "Z", "z", "a", "A9"]
    put(outbox, *(event(0, name) for name in names))
    claimed = [row.source for _ in names for row in claim(outbox, 1).rows]
    assert claimed == sorted(event(0, name).source for name in names)


# ---------------------------------------------------------------- plans

STATES = ("never analysed", "analysed while empty", "analysed while full")


def fill(dsn, rows, sources):
    sql(
        dsn,
        "INSERT INTO eventbridge_outbox (source, detail_type, detail, size) "
        f"SELECT 'aws.partner/x/y/' || (n % {sources}), 't', '{{}}', 20 "
        f"FROM generate_series(1, {rows}) n",
    )


@pytest.mark.parametrize("state", STATES)
def test_plans_do_not_depend_on_statistics(outbox, state):
    """Claims and settles use indexes alone, whatever the table held when it was analysed."""
    dsn = outbox.dsn
    sql(dsn, "ALTER TABLE eventbridge_outbox SET (autovacuum_enabled = false)")
    if state == STATES[1]:
        sql(dsn, "ANALYZE eventbridge_outbox", "ANALYZE eventbridge_outbox_hold")
    fill(dsn, 20_000, 200)
    if state == STATES[2]:
        sql(dsn, "ANALYZE eventbridge_outbox")
    statements = Statements(Names.of("eventbridge_outbox"))
    values = {
        "events": 400,
        "max_bytes": 2**24,
        "lease": 60,
        "after": "",
        "probes": 1000,
        "token": "4dd5b0bb-7b1b-4f5b-b4a1-1f0e0e0e0e0e",
        "holds": 16,
    }
    settle = {name: [] for name in ("codes", "messages", "doubts", "tries")} | {
        "ids": list(range(200)),
        "accepted": list(range(200, 400)),
        "waits": [1.0] * 200,
    }
    settle |= {"codes": ["x"] * 200, "messages": ["x"] * 200, "doubts": [False] * 200}
    settle |= {"tries": [1] * 200}
    with psycopg.connect(dsn) as connection:
        for statement in (
            statements.claim(),
            statements.probe(),
            statements.alone(),
            statements.look,
            statements.settle,
        ):
            ((explained,),) = connection.execute(
                f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}".encode(), values | settle
            ).fetchall()
            scans = seq_scans(explained[0]["Plan"])
            assert "eventbridge_outbox" not in scans, json.dumps(explained, indent=1)
            connection.rollback()


@pytest.mark.parametrize("state", STATES)
def test_a_claim_reads_no_more_sources_than_it_needs(outbox, state):
    """A claim of a few events looks at a few sources, in their order."""
    dsn = outbox.dsn
    sql(dsn, "ALTER TABLE eventbridge_outbox SET (autovacuum_enabled = false)")
    if state == STATES[1]:
        sql(dsn, "ANALYZE eventbridge_outbox", "ANALYZE eventbridge_outbox_hold")
    fill(dsn, 5000, 1000)
    if state == STATES[2]:
        sql(dsn, "ANALYZE eventbridge_outbox", "ANALYZE eventbridge_outbox_hold")
    values = {"events": 10, "max_bytes": 2**24, "lease": 60, "after": "", "probes": 1000}
    values["token"] = "4dd5b0bb-7b1b-4f5b-b4a1-1f0e0e0e0e0e"
    statement = Statements(Names.of("eventbridge_outbox")).claim()
    with psycopg.connect(dsn) as connection:
        ((plan,),) = connection.execute(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}".encode(), values
        ).fetchall()
    walked = [node for node in nodes(plan[0]["Plan"]) if node["Node Type"] == "Recursive Union"]
    assert [node["Actual Rows"] for node in walked] == [10]


def nodes(plan):
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def seq_scans(plan):
    return [node["Relation Name"] for node in nodes(plan) if node["Node Type"] == "Seq Scan"]


# ---------------------------------------------------------------- claims


def test_many_sources_that_are_not_due(outbox):
    """A due row is found behind any number of sources that wait."""
    dsn = outbox.dsn
    fill(dsn, 3000, 1500)
    sql(dsn, "UPDATE eventbridge_outbox SET due_at = clock_timestamp() + interval '1 hour'")
    put(outbox, event(1, "zzz"))
    assert len(claim(outbox).rows) == 1
    sql(dsn, "UPDATE eventbridge_outbox SET due_at = now() WHERE source = 'aws.partner/x/y/999'")
    assert len(claim(outbox).rows) == 2


def test_concurrent_claims_share_no_row(outbox):
    """Relays that claim at the same time claim each row once."""
    fill(outbox.dsn, 4000, 50)
    taken: list[int] = []
    failures: list[Exception] = []

    def relay() -> None:
        with PostgresOutbox(outbox.dsn) as mine:
            try:
                while (got := claim(mine, 100)) is not None:
                    taken.extend(row.id for row in got.rows)
                    mine.settle(got, [Gone()] * len(got.rows))
            except Exception as error:  # noqa: BLE001  # any failure
                failures.append(error)

    threads = [threading.Thread(target=relay) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(taken) == len(set(taken))
    while (got := claim(outbox)) is not None:  # rows that others had locked at the end
        taken.extend(row.id for row in got.rows)
    assert len(taken) == 4000


def test_one_probe_for_all_relays(outbox):
    """Only one of several relays probes a hold that has ended."""
    put(outbox, *(event(number, "held") for number in range(9)))
    outbox.hold(event(1, "held").source, seconds=0.01)
    time.sleep(0.02)
    others = [PostgresOutbox(outbox.dsn) for _ in range(3)]
    claims = [claim(one) for one in (outbox, *others)]
    assert [len(one.rows) for one in claims if one] == [1]
    for one in others:
        one.close()


def with_setting(dsn, setting):
    options = psycopg.conninfo.conninfo_to_dict(dsn)["options"]
    return psycopg.conninfo.make_conninfo(dsn, options=f"{options} -c {setting}")


def test_isolation(outbox):
    """Claims are READ COMMITTED whatever the role's default."""
    strict = with_setting(outbox.dsn, "default_transaction_isolation=serializable")
    seen: list[str] = []

    class Watching(PostgresOutbox):
        def _take(self, cursor, limits):
            seen.append(cursor.execute("SHOW transaction_isolation").fetchone()[0])
            return super()._take(cursor, limits)

    with Watching(strict) as other:
        claim(other)
    assert seen == ["read committed"]


# ---------------------------------------------------------------- failures


def test_the_server_is_away():
    """An unreachable server is a clear error that shows no password."""
    outbox = PostgresOutbox("postgresql://me:canary@127.0.0.1:1/db")
    with pytest.raises(OutboxUnavailableError, match="refused") as raised:
        outbox.stats()
    assert "canary" not in str(raised.value) + repr(outbox)


def test_a_connection_that_was_cut_is_replaced(outbox):
    """An idle connection that the server closed is replaced."""
    put(outbox, event(1))
    outbox.stats()
    cut = outbox._run(lambda cursor: cursor.connection.info.backend_pid)
    assert sql(outbox.dsn, f"SELECT pg_terminate_backend({cut})") == [(True,)]
    assert len(claim(outbox).rows) == 1


def test_no_password_in_errors():
    """An invalid connection string is reported without being shown."""
    outbox = PostgresOutbox("host=localhost password=canary canary2")
    with pytest.raises(ConfigurationError, match="not a connection string") as raised:
        outbox.stats()
    assert "canary" not in str(raised.value)
    assert raised.value.__suppress_context__


def test_no_database():
    """An outbox without a database can only be added to, and says so."""
    with pytest.raises(ConfigurationError, match="has no database"):
        PostgresOutbox().stats()


def test_read_only(outbox):
    """A read-only server is a clear error."""
    put(outbox, event(1))
    other = PostgresOutbox(with_setting(outbox.dsn, "default_transaction_read_only=on"))
    with pytest.raises(OutboxUnavailableError, match="ReadOnlySqlTransaction"):
        claim(other)


@pytest.mark.process
def test_after_a_fork(outbox):
    """A child process uses connections of its own, and leaves its parent's alone."""
    put(outbox, event(1), event(2))
    assert len(claim(outbox, 1).rows) == 1

    def child() -> None:
        taken = claim(outbox, 1)
        outbox.settle(taken, [Gone()])
        outbox.close()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert outbox.stats().waiting == 1


def test_a_message_that_cannot_be_stored_as_it_is(outbox):
    """A message with NUL or half a character can still be stored."""
    put(outbox, event(1))
    outbox.settle(claim(outbox), [Dead("X", "a\0b\ud800c")])
    (dead,) = outbox.dead_letters()
    assert dead.message == "a\ufffdb?c"


# ---------------------------------------------------------------- other ways to connect


def test_a_function_that_connects(outbox):
    """A connection that the application makes is used, whatever its settings."""
    from psycopg.rows import dict_row

    put(outbox, event(1))
    opened = []

    def connect():
        opened.append(psycopg.connect(outbox.dsn, autocommit=True, row_factory=dict_row))
        return opened[-1]

    with PostgresOutbox(connect) as other:
        assert len(claim(other).rows) == 1
    assert opened[0].closed


def test_an_engine(outbox):
    """An SQLAlchemy engine on psycopg connects, and keeps none of these connections."""
    import sqlalchemy

    put(outbox, event(1))
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(outbox.dsn)
    )
    with PostgresOutbox(engine) as other:
        assert len(claim(other).rows) == 1
        assert "Current Checked out connections: 0" in engine.pool.status()
    engine.dispose()


# ---------------------------------------------------------------- waiting


def test_a_commit_wakes_a_listening_relay(outbox):
    """With `notify` and `listen`, a commit ends the wait for the next poll."""
    with (
        PostgresOutbox(outbox.dsn, listen=True) as relay,
        psycopg.connect(outbox.dsn) as connection,
    ):
        assert claim(relay) is None
        relay.wait(0.0)
        relay.wait(20.0)  # returns at once when it begins to listen
        assert claim(relay) is None
        PostgresOutbox(notify=True).add(connection, event(1))
        threading.Timer(0.1, connection.commit).start()
        began = time.monotonic()
        relay.wait(20.0)
        assert time.monotonic() - began < 10.0
        assert claim(relay) is not None


def test_silence_is_noticed(outbox, caplog, monkeypatch):
    """If no notification arrives, the log says so and the relay polls."""
    monkeypatch.setattr("eventbridge_partner.outbox._postgresql._LISTEN_PATIENCE", 0.05)

    class Deaf(PostgresOutbox):
        def _open(self):
            connection = super()._open()
            connection.notifies = lambda **_: iter(())  # type: ignore[assignment, method-assign]
            return connection

    with Deaf(outbox.dsn, listen=True) as relay:
        claim(relay)
        began = time.monotonic()
        while "the relay polls" not in caplog.text and time.monotonic() - began < 10:
            relay.wait(0.05)
    assert "no notification comes through" in caplog.text


# ---------------------------------------------------------------- figures, dead letters


def test_stats(outbox):
    """Stats count rows that wait, are due, are leased or are dead, and held sources."""
    put(outbox, *(event(number, f"c{number}") for number in range(6)))
    pass_time(outbox.dsn, 10)
    taken = claim(outbox, 3)
    outbox.settle(taken, [Dead("X", "m"), Later(60, "Busy", "m"), Gone()])
    claim(outbox, 1)
    outbox.hold(event(4, "c4").source, seconds=60)
    stats = outbox.stats()
    assert (stats.waiting, stats.due, stats.leased, stats.dead, stats.held) == (4, 1, 1, 1, 1)
    assert 10 <= stats.oldest_age < 60
    assert not stats.is_estimate


def test_an_old_snapshot_is_named(outbox):
    """The snapshot that keeps autovacuum from working shows in the stats."""
    with psycopg.connect(outbox.dsn) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        ((began,),) = connection.execute("SELECT now()").fetchall()
        assert outbox.stats().held_back_since == began


def test_estimates(outbox, monkeypatch):
    """With many rows, figures are estimates, and marked as such."""
    fill(outbox.dsn, 3000, 3)
    sql(outbox.dsn, "ANALYZE eventbridge_outbox")
    monkeypatch.setattr("eventbridge_partner.outbox._postgresql._COUNTED_ROWS", 1000)
    stats = outbox.stats()
    assert (stats.waiting, stats.due, stats.is_estimate) == (3000, 3000, True)


def bury(outbox, *events, code="X"):
    put(outbox, *events)
    while (taken := claim(outbox)) is not None:
        outbox.settle(taken, [Dead(code, "message")] * len(taken.rows))


def test_dead_letters(outbox):
    """Dead letters keep every member, come page by page, and hide their payload in a repr."""
    at = datetime.datetime(2024, 5, 1, 12, 0, 0, 250_000, tzinfo=datetime.UTC)
    first = PartnerEvent(
        event(1).source, "t", {"secret": "canary"}, resources=["arn:a", "é\0"], time=at
    )
    bury(outbox, first, code="First")
    bury(outbox, *(event(number, "other") for number in range(600)))
    found = list(outbox.dead_letters(limit=None))
    assert len(found) == 601
    assert len(list(outbox.dead_letters())) == 100
    assert len(list(outbox.dead_letters(before=found[599].id))) == 1
    assert len(list(outbox.dead_letters(source=event(1, "other").source, limit=7))) == 7
    (one,) = outbox.dead_letters(code="First")
    assert (one.detail, one.resources, one.time) == (first.detail, first.resources, at)
    assert (one.code, one.message, one.tries, one.maybe_sent) == ("First", "message", 0, False)
    assert one.added_at <= one.died_at
    assert one.died_at.tzinfo is datetime.UTC
    assert "canary" not in repr(one)


def test_redrive_and_purge(outbox):
    """The dead letters chosen are put back as new rows, or deleted for good."""
    bury(outbox, *map(event, range(4)))
    bury(outbox, event(9, "other"), code="Y")
    ids = sorted(one.id for one in outbox.dead_letters())
    assert outbox.redrive(ids[0], ids[0], 12345) == 1
    assert outbox.redrive(code="Y") == 1
    assert outbox.redrive(source=event(1).source, limit=2) == 2
    assert [one.id for one in outbox.dead_letters()] == [ids[3]]
    assert {row.tries for row in claim(outbox).rows} == {0}
    with pytest.raises(TypeError, match="needs ids, source or code"):
        outbox.redrive()
    pass_time(outbox.dsn, 100)
    bury(outbox, *map(event, range(3)), code="Z")
    age = datetime.timedelta(seconds=60)
    assert outbox.purge(older_than=age, code="Z") == 0
    assert outbox.purge(older_than=age) == 1
    assert outbox.purge(older_than=datetime.timedelta(0), source=event(1).source) == 6
