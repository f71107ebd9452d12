"""
The clock that this package waits by: seconds that pass, whatever a test does to `time`.

A loop that waits until `time.monotonic` shows a later time never ends where that is frozen, as
freezegun does; and freezegun shows the real time to some callers of a thread and the frozen one to
others. Waits themselves, in locks and sockets, go by the machine. So does this clock: after a wait
that was waited out, it has passed it.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from importlib.machinery import BuiltinImporter
from typing import Final


def _untouched() -> Callable[[], float]:
    """Return a `monotonic` that nobody replaces: that of a second copy of the built-in module."""
    spec = BuiltinImporter.find_spec("time")
    if spec is None or spec.loader is None:
        return time.monotonic
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    real: Callable[[], float] = module.monotonic
    return real


monotonic: Final = _untouched()
