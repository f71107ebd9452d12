"""
The log of this package, written so that a log handler may publish its lines as events.

Such a handler may wait for room in the buffer while it holds the handler's lock, and only sending
threads make room. So lines logged by a sending thread are written on another thread, or both would
wait forever. While a handler writes a line, its thread logs nothing else, or there would be no end
to it.
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
    The fields of a line about a request or events, as `extra=` of its record.

    Each record has all of them; a field that does not apply is None.
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
"""How many seconds a sending thread waits for its line, so that lines stay in order."""

_IDLE_SECONDS: Final = 5.0

_Line = tuple[Callable[[], None], threading.Event]


class _Here(threading.local):
    """Whether the current thread is writing a line."""

    is_writing = False


class _Writer:
    """Writes lines on its own thread, which starts with the first line and ends when idle."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Start over: in a child process there is no thread, and nobody holds the lock."""
        self._lock = threading.RLock()
        self._lines: queue.SimpleQueue[_Line] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._last: threading.Event | None = None

    def write(self, write: Callable[[], None]) -> bool:
        """Queue a line; return False if no thread can be started any more."""
        written = threading.Event()
        with self._lock:
            if self._thread is None:
                thread = SendingThread(self._run, "eventbridge-partner-log")
                self._thread = thread  # set first: a signal handler may log meanwhile
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
            with suppress(BaseException):  # raised by a log handler, which may be `sys.exit`
                write()
            written.set()
            del write  # an idle thread holds on to nothing


_here: Final = _Here()
_writer: Final = _Writer()


def log(level: int, text: str, *args: object, **fields: Unpack[Fields]) -> None:
    """
    Log a line: on the current thread, unless it is a sending thread.

    An exception of a log handler is suppressed; one of a signal handler passes through.
    """
    if _here.is_writing or not _logger.isEnabledFor(level):
        return
    write = functools.partial(_write, level, text, args, fields)
    if is_sending() and _writer.write(write):
        return
    try:
        write()
    except Exception as error:  # noqa: BLE001  # raised by a log handler
        let_pass(error)


def is_wanted(level: int) -> bool:
    """Tell whether lines of this level are logged."""
    return _logger.isEnabledFor(level)


def _write(level: int, text: str, args: tuple[object, ...], fields: Fields) -> None:
    _here.is_writing = True
    try:
        _logger.log(level, text, *args, extra={**_NO_FIELDS, **fields})
    finally:
        _here.is_writing = False


def begin_anew() -> None:
    """Start over in a child process: the thread that wrote lines was the parent's."""
    _writer.begin()
    _here.is_writing = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=begin_anew)
