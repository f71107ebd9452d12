"""`send`: deliver the events of a file."""

from __future__ import annotations

import argparse
import contextlib
import os
import stat
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import attrs

from eventbridge_partner import (
    Accepted,
    GivenEvent,
    InputInterruptedError,
    Outcome,
    Pace,
    PartnerEventsClient,
    Rejected,
    Unconfirmed,
)
from eventbridge_partner.cli import _client, _local, _outbox_url, _types
from eventbridge_partner.cli._exits import (
    ALL_ACCEPTED,
    NOT_ALL_ACCEPTED,
    UsageError,
    reason,
)
from eventbridge_partner.cli._held import HeldTexts
from eventbridge_partner.cli._input import (
    EntryReaders,
    InputEntry,
    UnzippedInput,
    check_files,
    open_input,
)
from eventbridge_partner.cli._interruption import Interrupted, Interruption
from eventbridge_partner.cli._output import (
    LineFile,
    OutputError,
    Tally,
    amount,
    flush_out,
    result_line,
    say,
    summary,
)
from eventbridge_partner.cli._progress import Progress, open_progress
from eventbridge_partner.line._base import MAX_IN_FLIGHT

if TYPE_CHECKING:
    from eventbridge_partner.testing import FakeEventBridge, LocalServer

_REFUSED: Final[Mapping[str, Any]] = {}
"""The placeholder that keeps the place of a refused entry in the client's input."""

_FINISHING: Final = (
    b"\ninterrupted: reading stopped; press Ctrl-C again to stop waiting for results\n"
)
_HELD: Final = b"held"
"""A marker, compared by identity: the entry's text is in `HeldTexts`."""

_INTERRUPTED: Final = Unconfirmed("interrupted before its answer", _REFUSED, 0, 0)

_EPILOG: Final = """\
FILE holds JSON Lines, one entry on each line, or the array (or the object with "Entries") that
`aws events put-partner-events` takes; it may be compressed with gzip. An entry has Source,
DetailType and Detail, and optionally Resources and Time. Detail is JSON text, which is sent
unchanged, or an object, which is sent as written without its white space. Events from a pipe are
sent 20 at a time, and the rest when the pipe is closed.

Each result is a JSON line with `line` (of the input), `outcome`, `source`, `attempts`, and
  accepted      event_id        nothing to do
  rejected      code, message   fix or drop it: sending it again cannot help
  exhausted     code, message   every attempt failed transiently: send it again later
  unconfirmed   reason          it may have arrived: sending it again may duplicate it
  stored                        with --outbox: a relay will send it
Without --results, standard output has the results of the events that were not accepted.

Exit status: 0 all events were accepted; 1 some were not; 2 wrong usage; 3 credentials or
configuration; 130 interrupted by Ctrl-C, 143 by SIGTERM. The first Ctrl-C stops reading: the
events read so far are sent, and the summary says where reading stopped. After a second Ctrl-C, or
SIGTERM, the events that have no outcome yet are unconfirmed.
"""


