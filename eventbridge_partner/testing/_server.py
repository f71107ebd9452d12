"""
The local service over real HTTP/1.1, with a thread for each connection.

Written on sockets rather than `http.server`, which parses headers with the email package and takes
longer for that than the service for everything else. Faults need the socket, too.
"""

from __future__ import annotations

import contextlib
import json
import logging
import selectors
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from eventbridge_partner.testing import _answers, _control, _page, _stream
from eventbridge_partner.testing._access import Access
from eventbridge_partner.testing._heads import (
    BadRequestError,
    Head,
    answer_head,
    parse_head,
    split_head,
)

if TYPE_CHECKING:
    from typing import Self

    from eventbridge_partner.testing._protocol import LocalService
    from eventbridge_partner.testing._records import Answer
    from eventbridge_partner.testing._rules import Refusal

IDLE_SECONDS: Final = 300.0
"""Seconds after which an idle connection is closed, so that abandoned ones do not pile up."""

GRACE_SECONDS: Final = 5.0
"""Seconds that `close` waits for answers under way."""

LINGER_SECONDS: Final = 2.0
"""Seconds to read the rest of a refused body, so that the client can read the answer."""

MOST_STREAMS: Final = 8
"""The most concurrent readers of the stream; each has a thread."""

SLOW_SECONDS: Final = 10.0
"""Seconds that a reader may leave a message unread."""

_JSON: Final = "application/json"
_STREAM: Final = f"{_control.PATH}stream"

_logger = logging.getLogger(__name__)


class LocalServer:
    """
    Serves HTTP for a local service until closed. Made by `FakeEventBridge.serve`.

    Attributes:
        host: The address that it listens on.
        port: The port that it listens on.
        url: The `endpoint_url` for clients on this machine.
        page_url: The URL of the page; None if there is no page.
    """

    def __init__(
        self,
        service: LocalService,
        host: str,
        port: int,
        *,
        trusted_peers: Iterable[str] = (),
        trusted_hosts: Iterable[str] = (),
        page: bool = True,
    ) -> None:
        access = Access(peers=trusted_peers, hosts=trusted_hosts)
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        self._service = service
        self._listener = socket.socket(family, kind, protocol)
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(address)
            self._listener.listen(1024)
        except OSError:
            self._listener.close()
            raise
        self._listener.setblocking(False)
        self.host: str = self._listener.getsockname()[0]
        self.port: int = self._listener.getsockname()[1]
        bracketed = f"[{self.host}]" if ":" in self.host else self.host
        # A client cannot connect to "any address"; loopback is one of them.
        reached = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, bracketed)  # noqa: S104
        self.url: str = f"http://{reached}:{self.port}"
        self.page_url: str | None = f"{self.url}{_page.PATH}" if page else None
        self._shared = _Shared(
            attrs.evolve(access, bound=f"{bracketed}:{self.port}"),
            _control.Control(service),
            has_page=page,
        )
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._connections: dict[_Connection, threading.Thread] = {}
        self._wake, self._woken = socket.socketpair()
        self._acceptor = threading.Thread(
            target=self._accept, name=f"eventbridge-local-{self.port}", daemon=True
        )
        self._acceptor.start()

    def __repr__(self) -> str:
        state = "closed" if self._closing.is_set() else f"{len(self._connections)} connections"
        return f"<LocalServer {self.url}: {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish answers under way, close all connections and free the port."""
        with self._lock:
            first = not self._closing.is_set()
            self._closing.set()
        if first:
            self._wake.close()
        self._acceptor.join()
        with self._lock:
            connections = dict(self._connections)
        for connection in connections:
            connection.close_if_idle()
        deadline = time.monotonic() + GRACE_SECONDS
        for connection, thread in connections.items():
            thread.join(max(deadline - time.monotonic(), 0))
            if thread.is_alive():
                connection.abort()
                thread.join(GRACE_SECONDS)

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector, self._listener, self._woken:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._closing.is_set():
                selector.select()
                try:
                    peer, _ = self._listener.accept()
                except BlockingIOError:
                    continue
                except OSError:
                    # Out of file descriptors, or the client has already left.
                    self._closing.wait(0.01)
                    continue
                self._start(peer)

    def _start(self, peer: socket.socket) -> None:
        connection = _Connection(self._service, self._shared, peer, self._closing)
        thread = threading.Thread(
            target=self._run, args=(connection,), name=f"{self._acceptor.name}-peer", daemon=True
        )
        with self._lock:
            self._connections[connection] = thread
        try:
            thread.start()
        except RuntimeError:
            # No more threads: refuse this client, and go on serving the others.
            connection.abort()
            with self._lock:
                del self._connections[connection]

    def _run(self, connection: _Connection) -> None:
        try:
            connection.serve()
        except OSError:
            pass  # The client has left; its missing answer is recorded.
        except Exception:
            # A user's predicate raised: that must not look like a network failure.
            _logger.exception("the local service failed")
        finally:
            connection.abort()
            with self._lock:
                del self._connections[connection]


