"""Requests are the JSON 1.1 that the service expects; answers are read strictly or not at all."""

from __future__ import annotations

import datetime
import json
import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbridge_partner import (
    ClockSkewError,
    ConcurrentModificationError,
    ExpiredCredentialsError,
    HttpResponse,
    InvalidTokenError,
    LimitExceededError,
    OperationDisabledError,
    PartnerEvent,
    ResourceAlreadyExistsError,
    ResourceNotFoundError,
    ResultEntry,
    ServiceError,
    ThrottledError,
    UnreadableAnswerError,
    error_codes,
)
from eventbridge_partner.wire import calls, refusals
from tests.strategies import SOURCE, events

UTC = datetime.UTC
EVENT = PartnerEvent(SOURCE, "t", {"a": 1})


def answer(document, *, sent=2, status=200, headers=None):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    call = calls.put_partner_events([EVENT] * sent)
    results = calls.answer(call, HttpResponse(status, headers or {}, body))
    if isinstance(results, calls.AllAccepted):
        return tuple(map(ResultEntry, results.event_ids))
    return tuple(results.results)


def note(document, *, sent=2):
    call = calls.put_partner_events([EVENT] * sent)
    return calls.answer(call, HttpResponse(200, {}, json.dumps(document).encode())).note


def error(document=b"", status=400, **headers):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return refusals.read_error(HttpResponse(status, names, body))


# ---------------------------------------------------------------- requests


@given(st.lists(events, min_size=1, max_size=5))
def test_body(batch):
    """A body has one entry per event, in order; absent members are left out."""
    call = calls.put_partner_events(iter(batch))
    assert call.operation == "PutPartnerEvents"
    entries = json.loads(call.body.decode())["Entries"]
    assert [entry["Detail"] for entry in entries] == [event.detail for event in batch]
    for event, entry in zip(batch, entries, strict=True):
        expected = {"Source", "DetailType", "Detail"}
        expected |= {"Resources"} if event.resources else set()
        expected |= {"Time"} if event.time else set()
        assert set(entry) == expected
        if event.time:
            assert entry["Time"] == pytest.approx(event.time.timestamp(), abs=1e-5)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (datetime.datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime.datetime(2030, 1, 2, 3, 4, 5, 999_999, tzinfo=UTC), 1893553445.999999),
        (datetime.datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC), -0.5),
        (
            datetime.datetime(2030, 1, 2, tzinfo=datetime.timezone(datetime.timedelta(hours=-5))),
            1893560400,
        ),
        (
            datetime.datetime.max.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=-14))),
            253402351200.0,
        ),
        (
            datetime.datetime.min.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=14))),
            -62135647200,
        ),
    ],
    ids=["epoch", "fraction", "before the epoch", "offset", "the last moment", "the first moment"],
)
def test_time(moment, expected):
    """Any datetime becomes epoch seconds; whole seconds are integers."""
    found = calls.to_entry(PartnerEvent(SOURCE, "t", {}, time=moment))["Time"]
    assert (found, type(found)) == (expected, type(expected))


def test_repr_of_a_call_shows_no_payload():
    """The repr of a call names the operation and shows no payload."""
    call = calls.put_partner_events([PartnerEvent(SOURCE, "t", {"k": "s3cr3t-canary"})])
    assert "s3cr3t" not in repr(call)
    assert "PutPartnerEvents" in repr(call)


# ---------------------------------------------------------------- answers


def test_results_in_order():
    """A result is an event id, or a code and a message; unknown members are ignored."""
    document = {
        "FailedEntryCount": 1,
        "Entries": [
            {"EventId": "one", "Future": [1]},
            {"ErrorCode": "InternalFailure", "ErrorMessage": "oh", "EventId": None},
        ],
        "Future": {},
    }
    assert answer(document) == (
        ResultEntry("one"),
        ResultEntry(None, "InternalFailure", "oh"),
    )


def test_failure_without_a_message():
    """A code is enough: the message may be missing, null or of another type."""
    for entry in ({"ErrorCode": "C"}, {"ErrorCode": "C", "ErrorMessage": None},
                  {"ErrorCode": "C", "ErrorMessage": 5}):  # fmt: skip
        assert answer({"FailedEntryCount": 1, "Entries": [entry]}, sent=1) == (
            ResultEntry(None, "C", ""),
        )


@pytest.mark.parametrize("sent", [1, 20])
def test_no_entries_and_no_failures(sent):
    """moto lists no results and counts zero failures: all entries are accepted, without ids."""
    assert answer({"Entries": [], "FailedEntryCount": 0}, sent=sent) == (ResultEntry(),) * sent


