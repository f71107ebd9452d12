"""The protocols of an outbox and of a sender, as a relay needs them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from eventbridge_partner.models import DeliveryReport, GivenEvent
from eventbridge_partner.outbox._records import Fate, Settled
from eventbridge_partner.outbox._rows import Claim


class Outbox(Protocol):
    """
    The interface of an outbox to a relay.

    `SqliteOutbox` and `PostgresOutbox` implement it. An outbox of your own must pass the tests of
    `eventbridge_partner.outbox.contract.OutboxContract`.
    """

    def claim(self, *, events: int, max_bytes: int, lease: float) -> Claim | None:
        """
        Claim rows that are due, an equal share of each source.

        Args:
            events: The most rows to claim.
            max_bytes: The largest size of all rows together; a single row may be larger.
            lease: Seconds for which no other claim gets these rows.

        Returns:
            The claim; None if nothing is due.

        Raises:
            OutboxUnavailableError: The database is unavailable.
        """
        ...

    def settle(self, claim: Claim, fates: Sequence[Fate]) -> Settled:
        """
        Apply the fates of a claim's rows, all of them or none.

        Args:
            claim: As `claim` returned it. Rows that another claim has taken since are left alone.
            fates: One for each of its rows, in their order.

        Raises:
            OutboxUnavailableError: The database is unavailable.
        """
        ...

    def hold(self, source: str, *, seconds: float) -> None:
        """
        Leave a source's rows out of claims for some seconds, and then try one of them.

        A hold ends when that row is gone or dead, or by `seconds=0`.
        """
        ...

    def wait(self, seconds: float) -> None:
        """Wait for some seconds, or until `wake` is called or was called since the last claim."""
        ...

    def wake(self) -> None:
        """Wake all waiting threads. May be called from any thread and in a signal handler."""
        ...


class Sender(Protocol):
    """Sends events for a relay: a `PartnerEventsClient`, `SourceGuard` or `RegionRouter`."""

    def put_events(
        self, events: Iterable[GivenEvent], *, deadline: float | None = None
    ) -> DeliveryReport:
        """See `PartnerEventsClient.put_events`."""
        ...
