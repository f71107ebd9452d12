"""
The state machine of one delivery: from events to outcomes, without I/O.

It is told what happened and says what to do next. It never sees JSON, HTTP or a clock:

    Take(count)     bring more events: `take(event)` for each, `no_more_events()` at the end
    Send(batch)     send these entries: then `answered(...)` or `failed(...)`
    Wait(until)     nothing to do before that time, or before an answer comes
    Finished        every event has its outcome

`outcomes()` hands out what is decided, one outcome for each event, in the order of the events.
"""

from __future__ import annotations

import enum
import heapq
import itertools
from collections import deque
from collections.abc import Sequence
from typing import Final

import attrs

from eventbridge_partner.batching import BatchLimits, Packing
from eventbridge_partner.errors import (
    CredentialsError,
    InvalidEventError,
    PartnerEventsError,
    ServiceError,
    TlsError,
    TransportError,
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
from eventbridge_partner.retry import RetryPolicy, RetryQuota, Verdict

DEADLINE_EXCEEDED: Final = "DeadlineExceeded"
INVALID_EVENT: Final = "InvalidEvent"
ENTRY_TOO_LARGE: Final = "EntryTooLarge"


@attrs.define(eq=False)
class Trouble:
    """
    What went wrong with an entry so far.

    Attributes:
        tries: Failed attempts that count for the retry policy.
        error: The code and the message of the last failure that counted as a try.
        tokens: What it holds of the retry quota.
        delay: Seconds to wait before the next attempt.
        due_at: When that is over.
        waited: Seconds of all its waits.
        doubt: Which attempt may have arrived without our knowing, and why.
    """

    tries: int = 0
    error: tuple[str, str] | None = None
    tokens: float = 0.0
    delay: float = 0.0
    due_at: float = 0.0
    waited: float = 0.0
    doubt: tuple[int, str] | None = None


class Entry:
    """
    One event on its way to its outcome.

    Attributes:
        index: Its position among the events of the call, from 0.
        given: The event as the caller gave it.
        event: What is sent of it.
        size: In bytes, as the service counts.
        attempts: Requests that carried it.
        first_sent: When the first of them went out.
        trouble: What went wrong, once something has.
        outcome: Our final word, once there is one.
    """

    __slots__ = (
        "attempts",
        "event",
        "first_sent",
        "given",
        "index",
        "outcome",
        "size",
        "trouble",
    )

    event: PartnerEvent
    first_sent: float

    def __init__(self, index: int, given: GivenEvent) -> None:
        self.index: int = index
        self.given: GivenEvent = given
        self.size: int = 0
        self.attempts: int = 0
        self.trouble: Trouble | None = None
        self.outcome: Outcome | None = None

    def in_trouble(self) -> Trouble:
        """Return what went wrong with it so far, to be added to."""
        if self.trouble is None:
            self.trouble = Trouble()
        return self.trouble


@attrs.define(eq=False)
class Batch:
    """
    The entries of one request.

    Attributes:
        entries: In the order of sending.
        alone: Whether they must not share a request with others: one of them may be what the
            service refuses whole requests for.
        fresh_start: Whether this is the one more try with fresh credentials or clock.
        attempt: Of its entries' attempts, the highest.
    """

    entries: Sequence[Entry]
    alone: bool = False
    fresh_start: bool = False

    @property
    def events(self) -> list[PartnerEvent]:
        """The events to be sent."""
        return [entry.event for entry in self.entries]

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1, for the entry that has had the most."""
        return max([entry.attempts for entry in self.entries])

    def __len__(self) -> int:
        return len(self.entries)


@attrs.frozen
class Take:
    """Bring up to `count` more events."""

    count: int


@attrs.frozen
class Send:
    """Send a batch."""

    batch: Batch


@attrs.frozen
class Wait:
    """Wait for an answer, but no longer than `until`; None for as long as it takes."""

    until: float | None


class Finished(enum.Enum):
    """Every event has its outcome."""

    FINISHED = enum.auto()


FINISHED: Final = Finished.FINISHED

Action = Take | Send | Wait | Finished


@attrs.frozen(kw_only=True)
class DeliverySettings:
    """
    What bounds a delivery.

    Attributes:
        retry: When to send again.
        limits: How much goes into one request.
        max_in_flight: Requests in flight at a time.
        max_held: Events that are taken and whose outcome is not handed out; None for no bound.
        max_held_bytes: Their size together; None for no bound.
    """

    retry: RetryPolicy = attrs.field(factory=RetryPolicy)
    limits: BatchLimits = attrs.field(factory=BatchLimits)
    max_in_flight: int = 1
    max_held: int | None = None
    max_held_bytes: int | None = None


class Delivery:
    """
    One delivery: a call of `put_events` or `stream_events`.

    All times are seconds of one monotonic clock, given by the caller.
    """

    def __init__(
        self,
        settings: DeliverySettings,
        quota: RetryQuota,
        *,
        deadline: float | None = None,
    ) -> None:
        self._settings = settings
        self._policy = settings.retry
        self._limits = settings.limits
        self._quota = quota
        self._deadline = deadline
        self._taken = 0
        self._sequence = itertools.count()
        # Every event whose outcome is not handed out: it has none, or an earlier one has none.
        self._held: deque[Entry] = deque()
        self._held_bytes = 0
        # Where an entry is: never sent; due for another attempt; waiting until it is; or in a
        # batch that goes as it is.
        self._fresh: deque[Entry] = deque()
        self._due: deque[Entry] = deque()
        self._waiting: list[tuple[float, int, Entry]] = []
        self._kept_batches: list[tuple[float, int, Batch]] = []
        self._in_flight: set[Batch] = set()
        self._input_ended = False
        self._halted: tuple[str, str] | None = None

    # ------------------------------------------------------------ events in, outcomes out

    def take(self, given: GivenEvent) -> None:
        """Take one more event. What cannot be sent gets its outcome at once."""
        entry = Entry(self._taken, given)
        self._taken += 1
        self._held.append(entry)
        try:
            event = given if type(given) is PartnerEvent else _read(given)
        except InvalidEventError as error:
            findings = error.at(entry.index).findings
            message = "; ".join(map(str, findings))
            entry.outcome = Rejected(INVALID_EVENT, message, given, entry.index, 0, findings)
            return
        except Exception as error:  # noqa: BLE001  # the caller's mapping can raise anything
            message = f"entry of event {entry.index} raised {type(error).__name__} when it was read"
            entry.outcome = Rejected(INVALID_EVENT, message, given, entry.index, 0)
            return
        entry.event = event
        entry.size = size = entry_size(event)
        self._held_bytes += size
        if size > self._limits.max_entry_bytes:
            message = (
                f"entry of event {entry.index} has {size} bytes; "
                f"the limit is {self._limits.max_entry_bytes}"
            )
            entry.outcome = Rejected(ENTRY_TOO_LARGE, message, given, entry.index, 0)
        elif self._halted:
            entry.outcome = Exhausted(*self._halted, given, entry.index, 0)
        else:
            self._fresh.append(entry)

    def no_more_events(self) -> None:
        """Say that the input has ended."""
        self._input_ended = True

    def outcomes(self) -> list[Outcome]:
        """Hand out what is decided and was not handed out yet, in the order of the events."""
        held = self._held
        decided: list[Outcome] = []
        while held and (outcome := held[0].outcome) is not None:
            self._held_bytes -= held.popleft().size
            decided.append(outcome)
        return decided

    # ------------------------------------------------------------ what to do next

    def next_action(self, now: float) -> Action:
        """Say what to do next."""
        if self._deadline is not None and now >= self._deadline:
            self._give_up()
            return FINISHED if self._input_ended else Take(self._limits.max_entries)
        if len(self._in_flight) < self._settings.max_in_flight:
            if self._kept_batches and self._kept_batches[0][0] <= now:
                return self._send(heapq.heappop(self._kept_batches)[2], now)
            if self._wants_events():
                return Take(self._limits.max_entries - len(self._fresh))
            if batch := self._pack(now):
                return self._send(batch, now)
        if not (self._in_flight or self._fresh or self._due or self._waiting or self._kept_batches):
            return FINISHED if self._input_ended else Take(self._limits.max_entries)
        return Wait(self._next_time())

    def _wants_events(self) -> bool:
        if self._input_ended or len(self._fresh) >= self._limits.max_entries:
            return False
        settings = self._settings
        return (settings.max_held is None or len(self._held) < settings.max_held) and (
            settings.max_held_bytes is None or self._held_bytes < settings.max_held_bytes
        )

    def _pack(self, now: float) -> Batch | None:
        """Pack what has waited long enough, and then what was never sent."""
        waiting, due, fresh = self._waiting, self._due, self._fresh
        while waiting and waiting[0][0] <= now:
            due.append(heapq.heappop(waiting)[2])
        if not fresh and not (due and self._is_worth_a_request(now)):
            return None
        packing: Packing[Entry] = Packing(self._limits)
        packing.take_from(due)
        if not due:
            packing.take_from(fresh)
        return Batch(packing)

    def _is_worth_a_request(self, now: float) -> bool:
        """
        Tell whether the retries that are due should go without more company.

        They go when they fill a request, when nothing else can join them, or when the first of
        them has waited for company as long as it had to wait for its turn. So a throttled service
        sees full requests, and no entry waits more than twice its delay.
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
        """Return when, at the latest, there is something to do without an answer."""
        times = [] if self._deadline is None else [self._deadline]
        if len(self._in_flight) < self._settings.max_in_flight:
            if self._kept_batches:
                times.append(self._kept_batches[0][0])
            if self._waiting:
                times.append(self._waiting[0][0])
            if self._due:
                times.append(self._company_until())
        return min(times, default=None)

    def _send(self, batch: Batch, now: float) -> Send:
        for entry in batch.entries:
            if not entry.attempts:
                entry.first_sent = now
            entry.attempts += 1
        self._in_flight.add(batch)
        return Send(batch)

    # ------------------------------------------------------------ what happened

    def answered(self, batch: Batch, results: Sequence[ResultEntry], now: float) -> None:
        """
        Take the service's word on the entries of a batch.

        Args:
            batch: The batch that was sent.
            results: One for each of its entries, in their order.
            now: When the answer came.
        """
        self._in_flight.discard(batch)
        failures: dict[tuple[Verdict, str, str], list[Entry]] = {}
        tokens = 1.0
        for entry, result in zip(batch.entries, results, strict=True):
            if (code := result.error_code) is None:
                if entry.trouble is not None:
                    tokens += entry.trouble.tokens
                entry.outcome = Accepted(result.event_id, entry.given, entry.index, entry.attempts)
            else:
                message = result.error_message or ""
                verdict = self._policy.verdict_on_entry(code, message)
                failures.setdefault((verdict, code, message), []).append(entry)
        self._quota.give_back(tokens)
        for (verdict, code, message), entries in failures.items():
            error = ServiceError(code, message, status=200)
            self._after_failure(batch, entries, verdict, error, now)

    def failed(self, batch: Batch, error: PartnerEventsError, now: float) -> None:
        """
        Take the failure of a whole request.

        Args:
            batch: The batch that was sent.
            error: Why it failed; whether it may have arrived is read from it.
            now: When it failed.
        """
        self._in_flight.discard(batch)
        verdict = self._policy.verdict_on_request(error)
        if error.may_have_been_sent:
            for entry in batch.entries:
                doubt = (entry.attempts, str(error))
                entry.in_trouble().doubt = doubt
        match verdict:
            case Verdict.SPLIT if len(batch) > 1:
                middle = len(batch) // 2
                self._again(Batch(batch.entries[:middle], alone=True), now)
                self._again(Batch(batch.entries[middle:], alone=True), now)
            case Verdict.FRESH_START if not batch.fresh_start:
                self._again(Batch(batch.entries, batch.alone, fresh_start=True), now)
            case Verdict.SPLIT:
                self._after_failure(batch, batch.entries, Verdict.PERMANENT, error, now)
            case Verdict.UNTRUSTED:
                self._halt(*_named(error))
                self._after_failure(batch, batch.entries, verdict, error, now)
            case _:
                self._after_failure(batch, batch.entries, verdict, error, now)

    def not_sent(self, batch: Batch, error: CredentialsError, now: float) -> None:
        """
        Take that no request carried a batch, for there was nothing to sign it with.

        Args:
            batch: The batch that was to be sent.
            error: Why there was nothing.
            now: When that showed.
        """
        for entry in batch.entries:
            entry.attempts -= 1
        self.failed(batch, error, now)

    def _again(self, batch: Batch, when: float) -> None:
        heapq.heappush(self._kept_batches, (when, next(self._sequence), batch))

    def _after_failure(
        self,
        batch: Batch,
        entries: Sequence[Entry],
        verdict: Verdict,
        error: PartnerEventsError,
        now: float,
    ) -> None:
        """Decide on entries that failed for the same reason: final, or again after a while."""
        code, message = _named(error)
        for entry in entries:
            trouble = entry.in_trouble()
            trouble.tries += 1
            trouble.error = (code, message)
        match verdict:
            case Verdict.PERMANENT | Verdict.SOURCE_GONE:
                for entry in entries:
                    gone = verdict is Verdict.SOURCE_GONE
                    self._fail(
                        entry,
                        Rejected(
                            code,
                            message,
                            entry.given,
                            entry.index,
                            entry.attempts,
                            source_is_gone=gone,
                        ),
                    )
            case Verdict.FRESH_START | Verdict.UNTRUSTED:
                for entry in entries:
                    self._exhaust(entry)
            case _:
                self._retry(batch, entries, verdict, error, now)

    def _retry(
        self,
        batch: Batch,
        entries: Sequence[Entry],
        verdict: Verdict,
        error: PartnerEventsError,
        now: float,
    ) -> None:
        known = verdict is not Verdict.UNKNOWN
        by_tries: dict[int, list[Entry]] = {}
        for entry in entries:
            by_tries.setdefault(entry.in_trouble().tries, []).append(entry)
        for tries, peers in by_tries.items():
            elapsed, waited = now - peers[0].first_sent, peers[0].in_trouble().waited
            delay = self._policy.delay_after(tries, verdict, error, elapsed=elapsed, waited=waited)
            tokens = None
            if delay is not None and (self._deadline is None or now + delay < self._deadline):
                tokens = self._quota.take(verdict, len(peers) / len(batch))
            if delay is None or tokens is None:
                for entry in peers:
                    self._exhaust(entry, known=known)
                continue
            for entry in peers:
                trouble = entry.in_trouble()
                trouble.tokens += tokens / len(peers)
                trouble.delay = delay
                trouble.waited += delay
                trouble.due_at = now + delay
            if batch.alone and len(peers) == len(batch):
                self._again(Batch(peers, alone=True), now + delay)
                continue
            for entry in peers:
                heapq.heappush(self._waiting, (now + delay, next(self._sequence), entry))

    # ------------------------------------------------------------ outcomes

    def _fail(self, entry: Entry, outcome: Rejected | Exhausted) -> None:
        """Give an entry its outcome, unless an attempt of it may have arrived all the same."""
        entry.outcome = outcome
        if entry.trouble is not None and entry.trouble.doubt is not None:
            attempt, reason = entry.trouble.doubt
            reason = f"attempt {attempt} may have arrived: {reason}"
            if attempt < entry.attempts:
                reason += f"; attempt {entry.attempts} failed with {outcome.code}"
            entry.outcome = Unconfirmed(reason, entry.given, entry.index, entry.attempts)

    def _exhaust(self, entry: Entry, *, known: bool = True) -> None:
        code, message = entry.in_trouble().error or _OUT_OF_TIME
        self._fail(entry, Exhausted(code, message, entry.given, entry.index, entry.attempts, known))

    def _halt(self, code: str, message: str) -> None:
        """Send nothing more: what is not in flight has failed, and so will what comes."""
        self._halted = (code, message)
        for entry in self._take_back():
            trouble = entry.in_trouble()
            if trouble.error is None:
                trouble.error = (code, message)
            self._exhaust(entry)

    def _give_up(self) -> None:
        """End at the deadline: an answer that is not here by now is a lost one."""
        for batch in self._in_flight:
            for entry in batch.entries:
                trouble = entry.in_trouble()
                trouble.doubt = (entry.attempts, "the deadline passed before its answer")
                trouble.error = _OUT_OF_TIME
                self._exhaust(entry)
        self._in_flight.clear()
        self._halt(*_OUT_OF_TIME)

    def _take_back(self) -> list[Entry]:
        """Return every entry that is not in flight, and forget where it was."""
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


_OUT_OF_TIME: Final = (DEADLINE_EXCEEDED, "the deadline passed")
_MAX_COMPANY_SECONDS: Final = 1.0


def _read(given: GivenEvent) -> PartnerEvent:
    return given if isinstance(given, PartnerEvent) else PartnerEvent.from_entry(given)


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
