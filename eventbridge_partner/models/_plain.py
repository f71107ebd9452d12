"""Outcomes and figures as plain values: dicts, lists, text and numbers, ready for JSON."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import attrs
import orjson

from eventbridge_partner._signals import let_pass
from eventbridge_partner.models._detail import read_detail
from eventbridge_partner.models._event import PartnerEvent


def plain_figures(figures: attrs.AttrsInstance) -> dict[str, Any]:
    """Return the fields of a value that holds numbers, texts, times and nested figures."""
    return attrs.asdict(figures, value_serializer=_plain_value)


def _plain_value(_holder: object, _field: object, value: object) -> object:
    return value.isoformat() if isinstance(value, datetime.datetime) else value


def plain_outcome(outcome: attrs.AttrsInstance, *, detail: bool) -> dict[str, Any]:
    """
    Return the fields of an outcome, with `source` and `detail_type` in place of the event.

    Args:
        outcome: An outcome of any class.
        detail: Whether to add the event as an `entry`.
    """
    given: object = getattr(outcome, "event")  # noqa: B009  # all four have one
    members: dict[str, Any] = {"outcome": type(outcome).__name__.lower()}
    entry = plain_entry(given)
    members["source"] = _text(entry.get("Source"))
    members["detail_type"] = _text(entry.get("DetailType"))
    for field in attrs.fields(type(outcome)):
        value: Any = getattr(outcome, field.name)
        if field.name == "findings":
            value = [plain_figures(finding) for finding in value]
        if field.name != "event":
            members[field.name] = value
    if detail:
        members["entry"] = entry
    return members


def plain_entry(given: object) -> dict[str, Any]:
    """
    Return an event as an entry that JSON can hold, with its time as ISO 8601 text.

    Args:
        given: The event as the caller gave it. Members of a mapping that have no form in JSON are
            left out; anything else gives an empty entry.
    """
    if isinstance(given, PartnerEvent):
        entry = given.to_entry()
        if given.time is not None:
            entry["Time"] = given.time.isoformat()
        return entry
    if not isinstance(given, Mapping):
        return {}
    entry = {}
    try:
        for name in given:
            raw, findings = read_detail({name: given[name]})
            if not findings:
                entry |= orjson.loads(raw)
    except Exception as error:  # noqa: BLE001  # the caller's mapping can raise anything
        let_pass(error)
    return entry


def _text(name: object) -> str | None:
    return name if isinstance(name, str) else None
