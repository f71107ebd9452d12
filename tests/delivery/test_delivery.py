"""The state machine of a delivery: what it asks for, and which outcome each event gets."""

from __future__ import annotations

import gc
import itertools
import math
import random
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenacity import stop_after_attempt, stop_never, wait_fixed, wait_random

from eventbridge_partner.delivery.actions import (
    FINISHED,
    DeliverySettings,
    Finished,
    Send,
    Take,
    Wait,
)
from eventbridge_partner.delivery.batching import BatchLimits
from eventbridge_partner.delivery.entries import Batch
from eventbridge_partner.delivery.machine import Delivery
from eventbridge_partner.errors import (
    ClockSkewError,
    CredentialsError,
    ExpiredCredentialsError,
    PartnerEventsError,
    ServiceError,
    ThrottledError,
    TlsError,
    TransportError,
    UnreadableAnswerError,
)
from eventbridge_partner.models import (
    Accepted,
    Exhausted,
    GivenEvent,
    Outcome,
    OutcomeCounts,
    PartnerEvent,
    Rejected,
    ResultEntry,
    Unconfirmed,
)
from eventbridge_partner.pacing import Pace
from eventbridge_partner.retry import RetryPolicy, RetryQuota, Verdict

SOURCE = "aws.partner/example.com/acme"
ANSWER_SECONDS = 0.02

Answer = Sequence[ResultEntry | None] | PartnerEventsError
Service = Callable[[Batch], Answer]


def event(number: int = 0, *, size: int = 0) -> PartnerEvent:
    return PartnerEvent(SOURCE, "test", {"number": number, "padding": "x" * size})


def accept(batch: Batch) -> Answer:
    return [ResultEntry(f"id-{entry.index}") for entry in batch.entries]


def policy(**settings: Any) -> RetryPolicy:
    defaults: dict[str, Any] = {
        "wait": wait_fixed(1),
        "throttle_wait": wait_fixed(10),
        "stop": stop_after_attempt(3),
        "tokens": None,
    }
    return RetryPolicy(**(defaults | settings))


@attrs.define
class Run:
    """Drives a delivery through a service, on a clock of its own."""

    outcomes: list[Outcome] = attrs.field(factory=list)
    sent: list[list[int]] = attrs.field(factory=list)
    sent_at: list[float] = attrs.field(factory=list)
    most_in_flight: int = 0
    most_held: int = 0
    now: float = 0.0

    def __call__(
        self,
        events: Iterable[GivenEvent],
        service: Service,
        *,
        deadline: float | None = None,
        quota: RetryQuota | None = None,
        pace: Pace | None = None,
        seconds: Callable[[], float] = lambda: ANSWER_SECONDS,
        **settings: Any,
    ) -> list[Outcome]:
        settings.setdefault("retry", policy())
        given = DeliverySettings(**settings)
        quota = quota or RetryQuota(given.retry.tokens)
        delivery = Delivery(given, quota, pace=pace, deadline=deadline)
        arriving = iter(events)
        in_flight: list[tuple[float, int, Batch]] = []
        taken = 0
        for step in itertools.count():
            assert step < 100_000, "the delivery does not end"
            match delivery.next_action(self.now):
                case Take(count):
                    self.outcomes += delivery.outcomes()
                    assert count > 0
                    before = taken
                    for arrived in itertools.islice(arriving, count):
                        delivery.take(arrived)
                        taken += 1
                    self.most_held = max(self.most_held, taken - len(self.outcomes))
                    if taken - before < count:
                        delivery.no_more_events()
                case Send(batch):
                    self.sent.append([entry.index for entry in batch.entries])
                    self.sent_at.append(self.now)
                    in_flight.append((self.now + seconds(), step, batch))
                    self.most_in_flight = max(self.most_in_flight, len(in_flight))
                case Wait(until):
                    in_flight.sort(key=lambda flight: flight[:2])
                    answered_at = in_flight[0][0] if in_flight else math.inf
                    assert until is not None or in_flight, "an endless wait for nothing"
                    if until is not None and until < answered_at:
                        assert until > self.now, "a wait until a time that has passed"
                        self.now = until
                        continue
                    self.now = answered_at
                    batch = in_flight.pop(0)[2]
                    answer = service(batch)
                    if isinstance(answer, CredentialsError):
                        delivery.not_sent(batch, answer, self.now)
                    elif isinstance(answer, PartnerEventsError):
                        delivery.failed(batch, answer, self.now)
                    else:
                        ids = [result.event_id for result in answer if result and result.event_id]
                        if len(ids) == len(answer):
                            delivery.accepted(batch, ids, self.now)
                        else:
                            delivery.answered(batch, answer, self.now)
                    self.outcomes += delivery.outcomes()
                case Finished():
                    break
        self.outcomes += delivery.outcomes()
        assert delivery.next_action(self.now) is FINISHED
        return self.outcomes


@pytest.fixture
def run() -> Run:
    return Run()


