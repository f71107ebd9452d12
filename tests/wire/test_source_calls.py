"""Requests and answers of the source operations agree with botocore's service model."""

from __future__ import annotations

import datetime
import json
from typing import Any

import botocore.parsers
import botocore.serialize
import botocore.session
import botocore.validate
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbridge_partner import (
    EventSource,
    HttpResponse,
    SourceAccount,
    SourceState,
    UnreadableAnswerError,
)
from eventbridge_partner.wire import calls, source_calls

NAME = "aws.partner/example.com/acme"
ACCOUNT = "123456789012"
MODEL: Any = botocore.session.Session().get_service_model("events")
ACTIVE = {"Account": "123456789012", "State": "ACTIVE"}
CREATED = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
EXPIRES = CREATED + datetime.timedelta(days=7)

CALLS = {
    "create": source_calls.create(NAME, ACCOUNT),
    "describe": source_calls.describe(NAME),
    "list": source_calls.list_page("aws.partner/example.com/", None),
    "list, next page": source_calls.list_page("aws.partner/example.com/", "t"),
    "accounts": source_calls.accounts_page(NAME, None),
    "accounts, next page": source_calls.accounts_page(NAME, "t"),
    "delete": source_calls.delete(NAME, ACCOUNT),
}


def answer(call, document):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return calls.answer(call, HttpResponse(200, {}, body))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_requests_are_what_botocore_would_send(call):
    """botocore finds the members valid, and serializes them to the same body and target."""
    shape = MODEL.operation_model(call.operation).input_shape
    members = json.loads(call.body)
    assert not botocore.validate.ParamValidator().validate(members, shape).has_errors()
    theirs = botocore.serialize.create_serializer("json").serialize_to_request(
        members, MODEL.operation_model(call.operation)
    )
    assert json.loads(theirs["body"]) == members
    assert theirs["headers"]["X-Amz-Target"] == f"AWSEvents.{call.operation}"


def test_lists_ask_for_full_pages():
    """A list request asks for 100 items, and has a token only if there is one."""
    assert json.loads(CALLS["list"].body) == {
        "NamePrefix": "aws.partner/example.com/",
        "Limit": 100,
    }
    assert json.loads(CALLS["accounts, next page"].body) == {
        "EventSourceName": NAME,
        "Limit": 100,
        "NextToken": "t",
    }


SOURCE_PAGE = {
    "PartnerEventSources": [{"Arn": "arn:1", "Name": NAME}, {"Arn": "arn:2", "Name": NAME + "2"}],
    "NextToken": "more",
}
ACCOUNT_PAGE = {
    "PartnerEventSourceAccounts": [
        {
            "Account": ACCOUNT,
            "CreationTime": CREATED.timestamp(),
            "ExpirationTime": EXPIRES.timestamp() + 0.25,
            "State": "PENDING",
        },
        {"Account": "210987654321", "State": "FROZEN"},
    ]
}


def read_by_botocore(operation, document):
    parser = botocore.parsers.create_parser("json")
    response = {"status_code": 200, "headers": {}, "body": json.dumps(document).encode()}
    return parser.parse(response, MODEL.operation_model(operation).output_shape)


def test_answers_are_read_as_botocore_reads_them():
    """Every member of an answer gets the value that botocore reads."""
    theirs = read_by_botocore("ListPartnerEventSourceAccounts", ACCOUNT_PAGE)
    page = answer(CALLS["accounts"], ACCOUNT_PAGE)
    assert page.next_token is None
    assert [
        (one.account, one.state, one.creation_time, one.expiration_time) for one in page.items
    ] == [
        (one["Account"], one["State"], one.get("CreationTime"), one.get("ExpirationTime"))
        for one in theirs["PartnerEventSourceAccounts"]
    ]
    theirs = read_by_botocore("ListPartnerEventSources", SOURCE_PAGE)
    page = answer(CALLS["list"], SOURCE_PAGE)
    assert page.next_token == theirs["NextToken"]
    assert [{"Arn": one.arn, "Name": one.name} for one in page.items] == theirs[
        "PartnerEventSources"
    ]
    assert answer(CALLS["create"], {"EventSourceArn": "arn:1"}) == EventSource(NAME, "arn:1")
    assert answer(CALLS["describe"], {"Arn": "arn:1", "Name": NAME}) == EventSource(NAME, "arn:1")


def test_members_are_those_of_the_model():
    """The model lists exactly the members that we read; a new one fails this test."""
    shapes = {
        "PartnerEventSource": {"Arn", "Name"},
        "PartnerEventSourceAccount": {"Account", "CreationTime", "ExpirationTime", "State"},
        "CreatePartnerEventSourceResponse": {"EventSourceArn"},
        "DescribePartnerEventSourceResponse": {"Arn", "Name"},
    }
    for shape, members in shapes.items():
        assert set(MODEL.shape_for(shape).members) == members


