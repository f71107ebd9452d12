"""Calls that interrupt another call on the same thread, as a signal handler's do."""

from __future__ import annotations

import datetime
import itertools
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.session import get_session

from eventbridge_partner import Pace, PartnerEvent, PartnerEventsClient, RetryPolicy
from eventbridge_partner._mailbox import Mailbox
from eventbridge_partner.aws.credentials import CredentialsKeeper
from eventbridge_partner.errors import ConfigurationError, CredentialsError
from eventbridge_partner.retry import RetryQuota, Verdict
from eventbridge_partner.testing import FailEntries, FakeEventBridge

SOON = 10.0


def run_in_time(function: Callable[[], None]) -> None:
    """Run a function on a thread that may hang, and raise what it raises."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001  # told in the test's own thread
            errors.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    thread.join(SOON)
    assert not thread.is_alive(), "the thread waits for itself"
    if errors:
        raise errors[0]


def interrupted(function: Callable[[], None], file: str, chosen: int, act: Any) -> bool:
    """Run a function, act at one line of a file's code, and tell whether that line was reached."""
    passed = 0

    def trace(frame: FrameType, kind: str, _: Any) -> Any:
        nonlocal passed
        if not frame.f_code.co_filename.endswith(file):
            return None
        if kind == "line":
            passed += 1
            if passed - 1 == chosen:
                act()
        return trace

    def traced() -> None:
        sys.settrace(trace)
        try:
            function()
        finally:
            sys.settrace(None)

    run_in_time(traced)
    return passed > chosen


def test_a_quota_loses_no_token_to_what_interrupts_it() -> None:
    """A quota counts right when interrupted at any line, and never waits for its own lock."""

    def use(quota: RetryQuota) -> None:
        for _ in range(3):
            quota.take(Verdict.TRANSIENT, 1.0)
        quota.give_back(14.0)
        quota.take(Verdict.THROTTLED, 1.0)
        quota.give_back(5.0)

    def interrupt(quota: RetryQuota) -> None:
        quota.take(Verdict.TRANSIENT, 1.0)
        quota.give_back(4.0)

    use(quota := RetryQuota(100))
    undisturbed = quota.tokens
    for chosen in itertools.count():
        quota = RetryQuota(100)
        if not interrupted(partial(use, quota), "retry.py", chosen, partial(interrupt, quota)):
            break
        assert quota.tokens == undisturbed - 10
    assert chosen > 20


def test_a_pace_counts_what_interrupts_it() -> None:
    """A pace counts a request that is noted at any line of another request's."""

    def use(pace: Pace) -> None:
        for number in range(5):
            pace.sent(number / 1000)

    for chosen in itertools.count():
        pace = Pace(10)
        if not interrupted(partial(use, pace), "pacing.py", chosen, partial(pace.sent, 0.0)):
            break
        assert pace.ready_at() == pytest.approx(0.6, abs=0.021)
    assert chosen > 50


@pytest.mark.slow
def test_a_pace_that_is_interrupted_still_slows_down() -> None:
    """A pace slows down even if another throttled answer interrupts it at any line."""

    def use(pace: Pace) -> None:
        for number in range(100):
            pace.sent(number / 100)
        pace.throttled(1.0, 0.9, 1.0, in_flight=3)
        for number in range(8):
            pace.accepted(1.1)
            pace.sent(1.1 + number / 100)
        pace.throttled(0.5, 1.15, 1.2, in_flight=3)
        pace.throttled(1.0, 1.16, 2.5, in_flight=3)

    def interrupt(pace: Pace) -> None:
        pace.sent(1.2)
        pace.throttled(1.0, 1.2, 1.3, in_flight=3)
        pace.accepted(1.2)

    undisturbed = Pace()
    use(undisturbed)
    slowed = undisturbed.requests_per_second
    assert slowed is not None
    for chosen in itertools.count():
        pace = Pace()
        if not interrupted(partial(use, pace), "pacing.py", chosen, partial(interrupt, pace)):
            break
        rate = pace.requests_per_second
        assert rate is not None and rate <= slowed * 1.05
    assert chosen > 500