def add_parser(subparsers: Any, **settings: Any) -> None:
    """Add the command to a parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "send",
        description="Deliver the events of files to the partner event buses of your customers.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **settings,
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="the events; - for standard input")
    where = parser.add_argument_group("where to send")
    where.add_argument(
        "--local",
        action="store_true",
        help="send to a local service that runs only for this command, over HTTP",
    )
    where.add_argument(
        "--page",
        action="store_true",
        help="with --local: serve the page that shows the events, until interrupted",
    )
    _client.add_options(where)
    _outbox_url.add_options(parser, is_choice=True)
    how = parser.add_argument_group("how to send")
    how.add_argument(
        "--deadline",
        type=_types.seconds,
        metavar="SECONDS",
        help="for all attempts together; events left then are exhausted (DeadlineExceeded)",
    )
    how.add_argument(
        "--max-attempts",
        type=_types.positive_int,
        metavar="N",
        help="at most this many requests for an event (default: AWS_MAX_ATTEMPTS, or 3)",
    )
    how.add_argument(
        "--max-in-flight",
        type=_types.positive_int,
        metavar="N",
        default=MAX_IN_FLIGHT,
        help=f"requests in flight at a time (default: {MAX_IN_FLIGHT})",
    )
    how.add_argument(
        "--max-rate",
        type=_types.rate,
        metavar="N",
        help="at most this many requests a second (default: as many as the service lets through)",
    )
    output = parser.add_argument_group("what to write")
    output.add_argument(
        "--results", metavar="FILE", help="write the results of all events; - for standard output"
    )
    output.add_argument(
        "--failed",
        metavar="FILE",
        help="write the entries that were not accepted, to be fixed or sent again",
    )
    output.add_argument("--no-progress", action="store_true", help="show no progress on a terminal")
    output.add_argument(
        "--quiet",
        action="store_true",
        help="no progress, and no summary if all events were accepted",
    )
    _local.add_fault_options(parser, title="how the local service fails (with --local)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, interruption: Interruption) -> int:
    """
    Carry the command out.

    Returns:
        The exit status.

    Raises:
        UsageError: It cannot work as given; nothing was sent.
        CredentialsError: Likewise.
        ConfigurationError: Likewise.
        Interrupted: Before anything was sent.
    """
    _check(arguments)
    with contextlib.ExitStack() as stack:
        with interruption.allowed:  # opening a FIFO blocks until there is a writer
            check_files(arguments.files)
            streams = [stack.enter_context(open_input(file)) for file in arguments.files]
        results = None if arguments.results in (None, "-") else Path(arguments.results)
        failed = None if arguments.failed is None else Path(arguments.failed)
        _check_paths(streams, {"--results": results, "--failed": failed})
        if arguments.outbox is not None:
            return _store(arguments, interruption, stack, streams, results, failed)
        with interruption.allowed:
            service = server = None
            if arguments.local:
                from eventbridge_partner.testing import FakeEventBridge

                looked_at = arguments.page
                service = _local.local_service(arguments, FakeEventBridge, looked_at=looked_at)
                server = stack.enter_context(service.serve(page=looked_at))
            client = stack.enter_context(_open_client(arguments, service, server))
            reader = EntryReaders([*zip(arguments.files, streams, strict=True)])
        progress = None
        if not (arguments.quiet or arguments.no_progress) and sys.stderr.isatty():
            progress = open_progress(sys.stderr, _size(streams))
        is_shared = progress is not None and results is None and sys.stdout.isatty()
        through = progress.write_above if progress is not None and is_shared else None
        with interruption.allowed:  # likewise, until there is a reader
            shown = stack.enter_context(LineFile(results, through))
            kept = None if failed is None else stack.enter_context(LineFile(failed))
        shows_accepted = arguments.results is not None
        sending = _Sending(reader, shown, kept, progress, shows_accepted=shows_accepted)
        stack.callback(sending.close)
        began = time.monotonic()
        with contextlib.nullcontext() if progress is None else progress:
            end = sending.send(client, arguments.deadline, interruption)
        seconds = time.monotonic() - began
        undelivered = sending.tally.counts.undelivered
        status = NOT_ALL_ACCEPTED if end or undelivered else ALL_ACCEPTED
        if status or not arguments.quiet:
            where = failed if sending.keeps_failed else None
            lines = [*summary(sending.tally, seconds=seconds, failed=where)]
            if service:
                requests = amount(service.request_count, "request")
                lines.append(f"  local service: {requests} over HTTP, signatures verified")
            if end:
                lines.append(f"{end}; {sending.where_reading_ended}")
            say(*lines)
        if sending.was_interrupted:
            return interruption.status
        if server is not None and server.page_url:
            _stay_open(server.page_url, interruption)
        return status


def _stay_open(page_url: str, interruption: Interruption) -> None:
    say(f"  the events are at {page_url} until Ctrl-C")
    flush_out()
    with contextlib.suppress(Interrupted):
        interruption.wait()


def _store(
    arguments: argparse.Namespace,
    interruption: Interruption,
    stack: contextlib.ExitStack,
    streams: Sequence[BinaryIO],
    results: Path | None,
    failed: Path | None,
) -> int:
    """Put the events into an outbox instead of sending them."""
    from eventbridge_partner.cli._store import Storing

    outbox = _outbox_url.open_named(arguments)
    stack.enter_context(outbox)
    try:
        with interruption.allowed:
            storing = Storing(
                outbox,
                EntryReaders([*zip(arguments.files, streams, strict=True)]),
                stack.enter_context(LineFile(results)),
                None if failed is None else stack.enter_context(LineFile(failed)),
                shows_stored=arguments.results is not None,
            )
            stack.callback(storing.close)
            return storing.store()
    except OSError as error:
        say(f"the input cannot be read further: {reason(error)}; nothing was stored")
        return NOT_ALL_ACCEPTED


class _Sending:
    """
    Takes entries from the input to their results.

    Each entry stays in `_undecided` until its outcome is written, so each has exactly one result,
    whatever ends the sending.
    """

    def __init__(
        self,
        reader: EntryReaders,
        results: LineFile,
        failed: LineFile | None,
        progress: Progress | None,
        *,
        shows_accepted: bool,
    ) -> None:
        self._reader = reader
        self._results: LineFile | None = results
        self._failed = failed
        self._progress = progress
        self._shows_accepted = shows_accepted
        self._undecided: deque[InputEntry] = deque()
        # Refused entries can pile up behind a slow event without bound, so they spill to disk.
        self._refused_texts = HeldTexts()
        self._last_line = 0
        self._last_file = ""
        self._has_begun = False
        self._problem = ""
        self.tally = Tally()
        self.was_interrupted = False

    def send(
        self, client: PartnerEventsClient, deadline: float | None, interruption: Interruption
    ) -> str:
        """
        Send all entries and write their results.

        Returns:
            What ended it before the end of the input; an empty text if nothing did.

        Raises:
            CredentialsError: No usable AWS credentials. Nothing was sent.
            Interrupted: A signal came before anything was read.
        """
        outcomes = client.stream_events(self._entries(), deadline=deadline)
        interruption.first = self._finish
        try:
            while True:
                with interruption.allowed:
                    outcome = next(outcomes, None)
                if outcome is None:
                    break
                self._settle(outcome)
        except InputInterruptedError as error:
            cause = error.__cause__
            why = reason(cause) if isinstance(cause, OSError) else str(cause)
            self._problem = self._problem or f"the input cannot be read further: {why}"
        except Interrupted:
            if not self._has_begun:
                raise
            self.was_interrupted = True
            self._problem = "interrupted"
            while self._undecided:
                self._settle(_INTERRUPTED)
        finally:
            interruption.first = None
        if not self._has_begun:
            self._begin()
        return self._problem

    def _finish(self) -> None:
        """Stop reading, and wait for the outcomes of what was read. Runs in a signal handler."""
        self.was_interrupted = True
        self._problem = self._problem or "interrupted"
        # Not through a stream: the signal may have interrupted a write to it.
        with contextlib.suppress(OSError):
            os.write(sys.stderr.fileno(), _FINISHING)
        self._reader.stop_now()

    def close(self) -> None:
        """Drop the texts that were not written."""
        self._refused_texts.close()

    @property
    def keeps_failed(self) -> bool:
        """Whether the file of failed entries is complete."""
        return self._failed is not None

    @property
    def where_reading_ended(self) -> str:
        """Where reading stopped, in words."""
        if not self._last_line:
            return "none of the input was read"
        where = f" of {self._last_file}" if self._last_file else ""
        return f"the input was read up to the entry on line {self._last_line:,}{where}"

    def _entries(self) -> Iterator[GivenEvent]:
        for entry in self._reader:
            if not self._has_begun:
                self._begin()
            # The text is needed only for the file of failed entries.
            if self._failed and entry.event is None and entry.text:
                self._refused_texts.put(entry.text)
                self._undecided.append(attrs.evolve(entry, text=_HELD))
            else:
                self._undecided.append(entry if self._failed else attrs.evolve(entry, text=b""))
            self._last_line, self._last_file = entry.line, entry.file
            yield _REFUSED if entry.event is None else entry.event

    def _begin(self) -> None:
        self._has_begun = True
        for output in (self._results, self._failed):
            if output is not None:
                output.begin()

    def _settle(self, outcome: Outcome) -> None:
        """Write the result of the first entry that has none."""
        entry = self._undecided[0]
        if entry.text is _HELD:
            entry = attrs.evolve(entry, text=self._refused_texts.take())
            self._undecided[0] = entry
        if entry.event is None:
            message = "; ".join(map(str, entry.findings))
            outcome = Rejected(entry.code, message, _REFUSED, 0, 0, entry.findings)
        self.tally.count(outcome)
        accepted = isinstance(outcome, Accepted)
        if self._results and (self._shows_accepted or not accepted):
            try:
                self._results.write(result_line(entry.line, entry.event, outcome, entry.file))
            except OutputError as error:
                self._results = None
                self._stop(error)
        if self._failed and not accepted and entry.text:
            try:
                self._failed.write(entry.text_on_one_line)
            except OutputError as error:
                self._failed = None
                self._stop(error)
        self._undecided.popleft()
        if self._progress:
            counts = self.tally.counts
            self._progress.show(
                decided=counts.total,
                undelivered=counts.undelivered,
                bytes_read=self._reader.bytes_read,
            )

    def _stop(self, error: OutputError) -> None:
        """Stop reading: send nothing whose outcome cannot be written."""
        self._problem = self._problem or str(error)
        self._reader.stop()


# ---------------------------------------------------------------- before anything is sent


def _check(arguments: argparse.Namespace) -> None:
    if arguments.outbox is not None and arguments.local:
        raise UsageError("--outbox sends nothing, so --local does not apply")
    if arguments.local:
        others = {"--endpoint-url": arguments.endpoint_url, "--profile": arguments.profile}
        for option, value in others.items():
            if value is not None:
                raise UsageError(
                    f"--local has its own endpoint and credentials: leave out {option}"
                )
    elif options := [*["--page"] * arguments.page, *_local.fault_options(arguments)]:
        raise UsageError(f"{options[0]} is for the local service: add --local")
    if arguments.failed == "-":
        raise UsageError("--failed needs a file: standard output has results")


def _size(streams: Sequence[BinaryIO]) -> int | None:
    """Return the size of the inputs; None unless all are files that are not compressed."""
    total = 0
    for stream in streams:
        given: object = stream
        status = None if isinstance(given, UnzippedInput) else _status(stream)
        if status is None or not stat.S_ISREG(status.st_mode):
            return None
        total += status.st_size
    return total


def _status(stream: BinaryIO) -> os.stat_result | None:
    try:
        return os.fstat(stream.fileno())
    except (OSError, ValueError):
        return None


def _check_paths(streams: Sequence[BinaryIO], outputs: Mapping[str, Path | None]) -> None:
    """Refuse to overwrite the input, or to write two outputs to one file."""
    seen: dict[object, str] = {}
    for status in map(_status, streams):
        if status and stat.S_ISREG(status.st_mode):
            seen[status.st_dev, status.st_ino] = "the input"
    for option, path in outputs.items():
        if path is None:
            continue
        try:
            found = path.stat()
        except OSError:
            key: object = path.resolve()
        else:
            if not stat.S_ISREG(found.st_mode):
                continue
            key = (found.st_dev, found.st_ino)
        if key in seen:
            raise UsageError(f"{option} is the same file as {seen[key]}")
        seen[key] = option


def _open_client(
    arguments: argparse.Namespace,
    service: FakeEventBridge | None,
    server: LocalServer | None,
) -> PartnerEventsClient:
    pace = Pace(arguments.max_rate)
    if service is None or server is None:
        return _client.open_named(arguments, max_in_flight=arguments.max_in_flight, pace=pace)
    with _local.without_aws_settings():
        client = PartnerEventsClient(
            service.region,
            endpoint_url=server.url,
            credentials=service.credentials,
            retry=_client.retry_policy(arguments),
            max_in_flight=arguments.max_in_flight,
            pace=pace,
        )
        client.look_up()
    return client
