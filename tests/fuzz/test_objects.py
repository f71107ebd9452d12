"""Objects are sent as what they hold, or refused, as an independent walk over them predicts."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import json
import math
import types
import uuid
from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbridge_partner import InvalidEventError, PartnerEvent
from tests.strategies import SOURCE

CANARY = "c4n4ry"


class Color(str, enum.Enum):
    RED = "red"
    HALF = "\ud800"


class Tone(enum.StrEnum):
    LOW = "low"


class Level(enum.IntEnum):
    HIGH = 3


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Several(enum.Enum):
    LIST = (1, "x")
    DATE = datetime.date(2030, 1, 2)
    NONE = None
    NAN = math.nan


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "shown"


class Whole(int):
    def __repr__(self) -> str:
        return "shown"


class Real(float):
    def __repr__(self) -> str:
        return "shown"


class Listed(list):
    pass


class Dict(dict):
    pass


Pair = collections.namedtuple("Pair", "left right")


@dataclasses.dataclass
class Base:
    one: Any


@dataclasses.dataclass
class Derived(Base):
    two: list[Base]
    three: Any = dataclasses.field(init=False, default=3)


@dataclasses.dataclass(slots=True, frozen=True)
class Slotted:
    one: "NotThere"  # type: ignore[name-defined]  # noqa: F821, UP037


@attrs.frozen
class Frozen:
    one: int
    _two: Any = None


class Failing:
    """Is registered as a mapping, and fails when it is read."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __iter__(self) -> Any:
        raise self.error

    def __len__(self) -> int:
        return 1

    def __getitem__(self, key: object) -> Any:
        raise self.error


Mapping.register(Failing)


class Broken(datetime.date):
    def isoformat(self) -> str:
        raise ZeroDivisionError(CANARY)


UTC = datetime.UTC
texts = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    [CANARY, "9" * 20, "\ud800", "a\udfff", "null", '"', "a.b", "x" * 100, "\n", "\x9b"]
)
integers = st.integers() | st.sampled_from(
    [2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**400]
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    integers,
    integers.map(Whole),
    st.floats(),
    st.floats().map(Real),
    texts,
    texts.map(Text),
    st.sampled_from([*Color, *Tone, *Level, *Rights, *Several]),
    st.datetimes(timezones=st.none() | st.just(UTC)),
    st.dates(),
    st.times(),
    st.uuids(),
    st.decimals(),
    st.sampled_from([b"x", {1}, object(), 1j, Broken(2030, 1, 2), int, datetime.timedelta(1)]),
    st.sampled_from([KeyError(CANARY), ValueError(CANARY), TypeError(), OSError()]).map(Failing),
)
keys = st.one_of(
    texts, texts, texts, texts.map(Text), st.sampled_from([*Color, *Tone, 1, None, ()])
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.lists(inner, max_size=3).map(Listed),
        st.dictionaries(keys, inner, max_size=4),
        st.dictionaries(keys, inner, max_size=3).map(Dict),
        st.dictionaries(keys, inner, max_size=3).map(types.MappingProxyType),
        st.dictionaries(keys, inner, max_size=3).map(collections.OrderedDict),
        st.builds(Pair, inner, inner),
        st.builds(Base, inner),
        st.builds(Derived, inner, st.lists(st.builds(Base, inner), max_size=2)),
        st.builds(Slotted, inner),
        st.builds(Frozen, inner, inner),
    ),
    max_leaves=10,
)
DEPTHS = st.sampled_from([0, 0, 0, 1, 120, 126, 127, 128, 250, 253, 254, 255, 980, 997, 998, 999])
WRAPS = {
    "dict": (lambda value: {"k": value}, '{"k":', "}"),
    "list": (lambda value: [value], "[", "]"),
    "tuple": (lambda value: (value,), "[", "]"),
    "dataclass": (Base, '{"one":', "}"),
    "attrs": (Frozen, '{"one":', ',"_two":null}'),
    "mapping": (lambda value: types.MappingProxyType({"k": value}), '{"k":', "}"),
}


class RefusedError(Exception):
    """The value must not be in a detail."""


def utf8(text: str) -> str:
    text = "".join(text)  # the characters that a subclass holds
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RefusedError from None
    return text


