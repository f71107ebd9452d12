"""
How users call the public API; type checkers read this file, and nothing runs it.

Each block must pass mypy and pyright in their strict modes, without a cast or an ignore.
"""

from __future__ import annotations

import dataclasses
import datetime
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any, assert_never, assert_type

import attrs
import boto3
import cattrs
import psycopg
import pydantic
from botocore.credentials import Credentials
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from tenacity import (
    RetryCallState,
    stop_after_attempt,
    stop_after_delay,
    wait_fixed,
    wait_none,
    wait_random_exponential,
)

from eventbridge_partner import (
    Accepted,
    AsyncEventPublisher,
    AsyncPartnerEventsClient,
    AsyncRegionRouter,
    AsyncSourceGuard,
    BatchLimits,
    ConfigurationError,
    DeliveryReport,
    EventPublisher,
    EventSource,
    Exhausted,
    Finding,
    FlushReport,
    GivenEvent,
    HttpRequest,
    HttpResponse,
    InputInterruptedError,
    InvalidEventError,
    LimitExceededError,
    Outcome,
    OutcomeCounts,
    PartnerEvent,
    PartnerEventsClient,
    PartnerEventsError,
    PublisherStats,
    PutPartnerEventsResponse,
    Readiness,
    Receipt,
    RegionRouter,
    Rejected,
    ResultMembers,
    RetryPolicy,
    ServiceError,
    SourceAccount,
    SourceGuard,
    SourceName,
    SourceNotActiveError,
    SourceState,
    Timeouts,
    Transport,
    TransportError,
    Unconfirmed,
    UndeliveredError,
    Verdict,
    doctor,
    entry_size,
    plan_batches,
    stamp,
)
from eventbridge_partner.handoff import handoff
from eventbridge_partner.outbox import (
    DrainReport,
    OutboxStats,
    PostgresOutbox,
    Relay,
    SqliteOutbox,
    open_outbox,
)
from eventbridge_partner.testing import (
    SOURCE_OPERATIONS,
    FailEntries,
    FailRequest,
    FakeEventBridge,
    LimitRate,
    LocalSource,
    LoseAnswer,
    OddPage,
)

# ------------------------------------------------------------ events


@attrs.frozen
class Ticket:
    """A detail as an attrs class."""

    number: int


@dataclasses.dataclass(frozen=True)
class Closing:
    """A detail as a dataclass."""

    number: int


class Refund(pydantic.BaseModel):
    """A detail as a pydantic model."""

    cents: int


source = SourceName("example.com", "acme", namespace=["tickets"])
assert_type(SourceName.parse("aws.partner/example.com/acme"), SourceName)
assert_type(source.namespace, tuple[str, ...])

assert_type(handoff(source, account="123456789012", region="eu-west-1"), str)
assert_type(handoff("a", account="b", region="c", format="terraform"), str)

event = PartnerEvent(
    "aws.partner/example.com/tickets",
    "ticket.created",
    {"id": 1, "tags": ["new", None], "customer": {"name": "Zoë"}},
    resources=["arn:aws:s3:::bucket"],
    time=datetime.datetime.now(datetime.UTC),
)
PartnerEvent("aws.partner/example.com/tickets", "ticket.created", '{"id": 1}')
PartnerEvent(source, "ticket.created", Ticket(1), converter=cattrs.Converter())
PartnerEvent.from_entry({"Detail": Ticket(1)}, converter=cattrs.BaseConverter())
PartnerEvent(source, "ticket.closed", Closing(1), time="2030-01-02T12:00:00Z")
PartnerEvent(source, "ticket.refunded", Refund(cents=1), time=1_893_585_600)
assert_type(event.to_entry(), dict[str, Any])
PartnerEvent(source, "ticket.created", Ticket(1), resources=(name for name in ("a", "b")))
assert_type(PartnerEvent.from_entry({"Source": "s", "DetailType": "t"}), PartnerEvent)
assert_type(event.detail, str)
assert_type(event.resources, tuple[str, ...])
assert_type(event.time, datetime.datetime | None)
assert_type(entry_size(event), int)
for batch in plan_batches([event], BatchLimits(max_entries=10)):
    assert_type(batch, tuple[PartnerEvent, ...])


def what_is_wrong(entry: Mapping[str, Any]) -> tuple[Finding, ...]:
    """An error has all findings, and each finding has typed parts."""
    try:
        PartnerEvent.from_entry(entry)
    except InvalidEventError as error:
        assert_type(
            [(f.field, f.found, f.allowed) for f in error.findings], list[tuple[str, str, str]]
        )
        return error.findings
    return ()


