"""Rows as a relay might claim them."""

from __future__ import annotations

from eventbridge_partner.outbox import ClaimedRow
from eventbridge_partner.outbox.contract import event


def row(number=1, customer="a", **values):
    given = event(number, customer)
    members = {
        "id": number,
        "source": given.source,
        "detail_type": given.detail_type,
        "detail": given.detail,
        "resources": None,
        "time": None,
        "size": 50,
        "traceparent": None,
        "age": 5.0,
        "claims": 0,
        "tries": 0,
        "maybe_sent": False,
    }
    return ClaimedRow(**(members | values))
