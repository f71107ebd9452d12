"""HTTP requests and responses as values, between those who make them and those who send them."""

from __future__ import annotations

from collections.abc import Mapping

import attrs


@attrs.frozen
class HttpRequest:
    """A POST, ready to go out: nothing is to be added but `Content-Length` and `Host`."""

    url: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=lambda body: f"<{len(body)} bytes>")


@attrs.frozen
class HttpResponse:
    """An answer that arrived whole; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=lambda body: f"<{len(body)} bytes>")


def _positive(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} is {value!r}; allowed: seconds above 0")


@attrs.frozen
class Timeouts:
    """
    How long one request may take, in seconds.

    Attributes:
        connect: To open a connection, TLS handshake included.
        read: From the request's last byte to the answer's last byte.
    """

    connect: float = attrs.field(default=5.0, validator=_positive)
    read: float = attrs.field(default=30.0, validator=_positive)

    def within(self, seconds: float) -> Timeouts:
        """Return these timeouts, each cut to at most `seconds` (and to a millisecond at least)."""
        if seconds >= self.connect and seconds >= self.read:
            return self
        bound = max(seconds, 0.001)
        return Timeouts(connect=min(self.connect, bound), read=min(self.read, bound))


MAX_ANSWER_BYTES = 1024 * 1024
"""How much of an answer is read; twenty results take less than a hundredth of this."""
