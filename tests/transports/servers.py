"""Servers on real sockets that do as they are told, and requests to them."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from eventbridge_partner._http import HttpRequest, Timeouts
from eventbridge_partner.transports._post import close_half_made

PATIENCE = Timeouts(connect=2, read=0.5)
IMPATIENCE = Timeouts(connect=2, read=0.2)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Amzn-RequestId: 7\r\n\r\n{}"

Handler = Callable[[socket.socket], None]
Request = tuple[str, dict[str, str], bytes]


@contextmanager
def served(handle: Handler, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve each connection with a function on its own thread; yield the port."""
    listening = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []
    connections: list[socket.socket] = []

    def run() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            connections.append(connection)
            threads.append(threading.Thread(target=serve, args=(connection,)))
            threads[-1].start()

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                if context is None:
                    handle(connection)
                else:
                    with context.wrap_socket(connection, server_side=True) as secured:
                        connections.append(secured)
                        handle(secured)
            except OSError as error:
                close_half_made(error)

    threads.append(threading.Thread(target=run))
    threads[0].start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


def read_request(connection: socket.socket) -> Request:
    """Read a request; return its first line, its headers and its body."""
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            raise ConnectionError
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        assert name.lower() not in headers, f"{name} comes twice"
        headers[name.lower()] = value.strip()
    missing = int(headers.get("content-length", 0)) - len(body)
    while missing > 0:
        chunk = connection.recv(65536)
        if not chunk:
            raise ConnectionError
        body += chunk
        missing -= len(chunk)
    return first, headers, body


def answer_with(body: bytes) -> bytes:
    """Return an answer with this body."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def answering(answer: bytes) -> Handler:
    """Answer the first request with these bytes, and close the connection."""

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(answer)

    return handle


def echoing(connection: socket.socket) -> None:
    """Answer every request with its own body."""
    while True:
        _, _, body = read_request(connection)
        connection.sendall(answer_with(body))


def silent(connection: socket.socket) -> None:
    """Read what comes, and send nothing until the client leaves."""
    while connection.recv(65536):
        pass


def reset(connection: socket.socket) -> None:
    """Close a connection with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def post(port: int, body: bytes = b"{}", headers: dict[str, str] | None = None) -> HttpRequest:
    return HttpRequest(f"http://127.0.0.1:{port}/", headers or {"X-Test": "1"}, body)


def to_localhost(port: int, body: bytes = b"{}") -> HttpRequest:
    """Return a request over TLS, with headers that nobody else may see."""
    headers = {"X-Test": "1", "Authorization": "signature", "X-Amz-Security-Token": "token"}
    return HttpRequest(f"https://localhost:{port}/", headers, body)
