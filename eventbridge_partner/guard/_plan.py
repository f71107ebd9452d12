"""
The plans of both guards, without I/O. They yield steps.

    InTurn(patience, plan)  run a plan while no other look-up runs; None if its turn did not come
    Look(source, seconds)   resume with the source's accounts, or throw the error into the plan
    Call(hook, value)       call a function of the user
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

import attrs

from eventbridge_partner._signals import let_pass
from eventbridge_partner.errors import (
    InvalidEventError,
    PartnerEventsError,
    ResourceNotFoundError,
)
from eventbridge_partner.guard._holding import (
    Held,
    Merging,
    gone,
    not_parked,
    parked,
    pending,
    select,
    sources_of,
)
from eventbridge_partner.guard._states import Need, Standing
from eventbridge_partner.guard._watch import Budget, Watch
from eventbridge_partner.models import GivenEvent, Outcome, SourceAccount
from eventbridge_partner.pacing import Pace

T = TypeVar("T")


@attrs.frozen
class InTurn:
    """Run a plan while no other look-up runs, if its turn comes within `patience` seconds."""

    patience: float
    plan: Plan[bool]


@attrs.frozen
class Look:
    """Look up the accounts of a source."""

    source: str
    seconds: float


@attrs.frozen
class Call:
    """Call a function of the user."""

    hook: Callable[[Any], object]
    value: object


Step = InTurn | Look | Call
Plan = Generator[Step, Any, T]


@attrs.frozen
class Plans:
    """
    The plans of one guard.

    Attributes:
        watch: Knows the states, and decides.
        park: The `on_pending` function; None without one.
        on_source_gone: Called with the name of a source that is gone; None without one.
    """

    watch: Watch
    park: Callable[[GivenEvent], object] | None
    on_source_gone: Callable[[str], object] | None

    def select(
        self, events: Sequence[GivenEvent], merging: Merging, budget: Budget, pace: Pace
    ) -> Plan[Sequence[GivenEvent]]:
        """Return the events to send; the outcomes of the others go to `merging`."""
        sources = sources_of(events)
        for source, need in self.watch.needs(sources):
            yield from self._look_up(source, need, budget, pace)
        standings = self.watch.all_held(sources)
        if not standings:
            return events
        sent, held = select(events, standings)
        for one in held:
            merging.hold(one.index, (yield from self.outcome(one)))
        return sent

    def standing(self, source: str, budget: Budget, pace: Pace) -> Plan[Standing | None]:
        """Return why events of a source are held back; None if they are not."""
        if (need := self.watch.need(source)) is not Need.NOTHING:
            yield from self._look_up(source, need, budget, pace)
        return self.watch.held(source)

    def outcome(self, held: Held) -> Plan[Outcome]:
        """Return the outcome of a held-back event."""
        if held.standing is Standing.GONE:
            return gone(held)
        if self.park is None:
            return pending(held)
        try:
            yield Call(self.park, held.event)
        except Exception as error:  # noqa: BLE001  # the caller's code may raise anything
            let_pass(error)
            return not_parked(held, error)
        return parked(held)

    def learn(self, outcomes: Sequence[Outcome]) -> Plan[None]:
        """Learn from outcomes which sources are gone."""
        for outcome in outcomes:
            if (source := self.watch.learn(outcome)) is not None:
                yield from self._tell_gone(source)

    def _look_up(self, source: str, need: Need, budget: Budget, pace: Pace) -> Plan[None]:
        # One at a time, so that all callers that wait for a source share one answer.
        patience = self.watch.patience(need, budget)
        is_news = yield InTurn(patience, self._ask(source, budget, pace))
        if is_news:
            yield from self._tell_gone(source)

    def _ask(self, source: str, budget: Budget, pace: Pace) -> Plan[bool]:
        seconds = self.watch.time_for(source, budget, pace.ready_at())
        if seconds is None:
            return False
        account = self.watch.account(source)
        accounts: Sequence[SourceAccount]
        try:
            accounts = yield Look(source, seconds)
        except ResourceNotFoundError:
            accounts = ()
        except InvalidEventError:
            return False  # the client rejects it with its findings
        except PartnerEventsError as error:
            self.watch.failed(error)
            return False
        return self.watch.listed(source, accounts, account)

    def _tell_gone(self, source: str) -> Plan[None]:
        self.watch.tell_gone(source)
        if self.on_source_gone is not None:
            try:
                yield Call(self.on_source_gone, source)
            except Exception as error:  # noqa: BLE001  # the caller's code may raise anything
                let_pass(error)
                self.watch.hook_raised(source, error)
