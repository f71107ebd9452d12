"""`sample`: show the events of a file as the customer's rules see them."""

from __future__ import annotations

import argparse
from typing import Any, Final

from eventbridge_partner.cli import _envelopes
from eventbridge_partner.cli._exits import ALL_ACCEPTED, NOT_ALL_ACCEPTED
from eventbridge_partner.cli._input import name_of
from eventbridge_partner.cli._interruption import Interruption
from eventbridge_partner.cli._output import say, write_out

_EPILOG: Final = """\
Writes a line of JSON for each event. Ids are made up, and so is the time of an event that has none.
Exit status: 0 done; 1 some entries cannot be sent; 2 wrong usage.
"""


def add_parser(subparsers: Any, **settings: Any) -> None:
    """Add the command to a parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "sample",
        description="Show the events of a file as rules on the customer's event bus see them. "
        "`send --help` describes the file.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **settings,
    )
    parser.add_argument("file", metavar="FILE", help="the events; - for standard input")
    _envelopes.add_options(parser)
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
    status = ALL_ACCEPTED
    with interruption.allowed:
        for given in _envelopes.read(arguments):
            if given.envelope is None:
                status = NOT_ALL_ACCEPTED
                name = name_of(arguments.file)
                say(*(f"{name}:{given.line}: {finding}" for finding in given.findings))
            else:
                write_out(f"{_envelopes.text_of(given.envelope)}\n")
    return status
