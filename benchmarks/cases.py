"""
What is sent: plain values, as a vendor's backend has them before it uses an SDK.

Imports only the standard library, because it runs in the processes that are measured.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

BATCH = 20
"""Entries in a request: the service's limit. All batches of a benchmark are full."""

_POOL = 400
_CUSTOMERS = 50
_SUMMARY = "The export of the monthly report stops at the third page and shows an empty table. "


class PlainEvent(NamedTuple):
    """One event as plain values, before any SDK is involved."""

    source: str
    detail_type: str
    detail: Any


class Case(NamedTuple):
    """One kind of event to send."""

    name: str
    title: str
    detail_bytes: int
    as_text: bool

    def values(self, events: int) -> Iterator[PlainEvent]:
        """Return `count` plain events; the first 400 are different, and then repeat."""
        pool = [self._value(number) for number in range(min(events, _POOL))]
        return itertools.islice(itertools.cycle(pool), events)

    def write(self, directory: Path) -> None:
        """Write the different events to a file as JSON, for contenders in other languages."""
        (directory / f"{self.name}.json").write_text(json.dumps(list(self.values(_POOL))))

    def _value(self, number: int) -> PlainEvent:
        detail = _ticket(number)
        missing = self.detail_bytes - len(_json(detail))
        detail["description"] = (_SUMMARY * (missing // len(_SUMMARY) + 1))[:missing]
        return PlainEvent(
            f"aws.partner/example.com/customer-{number % _CUSTOMERS:03}",
            "ticket.updated",
            _json(detail) if self.as_text else detail,
        )


def _ticket(number: int) -> dict[str, Any]:
    return {
        "id": 700_000 + number,
        "subject": "The export stops at the third page",
        "status": "open",
        "priority": number % 4,
        "requester": {"id": 9_000_000 + number, "name": "Maria Jensen", "locale": "da-DK"},
        "tags": ["export", "report", "billing"],
        "satisfaction": 0.75,
        "is_public": True,
        "via": {"channel": "web"},
        "description": "",
    }


def _json(detail: dict[str, Any]) -> str:
    return json.dumps(detail, separators=(",", ":"))


CASES = {
    case.name: case
    for case in (
        Case("text-500", "500 B as text", 500, as_text=True),
        Case("mapping-500", "500 B as mapping", 500, as_text=False),
        Case("text-5000", "5 KB as text", 5000, as_text=True),
    )
}
