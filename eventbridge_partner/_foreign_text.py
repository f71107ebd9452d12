"""
Text from outside in a message: a value of the caller's, a file's name, what a service answers.

It may hold line breaks that pass for another line of a log, or sequences that a terminal obeys.
Whatever of it stands in a message, a log line or an output for people goes through here.
"""

from __future__ import annotations

from typing import Final

MOST_SHOWN: Final = 64
"""How many characters of a foreign text a message shows."""


def plain_text(text: str) -> str:
    """Return the text that a str of any class holds, such as an enum's, whatever it shows of it."""
    return str.__str__(text)


def escaped(text: str, most: int = MOST_SHOWN) -> str:
    """
    Return text on one line, with escapes for all that does not print as itself, and cut.

    Args:
        text: The foreign text. Letters of every script stay as they are.
        most: How many of its characters are shown.
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
    Return a foreign value in quotes and in ASCII, so that its end shows, and cut.

    Args:
        value: Text; of anything else its type is named.
        most: How many of its characters are shown.
    """
    if not isinstance(value, str):
        return "None" if value is None else f"a value of type {escaped(type(value).__qualname__)}"
    text = plain_text(value)
    return ascii(text) if len(text) <= most else f"{text[:most]!a}…"
