"""The events of one call that a guard holds back, and their outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import attrs

from eventbridge_partner._foreign_text import plain_text
from eventbridge_partner.delivery.given import InputError
from eventbridge_partner.errors import (
    CallCancelledError,
    CallInterruptedError,
    InputInterruptedError,
)
from eventbridge_partner.guard._states import Standing
from eventbridge_partner.models import (
    DeliveryReport,
    Exhausted,
    GivenEvent,
    Outcome,
    PartnerEvent,
    Rejected,
    SourceName,
)
from eventbridge_partner.models._outcomes import renumbered

SOURCE_PENDING: Final = "SourcePending"
"""The code of events that are held back because their source is PENDING."""

SOURCE_PARKED: Final = "SourceParked"
"""The code of events that the `on_pending` function has taken."""

SOURCE_GONE: Final = "SourceGone"
"""The code of events that were not sent because their source is known to be gone."""


class _StandIn:
    """A placeholder that is not an event, and that no caller can pass."""

    __slots__ = ()
    is_stand_in: Final = True


STAND_IN: Final[Any] = _StandIn()
"""
Passed to the client's stream after many held-back events.

The client rejects it unsent, so outcomes keep flowing while no event is sent.
"""

STAND_IN_AFTER: Final = 100
"""How many consecutive held-back events lead to a placeholder."""

BUDGET_EVENTS: Final = 1000
"""How many events of a stream share the look-up budget of one call."""


def source_of(event: object) -> str | None:
    """Return the name of an event's source; None if it cannot be looked up."""
    if isinstance(event, PartnerEvent):
        return event.source
    source: object = event.get("Source") if isinstance(event, Mapping) else None
    if isinstance(source, SourceName):
        return str(source)
    return plain_text(source) if isinstance(source, str) else None


def sources_of(events: Sequence[GivenEvent]) -> set[str]:
    """Return the names of the sources of events."""
    try:
        # The usual case, in one pass.
        return {event.source for event in cast("Sequence[PartnerEvent]", events)}
    except (AttributeError, TypeError):  # TypeError: a source that cannot be looked up
        return {source for event in events if (source := source_of(event)) is not None}


@attrs.frozen
class Held:
    """
    An event that is held back.

    Attributes:
        index: Its position among the events of the call.
        event: As the caller gave it.
        standing: The standing of its source.
    """

    index: int
    event: GivenEvent
    standing: Standing


def gone(held: Held) -> Rejected:
    """Return the outcome of an event whose source is gone."""
    message = "the partner event source no longer exists; the event was not sent"
    return Rejected(SOURCE_GONE, message, held.event, held.index, 0, source_is_gone=True)


def pending(held: Held) -> Rejected:
    """Return the outcome of an event that is rejected because its source is PENDING."""
    message = "the partner event source is PENDING: the service would accept the event and drop it"
    return Rejected(SOURCE_PENDING, message, held.event, held.index, 0)


def parked(held: Held) -> Exhausted:
    """Return the outcome of an event that was parked."""
    message = (
        "parked: the on_pending function has the event, until the partner event source is ACTIVE"
    )
    return Exhausted(SOURCE_PARKED, message, held.event, held.index, 0)


def not_parked(held: Held, error: Exception) -> Exhausted:
    """Return the outcome of an event that could not be parked."""
    message = (
        "the partner event source is PENDING, and parking the event raised "
        f"{type(error).__name__}: send it again when the source is ACTIVE"
    )
    return Exhausted(SOURCE_PENDING, message, held.event, held.index, 0)


def select(
    events: Sequence[GivenEvent], standings: Mapping[str, Standing]
) -> tuple[list[GivenEvent], list[Held]]:
    """Return the events to send, and the events to hold back."""
    sent: list[GivenEvent] = []
    held: list[Held] = []
    for index, event in enumerate(events):
        source = event.source if type(event) is PartnerEvent else source_of(event)
        if source is not None and source in standings:
            held.append(Held(index, event, standings[source]))
        else:
            sent.append(event)
    return sent, held


class Merging:
    """
    Merges the outcomes of held-back events with those of sent events, in the caller's order.

    Attributes:
        held: Outcomes of held-back events that are not yet returned, by position among all events.
            All before a sent event are added before its outcome comes.
        shift: How many events were held back before the newest outcome.
        taken: How many events the caller's iterable yielded, once it has ended.
        untold: Outcomes of held-back events that are not yet reported.
    """

    def __init__(self) -> None:
        self.untold: list[Outcome] = []
        self.held: dict[int, Outcome] = {}
        self.shift = 0
        self.taken = 0

    def hold(self, index: int, outcome: Outcome) -> None:
        """Add the outcome of a held-back event."""
        self.held[index] = outcome
        self.untold.append(outcome)

    def place(self, outcome: Outcome) -> list[Outcome]:
        """Return the next outcome of a sent event, after those of events held back before it."""
        place = outcome.index + self.shift
        placed: list[Outcome] = []
        while (held := self.held.pop(place, None)) is not None:
            placed.append(held)
            place += 1
        self.shift = place - outcome.index
        if outcome.event is STAND_IN:
            self.shift -= 1
        else:
            placed.append(renumbered(outcome, place) if self.shift else outcome)
        return placed

    def report(self, sent: DeliveryReport) -> DeliveryReport:
        """Return all outcomes, merged with those of the sent events."""
        if not self.held and not self.shift:
            return sent
        outcomes: list[Outcome] = []
        held, shift = self.held, self.shift
        for outcome in sent:
            place = outcome.index + shift
            if place in held:
                outcomes += self.place(outcome)
                shift = self.shift
            else:
                outcomes.append(renumbered(outcome, place) if shift else outcome)
        return DeliveryReport([*outcomes, *self.rest()])

    def rest(self) -> list[Outcome]:
        """Return the outcomes of events held back after the last sent event."""
        rest = [self.held[place] for place in sorted(self.held)]
        self.held.clear()
        return rest

    def interrupted(self, error: InputInterruptedError) -> InputInterruptedError:
        """Return an error that includes the held-back events in its count and report."""
        report = self.report(error.report)
        return InputError(error.__cause__ or error).interrupted(self.taken, report)

    def settle(self, cause: BaseException | None) -> None:
        """Add the held-back events to the report of a call that ended midway."""
        if isinstance(cause, CallInterruptedError):
            cause.report = self.report(cause.report)


def cancelled_before_sending(merging: Merging) -> CallCancelledError:
    """Return the cause of a cancellation before any event was sent."""
    report = DeliveryReport(merging.rest())
    return CallCancelledError("the call was cancelled before anything was sent", report)
