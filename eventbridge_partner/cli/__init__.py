"""The program `eventbridge-partner`: the package from the command line."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import os
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from eventbridge_partner import (
    ConfigurationError,
    CredentialsError,
    OutboxSchemaError,
    OutboxUnavailableError,
    __version__,
)
from eventbridge_partner._foreign_text import escaped
from eventbridge_partner.cli._exits import CONFIGURATION, NOT_ALL_ACCEPTED, USAGE, UsageError
from eventbridge_partner.cli._interruption import Interrupted, Interruption
from eventbridge_partner.cli._output import (
    MOST_OF_A_LINE,
    OutputError,
    flush_out,
    forget_standard_output,
    say,
)

_PROGRAM = "eventbridge-partner"

_COMMANDS: Final = {
    "send": "deliver the events of a file",
    "check": "validate and size the events of a file, without sending",
    "doctor": "check whether a setup can deliver, and how to fix it",
    "sources": "create, find, watch and delete partner event sources",
    "relay": "deliver the events of an outbox",
    "outbox": "make an outbox, inspect it, and deal with its dead letters",
    "serve": "run the local service",
    "customer": "act as a customer on a running local service",
    "sample": "show the events of a file as the customer's rules see them",
    "match": "test an event pattern against the events of a file",
}
"""Each command's summary in `--help`; the command is in the module of its name."""


_SILENT: Final = logging.NullHandler()


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the program.

    Args:
        argv: The arguments; None for the arguments of the process.

    Returns:
        The exit status: 0 all events were accepted, 1 some were not, 2 wrong usage,
        3 credentials, configuration or an outbox without tables, 130 interrupted by Ctrl-C.

    Raises:
        SystemExit: Status 2 for invalid arguments, 0 after `--help`.
    """
    argv = sys.argv[1:] if argv is None else argv
    arguments = _parser(argv).parse_args(argv)
    # The program itself reports the outcomes; the package's warnings would repeat them.
    logging.getLogger("eventbridge_partner").addHandler(_SILENT)
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
    """Discard what is written to an output that is closed, as `>&-` leaves it."""
    with contextlib.ExitStack() as stack:
        for redirect, stream in (
            (contextlib.redirect_stdout, sys.stdout),
            (contextlib.redirect_stderr, sys.stderr),
        ):
            if stream is None:  # pyright: ignore[reportUnnecessaryComparison]
                nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
                stack.enter_context(redirect(nowhere))
        yield


class _Parser(argparse.ArgumentParser):
    """Escapes its error messages, because they quote arguments."""

    def error(self, message: str) -> NoReturn:
        super().error(escaped(message, MOST_OF_A_LINE))

    def parse_known_args(self, *args: Any, **settings: Any) -> Any:
        # A command's own parser reports unknown arguments, so that its own usage is shown.
        found, unknown = super().parse_known_args(*args, **settings)
        if unknown and self.prog != _PROGRAM:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=_PROGRAM,
        description="Deliver SaaS events to Amazon EventBridge partner event buses.",
        epilog=f"Run `{_PROGRAM} COMMAND --help` for help on a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{_PROGRAM} {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    # Load only the module of the command that runs.
    wanted = next((word for word in argv if not word.startswith("-")), None)
    for name, summary in _COMMANDS.items():
        if name == wanted:
            command = importlib.import_module(f"{__name__}._{name}")
            command.add_parser(subparsers, help=summary, allow_abbrev=False)
        else:
            subparsers.add_parser(name, help=summary)
    return parser
