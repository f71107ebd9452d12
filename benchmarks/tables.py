"""Tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.figures import Bar, Spread
from benchmarks.sending import SendingFigures
from benchmarks.startup import StartupFigures, StartupMemory

_MB = 1e6
_SPREAD = ("min", "q1", "median", "q3")
_SHOWN_SAMPLES = 6


def sending_table(figures: Sequence[SendingFigures]) -> str:
    """Show CPU and wall time, a row for each contender and case."""
    rows = [
        [
            one.case.title,
            one.contender.title,
            *_cells(one.cpu, 1),
            "|",
            *_cells(one.wall, 1),
            "|",
            _ratio(one.cpu_ratio),
            f"{one.cpu_ratio.first_quartile:.2f}-{one.cpu_ratio.third_quartile:.2f}"
            if one.cpu_ratio
            else "",
            _ratio(one.wall_ratio),
            _verdict(one.bar),
        ]
        for one in figures
    ]
    header = ["us an event", "", "CPU min", *_SPREAD[1:], "|", "wall min", *_SPREAD[1:], "|"]
    header += ["boto3/ours: CPU", "q1-q3", "wall", "bar (CPU)"]
    busiest = max(one.service_busy for one in figures)
    service_cpu = [one.service_cpu for one in figures]
    note = (
        f"the service: {min(service_cpu):.0f} to {max(service_cpu):.0f} us of CPU a request, "
        f"at work for {busiest:.0%} of the time at most"
    )
    return f"{_table(header, rows, text_columns=2)}\n{note}"


def startup_table(figures: Sequence[StartupFigures]) -> str:
    """Show the time of a start, a row for each contender and mark."""
    rows: list[list[str]] = []
    for one in figures:
        rows.append([one.what, "boto3", *_cells(one.theirs, 0), _number(one.their_cpu.median, 0)])
        rows[-1] += ["", ""]
        rows.append(["", "ours", *_cells(one.ours, 0), _number(one.our_cpu.median, 0)])
        rows[-1] += [_ratio(one.ratio), _verdict(one.bar)]
    header = ["ms of wall time", "", *_SPREAD, "CPU, median", "boto3 / ours", "bar"]
    return _table(header, rows, text_columns=2)


def memory_table(startup: StartupMemory | None, figures: Sequence[SendingFigures]) -> str:
    """Show peak memory, a row for each contender and job."""
    rows: list[list[str]] = []
    if startup:
        rows.append(["bare interpreter", "python", _megabytes(startup.bare), ""])
        rows.append(["first batch sent", "boto3", _megabytes(startup.theirs), ""])
        ratio = f"{startup.theirs / startup.ours:.2f}x"
        rows.append(["", "ours", _megabytes(startup.ours), ratio])
    for one in figures:
        peer = next(
            (
                other.peak_memory
                for other in figures
                if other.case == one.case and other.contender.name == one.contender.peer
            ),
            None,
        )
        ratio = f"{peer / one.peak_memory:.2f}x" if peer else ""
        rows.append([one.case.title, one.contender.title, _megabytes(one.peak_memory), ratio])
    return _table(["peak memory", "", "MB", "boto3 / ours"], rows, text_columns=2)


def streaming_table(result: dict[str, Any]) -> str:
    """Show resident memory along a stream."""
    samples, every = result["samples"], result["sample_every"]
    settled = result["settled_after"] // every - 1
    shown = {settled, len(samples) - 1}
    shown |= {len(samples) * part // _SHOWN_SAMPLES - 1 for part in range(1, _SHOWN_SAMPLES)}
    rows = [["bare interpreter", _megabytes(result["bare"])]]
    rows += [
        [f"{(place + 1) * every:,} events", _megabytes(samples[place])]
        for place in sorted(shown)
        if place >= settled
    ]
    rows.append(["peak", _megabytes(result["peak"])])
    growth = f"growth after {result['settled_after']:,} events: {_megabytes(result['growth'])} MB"
    seconds = f"{result['events']:,} events in {result['seconds']:.1f} s"
    return f"{_table(['resident memory', 'MB'], rows, text_columns=1)}\n{growth}; {seconds}"


def bars_text(bars: Sequence[Bar]) -> str:
    """Show the bars, a line for each."""
    return "\n".join(f"{bar.what}: {bar.found:.2f}x  {bar}" for bar in bars)


def _cells(spread: Spread, digits: int) -> list[str]:
    values = (spread.minimum, spread.first_quartile, spread.median, spread.third_quartile)
    return [_number(value, digits) for value in values]


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


def _ratio(spread: Spread | None) -> str:
    return f"{spread.median:.2f}x" if spread else ""


def _verdict(bar: Bar | None) -> str:
    return str(bar) if bar else ""


def _megabytes(count: float) -> str:
    return f"{count / _MB:.1f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int) -> str:
    """Align columns: text to the left, and figures to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    left = {*range(text_columns), *([len(header) - 1] if header[-1].startswith("bar") else [])}
    lines = [
        "  ".join(
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)
