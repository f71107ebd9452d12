"""What the service says of partner event sources."""

from __future__ import annotations

import datetime
from typing import ClassVar

import attrs


class SourceState(str):
    """
    The state of a partner event source: a str, whatever the service says.

    `PENDING`, `ACTIVE` and `DELETED` are what it can say today (service model).
    """

    __slots__ = ()

    PENDING: ClassVar[SourceState]
    """No event bus is associated: events are accepted, and dropped."""
    ACTIVE: ClassVar[SourceState]
    """An event bus is associated, and gets the events."""
    DELETED: ClassVar[SourceState]
    """It does not exist any more: events are refused."""


SourceState.PENDING = SourceState("PENDING")
SourceState.ACTIVE = SourceState("ACTIVE")
SourceState.DELETED = SourceState("DELETED")


@attrs.frozen
class EventSource:
    """
    A partner event source, as the service knows it by its name.

    Its state is another for each account: see `SourceAccount`.

    Attributes:
        name: `aws.partner/<partner>/<namespace…>/<name>`.
        arn: Its Amazon Resource Name.
    """

    name: str
    arn: str


@attrs.frozen
class SourceAccount:
    """
    A partner event source in one customer's account.

    Attributes:
        source: The name of the source.
        account: The customer's account, 12 digits.
        state: What becomes of events for it.
        creation_time: When it was created, in UTC; None if the service does not say.
        expiration_time: When it expires unless an event bus is associated before, in UTC; None
            if the service does not say.
    """

    source: str
    account: str
    state: SourceState
    creation_time: datetime.datetime | None = None
    expiration_time: datetime.datetime | None = None

    def expires_by(self, time: datetime.datetime) -> bool:
        """
        Tell whether it is gone by then, if nobody does anything.

        A source that is ACTIVE does not expire, and one that is DELETED is gone already.
        """
        return (
            self.state not in (SourceState.ACTIVE, SourceState.DELETED)
            and self.expiration_time is not None
            and self.expiration_time <= time
        )
