"""`outbox`: make an outbox, inspect it, and deal with its dead letters."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable
from typing import Any, Final

import attrs

from eventbridge_partner.cli import _outbox_url, _types
from eventbridge_partner.cli._exits import ALL_ACCEPTED, NOT_ALL_ACCEPTED, UsageError
from eventbridge_partner.cli._interruption import Interruption
from eventbridge_partner.cli._output import amount, json_line, say, write_out
from eventbridge_partner.cli._tables import cell, write_table
from eventbridge_partner.outbox import DeadLetter, PostgresOutbox, SqliteOutbox

_OLD_SNAPSHOT_SECONDS: Final = 60.0

_EPILOG: Final = """\
Run `outbox ACTION --help` for help on an action.

Standard output has a table, or with --json a line of JSON for each item.

Exit status: 0 done; 1 not done: there is no such dead letter, `stats --max-age` found older events,
or the database cannot be used; 2 wrong usage; 3 configuration, or no outbox of this version.
"""

_Outbox = SqliteOutbox | PostgresOutbox
_Run = Callable[[_Outbox, argparse.Namespace], int]


def add_parser(subparsers: Any, **settings: Any) -> None:
    """Add the command to a parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "outbox",
        description="Make an outbox, inspect it, and deal with its dead letters.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **settings,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(among: Any, name: str, meaning: str, run_action: _Run) -> argparse.ArgumentParser:
        settings["help"] = meaning
        description = f"{meaning[:1].upper()}{meaning[1:]}."
        one: argparse.ArgumentParser = among.add_parser(name, description=description, **settings)
        one.add_argument("--json", action="store_true", help="write a line of JSON for each item")
        _outbox_url.add_options(one)
        one.set_defaults(run=run, run_action=run_action)
        return one

    action(actions, "create", "make the tables unless they exist", _create)
    action(actions, "upgrade", "upgrade the tables to this release", _upgrade)
    one = action(actions, "schema", "print the statements that make the tables", _schema)
    one.add_argument(
        "--since", type=int, default=0, metavar="N", help="the installed version (default: 0, none)"
    )
    one = action(actions, "stats", "show how many events wait, and since when", _stats)
    one.add_argument(
        "--max-age",
        type=_types.duration,
        metavar="TIME",
        help="exit with 1 if the oldest event waits longer than this: 30s, 5m, 1h",
    )
    settings["help"] = "list, show, redrive and purge dead letters"
    dead: argparse.ArgumentParser = actions.add_parser(
        "dead",
        description="List, show, redrive and purge dead letters.",
        **settings,
    )
    of_dead = dead.add_subparsers(dest="dead_action", metavar="ACTION", required=True)
    one = action(of_dead, "list", "list dead letters, newest first", _dead_list)
    _add_choice(one)
    one.add_argument(
        "--limit",
        type=_types.positive_int,
        default=100,
        metavar="N",
        help="at most this many (default: 100)",
    )
    one.add_argument("--before", type=int, metavar="ID", help="only those with smaller ids")
    one = action(of_dead, "show", "show a dead letter", _dead_show)
    one.add_argument("id", type=int, metavar="ID")
    one.add_argument("--detail", action="store_true", help="show the event's detail too")
    one = action(of_dead, "redrive", "put dead letters back into the outbox", _dead_redrive)
    one.add_argument("ids", type=int, nargs="*", metavar="ID")
    _add_choice(one)
    one.add_argument("--limit", type=_types.positive_int, metavar="N", help="at most this many")
    one = action(of_dead, "purge", "delete dead letters for good", _dead_purge)
    _add_choice(one)
    one.add_argument(
        "--older-than",
        type=_types.duration,
        required=True,
        metavar="TIME",
        help="only those that died at least this long ago: 12h, 30d",
    )


def _add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", metavar="NAME", help="only those of this source")
    parser.add_argument("--code", metavar="CODE", help="only those with this code")


def run(arguments: argparse.Namespace, interruption: Interruption) -> int:
    """
    Carry the command out.

    Returns:
        The exit status.

    Raises:
        UsageError: The arguments are wrong.
        ConfigurationError: The URL names no outbox.
        OutboxSchemaError: There is no outbox of this version.
        OutboxUnavailableError: The database cannot be used.
    """
    with interruption.allowed, _outbox_url.open_named(arguments) as outbox:
        status: int = arguments.run_action(outbox, arguments)
    return status


# ---------------------------------------------------------------- actions


def _create(outbox: _Outbox, arguments: argparse.Namespace) -> int:
    outbox.create()
    return _done(outbox, arguments)


def _upgrade(outbox: _Outbox, arguments: argparse.Namespace) -> int:
    outbox.upgrade()
    return _done(outbox, arguments)


