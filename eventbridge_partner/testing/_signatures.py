"""
Verifies signatures: botocore's own SigV4 signer computes them again.

The codes and messages are those of AWS's JSON services. The Common Errors page gives status 403
for some of them; recorded answers have 400.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast

import attrs

from eventbridge_partner.testing._rules import Refusal

if TYPE_CHECKING:
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

MAX_SKEW: Final = 300
"""The most seconds between the time of a signature and the service's clock."""

_STAMP_FORM: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z")

_PARAMETERS: Final = ("Credential", "Signature", "SignedHeaders")

NO_SIGNATURE: Final = Refusal("MissingAuthenticationTokenException", "Missing Authentication Token")
UNKNOWN: Final = Refusal(
    "UnrecognizedClientException", "The security token included in the request is invalid."
)
MISMATCH: Final = Refusal(
    "InvalidSignatureException",
    "The request signature we calculated does not match the signature you provided. Check your "
    "AWS Secret Access Key and signing method. Consult the service documentation for details.",
)


@attrs.frozen
class Signed:
    """
    A request's claim of who signed it and when. Empty except `problem` if it is not signed.

    Attributes:
        access_key_id: Empty if the request names none.
        token: The session token; empty if there is none.
        scope: The rest of the credential: date, Region, service, terminator.
        names: The names of the signed headers.
        signature: In hexadecimal.
        time: The signing time, epoch seconds; None if it is missing.
        stamp: The signing time as signed: `20260131T235959Z`.
        problem: Why it cannot be read; None if it can.
    """

    access_key_id: str = ""
    token: str = attrs.field(default="", repr=False)
    scope: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    signature: str = attrs.field(default="", repr=False)
    time: float | None = None
    stamp: str = ""
    problem: Refusal | None = None


def read_signature(headers: Mapping[str, str]) -> Signed:
    """Read the signature in a request's headers, whose names are in lower case."""
    token = headers.get("x-amz-security-token", "")
    time, stamp = _signing_time(headers)
    authorization = headers.get("authorization")
    if not authorization:
        return Signed(token=token, time=time, stamp=stamp, problem=NO_SIGNATURE)
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != "AWS4-HMAC-SHA256":
        problem = _incomplete(f"Unsupported AWS 'algorithm': '{algorithm}'.")
        return Signed(token=token, time=time, stamp=stamp, problem=problem)
    given, malformed = _parameters(rest)
    if malformed:
        return Signed(token=token, time=time, stamp=stamp, problem=_incomplete(malformed))
    access_key_id, *scope = given.get("Credential", "").split("/")
    missing = [
        f"Authorization header requires '{name}' parameter."
        for name in _PARAMETERS
        if not given.get(name)
    ]
    if time is None:
        missing.append("Authorization header requires existence of either a 'X-Amz-Date' header.")
    return Signed(
        access_key_id=access_key_id,
        token=token,
        scope=tuple(scope),
        names=tuple(given.get("SignedHeaders", "").split(";")),
        signature=given.get("Signature", ""),
        time=time,
        stamp=stamp,
        problem=_incomplete(" ".join(missing)) if missing else None,
    )


def verify(
    signed: Signed,
    credentials: Credentials | None,
    region: str,
    *,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
) -> Refusal | None:
    """
    Return why a signature is invalid; None if it is valid. `skew` checks its time.

    Args:
        signed: The result of `read_signature` for these headers.
        credentials: The credentials of the access key; None if it is unknown.
        region: The Region of the service.
        method: As received.
        path: As received, with the query.
        headers: As received, with names in lower case.
        body: As received.
    """
    if signed.problem is not None:
        return signed.problem
    if credentials is None or signed.token != (credentials.token or ""):
        return UNKNOWN
    if problem := _scope_problem(signed, region):
        return _bad_signature(problem)
    if list(signed.names) != sorted({name.lower() for name in signed.names}):
        # User guide, "Create a signed AWS API request": lower case, in order. AWS's answer to
        # other names is inferred.
        return _bad_signature("SignedHeaders are not distinct names in lower case, in order.")
    if "host" not in signed.names:
        return _bad_signature("'Host' must be a 'SignedHeader' in the AWS Authorization.")
    unsigned = [name for name in headers if name.startswith("x-amz-") and name not in signed.names]
    if unsigned:
        return _bad_signature(
            f"There were headers present in the request which were not signed: {sorted(unsigned)}"
        )
    if not all(name in headers for name in signed.names):
        return MISMATCH
    expected = _botocore_signature(
        credentials, region, signed.names, signed.stamp, method, path, headers, body
    )
    return None if expected == signed.signature else MISMATCH


