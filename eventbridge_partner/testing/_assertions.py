"""Assertions about the local service, whose failures show the nearest entries."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import attrs

from eventbridge_partner._foreign_text import escaped
from eventbridge_partner.testing._envelopes import customer_event
from eventbridge_partner.testing._patterns import EventPattern
from eventbridge_partner.testing._records import AcceptedEntry, RequestRecord

if TYPE_CHECKING:
    from eventbridge_partner.testing._service import FakeEventBridge

_NEAREST: Final = 3
_MOST_LINES: Final = 40
_MOST_DIFFERENCES: Final = 6
_MOST_REFUSALS: Final = 5
_SHOWN: Final = 120
_ACCOUNT: Final = "123456789012"


def assert_accepted(
    service: FakeEventBridge,
    count: int | None = 1,
    *,
    source: str | None = None,
    detail_type: str | None = None,
    detail: Mapping[str, Any] | None = None,
    pattern: EventPattern | str | Mapping[str, Any] | None = None,
) -> tuple[AcceptedEntry, ...]:
    """
    Assert that the service accepted entries like these, and return them.

    Args:
        service: The local service.
        count: The exact number; None for at least one.
        source: Their source.
        detail_type: Their detail type.
        detail: A subset of their details, in nested objects too. Arrays must have the same
            length; objects in them may again be subsets.
        pattern: An event pattern that matches them as the customer sees them; the customer's
            account is 123456789012.

    Returns:
        The entries, in the order in which they were accepted.

    Raises:
        AssertionError: There are more or fewer. The message shows the wanted entry, the nearest
            entries with their differences, and the refusals.
        InvalidPatternError: EventBridge would refuse the pattern.
    """
    __tracebackhide__ = True
    if isinstance(count, bool) or (count is not None and count < 0):
        raise ValueError(f"count is {count!r}; allowed: 0 and above, or None")
    wish = _Wish.of(source, detail_type, detail, pattern)
    compared = [(entry, [*wish.differences(entry, service.region)]) for entry in service.accepted]
    found = tuple(entry for entry, differences in compared if not differences)
    if len(found) == count or (count is None and found):
        return found
    lines = [f"wanted {_amount(count)}{_like(wish)}: {len(found):,} found"]
    if found:
        lines += _shown("these were found", [(entry, []) for entry in found])
    elif compared:
        nearest = sorted(compared, key=lambda pair: len(pair[1]))
        lines += _shown(f"nearest of {len(compared):,} accepted", nearest)
    else:
        lines.append("  the service accepted nothing")
    lines += _refusals(service.requests)
    raise AssertionError("\n".join(lines[:_MOST_LINES]))


def assert_nothing_accepted(
    service: FakeEventBridge,
    *,
    source: str | None = None,
    detail_type: str | None = None,
    detail: Mapping[str, Any] | None = None,
    pattern: EventPattern | str | Mapping[str, Any] | None = None,
) -> None:
    """
    Assert that the service accepted no entry like this; without arguments, none at all.

    Args:
        service: The local service.
        source: As for `assert_accepted`.
        detail_type: As for `assert_accepted`.
        detail: As for `assert_accepted`.
        pattern: As for `assert_accepted`.

    Raises:
        AssertionError: It accepted some. The message shows them.
        InvalidPatternError: EventBridge would refuse the pattern.
    """
    __tracebackhide__ = True
    assert_accepted(
        service, 0, source=source, detail_type=detail_type, detail=detail, pattern=pattern
    )


@attrs.frozen
class _Wish:
    """The description of a wanted entry."""

    texts: Mapping[str, str]
    detail: Mapping[str, Any] | None
    pattern: EventPattern | None

    @classmethod
    def of(
        cls,
        source: str | None,
        detail_type: str | None,
        detail: Mapping[str, Any] | None,
        pattern: EventPattern | str | Mapping[str, Any] | None,
    ) -> _Wish:
        texts: dict[str, str] = {}
        if source is not None:
            texts["source"] = source
        if detail_type is not None:
            texts["detail_type"] = detail_type
        if pattern is not None and not isinstance(pattern, EventPattern):
            pattern = EventPattern(pattern)
        return cls(texts, detail, pattern)

    def __str__(self) -> str:
        parts = [f"{name} {_text(text)}" for name, text in self.texts.items()]
        if self.detail is not None:
            parts.append(f"detail with {_text(self.detail)}")
        if self.pattern is not None:
            parts.append(f"event pattern {escaped(str(self.pattern), _SHOWN)}")
        return ", ".join(parts)

    def differences(self, entry: AcceptedEntry, region: str) -> Iterator[str]:
        """Yield the differences of an entry from this description."""
        for name, wanted in self.texts.items():
            found = getattr(entry, name)
            if found != wanted:
                yield f"{name} is {_text(found)}; wanted: {_text(wanted)}"
        if self.detail is not None:
            yield from _missing("detail", self.detail, entry.parsed_detail)
        if self.pattern is not None:
            try:
                envelope = customer_event(entry, account=_ACCOUNT, region=region)
            except ValueError as error:
                yield str(error)
            else:
                yield from map(str, self.pattern.explain(envelope))


_NOTHING: Final = object()


def _missing(path: str, wanted: object, found: object) -> Iterator[str]:
    """Yield the parts of a wanted value that the found value lacks."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        members = cast("Mapping[str, Any]", found)
        for name, value in cast("Mapping[str, Any]", wanted).items():
            yield from _missing(f"{path}.{name}", value, members.get(name, _NOTHING))
    elif isinstance(wanted, list | tuple) and isinstance(found, list):
        if len(wanted) != len(found):
            yield f"{path} has {len(found):,} elements; wanted: {len(wanted):,}"
            return
        for place, (value, other) in enumerate(zip(wanted, found, strict=True)):
            yield from _missing(f"{path}[{place}]", value, other)
    elif wanted != found or isinstance(wanted, bool) != isinstance(found, bool):
        yield f"{path} is {_text(found)}; wanted: {_text(wanted)}"


