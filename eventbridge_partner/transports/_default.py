"""
The default transport: works like `RequestsTransport`, but without importing `requests`.

Importing `requests` takes a sixth of the time up to the first answer, and all that we gain from it
is that tests can replace its adapter. Tools that do so (responses, moto) import `requests`
themselves. So once any code has imported it, requests go through its adapter; until then, they go
directly to the same urllib3 pools.
"""

from __future__ import annotations

import os
import ssl
import sys
import threading
import urllib.parse
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import urllib3
import urllib3.exceptions
from urllib3.util.ssl_ import create_urllib3_context

from eventbridge_partner._http import HttpRequest, HttpResponse, Timeouts
from eventbridge_partner._signals import let_pass
from eventbridge_partner.transports._faults import no_certificates, no_connection, place_of
from eventbridge_partner.transports._post import OUT_OF_FILES, POOLS
from eventbridge_partner.transports._reasons import words

if TYPE_CHECKING:
    from eventbridge_partner.transports.requests import RequestsTransport


def requests_is_imported() -> bool:
    """Tell whether a test may have replaced parts of `requests`."""
    return "requests" in sys.modules


class DefaultTransport:
    """
    Sends one request at a time in each thread, through `requests` if that has been imported.

    After a fork, parent and child use connections of their own.

    Args:
        ca_bundle: The path of a file of trusted certificates; True for those of `certifi`.
        proxies: Proxy URLs by scheme. If there are any, requests go through `requests`.
        max_connections: The most idle connections kept open.
        needs_requests: Called before each request; returns whether to use `requests`.
    """

    def __init__(
        self,
        *,
        ca_bundle: str | bool = True,
        proxies: Mapping[str, str] | None = None,
        max_connections: int = 64,
        needs_requests: Callable[[], bool] = requests_is_imported,
    ) -> None:
        self._settings: dict[str, Any] = {
            "ca_bundle": ca_bundle,
            "proxies": proxies,
            "max_connections": max_connections,
        }
        self._needs_requests = needs_requests
        self._pools: _Pools | None = None
        self._through_requests: RequestsTransport | None = None
        if proxies or needs_requests():
            self._through_requests = self._with_requests()
        else:
            self._pools = _Pools(ca_bundle, max_connections)
        _transports.add(self)

    def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        """Send a request and return its complete answer. See `Transport.send`."""
        transport = self._through_requests
        if transport is None:
            pools = self._pools
            if pools is not None and not self._needs_requests():
                return pools.send(request, timeouts)
            transport = self._switch(request.url)
        return transport.send(request, timeouts)

    def close(self) -> None:
        """Close all idle connections. Sending again opens new ones."""
        pools, transport = self._pools, self._through_requests
        if pools is not None:
            # New pools: a sending thread may put a closed connection back into the old ones.
            self._pools = pools.anew()
            pools.close()
        if transport is not None:
            transport.close()

    def _switch(self, url: str) -> RequestsTransport:
        with _switching:
            if self._through_requests is None:
                try:
                    self._through_requests = self._with_requests()
                except OSError as error:  # no file descriptor is left to read a module
                    raise no_connection(place_of(url), words(error)) from error
                # Idle connections are closed with the pools, once no thread uses them.
                self._pools = None
            return self._through_requests

    def _with_requests(self) -> RequestsTransport:
        from eventbridge_partner.transports.requests import RequestsTransport

        return RequestsTransport(**self._settings)

    def _forget_connections(self) -> None:
        if self._pools is not None:
            self._pools = self._pools.anew()


_switching: Final = threading.RLock()
"""Held while `requests` is imported: a child forked in the middle would wait for it forever."""

_transports: Final[weakref.WeakSet[DefaultTransport]] = weakref.WeakSet()


def _leave_connections_to_parent() -> None:
    for transport in _transports:
        transport._forget_connections()  # pyright: ignore[reportPrivateUsage]
    _switching.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_switching.acquire,
        after_in_parent=_switching.release,
        after_in_child=_leave_connections_to_parent,
    )


class _Pools:
    """Connections, without `requests` and without a proxy."""

    def __init__(self, ca_bundle: str | bool, max_connections: int) -> None:
        self._ca_bundle = ca_bundle
        self._max_connections = max_connections
        self._manager: Any = urllib3.PoolManager(maxsize=max_connections)
        self._manager.pool_classes_by_scheme = POOLS
        self._tls: ssl.SSLContext | None = None
        self._found: dict[str, tuple[Any, str]] = {}

    def anew(self) -> _Pools:
        """Return new pools with the same settings."""
        return _Pools(self._ca_bundle, self._max_connections)

    def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        pool, path = self._found.get(request.url) or self._find(request.url)
        answer: HttpResponse = pool.urlopen(
            "POST",
            path,
            body=request.body,
            headers={**request.headers, "Content-Length": str(len(request.body))},
            timeout=urllib3.Timeout(timeouts.total, timeouts.connect, timeouts.read),
        )
        return answer

    def _find(self, url: str) -> tuple[Any, str]:
        try:
            pool = self._manager.connection_from_url(url, self._pool_settings(url))
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise no_connection(place_of(url), words(error)) from error
        except OSError as error:
            let_pass(error)
            if error.errno in OUT_OF_FILES:
                raise no_connection(place_of(url), words(error)) from error
            raise no_certificates(place_of(url), self._ca_bundle) from error
        parts = urllib.parse.urlsplit(url)
        path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        self._found[url] = found = pool, path
        return found

    def _pool_settings(self, url: str) -> dict[str, Any]:
        if not url.startswith("https:"):
            return {}
        if self._tls is None:
            # Shared by all connections: reading the certificates takes longer than a handshake.
            tls = create_urllib3_context()
            path = self._ca_bundle
            if path is True:
                import certifi

                path = certifi.where()
            place = "capath" if Path(str(path)).is_dir() else "cafile"
            tls.load_verify_locations(**{place: str(path)})
            self._tls = tls
        return {"ssl_context": self._tls}

    def close(self) -> None:
        self._manager.clear()