OK = {"EventId": "x"}
BAD = {"ErrorCode": "C", "ErrorMessage": "m"}
UNREADABLE = {
    "nothing": b"",
    "not JSON": b"<html>",
    "cut": b'{"FailedEntryCount":0,"Entries":[{"EventId":"x"},{"Ev',
    "binary": b"\xff\x00\xfe",
    "two documents": b'{"FailedEntryCount":0,"Entries":[]}{}',
    "null": b"null",
    "array": b"[]",
    "text": b'"FailedEntryCount"',
    "number": b"0",
    "empty object": {},
    "error with status 200": {"__type": "ThrottlingException", "message": "slow"},
    "Entries missing": {"FailedEntryCount": 0},
    "Entries null": {"FailedEntryCount": 0, "Entries": None},
    "Entries an object": {"FailedEntryCount": 0, "Entries": {}},
    "Entries an object with members": {"FailedEntryCount": 0, "Entries": {"0": OK, "1": OK}},
    "Entries empty text": {"FailedEntryCount": 0, "Entries": ""},
    "Entries text": {"FailedEntryCount": 0, "Entries": "ab"},
    "Entries a number": {"FailedEntryCount": 0, "Entries": 2},
    "one result too few": {"FailedEntryCount": 0, "Entries": [OK]},
    "one result too many": {"FailedEntryCount": 0, "Entries": [OK, OK, OK]},
    "no results, but failures": {"FailedEntryCount": 2, "Entries": []},
    "no results, count null": {"FailedEntryCount": None, "Entries": []},
    "no results, count false": {"FailedEntryCount": False, "Entries": []},
    "no results, count text": {"FailedEntryCount": "0", "Entries": []},
    "no results, count float": {"FailedEntryCount": 0.0, "Entries": []},
    "names in lower case": {"failedEntryCount": 0, "entries": [OK, OK]},
}  # fmt: skip


@pytest.mark.parametrize("document", UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_answers(document):
    """An answer that does not say what became of each entry is unreadable, never success."""
    with pytest.raises(UnreadableAnswerError) as caught:
        answer(document)
    assert caught.value.may_have_been_sent


COUNTS = [None, False, True, "1", 1.0, -1, 0, 1, 2, 20, [], {}]


@pytest.mark.parametrize("count", COUNTS, ids=repr)
def test_each_result_speaks_for_its_entry_whatever_is_counted(count):
    """Each result stands for its entry, whatever the failure count; a wrong count is noted."""
    assert answer({"FailedEntryCount": count, "Entries": [OK, OK]}) == (ResultEntry("x"),) * 2
    both = answer({"FailedEntryCount": count, "Entries": [OK, BAD]})
    assert both == (ResultEntry("x"), ResultEntry(None, "C", "m"))
    is_number = type(count) is int
    assert (note({"FailedEntryCount": count, "Entries": [OK, OK]}) == "") == (
        is_number and count == 0
    )
    assert (note({"FailedEntryCount": count, "Entries": [OK, BAD]}) == "") == (
        is_number and count == 1
    )


def test_a_count_that_is_missing():
    """A missing failure count is noted, and changes no result."""
    assert answer({"Entries": [OK, BAD]}) == (ResultEntry("x"), ResultEntry(None, "C", "m"))
    assert note({"Entries": [OK, OK]}) == (
        "FailedEntryCount is no number, and 0 results have an error code"
    )


SAYS_NEITHER = {
    "nothing": {},
    "a message only": {"ErrorMessage": "m"},
    "null": None,
    "text": "x",
    "a list": [],
    "an id that is empty": {"EventId": ""},
    "an id that is blank": {"EventId": " "},
    "an id that is a number": {"EventId": 5},
    "an id that is null": {"EventId": None},
    "nulls": {"EventId": None, "ErrorCode": None, "ErrorMessage": None},
    "empty texts": {"EventId": "", "ErrorCode": "", "ErrorMessage": ""},
    "a code that is blank": {"ErrorCode": "  "},
    "a code that is a number": {"ErrorCode": 5},
    "a code of zero, with an id": {**OK, "ErrorCode": 0},
    "a code that is a list, with an id": {**OK, "ErrorCode": []},
    "a code that is false, with an id": {**OK, "ErrorCode": False},
}


@pytest.mark.parametrize("odd", SAYS_NEITHER.values(), ids=SAYS_NEITHER)
@pytest.mark.parametrize("count", [0, 1])
def test_a_result_that_says_neither_leaves_one_entry_in_doubt(odd, count):
    """A result with neither an id nor a code leaves only its own entry in doubt."""
    found = answer({"FailedEntryCount": count, "Entries": [OK, odd, BAD]}, sent=3)
    assert found == (ResultEntry("x"), None, ResultEntry(None, "C", "m"))


@pytest.mark.parametrize("code", [None, ""])
def test_an_id_without_a_code_is_accepted(code):
    """An entry with an id is accepted if its code is null or empty."""
    found = answer({"FailedEntryCount": 0, "Entries": [{**OK, "ErrorCode": code}, OK]})
    assert found == (ResultEntry("x"),) * 2


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-1, 1) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["Entries", "FailedEntryCount", "EventId", "ErrorCode", "Error", "__type",
                         "message", "Message", "Code", "code"]), inner, max_size=4),
)  # fmt: skip
header_values = st.text(max_size=20) | st.integers().map(str) | st.text("0123456789", max_size=6000)


