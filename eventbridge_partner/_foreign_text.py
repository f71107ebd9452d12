"""
Text from outside in a message: a value of the caller's, a file name, a service's answer.

It may hold line breaks that look like another log line, or terminal control sequences. Everything
of it that appears in a message, a log line or printed output goes through this module.
"""

from __future__ import annotations

from typing import Final

MOST_SHOWN: Final = 64
"""How many characters of a foreign text a message shows."""


def plain_text(text: str) -> str:
    """Return the text of a str of any class, such as an enum's, whatever its `__str__` returns."""
    return str.__str__(text)


def escaped(text: str, most: int = MOST_SHOWN) -> str:
    """
    Return text on one line, cut to a length, with escapes for characters that do not print.

    Args:
        text: The foreign text. Letters of every script stay as they are.
        most: How many of its characters to show.
    """
    text = plain_text(text)
    shown = text if len(text) <= most else f"{text[:most]}…"
    return shown if shown.isprintable() else "".join(map(_escape, shown))


def _escape(letter: str) -> str:
    if letter.isprintable():
        return letter
    return letter.encode("unicode_escape").decode()


def quoted(value: object, most: int = MOST_SHOWN) -> str:
    """
    Return a foreign value in quotes and in ASCII, so that its end is visible, cut to a length.

    Args:
        value: Text; of any other value, only the type is named.
        most: How many of its characters to show.
    """
    if not isinstance(value, str):
        return "None" if value is None else f"a value of type {escaped(type(value).__qualname__)}"
    text = plain_text(value)
    return ascii(text) if len(text) <= most else f"{text[:most]!a}…"
