"""The operations on partner event sources, as calls over the wire."""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

import attrs
import orjson

from eventbridge_partner.errors import UnreadableAnswerError
from eventbridge_partner.limits import MAX_PAGE_ITEMS, MAX_TOKEN_CHARACTERS
from eventbridge_partner.models import EventSource, SourceAccount, SourceState
from eventbridge_partner.wire.calls import Call
from eventbridge_partner.wire.refusals import read_http_date

T = TypeVar("T")


@attrs.frozen
class Page(Generic[T]):
    """
    A page of a list.

    Attributes:
        items: The items on the page; there may be none.
        next_token: The token with which to ask for the next page; None on the last page.
    """

    items: tuple[T, ...]
    next_token: str | None


def create(name: str, account: str) -> Call[EventSource]:
    """Create a source in a customer's account."""
    return _call(
        "CreatePartnerEventSource",
        {"Name": name, "Account": account},
        lambda members: EventSource(name, _text(members["EventSourceArn"])),
    )


def describe(name: str) -> Call[EventSource]:
    """Ask for a source's ARN."""
    return _call("DescribePartnerEventSource", {"Name": name}, _source)


def list_page(prefix: str, token: str | None) -> Call[Page[EventSource]]:
    """Ask for a page of the sources whose names begin with a prefix."""
    return _call(
        "ListPartnerEventSources",
        {"NamePrefix": prefix, "Limit": MAX_PAGE_ITEMS} | _next_token(token),
        functools.partial(_page, "PartnerEventSources", _source),
    )


def accounts_page(name: str, token: str | None) -> Call[Page[SourceAccount]]:
    """Ask for a page of the accounts that have a source."""
    return _call(
        "ListPartnerEventSourceAccounts",
        {"EventSourceName": name, "Limit": MAX_PAGE_ITEMS} | _next_token(token),
        functools.partial(_page, "PartnerEventSourceAccounts", functools.partial(_account, name)),
    )


def delete(name: str, account: str) -> Call[None]:
    """Delete a source from a customer's account."""
    # The answer has no members; some services leave its body empty.
    return Call(
        "DeletePartnerEventSource",
        orjson.dumps({"Name": name, "Account": account}),
        lambda _: None,
    )


def _call(
    operation: str, members: Mapping[str, object], read: Callable[[Mapping[str, Any]], T]
) -> Call[T]:
    return Call(operation, orjson.dumps(members), functools.partial(_read, operation, read))


def _next_token(token: str | None) -> dict[str, str]:
    return {} if token is None else {"NextToken": token}


def _read(operation: str, read: Callable[[Mapping[str, Any]], T], body: bytes) -> T:
    try:
        return read(orjson.loads(body))
    except orjson.JSONDecodeError:
        raise UnreadableAnswerError(f"the answer of {len(body)} bytes is not JSON") from None
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError):
        raise UnreadableAnswerError(f"the answer is not valid for {operation}") from None


def _page(
    member: str, read: Callable[[Mapping[str, Any]], T], members: Mapping[str, Any]
) -> Page[T]:
    items = members[member]
    # An answer without the list is invalid; it does not mean that the list is empty.
    if type(items) is not list:
        raise TypeError(f"{member} is no list")
    token = members.get("NextToken") or None
    if token is not None and not 1 <= len(_text(token)) <= MAX_TOKEN_CHARACTERS:
        raise ValueError("NextToken is longer than a token can be")
    return Page(tuple(map(read, items)), token)


def _source(members: Mapping[str, Any]) -> EventSource:
    return EventSource(_text(members["Name"]), _text(members["Arn"]))


def _account(source: str, members: Mapping[str, Any]) -> SourceAccount:
    return SourceAccount(
        source,
        _text(members["Account"]),
        SourceState(_text(members["State"])),
        _time(members.get("CreationTime")),
        _time(members.get("ExpirationTime")),
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("a member is not text")
    return value


_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_NUMBER: Final = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")


def _time(value: object) -> datetime.datetime | None:
    """
    Read a time in any form that AWS's protocols use.

    JSON 1.1 writes epoch seconds unless the model of a member says otherwise; services other than
    AWS's own use other forms. botocore reads all of these too.
    """
    match value:
        case None:
            return None
        case int() | float() if not isinstance(value, bool):
            return _EPOCH + datetime.timedelta(seconds=value)
        case str():
            return _time_of_text(value).astimezone(datetime.UTC)
        case _:
            raise TypeError("a time is neither a number nor text")


def _time_of_text(text: str) -> datetime.datetime:
    if _NUMBER.fullmatch(text):
        return _EPOCH + datetime.timedelta(seconds=float(text))
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError:
        return read_http_date(text)
    if time.utcoffset() is None:
        raise ValueError("a time has no time zone")
    return time
