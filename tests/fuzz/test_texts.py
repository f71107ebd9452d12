"""JSON text is sent unchanged or refused, as the standard library and the rules predict."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventbridge_partner import InvalidEventError, PartnerEvent
from eventbridge_partner.models import _reading as reading
from tests.strategies import SOURCE

CANARY = "c4n4ry"

fragments = st.sampled_from(
    [
        *'{}[],:"\\ \n\t0123456789-+.eE',
        *('{"a":', '"b":', '"', '""', "{}", "[]", "},{", "}],[{", "],[", "]]],[[["),
        *(
            "null",
            "true",
            "false",
            "NaN",
            "Infinity",
            "-Infinity",
            "nul",
            "None",
            "1E400",
            "-1e999",
        ),
        *("0", "-0", "01", "1.", ".5", "-", "--1", "1e", "1E+5", "0.1E-400", "1_0", "٣"),
        *("9223372036854775807", "9223372036854775808", "-9223372036854775808"),
        *("-9223372036854775809", "9" * 19, "9" * 25, "0" * 30, "9" * 5000, f"{10**18}.5"),
        *(r"\ud800", r"\udc00", r"\ud83d\ude00", r"\u0000", r"\uD8", r"\\", r"\"", r"\x", r"\/"),
        *("\ud800", "\ufeff", "\x00", "\x1f", "\x7f", "\x85", "\u2028", "é", "日", "😀", "//", "'"),
        *(f'"{CANARY}"', f'"{CANARY}', '"x":"', '","y":', f'"z":"{CANARY}"'),
    ]
)
strings = st.text(st.characters(codec="utf-8"), max_size=10) | st.sampled_from(
    [CANARY, "[{" * 5, '"\\', "9" * 20, "\ud83d\ude00"]
)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | strings,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(strings, inner, max_size=4),
    max_leaves=12,
)
sound = st.builds(
    json.dumps,
    st.dictionaries(strings, values, max_size=4) | values,
    ensure_ascii=st.booleans(),
    indent=st.none() | st.just(1),
)


@st.composite
def _damaged(draw: st.DrawFn) -> str:
    text = draw(sound)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(fragments) + text[at + draw(st.integers(0, 3)) :]
    return text


texts = sound | _damaged() | st.lists(fragments, max_size=25).map("".join)

LENGTHS = st.sampled_from([0, 0, 0, 1900, 1950, 1970, 1990, 2000, 2010, 2100, 5000])
DEPTHS = st.sampled_from([0, 1, 100, 250, 960, 990, 997, 998, 999, 1000, 1001, 1022, 1023, 1024])
WIDTHS = st.sampled_from([0, 0, 0, 0, 0, 990, 998, 999, 1000, 1001, 1100])


def variants(text: str, length: int, depth: int, width: int) -> list[str]:
    """Return a text alone, beside a long one, deep inside another, and among many brackets."""
    wide = ",".join(["[]"] * width)
    return [
        text,
        text + " " * length,
        f'{{"a":{text},"x":"{"x" * length}"}}',
        f'{text[:-1]},"x":"{"é" * length}"}}',
        f'{{"a":"{"x" * length}","b":{"[" * depth}{text}{"]" * depth}}}',
        f'{{"w":[{wide}],"d":{"[{" * (depth // 2)}'.replace("[{", '[{"k":')
        + text
        + "}]" * (depth // 2)
        + "}",
        f'{{"x":"{"x" * length}"}},{text}',
        f'{{"x":"{"x" * length}","w":[{wide}]}}],[{text}',
    ]


# ---------------------------------------------------------------- what the standard library says


class Members(list):
    """An object's members, including those with the same name."""


class RefusedError(ValueError):
    """The rules of a detail do not allow it."""


def _refuse(name: str) -> Any:
    raise RefusedError(name)


def _bounded(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**63:
        raise RefusedError(digits)
    return int(digits)


DECODER = json.JSONDecoder(
    parse_constant=_refuse, parse_int=_bounded, parse_float=float, object_pairs_hook=Members
)
TEXT = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
BRACKETS = str.maketrans({"{": "[", "}": "]"})


def depth_of(text: str) -> int:
    """Count the levels of valid JSON."""
    depth = deepest = 0
    for mark in TEXT.sub("", text).translate(BRACKETS):
        depth += (mark == "[") - (mark == "]")
        deepest = max(deepest, depth)
    return deepest


def has_half_a_character(value: Any) -> bool:
    todo = [value]
    while todo:
        match todo.pop():
            case str() as text:
                if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
                    return True
            case list() | tuple() as several:
                todo += several
            case _:
                pass
    return False


def is_detail(text: str) -> bool:
    """Tell by the standard library and the documented rules whether a text is a detail."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        value = DECODER.decode(text)
    except ValueError:
        return False
    finally:
        sys.setrecursionlimit(limit)
    return (
        type(value) is Members
        and (text.count("[") + text.count("{") <= 1000 or depth_of(text) <= 1000)
        and not ("\\u" in text and has_half_a_character(value))
        and not any("\ud800" <= letter <= "\udfff" for letter in text)
    )


def check(text: str) -> None:
    try:
        event = PartnerEvent(SOURCE, "t", text)
    except InvalidEventError as error:
        assert not is_detail(text), str(error)
        message = str(error)
        assert all(line.isprintable() for line in message.split("\n"))
        assert len(message) < 20_000
        assert len(error.findings) <= 3 * 21
        if not re.search(rf'{CANARY}[^"]*"\s*:', text):  # messages may show member names
            assert CANARY not in message
    else:
        assert is_detail(text)
        assert event.detail == text


@pytest.fixture(autouse=True)
def reader() -> Iterator[None]:
    """Restore the reader after each test."""
    before = reading.read_object
    yield
    reading.read_object = before


@pytest.mark.slow
@given(texts, LENGTHS, DEPTHS, WIDTHS, st.booleans())
@example('{"a":1E400}', 3000, 999, 0, False)
@example('{"a":1E400}', 0, 0, 0, True)
@example('{"a":"\\ud800"}', 3000, 999, 1001, False)
@example('{"a":1},{"b":2}', 2100, 1, 0, False)
@example('{"a":--1E400}', 0, 0, 0, False)
@example('{"a":--1E400}', 0, 0, 0, True)
def test_texts(text: str, length: int, depth: int, width: int, is_first: bool) -> None:
    """Text is sent if and only if it is an object of at most 1,000 levels with 64-bit integers."""
    reading.load_msgspec()
    if is_first:
        reading.read_object = reading.read_first
    for variant in variants(text, length, depth, width):
        check(variant)


def test_the_first_texts() -> None:
    """The first texts of a process are read by orjson, all others by msgspec."""
    reading.read_object = reading.read_first
    for _ in range(reading.FIRST_TEXTS):
        check('{"a":1}')
        check('["a"]')
    assert reading.read_object is not reading.read_first
    check('{"a":1}')
    check('["a"]')


def test_msgspec_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """If msgspec cannot be loaded, orjson reads the next texts, and loading is tried again."""
    reading.read_object = reading.read_first
    monkeypatch.setitem(sys.modules, "msgspec", None)
    for _ in range(reading.FIRST_TEXTS):
        check('{"a":1}')
    assert reading.read_object is reading.read_first
    monkeypatch.undo()
    for _ in range(reading.FIRST_TEXTS):
        check('{"a":1}')
    assert reading.read_object is not reading.read_first
