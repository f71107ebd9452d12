"""What a delivery asks for, and what bounds it."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

import attrs

from eventbridge_partner.delivery.batching import BatchLimits
from eventbridge_partner.delivery.entries import Batch
from eventbridge_partner.delivery.judging import Judge, OnBug, ignore_bug
from eventbridge_partner.retry import RetryPolicy


class Take(NamedTuple):
    """Bring up to `events` more events."""

    events: int


class Send(NamedTuple):
    """Send a batch."""

    batch: Batch


class Wait(NamedTuple):
    """Wait for an answer, but no longer than `until`; None for as long as it takes."""

    until: float | None


class Finished(enum.Enum):
    """Every event has its outcome."""

    FINISHED = enum.auto()


FINISHED: Final = Finished.FINISHED


Action = Take | Send | Wait | Finished


def _judge(settings: DeliverySettings) -> Judge:
    return Judge(settings.retry, settings.on_bug)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class DeliverySettings:
    """
    What bounds a delivery.

    Attributes:
        retry: When to send again.
        on_bug: Is told what the policy raised; its default's word counts then.
        limits: How much goes into one request.
        max_in_flight: Requests in flight at a time.
        max_held: Events that are taken and whose outcome is not handed out; None for no bound.
        max_held_bytes: Their size together; None for no bound.
        judge: What the policy says of failures.
    """

    retry: RetryPolicy = attrs.field(factory=RetryPolicy)
    on_bug: OnBug = ignore_bug
    limits: BatchLimits = attrs.field(factory=BatchLimits)
    max_in_flight: int = 1
    max_held: int | None = None
    max_held_bytes: int | None = None
    judge: Judge = attrs.field(init=False, default=attrs.Factory(_judge, takes_self=True))
