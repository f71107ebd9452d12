"""An event is checked as a whole when it is made, so every event can be sent."""

from __future__ import annotations

import copy
import datetime
import json
import pickle
from typing import Any

import attrs
import botocore.session
import botocore.validate
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbridge_partner import Finding, InvalidEventError, PartnerEvent, SourceName, entry_size
from eventbridge_partner.cli._entry import read_entry
from eventbridge_partner.models._source_name import ALLOWED_SOURCE
from tests.strategies import SOURCE, events

MODEL: Any = botocore.session.Session().get_service_model("events")
UTC = datetime.UTC
NOON = datetime.datetime(2030, 1, 2, 12, tzinfo=UTC)
TEXT = "allowed: text that UTF-8 can encode"
TYPE = "allowed: 1 to 128 characters"
TIME = "allowed: an aware datetime, epoch seconds, or ISO 8601 text with an offset"
LIST = "allowed: an iterable of str, one for each resource"


def refusal(**fields):
    given_fields = {"source": SOURCE, "detail_type": "t", "detail": {}, **fields}
    with pytest.raises(InvalidEventError) as caught:
        PartnerEvent(**given_fields)
    return [str(finding) for finding in caught.value.findings]


def entry_refusal(**members):
    entry = {"Source": SOURCE, "DetailType": "t", "Detail": "{}", **members}
    with pytest.raises(InvalidEventError) as caught:
        PartnerEvent.from_entry({key: value for key, value in entry.items() if value != "left out"})
    return [str(finding) for finding in caught.value.findings]


def test_what_is_kept():
    """Fields are plain values: source as str, resources as a tuple, time as it was."""
    event = PartnerEvent(
        SourceName.parse(SOURCE), "t", {"a": [1]}, resources=iter(["r", "s"]), time=NOON
    )
    assert event.source == SOURCE
    assert type(event.source) is str
    assert event.detail_type == "t"
    assert event.detail == '{"a":[1]}'
    assert event.resources == ("r", "s")
    assert event.time == NOON


@given(events)
def test_events_are_values(event):
    """Events compare, hash and copy by value; a pickled event keeps its size too."""
    for twin in (copy.deepcopy(event), pickle.loads(pickle.dumps(event))):
        assert twin == event
        assert hash(twin) == hash(event)
        assert entry_size(twin) == entry_size(event)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.detail = "{}"


@given(events)
def test_size_is_by_the_documented_rule(event):
    """The size is 14 for a time, and the UTF-8 bytes of all text of the event."""
    texts = [event.source, event.detail_type, event.detail, *event.resources]
    expected = sum(len(text.encode()) for text in texts) + (14 if event.time is not None else 0)
    assert entry_size(event) == expected


@given(events)
def test_repr_shows_no_payload(event):
    """The repr names the event, and gives the detail's length in its place."""
    canary = PartnerEvent(
        event.source, "t", {"k": "s3cr3t-canary"}, resources=["s3cr3t-canary"], time=event.time
    )
    assert "s3cr3t-canary" not in repr(canary)
    assert event.source in repr(canary)
    assert "<21 characters>" in repr(canary)


@pytest.mark.parametrize(
    ("detail_type", "expected"),
    [
        ("", f"detail_type has 0 characters; {TYPE}"),
        ("x" * 129, "detail_type has 129 characters; the limit is 128"),
        ("é" * 129, "detail_type has 129 characters; the limit is 128"),
        (None, f"detail_type is None; {TYPE}"),
        (5, f"detail_type is of type int; {TYPE}"),
        (b"t", f"detail_type is of type bytes; {TYPE}"),
        ("a\ud800", f"detail_type has a lone surrogate; {TEXT}"),
    ],
    ids=ascii,
)
def test_detail_type(detail_type, expected):
    """A detail type that is not 1 to 128 characters of text is refused."""
    assert refusal(detail_type=detail_type) == [expected]


@pytest.mark.parametrize("detail_type", ["x", "x" * 128, "😀" * 128, " ", "\x00"], ids=ascii)
def test_detail_type_within_the_limit(detail_type):
    """The limit of a detail type counts characters, not bytes."""
    event = PartnerEvent(SOURCE, detail_type, {})
    assert entry_size(event) == len(SOURCE) + len(detail_type.encode()) + 2


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ("arn", f"resources is of type str; {LIST}"),
        (b"arn", f"resources is of type bytes; {LIST}"),
        (None, f"resources is None; {LIST}"),
        ({"a": 1}, f"resources is of type dict; {LIST}"),
        (5, f"resources is of type int; {LIST}"),
        (["r", None], "resources[1] is None; allowed: str"),
        ([b"r"], "resources[0] is of type bytes; allowed: str"),
        (["x" * 2049], "resources[0] has 2049 characters; the limit is 2048"),
        (["x\udfff"], f"resources[0] has a lone surrogate; {TEXT}"),
    ],
    ids=ascii,
)
def test_resources(resources, expected):
    """Resources that are not an iterable of str, each up to 2,048 characters, are refused."""
    assert refusal(resources=resources) == [expected]


