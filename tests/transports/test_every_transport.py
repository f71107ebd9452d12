"""What holds on every transport, against servers that misbehave, on real sockets."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import trustme

from eventbridge_partner._http import MAX_ANSWER_BYTES, HttpRequest, Timeouts
from eventbridge_partner.errors import ConfigurationError, TlsError, TransportError
from tests.transports.answers import READ, REFUSED
from tests.transports.senders import Sender
from tests.transports.servers import (
    IMPATIENCE,
    OK,
    PATIENCE,
    Handler,
    Request,
    answer_with,
    answering,
    echoing,
    post,
    read_request,
    reset,
    served,
    silent,
    to_localhost,
)

pytestmark = pytest.mark.slow

Open = Callable[..., Sender]


def failure(send: Sender, handle: Handler, timeouts: Timeouts = PATIENCE) -> TransportError:
    """Return the error that a server's behaviour brings about."""
    with served(handle) as port, pytest.raises(TransportError) as caught:
        send(post(port), timeouts)
    return caught.value


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize("size", [0, 2, 65_536, 65_537, 900_000, 1_100_000])
def test_a_request_arrives_as_it_was_made(send: Sender, size: int) -> None:
    """The body to the byte, every header once, and nothing that was not asked for."""
    arrived: list[Request] = []

    def handle(connection: socket.socket) -> None:
        arrived.append(read_request(connection))
        connection.sendall(OK)

    headers = {"X-Amz-Target": "AWSEvents.PutPartnerEvents", "User-Agent": "ours"}
    body = b"\0\xff\r\n" * (size // 4) + b"x" * (size % 4)
    with served(handle) as port:
        response = send(post(port, body, headers))

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


def test_headers_may_be_empty_or_latin(send: Sender) -> None:
    """A header without a value is sent all the same, and so are letters beyond ASCII."""
    arrived: list[Request] = []

    def handle(connection: socket.socket) -> None:
        arrived.append(read_request(connection))
        connection.sendall(OK)

    headers = {"Content-Type": "text/plain", "X-Empty": "", "X-Name": "Zoë"}
    with served(handle) as port:
        send(post(port, headers=headers))

    _, received, _ = arrived[0]
    assert {name: received[name.lower()] for name in headers} == headers


@pytest.mark.parametrize("value", ["1\r\nX-Evil: 2", "1\nX-Evil: 2", "1\rX-Evil: 2"])
def test_a_header_with_a_line_break_is_refused(send: Sender, value: str) -> None:
    """Nothing can be smuggled in behind a header, and nothing goes out."""
    arrived: list[object] = []
    with served(lambda connection: arrived.append(read_request(connection))) as port:
        with pytest.raises(ValueError, match="line break"):
            send(post(port, headers={"X-Test": value}))
        send.close()
        time.sleep(0.05)
    assert arrived == []


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("head", "rest"),
    [
        (b"Content-Length: 2", b"{}"),
        (b"Transfer-Encoding: chunked", b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked", b"1;a=b\r\n{\r\n1\r\n}\r\n0\r\nX-Trailer: 1\r\n\r\n"),
        (b"X-Test: 1", b"{}"),
        (b"Connection: close", b"{}"),
        (b"Connection: close\r\nContent-Length: 2", b"{}"),
        (b"Content-Encoding: gzip\r\nContent-Length: 2", b"{}"),
    ],
    ids=["length", "chunks", "trailers", "end", "announced end", "both", "not decoded"],
)
@pytest.mark.parametrize("pause", [0.0, 0.02])
def test_an_answer_is_read_whole(send: Sender, head: bytes, rest: bytes, pause: float) -> None:
    """However it says where it ends, and in as many pieces as it comes."""

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        answer = b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + rest
        if not pause:
            connection.sendall(answer)
            return
        for part in (answer[:9], answer[9:20], answer[20:-1], answer[-1:]):
            connection.sendall(part)
            time.sleep(pause)

    with served(handle) as port:
        answer = send(post(port))
    assert (answer.status, answer.body) == (200, b"{}")


@pytest.mark.parametrize("status", [200, 400, 403, 413, 429, 500, 503])
def test_every_status_is_an_answer(send: Sender, status: int) -> None:
    """It comes with its headers, their names in lower case, and its body."""
    head = f"HTTP/1.1 {status} Said\r\nX-Amzn-ErrorType:  Some \r\nDATE: today\r\n".encode()
    with served(answering(head + b"Content-Length: 3\r\n\r\nwhy")) as port:
        answer = send(post(port))

    assert (answer.status, answer.body) == (status, b"why")
    assert answer.headers.get("x-amzn-errortype") == "Some"
    assert dict(answer.headers) == {
        "x-amzn-errortype": "Some",
        "date": "today",
        "content-length": "3",
    }


@pytest.mark.parametrize("line", ["100 Continue", "102 Processing", "103 Early Hints"])
@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_interim_answers_are_passed_over(send: Sender, line: str, pause: float) -> None:
    """They are not the answer, and what follows is not the answer to the next request."""

    def handle(connection: socket.socket) -> None:
        while True:
            _, _, body = read_request(connection)
            connection.sendall(2 * f"HTTP/1.1 {line}\r\nLink: </>\r\n\r\n".encode())
            time.sleep(pause)
            connection.sendall(answer_with(body))

    with served(handle) as port:
        for body in (b"[]", b"11", b"22"):
            answer = send(post(port, body))
            assert (answer.status, answer.body) == (200, body)
            assert "link" not in answer.headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(send: Sender, status: int) -> None:
    """Signed requests go where they were sent and nowhere else."""
    elsewhere: list[str] = []
    with served(lambda connection: elsewhere.append("here")) as other:
        location = f"Location: http://127.0.0.1:{other}/".encode()
        redirect = b"HTTP/1.1 %d Elsewhere\r\nContent-Length: 0\r\n" % status + location
        with served(answering(redirect + b"\r\n\r\n")) as port:
            assert send(post(port)).status == status
    assert elsewhere == []


@pytest.mark.parametrize(("answer", "body"), READ.values(), ids=list(READ))
def test_an_odd_answer_is_read(send: Sender, answer: bytes, body: bytes) -> None:
    """As RFC 9112 has it, and the next request gets its own answer, whatever came behind it."""
    with served(answering(answer)) as port:
        first = send(post(port))
        assert (first.status in (200, 204), first.body) == (True, body)
    with served(echoing) as port:
        assert send(post(port, b"next")).body == b"next"


@pytest.mark.parametrize("answer", REFUSED.values(), ids=list(REFUSED))
def test_an_answer_that_cannot_be_read_may_have_been_sent(send: Sender, answer: bytes) -> None:
    """The request went out whole, so nobody knows what became of it. Nothing else goes there."""
    connections: list[socket.socket] = []

    def handle(connection: socket.socket) -> None:
        connections.append(connection)
        if len(connections) > 1:
            echoing(connection)
        read_request(connection)
        with suppress(OSError):
            connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)
        echoing(connection)

    with served(handle) as port:
        with pytest.raises(TransportError) as caught:
            send(post(port))
        assert send(post(port, b"next")).body == b"next"

    assert caught.value.may_have_been_sent
    assert not isinstance(caught.value, TlsError)
    assert f"the answer from 127.0.0.1:{port} was lost (" in str(caught.value)
    assert len(connections) == 2


