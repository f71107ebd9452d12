"""The HTTP calls with which tests in other languages, and the page, inspect the service."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbridge_partner import __version__
from eventbridge_partner.testing import (
    CloseConnection,
    FailEntries,
    FailRequest,
    FakeEventBridge,
    LimitRate,
    LoseAnswer,
    OddPage,
    RefuseRequestContaining,
    SlowAnswer,
    _server,
)
from eventbridge_partner.testing._fault_documents import fault_document, read_fault
from tests.patience import SOON

SOURCE = "aws.partner/example.com/acme/tickets"
ACCOUNT = "210987654321"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def server(service):
    with service.serve() as running:
        yield running


@pytest.fixture
def connection(server):
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    yield connection
    connection.close()


@pytest.fixture
def get(connection):
    def get(name, **query):
        connection.request("GET", f"/_control/{name}?{urlencode(query)}")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read(), parse_constant=pytest.fail)

    return get


@pytest.fixture
def post(connection):
    def post(name, document=None, **members):
        body = json.dumps(members if document is None else document)
        connection.request("POST", f"/_control/{name}", body, JSON)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read(), parse_constant=pytest.fail)

    return post


# Health and the list of events


def test_health_says_what_runs_and_counts(service, client, entry, get):
    """The health call gives the version, the Region and the counters."""
    client.put([entry(), entry(Detail="[]")])
    client.post(b"nonsense")
    status, health = get("health")
    assert status == 200
    assert health.pop("epoch")
    assert health == {
        "status": "ok",
        "version": __version__,
        "region": "us-east-1",
        "counters": {"requests": 2, "refused": 1, "entries": 2, "accepted": 1, "dropped": 0},
    }


def test_an_event_is_listed_whole(service, client, entry, get):
    """An event is listed as it was sent, as the customer's rule sees it, and with its request."""
    service.sources.create(SOURCE, ACCOUNT)
    service.sources.associate(SOURCE, ACCOUNT)
    service.play(SlowAnswer(0))
    client.put([entry(Detail='{"a":1}'), entry(Detail='{"price": 1.50, "name": "Ада"}', Time=0.5)])
    status, listed = get("events", after=1)
    assert status == 200
    assert listed["after"] == 2
    (event,) = listed["events"]
    accepted = service.accepted[1]
    assert event["customer_event"] == {
        "version": "0",
        "id": accepted.event_id,
        "detail-type": "ticket.created",
        "source": SOURCE,
        "account": ACCOUNT,
        "time": "1970-01-01T00:00:00Z",
        "region": "us-east-1",
        "resources": [],
        "detail": {"price": 1.5, "name": "Ада"},
    }
    assert event["entry_as_sent"] == entry(Detail='{"price": 1.50, "name": "Ада"}', Time=0.5)
    sent_in = event.pop("sent_in")
    assert (sent_in["operation"], sent_in["status"], sent_in["entries"]) == (
        "PutPartnerEvents",
        200,
        2,
    )
    assert sent_in["faults"] == ["SlowAnswer"]
    assert "authorization" not in sent_in["headers"]
    assert {name: event[name] for name in ("id", "request", "entry", "outcome", "code")} == {
        "id": 2,
        "request": 0,
        "entry": 1,
        "outcome": "accepted",
        "code": None,
    }


def test_details_are_listed_with_all_their_digits(client, entry, connection):
    """The text of a detail is listed unchanged."""
    detail = '{"price": 1.50, "far": 1E400, "name": "\\u0041"}'
    client.put([entry(Detail=detail)])
    connection.request("GET", "/_control/events")
    assert b'"detail": {"price": 1.50, "far": 1E400, "name": "\\u0041"}' in (
        connection.getresponse().read()
    )


def test_the_deepest_detail_is_listed(client, entry, connection):
    """A detail of 1,000 levels is listed, although the json module cannot read or write it."""
    detail = '{"a":' * 999 + "[]" + "}" * 999
    client.put([entry(Detail=detail)])
    connection.request("GET", "/_control/events")
    answer = connection.getresponse()
    assert answer.status == 200
    assert f'"detail": {detail}' in answer.read().decode()


@pytest.mark.parametrize(
    "body",
    [
        b'{"Entries": [{"Source": "a", "Detail": 5, "Time": 1e400, "More": [1e400]}]}',
        b'{"Entries": [{"\\ud800": "\\ud800", "Resources": {}}]}',
        b'{"Entries": [{"Source": ["x"], "DetailType": null}]}',
        (
            b'{"Entries": [{"Source": "aws.partner/a/b", "DetailType": "t", "Detail": "{}", '
            b'"Time": 1e300}]}'
        ),
    ],
)
def test_whatever_was_sent_is_listed_as_json(client, body, get):
    """Whatever was sent is listed as JSON; an event that a rule cannot see is null there."""
    client.post(body)
    status, listed = get("events")
    assert status == 200
    (event,) = listed["events"]
    assert event["customer_event"] is None


