"""A publisher's buffer: room, turns, due times and the ledger, in examples and as a machine."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from eventbridge_partner.delivery.batching import BatchLimits
from eventbridge_partner.models import (
    Accepted,
    Exhausted,
    Outcome,
    PartnerEvent,
    Rejected,
    Unconfirmed,
    entry_size,
)
from eventbridge_partner.publisher._buffer import Buffer, BufferSettings, Room, checked_on_full

SMALL = BatchLimits(max_entries=4, max_batch_bytes=400)


@attrs.define(eq=False)
class Item:
    """An event in the buffer."""

    event: PartnerEvent
    since: float
    lane: Any = None
    decided: Outcome | None = None
    size: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.size = entry_size(self.event)


def item(source: str = "a", since: float = 0.0, *, length: int = 2) -> Item:
    """Return an item of a source, whose detail has this many characters."""
    text = '{"t":"' + "x" * (length - 8) + '"}' if length > 8 else "{}"
    return Item(PartnerEvent(f"aws.partner/x/{source}", "t", text), since)


def buffer(limits: BatchLimits = SMALL, **settings: Any) -> Buffer[Item]:
    settings = {"linger": 1.0, "max_events": 100, "max_bytes": 10**6, "max_taken": 50} | settings
    return Buffer(BufferSettings(**settings), limits)


def names(batch: list[Item]) -> str:
    return "".join(one.event.source[-1] for one in batch)


def dropped(one: Item) -> Outcome:
    return Exhausted("BufferFull", "", one.event, 0, 0)


def drop_oldest(waiting: Buffer[Item], source: str) -> Item | None:
    return waiting.drop_oldest(source, dropped)


def take(waiting: Buffer[Item]) -> list[Item]:
    return waiting.take(max(waiting.taken, default=-1) + 1)


def accept(waiting: Buffer[Item], batch: list[Item]) -> None:
    """Have events that were taken accepted."""
    indexes = {id(one): index for index, one in waiting.taken.items()}
    waiting.decide([Accepted("id", one.event, indexes[id(one)], 1) for one in batch])


def test_a_batch_is_due_when_the_first_event_has_lingered() -> None:
    """A newer event does not delay the batch."""
    waiting = buffer()
    assert waiting.due_at() == math.inf
    waiting.offer(item(since=5.0))
    waiting.offer(item("b", since=5.9))
    assert waiting.due_at() == 6.0


def test_a_full_batch_is_due_at_once() -> None:
    """A batch is full by count or by bytes."""
    by_count, by_bytes = buffer(), buffer()
    for _ in range(4):
        by_count.offer(item(since=5.0))
    by_bytes.offer(item(since=5.0, length=450))
    assert by_count.due_at() == by_bytes.due_at() == -math.inf


def test_the_rest_lingers_from_its_own_arrival() -> None:
    """Each event lingers from its own arrival, not from that of the events that left."""
    waiting = buffer()
    for since in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0):
        waiting.offer(item(since=since))
    assert [one.since for one in take(waiting)] == [1.0, 2.0, 3.0, 4.0]
    assert waiting.due_at() == 6.0


def test_hurry_applies_to_events_already_there() -> None:
    """Events that are added later linger again."""
    waiting = buffer()
    waiting.offer(item(since=5.0))
    waiting.hurry(5.0)
    assert waiting.due_at() == -math.inf
    take(waiting)
    waiting.offer(item(since=5.5))
    assert waiting.due_at() == 6.5


def test_sources_take_turns_in_a_batch() -> None:
    """A batch takes one event of each source in turn, so a backlog delays only its own source."""
    waiting = buffer()
    for source in "aaaaaabc":
        waiting.offer(item(source))
    assert names(take(waiting)) == "abca"
    assert names(take(waiting)) == "aaaa"


def test_turns_go_on_from_batch_to_batch() -> None:
    """A source that was not in the last batch comes first in the next one."""
    waiting = buffer()
    for source in "aabbccddeeff":
        waiting.offer(item(source))
    assert [names(take(waiting)) for _ in range(3)] == ["abcd", "efab", "cdef"]


def test_events_of_a_source_keep_their_order() -> None:
    """First come, first sent."""
    waiting = buffer()
    for number in range(12):
        waiting.offer(item("ab"[number % 2], since=float(number)))
    taken = [one for _ in range(3) for one in take(waiting)]
    for source in "ab":
        since = [one.since for one in taken if one.event.source.endswith(source)]
        assert since == sorted(since)


def test_a_batch_ends_at_its_bytes() -> None:
    """A batch ends at its byte limit, but a single event always goes, whatever its size."""
    waiting = buffer()
    for length in (900, 150, 150, 150):
        waiting.offer(item(length=length))
    assert [len(take(waiting)) for _ in range(3)] == [1, 2, 1]


def test_a_source_has_a_limited_number_of_events_under_way() -> None:
    """Other sources pass it; it continues once its first events have their outcomes."""
    waiting = buffer(max_taken=2)
    for source in "aaaabb":
        waiting.offer(item(source))
    first = take(waiting)
    assert names(first) == "abab"
    assert waiting.due_at() == math.inf
    assert take(waiting) == []

    accept(waiting, first[:1])

    assert waiting.due_at() == 1.0
    assert names(take(waiting)) == "a"


def test_a_source_that_is_held_up_takes_new_events() -> None:
    """New events of a source wait behind its earlier ones."""
    waiting = buffer(max_taken=1)
    waiting.offer(item("a", since=1.0))
    first = take(waiting)
    waiting.offer(item("a", since=2.0))
    assert waiting.due_at() == math.inf
    accept(waiting, first)
    assert waiting.due_at() == 3.0


@pytest.mark.parametrize(
    ("room", "had"), [(1, "1"), (5, "5"), (10, "9 1"), (11, "10 1"), (100, "90 9 1")]
)
def test_a_source_leaves_a_tenth_to_others(room: int, had: str) -> None:
    """From ten places on, a source takes at most nine tenths of what others leave."""
    waiting = buffer(max_events=room)
    got = [sum(waiting.offer(item(source)) for _ in range(room)) for source in "abcd"]
    assert " ".join(str(count) for count in got if count) == had


def test_bytes_are_bounded_too() -> None:
    """A source leaves a tenth of the bytes to others, too."""
    size = entry_size(item(length=100).event)
    waiting = buffer(max_bytes=20 * size)
    assert sum(waiting.offer(item("a", length=100)) for _ in range(20)) == 18
    assert waiting.offer(item("b", length=100))
    assert waiting.held_bytes == 19 * size


def test_one_event_always_has_room() -> None:
    """An event larger than the buffer would otherwise wait for ever."""
    waiting = buffer(max_bytes=1)
    assert waiting.offer(item(length=500))
    assert not waiting.offer(item("b"))


def test_what_is_under_way_takes_room() -> None:
    """An event takes memory until it has its outcome."""
    waiting = buffer(max_events=4)
    for source in "abcd":
        waiting.offer(item(source))
    batch = take(waiting)
    assert not waiting.offer(item("e"))
    accept(waiting, batch[:1])
    assert waiting.offer(item("e"))


def test_the_oldest_of_its_own_source_is_dropped_first() -> None:
    """The source that floods loses its own events."""
    waiting = buffer()
    for number, source in enumerate("bbaa"):
        waiting.offer(item(source, since=float(number)))
    dropped = drop_oldest(waiting, "aws.partner/x/a")
    assert dropped is not None and dropped.since == 2.0


def test_otherwise_the_oldest_of_the_longest_lane_is_dropped() -> None:
    """If the source has no waiting event, the longest lane loses its oldest."""
    waiting = buffer()
    for number, source in enumerate("abbb"):
        waiting.offer(item(source, since=float(number)))
    dropped = drop_oldest(waiting, "aws.partner/x/c")
    assert dropped is not None and dropped.since == 1.0
    assert names(take(waiting)) == "abb"


def test_the_longest_of_many_lanes_is_found_again() -> None:
    """The longest lane is found while it shrinks, others are dropped and new ones are added."""
    waiting = buffer(max_events=10**6)
    for source in range(40):
        for since in range(5 if source == 7 else 1 + (source == 9)):
            waiting.offer(item(str(source), since))
    dropped = [drop_oldest(waiting, "aws.partner/x/none") for _ in range(5)]
    sources = [one.event.source[-1] for one in dropped if one is not None]
    assert sources in (list("77779"), list("77797"))
    assert [one.since for one in dropped if one is not None and one.event.source[-1] == "7"] == [
        0,
        1,
        2,
        3,
    ]
    take(waiting)
    left = len([*waiting])
    assert all(drop_oldest(waiting, "aws.partner/x/none") for _ in range(left))
    assert drop_oldest(waiting, "aws.partner/x/none") is None
    assert [*waiting] == []


def test_nothing_under_way_is_dropped() -> None:
    """An event in flight is not dropped, because it may have arrived."""
    waiting = buffer()
    waiting.offer(item())
    take(waiting)
    assert drop_oldest(waiting, "aws.partner/x/a") is None


def rejected(one: Item) -> Outcome:
    return Rejected("SourcePending", "", one.event, 0, 0)


def test_a_lane_that_is_shut_waits_and_others_go_on() -> None:
    """Events of a shut lane keep their order and are taken once the lane opens."""
    open_ones = {"aws.partner/x/b"}
    waiting = Buffer[Item](
        BufferSettings(linger=1.0, max_events=100, max_bytes=10**6, max_taken=50),
        SMALL,
        is_open=lambda event: event.source in open_ones,
    )
    for source in "aabba":
        assert waiting.offer(item(source))
    assert names(take(waiting)) == "bb"
    assert waiting.due_at() == math.inf
    assert waiting.offer(item("a"))
    assert waiting.ready_events == 0
    open_ones.add("aws.partner/x/a")
    waiting.open("aws.partner/x/a")
    assert names(take(waiting)) == "aaaa"


def test_an_event_refused_while_it_waits_is_counted_once() -> None:
    """Only a source's first event can be refused; it gets an outcome and frees its room."""
    waiting = buffer()
    first, second = item("a"), item("a")
    assert waiting.offer(first)
    assert waiting.offer(second)
    waiting.shut("aws.partner/x/a")
    assert waiting.first_of("aws.partner/x/a") is first
    assert not waiting.refuse(second, rejected(second))
    assert waiting.refuse(first, rejected(first))
    assert not waiting.refuse(first, rejected(first))
    ledger = waiting.ledger()
    assert (ledger.published, ledger.counts.rejected, ledger.held) == (2, 1, 1)
    assert waiting.held_bytes == second.size
    assert [one.decided for one in waiting.gone] == [rejected(first)]


