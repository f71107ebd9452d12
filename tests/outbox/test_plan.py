"""A relay's worker, step by step, on the test's own clock: pauses, its end, a lost database."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from eventbridge_partner import (
    Accepted,
    CredentialsError,
    Exhausted,
    OutboxUnavailableError,
    Rejected,
)
from eventbridge_partner.outbox import Claim, Dead, Gone, Later, Settled
from eventbridge_partner.outbox._fates import Rules
from eventbridge_partner.outbox._plan import (
    Control,
    Hold,
    Pauses,
    Rest,
    Say,
    Send,
    Settings,
    Settle,
    Take,
    Tell,
    work,
)
from tests.outbox.rows import row

LEASE = 60.0


class Worker:
    """Drives a plan: answers its steps, and records what it asks."""

    def __init__(self, **settings):
        self.now = 0.0
        self.stopped = False
        self.sent_seconds = []
        self.log = []
        rules = Rules(lambda state: 10.0, **settings.pop("rules", {}))
        control = {
            key: settings.pop(key) for key in ("until", "events", "drains") if key in settings
        }
        known = Settings(
            claim_events=400,
            claim_bytes=2**24,
            lease=LEASE,
            poll=0.5,
            pending_wait=300.0,
            rules=rules,
        )
        self.control = Control(known, lambda: self.now, lambda: self.stopped, **control)
        self.plan = work(self.control)
        self.step: Any = None
        self.is_over = False
        self.go(None)

    def go(self, value=None, error=None):
        """Answer the step, and continue to the next one that is not for the log or the observer."""
        try:
            self.step = self.plan.throw(error) if error else self.plan.send(value)
            while isinstance(self.step, (Say, Tell)):
                if isinstance(self.step, Say):
                    self.log.append((self.step.level, self.step.text % self.step.values))
                self.step = self.plan.send(None)
        except StopIteration:
            self.step, self.is_over = None, True
        return self.step

    def rest(self):
        """Carry out a rest, and return its seconds."""
        assert isinstance(self.step, Rest), self.step
        seconds = self.step.seconds
        self.now += seconds
        self.go()
        return seconds

    def claim(self, *rows):
        assert isinstance(self.step, Take), self.step
        self.go(Claim("token", rows, LEASE) if rows else None)

    def outcomes(self, *outcomes):
        assert isinstance(self.step, Send), self.step
        self.go(outcomes)

    def settle(self, lost=0):
        assert isinstance(self.step, Settle), self.step
        fates = self.step.fates
        counts = [sum(type(fate) is kind for fate in fates) for kind in (Gone, Dead, Later)]
        counts[0] -= lost
        gone, dead, later = counts
        self.go(Settled(gone, dead, later, lost))
        return fates


def accepted():
    return Accepted("id", {}, 0, 1)


def down(code="TransportError"):
    return Exhausted(code, "m", {}, 0, 3)


def test_a_claim_from_beginning_to_end():
    """A worker claims, sends within half a lease, settles, and claims again."""
    worker = Worker()
    worker.claim(row(1))
    assert (worker.step.seconds, len(worker.step.events)) == (LEASE / 2, 1)
    worker.outcomes(accepted())
    assert list(worker.settle()) == [Gone()]
    assert worker.step == Take(400)
    assert worker.control.report.accepted == 1


def test_nothing_is_due():
    """The worker looks again after about the poll interval, with jitter."""
    seconds = set()
    worker = Worker()
    for _ in range(20):
        worker.claim()
        assert worker.step.for_rows
        seconds.add(worker.rest())
    assert min(seconds) >= 0.4
    assert max(seconds) <= 0.6
    assert len(seconds) > 10


def test_pauses_in_an_outage():
    """Pauses double from 1 to 60 s, and each claim after one is of a single request's size."""
    worker = Worker()
    pauses, claimed = [], []
    for _ in range(9):
        claimed.append(worker.step.events)
        worker.claim(row(1), row(2, "b"))
        worker.outcomes(down(), down())
        assert {fate.seconds for fate in worker.settle()} == {0}
        pauses.append(worker.rest())
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert claimed == [400] + [20] * 8
    assert worker.log[0] == (
        logging.ERROR,
        "nothing gets through (TransportError): the relay pauses for 1 s, and events wait",
    )


