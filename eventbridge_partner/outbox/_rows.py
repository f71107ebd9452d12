"""Events as rows: what an outbox stores of them, and what a relay makes of that."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable
from typing import Final, NamedTuple

import attrs

from eventbridge_partner.errors import Finding, InvalidEventError
from eventbridge_partner.models import GivenEvent, PartnerEvent, entry_size

EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_SECOND: Final = datetime.timedelta(seconds=1)
_ALLOWED_TEXT: Final = "allowed: text without U+0000, which databases do not store"


class StoredEvent(NamedTuple):
    """
    The columns of an event that is added, in their order.

    Attributes:
        source: The name of its source.
        detail_type: What kind of event it is.
        detail: Its JSON text.
        resources: A JSON array of them; None if there are none.
        time: Epoch seconds; None if it has no time.
        size: In bytes, as the service counts.
        traceparent: The span that it belongs to, as W3C's header has it; None without one.
    """

    source: str
    detail_type: str
    detail: str
    resources: str | None
    time: float | None
    size: int
    traceparent: str | None


def stored(events: Iterable[GivenEvent], traceparent: str | None = None) -> list[StoredEvent]:
    """
    Return what is stored of events.

    Raises:
        InvalidEventError: Some of them cannot be sent; with everything that is wrong.
    """
    rows: list[StoredEvent] = []
    findings: list[Finding] = []
    for index, given in enumerate(events):
        try:
            event = given if isinstance(given, PartnerEvent) else PartnerEvent.from_entry(given)
        except InvalidEventError as error:
            findings += error.at(index).findings
            continue
        findings += _nul_findings(event, index)
        rows.append(
            StoredEvent(
                event.source,
                event.detail_type,
                event.detail,
                json.dumps(event.resources, ensure_ascii=False) if event.resources else None,
                None if event.time is None else (event.time - EPOCH) / _SECOND,
                entry_size(event),
                traceparent,
            )
        )
    if findings:
        raise InvalidEventError(findings)
    return rows


def _nul_findings(event: PartnerEvent, index: int) -> Iterable[Finding]:
    # In details and resources, JSON has another word for it.
    if "\0" in event.detail_type:
        yield Finding("detail_type", "has a U+0000", _ALLOWED_TEXT, index)


@attrs.frozen
class ClaimedRow:
    """
    A row that a relay has claimed.

    Attributes:
        id: Of the row.
        source: The name of its source.
        detail_type: What kind of event it is.
        detail: Its JSON text.
        resources: A JSON array of them; None if there are none.
        time: When it happened, in epoch seconds; None if it does not say.
        size: In bytes, as the service counts.
        traceparent: The span that it belongs to; None without one.
        age: Seconds since it was added.
        claims: How many claims of it, before this one, were never settled.
        tries: How often it has failed for a reason of its own.
        maybe_sent: Whether it may have arrived already.
    """

    id: int
    source: str
    detail_type: str
    detail: str = attrs.field(repr=lambda detail: f"<{len(detail)} characters>")
    resources: str | None = attrs.field(
        repr=lambda text: "None" if text is None else f"<{len(text)} characters>"
    )
    time: float | None
    size: int
    traceparent: str | None
    age: float
    claims: int
    tries: int
    maybe_sent: bool

    def event(self) -> PartnerEvent:
        """
        Return the event.

        Raises:
            InvalidEventError: What is stored cannot be sent, whoever changed it.
        """
        return PartnerEvent(
            self.source,
            self.detail_type,
            self.detail,
            resources=read_resources(self.resources),
            time=None if self.time is None else read_time(self.time),
        )


def read_resources(text: str | None) -> tuple[str, ...]:
    """
    Read the resources of a row.

    Raises:
        InvalidEventError: They are not what was stored.
    """
    if text is None:
        return ()
    try:
        resources = json.loads(text)
    except ValueError:
        resources = None
    if not isinstance(resources, list):
        raise InvalidEventError([Finding("resources", "is not JSON", "allowed: a JSON array")])
    return tuple(resources)


def read_time(seconds: float) -> datetime.datetime:
    """
    Read the time of a row.

    Raises:
        InvalidEventError: It is beyond what can be sent.
    """
    try:
        return EPOCH + datetime.timedelta(seconds=seconds)
    except (OverflowError, ValueError, TypeError):  # ValueError for NaN
        finding = Finding("time", "is no time", "allowed: epoch seconds of the years 1 to 9999")
        raise InvalidEventError([finding]) from None


@attrs.frozen
class Claim:
    """
    Rows that one relay holds for a while.

    Attributes:
        token: Names this claim: only who has it settles its rows.
        rows: At least one, oldest first.
        lease: Seconds for which no other claim gets them.
    """

    token: str
    rows: tuple[ClaimedRow, ...] = attrs.field(repr=lambda rows: f"<{len(rows)}>")
    lease: float

    @property
    def size(self) -> int:
        """Of all rows, in bytes."""
        return sum(row.size for row in self.rows)
