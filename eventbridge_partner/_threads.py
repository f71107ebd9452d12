"""Threads on which nothing may wait for events."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any


class SendingThread(threading.Thread):
    """
    A thread of this package on which nothing may wait for events: it sends them, or logs of that.

    A daemon: the end of the process waits for no request that hangs.
    """

    def __init__(self, target: Callable[..., None], name: str, args: Iterable[Any] = ()) -> None:
        super().__init__(target=target, name=name, args=args, daemon=True)


def is_sending() -> bool:
    """Tell whether this thread is one on which nothing may wait for events."""
    return isinstance(threading.current_thread(), SendingThread)
