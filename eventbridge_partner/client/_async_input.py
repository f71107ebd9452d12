"""Reads events from an asynchronous iterable into a delivery."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from eventbridge_partner.delivery.machine import Delivery
from eventbridge_partner.models import GivenEvent


class Intake:
    """
    Takes events for a delivery in the background, in one task for each call.

    Attributes:
        pauses: Whether events were asked for and have not all come.
        error: The exception that the iterable raised; None if it raised none.
        was_cancelled: Whether the iterable ended with `CancelledError`.
    """

    def __init__(
        self, events: AsyncIterator[GivenEvent], delivery: Delivery, wake: Callable[[], None]
    ) -> None:
        self.pauses = False
        self.error: Exception | None = None
        self.was_cancelled = False
        self._events = events
        self._delivery = delivery
        self._wake = wake
        self._count = 0
        self._more: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def want(self, count: int) -> None:
        """Ask for `count` events; `wake` is called when they are taken, or there are no more."""
        self.pauses = True
        self._count = count
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        elif self._more is not None:
            self._more.set_result(None)

    async def close(self) -> None:
        """Stop reading, and wait until the iterable has cleaned up."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while await self._delivery.take_from(self._events, self._count) == self._count:
                self.pauses = False
                self._more = loop.create_future()
                self._wake()
                await self._more
        except Exception as error:  # noqa: BLE001  # the caller's iterable can raise anything
            self.error = error
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        finally:
            self.pauses = False
            self._delivery.no_more_events()
            self._wake()
