"""Packing events into batches, by count and by bytes."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol, TypeVar

import attrs

from eventbridge_partner.limits import MAX_BATCH_BYTES, MAX_ENTRIES, MAX_ENTRY_BYTES
from eventbridge_partner.models import PartnerEvent, entry_size


@attrs.frozen(kw_only=True)
class BatchLimits:
    """
    How much goes into one request.

    Attributes:
        max_entries: The most entries in a request, 1 to 20.
        max_batch_bytes: The largest total size of entries that share a request. Every Region
            accepts the default.
        max_entry_bytes: The largest size of one entry. An entry larger than `max_batch_bytes` is
            sent in a request of its own. The default is strictly under 1 MiB.
    """

    max_entries: int = MAX_ENTRIES
    max_batch_bytes: int = MAX_BATCH_BYTES
    max_entry_bytes: int = MAX_ENTRY_BYTES

    def __attrs_post_init__(self) -> None:
        if not 1 <= self.max_entries <= MAX_ENTRIES:
            raise ValueError(f"max_entries is {self.max_entries}; allowed: 1 to {MAX_ENTRIES}")
        for name in ("max_batch_bytes", "max_entry_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed: 1 or more")


class Sized(Protocol):
    """An item that can be packed."""

    @property
    def size(self) -> int:
        """Its size in bytes."""
        ...


S = TypeVar("S", bound=Sized)


class Packing(list[S]):
    """A batch being packed."""

    def __init__(self, limits: BatchLimits) -> None:
        super().__init__()
        self._max_entries = limits.max_entries
        self._max_bytes = limits.max_batch_bytes
        self._bytes = 0

    def take_from(self, waiting: deque[S]) -> None:
        """Take items from the front of a queue while there is room; the first one always fits."""
        packed_bytes = self._bytes
        while waiting and len(self) < self._max_entries:
            size = waiting[0].size
            if self and packed_bytes + size > self._max_bytes:
                break
            packed_bytes += size
            self.append(waiting.popleft())
        self._bytes = packed_bytes


class _SizedEvent(NamedTuple):
    event: PartnerEvent
    size: int


def plan_batches(
    events: Iterable[PartnerEvent], limits: BatchLimits | None = None
) -> Iterator[tuple[PartnerEvent, ...]]:
    """
    Split events into the batches of a client's first attempts.

    Args:
        events: The events, in order of sending; none larger than `limits.max_entry_bytes`.
        limits: How much goes into one batch.

    Yields:
        Batches, in the order of the events.
    """
    limits = limits or BatchLimits()
    waiting: deque[_SizedEvent] = deque()
    arriving = iter(events)
    while True:
        for event in itertools.islice(arriving, limits.max_entries - len(waiting)):
            waiting.append(_SizedEvent(event, entry_size(event)))
        if not waiting:
            return
        packing: Packing[_SizedEvent] = Packing(limits)
        packing.take_from(waiting)
        yield tuple(packed.event for packed in packing)
