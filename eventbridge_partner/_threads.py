"""Threads that must not wait for events to be sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any


class SendingThread(threading.Thread):
    """
    A thread of this package that must not wait for events: it sends them, or logs about it.

    It is a daemon, so that a hanging request does not delay the end of the process.
    """

    def __init__(self, target: Callable[..., None], name: str, args: Iterable[Any] = ()) -> None:
        super().__init__(target=target, name=name, args=args, daemon=True)


def is_sending() -> bool:
    """Tell whether the current thread must not wait for events."""
    return isinstance(threading.current_thread(), SendingThread)
