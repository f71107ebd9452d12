"""`customer` plays the customers' side at a running local service."""

from __future__ import annotations

import socket
import threading

import pytest

NAME = "aws.partner/example.com.test/customer-1"
ACCOUNT = "123456789012"


def test_a_source_through_its_life(run, service, endpoint):
    """Each action prints the state that it leads to."""
    service.sources.create(NAME, ACCOUNT)
    said = [
        run("customer", action, NAME, "--account", ACCOUNT)
        for action in ("associate", "deactivate", "activate", "delete-bus", "expire")
    ]
    start = f"{NAME} of account {ACCOUNT}: "
    states = ["ACTIVE", "PENDING", "ACTIVE", "PENDING", "gone"]
    assert [ended.out for ended in said] == [f"{start}{state}\n" for state in states]
    assert {(ended.status, ended.err) for ended in said} == {(0, "")}
    assert service.request_count == 0


def test_the_endpoint_can_be_given(run, service, endpoint, monkeypatch):
    """The option takes precedence over the environment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", "http://127.0.0.1:1")
    service.sources.create(NAME, ACCOUNT)
    ended = run("customer", "associate", NAME, "--account", ACCOUNT, "--endpoint-url", endpoint)
    assert ended.status == 0
    assert service.sources.get(NAME, ACCOUNT).state == "ACTIVE"


def test_an_impossible_action(run, service, endpoint):
    """The command exits with status 1 and the service's reason."""
    ended = run("customer", "expire", NAME, "--account", ACCOUNT)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == (
        f"eventbridge-partner customer: there is no source {NAME} of account {ACCOUNT}\n"
    )
    service.sources.create(NAME, ACCOUNT)
    ended = run("customer", "deactivate", NAME, "--account", ACCOUNT)
    assert ended.status == 1
    assert f"cannot deactivate: {NAME} of account {ACCOUNT}, PENDING without a bus" in ended.err


def test_nobody_listens(run):
    """The command exits with status 1 if no service is running."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    ended = run("customer", "expire", NAME, "--account", ACCOUNT, "--endpoint-url", url)
    assert ended.status == 1
    assert ended.err == f"eventbridge-partner customer: no answer from {url}: Connection refused\n"


@pytest.mark.parametrize(
    "answer", [b"hello\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n[]", b"HTTP/1.1 200 OK\r\n\r\n{}", b""]
)
def test_another_program_listens(run, answer):
    """The command exits with status 1 if something other than the local service answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            peer, _ = server.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        ended = run("customer", "expire", NAME, "--account", ACCOUNT, "--endpoint-url", url)
        thread.join()
    assert ended.status == 1
    assert url in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["expire", NAME], "--account"),
        (["buy", NAME, "--account", ACCOUNT], "invalid choice: 'buy'"),
        (["expire", NAME, "--account", ACCOUNT], "set AWS_ENDPOINT_URL_EVENTBRIDGE"),
        (
            ["expire", NAME, "--account", ACCOUNT, "--endpoint-url", "https://example.com"],
            "allowed: the http URL of a local service",
        ),
        (
            ["expire", NAME, "--account", ACCOUNT, "--endpoint-url", "http://[::1"],
            "allowed: the http URL of a local service",
        ),
    ],
)
def test_wrong_usage(run, monkeypatch, arguments, says):
    """The command exits with status 2, and says what is wrong."""
    monkeypatch.delenv("AWS_ENDPOINT_URL_EVENTBRIDGE", raising=False)
    ended = run("customer", *arguments)
    assert ended.status == 2
    assert says in ended.err
    assert "Traceback" not in ended.err
