"""
Memory of `stream_events` over many events, sampled through the run.

    python -m benchmarks.streaming 1000000

Prints one line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.cases import CASES
from benchmarks.memory import peak_bytes, resident_bytes
from benchmarks.senders import REGION

_SAMPLE_EVERY = 1000
_SETTLED_AFTER = 50_000


def main() -> None:
    events = int(sys.argv[1])
    bare = resident_bytes()
    from eventbridge_partner import Accepted, PartnerEvent, PartnerEventsClient

    samples: list[int] = []
    accepted = 0
    started = time.perf_counter()
    with PartnerEventsClient(REGION) as client:
        stream = client.stream_events(
            PartnerEvent(*value) for value in CASES["text-500"].values(events)
        )
        for count, outcome in enumerate(stream, 1):
            accepted += isinstance(outcome, Accepted)
            if count % _SAMPLE_EVERY == 0:
                samples.append(resident_bytes())
    result = {
        "events": events,
        "accepted": accepted,
        "seconds": time.perf_counter() - started,
        "bare": bare,
        "peak": peak_bytes(),
        "sample_every": _SAMPLE_EVERY,
        "samples": samples,
    }
    print(json.dumps(result))


# ---------------------------------------------------------------- for those who start it


def measure_streaming(environment: Mapping[str, str], *, events: int) -> dict[str, Any]:
    """
    Stream events in a process of their own.

    Returns:
        What the process printed, `settled_after` (events) and `growth`: how far the resident
        memory rose above what it was then, in bytes.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.streaming", str(events)],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    if result["accepted"] != events:
        raise RuntimeError(f"stream_events: {result['accepted']} of {events} were accepted")
    samples = result["samples"]
    # Linux counts the two in batches of its own, so a sample may be a little above the peak.
    result["peak"] = max(result["peak"], *samples)
    settled = min(_SETTLED_AFTER // _SAMPLE_EVERY, len(samples) // 2)
    result["settled_after"] = settled * _SAMPLE_EVERY
    result["growth"] = max(samples[settled - 1 :]) - samples[settled - 1]
    return result


if __name__ == "__main__":
    main()
