"""
What a relay does next, without I/O: a plan for each of its workers.

    Take      claim rows: go on with the claim, or None
    Send      send events: go on with their outcomes
    Settle    settle a claim: go on with what that did
    Hold      hold a source
    Rest      wait, for rows or for the end of a pause
    Say       write to the log, each thing once a minute
    Tell      tell the observer what became of a claim
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
"""After an outage, so many events find out whether it is over: one request's worth."""


@attrs.frozen
class Take:
    """Claim up to so many rows."""

    events: int


@attrs.frozen
class Send:
    """Send events within so many seconds."""

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
    """Wait; `for_rows` ends when there may be new ones."""

    seconds: float
    for_rows: bool = False


@attrs.frozen
class Say:
    """Write to the log, unless it was said within the last minute; `what` names it."""

    what: str
    level: int
    text: str
    values: tuple[object, ...] = ()


@attrs.frozen
class Tell:
    """Tell the observer what became of a claim of so many rows, and how long that took."""

    settled: Settled
    links: tuple[str, ...]
    claimed: int
    seconds: float


Step = Take | Send | Settle | Hold | Rest | Say | Tell
Work = Generator[Step, Any, None]


@attrs.frozen(kw_only=True)
class Settings:
    """What a relay was told; see `Relay`."""

    claim_events: int
    claim_bytes: int
    lease: float
    poll: float
    pending_wait: float
    rules: Rules


class Pauses:
    """
    How long to pause, for a whole relay or for a part of what it sends to.

    Each pause is twice as long as the one before, from 1 to 60 s. Failures of what was sent before
    the newest pause began are that pause's own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str | None, tuple[float, float, float]] = {}

    def begin(self, key: str | None, sent_at: float, now: float) -> float:
        """Take that nothing got through, and return how long to pause from now on."""
        with self._lock:
            began, seconds, until = self._known.get(key, (-math.inf, _SHORTEST_PAUSE / 2, 0.0))
            if sent_at >= began or until <= now:
                seconds = min(2 * seconds, _LONGEST_PAUSE)
                self._known[key] = now, seconds, now + seconds
                return seconds
            return until - now

    def end(self, key: str | None) -> bool:
        """Take that something got through, and tell whether that is news."""
        if key not in self._known:
            return False
        with self._lock:
            return self._known.pop(key, None) is not None

    def left(self, key: str | None, now: float) -> float:
        """Return how long the pause goes on; 0 if there is none."""
        known = self._known.get(key)
        return 0.0 if known is None else max(0.0, known[2] - now)

    def is_on(self, key: str | None) -> bool:
        """Tell whether nothing has got through since a pause began."""
        return key in self._known

    @property
    def has_any(self) -> bool:
        """Whether anything is known to fail."""
        return bool(self._known)


class Control:
    """
    What the workers of a relay share.

    Args:
        settings: What the relay was told.
        clock: Tells seconds, from any beginning.
        is_stopped: Tells whether somebody wants it to end.
        until: When to end at the latest, on the clock; None to go on.
        events: How many events to claim at most; None for any number.
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
        """Whether there is to be no new claim."""
        late = self.until is not None and self.clock() >= self.until
        return late or self.failed or self._left <= 0 or self.is_stopped()

    def reserve(self) -> int:
        """Return how many events to claim, and count them as claimed."""
        settings = self.settings
        most = _PROBE_EVENTS if self.pauses.is_on(None) else settings.claim_events
        with self._lock:
            events = int(min(most, settings.claim_events, self._left))
            self._left -= events
        return events

    def release(self, events: int) -> None:
        """Count so many as not claimed."""
        with self._lock:
            self._left += events

    def count(self, settled: Settled, outage: str | None) -> None:
        """Count what a settle did."""
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
        """What was done so far."""
        return attrs.evolve(self._done, seconds=self.clock() - self._began)


def work(control: Control) -> Work:
    """
    Return the plan of one worker.

    Raises:
        Exception: What the outbox raised, if the relay drains. A relay that runs goes on.
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
    """Return what may be said of an error: ours say what they know, others only their name."""
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
            "%d rows were another relay's when they were settled, and may be sent twice: their "
            "lease of %g s was over",
            (settled.lost, claim.lease),
        )
    if settled.dead:
        codes = sorted({fate.code for fate in judgement.fates if isinstance(fate, Dead)})
        text = "%d events are dead letters now (%s)"
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
    except Exception as error:  # noqa: BLE001  # what sends is the caller's, whatever it raises
        # Credentials and configuration fail before anything is sent.
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
    """Settle a claim; as long as the database is gone, again and again."""
    seconds = 0.1
    stopped_at: float | None = None
    while True:
        try:
            settled: Settled = yield Settle(claim, fates)
        except Exception as error:
            now = control.clock()
            if stopped_at is None and (control.is_stopped() or control.failed):
                stopped_at = now
            # Its lease covers what nobody could settle: it will be sent again.
            if control.drains and now - began >= claim.lease:
                control.failed = True
                raise
            if stopped_at is not None and now - stopped_at >= claim.lease / 4:
                return None
            yield Say(
                "settle",
                logging.ERROR,
                "what became of %d events cannot be written down, and the relay tries again: %s",
                (len(claim.rows), described(error)),
            )
            yield Rest(seconds)
            seconds = min(2 * seconds, 5.0)
        else:
            return settled


def _remember(control: Control, judgement: Judgement, began: float, now: float) -> Work:
    """Hold what has to wait, pause if nothing gets through, and go on where something does."""
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
            "a guard has parked %d events that stay in the outbox too: under a relay, give the "
            'guard on_pending="reject"',
            (judgement.parked,),
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
    except Exception as error:  # noqa: BLE001  # without a hold, its rows are only tried too soon
        yield Say("hold", logging.ERROR, "a source could not be held: %s", (described(error),))
