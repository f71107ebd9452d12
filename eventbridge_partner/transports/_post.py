"""
A urllib3 pool that posts the short way.

urllib3 keeps the connections, checks whether they were dropped, verifies certificates and tunnels
through proxies. What it adds to each request on top of http.client (retries, redirects, copies of
headers and timeouts, a response that can decode and stream) is two thirds of what a small request
costs, and none of it is used here.
"""

from __future__ import annotations

import functools
import http.client
import io
import itertools
import queue
import socket
import ssl
import types
from collections.abc import Mapping
from typing import Any, BinaryIO, Final, Protocol, cast

import attrs
import urllib3
import urllib3.connection
import urllib3.exceptions

from eventbridge_partner._clock import monotonic
from eventbridge_partner._http import MAX_ANSWER_BYTES, HttpResponse
from eventbridge_partner.errors import TlsError, TransportError

_CHUNK_BYTES: Final = 65536
_MAX_LINE_BYTES: Final = 65536  # as in http.client
_MAX_HEADERS: Final = 100  # likewise


def read_headers(fp: BinaryIO, _class: Any = None) -> http.client.HTTPMessage:
    """
    Read the headers of an answer: `http.client.parse_headers` without email's parser.

    Raises:
        http.client.HTTPException: They are too many, too long, or no headers.
    """
    message = http.client.HTTPMessage()
    name = value = ""
    for count in itertools.count():
        line = fp.readline(_MAX_LINE_BYTES + 1).decode("latin-1")
        if line in ("\r\n", "\n"):
            break
        if not line:
            raise http.client.HTTPException("it ended in its headers")
        if count >= _MAX_HEADERS or len(line) > _MAX_LINE_BYTES:
            raise http.client.HTTPException("it has too many or too long headers")
        if line[0] in " \t" and name:
            value = f"{value} {line.strip()}"
            continue
        if name:
            message[name] = value
        name, colon, value = line.partition(":")
        if not colon:
            raise http.client.HTTPException("it has a header without a colon")
        name, value = name.strip(), value.strip()
    if name:
        message[name] = value
    return message


class _TimedReads(io.RawIOBase):
    """Reads from a socket until a time; a timeout of the socket would start anew with each byte."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        super().__init__()
        self._sock = sock
        self._use = sock.makefile("rb", 0)  # keeps the socket open, closed or not
        self._until = until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._until - monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        self._use.close()
        super().close()


@attrs.frozen
class _TimedSocket:
    """What http.client's answer wants of a socket."""

    sock: socket.socket
    until: float

    def makefile(self, _mode: str) -> BinaryIO:
        return cast("BinaryIO", io.BufferedReader(_TimedReads(self.sock, self.until)))


class _Answer(http.client.HTTPResponse):
    """
    http.client's answer, with one function replaced of those that its `begin` calls.

    Five headers through email's parser are a third of what a request costs here.
    """

    begin = types.FunctionType(
        http.client.HTTPResponse.begin.__code__,
        {**vars(http.client), "parse_headers": read_headers},
    )

    def _read_status(self) -> tuple[str, int, str]:
        # Of all interim answers http.client knows only 100. It would take 103 for the answer, and
        # the answer for that to the next request.
        line: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
        while 100 <= line[1] < 200:
            read_headers(cast("BinaryIO", self.fp))
            line = super()._read_status()  # type: ignore[misc]
        return line


def _timed_answer(until: float, sock: socket.socket, **settings: Any) -> _Answer:
    timed: Any = _TimedSocket(sock, until)
    return _Answer(timed, **settings)


class _Posting(http.client.HTTPConnection):
    """Writes a request's headers and body in one piece: one system call, one TLS record."""

    response_class: Any = _Answer
    _rest = b""

    def post(
        self, path: str, headers: Mapping[str, str], body: bytes, until: float
    ) -> http.client.HTTPResponse:
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        if not lines.count("\r") == lines.count("\n") == len(headers):
            raise ValueError("a header holds a line break")
        self._rest = lines.encode("latin-1") + b"\r\n" + body
        self.response_class = functools.partial(_timed_answer, until)
        self.putrequest("POST", path, skip_accept_encoding=True)
        self.endheaders()
        # http.client's own: urllib3's makes more of an answer than is read of it.
        return http.client.HTTPConnection.getresponse(self)

    def send(self, data: Any) -> None:
        if self._rest:
            data, self._rest = data.removesuffix(b"\r\n") + self._rest, b""
        super().send(data)


class _Connection(_Posting, urllib3.connection.HTTPConnection):
    pass


class _TlsConnection(_Posting, urllib3.connection.HTTPSConnection):
    pass


