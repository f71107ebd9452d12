"""Requests in flight, whether threads or libcurl carry them."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eventbridge_partner._http import HttpRequest, HttpResponse, Timeouts
from eventbridge_partner.errors import TransportError
from eventbridge_partner.transports import Flights, MultiplexingTransport
from eventbridge_partner.transports.curl import CurlTransport
from eventbridge_partner.transports.flights import BlockingFlights, WorkerThreads
from eventbridge_partner.transports.requests import RequestsTransport
from tests.patience import SOON
from tests.transports.senders import without_requests
from tests.transports.servers import answer_with, echoing, post, read_request, served, silent

MAKERS: dict[str, Any] = {
    "default": without_requests,
    "requests": RequestsTransport,
    "curl": CurlTransport,
}
TIMEOUTS = Timeouts(connect=5, read=5)

Open = Callable[..., Flights[Any]]


@pytest.fixture(params=sorted(MAKERS))
def open_flights(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Open flights on each transport in its turn; those with the same settings share one."""
    transports: dict[str, Any] = {}
    opened: list[Flights[Any]] = []
    workers = WorkerThreads()

    def open_one(**settings: Any) -> Flights[Any]:
        if str(settings) not in transports:
            transports[str(settings)] = MAKERS[request.param](**settings)
        transport = transports[str(settings)]
        is_multiplexing = isinstance(transport, MultiplexingTransport)
        flights = transport.flights() if is_multiplexing else BlockingFlights(transport, workers)
        opened.append(flights)
        return flights

    yield open_one
    for flights in opened:
        flights.close()
    for transport in transports.values():
        transport.close()
    workers.stop()


@pytest.fixture
def flights(open_flights: Open) -> Flights[Any]:
    return open_flights()


def collected(flights: Flights[Any], count: int) -> dict[Any, Any]:
    """Collect this many answers, by their keys."""
    answers: dict[Any, Any] = {}
    deadline = time.monotonic() + 10
    while len(answers) < count and time.monotonic() < deadline:
        for key, answer in flights.collect(0.5):
            assert key not in answers
            answers[key] = answer
    return answers


def bodies(answers: dict[Any, Any]) -> dict[Any, bytes]:
    return {key: answer.body for key, answer in answers.items()}


class Together:
    """Answers no request before `count` of them have arrived."""

    def __init__(self, count: int) -> None:
        self._barrier = threading.Barrier(count)

    def __call__(self, connection: socket.socket) -> None:
        while True:
            _, _, body = read_request(connection)
            self._barrier.wait(5)
            time.sleep(0.005)  # some transports start no thread for answers that come at once
            connection.sendall(answer_with(body))


def test_requests_are_in_flight_together(flights: Flights[Any]) -> None:
    """Requests are in flight together, and each answer has its key."""
    with served(Together(8)) as port:
        for round_ in range(2):
            for number in range(8):
                flights.submit((round_, number), post(port, b"%d" % number), TIMEOUTS)
            assert bodies(collected(flights, 8)) == {(round_, n): b"%d" % n for n in range(8)}


def test_answers_are_collected_as_they_come(flights: Flights[Any]) -> None:
    """A slow answer does not hold back quick ones, and more requests can be submitted."""
    is_over = threading.Event()

    def handle(connection: socket.socket) -> None:
        while True:
            _, _, body = read_request(connection)
            if body == b"slow":
                is_over.wait(5)
            time.sleep(0.005)
            connection.sendall(answer_with(body))

    collected_before: set[Any] = set()
    with served(handle) as port:
        flights.submit("slow", post(port, b"slow"), TIMEOUTS)
        flights.submit(0, post(port, b"0"), TIMEOUTS)
        for number in range(1, 10):
            flights.submit(number, post(port, b"%d" % number), TIMEOUTS)
            collected_before |= set(collected(flights, 1))
        assert "slow" not in collected_before
        is_over.set()
        rest = bodies(collected(flights, 11 - len(collected_before)))

    assert rest["slow"] == b"slow"
    assert set(rest) | collected_before == {"slow", *range(10)}


def test_collecting_waits_no_longer_than_asked(flights: Flights[Any]) -> None:
    """If no answer comes in time, `collect` returns nothing, and answers come later."""
    is_over = threading.Event()

    def handle(connection: socket.socket) -> None:
        _, _, body = read_request(connection)
        is_over.wait(5)
        connection.sendall(answer_with(body))

    with served(handle) as port:
        for name in "ab":
            flights.submit(name, post(port), TIMEOUTS)
        assert flights.collect(0.05) == []
        for _ in range(1_000):  # none of these waits
            assert flights.collect(0.0) == []
        is_over.set()
        assert set(collected(flights, 2)) == {"a", "b"}


