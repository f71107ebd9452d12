"""What figures are held against: the least that they must reach, and the aim."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from benchmarks.cases import CASES
from benchmarks.figures import Result, cpu_ratio
from benchmarks.latency import DELAY
from benchmarks.startup import FIRST_CLIENT

_MB = 1e6
_DIGITS = {"x": 1, "": 2, "MB": 1, "events/s": 0}


@attrs.frozen
class Bar:
    """
    One bar.

    Attributes:
        what: Which figure.
        found: It.
        needed: What it must reach; with `is_bound`, what it must stay under.
        aim: What would be better still, if something.
        unit: Of all three.
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
        """Whether it is as good as was hoped for, as far as its digits are shown."""
        if self.aim is None:
            return self.is_reached
        found = round(self.found, _DIGITS[self.unit])
        return found <= self.aim if self.is_bound else found >= self.aim

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.aim is not None and self.is_aim_reached:
            return "pass, aim reached"
        return "pass" if self.is_reached else "MISS"

    def figure(self, value: float) -> str:
        """Write a figure of this bar."""
        space = " " if len(self.unit) > 1 else ""
        return f"{value:,.{_DIGITS[self.unit]}f}{space}{self.unit}"


def bars(result: Result) -> list[Bar]:
    """Return the bars of what was measured."""
    return [*_sending(result), *_latency(result), *_startup(result), *_streaming(result)]


_RATIOS = (
    # own, peer, case, needed, aim
    ("curl", "boto3", "text-500", 8.0, 12.0),
    ("curl", "boto3", "mapping-500", 8.0, 14.0),
    ("curl", "boto3", "text-5000", 4.0, 6.0),
    ("aiohttp", "aiobotocore", "text-500", 5.0, 10.0),
    ("curl", "javascript", "text-500", 4.0, 7.0),
    ("requests", "boto3", "text-500", 3.0, 4.0),
    ("requests", "boto3", "mapping-500", 3.0, 4.0),
    ("requests-1", "boto3", "text-500", 3.0, None),
    ("requests-1", "boto3", "mapping-500", 3.0, None),
)
"""In CPU time, with TLS."""


def _sending(result: Result) -> Iterator[Bar]:
    for own, peer, case, needed, aim in _RATIOS:
        ours = result.sent(own, case, with_tls=True)
        theirs = result.sent(peer, case, with_tls=True)
        if ours and theirs:
            who = f"{label(result, own)} against {result.title(peer)}"
            ratio = cpu_ratio(theirs, ours).median
            yield Bar(f"{who}, {CASES[case].title}", ratio, needed, aim)
    ours = result.sent("curl", "text-500", with_tls=True)
    floor = result.sent("floor", "text-500", with_tls=True)
    if ours and floor:
        what = f"{label(result, 'curl')}: the C floor's share of its CPU"
        yield Bar(what, cpu_ratio(floor, ours).median, 0.25, 0.5, unit="")


def _latency(result: Result) -> Iterator[Bar]:
    found = [one for one in result.latency if one.contender == "curl"]
    if found:
        best = max(found, key=lambda one: one.events_per_core_second)
        who = f"{result.title(best.contender)}, {best.in_flight} in flight"
        what = f"{who}: one core, answers after {DELAY * 1e3:.0f} ms"
        yield Bar(what, best.events_per_core_second, 28_000, 72_000, unit="events/s")


def _startup(result: Result) -> Iterator[Bar]:
    for one in result.startup:
        if one.what == FIRST_CLIENT:
            yield Bar(f"{one.what} against boto3", one.ratio.median, 1.5, 2.0)


def _streaming(result: Result) -> Iterator[Bar]:
    for one in result.streaming:
        what = f"stream_events, {result.title(one.contender)}: growth of memory"
        yield Bar(what, one.growth / _MB, 5.0, 0.0, unit="MB", is_bound=True)


def label(result: Result, contender: str) -> str:
    """Return the title of a contender, with its number in flight where that tells it apart."""
    entrant = result.entrant(contender)
    titles = [one.title for one in result.entrants]
    if titles.count(entrant.title) == 1:
        return entrant.title
    in_flight = entrant.in_flight or "default"
    return f"{entrant.title} ({in_flight} in flight)"
