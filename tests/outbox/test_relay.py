"""The relay with real parts: an outbox in SQLite, a client, and the local service."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import sqlite3
import threading
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import pytest

from eventbridge_partner import (
    OutboxSchemaError,
    OutboxUnavailableError,
    PartnerEventsClient,
    RegionRouter,
    RetryPolicy,
    SourceGuard,
)
from eventbridge_partner.outbox import Relay, SqliteOutbox
from eventbridge_partner.outbox.contract import event
from eventbridge_partner.testing import FailEntries, FailRequest, FakeEventBridge, LoseAnswer
from tests.patience import SOON, until

ACCOUNT = "123456789012"
ONCE = RetryPolicy().with_max_attempts(1)


@pytest.fixture
def service():
    return FakeEventBridge()


@pytest.fixture
def client(service):
    with PartnerEventsClient(
        service.region, credentials=service.credentials, transport=service.transport(), retry=ONCE
    ) as client:
        yield client


@pytest.fixture
def outbox(tmp_path):
    with SqliteOutbox(tmp_path / "shop.db") as outbox:
        outbox.create()
        yield outbox


def put(outbox, *events):
    with contextlib.closing(sqlite3.connect(outbox._path)) as connection, connection:
        outbox.add(connection, *events)


def sql(outbox, statement):
    with contextlib.closing(sqlite3.connect(outbox._path)) as connection, connection:
        return connection.execute(statement).fetchall()


def numbers(service):
    return Counter(json.loads(one.detail)["number"] for one in service.accepted)


class running:
    """Runs a relay in a thread; the end of the block stops it."""

    def __init__(self, relay):
        self.relay, self.reports = relay, []
        self.thread = threading.Thread(target=lambda: self.reports.append(relay.run()))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.relay.stop()
        self.thread.join(SOON)
        assert not self.thread.is_alive()


# ---------------------------------------------------------------- delivery


def test_drain(outbox, client, service):
    """Every event is sent once, and no row is left."""
    put(outbox, *(event(number, f"c{number % 7}") for number in range(1000)))
    report = Relay(outbox, client).drain()
    assert (report.accepted, report.dead, report.later, report.lost) == (1000, 0, 0, 0)
    assert report.outage is None
    assert numbers(service) == Counter(range(1000))
    assert outbox.stats().waiting == 0


def test_each_entry_has_its_own_fate(outbox, client, service):
    """Of one request, some entries are gone, some are dead letters and some stay."""
    put(outbox, *map(event, range(20)))
    busy = event(7).detail
    service.play(
        FailEntries("MalformedDetail", indexes=[3, 4]),
        FailEntries("ThrottlingException", matching=lambda one: one["Detail"] == busy, times=None),
    )
    relay = Relay(outbox, client, backoff=lambda _: 0.0)
    report = relay.drain(events=20)
    assert (report.accepted, report.dead, report.later) == (17, 2, 1)
    assert [one.code for one in outbox.dead_letters()] == ["MalformedDetail"] * 2
    service.clear_faults()
    assert relay.drain().accepted == 1
    outbox.redrive(code="MalformedDetail")
    relay.drain()
    assert numbers(service) == Counter(range(20))


def test_lost_answers(outbox, client, service):
    """Events that may have arrived are marked and sent again, and none is lost."""
    put(outbox, *(event(number, f"c{number % 3}") for number in range(40)))
    service.play(LoseAnswer(times=1))
    relay = Relay(outbox, client, workers=1, claim_events=40, backoff=lambda _: 0.05)
    report = relay.drain(events=40)
    assert (report.accepted, report.later) == (20, 20)
    time.sleep(0.06)
    assert {row for (row,) in sql(outbox, "SELECT maybe_sent FROM eventbridge_outbox")} == {1}
    assert relay.drain().accepted == 20
    assert sorted(numbers(service)) == list(range(40))
    assert sum(numbers(service).values()) == 60


def test_a_row_that_was_changed_by_hand(outbox, client, service):
    """The row becomes a dead letter alone, and its neighbours are sent."""
    put(outbox, *map(event, range(5)))
    sql(outbox, "UPDATE eventbridge_outbox SET detail = 'canary' WHERE id = 3")
    assert Relay(outbox, client).drain().accepted == 4
    (dead,) = outbox.dead_letters()
    assert dead.code == "InvalidEvent"
    assert "canary" not in dead.message


class ByRegion:
    """A transport to several services: the host says which."""

    def __init__(self, *services):
        self._transports = {one.region: one.transport() for one in services}

    def send(self, request, timeouts):
        _, region, *_ = urlsplit(request.url).hostname.split(".")
        return self._transports[region].send(request, timeouts)

    def close(self):
        pass


def test_several_regions(outbox):
    """A router's events go to their Regions, and one without a Region becomes a dead letter."""
    east, west = FakeEventBridge("us-east-1"), FakeEventBridge("us-west-2")
    regions = {event(1, "east").source: east.region, event(2, "west").source: west.region}
    put(outbox, event(1, "east"), event(2, "west"), event(3, "nowhere"))
    with PartnerEventsClient(
        east.region, credentials=east.credentials, transport=ByRegion(east, west)
    ) as client:
        report = Relay(outbox, RegionRouter(client, regions)).drain()
    assert (report.accepted, report.dead) == (2, 1)
    assert (numbers(east), numbers(west)) == ({1: 1}, {2: 1})
    assert next(outbox.dead_letters()).code == "UnknownRegion"


