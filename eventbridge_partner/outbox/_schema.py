"""The tables of an outbox: their names, their statements and their version."""

from __future__ import annotations

import re
from typing import Final, Self

import attrs

from eventbridge_partner.errors import OutboxSchemaError

VERSION: Final = 1
"""The version of the tables that this release works with."""

TABLE: Final = "eventbridge_outbox"
"""The name of the table unless another one is given."""

MAX_CLAIMS: Final = 3
"""After this many claims that were never settled, a row is claimed alone."""

_PLACE: Final = "this database"
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,39}")


@attrs.frozen
class Names:
    """
    The names of an outbox's tables and indexes, ready for a statement.

    Attributes:
        table: The outbox's table, without its schema.
        outbox: The rows that wait.
        dead: Dead letters.
        hold: Sources whose rows wait.
        version: The version of these tables.
        due: The index by which rows are claimed.
        alone: The index of rows that are claimed alone.
        died: The index of dead letters by age.
    """

    table: str
    outbox: str
    dead: str
    hold: str
    version: str
    due: str
    alone: str
    died: str

    @classmethod
    def of(cls, table: str, schema: str | None = None) -> Self:
        """
        Return the names derived from the name of the outbox.

        Raises:
            ValueError: It is not a name that works without quotes.
        """
        for what, name in (("table", table), ("schema", schema)):
            if name is not None and not _NAME.fullmatch(name):
                allowed = "a lower-case letter or _, then up to 39 of those and digits"
                raise ValueError(f"{what} is {name!a:.64}; allowed: {allowed}")
        prefix = "" if schema is None else f"{schema}."
        return cls(
            table=table,
            outbox=f"{prefix}{table}",
            dead=f"{prefix}{table}_dead_letter",
            hold=f"{prefix}{table}_hold",
            version=f"{prefix}{table}_version",
            due=f"{table}_due",
            alone=f"{table}_alone",
            died=f"{table}_dead_letter_died",
        )


def check_version(found: int | None, names: Names, place: str = _PLACE) -> None:
    """
    Refuse tables of another version.

    Args:
        found: The version of the tables; None without tables.
        names: The names of the tables.
        place: The database, for the error.

    Raises:
        OutboxSchemaError: There are no tables, or tables of another version.
    """
    if found is None:
        raise missing(names, place)
    if found < VERSION:
        raise OutboxSchemaError(
            f"the outbox {names.outbox} in {place} has version {found}, and this release works "
            f"with version {VERSION}: run `eventbridge-partner outbox upgrade`, or `upgrade()`"
        )
    if found > VERSION:
        raise OutboxSchemaError(
            f"the outbox {names.outbox} in {place} has version {found}, and this release knows "
            f"versions up to {VERSION}: install a newer release of eventbridge-partner"
        )


def missing(names: Names, place: str = _PLACE) -> OutboxSchemaError:
    """Return the error for missing tables."""
    return OutboxSchemaError(
        f"there is no outbox {names.outbox} in {place}, or not all of it: run "
        "`eventbridge-partner outbox create`, or `create()`"
    )


def check_since(since: int) -> None:
    """
    Refuse a version that does not exist.

    Raises:
        ValueError: It does not exist.
    """
    if not 0 <= since <= VERSION:
        raise ValueError(f"since is {since!r}; allowed: 0 to {VERSION}")


_EVENT_COLUMNS_POSTGRESQL: Final = """\
  source text COLLATE "C" NOT NULL,
  detail_type text NOT NULL,
  detail text NOT NULL,
  resources text,
  event_time timestamptz,
  size integer NOT NULL,
  traceparent text,"""


