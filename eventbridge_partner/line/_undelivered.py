"""Logs how many events were not accepted: at most one line a minute for each code."""

from __future__ import annotations

import atexit
import logging
import math
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Final

from eventbridge_partner._clock import monotonic
from eventbridge_partner._foreign_text import escaped
from eventbridge_partner._logs import is_wanted, log
from eventbridge_partner.error_codes import THROTTLING, TRANSIENT
from eventbridge_partner.models import Accepted, Outcome
from eventbridge_partner.models._counting import counted, were
from eventbridge_partner.models._outcomes import count_outcomes

EVERY_SECONDS: Final = 60.0

_MAX_CODES: Final = 100
_OTHERS: Final = "other codes"
_MAX_CHARACTERS: Final = 100

_AGAIN: Final = "send them again later"
_CREDENTIALS: Final = "check the credentials; `eventbridge-partner doctor` shows which are used"
_PERMISSION: Final = "allow events:PutPartnerEvents for the credentials that sign"

_ADVICE: Final[Mapping[str, str]] = {
    "AccessDenied": _PERMISSION,
    "AccessDeniedException": _PERMISSION,
    "BufferFull": "publish more slowly, or give the publisher a larger buffer",
    "ConfigurationError": "correct the setting that the outcome names",
    "CredentialsError": _CREDENTIALS,
    "EntryTooLarge": "make them smaller",
    "ExpiredToken": _CREDENTIALS,
    "ExpiredTokenException": _CREDENTIALS,
    "IncompleteSignature": _CREDENTIALS,
    "InvalidClientTokenId": _CREDENTIALS,
    "InvalidEvent": "correct them; the outcome names the field",
    "InvalidSignatureException": _CREDENTIALS,
    "MissingAuthenticationToken": _CREDENTIALS,
    "NotAuthorizedForSourceException": "sign with the account that the source was created with",
    "OptInRequired": "register the signing account as a partner",
    "PublisherClosed": "close publishers with more time, and send these again",
    "ResourceNotFoundException": "stop sending to their sources, which no longer exist",
    "SignatureDoesNotMatch": _CREDENTIALS,
    "SourceGone": "stop sending to their sources, which no longer exist",
    "SourceParked": "the code that parked them sends them again",
    "SourcePending": "ask the customer to associate the source with an event bus",
    "TlsError": "check the certificates of proxy and endpoint; the outcome says what is wrong",
    "TransportError": (
        "the service was not reached: check network, proxy and endpoint, then send them again"
    ),
    "UnknownRegion": "give the router a Region for their sources",
    "UnrecognizedClientException": _CREDENTIALS,
}

_BY_NAME: Final[Mapping[str, str]] = {
    "Exhausted": _AGAIN,
    "Rejected": "correct or drop them; the outcome says what is wrong",
    "Unconfirmed": "they may have arrived: send them again if duplicates do no harm",
}


_RETRIED: Final = "the relay retries them"
_DEAD: Final = "`eventbridge-partner outbox dead list` shows those that become dead letters"

_ADVICE_TO_RELAYS: Final[Mapping[str, str]] = {
    **_ADVICE,
    "EntryTooLarge": _DEAD,
    "InvalidEvent": _DEAD,
    "ResourceNotFoundException": _DEAD,
    "SourceGone": _DEAD,
    "TransportError": (
        "the service was not reached: check network, proxy and endpoint; the relay retries them"
    ),
}


def _advice(name: str, code: str) -> str:
    if code in THROTTLING:
        return "send them again later; a Pace or a higher quota helps"
    if code in TRANSIENT:
        return "the service fails: send them again later"
    return _ADVICE.get(code, _BY_NAME.get(name, _AGAIN))


def _advice_to_relays(name: str, code: str) -> str:
    return _ADVICE_TO_RELAYS.get(code, _DEAD if name == "Rejected" else _RETRIED)


class _Count:
    """How many events had one outcome and code."""

    def __init__(self) -> None:
        self.total: int = 0
        self.unsaid: int = 0
        self.last_line: int = 0
        self.window: int = 1
        self.due_at: float = math.inf
        self.said_at: float = -math.inf


