"""Both clients with one surface, that of the blocking client."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import ExitStack
from typing import Any

import attrs

from eventbridge_partner import AsyncPartnerEventsClient, PartnerEventsClient


class Plain:
    """
    Makes the methods of an object blocking, whether or not they are asynchronous.

    What a generator yields is returned as a list.
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
