"""Control calls over HTTP, with which a test plays the customer."""

from __future__ import annotations

import http.client
import json
import sys

import pytest

from eventbridge_partner.testing import FailRequest
from eventbridge_partner.testing._access import Access

NAME = "aws.partner/example.com/acme/tickets"
ACCOUNT = "123456789012"
WANTED = {"name": NAME, "account": ACCOUNT}
JSON = {"Content-Type": "application/json; charset=utf-8"}


@pytest.fixture
def connection(service):
    with service.serve() as server:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=5)
        yield connection
        connection.close()


def call(connection, action, document=WANTED, method="POST", headers=JSON):
    body = document if isinstance(document, bytes) else json.dumps(document)
    connection.request(method, f"/_control/sources/{action}", body, headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def test_customers_act_over_http(service, connection):
    """Each action is a call, on one connection, and its answer has the source's new state."""
    created = service.sources.create(NAME, ACCOUNT)
    assert call(connection, "associate") == (
        200,
        {**WANTED, "state": "ACTIVE", "has_bus": True, "expires_at": None},
    )
    status, deactivated = call(connection, "deactivate")
    assert (status, deactivated["state"], deactivated["has_bus"]) == (200, "PENDING", True)
    assert deactivated["expires_at"] >= created.expires_at
    assert call(connection, "activate")[1]["state"] == "ACTIVE"
    assert call(connection, "delete-bus")[1]["has_bus"] is False
    assert call(connection, "expire") == (200, {**WANTED, "state": None})
    assert len(service.sources) == 0


def test_control_calls_are_not_requests_to_the_service(service, connection):
    """Control calls need no signature, are not counted, and are not hit by faults."""
    service.play(FailRequest("InternalFailure", 500))
    service.sources.create(NAME, ACCOUNT)
    assert call(connection, "associate")[0] == 200
    assert service.request_count == 0


@pytest.mark.parametrize(
    ("action", "given", "status"),
    [
        ("associate", {"document": {**WANTED, "account": "210987654321"}}, 404),
        ("deactivate", {}, 409),
        ("buy", {}, 404),
        ("associate", {"method": "PUT"}, 405),
        ("associate", {"headers": {"Content-Type": "text/plain"}}, 415),
        ("associate", {"headers": {}}, 415),
        ("associate", {"document": b"{"}, 400),
        ("associate", {"document": b"[" * 100_000}, 400),
        ("associate", {"document": [NAME, ACCOUNT]}, 400),
        ("associate", {"document": {"name": NAME}}, 400),
        ("associate", {"document": {"name": NAME, "account": 5}}, 400),
        ("associate", {"document": {**WANTED, "force": True}}, 400),
    ],
)
def test_refused_calls_change_nothing(service, connection, action, given, status):
    """A refused call says why, and leaves the source as it was."""
    before = service.sources.create(NAME, ACCOUNT)
    found, answer = call(connection, action, **given)
    assert found == status
    assert set(answer) == {"message"}
    assert service.sources.get(NAME, ACCOUNT) == before


@pytest.mark.skipif(sys.platform != "linux", reason="all of 127.0.0.0/8 is there on Linux only")
def test_the_server_tells_who_calls(service, monkeypatch):
    """A call is judged by the address that it comes from."""
    peers: list[str] = []

    def refusal(self, peer, headers):
        peers.append(peer)

    monkeypatch.setattr(Access, "refusal", refusal)
    service.sources.create(NAME, ACCOUNT)
    with service.serve() as server:
        connection = http.client.HTTPConnection(
            server.host, server.port, timeout=5, source_address=("127.0.0.2", 0)
        )
        assert call(connection, "associate")[0] == 200
        connection.close()
    assert peers == ["127.0.0.2"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "localhost.evil.example"},
        {"Host": "127.0.0.1.evil.example:8080"},
        {"Host": "0.0.0.0"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
def test_another_site_cannot_act(service, connection, headers):
    """A call is refused if its `Host`, or a browser's headers, name another site."""
    before = service.sources.create(NAME, ACCOUNT)
    status, answer = call(connection, "associate", headers={**JSON, **headers})
    assert status == 403
    assert set(answer) == {"message"}
    assert service.sources.get(NAME, ACCOUNT) == before


def test_a_page_of_the_service_can_act(service, connection):
    """A call from the service's own page is allowed."""
    service.sources.create(NAME, ACCOUNT)
    origin = f"http://{connection.host}:{connection.port}"
    headers = {**JSON, "Origin": origin, "Sec-Fetch-Site": "same-origin"}
    assert call(connection, "associate", headers=headers)[0] == 200


def test_a_mapped_port_of_a_container_can_be_named(service):
    """A `Host` that is named as trusted may call from a trusted network; others may not."""
    service.sources.create(NAME, ACCOUNT)
    trust = {"trusted_peers": ["127.0.0.0/8"], "trusted_hosts": ["workbench.test:9000"]}
    with service.serve(**trust) as server:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=5)
        named = {**JSON, "Host": "workbench.test:9000"}
        assert call(connection, "associate", headers=named)[0] == 200
        other = {**JSON, "Host": "workbench.test:9001"}
        assert call(connection, "deactivate", headers=other)[0] == 403
        connection.close()


def test_trust_is_checked_before_it_serves(service):
    """An invalid trusted host or peer raises a ValueError when the server starts."""
    with pytest.raises(ValueError, match="HOST:PORT"):
        service.serve(trusted_hosts=["workbench.test"])
    with pytest.raises(ValueError, match="network"):
        service.serve(trusted_peers=["everybody"])
