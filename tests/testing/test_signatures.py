"""The local service takes what botocore signed, and nothing that differs from it in a byte."""

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
    """With lasting and with temporary credentials."""
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
    """Whatever is signed is accepted; one changed byte, header or secret is not."""
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
    """Every operation needs one."""
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
    """What is missing is incomplete, what is different does not match."""
    headers = client.signed(BODY)
    assert old in headers["Authorization"]
    headers["Authorization"] = headers["Authorization"].replace(old, new)
    status, found, _ = refusal(client, headers)
    assert (status, found) == (400, code)


def test_the_host_must_be_signed(client):
    """Else a signed request could be sent elsewhere; the message says what is missing."""
    headers = client.signed(BODY)
    headers["Authorization"] = headers["Authorization"].replace("host;", "")
    _, code, message = refusal(client, headers)
    assert code == "InvalidSignatureException"
    assert message.startswith("'Host'")


def test_the_whole_signature_must_match(client):
    """To its last digit."""
    headers = client.signed(BODY)
    last = headers["Authorization"][-1]
    headers["Authorization"] = headers["Authorization"][:-1] + ("1" if last == "0" else "0")
    assert refusal(client, headers)[1] == "InvalidSignatureException"


@pytest.mark.parametrize("stamp", ["", "yesterday", "20260231T000000Z", "2026-01-31T00:00:00Z"])
def test_a_signature_needs_its_time(client, stamp):
    """A request that does not say when it was signed is incomplete."""
    headers = {**client.signed(BODY), "X-Amz-Date": stamp}
    assert refusal(client, headers)[1] == "IncompleteSignatureException"


def test_a_date_header_may_stand_for_the_amz_date(client):
    """SigV4 allows it, and botocore signs so where there is a Date header."""
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
    """A missing, wrong or needless session token is that of nobody known."""
    service = FakeEventBridge(session_token=known)
    own = service.credentials
    client = client_of(service, credentials=Credentials(own.access_key, own.secret_key, used))
    assert refusal(client, client.signed(BODY))[:2] == (400, "UnrecognizedClientException")


def test_an_unknown_key_is_nobodys(client):
    """An access key that the service does not know."""
    client.credentials = Credentials("AKIDSOMEBODYELSE", "local-secret-access-key")
    assert refusal(client, client.signed(BODY))[1] == "UnrecognizedClientException"


@pytest.mark.parametrize("setting", [{"region": "eu-west-1"}, {"signing_name": "sqs"}])
def test_the_scope_must_be_the_services(client_of, service, setting):
    """A signature for another Region or service is not valid here, and the message says so."""
    client = client_of(service, **setting)
    _, code, message = refusal(client, client.signed(BODY))
    assert code == "InvalidSignatureException"
    assert message.startswith("Credential should be scoped to")


def test_amz_headers_must_be_signed(client):
    """An x-amz header that is added after signing is named in the refusal; others may be added."""
    assert refusal(client, {**client.signed(BODY), "X-Other": "1"})[0] == 200
    _, code, message = refusal(client, {**client.signed(BODY), "X-Amz-Later": "1"})
    assert code == "InvalidSignatureException"
    assert "x-amz-later" in message


def test_a_claimed_body_hash_is_not_believed(client):
    """The body is hashed even if a header claims to be its hash, as for S3."""
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
    """Before and after the service's own time, which the Date header tells."""
    service = FakeEventBridge(clock=lambda: time.time() + offset)
    client = client_of(service)
    _, found, message = refusal(client, client.signed(BODY))
    assert found == code
    assert words is None or message.startswith(words)


@pytest.mark.parametrize("token", [None, "first"])
def test_rotated_credentials_are_known_beside_the_old_ones(client_of, token):
    """A client may come with either; only the newest are handed out."""
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
    """Parameters that are doubled or unknown, and headers out of order, are refused."""
    signed = client.signed(BODY)
    assert refusal(client, signed)[0] == 200
    signed["Authorization"] = change(signed["Authorization"])
    assert refusal(client, signed)[:2] == (400, f"{code}SignatureException")
