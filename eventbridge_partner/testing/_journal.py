"""The local service's memory of requests and entries, within limits."""

from __future__ import annotations

import secrets
from collections import deque
from typing import Final

import attrs

from eventbridge_partner.testing._decision import Decision
from eventbridge_partner.testing._faults import BlankResults, GarbleAnswer, WrongLength
from eventbridge_partner.testing._received import Received
from eventbridge_partner.testing._records import AcceptedEntry, Answer, RequestRecord

_MISLEADING: Final = (BlankResults, GarbleAnswer, WrongLength)


_OBJECTS_OF_AN_ENTRY: Final = 1024
"""The approximate overhead of an entry in Python, in bytes."""


@attrs.define
class Counters:
    """Counts since the start, or since `forget`, remembered or not."""

    requests: int = 0
    refused: int = 0
    entries: int = 0
    accepted: int = 0
    dropped: int = 0


@attrs.frozen
class Recent:
    """Recent requests that have events; `epoch` changes when the memory is cleared."""

    epoch: str
    requests: tuple[RequestRecord, ...]
    counters: Counters


class Journal:
    """
    The handled requests and the accepted entries.

    Not thread-safe: the service holds its lock around it.

    Args:
        keep: How many of the newest requests and accepted entries to keep; None for all.
        keep_bytes: The approximate memory that they may take, in bytes; None for no limit.

    Attributes:
        accepted: The entries, in order of acceptance.
        requests: The requests, in the order in which the service handled them.
        counters: Counts that include forgotten requests and entries.
        last_event: The number of the newest event; `forget` does not reset it.
        epoch: Changes when everything is forgotten.
    """

    def __init__(self, keep: int | None, keep_bytes: int | None) -> None:
        self._keep = keep
        self._keep_bytes = keep_bytes
        self._bytes = 0
        self.accepted: deque[AcceptedEntry] = deque(maxlen=keep)
        self.requests: deque[RequestRecord] = deque()
        self.counters = Counters()
        self.last_event = 0
        self.epoch = secrets.token_hex(4)

    def forget(self) -> None:
        """Forget everything and count from 0."""
        self.accepted.clear()
        self.requests.clear()
        self._bytes = 0
        self.counters = Counters()
        self.epoch = secrets.token_hex(4)

    def after(self, event: int) -> list[RequestRecord]:
        """Return the remembered requests that have an event after this one."""
        found: list[RequestRecord] = []
        for record in reversed(self.requests):
            if record.first_event + record.event_count - 1 <= event:
                break
            if record.event_count:
                found.append(record)
        found.reverse()
        return found

    def remember(self, received: Received, decision: Decision, answer: Answer, time: float) -> None:
        """Record a request and its results."""
        counters = self.counters
        entries = received.reading.entries
        index = counters.requests
        accepted = [
            AcceptedEntry(
                event_id=result.event_id,
                source=entry["Source"],
                detail_type=entry["DetailType"],
                detail=entry["Detail"],
                resources=tuple(entry.get("Resources") or ()),
                time=entry.get("Time"),
                request_index=index,
                entry_index=place,
                dropped_for=result.dropped_for,
                received_at=time,
            )
            for place, (result, entry) in enumerate(zip(decision.results, entries, strict=False))
            if result.event_id is not None
        ]
        misleads = any(isinstance(fault, _MISLEADING) for fault in decision.effective)
        record = RequestRecord(
            index=index,
            operation=received.operation,
            entries=entries,
            headers=received.headers,
            results=decision.results,
            status=answer.status or None,
            error_code=decision.refusal.code if decision.refusal else None,
            faults=tuple(decision.effective),
            answer_delivered=not (misleads or answer.is_silent or answer.cut_after is not None),
            unknown_members=received.reading.unknown_members,
            time=time,
            members=received.reading.members,
            body_size=received.body_size,
            first_event=self.last_event + 1,
        )
        self.accepted.extend(accepted)
        self.requests.append(record)
        self.last_event += record.event_count
        counters.requests += 1
        counters.entries += len(entries)
        counters.refused += decision.refusal is not None
        counters.accepted += len(accepted)
        counters.dropped += sum(bool(entry.dropped_for) for entry in accepted)
        self._bytes += _memory_of(record)
        self._keep_within_bounds()

    def _keep_within_bounds(self) -> None:
        while self._keep is not None and len(self.requests) > self._keep:
            self._bytes -= _memory_of(self.requests.popleft())
        if self._keep_bytes is None:
            return
        while self._bytes > self._keep_bytes and len(self.requests) > 1:
            oldest = self.requests.popleft()
            self._bytes -= _memory_of(oldest)
            while self.accepted and self.accepted[0].request_index <= oldest.index:
                self.accepted.popleft()

    def record_of(self, answer: Answer) -> RequestRecord | None:
        """Return the record of the request that got this answer; None if it was forgotten."""
        place = self._place_of(answer)
        return None if place is None else self.requests[place]

    def note_undelivered(self, answer: Answer) -> None:
        """Record that the client did not get this answer."""
        place = self._place_of(answer)
        if place is not None:
            self.requests[place] = attrs.evolve(self.requests[place], answer_delivered=False)

    def _place_of(self, answer: Answer) -> int | None:
        place = answer.request_index - self.counters.requests + len(self.requests)
        if 0 <= place < len(self.requests) and self.requests[place].index == answer.request_index:
            return place
        return None


def _memory_of(record: RequestRecord) -> int:
    return record.body_size + _OBJECTS_OF_AN_ENTRY * (1 + len(record.entries))
