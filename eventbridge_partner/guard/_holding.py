"""What a guard does with the events of one call: what it holds back, and the outcome of that."""

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
"""The code of events that the function for parking has taken."""

SOURCE_GONE: Final = "SourceGone"
"""The code of events whose source is known to exist no more, and that were not sent."""


class _StandIn:
    """No event, and nothing that a caller could give."""

    __slots__ = ()
    is_stand_in: Final = True


STAND_IN: Final[Any] = _StandIn()
"""
Given to the client in a stream after many events that are held back.

It is no event, so it is rejected unsent; and it lets outcomes be handed out while nothing is sent.
"""

STAND_IN_AFTER: Final = 100
"""So many events that are held back, one after the other."""

BUDGET_EVENTS: Final = 1000
"""How many events of a stream share what the look-ups of one call may take."""


def source_of(event: object) -> str | None:
    """Return the name of an event's source; None if the event has none that could be looked up."""
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
        standing: Of its source.
    """

    index: int
    event: GivenEvent
    standing: Standing


def gone(held: Held) -> Rejected:
    """Return the outcome of an event whose source is gone."""
    message = "the partner event source does not exist any more; the event was not sent"
    return Rejected(SOURCE_GONE, message, held.event, held.index, 0, source_is_gone=True)


def pending(held: Held) -> Rejected:
    """Return the outcome of an event that is rejected because its source is PENDING."""
    message = "the partner event source is PENDING: the service would accept the event and drop it"
    return Rejected(SOURCE_PENDING, message, held.event, held.index, 0)


def parked(held: Held) -> Exhausted:
    """Return the outcome of an event that was parked."""
    message = "parked: whoever parked it sends it again when the partner event source is ACTIVE"
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
    """Return the events that are sent, and those that are held back by their sources' standing."""
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
    Puts outcomes of what was held back among those of what was sent, in the caller's order.

    Attributes:
        held: The outcomes of what was held back and not handed out, by position among all events.
            An event that was sent comes when all before it have been added here.
        shift: How many were held back before the newest outcome.
        taken: How many events the caller's iterable gave, when it is over.
        untold: What was held back and not told of yet.
    """

    def __init__(self) -> None:
        self.untold: list[Outcome] = []
        self.held: dict[int, Outcome] = {}
        self.shift = 0
        self.taken = 0

    def hold(self, index: int, outcome: Outcome) -> None:
        """Take the outcome of an event that is held back."""
        self.held[index] = outcome
        self.untold.append(outcome)

    def place(self, outcome: Outcome) -> list[Outcome]:
        """Take the next outcome of what was sent; return it behind what was held back before it."""
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
        """Return all outcomes that there are, given those of what was sent."""
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
        """Return what was held back behind all that was sent."""
        rest = [self.held[place] for place in sorted(self.held)]
        self.held.clear()
        return rest

    def interrupted(self, error: InputInterruptedError) -> InputInterruptedError:
        """Return an error that counts and reports what was held back too."""
        report = self.report(error.report)
        return InputError(error.__cause__ or error).interrupted(self.taken, report)

    def settle(self, cause: BaseException | None) -> None:
        """Have the report of a call that ended midway tell of what was held back."""
        if isinstance(cause, CallInterruptedError):
            cause.report = self.report(cause.report)


def cancelled_before_sending(merging: Merging) -> CallCancelledError:
    """Return the cause of a cancellation while nothing but what is held back had been decided."""
    report = DeliveryReport(merging.rest())
    return CallCancelledError("the call was cancelled before anything was sent", report)
