"""Partner event sources at the local service: boto3 as the partner, Python as the customer."""

from __future__ import annotations

import base64
import datetime
import itertools
import json
from collections.abc import Iterator
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from eventbridge_partner.testing import (
    SOURCE_OPERATIONS,
    FailEntries,
    FailRequest,
    FakeEventBridge,
    GarbleAnswer,
    LimitRate,
    LoseAnswer,
    OddPage,
    WrongLength,
)

PREFIX = "aws.partner/example.com"
NAME = f"{PREFIX}/acme/tickets"
ACCOUNT = "123456789012"
OTHER = "210987654321"
DAY = 24 * 3600.0


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.25

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(clock: Clock) -> FakeEventBridge:
    return FakeEventBridge(clock=clock, verify_signatures=False)


@pytest.fixture
def partner(service: FakeEventBridge) -> Iterator[Any]:
    """AWS's own client over HTTP, which sends each request once."""
    with service.serve() as server:
        client = boto3.client(
            "events",
            region_name=service.region,
            endpoint_url=server.url,
            aws_access_key_id=service.credentials.access_key,
            aws_secret_access_key=service.credentials.secret_key,
            config=Config(retries={"total_max_attempts": 1}),
        )
        yield client
        client.close()


def refused(call: Any, **members: Any) -> str:
    """Return the error code with which a call is refused."""
    with pytest.raises(ClientError) as refusal:
        call(**members)
    return str(refusal.value.response["Error"]["Code"])


def put(partner: Any, *names: str) -> list[str]:
    """Send an event of each source; return the error codes, empty for those accepted."""
    entries = [{"Source": name, "DetailType": "t", "Detail": "{}"} for name in names]
    return [
        result.get("ErrorCode", "")
        for result in partner.put_partner_events(Entries=entries)["Entries"]
    ]


def state(partner: Any, name: str = NAME) -> str:
    (account,) = partner.list_partner_event_source_accounts(EventSourceName=name)[
        "PartnerEventSourceAccounts"
    ]
    return str(account["State"])


def pages(partner: Any, **members: Any) -> Iterator[dict[str, Any]]:
    """List sources page by page, as the API reference describes."""
    while True:
        page = partner.list_partner_event_sources(NamePrefix=PREFIX, **members)
        yield page
        if not page.get("NextToken"):
            return
        members["NextToken"] = page["NextToken"]


def listed(page: dict[str, Any]) -> list[str]:
    return [source["Name"] for source in page["PartnerEventSources"]]


# The life of a source


def test_a_created_source_is_pending(partner, clock):
    """A created source has an ARN, is described and listed, and expires after two weeks."""
    arn = f"arn:aws:events:us-east-1::event-source/{NAME}"
    created = partner.create_partner_event_source(Name=NAME, Account=ACCOUNT)
    assert created["EventSourceArn"] == arn
    described = partner.describe_partner_event_source(Name=NAME)
    assert (described["Name"], described["Arn"]) == (NAME, arn)
    listing = partner.list_partner_event_sources(NamePrefix=PREFIX)
    assert listing["PartnerEventSources"] == [{"Name": NAME, "Arn": arn}]
    accounts = partner.list_partner_event_source_accounts(EventSourceName=NAME)
    (account,) = accounts["PartnerEventSourceAccounts"]
    now = datetime.datetime.fromtimestamp(clock.now, datetime.UTC)
    assert account == {
        "Account": ACCOUNT,
        "CreationTime": now,
        "ExpirationTime": now + datetime.timedelta(days=14),
        "State": "PENDING",
    }


@pytest.mark.parametrize(
    ("region", "partition"),
    [("eu-west-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")],
)
def test_arns_name_partition_and_region(region, partition):
    """A source's ARN names the partition and the Region, but no account: it belongs to two."""
    source = FakeEventBridge(region).sources.create(NAME, ACCOUNT)
    assert source.arn == f"arn:{partition}:events:{region}::event-source/{NAME}"


