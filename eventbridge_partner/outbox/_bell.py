"""Wakes threads that wait for rows."""

from __future__ import annotations

import queue


class Bell:
    """
    Wakes waiting threads, including one that begins to wait after a ring that it has not seen.

    `ring` may be called in a signal handler: it takes no lock.
    """

    def __init__(self) -> None:
        self.rings: int = 0
        self._waiting: set[queue.SimpleQueue[None]] = set()

    def ring(self) -> None:
        """Wake all waiting threads."""
        self.rings += 1
        for waiting in tuple(self._waiting):
            waiting.put(None)

    def wait(self, seconds: float, since: int) -> None:
        """
        Wait until it rings.

        Args:
            seconds: The longest wait.
            since: The number of rings that the caller has seen.
        """
        mine: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._waiting.add(mine)
        try:
            if self.rings == since:
                mine.get(timeout=seconds)
        except queue.Empty:
            pass
        finally:
            self._waiting.discard(mine)
