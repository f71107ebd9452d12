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
    """The error code of each entry, None where it has an id instead."""
    for result in answer["Entries"]:
        assert ("EventId" in result) != ("ErrorCode" in result)
    return [result.get("ErrorCode") for result in answer["Entries"]]


def poison(entry):
    return "poison" in entry.get("Detail", "")


# What each does


def test_entries_fail_by_index(either_client, service, entry):
    """Those fail, with code and message; the others are accepted."""
    service.play(FailEntries("ThrottlingException", "Slow down", indexes=[0, 2]))
    answer = either_client.put([entry(Detail=f'{{"n": {n}}}') for n in range(4)])
    assert codes(answer) == ["ThrottlingException", None, "ThrottlingException", None]
    assert answer["FailedEntryCount"] == 2
    assert answer["Entries"][0]["ErrorMessage"] == "Slow down"
    assert [accepted.detail for accepted in service.accepted] == ['{"n": 1}', '{"n": 3}']
    assert [accepted.entry_index for accepted in service.accepted] == [1, 3]
    assert [result.error_code for result in service.requests[0].results] == codes(answer)


def test_entries_fail_by_what_they_are(client, service, entry):
    """A predicate sees the wire's members; a request without such an entry does not count."""
    service.play(FailEntries("InternalFailure", matching=poison, times=2))
    assert codes(client.put([entry()])) == [None]
    for _ in range(2):
        assert codes(client.put([entry(), entry(Detail='{"poison": 1}')])) == [
            None,
            "InternalFailure",
        ]
    assert codes(client.put([entry(Detail='{"poison": 1}')])) == [None]


def test_entries_fail_by_share(client, service, entry):
    """About the share asked for, spread over the requests."""
    service.play(FailEntries("ThrottlingException", entry_share=0.3, times=None))
    answers = [client.put([entry()] * 20) for _ in range(100)]
    failed = [answer["FailedEntryCount"] for answer in answers]
    assert 500 < sum(failed) < 700
    assert service.accepted_count == 2000 - sum(failed)
    assert len(set(failed)) > 3


def test_an_entry_that_is_bad_anyway_keeps_its_own_error(client, service, entry):
    """Faults come after the service's checks."""
    service.play(FailEntries("ThrottlingException"))
    assert codes(client.put([entry(), entry(Detail="x")])) == [
        "ThrottlingException",
        "MalformedDetail",
    ]


def test_a_request_fails_whole(either_client, service, entry):
    """Nothing is accepted, and the answer has the status and headers asked for."""
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
def test_a_status_that_is_none(status):
    """It is refused where the fault is made, and not by a client that gets a strange answer."""
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
    """AWS services, and what stands before them, name an error in all of these ways."""
    service.play(FailRequest("E", 502, "<m>", form=form))
    sent = json.dumps({"Entries": [entry()]}).encode()
    answer = either_client.deliver(either_client.signed(sent), sent)
    assert answer.status == 502
    assert answer.body == body
    assert answer.headers.get("content-type") == content_type
    assert headers.items() <= answer.headers.items()


def test_an_error_may_be_xml(client, service):
    """As the services of AWS's query protocol answer, with what is special escaped."""
    service.play(FailRequest("E", 500, "<m>", form="xml"))
    answer = client.deliver(client.signed(b"{}"), b"{}")
    assert answer.headers["content-type"] == "text/xml"
    assert b"<Code>E</Code><Message>&lt;m&gt;</Message>" in answer.body


def test_poison_refuses_the_whole_request(either_client, service, entry):
    """As long as the poison is in it; the message repeats every detail of the request."""
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
    """The entries are accepted, and the client is not told."""
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
    """However much of it is sent, something is missing."""
    service.play(CutAnswer(after))
    with pytest.raises(no_answer):
        either_client.put([entry()])
    assert service.accepted_count == 1
    assert not service.requests[0].answer_delivered


def test_a_connection_is_closed_before_anything(either_client, service, entry, no_answer):
    """Nothing is accepted, which the client cannot know."""
    service.play(CloseConnection())
    with pytest.raises(no_answer):
        either_client.put([entry()])
    record = service.requests[0]
    assert service.accepted_count == 0
    assert (record.entry_count, record.results, record.status) == (1, (), None)
    assert not record.answer_delivered


def test_an_answer_is_garbled(either_client, service, entry):
    """Status 200, and no JSON."""
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
    """More or fewer than were sent, but never moto's empty list."""
    service.play(WrongLength(difference))
    answer = either_client.put([entry()] * entries)
    assert len(answer["Entries"]) == listed
    assert service.accepted_count == entries
    assert not service.requests[0].answer_delivered