def test_each_account_has_the_source_once(service, partner):
    """A second source for the same account is refused; one for another account is created."""
    partner.create_partner_event_source(Name=NAME, Account=OTHER)
    partner.create_partner_event_source(Name=NAME, Account=ACCOUNT)
    again = refused(partner.create_partner_event_source, Name=NAME, Account=ACCOUNT)
    assert again == "ResourceAlreadyExistsException"
    accounts = partner.list_partner_event_source_accounts(EventSourceName=NAME)
    assert [held["Account"] for held in accounts["PartnerEventSourceAccounts"]] == [ACCOUNT, OTHER]
    assert len(service.sources) == 2
    assert [source.account for source in service.sources] == [ACCOUNT, OTHER]
    assert len(partner.list_partner_event_sources(NamePrefix=PREFIX)["PartnerEventSources"]) == 1


def test_what_the_customer_does_moves_the_state(service, partner, clock):
    """An associated source is ACTIVE and does not expire; deactivated or without a bus it does."""
    partner.create_partner_event_source(Name=NAME, Account=ACCOUNT)
    clock.now += DAY
    assert service.sources.associate(NAME, ACCOUNT).expires_at is None
    assert state(partner) == "ACTIVE"
    accounts = partner.list_partner_event_source_accounts(EventSourceName=NAME)
    assert "ExpirationTime" not in accounts["PartnerEventSourceAccounts"][0]
    deactivated = service.sources.deactivate(NAME, ACCOUNT)
    assert (state(partner), deactivated.expires_at) == ("PENDING", clock.now + 14 * DAY)
    assert service.sources.activate(NAME, ACCOUNT).state == state(partner) == "ACTIVE"
    service.sources.deactivate(NAME, ACCOUNT)
    clock.now += DAY
    without_bus = service.sources.delete_bus(NAME, ACCOUNT)
    assert without_bus is not None
    assert not without_bus.has_bus
    assert without_bus.expires_at == clock.now + 13 * DAY
    service.sources.associate(NAME, ACCOUNT)
    assert service.sources.delete_bus(NAME, ACCOUNT) is not None
    assert state(partner) == "PENDING"


def test_a_deleted_source_without_bus_is_gone(service, partner):
    """Nothing is left of a deleted source without a bus, and its name can be used again."""
    partner.create_partner_event_source(Name=NAME, Account=ACCOUNT)
    partner.delete_partner_event_source(Name=NAME, Account=ACCOUNT)
    assert service.sources.get(NAME, ACCOUNT) is None
    assert len(service.sources) == 0
    gone = "ResourceNotFoundException"
    assert refused(partner.describe_partner_event_source, Name=NAME) == gone
    assert refused(partner.list_partner_event_source_accounts, EventSourceName=NAME) == gone
    assert partner.list_partner_event_sources(NamePrefix=PREFIX)["PartnerEventSources"] == []
    partner.create_partner_event_source(Name=NAME, Account=ACCOUNT)
    assert state(partner) == "PENDING"


def test_a_deleted_source_with_a_bus_is_deleted(service, partner):
    """A deleted source with a bus is shown as DELETED until the customer deletes the bus."""
    for name in (NAME, f"{NAME}-2"):
        partner.create_partner_event_source(Name=name, Account=ACCOUNT)
        service.sources.associate(name, ACCOUNT)
        partner.delete_partner_event_source(Name=name, Account=ACCOUNT)
        partner.delete_partner_event_source(Name=name, Account=ACCOUNT)
        assert state(partner, name) == "DELETED"
    assert service.sources.delete_bus(NAME, ACCOUNT) is None
    assert [source.name for source in service.sources] == [f"{NAME}-2"]
    partner.create_partner_event_source(Name=f"{NAME}-2", Account=ACCOUNT)
    assert state(partner, f"{NAME}-2") == "PENDING"