def postgresql(names: Names, since: int = 0) -> list[str]:
    """
    Return the statements that make the tables on PostgreSQL, or upgrade them to this version.

    Args:
        names: The names of the tables.
        since: The installed version; 0 for none.
    """
    check_since(since)
    if since == VERSION:
        return []
    # The index must be on (source, due_at) and nothing else; see the explanation of the outbox in
    # the documentation. Collation "C" compares names by their bytes, as Python does.
    return [
        f"""CREATE TABLE {names.outbox} (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
{_EVENT_COLUMNS_POSTGRESQL}
  added_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  claims integer NOT NULL DEFAULT 0,
  tries integer NOT NULL DEFAULT 0,
  lease uuid,
  maybe_sent boolean NOT NULL DEFAULT false,
  code text,
  message text
) WITH (
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 5000,
  autovacuum_vacuum_cost_delay = 0
)""",
        f"CREATE INDEX {names.due} ON {names.outbox} (source, due_at)",
        f"CREATE INDEX {names.alone} ON {names.outbox} (due_at) WHERE claims >= {MAX_CLAIMS}",
        f"""CREATE TABLE {names.dead} (
  id bigint PRIMARY KEY,
{_EVENT_COLUMNS_POSTGRESQL}
  added_at timestamptz NOT NULL,
  claims integer NOT NULL,
  tries integer NOT NULL,
  maybe_sent boolean NOT NULL,
  code text NOT NULL,
  message text NOT NULL,
  died_at timestamptz NOT NULL DEFAULT clock_timestamp()
)""",
        f"CREATE INDEX {names.died} ON {names.dead} (died_at)",
        f"""CREATE TABLE {names.hold} (
  source text COLLATE "C" PRIMARY KEY,
  until timestamptz NOT NULL,
  probe uuid
)""",
        f"""CREATE TABLE {names.version} (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  version integer NOT NULL
)""",
        f"INSERT INTO {names.version} (version) VALUES ({VERSION})",
    ]


_EVENT_COLUMNS_SQLITE: Final = """\
  source TEXT NOT NULL,
  detail_type TEXT NOT NULL,
  detail TEXT NOT NULL,
  resources TEXT,
  event_time REAL,
  size INTEGER NOT NULL,
  traceparent TEXT,"""


def sqlite(names: Names, since: int = 0) -> list[str]:
    """
    Return the statements that make the tables on SQLite, or upgrade them to this version.

    Args:
        names: The names of the tables.
        since: The installed version; 0 for none.
    """
    check_since(since)
    if since == VERSION:
        return []
    # AUTOINCREMENT: a dead letter keeps its id, so ids must not be reused. `clock` is the
    # latest time that a relay has seen.
    return [
        f"""CREATE TABLE {names.outbox} (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
{_EVENT_COLUMNS_SQLITE}
  added_at REAL NOT NULL,
  due_at REAL NOT NULL,
  claims INTEGER NOT NULL DEFAULT 0,
  tries INTEGER NOT NULL DEFAULT 0,
  lease TEXT,
  maybe_sent INTEGER NOT NULL DEFAULT 0,
  code TEXT,
  message TEXT
)""",
        f"CREATE INDEX {names.due} ON {names.outbox} (source, due_at)",
        f"CREATE INDEX {names.alone} ON {names.outbox} (due_at) WHERE claims >= {MAX_CLAIMS}",
        f"""CREATE TABLE {names.dead} (
  id INTEGER PRIMARY KEY,
{_EVENT_COLUMNS_SQLITE}
  added_at REAL NOT NULL,
  claims INTEGER NOT NULL,
  tries INTEGER NOT NULL,
  maybe_sent INTEGER NOT NULL,
  code TEXT NOT NULL,
  message TEXT NOT NULL,
  died_at REAL NOT NULL
)""",
        f"CREATE INDEX {names.died} ON {names.dead} (died_at)",
        f"""CREATE TABLE {names.hold} (
  source TEXT PRIMARY KEY,
  until REAL NOT NULL,
  probe TEXT
)""",
        f"""CREATE TABLE {names.version} (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  version INTEGER NOT NULL,
  clock REAL NOT NULL DEFAULT 0
)""",
        f"INSERT INTO {names.version} (one, version) VALUES (1, {VERSION})",
    ]


def script(statements: list[str]) -> str:
    """Join statements into the text of a migration."""
    return "".join(f"{statement};\n" for statement in statements)
