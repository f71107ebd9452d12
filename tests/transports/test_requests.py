"""The default transport against servers that misbehave, on real sockets."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import responses
import trustme
from hypothesis import given
from hypothesis import strategies as st

from eventbridge_partner._http import MAX_ANSWER_BYTES, HttpRequest, Timeouts
from eventbridge_partner.errors import TlsError, TransportError
from eventbridge_partner.transports._post import read_headers
from eventbridge_partner.transports.requests import RequestsTransport

PATIENCE = Timeouts(connect=2, read=0.5)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Amzn-RequestId: 7\r\n\r\n{}"

Handler = Callable[[socket.socket], None]


@contextmanager
def served(handle: Handler, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve each connection with a function on a thread of its own; give the port."""
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
                        handle(secured)
            except OSError:
                pass

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


def read_request(connection: socket.socket) -> tuple[str, dict[str, str], bytes]:
    """Read a request; return its first line, its headers and its body."""
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            raise ConnectionError
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    while len(body) < int(headers["content-length"]):
        body += connection.recv(65536)
    return first, headers, body


def answering(answer: bytes) -> Handler:
    """Answer every request so, and close after the first."""

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(answer)

    return handle


def post(port: int, body: bytes = b"{}", headers: dict[str, str] | None = None) -> HttpRequest:
    return HttpRequest(f"http://127.0.0.1:{port}/", headers or {"X-Test": "1"}, body)


@pytest.fixture
def transport() -> Iterator[RequestsTransport]:
    transport = RequestsTransport()
    yield transport
    transport.close()


def failure(transport: RequestsTransport, handle: Handler) -> TransportError:
    """Return the error that a server's behaviour brings about."""
    with served(handle) as port, pytest.raises(TransportError) as caught:
        transport.send(post(port), PATIENCE)
    return caught.value


@pytest.mark.parametrize("size", [0, 2, 65_536, 65_537, 900_000])
def test_a_request_arrives_as_it_was_made(transport: RequestsTransport, size: int) -> None:
    """The body to the byte, every header once, and nothing that was not asked for."""
    arrived: list[tuple[str, dict[str, str], bytes]] = []

    def handle(connection: socket.socket) -> None:
        arrived.append(read_request(connection))
        connection.sendall(OK)

    headers = {"X-Amz-Target": "AWSEvents.PutPartnerEvents", "User-Agent": "ours"}
    body = b"x" * size
    with served(handle) as port:
        response = transport.send(post(port, body, headers), PATIENCE)

    assert (response.status, response.body) == (200, b"{}")
    assert response.headers["x-amzn-requestid"] == "7"
    first, received, received_body = arrived[0]
    assert first == "POST / HTTP/1.1"
    assert received_body == body
    assert received == {
        "host": f"127.0.0.1:{port}",
        "x-amz-target": "AWSEvents.PutPartnerEvents",
        "user-agent": "ours",
        "content-length": str(size),
    }


def test_connections_are_kept(transport: RequestsTransport) -> None:
    """Ten requests take one connection."""
    connections: list[socket.socket] = []

    def handle(connection: socket.socket) -> None:
        connections.append(connection)
        while True:
            read_request(connection)
            connection.sendall(OK)

    with served(handle) as port:
        for _ in range(10):
            transport.send(post(port), PATIENCE)

    assert len(connections) == 1


def test_a_connection_that_was_closed_meanwhile_is_replaced(transport: RequestsTransport) -> None:
    """A server that closes idle connections costs nothing but a new connection."""
    with served(answering(OK)) as port:
        for _ in range(5):
            assert transport.send(post(port), PATIENCE).status == 200
            time.sleep(0.02)


