"""The rate of requests: how it is set, how throttling changes it, and how clients keep to it."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenacity import stop_after_attempt, wait_fixed, wait_random

from benchmarks.pacing import CONTENDERS, SEEDS, Load, Run, Scene, Sent, put_under, simulate
from eventbridge_partner import (
    AsyncPartnerEventsClient,
    Pace,
    PartnerEvent,
    PartnerEventsClient,
    RetryPolicy,
    Verdict,
)
from eventbridge_partner.delivery.actions import FINISHED, DeliverySettings, Send, Take, Wait
from eventbridge_partner.delivery.entries import Batch
from eventbridge_partner.delivery.machine import Delivery
from eventbridge_partner.errors import (
    CredentialsError,
    PartnerEventsError,
    ServiceError,
    ThrottledError,
    TransportError,
)
from eventbridge_partner.models import ResultEntry
from eventbridge_partner.retry import RetryQuota
from eventbridge_partner.testing import FailRequest, FakeEventBridge, LimitRate
from eventbridge_partner.transports.curl import CurlTransport

SOURCE = "aws.partner/example.com/acme"
THROTTLED = ThrottledError("ThrottlingException", "Rate exceeded", status=400)


def event(number: int = 0) -> PartnerEvent:
    return PartnerEvent(SOURCE, "test", {"number": number})


def sent_at(pace: Pace, times: Iterable[float]) -> Pace:
    """Let requests go out at these times."""
    for now in times:
        pace.sent(now)
    return pace


def rate_of(pace: Pace) -> float:
    """Return the rate of a pace that is on."""
    assert pace.requests_per_second is not None
    return pace.requests_per_second


def rate_at(pace: Pace, now: float) -> float:
    """Return the rate once a request went out at this time."""
    pace.sent(now)
    return rate_of(pace)


def cut(rate: float = 100.0, limit: float | None = None) -> Pace:
    """Return a pace that was throttled at 0 s, after `rate` requests in the last second."""
    pace = sent_at(Pace(limit), (place / rate for place in range(-int(rate) + 1, 1)))
    for _ in range(int(rate) - 1):
        pace.accepted(-0.001)
    pace.throttled(1.0, -0.001, 0.0, in_flight=1)
    return pace


# ---------------------------------------------------------------- without throttling


def test_a_pace_is_off_until_there_is_a_reason() -> None:
    """Without a set rate or throttling, a pace delays nothing, however fast requests go out."""
    pace = sent_at(Pace(), [0.0] * 100)
    pace.accepted(0.0)
    assert not pace.is_on
    assert pace.requests_per_second is None
    assert pace.ready_at() == -math.inf
    assert pace.max_in_flight == 1000


@pytest.mark.parametrize("rate", [0.2, 1, 40, 1400.0, 100_000])
def test_a_rate_that_is_set_is_kept(rate: float) -> None:
    """At a set rate, the first request goes at once, and the others at equal intervals."""
    pace = Pace(rate)
    assert pace.is_on
    assert pace.requests_per_second == rate
    assert pace.ready_at() == -math.inf
    now = 5.0
    pace.sent(now)
    first = pace.ready_at()
    for _ in range(100):
        now = pace.ready_at()
        pace.sent(now)
        pace.accepted(now)
    assert now - first == pytest.approx(99 / rate)
    assert pace.requests_per_second == rate


@pytest.mark.parametrize(
    ("late", "caught_up"), [(0.0, 0.0), (0.004, 0.004), (0.02, 0.02), (0.5, 0.02), (60.0, 0.02)]
)
def test_a_late_wake_up_is_caught_up_with_a_little(late: float, caught_up: float) -> None:
    """At most 20 ms of a late wake-up are caught up with, so a pause saves nothing up."""
    pace = sent_at(Pace(10), [0.0])
    now = pace.ready_at() + late
    pace.sent(now)
    assert pace.ready_at() == pytest.approx(now - caught_up + 0.1)


def test_requests_that_go_too_early_are_paid_for() -> None:
    """Requests that go too early, as from several clients at once, make later ones wait."""
    pace = sent_at(Pace(10), [1.0, 1.0, 1.0])
    assert pace.ready_at() == pytest.approx(1.0 - 0.02 + 0.3)


@pytest.mark.parametrize("rate", [0, 0.0, -1, math.inf, math.nan])
def test_rates_that_cannot_work_are_refused(rate: float) -> None:
    """A rate that cannot work is refused with what was found and what is allowed."""
    with pytest.raises(ValueError, match=r"requests_per_second is .*; allowed: a number above 0"):
        Pace(rate)


# ---------------------------------------------------------------- throttling


@pytest.mark.parametrize("rate", [40, 100, 1400])
def test_throttling_halves_the_rate_of_the_last_second(rate: int) -> None:
    """A pace without a set rate slows down to half of what went out in the last second."""
    pace = sent_at(Pace(), (place / rate for place in range(-5 * rate, 1)))
    pace.throttled(1.0, -0.001, 0.0, in_flight=1)
    assert pace.is_on
    assert pace.requests_per_second == pytest.approx(rate / 2, rel=0.05)
    assert pace.ready_at() == pytest.approx(2 / rate, rel=0.05)


def test_a_short_burst_has_the_rate_that_it_had() -> None:
    """The rate of a short burst is that of its duration: 20 requests in 0.1 s are 200 a second."""
    pace = sent_at(Pace(), (0.005 * place for place in range(20)))
    pace.throttled(1.0, 0.0, 0.1, in_flight=1)
    assert pace.requests_per_second == pytest.approx(100)
    assert rate_at(pace, 0.1) == pytest.approx(100)


def test_throttling_halves_a_rate_that_is_set() -> None:
    """Throttling halves a set rate, however little went out."""
    pace = sent_at(Pace(400), [0.0, 1.0, 2.0])
    for _ in range(99):
        pace.accepted(1.0)
    pace.throttled(1.0, 2.0, 2.0, in_flight=1)
    assert pace.requests_per_second == pytest.approx(400 * 0.99 / 2)


@pytest.mark.parametrize(
    ("accepted", "share", "too_fast"),
    [(999, 1.0, 0.999), (99, 1.0, 0.99), (9, 1.0, 0.9), (9, 0.2, 0.98), (4, 1.0, 0.85)],
)
def test_the_too_fast_rate_is_lowered_by_the_throttled_share(
    accepted: int, share: float, too_fast: float
) -> None:
    """The rate that counts as too fast is lowered by the throttled share, up to 15 %."""
    pace = sent_at(Pace(50), [0.0])
    for _ in range(accepted):
        pace.accepted(0.0)
    pace.throttled(share, 0.0, 0.1, in_flight=1)
    assert pace.requests_per_second == pytest.approx(50 * too_fast / 2)


def test_a_share_needs_the_answers_of_a_tenth_of_a_second() -> None:
    """No cut is made before the answers of a tenth of a second: 100 at 1,000 a second."""
    pace = sent_at(Pace(1000), [0.0])
    for _ in range(98):
        pace.accepted(0.0)
    pace.throttled(1.0, 0.0, 0.1, in_flight=1)
    assert pace.requests_per_second == 1000
    pace.throttled(1.0, 0.0, 0.1, in_flight=1)
    assert pace.requests_per_second == pytest.approx(1000 * 0.98 / 2)


def test_throttling_slows_down_to_ten_a_second_and_no_further() -> None:
    """The rate never falls below 10 a second, so that one early refusal does not stall a stream."""
    pace = sent_at(Pace(), [0.0])
    pace.throttled(1.0, 0.0, 1.0, in_flight=1)
    assert pace.requests_per_second == 10
    for second in range(2, 20):
        pace.sent(second)
        pace.throttled(1.0, second, second + 0.5, in_flight=1)
    assert pace.requests_per_second == 10


def test_an_answer_that_took_long_says_little_of_the_rate() -> None:
    """If nothing went out in the second before an answer, throttling sets the lowest rate."""
    pace = sent_at(Pace(), [0.0] * 100)
    pace.throttled(1.0, 0.0, 5.0, in_flight=1)
    assert pace.requests_per_second == 10


def test_the_rate_that_is_cut_is_that_of_the_moment() -> None:
    """A cut starts from the current rate, which has recovered since the last request."""
    pace = sent_at(cut(100), [0.1, 0.9])
    for _ in range(9):
        pace.accepted(0.9)
    pace.throttled(1.0, 0.9, 1.0, in_flight=1)
    assert pace.requests_per_second == pytest.approx(96 * 0.9 / 2, rel=0.02)


def test_a_set_rate_below_ten_a_second_is_halved_too() -> None:
    """A rate that is set below the lowest rate is halved like any other."""
    pace = sent_at(Pace(4), [0.0])
    pace.throttled(1.0, 0.0, 0.1, in_flight=1)
    assert pace.requests_per_second == 2


def test_the_rate_is_not_cut_again_while_it_recovers() -> None:
    """The rate is not cut again while it recovers and half of the requests are accepted."""
    pace = cut(100)
    for now in (0.2, 0.25, 0.3, 0.35, 0.4):
        pace.accepted(0.1)
        pace.throttled(1.0, 0.1, now, in_flight=1)
    assert rate_at(pace, 0.4) == pytest.approx(90, rel=0.02)
    pace.throttled(1.0, 0.1, 0.4, in_flight=1)
    assert rate_of(pace) < 50
    assert pace.ready_at() == pytest.approx(0.4 + 1 / rate_of(pace))


def test_the_rate_is_cut_again_at_once_where_most_is_throttled() -> None:
    """If most requests are throttled, the rate is cut at once to half of what was let through."""
    # 1,000 a second go out, of which 60 pass.
    pace = sent_at(Pace(), (place / 1000 for place in range(100)))
    pace.throttled(1.0, 0.060, 0.063, in_flight=3)
    assert rate_of(pace) > 400
    for place in range(61, 64):
        pace.throttled(1.0, place / 1000, 0.065, in_flight=3)  # sent before the cut
    for place in range(64, 70):
        pace.throttled(1.0, place / 1000, 0.070, in_flight=3)
    assert pace.requests_per_second == pytest.approx(61 / 2, abs=0.6)


def test_one_throttled_answer_is_not_most_of_them() -> None:
    """A second cut takes at least two throttled answers."""
    pace = cut(100)
    pace.throttled(1.0, 0.1, 0.1, in_flight=1)
    assert rate_at(pace, 0.1) == pytest.approx(60, rel=0.02)
    pace.throttled(1.0, 0.1, 0.1, in_flight=1)
    assert rate_at(pace, 0.1) == pytest.approx(30, rel=0.02)


@pytest.mark.parametrize("in_flight", [1, 4, 32])
def test_answers_that_are_not_there_yet_do_not_count_as_accepted(in_flight: int) -> None:
    """Only requests up to the one that was answered count as let through."""
    # Forty pass at once, and nothing after; answers take as long as `in_flight` requests.
    pace = Pace()
    for place in range(200):
        pace.sent(place / 1000)
        answered = place - in_flight
        if answered >= 40:
            pace.throttled(1.0, answered / 1000, place / 1000, in_flight=in_flight)
        elif answered >= 0:
            pace.accepted(answered / 1000)
        if pace.requests_per_second is not None and pace.requests_per_second < 400:
            break  # the second cut; the first had to assume that all would pass
    assert pace.requests_per_second == pytest.approx(40 / 2, rel=0.05)


def test_what_was_let_through_is_counted_for_a_second() -> None:
    """Requests of more than a second ago do not count as let through."""
    pace = sent_at(Pace(), (place / 100 for place in range(-500, -200)))
    sent_at(pace, (place / 100 for place in range(-9, 1)))
    pace.throttled(1.0, -0.01, 0.0, in_flight=1)
    assert rate_of(pace) > 40
    for now in (0.01, 0.02):
        pace.sent(now)
        pace.throttled(1.0, now, now, in_flight=1)
    assert pace.requests_per_second == 10


def test_what_was_throttled_is_counted_for_a_second() -> None:
    """Throttling of more than a second ago is not subtracted from what was let through."""
    pace = sent_at(Pace(1000), [0.0] * 60)
    for _ in range(60):
        pace.throttled(1.0, 0.0, 0.01, in_flight=60)
    sent_at(pace, (9 + place / 100 for place in range(1, 101)))
    pace.throttled(1.0, 9.99, 10.0, in_flight=1)
    assert rate_of(pace) > 90
    for now in (10.01, 10.02):
        pace.sent(now)
        pace.throttled(1.0, now, now, in_flight=1)
    assert pace.requests_per_second == pytest.approx(98 / 2, rel=0.05)


def test_answers_from_before_a_cut_say_nothing_of_it() -> None:
    """Answers to requests that were sent before a cut do not change the rate."""
    pace = cut(100)
    before = pace.requests_per_second, pace.max_in_flight
    for _ in range(50):
        pace.throttled(1.0, 0.0, 5.0, in_flight=8)
        pace.accepted(0.0)
    assert (pace.requests_per_second, pace.max_in_flight) == before
    # Nor do they count for the next cut.
    pace.sent(1.5)
    for _ in range(9):
        pace.accepted(1.5)
    rate = rate_at(pace, 2.0)
    pace.throttled(1.0, 1.5, 2.0, in_flight=1)
    assert pace.requests_per_second == pytest.approx(rate * 0.9 / 2)


# ---------------------------------------------------------------- recovery


@pytest.mark.parametrize(
    ("now", "share"),
    [
        (0.0, 0.5),
        (0.1, 0.6),
        (0.3, 0.8),
        (0.45, 0.95),  # quickly to just below what was too fast
        (1.45, 0.97),
        (3.45, 1.01),
        (5.45, 1.05),  # slowly past it
    ],
)
def test_the_rate_recovers_in_straight_lines(now: float, share: float) -> None:
    """The rate recovers linearly, whether requests go out all the time or not at all."""
    once, always = cut(1000), cut(1000)
    too_fast = 2 * rate_of(once)
    sent_at(always, (now * place / 100 for place in range(100)))
    assert rate_at(once, now) == pytest.approx(share * too_fast)
    assert rate_at(always, now) == pytest.approx(share * too_fast, rel=0.01)


def test_the_rate_grows_quickly_where_the_quota_must_have_grown() -> None:
    """From 5 % above the too fast rate, a rate that is used grows by half each second."""
    pace = cut(1000)
    reached = 1.05 * 2 * rate_of(pace)
    while pace.ready_at() < 6.45:
        pace.sent(pace.ready_at())
    assert rate_of(pace) == pytest.approx(math.exp(0.5) * reached, rel=0.01)


def test_a_rate_that_nobody_uses_is_not_explored() -> None:
    """A rate that requests do not use up stops at 5 % above the too fast rate."""
    pace = cut(1000)
    reached = 1.05 * 2 * rate_of(pace)
    sent_at(pace, (place / 10 for place in range(300)))
    assert rate_of(pace) == pytest.approx(reached)


@pytest.mark.parametrize(("accepted", "near"), [(99, 0.95), (999, 0.99), (9999, 0.999)])
def test_quick_recovery_ends_by_the_throttled_share(accepted: int, near: float) -> None:
    """Quick recovery ends below the too fast rate, by ten times the throttled share."""
    pace = sent_at(Pace(1000), [0.0])
    for _ in range(accepted):
        pace.accepted(0.0)
    pace.throttled(1.0, 0.0, 0.1, in_flight=1)
    too_fast = 2 * rate_of(pace)
    assert rate_at(pace, 0.1 + near - 0.5) == pytest.approx(near * too_fast)
    assert rate_at(pace, 1.1 + near - 0.5) == pytest.approx(min(1000, (near + 0.02) * too_fast))


def test_times_that_are_out_of_order_take_nothing_away() -> None:
    """Times that are out of order, as from several threads, do not lower the rate."""
    pace = cut(100)
    recovered = rate_at(pace, 0.2)
    assert rate_at(pace, 0.1) == recovered
    assert rate_at(pace, 0.2) == recovered


def test_the_rate_recovers_to_what_is_set_and_no_further() -> None:
    """The rate recovers to the set rate, and never exceeds it."""
    pace = cut(100, limit=100)
    assert rate_at(pace, 0.2) < 100
    for now in (10.0, 59.0, 61.0, 1000.0):
        assert rate_at(pace, now) == 100
    assert pace.is_on


def test_throttling_is_forgotten_after_a_minute_without() -> None:
    """After a minute without throttling, a pace is off until the next throttled answer."""
    pace = cut(100)
    assert rate_at(pace, 60.0) > 100
    pace.sent(60.1)
    assert not pace.is_on
    assert pace.ready_at() == -math.inf
    assert pace.max_in_flight == 1000
    sent_at(pace, (61 + place / 40 for place in range(80)))
    pace.throttled(1.0, 62.9, 63.0, in_flight=1)
    assert pace.requests_per_second == pytest.approx(20, rel=0.05)


# ---------------------------------------------------------------- requests in flight


@pytest.mark.parametrize(
    ("in_flight", "allowed"), [(1, 1), (2, 1), (3, 1), (4, 2), (32, 16), (5000, 500)]
)
def test_throttling_halves_the_requests_in_flight(in_flight: int, allowed: int) -> None:
    """Throttling halves the requests in flight of the throttled call; one is always allowed."""
    pace = sent_at(Pace(), [0.0])
    pace.throttled(1.0, 0.0, 0.1, in_flight=in_flight)
    assert pace.max_in_flight == allowed


def test_one_more_request_in_flight_for_each_round_of_accepted_ones() -> None:
    """The limit grows by one after as many accepted requests as it allows, up to 1,000."""
    pace = sent_at(Pace(), [0.0])
    pace.throttled(1.0, 0.0, 0.1, in_flight=4)
    found = []
    for _ in range(13):
        pace.accepted(0.2)
        found.append(pace.max_in_flight)
    assert found == [2, 2, 3, 3, 3, 4, 4, 4, 4, 4, 5, 5, 5]
    for _ in range(600_000):
        pace.accepted(0.2)
    assert pace.max_in_flight == 1000


# ---------------------------------------------------------------- any sequence of answers


answers = st.one_of(st.just(0.0), st.just(0.0), st.just(0.0), st.floats(0.05, 1.0), st.just(1.0))
pauses = st.one_of(st.floats(0, 0.05), st.floats(0, 3), st.floats(0, 100))


@given(
    rate=st.floats(0.5, 5000),
    steps=st.lists(st.tuples(pauses, answers, st.floats(0, 0.2)), min_size=1, max_size=80),
)
def test_no_window_has_more_requests_than_the_rate_allows(
    rate: float, steps: list[tuple[float, float, float]]
) -> None:
    """No window has more requests than the rate allows, plus one and 20 ms of catching up."""
    pace = Pace(rate)
    now, times = 0.0, []
    for late, throttled, answer_seconds in steps:
        now = max(now, pace.ready_at()) + late
        pace.sent(now)
        times.append(now)
        assert rate_of(pace) <= rate
        if throttled:
            pace.throttled(throttled, now, now + answer_seconds, in_flight=3)
        else:
            pace.accepted(now)
    for first, last in itertools.combinations(range(len(times)), 2):
        seconds = times[last] - times[first]
        assert last - first + 1 <= rate * (seconds + 0.02) * (1 + 1e-9) + 1


@given(
    rate=st.none() | st.floats(0.5, 5000),
    steps=st.lists(st.tuples(pauses, answers, st.floats(0, 3)), min_size=1, max_size=80),
)
def test_nobody_waits_for_long(rate: float | None, steps: list[tuple[float, float, float]]) -> None:
    """Whatever is throttled, no wait is longer than the interval of the lowest rate."""
    pace = Pace(rate)
    longest = 1 / min(10.0, math.inf if rate is None else rate / 2)
    now = 0.0
    for late, throttled, answer_seconds in steps:
        now = max(now, pace.ready_at()) + late
        pace.sent(now)
        assert pace.ready_at() <= now + longest * (1 + 1e-9)
        if throttled:
            now += answer_seconds
            pace.throttled(throttled, now - answer_seconds, now, in_flight=3)
        else:
            pace.accepted(now)
        assert pace.ready_at() <= now + longest * (1 + 1e-9)
        assert 1 <= pace.max_in_flight <= 1000


# ---------------------------------------------------------------- threads and forks


class Interrupted(float):
    """A time whose arithmetic lets other threads run."""

    def __sub__(self, other: float) -> float:
        time.sleep(0.0001)
        return float(self) - other


def test_threads_share_a_pace() -> None:
    """Every request of every thread counts."""
    pace = sent_at(Pace(1000), [0.0])
    start = threading.Barrier(4)

    def send() -> None:
        start.wait()
        for _ in range(50):
            pace.sent(Interrupted(0.0))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pace.ready_at() == pytest.approx(0.201 - 0.02)


FORKING = """
import asyncio, os, sys, threading

