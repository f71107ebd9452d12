"""`serve`: the local service for other programs."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests

from eventbridge_partner import PartnerEventsClient, RetryPolicy, StaticCredentials
from eventbridge_partner.testing import FakeEventBridge
from tests.cli.program import entry
from tests.patience import SOON

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


class Served:
    """A service in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "eventbridge_partner", "serve", *arguments],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.lines: list[str] = []
        for line in self.process.stdout:  # the secret key is the last, or the token after it
            self.lines.append(line.rstrip())
            if "SESSION_TOKEN=" in line or (
                "SECRET" in line and "--session-token" not in arguments
            ):
                break

    @property
    def settings(self) -> dict[str, str]:
        """The environment variables that it prints."""
        exports = (re.fullmatch(r"export (\w+)=(.*)", line) for line in self.lines)
        return {export[1]: shlex.split(export[2])[0] for export in exports if export}

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """End it, and return its exit status and its standard error."""
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=SOON)
        return self.process.returncode, err


@pytest.fixture
def serve() -> Iterator[Any]:
    started: list[Served] = []

    def serve(*arguments: str) -> Served:
        started.append(Served(*arguments))
        return started[-1]

    yield serve
    for served in started:
        served.process.kill()
        served.process.communicate()


def send(count: int, **settings: Any) -> Any:
    with PartnerEventsClient(retry=RetryPolicy().with_max_attempts(1), **settings) as client:
        return client.put_events([entry()] * count)


@pytest.mark.process
def test_the_printed_settings_are_all_a_client_needs(serve, monkeypatch):
    """A program with the printed variables can send, and each request gets a line."""
    served = serve()
    assert re.search(r"http://127\.0\.0\.1:\d+ ", served.lines[0])
    assert "unset AWS_SESSION_TOKEN" in served.lines
    for name, value in served.settings.items():
        monkeypatch.setenv(name, value)
    assert send(21).counts.accepted == 21
    status, err = served.end(signal.SIGINT)
    assert status == 0
    # Two requests are in flight, and either may be the first.
    assert sorted(line.partition(": ")[2] for line in err.splitlines()[:2]) == [
        "200, 1 of 1 entries accepted",
        "200, 20 of 20 entries accepted",
    ]
    assert err.endswith("2 requests, 21 events accepted\n")
    assert "Traceback" not in err


@pytest.mark.process
def test_it_verifies_signatures_with_the_given_credentials(serve, monkeypatch):
    """Its settings are those given; other credentials and another Region are rejected."""
    served = serve(
        *("--access-key-id", "AKIDX", "--secret-access-key", "s$e", "--session-token", "t"),
        *("--region", "eu-west-1", "--quiet"),
    )
    assert served.settings["AWS_SECRET_ACCESS_KEY"] == "s$e"
    for name, value in served.settings.items():
        monkeypatch.setenv(name, value.strip("'"))
    assert send(1).counts.accepted == 1
    assert send(1, region="us-east-1").rejected
    for other in (("AKIDX", "other", "t"), ("AKIDY", "s$e", "t"), ("AKIDX", "s$e", "other")):
        assert send(1, credentials=StaticCredentials(*other)).rejected
    status, err = served.end()
    assert (status, err) == (0, "5 requests, 1 event accepted\n")


@pytest.mark.process
def test_it_can_accept_any_signature(serve, monkeypatch):
    """Without verification, any credentials are accepted."""
    served = serve("--no-verify-signatures")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOTHER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    url = served.settings["AWS_ENDPOINT_URL_EVENTBRIDGE"]
    assert send(1, region="us-east-1", endpoint_url=url).counts.accepted == 1


@pytest.mark.process
def test_it_plays_the_faults_asked_for(serve, monkeypatch):
    """Faults come from the command line, and the line of a request names them."""
    served = serve("--throttle", "1")
    for name, value in served.settings.items():
        monkeypatch.setenv(name, value)
    assert send(2).exhausted[0].code == "ThrottlingException"
    _, err = served.end()
    assert err.startswith(
        "request 0: 200, 0 of 2 entries accepted (ThrottlingException, FailEntries)\n"
    )


@pytest.mark.process
def test_it_serves_a_page_by_default(serve):
    """A line that a shell ignores gives the page's address."""
    served = serve()
    url = re.search(r"http://127\.0\.0\.1:\d+/_page/", served.lines[1])
    assert served.lines[1].startswith("# ")
    assert url
    assert requests.get(url[0], timeout=SOON).status_code == 200
    assert not any("_page" in line for line in serve("--no-page").lines)


