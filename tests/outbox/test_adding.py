"""`add` and `add_async` in transactions, on every kind of connection."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sqlite3
import sys
from typing import Any

import aiosqlite
import asyncpg
import django
import psycopg
import psycopg2
import pytest
import sqlalchemy
from django.conf import settings
from django.db import connections, transaction
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from eventbridge_partner import InvalidEventError, NoTransactionError, PartnerEvent
from eventbridge_partner.outbox import PostgresOutbox, SqliteOutbox
from eventbridge_partner.outbox.contract import event

pytestmark = [pytest.mark.process, pytest.mark.slow]  # the tests start PostgreSQL

GIVEN = (
    event(1),
    PartnerEvent(event(1).source, "wörld \U0001f30d %s ? $1 :x", '{"a": "50 % ? $1 :b"}'),
    {"Source": event(1).source, "DetailType": "t", "Detail": {"a": "\0"}, "Time": 1.5},
)
FIRST = [event(1).detail, '{"a": "50 % ? $1 :b"}', '{"a":"\\u0000"}']

if not settings.configured:
    settings.configure(DATABASES={}, DEBUG=True, USE_TZ=True)
    django.setup()


@pytest.fixture
def server(dsn):
    """An outbox in PostgreSQL."""
    with PostgresOutbox(dsn) as outbox:
        outbox.create()
        yield outbox


@pytest.fixture
def file(tmp_path):
    """An outbox in SQLite; `file._path` is the file."""
    with SqliteOutbox(tmp_path / "shop.db") as outbox:
        outbox.create()
        yield outbox


def details(outbox):
    claim = outbox.claim(events=100, max_bytes=2**24, lease=60)
    return [] if claim is None else [row.event().detail for row in claim.rows]


def asyncpg_settings(dsn):
    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    path = str(parts["options"]).rpartition("=")[2]
    named = {"host": parts["host"], "database": parts["dbname"], "user": parts["user"]}
    return named | {"server_settings": {"search_path": path}}


# ---------------------------------------------------------------- connections, each as a block
#
# Each yields (connection, commit, rollback), in a transaction unless it is to autocommit.


@contextlib.contextmanager
def of_sqlite3(outbox, autocommit):
    level = None if autocommit else "DEFERRED"
    with contextlib.closing(sqlite3.connect(outbox._path, isolation_level=level)) as connection:
        yield connection, connection.commit, connection.rollback


@contextlib.contextmanager
def of_psycopg(dsn, autocommit):
    with psycopg.connect(dsn, autocommit=autocommit) as connection:
        yield connection, connection.commit, connection.rollback


@contextlib.contextmanager
def of_psycopg2(dsn, autocommit):
    connection = psycopg2.connect(dsn)
    connection.autocommit = autocommit
    with contextlib.closing(connection):
        yield connection, connection.commit, connection.rollback


def engine_of(outbox, dsn, driver, **settings):
    if driver == "sqlite":
        return sqlalchemy.create_engine(f"sqlite:///{outbox._path}", **settings)
    connect = {"psycopg": psycopg.connect, "psycopg2": psycopg2.connect}[driver]
    return sqlalchemy.create_engine(
        f"postgresql+{driver}://", creator=lambda: connect(dsn), **settings
    )


@contextlib.contextmanager
def of_engine(driver, shape, outbox, dsn, autocommit):
    level = {"isolation_level": "AUTOCOMMIT"} if autocommit else {}
    engine = engine_of(outbox, dsn, driver, **level)
    made = {
        "connection": engine.connect,
        "session": lambda: Session(engine),
        "scoped": scoped_session(sessionmaker(engine)),
    }[shape]()
    with contextlib.closing(made):
        yield made, made.commit, made.rollback
    engine.dispose()


@contextlib.contextmanager
def of_django(outbox, dsn, vendor, autocommit):
    if vendor == "sqlite":
        values: dict[str, Any] = {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(outbox._path),
        }
    else:
        parts = psycopg.conninfo.conninfo_to_dict(dsn)
        values = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": parts["dbname"],
            "USER": parts["user"],
            "HOST": parts["host"],
            "OPTIONS": {"options": parts["options"]},
        }
    alias = f"of_{vendor}"
    connections.settings[alias] = connections.configure_settings({alias: values, "default": {}})[
        alias
    ]
    connection = connections[alias]
    try:
        if autocommit:
            yield connection, None, None
        else:
            block = transaction.atomic(using=alias)
            block.__enter__()
            yield (
                connection,
                lambda: block.__exit__(None, None, None),
                lambda: block.__exit__(KeyError, KeyError(), None),
            )
    finally:
        connection.close()
        del connections[alias], connections.settings[alias]


SYNC: dict[str, Any] = {
    "sqlite3": lambda o, d, a: of_sqlite3(o, a),
    "psycopg": lambda o, d, a: of_psycopg(d, a),
    "psycopg2": lambda o, d, a: of_psycopg2(d, a),
    **{
        f"sqlalchemy {shape} on {driver}": (functools.partial(of_engine, driver, shape))
        for driver in ("sqlite", "psycopg", "psycopg2")
        for shape in ("connection", "session", "scoped")
    },
    "django on sqlite": lambda o, d, a: of_django(o, d, "sqlite", a),
    "django on postgresql": lambda o, d, a: of_django(o, d, "postgresql", a),
}
KINDS = list(SYNC)


@pytest.fixture
def outbox_of(request):
    """Return a kind of connection's outbox, and its connection string if it has one."""

    def find(kind):
        if "sqlite" in kind:
            return request.getfixturevalue("file"), ""
        return request.getfixturevalue("server"), request.getfixturevalue("dsn")

    return find


