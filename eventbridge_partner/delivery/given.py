"""Checks what the caller passes: events, and a deadline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from eventbridge_partner._signals import let_pass
from eventbridge_partner.errors import (
    CallCancelledError,
    CallInterruptedError,
    InputInterruptedError,
    InvalidEventError,
)
from eventbridge_partner.models import (
    DeliveryReport,
    GivenEvent,
    Outcome,
    PartnerEvent,
    Rejected,
)
from eventbridge_partner.models._counting import counted

INVALID_EVENT: Final = "InvalidEvent"


def read(given: GivenEvent, index: int | None) -> PartnerEvent | Rejected:
    """
    Return the caller's value as an event, or the outcome of an invalid one.

    Args:
        given: An event, or a mapping with an entry's members.
        index: Its position among the events of the call; None for a single event.
    """
    try:
        return given if isinstance(given, PartnerEvent) else PartnerEvent.from_entry(given)
    except InvalidEventError as error:
        let_pass(error)
        findings = (error if index is None else error.at(index)).findings
        message = "; ".join(map(str, findings))
    except Exception as error:  # noqa: BLE001  # the caller's mapping can raise anything
        let_pass(error)
        findings = ()
        entry = "the entry" if index is None else f"entry of event {index}"
        message = f"{entry} raised {type(error).__name__} when it was read"
    return Rejected(INVALID_EVENT, message, given, index or 0, 0, findings)


def check_deadline(deadline: float | None) -> None:
    """
    Refuse an invalid deadline.

    Raises:
        ValueError: It is not above 0.
    """
    if deadline is not None and not deadline > 0:
        raise ValueError(f"deadline is {deadline!r}; allowed: seconds above 0, or None")


def refuse_single(events: object) -> None:
    """
    Refuse an iterable that holds no events.

    Raises:
        TypeError: It is a single event, or text.
    """
    if isinstance(events, (Mapping, PartnerEvent, str, bytes)):
        found = type(events).__qualname__
        raise TypeError(f"events is a {found}; allowed: an iterable of events, such as [event]")


class InputError(Exception):
    """The caller's iterable raised. The code that has the outcomes turns it into a public error."""

    def __init__(self, error: BaseException) -> None:
        let_pass(error)
        self.kind: str = type(error).__name__
        super().__init__(self.kind)

    def interrupted(self, taken: int, outcomes: Sequence[Outcome]) -> InputInterruptedError:
        """
        Return the error that the caller sees.

        Args:
            taken: How many events had been taken.
            outcomes: The outcomes that had not been handed out.
        """
        message = f"the iterable of events raised {self.kind} after {counted(taken)}"
        return InputInterruptedError(message, DeliveryReport(outcomes))


def cancelled_call(outcomes: Sequence[Outcome]) -> CallCancelledError:
    """Return the error to set as the cause of a cancellation."""
    report = DeliveryReport(outcomes)
    return CallCancelledError(f"the call was cancelled after {counted(len(report))}", report)


def interrupted_call(outcomes: Sequence[Outcome]) -> CallInterruptedError:
    """Return the error to set as the cause of a signal handler's exception."""
    report = DeliveryReport(outcomes)
    return CallInterruptedError(f"the call was interrupted after {counted(len(report))}", report)
