"""
What a publisher holds: which events wait, whose turn it is, when they are due, what became of them.

Pure: it is told the time, and keeps whatever it is given as long as that has an event. Events of
one source wait in a lane of their own, first come first served; batches are packed from all lanes
in turn, one event at a time, so that no source waits for the backlog of another.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
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

_KINDS: Final[tuple[type[Outcome], ...]] = (Accepted, Rejected, Exhausted, Unconfirmed)

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
        decided: Is set by the buffer to its outcome.
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


class Room:
    """
    The room that the buffers of one publisher share, one for each Region.

    Attributes:
        buffers: All of them.
    """

    def __init__(self) -> None:
        self.buffers: tuple[Buffer[Any], ...] = ()

    def held_besides(self, buffer: Buffer[Any]) -> tuple[int, int]:
        """Return how many events the others hold, and their size."""
        others = [other for other in self.buffers if other is not buffer]
        return sum([one.held for one in others]), sum([one.held_bytes for one in others])


class Buffer(Generic[W]):
    """
    Events without an outcome: they wait, or were taken to be sent.

    Python may run other code in the middle of a call: the handler of a signal, a finalizer, and
    with them anything. A lock does not keep that code out, for it runs on the same thread. So no
    step shows itself half done:

    - `offer` and `drop_oldest` prepare everything first, and begin anew if the buffer has changed
      meanwhile. What they then change, they change in lines without a call or a loop: between
      those Python runs nothing else. Even waiting, with the lock released, is safe in such code.
    - `take`, `decide` and `take_back` loop. Meanwhile `is_changing` is set, and nothing may be
      offered or dropped.

    Figures stand in one place each, and sums are made when they are asked for; so they agree at
    every moment. Where an exception such as Ctrl-C breaks a step off, the next one begins with
    counting anew what there is.

    Args:
        settings: What bounds it.
        limits: How much goes into one batch.
        room: That it shares with others; None for all of its own.
        is_open: Tells of an event that is to be taken whether its source may be sent to. If not,
            its lane is shut, until `open` or `refuse`. Called in the middle of a step.

    Attributes:
        taken: What was taken, by the index that its outcome will have.
        gone: What has its outcome, for somebody to tell.
        is_changing: Whether it is in the middle of a step that loops.
    """

    def __init__(
        self,
        settings: BufferSettings,
        limits: BatchLimits,
        *,
        room: Room | None = None,
        is_open: Callable[[PartnerEvent], bool] | None = None,
    ) -> None:
        self._room = room
        self._is_open = is_open
        # Sources whose lanes are shut: nothing of them is ready.
        self._shut: set[str] = set()
        if room is not None:
            room.buffers += (self,)
        self.taken: dict[int, W] = {}
        self.gone: deque[W] = deque()
        self.is_changing: bool = False
        self._settings = settings
        self._limits = limits
        # With so much, or less, there is room for whatever source it is.
        self._easy_events = settings.max_events - settings.max_events // _SHARED
        self._easy_bytes = settings.max_bytes - settings.max_bytes // _SHARED
        # How many steps there were.
        self._changes = 0
        # Whether a step was broken off; and what `decide` was about to do, and whoever ends a wait.
        self._is_torn = False
        self._deciding: Sequence[Outcome] = ()
        self._ending: tuple[W, Outcome, bool] | None = None
        self._lanes: dict[str, Lane[W]] = {}
        # The first of them is next, and any of them can leave.
        self._ready: OrderedDict[str, Lane[W]] = OrderedDict()
        self._ready_events = 0
        self._ready_bytes = 0
        # When the first of what is ready came; not kept while a whole batch of it is there.
        self._oldest = 0.0
        self._hurry_until = -math.inf
        # Lanes that may be the longest: how long they were, negative, to be found first; and a
        # number of their own, so that lanes themselves are never compared.
        self._long: list[tuple[int, int, Lane[W]]] = []
        self._places = itertools.count()
        self._looks_left = 0
        self._held = 0
        self._held_bytes = 0
        self._published = 0
        self._dropped = 0
        self._decided = dict.fromkeys(_KINDS, 0)
        self._decided_at_once = dict.fromkeys(_KINDS, 0)

    # ------------------------------------------------------------ in

    def offer(self, item: W) -> bool:
        """Take something in if there is room for it."""
        source, size, arriving = item.event.source, item.size, (item,)
        while True:
            if self._is_torn:
                self.mend()
            changes = self._changes
            lane = self._lanes.get(source)
            if not self._has_room(lane, size):
                return False
            if is_new := lane is None:
                lane = Lane(source)
            item.lane = lane
            is_ready = lane.is_ready or (
                lane.taken < self._settings.max_taken and source not in self._shut
            )
            self.is_changing = True
            if changes == self._changes:
                break
            self.is_changing = False
        try:
            self._changes = changes + 1
            if is_new:
                self._lanes[source] = lane
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
            lane.waiting += arriving  # not `append`: after a call a signal's handler may run
        except BaseException:
            self._is_torn = True
            raise
        finally:
            self.is_changing = False
        return True

    def _has_room(self, lane: Lane[W] | None, size: int) -> bool:
        settings = self._settings
        others, others_bytes = (0, 0) if self._room is None else self._room.held_besides(self)
        events, event_size = others + self._held + 1, size
        size += others_bytes + self._held_bytes
        if events <= self._easy_events and size <= self._easy_bytes:
            return True
        if events == 1:
            return True
        if events > settings.max_events or size > settings.max_bytes:
            return False
        if self._room is not None and not self._leaves_a_part(
            self._held + 1, size - others_bytes, events, size
        ):
            return False
        if lane is None:
            return True
        own = len(lane.waiting) + lane.taken + 1
        own_bytes = event_size + lane.waiting_bytes + lane.taken_bytes
        return self._leaves_a_part(own, own_bytes, events, size)

    def _leaves_a_part(self, own: int, own_bytes: int, events: int, size: int) -> bool:
        """Tell whether what is one's own leaves a part of the room that the others leave."""
        left = self._settings.max_events - (events - own)
        left_bytes = self._settings.max_bytes - (size - own_bytes)
        return own <= left - left // _SHARED and own_bytes <= left_bytes - left_bytes // _SHARED

    def decide_at_once(self, outcome: Outcome) -> None:
        """Count an event that has its outcome without having been held."""
        kind = type(outcome)
        self._published += 1
        self._decided_at_once[kind] += 1

    def drop_newest(self) -> None:
        """Count an event that was offered and is dropped."""
        self._published += 1
        self._dropped += 1

    def drop_oldest(self, source: str, outcome: Callable[[W], Outcome]) -> W | None:
        """
        Drop the oldest that waits of this source, or else of a longest lane.

        Args:
            source: Whose events are dropped first.
            outcome: Makes the outcome of what is dropped.

        Returns:
            What was dropped; None if nothing waits.
        """
        while True:
            if self._is_torn:
                self.mend()
            changes = self._changes
            lane = self._lanes.get(source)
            if lane is None or not lane.waiting:
                lane = self._longest()
            if lane is None:
                return None
            try:
                item = lane.waiting[0]
            except IndexError:  # sent or dropped meanwhile
                continue
            if self._end_waiting(item, outcome(item), changes, is_dropped=True):
                return item

    def refuse(self, item: W, outcome: Outcome) -> bool:
        """
        Give the first that waits of its source its outcome, though it was not sent.

        Returns:
            Whether it was still the first, and without an outcome.
        """
        while True:
            if self._is_torn:
                self.mend()
            changes = self._changes
            if item.decided is not None or self.first_of(item.event.source) is not item:
                return False
            if self._end_waiting(item, outcome, changes, is_dropped=False):
                return True

    def _end_waiting(self, item: W, outcome: Outcome, changes: int, *, is_dropped: bool) -> bool:
        """End the wait of the first of its lane, unless the buffer has changed; see `offer`."""
        lane: Lane[W] = item.lane
        size, leaving, ending = item.size, (item,), (item, outcome, is_dropped)
        kind = type(outcome)
        is_last = len(lane.waiting) == 1
        self.is_changing = True
        if changes != self._changes:
            self.is_changing = False
            return False
        try:
            self._changes = changes + 1
            self._ending = ending
            item.decided = outcome
            lane.waiting_bytes -= size
            self._held -= 1
            self._held_bytes -= size
            if is_dropped:
                self._dropped += 1
            else:
                self._decided_at_once[kind] += 1
            if lane.is_ready:
                self._ready_events -= 1
                self._ready_bytes -= size
                if is_last:
                    lane.is_ready = False
                    del self._ready[lane.source]
            if is_last and not lane.taken:
                del self._lanes[lane.source]
            del lane.waiting[0]  # not `popleft`: see `offer`
            self.gone += leaving
            self._ending = None
        except BaseException:
            self._is_torn = True
            raise
        finally:
            self.is_changing = False
        self._note_oldest()
        return True

    def _longest(self) -> Lane[W] | None:
        """
        Return a lane in which most events wait; None if none do.

        Looking at all of them each time would cost who publishes half a millisecond where there
        are 10,000. While there is no room lanes hardly grow: a source with events that wait makes
        room of its own. So they are looked at anew when a part of them has been dropped from.
        """
        for _ in range(2):
            while (long := self._long) and self._looks_left:
                key, place, lane = heapq.heappop(long)
                waiting = len(lane.waiting)
                if waiting < -key:
                    if waiting:
                        heapq.heappush(long, (-waiting, place, lane))
                    continue
                if waiting > 1:
                    heapq.heappush(long, (1 - waiting, place, lane))
                self._looks_left -= 1
                return lane
            lanes = [lane for lane in tuple(self._lanes.values()) if lane.waiting]
            longest = [(-len(lane.waiting), next(self._places), lane) for lane in lanes]
            heapq.heapify(longest)
            self._long = longest
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

    def take(self, first: int) -> list[W]:
        """
        Take the next batch: what fits, one event of each source that has some, in turn.

        Args:
            first: The index that the outcome of the first of them will have; the others follow.
        """
        if self._is_torn:
            self.mend()
        batch: list[W] = []
        batch_bytes = 0
        max_entries, max_bytes = self._limits.max_entries, self._limits.max_batch_bytes
        max_taken = self._settings.max_taken
        ready = self._ready
        self.is_changing = True
        try:
            self._changes += 1
            while ready and len(batch) < max_entries:
                lane = next(iter(ready.values()))
                waiting = lane.waiting
                item = waiting[0]
                size = item.size
                if batch and batch_bytes + size > max_bytes:
                    break
                if self._is_open is not None and not self._is_open(item.event):
                    self._shut_lane(lane)
                    continue
                # First into where it goes, so that it is never nowhere.
                self.taken[first + len(batch)] = item
                waiting.popleft()
                batch_bytes += size
                batch.append(item)
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
            self._note_oldest()
        except BaseException:
            self._is_torn = True
            raise
        finally:
            self.is_changing = False
        return batch

    # ------------------------------------------------------------ lanes that are shut

    def _shut_lane(self, lane: Lane[W]) -> None:
        self._shut.add(lane.source)
        if lane.is_ready:
            del self._ready[lane.source]
            lane.is_ready = False
            self._ready_events -= len(lane.waiting)
            self._ready_bytes -= lane.waiting_bytes

    def shut(self, source: str) -> None:
        """Let nothing that waits of a source be taken."""
        self._change_lane(source, self._shut_lane)
        self._shut.add(source)

    def open(self, source: str) -> None:
        """Let what waits of a source be taken again."""
        self._shut.discard(source)
        self._change_lane(source, self._open_lane)

    def _open_lane(self, lane: Lane[W]) -> None:
        if lane.waiting and not lane.is_ready and lane.taken < self._settings.max_taken:
            self._make_ready(lane)

    def _change_lane(self, source: str, change: Callable[[Lane[W]], None]) -> None:
        if self._is_torn:
            self.mend()
        self.is_changing = True
        try:
            self._changes += 1
            if (lane := self._lanes.get(source)) is not None:
                change(lane)
        except BaseException:
            self._is_torn = True
            raise
        finally:
            self.is_changing = False

    def first_of(self, source: str) -> W | None:
        """Return what has waited longest of a source; None if nothing waits."""
        lane = self._lanes.get(source)
        return lane.waiting[0] if lane is not None and lane.waiting else None

    # ------------------------------------------------------------ outcomes

    def _note_oldest(self) -> None:
        """Look who came first, where that matters: few lanes are ready then."""
        if 0 < self._ready_events < self._limits.max_entries:
            lanes = tuple(self._ready.values())
            heads = [lane.waiting[0].since for lane in lanes if lane.waiting]
            self._oldest = min(heads, default=self._oldest)

    def decide(self, outcomes: Sequence[Outcome]) -> None:
        """Take that what was taken has its outcomes; their indexes say which is whose."""
        if self._is_torn:
            self.mend()
        taken = self.taken
        max_taken = self._settings.max_taken
        self.is_changing = True
        try:
            self._changes += 1
            self._deciding = outcomes
            self._give_outcomes()
            for outcome in outcomes:
                item = taken[outcome.index]
                lane: Lane[W] = item.lane
                size = item.size
                lane.taken -= 1
                lane.taken_bytes -= size
                if lane.waiting:
                    may_be_taken = lane.taken < max_taken and lane.source not in self._shut
                    if may_be_taken and not lane.is_ready:
                        self._make_ready(lane)
                elif not lane.taken:
                    del self._lanes[lane.source]
                self._held -= 1
                self._held_bytes -= size
                self.gone.append(item)
                del taken[outcome.index]
        except BaseException:
            self._is_torn = True
            raise
        finally:
            self.is_changing = False

    def _give_outcomes(self) -> None:
        """Hand out the outcomes that are to be decided, and count them, once."""
        for outcome in self._deciding:
            item = self.taken[outcome.index]
            item.decided = outcome
        arrived = Counter(map(type, self._deciding))
        counts = {kind: count + arrived[kind] for kind, count in self._decided.items()}
        # Both or neither.
        self._decided = counts
        self._deciding = ()

    def _make_ready(self, lane: Lane[W]) -> None:
        since = lane.waiting[0].since
        if not self._ready_events or since < self._oldest:
            self._oldest = since
        lane.is_ready = True
        self._ready[lane.source] = lane
        self._ready_events += len(lane.waiting)
        self._ready_bytes += lane.waiting_bytes

    def take_back(self, first: int) -> list[W]:
        """Take everything that still waits, as `take` does; with `decide` it gets its outcomes."""
        if self._is_torn:
            self.mend()
        items: list[W] = []
        self.is_changing = True
        try:
            self._changes += 1
            for lane in self._lanes.values():
                self.taken.update(enumerate(lane.waiting, first + len(items)))
                items += lane.waiting
                lane.taken += len(lane.waiting)
                lane.taken_bytes += lane.waiting_bytes
                lane.waiting.clear()
                lane.waiting_bytes = 0
                lane.is_ready = False
            self._ready.clear()
            self._ready_events = self._ready_bytes = 0
        except BaseException:
            self._is_torn = True
            raise
        finally:
            self.is_changing = False
        return items

    def mend(self) -> None:
        """
        Finish what was broken off, and count anew; nothing if nothing was.

        An event is where it was last put: what was taken does not wait, and what has its outcome
        is gone. Doing it twice comes to the same, for it may be broken off, too.
        """
        if self.is_changing or not self._is_torn:
            return
        self.is_changing = True
        try:
            self._changes += 1
            if self._deciding:
                self._deciding = [one for one in self._deciding if one.index in self.taken]
                self._give_outcomes()
            if self._ending is not None:
                ended, outcome, _ = self._ending
                ended.decided = outcome
            waiting = [item for lane in self._lanes.values() for item in lane.waiting]
            self.gone += [
                item for item in (*waiting, *self.taken.values()) if item.decided is not None
            ]
            taken = {index: item for index, item in self.taken.items() if item.decided is None}
            away = set(map(id, taken.values()))
            self._lanes, self.taken = self._sorted_into_lanes(
                [item for item in waiting if item.decided is None and id(item) not in away], taken
            )
            lanes = [*self._lanes.values()]
            ready = [lane for lane in lanes if lane.is_ready]
            self._ready = OrderedDict((lane.source, lane) for lane in ready)
            self._ready_events = sum(len(lane.waiting) for lane in ready)
            self._ready_bytes = sum(lane.waiting_bytes for lane in ready)
            self._oldest = min((lane.waiting[0].since for lane in ready), default=0.0)
            self._long, self._looks_left = [], 0
            self._held = sum(len(lane.waiting) + lane.taken for lane in lanes)
            self._held_bytes = sum(lane.waiting_bytes + lane.taken_bytes for lane in lanes)
            if self._ending is not None:
                # What is missing in the sum is what ended, unless it was counted already.
                _, outcome, is_dropped = self._ending
                decided = sum(self._decided.values()) + sum(self._decided_at_once.values())
                missing = self._published - decided - self._dropped - self._held
                if is_dropped:
                    self._dropped += missing
                else:
                    self._decided_at_once[type(outcome)] += missing
                self._ending = None
            decided = sum(self._decided.values()) + sum(self._decided_at_once.values())
            self._published = decided + self._dropped + self._held
            self._is_torn = False
        finally:
            self.is_changing = False

    def _sorted_into_lanes(
        self, waiting: Sequence[W], taken: dict[int, W]
    ) -> tuple[dict[str, Lane[W]], dict[int, W]]:
        """Return new lanes, so that the old ones are there until all is done, and what is taken."""
        lanes: dict[str, Lane[W]] = {}
        for item in (*taken.values(), *waiting):
            source = item.event.source
            item.lane = lanes.setdefault(source, Lane(source))
        for item in taken.values():
            item.lane.taken += 1
            item.lane.taken_bytes += item.size
        for item in waiting:
            item.lane.waiting.append(item)
            item.lane.waiting_bytes += item.size
        for lane in lanes.values():
            lane.is_ready = (
                bool(lane.waiting)
                and lane.taken < self._settings.max_taken
                and lane.source not in self._shut
            )
        return lanes, taken

    # ------------------------------------------------------------ what there is

    @property
    def ready_events(self) -> int:
        """How many events may be taken now, due or not."""
        return self._ready_events

    @property
    def room(self) -> int:
        """How many more events there is room for, by their number."""
        others = 0 if self._room is None else self._room.held_besides(self)[0]
        return self._settings.max_events - self._held - others

    @property
    def held(self) -> int:
        """How many events have no outcome."""
        return self._held

    @property
    def held_bytes(self) -> int:
        """The size of the events that have no outcome."""
        return self._held_bytes

    def __iter__(self) -> Iterator[W]:
        """Yield what waits, source by source."""
        for lane in tuple(self._lanes.values()):
            yield from tuple(lane.waiting)

    def waiting_since(self) -> float:
        """Return when the first of what waits came; infinite if nothing does."""
        lanes = tuple(self._lanes.values())
        return min([lane.waiting[0].since for lane in lanes if lane.waiting], default=math.inf)

    def ledger(self) -> Ledger:
        """Return what became of all events: what was published is all the rest together."""
        published, dropped, decided, at_once = (
            self._published,
            self._dropped,
            self._decided,
            self._decided_at_once.copy(),
        )
        counts = OutcomeCounts(*[decided[kind] + at_once[kind] for kind in _KINDS])
        return Ledger(published, counts, dropped, published - dropped - counts.total)