def test_each_outcome_has_a_name(service, client, entry, get, no_answer):
    """Each event has an outcome, and its code; an unreadable request counts for one event."""
    service.play(FailEntries("ThrottlingException", indexes=[1]))
    client.put([entry(), entry()])
    service.play(FailRequest("InternalFailure", 500))
    client.put([entry()])
    service.play(CloseConnection())
    with contextlib.suppress(no_answer):
        client.put([entry()])
    client.post(b"nonsense")
    service.sources.create(SOURCE, ACCOUNT)
    client.put([entry()])
    client.post(b"{}", X_Amz_Target="AWSEvents.ListPartnerEventSources")  # no event
    events = get("events")[1]["events"]
    assert [(event["outcome"], event["code"]) for event in events] == [
        ("accepted", None),
        ("failed", "ThrottlingException"),
        ("refused", "InternalFailure"),
        ("unanswered", None),
        ("refused", "SerializationException"),
        ("dropped", None),
    ]
    assert [event["id"] for event in events] == [1, 2, 3, 4, 5, 6]
    assert events[4]["entry"] is None
    assert events[5]["dropped_for"] == [ACCOUNT]


def test_a_list_continues_after_its_last_event(client, entry, get):
    """A list continues after the number of the last event."""
    client.put([entry()] * 5)
    first = get("events", limit=3)[1]
    assert [event["id"] for event in first["events"]] == [1, 2, 3]
    rest = get("events", after=first["after"])[1]
    assert [event["id"] for event in rest["events"]] == [4, 5]
    assert get("events", after=rest["after"])[1]["events"] == []


def test_large_details_are_listed_in_parts(client, entry, get):
    """Large details take several answers, so that none grows without bound."""
    for _ in range(12):
        client.put([entry(Detail='{"a": "%s"}' % ("x" * 1_000_000))])
    seen, after = [], 0
    while events := get("events", after=after)[1]["events"]:
        assert len(events) < 12
        seen += [event["id"] for event in events]
        after = seen[-1]
    assert seen == list(range(1, 13))


def test_only_what_is_remembered_is_listed(entry, client_of):
    """The oldest records go first, by number and by the memory that they take."""
    service = FakeEventBridge(keep=3)
    client = client_of(service)
    for _ in range(5):
        client.put([entry(), entry()])
    assert [record.first_event for record in service.recent(0).requests] == [5, 7, 9]
    service = FakeEventBridge(keep_bytes=100_000)
    client = client_of(service)
    for _ in range(20):
        client.put([entry(Detail='{"a": "%s"}' % ("x" * 10_000))])
    assert 5 <= len(service.requests) <= 10
    assert len(service.accepted) == len(service.requests)
    assert service.accepted_count == 20
    client.put([entry(Detail='{"a": "%s"}' % ("x" * 500_000))])
    assert len(service.requests) == 1  # the newest, whatever its size


def test_forgetting_starts_a_new_epoch(service, client, entry, get, post):
    """After `forget`, numbers continue, so that new events are not taken for old ones."""
    client.put([entry()])
    before = get("health")[1]["epoch"]
    status, health = post("forget")
    assert status == 200
    assert health["epoch"] != before
    assert health["counters"]["entries"] == 0
    client.put([entry()])
    assert [event["id"] for event in get("events")[1]["events"]] == [2]


# Patterns


def test_patterns_are_matched_against_accepted_events(service, client, entry, post):
    """A match lists the numbers of matching events, and how many were compared."""
    client.put([entry(Detail=json.dumps({"n": n})) for n in range(5)] + [entry(Detail="[]")])
    pattern = {"detail": {"n": [{"numeric": [">", 2]}]}}
    assert post("match", pattern=pattern) == (
        200,
        {"matching": [4, 5], "compared": 5, "after": 6},
    )
    assert post("match", pattern=json.dumps(pattern), after=4)[1]["matching"] == [5]


def test_a_miss_is_explained(client, entry, post):
    """A miss is explained for a recorded event; an envelope of the caller's can be matched too."""
    client.put([entry(Detail='{"n": 1}')])
    status, found = post("match", pattern={"detail": {"n": [2]}}, event=1)
    assert (status, found["matches"]) == (200, False)
    assert found["mismatches"] == [{"path": "detail.n", "wanted": "[2]", "found": "1"}]
    assert post("match", pattern={"a": [1]}, envelope={"a": 1})[1]["matches"] is True


