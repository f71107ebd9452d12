"""
Adds events inside the transaction of the application's own connection.

A connection is recognized without importing its library: whoever passes one has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal, Protocol

import attrs

from eventbridge_partner.errors import NoTransactionError
from eventbridge_partner.models import GivenEvent
from eventbridge_partner.outbox import _schema
from eventbridge_partner.outbox._rows import StoredEvent, stored


class _Connection(Protocol):
    """A DB-API connection."""

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """Open a cursor."""
        ...

    def commit(self) -> None:
        """Commit the transaction."""
        ...


class _Session(Protocol):
    """A Session of SQLAlchemy."""

    def connection(self, *args: Any, **kwargs: Any) -> Any:
        """Return the connection of the session's transaction."""
        ...

    def commit(self) -> None:
        """Commit the transaction."""
        ...


class _SqlalchemyConnection(Protocol):
    """A Connection of SQLAlchemy."""

    def exec_driver_sql(self, *args: Any, **kwargs: Any) -> Any:
        """Run a statement as it is."""
        ...

    def commit(self) -> None:
        """Commit the transaction."""
        ...


SyncConnection = _Connection | _Session | _SqlalchemyConnection
"""
The connections that `add` takes.

Those of sqlite3, psycopg, psycopg2 and Django, and SQLAlchemy's Session and Connection. The types
are structural, so that a type checker needs none of these libraries.
"""


class _AsyncConnection(Protocol):
    """An asynchronous connection with cursors."""

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """Open a cursor."""
        ...

    def commit(self) -> Awaitable[None]:
        """Commit the transaction."""
        ...


class _AsyncSession(Protocol):
    """An AsyncSession of SQLAlchemy."""

    def connection(self, *args: Any, **kwargs: Any) -> Any:
        """Return the connection of the session's transaction."""
        ...

    def commit(self) -> Awaitable[None]:
        """Commit the transaction."""
        ...


class _AsyncSqlalchemyConnection(Protocol):
    """An AsyncConnection of SQLAlchemy."""

    def exec_driver_sql(self, *args: Any, **kwargs: Any) -> Any:
        """Run a statement as it is."""
        ...

    def commit(self) -> Awaitable[None]:
        """Commit the transaction."""
        ...


class _AsyncpgConnection(Protocol):
    """A connection of asyncpg."""

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Run a statement."""
        ...

    def is_in_transaction(self) -> bool:
        """Return whether a transaction is open."""
        ...


AsyncConnection = _AsyncConnection | _AsyncSession | _AsyncSqlalchemyConnection | _AsyncpgConnection
"""
The connections that `add_async` takes.

