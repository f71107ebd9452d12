"""The service's word on an entry, and our final word on an event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, cast

import attrs

from eventbridge_partner.errors import Finding
from eventbridge_partner.models._event import PartnerEvent
from eventbridge_partner.models._plain import plain_outcome

GivenEvent = PartnerEvent | Mapping[str, Any]
"""An event as the caller gave it."""


def _without_payload(event: GivenEvent) -> str:
    return repr(event) if isinstance(event, PartnerEvent) else "<entry>"


@attrs.frozen
class ResultEntry:
    """
    What the service said of one entry of a request.

    Attributes:
        event_id: The id of the accepted event; None if it failed, or if no id was given.
        error_code: Why it failed; None if it was accepted.
        error_message: The service's words for it.
    """

    event_id: str | None = None
    error_code: str | None = None
    error_message: str | None = None


class _Told:
    """What all outcomes have in common."""

    __slots__ = ()

    def to_dict(self, *, detail: bool = False) -> dict[str, Any]:
        """
        Return the outcome as plain values, ready for JSON.

        Args:
            detail: Whether to add the event with its payload.

        Returns:
            `outcome`, which is `accepted`, `rejected`, `exhausted` or `unconfirmed`; `source` and
            `detail_type` of the event, None where it has no such text; every other attribute but
            `event`. With `detail` also `entry`, the event as `PartnerEvent.from_entry` reads it;
            of a mapping that is no event, the members that have a form in JSON.
        """
        return plain_outcome(cast("Outcome", self), detail=detail)


@attrs.frozen(init=False)
class Accepted(_Told):
    """
    The service took the event. Nothing is left to do.

    Accepted is not delivered: a source in state PENDING accepts events and drops them.

    Attributes:
        event_id: The service's id; None from a service that gives none.
        event: The event, as it was given.
        index: Its position among the events of the call, from 0.
        attempts: How many requests carried it.
    """

    event_id: str | None
    event: GivenEvent = attrs.field(repr=_without_payload)
    index: int
    attempts: int

    def __init__(self, event_id: str | None, event: GivenEvent, index: int, attempts: int) -> None:
        # Through the slots themselves, for there is one for each event: half of what attrs' own
        # __init__ of a frozen class takes.
        _keep_event_id(self, event_id)
        _keep_event(self, event)
        _keep_index(self, index)
        _keep_attempts(self, attempts)


_keep_event_id, _keep_event, _keep_index, _keep_attempts = (
    vars(Accepted)[name].__set__ for name in ("event_id", "event", "index", "attempts")
)


@attrs.frozen
class Rejected(_Told):
    """
    Fix the event or drop it: sending it again cannot help.

    Attributes:
        code: The service's error code; `InvalidEvent` or `EntryTooLarge`, or of a `SourceGuard`
            `SourcePending` or `SourceGone`, or of a `RegionRouter` `UnknownRegion`, if it was
            never sent.
        message: What is wrong, without what the service echoes of the event.
        event: The event, as it was given.
        index: Its position among the events of the call, from 0.
        attempts: How many requests carried it; 0 if it was refused before sending.
        findings: What is wrong, piece by piece, if it was refused before sending.
        source_is_gone: The partner event source does not exist any more: stop sending to it.
        of_request: The service refused the whole request, for who sent it or how, and nothing is
            known to be wrong with this event: a missing permission, a revoked key.
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
    Each attempt failed transiently: send it again later.

    Attributes:
        code: The last error code: the service's, or `DeadlineExceeded`, `TransportError`,
            `TlsError`, `CredentialsError` or `ConfigurationError`; of a publisher's event also
            `BufferFull` or `PublisherClosed`; or of a `SourceGuard` `SourceParked`, for which
            somebody else sends it again.
        message: The last error's message.
        event: The event, as it was given.
        index: Its position among the events of the call, from 0.
        attempts: How many requests carried it; 0 if the call ended before its turn.
        code_is_known: False for a code that this package knows nothing about.
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
    It may have arrived: sending it again may duplicate it.

    An answer was lost, and no later attempt was accepted.

    Attributes:
        reason: What became of the answer, and of the last attempt.
        event: The event, as it was given.
        index: Its position among the events of the call, from 0.
        attempts: How many requests carried it.
    """

    reason: str
    event: GivenEvent = attrs.field(repr=_without_payload)
    index: int
    attempts: int


Outcome = Accepted | Rejected | Exhausted | Unconfirmed
"""Our final word on an event."""


def renumbered(outcome: Outcome, index: int, event: GivenEvent | None = None) -> Outcome:
    """
    Return an outcome as that of an event at another position among those of its call.

    Nobody else may have it yet: `Accepted`, of which there are most, is changed as it is.

    Args:
        outcome: As the client gave it.
        index: The position.
        event: As the caller gave it, if the client was given another form of it.
    """
    if type(outcome) is Accepted:
        _keep_index(outcome, index)
        if event is not None:
            _keep_event(outcome, event)
        return outcome
    if event is None:
        event = outcome.event
    if type(outcome) is Rejected and not outcome.attempts:
        # What was refused before it was sent says which event it is.
        findings = tuple([attrs.evolve(finding, index=index) for finding in outcome.findings])
        was, here = f" of event {outcome.index} ", f" of event {index} "
        message = "; ".join(map(str, findings)) or outcome.message.replace(was, here, 1)
        return attrs.evolve(outcome, index=index, event=event, message=message, findings=findings)
    return attrs.evolve(outcome, index=index, event=event)


def count_outcomes(outcomes: Iterable[Outcome]) -> Counter[tuple[str, str]]:
    """Count outcomes by name and code, without those of what only stands in for an event."""
    return Counter(
        (type(outcome).__name__, outcome.code if isinstance(outcome, (Rejected, Exhausted)) else "")
        for outcome in outcomes
        if not getattr(outcome.event, "is_stand_in", False)
    )
