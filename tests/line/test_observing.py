"""An observer is told what happened, and changes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

import pytest
from tenacity import wait_none

from eventbridge_partner import (
    Accepted,
    AsyncEventPublisher,
    AsyncPartnerEventsClient,
    EventPublisher,
    Outcome,
    PartnerEvent,
    PartnerEventsClient,
    Receipt,
    ResourceNotFoundError,
    RetryPolicy,
    ServiceError,
)
from eventbridge_partner.delivery.entries import Batch, Group
from eventbridge_partner.line._flight import Flight
from eventbridge_partner.line._witness import Departure
from eventbridge_partner.observing import (
    DeliveryBegan,
    DeliveryEnded,
    Observation,
    OutcomesDecided,
    RequestEnded,
    all_of,
)
from eventbridge_partner.testing import (
    BlankResults,
    FailEntries,
    FailRequest,
    FakeEventBridge,
    LoseAnswer,
    SlowAnswer,
)
from eventbridge_partner.testing._faults import Visit
from eventbridge_partner.wire.sigv4 import FrozenCredentials
from tests.patience import SOON, until
from tests.strategies import SOURCE

AT_ONCE = RetryPolicy(wait=wait_none(), throttle_wait=wait_none())
CANARY = "s3cr3t-canary"

Observe = Callable[[Observation], object]


def events(count: int) -> list[PartnerEvent]:
    return [PartnerEvent(SOURCE, "t", {"n": number, "c": CANARY}) for number in range(count)]


def in_threads(service: FakeEventBridge, observe: Observe, call: Callable[..., Any]) -> Any:
    with (
        service.serve() as server,
        PartnerEventsClient(
            service.region,
            endpoint_url=server.url,
            credentials=service.credentials,
            retry=AT_ONCE,
            observe=observe,
        ) as client,
    ):
        result = call(client)
        return list(result) if isinstance(result, Iterator) else result


def on_a_loop(service: FakeEventBridge, observe: Observe, call: Callable[..., Any]) -> Any:
    async def run(url: str) -> Any:
        async with AsyncPartnerEventsClient(
            service.region,
            endpoint_url=url,
            credentials=service.credentials,
            retry=AT_ONCE,
            observe=observe,
        ) as client:
            result = call(client)
            if hasattr(result, "__aiter__"):
                return [one async for one in result]
            return await result

    with service.serve() as server:
        return asyncio.run(run(server.url))


@pytest.fixture(params=[in_threads, on_a_loop], ids=["threads", "asyncio"])
def perform(request: pytest.FixtureRequest) -> Callable[..., Any]:
    found: Callable[..., Any] = request.param
    return found


@pytest.fixture
def service() -> FakeEventBridge:
    return FakeEventBridge()


def test_a_call_from_its_beginning_to_its_end(perform: Any, service: FakeEventBridge) -> None:
    """The observer is told of a call's start, requests, outcomes and end, under one number."""
    seen: list[Observation] = []
    service.play(FailEntries("ThrottlingException", indexes=[0]))

    perform(service, seen.append, lambda client: client.put_events(events(30)))

    assert isinstance(seen[0], DeliveryBegan)
    assert isinstance(seen[-1], DeliveryEnded)
    assert isinstance(seen[-2], OutcomesDecided)
    requests = [one for one in seen if isinstance(one, RequestEnded)]
    assert len(requests) == len(seen) - 3
    assert len({getattr(one, "delivery", None) for one in seen}) == 1
    assert sum(one.accepted for one in requests) == 30
    assert sum(one.failed for one in requests) == 1
    (failed,) = [one for one in requests if one.failed]
    assert failed.codes == {"ThrottlingException": 1}
    assert failed.error_code == "ThrottlingException"
    assert failed.status == 200
    assert failed.request_id
    assert failed.source == SOURCE
    assert failed.region == service.region
    assert failed.seconds > 0
    assert failed.size > 100
    assert max(one.attempt for one in requests) == 2
    assert seen[-1].outcomes == seen[-2].outcomes == {("Accepted", ""): 30}
    assert seen[-1].seconds > 0


def test_a_stream_tells_as_outcomes_come(perform: Any, service: FakeEventBridge) -> None:
    """A stream tells of outcomes before its last requests end, and of the totals at its end."""
    seen: list[Observation] = []

    def given() -> Iterator[PartnerEvent]:
        for one in events(20_000):  # more than a stream holds
            yield one
            if any(isinstance(told, OutcomesDecided) for told in seen):
                break
        yield from events(20)

    outcomes = perform(service, seen.append, lambda client: client.stream_events(given()))

    kinds = list(map(type, seen))
    assert OutcomesDecided in kinds[: -kinds[::-1].index(RequestEnded)]
    told = [one for one in seen if isinstance(one, OutcomesDecided)]
    assert sum(one.outcomes["Accepted", ""] for one in told) == len(outcomes)
    assert isinstance(seen[-1], DeliveryEnded)
    assert seen[-1].outcomes == {("Accepted", ""): len(outcomes)}


