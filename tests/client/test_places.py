"""Outcomes name the host that could not be reached, on every transport, in both worlds."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
from tenacity import stop_after_attempt

from eventbridge_partner import (
    AsyncPartnerEventsClient,
    ConfigurationError,
    Exhausted,
    Outcome,
    PartnerEvent,
    PartnerEventsClient,
    RetryPolicy,
    StaticCredentials,
    Timeouts,
    Unconfirmed,
)
from eventbridge_partner.transports.aiohttp import AiohttpTransport
from eventbridge_partner.transports.curl import CurlTransport
from eventbridge_partner.transports.requests import RequestsTransport
from tests.transports.senders import without_requests
from tests.transports.servers import Handler, read_request, served, silent

EVENT = PartnerEvent("aws.partner/example.com/acme", "test", {})
CANARY = "s3cr3tCanary"

Put = Callable[..., Outcome]


def settings(port: int, transport: Any) -> dict[str, Any]:
    return {
        "endpoint_url": f"http://127.0.0.1:{port}",
        "credentials": StaticCredentials("A", "S"),
        "timeout": Timeouts(connect=2, read=0.1),
        "retry": RetryPolicy(stop=stop_after_attempt(1)),
        "transport": transport,
    }


def in_threads(transport: Any) -> Put:
    def put(port: int) -> Outcome:
        with PartnerEventsClient("us-east-1", **settings(port, transport)) as client:
            return client.put_events([EVENT])[0]

    return put


def on_a_loop(transport: Any) -> Put:
    async def put(port: int) -> Outcome:
        async with AsyncPartnerEventsClient("us-east-1", **settings(port, transport)) as client:
            return (await client.put_events([EVENT]))[0]

    return lambda port: asyncio.run(put(port))


PUTS: dict[str, Put] = {
    "default": in_threads(without_requests),
    "requests": in_threads(RequestsTransport),
    "curl": in_threads(CurlTransport),
    "aiohttp": on_a_loop(AiohttpTransport),
}


@pytest.fixture(params=list(PUTS))
def put(request: pytest.FixtureRequest) -> Put:
    return PUTS[request.param]


@pytest.fixture
def nobody() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def hanging_up(connection: socket.socket) -> None:
    read_request(connection)


def test_no_connection(put: Put, nobody: int) -> None:
    """The message names the host and its port."""
    outcome = put(nobody)
    assert isinstance(outcome, Exhausted)
    assert outcome.message == f"no connection to 127.0.0.1:{nobody} (Connection refused)"


@pytest.mark.parametrize(
    ("handle", "reason"),
    [(silent, "no answer from {} in time"), (hanging_up, "the answer from {} was lost (")],
    ids=["silent", "hanging up"],
)
def test_no_answer(put: Put, handle: Handler, reason: str) -> None:
    """The reason names the host and its port."""
    with served(handle) as port:
        outcome = put(port)
    assert isinstance(outcome, Unconfirmed)
    assert reason.format(f"127.0.0.1:{port}") in outcome.reason


def test_a_proxy(put: Put, nobody: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the host and the proxy in front of it, but no password."""
    monkeypatch.setenv("HTTP_PROXY", f"http://user:{CANARY}@127.0.0.1:{nobody}")
    outcome = put(9)
    assert isinstance(outcome, Exhausted)
    place = f"127.0.0.1:9 through the proxy 127.0.0.1:{nobody}"
    assert outcome.message.startswith(f"no connection to {place} (")
    assert CANARY not in str(outcome)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy"])
def test_an_invalid_proxy(put: Put, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable that set the proxy, but no password."""
    monkeypatch.setenv(variable, f"ftp://user:{CANARY}@127.0.0.1")
    with pytest.raises(ConfigurationError) as caught:
        put(9)
    assert str(caught.value).endswith(f"; set: the proxy by {variable}")
    assert CANARY not in str(caught.value)
