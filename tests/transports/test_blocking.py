"""Every blocking transport with threads, forks, signals and files."""

from __future__ import annotations

import os
import resource
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from eventbridge_partner._http import HttpRequest, Timeouts
from eventbridge_partner.errors import TransportError
from eventbridge_partner.transports import Transport
from eventbridge_partner.transports.curl import CurlTransport
from eventbridge_partner.transports.requests import RequestsTransport
from tests.patience import SOON, until
from tests.transports.senders import without_requests
from tests.transports.servers import (
    answer_with,
    echoing,
    post,
    read_request,
    reset,
    served,
    to_localhost,
)

MAKERS: dict[str, Any] = {
    "default": without_requests,
    "requests": RequestsTransport,
    "curl": CurlTransport,
}
LONG = Timeouts(connect=10, read=10)

Make = Callable[..., Transport]


@pytest.fixture(params=sorted(MAKERS))
def make(request: pytest.FixtureRequest) -> Any:
    """Return the class of each transport in its turn."""
    return MAKERS[request.param]


def run(make: str, script: str, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script with a `transport`, and with `send(body)`, which returns the answer's body."""
    preamble = f"""
import os, random, signal, sys, threading, time
from eventbridge_partner._http import HttpRequest, Timeouts
from {MAKERS[make].__module__} import {MAKERS[make].__name__} as Transport

transport = Transport(ca_bundle=sys.argv[2] if sys.argv[2:] else True)
def send(body):
    return transport.send(HttpRequest(sys.argv[1], {{"X-Test": "1"}}, body), Timeouts(10, 10)).body
"""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", preamble + script, url, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def saying_where(connection: socket.socket) -> None:
    """Answer with the request's body and the client's port, which identifies the connection."""
    port = connection.getpeername()[1]
    while True:
        _, _, body = read_request(connection)
        connection.sendall(answer_with(body + b" %d" % port))


# ---------------------------------------------------------------- threads


def test_ten_threads_share_a_transport(make: Make) -> None:
    """Each of ten threads gets its own answers, over at most ten connections."""
    transport = make()
    connections: set[int] = set()
    wrong: list[bytes] = []

    def handle(connection: socket.socket) -> None:
        connections.add(connection.getpeername()[1])
        echoing(connection)

    with served(handle) as port:

        def send(thread: int) -> None:
            for number in range(100):
                body = b"%d of %d" % (number, thread)
                if transport.send(post(port, body), LONG).body != body:
                    wrong.append(body)

        threads = [threading.Thread(target=send, args=(number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    transport.close()
    assert wrong == []
    assert len(connections) <= 10


def test_closing_while_others_send_does_them_no_harm(make: Make) -> None:
    """Threads that send during a close get their answers; the last close ends all connections."""
    transport = make()
    failures: list[Exception] = []
    connections: set[socket.socket] = set()
    is_over = threading.Event()

    def handle(connection: socket.socket) -> None:
        connections.add(connection)
        try:
            echoing(connection)
        finally:
            connections.discard(connection)

    with served(handle) as port:

        def send() -> None:
            try:
                while not is_over.is_set():
                    assert transport.send(post(port, b"body"), LONG).body == b"body"
            except Exception as error:  # noqa: BLE001
                failures.append(error)

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(30):
            time.sleep(0.005)
            transport.close()
        is_over.set()
        for thread in threads:
            thread.join()
        assert failures == []
        transport.close()
        until(lambda: not connections)


# ---------------------------------------------------------------- files


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts files in /proc")


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("is_closed", [True, False])
def test_no_file_stays_open(make: Make, tls: ssl.SSLContext, bundle: Path, is_closed: bool) -> None:
    """No file stays open after many requests, failed ones included, with or without a close."""
    before = open_files()

    def handle(connection: socket.socket) -> None:
        for _ in range(7):
            read_request(connection)
            connection.sendall(answer_with(b"{}"))

    with served(handle, tls) as port:
        request = HttpRequest(f"https://localhost:{port}/", {}, b"{}")
        for _ in range(3):
            transport = make(ca_bundle=str(bundle))
            for _ in range(20):
                with suppress(TransportError):
                    transport.send(request, LONG)
            assert open_files() > before
            if is_closed:
                transport.close()
            del transport

    assert open_files() <= before


@needs_proc
@pytest.mark.parametrize("name", ["default", "requests"])  # libcurl has sockets of its own
def test_a_peer_that_leaves_before_the_handshake_leaves_no_file_open(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket that Python cannot make one of TLS, because its peer has left, is closed."""
    connect = socket.socket.connect

    def connect_and_be_left(self: socket.socket, address: Any) -> None:
        connect(self, address)
        select.select([self], [], [], SOON)

    monkeypatch.setattr(socket.socket, "connect", connect_and_be_left)
    transport = MAKERS[name]()
    with served(reset) as port:
        before = open_files()
        with pytest.raises(TransportError) as caught:  # whose traceback holds what was not closed
            transport.send(to_localhost(port), LONG)
        assert open_files() <= before
    assert not caught.value.may_have_been_sent
    transport.close()


def test_it_works_with_more_files_than_select_can_take(make: Make) -> None:
    """A socket's file descriptor may be above 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4096:
        pytest.skip("too few files may be open here")
    with ExitStack() as stack:
        if soft < 4096:
            resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
            stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(1_500):
            stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        transport = make()
        with served(echoing) as port:
            for body in (b"first", b"second"):
                assert transport.send(post(port, body), LONG).body == body
            transport.close()


# ---------------------------------------------------------------- forks


@pytest.mark.process
@pytest.mark.parametrize("kind", sorted(MAKERS))
@pytest.mark.parametrize("is_secured", [False, True])
@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)", "transport.close(); sys.exit(0)"])
def test_no_connection_crosses_a_fork(
    kind: str, is_secured: bool, end: str, tls: ssl.SSLContext, bundle: Path
) -> None:
    """A child uses its own connections, and leaves its parent's alone when it ends."""
    script = f"""
_, opened = send(b"warm").split()
child = os.fork()
if child == 0:
    try:
        words = [send(b"ours").split() for _ in range(2)]
        assert [word for word, _ in words] == [b"ours"] * 2
        assert {{connection for _, connection in words}} & {{opened}} == set()
        assert words[0] == words[1]
    except BaseException as error:
        sys.stderr.write(repr(error))
        os._exit(3)
    {end}
_, status = os.waitpid(child, 0)
assert status == 0, status
assert send(b"more").split() == [b"more", opened]
transport.close()
"""
    with served(saying_where, tls if is_secured else None) as port:
        url = f"{'https' if is_secured else 'http'}://localhost:{port}/"
        finished = run(kind, script, url, str(bundle))

    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""


# ---------------------------------------------------------------- signals


@pytest.mark.process
@pytest.mark.parametrize("kind", sorted(MAKERS))
@pytest.mark.parametrize("is_secured", [False, True])
def test_every_interrupt_surfaces(
    kind: str, is_secured: bool, tls: ssl.SSLContext, bundle: Path
) -> None:
    """Ctrl-C ends a request at any moment, and no later request gets another's answer."""
    script = """
import itertools
caught = sent = 0
is_ready = False
lost = []

def interrupt():
    global sent
    while sent < 150 and not lost:
        while not is_ready:
            time.sleep(0.0001)
        time.sleep(random.random() * 0.004)
        sent += 1
        os.kill(os.getpid(), signal.SIGINT)
        until = time.monotonic() + 10
        while caught < sent and not lost:
            if time.monotonic() > until:
                lost.append(sent)
            time.sleep(0.0001)

numbers = itertools.count()
thread = threading.Thread(target=interrupt)
thread.start()
while thread.is_alive() and not lost:
    try:
        is_ready = True
        while thread.is_alive() and not lost:
            body = b"%d" % next(numbers)
            answer = send(body)
            assert answer == body, (answer, body)
    except KeyboardInterrupt:
        is_ready = False
        caught += 1
thread.join()
assert not lost, lost
assert caught == 150, caught
assert send(b"end") == b"end"
transport.close()
"""
    with served(echoing, tls if is_secured else None) as port:
        url = f"{'https' if is_secured else 'http'}://localhost:{port}/"
        finished = run(kind, script, url, str(bundle))

    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == "", "an exception was printed instead of raised"
