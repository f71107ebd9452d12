"""The two clients have the same interface, and the same events get the same outcomes from both."""

from __future__ import annotations

import asyncio
import inspect
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing
from typing import Any, Protocol

import attrs
import pytest
from tenacity import stop_after_attempt, wait_none

from eventbridge_partner import (
    AsyncPartnerEventsClient,
    ConfigurationError,
    CredentialsError,
    InputInterruptedError,
    InvalidEventError,
    Outcome,
    PartnerEvent,
    PartnerEventsClient,
    RetryPolicy,
    ServiceError,
    Timeouts,
    TransportError,
    UnreadableAnswerError,
)
from eventbridge_partner.testing import (
    BlankResults,
    CloseConnection,
    CutAnswer,
    EmptyAnswer,
    ExpireToken,
    FailEntries,
    FailRequest,
    FakeEventBridge,
    Fault,
    GarbleAnswer,
    LoseAnswer,
    MiscountFailures,
    RefuseRequestContaining,
    SlowAnswer,
    WrongClock,
    WrongLength,
)
from tests.transports.servers import OK, served

SOURCE = "aws.partner/example.com/acme"
AT_ONCE = RetryPolicy(wait=wait_none(), throttle_wait=wait_none(), stop=stop_after_attempt(3))
NOT_ASYNC = {"__enter__": "__aenter__", "__exit__": "__aexit__"}


# ---------------------------------------------------------------- the surface


def surface(client: type) -> dict[str, inspect.Signature | None]:
    """Return what users see of a client: its properties, and its methods with their parameters."""
    names = [name for name in vars(client) if not name.startswith("_")]
    return {
        name: None if isinstance(found := vars(client)[name], property) else _parameters(found)
        for name in names
    }


def _parameters(function: Any) -> inspect.Signature:
    """Return a signature without types: they may differ in what is asynchronous."""
    found = inspect.signature(function)
    bare = [one.replace(annotation=one.empty) for one in found.parameters.values()]
    return inspect.Signature(bare)


def test_both_clients_have_the_same_methods_with_the_same_parameters() -> None:
    """Parameters have the same order and the same defaults, and neither client has more methods."""
    assert surface(AsyncPartnerEventsClient) == surface(PartnerEventsClient)
    assert _parameters(AsyncPartnerEventsClient) == _parameters(PartnerEventsClient)
    for name, asynchronous in NOT_ASYNC.items():
        assert hasattr(PartnerEventsClient, name)
        assert hasattr(AsyncPartnerEventsClient, asynchronous)


def test_parameters_have_the_same_types() -> None:
    """A setting of one client is a setting of the other, with the same type."""
    ours = inspect.signature(AsyncPartnerEventsClient).parameters
    theirs = inspect.signature(PartnerEventsClient).parameters
    assert ours == theirs


def test_both_clients_refuse_the_same_settings() -> None:
    """Both clients refuse the same settings with the same message."""
    for settings in (
        {"max_in_flight": 0},
        {"timeout": 0},
        {"max_batch_bytes": 0},
        {"endpoint_url": "http://example.com"},
        {"region": "us east"},
        {"profile": "x", "session": object()},
    ):
        words = set()
        for client in (PartnerEventsClient, AsyncPartnerEventsClient):
            with pytest.raises(ValueError, match="allowed") as caught:
                client(**settings)  # type: ignore[call-overload]
            words.add(str(caught.value))
        assert len(words) == 1


# ---------------------------------------------------------------- ways of sending


class Way(Protocol):
    """A way to send events with one of the clients."""

    def send(
        self,
        settings: dict[str, Any],
        given: Iterable[Any],
        deadline: float | None,
        keep: Callable[[Iterable[Outcome]], None],
    ) -> None:
        """Send events, and keep the outcomes."""
        ...

    def put_raw(self, settings: dict[str, Any], entries: list[Any]) -> Any:
        """Call put_partner_events."""
        ...


