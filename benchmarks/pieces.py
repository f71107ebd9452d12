"""
Where the CPU time of a request goes: each piece alone, in a warm process.

    python -m benchmarks.pieces [CASE ...]

The pieces add up to less than a request of `python -m benchmarks`, where the pieces compete for the
processor's caches.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from botocore.credentials import Credentials

from benchmarks.cases import BATCH, CASES, Case
from benchmarks.certificates import write_certificates
from benchmarks.contenders import IN_FLIGHT
from benchmarks.service import Service, answer_bytes
from eventbridge_partner import (
    HttpRequest,
    HttpResponse,
    PartnerEvent,
    PartnerEventsClient,
    Timeouts,
)
from eventbridge_partner.client._base import line_of
from eventbridge_partner.line._blocking import Line
from eventbridge_partner.line._flight import sign
from eventbridge_partner.transports import Answer, AsyncFlights, Flights
from eventbridge_partner.transports.aiohttp import AiohttpTransport
from eventbridge_partner.transports.curl import CurlTransport
from eventbridge_partner.transports.requests import RequestsTransport
from eventbridge_partner.wire.calls import Call, Results, answer, put_partner_events

REQUESTS = 100
ROUNDS = 15

_ANSWER = HttpResponse(200, {}, answer_bytes().partition(b"\r\n\r\n")[2])


_CREDENTIALS = Credentials("AKIDEXAMPLE", "benchmark", "benchmark" * 40)
"""Temporary credentials of a role, as most backends have."""


def least(work: Callable[[], object]) -> float:
    """Return the least CPU time of several rounds, in µs a request."""
    found: list[float] = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    return min(found) / REQUESTS * 1e6


class AnsweredAtOnce:
    """A transport that takes no time: its flights end when they begin."""

    def __init__(self) -> None:
        self._answers: list[tuple[Any, Answer]] = []

    def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        return _ANSWER

    def flights(self) -> AnsweredAtOnce:
        return self

    def submit(self, key: Any, request: HttpRequest, timeouts: Timeouts) -> None:
        self._answers.append((key, _ANSWER))

    def flush(self) -> None:
        pass

    def collect(self, seconds: float | None) -> list[tuple[Any, Answer]]:
        answers, self._answers = self._answers, []
        return answers

    def close(self) -> None:
        pass


def ours(case: Case) -> Iterator[tuple[str, float]]:
    """Yield the CPU time of our own code, by piece."""
    values = list(case.values(BATCH * REQUESTS))
    batches = [values[first : first + BATCH] for first in range(0, len(values), BATCH)]
    events = [[PartnerEvent(*value) for value in batch] for batch in batches]
    calls = [put_partner_events(batch) for batch in events]
    line = _line("http://localhost:1")
    whole = PartnerEventsClient(
        "us-east-1",
        endpoint_url="http://localhost:1",
        credentials=_CREDENTIALS,
        transport=AnsweredAtOnce(),
        max_in_flight=IN_FLIGHT,
    )

    pieces = {
        f"{BATCH} events made and checked": lambda: [PartnerEvent(*value) for value in values],
        "the request's body": lambda: [put_partner_events(batch) for batch in events],
        "hashed and signed": lambda: [_signed(call, line) for call in calls],
        "the answer read": lambda: [answer(call, _ANSWER) for call in calls],
    }
    alone = {name: least(work) for name, work in pieces.items()}
    together = least(lambda: whole.put_events(PartnerEvent(*value) for value in values))
    yield from alone.items()
    yield "batches, outcomes, and what drives them", together - sum(alone.values())
    yield "all but HTTP", together
    bodies = [call.body for call in calls]
    yield (
        "of which SHA-256 of the body",
        least(lambda: [hashlib.sha256(body).hexdigest() for body in bodies]),
    )


def http(case: Case, environment: dict[str, str], directory: Path) -> Iterator[tuple[str, float]]:
    """Yield the CPU time of HTTP, by transport, with TLS and without."""
    trusted, certificate = write_certificates(directory)
    events = [PartnerEvent(*value) for value in case.values(BATCH)]
    for words, with_tls in (("with TLS", certificate), ("without", None)):
        with Service(environment, with_tls) as service:
            request = _signed(put_partner_events(events), _line(service.url))
            settings: dict[str, Any] = {"ca_bundle": str(trusted)}
            blocking = RequestsTransport(**settings)
            found = least(functools.partial(_send, blocking, request))
            yield f"HTTP, requests, one after the other, {words}", found
            blocking.close()
            multiplexing = CurlTransport(**settings)
            found = least(functools.partial(_fly, multiplexing, request))
            yield f"HTTP, curl, {IN_FLIGHT} in flight, {words}", found
            multiplexing.close()
            with asyncio.Runner() as runner:
                on_loop = AiohttpTransport(**settings)
                found = least(functools.partial(_run, runner, on_loop, request))
                yield f"HTTP, aiohttp, {IN_FLIGHT} in flight, {words}", found
                runner.run(on_loop.close())


def _send(transport: RequestsTransport, request: HttpRequest) -> None:
    for _ in range(REQUESTS):
        transport.send(request, Timeouts())


def _fly(transport: CurlTransport, request: HttpRequest) -> None:
    flights: Flights[int] = transport.flights()
    begun = ended = 0
    while ended < REQUESTS:
        while begun < REQUESTS and begun - ended < IN_FLIGHT:
            flights.submit(begun, request, Timeouts())
            begun += 1
        ended += len(flights.collect(None))
    flights.close()


def _run(runner: asyncio.Runner, transport: AiohttpTransport, request: HttpRequest) -> None:
    runner.run(_fly_on_loop(transport.flights(), request))


async def _fly_on_loop(flights: AsyncFlights[int], request: HttpRequest) -> None:
    begun = ended = 0
    while ended < REQUESTS:
        while begun < REQUESTS and begun - ended < IN_FLIGHT:
            flights.submit(begun, request, Timeouts())
            begun += 1
        ended += len(await flights.collect(None))
    await flights.close()


def _line(url: str) -> Line:
    return line_of(PartnerEventsClient("us-east-1", endpoint_url=url, credentials=_CREDENTIALS))


def _signed(call: Call[Results], line: Line) -> HttpRequest:
    return sign(line.edge, call, line.credentials.frozen(), 1)


def main(names: Sequence[str]) -> None:
    for name in names or CASES:
        case = CASES[name]
        print(f"\n{case.title}: us of CPU for a request of {BATCH} events, at least\n")
        with tempfile.TemporaryDirectory() as directory:
            for pieces in (ours(case), http(case, dict(os.environ), Path(directory))):
                for piece, microseconds in pieces:
                    print(f"{piece:48} {microseconds:6.0f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
