"""
The transport of the asynchronous client: it uses connections of `aiohttp`, and little else.

aiohttp looks up names, connects, verifies certificates and tunnels through proxies. Its sessions'
own work on each request (cookies, redirects, retries, a task that writes, timers, streams) takes
three quarters of the CPU of a small request, and sessions do not tell whether any of it was sent.
So this module writes requests in one piece and reads answers itself, without a task or a future for
each.

Needs the extra `async`: `pip install 'eventbridge-partner[async]'`.
"""

from __future__ import annotations

import asyncio

# Looking up a host imports this codec. It is imported now: if another thread imported it during a
# fork, the child would wait forever.
import encodings.idna  # noqa: F401  # pyright: ignore[reportUnusedImport]
import functools
import math
import os
import ssl
import weakref
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import attrs

from eventbridge_partner._http import HttpRequest, HttpResponse, Timeouts
from eventbridge_partner._signals import let_pass
from eventbridge_partner.errors import ConfigurationError, TransportError
from eventbridge_partner.transports import Answer
from eventbridge_partner.transports._arrivals import Arrivals
from eventbridge_partner.transports._faults import (
    CLOSED,
    NOT_IN_TIME,
    answer_lost,
    no_answer_in_time,
    no_connection,
    not_trusted,
    place_of,
    raised,
)
from eventbridge_partner.transports._proxies import Proxies
from eventbridge_partner.transports._reading import (
    AnswerReader,
    CutAnswerError,
    GarbledAnswerError,
)
from eventbridge_partner.transports._reasons import words
from eventbridge_partner.transports._unread import input_check
from eventbridge_partner.transports._writing import encoded, request_head

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
    Sends any number of requests at a time on an event loop, over connections of aiohttp.

    Each event loop has connections of its own, which are closed with the loop at the latest.
    After a fork, parent and child use connections of their own.

    Args:
        ca_bundle: The path of a file or directory of trusted certificates; True for those of
            `certifi`.
        proxies: Proxy URLs by scheme, as `requests` takes them.
        max_connections: The most idle connections kept open.

    Raises:
        ConfigurationError: The certificates or a proxy are invalid.
    """

    def __init__(
        self,
        *,
        ca_bundle: str | bool = True,
        proxies: Mapping[str, str] | None = None,
        max_connections: int = 64,
    ) -> None:
        checked = Proxies(proxies, ("http", "https"))
        self._settings = _Settings(_tls_context(ca_bundle), checked, max_connections)
        self._pools: dict[asyncio.AbstractEventLoop, _Pool] = {}
        _transports.add(self)

    async def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        """Send a request and return its complete answer. See `AsyncTransport.send`."""
        flights = self.flights()
        try:
            flights.start(None, request, timeouts)
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
        Close the running loop's idle connections now, and the others once they are idle.

        Sending again opens new ones.
        """
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.close()

    def _leave_connections_to_parent(self) -> None:
        # Kept from garbage collection, which would warn about unclosed connections.
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
    """The settings of all connections of a transport."""

    tls: ssl.SSLContext
    proxies: Proxies = attrs.field(repr=False)
    max_idle: int


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
    except OSError as error:  # includes ssl.SSLError
        raise ConfigurationError(
            f"ca_bundle is {ca_bundle!a}, which cannot be read as certificates ({words(error)})"
        ) from error