def test_states_are_those_of_the_model():
    """Every state in the model has a name; a state that it does not list is kept as it is."""
    listed = set(MODEL.shape_for("EventSourceState").enum)
    assert listed == {SourceState.PENDING, SourceState.ACTIVE, SourceState.DELETED}
    accounts = answer(CALLS["accounts"], ACCOUNT_PAGE).items
    assert [type(one.state) for one in accounts] == [SourceState, SourceState]
    assert accounts[1] == SourceAccount(NAME, "210987654321", SourceState("FROZEN"))


@pytest.mark.parametrize("token", [None, "", ...], ids=["null", "empty", "absent"])
def test_a_list_ends_without_a_token(token):
    """A list ends when its token is null, empty or absent."""
    document = SOURCE_PAGE | {"NextToken": token}
    if token is ...:
        del document["NextToken"]
    assert answer(CALLS["list"], document).next_token is None


@pytest.mark.parametrize(
    "time",
    [CREATED.timestamp(), "2030-01-02T03:04:05Z", "2030-01-02T05:04:05+02:00"],
)
def test_times_are_aware(time):
    """Epoch seconds, and the ISO 8601 text of services other than AWS, become UTC datetimes."""
    document = {
        "PartnerEventSourceAccounts": [
            {"Account": ACCOUNT, "State": "ACTIVE", "CreationTime": time, "ExpirationTime": None}
        ]
    }
    (found,) = answer(CALLS["accounts"], document).items
    assert found.creation_time == CREATED
    assert found.creation_time.tzinfo is datetime.UTC
    assert found.expiration_time is None


@pytest.mark.parametrize(
    ("call", "document"),
    [
        ("create", b"<html>"),
        ("create", {}),
        ("create", []),
        ("create", {"EventSourceArn": ""}),
        ("describe", {"Arn": "arn:1"}),
        ("list", {}),
        ("list", {"PartnerEventSources": None}),
        ("list", {"PartnerEventSources": {}}),
        ("list", {"PartnerEventSources": ["x"]}),
        ("list", {"PartnerEventSources": [], "NextToken": 7}),
        ("list", {"PartnerEventSources": [], "NextToken": "x" * 2049}),
        ("accounts", {"PartnerEventSourceAccounts": [{"Account": ACCOUNT}]}),
        *(
            ("accounts", {"PartnerEventSourceAccounts": [ACCOUNT_WITH | {"CreationTime": time}]})
            for ACCOUNT_WITH in [{"Account": ACCOUNT, "State": "ACTIVE"}]
            for time in (True, [], "yesterday", "2030-01-02T03:04:05", 1e300)
        ),
    ],
)
def test_unreadable_answers(call, document):
    """An answer without its list, or with an invalid member, is unreadable."""
    with pytest.raises(UnreadableAnswerError, match="the answer") as caught:
        answer(CALLS[call], document)
    assert ACCOUNT not in str(caught.value)


def test_deleting_has_nothing_to_read():
    """A successful delete returns None, whatever its body."""
    for body in (b"", b"{}", b"null"):
        assert answer(CALLS["delete"], body) is None


@pytest.mark.parametrize(
    "time",
    [
        "Sun, 25 Jan 2015 08:00:00 GMT",
        "Wed, 31 Dec 1969 23:59:59 GMT",
        "2015-01-25T08:00:00Z",
        "2015-01-25T08:00:00.123456Z",
        "2015-01-25T10:00:00+02:00",
        "1422172800",
        "1422172800.25",
        1422172800,
        1422172800.25,
        -1,
        0,
    ],
    ids=str,
)
def test_times_in_each_format(time):
    """HTTP dates, ISO 8601 texts and numbers are read as botocore reads them."""
    document = {"PartnerEventSourceAccounts": [ACTIVE | {"CreationTime": time}]}
    (theirs,) = read_by_botocore("ListPartnerEventSourceAccounts", document)[
        "PartnerEventSourceAccounts"
    ]
    (one,) = answer(CALLS["accounts"], document).items
    assert one.creation_time == theirs["CreationTime"]
    assert one.creation_time.utcoffset() == datetime.timedelta(0)


@given(st.text(st.sampled_from("0123456789 :,-+.TZGMTSunJan"), max_size=40) | st.text())
def test_a_time_is_read_or_refused(time):
    """Any text in place of a time is read as a UTC datetime, or the answer is unreadable."""
    document = {"PartnerEventSourceAccounts": [ACTIVE | {"CreationTime": time}]}
    try:
        (one,) = answer(CALLS["accounts"], document).items
    except UnreadableAnswerError:
        return
    assert one.creation_time.tzinfo is datetime.UTC
