"""
What sends requests: a few protocols, and a file for each HTTP library that can do it.

A transport sends one request and returns its answer. One that multiplexes offers *flights*
besides: requests that are submitted, and collected when they are answered, many at a time on one
thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

from eventbridge_partner._http import HttpRequest, HttpResponse, Timeouts
from eventbridge_partner.errors import TransportError

K = TypeVar("K")
T_co = TypeVar("T_co", covariant=True)

Answer = HttpResponse | TransportError
"""What became of a request: an answer that arrived whole, or why there is none."""


class Transport(Protocol):
    """Sends one request at a time from each thread that calls it."""

    def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        """
        Send a request and return its whole answer, whatever its status.

        Redirects are not followed, and nothing is sent twice.

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
        """Send a request; `collect` will return its answer under this key."""
        ...

    def flush(self) -> None:
        """Send now what was submitted: the caller may be away for a while."""
        ...

    def collect(self, seconds: float | None) -> list[tuple[K, Answer]]:
        """Return what has been answered, waiting up to `seconds` (None: without end) for one."""
        ...

    def waker(self) -> Callable[[], None]:
        """
        Return what lets `collect` return, the one that waits or the next one.

        It may be called from any thread, also after `close`.
        """
        ...

    def close(self) -> None:
        """Wait for no answer any more. What is in flight may arrive all the same."""
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
        Send a request and return its whole answer, whatever its status. See `Transport.send`.

        If it is cancelled, its connection is closed and serves no other request.

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
        """Send a request; `collect` will return its answer under this key."""
        ...

    async def collect(self, seconds: float | None) -> list[tuple[K, Answer]]:
        """
        Return what has been answered, waiting up to `seconds` (None: without end) for one.

        If it is cancelled, it has taken nothing; with 0 seconds it does not wait at all.
        """
        ...

    def wake(self) -> None:
        """Let `collect` return: the one that waits, or the next one. Called on the loop."""
        ...

    async def close(self) -> None:
        """End what is in flight, and its connections. It may have arrived all the same."""
        ...


@runtime_checkable
class MultiplexingAsyncTransport(AsyncTransport, Protocol):
    """A transport for event loops that needs no task for each request in flight."""

    def flights(self) -> AsyncFlights[Any]:
        """Open the flights of one delivery."""
        ...


class TransportFactory(Protocol[T_co]):
    """
    Makes a client's transport when the client is first used: such as the class `CurlTransport`.

    The client closes what was made for it.
    """

    def __call__(self, *, ca_bundle: str | bool, proxies: Mapping[str, str]) -> T_co:
        """
        Make a transport.

        Args:
            ca_bundle: The path of a file of trusted certificates; True for the usual ones.
            proxies: Proxy URLs by scheme; they may hold a password.
        """
        ...
