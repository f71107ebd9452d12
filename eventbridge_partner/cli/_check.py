"""`check`: validate and size the events of a file, without sending."""

from __future__ import annotations

import argparse
import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import attrs

from eventbridge_partner import PartnerEvent, entry_size, plan_batches
from eventbridge_partner.cli._exits import ALL_ACCEPTED, NOT_ALL_ACCEPTED
from eventbridge_partner.cli._input import (
    EntryReaders,
    check_files,
    name_of,
    open_input,
    unreadable,
)
from eventbridge_partner.cli._interruption import Interruption
from eventbridge_partner.cli._output import amount, count_up, write_out

_SHOWN_SOURCES: Final = 10
_COUNTED_SOURCES: Final = 100_000

_EPILOG: Final = """\
Each finding is a line `FILE:LINE: what is wrong`. Needs neither credentials nor a network.
Exit status: 0 all events can be sent; 1 some cannot; 2 wrong usage.
"""


def add_parser(subparsers: Any, **settings: Any) -> None:
    """Add the command to a parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "check",
        description="Validate and size the events of a file, without sending. "
        "`send --help` describes the file.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **settings,
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="the events; - for standard input")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, interruption: Interruption) -> int:
    """
    Carry the command out.

    Returns:
        The exit status.

    Raises:
        UsageError: The file cannot be read.
        Interrupted: A signal came.
    """
    files: list[str] = arguments.files
    check_files(files)
    with interruption.allowed, contextlib.ExitStack() as stack:
        streams = [stack.enter_context(open_input(file)) for file in files]
        reader = EntryReaders([*zip(files, streams, strict=True)])
        checking = _Checking(name_of(files[0]), reader)
        try:
            for _ in plan_batches(checking.good_events()):
                checking.batches += 1
        except BrokenPipeError:
            raise  # of standard output
        except OSError as error:
            raise unreadable(reader.file, error) from error
        for line in checking.summary():
            write_out(f"{line}\n")
    return NOT_ALL_ACCEPTED if checking.bad else ALL_ACCEPTED


@attrs.define
class _Checking:
    """What has been found so far."""

    name: str
    reader: EntryReaders
    good: int = 0
    bad: int = 0
    bytes: int = 0
    batches: int = 0
    largest: int = 0
    largest_line: int = 0
    largest_file: str = ""
    sources: Counter[str] = attrs.Factory(Counter[str])

    def good_events(self) -> Iterator[PartnerEvent]:
        """Yield the events that can be sent; write what is wrong with the others."""
        for entry in self.reader:
            if entry.event is None:
                self.bad += 1
                for finding in entry.findings:
                    write_out(f"{entry.file or self.name}:{entry.line}: {finding}\n")
                continue
            self.good += 1
            size = entry_size(entry.event)
            self.bytes += size
            if size > self.largest:
                self.largest, self.largest_line, self.largest_file = size, entry.line, entry.file
            source = entry.event.source
            count_up(self.sources, source, _COUNTED_SOURCES)
            yield entry.event

    def summary(self) -> Iterator[str]:
        """Yield the lines of the summary."""
        total = self.good + self.bad
        if not total:
            yield "0 events"
            return
        bad = f"{self.bad:,} cannot be sent" if self.bad else "all can be sent"
        yield f"{amount(total, 'event')}: {bad}"
        if not self.good:
            return
        of_these = "of those that can, " if self.bad else ""
        yield (
            f"{of_these}{amount(self.bytes, 'byte')} as the service counts them, in "
            f"{amount(self.batches, 'request')}; "
            f"the largest has {self.largest:,}, on line {self.largest_line:,}"
            f"{f' of {self.largest_file}' if self.largest_file else ''}"
        )
        yield f"{amount(len(self.sources), 'source')}:"
        for source, count in self.sources.most_common(_SHOWN_SOURCES):
            yield f"{count:>9,}  {source}"
        if (more := len(self.sources) - _SHOWN_SOURCES) > 0:
            yield f"           and {more:,} more"
