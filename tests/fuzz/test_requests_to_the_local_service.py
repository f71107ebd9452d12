"""The local service answers any request in HTTP, records it, and never fails."""

from __future__ import annotations

import http.client
import io
import json
import logging
import socket

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventbridge_partner.testing import SOURCE_OPERATIONS, FakeEventBridge
from eventbridge_partner.testing._heads import BadRequestError, parse_head, split_head

SOURCE = "aws.partner/example.com/acme/tickets"
HUGE = 10**400

names = st.sampled_from(
    [
        "Source",
        "DetailType",
        "Detail",
        "Resources",
        "Time",
        "Name",
        "Account",
        "NamePrefix",
        "NextToken",
        "Limit",
        "EventSourceName",
        "Entries",
        "\ud800",
        "",
    ]
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from([SOURCE, "aws.partner/a/b", "123456789012", "{}", '{"a":1}', HUGE, 1e308])
    | st.sampled_from(["W1tbW1tb" * 200, "a" * 257, "\ud800", "[" * 2000, "{}" * 3])
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(names | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=30,
)
entries = st.fixed_dictionaries(
    {"Source": st.just(SOURCE) | leaves, "DetailType": st.text(max_size=140) | leaves},
    optional={
        "Detail": st.just('{"a":1}') | leaves,
        "Resources": st.lists(st.text(max_size=5)) | leaves,
        "Time": st.integers() | st.floats() | leaves,
        "More": values,
    },
)
bodies = st.one_of(
    values.map(json.dumps),
    st.lists(entries, max_size=22).map(lambda listed: json.dumps({"Entries": listed})),
    st.dictionaries(names, leaves, max_size=4).map(json.dumps),
    st.sampled_from(["[" * 100_000, '{"a":' * 100_000, "1" * 5000, '{"Entries":[{}]}']),
).map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=50)
operations = st.sampled_from(["PutPartnerEvents", *sorted(SOURCE_OPERATIONS), "", "Nothing"])
header_texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60)
authorizations = header_texts | st.lists(
    st.sampled_from(
        [
            "Credential=AKIDLOCALEVENTBRIDGE/20260101/us-east-1/events/aws4_request",
            "SignedHeaders=host;x-amz-date",
            "SignedHeaders=",
            "Signature=00",
            "Credential=/",
            "x",
        ]
    ),
    max_size=5,
).map(lambda parts: "AWS4-HMAC-SHA256 " + ", ".join(parts))
stamps = st.sampled_from(["20260101T000000Z", "00010101T000000Z", "99991231T235959Z", "0"])


@given(body=bodies, operation=operations, verifies=st.booleans(), data=st.data())
@example(
    body=json.dumps({"Entries": [{"Source": SOURCE, "Time": HUGE}]}).encode(),
    operation="PutPartnerEvents",
    verifies=False,
    data=None,
)
@example(
    body=json.dumps({"NamePrefix": "aws.partner/a/", "NextToken": "W1tbW1tb" * 250}).encode(),
    operation="ListPartnerEventSources",
    verifies=False,
    data=None,
)
def test_every_request_has_an_answer_and_a_record(body, operation, verifies, data):
    """A request gets a result for each entry, or one error; only accepted entries are kept."""
    service = FakeEventBridge(verify_signatures=verifies)
    headers = {
        "host": "127.0.0.1",
        "content-type": "application/x-amz-json-1.1",
        "x-amz-target": f"AWSEvents.{operation}",
    }
    if data is not None:
        headers |= data.draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "authorization": authorizations,
                    "x-amz-date": stamps | header_texts,
                    "date": header_texts | st.just("Mon, 01 Jan 0001 00:00:00 -0000"),
                    "x-amz-security-token": header_texts,
                },
            )
        )
    answer = service.handle("POST", "/", headers, body)
    assert answer.status in {200, 400, 404, 409}
    document = json.loads(answer.body) if answer.body else {}
    assert service.request_count == 1
    if answer.status != 200:
        assert document["__type"]
        assert service.accepted_count == 0
    elif operation == "PutPartnerEvents":
        ids = [result["EventId"] for result in document["Entries"] if "EventId" in result]
        assert [entry.event_id for entry in service.accepted] == ids
        assert len(document["Entries"]) == service.requests[0].entry_count


good = (
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-amz-json-1.1\r\n"
    b"X-Amz-Target: AWSEvents.PutPartnerEvents\r\nAuthorization: AWS4-HMAC-SHA256 Credential=a\r\n"
    b"Content-Length: 14\r\n\r\n"
)
pieces = st.sampled_from(
    [
        b"\r\n",
        b"\n",
        b"\r",
        b"\x00",
        b"\x7f",
        b"\xff",
        b":",
        b" ",
        b"\t",
        b",",
        b"/",
        b"Host: b\r\n",
        b"Content-Length: 1\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"9" * 5000,
        b"-",
        b"+",
        b"_",
        b"Expect: 100-continue\r\n",
        b"Connection: close\r\n",
        b"GET",
        b"/_control/x",
        b"[",
        b"?",
    ]
)
changes = st.lists(st.tuples(st.integers(0, len(good)), st.integers(0, 3), pieces), max_size=4)


def changed(changes):
    request = good
    for place, gone, piece in changes:
        request = request[:place] + piece + request[place + gone :]
    return request


@pytest.fixture(scope="module")
def server():
    with FakeEventBridge().serve() as server:
        yield server


@given(changes=changes, ending=st.sampled_from([b'{"Entries":[]}', b"", b"\r\n\r\n" * 20]))
def test_bytes_on_the_wire_are_answered_or_left(server, caplog, changes, ending):
    """Malformed bytes get an error status or a closed connection, and no thread fails."""
    with socket.create_connection((server.host, server.port), timeout=5) as peer:
        peer.sendall(changed(changes) + ending)
        peer.shutdown(socket.SHUT_WR)
        received = b""
        try:
            while chunk := peer.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass  # it closed the connection before reading everything
    while received:
        while received.startswith(b"HTTP/1.1 100 "):
            received = received.partition(b"\r\n\r\n")[2]
        if not received:
            break
        answer = http.client.HTTPResponse(_Bytes(received))
        answer.begin()
        assert answer.status in {200, 400, 403, 404, 405, 411, 413, 417, 431}
        body = answer.read()
        received = received.partition(b"\r\n\r\n")[2][len(body) :]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


class _Bytes:
    """Stands in for the socket that `http.client` reads an answer from."""

    def __init__(self, received: bytes) -> None:
        self._received = received

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._received)


@given(changes=changes)
def test_a_head_that_is_read_is_what_was_sent(changes):
    """A parsed head has each header line that was sent, and no value holds the end of a line."""
    try:
        parts = split_head(changed(changes))
        if parts is None:
            return
        head = parse_head(parts[0])
    except BadRequestError as error:
        assert error.refusal.status in {400, 411, 417, 431}
        return
    sent = parts[0].decode("latin-1").removeprefix("\r\n").split("\r\n")
    assert sent[0].split(" ")[:2] == [head.method, head.path]
    assert {line.partition(":")[0].lower() for line in sent[1:]} == set(head.headers)
    assert not any(set(value) & set("\r\n\0") for value in head.headers.values())
    assert 0 <= head.length < 10**18
