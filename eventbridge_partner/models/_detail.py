"""
The JSON text of `Detail`, and what may be in it.

The quick way is orjson. What orjson lets through and the service does not, or writes otherwise
than its caller meant (NaN as null, integers of more than 64 bits as floats), shows in a few cheap
signs in the bytes; only when one of them shows does the thorough way run, which walks the value
and names the path of everything that it refuses.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import functools
import json
import math
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, cast

import attrs
import orjson

from eventbridge_partner.errors import Finding
from eventbridge_partner.limits import MAX_DETAIL_DEPTH, MAX_INTEGER, MIN_INTEGER

_OPTIONS: Final = (
    orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_STRICT_INTEGER
)

_ALLOWED_DETAIL: Final = "allowed: a mapping, an attrs instance or dataclass, or JSON text"
_ALLOWED_VALUE: Final = (
    "allowed: str, int, float, bool, None, mappings, lists, tuples, aware datetimes, dates, "
    "times, UUIDs, Decimals, enums, attrs instances and dataclasses"
)
_ALLOWED_INTEGER: Final = "allowed: -2**63 to 2**63 - 1"
_ALLOWED_NUMBER: Final = "allowed: finite numbers"
_ALLOWED_DEPTH: Final = f"the limit is {MAX_DETAIL_DEPTH} levels"
_ALLOWED_TEXT: Final = "allowed: text that UTF-8 can express"

# An integer outside 64 bits has at least 19 digits. Every digit becomes "0", so that one search
# for nineteen of them finds the candidates; no regular expression comes near in speed.
_DIGITS_ALIKE: Final = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_LONG_NUMBER: Final = b"0" * 19
_LONG_NUMBERS: Final = re.compile(rb"[0-9]{19,}")
_LARGEST_NUMBER: Final = b"%d" % MAX_INTEGER


def read_detail(detail: object) -> tuple[bytes, tuple[Finding, ...]]:
    """Return the UTF-8 JSON text to be sent for `detail`, and everything that is wrong with it."""
    if type(detail) is dict:
        return _from_mapping(cast("dict[object, object]", detail))
    if isinstance(detail, str):
        return _from_text(detail)
    if isinstance(detail, Mapping):
        return _from_mapping(dict(cast("Mapping[object, object]", detail)))
    if _is_record(detail):
        try:
            members = _unstructured(detail)
        except TypeError as error:
            return b"", (Finding("detail", str(error), _ALLOWED_DETAIL),)
        if isinstance(members, dict):
            return _from_mapping(cast("dict[object, object]", members))
    return b"", (Finding("detail", f"is {_kind(detail)}", _ALLOWED_DETAIL),)


def _from_mapping(detail: dict[object, object]) -> tuple[bytes, tuple[Finding, ...]]:
    # What orjson writes is less than 255 deep, and so strict about integers that none is too
    # large. Only NaN is left, as null.
    try:
        raw = orjson.dumps(detail, _with_json_type, _OPTIONS)
    except orjson.JSONEncodeError:
        try:
            # Ids of more than 53 bits are common, and fine.
            raw = orjson.dumps(detail, _with_json_type, _OPTIONS & ~orjson.OPT_STRICT_INTEGER)
        except orjson.JSONEncodeError:
            return _written(detail)
        if _has_large_integer(raw):
            return _written(detail)
    if b"null" in raw and not _is_finite(detail):
        return _written(detail)
    return raw, ()


def _is_finite(detail: dict[object, object]) -> bool:
    """Tell whether what orjson wrote had no NaN and no infinity in it."""
    try:
        _finite_encoder().encode(detail)
    except (ValueError, RecursionError):
        return False
    return True


@functools.cache
def _finite_encoder() -> json.JSONEncoder:
    return json.JSONEncoder(allow_nan=False, check_circular=False, default=_with_json_type)


def _from_text(text: str) -> tuple[bytes, tuple[Finding, ...]]:
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        return b"", (Finding("detail", "has a lone surrogate", _ALLOWED_TEXT),)
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        # orjson gives up somewhere beyond the limit, with an error like any other.
        for places, _ in _tokens(text):
            if len(places) > MAX_DETAIL_DEPTH:
                return b"", (_too_deep(_path(places[:MAX_DETAIL_DEPTH])),)
        where = f"line {error.lineno} column {error.colno}"
        return b"", (
            Finding("detail", f"is not JSON ({error.msg} at {where})", "allowed: a JSON object"),
        )
    if type(value) is not dict:
        found = f"is a JSON {_JSON_NAMES[type(value)]}"
        return b"", (Finding("detail", found, "allowed: a JSON object"),)
    return raw, tuple(_findings_in_text(text)) if _is_suspect(raw) else ()


_JSON_NAMES: Final[dict[type, str]] = {
    list: "array",
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
}


def _is_suspect(raw: bytes) -> bool:
    """Tell whether valid JSON may be too deep, or have an integer of more than 64 bits."""
    return _has_large_integer(raw) or (
        # Each level takes two bytes, so short text cannot be deep.
        len(raw) > 2 * MAX_DETAIL_DEPTH and raw.count(b"{") + raw.count(b"[") > MAX_DETAIL_DEPTH
    )


def _has_large_integer(raw: bytes) -> bool:
    """Tell whether digits stand in JSON, perhaps in its texts, that are beyond 63 bits."""
    return _LONG_NUMBER in raw.translate(_DIGITS_ALIKE) and any(
        len(digits) > len(_LARGEST_NUMBER) or digits > _LARGEST_NUMBER
        for digits in _LONG_NUMBERS.findall(raw)
    )


# ---------------------------------------------------------------- values that JSON has no type for


def _with_json_type(value: object) -> object:
    """
    Return `value` as something that JSON has a type for.

    The rule: a type that JSON does not know becomes the standard text of its value (ISO 8601 for
    dates and times, all digits of a Decimal), an enum its value, a record its members.

    Raises:
        TypeError: There is no such form. The message is a predicate, for a finding.
    """
    match value:
        case enum.Enum():
            return value.value
        case datetime.datetime():
            if value.utcoffset() is None:
                raise TypeError("is a datetime without a time zone")
            return value.isoformat()
        case datetime.date() | datetime.time():
            return value.isoformat()
        case uuid.UUID():
            return str(value)
        case decimal.Decimal():
            if not value.is_finite():
                raise TypeError("is a Decimal that is not finite")
            return str(value)
        case float():
            return float(value)
        case Mapping():
            return dict(cast("Mapping[object, object]", value))
        case list() | tuple():
            return list(cast("Iterable[object]", value))
        case _ if _is_record(value):
            return _unstructured(value)
        case _:
            raise TypeError(f"is {_kind(value)}")


def _is_record(value: object) -> bool:
    return not isinstance(value, type) and (
        attrs.has(type(value)) or dataclasses.is_dataclass(value)
    )


def _unstructured(record: object) -> object:
    try:
        return _unstructure()(record)
    except RecursionError:
        raise TypeError(f"is {_kind(record)} nested too deep") from None
    except Exception as error:  # a field that is not of its type makes cattrs raise anything
        found = f"is {_kind(record)} that cannot be read ({type(error).__name__})"
        raise TypeError(found) from error


@functools.cache
def _unstructure() -> Callable[[object], Any]:
    import cattrs  # takes a while, and only callers with records need it

    return cattrs.Converter().unstructure


def _kind(value: object) -> str:
    if value is None:
        return "None"
    name = type(value).__qualname__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


# ---------------------------------------------------------------- the thorough way, for values


def _written(detail: dict[object, object]) -> tuple[bytes, tuple[Finding, ...]]:
    """Write a value as JSON whatever its depth, and find what may not be in it."""
    findings: list[Finding] = []
    pieces: list[bytes] = []
    # What is still to be written, the next at the end: ready bytes, or a value with its place.
    todo: list[_Step] = [(detail, None, 1)]
    while todo:
        step = todo.pop()
        if isinstance(step, bytes):
            pieces.append(step)
            continue
        value, place, depth = step
        match value:
            case None | bool():
                pieces.append(orjson.dumps(value))
            case enum.Enum():
                todo.append((value.value, place, depth))
            case str():
                pieces.append(_written_text(value, place, findings))
            case int():
                if not MIN_INTEGER <= value <= MAX_INTEGER:
                    found = f"is an integer of {value.bit_length()} bits"
                    findings.append(Finding(_path_to(place), found, _ALLOWED_INTEGER))
                else:
                    pieces.append(b"%d" % value)
            case float():
                if not math.isfinite(value):
                    found = "is NaN" if math.isnan(value) else "is infinite"
                    findings.append(Finding(_path_to(place), found, _ALLOWED_NUMBER))
                else:
                    pieces.append(orjson.dumps(float(value)))
            case dict() | list() | tuple() if depth > MAX_DETAIL_DEPTH:
                # No further: in a value that holds itself there is no end to what follows.
                return b"", (*findings, _too_deep(_path_to(place)))
            case dict():
                members = cast("dict[object, object]", value)
                todo += reversed(list(_object_steps(members, place, depth, findings)))
            case list() | tuple():
                items = cast("Iterable[object]", value)
                todo += reversed(list(_array_steps(items, place, depth)))
            case _:
                try:
                    todo.append((_with_json_type(value), place, depth))
                except TypeError as error:
                    findings.append(Finding(_path_to(place), str(error), _ALLOWED_VALUE))
    return b"".join(pieces), tuple(findings)


# Where a value is: the place of what holds it, and its key or position in there. Its path is
# written only when something is wrong: those of all values of a deep detail would fill the memory.
_Place = tuple[Any, str | int] | None
_Step = bytes | tuple[object, _Place, int]


def _path_to(place: _Place) -> str:
    places: list[str | int] = []
    while place is not None:
        place, last = place
        places.append(last)
    return _path(reversed(places))


def _written_text(text: str, place: _Place, findings: list[Finding]) -> bytes:
    try:
        # What the text is, not what a subclass shows of it.
        return orjson.dumps(str.__str__(text))
    except orjson.JSONEncodeError:
        findings.append(Finding(_path_to(place), "has a lone surrogate", _ALLOWED_TEXT))
        return b""


def _object_steps(
    members: dict[object, object], place: _Place, depth: int, findings: list[Finding]
) -> Iterator[_Step]:
    separator = b"{"
    for key, value in members.items():
        if not isinstance(key, str):
            found = f"has a key that is {_kind(key)}"
            findings.append(Finding(_path_to(place), found, "allowed: str keys"))
            continue
        inner = place, str.__str__(key)
        yield separator + _written_text(key, inner, findings) + b":"
        yield value, inner, depth + 1
        separator = b","
    yield b"{}" if separator == b"{" else b"}"


def _array_steps(items: Iterable[object], place: _Place, depth: int) -> Iterator[_Step]:
    separator = b"["
    for position, item in enumerate(items):
        yield separator
        yield item, (place, position), depth + 1
        separator = b","
    yield b"[]" if separator == b"[" else b"]"


def _too_deep(path: str) -> Finding:
    return Finding(path, f"is nested more than {MAX_DETAIL_DEPTH} deep", _ALLOWED_DEPTH)


def _member_path(path: str, key: str) -> str:
    return f"{path}.{key}" if key.isidentifier() and len(key) <= 64 else f"{path}[{key[:64]!a}]"


def _shortened(path: str) -> str:
    return path if len(path) <= 80 else f"{path[:40]}…{path[-40:]}"


# ---------------------------------------------------------------- the thorough way, for ready text

_TOKEN: Final = re.compile(
    # Possessive, and content with text that never ends: else broken JSON takes quadratic time.
    r'(?P<text>"(?:[^"\\]++|\\.)*+"?)|(?P<number>-?\d[\d.eE+\-]*)|(?P<mark>[{}\[\],:])',
    re.DOTALL,
)
_INTEGER: Final = re.compile(r"-?\d+")


def _findings_in_text(text: str) -> Iterator[Finding]:
    for places, token in _tokens(text):
        if token in "{[":
            if len(places) >= MAX_DETAIL_DEPTH:
                yield _too_deep(_path(places))
                return
        elif _INTEGER.fullmatch(token) and not _in_64_bits(token):
            digits = len(token.removeprefix("-"))
            found = f"is an integer of {digits} digits"
            yield Finding(_path(places), found, _ALLOWED_INTEGER)


def _in_64_bits(token: str) -> bool:
    # The length first: int() refuses numbers without end.
    return len(token) <= 20 and MIN_INTEGER <= int(token) <= MAX_INTEGER


def _tokens(text: str) -> Iterator[tuple[list[str | int], str]]:
    """
    Yield every opening bracket and number of a JSON text, with its place.

    A place is the keys and positions from the outside in. It is one list, changed as it goes on.
    """
    places: list[str | int] = []
    last_text = ""
    for match in _TOKEN.finditer(text):
        token = match[0]
        match token:
            case "{" | "[":
                yield places, token
                places.append("" if token == "{" else 0)
            case "}" | "]":
                if places:
                    places.pop()
            case ",":
                if places and isinstance(places[-1], int):
                    places[-1] += 1
            case ":":
                if places:
                    places[-1] = last_text
            case _ if match.lastgroup == "text":
                last_text = token[1:].removesuffix('"')
            case _:
                yield places, token


def _path(places: Iterable[str | int]) -> str:
    path = "detail"
    for place in places:
        path = f"{path}[{place}]" if isinstance(place, int) else _member_path(path, place)
    return _shortened(path)
