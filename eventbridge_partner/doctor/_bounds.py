"""Looking things up that may hang, such as a host name or a database, for a bounded time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from eventbridge_partner._clock import monotonic

T = TypeVar("T")


class Task(Generic[T]):
    """
    Something that is looked up on a thread of its own, from now on.

    The thread is a daemon: nobody waits for it when the process ends.

    Args:
        work: What looks it up.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._done: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()
        self._work = work
        threading.Thread(target=self._run, name="eventbridge-partner-doctor", daemon=True).start()

    def _run(self) -> None:
        try:
            self._done.put((self._work(), None))
        except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
            self._done.put((None, error))

    def result(self, until: float) -> T:
        """
        Return what was found, by that time of the monotonic clock.

        Raises:
            TimeoutError: It took longer.
            BaseException: What the work raised.
        """
        try:
            found, error = self._done.get(timeout=max(0.0, until - monotonic()))
        except queue.Empty:
            raise TimeoutError from None
        if error is not None:
            raise error
        return found  # type: ignore[return-value]  # pyright: ignore[reportReturnType]
