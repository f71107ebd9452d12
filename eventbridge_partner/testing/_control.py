"""
What customers do with partner event sources, as calls over HTTP beside the service's own.

`Access` says who may call.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from eventbridge_partner.testing._access import Access
from eventbridge_partner.testing._sources import TRANSITIONS, LocalSources, SourceAction

PATH: Final = "/_control/"

_ACTIONS: Final[Mapping[str, SourceAction]] = {
    f"{PATH}sources/{action.replace('_', '-')}": action for action in TRANSITIONS
}


def answer(
    sources: LocalSources,
    access: Access,
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
        access: Who may call.
        peer: The IP address that it came from.
        method: Of HTTP.
        path: As received, beginning with `PATH`.
        headers: As received, names in lower case.
        body: As received.

    Returns:
        The status and the document to answer with.
    """
    if refusal := access.refusal(peer, headers):
        return _refused(403, refusal)
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
