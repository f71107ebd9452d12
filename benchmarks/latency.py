"""Throughput with slow answers, by the number of requests in flight."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

from benchmarks.cases import BATCH
from benchmarks.contenders import Contender
from benchmarks.figures import LatencyFigures, Spread
from benchmarks.processes import Process, Turn, on_core, take_turns
from benchmarks.service import Service

DELAY = 0.02
"""Seconds added to each answer."""

IN_FLIGHT = (1, 4, 16, 32, 64, 128)
CASE = "text-500"

_WARM_UP_WAVES = 5
"""How often each connection is used to find out how fast a contender is."""


def measure_latency(
    contenders: Sequence[Contender],
    service: Service,
    environment: Mapping[str, str],
    *,
    in_flight: Sequence[int],
    seconds: float,
    rounds: int,
    core: int | None,
    progress: Callable[[str], None],
) -> list[LatencyFigures]:
    """
    Let all contenders send in turn, with more and more requests in flight.

    Args:
        contenders: The contenders.
        service: The service, which delays its answers.
        environment: The environment of the contenders, with the service's endpoint.
        in_flight: The numbers of requests in flight.
        seconds: How long a turn takes, approximately.
        rounds: How many turns each contender has for each number.
        core: The only core that contenders run on; None for any.
        progress: Is called with what is measured now.
    """
    figures: list[LatencyFigures] = []
    for number in in_flight:
        progress(f"answers after {DELAY * 1e3:.0f} ms, {number} in flight")
        with contextlib.ExitStack() as stack:
            with on_core(core):
                processes = [
                    stack.enter_context(Process(contender, CASE, number, environment))
                    for contender in contenders
                ]
            events = {
                process.contender.name: _events(process, service, number, seconds)
                for process in processes
            }
            taken = take_turns(processes, service, events, rounds=rounds)
        figures += [_figures(name, number, turns) for name, turns in taken.items()]
    return figures


def _events(process: Process, service: Service, in_flight: int, seconds: float) -> int:
    """Warm a contender up, and return how many events it sends in `seconds`."""
    wave = in_flight * BATCH
    process.send(wave, service)
    turn = process.send(wave * _WARM_UP_WAVES, service)
    waves = max(1, round(turn.events / turn.wall * seconds / wave))
    return waves * wave


def _figures(name: str, in_flight: int, turns: Sequence[Turn]) -> LatencyFigures:
    return LatencyFigures(
        contender=name,
        in_flight=in_flight,
        events_per_second=Spread.of(turn.events / turn.wall for turn in turns),
        cores=Spread.of(turn.cpu / turn.wall for turn in turns),
        service_busy=max(turn.service_busy for turn in turns),
    )
