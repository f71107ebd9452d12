"""Values that JSON has no type for, and what stands for them."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import functools
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import attrs


def with_json_type(value: object) -> object:
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
        case _ if is_record(value):
            return unstructured(value)
        case _:
            raise TypeError(f"is {kind_of(value)}")


def is_record(value: object) -> bool:
    """Tell whether a value is an attrs instance or a dataclass."""
    return not isinstance(value, type) and (
        attrs.has(type(value)) or dataclasses.is_dataclass(value)
    )


def unstructured(record: object) -> object:
    """
    Return the members of an attrs instance or dataclass.

    Raises:
        TypeError: It cannot be read. The message is a predicate, for a finding.
    """
    try:
        return _unstructure()(record)
    except RecursionError:
        raise TypeError(f"is {kind_of(record)} nested too deep") from None
    except Exception as error:  # a field that is not of its type makes cattrs raise anything
        found = f"is {kind_of(record)} that cannot be read ({type(error).__name__})"
        raise TypeError(found) from error


@functools.cache
def _unstructure() -> Callable[[object], Any]:
    import cattrs  # takes a while, and only callers with records need it

    return cattrs.Converter().unstructure


def kind_of(value: object) -> str:
    """Name the type of a value, with its article."""
    if value is None:
        return "None"
    name = type(value).__qualname__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