@pytest.mark.parametrize("what", ["two lengths", "a length and chunks", "a status of four digits"])
def test_a_connection_that_may_be_off_is_closed_at_once(send: Sender, what: str) -> None:
    """Though its answer was whole for those who understand it one way."""
    connections: list[socket.socket] = []

    def handle(connection: socket.socket) -> None:
        connections.append(connection)
        while True:
            _, _, body = read_request(connection)
            connection.sendall(REFUSED[what] if len(connections) == 1 else answer_with(body))

    with served(handle) as port:
        with pytest.raises(TransportError):
            send(post(port))
        assert send(post(port, b"next")).body == b"next"
    assert len(connections) == 2


def test_a_reset_after_the_request_may_have_been_sent(send: Sender) -> None:
    """It was read before the connection broke."""

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        reset(connection)

    assert failure(send, handle).may_have_been_sent


@pytest.mark.parametrize("extra", [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong", b"more"])
def test_what_comes_behind_an_answer_is_no_answer(send: Sender, extra: bytes) -> None:
    """The next request gets its own, not what is left of the last one's."""

    def handle(connection: socket.socket) -> None:
        while True:
            _, _, body = read_request(connection)
            connection.sendall(answer_with(body) + extra)

    with served(handle) as port:
        for body in (b"first", b"other", b"third"):
            assert send(post(port, body)).body == body
            send.pause(0.02)


@pytest.mark.parametrize(
    "head", [b"", b"Content-Length: %d\r\n", b"Transfer-Encoding: chunked\r\n"]
)
def test_an_answer_without_end_is_cut_off(send: Sender, head: bytes) -> None:
    """No more than a bound is read, whether it was announced or not."""
    sent = [0]

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        declared = head % (100 * MAX_ANSWER_BYTES) if b"%" in head else head
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + declared + b"\r\n")
        while True:
            chunk = b"x" * 65536
            sent[0] += connection.send(
                b"10000\r\n" + chunk + b"\r\n" if b"chunk" in head else chunk
            )

    error = failure(send, handle)

    assert error.may_have_been_sent
    assert str(MAX_ANSWER_BYTES) in str(error)
    assert sent[0] < 20 * MAX_ANSWER_BYTES


def test_an_answer_may_have_as_much_as_the_bound(send: Sender) -> None:
    """To the last byte."""
    body = b"x" * MAX_ANSWER_BYTES
    with served(answering(answer_with(body))) as port:
        assert send(post(port), Timeouts(2, 5)).body == body


# ---------------------------------------------------------------- time


def test_a_silent_server_is_left_after_the_read_timeout(send: Sender) -> None:
    """No answer in time may mean that it was carried out."""
    started = time.monotonic()

    error = failure(send, silent, IMPATIENCE)

    assert error.may_have_been_sent
    assert re.fullmatch(r"no answer from 127\.0\.0\.1:\d+ in time", str(error))
    assert time.monotonic() - started < 2


def test_an_answer_that_drips_is_left_after_the_read_timeout(send: Sender) -> None:
    """A byte now and then does not keep a request alive for ever."""

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(50):
            connection.sendall(b"x")
            time.sleep(0.05)

    started = time.monotonic()
    error = failure(send, handle, IMPATIENCE)

    assert error.may_have_been_sent
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    "dripped",
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK\r\nX-A: 1234567890\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
def test_headers_that_drip_are_left_after_the_read_timeout(send: Sender, dripped: bytes) -> None:
    """The bound is on the whole answer, from its first line on, interim ones included."""

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        for byte in dripped * 3:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)

    started = time.monotonic()
    error = failure(send, handle, IMPATIENCE)

    assert error.may_have_been_sent
    assert time.monotonic() - started < 1.5


