"""
Writes an HTTP/1.1 request in one piece: one system call, one TLS record.

Without I/O, for transports whose library only provides connections.
"""

from __future__ import annotations

from collections.abc import Mapping

from eventbridge_partner.transports._faults import place_of


def request_head(url: str, *, names_all: bool = False) -> str:
    """
    Return the start of a request to a URL: its first line, and `Host`.

    Args:
        url: The URL.
        names_all: Whether the first line holds the whole URL, as a forwarding proxy needs it.

    Raises:
        ValueError: The URL is invalid.
    """
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise ValueError("the url has characters that are not allowed in a URL")
    path = url.partition("://")[2].partition("/")[2]
    return f"POST {url if names_all else f'/{path}'} HTTP/1.1\r\nHost: {place_of(url)}\r\n"


def encoded(head: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """
    Return the bytes of a request.

    Args:
        head: The result of `request_head`.
        headers: All other headers, including `Content-Length`.
        body: The body.

    Raises:
        ValueError: A header cannot be sent.
    """
    lines = "\r\n".join(header_lines(headers))
    return f"{head}{lines}\r\n\r\n".encode("latin-1") + body


def header_lines(headers: Mapping[str, str]) -> list[str]:
    """
    Return a line for each header.

    Raises:
        ValueError: A header holds a line break or a NUL.
    """
    lines = [f"{name}: {value}" for name, value in headers.items()]
    joined = "".join(lines)
    if "\r" in joined or "\n" in joined or "\0" in joined:
        raise ValueError("a header holds a line break or a NUL")
    return lines
