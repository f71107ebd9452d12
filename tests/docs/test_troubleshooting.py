"""The messages that the page on troubleshooting quotes are the package's."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/troubleshooting.md").read_text()
QUOTES = [
    line.strip()
    for block in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]
# Text from the local service, the system and OpenSSL that our messages repeat.
FOREIGN = [
    "The request was refused.",
    "Connection refused",
    "unable to get local issuer certificate",
    ".py:12 in",
]
# Names of arguments and members in messages, and an example of a value.
NAMES = {"account", "client", "source", "support", "time", "wait"}
# Words that follow a number; see `counted`.
COUNTED = {"entries", "entry", "event", "events", "outcome", "outcomes", "was", "were"}
VALUE = "\0"


@cache
def templates() -> tuple[tuple[str, ...], ...]:
    """Return each text of the source that has two words or more, split at its values."""
    found: set[tuple[str, ...]] = set()
    for file in (ROOT / "eventbridge_partner").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(tuple(re.split(r"%(?:s|d|g|\.0f)", node.value)))
            elif isinstance(node, ast.JoinedStr):
                parts = [
                    part.value if isinstance(part, ast.Constant) else VALUE for part in node.values
                ]
                found.add(tuple("".join(map(str, parts)).split(VALUE)))
    return tuple(parts for parts in found if len(words_of(" ".join(parts))) > 1)


def words_of(text: str) -> list[str]:
    """Return the words of a sentence, without names, numbers and types."""
    return [word for word in re.findall(r"[^\s,;:()\[\]]+", text) if re.fullmatch("[a-z'`]+", word)]


def left_of(quote: str) -> list[str]:
    """Return the words of a quote that come from no text of the source."""
    for words in FOREIGN:
        quote = quote.replace(words, VALUE)
    left = list(quote)
    for parts in templates():
        if not all(part in quote for part in parts):
            continue
        if match := re.search("(.+?)".join(f"({re.escape(part)})" for part in parts), quote):
            for group in range(1, len(match.groups()) + 1, 2):
                left[slice(*match.span(group))] = " " * len(match[group])
    return [word for word in words_of("".join(left)) if word not in NAMES | COUNTED]


@pytest.mark.parametrize("quote", QUOTES)
def test_quotes_are_messages_of_the_package(quote):
    """Each word of a quote is from a text of the source, except names and numbers."""
    assert left_of(quote) == []


def test_other_words_are_not_taken_for_messages():
    """A changed word is found."""
    assert left_of("region was not set; needed: the argument region") != []
    line = "3 events of direct calls were not accepted: Rejected, InvalidEvent"
    assert left_of(f"{line}; mend them") == ["mend", "them"]


def test_the_page_quotes_enough():
    """The quotes on the page were found."""
    assert len(QUOTES) > 50
