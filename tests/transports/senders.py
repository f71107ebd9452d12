"""One way to send for all transports, those on event loops among them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from eventbridge_partner._http import HttpRequest, HttpResponse, Timeouts
from eventbridge_partner.transports import AsyncTransport, Transport
from eventbridge_partner.transports._default import DefaultTransport
from eventbridge_partner.transports.aiohttp import AiohttpTransport
from eventbridge_partner.transports.curl import CurlTransport
from eventbridge_partner.transports.requests import RequestsTransport
from tests.transports.servers import PATIENCE


class Blocking:
    """Sends on a transport that blocks."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def __call__(self, request: HttpRequest, timeouts: Timeouts = PATIENCE) -> HttpResponse:
        return self.transport.send(request, timeouts)

    def pause(self, seconds: float) -> None:
        """Send nothing for a while."""
        time.sleep(seconds)

    def close(self) -> None:
        """Close the transport's connections."""
        self.transport.close()

    def end(self) -> None:
        self.transport.close()


class OnLoop:
    """Sends on a transport for event loops, on one that watches for mistakes."""

    def __init__(self, transport: AsyncTransport) -> None:
        self.transport = transport
        self._runner = asyncio.Runner(debug=True)

    def __call__(self, request: HttpRequest, timeouts: Timeouts = PATIENCE) -> HttpResponse:
        return self._runner.run(self.transport.send(request, timeouts))

    def pause(self, seconds: float) -> None:
        """Send nothing for a while, on a loop that runs."""
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
    """Make the default transport as it is where nothing has imported `requests`."""
    return DefaultTransport(needs_requests=lambda: False, **settings)


OPENERS: dict[str, Opener] = {
    "default": _blocking(without_requests),
    "requests": _blocking(RequestsTransport),
    "curl": _blocking(CurlTransport),
    "aiohttp": _on_loop(AiohttpTransport),
}