def _done(outbox: _Outbox, arguments: argparse.Namespace) -> int:
    if arguments.json:
        _write_json({"table": arguments.table, "schema": arguments.schema})
    else:
        write_out(f"{outbox.describe()} is ready\n")
    return ALL_ACCEPTED


def _schema(outbox: _Outbox, arguments: argparse.Namespace) -> int:
    try:
        text = outbox.schema_sql(arguments.since)
    except ValueError as error:
        raise UsageError(f"--since: {error}") from error
    if arguments.json:
        _write_json({"since": arguments.since, "sql": text})
    else:
        write_out(text)
    return ALL_ACCEPTED


def _stats(outbox: _Outbox, arguments: argparse.Namespace) -> int:
    stats = outbox.stats()
    if arguments.json:
        _write_json(attrs.asdict(stats))
    else:
        about = "about " if stats.is_estimate else ""
        age = "-" if stats.oldest_age is None else _lasting(stats.oldest_age)
        write_table(
            ("WAITING", "DUE", "LEASED", "OLDEST", "HELD SOURCES", "DEAD"),
            [
                [
                    *(f"{about}{count:,}" for count in (stats.waiting, stats.due, stats.leased)),
                    age,
                    f"{stats.held:,}",
                    f"{stats.dead:,}",
                ]
            ],
        )
        if stats.held_back_since is not None:
            open_for = datetime.datetime.now(datetime.UTC) - stats.held_back_since
            if open_for.total_seconds() > _OLD_SNAPSHOT_SECONDS:
                say(
                    f"a transaction has been open since {cell(stats.held_back_since)}: until it "
                    "ends, autovacuum cannot clean up, and claims get slower"
                )
    if arguments.max_age is not None and (stats.oldest_age or 0) > arguments.max_age:
        return NOT_ALL_ACCEPTED
    return ALL_ACCEPTED


def _lasting(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:.1f}s"


def _dead_list(outbox: _Outbox, arguments: argparse.Namespace) -> int:
    found = outbox.dead_letters(
        source=arguments.source,
        code=arguments.code,
        before=arguments.before,
        limit=arguments.limit,
    )
    if arguments.json:
        for one in found:
            _write_json(_members(one))
        return ALL_ACCEPTED
    rows = [
        [str(one.id), cell(one.died_at), one.code, one.detail_type, one.source] for one in found
    ]
    if rows:
        write_table(("ID", "DIED", "CODE", "DETAIL TYPE", "SOURCE"), rows)
    else:
        say(amount(0, "dead letter"))
    return ALL_ACCEPTED


def _dead_show(outbox: _Outbox, arguments: argparse.Namespace) -> int:
    for one in outbox.dead_letters(before=arguments.id + 1, limit=1):
        if one.id != arguments.id:
            continue
        members = _members(one)
        if arguments.detail:
            members["detail"] = one.detail
        if arguments.json:
            _write_json(members)
        else:
            width = max(map(len, members))
            lines = (
                f"{name.replace('_', ' '):<{width}}  {cell(value)}\n"
                for name, value in members.items()
            )
            write_out("".join(lines))
        return ALL_ACCEPTED
    say(f"eventbridge-partner outbox dead show: there is no dead letter {arguments.id}")
    return NOT_ALL_ACCEPTED


def _dead_redrive(outbox: _Outbox, arguments: argparse.Namespace) -> int:
    try:
        count = outbox.redrive(
            *arguments.ids, source=arguments.source, code=arguments.code, limit=arguments.limit
        )
    except TypeError:
        raise UsageError("which dead letters? Give ids, --source or --code") from None
    return _counted(count, "put back", arguments)


def _dead_purge(outbox: _Outbox, arguments: argparse.Namespace) -> int:
    older_than = datetime.timedelta(seconds=arguments.older_than)
    count = outbox.purge(older_than=older_than, source=arguments.source, code=arguments.code)
    return _counted(count, "deleted", arguments)


def _counted(count: int, what: str, arguments: argparse.Namespace) -> int:
    if arguments.json:
        _write_json({"count": count})
    else:
        write_out(f"{amount(count, 'dead letter')} {what}\n")
    if getattr(arguments, "ids", None) and count < len(set(arguments.ids)):
        say("the other ids are not of dead letters")
        return NOT_ALL_ACCEPTED
    return ALL_ACCEPTED


# ---------------------------------------------------------------- output


def _members(one: DeadLetter) -> dict[str, Any]:
    members = attrs.asdict(one)
    del members["detail"]
    return members


def _write_json(members: dict[str, Any]) -> None:
    write_out(json_line(members).decode() + "\n")