def test_a_chunked_answer_is_read(transport: RequestsTransport) -> None:
    """An answer without a length ends where it says."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
    with served(answering(chunked)) as port:
        assert transport.send(post(port), PATIENCE).body == b"{}"


@pytest.mark.parametrize("line", ["100 Continue", "102 Processing", "103 Early Hints"])
@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_interim_answers_are_passed_over(
    transport: RequestsTransport, line: str, pause: float
) -> None:
    """They are not the answer, and what follows is not the answer to the next request."""

    def handle(connection: socket.socket) -> None:
        while True:
            _, _, body = read_request(connection)
            connection.sendall(2 * f"HTTP/1.1 {line}\r\nLink: </>\r\n\r\n".encode())
            time.sleep(pause)
            connection.sendall(OK.replace(b"{}", body))

    with served(handle) as port:
        for body in (b"[]", b"11", b"22"):
            answer = transport.send(post(port, body), PATIENCE)
            assert (answer.status, answer.body) == (200, body)


def test_redirects_are_not_followed(transport: RequestsTransport) -> None:
    """Signed requests go where they were sent and nowhere else."""
    elsewhere: list[str] = []
    with served(lambda connection: elsewhere.append("here")) as other:
        location = f"Location: http://127.0.0.1:{other}/".encode()
        redirect = b"HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\n" + location
        with served(answering(redirect + b"\r\n\r\n")) as port:
            assert transport.send(post(port), PATIENCE).status == 307
    assert elsewhere == []


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
        b"this is no HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * 101 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: " + b"1" * 70_000 + b"\r\n\r\n",
    ],
    ids=[
        "closed",
        "shorter than it says",
        "cut in a chunk",
        "a bad chunk",
        "not HTTP",
        "a bad header",
        "headers without end",
        "a header without end",
    ],
)
def test_an_answer_that_cannot_be_read_may_have_been_sent(
    transport: RequestsTransport, answer: bytes
) -> None:
    """The request went out whole, so nobody knows what became of it."""
    assert failure(transport, answering(answer)).may_have_been_sent


def test_an_answer_without_end_is_cut_off(transport: RequestsTransport) -> None:
    """No more than a bound is read."""
    sent = [0]

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            sent[0] += connection.send(b"x" * 65536)

    error = failure(transport, handle)

    assert error.may_have_been_sent
    assert str(MAX_ANSWER_BYTES) in str(error)
    assert sent[0] < 20 * MAX_ANSWER_BYTES


def test_a_silent_server_is_left_after_the_read_timeout(transport: RequestsTransport) -> None:
    """No answer in time may mean that it was carried out."""
    started = time.monotonic()

    error = failure(transport, lambda connection: time.sleep(1.5))

    assert error.may_have_been_sent
    assert time.monotonic() - started < 2


def test_an_answer_that_drips_is_left_after_the_read_timeout(transport: RequestsTransport) -> None:
    """A byte now and then does not keep a request alive for ever."""

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(50):
            connection.sendall(b"x")
            time.sleep(0.1)

    started = time.monotonic()
    error = failure(transport, handle)

    assert error.may_have_been_sent
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("dripped", [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK\r\nX-A: 1234567890\r\n"])
def test_headers_that_drip_are_left_after_the_read_timeout(
    transport: RequestsTransport, dripped: bytes
) -> None:
    """The bound is on the whole answer, from its first line on."""

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        for byte in dripped * 3:
            connection.sendall(bytes([byte]))
            time.sleep(0.1)

    started = time.monotonic()
    error = failure(transport, handle)

    assert error.may_have_been_sent
    assert time.monotonic() - started < 1.5


def test_connecting_and_reading_share_a_bound(transport: RequestsTransport) -> None:
    """What connecting took is not to be had for reading."""
    started = time.monotonic()
    with served(lambda connection: time.sleep(1.5)) as port:
        with pytest.raises(TransportError):
            transport.send(post(port), Timeouts(connect=5, read=5, total=0.3))
        assert time.monotonic() - started < 1


def test_a_refused_connection_was_not_sent(transport: RequestsTransport) -> None:
    """Where nobody listens nothing arrived."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]

    with pytest.raises(TransportError) as caught:
        transport.send(post(port), PATIENCE)

    assert not caught.value.may_have_been_sent
    assert "refused" in str(caught.value)


def test_no_connection_crosses_a_fork() -> None:
    """Else a child would read its parent's answers for its own."""
    script = """
import os, sys
from eventbridge_partner._http import HttpRequest, Timeouts
from eventbridge_partner.transports.requests import RequestsTransport

transport = RequestsTransport()
def send(body):
    request = HttpRequest(sys.argv[1], {"X-Test": "1"}, body)
    return transport.send(request, Timeouts(2, 2)).body.split()

_, opened = send(b"warm")
child = os.fork()
if child == 0:
    word, connection = send(b"ours")
    os._exit(word != b"ours" or connection == opened)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert send(b"more") == [b"more", opened]
transport.close()
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
            [sys.executable, "-W", "ignore", "-c", script, f"http://127.0.0.1:{port}/"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    assert finished.returncode == 0, finished.stderr
    assert len(ports) == 3 and len(set(ports)) == 2


def test_a_failed_request_leaves_no_connection_behind(transport: RequestsTransport) -> None:
    """The next request gets its own answer, not what is left of the last one's."""
    numbers = iter(range(10))

    def handle(connection: socket.socket) -> None:
        while True:
            read_request(connection)
            number = next(numbers)
            if number == 0:
                time.sleep(0.7)
            body = b'{"number":%d}' % number
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
            connection.sendall(head + body)

    with served(handle) as port:
        with pytest.raises(TransportError):
            transport.send(post(port), PATIENCE)
        time.sleep(0.3)
        assert transport.send(post(port), PATIENCE).body == b'{"number":1}'


