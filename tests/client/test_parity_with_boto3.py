"""Requests equal those of boto3 for the same events: the same members, values and signature."""

from __future__ import annotations

import datetime
import json
import math

import boto3
import botocore.auth
import botocore.serialize
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.config import Config
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from eventbridge_partner import HttpResponse, PartnerEvent, PartnerEventsClient
from tests.strategies import SOURCE, events

KEYS = Credentials("AKIDEXAMPLE", "secret", "session/token==")
REGION = "eu-south-2"
# Before this version botocore wrote whole seconds, rounded down.
OLD_BOTOCORE = not hasattr(botocore.serialize, "TIMESTAMP_PRECISION_LEGACY")
ANSWER = b'{"FailedEntryCount": 0, "Entries": []}'


class Body:
    """The body that botocore reads an answer from."""

    def stream(self, **_):
        yield ANSWER

    def read(self, *_):
        return ANSWER


class TheirRequests:
    """boto3's client, which keeps its requests instead of sending them."""

    def __init__(self):
        self.client = boto3.Session(
            KEYS.access_key, KEYS.secret_key, KEYS.token, region_name=REGION
        ).client("events", config=Config(retries={"total_max_attempts": 1}))
        self.client.meta.events.register("before-send.events.PutPartnerEvents", self.keep)

    def keep(self, request, **_):
        self.last = request
        return AWSResponse(request.url, 200, {"content-type": "application/x-amz-json-1.1"}, Body())

    def of(self, batch):
        self.client.put_partner_events(Entries=[entry_of(event) for event in batch])
        return self.last


class OurRequests:
    """Our client, on a transport that keeps requests instead of sending them."""

    def __init__(self):
        self.client = PartnerEventsClient(REGION, credentials=KEYS, transport=self)

    def send(self, request, timeouts):
        self.last = request
        return HttpResponse(200, {}, ANSWER)

    def close(self):
        pass

    def of(self, batch):
        report = self.client.put_events(batch)
        report.raise_for_undelivered()
        return self.last


def entry_of(event):
    entry = {"Source": event.source, "DetailType": event.detail_type, "Detail": event.detail}
    entry |= {"Resources": list(event.resources)} if event.resources else {}
    entry |= {"Time": event.time} if event.time is not None else {}
    return entry


@pytest.fixture(scope="module")
def theirs():
    return TheirRequests()


@pytest.fixture(scope="module")
def ours():
    return OurRequests()


def text(value):
    return value.decode() if isinstance(value, bytes) else value


batches = st.lists(events, min_size=1, max_size=20)


@pytest.mark.slow
@given(batches)
def test_bodies_say_the_same(theirs, ours, batch):
    """Parsed, both bodies are equal, although boto3 escapes text that we write as UTF-8."""
    mine, other = ours.of(batch).body, theirs.of(batch).body
    assert list(json.loads(mine)) == ["Entries"]
    assert entries_in(mine) == entries_in(other)


def entries_in(body):
    """The entries of a body, with the type of each time."""
    entries = json.loads(body)["Entries"]
    for entry in entries:
        if "Time" in entry and OLD_BOTOCORE:
            entry["Time"] = math.floor(entry["Time"])
        entry["type of Time"] = type(entry.get("Time"))
    return entries


@pytest.mark.slow
@given(batches)
def test_headers_that_matter_are_the_same(theirs, ours, batch):
    """Both sign the same headers, and headers that describe the request are equal."""
    mine = {name.lower(): value for name, value in ours.of(batch).headers.items()}
    other = {name.lower(): text(value) for name, value in theirs.of(batch).headers.items()}
    for name in ("x-amz-target", "content-type", "x-amz-security-token"):
        assert mine[name] == other[name]
    # boto3 signs no header that we do not sign.
    assert signed_names(mine) >= signed_names(other)
    assert {"host", "x-amz-date", "x-amz-target", "content-type"} <= signed_names(mine)
    assert mine["amz-sdk-request"].startswith("attempt=1")
    assert other["amz-sdk-request"].startswith("attempt=1")
    assert set(other) - set(mine) <= {"content-length", "host", "x-amzn-query-mode"}


def signed_names(headers):
    names = headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    return set(names.split(";"))


def test_urls_are_the_same(theirs, ours):
    """Both post to the Region's endpoint."""
    batch = [PartnerEvent(SOURCE, "t", {})]
    assert ours.of(batch).url == theirs.of(batch).url


@pytest.mark.slow
@given(batches)
def test_botocore_recomputes_our_signature(ours, batch):
    """botocore's signer, given our request as sent, computes the same Authorization header."""
    request = ours.of(batch)
    names = signed_names({name.lower(): value for name, value in request.headers.items()})
    kept = {name: value for name, value in request.headers.items() if name.lower() in names}
    oracle = AWSRequest("POST", request.url, headers=kept, data=request.body)
    moment = datetime.datetime.strptime(request.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: moment)
        SigV4Auth(KEYS, "events", REGION).add_auth(oracle)
    assert oracle.headers["Authorization"] == request.headers["Authorization"]


@given(st.lists(events, min_size=1, max_size=3))
def test_the_wire_is_never_longer_than_boto3s(theirs, ours, batch):
    """Raw UTF-8 without spaces keeps text beyond ASCII from doubling or tripling in size."""
    assert len(ours.of(batch).body) <= len(theirs.of(batch).body)
