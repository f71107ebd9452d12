"""
Draws the floors of the package, from the list that import-linter enforces.

    python -m tests.docs.house
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PICTURE: Final = ROOT / "docs/explanation/house.svg"

_WIDTH: Final = 820
_STEP: Final = 42
_WORDS: Final = {
    "cli": "the program, and fixtures for users' tests",
    "otel": "spans and metrics",
    "publisher": "events one by one; events in a database",
    "guard": "in front of a client",
    "client": "events in, outcomes out",
    "sources": "create, find, watch, delete",
    "line": "sign, send, read, remedy",
    "_plans": "what to ask next",
    "transports": "HTTP, credentials, the local service",
    "delivery": "what becomes of events",
    "retry": "how long to wait, how fast to go",
    "observing": "observations; bytes and values",
    "models": "events, outcomes, reports",
    "_logs": "the log",
}
_HEAD: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" \
height="{height}" role="img" aria-labelledby="title description">
<title id="title">The rooms of the package, floor by floor</title>
<desc id="description">From the top: {floors}. A room imports from the floors below its own.</desc>
<style>
text {{ font-family: system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, \
sans-serif; font-size: 13px; fill: #24292f }}
.room {{ font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-weight: 600 }}
.quiet {{ fill: #57606a; font-size: 12px }}
.panel {{ fill: #ffffff; stroke: #8c959f }}
.pure {{ fill: #e6f4ee; stroke: #0b8a67 }}
.floor {{ fill: #f6f8fa }}
</style>
<rect width="{width}" height="{height}" fill="#ffffff"/>
"""


def floors() -> tuple[list[list[str]], set[str]]:
    """Return the rooms of each floor, from the top, and which of them are pure."""
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    order, pure = linter["contracts"][:2]
    rooms = [re.findall(r"\w+", layer) for layer in order["layers"]]
    modules = {name.removeprefix("eventbridge_partner.") for name in pure["source_modules"]}
    return [floor for floor in rooms if floor != ["__main__"]], modules


def drawn() -> str:
    """Return the picture."""
    rooms, pure = floors()
    height = _STEP * len(rooms) + 48
    words = "; ".join(", ".join(floor) for floor in rooms)
    lines = [_HEAD.format(width=_WIDTH, height=height, floors=words).rstrip("\n")]
    for number, floor in enumerate(rooms):
        lines += _floor(floor, 16 + _STEP * number, pure)
    legend = "pure: no clock, thread, socket or log; time is an argument"
    top = height - 28
    lines += [
        f'<rect class="pure" x="20" y="{top}" width="16" height="14" rx="2"/>',
        f'<text class="quiet" x="44" y="{top + 12}">{legend}</text>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _floor(rooms: list[str], top: int, pure: set[str]) -> list[str]:
    lines = [f'<rect class="floor" x="12" y="{top - 4}" width="{_WIDTH - 24}" height="38"/>']
    left = 20
    for room in rooms:
        width = max(86, 8 * len(room) + 24)
        kind = "pure" if room in pure else "panel"
        place = f'x="{left + width // 2}" y="{top + 20}" text-anchor="middle"'
        lines += [
            f'<rect class="{kind}" x="{left}" y="{top}" width="{width}" height="30" rx="4"/>',
            f'<text class="room" {place}>{room}</text>',
        ]
        left += width + 8
    if words := _WORDS.get(rooms[0]):
        right = _WIDTH - 24
        lines.append(
            f'<text class="quiet" x="{right}" y="{top + 20}" text-anchor="end">{words}</text>'
        )
    return lines


if __name__ == "__main__":
    PICTURE.write_text(drawn())