@attrs.frozen
class Blocking:
    """`PartnerEventsClient`, with additional settings."""

    streams: bool
    settings: dict[str, Any] = attrs.field(factory=dict)

    def send(self, settings, given, deadline, keep):
        with PartnerEventsClient(**settings | self.settings) as client:
            if self.streams:
                for outcome in client.stream_events(given, deadline=deadline):
                    keep([outcome])
            else:
                keep(client.put_events(given, deadline=deadline))

    def put_raw(self, settings, entries):
        with PartnerEventsClient(**settings | self.settings) as client:
            return client.put_partner_events(Entries=entries)


@attrs.frozen
class OnLoop:
    """`AsyncPartnerEventsClient`, with additional settings."""

    streams: bool
    iterates: Callable[[Iterable[Any]], Any]
    settings: dict[str, Any] = attrs.field(factory=dict)

    def send(self, settings, given, deadline, keep):
        async def main():
            async with AsyncPartnerEventsClient(**settings | self.settings) as client:
                arriving = self.iterates(given)
                if self.streams:
                    async with aclosing(client.stream_events(arriving, deadline=deadline)) as sent:
                        async for outcome in sent:
                            keep([outcome])
                else:
                    keep(await client.put_events(arriving, deadline=deadline))

        asyncio.run(main(), debug=True)

    def put_raw(self, settings, entries):
        async def main():
            async with AsyncPartnerEventsClient(**settings | self.settings) as client:
                return await client.put_partner_events(Entries=entries)

        return asyncio.run(main(), debug=True)


def as_it_is(given: Iterable[Any]) -> Iterable[Any]:
    return given


async def at_once(given: Iterable[Any]) -> AsyncIterator[Any]:
    """Yield events without letting the loop run."""
    for event in given:
        yield event


async def in_turn(given: Iterable[Any]) -> AsyncIterator[Any]:
    """Yield one event for each turn of the loop."""
    for event in given:
        await asyncio.sleep(0)
        yield event


WAYS: dict[str, Way] = {
    "put": Blocking(streams=False),
    "stream": Blocking(streams=True),
    "async put": OnLoop(streams=False, iterates=as_it_is),
    "async stream": OnLoop(streams=True, iterates=as_it_is),
    "async put, async events": OnLoop(streams=False, iterates=in_turn),
    "async stream, async events": OnLoop(streams=True, iterates=at_once),
}


@pytest.fixture(params=list(WAYS.values()), ids=list(WAYS))
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


# ---------------------------------------------------------------- scenarios


def event(number: int, **more: Any) -> PartnerEvent:
    return PartnerEvent(SOURCE, "test", {"number": number, **more})


def events(count: int) -> list[Any]:
    return [event(number) for number in range(count)]


def then_raising(given: list[Any]) -> Iterator[Any]:
    yield from given
    raise LookupError("the database went away: secret")


def poisoned() -> list[Any]:
    return [*events(7), event(7, poison=True), *events(12)]


def is_poison(entry: Any) -> bool:
    return "poison" in entry["Detail"]


@attrs.frozen(kw_only=True)
class Scenario:
    """
    What goes wrong, and what is seen of it.

    Attributes:
        given: The events.
        seen: The number of outcomes of each kind, code and number of attempts.
        faults: Those that the service plays.
        settings: Settings of the client.
        deadline: Deadline of the call.
        raises: What the call raises.
        accepted: How many entries the service accepted; None if it does not matter.
        requests: How many requests the service saw; None if it does not matter.
    """

    given: Callable[[], Any] = lambda: events(45)
    seen: dict[str, int] = attrs.field(factory=dict)
    faults: tuple[Fault, ...] = ()
    settings: dict[str, Any] = attrs.field(factory=dict)
    deadline: float | None = None
    raises: type[Exception] | None = None
    accepted: int | None = None
    requests: int | None = None


