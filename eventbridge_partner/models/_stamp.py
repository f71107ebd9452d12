"""What lets a customer tell an event from its duplicate: an id in the detail."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

from eventbridge_partner.errors import Finding, InvalidEventError

_ALLOWED: Final = "allowed: a mapping without that member; stamp an event once, before it is stored"


def stamp(
    detail: Mapping[str, Any],
    *,
    id: str | None = None,  # noqa: A002  # the member's name
    key: str = "_meta",
    traceparent: str | None = None,
    schema: str | None = None,
) -> dict[str, Any]:
    """
    Return a detail with an id in it, by which customers tell duplicates.

    Delivery is at least once, and the service gives a duplicate an EventId of its own. Stamp a
    detail before the event is stored or first sent: the id stays the same however often it is
    sent.

    Args:
        detail: A mapping; it is left as it is.
        id: The event's id; a random UUID unless given.
        key: The member that the id goes into, beside what else is given here.
        traceparent: The span that the event belongs to, as W3C's header has it.
        schema: The name and version of the detail's shape, in your own words.

    Returns:
        The detail with one more member, which holds the id and what else was given.

    Raises:
        InvalidEventError: The detail has that member already, or is no mapping.
    """
    if not isinstance(detail, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        found = f"is of type {type(detail).__qualname__}"
        raise InvalidEventError([Finding("detail", found, "allowed: a mapping")])
    if key in detail:
        raise InvalidEventError([Finding(f"detail.{key}"[:64], "is there already", _ALLOWED)])
    meta = {"id": str(uuid.uuid4()) if id is None else id}
    if traceparent is not None:
        meta["traceparent"] = traceparent
    if schema is not None:
        meta["schema"] = schema
    return {**detail, key: meta}
