"""The decisions of both guards: what to look up, for how long, and which events to hold back."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from typing import Final, Literal

import attrs

from eventbridge_partner._foreign_text import escaped, plain_text
from eventbridge_partner._logs import log
from eventbridge_partner._signals import let_pass
from eventbridge_partner.errors import PartnerEventsError
from eventbridge_partner.guard._holding import source_of
from eventbridge_partner.guard._states import Need, SourceStates, Standing, standing_of
from eventbridge_partner.models import Outcome, PartnerEvent, Rejected, SourceAccount
from eventbridge_partner.models._source_name import account_findings

OnPending = Literal["allow", "warn", "reject"]
"""How to treat events whose source is PENDING."""

_ON_PENDING: Final = ("allow", "warn", "reject")


@attrs.define
class Budget:
    """
    The limits of the look-ups of one call.

    Attributes:
        look_ups: How many are left.
        until: The time after which none begins.
        end: The time at which all must end.
    """

    look_ups: int
    until: float
    end: float


class Watch:
    """
    Watches the states of sources for a guard.

    Args:
        on_pending: Whether events of PENDING sources are held back: `allow` and `warn` do not.
        account_of: Returns the account of a source that counts; None for all.
        ttl: Seconds for which the result of a look-up is valid.
        pending_ttl: The same for PENDING.
        patience: Seconds that the look-ups of one call may take.
        max_look_ups: The most look-ups of one call.
        look_up_timeout: Seconds for one look-up.
        clock: Returns monotonic seconds.

    Raises:
        ValueError: A setting is out of range.
    """

    def __init__(
        self,
        *,
        on_pending: object,
        account_of: Callable[[str], str | None] | None,
        ttl: float,
        pending_ttl: float,
        patience: float,
        max_look_ups: int,
        look_up_timeout: float,
        clock: Callable[[], float],
    ) -> None:
        if not callable(on_pending) and on_pending not in _ON_PENDING:
            words = ", ".join(map(repr, _ON_PENDING))
            allowed = f"allowed: {words}, or a function that takes an event"
            raise ValueError(f"on_pending is {on_pending!r}; {allowed}")
        if account_of is not None and not callable(account_of):
            found = type(account_of).__name__
            raise ValueError(f"account_of is of type {found}; allowed: a function, or None")
        numbers = {
            "ttl": ttl,
            "pending_ttl": pending_ttl,
            "patience": patience,
            "max_look_ups": max_look_ups,
            "look_up_timeout": look_up_timeout,
        }
        for name, number in numbers.items():
            if not number > 0:
                raise ValueError(f"{name} is {number!r}; allowed: a number above 0")
        self._warns = on_pending == "warn"
        self._holds_pending = not isinstance(on_pending, str) or on_pending == "reject"
        self._account_of = account_of
        self._patience = patience
        self._max_look_ups = max_look_ups
        self._look_up_timeout = look_up_timeout
        self._clock = clock
        self._states = SourceStates(ttl=ttl, pending_ttl=pending_ttl)

    # ------------------------------------------------------------ events

    def is_surely_open(self, event: object) -> bool:
        """Tell quickly, for most events, that no look-up is needed and the event may be sent."""
        if type(event) is not PartnerEvent:
            return False
        return self._clock() < self._states.open_until.get(event.source, -math.inf)

    def held(self, source: str) -> Standing | None:
        """Return why events of a source are held back; None if they are not."""
        standing = self._states.standing(source, self._clock())
        if standing is Standing.OPEN or (standing is Standing.PENDING and not self._holds_pending):
            return None
        return standing

    def all_held(self, sources: Iterable[str]) -> dict[str, Standing]:
        """Return the sources whose events are held back, and why."""
        found = ((source, self.held(source)) for source in sources)
        return {source: standing for source, standing in found if standing is not None}

    def learn(self, outcome: Outcome) -> str | None:
        """Learn from an outcome whether its source is gone; return the source if that is news."""
        if type(outcome) is not Rejected or not outcome.source_is_gone:
            return None
        source = source_of(outcome.event)
        if source is None or not self._states.gone(source, self._clock()):
            return None
        return source

    # ------------------------------------------------------------ look-ups

    def budget(self, deadline: float | None = None) -> Budget:
        """Return the budget for the look-ups of a call with this deadline."""
        now = self._clock()
        until = now + self._patience
        end = until + self._look_up_timeout
        if deadline is not None:
            # A quarter is left for the last look-up, and another for sending.
            until, end = min(until, now + deadline / 2), min(end, now + deadline * 3 / 4)
        return Budget(self._max_look_ups, until, end)

    def need(self, source: str) -> Need:
        """Tell whether to look up a source."""
        return self._states.need(source, self._clock())

    def needs(self, sources: Iterable[str]) -> list[tuple[str, Need]]:
        """Return the sources to look up, the most urgent first."""
        now = self._clock()
        found = [(source, self._states.need(source, now)) for source in sources]
        wanted = [one for one in found if one[1] is not Need.NOTHING]
        return sorted(wanted, key=lambda one: one[1] is Need.REFRESH)

    def patience(self, need: Need, budget: Budget) -> float:
        """Return how many seconds to wait for the turn to look up."""
        return 0.0 if need is Need.REFRESH else max(0.0, budget.until - self._clock())

    def time_for(self, source: str, budget: Budget, turn: float) -> float | None:
        """
        Begin a look-up, if it is needed and the budget allows it.

        Args:
            source: The source to look up.
            budget: The call's budget.
            turn: When the pace allows the request.

        Returns:
            The seconds that it may take; None if there must be no look-up.
        """
        now = self._clock()
        need = self._states.need(source, now)
        if need is Need.NOTHING or budget.look_ups < 1 or now >= budget.until:
            return None
        if turn > (now if need is Need.REFRESH else budget.until):
            return None
        budget.look_ups -= 1
        return min(max(turn - now, 0.0) + self._look_up_timeout, budget.end - now)

    def account(self, source: str) -> str | None:
        """Return the account of a source that counts; None for all."""
        if self._account_of is None:
            return None
        try:
            account = self._account_of(source)
        except Exception as error:  # noqa: BLE001  # the caller's code may raise anything
            let_pass(error)
            kind = type(error).__name__
            log(logging.WARNING, "account_of raised %s for source %s", kind, escaped(source))
            return None
        if account is None:
            return None
        if findings := account_findings(account):
            # No source has an invalid account, so every source would seem gone.
            log(logging.WARNING, "account_of for source %s: %s", escaped(source), findings[0])
            return None
        return plain_text(account)

    def listed(self, source: str, accounts: Iterable[SourceAccount], account: str | None) -> bool:
        """Note the answer to a look-up; return whether it is news that the source is gone."""
        standing = standing_of(accounts, account)
        if standing is Standing.PENDING and self._warns:
            log(
                logging.WARNING,
                "source %s is PENDING: the service accepts its events and drops them",
                source,
            )
        return self._states.found(source, standing, self._clock())

    def failed(self, error: PartnerEventsError) -> None:
        """Note that a look-up failed."""
        rest = self._states.failed(self._clock())
        log(
            logging.WARNING,
            "the states of sources cannot be looked up, events are sent; next try in %.0f s: %s",
            rest,
            error,
        )

    def tell_gone(self, source: str) -> None:
        """Log that a source is gone."""
        log(logging.WARNING, "source %s no longer exists", source)

    def hook_raised(self, source: str, error: Exception) -> None:
        """Log what a user's function raised, rather than lose the outcomes."""
        log(logging.WARNING, "on_source_gone raised %s for source %s", type(error).__name__, source)
