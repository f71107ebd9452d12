"""
The wire format: AWS JSON 1.1, without HTTP and without signatures.

A `Call` is the content of a request and the function that reads its answer.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast

import orjson

from eventbridge_partner._foreign_text import escaped
from eventbridge_partner._http import HttpResponse
from eventbridge_partner.errors import (
    UnreadableAnswerError,
)
from eventbridge_partner.models import PartnerEvent, ResultEntry
from eventbridge_partner.wire.refusals import read_error, without_echo

_MAX_CODE_CHARACTERS: Final = 500

CONTENT_TYPE: Final = "application/x-amz-json-1.1"

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Call(NamedTuple, Generic[T_co]):
    """
    One call of one operation.

    Attributes:
        operation: The operation's name, as in `X-Amz-Target` after the dot.
        body: The request's body, UTF-8 JSON.
        read: Turns the body of the answer into its value; raises UnreadableAnswerError.
    """

    operation: str
    body: bytes
    read: Callable[[bytes], T_co]

    def __repr__(self) -> str:
        return f"<Call of {self.operation}>"


# ---------------------------------------------------------------- requests


class AllAccepted(NamedTuple):
    """
    The results of a request whose entries were all accepted.

    Attributes:
        event_ids: One for each entry, in their order; None if the service gave none.
        note: Anything odd about the answer, for the log; empty if there is nothing.
    """

    event_ids: Sequence[str | None]
    note: str = ""


class EachResult(NamedTuple):
    """
    The results of a request, entry by entry.

    Attributes:
        results: One for each entry, in their order; None if a result does not say whether its
            entry was accepted.
        note: Anything odd about the answer, for the log; empty if there is nothing.
    """

    results: Sequence[ResultEntry | None]
    note: str = ""


Results = AllAccepted | EachResult
"""One result for each entry of a request, in their order."""


def put_partner_events(events: Iterable[PartnerEvent]) -> Call[Results]:
    """Return the call that sends events; its value is one result for each, in their order."""
    entries = [
        {"Source": event.source, "DetailType": event.detail_type, "Detail": event.detail}
        if event.time is None and not event.resources
        else to_entry(event)
        for event in events
    ]
    return Call(
        "PutPartnerEvents",
        orjson.dumps({"Entries": entries}),
        functools.partial(_read_results, len(entries)),
    )


def to_entry(event: PartnerEvent) -> dict[str, Any]:
    """Return an event as the members of an entry, leaving out those that it does not have."""
    entry: dict[str, Any] = {
        "Source": event.source,
        "DetailType": event.detail_type,
        "Detail": event.detail,
    }
    if event.resources:
        entry["Resources"] = event.resources
    if event.time is not None:
        entry["Time"] = _epoch_number(event.time)
    return entry


_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND: Final = datetime.timedelta(microseconds=1)


def _epoch_number(time: datetime.datetime) -> float:
    """Return epoch seconds as botocore writes them: as an int unless there is a fraction."""
    microseconds = (time - _EPOCH) // _MICROSECOND
    return microseconds / 1_000_000 if time.microsecond else microseconds // 1_000_000


# ---------------------------------------------------------------- answers


def answer(call: Call[T], response: HttpResponse) -> T:
    """
    Read the answer to a call.

    Raises:
        ServiceError: The service refused the request.
        UnreadableAnswerError: It reported success, but its answer cannot be read.
    """
    # A success other than 200 comes from a proxy or gateway; it is read just as strictly.
    if not 200 <= response.status < 300:
        raise read_error(response)
    return call.read(response.body)


def _read_results(sent: int, body: bytes) -> Results:
    try:
        content: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise UnreadableAnswerError(f"the answer of {len(body)} bytes is not JSON") from None
    entries = content.get("Entries") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise UnreadableAnswerError("the answer is not valid for PutPartnerEvents")
    failed = content.get("FailedEntryCount")
    is_zero = type(failed) is int and failed == 0
    if not entries and is_zero:
        # moto answers like this, whatever it was sent.
        return AllAccepted((None,) * sent)
    if len(entries) != sent:
        raise UnreadableAnswerError(f"the answer has {len(entries)} results for {sent} entries")
    # The usual case, in one pass: nothing but ids.
    with suppress(KeyError, TypeError):
        event_ids = [entry["EventId"] for entry in entries if len(entry) == 1]
        if len(event_ids) == sent and all(map(str.strip, event_ids)):
            return AllAccepted(event_ids, "" if is_zero else _odd_count(failed, 0))
    # Each result counts for its entry, whatever FailedEntryCount says.
    results = [_read_result(entry) for entry in entries]
    listed = sum(result is not None and result.error_code is not None for result in results)
    is_right = type(failed) is int and failed == listed
    return EachResult(results, "" if is_right else _odd_count(failed, listed))


def _odd_count(failed: object, listed: int) -> str:
    found = failed if type(failed) is int else "no number"
    return f"FailedEntryCount is {found}, and {listed} results have an error code"


def _read_result(entry: object) -> ResultEntry | None:
    """Read one result; None if it does not say whether its entry was accepted."""
    if not isinstance(entry, dict):
        return None
    members = cast("Mapping[str, object]", entry)
    event_id = _text(members.get("EventId"))
    code = members.get("ErrorCode")
    if code is None or (isinstance(code, str) and not _text(code)):
        return None if event_id is None else ResultEntry(event_id)
    if not isinstance(code, str):
        return None
    code = escaped(code, _MAX_CODE_CHARACTERS)
    return ResultEntry(None, code, without_echo(members.get("ErrorMessage")))


def _text(value: object) -> str | None:
    """Return a text that is not empty; None for anything else."""
    return value if isinstance(value, str) and value.strip() else None
