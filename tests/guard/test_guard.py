"""Guards in front of both clients: what they hold back, what they look up, and outages."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import os
import threading
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbridge_partner import (
    Accepted,
    AsyncPartnerEventsClient,
    AsyncSourceGuard,
    CallCancelledError,
    InputInterruptedError,
    Pace,
    PartnerEvent,
    PartnerEventsClient,
    Rejected,
    SourceGuard,
)
from eventbridge_partner.testing import (
    SOURCE_OPERATIONS,
    CloseConnection,
    FailRequest,
    FakeEventBridge,
    LimitRate,
    SlowAnswer,
)
from tests.sources.plain import Plain

PREFIX = "aws.partner/example.com/"
ACCOUNT = "123456789012"
ACTIVE, PENDING, GONE = PREFIX + "active", PREFIX + "pending", PREFIX + "gone"


def event(source=ACTIVE, number=0):
    return PartnerEvent(source, "t", {"number": number})


def seen(outcomes):
    """Return each outcome as its kind, its code and its attempts."""
    return [
        f"{type(one).__name__} {getattr(one, 'code', '')} {one.attempts}".replace("  ", " ")
        for one in outcomes
    ]


def look_ups(service):
    return sum(record.operation in SOURCE_OPERATIONS for record in service.requests)


@pytest.fixture
def guarded(kind, open_client, service):
    """Return a function that makes guards; the service has a source of each kind."""
    for name in (ACTIVE, PENDING, GONE):
        service.sources.create(name, ACCOUNT)
    service.sources.associate(ACTIVE, ACCOUNT)
    service.sources.expire(GONE, ACCOUNT)

    def make(**settings: Any) -> Plain:
        own = {name: settings.pop(name) for name in ("sources_pace",) if name in settings}
        client = open_client(**own)
        guard = AsyncSourceGuard if kind.is_async else SourceGuard
        return Plain(guard(client._wrapped, **settings), client._runner)

    return make


EVENTS = [event(ACTIVE, 0), event(PENDING, 1), event(GONE, 2), event(ACTIVE, 3)]
AS_REJECTED = ["Accepted 1", "Rejected SourcePending 0", "Rejected SourceGone 0", "Accepted 1"]


async def _async(events):
    for one in events:
        await asyncio.sleep(0)
        yield one


def test_both_guards_have_the_same_surface():
    """Both guards have the same settings, and methods with the same parameters."""

    def parameters(function):
        return [
            (one.name, one.kind, one.default)
            for one in inspect.signature(function).parameters.values()
        ]

    assert parameters(AsyncSourceGuard) == parameters(SourceGuard)
    names = {name for name in vars(SourceGuard) if not name.startswith("_")}
    assert names == {name for name in vars(AsyncSourceGuard) if not name.startswith("_")}
    for name in names:
        assert parameters(vars(AsyncSourceGuard)[name]) == parameters(vars(SourceGuard)[name])


@pytest.mark.parametrize("of", [list, tuple, iter], ids=lambda one: one.__name__)
def test_what_would_be_lost_is_held_back(guarded, service, of):
    """Events that the service would drop are rejected; outcomes keep the caller's order."""
    report = guarded().put_events(of(EVENTS))
    assert seen(report) == AS_REJECTED
    assert [one.index for one in report] == [0, 1, 2, 3]
    assert [one.event for one in report] == EVENTS
    assert [one.source_is_gone for one in report.rejected] == [False, True]
    assert Counter(entry.source for entry in service.accepted) == {ACTIVE: 2}


def test_streams_too(guarded, service):
    """A stream holds back the same events."""
    assert seen(guarded().stream_events(iter(EVENTS))) == AS_REJECTED
    assert Counter(entry.source for entry in service.accepted) == {ACTIVE: 2}


def test_entries_and_what_is_no_event(guarded):
    """A mapping's source is looked up too; the client rejects what has no valid source."""
    entries = [
        {"Source": source, "DetailType": "t", "Detail": "{}"}
        for source in (ACTIVE, PENDING, "acme")
    ]
    report = guarded().put_events([*entries, {}, 7])
    assert seen(report) == [
        "Accepted 1",
        "Rejected SourcePending 0",
        *["Rejected InvalidEvent 0"] * 3,
    ]
    assert report[1].event is entries[1]


