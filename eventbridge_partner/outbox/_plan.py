"""
The relay's decisions, without I/O: a plan for each of its workers.

    Take      claim rows; resumes with the claim, or None
    Send      send events; resumes with their outcomes
    Settle    settle a claim; resumes with the counts
    Hold      hold a source
    Rest      wait, for rows or for the end of a pause
    Say       write to the log, each message once a minute
    Tell      tell the observer about a settled claim
"""

from __future__ import annotations

import logging
import math
import random
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final

import attrs

from eventbridge_partner._foreign_text import escaped
from eventbridge_partner.errors import (
    ConfigurationError,
    CredentialsError,
    PartnerEventsError,
)
from eventbridge_partner.models import PartnerEvent
from eventbridge_partner.models._counting import counted
from eventbridge_partner.observing import MAX_LINKS
from eventbridge_partner.outbox._fates import Judgement, Rules, judge, raised, sendable
from eventbridge_partner.outbox._records import (
    Dead,
    DrainReport,
    Fate,
    Later,
    Settled,
)
from eventbridge_partner.outbox._rows import Claim

_SHORTEST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
_PROBE_EVENTS: Final = 20
"""How many events probe whether an outage is over: one request's worth."""


@attrs.frozen
class Take:
    """Claim up to `events` rows."""

    events: int


@attrs.frozen
class Send:
    """Send events, within a deadline in seconds."""

    events: Sequence[PartnerEvent]
    seconds: float


@attrs.frozen
class Settle:
    """Settle a claim."""

    claim: Claim
    fates: Sequence[Fate]


@attrs.frozen
class Hold:
    """Hold a source."""

    source: str
    seconds: float


@attrs.frozen
class Rest:
    """Wait; with `for_rows`, until new rows may be due."""

    seconds: float
    for_rows: bool = False


@attrs.frozen
class Say:
    """Write to the log, unless the message named by `what` was logged within the last minute."""

    what: str
    level: int
    text: str
    values: tuple[object, ...] = ()


@attrs.frozen
class Tell:
    """Tell the observer the fates of a claim's rows, and how long the claim took."""

    settled: Settled
    links: tuple[str, ...]
    claimed: int
    seconds: float


Step = Take | Send | Settle | Hold | Rest | Say | Tell
Work = Generator[Step, Any, None]


@attrs.frozen(kw_only=True)
class Settings:
    """The settings of a relay; see `Relay`."""

    claim_events: int
    claim_bytes: int
    lease: float
    poll: float
    pending_wait: float
    rules: Rules


