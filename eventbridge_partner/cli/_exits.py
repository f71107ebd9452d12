"""How the program ends: exit statuses, and the errors that lead to them."""

from __future__ import annotations

from typing import Final

ALL_ACCEPTED: Final = 0
NOT_ALL_ACCEPTED: Final = 1
USAGE: Final = 2
CONFIGURATION: Final = 3
MOST_OF_A_PATH: Final = 500
"""How many characters of a file's name a message shows."""

SIGNALLED: Final = 128
"""Added to the number of the signal that ended the program: 130 for Ctrl-C, as shells have it."""


class UsageError(Exception):
    """The command cannot work as it was given; nothing was sent."""


def reason(error: OSError) -> str:
    """Return why an operation on a file failed, without its number and the file's name."""
    return error.strerror or type(error).__name__
