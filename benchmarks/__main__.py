"""The command: measures, prints tables, writes JSON."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import attrs

import eventbridge_partner
from benchmarks import tables
from benchmarks.cases import BATCH, CASES
from benchmarks.certificates import write_certificates
from benchmarks.contenders import CONTENDERS, OURS
from benchmarks.figures import Bar
from benchmarks.sending import SendingFigures, measure_case
from benchmarks.service import Service
from benchmarks.startup import measure_startup
from benchmarks.streaming import measure_streaming

_SECTIONS = ("sending", "startup", "streaming")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure this package side by side with boto3, on this machine.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="a few hundred events: does it run at all?"
    )
    parser.add_argument("--tls", choices=("on", "off", "both"), default="both")
    parser.add_argument("--only", choices=_SECTIONS, action="append", help="may be repeated")
    parser.add_argument("--case", choices=CASES, action="append", help="may be repeated")
    parser.add_argument("--events", type=_full_batches, help="in a round (2,000)")
    parser.add_argument("--rounds", type=int, help="of each case (25)")
    parser.add_argument("--runs", type=int, help="of a fresh interpreter (21)")
    parser.add_argument("--stream", type=_full_batches, help="events to stream (1,000,000)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    parser.add_argument(
        "--profile", choices=CASES, metavar="CASE", help="print our profile for a case, no more"
    )
    arguments = parser.parse_args()
    quick = arguments.quick
    arguments.events = arguments.events or (200 if quick else 2000)
    arguments.rounds = arguments.rounds or (3 if quick else 25)
    arguments.runs = arguments.runs or (2 if quick else 21)
    arguments.stream = arguments.stream or (4000 if quick else 1_000_000)
    return arguments


def _full_batches(text: str) -> int:
    events = int(text.replace("_", "").replace(",", ""))
    if events < BATCH or events % BATCH:
        raise argparse.ArgumentTypeError(f"{events}; allowed: multiples of {BATCH}")
    return events


def _environment(directory: Path, trusted: Path) -> dict[str, str]:
    """Return the environment of all processes: no setting of this machine's AWS use in it."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AWS_")
        and not name.upper().endswith(("_PROXY", "_CA_BUNDLE"))
        and not (name.startswith("PYTHON") and name != "PYTHONPATH")
    }
    root = str(Path(__file__).parents[1])
    return kept | {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
        "AWS_SESSION_TOKEN": "benchmark" * 40,  # a role's, as most backends have
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(directory / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(directory / "none"),
        "AWS_CA_BUNDLE": str(trusted),
        "PYTHONPATH": os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH")))),
    }


def _machine() -> dict[str, str]:
    packages = ("boto3", "botocore", "requests", "urllib3", "orjson")
    versions = [f"eventbridge-partner {eventbridge_partner.__version__}"]
    versions += [f"{name} {importlib.metadata.version(name)}" for name in packages]
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    return {
        "system": f"{platform.system()} {platform.machine()}, {cores} cores",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(versions),
        "load": ", ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def _print(title: str, text: str) -> None:
    print(f"\n{title}\n\n{text}", flush=True)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def main() -> None:
    arguments = _arguments()
    sections = arguments.only or _SECTIONS
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        trusted, certificate = write_certificates(directory)
        environment = _environment(directory, trusted)
        services: dict[bool, Service] = {}
        for tls in (True, False):
            if arguments.tls in ("both", "on" if tls else "off"):
                service = Service(environment, certificate if tls else None)
                services[tls] = stack.enter_context(service)
        if arguments.profile:
            _profile(arguments, environment, services)
            return
        _measure(arguments, sections, environment, services)


def _to(environment: dict[str, str], service: Service) -> dict[str, str]:
    """Return the environment with the endpoint set: contenders are made as on any other day."""
    return environment | {"AWS_ENDPOINT_URL_EVENTBRIDGE": service.url}


def _profile(
    arguments: argparse.Namespace, environment: dict[str, str], services: dict[bool, Service]
) -> None:
    command = [sys.executable, "-m", "benchmarks.senders", "--profile", OURS, arguments.profile]
    for tls, service in services.items():
        print("With TLS" if tls else "Without TLS", flush=True)
        events = str(arguments.events * 10)
        subprocess.run([*command, events], env=_to(environment, service), check=True)


def _measure(
    arguments: argparse.Namespace,
    sections: list[str] | tuple[str, ...],
    environment: dict[str, str],
    services: dict[bool, Service],
) -> None:
    machine = _machine()
    for name, value in machine.items():
        print(f"{name}: {value}")
    bars: list[Bar] = []
    result: dict[str, Any] = {"machine": machine, "sending": {}}
    by_tls: dict[bool, list[SendingFigures]] = {}
    if "sending" in sections:
        for tls, service in services.items():
            by_tls[tls] = figures = []
            for case in CASES.values():
                if arguments.case and case.name not in arguments.case:
                    continue
                _progress(f"sending {case.title}, TLS {'on' if tls else 'off'}")
                figures += measure_case(
                    case,
                    CONTENDERS,
                    service,
                    _to(environment, service),
                    events=arguments.events,
                    rounds=arguments.rounds,
                )
            _progress("")
            what = "with TLS" if tls else "without TLS"
            rounds = f"{arguments.rounds} rounds of {arguments.events:,} events, {BATCH} a request"
            _print(f"Sending {what}: {rounds}", tables.sending_table(figures))
            bars += [
                attrs.evolve(one.bar, what=f"{one.bar.what}, {what}") for one in figures if one.bar
            ]
            result["sending"]["tls" if tls else "plain"] = [_plain(one) for one in figures]

    service = next(iter(services.values()))
    startup_memory = None
    if "startup" in sections:
        _progress("startup")
        startup, startup_memory = measure_startup(_to(environment, service), runs=arguments.runs)
        _progress("")
        title = f"Startup: {arguments.runs} fresh interpreters for each, in turn"
        _print(title, tables.startup_table(startup))
        bars += [one.bar for one in startup if one.bar]
        result["startup"] = [_plain(one) for one in startup]
        result["startup_memory"] = _plain(startup_memory)
    memory_figures = next(iter(by_tls.values()), [])
    if startup_memory or memory_figures:
        title = f"Memory: the process that sent {arguments.events:,} events a call"
        _print(title, tables.memory_table(startup_memory, memory_figures))
    if "streaming" in sections:
        _progress(f"streaming {arguments.stream:,} events")
        streaming = measure_streaming(_to(environment, service), events=arguments.stream)
        _progress("")
        _print("Streaming: stream_events, 500 B as text", tables.streaming_table(streaming))
        result["streaming"] = streaming
    if bars:
        _print("Bars", tables.bars_text(bars))
    result["bars"] = [_plain(bar) | {"is_reached": bar.is_reached} for bar in bars]
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


def _plain(figures: attrs.AttrsInstance) -> dict[str, Any]:
    """Return figures as members of JSON, with names in the place of contenders and cases."""
    members = attrs.asdict(figures, recurse=True)
    for name in ("contender", "case"):
        if hasattr(figures, name):
            members[name] = getattr(figures, name).name
    return members


if __name__ == "__main__":
    main()