def test_deleting_what_is_not_there_succeeds(partner):
    """Deleting a source that does not exist succeeds: the model lists no error for it."""
    answer = partner.delete_partner_event_source(Name=NAME, Account=ACCOUNT)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_pending_sources_expire(service, partner, clock):
    """After two weeks, a source without a bus is gone, and a deactivated one is DELETED."""
    for name in (NAME, f"{NAME}-2"):
        service.sources.create(name, ACCOUNT)
    service.sources.associate(f"{NAME}-2", ACCOUNT)
    service.sources.deactivate(f"{NAME}-2", ACCOUNT)
    clock.now += 14 * DAY - 1
    assert put(partner, NAME, f"{NAME}-2") == ["", ""]
    clock.now += 1
    assert put(partner, NAME, f"{NAME}-2") == ["ResourceNotFoundException"] * 2
    assert state(partner, f"{NAME}-2") == "DELETED"
    assert [listed(page) for page in pages(partner)] == [[f"{NAME}-2"]]


def test_how_long_sources_stay_pending_is_a_setting(clock):
    """The expiry is a setting: the onboarding guide says 7 days, the API reference two weeks."""
    service = FakeEventBridge(clock=clock, pending_seconds=7 * DAY)
    assert service.sources.create(NAME, ACCOUNT).expires_at == clock.now + 7 * DAY


@pytest.mark.parametrize(
    ("before", "allowed"),
    [
        ([], {"associate", "expire"}),
        (["associate"], {"deactivate", "delete_bus"}),
        (["associate", "deactivate"], {"activate", "delete_bus", "expire"}),
        (["associate", "deactivate", "expire"], {"delete_bus"}),
        (["associate", "delete_bus"], {"associate", "expire"}),
    ],
)
@pytest.mark.parametrize("action", ["associate", "deactivate", "activate", "delete_bus", "expire"])
def test_customers_can_do_only_what_the_state_allows(service, before, allowed, action):
    """Any other action raises a ValueError that names the state, and changes nothing."""
    service.sources.create(NAME, ACCOUNT)
    for earlier in before:
        getattr(service.sources, earlier)(NAME, ACCOUNT)
    was = service.sources.get(NAME, ACCOUNT)
    if action in allowed:
        assert getattr(service.sources, action)(NAME, ACCOUNT) != was
    else:
        with pytest.raises(ValueError, match=rf"cannot .*{NAME} of account {ACCOUNT}, {was.state}"):
            getattr(service.sources, action)(NAME, ACCOUNT)
        assert service.sources.get(NAME, ACCOUNT) == was


def test_a_source_that_does_not_exist(service):
    """A wrong account, an unknown action, or a second creation raises an error."""
    service.sources.create(NAME, ACCOUNT)
    with pytest.raises(LookupError, match=f"no source {NAME} of account {OTHER}"):
        service.sources.associate(NAME, OTHER)
    with pytest.raises(ValueError, match="action is 'buy'; allowed: associate, "):
        service.sources.act("buy", NAME, ACCOUNT)
    with pytest.raises(ValueError, match="PENDING without a bus exists already"):
        service.sources.create(NAME, ACCOUNT)
    assert repr(service.sources) == "<LocalSources us-east-1: 1 sources>"


# What becomes of events


def test_any_source_is_accepted_until_one_is_created(service, partner):
    """Any source is accepted until one is created; from then on, only existing ones are."""
    assert put(partner, NAME) == [""]
    assert service.accepted[0].dropped_for == ()
    assert not service.sources.only_known
    assert service.sources.dropped_for(NAME) == ()
    partner.create_partner_event_source(Name=f"{NAME}-2", Account=ACCOUNT)
    assert put(partner, NAME) == ["ResourceNotFoundException"]
    partner.delete_partner_event_source(Name=f"{NAME}-2", Account=ACCOUNT)
    assert put(partner, NAME) == ["ResourceNotFoundException"]


def test_only_known_sources_from_the_start():
    """`only_known_sources` rejects unknown sources before any was created."""
    service = FakeEventBridge(only_known_sources=True)
    assert service.sources.only_known
    assert service.sources.dropped_for(NAME) is None


