"""
50,000 events published by eight callers, through a real HTTP service under every fault at once.

While they publish, others flush, count and close. `STORM_SEED` sets another seed.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from eventbridge_partner import (
    AsyncEventPublisher,
    AsyncPartnerEventsClient,
    EventPublisher,
    Pace,
    PartnerEvent,
    PartnerEventsClient,
    PublisherClosedError,
    PublisherStats,
    Receipt,
    Timeouts,
)
from eventbridge_partner.testing import FakeEventBridge, LocalServer
from eventbridge_partner.transports.curl import CurlTransport
from tests.patience import SOON, until
from tests.storm import PATIENT, READ_TIMEOUT, check_ledger, storm_events, storm_faults

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("STORM_SEED", "20261123"))
EVENTS = int(os.environ.get("STORM_EVENTS", "50000"))
CALLERS = 8
SOME = 500
"""When this many have been accepted, the publisher is closed in the middle of the storm."""

Events = list[PartnerEvent]


@pytest.fixture
def service() -> FakeEventBridge:
    service = FakeEventBridge(seed=SEED)
    service.play(*storm_faults())
    return service


@pytest.fixture
def server(service: FakeEventBridge) -> Iterator[LocalServer]:
    with service.serve() as server:
        yield server


class Undaunted(Pace):
    """
    Ignores throttling and keeps to no rate.

    This service throttles at random, however slowly it is asked; a pace that adapted to it would
    slow to a crawl.
    """

    def throttled(self, share: float, sent_at: float, now: float, *, in_flight: int) -> None:
        pass


def settings(service: FakeEventBridge, server: LocalServer) -> dict[str, Any]:
    return {
        "region": service.region,
        "endpoint_url": server.url,
        "credentials": service.credentials,
        "retry": PATIENT,
        "timeout": Timeouts(connect=5, read=READ_TIMEOUT),
        "pace": Undaunted(),
    }


def check_balance(stats: PublisherStats) -> None:
    held = stats.buffered + stats.in_flight
    decided = stats.accepted + stats.rejected + stats.exhausted + stats.unconfirmed
    assert stats.published == decided + stats.dropped + held
    assert min(stats.buffered, stats.in_flight, stats.buffered_bytes) >= 0
    assert bool(held) == bool(stats.buffered_bytes)


def check_end(
    service: FakeEventBridge,
    receipts: Sequence[Receipt],
    stats: PublisherStats,
    *,
    was_cut_off: bool,
) -> None:
    """Check receipts, stats and the service's own record against each other."""
    outcomes = [receipt.outcome for receipt in receipts]
    found = [outcome for outcome in outcomes if outcome is not None]
    assert len(found) == len(receipts), "receipts were left open"
    check_balance(stats)
    assert stats.buffered == stats.in_flight == 0
    events = [receipt.event for receipt in receipts]
    counts = check_ledger(service, events, found, was_cut_off=was_cut_off)
    assert stats.published == len(receipts)
    assert stats.accepted == counts["Accepted"] > 0
    assert stats.rejected == counts["Rejected"]
    assert stats.exhausted + stats.dropped == counts["Exhausted"]
    assert stats.unconfirmed == counts["Unconfirmed"]


class Storm:
    """Callers, a flusher and a counter on one publisher, in threads."""

    def __init__(self, publisher: EventPublisher, events: Events, seed: int) -> None:
        self._publisher = publisher
        self._events = events
        self._seed = seed
        self._is_over = threading.Event()
        self._errors: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self.receipts: list[Receipt] = []
        self.called_back: list[Receipt] = []
        self.refused = 0

    def begin(self) -> None:
        callers = [(self._publish, (caller,)) for caller in range(CALLERS)]
        for target, arguments in [*callers, (self._flush, ()), (self._count, ())]:
            thread = threading.Thread(target=self._guarded, args=(target, arguments))
            self._threads.append(thread)
            thread.start()

    def _guarded(self, target: Any, arguments: Any) -> None:
        try:
            target(*arguments)
        except BaseException as error:  # noqa: BLE001  # checked in the test's own thread
            self._errors.append(error)

    def _publish(self, caller: int) -> None:
        dice = random.Random(self._seed + caller)
        mine = self._events[caller::CALLERS]
        start = 0
        try:
            while start < len(mine):
                some = mine[start : start + dice.choice([1, 1, 1, 7, 40])]
                start += len(some)
                if len(some) > 1:
                    self.receipts += self._publisher.publish_many(some, timeout=SOON)
                else:
                    receipt = self._publisher.publish(some[0], timeout=SOON)
                    self.receipts.append(receipt)
                    if dice.random() < 0.1:
                        receipt.add_done_callback(self.called_back.append)
        except PublisherClosedError:
            self.refused += 1

    def _flush(self) -> None:
        dice = random.Random(self._seed)
        while not self._is_over.wait(dice.random() / 10):
            timeout = dice.choice([0.0, 0.01, SOON])
            report = self._publisher.flush(timeout)
            assert timeout < SOON or not report.left

    def _count(self) -> None:
        while not self._is_over.wait(0.005):
            check_balance(self._publisher.stats())

    def end(self) -> None:
        for thread in self._threads[:CALLERS]:
            thread.join(SOON)
        self._is_over.set()
        for thread in self._threads:
            thread.join(SOON)
            assert not thread.is_alive()
        assert not self._errors, self._errors


