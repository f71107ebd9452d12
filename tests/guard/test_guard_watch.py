"""What a guard knows about sources and when it looks them up, on a clock that tests move."""

from __future__ import annotations

import logging
from typing import Any
from unittest import mock

import pytest

from eventbridge_partner import (
    PartnerEvent,
    Rejected,
    SourceAccount,
    SourceState,
    TransportError,
)
from eventbridge_partner.guard._holding import source_of, sources_of
from eventbridge_partner.guard._states import Need, SourceStates, Standing, standing_of
from eventbridge_partner.guard._watch import Watch

NAME = "aws.partner/example.com/acme"
OTHER = "aws.partner/example.com/other"
OPEN, PENDING, GONE = Standing.OPEN, Standing.PENDING, Standing.GONE
OUTAGE = TransportError("no answer", may_have_been_sent=True)


@pytest.mark.parametrize(
    ("states", "account", "standing"),
    [
        ({"1": "ACTIVE"}, None, OPEN),
        ({"1": "PENDING"}, None, PENDING),
        ({"1": "DELETED"}, None, GONE),
        ({}, None, GONE),
        ({"1": "FROZEN"}, None, OPEN),
        ({"1": "PENDING", "2": "ACTIVE"}, None, OPEN),
        ({"1": "PENDING", "2": "DELETED"}, None, PENDING),
        ({"1": "PENDING", "2": "FROZEN"}, None, OPEN),
        ({"1": "PENDING", "2": "ACTIVE"}, "1", PENDING),
        ({"1": "PENDING", "2": "ACTIVE"}, "2", OPEN),
        ({"1": "DELETED", "2": "ACTIVE"}, "1", GONE),
        ({"2": "ACTIVE"}, "1", GONE),
    ],
)
def test_standings(states, account, standing):
    """A source is judged by its account; without one, the most open of all accounts counts."""
    listed = [SourceAccount(NAME, number, SourceState(state)) for number, state in states.items()]
    assert standing_of(listed, account) is standing


class TestStates:
    """`SourceStates`, from the first look-up to an outage."""

    states: SourceStates

    @pytest.fixture(autouse=True)
    def _states(self):
        self.states = SourceStates(ttl=100, pending_ttl=10)

    def test_what_was_never_looked_up(self):
        """A source that was never looked up is open, and needs a look-up."""
        assert self.states.standing(NAME, 0) is OPEN
        assert self.states.need(NAME, 0) is Need.ANSWER

    @pytest.mark.parametrize(("standing", "ttl"), [(OPEN, 100), (PENDING, 10), (GONE, 100)])
    def test_a_look_up_is_believed_for_its_time(self, standing, ttl):
        """After its time, an open state needs a refresh, and any other needs an answer."""
        self.states.found(NAME, standing, 5)
        assert self.states.need(NAME, 5 + ttl - 0.1) is Need.NOTHING
        after = Need.REFRESH if standing is OPEN else Need.ANSWER
        assert self.states.need(NAME, 5 + ttl) is after
        assert self.states.standing(NAME, 5 + ttl) is standing

    def test_an_outage_holds_nothing_back(self):
        """While look-ups pause, a PENDING source is open once its state is too old."""
        self.states.found(NAME, PENDING, 0)
        assert self.states.failed(9) == 5
        assert self.states.standing(NAME, 9.9) is PENDING
        assert self.states.standing(NAME, 10) is OPEN
        assert self.states.need(NAME, 13.9) is Need.NOTHING
        assert self.states.need(NAME, 14) is Need.ANSWER

    def test_rests_grow_and_end(self):
        """Pauses grow from 5 s to 5 minutes, until a look-up succeeds."""
        assert [self.states.failed(0) for _ in range(8)] == [5, 10, 20, 40, 80, 160, 300, 300]
        assert [self.states.failed(0) for _ in range(100)][-1] == 300
        self.states.found(NAME, OPEN, 0)
        assert self.states.need(OTHER, 0) is Need.ANSWER
        assert self.states.failed(0) == 5

    def test_gone_is_news_once(self):
        """A gone source is reported once, and again only if it existed in between."""
        assert self.states.gone(NAME, 0)
        assert not self.states.gone(NAME, 1)
        assert not self.states.found(NAME, GONE, 2)
        assert self.states.gone(OTHER, 2)
        assert not self.states.found(NAME, PENDING, 3)
        assert self.states.found(NAME, GONE, 4)

    def test_a_result_says_nothing_of_look_ups(self):
        """Learning that a source is gone does not end the pause of look-ups."""
        self.states.failed(0)
        self.states.gone(NAME, 1)
        assert self.states.need(OTHER, 2) is Need.NOTHING


def watch(**settings):
    now = [0.0]
    usual = {
        "on_pending": "reject",
        "account_of": None,
        "ttl": 100,
        "pending_ttl": 10,
        "patience": 10,
        "max_look_ups": 3,
        "look_up_timeout": 2,
        "clock": lambda: now[0],
    }
    return Watch(**usual | settings), now


def test_a_log_handler_that_raises_changes_no_decision():
    """A log handler that raises does not change what a guard decides."""
    handler = logging.Handler()
    handler.emit = mock.Mock(side_effect=ZeroDivisionError)  # type: ignore[method-assign]
    logger = logging.getLogger("eventbridge_partner")
    logger.addHandler(handler)
    watched, _ = watch(on_pending="warn")
    try:
        assert not watched.listed(NAME, [SourceAccount(NAME, "1", SourceState.PENDING)], None)
        watched.failed(OUTAGE)
        watched.tell_gone(NAME)
        watched.hook_raised(NAME, KeyError())
    finally:
        logger.removeHandler(handler)
    assert handler.emit.call_count == 4


