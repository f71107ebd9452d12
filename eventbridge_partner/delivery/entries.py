"""Events on their way to their outcomes: in a group, alone, or in a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from eventbridge_partner.models import GivenEvent, Outcome, PartnerEvent, entry_size
from eventbridge_partner.models._outcomes import accept_all


class Trouble:
    """
    The failures of an entry so far.

    Attributes:
        tries: Failed attempts that count for the retry policy.
        error: The code and the message of the last failure that counted as a try.
        tokens: The tokens of the retry quota that it holds.
        delay: Seconds to wait before the next attempt.
        due_at: When that wait ends.
        waited: Seconds of all its waits together.
        doubt: The attempt that may have arrived unnoticed, and why; None if none may have.
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
    Events that were taken together, and their outcomes so far.

    Most groups are sent as one batch and accepted as a whole. Then only the outcomes are kept for
    its events, and no entries are made.

    Args:
        first: The index of the first event.
        decided: A list that each outcome is added to as soon as it is decided; None for no list.

    Attributes:
        first: The index of the first event.
        given: The events as the caller gave them.
        events: The events to send; None for one that cannot be sent.
        outcomes: The outcomes, in the order of the events; None for one that has none yet.
        undecided: How many events have no outcome yet.
        handed_out: How many outcomes were handed out.
        size: The size of all events to send, in bytes.
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
        """Give an event its outcome, unless it has one."""
        if self.outcomes[place] is not None:
            return
        self.outcomes[place] = outcome
        self.undecided -= 1
        if self._decided is not None:
            self._decided.append(outcome)

    def accept(self, event_ids: Sequence[str | None]) -> None:
        """Give all events the outcome `Accepted`, at their first attempt."""
        # A signal handler may raise between any two steps, so each step is atomic.
        accepted = accept_all(event_ids, self.given, self.first)
        if self._decided is not None:
            self._decided += accepted
        self.outcomes = cast("list[Outcome | None]", accepted)
        self.undecided = 0

    def entries(self) -> Iterator[Entry]:
        """Yield an entry for each event that can be sent and has no outcome."""
        for place, event in enumerate(self.events):
            if event is not None and self.outcomes[place] is None:
                yield Entry(self, place, event)


class Entry:
    """
    One event on its way to its outcome, apart from its group.

    Attributes:
        index: Its position among the events of the call, from 0.
        given: The event as the caller gave it.
        event: The event to send.
        size: Its size in bytes, as the service counts it.
        attempts: How many requests carried it.
        first_sent: When the first of them went out.
        trouble: Its failures; None until the first one.
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
        """Return its failures, to be added to."""
        if self.trouble is None:
            self.trouble = Trouble()
        return self.trouble

    def decide(self, outcome: Outcome) -> None:
        """Give it its outcome."""
        self._group.decide(self._place, outcome)


class Batch:
    """
    The entries of one request: a packed selection, or a whole group.

    Attributes:
        alone: Whether the entries must not share a request with others, because one of them may
            make the service refuse the whole request.
        fresh_start: Whether this is the one extra attempt with fresh credentials or clock.
        group: The group, if this is the first attempt of a whole group; else None.
        sent_at: When the request went out.
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
        """The entries, in order of sending."""
        if self._entries is None:
            self._entries = [] if self.group is None else list(self.group.entries())
            for entry in self._entries:
                entry.attempts = 1
                entry.first_sent = self.sent_at
        return self._entries

    @property
    def events(self) -> Sequence[PartnerEvent]:
        """The events to send."""
        if self.group is not None:
            return cast("list[PartnerEvent]", self.group.events)
        return [entry.event for entry in self.entries]

    @property
    def attempt(self) -> int:
        """The attempt's number, from 1; of the entries, the one with most attempts counts."""
        return 1 if self.group is not None else max([entry.attempts for entry in self.entries])

    def __len__(self) -> int:
        return len(self.entries if self.group is None else self.group)
