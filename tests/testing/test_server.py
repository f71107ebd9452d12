"""The local service over real HTTP: boto3's client, raw requests, many threads, clean ends."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from eventbridge_partner.testing import (
    FailEntries,
    FailRequest,
    FakeEventBridge,
    LoseAnswer,
    RefuseRequestContaining,
    SlowAnswer,
)


@pytest.fixture
def server(service):
    with service.serve() as running:
        yield running


@contextlib.contextmanager
def boto3_client(service, server, **config):
    """Open AWS's own client, which sends each request once."""
    own = service.credentials
    client = boto3.client(
        "events",
        region_name=service.region,
        endpoint_url=server.url,
        aws_access_key_id=own.access_key,
        aws_secret_access_key=own.secret_key,
        aws_session_token=own.token,
        config=Config(retries={"total_max_attempts": 1}, **config),
    )
    try:
        yield client
    finally:
        client.close()


def exchange(server, request):
    """Send bytes, and return all that comes until the server closes the connection."""
    with socket.create_connection((server.host, server.port), timeout=2) as peer:
        peer.sendall(request)
        answer = b""
        while chunk := peer.recv(65536):
            answer += chunk
        return answer


def threads_of(server):
    return [
        t for t in threading.enumerate() if t.name.startswith(f"eventbridge-local-{server.port}")
    ]


# With AWS's own client


@pytest.mark.parametrize("token", [None, "a/token+with=signs"])
def test_boto3_delivers(entry, token):
    """A request of 20 entries that boto3 signed gets 20 ids."""
    service = FakeEventBridge(session_token=token)
    with service.serve() as server, boto3_client(service, server) as client:
        detail = json.dumps({"name": "Ада 🦆"}, ensure_ascii=False)
        answer = client.put_partner_events(
            Entries=[entry(Detail=detail, Time=1_700_000_000, Resources=["r"])] * 20
        )
    assert answer["FailedEntryCount"] == 0
    ids = [result["EventId"] for result in answer["Entries"]]
    assert [accepted.event_id for accepted in service.accepted] == ids
    assert {accepted.detail for accepted in service.accepted} == {detail}
    assert {accepted.time for accepted in service.accepted} == {1_700_000_000}


def test_boto3_sees_entries_fail(service, server, entry):
    """boto3 sees an entry fail at the index that the fault names."""
    service.play(FailEntries("ThrottlingException", indexes=[1]))
    with boto3_client(service, server) as client:
        answer = client.put_partner_events(Entries=[entry()] * 3)
    assert answer["FailedEntryCount"] == 1
    assert answer["Entries"][1] == {
        "ErrorCode": "ThrottlingException",
        "ErrorMessage": "Rate exceeded",
    }


@pytest.mark.parametrize("form", ["__type", "namespace"])
def test_boto3_reads_the_errors(service, server, entry, form):
    """boto3 reads code, message, status and request id; in other forms it reads no code."""
    service.play(FailRequest("OperationDisabledException", 400, "Not now", form=form))
    with boto3_client(service, server) as client, pytest.raises(ClientError) as caught:
        client.put_partner_events(Entries=[entry()])
    answer = caught.value.response
    assert answer["Error"] == {"Code": "OperationDisabledException", "Message": "Not now"}
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert len(answer["ResponseMetadata"]["RequestId"]) == 36


def test_boto3_is_told_the_limits(service, server, entry):
    """boto3, which does not check the limits itself, gets a ValidationException."""
    with boto3_client(service, server) as client, pytest.raises(ClientError) as caught:
        client.put_partner_events(Entries=[entry()] * 21)
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_boto3_with_another_secret_is_refused(service, server, entry):
    """The service checks the signature: another secret is refused."""
    other = FakeEventBridge(secret_access_key="another")
    with boto3_client(other, server) as client, pytest.raises(ClientError) as caught:
        client.put_partner_events(Entries=[entry()])
    assert caught.value.response["Error"]["Code"] == "InvalidSignatureException"
    assert service.accepted_count == 0


def test_boto3_loses_an_answer(service, server, entry):
    """After a lost answer the entry is accepted, and the next request succeeds."""
    service.play(LoseAnswer())
    with boto3_client(service, server) as client:
        with pytest.raises(ConnectionClosedError):
            client.put_partner_events(Entries=[entry()])
        client.put_partner_events(Entries=[entry()])
    assert [record.answer_delivered for record in service.requests] == [False, True]
    assert service.accepted_count == 2


def test_an_entry_just_under_the_limit_is_accepted(service, server, entry):
    """An entry is measured in UTF-8, not in the escapes that triple it on boto3's wire."""
    detail = '{"text": "%s"}' % ("é" * 500_000)
    with boto3_client(service, server) as client:
        answer = client.put_partner_events(Entries=[entry(Detail=detail)])
    assert answer["FailedEntryCount"] == 0
    assert service.accepted[0].detail == detail


# Raw HTTP


