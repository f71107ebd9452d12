"""From outcomes to fates: what happens to the rows of a claim after sending."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import attrs

from eventbridge_partner import error_codes
from eventbridge_partner._bugs import log_bug
from eventbridge_partner.errors import InvalidEventError, ServiceError
from eventbridge_partner.models import (
    Accepted,
    Exhausted,
    Outcome,
    PartnerEvent,
    Rejected,
    Unconfirmed,
)
from eventbridge_partner.outbox._records import Dead, Fate, Gone, Later
from eventbridge_partner.outbox._rows import ClaimedRow
from eventbridge_partner.outbox._schema import MAX_CLAIMS
from eventbridge_partner.retry import RetryPolicy, Verdict, Wait

UNSETTLED: Final = "Unsettled"
"""The code of a row that was claimed alone twice without being settled."""

_PENDING: Final = "SourcePending"
_PARKED: Final = "SourceParked"
_UNCONFIRMED: Final = "Unconfirmed"
_OUT_OF_TIME: Final = "DeadlineExceeded"

_LINE: Final = frozenset(
    {
        "ConfigurationError",
        "CredentialsError",
        "TlsError",
        "TransportError",
        "UnreadableAnswerError",
        _OUT_OF_TIME,
    }
    | error_codes.EXPIRED_CREDENTIALS
    | error_codes.CLOCK_SKEW
)
"""Codes of failures of a whole request, whatever its entries."""

_SERVICE: Final = error_codes.TRANSIENT | error_codes.THROTTLING
"""Codes of failures of a request, or of one entry or its source."""

_MAX_TRIES: Final = 64
_LONGEST: Final = 300.0
_GONE: Final = Gone()

RegionOf = Callable[[str], str | None]


@attrs.frozen
class Rules:
    """
    The relay's settings for rows that fail.

    Attributes:
        backoff: Seconds that a row waits, by its number of tries.
        max_age: Seconds after which a row that still fails becomes a dead letter; None for never.
        region_of: Returns the Region of a source, if there are several Regions.
    """

    backoff: Wait
    max_age: float | None = None
    region_of: RegionOf | None = None


@attrs.frozen
class Judgement:
    """
    The verdict on a claim.

    Attributes:
        fates: One for each of its rows, in their order.
        pending: Sources that are PENDING: their rows wait.
        outage: The code of an outage: no event of the claim got through, and the events are not
            the reason. The relay pauses. None without an outage.
        troubled: Outages of one Region or one source, by its name: the code, and the sources
            affected.
        accepted: Sources with an accepted event.
        parked: How many events a guard's `on_pending` function has taken, although they stay in
            the outbox.
        gets_through: Whether the service has examined any of the events.
    """

    fates: Sequence[Fate]
    pending: frozenset[str] = frozenset()
    outage: str | None = None
    troubled: Mapping[str, tuple[str, frozenset[str]]] = attrs.field(factory=dict)
    accepted: frozenset[str] = frozenset()
    parked: int = 0
    gets_through: bool = False


def sendable(rows: Sequence[ClaimedRow]) -> tuple[list[PartnerEvent], dict[int, Fate]]:
    """
    Return the events of rows, and the fates of rows that must not be sent, by place.

    Those are rows that were changed and are no longer valid, and rows that seem to kill each
    process that sends them: they were claimed alone twice and never settled.
    """
    events: list[PartnerEvent] = []
    fates: dict[int, Fate] = {}
    for place, row in enumerate(rows):
        if row.claims >= MAX_CLAIMS + 2:
            message = (
                f"{row.claims} claims of this row were never settled, the last two of it alone"
            )
            fates[place] = Dead(UNSETTLED, message)
            continue
        try:
            events.append(row.event())
        except InvalidEventError as error:
            fates[place] = Dead("InvalidEvent", str(error).replace("\n", "; ")[:1000])
    return events, fates


@attrs.frozen
class _Failed:
    """
    A row that was sent and failed, perhaps through no fault of its own.

    Attributes:
        code: The failure's code.
        message: The failure in more words.
        maybe_sent: Whether it may have arrived.
        is_of_line: Whether the whole request failed, whatever its entries.
        is_unsent: Whether no request carried it.
    """

    code: str
    message: str
    maybe_sent: bool
    is_of_line: bool
    is_unsent: bool

    @property
    def given_back(self) -> Later:
        """Its fate if the event is not to blame."""
        return Later(0.0, self.code, self.message, self.maybe_sent, is_try=False)


def judge(
    rows: Sequence[ClaimedRow],
    outcomes: Iterable[Outcome],
    unsent: Mapping[int, Fate],
    rules: Rules,
) -> Judgement:
    """
    Decide the fates of the rows of a claim.

    Args:
        rows: All rows of the claim.
        outcomes: The outcomes of the rows that were sent, in their order.
        unsent: The fates of the rows that were not sent, by place.
        rules: The relay's settings.
    """
    verdicts: list[Fate | _Failed] = []
    pending: set[str] = set()
    accepted: set[str] = set()
    decided_here: set[int] = set(unsent)
    parked = 0
    remaining = iter(outcomes)
    for place, row in enumerate(rows):
        if place in unsent:
            verdicts.append(unsent[place])
            continue
        match next(remaining, None):
            case None:  # from a client that is not ours
                verdicts.append(_Failed(_UNCONFIRMED, "the client gave none", True, True, False))
            case Accepted():
                verdicts.append(_GONE)
                accepted.add(row.source)
            case Rejected(code, message, of_request=True):
                verdicts.append(_Failed(code, message, False, True, False))
            case Rejected(code=code, message=message) | Exhausted(code=code, message=message) if (
                code == _PENDING
            ):
                decided_here.add(place)
                pending.add(row.source)
                verdicts.append(_aged(row, Later(0.0, code, message, is_try=False), rules))
            case Rejected(code, message, attempts=attempts):
                if not attempts:
                    decided_here.add(place)
                verdicts.append(Dead(code, message[:1000]))
            case Exhausted(code, message) if code == _PARKED:
                decided_here.add(place)
                parked += 1
                verdicts.append(_later(row, _Failed(code, message, False, False, True), rules))
            case Exhausted(code, message, attempts=attempts):
                verdicts.append(_Failed(code, message, False, _is_of_line(code), not attempts))
            case Unconfirmed(reason):
                verdicts.append(_Failed(_UNCONFIRMED, reason, True, True, False))
    sent = [place for place in range(len(rows)) if place not in decided_here]
    scope = _Scope(rows, verdicts, rules)
    outage, troubled = scope.outages(sent)
    out = scope.out if outage is None else set(sent)
    fates = [
        verdict
        if not isinstance(verdict, _Failed)
        else verdict.given_back
        if place in out or (verdict.is_unsent and verdict.code == _OUT_OF_TIME)
        else _later(rows[place], verdict, rules)
        for place, verdict in enumerate(verdicts)
    ]
    return Judgement(
        fates,
        frozenset(pending),
        outage,
        troubled,
        frozenset(accepted - pending),
        parked,
        gets_through=not all(isinstance(verdicts[place], _Failed) for place in sent),
    )


def _is_of_line(code: str) -> bool:
    return code in _LINE or code.startswith("HTTP ")


def _may_be_outage(failed: _Failed) -> bool:
    return failed.is_of_line or failed.code in _SERVICE


class _Scope:
    """
    Finds the extent of a failure: the whole claim, one Region's rows, or one source's.

    Attributes:
        out: The places of rows whose whole Region or source failed.
    """

    def __init__(
        self, rows: Sequence[ClaimedRow], verdicts: Sequence[Fate | _Failed], rules: Rules
    ) -> None:
        self._rows = rows
        self._verdicts = verdicts
        self._region_of = rules.region_of
        self.out: set[int] = set()

    def outages(
        self, sent: Sequence[int]
    ) -> tuple[str | None, dict[str, tuple[str, frozenset[str]]]]:
        """Return the outage of the whole claim, and the outages of parts of it."""
        if not any(isinstance(self._verdicts[place], _Failed) for place in sent):
            return None, {}
        groups: dict[str | None, list[int]] = {}
        for place in sent:
            groups.setdefault(self._region(self._rows[place].source), []).append(place)
        failed = {
            region: code for region, places in groups.items() if (code := self._failure(places))
        }
        if not failed:
            return None, {}
        is_whole = self._region_of is None or len(failed) == len(groups) > 1
        if is_whole and self._is_everyones(sent):
            return next(iter(failed.values())), {}
        troubled: dict[str, tuple[str, frozenset[str]]] = {}
        for region, code in failed.items():
            places = groups[region]
            sources = frozenset(self._rows[place].source for place in places)
            # A single row that fails just waits longer each time.
            if len(places) > 1 or self._is_everyones(places):
                name = next(iter(sources)) if len(sources) == 1 or region is None else region
                troubled[name] = code, sources
                self.out.update(places)
        return None, troubled

    def _region(self, source: str) -> str | None:
        if self._region_of is None:
            return None
        try:
            return self._region_of(source)
        except Exception:  # noqa: BLE001  # the caller's look-up; the router has logged it
            return None

    def _failure(self, places: Sequence[int]) -> str | None:
        """Return the code of a common failure, if these rows may all have failed for one reason."""
        code = None
        for place in places:
            verdict = self._verdicts[place]
            if not isinstance(verdict, _Failed) or not _may_be_outage(verdict):
                return None
            code = code or verdict.code
        return code

    def _is_everyones(self, places: Sequence[int]) -> bool:
        """Tell whether these rows failed for a reason that is not specific to one source."""
        verdicts = [self._verdicts[place] for place in places]
        return (
            any(isinstance(verdict, _Failed) and verdict.is_of_line for verdict in verdicts)
            or len({self._rows[place].source for place in places}) > 1
        )


def _aged(row: ClaimedRow, later: Later, rules: Rules) -> Fate:
    if rules.max_age is not None and row.age >= rules.max_age:
        return Dead(later.code, later.message[:1000])
    return later


def _later(row: ClaimedRow, failed: _Failed, rules: Rules) -> Fate:
    error = ServiceError(failed.code, failed.message, status=200)
    seconds = backoff_after(row.tries + 1, error, rules.backoff)
    return _aged(row, Later(seconds, failed.code, failed.message[:1000], failed.maybe_sent), rules)


def raised(
    rows: Sequence[ClaimedRow], code: str, unsent: Mapping[int, Fate], rules: Rules
) -> Judgement:
    """
    Decide the fates of the rows of a claim for which the client raised an unexpected error.

    One of them may be the cause, so each waits for a different time: then they are claimed with
    other rows.
    """
    failed = _Failed(code, "the client raised it", True, True, False)
    rules = attrs.evolve(rules, max_age=None)  # a bug must not make dead letters
    fates = [unsent.get(place) or _later(row, failed, rules) for place, row in enumerate(rows)]
    return Judgement(fates, outage=code)


def backoff_after(tries: int, failure: ServiceError, wait: Wait) -> float:
    """Return the seconds to wait after this many tries; the longest wait if `wait` raises."""
    policy = RetryPolicy(wait=wait, stop=_never)
    try:
        seconds = policy.delay_after(min(tries, _MAX_TRIES), Verdict.TRANSIENT, failure)
    except Exception as error:  # noqa: BLE001  # the caller's code may raise anything
        log_bug("backoff", error)
        return _LONGEST
    return _LONGEST if seconds is None else min(seconds, 365 * 86400.0)


def _never(_: object) -> bool:
    return False
