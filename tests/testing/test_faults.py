"""Each fault, in process and over HTTP: what the client gets, and what the service remembers."""

from __future__ import annotations

import json
import time

import pytest

from eventbridge_partner._http import HttpRequest, Timeouts
from eventbridge_partner.errors import TransportError
from eventbridge_partner.testing import (
    BlankResults,
    CloseConnection,
    CutAnswer,
    EmptyAnswer,
    ExpireToken,
    FailEntries,
    FailRequest,
    FakeEventBridge,
    Fault,
    GarbleAnswer,
    LimitRate,
    LoseAnswer,
    MiscountFailures,
    RefuseRequestContaining,
    SlowAnswer,
    WrongClock,
    WrongLength,
)


def codes(answer):
    """Return the error code of each entry, None for one that has an id instead."""
    for result in answer["Entries"]:
        assert ("EventId" in result) != ("ErrorCode" in result)
    return [result.get("ErrorCode") for result in answer["Entries"]]


def poison(entry):
    return "poison" in entry.get("Detail", "")


# What each fault does


def test_entries_fail_by_index(either_client, service, entry):
    """The entries at the indexes fail with code and message; the others are accepted."""
    service.play(FailEntries("ThrottlingException", "Slow down", indexes=[0, 2]))
    answer = either_client.put([entry(Detail=f'{{"n": {n}}}') for n in range(4)])
    assert codes(answer) == ["ThrottlingException", None, "ThrottlingException", None]
    assert answer["FailedEntryCount"] == 2
    assert answer["Entries"][0]["ErrorMessage"] == "Slow down"
    assert [accepted.detail for accepted in service.accepted] == ['{"n": 1}', '{"n": 3}']
    assert [accepted.entry_index for accepted in service.accepted] == [1, 3]
    assert [result.error_code for result in service.requests[0].results] == codes(answer)


def test_entries_fail_by_what_they_are(client, service, entry):
    """A predicate sees an entry's members; a request without a matching entry does not count."""
    service.play(FailEntries("InternalFailure", matching=poison, times=2))
    assert codes(client.put([entry()])) == [None]
    for _ in range(2):
        assert codes(client.put([entry(), entry(Detail='{"poison": 1}')])) == [
            None,
            "InternalFailure",
        ]
    assert codes(client.put([entry(Detail='{"poison": 1}')])) == [None]


def test_entries_fail_by_share(client, service, entry):
    """About the given share of entries fails, spread over the requests."""
    service.play(FailEntries("ThrottlingException", entry_share=0.3, times=None))
    answers = [client.put([entry()] * 20) for _ in range(100)]
    failed = [answer["FailedEntryCount"] for answer in answers]
    assert 500 < sum(failed) < 700
    assert service.accepted_count == 2000 - sum(failed)
    assert len(set(failed)) > 3


def test_a_bad_entry_keeps_its_own_error(client, service, entry):
    """Faults apply after the service's own checks."""
    service.play(FailEntries("ThrottlingException"))
    assert codes(client.put([entry(), entry(Detail="x")])) == [
        "ThrottlingException",
        "MalformedDetail",
    ]


def test_a_request_fails_whole(either_client, service, entry):
    """No entry is accepted, and the answer has the given status and headers."""
    service.play(FailRequest("ServiceUnavailable", 503, headers={"X-Amz-Retry-After": "250"}))
    body = json.dumps({"Entries": [entry()] * 3}).encode()
    answer = either_client.deliver(either_client.signed(body), body)
    assert answer.status == 503
    assert answer.headers["x-amz-retry-after"] == "250"
    assert json.loads(answer.body)["__type"] == "ServiceUnavailable"
    record = service.requests[0]
    assert (record.entry_count, record.results, record.status) == (3, (), 503)
    assert record.error_code == "ServiceUnavailable"
    assert service.accepted == ()
    assert either_client.put([entry()])["status"] == 200


@pytest.mark.parametrize("status", ["no", "400", None, True, 100, 600, 400.0])
def test_an_invalid_status(status):
    """An invalid status raises a ValueError when the fault is made."""
    with pytest.raises(ValueError, match=r"status is .*; allowed: a whole number, 200 to 599"):
        FailRequest("AccessDeniedException", status)


