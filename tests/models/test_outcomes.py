"""Outcomes are values that carry the event, and never show what is in it."""

from __future__ import annotations

import datetime
import json
import pickle
from typing import Any

import attrs
import pytest
from hypothesis import given

from eventbridge_partner import (
    Accepted,
    Exhausted,
    Finding,
    PartnerEvent,
    Rejected,
    ResultEntry,
    Unconfirmed,
)
from eventbridge_partner.models._outcomes import accept_all, renumbered
from tests.strategies import SOURCE, events

DAY = datetime.date(2030, 1, 2)
CANARY = "s3cr3t-canary"
GIVEN = {
    "event": PartnerEvent(SOURCE, "t", {"k": CANARY}, resources=[CANARY]),
    "mapping": {"Source": SOURCE, "Detail": CANARY, CANARY: 1},
    "nothing like an event": CANARY,
}
OUTCOMES = {
    "accepted": lambda event: Accepted("id", event, 4, 1),
    "rejected": lambda event: Rejected("C", "m", event, 4, 1, (Finding("f", "x", "y", 4),)),
    "exhausted": lambda event: Exhausted("C", "m", event, 4, 3),
    "unconfirmed": lambda event: Unconfirmed("lost", event, 4, 2),
}


@pytest.mark.parametrize("event", GIVEN.values(), ids=GIVEN)
@pytest.mark.parametrize("make", OUTCOMES.values(), ids=OUTCOMES)
def test_outcomes(make, event):
    """An outcome has its event as given, its index and its attempts; its repr has no payload."""
    outcome = make(event)
    assert outcome.event is event
    assert outcome.index == 4
    assert outcome.attempts in (1, 2, 3)
    assert CANARY not in repr(outcome)
    assert "index=4" in repr(outcome)
    assert pickle.loads(pickle.dumps(outcome)) == outcome
    assert outcome == make(event)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        outcome.index = 5


def test_defaults():
    """By default, a rejection has no findings, no source is gone, and a code is known."""
    event = GIVEN["event"]
    assert Rejected("C", "m", event, 0, 1).findings == ()
    assert not Rejected("C", "m", event, 0, 1).source_is_gone
    assert Exhausted("C", "m", event, 0, 1).code_is_known
    assert ResultEntry() == ResultEntry(None, None, None)


def test_outcomes_match_by_position():
    """`match` takes an outcome apart in the documented order."""
    match Rejected("C", "m", GIVEN["event"], 7, 1):
        case Rejected(code, message, event, index, attempts):
            assert (code, message, index, attempts) == ("C", "m", 7, 1)
            assert event is GIVEN["event"]


def test_outcomes_made_at_once():
    """They are like those made one by one: of the same class, equal, frozen, and picklable."""
    given = [PartnerEvent(SOURCE, "t", {"n": number}) for number in range(3)]
    made: list[Any] = accept_all(["a", None, "c"], given, 40)

    assert made == [
        Accepted("a", given[0], 40, 1),
        Accepted(None, given[1], 41, 1),
        Accepted("c", given[2], 42, 1),
    ]
    assert {type(outcome) for outcome in made} == {Accepted}
    assert pickle.loads(pickle.dumps(made)) == made
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        made[0].index = 7
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        del made[0].index


def test_renumbering():
    """A new index replaces the old one in findings and our messages, not in the service's."""
    event = PartnerEvent(SOURCE, "t", {})
    finding = Finding("detail_type", "has 140 characters", "the limit is 128", 3)
    raised = Rejected("InvalidEvent", "entry of event 3 raised KeyError when it was read", {}, 3, 0)
    for outcome, message in (
        (Accepted("id", event, 3, 1), None),
        (Exhausted("C", "m of event 3 x", event, 3, 2), "m of event 3 x"),
        (Unconfirmed("r", event, 3, 2), None),
        (Rejected("MalformedDetail", "m of event 3 x", event, 3, 1), "m of event 3 x"),
        (raised, "entry of event 8 raised KeyError when it was read"),
        (
            Rejected("InvalidEvent", str(finding), {}, 3, 0, (finding,)),
            "detail_type of event 8 has 140 characters; the limit is 128",
        ),
    ):
        moved = renumbered(outcome, 8)
        assert type(moved) is type(outcome)
        assert (moved.index, moved.event) == (8, outcome.event)
        assert getattr(moved, "message", None) == message
        assert {found.index for found in getattr(moved, "findings", ())} <= {8}


@pytest.mark.parametrize("event", GIVEN.values(), ids=GIVEN)
@pytest.mark.parametrize("make", OUTCOMES.values(), ids=OUTCOMES)
def test_plain_outcomes(make, event):
    """JSON holds every attribute of an outcome and the names of its event, and no payload."""
    outcome = make(event)
    found = outcome.to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert CANARY not in str(found)
    assert found["outcome"] == type(outcome).__name__.lower()
    assert found["source"] == (None if isinstance(event, str) else SOURCE)
    for field in attrs.fields(type(outcome)):
        if field.name not in ("event", "findings"):
            assert found[field.name] == getattr(outcome, field.name)
    assert found.get("findings", []) in (
        [],
        [{"field": "f", "found": "x", "allowed": "y", "index": 4}],
    )


@given(events)
def test_plain_outcomes_with_their_event(event):
    """With `detail`, an outcome that went through JSON still has its event."""
    written = json.dumps(Exhausted("C", "m", event, 4, 3).to_dict(detail=True), allow_nan=False)
    assert PartnerEvent.from_entry(json.loads(written)["entry"]) == event


class Breaks(dict[str, Any]):
    def __getitem__(self, name):
        raise RuntimeError(CANARY)


@pytest.mark.parametrize(
    ("given", "entry"),
    [
        ({"Source": SOURCE, "Time": DAY, "Detail": {"a": object()}}, {"Source": SOURCE, "Time": "2030-01-02"}),
        ({"Source": 5, "DetailType": float("nan"), 7: 1}, {"Source": 5}),
        (Breaks(Source=SOURCE), {}),
        (None, {}),
    ],
    ids=["values", "types", "raises", "none"],
)  # fmt: skip
def test_what_json_cannot_hold_is_left_out(given, entry):
    """An outcome has a plain form whatever was given as its event; JSON's gaps are left out."""
    found = Rejected("InvalidEvent", "m", given, 0, 0).to_dict(detail=True)
    assert found["entry"] == entry
    assert found["source"] == (SOURCE if entry.get("Source") == SOURCE else None)
    assert found["detail_type"] is None
    assert json.dumps(found, allow_nan=False)
