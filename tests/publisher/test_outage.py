"""
What the log tells an operator during an hour's outage, run in seconds.

The package's clock keeps running, and jumps ahead between two calls.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import pytest
from tenacity import stop_after_attempt, wait_none

from eventbridge_partner import (
    AsyncEventPublisher,
    AsyncPartnerEventsClient,
    EventPublisher,
    PartnerEvent,
    PartnerEventsClient,
    RetryPolicy,
    _clock,
)
from eventbridge_partner.line import _undelivered
from eventbridge_partner.testing import FailRequest, FakeEventBridge
from tests.strategies import SOURCE

AT_ONCE = RetryPolicy(wait=wait_none(), throttle_wait=wait_none(), stop=stop_after_attempt(2))
CANARY = "s3cr3t-canary"
EVENTS = [PartnerEvent(SOURCE, "t", {"c": CANARY})] * 5
STEP = 10.0
STEPS = 360
LINE = re.compile(r"(\d+) events of (.+) were not accepted: Exhausted, (\w+); (.+)")
TOTAL = re.compile(r"in all, (\d+) events of (.+) were not accepted: (.+)")

ADVICE = {
    "TransportError": (
        "the service was not reached: check network, proxy and endpoint, then send them again"
    ),
    "ThrottlingException": "send them again later; a Pace or a higher quota helps",
    "InternalFailure": "the service fails: send them again later",
}


class Clock:
    """The monotonic clock, with jumps made by a test."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return _clock.monotonic() + self.ahead


class Journal(logging.Handler):
    """Keeps each line with its time on the test's clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.lines: list[tuple[float, logging.LogRecord]] = []
        self._clock = clock

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append((self._clock(), record))

    def of(self, level: int) -> list[tuple[float, str]]:
        """Return the lines of a level, each with its time."""
        return [(at, one.getMessage()) for at, one in self.lines if one.levelno == level]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for name, module in [*sys.modules.items()]:
        found = vars(module).get("monotonic")
        is_ours = name.startswith("eventbridge_partner.") and module is not _clock
        if is_ours and found is _clock.monotonic:
            monkeypatch.setattr(module, "monotonic", clock)
    return clock


@pytest.fixture
def journal(clock: Clock) -> Iterator[Journal]:
    journal = Journal(clock)
    logger = logging.getLogger("eventbridge_partner")
    level = logger.level
    logger.addHandler(journal)
    logger.setLevel(logging.INFO)
    yield journal
    logger.removeHandler(journal)
    logger.setLevel(level)


class Outage:
    """A service that cannot be reached, then throttles, then fails: twenty minutes each."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.service = FakeEventBridge()
        self.url = f"http://127.0.0.1:{self._port}"

    def __iter__(self) -> Iterator[None]:
        with ExitStack() as server:
            for step in range(STEPS):
                if step == STEPS // 3:
                    server.enter_context(self.service.serve(port=self._port))
                    self.service.play(FailRequest("ThrottlingException", 400, times=None))
                elif step == 2 * STEPS // 3:
                    self.service.clear_faults()
                    self.service.play(FailRequest("InternalFailure", 500, times=None))
                yield
                self._clock.ahead += STEP

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a client."""
        return {
            "region": self.service.region,
            "endpoint_url": self.url,
            "credentials": self.service.credentials,
            "retry": AT_ONCE,
        }


def publish(outage: Outage) -> None:
    with (
        PartnerEventsClient(**outage.settings) as client,
        EventPublisher(client, linger=0) as publisher,
    ):
        for _ in outage:
            publisher.publish_many(EVENTS)
            publisher.flush()


def publish_on_a_loop(outage: Outage) -> None:
    async def run() -> None:
        async with (
            AsyncPartnerEventsClient(**outage.settings) as client,
            AsyncEventPublisher(client, linger=0) as publisher,
        ):
            for _ in outage:
                await publisher.publish_many(EVENTS)
                await publisher.flush()

    asyncio.run(run())


def call(outage: Outage) -> None:
    with PartnerEventsClient(**outage.settings) as client:
        for _ in outage:
            client.put_events(EVENTS)
    _undelivered.sum_up()


def call_on_a_loop(outage: Outage) -> None:
    async def run() -> None:
        async with AsyncPartnerEventsClient(**outage.settings) as client:
            for _ in outage:
                await client.put_events(EVENTS)

    asyncio.run(run())
    _undelivered.sum_up()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("send", "owner"),
    [
        (publish, "a publisher"),
        (publish_on_a_loop, "a publisher"),
        (call, "direct calls"),
        (call_on_a_loop, "direct calls"),
    ],
)
def test_an_hour_without_the_service(
    clock: Clock, journal: Journal, send: Callable[[Outage], None], owner: str
) -> None:
    """Each code has a line a minute: how many events, why, and what to do; a sum ends the log."""
    send(Outage(clock))

    *lines, (_, total) = journal.of(logging.WARNING)
    said_at: dict[str, list[float]] = {}
    counts: Counter[str] = Counter()
    for at, line in lines:
        match = LINE.fullmatch(line)
        assert match is not None, line
        number, of, code, advice = match.groups()
        assert (of, advice) == (owner, ADVICE[code])
        said_at.setdefault(code, []).append(at)
        counts[code] += int(number)

    each = len(EVENTS) * STEPS // 3
    assert counts == dict.fromkeys(ADVICE, each)
    for times in said_at.values():
        assert 19 <= len(times) <= 22
        # The last line of a code comes with the sum, whenever that is.
        assert all(later - before >= 60 for before, later in pairwise(times[:-1]))
    match = TOTAL.fullmatch(total)
    assert match is not None, total
    assert match.groups() == (
        str(3 * each),
        owner,
        ", ".join(f"{each} {code}" for code in ADVICE),
    )
    assert CANARY not in repr([one.getMessage() for _, one in journal.lines])
