"""
The gate of a publisher with a guard: it decides which events wait for a look-up of their source.

Events of a source that must be looked up wait in its lane; all others flow. Neither `publish` nor
the sender does the look-ups, the parking and the reports of sources that are gone.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from eventbridge_partner._clock import monotonic
from eventbridge_partner._logs import log
from eventbridge_partner.guard._holding import Held
from eventbridge_partner.guard._plan import Plan, Plans
from eventbridge_partner.guard._states import Need
from eventbridge_partner.models import Outcome, PartnerEvent, Rejected
from eventbridge_partner.pacing import Pace
from eventbridge_partner.publisher._receipts import Receipt

MOST_LOOK_UPS: Final = 4
"""
The most concurrent look-ups.

One would suffice for their pace, but a look-up that hangs would delay those of all other sources.
"""

_PASS_SECONDS: Final = 1.0
"""Seconds for which the events of a source are sent after a look-up without a result."""


class Lanes(Protocol):
    """The actions of a gate on the events of a source; see `Dispatch`."""

    def let_through(self, source: str) -> None:
        """Let the waiting events of a source be sent."""
        ...

    def first_held_back(self, source: str) -> Receipt | None:
        """Hold back a source, and return its oldest waiting event."""
        ...

    def refuse(self, receipt: Receipt, outcome: Outcome) -> None:
        """Give a waiting event its outcome, without sending it."""
        ...


class Gate:
    """
    Decides for one publisher which events may be sent, and keeps the list of look-ups to do.

    Args:
        plans: The guard's plans.
        pace: The pace of look-ups.
    """

    def __init__(self, plans: Plans, pace: Pace) -> None:
        self._plans = plans
        self._watch = plans.watch
        self._pace = pace
        # The work: sources to look up, and outcomes to learn from.
        self._todo: deque[str | Outcome] = deque()
        # Sources in the queue, or being looked up.
        self._asked: set[str] = set()
        # Sources whose look-up had no result, and until when their events are sent nevertheless.
        self._passes: dict[str, float] = {}

    def is_open(self, event: PartnerEvent) -> bool:
        """
        Tell whether an event may be sent now.

        Called with locks held; it does no I/O. If the answer is no, or may soon change, it queues
        a look-up of the source.
        """
        if self._watch.is_surely_open(event):
            return True
        source = event.source
        if monotonic() < self._passes.get(source, -math.inf):
            return True
        need = self._watch.need(source)
        if need is Need.NOTHING and self._watch.held(source) is None:
            return True
        if source not in self._asked:
            self._asked.add(source)
            self._todo.append(source)
        return need is Need.REFRESH

    def hear(self, outcomes: Sequence[Outcome]) -> None:
        """Queue outcomes that may show that their source is gone."""
        for outcome in outcomes:
            if type(outcome) is Rejected and outcome.source_is_gone:
                self._todo.append(outcome)

    @property
    def todo(self) -> int:
        """How much work is waiting."""
        return len(self._todo)

    def work(self, lanes: Lanes) -> Plan[None]:
        """Do the next piece of work, as a plan with the guard's steps."""
        try:
            what = self._todo.popleft()
        except IndexError:  # another worker was quicker
            return
        if not isinstance(what, str):
            yield from self._plans.learn((what,))
            return
        is_done = False
        try:
            yield from self._look_up(what, lanes)
            is_done = True
        except Exception as error:  # noqa: BLE001  # without an answer, events are sent
            is_done = True
            log(logging.ERROR, "a look-up of a publisher raised %s", type(error).__name__)
        finally:
            if is_done:
                self._has_passed(what)
                lanes.let_through(what)
            else:  # its task was cancelled
                self._todo.append(what)

    def _look_up(self, source: str, lanes: Lanes) -> Plan[None]:
        standing = yield from self._plans.standing(source, self._watch.budget(), self._pace)
        while standing is not None:
            receipt = lanes.first_held_back(source)
            if receipt is None:
                return
            outcome = yield from self._plans.outcome(Held(0, receipt.event, standing))
            lanes.refuse(receipt, outcome)
            standing = self._watch.held(source)

    def _has_passed(self, source: str) -> None:
        self._asked.discard(source)
        if self._watch.need(source) is Need.NOTHING:
            self._passes.pop(source, None)
        else:
            self._passes[source] = monotonic() + _PASS_SECONDS

    def give_up(self, lanes: Lanes) -> None:
        """Let all waiting events be sent, because look-ups are no longer possible."""
        while self._todo:
            what = self._todo.popleft()
            if isinstance(what, str):
                self._passes[what] = math.inf
                self._asked.discard(what)
                lanes.let_through(what)
