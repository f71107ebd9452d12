"""A seeded mix of every fault that the service can play, and the ledger that must balance."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence

from tenacity import stop_after_attempt, wait_random

from eventbridge_partner import (
    Accepted,
    Exhausted,
    Outcome,
    PartnerEvent,
    Rejected,
    RetryPolicy,
    Unconfirmed,
)
from eventbridge_partner.testing import (
    CloseConnection,
    CutAnswer,
    EmptyAnswer,
    FailEntries,
    FailRequest,
    FakeEventBridge,
    Fault,
    GarbleAnswer,
    LoseAnswer,
    MiscountFailures,
    RefuseRequestContaining,
    SlowAnswer,
    WrongClock,
    WrongLength,
)

POISON = "poison"
READ_TIMEOUT = 4.0

PATIENT = RetryPolicy(
    wait=wait_random(0, 0.01),
    throttle_wait=wait_random(0, 0.02),
    stop=stop_after_attempt(4),
    tokens=None,
)
"""Retries quickly, so that a storm takes seconds; every wait is still jittered."""


def storm_events(count: int, seed: int) -> list[PartnerEvent]:
    """Return events with distinct numbers, about one in 500 of them poison."""
    dice = random.Random(seed)
    return [
        PartnerEvent(
            f"aws.partner/example.com/customer-{dice.randrange(50)}",
            "storm.event" if dice.randrange(500) else POISON,
            {"number": number, "text": "嵐" * dice.randrange(200)},
        )
        for number in range(count)
    ]


def storm_faults() -> list[Fault]:
    """Return every fault, most of them on a small share of all requests."""

    def often(share: float) -> dict[str, float | None]:
        return {"times": None, "share": share}

    return [
        FailEntries("ThrottlingException", entry_share=0.3, **often(0.2)),
        FailEntries("InternalFailure", entry_share=0.2, **often(0.1)),
        FailEntries("NobodyKnowsThisOne", entry_share=0.05, **often(0.05)),
        FailEntries("NotAuthorizedForSourceException", entry_share=0.05, **often(0.05)),
        FailEntries("ResourceNotFoundException", entry_share=0.05, **often(0.02)),
        FailRequest("ThrottlingException", 400, **often(0.03)),
        FailRequest("InternalFailure", 500, **often(0.02)),
        FailRequest("ServiceUnavailable", 503, form="xml", **often(0.01)),
        FailRequest("BadGateway", 502, form="html", **often(0.01)),
        FailRequest("TooMany", 429, form="empty", **often(0.01)),
        FailRequest("RequestEntityTooLargeException", 413, **often(0.01)),
        FailRequest("AccessDeniedException", 403, form="header", **often(0.005)),
        RefuseRequestContaining(lambda entry: entry["DetailType"] == POISON),
        WrongClock(4_000),
        LoseAnswer(**often(0.03)),
        CutAnswer(after_bytes=40, **often(0.02)),
        GarbleAnswer(**often(0.02)),
        WrongLength(**often(0.02)),
        WrongLength(difference=2, **often(0.01)),
        MiscountFailures(**often(0.02)),
        EmptyAnswer(**often(0.02)),
        CloseConnection(**often(0.02)),
        SlowAnswer(seconds=1.5 * READ_TIMEOUT, share=0.01, times=3),
    ]


def _number(entry_detail: str) -> int:
    return int(json.loads(entry_detail)["number"])


def check_ledger(
    service: FakeEventBridge,
    events: Sequence[PartnerEvent],
    outcomes: Iterable[Outcome],
    *,
    was_cut_off: bool = False,
) -> dict[str, int]:
    """
    Check outcomes against the service's own records, and return how many there are of each kind.

    Every event has exactly one outcome. No accepted event is reported as failed, and no
    acknowledged event is sent again. With `was_cut_off`, an acknowledged event may be unconfirmed,
    because the sender stopped before it read the answer.
    """
    outcomes = list(outcomes)
    by_number: dict[int, Outcome] = {}
    for outcome in outcomes:
        assert isinstance(outcome.event, PartnerEvent)
        number = _number(outcome.event.detail)
        assert number not in by_number, f"event {number} has two outcomes"
        by_number[number] = outcome
    assert len(by_number) == len(events)

    accepted_ids: dict[int, set[str | None]] = {}
    for accepted in service.accepted:
        accepted_ids.setdefault(_number(accepted.detail), set()).add(accepted.event_id)
    attempts: dict[int, int] = {}
    acknowledged: dict[int, str | None] = {}
    for record in service.requests:
        for place, entry in enumerate(record.entries):
            number = _number(entry["Detail"])
            attempts[number] = attempts.get(number, 0) + 1
            assert number not in acknowledged, f"event {number} was sent after its acknowledgement"
            if record.answer_delivered and record.results:
                result = record.results[place]
                if result.error_code is None:
                    hidden = any(isinstance(fault, EmptyAnswer) for fault in record.faults)
                    acknowledged[number] = None if hidden else result.event_id

    for number, outcome in by_number.items():
        # There are more if a connection broke before the service had read the request.
        assert outcome.attempts >= attempts.get(number, 0), outcome
        match outcome:
            case Accepted():
                assert number in acknowledged, f"event {number} was never acknowledged"
                assert outcome.event_id == acknowledged[number]
                assert accepted_ids[number]
            case Rejected() | Exhausted():
                assert number not in accepted_ids, f"event {number} arrived: {outcome}"
            case Unconfirmed():
                assert was_cut_off or number not in acknowledged, f"event {number} was acknowledged"
    return {
        kind.__name__: sum(isinstance(outcome, kind) for outcome in outcomes)
        for kind in (Accepted, Rejected, Exhausted, Unconfirmed)
    }
