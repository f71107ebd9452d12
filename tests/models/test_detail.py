"""A detail is sent exactly as the caller meant it, or it is refused."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import json
import math
import time
import tracemalloc
import types
import uuid
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbridge_partner import InvalidEventError, PartnerEvent
from tests.strategies import SOURCE, details, texts, values

UTC = datetime.UTC
CET = datetime.timezone(datetime.timedelta(hours=1))

# A detail that holds this is written the thorough way: it has a large integer, and text whose
# digits could be an integer that is too large.
SLOWLY = [2**60, "9" * 20]


def sent(detail: Any) -> str:
    return PartnerEvent(SOURCE, "type", detail).detail


def refusal(detail: Any) -> list[str]:
    with pytest.raises(InvalidEventError) as caught:
        PartnerEvent(SOURCE, "type", detail)
    return [str(finding) for finding in caught.value.findings]


# ---------------------------------------------------------------- what is sent


@given(details)
def test_mapping_is_sent_as_it_is(detail):
    """The standard library reads back what was given, including every digit of a float."""
    text = sent(detail)
    assert json.loads(text) == detail
    assert text == json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":")) or any(
        sign in text for sign in (".", "e", "\\u00", "\x7f")
    )


@given(details)
def test_both_ways_write_the_same(detail):
    """The quick way and the thorough way agree on every byte."""
    quick = sent({"detail": detail})
    assert sent({"detail": detail, "slowly": SLOWLY}) == (
        f'{quick[:-1]},"slowly":[1152921504606846976,"99999999999999999999"]}}'
    )


@given(details, st.sampled_from(["", " ", "\n\t"]), st.booleans())
def test_text_is_kept_to_the_letter(detail, space, ascii_only):
    """JSON text is sent with its own spaces, escapes and order."""
    text = space + json.dumps(detail, ensure_ascii=ascii_only, indent=len(space) or None) + space
    assert sent(text) == text


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        '{"a":1e400}',
        '{"a":1e400,"b":"00000000000000000000"}',
        f'{{"a":1e400,"b":"{"x" * 3000}"}}',
        '{"\\u0061":"\\ud83d\\ude00"}',
        '{"a":1E5,"b":-0,"c":-0.0,"d":1e-400,"e":123456789012345678901.5}',
        '{"n":9223372036854775807,"m":-9223372036854775808}',
        '{"id":"12345678901234567890123","1234567890123456789012":0}',
        '{"q":"\\"[[[{{{,:","\\"":{"[":"]"}}',
        '\r\n{ "a" : [ ] }\t',
        '{"\\u0000":"\x7f\u2028"}',
        "{}",
    ],
    ids=[
        "duplicate keys",
        "a number beyond a double",
        "the same, and many digits",
        "the same, in a long text",
        "escapes",
        "forms of numbers",
        "the largest integers",
        "long digits in texts",
        "brackets in texts",
        "white space",
        "NUL, DEL and line separator",
        "empty object",
    ],
)
def test_unusual_text_is_kept(text):
    """Any JSON text that is an object is sent unchanged."""
    assert sent(text) == text


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 2**53, 2**53 + 1, 10**18, 0, -1])
def test_integers_of_64_bits(number):
    """Integers are exact up to 64 bits, from a mapping and from text."""
    assert sent({"n": number}) == f'{{"n":{number}}}'
    assert sent(f'{{"n": {number}}}') == f'{{"n": {number}}}'


# ---------------------------------------------------------------- the rule for other types


class Size(enum.Enum):
    SMALL = "s"
    WHEN = datetime.date(2030, 1, 2)
    LIST = (1, "x")


class Level(enum.IntEnum):
    HIGH = 3


class Color(str, enum.Enum):
    RED = "r"


class Tone(enum.StrEnum):
    LOW = "l"


class Loud(str):
    __slots__ = ()

    def __str__(self):
        return "loud"


class Whole(int):
    def __str__(self):
        return "whole"


class Real(float):
    def __repr__(self):
        return "real"


class Point(collections.namedtuple("Point", "x y")):
    __slots__ = ()


@attrs.frozen
class Customer:
    name: str
    born: datetime.date
    level: Level = Level.HIGH
    tags: tuple[str, ...] = ()
    parent: Customer | None = None


@dataclasses.dataclass
class Order:
    total: decimal.Decimal
    customer: Customer


RULES = {
    "aware datetime": (
        datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
        "2030-01-02T03:04:05+00:00",
    ),
    "datetime elsewhere": (
        datetime.datetime(2030, 1, 2, 3, 4, 5, 6, tzinfo=CET),
        "2030-01-02T03:04:05.000006+01:00",
    ),
    "date": (datetime.date(2030, 1, 2), "2030-01-02"),
    "naive time": (datetime.time(3, 4), "03:04:00"),
    "aware time": (datetime.time(3, 4, tzinfo=CET), "03:04:00+01:00"),
    "UUID": (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "Decimal": (decimal.Decimal("0.10"), "0.10"),
    "Decimal of many digits": (decimal.Decimal("1" * 30), "1" * 30),
    "Decimal with exponent": (decimal.Decimal("1E+3"), "1E+3"),
    "enum": (Size.SMALL, "s"),
    "enum of a date": (Size.WHEN, "2030-01-02"),
    "enum of a tuple": (Size.LIST, [1, "x"]),
    "IntEnum": (Level.HIGH, 3),
    "str enum": (Color.RED, "r"),
    "StrEnum": (Tone.LOW, "l"),
    "str subclass": (Loud("quiet"), "quiet"),
    "int subclass": (Whole(7), 7),
    "float subclass": (Real(1.5), 1.5),
    "tuple": ((1, (2,)), [1, [2]]),
    "namedtuple": (Point(1, Color.RED), [1, "r"]),
    "MappingProxyType": (types.MappingProxyType({"a": (1,)}), {"a": [1]}),
    "OrderedDict": (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    "UserDict": (collections.UserDict({"a": 1}), {"a": 1}),
    "key that is a str enum": ({Color.RED: 1}, {"r": 1}),
    "key that is a str subclass": ({Loud("quiet"): 1}, {"quiet": 1}),
    "attrs": (
        Customer(
            "A", datetime.date(2000, 1, 1), tags=("x",), parent=Customer("B", datetime.date.min)
        ),
        {
            "name": "A",
            "born": "2000-01-01",
            "level": 3,
            "tags": ["x"],
            "parent": {"name": "B", "born": "0001-01-01", "level": 3, "tags": [], "parent": None},
        },
    ),
    "dataclass": (
        Order(decimal.Decimal("9.90"), Customer("A", datetime.date(2000, 1, 1))),
        {
            "total": "9.90",
            "customer": {"name": "A", "born": "2000-01-01", "level": 3, "tags": [], "parent": None},
        },
    ),
    "booleans and None": ([True, False, None], [True, False, None]),
}


@pytest.mark.parametrize(("value", "expected"), RULES.values(), ids=RULES)
def test_rule_for_types(value, expected):
    """Each type has one form at any place in the detail, whichever way it is written."""
    assert json.loads(sent({"v": value})) == {"v": expected}
    assert json.loads(sent({"v": [{"w": value}]})) == {"v": [{"w": expected}]}
    assert json.loads(sent({"v": value, "n": None})) == {"v": expected, "n": None}
    assert json.loads(sent({"v": value, "s": SLOWLY})) == {"v": expected, "s": SLOWLY}


@pytest.mark.parametrize(
    "name", ["MappingProxyType", "OrderedDict", "UserDict", "attrs", "dataclass"]
)
def test_details_that_are_no_dict(name):
    """Any mapping or record can be the whole detail."""
    value, expected = RULES[name]
    assert json.loads(sent(value)) == expected


def test_text_of_a_subclass():
    """A str subclass is sent as the text it holds, and the event holds a plain str."""
    assert sent(Loud('{"a":1}')) == '{"a":1}'
    assert type(sent(Loud('{"a":1}'))) is str


# ---------------------------------------------------------------- what is refused


def cyclic() -> dict[str, Any]:
    detail: dict[str, Any] = {}
    detail["a"] = {"b": [detail]}
    return detail


BIG = "allowed: -2**63 to 2**63 - 1"
HALF = '"\\ud800"'
UTF_8 = "allowed: text that UTF-8 can encode"
TYPES = (
    "allowed: str, int, float, bool, None, mappings, lists, tuples, aware datetimes, dates, "
    "times, UUIDs, Decimals, enums, attrs instances, dataclasses and pydantic models"
)
FINITE = "allowed: finite numbers"

REFUSED_VALUES = {
    "NaN": (math.nan, f"is NaN; {FINITE}"),
    "infinity": (math.inf, f"is infinite; {FINITE}"),
    "minus infinity": (-math.inf, f"is infinite; {FINITE}"),
    "NaN of a subclass": (Real("nan"), f"is NaN; {FINITE}"),
    "2**63": (2**63, f"is an integer of 64 bits; {BIG}"),
    "2**64": (2**64, f"is an integer of 65 bits; {BIG}"),
    "-2**63-1": (-(2**63) - 1, f"is an integer of 64 bits; {BIG}"),
    "10**400": (10**400, f"is an integer of 1329 bits; {BIG}"),
    "10**5000": (10**5000, f"is an integer of 16610 bits; {BIG}"),
    "naive datetime": (
        datetime.datetime(2030, 1, 1),
        f"is a datetime without a time zone; {TYPES}",
    ),
    "Decimal NaN": (decimal.Decimal("NaN"), f"is a Decimal that is not finite; {TYPES}"),
    "Decimal sNaN": (decimal.Decimal("sNaN"), f"is a Decimal that is not finite; {TYPES}"),
    "Decimal infinity": (decimal.Decimal("-Infinity"), f"is a Decimal that is not finite; {TYPES}"),
    "bytes": (b"x", f"is a bytes; {TYPES}"),
    "bytearray": (bytearray(b"x"), f"is a bytearray; {TYPES}"),
    "set": ({1}, f"is a set; {TYPES}"),
    "generator": ((x for x in ()), f"is a generator; {TYPES}"),
    "complex": (1j, f"is a complex; {TYPES}"),
    "timedelta": (datetime.timedelta(1), f"is a timedelta; {TYPES}"),
    "object": (object(), f"is an object; {TYPES}"),
    "class": (Customer, f"is a type; {TYPES}"),
    "lone surrogate": ("a\ud800", "has a lone surrogate; allowed: text that UTF-8 can encode"),
    "integer key": ({1: 2}, "has a key that is an int; allowed: str keys"),
    "None key": ({None: 2}, "has a key that is None; allowed: str keys"),
    "bytes key": ({b"k": 2}, "has a key that is a bytes; allowed: str keys"),
    "enum key": ({Size.SMALL: 2}, "has a key that is a Size; allowed: str keys"),
    "tuple key": ({(1,): 2}, "has a key that is a tuple; allowed: str keys"),
}


@pytest.mark.parametrize(("value", "found"), REFUSED_VALUES.values(), ids=REFUSED_VALUES)
def test_refused_values(value, found):
    """A value that JSON or the service cannot represent is refused, and named with its path."""
    if "generator" not in found:
        assert refusal({"a": {"list": [0, value]}}) == [f"detail.a.list[1] {found}"]
        assert refusal({"n": None, "a b": value}) == [f"detail['a b'] {found}"]
        assert refusal({"s": SLOWLY, "v": value}) == [f"detail.v {found}"]
    else:
        assert refusal({"v": value}) == [f"detail.v {found}"]


def test_lone_surrogate_in_a_key():
    """The path of a bad key is ASCII, so that the message can be written anywhere."""
    (found,) = refusal({"a": {"\udcff": 1}})
    assert found == r"detail.a['\udcff'] has a lone surrogate; allowed: text that UTF-8 can encode"


def test_all_findings_at_once():
    """A detail with six faults has six findings, in the order of the detail."""
    found = refusal(
        {"a": math.nan, "b": [2**63, {1: 1}, b""], "c": {"\ud800": "\ud800"}, "d": None}
    )
    paths = [finding.split(" ")[0] for finding in found]
    assert paths == [
        "detail.a",
        "detail.b[0]",
        "detail.b[1]",
        "detail.b[2]",
        r"detail.c['\ud800']",
        r"detail.c['\ud800']",
    ]


@pytest.mark.parametrize(
    ("detail", "found"),
    [
        (None, "is None"),
        ([1], "is a list"),
        (5, "is an int"),
        (b"{}", "is a bytes"),
        ({1}, "is a set"),
        (Customer, "is a type"),
        (Point(1, 2), "is a Point"),
        (Size.SMALL, "is a Size"),
    ],
    ids=str,
)
def test_details_of_other_types(detail, found):
    """A detail is a mapping, a record or text."""
    allowed = "allowed: a mapping, an attrs instance, dataclass or pydantic model, or JSON text"
    assert refusal(detail) == [f"detail {found}; {allowed}"]


NOT_OBJECTS = {
    "array": ("[]", "is a JSON array"),
    "string": ('"{}"', "is a JSON string"),
    "integer": ("12", "is a JSON number"),
    "float": ("1.5", "is a JSON number"),
    "boolean": ("true", "is a JSON boolean"),
    "null": ("null", "is a JSON null"),
}


@pytest.mark.parametrize(("text", "found"), NOT_OBJECTS.values(), ids=NOT_OBJECTS)
def test_text_that_is_no_object(text, found):
    """JSON text that is not an object is refused."""
    assert refusal(text) == [f"detail {found}; allowed: a JSON object"]


NOT_JSON = {
    "empty": "",
    "blank": " ",
    "byte order mark": "\ufeff{}",
    "trailing garbage": "{}x",
    "two objects": "{}{}",
    "comment": "{} // {}",
    "single quotes": "{'a':1}",
    "trailing comma": '{"a":1,}',
    "NaN": '{"a":NaN}',
    "Infinity": '{"a":Infinity}',
    "minus Infinity": '{"a":-Infinity}',
    "leading zero": '{"a":01}',
    "plus": '{"a":+1}',
    "hexadecimal": '{"a":0x1}',
    "bad escape": '{"a":"\\x41"}',
    "control character": '{"a":"\n"}',
    "no end": '{"a":',
    "text without end": '{"a":"b',
    "key without quotes": "{a:1}",
    "NUL behind": "{}\x00",
}


@pytest.mark.parametrize("text", NOT_JSON.values(), ids=NOT_JSON)
def test_text_that_is_not_json(text):
    """Text that is not JSON is refused; the finding gives the place, and not the text."""
    (found,) = refusal(text)
    assert found.startswith("detail is not JSON (")
    assert found.endswith("; allowed: a JSON object")
    assert " at line " in found


def test_lone_surrogate_in_text():
    """Text that UTF-8 cannot express is refused."""
    assert refusal('{"a":"\ud800"}') == [f"detail has a lone surrogate; {UTF_8}"]


LONE = {
    "high": ('{"a":"\\ud800"}', "detail.a"),
    "low": ('{"a":"\\udc00x"}', "detail.a"),
    "in the wrong order": ('{"a":["b","\\udc00\\ud800"]}', "detail.a[1]"),
    "in a key": ('{"b":0,"\\uD800":1}', "detail['\\\\uD800']"),
    "behind a backslash": ('{"a":"\\\\\\ud800"}', "detail.a"),
    "behind a pair": ('{"a":{"b":"\\ud83d\\ude00\\ud83d"}}', "detail.a.b"),
    "in a long text": ('{"x":"%s","a":"\\ud800"}' % ("x" * 3000), "detail.a"),
    "beside a number beyond a double": ('{"n":1E400,"a":"\\ud800"}', "detail.a"),
}


@pytest.mark.parametrize(("text", "path"), LONE.values(), ids=LONE)
def test_escaped_lone_surrogate(text, path):
    """An escaped lone surrogate is valid JSON, but it is refused and named with its path."""
    assert json.loads(text)
    assert refusal(text) == [f"{path} has a lone surrogate; {UTF_8}"]


@pytest.mark.parametrize(
    "text",
    [
        '{"a":"\\\\ud800"}',
        '{"a":"\\ud83d\\ude00"}',
        '{"a":"\\\\\\\\ud800"}',
        '{"a":"\\ud7ff\\ue000"}',
    ],
    ids=["an escaped backslash", "a pair", "two of them", "neighbours of surrogates"],
)
def test_what_only_looks_like_a_lone_surrogate(text):
    """An escaped backslash before `ud800`, or a pair of surrogates, is ordinary text."""
    assert sent(text) == text
    assert sent(text[:-1] + ',"n":1E400}') == text[:-1] + ',"n":1E400}'


NOT_ONE_OBJECT = {
    "two objects": "%s,%s",
    "an object and a number": "%s,1",
    "the end of one array and the start of another": "%s],[%s",
    "the same, thrice": "%s]]],[[[%s",
    "more brackets than are allowed": "%s" + "]" * 24 + "," + "[" * 24 + "%s",
    "an array": "[%s]",
    "a closed array": "%s]",
    "an opened array": "[%s",
    "two objects with space between": "%s %s",
}


@pytest.mark.parametrize("form", NOT_ONE_OBJECT.values(), ids=NOT_ONE_OBJECT)
@pytest.mark.parametrize("size", [1, 1990, 2000, 2001, 2100, 50_000])
@pytest.mark.parametrize("brackets", [1, 999, 1001])
def test_text_is_one_object_whatever_its_length(form, size, brackets):
    """Text must be one object, however long it is and however many brackets it has."""
    whole = f'{{"a":"{"x" * size}","b":[{",".join(["[]"] * (brackets - 1))}]}}'
    assert sent(whole) == whole
    assert refusal(form.replace("%s", whole))[0].endswith("; allowed: a JSON object")


NUMBERS = ["1E400", "-1e+400", "1" + "0" * 400 + ".5", "0.1E999999", "1e-400"]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("depth", [1, 900, 999, 1000])
@pytest.mark.parametrize("size", [0, 3000])
def test_numbers_beyond_a_double_at_any_depth(number, depth, size):
    """A number beyond the range of a double is valid JSON, at any allowed depth."""
    inner = "[" * (depth - 1) + number + "]" * (depth - 1)
    text = f'{{"a":"{"x" * size}","n":{inner}}}'
    assert sent(text) == text
    if depth == 1000:
        (found,) = refusal(text.replace(number, f"[{number}]"))
        assert found.endswith("is nested more than 1000 deep; the limit is 1000 levels")


@pytest.mark.parametrize(
    "number",
    ["--1E400", "1E400-", "01E400", "1.E400", "1E", ".1E400", "1E400 1", "+1E400", "1E4.0"],
)
def test_what_only_looks_like_a_number_beyond_a_double(number):
    """A number beyond a double must still follow JSON's grammar."""
    for text in (f'{{"n":{number}}}', f'{{"n":{number},"m":1E400}}'):
        with pytest.raises(json.JSONDecodeError):
            json.loads(text)
        assert refusal(text)[0].startswith("detail is not JSON (")


