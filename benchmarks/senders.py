"""
The code that is measured: what a user of each SDK for Python writes.

    python -m benchmarks.senders boto3 text-500

It reads a number of events from each line of its input, sends so many, and answers with a line of
JSON: `cpu` and `wall` in seconds, `accepted`, and `memory`, the process's peak so far in bytes.
Nothing is imported that the contender itself does not need.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from benchmarks.cases import BATCH, CASES, PlainEvent
from benchmarks.memory import peak_bytes

REGION = "us-east-1"


class Sender(Protocol):
    """One contender: made once for each process, with the settings of its environment."""

    def send(self, values: Iterable[PlainEvent]) -> int:
        """Send events, from plain values to outcomes; return how many were accepted."""
        ...


class Boto3Sender:
    """As boto3's users do it: batches by hand, and a look at the result of each entry."""

    def __init__(self) -> None:
        import boto3

        self._client = boto3.client("events", region_name=REGION)

    def send(self, values: Iterable[PlainEvent]) -> int:
        results: list[dict[str, Any]] = []
        batch: list[dict[str, Any]] = []
        for source, detail_type, detail in values:
            text = detail if isinstance(detail, str) else json.dumps(detail)
            batch.append({"Source": source, "DetailType": detail_type, "Detail": text})
            if len(batch) == BATCH:
                results += self._client.put_partner_events(Entries=batch)["Entries"]
                batch = []
        return sum("ErrorCode" not in result for result in results)


class OurSender:
    """`put_events`, with the settings given."""

    def __init__(self, **settings: Any) -> None:
        from eventbridge_partner import PartnerEvent, PartnerEventsClient

        self._event = PartnerEvent
        self._client = PartnerEventsClient(REGION, **settings)

    def send(self, values: Iterable[PlainEvent]) -> int:
        event = self._event
        report = self._client.put_events(
            event(source, detail_type, detail) for source, detail_type, detail in values
        )
        return report.counts.accepted


SENDERS: dict[str, Callable[[], Sender]] = {
    "boto3": Boto3Sender,
    "ours": lambda: OurSender(max_in_flight=1),
    "ours-default": OurSender,
}


def main() -> None:
    sender, case = SENDERS[sys.argv[1]](), CASES[sys.argv[2]]
    for line in sys.stdin:
        values = case.values(int(line))
        wall, cpu = time.perf_counter(), time.process_time()
        accepted = sender.send(values)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        answer = {"cpu": cpu, "wall": wall, "accepted": accepted, "memory": peak_bytes()}
        print(json.dumps(answer), flush=True)


def profile(name: str, case: str, events: int) -> None:
    """Print where the time goes, as cProfile sees it."""
    import cProfile
    import pstats

    sender = SENDERS[name]()
    sender.send(CASES[case].values(events // 10))
    values = CASES[case].values(events)
    with cProfile.Profile() as profiler:
        sender.send(values)
    pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(45)


if __name__ == "__main__":
    if sys.argv[1] == "--profile":
        profile(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
