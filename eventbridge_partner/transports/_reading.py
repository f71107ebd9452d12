"""
Reads an HTTP/1.1 answer from the bytes of a connection, piece by piece.

Without I/O, for transports whose library only provides connections.
"""

from __future__ import annotations

import functools
import re
from typing import Final

from eventbridge_partner._http import MAX_ANSWER_BYTES, HttpResponse

_MAX_HEAD_BYTES: Final = 65536
_MAX_HEADERS: Final = 100  # as in http.client
_MAX_CHUNK_LINE_BYTES: Final = 1024

# No control characters except the tab, as in RFC 9110. That excludes a lone CR or LF.
_STATUS_LINE: Final = re.compile(r"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")
_FIELD: Final = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00-\x08\x0a-\x1f\x7f]*)")
_FOLDED: Final = re.compile(r"[ \t]([^\x00-\x08\x0a-\x1f\x7f]*)")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_OF_LENGTH: Final = frozenset({"content-length", "transfer-encoding"})
_WITHOUT_BODY: Final = frozenset({204, 304})
_SIZE_LINE: Final = 0
_TRAILERS: Final = -1


class GarbledAnswerError(Exception):
    """The bytes are not a valid or complete answer. The message never quotes them."""


class CutAnswerError(GarbledAnswerError):
    """The connection ended before the answer did."""


