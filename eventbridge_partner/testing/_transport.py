"""The local service as a transport, without a socket but with the same faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from eventbridge_partner._http import HttpRequest, HttpResponse, Timeouts
from eventbridge_partner.errors import TransportError

if TYPE_CHECKING:
    from eventbridge_partner.testing._protocol import LocalService


class LocalTransport:
    """
    Passes requests to a local service in process. Made by `FakeEventBridge.transport`.

    If the service would close the connection or answer too late, it raises `TransportError`, with
    `may_have_been_sent` set, because over a network, it would not be known.
    """

    def __init__(self, service: LocalService, sleep: Callable[[float], None]) -> None:
        self._service = service
        self._sleep = sleep

    def __repr__(self) -> str:
        return f"<LocalTransport to {self._service!r}>"

    def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        """
        Pass a request to the service, and return its whole answer, whatever its status.

        Raises:
            TransportError: A fault suppressed the answer, or it would come after the read timeout.
        """
        url = urlsplit(request.url)
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        # Headers that HTTP libraries add.
        headers = {"Host": _host(url), "Content-Length": str(len(request.body))}
        headers.update(request.headers)
        answer = self._service.handle("POST", path, headers, request.body)
        if answer.delay > timeouts.read:
            self._service.note_undelivered(answer)
            raise TransportError(
                f"no answer within {timeouts.read:g} seconds", may_have_been_sent=True
            )
        if answer.delay:
            self._sleep(answer.delay)
        if answer.is_silent:
            raise TransportError(
                "the connection was closed without an answer", may_have_been_sent=True
            )
        if answer.cut_after is not None:
            raise TransportError(
                f"the connection was closed after {answer.cut_after} of {len(answer.body)} bytes "
                "of the answer",
                may_have_been_sent=True,
            )
        return HttpResponse(answer.status, answer.headers, answer.body)

    def close(self) -> None:
        """Do nothing: there is no connection. It can still send afterwards."""


def _host(url: SplitResult) -> str:
    host = url.netloc.rpartition("@")[2]
    default = {"http": ":80", "https": ":443"}.get(url.scheme, "")
    return host.removesuffix(default) if default else host
