"""Partner event sources, as the service describes them."""

from __future__ import annotations

import datetime
from typing import ClassVar

import attrs


class SourceState(str):
    """
    The state of a partner event source, as a str.

    The service model has `PENDING`, `ACTIVE` and `DELETED`; any other text is kept as it is.
    """

    __slots__ = ()

    PENDING: ClassVar[SourceState]
    """No event bus is associated: the service accepts events and drops them."""
    ACTIVE: ClassVar[SourceState]
    """An event bus is associated and receives the events."""
    DELETED: ClassVar[SourceState]
    """The source no longer exists: the service refuses events."""


SourceState.PENDING = SourceState("PENDING")
SourceState.ACTIVE = SourceState("ACTIVE")
SourceState.DELETED = SourceState("DELETED")


@attrs.frozen
class EventSource:
    """
    A partner event source, identified by its name.

    Each account has its own state of it: see `SourceAccount`.

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
        state: Its state, which decides what happens to events.
        creation_time: When it was created, in UTC; None if the service does not say.
        expiration_time: When it expires if no event bus is associated by then, in UTC; None if
            the service does not say.
    """

    source: str
    account: str
    state: SourceState
    creation_time: datetime.datetime | None = None
    expiration_time: datetime.datetime | None = None

    def expires_by(self, time: datetime.datetime) -> bool:
        """
        Tell whether the source will have expired by `time` if no event bus is associated.

        An ACTIVE source does not expire; a DELETED one is gone already.
        """
        return (
            self.state not in (SourceState.ACTIVE, SourceState.DELETED)
            and self.expiration_time is not None
            and self.expiration_time <= time
        )
