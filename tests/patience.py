"""How tests wait: for a condition, and long enough for a busy machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

SOON: Final = 60.0
"""Seconds for anything expected to happen, even on a busy machine; what takes longer hangs."""


def until(holds: Callable[[], object]) -> None:
    """Poll until a condition holds that nothing signals, such as a file that a process writes."""
    deadline = time.monotonic() + SOON
    while not holds():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.005)
