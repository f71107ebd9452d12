"""Which dead letters somebody means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def check_selector(ids: Sequence[int], source: str | None, code: str | None) -> None:
    """
    Refuse to choose everything by leaving everything out.

    Raises:
        TypeError: Nothing is chosen.
    """
    if not ids and source is None and code is None:
        raise TypeError("redrive() needs ids, source or code: it puts back what they choose")


def selector(
    placeholder: str,
    *,
    ids: Sequence[int] = (),
    source: str | None = None,
    code: str | None = None,
    before: int | None = None,
) -> tuple[str, list[Any]]:
    """
    Return the condition that chooses dead letters, and its parameters.

    Args:
        placeholder: Of a parameter.
        ids: Their ids; none for any.
        source: Of this source.
        code: With this code.
        before: With smaller ids.
    """
    chosen = {"source =": source, "code =": code, "id <": before}
    given = {name: value for name, value in chosen.items() if value is not None}
    conditions = [f"{name} {placeholder}" for name in given]
    if ids:
        conditions.append(f"id IN ({', '.join(str(int(one)) for one in ids)})")
    return " AND ".join(conditions) or "1 = 1", list(given.values())
