"""The names of partner event sources."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Self

import attrs

from eventbridge_partner._foreign_text import escaped, plain_text, quoted
from eventbridge_partner.errors import Finding, InvalidEventError
from eventbridge_partner.limits import (
    ACCOUNT_PATTERN,
    MAX_SOURCE_CHARACTERS,
    SOURCE_PATTERN,
    SOURCE_PREFIX_PATTERN,
)

_PREFIX: Final = "aws.partner"
_SEGMENT: Final = re.compile(r"[.\-_A-Za-z0-9]+")
ALLOWED_SOURCE: Final = (
    "allowed: aws.partner/<partner>/<name>, with letters, digits, '.', '-' and '_' between slashes"
)


_ALLOWED_SEGMENT: Final = "allowed: one segment; SourceName.parse() takes a whole name"
_ALLOWED_PREFIX: Final = "allowed: aws.partner/<partner>/, optionally with the start of a name"
_ALLOWED_ACCOUNT: Final = "allowed: the 12 digits of an AWS account, as text"


def source_findings(source: object) -> tuple[Finding, ...]:
    """Return what is wrong with the name of a source."""
    return _findings("source", source, SOURCE_PATTERN, ALLOWED_SOURCE, MAX_SOURCE_CHARACTERS)


def prefix_findings(prefix: object) -> tuple[Finding, ...]:
    """Return what is wrong with a prefix of source names."""
    pattern = SOURCE_PREFIX_PATTERN
    return _findings("prefix", prefix, pattern, _ALLOWED_PREFIX, MAX_SOURCE_CHARACTERS)


def account_findings(account: object) -> tuple[Finding, ...]:
    """Return what is wrong with the id of an AWS account."""
    return _findings("account", account, ACCOUNT_PATTERN, _ALLOWED_ACCOUNT)


def _findings(
    field: str,
    text: object,
    pattern: re.Pattern[str],
    allowed: str,
    max_characters: int | None = None,
) -> tuple[Finding, ...]:
    if not isinstance(text, str):
        found = "None" if text is None else f"of type {escaped(type(text).__qualname__)}"
        return (Finding(field, f"is {found}", allowed),)
    text = plain_text(text)
    findings: list[Finding] = []
    if max_characters is not None and len(text) > max_characters:
        found = f"has {len(text)} characters"
        findings.append(Finding(field, found, f"the limit is {max_characters}"))
    if not pattern.fullmatch(text):
        findings.append(Finding(field, f"is {quoted(text)}", allowed))
    return tuple(findings)


def _is_segment(segment: object) -> bool:
    return isinstance(segment, str) and _SEGMENT.fullmatch(segment) is not None


def _is_whole(name: object) -> bool:
    return isinstance(name, str) and name.startswith(f"{_PREFIX}/")


def _bad_segment(segment: object) -> Finding:
    allowed = _ALLOWED_SEGMENT if _is_whole(segment) else ALLOWED_SOURCE
    return Finding("source", f"has {quoted(segment)} as a segment", allowed)


def _plain(segment: str) -> str:
    if isinstance(segment, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        return plain_text(segment)
    return segment


def _segments(segments: str | Iterable[str]) -> tuple[str, ...]:
    return tuple(map(_plain, [segments] if isinstance(segments, str) else segments))


@attrs.frozen
class SourceName:
    """
    The name of a partner event source: `aws.partner/<partner>/<namespace…>/<name>`.

    `str()` returns the name as the service takes it. `PartnerEvent` accepts a `SourceName` too.

    Attributes:
        partner: The partner's domain or short name, as registered with AWS: `example.com`.
        name: The last segment, often the customer's account.
        namespace: The segments between the two: any number, given as one str or several.

    Raises:
        InvalidEventError: A segment is empty or has characters other than letters, digits, `.`,
            `-` and `_`, or the whole name is longer than 256 characters.
    """

    def __new__(cls, *parts: object, **others: object) -> Self:
        """Point callers with one whole name to `parse`, rather than report a missing `name`."""
        if len(parts) == 1 and "name" not in others and _is_whole(parts[0]):
            raise InvalidEventError([_bad_segment(parts[0])])
        return object.__new__(cls)

    partner: str = attrs.field(converter=_plain)
    name: str = attrs.field(converter=_plain)
    namespace: tuple[str, ...] = attrs.field(default=(), converter=_segments, kw_only=True)

    def __attrs_post_init__(self) -> None:
        findings = [
            _bad_segment(segment)
            for segment in (self.partner, *self.namespace, self.name)
            if not _is_segment(segment)
        ]
        findings += () if findings else source_findings(str(self))
        if findings:
            raise InvalidEventError(findings)

    @classmethod
    def parse(cls, source: str) -> Self:
        """
        Split the name of a source into its parts.

        Raises:
            InvalidEventError: It is not the name of a partner event source.
        """
        if findings := source_findings(source):
            raise InvalidEventError(findings)
        source = plain_text(source)
        _, partner, *namespace, name = source.split("/")
        return cls(partner, name, namespace=namespace)

    def __str__(self) -> str:
        return "/".join((_PREFIX, self.partner, *self.namespace, self.name))