def test_with_nothing_in_flight_collecting_is_a_wait(flights: Flights[Any]) -> None:
    """With nothing in flight, `collect` waits for the given time, or returns at once for None."""
    started = time.monotonic()
    assert flights.collect(0.05) == []
    assert time.monotonic() - started >= 0.045
    assert flights.collect(None) == []
    for _ in range(10_000):
        assert flights.collect(0.0) == []


def test_errors_are_answers(flights: Flights[Any]) -> None:
    """An error is an answer, with its key and whether the request may have been sent."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        nobody = unused.getsockname()[1]

    def handle(connection: socket.socket) -> None:
        _, _, body = read_request(connection)
        if body != b"lost":
            connection.sendall(answer_with(body))

    with served(handle) as port:
        flights.submit("refused", post(nobody), TIMEOUTS)
        flights.submit("lost", post(port, b"lost"), TIMEOUTS)
        flights.submit("fine", post(port), TIMEOUTS)
        flights.submit("no request", post(port, headers={"X-Test": "a secret\n"}), TIMEOUTS)
        answers = collected(flights, 4)

    assert answers["refused"].may_have_been_sent is False
    assert answers["lost"].may_have_been_sent is True
    assert answers["fine"].status == 200
    assert isinstance(answers["no request"], TransportError)
    assert "secret" not in str(answers["no request"])


# ---------------------------------------------------------------- while the caller is away


def https(port: int, body: bytes = b"{}") -> HttpRequest:
    return HttpRequest(f"https://localhost:{port}/", {}, body)


@pytest.mark.parametrize("size", [2, 900_000])
def test_flushed_requests_go_out_while_nobody_collects(
    open_flights: Open, tls: ssl.SSLContext, bundle: Path, size: int
) -> None:
    """Flushed requests go out unattended, though connecting and large bodies take several steps."""
    flights = open_flights(ca_bundle=str(bundle))
    arrived = threading.Semaphore(0)

    def handle(connection: socket.socket) -> None:
        while True:
            _, _, body = read_request(connection)
            arrived.release()
            connection.sendall(answer_with(b"%d" % len(body)))

    with served(handle, tls) as port:
        for round_ in range(3):
            for number in range(3):
                flights.submit((round_, number), https(port, b"x" * size), TIMEOUTS)
                flights.flush()
            for _ in range(3):
                assert arrived.acquire(timeout=5)
            assert set(bodies(collected(flights, 3)).values()) == {b"%d" % size}


@pytest.mark.slow
def test_answers_that_came_in_time_are_not_late(
    open_flights: Open, tls: ssl.SSLContext, bundle: Path
) -> None:
    """An answer that came in time is collected, even if that is after the timeout."""
    flights = open_flights(ca_bundle=str(bundle))
    arrived = threading.Event()

    def handle(connection: socket.socket) -> None:
        while True:
            _, _, body = read_request(connection)
            connection.sendall(answer_with(body))
            arrived.set()

    with served(handle, tls) as port:
        for body in (b"on a new connection", b"on a kept one"):
            flights.submit("key", https(port, body), Timeouts(5, 0.3, 0.3))
            flights.flush()
            assert arrived.wait(5)
            arrived.clear()
            time.sleep(0.4)
            assert bodies(dict(flights.collect(0.0))) == {"key": body}


@pytest.mark.slow
def test_a_timeout_is_noticed_while_answers_keep_coming(flights: Flights[Any]) -> None:
    """A timeout is noticed although other answers keep coming."""

    def handle(connection: socket.socket) -> None:
        while True:
            _, _, body = read_request(connection)
            if body == b"silent":
                connection.recv(1)
            connection.sendall(answer_with(body))

    with served(handle) as port:
        started = time.monotonic()
        flights.submit("silent", post(port, b"silent"), Timeouts(5, 0.3))
        for number in range(8):
            flights.submit(number, post(port, b"quick"), TIMEOUTS)
        found: dict[Any, Any] = {}
        while "silent" not in found and time.monotonic() < started + SOON:
            flights.flush()
            time.sleep(0.002)  # so that something is there whenever we look
            found = dict(flights.collect(None))
            for number in set(found) - {"silent"}:
                flights.submit(number, post(port, b"quick"), TIMEOUTS)
    assert isinstance(found["silent"], TransportError)


@pytest.mark.slow
def test_coming_and_going_confuses_nothing(
    open_flights: Open, tls: ssl.SSLContext, bundle: Path
) -> None:
    """Every answer goes to its own request, however short the caller is away."""
    flights = open_flights(ca_bundle=str(bundle))

    def handle(connection: socket.socket) -> None:
        for _ in range(3):
            _, _, body = read_request(connection)
            connection.sendall(answer_with(body)[:-1] + b"!")
        read_request(connection)

    answers: dict[int, Any] = {}
    with served(handle, tls) as port:
        for number in range(200):
            flights.submit(number, https(port, b"%03d." % number), TIMEOUTS)
            flights.flush()
            if number % 3:
                time.sleep(number % 7 / 3_000)
            answers |= dict(flights.collect(0.0))
        answers |= collected(flights, 200 - len(answers))

    read = {key: answer for key, answer in answers.items() if isinstance(answer, HttpResponse)}
    assert set(answers) == set(range(200))
    assert bodies(read) == {key: b"%03d!" % key for key in read}
    assert len(read) >= 100


def test_closing_while_a_request_goes_out_ends_it(
    open_flights: Open, tls: ssl.SSLContext, bundle: Path
) -> None:
    """`close` does not wait for a handshake that hangs."""
    flights = open_flights(ca_bundle=str(bundle))
    with served(silent) as port:
        flights.submit("key", https(port), Timeouts(SOON, SOON))
        flights.flush()
        started = time.monotonic()
        flights.close()
        assert time.monotonic() - started < SOON / 2


def test_an_idle_connection_is_used_again(open_flights: Open) -> None:
    """An idle connection carries the next request."""
    opened: list[socket.socket] = []

    def handle(connection: socket.socket) -> None:
        opened.append(connection)
        echoing(connection)

    with served(handle) as port:
        first = open_flights()
        first.submit("key", post(port), TIMEOUTS)
        assert first.collect(None)
        first.submit("key", post(port), TIMEOUTS)
        assert first.collect(None)
    assert len(opened) == 1


def test_a_waker_ends_a_wait(flights: Flights[Any]) -> None:
    """A waker ends a wait from any thread, and leaves requests in flight alone."""
    is_over = threading.Event()

    def handle(connection: socket.socket) -> None:
        while True:
            _, _, body = read_request(connection)
            is_over.wait(5)
            connection.sendall(answer_with(body))

    wake = flights.waker()
    with served(handle) as port:
        for is_in_flight in (False, True):
            if is_in_flight:
                flights.submit("slow", post(port, b"slow"), TIMEOUTS)
                flights.flush()
            started = time.monotonic()
            threading.Timer(0.05, wake).start()
            assert flights.collect(5) == []
            assert 0.04 < time.monotonic() - started < 4
        is_over.set()
        assert bodies(collected(flights, 1)) == {"slow": b"slow"}


@pytest.mark.parametrize("rings", [1, 2])
def test_a_waker_that_rang_early_ends_the_next_wait(flights: Flights[Any], rings: int) -> None:
    """A waker called early, even twice, ends the next wait and no later one."""
    wake = flights.waker()
    for _ in range(rings):
        wake()
    started = time.monotonic()
    assert flights.collect(SOON) == []
    woken = time.monotonic()
    assert woken - started < SOON / 2
    assert flights.collect(0.05) == []
    assert time.monotonic() - woken > 0.04


def test_a_waker_outlives_its_flights(flights: Flights[Any]) -> None:
    """A waker may be called after its flights are closed."""
    wake = flights.waker()
    flights.close()
    wake()


def test_flights_after_those_with_a_waker(open_flights: Open) -> None:
    """Flights with the connection of others that are closed are not woken by the others' waker."""
    opened: list[socket.socket] = []

    def handle(connection: socket.socket) -> None:
        opened.append(connection)
        while True:
            _, _, body = read_request(connection)
            if body == b"2":
                wake()
                time.sleep(0.005)  # some answers are there before anything waits for them
            connection.sendall(answer_with(body))

    first = open_flights()
    wake = first.waker()
    with served(handle) as port:
        first.submit(1, post(port, b"1"), TIMEOUTS)
        assert bodies(collected(first, 1)) == {1: b"1"}
        wake()
        first.close()
        second = open_flights()
        second.submit(2, post(port, b"2"), TIMEOUTS)
        assert bodies(dict(second.collect(None))) == {2: b"2"}
    assert len(opened) == 1
