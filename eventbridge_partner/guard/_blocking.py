"""The guard for threads."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from eventbridge_partner._plans import Running
from eventbridge_partner.client._base import decided_by
from eventbridge_partner.delivery.given import check_deadline, interrupted_call, refuse_single
from eventbridge_partner.errors import InputInterruptedError
from eventbridge_partner.guard._base import BaseGuard
from eventbridge_partner.guard._holding import (
    BUDGET_EVENTS,
    STAND_IN,
    STAND_IN_AFTER,
    Held,
    Merging,
    source_of,
)
from eventbridge_partner.guard._plan import Call, InTurn, Look, Plan, Step
from eventbridge_partner.guard._states import Standing
from eventbridge_partner.guard._watch import Budget
from eventbridge_partner.models import DeliveryReport, GivenEvent, Outcome, Rejected
from eventbridge_partner.sources import Sources

T = TypeVar("T")


class GuardedClient(Protocol):
    """The client behind a guard: a `PartnerEventsClient`, or an object with these methods."""

    @property
    def sources(self) -> Sources:
        """Looks up the states of sources."""
        ...

    def put_events(
        self, events: Iterable[GivenEvent], *, deadline: float | None = None
    ) -> DeliveryReport:
        """See `PartnerEventsClient.put_events`."""
        ...

    def stream_events(
        self, events: Iterable[GivenEvent], *, deadline: float | None = None
    ) -> Iterator[Outcome]:
        """See `PartnerEventsClient.stream_events`."""
        ...


class SourceGuard(BaseGuard[GuardedClient]):
    """
    Holds back events whose source would drop them. Put it in front of a client.

    A PENDING source accepts events and drops them, and the answer does not show it. The guard
    looks up the states, caches them, and holds back the events that would be lost. Look-ups keep
    the pace of `client.sources`; if they fail, events are sent. A state may change between the
    look-up and the request, so an event may still be dropped. Thread-safe and fork-safe.
    """

    _is_async = False

    def _forget_parent(self) -> None:
        self._turn = threading.RLock()

    # ------------------------------------------------------------ sending

    def put_events(
        self, events: Iterable[GivenEvent], *, deadline: float | None = None
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
        if not isinstance(events, (list, tuple)):
            events = self._passing(iter(events), merging, budget)
        else:
            plan = self._plans.select(events, merging, budget, self._client.sources.pace)
            try:
                events = self._run(plan)
            except BaseException as error:
                self._tell(merging)
                raise error from interrupted_call(merging.rest())
        if deadline is not None:
            deadline = max(deadline - (self._clock() - began), 0.001)
        try:
            report = self._client.put_events(events, deadline=deadline)
        except InputInterruptedError as error:
            self._run(self._plans.learn(error.report.rejected))
            raise merging.interrupted(error) from error.__cause__
        except BaseException as error:
            merging.settle(error.__cause__)
            raise
        finally:
            self._tell(merging)
        self._run(self._plans.learn(report.rejected))
        return merging.report(report)

    def stream_events(
        self, events: Iterable[GivenEvent], *, deadline: float | None = None
    ) -> Iterator[Outcome]:
        """
        Send an endless stream of events, except those held back; see `stream_events` of the client.

        `patience` and `max_look_ups` are for each 1,000 events.

        Yields:
            One outcome per event, in the order given, including events that were held back.
        """
        check_deadline(deadline)
        refuse_single(events)
        merging = Merging()
        passing = self._passing(iter(events), merging, self._watch.budget(deadline))
        return self._settling(self._client.stream_events(passing, deadline=deadline), merging)

    def check(self, event: GivenEvent) -> Outcome | None:
        """
        Return the outcome of an event that must be held back; None if it may be sent.

        For senders that do not use `put_events`. They must pass the outcomes to `learn`.
        """
        source = source_of(event)
        standing = None if source is None else self._held(source, self._watch.budget())
        if standing is None:
            return None
        outcome = self._run(self._plans.outcome(Held(0, event, standing)))
        decided_by(self._client, "guard", (outcome,))
        return outcome

    def learn(self, outcome: Outcome) -> None:
        """Learn from an outcome whether its source is gone."""
        self._run(self._plans.learn((outcome,)))

    def _settling(self, sent: Iterator[Outcome], merging: Merging) -> Iterator[Outcome]:
        try:
            for outcome in sent:
                if type(outcome) is Rejected:
                    self.learn(outcome)
                if merging.untold:
                    self._tell(merging)
                if merging.held or merging.shift:
                    yield from merging.place(outcome)
                else:
                    yield outcome
        except InputInterruptedError as error:
            yield from merging.rest()
            raise merging.interrupted(error) from error.__cause__
        except BaseException as error:
            merging.settle(error.__cause__)
            raise
        finally:
            self._tell(merging)
        yield from merging.rest()

    def _passing(
        self, events: Iterator[GivenEvent], merging: Merging, budget: Budget
    ) -> Iterator[GivenEvent]:
        in_a_row = 0
        index = -1
        try:
            for index, event in enumerate(events):
                if index and not index % BUDGET_EVENTS:
                    budget = self._watch.budget()
                if self._watch.is_surely_open(event):
                    in_a_row = 0
                    yield event
                    continue
                source = source_of(event)
                standing = None if source is None else self._held(source, budget)
                if standing is None:
                    in_a_row = 0
                    yield event
                    continue
                held = Held(index, event, standing)
                merging.hold(index, self._run(self._plans.outcome(held)))
                in_a_row += 1
                if in_a_row == STAND_IN_AFTER:
                    in_a_row = 0
                    yield STAND_IN
        finally:
            merging.taken = index + 1

    def _held(self, source: str, budget: Budget) -> Standing | None:
        return self._run(self._plans.standing(source, budget, self._client.sources.pace))

    # ------------------------------------------------------------ driving

    def _run(self, plan: Plan[T]) -> T:
        running = Running(plan)
        while (step := running.step) is not None:
            try:
                value = self._do(step)
            except Exception as error:  # noqa: BLE001  # the plan raises unknown errors
                running.fail(error)
            else:
                running.go_on(value)
        return running.result

    def _do(self, step: Step) -> object:
        match step:
            case InTurn(patience, plan):
                if not self._turn.acquire(timeout=min(patience, threading.TIMEOUT_MAX)):
                    return None
                try:
                    return self._run(plan)
                finally:
                    self._turn.release()
            case Look(source, seconds):
                return list(self._client.sources.accounts(source, timeout=seconds))
            case Call(hook, value):
                return hook(value)