def failing(times: int, answer: Callable[[Batch], Answer]) -> Service:
    """Fail this many requests with the answer, and accept the rest."""
    left = itertools.count(times, -1)
    return lambda batch: answer(batch) if next(left) > 0 else accept(batch)


def entries_failing(
    code: str, indexes: Iterable[int], times: int = 10**9, message: str = "no"
) -> Service:
    """Fail each of these events this many times."""
    left = dict.fromkeys(indexes, times)

    def service(batch: Batch) -> Answer:
        results = []
        for entry in batch.entries:
            if left.get(entry.index, 0) > 0:
                left[entry.index] -= 1
                results.append(ResultEntry(None, code, message))
            else:
                results.append(ResultEntry(f"id-{entry.index}"))
        return results

    return service


def service_error(code: str, status: int = 400, **kwargs: Any) -> ServiceError:
    return ServiceError(code, "no", status=status, **kwargs)


LOST = TransportError("dropped", may_have_been_sent=True)
REFUSED = TransportError("refused", may_have_been_sent=False)


# ---------------------------------------------------------------- packing


def test_events_travel_in_order_in_full_batches(run: Run) -> None:
    """45 events make batches of 20, 20 and 5, and their outcomes come in the same order."""
    outcomes = run(map(event, range(45)), accept)

    assert run.sent == [list(range(20)), list(range(20, 40)), list(range(40, 45))]
    assert [outcome.index for outcome in outcomes] == list(range(45))
    assert all(
        outcome == Accepted(f"id-{index}", event(index), index, 1)
        for index, outcome in enumerate(outcomes)
    )


def test_no_events_make_no_request(run: Run) -> None:
    """An empty input is delivered at once."""
    assert run([], accept) == []
    assert run.sent == []


def test_batches_keep_to_the_byte_budget(run: Run) -> None:
    """Entries share a request only up to the budget; a larger one travels alone."""
    limits = BatchLimits(max_batch_bytes=1000, max_entry_bytes=5000)
    sizes = [300, 300, 3000, 300, 300, 300]

    run((event(size=size) for size in sizes), accept, limits=limits)

    assert run.sent == [[0, 1], [2], [3, 4], [5]]


def test_an_entry_over_the_limit_is_refused_before_sending(run: Run) -> None:
    """The entry is rejected with its size and the limit, and its neighbours are sent."""
    limits = BatchLimits(max_entry_bytes=500)

    outcomes = run([event(0), event(1, size=1000), event(2)], accept, limits=limits)

    rejected = outcomes[1]
    assert isinstance(rejected, Rejected)
    assert (rejected.code, rejected.attempts) == ("EntryTooLarge", 0)
    assert "event 1" in rejected.message and "500" in rejected.message
    assert run.sent == [[0, 2]]


def test_an_entry_of_exactly_the_limit_is_sent(run: Run) -> None:
    """The limit itself is allowed."""
    size = len(SOURCE) + len("test") + len(event(0).detail)

    outcomes = run([event(0)], accept, limits=BatchLimits(max_entry_bytes=size))

    assert isinstance(outcomes[0], Accepted)


def test_a_mapping_that_breaks_a_limit_is_rejected_and_its_neighbours_go_out(run: Run) -> None:
    """The outcome has the findings, each with the index of the event."""
    bad = {"Source": "wrong", "DetailType": "x" * 129, "Detail": "{}"}
    good = {"Source": SOURCE, "DetailType": "x", "Detail": "{}"}

    outcomes = run([good, bad, good], accept)

    rejected = outcomes[1]
    assert isinstance(rejected, Rejected)
    assert rejected.code == "InvalidEvent"
    assert rejected.event is bad
    assert rejected.attempts == 0
    assert [(found.field, found.index) for found in rejected.findings] == [
        ("source", 1),
        ("detail_type", 1),
    ]
    assert run.sent == [[0, 2]]
    assert outcomes[0].event is good


class Raising(dict[str, Any]):
    """A lazy mapping that raises when it is read."""

    def __iter__(self) -> Any:
        raise RuntimeError("secret")


def test_a_mapping_that_cannot_be_read_is_rejected_and_its_neighbours_go_out(run: Run) -> None:
    """Whatever a lazy mapping raises, only its own event is rejected."""
    outcomes = run([event(0), Raising(), event(2)], accept)

    rejected = outcomes[1]
    assert isinstance(rejected, Rejected)
    assert "RuntimeError" in rejected.message and "secret" not in rejected.message
    assert run.sent == [[0, 2]]


def test_no_more_requests_are_in_flight_than_allowed(run: Run) -> None:
    """With room for three, three requests go out together."""
    run(map(event, range(200)), accept, max_in_flight=3)

    assert run.most_in_flight == 3


def test_events_held_are_bounded_in_number(run: Run) -> None:
    """No more events are taken than the limit allows, even while the first waits for its retry."""
    service = entries_failing("InternalFailure", [0], times=2)

    outcomes = run(map(event, range(1000)), service, max_in_flight=4, max_held=100)

    assert run.most_held <= 100 + 20
    assert OutcomeCounts.of(outcomes) == OutcomeCounts(accepted=1000)


