"""The outbox in PostgreSQL: any number of relay processes on any number of hosts."""

from __future__ import annotations

import contextlib
import datetime
import logging
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar, cast

from eventbridge_partner._clock import monotonic
from eventbridge_partner._logs import log
from eventbridge_partner._threads import SendingThread
from eventbridge_partner.errors import ConfigurationError, OutboxUnavailableError
from eventbridge_partner.outbox import _schema
from eventbridge_partner.outbox._adding import Adding, Statement
from eventbridge_partner.outbox._bell import Bell
from eventbridge_partner.outbox._pool import Pool
from eventbridge_partner.outbox._records import (
    Dead,
    DeadLetter,
    Fate,
    Gone,
    Later,
    OutboxStats,
    Settled,
)
from eventbridge_partner.outbox._rows import (
    Claim,
    ClaimedRow,
    StoredEvent,
    read_resources,
    read_time,
)
from eventbridge_partner.outbox._selection import check_selector, selector
from eventbridge_partner.outbox._statements import Statements

if TYPE_CHECKING:
    pass

if TYPE_CHECKING:
    import psycopg

    _Connection = psycopg.Connection[tuple[Any, ...]]
    _Cursor = psycopg.Cursor[tuple[Any, ...]]

T = TypeVar("T")

_PAGE: Final = 500
_PROBED_SOURCES: Final = 1000
"""A claim that has looked at this many sources in vain looks at all, from the first."""

_EVERY_SOURCE: Final = 2**31 - 1
_PROBED_HOLDS: Final = 16
_LOOK_SECONDS: Final = 1.0
"""The longest time between two looks for rows to be claimed alone and for expired holds."""

_COUNTED_ROWS: Final = 200_000
"""More rows than these are estimated, not counted."""

_LISTEN_PATIENCE: Final = 3.0
_LISTEN_AGAIN: Final = 60.0

_MISSING: Final = frozenset({"42P01", "42703", "3F000"})
"""SQLSTATEs for a missing table, column or schema."""


class Engine(Protocol):
    """A SQLAlchemy Engine on psycopg."""

    def raw_connection(self) -> Any:
        """Return a connection of the engine's pool."""
        ...


