"""Reads the text of one entry as an event, without building objects for its detail."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar, cast

import msgspec
import orjson

from eventbridge_partner import (
    BatchLimits,
    Finding,
    InvalidEventError,
    PartnerEvent,
    entry_size,
)
from eventbridge_partner._foreign_text import escaped
from eventbridge_partner.limits import MAX_DETAIL_DEPTH
from eventbridge_partner.models._event import (
    ALLOWED_MEMBERS,
    meant_members,
    misnamed_finding,
)
from eventbridge_partner.models._findings import Findings

T = TypeVar("T")
_Raw = msgspec.Raw | msgspec.UnsetType

_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]', re.DOTALL)
_COLON: Final = re.compile(rb"[ \t\r\n]*:")
_NOT_WHITE: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[^" \t\r\n]+', re.DOTALL)

_ALLOWED_ENTRY: Final = "allowed: a JSON object with Source, DetailType and Detail"
_MOST_BUILT_BYTES: Final = 1024 * 1024
"""The longest text that is parsed into objects."""

_MOST_LISTED_BYTES: Final = 8 * 1024 * 1024
"""The longest text of all resources: eight times what an entry can hold."""

_KINDS: Final = {
    b"[": "array",
    b'"': "string",
    b"t": "boolean",
    b"f": "boolean",
    b"n": "null",
}

_STAND_INS: Final[dict[bytes, object]] = {b"{": {}, b"[": [], b"t": True, b"f": False, b"n": None}
"""A value of the same type, in place of one whose type is wrong anyway."""


class _Members(msgspec.Struct):
    """The members of an entry, each as raw text. Unknown members are ignored."""

    Source: _Raw = msgspec.UNSET
    DetailType: _Raw = msgspec.UNSET
    Detail: _Raw = msgspec.UNSET
    Resources: _Raw = msgspec.UNSET
    Time: _Raw = msgspec.UNSET


class _OnlyMembers(_Members, forbid_unknown_fields=True):
    """The same, but unknown members are an error."""


_read_members: Final = msgspec.json.Decoder(_Members).decode
_read_only_members: Final = msgspec.json.Decoder(_OnlyMembers).decode
_read_anything: Final = msgspec.json.Decoder(msgspec.Raw).decode
_read_text: Final = msgspec.json.Decoder(str).decode
_read_texts: Final = msgspec.json.Decoder(list[str]).decode


class EntryTooLargeError(Exception):
    """An entry is larger than the limit."""

    def __init__(self, found: str) -> None:
        limit = BatchLimits().max_entry_bytes
        self.finding = Finding("entry", found, f"the limit is {limit:,}")
        super().__init__(str(self.finding))


def read_entry(text: bytes) -> PartnerEvent:
    """
    Read the text of an entry.

    Args:
        text: JSON, without white space around it.

    Raises:
        InvalidEventError: It is not JSON, or no event.
        EntryTooLargeError: It is larger than the service's default limit.
    """
    members, unknown = _members(text)
    findings = list(unknown)
    values: dict[str, Any] = {}
    for name, read in _READERS.items():
        raw = getattr(members, name)
        if raw is msgspec.UNSET:
            continue
        values[name] = read(bytes(raw))
    detail = values.get("Detail")
    if isinstance(detail, str) and len(detail) > 2 * BatchLimits().max_entry_bytes:
        # Parsing it may take a hundred times its size in memory.
        raise EntryTooLargeError(f"has a detail of {len(detail):,} characters")
    try:
        event = PartnerEvent.from_entry(values)
    except InvalidEventError as error:
        findings += error.findings
        raise InvalidEventError(findings) from None
    if findings:
        raise InvalidEventError(findings)
    if (size := entry_size(event)) > BatchLimits().max_entry_bytes:
        raise EntryTooLargeError(f"has {size:,} bytes")
    return event


def _members(text: bytes) -> tuple[_Members, tuple[Finding, ...]]:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        found = f"is not UTF-8 (byte {error.start + 1} of it)"
        raise InvalidEventError([Finding("entry", found, _ALLOWED_ENTRY)]) from None
    try:
        try:
            return _deeply(_read_only_members, text), ()
        except msgspec.ValidationError:  # an unknown member, or not an object
            _deeply(_read_anything, text)
    except (msgspec.DecodeError, RecursionError) as error:
        found = f"is not JSON ({_complaint(text, error)})"
        raise InvalidEventError([Finding("entry", found, _ALLOWED_ENTRY)]) from None
    if (opening := text[:1]) != b"{":
        found = f"is a JSON {_KINDS.get(opening, 'number')}"
        raise InvalidEventError([Finding("entry", found, _ALLOWED_ENTRY)])
    findings = Findings("entry")
    misnamed = meant_members(_names(text))
    for name in _names(text):
        if name not in _READERS and name not in misnamed:
            found = "is not a member of an entry"
            findings.add(functools.partial(escaped, name), found, ALLOWED_MEMBERS)
    if not misnamed:
        return _deeply(_read_members, text), findings.all()
    members = _deeply(_reader_of(tuple(misnamed.items())), text)
    return members, (misnamed_finding(misnamed), *findings.all())


@functools.cache
def _reader_of(misnamed: tuple[tuple[str, str], ...]) -> Callable[[bytes], _Members]:
    """Return a reader of members that are misnamed. There are few such names."""
    names = {member: name for name, member in misnamed}
    fields = [(member, _Raw, msgspec.UNSET) for member in _READERS]
    struct = msgspec.defstruct("_Misnamed", fields, bases=(_Members,), rename=names)
    return msgspec.json.Decoder(cast("type[_Members]", struct)).decode


def _deeply(read: Callable[[bytes], T], text: bytes) -> T:
    """Read text as deeply nested as orjson can, with a higher recursion limit if need be."""
    try:
        return read(text)
    except RecursionError:
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(limit + 2 * MAX_DETAIL_DEPTH)
        try:
            return read(text)
        finally:
            sys.setrecursionlimit(limit)


def _complaint(text: bytes, error: Exception) -> str:
    """Say why text is not JSON, with line and column unless it is very long."""
    if len(text) <= _MOST_BUILT_BYTES:
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError as better:
            column = f"column {better.colno}"
            place = f"its line {better.lineno} {column}" if b"\n" in text else column
            return f"{better.msg} at {place}"
    return "nested too deep" if isinstance(error, RecursionError) else str(error)


def _names(text: bytes) -> Iterator[str]:
    """Yield the names of an object's members, in order."""
    depth = 0
    for token in _TOKEN.finditer(text):
        match token[0][:1]:
            case b'"':
                if depth == 1 and _COLON.match(text, token.end()):
                    yield _read_text(token[0])
            case b"{" | b"[":
                depth += 1
            case _:
                depth -= 1


