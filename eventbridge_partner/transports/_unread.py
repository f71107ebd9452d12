"""Finds unread input on idle connections."""

from __future__ import annotations

import functools
import select
from collections.abc import Callable, Sequence


def with_input(sockets: Sequence[int]) -> list[int]:
    """Return those sockets that have unread input or are closed at either end."""
    if hasattr(select, "poll"):
        poll = select.poll()
        for number in sockets:
            poll.register(number, select.POLLIN)
        return [number for number, _ in poll.poll(0)]
    return [number for number in sockets if _is_readable(number)]


def input_check(number: int) -> Callable[[], object]:
    """Return a function whose result is true if a socket has unread input, or is closed."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(number, select.POLLIN)
        return functools.partial(poll.poll, 0)
    return functools.partial(_is_readable, number)


def _is_readable(number: int) -> bool:
    """Tell whether a socket is readable on Windows, where its number may be too large to poll."""
    try:
        return bool(select.select([number], [], [], 0)[0])
    except (OSError, ValueError):
        return True
