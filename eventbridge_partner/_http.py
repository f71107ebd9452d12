"""HTTP requests and responses as values, independent of the library that sends them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs


@attrs.frozen
class HttpRequest:
    """A signed POST: the transport adds nothing but `Content-Length` and `Host`."""

    url: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=lambda body: f"<{len(body)} bytes>")


@attrs.frozen
class HttpResponse:
    """A complete answer; its header names are in lower case."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=lambda body: f"<{len(body)} bytes>")


_LONGEST_TIMEOUT: Final = 1_000_000
"""Sockets wait in milliseconds, which do not hold much more."""


def _positive(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0 < value <= _LONGEST_TIMEOUT:
        allowed = f"allowed: seconds above 0, at most {_LONGEST_TIMEOUT:,}"
        raise ValueError(f"{attribute.name} is {value!r}; {allowed}")


@attrs.frozen
class Timeouts:
    """
    How long one request may take, in seconds.

    Attributes:
        connect: Opening a connection, TLS handshake included.
        read: From the request's first byte to the answer's last byte.
        total: Both together; None for the sum of the two.
    """

    connect: float = attrs.field(default=5.0, validator=_positive)
    read: float = attrs.field(default=30.0, validator=_positive)
    total: float | None = attrs.field(default=None, validator=attrs.validators.optional(_positive))

    def within(self, seconds: float) -> Timeouts:
        """Return these timeouts, cut to `seconds` in total (at least one millisecond)."""
        total = self.connect + self.read if self.total is None else self.total
        if seconds >= total:
            return self
        bound = max(seconds, 0.001)
        return Timeouts(min(self.connect, bound), min(self.read, bound), bound)


MAX_ANSWER_BYTES = 1024 * 1024
"""A longer answer is refused; twenty results take less than a hundredth of this."""
