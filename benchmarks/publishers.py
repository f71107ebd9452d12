"""
Publishers of other services, each in an environment of its own.

    python -m benchmarks.publishers posthog|pubsub URL --events N --rounds N
    python -m benchmarks.publishers pubsub-service

Imports only the standard library and the publisher that is measured. Prints its figures as JSON.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import peers
from benchmarks.cases import CASES, PlainEvent
from benchmarks.service import Service, Usage

CASE = CASES["mapping-500"]
_BATCH = 100
"""Events in a request: the default of both publishers."""

TYPE = b"ticket.updated"
"""Occurs once in each event, so that the double of Pub/Sub can count messages by it."""

Figures = dict[str, float]


class Turn(NamedTuple):
    """The CPU seconds of a round."""

    caller: float
    process: float


def timed(
    publish: Callable[[list[PlainEvent]], Any], arrive: Callable[[Any], Any], count: int
) -> Turn:
    """Publish events, wait until they have arrived, and return what that took."""
    given = list(CASE.values(count))
    process, caller = time.process_time(), time.thread_time()
    published = publish(given)
    caller = time.thread_time() - caller
    arrive(published)
    return Turn(caller, time.process_time() - process)


def figures(turns: Iterable[Turn], events: int) -> Figures:
    """Return microseconds an event of the median round; the first round warms up."""
    _, *counted = turns
    return {
        "caller_us": statistics.median(turn.caller for turn in counted) / events * 1e6,
        "delivered_us": statistics.median(turn.process for turn in counted) / events * 1e6,
    }


# ---------------------------------------------------------------- in environments of their own


def _posthog(url: str, events: int, rounds: int) -> Figures:
    posthog = importlib.import_module("posthog")
    failed: list[Any] = []
    client = posthog.Posthog(
        "benchmark",
        host=url,
        max_queue_size=2 * events,
        flush_at=_BATCH,
        gzip=False,
        sync_mode=False,
        on_error=lambda error, _: failed.append(error),
    )

    def publish(given: list[PlainEvent]) -> list[str | None]:
        return [
            client.capture(one.detail_type, distinct_id=one.source, properties=one.detail)
            for one in given
        ]

    def arrive(published: list[str | None]) -> None:
        client.flush(60)
        assert all(published), "an event was dropped"
        assert not failed, failed

    turns = [timed(publish, arrive, events) for _ in range(rounds + 1)]
    client.shutdown()
    return figures(turns, events)


def _pubsub(url: str, events: int, rounds: int) -> Figures:
    os.environ["PUBSUB_EMULATOR_HOST"] = url.removeprefix("http://")
    pubsub: Any = importlib.import_module("google.cloud.pubsub_v1")
    # A round's last batch is not full, and waits for this; waiting takes no CPU time.
    batches = pubsub.types.BatchSettings(max_messages=_BATCH, max_latency=1)
    publisher = pubsub.PublisherClient(batch_settings=batches)
    topic = publisher.topic_path("benchmark", "benchmark")

    def publish(given: list[PlainEvent]) -> list[Any]:
        return [
            publisher.publish(
                topic,
                json.dumps(one.detail, separators=(",", ":")).encode(),
                source=one.source,
                detail_type=one.detail_type,
            )
            for one in given
        ]

    def arrive(published: list[Any]) -> None:
        for receipt in published:
            receipt.result(60)

    return figures((timed(publish, arrive, events) for _ in range(rounds + 1)), events)


def _serve_pubsub() -> None:
    """
    Answer each request with as many message ids as it has messages.

    A request is not parsed: its messages are counted by their type, and the answers are made
    before the first request. Speaks on stdin and stdout as `benchmarks.service` does.
    """
    grpc = importlib.import_module("grpc")
    response = importlib.import_module("google.pubsub_v1.types").PublishResponse
    answers = [
        response.serialize(response(message_ids=[f"{number:017d}" for number in range(count)]))
        for count in range(_BATCH + 1)
    ]
    requests = 0

    def publish(request: bytes, _context: Any) -> bytes:
        nonlocal requests
        requests += 1
        return answers[request.count(TYPE)]

    methods = {"Publish": grpc.unary_unary_rpc_method_handler(publish)}
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", methods),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    for _ in sys.stdin:
        print(json.dumps({"cpu": time.process_time(), "requests": requests}), flush=True)
    server.stop(0)


_PARTS: Mapping[str, Callable[[str, int, int], Figures]] = {
    "posthog": _posthog,
    "pubsub": _pubsub,
}

# ---------------------------------------------------------------- for the process that starts them


class Publisher(NamedTuple):
    """A publisher, and its installation."""

    part: str
    missing: Callable[[], str | None]
    python: Callable[[], Path]


PUBLISHERS = {
    "posthog": Publisher("posthog", peers.without_posthog, peers.posthog_python),
    "google-cloud-pubsub": Publisher("pubsub", peers.without_pubsub, peers.pubsub_python),
}


def service_for(name: str, environment: Mapping[str, str]) -> Service:
    """Return the double of the publisher's service."""
    if name == "posthog":
        return Service(environment, None)
    command = [str(peers.pubsub_python()), "-m", "benchmarks.publishers", "pubsub-service"]
    return Service(environment, None, command=command)


def measure(name: str, events: int, rounds: int, environment: Mapping[str, str]) -> Figures:
    """
    Measure a publisher, and its service's share of the CPU time.

    Raises:
        RuntimeError: Fewer requests arrived than the events fill.
    """
    publisher = PUBLISHERS[name]
    with service_for(name, environment) as service:
        before = service.usage()
        command = [str(publisher.python()), "-m", "benchmarks.publishers", publisher.part]
        command += [service.url, "--events", str(events), "--rounds", str(rounds)]
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
        found: Figures = json.loads(done.stdout)
        return found | service_share(found, before, service.usage(), events * (rounds + 1), _BATCH)


def service_share(found: Figures, before: Usage, after: Usage, events: int, batch: int) -> Figures:
    """Return the service's CPU time as a share of the publisher's."""
    if (requests := after.requests - before.requests) < events // batch:
        raise RuntimeError(f"{events} events arrived in {requests} requests of {batch} at most")
    return {"service": (after.cpu - before.cpu) / events * 1e6 / found["delivered_us"]}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.publishers")
    parser.add_argument("part", choices=(*_PARTS, "pubsub-service"))
    parser.add_argument("url", nargs="?", default="")
    parser.add_argument("--events", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.part == "pubsub-service":
        _serve_pubsub()
        return
    found = _PARTS[arguments.part](arguments.url, arguments.events, arguments.rounds)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
