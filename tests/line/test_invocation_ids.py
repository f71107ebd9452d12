"""Every request has an id of its own."""

from __future__ import annotations

import os
import sys
import time
import uuid

import pytest

from eventbridge_partner import PartnerEvent, PartnerEventsClient
from eventbridge_partner.line._flight import _invocation_ids
from eventbridge_partner.testing import FakeEventBridge
from tests.strategies import SOURCE


def ids_of(service: FakeEventBridge) -> list[uuid.UUID]:
    """Return the ids of the requests that a service has received."""
    return [uuid.UUID(one.headers["amz-sdk-invocation-id"]) for one in service.requests]


def test_ids_look_random_and_differ() -> None:
    """Ids have the form of random UUIDs, and none occurs twice."""
    service = FakeEventBridge()
    with PartnerEventsClient(
        service.region, credentials=service.credentials, transport=service.transport()
    ) as client:
        client.put_events(PartnerEvent(SOURCE, "t", "{}") for _ in range(2000))
    ids = ids_of(service)
    assert len(set(ids)) == len(ids) == 100
    assert {(one.version, one.variant) for one in ids} == {(4, uuid.RFC_4122)}


def test_threads_get_different_ids_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number alone tells ids apart, whatever the clock says."""
    monkeypatch.setattr(time, "time_ns", iter([3, 2, 1]).__next__)
    assert len({_invocation_ids.next() for _ in range(3)}) == 3


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_child_process_has_ids_of_its_own() -> None:
    """The ids of a child begin differently from those of its parent."""
    service = FakeEventBridge()
    client = PartnerEventsClient(
        service.region, credentials=service.credentials, transport=service.transport()
    )
    client.put_events([PartnerEvent(SOURCE, "t", "{}")])
    read, write = os.pipe()
    child = os.fork()
    if not child:
        client.put_events([PartnerEvent(SOURCE, "t", "{}")])
        os.write(write, ids_of(service)[-1].bytes)
        os._exit(0)
    os.waitpid(child, 0)
    of_child = uuid.UUID(bytes=os.read(read, 16))
    os.close(read)
    os.close(write)
    (of_parent,) = ids_of(service)
    assert of_child.bytes[:10] != of_parent.bytes[:10]
