"""A record is written with all the members that it has, whatever its annotations say."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

import attrs
import cattrs
import pydantic
import pytest

from eventbridge_partner import InvalidEventError, PartnerEvent
from tests.strategies import SOURCE

if TYPE_CHECKING:
    from shop.models import Owner  # type: ignore[import-not-found]  # there is no such module when this runs

T = TypeVar("T")
DAY = datetime.date(2030, 1, 2)


def sent(detail: Any, **settings: Any) -> Any:
    return json.loads(PartnerEvent(SOURCE, "type", detail, **settings).detail)


def refusal(detail: Any, **settings: Any) -> str:
    with pytest.raises(InvalidEventError) as caught:
        PartnerEvent(SOURCE, "type", detail, **settings)
    return str(caught.value)


class Color(str, enum.Enum):
    RED = "red"


class Pair(NamedTuple):
    left: int
    right: int


@dataclasses.dataclass
class Actor:
    id: int


@dataclasses.dataclass
class Agent(Actor):
    team: str


class Bot(Agent):
    """Not a dataclass of its own: its members are its base's."""


@attrs.frozen
class Person:
    id: int


@attrs.frozen
class Worker(Person):
    team: str


@attrs.define
class Item:
    _private: int
    aliased: int = attrs.field(default=2, alias="other")
    computed: int = attrs.field(init=False)
    kind: str = attrs.field(init=False, default="item")

    def __attrs_post_init__(self) -> None:
        self.computed = self._private * 2


@dataclasses.dataclass(slots=True, kw_only=True)
class Invoice:
    counted: ClassVar[int] = 0
    net: int
    rate: dataclasses.InitVar[float] = 0.5
    gross: float = dataclasses.field(init=False, repr=False, compare=False)
    kind: str = dataclasses.field(init=False, default="invoice")

    def __post_init__(self, rate: float) -> None:
        self.gross = self.net * (1 + rate)


@dataclasses.dataclass
class Box(Generic[T]):
    content: T
    more: list[T] = dataclasses.field(default_factory=list)


@attrs.define
class Crate(Generic[T]):
    content: T


@dataclasses.dataclass
class Holder:
    actor: Actor
    actors: list[Actor]
    named: dict[str, Actor]
    pair: tuple[Actor, ...]


@dataclasses.dataclass
class Unchecked:
    tags: list[str] = None  # type: ignore[assignment]
    owner: Owner = None
    numbers: dict[str, int] = None  # type: ignore[assignment]
    pair: tuple[int, int] = None  # type: ignore[assignment]
    kind: Literal["a"] = None  # type: ignore[assignment]
    color: Color = None  # type: ignore[assignment]
    annotated: Annotated[int, {"unhashable": []}] = None  # type: ignore[assignment]
    number: int = "text"  # type: ignore[assignment]
    text: str = 3  # type: ignore[assignment]


@attrs.frozen
class Opened:
    owner: Owner
    items: list[Owner]


def local_records() -> tuple[Any, Any]:
    @dataclasses.dataclass
    class Inner:
        x: int

    @dataclasses.dataclass
    class Outer:
        inner: Inner

    @attrs.frozen
    class AttrsOuter:
        inner: Inner

    return Outer(Inner(1)), AttrsOuter(Inner(1))


RECORDS = {
    "a subclass in a field of its base": Holder(
        Agent(1, "a"), [Agent(2, "b"), Actor(3)], {"x": Agent(4, "c")}, (Bot(5, "d"),)
    ),
    "attrs subclasses": Crate(Worker(1, "a")),
    "members that are not given": Invoice(net=100),
    "private, aliased and computed members": Item(1),
    "generics": Box(Agent(1, "a"), [Agent(2, "b")]),
    "a generic in a generic": Box(Box(Crate(1))),
    "another type than declared": Unchecked(),
    "names for type checkers only": Opened(owner=Color.RED, items=[Person(1)]),
    "a local class": local_records()[0],
    "a local attrs class": local_records()[1],
    "a record in a namedtuple": Box[Any](Pair(Actor(1), 2)),
    "enums and dates": Box[Any](Color.RED, [DAY]),
}


def as_dict(value: Any) -> Any:
    """Return what `asdict` of either library gives, all the way down."""
    if attrs.has(type(value)):
        value = attrs.asdict(value, recurse=False)
    elif dataclasses.is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: as_dict(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_dict(inner) for inner in value]
    if isinstance(value, enum.Enum):
        return value.value
    return value.isoformat() if isinstance(value, datetime.date) else value


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_every_member_is_written(record):
    """A record is written as its library's `asdict` gives it, as the detail or inside it."""
    expected = as_dict(record)
    assert sent(record) == expected
    assert sent({"in": [record]}) == {"in": [expected]}
    assert sent({"in": record, "slowly": [2**60, "9" * 20]})["in"] == expected


@dataclasses.dataclass
class Tin:
    content: Any


@pytest.mark.parametrize("depth", [127, 250, 333, 999, 1000])
@pytest.mark.parametrize("kind", [Crate, Tin])
def test_records_as_deep_as_the_service_allows(kind, depth):
    """Records nest like mappings: 1,000 levels are sent, and the next is refused."""
    record: Any = 1
    for _ in range(depth):
        record = kind(record)
    text = PartnerEvent(SOURCE, "type", record).detail
    assert text == '{"content":' * depth + "1" + "}" * depth
    if depth == 1000:
        assert "is nested more than 1000 deep" in refusal(kind(record))


def test_what_a_member_holds_is_checked_with_its_path():
    """A value that JSON cannot represent is named by the members that lead to it."""
    assert refusal(Box(Agent(2**70, "a"))).startswith("detail.content.id is an integer of 71 bits")
    assert refusal({"of": Box[Any](None, [b""])}).startswith("detail.of.more[0] is a bytes")