def test_a_connection_is_kept_alive(server):
    """One connection serves many requests, even after errors."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=2)
    with contextlib.closing(connection):
        connection.request("POST", "/", b"{}")
        connection.getresponse().read()
        peer = connection.sock
        for _ in range(3):
            connection.request("POST", "/", b"{}")
            answer = connection.getresponse()
            assert answer.status == 400
            assert json.loads(answer.read())["__type"] == "MissingAuthenticationTokenException"
        assert connection.sock is peer


@pytest.mark.parametrize(
    ("request_line", "header"),
    [("POST / HTTP/1.1", "Connection: close"), ("POST / HTTP/1.0", "Accept: */*")],
)
def test_a_connection_is_closed_on_request(server, request_line, header):
    """The connection is closed if the client asks for it, or speaks HTTP/1.0."""
    answer = exchange(
        server, f"{request_line}\r\nHost: a\r\n{header}\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    )
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\nConnection: close\r\n" in answer


def test_requests_may_be_pipelined(server):
    """Two requests in one packet get two answers."""
    one = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
    last = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
    assert exchange(server, one + last).count(b"HTTP/1.1 400 ") == 2


def test_a_request_may_come_in_pieces(server):
    """A request that arrives byte by byte is answered."""
    with socket.create_connection((server.host, server.port), timeout=2) as peer:
        for (
            byte
        ) in b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}":
            peer.sendall(bytes([byte]))
        assert peer.recv(65536).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /", 400),
        (b"POST / HTTP/2", 400),
        (b"hello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nno colon", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nName : x", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nA: b\r\n folded", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1x", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2", 400),
        (b"POST / HTTP/1.1\r\nHost: a", 411),
        (b"POST / HTTP/1.1\r\nContent-Length: 0", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nHost: a\r\nContent-Length: 0", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 5000, 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"0" * 5000 + b"2", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nAuthorization: x\r\nAuthorization: x", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nX-Amz-Target: x\r\nX-Amz-Target: x", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nA: b\0c", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nA\0: b", 400),
        (b"POST /\0 HTTP/1.1\r\nHost: a", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nA: b\nC: d", 400),
        (b"POST / HTTP/1.1\nHost: a\nContent-Length: 0", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nA: b\rC: d", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nA: b\r", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nA b: c", 400),
        (b"POST http://a/ HTTP/1.1\r\nHost: a", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-maybe\r\nContent-Length: 0", 417),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked", 411),
        (b"POST / HTTP/1.1\r\nHost: a\r\nA: " + b"a" * 70_000, 431),
    ],
    ids=repr,
)
def test_invalid_http_is_refused(service, server, head, status):
    """Invalid HTTP gets a status that says what is wrong, and the connection is closed."""
    answer = exchange(server, head + b"\r\n\r\n" if status != 431 else head)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert service.request_count == 0


def test_bare_line_feeds_are_refused_at_once(server):
    """A head with bare LF never ends as heads do, and is refused without waiting for its end."""
    with socket.create_connection((server.host, server.port), timeout=2) as peer:
        peer.sendall(b"POST / HTTP/1.1\nHost: a\nContent-Length: 2\n\n{}")
        assert peer.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_a_blank_line_before_a_request_is_ignored(server):
    """A blank line before a request is ignored, as RFC 9112 asks."""
    request = b"\r\nPOST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
    assert b"SerializationException" not in exchange(server, request)
    assert b"MissingAuthenticationToken" in exchange(server, request)


def test_a_huge_body_is_refused_unread(entry):
    """Status 413 arrives while the client is still sending, and the request is recorded."""
    service = FakeEventBridge(max_request_bytes=1000)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n"
    with service.serve() as server:
        with socket.create_connection((server.host, server.port), timeout=2) as peer:
            peer.sendall(head + b"x" * 100_000)
            time.sleep(0.1)
            peer.sendall(b"x" * 100_000)
            time.sleep(0.1)
            assert peer.recv(65536).startswith(b"HTTP/1.1 413 ")
        answer = requests.post(server.url, data=b"x" * 5_000_000, timeout=5)
    assert answer.status_code == 413
    assert answer.json()["__type"] == "RequestEntityTooLargeException"
    assert [record.status for record in service.requests] == [413, 413]


def test_a_client_may_ask_before_it_sends(server):
    """`Expect: 100-continue` gets an interim answer before the body is sent."""
    with socket.create_connection((server.host, server.port), timeout=2) as peer:
        peer.sendall(
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
        )
        assert peer.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.sendall(b"{}")
        assert peer.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_a_failing_predicate_does_not_look_like_the_network(service, server, client, entry, caplog):
    """An error in the test's own predicate is logged, and later requests are served."""
    service.play(RefuseRequestContaining(lambda entry: entry["NotThere"]))
    body = json.dumps({"Entries": [entry()]}).encode()
    with caplog.at_level(logging.ERROR):
        with pytest.raises(requests.ConnectionError):
            requests.post(server.url, body, headers=client.signed(body), timeout=2)
        service.clear_faults()
        headers = {**client.signed(body), "Host": "127.0.0.1"}
        assert requests.post(server.url, body, headers=headers, timeout=2).status_code == 200
    assert "NotThere" in caplog.text


