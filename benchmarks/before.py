"""
Compares this package with another checkout of it: is a change slower?

    git worktree add ../before v0.1.0
    python -m benchmarks.before ../before

Both take turns in one run, on each transport. What counts is the ratio of their CPU time, pair by
pair, because a slow phase of the machine affects both.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.cases import CASES
from benchmarks.certificates import write_certificates
from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.environment import environment
from benchmarks.figures import SendingFigures
from benchmarks.sending import measure_sending
from benchmarks.service import Service

_NAMES: Final = ("requests", "curl", "aiohttp")
_RESAMPLES: Final = 10_000
_RUN_THERE: Final = (
    "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); "
    "runpy.run_module('benchmarks.senders', run_name='__main__', alter_sys=True)"
)


def of_checkout(contender: Contender, checkout: Path) -> Contender:
    """Return one of our contenders that runs from another checkout."""
    return Contender(
        f"{contender.name} before",
        f"{contender.title}, before",
        (sys.executable, "-c", _RUN_THERE, str(checkout), contender.name),
        in_flight=contender.in_flight,
        is_ours=True,
    )


def interval(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Return the median of ratios, and its 95 % interval by the bootstrap, with a fixed seed."""
    drawn = random.Random(0)
    medians = sorted(
        statistics.median(drawn.choices(ratios, k=len(ratios))) for _ in range(_RESAMPLES)
    )
    return (
        statistics.median(ratios),
        medians[int(_RESAMPLES * 0.025)],
        medians[int(_RESAMPLES * 0.975)],
    )


def row(before: SendingFigures, after: SendingFigures) -> str:
    """Return the line of a table for one transport."""
    pairs = zip(before.rounds, after.rounds, strict=True)
    median, low, high = interval([mine.cpu / theirs.cpu for theirs, mine in pairs])
    return (
        f"| {after.contender} | {before.cpu.median:.1f} | {after.cpu.median:.1f} "
        f"| {median:.3f} | {low:.3f} to {high:.3f} |"
    )


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.before", description=__doc__)
    parser.add_argument("checkout", type=Path, help="the folder of the other checkout")
    parser.add_argument("--rounds", type=int, default=21, help="(default: 21)")
    parser.add_argument("--events", type=int, default=2000, help="in a round (default: 2,000)")
    parser.add_argument("--case", choices=sorted(CASES), default="text-500")
    arguments = parser.parse_args()
    ours = [contender for contender in CONTENDERS if contender.name in _NAMES]
    checkout = arguments.checkout.resolve(strict=True)
    contenders = [one for mine in ours for one in (of_checkout(mine, checkout), mine)]
    with tempfile.TemporaryDirectory() as directory:
        trusted, certificate = write_certificates(Path(directory))
        CASES[arguments.case].write(Path(directory))
        settings = environment(Path(directory), trusted)
        with Service(settings, certificate) as service:
            figures = measure_sending(
                CASES[arguments.case],
                contenders,
                service,
                settings | {"AWS_ENDPOINT_URL_EVENTBRIDGE": service.url},
                with_tls=True,
                events=arguments.events,
                rounds=arguments.rounds,
                is_quick=False,
            )
    found = {one.contender: one for one in figures}
    print(f"{arguments.case} with TLS, {arguments.rounds} rounds: µs of CPU an event, medians\n")
    print("| transport | before | after | after ÷ before | 95 % |")
    print("|---|---|---|---|---|")
    for mine in ours:
        print(row(found[f"{mine.name} before"], found[mine.name]))


if __name__ == "__main__":
    main()
