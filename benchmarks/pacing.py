"""
How much of a quota is used, and how much is throttled: `python -m benchmarks.pacing`.

Deliveries and paces of this package stand in front of a token bucket, as the service's quota is
one. The clock is the simulation's own: nothing is waited for, and a seed gives the same figures on
every machine.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from benchmarks.cases import BATCH
from eventbridge_partner import Accepted, Outcome, Pace, PartnerEvent, RetryPolicy, ThrottledError
from eventbridge_partner.delivery.actions import DeliverySettings, Finished, Send, Take
from eventbridge_partner.delivery.entries import Batch
from eventbridge_partner.delivery.machine import Delivery
from eventbridge_partner.retry import RetryQuota

SEEDS = range(5)

_SEND_SECONDS = 0.0005
"""What making and signing a request takes."""

_LATE_SECONDS = 0.001
"""Whoever sleeps wakes up later than it should, by up to this."""

_EVENT = PartnerEvent("aws.partner/example.com/acme", "simulated", "{}")


@attrs.frozen(kw_only=True)
class Scene:
    """
    What sends to what.

    Attributes:
        requests: How many full ones there are to be sent, by all clients together.
        quota: Requests a second that the service lets through in the long run.
        burst: How many of them at once.
        rate: What the pace is set to; None for nothing.
        in_flight: Requests of each client at a time.
        answer_seconds: How long an answer takes, at least; a fifth more at most.
        clients: How many there are.
        shares: Whether they have one pace, rather than each its own.
    """

    requests: int
    quota: float = 40.0
    burst: float = 40.0
    rate: float | None = None
    in_flight: int = 4
    answer_seconds: float = 0.003
    clients: int = 1
    shares: bool = True


@attrs.frozen
class Run:
    """
    What became of it.

    Attributes:
        scene: What was sent to what.
        outcomes: Of all events.
        seconds: Until the last answer.
        sent: Requests.
        throttled: How many of them were throttled.
    """

    scene: Scene
    outcomes: Sequence[Outcome]
    seconds: float
    sent: int
    throttled: int

    @property
    def used(self) -> float:
        """The share of what the service would have let through meanwhile, its burst included."""
        return (self.sent - self.throttled) / (self.scene.burst + self.scene.quota * self.seconds)

    @property
    def throttled_share(self) -> float:
        """The share of the requests that were throttled."""
        return self.throttled / self.sent

    @property
    def accepted(self) -> int:
        """How many events were accepted."""
        return sum(isinstance(outcome, Accepted) for outcome in self.outcomes)


class _Bucket:
    """The service's quota."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst, self._tokens, self._filled_at = rate, burst, burst, 0.0

    def lets_through(self, now: float) -> bool:
        gained = (now - self._filled_at) * self._rate
        self._tokens = min(self._burst, self._tokens + gained)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


@attrs.define(eq=False)
class _Sender:
    """A client with one call under way."""

    delivery: Delivery
    left: int
    flights: list[tuple[float, int, Batch, bool]] = attrs.field(factory=list)
    outcomes: list[Outcome] = attrs.field(factory=list)

    def take(self, count: int) -> None:
        count = min(count, self.left)
        self.left -= count
        self.delivery.take_all(itertools.repeat(_EVENT, count))
        if not self.left:
            self.delivery.no_more_events()

    def land(self, now: float) -> None:
        while self.flights and self.flights[0][0] <= now:
            _, _, batch, is_accepted = heapq.heappop(self.flights)
            if is_accepted:
                self.delivery.accepted(batch, ["an-id"] * len(batch), now)
            else:
                error = ThrottledError("ThrottlingException", "Rate exceeded", status=400)
                self.delivery.failed(batch, error, now)
        self.outcomes += self.delivery.outcomes()