Those of asyncpg, psycopg and aiosqlite, and SQLAlchemy's AsyncSession and AsyncConnection.
"""

Database = Literal["sqlite", "postgresql"]

_NAMES: Final = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
_KINDS: Final = (
    "sqlite3, psycopg, psycopg2, SQLAlchemy (Session, Connection) or Django",
    "asyncpg, psycopg, aiosqlite or SQLAlchemy (AsyncSession, AsyncConnection)",
)


@attrs.frozen
class Statement:
    """
    A statement and its parameters.

    Attributes:
        text: The SQL, with `?` for each parameter.
        parameters: One row of them, or several, each for one execution.
    """

    text: str
    parameters: tuple[Any, ...] | list[tuple[Any, ...]]

    def styled(self, style: str) -> str:
        """Return the text in a DB-API parameter style."""
        if style == "qmark":
            return self.text
        if style == "numeric_dollar":
            first, *rest = self.text.split("?")
            return first + "".join(f"${number}{part}" for number, part in enumerate(rest, 1))
        return self.text.replace("?", "%s")


@attrs.frozen
class _Open:
    """
    A connection of the application, recognized.

    Attributes:
        database: The kind of database that it is connected to.
        in_transaction: Whether a statement belongs to a transaction.
        execute: Executes a statement.
    """

    database: str
    in_transaction: bool
    execute: Callable[[Statement], Any]


class Adding:
    """
    Adds events, for each of our outboxes.

    Args:
        dialect: The kind of database.
        names: The names of its tables.
        statements: Returns the statements that add rows.
    """

    def __init__(
        self,
        dialect: Database,
        names: _schema.Names,
        statements: Callable[[list[StoredEvent]], list[Statement]],
    ) -> None:
        self._dialect = dialect
        self._names = names
        self._statements = statements

    def add(self, connection: SyncConnection, *events: GivenEvent) -> None:
        """
        Add events inside the transaction of a connection.

        A relay sends them once the transaction commits, and never if it does not.

        Args:
            connection: The application's own: of sqlite3, psycopg or psycopg2, a SQLAlchemy Session
                or Connection, or Django's `connection`.
            events: Any number of `PartnerEvent`, or mappings with an entry's member names.

        Raises:
            InvalidEventError: An event cannot be sent. None was added.
            NoTransactionError: The connection is in autocommit mode, outside a transaction.
            OutboxSchemaError: There is no outbox in its database.
            TypeError: The connection is of another kind, or to another kind of database.
        """
        found = self._checked(_open(connection), connection, is_async=False)
        rows = self._rows(found, connection, events)
        try:
            for statement in self._statements(rows) if rows else ():
                found.execute(statement)
        except Exception as error:
            self._translate(error)
            raise

    async def add_async(self, connection: AsyncConnection, *events: GivenEvent) -> None:
        """
        Add events inside the transaction of an asyncio connection; see `add`.

        Args:
            connection: The application's own: of asyncpg, psycopg or aiosqlite, or a SQLAlchemy
                AsyncSession or AsyncConnection.
            events: Any number of `PartnerEvent`, or mappings with an entry's member names.

        Raises:
            InvalidEventError: An event cannot be sent. None was added.
            NoTransactionError: The connection is in autocommit mode, outside a transaction.
            OutboxSchemaError: There is no outbox in its database.
            TypeError: The connection is of another kind, or to another kind of database.
        """
        found = self._checked(await _open_async(connection), connection, is_async=True)
        rows = self._rows(found, connection, events)
        try:
            for statement in self._statements(rows) if rows else ():
                await found.execute(statement)
        except Exception as error:
            self._translate(error)
            raise

    def _checked(self, found: _Open | None, connection: object, *, is_async: bool) -> _Open:
        if found is None:
            raise TypeError(
                f"connection is of type {_kind(connection)}; allowed: one of {_KINDS[is_async]}; "
                f"{'add' if is_async else 'add_async'} takes those of {_KINDS[not is_async]}"
            )
        if found.database != self._dialect:
            wanted = _NAMES[self._dialect]
            database = _NAMES.get(found.database, found.database)
            raise TypeError(f"connection is to {database}; allowed: one to {wanted}")
        return found

    def _rows(
        self, found: _Open, connection: object, events: Sequence[GivenEvent]
    ) -> list[StoredEvent]:
        rows = stored(events, _traceparent())
        if not found.in_transaction:
            raise NoTransactionError(
                f"connection ({_kind(connection)}) commits each statement by itself: begin a "
                "transaction, so that the events are committed or rolled back with the change "
                "that they report"
            )
        return rows

    def _translate(self, error: Exception) -> None:
        """
        Raise our own error if a driver's error says that the tables are missing.

        Raises:
            OutboxSchemaError: They are.
        """
        if hasattr(error, "hide_parameters"):
            # SQLAlchemy's errors show a statement's parameters: an event's payload.
            vars(error)["hide_parameters"] = True
        if _has_no_table(error):
            raise _schema.missing(self._names) from error


def _kind(connection: object) -> str:
    return f"{type(connection).__module__}.{type(connection).__qualname__}"


def _has_no_table(error: BaseException | None) -> bool:
    """Tell whether a driver's error, or its cause, says that a table is missing."""
    while error is not None:
        state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        if state in {"42P01", "42703", "3F000"}:
            return True
        # sqlite3 has neither a class nor a code of its own for this error.
        if type(error).__module__ == "sqlite3" and str(error).startswith("no such table"):
            return True
        origin = getattr(error, "orig", None)
        error = origin if isinstance(origin, BaseException) else error.__cause__
    return False


