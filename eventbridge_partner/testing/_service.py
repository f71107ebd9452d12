"""The local service: from the request as received to the answer, and what it remembers of both."""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from eventbridge_partner.testing import _answers, _rules, _signatures, _source_operations
from eventbridge_partner.testing._faults import (
    MESSAGES,
    PUT_OPERATION,
    SOURCE_OPERATIONS,
    CloseConnection,
    CutAnswer,
    ExpireToken,
    FailEntries,
    FailRequest,
    Fault,
    GarbleAnswer,
    LimitRate,
    LoseAnswer,
    MiscountFailures,
    OddPage,
    RefuseRequestContaining,
    Script,
    SlowAnswer,
    Visit,
    WrongClock,
    WrongLength,
)
from eventbridge_partner.testing._records import (
    AcceptedEntry,
    Answer,
    EntryResult,
    RequestRecord,
)
from eventbridge_partner.testing._rules import EntryError, Reading, Refusal
from eventbridge_partner.testing._sources import PENDING_SECONDS, LocalSources

if TYPE_CHECKING:
    from botocore.credentials import Credentials

    from eventbridge_partner.testing._server import LocalServer
    from eventbridge_partner.testing._transport import LocalTransport

TARGET_PREFIX: Final = "AWSEvents"
"""Model: targetPrefix."""

CONTENT_TYPE: Final = "application/x-amz-json-1.1"
"""Model: protocol json, jsonVersion 1.1."""

GONE: Final = EntryError("ResourceNotFoundException", MESSAGES["ResourceNotFoundException"])
"""Of an entry whose source is nonexistent, expired or deleted. The words are AWS's, the code is
inferred; `FailEntries` can play another."""

_F = TypeVar("_F", bound=Fault)

_SECRET_HEADERS: Final = frozenset(
    {"authorization", "x-amz-security-token", "cookie", "proxy-authorization"}
)


@attrs.frozen
class _Received:
    """A request, with all that can be said of it without looking at the service's state."""

    operation: str
    headers: Mapping[str, str]
    reading: Reading
    signed: _signatures.Signed
    protocol_problem: Refusal | None = None
    signature_problem: Refusal | None = None


def _received_unread(headers: Mapping[str, str]) -> _Received:
    names = {name.lower(): value for name, value in headers.items()}
    operation = names.get("x-amz-target", "").partition(".")[2]
    return _Received(operation, _showable(names), Reading(()), _signatures.Signed())


def _showable(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name: value for name, value in headers.items() if name not in _SECRET_HEADERS}


@attrs.define
class _Decision:
    """What becomes of a request: refused whole, a result for each entry, or a document."""

    refusal: Refusal | None = None
    form: FailRequest | None = None
    results: tuple[EntryResult, ...] = ()
    document: Mapping[str, Any] | None = None
    effective: list[Fault] = attrs.Factory(list[Fault])