FAULTS: dict[str, tuple[Any, dict[str, int], int | None]] = {
    "a refused request": (
        FailRequest("AccessDeniedException", 400),
        {"AccessDeniedException": 3},
        400,
    ),
    "a lost answer": (LoseAnswer(times=None), {"TransportError": 3}, None),
    "a result that says neither": (
        BlankResults([1], times=None),
        {"UnreadableAnswerError": 1},
        200,
    ),
}


@pytest.mark.parametrize(("fault", "codes", "status"), FAULTS.values(), ids=FAULTS)
def test_a_request_that_fails(
    perform: Any, service: FakeEventBridge, fault: Any, codes: dict[str, int], status: int | None
) -> None:
    """A request's error code counts once for each entry that it left unaccepted."""
    seen: list[Observation] = []
    service.play(fault)

    perform(service, seen.append, lambda client: client.put_events(events(3)))

    first = next(one for one in seen if isinstance(one, RequestEnded))
    assert first.codes == codes
    assert first.failed == sum(codes.values())
    assert first.accepted == 3 - first.failed
    assert first.status == status


def unanswered(seen: list[Observation]) -> list[tuple[dict[str, int], int, int | None]]:
    """Return the codes, the entries and the status of requests that failed."""
    requests = [one for one in seen if isinstance(one, RequestEnded) and one.failed]
    return [(dict(one.codes), one.entries, one.status) for one in requests]


def test_an_interrupted_call_reports_its_requests(service: FakeEventBridge) -> None:
    """A request in flight ends with the call, and is reported before the call's end."""
    seen: list[Observation] = []
    service.play(SlowAnswer(SOON))

    def interrupted() -> Iterator[PartnerEvent]:
        yield from events(20)
        until(lambda: service.requests)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_threads(service, seen.append, lambda client: client.put_events(interrupted()))
    assert unanswered(seen) == [({"Cancelled": 20}, 20, None)]
    assert isinstance(seen[-1], DeliveryEnded)


class SlowSecondBatch(SlowAnswer):
    """The answer to the second batch of a call is slow, whichever request arrives first."""

    def concerns(self, visit: Visit) -> bool:
        """Whether the request carries the call's second batch."""
        return '{"n":20,' in visit.entries[0]["Detail"]


def test_an_abandoned_stream_reports_its_requests(service: FakeEventBridge) -> None:
    """A request in flight ends with the stream, and is reported before the stream's end."""
    seen: list[Observation] = []
    service.play(SlowSecondBatch(SOON))

    async def first_of(stream: AsyncGenerator[Outcome, None]) -> None:
        await anext(stream)
        await stream.aclose()

    on_a_loop(service, seen.append, lambda client: first_of(client.stream_events(events(40))))
    assert unanswered(seen) == [({"Cancelled": 20}, 20, None)]
    assert isinstance(seen[-1], DeliveryEnded)


@pytest.mark.asyncio
async def test_a_cancelled_call_reports_its_requests(service: FakeEventBridge) -> None:
    """Answers that have come are reported as they are, and the others as cancelled."""
    seen: list[Observation] = []
    service.play(SlowSecondBatch(SOON))
    with service.serve() as server:
        async with AsyncPartnerEventsClient(
            service.region,
            endpoint_url=server.url,
            credentials=service.credentials,
            observe=seen.append,
        ) as client:
            call = asyncio.create_task(client.put_events(events(40)))
            await asyncio.to_thread(
                until,
                lambda: len(service.requests) == 2 and isinstance(seen[-1], RequestEnded),
            )
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
    assert unanswered(seen) == [({"Cancelled": 20}, 20, None)]
    assert sum(one.accepted for one in seen if isinstance(one, RequestEnded)) == 20
    assert isinstance(seen[-1], DeliveryEnded)


def test_a_deadline_ends_requests(perform: Any, service: FakeEventBridge) -> None:
    """A request in flight at the deadline is reported once."""
    seen: list[Observation] = []
    service.play(SlowAnswer(SOON))

    perform(service, seen.append, lambda client: client.put_events(events(3), deadline=0.2))

    ((codes, entries, status),) = unanswered(seen)
    assert codes.keys() <= {"DeadlineExceeded", "TransportError"}
    assert (sum(codes.values()), entries, status) == (3, 3, None)


