"""What a run found, as values that go to JSON and come back."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Self

import attrs


@attrs.frozen
class Spread:
    """A figure that was taken many times."""

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
    What one contender took in one round, in microseconds an event.

    Attributes:
        number: Which round: the figures of all contenders in it were taken one after the other.
        cpu: User and system time of the sending process.
        wall: Time on the clock.
    """

    number: int
    cpu: float
    wall: float


@attrs.frozen
class SendingFigures:
    """
    What one contender took for one case.

    Attributes:
        contender: Its name.
        case: The name of what was sent.
        with_tls: Whether connections were encrypted.
        rounds: All figures.
        cpu: Microseconds of CPU of an event.
        wall: Microseconds of an event.
        peak_memory: Bytes; None where nobody told.
        service_cpu: Microseconds of CPU that a request took in the service's process.
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

    The figures of a round were taken one after the other, so what slows the whole machine down
    for a while is in both.
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
    What one contender made of answers that take their time.

    Attributes:
        contender: Its name.
        in_flight: Requests in flight at a time, at most.
        events_per_second: On the clock.
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
        """Events a second of one core, were it not to do anything else."""
        return self.events_per_second.median / max(1.0, self.cores.median)


@attrs.frozen
class StartupFigures:
    """
    What a start took, from a running interpreter on; of a command, from nothing on.

    Attributes:
        what: Up to where: an import, the first event accepted, or the end of a command.
        contender: Of whom.
        wall: Milliseconds on the clock.
        cpu: Milliseconds of CPU.
        peak_memory: Bytes at its end; None of a command.
        walls: Milliseconds on the clock of each run.
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
    Memory along a stream, in bytes.

    Attributes:
        contender: Whose stream.
        events: How many were sent.
        seconds: That they took.
        bare: Resident in an interpreter that has imported nothing yet.
        peak: The most that was resident at a time.
        sample_every: Events between two samples.
        samples: Resident after so many events, twice as many, and so on.
        settled_after: From how many events on growth is counted.
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
        """How far the resident memory rose above what it was when it had settled."""
        settled = self.settled_after // self.sample_every - 1
        return max(self.samples[settled:]) - self.samples[settled]


@attrs.frozen
class Entrant:
    """
    A contender, as tables and pictures show it.

    Attributes:
        name: In the JSON output.
        title: For people.
        in_flight: Requests in flight at a time in the sending part; None for its default.
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
        entrants: Who was measured.
        missing: Who was not, by name: what is needed for it.
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
        """Return what people call a contender."""
        return next(one.title for one in self.entrants if one.name == contender)

    def entrant(self, contender: str) -> Entrant:
        """Return the contender of a name."""
        return next(one for one in self.entrants if one.name == contender)

    def sent(self, contender: str, case: str, *, with_tls: bool) -> SendingFigures | None:
        """Return what a contender took for a case, if it was measured."""
        wanted = (contender, case, with_tls)
        for one in self.sending:
            if (one.contender, one.case, one.with_tls) == wanted:
                return one
        return None

    def started(self, what: str, contender: str) -> StartupFigures | None:
        """Return what a start of a contender took, if it was measured."""
        for one in self.startup:
            if (one.what, one.contender) == (what, contender):
                return one
        return None