@pytest.mark.parametrize("kind", KINDS)
def test_committed(outbox_of, kind):
    """Added events appear at the commit and not before, in their order, exactly as given."""
    outbox, dsn = outbox_of(kind)
    with SYNC[kind](outbox, dsn, False) as (connection, commit, _):
        outbox.add(connection, *GIVEN)
        assert details(outbox) == []
        commit()
    assert details(outbox) == FIRST


@pytest.mark.parametrize("kind", KINDS)
def test_rolled_back(outbox_of, kind):
    """Events that were rolled back never appear."""
    outbox, dsn = outbox_of(kind)
    with SYNC[kind](outbox, dsn, False) as (connection, _, rollback):
        outbox.add(connection, *GIVEN)
        rollback()
    assert outbox.stats().waiting == 0


@pytest.mark.parametrize("kind", KINDS)
def test_autocommit(outbox_of, kind):
    """A connection in autocommit mode is refused, and nothing is written."""
    outbox, dsn = outbox_of(kind)
    with SYNC[kind](outbox, dsn, True) as (connection, _, _):
        with pytest.raises(NoTransactionError, match="begin a transaction"):
            outbox.add(connection, event(1))
    assert outbox.stats().waiting == 0


@pytest.mark.parametrize("kind", KINDS)
def test_invalid_events(outbox_of, kind):
    """If one event is invalid, none is written, and the message says which and why."""
    outbox, dsn = outbox_of(kind)
    with SYNC[kind](outbox, dsn, False) as (connection, commit, _):
        bad = PartnerEvent(event(1).source, "a\0b", {})
        with pytest.raises(InvalidEventError) as raised:
            outbox.add(connection, event(1), {"Source": "x"}, bad)
        commit()
    assert {finding.index for finding in raised.value.findings} == {1, 2}
    assert "detail_type of event 2 has a U+0000" in str(raised.value)
    assert outbox.stats().waiting == 0


