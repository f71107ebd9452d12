"""Which callers may use the page and the control calls."""

from __future__ import annotations

import pytest

from eventbridge_partner.testing._access import Access

BRIDGE = "172.17.0.1"
MAPPED = "localhost:9000"


@pytest.mark.parametrize(
    ("peer", "host", "may"),
    [
        ("127.0.0.1", "127.0.0.1:8000", True),
        ("127.8.0.1", "127.8.0.1:8000", True),
        ("127.0.0.1", "LOCALHOST:8000", True),
        ("127.0.0.1", "localhost", True),
        ("127.0.0.1", "events.localhost:8000", True),
        ("::1", "[::1]:8000", True),
        ("::ffff:127.0.0.1", "127.0.0.1:8000", True),
        ("127.0.0.1", "192.0.2.7:8000", True),  # what it listens on
        ("127.0.0.1", "192.0.2.7:8001", False),
        ("127.0.0.1", "", False),
        ("127.0.0.1", "evil.example", False),
        ("127.0.0.1", "localhost.evil.example", False),
        ("127.0.0.1", "evil.example:127.0.0.1", False),
        ("127.0.0.1", "user@localhost", False),
        ("127.0.0.1", "localhost:8000:1", False),
        ("127.0.0.1", "[::1].evil.example", False),
        ("127.0.0.1", "0.0.0.0:8000", False),
        ("127.0.0.1", "2130706433", False),
        ("127.0.0.1", "127.1", False),
        ("203.0.113.7", "127.0.0.1:8000", False),
        ("203.0.113.7", "192.0.2.7:8000", False),
        ("::ffff:203.0.113.7", "localhost:8000", False),
        ("fe80::1%eth0", "localhost:8000", False),
    ],
)
def test_loopback_is_allowed(peer, host, may):
    """A peer on loopback must name loopback, or the address that the server listens on."""
    refusal = Access("192.0.2.7:8000").refusal(peer, {"host": host})
    assert (refusal is None) is may


@pytest.mark.parametrize(
    ("peers", "hosts", "may"),
    [
        (["172.17.0.0/16"], [MAPPED], True),
        (["172.17.0.0/16"], ["LocalHost:9000"], True),
        (["172.17.0.0/16"], ["localhost:9001"], False),
        (["172.17.0.0/16"], [], False),
        (["172.18.0.0/16"], [MAPPED], False),
        ([], [MAPPED], False),
    ],
)
def test_off_loopback_both_must_be_named(peers, hosts, may):
    """Off loopback, both the peer's network and the `Host` that it sends must be trusted."""
    refusal = Access("0.0.0.0:8000", peers, hosts).refusal(BRIDGE, {"host": MAPPED})
    assert (refusal is None) is may


@pytest.mark.parametrize(
    ("origin", "may"),
    [
        ("http://localhost:9000", True),
        ("http://LOCALHOST:9000", True),
        ("https://localhost:9000", False),
        ("http://localhost", False),
        ("http://127.0.0.1:9000", False),
        ("http://localhost:9000.evil.example", False),
        ("null", False),
        ("", False),
    ],
)
def test_the_origin_must_be_the_service(origin, may):
    """A browser's `Origin` must be the `Host` of the request."""
    refusal = Access().refusal("127.0.0.1", {"host": MAPPED, "origin": origin})
    assert (refusal is None) is may
