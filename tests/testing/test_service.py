"""The local service without faults: what it accepts, what it refuses, what it remembers."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbridge_partner.testing import AcceptedEntry, FakeEventBridge

INFINITE = float("inf")


def nested(levels: int, innermost: str = "1") -> str:
    """Return a detail of this many levels, objects and arrays in turn."""
    objects, arrays = (levels + 1) // 2, levels // 2
    ends = "]}" * arrays if levels % 2 == 0 else "}" + "]}" * arrays
    opening = ('{"a":' + "[") * arrays + ('{"a":' if objects > arrays else "")
    return opening + innermost + ends


def test_entries_are_accepted(service, client, entry):
    """Each good entry gets its own id, and is remembered as it came."""
    answer = client.put(
        [
            entry(Detail='{ "a": "é" }', Resources=["r1", "r2"], Time=1_700_000_000),
            entry(Detail="{}"),
        ]
    )
    ids = [result["EventId"] for result in answer["Entries"]]
    assert answer["status"] == 200
    assert answer["FailedEntryCount"] == 0
    assert service.accepted == (
        AcceptedEntry(
            event_id=ids[0],
            source="aws.partner/example.com/acme/tickets",
            detail_type="ticket.created",
            detail='{ "a": "é" }',
            resources=("r1", "r2"),
            time=1_700_000_000,
            request_index=0,
            entry_index=0,
        ),
        AcceptedEntry(
            event_id=ids[1],
            source="aws.partner/example.com/acme/tickets",
            detail_type="ticket.created",
            detail="{}",
            resources=(),
            time=None,
            request_index=0,
            entry_index=1,
        ),
    )


def test_event_ids_are_unique(client, entry):
    """No two entries get the same id."""
    ids = [result["EventId"] for _ in range(10) for result in client.put([entry()] * 20)["Entries"]]
    assert len(set(ids)) == 200


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "SerializationException"),
        (b"{", "SerializationException"),
        (b'{"Entries": [NaN]}', "SerializationException"),
        (b'"\xff"', "SerializationException"),
        (b"[" * 100_000, "SerializationException"),
        (b"[]", "SerializationException"),
        (b'{"Entries": {}}', "SerializationException"),
        (b'{"Entries": "x"}', "SerializationException"),
        (b'{"Entries": [null]}', "SerializationException"),
        (b"{}", "ValidationException"),
        (b'{"Entries": null}', "ValidationException"),
        (b'{"Entries": []}', "ValidationException"),
    ],
)
def test_invalid_bodies_are_refused(service, client, body, code):
    """An unreadable body is a SerializationException; one against the model fails validation."""
    answer = client.post(body)
    assert (answer["status"], answer["__type"]) == (400, code)
    assert service.accepted == ()


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"Time": "2026-01-31T00:00:00Z"}, "SerializationException"),
        ({"Time": True}, "SerializationException"),
        ({"Time": INFINITE}, "SerializationException"),
        ({"Source": 1}, "SerializationException"),
        ({"DetailType": ["t"]}, "SerializationException"),
        ({"Detail": {"ticket": 1}}, "SerializationException"),
        ({"Detail": '{"a": "\ud83d"}'}, "SerializationException"),
        ({"Resources": "arn"}, "SerializationException"),
        ({"Resources": [1]}, "SerializationException"),
        ({"Source": "aws.partner/example.com"}, "ValidationException"),
        ({"Source": "example.com/acme/tickets"}, "ValidationException"),
        ({"Source": "aws.partner/example.com/acme/ü"}, "ValidationException"),
        ({"Source": "aws.partner/example.com/acme\n"}, "ValidationException"),
        ({"Source": ""}, "ValidationException"),
        ({"Source": "aws.partner/a/" + "b" * 243}, "ValidationException"),
        ({"Resources": ["ok", "r" * 2049]}, "ValidationException"),
    ],
)
def test_one_bad_member_refuses_the_whole_request(service, client, entry, members, code):
    """Types and the model's constraints are checked before any entry is accepted."""
    if INFINITE in members.values():
        # Valid JSON that the json module does not write.
        bad = json.dumps(entry(Time=0)).replace('"Time": 0', '"Time": 1e999')
        answer = client.post(f'{{"Entries": [{json.dumps(entry())}, {bad}]}}'.encode())
    else:
        answer = client.put([entry(), entry(**members)])
    assert (answer["status"], answer["__type"]) == (400, code)
    assert service.accepted == ()