class Undelivered:
    """
    Counts events that were not accepted, and logs how many there were. Thread-safe.

    Args:
        of: The owner of the events, as the line names it.
        delay: Seconds from the first event of a code to its line.
        advise: Returns what to do about an outcome's name and code.
    """

    def __init__(
        self, of: str, *, delay: float = 0.0, advise: Callable[[str, str], str] = _advice
    ) -> None:
        self._of = of
        self._advise = advise
        self._delay = delay
        self.due_at: float = math.inf
        self.forget()

    def forget(self) -> None:
        """Start over in a child process: a thread of the parent may have held the lock."""
        self._lock = threading.RLock()
        self._counts: dict[tuple[str, str], _Count] = {}
        self.due_at = math.inf

    def count(self, key: tuple[str, str], events: int, now: float) -> tuple[int, bool]:
        """
        Count events with an outcome and a code.

        Returns:
            The window that they are counted in (see `discount`), and whether they are its first,
            which make a line due.
        """
        with self._lock:
            if key not in self._counts and len(self._counts) >= _MAX_CODES:
                key = key[0], _OTHERS
            count = self._counts.setdefault(key, _Count())
            count.total += events
            count.unsaid += events
            is_first = count.due_at == math.inf
            if is_first:
                count.due_at = max(now + self._delay, count.said_at + EVERY_SECONDS)
                self.due_at = min(self.due_at, count.due_at)
            return count.window, is_first

    def discount(self, key: tuple[str, str], window: int) -> None:
        """Uncount an event that the caller has looked at, unless its line is already written."""
        with self._lock:
            count = self._counts.get(key) or self._counts.get((key[0], _OTHERS))
            if count is not None and count.window == window and count.unsaid:
                count.unsaid -= 1
                count.total -= 1

    def say(self, now: float) -> None:
        """Write the lines that are due. The caller must not hold a lock."""
        if now < self.due_at:
            return
        with self._lock:
            lines = self._due(now)
        self._write(lines)

    def sum_up(self) -> None:
        """Write the remaining lines, and the total if there were others before."""
        with self._lock:
            totals = [(key, count.total) for key, count in self._counts.items() if count.total]
            lines = self._due(math.inf)
            says_more = any(count.total != count.last_line for count in self._counts.values())
            self._counts.clear()
        self._write(lines)
        if says_more:
            in_all = sum(events for _, events in totals)
            log(
                logging.WARNING,
                "in all, %s of %s %s not accepted: %s",
                counted(in_all),
                self._of,
                were(in_all),
                ", ".join(f"{events} {_shown(code or name)}" for (name, code), events in totals),
                entries=in_all,
            )

    def _due(self, now: float) -> list[tuple[tuple[str, str], int]]:
        lines: list[tuple[tuple[str, str], int]] = []
        for key, count in self._counts.items():
            if count.due_at > now:
                continue
            if count.unsaid:
                lines.append((key, count.unsaid))
                count.said_at = now
                count.last_line = count.unsaid
            count.unsaid = 0
            count.window += 1
            count.due_at = math.inf
        self.due_at = min([count.due_at for count in self._counts.values()], default=math.inf)
        return lines

    def _write(self, lines: Iterable[tuple[tuple[str, str], int]]) -> None:
        for (name, code), events in lines:
            log(
                logging.WARNING,
                "%s of %s %s not accepted: %s; %s",
                counted(events),
                self._of,
                were(events),
                f"{name}, {_shown(code)}" if code else name,
                self._advise(name, code),
                entries=events,
                error_code=code or name,
            )


def _shown(code: str) -> str:
    return escaped(code, _MAX_CHARACTERS)


_direct: Final = Undelivered("direct calls")
_relayed: Final = Undelivered("a relay", advise=_advice_to_relays)
_calls: Final = ContextVar("_calls", default=_direct)


def relay_calls() -> None:
    """Let the log say that a relay makes the calls of this context from now on."""
    _calls.set(_relayed)


def warn_of(outcomes: Sequence[Outcome]) -> None:
    """Log how many events of a direct call were not accepted, if there are any."""
    kinds = set(map(type, outcomes))
    kinds.discard(Accepted)
    if not kinds or not is_wanted(logging.WARNING):
        return
    count_direct(outcome for outcome in outcomes if type(outcome) is not Accepted)


def count_direct(outcomes: Iterable[Outcome]) -> None:
    """Log how many events there are, none of which was accepted."""
    now = monotonic()
    calls = _calls.get()
    for key, events in count_outcomes(outcomes).items():
        calls.count(key, events, now)
    calls.say(now)


def sum_up() -> None:
    """Write the lines that remain when the interpreter ends."""
    _direct.sum_up()
    _relayed.sum_up()


def forget() -> None:
    """Start over, with no calls counted."""
    _direct.forget()
    _relayed.forget()


atexit.register(sum_up)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)