def test_a_look_up_that_raises_for_one_source(outbox, service, client):
    """Neighbours of the source are delayed, but still delivered."""
    regions = {event(0, f"c{number}").source: service.region for number in range(9)}
    put(outbox, event(0, "unknown"), *(event(n, f"c{n % 9}") for n in range(1, 91)))
    router = RegionRouter(client, regions.__getitem__)
    waits = iter([1000.0, *[0.0] * 1000])
    relay = Relay(outbox, router, workers=1, backoff=lambda _: next(waits))
    assert relay.drain().outage == "KeyError"
    assert Relay(outbox, router).drain().accepted == 90


# ---------------------------------------------------------------- outages


def test_a_refused_key(outbox, client, service):
    """A refused key makes no dead letters: the claim is put back, and sent once the key works."""
    put(outbox, *(event(number, f"c{number % 50}") for number in range(2000)))
    service.play(FailRequest("UnrecognizedClientException", 403, times=None))
    relay = Relay(outbox, client)
    report = relay.drain()
    assert report.outage == "UnrecognizedClientException"
    assert report.later <= 2 * 400
    stats = outbox.stats()
    assert (stats.dead, stats.waiting, stats.due) == (0, 2000, 2000)
    assert sql(outbox, "SELECT max(tries), max(claims) FROM eventbridge_outbox") == [(0, 0)]
    service.clear_faults()
    assert Relay(outbox, client).drain().accepted == 2000


@pytest.mark.slow
def test_an_outage_is_logged_once(outbox, client, service, caplog):
    """However many claims fail, the log has one error, and the relay continues by itself."""
    put(outbox, *(event(number, f"c{number % 5}") for number in range(100)))
    service.play(FailRequest("ServiceUnavailable", 503, times=2))
    with running(Relay(outbox, client, workers=1, claim_events=20)):
        until(lambda: outbox.stats().waiting == 0)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert numbers(service) == Counter(range(100))


def test_no_credentials(outbox, service, tmp_path):
    """A client without credentials is an outage."""
    put(outbox, event(1))
    with PartnerEventsClient(service.region, transport=service.transport()) as nobody:
        report = Relay(outbox, nobody).drain()
    assert (report.outage, report.later, report.dead) == ("CredentialsError", 1, 0)


@pytest.mark.slow
def test_the_database_is_away(outbox, client, service, caplog):
    """A running relay waits for its database, and a drain raises."""
    put(outbox, event(1))

    class Flaky(SqliteOutbox):
        fails = 1

        def claim(self, **limits):
            if self.fails:
                self.fails -= 1
                raise OutboxUnavailableError("canary is no secret here")
            return super().claim(**limits)

    flaky = Flaky(outbox._path)
    with pytest.raises(OutboxUnavailableError):
        Relay(flaky, client).drain()
    flaky.fails = 1
    with running(Relay(flaky, client, workers=1)):
        until(lambda: service.accepted)
    assert "the outbox cannot be used" in caplog.text


def test_a_line_is_logged_once_a_minute(outbox, client, service, caplog, monkeypatch):
    """What happens several times a minute is logged once."""
    now = time.monotonic()
    monkeypatch.setattr("eventbridge_partner.outbox._relay.monotonic", lambda: now)
    service.play(FailEntries("MalformedDetail", times=None))
    relay = Relay(outbox, client, workers=1, claim_events=1)
    for lines in (1, 2):
        put(outbox, *map(event, range(3)))
        assert relay.drain().dead == 3
        assert caplog.text.count("1 event is a dead letter now (MalformedDetail)") == lines
        now += 61


def test_no_tables(tmp_path, client):
    """A drain of a database without an outbox names the command that creates one."""
    with pytest.raises(OutboxSchemaError, match="outbox create"):
        Relay(SqliteOutbox(tmp_path / "none.db"), client).drain()


