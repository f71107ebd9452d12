"""
A urllib3 pool with a fast path for POST.

urllib3 keeps the connections, checks whether they were dropped, verifies certificates and tunnels
through proxies. Its own work on each request (retries, redirects, copies of headers and timeouts, a
response that can decode and stream) takes two thirds of the CPU of a small request, and http.client
accepts ambiguous answers. So this module writes requests and reads answers itself.
"""

from __future__ import annotations

# Looking up a host imports this codec. It is imported now: if another thread imported it during a
# fork, the child would wait forever.
import encodings.idna  # noqa: F401  # pyright: ignore[reportUnusedImport]
import errno
import functools
import queue
import socket
import ssl
import traceback
from collections.abc import Mapping
from typing import Any, Final, Protocol

import urllib3
import urllib3.connection
import urllib3.exceptions
from urllib3.util.proxy import connection_requires_http_tunnel
from urllib3.util.ssl_match_hostname import CertificateError

from eventbridge_partner._clock import monotonic
from eventbridge_partner._http import MAX_ANSWER_BYTES, HttpResponse
from eventbridge_partner._signals import let_pass
from eventbridge_partner.errors import TransportError
from eventbridge_partner.transports._faults import (
    answer_lost,
    no_answer_in_time,
    no_connection,
    not_trusted,
    place_of,
)
from eventbridge_partner.transports._reading import (
    AnswerReader,
    CutAnswerError,
    GarbledAnswerError,
)
from eventbridge_partner.transports._reasons import words
from eventbridge_partner.transports._writing import encoded, request_head

_CHUNK_BYTES: Final = 65536
_RECORD_BYTES: Final = 16384
"""The size of a full TLS record. A receiver cannot use a part of a record."""

_SOCKET: Final = socket.socket
"""Python's own class, even if a test replaces it later."""

OUT_OF_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})


class _Posting(urllib3.connection.HTTPConnection):
    """
    A connection with a fast path for POST.

    Attributes:
        until: The deadline of the current step, on the monotonic clock.
        sent: How many bytes of the request were sent.
        answered_at: When the last answer came; None before the first.
    """

    until = 0.0
    sent = 0
    answered_at: float | None = None

    def post(self, data: bytes, until: float) -> HttpResponse:
        """
        Send a request, and return its answer.

        Raises:
            GarbledAnswerError: There is no answer, or it cannot be read.
            OSError: The connection broke, or the deadline passed.
        """
        self.until = until
        self.sent = 0
        sock: Any = self.sock
        left = memoryview(data)
        if not isinstance(sock, _SOCKET):
            # A test's fake socket, which may only have the methods that http.client uses.
            sock.settimeout(self._seconds_left())
            self.sent = len(data)
            sock.sendall(data)
            left = left[:0]
        while left:
            sock.settimeout(self._seconds_left())
            count = sock.send(left[:_RECORD_BYTES] if isinstance(sock, ssl.SSLSocket) else left)
            self.sent += count
            left = left[count:]
        reader = AnswerReader()
        answer = self._read(reader)
        self.answered_at = monotonic()
        if reader.ends_connection:
            self.close()
        return answer

    def _read(self, reader: AnswerReader) -> HttpResponse:
        answer: HttpResponse | None = None
        while answer is None:
            received = self._receive()
            answer = reader.feed(received) if received else reader.end()
        return answer

    def _receive(self) -> bytes:
        sock: Any = self.sock
        left = self.until - monotonic()
        if left > 0:
            try:
                sock.settimeout(left)
                return bytes(sock.recv(_CHUNK_BYTES))
            except TimeoutError as error:
                let_pass(error)
        # Even after the deadline, read the bytes that have come. That is quick, because the size
        # of an answer is bounded.
        try:
            sock.settimeout(0)
            return bytes(sock.recv(_CHUNK_BYTES))
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise TimeoutError from None

    def _seconds_left(self) -> float:
        left = self.until - monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _tunnel(self) -> None:
        """Ask a proxy for a tunnel. http.client would apply the timeout to each byte separately."""
        tunnel: Any = self
        sock, host, headers = tunnel.sock, tunnel._tunnel_host, tunnel._tunnel_headers
        place = f"{f'[{host}]' if ':' in host else host}:{tunnel._tunnel_port}"
        lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
        lines += [f"{name}: {value}" for name, value in headers.items() if name.lower() != "host"]
        sock.settimeout(self._seconds_left())
        sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        reader = AnswerReader(to_connect=True)
        answer = self._read(reader)
        if not 200 <= answer.status < 300:
            raise _RefusedTunnelError(f"the proxy answered {answer.status}")
        if reader.ends_connection:
            raise _RefusedTunnelError("the proxy ended the tunnel")
        sock.settimeout(self._seconds_left())


