"""Runs the look-ups of a publisher for asyncio, in tasks of their own."""

from __future__ import annotations

import asyncio
import inspect
from typing import TypeVar

from eventbridge_partner._plans import Running
from eventbridge_partner.guard._plan import Call, InTurn, Look, Plan, Step
from eventbridge_partner.publisher._gate import MOST_LOOK_UPS, Gate, Lanes
from eventbridge_partner.sources._asyncio import AsyncSources

T = TypeVar("T")


class AsyncLookUps:
    """
    Does the work of a gate, in tasks that end when there is none.

    Args:
        gate: Has the work.
        lanes: Where events wait for it.
        sources: Looks up states.
    """

    def __init__(self, gate: Gate, lanes: Lanes, sources: AsyncSources) -> None:
        self._gate = gate
        self._lanes = lanes
        self._sources = sources
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """Start tasks for the gate's work."""
        for _ in range(min(self._gate.todo, MOST_LOOK_UPS - len(self._tasks))):
            task = asyncio.get_running_loop().create_task(self._run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """Cancel all look-ups."""
        for task in [*self._tasks]:
            task.cancel()

    async def _run(self) -> None:
        while self._gate.todo:
            plan = self._gate.work(self._lanes)
            try:
                await self._carry_out(plan)
            finally:
                plan.close()

    async def _carry_out(self, plan: Plan[T]) -> T:
        running = Running(plan)
        while (step := running.step) is not None:
            try:
                value = await self._do(step)
            except Exception as error:  # noqa: BLE001  # the plan raises unknown errors
                running.fail(error)
            else:
                running.go_on(value)
        return running.result

    async def _do(self, step: Step) -> object:
        match step:
            case InTurn(_, plan):
                return await self._carry_out(plan)  # a gate looks up each source once at a time
            case Look(source, seconds):
                accounts = self._sources.accounts(source, timeout=seconds)
                return [account async for account in accounts]
            case Call(hook, value):
                result = hook(value)
                return await result if inspect.isawaitable(result) else result
