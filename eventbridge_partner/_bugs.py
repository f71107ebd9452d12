"""Exceptions of the caller's functions that change no outcome: logged once a minute."""

from __future__ import annotations

import logging
from collections import deque
from types import TracebackType
from typing import Final

from eventbridge_partner._clock import monotonic
from eventbridge_partner._logs import log

_EVERY_SECONDS: Final = 60.0
_MAX_FRAMES: Final = 8
_MAX_KINDS: Final = 100

_logged_at: Final[dict[tuple[str, str], float]] = {}


def log_bug(what: str, error: BaseException) -> None:
    """
    Log an exception that a function of the caller's raised, once a minute for each kind.

    The log shows its type and frames, never its text, which may hold a payload.

    Args:
        what: The function, as the docs call it.
        error: The exception.
    """
    _write(what, type(error).__qualname__, _frames(error.__traceback__))


class Bugs:
    """Keeps exceptions while a lock is held, to log them once it is released."""

    def __init__(self) -> None:
        self._noted: deque[tuple[str, str, str]] = deque(maxlen=_MAX_KINDS)

    def note(self, what: str, error: BaseException) -> None:
        """Keep an exception that a function of the caller's raised; see `log_bug`."""
        self._noted.append((what, type(error).__qualname__, _frames(error.__traceback__)))

    def log(self) -> None:
        """Log the kept exceptions."""
        while self._noted:
            _write(*self._noted.popleft())


def forget() -> None:
    """Forget what was logged."""
    _logged_at.clear()


def _write(what: str, kind: str, frames: str) -> None:
    now = monotonic()
    last = _logged_at.get((what, kind))
    if last is not None and now - last < _EVERY_SECONDS:
        return
    if len(_logged_at) >= _MAX_KINDS:
        _logged_at.clear()
    _logged_at[what, kind] = now
    log(logging.ERROR, "%s raised %s, which changes no outcome; at %s", what, kind, frames)


def _frames(traceback: TracebackType | None) -> str:
    found: deque[str] = deque(maxlen=_MAX_FRAMES)
    while traceback is not None:
        code = traceback.tb_frame.f_code
        found.append(f"{code.co_filename}:{traceback.tb_lineno} in {code.co_name}")
        traceback = traceback.tb_next
    return ", ".join(found)
