"""
The clock that this package waits by. It runs on, whatever a test does to `time`.

A loop that waits until `time.monotonic` shows a later time never ends if freezegun has frozen that
function; and freezegun shows the real time to some callers and the frozen one to others. Locks and
sockets wait by the system's clock, and so does this module: after a wait has timed out, this clock
has advanced by at least as much.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from importlib.machinery import BuiltinImporter
from typing import Final


def _untouched() -> Callable[[], float]:
    """Return the `monotonic` of a second copy of the built-in module, which no test replaces."""
    spec = BuiltinImporter.find_spec("time")
    if spec is None or spec.loader is None:
        return time.monotonic
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    real: Callable[[], float] = module.monotonic
    return real


monotonic: Final = _untouched()