@pytest.mark.parametrize(
    ("form", "headers", "content_type", "body"),
    [
        ("__type", {}, "application/x-amz-json-1.1", b'{"__type": "E", "message": "<m>"}'),
        (
            "namespace",
            {},
            "application/x-amz-json-1.1",
            b'{"__type": "com.amazon.coral.service#E", "Message": "<m>"}',
        ),
        (
            "header",
            {"x-amzn-errortype": "E:http://internal.amazon.com/coral/com.amazon.coral.service/"},
            "application/x-amz-json-1.1",
            b'{"message": "<m>"}',
        ),
        ("code", {}, "application/x-amz-json-1.1", b'{"code": "E", "message": "<m>"}'),
        (
            "html",
            {},
            "text/html",
            b"<html><head><title>502 Bad Gateway</title></head><body></body></html>\r\n",
        ),
        ("empty", {}, None, b""),
    ],
)
def test_an_error_takes_every_form(
    either_client, service, entry, form, headers, content_type, body
):
    """An error takes each form that AWS's services, or gateways before them, use."""
    service.play(FailRequest("E", 502, "<m>", form=form))
    sent = json.dumps({"Entries": [entry()]}).encode()
    answer = either_client.deliver(either_client.signed(sent), sent)
    assert answer.status == 502
    assert answer.body == body
    assert answer.headers.get("content-type") == content_type
    assert headers.items() <= answer.headers.items()


def test_an_error_may_be_xml(client, service):
    """An error can be XML, as in AWS's query protocol, with special characters escaped."""
    service.play(FailRequest("E", 500, "<m>", form="xml"))
    answer = client.deliver(client.signed(b"{}"), b"{}")
    assert answer.headers["content-type"] == "text/xml"
    assert b"<Code>E</Code><Message>&lt;m&gt;</Message>" in answer.body


def test_poison_refuses_the_whole_request(either_client, service, entry):
    """A request is refused while the poison is in it; the message repeats every detail."""
    service.play(RefuseRequestContaining(poison))
    bad, good = entry(Detail='{"poison": 1}'), entry(Detail='{"name": "Ada"}')
    for _ in range(2):
        answer = either_client.put([good, bad])
        assert (answer["status"], answer["__type"]) == (400, "ValidationException")
        assert 'detail={"poison": 1}' in answer["message"]
        assert 'detail={"name": "Ada"}' in answer["message"]
    assert either_client.put([good])["status"] == 200
    assert service.accepted_count == 1


def test_an_answer_gets_lost(either_client, service, entry, no_answer):
    """The entries are accepted, but the client gets no answer."""
    service.play(LoseAnswer())
    with pytest.raises(no_answer):
        either_client.put([entry()] * 2)
    assert service.accepted_count == 2
    assert service.requests[0].status == 200
    assert not service.requests[0].answer_delivered
    assert either_client.put([entry()])["status"] == 200
    assert service.requests[1].answer_delivered


@pytest.mark.parametrize("after", [0, 10, 1_000_000])
def test_an_answer_is_cut(either_client, service, entry, no_answer, after):
    """Part of the answer is missing, however much of it is sent."""
    service.play(CutAnswer(after))
    with pytest.raises(no_answer):
        either_client.put([entry()])
    assert service.accepted_count == 1
    assert not service.requests[0].answer_delivered


def test_a_connection_is_closed_before_anything(either_client, service, entry, no_answer):
    """The connection closes and nothing is accepted, which the client cannot know."""
    service.play(CloseConnection())
    with pytest.raises(no_answer):
        either_client.put([entry()])
    record = service.requests[0]
    assert service.accepted_count == 0
    assert (record.entry_count, record.results, record.status) == (1, (), None)
    assert not record.answer_delivered


def test_an_answer_is_garbled(either_client, service, entry):
    """The answer has status 200, but its body is not JSON."""
    service.play(GarbleAnswer())
    body = json.dumps({"Entries": [entry()]}).encode()
    answer = either_client.deliver(either_client.signed(body), body)
    assert answer.status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.body)
    assert service.accepted_count == 1
    assert not service.requests[0].answer_delivered


@pytest.mark.parametrize(
    ("entries", "difference", "listed"), [(3, -1, 2), (3, 2, 5), (1, -1, 2), (3, -9, 4)]
)
def test_an_answer_has_the_wrong_length(either_client, service, entry, entries, difference, listed):
    """There are more or fewer results than entries, but never none, as from moto."""
    service.play(WrongLength(difference))
    answer = either_client.put([entry()] * entries)
    assert len(answer["Entries"]) == listed
    assert service.accepted_count == entries
    assert not service.requests[0].answer_delivered


@pytest.mark.parametrize(("difference", "counted"), [(1, 2), (-1, 0), (-5, 6)])
def test_an_answer_miscounts(either_client, service, entry, difference, counted):
    """FailedEntryCount differs from the number of failed entries."""
    service.play(FailEntries("E", indexes=[0], times=None), MiscountFailures(difference))
    answer = either_client.put([entry()] * 2)
    assert codes(answer) == ["E", None]
    assert answer["FailedEntryCount"] == counted
    assert service.requests[0].answer_delivered  # each result speaks for its entry


