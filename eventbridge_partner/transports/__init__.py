"""
Transports send requests: the protocols, and one file for each HTTP library.

A transport sends one request and returns its answer. A multiplexing transport also offers
*flights*: one thread submits many requests, and collects their answers as they come.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

from eventbridge_partner._http import HttpRequest, HttpResponse, Timeouts
from eventbridge_partner.errors import TransportError

K = TypeVar("K")
T_co = TypeVar("T_co", covariant=True)

Answer = HttpResponse | TransportError
"""The result of a request: a complete answer, or the error that explains why there is none."""


class Transport(Protocol):
    """Sends one request at a time in each calling thread."""

    def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        """
        Send a request and return its complete answer, whatever its status.

        It must not follow redirects or send anything twice.

        Raises:
            TransportError: There was no answer, or it was cut short.
        """
        ...

    def close(self) -> None:
        """Close all connections. Sending again opens new ones."""
        ...


class Flights(Protocol[K]):
    """The requests in flight of one delivery. For one thread."""

    def submit(self, key: K, request: HttpRequest, timeouts: Timeouts) -> None:
        """Send a request; `collect` will return its answer with this key."""
        ...

    def flush(self) -> None:
        """Send the submitted requests now: the caller may be busy elsewhere for a while."""
        ...

    def collect(self, seconds: float | None) -> list[tuple[K, Answer]]:
        """Return the answers that have come, waiting up to `seconds` for one; None for no limit."""
        ...

    def waker(self) -> Callable[[], None]:
        """
        Return a function that makes `collect` return: the waiting call, or else the next one.

        Any thread may call it, even after `close`.
        """
        ...

    def close(self) -> None:
        """Stop waiting for answers. Requests in flight may still arrive."""
        ...


@runtime_checkable
class MultiplexingTransport(Transport, Protocol):
    """A transport that keeps many requests in flight on one thread."""

    def flights(self) -> Flights[Any]:
        """Open the flights of one delivery."""
        ...


class AsyncTransport(Protocol):
    """Sends any number of requests at a time on an event loop."""

    async def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        """
        Send a request and return its complete answer, whatever its status. See `Transport.send`.

        On cancellation, it closes the connection, which must not serve another request.

        Raises:
            TransportError: There was no answer, or it was cut short.
        """
        ...

    async def close(self) -> None:
        """Close all connections. Sending again opens new ones."""
        ...


class AsyncFlights(Protocol[K]):
    """The requests in flight of one delivery on an event loop. For one task."""

    def submit(self, key: K, request: HttpRequest, timeouts: Timeouts) -> None:
        """Send a request; `collect` will return its answer with this key."""
        ...

    async def collect(self, seconds: float | None) -> list[tuple[K, Answer]]:
        """
        Return the answers that have come, waiting up to `seconds` for one; None for no limit.

        On cancellation, it takes no answer. With 0 seconds, it does not wait at all.
        """
        ...

    def wake(self) -> None:
        """Make `collect` return: the waiting call, or else the next one. Called on the loop."""
        ...

    async def close(self) -> None:
        """End the requests in flight and close their connections. They may have arrived."""
        ...


@runtime_checkable
class MultiplexingAsyncTransport(AsyncTransport, Protocol):
    """A transport for event loops that needs no task for each request in flight."""

    def flights(self) -> AsyncFlights[Any]:
        """Open the flights of one delivery."""
        ...


class TransportFactory(Protocol[T_co]):
    """
    Makes a client's transport when the client is first used, such as the class `CurlTransport`.

    The client closes the transport that was made for it.
    """

    def __call__(self, *, ca_bundle: str | bool, proxies: Mapping[str, str]) -> T_co:
        """
        Make a transport.

        Args:
            ca_bundle: The path of a file of trusted certificates; True for the default ones.
            proxies: Proxy URLs by scheme; they may hold a password.
        """
        ...