def test_an_invalid_pattern_is_refused_with_its_place(post):
    """An invalid pattern gets status 400, with its place and the reason."""
    status, found = post("match", pattern={"a": [{"x": 1}]})
    assert status == 400
    assert found["path"] == "a"
    assert "allowed: anything-but" in found["reason"]


# Resending


def test_an_event_is_resent_as_a_new_one(service, client, entry, post):
    """An event is resent without a signature, and also if it failed; faults play on it."""
    service.play(FailEntries("InternalFailure", times=2))
    client.put([entry(Detail='{"n": 1}', Resources=["r"], Time=7)])
    assert post("resend", event=1) == (200, {"request": 1, "status": 200})
    assert post("resend", event=2)[0] == 200
    (accepted,) = service.accepted
    assert (accepted.detail, accepted.resources, accepted.time) == ('{"n": 1}', ("r",), 7)
    assert [record.entry_count for record in service.requests] == [1, 1, 1]


def test_what_cannot_be_resent(client, post):
    """An event that does not exist, or whose request was unreadable, cannot be resent."""
    client.post(b"nonsense")
    assert post("resend", event=1)[0] == 409
    for number in (0, 2, -1, "1", None, 1.5, True, 2**70):
        assert post("resend", event=number)[0] == 404


# Faults

FAULTS = [
    FailEntries("X", "why", indexes=[2, 0], entry_share=0.5, times=3, after=1, share=0.25),
    FailRequest("X", 503, headers={"x-amz-retry-after": "100"}, form="header", times=None),
    LimitRate(40, burst=10, unit="entries"),
    OddPage("empty-page", operations=["ListPartnerEventSources"]),
    LoseAnswer(),
    SlowAnswer(0.25, times=None),
]


def test_faults_are_played_over_http(service, client, entry, get, post):
    """Faults are played by the names and members of their classes."""
    documents = [{"fault": "FailEntries", "code": "X"}, {"fault": "LoseAnswer", "times": 2}]
    status, found = post("faults", play=documents)
    assert status == 200
    assert found["faults"] == [*documents[:1], {"fault": "LoseAnswer", "times": 2}]
    assert service.faults == (FailEntries("X"), LoseAnswer(times=2))
    assert client.put([entry()])["Entries"][0]["ErrorCode"] == "X"
    assert get("faults")[1]["faults"] == documents[1:]
    assert post("faults", clear=True)[1]["faults"] == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_fault_survives_its_document(fault):
    """A fault is the same after being written as a document and read again."""
    document = json.loads(json.dumps(fault_document(fault)))
    assert read_fault(document) == fault


def test_standing_conditions_have_one_number_each(service, get, post):
    """Setting one condition leaves the others, and the program's own faults, as they are."""
    poison = RefuseRequestContaining(lambda entry: False)
    service.play(poison)
    assert post("faults", standing={"throttle": 0.3, "slow": 1.5})[0] == 200
    assert get("faults")[1]["standing"] == {"throttle": 0.3, "fail": 0, "lose": 0, "slow": 1.5}
    assert post("faults", standing={"throttle": 0, "lose": 1})[1]["standing"] == {
        "throttle": 0,
        "fail": 0,
        "lose": 1,
        "slow": 1.5,
    }
    assert service.faults == (poison, SlowAnswer(1.5, times=None), LoseAnswer(times=None))


