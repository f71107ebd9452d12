"""What was found about one thing, and what mends it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

Status = Literal["pass", "warn", "fail"]
"""`warn`: events can be delivered, but not as they should, or not for long."""

CheckName = Literal[
    "versions",
    "files",
    "region",
    "endpoint",
    "proxy",
    "certificates",
    "attempts",
    "transport",
    "credentials",
    "clock",
    "service",
    "sources",
    "outbox",
    "backlog",
    "dead letters",
]
"""
What is looked at, in this order.

`files`, which are AWS's own, `attempts` and `transport` are told of only where they are wrong.
"""

Fact = str | int | float | bool | None


@attrs.frozen
class Finding:
    """
    What was found about one thing. It holds no credential, password or payload.

    Attributes:
        check: What was looked at.
        status: `pass`, `warn` or `fail`.
        message: What was found.
        mend: The command or the setting that mends it; None where there is nothing to mend.
        facts: The same for programs, such as `value` and `origin` of a setting.
    """

    check: CheckName
    status: Status
    message: str
    mend: str | None = None
    facts: Mapping[str, Fact] = attrs.field(factory=dict[str, Fact], kw_only=True)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, ready for JSON."""
        return {
            "check": self.check,
            "status": self.status,
            "message": self.message,
            "mend": self.mend,
            "facts": dict(self.facts),
        }
