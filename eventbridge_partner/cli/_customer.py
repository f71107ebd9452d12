"""`customer`: act as the customer on an event source of a running local service."""

from __future__ import annotations

import argparse
import http.client
import json
import os
from typing import Any, Final
from urllib.parse import urlsplit

from eventbridge_partner._foreign_text import escaped, quoted
from eventbridge_partner.cli._exits import ALL_ACCEPTED, NOT_ALL_ACCEPTED, UsageError, reason
from eventbridge_partner.cli._interruption import Interruption
from eventbridge_partner.cli._output import MOST_OF_A_LINE, say, write_out

_VARIABLE: Final = "AWS_ENDPOINT_URL_EVENTBRIDGE"
_TIMEOUT: Final = 10.0
_ACTIONS: Final = {
    "associate": "create the event bus of a PENDING source, which makes it ACTIVE",
    "deactivate": "deactivate an ACTIVE source, which makes it PENDING",
    "activate": "activate a source that was deactivated",
    "delete-bus": "delete the event bus of a source, which makes it PENDING",
    "expire": "let a PENDING source expire at once",
}

_EPILOG: Final = "\n".join(
    (
        "actions:",
        *(f"  {action:<12} {meaning}" for action, meaning in _ACTIONS.items()),
        "",
        "AWS has no such calls: they stand for the customer's part in `serve`.",
        "",
        "Exit status: 0 done; 1 not done: there is no such source, it is in another state, or no",
        "local service answers; 2 wrong usage.",
    )
)


def add_parser(subparsers: Any, **settings: Any) -> None:
    """Add the command to a parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "customer",
        description="Act as the customer on a partner event source of a running local service.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **settings,
    )
    parser.add_argument(
        "action", metavar="ACTION", choices=list(_ACTIONS), help="one of the actions below"
    )
    parser.add_argument("name", metavar="NAME", help="the source's name: aws.partner/…")
    parser.add_argument(
        "--account", metavar="ID", required=True, help="the customer's account, 12 digits"
    )
    parser.add_argument(
        "--endpoint-url", metavar="URL", help=f"the local service's URL (default: {_VARIABLE})"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, interruption: Interruption) -> int:
    """
    Carry the command out.

    Returns:
        The exit status.

    Raises:
        UsageError: No local service is named.
    """
    url = arguments.endpoint_url or os.environ.get(_VARIABLE, "")
    host, port = _place(url)
    wanted = {"name": arguments.name, "account": arguments.account}
    try:
        with interruption.allowed:
            status, found = _post(host, port, f"/_control/sources/{arguments.action}", wanted)
    except OSError as error:
        return _not_done(f"no answer from {url}: {reason(error)}")
    except (http.client.HTTPException, ValueError):
        return _not_done(f"no local service answers at {url}")
    if status != 200:
        return _not_done(str(found.get("message", f"status {status} from {url}")))
    what = escaped(f"{arguments.name} of account {arguments.account}", MOST_OF_A_LINE)
    write_out(f"{what}: {escaped(str(found['state'] or 'gone'))}\n")
    return ALL_ACCEPTED


def _not_done(what: str) -> int:
    say(f"eventbridge-partner customer: {what}")
    return NOT_ALL_ACCEPTED


def _place(url: str) -> tuple[str, int]:
    if not url:
        raise UsageError(f"which local service? Give --endpoint-url or set {_VARIABLE}")
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme != "http" or not parts.hostname:
        raise UsageError(
            f"--endpoint-url is {quoted(url)}; allowed: the http URL of a local service"
        )
    return parts.hostname, port


def _post(host: str, port: int, path: str, document: object) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", path, json.dumps(document), headers)
        answer = connection.getresponse()
        found = json.loads(answer.read())
    finally:
        connection.close()
    if not isinstance(found, dict) or (answer.status == 200 and "state" not in found):
        raise http.client.HTTPException("the answer of a local service must be an object")
    return answer.status, found