def test_pending_accepts_and_drops(service, partner):
    """A PENDING source answers like an ACTIVE one; only the record shows the drop."""
    active, pending = NAME, f"{NAME}-2"
    for name in (active, pending):
        service.sources.create(name, ACCOUNT)
    service.sources.associate(active, ACCOUNT)
    entries = [{"Source": n, "DetailType": "t", "Detail": "{}"} for n in (active, pending)]
    answer = partner.put_partner_events(Entries=entries)
    assert answer["FailedEntryCount"] == 0
    assert [set(result) for result in answer["Entries"]] == [{"EventId"}] * 2
    assert [entry.dropped_for for entry in service.accepted] == [(), (ACCOUNT,)]
    assert [result.dropped_for for result in service.requests[0].results] == [(), (ACCOUNT,)]


def test_an_event_is_dropped_for_some_of_the_accounts(service, partner):
    """One name can be ACTIVE for one customer and PENDING for another."""
    service.sources.create(NAME, ACCOUNT)
    service.sources.create(NAME, OTHER)
    service.sources.associate(NAME, OTHER)
    assert put(partner, NAME) == [""]
    assert service.accepted[0].dropped_for == (ACCOUNT,)
    service.sources.associate(NAME, ACCOUNT)
    partner.delete_partner_event_source(Name=NAME, Account=ACCOUNT)
    assert put(partner, NAME) == [""]
    assert service.accepted[1].dropped_for == ()


def test_gone_sources_reject_their_entries_alone(service, partner):
    """Entries of nonexistent and DELETED sources fail; their neighbours are accepted."""
    for name in (NAME, f"{NAME}-2"):
        service.sources.create(name, ACCOUNT)
        service.sources.associate(name, ACCOUNT)
    service.sources.delete(f"{NAME}-2", ACCOUNT)
    gone = "ResourceNotFoundException"
    assert put(partner, NAME, f"{NAME}-2", f"{NAME}-3") == ["", gone, gone]
    assert service.requests[0].results[1].error_message == "Event Bus Not Found"


def test_entries_without_a_source(client_of, service, entry):
    """An entry without a source fails for that, whatever sources exist."""
    service.sources.create(NAME, ACCOUNT)
    answer = client_of(service).put([entry(Source=None), entry(Source=NAME)])
    assert [result.get("ErrorCode") for result in answer["Entries"]] == ["InvalidArgument", None]


def test_faults_fail_entries_of_known_sources(service, partner):
    """An entry that a fault fails is not dropped as well."""
    service.sources.create(NAME, ACCOUNT)
    service.play(FailEntries("InternalFailure"))
    assert put(partner, NAME) == ["InternalFailure"]
    assert service.requests[0].results[0].dropped_for == ()


# Lists


def fill(service: FakeEventBridge, count: int) -> list[str]:
    names = [f"{PREFIX}/acme/{number:03}" for number in range(count)]
    for name in reversed(names):
        service.sources.create(name, ACCOUNT)
    return names


def test_lists_come_in_pages(service, partner):
    """250 sources take three pages of at most 100; all but the last have their own token."""
    names = fill(service, 250)
    found = list(pages(partner))
    assert [len(listed(page)) for page in found] == [100, 100, 50]
    assert [name for page in found for name in listed(page)] == names
    tokens = [page.get("NextToken") for page in found]
    assert len(set(tokens)) == 3
    assert tokens[-1] is None


def test_the_limit_makes_pages_smaller(clock):
    """`Limit` can make pages smaller than the service's own size, but not larger."""
    service = FakeEventBridge(clock=clock, verify_signatures=False, page_size=3)
    fill(service, 10)
    with service.serve() as server:
        client = boto3.client(
            "events",
            service.region,
            endpoint_url=server.url,
            aws_access_key_id="x",
            aws_secret_access_key="x",
        )
        assert [len(listed(page)) for page in pages(client, Limit=2)] == [2] * 5
        assert [len(listed(page)) for page in pages(client, Limit=50)] == [3, 3, 3, 1]
        client.close()


def test_lists_are_of_a_prefix(service, partner):
    """A prefix is plain text, and may end in the middle of a word."""
    fill(service, 12)
    found = partner.list_partner_event_sources(NamePrefix=f"{PREFIX}/acme/00")
    assert len(listed(found)) == 10
    assert listed(partner.list_partner_event_sources(NamePrefix="aws.partner/other.example")) == []


