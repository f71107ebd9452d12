"""Requests in flight on a blocking transport."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest

from eventbridge_partner._http import HttpRequest, HttpResponse, Timeouts
from eventbridge_partner.errors import TransportError
from eventbridge_partner.transports.flights import BlockingFlights, WorkerThreads
from tests.patience import SOON

TIMEOUTS = Timeouts()


def request(name: str = "x") -> HttpRequest:
    return HttpRequest("https://example.com/", {}, name.encode())


class Slow:
    """Answers each request with its own body after a while, and records the threads."""

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


class Together(Slow):
    """Answers no request before so many are in flight."""

    def __init__(self, count: int) -> None:
        super().__init__(0.0)
        self._barrier = threading.Barrier(count)

    def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        self._barrier.wait(SOON)
        return super().send(request, timeouts)


def flights_on(transport: Slow) -> BlockingFlights[str]:
    return BlockingFlights(transport, WorkerThreads())


def collected(flights: BlockingFlights[str], count: int) -> dict[str, object]:
    """Collect this many answers, by their keys."""
    answers: dict[str, object] = {}
    deadline = time.monotonic() + SOON
    while len(answers) < count and time.monotonic() < deadline:
        answers |= flights.collect(0.1)
    return answers


def test_a_request_alone_goes_out_from_the_callers_thread() -> None:
    """A single request goes out from the caller's thread, however long it takes."""
    transport = Slow(0.02)
    flights = flights_on(transport)

    flights.submit("a", request(), TIMEOUTS)
    assert transport.threads == []
    assert [key for key, _ in flights.collect(None)] == ["a"]

    assert transport.threads == [threading.current_thread()]


def test_slow_requests_are_in_flight_together() -> None:
    """Slow requests are in flight together, each on its own thread, and answers have keys."""
    transport = Together(4)
    flights = flights_on(transport)
    for name in "abcd":
        flights.submit(name, request(name), TIMEOUTS)

    answers = collected(flights, 4)

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
    """A flushed request goes out while the caller is away."""
    transport = Slow(seconds)
    flights = flights_on(transport)

    flights.submit("a", request(), TIMEOUTS)
    flights.flush()
    time.sleep(0.02)

    assert len(transport.threads) == 1
    assert set(collected(flights, 1)) == {"a"}


def test_collecting_waits_no_longer_than_asked() -> None:
    """If no answer comes in time, `collect` returns nothing, and answers come later."""
    transport = Together(3)
    flights = flights_on(transport)
    for name in "ab":
        flights.submit(name, request(name), TIMEOUTS)
    assert flights.collect(0.05) == []

    flights.submit("c", request("c"), TIMEOUTS)
    assert set(collected(flights, 3)) == {"a", "b", "c"}


def test_collecting_nothing_waits_for_its_time() -> None:
    """With no request in flight, `collect` just waits."""
    started = time.monotonic()
    assert flights_on(Slow(0)).collect(0.05) == []
    assert time.monotonic() - started >= 0.045


@pytest.mark.parametrize("count", [1, 3])
def test_errors_are_answers(count: int) -> None:
    """Any error becomes a TransportError as the answer, without the text of a foreign one."""
    flights = flights_on(Slow(0.01))
    for number in range(count):
        flights.submit(f"lost {number}", request("lost"), TIMEOUTS)
        flights.submit(f"broken {number}", request("broken"), TIMEOUTS)

    for answer in collected(flights, 2 * count).values():
        assert isinstance(answer, TransportError)
        assert answer.may_have_been_sent
        assert "secret" not in str(answer)


def test_a_workers_exit_reaches_the_caller() -> None:
    """A SystemExit in a worker is raised in the caller's thread."""
    flights = flights_on(Slow(0.01))
    flights.submit("a", request("stop"), TIMEOUTS)
    flights.submit("b", request("stop"), TIMEOUTS)

    with pytest.raises(SystemExit):
        collected(flights, 2)


def test_threads_are_used_again_and_end_when_stopped() -> None:
    """Threads are reused, end when stopped, and are started again when needed."""
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
def test_threads_end_with_their_client() -> None:
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
    """If Python cannot start a thread, each request is sent once, from the caller's thread."""
    transport = Slow(0.005)
    flights = flights_on(transport)

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", start)
    for name in "abc":
        flights.submit(name, request(name), TIMEOUTS)
    assert set(collected(flights, 3)) == {"a", "b", "c"}
    assert transport.threads == [threading.current_thread()] * 3


def test_stays_free_never_sends_on_the_callers_thread() -> None:
    """With `stays_free`, the caller's thread sends nothing, however quick the answers are."""
    transport = Slow(0)
    workers = WorkerThreads()
    flights: BlockingFlights[str] = BlockingFlights(transport, workers, stays_free=True)
    for name in "abc":
        flights.submit(name, request(name), TIMEOUTS)
        assert set(collected(flights, 1)) == {name}
    assert threading.current_thread() not in transport.threads
    workers.stop()
