"""An id in the detail, by which a customer recognizes duplicates."""

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
    Return a detail with an id added, by which customers recognize duplicates.

    Delivery is at least once, and the service gives each duplicate an EventId of its own. Stamp
    the detail before the event is stored or first sent, so that the id stays the same however
    often the event is sent.

    Args:
        detail: A mapping; it is not changed.
        id: The event's id; a random UUID unless given.
        key: The name of the added member.
        traceparent: The span that the event belongs to, in the format of W3C's header.
        schema: The name and version of the detail's schema, in your own words.

    Returns:
        A copy of the detail with one more member, which holds the id and the other values given.

    Raises:
        InvalidEventError: The detail already has that member, or is not a mapping.
    """
    if not isinstance(detail, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        found = f"is of type {type(detail).__qualname__}"
        raise InvalidEventError([Finding("detail", found, "allowed: a mapping")])
    if key in detail:
        raise InvalidEventError([Finding(f"detail.{key}"[:64], "exists already", _ALLOWED)])
    meta = {"id": str(uuid.uuid4()) if id is None else id}
    if traceparent is not None:
        meta["traceparent"] = traceparent
    if schema is not None:
        meta["schema"] = schema
    return {**detail, key: meta}