# ---------------------------------------------------------------- members


def _text(raw: bytes) -> object:
    return _read_text(raw) if raw[:1] == b'"' else _STAND_INS.get(raw[:1], 0)


def _detail(raw: bytes) -> object:
    """Return a detail, text or object, as JSON text."""
    match raw[:1]:
        case b'"':
            return _read_text(raw)
        case b"{":
            # Parsing and encoding would change numbers such as 1.10 and 12345678901234567890.
            return _without_white(raw).decode()
        case b"[":
            return "[]"  # refused later, with a message about JSON rather than Python
        case opening:
            return "0" if opening.isdigit() or opening == b"-" else raw.decode()


def _resources(raw: bytes) -> object:
    if raw[:1] != b"[":
        return _text(raw)
    if len(raw) > _MOST_LISTED_BYTES:
        raise EntryTooLargeError(f"has {len(raw):,} bytes of resources as they are written")
    try:
        return orjson.loads(raw) if len(raw) <= _MOST_BUILT_BYTES else _read_texts(raw)
    except (orjson.JSONDecodeError, msgspec.ValidationError):
        return [None]  # refused later


def _time(raw: bytes) -> object:
    if raw[:1] in _STAND_INS or raw[:1] == b'"':
        return _text(raw)
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return float("inf")  # beyond a double


_READERS: Final[dict[str, Callable[[bytes], object]]] = {
    "Source": _text,
    "DetailType": _text,
    "Detail": _detail,
    "Resources": _resources,
    "Time": _time,
}


def _without_white(text: bytes) -> bytes:
    found = bytearray()
    for piece in _NOT_WHITE.finditer(text):
        found += piece[0]
    return bytes(found)