def test_events_held_are_bounded_in_bytes(run: Run) -> None:
    """Large events are taken a few at a time, even those that wait only for the first's outcome."""
    run(
        (event(n, size=10_000) for n in range(500)),
        entries_failing("InternalFailure", [0], times=2),
        max_in_flight=4,
        max_held_bytes=100_000,
    )

    assert run.most_held <= 10 + 20 + 1


# ---------------------------------------------------------------- retries


def test_only_failed_entries_are_retried(run: Run) -> None:
    """Accepted entries are not sent again with the failed ones."""
    outcomes = run(map(event, range(20)), entries_failing("InternalFailure", [3, 7], times=1))

    assert run.sent == [list(range(20)), [3, 7]]
    assert [outcome.attempts for outcome in outcomes] == [
        2 if index in (3, 7) else 1 for index in range(20)
    ]
    assert OutcomeCounts.of(outcomes) == OutcomeCounts(accepted=20)


def test_retries_travel_with_events_that_were_never_sent(run: Run) -> None:
    """A due retry goes ahead of fresh events, which fill up its batch."""
    service = entries_failing("InternalFailure", [0, 1], times=1)

    run(map(event, range(58)), service, retry=policy(wait=wait_fixed(0)))

    assert run.sent == [
        list(range(20)),
        [0, 1, *range(20, 38)],
        list(range(38, 58)),
    ]


def test_retries_of_several_batches_share_a_request(run: Run) -> None:
    """Entries that failed in three batches are retried in one."""
    service = entries_failing("ThrottlingException", range(0, 60, 10), times=1)

    run(map(event, range(60)), service, max_in_flight=3)

    assert run.sent[3:] == [[0, 10, 20, 30, 40, 50]]


@pytest.mark.slow
@pytest.mark.parametrize("events", [1000, 20_000])
@pytest.mark.parametrize("in_flight", [1, 4, 16])
def test_partial_throttling_costs_few_requests_more_than_attempts_need(
    run: Run, events: int, in_flight: int
) -> None:
    """With 30 % of entries throttled, requests stay within 15 % of what full batches need."""
    random.seed(events + in_flight)
    dice = random.Random(7)

    def throttling(batch: Batch) -> Answer:
        return [
            ResultEntry(None, "ThrottlingException", "Rate exceeded")
            if dice.random() < 0.3
            else ResultEntry("id")
            for _ in batch.entries
        ]

    run(
        map(event, range(events)),
        throttling,
        retry=RetryPolicy(stop=stop_after_attempt(8)),
        max_in_flight=in_flight,
        seconds=lambda: ANSWER_SECONDS * dice.uniform(0.5, 1.5),
    )

    attempts = sum(map(len, run.sent))
    assert len(run.sent) <= 1.15 * math.ceil(attempts / 20)


def test_a_retry_waits_as_long_as_the_policy_says(run: Run) -> None:
    """Transient failures wait for `wait`, throttled entries for `throttle_wait`."""
    run([event()], failing(1, lambda _: service_error("InternalFailure", 500)))
    assert run.sent_at == [0.0, pytest.approx(ANSWER_SECONDS + 1)]

    throttled = Run()
    throttled(
        [event()], failing(1, lambda _: ThrottledError("ThrottlingException", "", status=400))
    )
    assert throttled.sent_at == [0.0, pytest.approx(ANSWER_SECONDS + 10)]


def test_a_retry_waits_for_others_no_longer_than_its_own_delay(run: Run) -> None:
    """While another answer is outstanding, a due retry goes out after at most twice its delay."""
    answers = iter([0.01, 5.0, 0.01])
    service = entries_failing("InternalFailure", [0], times=1)

    run(
        map(event, range(40)),
        service,
        max_in_flight=2,
        retry=policy(wait=wait_fixed(0.3)),
        seconds=lambda: next(answers),
    )

    assert run.sent[2] == [0]
    assert run.sent_at[2] == pytest.approx(0.01 + 0.3 + 0.3)


