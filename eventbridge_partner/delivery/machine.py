"""
The state machine of one delivery: from events to outcomes, without I/O.

The caller tells it what happened, and it says what to do next. It never sees JSON, HTTP or a clock:

    Take(events)    pass more events: `take_all(events)`, and `no_more_events()` at the end
    Send(batch)     send these entries, then call `accepted(...)`, `answered(...)` or `failed(...)`
    Wait(until)     nothing to do until that time, or until an answer comes
    Finished        every event has its outcome

`outcomes()` hands out the decided outcomes, one for each event, in the order of the events.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final, NamedTuple, cast

from eventbridge_partner.delivery.actions import (
    FINISHED,
    Action,
    DeliverySettings,
    Send,
    Take,
    Wait,
)
from eventbridge_partner.delivery.batching import Packing
from eventbridge_partner.delivery.entries import Batch, Entry, Group
from eventbridge_partner.delivery.given import read
from eventbridge_partner.errors import (
    CredentialsError,
    PartnerEventsError,
    ServiceError,
    TlsError,
    TransportError,
    UnreadableAnswerError,
)
from eventbridge_partner.models import (
    Accepted,
    Exhausted,
    GivenEvent,
    Outcome,
    PartnerEvent,
    Rejected,
    ResultEntry,
    Unconfirmed,
    entry_size,
)
from eventbridge_partner.pacing import Pace
from eventbridge_partner.retry import RetryQuota, Verdict

CANCELLED: Final = "Cancelled"
DEADLINE_EXCEEDED: Final = "DeadlineExceeded"
ENTRY_TOO_LARGE: Final = "EntryTooLarge"


class Delivery:
    """
    One delivery: a call of `put_events` or `stream_events`, or all sending of a publisher.

    All times are seconds of one monotonic clock, given by the caller.

    Args:
        settings: Its limits and its retry policy.
        quota: How many retries are left.
        pace: How many requests a second may go out.
        deadline: The latest time at which it ends.
        is_packed: Whether events come in packed batches, to be sent as soon as possible, and
            outcomes are handed out in the order in which they are decided.

    Attributes:
        throttled: How many requests were throttled, as a whole or in part.
    """

    def __init__(
        self,
        settings: DeliverySettings,
        quota: RetryQuota,
        *,
        pace: Pace | None = None,
        deadline: float | None = None,
        is_packed: bool = False,
    ) -> None:
        self.throttled: int = 0
        self._settings = settings
        self._pace = Pace() if pace is None else pace
        self._judge = settings.judge
        self._limits = settings.limits
        self._quota = quota
        self._deadline = deadline
        self._taken = 0
        self._sequence = itertools.count()
        # Events whose outcome is not handed out: it is undecided, or an earlier one is.
        self._held: deque[Group] = deque()
        self._held_events = 0
        self._held_bytes = 0
        # Where an entry is: never sent, in a group to be sent whole or alone; due for a retry;
        # waiting until it is due; or in a batch that is kept together.
        self._whole: Group | None = None
        self._fresh: deque[Entry] = deque()
        self._due: deque[Entry] = deque()
        self._waiting: list[tuple[float, int, Entry]] = []
        self._kept_batches: list[tuple[float, int, Batch]] = []
        self._in_flight: set[Batch] = set()
        self._take_batch = Take(self._limits.max_entries)
        # This many entries never sent need not wait for others to share a request with.
        self._enough_fresh = 1 if is_packed else self._limits.max_entries
        self._decided: list[Outcome] | None = [] if is_packed else None
        # If a group as a whole is within the limits, so is each of its events.
        self._largest_whole = min(self._limits.max_batch_bytes, self._limits.max_entry_bytes)
        self._input_ended = False
        self._halted: tuple[str, str] | None = None
        # For each source whose last entries were all throttled: how many were, and how many
        # entries of all sources had been accepted when that began.
        self._throttled_runs: dict[str, tuple[int, int]] = {}
        self._accepted = 0

    # ------------------------------------------------------------ events in, outcomes out

    def take(self, given: GivenEvent) -> None:
        """Take one more event. See `take_all`."""
        self.take_all((given,))

    def take_all(self, arriving: Iterable[GivenEvent]) -> int:
        """
        Take events as they come, no more than were asked for. Invalid events get their outcome.

        Returns:
            How many events came.

        Raises:
            Exception: `arriving` raised it; the events before it are taken.
        """
        group = Group(self._taken, self._decided)
        try:
            for given in arriving:
                if type(given) is PartnerEvent:
                    group.given.append(given)
                    group.events.append(given)
                else:
                    # Read at once: the caller may reuse a mapping for the next event.
                    self._read(given, group)
        finally:
            if group.given:
                self._keep(group)
        return len(group)

    async def take_from(self, arriving: AsyncIterator[GivenEvent], count: int) -> int:
        """
        Take up to `count` events as they come. See `take_all`.

        The delivery may go on meanwhile, with `input_pauses` given to `next_action`.
        """
        group = Group(self._taken, self._decided)
        try:
            for _ in range(count):
                given = await anext(arriving)
                if type(given) is PartnerEvent:
                    group.given.append(given)
                    group.events.append(given)
                else:
                    # Read at once: the caller may reuse a mapping for the next event.
                    self._read(given, group)
        except StopAsyncIteration:
            pass
        finally:
            if group.given:
                self._keep(group)
        return len(group)

    def _read(self, given: GivenEvent, group: Group) -> None:
        event = read(given, group.first + len(group))
        group.given.append(given)
        if isinstance(event, PartnerEvent):
            group.events.append(event)
            return
        group.events.append(None)
        # `outcomes` is filled up only when an outcome is added, and at the end.
        group.outcomes += [None] * (len(group) - 1 - len(group.outcomes))
        group.outcomes.append(event)

    def _keep(self, group: Group) -> None:
        """Add a complete group, and give its outcome to each event that cannot be sent."""
        decided = len(group.outcomes) - group.outcomes.count(None)
        group.outcomes += [None] * (len(group) - len(group.outcomes))
        group.undecided = len(group) - decided
        sizes = [0 if event is None else entry_size(event) for event in group.events]
        group.size = sum(sizes)
        self._taken += len(group)
        if self._decided is None:
            self._held.append(group)
            self._held_events += len(group)
            self._held_bytes += group.size
        elif decided:
            self._decided += filter(None, group.outcomes)
        if self._whole is not None:
            self._part()
        if decided or self._fresh or self._halted or group.size > self._largest_whole:
            self._part_fresh(group)
        else:
            self._whole = group

    def _part(self) -> None:
        """Split a group that is not sent as a whole into entries."""
        if self._whole is not None:
            self._fresh += self._whole.entries()
            self._whole = None

    def _part_fresh(self, group: Group) -> None:
        for entry in group.entries():
            if entry.size > self._limits.max_entry_bytes:
                message = (
                    f"entry of event {entry.index} has {entry.size} bytes; "
                    f"the limit is {self._limits.max_entry_bytes}"
                )
                entry.decide(Rejected(ENTRY_TOO_LARGE, message, entry.given, entry.index, 0))
            elif self._halted:
                entry.decide(Exhausted(*self._halted, entry.given, entry.index, 0))
            else:
                self._fresh.append(entry)

    def no_more_events(self) -> None:
        """Say that the input has ended."""
        self._input_ended = True

    def outcomes(self) -> list[Outcome]:
        """
        Hand out the decided outcomes that were not handed out yet.

        They come in the order of the events; if packed, in the order in which they were decided.
        """
        if self._decided:
            handed_out = self._decided.copy()
            self._decided.clear()  # in place: groups share this list
            return handed_out
        held = self._held
        decided: list[Outcome] = []
        while held and not held[0].undecided:
            group = held.popleft()
            self._held_bytes -= group.size
            decided += cast("list[Outcome]", group.outcomes[group.handed_out :])
        if held:
            group = held[0]
            while (outcome := group.outcomes[group.handed_out]) is not None:
                decided.append(outcome)
                group.handed_out += 1
        self._held_events -= len(decided)
        return decided

    @property
    def events_in_flight(self) -> int:
        """How many events are in flight. Any thread may ask."""
        return sum(map(len, tuple(self._in_flight)))

    @property
    def is_halted(self) -> bool:
        """Whether nothing more is sent."""
        return self._halted is not None

    # ------------------------------------------------------------ what to do next

    def next_action(self, now: float, *, input_pauses: bool = False) -> Action:
        """
        Say what to do next.

        Args:
            now: The current time.
            input_pauses: Whether there is no event to take now, but may be later. `Take` then
                means that there is nothing else to do.
        """
        if self._deadline is not None and now >= self._deadline:
            self._give_up(_OUT_OF_TIME, "the deadline passed before its answer")
            return FINISHED if self._input_ended else Take(self._limits.max_entries)
        if len(self._in_flight) < self._settings.max_in_flight:
            may_send = not self._pace.is_on or (
                self._pace.ready_at() <= now and len(self._in_flight) < self._pace.max_in_flight
            )
            if may_send and self._kept_batches and self._kept_batches[0][0] <= now:
                return self._send(heapq.heappop(self._kept_batches)[2], now)
            wants_events = self._wants_events()
            if wants_events and not input_pauses:
                count = self._limits.max_entries - self._fresh_events()
                return self._take_batch if count == self._limits.max_entries else Take(count)
            # Entries never sent wait for others to share a request with.
            if may_send and (batch := self._pack_retries(now) if wants_events else self._pack(now)):
                return self._send(batch, now)
        if not (
            self._in_flight
            or self._whole
            or self._fresh
            or self._due
            or self._waiting
            or self._kept_batches
        ):
            return FINISHED if self._input_ended else Take(self._limits.max_entries)
        return Wait(self._next_time())

    def _wants_events(self) -> bool:
        if self._input_ended or self._fresh_events() >= self._enough_fresh:
            return False
        settings = self._settings
        return (settings.max_held is None or self._held_events < settings.max_held) and (
            settings.max_held_bytes is None or self._held_bytes < settings.max_held_bytes
        )

    def _fresh_events(self) -> int:
        return len(self._fresh) if self._whole is None else len(self._whole)

    def _pack(self, now: float) -> Batch | None:
        """Pack the retries that are due, then entries never sent."""
        due, fresh = self._due, self._fresh
        self._end_waits(now)
        if self._whole is not None:
            if not due:
                batch, self._whole = Batch(group=self._whole), None
                return batch
            self._part()
        if not fresh and not (due and self._is_worth_a_request(now)):
            return None
        packing: Packing[Entry] = Packing(self._limits)
        packing.take_from(due)
        if not due:
            packing.take_from(fresh)
        return Batch(packing)

    def _pack_retries(self, now: float) -> Batch | None:
        """Pack only the retries that are due."""
        self._end_waits(now)
        if not (self._due and self._is_worth_a_request(now)):
            return None
        packing: Packing[Entry] = Packing(self._limits)
        packing.take_from(self._due)
        return Batch(packing)

    def _end_waits(self, now: float) -> None:
        waiting = self._waiting
        while waiting and waiting[0][0] <= now:
            self._due.append(heapq.heappop(waiting)[2])

    def _is_worth_a_request(self, now: float) -> bool:
        """
        Tell whether the retries that are due should go without waiting for others.

        They go when they fill a request, when no others can join them, or when the first of them
        has waited for others as long as its delay was. So a throttled service gets full requests,
        and no entry waits more than twice its delay.
        """
        return (
            len(self._due) >= self._limits.max_entries
            or not (self._waiting or self._in_flight)
            or self._company_until() <= now
        )

    def _company_until(self) -> float:
        first = self._due[0].in_trouble()
        return first.due_at + min(first.delay, _MAX_COMPANY_SECONDS)

    def _next_time(self) -> float | None:
        """Return when there is something to do if no answer comes; None for never."""
        times = [] if self._deadline is None else [self._deadline]
        pace = self._pace
        if len(self._in_flight) < min(self._settings.max_in_flight, pace.max_in_flight):
            not_before = pace.ready_at()
            if self._kept_batches:
                times.append(max(not_before, self._kept_batches[0][0]))
            if self._waiting:
                times.append(max(not_before, self._waiting[0][0]))
            if self._due:
                times.append(max(not_before, self._company_until()))
            if pace.is_on and (self._whole or self._fresh) and not self._wants_events():
                times.append(not_before)
        return min(times, default=None)

    def _send(self, batch: Batch, now: float) -> Send:
        batch.sent_at = now
        self._pace.sent(now)
        if batch.group is None:
            for entry in batch.entries:
                if not entry.attempts:
                    entry.first_sent = now
                entry.attempts += 1
        self._in_flight.add(batch)
        return Send(batch)

    # ------------------------------------------------------------ what happened

    def accepted(self, batch: Batch, event_ids: Sequence[str | None], now: float) -> None:
        """
        Note that the service accepted all entries of a batch.

        Args:
            batch: The batch that was sent.
            event_ids: One for each of its entries, in their order.
            now: When the answer came.
        """
        if batch.group is None:
            self.answered(batch, [ResultEntry(event_id) for event_id in event_ids], now)
        elif batch in self._in_flight:
            batch.group.accept(event_ids)
            self._in_flight.remove(batch)
            self._quota.give_back(1.0)
            self._pace.accepted(batch.sent_at)
            if self._throttled_runs:
                self._accepted += len(event_ids)
                for event in batch.events:
                    self._throttled_runs.pop(event.source, None)

    def answered(self, batch: Batch, results: Sequence[ResultEntry | None], now: float) -> None:
        """
        Note the service's results for the entries of a batch.

        Args:
            batch: The batch that was sent.
            results: One for each of its entries, in their order; None if the service does not
                say whether it accepted the entry.
            now: When the answer came.
        """
        if batch not in self._in_flight:
            return  # the answer came after the deadline
        accepted: list[tuple[Entry, str | None]] = []
        failures: dict[tuple[Verdict, str, str], list[Entry]] = {}
        doubtful: list[Entry] = []
        for entry, result in zip(batch.entries, results, strict=True):
            if result is None:
                doubtful.append(entry)
            elif (code := result.error_code) is None:
                accepted.append((entry, result.event_id))
            else:
                message = result.error_message or ""
                verdict = self._judge.verdict_on_entry(code, message)
                failures.setdefault((verdict, code, message), []).append(entry)
        fates = [
            self._fate(entries, verdict, ServiceError(code, message, status=200), now)
            for (verdict, code, message), entries in failures.items()
        ]
        if doubtful:
            unread = UnreadableAnswerError(_SAYS_NEITHER)
            fates.append(self._fate(doubtful, Verdict.TRANSIENT, unread, now))
        # Until here, the caller's policy ran and nothing has changed. From here on, no code of the
        # caller's runs. The batch is removed last, once each entry has a new place.
        tokens = 1.0
        for entry, event_id in accepted:
            if entry.trouble is not None:
                tokens += entry.trouble.tokens
            entry.decide(Accepted(event_id, entry.given, entry.index, entry.attempts))
        self._quota.give_back(tokens)
        throttled = [
            entry
            for (verdict, _, _), entries in failures.items()
            if verdict is Verdict.THROTTLED
            for entry in entries
        ]
        self.throttled += bool(throttled)
        too_fast = self._throttled_with_others(batch, throttled, len(accepted))
        self._tell_pace(batch, too_fast / len(batch), now)
        for fate in fates:
            self._meet(batch, fate, now)
        self._in_flight.remove(batch)

    def failed(self, batch: Batch, error: PartnerEventsError, now: float) -> None:
        """
        Note that a whole request failed.

        Args:
            batch: The batch that was sent.
            error: Why it failed, and whether it may have been sent.
            now: When it failed.
        """
        if batch not in self._in_flight:
            return
        verdict = self._judge.verdict_on_request(error)
        of_request = verdict is Verdict.PERMANENT
        if verdict is Verdict.SPLIT and len(batch) == 1:
            verdict = Verdict.PERMANENT
        fate = self._fate(batch.entries, verdict, error, now, of_request=of_request)
        if isinstance(error, ServiceError):
            self.throttled += verdict is Verdict.THROTTLED
            self._tell_pace(batch, float(verdict is Verdict.THROTTLED), now)
        if verdict is Verdict.SPLIT or (verdict is Verdict.FRESH_START and not batch.fresh_start):
            self._doubt(batch.entries, error)
            if verdict is Verdict.SPLIT:
                middle = len(batch) // 2
                self._again(Batch(batch.entries[:middle], alone=True), now)
                self._again(Batch(batch.entries[middle:], alone=True), now)
            else:
                self._again(Batch(batch.entries, alone=batch.alone, fresh_start=True), now)
        else:
            if verdict is Verdict.UNTRUSTED:
                self._halt(*_named(error))
            self._meet(batch, fate, now)
        self._in_flight.remove(batch)

    def withdrawn(self, batch: Batch) -> None:
        """Note that a batch was not sent because the call ends."""
        for entry in batch.entries:
            entry.attempts -= 1
        self._fresh += batch.entries
        self._in_flight.remove(batch)

    def not_sent(self, batch: Batch, error: CredentialsError, now: float) -> None:
        """
        Note that a batch was not sent because there were no credentials to sign it with.

        Args:
            batch: The batch.
            error: Why there were none.
            now: The current time.
        """
        for entry in batch.entries:
            entry.attempts -= 1
        self.failed(batch, error, now)

    def _throttled_with_others(self, batch: Batch, throttled: list[Entry], accepted: int) -> int:
        """
        Return how many entries were throttled because the client as a whole is too fast.

        A source whose entries are all throttled for a while, in which entries of other sources
        are accepted, is throttled on its own. Other sources must not slow down for it.
        """
        runs = self._throttled_runs
        if not (throttled or runs):
            return 0
        refused = set(map(id, throttled))
        if runs:
            for entry in batch.entries:
                if id(entry) not in refused:
                    runs.pop(entry.event.source, None)
        self._accepted += accepted
        count = 0
        for entry in throttled:
            run, accepted_before = runs.get(entry.event.source, (0, self._accepted))
            if len(runs) < _MAX_RUNS or run:
                runs[entry.event.source] = run + 1, accepted_before
            passed = self._accepted - accepted_before
            count += not (run >= _OWN_THROTTLING and passed >= _OWN_THROTTLING)
        return count

    def _tell_pace(self, batch: Batch, throttled: float, now: float) -> None:
        if throttled:
            in_flight = len(self._in_flight)  # includes this batch
            self._pace.throttled(throttled, batch.sent_at, now, in_flight=in_flight)
        else:
            self._pace.accepted(batch.sent_at)

    def _again(self, batch: Batch, when: float) -> None:
        heapq.heappush(self._kept_batches, (when, next(self._sequence), batch))

    def _fate(
        self,
        entries: Sequence[Entry],
        verdict: Verdict,
        error: PartnerEventsError,
        now: float,
        *,
        of_request: bool = False,
    ) -> _Fate:
        """Ask the policy what a failure means for entries, without changing anything."""
        delays: list[tuple[list[Entry], float | None]] = []
        if verdict in _RETRIED:
            by_tries: dict[int, list[Entry]] = {}
            for entry in entries:
                tries = 0 if entry.trouble is None else entry.trouble.tries
                by_tries.setdefault(tries + 1, []).append(entry)
            for tries, peers in by_tries.items():
                trouble = peers[0].trouble
                delay = self._judge.delay_after(
                    tries,
                    verdict,
                    error,
                    elapsed=now - peers[0].first_sent,
                    waited=0.0 if trouble is None else trouble.waited,
                )
                delays.append((peers, delay))
        return _Fate(entries, verdict, error, delays, of_request)

    def _doubt(self, entries: Sequence[Entry], error: PartnerEventsError) -> None:
        if error.may_have_been_sent:
            for entry in entries:
                entry.in_trouble().doubt = (entry.attempts, str(error))

    def _meet(self, batch: Batch, fate: _Fate, now: float) -> None:
        """Give entries that failed for the same reason their outcome, or a retry."""
        self._doubt(fate.entries, fate.error)
        code, message = _named(fate.error)
        for entry in fate.entries:
            trouble = entry.in_trouble()
            trouble.tries += 1
            trouble.error = (code, message)
        if fate.verdict in _REFUSED:
            gone = fate.verdict is Verdict.SOURCE_GONE
            for entry in fate.entries:
                rejected = Rejected(
                    code,
                    message,
                    entry.given,
                    entry.index,
                    entry.attempts,
                    source_is_gone=gone,
                    of_request=fate.of_request,
                )
                self._fail(entry, rejected)
        elif fate.verdict in _RETRIED:
            for peers, delay in fate.delays:
                self._retry(batch, peers, fate.verdict, delay, now)
        else:
            for entry in fate.entries:
                self._exhaust(entry)

    def _retry(
        self,
        batch: Batch,
        peers: Sequence[Entry],
        verdict: Verdict,
        delay: float | None,
        now: float,
    ) -> None:
        """Schedule a retry of a batch's entries; give them their outcome if there is none."""
        tokens = None
        if delay is not None and (self._deadline is None or now + delay < self._deadline):
            tokens = self._quota.take(verdict, len(peers) / len(batch))
        if delay is None or tokens is None:
            for entry in peers:
                self._exhaust(entry, known=verdict is not Verdict.UNKNOWN)
            return
        for entry in peers:
            trouble = entry.in_trouble()
            trouble.tokens += tokens / len(peers)
            trouble.delay = delay
            trouble.waited += delay
            trouble.due_at = now + delay
        if batch.alone and len(peers) == len(batch):
            self._again(Batch(peers, alone=True), now + delay)
            return
        for entry in peers:
            heapq.heappush(self._waiting, (now + delay, next(self._sequence), entry))

    # ------------------------------------------------------------ outcomes

    def _fail(self, entry: Entry, outcome: Rejected | Exhausted) -> None:
        """Give an entry its outcome: `Unconfirmed` if one of its attempts may have arrived."""
        if entry.trouble is None or entry.trouble.doubt is None:
            entry.decide(outcome)
            return
        attempt, reason = entry.trouble.doubt
        reason = f"attempt {attempt} may have arrived: {reason}"
        if attempt < entry.attempts:
            reason += f"; attempt {entry.attempts} failed with {outcome.code}"
        entry.decide(Unconfirmed(reason, entry.given, entry.index, entry.attempts))

    def _exhaust(self, entry: Entry, *, known: bool = True) -> None:
        code, message = entry.in_trouble().error or _OUT_OF_TIME
        self._fail(entry, Exhausted(code, message, entry.given, entry.index, entry.attempts, known))

    def _halt(self, code: str, message: str) -> None:
        """Send nothing more: fail entries not in flight, and all events still to come."""
        self._halted = (code, message)
        for entry in self._take_back():
            trouble = entry.in_trouble()
            if trouble.error is None:
                trouble.error = (code, message)
            self._exhaust(entry)

    def cancel(self) -> None:
        """End now. Entries in flight are `Unconfirmed`, and nothing more is sent."""
        self._give_up(_CANCELLED, "the call was cancelled before its answer")

    def abandon(self, code: str, message: str, doubt: str) -> None:
        """
        End now as `cancel` does, with texts of the caller's.

        Args:
            code: The code of events that were not sent.
            message: The message of events that were not sent.
            doubt: Why events in flight have no answer.
        """
        self._give_up((code, message), doubt)

    def _give_up(self, error: tuple[str, str], doubt: str) -> None:
        """End all attempts: an answer that has not come counts as lost."""
        for batch in self._in_flight:
            for entry in batch.entries:
                trouble = entry.in_trouble()
                trouble.doubt = (entry.attempts, doubt)
                trouble.error = error
                self._exhaust(entry)
        self._in_flight.clear()
        self._halt(*error)
        # Entries that a signal handler interrupted while they were moved or decided.
        for group in self._held:
            for entry in group.entries():
                entry.attempts = 1
                trouble = entry.in_trouble()
                trouble.doubt, trouble.error = (1, doubt), error
                self._exhaust(entry)
            group.undecided = 0

    def _take_back(self) -> list[Entry]:
        """Remove and return every entry that is not in flight."""
        self._part()
        entries = [
            *self._fresh,
            *self._due,
            *(entry for _, _, entry in self._waiting),
            *(entry for _, _, batch in self._kept_batches for entry in batch.entries),
        ]
        self._fresh.clear()
        self._due.clear()
        self._waiting.clear()
        self._kept_batches.clear()
        return entries


