"""Faults as JSON documents: `{"fault": "FailEntries", "code": "InternalFailure", "times": 3}`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import attrs

from eventbridge_partner.testing import _faults
from eventbridge_partner.testing._faults import (
    FailEntries,
    FailRequest,
    Fault,
    LoseAnswer,
    SlowAnswer,
)

_KINDS: Final[Mapping[str, type[Fault]]] = {
    kind.__name__: kind
    for kind in (
        _faults.FailEntries,
        _faults.FailRequest,
        _faults.LimitRate,
        _faults.ExpireToken,
        _faults.WrongClock,
        _faults.CloseConnection,
        _faults.LoseAnswer,
        _faults.CutAnswer,
        _faults.GarbleAnswer,
        _faults.WrongLength,
        _faults.MiscountFailures,
        _faults.BlankResults,
        _faults.EmptyAnswer,
        _faults.SlowAnswer,
        _faults.OddPage,
    )
}
"""All faults except those that need a function."""

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_TEXT: Final = re.compile(r"[\t\x20-\x7e]*")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53


def _is_number(value: object) -> bool:
    return _is_whole(value) or isinstance(value, float)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and all(0x20 <= ord(character) < 0xD800 for character in value)


def _is_list_of(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(check, cast("list[object]", value)))


def _are_headers(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(text, str) and _HEADER_NAME.fullmatch(name) and _HEADER_TEXT.fullmatch(text)
        for name, text in cast("dict[str, object]", value).items()
    )


def _or_null(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or check(value)


_MEMBERS: Final[Mapping[str, tuple[str, Callable[[object], bool]]]] = {
    "times": ("a whole number, or null for always", _or_null(_is_whole)),
    "after": ("a whole number", _is_whole),
    "share": ("0 to 1", _is_number),
    "operations": ("names of operations, or null", _or_null(_is_list_of(_is_text))),
    "code": ("text", _is_text),
    "message": ("text, or null", _or_null(_is_text)),
    "indexes": ("whole numbers, or null", _or_null(_is_list_of(_is_whole))),
    "entry_share": ("0 to 1", _is_number),
    "status": ("100 to 599", lambda value: _is_whole(value) and 100 <= cast("int", value) <= 599),
    "headers": ("an object of texts", _are_headers),
    "form": ("text", _is_text),
    "per_second": ("a number", _is_number),
    "burst": ("a number, or null", _or_null(_is_number)),
    "unit": ("text", _is_text),
    "offset": ("seconds", _is_number),
    "after_bytes": ("a whole number", _is_whole),
    "difference": ("a whole number", _is_whole),
    "seconds": ("seconds", _is_number),
    "kind": ("text", _is_text),
}
"""The type of each member of a fault; the fault itself checks the values."""


def read_fault(document: object) -> Fault:
    """
    Return the fault that a document describes.

    Raises:
        ValueError: It describes no fault. The message says what is allowed.
    """
    allowed = ", ".join(_KINDS)
    if not isinstance(document, dict):
        raise ValueError(f"a fault is an object with the member fault; allowed: {allowed}")  # noqa: TRY004
    members = dict(cast("dict[str, Any]", document))
    kind = _KINDS.get(str(members.pop("fault", "")))
    if kind is None:
        raise ValueError(f"fault is unknown; allowed: {allowed}")
    fields = {field.name for field in attrs.fields(kind)} & set(_MEMBERS)
    for name, value in members.items():
        if name not in fields:
            raise ValueError(f"{kind.__name__} has no such member; allowed: {_listed(fields)}")
        meaning, check = _MEMBERS[name]
        if not check(value):
            raise ValueError(f"{kind.__name__}: {name}; allowed: {meaning}")
    try:
        return kind(**members)
    except TypeError:
        needed = [
            field.name
            for field in attrs.fields(kind)
            if field.default is attrs.NOTHING and field.name not in members
        ]
        raise ValueError(f"{kind.__name__} needs {_listed(needed)}") from None


def _listed(names: Sequence[str] | set[str]) -> str:
    return ", ".join(sorted(names))


def fault_document(fault: Fault) -> dict[str, Any]:
    """Return a document that describes a fault, with the members that are not the default."""
    document: dict[str, Any] = {"fault": type(fault).__name__}
    for field in attrs.fields(type(fault)):
        value = getattr(fault, field.name)
        if field.name not in _MEMBERS or value in (field.default, {}):
            continue
        document[field.name] = sorted(value) if isinstance(value, frozenset) else value
    return document


# ---------------------------------------------------------------- the sliders

STANDING: Final[Mapping[str, Callable[[float], Fault]]] = {
    "throttle": lambda share: FailEntries("ThrottlingException", entry_share=share, times=None),
    "fail": lambda share: FailRequest("InternalFailure", 500, share=share, times=None),
    "lose": lambda share: LoseAnswer(share=share, times=None),
    "slow": lambda seconds: SlowAnswer(seconds, times=None),
}
"""Standing faults with one number each, as for `serve --throttle 0.3` and the page's sliders."""

_NUMBER_OF: Final = {"throttle": "entry_share", "fail": "share", "lose": "share", "slow": "seconds"}


def standing(faults: Sequence[Fault]) -> dict[str, tuple[Fault, float]]:
    """Return the standing faults among the faults, each with its number."""
    found: dict[str, tuple[Fault, float]] = {}
    for fault in faults:
        for name, make in STANDING.items():
            number = getattr(fault, _NUMBER_OF[name], None)
            if number is not None and fault == make(number):
                found[name] = (fault, number)
    return found