SCENARIOS = {
    "all is well": Scenario(seen={"Accepted 1": 45}, accepted=45, requests=3),
    "no events": Scenario(given=list, requests=0),
    "a generator": Scenario(given=lambda: iter(events(41)), seen={"Accepted 1": 41}, requests=3),
    "entries": Scenario(
        given=lambda: [
            {"Source": SOURCE, "DetailType": "t", "Detail": json.dumps({"number": number})}
            for number in range(25)
        ],
        seen={"Accepted 1": 25},
        accepted=25,
    ),
    "bad entries among good ones": Scenario(
        given=lambda: [event(0), {"Source": "x"}, 7, None, event(4)],
        seen={"Accepted 1": 2, "Rejected InvalidEvent 0": 3},
        accepted=2,
        requests=1,
    ),
    "nothing but bad entries": Scenario(
        given=lambda: [None] * 5000, seen={"Rejected InvalidEvent 0": 5000}, requests=0
    ),
    "an event that is too large": Scenario(
        given=lambda: [event(0), event(1, text="x" * 2000), event(2)],
        settings={"max_entry_bytes": 1000, "max_batch_bytes": 1000},
        seen={"Accepted 1": 2, "Rejected EntryTooLarge 0": 1},
    ),
    "batches bounded by bytes": Scenario(
        given=lambda: [event(number, text="x" * 300) for number in range(30)],
        settings={"max_batch_bytes": 1000},
        seen={"Accepted 1": 30},
        requests=15,
    ),
    "throttled entries": Scenario(
        faults=(FailEntries("ThrottlingException", indexes=[1, 3]),),
        seen={"Accepted 1": 43, "Accepted 2": 2},
        accepted=45,
    ),
    "entries that stay throttled": Scenario(
        faults=(FailEntries("ThrottlingException", times=None),),
        seen={"Exhausted ThrottlingException 3": 45},
        accepted=0,
    ),
    "a permanent failure": Scenario(
        faults=(FailEntries("MalformedDetail", indexes=[0]),),
        seen={"Accepted 1": 44, "Rejected MalformedDetail 1": 1},
    ),
    "a source that is gone": Scenario(
        given=lambda: events(20),
        faults=(FailEntries("ResourceNotFoundException", indexes=[0]),),
        seen={"Accepted 1": 19, "Rejected ResourceNotFoundException 1": 1},
    ),
    "an answer that is lost": Scenario(
        faults=(LoseAnswer(),), seen={"Accepted 1": 25, "Accepted 2": 20}, accepted=65
    ),
    "answers that are all lost": Scenario(
        given=lambda: events(20),
        faults=(LoseAnswer(times=None),),
        seen={"Unconfirmed 3": 20},
        accepted=60,
    ),
    "a lost answer, and then a refusal": Scenario(
        given=lambda: events(20),
        faults=(LoseAnswer(), FailRequest("AccessDeniedException", after=1)),
        seen={"Unconfirmed 2": 20},
    ),
    "an answer that is cut": Scenario(
        given=lambda: events(20), faults=(CutAnswer(40),), seen={"Accepted 2": 20}, accepted=40
    ),
    "an answer that is garbled": Scenario(
        given=lambda: events(20), faults=(GarbleAnswer(),), seen={"Accepted 2": 20}, accepted=40
    ),
    "results that are missing": Scenario(
        given=lambda: events(20), faults=(WrongLength(),), seen={"Accepted 2": 20}, accepted=40
    ),
    "failures that are miscounted": Scenario(
        given=lambda: events(20),
        faults=(MiscountFailures(times=None),),
        seen={"Accepted 1": 20},
    ),
    "a result that says neither": Scenario(
        given=lambda: events(20),
        faults=(BlankResults([7]),),
        seen={"Accepted 1": 19, "Accepted 2": 1},
        accepted=21,
    ),
    "moto's answer": Scenario(
        given=lambda: events(20), faults=(EmptyAnswer(),), seen={"Accepted 1": 20}
    ),
    "a connection that closes": Scenario(
        given=lambda: events(20),
        faults=(CloseConnection(),),
        seen={"Accepted 2": 20},
        accepted=20,
    ),
    "a slow answer": Scenario(
        given=lambda: events(20),
        faults=(SlowAnswer(1),),
        settings={"timeout": Timeouts(read=0.1)},
        seen={"Accepted 2": 20},
        accepted=40,
    ),
    "a server error": Scenario(
        faults=(FailRequest("InternalFailure", 500, times=2),),
        seen={"Accepted 3": 20, "Accepted 1": 25},
    ),
    "a gateway that gives up": Scenario(
        given=lambda: events(20),
        faults=(FailRequest("x", 504, form="html", times=None),),
        seen={"Unconfirmed 3": 20},
    ),
    "no permission": Scenario(
        given=lambda: events(20),
        faults=(FailRequest("AccessDeniedException", 403, times=None),),
        seen={"Rejected AccessDeniedException 1": 20},
        requests=1,
    ),
    "poison": Scenario(
        given=poisoned,
        faults=(RefuseRequestContaining(is_poison),),
        seen={
            "Accepted 2": 10,
            "Accepted 3": 5,
            "Accepted 4": 2,
            "Accepted 5": 2,
            "Rejected ValidationException 5": 1,
        },
        accepted=19,
    ),
    "a wrong clock": Scenario(
        faults=(WrongClock(4000),), seen={"Accepted 2": 20, "Accepted 1": 25}, accepted=45
    ),
    "a token that expires": Scenario(
        given=lambda: events(20),
        faults=(ExpireToken(),),
        seen={"Exhausted ExpiredTokenException 2": 20},
    ),
    "a deadline": Scenario(
        faults=(SlowAnswer(5, times=None),),
        deadline=0.1,
        seen={"Unconfirmed 1": 20, "Exhausted DeadlineExceeded 0": 25},
    ),
    "a deadline beyond all clocks": Scenario(deadline=1e11, seen={"Accepted 1": 45}),
    "an input that raises": Scenario(
        given=lambda: then_raising(events(45)),
        seen={"Accepted 1": 45},
        raises=InputInterruptedError,
        accepted=45,
    ),
    "an input that raises at once": Scenario(
        given=lambda: then_raising([]), raises=InputInterruptedError, requests=0
    ),
    "an input that raises under faults": Scenario(
        given=lambda: then_raising(events(45)),
        faults=(FailEntries("InternalFailure", indexes=[0]),),
        seen={"Accepted 1": 44, "Accepted 2": 1},
        raises=InputInterruptedError,
    ),
    "no credentials": Scenario(settings={"credentials": None}, raises=CredentialsError, requests=0),
    "no region": Scenario(settings={"region": None}, raises=ConfigurationError, requests=0),
    "a deadline that makes no sense": Scenario(deadline=0, raises=ValueError, requests=0),
    "a single event": Scenario(given=lambda: event(0), raises=TypeError, requests=0),
    "text": Scenario(given=lambda: "text", raises=TypeError, requests=0),
    "no iterable": Scenario(given=lambda: 7, raises=TypeError, requests=0),
    "an endpoint where nobody listens": Scenario(
        given=lambda: events(20),
        settings={"endpoint_url": None},
        seen={"Exhausted TransportError 3": 20},
        requests=0,
    ),
    "an endpoint that cannot be trusted": Scenario(
        settings={"endpoint_url": "tls"},
        seen={"Exhausted TlsError 1": 20, "Exhausted TlsError 0": 25},
        requests=0,
    ),
}


