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
        parser: Of the command.
        is_choice: Whether the option itself says that there is to be one; then the variable is
            asked only if it stands there without a URL.
    """
    group = parser.add_argument_group("which outbox")
    form = "sqlite:///FILE or postgresql://…"
    if is_choice:
        group.add_argument(
            "--outbox",
            metavar="URL",
            nargs="?",
            const="",
            help=f"put the events into this outbox instead: {form} (default: {VARIABLE})",
        )
    else:
        group.add_argument("--outbox", metavar="URL", help=f"{form} (default: {VARIABLE})")
    group.add_argument(
        "--table", metavar="NAME", default=TABLE, help=f"its table (default: {TABLE})"
    )
    group.add_argument(
        "--schema", metavar="NAME", help="where that is in PostgreSQL (default: the search path)"
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
        UsageError: None is named.
        ConfigurationError: What is named is none.
    """
    url = arguments.outbox or os.environ.get(VARIABLE, "")
    if not url:
        raise UsageError(f"which outbox? Give --outbox URL or set {VARIABLE}")
    try:
        return open_outbox(url, table=arguments.table, schema=arguments.schema, listen=listen)
    except ConfigurationError as error:
        named = f"the URL of {'--outbox' if arguments.outbox else VARIABLE}"
        raise ConfigurationError(str(error).replace("the outbox's URL", named, 1)) from error
