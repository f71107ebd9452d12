"""What a relay needs of an outbox, and of what sends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from eventbridge_partner.models import DeliveryReport, GivenEvent
from eventbridge_partner.outbox._records import Fate, Settled
from eventbridge_partner.outbox._rows import Claim


class Outbox(Protocol):
    """
    Where a relay takes events from.

    `SqliteOutbox` and `PostgresOutbox` are outboxes. One of your own passes the tests of
    `eventbridge_partner.outbox.contract.OutboxContract`.
    """

    def claim(self, *, events: int, max_bytes: int, lease: float) -> Claim | None:
        """
        Claim rows that are due, an equal share of each source.

        Args:
            events: How many at most.
            max_bytes: How large they may be together; a single row may be larger.
            lease: Seconds for which no other claim gets them.

        Returns:
            The claim; None if nothing is due.

        Raises:
            OutboxUnavailableError: The database cannot be used at the moment.
        """
        ...

    def settle(self, claim: Claim, fates: Sequence[Fate]) -> Settled:
        """
        Carry out what becomes of the rows of a claim, all of it or nothing.

        Args:
            claim: As `claim` gave it. Rows that another claim has since then are left alone.
            fates: One for each of its rows, in their order.

        Raises:
            OutboxUnavailableError: The database cannot be used at the moment.
        """
        ...

    def hold(self, source: str, *, seconds: float) -> None:
        """
        Leave a source's rows out of claims for a while, and then try one of them.

        A hold ends when that row is gone or dead, or by `seconds=0`.
        """
        ...

    def wait(self, seconds: float) -> None:
        """Wait so long, or until `wake` is called, or was since this thread's last claim."""
        ...

    def wake(self) -> None:
        """Wake everyone who waits. May be called from any thread and in a signal handler."""
        ...


class Sender(Protocol):
    """What sends: a `PartnerEventsClient`, `SourceGuard` or `RegionRouter`."""

    def put_events(
        self, events: Iterable[GivenEvent], *, deadline: float | None = None
    ) -> DeliveryReport:
        """See `PartnerEventsClient.put_events`."""
        ...
