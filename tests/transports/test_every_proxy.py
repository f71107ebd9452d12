"""Proxies on every transport."""

from __future__ import annotations

import importlib.util
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from eventbridge_partner._http import HttpRequest, Timeouts
from eventbridge_partner.errors import ConfigurationError, TlsError, TransportError
from eventbridge_partner.transports.aiohttp import AiohttpTransport
from eventbridge_partner.transports.requests import RequestsTransport
from tests.transports.senders import Sender
from tests.transports.servers import (
    OK,
    Handler,
    Request,
    echoing,
    post,
    read_request,
    served,
    to_localhost,
)

pytestmark = pytest.mark.slow

Open = Callable[..., Sender]


class Proxy:
    """A proxy that tunnels to a given port, and records the requests to itself."""

    def __init__(self, port: int, refusal: bytes = b"") -> None:
        self.asked: list[Request] = []
        self._port = port
        self._refusal = refusal

    def __call__(self, connection: socket.socket) -> None:
        self.asked.append(read_request(connection))
        if self._refusal:
            connection.sendall(self._refusal)
            return
        with socket.create_connection(("127.0.0.1", self._port)) as onward:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\nX-Proxy: 1\r\n\r\n")
            self.join(connection, onward)

    def join(self, connection: socket.socket, onward: socket.socket) -> None:
        """Copy what comes from each end to the other."""
        back = threading.Thread(target=self._copy, args=(onward, connection))
        back.start()
        self._copy(connection, onward)
        back.join()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        try:
            while chunk := source.recv(65536):
                target.sendall(chunk)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def test_a_proxy_gets_the_whole_url_and_its_password(open_sender: Open) -> None:
    """A proxy gets the whole URL and its credentials, which no error shows."""
    arrived: list[Request] = []

    def handle(connection: socket.socket) -> None:
        arrived.append(read_request(connection))
        connection.sendall(OK)

    request = HttpRequest("http://events.test/", {"X-Test": "1"}, b"{}")
    with served(handle) as port:
        send = open_sender(proxies={"http": f"http://user:s%40cret@127.0.0.1:{port}"})
        assert send(request).status == 200

    first, headers, _ = arrived[0]
    assert first == "POST http://events.test/ HTTP/1.1"
    assert headers["host"] == "events.test"
    assert headers["proxy-authorization"] == "Basic dXNlcjpzQGNyZXQ="

    send = open_sender(proxies={"http": "http://user:s%40cret@127.0.0.1:1"})
    with pytest.raises(TransportError) as caught:
        send(request)
    assert not caught.value.may_have_been_sent
    assert "cret" not in str(caught.value)


def test_a_tunnel_carries_tls_through_a_proxy(
    open_sender: Open, tls: ssl.SSLContext, bundle: Path
) -> None:
    """The proxy gets its credentials and nothing of the request, and the tunnel is kept."""
    arrived: list[Request] = []

    def handle(connection: socket.socket) -> None:
        while True:
            arrived.append(read_request(connection))
            connection.sendall(OK)

    with served(handle, tls) as port:
        proxy = Proxy(port)
        with served(proxy) as proxy_port:
            send = open_sender(
                ca_bundle=str(bundle),
                proxies={"https": f"http://user:secret@127.0.0.1:{proxy_port}"},
            )
            for _ in range(3):
                answer = send(to_localhost(port))
                assert answer.status == 200
                assert "x-proxy" not in answer.headers
            send.close()

    [(first, asked, body)] = proxy.asked
    assert first.startswith(f"CONNECT localhost:{port} HTTP/1.")
    assert asked["proxy-authorization"] == "Basic dXNlcjpzZWNyZXQ="
    assert not {"authorization", "x-amz-security-token", "x-test"} & set(asked)
    assert body == b""
    assert len(arrived) == 3
    assert not [headers for _, headers, _ in arrived if "proxy-authorization" in headers]