from eventbridge_partner import AsyncPartnerEventsClient, Pace, PartnerEvent, PartnerEventsClient
from eventbridge_partner.testing import FakeEventBridge


class Stuck(float):
    def __radd__(self, other):
        inside.set()
        done.wait()
        return other + 1.0


async def on_loop():
    async with AsyncPartnerEventsClient(**settings) as client:
        return await client.put_events(events)


inside, done = threading.Event(), threading.Event()
service = FakeEventBridge()
events = [PartnerEvent("aws.partner/example.com/acme", "test", "{}")]
pace = Pace(1000)
with service.serve() as server:
    settings = dict(region="us-east-1", endpoint_url=server.url, credentials=service.credentials, pace=pace)
    blocking = PartnerEventsClient(**settings) if sys.argv[1] == "blocking" else None
    on_a_loop = None if blocking else AsyncPartnerEventsClient(**settings)
    # A thread of the parent holds the pace's lock while the process forks.
    threading.Thread(target=pace.throttled, args=(Stuck(1.0), 0.0, 0.0), kwargs={"in_flight": 1}).start()
    inside.wait()
    if os.fork() == 0:
        report = blocking.put_events(events) if blocking else asyncio.run(on_a_loop.put_events(events))
        os._exit(0 if len(report.accepted) == 1 else 1)
    _, status = os.wait()
    done.set()
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.parametrize("client", ["blocking", "on a loop"])
def test_a_child_process_can_use_a_pace_that_a_thread_of_its_parent_held(client: str) -> None:
    """The child does not inherit a held lock of the pace."""
    command = [sys.executable, "-W", "ignore", "-c", FORKING, client]
    subprocess.run(command, check=True, timeout=60)


