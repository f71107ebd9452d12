"""`relay`: deliver the events of an outbox."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final

from eventbridge_partner import (
    OutboxUnavailableError,
    Pace,
    PartnerEventsClient,
    SourceGuard,
)
from eventbridge_partner.cli import _client, _outbox_url, _types
from eventbridge_partner.cli._exits import ALL_ACCEPTED, NOT_ALL_ACCEPTED, UsageError, reason
from eventbridge_partner.cli._interruption import Interrupted, Interruption
from eventbridge_partner.cli._output import amount, say
from eventbridge_partner.outbox import DrainReport, PostgresOutbox, Relay, SqliteOutbox

_BEAT_SECONDS: Final = 1.0

_EPILOG: Final = """\
Runs until Ctrl-C or SIGTERM. Then it stops claiming, settles the claims under way, and exits with
status 0 within half of --lease. A second signal ends it at once; the events that it had claimed
are sent again when the lease expires. Any number of relays may share an outbox in PostgreSQL.

The relay survives an outage, a revoked key or a lost database: it pauses, logs that once a minute,
and resumes. Under systemd it reports its state (Type=notify, WatchdogSec=).

Exit status: 0 ended by a signal, or with --once all due events were accepted or put back; 1 with
--once if there were dead letters or an outage; 2 wrong usage; 3 credentials or configuration, or
no outbox of this version.
"""


def add_parser(subparsers: Any, **settings: Any) -> None:
    """Add the command to a parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "relay",
        description="Deliver the events of an outbox, and record their outcomes.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **settings,
    )
    _outbox_url.add_options(parser)
    where = parser.add_argument_group("where to send")
    _client.add_options(where)
    how = parser.add_argument_group("how to send")
    how.add_argument(
        "--workers",
        type=_types.positive_int,
        metavar="N",
        default=2,
        help="claims under way at a time (default: 2)",
    )
    how.add_argument(
        "--max-rate",
        type=_types.rate,
        metavar="N",
        help="at most this many requests a second: give each relay its part of the quota",
    )
    how.add_argument(
        "--max-attempts",
        type=_types.positive_int,
        metavar="N",
        help="at most this many requests for an event before it is put back (default: 3)",
    )
    how.add_argument(
        "--max-in-flight",
        type=_types.positive_int,
        metavar="N",
        help="requests in flight at a time, for each worker",
    )
    how.add_argument(
        "--curl", action="store_true", help="send through libcurl, which takes less CPU"
    )
    how.add_argument(
        "--guard", action="store_true", help="hold the events of sources that are PENDING"
    )
    when = parser.add_argument_group("when")
    when.add_argument(
        "--poll",
        type=_types.seconds,
        metavar="SECONDS",
        default=0.5,
        help="the time between two looks when nothing is due (default: 0.5)",
    )
    when.add_argument(
        "--listen",
        action="store_true",
        help="let PostgreSQL wake it too, if the outbox has notify=True",
    )
    when.add_argument(
        "--lease",
        type=_types.seconds,
        metavar="SECONDS",
        default=60.0,
        help="how long a claim belongs to this relay, half of it for sending (default: 60)",
    )
    when.add_argument(
        "--max-age",
        type=_types.duration,
        metavar="TIME",
        help="turn an event that still fails after this time into a dead letter: 12h, 7d",
    )
    when.add_argument(
        "--once", action="store_true", help="deliver the events that are due, and exit"
    )
    output = parser.add_argument_group("what to show")
    output.add_argument(
        "--heartbeat",
        metavar="FILE",
        help="touch this file every second while all workers make progress",
    )
    output.add_argument("--quiet", action="store_true", help="show neither counters nor summary")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, interruption: Interruption) -> int:
    """
    Carry the command out.

    Returns:
        The exit status.

    Raises:
        UsageError: The arguments are wrong.
        CredentialsError: Nothing was sent.
        ConfigurationError: Nothing was sent.
        OutboxSchemaError: There is no outbox of this version.
    """
    if arguments.lease < 1:
        raise UsageError(f"--lease is {arguments.lease:g}; allowed: 1 second or more")
    with contextlib.ExitStack() as stack:
        stack.enter_context(_logging())
        with interruption.allowed:
            outbox: SqliteOutbox | PostgresOutbox
            outbox = _outbox_url.open_named(arguments, listen=arguments.listen)
            stack.callback(outbox.close)
            client = stack.enter_context(_open_client(arguments))
            client.look_up()
            # A relay waits for an unavailable database; a database without an outbox is an error.
            if not arguments.once:
                with contextlib.suppress(OutboxUnavailableError):
                    outbox.stats()
        relay = Relay(
            outbox,
            SourceGuard(client) if arguments.guard else client,
            workers=arguments.workers,
            lease=arguments.lease,
            poll=arguments.poll,
            max_age=arguments.max_age,
        )
        interruption.patience = 2
        heart = _Heart(relay, arguments)
        with heart:
            try:
                with interruption.allowed:
                    report = relay.drain() if arguments.once else relay.run()
            except Interrupted:
                report = relay.report
        if not arguments.quiet:
            say(_summary(report))
    failed = report.dead or report.outage is not None
    return NOT_ALL_ACCEPTED if arguments.once and failed else ALL_ACCEPTED


