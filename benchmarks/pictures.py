"""The two pictures of the documentation, drawn from a run's figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.cases import CASES
from benchmarks.figures import Entrant, LatencyFigures, Result, SendingFigures, cpu_ratio
from benchmarks.latency import DELAY
from benchmarks.svg import Picture

_WIDTH = 820.0

_COLORS = {
    "boto3": ("#8b949e", "#8b949e"),
    "aiobotocore": ("#a1887f", "#bcaaa4"),
    "javascript": ("#8b949e", "#8b949e"),
    "requests": ("#2563eb", "#6ea8fe"),
    "curl": ("#0b8a67", "#34d399"),
    "aiohttp": ("#c2410c", "#fb923c"),
    "floor": ("#c9a400", "#e3c341"),
}
_SHAPES = {
    "boto3": "square",
    "aiobotocore": "triangle",
    "requests": "square",
    "curl": "circle",
    "aiohttp": "diamond",
}

_SUSTAINED = 28_000
_BURST = 72_000
"""Events a second at the service's quota of 1,400 and 3,600 requests a second."""


def _color(contender: str) -> str:
    return contender.removesuffix("-1")


# ---------------------------------------------------------------- CPU per event

_ROW = 25.0
_LABELS_END = 284.0
_BARS_END = 610.0


def cpu_picture(result: Result) -> str:
    """
    Draw CPU per event: a bar for each contender and case, with its quartiles.

    Raises:
        ValueError: Nothing was sent in the run.
    """
    with_tls = any(one.with_tls for one in result.sending)
    figures = [one for one in result.sending if one.with_tls == with_tls]
    if not figures:
        raise ValueError("no figures of sending; allowed: a run with the section `sending`")
    how = f"{'with' if with_tls else 'without'} TLS, 20 events a request"
    picture = Picture(
        "CPU time per event",
        _cpu_description(result, figures),
        width=_WIDTH,
        colors=_COLORS,
    )
    explained = f"Microseconds of the sending process, {how}; median, and quartiles as a line."
    picture.text(24, 58, f"{explained} Shorter is better.", "quiet")
    scale = (_BARS_END - _LABELS_END) / max(one.cpu.third_quartile for one in figures)
    top = 92.0
    for case in dict.fromkeys(one.case for one in figures):
        picture.text(24, top, f"Details of {CASES[case].title}", "heading")
        top += 12
        for one in figures:
            if one.case == case:
                _cpu_row(picture, result, one, top, scale)
                top += _ROW
        top += 30
    return picture.drawn(top - 14)


def _cpu_row(
    picture: Picture, result: Result, one: SendingFigures, top: float, scale: float
) -> None:
    middle, text = top + _ROW / 2, top + _ROW / 2 + 4.5
    entrant = result.entrant(one.contender)
    label = [(entrant.title, ""), (f"  {_in_flight(entrant)}", "quiet")]
    picture.texts(_LABELS_END - 10, text, label, anchor="end")
    end = _LABELS_END + one.cpu.median * scale
    picture.bar(_LABELS_END, top + 4, end - _LABELS_END, _ROW - 8, f"fill-{_color(one.contender)}")
    first = _LABELS_END + one.cpu.first_quartile * scale
    third = _LABELS_END + one.cpu.third_quartile * scale
    picture.line([(first, middle), (third, middle)], "spread")
    values = [(f"{one.cpu.median:.1f}", "value")]
    peer = result.sent("boto3", one.case, with_tls=one.with_tls)
    if peer and peer is not one:
        values.append((f"   {_compared(cpu_ratio(peer, one).median)}", "quiet"))
    picture.texts(max(end, third) + 8, text, values)


def _compared(ratio: float) -> str:
    if 0.95 < ratio < 1.05:
        return "as much as boto3"
    return f"{ratio:.1f}× less than boto3" if ratio >= 1 else f"{1 / ratio:.1f}× more than boto3"


def _in_flight(entrant: Entrant) -> str:
    return f"{entrant.in_flight} in flight" if entrant.in_flight else "default"


def _cpu_description(result: Result, figures: Sequence[SendingFigures]) -> str:
    said = [
        f"{CASES[one.case].title}, {result.title(one.contender)} "
        f"({_in_flight(result.entrant(one.contender))}): {one.cpu.median:.1f}"
        for one in figures
    ]
    return f"Microseconds of CPU time per event. {'; '.join(said)}."


# ---------------------------------------------------------------- slow answers

_PANEL_TOP = 122.0
_PANEL_BOTTOM = 400.0
_LEFT = (78.0, 500.0)
_RIGHT = (578.0, 790.0)