# ---------------------------------------------------------------- deliveries


@attrs.define
class Told:
    """What a delivery tells its pace."""

    accepted: list[float] = attrs.field(factory=list)
    throttled: list[tuple[float, float, float, int]] = attrs.field(factory=list)


class ToldPace(Pace):
    """A pace that records what it is told."""

    def __init__(self, requests_per_second: float | None = None) -> None:
        super().__init__(requests_per_second)
        self.told = Told()

    def accepted(self, sent_at: float) -> None:
        self.told.accepted.append(sent_at)
        super().accepted(sent_at)

    def throttled(self, share: float, sent_at: float, now: float, *, in_flight: int) -> None:
        self.told.throttled.append((share, sent_at, now, in_flight))
        super().throttled(share, sent_at, now, in_flight=in_flight)


def delivery(pace: Pace, count: int, **settings: Any) -> Delivery:
    """Return a delivery of `count` full batches."""
    policy = RetryPolicy(wait=wait_fixed(0.5), throttle_wait=wait_fixed(0.5), tokens=None)
    given = DeliverySettings(**{"retry": policy, "max_in_flight": 8} | settings)
    made = Delivery(given, RetryQuota(None), pace=pace)
    for _ in range(count):
        made.take_all([event()] * 20)
    made.no_more_events()
    return made