def test_buffers_share_a_room() -> None:
    """Each buffer holds nine tenths of what the others leave, whatever its sources."""
    room = Room()
    settings = BufferSettings(linger=1.0, max_events=100, max_bytes=10**6, max_taken=50)
    one, other = (Buffer[Item](settings, SMALL, room=room) for _ in range(2))
    assert sum(one.offer(item(f"{number}")) for number in range(200)) == 90
    assert sum(other.offer(item(f"{number}")) for number in range(200)) == 9
    assert one.room == other.room == 1
    accept(one, take(one))
    assert other.room == 5


def test_invalid_settings() -> None:
    """Each message names what was found and what is allowed."""
    with pytest.raises(ValueError, match="linger is -1; allowed: 0 or more"):
        buffer(linger=-1)
    with pytest.raises(ValueError, match="max_buffered_events is 0; allowed: 1"):
        buffer(max_events=0)
    with pytest.raises(ValueError, match="max_buffered_bytes is 0; allowed: 1"):
        buffer(max_bytes=0)
    with pytest.raises(ValueError, match="on_full is 'drop'; allowed: block, raise"):
        checked_on_full("drop")


class Machine(RuleBasedStateMachine):
    """Calls in any order keep the ledger and the bounds, and lose no event."""

    def __init__(self) -> None:
        super().__init__()
        self.settings = BufferSettings(linger=1.0, max_events=12, max_bytes=600, max_taken=3)
        self.buffer: Buffer[Item] = Buffer(self.settings, SMALL)
        self.now = 0.0
        self.published = self.dropped = 0
        self.waiting: list[Item] = []
        self.taken: list[Item] = []
        self.decided: dict[type[Outcome], int] = {}

    @rule(source=st.sampled_from("abc"), length=st.integers(2, 120), then=st.floats(0, 2))
    def offer(self, source: str, length: int, then: float) -> None:
        self.now += then
        one = item(source, self.now, length=length)
        if self.buffer.offer(one):
            self.published += 1
            self.waiting.append(one)
        else:
            assert self.waiting or self.taken

    @rule()
    def drop_newest(self) -> None:
        self.buffer.drop_newest()
        self.published += 1
        self.dropped += 1

    @rule(source=st.sampled_from("abc"))
    def drop_oldest(self, source: str) -> None:
        one = drop_oldest(self.buffer, f"aws.partner/x/{source}")
        assert (one is None) == (not self.waiting)
        if one is not None:
            peers = [other for other in self.waiting if other.event.source == one.event.source]
            assert peers[0] is one
            self.waiting.remove(one)
            self.dropped += 1

    @rule()
    def take(self) -> None:
        due = self.buffer.due_at()
        batch = take(self.buffer)
        assert bool(batch) == (due < math.inf)
        assert len(batch) <= SMALL.max_entries
        size = sum(entry_size(one.event) for one in batch)
        assert len(batch) == 1 or size <= SMALL.max_batch_bytes
        for one in batch:
            peers = [other for other in self.waiting if other.event.source == one.event.source]
            assert peers[0] is one
            self.waiting.remove(one)
            self.taken.append(one)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def decide(self, data: st.DataObject) -> None:
        some = data.draw(st.lists(st.sampled_from(self.taken), unique_by=id, min_size=1))
        indexes = {id(one): index for index, one in self.buffer.taken.items()}
        makers: dict[type[Outcome], Callable[[PartnerEvent, int], Outcome]] = {
            Accepted: lambda event, index: Accepted("i", event, index, 1),
            Rejected: lambda event, index: Rejected("c", "m", event, index, 1),
            Exhausted: lambda event, index: Exhausted("c", "m", event, index, 1),
            Unconfirmed: lambda event, index: Unconfirmed("r", event, index, 1),
        }
        kinds = [data.draw(st.sampled_from(list(makers))) for _ in some]
        self.buffer.decide(
            [
                makers[kind](one.event, indexes[id(one)])
                for kind, one in zip(kinds, some, strict=True)
            ]
        )
        for kind, one in zip(kinds, some, strict=True):
            self.taken.remove(one)
            self.decided[kind] = self.decided.get(kind, 0) + 1

    @rule()
    def take_back(self) -> None:
        back = self.buffer.take_back(max(self.buffer.taken, default=-1) + 1)
        assert {id(one) for one in back} == {id(one) for one in self.waiting}
        self.taken += self.waiting
        self.waiting = []

    @rule()
    def hurry(self) -> None:
        self.buffer.hurry(self.now)

    @invariant()
    def the_ledger_balances(self) -> None:
        ledger = self.buffer.ledger()
        assert ledger.published == self.published
        assert ledger.dropped == self.dropped
        assert ledger.held == len(self.waiting) + len(self.taken)
        assert ledger.published == ledger.counts.total + ledger.dropped + ledger.held
        assert ledger.counts.accepted == self.decided.get(Accepted, 0)
        assert ledger.counts.unconfirmed == self.decided.get(Unconfirmed, 0)

    @invariant()
    def the_bounds_hold(self) -> None:
        assert self.buffer.held <= self.settings.max_events
        assert self.buffer.held_bytes == sum(
            entry_size(one.event) for one in self.waiting + self.taken
        )
        assert self.buffer.held_bytes <= max(self.settings.max_bytes, 200)
        assert len(self.waiting) == len([*self.buffer])
        assert {*map(id, self.buffer.taken.values())} == {*map(id, self.taken)}

    @invariant()
    def nothing_lingers_too_long(self) -> None:
        """An event that may be taken is due once the oldest of them has lingered, or at once."""
        under_way: dict[str, int] = {}
        for one in self.taken:
            under_way[one.event.source] = under_way.get(one.event.source, 0) + 1
        ready = [
            one.since
            for one in self.waiting
            if under_way.get(one.event.source, 0) < self.settings.max_taken
        ]
        assert self.buffer.ready_events == len(ready)
        assert self.buffer.due_at() in (-math.inf, min(ready, default=math.inf) + 1.0)
        assert self.buffer.waiting_since() == min(
            (one.since for one in self.waiting), default=math.inf
        )


TestMachine = Machine.TestCase
