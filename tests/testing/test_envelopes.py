"""The event that the customer's rules see."""

from __future__ import annotations

import json

import attrs
import pytest

from eventbridge_partner.testing import FakeEventBridge, customer_event

CUSTOMER = {"account": "210987654321", "region": "eu-west-1"}


def accepted(entry, *, clock=lambda: 1_772_345_407.9, **members):
    service = FakeEventBridge(verify_signatures=False, clock=clock)
    body = json.dumps({"Entries": [entry(**members)]}).encode()
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "x-amz-target": "AWSEvents.PutPartnerEvents",
    }
    service.handle("POST", "/", headers, body)
    (found,) = service.accepted
    return found


def test_the_envelope_has_what_aws_puts_around_a_detail(entry):
    """The envelope has whole seconds, and the customer's account instead of the partner's."""
    found = accepted(entry, Time=1_600_000_000.75, Resources=["urn:1"], Detail='{"ticket": 1}')
    assert customer_event(found, **CUSTOMER) == {
        "version": "0",
        "id": found.event_id,
        "detail-type": "ticket.created",
        "source": "aws.partner/example.com/acme/tickets",
        "account": "210987654321",
        "time": "2020-09-13T12:26:40Z",
        "region": "eu-west-1",
        "resources": ["urn:1"],
        "detail": {"ticket": 1},
    }


@pytest.mark.parametrize(
    ("time", "shown"),
    [
        (None, "2026-03-01T06:10:07Z"),  # when it arrived
        (0, "1970-01-01T00:00:00Z"),
        (-0.5, "1969-12-31T23:59:59Z"),
        (-62_135_596_800, "0001-01-01T00:00:00Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
    ],
)
def test_time_is_in_whole_seconds(entry, time, shown):
    """The envelope's time is the entry's, or else the time of its arrival."""
    assert customer_event(accepted(entry, Time=time), **CUSTOMER)["time"] == shown


@pytest.mark.parametrize("time", [253_402_300_800, -62_135_596_801, 1e300, 10**400])
def test_time_beyond_the_calendar_is_refused(entry, time):
    """A time that the service accepts, but no envelope can hold, raises a ValueError."""
    with pytest.raises(ValueError, match="the years 1 to 9999"):
        customer_event(accepted(entry, Time=time), **CUSTOMER)


def test_details_are_parsed_each_time(entry):
    """Changing a parsed detail does not change what the service remembers."""
    found = accepted(entry, Detail='{"list": []}')
    found.parsed_detail["list"].append(1)
    assert found.parsed_detail == {"list": []}


def test_the_deepest_details_are_parsed(entry):
    """A detail can have 1,000 levels, as many as the service accepts."""
    found = accepted(entry, Detail='{"a":' * 999 + "[]" + "}" * 999)
    levels, inner = 0, found.parsed_detail
    while isinstance(inner, dict):
        levels, inner = levels + 1, inner["a"]
    assert (levels, inner) == (999, [])


def test_entries_made_by_hand_need_no_arrival(entry):
    """An entry without a time of arrival gets the epoch as its time."""
    found = attrs.evolve(accepted(entry), received_at=0.0)
    assert customer_event(found, **CUSTOMER)["time"] == "1970-01-01T00:00:00Z"
