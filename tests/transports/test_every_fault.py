"""Every transport, if the fault is the machine's and not the service's."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from eventbridge_partner._http import HttpRequest, Timeouts
from eventbridge_partner._signals import raised_by_handler
from eventbridge_partner.errors import TlsError, TransportError
from eventbridge_partner.transports.curl import CurlTransport
from eventbridge_partner.transports.flights import BlockingFlights, WorkerThreads
from eventbridge_partner.transports.requests import RequestsTransport
from tests.transports.senders import OPENERS, Sender
from tests.transports.servers import OK, answer_with, echoing, post, read_request, served

pytestmark = pytest.mark.slow

Open = Callable[..., Sender]


# ---------------------------------------------------------------- requests that never left


@pytest.mark.parametrize(
    "host",
    ["events..example", ".events.example", f"{'a' * 64}.example", "a." * 130 + "example", "a b"],
    ids=["empty label", "empty first label", "long label", "long name", "space"],
)
def test_nothing_is_sent_to_an_invalid_host(send: Sender, host: str) -> None:
    """Nothing is sent to an invalid host name, whatever the library makes of it."""
    with pytest.raises((TransportError, ValueError)) as caught:
        send(HttpRequest(f"http://{host}/", {}, b"{}"))
    if isinstance(caught.value, TransportError):
        assert not caught.value.may_have_been_sent
        assert not isinstance(caught.value, TlsError)
        assert str(caught.value).startswith(f"no connection to {host} (")


def test_an_unknown_name_is_named_with_the_reason(
    send: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown host is named with a readable reason, not an error code or an exception."""

    def unknown(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    # libcurl looks up names itself; a label this long is never sent to a name server.
    place = f"{'a' * 64}.test:8080"
    with pytest.raises(TransportError) as caught:
        send(HttpRequest(f"http://{place}/", {}, b"{}"))
    assert not caught.value.may_have_been_sent
    message = str(caught.value)
    assert message.startswith(f"no connection to {place} (")
    assert "name" in message.lower()
    assert not any(word in message for word in ("rror", "uccess", "xception"))


def test_a_port_where_nobody_listens_is_named_with_the_reason(send: Sender) -> None:
    """A refused connection is named with its host, port and the system's reason."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(TransportError) as caught:
        send(post(port))
    assert str(caught.value) == f"no connection to 127.0.0.1:{port} (Connection refused)"


class SocketBlockedError(RuntimeError):
    """Raised by pytest-socket if a test opens a socket."""


def test_blocked_sockets_send_nothing(open_sender: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a test library blocks sockets, nothing was sent; libcurl does not use Python's sockets."""

    class Forbidden(socket.socket):
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            if threading.current_thread() is threading.main_thread():
                raise SocketBlockedError("A test tried to use socket.socket.")
            return super().__new__(cls, *args, **kwargs)  # the server's

    send = open_sender()
    send.pause(0)  # a loop has sockets of its own
    with served(echoing) as port:
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", Forbidden)
            try:
                assert send(post(port)).status == 200
            except TransportError as error:
                assert not error.may_have_been_sent
                assert "SocketBlockedError" in str(error)
        assert send(post(port)).status == 200


# ---------------------------------------------------------------- no files left

WITHOUT_FILES = """
import os, resource, socket, sys
from eventbridge_partner._http import HttpRequest, Timeouts
from eventbridge_partner._signals import raised_by_handler
from eventbridge_partner.errors import TlsError, TransportError
from tests.transports.senders import OPENERS

name, url, bundle, is_warm = sys.argv[1:]
is_warm = is_warm == "warm"
send = OPENERS[name](ca_bundle=bundle)
request = HttpRequest(url, {}, b"{}")
timeouts = Timeouts(5, 5)
send.pause(0)  # a loop needs files of its own
if is_warm:
    assert send(request, timeouts).status == 200
    send.close()
    send.pause(0.1)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

def fill():
    files = []
    try:
        while True:
            files.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return files

files = fill()
for left in range(8):
    for _ in range(2):
        try:
            answer = send(request, timeouts)
        except TransportError as error:
            assert not error.may_have_been_sent, (left, error)
            assert not isinstance(error, TlsError), (left, error)
            assert str(error).startswith("no connection to localhost:"), (left, error)
        else:
            assert answer.status == 200
    send.close()
    files += fill()
    for _ in range(left + 1):
        if files:
            os.close(files.pop())
for file in files:
    os.close(file)
assert send(request, timeouts).status == 200
send.end()
"""


@pytest.mark.process
@pytest.mark.parametrize("is_warm", ["cold", "warm"])
@pytest.mark.parametrize("name", sorted(OPENERS))
@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_without_files_left_nothing_is_sent(
    name: str, is_warm: str, tls: Any, bundle: Path
) -> None:
    """A request that lacks a file descriptor was not sent, and that is not a TlsError."""
    with served(echoing, tls) as port:
        finished = subprocess.run(
            [
                sys.executable,
                "-c",
                WITHOUT_FILES,
                name,
                f"https://localhost:{port}/",
                bundle,
                is_warm,
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert finished.returncode == 0, finished.stderr


def test_a_waker_without_files_left_wakes_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A waker works even if there is no file descriptor left for its socket."""

    def none_left(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    is_over = threading.Event()

    def handle(connection: socket.socket) -> None:
        _, _, body = read_request(connection)
        is_over.wait(5)
        connection.sendall(answer_with(body))

    transport = CurlTransport()
    flights = transport.flights()
    with served(handle) as port:
        monkeypatch.setattr(socket, "socketpair", none_left)
        wake = flights.waker()
        flights.submit("slow", post(port), Timeouts(5, 5))
        flights.flush()
        threading.Timer(0.05, wake).start()
        assert flights.collect(5) == []
        threading.Timer(0.05, is_over.set).start()
        [(key, answer)] = flights.collect(5)
        assert (key, answer.status) == ("slow", 200)  # type: ignore[union-attr]
        threading.Timer(0.05, wake).start()
        assert flights.collect(5) == []
    flights.close()
    transport.close()


# ---------------------------------------------------------------- late

HAS_SIGNALS = hasattr(signal, "setitimer")


@pytest.fixture(params=["requests", "curl"])
def blocking(request: pytest.FixtureRequest) -> Iterator[Sender]:
    """Send on each blocking transport in its turn."""
    sender = OPENERS[request.param]()
    yield sender
    sender.end()


@contextmanager
def interrupted(after: float, handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Run a signal handler after the given seconds."""
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, after)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not HAS_SIGNALS, reason="needs SIGALRM")
@pytest.mark.parametrize("size", [2, 500_000])
@pytest.mark.parametrize("is_kept", [False, True])
def test_a_late_timeout_reads_what_has_come(blocking: Sender, size: int, is_kept: bool) -> None:
    """A timeout noticed late does not discard an answer that has come, and nothing is retried."""
    go_on = threading.Event()
    answered = threading.Event()
    arrived: list[bytes] = []
    body = b"x" * size

    def handle(connection: socket.socket) -> None:
        while True:
            arrived.append(read_request(connection)[2])
            if arrived[-1] == b"late":
                assert go_on.wait(5)
                connection.sendall(answer_with(body))
                answered.set()
            else:
                connection.sendall(OK)

    def be_kept_away(*_: object) -> None:
        go_on.set()
        if size < 10_000:  # else it does not fit
            assert answered.wait(5)
        time.sleep(0.5)

    with served(handle) as port:
        if is_kept:
            assert blocking(post(port)).status == 200
        with interrupted(0.1, be_kept_away):
            answer = blocking(post(port, b"late"), Timeouts(5, 0.4))
    assert answer.body == body
    assert arrived.count(b"late") == 1


# ---------------------------------------------------------------- signal handlers


@pytest.mark.skipif(not HAS_SIGNALS, reason="needs SIGALRM")
@pytest.mark.parametrize("kind", [TimeoutError, OSError, ValueError, BlockingIOError])
def test_a_signal_handlers_exception_can_be_found(blocking: Sender, kind: type[Exception]) -> None:
    """A signal handler's exception is raised or is an error's cause, even a TimeoutError."""

    def give_up(*_: object) -> None:
        raise kind("the worker's time is up")

    with served(hang) as port:
        with interrupted(0.1, give_up):
            with pytest.raises((kind, TransportError)) as caught:
                blocking(post(port), Timeouts(5, 2))
            found = raised_by_handler(caught.value)
    assert type(found) is kind
    assert str(found) == "the worker's time is up"


def hang(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


# ---------------------------------------------------------------- signal handlers that send


def lines_of(call: Callable[[], object], at: Callable[[int], None]) -> int:
    """Run a function, calling another at each line as a signal handler would; count the lines."""
    count = 0
    is_inside = False

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count, is_inside
        if event == "line" and not is_inside:
            count += 1
            is_inside = True
            try:
                at(count)
            finally:
                is_inside = False
        return None if is_inside else trace

    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(None)
    return count


@pytest.mark.parametrize("make", [RequestsTransport, CurlTransport])
def test_a_signal_handler_may_send_at_any_line_of_a_request(make: Any) -> None:
    """A signal handler can send during any request: no lock blocks it, and answers do not mix."""
    transport = make()
    with served(echoing) as port:
        transport.send(post(port), Timeouts(5, 5))

        def send(body: bytes) -> None:
            assert transport.send(post(port, body), Timeouts(5, 5)).body == body

        count = lines_of(lambda: send(b"outer"), lambda number: None)
        assert count > 100
        every = max(1, count // 150)

        def at(number: int) -> None:
            if number % every == 0:
                send(b"%d" % number)

        lines_of(lambda: send(b"outer"), at)
    transport.close()


def test_a_signal_handler_may_send_while_a_thread_is_started() -> None:
    """A signal handler can send while a worker thread is being started."""
    transport = RequestsTransport()
    workers = WorkerThreads()

    def deliver(body: bytes) -> None:
        flights: BlockingFlights[int] = BlockingFlights(transport, workers, stays_free=True)
        for number in range(2):
            flights.submit(number, post(port, body), Timeouts(5, 5))
        answers: dict[int, Any] = {}
        while len(answers) < 2:
            answers |= flights.collect(None)
        assert {answer.body for answer in answers.values()} == {body}
        flights.close()

    with served(echoing) as port:
        workers.stop()  # so that threads must be started
        count = lines_of(lambda: deliver(b"outer"), lambda number: None)
        every = max(1, count // 100)

        def at(number: int) -> None:
            if number % every == 0:
                deliver(b"%d" % number)

        for _ in range(2):
            workers.stop()
            lines_of(lambda: deliver(b"outer"), at)
        workers.stop()
    transport.close()


@pytest.mark.parametrize("calls", [3])
def test_no_job_is_lost_while_workers_start_and_stop(calls: int) -> None:
    """No job is lost while several threads start and stop workers."""
    others = {*threading.enumerate()}  # of clients of other tests
    workers = WorkerThreads()
    done = threading.Semaphore(0)

    def run_many() -> None:
        for _ in range(300):
            workers.run(done.release)

    def stop_many() -> None:
        for _ in range(100):
            workers.stop()
            time.sleep(0)

    threads = [threading.Thread(target=run_many) for _ in range(calls)]
    threads.append(threading.Thread(target=stop_many))
    for thread in threads:
        thread.start()
    for _ in range(300 * calls):
        assert done.acquire(timeout=10)
    for thread in threads:
        thread.join()
    workers.stop()
    deadline = time.monotonic() + 10
    while any(one.name == "eventbridge-partner" for one in {*threading.enumerate()} - others):
        assert time.monotonic() < deadline
        time.sleep(0.01)