@attrs.define
class Unset:
    text: str
    missing: int = attrs.field(init=False)


def test_a_member_that_is_not_there():
    """A record with a member that was never set is refused as unreadable."""
    found = refusal(Unset("canary"))
    assert found.startswith("detail is an Unset that cannot be read (AttributeError)")
    assert refusal({"a": [Unset("canary")]}).startswith("detail.a[0] is an Unset that cannot be")
    assert "canary" not in found


# ---------------------------------------------------------------- the caller's converter


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


@attrs.frozen
class Paid:
    amount: Money
    by: Person | None = None


@pytest.fixture
def converter():
    converter = cattrs.Converter()
    converter.register_unstructure_hook(Money, lambda money: {"cents": money.cents})
    converter.register_unstructure_hook(Person, lambda person: f"person {person.id}")
    return converter


def test_hooks_of_a_converter(converter):
    """A converter's hooks apply to records and mappings; our rules apply to what it leaves."""
    expected = {"amount": {"cents": 5}, "by": "person 1"}
    assert sent(Paid(Money(5), Person(1)), converter=converter) == expected | {"by": "person 1"}
    assert sent({"paid": Paid(Money(5)), "at": DAY}, converter=converter) == {
        "paid": {"amount": {"cents": 5}, "by": None},
        "at": "2030-01-02",
    }
    assert "detail.amount is a Money" in refusal(Paid(Money(5)))


def test_a_converter_of_entries(converter):
    """`from_entry` takes a converter too."""
    entry = {"Source": SOURCE, "DetailType": "t", "Detail": {"amount": Money(5)}}
    assert PartnerEvent.from_entry(entry, converter=converter).detail == '{"amount":{"cents":5}}'
    with pytest.raises(InvalidEventError, match=r"detail\.amount is a Money"):
        PartnerEvent.from_entry(entry)
    with pytest.raises(InvalidEventError) as caught:
        PartnerEvent.from_entry({"DetailType": "t", "Detail": entry["Detail"]}, converter=converter)
    assert str(caught.value) == "source is missing; needed: the member Source"


def test_text_is_not_for_the_converter():
    """JSON text is sent unchanged; the converter is not called."""

    class Never:
        def unstructure(self, obj: Any) -> Any:
            raise AssertionError

    assert PartnerEvent(SOURCE, "t", '{ "a" : 1 }', converter=Never()).detail == '{ "a" : 1 }'


class Gives:
    def __init__(self, value: Any) -> None:
        self.value = value

    def unstructure(self, obj: Any) -> Any:
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


def test_what_a_converter_may_return():
    """A mapping is a detail; anything else, or an exception, is a finding without a value in it."""
    assert sent(Money(1), converter=Gives({"a": (DAY,)})) == {"a": ["2030-01-02"]}
    assert sent(Money(1), converter=Gives(Box(1))) == {"content": 1, "more": []}
    assert "detail is a list from its converter" in refusal({}, converter=Gives(["canary"]))
    assert "detail is a str from its converter" in refusal({}, converter=Gives("canary"))
    found = refusal(Money(1), converter=Gives(KeyError("canary")))
    assert "detail is a Money that cannot be read (KeyError)" in found
    assert "canary" not in found


class Line(pydantic.BaseModel):
    cents: decimal.Decimal
    at: datetime.date


class Order(pydantic.BaseModel):
    lines: list[Line]
    by: str = pydantic.Field(serialization_alias="placed_by")

    @pydantic.computed_field
    def count(self) -> int:
        return len(self.lines)


class Numbers(pydantic.RootModel[list[int]]):
    pass


ORDER = Order(lines=[Line(cents=decimal.Decimal("1.10"), at=DAY)], by="zoë")
WRITTEN = {"lines": [{"cents": "1.10", "at": "2030-01-02"}], "by": "zoë", "count": 1}


def test_pydantic_models():
    """A model is written as its own `model_dump` gives it for JSON, as the detail or inside it."""
    assert sent(ORDER) == WRITTEN == ORDER.model_dump(mode="json")
    assert sent({"orders": [ORDER], (1.5).hex(): Numbers([1])}) == {
        "orders": [WRITTEN],
        (1.5).hex(): [1],
    }
    assert sent(Box(ORDER)) == {"content": WRITTEN, "more": []}
    assert sent(ORDER, converter=cattrs.Converter()) == WRITTEN
    assert "detail is a list from its model_dump" in refusal(Numbers([1]))


class Dumps:
    """What we know of a model: that it has `model_dump`."""

    def __init__(self, found: Any) -> None:
        self.found = found

    def model_dump(self, *, mode: str) -> Any:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def test_what_a_model_may_dump():
    """What `model_dump` returns is checked like any mapping; what it raises is a finding."""
    assert "detail.a is NaN" in refusal(Dumps({"a": float("nan")}))
    assert "detail is a Dumps whose model_dump returns another model" in refusal(Dumps(Dumps({})))
    assert "detail.a is a Dumps whose model_dump returns another model" in refusal(
        {"a": Dumps(Dumps({}))}
    )
    found = refusal(Dumps(KeyError("canary")))
    assert "detail is a Dumps that cannot be read (KeyError)" in found
    assert "canary" not in found
    assert "detail is a ModelMetaclass" in refusal(Order)


@pytest.mark.process
def test_pydantic_is_not_imported():
    """Making an event does not import pydantic."""
    code = (
        "import sys; from eventbridge_partner import PartnerEvent; "
        f"PartnerEvent({SOURCE!r}, 't', {{'a': 1}}); "
        "assert 'pydantic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
