"""All transports read any answer of a peer alike, and fail only with the documented errors."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventbridge_partner._http import MAX_ANSWER_BYTES, HttpResponse, Timeouts
from eventbridge_partner.errors import TransportError
from eventbridge_partner.transports._reading import AnswerReader, GarbledAnswerError
from tests.transports.answers import READ, REFUSED, chunked, head
from tests.transports.senders import OPENERS, Sender
from tests.transports.servers import answer_with, post, read_request, served

pytestmark = pytest.mark.slow

statuses = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 ",
        b"HTTP/1.1 200",
        b"HTTP/1.1 400 Bad Request",
        b"HTTP/1.1 503 \xe9",
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 304 Not Modified",
        b"HTTP/1.1 100 Continue",
        b"HTTP/1.1 101 Switching",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 999 Odd",
        b"HTTP/1.0 200 OK",
        b"HTTP/1.2 200 OK",
        b"HTTP/2 200",
        b"http/1.1 200 OK",
        b" HTTP/1.1 200 OK",
        b"",
    ]
)
lengths = st.sampled_from(
    [b"0", b"2", b"02", b"3", b"+2", b"-2", b"0_2", b"0x2", b"2, 2", b"2,3", b" 2 ", b"", b"2\t"]
)
codings = st.sampled_from(
    [b"chunked", b"Chunked", b" chunked ", b"xchunked", b"chunked, chunked", b"gzip, chunked", b""]
)
headers = st.one_of(
    st.builds(b"Content-Length: ".__add__, lengths),
    st.builds(b"content-length:".__add__, lengths),
    st.builds(b"Transfer-Encoding: ".__add__, codings),
    st.sampled_from(
        [
            b"Connection: close",
            b"Connection: keep-alive",
            b"X-A: 1",
            b"X-A:",
            b"X-A: \xe9\xff",
            b"X-A : 1",
            b" folded",
            b"\tfolded: 1",
            b"no colon",
            b": no name",
            b"X-A: 1\r",
            b"X-A: 1\nX-B: 2",
            b"X-A: \0",
            b"X-A: \x0b\x0c\x1c\x85",
            b"Content-Length : 2",
        ]
    ),
)
ends = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\n\r\n", b""])
sizes = st.sampled_from(
    [b"2", b"02", b"2;a=b", b"2 ", b"2 x", b" 2", b"+2", b"0x2", b"3", b"1", b"0", b"00", b"z", b""]
)


@st.composite
def chunks(draw: st.DrawFn) -> bytes:
    pieces = draw(
        st.lists(st.tuples(sizes, ends, st.sampled_from([b"{}", b"[]", b""]), ends), max_size=3)
    )
    body = b"".join(b"".join(piece) for piece in pieces)
    last = draw(st.sampled_from([b"0", b"0", b"0", b"000", b"0;a", b"-0", b""]))
    trailers = draw(st.lists(headers, max_size=2))
    return body + last + draw(ends) + b"".join([one + draw(ends) for one in trailers]) + draw(ends)


@st.composite
def made(draw: st.DrawFn) -> bytes:
    """An answer made of odd parts."""
    answer = b""
    for _ in range(draw(st.sampled_from([1, 1, 1, 2]))):
        answer += draw(statuses) + draw(ends)
        answer += b"".join([one + draw(ends) for one in draw(st.lists(headers, max_size=4))])
        answer += draw(ends) + draw(st.sampled_from([b"", b"{}", b"{}[]"]) | chunks())
    return answer


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A known answer with a few bytes replaced."""
    known = [answer for answer, _ in READ.values()] + list(REFUSED.values())
    answer = draw(st.sampled_from([one for one in known if len(one) < 1000]))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(answer)))
        gone = draw(st.integers(0, 3))
        new = draw(
            st.sampled_from([b"", b"\r\n", b"\n", b"\r", b"\0", b" ", b"0", b"1", b":", b"-"])
        )
        answer = answer[:at] + new + answer[at + gone :]
    return answer


