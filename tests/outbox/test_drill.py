"""A short drill on each database; `python -m tests.outbox.drill` runs the long one."""

from __future__ import annotations

import pytest

from tests.outbox.drill import drill, own_server, postgresql_database, sqlite_database


@pytest.mark.slow
@pytest.mark.process
def test_on_sqlite():
    """A relay that is killed and stopped loses no event and invents none."""
    with sqlite_database() as database:
        ledger = drill(database, events=2000, sources=30, kills=3, terms=1, seed=5)
    assert ledger.is_balanced, ledger
    assert ledger.dead


@pytest.mark.slow
@pytest.mark.process
def test_on_postgresql():
    """Two relays whose server restarts midway lose no event and invent none."""
    with own_server() as (uri, restart), postgresql_database(uri, restart) as database:
        ledger = drill(database, events=2000, sources=30, kills=3, restarts=1, terms=1, seed=6)
    assert ledger.is_balanced, ledger
    assert ledger.dead