class _Target:
    """
    A destination of requests, with all that they share.

    Attributes:
        place: Its name in errors.
        head: The start of its requests.
        idle: Its idle connections, the newest last.
        distrusted_until: Connections that have been idle since this time or longer are not used
            any more.
    """

    def __init__(self, url: str, settings: _Settings) -> None:
        self.place = place_of(url)
        self.head = request_head(url)
        self.idle: list[_Connection] = []
        self.distrusted_until = -math.inf
        self._url = URL(url, encoded=True)
        self._proxy: URL | None = None
        self._proxy_headers: dict[str, str] = {}
        proxy = settings.proxies.proxy_for(url)
        if proxy is not None:
            self.place = f"{self.place} through the proxy {proxy.place}"
            self._proxy = URL(proxy.url)
            if proxy.authorization is not None:
                self._proxy_headers["Proxy-Authorization"] = proxy.authorization
            if self._url.scheme == "http":  # for https there is a tunnel
                lines = [f"{name}: {value}\r\n" for name, value in self._proxy_headers.items()]
                self.head = "".join([request_head(url, names_all=True), *lines])

    def connecting(self, pool: _Pool) -> aiohttp.ClientRequest:
        """Return the request of aiohttp's that its connector needs to open a connection."""
        return aiohttp.ClientRequest(
            "POST",
            self._url,
            loop=pool.loop,
            proxy=self._proxy,
            proxy_headers=self._proxy_headers or None,
        )


_NO_BOUNDS: Final = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None)


class _Pool:
    """
    The connections of one event loop.

    Attributes:
        is_retired: Whether it keeps no connection that becomes idle.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, settings: _Settings) -> None:
        self.loop = loop
        self._settings = settings
        # It opens connections and hands them over, so it has none to close.
        self._connector = aiohttp.TCPConnector(
            limit=0, ssl=settings.tls, resolver=aiohttp.ThreadedResolver()
        )
        self._targets: dict[str, _Target] = {}
        self._open: set[_Connection] = set()
        self.is_retired = False
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = math.inf
        self._end = self._close_at_the_end()
        with suppress(StopIteration):
            self._end.asend(None).send(None)  # runs to its yield

    async def _close_at_the_end(self) -> AsyncGenerator[None, None]:
        """
        Close all connections when the loop ends.

        A loop that ends closes the asynchronous generators that were started on it. That is the
        only signal that comes while connections can still be closed.
        """
        try:
            yield
        finally:
            if not self.is_retired:
                self.is_retired = True
                await _abort(self._open)

    async def close(self) -> None:
        """Close idle connections now, and the others once they are idle."""
        self.is_retired = True
        await _abort([connection for connection in self._open if not connection.is_busy])
        await self._end.aclose()

    def target(self, url: str) -> _Target:
        """Return the destination of a URL."""
        target = self._targets.get(url)
        if target is None:
            target = self._targets[url] = _Target(url, self._settings)
        return target

    # ------------------------------------------------------------ connections

    async def connect(self, target: _Target, seconds: float) -> _Connection:
        """
        Open a connection.

        Raises:
            TransportError: It could not be opened. Nothing was sent.
        """
        try:
            async with asyncio.timeout(seconds):
                opened = await self._connector.connect(target.connecting(self), [], _NO_BOUNDS)
        except TimeoutError as error:
            raise no_connection(target.place, NOT_IN_TIME) from error
        except Exception as error:  # a test's stand-in for the network can raise anything
            raise _not_opened(error, target.place) from error
        transport, handler = opened.transport, opened.protocol
        if transport is None or handler is None:
            opened.close()
            raise no_connection(target.place, CLOSED)
        connection = _Connection(self, target, transport)
        transport.set_protocol(connection)
        # Tell aiohttp that the connection is lost, so that aiohttp does not close it.
        handler.connection_lost(None)
        opened.close()
        self._open.add(connection)
        return connection

    def idle(self, target: _Target) -> _Connection | None:
        """Take an idle connection that is still open and has no unread input."""
        idle = target.idle
        while idle:
            connection = idle.pop()
            if connection.idle_since > target.distrusted_until and connection.is_clean():
                return connection
            connection.abort()
        return None

    def take_back(self, connection: _Connection) -> None:
        """Keep a connection for the next request, if there is room."""
        idle = connection.target.idle
        if self.is_retired or len(idle) >= self._settings.max_idle:
            connection.abort()
        else:
            idle.append(connection)

    def forget(self, connection: _Connection) -> None:
        """Note that a connection is closed."""
        self._open.discard(connection)
        if connection in connection.target.idle:
            connection.target.idle.remove(connection)

    # ------------------------------------------------------------ timeouts

    def watch(self, expires_at: float) -> None:
        """
        Look for requests that have taken too long at that time.

        All requests share one timer, because few of them ever need it.
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


