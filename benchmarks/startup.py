"""Time and memory of a start: from a fresh interpreter to the first client and the first event."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from benchmarks.figures import Spread, StartupFigures, StartupMemory

FIRST_CLIENT = "import and first client"

_PROGRAM = """
import time
wall, cpu = time.perf_counter(), time.process_time()
def mark():
    marks.append((time.perf_counter() - wall, time.process_time() - cpu))
marks = []
{client}
mark()
{event}
mark()
from benchmarks.memory import peak_bytes
memory = peak_bytes()
import json
print(json.dumps([*marks, memory]))
"""

_CONTENDERS = {
    "boto3": _PROGRAM.format(
        client="import boto3\nclient = boto3.client('events', region_name='us-east-1')",
        # Twenty times the same event: that is how many ids the service answers with.
        event="""
answer = client.put_partner_events(Entries=[{
    "Source": "aws.partner/example.com/a", "DetailType": "ticket.created", "Detail": '{"id": 1}'
}] * 20)
assert answer["FailedEntryCount"] == 0
""",
    ),
    "ours": _PROGRAM.format(
        client="""
from eventbridge_partner import PartnerEvent, PartnerEventsClient
client = PartnerEventsClient("us-east-1")
""",
        event="""
event = PartnerEvent("aws.partner/example.com/a", "ticket.created", '{"id": 1}')
client.put_events([event] * 20).raise_for_undelivered()
""",
    ),
}
_BARE = "from benchmarks.memory import peak_bytes; print(peak_bytes())"


def measure_startup(
    environment: Mapping[str, str], *, runs: int
) -> tuple[list[StartupFigures], StartupMemory]:
    """Start a fresh interpreter for each contender, in turn, again and again."""
    taken: dict[str, list[list[tuple[float, float]]]] = {name: [] for name in _CONTENDERS}
    memory = dict.fromkeys(_CONTENDERS, 0)
    for run in range(runs + 1):
        for name, program in _CONTENDERS.items():
            *marks, peak = _answer(program, environment)
            if run:  # the first one writes what the others find compiled and cached
                taken[name].append(marks)
                memory[name] = max(memory[name], peak)
    figures: list[StartupFigures] = []
    for position, what in enumerate((FIRST_CLIENT, "up to the first answer")):
        theirs = [marks[position] for marks in taken["boto3"]]
        ours = [marks[position] for marks in taken["ours"]]
        figures.append(
            StartupFigures(
                what,
                Spread.of([wall for wall, _ in theirs], scale=1e3),
                Spread.of([wall for wall, _ in ours], scale=1e3),
                Spread.of(their / our for (their, _), (our, _) in zip(theirs, ours, strict=True)),
                Spread.of([cpu for _, cpu in theirs], scale=1e3),
                Spread.of([cpu for _, cpu in ours], scale=1e3),
            )
        )
    bare = _answer(_BARE, environment)
    return figures, StartupMemory(bare, memory["boto3"], memory["ours"])


def _answer(program: str, environment: Mapping[str, str]) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, stdout=subprocess.PIPE
    )
    return json.loads(done.stdout)
