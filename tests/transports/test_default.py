"""The default transport uses `requests` only once a test may have replaced parts of it."""

from __future__ import annotations

import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import responses

from eventbridge_partner._http import HttpRequest
from eventbridge_partner.errors import TlsError, TransportError
from eventbridge_partner.transports._default import DefaultTransport
from tests.transports.servers import PATIENCE, echoing, served

URL = "https://events.us-east-1.amazonaws.com/"


class Standing:
    """Says whether something may have replaced parts of `requests`."""

    def __init__(self) -> None:
        self.is_in = False

    def __call__(self) -> bool:
        return self.is_in


@pytest.fixture
def standing() -> Standing:
    return Standing()


@pytest.fixture
def transport(standing: Standing) -> Iterator[DefaultTransport]:
    transport = DefaultTransport(needs_requests=standing)
    yield transport
    transport.close()


START = """
import sys
from eventbridge_partner import PartnerEvent, PartnerEventsClient, TransportError
from eventbridge_partner.testing import FakeEventBridge
service = FakeEventBridge()
def send(client):
    event = PartnerEvent("aws.partner/example.com/a", "t", "{}")
    return client.put_events([event]).counts.accepted
"""
SEND = """
with service.serve() as server:
    client = PartnerEventsClient(
        service.region, endpoint_url=server.url, credentials=service.credentials
    )
    print(send(client), "requests" in sys.modules)
"""
STAND_INS = {
    "responses": """
    import responses
    with responses.RequestsMock() as mock:
        mock.post(server.url, json={"FailedEntryCount": 0, "Entries": [{"EventId": "mock"}]})
        print(send(client), len(mock.calls), len(service.requests))
    """,
    "moto": """
    import moto, boto3
    with moto.mock_aws():
        moto_events = boto3.client("events", "us-east-1")
        moto_events.create_partner_event_source(
            Name="aws.partner/example.com/a", Account="123456789012"
        )
        regional = PartnerEventsClient("us-east-1")
        print(send(regional), 1, len(service.requests))
    """,
}


def printed(program: str) -> list[str]:
    finished = subprocess.run(
        [sys.executable, "-c", START + program], check=True, capture_output=True, text=True
    )
    return finished.stdout.splitlines()


@pytest.mark.process
def test_a_program_sends_without_requests() -> None:
    """A program that does not need `requests` sends without importing it."""
    assert printed(SEND) == ["1 False"]


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("stand_in", STAND_INS.values(), ids=STAND_INS)
@pytest.mark.parametrize("is_first", [True, False])
def test_what_stands_in_for_requests_intercepts(stand_in: str, is_first: bool) -> None:
    """A stand-in for `requests` intercepts, whether it starts before the first request or after."""
    program = SEND if not is_first else SEND.replace("    print(send", "    0 and print(send")
    *_, last = printed(program + stand_in)
    assert last == ("1 1 0" if is_first else "1 1 1")


@pytest.mark.process
@pytest.mark.slow
def test_moto_intercepts_a_client_that_has_sent() -> None:
    """A stand-in also intercepts a client that already has an open connection."""
    program = (
        SEND
        + """
    import moto, responses
    with moto.mock_aws(), responses.RequestsMock() as mock:
        mock.post(server.url, json={"FailedEntryCount": 0, "Entries": [{"EventId": "mock"}]})
        print(send(client), len(mock.calls))
    print(send(client), len(service.requests))
    """
    )
    assert printed(program) == ["1 False", "1 1", "1 2"]


@pytest.mark.process
@pytest.mark.slow
def test_mocket_intercepts_at_the_socket() -> None:
    """mocket intercepts without `requests`, even in a program that has already sent."""
    program = (
        SEND
        + """
    import json, mocket
    from mocket.mockhttp import Entry
    regional = PartnerEventsClient("us-east-1", credentials=service.credentials)
    answer = {"FailedEntryCount": 0, "Entries": [{"EventId": "mock"}]}
    with mocket.Mocketizer(strict_mode=True):
        Entry.single_register(
            "POST", "https://events.us-east-1.amazonaws.com/", body=json.dumps(answer)
        )
        print(send(regional), len(service.requests), "requests" in sys.modules)
    """
    )
    assert printed(program) == ["1 False", "1 1 False"]