@pytest.mark.parametrize(
    "number",
    ["9223372036854775808", "-9223372036854775809", "1" + "0" * 19, "9" * 300, "-" + "9" * 20],
)
def test_large_integers_in_text(number):
    """Every integer in text that does not fit into 64 bits is named with its path."""
    digits = len(number.lstrip("-"))
    expected = f"is an integer of {digits} digits; {BIG}"
    text = f'{{"a": 1, "b\\"": [{{}}, [1, {number}]], "c": {number}, "d": "{number}"}}'
    assert refusal(text) == [
        f"detail['b\\\\\"'][1][1] {expected}",
        f"detail.c {expected}",
    ]


@pytest.mark.parametrize("before", range(36))
def test_a_large_integer_is_seen_wherever_it_stands(before):
    """A large integer is found at any offset, although the check looks at some bytes only."""
    assert refusal(f'{{"{"k" * before}": 9223372036854775808}}')


def mapping_of_depth(depth: int, kind: str) -> dict[str, Any]:
    value: Any = {} if kind == "objects" else []
    for _ in range(depth - 2):
        value = {"k": value} if kind == "objects" else [value]
    return {"k": value}


@pytest.mark.parametrize("kind", ["objects", "arrays"])
@pytest.mark.parametrize("depth", [254, 255, 256, 999, 1000])
def test_depth_within_the_limit(depth, kind):
    """1,000 levels are sent, as a mapping and as text."""
    detail = mapping_of_depth(depth, kind)
    text = sent(detail)
    assert text.count("{") + text.count("[") == depth
    assert sent(text) == text
    assert sent({**detail, "s": SLOWLY})


