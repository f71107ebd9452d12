"""
Heads of HTTP/1.1 requests, read as a strict server reads them, and heads of answers.

Where RFC 9112 leaves a choice, the request is refused: a request that passes here should pass at
AWS too. How AWS answers malformed HTTP is not documented; 400 is inferred.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import attrs

from eventbridge_partner.testing._rules import Refusal

MAX_HEAD_BYTES: Final = 64 * 1024
"""The most bytes of request line and headers; AWS accepts less."""

_END: Final = b"\r\n\r\n"
_BARE: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)(?!\Z)")
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET: Final = re.compile(r"/[\x21-\x7e]*")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_LENGTH: Final = re.compile("[0-9]{1,18}")
_ONCE: Final = frozenset(
    {
        "authorization",
        "content-length",
        "content-type",
        "date",
        "expect",
        "host",
        "origin",
        "x-amz-content-sha256",
        "x-amz-date",
        "x-amz-security-token",
        "x-amz-target",
    }
)
"""Headers that are not lists: of two, one would be ignored, or contradict the other."""


@attrs.frozen
class Head:
    """
    The head of a request.

    Attributes:
        method: As received.
        path: The path, with the query if there is one.
        headers: Names in lower case; values of list headers joined.
        keeps_alive: Whether the client wants to keep the connection.
        length: The length of the body in bytes.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    keeps_alive: bool
    length: int


class BadRequestError(Exception):
    """The received bytes are not an HTTP request that this server accepts."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.code)


def split_head(received: bytes) -> tuple[bytes, bytes] | None:
    """
    Return a head, without its end, and the bytes after it; None if the head is incomplete.

    Raises:
        BadRequestError: It is too long, or a line does not end with CR LF.
    """
    end = received.find(_END)
    head = received if end < 0 else received[:end]
    if _BARE.search(head):
        raise _bad_request("A line ends with a bare CR or LF.")
    if len(head) > MAX_HEAD_BYTES:
        raise BadRequestError(Refusal("RequestHeaderSectionTooLarge", "", 431))
    return None if end < 0 else (head, received[end + len(_END) :])


def parse_head(head: bytes) -> Head:
    """
    Read a head.

    Raises:
        BadRequestError: It is malformed, or asks for a feature that this server does not have.
    """
    first, *lines = head.decode("latin-1").removeprefix("\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise _bad_request("The request line is not one of HTTP/1.1.")
    method, path, version = words
    if not (_TOKEN.fullmatch(method) and _TARGET.fullmatch(path)):
        raise _bad_request("The request line needs a method, and a path that begins with /.")
    headers = _headers(lines)
    if version == "HTTP/1.1" and "host" not in headers:
        raise _bad_request("The Host header is missing.")
    if headers.get("expect", "100-continue").lower() != "100-continue":
        raise BadRequestError(Refusal("ExpectationFailed", "Allowed: Expect: 100-continue.", 417))
    wishes = {wish.strip() for wish in headers.get("connection", "").lower().split(",")}
    keeps_alive = "keep-alive" in wishes if version == "HTTP/1.0" else "close" not in wishes
    return Head(method, path, headers, keeps_alive, _length(method, headers))


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.fullmatch(name) or _CONTROL.search(value):
            raise _bad_request("A header line is malformed.")
        name, value = name.lower(), value.strip(" \t")
        if name in headers:
            if name in _ONCE:
                raise _bad_request(f"More than one {name} header.")
            value = f"{headers[name]},{value}"
        headers[name] = value
    return headers


def _length(method: str, headers: Mapping[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise BadRequestError(Refusal("MissingContentLength", "Chunked bodies are not read.", 411))
    length = headers.get("content-length")
    if length is None:
        if method == "POST":
            message = "Content-Length is required."
            raise BadRequestError(Refusal("MissingContentLength", message, 411))
        return 0
    if not _LENGTH.fullmatch(length):
        raise _bad_request("Content-Length is not a number of at most 18 digits.")
    return int(length)


def _bad_request(message: str) -> BadRequestError:
    return BadRequestError(Refusal("BadRequest", message, 400))


def answer_head(status: int, headers: Mapping[str, str], *, keeps_alive: bool) -> bytes:
    """Return the head of an answer; `headers` must define the end of its body."""
    lines = [f"HTTP/1.1 {status} {phrase(status)}"]
    lines += (f"{name}: {value}" for name, value in headers.items())
    lines += (f"Connection: {'keep-alive' if keeps_alive else 'close'}", "", "")
    return "\r\n".join(lines).encode("latin-1")


def phrase(status: int) -> str:
    """Return the reason phrase of an HTTP status, also of an unregistered one."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