def test_the_services_retry_after_is_honoured(run: Run) -> None:
    """A longer wait that the service asks for replaces the policy's, up to 5 s more."""
    run([event()], failing(1, lambda _: service_error("ServiceUnavailable", 503, retry_after=4.0)))
    assert run.sent_at[1] == pytest.approx(ANSWER_SECONDS + 4)

    longer = Run()
    longer(
        [event()], failing(1, lambda _: service_error("ServiceUnavailable", 503, retry_after=60.0))
    )
    assert longer.sent_at[1] == pytest.approx(ANSWER_SECONDS + 6)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("InternalFailure", Exhausted),
        ("InternalException", Exhausted),
        ("ServiceUnavailable", Exhausted),
        ("ThrottlingException", Exhausted),
        ("ConcurrentModificationException", Exhausted),
        ("NeverHeardOf", Exhausted),
        ("AccessDeniedException", Rejected),
        ("NotAuthorizedForSourceException", Rejected),
        ("NotAuthorizedForDetailTypeException", Rejected),
        ("InvalidAccountIdException", Rejected),
        ("InvalidArgument", Rejected),
        ("MalformedDetail", Rejected),
        ("RedactionFailure", Rejected),
        ("LimitExceededException", Rejected),
        ("OperationDisabledException", Rejected),
        ("ResourceNotFoundException", Rejected),
    ],
)
def test_the_code_of_an_entry_decides_whether_it_is_retried(
    run: Run, code: str, expected: type[Exhausted | Rejected]
) -> None:
    """Transient failures end as Exhausted after every attempt, permanent ones as Rejected."""
    outcomes = run([event(0), event(1)], entries_failing(code, [1]))

    assert isinstance(outcomes[0], Accepted)
    outcome = outcomes[1]
    assert isinstance(outcome, expected)
    assert (outcome.code, outcome.message) == (code, "no")
    assert outcome.attempts == (3 if expected is Exhausted else 1)


def test_a_gone_source_is_recognized(run: Run) -> None:
    """A gone source is known by its code or by the wording of AWS's partner guide."""
    by_code = run([event()], entries_failing("ResourceNotFoundException", [0]))[0]
    by_words = Run()([event()], entries_failing("Odd", [0], message="Event Bus Not Found"))[0]

    for outcome in (by_code, by_words):
        assert isinstance(outcome, Rejected)
        assert outcome.source_is_gone


def test_an_unknown_code_is_retried_within_bounds(run: Run) -> None:
    """The outcome keeps the code, says that it is unknown, and no `stop` makes retries endless."""
    outcome = run([event()], entries_failing("Odd", [0]), retry=policy(stop=stop_never))[0]

    assert outcome == Exhausted("Odd", "no", event(), 0, 3, code_is_known=False)


def test_a_policy_can_say_what_a_code_means(run: Run) -> None:
    """The caller's verdict takes precedence over this package's own."""
    verdicts = {"Odd": Verdict.PERMANENT, "MalformedDetail": Verdict.TRANSIENT}
    service = entries_failing("Odd", [0])
    assert isinstance(run([event()], service, retry=policy(verdicts=verdicts))[0], Rejected)

    again = entries_failing("MalformedDetail", [0], times=1)
    assert isinstance(Run()([event()], again, retry=policy(verdicts=verdicts))[0], Accepted)


# ---------------------------------------------------------------- requests that fail whole


@pytest.mark.parametrize(
    ("error", "expected", "requests"),
    [
        (service_error("InternalFailure", 500), Exhausted, 3),
        (service_error("HTTP 500", 500), Exhausted, 3),
        (service_error("HTTP 408", 408), Exhausted, 3),
        (service_error("HTTP 429", 429), Exhausted, 3),
        (ThrottledError("SlowDown", "", status=503), Exhausted, 3),
        (service_error("HTTP 502", 502, may_have_been_sent=True), Unconfirmed, 3),
        (REFUSED, Exhausted, 3),
        (LOST, Unconfirmed, 3),
        (UnreadableAnswerError("not JSON"), Unconfirmed, 3),
        (service_error("NeverHeardOf"), Exhausted, 3),
        (service_error("AccessDeniedException"), Rejected, 1),
        (service_error("UnrecognizedClientException"), Rejected, 1),
        (service_error("InvalidSignatureException"), Rejected, 1),
        (service_error("SerializationException"), Rejected, 1),
        (service_error("HTTP 301", 301), Rejected, 1),
        (service_error("ValidationException"), Rejected, 1),
        (TlsError("certificate expired"), Exhausted, 1),
        (ExpiredCredentialsError("ExpiredTokenException", "", status=400), Exhausted, 2),
        (ClockSkewError("RequestTimeTooSkewed", "", status=403), Exhausted, 2),
    ],
    ids=lambda value: getattr(value, "code", None) or getattr(value, "__name__", None),
)
def test_the_error_of_a_request_decides_on_all_its_entries(
    run: Run, error: PartnerEventsError, expected: type[Outcome], requests: int
) -> None:
    """Each row is one way in which a request can fail."""
    outcomes = run([event()], lambda _: error)

    assert type(outcomes[0]) is expected
    assert outcomes[0].attempts == requests == len(run.sent)


@pytest.mark.parametrize(
    ("code", "of_request"),
    [
        ("AccessDeniedException", True),
        ("UnrecognizedClientException", True),
        ("SerializationException", True),
        ("HTTP 404", True),
        ("ValidationException", False),
        ("ResourceNotFoundException", False),
    ],
)
def test_a_refused_request_is_told_from_a_refused_entry(
    run: Run, code: str, of_request: bool
) -> None:
    """`of_request` is true if the request itself was refused, not what it holds."""
    of_whole = run([event()], lambda _: service_error(code))[0]
    of_entry = Run()([event()], entries_failing("AccessDeniedException", [0]))[0]

    assert isinstance(of_whole, Rejected)
    assert of_whole.of_request is of_request
    assert isinstance(of_entry, Rejected)
    assert not of_entry.of_request