class _PostingPool(urllib3.HTTPConnectionPool):
    """A pool whose answers are whole; through a proxy it is a pool like any other."""

    ConnectionCls: Any = _Connection

    def urlopen(self, method: str, url: str, **request: Any) -> Any:  # type: ignore[override]
        """
        Post the short way, and return an HttpResponse.

        Raises:
            TransportError: There was no answer, or it was cut short.
        """
        if self.proxy is not None:
            return super().urlopen(method, url, **request)
        timeout: urllib3.Timeout = request["timeout"]
        try:
            connection: Any = self._get_conn()
        except urllib3.exceptions.ClosedPoolError as error:
            raise TransportError("the client was closed", may_have_been_sent=False) from error
        try:
            timeout.start_connect()
            _connect(connection, timeout.connect_timeout)
            seconds: Any = timeout.read_timeout
            connection.sock.settimeout(seconds)
            until = monotonic() + seconds
            # Leaving closes the answer, not the connection.
            with connection.post(url, request["headers"], request["body"], until) as answer:
                body = read(answer, until)
        except (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError) as error:
            connection.close()
            raise TransportError(cause_of(error), may_have_been_sent=True) from error
        except BaseException:
            # Not even an interrupt leaves a half-read connection to the next request.
            connection.close()
            raise
        finally:
            self._put_conn(connection)
        return HttpResponse(answer.status, lower_case(answer.headers), body)

    def _put_conn(self, conn: Any) -> None:
        # More threads than idle connections are kept is no mistake: no warning as urllib3 has it.
        kept = self.pool
        try:
            if kept is not None:
                kept.put(conn, block=False)
                return
        except queue.Full:
            pass
        if conn is not None:
            conn.close()


class _TlsPostingPool(_PostingPool, urllib3.HTTPSConnectionPool):  # pyright: ignore[reportIncompatibleMethodOverride]
    ConnectionCls: Any = _TlsConnection


POOLS: Final[dict[str, Any]] = {"http": _PostingPool, "https": _TlsPostingPool}
"""The classes of pools by scheme, for urllib3's `PoolManager`."""


def _connect(connection: Any, seconds: Any) -> None:
    """Open a connection that is not open; whatever goes wrong here, nothing was sent."""
    if connection.sock is not None:
        return
    connection.timeout = seconds
    try:
        connection.connect()
    except ssl.SSLEOFError as error:
        # The network's doing, not a matter of trust.
        message = "no connection to the endpoint (it was closed in the TLS handshake)"
        raise TransportError(message, may_have_been_sent=False) from error
    except (ssl.SSLError, urllib3.exceptions.SSLError) as error:
        raise TlsError(f"the endpoint could not be trusted ({_words(error)})") from error
    except (OSError, urllib3.exceptions.HTTPError) as error:
        message = f"no connection to the endpoint ({_words(error)})"
        raise TransportError(message, may_have_been_sent=False) from error


class Readable(Protocol):
    """An answer of http.client or of urllib3."""

    headers: Any

    def read1(self, amount: int, /) -> bytes: ...


def read(answer: Readable, until: float) -> bytes:
    """
    Read the body of an answer, bounded in bytes and in time.

    Raises:
        http.client.HTTPException: It is shorter than it says, too long, or takes too long.
    """
    declared = answer.headers.get("Content-Length") or ""
    length = int(declared) if declared.isdecimal() else None
    chunks: list[bytes] = []
    received = 0
    while received != length and (chunk := answer.read1(_CHUNK_BYTES)):
        chunks.append(chunk)
        received += len(chunk)
        if received > MAX_ANSWER_BYTES:
            raise http.client.HTTPException(f"it has more than {MAX_ANSWER_BYTES} bytes")
        if received != length and monotonic() > until:
            raise TimeoutError
    if length is not None and received != length:
        raise http.client.HTTPException(f"it ended after {received} of {length} bytes")
    return b"".join(chunks)


def lower_case(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers with their names in lower case."""
    return {name.lower(): value for name, value in headers.items()}


def cause_of(error: Exception) -> str:
    """Say what became of a request that went out."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return f"the answer was lost ({_words(error)})"


def _words(error: BaseException) -> str:
    """Describe an error without what libraries add: URLs, addresses of objects, the proxy."""
    root = error
    while isinstance(root, urllib3.exceptions.HTTPError) and root.__cause__ is not None:
        root = root.__cause__
    if isinstance(root, ssl.SSLError):
        return getattr(root, "verify_message", "") or root.reason or "TLS"
    if isinstance(root, OSError) and root.strerror:
        return root.strerror
    if type(root) is http.client.HTTPException:
        return str(root)
    return type(root).__name__
