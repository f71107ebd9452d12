"""Events as rows: how an outbox stores them, and how a relay reads them."""

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
    The columns of an added event, in their order.

    Attributes:
        source: The name of its source.
        detail_type: The kind of event.
        detail: Its JSON text.
        resources: A JSON array of its resources; None if it has none.
        time: Epoch seconds; None if it has no time.
        size: In bytes, as the service counts them.
        traceparent: The span that it belongs to, as a W3C `traceparent` header; None without one.
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
    Return the columns of events.

    Raises:
        InvalidEventError: Some of them cannot be sent. It holds all findings.
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
    # JSON escapes it in details and resources.
    if "\0" in event.detail_type:
        yield Finding("detail_type", "has a U+0000", _ALLOWED_TEXT, index)


@attrs.frozen
class ClaimedRow:
    """
    A row that a relay has claimed.

    Attributes:
        id: The row's id.
        source: The name of its source.
        detail_type: The kind of event.
        detail: Its JSON text.
        resources: A JSON array of its resources; None if it has none.
        time: When it happened, in epoch seconds; None if it has no time.
        size: In bytes, as the service counts them.
        traceparent: The span that it belongs to; None without one.
        age: Seconds since it was added.
        claims: How many earlier claims of it were never settled.
        tries: How often it has failed, outages left out.
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
            InvalidEventError: The stored values were changed, and are no longer a valid event.
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
        InvalidEventError: The value was changed, and is no longer valid.
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
        InvalidEventError: It is out of range.
    """
    try:
        return EPOCH + datetime.timedelta(seconds=seconds)
    except (OverflowError, ValueError, TypeError):  # ValueError: NaN
        finding = Finding("time", "is no time", "allowed: epoch seconds of the years 1 to 9999")
        raise InvalidEventError([finding]) from None


@attrs.frozen
class Claim:
    """
    Rows that one relay holds for a while.

    Attributes:
        token: Identifies this claim; needed to settle its rows.
        rows: At least one, oldest first.
        lease: Seconds for which no other claim gets these rows.
    """

    token: str
    rows: tuple[ClaimedRow, ...] = attrs.field(repr=lambda rows: f"<{len(rows)}>")
    lease: float

    @property
    def size(self) -> int:
        """The size of all rows, in bytes."""
        return sum(row.size for row in self.rows)
