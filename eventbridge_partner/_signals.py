"""
Tells whether a signal handler raised an exception: Ctrl-C, or a worker's time limit.

A handler's exception is meant for the caller's thread, wherever that was interrupted. It must not
be mistaken for a failure of the interrupted code, such as a lost connection or a broken mapping.
"""

from __future__ import annotations

import functools
import signal
from collections.abc import Iterator
from types import CodeType
from typing import Any


def raised_by_handler(error: BaseException) -> BaseException | None:
    """
    Return the signal handler's exception that an exception is or comes from, if there is one.

    It is recognized by a traceback frame that runs the code of an installed handler, also along
    the chain of causes and contexts. Handlers without Python code (written in C, `SIG_DFL`) and
    exceptions injected into a thread cannot be recognized.

    Returns:
        The handler's exception: `error` itself, or one in its chain; None if there is none.
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
    """Raise the signal handler's exception that an exception is or comes from, if there is one."""
    raised = raised_by_handler(error)
    if raised is not None:
        raise raised


def _handlers() -> Iterator[Any]:
    for number in _numbers():
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


@functools.cache  # Python makes a set of some sixty enumeration members at each call
def _numbers() -> frozenset[int]:
    return frozenset(signal.valid_signals())
