"""
The transport of the asynchronous client: connections of `aiohttp`, and little else of it.

aiohttp looks up names, connects, verifies certificates and tunnels through proxies. What its
sessions add to each request (cookies, redirects, retries, a task that writes, timers, streams) is
three quarters of what a small request costs, and they do not tell whether any of it was sent. So
requests are written here, in one piece, and answers are read here, without a task or a future for
each.

Needs the extra `async`: `pip install 'eventbridge-partner[async]'`.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import math
import os
import select
import ssl
import weakref
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import attrs

from eventbridge_partner._foreign_text import quoted
from eventbridge_partner._http import HttpRequest, HttpResponse, Timeouts
from eventbridge_partner.errors import ConfigurationError, TlsError, TransportError
from eventbridge_partner.transports import Answer
from eventbridge_partner.transports._arrivals import Arrivals
from eventbridge_partner.transports._reading import AnswerReader, GarbledAnswerError

try:
    import aiohttp
    from yarl import URL
except ImportError as _error:
    raise ConfigurationError(
        "this transport needs aiohttp; install it with: pip install 'eventbridge-partner[async]'"
    ) from _error

K = TypeVar("K")


class AiohttpTransport:
    """
    Sends requests over connections that aiohttp opens, any number at a time on an event loop.

    Each event loop has connections of its own, which end with the loop at the latest. After a
    fork, parent and child go on with connections of their own.

    Args:
        ca_bundle: The path of a file or directory of trusted certificates; True for those of
            `certifi`.
        proxies: Proxy URLs by scheme, as `requests` takes them.
        max_connections: Idle connections kept open.
    """

    def __init__(
        self,
        *,
        ca_bundle: str | bool = True,
        proxies: Mapping[str, str] | None = None,
        max_connections: int = 64,
    ) -> None:
        self._settings = _Settings(_tls_context(ca_bundle), dict(proxies or {}), max_connections)
        self._pools: dict[asyncio.AbstractEventLoop, _Pool] = {}
        _transports.add(self)

    async def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        """Send a request and return its whole answer. See `AsyncTransport.send`."""
        flights = self.flights()
        try:
            flights.submit(None, request, timeouts)
            [(_, answer)] = await flights.collect(None)
        finally:
            await flights.close()
        if isinstance(answer, TransportError):
            raise answer
        return answer

    def flights(self) -> AiohttpFlights[Any]:
        """Open the flights of one delivery on the running loop."""
        return AiohttpFlights(self._open_pool)

    def _open_pool(self) -> _Pool:
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            open_pools = [one for one in self._pools.items() if not one[0].is_closed()]
            self._pools = dict(open_pools)
            pool = self._pools[loop] = _Pool(loop, self._settings)
        return pool

    async def close(self) -> None:
        """
        Close the running loop's idle connections, and the others as soon as they are idle.

        Sending again opens new ones.
        """
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.close()

    def _leave_connections_to_parent(self) -> None:
        # Not even to be collected: closing one would say so to whoever looks at warnings.
        _of_the_parent.append(self._pools)
        self._pools = {}


_transports: Final[weakref.WeakSet[AiohttpTransport]] = weakref.WeakSet()
_of_the_parent: Final[list[Any]] = []


def _leave_connections_to_parent() -> None:
    for transport in _transports:
        transport._leave_connections_to_parent()  # pyright: ignore[reportPrivateUsage]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_connections_to_parent)


@attrs.frozen
class _Settings:
    """What all connections of a transport have in common."""

    tls: ssl.SSLContext
    proxies: Mapping[str, str] = attrs.field(repr=False)
    max_idle: int

    def proxy(self, url: str) -> URL | None:
        """Return the proxy for a URL, if there is one."""
        found = self.proxies.get(url.partition(":")[0]) or self.proxies.get("all")
        if not found:
            return None
        proxy = URL(found if "://" in found else f"http://{found}")
        if proxy.scheme not in ("http", "https"):
            raise ConfigurationError(
                f"a proxy has the scheme {quoted(proxy.scheme)}; allowed on this transport: http, "
                "https"
            )
        return proxy


def _tls_context(ca_bundle: str | bool) -> ssl.SSLContext:
    if ca_bundle is True:
        import certifi

        ca_bundle = certifi.where()
    elif not isinstance(ca_bundle, str):
        raise ConfigurationError(
            "ca_bundle is False; allowed: a path of trusted certificates, or True"
        )
    try:
        if Path(ca_bundle).is_dir():
            return ssl.create_default_context(capath=ca_bundle)
        return ssl.create_default_context(cafile=ca_bundle)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(
            f"ca_bundle is {quoted(ca_bundle, 500)}, which cannot be read as certificates"
        ) from error


class _Target:
    """Where requests go: what is the same for all of them."""

    def __init__(self, url: str, settings: _Settings) -> None:
        self.url = URL(url, encoded=True)
        self.proxy = settings.proxy(url)
        self.proxy_headers: dict[str, str] = {}
        self.idle: list[_Connection] = []
        lines = [f"Host: {url.partition('://')[2].partition('/')[0]}"]
        path = self.url.raw_path_qs
        if self.proxy is not None:
            if self.proxy.user is not None or self.proxy.password is not None:
                login = f"{self.proxy.user or ''}:{self.proxy.password or ''}".encode("latin-1")
                word = f"Basic {base64.b64encode(login).decode()}"
                self.proxy_headers["Proxy-Authorization"] = word
                self.proxy = self.proxy.with_user(None)
            if self.url.scheme == "http":  # for https there is a tunnel
                path = url
                lines += [f"{name}: {value}" for name, value in self.proxy_headers.items()]
        self.head = "\r\n".join([f"POST {path} HTTP/1.1", *lines, ""])

    def connecting(self, pool: _Pool) -> aiohttp.ClientRequest:
        """Return a request of aiohttp's, which is what its connections are opened for."""
        return aiohttp.ClientRequest(
            "POST",
            self.url,
            loop=pool.loop,
            proxy=self.proxy,
            proxy_headers=self.proxy_headers or None,
        )