@pytest.mark.parametrize(
    "error",
    [
        ExpiredCredentialsError("ExpiredTokenException", "", status=400),
        ClockSkewError("RequestTimeTooSkewed", "", status=403),
    ],
    ids=["credentials", "clock"],
)
def test_expired_credentials_and_a_wrong_clock_are_retried_once_at_once(
    run: Run, error: PartnerEventsError
) -> None:
    """Expired credentials and a wrong clock cost no wait, and no attempt of the policy."""
    outcomes = run(
        map(event, range(20)), failing(1, lambda _: error), retry=policy(stop=stop_after_attempt(1))
    )

    assert OutcomeCounts.of(outcomes) == OutcomeCounts(accepted=20)
    assert run.sent_at == [0.0, ANSWER_SECONDS]


def test_missing_credentials_midway_are_not_an_attempt(run: Run) -> None:
    """An entry that could not be signed was in no request, and is retried."""
    outcomes = run([event()], lambda _: CredentialsError("gone"))

    assert outcomes == [Exhausted("CredentialsError", "gone", event(), 0, 0)]
    assert len(run.sent) == 3


def test_an_untrusted_endpoint_gets_nothing_more(run: Run) -> None:
    """After a TLS failure, the remaining events fail without a request."""
    outcomes = run(map(event, range(100)), lambda _: TlsError("expired certificate"))

    assert len(run.sent) == 1
    assert {type(outcome) for outcome in outcomes} == {Exhausted}
    assert [outcome.attempts for outcome in outcomes] == [1] * 20 + [0] * 80


# ---------------------------------------------------------------- doubt


def test_an_event_accepted_after_a_lost_answer_is_accepted(run: Run) -> None:
    """The service's last answer counts."""
    outcomes = run([event()], failing(1, lambda _: LOST))

    assert outcomes == [Accepted("id-0", event(), 0, 2)]


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException"])
def test_an_event_refused_after_a_lost_answer_may_have_arrived(run: Run, code: str) -> None:
    """A later refusal does not settle what the lost answer said."""
    answers = iter([LOST, *[service_error(code)] * 5])

    outcome = run([event()], lambda _: next(answers))[0]

    assert isinstance(outcome, Unconfirmed)
    assert "attempt 1 may have arrived" in outcome.reason
    assert code in outcome.reason


# ---------------------------------------------------------------- splitting


def poisoned(*poison: int, error: Callable[[], ServiceError]) -> Service:
    def service(batch: Batch) -> Answer:
        if any(entry.index in poison for entry in batch.entries):
            return error()
        return accept(batch)

    return service


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ValidationException", 400),
        ("RequestEntityTooLargeException", 413),
        ("HTTP 413", 413),
    ],
)
@pytest.mark.parametrize("poison", [(0,), (19,), (7,), (3, 12), tuple(range(20))])
def test_a_bad_entry_is_split_off_until_it_is_alone(
    run: Run, code: str, status: int, poison: tuple[int, ...]
) -> None:
    """One bad entry among good ones is rejected alone; the others are accepted."""
    outcomes = run(
        map(event, range(40)), poisoned(*poison, error=lambda: service_error(code, status))
    )

    for outcome in outcomes:
        assert isinstance(outcome, Rejected if outcome.index in poison else Accepted)
    assert len(run.sent) <= 2 + 2 * 5 * len(poison)


def test_suspects_do_not_mix_with_others(run: Run) -> None:
    """Parts of a refused batch travel alone, even after a transient failure."""
    calls = itertools.count()

    def service(batch: Batch) -> Answer:
        if next(calls) == 1:
            return service_error("InternalFailure", 500)
        if any(entry.index == 5 for entry in batch.entries):
            return service_error("ValidationException")
        return accept(batch)

    outcomes = run(map(event, range(60)), service)

    assert isinstance(outcomes[5], Rejected)
    assert OutcomeCounts.of(outcomes) == OutcomeCounts(accepted=59, rejected=1)
    with_poison = [batch for batch in run.sent if 5 in batch]
    assert all(max(batch) < 20 for batch in with_poison)


def test_splitting_costs_no_attempts_of_the_policy(run: Run) -> None:
    """With a single attempt allowed, a bad entry is still isolated."""
    outcomes = run(
        map(event, range(20)),
        poisoned(11, error=lambda: service_error("ValidationException")),
        retry=policy(stop=stop_after_attempt(1)),
    )

    assert OutcomeCounts.of(outcomes) == OutcomeCounts(accepted=19, rejected=1)


# ---------------------------------------------------------------- deadline and quota


