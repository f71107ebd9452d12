"""Writes the figures of a run into the pages that show them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from benchmarks import pictures, tables
from benchmarks.bars import bars
from benchmarks.figures import Result

PAGE = "performance.md"
RESULTS = Path(__file__).parent / "RESULTS.md"
CPU_PICTURE = "performance-cpu.svg"
LATENCY_PICTURE = "performance-latency.svg"


def write_pictures(result: Result, directory: Path) -> None:
    """Draw what was measured into files of a directory."""
    if result.sending:
        (directory / CPU_PICTURE).write_text(pictures.cpu_picture(result))
    if result.latency:
        (directory / LATENCY_PICTURE).write_text(pictures.latency_picture(result))


def write_page(result: Result, directory: Path, printed: str, results: Path = RESULTS) -> None:
    """
    Write the most important figures to the page, all of them to the results, and draw the pictures.

    Args:
        result: The run.
        directory: The folder of the page.
        printed: What the run printed.
        results: The page with all figures.

    Raises:
        ValueError: A page lacks a marker.
    """
    machine = [f"- {name}: {what}" for name, what in _machine(result)]
    page = directory / PAGE
    text = _replaced(page, page.read_text(), "expect", [tables.expected_markdown(result)])
    text = _replaced(page, text, "machine", machine)
    found = results.read_text()
    found = _replaced(results, found, "bars", [tables.bars_markdown(bars(result))])
    found = _replaced(results, found, "machine", machine)
    found = _replaced(results, found, "figures", ["```text", printed.strip("\n"), "```"])
    page.write_text(text)
    results.write_text(found)
    write_pictures(result, directory)


def _machine(result: Result) -> Iterable[tuple[str, str]]:
    return ((name, what) for name, what in result.machine.items() if name != "load" and what)


def _replaced(page: Path, text: str, name: str, lines: Iterable[str]) -> str:
    """Return a page's text with new text between the two markers of a name."""
    begin, end = f"<!-- {name}: written by benchmarks -->", f"<!-- end of {name} -->"
    between = re.compile(f"(?<={re.escape(begin)}\n).*?(?={re.escape(end)})", re.DOTALL)
    if not between.search(text):
        raise ValueError(f"{page.name} has no {begin} with {end} after it")
    content = "\n" + "\n".join(lines) + "\n\n"
    return between.sub(lambda _: content, text, count=1)