@pytest.mark.parametrize("value", ["1\r\nX-Evil: 2", "1\nX-Evil: 2", "1\rX-Evil: 2"])
def test_a_header_with_a_line_break_is_refused(transport: RequestsTransport, value: str) -> None:
    """Nothing can be smuggled in behind a header, and nothing goes out."""
    arrived: list[object] = []
    with served(lambda connection: arrived.append(read_request(connection))) as port:
        with pytest.raises(ValueError, match="line break"):
            transport.send(post(port, headers={"X-Test": value}), PATIENCE)
        transport.close()
        time.sleep(0.05)
    assert arrived == []


# ---------------------------------------------------------------- TLS and proxies


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


def test_tls_with_a_trusted_certificate_works(
    authority: trustme.CA, tls: ssl.SSLContext, tmp_path: Path
) -> None:
    """The CA bundle is what certificates are held against."""
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    transport = RequestsTransport(ca_bundle=str(bundle))

    with served(answering(OK), tls) as port:
        request = HttpRequest(f"https://localhost:{port}/", {}, b"x" * 100_000)
        assert transport.send(request, PATIENCE).status == 200

        with pytest.raises(TlsError):
            transport.send(HttpRequest(f"https://127.0.0.1:{port}/", {}, b"{}"), PATIENCE)
    transport.close()


def test_tls_fails_closed(transport: RequestsTransport, tls: ssl.SSLContext) -> None:
    """A certificate that nobody trusts gets no request."""
    arrived: list[object] = []
    with served(lambda connection: arrived.append(read_request(connection)), tls) as port:
        with pytest.raises(TlsError) as caught:
            transport.send(HttpRequest(f"https://localhost:{port}/", {}, b"{}"), PATIENCE)

    assert not caught.value.may_have_been_sent
    assert arrived == []


def test_tls_to_a_server_without_tls_fails_closed(transport: RequestsTransport) -> None:
    """What does not speak TLS is not trusted."""
    with served(lambda connection: connection.sendall(OK)) as port, pytest.raises(TlsError):
        transport.send(HttpRequest(f"https://localhost:{port}/", {}, b"{}"), PATIENCE)


def test_a_proxy_gets_the_whole_url_and_its_password() -> None:
    """A configured proxy is used, with its credentials, and they show in no error."""
    arrived: list[tuple[str, dict[str, str], bytes]] = []

    def handle(connection: socket.socket) -> None:
        arrived.append(read_request(connection))
        connection.sendall(OK)

    with served(handle) as port:
        transport = RequestsTransport(proxies={"http": f"http://user:secret@127.0.0.1:{port}"})
        request = HttpRequest("http://events.test/", {"X-Test": "1"}, b"{}")
        assert transport.send(request, PATIENCE).status == 200
        transport.close()

    first, headers, _ = arrived[0]
    assert first == "POST http://events.test/ HTTP/1.1"
    assert headers["proxy-authorization"] == "Basic dXNlcjpzZWNyZXQ="

    transport = RequestsTransport(proxies={"http": "http://user:secret@127.0.0.1:1"})
    with pytest.raises(TransportError) as caught:
        transport.send(request, PATIENCE)
    assert not caught.value.may_have_been_sent
    assert "secret" not in str(caught.value)


@responses.activate
def test_responses_stands_in_for_the_service(transport: RequestsTransport) -> None:
    """The mock that Python's tests know works on this transport, errors included."""
    url = "https://events.us-east-1.amazonaws.com/"
    responses.post(url, json={"FailedEntryCount": 0}, headers={"x-amzn-requestid": "1"})
    answer = transport.send(HttpRequest(url, {"X-Test": "1"}, b"{}"), PATIENCE)

    assert (answer.status, answer.body) == (200, b'{"FailedEntryCount": 0}')
    assert answer.headers["x-amzn-requestid"] == "1"
    assert responses.calls[0].request.headers["X-Test"] == "1"

    responses.replace(responses.POST, url, body=ConnectionResetError("reset"))
    with pytest.raises(TransportError):
        transport.send(HttpRequest(url, {}, b"{}"), PATIENCE)


header_lines = st.lists(
    st.tuples(
        st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,12}", fullmatch=True),
        st.from_regex(r"[!-~\xa0-\xff]([ \t!-~]{0,20}[!-~])?", fullmatch=True) | st.just(""),
    ),
    max_size=10,
)


@given(header_lines, st.sampled_from([b"\r\n", b"\n"]), st.booleans())
def test_headers_are_read_as_http_client_reads_them(
    lines: list[tuple[str, str]], ending: bytes, folds: bool
) -> None:
    """The quick reader of headers agrees with the one that it replaces."""
    block = b"".join(f"{name}: {value}".encode("latin-1") + ending for name, value in lines)
    if folds and lines:
        block += b"  folded" + ending
    block += ending

    ours = read_headers(io.BytesIO(block))
    theirs = http.client.parse_headers(io.BytesIO(block))

    def unfolded(headers: http.client.HTTPMessage) -> list[tuple[str, str]]:
        return [(name, " ".join(value.split())) for name, value in headers.items()]

    assert unfolded(ours) == unfolded(theirs)
