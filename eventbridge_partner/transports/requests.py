"""
The default transport once any code has imported `requests`; see `_default`.

`requests.Session` looks up proxies, netrc, cookies and certificates again for each request. Here,
all that is resolved once, and ready requests go to the adapter, which `responses` and moto replace
in tests.
"""

from __future__ import annotations

import http.client
import importlib.util
import os
import weakref
from collections.abc import Mapping
from typing import Any, Final, cast

import attrs
import requests
import requests.adapters
import requests.structures
import requests.utils
import urllib3
import urllib3.exceptions

from eventbridge_partner._clock import monotonic
from eventbridge_partner._http import HttpRequest, HttpResponse, Timeouts
from eventbridge_partner.errors import ConfigurationError, TransportError
from eventbridge_partner.transports._faults import (
    answer_lost,
    no_answer_in_time,
    no_certificates,
    no_connection,
    not_trusted,
    place_of,
)
from eventbridge_partner.transports._post import POOLS, read, socks_pools
from eventbridge_partner.transports._proxies import Proxies, basic
from eventbridge_partner.transports._reading import GarbledAnswerError
from eventbridge_partner.transports._reasons import words


class RequestsTransport:
    """
    Sends one request at a time in each thread, through a `requests` adapter.

    After a fork, parent and child use connections of their own.

    Args:
        ca_bundle: The path of a file of trusted certificates; True for those of `certifi`.
        proxies: Proxy URLs by scheme, as `requests` takes them; SOCKS proxies need PySocks.
        max_connections: The most idle connections kept open. Threads beyond that open one for a
            request and close it afterwards.

    Raises:
        ConfigurationError: A proxy is invalid.
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
        self._proxies = Proxies(proxies, _schemes_of_proxies(proxies or {})).urls()
        _transports.add(self)

    def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        """Send a request and return its complete answer. See `Transport.send`."""
        prepared = requests.PreparedRequest()
        prepared.method = "POST"
        prepared.url = request.url
        # The adapter accepts any mapping, and a dict is the cheapest.
        headers: Any = {**request.headers, "Content-Length": str(len(request.body))}
        prepared.headers = headers
        prepared.body = request.body
        bounds: Any = urllib3.Timeout(timeouts.total, timeouts.connect, timeouts.read)
        try:
            # The answer is an HttpResponse already, unless a proxy or a mock is involved.
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
            raise _translated(error, place_of(request.url)) from error
        if isinstance(answer, HttpResponse):
            return answer
        return _whole(answer, place_of(request.url), monotonic() + timeouts.read)

    def close(self) -> None:
        """Close all idle connections. Sending again opens new ones."""
        # A new adapter: a sending thread may put a closed connection back into the old one.
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
    """Tell whether a session's `send` is that of requests, not of requests-mock in a test."""
    return getattr(send, "__module__", None) == "requests.sessions"


@attrs.frozen
class _Session:
    """A session around the adapter, for test tools that replace sessions rather than adapters."""

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
        # VCR.py replaces the connections of urllib3's own pools, so those must be used then.
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
            try:
                pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
            except Exception as error:  # nothing was sent, whatever it raises
                raise no_connection(place_of(url), words(error)) from error
            try:
                super().cert_verify(pool, url, verify, cert)  # type: ignore[no-untyped-call]
            except OSError as error:
                raise no_certificates(place_of(url), verify) from error
            self._pools[url] = pool
        return pool

    def proxy_manager_for(self, proxy: str, **settings: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **settings)
        manager.pool_classes_by_scheme = socks_pools() if proxy.startswith("socks") else POOLS
        return manager

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Do nothing: the pool was made with its certificates."""

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        user, password = requests.utils.get_auth_from_url(proxy)
        if not (user or password):
            return {}
        return {"Proxy-Authorization": basic(user, password)}

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


_OF_HTTP: Final = frozenset({"http", "https"})
_OF_SOCKS: Final = frozenset({"socks4", "socks4a", "socks5", "socks5h"})


def _schemes_of_proxies(proxies: Mapping[str, str]) -> frozenset[str]:
    """Return the schemes that proxies may have; SOCKS schemes need PySocks."""
    of_socks = [url.partition("://")[0].lower() for url in proxies.values() if url]
    wanted = next((scheme for scheme in of_socks if scheme in _OF_SOCKS), None)
    if wanted is None:
        return _OF_HTTP
    if importlib.util.find_spec("socks") is None:
        raise ConfigurationError(
            f"a proxy has the scheme {wanted!a}, which needs PySocks; install it with: "
            "pip install PySocks"
        )
    return _OF_HTTP | _OF_SOCKS


def _whole(answer: requests.Response, place: str, until: float) -> HttpResponse:
    """Read the answer of a mock."""
    try:
        body = read(answer.raw, until)
    except (
        OSError,
        http.client.HTTPException,
        urllib3.exceptions.HTTPError,
        GarbledAnswerError,
    ) as error:
        answer.raw.close()
        if isinstance(error, TimeoutError):
            raise no_answer_in_time(place) from error
        why = str(error) if isinstance(error, GarbledAnswerError) else words(error)
        raise answer_lost(place, why) from error
    except BaseException:
        answer.raw.close()
        raise
    answer.raw.release_conn()
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return HttpResponse(answer.status_code, headers, body)


def _translated(error: Exception, place: str) -> TransportError:
    """Return the error that stands for an exception of requests, which a mock raised."""
    kind = type(error).__name__
    if isinstance(error, requests.exceptions.SSLError):
        return not_trusted(place, kind)
    if isinstance(error, (requests.ConnectTimeout, requests.exceptions.ProxyError)):
        return no_connection(place, kind)
    if isinstance(error, requests.ReadTimeout):
        return no_answer_in_time(place)
    return answer_lost(place, kind)
