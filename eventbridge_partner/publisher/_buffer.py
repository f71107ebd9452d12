"""
The buffer of a publisher: which events wait, which go next, when they are due, and their outcomes.

Pure: time is an argument, and it holds any item with an event. The events of each source wait in a
lane of their own, in order; batches are packed from all lanes in turn, one event at a time, so that
no source waits for the backlog of another.
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
"""What `publish` does when the buffer is full."""

_KINDS: Final[tuple[type[Outcome], ...]] = (Accepted, Rejected, Exhausted, Unconfirmed)

_SHARED: Final = 10
"""One source must leave one part in ten of its available room to others."""


class Waiting(Protocol):
    """
    An item in a buffer.

    Attributes:
        event: The event to send.
        size: The event's size, as the service counts it.
        since: When it was published.
        lane: Its lane, set by the buffer.
        decided: Its outcome, set by the buffer.
    """

    event: PartnerEvent
    size: int
    since: float
    lane: Lane[Any]
    decided: Outcome | None


W = TypeVar("W", bound=Waiting)


class Lane(Generic[W]):
    """
    The events of one source.

    Attributes:
        source: The source's name.
        waiting: The items that wait, in order.
        waiting_bytes: Their size.
        taken: How many items were taken and have no outcome yet.
        taken_bytes: Their size.
        is_ready: Whether an item may be taken.
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
    The limits of a buffer.

    Attributes:
        linger: Seconds that an event waits for others to share its request.
        max_events: The most events without an outcome, including those in flight.
        max_bytes: Their largest total size, as the service counts it. A single event always fits
            into an empty buffer.
        max_taken: The most events of one source that may be taken at a time.
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
    Refuse an unknown word.

    Raises:
        ValueError: It is not one of the four.
    """
    if on_full not in get_args(OnFull):
        raise ValueError(f"on_full is {on_full!r}; allowed: {', '.join(get_args(OnFull))}")
    return on_full


@attrs.frozen
class Ledger:
    """
    Counts of all events that were offered to a buffer.

    Attributes:
        published: All events.
        counts: Events with an outcome, by outcome, without dropped ones.
        dropped: Events that were dropped because the buffer was full.
        held: Events without an outcome.
    """

    published: int
    counts: OutcomeCounts
    dropped: int
    held: int


class Room:
    """
    The room that the buffers of one publisher, one for each Region, share.

    Attributes:
        buffers: All buffers.
    """

    def __init__(self) -> None:
        self.buffers: tuple[Buffer[Any], ...] = ()

    def held_besides(self, buffer: Buffer[Any]) -> tuple[int, int]:
        """Return how many events the other buffers hold, and their size."""
        others = [other for other in self.buffers if other is not buffer]
        return sum([one.held for one in others]), sum([one.held_bytes for one in others])


class Buffer(Generic[W]):
    """
    Holds events without an outcome: they wait, or were taken to be sent.

    Python may run other code in the middle of a call: a signal handler or a finalizer, which may
    call anything. A lock does not keep that code out: it runs on the same thread. So no step
    may be visible half done:

    - `offer` and `drop_oldest` prepare everything first, and start over if the buffer has changed
      meanwhile. Then they apply the change in lines without a call or a loop, between which Python
      runs no other code. Such code may even wait, with the lock released.
    - `take`, `decide` and `take_back` loop. Meanwhile `is_changing` is set, and nothing may be
      offered or dropped.

    Each figure is stored once, and sums are computed on demand, so they always agree. If an
    exception such as Ctrl-C interrupts a step, the next step first counts everything again.

    Args:
        settings: Its limits.
        limits: The limits of one batch.
        room: The room that it shares with other buffers; None if it shares none.
        is_open: Tells whether an event's source may be sent to, before the event is taken. If not,
            its lane is shut until `open` or `refuse`. Called in the middle of a step.

    Attributes:
        taken: The taken items, by the index of their outcome.
        gone: Items with an outcome that is not yet reported.
        is_changing: Whether a step that loops is in progress.
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
        # Sources with shut lanes: none of their events are ready.
        self._shut: set[str] = set()
        if room is not None:
            room.buffers += (self,)
        self.taken: dict[int, W] = {}
        self.gone: deque[W] = deque()
        self.is_changing: bool = False
        self._settings = settings
        self._limits = limits
        # Up to these counts, there is room for any source.
        self._easy_events = settings.max_events - settings.max_events // _SHARED
        self._easy_bytes = settings.max_bytes - settings.max_bytes // _SHARED
        # The number of steps so far.
        self._changes = 0
        # Whether a step was interrupted; and the outcomes that it was about to give.
        self._is_torn = False
        self._deciding: Sequence[Outcome] = ()
        self._ending: tuple[W, Outcome, bool] | None = None
        self._lanes: dict[str, Lane[W]] = {}
        # The first of them is next; any of them can be removed.
        self._ready: OrderedDict[str, Lane[W]] = OrderedDict()
        self._ready_events = 0
        self._ready_bytes = 0
        # When the first ready event was published; not kept while a full batch is ready.
        self._oldest = 0.0
        self._hurry_until = -math.inf
        # Lanes that may be the longest, as a heap: their negative length, then a number of their
        # own, so that lanes themselves are never compared.
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
        """Add an item if there is room for it."""
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
            lane.waiting += arriving  # not `append`: after a call, a signal handler may run
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
        """Tell whether a source leaves its share of the available room to others."""
        left = self._settings.max_events - (events - own)
        left_bytes = self._settings.max_bytes - (size - own_bytes)
        return own <= left - left // _SHARED and own_bytes <= left_bytes - left_bytes // _SHARED

    def decide_at_once(self, outcome: Outcome) -> None:
        """Count an event that got its outcome without being held."""
        kind = type(outcome)
        self._published += 1
        self._decided_at_once[kind] += 1

    def drop_newest(self) -> None:
        """Count an offered event that is dropped."""
        self._published += 1
        self._dropped += 1

    def drop_oldest(self, source: str, outcome: Callable[[W], Outcome]) -> W | None:
        """
        Drop the oldest waiting item of a source, or else of a longest lane.

        Args:
            source: The source whose events are dropped first.
            outcome: Returns the outcome of the dropped item.

        Returns:
            The dropped item; None if nothing waits.
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
        Give the first waiting item of its source its outcome, without sending it.

        Returns:
            Whether it was still the first, without an outcome.
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
        """Remove the first item of its lane, unless the buffer has changed; see `offer`."""
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
        Return a lane with the most waiting events; None if no event waits.

        Looking at all 10,000 lanes for each event would take half a millisecond. While the buffer
        is full, lanes hardly grow: a source with waiting events makes room from its own. So the
        lanes are searched again only when a part of them has been dropped from.
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
        """Return when a batch is due; infinite if no event is ready."""
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
        """Make all events that were published until now due."""
        self._hurry_until = now

    def take(self, first: int) -> list[W]:
        """
        Take the next batch: as many events as fit, one of each source in turn.

        Args:
            first: The index of the outcome of the first of them; the others follow.
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
                # First add, then remove, so that the item is always somewhere.
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
        """Shut a source's lane: none of its events are taken."""
        self._change_lane(source, self._shut_lane)
        self._shut.add(source)

    def open(self, source: str) -> None:
        """Open a source's lane again."""
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
        """Return a source's oldest waiting item; None if none waits."""
        lane = self._lanes.get(source)
        return lane.waiting[0] if lane is not None and lane.waiting else None

    # ------------------------------------------------------------ outcomes

    def _note_oldest(self) -> None:
        """Find the oldest ready event, if it matters; few lanes are ready then."""
        if 0 < self._ready_events < self._limits.max_entries:
            lanes = tuple(self._ready.values())
            heads = [lane.waiting[0].since for lane in lanes if lane.waiting]
            self._oldest = min(heads, default=self._oldest)

    def decide(self, outcomes: Sequence[Outcome]) -> None:
        """Give taken items their outcomes, by index."""
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
        """Give out the prepared outcomes, and count each exactly once."""
        for outcome in self._deciding:
            item = self.taken[outcome.index]
            item.decided = outcome
        arrived = Counter(map(type, self._deciding))
        counts = {kind: count + arrived[kind] for kind, count in self._decided.items()}
        # Both, or neither.
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
        """Take everything that still waits, as `take` does, for `decide`."""
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
        Repair an interrupted step, and count everything again; do nothing if there was none.

        An event is where it was last put: a taken one does not wait, and one with an outcome is
        gone. Repairing is idempotent, because it may be interrupted too.
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
                # The difference to the sum is what ended and was not counted.
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
        """Return new lanes and taken items. The old ones stay until this is done."""
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

    # ------------------------------------------------------------ figures

    @property
    def ready_events(self) -> int:
        """How many events are ready to be taken, due or not."""
        return self._ready_events

    @property
    def room(self) -> int:
        """How many more events fit, by number."""
        others = 0 if self._room is None else self._room.held_besides(self)[0]
        return self._settings.max_events - self._held - others

    @property
    def held(self) -> int:
        """How many events have no outcome yet."""
        return self._held

    @property
    def held_bytes(self) -> int:
        """The total size of the events without an outcome."""
        return self._held_bytes

    def __iter__(self) -> Iterator[W]:
        """Yield the waiting items, source by source."""
        for lane in tuple(self._lanes.values()):
            yield from tuple(lane.waiting)

    def waiting_since(self) -> float:
        """Return when the oldest waiting event was published; infinite if none waits."""
        lanes = tuple(self._lanes.values())
        return min([lane.waiting[0].since for lane in lanes if lane.waiting], default=math.inf)

    def ledger(self) -> Ledger:
        """Return the counts of all events; `published` is the sum of the others."""
        published, dropped, decided, at_once = (
            self._published,
            self._dropped,
            self._decided,
            self._decided_at_once.copy(),
        )
        counts = OutcomeCounts(*[decided[kind] + at_once[kind] for kind in _KINDS])
        return Ledger(published, counts, dropped, published - dropped - counts.total)
