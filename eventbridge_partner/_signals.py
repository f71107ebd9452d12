"""
Whether an exception was raised by a signal handler: Ctrl-C, or a worker's time limit.

What a handler raises is meant for the caller's own thread, wherever that was interrupted. It must
not be taken for a failure of what was going on there: a lost connection, or a broken mapping.
"""

from __future__ import annotations

import functools
import signal
from collections.abc import Iterator
from types import CodeType
from typing import Any


def raised_by_handler(error: BaseException) -> BaseException | None:
    """
    Return what a signal handler raised, if that is why an exception was raised.

    Told by a frame of its traceback, or of an exception in its chain of causes and contexts,
    whose code is an installed handler's. Handlers without code (written in C, `SIG_DFL`) cannot
    be told, and neither can exceptions that are injected into a thread.

    Returns:
        The exception of the handler: `error` itself, or the one that it was made of.
    """
    codes = {code for handler in _handlers() if (code := _code_of(handler)) is not None}
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        found = waiting.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        traceback = found.__traceback__
        while traceback is not None:
            if traceback.tb_frame.f_code in codes:
                return found
            traceback = traceback.tb_next
        waiting += (found.__context__, found.__cause__)
    return None


def let_pass(error: BaseException) -> None:
    """Raise what a signal handler raised, if that is why an exception was raised."""
    raised = raised_by_handler(error)
    if raised is not None:
        raise raised


def _handlers() -> Iterator[Any]:
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if callable(handler):
            yield handler


def _code_of(handler: Any) -> CodeType | None:
    while isinstance(handler, functools.partial):
        handler = handler.func
    for function in (handler, type(handler).__call__):
        code = getattr(getattr(function, "__func__", function), "__code__", None)
        if isinstance(code, CodeType):
            return code
    return None
