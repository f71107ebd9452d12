"""
How much of a quota is used, and how much is throttled: `python -m benchmarks.pacing`.

This package's deliveries and paces send to a token bucket, which is how the service's quota works.
A second table shows paces alone under constant load, beside botocore's adaptive mode: what random
throttling costs, how a pace follows a quota, and how clients share one. The clock is the
simulation's own, so nothing waits, and a seed gives the same figures on every machine.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import attrs
from botocore.retries.adaptive import ClientRateLimiter, RateClocker
from botocore.retries.bucket import TokenBucket
from botocore.retries.throttling import CubicCalculator

from benchmarks.cases import BATCH
from eventbridge_partner import Accepted, Pace, PartnerEvent, RetryPolicy, ThrottledError
from eventbridge_partner.delivery.actions import DeliverySettings, Finished, Send, Take
from eventbridge_partner.delivery.entries import Batch
from eventbridge_partner.delivery.machine import Delivery
from eventbridge_partner.retry import RetryQuota

SEEDS = range(5)

_SEND_SECONDS = 0.0005
"""What making and signing a request takes."""

_LATE_SECONDS = 0.001
"""The most by which a sleep takes longer than asked for."""

_EVENT = PartnerEvent("aws.partner/example.com/acme", "simulated", "{}")


@attrs.frozen(kw_only=True)
class Scene:
    """
    Clients that send to a service with a quota.

    Attributes:
        requests: How many full requests all clients send together.
        quota: Requests a second that the service lets through in the long run.
        burst: How many requests it lets through at once.
        rate: The set rate of the pace; None for none.
        in_flight: The most requests of each client in flight.
        answer_seconds: The least time of an answer; the most is a fifth longer.
        clients: How many clients there are.
        shares: Whether the clients share one pace.
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
    What happened in a scene.

    Attributes:
        scene: The scene.
        events: How many have their outcome.
        accepted: How many of them were accepted.
        seconds: The time until the last answer.
        sent: How many requests were sent.
        throttled: How many of them were throttled.
    """

    scene: Scene
    events: int
    accepted: int
    seconds: float
    sent: int
    throttled: int

    @property
    def used(self) -> float:
        """What was let through, as a share of what the quota and its burst allowed."""
        return (self.sent - self.throttled) / (self.scene.burst + self.scene.quota * self.seconds)

    @property
    def throttled_share(self) -> float:
        """The share of the requests that were throttled."""
        return self.throttled / self.sent


class _Bucket:
    """The service's quota."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self._burst, self._tokens, self._filled_at = burst, burst, 0.0

    def lets_through(self, now: float) -> bool:
        gained = (now - self._filled_at) * self.rate
        self._tokens = min(self._burst, self._tokens + gained)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


@attrs.define(eq=False)
class _Sender:
    """A client with one call in progress."""

    delivery: Delivery
    left: int
    flights: list[tuple[float, int, Batch, bool]] = attrs.field(factory=list)
    decided: int = 0
    accepted: int = 0

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
        # Counted and let go: a table would keep two million of them.
        outcomes = self.delivery.outcomes()
        self.decided += len(outcomes)
        self.accepted += sum(isinstance(outcome, Accepted) for outcome in outcomes)


def simulate(scene: Scene, seed: int = 0) -> Run:
    """Let deliveries with the default retry policy send to a token bucket until all are decided."""
    dice = random.Random(seed)
    # The default policy, except for its source of random numbers.
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
    decided = sum(sender.decided for sender in senders)
    accepted = sum(sender.accepted for sender in senders)
    return Run(scene, decided, accepted, now, sent, throttled)


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
    """Return a table of what happened in each scene: the mean of several runs."""
    lines = ["| | seconds | quota used | throttled | accepted |", "|---|---:|---:|---:|---:|"]
    for title, scene in scenes.items():
        runs = [simulate(scene, seed) for seed in seeds]
        seconds = statistics.mean(run.seconds for run in runs)
        used = statistics.mean(run.used for run in runs)
        throttled = statistics.mean(run.throttled_share for run in runs)
        accepted = sum(run.accepted for run in runs) / sum(run.events for run in runs)
        cells = [f"{seconds:.1f}", f"{used:.1%}", f"{throttled:.1%}", f"{accepted:.2%}"]
        lines.append(f"| {' | '.join([title, *cells])} |")
    return "\n".join(lines)


