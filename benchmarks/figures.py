"""Medians and how far to trust them, and the bars that figures are held against."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Self

import attrs


@attrs.frozen
class Spread:
    """A figure that was taken many times."""

    minimum: float
    first_quartile: float
    median: float
    third_quartile: float

    @classmethod
    def of(cls, values: Iterable[float], *, scale: float = 1.0) -> Self:
        """Summarize values, each multiplied by `scale`."""
        scaled = sorted(value * scale for value in values)
        if len(scaled) == 1:
            scaled *= 2
        first, median, third = statistics.quantiles(scaled, n=4, method="inclusive")
        return cls(scaled[0], first, median, third)

    @classmethod
    def of_ratios(cls, peer: Sequence[float], ours: Sequence[float]) -> Self:
        """
        Summarize peer ÷ ours, round by round.

        The two figures of a round were taken one after the other, so what slows the whole machine
        down for a while is in both.
        """
        return cls.of(theirs / own for theirs, own in zip(peer, ours, strict=True))


@attrs.frozen
class Bar:
    """
    What a ratio must reach.

    Attributes:
        what: Which figure.
        found: The ratio.
        needed: What it must reach.
        aim: What would be better.
    """

    what: str
    found: float
    needed: float
    aim: float | None = None

    @property
    def is_reached(self) -> bool:
        """Whether it is."""
        return self.found >= self.needed

    def __str__(self) -> str:
        text = f"{'pass' if self.is_reached else 'MISS'} (>= {self.needed:g}x"
        return f"{text}, aim {self.aim:g}x)" if self.aim else f"{text})"