answers = made() | mutated() | st.binary(max_size=50)


def verdict(*pieces: bytes) -> HttpResponse | None:
    """Return how our reader reads an answer and the connection's end; None if it refuses them."""
    reader = AnswerReader()
    try:
        for piece in pieces:
            found = reader.feed(piece)
            if found is not None:
                return found
        return reader.end()
    except GarbledAnswerError as error:
        assert len(str(error)) < 100
        return None


def of_h11(answer: bytes) -> tuple[int, bytes]:
    """
    Return how h11 reads an answer.

    Raises:
        h11.RemoteProtocolError: It is not a valid answer.
    """
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=65536)
    connection.send(h11.Request(method="POST", target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(answer)
    connection.receive_data(b"")
    status, body = 0, b""
    while True:
        match connection.next_event():
            case h11.Response() as response:
                status = response.status_code
            case h11.Data() as data:
                body += data.data
            case h11.EndOfMessage():
                return status, body
            case h11.InformationalResponse():
                pass
            case other:
                raise h11.RemoteProtocolError(f"{other!r}")


@given(answers)
@example(head(b"X-A: \x1c") + b"{}")
def test_what_we_read_h11_reads_alike(answer: bytes) -> None:
    """h11 is the oracle: it accepts every answer that we accept, and reads the same from it."""
    ours = verdict(answer)
    if ours is not None:
        assert (ours.status, ours.body) == of_h11(answer)
        assert len(ours.body) <= MAX_ANSWER_BYTES


@given(answers, st.data())
def test_pieces_make_no_difference(answer: bytes, data: st.DataObject) -> None:
    """An answer is read the same wherever the network cuts it."""
    cuts = sorted(data.draw(st.sets(st.integers(0, len(answer)), max_size=6)))
    pieces = [answer[i:j] for i, j in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    assert verdict(*[piece for piece in pieces if piece]) == verdict(answer)


class Peer:
    """Answers `odd` with the set answer and ends the connection; echoes any other body."""

    answer = b""

    def __init__(self) -> None:
        self.has_ended = threading.Semaphore(0)

    def __call__(self, connection: socket.socket) -> None:
        while True:
            _, _, body = read_request(connection)
            if body == b"odd":
                with suppress(OSError):
                    connection.sendall(self.answer)
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
                self.has_ended.release()
                return
            connection.sendall(answer_with(body))


@pytest.fixture
def senders() -> Iterator[dict[str, Sender]]:
    opened = {name: make() for name, make in OPENERS.items()}
    yield opened
    for sender in opened.values():
        sender.end()


def test_all_transports_read_alike(senders: dict[str, Sender]) -> None:
    """All transports read an answer alike or count it as lost, and send the next request."""
    peer = Peer()
    patience = Timeouts(5, 5)

    @given(answers)
    @example(chunked(b"2\r\n{}\r\n0\r\nX-A : 1\r\n\r\n"))
    @example(head(b"X-A: \x85Content-Length: 5", b"Content-Length: 2") + b"{}")
    def read(answer: bytes) -> None:
        peer.answer = answer
        expected = verdict(answer)
        for name, send in senders.items():
            found: Any
            try:
                found = send(post(port, b"odd"), patience)
            except TransportError as error:
                assert error.may_have_been_sent, (name, error)
                said = f"the answer from 127.0.0.1:{port} was lost ("
                assert str(error).startswith(said), (name, error)
                found = None
            # libcurl joins folded lines before we see them, whatever the first of them ended in.
            if name != "curl" or expected or not re.search(rb"[^\r]\n[ \t]", answer):
                assert bool(found) == bool(expected), (name, found, expected)
            if found is not None and expected is not None:
                assert (found.status, found.body) == (expected.status, expected.body), name
                assert dict(found.headers) == dict(expected.headers), name
            # Otherwise the next request could go out while the connection is closing.
            assert peer.has_ended.acquire(timeout=5), name
            assert send(post(port, b"next"), patience).body == b"next", name

    with served(peer) as port:
        read()
