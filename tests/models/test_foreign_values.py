"""Values of classes that are not built in are sent as what they hold, or refused."""

from __future__ import annotations

import collections
import copy
import datetime
import decimal
import enum
import json
import pickle
import signal
import threading
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from eventbridge_partner import (
    InvalidEventError,
    PartnerEvent,
    PartnerEventsClient,
    SourceName,
    entry_size,
)
from eventbridge_partner.handoff import handoff
from eventbridge_partner.models._event import _known_names
from eventbridge_partner.testing import FakeEventBridge
from tests.strategies import SOURCE

UTC = datetime.UTC
NOON = datetime.datetime(2030, 1, 2, 12, tzinfo=UTC)
SLOWLY = [2**60, "9" * 20]


def refusal(detail: Any = "{}", **fields: Any) -> list[str]:
    with pytest.raises(InvalidEventError) as caught:
        PartnerEvent(**({"source": SOURCE, "detail_type": "t", "detail": detail} | fields))
    return [str(finding) for finding in caught.value.findings]


# ---------------------------------------------------------------- text of other classes


class Kind(str, enum.Enum):
    LONG = "ticket.created.with.a.rather.long.name"
    SOURCE = SOURCE
    ACCOUNT = "123456789012"
    REGION = "eu-central-1"


class Tone(enum.StrEnum):
    LONG = "ticket.created.with.a.rather.long.name"
    SOURCE = SOURCE
    ACCOUNT = "123456789012"
    REGION = "eu-central-1"


class Shown(str):
    __slots__ = ()

    def __str__(self):
        return "shown" * 50

    def __format__(self, spec):
        return "formatted" * 50

    def __repr__(self):
        return "represented" * 50

    def encode(self, *args):
        return b"encoded" * 50

    def isascii(self):
        return True

    def __len__(self):
        return 1


class CaseBlind(str):
    __slots__ = ()

    def __eq__(self, other):
        return self.lower() == other.lower()

    def __hash__(self):
        return hash(self.lower())


NAMES = {
    "str enum": (Kind.SOURCE, Kind.LONG),
    "StrEnum": (Tone.SOURCE, Tone.LONG),
    "subclass that shows something else": (Shown(SOURCE), Shown("ticket.créé")),
}