# ---------------------------------------------------------------- failure messages


def _like(wish: _Wish) -> str:
    described = str(wish)
    return f" with {described}" if described else ""


def _amount(count: int | None) -> str:
    if count is None:
        return "at least one accepted entry"
    return f"{count:,} accepted {'entry' if count == 1 else 'entries'}"


def _shown(title: str, compared: Sequence[tuple[AcceptedEntry, list[str]]]) -> Iterator[str]:
    yield f"  {title}:"
    for entry, differences in compared[:_NEAREST]:
        dropped = ", dropped for a PENDING source" if entry.dropped_for else ""
        yield (
            f"    request {entry.request_index}, entry {entry.entry_index}: "
            f"{_text(entry.detail_type)} of {_text(entry.source)}{dropped}"
        )
        if not differences:
            yield f"      detail {escaped(entry.detail, _SHOWN)}"
        for difference in differences[:_MOST_DIFFERENCES]:
            yield f"      {difference}"
        if (more := len(differences) - _MOST_DIFFERENCES) > 0:
            yield f"      and {more:,} more"
    if (more := len(compared) - _NEAREST) > 0:
        yield f"    and {more:,} more"


def _refusals(requests: Sequence[RequestRecord]) -> Iterator[str]:
    entries = Counter(
        result.error_code for record in requests for result in record.results if result.error_code
    )
    whole = Counter(record.error_code for record in requests if record.error_code)
    if entries:
        yield f"  entries refused: {_counted(entries)}"
    if whole:
        yield f"  requests refused: {_counted(whole)}"


def _counted(codes: Counter[str]) -> str:
    counted = ", ".join(f"{code} {count:,}" for code, count in codes.most_common(_MOST_REFUSALS))
    return f"{counted}, …" if len(codes) > _MOST_REFUSALS else counted


def _text(value: object) -> str:
    if value is _NOTHING:
        return "nothing"
    return escaped(json.dumps(value, ensure_ascii=False, default=repr), _SHOWN)