# ------------------------------------------------------------ sending


def all_events(client: PartnerEventsClient) -> DeliveryReport:
    """Events and entries may be mixed, in any iterable."""
    client.put_events([event, {"Source": "s", "DetailType": "t", "Detail": "{}"}], deadline=5)
    entries: list[dict[str, str]] = []
    client.put_events(entries, deadline=None)
    return client.put_events(event for _ in range(3)).raise_for_undelivered()


def events_without_end(client: PartnerEventsClient) -> Iterator[Outcome]:
    """A stream of outcomes is an iterator of the union."""
    yield from client.stream_events(iter([event]), deadline=60.0)


def each_outcome(report: DeliveryReport) -> str:
    """A `match` over the four outcomes is exhaustive."""
    for outcome in report:
        match outcome:
            case Accepted():
                assert_type(outcome.event_id, str | None)
            case Rejected(code, message, given, index):
                assert_type(given, GivenEvent)
                return f"{index}: {code}, {message}"
            case Exhausted(code=code):
                assert_type(outcome.code_is_known, bool)
                return code
            case Unconfirmed(reason):
                return reason
            case _:
                assert_never(outcome)
    assert_type(report[0], Outcome)
    assert_type(report[1:], tuple[Outcome, ...])
    return ""


def by_kind(report: DeliveryReport) -> list[GivenEvent]:
    """Each kind of outcome has its own type, and carries the given event."""
    assert_type(report.accepted, tuple[Accepted, ...])
    assert_type(report.rejected, tuple[Rejected, ...])
    assert_type(report.exhausted, tuple[Exhausted, ...])
    assert_type(report.unconfirmed, tuple[Unconfirmed, ...])
    assert_type(report.undelivered, tuple[Rejected | Exhausted | Unconfirmed, ...])
    assert_type(report.ok, bool)
    assert_type(report[0].to_dict(detail=True), dict[str, Any])
    assert_type(report.to_dict(), dict[str, Any])
    assert_type(report.counts, OutcomeCounts)
    assert_type(report.counts.undelivered, int)
    gone = {
        rejected.event.source
        for rejected in report.rejected
        if rejected.source_is_gone and isinstance(rejected.event, PartnerEvent)
    }
    assert_type(gone, set[str])
    return [o.event for o in report if isinstance(o, (Exhausted, Unconfirmed))]


def one_raw_call(client: PartnerEventsClient) -> list[str]:
    """The raw call returns boto3's members, with types."""
    entries = [{"Source": "s", "DetailType": "t", "Detail": "{}"}]
    answer = client.put_partner_events(Entries=entries)
    assert_type(answer, PutPartnerEventsResponse)
    assert_type(answer["FailedEntryCount"], int)
    assert_type(answer["Entries"], list[ResultMembers])
    assert_type(answer["ResponseMetadata"]["HTTPStatusCode"], int)
    assert_type(answer["ResponseMetadata"]["HTTPHeaders"], dict[str, str])
    return [result["EventId"] for result in answer["Entries"] if "EventId" in result]


def every_error(client: PartnerEventsClient) -> DeliveryReport | None:
    """Errors have typed attributes."""
    try:
        return client.put_events([event]).raise_for_undelivered()
    except (UndeliveredError, InputInterruptedError) as error:
        return error.report
    except ServiceError as error:
        assert_type((error.code, error.status, error.request_id), tuple[str, int, str | None])
    except TransportError as error:
        assert_type(error.may_have_been_sent, bool)
    except ConfigurationError as error:
        configuration: ValueError = error
        raise configuration from None
    except PartnerEventsError as error:
        assert_type(error.may_have_been_sent, bool)
    return None


# ------------------------------------------------------------ settings


def patience(state: RetryCallState) -> float:
    """A custom `wait` is a function."""
    return 2.0 * state.attempt_number


patient = RetryPolicy(
    wait=wait_random_exponential(multiplier=0.1, max=20) + wait_fixed(1),
    throttle_wait=patience,
    stop=stop_after_attempt(10) | stop_after_delay(datetime.timedelta(minutes=5)),
    tokens=None,
    unknown_attempts=2,
    verdicts={"SomethingNew": Verdict.PERMANENT},
)
RetryPolicy(wait=wait_none(), stop=lambda state: state.attempt_number >= 2)
assert_type(patient.with_max_attempts(3), RetryPolicy)
assert_type(
    patient.delay_after(1, Verdict.TRANSIENT, ServiceError("c", "m", status=500)), float | None
)