@pytest.mark.parametrize("result", [{}, None, {"EventId": ""}], ids=repr)
def test_results_with_neither_id_nor_code(either_client, service, entry, result):
    """An accepted entry gets a result with neither an id nor a code."""
    service.play(BlankResults([1], result))
    answer = either_client.put([entry()] * 3)
    assert [bool(one and one.get("EventId")) for one in answer["Entries"]] == [True, False, True]
    assert answer["FailedEntryCount"] == 0
    assert service.accepted_count == 3
    assert not service.requests[0].answer_delivered


def test_an_answer_is_empty(either_client, service, entry):
    """The answer has no results, as moto's, unless an entry failed."""
    service.play(EmptyAnswer())
    assert either_client.put([entry(), entry(Detail="x")])["FailedEntryCount"] == 1
    answer = either_client.put([entry()] * 2)
    assert answer == {"status": 200, "Entries": [], "FailedEntryCount": 0}
    assert service.accepted_count == 3
    assert service.requests[1].answer_delivered


def test_an_answer_is_late(either_client, service, entry):
    """The answer comes after the given seconds."""
    service.play(SlowAnswer(0.05))
    started = time.monotonic()
    assert either_client.put([entry()])["status"] == 200
    assert time.monotonic() - started >= 0.05
    assert service.requests[0].answer_delivered


@pytest.mark.slow
def test_an_answer_is_too_late(either_client, service, entry, no_answer):
    """The client has timed out, but the entries are accepted."""
    service.play(SlowAnswer(0.7))
    with pytest.raises(no_answer):
        either_client.put([entry()])
    assert service.accepted_count == 1
    deadline = time.monotonic() + 2
    while service.requests[0].answer_delivered and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not service.requests[0].answer_delivered


def test_in_process_nobody_waits_for_a_timeout(client, service, entry):
    """In process, a timeout comes at once; a delay within it is left to `sleep`."""
    slept: list[float] = []
    transport = service.transport(sleep=slept.append)
    body = json.dumps({"Entries": [entry()]}).encode()
    request = HttpRequest("http://127.0.0.1/", client.signed(body), body)
    service.play(SlowAnswer(3600, times=2))
    with pytest.raises(TransportError, match="no answer within 5 seconds"):
        transport.send(request, Timeouts(read=5))
    assert slept == []
    assert transport.send(request, Timeouts(read=3601)).status == 200
    assert slept == [3600]


def test_a_token_expires_until_the_credentials_change(client_of, entry):
    """Requests are refused until they come with other credentials."""
    service = FakeEventBridge(session_token="first")
    service.play(ExpireToken())
    client = client_of(service, credentials=service.credentials)
    for _ in range(2):
        answer = client.put([entry()])
        assert (answer["status"], answer["__type"]) == (400, "ExpiredTokenException")
    client.credentials = service.rotate_credentials()
    assert client.put([entry()])["status"] == 200
    assert service.accepted_count == 1


def test_a_token_expires_for_some_requests(either_client, service, entry):
    """With `times`, the same credentials are valid again afterwards."""
    service.play(ExpireToken(times=2))
    statuses = [either_client.put([entry()])["status"] for _ in range(3)]
    assert statuses == [400, 400, 200]


@pytest.mark.parametrize("offset", [-3600.0, 3600.0])
@pytest.mark.parametrize("checked", [True, False])
def test_a_wrong_clock_tells_its_time(client_of, entry, offset, checked):
    """A client that corrects its clock by the `Date` header is served."""
    lag = [0.0]
    # botocore signs with the machine's time, so the client's correction moves the service back.
    service = FakeEventBridge(clock=lambda: time.time() - lag[0], verify_signatures=checked)
    service.play(WrongClock(offset))
    client = client_of(service)
    body = json.dumps({"Entries": [entry()]}).encode()
    answer = client.deliver(client.signed(body), body)
    assert answer.status == 403
    assert json.loads(answer.body)["__type"] == "RequestTimeTooSkewed"
    shown = time.mktime(time.strptime(answer.headers["date"], "%a, %d %b %Y %H:%M:%S GMT"))
    assert abs(shown - time.timezone - (time.time() + offset)) < 5
    lag[0] = offset
    assert client.put([entry()])["status"] == 200
    assert service.accepted_count == 1


