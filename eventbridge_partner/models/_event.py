"""`PartnerEvent`: one event, and its form as an entry of a request."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Iterable, Mapping
from typing import Any, Final, Self, cast

import attrs

from eventbridge_partner._foreign_text import escaped, plain_text
from eventbridge_partner._signals import let_pass
from eventbridge_partner.errors import Finding, InvalidEventError
from eventbridge_partner.limits import (
    MAX_DETAIL_TYPE_CHARACTERS,
    MAX_RESOURCE_CHARACTERS,
    TIME_BYTES,
)
from eventbridge_partner.models._detail import read_detail, read_text
from eventbridge_partner.models._findings import Findings
from eventbridge_partner.models._json_types import (
    Record,
    RecordConverter,
    has_foreign_zone,
    unreadable,
)
from eventbridge_partner.models._source_name import SourceName, source_findings

_ALLOWED_DETAIL_TYPE: Final = f"allowed: 1 to {MAX_DETAIL_TYPE_CHARACTERS} characters"
_ALLOWED_RESOURCES: Final = "allowed: an iterable of str, one for each resource"
_ALLOWED_TIME: Final = "allowed: an aware datetime, epoch seconds, or ISO 8601 text with an offset"
_ALLOWED_TEXT: Final = "allowed: text that UTF-8 can encode"


@attrs.frozen(init=False)
class PartnerEvent:
    """
    One event for one customer: an entry of PutPartnerEvents.

    All values are checked when it is made, so that every event can be sent.

    Attributes:
        source: The name of the customer's partner event source.
        detail_type: The kind of event, at most 128 characters.
        detail: The exact JSON text to be sent.
        resources: The things that the event is about, often ARNs; each at most 2,048 characters.
        time: When it happened, with a time zone; the service delivers whole seconds. With None,
            the service uses the time of arrival.
    """

    source: str
    detail_type: str
    detail: str = attrs.field(repr=lambda detail: f"<{len(detail)} characters>")
    resources: tuple[str, ...] = attrs.field(repr=lambda resources: f"<{len(resources)}>")
    time: datetime.datetime | None
    _size: int = attrs.field(init=False, repr=False, eq=False)

    def __init__(
        self,
        source: str | SourceName,
        detail_type: str,
        detail: Mapping[str, Any] | str | Record,
        *,
        resources: Iterable[str] = (),
        time: datetime.datetime | float | str | None = None,
        converter: RecordConverter | None = None,
    ) -> None:
        """
        Check the values and keep them.

        Args:
            source: `aws.partner/<partner>/<namespace…>/<name>`, or a `SourceName`.
            detail_type: 1 to 128 characters.
            detail: A mapping, an attrs instance, a dataclass or a pydantic model, or ready JSON
                text of an object, which is then sent as it is. An attrs instance or dataclass
                becomes an object of all its members, whatever its annotations say; a pydantic
                model becomes the result of its `model_dump(mode="json")`. Values that JSON has
                no type for become their standard text: aware datetimes, dates and times in
                ISO 8601, UUIDs, Decimals with all their digits; enums become their value.
            resources: Any number of str.
            time: A datetime with a time zone, a number of epoch seconds, or ISO 8601 text with an
                offset. It is kept as a datetime.
            converter: A cattrs converter with hooks of your own, or any object with the same
                `unstructure` method. It is given any detail but text and returns a mapping;
                values in it that JSON has no type for are written as above.

        Raises:
            InvalidEventError: A value is invalid. It lists everything that is wrong.
        """
        findings: tuple[Finding, ...] = ()
        # A backend sends to the same customers again and again, so checked names are cached, and
        # events share them. Only exact str and SourceName are looked up: a subclass of str may
        # compare equal to a different text.
        names = None
        if type(detail_type) is str and (type(source) is str or type(source) is SourceName):
            names = _known_names.get((source, detail_type))
        if names is None:
            names, findings = _read_names(source, detail_type)
        source, detail_type, size = names
        raw, detail_findings = (
            read_text(detail) if type(detail) is str else read_detail(detail, converter)
        )
        size += len(raw)
        if detail_findings:
            findings += detail_findings
        if type(resources) is not tuple or resources:
            resources, resource_findings = _read_resources(resources)
            findings += resource_findings
            size += sum(map(_utf8_length, resources))
        if time is not None:
            time, time_findings = _checked_time(time)
            findings += time_findings
            size += TIME_BYTES
        if findings:
            raise InvalidEventError(findings)
        text = detail if type(detail) is str else raw.decode()
        if type(self) is not PartnerEvent:
            values = (source, detail_type, text, resources, time, size)
            for name, value in zip(_SLOTS, values, strict=True):
                object.__setattr__(self, name, value)
            return
        # Each attribute of a frozen instance takes a call to set; those of a draft do not.
        _set_class(self, _Draft)
        draft: Any = self
        draft.source = source
        draft.detail_type = detail_type
        draft.detail = text
        draft.resources = resources
        draft.time = time
        draft._size = size
        draft.__class__ = PartnerEvent

    @classmethod
    def from_entry(
        cls, entry: Mapping[str, Any], *, converter: RecordConverter | None = None
    ) -> Self:
        """
        Make an event from an entry with the service's member names, as boto3 takes it.

        Args:
            entry: `Source`, `DetailType` and `Detail` (JSON text or a mapping), and optionally
                `Resources` and `Time`, in any form that `time` takes.
            converter: For a `Detail` that is not text, as in `PartnerEvent`.

        Raises:
            InvalidEventError: A member is missing, unknown or breaks a limit, or the mapping
                cannot be read.
        """
        members, member_findings = _members_of(entry)
        findings = [
            *member_findings,
            *(
                Finding(_MEMBERS[member], "is missing", f"needed: the member {member}")
                for member in _NEEDED_MEMBERS
                if member not in members
            ),
        ]
        values = {_MEMBERS[member]: value for member, value in members.items()}
        if "resources" in values and values["resources"] is None:
            findings.append(Finding("resources", "is None", _ALLOWED_RESOURCES))
            del values["resources"]
        if "time" in values and values["time"] is None:
            findings.append(Finding("time", "is None", _ALLOWED_TIME))
            del values["time"]
        if not findings:
            return cls(**values, converter=converter)
        # Check the other members too, so that one error lists everything.
        stand_ins: dict[str, Any] = {
            "source": "aws.partner/x/x",
            "detail_type": "x",
            "detail": "{}",
        }
        try:
            cls(**(stand_ins | values), converter=converter)
        except InvalidEventError as error:
            findings += error.findings
        raise InvalidEventError(findings)

    def to_entry(self) -> dict[str, Any]:
        """
        Return the event as an entry with the service's member names, as boto3 takes it.

        Returns:
            `Source`, `DetailType` and `Detail`, all text; `Resources`, a list of text, if there
            are any; `Time`, a datetime, if there is one. `from_entry` turns it back into an equal
            event.
        """
        entry: dict[str, Any] = {
            "Source": self.source,
            "DetailType": self.detail_type,
            "Detail": self.detail,
        }
        if self.resources:
            entry["Resources"] = list(self.resources)
        if self.time is not None:
            entry["Time"] = self.time
        return entry


class _Draft(PartnerEvent):
    """A `PartnerEvent` that is not frozen yet; it has the same layout."""

    __slots__ = ()
    __setattr__ = object.__setattr__
    __delattr__ = object.__delattr__


_set_class: Final = vars(object)["__class__"].__set__
_SLOTS: Final = ("source", "detail_type", "detail", "resources", "time", "_size")

_MEMBERS: Final = {
    "Source": "source",
    "DetailType": "detail_type",
    "Detail": "detail",
    "Resources": "resources",
    "Time": "time",
}
_NEEDED_MEMBERS: Final = ("Source", "DetailType", "Detail")
ALLOWED_MEMBERS: Final = f"allowed: {', '.join(_MEMBERS)}"
_ALLOWED_ENTRY: Final = "allowed: a PartnerEvent, or a mapping of its members"


def _members_of(entry: object) -> tuple[dict[str, Any], tuple[Finding, ...]]:
    """
    Return the known members of an entry, and a finding for each of the others.

    Raises:
        InvalidEventError: It is not a mapping, or the mapping cannot be read.
    """
    if not isinstance(entry, Mapping):
        raise InvalidEventError([Finding("entry", _wrong_type(entry), _ALLOWED_ENTRY)])
    if type(entry) is dict:
        return _known_members(cast("dict[object, Any]", entry))
    try:
        mapping = cast("Mapping[object, Any]", entry)
        given = {key: mapping[key] for key in mapping}
    except Exception as error:
        let_pass(error)
        finding = Finding("entry", unreadable(entry, error), _ALLOWED_ENTRY)
        raise InvalidEventError([finding]) from error
    return _known_members(given)


def _known_members(given: dict[object, Any]) -> tuple[dict[str, Any], tuple[Finding, ...]]:
    members: dict[str, Any] = {}
    others: dict[str, Any] = {}
    findings = Findings("entry")
    for key, value in given.items():
        if not isinstance(key, str):
            found = f"has a key of type {escaped(type(key).__qualname__)}"
            findings.add(lambda: "entry", found, ALLOWED_MEMBERS)
        elif (name := plain_text(key)) in _MEMBERS:
            members[name] = value
        else:
            others[name] = value
    # Check misnamed members as those they stand for, so that one error lists everything.
    misnamed = meant_members({*members, *others}) if others else {}
    for name, value in others.items():
        if name in misnamed:
            members[misnamed[name]] = value
        else:
            found = "is not a member of an entry"
            findings.add(functools.partial(escaped, name), found, ALLOWED_MEMBERS)
    kept = findings.all()
    return members, (misnamed_finding(misnamed), *kept) if misnamed else kept


_ELSEWHERE: Final = {
    member: {field, field.replace("_", "-"), f"{member[:1].lower()}{member[1:]}"}
    for member, field in _MEMBERS.items()
}
"""Other names of members: in Python, in events as rules see them, and in other JSON."""


_NAMES: Final = frozenset(_MEMBERS).union(*_ELSEWHERE.values())


def meant_members(names: Iterable[str]) -> dict[str, str]:
    """Return those of an entry's names that stand for a missing member, each with that member."""
    given = _NAMES.intersection(names)
    return {
        name: member
        for member, others in _ELSEWHERE.items()
        if member not in given
        for name in sorted(others & given)[:1]
    }


