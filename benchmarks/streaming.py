"""
Memory of `stream_events` over many events, sampled through the run.

    python -m benchmarks.streaming requests 1000000

Prints one line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from benchmarks.cases import CASES
from benchmarks.memory import peak_bytes, resident_bytes
from benchmarks.senders import REGION, our_settings

if TYPE_CHECKING:
    from benchmarks.figures import StreamingFigures

_ASYNC = ("aiohttp",)
STREAMS = ("requests", "curl", *_ASYNC)
"""The names of the contenders that stream."""

_SAMPLE_EVERY = 1000
_SETTLED_AFTER = 50_000


class _Samples:
    """Samples of memory during a stream."""

    def __init__(self, accepted: type) -> None:
        self.accepted = 0
        self.memory: list[int] = []
        self._accepted_type = accepted
        self._count = 0

    def take(self, outcome: object) -> None:
        self._count += 1
        self.accepted += isinstance(outcome, self._accepted_type)
        if self._count % _SAMPLE_EVERY == 0:
            self.memory.append(resident_bytes())


def _stream(transport: str, events: int) -> _Samples:
    from eventbridge_partner import Accepted, PartnerEvent, PartnerEventsClient

    samples = _Samples(Accepted)
    values = (PartnerEvent(*value) for value in CASES["text-500"].values(events))
    with PartnerEventsClient(REGION, **our_settings(transport, None)) as client:
        for outcome in client.stream_events(values):
            samples.take(outcome)
    return samples


async def _stream_async(transport: str, events: int) -> _Samples:
    from eventbridge_partner import Accepted, AsyncPartnerEventsClient, PartnerEvent

    samples = _Samples(Accepted)
    values = (PartnerEvent(*value) for value in CASES["text-500"].values(events))
    async with AsyncPartnerEventsClient(REGION, **our_settings(transport, None)) as client:
        async for outcome in client.stream_events(values):
            samples.take(outcome)
    return samples


def main() -> None:
    transport, events = sys.argv[1], int(sys.argv[2])
    bare = resident_bytes()
    started = time.perf_counter()
    if transport in _ASYNC:
        import asyncio

        samples = asyncio.run(_stream_async(transport, events))
    else:
        samples = _stream(transport, events)
    result = {
        "accepted": samples.accepted,
        "seconds": time.perf_counter() - started,
        "bare": bare,
        "peak": peak_bytes(),
        "samples": samples.memory,
    }
    print(json.dumps(result))


# ---------------------------------------------------------------- for the process that starts it


def measure_streaming(
    contender: str, environment: Mapping[str, str], *, events: int
) -> StreamingFigures:
    """
    Stream events in a process of their own.

    Args:
        contender: The name of one of our contenders.
        environment: The environment of its process, with the service's endpoint.
        events: How many events to stream.
    """
    from benchmarks.figures import StreamingFigures

    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.streaming", contender, str(events)],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    if found["accepted"] != events:
        raise RuntimeError(f"{contender}: {found['accepted']} of {events} were accepted")
    samples = tuple(found["samples"])
    return StreamingFigures(
        contender=contender,
        events=events,
        seconds=found["seconds"],
        bare=found["bare"],
        # Linux updates both counts in batches, so a sample may be slightly above the peak.
        peak=max(found["peak"], *samples),
        sample_every=_SAMPLE_EVERY,
        samples=samples,
        settled_after=min(_SETTLED_AFTER // _SAMPLE_EVERY, len(samples) // 2) * _SAMPLE_EVERY,
    )


if __name__ == "__main__":
    main()
