"""
The default transport, on `requests`.

`requests.Session` looks up proxies, netrc, cookies and certificates again for every request. Here
all that is resolved once, and the adapter, which is what `responses` and moto replace in tests,
gets requests that are ready.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
import types
from collections.abc import Mapping
from typing import Any, BinaryIO, Final, NoReturn

import requests
import requests.adapters
import urllib3
import urllib3.connection
import urllib3.exceptions

from eventbridge_partner._http import MAX_ANSWER_BYTES, HttpRequest, HttpResponse, Timeouts
from eventbridge_partner.errors import TlsError, TransportError

_CHUNK_BYTES: Final = 65536
_MAX_LINE_BYTES: Final = 65536
_MAX_HEADERS: Final = 100


class RequestsTransport:
    """
    Sends requests through a `requests` adapter, one at a time from each thread.

    Args:
        ca_bundle: The path of a file of trusted certificates; True for those of `certifi`.
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
        self._adapter = _ResolvedAdapter(max_connections, ca_bundle, dict(proxies or {}))

    def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        """Send a request and return its whole answer. See `Transport.send`."""
        prepared = requests.PreparedRequest()
        prepared.method = "POST"
        prepared.url = request.url
        headers = {**request.headers, "Content-Length": str(len(request.body))}
        prepared.headers = headers  # type: ignore[assignment]  # any mapping will do, and is cheaper
        prepared.body = request.body
        try:
            response = self._adapter.send(
                prepared,
                stream=True,
                timeout=(timeouts.connect, timeouts.read),
                verify=self._adapter.ca_bundle,
                proxies=self._adapter.proxies,
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            _raise_translated(error)
        try:
            body = _read(response.raw, time.monotonic() + timeouts.read)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            response.raw.close()
            raise TransportError(
                f"the answer was cut short ({_root_text(error)})", may_have_been_sent=True
            ) from error
        except BaseException:
            # An interrupt must not leave a half-read connection to the next request.
            response.raw.close()
            raise
        response.raw.release_conn()
        return HttpResponse(
            response.status_code,
            {name.lower(): value for name, value in response.headers.items()},
            body,
        )

    def close(self) -> None:
        """Close all idle connections. Sending again opens new ones."""
        self._adapter.close()


def _read_headers(fp: BinaryIO, _class: Any = None) -> http.client.HTTPMessage:
    """Read the headers of an answer: what `http.client.parse_headers` does through email's parser."""
    message = http.client.HTTPMessage()
    name, value, count = "", "", 0
    while (line := fp.readline(_MAX_LINE_BYTES + 1).decode("latin-1")) not in ("\r\n", "\n", ""):
        count += 1
        if len(line) > _MAX_LINE_BYTES or count > _MAX_HEADERS:
            raise http.client.HTTPException("the answer has too many or too long headers")
        if line[0] in " \t" and name:
            value = f"{value} {line.strip()}"
            continue
        if name:
            message[name] = value
        name, colon, value = line.partition(":")
        if not colon:
            raise http.client.HTTPException("the answer has a header without a colon")
        name, value = name.strip(), value.strip()
    if name:
        message[name] = value
    return message


class _Answer(http.client.HTTPResponse):
    """
    http.client's answer, but for one function that its `begin` calls.

    Reading five headers through the parser of the email package takes longer than all else that
    is done to an answer, a seventh of what a request costs.
    """

    begin = types.FunctionType(
        http.client.HTTPResponse.begin.__code__,
        {**vars(http.client), "parse_headers": _read_headers},
    )


class _OneWrite(http.client.HTTPConnection):
    """
    Writes a request in one piece.

    http.client writes its head apart from its body, a system call and a TLS record more for each
    request, and checks every header with two regular expressions; together that is a quarter of
    what a request costs. Here the headers are collected, checked at once, and sent with the body.
    """

    response_class = _Answer
    _head: bytes | None = None
    _completes_head = False

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        self._lines: list[str] = []
        self._head = None
        super().putrequest(*args, **kwargs)

    def putheader(self, header: str | bytes, *values: Any) -> None:
        if isinstance(header, bytes) or len(values) != 1:
            super().putheader(header, *values)
            return
        value = values[0]
        self._lines.append(f"{header}: {value if isinstance(value, str) else value.decode()}")

    def endheaders(self, message_body: Any = None, *, encode_chunked: bool = False) -> None:
        self._completes_head = True
        super().endheaders(message_body, encode_chunked=encode_chunked)

    def send(self, data: Any) -> None:
        if self._completes_head:
            self._completes_head = False
            self._head = self._completed(data)
            return
        if self._head is not None:
            head, self._head = self._head, None
            if len(data) > _CHUNK_BYTES:
                super().send(head)
            else:
                data = head + data
        super().send(data)

    def _completed(self, head: bytes) -> bytes:
        lines = "\r\n".join(self._lines)
        if lines.count("\n") != len(self._lines) - 1 or lines.count("\r") != lines.count("\n"):
            raise ValueError("a header holds a line break")
        return head.removesuffix(b"\r\n") + lines.encode("latin-1") + b"\r\n\r\n"


class _Connection(_OneWrite, urllib3.connection.HTTPConnection):
    pass


class _TlsConnection(_OneWrite, urllib3.connection.HTTPSConnection):
    pass


class _Response(requests.Response):
    """The few things of a response that are read here; no cookie jar, no history."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self.status_code = raw.status
        self.headers = raw.headers


class _ResolvedAdapter(requests.adapters.HTTPAdapter):
    """An adapter that resolves proxies, certificates and pool once for each URL."""

    def __init__(
        self, max_connections: int, ca_bundle: str | bool, proxies: dict[str, str]
    ) -> None:
        super().__init__(pool_maxsize=max_connections, max_retries=0)
        self.ca_bundle = ca_bundle
        self.proxies = proxies
        self._pools: dict[str, Any] = {}
        self._request_urls: dict[str, str] = {}

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,
        verify: Any,
        proxies: Any = None,
        cert: Any = None,
    ) -> Any:
        url = str(request.url)
        pool = self._pools.get(url)
        if pool is None:
            pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
            super().cert_verify(pool, url, verify, cert)
            pool.ConnectionCls = _TlsConnection if pool.scheme == "https" else _Connection
            self._pools[url] = pool
        return pool

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leave the pool as it was made: its certificates are set."""

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        url = str(request.url)
        if url not in self._request_urls:
            self._request_urls[url] = super().request_url(request, proxies)
        return self._request_urls[url]

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> _Response:
        return _Response(resp)

    def close(self) -> None:
        self._pools.clear()
        super().close()


def _read(raw: urllib3.BaseHTTPResponse, until: float) -> bytes:
    """Read an answer to its end, bounded in bytes and in time."""
    declared = raw.headers.get("Content-Length", "")
    length = int(declared) if declared.isdecimal() else None
    chunks: list[bytes] = []
    received = 0
    while received != length and (chunk := raw.read1(_CHUNK_BYTES)):
        chunks.append(chunk)
        received += len(chunk)
        if received > MAX_ANSWER_BYTES:
            raise urllib3.exceptions.HTTPError(f"more than {MAX_ANSWER_BYTES} bytes")
        if received != length and time.monotonic() > until:
            raise urllib3.exceptions.ReadTimeoutError(None, "", "it took too long")  # type: ignore[arg-type]
    if length is not None and received != length:
        raise urllib3.exceptions.HTTPError(f"{received} of {length} bytes")
    return b"".join(chunks)


# ---------------------------------------------------------------- errors

_HANDSHAKE_REASONS: Final = ("CERTIFICATE", "HANDSHAKE", "PROTOCOL", "UNKNOWN_CA", "WRONG_VERSION")


def _raise_translated(error: Exception) -> NoReturn:
    root = _root(error)
    if isinstance(root, ssl.SSLError) and (
        isinstance(root, ssl.SSLCertVerificationError)
        or any(reason in (root.reason or "") for reason in _HANDSHAKE_REASONS)
    ):
        raise TlsError(f"the endpoint could not be trusted ({_root_text(error)})") from error
    if _never_connected(error):
        raise TransportError(
            f"no connection to the endpoint ({_root_text(error)})", may_have_been_sent=False
        ) from error
    if isinstance(error, requests.ReadTimeout) or isinstance(root, TimeoutError):
        raise TransportError("no answer in time", may_have_been_sent=True) from error
    raise TransportError(
        f"the connection broke before the answer ({_root_text(error)})", may_have_been_sent=True
    ) from error


def _never_connected(error: Exception) -> bool:
    if isinstance(error, (requests.ConnectTimeout, requests.exceptions.ProxyError)):
        return True
    return any(
        isinstance(
            cause,
            (
                urllib3.exceptions.NewConnectionError,
                urllib3.exceptions.ConnectTimeoutError,
                urllib3.exceptions.ProxyError,
                socket.gaierror,
            ),
        )
        for cause in _chain(error)
    )


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and what it was made of, the innermost last."""
    chain: list[BaseException] = []
    todo: list[Any] = [error]
    while todo:
        cause = todo.pop()
        if isinstance(cause, BaseException) and cause not in chain:
            chain.append(cause)
            todo += [*cause.args, getattr(cause, "reason", None), cause.__cause__]
            todo.append(cause.__context__)
    return chain


def _root(error: BaseException) -> BaseException:
    chain = _chain(error)
    return next((cause for cause in chain if isinstance(cause, ssl.SSLError)), None) or next(
        (
            cause
            for cause in reversed(chain)
            if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException)
        ),
        error,
    )


def _root_text(error: Exception) -> str:
    """Describe the innermost cause without what libraries add: URLs, and proxies' passwords."""
    root = _root(error)
    if isinstance(root, ssl.SSLError):
        return getattr(root, "verify_message", "") or root.reason or type(root).__name__
    if isinstance(root, OSError) and root.strerror and not isinstance(root, requests.RequestException):
        return root.strerror
    if type(root) is urllib3.exceptions.HTTPError:
        return str(root)
    return type(root).__name__
