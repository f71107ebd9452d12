"""
A service that gives every request the same answer: twenty event ids.

    python -m benchmarks.service [CERTIFICATE]

Reads nothing of a request but its length, so that it does not slow down who is measured. Prints
its port; then, for each line of its input, a line of JSON with the CPU seconds it has used and
the requests it has answered. Ends with its input.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from benchmarks.cases import BATCH

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_BUFFER_BYTES = 256 * 1024


def _answer() -> bytes:
    ids = [f"7bf73129-1428-4cd3-a780-{number:012x}" for number in range(BATCH)]
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
    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self.requests = 0
        self._tls = tls
        self._answer = _answer()

    def serve(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                buffer = bytearray(_BUFFER_BYTES)
                while self._read_request(connection, buffer):
                    connection.sendall(self._answer)
                    self.requests += 1
        except OSError:
            return  # the client is gone

    def _read_request(self, connection: socket.socket, buffer: bytearray) -> bool:
        received = connection.recv_into(buffer)
        if not received:
            return False
        while (head := buffer.find(b"\r\n\r\n", 0, received)) < 0:
            received += connection.recv_into(memoryview(buffer)[received:])
        length = _LENGTH.search(buffer, 0, head + 2)
        missing = head + 4 + (int(length[1]) if length else 0) - received
        while missing > 0:
            missing -= (count := connection.recv_into(buffer))
            if not count:
                return False
        return True


def main() -> None:
    tls = None
    if len(sys.argv) > 1:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(sys.argv[1])
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    answers = _FixedAnswers(tls)
    threading.Thread(target=answers.serve, args=(listener,), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    for _ in sys.stdin:
        used = {"cpu": time.process_time(), "requests": answers.requests}
        print(json.dumps(used), flush=True)


# ---------------------------------------------------------------- for those who start it


class Usage(NamedTuple):
    """What a service has done since it started."""

    cpu: float
    requests: int


class Service:
    """The service, in a process of its own."""

    def __init__(self, environment: Mapping[str, str], certificate: Path | None) -> None:
        command = [sys.executable, "-m", "benchmarks.service"]
        if certificate:
            command.append(str(certificate))
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        scheme = "https" if certificate else "http"
        self.url = f"{scheme}://127.0.0.1:{int(self._line())}"

    def usage(self) -> Usage:
        """Ask for what it has done."""
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
