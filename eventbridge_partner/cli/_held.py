"""Texts that wait to be written, in memory up to a bound and on disk beyond it."""

from __future__ import annotations

import tempfile
from collections import deque
from typing import Final

MAX_HELD_BYTES: Final = 8 * 1024 * 1024
"""How many bytes of all texts together are held in memory."""


class HeldTexts:
    """
    Texts, first in, first out.

    Args:
        most: How many bytes to hold in memory.
    """

    def __init__(self, most: int = MAX_HELD_BYTES) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=most)  # noqa: SIM115  # closed in close
        self._sizes: deque[int] = deque()
        self._begin = 0
        self._end = 0

    def __len__(self) -> int:
        return len(self._sizes)

    def put(self, text: bytes) -> None:
        """
        Keep a text.

        Raises:
            OSError: There is no room on disk.
        """
        self._file.seek(self._end)
        self._file.write(text)
        self._end += len(text)
        self._sizes.append(len(text))

    def take(self) -> bytes:
        """Remove the first text, and return it."""
        self._file.seek(self._begin)
        text = self._file.read(self._sizes[0])
        self._begin += self._sizes.popleft()
        if not self._sizes:
            self._begin = self._end = 0
            self._file.seek(0)
            self._file.truncate()
        return text

    def close(self) -> None:
        """Free the memory and the space on disk."""
        self._file.close()
