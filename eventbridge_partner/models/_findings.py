"""Collects the findings of one event; their number is bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from eventbridge_partner.errors import Finding

MOST_OF_A_KIND: Final = 20
"""How many findings of a kind are kept; findings with the same `allowed` are of one kind."""


class Findings:
    """
    The findings of a field: the first of each kind, and how many more there are.

    Args:
        field: The Python name of the field that is checked.
    """

    def __init__(self, field: str) -> None:
        self._field = field
        self._kept: list[Finding] = []
        self._counts: Counter[str] = Counter()

    def add(self, place: Callable[[], str], found: str, allowed: str) -> None:
        """
        Add a finding.

        Args:
            place: Returns the path of the place; called only for a finding that is kept.
            found: As in `Finding`.
            allowed: As in `Finding`.
        """
        self._counts[allowed] += 1
        if self._counts[allowed] <= MOST_OF_A_KIND:
            self._kept.append(Finding(place(), found, allowed))

    def all(self) -> tuple[Finding, ...]:
        """Return the kept findings, and one more for each kind of which some were not kept."""
        return (
            *self._kept,
            *(
                Finding(
                    self._field,
                    f"has {MOST_OF_A_KIND} of these and {count - MOST_OF_A_KIND:,} more",
                    allowed,
                )
                for allowed, count in self._counts.items()
                if count > MOST_OF_A_KIND
            ),
        )