@pytest.mark.parametrize("kind", ["objects", "arrays"])
@pytest.mark.parametrize("depth", [1001, 1024, 1025, 5000, 100_000])
def test_depth_beyond_the_limit(depth, kind):
    """The 1,001st level is refused, however deep the detail goes; the path is shortened."""
    opening, closing = ('{"k":', "}") if kind == "objects" else ("[", "]")
    inner = "{}" if kind == "objects" else "[]"
    text = '{"k":' + opening * (depth - 2) + inner + closing * (depth - 2) + "}"
    (of_text,) = refusal(text)
    (of_mapping,) = refusal(mapping_of_depth(depth, kind))
    assert of_text == of_mapping
    assert of_text.startswith("detail.k")
    assert of_text.endswith(" is nested more than 1000 deep; the limit is 1000 levels")
    assert len(of_text) < 200


@attrs.frozen
class Boxed:
    k: Any


WRAPS = {
    "t": (lambda value: (value,), "[", "]"),
    "l": (lambda value: [value], "[", "]"),
    "d": (lambda value: {"k": value}, '{"k":', "}"),
    "r": (Boxed, '{"k":', "}"),
}
MIXES = ["t", "tl", "tdd", "tddr", "ddt", "tr", "d"]


def nested(wraps, depth):
    """Return a date in tuples, lists, dicts and records in turn, and its text."""
    value: Any = datetime.date(2030, 1, 2)
    text = '"2030-01-02"'
    for level in range(depth):
        wrap, opening, closing = WRAPS[wraps[level % len(wraps)]]
        value, text = wrap(value), opening + text + closing
    return value, text


