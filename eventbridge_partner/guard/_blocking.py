"""The guard for threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from eventbridge_partner._forks import after_fork
from eventbridge_partner.delivery.given import check_deadline, refuse_single
from eventbridge_partner.errors import (
    InputInterruptedError,
    InvalidEventError,
    PartnerEventsError,
    ResourceNotFoundError,
)
from eventbridge_partner.guard._holding import (
    BUDGET_EVENTS,
    STAND_IN,
    STAND_IN_AFTER,
    Held,
    Merging,
    gone,
    not_parked,
    parked,
    pending,
    select,
    source_of,
    sources_of,
)
from eventbridge_partner.guard._states import Need, Standing
from eventbridge_partner.guard._watch import Budget, OnPending, Watch
from eventbridge_partner.models import DeliveryReport, GivenEvent, Outcome, Rejected
from eventbridge_partner.sources import Sources


class GuardedClient(Protocol):
    """What a guard stands in front of: a `PartnerEventsClient`, or what has these of it."""

    @property
    def sources(self) -> Sources:
        """Where states are looked up."""
        ...

    def put_events(
        self, events: Iterable[GivenEvent], *, deadline: float | None = None
    ) -> DeliveryReport:
        """See `PartnerEventsClient.put_events`."""
        ...

    def stream_events(
        self, events: Iterable[GivenEvent], *, deadline: float | None = None
    ) -> Iterator[Outcome]:
        """See `PartnerEventsClient.stream_events`."""
        ...


class SourceGuard:
    """
    Keeps events from sources that would swallow them. Put it in front of a client.

    A source in state PENDING accepts events and drops them, and the answer does not show it. The
    guard looks the states up, keeps them for a while, and holds back what would be lost. Look-ups
    keep the pace of `client.sources`; where there is no answer to be had, events are sent. A state
    may change between the look and the send, so what is sent may still be dropped. Thread-safe,
    and safe to use on both sides of a fork.

    Args:
        client: What sends. It stays the caller's to close.
        on_pending: What becomes of events whose source is PENDING. `reject`: the outcome is
            `Rejected` with the code `SourcePending`. `allow` or `warn`: they are sent and dropped
            by the service; `warn` logs that once for each look-up. A function: it is given the
            event to keep until the source is ACTIVE, and the outcome is `Exhausted` with the code
            `SourceParked`, which tells the caller that somebody else sends it again.
        account_of: Returns the customer's account for the name of a source, as a dict's `get`
            does; None for one that it does not know. Without it, a source is PENDING if it is so
            in all accounts that have it. If it raises, or returns what is no account, that is
            logged, and counts as None.
        on_source_gone: Called with the name of a source that does not exist any more, once, in
            the thread that found out: stop sending to it, and drop its mapping.
        ttl: Seconds for which a look-up is believed.
        pending_ttl: The same for sources that were PENDING.
        patience: Seconds that the look-ups of one call may take; of a `deadline`, half at most.
            What is not known then is gone by as it was known before, or else sent.
        max_look_ups: How many sources one call looks up at most.
        look_up_timeout: Seconds for one look-up with all its attempts. After one that fails there
            is none for 5 s, and up to 5 minutes if that goes on.
        clock: Tells seconds, from any beginning: for tests.

    Raises:
        ValueError: A number or word that cannot work.
    """

    def __init__(
        self,
        client: GuardedClient,
        *,
        on_pending: OnPending | Callable[[GivenEvent], object] = "reject",
        account_of: Callable[[str], str | None] | None = None,
        on_source_gone: Callable[[str], object] | None = None,
        ttl: float = 300.0,
        pending_ttl: float = 30.0,
        patience: float = 10.0,
        max_look_ups: int = 500,
        look_up_timeout: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._park = on_pending if callable(on_pending) else None
        self._on_source_gone = on_source_gone
        self._clock = clock
        self._watch = Watch(
            on_pending=on_pending,
            account_of=account_of,
            ttl=ttl,
            pending_ttl=pending_ttl,
            patience=patience,
            max_look_ups=max_look_ups,
            look_up_timeout=look_up_timeout,
            clock=clock,
        )
        self._forget_parent()
        after_fork(self, SourceGuard._forget_parent)

    # ------------------------------------------------------------ sending

    def put_events(
        self, events: Iterable[GivenEvent], *, deadline: float | None = None
    ) -> DeliveryReport:
        """
        Send events whose sources take them; see `put_events` of the client.

        Returns:
            One outcome per event, in the order given, those that were held back included.
        """
        check_deadline(deadline)
        refuse_single(events)
        began = self._clock()
        budget = self._watch.budget(deadline)
        merging = Merging()
        if not isinstance(events, (list, tuple)):
            events = self._passing(iter(events), merging, budget)
        else:
            events = self._select(events, merging, budget)
        if deadline is not None:
            deadline = max(deadline - (self._clock() - began), 0.001)
        try:
            report = self._client.put_events(events, deadline=deadline)
        except InputInterruptedError as error:
            self._learn_all(error.report)
            raise merging.interrupted(error) from error.__cause__
        self._learn_all(report)
        return merging.report(report)

    def stream_events(
        self, events: Iterable[GivenEvent], *, deadline: float | None = None
    ) -> Iterator[Outcome]:
        """
        Send events without end whose sources take them; see `stream_events` of the client.

        `patience` and `max_look_ups` are for each 1,000 events.

        Yields:
            One outcome per event, in the order given, those that were held back included.
        """
        check_deadline(deadline)
        refuse_single(events)
        merging = Merging()
        passing = self._passing(iter(events), merging, self._watch.budget(deadline))
        return self._settling(self._client.stream_events(passing, deadline=deadline), merging)

    def check(self, event: GivenEvent) -> Outcome | None:
        """
        Return the outcome of an event that is to be held back; None for one to be sent.

        For what sends in another way than `put_events`. Tell `learn` of the outcomes then.
        """
        source = source_of(event)
        standing = None if source is None else self._held(source, self._watch.budget())
        return None if standing is None else self._outcome(Held(0, event, standing))

    def learn(self, outcome: Outcome) -> None:
        """Take from an outcome whether its source is gone."""
        if (source := self._watch.learn(outcome)) is not None:
            self._tell_gone(source)

    def _learn_all(self, report: DeliveryReport) -> None:
        for rejected in report.rejected:
            self.learn(rejected)

    def _settling(self, sent: Iterator[Outcome], merging: Merging) -> Iterator[Outcome]:
        try:
            for outcome in sent:
                if type(outcome) is Rejected:
                    self.learn(outcome)
                if merging.held or merging.shift:
                    yield from merging.place(outcome)
                else:
                    yield outcome
        except InputInterruptedError as error:
            yield from merging.rest()
            raise merging.interrupted(error) from error.__cause__
        yield from merging.rest()

    def _passing(
        self, events: Iterator[GivenEvent], merging: Merging, budget: Budget
    ) -> Iterator[GivenEvent]:
        in_a_row = 0
        index = -1
        try:
            for index, event in enumerate(events):
                if index and not index % BUDGET_EVENTS:
                    budget = self._watch.budget()
                if self._watch.is_surely_open(event):
                    in_a_row = 0
                    yield event
                    continue
                source = source_of(event)
                standing = None if source is None else self._held(source, budget)
                if standing is None:
                    in_a_row = 0
                    yield event
                    continue
                merging.held[index] = self._outcome(Held(index, event, standing))
                in_a_row += 1
                if in_a_row == STAND_IN_AFTER:
                    in_a_row = 0
                    yield STAND_IN
        finally:
            merging.taken = index + 1

    # ------------------------------------------------------------ holding back

    def _select(
        self, events: Sequence[GivenEvent], merging: Merging, budget: Budget
    ) -> Sequence[GivenEvent]:
        """Return what is sent of the events."""
        sources = sources_of(events)
        for source, need in self._watch.needs(sources):
            self._look_up(source, need, budget)
        standings = self._watch.all_held(sources)
        if not standings:
            return events
        sent, held = select(events, standings)
        for one in held:
            merging.held[one.index] = self._outcome(one)
        return sent

    def _held(self, source: str, budget: Budget) -> Standing | None:
        if (need := self._watch.need(source)) is not Need.NOTHING:
            self._look_up(source, need, budget)
        return self._watch.held(source)

    def _outcome(self, held: Held) -> Outcome:
        if held.standing is Standing.GONE:
            return gone(held)
        if self._park is None:
            return pending(held)
        try:
            self._park(held.event)
        except Exception as error:  # noqa: BLE001  # the caller's, whatever it is
            return not_parked(held, error)
        return parked(held)

    # ------------------------------------------------------------ looking up

    def _look_up(self, source: str, need: Need, budget: Budget) -> None:
        # One at a time, so that all who wait for the same source have the one answer.
        patience = min(self._watch.patience(need, budget), threading.TIMEOUT_MAX)
        if not self._turn.acquire(timeout=patience):
            return
        try:
            sources = self._client.sources
            seconds = self._watch.time_for(source, budget, sources.pace.ready_at())
            is_news = seconds is not None and self._ask(sources, source, seconds)
        finally:
            self._turn.release()
        if is_news:
            self._tell_gone(source)

    def _ask(self, sources: Sources, source: str, seconds: float) -> bool:
        account = self._watch.account(source)
        try:
            accounts = list(sources.accounts(source, timeout=seconds))
        except ResourceNotFoundError:
            accounts = []
        except InvalidEventError:
            return False  # the client says what is wrong with it
        except PartnerEventsError as error:
            self._watch.failed(error)
            return False
        return self._watch.listed(source, accounts, account)

    def _tell_gone(self, source: str) -> None:
        self._watch.tell_gone(source)
        if self._on_source_gone is not None:
            try:
                self._on_source_gone(source)
            except Exception as error:  # noqa: BLE001  # the caller's, whatever it is
                self._watch.hook_raised(source, error)

    def _forget_parent(self) -> None:
        """Start with a lock of one's own: a thread of the parent may have held the other."""
        self._turn = threading.Lock()

    def __repr__(self) -> str:
        return f"<SourceGuard in front of {self._client!r}>"
