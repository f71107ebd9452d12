"""Credentials that expire soon are used until they do; revoked ones are refreshed."""

from __future__ import annotations

import asyncio
import datetime
import logging
from pathlib import Path
from typing import Any

import pytest
from botocore.credentials import Credentials, RefreshableCredentials

from eventbridge_partner import (
    Accepted,
    AsyncPartnerEventsClient,
    CredentialsError,
    PartnerEvent,
    PartnerEventsClient,
    Rejected,
    ServiceError,
)
from eventbridge_partner.aws import credentials as _credentials
from eventbridge_partner.aws.credentials import CredentialsKeeper
from eventbridge_partner.testing import FailRequest, FakeEventBridge
from tests.strategies import SOURCE

CANARY = "s3cr3t-canary"


class Source:
    """A source of credentials, like a role's, that counts how often it is asked."""

    def __init__(self, service: FakeEventBridge, *, lasts: float) -> None:
        self.asked = 0
        self.is_broken = False
        self._service = service
        self._lasts = lasts
        self.credentials = RefreshableCredentials.create_from_metadata(
            self.fetch(), self.fetch, "assume-role"
        )

    def fetch(self) -> dict[str, str]:
        self.asked += 1
        if self.is_broken:
            raise ConnectionError(CANARY)
        found = self._service.credentials.get_frozen_credentials()
        expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=self._lasts)
        return {
            "access_key": str(found.access_key),
            "secret_key": str(found.secret_key),
            "token": str(found.token),
            "expiry_time": expires.isoformat(),
        }


@pytest.fixture
def service() -> FakeEventBridge:
    return FakeEventBridge(session_token="a-token")


def client_of(service: FakeEventBridge, credentials: Any) -> PartnerEventsClient:
    return PartnerEventsClient(
        service.region, credentials=credentials, transport=service.transport()
    )


def events(count: int = 1) -> list[PartnerEvent]:
    return [PartnerEvent(SOURCE, "t", {"n": number}) for number in range(count)]


def test_credentials_are_used_until_they_expire(
    service: FakeEventBridge, caplog: pytest.LogCaptureFixture
) -> None:
    """While refreshing fails, valid credentials are still used, with one warning."""
    source = Source(service, lasts=60)
    source.is_broken = True
    client = client_of(service, source.credentials)

    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            (outcome,) = client.put_events(events())
            assert isinstance(outcome, Accepted)

    said = [record.getMessage() for record in caplog.records if "refreshed" in record.getMessage()]
    assert said == [
        "the AWS credentials cannot be refreshed (ConnectionError); they are used until they expire"
    ]
    assert CANARY not in "".join(
        logging.Formatter().format(record)
        for record in caplog.records
        if record.name == "eventbridge_partner"
    )


def test_expired_credentials_are_not_used(service: FakeEventBridge) -> None:
    """Expired credentials that cannot be refreshed raise a CredentialsError."""
    source = Source(service, lasts=-1)
    source.is_broken = True
    with pytest.raises(CredentialsError, match="could not be fetched"):
        client_of(service, source.credentials).put_events(events())


def test_one_call_refreshes_once(service: FakeEventBridge) -> None:
    """A call refreshes once, even if the new credentials are in botocore's window as well."""
    source = Source(service, lasts=60)
    client = client_of(service, source.credentials)
    before = source.asked

    (outcome,) = client.put_events(events())

    assert isinstance(outcome, Accepted)
    assert source.asked - before == 1


CODES = ["UnrecognizedClientException", "InvalidClientTokenId"]


@pytest.mark.parametrize("code", CODES)
def test_revoked_credentials_are_refreshed_once(service: FakeEventBridge, code: str) -> None:
    """Revoked credentials are refreshed, and the request is retried with the new ones."""
    source = Source(service, lasts=7200)
    client = client_of(service, source.credentials)
    service.rotate_credentials()
    service.play(FailRequest(code, 400))

    (outcome,) = client.put_events(events())

    assert isinstance(outcome, Accepted)
    assert outcome.attempts == 2
    assert source.asked == 2


@pytest.mark.parametrize("code", CODES)
def test_credentials_refused_after_a_refresh(service: FakeEventBridge, code: str) -> None:
    """If a refresh does not help, events are rejected, and no call of this minute refreshes."""
    source = Source(service, lasts=7200)
    client = client_of(service, source.credentials)
    service.play(FailRequest(code, 400, times=None))
    service.rotate_credentials()

    for _ in range(3):
        (outcome,) = client.put_events(events())
        assert isinstance(outcome, Rejected)
        assert outcome.code == code
    assert source.asked == 2


