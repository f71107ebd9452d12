"""
How users write against the public API; type checkers read this, and nothing ever runs it.

Each block must pass mypy and pyright in their strict modes, without a cast or an ignore.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never, assert_type

from eventbridge_partner import (
    Accepted,
    DeliveryReport,
    Exhausted,
    Outcome,
    PartnerEvent,
    PartnerEventsClient,
    Rejected,
    Unconfirmed,
)

event = PartnerEvent(
    "aws.partner/example.com/tickets",
    "ticket.created",
    {"id": 1, "tags": ["new", None], "customer": {"name": "Zoë"}},
    resources=["arn:aws:s3:::bucket"],
)
PartnerEvent("aws.partner/example.com/tickets", "ticket.created", '{"id": 1}')
PartnerEvent.from_entry({"Source": "s", "DetailType": "t", "Detail": "{}"})


def all_events(client: PartnerEventsClient) -> DeliveryReport:
    """Events and entries may be mixed, in any iterable."""
    client.put_events([event, {"Source": "s", "DetailType": "t", "Detail": "{}"}], deadline=5)
    return client.put_events(event for _ in range(3)).raise_for_undelivered()


def events_without_end(client: PartnerEventsClient) -> Iterator[Outcome]:
    """A stream of outcomes is an iterator of the union."""
    yield from client.stream_events(iter([event]))


def each_outcome(report: DeliveryReport) -> str:
    """A `match` over the four outcomes is exhaustive."""
    for outcome in report:
        match outcome:
            case Accepted():
                assert_type(outcome.event_id, str | None)
            case Rejected(code=code) | Exhausted(code=code):
                return code
            case Unconfirmed():
                return outcome.reason
            case _:
                assert_never(outcome)
    assert_type(report[0], Outcome)
    assert_type(report[1:], tuple[Outcome, ...])
    assert_type(report.rejected, tuple[Rejected, ...])
    return ""
