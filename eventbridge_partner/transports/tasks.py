"""Flights on asynchronous transports without flights of their own: a task for each request."""

from __future__ import annotations

import asyncio
import functools
from typing import Generic, TypeVar

from eventbridge_partner._http import HttpRequest, Timeouts
from eventbridge_partner.errors import TransportError
from eventbridge_partner.transports import Answer, AsyncTransport
from eventbridge_partner.transports._arrivals import Arrivals
from eventbridge_partner.transports._faults import raised

K = TypeVar("K")


class TaskFlights(Generic[K]):
    """Flights with a task for each request. See `eventbridge_partner.transports.AsyncFlights`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self._arrivals: Arrivals[K] = Arrivals()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def submit(self, key: K, request: HttpRequest, timeouts: Timeouts) -> None:
        """Send a request. See `AsyncFlights.submit`."""
        task = asyncio.get_running_loop().create_task(self._send(key, request, timeouts))
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._ended, key))

    def _ended(self, key: K, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() and not self._is_closed:
            # Cancelled as the loop ends, before its first step: otherwise it has an answer.
            error = TransportError("the request was cancelled", may_have_been_sent=False)
            self._arrivals.add(key, error)

    async def collect(self, seconds: float | None) -> list[tuple[K, Answer]]:
        """Return the answers that have come. See `AsyncFlights.collect`."""
        return await self._arrivals.collect(seconds)

    def wake(self) -> None:
        """Make `collect` return. See `AsyncFlights.wake`."""
        self._arrivals.wake()

    async def close(self) -> None:
        """Cancel the requests in flight. See `AsyncFlights.close`."""
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _send(self, key: K, request: HttpRequest, timeouts: Timeouts) -> None:
        answer: Answer
        try:
            answer = await self._transport.send(request, timeouts)
        except TransportError as error:
            answer = error
        except (Exception, asyncio.CancelledError) as error:  # a bug must not lose events
            if self._is_closed:
                raise
            answer = raised(error, may_have_been_sent=True)
        self._arrivals.add(key, answer)
