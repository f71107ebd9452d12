"""What the local service records about a client that leaves before its answer."""

from __future__ import annotations

import http.client
import json
import threading
from typing import Any
from urllib.parse import urlsplit

from eventbridge_partner.testing import FailEntries, FakeEventBridge

ENTRY = {"Source": "aws.partner/example.com/acme", "DetailType": "test", "Detail": "{}"}


def test_an_answer_to_a_client_that_has_left_is_not_delivered() -> None:
    """An answer to a client that has left is recorded as not delivered, with no fault played."""
    came, left = threading.Event(), threading.Event()

    def decide_when_it_has_left(_: Any) -> bool:
        came.set()
        assert left.wait(30)
        return False

    service = FakeEventBridge(verify_signatures=False)
    service.play(FailEntries("InternalFailure", matching=decide_when_it_has_left))
    with service.serve() as server:
        client = http.client.HTTPConnection(urlsplit(server.url).netloc)
        headers = {
            "X-Amz-Target": "AWSEvents.PutPartnerEvents",
            "Content-Type": "application/x-amz-json-1.1",
        }
        client.request("POST", "/", json.dumps({"Entries": [ENTRY]}), headers)
        assert came.wait(30)
        client.close()
        left.set()
    (record,) = service.requests
    assert record.results
    assert not record.answer_delivered