def test_accounts_come_in_pages(service, partner):
    """The accounts of a source are listed in pages too."""
    accounts = [f"{number:012}" for number in range(5)]
    for account in accounts:
        service.sources.create(NAME, account)
    call = partner.list_partner_event_source_accounts
    first = call(EventSourceName=NAME, Limit=3)
    second = call(EventSourceName=NAME, Limit=3, NextToken=first["NextToken"])
    found = first["PartnerEventSourceAccounts"] + second["PartnerEventSourceAccounts"]
    assert [held["Account"] for held in found] == accounts
    assert "NextToken" not in second


def test_a_deletion_between_pages_moves_nothing_else(service, partner):
    """A source deleted between pages causes no other to be listed twice or left out."""
    names = fill(service, 6)
    first = partner.list_partner_event_sources(NamePrefix=PREFIX, Limit=3)
    service.sources.delete(names[0], ACCOUNT)
    second = partner.list_partner_event_sources(NamePrefix=PREFIX, NextToken=first["NextToken"])
    assert listed(first) + listed(second) == names


@pytest.mark.parametrize(
    "token",
    [
        *("x", "!", "W10=", "NQ==", "é", "bnVsbA=="),
        base64.b64encode(json.dumps(["ListPartnerEventSources", PREFIX, 5, ""]).encode()).decode(),
    ],
)
def test_tokens_that_the_service_did_not_give(service, partner, token):
    """A token that the service did not give is refused."""
    fill(service, 1)
    call = partner.list_partner_event_sources
    assert refused(call, NamePrefix=PREFIX, NextToken=token) == "InvalidToken"


def test_tokens_belong_to_their_list(service, partner):
    """A token is refused for another list, or with another prefix."""
    fill(service, 2)
    token = partner.list_partner_event_sources(NamePrefix=PREFIX, Limit=1)["NextToken"]
    other = refused(
        partner.list_partner_event_sources, NamePrefix="aws.partner/example", NextToken=token
    )
    name = f"{PREFIX}/acme/000"
    service.sources.create(f"{name}-2", ACCOUNT)
    token = partner.list_partner_event_sources(NamePrefix=name, Limit=1)["NextToken"]
    accounts = refused(
        partner.list_partner_event_source_accounts, EventSourceName=name, NextToken=token
    )
    assert other == accounts == "InvalidToken"


@pytest.mark.parametrize(
    ("kind", "lengths", "hit"),
    [
        ("repeated-token", [2, 2, 2, 1], 1),
        ("empty-page", [0, 2, 2, 1], 0),
        ("extra-page", [2, 2, 1, 0], 2),
        ("empty-token", [2, 2, 1], 2),
        ("null-token", [2, 2, 1], 2),
    ],
)
def test_odd_pages_lead_to_every_source(service, partner, kind, lengths, hit):
    """Whoever follows the tokens finds every source, however odd a page is."""
    names = fill(service, 5)
    service.play(OddPage(kind))
    found = list(pages(partner, Limit=2))
    assert [len(listed(page)) for page in found] == lengths
    assert list(dict.fromkeys(name for page in found for name in listed(page))) == names
    assert [place for place, request in enumerate(service.requests) if request.faults] == [hit]
    tokens = [page.get("NextToken") for page in found]
    if kind == "repeated-token":
        assert tokens[0] == tokens[1] != tokens[2]
    elif kind == "empty-token":
        assert tokens[-1] == ""
    else:
        assert len(set(tokens)) == len(tokens)


def test_empty_pages_have_tokens_of_their_own(service, partner):
    """An empty page has another token than the one that led to it."""
    fill(service, 5)
    service.play(OddPage("empty-page", after=1, times=2))
    found = list(pages(partner, Limit=3))
    assert [len(listed(page)) for page in found] == [3, 0, 0, 2]
    assert len({page.get("NextToken") for page in found}) == 4


