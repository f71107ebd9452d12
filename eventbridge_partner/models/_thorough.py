"""
The thorough way with details: walk them, and name the path of everything that may not be in them.

It writes and reads JSON of any depth without recursion, and takes some ten times as long as the
quick way, which falls back on it.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, cast

import orjson

from eventbridge_partner.errors import Finding
from eventbridge_partner.limits import MAX_DETAIL_DEPTH, MAX_INTEGER, MIN_INTEGER
from eventbridge_partner.models._json_types import kind_of, with_json_type

_ALLOWED_VALUE: Final = (
    "allowed: str, int, float, bool, None, mappings, lists, tuples, aware datetimes, dates, "
    "times, UUIDs, Decimals, enums, attrs instances and dataclasses"
)
_ALLOWED_INTEGER: Final = "allowed: -2**63 to 2**63 - 1"
_ALLOWED_NUMBER: Final = "allowed: finite numbers"
_ALLOWED_DEPTH: Final = f"the limit is {MAX_DETAIL_DEPTH} levels"
ALLOWED_TEXT: Final = "allowed: text that UTF-8 can express"

# ---------------------------------------------------------------- values


def written(detail: dict[object, object]) -> tuple[bytes, tuple[Finding, ...]]:
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
                    todo.append((with_json_type(value), place, depth))
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
        findings.append(Finding(_path_to(place), "has a lone surrogate", ALLOWED_TEXT))
        return b""


def _object_steps(
    members: dict[object, object], place: _Place, depth: int, findings: list[Finding]
) -> Iterator[_Step]:
    separator = b"{"
    for key, value in members.items():
        if not isinstance(key, str):
            found = f"has a key that is {kind_of(key)}"
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


# ---------------------------------------------------------------- ready text

_TOKEN: Final = re.compile(
    # Possessive, and content with text that never ends: else broken JSON takes quadratic time.
    r'(?P<text>"(?:[^"\\]++|\\.)*+"?)|(?P<number>-?\d[\d.eE+\-]*)|(?P<mark>[{}\[\],:])',
    re.DOTALL,
)
_INTEGER: Final = re.compile(r"-?\d+")


def depth_findings(text: str) -> tuple[Finding, ...]:
    """Return whether a text is nested too deep, be it JSON or not."""
    for places, _ in _tokens(text):
        if len(places) > MAX_DETAIL_DEPTH:
            return (_too_deep(_path(places[:MAX_DETAIL_DEPTH])),)
    return ()


def text_findings(text: str) -> tuple[Finding, ...]:
    """Return what may not be in a JSON text: integers of more than 64 bits, too many levels."""
    findings: list[Finding] = []
    for places, token in _tokens(text):
        if token in "{[":
            if len(places) >= MAX_DETAIL_DEPTH:
                return (*findings, _too_deep(_path(places)))
        elif _INTEGER.fullmatch(token) and not _in_64_bits(token):
            found = f"is an integer of {len(token.removeprefix('-'))} digits"
            findings.append(Finding(_path(places), found, _ALLOWED_INTEGER))
    return tuple(findings)


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
