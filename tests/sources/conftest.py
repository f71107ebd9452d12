"""The sources of both clients under one surface, against the local service and moto's server."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import attrs
import pytest
from moto.server import ThreadedMotoServer
from tenacity import wait_none

from eventbridge_partner import (
    AsyncPartnerEventsClient,
    Pace,
    PartnerEventsClient,
    RetryPolicy,
)
from eventbridge_partner.testing import FakeEventBridge

AT_ONCE = RetryPolicy(wait=wait_none(), throttle_wait=wait_none())


class Plain:
    """
    An object whose methods have been carried out when they return, also those of async ones.

    What they yield comes as a list.
    """

    def __init__(self, wrapped: Any, runner: asyncio.Runner | None) -> None:
        self._wrapped = wrapped
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._wrapped, name)
        if not callable(method):
            return Plain(method, self._runner)

        def call(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            if inspect.isawaitable(result):
                return self._run(_awaited(result))
            if inspect.isasyncgen(result):
                return self._run(_collected(result))
            return list(result) if inspect.isgenerator(result) else result

        return call

    def _run(self, coroutine: Any) -> Any:
        assert self._runner is not None
        return self._runner.run(coroutine)


async def _awaited(result: Any) -> Any:
    return await result


async def _collected(result: Any) -> list[Any]:
    return [item async for item in result]


@attrs.frozen
class Kind:
    """One of the two clients."""

    client: type
    is_async: bool

    def open(self, stack: ExitStack, **settings: Any) -> Plain:
        """Make a client that is closed with the stack."""
        runner = stack.enter_context(asyncio.Runner(debug=True)) if self.is_async else None
        plain = Plain(self.client(**settings), runner)
        stack.callback(plain.close)
        return plain


KINDS = {
    "blocking": Kind(PartnerEventsClient, is_async=False),
    "async": Kind(AsyncPartnerEventsClient, is_async=True),
}


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
    """Return what makes clients of the local service, over HTTP; they keep no pace."""
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