# Many at once


def test_many_threads_are_counted_correctly(service, server, entry):
    """What eight clients are told, taken together, is what the service remembers."""
    service.play(FailEntries("ThrottlingException", entry_share=0.3, times=None))

    def run(number):
        with boto3_client(service, server) as client:
            answers = [
                client.put_partner_events(Entries=[entry(DetailType=f"t{number}")] * 20)
                for _ in range(15)
            ]
        return [result for answer in answers for result in answer["Entries"]]

    # boto3 sessions must not be made in several threads at once; botocore's clients may be.
    lock = threading.Lock()
    real = boto3.client

    def locked(*args, **kwargs):
        with lock:
            return real(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(8) as pool:
        patch.setattr(boto3, "client", locked)
        results = [result for part in pool.map(run, range(8)) for result in part]
    told = {result["EventId"] for result in results if "EventId" in result}
    assert len(results) == 8 * 15 * 20
    assert told == {accepted.event_id for accepted in service.accepted}
    assert service.accepted_count == len(told)
    assert service.request_count == 120
    assert [record.index for record in service.requests] == list(range(120))
    for record in service.requests:
        assert len({entry["DetailType"] for entry in record.entries}) == 1
    acknowledged = [r.event_id for record in service.requests for r in record.results if r.event_id]
    assert acknowledged == [accepted.event_id for accepted in service.accepted]


# Clean ends


def test_closing_leaves_nothing_behind(service, entry):
    """Closing ends all threads, frees the port, and closes idle connections at once."""
    server = service.serve()
    idle = socket.create_connection((server.host, server.port), timeout=2)
    half = socket.create_connection((server.host, server.port), timeout=2)
    half.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
    with boto3_client(service, server) as client, idle, half:
        client.put_partner_events(Entries=[entry()])
        started = time.monotonic()
        server.close()
        assert time.monotonic() - started < 1
        assert idle.recv(1) == b""
        assert half.recv(1) == b""
    assert threads_of(server) == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.host, server.port), timeout=2)


def test_a_port_can_be_used_again(service):
    """A port can be used again at once, even if connections were open."""
    server = service.serve()
    with socket.create_connection((server.host, server.port), timeout=2) as peer:
        peer.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
        assert peer.recv(65536)
        server.close()
        assert peer.recv(65536) == b""
    with service.serve(port=server.port) as again:
        assert again.port == server.port
        assert requests.post(again.url, b"{}", timeout=2).status_code == 400


def test_a_port_that_is_taken_is_reported(service, server):
    """A port that is in use raises an OSError at the start."""
    with pytest.raises(OSError, match="in use"):
        service.serve(port=server.port)


def test_closing_twice_is_harmless(service):
    """`close` is idempotent, also together with `with`."""
    with service.serve() as server:
        server.close()
    server.close()
    assert "closed" in repr(server)


def test_closing_finishes_an_answer(service, client, entry):
    """Closing waits until a request that is being decided has its answer."""
    decided, go_on = threading.Event(), threading.Event()

    def slow(_):
        decided.set()
        return not go_on.wait(2)

    service.play(FailEntries("E", matching=slow))
    server = service.serve()
    body = json.dumps({"Entries": [entry()]}).encode()
    headers = {**client.signed(body), "Host": "127.0.0.1"}
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(requests.post, server.url, body, headers=headers, timeout=5)
        assert decided.wait(2)
        closing = pool.submit(server.close)
        time.sleep(0.05)
        go_on.set()
        assert answer.result().status_code == 200
        assert answer.result().headers["connection"] == "close"
        closing.result()
    assert threads_of(server) == []


def test_closing_does_not_wait_for_a_slow_answer(service, client, entry):
    """Closing gives up a slow answer, which is recorded as not delivered."""
    service.play(SlowAnswer(60))
    body = json.dumps({"Entries": [entry()]}).encode()
    headers = {**client.signed(body), "Host": "127.0.0.1"}
    server = service.serve()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(requests.post, server.url, body, headers=headers, timeout=5)
        while not service.request_count:
            time.sleep(0.01)
        started = time.monotonic()
        server.close()
        assert time.monotonic() - started < 30
        with pytest.raises(requests.ConnectionError):
            answer.result()
    assert not service.requests[0].answer_delivered
    assert service.accepted_count == 1


def test_two_servers_may_share_a_service(service, entry):
    """Two servers on two ports can share one service."""
    with service.serve() as one, service.serve() as two:
        assert one.url != two.url
        for server in (one, two):
            with boto3_client(service, server) as client:
                client.put_partner_events(Entries=[entry()])
    assert service.accepted_count == 2
