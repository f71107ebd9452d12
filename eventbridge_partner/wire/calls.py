"""
What goes over the wire: AWS JSON 1.1, without HTTP and without signatures.

A `Call` is a request's content and how to read its answer.
"""

from __future__ import annotations

import datetime
import email.utils
import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar, cast

import attrs
import orjson

from eventbridge_partner import error_codes
from eventbridge_partner._http import HttpResponse
from eventbridge_partner.errors import (
    ClockSkewError,
    ConcurrentModificationError,
    ExpiredCredentialsError,
    InvalidTokenError,
    LimitExceededError,
    OperationDisabledError,
    ResourceAlreadyExistsError,
    ResourceNotFoundError,
    ServiceError,
    ThrottledError,
    UnreadableAnswerError,
)
from eventbridge_partner.models import PartnerEvent, ResultEntry

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
    return ResultEntry(None, _one_line(code), without_echo(entry.get("ErrorMessage")))


# ---------------------------------------------------------------- errors


def read_error(response: HttpResponse) -> ServiceError:
    """Read a refusal in any form that AWS's services, their gateways and proxies give it."""
    headers = response.headers
    code, message = _error_in_body(response.body)
    code = _bare_code(headers.get("x-amzn-errortype", "")) or _bare_code(code)
    return _error_class(response.status, code, message)(
        code or f"HTTP {response.status}",
        message or f"the answer was HTTP {response.status} with {len(response.body)} bytes",
        status=response.status,
        request_id=headers.get("x-amzn-requestid") or headers.get("x-amz-request-id"),
        retry_after=_seconds(headers.get("x-amz-retry-after", "")),
        server_time=_epoch_seconds(headers.get("date")),
        # A gateway that gave up does not know what became of the request behind it.
        may_have_been_sent=not code and response.status in (500, 502, 504),
    )


_ERROR_CLASSES: Final[Mapping[str, type[ServiceError]]] = {
    "ConcurrentModificationException": ConcurrentModificationError,
    "InvalidToken": InvalidTokenError,
    "InvalidTokenException": InvalidTokenError,
    "LimitExceededException": LimitExceededError,
    "OperationDisabledException": OperationDisabledError,
    "ResourceAlreadyExistsException": ResourceAlreadyExistsError,
    "ResourceNotFoundException": ResourceNotFoundError,
}


def _error_class(status: int, code: str, message: str) -> type[ServiceError]:
    if code in error_codes.THROTTLING or (not code and status == 429):
        return ThrottledError
    if code in error_codes.EXPIRED_CREDENTIALS:
        return ExpiredCredentialsError
    if code in error_codes.CLOCK_SKEW or message.lower().startswith(
        error_codes.CLOCK_SKEW_MESSAGES
    ):
        return ClockSkewError
    return _ERROR_CLASSES.get(code, ServiceError)


_XML_CODE: Final = re.compile(rb"<Code>\s*([^<\s]{1,200})\s*</Code>")
_XML_MESSAGE: Final = re.compile(rb"<Message>([^<]{1,2000})</Message>")


def _error_in_body(body: bytes) -> tuple[str, str]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        named, said = _XML_CODE.search(body), _XML_MESSAGE.search(body)
        return (
            named[1].decode(errors="replace") if named else "",
            without_echo(said[1].decode(errors="replace")) if said else "",
        )
    if not isinstance(content, dict):
        return "", ""
    members = cast("Mapping[str, object]", content)
    if isinstance(error := members.get("Error"), dict):
        members = cast("Mapping[str, object]", error)
    code = _first_text(members, "__type", "code", "Code")
    return code, without_echo(_first_text(members, "message", "Message", "errorMessage"))


def _first_text(members: Mapping[str, object], *names: str) -> str:
    for name in names:
        value = members.get(name)
        if isinstance(value, str) and value:
            return value
    return ""


_CODE: Final = re.compile(r"[A-Za-z][\w.\-]{0,127}")


def _bare_code(code: str) -> str:
    """Strip the URI behind `:`, which may hold a `#`, and the namespace before `#`."""
    bare = code.strip().partition(":")[0].rpartition("#")[2]
    return bare if _CODE.fullmatch(bare) else ""


_MILLISECONDS: Final = re.compile(r"[0-9]{1,9}")


def _seconds(milliseconds: str) -> float | None:
    return int(milliseconds) / 1000 if _MILLISECONDS.fullmatch(milliseconds) else None


_ECHOES: Final = (("Value '", "' at '"), ("{", "}"))
_MAX_MESSAGE_CHARACTERS: Final = 500
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def without_echo(message: object) -> str:
    """
    Return a service's message without what it echoes of the request.

    A ValidationException repeats every Detail of the request, and messages are logged.
    """
    if not isinstance(message, str):
        return ""
    for opening, closing in _ECHOES:
        before, found, rest = message.partition(opening)
        if found:
            # From the first beginning to the last end; what begins behind that was cut off.
            after = rest.rpartition(closing)[2] if closing in rest else ""
            after, cut_off, _ = after.partition(opening)
            message = f"{before}{opening}…{closing}{after}{'…' if cut_off else ''}"
    if len(message) > _MAX_MESSAGE_CHARACTERS:
        message = message[:_MAX_MESSAGE_CHARACTERS] + "…"
    return _one_line(message)


def _one_line(text: str) -> str:
    """Return text that cannot pass for another line of a log."""
    return _CONTROL.sub(" ", text)


def _epoch_seconds(date: str | None) -> float | None:
    if not date:
        return None
    try:
        found = email.utils.parsedate_to_datetime(date)
        if found.tzinfo is None:
            found = found.replace(tzinfo=datetime.UTC)
        return found.timestamp()
    except (ValueError, OverflowError):
        return None
