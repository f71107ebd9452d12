"""`PartnerEvent`, the request entry."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

import attrs

from eventbridge_partner.errors import Finding, InvalidEventError
from eventbridge_partner.limits import (
    MAX_DETAIL_TYPE_CHARACTERS,
    MAX_RESOURCE_CHARACTERS,
    TIME_BYTES,
)
from eventbridge_partner.models._detail import read_detail, read_text
from eventbridge_partner.models._source_name import SourceName, source_findings

_ALLOWED_DETAIL_TYPE: Final = f"allowed: 1 to {MAX_DETAIL_TYPE_CHARACTERS} characters"
_ALLOWED_RESOURCES: Final = "allowed: an iterable of str, one for each resource"
_ALLOWED_TIME: Final = "allowed: a datetime with a time zone, or nothing at all"
_ALLOWED_TEXT: Final = "allowed: text that UTF-8 can express"


@attrs.frozen(init=False)
class PartnerEvent:
    """
    What a partner tells one customer: one entry of PutPartnerEvents.

    Checked as a whole when it is made; what is made can be sent.

    Attributes:
        source: The name of the customer's partner event source.
        detail_type: What kind of event this is, at most 128 characters.
        detail: The JSON text that will be sent, to the letter.
        resources: What the event is about, often ARNs; each at most 2,048 characters.
        time: When it happened, with a time zone; the service delivers whole seconds. None lets
            the service take the time of arrival.
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
        detail: Mapping[str, Any] | str | attrs.AttrsInstance,
        *,
        resources: Iterable[str] = (),
        time: datetime.datetime | None = None,
    ) -> None:
        """
        Check the values and keep them.

        Args:
            source: `aws.partner/<partner>/<namespace…>/<name>`, or a `SourceName`.
            detail_type: 1 to 128 characters.
            detail: A mapping, an attrs instance or dataclass, or ready JSON text of an object,
                which is then sent as it is. Values that JSON has no type for become their
                standard text: aware datetimes, dates and times in ISO 8601, UUIDs, Decimals with
                all their digits; enums become their value.
            resources: Any number of str.
            time: A datetime with a time zone.

        Raises:
            InvalidEventError: With everything that is wrong, not only the first.
        """
        try:
            # A backend sends for the same customers again and again: their names are not read
            # twice, and all events of a customer share them.
            source, detail_type, size = _known_names[source, detail_type]
        except (KeyError, TypeError):  # TypeError: what is given cannot be looked up
            source, detail_type, size, findings = _read_names(source, detail_type)
        else:
            findings = ()
        raw, detail_findings = read_text(detail) if type(detail) is str else read_detail(detail)
        size += len(raw)
        if detail_findings:
            findings += detail_findings
        if resources != ():
            resources, resource_findings = _read_resources(resources)
            findings += resource_findings
            size += sum(map(_utf8_length, resources))
        if time is not None:
            findings += _time_findings(time)
            size += TIME_BYTES
        if findings:
            raise InvalidEventError(findings)
        # Through the slots themselves: a third cheaper than object.__setattr__.
        _keep_source(self, source)
        _keep_detail_type(self, detail_type)
        _keep_detail(self, detail if type(detail) is str else raw.decode())
        _keep_resources(self, resources)
        _keep_time(self, time)
        _keep_size(self, size)

    @classmethod
    def from_entry(cls, entry: Mapping[str, Any]) -> Self:
        """
        Make an event of an entry with the service's member names, as boto3 takes it.

        Args:
            entry: `Source`, `DetailType` and `Detail` (JSON text or a mapping); `Resources` and
                `Time` if wanted. `Time` is a datetime with a time zone, a number of epoch
                seconds, or ISO 8601 text with an offset.

        Raises:
            InvalidEventError: A member is missing, unknown or breaks a limit.
        """
        if not isinstance(entry, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            found = f"is of type {type(entry).__qualname__}"
            allowed = "allowed: a PartnerEvent, or a mapping of its members"
            raise InvalidEventError([Finding("entry", found, allowed)])
        findings = [
            Finding(str(member)[:64], "is not a member of an entry", _ALLOWED_MEMBERS)
            for member in entry
            if member not in _MEMBERS
        ]
        findings += [
            Finding(_MEMBERS[member], "is missing", f"needed: the member {member}")
            for member in _NEEDED_MEMBERS
            if member not in entry
        ]
        values: dict[str, Any] = {
            _MEMBERS[member]: entry[member] for member in entry if member in _MEMBERS
        }
        if "resources" in values and values["resources"] is None:
            findings.append(Finding("resources", "is None", _ALLOWED_RESOURCES))
            del values["resources"]
        if "time" in values:
            time = _read_time(values.pop("time"))
            if isinstance(time, Finding):
                findings.append(time)
            else:
                values["time"] = time
        if not findings:
            return cls(**values)
        # Whatever can still be said of the members that are there belongs to the same error.
        stand_ins: dict[str, Any] = {
            "source": "aws.partner/x/x",
            "detail_type": "x",
            "detail": "{}",
        }
        try:
            cls(**(stand_ins | values))
        except InvalidEventError as error:
            findings += error.findings
        raise InvalidEventError(findings)


_keep_source, _keep_detail_type, _keep_detail, _keep_resources, _keep_time, _keep_size = (
    vars(PartnerEvent)[name].__set__
    for name in ("source", "detail_type", "detail", "resources", "time", "_size")
)

_MEMBERS: Final = {
    "Source": "source",
    "DetailType": "detail_type",
    "Detail": "detail",
    "Resources": "resources",
    "Time": "time",
}
_NEEDED_MEMBERS: Final = ("Source", "DetailType", "Detail")
_ALLOWED_MEMBERS: Final = f"allowed: {', '.join(_MEMBERS)}"


def entry_size(event: PartnerEvent) -> int:
    """
    Return the size of an event in bytes, as the service counts it.

    That is the UTF-8 length of source, detail type, detail and each resource, and 14 if there is
    a time ("Calculating PutEvents event entry size" in the EventBridge user guide).
    """
    return event._size  # pyright: ignore[reportPrivateUsage]


def _utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


_MAX_KNOWN_NAMES: Final = 8192
_known_names: Final[dict[tuple[object, object], tuple[str, str, int]]] = {}
"""Of valid names as they were given, the text of both and their size in bytes."""


def _read_names(source: Any, detail_type: Any) -> tuple[str, str, int, tuple[Finding, ...]]:
    """Return the text of an event's names, their size in bytes, and what is wrong with them."""
    name = str(source) if type(source) is SourceName else source
    findings = source_findings(name) + _detail_type_findings(detail_type)
    if findings:
        return name, detail_type, 0, findings
    size = _utf8_length(f"{name}{detail_type}")
    if type(name) is type(detail_type) is str:
        if len(_known_names) >= _MAX_KNOWN_NAMES:
            _known_names.clear()
        _known_names[source, detail_type] = name, detail_type, size
    return name, detail_type, size, ()


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
    kept: list[str] = []
    findings: list[Finding] = []
    for position, resource in enumerate(resources):
        field = f"resources[{position}]"
        if not isinstance(resource, str):
            findings.append(Finding(field, _wrong_type(resource), "allowed: str"))
        elif len(resource) > MAX_RESOURCE_CHARACTERS:
            found = f"has {len(resource)} characters"
            findings.append(Finding(field, found, f"the limit is {MAX_RESOURCE_CHARACTERS}"))
        elif not _is_utf8(resource):
            findings.append(Finding(field, "has a lone surrogate", _ALLOWED_TEXT))
        else:
            kept.append(resource)
    return tuple(kept), tuple(findings)


def _time_findings(time: object) -> tuple[Finding, ...]:
    if not isinstance(time, datetime.datetime):
        return (Finding("time", _wrong_type(time), _ALLOWED_TIME),)
    if time.utcoffset() is None:
        return (Finding("time", "has no time zone", _ALLOWED_TIME),)
    return ()


def _read_time(time: object) -> datetime.datetime | Finding:
    """Read `Time` in each form that an entry may give it."""
    allowed = "allowed: an aware datetime, epoch seconds, or ISO 8601 text with an offset"
    match time:
        case datetime.datetime():
            return time
        case bool():
            return Finding("time", "is a bool", allowed)
        case int() | float():
            try:
                return _EPOCH + datetime.timedelta(seconds=time)
            except (OverflowError, ValueError):  # ValueError for NaN
                return Finding("time", "is beyond what a datetime can say", allowed)
        case str():
            try:
                return datetime.datetime.fromisoformat(time)
            except ValueError:
                return Finding("time", "is not ISO 8601 text", allowed)
        case _:
            return Finding("time", _wrong_type(time), allowed)


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
    return "is None" if value is None else f"is of type {type(value).__qualname__}"
