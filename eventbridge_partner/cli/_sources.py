"""`sources`: create, find, watch, hand over and delete partner event sources."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, get_args

import attrs

from eventbridge_partner import (
    ConfigurationError,
    CredentialsError,
    EventSource,
    InvalidEventError,
    PartnerEventsClient,
    PartnerEventsError,
    SourceAccount,
)
from eventbridge_partner.cli import _client, _types
from eventbridge_partner.cli._exits import ALL_ACCEPTED, NOT_ALL_ACCEPTED, UsageError
from eventbridge_partner.cli._interruption import Interruption
from eventbridge_partner.cli._output import amount, json_line, say, write_out
from eventbridge_partner.cli._tables import cell, write_table
from eventbridge_partner.handoff import HandoffFormat, handoff

_EPILOG: Final = """\
Run `sources ACTION --help` for help on an action.

Standard output has a table, or with --json a line of JSON for each item.

Exit status: 0 done; 1 not done: the service refused, the source does not exist or was not ACTIVE
in time, or `expiring` found sources; 2 wrong usage; 3 credentials or configuration; 130 interrupted
by Ctrl-C, 143 by SIGTERM.
"""

Items = Iterable[EventSource | SourceAccount]


@attrs.frozen
class _Action:
    """
    One action.

    Attributes:
        help: What it does.
        argument: The positional argument: NAME or PREFIX.
        has_account: Whether it takes --account.
        run: Carries it out, and returns the exit status.
    """

    help: str
    argument: str
    has_account: bool
    run: Callable[[PartnerEventsClient, argparse.Namespace], int]


def add_parser(subparsers: Any, **settings: Any) -> None:
    """Add the command to a parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "sources",
        description="Create, find, watch and delete the partner event sources of your customers.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **settings,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, action in _ACTIONS.items():
        settings["help"] = action.help
        description = f"{action.help[:1].upper()}{action.help[1:]}."
        one: argparse.ArgumentParser = actions.add_parser(name, description=description, **settings)
        meaning = "the source's name: aws.partner/<partner>/…"
        if action.argument == "PREFIX":
            meaning = "the start of the names: aws.partner/<partner>/, or longer"
        one.add_argument("name", metavar=action.argument, help=meaning)
        if action.has_account:
            one.add_argument(
                "--account", metavar="ID", required=True, help="the customer's account, 12 digits"
            )
        _add_options(name, one)
        one.set_defaults(run=run, run_action=action.run)


def _add_options(name: str, parser: argparse.ArgumentParser) -> None:
    match name:
        case "wait":
            parser.add_argument(
                "--timeout",
                type=_types.duration,
                metavar="TIME",
                help="how long to wait: 30m, 12h, 3d, or seconds (default: as long as it takes)",
            )
        case "expiring":
            parser.add_argument(
                "--within",
                type=_types.duration,
                metavar="TIME",
                required=True,
                help="how far ahead to look: 30m, 12h, 3d, or seconds",
            )
        case "delete":
            parser.add_argument(
                "--missing-ok", action="store_true", help="succeed if there is no such source"
            )
        case "handoff":
            parser.add_argument(
                "--format",
                choices=get_args(HandoffFormat),
                default="text",
                help="for people (the default), the AWS CLI, or a template",
            )
        case _:
            pass
    parser.add_argument("--json", action="store_true", help="write a line of JSON for each item")
    where = parser.add_argument_group("where")
    _client.add_options(where)
    where.add_argument(
        "--max-attempts",
        type=_types.positive_int,
        metavar="N",
        help="send a request at most this often (default: AWS_MAX_ATTEMPTS, or 3)",
    )


def run(arguments: argparse.Namespace, interruption: Interruption) -> int:
    """
    Carry the command out.

    Returns:
        The exit status.

    Raises:
        UsageError: A name, prefix or account breaks the service's rules.
        CredentialsError: Nothing was sent.
        ConfigurationError: Nothing was sent.
        Interrupted: A signal came.
    """
    with interruption.allowed, _client.open_named(arguments) as client:
        try:
            status: int = arguments.run_action(client, arguments)
        except InvalidEventError as error:
            raise UsageError("; ".join(map(str, error.findings))) from error
        except (CredentialsError, ConfigurationError):
            raise
        except PartnerEventsError as error:
            maybe = " (it may have been carried out)" if error.may_have_been_sent else ""
            say(f"eventbridge-partner sources {arguments.action}: {error}{maybe}")
            return NOT_ALL_ACCEPTED
        return status


# ---------------------------------------------------------------- actions


def _create(client: PartnerEventsClient, arguments: argparse.Namespace) -> int:
    return _show_one(client.sources.create(arguments.name, account=arguments.account), arguments)


def _ensure(client: PartnerEventsClient, arguments: argparse.Namespace) -> int:
    return _show_one(client.sources.ensure(arguments.name, account=arguments.account), arguments)


