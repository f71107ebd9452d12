"""
The faults that the local service can play, as values, and the script that schedules them.

A fault with a number of `times` is a line of a script: each request plays at most one such line,
the first that concerns it. A fault with `times=None` is a standing condition: it holds for every
request, together with any other fault.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, Literal, TypeVar, get_args

import attrs

Entry = Mapping[str, Any]
"""One entry of a request, with the wire's own member names."""

RateUnit = Literal["requests", "entries"]
"""What a rate limit counts."""

PUT_OPERATION: Final = "PutPartnerEvents"

SOURCE_OPERATIONS: Final = frozenset(
    {
        "CreatePartnerEventSource",
        "DescribePartnerEventSource",
        "ListPartnerEventSources",
        "ListPartnerEventSourceAccounts",
        "DeletePartnerEventSource",
    }
)
"""The operations on partner event sources. Their quota is 50 requests a second for all of them
together: `LimitRate(50, operations=SOURCE_OPERATIONS)`."""

OPERATIONS: Final = SOURCE_OPERATIONS | {PUT_OPERATION}
"""All operations that the local service knows."""

PageOddity = Literal[
    "repeated-token", "empty-page", "extra-page", "empty-token", "null-token", "expired-token"
]
"""The kinds of odd pages of a list."""

ErrorForm = Literal["__type", "namespace", "header", "code", "html", "empty", "xml"]
"""The form of an error answer; AWS services and the proxies before them use all of these."""

MESSAGES: Final[Mapping[str, str]] = {
    "ConcurrentModificationException": "The resource is being modified by another request.",
    "InternalException": "An internal error occurred. Try again.",
    "InternalFailure": "Unexpected error occurred while processing the request.",
    "LimitExceededException": "The requested resource exceeds the maximum number allowed.",
    "NotAuthorizedForSourceException": "Not authorized for the source.",
    "OperationDisabledException": "The operation is not available in this Region.",
    "ResourceNotFoundException": "Event Bus Not Found",
    "ServiceUnavailable": "The service is temporarily unavailable.",
    "ThrottlingException": "Rate exceeded",
}
"""The usual message of each error code."""


