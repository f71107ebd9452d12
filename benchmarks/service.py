"""
A service that gives every request the same answer: twenty event ids.

    python -m benchmarks.service [--delay SECONDS] [--entries COUNT] [CERTIFICATE]

Reads only the length of a request, so that it does not slow contenders down, and serves all
connections on one thread, so that many cost no more than one. Prints its port; then, for each line
of its input, a line of JSON with the CPU seconds it has used and the requests it has answered. It
ends when its input ends.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import re
import selectors
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from benchmarks.cases import BATCH

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_BUFFER_BYTES = 256 * 1024


def answer_bytes(entries: int = BATCH) -> bytes:
    """Return the answer to every request, with `entries` event ids."""
    ids = [f"7bf73129-1428-4cd3-a780-{number:012x}" for number in range(entries)]
    content = {"FailedEntryCount": 0, "Entries": [{"EventId": event_id} for event_id in ids]}
    body = json.dumps(content, separators=(",", ":"))
    return (
        "HTTP/1.1 200 OK\r\n"
        "x-amzn-RequestId: e8f5c1f0-0f1c-4c66-b1a6-5f0e3c0d2a11\r\n"
        "Content-Type: application/x-amz-json-1.1\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Date: Mon, 02 Mar 2026 10:00:00 GMT\r\n\r\n"
        f"{body}"
    ).encode()


class _FixedAnswers:
    """
    The answers that are due on connections.

    All answers take the same time, so the oldest is due next: a queue is enough.
    """

    def __init__(self, tls: ssl.SSLContext | None, delay: float, entries: int) -> None:
        self.requests = 0
        self.tls = tls
        self._delay = delay
        self._answer = answer_bytes(entries)
        self._selector = selectors.DefaultSelector()
        self._due: collections.deque[tuple[float, socket.socket]] = collections.deque()
        self._is_open = True

    def when_readable(self, file: Any, act: Callable[[], None]) -> None:
        self._selector.register(file, selectors.EVENT_READ, act)

    def forget(self, file: socket.socket) -> None:
        self._selector.unregister(file)
        file.close()

    def answer(self, connection: socket.socket) -> None:
        self.requests += 1
        if self._delay:
            self._due.append((time.monotonic() + self._delay, connection))
        else:
            self._send(connection)

    def end(self) -> None:
        self._is_open = False

    def serve(self) -> None:
        due = self._due
        while self._is_open:
            seconds = max(0.0, due[0][0] - time.monotonic()) if due else None
            for key, _ in self._selector.select(seconds):
                key.data()
            now = time.monotonic() if due else 0.0
            while due and due[0][0] <= now:
                self._send(due.popleft()[1])

    def _send(self, connection: socket.socket) -> None:
        try:
            connection.send(self._answer)  # short enough to fit into the socket's buffer
        except OSError:
            return  # the client is gone, as the next read will show


class _Connection:
    """One client's connection, which finds out where requests end."""

    _buffer = bytearray(_BUFFER_BYTES)
    """One buffer for all connections, because nothing reads the bytes of a request."""

    def __init__(self, answers: _FixedAnswers, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if answers.tls:
            connection = answers.tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        self._answers = answers
        self._socket = connection
        self._head = b""
        self._missing = 0
        answers.when_readable(connection, self.read)

    def read(self) -> None:
        """Read what has arrived; if it completes a request, schedule the answer."""
        buffer = self._buffer
        try:
            while True:
                count = self._socket.recv_into(buffer)
                if not count:
                    break
                if self._missing:
                    self._missing -= count
                else:
                    self._missing = self._missing_after(count)
                    if self._head:
                        continue
                if not self._missing:
                    self._answers.answer(self._socket)
                    return
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError:
            pass
        self._answers.forget(self._socket)

    def _missing_after(self, count: int) -> int:
        """Return how many bytes of a request are missing after its first ones."""
        head = self._head + self._buffer[:count] if self._head else self._buffer
        received = len(self._head) + count
        end = head.find(b"\r\n\r\n", 0, received)
        if end < 0:
            self._head = bytes(head[:received])
            return 0
        self._head = b""
        length = _LENGTH.search(head, 0, end + 2)
        return end + 4 + (int(length[1]) if length else 0) - received


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service")
    parser.add_argument("--delay", type=float, default=0.0, help="of each answer, in seconds")
    parser.add_argument("--entries", type=int, default=BATCH, help="that each answer lists")
    parser.add_argument("certificate", nargs="?")
    arguments = parser.parse_args()
    tls = None
    if arguments.certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(arguments.certificate)
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    answers = _FixedAnswers(tls, arguments.delay, arguments.entries)
    answers.when_readable(listener, lambda: _Connection(answers, listener.accept()[0]))

    def report() -> None:
        if not os.read(sys.stdin.fileno(), 1024):
            answers.end()
            return
        used = {"cpu": time.process_time(), "requests": answers.requests}
        print(json.dumps(used), flush=True)

    answers.when_readable(sys.stdin, report)
    print(listener.getsockname()[1], flush=True)
    answers.serve()


# ---------------------------------------------------------------- for the process that starts it


class Usage(NamedTuple):
    """What a service has done since it started."""

    cpu: float
    requests: int


class Service:
    """
    The service, in a process of its own.

    Args:
        environment: The environment of its process.
        certificate: Its certificate; None for no TLS.
        delay: Seconds added to each answer.
        entries: How many entries each answer has.
        command: Starts another service with the same protocol on stdin and stdout; None for this
            one.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        certificate: Path | None,
        *,
        delay: float = 0.0,
        entries: int = BATCH,
        command: list[str] | None = None,
    ) -> None:
        if command is None:
            command = [sys.executable, "-m", "benchmarks.service", "--delay", str(delay)]
            command += ["--entries", str(entries)]
            if certificate:
                command.append(str(certificate))
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        scheme = "https" if certificate else "http"
        self.url = f"{scheme}://127.0.0.1:{int(self._line())}"

    def usage(self) -> Usage:
        """Ask the service what it has done."""
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        return Usage(**json.loads(self._line()))

    def _line(self) -> Any:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate()


if __name__ == "__main__":
    main()
