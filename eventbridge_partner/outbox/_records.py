"""What an outbox and its relay say: fates of rows, dead letters, figures."""

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
    The event will not be sent again by itself: its row becomes a dead letter.

    Attributes:
        code: Why, in one word: the service's error code, `InvalidEvent` or `Unsettled`.
        message: What is wrong, without anything of the event's payload.
    """

    code: str
    message: str


@attrs.frozen
class Later:
    """
    The event stays, and is due again after a while.

    Attributes:
        seconds: Until then, from now on; 0 for at once.
        code: Why it was not accepted.
        message: The same in more words, without anything of the event's payload.
        maybe_sent: Whether it may have arrived. A row never forgets that.
        is_try: Whether it counts as a try of this event, after which it waits longer. It does
            not if something other than the event was the reason: an outage, a PENDING source.
    """

    seconds: float
    code: str
    message: str
    maybe_sent: bool = False
    is_try: bool = True


Fate = Gone | Dead | Later
"""What becomes of a claimed row."""


@attrs.frozen
class Settled:
    """
    What a settle did.

    Attributes:
        gone: Rows deleted.
        dead: Rows that became dead letters.
        later: Rows that stay.
        lost: Rows that were not this claim's any more: its lease had ended, and another relay
            had claimed them. They may be sent twice.
    """

    gone: int
    dead: int
    later: int
    lost: int


@attrs.frozen
class OutboxStats:
    """
    The figures of an outbox at this moment.

    Attributes:
        waiting: Rows in it, those under way included.
        due: Rows that a relay may claim now. Those of held sources are not among them.
        leased: Rows that a relay has claimed and not settled.
        dead: Dead letters.
        held: Sources whose rows wait, because the source is PENDING or fails as a whole.
        oldest_age: Seconds since the oldest waiting row was added; None if nothing waits.
        held_back_since: Since when the oldest snapshot of the database has been open. It keeps
            autovacuum from removing rows that were deleted. None on SQLite, and without one.
        is_estimate: Whether there are so many rows that `waiting`, `due` and `leased` are
            estimates.
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
    An event that will not be sent again by itself. `redrive` puts it back into the outbox.

    Attributes:
        id: Of the row that it was; what `redrive` takes.
        source: The name of its partner event source.
        detail_type: What kind of event it is.
        detail: Its JSON text.
        resources: What it is about.
        time: When it happened; None if it does not say.
        code: Why it died, in one word.
        message: The same in more words.
        maybe_sent: Whether it may have arrived all the same.
        tries: How many times it had failed before.
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
        accepted: Events that the service took.
        dead: Events that became dead letters.
        later: How often an event was put back for later.
        lost: Rows that another relay had claimed before they were settled.
        claims: How many claims there were.
        seconds: How long it ran.
        outage: The code of the outage that the last claim met; None without one.
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