def test_connecting_and_reading_share_a_bound(send: Sender) -> None:
    """What connecting took is not to be had for reading."""
    started = time.monotonic()
    with served(silent) as port:
        with pytest.raises(TransportError) as caught:
            send(post(port), Timeouts(connect=5, read=5, total=0.3))
        assert time.monotonic() - started < 1
    assert caught.value.may_have_been_sent


@pytest.mark.parametrize(("total", "arrives"), [(None, True), (5.0, True), (0.6, False)])
def test_reading_has_its_time_whatever_connecting_took(
    open_sender: Open, tls: ssl.SSLContext, bundle: Path, total: float | None, arrives: bool
) -> None:
    """The time for the answer counts from when the connection stands; the whole does not."""

    def handle(connection: socket.socket) -> None:
        time.sleep(0.4)
        with tls.wrap_socket(connection, server_side=True) as secured:
            read_request(secured)
            time.sleep(0.4)
            secured.sendall(OK)

    send = open_sender(ca_bundle=str(bundle))
    with served(handle) as port:
        if arrives:
            assert send(to_localhost(port), Timeouts(2, 0.7, total)).status == 200
        else:
            with pytest.raises(TransportError) as caught:
                send(to_localhost(port), Timeouts(2, 0.7, total))
            assert caught.value.may_have_been_sent


