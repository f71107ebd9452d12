"""The client: its input, its results and its life cycle."""

from __future__ import annotations

import copy
import datetime
import itertools
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
import responses
from botocore.credentials import Credentials, RefreshableCredentials
from moto import mock_aws
from moto.server import ThreadedMotoServer
from tenacity import stop_after_attempt, wait_none

from eventbridge_partner import (
    Accepted,
    ConfigurationError,
    CredentialsError,
    Exhausted,
    HttpRequest,
    HttpResponse,
    InputInterruptedError,
    InvalidEventError,
    Outcome,
    PartnerEvent,
    PartnerEventsClient,
    Rejected,
    RetryPolicy,
    ServiceError,
    Timeouts,
    TlsError,
    TransportError,
    Unconfirmed,
    UnreadableAnswerError,
)
from eventbridge_partner.testing import (
    CutAnswer,
    ExpireToken,
    FailEntries,
    FailRequest,
    FakeEventBridge,
    LocalServer,
    LoseAnswer,
    RefuseRequestContaining,
    SlowAnswer,
    WrongClock,
    WrongLength,
)
from tests.patience import SOON, until

SOURCE = "aws.partner/example.com/acme"
ENDPOINT = "https://events.us-east-1.amazonaws.com/"
IMPATIENT = RetryPolicy(wait=wait_none(), throttle_wait=wait_none(), stop=stop_after_attempt(3))


def events(count: int) -> list[PartnerEvent]:
    return [PartnerEvent(SOURCE, "test", {"number": number}) for number in range(count)]


def entry(number: int = 0) -> dict[str, Any]:
    return {"Source": SOURCE, "DetailType": "test", "Detail": json.dumps({"number": number})}


@pytest.fixture
def service() -> FakeEventBridge:
    return FakeEventBridge()


@pytest.fixture
def server(service: FakeEventBridge) -> Iterator[LocalServer]:
    with service.serve() as server:
        yield server


def client_of(service: FakeEventBridge, **settings: Any) -> PartnerEventsClient:
    """Return a client in the service's own process."""
    settings.setdefault("transport", service.transport())
    settings.setdefault("credentials", service.credentials)
    settings.setdefault("retry", IMPATIENT)
    return PartnerEventsClient(service.region, **settings)


def http_client_of(
    service: FakeEventBridge, server: LocalServer, **settings: Any
) -> PartnerEventsClient:
    """Return a client over HTTP."""
    return client_of(service, transport=None, endpoint_url=server.url, **settings)


def numbers(service: FakeEventBridge) -> list[int]:
    return [json.loads(accepted.detail)["number"] for accepted in service.accepted]


# ---------------------------------------------------------------- input


def test_events_and_mappings_of_any_iterable_are_sent(service: FakeEventBridge) -> None:
    """Generators, iterators and tuples are sent, and events and mappings may be mixed."""
    client = client_of(service)

    for given in (
        (entry(n) if n % 2 else event for n, event in enumerate(events(25))),
        iter(events(3)),
        tuple(events(1)),
    ):
        client.put_events(given).raise_for_undelivered()

    assert sorted(numbers(service)) == sorted([*range(25), 0, 1, 2, 0])


@pytest.mark.parametrize(
    "given", [entry(), PartnerEvent(SOURCE, "test", "{}"), "text", b"bytes", 3, None]
)
def test_anything_but_an_iterable_of_events_is_refused(
    service: FakeEventBridge, given: Any
) -> None:
    """A single event, or text, would otherwise be iterated over as nonsense."""
    client = client_of(service)

    with pytest.raises(TypeError):
        client.put_events(given)
    with pytest.raises(TypeError):
        list(client.stream_events(given))
    assert service.request_count == 0