# ---------------------------------------------------------------- PENDING sources


def test_a_pending_source(outbox, client, service):
    """Its events wait and cost one row for each hold, and all arrive once it is ACTIVE."""
    pending, active = event(0, "pending").source, event(0, "active").source
    for source in (pending, active):
        client.sources.create(source, account=ACCOUNT)
    service.sources.associate(active, ACCOUNT)
    put(outbox, *(event(number, "pending") for number in range(500)))
    put(outbox, *(event(number, "active") for number in range(500, 510)))
    guard = SourceGuard(client, ttl=0.01, pending_ttl=0.01)
    relay = Relay(outbox, guard, pending_wait=1000.0)
    first = relay.drain()
    assert (first.accepted, first.dead) == (10, 0)
    for _ in range(3):
        sql(outbox, "UPDATE eventbridge_outbox_hold SET until = 0")
        assert relay.drain().later == 1
    assert outbox.stats().held == 1
    service.sources.associate(pending, ACCOUNT)
    sql(outbox, "UPDATE eventbridge_outbox_hold SET until = 0")
    time.sleep(0.02)
    assert relay.drain().accepted == 500
    assert numbers(service) == Counter(range(510))
    assert outbox.stats().held == 0


# ---------------------------------------------------------------- running and ending


def test_run_until_stopped(outbox, client, service):
    """A running relay sends events as they come, and ends when it is stopped."""
    with running(Relay(outbox, client, poll=0.01)) as relay:
        for number in range(5):
            put(outbox, event(number))
            until(lambda: number in numbers(service))  # noqa: B023
        assert relay.relay.is_alive
        until(lambda: relay.relay.report.accepted == 5)
    assert relay.reports[0].accepted == 5
    assert not relay.relay.is_alive


def test_stop_wakes_a_waiting_relay(outbox, client):
    """A stop ends the wait for the next poll."""
    relay = Relay(outbox, client, poll=1000.0)
    with running(relay):
        until(lambda: len(outbox._bell._waiting) == 2)
        assert relay.is_alive
        began = time.monotonic()
    assert time.monotonic() - began < 10


def test_stop_before_run(outbox, client):
    """A relay that was stopped before it runs claims nothing."""
    put(outbox, event(1))
    relay = Relay(outbox, client)
    relay.stop()
    assert relay.run().claims == 0
    assert outbox.stats().due == 1


@pytest.mark.slow
@pytest.mark.process
def test_a_signal_that_interrupts_no_wait(outbox, client):
    """A signal that does not interrupt the main thread's wait is seen all the same."""
    put(outbox, event(1))

    class Signalled:
        def put_events(self, events, *, deadline=None):
            # Handled on this thread, the signal leaves the main thread waiting.
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            return client.put_events(events, deadline=deadline)

    relay = Relay(outbox, Signalled(), workers=1)
    late = threading.Timer(20, relay.stop)
    late.start()
    with pytest.raises(KeyboardInterrupt):
        relay.run()
    assert late.is_alive()
    late.cancel()
    late.join()
    assert outbox.stats().waiting == 0


@pytest.mark.process
def test_a_signal_in_the_middle(outbox, client, service):
    """A signal handler's exception passes through after claims in flight are settled."""
    put(outbox, *map(event, range(200)))
    release = threading.Event()

    class Slow:
        def put_events(self, events, *, deadline=None):
            started.set()
            release.wait(10)
            return client.put_events(events, deadline=deadline)

    started = threading.Event()

    def interrupt():
        started.wait(10)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        release.set()

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        Relay(outbox, Slow(), workers=2, claim_events=20).run()
    stats = outbox.stats()
    assert stats.leased == 0
    assert stats.waiting == 200 - len(service.accepted)


def test_a_worker_that_hangs(outbox, client, monkeypatch):
    """A relay with a worker stuck in a step is not alive."""
    now = time.monotonic()
    monkeypatch.setattr("eventbridge_partner.outbox._relay.monotonic", lambda: now)
    entered, leave = threading.Event(), threading.Event()

    class Hanging:
        def put_events(self, events, *, deadline=None):
            entered.set()
            leave.wait(SOON)
            return client.put_events(events, deadline=deadline)

    put(outbox, event(1))
    with running(Relay(outbox, Hanging(), workers=1, lease=5.0)) as relay:
        assert entered.wait(SOON)
        assert relay.relay.is_alive
        now += 60
        assert not relay.relay.is_alive
        leave.set()