@pytest.mark.parametrize("kind", ["empty-page", "repeated-token", "expired-token"])
def test_odd_pages_wait_for_a_list(service, partner, kind):
    """An odd page waits for a list, and does not hold back other faults."""
    service.play(OddPage(kind), FailRequest("InternalException", 500))
    with pytest.raises(partner.exceptions.InternalException):
        partner.create_partner_event_source(Name=NAME, Account=ACCOUNT)


def test_null_tokens_are_on_the_wire(client_of, service):
    """A null token is sent as null, which boto3 does not tell from none."""
    fill(service, 1)
    service.play(OddPage("null-token"))
    target = "AWSEvents.ListPartnerEventSources"
    body = json.dumps({"NamePrefix": PREFIX, "NextToken": None, "Limit": None}).encode()
    first, second = (client_of(service).post(body, X_Amz_Target=target) for _ in range(2))
    assert first["NextToken"] is None
    assert "NextToken" not in second


def test_expired_tokens(service, partner):
    """An expired token gets a 400 `InvalidToken` once, and is valid again afterwards."""
    fill(service, 3)
    service.play(OddPage("expired-token"))
    first = partner.list_partner_event_sources(NamePrefix=PREFIX, Limit=2)
    go_on = {"NamePrefix": PREFIX, "NextToken": first["NextToken"]}
    assert refused(partner.list_partner_event_sources, **go_on) == "InvalidToken"
    assert len(listed(partner.list_partner_event_sources(**go_on))) == 1


# Faults and quotas


def test_all_source_operations_share_a_quota(service, partner, clock):
    """All source operations share 50 requests a second; events do not count."""
    service.play(LimitRate(50, operations=SOURCE_OPERATIONS))
    calls = itertools.cycle(
        [
            lambda: partner.create_partner_event_source(Name=NAME, Account=ACCOUNT),
            lambda: partner.describe_partner_event_source(Name=NAME),
            lambda: partner.list_partner_event_sources(NamePrefix=PREFIX),
            lambda: partner.list_partner_event_source_accounts(EventSourceName=NAME),
            lambda: partner.delete_partner_event_source(Name=NAME, Account=ACCOUNT),
        ]
    )
    for _ in range(50):
        next(calls)()
    for _ in range(5):
        assert refused(next(calls)) == "ThrottlingException"
    assert put(partner, NAME) == ["ResourceNotFoundException"]
    clock.now += 0.02
    next(calls)()
    assert refused(next(calls)) == "ThrottlingException"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("LimitExceededException", 400),
        ("ConcurrentModificationException", 400),
        ("OperationDisabledException", 400),
        ("InternalException", 500),
    ],
)
def test_modelled_errors_can_be_played(service, partner, code, status):
    """A fault applies to the operations that it names; others do not use it up."""
    service.play(FailRequest(code, status, operations="CreatePartnerEventSource"))
    partner.list_partner_event_sources(NamePrefix=PREFIX)
    with pytest.raises(getattr(partner.exceptions, code)):
        partner.create_partner_event_source(Name=NAME, Account=ACCOUNT)
    assert len(service.sources) == 0
    partner.create_partner_event_source(Name=NAME, Account=ACCOUNT)


def test_after_counts_the_requests_of_the_operations(service, partner):
    """`after` counts only requests of the fault's operations."""
    service.play(
        FailRequest("InternalException", 500, after=1, operations=["DeletePartnerEventSource"])
    )
    put(partner, NAME, NAME)
    members = {"Name": NAME, "Account": ACCOUNT}
    partner.delete_partner_event_source(**members)
    assert refused(partner.delete_partner_event_source, **members) == "InternalException"


@pytest.mark.parametrize("operations", ["ListEventSources", [], ["PutEvents"]])
def test_faults_of_unknown_operations(operations):
    """A fault for no operation, or for an unknown one, raises a ValueError."""
    with pytest.raises(ValueError, match=r"operations: .*; allowed: some of \["):
        LoseAnswer(operations=operations)