@pytest.mark.parametrize("word", ["allow", "warn"])
def test_pending_may_be_let_through(guarded, service, word, caplog):
    """`allow` and `warn` send events for a PENDING source; `warn` logs that once."""
    guard = guarded(on_pending=word)
    for _ in range(3):
        assert seen(guard.put_events(EVENTS))[1:3] == ["Accepted 1", "Rejected SourceGone 0"]
    dropped = [entry for entry in service.accepted if entry.dropped_for]
    assert len(dropped) == 3
    assert sum("is PENDING" in message for message in caplog.messages) == (word == "warn")


def test_parking(guarded, kind):
    """A function gets each event for a PENDING source; the outcome says that it was parked."""
    kept = []

    async def keep(parked):
        await asyncio.sleep(0)
        kept.append(parked)

    report = guarded(on_pending=keep if kind.is_async else kept.append).put_events(EVENTS)
    assert seen(report)[1] == "Exhausted SourceParked 0"
    assert kept == [EVENTS[1]]


def test_parking_that_fails(guarded):
    """If parking raises, the outcome says to send the event again."""

    def full(_):
        raise LookupError("the disk is full of secrets")

    outcome = guarded(on_pending=full).put_events(EVENTS)[1]
    assert seen([outcome]) == ["Exhausted SourcePending 0"]
    assert "LookupError" in outcome.message
    assert "secrets" not in outcome.message


def test_the_customers_account_counts(guarded, service):
    """A source must be ACTIVE in its account, or in any account if its own is not known."""
    service.sources.create(PENDING, "210987654321")
    service.sources.associate(PENDING, "210987654321")
    assert seen(guarded().put_events([event(PENDING)])) == ["Accepted 1"]
    account_of = {PENDING: ACCOUNT}.get
    assert seen(guarded(account_of=account_of).put_events(EVENTS)) == AS_REJECTED


def test_a_result_says_that_the_source_is_gone(guarded, service, kind):
    """After a result that its source is gone, nothing is sent to it; the hook is called once."""
    told = []

    async def tell(source):
        await asyncio.sleep(0)
        told.append(source)

    guard = guarded(on_source_gone=tell if kind.is_async else told.append)
    assert seen(guard.put_events([event()])) == ["Accepted 1"]
    service.sources.delete(ACTIVE, ACCOUNT)
    report = guard.put_events([event(), event(PENDING), event()])
    assert seen(report) == [
        "Rejected ResourceNotFoundException 1",
        "Rejected SourcePending 0",
        "Rejected ResourceNotFoundException 1",
    ]
    assert told == [ACTIVE]
    assert seen(guard.put_events([event()])) == ["Rejected SourceGone 0"]
    assert seen(guard.stream_events([event()])) == ["Rejected SourceGone 0"]
    assert told == [ACTIVE]


def test_a_look_up_says_that_the_source_is_gone(guarded):
    """A look-up that finds that a source is gone calls the hook once, too."""
    told = []
    guard = guarded(on_source_gone=told.append)
    for _ in range(2):
        guard.put_events(EVENTS)
    assert told == [GONE]


def test_a_hook_that_raises(guarded, caplog):
    """A hook that raises changes no outcome, and is logged without its text."""

    def hook(_):
        raise LookupError("secret")

    assert seen(guarded(on_source_gone=hook).put_events(EVENTS)) == AS_REJECTED
    assert f"on_source_gone raised LookupError for source {GONE}" in caplog.messages
    assert "secret" not in caplog.text


def test_a_source_that_comes_back(guarded, service):
    """A state is looked up again when it is too old."""
    now = [0.0]
    guard = guarded(clock=lambda: now[0])
    guard.put_events(EVENTS)
    service.sources.create(GONE, ACCOUNT)
    service.sources.associate(GONE, ACCOUNT)
    service.sources.associate(PENDING, ACCOUNT)
    now[0] = 29.0
    assert seen(guard.put_events(EVENTS)) == AS_REJECTED
    now[0] = 30.0
    assert seen(guard.put_events(EVENTS))[1:3] == ["Accepted 1", "Rejected SourceGone 0"]
    now[0] = 300.0
    assert seen(guard.put_events(EVENTS)) == ["Accepted 1"] * 4


