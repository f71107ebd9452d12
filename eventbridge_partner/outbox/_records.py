"""The values of an outbox and its relay: fates of rows, dead letters, figures."""

from __future__ import annotations

import datetime
from typing import Any

import attrs

from eventbridge_partner.models._plain import plain_figures


@attrs.frozen
class Gone:
    """The service took the event: its row is deleted."""


@attrs.frozen
class Dead:
    """
    The event will not be retried: its row becomes a dead letter.

    Attributes:
        code: The reason: the service's error code, `InvalidEvent` or `Unsettled`.
        message: What is wrong, without anything of the event's payload.
    """

    code: str
    message: str


@attrs.frozen
class Later:
    """
    The event stays in the outbox, and is due again later.

    Attributes:
        seconds: From now until it is due; 0 for at once.
        code: The reason why it was not accepted.
        message: The reason in more words, without anything of the event's payload.
        maybe_sent: Whether it may have arrived. Once true, it stays true for the row.
        is_try: Whether it counts as a try of this event, which makes it wait longer. False if
            the event was not the reason: an outage, a PENDING source.
    """

    seconds: float
    code: str
    message: str
    maybe_sent: bool = False
    is_try: bool = True


Fate = Gone | Dead | Later
"""The fate of a claimed row: it is deleted, becomes a dead letter, or waits."""


@attrs.frozen
class Settled:
    """
    What a settle did.

    Attributes:
        gone: Rows deleted.
        dead: Rows that became dead letters.
        later: Rows that stay.
        lost: Rows that another relay had claimed after this claim's lease expired. They may be
            sent twice.
    """

    gone: int
    dead: int
    later: int
    lost: int


@attrs.frozen
class OutboxStats:
    """
    The current figures of an outbox.

    Attributes:
        waiting: All rows in it, claimed ones included.
        due: Rows that a relay may claim now, without those of held sources.
        leased: Rows that a relay has claimed and not yet settled.
        dead: Dead letters.
        held: Sources whose rows wait, because the source is PENDING or fails as a whole.
        oldest_age: Seconds since the oldest waiting row was added; None if nothing waits.
        held_back_since: When the oldest open transaction of the database began. It keeps
            autovacuum from removing deleted rows. None on SQLite, and without one.
        is_estimate: Whether `waiting`, `due` and `leased` are estimates, because there are too
            many rows to count.
    """

    waiting: int
    due: int
    leased: int
    dead: int
    held: int
    oldest_age: float | None
    held_back_since: datetime.datetime | None = None
    is_estimate: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, ready for JSON."""
        return plain_figures(self)


@attrs.frozen
class DeadLetter:
    """
    An event that will not be retried. `redrive` puts it back into the outbox.

    Attributes:
        id: The id of its row, for `redrive`.
        source: The name of its partner event source.
        detail_type: The kind of event.
        detail: Its JSON text.
        resources: Its resources.
        time: When it happened; None if the event has no time.
        code: The reason: the service's error code, `InvalidEvent` or `Unsettled`.
        message: The reason in more words.
        maybe_sent: Whether it may have arrived nevertheless.
        tries: How often it had failed before.
        added_at: When it was added to the outbox.
        died_at: When it became a dead letter.
    """

    id: int
    source: str
    detail_type: str
    detail: str = attrs.field(repr=lambda detail: f"<{len(detail)} characters>")
    resources: tuple[str, ...] = attrs.field(repr=lambda resources: f"<{len(resources)}>")
    time: datetime.datetime | None
    code: str
    message: str
    maybe_sent: bool
    tries: int
    added_at: datetime.datetime
    died_at: datetime.datetime


@attrs.frozen
class DrainReport:
    """
    What a relay did.

    Attributes:
        accepted: Events that the service accepted.
        dead: Events that became dead letters.
        later: How often an event was put back, to be retried later.
        lost: Rows that another relay had claimed before they were settled.
        claims: The number of claims.
        seconds: How long the relay ran.
        outage: The code of the outage during the last claim; None without one.
    """

    accepted: int = 0
    dead: int = 0
    later: int = 0
    lost: int = 0
    claims: int = 0
    seconds: float = 0.0
    outage: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, ready for JSON."""
        return plain_figures(self)