def misnamed_finding(misnamed: Mapping[str, str]) -> Finding:
    """Return one finding for all misnamed members."""
    return Finding("entry", f"has {_listed(misnamed)}", f"write {_listed(misnamed.values())}")


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def entry_size(event: PartnerEvent) -> int:
    """
    Return the size of an event in bytes, as the service counts it.

    That is the UTF-8 length of source, detail type, detail and each resource, plus 14 if there is
    a time ("Calculating PutEvents event entry size" in the EventBridge user guide).
    """
    return event._size  # pyright: ignore[reportPrivateUsage]


def _utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


_Names = tuple[str, str, int]
_MAX_KNOWN_NAMES: Final = 8192
_known_names: Final[dict[tuple[object, object], _Names]] = {}
"""For valid names as given: their texts, and their size in bytes."""


def _read_names(source: Any, detail_type: Any) -> tuple[_Names, tuple[Finding, ...]]:
    """Return the text of an event's names, their size in bytes, and what is wrong with them."""
    given = source, detail_type
    are_plain = type(detail_type) is str and (type(source) is str or type(source) is SourceName)
    if isinstance(source, SourceName):
        source = SourceName.__str__(source)
    source, detail_type = (
        plain_text(name) if isinstance(name, str) else name for name in (source, detail_type)
    )
    findings = source_findings(source) + _detail_type_findings(detail_type)
    if findings:
        return (source, detail_type, 0), findings
    names = source, detail_type, _utf8_length(f"{source}{detail_type}")
    if are_plain:
        if len(_known_names) >= _MAX_KNOWN_NAMES:
            _known_names.clear()
        _known_names[given] = names
    return names, ()