def test_faults_of_results_leave_sources_alone(service, partner):
    """A fault in entries' results waits for a request that has some."""
    service.play(WrongLength())
    partner.create_partner_event_source(Name=NAME, Account=ACCOUNT)
    assert service.requests[0].faults == ()
    put(partner, NAME)
    assert service.requests[1].faults == (WrongLength(),)


def test_garbled_answers(client_of, service):
    """The operation is carried out, but its answer is not JSON."""
    service.play(GarbleAnswer())
    client = client_of(service)
    body = json.dumps({"Name": NAME, "Account": ACCOUNT}).encode()
    headers = client.signed(body, X_Amz_Target="AWSEvents.CreatePartnerEventSource")
    with pytest.raises(ValueError, match="Unterminated"):
        json.loads(client.deliver(headers, body).body)
    assert service.sources.get(NAME, ACCOUNT) is not None
    assert not service.requests[0].answer_delivered


# What the service model says


def test_records_of_source_operations(service, partner):
    """A source operation is recorded with its members."""
    partner.create_partner_event_source(Name=NAME, Account=ACCOUNT)
    (record,) = service.requests
    assert record.operation == "CreatePartnerEventSource"
    assert record.members == {"Name": NAME, "Account": ACCOUNT}
    assert (record.entries, record.results) == ((), ())


def test_signatures_are_verified():
    """Signatures of source operations are verified, as for events."""
    service = FakeEventBridge()
    with service.serve() as server:
        client = boto3.client(
            "events",
            service.region,
            endpoint_url=server.url,
            aws_access_key_id="AKIDOTHER",
            aws_secret_access_key="x",
        )
        code = refused(client.create_partner_event_source, Name=NAME, Account=ACCOUNT)
        client.close()
    assert code == "UnrecognizedClientException"
    assert len(service.sources) == 0


GOOD = {
    "CreatePartnerEventSource": {"Name": NAME, "Account": ACCOUNT},
    "DescribePartnerEventSource": {"Name": NAME},
    "ListPartnerEventSources": {"NamePrefix": PREFIX},
    "ListPartnerEventSourceAccounts": {"EventSourceName": NAME},
    "DeletePartnerEventSource": {"Name": NAME, "Account": ACCOUNT},
}


@pytest.fixture(scope="module")
def model() -> Any:
    return botocore.session.get_session().get_service_model("events")


def test_all_source_operations_are_there(model):
    """The service knows exactly the partner's source operations in the model."""
    partners = {name for name in model.operation_names if "PartnerEventSource" in name}
    assert partners == SOURCE_OPERATIONS == set(GOOD)


@pytest.mark.parametrize("operation", sorted(GOOD))
def test_answers_fit_the_model(model, client_of, service, operation):
    """Every member of an answer is in the model, with the model's type."""
    fill(service, 3)
    if operation != "CreatePartnerEventSource":
        service.sources.create(NAME, ACCOUNT)
    members: dict[str, Any] = dict(GOOD[operation])
    if operation.startswith("List"):
        members["Limit"] = 1
    client = client_of(service)
    body = json.dumps(members).encode()
    answer = client.deliver(client.signed(body, X_Amz_Target=f"AWSEvents.{operation}"), body)
    assert answer.status == 200
    shape = model.operation_model(operation).output_shape
    if shape is None:
        # API reference: "the service sends back an HTTP 200 response with an empty HTTP body".
        assert answer.body == b""
        return
    check(json.loads(answer.body), shape)


def check(value: Any, shape: Any) -> None:
    """Compare an answer with the model; on the wire, times are numbers."""
    match shape.type_name:
        case "structure":
            assert value
            assert set(value) <= set(shape.members)
            for name, member in value.items():
                check(member, shape.members[name])
        case "list":
            assert value
            for member in value:
                check(member, shape.member)
        case "timestamp":
            assert isinstance(value, float | int)
        case _:
            assert isinstance(value, str)
            assert value in (shape.enum or [value])