def test_a_bad_entry_among_good_ones_is_rejected_alone(service: FakeEventBridge) -> None:
    """Objects that are not events at all are rejected too."""
    strange: Any = [entry(0), {"Source": "x"}, 7, None, entry(4)]

    report = client_of(service).put_events(strange)

    assert [type(outcome) for outcome in report] == [
        Accepted,
        Rejected,
        Rejected,
        Rejected,
        Accepted,
    ]
    assert numbers(service) == [0, 4]
    assert report.rejected[0].findings


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("taken", [0, 7, 20, 45])
def test_an_iterable_that_raises_loses_nothing_that_was_taken(
    service: FakeEventBridge, taken: int, streams: bool
) -> None:
    """Events before the exception are sent and reported on it, and the exception is its cause."""

    def failing() -> Iterator[PartnerEvent]:
        yield from events(taken)
        raise LookupError("the database went away: secret")

    client = client_of(service)
    outcomes: list[Outcome] = []

    def send() -> None:
        if streams:
            for outcome in client.stream_events(failing()):
                outcomes.append(outcome)
        else:
            client.put_events(failing())

    with pytest.raises(InputInterruptedError) as caught:
        send()

    report = outcomes if streams else list(caught.value.report)
    assert [type(outcome) for outcome in report] == [Accepted] * taken
    assert sorted(numbers(service)) == list(range(taken))  # requests overtake each other
    assert isinstance(caught.value.__cause__, LookupError)
    assert "secret" not in str(caught.value)
    assert len(pickle.loads(pickle.dumps(caught.value)).report) == (0 if streams else taken)


def test_missing_credentials_take_nothing_from_the_iterable(service: FakeEventBridge) -> None:
    """No event was read, and nothing was sent."""
    given = iter(events(3))
    client = PartnerEventsClient("us-east-1", transport=service.transport())

    with pytest.raises(CredentialsError):
        client.put_events(given)
    with pytest.raises(CredentialsError):
        client.put_partner_events(Entries=[entry()])

    assert len(list(given)) == 3


@pytest.mark.parametrize("deadline", [1e11, float("inf")])
def test_a_deadline_may_be_huge_or_infinite(
    service: FakeEventBridge, server: LocalServer, deadline: float
) -> None:
    """Such a deadline never passes."""
    service.play(FailEntries("InternalFailure"), SlowAnswer(0.01, times=None))
    with http_client_of(service, server) as client:
        report = client.put_events(events(60), deadline=deadline)

    assert report.counts.accepted == 60


@pytest.mark.parametrize("deadline", [0, -1, float("nan")])
def test_an_invalid_deadline_is_refused(service: FakeEventBridge, deadline: float) -> None:
    """A deadline must be above zero."""
    with pytest.raises(ValueError, match="deadline"):
        client_of(service).put_events([], deadline=deadline)


@pytest.mark.parametrize(
    "settings",
    [
        {"max_in_flight": 0},
        {"timeout": 0},
        {"timeout": -1.0},
        {"max_batch_bytes": 0},
        {"endpoint_url": "http://example.com"},
        {"endpoint_url": "https://user:pass@example.com"},
        {"endpoint_url": "https://example.com\r\nX: 1"},
        {"region": "us east"},
        {"region": "us-east-1\r\n"},
        {"profile": "x", "session": object()},
    ],
)
def test_invalid_settings_are_refused_at_once(settings: dict[str, Any]) -> None:
    """Invalid settings are refused when the client is made, not at the first call."""
    with pytest.raises(ValueError, match="allowed"):
        PartnerEventsClient(**({"region": "us-east-1"} | settings))


def test_no_region_is_reported_by_the_first_call() -> None:
    """The error names the variable that would set a Region."""
    with pytest.raises(ConfigurationError, match="AWS_REGION"):
        PartnerEventsClient().put_events([])


# ---------------------------------------------------------------- over HTTP


@pytest.mark.slow
def test_several_batches_are_in_flight(service: FakeEventBridge, server: LocalServer) -> None:
    """With four in flight, twelve slow answers take as long as three."""
    service.play(SlowAnswer(0.3, times=None))
    started = time.monotonic()

    with http_client_of(service, server, max_in_flight=4) as client:
        client.put_events(events(240)).raise_for_undelivered()

    assert 0.9 <= time.monotonic() - started < 3.6


