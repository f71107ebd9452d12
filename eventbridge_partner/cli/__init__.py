"""The program `eventbridge-partner`: the package from the command line."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Generator, Sequence
from pathlib import Path

from eventbridge_partner import (
    ConfigurationError,
    CredentialsError,
    OutboxSchemaError,
    OutboxUnavailableError,
    __version__,
)
from eventbridge_partner.cli import (
    _check,
    _customer,
    _match,
    _outbox,
    _relay,
    _sample,
    _send,
    _serve,
    _sources,
)
from eventbridge_partner.cli._exits import CONFIGURATION, NOT_ALL_ACCEPTED, USAGE, UsageError
from eventbridge_partner.cli._interruption import Interrupted, Interruption
from eventbridge_partner.cli._output import OutputError, flush_out, forget_standard_output, say

_PROGRAM = "eventbridge-partner"


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the program.

    Args:
        argv: The arguments; None for those of the process.

    Returns:
        The exit status: 0 all events were accepted, 1 some were not, 2 wrong usage,
        3 credentials, configuration or an outbox without tables, 130 interrupted by Ctrl-C.

    Raises:
        SystemExit: With status 2 for arguments that cannot be read, 0 after `--help`.
    """
    arguments = _parser().parse_args(argv)
    with _open_outputs(), Interruption() as interruption:
        try:
            status: int = arguments.run(arguments, interruption)
            flush_out()
        except UsageError as error:
            return _say(arguments.command, error, USAGE)
        except (CredentialsError, ConfigurationError, OutboxSchemaError) as error:
            return _say(arguments.command, error, CONFIGURATION)
        except OutboxUnavailableError as error:
            return _say(arguments.command, error, NOT_ALL_ACCEPTED)
        except Interrupted:
            return _say(arguments.command, "interrupted", interruption.status)
        except OutputError as error:
            return _say(arguments.command, error, NOT_ALL_ACCEPTED)
        except BrokenPipeError:
            forget_standard_output()
            return NOT_ALL_ACCEPTED
        return status


def _say(command: str, what: object, status: int) -> int:
    say(f"{_PROGRAM} {command}: {what}")
    return status


@contextlib.contextmanager
def _open_outputs() -> Generator[None]:
    """Have outputs that are closed, as `>&-` leaves them, swallow what nobody wants to see."""
    with contextlib.ExitStack() as stack:
        for redirect, stream in (
            (contextlib.redirect_stdout, sys.stdout),
            (contextlib.redirect_stderr, sys.stderr),
        ):
            if stream is None:  # pyright: ignore[reportUnnecessaryComparison]
                nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
                stack.enter_context(redirect(nowhere))
        yield


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Deliver SaaS events to Amazon EventBridge partner event buses.",
        epilog=f"`{_PROGRAM} COMMAND --help` says more about each command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{_PROGRAM} {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in (
        _send,
        _check,
        _sources,
        _relay,
        _outbox,
        _serve,
        _customer,
        _sample,
        _match,
    ):
        command.add_parser(subparsers, allow_abbrev=False)
    return parser