@pytest.mark.parametrize("wraps", MIXES)
@pytest.mark.parametrize("depth", [98, 99, 100, 101, 253, 254, 255, 256, 511, 980, 999])
def test_tuples_are_written_at_any_depth(wraps, depth):
    """Tuples are written correctly at any depth; at some, orjson 3.13 writes out of bounds."""
    value, text = nested(wraps, depth)
    assert sent({"v": value}) == f'{{"v":{text}}}'


@pytest.mark.parametrize("wraps", MIXES)
@pytest.mark.parametrize("depth", [1000, 1023, 1024, 1280, 5000])
def test_tuples_beyond_the_limit(wraps, depth):
    """A tuple counts as a level, like a list."""
    (found,) = refusal({"v": nested(wraps, depth)[0]})
    assert found.endswith("is nested more than 1000 deep; the limit is 1000 levels")


class Raising(enum.Enum):
    ONE = 1

    @property
    def value(self):
        raise ZeroDivisionError


class Itself(enum.Enum):
    ONE = 1

    @property
    def value(self):
        return self


@pytest.mark.parametrize("wraps", [*WRAPS, ""])
@pytest.mark.parametrize(
    ("member", "found"),
    [
        (Raising.ONE, "is a Raising that cannot be read (ZeroDivisionError)"),
        (Itself.ONE, "is an Itself whose value is an endless chain of enums"),
    ],
)
def test_enums_without_a_value(member, found, wraps):
    """An enum whose value cannot be read is refused; orjson would crash on it."""
    value = WRAPS[wraps][0](member) if wraps else member
    (message,) = refusal({"v": value})
    assert found in message


