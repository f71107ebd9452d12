"""A report holds one outcome for each event, in order, and shows no payload."""

from __future__ import annotations

import datetime
import json
import pickle

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbridge_partner import (
    Accepted,
    DeliveryReport,
    Exhausted,
    FlushReport,
    OutcomeCounts,
    PartnerEvent,
    PublisherStats,
    Rejected,
    Unconfirmed,
    UndeliveredError,
)
from eventbridge_partner.outbox import DrainReport, OutboxStats
from tests.strategies import SOURCE

EVENT = PartnerEvent(SOURCE, "t", {"k": "s3cr3t-canary"})


def outcomes_of(kinds):
    make = {
        "accepted": lambda index: Accepted("id", EVENT, index, 1),
        "rejected": lambda index: Rejected("MalformedDetail", "m", EVENT, index, 1),
        "exhausted": lambda index: Exhausted("InternalFailure", "m", EVENT, index, 3),
        "unconfirmed": lambda index: Unconfirmed("lost", EVENT, index, 2),
    }
    return [make[kind](index) for index, kind in enumerate(kinds)]


kinds = st.lists(st.sampled_from(["accepted", "rejected", "exhausted", "unconfirmed"]), max_size=30)


@given(kinds)
def test_report_is_a_sequence_of_its_outcomes(kinds):
    """A report's length, order, slices, counts and lists are those of its outcomes."""
    outcomes = outcomes_of(kinds)
    report = DeliveryReport(iter(outcomes))
    assert list(report) == outcomes
    assert len(report) == len(outcomes)
    assert report[1:3] == tuple(outcomes[1:3])
    assert list(reversed(report)) == outcomes[::-1]
    if outcomes:
        assert report[-1] is outcomes[-1]
        assert outcomes[0] in report
    for kind in ("accepted", "rejected", "exhausted", "unconfirmed"):
        expected = [outcome for outcome, name in zip(outcomes, kinds, strict=True) if name == kind]
        assert list(getattr(report, kind)) == expected
        assert getattr(report.counts, kind) == len(expected)
    assert report.counts.total == len(outcomes)
    assert report.counts.undelivered == len(outcomes) - kinds.count("accepted")
    assert report.counts == OutcomeCounts.of(iter(outcomes))
    assert pickle.loads(pickle.dumps(report)) == report


@given(kinds)
def test_raise_for_undelivered(kinds):
    """It returns the report itself if, and only if, every event was accepted."""
    report = DeliveryReport(outcomes_of(kinds))
    if set(kinds) <= {"accepted"}:
        assert report.raise_for_undelivered() is report
        return
    with pytest.raises(UndeliveredError) as caught:
        report.raise_for_undelivered()
    assert caught.value.report is report
    failed = len(kinds) - kinds.count("accepted")
    events = "event" if len(kinds) == 1 else "events"
    were = "was" if failed == 1 else "were"
    assert f"{failed} of {len(kinds)} {events} {were} not accepted: event " in str(caught.value)
    assert ("more" in str(caught.value)) == (failed > 3)
    assert "s3cr3t" not in str(caught.value)
    copied = pickle.loads(pickle.dumps(caught.value))
    assert copied.report == report


def test_message_names_the_first_few():
    """The message has index, outcome and code of the first three, and counts the rest."""
    kinds = ["accepted", "rejected", "unconfirmed", "exhausted", "rejected", "rejected"]
    with pytest.raises(UndeliveredError) as caught:
        DeliveryReport(outcomes_of(kinds)).raise_for_undelivered()
    assert str(caught.value) == (
        "5 of 6 events were not accepted: event 1 rejected (MalformedDetail), event 2 "
        "unconfirmed, event 3 exhausted (InternalFailure), and 2 more"
    )


def test_empty_report():
    """A report of no events is ok."""
    report = DeliveryReport([])
    assert report.raise_for_undelivered() is report
    assert report.ok
    assert len(report) == 0
    assert report.counts == OutcomeCounts(0, 0, 0, 0)


@given(kinds)
def test_ok_and_undelivered(kinds):
    """A report is ok if nothing is undelivered; what is undelivered comes in the order given."""
    report = DeliveryReport(outcomes_of(kinds))
    failed = [index for index, kind in enumerate(kinds) if kind != "accepted"]
    assert [report.outcomes.index(outcome) for outcome in report.undelivered] == failed
    assert len(report.undelivered) == report.counts.undelivered
    assert report.ok == (not failed)


@given(kinds)
def test_no_truth_value(kinds):
    """A report in an `if` is a TypeError that names what to ask instead."""
    with pytest.raises(TypeError, match=r"`ok`.*`len\(\)`"):
        bool(DeliveryReport(outcomes_of(kinds)))


@given(kinds)
def test_plain_report(kinds):
    """A report's plain form has its `ok`, counts and outcomes, and details only on request."""
    report = DeliveryReport(outcomes_of(kinds))
    found = json.loads(json.dumps(report.to_dict()))
    assert found["ok"] == report.ok
    assert OutcomeCounts(**found["counts"]) == report.counts
    assert [outcome["outcome"] for outcome in found["outcomes"]] == kinds
    assert "s3cr3t" not in str(found)
    assert str(report.to_dict(detail=True)).count("s3cr3t") == len(kinds)


def test_plain_figures():
    """In `to_dict`, numbers stay, times become ISO 8601 text, and nested values become dicts."""
    day = datetime.datetime(2030, 1, 2, tzinfo=datetime.UTC)
    assert FlushReport(OutcomeCounts(1), 2).to_dict() == {
        "sent": {"accepted": 1, "rejected": 0, "exhausted": 0, "unconfirmed": 0},
        "left": 2,
    }
    assert PublisherStats(published=3).to_dict() == attrs.asdict(PublisherStats(published=3))
    stats = OutboxStats(1, 1, 0, 0, 0, 0.5, held_back_since=day)
    assert stats.to_dict() == attrs.asdict(stats) | {"held_back_since": "2030-01-02T00:00:00+00:00"}
    assert DrainReport(accepted=1).to_dict() == attrs.asdict(DrainReport(accepted=1))


def test_one_event_is_no_plural():
    """The repr and the error say "1 event", not "1 events"."""
    report = DeliveryReport(outcomes_of(["rejected"]))
    assert repr(report).startswith("<DeliveryReport of 1 event: ")
    with pytest.raises(UndeliveredError, match=r"^1 of 1 event was not accepted: "):
        report.raise_for_undelivered()


def test_repr_is_a_summary():
    """A report of a million events has a repr of one line."""
    report = DeliveryReport(outcomes_of(["accepted", "exhausted", "accepted"]))
    assert repr(report) == (
        "<DeliveryReport of 3 events: 2 accepted, 0 rejected, 1 exhausted, 0 unconfirmed>"
    )
