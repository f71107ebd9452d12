"""
The service's limits, each with its source.

"Model" is the `events` 2015-10-07 service model that botocore ships; a test compares the numbers,
so that drift shows. Limits that the model does not state come from AWS's documentation, which is
less reliable: they are settings of the client, and these are their defaults.
"""

from __future__ import annotations

import re
from typing import Final

MAX_ENTRIES: Final = 20
"""Entries in one request, at least 1 (model)."""

MAX_SOURCE_CHARACTERS: Final = 256
"""Characters of `Source`, at least 1 (model)."""

SOURCE_PATTERN: Final = re.compile(r"aws\.partner(/[\.\-_A-Za-z0-9]+){2,}")
"""The pattern that all of `Source` must match (model)."""

SOURCE_PREFIX_PATTERN: Final = re.compile(r"aws\.partner/[\.\-_A-Za-z0-9]+/[/\.\-_A-Za-z0-9]*")
"""The pattern that all of `NamePrefix` must match; it is no longer than a `Source` (model)."""

ACCOUNT_PATTERN: Final = re.compile(r"[0-9]{12}")
"""The pattern that all of `Account` must match (model, whose `\\d` means ASCII digits)."""

MAX_PAGE_ITEMS: Final = 100
"""Items of one page of a list, at least 1 (model: `Limit`)."""

MAX_TOKEN_CHARACTERS: Final = 2048
"""Characters of `NextToken`, at least 1 (model)."""

SOURCE_OPERATIONS_PER_SECOND: Final = 50.0
"""
Requests per second of all operations on sources together, for each account and Region.

From EventBridge's quota page of 2021 to 2023. A setting, since the model does not state it.
"""

MAX_DETAIL_TYPE_CHARACTERS: Final = 128
"""Characters of `DetailType` (PutPartnerEventsRequestEntry in the API reference)."""

MAX_RESOURCE_CHARACTERS: Final = 2048
"""Characters of one member of `Resources`; any number of members (model)."""

MAX_DETAIL_DEPTH: Final = 1000
"""Levels of objects and arrays in `Detail`, counting `Detail` itself (recorded for PutEvents)."""

MIN_INTEGER: Final = -(2**63)
"""The smallest integer in `Detail` (recorded for PutEvents)."""

MAX_INTEGER: Final = 2**63 - 1
"""The largest integer in `Detail` (recorded for PutEvents)."""

MAX_ENTRY_BYTES: Final = 1024 * 1024 - 1
"""
The largest size of a request's entries together, and so of one entry: strictly under 1 MiB.

In most Regions since 2026-01-29; the partner guide, which is older, says 256 KB.
"""

MAX_BATCH_BYTES: Final = 256 * 1024 - 1
"""The size up to which entries share a request: every Region accepts it."""

TIME_BYTES: Final = 14
"""The bytes that `Time` adds to an entry ("Calculating PutEvents event entry size")."""