def _traceparent() -> str | None:
    """Return OpenTelemetry's current span as a `traceparent` header; None without one."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    flags = int(context.trace_flags)
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"


# ---------------------------------------------------------------- kinds of connections


def _is(connection: object, module: str, *names: str) -> bool:
    """Tell whether a connection is of a class of a module, without importing the module."""
    loaded = sys.modules.get(module)
    kinds = [getattr(loaded, name, None) for name in names]
    return isinstance(connection, tuple(kind for kind in kinds if isinstance(kind, type)))


def _open(connection: Any) -> _Open | None:
    if _is(connection, "sqlite3", "Connection"):
        return _Open("sqlite", _sqlite_in_transaction(connection), _on_cursor(connection, "qmark"))
    if _is(connection, "psycopg", "Connection"):
        cursor_of = sys.modules[
            "psycopg"
        ].Cursor  # not the connection's cursor factory, which is the application's

        def execute(statement: Statement) -> None:
            with cursor_of(connection) as cursor:
                cursor.execute(statement.styled("format"), statement.parameters)

        return _Open("postgresql", _psycopg_in_transaction(connection), execute)
    if _is(connection, "psycopg2.extensions", "connection"):
        is_idle = connection.get_transaction_status() == 0
        in_transaction = not (connection.autocommit and is_idle)
        return _Open("postgresql", in_transaction, _on_cursor(connection, "format"))
    if _is(connection, "sqlalchemy.orm", "Session", "scoped_session"):
        connection = connection.connection()
    if _is(connection, "sqlalchemy", "Connection"):
        return _of_sqlalchemy(connection, connection)
    if _is(connection, "django.db.backends.base.base", "BaseDatabaseWrapper") or _is(
        connection, "django.utils.connection", "ConnectionProxy"
    ):
        return _of_django(connection)
    return None


async def _open_async(connection: Any) -> _Open | None:
    if _is(connection, "asyncpg", "Connection") or _is(
        connection, "asyncpg.pool", "PoolConnectionProxy"
    ):

        async def execute(statement: Statement) -> None:
            await connection.execute(statement.styled("numeric_dollar"), *statement.parameters)

        return _Open("postgresql", connection.is_in_transaction(), execute)
    if _is(connection, "psycopg", "AsyncConnection"):
        cursor_of = sys.modules["psycopg"].AsyncCursor

        async def execute_psycopg(statement: Statement) -> None:
            async with cursor_of(connection) as cursor:
                await cursor.execute(statement.styled("format"), statement.parameters)

        return _Open("postgresql", _psycopg_in_transaction(connection), execute_psycopg)
    if _is(connection, "sqlalchemy.ext.asyncio", "AsyncSession", "async_scoped_session"):
        connection = await connection.connection()
    if _is(connection, "sqlalchemy.ext.asyncio", "AsyncConnection"):
        return _of_sqlalchemy(connection, connection.sync_connection)
    if _is(connection, "aiosqlite", "Connection"):

        async def execute_many(statement: Statement) -> None:
            async with connection.executemany(statement.text, statement.parameters):
                pass

        return _Open("sqlite", _sqlite_in_transaction(connection), execute_many)
    return None


def _on_cursor(connection: Any, style: str) -> Callable[[Statement], None]:
    def execute(statement: Statement) -> None:
        cursor = connection.cursor()
        try:
            _execute(cursor, statement, style)
        finally:
            cursor.close()

    return execute


def _execute(cursor: Any, statement: Statement, style: str) -> None:
    if isinstance(statement.parameters, list):
        cursor.executemany(statement.styled(style), statement.parameters)
    else:
        cursor.execute(statement.styled(style), statement.parameters)


def _sqlite_in_transaction(connection: Any) -> bool:
    # By default, sqlite3 begins a transaction only before the first INSERT.
    if connection.in_transaction:
        return True
    return connection.isolation_level is not None and (
        getattr(connection, "autocommit", False) is not True
    )


def _psycopg_in_transaction(connection: Any) -> bool:
    return not (connection.autocommit and connection.info.transaction_status.name == "IDLE")


def _of_sqlalchemy(connection: Any, sync: Any) -> _Open:
    """Return the recognized connection behind a connection of SQLAlchemy, sync or asyncio."""
    dialect, pooled = sync.dialect, sync.connection
    if dialect.name == "sqlite":
        in_transaction = _sqlite_in_transaction(pooled.driver_connection)
    else:
        in_transaction = getattr(pooled.dbapi_connection, "autocommit", False) is not True

    def execute(statement: Statement) -> Any:
        text = statement.styled(dialect.paramstyle)
        return connection.exec_driver_sql(text, statement.parameters)

    return _Open(dialect.name, in_transaction, execute)


def _of_django(connection: Any) -> _Open:
    def execute(statement: Statement) -> None:
        # Not through Django's own cursor, which logs the parameters of statements.
        with connection.wrap_database_errors, connection.cursor() as wrapper:
            cursor = wrapper.cursor
            style = "format"
            if connection.vendor == "sqlite":
                cursor, style = connection.connection.cursor(), "qmark"
            _execute(cursor, statement, style)

    in_transaction = connection.in_atomic_block or not connection.get_autocommit()
    return _Open(connection.vendor, in_transaction, execute)