def test_the_deadline_ends_everything(run: Run) -> None:
    """Waiting events are Exhausted, those in flight Unconfirmed, and nothing is sent later."""
    answers = iter([0.01, 100.0])

    outcomes = run(
        map(event, range(60)),
        entries_failing("InternalFailure", [0], times=5),
        deadline=2.0,
        max_in_flight=2,
        retry=policy(wait=wait_fixed(1.9)),
        seconds=lambda: next(answers, 100.0),
    )

    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [Exhausted, *[Accepted] * 19, *[Unconfirmed] * 40]
    assert "deadline" in getattr(outcomes[20], "reason", "")
    assert max(run.sent_at) < 2.0 <= run.now


def test_events_never_sent_by_the_deadline_are_exhausted(run: Run) -> None:
    """These events were in no request, so sending them again causes no duplicate."""
    outcomes = run(map(event, range(60)), accept, deadline=0.03, seconds=lambda: 0.02)

    assert [type(outcome) for outcome in outcomes] == [Accepted] * 20 + [Unconfirmed] * 20 + [
        Exhausted
    ] * 20
    last = outcomes[-1]
    assert isinstance(last, Exhausted)
    assert (last.code, last.attempts) == ("DeadlineExceeded", 0)


def test_parts_of_a_split_batch_are_exhausted_at_the_deadline() -> None:
    """Their code is that of the deadline, although they have been sent."""
    late = Delivery(DeliverySettings(), RetryQuota(), deadline=10.0)
    late.take(event(0))
    late.take(event(1))
    late.no_more_events()
    sent = late.next_action(0.0)
    assert isinstance(sent, Send)
    late.failed(sent.batch, service_error("ValidationException"), 11.0)
    assert late.next_action(11.0) is FINISHED
    assert [getattr(outcome, "code", None) for outcome in late.outcomes()] == [
        "DeadlineExceeded"
    ] * 2


def test_a_retry_after_the_deadline_is_not_waited_for(run: Run) -> None:
    """The event is Exhausted at once, with its own failure."""
    outcome = run([event()], entries_failing("ThrottlingException", [0]), deadline=5.0)[0]

    assert isinstance(outcome, Exhausted)
    assert outcome.code == "ThrottlingException"
    assert run.now < 1


def test_without_tokens_failures_are_final(run: Run) -> None:
    """An outage does not triple the load: 35 transient retries empty the quota."""
    quota = RetryQuota(500)

    outcomes = run(
        map(event, range(2000)),
        lambda _: service_error("InternalFailure", 500),
        quota=quota,
    )

    assert OutcomeCounts.of(outcomes) == OutcomeCounts(exhausted=2000)
    assert len(run.sent) == 100 + 35
    assert quota.tokens == 500 - 35 * 14


def test_successful_retries_return_their_tokens(run: Run) -> None:
    """A retry that succeeds returns its tokens."""
    quota = RetryQuota(500)

    run(map(event, range(20)), failing(2, lambda _: service_error("E", 500)), quota=quota)

    assert quota.tokens == 500


# ---------------------------------------------------------------- whatever happens

results = st.sampled_from(
    [
        None,
        None,
        None,
        "ThrottlingException",
        "InternalFailure",
        "MalformedDetail",
        "Odd",
        "ResourceNotFoundException",
    ]
)
errors = st.sampled_from(
    [
        LOST,
        REFUSED,
        UnreadableAnswerError("?"),
        service_error("InternalFailure", 500),
        service_error("ValidationException"),
        service_error("HTTP 413", 413),
        service_error("AccessDeniedException"),
        service_error("Odd"),
        ThrottledError("ThrottlingException", "", status=400, retry_after=0.5),
        ExpiredCredentialsError("ExpiredToken", "", status=403),
        ClockSkewError("RequestExpired", "", status=403),
        CredentialsError("none"),
    ]
)


@given(
    data=st.data(),
    sizes=st.lists(st.integers(0, 600), max_size=120),
    in_flight=st.integers(1, 5),
    deadline=st.none() | st.floats(0.01, 5),
    tokens=st.none() | st.integers(0, 100),
    bound=st.none() | st.integers(1, 50),
)
def test_every_event_gets_one_true_outcome(
    data: st.DataObject,
    sizes: list[int],
    in_flight: int,
    deadline: float | None,
    tokens: int | None,
    bound: int | None,
) -> None:
    """Whatever the service does, each event gets one true outcome, in order."""
    run = Run()
    acknowledged: set[int] = set()
    in_doubt: set[int] = set()
    attempts: dict[int, int] = dict.fromkeys(range(len(sizes)), 0)

    def service(batch: Batch) -> Answer:
        indexes = [entry.index for entry in batch.entries]
        assert not acknowledged & set(indexes), "an acknowledged event was sent again"
        assert len(indexes) <= 20
        size = sum(entry.size for entry in batch.entries)
        assert size <= 2000 or len(indexes) == 1
        error = data.draw(st.none() | errors) if data.draw(st.booleans()) else None
        if not isinstance(error, CredentialsError):
            for index in indexes:
                attempts[index] += 1
        if error is not None:
            if error.may_have_been_sent:
                in_doubt.update(indexes)
            return error
        answer = []
        for index in indexes:
            code = data.draw(results)
            if code is None:
                acknowledged.add(index)
            answer.append(ResultEntry("id" if code is None else None, code, "no"))
        return answer

    outcomes = run(
        (event(number, size=size) for number, size in enumerate(sizes)),
        service,
        retry=policy(wait=wait_random(0, 0.3), throttle_wait=wait_random(0, 1)),
        quota=RetryQuota(tokens),
        deadline=deadline,
        max_in_flight=in_flight,
        max_held=bound,
        limits=BatchLimits(max_batch_bytes=2000),
    )

    assert [outcome.index for outcome in outcomes] == list(range(len(sizes)))
    for outcome in outcomes:
        index = outcome.index
        assert outcome.attempts >= attempts[index]
        assert isinstance(outcome, Accepted) == (index in acknowledged)
        if isinstance(outcome, (Rejected, Exhausted)):
            assert index not in in_doubt
        if index in in_doubt and index not in acknowledged:
            assert isinstance(outcome, Unconfirmed)