class Pauses:
    """
    Pauses after outages, of the whole relay or of one Region or source.

    Each pause is twice as long as the one before, from 1 to 60 s. A failure of events that were
    sent before the newest pause began does not lengthen it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str | None, tuple[float, float, float]] = {}

    def begin(self, key: str | None, sent_at: float, now: float) -> float:
        """Note that nothing got through, and return the seconds to pause from now."""
        with self._lock:
            began, seconds, until = self._known.get(key, (-math.inf, _SHORTEST_PAUSE / 2, 0.0))
            if sent_at >= began or until <= now:
                seconds = min(2 * seconds, _LONGEST_PAUSE)
                self._known[key] = now, seconds, now + seconds
                return seconds
            return until - now

    def end(self, key: str | None) -> bool:
        """Note that an event got through, and tell whether that ends an outage."""
        if key not in self._known:
            return False
        with self._lock:
            return self._known.pop(key, None) is not None

    def left(self, key: str | None, now: float) -> float:
        """Return the seconds left of the pause; 0 without a pause."""
        known = self._known.get(key)
        return 0.0 if known is None else max(0.0, known[2] - now)

    def is_on(self, key: str | None) -> bool:
        """Tell whether nothing has got through since the last pause began."""
        return key in self._known

    @property
    def has_any(self) -> bool:
        """Whether there is any outage."""
        return bool(self._known)


class Control:
    """
    The state that the workers of a relay share.

    Args:
        settings: The relay's settings.
        clock: Returns monotonic seconds.
        is_stopped: Tells whether the relay was asked to stop.
        until: When to end at the latest, on the clock; None for no bound.
        events: The most events to claim; None for any number.
        drains: Whether to end when nothing is due.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float],
        is_stopped: Callable[[], bool],
        *,
        until: float | None = None,
        events: int | None = None,
        drains: bool = False,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.is_stopped = is_stopped
        self.until = until
        self.drains = drains
        self.pauses = Pauses()
        self.failed = False
        self._began = clock()
        self._left = math.inf if events is None else events
        self._lock = threading.Lock()
        self._done = DrainReport()
        self.random = random.Random()

    @property
    def is_over(self) -> bool:
        """Whether to stop claiming."""
        late = self.until is not None and self.clock() >= self.until
        return late or self.failed or self._left <= 0 or self.is_stopped()

    def reserve(self) -> int:
        """Return how many events to claim, and count them against the limit."""
        settings = self.settings
        most = _PROBE_EVENTS if self.pauses.is_on(None) else settings.claim_events
        with self._lock:
            events = int(min(most, settings.claim_events, self._left))
            self._left -= events
        return events

    def release(self, events: int) -> None:
        """Return events to the limit that were not claimed."""
        with self._lock:
            self._left += events

    def count(self, settled: Settled, outage: str | None) -> None:
        """Add the counts of a settle to the report."""
        with self._lock:
            done = self._done
            self._done = DrainReport(
                accepted=done.accepted + settled.gone,
                dead=done.dead + settled.dead,
                later=done.later + settled.later,
                lost=done.lost + settled.lost,
                claims=done.claims + 1,
                outage=outage,
            )

    @property
    def report(self) -> DrainReport:
        """What the relay has done so far."""
        return attrs.evolve(self._done, seconds=self.clock() - self._began)


def work(control: Control) -> Work:
    """
    Return the plan of one worker.

    Raises:
        Exception: What the outbox raised, if the relay drains. Otherwise the relay tries again.
    """
    while not control.is_over:
        if pause := control.pauses.left(None, control.clock()):
            if control.drains and control.until is None:
                return
            yield Rest(_until_end(control, pause))
            continue
        events = control.reserve()
        if not events:
            return
        claim: Claim | None = None
        try:
            claim = yield Take(events)
        except Exception as error:
            if control.drains:
                control.failed = True
                raise
            yield from _wait_for_database(control, error)
            continue
        finally:
            control.release(events - (len(claim.rows) if claim is not None else 0))
        if control.pauses.end(_DATABASE):
            yield Say("database is back", logging.INFO, "the outbox can be used again")
        if claim is None:
            if control.drains:
                return
            poll = control.settings.poll
            yield Rest(poll * control.random.uniform(0.8, 1.2), for_rows=True)
            continue
        yield from _deal_with(control, claim)


_DATABASE: Final = "the outbox's database"


def _until_end(control: Control, seconds: float) -> float:
    if control.until is None:
        return seconds
    return min(seconds, max(0.001, control.until - control.clock()))


def _wait_for_database(control: Control, error: Exception) -> Work:
    now = control.clock()
    seconds = control.pauses.begin(_DATABASE, now, now)
    yield Say(
        _DATABASE,
        logging.ERROR,
        "the outbox cannot be used, and the relay tries again: %s",
        (described(error),),
    )
    yield Rest(_until_end(control, seconds))


def described(error: Exception) -> str:
    """Describe an error for the log: our own with their message, others only by their type."""
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, PartnerEventsError) else name


def _deal_with(control: Control, claim: Claim) -> Work:
    began = control.clock()
    judgement = yield from _send(control, claim)
    settled = yield from _settle(control, claim, judgement.fates, began)
    if settled is None:
        return
    control.count(settled, judgement.outage)
    now = control.clock()
    links = dict.fromkeys(row.traceparent for row in claim.rows if row.traceparent)
    yield Tell(settled, tuple(links)[:MAX_LINKS], len(claim.rows), now - began)
    if settled.lost:
        yield Say(
            "lost",
            logging.WARNING,
            "%d rows may be sent twice: another relay claimed them after their "
            "lease of %g s had expired",
            (settled.lost, claim.lease),
        )
    if settled.dead:
        codes = sorted({fate.code for fate in judgement.fates if isinstance(fate, Dead)})
        text = "%d events are dead letters now (%s)"
        if settled.dead == 1:
            text = "%d event is a dead letter now (%s)"
        yield Say(
            f"dead {codes}", logging.ERROR, text, (settled.dead, ", ".join(map(escaped, codes[:5])))
        )
    yield from _remember(control, judgement, began, now)