@pytest.mark.parametrize("kind", KINDS)
def test_errors_show_no_payload(outbox_of, kind):
    """An error of the database shows no payload."""
    outbox, dsn = outbox_of(kind)
    other = type(outbox)(outbox._path) if "sqlite" in kind else PostgresOutbox(dsn)
    secret = PartnerEvent(event(1).source, "t", {"secret": "canary"})
    if "sqlite" in kind:
        with contextlib.closing(sqlite3.connect(outbox._path)) as opened, opened:
            opened.execute(f"CREATE TRIGGER no {REFUSES} BEGIN SELECT raise(ABORT, 'no'); END")
    else:
        with psycopg.connect(dsn) as server:
            server.execute(
                "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'no'; END $$"
            )
            server.execute(f"CREATE TRIGGER no {REFUSES} EXECUTE FUNCTION no()")
    with SYNC[kind](other, dsn, False) as (connection, _, rollback):
        with pytest.raises(Exception, match="no") as raised:
            other.add(connection, secret)
        rollback()
    assert "canary" not in str(raised.value) + repr(raised.value)


REFUSES = "BEFORE INSERT ON eventbridge_outbox"


def test_nothing_to_add(file):
    """Adding no event writes nothing."""
    with contextlib.closing(sqlite3.connect(file._path)) as connection:
        file.add(connection)
        assert not connection.in_transaction


