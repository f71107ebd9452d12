"""Behaviour of the libcurl transport alone."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventbridge_partner import (
    ConfigurationError,
    PartnerEvent,
    PartnerEventsClient,
    Timeouts,
    TransportError,
)
from eventbridge_partner.testing import FakeEventBridge, LocalServer, SlowAnswer
from eventbridge_partner.transports import MultiplexingTransport
from eventbridge_partner.transports._libcurl import WRITABLE
from eventbridge_partner.transports.curl import CurlTransport
from tests.transports.servers import (
    OK,
    answer_with,
    echoing,
    post,
    read_request,
    reset,
    served,
)

SOURCE = "aws.partner/example.com/acme"
LONG = Timeouts(connect=10, read=10)


@pytest.fixture
def transport() -> Iterator[CurlTransport]:
    transport = CurlTransport()
    yield transport
    transport.close()


@pytest.fixture
def service() -> FakeEventBridge:
    return FakeEventBridge()


@pytest.fixture
def server(service: FakeEventBridge) -> Iterator[LocalServer]:
    with service.serve() as server:
        yield server


def client_of(
    service: FakeEventBridge, server: LocalServer, **settings: Any
) -> PartnerEventsClient:
    return PartnerEventsClient(
        service.region,
        endpoint_url=server.url,
        credentials=service.credentials,
        transport=CurlTransport,
        **settings,
    )


def events(count: int, first: int = 0) -> Iterator[PartnerEvent]:
    for number in range(first, first + count):
        yield PartnerEvent(SOURCE, "test", {"number": number})


def numbers(service: FakeEventBridge) -> list[int]:
    return [json.loads(accepted.detail)["number"] for accepted in service.accepted]


# ---------------------------------------------------------------- what it needs


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.process
def test_pycurl_is_imported_only_with_the_transport() -> None:
    """pycurl is needed only for this transport."""
    finished = run(
        "import sys; sys.modules['pycurl'] = None\n"
        "from eventbridge_partner import PartnerEventsClient\n"
        "import eventbridge_partner.client._blocking, eventbridge_partner.transports.requests\n"
        "PartnerEventsClient('us-east-1')"
    )
    assert finished.returncode == 0, finished.stderr


@pytest.mark.process
def test_without_pycurl_the_error_says_what_to_install() -> None:
    """Without pycurl, the error has a command that installs it."""
    finished = run(
        "import sys; sys.modules['pycurl'] = None\nimport eventbridge_partner.transports.curl"
    )
    assert "ConfigurationError" in finished.stderr
    assert "pip install 'eventbridge-partner[speed]'" in finished.stderr


@pytest.mark.process
def test_an_old_libcurl_is_refused() -> None:
    """An old libcurl, which would read an endless answer, is refused."""
    finished = run(
        "import sys, pycurl; pycurl.version_info = lambda: (11, '8.3.0', 0x080300)\n"
        "import eventbridge_partner.transports.curl"
    )
    assert "ConfigurationError" in finished.stderr
    assert "libcurl 8.3.0; needed: libcurl 8.4" in finished.stderr


def test_it_does_not_skip_verification() -> None:
    """Certificates are always verified: `ca_bundle=False` is refused."""
    with pytest.raises(ConfigurationError, match="ca_bundle is False"):
        CurlTransport(ca_bundle=False)


def test_it_multiplexes(transport: CurlTransport) -> None:
    """The transport multiplexes, which is how a client finds its flights."""
    assert isinstance(transport, MultiplexingTransport)


# ---------------------------------------------------------------- connections


def test_one_thread_keeps_all_requests_in_flight_on_kept_connections(
    transport: CurlTransport,
) -> None:
    """32 requests in flight need no worker thread, and later ones no new connection."""
    everyone = threading.Barrier(32)
    opened: list[socket.socket] = []

    def handle(connection: socket.socket) -> None:
        opened.append(connection)
        while True:
            _, _, body = read_request(connection)
            everyone.wait(30)
            connection.sendall(answer_with(body))

    before = set(threading.enumerate())
    flights = transport.flights()
    with served(handle) as port:
        for _ in range(3):
            for number in range(32):
                flights.submit(number, post(port, b"%d" % number), LONG)
            answers: dict[int, Any] = {}
            while len(answers) < 32:
                answers |= dict(flights.collect(None))
            assert {number: answer.body for number, answer in answers.items()} == {
                number: b"%d" % number for number in range(32)
            }
        names = {thread.name for thread in set(threading.enumerate()) - before}
        flights.close()

    assert len(opened) == 32
    assert "eventbridge-partner" not in names


def test_flights_hand_their_connections_on(transport: CurlTransport) -> None:
    """Closed flights hand their connections to the next; open ones share none."""
    opened: list[socket.socket] = []

    def handle(connection: socket.socket) -> None:
        opened.append(connection)
        echoing(connection)

    with served(handle) as port:
        for _ in range(3):
            both = [transport.flights(), transport.flights()]
            for flights in both:
                flights.submit("key", post(port), LONG)
            for flights in both:
                assert [key for key, _ in flights.collect(None)] == ["key"]
                flights.close()
                flights.close()
    assert len(opened) == 2


def test_a_kept_connection_that_is_dead_is_replaced_while_others_are_busy(
    transport: CurlTransport,
) -> None:
    """A dead kept connection is replaced while others are busy, and the request is sent once."""
    arrived: list[bytes] = []
    is_reset = threading.Event()
    is_over = threading.Event()

    def handle(connection: socket.socket) -> None:
        while True:
            arrived.append(read_request(connection)[2])
            if arrived[-1] == b"slow":
                is_over.wait(5)
            elif arrived[-1] == b"last":
                connection.sendall(OK)
                reset(connection)
                is_reset.set()
                return
            connection.sendall(OK)

    flights = transport.flights()
    with served(handle) as port:
        flights.submit("slow", post(port, b"slow"), LONG)
        flights.submit("last", post(port, b"last"), LONG)
        assert [key for key, _ in flights.collect(None)] == ["last"]
        assert is_reset.wait(5)
        flights.submit("next", post(port, b"next"), LONG)
        [(key, answer)] = flights.collect(None)
        is_over.set()
        flights.submit("more", post(port, b"more"), LONG)
        assert len(flights.collect(None) + flights.collect(None)) == 2
        flights.close()

    assert (key, answer.status) == ("next", 200)  # type: ignore[union-attr]
    assert sorted(arrived) == [b"last", b"more", b"next", b"slow"]


def test_a_kept_connection_that_was_never_waited_for_is_watched(transport: CurlTransport) -> None:
    """A kept connection is watched for its end, even if only writes were waited for."""
    has_ended = threading.Semaphore(0)

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(OK)
        connection.shutdown(socket.SHUT_WR)
        has_ended.release()

    with served(handle) as port:
        for _ in range(2):
            assert transport.send(post(port), LONG).status == 200
            [connections] = transport._idle
            for kept in connections.transfers.kept:
                connections._watch_for(kept, WRITABLE)
            assert has_ended.acquire(timeout=5)
            time.sleep(0.05)


def test_closing_flights_ends_their_connections(transport: CurlTransport) -> None:
    """Closing flights closes their connections, so no later request finds a late answer."""
    ended = threading.Semaphore(0)

    def handle(connection: socket.socket) -> None:
        try:
            while True:
                _, _, body = read_request(connection)
                if body == b"slow":
                    connection.recv(1)
                    return
                connection.sendall(answer_with(body))
        finally:
            ended.release()

    with served(handle) as port:
        flights = transport.flights()
        for number in range(4):
            flights.submit(number, post(port, b"slow"), LONG)
        assert flights.collect(0.1) == []
        flights.close()
        for _ in range(4):
            assert ended.acquire(timeout=5)
        assert transport.send(post(port, b"next"), LONG).body == b"next"


def test_an_early_answer_ends_the_sending(transport: CurlTransport) -> None:
    """An answer that comes before all is sent is read, and the connection is not reused."""
    opened: list[socket.socket] = []

    def handle(connection: socket.socket) -> None:
        opened.append(connection)
        head = connection.recv(1_000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        while head and connection.recv(65536):
            pass

    with served(handle) as port:
        for _ in range(2):
            assert transport.send(post(port, b"x" * 10_000_000), LONG).status == 413
    assert len(opened) == 2


def test_nothing_of_the_events_is_kept(transport: CurlTransport) -> None:
    """Once a request is answered, the transport holds no reference to its body."""
    with served(echoing) as port:
        body = bytes(range(256)) * 100
        before = sys.getrefcount(body)
        request = post(port, body)
        for _ in range(2):
            transport.send(request, LONG)
        assert sys.getrefcount(body) == before + 1
        del request
        assert sys.getrefcount(body) == before


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize("has_gone", [False, True])
def test_a_fault_of_libcurl_is_an_answer(has_gone: bool) -> None:
    """A fault of libcurl is an answer that says what may have been sent; later requests go out."""
    transport = CurlTransport()
    flights = transport.flights()
    arrived = threading.Event()

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        arrived.set()
        connection.recv(1)

    with served(handle) as port:
        flights.submit("before", post(port), LONG)
        if has_gone:
            flights.collect(0.0)
            flights.flush()
            assert arrived.wait(5)
        # libcurl refuses to use a multi handle that is closed.
        flights._connections.transfers._multi.close()  # type: ignore[union-attr]
        [(key, answer)] = flights.collect(None)
        assert key == "before"
        assert isinstance(answer, TransportError)
        assert answer.may_have_been_sent is has_gone

    with served(echoing) as port:
        flights.submit("after", post(port), LONG)
        [(key, answer)] = flights.collect(None)
        assert (key, answer.status) == ("after", 200)  # type: ignore[union-attr]
    flights.close()
    transport.close()


def test_timeouts_may_be_longer_than_an_hour() -> None:
    """A timeout can be longer than an hour."""
    transport = CurlTransport()
    with served(echoing) as port:
        assert transport.send(post(port), Timeouts(1e6, 1e6)).status == 200
        assert transport.send(post(port), Timeouts(1e6, 1e6, 1e6)).status == 200
    transport.close()


# ---------------------------------------------------------------- with a client


def test_a_client_takes_the_class(service: FakeEventBridge, server: LocalServer) -> None:
    """A client that is given the class keeps 32 requests in flight."""
    service.play(SlowAnswer(0.3, times=None))
    started = time.monotonic()
    with client_of(service, server) as client:
        report = client.put_events(list(events(640)))
    assert report.counts.accepted == 640
    assert time.monotonic() - started < 6


def test_a_stream_that_is_left_leaves_the_client_usable(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """After a stream is abandoned, the next call gets its own outcomes."""
    with client_of(service, server, max_in_flight=8) as client:
        for count in (1, 30, 200):
            stream = client.stream_events(events(10_000))
            assert [next(stream).index for _ in range(count)] == list(range(count))
            stream.close()  # type: ignore[attr-defined]
            report = client.put_events(events(45, first=20_000))
            assert [outcome.index for outcome in report.accepted] == list(range(45))


@pytest.mark.slow
def test_many_deliveries_leave_no_file_open(service: FakeEventBridge, server: LocalServer) -> None:
    """Many deliveries leave no file open, abandoned streams and short deadlines included."""
    files = Path("/proc/self/fd")
    if not files.exists():
        pytest.skip("counts files in /proc")
    with client_of(service, server, max_in_flight=8) as client:
        client.put_events(events(20))  # after this, the server has opened all its own files
        client.close()
        while "0 connections" not in repr(server):
            time.sleep(0.01)
        before = len(list(files.iterdir()))
        for number in range(30):
            stream = client.stream_events(events(400))
            next(stream)
            if number % 2:
                stream.close()  # type: ignore[attr-defined]
            del stream
            client.put_events(events(100), deadline=0.002 if number % 3 else None)
        client.close()
        gc.collect()
        deadline = time.monotonic() + 5
        while len(list(files.iterdir())) > before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(list(files.iterdir())) <= before


@pytest.mark.parametrize("in_flight", [2, 16])
def test_a_bursty_iterable_holds_nothing_up(
    service: FakeEventBridge, server: LocalServer, in_flight: int
) -> None:
    """Events are sent while the iterable pauses after each burst."""

    def in_bursts() -> Iterator[PartnerEvent]:
        for first in range(0, 600, 100):
            yield from events(100, first)
            deadline = time.monotonic() + 5
            while service.accepted_count < first + 100:
                assert time.monotonic() < deadline
                time.sleep(0.001)

    with client_of(service, server, max_in_flight=in_flight) as client:
        assert client.put_events(in_bursts()).counts.accepted == 600


class _Recorder:
    """Flights that record the calls to the real ones."""

    def __init__(self, flights: Any, asked: list[str]) -> None:
        self._flights = flights
        self._asked = asked

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_"):
            self._asked.append(name)
        return getattr(self._flights, name)


def test_a_client_flushes_before_it_is_away(
    service: FakeEventBridge, server: LocalServer, transport: CurlTransport
) -> None:
    """A client flushes its flights before an iterable or a caller has its turn."""
    asked: list[str] = []
    open_flights = transport.flights
    transport.flights = lambda: _Recorder(open_flights(), asked)  # type: ignore[method-assign, assignment, return-value]

    def in_turn() -> Iterator[PartnerEvent]:
        for event in events(400):
            if asked:
                assert asked[-1] == "flush"
            time.sleep(0.0001)
            yield event

    with PartnerEventsClient(
        service.region,
        endpoint_url=server.url,
        credentials=service.credentials,
        transport=transport,
    ) as client:
        assert client.put_events(in_turn()).counts.accepted == 400
        asked.clear()
        stream = client.stream_events(in_turn())
        assert len(list(stream)) == 400
    assert {"submit", "collect", "flush", "close"} <= set(asked)


def test_a_paused_stream_holds_nothing_up(service: FakeEventBridge, server: LocalServer) -> None:
    """Events that a stream has taken are sent while nobody asks for more outcomes."""
    taken = 0

    def slowly() -> Iterator[PartnerEvent]:
        nonlocal taken
        for event in events(1000):
            if taken % 20 == 0:
                time.sleep(0.002)
            taken += 1
            yield event

    with client_of(service, server, max_in_flight=8) as client:
        stream = client.stream_events(slowly())
        for _ in range(12):
            for _ in range(21):
                next(stream)
            deadline = time.monotonic() + 5
            while service.accepted_count < taken:
                assert time.monotonic() < deadline
                time.sleep(0.001)


@pytest.mark.process
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupted_delivery_leaves_the_client_usable(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """After Ctrl-C at any moment of a delivery, the next one gets its own answers."""
    caught = 0
    with client_of(service, server, max_in_flight=8) as client:
        for number in range(40):
            service.forget()
            timer = threading.Timer(
                0.002 + number % 10 / 500, os.kill, (os.getpid(), signal.SIGINT)
            )
            try:
                timer.start()
                client.put_events(events(4_000))
                time.sleep(1)
            except KeyboardInterrupt:
                caught += 1
            timer.join()
            report = client.put_events(events(45, first=10_000))
            assert [outcome.index for outcome in report.accepted] == list(range(45))
            sent = [number for number in numbers(service) if number >= 10_000]
            assert sorted(sent) == list(range(10_000, 10_045))
            assert {accepted.event_id for accepted in report.accepted} <= {
                accepted.event_id
                for accepted in service.accepted
                if json.loads(accepted.detail)["number"] >= 10_000
            }
    # Python only reports what is raised while it collects garbage.
    assert caught >= 38


FORKING = """
import os, sys, time
from botocore.credentials import Credentials
from eventbridge_partner import PartnerEvent, PartnerEventsClient, RetryPolicy
from eventbridge_partner.transports.curl import CurlTransport
from tenacity import wait_none