def _send(control: Control, claim: Claim) -> Generator[Step, Any, Judgement]:
    events, unsent = sendable(claim.rows)
    rules = control.settings.rules
    if not events:
        return judge(claim.rows, (), unsent, rules)
    try:
        outcomes = yield Send(events, control.settings.lease / 2)
    except Exception as error:  # noqa: BLE001  # the caller's sender may raise anything
        # Errors of credentials and configuration come before anything is sent.
        maybe_sent = not isinstance(error, (ConfigurationError, CredentialsError))
        code = type(error).__name__
        yield Say(
            f"raised {code}", logging.ERROR, "the relay's client raised %s", (described(error),)
        )
        if maybe_sent:
            return raised(claim.rows, code, unsent, rules)
        later = Later(0.0, code, "nothing was sent", is_try=False)
        fates = [unsent.get(place, later) for place in range(len(claim.rows))]
        return Judgement(fates, outage=code)
    return judge(claim.rows, outcomes, unsent, rules)


def _settle(
    control: Control, claim: Claim, fates: Sequence[Fate], began: float
) -> Generator[Step, Any, Settled | None]:
    """Settle a claim; retry while the database is unavailable."""
    seconds = 0.1
    stopped_at: float | None = None
    while True:
        try:
            settled: Settled = yield Settle(claim, fates)
        except Exception as error:
            now = control.clock()
            if stopped_at is None and (control.is_stopped() or control.failed):
                stopped_at = now
            # The lease expires, and the rows are sent again.
            if control.drains and now - began >= claim.lease:
                control.failed = True
                raise
            if stopped_at is not None and now - stopped_at >= claim.lease / 4:
                return None
            yield Say(
                "settle",
                logging.ERROR,
                "the outcomes of %s cannot be stored, and the relay tries again: %s",
                (counted(len(claim.rows)), described(error)),
            )
            yield Rest(seconds)
            seconds = min(2 * seconds, 5.0)
        else:
            return settled


def _remember(control: Control, judgement: Judgement, began: float, now: float) -> Work:
    """Hold sources that must wait, pause if nothing gets through, and end pauses that are over."""
    pauses = control.pauses
    if judgement.gets_through and pauses.end(None):
        yield Say("outage is over", logging.INFO, "events get through again")
    if judgement.accepted and pauses.has_any:
        region_of = control.settings.rules.region_of
        for source in judgement.accepted:
            pauses.end(source)
            if region_of is not None:
                pauses.end(region_of(source))
    for source in judgement.pending:
        yield from _hold(source, control.settings.pending_wait)
    for name, (code, sources) in judgement.troubled.items():
        seconds = pauses.begin(name, began, now)
        yield Say(
            "trouble",
            logging.ERROR,
            "nothing gets through to %s (%s): its events wait for %.0f s",
            (name, escaped(code), seconds),
        )
        for source in sources:
            yield from _hold(source, seconds)
    if judgement.parked:
        yield Say(
            "parked",
            logging.ERROR,
            "a guard has parked %s, which the outbox keeps too: with a relay, give the "
            'guard on_pending="reject"',
            (counted(judgement.parked),),
        )
    if judgement.outage is not None:
        seconds = pauses.begin(None, began, now)
        yield Say(
            "outage",
            logging.ERROR,
            "nothing gets through (%s): the relay pauses for %.0f s, and events wait",
            (escaped(judgement.outage), seconds),
        )


def _hold(source: str, seconds: float) -> Work:
    try:
        yield Hold(source, seconds)
    except Exception as error:  # noqa: BLE001  # without a hold, rows are only tried too soon
        yield Say("hold", logging.ERROR, "a source could not be held: %s", (described(error),))
