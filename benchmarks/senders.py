"""
The code that is measured: what users of each SDK for Python write.

    python -m benchmarks.senders boto3 text-500 [IN_FLIGHT]

It reads a number from each line of its input, sends as many events, and answers with a line of
JSON: `cpu` and `wall` in seconds, `accepted`, and `memory`, the process's peak so far in bytes.
It imports only what the contender itself needs.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from benchmarks.cases import BATCH, CASES, PlainEvent
from benchmarks.memory import peak_bytes

REGION = "us-east-1"


class Sender(Protocol):
    """One contender, made once in each process with the settings of its environment."""

    def send(self, values: Iterable[PlainEvent]) -> int:
        """Send events, from plain values to outcomes; return how many were accepted."""
        ...

    def close(self) -> None:
        """Close everything."""
        ...


# ---------------------------------------------------------------- botocore's users

Entries = list[dict[str, Any]]


def _batches(values: Iterable[PlainEvent]) -> Iterator[Entries]:
    batch: Entries = []
    for source, detail_type, detail in values:
        text = detail if isinstance(detail, str) else json.dumps(detail)
        batch.append({"Source": source, "DetailType": detail_type, "Detail": text})
        if len(batch) == BATCH:
            yield batch
            batch = []


def _accepted(results: Iterable[dict[str, Any]]) -> int:
    return sum("ErrorCode" not in result for result in results)


class Boto3Sender:
    """Sends as boto3's users do: makes batches, and looks at the result of each entry."""

    def __init__(self, in_flight: int | None) -> None:
        import boto3

        self._pool: Any = None
        settings = {}
        if in_flight and in_flight > 1:
            from concurrent.futures import ThreadPoolExecutor

            from botocore.config import Config

            self._pool = ThreadPoolExecutor(in_flight)
            settings["config"] = Config(max_pool_connections=in_flight)
        self._client = boto3.client("events", region_name=REGION, **settings)

    def send(self, values: Iterable[PlainEvent]) -> int:
        run = self._pool.map if self._pool else map
        results: Entries = []
        for answer in run(self._put, _batches(values)):
            results += answer["Entries"]
        return _accepted(results)

    def _put(self, batch: Entries) -> Any:
        return self._client.put_partner_events(Entries=batch)

    def close(self) -> None:
        if self._pool:
            self._pool.shutdown()
        self._client.close()


class AiobotocoreSender:
    """Sends as aiobotocore's users do: a task for each batch, limited by a semaphore."""

    def __init__(self, in_flight: int | None) -> None:
        import asyncio
        from contextlib import AsyncExitStack

        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session

        in_flight = in_flight or 1
        self._gather = asyncio.gather
        self._runner = asyncio.Runner()
        self._semaphore = asyncio.Semaphore(in_flight)
        self._stack = AsyncExitStack()
        config = AioConfig(max_pool_connections=in_flight)
        made = get_session().create_client("events", region_name=REGION, config=config)
        self._client: Any = self._runner.run(self._stack.enter_async_context(made))

    def send(self, values: Iterable[PlainEvent]) -> int:
        return self._runner.run(self._send(values))

    async def _send(self, values: Iterable[PlainEvent]) -> int:
        answers = await self._gather(*(self._put(batch) for batch in _batches(values)))
        return _accepted(result for answer in answers for result in answer["Entries"])

    async def _put(self, batch: Entries) -> Any:
        async with self._semaphore:
            return await self._client.put_partner_events(Entries=batch)

    def close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()


# ---------------------------------------------------------------- ours


def our_settings(transport: str, in_flight: int | None) -> dict[str, Any]:
    """Return the arguments of our client, in addition to the Region."""
    settings: dict[str, Any] = {}
    if in_flight:
        settings["max_in_flight"] = in_flight
    if transport == "curl":
        from eventbridge_partner.transports.curl import CurlTransport

        settings["transport"] = CurlTransport
    return settings


class OurSender:
    """`put_events` of the client for threads."""

    def __init__(self, transport: str, in_flight: int | None) -> None:
        from eventbridge_partner import PartnerEvent, PartnerEventsClient

        self._event = PartnerEvent
        self._client = PartnerEventsClient(REGION, **our_settings(transport, in_flight))

    def send(self, values: Iterable[PlainEvent]) -> int:
        event = self._event
        report = self._client.put_events(
            event(source, detail_type, detail) for source, detail_type, detail in values
        )
        return report.counts.accepted

    def close(self) -> None:
        self._client.close()


class OurAsyncSender:
    """`put_events` of the client for asyncio."""

    def __init__(self, transport: str, in_flight: int | None) -> None:
        import asyncio
        from contextlib import AsyncExitStack

        from eventbridge_partner import AsyncPartnerEventsClient, PartnerEvent

        self._event = PartnerEvent
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._client: Any = self._runner.run(
            self._enter(AsyncPartnerEventsClient, transport, in_flight)
        )

    async def _enter(self, client: Any, transport: str, in_flight: int | None) -> Any:
        made = client(REGION, **our_settings(transport, in_flight))
        return await self._stack.enter_async_context(made)

    def send(self, values: Iterable[PlainEvent]) -> int:
        return self._runner.run(self._send(values))

    async def _send(self, values: Iterable[PlainEvent]) -> int:
        event = self._event
        report = await self._client.put_events(
            event(source, detail_type, detail) for source, detail_type, detail in values
        )
        accepted: int = report.counts.accepted
        return accepted

    def close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()


SENDERS: dict[str, Callable[[int | None], Sender]] = {
    "boto3": Boto3Sender,
    "aiobotocore": AiobotocoreSender,
    "requests": lambda in_flight: OurSender("requests", in_flight),
    "curl": lambda in_flight: OurSender("curl", in_flight),
    "aiohttp": lambda in_flight: OurAsyncSender("aiohttp", in_flight),
}


def _sender(arguments: list[str]) -> tuple[Sender, Any]:
    name, case, *rest = arguments
    return SENDERS[name](int(rest[0]) if rest else None), CASES[case]


def main(arguments: list[str]) -> None:
    sender, case = _sender(arguments)
    for line in sys.stdin:
        values = case.values(int(line))
        wall, cpu = time.perf_counter(), time.process_time()
        accepted = sender.send(values)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        answer = {"cpu": cpu, "wall": wall, "accepted": accepted, "memory": peak_bytes()}
        print(json.dumps(answer), flush=True)
    sender.close()


def profile(arguments: list[str], events: int) -> None:
    """Print where the time goes, as cProfile sees it."""
    import cProfile
    import pstats

    sender, case = _sender(arguments)
    sender.send(case.values(max(BATCH, events // 10 // BATCH * BATCH)))
    values = case.values(events)
    with cProfile.Profile() as profiler:
        sender.send(values)
    pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(45)
    sender.close()


if __name__ == "__main__":
    if sys.argv[1] == "--profile":
        profile(sys.argv[3:], int(sys.argv[2]))
    else:
        main(sys.argv[1:])
