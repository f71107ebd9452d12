"""What is known of the states of sources, for how long, and what has to be asked. Time is told."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from typing import Final

from eventbridge_partner.models import SourceAccount, SourceState

_FIRST_REST: Final = 5.0
_LAST_REST: Final = 300.0


class Standing(enum.Enum):
    """What becomes of events for a source."""

    OPEN = "they are sent"
    PENDING = "the service accepts them and drops them"
    GONE = "the service rejects them"


class Need(enum.Enum):
    """Whether a source has to be asked for."""

    NOTHING = "what is known is new enough, or nobody may be asked now"
    REFRESH = "if it can be had without waiting"
    ANSWER = "nothing is known that an event could be sent or held back on"


class SourceStates:
    """
    The standing of each source, as far as it is known.

    A source that is found OPEN goes on to be that until there is an occasion to ask again. After a
    look-up that failed nobody is asked for a while, and what is not known for sure is OPEN: an
    outage of the look-ups holds no event back.

    Args:
        ttl: Seconds for which a look-up is believed.
        pending_ttl: The same where it found PENDING, which a customer can change at any moment.

    Attributes:
        open_until: Of sources that were found OPEN, until when that is believed.
    """

    def __init__(self, *, ttl: float, pending_ttl: float) -> None:
        self._ttl = {
            Standing.OPEN: ttl,
            Standing.PENDING: pending_ttl,
            Standing.GONE: ttl,
        }
        self.open_until: dict[str, float] = {}
        self._known: dict[str, tuple[Standing, float]] = {}
        self._told_gone: dict[str, object] = {}
        self._rest_until = -math.inf
        self._failures = 0

    def need(self, source: str, now: float) -> Need:
        """Tell whether to ask for a source."""
        known = self._known.get(source)
        if known is not None and now < known[1]:
            return Need.NOTHING
        if now < self._rest_until:
            return Need.NOTHING
        if known is not None and known[0] is Standing.OPEN:
            return Need.REFRESH
        return Need.ANSWER

    def standing(self, source: str, now: float) -> Standing:
        """Return what is to be gone by; OPEN where nothing is known."""
        known = self._known.get(source)
        if known is None:
            return Standing.OPEN
        if known[1] <= now < self._rest_until:
            return Standing.OPEN
        return known[0]

    # ------------------------------------------------------------ what is heard

    def found(self, source: str, standing: Standing, now: float) -> bool:
        """
        Take what a look-up or a result says.

        Returns:
            Whether the source is gone and was not before.
        """
        self._failures = 0
        self._rest_until = -math.inf
        return self._keep(source, standing, now)

    def gone(self, source: str, now: float) -> bool:
        """Take that a result says that the source is gone. Returns what `found` does."""
        return self._keep(source, Standing.GONE, now)

    def failed(self, now: float) -> float:
        """Take that a look-up failed, and return for how many seconds there will be none."""
        rest = min(_FIRST_REST * (1 << self._failures), _LAST_REST)
        self._failures = min(self._failures + 1, 16)
        self._rest_until = now + rest
        return rest

    def _keep(self, source: str, standing: Standing, now: float) -> bool:
        until = now + self._ttl[standing]
        self._known[source] = standing, until
        if standing is Standing.OPEN:
            self.open_until[source] = until
        else:
            self.open_until.pop(source, None)
        if standing is not Standing.GONE:
            self._told_gone.pop(source, None)
            return False
        # Of several threads that hear it at the same time, one is the first.
        mine = object()
        return self._told_gone.setdefault(source, mine) is mine


def standing_of(accounts: Iterable[SourceAccount], account: str | None) -> Standing:
    """
    Judge by what was listed.

    Args:
        accounts: All that have the source.
        account: The one that counts; None for any of them.
    """
    states = {one.state for one in accounts if account is None or one.account == account}
    states.discard(SourceState.DELETED)
    if not states:
        return Standing.GONE
    # A state that nobody knows yet is no reason to hold events back.
    return Standing.PENDING if states == {SourceState.PENDING} else Standing.OPEN
