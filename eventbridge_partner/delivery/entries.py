"""Events on their way to their outcomes: in a group, each for itself, in a batch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import cast

from eventbridge_partner.models import (
    Accepted,
    GivenEvent,
    Outcome,
    PartnerEvent,
    entry_size,
)


class Trouble:
    """
    What went wrong with an entry so far.

    Attributes:
        tries: Failed attempts that count for the retry policy.
        error: The code and the message of the last failure that counted as a try.
        tokens: What it holds of the retry quota.
        delay: Seconds to wait before the next attempt.
        due_at: When that is over.
        waited: Seconds of all its waits.
        doubt: Which attempt may have arrived without our knowing, and why.
    """

    __slots__ = ("delay", "doubt", "due_at", "error", "tokens", "tries", "waited")

    def __init__(self) -> None:
        self.tries: int = 0
        self.error: tuple[str, str] | None = None
        self.tokens: float = 0.0
        self.delay: float = 0.0
        self.due_at: float = 0.0
        self.waited: float = 0.0
        self.doubt: tuple[int, str] | None = None


class Group:
    """
    Events that were taken together, and the outcomes that they have so far.

    Most groups are sent as one batch and accepted as a whole; then nothing is kept of one of its
    events but its outcome.

    Args:
        first: The index of the first event.
        decided: Where each outcome goes too, as soon as there is one; None for nowhere.

    Attributes:
        first: The index of the first event.
        given: The events as the caller gave them.
        events: What is sent of them; None for what cannot be sent.
        outcomes: Our final words, in the order of the events; None for what has none yet.
        undecided: How many have none.
        handed_out: How many were handed out.
        size: Of all that is sent, in bytes.
    """

    __slots__ = (
        "_decided",
        "events",
        "first",
        "given",
        "handed_out",
        "outcomes",
        "size",
        "undecided",
    )

    def __init__(self, first: int, decided: list[Outcome] | None = None) -> None:
        self._decided: list[Outcome] | None = decided
        self.first: int = first
        self.given: list[GivenEvent] = []
        self.events: list[PartnerEvent | None] = []
        self.outcomes: list[Outcome | None] = []
        self.undecided: int = 0
        self.handed_out: int = 0
        self.size: int = 0

    def __len__(self) -> int:
        return len(self.given)

    def decide(self, place: int, outcome: Outcome) -> None:
        """Give one of the events its outcome, unless it has one."""
        if self.outcomes[place] is not None:
            return
        self.outcomes[place] = outcome
        self.undecided -= 1
        if self._decided is not None:
            self._decided.append(outcome)

    def accept(self, event_ids: Sequence[str | None]) -> None:
        """Give all events the best of outcomes, at their first attempt."""
        indexes = range(self.first, self.first + len(self.given))
        # In steps that are whole or not begun where a signal handler raises.
        accepted = list(map(Accepted, event_ids, self.given, indexes, itertools.repeat(1)))
        if self._decided is not None:
            self._decided += accepted
        self.outcomes = cast("list[Outcome | None]", accepted)
        self.undecided = 0

    def entries(self) -> Iterator[Entry]:
        """Yield what can be sent, each for itself."""
        for place, event in enumerate(self.events):
            if event is not None and self.outcomes[place] is None:
                yield Entry(self, place, event)


class Entry:
    """
    One event on its way to its outcome, when it does not go with all of its group.

    Attributes:
        index: Its position among the events of the call, from 0.
        given: The event as the caller gave it.
        event: What is sent of it.
        size: In bytes, as the service counts.
        attempts: Requests that carried it.
        first_sent: When the first of them went out.
        trouble: What went wrong, once something has.
    """

    __slots__ = (
        "_group",
        "_place",
        "attempts",
        "event",
        "first_sent",
        "given",
        "index",
        "size",
        "trouble",
    )

    first_sent: float

    def __init__(self, group: Group, place: int, event: PartnerEvent) -> None:
        self._group = group
        self._place = place
        self.index: int = group.first + place
        self.given: GivenEvent = group.given[place]
        self.event: PartnerEvent = event
        self.size: int = entry_size(event)
        self.attempts: int = 0
        self.trouble: Trouble | None = None

    def in_trouble(self) -> Trouble:
        """Return what went wrong with it so far, to be added to."""
        if self.trouble is None:
            self.trouble = Trouble()
        return self.trouble

    def decide(self, outcome: Outcome) -> None:
        """Give it its outcome."""
        self._group.decide(self._place, outcome)


class Batch:
    """
    The entries of one request: some that were packed, or all of a group.

    Attributes:
        alone: Whether they must not share a request with others: one of them may be what the
            service refuses whole requests for.
        fresh_start: Whether this is the one more try with fresh credentials or clock.
        group: The group that it is the first attempt of, as a whole.
        sent_at: When that went out.
    """

    __slots__ = ("_entries", "alone", "fresh_start", "group", "sent_at")

    def __init__(
        self,
        entries: Sequence[Entry] | None = None,
        *,
        group: Group | None = None,
        alone: bool = False,
        fresh_start: bool = False,
    ) -> None:
        self._entries = entries
        self.group: Group | None = group
        self.alone: bool = alone
        self.fresh_start: bool = fresh_start
        self.sent_at: float = 0.0

    @property
    def entries(self) -> Sequence[Entry]:
        """The entries, in the order of sending."""
        if self._entries is None:
            self._entries = [] if self.group is None else list(self.group.entries())
            for entry in self._entries:
                entry.attempts = 1
                entry.first_sent = self.sent_at
        return self._entries

    @property
    def events(self) -> Sequence[PartnerEvent]:
        """The events to be sent."""
        if self.group is not None:
            return cast("list[PartnerEvent]", self.group.events)
        return [entry.event for entry in self.entries]

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1, for the entry that has had the most."""
        return 1 if self.group is not None else max([entry.attempts for entry in self.entries])

    def __len__(self) -> int:
        return len(self.entries if self.group is None else self.group)
