"""An exception from a signal handler passes through every call, with a report on the events."""

from __future__ import annotations

import functools
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from tenacity import wait_fixed

from eventbridge_partner import (
    Accepted,
    CallInterruptedError,
    Exhausted,
    HttpRequest,
    HttpResponse,
    PartnerEvent,
    PartnerEventsClient,
    RegionRouter,
    RetryPolicy,
    SourceGuard,
    Timeouts,
    Transport,
    Unconfirmed,
)
from eventbridge_partner._signals import raised_by_handler
from eventbridge_partner.testing import FailEntries, FakeEventBridge
from eventbridge_partner.transports.curl import CurlTransport
from tests.patience import SOON
from tests.strategies import SOURCE

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="this system has no timer that sends a signal"
)


class TimeLimit(Exception):
    """Raised by a worker's signal handler."""


def over(number: int, frame: Any) -> None:
    raise TimeLimit


def timed_out(number: int, frame: Any) -> None:
    raise TimeoutError("of the worker")  # HTTP libraries could mistake it for their own


class Worker:
    """A worker with a time limit."""

    def over(self, number: int, frame: Any) -> None:
        raise TimeLimit

    def __call__(self, number: int, frame: Any) -> None:
        raise TimeLimit


HANDLERS: dict[str, Callable[[int, Any], Any]] = {
    "function": over,
    "method": Worker().over,
    "object": Worker(),
    "partial": functools.partial(over),
    "a time-out": timed_out,
}


@pytest.fixture(params=list(HANDLERS.values()), ids=list(HANDLERS))
def handler(request: pytest.FixtureRequest) -> Iterator[Any]:
    before = signal.signal(signal.SIGALRM, request.param)
    yield request.param
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def limit() -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, over)
    yield
    signal.signal(signal.SIGALRM, before)


def strike() -> None:
    """Have the handler called at once, on this thread."""
    signal.raise_signal(signal.SIGALRM)


@pytest.fixture
def silent(handler: Any) -> Iterator[str]:
    """Yield the URL of a server that never answers; the signal comes soon after a request."""

    def take() -> None:
        connection, _ = server.accept()
        with connection:
            assert connection.recv(1)
            signal.setitimer(signal.ITIMER_REAL, 0.05)  # the call waits by then
            is_over.wait(SOON)

    is_over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SOON)
        thread = threading.Thread(target=take)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        is_over.set()
        thread.join()


class Striking:
    """A transport that passes requests on; the signal arrives during one of them."""

    def __init__(self, service: FakeEventBridge, *, at: int = 2) -> None:
        self._transport = service.transport()
        self._left = at

    def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        self._left -= 1
        if self._left == 0:
            strike()
        return self._transport.send(request, timeouts)

    def close(self) -> None:
        self._transport.close()


def events(count: int) -> list[PartnerEvent]:
    return [PartnerEvent(SOURCE, "t", {"n": number}) for number in range(count)]


def client_of(service: FakeEventBridge, **settings: Any) -> PartnerEventsClient:
    usual = {"credentials": service.credentials, "transport": service.transport()}
    return PartnerEventsClient(service.region, **(usual | settings))


CALLS: dict[str, Callable[[PartnerEventsClient], Any]] = {
    "one event": lambda client: client.put_events(events(1)),
    "many events": lambda client: client.put_events(events(60)),
    "a stream": lambda client: list(client.stream_events(events(1))),
    "the raw call": lambda client: client.put_partner_events(
        Entries=[{"Source": SOURCE, "DetailType": "t", "Detail": "{}"}]
    ),
    "a source": lambda client: client.sources.describe(SOURCE),
}


