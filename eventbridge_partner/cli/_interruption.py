"""Ctrl-C and its like: taken note of at any time, but acted on only where nothing is torn."""

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
    """The user wants the program to end. No `except Exception` stops it on its way."""


class Interruption:
    """
    Turns SIGINT, SIGTERM and SIGHUP into `Interrupted`, in the blocks that allow it.

        with Interruption() as interruption:
            with interruption.allowed:
                ...  # may take long, and can be left anywhere
            ...      # is carried out whole

    The first signal interrupts, or is kept until the next block that allows it. A second one
    changes nothing: the program is ending. A third one ends it on the spot.

    Attributes:
        patience: How many signals it takes to give up what is being finished.
        first: What the first Ctrl-C does instead, if anything: finish what has begun. Then the
            second one interrupts.
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
        """The exit status that tells which signal came first."""
        return SIGNALLED + (self._signals[0] if self._signals else signal.SIGINT)

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self  # signals are the main thread's business
        wanted = [signal.SIGINT, signal.SIGTERM]
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            wanted.append(signal.SIGHUP)  # nohup has it ignored
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

        In slices: a signal that comes just before a wait begins does not end that wait.

        Raises:
            Interrupted: It has come.
        """
        with self.allowed:
            while True:
                time.sleep(_SLICE)

    def allow(self, allowed: bool) -> None:
        """Say whether a signal may interrupt from here on; one that waits does so at once."""
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
