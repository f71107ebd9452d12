"""The local service accepts what botocore signed, and nothing that differs from it by a byte."""

from __future__ import annotations

import json
import time

import pytest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from eventbridge_partner.testing import FakeEventBridge

BODY = json.dumps(
    {"Entries": [{"Source": "aws.partner/a/b", "DetailType": "t", "Detail": '{"a": "é"}'}]}
).encode()


def refusal(client, headers, body=BODY):
    answer = client.deliver(headers, body)
    document = json.loads(answer.body)
    return answer.status, document.get("__type"), document.get("message")


@pytest.mark.parametrize("token", [None, "a/session+token=="])
def test_what_botocore_signs_is_accepted(client_of, token):
    """A request that botocore signed is accepted, with and without a session token."""
    service = FakeEventBridge(session_token=token)
    client = client_of(service)
    assert client.post(BODY)["status"] == 200
    assert service.accepted_count == 1


header_text = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)


@given(
    body=st.binary(min_size=1),
    secret=header_text,
    token=st.none() | header_text,
    extra=header_text,
    region=st.sampled_from(["us-east-1", "eu-south-2", "cn-north-1"]),
    at=st.integers(0),
)
def test_a_signature_holds_for_exactly_what_was_signed(
    client_of, body, secret, token, extra, region, at
):
    """What was signed is accepted; with one changed byte, header or secret it is not."""
    service = FakeEventBridge(region, secret_access_key=secret, session_token=token)
    client = client_of(service, region=region)
    signed = client.signed(body, X_Amz_Extra=extra)
    # Not JSON, but that is looked at only after the signature.
    assert refusal(client, signed, body)[1] in {"SerializationException", "ValidationException"}
    at %= len(body)
    altered = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
    assert refusal(client, signed, altered)[1] == "InvalidSignatureException"
    other = {**signed, "X-Amz-Extra": extra + "x"}
    assert refusal(client, other, body)[1] == "InvalidSignatureException"
    client.credentials = Credentials("AKIDLOCALEVENTBRIDGE", secret + "x", token)
    assert refusal(client, client.signed(body), body)[1] == "InvalidSignatureException"


def test_without_a_signature_the_token_is_missing(service, client):
    """A request without a signature is refused for its missing authentication token."""
    headers = {
        "X-Amz-Target": "AWSEvents.PutPartnerEvents",
        "Content-Type": "application/x-amz-json-1.1",
    }
    assert refusal(client, headers) == (
        400,
        "MissingAuthenticationTokenException",
        "Missing Authentication Token",
    )
    assert service.accepted_count == 0


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1", "IncompleteSignatureException"),
        ("Credential=", "Who=", "IncompleteSignatureException"),
        ("SignedHeaders=", "Headers=", "IncompleteSignatureException"),
        ("Signature=", "Sign=", "IncompleteSignatureException"),
        ("host;", "host;x-not-there;", "InvalidSignatureException"),
        ("/aws4_request", "/aws4", "InvalidSignatureException"),
        ("/events/", "/", "InvalidSignatureException"),
        ("Signature=", "Signature=0", "InvalidSignatureException"),
    ],
)
def test_a_damaged_authorization_is_refused(client, old, new, code):
    """A missing part makes a signature incomplete; a different part makes it invalid."""
    headers = client.signed(BODY)
    assert old in headers["Authorization"]
    headers["Authorization"] = headers["Authorization"].replace(old, new)
    status, found, _ = refusal(client, headers)
    assert (status, found) == (400, code)


def test_the_host_must_be_signed(client):
    """A signature without the host is refused, because it could be used elsewhere."""
    headers = client.signed(BODY)
    headers["Authorization"] = headers["Authorization"].replace("host;", "")
    _, code, message = refusal(client, headers)
    assert code == "InvalidSignatureException"
    assert message.startswith("'Host'")


def test_the_whole_signature_must_match(client):
    """A signature with a wrong last digit is refused."""
    headers = client.signed(BODY)
    last = headers["Authorization"][-1]
    headers["Authorization"] = headers["Authorization"][:-1] + ("1" if last == "0" else "0")
    assert refusal(client, headers)[1] == "InvalidSignatureException"


@pytest.mark.parametrize("stamp", ["", "yesterday", "20260231T000000Z", "2026-01-31T00:00:00Z"])
def test_a_signature_needs_its_time(client, stamp):
    """A request with no valid time of signing is incomplete."""
    headers = {**client.signed(BODY), "X-Amz-Date": stamp}
    assert refusal(client, headers)[1] == "IncompleteSignatureException"


