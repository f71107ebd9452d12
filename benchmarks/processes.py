"""Contenders at work, each in a process of its own, and rounds that go round them."""

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
    What a contender took when it was its turn.

    Attributes:
        number: In which round.
        events: How many it sent.
        cpu: Its seconds of CPU.
        wall: Its seconds.
        memory: Its peak so far in bytes, if it tells.
        service_cpu: The service's seconds of CPU in that time.
        service_busy: The same as a share of all the time.
        requests: How many the service has answered in that time.
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
    A contender at work.

    Args:
        contender: Who.
        case: The name of what it sends.
        in_flight: Requests at a time, at most; None for its own default.
        environment: Of its process; says where the service is.
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
        """Let it send so many events to the service, and wait until it has."""
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
    Let all contenders send, one after the other, round after round.

    Args:
        processes: Who; they are warm.
        service: Where to.
        events: How many in a turn, by the contender's name.
        rounds: How many.
    """
    turns: dict[str, list[Turn]] = {process.contender.name: [] for process in processes}
    order = list(processes)
    for number in range(rounds):
        for process in order:
            name = process.contender.name
            if number % process.contender.every == 0:
                turns[name].append(process.send(events[name], service, number))
        order.append(order.pop(0))  # so that nobody always comes after the same one
    return turns


def cores() -> list[int]:
    """Return the cores that this process may use; none where it is not known."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Let the processes that are started now run on one core and nowhere else."""
    if core is None:
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