@pytest.mark.parametrize(
    ("transport", "on_full", "is_cut_off"),
    [(None, "block", False), (CurlTransport, "drop_oldest", False), (CurlTransport, "block", True)],
    ids=["requests", "curl, dropping", "curl, cut off"],
)
def test_threads_in_a_storm(
    service: FakeEventBridge,
    server: LocalServer,
    transport: Any,
    on_full: Any,
    is_cut_off: bool,
) -> None:
    """Every receipt has a true outcome, and the stats balance at every moment."""
    share = EVENTS if transport is None else EVENTS // 2
    events = storm_events(share, SEED)
    with PartnerEventsClient(**settings(service, server), transport=transport) as client:
        publisher = EventPublisher(client, linger=0.01, max_buffered_events=3000, on_full=on_full)
        storm = Storm(publisher, events, SEED)
        storm.begin()
        if is_cut_off:
            until(lambda: publisher.stats().accepted >= SOME)
            started = time.monotonic()
            publisher.close(0.05)
            assert time.monotonic() - started < SOON / 2
            storm.end()
            assert storm.refused
        else:
            storm.end()
            publisher.close(SOON)
    server.close()  # so that the service has noticed which slow answers nobody waited for

    check_end(service, storm.receipts, publisher.stats(), was_cut_off=is_cut_off)
    if not is_cut_off:
        assert len(storm.receipts) == len(events)
        assert all(receipt.done() for receipt in storm.called_back)


@pytest.mark.parametrize("is_cut_off", [False, True], ids=["to the end", "cut off"])
def test_tasks_in_a_storm(service: FakeEventBridge, server: LocalServer, is_cut_off: bool) -> None:
    """The same holds on a loop, where tasks are cancelled in the middle of the storm."""
    events = storm_events(EVENTS // 2, SEED + 1)
    receipts: list[Receipt] = []
    ends: list[PublisherStats] = []

    async def main() -> None:
        async with AsyncPartnerEventsClient(**settings(service, server)) as client:
            publisher = AsyncEventPublisher(
                client, linger=0.01, max_buffered_events=3000, block_timeout=SOON
            )
            dice = random.Random(SEED)

            async def publish(caller: int) -> None:
                for event in events[caller::CALLERS]:
                    receipts.append(await publisher.publish(event))
                    if dice.random() < 0.01:
                        await asyncio.sleep(0)

            async def disturb() -> None:
                while True:
                    check_balance(publisher.stats())
                    await publisher.flush(dice.choice([0.0, 0.01]))
                    waiting = asyncio.create_task(_await_all(receipts[-3:]))
                    await asyncio.sleep(dice.random() / 50)
                    waiting.cancel()

            async def _await_all(some: Sequence[Receipt]) -> None:
                for receipt in some:
                    await receipt

            callers = [asyncio.create_task(publish(caller)) for caller in range(CALLERS)]
            disturbing = asyncio.create_task(disturb())
            if is_cut_off:
                while publisher.stats().accepted < SOME:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                closing = asyncio.create_task(publisher.close(SOON))
                await asyncio.sleep(0.05)
                closing.cancel()
                done, _ = await asyncio.wait(callers)
                ended = {type(caller.exception()) for caller in done}
                assert PublisherClosedError in ended
            else:
                await asyncio.sleep(0.3)
                callers[0].cancel()  # in the middle of a publish, or between two
                await asyncio.wait(callers)
                assert [caller.exception() for caller in callers[1:]] == [None] * (CALLERS - 1)
                await publisher.close(SOON)
            ends.append(publisher.stats())
            disturbing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await disturbing

    asyncio.run(main())
    server.close()
    check_end(service, receipts, ends[0], was_cut_off=is_cut_off)