def _describe(client: PartnerEventsClient, arguments: argparse.Namespace) -> int:
    return _show_one(client.sources.describe(arguments.name), arguments)


def _list(client: PartnerEventsClient, arguments: argparse.Namespace) -> int:
    _show(client.sources.list(arguments.name), ("name", "arn"), "source", arguments)
    return ALL_ACCEPTED


def _accounts(client: PartnerEventsClient, arguments: argparse.Namespace) -> int:
    columns = ("account", "state", "creation_time", "expiration_time")
    _show(client.sources.accounts(arguments.name), columns, "account", arguments)
    return ALL_ACCEPTED


def _state(client: PartnerEventsClient, arguments: argparse.Namespace) -> int:
    state = client.sources.state(arguments.name, account=arguments.account)
    if arguments.json:
        _write_json({"source": arguments.name, "account": arguments.account, "state": state})
    else:
        write_out(f"{cell(state)}\n")
    return ALL_ACCEPTED


def _wait(client: PartnerEventsClient, arguments: argparse.Namespace) -> int:
    found = client.sources.wait_until_active(
        arguments.name,
        account=arguments.account,
        timeout=arguments.timeout,
        on_progress=_tell_changes(),
    )
    if arguments.json:
        _write_json(_members(found))
    else:
        write_out(f"{cell(found.state)}\n")
    return ALL_ACCEPTED


def _tell_changes() -> Callable[[SourceAccount], None]:
    last: list[str] = []

    def tell(found: SourceAccount) -> None:
        if last != [found.state]:
            last[:] = [found.state]
            until = "" if found.expiration_time is None else f" until {cell(found.expiration_time)}"
            say(f"{found.source} is {found.state}{until}")

    return tell


def _expiring(client: PartnerEventsClient, arguments: argparse.Namespace) -> int:
    within = datetime.timedelta(seconds=arguments.within)
    found = client.sources.expiring(prefix=arguments.name, within=within)
    columns = ("source", "account", "state", "expiration_time")
    return NOT_ALL_ACCEPTED if _show(found, columns, "expiring source", arguments) else ALL_ACCEPTED


def _delete(client: PartnerEventsClient, arguments: argparse.Namespace) -> int:
    client.sources.delete(
        arguments.name, account=arguments.account, missing_ok=arguments.missing_ok
    )
    return ALL_ACCEPTED


def _handoff(client: PartnerEventsClient, arguments: argparse.Namespace) -> int:
    members = {
        "source": arguments.name,
        "account": arguments.account,
        "region": client.region,
        "format": arguments.format,
    }
    text = handoff(
        arguments.name, account=arguments.account, region=client.region, format=arguments.format
    )
    if arguments.json:
        _write_json({**members, "text": text})
    else:
        write_out(text)
    return ALL_ACCEPTED


_ACTIONS: Final = {
    "create": _Action("create a source that does not exist yet", "NAME", True, _create),
    "ensure": _Action("create a source unless it exists", "NAME", True, _ensure),
    "list": _Action("list the sources whose names begin with PREFIX", "PREFIX", False, _list),
    "describe": _Action("show a source's ARN", "NAME", False, _describe),
    "accounts": _Action("list the accounts that have a source", "NAME", False, _accounts),
    "state": _Action("show the state of a source in an account", "NAME", True, _state),
    "wait": _Action("wait until a source is ACTIVE", "NAME", True, _wait),
    "expiring": _Action(
        "list the sources that expire soon; exit with 1 if there are any",
        "PREFIX",
        False,
        _expiring,
    ),
    "delete": _Action("delete a source from an account", "NAME", True, _delete),
    "handoff": _Action(
        "write the customer's instructions for getting a source's events", "NAME", True, _handoff
    ),
}


# ---------------------------------------------------------------- output


def _show_one(source: EventSource, arguments: argparse.Namespace) -> int:
    if arguments.json:
        _write_json(_members(source))
    else:
        write_out(f"{cell(source.arn)}\n")
    return ALL_ACCEPTED


def _show(items: Items, columns: Sequence[str], noun: str, arguments: argparse.Namespace) -> int:
    """Write all items, as JSON lines or as a table, and return how many there are."""
    if arguments.json:
        count = 0
        for item in items:
            _write_json(_members(item))
            count += 1
        return count
    rows = [[cell(getattr(item, column)) for column in columns] for item in items]
    if rows:
        write_table([column.upper().replace("_TIME", "") for column in columns], rows)
    else:
        say(amount(0, noun))
    return len(rows)


def _members(item: EventSource | SourceAccount) -> dict[str, Any]:
    return attrs.asdict(item)


def _write_json(members: dict[str, Any]) -> None:
    write_out(json_line(members).decode() + "\n")
