"""Findings of one event while they are made: bounded, whatever is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from eventbridge_partner.errors import Finding

MOST_OF_A_KIND: Final = 20
"""How many findings of one kind are kept; a kind is what is allowed instead."""


class Findings:
    """
    What is wrong with a field: the first findings of each kind, and how many more there are.

    Args:
        field: What holds all that is looked at, in Python's names.
    """

    def __init__(self, field: str) -> None:
        self._field = field
        self._kept: list[Finding] = []
        self._counts: Counter[str] = Counter()

    def add(self, place: Callable[[], str], found: str, allowed: str) -> None:
        """
        Add a finding.

        Args:
            place: Names the place; called only for a finding that is kept.
            found: As in `Finding`.
            allowed: As in `Finding`.
        """
        self._counts[allowed] += 1
        if self._counts[allowed] <= MOST_OF_A_KIND:
            self._kept.append(Finding(place(), found, allowed))

    def all(self) -> tuple[Finding, ...]:
        """Return what was kept, and for each kind of which there are more, how many more."""
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
