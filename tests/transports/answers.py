"""Odd answers, and how every transport must treat them."""

from __future__ import annotations

from eventbridge_partner._http import MAX_ANSWER_BYTES


def head(*lines: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", b""])


def chunked(rest: bytes) -> bytes:
    return head(b"Transfer-Encoding: chunked") + rest


READ: dict[str, tuple[bytes, bytes]] = {
    "a length": (head(b"Content-Length: 2") + b"{}", b"{}"),
    "the same length twice": (head(b"Content-Length: 2", b"content-length: 2") + b"{}", b"{}"),
    "chunks": (chunked(b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"), b"{}"),
    "chunks with extensions": (chunked(b"2;a=b \r\n{}\r\n0;c\r\n\r\n"), b"{}"),
    "chunks with trailers": (chunked(b"2\r\n{}\r\n0\r\nX-Trailer: 1\r\n\r\n"), b"{}"),
    "a chunk with zeros before its size": (chunked(b"0002\r\n{}\r\n000\r\n\r\n"), b"{}"),
    "chunks in capitals": (head(b"TRANSFER-ENCODING: Chunked") + b"2\r\n{}\r\n0\r\n\r\n", b"{}"),
    "until the end": (head(b"X-A: 1") + b"{}", b"{}"),
    "no header at all": (head() + b"{}", b"{}"),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
    "chunks in a folded header": (
        head(b"Transfer-Encoding:", b" chunked") + b"2\r\n{}\r\n0\r\n\r\n",
        b"{}",
    ),
    "a folded header": (head(b"X-A: 1", b"  2", b"Content-Length: 2") + b"{}", b"{}"),
    "an interim answer": (
        b"HTTP/1.1 103 Hints\r\nLink: </>\r\n\r\n" + head(b"Content-Length: 2") + b"{}",
        b"{}",
    ),
    "more than an answer": (
        head(b"Content-Length: 2") + b"{}" + head(b"Content-Length: 2") + b"[]",
        b"{}",
    ),
    "more than its chunks": (chunked(b"2\r\n{}\r\n0\r\n\r\nmore"), b"{}"),
    "204 with a length": (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", b""),
}
"""Answers that must be read, with their bodies."""

REFUSED: dict[str, bytes] = {
    "nothing": b"",
    "no HTTP": b"this is no HTTP\r\n\r\n",
    "HTTP 0.9": b"{}",
    "HTTP/2": b"HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "HTTP/3.1": b"HTTP/3.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "another protocol": b"RTSP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a status with a sign": b"HTTP/1.1 +20 OK\r\nContent-Length: 2\r\n\r\n{}",
    "status 000": b"HTTP/1.1 000 OK\r\nContent-Length: 2\r\n\r\n{}",
    "two spaces before the status": b"HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "another protocol asked for": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
    "cut in a header": b"HTTP/1.1 200 OK\r\nContent-Le",
    "cut behind a header": b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\n",
    "an interim answer with a length": b"HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\n{}",
    "an interim answer with chunks": b"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    + head(b"Content-Length: 2")
    + b"{}",
    "an interim answer with a bad header": b"HTTP/1.1 100 Continue\r\nbad\r\n\r\n"
    + head(b"Content-Length: 2")
    + b"{}",
    "only interim": b"HTTP/1.1 100 Continue\r\n\r\n",
    "cut behind an interim one": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n",
    "shorter than it says": head(b"Content-Length: 10") + b"{}",
    "a length with a sign": head(b"Content-Length: +2") + b"{}",
    "a negative length": head(b"Content-Length: -2") + b"{}",
    "a length with an underscore": head(b"Content-Length: 0_2") + b"{}",
    "a length in hexadecimals": head(b"Content-Length: 0x2") + b"{}",
    "a length with a fraction": head(b"Content-Length: 2.0") + b"{}",
    "a length of other digits": head("Content-Length: ²".encode("latin-1")) + b"{}",
    "an empty length": head(b"Content-Length:") + b"{}",
    "a length without end": head(b"Content-Length: " + b"9" * 30) + b"{}",
    "two lengths": head(b"Content-Length: 2", b"Content-Length: 4") + b"{}[]",
    "two lengths in one": head(b"Content-Length: 2, 4") + b"{}[]",
    "the same length twice in one": head(b"Content-Length: 2, 2") + b"{}",
    "a folded length": head(b"Content-Length: 1", b" 0") + b"0123456789",
    "a length and chunks": head(b"Content-Length: 2", b"Transfer-Encoding: chunked")
    + b"2\r\n{}\r\n0\r\n\r\n",
    "chunks and a length": head(b"Transfer-Encoding: chunked", b"Content-Length: 12")
    + b"2\r\n{}\r\n0\r\n\r\n",
    "a coding that is nearly chunks": head(b"Transfer-Encoding: xchunked")
    + b"2\r\n{}\r\n0\r\n\r\n",
    "another coding": head(b"Transfer-Encoding: gzip") + b"{}",
    "another coding before chunks": head(b"Transfer-Encoding: gzip, chunked")
    + b"2\r\n{}\r\n0\r\n\r\n",
    "another coding behind chunks": head(b"Transfer-Encoding: chunked, gzip")
    + b"2\r\n{}\r\n0\r\n\r\n",
    "chunks twice": head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked")
    + b"2\r\n{}\r\n0\r\n\r\n",
    "no coding": head(b"Transfer-Encoding: identity") + b"{}",
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "a chunk that is cut": chunked(b"5\r\n{}"),
    "cut between chunks": chunked(b"2\r\n{}\r\n"),
    "cut before the end of the last chunk": chunked(b"2\r\n{}\r\n0\r\n"),
    "a chunk without a size": chunked(b"zz\r\n{}\r\n0\r\n\r\n"),
    "a chunk with an empty size": chunked(b"\r\n{}\r\n0\r\n\r\n"),
    "a chunk with a prefix": chunked(b"0x2\r\n{}\r\n0\r\n\r\n"),
    "a chunk with a sign": chunked(b"+2\r\n{}\r\n0\r\n\r\n"),
    "a chunk with a negative size": chunked(b"-2\r\n{}\r\n0\r\n\r\n"),
    "a chunk with an underscore": chunked(b"0_2\r\n{}\r\n0\r\n\r\n"),
    "a chunk with a space before its size": chunked(b" 2\r\n{}\r\n0\r\n\r\n"),
    "a chunk with words behind its size": chunked(b"2 is it\r\n{}\r\n0\r\n\r\n"),
    "a chunk that is longer than it says": chunked(b"1\r\n{}\r\n0\r\n\r\n"),
    "a chunk that is shorter than it says": chunked(b"3\r\n{}\r\n0\r\n\r\n"),
    "a chunk with another end": chunked(b"2\r\n{}XX0\r\n\r\n"),
    "a chunk with half an end": chunked(b"2\r\n{}\n0\r\n\r\n"),
    "a size with half an end": chunked(b"2\n{}\r\n0\r\n\r\n"),
    "a size without end": chunked(b"2" + b" " * 100_000 + b"\r\n{}\r\n0\r\n\r\n"),
    "an extension without end": chunked(b"2;" + b"a" * 100_000 + b"\r\n{}\r\n0\r\n\r\n"),
    "a size beyond all": chunked(b"fffffffffffffffff2\r\n{}\r\n0\r\n\r\n"),
    "a length in the trailers": chunked(b"2\r\n{}\r\n0\r\nContent-Length: 2\r\n\r\n"),
    "a trailer that is none": chunked(b"2\r\n{}\r\n0\r\nno trailer\r\n\r\n"),
    "trailers without end": chunked(b"2\r\n{}\r\n0\r\n" + b"X-A: 1\r\n" * 60_000 + b"\r\n"),
    "a header without a colon": head(b"no colon here", b"Content-Length: 2") + b"{}",
    "a header without a name": head(b": 1", b"Content-Length: 2") + b"{}",
    "a header with a space in its name": head(b"X A: 1", b"Content-Length: 2") + b"{}",
    "a space behind a name": head(b"Content-Length : 2") + b"{}",
    "a header that begins as a folded one": head(b" X-A: 1", b"Content-Length: 2") + b"{}",
    "a NUL in a header": head(b"X-A: 1\x002", b"Content-Length: 2") + b"{}",
    "a lone carriage return": head(b"X-A: 1\rContent-Length: 4", b"Content-Length: 2") + b"{}",
    "lines with half an end": b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
    "one line with half an end": b"HTTP/1.1 200 OK\r\nX-A: 1\nContent-Length: 2\r\n\r\n{}",
    "headers without end": head(*[b"X-A: 1"] * 100_000),
    "more headers than anybody sends": head(*[b"X-A: 1"] * 101, b"Content-Length: 2") + b"{}",
    "a header without end": head(b"X-A: " + b"1" * 400_000),
    "interim answers without end": b"HTTP/1.1 100 Continue\r\n\r\n" * 40_000,
    "a length beyond the bound": head(b"Content-Length: %d" % (MAX_ANSWER_BYTES + 1)) + b"{}",
}
"""Answers that are invalid, or that two readers could understand differently."""