def test_resources_within_the_limit():
    """An event has any number of resources, from any iterable, as a tuple."""
    assert len(PartnerEvent(SOURCE, "t", {}, resources=["é" * 2048] * 500).resources) == 500
    assert PartnerEvent(SOURCE, "t", {}, resources=[]).resources == ()
    assert PartnerEvent(SOURCE, "t", {}, resources={"r"}).resources == ("r",)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (datetime.datetime(2030, 1, 1), f"time has no time zone; {TIME}"),
        (datetime.date(2030, 1, 1), f"time is of type date; {TIME}"),
        (True, f"time is a bool; {TIME}"),
        ("2030-01-01T00:00:00", f"time has no time zone; {TIME}"),
        ("tomorrow", f"time is not ISO 8601 text; {TIME}"),
        (1767225600_000, f"time is outside the range of a datetime; {TIME}"),
    ],
    ids=str,
)
def test_time(time, expected):
    """A time without a time zone, or a value that cannot be read as a time, is refused."""
    assert refusal(time=time) == [expected]


def test_everything_that_is_wrong_at_once():
    """One error lists the findings of five bad fields, in the order of the fields."""
    found = refusal(
        source="x",
        detail_type="",
        detail={"a": float("nan"), "b": 2**70},
        resources=[1, "x" * 3000],
        time=datetime.datetime(2030, 1, 1),
    )
    assert [finding.split(" ")[0] for finding in found] == [
        "source",
        "detail_type",
        "detail.a",
        "detail.b",
        "resources[0]",
        "resources[1]",
        "time",
    ]


# ---------------------------------------------------------------- from an entry's members


@given(events)
def test_entry_round_trip(event):
    """The members of an entry, as boto3 takes them, make the same event."""
    entry = {"Source": event.source, "DetailType": event.detail_type, "Detail": event.detail}
    entry |= {"Resources": list(event.resources)} if event.resources else {}
    entry |= {"Time": event.time} if event.time else {}
    assert PartnerEvent.from_entry(entry) == event


@pytest.mark.parametrize(
    "time",
    [
        NOON,
        NOON.timestamp(),
        int(NOON.timestamp()),
        "2030-01-02T12:00:00Z",
        "2030-01-02T13:00:00+01:00",
        "20300102T120000+0000",
    ],
    ids=str,
)
def test_forms_of_time(time):
    """A time is a datetime, epoch seconds or ISO 8601 text, as for boto3, but never a naive one."""
    entry = {"Source": SOURCE, "DetailType": "t", "Detail": "{}", "Time": time}
    assert PartnerEvent.from_entry(entry).time == NOON
    assert PartnerEvent(SOURCE, "t", {}, time=time).time == NOON


MEMBERS = "allowed: Source, DetailType, Detail, Resources, Time"


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"Source": "left out"}, ["source is missing; needed: the member Source"]),
        ({"DetailType": "left out"}, ["detail_type is missing; needed: the member DetailType"]),
        ({"Detail": "left out"}, ["detail is missing; needed: the member Detail"]),
        (
            {"EventBusName": "b"},
            [f"EventBusName is not a member of an entry; {MEMBERS}"],
        ),
        ({"DetailType": None}, [f"detail_type is None; {TYPE}"]),
        ({"Resources": None}, [f"resources is None; {LIST}"]),
        ({"Resources": "arn"}, [f"resources is of type str; {LIST}"]),
        ({"Time": None}, [f"time is None; {TIME}"]),
        ({"Time": True}, [f"time is a bool; {TIME}"]),
        ({"Time": "yesterday"}, [f"time is not ISO 8601 text; {TIME}"]),
        ({"Time": 1e300}, [f"time is outside the range of a datetime; {TIME}"]),
        ({"Time": float("nan")}, [f"time is outside the range of a datetime; {TIME}"]),
        ({"Time": "2030-01-02T12:00:00"}, [f"time has no time zone; {TIME}"]),
        ({"Time": "2030-01-02"}, [f"time has no time zone; {TIME}"]),
    ],
    ids=str,
)  # fmt: skip
def test_bad_entries(members, expected):
    """A member that is missing, unknown, null or wrong is named."""
    assert entry_refusal(**members) == expected


@pytest.mark.parametrize("entry", [None, 5, "x", ["Source"], [("Source", "x")]], ids=str)
def test_entries_that_are_no_mapping(entry):
    """An entry that is not a mapping is refused like any other bad entry."""
    with pytest.raises(InvalidEventError, match=r"entry is (None|of type)"):
        PartnerEvent.from_entry(entry)


