"""
What a start takes: imports, commands, and a program up to its first accepted event.

    python -m benchmarks.startup [--quick] [--install-peers] [--runs N] [--json FILE]

Each figure comes from a fresh interpreter. The figures of one run are taken one after another, and
ratios are taken run by run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import cattrs

from benchmarks import peers
from benchmarks.figures import Spread, StartupFigures
from benchmarks.service import Service

IMPORT = "import"
FIRST_ANSWER = "first answer, environment"
FROM_FILES = "first answer, profile in files"
VERSION = "--version"
CHECK = "check"

_PROGRAM = """
import time
wall, cpu = time.perf_counter(), time.process_time()
{code}
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
from benchmarks.memory import peak_bytes
memory = peak_bytes()
import json
print(json.dumps([wall, cpu, memory]))
"""

_BOTO3 = """
import boto3
client = boto3.client("events")
answer = client.put_partner_events(Entries=[{
    "Source": "aws.partner/example.com/a", "DetailType": "ticket.created", "Detail": '{"id": 1}'
}])
assert answer["FailedEntryCount"] == 0
"""
# It has no variable for the endpoint, and reads its Region only from AWS_REGION.
_CAPO = """
import os
from capo_eventbridge import EventBridgeClient
client = EventBridgeClient(
    region=os.environ["AWS_REGION"], endpoint=os.environ["AWS_ENDPOINT_URL_EVENTBRIDGE"]
)
answer = client.put_partner_events(entries=[{
    "source": "aws.partner/example.com/a", "detail_type": "ticket.created", "detail": '{"id": 1}'
}])
assert answer["failed_entry_count"] == 0
"""
_OURS = """
from eventbridge_partner import PartnerEvent, PartnerEventsClient
client = PartnerEventsClient()
event = PartnerEvent("aws.partner/example.com/a", "ticket.created", {detail})
client.put_events([event]).raise_for_undelivered()
"""
_OURS_TEXT = _OURS.format(detail="'{\"id\": 1}'")
_OURS_MAPPING = _OURS.format(detail='{"id": 1}')


@attrs.frozen
class Start:
    """
    One thing to start.

    Attributes:
        what: What is measured.
        contender: The contender's name.
        code: The program; empty if a whole command is measured.
        command: That command, after the interpreter.
        with_files: Whether settings are in AWS's files instead of the environment.
    """

    what: str
    contender: str
    code: str = ""
    command: tuple[str, ...] = ()
    with_files: bool = False

    def measured(self, environment: Mapping[str, str]) -> tuple[float, float, int | None]:
        """Run it; return seconds of wall time and of CPU time, and its peak memory."""
        python = peers.capo_python() if self.contender == "capo-eventbridge" else sys.executable
        if self.code:
            command = [str(python), "-c", _PROGRAM.format(code=self.code)]
            done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
            wall, cpu, memory = json.loads(done.stdout)
            return wall, cpu, memory
        before, since = os.times(), time.perf_counter()
        subprocess.run(
            [str(python), *self.command], env=environment, check=True, stdout=subprocess.DEVNULL
        )
        wall, after = time.perf_counter() - since, os.times()
        cpu = after.children_user + after.children_system
        return wall, cpu - before.children_user - before.children_system, None


_CLI = ("-m", "eventbridge_partner")

STARTS = (
    Start(IMPORT, "boto3", "import boto3"),
    Start(IMPORT, "capo-eventbridge", "from capo_eventbridge import EventBridgeClient"),
    Start(IMPORT, "ours, the package", "import eventbridge_partner"),
    Start(IMPORT, "ours, an event", "from eventbridge_partner import PartnerEvent"),
    Start(IMPORT, "ours", "from eventbridge_partner import PartnerEvent, PartnerEventsClient"),
    Start(FIRST_ANSWER, "boto3", _BOTO3),
    Start(FIRST_ANSWER, "capo-eventbridge", _CAPO),
    Start(FIRST_ANSWER, "ours", _OURS_TEXT),
    Start(FIRST_ANSWER, "ours, a mapping", _OURS_MAPPING),
    Start(FROM_FILES, "boto3", _BOTO3, with_files=True),
    Start(FROM_FILES, "ours", _OURS_TEXT, with_files=True),
    Start(VERSION, "python -c pass", command=("-c", "pass")),
    Start(VERSION, "ours", command=(*_CLI, "--version")),
    Start(CHECK, "ours", command=(*_CLI, "check", str(Path("examples", "tickets.jsonl")))),
)


def _with_files(environment: Mapping[str, str], directory: Path) -> dict[str, str]:
    """Write AWS settings to files, and return an environment that refers to them."""
    (directory / "config").write_text(
        f"[default]\nregion = {environment['AWS_REGION']}\n"
        f"endpoint_url = {environment['AWS_ENDPOINT_URL_EVENTBRIDGE']}\n"
    )
    (directory / "credentials").write_text(
        f"[default]\naws_access_key_id = {environment['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {environment['AWS_SECRET_ACCESS_KEY']}\n"
    )
    kept = {name: value for name, value in environment.items() if not name.startswith("AWS_")}
    return kept | {
        "AWS_CONFIG_FILE": str(directory / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(directory / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def measure_startup(environment: Mapping[str, str], *, runs: int) -> list[StartupFigures]:
    """
    Start fresh interpreters for the contenders in turn, run after run.

    The service accepts one event a request, over HTTP without TLS.
    """
    starts = [one for one in STARTS if one.contender != "capo-eventbridge"]
    if peers.without_capo() is None:
        starts = list(STARTS)
    taken: dict[Start, list[tuple[float, float, int | None]]] = {one: [] for one in starts}
    with tempfile.TemporaryDirectory() as name, Service(environment, None, entries=1) as service:
        plain = dict(environment) | {"AWS_ENDPOINT_URL_EVENTBRIDGE": service.url}
        # AWS Lambda sets both: the one that boto3 reads, and the one that newer SDKs read.
        plain |= {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}
        with_files = _with_files(plain, Path(name))
        for run in range(runs + 1):
            for one in starts:
                measured = one.measured(with_files if one.with_files else plain)
                if run:  # the first run fills the caches that the others use
                    taken[one].append(measured)
    return [_figures(one, measured) for one, measured in taken.items()]


def _figures(start: Start, measured: list[tuple[float, float, int | None]]) -> StartupFigures:
    memory = [peak for _, _, peak in measured if peak is not None]
    return StartupFigures(
        start.what,
        start.contender,
        Spread.of([wall for wall, _, _ in measured], scale=1e3),
        Spread.of([cpu for _, cpu, _ in measured], scale=1e3),
        int(statistics.median(memory)) if memory else None,
        tuple(wall * 1e3 for wall, _, _ in measured),
    )


def main() -> None:
    from benchmarks import bars, tables
    from benchmarks.certificates import write_certificates
    from benchmarks.environment import environment
    from benchmarks.figures import Result
    from benchmarks.machine import machine

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.startup", description="Measure starts, beside those of peers."
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="two runs: does it run at all?")
    add("--install-peers", action="store_true", help="first install peers that are missing")
    add("--runs", type=int, help="of a fresh interpreter (21)")
    add("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    arguments = parser.parse_args()
    if arguments.install_peers:
        peers.install_peers()
    runs = arguments.runs or (2 if arguments.quick else 21)
    with tempfile.TemporaryDirectory() as name:
        trusted, _ = write_certificates(Path(name))
        found = measure_startup(environment(Path(name), trusted), runs=runs)
    missing: dict[str, Any] = {}
    if (need := peers.without_capo()) is not None:
        missing["capo-eventbridge"] = need
    result = Result(machine([]), {"runs": runs, "events": 0}, (), missing, startup=tuple(found))
    for fact, what in result.machine.items():
        if what:
            print(f"{fact}: {what}")
    for contender, what in missing.items():
        print(f"not measured: {contender}; needs {what}")
    for title, table in tables.sections(result):
        print("", title, "", table, sep="\n")
    print("", "Bars", "", tables.bars_table(bars.bars(result)), sep="\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(cattrs.unstructure(result), indent=1) + "\n")


if __name__ == "__main__":
    main()