def _not_opened(error: Exception, place: str) -> TransportError:
    cause: BaseException = error
    while cause.__cause__ is not None:  # aiohttp wraps Python's TLS errors in its own
        cause = cause.__cause__
    if isinstance(cause, ssl.SSLError):
        return not_trusted(place, words(cause))
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return no_connection(place, f"the proxy answered {error.status}")
    return no_connection(place, words(cause))


class _Connection(asyncio.Protocol):
    """A connection: it carries one request at a time and reads its answer."""

    def __init__(self, pool: _Pool, target: _Target, transport: asyncio.Transport) -> None:
        self.target = target
        self.expires_at = math.inf
        self.idle_since = -math.inf
        self.lost: asyncio.Future[None] = pool.loop.create_future()
        self._pool = pool
        self._transport = transport
        self._has_input = input_check(transport.get_extra_info("socket").fileno())
        self._posted_at = math.inf
        self._flights: AiohttpFlights[Any] | None = None
        self._key: Any = None
        self._reader = AnswerReader()

    @property
    def is_busy(self) -> bool:
        """Whether it waits for an answer."""
        return self._flights is not None

    def post(self, flights: AiohttpFlights[Any], key: Any, request: bytes, seconds: float) -> bool:
        """
        Send a request; its flights get the result.

        Returns:
            False if the connection is dead and nothing was sent. The flights get no result then.
        """
        self._transport.write(request)
        if self._transport.is_closing():  # already before, or because nothing could be written
            self._transport.abort()
            return False
        flights.busy.add(self)
        self._flights, self._key = flights, key
        self._reader = AnswerReader()
        self._posted_at = self._pool.loop.time()
        self.expires_at = self._posted_at + seconds
        self._pool.watch(self.expires_at)
        return True

    def is_clean(self) -> bool:
        """Tell whether an idle connection is open and has no unread input."""
        return not self._transport.is_closing() and not self._has_input()

    def abort(self) -> None:
        """Close the connection at once, whatever it is doing."""
        if self._flights is not None:
            self._flights.busy.discard(self)
            self._flights = self._key = None
        self._transport.abort()

    def expire(self, now: float) -> None:
        """
        Give up on an answer that has taken too long, unless there is input to read.

        The loop delivers that input in its next turns. Their number is bounded, because the size
        of an answer is.
        """
        if self.expires_at <= now and not self._has_input():
            self._fail(no_answer_in_time(self.target.place))
            self._distrust_others()

    def _distrust_others(self) -> None:
        """After a kept connection failed, stop using those that have been idle as long."""
        if self.idle_since > -math.inf:
            target = self.target
            target.distrusted_until = max(target.distrusted_until, self._posted_at)

    # ------------------------------------------------------------ what the event loop calls

    def data_received(self, data: bytes) -> None:
        if self._flights is None:
            self.abort()  # unexpected bytes
            return
        try:
            answer = self._reader.feed(data)
        except GarbledAnswerError as error:
            self._fail(answer_lost(self.target.place, str(error)))
        else:
            if answer is not None:
                self._finish(answer, keep=not self._reader.ends_connection)

    def eof_received(self) -> None:
        if self._flights is None:
            self.abort()
            return
        try:
            self._finish(self._reader.end(), keep=False)
        except CutAnswerError as error:
            self._fail(answer_lost(self.target.place, str(error)))
            self._distrust_others()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._flights is not None:
            self._fail(answer_lost(self.target.place, words(exc)))
            self._distrust_others()
        self._pool.forget(self)
        if not self.lost.done():
            self.lost.set_result(None)

    # ------------------------------------------------------------ the end of a request

    def _fail(self, error: TransportError) -> None:
        self._finish(error, keep=False)

    def _finish(self, answer: Answer, *, keep: bool) -> None:
        flights, key = self._flights, self._key
        if flights is None:
            return
        self._flights = self._key = None
        flights.busy.discard(self)
        if keep:
            self.idle_since = self._pool.loop.time()
            self._pool.take_back(self)
        else:
            self._transport.abort()
        flights.arrivals.add(key, answer)


