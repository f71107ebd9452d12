"""What the local service remembers of the requests that reached it, and what it answers."""

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
        event_id: The id that it was given.
        source: As received.
        detail_type: As received.
        detail: As received: JSON text.
        resources: As received.
        time: Epoch seconds as received; None where the entry had no time.
        request_index: Which request carried it, from 0.
        entry_index: Its place in that request, from 0.
        dropped_for: The accounts that will never see it, because its source was PENDING there;
            the service's answer does not tell. Always empty where any source is accepted.
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
        """The detail as a new dict; see `detail` for the numbers as they were written."""
        try:
            parsed: dict[str, Any] = json.loads(self.detail)
        except RecursionError:
            # The service takes 1,000 levels; json recurses, and may have fewer left.
            import orjson

            parsed = orjson.loads(self.detail)
        return parsed


@attrs.frozen
class EntryResult:
    """
    What the service said of one entry: an id, or an error.

    Attributes:
        event_id: None if it failed.
        error_code: None if it was accepted.
        error_message: None if it was accepted.
        dropped_for: As in `AcceptedEntry`. The service does not say it.
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
        index: Its number, from 0, in the order in which the service dealt with them.
        operation: From `X-Amz-Target`; empty if there was none.
        entries: As received; empty if the body could not be read.
        headers: As received, names in lower case, without what holds credentials.
        results: What the service decided on each entry; empty if it refused the request whole.
        status: The status of the answer; None if the connection was closed before there was one.
        error_code: Why the request was refused whole; None if it was not.
        faults: Those that had an effect.
        answer_delivered: Whether the client got an answer that says what became of the request.
            False if it was lost, cut, garbled, miscounted, or came when the client had left.
        unknown_members: Names in the body that the service does not know and passes over.
        time: When the service dealt with it: epoch seconds by the service's own `clock`.
        members: What a source operation was asked with; empty for PutPartnerEvents, and if the
            body could not be read.
        body_size: Bytes of the body. Not compared.
        first_event: The number of the first of its events, from 1, as the page and the calls over
            HTTP count them. Not compared.
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
        """How many entries it carried."""
        return len(self.entries)

    @property
    def event_count(self) -> int:
        """How many events it counts for: its entries; one if none can be read; of a list, none."""
        return len(self.entries) or int(self.operation not in SOURCE_OPERATIONS)


@attrs.frozen
class Answer:
    """
    What the service answers, and how it gets to the client.

    Attributes:
        request_index: The record that it belongs to.
        status: The HTTP status; 0 if the connection is closed before there is one.
        headers: All but `Content-Length` and `Connection`; names in lower case.
        body: The whole body, even if not all of it is sent.
        delay: Seconds to wait before anything is sent.
        is_silent: The connection closes and nothing is sent.
        cut_after: How many bytes of the body are sent before the connection closes; None for all.
    """

    request_index: int
    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=lambda body: f"<{len(body)} bytes>")
    delay: float = 0.0
    is_silent: bool = False
    cut_after: int | None = None


def new_ids(count: int) -> list[str]:
    """Return random UUIDs; asks the system for randomness only once, which is the slow part."""
    digits = secrets.token_hex(16 * count)
    return [
        f"{digits[i : i + 8]}-{digits[i + 8 : i + 12]}-4{digits[i + 13 : i + 16]}"
        f"-a{digits[i + 17 : i + 20]}-{digits[i + 20 : i + 32]}"
        for i in range(0, 32 * count, 32)
    ]
