"""The guard for event loops."""

from __future__ import annotations

import asyncio
import inspect
import weakref
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator
from contextlib import aclosing
from typing import Protocol, TypeVar

from eventbridge_partner._plans import Running
from eventbridge_partner.client._base import decided_by
from eventbridge_partner.delivery.given import check_deadline, refuse_single
from eventbridge_partner.errors import InputInterruptedError
from eventbridge_partner.guard._base import BaseGuard
from eventbridge_partner.guard._holding import (
    BUDGET_EVENTS,
    STAND_IN,
    STAND_IN_AFTER,
    Held,
    Merging,
    cancelled_before_sending,
    source_of,
)
from eventbridge_partner.guard._plan import Call, InTurn, Look, Plan, Step
from eventbridge_partner.guard._states import Standing
from eventbridge_partner.guard._watch import Budget
from eventbridge_partner.models import DeliveryReport, GivenEvent, Outcome, Rejected
from eventbridge_partner.sources._asyncio import AsyncSources

T = TypeVar("T")


class GuardedAsyncClient(Protocol):
    """The client behind a guard: an `AsyncPartnerEventsClient`, or an object with these methods."""

    @property
    def sources(self) -> AsyncSources:
        """Looks up the states of sources."""
        ...

    async def put_events(
        self,
        events: Iterable[GivenEvent] | AsyncIterable[GivenEvent],
        *,
        deadline: float | None = None,
    ) -> DeliveryReport:
        """See `AsyncPartnerEventsClient.put_events`."""
        ...

    def stream_events(
        self,
        events: Iterable[GivenEvent] | AsyncIterable[GivenEvent],
        *,
        deadline: float | None = None,
    ) -> AsyncGenerator[Outcome, None]:
        """See `AsyncPartnerEventsClient.stream_events`."""
        ...


