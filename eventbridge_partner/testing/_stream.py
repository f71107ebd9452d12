"""A stream of what happens at the local service, as server-sent events."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

import attrs

from eventbridge_partner.testing import _event_documents
from eventbridge_partner.testing._control import faults_document, sources_document
from eventbridge_partner.testing._journal import Counters
from eventbridge_partner.testing._protocol import LocalService

BATCH_SECONDS: Final = 0.05
"""Seconds within which events are sent together."""

ALIVE_SECONDS: Final = 15.0
"""Seconds of silence after which a comment is sent, to show that the stream is alive."""

STATE_SECONDS: Final = 0.5
"""Seconds between two looks at sources and faults, which have no counter."""

MOST_EVENTS: Final = 500
"""The most events in one message."""


def messages(service: LocalService, last_id: str, closing: threading.Event) -> Iterator[bytes]:
    """
    Yield messages until the server closes; empty ones when there is nothing to send.

    `hello` comes first, with the epoch: a reader with another epoch must forget its events.
    `events` has the newest events and the counters, `state` the current sources and faults.

    Args:
        service: The local service.
        last_id: The `Last-Event-ID` of a reader that reconnects; empty for a new one.
        closing: Set when the server closes.
    """
    epoch, after = _place(last_id)
    told_at = looked_at = 0.0
    state: dict[str, Any] = {}
    counters: Counters | None = None
    is_new = True
    while not closing.is_set():
        recent = service.recent(after)
        if recent.epoch != epoch:
            after = 0
            recent = service.recent(after)
            epoch = recent.epoch
            is_new = True
        now = time.monotonic()
        if is_new:
            is_new = False
            counters = None
            yield _message("hello", {"epoch": epoch, "region": service.region, "after": after})
            told_at = now
        if now - looked_at >= STATE_SECONDS:
            looked_at = now
            found = {"sources": sources_document(service), **faults_document(service)}
            if found != state:
                state = found
                yield _message("state", state)
                told_at = now
        events = [
            _event_documents.short(record, number, place)
            for record in recent.requests[:MOST_EVENTS]
            for number, place in _event_documents.numbers(record, after)
        ][:MOST_EVENTS]
        if events or recent.counters != counters:
            counters = recent.counters
            after = events[-1]["id"] if events else after
            document = {"events": events, "counters": attrs.asdict(counters)}
            yield _message("events", document, f"{epoch}-{after}")
            told_at = now
        elif now - told_at >= ALIVE_SECONDS:
            yield b": still here\n\n"
            told_at = now
        else:
            yield b""
        if len(events) < MOST_EVENTS:
            closing.wait(BATCH_SECONDS)


def _place(last_id: str) -> tuple[str, int]:
    epoch, _, after = last_id.partition("-")
    if after.isascii() and after.isdigit() and len(after) <= 15:
        return epoch, int(after)
    return "", 0


def _message(kind: str, document: dict[str, Any], identity: str = "") -> bytes:
    # JSON without line ends, so each message has one line of data.
    lines = [f"event: {kind}", f"data: {json.dumps(document)}"]
    if identity:
        lines.append(f"id: {identity}")
    return ("\n".join(lines) + "\n\n").encode()