class PostgresOutbox(Adding):
    """
    An outbox in PostgreSQL, in the application's own database.

    Creating one does not connect. Thread-safe and fork-safe. Works behind PgBouncer in transaction
    mode, except `listen`. All times are those of the database.

    Args:
        database: A connection string or URI, a SQLAlchemy Engine on psycopg, or a function that
            opens a psycopg connection. Not needed by an application that only adds events.
        table: The name of the outbox's table; its other tables are named after it.
        schema: The tables' schema; None for the search path.
        notify: Whether `add` notifies relays that listen. It makes a commit a little slower.
        listen: Whether a relay listens for these notifications, besides polling. If none comes
            through, as behind PgBouncer, it logs that once and only polls.

    Raises:
        ValueError: `table` or `schema` is not a valid name.
    """

    def __init__(
        self,
        database: str | Engine | Callable[[], Any] | None = None,
        *,
        table: str = _schema.TABLE,
        schema: str | None = None,
        notify: bool = False,
        listen: bool = False,
    ) -> None:
        names = _schema.Names.of(table, schema)
        super().__init__("postgresql", names, self._insertions)
        self._database = database
        self._schema = schema
        self._notify = notify
        self._listen = listen
        self._channel = names.outbox
        self._connections = Pool(self._connect, _close)
        self._sql = Statements(names)
        self._bell = Bell()
        self._seen = threading.local()
        self._after = ""
        self._was_alone = False
        self._has_suspects = False
        self._look_at = 0.0
        self._listener: _Listener | None = None
        self._starting = threading.Lock()

    def _insertions(self, rows: list[StoredEvent]) -> list[Statement]:
        columns = tuple([list(column) for column in zip(*rows, strict=True)])
        statements = [Statement(self._sql.insert, columns)]
        if self._notify:
            statements.append(Statement("SELECT pg_notify(?, '')", (self._channel,)))
        return statements

    # ------------------------------------------------------------ connections

    def _open(self) -> _Connection:
        psycopg = _psycopg()
        connection: _Connection
        database = self._database
        if database is None:
            raise ConfigurationError(
                "PostgresOutbox has no database; needed for everything but add: a connection "
                "string, an Engine or a function that connects"
            )
        if isinstance(database, str):
            _check_conninfo(database)
            connection = psycopg.connect(database)
        elif (of_pool := getattr(database, "raw_connection", None)) is not None:
            pooled = of_pool()
            connection = pooled.driver_connection
            pooled.detach()
        else:
            connection = cast("Callable[[], _Connection]", database)()
        connection.prepare_threshold = None  # PgBouncer loses prepared statements
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        connection.autocommit = False
        return connection

    def _connect(self) -> _Connection:
        connection = self._open()
        try:
            with connection.transaction(), _cursor(connection) as cursor:
                _schema.check_version(self._version(cursor), self._names)
        except BaseException:
            connection.close()
            raise
        return connection

    def _version(self, cursor: _Cursor) -> int | None:
        cursor.execute("SELECT to_regclass(%s) IS NULL", (self._names.version,))
        if _one(cursor)[0]:
            return None
        _execute(cursor, f"SELECT version FROM {self._names.version}")
        found = cursor.fetchone()
        return None if found is None else int(found[0])

    def _run(self, work: Callable[[_Cursor], T]) -> T:
        """Call a function in a transaction of its own."""
        with self._translated():
            try:
                return self._try(work)
            except _StaleError:
                # The server or a proxy has closed an idle connection.
                self._connections.close()
                return self._try(work)

    def _try(self, work: Callable[[_Cursor], T]) -> T:
        with self._connections.lend() as (connection, is_used):
            try:
                with connection.transaction(), _cursor(connection) as cursor:
                    return work(cursor)
            except _psycopg().OperationalError as error:
                if is_used and connection.closed:
                    raise _StaleError from error
                raise

    @contextlib.contextmanager
    def _translated(self) -> Generator[None]:
        psycopg = _psycopg()
        try:
            yield
        except psycopg.Error as error:
            if error.sqlstate in _MISSING:
                raise _schema.missing(self._names) from error
            # The message of a refused statement may contain values; that of a failed connection
            # does not, and says where it failed.
            what = type(error).__name__
            if error.sqlstate is not None:
                what += f" ({error.sqlstate})"
            elif isinstance(error, psycopg.OperationalError):
                what = " ".join(str(error).split())[:300] or what
            message = f"the outbox {self._names.outbox} in PostgreSQL cannot be used: {what}"
            raise OutboxUnavailableError(message) from None

    @contextlib.contextmanager
    def transaction(self) -> Generator[Any]:
        """
        Begin a transaction on the outbox's own connection, for programs without one.

        Yields:
            A psycopg connection for `add`. The end of the block commits; an exception rolls back.

        Raises:
            OutboxUnavailableError: The database cannot be reached, or refuses.
        """
        with (
            self._translated(),
            self._connections.lend() as (connection, _),
            connection.transaction(),
        ):
            yield connection

    # ------------------------------------------------------------ tables

    def create(self) -> None:
        """
        Make the tables unless they exist.

        Raises:
            OutboxSchemaError: There are tables of another version.
            OutboxUnavailableError: The database cannot be reached, or refuses.
        """
        self._migrate(is_new=True)

    def upgrade(self) -> None:
        """
        Upgrade the tables of an older release; do nothing if they are current.

        Raises:
            OutboxSchemaError: There are no tables, or tables of a newer release.
            OutboxUnavailableError: The database cannot be reached, or refuses.
        """
        self._migrate(is_new=False)

    def _migrate(self, *, is_new: bool) -> None:
        with (
            self._translated(),
            contextlib.closing(self._open()) as connection,
            connection.transaction(),
            _cursor(connection) as cursor,
        ):
            # One process at a time: a second one finds everything done.
            lock = f"eventbridge_partner.outbox {self._names.outbox}"
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (lock,))
            version = self._version(cursor)
            if is_new and version is None:
                version = 0
            elif is_new or version is None or version > _schema.VERSION:
                _schema.check_version(version, self._names)
            for statement in _schema.postgresql(self._names, version or 0):
                _execute(cursor, statement)

    def schema_sql(self, since: int = 0) -> str:
        """
        Return the statements that make the tables, for the application's migrations.

        Args:
            since: The installed version; 0 for none.
        """
        return _schema.script(_schema.postgresql(self._names, since))

    def tables(self, metadata: Any) -> tuple[Any, ...]:
        """
        Describe the tables to SQLAlchemy, so that Alembic's autogenerate leaves them as they are.

        Args:
            metadata: The application's `MetaData`; the tables are added to it.

        Returns:
            The tables.
        """
        from eventbridge_partner.outbox._tables import tables

        return tables(metadata, self._names, self._schema)

    # ------------------------------------------------------------ for a relay

    def claim(self, *, events: int, max_bytes: int, lease: float) -> Claim | None:
        """
        Claim rows that are due, an equal share of each source.

        Args:
            events: The most rows to claim.
            max_bytes: The largest size of all rows together; a single row may be larger.
            lease: Seconds for which no other claim gets these rows.

        Returns:
            The claim; None if nothing is due.

        Raises:
            OutboxUnavailableError: The database is unavailable.
        """
        self._seen.rings = self._bell.rings
        token = uuid.uuid4()
        limits = {"events": events, "max_bytes": max_bytes, "lease": lease, "token": token}
        rows = self._run(lambda cursor: self._take(cursor, limits))
        if not rows:
            return None
        # Ids are unique and rise in the order of adding.
        claimed = [ClaimedRow(*row) for row in sorted(rows)]
        return Claim(str(token), tuple(claimed), lease)

    def _take(self, cursor: _Cursor, limits: dict[str, Any]) -> list[tuple[Any, ...]]:
        # Rows that may kill their sender, and sources whose hold has expired, come first.
        if (monotonic() >= self._look_at or self._has_suspects) and (
            rows := self._first(cursor, limits)
        ):
            return rows
        probes = {"after": self._after, "probes": _PROBED_SOURCES if self._after else _EVERY_SOURCE}
        rows = self._fetch(cursor, self._sql.claim(), limits | probes)
        if not rows and self._after:
            # Nothing after the last source: look once more, from the first, at all sources.
            probes = {"after": "", "probes": _EVERY_SOURCE}
            rows = self._fetch(cursor, self._sql.claim(), limits | probes)
        self._after = max((row[1] for row in rows), default="")
        return rows or self._first(cursor, limits, is_all=True)

    def _first(
        self, cursor: _Cursor, limits: dict[str, Any], *, is_all: bool = False
    ) -> list[tuple[Any, ...]]:
        """Claim a row alone, in turn with others, or one row of each source whose hold expired."""
        self._look_at = monotonic() + _LOOK_SECONDS
        ((has_ended_holds, self._has_suspects),) = self._fetch(cursor, self._sql.look, {})
        if self._has_suspects and (is_all or not self._was_alone):
            rows = self._fetch(cursor, self._sql.alone(), limits)
            self._was_alone = bool(rows)
            if rows:
                return rows
        self._was_alone = False
        return self._probe(cursor, limits) if has_ended_holds else []

    def _probe(self, cursor: _Cursor, limits: dict[str, Any]) -> list[tuple[Any, ...]]:
        holds = min(limits["events"], _PROBED_HOLDS)
        return self._fetch(cursor, self._sql.probe(), limits | {"holds": holds})

    def _fetch(
        self, cursor: _Cursor, statement: str, values: dict[str, Any]
    ) -> list[tuple[Any, ...]]:
        _execute(cursor, statement, values)
        return cursor.fetchall()

    def settle(self, claim: Claim, fates: Sequence[Fate]) -> Settled:
        """
        Apply the fates of a claim's rows, all of them or none.

        Args:
            claim: As `claim` returned it. Rows that another claim has taken since are left alone.
            fates: One for each of its rows, in their order.

        Returns:
            How many rows had which fate.

        Raises:
            OutboxUnavailableError: The database is unavailable.
        """
        accepted: list[int] = []
        others: list[tuple[int, float | None, str, str, bool, int]] = []
        for row, fate in zip(claim.rows, fates, strict=True):
            match fate:
                case Gone():
                    accepted.append(row.id)
                case Dead(code, message):
                    others.append((row.id, None, code, _text(message), False, 0))
                case Later(seconds, code, message, maybe_sent, is_try):
                    text = _text(message)
                    others.append((row.id, seconds, code, text, maybe_sent, int(is_try)))
        columns = ("ids", "waits", "codes", "messages", "doubts", "tries")
        values: dict[str, Any] = {
            name: [row[n] for row in others] for n, name in enumerate(columns)
        }
        values |= {"accepted": accepted, "token": uuid.UUID(claim.token)}
        found = self._run(lambda cursor: self._fetch(cursor, self._sql.settle, values))
        gone, dead, later = found[0]
        return Settled(gone, dead, later, lost=len(claim.rows) - gone - dead - later)

    def hold(self, source: str, *, seconds: float) -> None:
        """
        Leave a source's rows out of claims for some seconds, and then try one of them.

        Args:
            source: The name of the source.
            seconds: The length of the hold; 0 ends it.

        Raises:
            OutboxUnavailableError: The database is unavailable.
        """
        values = {"source": source, "seconds": seconds}
        statement = self._sql.hold
        if seconds <= 0:
            statement = f"DELETE FROM {self._names.hold} WHERE source = %(source)s"
        self._run(lambda cursor: _execute(cursor, statement, values))

    def wait(self, seconds: float) -> None:
        """
        Wait for some seconds, or until `wake` is called or was called since the last claim.

        With `listen`, a commit that added events ends the wait too.
        """
        if self._listen:
            with self._starting:
                if self._listener is None:
                    self._listener = _Listener(self._open, self._channel, self._bell)
        self._bell.wait(seconds, getattr(self._seen, "rings", self._bell.rings))

    def wake(self) -> None:
        """Wake all waiting threads. May be called from any thread and in a signal handler."""
        self._bell.ring()

    # ------------------------------------------------------------ for people

    def stats(self) -> OutboxStats:
        """
        Return the current figures.

        With more than 200,000 waiting rows, `waiting`, `due` and `leased` are estimates.
        """
        values = {"limit": _COUNTED_ROWS, "outbox": self._names.outbox}
        found = self._run(lambda cursor: self._fetch(cursor, self._sql.stats, values))
        counted, due, leased, dead, held, age, estimate, since = found[0]
        waiting, is_estimate = counted, counted >= _COUNTED_ROWS
        if is_estimate:
            waiting = max(counted, estimate or 0)
            due, leased = (round(part * waiting / counted) for part in (due, leased))
        if since is not None:
            since = since.astimezone(datetime.UTC)
        return OutboxStats(waiting, due, leased, dead, held, age, since, is_estimate)

    def dead_letters(
        self,
        *,
        source: str | None = None,
        code: str | None = None,
        before: int | None = None,
        limit: int | None = 100,
    ) -> Iterator[DeadLetter]:
        """
        Yield dead letters, newest first.

        Args:
            source: Only those of this source.
            code: Only those with this code.
            before: Only those with smaller ids, for the next page.
            limit: The most to yield; None for all.
        """
        while limit is None or limit > 0:
            page = _PAGE if limit is None else min(limit, _PAGE)
            conditions, values = selector("%s", source=source, code=code, before=before)
            found = self._all(self._sql.dead_letters(conditions), [*values, page])
            yield from map(_dead_letter, found)
            if len(found) < page:
                return
            before = found[-1][0]
            limit = None if limit is None else limit - page

    def redrive(
        self,
        *ids: int,
        source: str | None = None,
        code: str | None = None,
        limit: int | None = None,
    ) -> int:
        """
        Put dead letters back into the outbox, as if they were added now.

        Args:
            ids: Ids of dead letters; none for all that the other arguments select.
            source: Only those of this source.
            code: Only those with this code.
            limit: The most to put back, oldest first; None for all.

        Returns:
            How many there were.

        Raises:
            TypeError: Neither ids nor source nor code is given.
        """
        check_selector(ids, source, code)
        conditions, values = selector("%s", ids=ids, source=source, code=code)
        count = self._changed(self._sql.redrive(conditions), [*values, limit])
        if self._notify:
            self._all("SELECT pg_notify(%s, '')", [self._channel])
        self.wake()
        return count

    def purge(
        self,
        *,
        older_than: datetime.timedelta,
        source: str | None = None,
        code: str | None = None,
    ) -> int:
        """
        Delete dead letters for good.

        Args:
            older_than: Only those that died at least this long ago.
            source: Only those of this source.
            code: Only those with this code.

        Returns:
            How many there were.
        """
        conditions, values = selector("%s", source=source, code=code)
        statement, count = self._sql.purge(conditions), 0
        while True:  # in batches, each a short transaction
            deleted = self._changed(statement, [*values, older_than.total_seconds(), _PAGE])
            count += deleted
            if deleted < _PAGE:
                return count

    def _all(self, statement: str, values: list[Any]) -> list[tuple[Any, ...]]:
        def work(cursor: _Cursor) -> list[tuple[Any, ...]]:
            _execute(cursor, statement, values)
            return cursor.fetchall()

        return self._run(work)

    def _changed(self, statement: str, values: list[Any]) -> int:
        def work(cursor: _Cursor) -> int:
            _execute(cursor, statement, values)
            return cursor.rowcount

        return self._run(work)

    def close(self) -> None:
        """Close idle connections. The outbox opens new ones when needed."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.stop()
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def describe(self) -> str:
        """Return a description for messages, without a password."""
        return f"the outbox {self._names.outbox} in PostgreSQL"

    def __repr__(self) -> str:
        return f"<PostgresOutbox {self._names.outbox}>"


class _StaleError(Exception):
    """A connection from the pool has been closed by the other side."""


class _Listener:
    """
    Rings a bell for each notification.

    It first finds out whether notifications come through.
    """

    def __init__(self, connect: Callable[[], _Connection], channel: str, bell: Bell) -> None:
        self._connect = connect
        self._channel = channel
        self._bell = bell
        self._is_over = False
        SendingThread(self._run, "eventbridge-partner-listen").start()

    def stop(self) -> None:
        """Stop; takes up to a second."""
        self._is_over = True

    def _run(self) -> None:
        psycopg = _psycopg()
        is_told = False
        while not self._is_over:
            try:
                with contextlib.closing(self._connect()) as connection:
                    connection.autocommit = True
                    _execute(connection, f'LISTEN "{self._channel}"')
                    if not self._hears(connection):
                        log(
                            logging.WARNING,
                            "no notification comes through to the outbox %s, as behind PgBouncer "
                            "in transaction mode: the relay polls",
                            self._channel,
                        )
                        return
                    is_told = False
                    self._bell.ring()
                    while not self._is_over:
                        for _ in connection.notifies(timeout=1.0, stop_after=1):
                            self._bell.ring()
            except psycopg.Error as error:
                if not is_told:
                    is_told = True
                    text = "the relay polls until it can listen again: %s"
                    log(logging.WARNING, text, type(error).__name__)
                time.sleep(1.0)

    def _hears(self, connection: _Connection) -> bool:
        with contextlib.closing(self._connect()) as other:
            other.autocommit = True
            other.execute("SELECT pg_notify(%s, 'probe')", (self._channel,))
        return any(True for _ in connection.notifies(timeout=_LISTEN_PATIENCE, stop_after=1))


def _psycopg() -> Any:
    """
    Import psycopg, which an application that only adds events does not need.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        import psycopg
    except ImportError as error:
        raise ConfigurationError(
            "the relay's side of PostgresOutbox needs psycopg: pip install "
            f"'eventbridge-partner[postgres]' 'psycopg[binary]' ({error})"
        ) from error
    return psycopg


