"""Libraries that replace HTTP or sockets in a user's tests, as the documentation says."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
from pathlib import Path
from typing import Any

import httpretty
import mocket
import pytest
import pytest_socket
import requests_mock
import responses
import vcr
from aioresponses import aioresponses
from mocket.mockhttp import Entry
from tenacity import stop_after_attempt

from eventbridge_partner import (
    Accepted,
    AsyncPartnerEventsClient,
    Exhausted,
    Outcome,
    PartnerEvent,
    PartnerEventsClient,
    RetryPolicy,
    Unconfirmed,
)
from eventbridge_partner.testing import FakeEventBridge

URL = "https://events.us-east-1.amazonaws.com/"
ANSWER = {"FailedEntryCount": 0, "Entries": [{"EventId": "an-id"}]}
EVENT = PartnerEvent("aws.partner/example.com/acme", "test", "{}")
ONCE = RetryPolicy(stop=stop_after_attempt(1))


def put(**settings: Any) -> Outcome:
    """Send an event through a new client with the default transport; return its outcome."""
    given: dict[str, Any] = {"credentials": FakeEventBridge().credentials, "retry": ONCE}
    with PartnerEventsClient("us-east-1", **given | settings) as client:
        (outcome,) = client.put_events([EVENT])
    return outcome


def test_responses_answers() -> None:
    """responses answers in the adapter of requests."""
    with responses.RequestsMock() as mock:
        mock.post(URL, json=ANSWER)
        assert put() == Accepted("an-id", EVENT, 0, 1)


def test_requests_mock_answers() -> None:
    """requests-mock answers in the session of requests, which is used only if it is replaced."""
    with requests_mock.Mocker() as mock:
        mock.post(URL, json=ANSWER)
        assert put() == Accepted("an-id", EVENT, 0, 1)
    (request,) = mock.request_history
    assert json.loads(request.body)["Entries"][0]["DetailType"] == "test"
    assert request.headers["x-amz-target"] == "AWSEvents.PutPartnerEvents"


def test_requests_mock_lets_nothing_out() -> None:
    """A request that requests-mock has no answer for does not reach AWS."""
    with requests_mock.Mocker():
        outcome = put()
    assert isinstance(outcome, (Exhausted, Unconfirmed))


def test_requests_mock_works_with_an_existing_client() -> None:
    """requests-mock works with a client made earlier, which then reaches the service again."""
    service = FakeEventBridge()
    with (
        service.serve() as server,
        PartnerEventsClient(
            "us-east-1", endpoint_url=server.url, credentials=service.credentials
        ) as client,
    ):
        with requests_mock.Mocker() as mock:
            mock.post(server.url, json=ANSWER)
            assert client.put_events([EVENT]).accepted[0].event_id == "an-id"
        assert service.request_count == 0
        assert client.put_events([EVENT]).accepted[0].event_id != "an-id"
    assert service.request_count == 1


# mocket leaves one of its sockets to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_mocket_answers() -> None:
    """mocket answers at the socket."""
    with mocket.Mocketizer(strict_mode=True):
        Entry.single_register("POST", URL, body=json.dumps(ANSWER))
        assert put() == Accepted("an-id", EVENT, 0, 1)
    gc.collect()


def test_vcr_records_and_replays(tmp_path: Path) -> None:
    """VCR works if the client is made while the cassette is in use."""
    service = FakeEventBridge()
    cassette = str(tmp_path / "cassette.yaml")
    with service.serve() as server:
        given = {"endpoint_url": server.url, "credentials": service.credentials}
        with vcr.use_cassette(cassette):
            recorded = put(**given)
        with vcr.use_cassette(cassette, record_mode="none") as replayed:
            assert put(**given) == recorded
    assert isinstance(recorded, Accepted)
    assert replayed.play_count == 1
    assert service.request_count == 1


def test_httpretty_does_not_answer() -> None:
    """httpretty ends header lines in no valid way: nothing goes out, and no event is accepted."""
    with httpretty.enabled(allow_net_connect=False):
        httpretty.register_uri("POST", URL, body=json.dumps(ANSWER))
        outcome = put()
        assert httpretty.latest_requests()
    assert isinstance(outcome, Unconfirmed)
    assert "the answer from events.us-east-1.amazonaws.com was lost (" in outcome.reason


@pytest.mark.filterwarnings("ignore:A test tried to use socket")
def test_pytest_socket_blocks_all_but_the_service_in_process() -> None:
    """pytest-socket keeps a client from AWS; a `FakeEventBridge` in process needs no socket."""
    service = FakeEventBridge()
    pytest_socket.disable_socket()
    try:
        outcome = put()
        in_process = put(credentials=service.credentials, transport=service.transport())
    finally:
        pytest_socket.enable_socket()
    assert isinstance(outcome, Exhausted)
    assert isinstance(in_process, Accepted)


def test_aioresponses_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """aioresponses is not asked: the request goes out, here to a name that does not resolve."""
    asked: list[str] = []

    def no_address(host: Any, *_: Any, **__: Any) -> Any:
        asked.append(str(host))
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def put_on_loop() -> Outcome:
        given: dict[str, Any] = {"credentials": FakeEventBridge().credentials, "retry": ONCE}
        async with AsyncPartnerEventsClient("us-east-1", **given) as client:
            return (await client.put_events([EVENT]))[0]

    monkeypatch.setattr(socket, "getaddrinfo", no_address)
    with aioresponses() as mock:
        mock.post(URL, payload=ANSWER)
        outcome = asyncio.run(put_on_loop())
        assert not mock.requests
    assert isinstance(outcome, Exhausted)
    assert asked == ["events.us-east-1.amazonaws.com"]
