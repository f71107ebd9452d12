"""
The JSON text of `Detail`, and what may be in it.

The quick way is orjson or, where nothing has to be made of a text, msgspec. What they let through
and the service does not, or write otherwise than their caller meant (NaN as null, integers of more
than 64 bits as floats), shows in a few cheap signs in the bytes; only when one of them shows does
the thorough way run, which walks the value and names the path of everything that it refuses.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec
import orjson

from eventbridge_partner._foreign_text import plain_text
from eventbridge_partner._signals import let_pass
from eventbridge_partner.errors import Finding
from eventbridge_partner.limits import MAX_DETAIL_DEPTH, MAX_INTEGER
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

# An integer outside 64 bits has at least 19 digits, and of those at least two are neighbours where
# only every ninth byte is looked at, and four where every fourth is. Every digit becomes "0", so
# that one search finds the candidates; no regular expression comes near in speed.
_DIGITS_ALIKE: Final = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_LONG_NUMBERS: Final = re.compile(rb"[0-9]{19,}")
_LARGEST_NUMBER: Final = b"%d" % MAX_INTEGER


# orjson reads JSON of up to 1,024 levels. Inside of so many arrays more, it reads no more than the
# service does; that costs less than to count levels. Text that closes some of them and opens others
# shows: they hold more than one thing then.
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
        converter: What makes plain values of anything but text; None for the rule of this package.
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
    # What orjson writes is less than 255 deep, and so strict about integers that none is too
    # large. Only NaN is left, as null.
    try:
        raw = orjson.dumps(detail, with_json_type, _OPTIONS)
    except orjson.JSONEncodeError as error:
        _pass_on(error.__cause__)
        try:
            # Ids of more than 53 bits are common, and fine.
            raw = orjson.dumps(detail, with_json_type, _OPTIONS & ~orjson.OPT_STRICT_INTEGER)
        except orjson.JSONEncodeError as again:
            _pass_on(again.__cause__)
            return thorough.written(detail)
        if _has_large_integer(raw):
            return thorough.written(detail)
    if b"null" in raw and not _is_finite(detail):
        return thorough.written(detail)
    return raw, ()


def _pass_on(cause: BaseException | None) -> None:
    """Raise what orjson wraps but no value is to blame for: a signal handler's exception."""
    if cause is not None and not isinstance(cause, (NoJsonFormError, RecursionError)):
        raise cause


def _is_finite(detail: dict[object, object]) -> bool:
    """Tell whether what orjson wrote had no NaN and no infinity in it."""
    try:
        _finite_encoder().encode(detail)
    except Exception as error:  # noqa: BLE001  # json calls methods that nobody else calls
        let_pass(error)
        return False
    return True


@functools.cache
def _finite_encoder() -> json.JSONEncoder:
    return json.JSONEncoder(allow_nan=False, check_circular=False, default=with_json_type)


def read_text(text: str) -> tuple[bytes, tuple[Finding, ...]]:
    """Return what `read_detail` does, of ready JSON text."""
    try:
        raw = text.encode()
        # Each level takes two bytes, and a bracket opens it.
        if len(raw) <= 2 * MAX_DETAIL_DEPTH or _brackets(raw) <= MAX_DETAIL_DEPTH:
            _read_object(raw)
            is_sound = True
        else:
            is_sound = _is_one_object(orjson.loads(_ARRAYS + raw + _ARRAYS_END))
    except (ValueError, RecursionError, msgspec.MsgspecError):
        is_sound = False
        raw = b""
    if is_sound and not _may_have_large_integer(raw):
        return raw, ()
    return _read_suspicious_text(text)


class _Object(msgspec.Struct):
    """Any JSON object: what a Struct has no member for is read, but nothing is made of it."""


_read_object: Final = msgspec.json.Decoder(_Object).decode


def _is_one_object(arrays: Any) -> bool:
    """Tell whether the arrays around a text hold nothing but one object."""
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
        # orjson gives up somewhere beyond the limit, with an error like any other.
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
    """Tell whether so many digits stand in JSON that some may be beyond 63 bits."""
    return (
        raw[::9].translate(_DIGITS_ALIKE).find(b"00") >= 0
        and raw[::4].translate(_DIGITS_ALIKE).find(b"0000") >= 0
    )


def _has_large_integer(raw: bytes) -> bool:
    """Tell whether digits stand in JSON, perhaps in its texts, that are beyond 63 bits."""
    return _may_have_large_integer(raw) and any(
        len(digits) > len(_LARGEST_NUMBER) or digits > _LARGEST_NUMBER
        for digits in _LONG_NUMBERS.findall(raw)
    )
