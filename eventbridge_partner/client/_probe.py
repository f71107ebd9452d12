"""Tells within a bounded time whether a client has settings and credentials."""

from __future__ import annotations

import threading
from collections.abc import Callable

from eventbridge_partner._arguments import check_number
from eventbridge_partner._threads import SendingThread
from eventbridge_partner.errors import PartnerEventsError


def check_seconds(**fields: float) -> None:
    """
    Refuse anything but a number of seconds above 0.

    Raises:
        TypeError: A value is not a number.
        ValueError: A value is not above 0.
    """
    for field, seconds in fields.items():
        check_number(field, seconds)
        if not seconds > 0:
            raise ValueError(f"{field} is {seconds!r}; allowed: seconds above 0")


def late(seconds: float) -> str:
    """Return the reason for a look-up that did not end in time."""
    return f"settings and credentials were not looked up within {seconds:g} s"


def reasons_now(look_up: Callable[[], object]) -> tuple[str, ...]:
    """Look up on this thread, and return why nothing can be sent."""
    try:
        look_up()
    except PartnerEventsError as error:
        return (str(error),)
    return ()


class Probe:
    """
    Looks up settings and credentials on a thread, so that the caller's wait is bounded.

    One look-up at a time: while it hangs, later callers wait for the same one.
    """

    def __init__(self) -> None:
        self._under_way: _LookUp | None = None

    def reasons(
        self, look_up: Callable[[], object], seconds: float, *, may_block: bool = True
    ) -> tuple[str, ...]:
        """
        Return why nothing can be sent.

        Args:
            look_up: Raises a `PartnerEventsError` if something is missing.
            seconds: How long to wait for it.
            may_block: Whether `look_up` may have to wait. If not, it needs no thread.
        """
        if not may_block:
            return reasons_now(look_up)
        under_way = self._under_way
        if under_way is None or under_way.is_over.is_set():
            under_way = self._under_way = _LookUp(look_up)
            try:
                SendingThread(under_way.run, "eventbridge-partner-readiness").start()
            except RuntimeError:
                self._under_way = None
                return ("no thread could be started",)
        if not under_way.is_over.wait(seconds):
            return (late(seconds),)
        return under_way.reasons


class _LookUp:
    def __init__(self, look_up: Callable[[], object]) -> None:
        self.is_over = threading.Event()
        self.reasons: tuple[str, ...] = ()
        self._look_up = look_up

    def run(self) -> None:
        try:
            self.reasons = reasons_now(self._look_up)
        except BaseException as error:  # noqa: BLE001  # the caller waits for it
            self.reasons = (f"looking up settings and credentials raised {type(error).__name__}",)
        finally:
            self.is_over.set()
