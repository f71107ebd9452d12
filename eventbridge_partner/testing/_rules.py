"""
The service's checks of a PutPartnerEvents request, on the raw JSON.

The numbers and patterns repeat those of the client on purpose: if they were shared, a mistake in
one of them would go unnoticed. "Model" is the `events` 2015-10-07 service model that botocore
ships.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import attrs

MAX_ENTRIES: Final = 20
"""Model: PutPartnerEventsRequestEntryList."""

MAX_SOURCE: Final = 256
"""Characters. Model: EventSourceName."""

SOURCE: Final = re.compile(r"aws\.partner(/[\.\-_A-Za-z0-9]+){2,}")
"""Model: EventSourceName; the whole text must match."""

MAX_RESOURCE: Final = 2048
"""Characters. Model: EventResource."""

MAX_DETAIL_TYPE: Final = 128
"""Characters. API reference: PutPartnerEventsRequestEntry."""

MAX_DEPTH: Final = 1000
"""Levels of objects and arrays in a detail. User guide, PutEvents."""

INTEGERS: Final = range(-(2**63), 2**63)
"""Integers in a detail. User guide, PutEvents."""

TIME_SIZE: Final = 14
"""User guide: Calculating PutEvents event entry size."""

MEMBERS: Final = ("Time", "Source", "Resources", "DetailType", "Detail")
"""Model: PutPartnerEventsRequestEntry."""

NEEDED: Final = ("Source", "DetailType", "Detail")
"""Optional in the model, but the API reference says that an entry without one of them fails."""


@attrs.frozen
class Refusal:
    """The service refuses a whole request. `message` may repeat the payload."""

    code: str
    message: str = attrs.field(repr=False)
    status: int = 400


@attrs.frozen
class EntryError:
    """The service refuses one entry."""

    code: str
    message: str


@attrs.frozen
class Reading:
    """
    A request body as the service understands it.

    Attributes:
        entries: The entries as received; empty if they cannot be read.
        refusal: Why the whole request is refused; None if it is not.
        errors: For each entry, why it fails; None if it does not. Empty with a `refusal`.
        unknown_members: Names that the service does not know and ignores.
        members: The members of a source operation's request.
    """

    entries: tuple[Mapping[str, Any], ...] = attrs.field(repr=False)
    refusal: Refusal | None = None
    errors: tuple[EntryError | None, ...] = ()
    unknown_members: tuple[str, ...] = ()
    members: Mapping[str, Any] = attrs.field(factory=dict, repr=False)


def read_put_partner_events(body: bytes, max_size: int) -> Reading:
    """
    Read and check the body of a PutPartnerEvents request.

    Args:
        body: As received.
        max_size: The total size of all entries must be below this.
    """
    try:
        payload = _DECODER.decode(body.decode())
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        return Reading((), _unserializable("The request body is not JSON."))
    if not isinstance(payload, dict):
        return Reading((), _unserializable("Start of structure expected."))
    members = cast("dict[str, Any]", payload)
    unknown = {name for name in members if name != "Entries"}
    entries = members.get("Entries")
    if entries is None:
        return Reading((), _invalid("null", "entries", "Member must not be null"))
    if not isinstance(entries, list):
        return Reading((), _unserializable("Entries: start of list expected."))
    listed: list[Any] = entries
    if not all(isinstance(entry, dict) for entry in listed):
        return Reading((), _unserializable("Entries: start of structure expected."))
    received = tuple(cast("list[dict[str, Any]]", listed))
    for entry in received:
        unknown.update(name for name in entry if name not in MEMBERS)
    names = tuple(sorted(unknown))
    refusal = _mistyped(received) or _out_of_model(received) or _without_use(received, max_size)
    if refusal is not None:
        return Reading(received, refusal, unknown_members=names)
    errors = tuple(entry_error(entry) for entry in received)
    return Reading(received, None, errors, names)


def size_of(entry: Mapping[str, Any]) -> int:
    """Return an entry's size by the user guide: "Calculating PutEvents event entry size"."""
    size = 0 if entry.get("Time") is None else TIME_SIZE
    for text in (*(entry.get(name) or "" for name in NEEDED), *(entry.get("Resources") or ())):
        size += len(text) if text.isascii() else len(text.encode())
    return size


def entry_error(entry: Mapping[str, Any]) -> EntryError | None:
    """Return why the service refuses this entry; None if it does not."""
    for name in NEEDED:
        if not entry.get(name):
            return EntryError(
                "InvalidArgument",
                f"Parameter {name} is not valid. Reason: {name} is a required argument.",
            )
    if len(entry["DetailType"]) > MAX_DETAIL_TYPE:
        return EntryError(
            "InvalidArgument",
            "Parameter DetailType is not valid. "
            f"Reason: DetailType is longer than {MAX_DETAIL_TYPE} characters.",
        )
    if not is_detail(entry["Detail"]):
        return EntryError("MalformedDetail", "Detail is malformed.")
    return None


def echo(entries: tuple[Mapping[str, Any], ...]) -> str:
    """Return entries as the service's validation messages repeat them, with their details."""
    return "[" + ", ".join(map(_echoed, entries)) + "]"


def _echoed(entry: Mapping[str, Any]) -> str:
    fields = (f"{name[0].lower()}{name[1:]}={_shown(entry.get(name))}" for name in MEMBERS)
    return f"PutPartnerEventsRequestEntry({', '.join(fields)})"


def _shown(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{', '.join(map(str, cast('list[object]', value)))}]"
    return str(value)


def echoing_message(entries: tuple[Mapping[str, Any], ...]) -> str:
    """Return a validation message that repeats every detail of a request."""
    constraint = "Member must satisfy the constraints of the service"
    return _invalid(echo(entries), "entries", constraint).message


