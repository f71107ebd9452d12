"""The program `eventbridge-partner`: send, check and serve from the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from eventbridge_partner import ConfigurationError, CredentialsError, __version__
from eventbridge_partner.cli import _check, _send, _serve
from eventbridge_partner.cli._exits import CONFIGURATION, NOT_ALL_ACCEPTED, USAGE, UsageError
from eventbridge_partner.cli._interruption import Interrupted, Interruption
from eventbridge_partner.cli._output import forget_standard_output

_PROGRAM = "eventbridge-partner"


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the program.

    Args:
        argv: The arguments; None for those of the process.

    Returns:
        The exit status: 0 all events were accepted, 1 some were not, 2 wrong usage,
        3 credentials or configuration, 130 interrupted by Ctrl-C.

    Raises:
        SystemExit: With status 2 for arguments that cannot be read, 0 after `--help`.
    """
    arguments = _parser().parse_args(argv)
    with Interruption() as interruption:
        try:
            status: int = arguments.run(arguments, interruption)
            sys.stdout.flush()
        except UsageError as error:
            return _say(arguments.command, error, USAGE)
        except (CredentialsError, ConfigurationError) as error:
            return _say(arguments.command, error, CONFIGURATION)
        except Interrupted:
            return _say(arguments.command, "interrupted", interruption.status)
        except BrokenPipeError:
            forget_standard_output()
            return NOT_ALL_ACCEPTED
        return status


def _say(command: str, what: object, status: int) -> int:
    sys.stderr.write(f"{_PROGRAM} {command}: {what}\n")
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Deliver SaaS events to Amazon EventBridge partner event buses.",
        epilog=f"`{_PROGRAM} COMMAND --help` says more about each command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{_PROGRAM} {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in (_send, _check, _serve):
        command.add_parser(subparsers, allow_abbrev=False)
    return parser
