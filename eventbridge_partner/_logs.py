"""
The log of this package, which a log handler may turn into events.

Such a handler publishes, and may wait for room while it holds the lock that logging gives to each
handler. Only threads that send make room. So a line that one of them logs is written on another
thread. And what a handler does with a line is not logged in turn, on its thread: there would be no
end to it.
"""

from __future__ import annotations

import functools
import logging
import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypedDict, Unpack

from eventbridge_partner._signals import let_pass
from eventbridge_partner._threads import SendingThread, is_sending

_logger: Final = logging.getLogger("eventbridge_partner")


class Fields(TypedDict, total=False):
    """
    What a line says of a request or of events, as `extra=` of its record.

    Each record has all of them, None where a line says nothing of that.
    """

    request_id: str | None
    delivery: int | None
    entries: int | None
    error_code: str | None


_NO_FIELDS: Final[Fields] = {
    "request_id": None,
    "delivery": None,
    "entries": None,
    "error_code": None,
}

_PATIENCE: Final = 0.1
"""So many seconds who sends waits for its line, so that it stands before what follows from it."""

_IDLE_SECONDS: Final = 5.0

_Line = tuple[Callable[[], None], threading.Event]


class _Here(threading.local):
    """Whether this thread is writing a line."""

    is_writing = False


class _Writer:
    """Writes lines on a thread of its own, which starts with the first and ends when idle."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Have written nothing: in a child process there is no thread, and nobody in the lock."""
        self._lock = threading.RLock()
        self._lines: queue.SimpleQueue[_Line] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._last: threading.Event | None = None

    def write(self, write: Callable[[], None]) -> bool:
        """Write soon, or tell that no thread can be started any more."""
        written = threading.Event()
        with self._lock:
            if self._thread is None:
                thread = SendingThread(self._run, "eventbridge-partner-log")
                self._thread = thread  # first, for a signal's handler may come here meanwhile
                try:
                    thread.start()
                except RuntimeError:
                    self._thread = None
                    return False
            self._lines.put((write, written))
            is_stuck = self._last is not None and not self._last.is_set()
            self._last = written
        if not is_stuck:
            written.wait(_PATIENCE)
        return True

    def _run(self) -> None:
        while True:
            try:
                write, written = self._lines.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    if self._lines.empty():
                        self._thread = None
                        return
                continue
            with suppress(Exception):  # a handler's
                write()
            written.set()
            del write  # an idle thread holds on to nothing


_here: Final = _Here()
_writer: Final = _Writer()


def log(level: int, text: str, *args: object, **fields: Unpack[Fields]) -> None:
    """
    Log a line: on this thread, unless it is one that sends.

    What a log handler raises changes nothing; what the handler of a signal raises passes through.
    """
    if _here.is_writing or not _logger.isEnabledFor(level):
        return
    write = functools.partial(_write, level, text, args, fields)
    if is_sending() and _writer.write(write):
        return
    try:
        write()
    except Exception as error:  # noqa: BLE001  # a log handler's
        let_pass(error)


def is_wanted(level: int) -> bool:
    """Tell whether anybody wants lines of this level."""
    return _logger.isEnabledFor(level)


def _write(level: int, text: str, args: tuple[object, ...], fields: Fields) -> None:
    _here.is_writing = True
    try:
        _logger.log(level, text, *args, extra={**_NO_FIELDS, **fields})
    finally:
        _here.is_writing = False


def _forget_parent() -> None:
    _writer.begin()
    _here.is_writing = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
