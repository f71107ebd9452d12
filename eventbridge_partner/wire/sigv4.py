"""
AWS Signature Version 4 for the one kind of request that this package sends.

A POST to `/` with a fixed set of headers needs little of a general signer: the signing key is
derived once a day, and the canonical request is one template. The tests compare it with botocore's
signer. Source: "Create a signed AWS API request" in the IAM user guide.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
from typing import Final

import attrs

_ALGORITHM: Final = "AWS4-HMAC-SHA256"


@attrs.frozen
class FrozenCredentials:
    """One set of credentials at one moment."""

    access_key: str = attrs.field(repr=False)
    secret_key: str = attrs.field(repr=False)
    token: str | None = attrs.field(repr=False, default=None)


class Signer:
    """
    Signs requests of one service in one Region, sent to one host.

    Thread-safe: each value that it remembers is replaced as a whole.
    """

    def __init__(self, *, service: str, region: str, host: str, content_type: str) -> None:
        self._service = service
        self._region = region
        self._host = host
        self._content_type = content_type
        self._remembered_timestamp = (0, "19700101T000000Z")
        self._remembered: tuple[str, str, hmac.HMAC] = ("", "", hmac.new(b"", digestmod="sha256"))

    def signed_headers(
        self,
        credentials: FrozenCredentials,
        *,
        target: str,
        body: bytes,
        invocation_id: str,
        attempt: str,
        epoch_seconds: float,
    ) -> dict[str, str]:
        """
        Return all headers of a signed request except `Host`, `Content-Length` and `User-Agent`.

        Args:
            credentials: The credentials to sign with.
            target: The value of `X-Amz-Target`.
            body: The request's body.
            invocation_id: The value of `amz-sdk-invocation-id`.
            attempt: The value of `amz-sdk-request`.
            epoch_seconds: The time of the signature, by the service's clock.
        """
        timestamp = self._timestamp(int(epoch_seconds))
        date = timestamp[:8]
        names = (
            "amz-sdk-invocation-id;amz-sdk-request;content-type;host;x-amz-date;"
            "x-amz-security-token;x-amz-target"
            if credentials.token
            else "amz-sdk-invocation-id;amz-sdk-request;content-type;host;x-amz-date;x-amz-target"
        )
        token_line = f"x-amz-security-token:{credentials.token}\n" if credentials.token else ""
        canonical_request = (
            f"POST\n/\n\namz-sdk-invocation-id:{invocation_id}\namz-sdk-request:{attempt}\n"
            f"content-type:{self._content_type}\nhost:{self._host}\nx-amz-date:{timestamp}\n"
            f"{token_line}x-amz-target:{target}\n\n{names}\n{hashlib.sha256(body).hexdigest()}"
        )
        scope = f"{date}/{self._region}/{self._service}/aws4_request"
        digest = hashlib.sha256(canonical_request.encode()).hexdigest()
        signature = self._day_key(credentials.secret_key, date).copy()
        signature.update(f"{_ALGORITHM}\n{timestamp}\n{scope}\n{digest}".encode())
        headers = {
            "Content-Type": self._content_type,
            "X-Amz-Target": target,
            "X-Amz-Date": timestamp,
            "amz-sdk-invocation-id": invocation_id,
            "amz-sdk-request": attempt,
            "Authorization": (
                f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, "
                f"SignedHeaders={names}, Signature={signature.hexdigest()}"
            ),
        }
        if credentials.token:
            headers["X-Amz-Security-Token"] = credentials.token
        return headers

    def _timestamp(self, second: int) -> str:
        remembered_second, timestamp = self._remembered_timestamp
        if remembered_second != second:
            now = datetime.datetime.fromtimestamp(second, datetime.UTC)
            timestamp = now.strftime("%Y%m%dT%H%M%SZ")
            self._remembered_timestamp = (second, timestamp)
        return timestamp

    def _day_key(self, secret_key: str, date: str) -> hmac.HMAC:
        """Return an HMAC keyed with the signing key of a day; copy it before use."""
        remembered_secret, remembered_date, keyed = self._remembered
        if remembered_secret == secret_key and remembered_date == date:
            return keyed
        key = f"AWS4{secret_key}".encode()
        for part in (date, self._region, self._service, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        keyed = hmac.new(key, digestmod="sha256")
        self._remembered = (secret_key, date, keyed)
        return keyed