def test_the_models_limits_are_kept(service, client, entry):
    """The largest values that botocore's model allows are accepted; anything larger is not."""
    model = botocore.session.get_session().get_service_model("events")
    shape: Any = model.operation_model("PutPartnerEvents").input_shape
    entries = shape.members["Entries"]
    members = entries.member.members
    most = entries.metadata["max"]
    longest = members["Source"].metadata["max"] - len("aws.partner/a/")
    widest = members["Resources"].member.metadata["max"]
    good = entry(Source="aws.partner/a/" + "b" * longest, Resources=["é" * widest])

    assert client.put([good] * most)["status"] == 200
    assert "less than or equal to 20" in client.put([good] * (most + 1))["message"]
    too_long = entry(Source="aws.partner/a/" + "b" * (longest + 1))
    assert "less than or equal to 256" in client.put([too_long])["message"]
    too_wide = entry(Resources=["é" * (widest + 1)])
    assert "less than or equal to 2048" in client.put([too_wide])["message"]
    no_match = client.put([entry(Source="aws.partner/a")])["message"]
    assert no_match.endswith(members["Source"].metadata["pattern"])
    assert service.accepted_count == most


def test_a_validation_message_repeats_the_entries(client, entry):
    """A validation message repeats the entries, as AWS's does: whoever logs it logs the payload."""
    message = client.put([entry(Detail='{"secret": 1}')] * 21)["message"]
    assert message.startswith(
        "1 validation error detected: Value '[PutPartnerEventsRequestEntry(time=null, "
        "source=aws.partner/example.com/acme/tickets, resources=null, "
        'detailType=ticket.created, detail={"secret": 1})'
    )
    assert message.endswith(
        "at 'entries' failed to satisfy constraint: Member must have length less than or equal to 20"
    )


def test_all_findings_are_in_one_message(client, entry):
    """Two bad sources are two validation errors in one message, each with its place."""
    message = client.put([entry(Source="x"), entry(), entry(Source="y")])["message"]
    assert message.startswith(
        "2 validation errors detected: Value 'x' at 'entries.1.member.source'"
    )
    assert "; Value 'y' at 'entries.3.member.source' failed" in message


@pytest.mark.parametrize(
    "detail",
    [
        "{}",
        ' {"a": [1, 2.5, "x", null, true]}\n',
        f'{{"a": {2**63 - 1}, "b": {-(2**63)}}}',
        '{"a": "12345678901234567890123"}',
        '{"a": 0.12345678901234567890123}',
        '{"a": "' + "[{" * 2000 + '\\""}',
        '{"a": [' + ", ".join(["{}"] * 3000) + "]}",
        nested(1000),
        '{"x": [], "a": ' + nested(999) + ', "b": 1}',
    ],
    ids=lambda text: f"{text[:24]}({len(text)})",
)
def test_good_details_are_accepted(client, entry, detail):
    """A detail is a JSON object of at most 1,000 levels, with integers of at most 64 bits."""
    answer = client.put([entry(Detail=detail)])
    assert "EventId" in answer["Entries"][0]


@pytest.mark.parametrize(
    "detail",
    [
        " ",
        "[]",
        '"text"',
        "1",
        "null",
        "{",
        "{'a': 1}",
        '{"a": 1,}',
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 9223372036854775808}',
        '{"a": [-9223372036854775809]}',
        '{"a": ' + "1" * 5000 + "}",
        nested(1001),
        nested(1000, innermost="x"),
        nested(1000, innermost="9223372036854775808"),
        nested(1000)[:-1],
        nested(1000) + "}",
        "[" + nested(999) + "]",
        '{"a": ' + "[" * 100_000,
        '{"a": ' + "[{" * 600 + "]}" * 600 + "}",
    ],
    ids=lambda text: f"{text[:24]}({len(text)})",
)
def test_malformed_details_fail_alone(client, entry, detail):
    """A detail that is not such an object fails; the entries around it are accepted."""
    answer = client.put([entry(), entry(Detail=detail), entry()])
    assert answer["FailedEntryCount"] == 1
    codes = [result.get("ErrorCode") for result in answer["Entries"]]
    assert codes == [None, "MalformedDetail", None]