@pytest.mark.parametrize(("source", "name"), NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("first", ["text", "subclass"])
def test_names_are_the_text_that_they_hold(source, name, first):
    """A str and a subclass with the same text make equal events, whichever comes first."""
    plain, other = (str.__str__(source), str.__str__(name)), (source, name)
    _known_names.pop(plain, None)
    pairs = [plain, other] if first == "text" else [other, plain]
    one, two = (PartnerEvent(source, name, "{}", resources=[name]) for source, name in pairs)
    assert one == two
    assert hash(one) == hash(two)
    assert entry_size(one) == entry_size(two)
    assert entry_size(one) == sum(len(text.encode()) for text in (*plain, "{}", plain[1]))
    for event in (one, two):
        assert {type(text) for text in (event.source, event.detail_type, *event.resources)} == {str}


def test_equal_is_not_the_same():
    """A str that only compares equal to a name seen before is sent as its own text."""
    PartnerEvent(SOURCE, "ticket.created", "{}")
    assert PartnerEvent(SOURCE, CaseBlind("Ticket.Created"), "{}").detail_type == "Ticket.Created"
    PartnerEvent(SOURCE, CaseBlind("Ticket.Closed"), "{}")
    assert PartnerEvent(SOURCE, "ticket.closed", "{}").detail_type == "ticket.closed"


def test_text_is_bounded_by_what_it_holds():
    """Limits apply to the text that is held, not to what a subclass shows."""
    assert refusal(detail_type=Shown("x" * 129)) == [
        "detail_type has 129 characters; the limit is 128"
    ]
    assert refusal(resources=[Shown("x" * 2049)]) == [
        "resources[0] has 2049 characters; the limit is 2048"
    ]


def test_source_names_of_enums():
    """Segments and whole names are read as the text that they hold."""
    name = SourceName(Kind.REGION, Shown("x"), namespace=Tone.REGION)
    assert str(name) == "aws.partner/eu-central-1/eu-central-1/x"
    assert name == SourceName("eu-central-1", "x", namespace="eu-central-1")
    assert hash(name) == hash(SourceName("eu-central-1", "x", namespace="eu-central-1"))
    assert SourceName.parse(Kind.SOURCE) == SourceName.parse(SOURCE)

    class Named(SourceName):
        pass

    assert PartnerEvent(Named.parse(SOURCE), "t", "{}").source == SOURCE


@pytest.mark.parametrize("members", [Kind, Tone])
def test_settings_may_be_enums(members):
    """A Region, source or account that is an enum is used as the text that it holds."""
    service = FakeEventBridge(region="eu-central-1")
    with PartnerEventsClient(
        members.REGION, transport=service.transport(), credentials=service.credentials
    ) as client:
        arn = client.sources.create(members.SOURCE, account=members.ACCOUNT).arn
        assert arn.startswith("arn:aws:events:eu-central-1:")
        client.put_events([PartnerEvent(members.SOURCE, members.LONG, "{}")])
        assert client.region == "eu-central-1"
    assert service.accepted[0].source == SOURCE
    text = handoff(members.SOURCE, account=members.ACCOUNT, region=members.REGION)
    assert text == handoff(SOURCE, account="123456789012", region="eu-central-1")


def test_members_of_an_entry_may_be_enums():
    """An entry's keys and values may be enums, and are read as the text that they hold."""
    member = enum.Enum("member", {"S": "Source", "T": "DetailType", "D": "Detail"}, type=str)
    entry = {member.S: SOURCE, member.T: "t", member.D: Kind.LONG}
    assert refusal_of_entry(entry) == refusal(Kind.LONG.value)
    assert PartnerEvent.from_entry(entry | {member.D: "{}"}) == PartnerEvent(SOURCE, "t", "{}")


def refusal_of_entry(entry: Any) -> list[str]:
    with pytest.raises(InvalidEventError) as caught:
        PartnerEvent.from_entry(entry)
    return [str(finding) for finding in caught.value.findings]


# ---------------------------------------------------------------- numbers and others


class Liar(int):
    def __int__(self):
        return 0

    def __index__(self):
        return 0

    def __str__(self):
        return "0"

    __repr__ = __str__

    def __le__(self, other):
        return True

    __ge__ = __lt__ = __gt__ = __le__


class LiarFloat(float):
    def __float__(self):
        return 0.0

    def __repr__(self):
        return "0.0"


class Dec(decimal.Decimal):
    def __str__(self):
        return "shown"

    def is_finite(self):
        return True


class Uid(uuid.UUID):
    def __str__(self):
        return "shown"


class Many(dict):
    """Like the dicts of web frameworks: several values for a key; `[]` gives the first."""

    def __getitem__(self, key):
        return super().__getitem__(key)[0]

    def items(self):
        raise RuntimeError


HELD = {
    "int": (Liar(7), 7),
    "float": (LiarFloat(1.5), 1.5),
    "Decimal": (Dec("1.10"), "1.10"),
    "UUID": (Uid(int=1), str(uuid.UUID(int=1))),
    "str": (Shown("text"), "text"),
    "dict whose items raise": (Many(a=[1]), {"a": [1]}),
    "defaultdict": (collections.defaultdict(list, a=[1]), {"a": [1]}),
    "Counter": (collections.Counter("aab"), {"a": 2, "b": 1}),
    "ChainMap": (collections.ChainMap({"a": 1}, {"b": 2}), {"a": 1, "b": 2}),
    "list": (type("L", (list,), {})([1]), [1]),
}


@pytest.mark.parametrize(("value", "expected"), HELD.values(), ids=HELD)
def test_subclasses_are_what_they_hold(value, expected):
    """A subclass is sent as the value that it holds, whatever its methods show."""
    for detail in ({"v": value}, {"v": [value], "n": None}, {"v": value, "s": SLOWLY}):
        found = json.loads(PartnerEvent(SOURCE, "t", detail).detail)["v"]
        assert found in (expected, [expected])


def test_numbers_of_subclasses_are_bounded():
    """A subclass whose comparisons lie does not get around the limits."""
    assert "is an integer of 65 bits" in refusal({"n": Liar(2**64)})[0]
    assert "is NaN" in refusal({"n": LiarFloat("nan")})[0]
    assert "is infinite" in refusal({"n": LiarFloat("inf"), "x": None})[0]
    assert "is a Decimal that is not finite" in refusal({"n": Dec("NaN")})[0]


def test_the_order_of_an_ordered_dict_is_kept():
    """An OrderedDict keeps its order, even where it differs from the order of insertion."""
    ordered = collections.OrderedDict(a=1, b=2)
    ordered.move_to_end("a")
    for detail in (ordered, {"in": ordered}, {"in": ordered, "s": SLOWLY}):
        assert '{"b":2,"a":1}' in PartnerEvent(SOURCE, "t", detail).detail


# ---------------------------------------------------------------- methods that fail

FAILURES = [ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, OSError]


def broken(base: type, method: str, error: type[BaseException], *args: Any, **kwargs: Any) -> Any:
    def fails(*_: Any, **__: Any) -> Any:
        raise error("s3cr3t-canary")

    return type("Broken", (base,), {method: fails})(*args, **kwargs)


class Zone(datetime.tzinfo):
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def dst(self, _: Any) -> Any:
        return None

    def tzname(self, _: Any) -> Any:
        return None

    def utcoffset(self, _: Any) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Lost(Mapping[str, Any]):
    """A mapping with a key whose value it does not give."""

    def __init__(self, error: Exception, **members: Any) -> None:
        self.error = error
        self.members = members

    def __getitem__(self, key: str) -> Any:
        if key == "lost":
            raise self.error
        return self.members[key]

    def __iter__(self) -> Iterator[str]:
        yield from self.members
        yield "lost"

    def __len__(self) -> int:
        return len(self.members) + 1


def broken_values(error: type[Exception]) -> dict[str, Any]:
    return {
        "date": broken(datetime.date, "isoformat", error, 2030, 1, 2),
        "time": broken(datetime.time, "isoformat", error, 3),
        "datetime": broken(datetime.datetime, "isoformat", error, 2030, 1, 2, tzinfo=UTC),
        "offset": broken(datetime.datetime, "utcoffset", error, 2030, 1, 2, tzinfo=UTC),
        "zone": datetime.datetime(2030, 1, 2, tzinfo=Zone(error())),
        "zone of a time": datetime.time(3, tzinfo=Zone(error())),
        "mapping": Lost(error(), a=1),
        "tuple": broken(tuple, "__iter__", error, (1,)),
        "list": broken(list, "__iter__", error, (1,)),
    }


@pytest.mark.parametrize("error", FAILURES)
@pytest.mark.parametrize("name", broken_values(ValueError))
def test_a_value_whose_methods_fail_is_a_finding(name, error):
    """A finding has the path and the error's type, and never the error's text."""
    value = broken_values(error)[name]
    for detail in ({"a": [0, value]}, {"a": [None, value]}, {"a": [SLOWLY, value]}):
        (found,) = refusal(detail)
        assert found.startswith("detail.a[1] is a ")
        assert f"that cannot be read ({error.__name__}); allowed: " in found
        assert "canary" not in found


@pytest.mark.parametrize("error", FAILURES)
def test_a_detail_that_cannot_be_read(error):
    """A detail that is itself an unreadable mapping is a finding too."""
    (found,) = refusal(Lost(error(), a=1))
    assert found.startswith(f"detail is a Lost that cannot be read ({error.__name__})")


@pytest.mark.parametrize("text", [None, 5, b"x", float("nan")], ids=ascii)
def test_dates_without_text(text):
    """A date whose `isoformat` does not return ISO 8601 text is refused."""
    date = type("D", (datetime.date,), {"isoformat": lambda self: text})(2030, 1, 2)
    assert refusal({"a": date})[0].startswith("detail.a is a D without ISO 8601 text")


@pytest.mark.parametrize("error", FAILURES)
@pytest.mark.parametrize("method", ["utcoffset", "year", "zone"])
def test_a_time_whose_methods_fail(error, method):
    """The time of an event is read when the event is made, not when it is sent."""
    if method == "zone":
        time = datetime.datetime(2030, 1, 2, tzinfo=Zone(error()))
    elif method == "year":
        time = type("T", (datetime.datetime,), {})(2030, 1, 2, tzinfo=UTC)
        type(time).year = property(lambda self: (_ for _ in ()).throw(error()))
    else:
        time = broken(datetime.datetime, method, error, 2030, 1, 2, tzinfo=UTC)
    (found,) = refusal(time=time)
    assert found.startswith("time is a ")
    assert f"that cannot be read ({error.__name__})" in found
    entry = {"Source": SOURCE, "DetailType": "t", "Detail": "{}", "Time": time}
    assert refusal_of_entry(entry) == [found]


@pytest.mark.parametrize("offset", ["x", 5, datetime.timedelta(days=2)], ids=ascii)
def test_an_invalid_utc_offset(offset):
    """A time zone that returns an invalid offset is a finding like any other."""
    time = datetime.datetime(2030, 1, 2, tzinfo=Zone(offset))
    assert "that cannot be read" in refusal(time=time)[0]
    assert "detail.at is a datetime that cannot be read" in refusal({"at": time})[0]


class Stamp(datetime.datetime):
    """Like pandas' Timestamp: a datetime that also holds nanoseconds."""

    def isoformat(self, *args: Any, **kwargs: Any) -> str:
        return super().isoformat(timespec="microseconds")[:-6] + "789+00:00"

    def __sub__(self, other: Any) -> Any:
        raise TypeError

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError


def test_a_time_of_a_subclass_is_sent():
    """The time is kept as a plain datetime, so that a subclass's methods cannot break it."""
    stamp = Stamp(2030, 1, 2, 12, 0, 0, 123456, tzinfo=Zone(datetime.timedelta(hours=1)))
    event = PartnerEvent(SOURCE, "t", {"at": stamp}, time=stamp)
    assert type(event.time) is datetime.datetime
    assert event.time.isoformat() == "2030-01-02T12:00:00.123456+01:00"
    assert event.detail == '{"at":"2030-01-02T12:00:00.123456789+00:00"}'
    assert pickle.loads(pickle.dumps(event)) == copy.deepcopy(event) == event
    service = FakeEventBridge()
    with PartnerEventsClient(
        service.region, transport=service.transport(), credentials=service.credentials
    ) as client:
        client.put_events([event]).raise_for_undelivered()
    assert service.accepted[0].time == 1893582000.123456


def test_resources_that_cannot_be_read():
    """An iterable that raises is a finding, beside those of the other fields."""

    def raising() -> Iterator[str]:
        yield "r"
        raise KeyError("canary")

    of_detail_type, of_resources = refusal(detail_type="", resources=raising())
    assert of_detail_type == "detail_type has 0 characters; allowed: 1 to 128 characters"
    assert of_resources == (
        "resources is a generator that cannot be read (KeyError); "
        "allowed: an iterable of str, one for each resource"
    )


@pytest.mark.parametrize("error", FAILURES)
def test_an_entry_that_cannot_be_read(error):
    """A mapping that raises while it is read is refused as a whole."""
    (found,) = refusal_of_entry(Lost(error("canary"), Source=SOURCE))
    assert found == (
        f"entry is a Lost that cannot be read ({error.__name__}); "
        "allowed: a PartnerEvent, or a mapping of its members"
    )


# ---------------------------------------------------------------- whose exception it is


class TimeLimitError(Exception):
    """Like the exception that task queue workers raise in a signal handler."""


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("error", [KeyboardInterrupt, TimeLimitError])
@pytest.mark.parametrize("more", [{}, {"n": None}, {"s": 2**60}], ids=["quick", "null", "again"])
def test_a_signal_while_values_are_written_passes_through(error, more):
    """An exception from a signal handler passes through; it is not a finding."""

    def raises(*_: Any) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, raises)
    detail = {"a": [NOON, decimal.Decimal(1)] * 500_000, **more}
    timer = threading.Timer(0.05, signal.raise_signal, (signal.SIGALRM,))
    try:
        timer.start()
        with pytest.raises(error):
            [PartnerEvent(SOURCE, "t", detail) for _ in range(100)]
    finally:
        timer.cancel()
        signal.signal(signal.SIGALRM, before)


def test_ctrl_c_in_a_value_passes_through():
    """A KeyboardInterrupt in a method of a value passes through."""
    with pytest.raises(KeyboardInterrupt):
        PartnerEvent(
            SOURCE, "t", {"a": broken(datetime.date, "isoformat", KeyboardInterrupt, 2030, 1, 2)}
        )
