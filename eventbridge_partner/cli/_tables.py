"""Tables for people."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Final

from eventbridge_partner._foreign_text import escaped
from eventbridge_partner.cli._output import write_out

_MOST_OF_A_CELL: Final = 500


def write_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write rows in aligned columns."""
    widths = [max(map(len, cells)) for cells in zip(headings, *rows, strict=True)]
    for row in (headings, *rows):
        padded = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        write_out("  ".join(padded).rstrip() + "\n")


def cell(value: object) -> str:
    """Return a value as a table shows it."""
    match value:
        case None:
            return "-"
        case datetime.datetime():
            return value.strftime("%Y-%m-%d %H:%M UTC")
        case tuple():
            return ", ".join(map(cell, value)) or "-"
        case _:
            return escaped(str(value), _MOST_OF_A_CELL)
