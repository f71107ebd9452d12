"""Reports a publisher's outcomes, outside all locks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from eventbridge_partner._clock import monotonic
from eventbridge_partner.delivery.entries import Batch
from eventbridge_partner.line._undelivered import Undelivered
from eventbridge_partner.line._witness import UnderWay
from eventbridge_partner.models import Accepted, Exhausted, Outcome, PartnerEvent, Rejected

OnUndelivered = Callable[[list[Outcome]], object]
"""Called with lists of outcomes of events that were not accepted."""

LOOKED_AT: Final = -1
"""Marks a receipt that the caller has looked at; 0 marks others."""

_DELAY: Final = 1.0
"""Seconds that the caller has to look at a receipt before its outcome is logged."""

_MAX_GIVEN: Final = 1000


class Told(Protocol):
    """
    An event whose outcome is to be reported.

    Attributes:
        event: The event.
        size: Its size in bytes.
        decided: Its outcome.
        seen: `LOOKED_AT`, 0, or the log window that it is counted in; set here.
    """

    event: PartnerEvent
    size: int
    decided: Outcome | None
    seen: int


class Handing:
    """
    The queue of outcomes for `on_undelivered`, with the limits of the publisher's buffer.

    Args:
        schedule: Arranges that `take` is called soon, and its result passed to `on_undelivered`.
        max_events: The most outcomes that wait; one full list always fits.
        max_bytes: The largest total size of their events; a single one always fits.

    Attributes:
        is_scheduled: Whether `take` will be called.
        left_out: How many outcomes did not fit since the last `take`.
    """

    def __init__(self, schedule: Callable[[], None], max_events: int, max_bytes: int) -> None:
        self.is_scheduled: bool = False
        self.left_out: int = 0
        self._schedule = schedule
        self._max_events = max(max_events, _MAX_GIVEN)
        self._max_bytes = max_bytes
        self._waiting: deque[tuple[Outcome, int]] = deque()
        self._bytes = 0

    def put(self, outcome: Outcome, size: int) -> None:
        """Add an outcome, if there is room."""
        if self._waiting and (
            len(self._waiting) >= self._max_events or self._bytes + size > self._max_bytes
        ):
            self.left_out += 1
        else:
            self._bytes += size
            self._waiting.append((outcome, size))
        if not self.is_scheduled:
            self.is_scheduled = True
            self._schedule()

    def take(self) -> list[Outcome]:
        """Return the next outcomes; an empty list, and it is no longer scheduled, if none wait."""
        taken: list[Outcome] = []
        while len(taken) < _MAX_GIVEN:
            try:
                outcome, size = self._waiting.popleft()
            except IndexError:
                break
            self._bytes -= size
            taken.append(outcome)
        if not taken:
            self.is_scheduled = False
            if self._waiting:  # added between the check and the line above
                self.is_scheduled = True
                return self.take()
        return taken


class Tally:
    """
    Counts for the log of a publisher, whose Regions share its lines.

    Attributes:
        undelivered: The counts.
        senders: Those that still count, and will sum up.
    """

    def __init__(self) -> None:
        self.undelivered: Undelivered = Undelivered("a publisher", delay=_DELAY)
        self.senders: set[News] = set()


class News:
    """
    Reports all outcomes to the observer, and undelivered ones to the log and `on_undelivered`.

    Args:
        observed: Reports outcomes to the observer; None without one.
        wake: Called when one more log line is due; has `say` called in time.
        tally: Counts what the log is to say; None for one of its own.

    Attributes:
        handing: The queue for `on_undelivered`; None without one.
    """

    def __init__(
        self,
        observed: Callable[[Sequence[Outcome]], None] | None,
        wake: Callable[[], None],
        tally: Tally | None = None,
    ) -> None:
        self.handing: Handing | None = None
        self._observed = observed
        self._wake = wake
        self._tally = tally or Tally()
        self._undelivered = self._tally.undelivered

    def tell(self, told: Sequence[Told]) -> None:
        """Report events that have their outcome. No lock may be held."""
        outcomes = [one.decided for one in told if one.decided is not None]
        now: float | None = None
        is_due_anew = False
        for one in told:
            outcome = one.decided
            if outcome is None or type(outcome) is Accepted:
                continue
            if now is None:
                now = monotonic()
            if one.seen == 0:
                one.seen, is_first = self._undelivered.count(key_of(outcome), 1, now)
                is_due_anew = is_due_anew or is_first
            if self.handing is not None:
                self.handing.put(outcome, one.size)
        if is_due_anew:
            self._wake()
        if self._observed is not None:
            self._observed(outcomes)

    def looked_at(self, one: Told) -> None:
        """Note that the caller looks at an outcome, or has a callback for it."""
        window, one.seen = one.seen, LOOKED_AT
        if window > 0 and one.decided is not None:
            self._undelivered.discount(key_of(one.decided), window)

    @property
    def due_at(self) -> float:
        """When a log line is due; infinite if none is."""
        return self._undelivered.due_at

    def say(self, now: float) -> None:
        """Write the log lines that are due. No lock may be held."""
        self._undelivered.say(now)

    def sum_up(self) -> None:
        """Write the remaining log lines, unless others still add to them. No lock may be held."""
        self._tally.senders.discard(self)
        if not self._tally.senders:
            self._undelivered.sum_up()

    def share(self) -> None:
        """Let the others' `sum_up` wait for this one's, which must follow."""
        self._tally.senders.add(self)


class Origins:
    """Knows where the events of a publisher's batches come from."""

    delivery: None = None

    def __init__(self, link_at: Callable[[int], str | None] | None) -> None:
        self._link_at = link_at
        self.under_way: UnderWay = {}

    def links_of(self, batch: Batch) -> Sequence[str]:
        """Return the distinct `traceparent` texts of a batch."""
        if self._link_at is None:
            return ()
        group = batch.group
        if group is not None:
            indexes: Sequence[int] = range(group.first, group.first + len(group))
        else:
            indexes = [entry.index for entry in batch.entries]
        links = dict.fromkeys(map(self._link_at, indexes))
        return [link for link in links if link is not None]


def key_of(outcome: Outcome) -> tuple[str, str]:
    """Return the name of an outcome, and its code."""
    code = outcome.code if isinstance(outcome, (Rejected, Exhausted)) else ""
    return type(outcome).__name__, code