def _detail_type_findings(detail_type: object) -> tuple[Finding, ...]:
    if not isinstance(detail_type, str):
        return (Finding("detail_type", _wrong_type(detail_type), _ALLOWED_DETAIL_TYPE),)
    if not 1 <= len(detail_type) <= MAX_DETAIL_TYPE_CHARACTERS:
        found = f"has {len(detail_type)} characters"
        allowed = f"the limit is {MAX_DETAIL_TYPE_CHARACTERS}"
        return (Finding("detail_type", found, allowed if detail_type else _ALLOWED_DETAIL_TYPE),)
    if not _is_utf8(detail_type):
        return (Finding("detail_type", "has a lone surrogate", _ALLOWED_TEXT),)
    return ()


def _read_resources(resources: object) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    if isinstance(resources, (str, bytes, Mapping)) or not isinstance(resources, Iterable):
        return (), (Finding("resources", _wrong_type(resources), _ALLOWED_RESOURCES),)
    try:
        given = list(cast("Iterable[object]", resources))
    except Exception as error:  # noqa: BLE001  # the caller's iterable can raise anything
        let_pass(error)
        finding = Finding("resources", unreadable(resources, error), _ALLOWED_RESOURCES)
        return (), (finding,)
    kept: list[str] = []
    findings = Findings("resources")
    for position, resource in enumerate(given):
        place = functools.partial("resources[{}]".format, position)
        if not isinstance(resource, str):
            findings.add(place, _wrong_type(resource), "allowed: str")
            continue
        text = plain_text(resource)
        if len(text) > MAX_RESOURCE_CHARACTERS:
            found = f"has {len(text)} characters"
            findings.add(place, found, f"the limit is {MAX_RESOURCE_CHARACTERS}")
        elif not _is_utf8(text):
            findings.add(place, "has a lone surrogate", _ALLOWED_TEXT)
        else:
            kept.append(text)
    return tuple(kept), findings.all()


