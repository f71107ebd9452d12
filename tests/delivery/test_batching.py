"""Batches hold what fits, in order, and no event is lost between them."""

from __future__ import annotations

import itertools
from collections import deque

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbridge_partner import BatchLimits, PartnerEvent, entry_size, plan_batches
from eventbridge_partner.delivery.batching import Packing
from tests.strategies import SOURCE

SMALLEST = entry_size(PartnerEvent(SOURCE, "t", "{}"))


def event_of(size):
    return PartnerEvent(SOURCE, "t", "{" + " " * (size - SMALLEST) + "}")


@given(
    st.lists(st.integers(SMALLEST, SMALLEST + 300), max_size=70).map(lambda sizes: list(map(event_of, sizes))),
    st.builds(
        BatchLimits,
        max_entries=st.integers(1, 20),
        max_batch_bytes=st.integers(1, 1500),
    ),
)  # fmt: skip
def test_plan(events, limits):
    """Batches hold all events in order, break no limit, and leave no room for the next event."""
    batches = list(plan_batches(iter(events), limits))
    assert list(itertools.chain(*batches)) == events
    assert all(batches)
    for batch in batches:
        assert len(batch) <= limits.max_entries
        assert len(batch) == 1 or sum(map(entry_size, batch)) <= limits.max_batch_bytes
    for batch, following in itertools.pairwise(batches):
        size = sum(map(entry_size, batch)) + entry_size(following[0])
        assert len(batch) == limits.max_entries or size > limits.max_batch_bytes


def lengths(sizes):
    return [len(batch) for batch in plan_batches(map(event_of, sizes))]


def test_defaults():
    """A batch has at most 20 entries and less than 256 KiB; a larger entry travels alone."""
    assert lengths([100] * 41) == [20, 20, 1]
    assert lengths([131_071, 131_072]) == [2]
    assert lengths([131_072, 131_072]) == [1, 1]
    assert lengths([100, 1_000_000, 100, 100]) == [1, 1, 2]
    assert lengths([262_144, 100]) == [1, 1]
    assert lengths([]) == []


def test_planning_is_lazy():
    """A batch is ready once the event after it has been read."""
    taken = []

    def events():
        for number in itertools.count():
            taken.append(number)
            yield event_of(100)

    batches = plan_batches(events())
    assert len(next(batches)) == 20
    assert len(taken) <= 21


@attrs.frozen
class Item:
    """Something to be packed, with a size."""

    size: int


@given(st.lists(st.integers(1, 60)), st.lists(st.integers(1, 60)))
def test_packing_from_two_queues(first, second):
    """A batch is filled from one queue and then from another, as if they were one."""
    limits = BatchLimits(max_entries=5, max_batch_bytes=100)
    queues = deque(map(Item, first)), deque(map(Item, second))
    packing = Packing(limits)
    packing.take_from(queues[0])
    packing.take_from(queues[1])
    assert len(packing) <= 5
    assert len(packing) == 1 or sum(item.size for item in packing) <= 100
    for sizes, queue in zip((first, second), queues, strict=True):
        taken = len(sizes) - len(queue)
        assert [item.size for item in queue] == sizes[taken:]
    assert len(packing) + len(queues[0]) + len(queues[1]) == len(first) + len(second)
    assert packing or not (first or second)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_entries": 0}, "max_entries is 0; allowed: 1 to 20"),
        ({"max_entries": 21}, "max_entries is 21; allowed: 1 to 20"),
        ({"max_batch_bytes": 0}, "max_batch_bytes is 0; allowed: 1 or more"),
        ({"max_entry_bytes": -1}, "max_entry_bytes is -1; allowed: 1 or more"),
    ],
    ids=str,
)
def test_invalid_limits(limits, message):
    """A limit that no request could keep, or the service does not allow, is refused by name."""
    with pytest.raises(ValueError, match=message):
        BatchLimits(**limits)
