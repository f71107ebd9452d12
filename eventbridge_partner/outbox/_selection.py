"""Selects dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def check_selector(ids: Sequence[int], source: str | None, code: str | None) -> None:
    """
    Refuse a call that selects nothing, rather than take all dead letters.

    Raises:
        TypeError: Neither ids nor source nor code is given.
    """
    if not ids and source is None and code is None:
        raise TypeError(
            "redrive() needs ids, source or code, which select the dead letters to put back"
        )


def selector(
    placeholder: str,
    *,
    ids: Sequence[int] = (),
    source: str | None = None,
    code: str | None = None,
    before: int | None = None,
) -> tuple[str, list[Any]]:
    """
    Return the SQL condition that selects dead letters, and its parameters.

    Args:
        placeholder: Stands for a parameter.
        ids: Their ids; none for any.
        source: Only those of this source.
        code: Only those with this code.
        before: Only those with smaller ids.
    """
    chosen = {"source =": source, "code =": code, "id <": before}
    given = {name: value for name, value in chosen.items() if value is not None}
    conditions = [f"{name} {placeholder}" for name in given]
    if ids:
        conditions.append(f"id IN ({', '.join(str(int(one)) for one in ids)})")
    return " AND ".join(conditions) or "1 = 1", list(given.values())