def test_the_end_of_an_outage():
    """Once an event gets through, the worker continues as if there had been no outage."""
    worker = Worker()
    worker.claim(row(1))
    worker.outcomes(down())
    worker.settle()
    worker.rest()
    worker.claim(row(1))
    worker.outcomes(accepted())
    worker.settle()
    assert worker.step == Take(400)
    assert worker.log[-1] == (logging.INFO, "events get through again")
    worker.claim(row(1))
    worker.outcomes(down())
    worker.settle()
    assert worker.rest() == 1


def test_a_refused_event_ends_an_outage_too():
    """A service that looks at an event can be reached, whatever its answer."""
    worker = Worker()
    worker.claim(row(1))
    worker.outcomes(down())
    worker.settle()
    worker.rest()
    worker.claim(row(1))
    worker.outcomes(Rejected("MalformedDetail", "m", {}, 0, 1))
    worker.settle()
    assert worker.step == Take(400)


def test_workers_share_a_pause():
    """A failure of a request sent before a pause began does not lengthen it."""
    pauses = Pauses()
    assert pauses.begin(None, sent_at=0.0, now=1.0) == 1
    assert pauses.begin(None, sent_at=0.5, now=1.2) == pytest.approx(0.8)
    assert pauses.begin(None, sent_at=2.0, now=2.1) == 2
    assert pauses.left(None, 3.1) == pytest.approx(1.0)
    assert pauses.end(None)
    assert not pauses.end(None)
    assert pauses.left(None, 3.1) == 0


def test_a_refused_key_makes_no_dead_letters():
    """Ten minutes with a refused key put rows back unchanged, and make no dead letters."""
    worker = Worker()
    refused = Rejected("UnrecognizedClientException", "m", {}, 0, 1, of_request=True)
    while worker.now < 600:
        worker.claim(row(1), row(2, "b"))
        worker.outcomes(refused, refused)
        assert {(fate.seconds, fate.is_try) for fate in worker.settle()} == {(0, False)}
        worker.rest()
    assert worker.control.report.dead == 0


def test_missing_credentials():
    """An error of the client before sending is an outage, in which nothing was sent."""
    worker = Worker()
    worker.claim(row(1))
    worker.go(error=CredentialsError("none"))
    (fate,) = worker.settle()
    assert (fate.code, fate.maybe_sent, fate.is_try) == ("CredentialsError", False, False)
    assert worker.rest() == 1


def test_a_client_with_a_bug():
    """Any other exception of the client may have come after sending, and its text is not shown."""
    worker = Worker()
    worker.claim(row(1))
    worker.go(error=KeyError("canary"))
    (fate,) = worker.settle()
    assert (fate.code, fate.maybe_sent) == ("KeyError", True)
    assert (fate.seconds, fate.is_try) == (10, True)
    assert "canary" not in str(worker.log)
    assert worker.rest() == 1


def test_pending_sources_are_held():
    """The source of an event that a guard held back is held once for all of its rows."""
    worker = Worker()
    worker.claim(row(1), row(2))
    held = Rejected("SourcePending", "m", {}, 0, 0)
    worker.outcomes(held, held)
    worker.settle()
    assert worker.step == Hold(row(1).source, 300.0)
    worker.go(error=OutboxUnavailableError("gone"))
    assert worker.step == Take(400)


def test_a_source_that_fails_alone_is_held():
    """The source is held for longer each time, and no other source waits."""
    worker = Worker()
    seconds = []
    for _ in range(3):
        worker.claim(row(1), row(2))
        worker.outcomes(down("ThrottlingException"), down("ThrottlingException"))
        worker.settle()
        seconds.append(worker.step.seconds)
        worker.now += worker.step.seconds
        worker.go()
        assert worker.step == Take(400)
    assert seconds == [1, 2, 4]


# ---------------------------------------------------------------- the database is gone


def test_a_database_that_is_gone():
    """The worker retries after growing pauses, never ends, and logs when the outbox is back."""
    worker = Worker()
    rests = []
    for _ in range(8):
        worker.go(error=OutboxUnavailableError("refused"))
        rests.append(worker.rest())
    assert rests == [1, 2, 4, 8, 16, 32, 60, 60]
    worker.claim()
    assert worker.log[-1] == (logging.INFO, "the outbox can be used again")


def test_a_settle_that_cannot_be_written():
    """The fates of a claim are kept until they can be written."""
    worker = Worker()
    worker.claim(row(1))
    worker.outcomes(accepted())
    for _ in range(20):
        worker.go(error=OutboxUnavailableError("refused"))
        assert worker.rest() <= 5
    assert list(worker.settle()) == [Gone()]