def test_other_ways_of_sending(guarded, service):
    """`check` tells whether to hold back an event, and `learn` learns from an outcome."""
    guard = guarded()
    assert seen([guard.check(EVENTS[1]), guard.check(EVENTS[2])]) == AS_REJECTED[1:3]
    assert guard.check(EVENTS[0]) is None
    assert guard.check({}) is None
    gone = Rejected("ResourceNotFoundException", "m", EVENTS[0], 0, 1, source_is_gone=True)
    guard.learn(gone)
    assert seen([guard.check(EVENTS[0])]) == ["Rejected SourceGone 0"]
    assert look_ups(service) == 3


@pytest.mark.slow
@given(
    st.lists(st.sampled_from([ACTIVE, PENDING, GONE, "acme", None]), max_size=300), st.booleans()
)
def test_any_mixture_keeps_the_callers_order(names, lazily):
    """Any mixture of events gets the right outcomes in order, in a call and in a stream."""
    service = FakeEventBridge(only_known_sources=True)
    for name in (ACTIVE, PENDING):
        service.sources.create(name, ACCOUNT)
    service.sources.associate(ACTIVE, ACCOUNT)
    events: list[Any] = [
        event(name, number)
        if name in (ACTIVE, PENDING, GONE)
        else name and {"Source": name, "DetailType": "t", "Detail": "{}"}
        for number, name in enumerate(names)
    ]
    expected = {
        ACTIVE: "Accepted 1",
        PENDING: "Rejected SourcePending 0",
        GONE: "Rejected SourceGone 0",
    }
    with PartnerEventsClient(
        service.region,
        credentials=service.credentials,
        transport=service.transport(),
        sources_pace=Pace(),
    ) as client:
        guard = SourceGuard(client)
        given_events = iter(events) if lazily else events
        for outcomes in (guard.put_events(given_events), [*guard.stream_events(iter(events))]):
            assert seen(outcomes) == [expected.get(n, "Rejected InvalidEvent 0") for n in names]
            assert [one.index for one in outcomes] == list(range(len(names)))
            assert all(one.event is sent for one, sent in zip(outcomes, events, strict=True))
            for one in outcomes:
                if getattr(one, "code", "") == "InvalidEvent":
                    assert f"of event {one.index} " in getattr(one, "message", "")
                    assert [finding.index for finding in getattr(one, "findings", ())] == [
                        one.index
                    ]


def test_a_stream_that_is_all_held_back(service):
    """An endless stream of events that are all held back still yields their outcomes."""
    service.sources.create(PENDING, ACCOUNT)
    with PartnerEventsClient(
        service.region, credentials=service.credentials, transport=service.transport()
    ) as client:
        stream = SourceGuard(client).stream_events(itertools.repeat(event(PENDING)))
        outcomes = list(itertools.islice(stream, 2000))
    assert [one.index for one in outcomes] == list(range(2000))
    assert {type(one) for one in outcomes} == {Rejected}
    assert service.request_count == 1


def test_a_stream_that_breaks_off(guarded):
    """If the iterable raises, all events read before that get outcomes first."""
    outcomes = []
    guard = guarded()
    if guard._runner is None:
        stream = guard._wrapped.stream_events(breaking(EVENTS))
        with pytest.raises(InputInterruptedError, match="after 4 events") as caught:
            outcomes.extend(stream)
    else:

        async def main():
            async for one in guard._wrapped.stream_events(breaking(EVENTS)):
                outcomes.append(one)

        with pytest.raises(InputInterruptedError, match="after 4 events") as caught:
            guard._runner.run(main())
    assert seen(outcomes) == AS_REJECTED
    assert type(caught.value.__cause__) is LookupError


# ---------------------------------------------------------------- what is judged


def many():
    """Return 200 sources, 10,000 events over them, and which are PENDING and gone."""
    names = [f"{PREFIX}customer-{number:03}" for number in range(200)]
    events = [event(names[number % 200], number) for number in range(10_000)]
    return names, events, set(names[5::10]), set(names[7::40])