def test_a_worker_that_rests(outbox, client, monkeypatch):
    """A relay whose worker waits for events is alive, however long it waits."""
    now = time.monotonic()
    monkeypatch.setattr("eventbridge_partner.outbox._relay.monotonic", lambda: now)
    rests = threading.Event()

    class Resting(SqliteOutbox):
        def wait(self, seconds):
            rests.set()
            super().wait(seconds)

    relay = Relay(Resting(outbox._path), client, workers=1, lease=5.0, poll=1000.0)
    with running(relay):
        assert rests.wait(SOON)
        now += 500
        assert relay.is_alive


def test_drain_in_time(outbox, client):
    """A drain with a time limit ends in time, and settles what is in flight."""
    put(outbox, *map(event, range(4000)))
    report = Relay(outbox, client, claim_events=20).drain(seconds=0.05)
    assert report.claims
    stats = outbox.stats()
    assert stats.leased == 0
    assert stats.waiting == 4000 - report.accepted


@pytest.mark.slow
def test_a_worker_continues_after_any_exception(outbox, client, service, caplog):
    """An unknown exception of the outbox is logged, and the relay continues."""
    put(outbox, event(1))

    class Strange(SqliteOutbox):
        fails = 1

        def claim(self, **limits):
            if self.fails:
                self.fails = 0
                raise ZeroDivisionError("canary")
            return super().claim(**limits)

    with running(Relay(Strange(outbox._path), client, workers=1)):
        until(lambda: service.accepted)
    assert "ZeroDivisionError" in caplog.text
    assert "canary" not in caplog.text


# ---------------------------------------------------------------- observations and logs


def test_the_observer(outbox, client):
    """The observer is told of each claim."""
    put(outbox, *map(event, range(30)))
    told: list[Any] = []
    Relay(outbox, client, claim_events=20, workers=1, observe=told.append).drain()
    assert [(one.claimed, one.gone) for one in told] == [(20, 20), (10, 10)]
    assert told[0].started <= time.time()
    assert told[0].seconds >= 0


def test_an_observer_that_raises(outbox, client, caplog):
    """The exception is logged by its type, and the relay continues."""
    put(outbox, *map(event, range(30)))

    def observe(_):
        raise KeyError("canary")

    assert Relay(outbox, client, claim_events=20, observe=observe).drain().accepted == 30
    assert "observe raised KeyError" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.parametrize("is_routed", [False, True], ids=["client", "router"])
def test_the_log_says_that_the_relay_retries(outbox, client, service, caplog, is_routed):
    """Its advice on failed events never asks to send them: the outbox has them."""
    put(outbox, *map(event, range(3)))
    service.play(
        FailEntries("ThrottlingException", indexes=[0]), FailEntries("MalformedDetail", indexes=[0])
    )
    sender = RegionRouter(client, lambda _: service.region) if is_routed else client
    Relay(outbox, sender, backoff=lambda _: 0.0).drain()
    said = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert said == [
        (
            "1 event of a relay was not accepted: Exhausted, ThrottlingException; "
            "the relay retries them"
        ),
        (
            "1 event of a relay was not accepted: Rejected, MalformedDetail; "
            "`eventbridge-partner outbox dead list` shows those that become dead letters"
        ),
    ]


def test_no_payload_in_logs(outbox, client, service, caplog):
    """No log line and no repr shows a payload, whatever happens to the event."""
    caplog.set_level(logging.DEBUG)
    put(outbox, *(event(number, padding=10) for number in range(40)))
    sql(outbox, "UPDATE eventbridge_outbox SET detail = replace(detail, 'xxxx', 'canary')")
    service.play(FailEntries("MalformedDetail", indexes=[1]), LoseAnswer(times=2))
    relay = Relay(outbox, client, backoff=lambda _: 0.0)
    report = relay.drain()
    claim = outbox.claim(events=5, max_bytes=2**20, lease=5)
    shown = caplog.text + repr((relay, report, claim, list(outbox.dead_letters())))
    assert "canary" not in shown
    assert outbox.stats().dead == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"workers": 0}, {"claim_events": 0}, {"claim_bytes": 0}, {"lease": 0.5}, {"poll": 0},
        {"lease": float("nan")}, {"pending_wait": -1}, {"max_age": 0}, {"poll": float("nan")},
    ],
)  # fmt: skip
def test_settings(outbox, client, wrong):
    """An invalid number is refused by its name."""
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is"):
        Relay(outbox, client, **wrong)


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"events": 0}])
def test_drain_settings(outbox, client, wrong):
    """An invalid limit of a drain is refused."""
    with pytest.raises(ValueError, match="allowed: a number above 0"):
        Relay(outbox, client).drain(**wrong)
