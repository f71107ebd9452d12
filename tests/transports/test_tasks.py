"""Requests in flight on an asynchronous transport that sends one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from eventbridge_partner._http import HttpRequest, HttpResponse, Timeouts
from eventbridge_partner.errors import TransportError
from eventbridge_partner.transports.tasks import TaskFlights

TIMEOUTS = Timeouts()


def request(name: str) -> HttpRequest:
    return HttpRequest("https://example.com/", {}, name.encode())


class Gated:
    """Answers a request with its own body once its gate is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.in_flight: set[bytes] = set()
        self.cancelled: list[bytes] = []

    async def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        self.in_flight.add(request.body)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            self.cancelled.append(request.body)
            raise
        finally:
            self.in_flight.discard(request.body)
        if request.body == b"lost":
            raise TransportError("lost", may_have_been_sent=False)
        if request.body == b"broken":
            raise ZeroDivisionError("secret")
        if request.body == b"cancelled":
            raise asyncio.CancelledError("secret")
        return HttpResponse(200, {}, request.body)

    async def close(self) -> None: ...


def run(main: Callable[[Gated, TaskFlights[str]], Awaitable[None]]) -> None:
    async def with_flights() -> None:
        transport = Gated()
        flights: TaskFlights[str] = TaskFlights(transport)
        try:
            await main(transport, flights)
        finally:
            await flights.close()
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(with_flights(), debug=True)


async def collected(flights: TaskFlights[str], count: int) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    while len(answers) < count:
        answers |= await flights.collect(5)
    return answers


def test_requests_are_in_flight_together() -> None:
    """Requests are in flight together, and each answer has its key."""

    async def main(transport: Gated, flights: TaskFlights[str]) -> None:
        for name in "abc":
            flights.submit(name, request(name), TIMEOUTS)
        assert await flights.collect(0.01) == []
        assert transport.in_flight == {b"a", b"b", b"c"}
        transport.gate.set()
        answers = await collected(flights, 3)
        assert {key: answer.body for key, answer in answers.items()} == {
            "a": b"a",
            "b": b"b",
            "c": b"c",
        }

    run(main)


def test_errors_are_answers() -> None:
    """Any error becomes a TransportError as the answer, without the text of a foreign one."""

    async def main(transport: Gated, flights: TaskFlights[str]) -> None:
        transport.gate.set()
        for name in ("lost", "broken", "cancelled"):
            flights.submit(name, request(name), TIMEOUTS)
        answers = await collected(flights, 3)
        assert all(isinstance(answer, TransportError) for answer in answers.values())
        assert [answers[name].may_have_been_sent for name in ("lost", "broken", "cancelled")] == [
            False,
            True,
            True,
        ]
        assert "secret" not in "".join(map(str, answers.values()))
        assert isinstance(answers["broken"].__cause__, ZeroDivisionError)

    run(main)


def test_waiting_can_be_cut_short() -> None:
    """`wake` ends one wait, whether it is called before the wait or during it."""

    async def main(transport: Gated, flights: TaskFlights[str]) -> None:
        flights.submit("a", request("a"), TIMEOUTS)
        flights.wake()
        assert await flights.collect(None) == []
        asyncio.get_running_loop().call_soon(flights.wake)
        assert await flights.collect(None) == []
        transport.gate.set()
        assert [key for key, _ in await flights.collect(None)] == ["a"]

    run(main)


def test_closing_cancels_what_is_in_flight() -> None:
    """`close` cancels requests in flight, and waits until they have ended."""

    async def main(transport: Gated, flights: TaskFlights[str]) -> None:
        for name in "ab":
            flights.submit(name, request(name), TIMEOUTS)
        await asyncio.sleep(0)
        await flights.close()
        assert sorted(transport.cancelled) == [b"a", b"b"]
        assert await flights.collect(0) == []
        await flights.close()

    run(main)


def test_collecting_that_is_cancelled_takes_nothing() -> None:
    """An answer is not lost if `collect` is cancelled: the next `collect` returns it."""

    async def main(transport: Gated, flights: TaskFlights[str]) -> None:
        flights.submit("a", request("a"), TIMEOUTS)
        collecting = asyncio.ensure_future(flights.collect(None))
        await asyncio.sleep(0)
        transport.gate.set()
        await asyncio.sleep(0)
        assert not transport.in_flight
        collecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await collecting
        assert [key for key, _ in await flights.collect(0)] == ["a"]

    run(main)


def test_a_request_that_is_cancelled_before_it_begins_has_an_answer() -> None:
    """A request whose task is cancelled before it starts was not sent, and has an answer."""

    class Untouched:
        async def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
            raise AssertionError("it was sent")

        async def close(self) -> None: ...

    async def main() -> None:
        flights: TaskFlights[str] = TaskFlights(Untouched())
        flights.submit("key", HttpRequest("https://example.com/", {}, b""), Timeouts())
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        [(key, answer)] = await flights.collect(5)
        assert key == "key"
        assert isinstance(answer, TransportError) and not answer.may_have_been_sent
        await flights.close()

    asyncio.run(main())