@given(
    document=json_values
    | st.binary()
    | json_values.map(lambda value: json.dumps(value)[:-1].encode()),
    status=st.integers(100, 599),
    headers=st.dictionaries(
        st.sampled_from(["x-amzn-errortype", "x-amz-retry-after", "date", "x-amzn-requestid"]),
        header_values,
    ),
)
def test_any_answer_is_results_or_one_of_two_errors(document, status, headers):
    """Any answer gives results for all entries, a ServiceError, or an UnreadableAnswerError."""
    try:
        results = answer(document, status=status, headers=headers)
    except UnreadableAnswerError:
        assert 200 <= status < 300
    except ServiceError as refused:
        assert not 200 <= status < 300
        assert refused.code
        assert refused.code.isprintable()
        assert refused.retry_after is None or 0 <= refused.retry_after < 10**6
    else:
        assert 200 <= status < 300
        assert len(results) == 2


@pytest.mark.parametrize("status", [201, 202, 204])
def test_other_success_is_not_a_refusal(status):
    """Success without results is unreadable rather than refused: the events may have arrived."""
    with pytest.raises(UnreadableAnswerError):
        answer(b"", status=status)


# ---------------------------------------------------------------- errors: codes

TYPE = "com.amazon.coral.service#ThrottlingException"
CODES = {
    "header": ({}, {"x_amzn_errortype": "ThrottlingException"}),
    "header with URI": ({}, {"x_amzn_errortype": "ThrottlingException:http://internal.amazon.com/"}),
    "header with URI and fragment": ({}, {"x_amzn_errortype": "ThrottlingException:http://a/#b"}),
    "header with all": ({}, {"x_amzn_errortype": TYPE + ":http://a/"}),
    "header, body without": (b"", {"x_amzn_errortype": "ThrottlingException"}),
    "header before body": ({"__type": "Other"}, {"x_amzn_errortype": "ThrottlingException"}),
    "unusable header": ({"__type": "ThrottlingException"}, {"x_amzn_errortype": "?!"}),
    "empty header": ({"__type": "ThrottlingException"}, {"x_amzn_errortype": ""}),
    "__type": ({"__type": "ThrottlingException"}, {}),
    "__type with namespace": ({"__type": TYPE}, {}),
    "__type with namespace and URI": ({"__type": TYPE + ":http://a/b"}, {}),
    "__type with spaces around": ({"__type": " ThrottlingException\n"}, {}),
    "code": ({"code": "ThrottlingException"}, {}),
    "Code": ({"Code": "ThrottlingException"}, {}),
    "__type null": ({"__type": None, "code": "ThrottlingException"}, {}),
    "nested": ({"Error": {"Code": "ThrottlingException", "Message": "m"}}, {}),
    "XML": (b"<?xml?><ErrorResponse><Error><Code>ThrottlingException</Code></Error>", {}),
}  # fmt: skip


@pytest.mark.parametrize(("body", "headers"), CODES.values(), ids=CODES)
def test_forms_of_codes(body, headers):
    """The bare code is found wherever AWS's services put it."""
    found = error(body, **headers)
    assert found.code == "ThrottlingException"
    assert type(found) is ThrottledError
    assert not found.may_have_been_sent


