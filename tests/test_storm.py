"""20,000 events through a real HTTP service under every fault at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from eventbridge_partner import Outcome, PartnerEvent, PartnerEventsClient, Timeouts
from eventbridge_partner.testing import FakeEventBridge, LocalServer
from tests.storm import PATIENT, READ_TIMEOUT, check_ledger, storm_events, storm_faults

SEED = int(os.environ.get("STORM_SEED", "20261123"))
EVENTS = 20_000


@pytest.fixture
def service() -> FakeEventBridge:
    service = FakeEventBridge(seed=SEED)
    service.play(*storm_faults())
    return service


@pytest.fixture
def server(service: FakeEventBridge) -> Iterator[LocalServer]:
    with service.serve() as server:
        yield server


@pytest.fixture
def client(service: FakeEventBridge, server: LocalServer) -> Iterator[PartnerEventsClient]:
    with PartnerEventsClient(
        service.region,
        endpoint_url=server.url,
        credentials=service.credentials,
        retry=PATIENT,
        timeout=Timeouts(connect=5, read=READ_TIMEOUT),
        max_in_flight=4,
    ) as client:
        yield client


def test_one_thread_accounts_for_every_event_of_a_storm(
    service: FakeEventBridge, server: LocalServer, client: PartnerEventsClient
) -> None:
    """One call of put_events loses nothing, doubles nothing it knows of, and says what is true."""
    events = storm_events(EVENTS, SEED)

    report = client.put_events(events)
    server.close()  # so that it has noticed which of its slow answers nobody waited for

    assert [outcome.index for outcome in report] == list(range(EVENTS))
    assert [outcome.event for outcome in report] == events
    counts = check_ledger(service, events, report)
    assert counts["Accepted"] > 0.9 * EVENTS
    assert counts["Rejected"] > 0 and counts["Unconfirmed"] > 0, "the storm was too mild"


def test_eight_threads_on_one_client_account_for_every_event_of_a_storm(
    service: FakeEventBridge, server: LocalServer, client: PartnerEventsClient
) -> None:
    """Calls of several threads on one client, half of them streams, do not mix their outcomes."""
    events = storm_events(EVENTS, SEED + 1)
    outcomes: list[list[Outcome]] = [[] for _ in range(8)]

    def send(thread: int, share: list[PartnerEvent]) -> None:
        sent = client.stream_events(share) if thread % 2 else client.put_events(share)
        outcomes[thread] += sent

    threads = [
        threading.Thread(target=send, args=(thread, events[thread::8])) for thread in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.close()

    for part in outcomes:
        assert [outcome.index for outcome in part] == list(range(EVENTS // 8))
    check_ledger(service, events, [outcome for part in outcomes for outcome in part])