def test_ten_threads_share_a_client(service: FakeEventBridge, server: LocalServer) -> None:
    """Each thread gets the outcomes of its own events."""
    reports: dict[int, Any] = {}
    with http_client_of(service, server) as client:

        def send(thread: int) -> None:
            own = [PartnerEvent(SOURCE, "test", {"number": thread * 1000 + n}) for n in range(150)]
            reports[thread] = (own, client.put_events(own))

        threads = [threading.Thread(target=send, args=(number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(set(numbers(service))) == service.accepted_count == 1500
    for own, report in reports.values():
        assert [outcome.event for outcome in report.accepted] == own


def test_a_deadline_ends_a_call_that_hangs(service: FakeEventBridge, server: LocalServer) -> None:
    """Events in flight are Unconfirmed, and the call returns in time."""
    service.play(SlowAnswer(5, times=None))
    started = time.monotonic()

    with http_client_of(service, server, max_in_flight=2) as client:
        report = client.put_events(events(60), deadline=0.3)

    assert time.monotonic() - started < 4
    assert [len(report.unconfirmed), len(report.exhausted)] == [40, 20]


def test_a_closed_client_opens_again(service: FakeEventBridge, server: LocalServer) -> None:
    """A client can be used again after close, and leaves no thread behind."""
    before = set(threading.enumerate())
    client = http_client_of(service, server, max_in_flight=4)
    for _ in range(2):
        client.put_events(events(200)).raise_for_undelivered()
        client.close()

    server.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(SOON)
    assert set(threading.enumerate()) <= before


def test_closing_during_a_call_does_not_hang_it(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """Another thread's call continues, and all its events are accepted."""
    service.play(SlowAnswer(0.05, times=None))
    client = http_client_of(service, server, max_in_flight=3)
    reports: list[Any] = []
    sending = threading.Thread(target=lambda: reports.append(client.put_events(events(400))))
    sending.start()
    for _ in range(5):
        time.sleep(0.04)
        client.close()
    sending.join(SOON)
    client.close()

    assert not sending.is_alive()
    assert len(reports[0].accepted) == 400


@pytest.mark.process
def test_an_interrupt_is_prompt_and_the_client_stays_usable(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """Ctrl-C ends a call whose requests hang, and the next call gets its own answers."""
    for in_flight in (1, 4):
        service.play(SlowAnswer(5, times=in_flight))
        client = http_client_of(service, server, max_in_flight=in_flight)
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            client.put_events(events(20 * in_flight))
        assert time.monotonic() - started < 4
        timer.join()

        report = client.put_events(events(45))
        assert [outcome.index for outcome in report.accepted] == list(range(45))
        assert {accepted.event_id for accepted in report.accepted} <= {
            accepted.event_id for accepted in service.accepted
        }
        client.close()


@pytest.mark.process
def test_both_sides_of_a_fork_can_send(service: FakeEventBridge, server: LocalServer) -> None:
    """The child uses no connection, thread or lock of its parent."""
    script = f"""
import os, threading
from botocore.credentials import Credentials
from eventbridge_partner import PartnerEvent, PartnerEventsClient

client = PartnerEventsClient(
    "us-east-1",
    endpoint_url={server.url!r},
    credentials=Credentials({service.credentials.access_key!r}, {service.credentials.secret_key!r}),
)
def send(first):
    events = [PartnerEvent({SOURCE!r}, "t", {{"number": n}}) for n in range(first, first + 100)]
    assert len(client.put_events(events).accepted) == 100

send(0)
child = os.fork()
if child == 0:
    try:
        send(100)
        os._exit(0)
    except BaseException:
        os._exit(1)
send(200)
_, status = os.waitpid(child, 0)
assert status == 0, status
client.close()
"""
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        timeout=SOON,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr
    assert sorted(numbers(service)) == list(range(300))


@pytest.mark.process
def test_a_fork_in_the_middle_of_a_first_use_hangs_no_child(
    service: FakeEventBridge, server: LocalServer, tmp_path: Path
) -> None:
    """The child never sees a module that another thread has only half imported."""
    config = tmp_path / "config"
    config.touch()  # makes botocore read it, and so be imported
    script = f"""
import os, sys, threading, time
from eventbridge_partner import PartnerEventsClient

os.environ["AWS_CONFIG_FILE"] = {str(config)!r}
client = PartnerEventsClient("us-east-1", endpoint_url={server.url!r})
threading.Thread(target=client.look_up).start()
while "botocore" not in sys.modules:
    time.sleep(0.0001)
child = os.fork()
if child == 0:
    client.look_up()
    os._exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
"""
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        timeout=SOON,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr


def test_a_stream_reads_no_more_than_it_can_hold(service: FakeEventBridge) -> None:
    """Outcomes of an endless input come in order, in bounded memory."""
    taken = itertools.count()
    client = client_of(service, max_in_flight=4)

    def without_end() -> Iterator[PartnerEvent]:
        for number in taken:
            yield PartnerEvent(SOURCE, "test", {"number": number})

    stream = client.stream_events(without_end())
    first = list(itertools.islice(stream, 500))
    stream.close()  # type: ignore[attr-defined]

    assert [outcome.index for outcome in first] == list(range(500))
    assert next(taken) < 1_000  # a busy machine lets requests overtake each other


@pytest.mark.slow
@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("seconds", [0.0, 0.02])
def test_no_request_waits_for_a_slow_input(
    service: FakeEventBridge, server: LocalServer, streams: bool, seconds: float
) -> None:
    """A full batch is sent before the next event is asked for, not when it arrives."""
    service.play(SlowAnswer(seconds, times=None))

    def slow() -> Iterator[PartnerEvent]:
        for part in range(3):
            yield from events(20)
            until(lambda: service.accepted_count == 20 * (part + 1))  # noqa: B023

    with http_client_of(service, server) as client:
        sent = client.stream_events(slow()) if streams else client.put_events(slow())
        assert len(list(sent)) == 60


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.02])
def test_answers_that_come_while_the_input_pauses_come_in_time(
    service: FakeEventBridge, server: LocalServer, seconds: float
) -> None:
    """An answer that arrives before the deadline counts, even if the input pauses beyond it."""
    service.play(SlowAnswer(seconds, times=None))

    def pausing() -> Iterator[PartnerEvent]:
        yield from events(40)
        time.sleep(2.1)

    with http_client_of(service, server) as client:
        client.put_events(events(1))  # connects
        report = client.put_events(pausing(), deadline=2)

    assert len(report.accepted) == 40


@pytest.mark.slow
def test_a_stream_uses_bounded_memory() -> None:
    """The last thirteen thousand of twenty thousand events leave nothing in memory."""
    service = FakeEventBridge(keep=10, verify_signatures=False)
    client = client_of(service, max_in_flight=1)
    stream = client.stream_events(
        PartnerEvent(SOURCE, "test", {"number": number, "text": "x" * 200})
        for number in range(20_000)
    )
    for _ in range(5_000):
        next(stream)
    tracemalloc.start()
    try:
        for _ in range(2_000):
            next(stream)
        before, _ = tracemalloc.get_traced_memory()
        for _ in stream:
            pass
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1_000_000


# ---------------------------------------------------------------- credentials and clock


@pytest.fixture
def environment(service: FakeEventBridge, monkeypatch: pytest.MonkeyPatch) -> FakeEventBridge:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", service.credentials.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", service.credentials.secret_key)
    return service


def test_expired_credentials_are_looked_up_again(
    environment: FakeEventBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that expires while batches are in flight costs each of them one retry."""
    service = environment
    client = client_of(service, credentials=None, max_in_flight=3)
    client.put_events(events(1)).raise_for_undelivered()

    service.play(ExpireToken())
    fresh = service.rotate_credentials()
    read = fresh.get_frozen_credentials()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", read.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", read.secret_key)
    if read.token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", read.token)

    report = client.put_events(events(60))

    report.raise_for_undelivered()
    assert max(outcome.attempts for outcome in report) == 2


def test_credentials_that_stay_expired_exhaust_the_events(
    environment: FakeEventBridge,
) -> None:
    """The events are Exhausted after one retry, so the caller can send them again."""
    environment.play(ExpireToken())

    report = client_of(environment, credentials=None).put_events(events(20))

    assert {outcome.code for outcome in report.exhausted} == {"ExpiredTokenException"}
    assert [outcome.attempts for outcome in report] == [2] * 20


def test_attempts_are_counted_if_expired_credentials_are_gone(
    environment: FakeEventBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that was refused for its token counts as an attempt."""
    service = environment
    client = client_of(service, credentials=None)
    client.put_events(events(1)).raise_for_undelivered()
    sent = service.request_count

    service.play(ExpireToken(times=None))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    outcome = client.put_events(events(1))[0]

    assert isinstance(outcome, Exhausted) and outcome.code == "CredentialsError"
    assert outcome.attempts == service.request_count - sent > 0


def test_refreshable_credentials_are_frozen_for_each_signature(service: FakeEventBridge) -> None:
    """A provider that changes its keys between two requests is followed."""
    asked = []

    def refresh() -> dict[str, str]:
        asked.append(1)
        expiry = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
        return {
            "access_key": service.credentials.access_key,
            "secret_key": service.credentials.secret_key,
            "token": None,  # type: ignore[dict-item]
            "expiry_time": expiry.isoformat(),
        }

    credentials = RefreshableCredentials.create_from_metadata(
        refresh(), refresh_using=refresh, method="test"
    )
    credentials._expiry_time = datetime.datetime.now(datetime.UTC)  # type: ignore[attr-defined]

    client_of(service, credentials=credentials).put_events(events(5)).raise_for_undelivered()

    assert len(asked) == 2


@pytest.mark.parametrize("offset", [-4000, 4000])
@pytest.mark.parametrize(
    "code", ["RequestTimeTooSkewed", "RequestExpired", "InvalidSignatureException"]
)
def test_a_wrong_clock_is_corrected_once_for_all(
    service: FakeEventBridge, offset: float, code: str
) -> None:
    """The service's Date corrects the clock, and the next call is right at once."""
    service.play(WrongClock(offset, code=code))
    client = client_of(service, max_in_flight=1)

    first = client.put_events(events(40))
    second = client.put_events(events(40))

    assert [outcome.attempts for outcome in first.accepted] == [2] * 20 + [1] * 20
    assert [outcome.attempts for outcome in second.accepted] == [1] * 40


def test_attempts_are_bounded_by_the_environment(
    environment: FakeEventBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS_MAX_ATTEMPTS applies if the policy has no stop of its own."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "5")
    environment.play(FailEntries("InternalFailure", times=None))
    patient = RetryPolicy(wait=wait_none())

    assert client_of(environment, retry=patient).put_events(events(1))[0].attempts == 5
    assert client_of(environment, retry=IMPATIENT).put_events(events(1))[0].attempts == 3


# ---------------------------------------------------------------- the raw call


def test_the_raw_call_is_shaped_like_boto3s(service: FakeEventBridge, server: LocalServer) -> None:
    """The same entries get the same answer from both, except for ids."""
    service.play(FailEntries("InternalFailure", indexes=[1], times=None))
    entries = [entry(0), entry(1)]
    theirs = boto3.client(
        "events",
        region_name=service.region,
        endpoint_url=server.url,
        aws_access_key_id=service.credentials.access_key,
        aws_secret_access_key=service.credentials.secret_key,
    )
    with http_client_of(service, server) as client:
        ours = client.put_partner_events(Entries=entries)

    expected = theirs.put_partner_events(Entries=entries)
    theirs.close()
    assert set(ours) == set(expected)
    assert ours["FailedEntryCount"] == expected["FailedEntryCount"] == 1
    assert [set(result) for result in ours["Entries"]] == [
        set(result) for result in expected["Entries"]
    ]
    assert ours["Entries"][1] == expected["Entries"][1]
    assert set(ours["ResponseMetadata"]) == set(expected["ResponseMetadata"])
    assert ours["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert service.request_count == 2


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (FailRequest("ThrottlingException"), ServiceError),
        (FailRequest("InternalFailure", 500), ServiceError),
        (LoseAnswer(), TransportError),
        (CutAnswer(10), TransportError),
        (WrongLength(1), UnreadableAnswerError),
    ],
)
def test_the_raw_call_raises_and_does_not_retry(
    service: FakeEventBridge, fault: Any, error: type[Exception]
) -> None:
    """The raw call sends one request, and its failure is an exception."""
    service.play(fault)

    with pytest.raises(error):
        client_of(service).put_partner_events(Entries=[entry()])

    assert service.request_count == 1


def test_the_raw_call_reports_every_finding(service: FakeEventBridge) -> None:
    """Each finding has the index of its entry, and nothing is sent."""
    client = client_of(service)
    bad: list[dict[str, Any]] = [entry(), entry() | {"Source": "x", "EventBusName": "b"}]

    with pytest.raises(InvalidEventError) as caught:
        client.put_partner_events(Entries=bad)
    assert {(finding.field, finding.index) for finding in caught.value.findings} == {
        ("EventBusName", 1),
        ("source", 1),
    }
    for count in (0, 21):
        with pytest.raises(InvalidEventError, match=f"{count} entries"):
            client.put_partner_events(Entries=[entry()] * count)
    large = entry() | {"Detail": {"text": "x" * 600_000}}
    with pytest.raises(InvalidEventError, match="bytes"):
        client.put_partner_events(Entries=[large, large])
    assert service.request_count == 0


# ---------------------------------------------------------------- secrets

CANARY = "canary-7f3a"


def test_no_payload_and_no_secret_reaches_a_log_or_a_message(
    service: FakeEventBridge, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a service that echoes everything, nor a repr, nor an exception reveals them."""
    caplog.set_level(logging.DEBUG)
    service.play(
        FailRequest("InternalFailure", 500, message=f'{{"Detail": "{CANARY}"}}'),
        RefuseRequestContaining(lambda refused: "poison" in refused["Detail"]),
    )
    client = client_of(service)
    sent = [
        PartnerEvent(SOURCE, "test", {"secret": CANARY, "kind": kind})
        for kind in ("poison", *["good"] * 30)
    ]

    report = client.put_events([*sent, {"Source": SOURCE, "Detail": CANARY}])

    assert len(report.accepted) == 30
    shown = [repr(report), repr(list(report)), str(list(report)), repr(client), caplog.text]
    for rejected in report.rejected:
        shown += [rejected.message, str(rejected)]
    try:
        report.raise_for_undelivered()
    except Exception as error:  # noqa: BLE001
        shown += [repr(error), str(error)]
    assert caplog.text
    assert not [text for text in shown if CANARY in text or service.credentials.secret_key in text]


def test_a_client_cannot_be_pickled_or_copied(service: FakeEventBridge) -> None:
    """A client holds connections and credentials."""
    client = client_of(service)
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(client)
    with pytest.raises(TypeError):
        copy.deepcopy(client)


# ---------------------------------------------------------------- strange transports


class Scripted:
    """A transport that follows a script, one step per request, and repeats the last one."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.sent: list[HttpRequest] = []

    def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        self.sent.append(request)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, Exception):
            raise step
        count = len(json.loads(request.body)["Entries"])
        if step == "accept":
            step = {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}] * count}
        body = step if isinstance(step, bytes) else json.dumps(step).encode()
        return HttpResponse(200, {}, body)

    def close(self) -> None:
        raise AssertionError("a given transport is its owner's to close")


CREDENTIALS = Credentials("AKID", "SECRET")


def scripted(*script: Any, **settings: Any) -> tuple[PartnerEventsClient, Scripted]:
    transport = Scripted(*script)
    client = PartnerEventsClient(
        "us-east-1",
        credentials=CREDENTIALS,
        transport=transport,
        retry=IMPATIENT,
        **settings,
    )
    return client, transport


@pytest.mark.parametrize("in_flight", [1, 3])
def test_a_transport_that_raises_anything_loses_no_report(in_flight: int) -> None:
    """A request whose transport raised may have been sent, so its events are Unconfirmed."""
    client, _ = scripted("accept", ValueError("secret"), max_in_flight=in_flight)

    report = client.put_events(events(60))

    assert len(report.accepted) == 20
    assert len(report.unconfirmed) == 40
    assert all("ValueError" in outcome.reason for outcome in report.unconfirmed)
    assert not any("secret" in outcome.reason for outcome in report.unconfirmed)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"<html>",
        b'{"FailedEntryCount":0}',
        b'{"Entries":[]}',
        b'{"FailedEntryCount":1,"Entries":[]}',
        b'{"FailedEntryCount":0,"Entries":[{"EventId":"1"}]}',
        b'{"FailedEntryCount":0,"Entries":[{},null]}',
    ],
)
def test_an_answer_that_does_not_add_up_is_never_success(body: bytes) -> None:
    """An answer that does not cover both entries leaves them Unconfirmed."""
    client, transport = scripted(body)

    report = client.put_events(events(2))

    assert [type(outcome) for outcome in report] == [Unconfirmed] * 2
    assert len(transport.sent) == 3


