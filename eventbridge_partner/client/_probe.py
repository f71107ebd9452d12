"""Tells within a bounded time whether a client has settings and credentials."""

from __future__ import annotations

from collections.abc import Callable

from eventbridge_partner._arguments import check_number
from eventbridge_partner._threads import Task
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
        self._task: Task[tuple[str, ...]] | None = None

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
        task = self._task
        if task is None or task.is_over:
            try:
                task = Task(lambda: _all_reasons(look_up), "eventbridge-partner-readiness")
            except RuntimeError:
                return ("no thread could be started",)
            self._task = task
        try:
            return task.result(seconds)
        except TimeoutError:
            return (late(seconds),)


def _all_reasons(look_up: Callable[[], object]) -> tuple[str, ...]:
    try:
        return reasons_now(look_up)
    except BaseException as error:  # noqa: BLE001  # the caller waits for it on another thread
        return (f"looking up settings and credentials raised {type(error).__name__}",)