def _checked_time(time: object) -> tuple[datetime.datetime | None, tuple[Finding, ...]]:
    """Return a time as an exact datetime with a fixed offset, and what is wrong with it."""
    if not isinstance(time, datetime.datetime):
        time = _read_time(time)
        if isinstance(time, Finding):
            return None, (time,)
    if type(time) is datetime.datetime and not has_foreign_zone(time):
        if time.tzinfo is None or time.utcoffset() is None:
            return None, (Finding("time", "has no time zone", _ALLOWED_TIME),)
        return time, ()
    try:
        plain = _plain_time(time)
    except Exception as error:  # noqa: BLE001  # methods of the caller's class can raise anything
        let_pass(error)
        return None, (Finding("time", unreadable(time, error), _ALLOWED_TIME),)
    return plain, () if plain else (Finding("time", "has no time zone", _ALLOWED_TIME),)


def _plain_time(time: datetime.datetime) -> datetime.datetime | None:
    """Return a datetime of any class and zone as one with a fixed offset; None without a zone."""
    offset = time.utcoffset()
    if offset is None:
        return None
    zone = datetime.timezone(datetime.timedelta(offset.days, offset.seconds, offset.microseconds))
    return datetime.datetime(
        time.year,
        time.month,
        time.day,
        time.hour,
        time.minute,
        time.second,
        time.microsecond,
        tzinfo=zone,
    )


def _read_time(time: object) -> datetime.datetime | Finding:
    """Read a time that is not a datetime."""
    match time:
        case bool():
            return Finding("time", "is a bool", _ALLOWED_TIME)
        case int() | float():
            try:
                return _EPOCH + datetime.timedelta(seconds=time)
            except (OverflowError, ValueError):  # ValueError for NaN
                return Finding("time", "is outside the range of a datetime", _ALLOWED_TIME)
        case str():
            try:
                return datetime.datetime.fromisoformat(plain_text(time))
            except ValueError:
                return Finding("time", "is not ISO 8601 text", _ALLOWED_TIME)
        case _:
            return Finding("time", _wrong_type(time), _ALLOWED_TIME)


_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def _is_utf8(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _wrong_type(value: object) -> str:
    return "is None" if value is None else f"is of type {escaped(type(value).__qualname__)}"
