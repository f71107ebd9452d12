"""Runs blocking functions outside event loops."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, TypeVar, TypeVarTuple, Unpack

from eventbridge_partner.transports.flights import WorkerThreads

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class OffLoop:
    """
    Runs blocking functions on threads, once for all tasks of a loop that wait for the same call.

    Not on the loop's own executor: a loop that ends waits for its executor, so Ctrl-C would wait
    for credentials that nothing needs any more.
    """

    def __init__(self) -> None:
        self._workers = WorkerThreads()
        self._running: dict[Hashable, asyncio.Future[Any]] = {}

    async def run(self, function: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        """
        Return the result of a function, or raise its exception.

        A task that is cancelled leaves it running for the others.
        """
        loop = asyncio.get_running_loop()
        key = (loop, function, args)
        future: asyncio.Future[T] | None = self._running.get(key)
        if future is None:
            future = self._running[key] = loop.create_future()
            call = functools.partial(contextvars.copy_context().run, function, *args)
            self._workers.run(functools.partial(_run, call, loop, future))
            future.add_done_callback(lambda _: self._running.pop(key, None))
        return await asyncio.shield(future)

    def stop(self) -> None:
        """Let the threads end after their current work."""
        self._workers.stop()


def _run(call: Callable[[], T], loop: asyncio.AbstractEventLoop, future: asyncio.Future[T]) -> None:
    settle: Callable[[], None]
    try:
        settle = functools.partial(future.set_result, call())
    except BaseException as error:  # noqa: BLE001  # the waiting tasks raise it
        settle = functools.partial(future.set_exception, error)
    with suppress(RuntimeError):  # the loop may have ended, with all its waiting tasks
        loop.call_soon_threadsafe(settle)
