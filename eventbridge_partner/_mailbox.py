"""Where threads leave what another one waits for."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """
    Takes letters from any thread, for one to collect.

    Not `queue.SimpleQueue`: its `get` with a timeout waits for ever where a signal's handler takes
    longer than is left of that (CPython 3.11 and 3.12; seen in 3.11.7 and 3.12.1, not in 3.13.0).
    """

    def __init__(self) -> None:
        self._letters: deque[T] = deque()
        # Released as soon as there is something to look for.
        self._bell = threading.Lock()
        self._bell.acquire()

    def put(self, letter: T) -> None:
        """Leave a letter."""
        self._letters.append(letter)
        with suppress(RuntimeError):  # it has been rung
            self._bell.release()

    def collect(self, seconds: float | None) -> list[T]:
        """Return all letters; wait so many seconds for one if there is none."""
        patience = -1.0 if seconds is None else min(max(0.0, seconds), threading.TIMEOUT_MAX)
        # It may have been rung for letters that were collected before.
        while not self._letters and self._bell.acquire(timeout=patience):
            pass
        letters: list[T] = []
        with suppress(IndexError):
            while True:
                letters.append(self._letters.popleft())
        return letters