def test_an_untrusted_endpoint_gets_nothing_more() -> None:
    """After a TLS failure no more requests are started, and all events are Exhausted."""
    client, transport = scripted(TlsError("certificate has expired"))

    report = client.put_events(events(500))

    assert len(transport.sent) <= 4  # those in flight when the first failed
    assert {(type(o), o.code) for o in report.exhausted} == {(Exhausted, "TlsError")}
    assert len(report.exhausted) == 500


def test_requests_carry_what_official_sdks_send() -> None:
    """Target, content type, invocation id, attempt and user agent are sent."""
    client, transport = scripted(TransportError("x", may_have_been_sent=False), "accept")

    client.put_events(events(1)).raise_for_undelivered()

    first, second = (request.headers for request in transport.sent)
    assert first["X-Amz-Target"] == "AWSEvents.PutPartnerEvents"
    assert first["Content-Type"] == "application/x-amz-json-1.1"
    assert first["amz-sdk-request"] == "attempt=1"
    assert second["amz-sdk-request"] == "attempt=2"
    assert first["amz-sdk-invocation-id"] != second["amz-sdk-invocation-id"]
    assert first["User-Agent"].startswith("eventbridge-partner/")
    assert transport.sent[0].url == ENDPOINT


# ---------------------------------------------------------------- common mocks