@pytest.mark.parametrize("link", [None, lambda: None], ids=["no-links", "links"])
def test_a_closed_publisher_reports_its_requests(
    perform: Any, service: FakeEventBridge, link: Any
) -> None:
    """What `close` cuts off is reported, whether or not the observer knows links."""
    seen: list[Observation] = []
    service.play(SlowAnswer(SOON))

    class Seeing:
        def __call__(self, observation: Observation) -> None:
            seen.append(observation)

    observer = Seeing()
    if link is not None:
        observer.link = link  # type: ignore[attr-defined]

    def publish(client: Any) -> Any:
        if not isinstance(client, PartnerEventsClient):
            return publish_on_a_loop(client)
        publisher = EventPublisher(client, linger=0)
        publisher.publish(events(1)[0])
        until(lambda: service.requests)
        publisher.close(timeout=0)
        until(lambda: unanswered(seen))
        return None

    async def publish_on_a_loop(client: AsyncPartnerEventsClient) -> None:
        publisher = AsyncEventPublisher(client, linger=0)
        await publisher.publish(events(1)[0])
        await asyncio.to_thread(until, lambda: service.requests)
        await publisher.close(timeout=0)
        await asyncio.to_thread(until, lambda: unanswered(seen))

    perform(service, observer, publish)
    assert unanswered(seen) == [({"PublisherClosed": 1}, 1, None)]


def test_no_repr_of_what_is_in_flight_holds_a_payload() -> None:
    """A debugger that shows a flight or its departure shows neither payload nor secret."""
    group = Group(0)
    group.given += events(1)
    group.events += events(1)
    departure = Departure(0.0, 0.0)
    flight = Flight.of(Batch(group=group), FrozenCredentials("A", CANARY), departure)
    departure.under_way[flight.batch] = flight
    assert CANARY not in repr(flight) + repr(departure)


def test_single_requests(perform: Any, service: FakeEventBridge) -> None:
    """Source operations and the raw call are observed as requests that belong to no delivery."""
    seen: list[Any] = []
    with pytest.raises(ResourceNotFoundError):
        perform(service, seen.append, lambda client: client.sources.describe(SOURCE))
    entry = {"Source": SOURCE, "DetailType": "t", "Detail": "{}"}
    perform(service, seen.append, lambda client: client.put_partner_events(Entries=[entry] * 2))
    service.play(FailRequest("InternalFailure", 500))
    with pytest.raises(ServiceError):
        perform(service, seen.append, lambda client: client.put_partner_events(Entries=[entry]))

    told = [(one.operation, one.entries, one.accepted, one.error_code) for one in seen]
    assert told == [
        ("DescribePartnerEventSource", 0, 0, "ResourceNotFoundException"),
        ("PutPartnerEvents", 2, 2, None),
        ("PutPartnerEvents", 0, 0, "InternalFailure"),
    ]
    assert {one.delivery for one in seen} == {None}


def test_an_observer_that_raises_changes_nothing(
    perform: Any, service: FakeEventBridge, caplog: pytest.LogCaptureFixture
) -> None:
    """An observer's error changes no outcome, and is logged once, without its text."""

    def observe(_: Observation) -> None:
        raise ZeroDivisionError(CANARY)

    with caplog.at_level(logging.DEBUG):
        report = perform(service, observe, lambda client: client.put_events(events(60)))

    assert len(report.accepted) == 60
    said = [r.getMessage() for r in caplog.records if "observer" in r.getMessage()]
    assert len(said) == 1
    assert all("ZeroDivisionError" in one and "in observe" in one for one in said)
    assert CANARY not in caplog.text


def test_no_observation_holds_a_payload(perform: Any, service: FakeEventBridge) -> None:
    """The repr of an observation shows no payload."""
    seen: list[Observation] = []
    service.play(FailRequest("ValidationException", 400, message=f"Value '{CANARY}' at 'x'"))

    perform(service, seen.append, lambda client: client.put_events(events(3)))

    assert seen
    assert CANARY not in repr(seen)


def test_siblings_tell_the_same_observer(service: FakeEventBridge) -> None:
    """A sibling's requests reach the same observer, with the sibling's Region."""
    seen: list[Any] = []

    def call(client: PartnerEventsClient) -> None:
        client.in_region("eu-west-1").put_events(events(1))

    in_threads(service, seen.append, call)
    assert {one.region for one in seen} == {"eu-west-1"}


def test_an_observer_that_exits(service: FakeEventBridge, caplog: pytest.LogCaptureFixture) -> None:
    """An observer's SystemExit ends no publisher thread: all events get their true outcome."""

    def observe(_: Observation) -> None:
        raise SystemExit(CANARY)

    def publish(client: PartnerEventsClient) -> list[Receipt]:
        with EventPublisher(client) as publisher:
            return publisher.publish_many(events(60))

    receipts = in_threads(service, observe, publish)
    assert all(isinstance(one.outcome, Accepted) for one in receipts)
    assert "goes on after" not in caplog.text
    assert CANARY not in caplog.text


def test_several_observers() -> None:
    """An error of one observer does not keep the others from being told."""
    seen: list[Observation] = []

    def broken(_: Observation) -> None:
        raise ZeroDivisionError

    began = DeliveryBegan(delivery=1, kind="put_events", region="r", started=0.0)
    with pytest.raises(ZeroDivisionError):
        all_of(broken, seen.append)(began)
    assert seen == [began]