@responses.activate
def test_responses_stands_in_after_the_first_request(
    transport: DefaultTransport, standing: Standing
) -> None:
    """Once `requests` is imported, it is used, even by a transport that has already sent."""
    with served(echoing) as port:
        request = HttpRequest(f"http://127.0.0.1:{port}/", {}, b"{}")
        responses.post(request.url, body=b"a double's")
        assert transport.send(request, PATIENCE).body != b"a double's"
        standing.is_in = True
        assert transport.send(request, PATIENCE).body == b"a double's"
        standing.is_in = False
        assert transport.send(request, PATIENCE).body == b"a double's"


def test_threads_that_send_while_a_stand_in_starts(
    transport: DefaultTransport, standing: Standing
) -> None:
    """No request is lost when threads change over to `requests`."""
    answers: list[bytes] = []
    with served(echoing) as port:
        request = HttpRequest(f"http://127.0.0.1:{port}/", {}, b"{}")

        def work() -> None:
            for _ in range(20):
                answers.append(transport.send(request, PATIENCE).body)
                standing.is_in = len(answers) > 40

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(answers) == 160
    assert len(set(answers)) == 1


def test_proxies_are_those_of_requests(standing: Standing) -> None:
    """With a proxy, `requests` sends from the first request on."""
    with served(echoing) as port:
        transport = DefaultTransport(
            proxies={"http": f"http://127.0.0.1:{port}"}, needs_requests=standing
        )
        answer = transport.send(HttpRequest("http://events.invalid/", {}, b"{}"), PATIENCE)
        transport.close()
    assert answer.status == 200


def test_no_certificates(standing: Standing, tmp_path: Path) -> None:
    """A missing file of certificates is a TlsError, and nothing was sent."""
    transport = DefaultTransport(ca_bundle=str(tmp_path / "missing"), needs_requests=standing)
    with pytest.raises(TlsError) as caught:
        transport.send(HttpRequest(URL, {}, b"{}"), PATIENCE)
    assert not caught.value.may_have_been_sent


@pytest.mark.process
def test_without_files_left_nothing_is_sent() -> None:
    """Certificates that cannot be read for lack of a file descriptor are not a TlsError."""
    program = """
import os, resource
client = PartnerEventsClient(
    "us-east-1", endpoint_url="https://127.0.0.1:1", credentials=service.credentials
)
client.look_up()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
opened = []
try:
    while True:
        opened.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
try:
    client.put_partner_events(Entries=[{
        "Source": "aws.partner/example.com/a", "DetailType": "t", "Detail": "{}"
    }])
except TransportError as error:
    for one in opened:
        os.close(one)
    print(type(error).__name__, error.may_have_been_sent)
"""
    assert printed(program) == ["TransportError False"]


@pytest.mark.parametrize("url", ["http://[::1", "http://a:99999/"])
def test_invalid_urls(transport: DefaultTransport, url: str) -> None:
    """Nothing is sent to an invalid URL."""
    with pytest.raises(TransportError) as caught:
        transport.send(HttpRequest(url, {}, b"{}"), PATIENCE)
    assert not caught.value.may_have_been_sent


def test_a_transport_is_freed_with_its_last_reference(standing: Standing) -> None:
    """A transport that nobody holds any more is freed at once."""
    transport = DefaultTransport(needs_requests=standing)
    with served(echoing) as port:
        transport.send(HttpRequest(f"http://127.0.0.1:{port}/", {}, b"{}"), PATIENCE)
        gone = weakref.ref(transport)
        del transport
        assert gone() is None
