"""Plain http is allowed to loopback and to hosts that are named for it, but never to AWS."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import botocore
import pytest

from eventbridge_partner import (
    AsyncPartnerEventsClient,
    ConfigurationError,
    PartnerEvent,
    PartnerEventsClient,
)
from eventbridge_partner.aws import insecure_hosts
from eventbridge_partner.testing import FakeEventBridge
from tests.strategies import SOURCE

KEYS = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "S", "AWS_REGION": "eu-west-1"}
BOTH = f"{insecure_hosts.ARGUMENT} or {insecure_hosts.VARIABLE} names"


@pytest.fixture(autouse=True)
def _as_a_new_process(monkeypatch, tmp_path):
    monkeypatch.setattr(insecure_hosts, "_warned", set())
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


def looked_up(**settings):
    with PartnerEventsClient(**settings) as client:
        return client.endpoint_url


@pytest.mark.parametrize("host", ["localstack", "host.docker.internal", "10.1.2.3", "[fd00::1]"])
@pytest.mark.parametrize("kind", [PartnerEventsClient, AsyncPartnerEventsClient])
def test_a_host_that_is_named(kind, host):
    """http to a named host is allowed, for siblings in other Regions as well."""
    client = kind(endpoint_url=f"http://{host}:4566", insecure_hosts=[host])
    assert client.endpoint_url == f"http://{host}:4566/"
    assert client.in_region("us-east-1").endpoint_url == f"http://{host}:4566/"


def test_a_host_that_the_environment_names(monkeypatch):
    """The environment can name several hosts, whichever setting holds the endpoint."""
    monkeypatch.setenv(insecure_hosts.VARIABLE, " LocalStack., sidecar,")
    assert looked_up(endpoint_url="http://localstack:4566") == "http://localstack:4566/"
    monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", "http://SIDECAR")
    assert looked_up() == "http://sidecar/"


@pytest.mark.parametrize(
    ("endpoint", "hosts"),
    [
        ("http://localstack:4566", ()),
        ("http://localstack.example:4566", ("localstack",)),
        ("http://a.localstack:4566", ("localstack",)),
        ("http://10.1.2.3", ("10.1.2.30",)),
    ],
)
def test_a_host_that_is_not_named(endpoint, hosts, monkeypatch):
    """http to another host is refused; the error names the setting, and those that allow it."""
    with pytest.raises(ConfigurationError, match=rf"^endpoint_url has .*{BOTH}$"):
        PartnerEventsClient(endpoint_url=endpoint, insecure_hosts=hosts)
    for variable in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_EVENTBRIDGE"):
        monkeypatch.setenv(variable, endpoint)
        with pytest.raises(ConfigurationError, match=rf"^{variable} has .*{BOTH}$"):
            looked_up(insecure_hosts=hosts)


NONE = ["*", "*.local", "http://localstack", "localstack:4566", "", "a b", "é", "a/b", ".", 5, None]


@pytest.mark.parametrize("host", NONE, ids=ascii)
def test_a_host_must_be_an_exact_name(host, monkeypatch):
    """Wildcards, URLs and ports are refused, in the argument and in the environment."""
    with pytest.raises(ConfigurationError, match=r"^insecure_hosts has .*without a scheme"):
        PartnerEventsClient(insecure_hosts=[host])
    if isinstance(host, str) and host:
        monkeypatch.setenv(insecure_hosts.VARIABLE, f"fine,{host}")
        with pytest.raises(ConfigurationError, match=rf"^{insecure_hosts.VARIABLE} has "):
            looked_up()


def test_one_text_is_not_many_hosts():
    """A str is refused, because it would name one host per character."""
    with pytest.raises(ConfigurationError, match=r'is of type str; .*\("localstack",\)'):
        PartnerEventsClient(insecure_hosts="localstack")


def suffixes_of_aws():
    data = Path(botocore.__file__).parent / "data" / "partitions.json"
    outputs = [partition["outputs"] for partition in json.loads(data.read_text())["partitions"]]
    return sorted({o[name] for o in outputs for name in ("dnsSuffix", "dualStackDnsSuffix")})


@pytest.mark.parametrize("suffix", suffixes_of_aws())
def test_no_host_of_aws(suffix, monkeypatch):
    """http to AWS cannot be allowed, in any partition."""
    prefixes = ("events.us-east-1", "vpce-1.events.eu-west-1.vpce", "EVENTS")
    for prefix, dot in itertools.product(prefixes, ("", ".")):
        host = f"{prefix}.{suffix}{dot}"
        with pytest.raises(ConfigurationError, match="a host of AWS"):
            PartnerEventsClient(insecure_hosts=[host])
        monkeypatch.setenv(insecure_hosts.VARIABLE, host)
        with pytest.raises(ConfigurationError, match="a host of AWS"):
            PartnerEventsClient(endpoint_url=f"http://{host}")


@pytest.mark.parametrize("host", ["laws", "amazonaws.example.test", "my-aws", "api.aws.test"])
def test_hosts_that_only_look_like_aws(host):
    """A host whose name only resembles AWS's can be allowed like any other."""
    assert looked_up(endpoint_url=f"http://{host}", insecure_hosts=[host]) == f"http://{host}/"


def test_one_warning(caplog):
    """Sending to a host in clear text is logged once per process; loopback needs no warning."""
    service = FakeEventBridge()
    for _ in range(2):
        with PartnerEventsClient(
            service.region,
            endpoint_url="http://localstack:4566",
            insecure_hosts=("localstack",),
            credentials=service.credentials,
            transport=service.transport(),
        ) as client:
            assert client.put_events([PartnerEvent(SOURCE, "t", {})]).ok
    looked_up(endpoint_url="http://localhost:4566", insecure_hosts=["localhost"])
    looked_up(endpoint_url="https://localstack", insecure_hosts=["localstack"])
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "WARNING",
            f"events and session tokens go to localstack in clear text, as {BOTH[:-6]} allows",
        )
    ]