def test_transactions_begun_by_hand(file, server, dsn):
    """A transaction that was begun by hand is accepted in autocommit mode."""
    with contextlib.closing(sqlite3.connect(file._path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        file.add(connection, event(1))
        connection.execute("COMMIT")
    assert len(details(file)) == 1
    with psycopg.connect(dsn, autocommit=True) as connection:
        with connection.transaction():
            server.add(connection, event(1))
        with pytest.raises(NoTransactionError):
            server.add(connection, event(2))
    assert len(details(server)) == 1


def test_other_cursors(server, dsn):
    """The application may use a cursor class of its own."""
    with psycopg.connect(dsn, cursor_factory=psycopg.RawCursor) as connection:
        server.add(connection, event(1))
    assert len(details(server)) == 1


@pytest.mark.parametrize("given", [None, "postgresql://x", 5, object()])
def test_unknown_connections(file, given):
    """Anything but a connection is a TypeError that names the allowed ones."""
    with pytest.raises(TypeError, match="allowed: one of sqlite3, psycopg"):
        file.add(given, event(1))
    with pytest.raises(TypeError, match="allowed: one of asyncpg"):
        asyncio.run(file.add_async(given, event(1)))


def test_the_other_database(file, server, dsn):
    """A connection to the other kind of database is refused by name."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        with pytest.raises(TypeError, match="to SQLite; allowed: one to PostgreSQL"):
            server.add(connection, event(1))
    with psycopg.connect(dsn) as connection:
        with pytest.raises(TypeError, match="to PostgreSQL; allowed: one to SQLite"):
            file.add(connection, event(1))


def test_the_other_method(file, server, dsn):
    """A connection for the other method is a TypeError that names the method for it."""
    with contextlib.closing(sqlite3.connect(file._path)) as connection:
        with pytest.raises(TypeError, match="add takes those of sqlite3"):
            asyncio.run(file.add_async(connection, event(1)))

    async def main() -> None:
        async with aiosqlite.connect(file._path) as connection:
            file.add(connection, event(1))

    with pytest.raises(TypeError, match="add_async takes those of asyncpg"):
        asyncio.run(main())


# ---------------------------------------------------------------- asyncio


@contextlib.asynccontextmanager
async def of_asyncpg(outbox, dsn, autocommit):
    connection = await asyncpg.connect(**asyncpg_settings(dsn))
    try:
        if autocommit:
            yield connection, None, None
        else:
            block = connection.transaction()
            await block.start()
            yield connection, block.commit, block.rollback
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def of_pool(outbox, dsn, autocommit):
    async with asyncpg.create_pool(**asyncpg_settings(dsn), min_size=1) as pool:
        async with pool.acquire() as connection:
            if autocommit:
                yield connection, None, None
            else:
                block = connection.transaction()
                await block.start()
                yield connection, block.commit, block.rollback


@contextlib.asynccontextmanager
async def of_async_psycopg(outbox, dsn, autocommit):
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=autocommit) as connection:
        yield connection, connection.commit, connection.rollback


@contextlib.asynccontextmanager
async def of_aiosqlite(outbox, dsn, autocommit):
    level = None if autocommit else "DEFERRED"
    async with aiosqlite.connect(outbox._path, isolation_level=level) as connection:
        yield connection, connection.commit, connection.rollback


@contextlib.asynccontextmanager
async def of_async_engine(driver, shape, outbox, dsn, autocommit):
    level = {"isolation_level": "AUTOCOMMIT"} if autocommit else {}
    if driver == "aiosqlite":
        engine = create_async_engine(f"sqlite+aiosqlite:///{outbox._path}", **level)
    elif driver == "asyncpg":
        engine = create_async_engine(
            "postgresql+asyncpg://", connect_args=asyncpg_settings(dsn), **level
        )
    else:
        parts = psycopg.conninfo.conninfo_to_dict(dsn)
        engine = create_async_engine("postgresql+psycopg://", connect_args=parts, **level)
    made = engine.connect() if shape == "connection" else AsyncSession(engine)
    async with made as connection:
        yield connection, connection.commit, connection.rollback
    await engine.dispose()


ASYNC: dict[str, Any] = {
    "asyncpg": of_asyncpg,
    "asyncpg's pool": of_pool,
    "psycopg": of_async_psycopg,
    "aiosqlite": of_aiosqlite,
    **{
        f"sqlalchemy {shape} on {driver}": (functools.partial(of_async_engine, driver, shape))
        for driver in ("aiosqlite", "asyncpg", "psycopg")
        for shape in ("connection", "session")
    },
}
ASYNC_KINDS = list(ASYNC)


@pytest.mark.parametrize("kind", ASYNC_KINDS)
def test_async_committed(outbox_of, kind):
    """Added events appear at the commit and not before, in their order, exactly as given."""
    outbox, dsn = outbox_of(kind)

    async def main() -> None:
        async with ASYNC[kind](outbox, dsn, False) as (connection, commit, _):
            await outbox.add_async(connection, *GIVEN)
            assert await asyncio.to_thread(details, outbox) == []
            await commit()

    asyncio.run(main())
    assert details(outbox) == FIRST


@pytest.mark.parametrize("kind", ASYNC_KINDS)
def test_async_rolled_back(outbox_of, kind):
    """Events that were rolled back never appear."""
    outbox, dsn = outbox_of(kind)

    async def main() -> None:
        async with ASYNC[kind](outbox, dsn, False) as (connection, _, rollback):
            await outbox.add_async(connection, *GIVEN)
            await rollback()

    asyncio.run(main())
    assert outbox.stats().waiting == 0


@pytest.mark.parametrize("kind", ASYNC_KINDS)
def test_async_autocommit(outbox_of, kind):
    """A connection in autocommit mode is refused, and nothing is written."""
    outbox, dsn = outbox_of(kind)

    async def main() -> None:
        async with ASYNC[kind](outbox, dsn, True) as (connection, _, _):
            with pytest.raises(NoTransactionError, match="begin a transaction"):
                await outbox.add_async(connection, event(1))

    asyncio.run(main())
    assert outbox.stats().waiting == 0


# ---------------------------------------------------------------- spans


def test_the_current_span_is_kept(file, monkeypatch):
    """With OpenTelemetry in use, a row keeps the span that is current when it is added."""

    class Context:
        is_valid, trace_id, span_id, trace_flags = True, 0xABC, 0xDEF, 1

    class Trace:
        @staticmethod
        def get_current_span():
            return type("Span", (), {"get_span_context": lambda self: Context})()

    monkeypatch.setitem(sys.modules, "opentelemetry.trace", Trace)
    with contextlib.closing(sqlite3.connect(file._path)) as connection, connection:
        file.add(connection, event(1))
        Context.is_valid = False
        file.add(connection, event(2))
    claim = file.claim(events=9, max_bytes=2**20, lease=9)
    kept = [row.traceparent for row in claim.rows]
    assert kept == [f"00-{0xABC:032x}-{0xDEF:016x}-01", None]