BAD: list[tuple[str, dict[str, Any], str]] = [
    *(
        (name, {**good, key: None}, "ValidationException")
        for name, good in GOOD.items()
        for key in good
    ),
    *(
        (name, {**good, key: 5}, "SerializationException")
        for name, good in GOOD.items()
        for key in good
    ),
    *(
        (name, {**good, key: "a b"}, "ValidationException")
        for name, good in GOOD.items()
        for key in good
    ),
    *(
        (name, {**good, key: ""}, "ValidationException")
        for name, good in GOOD.items()
        for key in good
    ),
    *(
        (name, {**good, key: good[key] + "9" * 256}, "ValidationException")
        for name, good in GOOD.items()
        for key in good
    ),
    (
        "CreatePartnerEventSource",
        {"Name": "example.com/a/b", "Account": ACCOUNT},
        "ValidationException",
    ),
    ("CreatePartnerEventSource", {"Name": NAME, "Account": "12345678901"}, "ValidationException"),
    ("CreatePartnerEventSource", {"Name": NAME, "Account": "١٢٣٤٥٦٧٨٩٠١٢"}, "ValidationException"),
    ("ListPartnerEventSources", {"NamePrefix": PREFIX, "Limit": 0}, "ValidationException"),
    ("ListPartnerEventSources", {"NamePrefix": PREFIX, "Limit": 101}, "ValidationException"),
    ("ListPartnerEventSources", {"NamePrefix": PREFIX, "Limit": "5"}, "SerializationException"),
    ("ListPartnerEventSources", {"NamePrefix": PREFIX, "Limit": True}, "SerializationException"),
    ("ListPartnerEventSources", {"NamePrefix": PREFIX, "NextToken": ""}, "ValidationException"),
    (
        "ListPartnerEventSources",
        {"NamePrefix": PREFIX, "NextToken": "x" * 2049},
        "ValidationException",
    ),
]


@pytest.mark.parametrize(("operation", "members", "code"), BAD)
def test_what_the_model_does_not_allow_is_refused(client_of, service, operation, members, code):
    """The model's constraints are checked before anything is carried out."""
    answer = client_of(service).post(
        json.dumps(members).encode(), X_Amz_Target=f"AWSEvents.{operation}"
    )
    assert (answer["status"], answer["__type"]) == (400, code)
    assert len(service.sources) == 0


@pytest.mark.parametrize(
    ("operation", "members"),
    [(operation, members) for operation, members, _ in BAD] + list(GOOD.items()),
)
def test_what_botocore_refuses_is_refused(model, client_of, service, operation, members):
    """What botocore's own validation refuses, the service refuses."""
    given = {name: value for name, value in members.items() if value is not None}
    report = ParamValidator().validate(given, model.operation_model(operation).input_shape)
    service.sources.create(f"{NAME}-there", ACCOUNT)
    body = json.dumps(members).encode()
    client = client_of(service)
    headers = client.signed(body, X_Amz_Target=f"AWSEvents.{operation}")
    answer = client.deliver(headers, body)
    code = json.loads(answer.body or b"{}").get("__type")
    if report.has_errors():
        assert code in ("ValidationException", "SerializationException")
    elif members in GOOD.values():
        assert code in (None, "ResourceNotFoundException")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"\xff"', b"[" * 100_000])
def test_bodies_that_are_not_requests(client_of, service, body):
    """A body that is not a JSON object is a SerializationException."""
    answer = client_of(service).post(body, X_Amz_Target="AWSEvents.DescribePartnerEventSource")
    assert (answer["status"], answer["__type"]) == (400, "SerializationException")


def test_unknown_members_are_ignored(client_of, service):
    """Unknown members are ignored, as by AWS; the record has their names."""
    body = json.dumps({**GOOD["CreatePartnerEventSource"], "Limit": 3, "Tags": []}).encode()
    client_of(service).post(body, X_Amz_Target="AWSEvents.CreatePartnerEventSource")
    assert service.requests[0].unknown_members == ("Limit", "Tags")
    assert len(service.sources) == 1


@pytest.mark.parametrize("size", [0, 101])
def test_page_sizes_are_those_of_the_service(size):
    """A page size must be from 1 to 100."""
    with pytest.raises(ValueError, match="page_size is"):
        FakeEventBridge(page_size=size)
