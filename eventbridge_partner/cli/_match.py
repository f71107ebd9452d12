"""`match`: test an event pattern against the events of a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from eventbridge_partner.cli import _envelopes
from eventbridge_partner.cli._exits import ALL_ACCEPTED, NOT_ALL_ACCEPTED, UsageError, reason
from eventbridge_partner.cli._input import name_of
from eventbridge_partner.cli._interruption import Interruption
from eventbridge_partner.cli._output import amount, say, write_out
from eventbridge_partner.testing import EventPattern, InvalidPatternError

_EPILOG: Final = """\
Each event has a line `FILE:LINE: match`, or `FILE:LINE: no match:` and the reason.
Exit status: 0 an event matches; 1 none matches; 2 wrong usage, or a pattern that AWS would refuse.
"""


def add_parser(subparsers: Any, **settings: Any) -> None:
    """Add the command to a parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "match",
        description="Say which events of a file a customer's rule matches, and why not the others.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **settings,
    )
    parser.add_argument(
        "pattern", metavar="PATTERN", help="the event pattern: JSON that begins with {, or a file"
    )
    parser.add_argument(
        "file",
        metavar="FILE",
        help="the events, as `send` takes them or as `sample` shows them; - for standard input",
    )
    _envelopes.add_options(parser)
    parser.add_argument("--quiet", action="store_true", help="print only the count")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, interruption: Interruption) -> int:
    """
    Carry the command out.

    Returns:
        The exit status.

    Raises:
        UsageError: A file cannot be read, or the pattern is invalid.
        Interrupted: A signal came.
    """
    with interruption.allowed:
        pattern = _pattern(arguments.pattern)
        name = name_of(arguments.file)
        matching = total = 0
        for given in _envelopes.read(arguments):
            total += 1
            if given.envelope is None:
                say(*(f"{name}:{given.line}: {finding}" for finding in given.findings))
                continue
            mismatches = pattern.explain(given.envelope)
            matching += not mismatches
            if not arguments.quiet:
                why = "; ".join(map(str, mismatches))
                write_out(f"{name}:{given.line}: {f'no match: {why}' if why else 'match'}\n")
    say(f"{matching:,} of {amount(total, 'event')} {'matches' if matching == 1 else 'match'}")
    return ALL_ACCEPTED if matching else NOT_ALL_ACCEPTED


def _pattern(given: str) -> EventPattern:
    text = given
    if not given.lstrip().startswith("{"):
        try:
            text = Path(given).read_text(encoding="utf-8-sig")
        except OSError as error:
            raise UsageError(f"cannot read the pattern {given!a}: {reason(error)}") from error
        except ValueError:
            raise UsageError(f"the pattern {given!a} is not UTF-8") from None
    try:
        return EventPattern(text)
    except InvalidPatternError as error:
        raise UsageError(str(error)) from error