def test_a_server_that_does_not_accept_is_left_after_the_connect_timeout(send: Sender) -> None:
    """Its queue is full: nothing was sent."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(8):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(listening.getsockname())
        started = time.monotonic()
        with pytest.raises(TransportError) as caught:
            send(post(listening.getsockname()[1]), Timeouts(connect=0.3, read=5))

    assert time.monotonic() - started < 2
    assert not caught.value.may_have_been_sent
    assert not isinstance(caught.value, TlsError)


def test_a_handshake_that_hangs_is_left_after_the_connect_timeout(
    open_sender: Open, bundle: Path
) -> None:
    """It belongs to connecting."""
    send = open_sender(ca_bundle=str(bundle))
    started = time.monotonic()
    with served(silent) as port:
        with pytest.raises(TransportError) as caught:
            send(to_localhost(port), Timeouts(connect=0.3, read=5))
        assert time.monotonic() - started < 1.2
    assert not caught.value.may_have_been_sent
    assert not isinstance(caught.value, TlsError)


# ---------------------------------------------------------------- connections


def test_connections_are_kept(send: Sender) -> None:
    """Ten requests take one connection."""
    connections: list[socket.socket] = []

    def handle(connection: socket.socket) -> None:
        connections.append(connection)
        echoing(connection)

    with served(handle) as port:
        for number in range(10):
            assert send(post(port, b"%d" % number)).body == b"%d" % number

    assert len(connections) == 1


@pytest.mark.parametrize("end", [lambda connection: None, reset], ids=["closed", "reset"])
@pytest.mark.parametrize(("idle", "requests"), [(0.02, 3), (1.2, 2)])
def test_a_connection_that_was_closed_meanwhile_is_replaced(
    send: Sender, end: Handler, idle: float, requests: int
) -> None:
    """
    A server that closes idle connections costs nothing but a new connection.

    From one second on libcurl looks on its own whether a connection is still there.
    """
    arrived: list[bytes] = []
    has_ended = threading.Semaphore(0)

    def handle(connection: socket.socket) -> None:
        arrived.append(read_request(connection)[2])
        connection.sendall(OK)
        time.sleep(idle / 4)
        connection.shutdown(socket.SHUT_WR)
        end(connection)
        has_ended.release()

    with served(handle) as port:
        assert send(post(port, b"0")).status == 200
        for number in range(1, requests):
            send.pause(idle)
            assert has_ended.acquire(timeout=5)
            assert send(post(port, b"%d" % number)).status == 200

    assert arrived == [b"%d" % number for number in range(requests)]


def test_a_request_that_was_read_is_not_sent_again(send: Sender) -> None:
    """A kept connection that ends without an answer: it may have been carried out."""
    arrived: list[bytes] = []

    def handle(connection: socket.socket) -> None:
        arrived.append(read_request(connection)[2])
        connection.sendall(OK)
        arrived.append(read_request(connection)[2])

    with served(handle) as port:
        send(post(port, b"first"))
        with pytest.raises(TransportError) as caught:
            send(post(port, b"second"))
        assert send(post(port, b"third")).status == 200

    assert caught.value.may_have_been_sent
    assert arrived == [b"first", b"second", b"third"]


def test_a_failed_request_leaves_no_connection_behind(send: Sender) -> None:
    """The next request gets its own answer, not what is left of the last one's."""
    has_failed, is_late = threading.Event(), threading.Event()

    def handle(connection: socket.socket) -> None:
        while True:
            _, _, body = read_request(connection)
            if body == b"slow":
                has_failed.wait(5)
            try:
                connection.sendall(answer_with(body))
            finally:
                is_late.set()

    with served(handle) as port:
        with pytest.raises(TransportError):
            send(post(port, b"slow"), IMPATIENCE)
        has_failed.set()
        assert is_late.wait(5)
        assert send(post(port, b"next")).body == b"next"


def test_a_closed_transport_opens_again(send: Sender) -> None:
    """On a new connection; the old one is closed for the server too."""
    opened: list[socket.socket] = []
    ended = threading.Semaphore(0)

    def handle(connection: socket.socket) -> None:
        opened.append(connection)
        try:
            echoing(connection)
        finally:
            ended.release()

    with served(handle) as port:
        assert send(post(port, b"1")).body == b"1"
        send.close()
        assert ended.acquire(timeout=5)
        assert send(post(port, b"2")).body == b"2"
    assert len(opened) == 2


