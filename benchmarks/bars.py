"""Bars: the least that each figure must reach, and the aim."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from benchmarks.cases import CASES
from benchmarks.figures import Result, cpu_ratio, start_ratio
from benchmarks.latency import DELAY
from benchmarks.startup import FIRST_ANSWER, FROM_FILES, IMPORT

_MB = 1e6
_DIGITS = {"x": 1, "": 2, "ms": 1, "MB": 1, "events/s": 0}


@attrs.frozen
class Bar:
    """
    One bar.

    Attributes:
        what: The name of the figure.
        found: The figure.
        needed: What it must reach; with `is_bound`, what it must stay under.
        aim: What it should reach; None for no aim.
        unit: The unit of all three.
        is_bound: Whether less is better.
    """

    what: str
    found: float
    needed: float
    aim: float | None = None
    unit: str = "x"
    is_bound: bool = False

    @property
    def is_reached(self) -> bool:
        """Whether the figure is good enough."""
        return self.found < self.needed if self.is_bound else self.found >= self.needed

    @property
    def is_aim_reached(self) -> bool:
        """Whether the figure reaches the aim, with the digits that are shown."""
        if self.aim is None:
            return self.is_reached
        found = round(self.found, self._digits)
        return found <= self.aim if self.is_bound else found >= self.aim

    @property
    def verdict(self) -> str:
        """The result in a few words."""
        if self.aim is not None and self.is_aim_reached:
            return "pass, aim reached"
        return "pass" if self.is_reached else "MISS"

    def figure(self, value: float) -> str:
        """Format a figure with this bar's unit."""
        space = " " if len(self.unit) > 1 else ""
        return f"{value:,.{self._digits}f}{space}{self.unit}"

    @property
    def _digits(self) -> int:
        return 2 if self.unit == "x" and self.needed < 2 else _DIGITS[self.unit]


def bars(result: Result) -> list[Bar]:
    """Return the bars of what was measured."""
    return [*_sending(result), *_latency(result), *_startup(result), *_streaming(result)]


_RATIOS = (
    # own, peer, case, needed, aim
    ("curl", "boto3", "text-500", 5.2, 6.5),
    ("aiohttp", "aiobotocore", "text-500", 4.8, 6.0),
    ("requests", "boto3", "text-500", 3.3, 4.0),
)
"""Ratios of CPU time, with TLS."""


def _sending(result: Result) -> Iterator[Bar]:
    for own, peer, case, needed, aim in _RATIOS:
        ours = result.sent(own, case, with_tls=True)
        theirs = result.sent(peer, case, with_tls=True)
        if ours and theirs:
            who = f"{label(result, own)} against {result.title(peer)}"
            ratio = cpu_ratio(theirs, ours).median
            yield Bar(f"{who}, {CASES[case].title}", ratio, needed, aim)


def _latency(result: Result) -> Iterator[Bar]:
    found = [one for one in result.latency if one.contender == "curl"]
    if found:
        best = max(found, key=lambda one: one.events_per_core_second)
        who = f"{result.title(best.contender)}, {best.in_flight} in flight"
        what = f"{who}: one core, answers after {DELAY * 1e3:.0f} ms"
        yield Bar(what, best.events_per_core_second, 28_000, 72_000, unit="events/s")


_STARTS = (
    # what, peer, needed, aim
    (FIRST_ANSWER, "boto3", 1.7, 2.2),
    (FIRST_ANSWER, "capo-eventbridge", 1.1, 1.4),
    (FROM_FILES, "boto3", 0.95, 1.2),
)
"""Ratios of wall time."""


def _startup(result: Result) -> Iterator[Bar]:
    for what, peer, needed, aim in _STARTS:
        ours, theirs = result.started(what, "ours"), result.started(what, peer)
        if ours and theirs:
            yield Bar(f"{what}, against {peer}", start_ratio(theirs, ours).median, needed, aim)
    ours, theirs = result.started(FIRST_ANSWER, "ours"), result.started(FIRST_ANSWER, "boto3")
    if ours and theirs and ours.peak_memory and theirs.peak_memory:
        what = f"{FIRST_ANSWER}: peak memory as a share of boto3's"
        share = ours.peak_memory / theirs.peak_memory
        yield Bar(what, share, 0.75, 0.65, unit="", is_bound=True)
    if package := result.started(IMPORT, "ours, the package"):
        yield Bar("import eventbridge_partner", package.wall.median, 5.0, unit="ms", is_bound=True)


def _streaming(result: Result) -> Iterator[Bar]:
    for one in result.streaming:
        what = f"stream_events, {result.title(one.contender)}: growth of memory"
        yield Bar(what, one.growth / _MB, 5.0, 0.0, unit="MB", is_bound=True)


def label(result: Result, contender: str) -> str:
    """Return a contender's title, with its requests in flight if that tells it from others."""
    entrant = result.entrant(contender)
    titles = [one.title for one in result.entrants]
    if titles.count(entrant.title) == 1:
        return entrant.title
    in_flight = entrant.in_flight or "default"
    return f"{entrant.title} ({in_flight} in flight)"