# ---------------------------------------------------------------- packed batches


def packed(**settings: Any) -> Delivery:
    settings = {"retry": policy(), "max_in_flight": 4} | settings
    return Delivery(DeliverySettings(**settings), RetryQuota(None), is_packed=True)


def sent(delivery: Delivery, now: float = 0.0) -> Batch:
    action = delivery.next_action(now, input_pauses=True)
    assert isinstance(action, Send), action
    return action.batch


def test_packed_batches_do_not_wait_for_more_events():
    """Events are sent as they come, although the batch has room for more."""
    delivery = packed()
    assert delivery.next_action(0.0) == Take(20)
    delivery.take_all([event(0), event(1)])
    assert len(sent(delivery)) == 2
    assert delivery.events_in_flight == 2
    delivery.take_all([event(2)])
    assert len(sent(delivery)) == 1
    assert delivery.events_in_flight == 3


def test_outcomes_of_packed_batches_come_as_they_are_decided():
    """Neither an entry that waits for its retry nor an older batch holds up other outcomes."""
    delivery = packed()
    delivery.take_all([event(0), event(1)])
    first = sent(delivery)
    delivery.take_all([{"Source": "bad"}, event(3)])
    assert [outcome.index for outcome in delivery.outcomes()] == [2]
    second = sent(delivery)
    delivery.answered(second, accept(second), 0.1)
    assert [outcome.index for outcome in delivery.outcomes()] == [3]
    throttled = ResultEntry(None, "ThrottlingException", "no")
    delivery.answered(first, [throttled, ResultEntry("id")], 0.2)
    assert [outcome.index for outcome in delivery.outcomes()] == [1]
    assert delivery.throttled == 1
    again = sent(delivery, 11.0)
    delivery.accepted(again, ["late"], 11.1)
    assert [outcome.index for outcome in delivery.outcomes()] == [0]
    assert delivery.outcomes() == []
    assert delivery.next_action(11.2, input_pauses=True) == Take(20)


def test_an_abandoned_delivery_says_why():
    """Events in flight are Unconfirmed, others are Exhausted, and a late answer changes nothing."""
    delivery = packed(max_in_flight=1)
    delivery.take_all([event(0)])
    batch = sent(delivery)
    delivery.take_all([event(1)])
    delivery.abandon("Closed", "was closed", "closed before its answer")
    doubtful, unsent = sorted(delivery.outcomes(), key=lambda outcome: outcome.index)
    assert isinstance(doubtful, Unconfirmed) and "closed before its answer" in doubtful.reason
    assert isinstance(unsent, Exhausted) and (unsent.code, unsent.attempts) == ("Closed", 0)
    assert delivery.is_halted
    delivery.answered(batch, accept(batch), 1.0)
    assert delivery.outcomes() == []


# ---------------------------------------------------------------- a source that is throttled


def rates(run: Run, throttled: Callable[[int], bool], sources: int) -> Pace:
    """Send events of this many sources, some throttled by index, and return the resulting pace."""
    pace = Pace()

    def service(batch: Batch) -> Answer:
        return [
            ResultEntry(None, "ThrottlingException", "no")
            if throttled(entry.index)
            else ResultEntry(f"id-{entry.index}")
            for entry in batch.entries
        ]

    events = [
        PartnerEvent(f"aws.partner/example.com/s{n % sources}", "t", "{}") for n in range(20_000)
    ]
    run(events, service, pace=pace, max_in_flight=4)
    return pace


def test_one_throttled_source_does_not_slow_down_the_others(run):
    """The throttled source makes no progress for a while, and the others do."""
    pace = rates(run, lambda index: index % 7 == 0, sources=7)
    assert run.sent_at[-1] < 60
    assert not pace.is_on or (pace.requests_per_second or 0) > 30