def batches(delivering: Delivery, now: float) -> list[Batch]:
    """Return the batches that the delivery sends at this time."""
    found = []
    while isinstance(action := delivering.next_action(now), Send):
        found.append(action.batch)
    assert isinstance(action, Wait) or action is FINISHED
    return found


def results(code: str, failures: int) -> list[ResultEntry]:
    accepted = [ResultEntry("an-id")] * (20 - failures)
    return accepted + [ResultEntry(None, code, "no")] * failures


def wait_of(delivering: Delivery, now: float) -> float | None:
    """Return until when the delivery waits, if nothing is answered before."""
    action = delivering.next_action(now)
    assert isinstance(action, Wait)
    return action.until


def test_a_delivery_waits_for_its_pace() -> None:
    """A delivery sends when its pace allows it, and waits exactly until then."""
    pace = ToldPace(10)
    delivering = delivery(pace, 3)
    now = 7.0
    sent = []
    for _ in range(2):
        sent += batches(delivering, now)
        until = wait_of(delivering, now)
        assert until == pace.ready_at() > now
        assert batches(delivering, until - 0.001) == []
        now = until
    sent += batches(delivering, now)
    assert [batch.sent_at for batch in sent] == pytest.approx([7.0, 7.08, 7.18])
    assert wait_of(delivering, now) is None  # there is nothing more to send
    for batch in sent:
        delivering.accepted(batch, ["an-id"] * 20, now + 1)
    assert pace.told.accepted == [batch.sent_at for batch in sent]
    assert delivering.next_action(now + 1) is FINISHED


