"""The events of the local service as JSON documents, short and whole."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from eventbridge_partner.testing._envelopes import envelope_with
from eventbridge_partner.testing._records import AcceptedEntry, EntryResult, RequestRecord
from eventbridge_partner.testing._sources import LocalSources

ACCOUNT: Final = "123456789012"
"""The customer's account if the event's source was never created."""

DETAIL_HEAD: Final = 2000
"""How many characters of a detail the list of events holds."""


def numbers(record: RequestRecord, after: int) -> Iterator[tuple[int, int]]:
    """Yield number and place of each event of a request whose number is above `after`."""
    for place in range(record.event_count):
        number = record.first_event + place
        if number > after:
            yield number, place


def short(record: RequestRecord, number: int, place: int) -> dict[str, Any]:
    """Return an event as a list shows it; members that could not be read are null."""
    entry = record.entries[place] if record.entries else {}
    result = _result(record, place)
    detail = _text_or_none(entry.get("Detail"))
    return {
        "id": number,
        "request": record.index,
        "entry": place if record.entries else None,
        "received_at": record.time,
        "outcome": _outcome(record, result),
        "code": record.error_code if result is None else result.error_code,
        "event_id": None if result is None else result.event_id,
        "source": _text_or_none(entry.get("Source")),
        "detail_type": _text_or_none(entry.get("DetailType")),
        "detail": None if detail is None else detail[:DETAIL_HEAD],
        "detail_length": 0 if detail is None else len(detail),
    }


def whole(record: RequestRecord, number: int, place: int, whose: Whose) -> dict[str, Any]:
    """
    Return everything that is known about an event.

    Args:
        record: Its request.
        number: Its own number.
        place: Its place in the request.
        whose: Knows the event's customer.
    """
    entry = record.entries[place] if record.entries else None
    accepted = accepted_entry(record, place)
    result = _result(record, place)
    return {
        **short(record, number, place),
        "detail": None if entry is None else _text_or_none(entry.get("Detail")),
        "message": None if result is None else result.error_message,
        "dropped_for": [] if result is None else list(result.dropped_for),
        "entry_as_sent": None if entry is None else _as_sent(entry),
        "customer_event": None
        if accepted is None
        else whose.event_of(accepted, RawJson(accepted.detail)),
        "sent_in": {
            "received_at": record.time,
            "operation": record.operation,
            "status": record.status,
            "error_code": record.error_code,
            "entries": record.entry_count,
            "bytes": record.body_size,
            "faults": [type(fault).__name__ for fault in record.faults],
            "answer_delivered": record.answer_delivered,
            "unknown_members": list(record.unknown_members),
            "headers": dict(record.headers),
        },
    }


def accepted_entry(record: RequestRecord, place: int) -> AcceptedEntry | None:
    """Return an event as an accepted entry; None if it was not accepted."""
    result = _result(record, place)
    if result is None or result.event_id is None:
        return None
    entry = record.entries[place]
    return AcceptedEntry(
        event_id=result.event_id,
        source=entry["Source"],
        detail_type=entry["DetailType"],
        detail=entry["Detail"],
        resources=tuple(entry.get("Resources") or ()),
        time=entry.get("Time"),
        request_index=record.index,
        entry_index=place,
        received_at=record.time,
    )


@attrs.frozen
class Whose:
    """Knows the customer of an event: the first account that has its source."""

    sources: LocalSources
    region: str

    def event_of(self, entry: AcceptedEntry, detail: object = None) -> dict[str, Any] | None:
        """Return the customer's event, with its own or a given detail; None if there is none."""
        held = self.sources.accounts(entry.source)
        account = held[0].account if held else ACCOUNT
        try:
            return envelope_with(
                entry.parsed_detail if detail is None else detail,
                entry,
                account=account,
                region=self.region,
            )
        except ValueError:  # a time that an envelope cannot express
            return None


@attrs.frozen
class RawJson:
    """JSON text that is put into a document unchanged, so that numbers keep all their digits."""

    text: str


def encoded(document: object) -> bytes:
    """Return a document as JSON text."""
    raw: list[str] = []

    def placeholder(value: object) -> str:
        if not isinstance(value, RawJson):
            raise TypeError(f"{type(value).__name__} is not JSON")
        raw.append(value.text)
        return f"{_MARK}{len(raw) - 1}"

    text = json.dumps(document, default=placeholder)
    if raw:
        text = _MARKED.sub(lambda found: raw[int(found[1])], text)
    return text.encode()


_MARK: Final = secrets.token_hex(16)
_MARKED: Final = re.compile(f'"{_MARK}([0-9]+)"')


def _as_sent(entry: Mapping[str, Any]) -> object:
    """Return an entry as received; if JSON cannot express it, only its texts."""
    try:
        return RawJson(json.dumps(entry, allow_nan=False))
    except (ValueError, RecursionError):
        return {name: text for name, text in entry.items() if isinstance(text, str)}


def _result(record: RequestRecord, place: int) -> EntryResult | None:
    return record.results[place] if record.results else None


def _outcome(record: RequestRecord, result: EntryResult | None) -> str:
    if result is None:
        return "refused" if record.status is not None else "unanswered"
    if result.event_id is None:
        return "failed"
    return "dropped" if result.dropped_for else "accepted"


def _text_or_none(value: object) -> str | None:
    """Return a received member if it is text."""
    return value if isinstance(value, str) else None
