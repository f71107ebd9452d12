"""One way to send on every transport, those for event loops included."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from eventbridge_partner._http import HttpRequest, HttpResponse, Timeouts
from eventbridge_partner.transports import (
    Answer,
    AsyncTransport,
    Flights,
    MultiplexingTransport,
    Transport,
)
from eventbridge_partner.transports._default import DefaultTransport
from eventbridge_partner.transports.aiohttp import AiohttpTransport
from eventbridge_partner.transports.curl import CurlTransport
from eventbridge_partner.transports.flights import BlockingFlights, WorkerThreads
from eventbridge_partner.transports.requests import RequestsTransport
from tests.transports.servers import PATIENCE


class Blocking:
    """Sends on a blocking transport."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def __call__(self, request: HttpRequest, timeouts: Timeouts = PATIENCE) -> HttpResponse:
        return self.transport.send(request, timeouts)

    def together(self, *requests: HttpRequest, timeouts: Timeouts = PATIENCE) -> list[Answer]:
        """Keep several requests in flight at once; return the answer to each."""
        transport = self.transport
        workers = WorkerThreads()
        flights: Flights[int] = (
            transport.flights()
            if isinstance(transport, MultiplexingTransport)
            else BlockingFlights(transport, workers, stays_free=True)
        )
        answers: dict[int, Answer] = {}
        for number, request in enumerate(requests):
            flights.submit(number, request, timeouts)
        while len(answers) < len(requests):
            answers |= flights.collect(None)
        flights.close()
        workers.stop()
        return [answers[number] for number in range(len(requests))]

    def pause(self, seconds: float) -> None:
        """Send nothing for a while."""
        time.sleep(seconds)

    def close(self) -> None:
        """Close the transport's connections."""
        self.transport.close()

    def end(self) -> None:
        self.transport.close()


class OnLoop:
    """Sends on a transport for event loops, on a loop in debug mode."""

    def __init__(self, transport: AsyncTransport) -> None:
        self.transport = transport
        self._runner = asyncio.Runner(debug=True)

    def __call__(self, request: HttpRequest, timeouts: Timeouts = PATIENCE) -> HttpResponse:
        return self._runner.run(self.transport.send(request, timeouts))

    def together(self, *requests: HttpRequest, timeouts: Timeouts = PATIENCE) -> list[Answer]:
        """Keep several requests in flight at once; return the answer to each."""

        async def main() -> list[Answer]:
            sent = [self.transport.send(request, timeouts) for request in requests]
            return await asyncio.gather(*sent, return_exceptions=True)  # type: ignore[return-value]

        return self._runner.run(main())

    def pause(self, seconds: float) -> None:
        """Send nothing for a while, with the loop running."""
        self._runner.run(asyncio.sleep(seconds))

    def close(self) -> None:
        """Close the transport's connections."""
        self._runner.run(self.transport.close())

    def end(self) -> None:
        self.close()
        self._runner.close()


Sender = Blocking | OnLoop
Opener = Callable[..., Sender]


def _blocking(make: Any) -> Opener:
    return lambda **settings: Blocking(make(**settings))


def _on_loop(make: Any) -> Opener:
    return lambda **settings: OnLoop(make(**settings))


def without_requests(**settings: Any) -> DefaultTransport:
    """Make the default transport as it is if nothing has imported `requests`."""
    return DefaultTransport(needs_requests=lambda: False, **settings)


OPENERS: dict[str, Opener] = {
    "default": _blocking(without_requests),
    "requests": _blocking(RequestsTransport),
    "curl": _blocking(CurlTransport),
    "aiohttp": _on_loop(AiohttpTransport),
}
