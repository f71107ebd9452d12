"""Hands items from any thread to one that waits for them."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """
    Takes letters from any thread, for one thread to collect.

    Not `queue.SimpleQueue`: its `get` with a timeout waits forever if a signal handler runs longer
    than the rest of the timeout (CPython 3.11 and 3.12; seen in 3.11.7 and 3.12.1, not in 3.13.0).
    """

    def __init__(self) -> None:
        self._letters: deque[T] = deque()
        # Released as soon as there is a letter.
        self._bell = threading.Lock()
        self._bell.acquire()

    def put(self, letter: T) -> None:
        """Leave a letter."""
        self._letters.append(letter)
        with suppress(RuntimeError):  # it is released already
            self._bell.release()

    def collect(self, seconds: float | None) -> list[T]:
        """Return all letters; if there are none, wait up to `seconds` for one."""
        patience = -1.0 if seconds is None else min(max(0.0, seconds), threading.TIMEOUT_MAX)
        # It may have been released for letters that are collected already.
        while not self._letters and self._bell.acquire(timeout=patience):
            pass
        letters: list[T] = []
        with suppress(IndexError):
            while True:
                letters.append(self._letters.popleft())
        return letters