def _open_client(arguments: argparse.Namespace) -> PartnerEventsClient:
    settings: dict[str, Any] = {}
    if arguments.curl:
        try:
            from eventbridge_partner.transports.curl import CurlTransport
        except ImportError as error:
            raise UsageError(f"--curl: {error}") from error
        settings["transport"] = CurlTransport
    return _client.open_named(
        arguments,
        max_in_flight=arguments.max_in_flight,
        pace=Pace(arguments.max_rate),
        **settings,
    )


def _summary(report: DrainReport) -> str:
    return f"{_counts(report)} in {report.seconds:,.0f} s"


def _counts(report: DrainReport) -> str:
    said = f"{amount(report.accepted, 'event')} accepted"
    if report.dead:
        said += f", {amount(report.dead, 'dead letter')}"
    if report.later:
        said += f", {report.later:,} put back"
    if report.lost:
        said += f", {report.lost:,} lost to another relay"
    return said


@contextlib.contextmanager
def _logging() -> Generator[None]:
    """Show the package's log, with the time."""
    log = logging.getLogger("eventbridge_partner")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


class _Heart:
    """Runs every second beside the relay: heartbeat, systemd's watchdog, counters."""

    def __init__(self, relay: Relay, arguments: argparse.Namespace) -> None:
        self._relay = relay
        self._file = None if arguments.heartbeat is None else Path(arguments.heartbeat)
        self._shows = not arguments.quiet and sys.stderr.isatty()
        self._notify = _notifier()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> None:
        if self._file is not None:
            try:
                self._file.touch()
            except OSError as error:
                raise UsageError(f"cannot write {self._file}: {reason(error)}") from error
        self._notify("READY=1")
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._notify("STOPPING=1")
        self._is_over.set()
        self._thread.join()
        if self._shows:
            self._write("")

    def _beat(self) -> None:
        while not self._is_over.wait(_BEAT_SECONDS):
            counts = _counts(self._relay.report)
            if self._relay.is_alive:
                self._notify(f"WATCHDOG=1\nSTATUS={counts}")
                if self._file is not None:
                    with contextlib.suppress(OSError):
                        self._file.touch()
            if self._shows:
                self._write(counts)

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"\r{text}\x1b[K")
            sys.stderr.flush()


def _notifier() -> Callable[[str], None]:
    """Return a function that sends a state to systemd, or does nothing outside systemd."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path or not hasattr(socket, "AF_UNIX"):
        return lambda _: None
    address = "\0" + path[1:] if path.startswith("@") else path

    def notify(state: str) -> None:
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection,
        ):
            connection.sendto(state.encode(), address)

    return notify
