"""The events of a file as the customer's rules see them: for `sample` and `match`."""

from __future__ import annotations

import argparse
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import attrs

from eventbridge_partner import Finding, PartnerEvent
from eventbridge_partner.cli import _types
from eventbridge_partner.cli._input import EntryReader, InputEntry, open_input, unreadable
from eventbridge_partner.testing import AcceptedEntry, customer_event

_ACCOUNT: Final = "123456789012"
_REGION: Final = "us-east-1"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe the event bus."""
    parser.add_argument(
        "--account",
        type=_types.account,
        default=_ACCOUNT,
        metavar="ID",
        help=f"the customer's account, 12 digits (default: {_ACCOUNT})",
    )
    parser.add_argument(
        "--region", default=_REGION, help=f"the Region of the event bus (default: {_REGION})"
    )


@attrs.frozen
class GivenEvent:
    """
    An event of the file.

    Attributes:
        line: The line on which it starts, from 1.
        envelope: The event as rules see it; None if it cannot be sent.
        findings: What is wrong with it.
    """

    line: int
    envelope: Mapping[str, Any] | None = attrs.field(default=None, repr=False)
    findings: tuple[Finding, ...] = ()


def read(arguments: argparse.Namespace) -> Iterator[GivenEvent]:
    """
    Yield the events of the argument `FILE`, which holds entries, or events as rules see them.

    Raises:
        UsageError: It cannot be read.
    """
    with open_input(arguments.file) as stream:
        entries = iter(EntryReader(stream))
        while True:
            try:
                entry = next(entries, None)
            except OSError as error:
                raise unreadable(arguments.file, error) from error
            if entry is None:
                return
            yield _given(entry, arguments.account, arguments.region)


def _given(entry: InputEntry, account: str, region: str) -> GivenEvent:
    if entry.event is not None:
        return GivenEvent(entry.line, _envelope(entry.event, account, region))
    envelope = _as_envelope(entry.text)
    return GivenEvent(entry.line, envelope, () if envelope else entry.findings)


def _envelope(event: PartnerEvent, account: str, region: str) -> dict[str, Any]:
    now = time.time()
    accepted = AcceptedEntry(
        event_id=str(uuid.uuid4()),
        source=event.source,
        detail_type=event.detail_type,
        detail=event.detail,
        resources=event.resources,
        time=None if event.time is None else event.time.timestamp(),
        request_index=0,
        entry_index=0,
        received_at=now,
    )
    return customer_event(accepted, account=account, region=region)


def _as_envelope(text: bytes) -> Mapping[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or "detail-type" not in found:
        return None
    return cast("dict[str, Any]", found)


def text_of(envelope: Mapping[str, Any]) -> str:
    """Return an envelope as one line of JSON."""
    return json.dumps(envelope, ensure_ascii=False)