NO_CODE = {
    "empty": b"",
    "HTML": b"<html><head><title>502 Bad Gateway</title></head><Code></Code></html>",
    "binary": bytes(range(256)),
    "text": b"upstream connect error",
    "array": b'[{"__type":"ThrottlingException"}]',
    "JSON text": b'"ThrottlingException"',
    "number": b"1",
    "null": b"null",
    "code of another type": b'{"__type":5,"code":["x"],"Code":null}',
    "code with a line break": b'{"__type":"Throttling\\r\\nException"}',
    "code with an escape sequence": b'{"__type":"\\u001b[31mThrottlingException"}',
    "code that is a sentence": b'{"__type":"Too many requests"}',
    "code without end": b'{"__type":"' + b"A" * 10_000 + b'"}',
    "Error of another type": b'{"Error":"ThrottlingException"}',
    "two megabytes": b"<" * 2_000_000,
    "half a million codes": b"<Code>" * 500_000,
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("body", NO_CODE.values(), ids=NO_CODE)
def test_bodies_without_a_code(body):
    """Without a code, the error shows the status and the body's size, but nothing of the body."""
    found = error(body, 502)
    assert type(found) is ServiceError
    assert found.code == "HTTP 502"
    assert found.message == f"the answer was HTTP 502 with {len(body)} bytes"
    assert found.may_have_been_sent


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (500, "", True),
        (502, "", True),
        (504, "", True),
        (503, "", False),
        (413, "", False),
        (429, "", False),
        (301, "", False),
        (500, "InternalFailure", False),
        (504, "ServiceUnavailable", False),
    ],
)
def test_refusals_that_may_have_been_carried_out(status, code, expected):
    """Only a 500, 502 or 504 without a code leaves open whether the request was carried out."""
    assert error({"__type": code}, status).may_have_been_sent is expected


@pytest.mark.parametrize(
    ("status", "code", "message", "expected"),
    [
        *((400, code, "", ThrottledError) for code in sorted(error_codes.THROTTLING)),
        *((400, code, "", ExpiredCredentialsError) for code in sorted(error_codes.EXPIRED_CREDENTIALS)),
        *((403, code, "", ClockSkewError) for code in sorted(error_codes.CLOCK_SKEW)),
        (429, "", "", ThrottledError),
        (429, "AccessDeniedException", "", ServiceError),
        (403, "InvalidSignatureException", "Signature expired: 2030… is now earlier", ClockSkewError),
        (403, "InvalidSignatureException", "Signature not yet current: 2030…", ClockSkewError),
        (403, "InvalidSignatureException", "The request signature we calculated…", ServiceError),
        (400, "LimitExceededException", "", LimitExceededError),
        (400, "InvalidToken", "", InvalidTokenError),
        (409, "ResourceAlreadyExistsException", "", ResourceAlreadyExistsError),
        (404, "ResourceNotFoundException", "", ResourceNotFoundError),
        (400, "ConcurrentModificationException", "", ConcurrentModificationError),
        (400, "OperationDisabledException", "", OperationDisabledError),
        (400, "ValidationException", "", ServiceError),
        (403, "UnrecognizedClientException", "The security token is invalid.", ServiceError),
    ],
)  # fmt: skip
def test_error_classes(status, code, message, expected):
    """Codes and statuses that need their own handling have their own exception classes."""
    assert type(error({"__type": code, "message": message}, status)) is expected


# ---------------------------------------------------------------- errors: messages

MESSAGES = {
    "message": {"message": "m"},
    "Message": {"Message": "m"},
    "errorMessage": {"errorMessage": "m"},
    "empty message": {"message": "", "Message": "m"},
    "message null": {"message": None, "Message": "m"},
    "message of another type": {"message": ["x"], "Message": "m"},
    "nested": {"Error": {"Message": "m"}},
    "XML": b"<Error><Code>C</Code><Message>m</Message></Error>",
}


@pytest.mark.parametrize("body", MESSAGES.values(), ids=MESSAGES)
def test_forms_of_messages(body):
    """The message is found wherever AWS's services put it."""
    assert error(body).message == "m"


CANARY = "s3cr3t-canary"
ECHO = (
    "2 validation errors detected: Value '[PutPartnerEventsRequestEntry(time=null, source=a, "
    'detail={"k": "'
    + CANARY
    + "\"}, detail2='"
    + CANARY
    + "' at 'x')]' at 'entries' failed to satisfy "
    "constraint: Member must have length less than or equal to 20"
)
ECHOES = {
    "the service's": ECHO,
    "cut in the value": ECHO[: ECHO.index(CANARY) + len(CANARY)],
    "value alone": f"Value '{CANARY}' at 'detail' failed",
    "value without end": f"Value '{CANARY}",
    "value of lines": f"Value 'a\n{CANARY}\n' at 'x'",
    "two values": f"Value '{CANARY}' at 'x'; Value '{CANARY}' at 'y'",
    "object": f'Detail {{"a": {{"b": "{CANARY}"}}}} is malformed',
    "object without end": f'Detail {{"a": {{"b": "{CANARY}',
    "two objects": f"{{{CANARY}}} and {{{CANARY}}} and {{{CANARY}",
    "what was signed": "The request signature we calculated does not match the signature you "
    f"provided. The Canonical String for this request should have been 'POST\n/\n{CANARY}'",
    "braces in the value": f"Value '}}{{{CANARY}' at 'x'",
}


