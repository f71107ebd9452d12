"""
The default transport once something has imported `requests`; see `_default`.

`requests.Session` looks up proxies, netrc, cookies and certificates again for every request. Here
all that is resolved once, and the adapter, which is what `responses` and moto replace in tests,
gets requests that are ready.
"""

from __future__ import annotations

import http.client
import os
import weakref
from collections.abc import Mapping
from typing import Any, Final, NoReturn, cast

import attrs
import requests
import requests.adapters
import requests.structures
import urllib3
import urllib3.exceptions

from eventbridge_partner._clock import monotonic
from eventbridge_partner._http import HttpRequest, HttpResponse, Timeouts
from eventbridge_partner.errors import TlsError, TransportError
from eventbridge_partner.transports._post import POOLS, cause_of, lower_case, read


class RequestsTransport:
    """
    Sends requests through a `requests` adapter, one at a time from each thread.

    After a fork, parent and child go on with connections of their own.

    Args:
        ca_bundle: The path of a file of trusted certificates; True for those of `certifi`.
        proxies: Proxy URLs by scheme, as `requests` takes them.
        max_connections: Idle connections kept open. Threads beyond that open one for a request and
            close it after that.
    """

    def __init__(
        self,
        *,
        ca_bundle: str | bool = True,
        proxies: Mapping[str, str] | None = None,
        max_connections: int = 64,
    ) -> None:
        self._max_connections = max_connections
        self._adapter = _ResolvedAdapter(max_connections)
        self._ca_bundle = ca_bundle
        self._proxies = dict(proxies or {})
        _transports.add(self)

    def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        """Send a request and return its whole answer. See `Transport.send`."""
        prepared = requests.PreparedRequest()
        prepared.method = "POST"
        prepared.url = request.url
        # Any mapping will do, and none is cheaper.
        headers: Any = {**request.headers, "Content-Length": str(len(request.body))}
        prepared.headers = headers
        prepared.body = request.body
        bounds: Any = urllib3.Timeout(timeouts.total, timeouts.connect, timeouts.read)
        try:
            # Whole already, unless a proxy or a mock stands in between.
            adapter = self._adapter if _is_own(requests.Session.send) else _Session(self._adapter)
            answer = cast(
                "HttpResponse | requests.Response",
                adapter.send(
                    prepared,
                    stream=True,
                    timeout=bounds,
                    verify=self._ca_bundle,
                    proxies=self._proxies,
                ),
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            _raise_translated(error)
        if isinstance(answer, HttpResponse):
            return answer
        return _whole(answer, monotonic() + timeouts.read)

    def close(self) -> None:
        """Close all idle connections. Sending again opens new ones."""
        # Not the same adapter again: a thread that is about to send may put what is closed back.
        closed = self._adapter
        self._forget_connections()
        closed.close()

    def _forget_connections(self) -> None:
        self._adapter = _ResolvedAdapter(self._max_connections)


_transports: Final[weakref.WeakSet[RequestsTransport]] = weakref.WeakSet()


def _leave_connections_to_parent() -> None:
    for transport in _transports:
        transport._forget_connections()  # pyright: ignore[reportPrivateUsage]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_connections_to_parent)


def _is_own(send: object) -> bool:
    """Tell whether a session's `send` is that of requests, and not of requests-mock in a test."""
    return getattr(send, "__module__", None) == "requests.sessions"


@attrs.frozen
class _Session:
    """An adapter seen through a session, where a stand-in replaces sessions and nothing below."""

    adapter: requests.adapters.HTTPAdapter

    def send(self, prepared: requests.PreparedRequest, **settings: Any) -> requests.Response:
        session = requests.Session()
        session.trust_env = False
        session.mount("https://", self.adapter)
        session.mount("http://", self.adapter)
        prepared.headers = requests.structures.CaseInsensitiveDict(prepared.headers)
        return session.send(prepared, allow_redirects=False, **settings)


class _ResolvedAdapter(requests.adapters.HTTPAdapter):
    """An adapter that resolves proxy, certificates and pool once for each URL."""

    def __init__(self, max_connections: int) -> None:
        self._pools: dict[str, Any] = {}
        self._paths: dict[str, str] = {}
        super().__init__(pool_maxsize=max_connections, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        # VCR.py replaces the connections of urllib3's own pools, so those are used then.
        if urllib3.HTTPConnectionPool.ConnectionCls.__module__ == "urllib3.connection":
            self.poolmanager.pool_classes_by_scheme = POOLS

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
            try:
                super().cert_verify(pool, url, verify, cert)  # type: ignore[no-untyped-call]
            except OSError as error:
                message = "the endpoint could not be trusted (there are no trusted certificates)"
                raise TlsError(message) from error
            self._pools[url] = pool
        return pool

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leave the pool as it was made: its certificates are set."""

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        url = str(request.url)
        if url not in self._paths:
            self._paths[url] = super().request_url(request, proxies)
        return self._paths[url]

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> Any:
        return resp if isinstance(resp, HttpResponse) else super().build_response(req, resp)

    def close(self) -> None:
        self._pools.clear()
        super().close()


def _whole(answer: requests.Response, until: float) -> HttpResponse:
    """Read an answer of urllib3 to its end."""
    try:
        body = read(answer.raw, until)
    except (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError) as error:
        answer.raw.close()
        raise TransportError(cause_of(error), may_have_been_sent=True) from error
    except BaseException:
        answer.raw.close()
        raise
    answer.raw.release_conn()
    return HttpResponse(answer.status_code, lower_case(answer.headers), body)


def _raise_translated(error: Exception) -> NoReturn:
    """Raise what an error of requests means: it comes from a proxy, or from a mock."""
    kind = type(error).__name__
    reason = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(error, requests.exceptions.SSLError):
        raise TlsError(f"the endpoint could not be trusted ({kind})") from error
    if isinstance(error, (requests.ConnectTimeout, requests.exceptions.ProxyError)) or isinstance(
        reason, (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ProxyError)
    ):
        message = f"no connection to the endpoint ({kind})"
        raise TransportError(message, may_have_been_sent=False) from error
    if isinstance(error, requests.ReadTimeout):
        raise TransportError("no answer in time", may_have_been_sent=True) from error
    raise TransportError(f"the answer was lost ({kind})", may_have_been_sent=True) from error