@responses.activate
def test_responses_stands_in_for_the_service() -> None:
    """A partial failure is followed by a retry of what had failed."""
    responses.post(
        ENDPOINT,
        json={
            "FailedEntryCount": 1,
            "Entries": [{"EventId": "a"}, {"ErrorCode": "InternalFailure", "ErrorMessage": "m"}],
        },
    )
    responses.post(ENDPOINT, json={"FailedEntryCount": 0, "Entries": [{"EventId": "b"}]})
    client = PartnerEventsClient("us-east-1", credentials=CREDENTIALS, retry=IMPATIENT)

    report = client.put_events(events(2))

    assert [outcome.event_id for outcome in report.accepted] == ["a", "b"]
    again = json.loads(responses.calls[1].request.body)
    assert [json.loads(sent["Detail"]) for sent in again["Entries"]] == [{"number": 1}]


@responses.activate
def test_exceptions_raised_by_responses_are_retried() -> None:
    """Exceptions of requests are translated, and the event is retried."""
    responses.post(ENDPOINT, body=requests.ConnectTimeout("x"))
    responses.post(ENDPOINT, body=requests.ReadTimeout("x"))
    responses.post(ENDPOINT, json={"FailedEntryCount": 0, "Entries": [{"EventId": "b"}]})
    client = PartnerEventsClient("us-east-1", credentials=CREDENTIALS, retry=IMPATIENT)

    assert client.put_events(events(1))[0].attempts == 3


def _create_source(client: Any) -> None:
    client.create_partner_event_source(Name=SOURCE, Account="123456789012")


@mock_aws
def test_it_works_under_motos_decorator() -> None:
    """moto answers without entries, so events are accepted without an id."""
    _create_source(boto3.client("events", region_name="us-east-1"))

    with PartnerEventsClient("us-east-1") as client:
        report = client.put_events(events(25))

    assert [outcome.event_id for outcome in report.accepted] == [None] * 25


@pytest.mark.slow
def test_it_works_against_motos_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint is taken from the environment, and events are accepted over HTTP."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", f"http://{host}:{port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        theirs = boto3.client("events", region_name="us-east-1")
        _create_source(theirs)
        theirs.close()
        with PartnerEventsClient("us-east-1") as client:
            report = client.put_events(events(25))
        assert [type(outcome) for outcome in report] == [Accepted] * 25
    finally:
        server.stop()