def test_a_delivery_takes_events_while_its_pace_lets_it_wait() -> None:
    """While it waits for its pace, a delivery takes events until the next request is full."""
    delivering = Delivery(DeliverySettings(max_in_flight=8), RetryQuota(None), pace=Pace(10))
    for now in (1.0, 1.01):
        assert delivering.next_action(now) == Take(20)
        delivering.take_all([event()] * 20)
        if now == 1.0:
            assert isinstance(delivering.next_action(now), Send)
    assert wait_of(delivering, 1.01) == pytest.approx(1.08)
    assert isinstance(delivering.next_action(1.08), Send)


def test_requests_in_flight_are_those_that_the_pace_allows() -> None:
    """If the pace allows fewer requests in flight than the settings, a delivery awaits answers."""
    pace = Pace()
    delivering = delivery(pace, 40)
    sent = batches(delivering, 0.0)
    assert len(sent) == 8
    delivering.failed(sent.pop(), THROTTLED, 0.01)
    assert pace.max_in_flight == 4
    for batch in sent[:4]:
        assert batches(delivering, 1.0) == []
        assert wait_of(delivering, 1.0) is None
        delivering.accepted(batch, ["an-id"] * 20, 1.0)
    assert len(batches(delivering, 1.0)) == 1


def test_the_settings_bound_requests_in_flight_below_the_pace() -> None:
    """A call never has more requests in flight than its settings allow."""
    delivering = delivery(Pace(1000), 3, max_in_flight=1)
    (batch,) = batches(delivering, 0.0)
    assert batches(delivering, 1.0) == []
    assert wait_of(delivering, 1.0) is None
    delivering.accepted(batch, ["an-id"] * 20, 1.0)
    assert len(batches(delivering, 1.0)) == 1