@pytest.mark.parametrize("message", ECHOES.values(), ids=ECHOES)
def test_echoes_are_removed(message):
    """A message that echoes the request loses the echo, in errors and in results."""
    found = error({"__type": "ValidationException", "message": message})
    assert CANARY not in str(found)
    assert CANARY not in repr(found)
    xml = f"<Code>C</Code><Message>{message}</Message>".encode()
    assert CANARY not in str(error(xml))
    result = {"ErrorCode": "MalformedDetail", "ErrorMessage": message}
    (entry,) = answer({"FailedEntryCount": 1, "Entries": [result]}, sent=1)
    assert CANARY not in repr(entry)


def test_what_remains_of_an_echoing_message():
    """The rest of an echoing message stays readable."""
    assert refusals.without_echo(ECHO) == (
        "2 validation errors detected: Value '…' at 'entries' failed to satisfy constraint: "
        "Member must have length less than or equal to 20"
    )
    total = "Total size of the entries in the request is over the limit."
    assert refusals.without_echo(total) == total


@given(st.text(), st.text(), st.text())
def test_no_object_is_ever_repeated(before, inside, after):
    """Nothing between the braces of a detail remains in a message, whatever surrounds it."""
    detail = orjson.dumps({"k": CANARY + inside}).decode()
    assert CANARY not in refusals.without_echo(before + detail + after)


def test_messages_are_bounded():
    """A long message is cut, and removing echoes takes linear time."""
    assert len(error({"message": "x" * 100_000}).message) == 501
    started = time.process_time()
    refusals.without_echo("Value '" * 200_000)
    refusals.without_echo("{" * 1_000_000 + "}")
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "text", ["a\r\nb", "a\nb", "a\x1b[2Jb", "a\x00b", "a\x85b", "a\u2028b"], ids=ascii
)
def test_messages_and_codes_are_one_line(text):
    """Codes and messages from an answer cannot forge a log line."""
    assert "a" in error({"message": text}).message
    assert error({"message": text}).message.isprintable()
    result = {"ErrorCode": text, "ErrorMessage": text}
    (entry,) = answer({"FailedEntryCount": 1, "Entries": [result]}, sent=1)
    assert entry.error_code.isprintable()
    assert entry.error_message.isprintable()


@pytest.mark.parametrize("code", ["Event Bus Not Found", "Überlast", "x" * 300, "a:b#c"])
def test_unknown_codes_of_entries_stay_as_they_are(code):
    """An entry's unknown code is kept, because AWS publishes no list of codes."""
    result = {"ErrorCode": code, "ErrorMessage": "m"}
    assert answer({"FailedEntryCount": 1, "Entries": [result]}, sent=1)[0].error_code == code


# ---------------------------------------------------------------- errors: headers


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1500", 1.5),
        ("0", 0.0),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
        ("²", None),
        ("9" * 400, None),
        ("9" * 5000, None),
    ],
    ids=lambda value: str(value)[:8],
)
def test_retry_after(value, expected):
    """Milliseconds become seconds; a value that is not a sensible number is ignored."""
    assert error(x_amz_retry_after=value).retry_after == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Wed, 02 Jan 2030 03:04:05 GMT", 1893553445.0),
        ("Wed, 02 Jan 2030 03:04:05 +0000", 1893553445.0),
        ("Wed, 02 Jan 2030 03:04:05 -0000", 1893553445.0),
        ("Wed, 02 Jan 2030 03:04:05", 1893553445.0),
        ("Wed, 02 Jan 2030 04:04:05 +0100", 1893553445.0),
        ("", None),
        (" ", None),
        ("soon", None),
        ("1893553445", None),
        ("Wed, 99 Jan 2030 03:04:05 GMT", None),
        ("Wed, 02 Jan 2030 03:04:05 +999999999", None),
    ],
)
def test_server_time(value, expected, monkeypatch):
    """`Date` gives the service's time, whatever the local time zone."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert error(date=value).server_time == expected
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("name", ["x-amzn-requestid", "x-amz-request-id"])
def test_request_id(name):
    """The request id, which AWS support asks for, is read from either header."""
    assert refusals.read_error(HttpResponse(400, {name: "id"}, b"")).request_id == "id"
    assert error().request_id is None
