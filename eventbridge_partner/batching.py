"""Packing events into batches, by count and by bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

import attrs

from eventbridge_partner.limits import MAX_BATCH_BYTES, MAX_ENTRIES, MAX_ENTRY_BYTES
from eventbridge_partner.models import PartnerEvent, entry_size


@attrs.frozen(kw_only=True)
class BatchLimits:
    """
    How much goes into one request.

    Attributes:
        max_entries: Entries in a request, 1 to 20.
        max_batch_bytes: Up to what size several entries share a request. The default is what
            every Region accepts.
        max_entry_bytes: The size of one entry, which then travels alone if it is larger than
            `max_batch_bytes`. The default is strictly under 1 MiB.
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
    """Something to be packed: it knows its size in bytes."""

    size: int


S = TypeVar("S", bound=Sized)


class Packing(list[S]):
    """A batch being packed."""

    def __init__(self, limits: BatchLimits) -> None:
        super().__init__()
        self._limits = limits
        self._bytes = 0

    def take(self, item: S) -> bool:
        """Pack an item if there is room for it. The first always has room."""
        size = item.size
        if self and (
            len(self) >= self._limits.max_entries
            or self._bytes + size > self._limits.max_batch_bytes
        ):
            return False
        self._bytes += size
        self.append(item)
        return True

    @property
    def is_full(self) -> bool:
        """Whether nothing more can be packed."""
        return (
            len(self) >= self._limits.max_entries or self._bytes >= self._limits.max_batch_bytes
        )


@attrs.frozen
class _SizedEvent:
    event: PartnerEvent
    size: int


def plan_batches(
    events: Iterable[PartnerEvent], limits: BatchLimits | None = None
) -> Iterator[tuple[PartnerEvent, ...]]:
    """
    Split events into the batches in which a client would first send them.

    Args:
        events: In the order of sending. None may be larger than `limits.max_entry_bytes`.
        limits: How much goes into one batch.

    Yields:
        Batches, in the order of the events.
    """
    limits = limits or BatchLimits()
    packing: Packing[_SizedEvent] = Packing(limits)
    for event in events:
        item = _SizedEvent(event, entry_size(event))
        if not packing.take(item):
            yield tuple(packed.event for packed in packing)
            packing = Packing(limits)
            packing.take(item)
    if packing:
        yield tuple(packed.event for packed in packing)