def to_retry(delivering: Delivery, batch: Batch, now: float) -> None:
    delivering.answered(batch, results("InternalFailure", 5), now)


def to_split(delivering: Delivery, batch: Batch, now: float) -> None:
    delivering.failed(batch, ServiceError("ValidationException", "no", status=400), now)


@pytest.mark.parametrize(("answer", "due"), [(to_retry, 0.6), (to_split, 0.1)])
def test_retries_and_halves_wait_for_the_pace(
    answer: Callable[[Delivery, Batch, float], None], due: float
) -> None:
    """Retries, and the halves of a request that was refused, wait for the pace."""
    delivering = delivery(Pace(1), 1)
    (batch,) = batches(delivering, 0.0)
    answer(delivering, batch, 0.1)
    assert wait_of(delivering, 0.1) == pytest.approx(0.98)
    assert batches(delivering, due) == []
    assert len(batches(delivering, 0.98)) == 1


def test_retries_that_are_due_wait_for_company_and_the_pace() -> None:
    """Retries wait to share a request and for the pace, whichever takes longer."""
    pace = Pace(1)
    delivering = delivery(pace, 2)
    (first,) = batches(delivering, 0.0)
    assert len(batches(delivering, 0.98)) == 1
    to_retry(delivering, first, 1.6)
    assert wait_of(delivering, 2.2) == pytest.approx(2.6)
    pace.sent(2.2)
    assert wait_of(delivering, 2.3) == pytest.approx(3.18)
    assert batches(delivering, 2.7) == []
    assert len(batches(delivering, 3.18)) == 1


def test_events_that_wait_for_others_wait_for_no_pace() -> None:
    """While the input pauses, an incomplete batch does not wait for the pace."""
    delivering = Delivery(DeliverySettings(), RetryQuota(None), pace=Pace(10))
    delivering.take_all([event()] * 5)
    assert delivering.next_action(1.0, input_pauses=True) == Wait(None)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (results("ThrottlingException", 5), 0.25),
        (results("ThrottlingException", 20), 1.0),
        (results("InternalFailure", 5), None),
        (results("", 0), None),
        (THROTTLED, 1.0),
        (ServiceError("InternalFailure", "no", status=500), None),
        (ServiceError("ValidationException", "no", status=400), None),
        (TransportError("no answer", may_have_been_sent=True), "nothing"),
        (CredentialsError("none"), "nothing"),
    ],
    ids=lambda value: value.code if isinstance(value, ServiceError) else None,
)
def test_the_pace_is_told_what_was_throttled(
    answer: list[ResultEntry] | PartnerEventsError, told: float | str | None
) -> None:
    """The pace is told which share of a request was throttled, and nothing without an answer."""
    pace = ToldPace()
    delivering = delivery(pace, 3)
    sent = batches(delivering, 5.0)
    if isinstance(answer, CredentialsError):
        delivering.not_sent(sent[0], answer, 5.5)
    elif isinstance(answer, PartnerEventsError):
        delivering.failed(sent[0], answer, 5.5)
    else:
        delivering.answered(sent[0], answer, 5.5)
    assert pace.told.accepted == ([5.0] if told is None else [])
    is_share = isinstance(told, float)
    assert pace.told.throttled == ([(told, 5.0, 5.5, 3)] if is_share else [])


