"""A request as received: everything that does not depend on the service's state."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs

from eventbridge_partner.testing import _rules, _signatures, _source_operations
from eventbridge_partner.testing._faults import PUT_OPERATION, SOURCE_OPERATIONS
from eventbridge_partner.testing._rules import Reading, Refusal

if TYPE_CHECKING:
    from botocore.credentials import Credentials

TARGET_PREFIX: Final = "AWSEvents"
"""Model: targetPrefix."""

CONTENT_TYPE: Final = "application/x-amz-json-1.1"
"""Model: protocol json, jsonVersion 1.1."""

_SECRET_HEADERS: Final = frozenset(
    {"authorization", "x-amz-security-token", "cookie", "proxy-authorization"}
)


@attrs.frozen
class Received:
    """
    A request, and its problems.

    Attributes:
        operation: The operation, from `X-Amz-Target`; empty if there is none.
        headers: Names in lower case, without those that hold credentials.
        reading: The parsed body.
        signed: Who signed it and when.
        protocol_problem: Why it is not a call of a known operation; None if it is.
        signature_problem: Why its signature is invalid; None if it is valid or not verified.
        body_size: Bytes of the body.
    """

    operation: str
    headers: Mapping[str, str]
    reading: Reading
    signed: _signatures.Signed
    protocol_problem: Refusal | None = None
    signature_problem: Refusal | None = None
    body_size: int = 0


class Receiver:
    """
    Reads requests.

    Args:
        region: The Region that they must be signed for.
        max_request_bytes: The total size of a request's entries must be below this.
        known: Returns the credentials that belong to an access key ID; None if the service does
            not know it.
        verifies: Whether signatures are verified.
    """

    def __init__(
        self,
        region: str,
        max_request_bytes: int,
        known: Callable[[str], Credentials | None],
        *,
        verifies: bool,
    ) -> None:
        self._region = region
        self._known = known
        self._verifies = verifies
        # By operation: a function that reads and checks a body.
        self._readers: Mapping[str, Callable[[bytes], Reading]] = {
            PUT_OPERATION: lambda body: _rules.read_put_partner_events(body, max_request_bytes),
            **{name: partial(_source_operations.read, name) for name in SOURCE_OPERATIONS},
        }

    def read(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Received:
        """
        Read a request.

        Args:
            method: The HTTP method.
            path: The path, with the query if there is one.
            headers: As received; names in any case.
            body: As received.
        """
        names = {name.lower(): value for name, value in headers.items()}
        operation, problem = self._operation(method, path, names)
        reader = self._readers.get(operation)
        reading = reader(body) if reader and problem is None else Reading(())
        signed = _signatures.read_signature(names)
        signature_problem = None
        if self._verifies:
            signature_problem = _signatures.verify(
                signed,
                self._known(signed.access_key_id),
                self._region,
                method=method,
                path=path,
                headers=names,
                body=body,
            )
        return Received(
            operation,
            _showable(names),
            reading,
            signed,
            problem,
            signature_problem,
            len(body),
        )

    def read_unsigned(self, entry: Mapping[str, Any]) -> Received:
        """Read a request with one entry that comes from this machine and needs no signature."""
        body = json.dumps({"Entries": [entry]}).encode()
        reading = self._readers[PUT_OPERATION](body)
        return Received(PUT_OPERATION, {}, reading, _signatures.Signed(), body_size=len(body))

    def _operation(
        self, method: str, path: str, headers: Mapping[str, str]
    ) -> tuple[str, Refusal | None]:
        prefix, _, operation = headers.get("x-amz-target", "").partition(".")
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if method != "POST" or path != "/":
            return operation, _unknown_operation(status=404)
        if (
            prefix != TARGET_PREFIX
            or operation not in self._readers
            or content_type != CONTENT_TYPE
        ):
            return operation, _unknown_operation()
        return operation, None


def unread(headers: Mapping[str, str]) -> Received:
    """Return a request whose body was not read."""
    names = {name.lower(): value for name, value in headers.items()}
    operation = names.get("x-amz-target", "").partition(".")[2]
    return Received(operation, _showable(names), Reading(()), _signatures.Signed())


def _showable(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name: value for name, value in headers.items() if name not in _SECRET_HEADERS}


def _unknown_operation(status: int = 400) -> Refusal:
    return Refusal("UnknownOperationException", "The operation is not known.", status)