def simulate(scene: Scene, seed: int = 0) -> Run:
    """Let deliveries with the default retry policy send to a token bucket until all is decided."""
    dice = random.Random(seed)
    # The default one, but for whose dice it throws.
    policy = RetryPolicy(
        throttle_wait=lambda state: dice.uniform(0, min(2 ** (state.attempt_number - 1), 20))
    )
    settings = DeliverySettings(retry=policy, max_in_flight=scene.in_flight)
    shared = Pace(scene.rate)
    senders = [
        _Sender(
            Delivery(
                settings,
                RetryQuota(policy.tokens),
                pace=shared if scene.shares else Pace(scene.rate),
            ),
            scene.requests // scene.clients * BATCH,
        )
        for _ in range(scene.clients)
    ]
    bucket = _Bucket(scene.quota, scene.burst)
    sequence = itertools.count()
    sent = throttled = 0
    now = 0.0
    turns = [(0.0, next(sequence), sender) for sender in senders]
    while turns:
        now, _, sender = heapq.heappop(turns)
        sender.land(now)
        match sender.delivery.next_action(now):
            case Take(count):
                sender.take(count)
                turn = now
            case Send(batch):
                sent += 1
                is_accepted = bucket.lets_through(now)
                throttled += not is_accepted
                answered_at = now + scene.answer_seconds * dice.uniform(1, 1.2)
                heapq.heappush(sender.flights, (answered_at, next(sequence), batch, is_accepted))
                turn = now + _SEND_SECONDS
            case Finished.FINISHED:
                continue
            case wait:
                answered_at = sender.flights[0][0] if sender.flights else math.inf
                turn = min(answered_at, math.inf if wait.until is None else wait.until)
                turn = max(now, turn) + dice.uniform(0, _LATE_SECONDS)
        heapq.heappush(turns, (turn, next(sequence), sender))
    outcomes = [outcome for sender in senders for outcome in sender.outcomes]
    return Run(scene, outcomes, now, sent, throttled)


_MANY: dict[str, Any] = {"in_flight": 32, "answer_seconds": 0.02}
_LARGE: dict[str, Any] = _MANY | {"quota": 1400.0, "burst": 3600.0, "in_flight": 64}

SCENES: dict[str, Scene] = {
    "2,000 events, 4 in flight": Scene(requests=100),
    "2,000 events, 32 in flight": Scene(requests=100, **_MANY),
    "2,000 events, rate 40": Scene(requests=100, rate=40, **_MANY),
    "20,000 events, 4 in flight": Scene(requests=1000),
    "20,000 events, 32 in flight": Scene(requests=1000, **_MANY),
    "20,000 events, rate 36": Scene(requests=1000, rate=36, **_MANY),
    "20,000 events, rate 40": Scene(requests=1000, rate=40, **_MANY),
    "20,000 events, rate 60": Scene(requests=1000, rate=60, **_MANY),
    "20,000 events, two clients, one pace": Scene(requests=1000, clients=2),
    "20,000 events, two clients, a pace each": Scene(requests=1000, clients=2, shares=False),
    "200,000 events, quota 1,400, burst 3,600": Scene(requests=10_000, **_LARGE),
    "200,000 events, the same, rate 1,400": Scene(requests=10_000, rate=1400, **_LARGE),
}


def table(scenes: dict[str, Scene], seeds: Iterable[int] = SEEDS) -> str:
    """Show what became of each scene: the mean of some runs."""
    lines = ["| | seconds | quota used | throttled | accepted |", "|---|---:|---:|---:|---:|"]
    for title, scene in scenes.items():
        runs = [simulate(scene, seed) for seed in seeds]
        seconds = statistics.mean(run.seconds for run in runs)
        used = statistics.mean(run.used for run in runs)
        throttled = statistics.mean(run.throttled_share for run in runs)
        accepted = sum(run.accepted for run in runs) / sum(len(run.outcomes) for run in runs)
        cells = [f"{seconds:.1f}", f"{used:.1%}", f"{throttled:.1%}", f"{accepted:.2%}"]
        lines.append(f"| {' | '.join([title, *cells])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(SCENES))
