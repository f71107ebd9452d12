"""Strategies for property tests: sources, details, events and parts of requests."""

from __future__ import annotations

import datetime
import string

from hypothesis import strategies as st

from eventbridge_partner import PartnerEvent, SourceName

SOURCE = "aws.partner/example.com/acme/tickets"

segments = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=20)
source_names = st.builds(
    SourceName, segments, segments, namespace=st.lists(segments, max_size=4).map(tuple)
)
sources = source_names.map(str)

# Everything that UTF-8 can express: quotes, escapes, NUL, line separators, emoji.
texts = st.text(st.characters(codec="utf-8"), max_size=30)
integers = st.integers(-(2**63), 2**63 - 1) | st.sampled_from(
    [0, -1, 2**53, 2**53 + 1, -(2**53), 2**63 - 1, -(2**63), 10**18]
)
floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | integers | floats | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=15,
)


def _nested(value: object, depth: int) -> dict[str, object]:
    for level in range(depth):
        value = [value] if level % 3 else {"in": value}
    return {"deep": value}


details = st.dictionaries(texts, values, max_size=5) | st.builds(
    _nested, scalars, st.integers(0, 400)
)
detail_types = st.text(st.characters(codec="utf-8"), min_size=1, max_size=128)
resources = st.lists(texts | st.just("arn:aws:iam::1:role/é"), max_size=3)
offsets = st.integers(-1439, 1439).map(
    lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes))
)
times = st.datetimes(
    datetime.datetime(1902, 1, 1), datetime.datetime(2200, 1, 1), timezones=offsets
)
events = st.builds(
    PartnerEvent,
    sources,
    detail_types,
    details,
    resources=resources,
    time=st.none() | times,
)

header_texts = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)
regions = st.sampled_from(
    ["us-east-1", "eu-south-2", "ap-southeast-4", "us-gov-west-1", "cn-north-1"]
)