def test_the_verdict_decides_what_throttling_is() -> None:
    """A code that the policy calls THROTTLED counts as throttling, for entries and for requests."""
    policy = RetryPolicy(verdicts={"SlowItDown": Verdict.THROTTLED})
    pace = ToldPace()
    delivering = delivery(pace, 2, retry=policy)
    first, second = batches(delivering, 0.0)
    delivering.answered(first, results("SlowItDown", 10), 0.1)
    delivering.failed(second, ServiceError("SlowItDown", "no", status=400), 0.2)
    assert [share for share, *_ in pace.told.throttled] == [0.5, 1.0]


def test_late_answers_tell_the_pace_nothing() -> None:
    """The pace is not told of answers that come after the deadline."""
    pace = ToldPace()
    settings = DeliverySettings(max_in_flight=2)
    delivering = Delivery(settings, RetryQuota(None), pace=pace, deadline=1.0)
    delivering.take_all([event()] * 20)
    delivering.no_more_events()
    (batch,) = batches(delivering, 0.0)
    assert delivering.next_action(1.0) is FINISHED
    delivering.accepted(batch, ["an-id"] * 20, 1.1)
    delivering.failed(batch, THROTTLED, 1.1)
    assert pace.told == Told()


# ---------------------------------------------------------------- a quota, simulated


def runs(scene: Scene) -> list[Run]:
    return [simulate(scene, seed) for seed in range(5)]


def mean(values: Iterable[float]) -> float:
    kept = list(values)
    return sum(kept) / len(kept)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scene", "used", "throttled"),
    [
        (Scene(requests=100), 0.91, 0.08),
        (Scene(requests=100, in_flight=32, answer_seconds=0.02), 0.88, 0.36),
        (Scene(requests=100, rate=40), 0.71, 0.0),
        (Scene(requests=1000), 0.98, 0.02),
        (Scene(requests=1000, in_flight=32, answer_seconds=0.02), 0.97, 0.06),
        (Scene(requests=1000, rate=40), 0.95, 0.0),
        (Scene(requests=1000, rate=60), 0.98, 0.03),
        (Scene(requests=1000, rate=40, clients=2), 0.95, 0.0),
        (Scene(requests=1000, clients=2), 0.97, 0.03),
        (
            Scene(requests=20_000, quota=1400, burst=1400, in_flight=64, answer_seconds=0.02),
            0.97,
            0.03,
        ),
    ],
    ids=[
        "2,000 events",
        "2,000 events, 32 in flight",
        "2,000 events at 40 a second",
        "20,000 events",
        "20,000 events, 32 in flight",
        "20,000 events at 40 a second",
        "20,000 events at 60 a second",
        "two clients at 40 a second together",
        "two clients",
        "400,000 events",
    ],
)
def test_a_quota_is_used_and_little_is_throttled(
    scene: Scene, used: float, throttled: float
) -> None:
    """Most of a quota is used, little is throttled, and at most 0.1 % of the events fail."""
    seeds = 1 if scene.requests > 1000 else 5
    found = [simulate(scene, seed) for seed in range(seeds)]
    assert mean(run.used for run in found) >= used
    assert mean(run.throttled_share for run in found) <= throttled
    lost = sum(run.events - run.accepted for run in found)
    assert all(run.events == scene.requests * 20 for run in found)
    assert lost <= (0 if scene.requests == 100 else 0.001 * scene.requests * 20 * seeds)


@pytest.mark.slow
def test_clients_that_share_a_quota_do_better_with_one_pace() -> None:
    """Clients that share a quota are throttled less with one pace than with one each."""
    one, each = (
        mean(run.throttled_share for run in runs(Scene(requests=1000, clients=2, shares=shares)))
        for shares in (True, False)
    )
    assert one < each


# ---------------------------------------------------------------- a constant load


def under(load: Load) -> list[Sent]:
    """Run a load under a pace with each of the five seeds that the documentation names."""
    return [put_under(load, CONTENDERS["`Pace`"], seed) for seed in SEEDS]


@pytest.mark.parametrize(
    ("share", "kept"), [(0.0005, 0.97), (0.001, 0.97), (0.005, 0.95), (0.01, 0.95), (0.04, 0.95)]
)
def test_throttling_at_random_costs_little(share: float, kept: float) -> None:
    """Throttling that does not depend on the rate hardly slows a pace down."""
    unthrottled = put_under(Load(seconds=4), CONTENDERS["`Pace`"]).rate
    for run in under(Load(random_share=share, seconds=40)):
        assert run.rate >= kept * unthrottled


@pytest.mark.parametrize(
    ("load", "throttled"),
    [
        (Load(quota=40), 0.015),
        (Load(quota=40, in_flight=32, answer_seconds=0.02), 0.02),
        (Load(quota=40, quota_later=20), 0.03),
        (Load(quota=40, quota_later=80), 0.02),
        (Load(quota=400, quota_later=200, seconds=60), 0.03),
        (Load(quota=400, quota_later=800, seconds=60), 0.03),
        (Load(quota=40, begin=(0, 30)), 0.03),
        (Load(quota=40, begin=(0, 10), in_flight=32, answer_seconds=0.02), 0.06),
        (Load(quota=100, begin=(0, 10, 20, 30)), 0.05),
    ],
    ids=[
        "fixed", "32 in flight", "falling", "rising", "large, falling", "large, rising",
        "two clients", "two clients, 32 in flight each", "four clients",
    ],
)  # fmt: skip
def test_a_quota_is_followed(load: Load, throttled: float) -> None:
    """At least 90 % of a quota is used, even if it changes, and little is throttled."""
    for run in under(load):
        assert run.used is not None
        assert run.used >= 0.9
        assert run.throttled_share <= throttled


