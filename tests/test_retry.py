"""Verdicts, waits and stops, by AWS's rules or by tenacity's objects."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st

from eventbridge_partner import (
    ClockSkewError,
    ConfigurationError,
    CredentialsError,
    ExpiredCredentialsError,
    RetryPolicy,
    ServiceError,
    ThrottledError,
    TlsError,
    TransportError,
    UnreadableAnswerError,
    Verdict,
)
from eventbridge_partner.retry import RetryQuota


def policy_of(**fields: Any) -> Any:
    return RetryPolicy(**fields)


POLICY = policy_of()
LOST = TransportError("no answer", may_have_been_sent=True)
TRANSIENT, THROTTLED, PERMANENT = Verdict.TRANSIENT, Verdict.THROTTLED, Verdict.PERMANENT
GONE, UNKNOWN, SPLIT = Verdict.SOURCE_GONE, Verdict.UNKNOWN, Verdict.SPLIT

# ---------------------------------------------------------------- verdicts

ON_ENTRIES = {
    **dict.fromkeys(
        ["InternalFailure", "InternalException", "ServiceUnavailable", "ConcurrentModificationException"],
        TRANSIENT,
    ),
    "ThrottlingException": THROTTLED,
    "TooManyRequestsException": THROTTLED,
    **dict.fromkeys(
        [
            "AccessDeniedException",
            "NotAuthorizedForSourceException",
            "NotAuthorizedForDetailTypeException",
            "InvalidAccountIdException",
            "InvalidArgument",
            "MalformedDetail",
            "RedactionFailure",
            "LimitExceededException",
            "OperationDisabledException",
            "ValidationException",
        ],
        PERMANENT,
    ),
    "ResourceNotFoundException": GONE,
    "EventBusNotFound": GONE,
    "SomethingNew": UNKNOWN,
    "": UNKNOWN,
    "internalfailure": UNKNOWN,
}  # fmt: skip


@pytest.mark.parametrize(("code", "verdict"), ON_ENTRIES.items())
def test_verdict_on_entries(code, verdict):
    """Each code of an entry has its verdict."""
    assert POLICY.verdict_on_entry(code, "message") is verdict


@pytest.mark.parametrize("code", ["InvalidArgument", "SomethingNew", "InternalFailure"])
def test_source_that_is_gone_by_its_message(code):
    """A gone source is told by its message, because AWS documents no code for it."""
    assert POLICY.verdict_on_entry(code, "Event Bus Not Found.") is GONE


def by_code(code, status=400, kind=ServiceError):
    return kind(code, "m", status=status)


ON_REQUESTS = {
    "internal": (by_code("InternalException", 500), TRANSIENT),
    "internal with another status": (by_code("InternalFailure", 400), TRANSIENT),
    "unavailable": (by_code("ServiceUnavailable", 503), TRANSIENT),
    "unknown code, 500": (by_code("Odd", 500), TRANSIENT),
    "unknown code, 502": (by_code("Odd", 502), TRANSIENT),
    "unknown code, 503": (by_code("Odd", 503), TRANSIENT),
    "unknown code, 504": (by_code("Odd", 504), TRANSIENT),
    "unknown code, 400": (by_code("Odd", 400), UNKNOWN),
    "unknown code, 501": (by_code("Odd", 501), UNKNOWN),
    "unknown code, 429": (by_code("Odd", 429), THROTTLED),
    "no code, 408": (by_code("HTTP 408", 408), TRANSIENT),
    "no code, 429": (by_code("HTTP 429", 429), THROTTLED),
    "no code, 500": (by_code("HTTP 500", 500), TRANSIENT),
    "no code, 403": (by_code("HTTP 403", 403), PERMANENT),
    "no code, 301": (by_code("HTTP 301", 301), PERMANENT),
    "no code, 413": (by_code("HTTP 413", 413), SPLIT),
    "too large": (by_code("RequestEntityTooLargeException", 413), SPLIT),
    "validation": (by_code("ValidationException"), SPLIT),
    "validation, 500": (by_code("ValidationException", 500), SPLIT),
    "throttled": (by_code("ThrottlingException", 400, ThrottledError), THROTTLED),
    "request timeout": (by_code("RequestTimeoutException", 400), TRANSIENT),
    "expired": (by_code("ExpiredTokenException", 403, ExpiredCredentialsError), Verdict.FRESH_START),
    "clock": (by_code("RequestTimeTooSkewed", 403, ClockSkewError), Verdict.FRESH_START),
    "hard quota": (by_code("LimitExceededException"), PERMANENT),
    "access denied, even with 500": (by_code("AccessDeniedException", 500), PERMANENT),
    **{
        code: (by_code(code, 403), PERMANENT)
        for code in (
            "AccessDenied",
            "UnrecognizedClientException",
            "InvalidSignatureException",
            "IncompleteSignature",
            "MissingAuthenticationToken",
            "OperationDisabledException",
            "UnknownOperationException",
            "OptInRequired",
            "SerializationException",
        )
    },
    "answer lost": (LOST, TRANSIENT),
    "no connection": (TransportError("m", may_have_been_sent=False), TRANSIENT),
    "unreadable": (UnreadableAnswerError("m"), TRANSIENT),
    "credentials": (CredentialsError("m"), TRANSIENT),
    "TLS": (TlsError("m"), Verdict.UNTRUSTED),
    "another of ours": (ConfigurationError("m"), UNKNOWN),
}  # fmt: skip


@pytest.mark.parametrize(("error", "verdict"), ON_REQUESTS.values(), ids=ON_REQUESTS)
def test_verdict_on_requests(error, verdict):
    """A failed request is judged by its code first and its status second."""
    assert POLICY.verdict_on_request(error) is verdict


def test_verdicts_of_the_user_go_first():
    """The user's verdicts come before ours, for entries and for requests."""
    policy = policy_of(verdicts={"InternalFailure": PERMANENT, "ThrottlingException": GONE})
    assert policy.verdict_on_entry("InternalFailure", "") is PERMANENT
    assert policy.verdict_on_entry("InternalFailure", "event bus not found") is PERMANENT
    assert policy.verdict_on_request(by_code("InternalFailure", 500)) is PERMANENT
    throttled = by_code("ThrottlingException", 400, ThrottledError)
    assert policy.verdict_on_request(throttled) is GONE
    assert policy.verdict_on_entry("Throttling", "") is THROTTLED