@pytest.mark.process
def test_a_resent_event_has_a_line(serve):
    """A resent event has a line like any other request."""
    served = serve("--no-verify-signatures")
    url = served.settings["AWS_ENDPOINT_URL_EVENTBRIDGE"]
    settings = {"endpoint_url": url, "region": "us-east-1"}
    send(1, credentials=FakeEventBridge().credentials, **settings)
    requests.post(f"{url}/_control/resend", json={"event": 1}, timeout=SOON).raise_for_status()
    _, err = served.end()
    assert err.splitlines()[1] == "request 1: 200, 1 of 1 entries accepted"


@pytest.mark.process
def test_options_name_trusted_peers_and_hosts(serve):
    """A host is trusted only if its option names it, and options can be repeated."""
    served = serve(
        *("--trust-peer", "127.0.0.0/8", "--trust-peer", "172.17.0.0/16"),
        *("--trust-host", "a.test:1", "--trust-host", "b.test:2"),
    )
    url = f"{served.settings['AWS_ENDPOINT_URL_EVENTBRIDGE']}/_control/health"
    for host, status in (("b.test:2", 200), ("c.test:2", 403)):
        assert requests.get(url, headers={"Host": host}, timeout=SOON).status_code == status


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--trust-peer", "everybody"], "allowed: a network such as 172.17.0.0/16"),
        (["--trust-host", "localhost"], "allowed: HOST:PORT"),
        (["--trust-host", "localhost:x"], "allowed: HOST:PORT"),
        (["--port", "70000"], "allowed: 0 to 65535"),
        (["--port", "http"], "allowed: 0 to 65535"),
        (["--access-key-id", "x"], "give both or none"),
        (["--slow", "-1"], "allowed: seconds above 0"),
        (["--host", "203.0.113.7"], "cannot listen on 203.0.113.7:0"),
    ],
)
def test_wrong_usage(run, arguments, says):
    """The command exits with status 2, and says what is wrong."""
    ended = run("serve", *arguments)
    assert ended.status == 2
    assert says in ended.err
    assert "Traceback" not in ended.err


def test_port_in_use(run, service, endpoint):
    """The message says that the port is in use."""
    ended = run("serve", "--port", endpoint.rpartition(":")[2])
    assert ended.status == 2
    assert "Address already in use" in ended.err


@pytest.mark.process
def test_lines_name_source_operations_and_count_drops(serve, monkeypatch):
    """A source operation is named, and entries dropped by a PENDING source are counted."""
    served = serve()
    for name, value in served.settings.items():
        monkeypatch.setenv(name, value)
    partner = boto3.Session().client("events")
    partner.create_partner_event_source(Name=entry()["Source"], Account="123456789012")
    partner.close()
    assert send(2).counts.accepted == 2
    _, err = served.end()
    assert err.splitlines()[:2] == [
        "request 0: 200, CreatePartnerEventSource",
        "request 1: 200, 2 of 2 entries accepted, 2 dropped",
    ]


REACHABLE = pytest.param("0.0.0.0", socket.gethostname().lower(), id="any address")


@pytest.mark.process
@pytest.mark.parametrize(("host", "name"), [REACHABLE, pytest.param("::1", "[::1]", id="v6")])
def test_printed_settings_work_whatever_the_address(serve, monkeypatch, host, name):
    """This package and the AWS SDKs reach the printed URL with the printed variables alone."""
    served = serve("--host", host)
    for variable, value in served.settings.items():
        monkeypatch.setenv(variable, value)
    url = served.settings["AWS_ENDPOINT_URL_EVENTBRIDGE"]
    assert url.startswith(f"http://{name}:")
    assert ("for every machine" in served.lines[0]) == (host == "0.0.0.0")
    assert url in served.lines[0]
    assert send(2).ok
    events = boto3.Session().client("events")
    assert events.put_partner_events(Entries=[entry(Detail="{}")])["FailedEntryCount"] == 0
    events.close()
    status, err = served.end()
    assert (status, err.splitlines()[-1]) == (0, "2 requests, 3 events accepted")


def test_a_server_for_any_address_has_a_url_of_this_machine():
    """Nothing can send to 0.0.0.0, so the server's URL names this machine."""
    service = FakeEventBridge()
    with service.serve("0.0.0.0") as server:
        assert server.host == "0.0.0.0"
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert server.page_url
        assert requests.get(server.page_url, timeout=SOON).status_code == 200
        assert send(
            1, endpoint_url=server.url, region=service.region, credentials=service.credentials
        ).ok