class Source:
    """Credentials that call a function while they are fetched under a lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.meanwhile: Callable[[], object] | None = None
        self.key = "AKIDFIRST"

    def get_frozen_credentials(self) -> Any:
        with self.lock:
            meanwhile, self.meanwhile = self.meanwhile, None
            if meanwhile is not None:
                meanwhile()
        return Credentials(self.key, "secret").get_frozen_credentials()


def test_credentials_that_are_being_fetched_are_not_waited_for_on_the_same_thread() -> None:
    """A call that interrupts a fetch gets the earlier credentials, or an error at once."""
    source = Source()
    keeper = CredentialsKeeper(get_session(), source)
    found: list[object] = []

    def meanwhile() -> None:
        try:
            found.append(keeper.frozen().access_key)
        except CredentialsError as error:
            found.append(str(error))

    def fetch(key: str) -> None:
        source.key, source.meanwhile = key, meanwhile
        found.append(keeper.frozen().access_key)

    run_in_time(lambda: fetch("AKIDFIRST"))
    run_in_time(lambda: fetch("AKIDSECOND"))
    error, *keys = found
    assert "are being fetched by the code that this call interrupted" in str(error)
    assert keys == ["AKIDFIRST", "AKIDFIRST", "AKIDSECOND"]


def test_other_threads_wait_for_credentials_that_are_being_fetched() -> None:
    """A call on another thread waits for the fetch."""
    source, others = Source(), list[str]()
    keeper = CredentialsKeeper(get_session(), source)
    other = threading.Thread(target=lambda: others.append(keeper.frozen().access_key))
    source.meanwhile = other.start
    run_in_time(lambda: others.append(keeper.frozen().access_key))
    other.join(SOON)
    assert others == ["AKIDFIRST"] * 2


def test_a_refresh_of_botocores_is_not_waited_for_on_the_same_thread() -> None:
    """A call that interrupts botocore's own refresh, which holds a lock, gets the earlier keys."""
    found: list[object] = []

    def metadata(key: str, seconds: float) -> dict[str, str]:
        expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
        return {
            "access_key": key,
            "secret_key": "secret",
            "token": "token",
            "expiry_time": expires.isoformat(),
        }

    def refresh() -> dict[str, str]:
        found.append(keeper.frozen().access_key)
        return metadata("AKIDSECOND", 7200)

    source = RefreshableCredentials.create_from_metadata(
        metadata("AKIDFIRST", 7200), refresh, "test"
    )
    keeper = CredentialsKeeper(get_session(), source)
    run_in_time(lambda: found.append(keeper.frozen().access_key))
    setattr(source, "_expiry_time", datetime.datetime.now(datetime.UTC))  # noqa: B010
    run_in_time(lambda: found.append(keeper.frozen().access_key))
    assert found == ["AKIDFIRST", "AKIDFIRST", "AKIDSECOND"]


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX signals")
def test_a_signal_handler_may_send_while_its_thread_sends() -> None:
    """A signal handler may send while its thread sends, with retries and at a pace."""
    service = FakeEventBridge()
    service.play(FailEntries("ThrottlingException", indexes=[0], times=200))
    client = PartnerEventsClient(
        service.region,
        credentials=service.credentials,
        transport=service.transport(),
        retry=RetryPolicy(throttle_wait=lambda _: 0.0, tokens=10**6),
        pace=Pace(10**6),
    )
    client.look_up()
    events = [PartnerEvent("aws.partner/example.com/acme/x", "t", {"n": 1})] * 30
    reports = []

    def send(number: int, frame: FrameType | None) -> None:
        reports.append(client.put_events(events[:3]))

    before = signal.signal(signal.SIGALRM, send)
    until = time.monotonic() + 1.5
    try:
        while time.monotonic() < until:
            signal.setitimer(signal.ITIMER_REAL, 0.0007)
            reports.append(client.put_events(events))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert {len(report) for report in reports} == {3, 30}
    assert all(
        report.counts.accepted + report.counts.exhausted == len(report) for report in reports
    )


def test_a_first_use_in_the_middle_of_another_is_refused_at_once() -> None:
    """A first use that interrupts another is refused, because settings are only half read."""
    service = FakeEventBridge()
    errors: list[str] = []

    def make(**settings: Any) -> Any:
        try:
            PartnerEventsClient("us-east-1", credentials=service.credentials).look_up()
        except ConfigurationError as error:
            errors.append(str(error))
        return service.transport()

    client = PartnerEventsClient("us-east-1", credentials=service.credentials, transport=make)
    run_in_time(client.look_up)
    assert "call look_up() before a signal handler may send" in errors[0]
    assert client.put_events([PartnerEvent("aws.partner/a/b/c", "t", {})]).counts.accepted == 1


@pytest.mark.process
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX signals")
def test_a_handler_that_takes_longer_than_a_wait_ends_it() -> None:
    """A timed wait ends even if a signal handler runs longer than it."""
    entered = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        entered.set()
        time.sleep(0.2)

    mailbox: Mailbox[int] = Mailbox()
    before = signal.signal(signal.SIGALRM, handle)
    helper = threading.Timer(SOON, mailbox.put, [1])
    helper.start()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        assert mailbox.collect(0.1) == []
    finally:
        helper.cancel()
        signal.signal(signal.SIGALRM, before)
    assert entered.is_set()


def test_letters_are_collected_in_their_order() -> None:
    """Letters are collected once, in order, with and without waiting."""
    mailbox: Mailbox[int] = Mailbox()
    assert mailbox.collect(0) == []
    mailbox.put(1)
    mailbox.put(2)
    assert mailbox.collect(None) == [1, 2]
    assert mailbox.collect(0.01) == []
    threading.Timer(0.01, mailbox.put, [3]).start()
    assert mailbox.collect(SOON) == [3]
