"""Writes results, failed entries and summaries."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Final

import attrs
import orjson

from eventbridge_partner import (
    Accepted,
    Exhausted,
    Outcome,
    OutcomeCounts,
    PartnerEvent,
    Rejected,
    Unconfirmed,
)
from eventbridge_partner._foreign_text import escaped
from eventbridge_partner.cli._exits import MOST_OF_A_PATH, UsageError, reason

if TYPE_CHECKING:
    from typing import Self

MOST_OF_A_LINE: Final = 100_000
"""The most characters of a line of text for people."""

_SHOWN_CODES: Final = 5
_COUNTED_CODES: Final = 1000


class OutputError(Exception):
    """An output can no longer be written."""


class LineFile:
    """
    A file that lines are written to, or standard output.

    Opening an existing file shows that it can be written; `begin` empties it.

    Args:
        path: None for standard output.
        through: Called with each line, instead of writing it; None to write.

    Raises:
        UsageError: It cannot be written.
    """

    def __init__(self, path: Path | None, through: Callable[[str], None] | None = None) -> None:
        self._name = "standard output" if path is None else escaped(str(path), MOST_OF_A_PATH)
        self._through = through
        self._closes = path is not None
        self._stream: BinaryIO
        if path is None:
            self._stream = sys.stdout.buffer
            return
        try:
            self._stream = path.open("ab")
        except OSError as error:
            raise UsageError(f"cannot write {self._name}: {reason(error)}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # `flush` has already reported the error.
        with contextlib.suppress(OSError, ValueError):
            if self._closes:
                self._stream.close()

    def begin(self) -> None:
        """Delete what the file held before."""
        if self._closes and stat.S_ISREG(os.fstat(self._stream.fileno()).st_mode):
            self._stream.truncate(0)

    def write(self, line: bytes) -> None:
        """
        Write a line, and flush it.

        Raises:
            OutputError: It cannot be written. Write no more to it.
        """
        if self._through:
            self._through(line.decode())
            return
        try:
            self._stream.write(line + b"\n")
            self._stream.flush()
        except OSError as error:
            if not self._closes:
                forget_standard_output()
            raise OutputError(f"cannot write {self._name}: {reason(error)}") from error


def write_out(text: str) -> None:
    """
    Write to standard output.

    Raises:
        BrokenPipeError: Its reader is gone.
        OutputError: It cannot be written.
    """
    with _out():
        sys.stdout.write(text)


def flush_out() -> None:
    """Flush what `write_out` has written. Raises the same errors."""
    with _out():
        sys.stdout.flush()


@contextlib.contextmanager
def _out() -> Generator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        forget_standard_output()
        raise OutputError(f"cannot write standard output: {reason(error)}") from error


def say(*lines: str) -> None:
    """Write lines to standard error, escaped. A line that cannot be written is left out."""
    with contextlib.suppress(OSError):
        sys.stderr.writelines(f"{escaped(line, MOST_OF_A_LINE)}\n" for line in lines)


def forget_standard_output() -> None:
    """Keep the interpreter from reporting a broken standard output when it exits."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# ---------------------------------------------------------------- results


def result_line(line: int, event: PartnerEvent | None, outcome: Outcome, file: str = "") -> bytes:
    """
    Return an outcome as a JSON line: which event, its outcome and the reason, never its payload.

    Args:
        line: The line of the input on which the event starts.
        event: The event; None if its entry was refused.
        outcome: Its outcome.
        file: The name of its file, if there are several.
    """
    members: dict[str, object] = {"file": file} if file else {}
    members |= {"line": line, "outcome": type(outcome).__name__.lower()}
    if event is not None:
        members["source"] = event.source
    match outcome:
        case Accepted():
            members["event_id"] = outcome.event_id
        case Rejected():
            members |= {"code": outcome.code, "message": outcome.message}
            if outcome.source_is_gone:
                members["source_is_gone"] = True
        case Exhausted():
            members |= {"code": outcome.code, "message": outcome.message}
        case Unconfirmed():
            members["reason"] = outcome.reason
    if outcome.attempts or not isinstance(outcome, Unconfirmed):  # else the number is unknown
        members["attempts"] = outcome.attempts
    return json_line(members)


