"""
What a call with a single event takes: CPU time, and the time that its caller waits.

    python -m benchmarks.single [--quick] [--install-peers] [--rounds N] [--calls N]

Each contender has a process of its own, and they take turns. The service is on loopback, without
TLS, and answers at once.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from benchmarks import peers, tables
from benchmarks.bars import Bar
from benchmarks.figures import Spread
from benchmarks.service import Service

_LOOP = """
import json, statistics, sys, time
{made}
for line in sys.stdin:
    count, waits = int(line), []
    cpu = time.process_time()
    for number in range(count):
        since = time.perf_counter()
        {call}
        waits.append(time.perf_counter() - since)
    cpu = (time.process_time() - cpu) / count
    cuts = statistics.quantiles(waits, n=100, method="inclusive")
    print(json.dumps([cpu * 1e6, cuts[49] * 1e6, cuts[98] * 1e6]), flush=True)
"""
_SOURCE = "aws.partner/example.com/a"
_OURS = """
from eventbridge_partner import PartnerEvent, PartnerEventsClient
client = PartnerEventsClient({settings})
"""
_OUR_CALL = (
    f"client.put_events([PartnerEvent({_SOURCE!r}, 'ticket.created', {{'id': number}})])"
    ".raise_for_undelivered()"
)

_CAPO = "capo-eventbridge"
_CAPO_CLIENT = """
import os
from capo_eventbridge import EventBridgeClient
region, endpoint = os.environ['AWS_REGION'], os.environ['AWS_ENDPOINT_URL_EVENTBRIDGE']
client = EventBridgeClient(region=region, endpoint=endpoint)
"""
_CAPO_CALL = (
    f"answer = client.put_partner_events(entries=[{{'source': {_SOURCE!r}, "
    "'detail_type': 'ticket.created', 'detail': json.dumps({'id': number})}])\n"
    "        assert answer['failed_entry_count'] == 0"
)
_CAPO_WITHOUT_DELAY = "capo-eventbridge, TCP_NODELAY"
_NO_DELAY = """
import socket
connect = socket.socket.connect
def connect_without_delay(self, address):
    self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connect(self, address)
socket.socket.connect = connect_without_delay
"""

PROGRAMS = {
    "boto3": _LOOP.format(
        made="import boto3\nclient = boto3.client('events')",
        call=f"answer = client.put_partner_events(Entries=[{{'Source': {_SOURCE!r}, "
        "'DetailType': 'ticket.created', 'Detail': json.dumps({'id': number})}])\n"
        "        assert answer['FailedEntryCount'] == 0",
    ),
    _CAPO: _LOOP.format(made=_CAPO_CLIENT, call=_CAPO_CALL),
    _CAPO_WITHOUT_DELAY: _LOOP.format(made=_NO_DELAY + _CAPO_CLIENT, call=_CAPO_CALL),
    "ours": _LOOP.format(made=_OURS.format(settings=""), call=_OUR_CALL),
    "ours, requests imported": _LOOP.format(
        made="import requests\n" + _OURS.format(settings=""), call=_OUR_CALL
    ),
}
"""What users of each SDK write to send one event: from plain values to checking the result."""

_PEER = "boto3"


@attrs.frozen
class SingleFigures:
    """
    What calls of one contender took, in microseconds, a value for each round.

    Attributes:
        contender: The contender's name.
        cpu: User and system time of its process for a call.
        p50: The time that half of a round's calls stayed below.
        p99: The time that 99 of 100 calls of a round stayed below.
    """

    contender: str
    cpu: tuple[float, ...]
    p50: tuple[float, ...]
    p99: tuple[float, ...]


def measure_single(
    environment: Mapping[str, str], *, rounds: int, calls: int
) -> list[SingleFigures]:
    """Let the contenders make their calls in turn, round after round."""
    programs = {
        name: program
        for name, program in PROGRAMS.items()
        if not name.startswith(_CAPO) or peers.without_capo() is None
    }
    taken: dict[str, list[list[float]]] = {name: [] for name in programs}
    with Service(environment, None, entries=1) as service:
        here = dict(environment) | {
            "AWS_ENDPOINT_URL_EVENTBRIDGE": service.url,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        processes = {name: _started(name, program, here) for name, program in programs.items()}
        for turn in range(rounds + 1):
            for name, process in processes.items():
                assert process.stdin is not None
                assert process.stdout is not None
                # A call takes 44 ms; a tenth of the calls is enough.
                count = calls if name != _CAPO else max(20, calls // 10)
                print(count, file=process.stdin, flush=True)
                found = json.loads(process.stdout.readline())
                if turn:  # the first turn warms up
                    taken[name].append(found)
        for process in processes.values():
            process.communicate()
    return [
        SingleFigures(name, *(tuple(column) for column in zip(*found, strict=True)))
        for name, found in taken.items()
    ]


def _started(name: str, program: str, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    python: Any = peers.capo_python() if name.startswith(_CAPO) else sys.executable
    return subprocess.Popen(
        [str(python), "-c", program],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ratio(theirs: tuple[float, ...], ours: tuple[float, ...]) -> Spread:
    """Summarize one ÷ the other, round by round."""
    return Spread.of(their / our for their, our in zip(theirs, ours, strict=True))


def single_bars(figures: list[SingleFigures]) -> list[Bar]:
    """Return the bars of what was measured."""
    found = {one.contender: one for one in figures}
    boto3, ours = found[_PEER], found["ours"]
    share = ratio(ours.p50, boto3.p50).median
    return [
        Bar(
            "a call with one event: CPU against boto3", ratio(boto3.cpu, ours.cpu).median, 3.4, 5.0
        ),
        Bar("a call with one event: p50 as a share of boto3's", share, 0.45, 0.33, "", True),
    ]


def table(figures: list[SingleFigures]) -> str:
    """Show the figures, a row for each contender."""
    boto3 = next(one for one in figures if one.contender == _PEER)
    header = ["us a call, median of rounds", "CPU", "p50", "p99", "boto3 / it: CPU", "p50", "p99"]
    rows: list[list[str]] = []
    for one in figures:
        columns = ((one.cpu, boto3.cpu), (one.p50, boto3.p50), (one.p99, boto3.p99))
        values = [f"{Spread.of(own).median:,.0f}" for own, _ in columns]
        ratios = [f"{ratio(theirs, own).median:.2f}x" for own, theirs in columns]
        rows.append([one.contender, *values, *(ratios if one is not boto3 else [""] * 3)])
    return tables.aligned(header, rows, text_columns=1)


def main() -> None:
    from benchmarks.certificates import write_certificates
    from benchmarks.environment import environment

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.single",
        description="Measure calls with a single event, beside those of peers.",
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="two rounds of 40 calls: does it run at all?")
    add("--install-peers", action="store_true", help="first install peers that are missing")
    add("--rounds", type=int, help="of each contender (15)")
    add("--calls", type=int, help="of a round (400)")
    arguments = parser.parse_args()
    if arguments.install_peers:
        peers.install_peers()
    rounds = arguments.rounds or (2 if arguments.quick else 15)
    calls = arguments.calls or (40 if arguments.quick else 400)
    with tempfile.TemporaryDirectory() as name:
        trusted, _ = write_certificates(Path(name))
        found = measure_single(environment(Path(name), trusted), rounds=rounds, calls=calls)
    if (need := peers.without_capo()) is not None:
        print(f"not measured: capo-eventbridge; needs {need}")
    print(table(found), "", tables.bars_table(single_bars(found)), sep="\n")


if __name__ == "__main__":
    main()