url, access_key, secret_key, ends = sys.argv[1:]
client = PartnerEventsClient(
    "us-east-1",
    endpoint_url=url,
    credentials=Credentials(access_key, secret_key),
    transport=CurlTransport,
    max_in_flight=4,
    retry=RetryPolicy(wait=wait_none()),
)
child = None

def events():
    global child
    for number in range(400):
        if number == 190:
            child = os.fork()
            if child == 0 and ends == "at once":
                sys.exit(0)
        yield PartnerEvent("aws.partner/example.com/acme", "t", {"number": number})

report = client.put_events(events())
assert len(report) == 400
assert len(report.accepted) == 400, report
if child:
    _, status = os.waitpid(child, 0)
    assert status == 0, status
    assert len(client.put_events(events()).accepted) == 400
client.close()
"""


@pytest.mark.process
@pytest.mark.parametrize("ends", ["at once", "with the delivery"])
def test_a_fork_in_the_middle_of_a_delivery_mixes_nothing_up(
    service: FakeEventBridge, server: LocalServer, ends: str
) -> None:
    """After a fork in a delivery, the parent continues, and the child has its own connections."""
    service.play(SlowAnswer(0.01, times=None))
    credentials = service.credentials
    script = FORKING.replace("number == 190", "number == 190 and child is None")
    finished = run(script, server.url, credentials.access_key, credentials.secret_key, ends)

    assert finished.returncode == 0, finished.stderr
    # A child that ends at once logs what it leaves undelivered: at least what it had not sent.
    said = finished.stderr.splitlines()
    assert bool(said) is (ends == "at once")
    assert all("events of direct calls were not accepted" in line for line in said)
    assert set(numbers(service)) == set(range(400))


@pytest.mark.process
def test_a_tls_alert_of_a_child_reaches_nobody(tls: ssl.SSLContext, bundle: Path) -> None:
    """A child that ends sends no TLS alert on its parent's connections."""
    script = """
import os, sys
from eventbridge_partner._http import HttpRequest, Timeouts
from eventbridge_partner.transports.curl import CurlTransport

transport = CurlTransport(ca_bundle=sys.argv[2])
flights = transport.flights()
request = HttpRequest(sys.argv[1], {}, b"{}")
def collect():
    [(_, answer)] = flights.collect(None)
    return answer.body

flights.submit("key", request, Timeouts(5, 5))
opened = collect()
for end in (sys.exit, os._exit):
    flights.submit("key", request, Timeouts(5, 5))
    child = os.fork()
    if child == 0:
        if end is sys.exit:
            del flights, transport, collect
        end(0)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert collect() == opened
"""

    def handle(connection: socket.socket) -> None:
        while True:
            read_request(connection)
            time.sleep(0.1)
            connection.sendall(answer_with(b"%d" % connection.getpeername()[1]))

    with served(handle, tls) as port:
        finished = run(script, f"https://localhost:{port}/", str(bundle))
    assert finished.returncode == 0, finished.stderr