@pytest.mark.parametrize("status", [b"407 Proxy Authentication Required", b"502 Bad Gateway"])
def test_a_proxy_that_refuses_lets_nothing_through(
    open_sender: Open, bundle: Path, status: bytes
) -> None:
    """If a proxy refuses, nothing was sent, and no error shows the password."""
    proxy = Proxy(0, b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
    with served(proxy) as port:
        send = open_sender(
            ca_bundle=str(bundle), proxies={"https": f"http://user:secret@127.0.0.1:{port}"}
        )
        with pytest.raises(TransportError) as caught:
            send(to_localhost(1))

    assert not caught.value.may_have_been_sent
    assert not isinstance(caught.value, TlsError)
    assert "secret" not in str(caught.value)
    assert {first[:-1] for first, _, _ in proxy.asked} == {"CONNECT localhost:1 HTTP/1."}


def test_transports_ignore_the_environments_proxies(
    open_sender: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proxies come from the settings, not from the environment at each request."""
    for name in ("http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with served(echoing) as port:
        assert open_sender()(post(port)).status == 200

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("NO_PROXY", "*")
    with pytest.raises(TransportError):
        open_sender(proxies={"http": "http://127.0.0.1:1"})(post(1))
    with served(echoing) as port:
        send = open_sender(proxies={"http": f"http://127.0.0.1:{port}"})
        assert send(HttpRequest("http://events.test/", {"X-Test": "1"}, b"{}")).status == 200


# ---------------------------------------------------------------- proxies that cannot work


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("ftp://user:s3cret@proxy.example:21", "has the scheme 'ftp'"),
        ("gopher://proxy.example", "has the scheme 'gopher'"),
        ("://proxy.example", "has the scheme ''"),
        ("http://", "has no host"),
        ("http://user:s3cret@", "has no host"),
        ("http://user:s3cret@:3128", "has no host"),
        ("http://proxy.example:no", "is not a URL"),
        ("http://user:s3cret@proxy.example:99999", "is not a URL"),
        ("http://[::1", "is not a URL"),
        ("http://proxy.example:0", "has the port 0"),
        ("http://proxy..example:1", "has an invalid host name"),
        (f"http://{'a' * 64}.example:1", "has an invalid host name"),
        (f"http://{'a.' * 130}example:1", "has an invalid host name"),
        ("http://proxy example:1", "has an invalid host name"),
        ("http://pröxy.example:1", "has an invalid host name"),
        ("http://user:s3cret%E2%82%AC@proxy.example:1", "outside latin-1"),
        ("http://user:s3cret\N{EURO SIGN}@proxy.example:1", "outside latin-1"),
        ("http://user%E2%82%AC:s3cret@proxy.example:1", "outside latin-1"),
        ("http://user:s3cret%0d%0a@proxy.example:1", "control character"),
    ],
)
@pytest.mark.parametrize("key", ["http", "https", "all", "https://events.example"])
def test_a_proxy_that_cannot_work_is_refused_at_once(
    open_sender: Open, proxy: str, words: str, key: str
) -> None:
    """An invalid proxy is refused when the transport is made; no error shows its password."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        open_sender(proxies={key: proxy})
    assert f"the proxy for {key} " in str(caught.value)
    assert "http" in str(caught.value).partition("one of")[2]
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_exceptions_and_other_protocols_are_not_proxies(open_sender: Open) -> None:
    """Exceptions and other protocols, which `urllib.request.getproxies` lists too, are ignored."""
    send = open_sender(proxies={"no": "127.0.0.1,::1", "ftp": "ftp://x", "http": "", "all": "x:1"})
    with served(echoing) as port:
        assert send(post(port)).status == 200


def test_socks_without_pysocks_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PySocks, a SOCKS proxy is refused with a message that says how to install it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="needs PySocks; install it with: pip install"):
        RequestsTransport(proxies={"all": "socks5h://user:s3cret@127.0.0.1:1"})


@pytest.mark.parametrize(
    ("login", "word"),
    [
        ("user:p%C3%A4ss@", "dXNlcjpw5HNz"),
        ("user:päss@", "dXNlcjpw5HNz"),
        ("user@", "dXNlcjo="),
        (":secret@", "OnNlY3JldA=="),
        ("us%3Aer:a%2Fb%40c@", "dXM6ZXI6YS9iQGM="),
    ],
)
def test_logins_are_the_same_on_every_transport(open_sender: Open, login: str, word: str) -> None:
    """A proxy's login is sent as Basic, unescaped and in latin-1."""
    arrived: list[Request] = []

    def handle(connection: socket.socket) -> None:
        arrived.append(read_request(connection))
        connection.sendall(OK)

    with served(handle) as port:
        send = open_sender(proxies={"http": f"http://{login}127.0.0.1:{port}"})
        assert send(HttpRequest("http://events.test/", {}, b"{}")).status == 200
    assert arrived[0][1]["proxy-authorization"] == f"Basic {word}"


@pytest.mark.parametrize(
    ("key", "is_used"),
    [
        ("http", True),
        ("all", True),
        ("http://127.0.0.1", True),
        ("all://127.0.0.1", True),
        ("https", False),
        ("http://other.example", False),
    ],
)
def test_a_proxy_is_chosen_as_requests_chooses_it(
    open_sender: Open, key: str, is_used: bool
) -> None:
    """A proxy is chosen by scheme, by scheme and host, or for all, as `requests` does."""
    asked: list[Request] = []

    def proxy(connection: socket.socket) -> None:
        asked.append(read_request(connection))
        connection.sendall(OK)

    with served(proxy) as proxy_port, served(echoing) as port:
        send = open_sender(proxies={key: f"127.0.0.1:{proxy_port}"})
        assert send(post(port)).status == 200
    assert bool(asked) is is_used


# ---------------------------------------------------------------- proxies that misbehave


def drip(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for _ in range(60):
        connection.sendall(b"X-A: 1\r\n")
        time.sleep(0.05)


def flood(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for _ in range(2_000):
        connection.sendall(b"X-A: 1\r\n" * 1_000)


def hang(connection: socket.socket) -> None:
    connection.recv(1)
    connection.settimeout(3)
    while connection.recv(65536):
        pass


def say(answer: bytes) -> Handler:
    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(answer)

    return handle


@pytest.mark.parametrize(
    "behave",
    [
        drip,
        flood,
        hang,
        lambda connection: None,
        say(b""),
        say(b"this is no HTTP\r\n\r\n"),
        say(b"\0\1\2\3" * 100),
        say(b"HTTP/1.1 200 OK\r\nX-A"),
        say(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"),
        say(b"HTTP/1.1 502 Bad\r\n\r\nwhy"),
        say(b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1/\r\n\r\n"),
    ],
    ids=[
        "headers without end",
        "many headers",
        "silent",
        "closed",
        "closed after the request",
        "garbage",
        "binary",
        "cut",
        "login",
        "bad gateway",
        "redirect",
    ],
)
def test_a_proxy_that_misbehaves_lets_nothing_through(
    open_sender: Open, bundle: Path, behave: Handler
) -> None:
    """If a proxy misbehaves, nothing was sent, and connecting ends within its timeout."""
    with served(behave) as port:
        send = open_sender(
            ca_bundle=str(bundle), proxies={"https": f"http://user:s3cret@127.0.0.1:{port}"}
        )
        started = time.monotonic()
        with pytest.raises(TransportError) as caught:
            send(to_localhost(1), Timeouts(connect=0.5, read=5))
        seconds = time.monotonic() - started

    assert seconds < 3
    assert not caught.value.may_have_been_sent
    assert not isinstance(caught.value, TlsError)
    assert "no connection to localhost:1 through the proxy 127.0.0.1" in str(caught.value)
    assert "s3cret" not in str(caught.value)


# ---------------------------------------------------------------- SOCKS


class Socks:
    """A proxy that speaks enough SOCKS 5 for these tests."""

    def __init__(self, port: int, refusal: int = 0) -> None:
        self.hosts: list[bytes] = []
        self._tunnel = Proxy(port)
        self._port = port
        self._refusal = refusal

    def __call__(self, connection: socket.socket) -> None:
        greeting = connection.recv(2)
        connection.recv(greeting[1])
        connection.sendall(b"\x05\x00")
        _, _, _, kind = connection.recv(4)
        self.hosts.append(connection.recv(connection.recv(1)[0] if kind == 3 else 4))
        connection.recv(2)
        connection.sendall(b"\x05" + bytes([self._refusal]) + b"\x00\x01\0\0\0\0\0\0")
        if not self._refusal:
            with socket.create_connection(("127.0.0.1", self._port)) as onward:
                self._tunnel.join(connection, onward)


@pytest.fixture
def open_socks(request: pytest.FixtureRequest, open_sender: Open) -> Open:
    """Open the transports that support SOCKS."""
    if "aiohttp" in request.node.name:
        pytest.skip("aiohttp does not support SOCKS")
    pytest.importorskip("socks")
    return open_sender


def test_requests_go_through_socks(open_socks: Open, tls: ssl.SSLContext, bundle: Path) -> None:
    """Requests go through a SOCKS proxy over a kept connection, with TLS to the end."""
    with served(echoing, tls) as port:
        socks = Socks(port)
        with served(socks) as proxy_port:
            proxies = {"https": f"socks5h://127.0.0.1:{proxy_port}"}
            send = open_socks(ca_bundle=str(bundle), proxies=proxies)
            for number in range(3):
                assert send(to_localhost(port, b"%d" % number)).body == b"%d" % number
            send.close()
    assert socks.hosts == [b"localhost"]


def test_socks_that_refuses_lets_nothing_through(open_socks: Open) -> None:
    """If a SOCKS proxy refuses, or speaks something else, nothing was sent."""
    for behave in (Socks(1, refusal=5), say(b"this is no SOCKS"), lambda connection: None):
        with served(behave) as proxy_port:
            send = open_socks(proxies={"http": f"socks5h://user:s3cret@127.0.0.1:{proxy_port}"})
            with pytest.raises(TransportError) as caught:
                send(HttpRequest("http://events.test/", {}, b"{}"), Timeouts(1, 1))
        assert not caught.value.may_have_been_sent
        assert "events.test through the proxy 127.0.0.1" in str(caught.value)
        assert "s3cret" not in str(caught.value)


def test_asyncio_refuses_socks_at_once() -> None:
    """The aiohttp transport refuses a SOCKS proxy instead of sending around it."""
    with pytest.raises(ConfigurationError, match="has the scheme 'socks5'"):
        AiohttpTransport(proxies={"http": "socks5://user:s3cret@127.0.0.1:1"})
