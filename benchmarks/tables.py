"""The tables that are printed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.bars import Bar
from benchmarks.cases import CASES
from benchmarks.figures import (
    LatencyFigures,
    Result,
    SendingFigures,
    Spread,
    cpu_ratio,
    start_ratio,
    wall_ratio,
)
from benchmarks.latency import DELAY

_MB = 1e6
_SPREAD = ("min", "q1", "median", "q3")
_SHOWN_SAMPLES = 6
_PEER = "boto3"


def sections(result: Result) -> Iterator[tuple[str, str]]:
    """Return the tables of what was measured, each with its title."""
    for with_tls in (True, False):
        figures = [one for one in result.sending if one.with_tls == with_tls]
        if figures:
            rounds, events = result.settings["rounds"], result.settings["events"]
            how = f"{rounds:.0f} rounds of {events:,.0f} events, 20 a request"
            title = f"Sending {'with' if with_tls else 'without'} TLS: {how}"
            yield title, _sending_table(result, figures)
    if result.latency:
        tls = "with" if result.settings["latency_with_tls"] else "without"
        title = f"Answers after {DELAY * 1e3:.0f} ms: 500 B as text, {tls} TLS"
        where = "one core for each contender" if result.settings["pinned"] else "on any core"
        yield f"{title}, {where}", _latency_tables(result)
    if result.startup:
        runs = result.settings["runs"]
        yield f"Startup: {runs:.0f} fresh interpreters for each, in turn", _startup_table(result)
    if result.sending:
        title = f"Memory: the process that sent {result.settings['events']:,.0f} events a call"
        yield title, _memory_table(result)
    if result.streaming:
        yield "Streaming: stream_events, 500 B as text", _streaming_table(result)


def _sending_table(result: Result, figures: Sequence[SendingFigures]) -> str:
    """Return a table of CPU and wall time, with a row for each contender and case."""
    rows: list[list[str]] = []
    for one in figures:
        peer = result.sent(_PEER, one.case, with_tls=one.with_tls)
        is_peer = one.contender == _PEER or peer is None
        cpu = None if is_peer else cpu_ratio(peer, one)
        wall = None if is_peer else wall_ratio(peer, one)
        rows.append(
            [
                CASES[one.case].title,
                result.title(one.contender),
                _in_flight(result, one.contender),
                *_cells(one.cpu, 1),
                "|",
                *_cells(one.wall, 1),
                "|",
                _ratio(cpu),
                f"{cpu.first_quartile:.1f}-{cpu.third_quartile:.1f}" if cpu else "",
                _ratio(wall),
            ]
        )
    header = ["us an event", "", "in flight", "CPU min", *_SPREAD[1:]]
    header += ["|", "wall min", *_SPREAD[1:], "|", "boto3/it: CPU", "q1-q3", "wall"]
    service_cpu = [one.service_cpu for one in figures]
    # The floor sends as fast as the service answers, so the service is always busy with it.
    busiest = max((one.service_busy for one in figures if one.contender != "floor"), default=0.0)
    note = (
        f"the service: {min(service_cpu):.0f} to {max(service_cpu):.0f} us of CPU a request, "
        f"at work for {busiest:.0%} of the time at most (not counting wrk)"
    )
    return f"{aligned(header, rows, text_columns=2)}\n{note}"


def _latency_tables(result: Result) -> str:
    """Return tables of events per second and of cores used, by requests in flight."""
    numbers = sorted({one.in_flight for one in result.latency})
    names = list(dict.fromkeys(one.contender for one in result.latency))
    found = {(one.contender, one.in_flight): one for one in result.latency}

    def rows(show: str) -> list[list[str]]:
        lines: list[list[str]] = []
        for name in names:
            of_name = [found[name, number] for number in numbers]
            figures = [one.cores if show == "cores" else one.events_per_second for one in of_name]
            digits = 2 if show == "cores" else 0
            line = [_number(figure.median, digits) for figure in figures]
            lines.append([show, result.title(name), *line, f"{_widest(figures):.0%}"])
        return lines

    at_most = [_number(number * 20 / DELAY, 0) for number in numbers]
    header = ["", "requests in flight", *map(str, numbers), "(q3-q1)/median"]
    all_rows = [["events/s", "(nothing but the waits)", *at_most, ""], *rows("events/s")]
    all_rows += rows("cores")
    return f"{aligned(header, all_rows, text_columns=2)}\n{_latency_note(result.latency)}"


def _latency_note(figures: Sequence[LatencyFigures]) -> str:
    busiest = max(one.service_busy for one in figures)
    return f"the service: at work for {busiest:.0%} of the time at most, on a core of its own"


def _startup_table(result: Result) -> str:
    """Return a table of start times, with a row for each contender."""
    rows: list[list[str]] = []
    shown = ""
    for one in result.startup:
        peer = result.started(one.what, _PEER)
        ratio = start_ratio(peer, one) if peer and one.contender != _PEER else None
        rows.append(
            [
                "" if one.what == shown else one.what,
                one.contender,
                *_cells(one.wall, 1),
                _number(one.cpu.median, 0),
                _megabytes(one.peak_memory) if one.peak_memory else "",
                f"{ratio.median:.2f}x" if ratio else "",
                f"{ratio.first_quartile:.2f}-{ratio.third_quartile:.2f}" if ratio else "",
            ]
        )
        shown = one.what
    header = ["ms of wall time", "", *_SPREAD, "CPU, median", "peak MB", "boto3 / it", "q1-q3"]
    return aligned(header, rows, text_columns=2)


def _memory_table(result: Result) -> str:
    """Return a table of peak memory, with a row for each contender and job."""
    rows: list[list[str]] = []
    with_tls = any(one.with_tls for one in result.sending)
    for one in result.sending:
        if one.with_tls != with_tls or one.peak_memory is None:
            continue
        peer = result.sent(_PEER, one.case, with_tls=with_tls)
        has_ratio = peer and peer.peak_memory and one.contender != _PEER
        ratio = f"{(peer.peak_memory or 0) / one.peak_memory:.2f}x" if peer and has_ratio else ""
        cells = [CASES[one.case].title, result.title(one.contender)]
        cells += [_in_flight(result, one.contender), _megabytes(one.peak_memory), ratio]
        rows.append(cells)
    return aligned(["peak memory", "", "in flight", "MB", "boto3 / it"], rows, text_columns=2)


def _streaming_table(result: Result) -> str:
    """Return a table of resident memory during each stream."""
    first = result.streaming[0]
    settled, count = first.settled_after // first.sample_every - 1, len(first.samples)
    parts = {count * part // _SHOWN_SAMPLES - 1 for part in range(1, _SHOWN_SAMPLES + 1)}
    places = sorted(place for place in parts | {settled} if place >= settled)
    header = ["resident memory, MB", *(result.title(one.contender) for one in result.streaming)]
    rows = [["bare interpreter", *(_megabytes(one.bare) for one in result.streaming)]]
    rows += [
        [
            f"{(place + 1) * first.sample_every:,} events",
            *(_megabytes(one.samples[place]) for one in result.streaming),
        ]
        for place in places
    ]
    rows.append(["peak", *(_megabytes(one.peak) for one in result.streaming)])
    growth = f"growth after {first.settled_after:,} events"
    rows.append([growth, *(_megabytes(one.growth) for one in result.streaming)])
    rows.append(["seconds", *(f"{one.seconds:.1f}" for one in result.streaming)])
    return aligned(header, rows, text_columns=1)


def bars_table(bars: Sequence[Bar]) -> str:
    """Return a table of the bars."""
    return aligned(_BARS_HEADER, _bar_rows(bars), text_columns=1, last_is_text=True)


def bars_markdown(bars: Sequence[Bar]) -> str:
    """Return the bars as a Markdown table."""
    rows = [_BARS_HEADER, ["---", "---:", "---:", "---:", "---"], *_bar_rows(bars)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def expected_markdown(result: Result) -> str:
    """Return a Markdown table of CPU time an event, and its ratio to boto3's."""
    cases = [case for case in CASES if result.sent(_PEER, case, with_tls=True)]
    header = ["CPU of an event, with TLS, 20 events a request"]
    rows = [[*header, *(CASES[case].title for case in cases)], ["---", *["---:"] * len(cases)]]
    for entrant in result.entrants:
        if entrant.name == "floor" or (entrant.is_ours and entrant.in_flight == 1):
            continue
        row = [entrant.title]
        for case in cases:
            peer = result.sent(_PEER, case, with_tls=True)
            own = result.sent(entrant.name, case, with_tls=True)
            shown = f"{own.cpu.median:.1f} µs" if own else ""
            if own and peer and entrant.name != _PEER:
                shown += f" ({_ratio(cpu_ratio(peer, own))})"
            row.append(shown)
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


