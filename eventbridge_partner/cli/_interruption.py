"""Ctrl-C and other signals: noted at any time, acted on only where it is safe."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from eventbridge_partner.cli._exits import SIGNALLED

if TYPE_CHECKING:
    from typing import Self

_PATIENCE: Final = 3
_SLICE: Final = 1.0


class Interrupted(BaseException):
    """A signal asks the program to end. `except Exception` does not catch it."""


class Interruption:
    """
    Turns SIGINT, SIGTERM and SIGHUP into `Interrupted`, in the blocks that allow it.

        with Interruption() as interruption:
            with interruption.allowed:
                ...  # may take long, and may be interrupted anywhere
            ...      # is never interrupted

    The first signal interrupts, or waits for the next block that allows it. A second one changes
    nothing: the program is ending. A third one ends it at once.

    Attributes:
        patience: The number of the signal that ends the program at once.
        first: Called at the first Ctrl-C instead of interrupting, to finish what has begun. Then
            the second one interrupts.
    """

    def __init__(self) -> None:
        self.patience: int = _PATIENCE
        self.allowed = _Allowed(self)
        self.first: Callable[[], None] | None = None
        self._is_finishing = False
        self._is_allowed = False
        self._signals: list[int] = []
        self._previous: dict[int, Any] = {}
        self._has_struck = False

    @property
    def status(self) -> int:
        """The exit status for the first signal."""
        return SIGNALLED + (self._signals[0] if self._signals else signal.SIGINT)

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self  # only the main thread can handle signals
        wanted = [signal.SIGINT, signal.SIGTERM]
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            wanted.append(signal.SIGHUP)  # ignored under nohup
        for number in wanted:
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self._signals.append(number)
        if len(self._signals) >= self.patience:
            os._exit(self.status)
        if self.first is not None and number == signal.SIGINT and len(self._signals) == 1:
            self._is_finishing = True
            self.first()
        elif self._is_allowed:
            self._strike()

    def _strike(self) -> None:
        if len(self._signals) > self._is_finishing and not self._has_struck:
            self._has_struck = True
            raise Interrupted

    def wait(self) -> NoReturn:
        """
        Wait for a signal.

        It sleeps in slices, because a signal that comes just before a sleep does not end it.

        Raises:
            Interrupted: A signal came.
        """
        with self.allowed:
            while True:
                time.sleep(_SLICE)

    def allow(self, allowed: bool) -> None:
        """Set whether a signal may interrupt from here on. A waiting one interrupts at once."""
        self._is_allowed = allowed
        if allowed:
            self._strike()


class _Allowed:
    """The block in which a signal interrupts."""

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption

    def __enter__(self) -> None:
        self._interruption.allow(True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._interruption.allow(False)
