"""The customer's event, as a rule on the event bus sees it."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from eventbridge_partner.testing._records import AcceptedEntry


def customer_event(entry: AcceptedEntry, *, account: str, region: str) -> dict[str, Any]:
    """
    Return an accepted entry as the customer's rules and targets see it.

    User guide: "AWS service event structure". It is an assumption that `id` is the EventId of the
    partner's answer; AWS does not say so.

    Args:
        entry: The entry; without a time of its own, the event has the time of its arrival.
        account: The customer's account.
        region: The Region of the event bus.

    Raises:
        ValueError: Its time is outside the years 1 to 9999.
    """
    return envelope_with(entry.parsed_detail, entry, account=account, region=region)


def envelope_with(
    detail: object, entry: AcceptedEntry, *, account: str, region: str
) -> dict[str, Any]:
    """Return the customer's event with the given detail."""
    seconds = entry.received_at if entry.time is None else entry.time
    try:
        time = datetime.fromtimestamp(math.floor(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"time is {seconds!r}; allowed: the years 1 to 9999") from None
    return {
        "version": "0",
        "id": entry.event_id,
        "detail-type": entry.detail_type,
        "source": entry.source,
        "account": account,
        "time": f"{time:%Y-%m-%dT%H:%M:%S}Z".rjust(20, "0"),
        "region": region,
        "resources": list(entry.resources),
        "detail": detail,
    }