# ---------------------------------------------------------------- delays


@given(st.integers(1, 2), st.sampled_from([TRANSIENT, THROTTLED]), st.integers())
def test_standard_delays(tries, verdict, seed):
    """Delays have full jitter below `base * 2**(n-1)`."""
    random.seed(seed)
    base = 1.0 if verdict is THROTTLED else 0.05
    assert 0 <= POLICY.delay_after(tries, verdict, LOST) <= base * 2 ** (tries - 1)


@pytest.mark.parametrize(("verdict", "base"), [(TRANSIENT, 0.05), (THROTTLED, 1.0)])
def test_jitter_is_full_and_bounded(verdict, base):
    """Delays fill the whole range, and never exceed 20 s."""
    random.seed(1)
    policy = policy_of(stop=tenacity.stop_never)
    delays = [policy.delay_after(2, verdict, LOST) for _ in range(2000)]
    assert min(delays) < 0.05 * base
    assert 1.9 * base < max(delays) <= 2 * base
    late = [policy.delay_after(60, verdict, LOST) for _ in range(2000)]
    assert 19 < max(late) <= 20


def test_three_attempts_by_default():
    """By default, there is a third attempt and no fourth."""
    for verdict in (TRANSIENT, THROTTLED, UNKNOWN):
        assert POLICY.delay_after(2, verdict, LOST) is not None
        assert POLICY.delay_after(3, verdict, LOST) is None


def delays(policy, attempts, verdict=TRANSIENT, **times):
    return [policy.delay_after(tries, verdict, LOST, **times) for tries in range(1, attempts + 1)]


WAITS = {
    "fixed": (tenacity.wait_fixed(2), [2, 2, 2]),
    "none": (tenacity.wait_none(), [0, 0, 0]),
    "chain": (tenacity.wait_chain(tenacity.wait_fixed(1), tenacity.wait_fixed(5)), [1, 5, 5]),
    "incrementing": (tenacity.wait_incrementing(1, 2), [1, 3, 5]),
    "exponential": (tenacity.wait_exponential(multiplier=1, max=3), [1, 2, 3]),
    "sum": (tenacity.wait_fixed(1) + tenacity.wait_incrementing(0, 1), [1, 2, 3]),
    "function": (lambda state: state.attempt_number * 1.5, [1.5, 3.0, 4.5]),
    "of the exception": (
        tenacity.wait_exception(lambda error: 4.0 if error is LOST else 0.0),
        [4, 4, 4],
    ),
    "negative": (lambda state: -1.0, [0, 0, 0]),
}


