"""Looks at connections that nobody reads from."""

from __future__ import annotations

import select
from collections.abc import Sequence


def with_input(sockets: Sequence[int]) -> list[int]:
    """Return which of some sockets have something to be read, or are closed at either end."""
    if hasattr(select, "poll"):
        poll = select.poll()
        for number in sockets:
            poll.register(number, select.POLLIN)
        return [number for number, _ in poll.poll(0)]
    return [number for number in sockets if _is_readable(number)]


def _is_readable(number: int) -> bool:
    """Ask on Windows, where the number of a socket may be any."""
    try:
        return bool(select.select([number], [], [], 0)[0])
    except (OSError, ValueError):
        return True
