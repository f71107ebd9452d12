"""
What goes over the wire: AWS JSON 1.1, without HTTP and without signatures.

A `Call` is a request's content and how to read its answer.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Generic, TypeVar

import attrs
import orjson

from eventbridge_partner._http import HttpResponse
from eventbridge_partner.errors import (
    UnreadableAnswerError,
)
from eventbridge_partner.models import PartnerEvent, ResultEntry
from eventbridge_partner.wire.refusals import one_line, read_error, without_echo

CONTENT_TYPE: Final = "application/x-amz-json-1.1"

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@attrs.frozen
class Call(Generic[T_co]):
    """
    One call of one operation.

    Attributes:
        operation: The operation's name, as in `X-Amz-Target` behind the dot.
        body: The request's body, UTF-8 JSON.
        read: Turns the body of the answer into its value; raises UnreadableAnswerError.
    """

    operation: str
    body: bytes = attrs.field(repr=False)
    read: Callable[[bytes], T_co] = attrs.field(repr=False)


# ---------------------------------------------------------------- requests


@attrs.frozen
class AllAccepted:
    """
    The results of a request of which every entry was accepted.

    Attributes:
        event_ids: One for each entry, in their order; None from a service that gives none.
    """

    event_ids: Sequence[str | None]

    def results(self) -> tuple[ResultEntry, ...]:
        """Return the result of each entry."""
        return tuple(map(ResultEntry, self.event_ids))


Results = AllAccepted | tuple[ResultEntry, ...]
"""One result for each entry of a request, in their order."""


def put_partner_events(events: Iterable[PartnerEvent]) -> Call[Results]:
    """Ask the service to take events; the answer is one result for each, in their order."""
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
    """Return an event as the members of an entry: what is not there is left out."""
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
    """Return epoch seconds as botocore writes them: with a fraction only if there is one."""
    microseconds = (time - _EPOCH) // _MICROSECOND
    return microseconds / 1_000_000 if time.microsecond else microseconds // 1_000_000


# ---------------------------------------------------------------- answers


def answer(call: Call[T], response: HttpResponse) -> T:
    """
    Read the answer to a call.

    Raises:
        ServiceError: The service refused the request.
        UnreadableAnswerError: It answered with success, but not with an answer.
    """
    # Success that is not 200 comes from something on the way; it is read as strictly.
    if not 200 <= response.status < 300:
        raise read_error(response)
    return call.read(response.body)


def _read_results(sent: int, body: bytes) -> Results:
    try:
        content = orjson.loads(body)
        failed = content["FailedEntryCount"]
        entries = content["Entries"]
        if type(failed) is not int or type(entries) is not list:
            raise TypeError("a member is not of its type")
        if failed == 0 and len(entries) == sent:
            # The usual case, in one pass: nothing but ids.
            event_ids = [entry["EventId"] for entry in entries if len(entry) == 1]
            if len(event_ids) == sent and all(event_ids) and set(map(type, event_ids)) == {str}:
                return AllAccepted(event_ids)
        results = tuple([_read_result(entry) for entry in entries])
    except orjson.JSONDecodeError:
        raise UnreadableAnswerError(f"the answer of {len(body)} bytes is not JSON") from None
    except (KeyError, TypeError, AttributeError):
        raise UnreadableAnswerError("the answer is not one to PutPartnerEvents") from None
    if not results and failed == 0:
        # moto answers so, whatever it was sent.
        return AllAccepted((None,) * sent)
    if len(results) != sent:
        raise UnreadableAnswerError(f"the answer has {len(results)} results for {sent} entries")
    with_code = sum(1 for result in results if result.error_code is not None)
    if failed != with_code:
        raise UnreadableAnswerError(
            f"the answer counts {failed} failed entries and lists {with_code}"
        )
    return results


def _read_result(entry: Any) -> ResultEntry:
    event_id = entry.get("EventId")
    code = entry.get("ErrorCode")
    if code is None or code == "":
        if not isinstance(event_id, str) or not event_id:
            raise TypeError("a result has neither an event id nor an error code")
        return ResultEntry(event_id)
    if not isinstance(code, str):
        raise TypeError("an error code is not text")
    return ResultEntry(None, one_line(code), without_echo(entry.get("ErrorMessage")))
