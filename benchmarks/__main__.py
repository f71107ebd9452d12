"""The command, which measures, prints tables, draws pictures and writes JSON."""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import attrs
import cattrs

from benchmarks import page, peers, tables
from benchmarks.bars import bars
from benchmarks.cases import BATCH, CASES
from benchmarks.certificates import write_certificates
from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.environment import environment
from benchmarks.figures import Result, SendingFigures
from benchmarks.latency import DELAY, IN_FLIGHT, measure_latency
from benchmarks.machine import machine
from benchmarks.processes import cores, on_core
from benchmarks.sending import measure_sending
from benchmarks.service import Service
from benchmarks.startup import measure_startup
from benchmarks.streaming import STREAMS, measure_streaming

_SECTIONS = ("sending", "latency", "startup", "streaming")
_NAMES = tuple(contender.name for contender in CONTENDERS)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure this package side by side with its peers, on this machine.",
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="a few hundred events: does it run at all?")
    add("--install-peers", action="store_true", help="first install peers that are missing")
    add("--tls", choices=("on", "off", "both"), default="both")
    add("--only", choices=_SECTIONS, action="append", help="may be repeated")
    add("--case", choices=CASES, action="append", help="may be repeated")
    add("--contender", choices=_NAMES, action="append", help="may be repeated")
    add("--events", type=_full_batches, help="in a round (2,000)")
    add("--rounds", type=int, help="of each case (15)")
    add("--runs", type=int, help="of a fresh interpreter (21)")
    add("--stream", type=_full_batches, help="events to stream (1,000,000)")
    add("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    add("--from", type=Path, metavar="FILE", dest="given", help="take figures from FILE instead")
    add("--svg", type=Path, metavar="DIRECTORY", help="draw pictures there")
    add("--docs", type=Path, metavar="DIRECTORY", help=f"update {page.PAGE} and pictures there")
    add("--profile", choices=CASES, metavar="CASE", help="print a profile for a case, no more")
    arguments = parser.parse_args()
    quick = arguments.quick
    arguments.events = arguments.events or (200 if quick else 2000)
    arguments.rounds = arguments.rounds or (3 if quick else 15)
    arguments.runs = arguments.runs or (2 if quick else 21)
    arguments.stream = arguments.stream or (4000 if quick else 1_000_000)
    return arguments


def _full_batches(text: str) -> int:
    events = int(text.replace("_", "").replace(",", ""))
    if events < BATCH or events % BATCH:
        raise argparse.ArgumentTypeError(f"{events}; allowed: multiples of {BATCH}")
    return events


def main() -> None:
    arguments = _arguments()
    if arguments.install_peers:
        peers.install_peers()
    if arguments.given:
        result = cattrs.structure(json.loads(arguments.given.read_text()), Result)
    else:
        with tempfile.TemporaryDirectory() as name:
            run = _Run(arguments, Path(name))
            if arguments.profile:
                run.profile()
                return
            result = run.measured()
    printed = _printed(result)
    print(printed)
    if arguments.json:
        found = cattrs.unstructure(result)
        found["bars"] = [attrs.asdict(bar) | {"is_reached": bar.is_reached} for bar in bars(result)]
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    if arguments.svg:
        page.write_pictures(result, arguments.svg)
    if arguments.docs:
        page.write_page(result, arguments.docs, printed)


def _printed(result: Result) -> str:
    lines = [f"{name}: {what}" for name, what in result.machine.items() if what]
    lines += [f"not measured: {name}; needs {what}" for name, what in result.missing.items()]
    for title, table in tables.sections(result):
        lines += ["", title, "", table]
    if reached := bars(result):
        about = "CPU per event, with TLS unless noted otherwise"
        if result.settings["quick"]:
            about = "with --quick, they tell nothing"
        lines += ["", f"Bars: {about}", ""]
        lines.append(tables.bars_table(reached))
    return "\n".join(lines)


class _Run:
    """One run, with everything that it needs."""

    def __init__(self, arguments: argparse.Namespace, directory: Path) -> None:
        self._arguments = arguments
        self._trusted, self._certificate = write_certificates(directory)
        for case in CASES.values():
            case.write(directory)
        self._environment = environment(directory, self._trusted)
        self._contenders: list[Contender] = []
        self._missing: dict[str, str] = {}
        for contender in CONTENDERS:
            if arguments.contender and contender.name not in arguments.contender:
                continue
            if (need := contender.missing()) is None:
                self._contenders.append(contender)
            else:
                self._missing[contender.name] = need
        # With slow answers, the service has one core, and each contender another.
        self._cores = cores()[:2] if len(cores()) > 1 else [None, None]

    def profile(self) -> None:
        """Print where the time of one contender goes."""
        wanted = self._arguments.contender or ["requests-1"]
        [contender] = [one for one in self._contenders if one.name == wanted[0]]
        if contender.command[:3] != (sys.executable, "-m", "benchmarks.senders"):
            raise SystemExit(f"no profile of {contender.name}; allowed: those of this interpreter")
        last = contender.start(self._arguments.profile, contender.in_flight)[3:]
        command = [*contender.command[:3], "--profile", str(self._arguments.events * 10), *last]
        with_tls = self._arguments.tls != "off"
        with self._service(with_tls=with_tls) as service:
            subprocess.run(command, env=self._to(service), check=True)

    def measured(self) -> Result:
        """Measure what the arguments ask for."""
        arguments = self._arguments
        facts = machine([contender.name for contender in self._contenders])
        with contextlib.ExitStack() as stack:
            services = {
                with_tls: stack.enter_context(self._service(with_tls=with_tls))
                for with_tls in (True, False)
                if arguments.tls in ("both", "on" if with_tls else "off")
            }
            result = Result(
                machine=facts,
                settings={
                    "events": arguments.events,
                    "rounds": arguments.rounds,
                    "runs": arguments.runs,
                    "quick": float(arguments.quick),
                    "pinned": float(self._cores[0] is not None),
                    "latency_with_tls": float(next(iter(services))),
                },
                entrants=tuple(contender.entrant for contender in self._contenders),
                missing=self._missing,
            )
            sections = arguments.only or _SECTIONS
            if "sending" in sections:
                result = attrs.evolve(result, sending=tuple(self._sending(services)))
            if "latency" in sections:
                result = self._latency(result, with_tls=next(iter(services)))
            service = next(iter(services.values()))
            if "startup" in sections:
                result = self._startup(result)
            if "streaming" in sections:
                result = self._streaming(result, service)
        _progress("")
        return result

    def _service(self, *, with_tls: bool, delay: float = 0.0, core: int | None = None) -> Service:
        certificate = self._certificate if with_tls else None
        with on_core(core):
            return Service(self._environment, certificate, delay=delay)

    def _to(self, service: Service) -> dict[str, str]:
        """Return the environment with the endpoint, so that contenders need no other settings."""
        return self._environment | {"AWS_ENDPOINT_URL_EVENTBRIDGE": service.url}

    def _sending(self, services: dict[bool, Service]) -> list[SendingFigures]:
        arguments = self._arguments
        figures: list[SendingFigures] = []
        for with_tls, service in services.items():
            for case in CASES.values():
                if arguments.case and case.name not in arguments.case:
                    continue
                _progress(f"sending {case.title}, {'with' if with_tls else 'without'} TLS")
                figures += measure_sending(
                    case,
                    self._contenders,
                    service,
                    self._to(service),
                    with_tls=with_tls,
                    events=arguments.events,
                    rounds=arguments.rounds,
                    is_quick=arguments.quick,
                )
        return figures

    def _latency(self, result: Result, *, with_tls: bool) -> Result:
        quick = self._arguments.quick
        contenders = [contender for contender in self._contenders if contender.has_latency]
        ours, services = self._cores
        with self._service(with_tls=with_tls, delay=DELAY, core=services) as service:
            figures = measure_latency(
                contenders,
                service,
                self._to(service),
                in_flight=IN_FLIGHT[3:4] if quick else IN_FLIGHT,
                seconds=0.05 if quick else 0.6,
                rounds=1 if quick else 3,
                core=ours,
                progress=_progress,
            )
        return attrs.evolve(result, latency=tuple(figures))

    def _startup(self, result: Result) -> Result:
        _progress("startup")
        startup = measure_startup(self._environment, runs=self._arguments.runs)
        return attrs.evolve(result, startup=tuple(startup))

    def _streaming(self, result: Result, service: Service) -> Result:
        events = self._arguments.stream
        figures = []
        for contender in self._contenders:
            if contender.name in STREAMS:
                _progress(f"streaming {events:,} events, {contender.title}")
                figures.append(measure_streaming(contender.name, self._to(service), events=events))
        return attrs.evolve(result, streaming=tuple(figures))


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
