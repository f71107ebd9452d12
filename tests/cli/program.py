"""Entries to send, and how a run of the program ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs

SOURCE = "aws.partner/example.com.test/customer-1"


def entry(**members: Any) -> dict[str, Any]:
    """Return a valid entry, with these members changed."""
    return {"Source": SOURCE, "DetailType": "ticket.created", "Detail": {"id": 1}} | members


def json_lines(*entries: Any) -> str:
    """Return JSON Lines; a str is taken as a line as it is."""
    lines = (line if isinstance(line, str) else json.dumps(line) for line in entries)
    return "".join(f"{line}\n" for line in lines)


def read_lines(text: str | bytes) -> list[Any]:
    """Read JSON Lines."""
    return [json.loads(line) for line in text.splitlines()]


@attrs.frozen
class Ended:
    """How a run of the program ended."""

    status: int
    out: str
    err: str

    @property
    def results(self) -> list[dict[str, Any]]:
        """The result lines on standard output."""
        return read_lines(self.out)


Run = Callable[..., Ended]
