"""What the local service remembers, within bounds."""

from __future__ import annotations

from collections import deque
from typing import Final

import attrs

from eventbridge_partner.testing._decision import Decision
from eventbridge_partner.testing._faults import BlankResults, GarbleAnswer, WrongLength
from eventbridge_partner.testing._received import Received
from eventbridge_partner.testing._records import AcceptedEntry, Answer, RequestRecord

_MISLEADING: Final = (BlankResults, GarbleAnswer, WrongLength)


class Journal:
    """
    The requests that were dealt with, and the entries that were accepted.

    Not thread-safe: the service holds its lock around it.

    Args:
        keep: How many of the newest requests and accepted entries; None for all.

    Attributes:
        accepted: In order of acceptance.
        requests: In the order in which the service dealt with them.
        accepted_count: Also of those that are not remembered any more.
        request_count: Also of those that are not remembered any more.
    """

    def __init__(self, keep: int | None) -> None:
        self.accepted: deque[AcceptedEntry] = deque(maxlen=keep)
        self.requests: deque[RequestRecord] = deque(maxlen=keep)
        self.accepted_count = 0
        self.request_count = 0

    def forget(self) -> None:
        """Forget everything and count from 0."""
        self.accepted.clear()
        self.requests.clear()
        self.accepted_count = self.request_count = 0

    def remember(self, received: Received, decision: Decision, answer: Answer, time: float) -> None:
        """Put a request on record, with what became of it."""
        entries = received.reading.entries
        for place, result in enumerate(decision.results):
            if result.event_id is None:
                continue
            entry = entries[place]
            self.accepted_count += 1
            self.accepted.append(
                AcceptedEntry(
                    event_id=result.event_id,
                    source=entry["Source"],
                    detail_type=entry["DetailType"],
                    detail=entry["Detail"],
                    resources=tuple(entry.get("Resources") or ()),
                    time=entry.get("Time"),
                    request_index=self.request_count,
                    entry_index=place,
                    dropped_for=result.dropped_for,
                    received_at=time,
                )
            )
        misleads = any(isinstance(fault, _MISLEADING) for fault in decision.effective)
        record = RequestRecord(
            index=self.request_count,
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
        )
        self.requests.append(record)
        self.request_count += 1

    def note_undelivered(self, answer: Answer) -> None:
        """Put on record that the client did not get this answer."""
        place = answer.request_index - self.request_count + len(self.requests)
        # Else it was forgotten meanwhile.
        if 0 <= place < len(self.requests) and self.requests[place].index == answer.request_index:
            self.requests[place] = attrs.evolve(self.requests[place], answer_delivered=False)
