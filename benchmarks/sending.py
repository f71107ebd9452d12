"""CPU and wall time of sending to a service that answers at once."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from benchmarks.cases import BATCH, Case
from benchmarks.contenders import Contender
from benchmarks.figures import Round, SendingFigures, Spread
from benchmarks.processes import Process, Turn, take_turns
from benchmarks.service import Service


def measure_sending(
    case: Case,
    contenders: Sequence[Contender],
    service: Service,
    environment: Mapping[str, str],
    *,
    with_tls: bool,
    events: int,
    rounds: int,
    is_quick: bool,
) -> list[SendingFigures]:
    """
    Let all contenders send the same events in turn, round after round.

    Args:
        case: What to send.
        contenders: The contenders.
        service: The service that they send to.
        environment: The environment of their processes, with the service's endpoint.
        with_tls: Whether connections are encrypted.
        events: Events in a round, a multiple of 20.
        rounds: How many rounds are measured after the warm-up.
        is_quick: Whether one round of warm-up is enough.
    """
    if events % BATCH:
        raise ValueError(f"{events} events; allowed: multiples of {BATCH}")
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(Process(contender, case.name, contender.in_flight, environment))
            for contender in contenders
        ]
        for process in processes:
            for _ in range(1 if is_quick else process.contender.warm_up):
                process.send(events, service)
        counts = dict.fromkeys((contender.name for contender in contenders), events)
        taken = take_turns(processes, service, counts, rounds=rounds)
    return [_figures(name, case, turns, with_tls=with_tls) for name, turns in taken.items()]


def _figures(name: str, case: Case, turns: Sequence[Turn], *, with_tls: bool) -> SendingFigures:
    rounds = tuple(
        Round(turn.number, turn.cpu / turn.events * 1e6, turn.wall / turn.events * 1e6)
        for turn in turns
    )
    requests = sum(turn.requests for turn in turns)
    return SendingFigures(
        contender=name,
        case=case.name,
        with_tls=with_tls,
        rounds=rounds,
        cpu=Spread.of(one.cpu for one in rounds),
        wall=Spread.of(one.wall for one in rounds),
        peak_memory=max((turn.memory for turn in turns if turn.memory), default=None),
        service_cpu=sum(turn.service_cpu for turn in turns) / requests * 1e6,
        service_busy=max(turn.service_busy for turn in turns),
    )
