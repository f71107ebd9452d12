"""
What a publisher holds: which events wait, whose turn it is, when they are due, what became of them.

Pure: it is told the time, and keeps whatever it is given as long as that has an event. Events of
one source wait in a lane of their own, first come first served; batches are packed from all lanes
in turn, one event at a time, so that no source waits for the backlog of another.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Generic, Literal, Protocol, TypeVar, get_args

import attrs

from eventbridge_partner.delivery.batching import BatchLimits
from eventbridge_partner.models import (
    Accepted,
    Exhausted,
    Outcome,
    OutcomeCounts,
    PartnerEvent,
    Rejected,
    Unconfirmed,
)

OnFull = Literal["block", "raise", "drop_oldest", "drop_newest"]
"""What `publish` does when there is no room."""

_SHARED: Final = 10
"""One source leaves this part of the room that there is for it, a tenth, to others."""


class Waiting(Protocol):
    """
    Something that waits in a buffer.

    Attributes:
        event: What is to be sent.
        size: Of the event, as the service counts.
        since: When it came.
        lane: Is set by the buffer.
        decided: Is set by the buffer to the outcome of what it drops.
    """

    event: PartnerEvent
    size: int
    since: float
    lane: Lane[Any]
    decided: Outcome | None


W = TypeVar("W", bound=Waiting)


class Lane(Generic[W]):
    """
    What a buffer holds of one source.

    Attributes:
        source: Its name.
        waiting: What waits, in the order in which it came.
        waiting_bytes: The size of that.
        taken: How many events were taken and have no outcome yet.
        taken_bytes: The size of those.
        is_ready: Whether some of it may be taken.
    """

    __slots__ = ("is_ready", "source", "taken", "taken_bytes", "waiting", "waiting_bytes")

    def __init__(self, source: str) -> None:
        self.source: str = source
        self.waiting: deque[W] = deque()
        self.waiting_bytes: int = 0
        self.taken: int = 0
        self.taken_bytes: int = 0
        self.is_ready: bool = False


@attrs.frozen(kw_only=True)
class BufferSettings:
    """
    What bounds a buffer.

    Attributes:
        linger: Seconds that an event waits for others to share its request.
        max_events: How many events may have no outcome, those that are being sent included.
        max_bytes: Their size together, as the service counts. One event always has room where
            there is no other.
        max_taken: How many events of one source may be taken at a time.
    """

    linger: float
    max_events: int
    max_bytes: int
    max_taken: int = 1

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.linger < math.inf:
            raise ValueError(f"linger is {self.linger!r}; allowed: 0 or more seconds")
        for name, value in (
            ("max_buffered_events", self.max_events),
            ("max_buffered_bytes", self.max_bytes),
        ):
            if value < 1:
                raise ValueError(f"{name} is {value!r}; allowed: 1 or more")


def checked_on_full(on_full: OnFull) -> OnFull:
    """
    Refuse a word that says nothing.

    Raises:
        ValueError: It is none of the four.
    """
    if on_full not in get_args(OnFull):
        raise ValueError(f"on_full is {on_full!r}; allowed: {', '.join(get_args(OnFull))}")
    return on_full


@attrs.frozen
class Ledger:
    """
    What became of the events that a buffer was offered.

    Attributes:
        published: All of them.
        counts: Of those that have an outcome, without the dropped.
        dropped: How many were dropped for want of room.
        held: How many have no outcome.
    """

    published: int
    counts: OutcomeCounts
    dropped: int
    held: int


class Buffer(Generic[W]):
    """
    Events without an outcome: they wait, or were taken to be sent.

    Args:
        settings: What bounds it.
        limits: How much goes into one batch.
    """

    def __init__(self, settings: BufferSettings, limits: BatchLimits) -> None:
        self._settings = settings
        self._limits = limits
        # With so much, or less, there is room for whatever source it is.
        self._easy_events = settings.max_events - settings.max_events // _SHARED
        self._easy_bytes = settings.max_bytes - settings.max_bytes // _SHARED
        self._lanes: dict[str, Lane[W]] = {}
        # The first of them is next, and any of them can leave.
        self._ready: OrderedDict[str, Lane[W]] = OrderedDict()
        self._ready_events = 0
        self._ready_bytes = 0
        # When the first of what is ready came; not kept while a whole batch of it is there.
        self._oldest = 0.0
        self._hurry_until = -math.inf
        # Lanes that may be the longest: how long they were, negative, to be found first.
        self._long: list[tuple[int, int, Lane[W]]] = []
        self._looks_left = 0
        self._held = 0
        self._held_bytes = 0
        self._taken = 0
        self._published = 0
        self._dropped = 0
        self._decided: Counter[type[Outcome]] = Counter()

    # ------------------------------------------------------------ in

    def offer(self, item: W) -> bool:
        """Take something in if there is room for it."""
        source, size = item.event.source, item.size
        lane = self._lanes.get(source)
        if not self._has_room(lane, size):
            return False
        if lane is None:
            lane = self._lanes[source] = Lane(source)
        item.lane = lane
        is_ready = lane.is_ready or lane.taken < self._settings.max_taken
        # From here on nothing is called but the last: Ctrl-C in this thread, which Python raises
        # after a call, finds all of it done or nothing.
        lane.waiting_bytes += size
        self._published += 1
        self._held += 1
        self._held_bytes += size
        if is_ready:
            if not lane.is_ready:
                if not self._ready_events or item.since < self._oldest:
                    self._oldest = item.since
                lane.is_ready = True
                self._ready[source] = lane
            self._ready_events += 1
            self._ready_bytes += size
        lane.waiting.append(item)
        return True

    def _has_room(self, lane: Lane[W] | None, size: int) -> bool:
        settings = self._settings
        events, size = self._held + 1, self._held_bytes + size
        if events <= self._easy_events and size <= self._easy_bytes:
            return True
        if events == 1:
            return True
        if events > settings.max_events or size > settings.max_bytes:
            return False
        if lane is None:
            return True
        own = len(lane.waiting) + lane.taken + 1
        own_bytes = size - self._held_bytes + lane.waiting_bytes + lane.taken_bytes
        left = settings.max_events - (events - own)
        left_bytes = settings.max_bytes - (size - own_bytes)
        return own <= left - left // _SHARED and own_bytes <= left_bytes - left_bytes // _SHARED

    def _make_ready(self, lane: Lane[W]) -> None:
        since = lane.waiting[0].since
        if not self._ready_events or since < self._oldest:
            self._oldest = since
        lane.is_ready = True
        self._ready[lane.source] = lane
        self._ready_events += len(lane.waiting)
        self._ready_bytes += lane.waiting_bytes

    def decide_at_once(self, outcome: Outcome) -> None:
        """Count an event that has its outcome without having been held."""
        self._published += 1
        self._decided[type(outcome)] += 1

    def drop_newest(self) -> None:
        """Count an event that was offered and is dropped."""
        self._published += 1
        self._dropped += 1

    def oldest(self, source: str) -> W | None:
        """Return the oldest that waits of this source, or else of a longest lane; None if none."""
        lane = self._lanes.get(source)
        if lane is None or not lane.waiting:
            lane = self._longest()
        return None if lane is None else lane.waiting[0]

    def drop(self, item: W, outcome: Outcome) -> None:
        """Drop what is the oldest of its source, with this outcome."""
        lane: Lane[W] = item.lane
        size = item.size
        is_last = len(lane.waiting) == 1
        # As in `offer`: done as a whole or not at all.
        item.decided = outcome
        lane.waiting_bytes -= size
        self._held -= 1
        self._held_bytes -= size
        self._dropped += 1
        if lane.is_ready:
            self._ready_events -= 1
            self._ready_bytes -= size
            if is_last:
                lane.is_ready = False
                del self._ready[lane.source]
        if is_last and not lane.taken:
            del self._lanes[lane.source]
        lane.waiting.popleft()
        self._note_oldest()

    def _longest(self) -> Lane[W] | None:
        """
        Return a lane in which most events wait; None if none do.

        Looking at all of them each time would cost who publishes half a millisecond where there
        are 10,000. While there is no room lanes hardly grow: a source with events that wait makes
        room of its own. So they are looked at anew when a part of them has been dropped from.
        """
        for _ in range(2):
            while self._long and self._looks_left:
                key, place, lane = heapq.heappop(self._long)
                waiting = len(lane.waiting)
                if waiting < -key:
                    if waiting:
                        heapq.heappush(self._long, (-waiting, place, lane))
                    continue
                if waiting > 1:
                    heapq.heappush(self._long, (1 - waiting, place, lane))
                self._looks_left -= 1
                return lane
            lanes = [lane for lane in self._lanes.values() if lane.waiting]
            self._long = [(-len(lane.waiting), place, lane) for place, lane in enumerate(lanes)]
            heapq.heapify(self._long)
            self._looks_left = 1 + len(lanes) // 8
        return None

    # ------------------------------------------------------------ out

    def due_at(self) -> float:
        """Return when a batch is due; infinite if none is in sight."""
        if not self._ready_events:
            return math.inf
        if self.has_batch() or self._oldest <= self._hurry_until:
            return -math.inf
        return self._oldest + self._settings.linger

    def has_batch(self) -> bool:
        """Tell whether there is enough for a full batch."""
        limits = self._limits
        return (
            self._ready_events >= limits.max_entries or self._ready_bytes >= limits.max_batch_bytes
        )

    def hurry(self, now: float) -> None:
        """Let no event that came up to now wait for others any more."""
        self._hurry_until = now

    def take(self) -> list[W]:
        """Take the next batch: what fits, one event of each source that has some, in turn."""
        batch: list[W] = []
        batch_bytes = 0
        max_entries, max_bytes = self._limits.max_entries, self._limits.max_batch_bytes
        max_taken = self._settings.max_taken
        ready = self._ready
        while ready and len(batch) < max_entries:
            lane = next(iter(ready.values()))
            waiting = lane.waiting
            size = waiting[0].size
            if batch and batch_bytes + size > max_bytes:
                break
            batch_bytes += size
            batch.append(waiting.popleft())
            lane.waiting_bytes -= size
            lane.taken += 1
            lane.taken_bytes += size
            if not waiting or lane.taken >= max_taken:
                ready.popitem(last=False)
                lane.is_ready = False
                self._ready_events -= len(waiting)
                self._ready_bytes -= lane.waiting_bytes
            elif len(ready) > 1:
                ready.move_to_end(lane.source)
        self._ready_events -= len(batch)
        self._ready_bytes -= batch_bytes
        self._taken += len(batch)
        self._note_oldest()
        return batch

    def _note_oldest(self) -> None:
        """Look who came first, where that matters: few lanes are ready then."""
        if 0 < self._ready_events < self._limits.max_entries:
            self._oldest = min([lane.waiting[0].since for lane in self._ready.values()])

    def decide(self, items: Iterable[W], outcomes: Sequence[Outcome]) -> None:
        """Take that what was taken has its outcomes."""
        max_taken = self._settings.max_taken
        for item in items:
            lane: Lane[W] = item.lane
            size = item.size
            lane.taken -= 1
            lane.taken_bytes -= size
            if lane.waiting:
                if not lane.is_ready and lane.taken < max_taken:
                    self._make_ready(lane)
            elif not lane.taken:
                del self._lanes[lane.source]
            self._held_bytes -= size
        self._held -= len(outcomes)
        self._taken -= len(outcomes)
        self._decided.update(map(type, outcomes))

    def take_back(self) -> list[W]:
        """Take everything that still waits; with `decide` it gets its outcomes."""
        items: list[W] = []
        for lane in self._lanes.values():
            lane.taken += len(lane.waiting)
            lane.taken_bytes += lane.waiting_bytes
            self._taken += len(lane.waiting)
            items += lane.waiting
            lane.waiting.clear()
            lane.waiting_bytes = 0
            lane.is_ready = False
        self._ready.clear()
        self._ready_events = self._ready_bytes = 0
        return items

    # ------------------------------------------------------------ what there is

    @property
    def ready_events(self) -> int:
        """How many events may be taken now, due or not."""
        return self._ready_events

    @property
    def room(self) -> int:
        """How many more events there is room for, by their number."""
        return self._settings.max_events - self._held

    @property
    def held(self) -> int:
        """How many events have no outcome."""
        return self._held

    @property
    def held_bytes(self) -> int:
        """The size of the events that have no outcome."""
        return self._held_bytes

    @property
    def waiting(self) -> int:
        """How many events wait, and were not taken."""
        return self._held - self._taken

    def __iter__(self) -> Iterator[W]:
        """Yield what waits, source by source."""
        for lane in self._lanes.values():
            yield from lane.waiting

    def waiting_since(self) -> float:
        """Return when the first of what waits came; infinite if nothing does."""
        heads = (lane.waiting[0].since for lane in self._lanes.values() if lane.waiting)
        return min(heads, default=math.inf)

    def ledger(self) -> Ledger:
        """Return what became of all events: what was published is all the rest together."""
        decided = self._decided
        counts = OutcomeCounts(
            decided[Accepted], decided[Rejected], decided[Exhausted], decided[Unconfirmed]
        )
        return Ledger(self._published, counts, self._dropped, self._held)
