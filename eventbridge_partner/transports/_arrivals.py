"""Hands answers on an event loop from the callbacks that bring them to the waiting task."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from eventbridge_partner.transports import Answer

K = TypeVar("K")


class Arrivals(Generic[K]):
    """Answers that have come and were not yet collected. For one task."""

    def __init__(self) -> None:
        self._arrived: list[tuple[K, Answer]] = []
        self._waiter: asyncio.Future[None] | None = None
        self._is_woken = False

    def add(self, key: K, answer: Answer) -> None:
        """Add an answer that has come."""
        self._arrived.append((key, answer))
        self._end_waiting()

    def wake(self) -> None:
        """Make `collect` return. See `AsyncFlights.wake`."""
        self._is_woken = True
        self._end_waiting()

    def _end_waiting(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def collect(self, seconds: float | None) -> list[tuple[K, Answer]]:
        """Return the answers that have come. See `AsyncFlights.collect`."""
        if not (self._arrived or self._is_woken or seconds == 0):
            await self._wait(seconds)
        self._is_woken = False
        arrived, self._arrived = self._arrived, []
        return arrived

    async def _wait(self, seconds: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        alarm = None if seconds is None else loop.call_later(seconds, self._end_waiting)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if alarm is not None:
                alarm.cancel()
