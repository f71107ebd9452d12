"""Every transport against servers that misbehave, on real sockets."""

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
    """Return the error that a server's behaviour causes."""
    with served(handle) as port, pytest.raises(TransportError) as caught:
        send(post(port), timeouts)
    return caught.value


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize("size", [0, 2, 65_536, 65_537, 900_000, 1_100_000])
def test_a_request_arrives_as_it_was_made(send: Sender, size: int) -> None:
    """The body arrives unchanged, each header once; only the host and the length are added."""
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
    """A header can be empty, or have letters beyond ASCII."""
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
    """A header with a line break is refused before anything is sent."""
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
    """An answer is read whole, however it marks its end, and in as many pieces as it comes."""

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
    """Any status is an answer, with its body, and with its headers in lower case."""
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
def test_interim_answers_are_skipped(send: Sender, line: str, pause: float) -> None:
    """Interim answers are skipped, and each request gets its own final answer."""

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
    """A signed request goes where it was sent, and nowhere else."""
    elsewhere: list[str] = []
    with served(lambda connection: elsewhere.append("here")) as other:
        location = f"Location: http://127.0.0.1:{other}/".encode()
        redirect = b"HTTP/1.1 %d Elsewhere\r\nContent-Length: 0\r\n" % status + location
        with served(answering(redirect + b"\r\n\r\n")) as port:
            assert send(post(port)).status == status
    assert elsewhere == []


@pytest.mark.parametrize(("answer", "body"), READ.values(), ids=list(READ))
def test_an_odd_answer_is_read(send: Sender, answer: bytes, body: bytes) -> None:
    """An odd but valid answer is read, and the next request gets its own."""
    with served(answering(answer)) as port:
        first = send(post(port))
        assert (first.status in (200, 204), first.body) == (True, body)
    with served(echoing) as port:
        assert send(post(port, b"next")).body == b"next"


@pytest.mark.parametrize("answer", REFUSED.values(), ids=list(REFUSED))
def test_an_answer_that_cannot_be_read_may_have_been_sent(send: Sender, answer: bytes) -> None:
    """After an unreadable answer, the request may have been sent, and the connection is closed."""
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
def test_a_connection_with_an_ambiguous_answer_is_closed(send: Sender, what: str) -> None:
    """A connection is closed if its answer is ambiguous, though some readers find it whole."""
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
    """A request may have been carried out if the connection is reset after it was read."""

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        reset(connection)

    assert failure(send, handle).may_have_been_sent


