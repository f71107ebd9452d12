"""Values that JSON has no type for, and how they are written."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import sys
import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeGuard, cast

import attrs

from eventbridge_partner._foreign_text import escaped, plain_text
from eventbridge_partner._signals import let_pass

if TYPE_CHECKING:
    import decimal

    import cattrs


class NoJsonFormError(TypeError):
    """A value has no form in JSON. The message is a predicate for a finding."""


class RecordConverter(Protocol):
    """Makes plain values of records, such as a converter of cattrs."""

    def unstructure(self, obj: Any) -> Any:
        """Return `obj` as mappings, lists and values that JSON has a type for."""
        ...


class Dataclass(Protocol):
    """A dataclass, as type checkers know it."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


class Model(Protocol):
    """An object that returns its own form in JSON: a pydantic model, version 2."""

    def model_dump(self, *, mode: str) -> Any:
        """Return the model as mappings, lists and values that JSON has a type for."""
        ...


Record = attrs.AttrsInstance | Dataclass | Model
"""A detail that is neither a mapping nor text."""


def with_json_type(value: object) -> object:
    """
    Return `value` as a type that JSON has, with its members unchanged.

    A date or time becomes ISO 8601 text, a UUID its text, a Decimal all its digits, an enum its
    value, a record an object of its members, and a subclass of a type that JSON has that type.

    Raises:
        NoJsonFormError: It has no form in JSON, or the value's own methods fail.
    """
    try:
        return _with_json_type(value)
    except NoJsonFormError:
        raise
    except Exception as error:
        let_pass(error)
        raise NoJsonFormError(unreadable(value, error)) from error


def _with_json_type(value: object) -> object:
    match value:
        case enum.Enum():
            return _enum_value(value)
        case str():
            return plain_text(value)
        case int():
            return int.__int__(value)
        case float():
            return float.__float__(value)
        case datetime.datetime():
            return _datetime_text(value)
        case datetime.date() | datetime.time():
            return _iso_text(value)
        case uuid.UUID():
            return uuid.UUID.__str__(value)
        case _ if _is_decimal(value):
            return _decimal_text(value)
        case Mapping():
            return dict(cast("Mapping[object, object]", value))
        case list() | tuple():
            return list(cast("Iterable[object]", value))
        case _ if is_model(value):
            return _dumped(value)
        case _ if is_record(value):
            return unstructured(value)
        case _:
            raise NoJsonFormError(f"is {kind_of(value)}")


def _enum_value(member: enum.Enum) -> object:
    value: object = member
    for _ in range(_MOST_ENUMS):
        if not isinstance(value, enum.Enum):
            return value
        value = value.value
    raise NoJsonFormError(f"is {kind_of(member)} whose value is an endless chain of enums")


_MOST_ENUMS: Final = 100
"""How many enums may be nested as values: an enum that is its own value has no end."""


def _datetime_text(value: datetime.datetime) -> str:
    if value.utcoffset() is None:
        raise NoJsonFormError("is a datetime without a time zone")
    return _iso_text(value)


def _iso_text(value: datetime.date | datetime.time) -> str:
    # A subclass may hold more than its base, such as the nanoseconds of pandas' Timestamp.
    text: Any = value.isoformat()
    if not isinstance(text, str):
        raise NoJsonFormError(f"is {kind_of(value)} without ISO 8601 text")
    return plain_text(text)


def _is_decimal(value: object) -> TypeGuard[decimal.Decimal]:
    """Tell whether a value is a Decimal; without `decimal` loaded, there are none."""
    module = sys.modules.get("decimal")
    return module is not None and isinstance(value, module.Decimal)


def _decimal_text(value: decimal.Decimal) -> str:
    import decimal

    if not decimal.Decimal.is_finite(value):
        raise NoJsonFormError("is a Decimal that is not finite")
    return decimal.Decimal.__str__(value)


def has_foreign_zone(value: object) -> bool:
    """Tell whether a value has a time zone that is not the standard library's."""
    zone = getattr(value, "tzinfo", None)
    return zone is not None and type(zone).__module__ not in {"datetime", "zoneinfo"}


def is_record(value: object) -> bool:
    """Tell whether a value is an attrs instance or a dataclass."""
    return not isinstance(value, type) and (
        attrs.has(type(value)) or dataclasses.is_dataclass(value)
    )


def is_model(value: object) -> bool:
    """Tell whether a value is a pydantic model; pydantic itself need not be installed."""
    return not isinstance(value, type) and callable(getattr(type(value), "model_dump", None))


def _dumped(model: Any) -> object:
    members: object = model.model_dump(mode="json")
    if is_model(members):  # dumping that in turn might never end
        raise NoJsonFormError(f"is {kind_of(model)} whose model_dump returns another model")
    return members


def unstructured(value: object, converter: RecordConverter | None = None) -> object:
    """
    Return the plain values of an attrs instance, a dataclass or any object that a converter takes.

    Args:
        value: The object.
        converter: The caller's converter; None for the members as they are.

    Raises:
        NoJsonFormError: It cannot be read.
    """
    try:
        return (_default_converter() if converter is None else converter).unstructure(value)
    except Exception as error:
        let_pass(error)
        raise NoJsonFormError(unreadable(value, error)) from error


@functools.cache
def _default_converter() -> cattrs.BaseConverter:
    import cattrs  # slow to import, and only needed for records

    converter = cattrs.BaseConverter()
    # A record is written by its actual values. cattrs itself goes by the annotations of members,
    # which may be wrong, or missing at run time.
    converter.register_unstructure_hook_func(lambda _: True, _members)
    return converter


def _members(record: Any) -> dict[str, object]:
    kind = type(record)
    fields = attrs.fields(kind) if attrs.has(kind) else dataclasses.fields(record)
    return {field.name: getattr(record, field.name) for field in fields}


def unreadable(value: object, error: Exception) -> str:
    """Return a predicate for a value whose own methods fail."""
    # Only the type of the error: its text may quote the value.
    return f"is {kind_of(value)} that cannot be read ({escaped(type(error).__qualname__)})"


def kind_of(value: object) -> str:
    """Return the name of a value's type, with its article."""
    if value is None:
        return "None"
    name = escaped(type(value).__qualname__)
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
