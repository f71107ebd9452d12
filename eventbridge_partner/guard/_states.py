"""The known states of sources, and which to look up. Time is an argument."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from typing import Final

from eventbridge_partner.models import SourceAccount, SourceState

_FIRST_REST: Final = 5.0
_LAST_REST: Final = 300.0


class Standing(enum.Enum):
    """What happens to the events of a source."""

    OPEN = "they are sent"
    PENDING = "the service accepts them and drops them"
    GONE = "the service rejects them"


class Need(enum.Enum):
    """Whether to look up a source."""

    NOTHING = "the known state is new enough, or look-ups are paused"
    REFRESH = "only if there is no need to wait"
    ANSWER = "no state is known to decide on"


class SourceStates:
    """
    The standing of each source, as far as known.

    A source that was found OPEN counts as OPEN until the next look-up. After a failed look-up,
    look-ups pause for a while, and sources in doubt count as OPEN: an outage of the look-ups holds
    back no event.

    Args:
        ttl: Seconds for which the result of a look-up is valid.
        pending_ttl: The same for PENDING, which a customer can change at any moment.

    Attributes:
        open_until: Until when each OPEN source's state is valid.
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
        """Tell whether to look up a source."""
        known = self._known.get(source)
        if known is not None and now < known[1]:
            return Need.NOTHING
        if now < self._rest_until:
            return Need.NOTHING
        if known is not None and known[0] is Standing.OPEN:
            return Need.REFRESH
        return Need.ANSWER

    def standing(self, source: str, now: float) -> Standing:
        """Return the standing to act on; OPEN if nothing is known."""
        known = self._known.get(source)
        if known is None:
            return Standing.OPEN
        if known[1] <= now < self._rest_until:
            return Standing.OPEN
        return known[0]

    # ------------------------------------------------------------ news

    def found(self, source: str, standing: Standing, now: float) -> bool:
        """
        Note the result of a look-up, or what an outcome shows.

        Returns:
            Whether the source is gone and was not before.
        """
        self._failures = 0
        self._rest_until = -math.inf
        return self._keep(source, standing, now)

    def gone(self, source: str, now: float) -> bool:
        """Note that an outcome shows that the source is gone. Returns what `found` returns."""
        return self._keep(source, Standing.GONE, now)

    def failed(self, now: float) -> float:
        """Note that a look-up failed, and return the seconds for which look-ups pause."""
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
        # Of several threads that find it at the same time, exactly one is the first.
        mine = object()
        return self._told_gone.setdefault(source, mine) is mine


def standing_of(accounts: Iterable[SourceAccount], account: str | None) -> Standing:
    """
    Return the standing of a source by its accounts.

    Args:
        accounts: All accounts that have the source.
        account: The account that counts; None for all of them.
    """
    states = {one.state for one in accounts if account is None or one.account == account}
    states.discard(SourceState.DELETED)
    if not states:
        return Standing.GONE
    # An unknown state is no reason to hold events back.
    return Standing.PENDING if states == {SourceState.PENDING} else Standing.OPEN
