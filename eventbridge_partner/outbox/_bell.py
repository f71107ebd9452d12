"""What wakes those who wait for rows."""

from __future__ import annotations

import queue


class Bell:
    """
    Wakes everyone who waits, and nobody who has been told already.

    `ring` may be called in a signal handler: it takes no lock.
    """

    def __init__(self) -> None:
        self.rings: int = 0
        self._waiting: set[queue.SimpleQueue[None]] = set()

    def ring(self) -> None:
        """Wake everyone who waits."""
        self.rings += 1
        for waiting in tuple(self._waiting):
            waiting.put(None)

    def wait(self, seconds: float, since: int) -> None:
        """
        Wait until it rings.

        Args:
            seconds: How long at most.
            since: How often it had rung when there was last reason not to wait.
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