class AiohttpFlights(Generic[K]):
    """
    Flights on connections of aiohttp. See `eventbridge_partner.transports.AsyncFlights`.

    Attributes:
        arrivals: Collects the answers.
        busy: The connections on which requests are in flight.
    """

    def __init__(self, open_pool: Callable[[], _Pool]) -> None:
        self.arrivals: Arrivals[K] = Arrivals()
        self.busy: set[_Connection] = set()
        self._open_pool = open_pool
        self._pool: _Pool | None = None
        self._connecting: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def submit(self, key: K, request: HttpRequest, timeouts: Timeouts) -> None:
        """Send a request. See `AsyncFlights.submit`."""
        try:
            self.start(key, request, timeouts)
        except Exception as error:  # noqa: BLE001  # a transport's bug must not lose events
            let_pass(error)
            self.arrivals.add(key, raised(error, may_have_been_sent=False))

    def start(self, key: K, request: HttpRequest, timeouts: Timeouts) -> None:
        """
        Send a request.

        Raises:
            ValueError: The request cannot be sent.
        """
        pool = self._pool
        if pool is None or pool.is_retired:
            pool = self._pool = self._open_pool()
        target = pool.target(request.url)
        headers = {**request.headers, "Content-Length": str(len(request.body))}
        data = encoded(target.head, headers, request.body)
        seconds = timeouts.read
        if timeouts.total is not None:
            seconds = min(seconds, timeouts.total)
        while (connection := pool.idle(target)) is not None:
            if connection.post(self, key, data, seconds):
                return
        posting = self._connect_and_post(pool, target, key, data, timeouts)
        task = pool.loop.create_task(posting)
        self._connecting.add(task)
        task.add_done_callback(functools.partial(self._connected, key))

    def _connected(self, key: K, task: asyncio.Task[None]) -> None:
        self._connecting.discard(task)
        if task.cancelled():
            if self._is_closed:
                return
            # Cancelled as the loop ends. After connecting, the task awaits nothing.
            error = TransportError("the request was cancelled", may_have_been_sent=False)
            self.arrivals.add(key, error)
        elif (fault := task.exception()) is not None:
            self.arrivals.add(key, raised(fault, may_have_been_sent=True))

    async def _connect_and_post(
        self, pool: _Pool, target: _Target, key: K, data: bytes, timeouts: Timeouts
    ) -> None:
        started = pool.loop.time()
        try:
            connection = await pool.connect(target, timeouts.connect)
        except TransportError as error:
            self.arrivals.add(key, error)
            return
        seconds = timeouts.read
        if timeouts.total is not None:
            left = timeouts.total - (pool.loop.time() - started)
            seconds = min(seconds, max(0.0, left))
        if not connection.post(self, key, data, seconds):
            self.arrivals.add(key, no_connection(target.place, CLOSED))

    async def collect(self, seconds: float | None) -> list[tuple[K, Answer]]:
        """Return the answers that have come. See `AsyncFlights.collect`."""
        return await self.arrivals.collect(seconds)

    def wake(self) -> None:
        """Make `collect` return. See `AsyncFlights.wake`."""
        self.arrivals.wake()

    async def close(self) -> None:
        """Close the connections of requests in flight. See `AsyncFlights.close`."""
        self._is_closed = True
        connecting = tuple(self._connecting)
        for task in connecting:
            task.cancel()
        await _abort(tuple(self.busy))
        if connecting:
            await asyncio.wait(connecting)