class Recorder:
    """A custom transport needs two methods and no base class."""

    def __init__(self) -> None:
        self.sent: list[HttpRequest] = []

    def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        """Remember a request and give up on it."""
        self.sent.append(request)
        if timeouts.read < 1:
            raise TransportError("no answer in time", may_have_been_sent=True)
        return HttpResponse(200, {}, b'{"FailedEntryCount": 0, "Entries": []}')

    def close(self) -> None:
        """Do nothing."""


@attrs.frozen
class Keys:
    """Keys to sign with, from a custom store."""

    access_key: str
    secret_key: str
    token: str | None = None


class Vault:
    """Custom credentials need one method and no base class."""

    def get_frozen_credentials(self) -> Keys:
        """Return the current keys."""
        return Keys("AKIDEXAMPLE", "a secret")


# ------------------------------------------------------------ sources


def onboard(client: PartnerEventsClient) -> SourceState:
    """Create a source, and wait until it is ACTIVE."""
    created = client.sources.ensure(source, account="123456789012")
    assert_type(created, EventSource)
    for found in client.sources.list("aws.partner/example.com/"):
        assert_type(found.arn, str)
    for account in client.sources.accounts(created.name, timeout=2):
        assert_type(account.expiration_time, datetime.datetime | None)
    for account in client.sources.expiring(
        prefix="aws.partner/example.com/", within=datetime.timedelta(days=3)
    ):
        assert_type(account, SourceAccount)
    try:
        client.sources.wait_until_active(
            source, account="123456789012", on_progress=lambda seen: print(seen.state)
        )
    except SourceNotActiveError as error:
        assert_type(error.last, SourceAccount)
    except LimitExceededError as error:
        refused: ServiceError = error
        raise refused from None
    state = client.sources.state(source, account="123456789012")
    text: str = state
    match state:
        case SourceState.ACTIVE:
            pass
        case _:
            print(text)
    return state


def guarded(client: PartnerEventsClient) -> DeliveryReport:
    """A guard in front of a client, and of every Region."""
    parked: list[GivenEvent] = []
    guard = SourceGuard(
        client, on_pending=parked.append, account_of={"a": "1"}.get, on_source_gone=print
    )
    for outcome in guard.stream_events([event]):
        guard.learn(outcome)
    assert_type(guard.check(event), Outcome | None)
    assert_type(guard.put_events([event], deadline=5), DeliveryReport)
    router = RegionRouter(client, {"a": "us-east-1"}, in_front=SourceGuard)
    assert_type(router.client_of(source), PartnerEventsClient)
    return router.put_events(iter([event]))


async def guarded_later(client: AsyncPartnerEventsClient) -> DeliveryReport:
    """The same on an event loop."""

    async def park(parked: GivenEvent) -> None:
        print(parked)

    def region_of(name: str) -> str | None:
        return "us-east-1" if name else None

    def in_front(sibling: AsyncPartnerEventsClient) -> AsyncSourceGuard:
        return AsyncSourceGuard(sibling, on_pending=park)

    async for account in client.sources.accounts(source):
        assert_type(account.state, SourceState)
    assert_type(await client.sources.describe(source), EventSource)
    async for outcome in AsyncSourceGuard(client, on_pending="warn").stream_events([event]):
        assert_type(outcome, Outcome)
    return await AsyncRegionRouter(client, region_of, in_front=in_front).put_events([event])


transport: Transport = Recorder()
PartnerEventsClient("us-east-1", transport=Recorder(), credentials=Vault())
PartnerEventsClient(region="us-east-1", credentials=Credentials("AKIDEXAMPLE", "a secret"))
PartnerEventsClient(session=boto3.Session(region_name="us-east-1"), timeout=2)
PartnerEventsClient(profile="partner", endpoint_url="https://example.com", max_in_flight=8)
with PartnerEventsClient(
    retry=patient, timeout=Timeouts(connect=1, read=3), max_batch_bytes=1, max_entry_bytes=1
) as opened:
    assert_type(opened, PartnerEventsClient)
    assert_type(opened.look_up(), PartnerEventsClient)
    assert_type((opened.region, opened.endpoint_url), tuple[str, str])


# ------------------------------------------------------------ publishers


