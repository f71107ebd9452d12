"""How the program ends: exit statuses, and the errors that lead to them."""

from __future__ import annotations

from typing import Final

ALL_ACCEPTED: Final = 0
NOT_ALL_ACCEPTED: Final = 1
USAGE: Final = 2
CONFIGURATION: Final = 3
MOST_OF_A_PATH: Final = 500
"""The most characters of a file's name in a message."""

SIGNALLED: Final = 128
"""Added to the number of the signal that ended the program, as shells do: 130 for Ctrl-C."""


class UsageError(Exception):
    """The command line is wrong. Nothing was sent."""


def reason(error: OSError) -> str:
    """Return why an operation on a file failed, without the error number and the file's name."""
    return error.strerror or type(error).__name__