@pytest.mark.parametrize(("wait", "expected"), WAITS.values(), ids=WAITS)
def test_waits_of_tenacity(wait, expected):
    """Any `wait` object works, and gives the same delay each time."""
    policy = policy_of(wait=wait, stop=tenacity.stop_never)
    assert delays(policy, 3) == expected
    assert delays(policy, 3) == expected
    throttle = policy_of(throttle_wait=wait, stop=tenacity.stop_never)
    assert delays(throttle, 3, THROTTLED) == expected


@given(st.integers())
def test_random_waits_of_tenacity(seed):
    """A random `wait` in a sum stays within its bounds."""
    random.seed(seed)
    wait = tenacity.wait_fixed(3) + tenacity.wait_random(0, 2)
    assert 3 <= policy_of(wait=wait).delay_after(1, TRANSIENT, LOST) <= 5


def test_each_wait_is_for_its_failures():
    """`throttle_wait` applies to throttling only, and `wait` to everything else."""
    policy = policy_of(wait=tenacity.wait_fixed(7), throttle_wait=tenacity.wait_fixed(9))
    assert policy.delay_after(1, TRANSIENT, LOST) == 7
    assert policy.delay_after(1, UNKNOWN, LOST) == 7
    assert policy.delay_after(1, THROTTLED, LOST) == 9
    assert policy_of(wait=tenacity.wait_fixed(7)).delay_after(1, THROTTLED, LOST) <= 1
    assert policy_of(throttle_wait=tenacity.wait_fixed(7)).delay_after(1, TRANSIENT, LOST) <= 0.05


EVENT = threading.Event()
STOPS = {
    "attempts": (tenacity.stop_after_attempt(5), {}, [4, 5]),
    "one attempt": (tenacity.stop_after_attempt(1), {}, [0, 1]),
    "delay passed": (tenacity.stop_after_delay(10), {"elapsed": 10.0}, [0, 1]),
    "delay not passed": (tenacity.stop_after_delay(10), {"elapsed": 9.9}, [9, None]),
    "before delay": (tenacity.stop_before_delay(10), {"elapsed": 8.0}, [0, 1]),
    "before delay, room left": (tenacity.stop_before_delay(10), {"elapsed": 7.9}, [9, None]),
    "either": (tenacity.stop_after_attempt(2) | tenacity.stop_after_delay(10), {}, [1, 2]),
    "either, by time": (
        tenacity.stop_after_attempt(9) | tenacity.stop_after_delay(10),
        {"elapsed": 11.0},
        [0, 1],
    ),
    "both": (
        tenacity.stop_after_attempt(2) & tenacity.stop_after_delay(10),
        {"elapsed": 9.0},
        [9, None],
    ),
    "event not set": (tenacity.stop_when_event_set(EVENT), {}, [9, None]),
    "never": (tenacity.stop_never, {}, [9, None]),
    "function": (lambda state: state.idle_for > 4, {"waited": 5.0}, [0, 1]),
}


@pytest.mark.parametrize(("stop", "times", "boundary"), STOPS.values(), ids=STOPS)
def test_stops_of_tenacity(stop, times, boundary):
    """Any `stop` object works, by attempts, elapsed seconds and the next wait."""
    policy = policy_of(stop=stop, wait=tenacity.wait_fixed(2))
    goes_on, gives_up = boundary
    if goes_on:
        assert policy.delay_after(goes_on, TRANSIENT, LOST, **times) == 2
    if gives_up:
        assert policy.delay_after(gives_up, TRANSIENT, LOST, **times) is None


@pytest.mark.parametrize(
    ("asked", "delay"), [(None, 2.0), (0.0, 2.0), (1.5, 2.0), (2.5, 2.5), (7.0, 7.0), (60.0, 7.0)]
)
def test_retry_after(asked, delay):
    """The service's `retry_after` lengthens a wait by up to 5 s, and never shortens it."""
    policy = policy_of(wait=tenacity.wait_fixed(2))
    error = ServiceError("C", "m", status=503, retry_after=asked)
    assert policy.delay_after(1, TRANSIENT, error) == delay