@pytest.mark.slow
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.integers(0, 900),
)
def test_any_json_object_is_a_detail(inside, levels):
    """A JSON object is accepted at any depth up to the limit; other JSON is not."""
    text = json.dumps(inside, ensure_ascii=False)
    if levels:
        text = nested(levels, text)
    service = FakeEventBridge(verify_signatures=False)
    entry = {"Source": "aws.partner/a/b", "DetailType": "t", "Detail": text}
    headers = {
        "X-Amz-Target": "AWSEvents.PutPartnerEvents",
        "Content-Type": "application/x-amz-json-1.1",
    }
    service.handle("POST", "/", headers, json.dumps({"Entries": [entry]}).encode())
    is_object = levels > 0 or isinstance(inside, dict)
    assert service.accepted_count == is_object


@pytest.mark.parametrize("name", ["Source", "DetailType", "Detail"])
def test_an_entry_that_lacks_a_member_fails_alone(client, entry, name):
    """InvalidArgument names the missing member, which is optional only in the model."""
    answer = client.put([entry(), entry(**{name: None})])
    assert answer["FailedEntryCount"] == 1
    assert answer["Entries"][1] == {
        "ErrorCode": "InvalidArgument",
        "ErrorMessage": f"Parameter {name} is not valid. Reason: {name} is a required argument.",
    }


def test_a_request_in_which_no_entry_is_whole_fails(service, client, entry):
    """If no entry has all three members, the whole request is refused."""
    answer = client.put([entry(Source=None), entry(Detail=None), {}])
    assert (answer["status"], answer["__type"]) == (400, "ValidationException")
    assert service.accepted_count == 0


def test_a_long_detail_type_fails_alone(client, entry):
    """A detail type may have 128 characters, however many bytes those are, and no more."""
    answer = client.put([entry(DetailType="é" * 128), entry(DetailType="e" * 129)])
    assert [result.get("ErrorCode") for result in answer["Entries"]] == [None, "InvalidArgument"]


def test_the_size_of_all_entries_stays_under_the_limit(client_of, entry):
    """The size is 14 for a time, plus the bytes of source, detail type, detail and resources."""
    service = FakeEventBridge(max_request_bytes=1000)
    client = client_of(service)
    counted = [
        entry(Time=0, Resources=["äöü", "r"], Detail='{"a": "日本"}'),
        entry(Time=None, DetailType="x", Detail="{}"),
    ]
    size = (14 + 36 + 14 + 15 + 6 + 1) + (36 + 1 + 2)
    room = 999 - size - len('{"f": ""}') - 36 - 1
    filled = entry(DetailType="x", Detail=f'{{"f": "{"f" * room}"}}')
    fuller = entry(DetailType="x", Detail=f'{{"f": "{"f" * (room + 1)}"}}')
    assert client.put([*counted, filled])["status"] == 200
    answer = client.put([*counted, fuller])
    assert answer["__type"] == "ValidationException"
    assert answer["message"] == "Total size of the entries in the request is over the limit."
    assert service.accepted_count == 3


def test_a_body_beyond_all_limits_is_not_read(client_of, entry):
    """A body too large for any good request gets status 413, and is recorded."""
    service = FakeEventBridge(max_request_bytes=1000)
    answer = client_of(service).put([entry(Padding="p" * 100_000)])
    assert (answer["status"], answer["__type"]) == (413, "RequestEntityTooLargeException")
    assert service.requests[0].status == 413
    assert service.requests[0].operation == "PutPartnerEvents"


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Amz_Target": "AWSEvents.PutNothing"},
        {"X_Amz_Target": "Other.PutPartnerEvents"},
        {"X_Amz_Target": "PutPartnerEvents"},
        {"X_Amz_Target": ""},
        {"Content_Type": "application/json"},
    ],
)
def test_an_operation_that_is_not_known_is_refused(client, entry, headers):
    """An unknown target or content type is an UnknownOperationException."""
    answer = client.put([entry()], **headers)
    assert (answer["status"], answer["__type"]) == (400, "UnknownOperationException")


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/events"), ("POST", "/?a=b")])
def test_there_is_one_resource_and_one_method(method, path):
    """Anything other than `POST /` is not found."""
    service = FakeEventBridge(verify_signatures=False)
    assert service.handle(method, path, {}, b"").status == 404