def _close(connection: _Connection) -> None:
    connection.close()


def _check_conninfo(text: str) -> None:
    psycopg = _psycopg()
    try:
        psycopg.conninfo.conninfo_to_dict(text)
    except psycopg.ProgrammingError:
        # psycopg's message may quote a password.
        raise ConfigurationError(
            "database is not a connection string; allowed: postgresql://user@host/name, or "
            "`host=… dbname=…`"
        ) from None


def _cursor(connection: _Connection) -> _Cursor:
    # Not the cursor and row factories of the application's connection.
    psycopg = _psycopg()
    cursor: _Cursor = psycopg.Cursor(connection, row_factory=psycopg.rows.tuple_row)
    return cursor


def _execute(cursor: _Cursor | _Connection, statement: str, values: Any = None) -> None:
    # psycopg's types want literal SQL; ours is made of checked names.
    cursor.execute(statement.encode(), values)


def _one(cursor: _Cursor) -> tuple[Any, ...]:
    return cast("tuple[Any, ...]", cursor.fetchone())


def _text(text: str) -> str:
    """Return a foreign text without the characters that PostgreSQL cannot store."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _dead_letter(row: tuple[Any, ...]) -> DeadLetter:
    number, source, detail_type, detail, resources, at, code, message, maybe, tries, *times = row
    added_at, died_at = (moment.astimezone(datetime.UTC) for moment in times)
    return DeadLetter(
        id=number,
        source=source,
        detail_type=detail_type,
        detail=detail,
        resources=read_resources(resources),
        time=None if at is None else read_time(at),
        code=code,
        message=message,
        maybe_sent=maybe,
        tries=tries,
        added_at=added_at,
        died_at=died_at,
    )