def kind(outcome: Outcome) -> str:
    """Return the kind, code and number of attempts of an outcome."""
    words = [type(outcome).__name__, getattr(outcome, "code", ""), str(outcome.attempts)]
    return " ".join(filter(None, words))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port: int = unused.getsockname()[1]
    return port


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_each_way_of_sending_has_the_same_outcomes(scenario: Scenario, way: Way) -> None:
    """Each scenario runs over HTTP, with real connections."""
    service = FakeEventBridge(seed=1)
    service.play(*scenario.faults)
    given: Any = scenario.given()
    single = isinstance(given, (PartnerEvent, str, int))
    if single and isinstance(way, OnLoop):
        way = attrs.evolve(way, iterates=as_it_is)
    outcomes: list[Outcome] = []
    error: Exception | None = None
    with (
        service.serve() as server,
        served(lambda connection: connection.sendall(OK)) as without_tls,
    ):
        settings: dict[str, Any] = {
            "region": service.region,
            "endpoint_url": server.url,
            "credentials": service.credentials,
            "retry": AT_ONCE,
            "max_in_flight": 1,
            **scenario.settings,
        }
        if settings["endpoint_url"] is None:
            settings["endpoint_url"] = f"http://127.0.0.1:{free_port()}"
        elif settings["endpoint_url"] == "tls":
            settings["endpoint_url"] = f"https://127.0.0.1:{without_tls}"
        try:
            way.send(settings, given, scenario.deadline, outcomes.extend)
        except Exception as raised:  # noqa: BLE001
            error = raised

    if error is not None or scenario.raises is not None:
        assert scenario.raises is not None, error
        assert isinstance(error, scenario.raises)
    if isinstance(error, InputInterruptedError):
        assert isinstance(error.__cause__, LookupError)
        assert "secret" not in str(error)
        outcomes += error.report
    assert Counter(map(kind, outcomes)) == scenario.seen
    assert [outcome.index for outcome in outcomes] == list(range(len(outcomes)))
    if scenario.accepted is not None:
        assert service.accepted_count == scenario.accepted
    if scenario.requests is not None:
        assert service.request_count == scenario.requests


