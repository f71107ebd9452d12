"""The figures of a run, as values that can be written to JSON and read back."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Self

import attrs


@attrs.frozen
class Spread:
    """The distribution of a figure that was measured many times."""

    minimum: float
    first_quartile: float
    median: float
    third_quartile: float

    @classmethod
    def of(cls, values: Iterable[float], *, scale: float = 1.0) -> Self:
        """Summarize values, each multiplied by `scale`."""
        scaled = sorted(value * scale for value in values)
        if len(scaled) == 1:
            scaled *= 2
        first, median, third = statistics.quantiles(scaled, n=4, method="inclusive")
        return cls(scaled[0], first, median, third)


@attrs.frozen
class Round:
    """
    What one contender needed in one round, in microseconds an event.

    Attributes:
        number: Which round; all contenders are measured one after another in it.
        cpu: User and system time of the sending process.
        wall: Wall time.
    """

    number: int
    cpu: float
    wall: float


@attrs.frozen
class SendingFigures:
    """
    What one contender needed for one case.

    Attributes:
        contender: The contender's name.
        case: The name of the case.
        with_tls: Whether connections were encrypted.
        rounds: The figures of each round.
        cpu: Microseconds of CPU time an event.
        wall: Microseconds of wall time an event.
        peak_memory: Bytes; None if not known.
        service_cpu: Microseconds of CPU time that a request took in the service's process.
        service_busy: The share of the wall time in which the service was at work.
    """

    contender: str
    case: str
    with_tls: bool
    rounds: tuple[Round, ...]
    cpu: Spread
    wall: Spread
    peak_memory: int | None
    service_cpu: float
    service_busy: float


def cpu_ratio(peer: SendingFigures, own: SendingFigures) -> Spread:
    """
    Summarize the peer's CPU ÷ our own, round by round.

    The figures of a round are taken one after another, so a slow phase of the machine affects
    both.
    """
    theirs = {one.number: one.cpu for one in peer.rounds}
    return Spread.of(theirs[one.number] / one.cpu for one in own.rounds if one.number in theirs)


def wall_ratio(peer: SendingFigures, own: SendingFigures) -> Spread:
    """Summarize the peer's wall time ÷ our own, round by round."""
    theirs = {one.number: one.wall for one in peer.rounds}
    return Spread.of(theirs[one.number] / one.wall for one in own.rounds if one.number in theirs)


@attrs.frozen
class LatencyFigures:
    """
    What one contender achieved with slow answers.

    Attributes:
        contender: The contender's name.
        in_flight: The most requests in flight.
        events_per_second: Events per second of wall time.
        cores: CPU time ÷ wall time of the sending process.
        service_busy: The share of the wall time in which the service was at work.
    """

    contender: str
    in_flight: int
    events_per_second: Spread
    cores: Spread
    service_busy: float

    @property
    def events_per_core_second(self) -> float:
        """Events per second of one fully used core."""
        return self.events_per_second.median / max(1.0, self.cores.median)


@attrs.frozen
class StartupFigures:
    """
    What a start took from a running interpreter; for a command, including the interpreter.

    Attributes:
        what: Its end: an import, the first accepted event, or the end of a command.
        contender: The contender's name.
        wall: Milliseconds of wall time.
        cpu: Milliseconds of CPU time.
        peak_memory: Bytes at its end; None for a command.
        walls: Milliseconds of wall time of each run.
    """

    what: str
    contender: str
    wall: Spread
    cpu: Spread
    peak_memory: int | None
    walls: tuple[float, ...]


def start_ratio(peer: StartupFigures, own: StartupFigures) -> Spread:
    """Summarize the peer's time ÷ our own, run by run."""
    return Spread.of(theirs / ours for theirs, ours in zip(peer.walls, own.walls, strict=True))


@attrs.frozen
class StreamingFigures:
    """
    Memory during a stream, in bytes.

    Attributes:
        contender: The contender's name.
        events: How many events were sent.
        seconds: How long that took.
        bare: Resident memory of an interpreter that has imported nothing yet.
        peak: The highest resident memory.
        sample_every: Events between two samples.
        samples: Resident memory after each `sample_every` events.
        settled_after: The number of events after which growth counts.
    """

    contender: str
    events: int
    seconds: float
    bare: int
    peak: int
    sample_every: int
    samples: tuple[int, ...]
    settled_after: int

    @property
    def growth(self) -> int:
        """How far resident memory rose above its value after `settled_after` events."""
        settled = self.settled_after // self.sample_every - 1
        return max(self.samples[settled:]) - self.samples[settled]


@attrs.frozen
class Entrant:
    """
    A contender, as tables and pictures show it.

    Attributes:
        name: Its name in the JSON output.
        title: Its name in tables and pictures.
        in_flight: Requests in flight in the sending part; None for its default.
        is_ours: Whether it is this package.
    """

    name: str
    title: str
    in_flight: int | None
    is_ours: bool


@attrs.frozen
class Result:
    """
    Everything that a run found.

    Attributes:
        machine: What it ran on, line by line.
        settings: How much of everything was measured.
        entrants: The contenders that were measured.
        missing: For each contender that was not measured, what it needs.
        sending: A row for each contender, case, and with or without TLS.
        latency: A row for each contender and number in flight.
        startup: A row for each start and contender.
        streaming: A row for each contender that can stream.
    """

    machine: Mapping[str, str]
    settings: Mapping[str, float]
    entrants: tuple[Entrant, ...]
    missing: Mapping[str, str]
    sending: tuple[SendingFigures, ...] = ()
    latency: tuple[LatencyFigures, ...] = ()
    startup: tuple[StartupFigures, ...] = ()
    streaming: tuple[StreamingFigures, ...] = ()

    def title(self, contender: str) -> str:
        """Return the title of a contender."""
        return next(one.title for one in self.entrants if one.name == contender)

    def entrant(self, contender: str) -> Entrant:
        """Return the contender of a name."""
        return next(one for one in self.entrants if one.name == contender)

    def sent(self, contender: str, case: str, *, with_tls: bool) -> SendingFigures | None:
        """Return a contender's figures for a case, if it was measured."""
        wanted = (contender, case, with_tls)
        for one in self.sending:
            if (one.contender, one.case, one.with_tls) == wanted:
                return one
        return None

    def started(self, what: str, contender: str) -> StartupFigures | None:
        """Return the figures of a contender's start, if it was measured."""
        for one in self.startup:
            if (one.what, one.contender) == (what, contender):
                return one
        return None