@pytest.mark.parametrize("number", [math.nan, math.inf])
@pytest.mark.parametrize(
    "wrap", [lambda value: value, lambda value: [value], lambda value: (value,)]
)
def test_a_null_hides_no_nan(number, wrap):
    """NaN and infinity are refused in a detail that also holds a null."""
    (message,) = refusal({"n": None, "v": wrap(number)})
    assert "is NaN" in message or "is infinite" in message


def test_wide_is_not_deep():
    """Neither thousands of neighbours nor brackets in strings count as depth."""
    text = json.dumps({"a": [{"b": [[]]} for _ in range(5000)], "c": "[{" * 5000})
    assert sent(text) == text


def test_mapping_that_holds_itself():
    """A mapping that contains itself is refused at the limit of depth."""
    (found,) = refusal(cyclic())
    assert found.endswith("is nested more than 1000 deep; the limit is 1000 levels")


def test_record_that_holds_itself():
    """A record that contains itself is refused at the limit of depth, as the detail or in it."""
    customer = Customer("A", datetime.date.min)
    object.__setattr__(customer, "parent", customer)
    for detail in (customer, {"of": [None, customer]}):
        (found,) = refusal(detail)
        assert found.endswith("is nested more than 1000 deep; the limit is 1000 levels")


# ---------------------------------------------------------------- many findings