def test_a_wrong_clock_with_another_code(client, service, entry):
    """With the code of a signature check, the message says that the signature has expired."""
    service.play(WrongClock(3600, "InvalidSignatureException"))
    answer = client.put([entry()])
    assert (answer["status"], answer["__type"]) == (400, "InvalidSignatureException")
    assert answer["message"].startswith("Signature expired")


def test_a_clock_that_is_a_little_wrong_does_not_matter(client, service, entry):
    """A clock may be wrong by up to 300 seconds."""
    service.play(WrongClock(-200))
    assert client.put([entry()])["status"] == 200


# Requests per second


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def clocked(clock):
    return FakeEventBridge(clock=clock, verify_signatures=False)


@pytest.mark.parametrize(
    ("limit", "at_once"),
    [
        (LimitRate(40), 40),
        (LimitRate(40, burst=100), 100),
        (LimitRate(40, burst=1), 1),
        (LimitRate(0.5), 1),
    ],
    ids=["a second's worth", "more", "one", "a slow one"],
)
def test_a_rate_limit_lets_a_burst_pass(client_of, clocked, entry, limit, at_once):
    """A full bucket's worth of requests passes, and the next one is throttled."""
    clocked.play(limit)
    client = client_of(clocked)
    assert statuses(client, entry, at_once) == [200] * at_once
    answer = client.put([entry()])
    assert answer == {"status": 400, "__type": "ThrottlingException", "message": "Rate exceeded"}
    assert clocked.requests[-1].faults == (limit,)
    assert clocked.accepted_count == at_once == limit.capacity


def test_a_rate_limit_lets_its_rate_pass(client_of, clocked, clock, entry):
    """At three times the rate for five seconds, the burst and the rate are accepted."""
    clocked.play(LimitRate(40, burst=10))
    client = client_of(clocked)
    for _ in range(600):
        clock.now += 1 / 120
        client.put([entry()])
    assert clocked.accepted_count == 10 + 5 * 40 - 1  # a full bucket gains nothing at first


def test_a_rate_limit_saves_up_no_more_than_its_burst(client_of, clocked, clock, entry):
    """An hour's pause fills the bucket and no more; setting the clock back costs nothing."""
    clocked.play(LimitRate(40, burst=3))
    client = client_of(clocked)
    assert statuses(client, entry, 4) == [200, 200, 200, 400]
    clock.now += 3600
    assert statuses(client, entry, 4) == [200, 200, 200, 400]
    clock.now -= 60
    assert statuses(client, entry, 1) == [400]
    clock.now += 1 / 40
    assert statuses(client, entry, 2) == [200, 400]


def test_a_rate_limit_can_count_entries(client_of, clocked, clock, entry):
    """Entries beyond the limit fail, and bad entries do not count."""
    clocked.play(LimitRate(5, unit="entries"))
    client = client_of(clocked)
    bad = entry(Detail="not JSON")
    throttled = "ThrottlingException"
    assert codes(client.put([entry(), bad, entry(), entry()]))[2:] == [None, None]
    assert codes(client.put([entry()] * 4)) == [None, None, throttled, throttled]
    clock.now += 0.2
    assert codes(client.put([entry()] * 2)) == [None, throttled]
    assert clocked.accepted_count == 6


def test_refused_requests_do_not_count_for_a_rate_limit(client_of, entry):
    """A request with an invalid signature takes nothing from the quota."""
    service = FakeEventBridge()
    service.play(LimitRate(1, burst=1))
    stranger = client_of(service, credentials=FakeEventBridge(secret_access_key="x").credentials)
    assert statuses(stranger, entry, 3) == [400, 400, 400]
    assert client_of(service).put([entry()])["status"] == 200


def test_a_rate_limit_by_the_services_own_clock(either_client, service, entry):
    """A rate limit works by the service's own clock, in process and over HTTP."""
    service.play(LimitRate(0.001, code="SlowDown", message="Too fast", times=1))
    assert either_client.put([entry()])["status"] == 200
    answer = either_client.put([entry()])
    assert (answer["__type"], answer["message"]) == ("SlowDown", "Too fast")
    assert either_client.put([entry()])["status"] == 200, "lifted after one throttled request"


# Which requests a fault hits


def statuses(client, entry, count):
    return [client.put([entry()])["status"] for _ in range(count)]


def test_a_fault_hits_the_next_request_and_no_other(client, service, entry):
    """A fault hits one request unless `times` says otherwise."""
    service.play(FailRequest("E", 500))
    assert statuses(client, entry, 3) == [500, 200, 200]


