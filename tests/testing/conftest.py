"""A client that signs with botocore and can send anything, in process and over HTTP."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from eventbridge_partner._http import HttpRequest, HttpResponse, Timeouts
from eventbridge_partner.errors import TransportError
from eventbridge_partner.testing import FakeEventBridge

READ_TIMEOUT = 0.5


class NoAnswerError(Exception):
    """The connection closed, or the answer took too long."""


@attrs.define
class RawClient:
    """Signs what it is given, right or wrong, and sends it once."""

    service: FakeEventBridge
    deliver: Callable[[Mapping[str, str], bytes], HttpResponse]
    region: str = "us-east-1"
    signing_name: str = "events"
    credentials: Any = None

    def put(self, entries: Any, **headers: str) -> dict[str, Any]:
        """Send entries; return the answer's document with its status."""
        return self.post(json.dumps({"Entries": entries}).encode(), **headers)

    def post(self, body: bytes, **headers: str) -> dict[str, Any]:
        """Send a body; return the answer's document with its status."""
        answer = self.deliver(self.signed(body, **headers), body)
        return {"status": answer.status, **json.loads(answer.body)}

    def signed(self, body: bytes, **headers: str) -> dict[str, str]:
        """Return the headers of a request with this body, signed by botocore."""
        request = AWSRequest(
            method="POST",
            url="http://127.0.0.1/",
            data=body,
            headers={
                "Host": "127.0.0.1",
                "Content-Type": "application/x-amz-json-1.1",
                "X-Amz-Target": "AWSEvents.PutPartnerEvents",
                **{name.replace("_", "-"): value for name, value in headers.items()},
            },
        )
        credentials = self.credentials or self.service.credentials
        SigV4Auth(credentials, self.signing_name, self.region).add_auth(request)
        return dict(request.headers.items())


def in_process(service: FakeEventBridge, **settings: Any) -> RawClient:
    transport = service.transport()

    def deliver(headers: Mapping[str, str], body: bytes) -> HttpResponse:
        request = HttpRequest("http://127.0.0.1/", headers, body)
        try:
            return transport.send(request, Timeouts(read=READ_TIMEOUT))
        except TransportError as error:
            if error.may_have_been_sent:
                raise NoAnswerError from error
            raise

    return RawClient(service, deliver, **settings)


def over_http(service: FakeEventBridge, port: int, **settings: Any) -> RawClient:
    def deliver(headers: Mapping[str, str], body: bytes) -> HttpResponse:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=READ_TIMEOUT)
        try:
            connection.request("POST", "/", body, dict(headers))
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return HttpResponse(answer.status, names, answer.read())
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswerError from error
        finally:
            connection.close()

    return RawClient(service, deliver, **settings)


@pytest.fixture
def service() -> FakeEventBridge:
    return FakeEventBridge()


@pytest.fixture
def client(service: FakeEventBridge) -> RawClient:
    """A client in process."""
    return in_process(service)


@pytest.fixture(scope="session")
def client_of() -> Callable[..., RawClient]:
    """Make clients in process for services that the test makes itself."""
    return in_process


@pytest.fixture(params=["in process", "over HTTP"])
def either_client(request: pytest.FixtureRequest, service: FakeEventBridge) -> Iterator[RawClient]:
    """A client in process, then one over HTTP: both must behave the same."""
    if request.param == "in process":
        yield in_process(service)
    else:
        with service.serve() as server:
            yield over_http(service, server.port)


@pytest.fixture
def no_answer() -> type[Exception]:
    return NoAnswerError


@pytest.fixture
def entry() -> Callable[..., dict[str, Any]]:
    """Make a good entry, with members changed, added or (`None`) left out."""

    def make(**members: Any) -> dict[str, Any]:
        whole = {
            "Source": "aws.partner/example.com/acme/tickets",
            "DetailType": "ticket.created",
            "Detail": '{"ticket": 1}',
            **members,
        }
        return {name: value for name, value in whole.items() if value is not None}

    return make