# ---------------------------------------------------------------- a constant load


@attrs.frozen(kw_only=True)
class Load:
    """
    Clients that always have something to send, each with a pace of its own.

    Attributes:
        random_share: The share of requests that is throttled whatever the rate.
        quota: The requests a second that are let through, and the burst; None for no quota.
        quota_later: The same in the second half.
        begin: When each client begins.
        in_flight: The most requests of each client in flight.
        answer_seconds: The least time of an answer; the most is a fifth longer.
        seconds: How long the load lasts. Some figures are of its last quarter.
    """

    random_share: float = 0.0
    quota: float | None = None
    quota_later: float | None = None
    begin: Sequence[float] = (0.0,)
    in_flight: int = 8
    answer_seconds: float = 0.005
    seconds: float = 120.0


@attrs.frozen
class Sent:
    """
    What happened under a load.

    Attributes:
        rate: Requests a second in the last quarter.
        throttled_share: The share of all requests that was throttled.
        used: What was accepted, as a share of what the quota allowed; None without a quota.
        least_share: The slowest client's share of the accepted requests in the last quarter.
    """

    rate: float
    throttled_share: float
    used: float | None
    least_share: float


class Paced(Protocol):
    """What the simulation needs of a pace."""

    @property
    def max_in_flight(self) -> int:
        """How many requests may be in flight."""
        ...

    def ready_at(self) -> float:
        """Return when the next request may go."""
        ...

    def sent(self, now: float) -> None:
        """Note that a request goes out."""
        ...

    def accepted(self, sent_at: float) -> None:
        """Note that a request was accepted."""
        ...

    def throttled(self, share: float, sent_at: float, now: float, *, in_flight: int) -> None:
        """Note that a request was throttled."""
        ...


@attrs.define
class Clock:
    """The simulation's time, with the interface of botocore's clock."""

    now: float = 0.0

    def current_time(self) -> float:
        return self.now


class BotocorePace:
    """The rate limiter of botocore's adaptive mode."""

    max_in_flight = 1000

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._touched_at = clock.now
        self._throttles = self._is_on = False
        self._bucket = TokenBucket(max_rate=1, clock=clock)
        self._limiter = ClientRateLimiter(
            CubicCalculator(starting_max_rate=0, start_time=clock.now),
            RateClocker(clock),
            self._bucket,
            throttling_detector=self,
            clock=clock,
        )

    def is_throttling_error(self, **_: object) -> bool:
        """Tell whether the current answer is throttled, as botocore's detector does."""
        return self._throttles

    def ready_at(self) -> float:
        missing = 1 - self._bucket.available_capacity
        if not self._is_on or missing <= 0:
            return -math.inf
        return self._touched_at + missing / self._bucket.max_rate + 1e-9

    def sent(self, now: float) -> None:
        if self._is_on:
            self._bucket.acquire(block=False)
            self._touched_at = now

    def accepted(self, sent_at: float) -> None:
        self._answered(throttled=False)

    def throttled(self, share: float, sent_at: float, now: float, *, in_flight: int) -> None:
        self._answered(throttled=True)

    def _answered(self, *, throttled: bool) -> None:
        self._throttles = throttled
        self._limiter.on_receiving_response()
        self._is_on |= throttled
        self._touched_at = self._clock.now


