"""Numbers of things in messages: `1 event`, `2 events`."""

from __future__ import annotations


def counted(number: int, noun: str = "event", nouns: str | None = None) -> str:
    """Return a number with its noun in the singular or plural."""
    return f"{number} {noun if number == 1 else nouns or noun + 's'}"


def were(number: int) -> str:
    """Return the past tense of *to be* after a number of things."""
    return "was" if number == 1 else "were"
