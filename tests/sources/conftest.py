"""The sources of both clients under one surface, against the local service and moto's server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from moto.server import ThreadedMotoServer
from tenacity import wait_none

from eventbridge_partner import (
    Pace,
    RetryPolicy,
)
from eventbridge_partner.testing import FakeEventBridge
from tests.sources.plain import KINDS, Kind, Plain

AT_ONCE = RetryPolicy(wait=wait_none(), throttle_wait=wait_none())


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


Open = Callable[..., Plain]


@pytest.fixture
def service() -> FakeEventBridge:
    return FakeEventBridge()


@pytest.fixture
def open_client(kind: Kind, stack: ExitStack, service: FakeEventBridge) -> Open:
    """Return a function that makes clients of the local service, over HTTP and without a pace."""
    server = stack.enter_context(service.serve())

    def open_client(**settings: Any) -> Plain:
        usual = {
            "region": service.region,
            "endpoint_url": server.url,
            "credentials": service.credentials,
            "retry": AT_ONCE,
            "sources_pace": Pace(),
        }
        return kind.open(stack, **usual | settings)

    return open_client


@pytest.fixture
def client(open_client: Open) -> Plain:
    return open_client()


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()
