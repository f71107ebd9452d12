"""`stamp`: an id in the detail, once."""

from __future__ import annotations

import uuid

import pytest

from eventbridge_partner import InvalidEventError, PartnerEvent, stamp
from tests.strategies import SOURCE


def test_an_id_of_its_own():
    """Each detail gets another random UUID, and the caller's own is left as it is."""
    detail = {"order": 1}
    first, second = stamp(detail), stamp(detail)
    assert detail == {"order": 1}
    assert first["order"] == 1
    assert first["_meta"]["id"] != second["_meta"]["id"]
    assert uuid.UUID(first["_meta"]["id"]).version == 4


def test_what_else_goes_with_it():
    """Other values that are given are written beside the id, under the chosen key."""
    stamped = stamp({}, id="o-1", key="envelope", traceparent="00-a-b-01", schema="order/2")
    assert stamped == {"envelope": {"id": "o-1", "traceparent": "00-a-b-01", "schema": "order/2"}}
    assert PartnerEvent(SOURCE, "t", stamped).detail.startswith('{"envelope":{"id":"o-1"')


def test_a_stamp_is_not_replaced():
    """A detail that already has a stamp is refused, so that its id stays stable."""
    with pytest.raises(InvalidEventError, match=r"detail\._meta exists already"):
        stamp(stamp({"order": 1}))


@pytest.mark.parametrize("detail", ["{}", None, [1]])
def test_details_that_are_no_mappings(detail):
    """Only mappings can be stamped: JSON text is sent unchanged."""
    with pytest.raises(InvalidEventError, match="detail is of type"):
        stamp(detail)
