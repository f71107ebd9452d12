"""The relay on PostgreSQL, with a backlog: a refused key, and a customer PENDING for a day."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest

from eventbridge_partner import PartnerEventsClient, RetryPolicy, SourceGuard
from eventbridge_partner.outbox import PostgresOutbox, Relay
from eventbridge_partner.testing import FailRequest, FakeEventBridge
from tests.patience import SOON, until

pytestmark = [pytest.mark.process, pytest.mark.slow]  # the tests start PostgreSQL

ACCOUNT = "123456789012"
PENDING = "aws.partner/example.com.test/customer-0"


@pytest.fixture
def service():
    return FakeEventBridge(keep=10)


@pytest.fixture
def client(service):
    retry = RetryPolicy().with_max_attempts(1)
    with PartnerEventsClient(
        service.region, credentials=service.credentials, transport=service.transport(), retry=retry
    ) as client:
        yield client


@pytest.fixture
def outbox(dsn):
    with PostgresOutbox(dsn) as outbox:
        outbox.create()
        yield outbox


def sql(dsn, statement):
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def fill(dsn, rows, sources):
    sql(
        dsn,
        "INSERT INTO eventbridge_outbox (source, detail_type, detail, size) "
        f"SELECT 'aws.partner/example.com.test/customer-' || (n % {sources}), 't', "
        f"'{{\"n\": ' || n || '}}', 60 FROM generate_series(1, {rows}) n",
    )


def test_a_refused_key_under_a_backlog(outbox, client, service, dsn, caplog):
    """Each worker's claims shrink to one request after the first, and all events arrive."""
    fill(dsn, 20_000, 100)
    service.play(FailRequest("UnrecognizedClientException", 403, times=None))
    relay = Relay(outbox, client)
    thread = threading.Thread(target=relay.run)
    thread.start()
    try:
        until(lambda: relay.report.claims >= 4)
        refused = relay.report
        assert refused.later <= 2 * 400 + (refused.claims - 2) * 20
        assert (refused.dead, refused.accepted) == (0, 0)
        assert sql(dsn, "SELECT max(tries), max(claims) FROM eventbridge_outbox") == [(0, 0)]
        # A thread of its own writes what a worker logs.
        until(lambda: "ERROR" in [record.levelname for record in caplog.records])
        assert [record.levelname for record in caplog.records].count("ERROR") == 1
        service.clear_faults()
        until(lambda: not outbox.stats().waiting)
    finally:
        relay.stop()
        thread.join(SOON)
    assert service.accepted_count == 20_000
    assert outbox.stats().dead == 0


def test_a_customer_pending_for_a_day(outbox, client, service, dsn):
    """Each hold that ends costs one claimed row of the customer, and never its backlog."""
    for number in range(3):
        name = f"aws.partner/example.com.test/customer-{number}"
        client.sources.create(name, account=ACCOUNT)
        if number:
            service.sources.associate(name, ACCOUNT)
    fill(dsn, 9000, 3)
    relay = Relay(outbox, SourceGuard(client, ttl=0.01, pending_ttl=0.01))
    assert relay.drain().accepted == 6000
    for _ in range(12):
        sql(dsn, "UPDATE eventbridge_outbox_hold SET until = now() - interval '1 second'")
        assert relay.drain().later == 1
    service.sources.associate(PENDING, ACCOUNT)
    time.sleep(0.02)
    sql(dsn, "UPDATE eventbridge_outbox_hold SET until = now() - interval '1 second'")
    assert relay.drain().accepted == 3000
    assert outbox.stats().held == 0