class AsyncSourceGuard(BaseGuard[GuardedAsyncClient]):
    """
    Holds back events whose source would drop them. Put it in front of an asynchronous client.

    A PENDING source accepts events and drops them, and the answer does not show it. The guard
    looks up the states, caches them, and holds back the events that would be lost. Look-ups keep
    the pace of `client.sources`; if they fail, events are sent. A state may change between the
    look-up and the request, so an event may still be dropped. Safe for any number of tasks.
    """

    _is_async = True

    def _forget_parent(self) -> None:
        # A lock belongs to the loop in which it was first awaited.
        self._turns = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]()

    # ------------------------------------------------------------ sending

    async def put_events(
        self,
        events: Iterable[GivenEvent] | AsyncIterable[GivenEvent],
        *,
        deadline: float | None = None,
    ) -> DeliveryReport:
        """
        Send events, except those that are held back; see `put_events` of the client.

        Returns:
            One outcome per event, in the order given, including events that were held back.
        """
        check_deadline(deadline)
        refuse_single(events)
        began = self._clock()
        budget = self._watch.budget(deadline)
        merging = Merging()
        passing: AsyncGenerator[GivenEvent, None] | None = None
        try:
            if not isinstance(events, (list, tuple)):
                events = passing = self._passing(_each(events), merging, budget)
            else:
                plan = self._plans.select(events, merging, budget, self._client.sources.pace)
                events = await self._run(plan)
        except asyncio.CancelledError as cancelled:
            self._tell(merging)
            raise cancelled from cancelled_before_sending(merging)
        if deadline is not None:
            deadline = max(deadline - (self._clock() - began), 0.001)
        try:
            report = await self._client.put_events(events, deadline=deadline)
        except InputInterruptedError as error:
            await self._run(self._plans.learn(error.report.rejected))
            raise merging.interrupted(error) from error.__cause__
        except asyncio.CancelledError as cancelled:
            merging.settle(cancelled.__cause__)
            raise
        finally:
            self._tell(merging)
            if passing is not None:
                await passing.aclose()
        await self._run(self._plans.learn(report.rejected))
        return merging.report(report)

    def stream_events(
        self,
        events: Iterable[GivenEvent] | AsyncIterable[GivenEvent],
        *,
        deadline: float | None = None,
    ) -> AsyncGenerator[Outcome, None]:
        """
        Send an endless stream of events, except those held back; see `stream_events` of the client.

        `patience` and `max_look_ups` are for each 1,000 events.

        Yields:
            One outcome per event, in the order given, including events that were held back.
        """
        check_deadline(deadline)
        refuse_single(events)
        merging = Merging()
        passing = self._passing(_each(events), merging, self._watch.budget(deadline))
        sent = self._client.stream_events(passing, deadline=deadline)
        return self._settling(sent, passing, merging)

    async def check(self, event: GivenEvent) -> Outcome | None:
        """
        Return the outcome of an event that must be held back; None if it may be sent.

        For senders that do not use `put_events`. They must pass the outcomes to `learn`.
        """
        source = source_of(event)
        standing = None if source is None else await self._held(source, self._watch.budget())
        if standing is None:
            return None
        outcome = await self._run(self._plans.outcome(Held(0, event, standing)))
        decided_by(self._client, "guard", (outcome,))
        return outcome

    async def learn(self, outcome: Outcome) -> None:
        """Learn from an outcome whether its source is gone."""
        await self._run(self._plans.learn((outcome,)))

    async def _settling(
        self,
        sent: AsyncGenerator[Outcome, None],
        passing: AsyncGenerator[GivenEvent, None],
        merging: Merging,
    ) -> AsyncGenerator[Outcome, None]:
        try:
            async with aclosing(passing), aclosing(sent):
                async for outcome in sent:
                    if type(outcome) is Rejected:
                        await self.learn(outcome)
                    if merging.untold:
                        self._tell(merging)
                    if merging.held or merging.shift:
                        for placed in merging.place(outcome):
                            yield placed
                    else:
                        yield outcome
        except InputInterruptedError as error:
            for held in merging.rest():
                yield held
            raise merging.interrupted(error) from error.__cause__
        except asyncio.CancelledError as cancelled:
            merging.settle(cancelled.__cause__)
            raise
        finally:
            self._tell(merging)
        for held in merging.rest():
            yield held

    async def _passing(
        self, events: AsyncIterable[GivenEvent], merging: Merging, budget: Budget
    ) -> AsyncGenerator[GivenEvent, None]:
        in_a_row = 0
        index = -1
        try:
            async for event in events:
                index += 1
                if index and not index % BUDGET_EVENTS:
                    budget = self._watch.budget()
                if self._watch.is_surely_open(event):
                    in_a_row = 0
                    yield event
                    continue
                source = source_of(event)
                standing = None if source is None else await self._held(source, budget)
                if standing is None:
                    in_a_row = 0
                    yield event
                    continue
                held = Held(index, event, standing)
                merging.hold(index, await self._run(self._plans.outcome(held)))
                in_a_row += 1
                if in_a_row == STAND_IN_AFTER:
                    in_a_row = 0
                    yield STAND_IN
        finally:
            merging.taken = index + 1

    async def _held(self, source: str, budget: Budget) -> Standing | None:
        return await self._run(self._plans.standing(source, budget, self._client.sources.pace))

    # ------------------------------------------------------------ driving

    async def _run(self, plan: Plan[T]) -> T:
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
            case InTurn(patience, plan):
                turn = self._turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())
                try:
                    async with asyncio.timeout(patience):
                        await turn.acquire()
                except TimeoutError:
                    return None
                try:
                    return await self._run(plan)
                finally:
                    turn.release()
            case Look(source, seconds):
                accounts = self._client.sources.accounts(source, timeout=seconds)
                return [account async for account in accounts]
            case Call(hook, value):
                result = hook(value)
                return await result if inspect.isawaitable(result) else result


def _each(events: Iterable[GivenEvent] | AsyncIterable[GivenEvent]) -> AsyncIterable[GivenEvent]:
    return events if isinstance(events, AsyncIterable) else _in_turn(iter(events))


async def _in_turn(events: Iterator[GivenEvent]) -> AsyncGenerator[GivenEvent, None]:
    for event in events:
        yield event