class AnswerReader:
    """
    Reads one answer, skipping interim answers before it.

    It is strict where RFC 9112 lets a reader choose: an ambiguous answer is refused.

    Args:
        to_connect: Whether it is a proxy's answer to CONNECT, which has no body.

    Attributes:
        ends_connection: Whether the connection must not be used again after the answer.
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_chunk",
        "_headers",
        "_headroom",
        "_length",
        "_searched",
        "_status",
        "_to_connect",
        "ends_connection",
    )

    def __init__(self, *, to_connect: bool = False) -> None:
        self.ends_connection = False
        self._to_connect = to_connect
        self._buffer = bytearray()
        # How many more bytes all but the body may take: interim answers, headers, trailers and
        # chunk extensions.
        self._headroom = _MAX_HEAD_BYTES
        self._searched = 0
        self._status = 0
        self._headers: dict[str, str] = {}
        # The length of the body; None if it ends with the connection, or is chunked.
        self._length: int | None = None
        # The size of the chunk that comes next; _SIZE_LINE or _TRAILERS if one of those comes
        # next; None if there are no chunks.
        self._chunk: int | None = None
        self._body = bytearray()

    def feed(self, data: bytes | memoryview) -> HttpResponse | None:
        """
        Take bytes that came; return the answer if it is complete.

        Raises:
            GarbledAnswerError: The bytes cannot become a valid answer.
        """
        buffer = self._buffer
        buffer += data
        if not self._status and not self._read_head(buffer):
            return None
        received, length = len(buffer), self._length
        if received == length:
            return HttpResponse(self._status, self._headers, bytes(buffer))
        if self._chunk is not None:
            return self._read_chunks(buffer)
        if length is None:
            _check_size(received)
            return None
        if received < length:
            return None
        self.ends_connection = True  # there are bytes after the answer
        return HttpResponse(self._status, self._headers, bytes(buffer[:length]))

    def end(self) -> HttpResponse:
        """
        Note that the connection has ended; return the answer if that is its end.

        Raises:
            CutAnswerError: The answer is incomplete.
        """
        self.ends_connection = True
        if not self._status:
            raise CutAnswerError("the connection was closed")
        if self._chunk is not None:
            raise CutAnswerError("it ended before its last chunk")
        if self._length is not None:
            found = f"it ended after {len(self._buffer)} of {self._length} bytes"
            raise CutAnswerError(found)
        return HttpResponse(self._status, self._headers, bytes(self._buffer))

    # ------------------------------------------------------------ the head

    def _read_head(self, buffer: bytearray) -> bool:
        """Read the lines before the body, if all of them have come."""
        while True:
            end = buffer.find(b"\r\n\r\n", self._searched)
            if end < 0:
                self._check_headroom(len(buffer))
                if b"\n\n" in buffer:
                    raise GarbledAnswerError("it has an invalid line ending")
                self._searched = max(0, len(buffer) - 3)
                return False
            self._take_headroom(end + 4)
            lines = buffer[:end].decode("latin-1").split("\r\n")
            del buffer[: end + 4]
            self._searched = 0
            status_line = _STATUS_LINE.fullmatch(lines[0])
            if status_line is None:
                raise GarbledAnswerError("it is not HTTP/1.1")
            status = int(status_line[2])
            headers = _read_headers(lines)
            if status >= 200:
                break
            if status == 101:
                raise GarbledAnswerError("it changes the protocol")
            if not headers.keys().isdisjoint(_OF_LENGTH):
                raise GarbledAnswerError("it has an interim answer with a body")
        self._headers = headers
        self._status = status
        is_old = status_line[1] == "0"
        if is_old or "close" in headers.get("connection", "").lower():
            self.ends_connection = True
        if self._to_connect:
            self._length = 0
        else:
            self._find_end(headers, is_old=is_old)
        return True

    def _find_end(self, headers: dict[str, str], *, is_old: bool) -> None:
        """Find where the body ends, from the headers."""
        coding = headers.get("transfer-encoding")
        length = headers.get("content-length")
        if coding is not None:
            if coding.lower() != "chunked" or is_old:
                raise GarbledAnswerError("it has an unknown transfer encoding")
            if length is not None:
                raise GarbledAnswerError("it has two lengths")
            self._chunk = _SIZE_LINE
        elif length is not None:
            if not _LENGTH.fullmatch(length):
                raise GarbledAnswerError("it has a length that is not a number")
            self._length = int(length)
        if self._status in _WITHOUT_BODY:
            self._length, self._chunk = 0, None
        elif self._length is not None:
            _check_size(self._length)
        elif self._chunk is None:
            self.ends_connection = True

    def _check_headroom(self, size: int) -> None:
        if size > self._headroom:
            raise GarbledAnswerError("it has too many or too long headers")

    def _take_headroom(self, size: int) -> None:
        self._check_headroom(size)
        self._headroom -= size

    # ------------------------------------------------------------ the body

    def _read_chunks(self, buffer: bytearray) -> HttpResponse | None:
        while True:
            if self._chunk in (_SIZE_LINE, _TRAILERS):
                line = self._read_line()
                if line is None:
                    return None
                if self._chunk == _SIZE_LINE:
                    size = _CHUNK_SIZE.fullmatch(line)
                    if size is None:
                        raise GarbledAnswerError("it has a chunk without a size")
                    self._take_headroom(len(line) - len(size[1]))
                    self._chunk = int(size[1], 16) or _TRAILERS
                    _check_size(len(self._body) + self._chunk)
                elif line:
                    self._take_headroom(len(line) + 2)
                    trailer = _read_headers(["", line.decode("latin-1")])
                    if not trailer.keys().isdisjoint(_OF_LENGTH):
                        raise GarbledAnswerError("it has two lengths")
                else:
                    self.ends_connection = self.ends_connection or bool(buffer)
                    return HttpResponse(self._status, self._headers, bytes(self._body))
            else:
                end = self._chunk or 0
                if len(buffer) < end + 2:
                    return None
                if not buffer.startswith(b"\r\n", end):
                    raise GarbledAnswerError("it has a chunk of the wrong size")
                self._body += buffer[:end]
                del buffer[: end + 2]
                self._chunk = _SIZE_LINE

    def _read_line(self) -> bytes | None:
        """Read a line, if it is complete."""
        end = self._buffer.find(b"\r\n", 0, _MAX_CHUNK_LINE_BYTES)
        if end < 0:
            if len(self._buffer) >= _MAX_CHUNK_LINE_BYTES:
                raise GarbledAnswerError("it has a chunk without a size")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line


def _read_headers(lines: list[str]) -> dict[str, str]:
    """Read the headers after the status line; names in lower case."""
    if len(lines) > _MAX_HEADERS + 1:
        raise GarbledAnswerError("it has too many or too long headers")
    headers: dict[str, str] = {}
    last = ""
    for line in lines[1:]:
        field = _read_field(line)
        if field is None and last and (folded := _FOLDED.fullmatch(line)) is not None:
            headers[last] = " ".join([headers[last], folded[1].strip(" \t")]).strip(" ")
            continue
        if field is None:
            raise GarbledAnswerError("it has an invalid header")
        last, value = field
        if last in headers and (
            last == "transfer-encoding" or (last == "content-length" and headers[last] != value)
        ):
            raise GarbledAnswerError("it has two lengths")
        headers[last] = value
    return headers


@functools.lru_cache(maxsize=64)  # most headers of a service's answers are the same
def _read_field(line: str) -> tuple[str, str] | None:
    """Read a header's name, in lower case, and its value; None if the line is not a header."""
    field = _FIELD.fullmatch(line)
    return None if field is None else (field[1].lower(), field[2].strip(" \t"))


def _check_size(size: int) -> None:
    if size > MAX_ANSWER_BYTES:
        raise GarbledAnswerError(f"it has more than {MAX_ANSWER_BYTES} bytes")