def json_line(members: Mapping[str, object]) -> bytes:
    """
    Return a JSON line with all unprintable characters escaped, safe to show on a terminal.

    Its meaning is the same: JSON allows any character of a string to be escaped.
    """
    line = orjson.dumps(members, option=orjson.OPT_UTC_Z)
    text = line.decode()
    if text.isprintable():
        return line
    return "".join(
        [letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text]
    ).encode()


# ---------------------------------------------------------------- the summary


@attrs.define
class Tally:
    """Counts outcomes in constant memory."""

    accepted: int = 0
    rejected: int = 0
    exhausted: int = 0
    unconfirmed: int = 0
    sent_again: int = 0
    sources_gone: int = 0
    rejected_codes: Counter[str] = attrs.Factory(Counter[str])
    exhausted_codes: Counter[str] = attrs.Factory(Counter[str])

    def count(self, outcome: Outcome) -> None:
        """Count an outcome."""
        if outcome.attempts > 1:
            self.sent_again += 1
        match outcome:
            case Accepted():
                self.accepted += 1
            case Rejected():
                self.rejected += 1
                self.sources_gone += outcome.source_is_gone
                count_up(self.rejected_codes, outcome.code, _COUNTED_CODES)
            case Exhausted():
                self.exhausted += 1
                count_up(self.exhausted_codes, outcome.code, _COUNTED_CODES)
            case Unconfirmed():
                self.unconfirmed += 1

    @property
    def counts(self) -> OutcomeCounts:
        """How many events have each outcome."""
        return OutcomeCounts(self.accepted, self.rejected, self.exhausted, self.unconfirmed)


def count_up(counter: Counter[str], name: str, most: int) -> None:
    """Count a name; beyond `most` names, count new ones as `others`."""
    counter[name if name in counter or len(counter) < most else "others"] += 1


def summary(tally: Tally, *, seconds: float, failed: Path | None) -> Iterable[str]:
    """
    Yield the lines of the summary: the outcomes, and what to do next.

    Args:
        tally: The outcomes.
        seconds: The time that it took.
        failed: The file that holds the entries that were not accepted, if any.
    """
    counts = tally.counts
    rate = f"{counts.total / seconds:,.0f} events/s" if seconds > 0 else "at once"
    named = [
        f"{count:,} {name}"
        for name, count in attrs.asdict(counts).items()
        if count or name == "accepted"
    ]
    yield f"{amount(counts.total, 'event')} in {seconds:.1f} s ({rate}): {', '.join(named)}"
    if tally.sent_again:
        yield f"  {tally.sent_again:,} of them were sent more than once"
    if counts.rejected:
        yield f"  rejected, to be fixed or dropped: {_top(tally.rejected_codes)}"
    if tally.sources_gone:
        yield f"  {tally.sources_gone:,} of these are for sources that no longer exist"
    if counts.exhausted:
        yield f"  exhausted, to be sent again later: {_top(tally.exhausted_codes)}"
    if counts.unconfirmed:
        yield "  unconfirmed: they may have arrived, and sending them again may duplicate them"
    if counts.undelivered:
        todo = [
            *["fixed"] * bool(counts.rejected),
            *["sent again"] * bool(counts.exhausted or counts.unconfirmed),
        ]
        if failed is None:
            yield f"  --failed FILE keeps the entries not accepted, to be {' or '.join(todo)}"
        else:
            yield f"  {failed} has the entries not accepted, to be {' or '.join(todo)}"


def amount(count: int, noun: str) -> str:
    """Return a count with its noun: `1 event`, `1,200 events`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _top(codes: Counter[str]) -> str:
    named = [f"{code} {count:,}" for code, count in codes.most_common(_SHOWN_CODES)]
    if len(codes) > _SHOWN_CODES:
        named.append("…")
    return ", ".join(named)
