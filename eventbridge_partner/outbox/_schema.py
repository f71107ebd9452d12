"""The tables of an outbox: their names, how they are made, and the version of that."""

from __future__ import annotations

import re
from typing import Final, Self

import attrs

from eventbridge_partner.errors import OutboxSchemaError

VERSION: Final = 1
"""Of the tables that this release works with."""

TABLE: Final = "eventbridge_outbox"
"""The name of the table unless another one is given."""

MAX_CLAIMS: Final = 3
"""A row of which so many claims were never settled is claimed alone from then on."""

_PLACE: Final = "this database"
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,39}")


@attrs.frozen
class Names:
    """
    The names of an outbox's tables and indexes, ready for a statement.

    Attributes:
        table: Of the outbox, without its schema.
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
        Return the names that follow from that of the outbox.

        Raises:
            ValueError: It is no name that needs no quotes.
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
        found: The version that is there; None for no tables.
        names: Of the tables.
        place: Where they are, for the error.

    Raises:
        OutboxSchemaError: There are none, or not those of this release.
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
    """Return the error that there are no tables."""
    return OutboxSchemaError(
        f"there is no outbox {names.outbox} in {place}, or not all of it: run "
        "`eventbridge-partner outbox create`, or `create()`"
    )


def check_since(since: int) -> None:
    """
    Refuse a version that there never was.

    Raises:
        ValueError: It is none.
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
    Return the statements that make the tables on PostgreSQL, or bring them up to this version.

    Args:
        names: Of the tables.
        since: The version that is there; 0 for none.
    """
    check_since(since)
    if since == VERSION:
        return []
    # The index is on (source, due_at) and nothing else, and names compare by their bytes, as
    # Python compares them. See the explanation of the outbox in the documentation.
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
    Return the statements that make the tables on SQLite, or bring them up to this version.

    Args:
        names: Of the tables.
        since: The version that is there; 0 for none.
    """
    check_since(since)
    if since == VERSION:
        return []
    # AUTOINCREMENT: a dead letter keeps its id, so no row may have it again. `clock` is the
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
    """Return statements as the text of a migration."""
    return "".join(f"{statement};\n" for statement in statements)