class _Fate(NamedTuple):
    """
    What a failure means for entries.

    Attributes:
        entries: Entries that failed for the same reason.
        verdict: The verdict on the failure.
        error: The reason.
        delays: Groups of the entries, each with its delay before a retry; None for no retry.
        of_request: Whether the whole request was refused for a reason not known to be theirs.
    """

    entries: Sequence[Entry]
    verdict: Verdict
    error: PartnerEventsError
    delays: Sequence[tuple[list[Entry], float | None]]
    of_request: bool = False


_REFUSED: Final = frozenset({Verdict.PERMANENT, Verdict.SOURCE_GONE})
_RETRIED: Final = frozenset({Verdict.TRANSIENT, Verdict.THROTTLED, Verdict.UNKNOWN})
_SAYS_NEITHER: Final = "the result of the entry has neither an event id nor an error code"
_OUT_OF_TIME: Final = (DEADLINE_EXCEEDED, "the deadline passed")
_CANCELLED: Final = (CANCELLED, "the call was cancelled")
_MAX_COMPANY_SECONDS: Final = 1.0

_OWN_THROTTLING: Final = 20
"""
A source is throttled on its own after this many of its entries in a row, if as many others passed.

If half of all entries are throttled at random, one source in a million meets this by chance.
"""

_MAX_RUNS: Final = 1000


def _named(error: PartnerEventsError) -> tuple[str, str]:
    """Return the code and message that an outcome gives for an error."""
    match error:
        case ServiceError():
            return error.code, error.message
        case TlsError():
            return "TlsError", str(error)
        case TransportError():
            return "TransportError", str(error)
        case CredentialsError():
            return "CredentialsError", str(error)
        case _:
            return type(error).__name__, str(error)
