"""Whether a client or a publisher can take events now."""

from __future__ import annotations

from typing import Any

import attrs

from eventbridge_partner.models._plain import plain_figures


@attrs.frozen
class Readiness:
    """
    Whether a client or a publisher can take events now. True if it can.

    Attributes:
        reasons: Why it cannot, one sentence for each problem; empty if it can.
        oldest_age: Seconds since the publisher's oldest event without an outcome was published;
            0 if there is none, and for a client.
    """

    reasons: tuple[str, ...] = ()
    oldest_age: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether it is ready: `reasons` is empty."""
        return not self.reasons

    def __bool__(self) -> bool:
        return self.ok

    def to_dict(self) -> dict[str, Any]:
        """Return `ok` and the fields as plain values, ready for JSON."""
        return {"ok": self.ok} | plain_figures(self)
