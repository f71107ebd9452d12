"""The steps that a delivery asks for, and its settings."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

import attrs

from eventbridge_partner.delivery.batching import BatchLimits
from eventbridge_partner.delivery.entries import Batch
from eventbridge_partner.delivery.judging import Judge, OnBug, ignore_bug
from eventbridge_partner.retry import RetryPolicy


class Take(NamedTuple):
    """Pass up to `events` more events to the delivery."""

    events: int


class Send(NamedTuple):
    """Send a batch."""

    batch: Batch


class Wait(NamedTuple):
    """Wait for an answer, but no later than `until`; None for as long as it takes."""

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
    The settings of a delivery.

    Attributes:
        retry: The retry policy.
        on_bug: Called with an exception that the policy raised; the default policy decides then.
        limits: How much goes into one request.
        max_in_flight: The most requests in flight.
        max_held: The most events taken whose outcome is not yet handed out; None for no limit.
        max_held_bytes: Their largest total size; None for no limit.
        judge: The retry policy, made so that it never raises.
    """

    retry: RetryPolicy = attrs.field(factory=RetryPolicy)
    on_bug: OnBug = ignore_bug
    limits: BatchLimits = attrs.field(factory=BatchLimits)
    max_in_flight: int = 1
    max_held: int | None = None
    max_held_bytes: int | None = None
    judge: Judge = attrs.field(init=False, default=attrs.Factory(_judge, takes_self=True))
