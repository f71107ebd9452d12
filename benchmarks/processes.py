"""Contenders, each in a process of its own, that take turns in rounds."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from benchmarks.contenders import Contender
from benchmarks.service import Service


class Turn(NamedTuple):
    """
    What a contender needed for its turn.

    Attributes:
        number: The number of the round.
        events: How many events it sent.
        cpu: Its seconds of CPU time.
        wall: Its seconds of wall time.
        memory: Its peak so far in bytes, if it is known.
        service_cpu: The service's seconds of CPU time in that time.
        service_busy: The same as a share of the wall time.
        requests: How many requests the service answered in that time.
    """

    number: int
    events: int
    cpu: float
    wall: float
    memory: int | None
    service_cpu: float
    service_busy: float
    requests: int


class Process:
    """
    The running process of a contender.

    Args:
        contender: The contender.
        case: The name of the case that it sends.
        in_flight: The most requests in flight; None for its own default.
        environment: The environment of its process, with the service's endpoint.
    """

    def __init__(
        self,
        contender: Contender,
        case: str,
        in_flight: int | None,
        environment: Mapping[str, str],
    ) -> None:
        self.contender = contender
        self._process = subprocess.Popen(
            contender.start(case, in_flight),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def send(self, events: int, service: Service, number: int = 0) -> Turn:
        """Let it send `events` events to the service, and wait until it is done."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        before, started = service.usage(), time.perf_counter()
        line = ""
        with contextlib.suppress(BrokenPipeError):
            print(events, file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        name = self.contender.name
        if not line:
            raise RuntimeError(f"{name} ended with code {self._process.wait()}")
        seconds, after = time.perf_counter() - started, service.usage()
        found = json.loads(line)
        if found["accepted"] != events:
            raise RuntimeError(f"{name}: {found['accepted']} of {events} were accepted")
        service_cpu = after.cpu - before.cpu
        return Turn(
            number,
            events,
            found["cpu"],
            found["wall"],
            found["memory"],
            service_cpu,
            service_cpu / seconds,
            after.requests - before.requests,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._process.kill()
        self._process.communicate()


def take_turns(
    processes: Sequence[Process],
    service: Service,
    events: Mapping[str, int],
    *,
    rounds: int,
) -> dict[str, list[Turn]]:
    """
    Let all contenders send one after another, round after round.

    Args:
        processes: The contenders' processes, warmed up.
        service: The service that they send to.
        events: How many events a turn has, by the contender's name.
        rounds: How many rounds there are.
    """
    turns: dict[str, list[Turn]] = {process.contender.name: [] for process in processes}
    order = list(processes)
    for number in range(rounds):
        for process in order:
            name = process.contender.name
            if number % process.contender.every == 0:
                turns[name].append(process.send(events[name], service, number))
        order.append(order.pop(0))  # so that each begins in turn
    return turns


def cores() -> list[int]:
    """Return the cores that this process may use; none if they are not known."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Let the processes that are started now run on one core only."""
    if core is None:
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
