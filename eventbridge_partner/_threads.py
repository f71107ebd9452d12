"""Threads that must not wait for events to be sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")


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


class Task(Generic[T]):
    """
    A look-up that may hang, on a thread of its own. Callers bound how long they wait for it.

    Args:
        work: Looks it up.
        name: The name of the thread.

    Raises:
        RuntimeError: No thread can be started.
    """

    def __init__(self, work: Callable[[], T], name: str) -> None:
        self._work = work
        self._over = threading.Event()
        self._value: T | None = None
        self._error: BaseException | None = None
        SendingThread(self._run, name).start()

    def _run(self) -> None:
        try:
            self._value = self._work()
        except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
            self._error = error
        finally:
            self._over.set()

    @property
    def is_over(self) -> bool:
        """Whether the look-up has ended."""
        return self._over.is_set()

    def result(self, seconds: float) -> T:
        """
        Return the value that was looked up.

        Args:
            seconds: How long to wait for it.

        Raises:
            TimeoutError: It took longer.
            BaseException: The look-up raised it.
        """
        if not self._over.wait(max(0.0, seconds)):
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return cast("T", self._value)
