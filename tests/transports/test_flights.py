"""Requests in flight on a transport that blocks."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest

from eventbridge_partner._http import HttpRequest, HttpResponse, Timeouts
from eventbridge_partner.errors import TransportError
from eventbridge_partner.transports.flights import BlockingFlights, WorkerThreads

TIMEOUTS = Timeouts()


def request(name: str = "x") -> HttpRequest:
    return HttpRequest("https://example.com/", {}, name.encode())


class Slow:
    """Answers each request with its own body, after a while, and notes the threads."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.threads: list[threading.Thread] = []

    def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        self.threads.append(threading.current_thread())
        time.sleep(self.seconds)
        if request.body == b"lost":
            raise TransportError("lost", may_have_been_sent=True)
        if request.body == b"broken":
            raise ZeroDivisionError("secret")
        if request.body == b"stop":
            raise SystemExit
        return HttpResponse(200, {}, request.body)

    def close(self) -> None: ...


def flights_on(transport: Slow) -> BlockingFlights[str]:
    return BlockingFlights(transport, WorkerThreads())


def collected(flights: BlockingFlights[str], count: int) -> dict[str, object]:
    """Collect so many answers, by their keys."""
    answers: dict[str, object] = {}
    deadline = time.monotonic() + 5
    while len(answers) < count and time.monotonic() < deadline:
        answers |= flights.collect(0.1)
    return answers


def test_a_request_alone_goes_out_from_the_callers_thread() -> None:
    """Whatever it takes: there is nothing else to do meanwhile."""
    transport = Slow(0.02)
    flights = flights_on(transport)

    flights.submit("a", request(), TIMEOUTS)
    assert transport.threads == []
    assert [key for key, _ in flights.collect(None)] == ["a"]

    assert transport.threads == [threading.current_thread()]


def test_slow_requests_are_in_flight_together() -> None:
    """Each on a thread of its own, and answers come with their keys."""
    transport = Slow(0.1)
    flights = flights_on(transport)
    started = time.monotonic()
    for name in "abcd":
        flights.submit(name, request(name), TIMEOUTS)

    answers = collected(flights, 4)

    assert time.monotonic() - started < 0.3
    assert {key: getattr(answer, "body", None) for key, answer in answers.items()} == {
        name: name.encode() for name in "abcd"
    }
    assert threading.current_thread() not in transport.threads
    assert len(set(transport.threads)) == 4


def test_quick_requests_are_not_worth_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once answers are known to come at once, requests go out one after the other."""
    transport = Slow(0)
    flights = flights_on(transport)
    with monkeypatch.context() as patch:
        patch.setattr(
            f"{BlockingFlights.__module__}.monotonic", lambda: 0.0
        )  # at once, however busy the machine is
        flights.submit("first", request(), TIMEOUTS)
        flights.collect(None)
        for name in "abcd":
            flights.submit(name, request(name), TIMEOUTS)
        assert [key for key, _ in flights.collect(None)] == list("abcd")
    assert set(transport.threads) == {threading.current_thread()}

    transport.seconds = 0.05
    for name in "abcd":
        flights.submit(name, request(name), TIMEOUTS)
    assert len(collected(flights, 4)) == 4
    assert len(set(transport.threads)) > 1, "slow answers are worth threads again"


@pytest.mark.parametrize("seconds", [0.0, 0.05])
def test_flushed_requests_are_under_way(seconds: float) -> None:
    """Nothing is held back from a caller who will be away."""
    transport = Slow(seconds)
    flights = flights_on(transport)

    flights.submit("a", request(), TIMEOUTS)
    flights.flush()
    time.sleep(0.02)

    assert len(transport.threads) == 1
    assert set(collected(flights, 1)) == {"a"}


def test_collecting_waits_no_longer_than_asked() -> None:
    """Nothing is there in time, and comes later."""
    flights = flights_on(Slow(0.2))
    for name in "ab":
        flights.submit(name, request(name), TIMEOUTS)
    started = time.monotonic()

    assert flights.collect(0.05) == []
    assert time.monotonic() - started < 0.15
    assert set(collected(flights, 2)) == {"a", "b"}


def test_collecting_nothing_waits_for_its_time() -> None:
    """With no request in flight it is a wait and nothing else."""
    started = time.monotonic()
    assert flights_on(Slow(0)).collect(0.05) == []
    assert time.monotonic() - started >= 0.045


@pytest.mark.parametrize("count", [1, 3])
def test_errors_are_answers(count: int) -> None:
    """The transport's own, and whatever else it raises; the latter without its words."""
    flights = flights_on(Slow(0.01))
    for number in range(count):
        flights.submit(f"lost {number}", request("lost"), TIMEOUTS)
        flights.submit(f"broken {number}", request("broken"), TIMEOUTS)

    for answer in collected(flights, 2 * count).values():
        assert isinstance(answer, TransportError)
        assert answer.may_have_been_sent
        assert "secret" not in str(answer)


def test_what_would_end_a_thread_reaches_the_caller() -> None:
    """An exit in a worker is no silent loss."""
    flights = flights_on(Slow(0.01))
    flights.submit("a", request("stop"), TIMEOUTS)
    flights.submit("b", request("stop"), TIMEOUTS)

    with pytest.raises(SystemExit):
        collected(flights, 2)


def test_threads_are_used_again_and_end_when_stopped() -> None:
    """As many as there were requests in flight at a time; after a stop there are none."""
    transport = Slow(0.01)
    workers = WorkerThreads()
    for _ in range(5):
        flights: BlockingFlights[str] = BlockingFlights(transport, workers)
        for name in "abc":
            flights.submit(name, request(name), TIMEOUTS)
        collected(flights, 3)
        time.sleep(0.02)  # for the threads to be idle

    used = set(transport.threads)
    assert len(used) <= 4
    workers.stop()
    for thread in used:
        thread.join(2)
        assert not thread.is_alive()

    flights = BlockingFlights(transport, workers)
    for name in "abc":
        flights.submit(name, request(name), TIMEOUTS)
    assert len(collected(flights, 3)) == 3
    workers.stop()


@pytest.mark.slow
def test_threads_end_with_what_they_work_for() -> None:
    """A client that is forgotten without being closed leaves no thread behind."""
    transport = Slow(0.01)
    workers = WorkerThreads()
    flights: BlockingFlights[str] = BlockingFlights(transport, workers)
    for name in "abc":
        flights.submit(name, request(name), TIMEOUTS)
    collected(flights, 3)
    forgotten = weakref.ref(workers)

    del workers, flights
    gc.collect()

    assert forgotten() is None
    for thread in transport.threads:
        thread.join(2)
        assert not thread.is_alive()


def test_without_new_threads_requests_go_out_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """At its end Python starts none; each request is sent once, from the caller's thread."""
    transport = Slow(0.005)
    flights = flights_on(transport)

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", start)
    for name in "abc":
        flights.submit(name, request(name), TIMEOUTS)
    assert set(collected(flights, 3)) == {"a", "b", "c"}
    assert transport.threads == [threading.current_thread()] * 3


def test_who_stays_free_waits_for_no_request() -> None:
    """However quick the answers were: the next one may hang."""
    transport = Slow(0)
    workers = WorkerThreads()
    flights: BlockingFlights[str] = BlockingFlights(transport, workers, stays_free=True)
    for name in "abc":
        flights.submit(name, request(name), TIMEOUTS)
        assert set(collected(flights, 1)) == {name}
    assert threading.current_thread() not in transport.threads
    workers.stop()