def test_a_charset_may_follow_the_content_type(client, entry):
    """A content type with a charset is accepted."""
    headers = {"Content_Type": "application/x-amz-json-1.1; charset=utf-8"}
    assert client.put([entry()], **headers)["status"] == 200


def test_unknown_members_are_ignored_and_recorded(service, client, entry):
    """Unknown members, such as PutEvents' `EventBusName`, are ignored, and their names recorded."""
    client.post(json.dumps({"Entries": [entry(EventBusName="b", Trace=1)], "Extra": 1}).encode())
    assert service.accepted_count == 1
    assert service.requests[0].unknown_members == ("EventBusName", "Extra", "Trace")


def test_answers_carry_the_services_headers(client_of, entry):
    """Each answer has a request id, the protocol's content type and the service's time."""
    service = FakeEventBridge(clock=lambda: 1_700_000_000.5, verify_signatures=False)
    client = client_of(service)
    body = json.dumps({"Entries": [entry()]}).encode()
    first, second = (client.deliver(client.signed(body), body) for _ in range(2))
    assert first.headers["date"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert first.headers["content-type"] == "application/x-amz-json-1.1"
    assert first.headers["x-amzn-requestid"] != second.headers["x-amzn-requestid"]


def test_requests_are_recorded(service, client, entry):
    """A record has the entries, the result of each, and the headers."""
    answer = client.put([entry(), entry(Detail="x")], X_Custom="1")
    client.put([])
    first, second = service.requests
    assert (first.index, first.operation, first.entry_count) == (0, "PutPartnerEvents", 2)
    assert first.entries == (entry(), entry(Detail="x"))
    assert first.results[0].event_id == answer["Entries"][0]["EventId"]
    assert first.results[1].error_code == "MalformedDetail"
    assert (first.status, first.error_code, first.answer_delivered) == (200, None, True)
    assert first.headers["x-custom"] == "1"
    assert (second.index, second.status, second.error_code) == (1, 400, "ValidationException")
    assert second.results == ()


def test_nothing_secret_is_shown(client_of, entry):
    """No repr shows a payload, and no record has a signature or a token."""
    service = FakeEventBridge(secret_access_key="s3cr3t", session_token="t0k3n")
    client_of(service).put([entry(Detail='{"name": "Ada"}')])
    assert service.accepted_count == 1
    record, accepted = service.requests[0], service.accepted[0]
    assert {"authorization", "x-amz-security-token"}.isdisjoint(record.headers)
    shown = f"{service!r} {record!r} {accepted!r} {dict(record.headers)}"
    assert "Ada" not in shown
    assert "s3cr3t" not in shown
    assert "t0k3n" not in shown


def test_only_the_newest_are_kept(client_of, entry):
    """`keep` limits what is remembered, but not what is counted."""
    service = FakeEventBridge(keep=3)
    client = client_of(service)
    for number in range(5):
        client.put([entry(Detail=f'{{"n": {number}}}')] * 2)
    assert [record.index for record in service.requests] == [2, 3, 4]
    assert [accepted.request_index for accepted in service.accepted] == [3, 4, 4]
    assert (service.request_count, service.accepted_count) == (5, 10)


def test_forgetting_starts_over(service, client, entry):
    """After `forget` the service is as if nothing had been sent."""
    client.put([entry()])
    service.forget()
    assert (service.request_count, service.accepted_count) == (0, 0)
    assert (service.requests, service.accepted) == ((), ())
    client.put([entry()])
    assert service.requests[0].index == 0


def test_signatures_can_be_left_unchecked():
    """`verify_signatures=False` accepts requests without a signature."""
    service = FakeEventBridge(verify_signatures=False)
    headers = {
        "x-amz-target": "AWSEvents.PutPartnerEvents",
        "content-type": "application/x-amz-json-1.1",
    }
    assert service.handle("POST", "/", headers, b'{"Entries": []}').status == 400
    assert service.requests[0].error_code == "ValidationException"


@pytest.mark.process
def test_importing_it_is_cheap():
    """botocore, which is slow to import, is not imported before the first signature."""
    code = "import sys, eventbridge_partner.testing; print('botocore' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
