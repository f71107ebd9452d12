"""Text from outside is shown on one line, escaped and cut."""

from __future__ import annotations

import enum
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbridge_partner._foreign_text import MOST_SHOWN, escaped, plain_text, quoted

any_text = st.text(st.characters(codec=None), max_size=200)


@given(any_text)
def test_no_control_characters_are_shown(text):
    """Any text is shown as one line of printable characters."""
    for shown in (escaped(text), quoted(text)):
        assert shown.isprintable()
        assert len(shown.splitlines()) <= 1
        assert not any(unicodedata.category(letter)[0] == "C" for letter in shown)
        shown.encode()


@given(any_text, st.integers(1, 100))
def test_a_bounded_part_is_shown(text, most):
    """At most `most` characters are shown, each of which takes up to ten when escaped."""
    assert len(escaped(text, most)) <= most * 10 + 1
    assert len(quoted(text, most)) <= most * 10 + 3
    if len(text) > most:
        assert escaped(text, most).endswith("…")
        assert quoted(text, most).endswith("…")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, with spaces", "plain, with spaces"),
        ("größe 日本 😀", "größe 日本 😀"),
        ("a\r\nb", r"a\r\nb"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b2J", r"\x9b2J"),
        ("a\u202eb", r"a\u202eb"),
        ("a\u2028b\x85c", r"a\u2028b\x85c"),
        ("\ud800", r"\ud800"),
        ("\U000e0001", r"\U000e0001"),
        ("x" * (MOST_SHOWN + 1), "x" * MOST_SHOWN + "…"),
    ],
    ids=ascii,
)
def test_escaped(text, shown):
    """Letters of every script stay; control characters, surrogates and the like are escaped."""
    assert escaped(text) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a'b", '''"a'b"'''),
        ("größe", r"'gr\xf6\xdfe'"),
        ("a\nb", r"'a\nb'"),
        ("x" * 65, "'" + "x" * 64 + "'…"),
        (None, "None"),
        (5, "a value of type int"),
        (type("\x1b", (), {})(), r"a value of type \x1b"),
    ],
)
def test_quoted(value, shown):
    """Text is shown in quotes and in ASCII, and other values by their type."""
    assert quoted(value) == shown


def test_a_str_is_what_it_holds():
    """A str subclass is shown as the text that it holds."""
    kind = enum.Enum("kind", {"A": "a\n"}, type=str)
    assert (escaped(kind.A), quoted(kind.A), plain_text(kind.A)) == (r"a\n", r"'a\n'", "a\n")
    assert type(plain_text(kind.A)) is str