class _RefusedTunnelError(Exception):
    """A proxy refused to open a tunnel."""


class _Direct(_Posting):
    def _new_conn(self) -> socket.socket:
        """Open a socket. urllib3 would apply the whole timeout to each address of a host."""
        host: Any = getattr(self, "_dns_host", self.host)
        found = socket.getaddrinfo(host.strip("[]"), self.port, 0, socket.SOCK_STREAM)
        for number, (family, kind, protocol, _, address) in enumerate(found, 1):
            sock = None
            try:
                sock = socket.socket(family, kind, protocol)
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(self._seconds_left() / (len(found) - number + 1))
                sock.connect(address)
                sock.settimeout(self._seconds_left())
            except BaseException as error:
                if sock is not None:
                    sock.close()
                let_pass(error)
                if number == len(found) or not isinstance(error, OSError):
                    raise
            else:
                return sock
        raise OSError(errno.EADDRNOTAVAIL, "the name has no address")


class _Connection(_Direct):
    pass


class _TlsConnection(_Direct, urllib3.connection.HTTPSConnection):
    pass


class _Shelf:
    """
    The idle connections of a pool, the newest on top.

    Not a `LifoQueue`: a signal handler that sends while its thread holds the queue's lock would
    wait forever. Single list operations need no lock.
    """

    def __init__(self, max_idle: int) -> None:
        self._max_idle = max_idle
        self._idle: list[Any] = []

    def get(self, block: bool = False, timeout: float | None = None) -> Any:
        """Take the newest connection. See `queue.LifoQueue.get`."""
        try:
            return self._idle.pop()
        except IndexError:
            raise queue.Empty from None

    def put(self, connection: Any, block: bool = False) -> None:
        """Keep a connection, if there is room. urllib3 fills its own queues with None."""
        if connection is None or connection.sock is None:
            return
        if len(self._idle) < self._max_idle:
            self._idle.append(connection)
        else:
            connection.close()


