"""What is the default transport's own: mocks that stand in for `requests`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import responses

from eventbridge_partner._http import HttpRequest
from eventbridge_partner.errors import TransportError
from eventbridge_partner.transports.requests import RequestsTransport
from tests.transports.servers import PATIENCE


@pytest.fixture
def transport() -> Iterator[RequestsTransport]:
    transport = RequestsTransport()
    yield transport
    transport.close()


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