@pytest.mark.parametrize(
    ("detail", "field", "allowed"),
    [
        ({"a": [math.nan] * 200_000}, "detail.a", FINITE),
        ({"a": ["\ud800"] * 25}, "detail.a", UTF_8),
        ({"a": [{1: 1}] * 1000}, "detail.a", "allowed: str keys"),
        ({"a": [b""] * 1000}, "detail.a", TYPES),
        ({"a": [2**63] * 1000}, "detail.a", BIG),
        (f'{{"a":[{",".join(["9" * 20] * 50_000)}]}}', "detail.a", BIG),
        (f'{{"a":[{",".join([HALF] * 50_000)}]}}', "detail.a", UTF_8),
    ],
    ids=[
        "NaN",
        "surrogates",
        "keys",
        "types",
        "integers",
        "integers in text",
        "surrogates in text",
    ],
)
def test_findings_of_a_kind_end(detail, field, allowed):
    """Twenty findings of a kind are listed; the rest are counted."""
    count = detail.count(",") + 1 if isinstance(detail, str) else len(detail["a"])
    *found, more = refusal(detail)
    assert len(found) == 20
    assert all(finding.startswith(field) for finding in found)
    assert more == f"detail has 20 of these and {count - 20:,} more; {allowed}"


def test_each_kind_of_finding_has_its_own_twenty():
    """Many findings of one kind do not hide those of another."""
    found = refusal({"a": [math.nan] * 100, "b": [b""] * 20, "c": 2**63})
    assert len(found) == 20 + 20 + 1 + 1
    assert found[-1] == f"detail has 20 of these and 80 more; {FINITE}"
    assert f"detail.c is an integer of 64 bits; {BIG}" in found


