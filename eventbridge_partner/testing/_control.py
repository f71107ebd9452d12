"""
What customers do with partner event sources, as calls over HTTP beside the service's own.

They come from the same machine only, and not from a page in its browser: such a page cannot send
JSON to another origin without asking first, which nobody answers here.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from typing import Any, Final, cast

from eventbridge_partner.testing._sources import TRANSITIONS, LocalSources, SourceAction

PATH: Final = "/_control/"

_ACTIONS: Final[Mapping[str, SourceAction]] = {
    f"{PATH}sources/{action.replace('_', '-')}": action for action in TRANSITIONS
}


def answer(
    sources: LocalSources,
    peer: str,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
) -> tuple[int, dict[str, Any]]:
    """
    Carry out a control call.

    Args:
        sources: What it is about.
        peer: The IP address that it came from.
        method: Of HTTP.
        path: As received, beginning with `PATH`.
        headers: As received, names in lower case.
        body: As received.

    Returns:
        The status and the document to answer with.
    """
    if not _is_loopback(peer):
        return _refused(403, "control calls are taken from this machine only")
    action = _ACTIONS.get(path)
    if action is None:
        return _refused(404, f"allowed: POST to one of {', '.join(_ACTIONS)}")
    if method != "POST":
        return _refused(405, f"{method}; allowed: POST")
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return _refused(415, "Content-Type; allowed: application/json")
    wanted = _read(body)
    if wanted is None:
        return _refused(400, 'allowed: {"name": "aws.partner/…", "account": "12 digits"}')
    name, account = wanted
    try:
        source = sources.act(action, name, account)
    except LookupError as error:
        return _refused(404, str(error.args[0]))
    except ValueError as error:
        return _refused(409, str(error))
    if source is None:
        return 200, {"name": name, "account": account, "state": None}
    return 200, {
        "name": name,
        "account": account,
        "state": source.state,
        "has_bus": source.has_bus,
        "expires_at": source.expires_at,
    }


def _refused(status: int, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"message": message}


def _read(body: bytes) -> tuple[str, str] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    members = cast("dict[str, Any]", document)
    name, account = members.get("name"), members.get("account")
    if len(members) != 2 or not isinstance(name, str) or not isinstance(account, str):
        return None
    return name, account


def _is_loopback(peer: str) -> bool:
    address = ipaddress.ip_address(peer)
    # A socket for both IP versions shows those of version 4 so.
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