class FakeEventBridge:
    """
    The service, for tests: checks signatures and limits, remembers, and fails on demand.

    Deals with requests in process (`transport`) or over HTTP (`serve`), from any number of
    threads.

    Args:
        region: The Region that requests must be signed for.
        access_key_id: Of the account that it knows.
        secret_access_key: Of the account that it knows.
        session_token: None for lasting credentials.
        verify_signatures: False takes requests with any signature, or none.
        max_request_bytes: What the sizes of a request's entries together must stay under.
        clock: Tells the time in epoch seconds; signatures are held against it.
        seed: Decides the shares of faults; the same seed and requests fail alike.
        keep: How many of the newest requests and accepted entries are remembered; None for all.
            The counters count all the same.
        only_known_sources: True fails entries whose source nobody created, or that is gone; False
            takes any source, until the first is created.
        pending_seconds: How long a source can stay PENDING before it expires, by the `clock`.
        page_size: How many a page of a list has at most, 1 to 100.

    Attributes:
        region: As given.
        sources: The partner event sources, and what their customers can do with them.
        max_request_bytes: As given.
        max_body_bytes: Requests whose body is larger are refused unread, with status 413.
    """

    def __init__(
        self,
        region: str = "us-east-1",
        *,
        access_key_id: str = "AKIDLOCALEVENTBRIDGE",
        secret_access_key: str = "local-secret-access-key",  # noqa: S107 - opens nothing
        session_token: str | None = None,
        verify_signatures: bool = True,
        max_request_bytes: int = 1024 * 1024,
        clock: Callable[[], float] = time.time,
        seed: int = 0,
        keep: int | None = None,
        only_known_sources: bool = False,
        pending_seconds: float = PENDING_SECONDS,
        page_size: int = _source_operations.MAX_PAGE,
    ) -> None:
        if not 1 <= page_size <= _source_operations.MAX_PAGE:
            limit = _source_operations.MAX_PAGE
            raise ValueError(f"page_size is {page_size!r}; allowed: 1 to {limit}")
        self.region = region
        self.max_request_bytes = max_request_bytes
        # One byte of an entry's size takes up to six in JSON (\u0001), and there is JSON around.
        self.max_body_bytes: int = 6 * max_request_bytes + 64 * 1024
        self._verify_signatures = verify_signatures
        self._clock = clock
        self._newest = (access_key_id, secret_access_key, session_token)
        self._known: dict[str, Credentials] = {}
        self._dice = random.Random(seed)
        self._script = Script(self._dice)
        self._accepted: deque[AcceptedEntry] = deque(maxlen=keep)
        self._requests: deque[RequestRecord] = deque(maxlen=keep)
        self._accepted_count = 0
        self._request_count = 0
        # Re-entrant: a predicate of a fault may look at what was accepted.
        self._lock = threading.RLock()
        self.sources: LocalSources = LocalSources(
            region, clock, self._lock, pending_seconds, only_known=only_known_sources
        )
        self._page_size = page_size
        # Operation by name: each reads and checks a body.
        self._readers: Mapping[str, Callable[[bytes], Reading]] = {
            PUT_OPERATION: lambda body: _rules.read_put_partner_events(
                body, self.max_request_bytes
            ),
            **{name: partial(_source_operations.read, name) for name in SOURCE_OPERATIONS},
        }

    def __repr__(self) -> str:
        return (
            f"<FakeEventBridge {self.region}: {self._request_count} requests, "
            f"{self._accepted_count} entries accepted>"
        )

    # What users look at

    @property
    def credentials(self) -> Credentials:
        """The newest credentials of the account that the service knows, as botocore's class."""
        with self._lock:
            access_key_id, secret_access_key, token = self._newest
            known = self._known.get(access_key_id)
            if known is None:
                from botocore.credentials import Credentials

                known = Credentials(access_key_id, secret_access_key, token)
                self._known[access_key_id] = known
            return known

    @property
    def accepted(self) -> tuple[AcceptedEntry, ...]:
        """The accepted entries, in order of acceptance."""
        with self._lock:
            return tuple(self._accepted)

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """The requests that reached the service, in the order in which it dealt with them."""
        with self._lock:
            return tuple(self._requests)

    @property
    def accepted_count(self) -> int:
        """How many entries were accepted, remembered or not."""
        return self._accepted_count

    @property
    def request_count(self) -> int:
        """How many requests reached the service, remembered or not."""
        return self._request_count

    # What users do

    def play(self, *faults: Fault) -> None:
        """
        Add faults to the script, after those that are already in it.

        Each request plays at most one fault that has a number of `times`: the first in the script
        that concerns the request. Faults with `times=None` hold for all requests and combine:
        with each other, and with the one.
        """
        with self._lock:
            self._script.add(faults)

    def clear_faults(self) -> None:
        """Empty the script: from now on nothing goes wrong."""
        with self._lock:
            self._script.clear()

    def forget(self) -> None:
        """Forget accepted entries and requests and count from 0. Faults and sources stay."""
        with self._lock:
            self._accepted.clear()
            self._requests.clear()
            self._accepted_count = self._request_count = 0

    def rotate_credentials(self, session_token: str | None = None) -> Credentials:
        """
        Make new credentials for the account; the service goes on knowing the old ones.

        Args:
            session_token: Of the new ones; None makes one up if the old ones have one.
        """
        with self._lock:
            old = self.credentials
            if session_token is None and old.token:
                session_token = secrets.token_urlsafe(48)
            access_key_id = f"AKIDLOCAL{secrets.token_hex(5).upper()}"
            self._newest = (access_key_id, secrets.token_urlsafe(30), session_token)
            return self.credentials

    def transport(self, *, sleep: Callable[[float], None] = time.sleep) -> LocalTransport:
        """
        Return a transport that hands requests to this service without a socket.

        Args:
            sleep: Waits for slow answers, in seconds; those beyond the read timeout are not
                waited for.
        """
        from eventbridge_partner.testing._transport import LocalTransport

        return LocalTransport(self, sleep)

    def serve(self, host: str = "127.0.0.1", port: int = 0) -> LocalServer:
        """
        Start to serve HTTP; stop with `close()` or by leaving its `with` block.

        Args:
            host: The address to listen on.
            port: 0 for any free one; `url` tells which.
        """
        from eventbridge_partner.testing._server import LocalServer

        return LocalServer(self, host, port)

    # From request to answer

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """
        Deal with one request, whoever received it.

        Args:
            method: Of HTTP.
            path: With the query, if there is one.
            headers: As received; names in any case.
            body: As received.
        """
        if len(body) > self.max_body_bytes:
            return self.refuse_unread(headers)
        received = self._receive(method, path, headers, body)
        with self._lock:
            return self._deal_with(received)

    def refuse_unread(self, headers: Mapping[str, str]) -> Answer:
        """Refuse a request whose body has more than `max_body_bytes`; what plays has no part."""
        decision = _Decision(_answers.too_large(self.max_body_bytes))
        received = _received_unread(headers)
        with self._lock:
            answer = self._answer(received.operation, decision, (), self._clock())
            self._remember(received, decision, answer)
            return answer

    def note_undelivered(self, answer: Answer) -> None:
        """Put on record that the client did not get this answer."""
        with self._lock:
            place = answer.request_index - self._request_count + len(self._requests)
            # Else it was forgotten meanwhile.
            if (
                0 <= place < len(self._requests)
                and self._requests[place].index == answer.request_index
            ):
                self._requests[place] = attrs.evolve(self._requests[place], answer_delivered=False)

    def _receive(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> _Received:
        names = {name.lower(): value for name, value in headers.items()}
        operation, problem = self._operation(method, path, names)
        reader = self._readers.get(operation)
        reading = reader(body) if reader and problem is None else Reading(())
        signed = _signatures.read_signature(names)
        signature_problem = None
        if self._verify_signatures:
            newest = self.credentials
            is_newest = signed.access_key_id == newest.access_key
            known = newest if is_newest else self._known.get(signed.access_key_id)
            signature_problem = _signatures.verify(
                signed, known, self.region, method=method, path=path, headers=names, body=body
            )
        return _Received(operation, _showable(names), reading, signed, problem, signature_problem)

    def _operation(
        self, method: str, path: str, headers: Mapping[str, str]
    ) -> tuple[str, Refusal | None]:
        prefix, _, operation = headers.get("x-amz-target", "").partition(".")
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if method != "POST" or path != "/":
            return operation, _unknown_operation(status=404)
        if (
            prefix != TARGET_PREFIX
            or operation not in self._readers
            or content_type != CONTENT_TYPE
        ):
            return operation, _unknown_operation()
        return operation, None

    def _deal_with(self, received: _Received) -> Answer:
        signed = received.signed
        reading = received.reading
        visit = Visit(
            reading.entries,
            (signed.access_key_id, signed.token),
            received.operation,
            reading.members.get("NextToken"),
        )
        hits = self._script.hits(visit)
        decision = _Decision()
        if closing := _first(hits, CloseConnection):
            decision.effective.append(closing)
            answer = Answer(self._request_count, 0, {}, b"", is_silent=True)
        else:
            now = self._decide(decision, received, hits)
            answer = self._answer(received.operation, decision, hits, now)
        for fault in decision.effective:
            self._script.spend(fault, visit)
        self._remember(received, decision, answer)
        return answer

    def _decide(self, decision: _Decision, received: _Received, hits: Sequence[Fault]) -> float:
        """Decide on the request; return the time by the clock that the service shows."""
        now = arrived_at = self._clock()
        wrong = _first(hits, WrongClock)
        if wrong:
            now += wrong.offset
        late = _signatures.skew(received.signed, now) if self._verify_signatures or wrong else None
        if received.signature_problem:
            decision.refusal = received.signature_problem
        elif late:
            decision.refusal = late
            if wrong:
                decision.effective.append(wrong)
                decision.refusal = _too_skewed(wrong, late)
        elif expired := _first(hits, ExpireToken):
            decision.effective.append(expired)
            decision.refusal = Refusal(
                "ExpiredTokenException", "The security token included in the request is expired"
            )
        elif limit := self._rate_limit_hit(hits, arrived_at):
            decision.effective.append(limit)
            decision.refusal = Refusal(limit.code, _message(limit.code, limit.message))
        elif failed := _first(hits, FailRequest):
            decision.effective.append(failed)
            decision.form = failed
            message = _message(failed.code, failed.message)
            decision.refusal = Refusal(failed.code, message, failed.status)
        elif refusal := received.protocol_problem or received.reading.refusal:
            decision.refusal = refusal
        elif poisoned := _first(hits, RefuseRequestContaining):
            decision.effective.append(poisoned)
            message = _rules.echoing_message(received.reading.entries)
            decision.refusal = Refusal(poisoned.code, message, poisoned.status)
        elif received.operation in SOURCE_OPERATIONS:
            self._carry_out(decision, received, hits)
        else:
            self._decide_entries(decision, received.reading, hits, arrived_at)
        return now

    def _carry_out(self, decision: _Decision, received: _Received, hits: Sequence[Fault]) -> None:
        odd = _first(hits, OddPage)
        carried = _source_operations.carry_out(
            received.operation, received.reading.members, self.sources, self._page_size, odd
        )
        decision.refusal, decision.document = carried.refusal, carried.document
        if odd is not None and carried.was_odd:
            decision.effective.append(odd)

    def _rate_limit_hit(self, hits: Sequence[Fault], now: float) -> LimitRate | None:
        """Return the first limit that the request is over; it takes from those before that."""
        for fault in hits:
            if (
                isinstance(fault, LimitRate)
                and fault.unit == "requests"
                and not self._script.take_tokens(fault, 1, now)
            ):
                return fault
        return None

    def _decide_entries(
        self, decision: _Decision, reading: Reading, hits: Sequence[Fault], now: float
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
                        and (fault.entry_share >= 1 or self._dice.random() < fault.entry_share)
                    ]
                case LimitRate(unit="entries"):
                    failing = good[self._script.take_tokens(fault, len(good), now) :]
                case _:
                    continue
            if failing:
                decision.effective.append(fault)
            for place in failing:
                errors[place] = EntryError(fault.code, _message(fault.code, fault.message))
        decision.results = tuple(
            EntryResult(event_id=event_id, dropped_for=dropped)
            if error is None
            else EntryResult(error_code=error.code, error_message=error.message)
            for error, event_id, dropped in zip(
                errors, _new_ids(len(errors)), dropped_for, strict=True
            )
        )

    def _answer(
        self, operation: str, decision: _Decision, hits: Sequence[Fault], now: float
    ) -> Answer:
        headers = {
            "x-amzn-requestid": _new_ids(1)[0],
            "content-type": CONTENT_TYPE,
            "date": formatdate(now, usegmt=True),
        }
        status = 200
        if decision.refusal is not None:
            status = decision.refusal.status
            body = _answers.refusal_body(decision.refusal, decision.form, headers)
        elif operation in SOURCE_OPERATIONS:
            garbled = _first(hits, GarbleAnswer)
            body = _answers.document_body(decision.document, garbled)
            if garbled is not None:
                decision.effective.append(garbled)
        else:
            reshaping = _answers.reshaping_among(hits, decision.results)
            body = _answers.results_body(decision.results, reshaping)
            if reshaping is not None:
                decision.effective.append(reshaping)
        answer = Answer(self._request_count, status, headers, body)
        for fault in hits:
            match fault:
                case SlowAnswer():
                    answer = attrs.evolve(answer, delay=answer.delay + fault.seconds)
                case LoseAnswer() if not answer.is_silent and answer.cut_after is None:
                    answer = attrs.evolve(answer, is_silent=True)
                case CutAnswer() if not answer.is_silent and answer.cut_after is None:
                    shown = min(fault.after_bytes, max(len(body) - 1, 0))
                    answer = attrs.evolve(answer, cut_after=shown)
                case _:
                    continue
            decision.effective.append(fault)
        return answer

    def _remember(self, received: _Received, decision: _Decision, answer: Answer) -> None:
        entries = received.reading.entries
        for place, result in enumerate(decision.results):
            if result.event_id is None:
                continue
            entry = entries[place]
            self._accepted_count += 1
            self._accepted.append(
                AcceptedEntry(
                    event_id=result.event_id,
                    source=entry["Source"],
                    detail_type=entry["DetailType"],
                    detail=entry["Detail"],
                    resources=tuple(entry.get("Resources") or ()),
                    time=entry.get("Time"),
                    request_index=self._request_count,
                    entry_index=place,
                    dropped_for=result.dropped_for,
                )
            )
        misleads = any(
            isinstance(fault, GarbleAnswer | WrongLength | MiscountFailures)
            for fault in decision.effective
        )
        record = RequestRecord(
            index=self._request_count,
            operation=received.operation,
            entries=entries,
            headers=received.headers,
            results=decision.results,
            status=answer.status or None,
            error_code=decision.refusal.code if decision.refusal else None,
            faults=tuple(decision.effective),
            answer_delivered=not (misleads or answer.is_silent or answer.cut_after is not None),
            unknown_members=received.reading.unknown_members,
            time=self._clock(),
            members=received.reading.members,
        )
        self._requests.append(record)
        self._request_count += 1


def _first(hits: Sequence[Fault], kind: type[_F]) -> _F | None:
    return next((fault for fault in hits if isinstance(fault, kind)), None)


def _new_ids(count: int) -> list[str]:
    """Return random UUIDs; asks the system for randomness only once, which is the slow part."""
    digits = secrets.token_hex(16 * count)
    return [
        f"{digits[i : i + 8]}-{digits[i + 8 : i + 12]}-4{digits[i + 13 : i + 16]}"
        f"-a{digits[i + 17 : i + 20]}-{digits[i + 20 : i + 32]}"
        for i in range(0, 32 * count, 32)
    ]


def _message(code: str, message: str | None) -> str:
    return MESSAGES.get(code, "The request was refused.") if message is None else message


def _unknown_operation(status: int = 400) -> Refusal:
    return Refusal("UnknownOperationException", "The operation is not known.", status)


def _too_skewed(fault: WrongClock, late: Refusal) -> Refusal:
    if fault.code == late.code:
        return late
    return Refusal(
        fault.code,
        "The difference between the request time and the current time is too large.",
        403 if fault.code == "RequestTimeTooSkewed" else 400,
    )
