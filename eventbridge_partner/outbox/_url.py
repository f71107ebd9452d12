"""Opens an outbox by its URL, for the command line and for settings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from eventbridge_partner.errors import ConfigurationError
from eventbridge_partner.outbox import _schema
from eventbridge_partner.outbox._sqlite import SqliteOutbox

if TYPE_CHECKING:
    from eventbridge_partner.outbox._postgresql import PostgresOutbox

VARIABLE: Final = "EVENTBRIDGE_PARTNER_OUTBOX"
"""The environment variable that names an outbox for the command line."""

_SCHEME: Final = re.compile(r"([a-z][a-z0-9]*)(?:\+[a-z0-9_]+)?://")
_ALLOWED: Final = "allowed: sqlite:///path/of/file, or postgresql://user@host/database"


def open_outbox(
    url: str, *, table: str = _schema.TABLE, schema: str | None = None, listen: bool = False
) -> SqliteOutbox | PostgresOutbox:
    """
    Return the outbox that a URL names. It does not connect yet.

    Args:
        url: `sqlite:///file` (`sqlite:////file` for an absolute path) or `postgresql://…`. A
            driver's name, as in SQLAlchemy's `postgresql+asyncpg://…`, is ignored.
        table: The name of the outbox's table.
        schema: Their schema in PostgreSQL; None for the search path.
        listen: Whether to listen for PostgreSQL's notifications.

    Raises:
        ConfigurationError: It names no outbox. The message never shows a password.
    """
    found = _SCHEME.match(url)
    kind = found[1] if found else None
    try:
        if kind in {"postgresql", "postgres"} and found:
            from eventbridge_partner.outbox._postgresql import PostgresOutbox

            database = f"postgresql://{url[found.end() :]}"
            return PostgresOutbox(database, table=table, schema=schema, listen=listen)
        if kind == "sqlite" and found:
            path = url[found.end() :]
            if not path.startswith("/") or path == "/":
                raise ConfigurationError(f"the outbox's URL names no file; {_ALLOWED}")
            if schema is not None or listen:
                raise ConfigurationError("schema and listen are for an outbox in PostgreSQL")
            return SqliteOutbox(path[1:], table=table)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    said = f"begins with {kind}://" if kind else "is no URL"
    raise ConfigurationError(f"the outbox's URL {said}; {_ALLOWED}")