def skew(signed: Signed, now: float) -> Refusal | None:
    """Return why the time of a signature is not acceptable; None if it is."""
    if signed.time is None or abs(now - signed.time) <= MAX_SKEW:
        return None
    clock = _stamp(now)
    if signed.time < now:
        bound = _stamp(now - MAX_SKEW)
        return _bad_signature(
            f"Signature expired: {signed.stamp} is now earlier than {bound} ({clock} - 5 min.)"
        )
    bound = _stamp(now + MAX_SKEW)
    return _bad_signature(
        f"Signature not yet current: {signed.stamp} is still later than {bound} ({clock} + 5 min.)"
    )


def _stamp(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y%m%dT%H%M%SZ")


def _incomplete(message: str) -> Refusal:
    return Refusal("IncompleteSignatureException", message)


def _bad_signature(message: str) -> Refusal:
    return Refusal("InvalidSignatureException", message)


def _parameters(text: str) -> tuple[dict[str, str], str]:
    """
    Return the parameters of an Authorization header, and what is wrong with them.

    AWS's answers to unknown and to repeated parameters are not recorded.
    """
    given: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals:
            return {}, "Authorization header holds a part that is not a valid key=value pair."
        if name not in _PARAMETERS:
            return {}, "Authorization header holds a parameter that is not known."
        if name in given:
            return {}, f"Authorization header holds more than one '{name}' parameter."
        given[name] = value
    return given, ""


def _signing_time(headers: Mapping[str, str]) -> tuple[float | None, str]:
    stamp = headers.get("x-amz-date", "")
    try:
        if stamp:
            # Several times as fast as strptime, but accepts more formats.
            if not _STAMP_FORM.fullmatch(stamp):
                return None, ""
            return datetime.fromisoformat(stamp).timestamp(), stamp
        if "date" in headers:
            # SigV4 allows the Date header in place of X-Amz-Date.
            time = parsedate_to_datetime(headers["date"]).timestamp()
            return time, _stamp(time)
    except (ValueError, OverflowError):
        pass
    return None, ""


def _scope_problem(signed: Signed, region: str) -> str | None:
    match signed.scope:
        case (date, _, _, _) if date != signed.stamp[:8]:
            return "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date."
        case (_, wrong, _, _) if wrong != region:
            return f"Credential should be scoped to a valid region, not '{wrong}'."
        case (_, _, wrong, _) if wrong != "events":
            return "Credential should be scoped to correct service: 'events'."
        case (_, _, _, "aws4_request"):
            return None
        case _:
            return "Credential should be scoped with a valid terminator: 'aws4_request'."


class _SignedHeaders(dict[str, str]):
    """The interface of botocore's headers that its canonical form uses."""

    def get_all(self, name: str) -> list[str]:
        return [self[name]]


@cache
def _signer_class() -> Any:
    """Make the class on first use: importing botocore takes longer than all of this package."""
    from botocore.auth import SigV4Auth

    class Recomputing(SigV4Auth):
        """Signs the headers that the client signed, rather than botocore's choice."""

        def headers_to_sign(self, request: AWSRequest) -> Any:
            return request.context["signed_headers"]

    return Recomputing


def _botocore_signature(
    credentials: Credentials,
    region: str,
    names: tuple[str, ...],
    stamp: str,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
) -> str:
    from botocore.awsrequest import AWSRequest

    # Without the client's headers, so that the body is hashed even if the client sent an
    # `X-Amz-Content-SHA256` with a claimed hash.
    request = AWSRequest(method=method, url=f"http://host{path}", data=body)
    request.context["timestamp"] = stamp
    request.context["signed_headers"] = _SignedHeaders({name: headers[name] for name in names})
    signer = _signer_class()(credentials, "events", region)
    to_sign = signer.string_to_sign(request, signer.canonical_request(request))
    return cast("str", signer.signature(to_sign, request))
