"""The connections of an outbox: one for each thread that is using it."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Generator
from typing import Any, Final, Generic, TypeVar

from eventbridge_partner._forks import after_fork

C = TypeVar("C")

_parents: Final[list[Any]] = []
"""A parent's connections in a forked child: the child must neither use nor close them."""


class Pool(Generic[C]):
    """
    Lends connections, and keeps idle ones.

    Args:
        connect: Opens a connection.
        close: Closes a connection; must not raise.
    """

    def __init__(self, connect: Callable[[], C], close: Callable[[C], object]) -> None:
        self._connect = connect
        self._close = close
        # List operations are atomic, so there is no lock that a fork could leave locked.
        self._idle: list[C] = []
        self._lent: list[C] = []
        # An outbox that is garbage-collected leaves no connection open.
        self._end = weakref.finalize(self, _close_all, self._idle, close)
        after_fork(self, _leave_parent)

    @contextlib.contextmanager
    def lend(self) -> Generator[tuple[C, bool]]:
        """
        Lend a connection, with whether it was used before.

        A connection is closed if its block raises.
        """
        try:
            connection, is_used = self._idle.pop(), True
        except IndexError:
            connection, is_used = self._connect(), False
        self._lent.append(connection)
        idle = self._idle
        try:
            yield connection, is_used
        except BaseException:
            self._close(connection)
            raise
        else:
            idle.append(connection)
        finally:
            with contextlib.suppress(ValueError):  # forgotten in the child of a fork
                self._lent.remove(connection)

    def close(self) -> None:
        """Close idle connections."""
        _close_all(self._idle, self._close)

    def forget(self) -> None:
        """Leave all connections to the parent process."""
        _parents.extend((self._idle, self._lent))
        self._end.detach()
        self._idle, self._lent = [], []
        self._end = weakref.finalize(self, _close_all, self._idle, self._close)


def _close_all(connections: list[C], close: Callable[[C], object]) -> None:
    while connections:
        with contextlib.suppress(IndexError):
            close(connections.pop())


def _leave_parent(pool: Pool[Any]) -> None:
    pool.forget()
