"""
Whether a text is one JSON object, told without keeping anything of it.

msgspec makes nothing of what it skips, and takes half as long as orjson; but loading it takes as
long as orjson takes for some thousand texts. So orjson reads the first texts of a process: a
function that is called for one event is answered before msgspec would be there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final

import orjson

FIRST_TEXTS: Final = 1000
"""So many texts are read before msgspec is loaded."""

_LARGE: Final = 64 * 1024
"""A text of more bytes has it loaded at once, for it takes memory to make something of that."""

not_an_object: tuple[type[Exception], ...] = (ValueError, RecursionError)
"""What `read_object` raises of a text that is none; to be looked up when something is raised."""


def read_first(raw: bytes) -> None:
    """Raise what `not_an_object` names if a text is none; load msgspec if many have been read."""
    if next(_numbers) % FIRST_TEXTS == 0 or len(raw) > _LARGE:
        load_msgspec()
        if read_object is not read_first:
            read_object(raw)
            return
    if type(orjson.loads(raw)) is not dict:
        raise ValueError


_numbers: Final = itertools.count(1)
read_object: Callable[[bytes], object] = read_first
"""Raises what `not_an_object` names if a text is not one JSON object; replaced once."""


def load_msgspec() -> None:
    """Have msgspec read from now on, if it can be loaded; no file descriptor may be left."""
    global not_an_object, read_object  # noqa: PLW0603  # what is called for each event
    try:
        import msgspec

        class AnyObject(msgspec.Struct):
            """What a Struct has no member for is read, but nothing is made of it."""

    except (ImportError, OSError):
        return
    not_an_object = (ValueError, RecursionError, msgspec.MsgspecError)
    read_object = msgspec.json.Decoder(AnyObject).decode