def _share(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{attribute.name} is {value!r}; allowed: 0 to 1")


def _not_negative(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value >= 0:
        raise ValueError(f"{attribute.name} is {value!r}; allowed: 0 and above")


def _times(_: object, attribute: attrs.Attribute[Any], value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError(f"{attribute.name} is {value!r}; allowed: 1 and above, or None")


def _positive(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{attribute.name} is {value!r}; allowed: above 0 and finite")


def _burst(_: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None and not 1 <= value < math.inf:
        raise ValueError(f"{attribute.name} is {value!r}; allowed: 1 and above, or None")


def _http_status(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 200 <= value <= 599:
        raise ValueError(f"{attribute.name} is {value!r}; allowed: a whole number, 200 to 599")


def _not_zero(_: object, attribute: attrs.Attribute[Any], value: int) -> None:
    if value == 0:
        raise ValueError(f"{attribute.name} is 0, which would change nothing")


def _known(_: object, attribute: attrs.Attribute[Any], value: frozenset[str] | None) -> None:
    unknown = sorted((value or frozenset()) - OPERATIONS)
    if unknown or value == frozenset():
        found = ", ".join(unknown) or "empty"
        raise ValueError(f"{attribute.name}: {found}; allowed: some of {sorted(OPERATIONS)}")


def _operations(given: str | Collection[str] | None) -> frozenset[str] | None:
    if given is None:
        return None
    return frozenset((given,) if isinstance(given, str) else given)


def _frozen(indexes: Collection[int] | None) -> frozenset[int] | None:
    return None if indexes is None else frozenset(indexes)


@attrs.frozen
class Visit:
    """
    A request as faults see it, before any is played.

    Attributes:
        entries: The entries that it carries; empty if its body cannot be read.
        identity: The access key ID and session token that it came with.
        operation: The operation, from its `X-Amz-Target`.
        next_token: The token of a later page of a list; None for the first.
    """

    entries: tuple[Entry, ...]
    identity: tuple[str, str]
    operation: str = PUT_OPERATION
    next_token: str | None = None


@attrs.frozen
class Fault:
    """
    A failure that the local service plays.

    Attributes:
        times: How many requests it hits, 1 unless the fault says otherwise; None for every
            request until the faults are cleared.
        after: How many requests pass first, counted from when the fault is played.
        share: The share of requests that it hits, 0 to 1, drawn with the service's seed.
        operations: The operations that it concerns, one name or several; other requests neither
            meet it nor count. None for all.
    """

    times: int | None = attrs.field(default=1, kw_only=True, validator=_times)
    after: int = attrs.field(default=0, kw_only=True, validator=_not_negative)
    share: float = attrs.field(default=1.0, kw_only=True, validator=_share)
    operations: frozenset[str] | None = attrs.field(
        default=None, kw_only=True, converter=_operations, validator=_known
    )

    def is_about(self, visit: Visit) -> bool:
        """Whether the request is one of the fault's operations."""
        return self.operations is None or visit.operation in self.operations

    def concerns(self, visit: Visit) -> bool:
        """Whether the fault could hit this request at all."""
        return True


_F = TypeVar("_F", bound=Fault)


# Refusals


@attrs.frozen
class FailEntries(Fault):
    """
    Some entries fail, each with this error; the others are accepted.

    Attributes:
        code: The entry's `ErrorCode`.
        message: The entry's `ErrorMessage`; None for the usual one.
        indexes: The places in the request, from 0; None for all.
        matching: A predicate on an entry with the wire's member names; None for all entries.
        entry_share: The share of those entries, 0 to 1, drawn with the service's seed.
    """

    code: str
    message: str | None = None
    indexes: frozenset[int] | None = attrs.field(default=None, converter=_frozen)
    matching: Callable[[Entry], bool] | None = attrs.field(default=None, kw_only=True)
    entry_share: float = attrs.field(default=1.0, kw_only=True, validator=_share)

    def concerns(self, visit: Visit) -> bool:
        """Whether the request has an entry at one of the indexes that matches."""
        return any(self.selects(index, entry) for index, entry in enumerate(visit.entries))

    def selects(self, index: int, entry: Entry) -> bool:
        """Whether this entry could fail, before the share is drawn."""
        if self.indexes is not None and index not in self.indexes:
            return False
        return self.matching is None or self.matching(entry)


@attrs.frozen
class FailRequest(Fault):
    """
    The whole request is refused; no entry is accepted.

    Attributes:
        code: The error code.
        status: The HTTP status.
        message: The error's message; None for the usual one.
        headers: More headers of the answer, such as `x-amz-retry-after`.
        form: How the answer states the code. `html` and `empty` do not state it.
    """

    code: str
    status: int = attrs.field(default=400, validator=_http_status)
    message: str | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    form: ErrorForm = attrs.field(
        default="__type", validator=attrs.validators.in_(get_args(ErrorForm))
    )


@attrs.frozen
class LimitRate(Fault):
    """
    The service accepts a rate and throttles the rest, as an account's quota does.

    A token bucket by the service's clock, full at the first request. Requests that are refused
    anyway, for their signature, clock or token, take nothing from it.

    Attributes:
        per_second: The rate in the long run: requests, or entries, a second.
        burst: How many pass at once after a quiet time; None for those of one second, but at
            least 1.
        unit: `requests` refuses whole requests; `entries` fails the last entries of a request,
            those beyond the limit.
        code: The error code.
        message: The error's message; None for the usual one.
        times: How many requests are throttled before the limit is lifted; None, the default, for
            all until the faults are cleared.
    """

    per_second: float = attrs.field(validator=_positive)
    burst: float | None = attrs.field(default=None, validator=_burst)
    unit: RateUnit = attrs.field(
        default="requests", kw_only=True, validator=attrs.validators.in_(get_args(RateUnit))
    )
    code: str = attrs.field(default="ThrottlingException", kw_only=True)
    message: str | None = attrs.field(default=None, kw_only=True)
    times: int | None = attrs.field(default=None, kw_only=True, validator=_times)

    @property
    def capacity(self) -> float:
        """How much the full bucket holds."""
        return max(1.0, self.per_second) if self.burst is None else self.burst


@attrs.frozen
class RefuseRequestContaining(Fault):
    """
    The whole request is refused if one of its entries is poison.

    The message repeats every `Detail` of the request, as the service's own message does.

    Attributes:
        poison: A predicate on an entry with the wire's member names.
        code: The error code.
        status: The HTTP status.
        times: How many requests it hits; None, the default, for all.
    """

    poison: Callable[[Entry], bool]
    code: str = "ValidationException"
    status: int = 400
    times: int | None = attrs.field(default=None, kw_only=True, validator=_times)

    def concerns(self, visit: Visit) -> bool:
        """Whether the request has a poison entry."""
        return any(map(self.poison, visit.entries))


@attrs.frozen
class ExpireToken(Fault):
    """
    The credentials of the request have expired.

    Attributes:
        times: How many requests are refused; None, the default, for all with the same credentials
            as the first that was hit, until the client uses new ones
            (`FakeEventBridge.rotate_credentials`).
    """

    times: int | None = attrs.field(default=None, kw_only=True, validator=_times)


@attrs.frozen
class WrongClock(Fault):
    """
    The service's clock is wrong, so the client's clock seems wrong to the service.

    A request whose signing time differs by more than 300 seconds is refused. The answer's `Date`
    header has the service's time; a client that corrects its clock by it is served.

    Attributes:
        offset: Seconds that the service's clock is ahead; negative if it is behind.
        code: `RequestTimeTooSkewed`, `RequestExpired` or `InvalidSignatureException`, all of
            which AWS services use.
        times: How many requests it hits; None, the default, for all.
    """

    offset: float
    code: str = "RequestTimeTooSkewed"
    times: int | None = attrs.field(default=None, kw_only=True, validator=_times)


# Damaged answers


@attrs.frozen
class LoseAnswer(Fault):
    """The request is carried out; then the connection closes without an answer."""


@attrs.frozen
class CutAnswer(Fault):
    """
    The request is carried out; then the connection closes in the middle of the answer.

    Attributes:
        after_bytes: How many bytes of the answer's body are sent, at most all but the last.
    """

    after_bytes: int = attrs.field(default=0, validator=_not_negative)


@attrs.frozen
class GarbleAnswer(Fault):
    """
    The request is carried out; the answer has status 200 and a body that is not JSON.

    Attributes:
        body: The body.
    """

    body: bytes = b'{"FailedEntryCount":0,"Entries":[{"Even'


@attrs.frozen
class WrongLength(Fault):
    """
    The request is carried out; the answer lists more or fewer entries than were sent.

    Attributes:
        difference: How many more; negative for fewer.
    """

    difference: int = attrs.field(default=-1, validator=_not_zero)

    def concerns(self, visit: Visit) -> bool:
        """Whether the request is answered with results."""
        return visit.operation == PUT_OPERATION


@attrs.frozen
class MiscountFailures(Fault):
    """
    The request is carried out; the answer's `FailedEntryCount` is wrong.

    Attributes:
        difference: How many more; negative for fewer.
    """

    difference: int = attrs.field(default=1, validator=_not_zero)

    def concerns(self, visit: Visit) -> bool:
        """Whether the request is answered with results."""
        return visit.operation == PUT_OPERATION


@attrs.frozen
class BlankResults(Fault):
    """
    The request is carried out; some results do not state whether their entries were accepted.

    Attributes:
        indexes: The places of these entries in the request, from 0; None for all.
        result: The JSON value that replaces each of these results.
    """

    indexes: frozenset[int] | None = attrs.field(default=None, converter=_frozen)
    result: object = attrs.field(factory=dict[str, object])

    def concerns(self, visit: Visit) -> bool:
        """Whether the request is answered with results."""
        return visit.operation == PUT_OPERATION


@attrs.frozen
class EmptyAnswer(Fault):
    """
    All entries are accepted; the answer lists none and counts no failure, as moto's does.

    Not played on a request with a failed entry: its answer would be false.
    """

    def concerns(self, visit: Visit) -> bool:
        """Whether the request is answered with results."""
        return visit.operation == PUT_OPERATION


@attrs.frozen
class OddPage(Fault):
    """
    A page of a list continues in a way that a client may not expect.

    Attributes:
        kind: `repeated-token`: a page after the first has the same token as the request, which
            leads to the same page again. `empty-page`: a page is empty, but its token leads to the
            items that it should have listed. `extra-page`: the last page has a token, which leads
            to an empty page. `empty-token`, `null-token`: the token of the last page is `""` or
            null. `expired-token`: a token has expired; the request is refused with
            `InvalidToken`.
    """

    kind: PageOddity = attrs.field(validator=attrs.validators.in_(get_args(PageOddity)))

    def concerns(self, visit: Visit) -> bool:
        """Whether the request lists something, and is for a later page if the kind needs that."""
        if self.kind in ("repeated-token", "expired-token") and visit.next_token is None:
            return False
        return visit.operation in ("ListPartnerEventSources", "ListPartnerEventSourceAccounts")


@attrs.frozen
class SlowAnswer(Fault):
    """
    The request is carried out; the answer comes late.

    Attributes:
        seconds: The delay.
    """

    seconds: float = attrs.field(validator=_not_negative)


@attrs.frozen
class CloseConnection(Fault):
    """The connection closes before the request is carried out."""


Silent = LoseAnswer | CloseConnection
"""Faults that send no byte of an answer."""

Reshaping = GarbleAnswer | WrongLength | MiscountFailures | BlankResults | EmptyAnswer
"""Faults that change the content of a good answer."""


def first(hits: Iterable[Fault], kind: type[_F]) -> _F | None:
    """Return the first fault of a kind; None if there is none."""
    return next((fault for fault in hits if isinstance(fault, kind)), None)


def message_of(code: str, message: str | None) -> str:
    """Return the given message of an error code, or the usual one."""
    return MESSAGES.get(code, "The request was refused.") if message is None else message


EVERY_FAULT: Final[Mapping[str, Fault]] = {
    "an entry is throttled": FailEntries("ThrottlingException", indexes=[0]),
    "an entry is rejected": FailEntries("InvalidArgument", indexes=[0]),
    "a source is gone": FailEntries("ResourceNotFoundException", indexes=[0]),
    "a request is throttled": FailRequest("ThrottlingException"),
    "a request fails": FailRequest("InternalFailure", 500),
    "access is denied": FailRequest("AccessDeniedException", times=None),
    "a proxy answers": FailRequest("", 502, form="html"),
    "the token is expired": ExpireToken(),
    "the clock is wrong": WrongClock(3600),
    "a connection closes": CloseConnection(),
    "an answer is lost": LoseAnswer(),
    "an answer is cut": CutAnswer(),
    "an answer is garbled": GarbleAnswer(),
    "an answer is too short": WrongLength(),
    "an answer is miscounted": MiscountFailures(),
    "a result is blank": BlankResults(indexes=[0]),
    "an answer is empty": EmptyAnswer(),
    "an answer is slow": SlowAnswer(0.05),
}
"""One fault of each kind that code which sends events should survive, by name."""


@attrs.define
class _Played:
    """A fault in force, and its state."""

    fault: Fault
    left: int | None
    skip: int
    has_played: bool = False
    expired: tuple[str, str] | None = None
    tokens: float | None = None
    filled_at: float = 0.0

    def take_tokens(self, limit: LimitRate, wanted: int, now: float) -> int:
        if self.tokens is None:
            self.tokens = limit.capacity
        else:
            # A clock that is set back must not take tokens away.
            gained = max(0.0, now - self.filled_at) * limit.per_second
            self.tokens = min(self.tokens + gained, limit.capacity)
        self.filled_at = now
        # Rounding makes sums fall short of whole tokens.
        taken = min(wanted, math.floor(self.tokens + 1e-6))
        self.tokens -= taken
        return taken


class Script:
    """
    Decides which faults hit a request. Not thread-safe: the service holds its lock around it.

    Args:
        dice: Draws the shares.
    """

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._played: list[_Played] = []

    def add(self, faults: Iterable[Fault]) -> None:
        """Put faults in force, after those that already are."""
        self._played.extend(_Played(fault, fault.times, fault.after) for fault in faults)

    def clear(self) -> None:
        """Remove all faults."""
        self._played.clear()

    @property
    def in_force(self) -> tuple[Fault, ...]:
        """All faults in force, in the order played."""
        return tuple(played.fault for played in self._played)

    def remove(self, faults: Collection[Fault]) -> None:
        """Remove faults, compared by identity."""
        self._played = [
            played for played in self._played if not any(played.fault is fault for fault in faults)
        ]

    @property
    def unplayed(self) -> tuple[Fault, ...]:
        """The faults in force that have had no effect yet."""
        return tuple(played.fault for played in self._played if not played.has_played)

    def hits(self, visit: Visit) -> list[Fault]:
        """
        Return the faults that hit this request, in the order played.

        At most one of them has a number of `times`. It is used up only when `spend` notes that it
        had an effect.
        """
        if not self._played:
            return []
        found: list[Fault] = []
        line_found = False
        for played in self._played:
            if not played.fault.is_about(visit):
                continue
            if played.skip:
                played.skip -= 1
            elif not (line_found and played.left is not None) and self._hits(played, visit):
                line_found = line_found or played.left is not None
                found.append(played.fault)
        return found

    def _hits(self, played: _Played, visit: Visit) -> bool:
        fault = played.fault
        if played.expired is not None:
            return played.expired == visit.identity
        if not fault.concerns(visit):
            return False
        return fault.share >= 1 or self._dice.random() < fault.share

    def take_tokens(self, limit: LimitRate, wanted: int, now: float) -> int:
        """Return how much of the wanted amount, in its unit, a rate limit lets through at `now`."""
        for played in self._played:
            if played.fault is limit:
                return played.take_tokens(limit, wanted, now)
        return wanted

    def spend(self, fault: Fault, visit: Visit) -> None:
        """Note that a fault had an effect on this request."""
        for place, played in enumerate(self._played):
            if played.fault is fault:
                played.has_played = True
                if played.left is not None:
                    played.left -= 1
                    if not played.left:
                        del self._played[place]
                elif isinstance(fault, ExpireToken):
                    played.expired = visit.identity
                return
