"""Keeps connections, threads and locks of a client from being used across a fork."""

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
Held by a client while it looks up its configuration.

A fork waits until that is done. The look-up imports modules, and the child would wait forever
for a module that a thread of the parent was importing.
"""

_Clients = weakref.WeakKeyDictionary[Any, Callable[[Any], None]]
_clients: Final = _Clients()


def after_fork(client: C, forget_process: Callable[[C], None]) -> None:
    """Make a client forget, in a child process, the resources of the parent."""
    _clients[client] = forget_process


def _forget_parent() -> None:
    for client, forget_process in _clients.items():
        forget_process(client)
    first_use.release()


# Hooks run before a fork in reverse order of registration. `logging` registers one that takes its
# own lock, which look-ups need: it is imported first, so that a fork takes that lock last.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=first_use.acquire,
        after_in_parent=first_use.release,
        after_in_child=_forget_parent,
    )
