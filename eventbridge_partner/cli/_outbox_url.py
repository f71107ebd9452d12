"""The option that names an outbox: the same for every command."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from eventbridge_partner import ConfigurationError
from eventbridge_partner.cli._exits import UsageError
from eventbridge_partner.outbox import open_outbox
from eventbridge_partner.outbox._schema import TABLE
from eventbridge_partner.outbox._url import VARIABLE

if TYPE_CHECKING:
    from eventbridge_partner.outbox import PostgresOutbox, SqliteOutbox


def add_options(parser: argparse.ArgumentParser, *, is_choice: bool = False) -> None:
    """
    Add the options that name an outbox.

    Args:
        parser: The command's parser.
        is_choice: Whether giving the option chooses an outbox; then the variable is read only if
            the option has no URL.
    """
    group = parser.add_argument_group("which outbox")
    form = "sqlite:///FILE or postgresql://…"
    if is_choice:
        group.add_argument(
            "--outbox",
            metavar="URL",
            nargs="?",
            const="",
            help=f"put the events into this outbox instead: {form} (without URL: {VARIABLE})",
        )
    else:
        group.add_argument("--outbox", metavar="URL", help=f"{form} (default: {VARIABLE})")
    group.add_argument(
        "--table", metavar="NAME", default=TABLE, help=f"its table (default: {TABLE})"
    )
    group.add_argument(
        "--schema", metavar="NAME", help="its schema in PostgreSQL (default: the search path)"
    )


def is_named(arguments: argparse.Namespace) -> bool:
    """Tell whether the command line or the environment names an outbox."""
    return bool(arguments.outbox or os.environ.get(VARIABLE))


def open_named(
    arguments: argparse.Namespace, *, listen: bool = False
) -> SqliteOutbox | PostgresOutbox:
    """
    Return the outbox that the command line or the environment names.

    Raises:
        UsageError: No outbox is named.
        ConfigurationError: The URL names no outbox.
    """
    url = arguments.outbox or os.environ.get(VARIABLE, "")
    if not url:
        raise UsageError(f"which outbox? Give --outbox URL or set {VARIABLE}")
    try:
        return open_outbox(url, table=arguments.table, schema=arguments.schema, listen=listen)
    except ConfigurationError as error:
        named = f"the URL of {'--outbox' if arguments.outbox else VARIABLE}"
        raise ConfigurationError(str(error).replace("the outbox's URL", named, 1)) from error