@pytest.mark.parametrize(("difference", "counted"), [(1, 2), (-1, 0), (-5, 6)])
def test_an_answer_miscounts(either_client, service, entry, difference, counted):
    """FailedEntryCount is not the number of entries with an error."""
    service.play(FailEntries("E", indexes=[0], times=None), MiscountFailures(difference))
    answer = either_client.put([entry()] * 2)
    assert codes(answer) == ["E", None]
    assert answer["FailedEntryCount"] == counted
    assert service.requests[0].answer_delivered  # each result speaks for its entry


@pytest.mark.parametrize("result", [{}, None, {"EventId": ""}], ids=repr)
def test_results_that_say_neither(either_client, service, entry, result):
    """The entries are accepted, and their results do not tell."""
    service.play(BlankResults([1], result))
    answer = either_client.put([entry()] * 3)
    assert [bool(one and one.get("EventId")) for one in answer["Entries"]] == [True, False, True]
    assert answer["FailedEntryCount"] == 0
    assert service.accepted_count == 3
    assert not service.requests[0].answer_delivered


def test_an_answer_is_empty(either_client, service, entry):
    """As moto's, which clients must survive; it is not given where an entry failed."""
    service.play(EmptyAnswer())
    assert either_client.put([entry(), entry(Detail="x")])["FailedEntryCount"] == 1
    answer = either_client.put([entry()] * 2)
    assert answer == {"status": 200, "Entries": [], "FailedEntryCount": 0}
    assert service.accepted_count == 3
    assert service.requests[1].answer_delivered


def test_an_answer_is_late(either_client, service, entry):
    """It comes after the seconds asked for."""
    service.play(SlowAnswer(0.05))
    started = time.monotonic()
    assert either_client.put([entry()])["status"] == 200
    assert time.monotonic() - started >= 0.05
    assert service.requests[0].answer_delivered


@pytest.mark.slow
def test_an_answer_is_too_late(either_client, service, entry, no_answer):
    """The client has left; the entries are accepted all the same."""
    service.play(SlowAnswer(0.7))
    with pytest.raises(no_answer):
        either_client.put([entry()])
    assert service.accepted_count == 1
    deadline = time.monotonic() + 2
    while service.requests[0].answer_delivered and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not service.requests[0].answer_delivered


def test_in_process_nobody_waits_for_a_timeout(client, service, entry):
    """An hour's delay is a timeout at once; what is shorter is left to `sleep`."""
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
    """Requests with the same credentials are refused; with others they are served."""
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
    """With `times` the same credentials work again afterwards."""
    service.play(ExpireToken(times=2))
    statuses = [either_client.put([entry()])["status"] for _ in range(3)]
    assert statuses == [400, 400, 200]


@pytest.mark.parametrize("offset", [-3600.0, 3600.0])
@pytest.mark.parametrize("checked", [True, False])
def test_a_wrong_clock_tells_its_time(client_of, entry, offset, checked):
    """A client that corrects itself by the Date header is served."""
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


def test_a_wrong_clock_has_other_words(client, service, entry):
    """Services that check signatures say that the signature has expired."""
    service.play(WrongClock(3600, "InvalidSignatureException"))
    answer = client.put([entry()])
    assert (answer["status"], answer["__type"]) == (400, "InvalidSignatureException")
    assert answer["message"].startswith("Signature expired")


def test_a_clock_that_is_a_little_wrong_does_not_matter(client, service, entry):
    """300 seconds are allowed."""
    service.play(WrongClock(-200))
    assert client.put([entry()])["status"] == 200


# How much a second


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
    """As many requests as the bucket holds; the others are throttled as the service does it."""
    clocked.play(limit)
    client = client_of(clocked)
    assert statuses(client, entry, at_once) == [200] * at_once
    answer = client.put([entry()])
    assert answer == {"status": 400, "__type": "ThrottlingException", "message": "Rate exceeded"}
    assert clocked.requests[-1].faults == (limit,)
    assert clocked.accepted_count == at_once == limit.capacity


def test_a_rate_limit_lets_its_rate_pass(client_of, clocked, clock, entry):
    """Three times the rate for five seconds: what is accepted is the burst and the rate."""
    clocked.play(LimitRate(40, burst=10))
    client = client_of(clocked)
    for _ in range(600):
        clock.now += 1 / 120
        client.put([entry()])
    assert clocked.accepted_count == 10 + 5 * 40 - 1  # a full bucket gains nothing at first


def test_a_rate_limit_saves_up_no_more_than_its_burst(client_of, clocked, clock, entry):
    """A pause of an hour is worth a full bucket; a clock set back costs nothing."""
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
    """Those that there is no more room for fail, and bad entries take none."""
    clocked.play(LimitRate(5, unit="entries"))
    client = client_of(clocked)
    bad = entry(Detail="not JSON")
    throttled = "ThrottlingException"
    assert codes(client.put([entry(), bad, entry(), entry()]))[2:] == [None, None]
    assert codes(client.put([entry()] * 4)) == [None, None, throttled, throttled]
    clock.now += 0.2
    assert codes(client.put([entry()] * 2)) == [None, throttled]
    assert clocked.accepted_count == 6


