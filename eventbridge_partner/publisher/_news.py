"""Who is told of a publisher's outcomes, outside of every lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from eventbridge_partner._clock import monotonic
from eventbridge_partner.delivery.entries import Batch
from eventbridge_partner.line._undelivered import Undelivered
from eventbridge_partner.line._witness import Witness
from eventbridge_partner.models import Accepted, Exhausted, Outcome, PartnerEvent, Rejected

OnUndelivered = Callable[[list[Outcome]], object]
"""Is given the outcomes of events that were not accepted, in lists."""

LOOKED_AT: Final = -1
"""The mark of a receipt that somebody looked at; 0 is that of one that nobody did."""

_DELAY: Final = 1.0
"""So many seconds whoever published has for looking at a receipt, before its line is written."""

_MAX_GIVEN: Final = 1000


class Told(Protocol):
    """
    What has an outcome that is to be told of.

    Attributes:
        event: The event.
        size: Of it, in bytes.
        decided: Its outcome.
        seen: `LOOKED_AT`, 0, or the window of the log that it is counted in; is set here.
    """

    event: PartnerEvent
    size: int
    decided: Outcome | None
    seen: int


class Handing:
    """
    Outcomes on their way to `on_undelivered`, as many as a publisher holds events.

    Args:
        schedule: Has `take` called soon, and what that returns given to the function.
        max_events: How many outcomes wait at most; a list of them has room in any case.
        max_bytes: The size of their events at most. One always has room.

    Attributes:
        is_scheduled: Whether `take` will be called.
        left_out: How many found no room, since the last `take`.
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
        """Return the next outcomes; none if all were taken, and then it is not scheduled."""
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
            if self._waiting:  # put between the look and the line above
                self.is_scheduled = True
                return self.take()
        return taken


class News:
    """
    Tells of outcomes: the observer of all, log and `on_undelivered` of what was not accepted.

    Args:
        witness: Tells the observer; None if there is none.
        wake: Wakes whoever writes the lines that are due.

    Attributes:
        handing: On its way to `on_undelivered`; None without that.
    """

    def __init__(self, witness: Witness | None, wake: Callable[[], None]) -> None:
        self.handing: Handing | None = None
        self._witness = witness
        self._wake = wake
        self._undelivered = Undelivered("a publisher", delay=_DELAY)

    def tell(self, told: Sequence[Told]) -> None:
        """Tell of what has its outcome. No lock is held."""
        outcomes = [one.decided for one in told if one.decided is not None]
        now: float | None = None
        undelivered, due_at = self._undelivered, self._undelivered.due_at
        for one in told:
            outcome = one.decided
            if outcome is None or type(outcome) is Accepted:
                continue
            if now is None:
                now = monotonic()
            if one.seen == 0:
                one.seen = undelivered.count(key_of(outcome), 1, now)
            if self.handing is not None:
                self.handing.put(outcome, one.size)
        if undelivered.due_at < due_at:
            self._wake()
        if self._witness is not None:
            self._witness.decided("publisher", outcomes)

    def looked_at(self, one: Told) -> None:
        """Take that somebody looks at an outcome, or will be called with it."""
        window, one.seen = one.seen, LOOKED_AT
        if window > 0 and one.decided is not None:
            self._undelivered.discount(key_of(one.decided), window)

    @property
    def due_at(self) -> float:
        """When a line is due; infinite if none is."""
        return self._undelivered.due_at

    def say(self, now: float) -> None:
        """Write the lines that are due. No lock is held."""
        self._undelivered.say(now)

    def sum_up(self) -> None:
        """Write what was not accepted and not said yet, at the end. No lock is held."""
        self._undelivered.sum_up()


class Origins:
    """Where the events of a publisher's batches come from."""

    delivery: None = None

    def __init__(self, link_at: Callable[[int], str | None]) -> None:
        self._link_at = link_at

    def links_of(self, batch: Batch) -> Sequence[str]:
        """Return the `traceparent` texts of a batch, each once."""
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
