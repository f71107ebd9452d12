"""What is the default transport's own: mocks that stand in for `requests`, and reading headers."""

from __future__ import annotations

import http.client
import io
from collections.abc import Iterator

import pytest
import responses
from hypothesis import given
from hypothesis import strategies as st

from eventbridge_partner._http import HttpRequest
from eventbridge_partner.errors import TransportError
from eventbridge_partner.transports._post import read_headers
from eventbridge_partner.transports.requests import RequestsTransport
from tests.transports.servers import PATIENCE


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