def test_a_rate_limit_is_not_for_those_without_a_signature(client_of, entry):
    """Who is refused for another reason takes nothing from the quota of those who are not."""
    service = FakeEventBridge()
    service.play(LimitRate(1, burst=1))
    stranger = client_of(service, credentials=FakeEventBridge(secret_access_key="x").credentials)
    assert statuses(stranger, entry, 3) == [400, 400, 400]
    assert client_of(service).put([entry()])["status"] == 200


def test_a_rate_limit_over_http_by_the_time_that_passes(either_client, service, entry):
    """The service's own clock, in process and over HTTP: a burst of one in a long while."""
    service.play(LimitRate(0.001, code="SlowDown", message="Too fast", times=1))
    assert either_client.put([entry()])["status"] == 200
    answer = either_client.put([entry()])
    assert (answer["__type"], answer["message"]) == ("SlowDown", "Too fast")
    assert either_client.put([entry()])["status"] == 200, "lifted after one throttled request"


# Which requests they hit


def statuses(client, entry, count):
    return [client.put([entry()])["status"] for _ in range(count)]


def test_a_fault_hits_the_next_request_and_no_other(client, service, entry):
    """`times` is 1 unless it says otherwise."""
    service.play(FailRequest("E", 500))
    assert statuses(client, entry, 3) == [500, 200, 200]


def test_a_fault_waits_and_ends(client, service, entry):
    """`after` requests pass, `times` requests are hit."""
    service.play(FailRequest("E", 500, after=2, times=3))
    assert statuses(client, entry, 7) == [200, 200, 500, 500, 500, 200, 200]


def test_a_fault_stays_until_cleared(client, service, entry):
    """With `times=None`."""
    service.play(FailRequest("E", 500, times=None))
    assert statuses(client, entry, 5) == [500] * 5
    service.clear_faults()
    assert statuses(client, entry, 2) == [200, 200]


def test_faults_play_one_after_the_other(client, service, entry):
    """A script: one line for each request, in the order played."""
    service.play(FailRequest("E", 501, times=2), FailRequest("E", 502))
    service.play(FailRequest("E", 503))
    assert statuses(client, entry, 5) == [501, 501, 502, 503, 200]
    assert [len(record.faults) for record in service.requests] == [1, 1, 1, 1, 0]


def test_lines_of_different_kinds_do_not_combine(client, service, entry, no_answer):
    """Also faults that could hit one request together take their turns."""
    service.play(FailEntries("E"), LoseAnswer(), MiscountFailures())
    assert codes(client.put([entry()])) == ["E"]
    with pytest.raises(no_answer):
        client.put([entry()])
    assert client.put([entry()])["FailedEntryCount"] == 1
    assert service.accepted_count == 2


def test_standing_faults_combine(client, service, entry, no_answer):
    """With `times=None` a fault holds together with the script's line and other such faults."""
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
    """A line about entries waits for a request that gets as far as its entries."""
    service.play(FailEntries("E"))
    assert client.put([])["status"] == 400
    assert codes(client.put([entry()])) == ["E"]
    assert codes(client.put([entry()])) == [None]


def test_a_share_is_decided_by_the_seed(client_of, entry):
    """The same seed fails the same requests, another seed others."""

    def failed(seed):
        service = FakeEventBridge(seed=seed)
        service.play(FailRequest("E", 500, share=0.5, times=None))
        return statuses(client_of(service), entry, 60)

    assert failed(1) == failed(1)
    assert failed(1) != failed(2)
    assert 10 < failed(1).count(500) < 50


def test_a_share_of_requests_counts_only_hits(client, service, entry):
    """`times` counts the requests that were hit, not those that were spared."""
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
    """When it is made, not when it plays."""
    with pytest.raises(
        ValueError, match=r"form|unit|(times|after|share|seconds?|bytes|difference|burst) is "
    ):
        wrong()


def test_a_predicate_may_ask_the_service(client, service, entry):
    """It is called while the service decides, which must not block it."""
    service.play(FailEntries("E", matching=lambda _: service.accepted_count >= 2, times=None))
    assert [codes(client.put([entry()])) for _ in range(3)] == [[None], [None], ["E"]]


def test_faults_are_values():
    """Equal if they say the same, and not to be changed."""
    assert FailEntries("E", indexes=[1, 2]) == FailEntries("E", indexes=(2, 1))
    assert isinstance(LoseAnswer(times=2), Fault)
    with pytest.raises(AttributeError):
        LoseAnswer().times = 3  # type: ignore[misc]
