"""
The operations on partner event sources, from a request's raw JSON to the answer's.

The numbers and patterns repeat those of the client on purpose, as in `_rules`. "Model" is the
`events` 2015-10-07 service model that botocore ships.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

import attrs

from eventbridge_partner.testing import _rules
from eventbridge_partner.testing._faults import OddPage
from eventbridge_partner.testing._rules import Reading, Refusal
from eventbridge_partner.testing._sources import LocalSource, LocalSources

MAX_PAGE: Final = 100
"""Model: LimitMax100."""

MAX_TOKEN: Final = 2048
"""Characters. Model: NextToken."""

INVALID_TOKEN: Final = Refusal("InvalidToken", "The pagination token is invalid or has expired.")
"""API reference: "Using an expired pagination token results in an HTTP 400 InvalidToken error."."""


@attrs.frozen
class _Text:
    """The constraints of a text member."""

    shape: re.Pattern[str] | None
    shortest: int
    longest: int
    is_needed: bool = True


_NAME: Final = _Text(_rules.SOURCE, 1, _rules.MAX_SOURCE)
_ACCOUNT: Final = _Text(re.compile("[0-9]{12}"), 12, 12)
"""Model: AccountId."""
_PREFIX: Final = _Text(re.compile(r"[/\.\-_A-Za-z0-9]+"), 1, 256)
"""Model: PartnerEventSourceNamePrefix."""
_TOKEN: Final = _Text(None, 1, MAX_TOKEN, is_needed=False)

_LIMIT: Final = "Limit"

_OPERATIONS: Final[Mapping[str, Mapping[str, _Text]]] = {
    "CreatePartnerEventSource": {"Name": _NAME, "Account": _ACCOUNT},
    "DescribePartnerEventSource": {"Name": _NAME},
    "ListPartnerEventSources": {"NamePrefix": _PREFIX, "NextToken": _TOKEN},
    "ListPartnerEventSourceAccounts": {"EventSourceName": _NAME, "NextToken": _TOKEN},
    "DeletePartnerEventSource": {"Name": _NAME, "Account": _ACCOUNT},
}
"""Model: the text members of their requests. Those with a token take a limit too."""


def read(operation: str, body: bytes) -> Reading:
    """Read and check the body of a request for one of the source operations."""
    try:
        payload = json.loads(body.decode())
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        return Reading((), _unserializable("The request body is not JSON."))
    if not isinstance(payload, dict):
        return Reading((), _unserializable("Start of structure expected."))
    members = cast("dict[str, Any]", payload)
    texts = _OPERATIONS[operation]
    known = {*texts, _LIMIT} if "NextToken" in texts else set(texts)
    unknown = tuple(sorted(set(members) - known))
    given = {name: value for name, value in members.items() if name in known and value is not None}
    refusal = _mistyped(given)
    if refusal is None and (findings := list(_findings(texts, given))):
        refusal = _rules.invalid(*findings)
    return Reading((), refusal, unknown_members=unknown, members=given)


def _mistyped(given: Mapping[str, Any]) -> Refusal | None:
    for name, value in given.items():
        if name == _LIMIT:
            if isinstance(value, bool) or not isinstance(value, int):
                return _unserializable(f"{name} can not be converted to an Integer.")
        elif not isinstance(value, str):
            return _unserializable(f"{name} can not be converted to a String.")
    return None


def _findings(texts: Mapping[str, _Text], given: Mapping[str, Any]) -> Iterator[str]:
    for name, allowed in texts.items():
        where = f"{name[0].lower()}{name[1:]}"
        value = given.get(name)
        if value is None:
            if allowed.is_needed:
                yield _rules.finding("null", where, "Member must not be null")
            continue
        if allowed.shape is not None and not allowed.shape.fullmatch(value):
            pattern = allowed.shape.pattern
            constraint = f"Member must satisfy regular expression pattern: {pattern}"
            yield _rules.finding(value, where, constraint)
        if len(value) < allowed.shortest:
            least = f"Member must have length greater than or equal to {allowed.shortest}"
            yield _rules.finding(value, where, least)
        if len(value) > allowed.longest:
            most = f"Member must have length less than or equal to {allowed.longest}"
            yield _rules.finding(value, where, most)
    limit = given.get(_LIMIT, 1)
    if limit < 1:
        constraint = "Member must have value greater than or equal to 1"
        yield _rules.finding(str(limit), "limit", constraint)
    if limit > MAX_PAGE:
        constraint = f"Member must have value less than or equal to {MAX_PAGE}"
        yield _rules.finding(str(limit), "limit", constraint)


def _unserializable(message: str) -> Refusal:
    return Refusal("SerializationException", message)


@attrs.frozen
class Carried:
    """
    The result of a source operation.

    Attributes:
        refusal: Why it was not carried out; None if it was.
        document: The answer's members; None for an answer without a body.
        was_odd: Whether the odd page had an effect.
    """

    refusal: Refusal | None = None
    document: Mapping[str, Any] | None = None
    was_odd: bool = False


def carry_out(
    operation: str,
    members: Mapping[str, Any],
    sources: LocalSources,
    page_size: int,
    odd: OddPage | None,
) -> Carried:
    """
    Carry out a source operation whose request is valid.

    Args:
        operation: Its name.
        members: The request's members.
        sources: The sources to act on.
        page_size: The most items on a page.
        odd: What is odd about the page; None for nothing.
    """
    match operation:
        case "CreatePartnerEventSource":
            name = members["Name"]
            try:
                created = sources.create(name, members["Account"])
            except ValueError:
                message = f"Event source {name} already exists."
                return Carried(Refusal("ResourceAlreadyExistsException", message))
            return Carried(document={"EventSourceArn": created.arn})
        case "DescribePartnerEventSource":
            found = sources.accounts(members["Name"])
            if not found:
                return Carried(_not_found(members["Name"]))
            return Carried(document=_source_members(found))
        case "ListPartnerEventSources":
            page = _Page("PartnerEventSources", operation, members["NamePrefix"])
            return page.of(
                sources.names(members["NamePrefix"]),
                lambda name: _source_members(sources.accounts(name)),
                members,
                page_size,
                odd,
            )
        case "ListPartnerEventSourceAccounts":
            held = {
                source.account: source for source in sources.accounts(members["EventSourceName"])
            }
            if not held:
                return Carried(_not_found(members["EventSourceName"]))
            page = _Page("PartnerEventSourceAccounts", operation, members["EventSourceName"])
            return page.of(
                list(held), lambda account: _account_members(held[account]), members, page_size, odd
            )
        case _:
            # The model lists no error for deleting a source that does not exist.
            sources.delete(members["Name"], members["Account"])
            return Carried()


def _not_found(name: str) -> Refusal:
    return Refusal("ResourceNotFoundException", f"Event source {name} does not exist.")


def _source_members(found: Sequence[LocalSource]) -> dict[str, Any]:
    return {"Arn": found[0].arn, "Name": found[0].name}


def _account_members(source: LocalSource) -> dict[str, Any]:
    members: dict[str, Any] = {
        "Account": source.account,
        "CreationTime": round(source.created_at, 3),
        "State": source.state,
    }
    if source.expires_at is not None:
        members["ExpirationTime"] = round(source.expires_at, 3)
    return members


@attrs.frozen
class _Page:
    """A page of a list, with the token of the next one."""

    member: str
    operation: str
    asked: str

    def of(
        self,
        keys: Sequence[str],
        shown_as: Callable[[str], dict[str, Any]],
        members: Mapping[str, Any],
        page_size: int,
        odd: OddPage | None,
    ) -> Carried:
        """Return the requested page of these keys, in order."""
        given: str | None = members.get("NextToken")
        after = "" if given is None else self._position(given)
        kind = None if odd is None else odd.kind
        if after is None or kind == "expired-token":
            return Carried(INVALID_TOKEN, was_odd=after is not None)
        rest = [key for key in keys if key > after]
        size = min(members.get(_LIMIT, page_size), page_size)
        shown, is_last = rest[:size], len(rest) <= size
        document: dict[str, Any] = {self.member: [shown_as(key) for key in shown]}
        if not is_last:
            document["NextToken"] = self._token(shown[-1])
        match kind:
            case "empty-page":
                document = {self.member: [], "NextToken": self._token(after)}
            case "repeated-token":
                document["NextToken"] = given
            case "extra-page" if is_last:
                document["NextToken"] = self._token(shown[-1] if shown else after)
            case "empty-token" if is_last:
                document["NextToken"] = ""
            case "null-token" if is_last:
                document["NextToken"] = None
            case _:
                kind = None
        return Carried(document=document, was_odd=kind is not None)

    def _token(self, after: str) -> str:
        # API reference: a token is unique to its page, so one place has a new token each time.
        text = json.dumps([self.operation, self.asked, after, secrets.token_hex(4)])
        return base64.urlsafe_b64encode(text.encode()).decode()

    def _position(self, token: str) -> str | None:
        try:
            operation, asked, after, _ = json.loads(base64.urlsafe_b64decode(token))
        except (ValueError, TypeError, RecursionError):
            return None
        # API reference: "Keep all other arguments unchanged."
        fits = (operation, asked) == (self.operation, self.asked) and isinstance(after, str)
        return after if fits else None