_BARS_HEADER = ["what", "found", "at least", "aim", ""]


def _bar_rows(bars: Sequence[Bar]) -> list[list[str]]:
    return [
        [
            bar.what,
            bar.figure(bar.found),
            f"{'under ' if bar.is_bound else ''}{bar.figure(bar.needed)}",
            "" if bar.aim is None else (bar.figure(bar.aim) if bar.aim else "none"),
            bar.verdict,
        ]
        for bar in bars
    ]


def _in_flight(result: Result, contender: str) -> str:
    return str(result.entrant(contender).in_flight or "default")


def _cells(spread: Spread, digits: int) -> list[str]:
    values = (spread.minimum, spread.first_quartile, spread.median, spread.third_quartile)
    return [_number(value, digits) for value in values]


def _widest(figures: Sequence[Spread]) -> float:
    return max((one.third_quartile - one.first_quartile) / one.median for one in figures)


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


def _ratio(spread: Spread | None) -> str:
    return f"{spread.median:.1f}x" if spread else ""


def _megabytes(count: float) -> str:
    return f"{count / _MB:.1f}"


def aligned(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    text_columns: int,
    last_is_text: bool = False,
) -> str:
    """Align columns: text to the left, and figures to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    left = {*range(text_columns), *([len(header) - 1] if last_is_text else [])}
    lines = [
        "  ".join(
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)
