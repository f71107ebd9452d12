"""The asyncio client: what only it does, and its life cycle."""

from __future__ import annotations

import asyncio
import copy
import datetime
import gc
import itertools
import json
import logging
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing
from typing import Any, TypeVar

import pytest
from botocore.credentials import Credentials, RefreshableCredentials
from tenacity import stop_after_attempt, wait_fixed, wait_none

from eventbridge_partner import (
    Accepted,
    AsyncPartnerEventsClient,
    CallCancelledError,
    ConfigurationError,
    CredentialsError,
    Exhausted,
    HttpRequest,
    HttpResponse,
    InputInterruptedError,
    Outcome,
    PartnerEvent,
    Rejected,
    RetryPolicy,
    Timeouts,
    TransportError,
    Unconfirmed,
)
from eventbridge_partner.observing import Observation, RequestEnded
from eventbridge_partner.testing import (
    FailEntries,
    FailRequest,
    FakeEventBridge,
    LocalServer,
    SlowAnswer,
)
from tests.patience import SOON
from tests.patience import until as wait_until

T = TypeVar("T")

SOURCE = "aws.partner/example.com/acme"
IMPATIENT = RetryPolicy(wait=wait_none(), throttle_wait=wait_none(), stop=stop_after_attempt(3))


def event(number: int) -> PartnerEvent:
    return PartnerEvent(SOURCE, "test", {"number": number})


def events(count: int) -> list[PartnerEvent]:
    return [event(number) for number in range(count)]


async def arriving(count: int, pause: float = 0.0) -> AsyncIterator[PartnerEvent]:
    """Yield events, and let the loop run before each."""
    for number in range(count):
        await asyncio.sleep(pause)
        yield event(number)


@pytest.fixture
def service() -> FakeEventBridge:
    return FakeEventBridge()


@pytest.fixture
def server(service: FakeEventBridge) -> Iterator[LocalServer]:
    with service.serve() as server:
        yield server


def client_of(
    service: FakeEventBridge, server: LocalServer, **settings: Any
) -> AsyncPartnerEventsClient:
    settings.setdefault("credentials", service.credentials)
    settings.setdefault("retry", IMPATIENT)
    return AsyncPartnerEventsClient(service.region, endpoint_url=server.url, **settings)


@pytest.fixture(autouse=True)
def nothing_is_left_or_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """asyncio logs no unhandled exception, pending task or asynchronous generator."""
    yield
    gc.collect()
    records = [record for record in caplog.records if record.name == "asyncio"]
    assert [r.getMessage() for r in records if r.levelno >= logging.ERROR] == []


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run in a loop in debug mode, and check that no task is left over."""

    async def watched() -> T:
        found = await main
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return found

    return asyncio.run(watched(), debug=True)


def numbers(service: FakeEventBridge) -> list[int]:
    return [json.loads(accepted.detail)["number"] for accepted in service.accepted]


async def until(reached: Callable[[], bool]) -> None:
    """Let the loop run until a condition holds that the service's threads fulfil."""
    async with asyncio.timeout(SOON):
        while not reached():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


# ---------------------------------------------------------------- many at a time


@pytest.mark.slow
def test_many_requests_are_in_flight(service: FakeEventBridge, server: LocalServer) -> None:
    """32 slow answers take as long as one."""
    service.play(SlowAnswer(0.3, times=None))
    started = time.monotonic()

    async def main() -> None:
        async with client_of(service, server) as client:
            (await client.put_events(events(640))).raise_for_undelivered()

    run(main())
    assert time.monotonic() - started < 6


@pytest.mark.slow
def test_fifty_tasks_share_a_client(service: FakeEventBridge, server: LocalServer) -> None:
    """Each task gets the outcomes of its own events."""

    async def main() -> None:
        async with client_of(service, server) as client:

            async def send(task: int) -> None:
                own = [event(task * 1000 + number) for number in range(30)]
                report = await client.put_events(own)
                assert [outcome.event for outcome in report.accepted] == own

            await asyncio.gather(*map(send, range(50)))

    run(main())
    assert len(set(numbers(service))) == service.accepted_count == 1500


