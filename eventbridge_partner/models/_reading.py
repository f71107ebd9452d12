"""
Checks that a text is one JSON object, without keeping its content.

msgspec skips content without building objects, which takes half as long as reading it with orjson.
But importing msgspec takes as long as reading about a thousand texts. So orjson reads the first
texts of a process: a function that handles a single event is done before msgspec would be loaded.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final

import orjson

FIRST_TEXTS: Final = 1000
"""How many texts are read before msgspec is loaded."""

_LARGE: Final = 64 * 1024
"""A longer text, in bytes, loads msgspec at once: orjson would take memory for its objects."""

not_an_object: tuple[type[Exception], ...] = (ValueError, RecursionError)
"""The exceptions of `read_object` for an invalid text. It may change, so look it up when needed."""


def read_first(raw: bytes) -> None:
    """Raise one of `not_an_object` if a text is not one object; load msgspec after many texts."""
    if next(_numbers) % FIRST_TEXTS == 0 or len(raw) > _LARGE:
        load_msgspec()
        if read_object is not read_first:
            read_object(raw)
            return
    if type(orjson.loads(raw)) is not dict:
        raise ValueError


_numbers: Final = itertools.count(1)
read_object: Callable[[bytes], object] = read_first
"""Raises one of `not_an_object` if a text is not one JSON object; replaced once."""


def load_msgspec() -> None:
    """Read with msgspec from now on, if it can be loaded: there may be no descriptor left."""
    global not_an_object, read_object  # noqa: PLW0603  # read_object is called for each event
    try:
        import msgspec

        class AnyObject(msgspec.Struct):
            """Any JSON object: unknown members are parsed and skipped."""

    except (ImportError, OSError):
        return
    not_an_object = (ValueError, RecursionError, msgspec.MsgspecError)
    read_object = msgspec.json.Decoder(AnyObject).decode