@pytest.mark.parametrize("transport", [None, CurlTransport], ids=["requests", "curl"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_time_limit_ends_a_call_that_waits(
    handler: Any, silent: str, transport: type[Transport] | None, call: Callable[..., Any]
) -> None:
    """An interrupted call is not a lost answer: nothing is retried."""
    with PartnerEventsClient(
        "us-east-1",
        endpoint_url=silent,
        credentials=FakeEventBridge().credentials,
        transport=transport,
        timeout=SOON,
    ) as client:
        with pytest.raises(TimeoutError if handler is timed_out else TimeLimit) as caught:
            call(client)
    if call in (CALLS["one event"], CALLS["many events"], CALLS["a stream"]):
        assert isinstance(caught.value.__cause__, CallInterruptedError)
        assert {type(outcome) for outcome in caught.value.__cause__.report} <= {
            Unconfirmed,
            Exhausted,
        }


@pytest.mark.usefixtures("limit")
def test_the_report_has_the_outcome_of_each_event() -> None:
    """The report holds every event that was read: answered, in flight, or waiting to be sent."""
    service = FakeEventBridge()
    service.play(FailEntries("ThrottlingException", indexes=[0]))
    later = RetryPolicy(throttle_wait=wait_fixed(10 * SOON))
    client = client_of(service, transport=Striking(service), max_in_flight=1, retry=later)
    given = events(60)
    unread = iter(given)

    with pytest.raises(TimeLimit) as caught:
        client.put_events(unread)

    cause = caught.value.__cause__
    assert isinstance(cause, CallInterruptedError)
    read = given[: len(given) - len(list(unread))]
    assert [outcome.event for outcome in cause.report] == read
    assert [outcome.index for outcome in cause.report] == list(range(len(read)))
    kinds = [type(outcome) for outcome in cause.report]
    assert kinds[:40] == [Exhausted] + [Accepted] * 19 + [Unconfirmed] * 20
    assert set(kinds[40:]) <= {Exhausted}
    assert len(client.put_events(events(3)).accepted) == 3


@pytest.mark.usefixtures("limit")
def test_a_stream_reports_outcomes_not_yet_handed_out() -> None:
    """The report continues where the outcomes that were handed out end, and holds the rest."""
    service = FakeEventBridge()
    client = client_of(service, transport=Striking(service), max_in_flight=1)
    given = events(60)
    unread = iter(given)
    seen: list[Any] = []

    with pytest.raises(TimeLimit) as caught:
        seen.extend(client.stream_events(unread))

    cause = caught.value.__cause__
    assert isinstance(cause, CallInterruptedError)
    together = [*seen, *cause.report]
    read = given[: len(given) - len(list(unread))]
    assert [outcome.event for outcome in together] == read
    assert [outcome.index for outcome in together] == list(range(len(read)))


class Interrupting(Mapping[str, Any]):
    """A mapping; the signal arrives while it is read."""

    def __getitem__(self, name: str) -> Any:
        strike()

    def __iter__(self) -> Iterator[str]:
        yield "Source"

    def __len__(self) -> int:
        return 1


def generate() -> Iterator[PartnerEvent]:
    yield from events(1)
    strike()


class Provider:
    """A credentials provider; the signal arrives while it is asked."""

    def get_frozen_credentials(self) -> Any:
        strike()


FOREIGN: dict[str, Callable[[], Any]] = {
    "a mapping": lambda: client_of(FakeEventBridge()).put_events([Interrupting()]),
    "a generator": lambda: client_of(FakeEventBridge()).put_events(generate()),
    "credentials": lambda: client_of(FakeEventBridge(), credentials=Provider()).put_events(
        events(1)
    ),
    "a guard's account": lambda: SourceGuard(
        client_of(FakeEventBridge()), account_of=lambda _: strike()
    ).put_events(events(1)),
    "a router's look-up": lambda: RegionRouter(
        client_of(FakeEventBridge()), lambda _: strike()
    ).put_events(events(1)),
    "a router's generator": lambda: RegionRouter(
        client_of(FakeEventBridge()), lambda _: "us-east-1"
    ).put_events(generate()),
}


@pytest.mark.usefixtures("limit")
@pytest.mark.parametrize("call", FOREIGN.values(), ids=FOREIGN)
def test_a_time_limit_passes_through_the_callers_objects(call: Callable[[], Any]) -> None:
    """The exception is not treated as a bug of a mapping, an iterable, a provider or a function."""
    with pytest.raises(TimeLimit):
        call()


@pytest.mark.parametrize("in_front", ["guard", "router"])
@pytest.mark.usefixtures("limit")
def test_the_report_covers_all_events(in_front: str) -> None:
    """The report covers all events even if a guard or a router is in front of the client."""
    service = FakeEventBridge()
    client = client_of(service, transport=Striking(service, at=2 if in_front == "guard" else 1))
    service.sources.create(SOURCE, "123456789012")
    service.sources.associate(SOURCE, "123456789012")
    front = (
        SourceGuard(client)
        if in_front == "guard"
        else RegionRouter(client, lambda _: service.region)
    )

    with pytest.raises(TimeLimit) as caught:
        front.put_events(events(5))

    cause = caught.value.__cause__
    assert isinstance(cause, CallInterruptedError)
    assert [type(outcome) for outcome in cause.report] == [Unconfirmed] * 5


def test_a_similar_exception_is_an_ordinary_failure() -> None:
    """An exception of the same type that no handler raised is not treated as an interruption."""
    try:
        raise TimeLimit
    except TimeLimit as error:
        assert raised_by_handler(error) is None


@pytest.mark.usefixtures("limit")
def test_an_interruption_is_found_behind_later_exceptions() -> None:
    """Causes and contexts are searched, even if they form a cycle."""

    def become() -> None:
        try:
            try:
                strike()
            except TimeLimit:
                raise ValueError from None
        except ValueError as error:
            raise KeyError from error

    with pytest.raises(KeyError) as caught:
        become()
    assert isinstance(raised_by_handler(caught.value), TimeLimit)
    context = caught.value.__cause__
    assert context is not None
    context.__cause__ = caught.value
    assert isinstance(raised_by_handler(caught.value), TimeLimit)


@pytest.mark.usefixtures("limit")
def test_other_threads_are_left_alone() -> None:
    """Python runs handlers on the main thread; calls on other threads continue."""
    service = FakeEventBridge()
    reports: list[Any] = []
    thread = threading.Thread(
        target=lambda: reports.append(client_of(service).put_events(events(40)))
    )
    thread.start()
    with pytest.raises(TimeLimit):
        strike()
    thread.join()
    assert len(reports[0].accepted) == 40
