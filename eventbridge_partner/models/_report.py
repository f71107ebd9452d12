"""The outcomes of one call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NoReturn, Self, TypeVar, overload

import attrs

from eventbridge_partner.errors import UndeliveredError
from eventbridge_partner.models._counting import counted, were
from eventbridge_partner.models._outcomes import (
    Accepted,
    Exhausted,
    Outcome,
    Rejected,
    Unconfirmed,
)
from eventbridge_partner.models._plain import plain_figures

_NAMED: Final = 3

_O = TypeVar("_O", Accepted, Rejected, Exhausted, Unconfirmed)


@attrs.frozen
class OutcomeCounts:
    """How many events had each outcome."""

    accepted: int = 0
    rejected: int = 0
    exhausted: int = 0
    unconfirmed: int = 0

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Self:
        """Count outcomes, without keeping them."""
        counter = Counter(map(type, outcomes))
        return cls(counter[Accepted], counter[Rejected], counter[Exhausted], counter[Unconfirmed])

    @property
    def total(self) -> int:
        """All events."""
        return self.accepted + self.rejected + self.exhausted + self.unconfirmed

    @property
    def undelivered(self) -> int:
        """All events that were not accepted."""
        return self.total - self.accepted

    def to_dict(self) -> dict[str, int]:
        """Return the four counts, ready for JSON."""
        return plain_figures(self)


def _as_tuple(outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    return tuple(outcomes)


@attrs.frozen(repr=False)
class DeliveryReport(Sequence[Outcome]):
    """
    The outcomes of one call: one for each event, in the order given.

    It is a sequence: `report[3]` is the outcome of the fourth event. It has no truth value; use
    `ok`.
    """

    outcomes: tuple[Outcome, ...] = attrs.field(converter=_as_tuple)

    @overload
    def __getitem__(self, index: int) -> Outcome: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Outcome, ...]: ...
    def __getitem__(self, index: int | slice) -> Outcome | tuple[Outcome, ...]:
        return self.outcomes[index]

    def __len__(self) -> int:
        return len(self.outcomes)

    def __bool__(self) -> NoReturn:
        # A plain sequence would be true even if every event had failed.
        raise TypeError(
            "a DeliveryReport is neither true nor false; `ok` tells whether every event was "
            "accepted, and `len()` how many there are"
        )

    def _of(self, kind: type[_O]) -> tuple[_O, ...]:
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, kind))

    @property
    def ok(self) -> bool:
        """Whether every event was accepted; True if there were none."""
        return all(isinstance(outcome, Accepted) for outcome in self.outcomes)

    @property
    def undelivered(self) -> tuple[Rejected | Exhausted | Unconfirmed, ...]:
        """The outcomes of all events that were not accepted, in the order given."""
        return tuple([o for o in self.outcomes if not isinstance(o, Accepted)])

    @property
    def accepted(self) -> tuple[Accepted, ...]:
        """The outcomes of the events that the service accepted."""
        return self._of(Accepted)

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """The outcomes of the events that must be fixed or dropped."""
        return self._of(Rejected)

    @property
    def exhausted(self) -> tuple[Exhausted, ...]:
        """The outcomes of the events to send again later."""
        return self._of(Exhausted)

    @property
    def unconfirmed(self) -> tuple[Unconfirmed, ...]:
        """The outcomes of the events that may have arrived."""
        return self._of(Unconfirmed)

    @property
    def counts(self) -> OutcomeCounts:
        """How many events had each outcome."""
        return OutcomeCounts.of(self.outcomes)

    def raise_for_undelivered(self) -> Self:
        """
        Return this report if every event was accepted.

        Raises:
            UndeliveredError: Some were not. It names the first few and holds this report.
        """
        counts = self.counts
        if not counts.undelivered:
            return self
        named = [_named(outcome) for outcome in self.undelivered[:_NAMED]]
        if counts.undelivered > _NAMED:
            named.append(f"and {counts.undelivered - _NAMED} more")
        few = f"{counts.undelivered} of {counted(counts.total)} {were(counts.undelivered)}"
        raise UndeliveredError(f"{few} not accepted: {', '.join(named)}", self)

    def to_dict(self, *, detail: bool = False) -> dict[str, Any]:
        """
        Return the report as plain values, ready for JSON.

        Args:
            detail: Whether to add each event with its payload.

        Returns:
            `ok`, `counts`, and `outcomes` in the order given, each as its own `to_dict` returns it.
        """
        return {
            "ok": self.ok,
            "counts": self.counts.to_dict(),
            "outcomes": [outcome.to_dict(detail=detail) for outcome in self.outcomes],
        }

    def __repr__(self) -> str:
        counts = self.counts
        return (
            f"<DeliveryReport of {counted(counts.total)}: {counts.accepted} accepted, "
            f"{counts.rejected} rejected, {counts.exhausted} exhausted, "
            f"{counts.unconfirmed} unconfirmed>"
        )


def _named(outcome: Rejected | Exhausted | Unconfirmed) -> str:
    what = type(outcome).__name__.lower()
    why = f" ({outcome.code})" if not isinstance(outcome, Unconfirmed) else ""
    return f"event {outcome.index} {what}{why}"
