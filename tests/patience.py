"""How tests wait: for what is to happen, and long enough for a busy machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

SOON: Final = 60.0
"""Seconds within which what is expected comes, also on a busy machine; what takes more hangs."""


def until(holds: Callable[[], object]) -> None:
    """Wait until something holds that nobody tells of, such as what another process wrote."""
    deadline = time.monotonic() + SOON
    while not holds():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.005)
