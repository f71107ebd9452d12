"""The outbox in a SQLite file."""

from __future__ import annotations

import contextlib
import datetime
import logging
import math
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self

from eventbridge_partner._logs import log
from eventbridge_partner.errors import OutboxUnavailableError
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
    EPOCH,
    Claim,
    ClaimedRow,
    StoredEvent,
    read_resources,
    read_time,
)
from eventbridge_partner.outbox._selection import check_selector, selector

_OLDEST: Final = (3, 24)
_BUSY_SECONDS: Final = 10.0
_PAGE: Final = 500
_CLOCK_SLACK: Final = 1.0
"""A clock that goes back by less than this, in seconds, was corrected, not set."""

_EVENT: Final = "source, detail_type, detail, resources, event_time, size, traceparent"


class SqliteOutbox(Adding):
    """
    An outbox in a SQLite file: the application's own database, or a file of its own.

    Creating one opens no file. Thread-safe and fork-safe. One relay
    process is enough: SQLite has one writer at a time.

    Args:
        path: The file.
        table: The name of the outbox's table; its other tables are named after it.
        clock: Returns epoch seconds; for tests.

    Raises:
        ValueError: `table` is not a valid name.
        RuntimeError: This Python's SQLite is too old.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        table: str = _schema.TABLE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if sqlite3.sqlite_version_info < _OLDEST:
            oldest = ".".join(map(str, _OLDEST))
            raise RuntimeError(f"SQLite is {sqlite3.sqlite_version}; needed: {oldest} or newer")
        names = _schema.Names.of(table)
        super().__init__("sqlite", names, self._insertions)
        self._path = Path(path)
        self._clock = clock
        self._connections = Pool(self._connect, sqlite3.Connection.close)
        self._bell = Bell()
        self._seen = threading.local()
        self._after = ""
        self._was_alone = False

    def _insertions(self, rows: list[StoredEvent]) -> list[Statement]:
        now = self._clock()
        text = (
            f"INSERT INTO {self._names.outbox} ({_EVENT}, added_at, due_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        )
        return [Statement(text, [(*row, now, now) for row in rows])]

    # ------------------------------------------------------------ connections

    def _connect(self) -> sqlite3.Connection:
        if not self._path.exists():  # else SQLite would create it
            raise _schema.missing(self._names, str(self._path))
        connection = self._open("rw")
        try:
            _schema.check_version(self._version(connection), self._names, str(self._path))
        except BaseException:
            connection.close()
            raise
        return connection

    def _open(self, mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        # An event that was committed survives a power cut.
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _version(self, connection: sqlite3.Connection) -> int | None:
        exists = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
        if connection.execute(exists, (self._names.version,)).fetchone() is None:
            return None
        found = connection.execute(f"SELECT version FROM {self._names.version}").fetchone()
        return None if found is None else int(found[0])

    @contextlib.contextmanager
    def _lend(self) -> Generator[sqlite3.Connection]:
        with self._translated(), self._connections.lend() as (connection, _):
            yield connection

    @contextlib.contextmanager
    def _writing(self, connection: sqlite3.Connection) -> Generator[None]:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if str(error).startswith("no such table"):
                raise _schema.missing(self._names, str(self._path)) from error
            # SQLite's messages contain names, but no values.
            what = f"the outbox in {self._path} cannot be used: {error}"
            raise OutboxUnavailableError(what) from error

    @contextlib.contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """
        Begin a transaction on the outbox's own connection, for programs without one.

        Yields:
            A connection for `add`. The end of the block commits; an exception rolls back.

        Raises:
            OutboxUnavailableError: The file cannot be written.
        """
        with self._lend() as connection, self._writing(connection):
            yield connection

    # ------------------------------------------------------------ tables

    def create(self) -> None:
        """
        Make the file and the tables unless they exist, and switch the file to WAL.

        Raises:
            OutboxSchemaError: There are tables of another version.
            OutboxUnavailableError: The file cannot be written.
        """
        with self._translated(), contextlib.closing(self._open("rwc")) as connection:
            # With WAL, readers and the writer do not wait for each other.
            connection.execute("PRAGMA journal_mode = WAL")
            with self._writing(connection):
                version = self._version(connection)
                if version is None:
                    self._run(connection, 0)
                else:
                    _schema.check_version(version, self._names)

    def upgrade(self) -> None:
        """
        Upgrade the tables of an older release; do nothing if they are current.

        Raises:
            OutboxSchemaError: There are no tables, or tables of a newer release.
            OutboxUnavailableError: The file cannot be written.
        """
        if not self._path.exists():
            raise _schema.missing(self._names, str(self._path))
        with (
            self._translated(),
            contextlib.closing(self._open("rw")) as connection,
            self._writing(connection),
        ):
            version = self._version(connection)
            if version is None or version > _schema.VERSION:
                _schema.check_version(version, self._names)
            else:
                self._run(connection, version)

    def _run(self, connection: sqlite3.Connection, since: int) -> None:
        for statement in _schema.sqlite(self._names, since):
            connection.execute(statement)

    def schema_sql(self, since: int = 0) -> str:
        """
        Return the statements that make the tables, for the application's migrations.

        Args:
            since: The installed version; 0 for none.
        """
        return _schema.script(_schema.sqlite(self._names, since))

    # ------------------------------------------------------------ for a relay

    def claim(self, *, events: int, max_bytes: int, lease: float) -> Claim | None:
        """
        Claim rows that are due, a fair share of each source.

        Args:
            events: The most rows to claim.
            max_bytes: The largest size of all rows together; a single row may be larger.
            lease: Seconds for which no other claim gets these rows.

        Returns:
            The claim; None if nothing is due.
        """
        self._seen.rings = self._bell.rings
        with self._lend() as connection:
            now = self._clock()
            # Read first: polling takes no write lock.
            if not (
                self._is_anything_due(connection, now) or self._clock_was_set_back(connection, now)
            ):
                return None
            with self._writing(connection):
                self._follow_clock(connection, now)
                token = str(uuid.uuid4())
                rows = self._take(connection, now, events, max_bytes, token, lease)
                if not rows:
                    return None
                taken = [(now + lease, token, row[0]) for row in rows]
                connection.executemany(
                    f"UPDATE {self._names.outbox} SET due_at = ?, lease = ?, claims = claims + 1 "
                    "WHERE id = ?",
                    taken,
                )
                connection.execute(f"UPDATE {self._names.version} SET clock = ?", (now,))
        return Claim(token, tuple([_claimed(row) for row in sorted(rows)]), lease)

    def _is_anything_due(self, connection: sqlite3.Connection, now: float) -> bool:
        return bool(
            self._alone(connection, now)
            or self._ended_holds(connection, now)
            or self._due_sources(connection, now, 1)
        )

    def _take(
        self,
        connection: sqlite3.Connection,
        now: float,
        events: int,
        max_bytes: int,
        token: str,
        lease: float,
    ) -> list[tuple[Any, ...]]:
        # Rows that may kill their sender are claimed alone, and take turns with the others.
        if not self._was_alone and (rows := self._alone(connection, now)):
            self._was_alone = True
            return rows
        self._was_alone = False
        probes = self._probes(connection, now, min(events, 16), token, lease)
        kept: list[tuple[Any, ...]] = []
        size = 0
        # Row by row: all due rows may not fit into memory.
        for row in probes or self._shares(connection, now, events):
            size += row[6]
            if kept and size > max_bytes:
                break
            kept.append(row)
        if not kept:
            return self._alone(connection, now)
        self._after = kept[-1][1]
        return kept

    def _select(self, now: float, condition: str) -> str:
        return (
            f"SELECT id, {_EVENT}, {now!r} - added_at, claims, tries, maybe_sent "
            f"FROM {self._names.outbox} WHERE {condition}"
        )

    def _alone(self, connection: sqlite3.Connection, now: float) -> list[tuple[Any, ...]]:
        held = f"SELECT source FROM {self._names.hold} WHERE until > ?"
        condition = (
            f"claims >= {_schema.MAX_CLAIMS} AND due_at <= ? AND source NOT IN ({held}) "
            "ORDER BY due_at LIMIT 1"
        )
        return connection.execute(self._select(now, condition), (now, now)).fetchall()

    def _ended_holds(self, connection: sqlite3.Connection, now: float, limit: int = 1) -> list[str]:
        ended = f"SELECT source FROM {self._names.hold} WHERE until <= ? ORDER BY until LIMIT ?"
        return [source for (source,) in connection.execute(ended, (now, limit))]

    def _probes(
        self, connection: sqlite3.Connection, now: float, limit: int, token: str, lease: float
    ) -> list[tuple[Any, ...]]:
        """Take one row of each source whose hold has expired: its fate decides about the hold."""
        rows: list[tuple[Any, ...]] = []
        for source in self._ended_holds(connection, now, limit):
            found = list(self._of_source(connection, now, source, 1))
            if found:
                rows += found
                connection.execute(
                    f"UPDATE {self._names.hold} SET until = ?, probe = ? WHERE source = ?",
                    (now + lease, token, source),
                )
            else:
                connection.execute(f"DELETE FROM {self._names.hold} WHERE source = ?", (source,))
        return rows

    def _shares(
        self, connection: sqlite3.Connection, now: float, events: int
    ) -> Iterator[tuple[Any, ...]]:
        """Yield an equal share of each source that has due rows."""
        sources = self._due_sources(connection, now, events)
        share = math.ceil(events / max(len(sources), 1))
        for source in sources:
            for row in self._of_source(connection, now, source, min(share, events)):
                events -= 1
                yield row

    def _of_source(
        self, connection: sqlite3.Connection, now: float, source: str, limit: int
    ) -> Iterator[tuple[Any, ...]]:
        condition = (
            f"source = ? AND due_at <= ? AND claims < {_schema.MAX_CLAIMS} ORDER BY due_at LIMIT ?"
        )
        return connection.execute(self._select(now, condition), (source, now, limit))

    def _due_sources(self, connection: sqlite3.Connection, now: float, limit: int) -> list[str]:
        """Return the next sources with due rows, after those of the last claim."""
        held = {
            source for (source,) in connection.execute(f"SELECT source FROM {self._names.hold}")
        }
        for after in dict.fromkeys((self._after, "")):
            due = list(self._walk(connection, now, after, held, limit))
            if due:
                return due
        return []

    def _walk(
        self, connection: sqlite3.Connection, now: float, after: str, held: set[str], limit: int
    ) -> Iterator[str]:
        probe = (
            f"SELECT source, due_at FROM {self._names.outbox} WHERE source > ? "
            "ORDER BY source, due_at LIMIT 1"
        )
        while limit:
            found = connection.execute(probe, (after,)).fetchone()
            if found is None:
                return
            after, due_at = found
            if due_at <= now and after not in held:
                limit -= 1
                yield after

    def _clock_was_set_back(self, connection: sqlite3.Connection, now: float) -> float:
        """Return by how many seconds the clock was set back, or 0."""
        latest = connection.execute(
            f"SELECT max(clock, coalesce((SELECT added_at FROM {self._names.outbox} "
            f"ORDER BY id DESC LIMIT 1), 0)) FROM {self._names.version}"
        ).fetchone()
        by = float(latest[0]) - now
        return by if by > _CLOCK_SLACK else 0.0

    def _follow_clock(self, connection: sqlite3.Connection, now: float) -> None:
        by = self._clock_was_set_back(connection, now)
        if not by:
            return
        log(logging.WARNING, "the clock was set back by %.0f s: the outbox follows it", by)
        names = self._names
        for change in (
            f"UPDATE {names.outbox} SET due_at = due_at - ? WHERE due_at > ?",
            f"UPDATE {names.outbox} SET added_at = added_at - ? WHERE added_at > ?",
            f"UPDATE {names.hold} SET until = until - ? WHERE until > ?",
        ):
            connection.execute(change, (by, now))
        connection.execute(f"UPDATE {names.version} SET clock = ?", (now,))

    def settle(self, claim: Claim, fates: Sequence[Fate]) -> Settled:
        """
        Apply the fates of a claim's rows, all of them or none.

        Args:
            claim: As `claim` returned it. Rows that another claim has taken since are left alone.
            fates: One for each of its rows, in their order.

        Returns:
            How many rows had which fate.
        """
        gone: list[tuple[Any, ...]] = []
        dead: list[tuple[Any, ...]] = []
        later: list[tuple[Any, ...]] = []
        now = self._clock()
        for row, fate in zip(claim.rows, fates, strict=True):
            match fate:
                case Gone():
                    gone.append((row.id, claim.token))
                case Dead(code, message):
                    dead.append((code, message, now, row.id, claim.token))
                case Later(seconds, code, message, maybe_sent, is_try):
                    due_at = now + seconds
                    values = due_at, code, message, maybe_sent, is_try, row.id, claim.token
                    later.append(values)
        with self._lend() as connection, self._writing(connection):
            names, ours = self._names, "WHERE id = ? AND lease = ?"
            delete = f"DELETE FROM {names.outbox} {ours}"
            put_back = (
                f"UPDATE {names.outbox} SET lease = NULL, claims = 0, due_at = ?, code = ?, "
                f"message = ?, maybe_sent = max(maybe_sent, ?), tries = tries + ? {ours}"
            )
            done = (
                self._each(connection, delete, gone),
                self._each(connection, self._bury(ours), dead),
                self._each(connection, put_back, later),
            )
            self._each(connection, delete, [row[-2:] for row in dead])
            free = f"DELETE FROM {names.hold} WHERE source = ? AND probe = ?"
            ended = {
                row.source
                for row, fate in zip(claim.rows, fates, strict=True)
                if not isinstance(fate, Later)
            }
            self._each(connection, free, [(source, claim.token) for source in ended])
        return Settled(*done, lost=len(claim.rows) - sum(done))

    def _bury(self, condition: str) -> str:
        kept = f"id, {_EVENT}, added_at, claims, tries, maybe_sent"
        return (
            f"INSERT INTO {self._names.dead} ({kept}, code, message, died_at) "
            f"SELECT {kept}, ?, ?, ? FROM {self._names.outbox} {condition}"
        )

    def _each(
        self, connection: sqlite3.Connection, statement: str, rows: list[tuple[Any, ...]]
    ) -> int:
        if not rows:
            return 0
        return connection.executemany(statement, rows).rowcount

    def hold(self, source: str, *, seconds: float) -> None:
        """
        Leave a source's rows out of claims for some seconds, and then try one of them.

        Args:
            source: The name of the source.
            seconds: The length of the hold; 0 ends it.
        """
        with self._lend() as connection, self._writing(connection):
            if seconds <= 0:
                connection.execute(f"DELETE FROM {self._names.hold} WHERE source = ?", (source,))
                return
            connection.execute(
                f"INSERT INTO {self._names.hold} (source, until, probe) VALUES (?, ?, NULL) "
                "ON CONFLICT (source) DO UPDATE SET until = excluded.until, probe = NULL",
                (source, self._clock() + seconds),
            )

    def wait(self, seconds: float) -> None:
        """Wait for some seconds, or until `wake` is called or was called since the last claim."""
        self._bell.wait(seconds, getattr(self._seen, "rings", self._bell.rings))

    def wake(self) -> None:
        """Wake all waiting threads. May be called from any thread and in a signal handler."""
        self._bell.ring()

    # ------------------------------------------------------------ for people

    def stats(self) -> OutboxStats:
        """Return the current figures."""
        names, now = self._names, self._clock()
        with self._lend() as connection:
            found = connection.execute(
                "SELECT count(*), "
                f"sum(due_at <= :now AND source NOT IN (SELECT source FROM {names.hold})), "
                "sum(due_at > :now AND lease IS NOT NULL), min(added_at), "
                f"(SELECT count(*) FROM {names.dead}), (SELECT count(*) FROM {names.hold}) "
                f"FROM {names.outbox}",
                {"now": now},
            ).fetchone()
        waiting, due, leased, oldest, dead, held = found
        age = None if oldest is None else max(0.0, now - oldest)
        return OutboxStats(waiting, due or 0, leased or 0, dead, held, age)

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
        kept = f"id, {_EVENT}, code, message, maybe_sent, tries, added_at, died_at"
        while limit is None or limit > 0:
            page = _PAGE if limit is None else min(limit, _PAGE)
            conditions, values = selector("?", source=source, code=code, before=before)
            statement = (
                f"SELECT {kept} FROM {self._names.dead} WHERE {conditions} ORDER BY id DESC LIMIT ?"
            )
            with self._lend() as connection:
                found = connection.execute(statement, (*values, page)).fetchall()
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
        now = self._clock()
        conditions, values = selector("?", ids=ids, source=source, code=code)
        statement = f"SELECT id FROM {self._names.dead} WHERE {conditions} ORDER BY id LIMIT ?"
        with self._lend() as connection, self._writing(connection):
            chosen = connection.execute(statement, (*values, -1 if limit is None else limit))
            found = [one for (one,) in chosen]
            rows = [(now, now, one) for one in found]
            self._each(
                connection,
                f"INSERT INTO {self._names.outbox} ({_EVENT}, maybe_sent, added_at, due_at) "
                f"SELECT {_EVENT}, maybe_sent, ?, ? FROM {self._names.dead} WHERE id = ?",
                rows,
            )
            delete = f"DELETE FROM {self._names.dead} WHERE id = ?"
            self._each(connection, delete, [(one,) for one in found])
        self.wake()
        return len(found)

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
        until = self._clock() - older_than.total_seconds()
        conditions, values = selector("?", source=source, code=code)
        some = f"SELECT id FROM {self._names.dead} WHERE {conditions} AND died_at <= ? LIMIT ?"
        statement = f"DELETE FROM {self._names.dead} WHERE id IN ({some})"
        count = 0
        while True:  # in batches, so that other writers do not wait long
            with self._lend() as connection, self._writing(connection):
                deleted = connection.execute(statement, (*values, until, _PAGE)).rowcount
            count += deleted
            if deleted < _PAGE:
                return count

    def close(self) -> None:
        """Close idle connections. The outbox opens new ones when needed."""
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def describe(self) -> str:
        """Return a description for messages, without a password."""
        return f"the outbox {self._names.outbox} in {self._path}"

    def __repr__(self) -> str:
        return f"<SqliteOutbox {self._names.outbox} in {self._path}>"


def _claimed(row: tuple[Any, ...]) -> ClaimedRow:
    *values, maybe_sent = row
    return ClaimedRow(*values, bool(maybe_sent))  # type: ignore[call-arg]


def _dead_letter(row: tuple[Any, ...]) -> DeadLetter:
    number, source, detail_type, detail, resources, at, _, _, code, message, maybe, *rest = row
    tries, added_at, died_at = rest
    return DeadLetter(
        id=number,
        source=source,
        detail_type=detail_type,
        detail=detail,
        resources=read_resources(resources),
        time=None if at is None else read_time(at),
        code=code,
        message=message,
        maybe_sent=bool(maybe),
        tries=tries,
        added_at=EPOCH + datetime.timedelta(seconds=added_at),
        died_at=EPOCH + datetime.timedelta(seconds=died_at),
    )
