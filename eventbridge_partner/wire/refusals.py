"""Reads refusals of the service, its gateways and proxies as errors."""

from __future__ import annotations

import datetime
import email.utils
import re
from collections.abc import Mapping
from typing import Final, cast

import orjson

from eventbridge_partner import error_codes
from eventbridge_partner._foreign_text import escaped
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
)


def read_error(response: HttpResponse) -> ServiceError:
    """Read a refusal in any form that AWS's services, their gateways and proxies use."""
    headers = response.headers
    code, message = _error_in_body(response.body)
    code = _bare_code(headers.get("x-amzn-errortype", "")) or _bare_code(code)
    request_id = headers.get("x-amzn-requestid") or headers.get("x-amz-request-id")
    return _error_class(response.status, code, message)(
        code or f"HTTP {response.status}",
        message or f"the answer was HTTP {response.status} with {len(response.body)} bytes",
        status=response.status,
        request_id=escaped(request_id, _MAX_ID_CHARACTERS) if request_id else None,
        retry_after=_seconds(headers.get("x-amz-retry-after", "")),
        server_time=_epoch_seconds(headers.get("date")),
        # A gateway that gave up does not know what happened to the request behind it.
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


# Not compiled before there is a refusal: at a start, each pattern counts.
_XML_CODE: Final = rb"<Code>\s*([^<\s]{1,200})\s*</Code>"


_XML_MESSAGE: Final = rb"<Message>([^<]{1,2000})</Message>"


def _error_in_body(body: bytes) -> tuple[str, str]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        named, said = re.search(_XML_CODE, body), re.search(_XML_MESSAGE, body)
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


_CODE: Final = r"[A-Za-z][\w.\-]{0,127}"


def _bare_code(code: str) -> str:
    """Strip the URI after `:`, which may hold a `#`, and the namespace before `#`."""
    bare = code.strip().partition(":")[0].rpartition("#")[2]
    return bare if re.fullmatch(_CODE, bare) else ""


_MILLISECONDS: Final = r"[0-9]{1,9}"


def _seconds(milliseconds: str) -> float | None:
    return int(milliseconds) / 1000 if re.fullmatch(_MILLISECONDS, milliseconds) else None


_ECHOES: Final = (("Value '", "' at '"), ("{", "}"))


_WHAT_WAS_SIGNED: Final = "The Canonical String"
"""The start of what an InvalidSignatureException repeats: "… for this request should have been"."""

_MAX_MESSAGE_CHARACTERS: Final = 500
_MAX_ID_CHARACTERS: Final = 200


def without_echo(message: object) -> str:
    """
    Return a service's message without the parts that echo the request.

    Messages are logged, but a ValidationException repeats each Detail of the request, and an
    InvalidSignatureException the signed text with the session token.
    """
    if not isinstance(message, str):
        return ""
    message, signed, _ = message.partition(_WHAT_WAS_SIGNED)
    message += f"{signed} …" if signed else ""
    for opening, closing in _ECHOES:
        before, found, rest = message.partition(opening)
        if found:
            # Cut from the first opening to the last closing; an opening after that was cut off.
            after = rest.rpartition(closing)[2] if closing in rest else ""
            after, cut_off, _ = after.partition(opening)
            message = f"{before}{opening}…{closing}{after}{'…' if cut_off else ''}"
    return escaped(message, _MAX_MESSAGE_CHARACTERS)


def _epoch_seconds(date: str | None) -> float | None:
    if not date:
        return None
    try:
        return read_http_date(date).timestamp()
    except (ValueError, OverflowError):
        return None


def read_http_date(date: str) -> datetime.datetime:
    """
    Read a date as HTTP writes it: `Sun, 25 Jan 2015 08:00:00 GMT`.

    Raises:
        ValueError: It is not such a date.
        OverflowError: It is outside the calendar's range.
    """
    found = email.utils.parsedate_to_datetime(date)
    return found.replace(tzinfo=datetime.UTC) if found.tzinfo is None else found