def test_retry_after_counts_for_stop():
    """`stop_before_delay` counts the wait that the service asks for."""
    policy = policy_of(wait=tenacity.wait_none(), stop=tenacity.stop_before_delay(3))
    error = ServiceError("C", "m", status=503, retry_after=4.0)
    assert policy.delay_after(1, TRANSIENT, error) is None
    assert policy.delay_after(1, TRANSIENT, LOST) == 0


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_unknown_codes_are_bounded(attempts):
    """An unknown code is tried `unknown_attempts` times, whatever `stop` says."""
    policy = policy_of(unknown_attempts=attempts, stop=tenacity.stop_never)
    assert policy.delay_after(attempts, UNKNOWN, LOST) is None
    if attempts > 1:
        assert policy.delay_after(attempts - 1, UNKNOWN, LOST) is not None
    assert policy.delay_after(attempts, TRANSIENT, LOST) is not None


def test_max_attempts_of_the_configuration():
    """`AWS_MAX_ATTEMPTS` counts unless the policy has a `stop`."""
    assert [delay is None for delay in delays(POLICY.with_max_attempts(5), 5)] == [False] * 4 + [
        True
    ]
    assert delays(POLICY.with_max_attempts(1), 1) == [None]
    own = policy_of(stop=tenacity.stop_after_attempt(2))
    assert own.with_max_attempts(9) is own


# ---------------------------------------------------------------- the quota


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stop": 3}, "stop is of type int; allowed: tenacity's stop objects"),
        ({"wait": 0.5}, "wait is of type float; allowed: tenacity's wait objects"),
        ({"throttle_wait": "1"}, "throttle_wait is of type str; allowed: tenacity's wait objects"),
        ({"tokens": -1}, "tokens is -1; allowed: 0 or more, or None for no quota"),
        ({"unknown_attempts": 0}, "unknown_attempts is 0; allowed: 1 or more"),
    ],
)
def test_policies_that_cannot_work(settings, message):
    """A policy that cannot work is refused when it is made, not at the first failure."""
    with pytest.raises((TypeError, ValueError)) as caught:
        RetryPolicy(**settings)
    assert str(caught.value) == message


def test_costs():
    """A transient failure costs 14 tokens, a throttled one 5, and a part of a request a part."""
    quota = RetryQuota()
    assert quota.tokens == 500
    assert quota.take(TRANSIENT, 1) == 14
    assert quota.take(UNKNOWN, 0.5) == 7
    assert quota.take(THROTTLED, 1) == 5
    assert quota.take(THROTTLED, 0.2) == 1
    assert quota.tokens == 500 - 14 - 7 - 5 - 1


def test_quota_runs_out_and_comes_back():
    """The quota allows 35 transient retries, and more once successes have refilled it."""
    quota = RetryQuota()
    taken = [quota.take(TRANSIENT, 1) for _ in range(36)]
    assert taken == [14] * 35 + [None]
    assert quota.tokens == 10
    assert quota.take(THROTTLED, 1) == 5
    for _ in range(9):
        quota.give_back(1)
    assert quota.take(TRANSIENT, 1) == 14
    quota.give_back(10_000)
    assert quota.tokens == 500


def test_no_quota():
    """None as tokens is no limit, and 0 tokens allow no retry."""
    endless = RetryQuota(None)
    assert all(endless.take(TRANSIENT, 1) == 0 for _ in range(1000))
    endless.give_back(5)
    assert RetryQuota(0).take(THROTTLED, 0.05) is None
    assert RetryQuota(14).take(TRANSIENT, 1) == 14


def test_quota_in_threads():
    """Threads take no token twice, and lose none."""
    quota = RetryQuota(5 * 1000)
    taken = []

    def work():
        for _ in range(400):
            if (tokens := quota.take(THROTTLED, 1)) is not None:
                taken.append(tokens)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1000
    assert quota.tokens == 0

    def give():
        for _ in range(500):
            quota.give_back(1)

    givers = [threading.Thread(target=give) for _ in range(8)]
    for thread in givers:
        thread.start()
    for thread in givers:
        thread.join()
    assert quota.tokens == 4000


@given(
    st.lists(st.tuples(st.sampled_from([TRANSIENT, THROTTLED]), st.integers(1, 20)), max_size=60)
)
def test_what_was_taken_can_be_given_back(takes):
    """Giving back what was taken leaves the quota exactly full."""
    quota = RetryQuota()
    taken = [quota.take(verdict, part / 20) or 0 for verdict, part in takes]
    assert 0 <= quota.tokens <= 500
    quota.give_back(sum(taken))
    assert quota.tokens == pytest.approx(500)
    assert quota.tokens <= 500
