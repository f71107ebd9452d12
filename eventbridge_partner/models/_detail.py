"""
Writes the JSON text of `Detail`, and checks what is in it.

The quick way is orjson or, to check ready text, msgspec. They accept some things that the service
refuses, and change others (NaN becomes null, integers of more than 64 bits become floats). A few
cheap signs in the bytes show these cases. Only then does the thorough way run: it walks the value
and names the path of everything that it refuses.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

import orjson

from eventbridge_partner._foreign_text import plain_text
from eventbridge_partner._signals import let_pass
from eventbridge_partner.errors import Finding
from eventbridge_partner.limits import MAX_DETAIL_DEPTH, MAX_INTEGER
from eventbridge_partner.models import _reading as reading
from eventbridge_partner.models import _thorough as thorough
from eventbridge_partner.models._json_types import (
    NoJsonFormError,
    RecordConverter,
    is_model,
    is_record,
    kind_of,
    unstructured,
    with_json_type,
)
from eventbridge_partner.models._thorough import ALLOWED_TEXT

_OPTIONS: Final = (
    orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_STRICT_INTEGER
)

_ALLOWED_DETAIL: Final = (
    "allowed: a mapping, an attrs instance, dataclass or pydantic model, or JSON text"
)
_ALLOWED_JSON: Final = "allowed: a JSON object"

# An integer outside 64 bits has at least 19 digits: two of them in a row in a sample of every ninth
# byte, and four in a sample of every fourth. Every digit becomes "0", so that one search finds the
# candidates, far faster than a regular expression.
_DIGITS_ALIKE: Final = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_LONG_NUMBERS: Final = re.compile(rb"[0-9]{19,}")
_LARGEST_NUMBER: Final = b"%d" % MAX_INTEGER


# orjson reads up to 1,024 levels of JSON. Wrapped in this many arrays, a text may have no more
# levels than the service allows; that is cheaper than counting levels. Text that closes some of the
# arrays and opens others is noticed, because they then hold more than one value.
_ORJSON_DEPTH: Final = 1024
_ARRAYS: Final = b"[" * (_ORJSON_DEPTH - MAX_DETAIL_DEPTH)
_ARRAYS_END: Final = b"]" * (_ORJSON_DEPTH - MAX_DETAIL_DEPTH)


def read_detail(
    detail: object, converter: RecordConverter | None = None
) -> tuple[bytes, tuple[Finding, ...]]:
    """
    Return the UTF-8 JSON text to be sent for `detail`, and everything that is wrong with it.

    Args:
        detail: A mapping, a record or text.
        converter: Makes plain values of anything but text; None for this package's own rule.
    """
    if type(detail) is dict and converter is None:
        return _from_mapping(cast("dict[object, object]", detail))
    if isinstance(detail, str):
        return read_text(plain_text(detail))
    try:
        members = detail if converter is None else unstructured(detail, converter)
        is_dumped = is_model(members)
        if isinstance(members, Mapping) or is_dumped or is_record(members):
            members = with_json_type(members)
    except NoJsonFormError as error:
        return b"", (Finding("detail", str(error), _ALLOWED_DETAIL),)
    if type(members) is dict:
        return _from_mapping(cast("dict[object, object]", members))
    maker = "" if members is detail else f" from its {'model_dump' if is_dumped else 'converter'}"
    return b"", (Finding("detail", f"is {kind_of(members)}{maker}", _ALLOWED_DETAIL),)


def _from_mapping(detail: dict[object, object]) -> tuple[bytes, tuple[Finding, ...]]:
    try:
        is_safe = _SAFE.issuperset(map(type, detail.values())) or _is_safe(detail)
        safe = detail if is_safe else _safe_members(detail)
        raw = _dumped(safe)
    except (orjson.JSONEncodeError, NoJsonFormError, RecursionError) as error:
        let_pass(error)
        return thorough.written(detail)
    # orjson writes NaN and infinity as null.
    if raw is None or (b"null" in raw and not _is_finite(safe)):
        return thorough.written(detail)
    return raw, ()


def _dumped(safe: dict[object, object]) -> bytes | None:
    """Return JSON; None if an integer may be too large."""
    try:
        return orjson.dumps(safe, None, _OPTIONS)
    except orjson.JSONEncodeError:
        # Ids of more than 53 bits are common and allowed.
        raw = orjson.dumps(safe, None, _OPTIONS & ~orjson.OPT_STRICT_INTEGER)
    return None if _has_large_integer(raw) else raw


# orjson (3.13) miscounts the levels of nested tuples and then writes out of bounds; it crashes if
# the value of an enum cannot be read. So it is given only exact dicts and lists, whose levels it
# counts right, that hold exactly these types.
_SAFE: Final[frozenset[type]] = frozenset({str, int, float, bool, type(None)})
_NO_FLOATS: Final = _SAFE - {float}
_SAFE_DEPTH: Final = 100

_MOST_LOOKED_AT: Final = 10_000
"""How many containers are checked before they are copied: one that holds itself has no end."""


def _is_safe(detail: dict[object, object]) -> bool:
    """Tell whether a mapping is safe to give to orjson as it is."""
    todo: list[Iterable[object]] = [detail.values()]
    for values in todo:
        for value in values:
            kind = type(value)
            if kind in _SAFE:
                continue
            if kind is dict:
                todo.append(cast("dict[object, object]", value).values())
            elif kind is list:
                todo.append(cast("list[object]", value))
            else:
                return False
        if len(todo) > _MOST_LOOKED_AT:
            return False
    return True


def _safe_members(members: dict[object, object], room: int = _SAFE_DEPTH) -> dict[object, object]:
    return {key: _safe(value, room) for key, value in members.items()}


def _safe(value: object, room: int) -> object:
    """
    Return a value in a form that is safe to give to orjson.

    Raises:
        NoJsonFormError: It has no form in JSON.
        RecursionError: It is nested too deep for the quick way.
    """
    while (kind := type(value)) not in _SAFE:
        if kind is dict or kind is list or kind is tuple:
            if not room:
                raise RecursionError
            if kind is dict:
                return _safe_members(cast("dict[object, object]", value), room - 1)
            return [_safe(inner, room - 1) for inner in cast("Iterable[object]", value)]
        value = with_json_type(value)
    return value


def _is_finite(detail: dict[object, object]) -> bool:
    """Tell whether a detail that orjson wrote holds no NaN and no infinity."""
    if _NO_FLOATS.issuperset(map(type, detail.values())):
        return True
    try:
        _finite_encoder().encode(detail)
    except Exception as error:  # noqa: BLE001  # json calls methods of the caller's values
        let_pass(error)
        return False
    return True


@functools.cache
def _finite_encoder() -> json.JSONEncoder:
    return json.JSONEncoder(allow_nan=False, check_circular=False, default=with_json_type)


def read_text(text: str) -> tuple[bytes, tuple[Finding, ...]]:
    """Do the same as `read_detail` for ready JSON text."""
    try:
        raw = text.encode()
        # Each level takes at least two bytes and one opening bracket.
        if len(raw) <= 2 * MAX_DETAIL_DEPTH or _brackets(raw) <= MAX_DETAIL_DEPTH:
            reading.read_object(raw)
            is_sound = True
        else:
            is_sound = _is_one_object(orjson.loads(_ARRAYS + raw + _ARRAYS_END))
    except reading.not_an_object:
        is_sound = False
        raw = b""
    if is_sound and not _may_have_large_integer(raw):
        return raw, ()
    return _read_suspicious_text(text)


def _is_one_object(arrays: Any) -> bool:
    """Tell whether the arrays around a text hold exactly one object."""
    for _ in _ARRAYS:
        if len(arrays) != 1:
            return False
        arrays = arrays[0]
    return type(arrays) is dict


def _brackets(raw: bytes) -> int:
    return raw.count(b"{") + raw.count(b"[")


def _read_suspicious_text(text: str) -> tuple[bytes, tuple[Finding, ...]]:
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        return b"", (Finding("detail", "has a lone surrogate", ALLOWED_TEXT),)
    is_plain = True
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        # Beyond some depth, orjson raises the same error as for invalid JSON.
        if _brackets(raw) > MAX_DETAIL_DEPTH and (findings := thorough.depth_findings(text)):
            return b"", findings
        try:
            value = orjson.loads(thorough.simplified(text))
        except orjson.JSONDecodeError:
            where = f"line {error.lineno} column {error.colno}"
            found = f"is not JSON ({error.msg} at {where})"
            return b"", (Finding("detail", found, _ALLOWED_JSON),)
        is_plain = False
    if type(value) is not dict:
        found = f"is a JSON {_JSON_NAMES[type(value)]}"
        return b"", (Finding("detail", found, _ALLOWED_JSON),)
    if is_plain and not _has_large_integer(raw) and _brackets(raw) <= MAX_DETAIL_DEPTH:
        return raw, ()
    return raw, thorough.text_findings(text)


_JSON_NAMES: Final[dict[type, str]] = {
    list: "array",
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
}


def _may_have_large_integer(raw: bytes) -> bool:
    """Tell whether JSON has enough digits in a row for an integer beyond 63 bits."""
    # `find` parses its arguments, which takes longer than copying what `partition` returns.
    return bool(
        raw[::9].translate(_DIGITS_ALIKE).partition(b"00")[1]
        and raw[::4].translate(_DIGITS_ALIKE).partition(b"0000")[1]
    )


def _has_large_integer(raw: bytes) -> bool:
    """Tell whether JSON has digits, perhaps inside a text, that are beyond 63 bits."""
    return _may_have_large_integer(raw) and any(
        len(digits) > len(_LARGEST_NUMBER) or digits > _LARGEST_NUMBER
        for digits in _LONG_NUMBERS.findall(raw)
    )
