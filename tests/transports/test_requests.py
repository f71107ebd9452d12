"""Behaviour of the transport on `requests` alone."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import responses

from eventbridge_partner._http import HttpRequest, Timeouts
from eventbridge_partner.errors import TransportError
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
    """The mock library `responses` works on this transport, errors included."""
    url = "https://events.us-east-1.amazonaws.com/"
    responses.post(url, json={"FailedEntryCount": 0}, headers={"x-amzn-requestid": "1"})
    answer = transport.send(HttpRequest(url, {"X-Test": "1"}, b"{}"), PATIENCE)

    assert (answer.status, answer.body) == (200, b'{"FailedEntryCount": 0}')
    assert answer.headers["x-amzn-requestid"] == "1"
    assert responses.calls[0].request.headers["X-Test"] == "1"

    responses.replace(responses.POST, url, body=ConnectionResetError("reset"))
    with pytest.raises(TransportError):
        transport.send(HttpRequest(url, {}, b"{}"), PATIENCE)


class Meeting(http.server.BaseHTTPRequestHandler):
    """Answers eight requests once all of them have arrived."""

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


def test_more_threads_than_idle_connections_cause_no_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Connections beyond the idle ones that are kept are closed without urllib3's warning."""
    transport = RequestsTransport(max_connections=2)
    until_all_met = Timeouts(connect=SOON, read=2 * SOON)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Meeting) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        request = HttpRequest(f"http://127.0.0.1:{server.server_port}/", {}, b"{}")
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: transport.send(request, until_all_met), range(8)))
        transport.close()
        server.shutdown()
        serving.join()
    assert [answer.status for answer in answers] == [200] * 8
    assert "pool" not in caplog.text