@pytest.mark.slow
@pytest.mark.parametrize("of", [list, iter], ids=lambda one: one.__name__)
def test_10_000_events_over_200_sources(guarded, service, of):
    """With 20 sources PENDING and 5 gone, outcomes are right and each source is looked up once."""
    names, events, pending, gone = many()
    for name in set(names) - gone:
        service.sources.create(name, ACCOUNT)
    for name in set(names) - gone - pending:
        service.sources.associate(name, ACCOUNT)
    service.forget()
    guard = guarded()
    for turn in range(2):
        report = guard.put_events(of(events))
        assert len(report) == 10_000
        for index, (sent, outcome) in enumerate(zip(events, report, strict=True)):
            assert outcome.index == index
            assert outcome.event is sent
            if sent.source in gone:
                assert (type(outcome), outcome.code) == (Rejected, "SourceGone")
                assert outcome.source_is_gone
            elif sent.source in pending:
                assert (type(outcome), outcome.code) == (Rejected, "SourcePending")
            else:
                assert type(outcome) is Accepted
        assert look_ups(service) == 200
        assert service.accepted_count == 8750 * (turn + 1)
    assert (len(pending), len(gone)) == (20, 5)
    assert {entry.dropped_for for entry in service.accepted} == {()}


@pytest.mark.slow
def test_look_ups_keep_the_quota(guarded, service):
    """By default, look-ups keep to 50 a second, so none is throttled."""
    names = [f"{PREFIX}customer-{number}" for number in range(70)]
    for name in names:
        service.sources.create(name, ACCOUNT)
    service.play(LimitRate(50, burst=10, operations=SOURCE_OPERATIONS, times=None))
    report = guarded(sources_pace=None).put_events([event(name) for name in names])
    assert seen(report) == ["Rejected SourcePending 0"] * 70
    assert {record.error_code for record in service.requests} == {None}


def test_a_call_looks_up_no_more_than_it_may(guarded, service):
    """Events whose source was not looked up are sent; the next call looks up the rest."""
    names = [f"{PREFIX}customer-{number}" for number in range(10)]
    for name in names:
        service.sources.create(name, ACCOUNT)
    guard = guarded(max_look_ups=6)
    counts = guard.put_events([event(name) for name in names]).counts
    assert (counts.rejected, counts.accepted) == (6, 4)
    counts = guard.put_events([event(name) for name in names]).counts
    assert (counts.rejected, counts.accepted) == (10, 0)
    assert look_ups(service) == 10


def test_patience_without_end(guarded, service):
    """With infinite patience and an infinite timeout, slow look-ups are waited for."""
    guard = guarded(patience=float("inf"), look_up_timeout=float("inf"))
    service.play(SlowAnswer(0.05, operations=SOURCE_OPERATIONS, times=None))
    assert seen(guard.put_events(EVENTS)) == AS_REJECTED


def test_streams_look_up_more_as_they_go_on(guarded, service):
    """In a stream, `max_look_ups` applies to each thousand events."""
    guard = guarded(max_look_ups=1)
    events = [*[event()] * 1000, event(PENDING), event(GONE)]
    outcomes = guard.stream_events(iter(events))
    assert seen(outcomes)[1000:] == [
        "Rejected SourcePending 0",
        "Rejected ResourceNotFoundException 1",
    ]


# ---------------------------------------------------------------- outages