def latency_picture(result: Result) -> str:
    """
    Draw events per second and cores used, against the number of requests in flight.

    Raises:
        ValueError: The run did not measure slow answers.
    """
    if not result.latency:
        raise ValueError("no figures of latency; allowed: a run with the section `latency`")
    names = list(dict.fromkeys(one.contender for one in result.latency))
    numbers = sorted({one.in_flight for one in result.latency})
    milliseconds = f"{DELAY * 1e3:.0f} ms"
    picture = Picture(
        f"Answers that take {milliseconds}",
        _latency_description(result, names),
        width=_WIDTH,
        colors=_COLORS,
    )
    tls = "with" if result.settings["latency_with_tls"] else "without"
    explained = f"500 bytes of text, {tls} TLS, against requests in flight."
    if result.settings["pinned"]:
        explained += " Each sender has one core, and the service another."
    picture.text(24, 58, explained, "quiet")
    _legend(picture, result, names)

    most = max(one.events_per_second.median for one in result.latency)
    ceiling = math.ceil(max(most * 1.05, _BURST * 1.1) / 20_000) * 20_000
    left = _Plot(picture, _LEFT, numbers, ceiling)
    ticks = [
        (float(tick), f"{tick // 1000}k" if tick else "0") for tick in range(0, ceiling + 1, 20_000)
    ]
    left.axes("Events a second", ticks)
    left.waits()
    left.mark(_SUSTAINED, "sustained quota, 1,400 requests/s")
    left.mark(_BURST, "burst quota, 3,600 requests/s")

    used = max(1.0, *(one.cores.median for one in result.latency))
    right = _Plot(picture, _RIGHT, numbers, used * 1.1)
    quarters = [quarter / 4 for quarter in range(int(right.ceiling * 4) + 1)]
    right.axes("Cores used", [(tick, f"{tick:g}") for tick in quarters])

    for name in names:
        of_name = [one for one in result.latency if one.contender == name]
        of_name.sort(key=lambda one: one.in_flight)
        left.series(name, [(one.in_flight, one.events_per_second.median) for one in of_name])
        right.series(name, [(one.in_flight, one.cores.median) for one in of_name])
    return picture.drawn(_PANEL_BOTTOM + 62)


class _Plot:
    """One pair of axes, with requests in flight on a logarithmic lower axis."""

    def __init__(
        self,
        picture: Picture,
        sides: tuple[float, float],
        numbers: Sequence[int],
        ceiling: float,
    ) -> None:
        self.ceiling = ceiling
        self._picture = picture
        self._left, self._right = sides
        self._numbers = numbers

    def _x(self, in_flight: float) -> float:
        first, last = math.log2(self._numbers[0]), math.log2(self._numbers[-1])
        share = (math.log2(in_flight) - first) / (last - first) if last > first else 0.5
        return self._left + 12 + share * (self._right - self._left - 24)

    def _y(self, value: float) -> float:
        return _PANEL_BOTTOM - value / self.ceiling * (_PANEL_BOTTOM - _PANEL_TOP)

    def axes(self, title: str, ticks: Sequence[tuple[float, str]]) -> None:
        picture = self._picture
        picture.text(self._left, _PANEL_TOP - 12, title, "heading")
        for value, label in ticks:
            y = self._y(value)
            picture.line([(self._left, y), (self._right, y)], "grid" if value else "axis")
            picture.text(self._left - 8, y + 4, label, "quiet", anchor="end")
        for number in self._numbers:
            picture.text(self._x(number), _PANEL_BOTTOM + 20, str(number), "quiet", anchor="middle")
        middle = (self._left + self._right) / 2
        picture.text(middle, _PANEL_BOTTOM + 42, "requests in flight", "quiet", anchor="middle")

    def mark(self, value: float, label: str) -> None:
        """Draw a line to compare the others with."""
        y = self._y(value)
        self._picture.line([(self._left, y), (self._right, y)], "mark")
        self._picture.text(self._left + 8, y - 6, label, "quiet")

    def waits(self) -> None:
        """Draw what is possible with the waits alone, up to the upper end of the plot."""
        # It is a curve on a logarithmic axis, so it is drawn with many points.
        last = min(self._numbers[-1], self.ceiling * DELAY / 20)
        steps = [2 ** (math.log2(last) * step / 60) for step in range(61)]
        self._picture.line([(self._x(n), self._y(n * 20 / DELAY)) for n in steps], "axis")
        x, y = self._x(last), self._y(last * 20 / DELAY)
        self._picture.text(x - 12, y + 14, "nothing but the waits", "quiet", anchor="end")

    def series(self, name: str, points: Sequence[tuple[float, float]]) -> None:
        placed = [(self._x(number), self._y(value)) for number, value in points]
        self._picture.line(placed, f"line-{name}")
        for x, y in placed:
            self._picture.marker(x, y, _SHAPES.get(name, "circle"), f"fill-{name}")


def _legend(picture: Picture, result: Result, names: Sequence[str]) -> None:
    x = 24.0
    for name in names:
        title = result.title(name)
        picture.line([(x, 80), (x + 26, 80)], f"line-{name}")
        picture.marker(x + 13, 80, _SHAPES.get(name, "circle"), f"fill-{name}")
        picture.text(x + 34, 84.5, title)
        x += 50 + 6.8 * len(title)


def _latency_description(result: Result, names: Sequence[str]) -> str:
    said: list[str] = []
    for name in names:
        best = max(_of(result, name), key=lambda one: one.events_per_second.median)
        said.append(
            f"{result.title(name)}: up to {best.events_per_second.median:,.0f} events a second, "
            f"with {best.in_flight} requests in flight and {best.cores.median:.2f} cores"
        )
    return f"{'; '.join(said)}."


def _of(result: Result, name: str) -> list[LatencyFigures]:
    return [one for one in result.latency if one.contender == name]