def test_look_ups_of_a_call_are_bounded():
    """A call makes at most `max_look_ups` look-ups."""
    one, _ = watch()
    budget = one.budget()
    assert [one.time_for(f"{NAME}{n}", budget, 0.0) for n in range(5)] == [2, 2, 2, None, None]


def test_look_ups_of_a_call_are_bounded_in_time():
    """No look-up begins after `patience`; one that begins in time has its full timeout."""
    one, now = watch()
    budget = one.budget()
    now[0] = 9.9
    assert one.time_for(NAME, budget, 0.0) == 2
    assert one.time_for(NAME, budget, 10.1) is None
    now[0] = 10.0
    assert one.time_for(NAME, budget, 0.0) is None
    assert one.patience(Need.ANSWER, budget) == 0


def test_waiting_for_ones_turn_is_no_failure():
    """A look-up's timeout begins when the pace lets it go out."""
    one, _ = watch()
    assert one.time_for(NAME, one.budget(), 7.0) == 9.0


def test_look_ups_leave_time_to_send():
    """No look-up begins after half of the deadline, and all end by three quarters of it."""
    one, now = watch()
    budget = one.budget(deadline=4.0)
    assert one.time_for(NAME, budget, 0.0) == 2
    now[0] = 1.9
    assert one.time_for(NAME, budget, 0.0) == pytest.approx(1.1)
    now[0] = 2.0
    assert one.time_for(NAME, budget, 0.0) is None


def test_refreshing_never_waits():
    """A refresh waits neither for the pace nor for another look-up."""
    one, now = watch()
    one.listed(NAME, [SourceAccount(NAME, "1", SourceState.ACTIVE)], None)
    now[0] = 100.0
    budget = one.budget()
    assert one.needs([NAME, OTHER]) == [(OTHER, Need.ANSWER), (NAME, Need.REFRESH)]
    assert one.patience(Need.REFRESH, budget) == 0
    assert one.time_for(NAME, budget, 100.02) is None
    assert one.time_for(NAME, budget, 100.0) == 2


def test_a_waiting_call_takes_the_answer_of_another():
    """A source that was looked up meanwhile is not looked up again."""
    one, _ = watch()
    budget = one.budget()
    one.listed(NAME, [SourceAccount(NAME, "1", SourceState.ACTIVE)], None)
    assert one.time_for(NAME, budget, 0.0) is None
    assert budget.look_ups == 3


@pytest.mark.parametrize(
    ("on_pending", "held"),
    [("allow", False), ("warn", False), ("reject", True), (print, True)],
)
def test_what_holds_events_back(on_pending, held):
    """A gone source always holds events back; a PENDING one does as `on_pending` says."""
    one, _ = watch(on_pending=on_pending)
    one.listed(NAME, [SourceAccount(NAME, "1", SourceState.PENDING)], None)
    one.listed(OTHER, [], None)
    expected = {NAME: PENDING} if held else {}
    assert one.all_held([NAME, OTHER, "x"]) == {OTHER: GONE, **expected}


def test_each_look_up_that_finds_pending_warns(caplog):
    """Only `warn` logs that a source is PENDING."""
    listed = [SourceAccount(NAME, "1", SourceState.PENDING)]
    for word in ("allow", "reject", "warn"):
        watch(on_pending=word)[0].listed(NAME, listed, None)
    assert caplog.messages == [
        f"source {NAME} is PENDING: the service accepts its events and drops them"
    ]


def test_learning_from_outcomes():
    """Only an outcome that says that its source is gone is news, and only once."""
    one, _ = watch()
    event = PartnerEvent(NAME, "t", {})
    assert one.learn(Rejected("MalformedDetail", "m", event, 0, 1)) is None
    gone = Rejected("ResourceNotFoundException", "m", event, 0, 1, source_is_gone=True)
    assert one.learn(gone) == NAME
    assert one.learn(gone) is None
    assert one.held(NAME) is GONE


@pytest.mark.parametrize(
    "settings",
    [
        {"on_pending": "park"},
        {"on_pending": None},
        {"ttl": 0},
        {"pending_ttl": -1},
        {"patience": 0},
        {"max_look_ups": 0},
        {"look_up_timeout": float("nan")},
    ],
)
def test_settings_that_cannot_work(settings):
    """A setting that cannot work is refused with what is allowed."""
    ((name, _),) = settings.items()
    with pytest.raises(ValueError, match=f"{name} is .*; allowed: "):
        watch(**settings)


def test_sources_of_events():
    """Events and entries have a source; anything else has none."""
    event = PartnerEvent(NAME, "t", {})
    anything: list[Any] = [event, {"Source": OTHER}, {}, {"Source": 7}, 7, None]
    assert sources_of([event, event]) == {NAME}
    assert sources_of(anything) == {NAME, OTHER}
    assert source_of({"Source": []}) is None


def test_failing_look_ups_are_logged_with_the_next_try(caplog):
    """A failed look-up is logged once, with the time until the next try."""
    one, _ = watch()
    one.failed(OUTAGE)
    assert caplog.messages == [
        "the states of sources cannot be looked up, events are sent; next try in 5 s: no answer"
    ]