def test_a_date_header_may_stand_for_the_amz_date(client):
    """A `Date` header can replace `X-Amz-Date`, as SigV4 allows and botocore does."""
    headers = client.signed(BODY, Date="to be replaced")
    assert "X-Amz-Date" not in headers
    assert refusal(client, headers)[0] == 200


@pytest.mark.parametrize(
    ("known", "used"),
    [
        (None, "unexpected"),
        ("token", None),
        ("token", "another"),
    ],
)
def test_the_session_token_must_be_the_right_one(client_of, known, used):
    """A missing, wrong or unnecessary session token is refused as an unknown client's."""
    service = FakeEventBridge(session_token=known)
    own = service.credentials
    client = client_of(service, credentials=Credentials(own.access_key, own.secret_key, used))
    assert refusal(client, client.signed(BODY))[:2] == (400, "UnrecognizedClientException")


def test_an_unknown_access_key_is_refused(client):
    """An unknown access key is refused as an unknown client's."""
    client.credentials = Credentials("AKIDSOMEBODYELSE", "local-secret-access-key")
    assert refusal(client, client.signed(BODY))[1] == "UnrecognizedClientException"


@pytest.mark.parametrize("setting", [{"region": "eu-west-1"}, {"signing_name": "sqs"}])
def test_the_scope_must_match_the_service(client_of, service, setting):
    """A signature for another Region or service is refused, and the message says so."""
    client = client_of(service, **setting)
    _, code, message = refusal(client, client.signed(BODY))
    assert code == "InvalidSignatureException"
    assert message.startswith("Credential should be scoped to")


def test_amz_headers_must_be_signed(client):
    """An unsigned x-amz header is named in the refusal; other headers may be unsigned."""
    assert refusal(client, {**client.signed(BODY), "X-Other": "1"})[0] == 200
    _, code, message = refusal(client, {**client.signed(BODY), "X-Amz-Later": "1"})
    assert code == "InvalidSignatureException"
    assert "x-amz-later" in message


def test_a_claimed_body_hash_is_not_believed(client):
    """The body is hashed even if a header, as for S3, says that it is not signed."""
    headers = client.signed(BODY, X_Amz_Content_SHA256="UNSIGNED-PAYLOAD")
    assert refusal(client, headers)[1] == "InvalidSignatureException"


@pytest.mark.parametrize(
    ("offset", "code", "words"),
    [
        (0, None, None),
        (290, None, None),
        (-290, None, None),
        (310, "InvalidSignatureException", "Signature expired"),
        (-310, "InvalidSignatureException", "Signature not yet current"),
    ],
)
def test_a_signature_is_good_for_five_minutes(client_of, offset, code, words):
    """A signature is valid for five minutes before and after the service's time."""
    service = FakeEventBridge(clock=lambda: time.time() + offset)
    client = client_of(service)
    _, found, message = refusal(client, client.signed(BODY))
    assert found == code
    assert words is None or message.startswith(words)


@pytest.mark.parametrize("token", [None, "first"])
def test_rotated_credentials_are_known_beside_the_old_ones(client_of, token):
    """After a rotation, old and new credentials are valid, but not a mix of them."""
    service = FakeEventBridge(session_token=token)
    old = service.credentials
    new = service.rotate_credentials()
    assert service.credentials is new
    assert new.access_key != old.access_key
    assert (new.token is None) == (token is None)
    for credentials in (old, new):
        assert client_of(service, credentials=credentials).post(BODY)["status"] == 200
    mixed = Credentials(new.access_key, old.secret_key, new.token)
    client = client_of(service, credentials=mixed)
    assert refusal(client, client.signed(BODY))[1] == "InvalidSignatureException"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda value: value.replace("Credential=", "Credential=a/b, Credential="), "Incomplete"),
        (lambda value: value + ", Signature=" + "0" * 64, "Incomplete"),
        (lambda value: value + ", Expires=60", "Incomplete"),
        (lambda value: value + ",", "Incomplete"),
        (lambda value: value.replace("SignedHeaders=", "SignedHeaders"), "Incomplete"),
        (lambda value: value.replace("content-type;host", "host;content-type"), "Invalid"),
        (lambda value: value.replace("content-type;host", "content-type;Host"), "Invalid"),
        (lambda value: value.replace("content-type;host", "content-type;host;host"), "Invalid"),
    ],
)
def test_an_authorization_header_has_one_meaning(client, change, code):
    """Repeated or unknown parameters, and headers out of order, are refused."""
    signed = client.signed(BODY)
    assert refusal(client, signed)[0] == 200
    signed["Authorization"] = change(signed["Authorization"])
    assert refusal(client, signed)[:2] == (400, f"{code}SignatureException")