def test_a_refused_connection_was_not_sent(send: Sender) -> None:
    """Where nobody listens nothing arrived."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]

    with pytest.raises(TransportError) as caught:
        send(post(port))

    assert not caught.value.may_have_been_sent
    assert not isinstance(caught.value, TlsError)
    assert "refused" in str(caught.value)


def test_an_unknown_host_was_not_sent(send: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is it a matter of trust."""

    def unknown(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    # libcurl looks up names on its own; no name server is asked for a part of so many letters.
    request = HttpRequest(f"http://{'a' * 64}.test/", {"X-Test": "1"}, b"{}")
    with pytest.raises(TransportError) as caught:
        send(request)

    assert not caught.value.may_have_been_sent
    assert not isinstance(caught.value, TlsError)


# ---------------------------------------------------------------- TLS


@pytest.mark.parametrize("size", [2, 100_000])
def test_tls_with_a_trusted_certificate_works(
    open_sender: Open, tls: ssl.SSLContext, bundle: Path, size: int
) -> None:
    """And connections are kept."""
    opened: list[socket.socket] = []

    def handle(connection: socket.socket) -> None:
        opened.append(connection)
        echoing(connection)

    send = open_sender(ca_bundle=str(bundle))
    with served(handle, tls) as port:
        for _ in range(3):
            assert send(to_localhost(port, b"x" * size)).body == b"x" * size
    assert len(opened) == 1


def rehashed(directory: Path, authority: trustme.CA) -> str:
    """Fill a directory with a certificate under the name that OpenSSL looks for."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here to name the file")
    path = directory / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    command = [openssl, "x509", "-noout", "-hash", "-in", str(path)]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    path.rename(directory / f"{found}.0")
    return str(directory)


@pytest.mark.process
def test_trusted_certificates_may_be_in_a_directory(
    open_sender: Open, tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Path
) -> None:
    """One file for each, as `openssl rehash` names them."""
    send = open_sender(ca_bundle=rehashed(tmp_path, authority))
    with served(echoing, tls) as port:
        assert send(to_localhost(port)).status == 200


@pytest.mark.process
@pytest.mark.parametrize("form", ["usual", "file", "directory"])
def test_tls_fails_closed(
    open_sender: Open, tls: ssl.SSLContext, tmp_path: Path, form: str
) -> None:
    """A certificate of an authority that is not among the trusted ones gets no request."""
    arrived: list[object] = []
    other = trustme.CA(organization_name="another")
    match form:
        case "usual":
            send = open_sender()
        case "file":
            other.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
            send = open_sender(ca_bundle=str(tmp_path / "ca.pem"))
        case _:
            send = open_sender(ca_bundle=rehashed(tmp_path, other))
    with served(lambda connection: arrived.append(read_request(connection)), tls) as port:
        with pytest.raises(TlsError) as caught:
            send(to_localhost(port))

    assert not caught.value.may_have_been_sent
    assert arrived == []


def test_only_the_given_bundle_is_trusted(
    open_sender: Open, tls: ssl.SSLContext, bundle: Path, tmp_path: Path
) -> None:
    """What OpenSSL finds in its own places is not trusted besides."""
    other = trustme.CA(organization_name="another")
    other.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(bundle))
        patch.setenv("SSL_CERT_DIR", str(bundle.parent))
        send = open_sender(ca_bundle=str(tmp_path / "ca.pem"))
        with served(echoing, tls) as port, pytest.raises(TlsError):
            send(to_localhost(port))


def test_a_certificate_of_another_host_is_not_trusted(
    open_sender: Open, tls: ssl.SSLContext, bundle: Path
) -> None:
    """Whoever signed it."""
    arrived: list[object] = []
    send = open_sender(ca_bundle=str(bundle))
    with served(lambda connection: arrived.append(read_request(connection)), tls) as port:
        with pytest.raises(TlsError):
            send(HttpRequest(f"https://127.0.0.1:{port}/", {}, b"{}"))
    assert arrived == []


@pytest.mark.parametrize(
    "answer", [OK, b"\x15\x03\x03\x00\x02\x02\x28"], ids=["plain", "handshake failure"]
)
def test_tls_to_a_server_without_it_fails_closed(send: Sender, answer: bytes) -> None:
    """What does not speak TLS, or none that we do, is not trusted."""

    def handle(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    with served(handle) as port, pytest.raises(TlsError) as caught:
        send(to_localhost(port))
    assert not caught.value.may_have_been_sent


def close_after_hello(connection: socket.socket) -> None:
    connection.recv(65536)


def reset_after_hello(connection: socket.socket) -> None:
    connection.recv(65536)
    reset(connection)


@pytest.mark.parametrize("end", [close_after_hello, reset_after_hello])
def test_a_connection_that_breaks_in_the_handshake_is_tried_again(
    send: Sender, end: Handler
) -> None:
    """That is the network's doing, and no matter of trust. Nothing was sent."""
    with served(end) as port, pytest.raises(TransportError) as caught:
        send(to_localhost(port))

    assert not caught.value.may_have_been_sent
    assert not isinstance(caught.value, TlsError)


@pytest.mark.parametrize("content", [None, "this is no certificate"])
def test_a_bundle_that_cannot_be_read_trusts_nobody(
    open_sender: Open, tls: ssl.SSLContext, tmp_path: Path, content: str | None
) -> None:
    """Neither when the transport is made nor when it sends."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    arrived: list[object] = []
    with served(lambda connection: arrived.append(read_request(connection)), tls) as port:
        with pytest.raises((ConfigurationError, TlsError)):
            open_sender(ca_bundle=str(path))(to_localhost(port))
    assert arrived == []