class _PostingPool(urllib3.HTTPConnectionPool):
    """A pool that returns complete answers."""

    ConnectionCls: Any = _Connection
    QueueCls: Any = _Shelf
    _distrusted_until = 0.0
    """Connections that have been idle since this time or longer are not used any more."""

    def urlopen(self, method: str, url: str, **request: Any) -> Any:  # type: ignore[override]
        """
        Post by the fast path, and return an HttpResponse.

        Raises:
            TransportError: There was no answer, or it was cut short.
            ValueError: The request cannot be sent.
        """
        timeout: urllib3.Timeout = request["timeout"]
        headers: Mapping[str, str] = request["headers"]
        tunnels = connection_requires_http_tunnel(self.proxy, self.proxy_config, self.scheme)
        if self.proxy is not None and not tunnels:
            headers = {**headers, **self.proxy_headers}
        data = encoded(self._head(url), headers, request["body"])
        while True:
            connection = self._take()
            is_kept = connection.sock is not None
            connection.sent = 0
            started = monotonic()
            try:
                timeout.start_connect()
                if not is_kept:
                    until = started + _seconds(timeout.connect_timeout)
                    self._connect(connection, until, self._place(url), tunnels)
                seconds = _seconds(timeout.read_timeout)
                return connection.post(data, monotonic() + seconds)
            except (OSError, GarbledAnswerError) as error:
                connection.close()
                let_pass(error)
                if not connection.sent:
                    if is_kept:
                        timeout = timeout.clone()
                        continue  # the connection was dead, and nothing was sent
                    raise no_connection(self._place(url), _why(error)) from error
                if is_kept and isinstance(error, (OSError, CutAnswerError)):
                    self._distrusted_until = started
                if isinstance(error, TimeoutError):
                    raise no_answer_in_time(self._place(url)) from error
                raise answer_lost(self._place(url), _why(error)) from error
            except BaseException:
                # Even after an interrupt, the next request must not get a half-read connection.
                connection.close()
                raise
            finally:
                self._put_conn(connection)

    def _head(self, url: str) -> str:
        is_whole = "://" in url
        if not is_whole:
            url = f"{self.scheme}://{self._host_and_port}{url}"
        return request_head(url, names_all=is_whole)

    @functools.cached_property
    def _host_and_port(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        is_usual = self.port == urllib3.connection.port_by_scheme[str(self.scheme)]
        return host if is_usual else f"{host}:{self.port}"

    def _place(self, url: str) -> str:
        """Return the host's name for errors; with a forwarding proxy, that of the URL."""
        host = place_of(url) if "://" in url else self._host_and_port
        proxy = self._proxy_place
        return f"{host} through the proxy {proxy}" if proxy else host

    @property
    def _proxy_place(self) -> str:
        return f"{self.proxy.host}:{self.proxy.port}" if self.proxy else ""

    def _take(self) -> Any:
        """Take an idle connection that is still open, or a new one."""
        try:
            while True:
                connection: Any = self._get_conn()
                since = connection.answered_at
                if connection.sock is None or since is None or since > self._distrusted_until:
                    return connection
                connection.close()
        except urllib3.exceptions.ClosedPoolError as error:
            raise TransportError("the client was closed", may_have_been_sent=False) from error

    def _connect(self, connection: Any, until: float, place: str, tunnels: bool) -> None:
        """Open a connection. If this fails, nothing was sent."""
        connection.until = until
        connection.timeout = max(0.001, until - monotonic())
        try:
            if tunnels:
                self._prepare_proxy(connection)
            else:
                connection.connect()
        except ssl.SSLEOFError as error:
            # A network failure, not a matter of trust.
            why = "it was closed in the TLS handshake"
            raise no_connection(place, why) from error
        except (ssl.SSLError, urllib3.exceptions.SSLError, CertificateError) as error:
            root = _root(error)
            if isinstance(root, OSError) and root.errno in OUT_OF_FILES:
                raise no_connection(place, words(root)) from error
            raise not_trusted(place, words(root)) from error
        except Exception as error:  # a test's stand-in for the network can raise anything
            let_pass(error)
            close_half_made(_root(error))
            raise no_connection(place, _why(error)) from error


def close_half_made(error: BaseException) -> None:
    """Close the socket that `wrap_socket` leaves open if its peer left before the handshake."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        half_made = frame.f_locals.get("self")
        if isinstance(half_made, ssl.SSLSocket):
            half_made.close()


class _TlsPostingPool(_PostingPool, urllib3.HTTPSConnectionPool):  # pyright: ignore[reportIncompatibleMethodOverride]
    ConnectionCls: Any = _TlsConnection


POOLS: Final[dict[str, Any]] = {"http": _PostingPool, "https": _TlsPostingPool}
"""The classes of pools by scheme, for urllib3's `PoolManager`."""


def socks_pools() -> dict[str, Any]:
    """
    Return the same classes for SOCKS proxies.

    Raises:
        ImportError: PySocks is not installed.
    """
    from urllib3.contrib import socks

    class Connection(_Posting, socks.SOCKSConnection):
        pass

    class TlsConnection(_Posting, socks.SOCKSHTTPSConnection):
        pass

    class Pool(_PostingPool):
        ConnectionCls: Any = Connection

        @property
        def _proxy_place(self) -> str:
            of_socks: Any = self.conn_kw["_socks_options"]
            return f"{of_socks['proxy_host']}:{of_socks['proxy_port']}"

    class TlsPool(Pool, _TlsPostingPool):
        ConnectionCls: Any = TlsConnection

    return {"http": Pool, "https": TlsPool}


def _seconds(timeout: Any) -> float:
    """Return the seconds of a urllib3 timeout that is set."""
    return float(timeout)


def _root(error: BaseException) -> BaseException:
    """Return the original error inside an error of urllib3 or PySocks."""
    while True:
        cause = getattr(error, "socket_err", None) or error.__cause__ or error.__context__
        is_of_theirs = isinstance(error, urllib3.exceptions.HTTPError) or hasattr(
            error, "socket_err"
        )
        if cause is None or not is_of_theirs:
            return error
        error = cause


def _why(error: BaseException) -> str:
    root = _root(error)
    if isinstance(root, (GarbledAnswerError, _RefusedTunnelError)):
        return str(root)
    if hasattr(root, "socket_err"):  # raised by PySocks
        return str(getattr(root, "msg", "")) or words(root)
    return words(root)


class Readable(Protocol):
    """An answer of urllib3, as far as it is used here."""

    headers: Any

    def read1(self, amount: int, /) -> bytes: ...


def read(answer: Readable, until: float) -> bytes:
    """
    Read the body of an answer, with a limit on its size and a deadline.

    Raises:
        GarbledAnswerError: It is shorter than declared, or too long.
        TimeoutError: The deadline passed.
    """
    declared = answer.headers.get("Content-Length") or ""
    length = int(declared) if declared.isdecimal() else None
    chunks: list[bytes] = []
    received = 0
    while received != length and (chunk := answer.read1(_CHUNK_BYTES)):
        chunks.append(chunk)
        received += len(chunk)
        if received > MAX_ANSWER_BYTES:
            raise GarbledAnswerError(f"it has more than {MAX_ANSWER_BYTES} bytes")
        if received != length and monotonic() > until:
            raise TimeoutError
    if length is not None and received != length:
        raise GarbledAnswerError(f"it ended after {received} of {length} bytes")
    return b"".join(chunks)