@pytest.mark.slow
def test_other_tasks_run_while_events_are_read(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """Other tasks run even while many events are rejected without a request."""

    async def main() -> int:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        counting = asyncio.ensure_future(count())
        async with client_of(service, server) as client:
            await client.look_up()
            before = turns
            strange: Any = [None] * 30_000
            assert len((await client.put_events(strange)).rejected) == 30_000
            during = turns - before
        counting.cancel()
        await asyncio.wait([counting])
        return during

    assert run(main()) > 3


@pytest.mark.slow
def test_the_loop_is_not_blocked(
    service: FakeEventBridge, server: LocalServer, caplog: pytest.LogCaptureFixture
) -> None:
    """asyncio's debug mode reports nothing slow: settings are looked up off the loop."""
    caplog.set_level(logging.WARNING, "asyncio")

    async def main() -> None:
        asyncio.get_running_loop().slow_callback_duration = 0.25
        async with client_of(service, server) as client:
            (await client.put_events(events(2000))).raise_for_undelivered()
            (await client.put_events(arriving(2000))).raise_for_undelivered()
            async for outcome in client.stream_events(arriving(200)):
                assert isinstance(outcome, Accepted)

    run(main())
    assert [record.getMessage() for record in caplog.records] == []


# ---------------------------------------------------------------- slow input


def test_a_full_batch_goes_out_before_the_next_event_comes(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """Its outcomes are handed out before the next event, too."""

    async def main() -> None:
        more = asyncio.Event()

        async def pausing() -> AsyncIterator[PartnerEvent]:
            for one in events(20):
                yield one
            await more.wait()
            yield event(20)

        async with client_of(service, server) as client:
            stream = client.stream_events(pausing())
            first = [await anext(stream) for _ in range(20)]
            assert [outcome.index for outcome in first] == list(range(20))
            more.set()
            assert (await anext(stream)).index == 20
            assert [outcome async for outcome in stream] == []

    run(main())


def test_retries_do_not_wait_for_the_next_event(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """Events that wait for a full batch neither hold retries back nor go out with them."""
    service.play(FailEntries("InternalFailure", indexes=[3]))

    async def main() -> None:
        more = asyncio.Event()

        async def pausing() -> AsyncIterator[PartnerEvent]:
            for one in events(25):
                yield one
            await more.wait()

        async with client_of(service, server) as client:
            stream = client.stream_events(pausing())
            first = [await anext(stream) for _ in range(20)]
            assert [outcome.attempts for outcome in first] == [1] * 3 + [2] + [1] * 16
            await asyncio.sleep(0.05)
            assert service.request_count == 2
            more.set()
            assert len([outcome async for outcome in stream]) == 5

    run(main())
    assert service.request_count == 3


@pytest.mark.slow
def test_a_deadline_passes_while_the_input_pauses(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """Events that arrive late are not sent; those answered in time are accepted."""

    async def main() -> list[Outcome]:
        async def pausing() -> AsyncIterator[PartnerEvent]:
            for one in events(25):
                yield one
            await until(lambda: service.accepted_count == 21)
            await asyncio.sleep(2.1)
            yield event(25)

        async with client_of(service, server) as client:
            await client.put_events(events(1))  # connects
            return list(await client.put_events(pausing(), deadline=2))

    outcomes = run(main())
    assert [type(outcome) for outcome in outcomes] == [Accepted] * 20 + [Exhausted] * 6
    assert [outcome.attempts for outcome in outcomes] == [1] * 20 + [0] * 6


def test_one_mapping_may_be_reused_for_each_event(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """A mapping is read as soon as it arrives."""

    async def refilling() -> AsyncIterator[dict[str, Any]]:
        entry: dict[str, Any] = {"Source": SOURCE, "DetailType": "t"}
        for number in range(45):
            entry["Detail"] = {"number": number}
            yield entry

    async def main() -> None:
        async with client_of(service, server) as client:
            (await client.put_events(refilling())).raise_for_undelivered()

    run(main())
    assert sorted(numbers(service)) == list(range(45))


def test_an_iterable_runs_in_one_task_from_its_first_event_to_its_end(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """An iterable may use timeouts and other things that belong to one task."""

    async def main() -> None:
        tasks = set()

        async def watched() -> AsyncIterator[PartnerEvent]:
            async with asyncio.timeout(60):
                for one in events(100):
                    tasks.add(asyncio.current_task())
                    yield one

        async with client_of(service, server) as client:
            (await client.put_events(watched())).raise_for_undelivered()
        assert len(tasks) == 1

    run(main())


def test_an_iterable_that_is_cancelled_cancels_the_call(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """The caller gets CancelledError, with a report on the events that were read."""

    async def main() -> None:
        async def ending() -> AsyncIterator[PartnerEvent]:
            for one in events(25):
                yield one
            raise asyncio.CancelledError

        async with client_of(service, server) as client:
            with pytest.raises(asyncio.CancelledError) as caught:
                await client.put_events(ending())
            assert len(report_of(caught.value)) == 25

    run(main())


def test_a_stream_reads_no_more_than_it_can_hold(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """Outcomes of an endless input come in order, and events are read as outcomes are taken."""
    taken = itertools.count()

    async def without_end() -> AsyncIterator[PartnerEvent]:
        for number in taken:
            yield event(number)

    async def main() -> None:
        async with (
            client_of(service, server, max_in_flight=4) as client,
            aclosing(client.stream_events(without_end())) as stream,
        ):
            first = [await anext(stream) for _ in range(500)]
            assert [outcome.index for outcome in first] == list(range(500))
            await asyncio.sleep(0.05)
            assert next(taken) <= 500 + 10 * 20

    run(main())


@pytest.mark.slow
def test_a_stream_uses_bounded_memory() -> None:
    """Nine thousand more events leave nothing in memory."""

    class Accepting:
        async def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
            count = len(json.loads(request.body)["Entries"])
            answer = {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}] * count}
            return HttpResponse(200, {}, json.dumps(answer).encode())

        async def close(self) -> None: ...

    async def main() -> None:
        client = AsyncPartnerEventsClient(
            "us-east-1", transport=Accepting(), credentials=Credentials("A", "B")
        )
        stream = client.stream_events(arriving(12_000))
        for _ in range(2_000):
            await anext(stream)
        tracemalloc.start()
        try:
            for _ in range(1_000):
                await anext(stream)
            before, _ = tracemalloc.get_traced_memory()
            async for _ in stream:
                pass
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert after - before < 500_000

    asyncio.run(main())


# ---------------------------------------------------------------- cancellation


async def pass_once_sent(service: FakeEventBridge, limit: asyncio.Timeout) -> None:
    await until(lambda: service.request_count == 1)
    limit.reschedule(asyncio.get_running_loop().time())


def report_of(cancelled: BaseException) -> Any:
    assert isinstance(cancelled.__cause__, CallCancelledError)
    return cancelled.__cause__.report


@pytest.mark.slow
def test_a_cancelled_call_reports_on_all_its_events(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """The report covers accepted, in-flight, waiting and unsent events, in order and at once."""
    service.play(
        FailEntries("InternalFailure", indexes=[0]),
        SlowAnswer(SOON, after=1, times=None),
    )
    patient = RetryPolicy(wait=wait_fixed(SOON))
    told: list[Observation] = []

    async def main() -> list[Outcome]:
        pauses = asyncio.Event()

        async def pausing() -> AsyncIterator[PartnerEvent]:
            for one in events(20):
                yield one
            await until(lambda: any(isinstance(one, RequestEnded) for one in told))
            for number in range(20, 47):
                yield event(number)
            pauses.set()
            await asyncio.sleep(SOON)

        async with client_of(service, server, retry=patient, observe=told.append) as client:
            sending = asyncio.ensure_future(client.put_events(pausing()))
            await pauses.wait()
            await until(lambda: service.request_count == 2)
            started = time.monotonic()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await sending
            assert time.monotonic() - started < SOON / 2
            return list(report_of(caught.value))

    outcomes = run(main())
    assert [outcome.index for outcome in outcomes] == list(range(47))
    kinds = [
        (type(outcome), getattr(outcome, "code", ""), outcome.attempts) for outcome in outcomes
    ]
    assert kinds == [
        (Exhausted, "InternalFailure", 1),
        *[(Accepted, "", 1)] * 19,
        *[(Unconfirmed, "", 1)] * 20,
        *[(Exhausted, "Cancelled", 0)] * 7,
    ]


@pytest.mark.slow
def test_a_timeout_around_a_call_has_its_report(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """The report is on the cause of the timeout's cause."""
    service.play(SlowAnswer(SOON, times=None))

    async def main() -> None:
        async with client_of(service, server, max_in_flight=1) as client:
            limit = asyncio.timeout(None)
            watching = asyncio.create_task(pass_once_sent(service, limit))
            with pytest.raises(TimeoutError) as caught:
                async with limit:
                    await client.put_events(events(45))
            await watching
        assert caught.value.__cause__ is not None
        report = report_of(caught.value.__cause__)
        assert [type(outcome) for outcome in report] == [Unconfirmed] * 20
        restored = pickle.loads(pickle.dumps(caught.value.__cause__.__cause__))
        assert len(restored.report) == 20

    run(main())


def test_a_call_cancelled_before_it_begins_reads_nothing(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """Its report is empty, and no event is read."""

    async def main() -> None:
        given = iter(events(3))
        async with client_of(service, server) as client:
            sending = asyncio.ensure_future(client.put_events(given))
            await asyncio.sleep(0)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await sending
            assert len(report_of(caught.value)) == 0
            assert len(list(given)) == 3

    run(main())
    assert service.request_count == 0


@pytest.mark.slow
def test_a_cancelled_stream_reports_outcomes_not_yet_handed_out(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """The outcomes handed out and the report together cover every event."""
    service.play(SlowAnswer(SOON, after=2, times=None))

    async def main() -> None:
        outcomes: list[Outcome] = []

        async def send(client: AsyncPartnerEventsClient) -> None:
            async for outcome in client.stream_events(arriving(60)):
                outcomes.append(outcome)

        async with client_of(service, server, max_in_flight=1) as client:
            sending = asyncio.ensure_future(send(client))
            await until(lambda: len(outcomes) == 40 and service.request_count == 3)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await sending
        outcomes += report_of(caught.value)
        assert [outcome.index for outcome in outcomes] == list(range(60))
        assert Counter(type(outcome) for outcome in outcomes) == {Accepted: 40, Unconfirmed: 20}

    run(main())


@pytest.mark.slow
def test_calls_cancelled_at_any_moment_report_the_truth(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """Reports agree with what the service accepted, and the next call gets its own answers."""
    dice = random.Random(20261123)
    service.play(FailEntries("InternalFailure", entry_share=0.2, share=0.2, times=None))
    count = itertools.count()

    async def main() -> None:
        async with client_of(service, server, max_in_flight=3) as client:
            for turn in range(60):
                own = [event(next(count)) for _ in range(65)]
                given: Any = own

                async def bring(own: list[PartnerEvent] = own) -> AsyncIterator[PartnerEvent]:
                    for one in own:
                        await asyncio.sleep(0)
                        yield one

                if turn % 2:
                    given = bring()
                sending = asyncio.ensure_future(client.put_events(given))
                if turn % 3:
                    await asyncio.sleep(dice.random() * 0.02)
                else:
                    for _ in range(dice.randrange(40)):
                        await asyncio.sleep(0)
                sending.cancel()
                try:
                    report = await sending
                except asyncio.CancelledError as cancelled:
                    report = report_of(cancelled)
                await asyncio.sleep(0.01)  # for the service to finish its work
                taken = set(numbers(service))
                for outcome in report:
                    number = json.loads(outcome.event.detail)["number"]  # type: ignore[union-attr]
                    match outcome:
                        case Accepted():
                            assert number in taken
                        case Exhausted() | Rejected():
                            assert number not in taken
                        case Unconfirmed():
                            pass
                unreported = {json.loads(one.detail)["number"] for one in own[len(report) :]}
                assert not unreported & taken

                after = [event(next(count)) for _ in range(25)]
                last = await client.put_events(after)
                ids = {a.event_id: json.loads(a.detail)["number"] for a in service.accepted}
                for outcome in last.accepted:
                    number = json.loads(outcome.event.detail)["number"]  # type: ignore[union-attr]
                    assert ids[str(outcome.event_id)] == number

    run(main())


@pytest.mark.slow
@pytest.mark.parametrize("closes", [True, False])
def test_an_abandoned_stream_leaves_nothing_behind(
    service: FakeEventBridge, server: LocalServer, closes: bool
) -> None:
    """A stream that is closed or forgotten leaves no task, and the client stays usable."""
    service.play(SlowAnswer(0.5, after=1, times=None))
    left: list[str] = []
    pauses: list[bool] = []

    async def pausing() -> AsyncIterator[PartnerEvent]:
        try:
            for one in events(45):
                yield one
            pauses.append(True)
            await asyncio.sleep(SOON)
        except asyncio.CancelledError:
            left.append("cancelled")
            raise

    async def main() -> None:
        async with client_of(service, server) as client:
            stream = client.stream_events(pausing())
            async for _ in stream:
                break
            await until(lambda: bool(pauses))
            if closes:
                await stream.aclose()
                assert len(asyncio.all_tasks()) == 1
            else:
                del stream
                gc.collect()
                await until(lambda: len(asyncio.all_tasks()) == 1)
            assert left == ["cancelled"]
            service.clear_faults()
            (await client.put_events(events(20))).raise_for_undelivered()

    run(main())


def test_an_abandoned_stream_ends_with_its_loop(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """asyncio logs no error."""
    service.play(SlowAnswer(5, after=1, times=None))
    client = client_of(service, server, max_in_flight=1)

    async def main() -> AsyncIterator[Outcome]:
        stream = client.stream_events(arriving(60))
        await anext(stream)
        return stream

    stream = asyncio.run(main(), debug=True)
    del stream


# ---------------------------------------------------------------- credentials


class Counted:
    """Custom credentials that record the threads that ask, and may wait for the test."""

    def __init__(self, credentials: Any, *, come_at_once: bool = True) -> None:
        self.credentials = credentials
        self.may_come = threading.Event()
        self.threads: list[threading.Thread] = []
        if come_at_once:
            self.may_come.set()

    def get_frozen_credentials(self) -> Any:
        self.threads.append(threading.current_thread())
        assert self.may_come.wait(SOON)
        return self.credentials.get_frozen_credentials()


@pytest.mark.slow
def test_credentials_are_fetched_once_for_all_calls_and_off_the_loop(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """Credentials are then kept for a while instead of fetched for each request."""
    counted = Counted(service.credentials, come_at_once=False)

    async def main() -> None:
        async with client_of(service, server, credentials=counted) as client:
            sending = asyncio.gather(*(client.put_events(events(60)) for _ in range(10)))
            await until(lambda: bool(counted.threads))
            counted.may_come.set()  # by the loop, which the look-up does not block
            for report in await sending:
                report.raise_for_undelivered()
            await client.put_partner_events(
                Entries=[{"Source": SOURCE, "DetailType": "t", "Detail": "{}"}]
            )

    run(main())
    assert len(counted.threads) == 1
    assert counted.threads[0] is not threading.current_thread()


def test_credentials_that_change_are_followed(
    service: FakeEventBridge, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Custom credentials are asked again after a second; the test moves the clock forward."""
    counted = Counted(service.credentials)
    forward = [0.0]
    monotonic = time.monotonic

    async def main() -> None:
        async with client_of(service, server, credentials=counted) as client:
            await client.put_events(events(1))
            await client.put_events(events(1))
            assert len(counted.threads) == 1
            counted.credentials = service.rotate_credentials()
            forward[0] += 1.1
            await client.put_events(events(1))
            assert len(counted.threads) == 2

    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + forward[0])
    run(main())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lasting", "refreshable"])
def test_credentials_at_hand_are_read_on_the_loop(
    service: FakeEventBridge, server: LocalServer, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """botocore's credentials need no thread until they are about to expire."""
    refreshed: list[threading.Thread] = []

    def refresh() -> dict[str, Any]:
        refreshed.append(threading.current_thread())
        expiry = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
        return {
            "access_key": service.credentials.access_key,
            "secret_key": service.credentials.secret_key,
            "token": None,
            "expiry_time": expiry.isoformat(),
        }

    credentials: Any = service.credentials
    if kind == "refreshable":
        credentials = RefreshableCredentials.create_from_metadata(
            refresh(), refresh_using=refresh, method="test"
        )
    asked: list[threading.Thread] = []
    frozen = type(credentials).get_frozen_credentials

    def watched(self: Any) -> Any:
        asked.append(threading.current_thread())
        return frozen(self)

    monkeypatch.setattr(type(credentials), "get_frozen_credentials", watched)

    async def main() -> None:
        async with client_of(service, server, credentials=credentials) as client:
            (await client.put_events(events(100))).raise_for_undelivered()
            assert set(asked) == {threading.current_thread()}
            if kind == "refreshable":
                credentials._expiry_time = datetime.datetime.now(datetime.UTC)
                (await client.put_events(events(100))).raise_for_undelivered()
                assert len(refreshed) == 2
                assert refreshed[1] is not threading.current_thread()

    run(main())


def test_missing_credentials_take_nothing_from_the_iterable(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """No event was read, and nothing was sent."""

    async def main() -> None:
        given = arriving(3)
        async with client_of(service, server, credentials=None) as client:
            with pytest.raises(CredentialsError):
                await client.put_events(given)
            with pytest.raises(CredentialsError):
                await anext(client.stream_events(given))
        assert len([one async for one in given]) == 3

    run(main())


def test_credentials_that_fail_midway_exhaust_the_remaining_events(
    service: FakeEventBridge, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events that cannot be signed are Exhausted, and none is lost."""
    counted = Counted(service.credentials)
    forward = [0.0]
    monotonic = time.monotonic

    async def main() -> list[Outcome]:
        async def failing() -> AsyncIterator[PartnerEvent]:
            for one in events(20):
                yield one
            await until(lambda: service.accepted_count == 20)
            counted.credentials = None
            forward[0] += 1.1
            for one in events(5):
                yield one

        async with client_of(service, server, credentials=counted) as client:
            return list(await client.put_events(failing()))

    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + forward[0])
    outcomes = run(main())
    assert [type(outcome) for outcome in outcomes] == [Accepted] * 20 + [Exhausted] * 5
    assert {outcome.code for outcome in outcomes if isinstance(outcome, Exhausted)} == {
        "CredentialsError"
    }


@pytest.mark.slow
def test_a_cancelled_wait_for_credentials_is_prompt(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """Other calls still get credentials, and both the loop and the program can end."""
    counted = Counted(service.credentials, come_at_once=False)
    never = Counted(service.credentials, come_at_once=False)

    async def main() -> None:
        client = client_of(service, server, credentials=counted)
        await client.look_up()
        first = asyncio.ensure_future(client.put_events(events(1)))
        second = asyncio.ensure_future(client.put_events(events(1)))
        await until(lambda: bool(counted.threads))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        counted.may_come.set()
        (await second).raise_for_undelivered()
        assert len(counted.threads) == 1
        third = asyncio.ensure_future(
            client_of(service, server, credentials=never).put_events(events(1))
        )
        await until(lambda: bool(never.threads))
        third.cancel()
        await asyncio.wait([third])
        await client.close()

    started = time.monotonic()
    run(main())
    assert time.monotonic() - started < SOON / 2
    never.may_come.set()


# ---------------------------------------------------------------- life


def test_the_look_up_happens_off_the_loop_and_once_for_all_calls(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """A look-up reads files, so it runs on another thread."""
    made: list[threading.Thread] = []

    class Transport:
        def __init__(self, *, ca_bundle: Any, proxies: Any) -> None:
            made.append(threading.current_thread())
            self.closed = 0

        async def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
            raise TransportError("lost", may_have_been_sent=False)

        async def close(self) -> None:
            self.closed += 1

    async def main() -> None:
        async with client_of(service, server, transport=Transport) as client:
            assert repr(client) == "<AsyncPartnerEventsClient, not used yet>"
            reports = await asyncio.gather(*(client.put_events(events(3)) for _ in range(5)))
            assert {len(report.exhausted) for report in reports} == {3}
            assert await client.look_up() is client
            assert (client.region, client.endpoint_url) == (service.region, f"{server.url}/")
            assert server.url in repr(client)

    run(main())
    assert len(made) == 1
    assert made[0] is not threading.current_thread()


def test_no_region_is_reported_by_the_first_call() -> None:
    """Every call reports it, and names the variable that would set a Region."""

    async def main() -> None:
        client = AsyncPartnerEventsClient()
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="AWS_REGION"):
                await client.put_events([])
        with pytest.raises(ConfigurationError, match="AWS_REGION"):
            _ = client.region
        await client.close()

    run(main())


def test_a_given_transport_is_its_owners_to_close() -> None:
    """A transport needs nothing but `send`, and its exceptions lose no report."""

    class Failing:
        sent = 0

        async def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
            self.sent += 1
            raise ValueError("secret")

        async def close(self) -> None:
            raise AssertionError("a given transport is its owner's to close")

    async def main() -> None:
        transport = Failing()
        async with AsyncPartnerEventsClient(
            "us-east-1",
            transport=transport,
            credentials=Credentials("A", "B"),
            retry=IMPATIENT,
        ) as client:
            report = await client.put_events(events(60))
        assert transport.sent == 9
        assert len(report.unconfirmed) == 60
        assert all("ValueError" in outcome.reason for outcome in report.unconfirmed)
        assert not any("secret" in outcome.reason for outcome in report.unconfirmed)

    run(main())


@pytest.mark.slow
@pytest.mark.parametrize("closes", [True, False])
def test_a_client_serves_loops_one_after_another(
    service: FakeEventBridge, server: LocalServer, closes: bool
) -> None:
    """The client may be closed in between or not, even if one loop cut its look-up short."""
    client = client_of(service, server)

    async def cut_short() -> None:
        sending = asyncio.ensure_future(client.put_events(events(3)))
        await asyncio.sleep(0)
        sending.cancel()
        await asyncio.wait([sending])

    async def main() -> None:
        (await client.put_events(events(100))).raise_for_undelivered()
        (await client.put_events(arriving(45))).raise_for_undelivered()
        if closes:
            await client.close()

    for _ in range(3):
        run(cut_short())
        run(main())


def test_it_runs_on_uvloop(service: FakeEventBridge, server: LocalServer) -> None:
    """Calls, streams, faults and cancellation work on uvloop."""
    uvloop = pytest.importorskip("uvloop")
    service.play(FailRequest("InternalFailure", 500, times=2))

    async def main() -> None:
        async with client_of(service, server) as client:
            (await client.put_events(arriving(200))).raise_for_undelivered()
            async with aclosing(client.stream_events(arriving(200))) as stream:
                async for outcome in stream:
                    if outcome.index == 100:
                        break
            service.play(SlowAnswer(SOON))
            before = service.request_count
            sending = asyncio.ensure_future(client.put_events(events(20)))
            await until(lambda: service.request_count > before)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await sending
            assert len(report_of(caught.value).unconfirmed) == 20
            (await client.put_events(events(200))).raise_for_undelivered()

    uvloop.run(main(), debug=True)


def test_a_closed_client_opens_again(service: FakeEventBridge, server: LocalServer) -> None:
    """A client can be used again after close, and leaves no thread behind."""
    before = set(threading.enumerate())

    async def main() -> None:
        client = client_of(service, server)
        for _ in range(2):
            (await client.put_events(events(200))).raise_for_undelivered()
            await client.close()
        await client.close()

    run(main())
    server.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(SOON)
    assert set(threading.enumerate()) <= before


def test_closing_during_a_call_does_not_hang_it(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """Another task's call continues, and all its events are accepted."""
    service.play(SlowAnswer(0.02, times=None))

    async def main() -> None:
        client = client_of(service, server, max_in_flight=3)
        sending = asyncio.ensure_future(client.put_events(events(400)))
        for _ in range(5):
            await asyncio.sleep(0.02)
            await client.close()
        (await sending).raise_for_undelivered()
        await client.close()

    run(main())


@pytest.mark.process
def test_both_sides_of_a_fork_can_send(service: FakeEventBridge, server: LocalServer) -> None:
    """The child uses no connection, thread or lock of its parent."""
    script = f"""
import asyncio, os
from botocore.credentials import Credentials
from eventbridge_partner import AsyncPartnerEventsClient, PartnerEvent

client = AsyncPartnerEventsClient(
    "us-east-1",
    endpoint_url={server.url!r},
    credentials=Credentials({service.credentials.access_key!r}, {service.credentials.secret_key!r}),
)
async def send(first):
    events = [PartnerEvent({SOURCE!r}, "t", {{"number": n}}) for n in range(first, first + 100)]
    assert len((await client.put_events(events)).accepted) == 100

with asyncio.Runner() as runner:
    runner.run(send(0))
    child = os.fork()
    if child == 0:
        try:
            asyncio.new_event_loop().run_until_complete(send(100))
            os._exit(0)
        except BaseException:
            os._exit(1)
    runner.run(send(200))
    _, status = os.waitpid(child, 0)
    assert status == 0, status
"""
    finished = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script],
        capture_output=True,
        text=True,
        timeout=SOON,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    assert sorted(numbers(service)) == list(range(300))


@pytest.mark.process
def test_ctrl_c_ends_a_program_promptly(service: FakeEventBridge, server: LocalServer) -> None:
    """Ctrl-C ends a call promptly, and the report is on the exception's cause."""
    service.play(SlowAnswer(1000, times=None))
    script = f"""
import asyncio, signal
from botocore.credentials import Credentials
from eventbridge_partner import AsyncPartnerEventsClient, PartnerEvent

signal.signal(signal.SIGINT, signal.default_int_handler)
client = AsyncPartnerEventsClient(
    "us-east-1",
    endpoint_url={server.url!r},
    credentials=Credentials({service.credentials.access_key!r}, {service.credentials.secret_key!r}),
)
async def main():
    try:
        await client.put_events(PartnerEvent({SOURCE!r}, "t", {{"n": n}}) for n in range(45))
    except asyncio.CancelledError as cancelled:
        print(len(cancelled.__cause__.report.unconfirmed))
        raise
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        wait_until(lambda: service.request_count == 3)
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=SOON)

    assert out.split() == ["45", "interrupted"]
    [said] = err.splitlines()
    assert "45 events of direct calls were not accepted" in said


def test_a_client_cannot_be_pickled_or_copied(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """A client holds connections and credentials."""
    client = client_of(service, server)
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(client)
    with pytest.raises(TypeError):
        copy.deepcopy(client)


def test_anything_but_an_iterable_of_events_is_refused_at_once(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """A stream is refused before it is iterated over, and so is an invalid deadline."""
    client = client_of(service, server)
    single: Any = event(0)
    with pytest.raises(TypeError):
        client.stream_events(single)
    with pytest.raises(ValueError, match="deadline"):
        client.stream_events([], deadline=0)


def test_an_input_that_raises_waits_for_requests_in_flight(
    service: FakeEventBridge, server: LocalServer
) -> None:
    """The exception comes with the outcomes of all events that were read."""
    service.play(SlowAnswer(0.1, times=None))

    async def main() -> None:
        async def failing() -> AsyncIterator[PartnerEvent]:
            for one in events(45):
                yield one
            raise LookupError("secret")

        async with client_of(service, server) as client:
            with pytest.raises(InputInterruptedError) as caught:
                await client.put_events(failing())
        assert [type(outcome) for outcome in caught.value.report] == [Accepted] * 45
        assert isinstance(caught.value.__cause__, LookupError)

    run(main())