@pytest.mark.parametrize("extra", [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong", b"more"])
def test_bytes_after_an_answer_are_not_an_answer(send: Sender, extra: bytes) -> None:
    """Bytes after an answer are not taken for the next request's answer."""

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
    """Only a limited number of bytes is read, whether or not the length was announced."""
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


def test_an_answer_may_be_as_long_as_the_limit(send: Sender) -> None:
    """An answer can be exactly as long as the limit."""
    body = b"x" * MAX_ANSWER_BYTES
    with served(answering(answer_with(body))) as port:
        assert send(post(port), Timeouts(2, 5)).body == body


# ---------------------------------------------------------------- time


def test_a_silent_server_is_left_after_the_read_timeout(send: Sender) -> None:
    """A server that stays silent may have carried out the request."""
    started = time.monotonic()

    error = failure(send, silent, IMPATIENCE)

    assert error.may_have_been_sent
    assert re.fullmatch(r"no answer from 127\.0\.0\.1:\d+ in time", str(error))
    assert time.monotonic() - started < 4


def test_an_answer_that_drips_is_left_after_the_read_timeout(send: Sender) -> None:
    """An answer that drips byte by byte does not keep a request alive."""

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
    """The read timeout covers the whole answer, headers and interim answers included."""

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        for byte in dripped * 3:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)

    started = time.monotonic()
    error = failure(send, handle, IMPATIENCE)

    assert error.may_have_been_sent
    assert time.monotonic() - started < 2


def test_connecting_and_reading_share_a_bound(send: Sender) -> None:
    """The total timeout covers connecting and reading together."""
    started = time.monotonic()
    with served(silent) as port:
        with pytest.raises(TransportError) as caught:
            send(post(port), Timeouts(connect=5, read=5, total=0.3))
        assert time.monotonic() - started < 4
    assert caught.value.may_have_been_sent


@pytest.mark.parametrize(("total", "arrives"), [(None, True), (5.0, True), (0.6, False)])
def test_reading_has_its_time_whatever_connecting_took(
    open_sender: Open, tls: ssl.SSLContext, bundle: Path, total: float | None, arrives: bool
) -> None:
    """The read timeout starts once the connection is open; the total timeout starts earlier."""

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
    """If the server's queue is full, nothing was sent."""
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

    assert time.monotonic() - started < 4
    assert not caught.value.may_have_been_sent
    assert not isinstance(caught.value, TlsError)


def test_a_handshake_that_hangs_is_left_after_the_connect_timeout(
    open_sender: Open, bundle: Path
) -> None:
    """The TLS handshake belongs to connecting: if it hangs, nothing was sent."""
    send = open_sender(ca_bundle=str(bundle))
    started = time.monotonic()
    with served(silent) as port:
        with pytest.raises(TransportError) as caught:
            send(to_localhost(port), Timeouts(connect=0.3, read=5))
        assert time.monotonic() - started < 4
    assert not caught.value.may_have_been_sent
    assert not isinstance(caught.value, TlsError)


# ---------------------------------------------------------------- connections


def test_connections_are_kept(send: Sender) -> None:
    """Ten requests use one connection."""
    connections: list[socket.socket] = []

    def handle(connection: socket.socket) -> None:
        connections.append(connection)
        echoing(connection)

    with served(handle) as port:
        for number in range(10):
            assert send(post(port, b"%d" % number)).body == b"%d" % number

    assert len(connections) == 1


def test_tls_connections_are_kept(open_sender: Open, tls: ssl.SSLContext, bundle: Path) -> None:
    """Ten requests over TLS use one connection."""
    connections: list[socket.socket] = []

    def handle(connection: socket.socket) -> None:
        connections.append(connection)
        echoing(connection)

    send = open_sender(ca_bundle=str(bundle))
    with served(handle, tls) as port:
        for number in range(10):
            assert send(to_localhost(port, b"%d" % number)).body == b"%d" % number

    assert len(connections) == 1


@pytest.mark.parametrize("end", [lambda connection: None, reset], ids=["closed", "reset"])
@pytest.mark.parametrize(("idle", "requests"), [(0.02, 3), (1.2, 2)])
def test_a_connection_that_was_closed_meanwhile_is_replaced(
    send: Sender, end: Handler, idle: float, requests: int
) -> None:
    """
    If a server closes an idle connection, the request goes out over a new one.

    After one idle second, libcurl checks by itself whether a connection is still open.
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


def test_a_request_that_was_read_is_not_retried(send: Sender) -> None:
    """A transport does not retry a request that the server read on a kept connection."""
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
    """After a timeout, the next request gets its own answer, not the late one."""
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
    """A closed transport opens a new connection, and the server sees the old one closed."""
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
    """If the connection is refused, nothing was sent."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]

    with pytest.raises(TransportError) as caught:
        send(post(port))

    assert not caught.value.may_have_been_sent
    assert not isinstance(caught.value, TlsError)
    assert "refused" in str(caught.value)


def test_an_unknown_host_was_not_sent(send: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the host is unknown, nothing was sent, and that is not a TlsError."""

    def unknown(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    # libcurl looks up names itself; a label this long is never sent to a name server.
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
    """TLS works with a trusted certificate, over a kept connection."""
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
    """Trusted certificates can be files in a directory, as `openssl rehash` names them."""
    send = open_sender(ca_bundle=rehashed(tmp_path, authority))
    with served(echoing, tls) as port:
        assert send(to_localhost(port)).status == 200


@pytest.mark.process
@pytest.mark.parametrize("form", ["usual", "file", "directory"])
def test_tls_fails_closed(
    open_sender: Open, tls: ssl.SSLContext, tmp_path: Path, form: str
) -> None:
    """A server gets no request if its certificate's authority is not trusted."""
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
    """Only the given bundle is trusted, not what OpenSSL finds in its own places."""
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
    """A certificate for another host is not trusted, whoever signed it."""
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
    """A server without TLS, or with none that we support, is not trusted."""

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
def test_a_connection_that_breaks_in_the_handshake_was_not_sent(send: Sender, end: Handler) -> None:
    """A connection that breaks in the handshake sent nothing, and that is not a TlsError."""
    with served(end) as port, pytest.raises(TransportError) as caught:
        send(to_localhost(port))

    assert not caught.value.may_have_been_sent
    assert not isinstance(caught.value, TlsError)


@pytest.mark.parametrize("content", [None, "this is no certificate"])
def test_a_bundle_that_cannot_be_read_trusts_nobody(
    open_sender: Open, tls: ssl.SSLContext, tmp_path: Path, content: str | None
) -> None:
    """With an unreadable bundle, nothing is sent: the transport refuses it at once or later."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    arrived: list[object] = []
    with served(lambda connection: arrived.append(read_request(connection)), tls) as port:
        with pytest.raises((ConfigurationError, TlsError)):
            open_sender(ca_bundle=str(path))(to_localhost(port))
    assert arrived == []