def test_a_fault_waits_and_ends(client, service, entry):
    """A fault lets `after` requests pass, then hits `times` requests."""
    service.play(FailRequest("E", 500, after=2, times=3))
    assert statuses(client, entry, 7) == [200, 200, 500, 500, 500, 200, 200]


def test_a_fault_stays_until_cleared(client, service, entry):
    """With `times=None`, a fault stays until it is cleared."""
    service.play(FailRequest("E", 500, times=None))
    assert statuses(client, entry, 5) == [500] * 5
    service.clear_faults()
    assert statuses(client, entry, 2) == [200, 200]


def test_faults_play_one_after_the_other(client, service, entry):
    """Faults form a script: each request plays one, in the order given."""
    service.play(FailRequest("E", 501, times=2), FailRequest("E", 502))
    service.play(FailRequest("E", 503))
    assert statuses(client, entry, 5) == [501, 501, 502, 503, 200]
    assert [len(record.faults) for record in service.requests] == [1, 1, 1, 1, 0]


def test_lines_of_different_kinds_do_not_combine(client, service, entry, no_answer):
    """Faults take turns, even those that could hit one request together."""
    service.play(FailEntries("E"), LoseAnswer(), MiscountFailures())
    assert codes(client.put([entry()])) == ["E"]
    with pytest.raises(no_answer):
        client.put([entry()])
    assert client.put([entry()])["FailedEntryCount"] == 1
    assert service.accepted_count == 2


def test_standing_faults_combine(client, service, entry, no_answer):
    """A fault with `times=None` combines with the script's line and with others of its kind."""
    service.play(
        FailEntries("A", indexes=[0], times=None),
        FailEntries("B", indexes=[0, 1], times=None),
        RefuseRequestContaining(poison),
        LoseAnswer(),
    )
    with pytest.raises(no_answer):
        client.put([entry(Detail='{"poison": 1}')])
    assert codes(client.put([entry()] * 3)) == ["A", "B", None]
    assert service.accepted_count == 1
    assert service.requests[0].error_code == "ValidationException"


def test_a_fault_that_had_no_effect_is_not_used_up(client, service, entry):
    """A fault about entries waits for a request that gets as far as its entries."""
    service.play(FailEntries("E"))
    assert client.put([])["status"] == 400
    assert codes(client.put([entry()])) == ["E"]
    assert codes(client.put([entry()])) == [None]


def test_a_share_is_decided_by_the_seed(client_of, entry):
    """The same seed fails the same requests, and another seed fails others."""

    def failed(seed):
        service = FakeEventBridge(seed=seed)
        service.play(FailRequest("E", 500, share=0.5, times=None))
        return statuses(client_of(service), entry, 60)

    assert failed(1) == failed(1)
    assert failed(1) != failed(2)
    assert 10 < failed(1).count(500) < 50


def test_a_share_of_requests_counts_only_hits(client, service, entry):
    """With a share, `times` counts the requests that were hit, not those that were spared."""
    service.play(FailRequest("E", 500, share=0.5, times=5))
    assert statuses(client, entry, 60).count(500) == 5


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: FailRequest("E", form="yaml"),  # type: ignore[arg-type]
        lambda: FailRequest("E", times=0),
        lambda: FailRequest("E", after=-1),
        lambda: FailRequest("E", share=1.1),
        lambda: FailEntries("E", entry_share=-0.1),
        lambda: SlowAnswer(-1),
        lambda: CutAnswer(-1),
        lambda: WrongLength(0),
        lambda: MiscountFailures(0),
        lambda: LimitRate(0),
        lambda: LimitRate(float("nan")),
        lambda: LimitRate(1, burst=0.5),
        lambda: LimitRate(1, unit="events"),  # type: ignore[arg-type]
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(wrong):
    """An invalid fault raises a ValueError when it is made, not when it plays."""
    with pytest.raises(
        ValueError, match=r"form|unit|(times|after|share|seconds?|bytes|difference|burst) is "
    ):
        wrong()


def test_a_predicate_may_ask_the_service(client, service, entry):
    """A predicate may query the service, which does not block it."""
    service.play(FailEntries("E", matching=lambda _: service.accepted_count >= 2, times=None))
    assert [codes(client.put([entry()])) for _ in range(3)] == [[None], [None], ["E"]]


def test_faults_are_values():
    """Faults that say the same are equal, and cannot be changed."""
    assert FailEntries("E", indexes=[1, 2]) == FailEntries("E", indexes=(2, 1))
    assert isinstance(LoseAnswer(times=2), Fault)
    with pytest.raises(AttributeError):
        LoseAnswer().times = 3  # type: ignore[misc]