@pytest.mark.parametrize(
    "document",
    [
        {"fault": "FailEntries"},
        {"fault": "Poison"},
        {"fault": ["FailEntries"]},
        {"fault": "RefuseRequestContaining", "poison": "x"},
        {"code": "X"},
        "FailEntries",
        {"fault": "FailEntries", "code": 5},
        {"fault": "FailEntries", "code": "X", "matching": "x"},
        {"fault": "FailEntries", "code": "X", "times": 0},
        {"fault": "FailEntries", "code": "X", "times": True},
        {"fault": "FailEntries", "code": "X", "times": 1.5},
        {"fault": "FailEntries", "code": "X", "share": 2},
        {"fault": "FailEntries", "code": "X", "indexes": [0.5]},
        {"fault": "FailEntries", "code": "X", "operations": ["Buy"]},
        {"fault": "FailRequest", "code": "X", "status": 99},
        {"fault": "FailRequest", "code": "X", "form": "csv"},
        {"fault": "FailRequest", "code": "X", "headers": {"a": "b\r\nc: d"}},
        {"fault": "FailRequest", "code": "X", "headers": {"a b": "c"}},
        {"fault": "FailRequest", "code": "X\n"},
        {"fault": "SlowAnswer", "seconds": -1},
        {"fault": "GarbleAnswer", "body": "x"},
    ],
    ids=json.dumps,
)
def test_an_invalid_fault(service, post, document):
    """An invalid fault is refused, and nothing is played, not even the good one beside it."""
    status, found = post("faults", play=[{"fault": "LoseAnswer"}, document])
    assert status == 400
    assert found["message"]
    assert service.faults == ()


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("faults", {"standing": {"throttle": 2}}),
        ("faults", {"standing": {"slow": True}}),
        ("faults", {"standing": {"speed": 1}}),
        ("faults", {"standing": []}),
        ("faults", {"play": {}}),
        ("faults", {"clear": 1}),
        ("faults", {"reset": True}),
        ("forget", {"all": True}),
        ("forget", []),
        ("match", {}),
        ("match", {"pattern": 5}),
        ("match", {"pattern": {"a": [1]}, "envelope": 5}),
        ("match", {"pattern": {"a": [1]}, "after": "x"}),
        ("match", {"pattern": {"a": [1]}, "of": 1}),
        ("resend", {"event": 1, "times": 2}),
    ],
    ids=str,
)
def test_wrong_calls_say_what_is_allowed(post, name, document):
    """A wrong call gets status 400 and a message."""
    status, found = post(name, document)
    assert status == 400
    assert found["message"]


def test_faults_over_http_are_bounded(post):
    """A thousand faults can be waiting, so that a script in a loop does not fill the memory."""
    assert post("faults", play=[{"fault": "LoseAnswer"}] * 1000)[0] == 200
    assert post("faults", play=[{"fault": "LoseAnswer"}])[0] == 409


@pytest.mark.parametrize(
    "query", ["after=x", "after=-1", "limit=0", "limit=10001", "limit=", "a=1&" * 20]
)
def test_a_wrong_query_is_refused(connection, query):
    """An invalid query gets status 400; an empty value is ignored."""
    connection.request("GET", f"/_control/events?{query}")
    answer = connection.getresponse()
    assert answer.status == (200 if query == "limit=" else 400)
    answer.read()


@pytest.mark.parametrize(
    ("method", "name", "status"),
    [
        ("POST", "health", 405),
        ("GET", "forget", 405),
        ("DELETE", "faults", 405),
        ("GET", "", 404),
        ("GET", "sources/associate", 405),
        ("POST", "stream", 404),
    ],
)
def test_methods_and_names(connection, method, name, status):
    """A wrong method or name is refused, and the message says what is allowed."""
    connection.request(method, f"/_control/{name}", "{}" if method == "POST" else None, JSON)
    answer = connection.getresponse()
    assert answer.status == status
    assert "allowed" in json.loads(answer.read())["message"]


def test_sources_are_listed_with_what_their_customers_can_do(service, get):
    """A source is listed with the actions that its state allows."""
    service.sources.create(SOURCE, ACCOUNT)
    assert get("sources")[1]["sources"] == [
        {
            "name": SOURCE,
            "account": ACCOUNT,
            "state": "PENDING",
            "has_bus": False,
            "expires_at": pytest.approx(service.sources.get(SOURCE, ACCOUNT).expires_at),
            "actions": ["associate", "expire"],
        }
    ]


