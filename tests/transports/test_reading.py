"""Answers are read from bytes that arrive in any pieces."""

from __future__ import annotations

import http.client
import io
import socket
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbridge_partner._http import MAX_ANSWER_BYTES, HttpResponse
from eventbridge_partner.transports._reading import AnswerReader, GarbledAnswerError
from tests.transports.answers import REFUSED, head

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Amzn-RequestId: 7\r\n\r\n{}"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"1\r\n{\r\n5;name=value\r\n\r\n\r\n}\r\n0\r\nX-Trailer: 1\r\n\r\n"
)
UNTIL_THE_END = b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n{}"


def read(*pieces: bytes) -> tuple[HttpResponse | None, AnswerReader]:
    """Feed the pieces to a reader; return its answer, and the reader."""
    reader = AnswerReader()
    answers = [answer for piece in pieces if (answer := reader.feed(piece)) is not None]
    return (answers[0] if answers else None), reader


def read_to_end(*pieces: bytes) -> HttpResponse:
    """Feed the pieces to a reader, then the end of the connection; return its answer."""
    answer, reader = read(*pieces)
    return answer or reader.end()


def test_an_answer_is_complete_with_its_last_byte() -> None:
    """An answer has status, headers in lower case and body, and the connection stays usable."""
    reader = AnswerReader()

    assert reader.feed(OK[:-1]) is None
    answer = reader.feed(OK[-1:])

    assert answer == HttpResponse(200, {"content-length": "2", "x-amzn-requestid": "7"}, b"{}")
    assert not reader.ends_connection


@given(st.sampled_from([OK, CHUNKED]), st.data())
def test_an_answer_may_come_in_any_pieces(answer: bytes, data: Any) -> None:
    """An answer is the same, wherever the network cuts it."""
    cuts = sorted(data.draw(st.sets(st.integers(1, len(answer) - 1))))
    pieces = [answer[i:j] for i, j in zip([0, *cuts], [*cuts, len(answer)], strict=True)]

    found, reader = read(*pieces)

    assert found == read(answer)[0] is not None
    assert not reader.ends_connection


def test_chunks_are_put_together() -> None:
    """Chunks are joined; extensions and trailers are ignored."""
    answer, reader = read(CHUNKED)
    assert answer is not None
    assert answer.body == b"{\r\n\r\n}"
    assert not reader.ends_connection


def test_an_answer_without_length_ends_with_its_connection() -> None:
    """An answer without a length ends with its connection, which then carries nothing else."""
    answer, reader = read(UNTIL_THE_END)
    assert answer is None
    assert reader.end().body == b"{}"
    assert reader.ends_connection


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: Close\r\n\r\n{}", b"{}"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
        (OK + b"HTTP/1.1 200 OK\r\n", b"{}"),
        (CHUNKED + b"x", b"{\r\n\r\n}"),
    ],
    ids=["close", "HTTP/1.0", "more than an answer", "more than the chunks"],
)
def test_a_connection_that_may_be_out_of_step_is_not_reused(answer: bytes, body: bytes) -> None:
    """A connection is not reused if the next answer on it could be mistaken."""
    found, reader = read(answer)
    assert found is not None
    assert found.body == body
    assert reader.ends_connection


@pytest.mark.parametrize("status", [204, 304])
def test_some_answers_have_no_body(status: int) -> None:
    """Answers with status 204 or 304 have no body, whatever their headers say."""
    answer, _ = read(f"HTTP/1.1 {status} x\r\nContent-Length: 5\r\n\r\n".encode())
    assert answer is not None
    assert answer.body == b""


@pytest.mark.parametrize("line", ["100 Continue", "102 Processing", "103 Early Hints"])
def test_interim_answers_are_skipped(line: str) -> None:
    """Interim answers are skipped until the final one comes."""
    interim = f"HTTP/1.1 {line}\r\nLink: </>\r\n\r\n".encode()
    assert read(interim, interim + OK[:5], OK[5:])[0] == read(OK)[0]


