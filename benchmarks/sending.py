"""CPU and wall time of sending: rounds that go round the contenders."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import NamedTuple, Self

import attrs

from benchmarks.cases import BATCH, Case
from benchmarks.contenders import OURS, Contender
from benchmarks.figures import Bar, Spread
from benchmarks.service import Service

NEEDED_RATIO = 3.0
_BARRED_CASES = ("text-500", "mapping-500")


class _Measured(NamedTuple):
    cpu: float
    wall: float
    accepted: int
    memory: int


class _Process:
    """A contender at work on one case."""

    def __init__(self, contender: Contender, case: Case, environment: Mapping[str, str]) -> None:
        self._name = contender.name
        self._process = subprocess.Popen(
            [*contender.command, case.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def send(self, events: int) -> _Measured:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = ""
        with contextlib.suppress(BrokenPipeError):
            print(events, file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} ended with code {self._process.wait()}")
        measured = _Measured(**json.loads(line))
        if measured.accepted != events:
            raise RuntimeError(f"{self._name}: {measured.accepted} of {events} were accepted")
        return measured

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self._process.communicate()
        else:
            self._process.kill()
            self._process.wait()


@attrs.frozen
class SendingFigures:
    """
    What one contender took for one case.

    Attributes:
        contender: Who.
        case: What was sent.
        cpu: Microseconds of CPU, user and system, of an event.
        wall: Microseconds of an event.
        cpu_ratio: The peer's CPU divided by this one's.
        wall_ratio: The same of wall time.
        peak_memory: Bytes.
        service_cpu: Microseconds of CPU that a request took in the service's process.
        service_busy: The share of the wall time in which the service was at work.
        bar: What `cpu_ratio` must reach, if something.
    """

    contender: Contender
    case: Case
    cpu: Spread
    wall: Spread
    cpu_ratio: Spread | None
    wall_ratio: Spread | None
    peak_memory: int
    service_cpu: float
    service_busy: float
    bar: Bar | None


def measure_case(
    case: Case,
    contenders: Sequence[Contender],
    service: Service,
    environment: Mapping[str, str],
    *,
    events: int,
    rounds: int,
) -> list[SendingFigures]:
    """
    Let all contenders send the same events, in turn, round after round.

    Args:
        case: What to send.
        contenders: Who.
        service: Where to.
        environment: Of the contenders' processes; says where the service is.
        events: In a round, a multiple of 20.
        rounds: How many are measured, after one that is not.
    """
    if events % BATCH:
        raise ValueError(f"{events} events; allowed: multiples of {BATCH}")
    taken: dict[str, list[_Measured]] = {contender.name: [] for contender in contenders}
    service_cpu = dict.fromkeys(taken, 0.0)
    with contextlib.ExitStack() as stack:
        processes = {
            contender.name: stack.enter_context(_Process(contender, case, environment))
            for contender in contenders
        }
        for process in processes.values():
            process.send(events)
        order = list(processes)
        for _ in range(rounds):
            for name in order:
                before = service.usage().cpu
                taken[name].append(processes[name].send(events))
                service_cpu[name] += service.usage().cpu - before
            order.append(order.pop(0))  # so that nobody always comes after the same one
    return [
        _figures(contender, case, taken, service_cpu[contender.name], events)
        for contender in contenders
    ]


def _figures(
    contender: Contender,
    case: Case,
    taken: Mapping[str, Sequence[_Measured]],
    service_cpu: float,
    events: int,
) -> SendingFigures:
    own = taken[contender.name]
    cpu_ratio = wall_ratio = bar = None
    if contender.peer is not None and contender.peer in taken:
        peer = taken[contender.peer]
        cpu_ratio = Spread.of_ratios([one.cpu for one in peer], [one.cpu for one in own])
        wall_ratio = Spread.of_ratios([one.wall for one in peer], [one.wall for one in own])
        if contender.name == OURS and case.name in _BARRED_CASES:
            bar = Bar(f"CPU per event, {case.title}", cpu_ratio.median, NEEDED_RATIO)
    per_event = 1e6 / events
    return SendingFigures(
        contender,
        case,
        Spread.of([one.cpu for one in own], scale=per_event),
        Spread.of([one.wall for one in own], scale=per_event),
        cpu_ratio,
        wall_ratio,
        max(one.memory for one in own),
        service_cpu / len(own) * per_event * BATCH,
        service_cpu / sum(one.wall for one in own),
        bar,
    )
