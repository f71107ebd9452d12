"""Progress on a terminal: a bar if rich is installed, else a counter."""

from __future__ import annotations

import importlib.util
import math
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, TextIO

from eventbridge_partner.cli._output import amount

if TYPE_CHECKING:
    from typing import Self

_INTERVAL: Final = 0.1
"""Seconds between two updates."""

_SHORTEST: Final = 1.0
"""Seconds before a speed is shown."""


class Progress(Protocol):
    """Shows the progress."""

    def show(self, *, decided: int, undelivered: int, bytes_read: int) -> None:
        """Show new counts, if the last update is old enough."""
        ...

    def write_above(self, line: str) -> None:
        """Write a line above the progress, if the same terminal shows standard output."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...


def open_progress(terminal: TextIO, total_bytes: int | None) -> Progress:
    """
    Return progress on a terminal.

    Args:
        terminal: Where to show it.
        total_bytes: The size of the input; None if unknown.
    """
    if importlib.util.find_spec("rich") is None:
        return _Counter(terminal, total_bytes)
    return _RichProgress(terminal, total_bytes)


class _Pace:
    """Lets one update pass in each interval."""

    def __init__(self) -> None:
        self._next = 0.0

    def lets_pass(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + _INTERVAL
        return True


class _Figures:
    """
    Puts counts into words: how many events, how fast, how much time is left.

    Args:
        total_bytes: The size of the input; None if unknown.
    """

    def __init__(self, total_bytes: int | None) -> None:
        self._total_bytes = total_bytes
        self._began = time.monotonic()

    def text(self, decided: int, undelivered: int, bytes_read: int) -> str:
        """Return the counts in words."""
        words = [amount(decided, "event")]
        if undelivered:
            words.append(f"{undelivered:,} not accepted")
        elapsed = time.monotonic() - self._began
        if decided and elapsed >= _SHORTEST:
            words.append(f"{decided / elapsed:,.0f} events/s")
            if self._total_bytes and 0 < bytes_read < self._total_bytes:
                left = elapsed * (self._total_bytes - bytes_read) / bytes_read
                words.append(f"{_time(left)} left")
        return ", ".join(words)


def _time(seconds: float) -> str:
    minutes, seconds = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"


class _Counter:
    """A line that is overwritten."""

    def __init__(self, terminal: TextIO, total_bytes: int | None) -> None:
        self._terminal = terminal
        self._pace = _Pace()
        self._figures = _Figures(total_bytes)
        self._shown = ""

    def show(self, *, decided: int, undelivered: int, bytes_read: int) -> None:
        if self._pace.lets_pass():
            self._shown = self._figures.text(decided, undelivered, bytes_read)
            self._write(f"\r{self._shown}\x1b[K")

    def write_above(self, line: str) -> None:
        self._write(f"\r\x1b[K{line}\n{self._shown}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        self._terminal.write(text)
        self._terminal.flush()


class _RichProgress:
    """A bar that shows how much of the input was read, with counts and time."""

    def __init__(self, terminal: TextIO, total_bytes: int | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console(file=terminal)
        self._progress = Progress(
            BarColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._figures = _Figures(total_bytes)
        self._task = self._progress.add_task(self._figures.text(0, 0, 0), total=total_bytes)
        self._pace = _Pace()

    def show(self, *, decided: int, undelivered: int, bytes_read: int) -> None:
        if self._pace.lets_pass():
            text = self._figures.text(decided, undelivered, bytes_read)
            self._progress.update(self._task, description=text, completed=bytes_read)

    def write_above(self, line: str) -> None:
        self._console.out(line, highlight=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
