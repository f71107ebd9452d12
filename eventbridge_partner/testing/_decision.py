"""Decides on a request by its faults, signature, body and event sources."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from eventbridge_partner.testing import _rules, _signatures, _source_operations
from eventbridge_partner.testing._faults import (
    MESSAGES,
    SOURCE_OPERATIONS,
    CloseConnection,
    ExpireToken,
    FailEntries,
    FailRequest,
    Fault,
    LimitRate,
    OddPage,
    RefuseRequestContaining,
    Script,
    WrongClock,
    first,
    message_of,
)
from eventbridge_partner.testing._received import Received
from eventbridge_partner.testing._records import EntryResult, new_ids
from eventbridge_partner.testing._rules import EntryError, Reading, Refusal
from eventbridge_partner.testing._sources import LocalSources

GONE: Final = EntryError("ResourceNotFoundException", MESSAGES["ResourceNotFoundException"])
"""The error of an entry whose source does not exist, has expired or was deleted. The message is
AWS's, the code is inferred; `FailEntries` can play another."""


@attrs.define
class Decision:
    """
    The decision on a request: a refusal, a result for each entry, or a document.

    Attributes:
        refusal: Why the whole request is refused; None if it is not.
        form: The form of the refusal; None for the usual one.
        results: One for each entry; empty for a source operation.
        document: The answer to a source operation.
        closes: Whether the connection closes before the request is carried out.
        shown_time: The service's time as the client sees it, epoch seconds.
        effective: The faults that had an effect.
    """

    refusal: Refusal | None = None
    form: FailRequest | None = None
    results: tuple[EntryResult, ...] = ()
    document: Mapping[str, Any] | None = None
    closes: bool = False
    shown_time: float = 0.0
    effective: list[Fault] = attrs.Factory(list[Fault])


@attrs.frozen
class Decider:
    """
    Decides on requests. Not thread-safe: the service holds its lock around it.

    Attributes:
        script: The faults.
        dice: Draws the shares of entries.
        sources: The event sources.
        clock: The service's clock, epoch seconds.
        verifies: Whether the time of a signature is checked.
        page_size: The most items on a page of a list.
    """

    script: Script
    dice: random.Random
    sources: LocalSources
    clock: Callable[[], float]
    verifies: bool
    page_size: int

    def decide(self, received: Received, hits: Sequence[Fault]) -> Decision:
        """
        Decide on a request, and carry it out on the sources.

        Args:
            received: The request.
            hits: The faults that hit it, in the order played.
        """
        decision = Decision()
        if closing := first(hits, CloseConnection):
            decision.effective.append(closing)
            decision.closes = True
            return decision
        arrived_at = self.clock()
        decision.shown_time = arrived_at
        wrong = first(hits, WrongClock)
        if wrong:
            decision.shown_time += wrong.offset
        checks = self.verifies or wrong
        late = _signatures.skew(received.signed, decision.shown_time) if checks else None
        if received.signature_problem:
            decision.refusal = received.signature_problem
        elif late:
            decision.refusal = late
            if wrong:
                decision.effective.append(wrong)
                decision.refusal = _too_skewed(wrong, late)
        elif expired := first(hits, ExpireToken):
            decision.effective.append(expired)
            decision.refusal = Refusal(
                "ExpiredTokenException", "The security token included in the request is expired"
            )
        elif limit := self._rate_limit_hit(hits, arrived_at):
            decision.effective.append(limit)
            decision.refusal = Refusal(limit.code, message_of(limit.code, limit.message))
        elif failed := first(hits, FailRequest):
            decision.effective.append(failed)
            decision.form = failed
            message = message_of(failed.code, failed.message)
            decision.refusal = Refusal(failed.code, message, failed.status)
        elif refusal := received.protocol_problem or received.reading.refusal:
            decision.refusal = refusal
        elif poisoned := first(hits, RefuseRequestContaining):
            decision.effective.append(poisoned)
            message = _rules.echoing_message(received.reading.entries)
            decision.refusal = Refusal(poisoned.code, message, poisoned.status)
        elif received.operation in SOURCE_OPERATIONS:
            self._carry_out(decision, received, hits)
        else:
            self._decide_entries(decision, received.reading, hits, arrived_at)
        return decision

    def _carry_out(self, decision: Decision, received: Received, hits: Sequence[Fault]) -> None:
        odd = first(hits, OddPage)
        carried = _source_operations.carry_out(
            received.operation, received.reading.members, self.sources, self.page_size, odd
        )
        decision.refusal, decision.document = carried.refusal, carried.document
        if odd is not None and carried.was_odd:
            decision.effective.append(odd)

    def _rate_limit_hit(self, hits: Sequence[Fault], now: float) -> LimitRate | None:
        """Return the first limit that the request exceeds; it takes from the limits before it."""
        for fault in hits:
            if (
                isinstance(fault, LimitRate)
                and fault.unit == "requests"
                and not self.script.take_tokens(fault, 1, now)
            ):
                return fault
        return None

    def _decide_entries(
        self, decision: Decision, reading: Reading, hits: Sequence[Fault], now: float
    ) -> None:
        errors = list(reading.errors)
        dropped_for: list[tuple[str, ...]] = [()] * len(errors)
        if self.sources.only_known:
            for place, entry in enumerate(reading.entries):
                found = self.sources.dropped_for(entry["Source"]) if not errors[place] else ()
                if found is None:
                    errors[place] = GONE
                else:
                    dropped_for[place] = found
        for fault in hits:
            good = [place for place, error in enumerate(errors) if error is None]
            match fault:
                case FailEntries():
                    failing = [
                        place
                        for place in good
                        if fault.selects(place, reading.entries[place])
                        and (fault.entry_share >= 1 or self.dice.random() < fault.entry_share)
                    ]
                case LimitRate(unit="entries"):
                    failing = good[self.script.take_tokens(fault, len(good), now) :]
                case _:
                    continue
            if failing:
                decision.effective.append(fault)
            for place in failing:
                errors[place] = EntryError(fault.code, message_of(fault.code, fault.message))
        decision.results = tuple(
            EntryResult(event_id=event_id, dropped_for=dropped)
            if error is None
            else EntryResult(error_code=error.code, error_message=error.message)
            for error, event_id, dropped in zip(
                errors, new_ids(len(errors)), dropped_for, strict=True
            )
        )


def _too_skewed(fault: WrongClock, late: Refusal) -> Refusal:
    if fault.code == late.code:
        return late
    return Refusal(
        fault.code,
        "The difference between the request time and the current time is too large.",
        403 if fault.code == "RequestTimeTooSkewed" else 400,
    )
