"""Claims of two relays in any order, compared with a model of leases."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)

from eventbridge_partner.outbox import Claim, Dead, Fate, Gone, Later, SqliteOutbox
from eventbridge_partner.outbox._fates import sendable
from eventbridge_partner.outbox._schema import MAX_CLAIMS
from eventbridge_partner.outbox.contract import event

LEASE = 10.0
WAIT = 4.0


@attrs.define
class Row:
    """The model of a row: when it is due, who holds it, and how often it was not settled."""

    source: str
    due_at: float
    added_at: float
    lease: str | None = None
    claims: int = 0
    tries: int = 0
    maybe_sent: bool = False


class Claims(RuleBasedStateMachine):
    """The model: rows with a lease each, and holds of sources."""

    claims: Bundle[Any] = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "shop.db"
        self.now = 1e9
        self.relays = [SqliteOutbox(self.path, clock=lambda: self.now) for _ in range(2)]
        self.relays[0].create()
        self.connection = sqlite3.connect(self.path)
        self.rows: dict[int, Row] = {}
        self.holds: dict[str, float] = {}
        self.probes: dict[str, str] = {}
        self.gone: Counter[int] = Counter()
        self.dead: dict[int, str] = {}
        self.numbers = itertools.count(1)

    def teardown(self) -> None:
        self.connection.close()
        for relay in self.relays:
            relay.close()
        self.directory.cleanup()

    @initialize()
    def begin(self) -> None:
        self.add(list("aaaabbbb"), commits=True)

    @rule(customers=st.lists(st.sampled_from("ab"), min_size=1, max_size=5), commits=st.booleans())
    def add(self, customers: list[str], commits: bool) -> None:
        events = [event(next(self.numbers), customer) for customer in customers]
        self.relays[0].add(self.connection, *events)
        last = self.connection.execute("SELECT max(id) FROM eventbridge_outbox").fetchone()[0]
        if not commits:
            self.connection.rollback()
            return
        self.connection.commit()
        for number, one in enumerate(events):
            identity = last - len(events) + 1 + number
            self.rows[identity] = Row(one.source, self.now, self.now)

    @rule(seconds=st.sampled_from([11.0, 3.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=claims, relay=st.integers(0, 1), events=st.integers(1, 6))
    def claim(self, relay: int, events: int) -> Claim | MultipleResults[Claim]:
        claim = self.relays[relay].claim(events=events, max_bytes=2**20, lease=LEASE)
        if claim is None:
            waiting = [row for row in self.rows.values() if self._is_due(row)]
            assert not waiting, "something is due, and nothing was claimed"
            self._end_holds()
            return multiple()
        assert len(claim.rows) <= events
        assert len({row.id for row in claim.rows}) == len(claim.rows)
        suspects = [row for row in claim.rows if row.claims >= MAX_CLAIMS]
        assert not suspects or len(claim.rows) == 1, "a suspicious row was claimed with others"
        sources = Counter(row.source for row in claim.rows)
        for row in claim.rows:
            known = self.rows[row.id]
            assert known.due_at <= self.now, "leased twice, or before it was due"
            assert self.holds.get(known.source, 0) <= self.now, "claimed under a hold"
            assert (row.claims, row.tries, row.maybe_sent) == (
                known.claims, known.tries, known.maybe_sent,
            )  # fmt: skip
            if known.source in self.holds and not suspects:
                assert sources[known.source] == 1, "more than one row probes a hold"
        for row in claim.rows:
            known = self.rows[row.id]
            known.due_at, known.lease, known.claims = self.now + LEASE, claim.token, row.claims + 1
            if known.source in self.holds and not suspects:
                self.holds[known.source] = self.now + LEASE
                self.probes[known.source] = claim.token
        self._end_holds()
        return claim

    def _end_holds(self) -> None:
        """Forget holds that ended without a row to probe them, as the outbox does at a claim."""
        kept = {
            source
            for (source,) in self.connection.execute("SELECT source FROM eventbridge_outbox_hold")
        }
        for source in set(self.holds) - kept:
            assert self.holds.pop(source) <= self.now

    def _is_due(self, row: Row) -> bool:
        return row.due_at <= self.now and self.holds.get(row.source, 0) <= self.now

    @rule(claim=claims, fates=st.lists(st.sampled_from("gdlb"), min_size=6, max_size=6))
    def settle(self, claim: Claim, fates: list[str]) -> None:
        made: dict[str, Fate] = {
            "g": Gone(),
            "d": Dead("X", "m"),
            "l": Later(WAIT, "Busy", "m", maybe_sent=True),
            "b": Later(0, "Outage", "m", is_try=False),
        }
        chosen: list[Fate] = [made[letter] for letter in fates[: len(claim.rows)]]
        settled = self.relays[0].settle(claim, chosen)
        lost = 0
        for row, fate in zip(claim.rows, chosen, strict=True):
            known = self.rows.get(row.id)
            ours = known is not None and known.lease == claim.token
            if not isinstance(fate, Later) and self.probes.get(row.source) == claim.token:
                self.holds.pop(row.source, None)
                del self.probes[row.source]
            if known is None or not ours:
                lost += 1
                continue
            match fate:
                case Gone():
                    self.gone[row.id] += 1
                    del self.rows[row.id]
                case Dead(code):
                    self.dead[row.id] = code
                    del self.rows[row.id]
                case Later(seconds, maybe_sent=maybe_sent, is_try=is_try):
                    known.due_at, known.lease, known.claims = self.now + seconds, None, 0
                    known.maybe_sent |= maybe_sent
                    known.tries += is_try
        assert settled.lost == lost, "a stale token settled something"

    @rule(customer=st.sampled_from("ab"), seconds=st.sampled_from([2.0, 0.0, 30.0]))
    def hold(self, customer: str, seconds: float) -> None:
        source = event(0, customer).source
        self.relays[1].hold(source, seconds=seconds)
        self.probes.pop(source, None)
        if seconds:
            self.holds[source] = self.now + seconds
        else:
            self.holds.pop(source, None)

    @invariant()
    def nothing_is_lost_or_twice(self) -> None:
        stats = self.relays[0].stats()
        assert stats.waiting == len(self.rows)
        assert stats.dead == len(self.dead)
        assert all(count == 1 for count in self.gone.values())


Claims.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestClaims = pytest.mark.slow(Claims.TestCase)


@pytest.mark.slow
def test_a_row_that_kills_its_process(tmp_path):
    """After five deaths the row is a dead letter, and all of its neighbours are delivered."""
    now = 1e9
    with SqliteOutbox(tmp_path / "shop.db", clock=lambda: now) as outbox:
        outbox.create()
        with contextlib.closing(sqlite3.connect(outbox._path)) as connection, connection:
            outbox.add(connection, *map(event, range(400)))
        killer, deaths, delivered = event(200), 0, []
        while (claim := outbox.claim(events=400, max_bytes=2**24, lease=LEASE)) is not None:
            events, unsent = sendable(claim.rows)
            if killer in events:
                deaths += 1  # it is never settled
                now += LEASE
                continue
            delivered += events
            outbox.settle(claim, [unsent.get(place, Gone()) for place in range(len(claim.rows))])
        (dead,) = outbox.dead_letters()
        assert dead.detail == killer.detail
        assert dead.code == "Unsettled"
        assert len(delivered) == 399
    assert deaths == 5
