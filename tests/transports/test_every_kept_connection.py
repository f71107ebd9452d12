"""Kept connections on every transport, stale ones and odd ones."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from eventbridge_partner._http import HttpResponse, Timeouts
from eventbridge_partner.errors import TransportError
from tests.transports.senders import Sender
from tests.transports.servers import (
    OK,
    answer_with,
    echoing,
    post,
    read_request,
    reset,
    served,
    to_localhost,
)

pytestmark = pytest.mark.slow

Open = Callable[..., Sender]
BRIEF = Timeouts(connect=5, read=0.3)
"""For a server that stays silent."""


def closed(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def silent(connection: socket.socket) -> None:
    connection.recv(1)


class Forgetful:
    """
    Accepts `count` connections together, and fails each at its second request.

    Connections that are accepted later serve any number of requests.
    """

    def __init__(self, count: int, fail: Callable[[socket.socket], None]) -> None:
        self.opened = 0
        self.failed: list[bytes] = []
        self._count = count
        self._fail = fail
        self._together = threading.Barrier(count)
        self._lock = threading.Lock()

    def __call__(self, connection: socket.socket) -> None:
        with self._lock:
            self.opened += 1
            is_new = self.opened > self._count
        if is_new:
            echoing(connection)
        _, _, body = read_request(connection)
        self._together.wait(5)
        connection.sendall(answer_with(body))
        self.failed.append(read_request(connection)[2])
        self._fail(connection)


@pytest.mark.parametrize("fail", [reset, closed, silent], ids=["reset", "closed", "silent"])
@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "TLS"])
def test_connections_that_were_forgotten_together_cost_one_attempt(
    open_sender: Open,
    tls: ssl.SSLContext,
    bundle: Path,
    fail: Callable[[socket.socket], None],
    is_tls: bool,
) -> None:
    """If a gateway forgets all idle connections, the second attempt uses a new one."""
    handle = Forgetful(3, fail)
    send = open_sender(ca_bundle=str(bundle))
    make = to_localhost if is_tls else post
    with served(handle, tls if is_tls else None) as port:
        assert len(send.together(*[make(port) for _ in range(3)])) == 3
        with pytest.raises(TransportError) as caught:
            send(make(port, b"first attempt"), BRIEF)
        answer = send(make(port, b"second attempt"), BRIEF)

    assert caught.value.may_have_been_sent
    assert answer.body == b"second attempt"
    assert handle.failed == [b"first attempt"]
    assert handle.opened == 4


def test_requests_that_failed_together_use_new_connections(send: Sender) -> None:
    """If all requests in flight fail together, each succeeds on its second attempt."""
    handle = Forgetful(3, silent)
    with served(handle) as port:
        send.together(*[post(port) for _ in range(3)])
        first = send.together(*[post(port, b"1") for _ in range(3)], timeouts=BRIEF)
        second = send.together(*[post(port, b"2") for _ in range(3)])

    assert [isinstance(answer, TransportError) for answer in first] == [True] * 3
    assert [isinstance(answer, HttpResponse) for answer in second] == [True] * 3


def test_a_connection_that_has_served_since_is_kept(send: Sender) -> None:
    """A connection that served while another was lost is still used."""
    opened: list[socket.socket] = []
    together = threading.Barrier(2)
    lost_is_here = threading.Event()

    def handle(connection: socket.socket) -> None:
        opened.append(connection)
        is_first = True
        while True:
            _, _, body = read_request(connection)
            if is_first:
                together.wait(5)
            is_first = False
            if body == b"lost":
                lost_is_here.set()
                connection.recv(1)
            if body == b"quick":  # so that its answer comes after the other is lost
                lost_is_here.wait(5)
            connection.sendall(answer_with(body))

    with served(handle) as port:
        send.together(post(port), post(port))
        lost, quick = send.together(post(port, b"lost"), post(port, b"quick"), timeouts=BRIEF)
        assert isinstance(lost, TransportError)
        assert isinstance(quick, HttpResponse)
        assert send(post(port, b"next")).body == b"next"
    assert len(opened) == 2


# ---------------------------------------------------------------- unsolicited answers

WRONG = answer_with(b"wrong")


class Surplus:
    """Answers, and sends another answer when it is told to."""

    def __init__(self, surplus: bytes) -> None:
        self.opened = 0
        self.go_on = threading.Event()
        self.has_gone = threading.Event()
        self._surplus = surplus

    def __call__(self, connection: socket.socket) -> None:
        self.opened += 1
        _, _, body = read_request(connection)
        connection.sendall(answer_with(body))
        if self.opened == 1:
            assert self.go_on.wait(5)
            with suppress(OSError):
                connection.sendall(self._surplus)
            self.has_gone.set()
        echoing(connection)


@pytest.mark.parametrize("surplus", [WRONG, b"x"], ids=["an answer", "a byte"])
@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "TLS"])
def test_an_unsolicited_answer_is_not_used(
    open_sender: Open, tls: ssl.SSLContext, bundle: Path, surplus: bytes, is_tls: bool
) -> None:
    """A connection with unread bytes is not used, however soon the next request goes out."""
    send = open_sender(ca_bundle=str(bundle))
    make = to_localhost if is_tls else post
    handle = Surplus(surplus)
    with served(handle, tls if is_tls else None) as port:
        assert send(make(port, b"first")).body == b"first"
        handle.go_on.set()
        assert handle.has_gone.wait(5)
        assert send(make(port, b"second")).body == b"second"
    assert handle.opened == 2


def test_an_unsolicited_answer_is_not_used_while_others_are_in_flight(
    send: Sender,
) -> None:
    """A connection with unread bytes is not used, even while others are in flight."""
    handle = Surplus(WRONG)
    is_over = threading.Event()

    def slow(connection: socket.socket) -> None:
        _, _, body = read_request(connection)
        is_over.wait(5)
        connection.sendall(answer_with(body))

    long = Timeouts(5, 5)
    with served(handle) as port, served(slow) as slow_port:
        assert send(post(port, b"first"), long).body == b"first"
        handle.go_on.set()
        assert handle.has_gone.wait(5)
        threading.Timer(0.1, is_over.set).start()
        answers = send.together(
            post(slow_port, b"slow"), post(port, b"second"), post(port, b"third"), timeouts=long
        )
    assert [answer.body for answer in answers] == [b"slow", b"second", b"third"]  # type: ignore[union-attr]


def test_a_connection_that_was_closed_is_not_written_to(send: Sender) -> None:
    """A request is not written to a closed connection, but sent once over a new one."""
    arrived: list[bytes] = []
    has_ended = threading.Semaphore(0)

    def handle(connection: socket.socket) -> None:
        arrived.append(read_request(connection)[2])
        connection.sendall(OK)
        reset(connection)
        has_ended.release()

    with served(handle) as port:
        for number in range(5):
            assert send(post(port, b"%d" % number)).status == 200
            assert has_ended.acquire(timeout=5)
    assert arrived == [b"%d" % number for number in range(5)]