@pytest.mark.parametrize("quota", [40, 100, 400])
@pytest.mark.parametrize("later", [10, 30])
def test_clients_that_share_a_quota_converge(quota: float, later: float) -> None:
    """The slowest client ends with at least 35 % of a quota that clients share."""
    for run in under(Load(quota=quota, begin=(0, later), seconds=120)):
        assert run.least_share >= 0.35


@pytest.mark.parametrize(
    "load",
    [Load(quota=40, seconds=60), Load(random_share=0.01, seconds=30)],
    ids=["quota", "at random"],
)
def test_more_goes_out_than_in_the_adaptive_mode_of_botocore(load: Load) -> None:
    """In the same simulation, a pace sends more than botocore's adaptive mode."""
    ours, theirs = (put_under(load, pace_of) for pace_of in CONTENDERS.values())
    if load.quota is None:
        assert ours.rate > 10 * theirs.rate
    else:
        assert ours.used is not None
        assert theirs.used is not None
        assert ours.used > theirs.used


def test_a_quota_is_kept_where_requests_are_throttled_at_random_too() -> None:
    """A pace keeps to a quota even if a share is also throttled at random."""
    for run in under(Load(random_share=0.04, quota=200, seconds=60)):
        assert run.throttled_share <= 0.15


# ---------------------------------------------------------------- the clients


def test_clients_share_a_pace() -> None:
    """Clients with the same pace share what it learns, and others do not."""
    service = FakeEventBridge()
    pace, of_its_own = Pace(), Pace()
    patient = RetryPolicy(throttle_wait=wait_fixed(0))

    def send(pace: Pace) -> None:
        with PartnerEventsClient(
            "us-east-1",
            credentials=service.credentials,
            transport=service.transport(),
            retry=patient,
            pace=pace,
        ) as client:
            assert len(client.put_events([event()]).accepted) == 1

    service.play(FailRequest("ThrottlingException"))
    send(pace)
    assert pace.is_on
    send(of_its_own)
    assert not of_its_own.is_on
    before = pace.ready_at()
    send(pace)
    assert pace.ready_at() > before


async def put_on_loop(count: int, settings: dict[str, Any]) -> Any:
    async with AsyncPartnerEventsClient(**settings) as client:
        return await client.put_events([event(number) for number in range(count)])


def put_blocking(count: int, settings: dict[str, Any]) -> Any:
    with PartnerEventsClient(**settings) as client:
        return client.put_events([event(number) for number in range(count)])


def put_with_curl(count: int, settings: dict[str, Any]) -> Any:
    return put_blocking(count, settings | {"transport": CurlTransport})


def put_asynchronously(count: int, settings: dict[str, Any]) -> Any:
    return asyncio.run(put_on_loop(count, settings))


PUTS = pytest.mark.parametrize(
    "put", [put_blocking, put_with_curl, put_asynchronously], ids=["requests", "curl", "aiohttp"]
)


@pytest.mark.slow
@PUTS
def test_all_events_arrive_at_a_service_that_throttles(
    put: Callable[[int, dict[str, Any]], Any],
) -> None:
    """Over HTTP, all events arrive at a service with a quota of 100 requests a second."""
    service = FakeEventBridge()
    service.play(LimitRate(100, burst=20))
    policy = RetryPolicy(
        throttle_wait=wait_random(0, 0.3), stop=stop_after_attempt(12), tokens=None
    )
    with service.serve() as server:
        pace = Pace()
        settings = {
            "region": "us-east-1",
            "endpoint_url": server.url,
            "credentials": service.credentials,
            "retry": policy,
            "pace": pace,
        }
        report = put(1000, settings)
    assert len(report.accepted) == 1000
    arrived = sorted(json.loads(entry.detail)["number"] for entry in service.accepted)
    assert arrived == list(range(1000))
    assert pace.is_on
    assert service.request_count < 200


@pytest.mark.slow
@PUTS
def test_nothing_is_throttled_at_a_rate_below_the_quota(
    put: Callable[[int, dict[str, Any]], Any],
) -> None:
    """Over HTTP, each event takes one attempt at a rate below the quota."""
    service = FakeEventBridge()
    service.play(LimitRate(200, burst=20))
    with service.serve() as server:
        settings = {
            "region": "us-east-1",
            "endpoint_url": server.url,
            "credentials": service.credentials,
            "pace": Pace(100),
        }
        report = put(1000, settings)
    assert [outcome.attempts for outcome in report.accepted] == [1] * 1000
    assert service.request_count == 50
    first, last = service.requests[0].time, service.requests[-1].time
    assert last - first > 0.4