def put_under(load: Load, pace_of: Callable[[Clock], Paced], seed: int = 0) -> Sent:
    """Let clients send all that their paces allow, and return what happened."""
    dice = random.Random(seed)
    clock = Clock()
    paces = [pace_of(clock) for _ in load.begin]
    flights: list[list[tuple[float, float, bool]]] = [[] for _ in paces]
    bucket = None if load.quota is None else _Bucket(load.quota, load.quota)
    turns = [(begin, place) for place, begin in enumerate(load.begin)]
    heapq.heapify(turns)
    late = [0 for _ in paces]
    sent = accepted = sent_late = 0
    while turns[0][0] < load.seconds:
        now, place = heapq.heappop(turns)
        clock.now = now
        pace, flying = paces[place], flights[place]
        while flying and flying[0][0] <= now:
            _, sent_at, is_accepted = heapq.heappop(flying)
            if is_accepted:
                pace.accepted(sent_at)
            else:
                pace.throttled(1.0, sent_at, now, in_flight=len(flying) + 1)
        has_room = len(flying) < min(load.in_flight, pace.max_in_flight)
        if has_room and pace.ready_at() <= now:
            if bucket is not None and load.quota_later and now >= load.seconds / 2:
                bucket.rate = load.quota_later
            is_accepted = dice.random() >= load.random_share
            is_accepted = is_accepted and (bucket is None or bucket.lets_through(now))
            pace.sent(now)
            answered_at = now + load.answer_seconds * dice.uniform(1, 1.2)
            heapq.heappush(flying, (answered_at, now, is_accepted))
            is_late = now >= 0.75 * load.seconds
            sent += 1
            sent_late += is_late
            accepted += is_accepted
            late[place] += is_late and is_accepted
            turn = now
        else:
            turn = min(
                flying[0][0] if flying else math.inf, pace.ready_at() if has_room else math.inf
            )
            turn += dice.uniform(0, _LATE_SECONDS)
        heapq.heappush(turns, (turn, place))
    used = None
    if load.quota is not None:
        later = load.quota_later or load.quota
        used = accepted / (load.quota + load.seconds * (load.quota + later) / 2)
    return Sent(
        sent_late / (load.seconds / 4), 1 - accepted / sent, used, min(late) / max(sum(late), 1)
    )


CONTENDERS: dict[str, Callable[[Clock], Paced]] = {
    "`Pace`": lambda _: Pace(),
    "botocore": BotocorePace,
}

LOADS: dict[str, Load] = {
    "nothing throttled": Load(),
    "0.1 % at random": Load(random_share=0.001),
    "0.5 % at random": Load(random_share=0.005),
    "1 % at random": Load(random_share=0.01),
    "4 % at random": Load(random_share=0.04),
    "quota 40": Load(quota=40),
    "quota 40, 32 in flight": Load(quota=40, in_flight=32, answer_seconds=0.02),
    "quota 400, then 200": Load(quota=400, quota_later=200),
    "quota 400, then 800": Load(quota=400, quota_later=800),
    "quota 40, two clients, 30 s apart": Load(quota=40, begin=(0, 30)),
    "quota 400, two clients, 30 s apart": Load(quota=400, begin=(0, 30)),
    "quota 200, four clients, 10 s apart": Load(quota=200, begin=(0, 10, 20, 30)),
}


def table_of_loads(loads: dict[str, Load], seeds: Sequence[int] = SEEDS) -> str:
    """Return a table of all loads: means of several runs, and the slowest client's least share."""
    lines = [
        "| | | requests/s | quota used | throttled | slowest client |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for title, load in loads.items():
        for name, pace_of in CONTENDERS.items():
            runs = [put_under(load, pace_of, seed) for seed in seeds]
            used = [run.used for run in runs if run.used is not None]
            cells = [
                f"{statistics.mean(run.rate for run in runs):,.0f}",
                f"{statistics.mean(used):.1%}" if used else "",
                f"{statistics.mean(run.throttled_share for run in runs):.1%}",
                f"{min(run.least_share for run in runs):.0%}" if len(load.begin) > 1 else "",
            ]
            lines.append(f"| {' | '.join([title, name, *cells])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(f"Means of the seeds {', '.join(map(str, SEEDS))}.\n")
    print(table(SCENES))
    print()
    print(table_of_loads(LOADS))