def test_folded_headers_are_one() -> None:
    """A folded header, as old servers send it, is joined to one line."""
    answer, _ = read(OK.replace(b"X-Amzn-RequestId: 7", b"X-A: 1\r\n  2\r\n\t3"))
    assert answer is not None
    assert answer.headers["x-a"] == "1 2 3"


@pytest.mark.parametrize("garbled", REFUSED.values(), ids=list(REFUSED))
def test_invalid_answers_are_refused(garbled: bytes) -> None:
    """An invalid answer is refused instead of guessed at, and its error repeats no header."""
    with pytest.raises(GarbledAnswerError) as caught:
        read_to_end(garbled)
    assert "X-A" not in str(caught.value)


@pytest.mark.parametrize(
    "endless",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        head(b"Transfer-Encoding: chunked") + b"0\r\n",
        head(b"Transfer-Encoding: chunked") + b"1;" + b"a" * 900 + b"\r\n{\r\n",
        head(b"Transfer-Encoding: chunked") + b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n",
        head(b"X-A: 1"),
    ],
    ids=["interim answers", "trailers", "extensions", "chunks", "body"],
)
def test_nothing_is_read_without_end(endless: bytes) -> None:
    """Everything that is read is bounded, even what is discarded."""
    again = endless.partition(b"\r\n\r\n")[2] or endless
    if again == b"0\r\n":
        again = b"X-A: 1\r\n"
    with pytest.raises(GarbledAnswerError):
        read(endless, *[again] * (40 * MAX_ANSWER_BYTES // len(again)))


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        (b"", "the connection was closed"),
        (OK[:20], "the connection was closed"),
        (OK[:-1], "it ended after 1 of 2 bytes"),
        (CHUNKED[:-1], "it ended before its last chunk"),
    ],
)
def test_an_answer_that_is_cut_is_refused(cut: bytes, words: str) -> None:
    """A cut answer is refused with a message that says how much arrived."""
    _, reader = read(cut)
    with pytest.raises(GarbledAnswerError, match=words):
        reader.end()


class _Socket:
    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def makefile(self, *_: object) -> io.BytesIO:
        return self._file


names = st.from_regex(r"X-[A-Za-z0-9-]{0,12}", fullmatch=True)
values = st.from_regex(r"([!-~\xa0-\xff]([ \t!-~]{0,20}[!-~])?)?", fullmatch=True)


@given(
    st.sampled_from([200, 400, 413, 500, 503]),
    st.lists(st.tuples(names, values), max_size=8),
    st.binary(max_size=300),
    st.lists(st.integers(1, 50), max_size=8),
    st.booleans(),
)
def test_answers_are_read_as_http_client_reads_them(
    status: int, headers: list[tuple[str, str]], body: bytes, sizes: list[int], chunked: bool
) -> None:
    """Answers are read as Python's own `http.client` reads them."""
    lines = [f"HTTP/1.1 {status} Because", *(f"{name}: {value}" for name, value in headers)]
    content = body
    if chunked:
        lines.append("Transfer-Encoding: chunked")
        content, rest = b"", body
        for size in [*sizes, len(body)]:
            piece, rest = rest[:size], rest[size:]
            if piece:
                content += f"{len(piece):X}\r\n".encode() + piece + b"\r\n"
        content += b"0\r\n\r\n"
    else:
        lines.append(f"Content-Length: {len(body)}")
    answer = "\r\n".join([*lines, "", ""]).encode("latin-1") + content
    theirs = http.client.HTTPResponse(cast("socket.socket", _Socket(answer)))
    theirs.begin()

    ours, reader = read(answer)

    assert ours is not None
    assert (ours.status, ours.body) == (theirs.status, theirs.read())
    assert not reader.ends_connection
    expected = {name.lower(): value for name, value in theirs.getheaders()}
    assert ours.headers == {name: value.strip(" \t") for name, value in expected.items()}