@attrs.frozen
class _Shared:
    """State that all connections of a server share."""

    access: Access
    control: _control.Control
    has_page: bool
    streams: threading.Semaphore = attrs.field(
        init=False, factory=lambda: threading.Semaphore(MOST_STREAMS)
    )


class _Connection:
    """One connection: reads requests, writes answers."""

    def __init__(
        self,
        service: LocalService,
        shared: _Shared,
        peer: socket.socket,
        closing: threading.Event,
    ) -> None:
        self._service = service
        self._shared = shared
        self._socket = peer
        self._closing = closing
        self._received = b""
        self._lock = threading.Lock()
        self._answering = False
        peer.settimeout(IDLE_SECONDS)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def serve(self) -> None:
        """Answer requests until either side closes the connection."""
        while not self._closing.is_set():
            try:
                head = self._read_head()
                if head is None:
                    return
                if head.length > self._service.max_body_bytes:
                    answer = self._service.refuse_unread(head.headers)
                    self._deliver(answer, keeps_alive=False)
                    self._linger()
                    return
                body = self._read_body(head)
            except BadRequestError as error:
                self._refuse(error.refusal)
                return
            if body is None or not self._begin():
                return
            if head.path.startswith((_control.PATH, _page.PATH)):
                goes_on = self._answer_beside(head, body)
            else:
                answer = self._service.handle(head.method, head.path, head.headers, body)
                goes_on = self._deliver(answer, head.keeps_alive)
            if not goes_on or not self._end():
                return

    def close_if_idle(self) -> None:
        """Close the connection unless it is answering a request; then it closes afterwards."""
        with self._lock:
            if not self._answering:
                self._shut_down()

    def abort(self) -> None:
        """Close the connection."""
        self._shut_down()
        self._socket.close()

    def _shut_down(self) -> None:
        # Wakes a thread in recv; close alone would not.
        with contextlib.suppress(OSError):  # The peer has already closed it.
            self._socket.shutdown(socket.SHUT_RDWR)

    def _begin(self) -> bool:
        with self._lock:
            self._answering = not self._closing.is_set()
            return self._answering

    def _end(self) -> bool:
        with self._lock:
            self._answering = False
            return not self._closing.is_set()

    def _read_head(self) -> Head | None:
        while (parts := split_head(self._received)) is None:
            chunk = self._socket.recv(65536)
            if not chunk:
                return None
            self._received += chunk
        head, self._received = parts
        return parse_head(head)

    def _read_body(self, head: Head) -> bytes | None:
        missing = head.length - len(self._received)
        if missing > 0 and head.headers.get("expect", "").lower() == "100-continue":
            self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        chunks = [self._received]
        while missing > 0:
            chunk = self._socket.recv(min(missing, 1 << 20))
            if not chunk:
                return None
            chunks.append(chunk)
            missing -= len(chunk)
        received = b"".join(chunks)
        self._received = received[head.length :]
        return received[: head.length]

    def _deliver(self, answer: Answer, keeps_alive: bool) -> bool:
        """Send an answer, or what its fault leaves of it; return whether the connection stays."""
        # A busy machine delays answers too, and sending to a client that has left is no error.
        if (answer.delay and self._closing.wait(answer.delay)) or self._peer_has_left():
            self._service.note_undelivered(answer)
            return False
        if answer.is_silent:
            return False
        keeps_alive = keeps_alive and not self._closing.is_set()
        headers = {**answer.headers, "Content-Length": str(len(answer.body))}
        head = answer_head(answer.status, headers, keeps_alive=keeps_alive)
        try:
            self._socket.sendall(head + answer.body[: answer.cut_after])
        except OSError:
            self._service.note_undelivered(answer)
            raise
        return keeps_alive and answer.cut_after is None

    def _answer_beside(self, head: Head, body: bytes) -> bool:
        """Answer a control call, or a request for a file of the page."""
        peer = self._socket.getpeername()[0]
        keeps_alive = head.keeps_alive and not self._closing.is_set()
        if refusal := self._shared.access.refusal(peer, head.headers):
            return self._send_document(403, {"message": refusal}, keeps_alive)
        if head.path.startswith(_page.PATH):
            found = _page.file_at(head.path) if self._shared.has_page else None
            if found is None:
                return self._send_document(404, {"message": "no such file"}, keeps_alive)
            if head.method != "GET":
                return self._send_document(405, {"message": "allowed: GET"}, keeps_alive)
            self._send(200, *found, keeps_alive, _page.HEADERS)
            return keeps_alive
        if head.method == "GET" and head.path.partition("?")[0] == _STREAM:
            return self._stream(head)
        status, text = self._shared.control.answer(head.method, head.path, head.headers, body)
        self._send(status, _JSON, text, keeps_alive, _page.HEADERS)
        return keeps_alive

    def _stream(self, head: Head) -> bool:
        """Stream what happens until the client leaves. Returns False: the connection is over."""
        if not self._shared.streams.acquire(blocking=False):
            refusal = f"there are already {MOST_STREAMS} readers"
            return self._send_document(503, {"message": refusal}, keeps_alive=False)
        try:
            headers = {**_page.HEADERS, "content-type": "text/event-stream"}
            self._socket.sendall(answer_head(200, headers, keeps_alive=False))
            last_id = head.headers.get("last-event-id", "")
            # A reader that is too slow is disconnected, and resumes when it reconnects.
            self._socket.settimeout(SLOW_SECONDS)
            for message in _stream.messages(self._service, last_id, self._closing):
                if message:
                    self._socket.sendall(message)
                elif self._peer_has_left():
                    break
        finally:
            self._shared.streams.release()
        return False

    def _send_document(self, status: int, document: dict[str, Any], keeps_alive: bool) -> bool:
        self._send(status, _JSON, json.dumps(document).encode(), keeps_alive, _page.HEADERS)
        return keeps_alive

    def _send(
        self,
        status: int,
        content_type: str,
        body: bytes,
        keeps_alive: bool,
        more: Mapping[str, str] | None = None,
    ) -> None:
        headers = {"content-type": content_type, **(more or {}), "Content-Length": str(len(body))}
        self._socket.sendall(answer_head(status, headers, keeps_alive=keeps_alive) + body)

    def _peer_has_left(self) -> bool:
        timeout = self._socket.gettimeout()
        self._socket.settimeout(0)
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self._socket.settimeout(timeout)

    def _refuse(self, refusal: Refusal) -> None:
        body = _answers.error_body(refusal)
        self._send(refusal.status, "application/x-amz-json-1.1", body, keeps_alive=False)
        self._linger()

    def _linger(self) -> None:
        """Let the client read the answer: closing with unread bytes would reset the connection."""
        self._socket.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + LINGER_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            if not self._socket.recv(1 << 20):
                return