@pytest.mark.slow
def test_the_pace_slows_down_if_every_source_is_throttled(run):
    """This holds if one source is throttled as a whole, or some entries of each."""
    for throttled, sources in ((lambda _: True, 1), (lambda index: index % 2 == 0, 7)):
        run.now = 0.0
        pace = rates(run, throttled, sources)
        assert pace.requests_per_second is not None
        assert pace.requests_per_second < 30


# ---------------------------------------------------------------- bugs in the caller's code


class Faulty:
    """An object that raises whenever it is used."""

    def __call__(self, *_: Any) -> Any:
        raise ZeroDivisionError("a-payload")

    get = __getitem__ = __bool__ = __call__


class FaultyPolicy(RetryPolicy):
    """A policy with a bug in each of its verdicts."""

    def verdict_on_entry(self, code: str, message: str) -> Verdict:
        raise ZeroDivisionError("a-payload")

    def verdict_on_request(self, error: PartnerEventsError) -> Verdict:
        raise ZeroDivisionError("a-payload")


BUGS: dict[str, RetryPolicy] = {
    "wait": RetryPolicy(wait=Faulty().__call__, throttle_wait=Faulty().__call__),
    "stop": RetryPolicy(stop=Faulty().__call__),
    "no number": RetryPolicy(wait=lambda _: None, throttle_wait=lambda _: "soon"),  # type: ignore[arg-type,return-value]
    "not a number": RetryPolicy(wait=lambda _: math.nan, throttle_wait=lambda _: math.nan),
    "no end": RetryPolicy(wait=lambda _: math.inf, throttle_wait=lambda _: math.inf),
    "verdicts": FaultyPolicy(),
}
FAILURES: dict[str, Answer] = {
    "one entry throttled": [ResultEntry(None, "ThrottlingException", "m"), ResultEntry("id")],
    "one entry unknown": [ResultEntry("id"), ResultEntry(None, "NeverHeardOf", "m")],
    "one entry says neither": [None, ResultEntry("id")],
    "the request": ServiceError("ServiceUnavailable", "m", status=503),
    "no answer": TransportError("m", may_have_been_sent=True),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("retry", BUGS)
def test_a_bug_in_a_policy_changes_no_outcome(retry: str, failure: str) -> None:
    """The default policy decides, the bug is reported, and every event has its outcome."""
    bugs: list[str] = []
    answers = iter([FAILURES[failure]])

    def serve(batch: Batch) -> Answer:
        return next(answers, None) or accept(batch)

    given = [event(number) for number in range(2)]
    outcomes = Run()(given, serve, retry=BUGS[retry], on_bug=lambda what, _: bugs.append(what))

    assert [type(outcome) for outcome in outcomes] == [Accepted] * 2
    assert bool(bugs) is (retry != "verdicts" or failure != "one entry says neither")


def test_only_an_entry_without_a_clear_result_is_retried() -> None:
    """Entries that the service acknowledged are never sent again."""
    sent: list[list[int]] = []

    def serve(batch: Batch) -> Answer:
        sent.append([entry.index for entry in batch.entries])
        return [None if entry.index == 7 else ResultEntry("id") for entry in batch.entries]

    outcomes = Run()([event(number) for number in range(20)], serve)

    assert sent == [list(range(20)), [7], [7]]
    assert [type(outcome) for outcome in outcomes] == [
        Unconfirmed if number == 7 else Accepted for number in range(20)
    ]


def test_a_delivery_interrupted_by_a_signal_has_all_outcomes() -> None:
    """Wherever a handler raises while an answer is taken in, each event ends with one outcome."""

    class Interruption(BaseException):
        """The exception that the handler raises."""

    def interrupted_after(lines: int) -> list[Outcome] | None:
        """Return the outcomes after an interruption this many lines into an answer, if any."""
        left = lines

        def trace(_frame: Any, kind: str, _argument: Any) -> Any:
            nonlocal left
            if kind == "line":
                left -= 1
                if left == 0:
                    raise Interruption
            return trace

        delivery = Delivery(DeliverySettings(retry=policy()), RetryQuota(500))
        delivery.take_all([event(number) for number in range(20)])
        delivery.no_more_events()
        action = delivery.next_action(0.0)
        assert isinstance(action, Send)
        results = [
            ResultEntry("id") if number % 2 else ResultEntry(None, "InternalFailure", "m")
            for number in range(20)
        ]
        before = sys.gettrace()
        gc.disable()  # else what the collector calls, such as hypothesis, is interrupted instead
        sys.settrace(trace)
        try:
            delivery.answered(action.batch, results, 1.0)
        except Interruption:
            pass
        else:
            return None
        finally:
            sys.settrace(before)
            gc.enable()
        delivery.cancel()
        return delivery.outcomes()

    for lines in itertools.count(1):
        outcomes = interrupted_after(lines)
        if outcomes is None:
            break
        assert [outcome.index for outcome in outcomes] == list(range(20)), lines
    assert lines > 100