def test_an_expired_token_is_replaced_by_fresh_credentials(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request refused for its token is retried once, with fresh credentials."""
    service = FakeEventBridge()
    service.play(ExpireToken())

    def give(credentials: Any) -> None:
        read = credentials.get_frozen_credentials()
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", read.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", read.secret_key)
        monkeypatch.setenv("AWS_SESSION_TOKEN", read.token or "")

    def changing() -> Iterator[PartnerEvent]:
        yield from events(1)
        give(service.rotate_credentials("a-fresh-token"))
        yield from events(39)

    give(service.credentials)
    outcomes: list[Outcome] = []
    with service.serve() as server:
        settings = {"endpoint_url": server.url, "retry": AT_ONCE, "max_in_flight": 1}
        way.send({"region": service.region, **settings}, changing(), None, outcomes.extend)

    assert Counter(map(kind, outcomes)) == {"Accepted 2": 20, "Accepted 1": 20}


@pytest.mark.slow
def test_raw_calls_are_alike() -> None:
    """Both clients give the same answer, except for ids, and raise the same errors."""
    entry = {"Source": SOURCE, "DetailType": "t", "Detail": "{}"}
    ways: list[Way] = [Blocking(streams=False), OnLoop(streams=False, iterates=as_it_is)]
    for fault, error in (
        (FailEntries("InternalFailure", indexes=[1]), None),
        (FailRequest("ThrottlingException"), ServiceError),
        (LoseAnswer(), TransportError),
        (CutAnswer(10), TransportError),
        (WrongLength(1), UnreadableAnswerError),
        (None, InvalidEventError),
    ):
        seen: list[Any] = []
        for way in ways:
            service = FakeEventBridge()
            service.play(*([fault] if fault else []))
            with service.serve() as server:
                settings = {
                    "region": service.region,
                    "endpoint_url": server.url,
                    "credentials": service.credentials,
                }
                entries = [entry, entry if fault else entry | {"Source": "x"}]
                if error is None:
                    answer = way.put_raw(settings, entries)
                    metadata = answer["ResponseMetadata"]
                    answer["Entries"][0]["EventId"] = metadata["RequestId"] = "an id"
                    metadata["HTTPHeaders"] = sorted(metadata["HTTPHeaders"])
                    seen.append(answer)
                else:
                    with pytest.raises(error) as caught:
                        way.put_raw(settings, entries)
                    said = str(caught.value).replace(server.url.partition("://")[2], "it")
                    # The rest is the library's text on how the connection ended.
                    seen.append(said.partition(" (")[0])
        assert seen[0] == seen[1]
