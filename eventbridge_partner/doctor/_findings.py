"""A finding, and its fix."""

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
What is checked, in this order.

`files` (AWS's own), `attempts` and `transport` have a finding only if they are wrong.
"""

Fact = str | int | float | bool | None


@attrs.frozen
class Finding:
    """
    The result of one check. It holds no credential, password or payload.

    Attributes:
        check: The name of the check.
        status: `pass`, `warn` or `fail`.
        message: What was found.
        fix: The command or the setting that fixes it; None if there is nothing to fix.
        facts: The same for programs, such as `value` and `origin` of a setting.
    """

    check: CheckName
    status: Status
    message: str
    fix: str | None = None
    facts: Mapping[str, Fact] = attrs.field(factory=dict[str, Fact], kw_only=True)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, ready for JSON."""
        return {
            "check": self.check,
            "status": self.status,
            "message": self.message,
            "fix": self.fix,
            "facts": dict(self.facts),
        }