_NO_BOUNDS: Final = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None)

_IDLE_SECONDS: Final = 0.005
"""From when on an idle connection is asked whether it was closed: the loop may not know yet."""


class _Pool:
    """The connections of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, settings: _Settings) -> None:
        self.loop = loop
        self._settings = settings
        # It opens connections, and hands them over: it has none to close.
        self._connector = aiohttp.TCPConnector(
            limit=0, ssl=settings.tls, resolver=aiohttp.ThreadedResolver()
        )
        self._targets: dict[str, _Target] = {}
        self._open: set[_Connection] = set()
        self._is_retired = False
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = math.inf
        self._end = self._close_at_the_end()
        with suppress(StopIteration):
            self._end.asend(None).send(None)  # runs to where it waits

    async def _close_at_the_end(self) -> AsyncGenerator[None, None]:
        """
        Close all connections when the loop ends.

        A loop that ends closes the asynchronous generators that were started on it. It gives no
        other sign while connections can still be closed.
        """
        try:
            yield
        finally:
            if not self._is_retired:
                self._is_retired = True
                await _abort(self._open)

    async def close(self) -> None:
        """Close what is idle, and let the rest be closed as soon as it is."""
        self._is_retired = True
        await _abort([connection for connection in self._open if not connection.is_busy])
        await self._end.aclose()

    def target(self, url: str) -> _Target:
        """Return what is known of a URL."""
        target = self._targets.get(url)
        if target is None:
            target = self._targets[url] = _Target(url, self._settings)
        return target

    # ------------------------------------------------------------ connections

    async def connect(self, target: _Target, seconds: float) -> _Connection:
        """
        Open a connection.

        Raises:
            TransportError: There is none. Nothing was sent.
        """
        try:
            async with asyncio.timeout(seconds):
                opened = await self._connector.connect(target.connecting(self), [], _NO_BOUNDS)
        except TimeoutError as error:
            message = "no connection to the endpoint in time"
            raise TransportError(message, may_have_been_sent=False) from error
        except (aiohttp.ClientError, OSError) as error:
            raise _no_connection(error) from error
        transport, handler = opened.transport, opened.protocol
        if transport is None or handler is None:
            opened.close()
            message = "no connection to the endpoint (it was closed)"
            raise TransportError(message, may_have_been_sent=False)
        connection = _Connection(self, target, transport)
        transport.set_protocol(connection)
        # For aiohttp it is gone, and so not aiohttp's to close.
        handler.connection_lost(None)
        opened.close()
        self._open.add(connection)
        return connection

    def idle(self, target: _Target, now: float) -> _Connection | None:
        """Take an idle connection that is still there."""
        idle = target.idle
        while idle:
            connection = idle.pop()
            if connection.is_alive(now):
                return connection
            connection.abort()
        return None

    def take_back(self, connection: _Connection) -> None:
        """Keep a connection for the next request, if there is room."""
        idle = connection.target.idle
        if self._is_retired or len(idle) >= self._settings.max_idle:
            connection.abort()
        else:
            idle.append(connection)

    def forget(self, connection: _Connection) -> None:
        """Take that a connection is closed."""
        self._open.discard(connection)
        if connection in connection.target.idle:
            connection.target.idle.remove(connection)

    # ------------------------------------------------------------ timeouts

    def watch(self, expires_at: float) -> None:
        """
        Look at that time what has taken too long.

        One timer for all requests: few of them ever need one.
        """
        if expires_at < self._alarm_at:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm_at = expires_at
            self._alarm = self.loop.call_at(expires_at, self._expire)

    def _expire(self) -> None:
        self._alarm, self._alarm_at = None, math.inf
        now = self.loop.time()
        for connection in tuple(self._open):
            if connection.is_busy:
                connection.expire(now)
        self.watch(min([one.expires_at for one in self._open if one.is_busy], default=math.inf))


async def _abort(connections: Iterable[_Connection]) -> None:
    """Close connections, and wait until they are."""
    closing = [connection.lost for connection in connections]
    for connection in tuple(connections):
        connection.abort()
    if closing:
        await asyncio.wait(closing)


def _no_connection(error: Exception) -> TransportError:
    cause: BaseException = error
    while cause.__cause__ is not None:  # aiohttp's errors of TLS look like Python's, but are not
        cause = cause.__cause__
    if isinstance(cause, ssl.SSLError):
        words = getattr(cause, "verify_message", "") or cause.reason or "TLS"
        return TlsError(f"the endpoint could not be trusted ({words})")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        words = f"the proxy answered {error.status}"
    else:
        words = _words(cause)
    message = f"no connection to the endpoint ({words})"
    return TransportError(message, may_have_been_sent=False)


def _words(error: BaseException | None) -> str:
    """Describe an error without what libraries add: addresses, the proxy."""
    if error is None:
        return "the connection was closed"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return type(error).__name__


class _Connection(asyncio.Protocol):
    """One connection: carries one request at a time, and reads its answer."""

    def __init__(self, pool: _Pool, target: _Target, transport: asyncio.Transport) -> None:
        self.target = target
        self.expires_at = math.inf
        self.lost: asyncio.Future[None] = pool.loop.create_future()
        self._pool = pool
        self._transport = transport
        self._idle_since = math.inf
        self._flights: AiohttpFlights[Any] | None = None
        self._key: Any = None
        self._reader = AnswerReader()

    @property
    def is_busy(self) -> bool:
        """Whether an answer is awaited."""
        return self._flights is not None

    def post(self, flights: AiohttpFlights[Any], key: Any, request: bytes, seconds: float) -> None:
        """Send a request; its flights are told what became of it."""
        flights.busy.add(self)
        self._flights, self._key = flights, key
        self._reader = AnswerReader()
        self.expires_at = expires_at = self._pool.loop.time() + seconds
        self._pool.watch(expires_at)
        self._transport.write(request)

    def is_alive(self, now: float) -> bool:
        """Tell whether an idle connection was not closed by its other end."""
        if self._transport.is_closing():
            return False
        return now - self._idle_since < _IDLE_SECONDS or not _has_input(self._transport)

    def abort(self) -> None:
        """Close it at once, whatever it is doing."""
        if self._flights is not None:
            self._flights.busy.discard(self)
            self._flights = self._key = None
        self._transport.abort()

    def expire(self, now: float) -> None:
        """Give up on an answer if it has taken too long."""
        if self.expires_at <= now:
            self._fail("no answer in time")

    # ------------------------------------------------------------ what the event loop calls

    def data_received(self, data: bytes) -> None:
        if self._flights is None:
            self.abort()  # nobody asked for this
            return
        try:
            answer = self._reader.feed(data)
        except GarbledAnswerError as error:
            self._fail(f"the answer was lost ({error})")
        else:
            if answer is not None:
                self._finish(answer, keep=not self._reader.ends_connection)

    def eof_received(self) -> None:
        if self._flights is None:
            self.abort()
            return
        try:
            self._finish(self._reader.end(), keep=False)
        except GarbledAnswerError as error:
            self._fail(f"the answer was lost ({error})")

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the answer was lost ({_words(exc)})")
        self._pool.forget(self)
        if not self.lost.done():
            self.lost.set_result(None)

    # ------------------------------------------------------------ the end of a request

    def _fail(self, message: str) -> None:
        if self._flights is not None:
            self._finish(TransportError(message, may_have_been_sent=True), keep=False)

    def _finish(self, answer: Answer, *, keep: bool) -> None:
        flights, key = self._flights, self._key
        if flights is None:
            return
        self._flights = self._key = None
        flights.busy.discard(self)
        if keep:
            self._idle_since = self._pool.loop.time()
            self._pool.take_back(self)
        else:
            self._transport.abort()
        flights.arrivals.add(key, answer)


def _has_input(transport: asyncio.Transport) -> bool:
    """Tell whether something waits to be read: of an idle connection, that it was closed."""
    number = transport.get_extra_info("socket").fileno()
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(number, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([number], [], [], 0)[0])  # on Windows, where it has no small limit


class AiohttpFlights(Generic[K]):
    """
    Flights on connections of aiohttp. See `eventbridge_partner.transports.AsyncFlights`.

    Attributes:
        arrivals: Where answers go.
        busy: The connections on which requests are in flight.
    """

    def __init__(self, open_pool: Callable[[], _Pool]) -> None:
        self.arrivals: Arrivals[K] = Arrivals()
        self.busy: set[_Connection] = set()
        self._open_pool = open_pool
        self._connecting: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def submit(self, key: K, request: HttpRequest, timeouts: Timeouts) -> None:
        """Send a request. See `AsyncFlights.submit`."""
        lines = "".join([f"{name}: {value}\r\n" for name, value in request.headers.items()])
        if not lines.count("\r") == lines.count("\n") == len(request.headers):
            raise ValueError("a header holds a line break")
        pool = self._open_pool()
        target = pool.target(request.url)
        body = request.body
        head = f"{target.head}{lines}Content-Length: {len(body)}\r\n\r\n"
        data = head.encode("latin-1") + body
        connection = pool.idle(target, pool.loop.time())
        if connection is not None:
            seconds = timeouts.read
            if timeouts.total is not None:
                seconds = min(seconds, timeouts.total)
            connection.post(self, key, data, seconds)
        else:
            posting = self._connect_and_post(pool, target, key, data, timeouts)
            task = pool.loop.create_task(posting)
            self._connecting.add(task)
            task.add_done_callback(functools.partial(self._connected, key))

    def _connected(self, key: K, task: asyncio.Task[None]) -> None:
        """Answer for a task that was cancelled, perhaps before its first step."""
        self._connecting.discard(task)
        if task.cancelled() and not self._is_closed:
            # Whoever ends the loop cancels all tasks. Nothing awaits once there is a connection.
            message = "connecting to the endpoint was cancelled"
            self.arrivals.add(key, TransportError(message, may_have_been_sent=False))

    async def _connect_and_post(
        self, pool: _Pool, target: _Target, key: K, data: bytes, timeouts: Timeouts
    ) -> None:
        started = pool.loop.time()
        try:
            connection = await pool.connect(target, timeouts.connect)
            seconds = timeouts.read
            if timeouts.total is not None:
                left = timeouts.total - (pool.loop.time() - started)
                seconds = min(seconds, max(0.0, left))
            connection.post(self, key, data, seconds)
        except TransportError as error:
            self.arrivals.add(key, error)
        except Exception as error:  # noqa: BLE001  # aiohttp's fault is no event's fate
            failure = TransportError(
                f"the transport raised {type(error).__name__}", may_have_been_sent=True
            )
            failure.__cause__ = error
            self.arrivals.add(key, failure)

    async def collect(self, seconds: float | None) -> list[tuple[K, Answer]]:
        """Return what has been answered. See `AsyncFlights.collect`."""
        return await self.arrivals.collect(seconds)

    def wake(self) -> None:
        """Let `collect` return. See `AsyncFlights.wake`."""
        self.arrivals.wake()

    async def close(self) -> None:
        """Close the connections of what is in flight. See `AsyncFlights.close`."""
        self._is_closed = True
        connecting = tuple(self._connecting)
        for task in connecting:
            task.cancel()
        await _abort(tuple(self.busy))
        if connecting:
            await asyncio.wait(connecting)
