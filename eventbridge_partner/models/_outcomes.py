"""The service's result for an entry, and the final outcome of an event."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import attrs

from eventbridge_partner.errors import Finding
from eventbridge_partner.models._event import PartnerEvent
from eventbridge_partner.models._plain import plain_outcome

GivenEvent = PartnerEvent | Mapping[str, Any]
"""An event as the caller gave it: a `PartnerEvent`, or a mapping with an entry's members."""


def _without_payload(event: GivenEvent) -> str:
    return repr(event) if isinstance(event, PartnerEvent) else "<entry>"


@attrs.frozen
class ResultEntry:
    """
    The service's result for one entry of a request.

    Attributes:
        event_id: The id of the accepted event; None if it failed, or if the service gave no id.
        error_code: Why it failed; None if it was accepted.
        error_message: The service's message; None if it gave none.
    """

    event_id: str | None = None
    error_code: str | None = None
    error_message: str | None = None


class _Told:
    """The part that all outcomes share."""

    __slots__ = ()

    def to_dict(self, *, detail: bool = False) -> dict[str, Any]:
        """
        Return the outcome as plain values, ready for JSON.

        Args:
            detail: Whether to add the event with its payload.

        Returns:
            `outcome`, which is `accepted`, `rejected`, `exhausted` or `unconfirmed`; `source` and
            `detail_type` of the event, None where they are not text; every other attribute but
            `event`. With `detail` also `entry`, the event as `PartnerEvent.from_entry` reads it,
            or for an invalid mapping, its members that have a form in JSON.
        """
        return plain_outcome(cast("Outcome", self), detail=detail)


@attrs.frozen
class Accepted(_Told):
    """
    The service accepted the event. There is nothing left to do.

    Accepted does not mean delivered: the service accepts events for a PENDING source and drops
    them.

    Attributes:
        event_id: The service's id for the event; None if it gave none.
        event: The event, as it was given.
        index: Its position among the events of the call, from 0.
        attempts: How many requests carried it.
    """

    event_id: str | None
    event: GivenEvent = attrs.field(repr=_without_payload)
    index: int
    attempts: int


class _Draft(Accepted):
    """An `Accepted` that is not frozen yet: each attribute of a frozen one takes a call to set."""

    __slots__ = ()
    __setattr__ = object.__setattr__
    __delattr__ = object.__delattr__

    def __init__(self, event_id: str | None, event: GivenEvent, index: int, attempts: int) -> None:
        draft: Any = self
        draft.event_id = event_id
        draft.event = event
        draft.index = index
        draft.attempts = attempts


def accept_all(
    event_ids: Iterable[str | None], events: Sequence[GivenEvent], first: int
) -> list[Accepted]:
    """
    Return the outcomes of events that were accepted at their first attempt.

    Drafts that become outcomes take little more than half as long as outcomes that are made one
    by one.

    Args:
        event_ids: One for each event.
        events: The events, as they were given.
        first: The index of the first event.
    """
    indexes = range(first, first + len(events))
    outcomes: list[Accepted] = list(map(_Draft, event_ids, events, indexes, itertools.repeat(1)))
    for outcome in outcomes:
        outcome.__class__ = Accepted
    return outcomes


@attrs.frozen
class Rejected(_Told):
    """
    The event was refused. Fix it or drop it: sending it again cannot help.

    Attributes:
        code: The service's error code. If the event was never sent: `InvalidEvent` or
            `EntryTooLarge`; from a `SourceGuard`, `SourcePending` or `SourceGone`; from a
            `RegionRouter`, `UnknownRegion`.
        message: What is wrong, without the parts that echo the event.
        event: The event, as it was given.
        index: Its position among the events of the call, from 0.
        attempts: How many requests carried it; 0 if it was refused before sending.
        findings: Everything that is wrong, if it was refused before sending.
        source_is_gone: Whether the partner event source no longer exists: stop sending to it.
        of_request: Whether the service refused the whole request for a reason that has nothing
            to do with this event, such as a missing permission or a revoked key.
    """

    code: str
    message: str
    event: GivenEvent = attrs.field(repr=_without_payload)
    index: int
    attempts: int
    findings: tuple[Finding, ...] = ()
    source_is_gone: bool = False
    of_request: bool = False


@attrs.frozen
class Exhausted(_Told):
    """
    Every attempt failed for a transient reason. Send the event again later.

    Attributes:
        code: The last error code: the service's, or `DeadlineExceeded`, `TransportError`,
            `TlsError`, `CredentialsError` or `ConfigurationError`; from a publisher, also
            `BufferFull` or `PublisherClosed`; from a `SourceGuard`, `SourceParked`: the function
            that parked the event is responsible for sending it again.
        message: The last error's message.
        event: The event, as it was given.
        index: Its position among the events of the call, from 0.
        attempts: How many requests carried it; 0 if the call ended before its turn.
        code_is_known: False if this package does not know the code.
    """

    code: str
    message: str
    event: GivenEvent = attrs.field(repr=_without_payload)
    index: int
    attempts: int
    code_is_known: bool = True


@attrs.frozen
class Unconfirmed(_Told):
    """
    The event may have arrived. Sending it again may duplicate it.

    An answer was lost, and no later attempt was accepted.

    Attributes:
        reason: What happened to the answer, and to the last attempt.
        event: The event, as it was given.
        index: Its position among the events of the call, from 0.
        attempts: How many requests carried it.
    """

    reason: str
    event: GivenEvent = attrs.field(repr=_without_payload)
    index: int
    attempts: int


Outcome = Accepted | Rejected | Exhausted | Unconfirmed
"""The final outcome of an event."""


_set_event, _set_index = (vars(Accepted)[name].__set__ for name in ("event", "index"))


def renumbered(outcome: Outcome, index: int, event: GivenEvent | None = None) -> Outcome:
    """
    Return an outcome with another position of its event.

    The caller must be the only owner: `Accepted`, by far the most common, is changed in place.

    Args:
        outcome: The client's outcome.
        index: The event's position among the events of the call.
        event: The event as the caller gave it, if the client was given another form of it.
    """
    if type(outcome) is Accepted:
        _set_index(outcome, index)
        if event is not None:
            _set_event(outcome, event)
        return outcome
    if event is None:
        event = outcome.event
    if type(outcome) is Rejected and not outcome.attempts:
        # A refusal before sending names the event's position.
        findings = tuple([attrs.evolve(finding, index=index) for finding in outcome.findings])
        was, here = f" of event {outcome.index} ", f" of event {index} "
        message = "; ".join(map(str, findings)) or outcome.message.replace(was, here, 1)
        return attrs.evolve(outcome, index=index, event=event, message=message, findings=findings)
    return attrs.evolve(outcome, index=index, event=event)


def count_outcomes(outcomes: Iterable[Outcome]) -> Counter[tuple[str, str]]:
    """Count outcomes by name and code, leaving out placeholders for events."""
    counts: Counter[tuple[str, str]] = Counter()
    accepted = 0
    for outcome in outcomes:
        event = outcome.event
        # Asked only of strangers: in a class without it, the question takes long.
        if type(event) is not PartnerEvent and getattr(event, "is_stand_in", False):
            continue
        if type(outcome) is Accepted:
            accepted += 1
        elif isinstance(outcome, (Rejected, Exhausted)):
            counts[type(outcome).__name__, outcome.code] += 1
        else:
            counts[type(outcome).__name__, ""] += 1
    if accepted:
        counts["Accepted", ""] = accepted
    return counts
