"""Assertions about what the local service accepted, and what their failures show."""

from __future__ import annotations

import contextlib

import pytest

from eventbridge_partner.testing import (
    EVERY_FAULT,
    FailEntries,
    FailRequest,
    InvalidPatternError,
    assert_accepted,
    assert_nothing_accepted,
)

SOURCE = "aws.partner/example.com/acme/tickets"


@pytest.fixture
def filled(service, client, entry):
    """A service with three tickets, two of them alike."""
    client.put(
        [
            entry(Detail='{"ticket": 1, "by": {"name": "Ada", "plan": "pro"}, "tags": ["a", "b"]}'),
            entry(Detail='{"ticket": 2, "by": {"name": "Bob"}, "urgent": true}'),
            entry(Detail='{"ticket": 2, "by": {"name": "Cem"}}', DetailType="ticket.closed"),
        ]
    )
    return service


def failure(*arguments, **wanted):
    with pytest.raises(AssertionError) as caught:
        assert_accepted(*arguments, **wanted)
    return str(caught.value).splitlines()


def test_entries_are_found_by_what_is_wanted(filled):
    """The entries that match are returned, in order."""
    first, second, third = filled.accepted
    assert assert_accepted(filled, 3) == (first, second, third)
    assert assert_accepted(filled, 3, source=SOURCE) == (first, second, third)
    assert assert_accepted(filled, detail_type="ticket.closed") == (third,)
    assert assert_accepted(filled, 2, detail={"ticket": 2}) == (second, third)
    assert assert_accepted(filled, detail={"ticket": 2}, detail_type="ticket.created") == (second,)
    assert assert_accepted(filled, detail={"by": {"name": "Ada"}}) == (first,)
    assert assert_accepted(filled, detail={"tags": ["a", "b"]}) == (first,)
    assert assert_accepted(filled, detail={"urgent": True}) == (second,)
    assert assert_accepted(filled, None, detail={"ticket": 2}) == (second, third)
    assert assert_accepted(filled, 0, detail={"ticket": 3}) == ()
    assert assert_accepted(filled, pattern={"detail": {"by": {"name": ["Cem"]}}}) == (third,)
    assert assert_accepted(filled, 3, pattern='{"account": ["123456789012"]}')


def test_nothing_accepted(filled):
    """Nothing was accepted that matches, or nothing at all."""
    assert_nothing_accepted(filled, detail={"ticket": 3})
    with pytest.raises(AssertionError, match="wanted 0 accepted entries: 3 found"):
        assert_nothing_accepted(filled)
    with pytest.raises(AssertionError, match=r'"ticket": 1'):
        assert_nothing_accepted(filled, detail={"ticket": 1})
    filled.forget()
    assert_nothing_accepted(filled)


@pytest.mark.parametrize(
    "detail",
    [
        {"ticket": 3},
        {"ticket": True},
        {"urgent": 1},
        {"tags": ["a"]},
        {"by": None},
        {"by": {"x": 1}},
    ],
)
def test_details_are_compared_strictly(filled, detail):
    """A boolean is not a number, an array is compared whole, and null is not absence."""
    assert_nothing_accepted(filled, detail=detail)


def test_a_failure_shows_where_the_nearest_differ(filled):
    """A failure lists the nearest entries first, each with the members that differ."""
    lines = failure(
        filled, detail_type="ticket.created", detail={"ticket": 2, "by": {"name": "Eve"}}
    )
    assert lines[0] == (
        'wanted 1 accepted entry with detail_type "ticket.created", '
        'detail with {"ticket": 2, "by": {"name": "Eve"}}: 0 found'
    )
    assert lines[1:4] == [
        "  nearest of 3 accepted:",
        f'    request 0, entry 1: "ticket.created" of "{SOURCE}"',
        '      detail.by.name is "Bob"; wanted: "Eve"',
    ]
    assert '      detail_type is "ticket.closed"; wanted: "ticket.created"' in lines


def test_a_failure_says_why_a_pattern_misses(filled):
    """A failure explains a missed pattern in the words of `EventPattern.explain`."""
    lines = failure(filled, pattern={"detail": {"urgent": [False]}})
    assert "      detail.urgent is true; wanted: [false]" in lines
    assert "      detail.urgent is nothing; wanted: [false]" in lines


def test_a_failure_shows_what_was_found_too_often(filled):
    """If there are too many matches, the failure shows them with their details."""
    lines = failure(filled, 1, detail={"ticket": 2})
    assert lines[0].endswith(": 2 found")
    assert lines[1] == "  these were found:"
    assert '      detail {"ticket": 2, "by": {"name": "Cem"}}' in lines


def test_a_failure_names_what_was_refused(service, client, entry):
    """A failure counts refused entries and requests by code: the missing one may be among them."""
    service.play(FailEntries("ThrottlingException", times=2), FailRequest("InternalFailure", 500))
    for _ in range(3):
        client.put([entry(), entry()])
    assert failure(service) == [
        "wanted 1 accepted entry: 0 found",
        "  the service accepted nothing",
        "  entries refused: ThrottlingException 4",
        "  requests refused: InternalFailure 1",
    ]


def test_a_failure_tells_of_events_that_were_dropped(service, client, entry):
    """A failure mentions accepted events that were dropped for a PENDING source."""
    service.sources.create(SOURCE, "123456789012")
    client.put([entry()])
    assert any("dropped for a PENDING source" in line for line in failure(service, detail={"x": 1}))


def test_a_failure_is_short(service, client, entry):
    """A failure has at most 40 lines, and none of them is long."""
    wanted = {f"member{number}": "y" * 5000 for number in range(100)}
    for _ in range(10):
        client.put([entry(Detail='{"a": "%s"}' % ("x" * 10_000))] * 20)
    lines = failure(service, detail=wanted)
    assert len(lines) <= 40
    assert max(map(len, lines)) < 500


def test_wrong_arguments_are_not_failures(service):
    """Wrong arguments raise a ValueError or an InvalidPatternError, not an AssertionError."""
    with pytest.raises(InvalidPatternError):
        assert_accepted(service, pattern={})
    with pytest.raises(ValueError, match="count is -1"):
        assert_accepted(service, -1)
    with pytest.raises(ValueError, match="count is True"):
        assert_accepted(service, True)


@pytest.mark.parametrize("name", EVERY_FAULT)
def test_every_fault_has_an_effect_on_a_plain_request(service, client, entry, no_answer, name):
    """Every fault in `EVERY_FAULT` plays on a plain request."""
    fault = EVERY_FAULT[name]
    service.play(fault)
    assert service.unplayed_faults == (fault,)
    with contextlib.suppress(no_answer, ValueError):  # garbled answers are not JSON
        client.put([entry()])
    assert service.unplayed_faults == ()
    assert [record.faults for record in service.requests] == [(fault,)]
