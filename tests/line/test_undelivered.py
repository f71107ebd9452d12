"""Events of direct calls that are not accepted appear in the log."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from tenacity import wait_none

from eventbridge_partner import (
    PartnerEvent,
    PartnerEventsClient,
    RegionRouter,
    RetryPolicy,
    SourceGuard,
)
from eventbridge_partner.line._undelivered import Undelivered
from eventbridge_partner.observing import OutcomesDecided
from eventbridge_partner.testing import FailRequest, FakeEventBridge
from tests.strategies import SOURCE

AT_ONCE = RetryPolicy(wait=wait_none(), throttle_wait=wait_none())
CANARY = "s3cr3t-canary"


def events(count: int, source: str = SOURCE) -> list[PartnerEvent]:
    return [PartnerEvent(source, "t", {"n": number, "c": CANARY}) for number in range(count)]


@pytest.fixture
def service() -> FakeEventBridge:
    return FakeEventBridge()


@pytest.fixture
def seen() -> list[Any]:
    return []


@pytest.fixture
def client(service: FakeEventBridge, seen: list[Any]) -> PartnerEventsClient:
    return PartnerEventsClient(
        service.region,
        credentials=service.credentials,
        transport=service.transport(),
        retry=AT_ONCE,
        observe=seen.append,
    )


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO)
    return lambda: [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def test_a_call_that_is_refused(
    client: PartnerEventsClient, service: FakeEventBridge, said: Any, caplog: Any
) -> None:
    """Five refused calls log one warning for the minute, and each failed request at INFO."""
    service.play(FailRequest("AccessDeniedException", 400, message=CANARY, times=None))
    for _ in range(5):
        client.put_events(events(30))
    assert said() == [
        (
            "30 events of direct calls were not accepted: Rejected, AccessDeniedException; allow "
            "events:PutPartnerEvents for the credentials that sign"
        )
    ]
    failed = [one for one in caplog.records if "a request of" in one.getMessage()]
    assert {one.levelno for one in failed} == {logging.INFO}
    assert {one.error_code for one in failed} == {"AccessDeniedException"}
    assert {one.entries for one in failed} <= {10, 20}
    assert all(one.request_id and one.delivery for one in failed)


def test_a_stream_counts_too(
    client: PartnerEventsClient, service: FakeEventBridge, said: Any
) -> None:
    """Rejected events of a stream are logged too."""
    service.play(FailRequest("ValidationException", 400, times=None))
    assert len(list(client.stream_events(events(3)))) == 3
    assert "of direct calls was not accepted: Rejected, ValidationException" in said()[0]


def test_each_minute_has_a_line_for_each_code(said: Any) -> None:
    """An hour's outage takes 60 lines, each with the count since the last one."""
    undelivered = Undelivered("direct calls")
    for second in range(3600):
        undelivered.count(("Exhausted", "TransportError"), 7, float(second))
        undelivered.say(float(second))
    assert len(said()) == 60
    undelivered.sum_up()
    assert said()[-1] == (
        "in all, 25200 events of direct calls were not accepted: 25200 TransportError"
    )
    assert sum(int(one.split()[0]) for one in said()[:-1]) == 25200


def test_a_thousand_unknown_codes(said: Any) -> None:
    """A thousand different codes take 101 lines, and their line breaks are escaped."""
    undelivered = Undelivered("direct calls")
    for number in range(1000):
        undelivered.count(("Rejected", f"Code\n{number}"), 1, 0.0)
    undelivered.say(0.0)
    assert len(said()) == 101
    assert not any("\n" in line for line in said())


def test_an_outcome_read_after_its_line_changes_no_later_count(said: Any) -> None:
    """Discounting an event whose line is already written does not reduce a later count."""
    undelivered = Undelivered("a publisher")
    key = ("Rejected", "c")
    first = undelivered.count(key, 1, 0.0)
    undelivered.say(0.0)
    undelivered.count(key, 1, 1.0)
    undelivered.discount(key, first)
    undelivered.say(61.0)
    assert len(said()) == 2


def test_a_guard_tells_of_what_it_holds_back(
    client: PartnerEventsClient, service: FakeEventBridge, said: Any, seen: list[Any]
) -> None:
    """The observer is told once of each event that a guard holds back, in every call."""
    client.sources.create(SOURCE, account="123456789012")
    seen.clear()
    guard = SourceGuard(client)
    assert len(guard.put_events(events(3)).rejected) == 3
    assert len(list(guard.stream_events(events(250)))) == 250
    assert guard.check(events(1)[0]) is not None
    decided = [one for one in seen if isinstance(one, OutcomesDecided)]
    assert sum(one.outcomes["Rejected", "SourcePending"] for one in decided) == 254
    assert {one.kind for one in decided} == {"guard"}
    assert "3 events of direct calls were not accepted: Rejected, SourcePending" in said()[0]
    assert len(said()) == 1


def test_a_guard_tells_of_what_it_parks(
    client: PartnerEventsClient, said: Any, seen: list[Any]
) -> None:
    """The observer is told once of each event that is parked, sent or invalid."""
    other = "aws.partner/example.com/other"
    client.sources.create(SOURCE, account="123456789012")
    seen.clear()
    guard = SourceGuard(client, on_pending=lambda _: None)
    guard.put_events([*events(2), *events(3, other), {"Source": "x"}])
    counted: Counter[tuple[str, str]] = Counter()
    for one in seen:
        if isinstance(one, OutcomesDecided):
            counted.update(one.outcomes)
    assert counted.total() == 6
    assert counted["Exhausted", "SourceParked"] == 2
    assert counted["Rejected", "InvalidEvent"] == 1
    assert any("Exhausted, SourceParked" in line for line in said())


def test_a_router_tells_of_what_it_rejects(
    client: PartnerEventsClient, said: Any, seen: list[Any]
) -> None:
    """A router's rejections are told without a Region; each Region's client tells its outcomes."""
    other = "aws.partner/example.com/other"
    router = RegionRouter(client, {SOURCE: "us-east-1"})
    router.put_events([*events(2), *events(3, other), {"Source": "x"}])
    decided = [one for one in seen if isinstance(one, OutcomesDecided)]
    assert {(one.kind, one.region): dict(one.outcomes) for one in decided} == {
        ("put_events", "us-east-1"): {("Accepted", ""): 2},
        ("router", None): {("Rejected", "UnknownRegion"): 3, ("Rejected", "InvalidEvent"): 1},
    }
    assert len(said()) == 2