def test_stopped_without_a_database():
    """A stopped worker retries for a quarter of a lease, and leaves the rest to the lease."""
    worker = Worker()
    worker.claim(row(1))
    worker.outcomes(accepted())
    worker.stopped = True
    while not worker.is_over:
        worker.go(error=OutboxUnavailableError("refused"))
        if not worker.is_over:
            worker.rest()
    assert worker.now <= LEASE / 4 + 5


def test_drain_raises():
    """A drain of an outbox that cannot be used raises."""
    worker = Worker(drains=True)
    with pytest.raises(OutboxUnavailableError):
        worker.go(error=OutboxUnavailableError("refused"))
    assert worker.control.is_over


def test_drain_raises_when_nothing_can_be_settled():
    """A drain retries to write what it sent for as long as the lease, and then raises."""
    worker = Worker(drains=True)
    worker.claim(row(1))
    worker.outcomes(accepted())

    def forever():
        while True:
            worker.go(error=OutboxUnavailableError("refused"))
            worker.rest()

    with pytest.raises(OutboxUnavailableError):
        forever()
    assert LEASE <= worker.now <= LEASE + 5


# ---------------------------------------------------------------- the end


def test_drain_ends_when_nothing_is_due():
    """A drain ends once no row is due."""
    worker = Worker(drains=True)
    worker.claim()
    assert worker.is_over


def test_drain_ends_in_an_outage():
    """Without a time limit, an outage ends a drain, and the report says so."""
    worker = Worker(drains=True)
    worker.claim(row(1))
    worker.outcomes(down())
    worker.settle()
    assert worker.is_over
    assert worker.control.report.outage == "TransportError"


def test_drain_continues_after_an_outage():
    """With a time limit, a drain waits for pauses to end, but not beyond the limit."""
    worker = Worker(drains=True, until=4.5)
    for seconds in (1, 2):
        worker.claim(row(1))
        worker.outcomes(down())
        worker.settle()
        assert worker.rest() == seconds
    worker.claim(row(1))
    worker.outcomes(down())
    worker.settle()
    assert worker.rest() == 1.5
    assert worker.is_over


def test_drain_of_a_number_of_events():
    """A drain with a number of events claims no more than that, over all claims."""
    worker = Worker(drains=True, events=3)
    assert worker.step == Take(3)
    worker.claim(row(1), row(2))
    worker.outcomes(accepted(), accepted())
    worker.settle()
    assert worker.step == Take(1)
    worker.claim(row(3))
    worker.outcomes(accepted())
    worker.settle()
    assert worker.is_over


def test_stop():
    """A stopped worker settles what is in flight, and claims nothing new."""
    worker = Worker()
    worker.claim(row(1))
    worker.stopped = True
    worker.outcomes(accepted())
    assert list(worker.settle()) == [Gone()]
    assert worker.is_over


# ---------------------------------------------------------------- the log


def test_lost_rows_are_warned_about():
    """Rows that another relay may have sent as well are warned about."""
    worker = Worker()
    worker.claim(row(1), row(2))
    worker.outcomes(accepted(), accepted())
    worker.settle(lost=1)
    assert worker.log[-1][0] == logging.WARNING
    assert worker.log[-1][1].startswith("1 rows may be sent twice: another relay claimed them")
    assert worker.control.report.lost == 1


def test_dead_letters_are_errors():
    """A dead letter is an error in the log, with its code alone."""
    worker = Worker()
    worker.claim(row(1), row(2))
    worker.outcomes(accepted(), Rejected("MalformedDetail", "canary", {}, 1, 1))
    worker.settle()
    assert worker.log == [(logging.ERROR, "1 event is a dead letter now (MalformedDetail)")]


def test_a_guard_that_parks_under_a_relay():
    """A guard that parks events under a relay is reported, with the setting to use instead."""
    worker = Worker()
    worker.claim(row(1))
    worker.outcomes(Exhausted("SourceParked", "m", {}, 0, 0))
    worker.settle()
    ((level, text),) = worker.log
    assert level == logging.ERROR
    assert 'on_pending="reject"' in text


def test_a_row_that_kills_its_process_is_not_sent():
    """A row that was claimed alone twice without being settled is not sent again."""
    worker = Worker()
    worker.claim(row(1, claims=5))
    (fate,) = worker.settle()
    assert fate.code == "Unsettled"
