"""`doctor`: check whether a setup can deliver, and how to fix it."""

from __future__ import annotations

import argparse
import contextlib
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from eventbridge_partner import ConfigurationError, InvalidEventError, PartnerEventsClient
from eventbridge_partner._foreign_text import escaped
from eventbridge_partner.cli import _outbox_url
from eventbridge_partner.cli._exits import (
    ALL_ACCEPTED,
    CONFIGURATION,
    NOT_ALL_ACCEPTED,
    UsageError,
)
from eventbridge_partner.cli._interruption import Interruption
from eventbridge_partner.cli._output import MOST_OF_A_LINE, json_line, say, write_out
from eventbridge_partner.doctor import Finding, check

if TYPE_CHECKING:
    from eventbridge_partner.outbox import PostgresOutbox, SqliteOutbox

_EPILOG: Final = """\
Changes nothing and sends no event. Takes at most 10 seconds, even if nothing answers. The output
contains neither credentials nor passwords.

Exit status: 0 no check fails, but there may be warnings; 1 a check fails; 2 wrong usage; 3 neither
the service nor an outbox could be reached, because the Region, a setting or credentials are
missing; 130 interrupted by Ctrl-C.
"""


def add_parser(subparsers: Any, **settings: Any) -> None:
    """Add the command to a parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "doctor",
        description="Check whether events can be delivered with these settings and "
        "credentials, and say how to fix what is wrong.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **settings,
    )
    parser.add_argument(
        "--prefix",
        metavar="PREFIX",
        help="check the states of the sources whose names begin with this: aws.partner/<partner>/",
    )
    parser.add_argument(
        "--offline",
        action="store_true",
        help="ask neither the service nor a remote credential provider; still check the outbox",
    )
    parser.add_argument("--json", action="store_true", help="write a line of JSON for each finding")
    where = parser.add_argument_group("where")
    where.add_argument("--region", help="the Region of the event sources")
    where.add_argument(
        "--endpoint-url", metavar="URL", help="use this instead of the Region's endpoint"
    )
    where.add_argument("--profile", help="a profile of the AWS config files")
    _outbox_url.add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, interruption: Interruption) -> int:
    """
    Carry the command out.

    Returns:
        The exit status.

    Raises:
        UsageError: The prefix breaks the service's rules.
        ConfigurationError: An option is wrong.
        Interrupted: A signal came.
    """
    with interruption.allowed, contextlib.ExitStack() as stack:
        client = PartnerEventsClient(
            arguments.region, endpoint_url=arguments.endpoint_url, profile=arguments.profile
        )
        outbox: SqliteOutbox | PostgresOutbox | None = None
        more: tuple[Finding, ...] = ()
        if _outbox_url.is_named(arguments):
            try:
                outbox = _outbox_url.open_named(arguments)
                stack.callback(outbox.close)
            except ConfigurationError as error:
                more = (Finding("outbox", "fail", str(error)),)
        try:
            found = check(
                stack.enter_context(client),
                prefix=arguments.prefix,
                outbox=outbox,
                offline=arguments.offline,
            )
        except InvalidEventError as error:
            raise UsageError("; ".join(map(str, error.findings))) from error
        found += more
        if arguments.json:
            for finding in found:
                write_out(json_line(finding.to_dict()).decode() + "\n")
        else:
            _show(found)
    return _status(found, offline=arguments.offline)


def _show(found: Sequence[Finding]) -> None:
    width = max(len(finding.check) for finding in found)
    for finding in found:
        message = escaped(finding.message, MOST_OF_A_LINE)
        write_out(f"{finding.status}  {finding.check:<{width}}  {message}\n")
        if finding.fix is not None:
            write_out(f"{'':<{width + 8}}to fix it: {escaped(finding.fix, MOST_OF_A_LINE)}\n")
    counts = Counter(finding.status for finding in found)
    say(f"{counts['pass']} pass, {counts['warn']} warn, {counts['fail']} fail")


def _status(found: Sequence[Finding], *, offline: bool) -> int:
    failed = {finding.check for finding in found if finding.status == "fail"}
    if not failed:
        return ALL_ACCEPTED
    asked = {finding.check for finding in found} & {"service", "backlog"}
    nothing = "files" in failed or failed >= {"region", "credentials"}
    return NOT_ALL_ACCEPTED if asked or (offline and not nothing) else CONFIGURATION
