"""The documentation's page on performance: a run's figures take the place of the last one's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from benchmarks import pictures, tables
from benchmarks.bars import bars
from benchmarks.figures import Result

PAGE = "performance.md"
CPU_PICTURE = "performance-cpu.svg"
LATENCY_PICTURE = "performance-latency.svg"


def write_pictures(result: Result, directory: Path) -> None:
    """Draw what was measured into files of a directory."""
    if result.sending:
        (directory / CPU_PICTURE).write_text(pictures.cpu_picture(result))
    if result.latency:
        (directory / LATENCY_PICTURE).write_text(pictures.latency_picture(result))


def write_page(result: Result, directory: Path, printed: str) -> None:
    """
    Put the figures of a run on the page, and draw its pictures beside it.

    Args:
        result: The run.
        directory: Where the page lies.
        printed: What the run printed.

    Raises:
        ValueError: The page lacks a marker of what is to be replaced.
    """
    page = directory / PAGE
    text = page.read_text()
    text = _replaced(text, "machine", [f"- {name}: {what}" for name, what in _machine(result)])
    text = _replaced(text, "bars", [tables.bars_markdown(bars(result))])
    text = _replaced(text, "figures", ["```text", printed.strip("\n"), "```"])
    page.write_text(text)
    write_pictures(result, directory)


def _machine(result: Result) -> Iterable[tuple[str, str]]:
    return ((name, what) for name, what in result.machine.items() if name != "load" and what)


def _replaced(text: str, name: str, lines: Iterable[str]) -> str:
    """Return the text with something else between the two markers of a name."""
    begin, end = f"<!-- {name}: written by benchmarks -->", f"<!-- end of {name} -->"
    between = re.compile(f"(?<={re.escape(begin)}\n).*?(?={re.escape(end)})", re.DOTALL)
    if not between.search(text):
        raise ValueError(f"{PAGE} has no {begin} with {end} after it")
    content = "\n" + "\n".join(lines) + "\n\n"
    return between.sub(lambda _: content, text, count=1)
