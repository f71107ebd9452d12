"""The local service's records of requests, and its answers."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

import attrs

from eventbridge_partner.testing._faults import SOURCE_OPERATIONS, Entry, Fault


@attrs.frozen
class AcceptedEntry:
    """
    An entry that the service accepted.

    Attributes:
        event_id: The id that the service gave it.
        source: As received.
        detail_type: As received.
        detail: As received: JSON text.
        resources: As received.
        time: Epoch seconds, as received; None if the entry had no time.
        request_index: The index of the request that carried it, from 0.
        entry_index: Its place in that request, from 0.
        dropped_for: The accounts that never see it, because its source was PENDING there; the
            service's answer does not show that. Always empty if any source is accepted.
        received_at: When the service accepted it: epoch seconds by the service's own `clock`.
            Not compared.
    """

    event_id: str
    source: str
    detail_type: str
    detail: str = attrs.field(repr=False)
    resources: tuple[str, ...] = attrs.field(repr=lambda resources: f"<{len(resources)}>")
    time: float | None
    request_index: int
    entry_index: int
    dropped_for: tuple[str, ...] = ()
    received_at: float = attrs.field(default=0.0, eq=False)

    @property
    def parsed_detail(self) -> dict[str, Any]:
        """The detail as a new dict; `detail` has the numbers as they were written."""
        try:
            parsed: dict[str, Any] = json.loads(self.detail)
        except RecursionError:
            # The service accepts 1,000 levels, more than json's recursion may have left.
            import orjson

            parsed = orjson.loads(self.detail)
        return parsed


@attrs.frozen
class EntryResult:
    """
    The service's result for one entry: an id, or an error.

    Attributes:
        event_id: None if it failed.
        error_code: None if it was accepted.
        error_message: None if it was accepted.
        dropped_for: As in `AcceptedEntry`. It is not part of the service's answer.
    """

    event_id: str | None = None
    error_code: str | None = None
    error_message: str | None = attrs.field(default=None, repr=False)
    dropped_for: tuple[str, ...] = ()


@attrs.frozen
class RequestRecord:
    """
    A request that reached the service.

    Attributes:
        index: Its number, from 0, in the order in which the service handled them.
        operation: From `X-Amz-Target`; empty if there was none.
        entries: As received; empty if the body could not be read.
        headers: As received, names in lower case, without those that hold credentials.
        results: One for each entry; empty if the whole request was refused.
        status: The status of the answer; None if the connection closed without one.
        error_code: Why the whole request was refused; None if it was not.
        faults: The faults that had an effect.
        answer_delivered: Whether the client got an answer that states the results. False if it
            was lost, cut, garbled or miscounted, or if the client had left.
        unknown_members: Names in the body that the service does not know and ignores.
        time: When the service handled it: epoch seconds by the service's own `clock`.
        members: The members of a source operation's request; empty for PutPartnerEvents, and if
            the body could not be read.
        body_size: Bytes of the body. Not compared.
        first_event: The number of its first event, from 1, as the page and the control calls
            count events. Not compared.
    """

    index: int
    operation: str
    entries: tuple[Entry, ...] = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    results: tuple[EntryResult, ...]
    status: int | None
    error_code: str | None
    faults: tuple[Fault, ...]
    answer_delivered: bool
    unknown_members: tuple[str, ...]
    time: float
    members: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    body_size: int = attrs.field(default=0, eq=False)
    first_event: int = attrs.field(default=0, eq=False)

    @property
    def entry_count(self) -> int:
        """The number of its entries."""
        return len(self.entries)

    @property
    def event_count(self) -> int:
        """How many events it counts as: its entries; 1 if none can be read; 0 for a list."""
        return len(self.entries) or int(self.operation not in SOURCE_OPERATIONS)


@attrs.frozen
class Answer:
    """
    An answer, and how it is delivered to the client.

    Attributes:
        request_index: The index of the request.
        status: The HTTP status; 0 if the connection closes without an answer.
        headers: All but `Content-Length` and `Connection`; names in lower case.
        body: The whole body, even if only a part is sent.
        delay: Seconds to wait before sending.
        is_silent: Whether the connection closes without an answer.
        cut_after: How many bytes of the body to send before the connection closes; None for all.
    """

    request_index: int
    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=lambda body: f"<{len(body)} bytes>")
    delay: float = 0.0
    is_silent: bool = False
    cut_after: int | None = None


def new_ids(count: int) -> list[str]:
    """Return random UUIDs, with one call for randomness, which is the slow part."""
    digits = secrets.token_hex(16 * count)
    return [
        f"{digits[i : i + 8]}-{digits[i + 8 : i + 12]}-4{digits[i + 13 : i + 16]}"
        f"-a{digits[i + 17 : i + 20]}-{digits[i + 20 : i + 32]}"
        for i in range(0, 32 * count, 32)
    ]