@pytest.mark.parametrize("path", ["health", "events", "stream", "sources", "faults"])
@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}],
    ids=str,
)
def test_other_sites_read_nothing(connection, path, headers):
    """Reads are guarded as writes are."""
    connection.request("GET", f"/_control/{path}", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 403
    answer.read()


def test_answers_are_not_scripts(connection):
    """Answers cannot be sniffed as another type, cached, or run as a page."""
    connection.request("GET", "/_control/health")
    answer = connection.getresponse()
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    answer.read()


# The stream


class Reader:
    """Reads server-sent events from a socket."""

    def __init__(self, server, last_id=""):
        self.socket = socket.create_connection((server.host, server.port), timeout=10)
        head = f"GET /_control/stream HTTP/1.1\r\nHost: {server.host}:{server.port}\r\n"
        if last_id:
            head += f"Last-Event-ID: {last_id}\r\n"
        self.socket.sendall(f"{head}\r\n".encode())
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        while self.file.readline().strip():
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def next(self, kind="events"):
        """Return the next message of a kind, with its id."""
        while True:
            fields = {}
            while line := self.file.readline().decode().rstrip("\n"):
                name, _, value = line.partition(": ")
                fields[name] = value
            if not fields:
                raise EOFError
            if fields.get("event") == kind:
                return json.loads(fields["data"]), fields.get("id")


def test_a_stream_sends_past_and_new_events(server, service, client, entry):
    """A stream sends past and new events in batches, with counters and a cursor to resume from."""
    client.put([entry(), entry()])
    with Reader(server) as reader:
        hello, _ = reader.next("hello")
        assert hello["region"] == "us-east-1"
        batch, identity = reader.next()
        assert [event["id"] for event in batch["events"]] == [1, 2]
        assert batch["counters"]["accepted"] == 2
        assert identity == f"{hello['epoch']}-2"
        client.put([entry()])
        batch, _ = reader.next()
        assert [event["id"] for event in batch["events"]] == [3]


def test_a_reader_resumes(server, client, entry):
    """A reader resumes by the `Last-Event-ID` that browsers send."""
    client.put([entry()])
    with Reader(server) as reader:
        _, identity = reader.next()
    client.put([entry()])
    with Reader(server, identity) as reader:
        batch, _ = reader.next()
        assert [event["id"] for event in batch["events"]] == [2]


def test_a_reader_of_another_epoch_starts_over(server, service, client, entry):
    """A reader starts over after `forget`, and after a restart of the service."""
    client.put([entry()])
    with Reader(server, "00000000-999") as reader:
        assert reader.next("hello")[0]["after"] == 0
        assert len(reader.next()[0]["events"]) == 1
        service.forget()
        assert reader.next("hello")[0]["after"] == 0
        client.put([entry()])
        events = []
        while not events:
            events = reader.next()[0]["events"]
        assert [event["id"] for event in events] == [2]


@pytest.mark.parametrize("identity", ["x", "-", "a-b", "a-" + "9" * 5000, "a--1"])
def test_an_odd_cursor_is_none(server, identity):
    """An invalid cursor counts as none."""
    with Reader(server, identity) as reader:
        assert reader.next("hello")[0]["after"] == 0


def test_a_stream_tells_of_sources_and_faults(server, service):
    """A stream sends the sources and faults whenever they change."""
    with Reader(server) as reader:
        assert reader.next("state")[0]["sources"] == []
        service.sources.create(SOURCE, ACCOUNT)
        assert reader.next("state")[0]["sources"][0]["state"] == "PENDING"
        service.play(SlowAnswer(1, times=None))
        assert reader.next("state")[0]["standing"]["slow"] == 1


def test_readers_are_limited(server):
    """Readers beyond the limit are refused; one that leaves makes room at once."""
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Reader(server)) for _ in range(_server.MOST_STREAMS)]
        for reader in readers:
            reader.next("hello")
        with Reader(server) as refused:
            assert refused.status == 503
        readers[0].__exit__()
        while True:
            with Reader(server) as another:
                if another.status == 200:
                    break


def test_a_reader_that_does_not_read_is_dropped(server, service, client, entry, get, monkeypatch):
    """A reader that does not read is dropped, its thread ends, and the server goes on."""
    monkeypatch.setattr(_server, "SLOW_SECONDS", 0.2)
    before = set(threading.enumerate())
    with Reader(server) as reader:
        reader.next("hello")
        (its_thread,) = set(threading.enumerate()) - before
        for _ in range(200):
            client.put([entry(Detail='{"a": "%s"}' % ("x" * 2000))] * 20)
        its_thread.join(SOON)
        assert not its_thread.is_alive()
        status, _ = get("health")
        assert status == 200


def test_closing_the_server_ends_its_streams(service):
    """Closing the server ends its streams without waiting for their readers."""
    server = service.serve()
    with Reader(server) as reader:
        reader.next("hello")
        server.close()
        with pytest.raises(EOFError):
            reader.next("never")


@given(
    body=st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "pattern",
                        "event",
                        "after",
                        "play",
                        "standing",
                        "clear",
                        "envelope",
                        "fault",
                        "times",
                        "code",
                        "throttle",
                        "a",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=10,
    ).map(lambda document: json.dumps(document).encode()),
    name=st.sampled_from(["faults", "forget", "match", "resend", "sources/expire"]),
)
def test_whatever_is_posted_has_an_answer(service, client, entry, connection, body, name):
    """Whatever is posted gets an answer in JSON, with a status that says whose fault it was."""
    client.put([entry()])
    connection.request("POST", f"/_control/{name}", body, JSON)
    answer = connection.getresponse()
    assert answer.status in (200, 400, 404, 409)
    assert json.loads(answer.read())
    service.clear_faults()