def tell(receipt: Receipt) -> None:
    """A callback gets the receipt; what it returns does not matter."""
    if receipt.outcome is not None:
        assert_type(receipt.outcome, Outcome)


with EventPublisher(opened, linger=0.1, max_buffered_events=100, on_full="raise") as publisher:
    assert_type(publisher, EventPublisher)
    receipt = publisher.publish(event, timeout=1)
    receipt.add_done_callback(tell)
    receipt.add_done_callback(lambda done: print(done.event.source))
    assert_type(receipt.result(timeout=5), Outcome)
    assert_type(publisher.publish_many([event, {"Source": "s"}]), list[Receipt])
    assert_type(publisher.flush(1.0).sent, OutcomeCounts)
    assert_type(publisher.stats(), PublisherStats)
    assert_type(publisher.readiness(max_age=60, timeout=1), Readiness)
    assert_type(publisher.close(timeout=None), DeliveryReport)


async def published(client: AsyncPartnerEventsClient) -> Outcome:
    """The publisher for asyncio, and a receipt that is awaited."""
    async with AsyncEventPublisher(client, on_full="drop_oldest") as on_loop:
        await on_loop.publish_many([event])
        assert_type(await on_loop.flush(), FlushReport)
        return await (await on_loop.publish(event))


# ------------------------------------------------------------ users' tests


def against_the_local_service() -> int:
    """The local service fits in where a transport, credentials or an endpoint do."""
    service = FakeEventBridge(seed=1)
    service.play(
        LoseAnswer(share=0.1, times=None),
        FailEntries("InternalFailure", matching=lambda entry: "poison" in entry["Detail"]),
    )
    PartnerEventsClient(
        service.region, credentials=service.credentials, transport=service.transport()
    ).put_events([event])
    with service.serve(port=0) as server:
        PartnerEventsClient(endpoint_url=server.url, credentials=service.credentials)
    assert_type([entry.detail for entry in service.accepted], list[str])
    service.play(
        FailRequest("LimitExceededException", operations="CreatePartnerEventSource"),
        LimitRate(50, operations=SOURCE_OPERATIONS),
        OddPage("empty-page"),
    )
    assert_type(service.sources.associate(event.source, "123456789012"), LocalSource)
    assert_type(service.sources.expire(event.source, "123456789012"), LocalSource | None)
    assert_type([source.state == "PENDING" for source in service.sources], list[bool])
    return service.request_count


# ------------------------------------------------------------ an outbox


def stored(
    session: Session, connection: psycopg.Connection[tuple[object, ...]], client: SourceGuard
) -> DrainReport:
    """`add` takes connections of several libraries; a relay takes a client, guard or router."""
    outbox = PostgresOutbox("postgresql://", notify=True)
    outbox.add(session, event, {"Source": "aws.partner/a/b", "DetailType": "t", "Detail": "{}"})
    outbox.add(connection, event)
    outbox.add(session.connection(), event)
    local = SqliteOutbox("shop.db")
    local.add(sqlite3.connect("shop.db"), PartnerEvent("aws.partner/a/b", "t", stamp({})))
    assert_type([dead.code for dead in local.dead_letters(limit=3)], list[str])
    assert_type(outbox.stats(), OutboxStats)
    assert_type(open_outbox("sqlite:///shop.db"), SqliteOutbox | PostgresOutbox)
    relay = Relay(local, client, observe=print)
    Relay(outbox, RegionRouter(PartnerEventsClient(), {})).stop()
    assert_type(relay.drain(seconds=5), DrainReport)
    return relay.run()


def checked(client: PartnerEventsClient) -> bool:
    """The doctor checks an outbox of either kind."""
    found = doctor.check(client, prefix="aws.partner/example.com/", outbox=SqliteOutbox("shop.db"))
    assert_type(found, tuple[doctor.Finding, ...])
    doctor.check(client, outbox=PostgresOutbox("postgresql://"), offline=True, timeout=3)
    assert_type([finding.fix for finding in found], list[str | None])
    return all(finding.status != "fail" for finding in found)


async def stored_later(
    session: AsyncSession, connection: psycopg.AsyncConnection[tuple[object, ...]]
) -> None:
    """The same for asyncio."""
    outbox = PostgresOutbox()
    await outbox.add_async(session, event)
    await outbox.add_async(await session.connection(), event)
    await outbox.add_async(connection, event)
    outbox.add(session, event)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await outbox.add_async(5, event)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