# ---------------------------------------------------------------- hostile details


def test_broken_text_is_refused_in_linear_time():
    """Half a megabyte of unclosed text is refused in time proportional to its length."""
    started = time.process_time()
    refusal('{"a":"' + '\\"' * 250_000)
    refusal('{"a' + '":"' * 150_000)
    refusal("{" * 500_000)
    assert time.process_time() - started < 5


def test_paths_are_not_kept_for_what_is_fine():
    """A wide array deep inside a detail costs memory for its items, not for their paths."""
    value: Any = {"items": [0] * 20_000, "s": SLOWLY}
    for _ in range(500):
        value = {"k" * 60: value}
    tracemalloc.start()
    try:
        sent(value)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 50_000_000


CANARY = "s3cr3t-canary"


@given(st.sampled_from([1, 2, 3]), texts)
def test_messages_never_hold_the_payload(levels, text):
    """No refusal repeats a value, whatever is wrong with the values beside it."""
    bad = [math.nan, math.inf, 2**63, 10**400, b"s3cr3t-canary", {CANARY}, "s3cr3t-canary\ud800"]
    bad += [decimal.Decimal("NaN"), datetime.datetime(2030, 1, 1), {1: CANARY}, cyclic()]
    for value in bad:
        detail: dict[str, Any] = {"plain": CANARY + text, "bad": value}
        for _ in range(levels):
            detail = {"in": [CANARY, detail]}
        assert CANARY not in "\n".join(refusal(detail))
    whole = json.dumps({"plain": CANARY + text, "number": 5})
    for broken in (
        whole[:-1],
        whole + CANARY,
        whole.replace("5", "NaN"),
        whole.replace("5", "9" * 25),
        "[" + whole + "]",
        CANARY,
        whole + "\ud800",
    ):
        assert CANARY not in "\n".join(refusal(broken))


@given(st.dictionaries(texts, values | st.just(math.nan) | st.just(2**70), max_size=4))
def test_refused_if_and_only_if_something_is_wrong(detail):
    """Every bad value is a finding, and no good value is."""

    def bad(value: Any) -> int:
        if isinstance(value, dict):
            return sum(map(bad, value.values()))
        if isinstance(value, list):
            return sum(map(bad, value))
        return value == 2**70 or value != value

    expected = bad(detail)
    if expected:
        assert len(refusal(detail)) == expected
    else:
        assert json.loads(sent(detail)) == detail
