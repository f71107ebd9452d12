"""Our signatures match botocore's, for any request, credentials, Region and time."""

from __future__ import annotations

import datetime
import itertools
import threading

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from eventbridge_partner.wire.sigv4 import FrozenCredentials, Signer
from tests.strategies import header_texts, regions

HOSTS = ["events.us-east-1.amazonaws.com", "127.0.0.1:4566", "[::1]:8080", "vpce-0a.example.com"]
CONTENT_TYPE = "application/x-amz-json-1.1"
NOON = datetime.datetime(2030, 1, 2, 12, tzinfo=datetime.UTC)


class Clock:
    """The time that botocore's signer sees."""

    now = NOON

    def __call__(self, remove_tzinfo=True):
        return self.now.replace(tzinfo=None) if remove_tzinfo else self.now


@pytest.fixture(scope="module")
def clock():
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(botocore.auth, "get_current_datetime", clock)
        yield clock


def by_botocore(clock, credentials, *, region, host, target, body, invocation_id, attempt, moment):
    request = AWSRequest(
        method="POST",
        url=f"https://{host}/",
        data=body,
        headers={
            "Host": host,
            "Content-Type": CONTENT_TYPE,
            "X-Amz-Target": target,
            "amz-sdk-invocation-id": invocation_id,
            "amz-sdk-request": attempt,
            "User-Agent": "not signed",
        },
    )
    clock.now = moment
    keys = Credentials(credentials.access_key, credentials.secret_key, credentials.token)
    botocore.auth.SigV4Auth(keys, "events", region).add_auth(request)
    headers = dict(request.headers.items())
    del headers["Host"], headers["User-Agent"]
    return headers


credentials_sets = st.builds(
    FrozenCredentials, header_texts, header_texts, st.none() | st.just("") | header_texts
)
moments = st.datetimes(
    datetime.datetime(1970, 1, 1), datetime.datetime(2200, 1, 1), timezones=st.just(datetime.UTC)
)


@pytest.mark.slow
@settings(max_examples=500)
@given(
    st.lists(
        st.tuples(credentials_sets, moments, st.binary(max_size=200), header_texts, st.integers(1, 99)),
        min_size=1,
        max_size=5,
    ),
    regions,
    st.sampled_from(HOSTS),
)  # fmt: skip
def test_signatures_match_botocore(clock, requests, region, host):
    """One signer signs many requests, and every header equals botocore's."""
    signer = Signer(service="events", region=region, host=host, content_type=CONTENT_TYPE)
    # Everything twice: with a freshly derived key, and with a cached one.
    for (keys, moment, body, target, attempt), _ in itertools.product(requests, range(2)):
        values = {
            "target": f"AWSEvents.{target}",
            "body": body,
            "invocation_id": f"id-{attempt}",
            "attempt": f"attempt={attempt}",
        }
        ours = signer.signed_headers(keys, **values, epoch_seconds=moment.timestamp())
        theirs = by_botocore(clock, keys, region=region, host=host, moment=moment, **values)
        assert ours == theirs


def sign(signer, keys, epoch_seconds, body=b"{}"):
    return signer.signed_headers(
        keys,
        target="AWSEvents.PutPartnerEvents",
        body=body,
        invocation_id="i",
        attempt="attempt=1",
        epoch_seconds=epoch_seconds,
    )


def expected(clock, keys, epoch_seconds, body=b"{}"):
    return by_botocore(
        clock,
        keys,
        region="us-east-1",
        host=HOSTS[0],
        target="AWSEvents.PutPartnerEvents",
        body=body,
        invocation_id="i",
        attempt="attempt=1",
        moment=datetime.datetime.fromtimestamp(epoch_seconds, datetime.UTC),
    )


def new_signer():
    return Signer(service="events", region="us-east-1", host=HOSTS[0], content_type=CONTENT_TYPE)


def test_a_cached_key_serves_only_its_day_and_secret(clock):
    """A cached key is used only for its own day and secret, even across midnight and back."""
    signer = new_signer()
    midnight = datetime.datetime(2030, 1, 3, tzinfo=datetime.UTC).timestamp()
    moments = [midnight - 1, midnight - 0.001, midnight, midnight + 86_400, midnight - 1]
    sets = [
        FrozenCredentials("A", "secret"),
        FrozenCredentials("A", "other"),
        FrozenCredentials("B", "secret"),
        FrozenCredentials("A", "secret", "token"),
    ]
    for _ in range(2):
        for moment, keys in itertools.product(moments, sets):
            assert sign(signer, keys, moment) == expected(clock, keys, moment)


def test_threads_share_a_signer(clock):
    """Eight threads with their own days and secrets never get each other's key."""
    signer = new_signer()
    cases = [
        (FrozenCredentials("A", f"secret{number % 3}"), NOON.timestamp() + 86_400 * (number % 4))
        for number in range(8)
    ]
    wanted = [expected(clock, *case) for case in cases]
    wrong = []

    def work(number):
        for _ in range(300):
            if sign(signer, *cases[number]) != wanted[number]:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_repr_shows_no_secret():
    """The reprs of credentials and of a signer show no secret."""
    keys = FrozenCredentials("AKIDs3cr3t", "s3cr3t-key", "s3cr3t-token")
    signer = new_signer()
    sign(signer, keys, 0)
    assert "s3cr3t" not in repr(keys) + repr(signer)


def test_token_is_sent_only_if_there_is_one():
    """A token that is None or empty is neither sent nor signed."""
    for token in (None, ""):
        headers = sign(new_signer(), FrozenCredentials("A", "s", token), 0)
        assert "X-Amz-Security-Token" not in headers
        assert "security-token" not in headers["Authorization"]
