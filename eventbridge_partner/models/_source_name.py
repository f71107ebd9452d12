"""The names of partner event sources."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Self

import attrs

from eventbridge_partner.errors import Finding, InvalidEventError
from eventbridge_partner.limits import MAX_SOURCE_CHARACTERS, SOURCE_PATTERN

_PREFIX: Final = "aws.partner"
_SEGMENT: Final = re.compile(r"[.\-_A-Za-z0-9]+")
ALLOWED_SOURCE: Final = (
    "allowed: aws.partner/<partner>/<name>, with letters, digits, '.', '-' and '_' between slashes"
)


def source_findings(source: object) -> tuple[Finding, ...]:
    """Return what is wrong with the name of a source."""
    if not isinstance(source, str):
        found = "is None" if source is None else f"is of type {type(source).__qualname__}"
        return (Finding("source", found, ALLOWED_SOURCE),)
    findings: list[Finding] = []
    if len(source) > MAX_SOURCE_CHARACTERS:
        found = f"has {len(source)} characters"
        findings.append(Finding("source", found, f"the limit is {MAX_SOURCE_CHARACTERS}"))
    if not SOURCE_PATTERN.fullmatch(source):
        findings.append(Finding("source", f"is {_shown(source)}", ALLOWED_SOURCE))
    return tuple(findings)


def _shown(text: object) -> str:
    if not isinstance(text, str):
        return "None" if text is None else f"a value of type {type(text).__qualname__}"
    return ascii(text) if len(text) <= 64 else f"{text[:64]!a}…"


def _is_segment(segment: object) -> bool:
    return isinstance(segment, str) and _SEGMENT.fullmatch(segment) is not None


def _segments(segments: str | Iterable[str]) -> tuple[str, ...]:
    return (segments,) if isinstance(segments, str) else tuple(segments)


@attrs.frozen
class SourceName:
    """
    The name of a partner event source: `aws.partner/<partner>/<namespace…>/<name>`.

    `str()` of it is the name as the service takes it, and `PartnerEvent` takes it as it is.

    Attributes:
        partner: The partner's domain or short name, as registered with AWS: `example.com`.
        name: What tells this source from the others, often the customer's account.
        namespace: Segments between the two; any number of them, given as one str or several.

    Raises:
        InvalidEventError: A segment is empty or has other characters than letters, digits, `.`,
            `-` and `_`, or the whole is longer than 256 characters.
    """

    partner: str
    name: str
    namespace: tuple[str, ...] = attrs.field(default=(), converter=_segments, kw_only=True)

    def __attrs_post_init__(self) -> None:
        findings = [
            Finding("source", f"has {_shown(segment)} as a segment", ALLOWED_SOURCE)
            for segment in (self.partner, *self.namespace, self.name)
            if not _is_segment(segment)
        ]
        findings += () if findings else source_findings(str(self))
        if findings:
            raise InvalidEventError(findings)

    @classmethod
    def parse(cls, source: str) -> Self:
        """
        Take the name of a source apart.

        Raises:
            InvalidEventError: It is not the name of a partner event source.
        """
        if findings := source_findings(source):
            raise InvalidEventError(findings)
        _, partner, *namespace, name = source.split("/")
        return cls(partner, name, namespace=namespace)

    def __str__(self) -> str:
        return "/".join((_PREFIX, self.partner, *self.namespace, self.name))
