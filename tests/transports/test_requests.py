"""What is the default transport's own: mocks that stand in for `requests`, and reading headers."""

from __future__ import annotations

import http.client
import http.server
import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import responses
from hypothesis import given
from hypothesis import strategies as st

from eventbridge_partner._http import HttpRequest
from eventbridge_partner.errors import TransportError
from eventbridge_partner.transports._post import read_headers
from eventbridge_partner.transports.requests import RequestsTransport
from tests.transports.servers import PATIENCE

SOON = 30.0


@pytest.fixture
def transport() -> Iterator[RequestsTransport]:
    transport = RequestsTransport()
    yield transport
    transport.close()


@responses.activate
def test_responses_stands_in_for_the_service(transport: RequestsTransport) -> None:
    """The mock that Python's tests know works on this transport, errors included."""
    url = "https://events.us-east-1.amazonaws.com/"
    responses.post(url, json={"FailedEntryCount": 0}, headers={"x-amzn-requestid": "1"})
    answer = transport.send(HttpRequest(url, {"X-Test": "1"}, b"{}"), PATIENCE)

    assert (answer.status, answer.body) == (200, b'{"FailedEntryCount": 0}')
    assert answer.headers["x-amzn-requestid"] == "1"
    assert responses.calls[0].request.headers["X-Test"] == "1"

    responses.replace(responses.POST, url, body=ConnectionResetError("reset"))
    with pytest.raises(TransportError):
        transport.send(HttpRequest(url, {}, b"{}"), PATIENCE)


header_lines = st.lists(
    st.tuples(
        st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,12}", fullmatch=True),
        st.from_regex(r"[!-~\xa0-\xff]([ \t!-~]{0,20}[!-~])?", fullmatch=True) | st.just(""),
    ),
    max_size=10,
)


@given(header_lines, st.sampled_from([b"\r\n", b"\n"]), st.booleans())
def test_headers_are_read_as_http_client_reads_them(
    lines: list[tuple[str, str]], ending: bytes, folds: bool
) -> None:
    """The quick reader of headers agrees with the one that it replaces."""
    block = b"".join(f"{name}: {value}".encode("latin-1") + ending for name, value in lines)
    if folds and lines:
        block += b"  folded" + ending
    block += ending

    ours = read_headers(io.BytesIO(block))
    theirs = http.client.parse_headers(io.BytesIO(block))

    def unfolded(headers: http.client.HTTPMessage) -> list[tuple[str, str]]:
        return [(name, " ".join(value.split())) for name, value in headers.items()]

    assert unfolded(ours) == unfolded(theirs)


class Meeting(http.server.BaseHTTPRequestHandler):
    """Answers eight requests when all of them have come."""

    protocol_version = "HTTP/1.1"
    all_here = threading.Barrier(8)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.all_here.wait(SOON)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_more_threads_than_idle_connections_are_no_reason_to_warn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Connections beyond those that are kept are closed, without urllib3's warning."""
    transport = RequestsTransport(max_connections=2)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Meeting) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        request = HttpRequest(f"http://127.0.0.1:{server.server_port}/", {}, b"{}")
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: transport.send(request, PATIENCE), range(8)))
        transport.close()
        server.shutdown()
        serving.join()
    assert [answer.status for answer in answers] == [200] * 8
    assert "pool" not in caplog.text