OUTAGES = {
    "no answers": CloseConnection(times=None, operations=SOURCE_OPERATIONS),
    "failures": FailRequest("InternalException", 500, times=None, operations=SOURCE_OPERATIONS),
    "throttling": FailRequest("ThrottlingException", times=None, operations=SOURCE_OPERATIONS),
    "no permission": FailRequest("AccessDeniedException", times=None, operations=SOURCE_OPERATIONS),
    "slow": SlowAnswer(1.0, times=None, operations=SOURCE_OPERATIONS),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", OUTAGES.values(), ids=OUTAGES)
@pytest.mark.parametrize("of", [list, iter], ids=lambda one: one.__name__)
def test_an_outage_of_look_ups_holds_nothing_back(guarded, service, fault, of, caplog):
    """When look-ups fail, all events are sent, after few requests and one log line."""
    names = [f"{PREFIX}customer-{number}" for number in range(100)]
    for name in names:
        service.sources.create(name, ACCOUNT)
        service.sources.associate(name, ACCOUNT)
    service.play(fault)
    guard = guarded(look_up_timeout=0.2)
    for _ in range(3):
        assert guard.put_events(of([event(name) for name in names])).counts.accepted == 100
    assert look_ups(service) <= 3
    assert sum("cannot be looked up" in message for message in caplog.messages) == 1


def test_after_an_outage(guarded, service):
    """Look-ups pause for 5 s after a failure."""
    now = [0.0]
    guard = guarded(clock=lambda: now[0])
    service.play(FailRequest("AccessDeniedException", operations=SOURCE_OPERATIONS))
    assert seen(guard.put_events([event(PENDING)])) == ["Accepted 1"]
    now[0] = 4.9
    assert seen(guard.put_events([event(PENDING)])) == ["Accepted 1"]
    now[0] = 5.0
    assert seen(guard.put_events([event(PENDING)])) == ["Rejected SourcePending 0"]


@pytest.mark.slow
def test_a_deadline_holds_for_look_ups_and_sending_together(guarded, service):
    """An event whose look-up takes too long is sent before the deadline."""
    service.play(SlowAnswer(5.0, times=None, operations=SOURCE_OPERATIONS))
    report = guarded().put_events([event(PENDING)], deadline=1.0)
    assert seen(report) == ["Accepted 1"]


# ---------------------------------------------------------------- input that breaks off


def breaking(events):
    yield from events
    raise LookupError("secret")


def test_input_that_raises(guarded):
    """If the iterable raises, the report has all outcomes, including those of events held back."""
    with pytest.raises(InputInterruptedError, match="after 4 events") as caught:
        guarded().put_events(breaking(EVENTS))
    assert seen(caught.value.report) == AS_REJECTED
    assert isinstance(caught.value.__cause__, LookupError)


@pytest.mark.parametrize("wrong", [EVENTS[0], {"Source": ACTIVE}, "text", 7])
def test_what_is_no_iterable_of_events(guarded, service, wrong):
    """A single event, text or a number is refused, as by the client."""
    with pytest.raises(TypeError):
        guarded().put_events(wrong)
    assert service.request_count == 0


def test_wrong_deadlines(guarded):
    """A deadline of 0 is refused, as by the client."""
    with pytest.raises(ValueError, match="deadline is 0"):
        guarded().put_events([], deadline=0)
    with pytest.raises(ValueError, match="deadline is 0"):
        guarded().stream_events([], deadline=0)


def no_such_customer(_):
    raise LookupError("of the customer's own data")


@pytest.mark.parametrize("of", [list, iter], ids=lambda one: one.__name__)
@pytest.mark.parametrize(
    ("account_of", "said"),
    [
        (no_such_customer, "account_of raised LookupError for source"),
        (lambda _: 12345678901, "account is of type int"),
        (lambda _: "12345678901", "account is '12345678901'; allowed: the 12 digits"),
    ],
    ids=["raises", "number", "short"],
)
def test_account_of_that_cannot_tell(guarded, caplog, account_of, said, of):
    """If `account_of` fails, the account counts as unknown, and the failure is logged."""
    guard = guarded(account_of=account_of)
    assert seen(guard.put_events(of(EVENTS))) == AS_REJECTED
    assert said in caplog.text
    assert "own data" not in caplog.text


def test_account_of_that_is_no_function(guarded):
    """An `account_of` that is not a function is refused when the guard is made."""
    with pytest.raises(ValueError, match="account_of is of type dict; allowed: a function"):
        guarded(account_of={PENDING: ACCOUNT})


# ---------------------------------------------------------------- threads, forks, loops


def test_threads_share_their_look_ups(service):
    """Threads that wait for the state of one source share one look-up."""
    service.sources.create(PENDING, ACCOUNT)
    service.play(SlowAnswer(0.05, times=None, operations=SOURCE_OPERATIONS))
    reports = []
    with PartnerEventsClient(
        service.region, credentials=service.credentials, transport=service.transport()
    ) as client:
        guard = SourceGuard(client)
        threads = [
            threading.Thread(target=lambda: reports.append(guard.put_events([event(PENDING)])))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [seen(report) for report in reports] == [["Rejected SourcePending 0"]] * 8
    assert look_ups(service) == 1


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_on_both_sides_of_a_fork(service):
    """A child can use the guard, even if the parent was in the middle of a look-up."""
    service.sources.create(PENDING, ACCOUNT)
    with PartnerEventsClient(
        service.region, credentials=service.credentials, transport=service.transport()
    ) as client:
        guard = SourceGuard(client)
        guard._turn.acquire()
        child = os.fork()
        if not child:
            report = guard.put_events([event(PENDING)])
            os._exit(0 if isinstance(report[0], Rejected) else 1)
        guard._turn.release()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@contextlib.asynccontextmanager
async def async_guard(service, **settings):
    with service.serve() as server:
        async with AsyncPartnerEventsClient(
            service.region,
            credentials=service.credentials,
            endpoint_url=server.url,
            sources_pace=Pace(),
        ) as client:
            yield AsyncSourceGuard(client, **settings)


def test_tasks_share_their_look_ups(service):
    """Tasks that wait for the state of one source share one look-up."""
    service.sources.create(PENDING, ACCOUNT)

    async def main():
        async with async_guard(service) as guard:
            return await asyncio.gather(*(guard.put_events([event(PENDING)]) for _ in range(20)))

    assert [seen(one) for one in asyncio.run(main())] == [["Rejected SourcePending 0"]] * 20
    assert look_ups(service) == 1


def test_asynchronous_events(service):
    """An asynchronous iterable is held back in the same way."""
    service.sources.create(PENDING, ACCOUNT)
    service.sources.create(ACTIVE, ACCOUNT)
    service.sources.associate(ACTIVE, ACCOUNT)

    async def main():
        async with async_guard(service) as guard:
            report = await guard.put_events(_async(EVENTS))
            streamed = [one async for one in guard.stream_events(_async(EVENTS))]
            return report, streamed

    for outcomes in asyncio.run(main()):
        assert seen(outcomes) == AS_REJECTED


def cause_of_cancelling(timed_out: BaseException) -> BaseException | None:
    cancelled = timed_out.__cause__
    return None if cancelled is None else cancelled.__cause__


@pytest.mark.slow
def test_cancelled_while_sending(service):
    """The cause of a cancellation has all outcomes, including those of events held back."""
    service.sources.create(PENDING, ACCOUNT)
    service.sources.create(ACTIVE, ACCOUNT)
    service.sources.associate(ACTIVE, ACCOUNT)
    service.play(SlowAnswer(5.0, times=None, operations={"PutPartnerEvents"}))

    async def main(make):
        async with async_guard(service) as guard:
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(0.5):
                    await guard.put_events(make(EVENTS[:2]))
        return cause_of_cancelling(caught.value)

    for make in (list, iter, _async):
        cause = asyncio.run(main(make))
        assert isinstance(cause, CallCancelledError)
        assert seen(cause.report) == ["Unconfirmed 1", "Rejected SourcePending 0"]


@pytest.mark.slow
def test_cancelled_while_looking_up(service):
    """A call cancelled during look-ups sends nothing, and reports the event that was parked."""
    for name in (PENDING, ACTIVE):
        service.sources.create(name, ACCOUNT)
    parked = []

    async def park(one):
        parked.append(one)
        if len(parked) == 2:
            await asyncio.sleep(5)

    async def main():
        async with async_guard(service, on_pending=park) as guard:
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(0.5):
                    await guard.put_events([event(PENDING), event(ACTIVE)])
        return cause_of_cancelling(caught.value)

    cause = asyncio.run(main())
    assert isinstance(cause, CallCancelledError)
    assert seen(cause.report) == ["Exhausted SourceParked 0"]
    assert service.accepted_count == 0


def test_a_guard_in_several_loops(service):
    """A guard works in one event loop after another, although locks belong to a loop."""
    service.sources.create(PENDING, ACCOUNT)
    with service.serve() as server:
        client = AsyncPartnerEventsClient(
            service.region,
            credentials=service.credentials,
            endpoint_url=server.url,
            sources_pace=Pace(),
        )
        guard = AsyncSourceGuard(client, pending_ttl=1e-9)

        async def main():
            async with client:
                return await asyncio.gather(*(guard.put_events([event(PENDING)]) for _ in range(3)))

        for _ in range(2):
            assert [seen(one) for one in asyncio.run(main())] == [["Rejected SourcePending 0"]] * 3
