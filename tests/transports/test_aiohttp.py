"""Behaviour of the asyncio client's transport alone: event loops, tasks, cancellation."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from eventbridge_partner._http import HttpRequest, HttpResponse, Timeouts
from eventbridge_partner.errors import ConfigurationError, TransportError
from eventbridge_partner.transports import MultiplexingAsyncTransport
from eventbridge_partner.transports.aiohttp import AiohttpTransport
from tests.transports.servers import (
    OK,
    PATIENCE,
    Handler,
    answer_with,
    answering,
    echoing,
    post,
    read_request,
    served,
    silent,
)

T = TypeVar("T")


def run(main: Callable[[AiohttpTransport], Awaitable[T]], **settings: Any) -> T:
    """Run a function with a transport, on a loop in debug mode."""

    async def with_transport() -> T:
        transport = AiohttpTransport(**settings)
        try:
            return await main(transport)
        finally:
            await transport.close()

    return asyncio.run(with_transport(), debug=True)


def send(request: HttpRequest, timeouts: Timeouts = PATIENCE, **settings: Any) -> HttpResponse:
    return run(lambda transport: transport.send(request, timeouts), **settings)


class Numbered:
    """Answers with the number of the connection, and counts connections."""

    def __init__(self, handle: Handler = lambda connection: None) -> None:
        self.opened = 0
        self._before = handle
        self._lock = threading.Lock()

    def __call__(self, connection: socket.socket) -> None:
        with self._lock:
            self.opened += 1
            number = b"%02d" % self.opened
        while True:
            read_request(connection)
            self._before(connection)
            connection.sendall(OK.replace(b"{}", number))


# ---------------------------------------------------------------- flights


def test_no_more_idle_connections_are_kept_than_allowed() -> None:
    """Of four connections that were needed at once, the two allowed are kept."""
    handle = Numbered(lambda connection: time.sleep(0.05))

    async def main(transport: AiohttpTransport) -> None:
        for _ in range(2):
            sent = [transport.send(post(port), PATIENCE) for _ in range(4)]
            bodies = {answer.body for answer in await asyncio.gather(*sent)}
            assert len(bodies) == 4

    with served(handle) as port:
        run(main, max_connections=2)
    assert handle.opened == 6


@pytest.mark.slow
def test_many_requests_are_in_flight_and_get_their_own_answers() -> None:
    """A hundred requests in flight get their own answers, on flights and without."""

    async def main(transport: AiohttpTransport) -> None:
        flights = transport.flights()
        for number in range(100):
            flights.submit(number, post(port, b"%d" % number), PATIENCE)
        answers: dict[int, Any] = {}
        while len(answers) < 100:
            answers |= await flights.collect(5)
        await flights.close()
        assert {n: answer.body for n, answer in answers.items()} == {
            n: b"%d" % n for n in range(100)
        }
        sent = [transport.send(post(port, b"%d" % number), PATIENCE) for number in range(100)]
        assert [answer.body for answer in await asyncio.gather(*sent)] == [
            b"%d" % number for number in range(100)
        ]

    with served(echoing) as port:
        run(main)


def test_it_multiplexes() -> None:
    """The transport multiplexes, so the client needs no task per request."""
    assert isinstance(AiohttpTransport(), MultiplexingAsyncTransport)


def test_collecting_waits_no_longer_than_asked_or_until_woken() -> None:
    """`collect` returns nothing at the end of its time, or when woken."""

    async def main(transport: AiohttpTransport) -> None:
        flights = transport.flights()
        assert await flights.collect(0) == []
        assert await flights.collect(0.01) == []
        asyncio.get_running_loop().call_later(0.01, flights.wake)
        assert await flights.collect(None) == []
        flights.wake()
        assert await flights.collect(None) == []
        await flights.close()

    run(main)


def test_a_connection_with_unsolicited_bytes_is_not_used() -> None:
    """A connection with unsolicited bytes is not used, since they would pass for an answer."""

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(OK)
        time.sleep(0.05)
        connection.sendall(OK.replace(b"{}", b"NO"))
        read_request(connection)

    async def main(transport: AiohttpTransport) -> None:
        for _ in range(3):
            assert (await transport.send(post(port), PATIENCE)).body == b"{}"
            await asyncio.sleep(0.1)

    with served(handle) as port:
        run(main)


# ---------------------------------------------------------------- timeouts


@pytest.mark.slow
def test_each_request_has_its_own_timeout() -> None:
    """The shortest timeout ends first, whichever was sent first, and the longest is not cut."""

    def handle(connection: socket.socket) -> None:
        _, _, body = read_request(connection)
        time.sleep(float(body))
        connection.sendall(OK)

    async def main(transport: AiohttpTransport) -> None:
        flights = transport.flights()
        flights.submit("long", post(port, b"0.4"), Timeouts(connect=2, read=3))
        flights.submit("short", post(port, b"1"), Timeouts(connect=2, read=0.1))
        flights.submit("shortest", post(port, b"1"), Timeouts(connect=2, read=3, total=0.05))
        ended: list[tuple[str, Any]] = []
        while len(ended) < 3:
            ended += await flights.collect(None)
        await flights.close()
        assert [name for name, _ in ended] == ["shortest", "short", "long"]
        assert [isinstance(answer, TransportError) for _, answer in ended] == [True, True, False]

    with served(handle) as port:
        run(main)


# ---------------------------------------------------------------- cancellation and loops


@pytest.mark.parametrize("size", [2, 500_000])
def test_a_late_timeout_reads_what_has_come(size: int) -> None:
    """If the loop was busy, a late timeout does not discard an answer that has come."""
    go_on = threading.Event()
    answered = threading.Event()
    body = b"x" * size

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        assert go_on.wait(5)
        connection.sendall(answer_with(body))
        answered.set()

    def be_busy() -> None:
        go_on.set()
        if size < 10_000:  # else it does not fit
            assert answered.wait(5)
        time.sleep(0.1)

    async def main(transport: AiohttpTransport) -> HttpResponse:
        loop = asyncio.get_running_loop()
        now = loop.time()
        # Both of these, and the timeout between them, are due in one iteration of the loop, which
        # has checked for readable sockets before.
        loop.call_at(now + 0.1, time.sleep, 0.3)
        loop.call_at(now + 0.15, be_busy)
        return await transport.send(post(port), Timeouts(5, 0.2))

    with served(handle) as port:
        assert run(main).body == body


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_request_whose_connection_is_not_open_yet_was_not_sent(turns: int) -> None:
    """If its tasks are cancelled, each request has an answer, and a failed one was not sent."""

    async def main(transport: AiohttpTransport) -> list[Any]:
        flights = transport.flights()
        before = asyncio.all_tasks()
        for number in range(3):
            flights.submit(number, post(port), PATIENCE)
        for task in asyncio.all_tasks() - before:
            task.cancel()
            for _ in range(turns):
                await asyncio.sleep(0)
        answers: list[Any] = []
        while len(answers) < 3:
            answers += await flights.collect(5)
        await flights.close()
        return answers

    with served(echoing) as port:
        answers = run(main)
    assert sorted(key for key, _ in answers) == [0, 1, 2]
    for _, answer in answers:
        if isinstance(answer, TransportError):
            assert not answer.may_have_been_sent


def test_a_request_that_cannot_be_sent_has_an_answer() -> None:
    """A request that cannot be sent gets an error as its answer, without its contents."""

    async def main(transport: AiohttpTransport) -> Any:
        flights = transport.flights()
        flights.submit("key", post(port, headers={"X-Test": "a secret\n"}), PATIENCE)
        [(_, answer)] = await flights.collect(5)
        await flights.close()
        return answer

    with served(echoing) as port:
        answer = run(main)
    assert isinstance(answer, TransportError)
    assert not answer.may_have_been_sent
    assert "secret" not in str(answer)


def test_a_cancelled_request_closes_its_connection() -> None:
    """A cancelled request closes its connection, so that a late answer reaches nobody."""
    closed = threading.Event()

    def handle(connection: socket.socket) -> None:
        _, _, body = read_request(connection)
        if body == b"slow":
            connection.sendall(OK[:-1])
            if not connection.recv(1):
                closed.set()
        else:
            connection.sendall(OK)

    async def main(transport: AiohttpTransport) -> None:
        sending = asyncio.ensure_future(transport.send(post(port, b"slow"), PATIENCE))
        await asyncio.sleep(0.1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert await asyncio.to_thread(closed.wait, 2)
        assert (await transport.send(post(port), PATIENCE)).body == b"{}"

    with served(handle) as port:
        run(main)


def test_requests_that_are_cancelled_at_any_moment_spoil_no_other() -> None:
    """A request can be cancelled at any moment, and every later one gets its own answer."""

    async def main(transport: AiohttpTransport) -> None:
        for number in range(150):
            sending = asyncio.ensure_future(transport.send(post(port, b"%d" % number), PATIENCE))
            for _ in range(number % 13):
                await asyncio.sleep(0)
            sending.cancel()
            try:
                answer = await sending
            except asyncio.CancelledError:
                pass
            else:
                assert answer.body == b"%d" % number
            answer = await transport.send(post(port, b"after %d" % number), PATIENCE)
            assert answer.body == b"after %d" % number

    with served(echoing) as port:
        run(main)


@pytest.mark.parametrize("steps", range(4))
def test_a_connection_whose_task_is_cancelled_is_answered(steps: int) -> None:
    """If a connecting task is cancelled, nothing was sent, and the next request goes out."""

    async def main(transport: AiohttpTransport) -> None:
        before = asyncio.all_tasks()
        flights = transport.flights()
        flights.submit("cut", post(port, b"cut"), PATIENCE)
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in asyncio.all_tasks() - before:
            task.cancel()
        [(key, answer)] = await flights.collect(5)
        assert key == "cut" and isinstance(answer, TransportError)
        assert not answer.may_have_been_sent
        flights.submit("next", post(port, b"next"), PATIENCE)
        [(key, answer)] = await flights.collect(5)
        assert isinstance(answer, HttpResponse) and answer.body == b"next"
        await flights.close()

    with served(echoing) as port:
        run(main)


@pytest.mark.slow
@pytest.mark.parametrize("closes", [False, True])
def test_one_transport_serves_loops_one_after_another(closes: bool) -> None:
    """Each loop has its own connections, and leaves none behind, closed or not."""
    transport = AiohttpTransport()
    handle = Numbered()
    ended: list[bool] = []

    def watched(connection: socket.socket) -> None:
        try:
            handle(connection)
        except ConnectionError:
            ended.append(True)

    async def main() -> None:
        for _ in range(2):
            sent = [transport.send(post(port), PATIENCE) for _ in range(3)]
            await asyncio.gather(*sent)
        if closes:
            await transport.close()

    with served(watched) as port:
        for _ in range(3):
            asyncio.run(main(), debug=True)
            gc.collect()
        while len(ended) < handle.opened:
            time.sleep(0.01)
    assert 6 <= handle.opened <= 18


def test_loops_in_two_threads_share_a_transport() -> None:
    """Loops in two threads can share a transport, and each gets its own answers."""
    transport = AiohttpTransport()
    failures: list[BaseException] = []

    async def main(name: str) -> None:
        for number in range(100):
            body = f"{name} {number}".encode()
            assert (await transport.send(post(port, body), PATIENCE)).body == body

    def thread(name: str) -> None:
        try:
            asyncio.run(main(name), debug=True)
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    with served(echoing) as port:
        threads = [threading.Thread(target=thread, args=(name,)) for name in "ab"]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    assert failures == []


def test_a_closed_transport_opens_again() -> None:
    """A request in flight at `close` still gets its answer, and later requests go out."""
    handle = Numbered(lambda connection: time.sleep(0.1))

    async def main(transport: AiohttpTransport) -> None:
        flights = transport.flights()
        await transport.send(post(port), PATIENCE)
        sending = asyncio.ensure_future(transport.send(post(port), PATIENCE))
        await asyncio.sleep(0.05)
        await transport.close()
        await transport.close()
        assert (await sending).status == 200
        assert (await transport.send(post(port), PATIENCE)).status == 200
        flights.submit(1, post(port), PATIENCE)
        [(_, answer)] = await flights.collect(5)
        assert isinstance(answer, HttpResponse)
        await flights.close()

    with served(handle) as port:
        run(main)
    assert handle.opened == 2


@pytest.mark.slow
def test_it_runs_on_uvloop() -> None:
    """The transport sends, is cancelled and times out on uvloop too."""
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        transport = AiohttpTransport()
        for number in range(20):
            answer = await transport.send(post(port, b"%d" % number), PATIENCE)
            assert answer.body == b"%d" % number
        sending = asyncio.ensure_future(transport.send(post(mute), PATIENCE))
        await asyncio.sleep(0.05)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        with pytest.raises(TransportError) as caught:
            await transport.send(post(mute), Timeouts(connect=2, read=0.05))
        assert caught.value.may_have_been_sent

    with served(echoing) as port, served(silent) as mute:
        uvloop.run(main(), debug=True)
    gc.collect()


@pytest.mark.process
def test_no_connection_crosses_a_fork() -> None:
    """A child uses its own connections, so it cannot read its parent's answers."""
    script = """
import asyncio, os, sys
from eventbridge_partner._http import HttpRequest, Timeouts
from eventbridge_partner.transports.aiohttp import AiohttpTransport

transport = AiohttpTransport()
async def send(body):
    request = HttpRequest(sys.argv[1], {"X-Test": "1"}, body)
    return (await transport.send(request, Timeouts(2, 2))).body.split()

with asyncio.Runner() as runner:
    _, opened = runner.run(send(b"warm"))
    child = os.fork()
    if child == 0:
        asyncio.set_event_loop(None)
        word, connection = asyncio.new_event_loop().run_until_complete(send(b"ours"))
        os._exit(word != b"ours" or connection == opened)
    _, status = os.waitpid(child, 0)
    assert status == 0, status
    assert runner.run(send(b"more")) == [b"more", opened]
"""
    ports: list[int] = []

    def handle(connection: socket.socket) -> None:
        while True:
            _, _, body = read_request(connection)
            said = body + b" %d" % connection.getpeername()[1]
            ports.append(connection.getpeername()[1])
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(said) + said)

    with served(handle) as port:
        finished = subprocess.run(
            [sys.executable, "-W", "error", "-c", script, f"http://127.0.0.1:{port}/"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    assert len(ports) == 3 and len(set(ports)) == 2


# ---------------------------------------------------------------- TLS and proxies


def test_tls_requests_can_be_cancelled(tls: ssl.SSLContext, bundle: Path) -> None:
    """After a cancelled TLS request, the next one gets its own answer."""

    async def main(transport: AiohttpTransport) -> None:
        for body in (b"a", b"b", b"c"):
            request = HttpRequest(f"https://localhost:{port}/", {}, body)
            sending = asyncio.ensure_future(transport.send(request, PATIENCE))
            await asyncio.sleep(0)
            sending.cancel()
            await asyncio.wait([sending])
            assert (await transport.send(request, PATIENCE)).body == body

    with served(echoing, tls) as port:
        run(main, ca_bundle=str(bundle))


def test_trusted_certificates_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    """An unreadable bundle, or False, is refused when the transport is made."""
    (tmp_path / "ca.pem").write_text("no certificate")
    for bundle in (str(tmp_path / "ca.pem"), str(tmp_path / "missing.pem"), False):
        with pytest.raises(ConfigurationError, match="ca_bundle"):
            AiohttpTransport(ca_bundle=bundle)


def shown(error: BaseException | None) -> str:
    """Return all that can be seen of an error and of its causes."""
    text = ""
    while error is not None:
        text += f"{error!r} {error} {error.args!r}"
        error = error.__cause__ or error.__context__
    return text


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_password_of_a_proxy_shows_in_an_errors_causes(scheme: str) -> None:
    """aiohttp's errors, which tracebacks show too, do not have the proxy's password."""
    refusing = answering(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
    with served(refusing) as port:
        for proxy in (port, 1) if scheme == "https" else (1,):
            with pytest.raises(TransportError) as caught:
                send(
                    HttpRequest(f"{scheme}://localhost:1/", {}, b"{}"),
                    proxies={"all": f"user:secret@127.0.0.1:{proxy}"},
                )
            assert not caught.value.may_have_been_sent
            assert "secret" not in shown(caught.value)


@pytest.mark.process
def test_without_aiohttp_it_names_what_to_install() -> None:
    """Without aiohttp, importing the transport raises an error that says what to install."""
    script = """
import sys
sys.modules["aiohttp"] = None
from eventbridge_partner import ConfigurationError
try:
    import eventbridge_partner.transports.aiohttp
except ConfigurationError as error:
    print(error)
"""
    finished = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert "pip install 'eventbridge-partner[async]'" in finished.stdout


@pytest.mark.slow
def test_a_forgotten_transport_leaves_nothing_behind() -> None:
    """The connections of a forgotten transport end with its loop, without a warning."""

    async def main() -> None:
        await AiohttpTransport().send(post(port), PATIENCE)
        gc.collect()

    with served(echoing) as port:
        asyncio.run(main(), debug=True)
        gc.collect()


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test if asyncio logs an unretrieved exception or a pending task."""
    yield
    records = [record for record in caplog.records if record.name in ("asyncio", "aiohttp.client")]
    assert [r for r in records if r.levelname == "ERROR"] == []
