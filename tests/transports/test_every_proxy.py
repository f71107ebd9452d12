"""What holds of proxies on every transport."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from eventbridge_partner._http import HttpRequest
from eventbridge_partner.errors import TlsError, TransportError
from tests.transports.senders import Sender
from tests.transports.servers import (
    OK,
    Request,
    echoing,
    post,
    read_request,
    served,
    to_localhost,
)

Open = Callable[..., Sender]


class Proxy:
    """A proxy that tunnels to where it is told, and keeps what it was asked."""

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
    """A configured proxy is used, with its credentials, and they show in no error."""
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
    """The proxy gets its credentials and nothing of the request; the tunnel is kept."""
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
    """Nothing was sent, and the password shows nowhere."""
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


def test_the_environment_names_no_proxy(open_sender: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says is looked up with the rest of the configuration, not for each request."""
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