MISNAMED = {
    "what a rule sees": (
        {"source": SOURCE, "detail-type": "t", "detail": {}},
        ["entry has source, detail-type and detail; write Source, DetailType and Detail"],
    ),
    "names of Python, and bad values": (
        {"source": "x", "detail_type": "t", "detail": "{}", "resources": [], "time": "never"},
        [
            f"entry has source, detail_type, detail, resources and time; write {MEMBERS[9:-6]} and Time",
            f"source is 'x'; {ALLOWED_SOURCE}",
            f"time is not ISO 8601 text; {TIME}",
        ],
    ),
    "names of other JSON, and another member": (
        {"Source": SOURCE, "detailType": "t", "Detail": "{}", "id": "1"},
        ["entry has detailType; write DetailType", f"id is not a member of an entry; {MEMBERS}"],
    ),
    "twice": (
        {"Source": SOURCE, "source": "x", "DetailType": "t", "Detail": "{}"},
        [f"source is not a member of an entry; {MEMBERS}"],
    ),
}


@pytest.mark.parametrize(("entry", "expected"), MISNAMED.values(), ids=MISNAMED)
def test_members_with_other_names(entry, expected):
    """One finding says which members were meant; no finding says that those are missing."""
    with pytest.raises(InvalidEventError) as caught:
        PartnerEvent.from_entry(entry)
    assert [str(finding) for finding in caught.value.findings] == expected
    with pytest.raises(InvalidEventError) as caught:
        read_entry(json.dumps(entry).encode())
    assert [str(finding) for finding in caught.value.findings] == expected


@given(events)
def test_entry_of_an_event(event):
    """An event survives the round trip through its entry, and boto3 accepts the entry."""
    entry = event.to_entry()
    assert PartnerEvent.from_entry(entry) == event
    shape = MODEL.operation_model("PutPartnerEvents").input_shape
    found = botocore.validate.ParamValidator().validate({"Entries": [entry]}, shape)
    assert not found.has_errors(), found.generate_report()


def test_bad_members_and_bad_values_together():
    """One error holds an unknown member, a missing one and four bad values."""
    found = entry_refusal(
        Extra=1, Source="x", DetailType="left out", Detail="[]", Time="never", Resources=[None]
    )
    fields = sorted(finding.split(" ")[0] for finding in found)
    assert fields == ["Extra", "detail", "detail_type", "resources[0]", "source", "time"]


def test_findings_name_their_event():
    """A finding and its message can name which of several events they are about."""
    with pytest.raises(InvalidEventError) as caught:
        PartnerEvent(SOURCE, "x" * 140, {})
    error = caught.value.at(7)
    assert str(error) == "detail_type of event 7 has 140 characters; the limit is 128"
    assert error.findings == (
        Finding("detail_type", "has 140 characters", "the limit is 128", index=7),
    )


@given(
    st.dictionaries(
        st.sampled_from(["Source", "DetailType", "Detail", "Resources", "Time", "Other"])
        | st.text(),
        st.none()
        | st.booleans()
        | st.integers(-(10**15), 10**15)
        | st.floats()
        | st.text()
        | st.binary()
        | st.lists(st.text() | st.none())
        | st.dictionaries(st.text() | st.integers(), st.floats()),
    )
)
def test_any_mapping_is_an_event_or_a_refusal(entry):
    """Any mapping becomes an event or is refused with findings."""
    try:
        event = PartnerEvent.from_entry(entry)
    except InvalidEventError as error:
        assert error.findings
    else:
        assert isinstance(event, PartnerEvent)


@pytest.mark.parametrize("time", [10**400, float("nan"), float("inf"), 1e300])
def test_a_time_that_no_calendar_has_is_refused(time):
    """A number outside the range of a datetime is a finding, not an OverflowError."""
    with pytest.raises(InvalidEventError, match="time"):
        PartnerEvent.from_entry(
            {"Source": "aws.partner/a/b", "DetailType": "x", "Detail": "{}", "Time": time}
        )


def test_an_event_of_a_subclass():
    """A subclass, even one with attributes of its own, is filled, frozen and sent like an event."""

    class Ticket(PartnerEvent):
        label = "support"

    class Small(PartnerEvent):
        __slots__ = ()

    for kind in (PartnerEvent, Ticket, Small):
        event: Any = kind(SOURCE, "t", {"n": 1}, resources=["r"], time=0)
        plain = PartnerEvent(SOURCE, "t", '{"n":1}', resources=["r"], time=0)
        assert event.to_entry() == plain.to_entry()
        assert entry_size(event) == entry_size(plain)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            event.source = "other"
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            del event.source
        assert type(event) is kind
