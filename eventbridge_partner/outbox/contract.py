"""
The tests that every outbox passes, for pytest: inherit from `OutboxContract`.

    class TestMyOutbox(OutboxContract):
        def make(self):
            return MyOutbox(...)

        def put(self, outbox, *events):
            with my_transaction() as connection:
                outbox.add(connection, *events)
"""

from __future__ import annotations

import time

from eventbridge_partner.models import PartnerEvent
from eventbridge_partner.outbox._protocol import Outbox
from eventbridge_partner.outbox._records import Dead, Fate, Gone, Later, Settled
from eventbridge_partner.outbox._rows import Claim

LEASE = 2.0
"""The lease in these tests, in seconds."""


def event(number: int, customer: str = "acme", *, padding: int = 0) -> PartnerEvent:
    """Return an event that its number tells apart from others."""
    source = f"aws.partner/example.com.test/{customer}"
    return PartnerEvent(source, "contract.test", {"number": number, "padding": "x" * padding})


class OutboxContract:
    """
    The behaviour of an outbox that a relay relies on, as tests.

    Make a subclass whose name begins with `Test`, and define `make` and `put`. Each test calls
    `make` once. `pass_time` sleeps; override it if your outbox has a clock that tests can move.
    """

    def make(self) -> Outbox:
        """Return an outbox without rows, dead letters or holds."""
        raise NotImplementedError

    def put(self, outbox: Outbox, *events: PartnerEvent) -> None:
        """Add events in a transaction, and commit it."""
        raise NotImplementedError

    def pass_time(self, outbox: Outbox, seconds: float) -> None:
        """Let time pass for the outbox."""
        time.sleep(seconds)

    def claim(self, outbox: Outbox, events: int = 100, max_bytes: int = 2**24) -> Claim:
        """Claim rows; fail if none are due."""
        claim = outbox.claim(events=events, max_bytes=max_bytes, lease=LEASE)
        assert claim is not None, "nothing is due"
        return claim

    def is_empty(self, outbox: Outbox) -> bool:
        """Tell whether nothing is due."""
        return outbox.claim(events=100, max_bytes=2**24, lease=LEASE) is None

    # ------------------------------------------------------------ claims

    def test_an_empty_outbox_has_no_claim(self) -> None:
        """An outbox without rows has nothing to claim."""
        assert self.is_empty(self.make())

    def test_what_was_added_is_claimed_whole(self) -> None:
        """A row holds all of its event, and rows are in the order of adding."""
        outbox = self.make()
        given = [event(number) for number in range(3)]
        self.put(outbox, *given)
        claim = self.claim(outbox)
        assert [row.event() for row in claim.rows] == given
        assert {(row.claims, row.tries, row.maybe_sent) for row in claim.rows} == {(0, 0, False)}
        assert all(0 <= row.age < 60 for row in claim.rows)

    def test_a_claimed_row_is_nobody_elses(self) -> None:
        """Until the lease expires, no other claim gets a row."""
        outbox = self.make()
        self.put(outbox, *map(event, range(10)))
        first, second = self.claim(outbox, 6), self.claim(outbox, 6)
        assert not {row.id for row in first.rows} & {row.id for row in second.rows}
        assert len(first.rows) + len(second.rows) == 10
        assert self.is_empty(outbox)

    def test_a_lease_ends(self) -> None:
        """A row that was not settled is claimed again, and counts its claims."""
        outbox = self.make()
        self.put(outbox, event(1))
        first = self.claim(outbox)
        self.pass_time(outbox, LEASE + 0.1)
        second = self.claim(outbox)
        assert second.token != first.token
        assert [row.id for row in second.rows] == [row.id for row in first.rows]
        assert second.rows[0].claims == 1

    def test_events_bound_a_claim(self) -> None:
        """A claim has no more rows than asked for."""
        outbox = self.make()
        self.put(outbox, *map(event, range(7)))
        assert len(self.claim(outbox, 5).rows) == 5
        assert len(self.claim(outbox, 5).rows) == 2

    def test_bytes_bound_a_claim(self) -> None:
        """A claim is no larger than asked for, but has at least one row."""
        outbox = self.make()
        self.put(outbox, *(event(number, padding=1000) for number in range(3)))
        claim = self.claim(outbox, max_bytes=2500)
        assert len(claim.rows) == 2
        assert claim.size <= 2500
        assert len(self.claim(outbox, max_bytes=1).rows) == 1

    def test_sources_share_a_claim(self) -> None:
        """The backlog of one source does not keep the others waiting."""
        outbox = self.make()
        self.put(outbox, *(event(number, "busy") for number in range(300)))
        quiet = [event(number, f"quiet-{number}") for number in range(10)]
        self.put(outbox, *quiet)
        claimed = [row.source for _ in range(3) for row in self.claim(outbox, 20).rows]
        assert {one.source for one in quiet} <= set(claimed)

    def test_every_source_gets_its_turn(self) -> None:
        """Claims that are smaller than the number of sources rotate over them."""
        outbox = self.make()
        self.put(outbox, *(event(n, f"customer-{n % 9}") for n in range(90)))
        claimed = [row.source for _ in range(6) for row in self.claim(outbox, 3).rows]
        assert len(set(claimed)) == 9

    # ------------------------------------------------------------ fates

    def test_gone_is_gone(self) -> None:
        """An accepted event leaves no row."""
        outbox = self.make()
        self.put(outbox, event(1))
        assert outbox.settle(self.claim(outbox), [Gone()]) == Settled(1, 0, 0, 0)
        self.pass_time(outbox, LEASE + 0.1)
        assert self.is_empty(outbox)

    def test_each_row_has_its_own_fate(self) -> None:
        """A settle gives each row its own fate."""
        outbox = self.make()
        self.put(outbox, *map(event, range(3)))
        claim = self.claim(outbox)
        fates: list[Fate] = [
            Gone(),
            Dead("Nonsense", "cannot be sent"),
            Later(0, "Busy", "try again"),
        ]
        assert outbox.settle(claim, fates) == Settled(1, 1, 1, 0)
        assert [row.id for row in self.claim(outbox).rows] == [claim.rows[2].id]

    def test_later_is_later(self) -> None:
        """A row that is put back is due again after its wait, and counts its tries."""
        outbox = self.make()
        self.put(outbox, event(1))
        outbox.settle(self.claim(outbox), [Later(1.0, "Busy", "try again")])
        assert self.is_empty(outbox)
        self.pass_time(outbox, 1.1)
        row = self.claim(outbox).rows[0]
        assert (row.tries, row.claims, row.maybe_sent) == (1, 0, False)

    def test_given_back(self) -> None:
        """A row that is not to blame is due at once, and no try is counted."""
        outbox = self.make()
        self.put(outbox, event(1))
        outbox.settle(self.claim(outbox), [Later(0, "Outage", "none", is_try=False)])
        assert self.claim(outbox).rows[0].tries == 0

    def test_doubt_stays(self) -> None:
        """A row that may have arrived stays marked."""
        outbox = self.make()
        self.put(outbox, event(1))
        outbox.settle(self.claim(outbox), [Later(0, "Unconfirmed", "lost", maybe_sent=True)])
        outbox.settle(self.claim(outbox), [Later(0, "Busy", "try again")])
        assert self.claim(outbox).rows[0].maybe_sent

    def test_a_stale_claim_settles_nothing(self) -> None:
        """A claim that has lost a row to another claim can neither delete nor delay it."""
        outbox = self.make()
        self.put(outbox, *map(event, range(3)))
        stale = self.claim(outbox)
        self.pass_time(outbox, LEASE + 0.1)
        fresh = self.claim(outbox)
        fates: list[Fate] = [Gone(), Dead("Nonsense", "none"), Later(0, "Busy", "try again")]
        assert outbox.settle(stale, fates) == Settled(0, 0, 0, lost=3)
        assert outbox.settle(fresh, [Gone()] * 3) == Settled(3, 0, 0, 0)

    def test_a_late_settle_counts(self) -> None:
        """A settle after the lease counts as long as no other claim has the row."""
        outbox = self.make()
        self.put(outbox, event(1))
        claim = self.claim(outbox)
        self.pass_time(outbox, LEASE + 0.1)
        assert outbox.settle(claim, [Gone()]) == Settled(1, 0, 0, 0)

    # ------------------------------------------------------------ crashes

    def test_a_suspicious_row_is_claimed_alone(self) -> None:
        """After three claims that were never settled, a row shares no claim with others."""
        outbox = self.make()
        self.put(outbox, *map(event, range(3)))
        for claims in range(3):
            claim = self.claim(outbox)
            assert {row.claims for row in claim.rows} == {claims}
            self.pass_time(outbox, LEASE + 0.1)
        self.put(outbox, event(4), event(5))
        sizes = [len(self.claim(outbox).rows) for _ in range(4)]
        assert sorted(sizes) == [1, 1, 1, 2]
        assert self.is_empty(outbox)

    def test_suspicious_rows_let_others_pass(self) -> None:
        """Rows that are claimed alone take turns with the others."""
        outbox = self.make()
        self.put(outbox, *map(event, range(3)))
        for _ in range(3):
            self.claim(outbox)
            self.pass_time(outbox, LEASE + 0.1)
        self.put(outbox, event(4))
        assert 0 in {row.claims for _ in range(2) for row in self.claim(outbox).rows}

    # ------------------------------------------------------------ holds

    def test_a_held_source_waits(self) -> None:
        """Rows of a held source are left out of claims; rows of other sources are not."""
        outbox = self.make()
        self.put(outbox, event(1, "held"), event(2, "other"))
        outbox.hold(event(1, "held").source, seconds=60)
        assert [row.source for row in self.claim(outbox).rows] == [event(2, "other").source]
        assert self.is_empty(outbox)

    def test_one_row_tries_whether_a_hold_is_over(self) -> None:
        """When a hold expires, one row is claimed, and the others wait for its fate."""
        outbox = self.make()
        self.put(outbox, *(event(number, "held") for number in range(5)))
        outbox.hold(event(1, "held").source, seconds=1)
        self.pass_time(outbox, 1.1)
        probe = self.claim(outbox)
        assert len(probe.rows) == 1
        assert self.is_empty(outbox)
        outbox.settle(probe, [Gone()])
        assert len(self.claim(outbox).rows) == 4

    def test_a_hold_goes_on(self) -> None:
        """A source that is held again costs one row for each hold that expires."""
        outbox = self.make()
        self.put(outbox, *(event(number, "held") for number in range(5)))
        source = event(1, "held").source
        for _ in range(3):
            outbox.hold(source, seconds=1)
            self.pass_time(outbox, 1.1)
            probe = self.claim(outbox)
            assert len(probe.rows) == 1
            outbox.settle(probe, [Later(0, "SourcePending", "none", is_try=False)])
        outbox.hold(source, seconds=1)
        assert self.is_empty(outbox)

    def test_a_hold_is_taken_back(self) -> None:
        """A hold of 0 seconds ends a hold at once."""
        outbox = self.make()
        self.put(outbox, event(1), event(2))
        outbox.hold(event(1).source, seconds=60)
        outbox.hold(event(1).source, seconds=0)
        assert len(self.claim(outbox).rows) == 2

    # ------------------------------------------------------------ waiting

    def test_wake_ends_a_wait(self) -> None:
        """A wait returns at once if `wake` was called since the last claim."""
        outbox = self.make()
        assert self.is_empty(outbox)
        outbox.wake()
        began = time.monotonic()
        outbox.wait(30.0)
        assert time.monotonic() - began < 10.0
