"""The guard for event loops."""

from __future__ import annotations

import asyncio
import inspect
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import Protocol

from eventbridge_partner.delivery.given import check_deadline, refuse_single
from eventbridge_partner.errors import (
    InputInterruptedError,
    InvalidEventError,
    PartnerEventsError,
    ResourceNotFoundError,
)
from eventbridge_partner.guard._holding import (
    BUDGET_EVENTS,
    STAND_IN,
    STAND_IN_AFTER,
    Held,
    Merging,
    cancelled_before_sending,
    gone,
    not_parked,
    parked,
    pending,
    select,
    source_of,
    sources_of,
)
from eventbridge_partner.guard._states import Need, Standing
from eventbridge_partner.guard._watch import Budget, OnPending, Watch
from eventbridge_partner.models import DeliveryReport, GivenEvent, Outcome, Rejected
from eventbridge_partner.sources._asyncio import AsyncSources


class GuardedAsyncClient(Protocol):
    """What a guard stands in front of: a `AsyncPartnerEventsClient`, or what has these of it."""

    @property
    def sources(self) -> AsyncSources:
        """Where states are looked up."""
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


class AsyncSourceGuard:
    """
    Keeps events from sources that would swallow them. Put it in front of an asynchronous client.

    A source in state PENDING accepts events and drops them, and the answer does not show it. The
    guard looks the states up, keeps them for a while, and holds back what would be lost. Look-ups
    keep the pace of `client.sources`; where there is no answer to be had, events are sent. A state
    may change between the look and the send, so what is sent may still be dropped. For any
    number of tasks.

    Args:
        client: What sends. It stays the caller's to close.
        on_pending: What becomes of events whose source is PENDING. `reject`: the outcome is
            `Rejected` with the code `SourcePending`. `allow` or `warn`: they are sent and dropped
            by the service; `warn` logs that once for each look-up. A function, asynchronous or
            not: it is given the event to keep until the source is ACTIVE, and the outcome is
            `Exhausted` with the code `SourceParked`, which tells the caller that somebody else
            sends it again.
        account_of: Returns the customer's account for the name of a source, as a dict's `get`
            does; None for one that it does not know. Without it, a source is PENDING if it is so
            in all accounts that have it. If it raises, or returns what is no account, that is
            logged, and counts as None.
        on_source_gone: Called with the name of a source that does not exist any more, once, in
            the task that found out: stop sending to it, and drop its mapping. It may be
            asynchronous.
        ttl: Seconds for which a look-up is believed.
        pending_ttl: The same for sources that were PENDING.
        patience: Seconds that the look-ups of one call may take; of a `deadline`, half at most.
            What is not known then is gone by as it was known before, or else sent.
        max_look_ups: How many sources one call looks up at most.
        look_up_timeout: Seconds for one look-up with all its attempts. After one that fails there
            is none for 5 s, and up to 5 minutes if that goes on.
        clock: Tells seconds, from any beginning: for tests.

    Raises:
        ValueError: A number or word that cannot work.
    """

    def __init__(
        self,
        client: GuardedAsyncClient,
        *,
        on_pending: OnPending | Callable[[GivenEvent], object] = "reject",
        account_of: Callable[[str], str | None] | None = None,
        on_source_gone: Callable[[str], object] | None = None,
        ttl: float = 300.0,
        pending_ttl: float = 30.0,
        patience: float = 10.0,
        max_look_ups: int = 500,
        look_up_timeout: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._park = on_pending if callable(on_pending) else None
        self._on_source_gone = on_source_gone
        self._clock = clock
        self._watch = Watch(
            on_pending=on_pending,
            account_of=account_of,
            ttl=ttl,
            pending_ttl=pending_ttl,
            patience=patience,
            max_look_ups=max_look_ups,
            look_up_timeout=look_up_timeout,
            clock=clock,
        )
        # A lock belongs to the loop that it was waited for in.
        self._turns = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]()

    # ------------------------------------------------------------ sending

    async def put_events(
        self,
        events: Iterable[GivenEvent] | AsyncIterable[GivenEvent],
        *,
        deadline: float | None = None,
    ) -> DeliveryReport:
        """
        Send events whose sources take them; see `put_events` of the client.

        Returns:
            One outcome per event, in the order given, those that were held back included.
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
                events = await self._select(events, merging, budget)
        except asyncio.CancelledError as cancelled:
            raise cancelled from cancelled_before_sending(merging)
        if deadline is not None:
            deadline = max(deadline - (self._clock() - began), 0.001)
        try:
            report = await self._client.put_events(events, deadline=deadline)
        except InputInterruptedError as error:
            await self._learn_all(error.report)
            raise merging.interrupted(error) from error.__cause__
        except asyncio.CancelledError as cancelled:
            merging.settle(cancelled.__cause__)
            raise
        finally:
            if passing is not None:
                await passing.aclose()
        await self._learn_all(report)
        return merging.report(report)

    def stream_events(
        self,
        events: Iterable[GivenEvent] | AsyncIterable[GivenEvent],
        *,
        deadline: float | None = None,
    ) -> AsyncGenerator[Outcome, None]:
        """
        Send events without end whose sources take them; see `stream_events` of the client.

        `patience` and `max_look_ups` are for each 1,000 events.

        Yields:
            One outcome per event, in the order given, those that were held back included.
        """
        check_deadline(deadline)
        refuse_single(events)
        merging = Merging()
        passing = self._passing(_each(events), merging, self._watch.budget(deadline))
        sent = self._client.stream_events(passing, deadline=deadline)
        return self._settling(sent, passing, merging)

    async def check(self, event: GivenEvent) -> Outcome | None:
        """
        Return the outcome of an event that is to be held back; None for one to be sent.

        For what sends in another way than `put_events`. Tell `learn` of the outcomes then.
        """
        source = source_of(event)
        standing = None if source is None else await self._held(source, self._watch.budget())
        return None if standing is None else await self._outcome(Held(0, event, standing))

    async def learn(self, outcome: Outcome) -> None:
        """Take from an outcome whether its source is gone."""
        if (source := self._watch.learn(outcome)) is not None:
            await self._tell_gone(source)

    async def _learn_all(self, report: DeliveryReport) -> None:
        for rejected in report.rejected:
            await self.learn(rejected)

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
                merging.held[index] = await self._outcome(Held(index, event, standing))
                in_a_row += 1
                if in_a_row == STAND_IN_AFTER:
                    in_a_row = 0
                    yield STAND_IN
        finally:
            merging.taken = index + 1

    # ------------------------------------------------------------ holding back

    async def _select(
        self, events: Sequence[GivenEvent], merging: Merging, budget: Budget
    ) -> Sequence[GivenEvent]:
        """Return what is sent of the events."""
        sources = sources_of(events)
        for source, need in self._watch.needs(sources):
            await self._look_up(source, need, budget)
        standings = self._watch.all_held(sources)
        if not standings:
            return events
        sent, held = select(events, standings)
        for one in held:
            merging.held[one.index] = await self._outcome(one)
        return sent

    async def _held(self, source: str, budget: Budget) -> Standing | None:
        if (need := self._watch.need(source)) is not Need.NOTHING:
            await self._look_up(source, need, budget)
        return self._watch.held(source)

    async def _outcome(self, held: Held) -> Outcome:
        if held.standing is Standing.GONE:
            return gone(held)
        if self._park is None:
            return pending(held)
        try:
            await _awaited(self._park(held.event))
        except Exception as error:  # noqa: BLE001  # the caller's, whatever it is
            return not_parked(held, error)
        return parked(held)

    # ------------------------------------------------------------ looking up

    async def _look_up(self, source: str, need: Need, budget: Budget) -> None:
        # One at a time, so that all who wait for the same source have the one answer.
        turn = self._turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        try:
            async with asyncio.timeout(self._watch.patience(need, budget)):
                await turn.acquire()
        except TimeoutError:
            return
        try:
            sources = self._client.sources
            seconds = self._watch.time_for(source, budget, sources.pace.ready_at())
            is_news = seconds is not None and await self._ask(sources, source, seconds)
        finally:
            turn.release()
        if is_news:
            await self._tell_gone(source)

    async def _ask(self, sources: AsyncSources, source: str, seconds: float) -> bool:
        account = self._watch.account(source)
        try:
            accounts = [one async for one in sources.accounts(source, timeout=seconds)]
        except ResourceNotFoundError:
            accounts = []
        except InvalidEventError:
            return False  # the client says what is wrong with it
        except PartnerEventsError as error:
            self._watch.failed(error)
            return False
        return self._watch.listed(source, accounts, account)

    async def _tell_gone(self, source: str) -> None:
        self._watch.tell_gone(source)
        if self._on_source_gone is not None:
            try:
                await _awaited(self._on_source_gone(source))
            except Exception as error:  # noqa: BLE001  # the caller's, whatever it is
                self._watch.hook_raised(source, error)

    def __repr__(self) -> str:
        return f"<AsyncSourceGuard in front of {self._client!r}>"


def _each(events: Iterable[GivenEvent] | AsyncIterable[GivenEvent]) -> AsyncIterable[GivenEvent]:
    return events if isinstance(events, AsyncIterable) else _in_turn(iter(events))


async def _in_turn(events: Iterator[GivenEvent]) -> AsyncGenerator[GivenEvent, None]:
    for event in events:
        yield event


async def _awaited(result: object) -> None:
    if inspect.isawaitable(result):
        await result