def invalid(*findings: str) -> Refusal:
    """Return the refusal that reports violations of the model's constraints."""
    noun = "error" if len(findings) == 1 else "errors"
    return Refusal(
        "ValidationException",
        f"{len(findings)} validation {noun} detected: {'; '.join(findings)}",
    )


def finding(value: str, place: str, constraint: str) -> str:
    """Return one finding of a validation message."""
    shown = value if value == "null" else f"'{value}'"
    return f"Value {shown} at '{place}' failed to satisfy constraint: {constraint}"


def _invalid(value: str, place: str, constraint: str) -> Refusal:
    return invalid(finding(value, place, constraint))


def _unserializable(message: str) -> Refusal:
    return Refusal("SerializationException", message)


def _mistyped(entries: tuple[Mapping[str, Any], ...]) -> Refusal | None:
    """Find a member whose JSON type is not the model's, or text that is not Unicode."""
    for entry in entries:
        for name in NEEDED:
            value = entry.get(name)
            if value is None:
                continue
            if not isinstance(value, str):
                return _unserializable(f"{name} can not be converted to a String.")
            if not _is_unicode(value):
                return _unserializable(f"{name} holds half of a surrogate pair.")
        time = entry.get("Time")
        if time is not None and not _is_finite_number(time):
            # Recorded as the answer to an ISO 8601 text; the protocol wants epoch seconds.
            return _unserializable("Time can not be converted to a Timestamp.")
        resources = entry.get("Resources")
        if resources is None:
            continue
        if not isinstance(resources, list):
            return _unserializable("Resources: start of list expected.")
        listed: list[Any] = resources
        for resource in listed:
            if not isinstance(resource, str) or not _is_unicode(resource):
                return _unserializable("Resources: a member can not be converted to a String.")
    return None


def _is_finite_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # An integer may be too large for a float.
    return isinstance(value, int) or math.isfinite(value)


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _out_of_model(entries: tuple[Mapping[str, Any], ...]) -> Refusal | None:
    findings = list(_findings(entries))
    return invalid(*findings) if findings else None


def _findings(entries: tuple[Mapping[str, Any], ...]) -> Iterator[str]:
    if not entries:
        yield finding("[]", "entries", "Member must have length greater than or equal to 1")
    if len(entries) > MAX_ENTRIES:
        constraint = f"Member must have length less than or equal to {MAX_ENTRIES}"
        yield finding(echo(entries), "entries", constraint)
    for place, entry in enumerate(entries, 1):
        source = entry.get("Source")
        where = f"entries.{place}.member.source"
        if source is not None and not SOURCE.fullmatch(source):
            constraint = f"Member must satisfy regular expression pattern: {SOURCE.pattern}"
            yield finding(source, where, constraint)
        if source == "":
            yield finding("", where, "Member must have length greater than or equal to 1")
        if source is not None and len(source) > MAX_SOURCE:
            constraint = f"Member must have length less than or equal to {MAX_SOURCE}"
            yield finding(source, where, constraint)
        resources = entry.get("Resources") or ()
        if any(len(resource) > MAX_RESOURCE for resource in resources):
            yield finding(
                f"[{', '.join(resources)}]",
                f"entries.{place}.member.resources",
                "Member must satisfy constraint: "
                f"[Member must have length less than or equal to {MAX_RESOURCE}]",
            )


def _without_use(entries: tuple[Mapping[str, Any], ...], max_size: int) -> Refusal | None:
    if sum(map(size_of, entries)) >= max_size:
        return Refusal(
            "ValidationException",
            "Total size of the entries in the request is over the limit.",
        )
    if not any(all(entry.get(name) for name in NEEDED) for entry in entries):
        # API reference, PutPartnerEventsRequestEntry: the entire operation fails. The code is
        # inferred.
        return _invalid(
            echo(entries), "entries", "Source, DetailType and Detail are required arguments"
        )
    return None


# A detail is JSON text inside the JSON


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _bounded_integer(digits: str) -> int:
    number = int(digits)
    if number not in INTEGERS:
        raise ValueError("an integer is out of range")
    return number


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)
_DETAIL_DECODER: Final = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_int=_bounded_integer
)
_STRUCTURE: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_AT_ONCE: Final = 100
"""Levels to parse at a time: json recurses, and Python's recursion limit is 1,000."""


def is_detail(text: str) -> bool:
    """Whether a text is a JSON object of at most 1,000 levels, with integers within 64 bits."""
    try:
        if text.count("{") + text.count("[") <= MAX_DEPTH:
            return isinstance(_DETAIL_DECODER.decode(text), dict)
    except ValueError:
        return False
    except RecursionError:
        pass
    flattened = _flattened(text)
    if flattened is None:
        return False
    try:
        return isinstance(_DETAIL_DECODER.decode(flattened), dict)
    except ValueError:
        return False


def _flattened(text: str) -> str | None:
    """Parse what is deeper than 100 levels and replace it by `0`; None if it is not allowed."""
    open_parts: list[list[str]] = [[]]
    copied = 0
    for match in _STRUCTURE.finditer(text):
        sign = match.group()
        if sign in "{[":
            open_parts[-1].append(text[copied : match.start()])
            copied = match.start()
            open_parts.append([])
            if len(open_parts) - 1 > MAX_DEPTH:
                return None
        elif sign in "}]":
            if len(open_parts) == 1:
                return None
            part = "".join(open_parts.pop()) + text[copied : match.end()]
            copied = match.end()
            if len(open_parts) % _AT_ONCE == 0:
                try:
                    _DETAIL_DECODER.decode(part)
                except ValueError:
                    return None
                part = "0"
            open_parts[-1].append(part)
    if len(open_parts) != 1:
        return None
    return "".join(open_parts[0]) + text[copied:]