@pytest.mark.parametrize("code", CODES)
def test_static_credentials_are_refused_at_once(service: FakeEventBridge, code: str) -> None:
    """Static credentials cannot be refreshed: events are rejected after one attempt."""
    found = service.credentials.get_frozen_credentials()
    static = Credentials(found.access_key, found.secret_key, found.token)
    service.play(FailRequest(code, 400, times=None))

    (outcome,) = client_of(service, static).put_events(events())

    assert isinstance(outcome, Rejected)
    assert outcome.attempts == 1


def test_credentials_revoked_a_second_time(
    service: FakeEventBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refreshed credentials that are revoked after more than a minute are refreshed too."""
    now = 0.0
    monkeypatch.setattr(_credentials, "monotonic", lambda: now)
    source = Source(service, lasts=7200)
    client = client_of(service, source.credentials)
    for asked in (2, 3):
        service.rotate_credentials()
        service.play(FailRequest("UnrecognizedClientException", 400))
        (outcome,) = client.put_events(events())
        assert isinstance(outcome, Accepted)
        assert source.asked == asked
        now += 61


def test_a_new_key_that_comes_late(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A key that is replaced in a file after it was refused is found within a minute."""
    now = 0.0
    monkeypatch.setattr(_credentials, "monotonic", lambda: now)
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    service = FakeEventBridge(access_key_id="AKIANEW", secret_access_key="secret")

    def put(key: str) -> None:
        file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\n")

    put("AKIAOLD")
    client = PartnerEventsClient(service.region, transport=service.transport())
    assert isinstance(client.put_events(events())[0], Rejected)
    put("AKIANEW")
    assert isinstance(client.put_events(events())[0], Rejected)
    now += 61
    assert isinstance(client.put_events(events())[0], Accepted)


def test_single_requests_too(service: FakeEventBridge) -> None:
    """A source operation refreshes and retries once."""
    source = Source(service, lasts=7200)
    client = client_of(service, source.credentials)
    client.look_up()
    service.rotate_credentials()
    service.play(FailRequest("UnrecognizedClientException", 400))

    created = client.sources.create(SOURCE, account="123456789012")

    assert created.name == SOURCE
    assert source.asked == 2


def test_the_raw_call_too(service: FakeEventBridge) -> None:
    """The raw call refreshes but does not retry, so the next call succeeds."""
    source = Source(service, lasts=7200)
    client = client_of(service, source.credentials)
    client.look_up()
    service.rotate_credentials()
    service.play(FailRequest("UnrecognizedClientException", 400))
    entry = {"Source": SOURCE, "DetailType": "t", "Detail": "{}"}

    with pytest.raises(ServiceError):
        client.put_partner_events(Entries=[entry])

    assert service.request_count == 1
    assert client.put_partner_events(Entries=[entry])["FailedEntryCount"] == 0
    assert source.asked == 2


async def _on_a_loop(service: FakeEventBridge, lasts: float) -> tuple[Any, Source]:
    source = Source(service, lasts=lasts)
    service.rotate_credentials()
    service.play(FailRequest("UnrecognizedClientException", 400))
    with service.serve() as server:
        async with AsyncPartnerEventsClient(
            service.region, endpoint_url=server.url, credentials=source.credentials
        ) as client:
            (outcome,) = await client.put_events(events())
    return outcome, source


def test_on_a_loop_too(service: FakeEventBridge) -> None:
    """The asyncio client refreshes revoked credentials too, and the event is accepted."""
    outcome, source = asyncio.run(_on_a_loop(service, 7200))
    assert isinstance(outcome, Accepted)
    assert source.asked == 2


def test_many_requests_refused_at_a_time_refresh_once(service: FakeEventBridge) -> None:
    """Requests that were signed with the same stale credentials share one refresh."""
    source = Source(service, lasts=7200)
    keeper = CredentialsKeeper(None, source.credentials)  # type: ignore[arg-type]
    stale = keeper.frozen()
    service.rotate_credentials()
    answers = [keeper.renew(stale) for _ in range(5)]
    assert answers == [True] * 5
    assert source.asked == 2