def plain(value: Any, room: int = 1000) -> Any:
    """Return what must be sent for a value, by the documented rule."""
    match value:
        case Failing() | Broken():
            raise RefusedError
        case enum.Enum():
            return plain(value.value, room)
        case None | bool():
            return value
        case str():
            return utf8(value)
        case int():
            if not -(2**63) <= value + 0 < 2**63:
                raise RefusedError
            return value + 0
        case float():
            if not math.isfinite(value):
                raise RefusedError
            return math.copysign(abs(value) + 0.0, value)
        case datetime.datetime() if value.tzinfo is None:
            raise RefusedError
        case datetime.date() | datetime.time():
            return value.isoformat()
        case decimal.Decimal() if not value.is_finite():
            raise RefusedError
        case uuid.UUID() | decimal.Decimal():
            return str(value)
        case _:
            pass
    members = members_of(value)
    if room == 0:
        raise RefusedError
    if isinstance(members, list):
        return [plain(inner, room - 1) for inner in members]
    if not all(isinstance(key, str) for key in members):
        raise RefusedError
    # Two keys may hold the same text: an enum member equals its text, but has another hash.
    return [(utf8(key), plain(inner, room - 1)) for key, inner in members.items()], "members"


def members_of(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, Derived):
        return {"one": value.one, "two": value.two, "three": value.three}
    if isinstance(value, Base | Slotted):
        return {"one": value.one}
    if isinstance(value, Frozen):
        return {"one": value.one, "_two": value._two}
    raise RefusedError


def with_members(value: Any) -> Any:
    """Read JSON into the form that `plain` returns."""
    return json.JSONDecoder(object_pairs_hook=lambda pairs: (pairs, "members")).decode(value)


def same(one: Any, other: Any) -> bool:
    """Tell whether values are equal, of the same types, and of the same sign."""
    return repr(one) == repr(other)


def wrapped(value: Any, depth: int, wraps: list[str]) -> tuple[Any, str, str]:
    """Return a value nested in others, and the text before and after it."""
    before, behind = [], []
    for level in range(depth):
        wrap, opening, closing = WRAPS[wraps[level % len(wraps)]]
        value = wrap(value)
        before.append(opening)
        behind.append(closing)
    return value, "".join(reversed(before)), "".join(behind)


@pytest.mark.slow
@given(values, DEPTHS, st.lists(st.sampled_from(sorted(WRAPS)), min_size=1, max_size=3))
def test_objects(value: Any, depth: int, wraps: list[str]) -> None:
    """A detail is sent by the documented rule if all its values are allowed, and else refused."""
    try:
        # One level is taken by the object that makes the value a detail.
        expected = plain(value, 999 - depth)
    except RefusedError:
        expected = None
        refused = True
    else:
        refused = False
    inner, before, behind = wrapped(value, depth, wraps)
    for detail, begins, ends in (
        ({"v": inner}, '{"v":', "}"),
        ({"v": inner, "n": None, "s": 2**60}, '{"v":', f',"n":null,"s":{2**60}}}'),
        (Base(inner), '{"one":', "}"),
    ):
        try:
            text = PartnerEvent(SOURCE, "t", detail).detail
        except InvalidEventError as error:
            assert refused, str(error)
            assert all(line.isprintable() for line in str(error).split("\n"))
            assert CANARY not in str(error) or CANARY in keys_of(value)
        else:
            assert not refused
            start, end = len(begins + before), len(behind + ends)
            assert (text[:start], text[-end:]) == (begins + before, behind + ends)
            assert same(with_members(text[start:-end]), expected)


@pytest.mark.slow
@given(values)
def test_details(value: Any) -> None:
    """A detail is a mapping or a record, and nothing else."""
    if isinstance(value, str):
        return  # JSON text has a target of its own
    try:
        expected = plain(value)
    except RefusedError:
        expected = None
    is_object = isinstance(value, Mapping | Base | Slotted | Frozen)
    try:
        text = PartnerEvent(SOURCE, "t", value).detail
    except InvalidEventError:
        assert expected is None or not is_object
    else:
        assert is_object
        assert same(with_members(text), expected)


def keys_of(value: Any) -> list[str]:
    """Return the names of all members, which messages may show."""
    if isinstance(value, Failing):
        return []
    try:
        members = members_of(value)
    except RefusedError:
        return []
    if isinstance(members, list):
        return [key for inner in members for key in keys_of(inner)]
    own = ["".join(key) for key in members if isinstance(key, str)]
    return own + [key for inner in members.values() for key in keys_of(inner)]
