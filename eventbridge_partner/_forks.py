"""What a client has of its process must not cross a fork."""

from __future__ import annotations

import logging as _before_us  # noqa: F401  # pyright: ignore[reportUnusedImport]
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final, TypeVar

C = TypeVar("C")

first_use: Final = threading.RLock()
"""
Held by a client that looks up what it needs.

No fork happens in the middle of that: it imports modules, and one that is half imported by a
thread that the child does not have would be waited for in there for ever.
"""

_Clients = weakref.WeakKeyDictionary[Any, Callable[[Any], None]]
_clients: Final = _Clients()


def after_fork(client: C, forget_process: Callable[[C], None]) -> None:
    """Let a client, in a child process, forget what belongs to its parent."""
    _clients[client] = forget_process


def _forget_parent() -> None:
    for client, forget_process in _clients.items():
        forget_process(client)
    first_use.release()


# Of what is to be held before a fork, the last one registered comes first. `logging` holds its own
# lock, which look-ups need: it is imported before, so that a fork waits for them without it.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=first_use.acquire,
        after_in_parent=first_use.release,
        after_in_child=_forget_parent,
    )
