"""An argument that cannot work is refused at once, with what is allowed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

from eventbridge_partner import (
    AsyncEventPublisher,
    AsyncPartnerEventsClient,
    AsyncRegionRouter,
    AsyncSourceGuard,
    CredentialsError,
    EventPublisher,
    PartnerEvent,
    PartnerEventsClient,
    RegionRouter,
    SourceGuard,
    StaticCredentials,
)
from eventbridge_partner.testing import FakeEventBridge
from tests.strategies import SOURCE

SECRET = "s3cr3t-canary"
KEPT = StaticCredentials("AKIDEXAMPLE", SECRET, SECRET)

SETTINGS = {
    "region": 1,
    "endpoint_url": b"https://x",
    "profile": 1,
    "retry": 3,
    "pace": 100,
    "sources_pace": 50,
    "transport": "curl",
    "timeout": "3",
    "max_in_flight": "4",
    "max_batch_bytes": 1.5,
    "max_entry_bytes": True,
    "observe": "print",
    "credentials": ("AKIDEXAMPLE", SECRET),
}


@pytest.mark.parametrize("kind", [PartnerEventsClient, AsyncPartnerEventsClient])
@pytest.mark.parametrize("field", SETTINGS)
def test_settings_of_clients(kind: Callable[..., Any], field: str) -> None:
    """A setting of a wrong type is refused with its name, its type and what is allowed."""
    given = {"region": "us-east-1", field: SETTINGS[field]}
    found = type(given[field]).__name__
    with pytest.raises(TypeError, match=rf"^{field} is of type {found}; allowed: ") as caught:
        kind(**given)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("kind", [PartnerEventsClient, AsyncPartnerEventsClient])
def test_frozen_credentials_are_no_credentials(kind: Callable[..., Any]) -> None:
    """Frozen credentials are refused with the types that are allowed."""
    allowed = re.escape(
        "allowed: StaticCredentials, anything with get_frozen_credentials(), or None"
    )
    with pytest.raises(TypeError, match=allowed) as caught:
        kind("us-east-1", credentials=KEPT.get_frozen_credentials())
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("publisher", "client"),
    [
        (EventPublisher, PartnerEventsClient),
        (AsyncEventPublisher, AsyncPartnerEventsClient),
    ],
)
@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("linger", "50ms"),
        ("block_timeout", None),
        ("exit_timeout", "1"),
        ("max_buffered_events", "10"),
        ("max_buffered_bytes", 1.5),
        ("on_undelivered", 3),
    ],
)
def test_settings_of_publishers(publisher: Any, client: Any, field: str, wrong: Any) -> None:
    """A publisher's settings are checked when it is made."""
    with pytest.raises(TypeError, match=f"^{field} is of type {type(wrong).__name__}; allowed: "):
        publisher(client("us-east-1"), **{field: wrong})


@pytest.mark.parametrize(
    ("made", "client"),
    [
        (EventPublisher, AsyncPartnerEventsClient),
        (AsyncEventPublisher, PartnerEventsClient),
        (SourceGuard, AsyncPartnerEventsClient),
        (AsyncSourceGuard, PartnerEventsClient),
        (lambda client: RegionRouter(client, {}), AsyncPartnerEventsClient),
        (lambda client: AsyncRegionRouter(client, {}), PartnerEventsClient),
    ],
)
def test_clients_of_the_other_world(made: Any, client: Any) -> None:
    """A blocking client in asynchronous code, or the reverse, is refused at once."""
    with pytest.raises(TypeError, match=rf"^client is of type .*{client.__name__}; allowed: an? "):
        made(client("us-east-1"))


def test_static_credentials_sign() -> None:
    """Static credentials sign requests, and their repr shows no secret."""
    service = FakeEventBridge()
    frozen = service.credentials.get_frozen_credentials()
    kept = StaticCredentials(frozen.access_key, frozen.secret_key, frozen.token)
    client = PartnerEventsClient(service.region, credentials=kept, transport=service.transport())
    assert len(client.put_events([PartnerEvent(SOURCE, "t", {})]).accepted) == 1
    assert SECRET not in repr(KEPT)


@pytest.mark.parametrize("wrong", [("", "x"), ("x", "")])
def test_static_credentials_without_text(wrong: tuple[str, str]) -> None:
    """Keys that are empty, as from an unset variable, or not text are refused."""
    with pytest.raises(ValueError, match="is empty"):
        StaticCredentials(*wrong)
    with pytest.raises(TypeError, match="secret_access_key is of type int; allowed: a str"):
        StaticCredentials("x", 1)


def test_missing_credentials_show_when_they_are_looked_up() -> None:
    """`look_up` finds missing credentials before there is an event, in both clients."""
    with PartnerEventsClient("us-east-1") as client:
        assert client.look_up() is client
        with pytest.raises(CredentialsError):
            client.look_up(credentials=True)

    async def look_up() -> None:
        async with AsyncPartnerEventsClient("us-east-1") as client:
            assert await client.look_up() is client
            with pytest.raises(CredentialsError):
                await client.look_up(credentials=True)

    asyncio.run(look_up())
