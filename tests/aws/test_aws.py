"""Settings and credentials are those that boto3 would find; invalid ones are refused."""

from __future__ import annotations

import datetime
import http.server
import logging
import stat
import sys
import threading
import traceback
from typing import Any

import boto3
import botocore.loaders
import botocore.session
import botocore.utils
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import BotoCoreError
from botocore.httpsession import ProxyConfiguration
from botocore.utils import get_environ_proxies

from eventbridge_partner import ConfigurationError, CredentialsError, PartnerEventsClient
from eventbridge_partner.aws.configuration import checked_endpoint, checked_region
from eventbridge_partner.aws.session import BotocoreSession
from eventbridge_partner.aws.shared import SharedSession
from eventbridge_partner.aws.signing import SigningEdge
from eventbridge_partner.wire import calls
from eventbridge_partner.wire.sigv4 import FrozenCredentials

CANARY = "s3cr3tCanary"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Return a function that writes AWS's config and credentials files."""

    def write(config="", credentials=""):
        (tmp_path / "config").write_text(config)
        (tmp_path / "credentials").write_text(credentials)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))

    write()
    return write


@pytest.fixture
def environment(monkeypatch):
    """Return a function that sets environment variables."""

    def write(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return write


def found(session=None, *, profile=None, region=None, endpoint_url=None):
    return SharedSession(profile, session).resolve(region, endpoint_url)


# ---------------------------------------------------------------- compared with botocore's client

SERVICES = """
[profile local]
region = eu-west-1
services = mine
[services mine]
eventbridge =
  endpoint_url = https://files.example.com:8443
[profile general]
region = eu-west-1
endpoint_url = https://general.example.com
[profile both]
region = eu-west-1
endpoint_url = https://general.example.com
services = mine
[profile ignoring]
region = eu-west-1
endpoint_url = https://general.example.com
ignore_configured_endpoint_urls = true
[profile fips]
region = us-west-2
use_fips_endpoint = true
[profile dual]
region = us-west-2
use_dualstack_endpoint = true
"""
REGIONS = [
    "us-east-1",
    "eu-south-2",
    "ap-southeast-7",
    "us-gov-west-1",
    "us-gov-east-1",
    "cn-north-1",
    "us-iso-east-1",
    "us-isob-east-1",
    "eusc-de-east-1",
    "mx-central-1",
    "xx-new-1",
]
# botocore's files about all services and endpoints, which its sessions read anew otherwise.
DATA = botocore.loaders.create_loader()
GENERAL = "https://general.example.com"
OWN = "https://own.example.com"
SETTINGS = {
    **{region: {"AWS_DEFAULT_REGION": region} for region in REGIONS},
    **{
        f"{region}, FIPS": {"AWS_DEFAULT_REGION": region, "AWS_USE_FIPS_ENDPOINT": "true"}
        for region in REGIONS
    },
    **{
        f"{region}, dual stack": {
            "AWS_DEFAULT_REGION": region,
            "AWS_USE_DUALSTACK_ENDPOINT": "TRUE",
        }
        for region in REGIONS
    },
    "FIPS and dual stack": {
        "AWS_DEFAULT_REGION": "us-east-2",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
    },
    "FIPS false": {"AWS_DEFAULT_REGION": "us-east-2", "AWS_USE_FIPS_ENDPOINT": "false"},
    "general endpoint": {"AWS_DEFAULT_REGION": "us-east-2", "AWS_ENDPOINT_URL": GENERAL},
    "own endpoint": {"AWS_DEFAULT_REGION": "us-east-2", "AWS_ENDPOINT_URL_EVENTBRIDGE": OWN},
    "own before general": {
        "AWS_DEFAULT_REGION": "us-east-2",
        "AWS_ENDPOINT_URL": GENERAL,
        "AWS_ENDPOINT_URL_EVENTBRIDGE": OWN,
    },
    "another service's": {"AWS_DEFAULT_REGION": "us-east-2", "AWS_ENDPOINT_URL_S3": OWN},
    "ignored": {
        "AWS_DEFAULT_REGION": "us-east-2",
        "AWS_ENDPOINT_URL": GENERAL,
        "AWS_ENDPOINT_URL_EVENTBRIDGE": OWN,
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    },
    "services section": {"AWS_PROFILE": "local"},
    "endpoint of a profile": {"AWS_PROFILE": "general"},
    "both in a profile": {"AWS_PROFILE": "both"},
    "environment before services section": {"AWS_PROFILE": "local", "AWS_ENDPOINT_URL": GENERAL},
    "ignored by a profile": {"AWS_PROFILE": "ignoring"},
    "FIPS of a profile": {"AWS_PROFILE": "fips"},
    "dual stack of a profile": {"AWS_PROFILE": "dual"},
    "region before the profile's": {"AWS_PROFILE": "fips", "AWS_DEFAULT_REGION": "us-east-1"},
}


@pytest.mark.slow
@pytest.mark.parametrize("variables", SETTINGS.values(), ids=SETTINGS)
def test_endpoint_matches_boto3(files, environment, variables):
    """Region and endpoint are those of a boto3 client, or both refuse."""
    files(SERVICES)
    environment(**variables)
    try:
        session = botocore.session.Session()
        session.register_component("data_loader", DATA)
        client = boto3.Session(botocore_session=session).client(
            "events", aws_access_key_id="a", aws_secret_access_key="s"
        )
        client_endpoint = endpoint_used(client)
    except BotoCoreError:
        with pytest.raises(ConfigurationError):
            found()
        return
    configuration = found()
    assert configuration.url.rstrip("/") == client_endpoint.rstrip("/")
    assert configuration.region == client.meta.region_name
    assert configuration.url == f"https://{configuration.host}/"


def endpoint_used(client):
    urls = []

    def stop(request, **_):
        urls.append(request.url)
        raise InterruptedError

    client.meta.events.register("before-send", stop)
    with pytest.raises(InterruptedError):
        client.put_partner_events(Entries=[{}])
    return urls[0]


config_of: Any = Config  # its type stubs lack a parameter
CLIENT_CONFIGS = {
    "region": Config(region_name="eu-west-3"),
    "FIPS": Config(region_name="us-east-1", use_fips_endpoint=True),
    "no FIPS, whatever the environment says": Config(region_name="us-east-1", use_fips_endpoint=False),
    "dual stack": Config(region_name="us-east-1", use_dualstack_endpoint=True),
    "ignored endpoints": config_of(region_name="us-east-1", ignore_configured_endpoint_urls=True),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("config", CLIENT_CONFIGS.values(), ids=CLIENT_CONFIGS)
@pytest.mark.parametrize(
    "variables", [{}, {"AWS_USE_FIPS_ENDPOINT": "true"}, {"AWS_ENDPOINT_URL": GENERAL}], ids=str
)
def test_default_client_configuration(files, environment, config, variables):
    """A session's default client configuration applies to our client too."""
    environment(AWS_DEFAULT_REGION="sa-east-1", **variables)
    session = botocore.session.Session()
    session.register_component("data_loader", DATA)
    session.set_default_client_config(config)
    client = session.create_client("events", aws_access_key_id="a", aws_secret_access_key="s")
    configuration = found(session)
    assert configuration.url.rstrip("/") == endpoint_used(client).rstrip("/")
    assert configuration.region == client.meta.region_name


@pytest.mark.parametrize("kind", ["FIPS", "DUALSTACK"])
def test_an_endpoint_that_is_given_is_used_as_it_is(environment, kind):
    """FIPS and dual stack do not change an endpoint that is given, as in boto3."""
    environment(**{f"AWS_USE_{kind}_ENDPOINT": "true"})
    assert found(region="us-east-1", endpoint_url=GENERAL).url.rstrip("/") == GENERAL
    assert found(region="us-east-1").url != GENERAL


# ---------------------------------------------------------------- Region


def test_order_of_regions(files, environment):
    """The order is argument, session, AWS_REGION, AWS_DEFAULT_REGION, profile."""
    files("[default]\nregion = eu-west-1\n[profile other]\nregion = eu-west-2\n")
    assert found().region == "eu-west-1"
    assert found(profile="other").region == "eu-west-2"
    environment(AWS_DEFAULT_REGION="eu-north-1")
    assert found().region == "eu-north-1"
    environment(AWS_REGION="sa-east-1")
    assert found().region == "sa-east-1"
    assert found(region="us-east-2").region == "us-east-2"
    session = boto3.Session(region_name="ca-central-1")
    assert found(session).region == "ca-central-1"
    assert found(session, region="us-east-2").region == "us-east-2"
    session._session.set_default_client_config(Config(region_name="ca-west-1"))
    assert found(session).region == "ca-west-1"


def test_no_region(files):
    """Without a Region, the error says where one may come from."""
    with pytest.raises(ConfigurationError, match=r"region is not set; needed: .*AWS_REGION"):
        found()


@pytest.mark.slow
@pytest.mark.parametrize(
    "region",
    ["US-EAST-1", "us east 1", "us-east-1\n", "us-east-1.evil.com", "../x", "a/b", "-x", "x-",
     "é", "a@b", "a:80", "a" * 64, "us-east-1\r\nHost: x", "\x00"],
    ids=ascii,
)  # fmt: skip
def test_invalid_regions(files, environment, region):
    """A Region that could break out of a host name or a signature is refused."""
    with pytest.raises(ConfigurationError, match="region is "):
        checked_region(region)
    with pytest.raises(ConfigurationError):
        found(region=region)
    if "\x00" not in region:
        environment(AWS_REGION=region)
        with pytest.raises(ConfigurationError):
            found()


# ---------------------------------------------------------------- endpoint


@pytest.mark.parametrize(
    ("endpoint", "url", "host"),
    [
        ("https://a.example.com", "https://a.example.com/", "a.example.com"),
        ("https://a.example.com/", "https://a.example.com/", "a.example.com"),
        ("HTTPS://A.Example.com:443", "https://a.example.com/", "a.example.com"),
        ("https://a.example.com:8443", "https://a.example.com:8443/", "a.example.com:8443"),
        ("https://a.example.com:80", "https://a.example.com:80/", "a.example.com:80"),
        ("http://localhost", "http://localhost/", "localhost"),
        ("http://localhost:4566", "http://localhost:4566/", "localhost:4566"),
        ("http://events.localhost:1", "http://events.localhost:1/", "events.localhost:1"),
        ("http://127.0.0.1:80", "http://127.0.0.1/", "127.0.0.1"),
        ("http://127.8.9.10:1", "http://127.8.9.10:1/", "127.8.9.10:1"),
        ("http://[::1]:8080", "http://[::1]:8080/", "[::1]:8080"),
        ("https://[2001:db8::1]", "https://[2001:db8::1]/", "[2001:db8::1]"),
    ],
)
def test_endpoints(endpoint, url, host):
    """An endpoint gives the URL to post to and the host to sign, without a default port."""
    assert checked_endpoint(endpoint) == (url, host)


REFUSED_ENDPOINTS = [
    f"https://user:{CANARY}@host",
    f"https://{CANARY}@host",
    f"https://@{CANARY}",
    f"https://host\\@{CANARY}.com",
    f"https://host\r\nX-Header: {CANARY}",
    f"https://host\n{CANARY}",
    f" https://host{CANARY}",
    f"https://ho st{CANARY}",
    f"https://host\x00{CANARY}",
    f"https://host/{CANARY}",
    f"https://host?{CANARY}",
    f"https://host/?{CANARY}",
    f"https://host#{CANARY}",
    f"https://é{CANARY}.com",
    f"https://{CANARY}%2f.com",
    f"https://{CANARY}:99999",
    f"https://{CANARY}:0",
    f"https://{CANARY}:port",
    f"https://{CANARY}:-1",
    f"https://[{CANARY}",
    f"https://[::1%25{CANARY}]",
    f"http://{CANARY}.example.com",
    f"http://127.0.0.1.{CANARY}.com",
    f"http://localhost.{CANARY}.com",
    f"http://{CANARY}localhost",
    "http://10.0.0.1",
    "http://[::2]",
    "http://0.0.0.0",
    "http://127.1",
    f"ftp://{CANARY}",
    f"//{CANARY}",
    f"{CANARY}:80",
    f"file:///{CANARY}",
    "https://",
    "https://:443",
    "x",
]


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", REFUSED_ENDPOINTS, ids=ascii)
def test_endpoints_that_are_refused(endpoint, files, environment):
    """Only https to a plain host, or http to loopback, is allowed; the error repeats no secret."""
    for attempt in (
        lambda: checked_endpoint(endpoint),
        lambda: found(region="us-east-1", endpoint_url=endpoint),
    ):
        with pytest.raises(ConfigurationError, match="endpoint_url ") as caught:
            attempt()
        assert CANARY not in str(caught.value)
    if "\x00" not in endpoint:
        environment(AWS_ENDPOINT_URL=endpoint)
        with pytest.raises(ConfigurationError) as caught:
            found(region="us-east-1")
        assert CANARY not in str(caught.value)


# ---------------------------------------------------------------- the rest of the configuration


def test_attempts(files, environment):
    """The number of attempts comes from the environment or the config file, else it is None."""
    assert found(region="us-east-1").max_attempts is None
    files("[default]\nmax_attempts = 4\n")
    assert found(region="us-east-1").max_attempts == 4
    environment(AWS_MAX_ATTEMPTS="7")
    assert found(region="us-east-1").max_attempts == 7


@pytest.mark.parametrize("attempts", ["0", "-1", "many", "1.5"])
def test_invalid_attempts(files, environment, attempts):
    """An invalid number of attempts is refused; the error names its setting and its value."""
    files(f"[default]\nmax_attempts = {attempts}\n")
    with pytest.raises(ConfigurationError, match=f"max_attempts of .* is '{attempts}'; allowed: "):
        found(region="us-east-1")
    files("[default]\nmax_attempts = 4\n")
    environment(AWS_MAX_ATTEMPTS=attempts)
    with pytest.raises(ConfigurationError, match=f"AWS_MAX_ATTEMPTS is '{attempts}'; allowed: "):
        found(region="us-east-1")


def test_user_agent(files, environment):
    """The user agent has our name, the app id and the session's addition, but no line break."""
    agent = found(region="us-east-1").user_agent
    assert agent.startswith("eventbridge-partner/")
    assert "app/" not in agent
    environment(AWS_SDK_UA_APP_ID="my app/1\r\nX-Evil: é")
    session = botocore.session.Session()
    session.user_agent_extra = "tool/1\r\nX-Evil: é"
    agent = found(session, region="us-east-1").user_agent
    assert "app/my-app-1--X-Evil---" in agent
    assert agent.endswith("tool/1--X-Evil: -")
    assert agent.isascii()
    assert agent.isprintable()


def test_certificates(files, environment, tmp_path):
    """The order is AWS_CA_BUNDLE, config file, REQUESTS_CA_BUNDLE, SSL_CERT_FILE; it must exist."""
    for name in ("own", "file", "general", "python's"):
        (tmp_path / name).touch()
    assert found(region="us-east-1").ca_bundle is True
    environment(SSL_CERT_FILE=str(tmp_path / "python's"))
    assert found(region="us-east-1").ca_bundle == str(tmp_path / "python's")
    environment(REQUESTS_CA_BUNDLE=str(tmp_path / "general"))
    assert found(region="us-east-1").ca_bundle == str(tmp_path / "general")
    files(f"[default]\nca_bundle = {tmp_path / 'file'}\n")
    assert found(region="us-east-1").ca_bundle == str(tmp_path / "file")
    environment(AWS_CA_BUNDLE=str(tmp_path / "own"))
    assert found(region="us-east-1").ca_bundle == str(tmp_path / "own")
    environment(AWS_CA_BUNDLE=str(tmp_path / "missing"))
    with pytest.raises(ConfigurationError, match=r"AWS_CA_BUNDLE is .*missing"):
        found(region="us-east-1")


@pytest.mark.parametrize(
    ("variables", "endpoint", "expected"),
    [
        ({}, None, None),
        ({"HTTPS_PROXY": "http://proxy:1"}, None, "http://proxy:1"),
        ({"https_proxy": "http://proxy:2"}, None, "http://proxy:2"),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "amazonaws.com"}, None, None),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "*"}, None, None),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "example.com"}, None, "http://proxy:1"),
        ({"HTTPS_PROXY": "http://proxy:1", "no_proxy": "127.0.0.1"}, "https://127.0.0.1:5", None),
    ],
    ids=str,
)
def test_proxies(files, environment, variables, endpoint, expected):
    """Proxies come from the environment, unless NO_PROXY covers the endpoint."""
    environment(**variables)
    configuration = found(region="us-east-1", endpoint_url=endpoint)
    assert configuration.proxies.get("https") == expected


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTP_PROXY", "FTP_PROXY"])
def test_only_the_proxy_of_the_scheme_is_taken(files, environment, name):
    """Only the proxy for https is used, as in boto3."""
    environment(**{name: "http://proxy:1"})
    configuration = found(region="us-east-1")
    boto3s: Any = ProxyConfiguration(get_environ_proxies(configuration.url))
    assert boto3s.proxy_url_for(configuration.url) is None
    assert configuration.proxies == {}

    environment(HTTPS_PROXY="http://proxy:2")
    assert found(region="us-east-1").proxies == {"https": "http://proxy:2"}


@pytest.mark.parametrize(
    "host", ["events..example", ".example", f"{'a' * 64}.example", "a." * 130 + "example"]
)
def test_a_host_that_no_name_server_can_know_is_refused(host):
    """A host name that DNS cannot hold is refused before anything is sent."""
    with pytest.raises(ConfigurationError, match="endpoint_url has an invalid host name"):
        checked_endpoint(f"https://{host}")
    assert checked_endpoint(f"https://{'a' * 63}.example.")[1] == f"{'a' * 63}.example."


def test_proxies_of_the_session(files, environment):
    """A session's own proxies take precedence over the environment's."""
    environment(HTTPS_PROXY="http://environment:1")
    session = botocore.session.Session()
    session.set_default_client_config(Config(proxies={"https": "http://own:1"}))
    assert found(session, region="us-east-1").proxies == {"https": "http://own:1"}


def test_repr_shows_no_password(files, environment):
    """No repr shows a proxy's password."""
    environment(HTTPS_PROXY=f"http://user:{CANARY}@proxy:1")
    configuration = found(region="us-east-1")
    assert CANARY in configuration.proxies["https"]
    assert CANARY not in repr(configuration)
    assert CANARY not in repr(SigningEdge(configuration))


def test_configuration_that_cannot_be_read(files):
    """A fault that botocore finds in its files becomes a ConfigurationError."""
    with pytest.raises(ConfigurationError):
        found(profile="missing", region="us-east-1")
    files("[default\nbroken")
    with pytest.raises(ConfigurationError):
        found(region="us-east-1")


def test_sessions():
    """A session is botocore's or boto3's; anything else is refused."""
    inner = botocore.session.Session()
    assert BotocoreSession.open(None, inner).session is inner
    assert BotocoreSession.open(None, boto3.Session(botocore_session=inner)).session is inner
    with pytest.raises(ConfigurationError, match="session is of type str"):
        found("session", region="us-east-1")


# ---------------------------------------------------------------- credentials


def keeper(session=None, given=None, profile=None):
    return SharedSession(profile, session, given).credentials


def test_credentials_of_the_environment(files, environment):
    """The environment's credentials are found, with and without a token."""
    environment(AWS_ACCESS_KEY_ID="A", AWS_SECRET_ACCESS_KEY="S")
    assert keeper().frozen() == FrozenCredentials("A", "S", None)
    environment(AWS_SESSION_TOKEN="T")
    assert keeper().frozen() == FrozenCredentials("A", "S", "T")


def test_credentials_of_a_profile(files):
    """Credentials are found in the credentials file, for their own profile only."""
    files(credentials="[p]\naws_access_key_id = A\naws_secret_access_key = S\n")
    assert keeper(profile="p").frozen() == FrozenCredentials("A", "S", None)
    with pytest.raises(CredentialsError, match="no AWS credentials were found"):
        keeper().frozen()


def test_credentials_given(files, environment):
    """Credentials that are given take precedence over all that could be found."""
    environment(AWS_ACCESS_KEY_ID="other", AWS_SECRET_ACCESS_KEY="other")
    assert keeper(given=Credentials("A", "S", "T")).frozen() == FrozenCredentials("A", "S", "T")


BAD = {
    "line break in the key": ReadOnlyCredentials("A\n" + CANARY, "S", None),
    "line break in the secret": ReadOnlyCredentials("A", CANARY + "\r\n", None),
    "line break in the token": ReadOnlyCredentials("A", "S", CANARY + "\r\nX: y"),
    "space behind the token": ReadOnlyCredentials("A", "S", CANARY + " "),
    "NUL": ReadOnlyCredentials("A", "\x00" + CANARY, None),
    "not ASCII": ReadOnlyCredentials("A", CANARY + "é", None),
    "no secret": ReadOnlyCredentials(CANARY, "", None),
    "secret None": ReadOnlyCredentials(CANARY, None, None),
    "key None": ReadOnlyCredentials(None, CANARY, None),
}


class Given:
    """Credentials of a class of the caller's own."""

    def __init__(self, value):
        self.value = value

    def get_frozen_credentials(self):
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


@pytest.mark.parametrize("frozen", BAD.values(), ids=BAD)
def test_credentials_that_cannot_sign(frozen):
    """Credentials that cannot sign a request are refused; the error repeats nothing of them."""
    with pytest.raises(CredentialsError) as caught:
        keeper(given=Given(frozen)).frozen()
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "error", [RuntimeError(CANARY), OSError(CANARY), ValueError(CANARY), KeyError(CANARY)], ids=repr
)
def test_providers_that_raise(error):
    """An error of a credentials provider becomes a CredentialsError with its type, not its text."""
    with pytest.raises(CredentialsError) as caught:
        keeper(given=Given(error)).frozen()
    assert CANARY not in str(caught.value)
    assert type(error).__name__ in str(caught.value)
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


class Echoing(http.server.BaseHTTPRequestHandler):
    """A credentials endpoint that fails, with a secret in its answer."""

    def do_GET(self):
        body = f'{{"SecretAccessKey": "{CANARY}"}}'.encode()
        self.send_response(500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_credentials_endpoint_that_fails_with_a_secret(files, environment, caplog, monkeypatch):
    """The secret is in no exception or log line of ours; botocore logs it at DEBUG."""
    monkeypatch.setattr(botocore.utils.ContainerMetadataFetcher, "SLEEP_TIME", 0)
    caplog.set_level("DEBUG")
    with http.server.HTTPServer(("127.0.0.1", 0), Echoing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        environment(AWS_CONTAINER_CREDENTIALS_FULL_URI=url)
        with pytest.raises(CredentialsError) as caught:
            keeper().frozen()
        server.shutdown()
        thread.join()
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None
    formatter = logging.Formatter()
    telling = {record.name for record in caplog.records if CANARY in formatter.format(record)}
    assert telling <= {"botocore.utils", "botocore.credentials"}


def test_partial_credentials(files, environment):
    """Half of a pair of keys is an error, not a reason to look elsewhere."""
    environment(AWS_ACCESS_KEY_ID=CANARY)
    with pytest.raises(CredentialsError) as caught:
        keeper().frozen()
    assert CANARY not in str(caught.value)


PROCESSES = {
    "fails": "import sys; sys.stderr.write('{canary}'); sys.exit(1)",
    "prints no JSON": "print('{canary}')",
    "prints JSON of another kind": "print('[]')",
    "prints another version": "print('{{\"Version\": 9}}')",
    "prints nothing": "",
}


def process_profile(files, tmp_path, program):
    script = tmp_path / "process.py"
    script.write_text(program)
    files(f"[default]\ncredential_process = {sys.executable} {script}\n")


@pytest.mark.parametrize("program", PROCESSES.values(), ids=PROCESSES)
def test_credential_processes_that_fail(files, tmp_path, program):
    """A credential process that fails, or prints something else, raises a CredentialsError."""
    process_profile(files, tmp_path, program.format(canary=CANARY))
    with pytest.raises(CredentialsError) as caught:
        keeper().frozen()
    assert CANARY not in str(caught.value)


def test_credential_process_that_does_not_exist(files):
    """A credential process that does not exist raises a CredentialsError."""
    files("[default]\ncredential_process = /nonexistent/process\n")
    with pytest.raises(CredentialsError):
        keeper().frozen()


# ---------------------------------------------------------------- credentials that expire


def counting_process(tmp_path, files, *, changes=True):
    """Configure a credential process with new credentials for each call; return a call counter."""
    log = tmp_path / "log"
    log.touch(mode=stat.S_IRUSR | stat.S_IWUSR)
    process_profile(
        files,
        tmp_path,
        f"import json, pathlib\n"
        f"log = pathlib.Path({str(log)!r})\n"
        f"log.write_text(log.read_text() + 'x')\n"
        f"count = len(log.read_text()) if {changes} else 1\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': f'A{count}', 'SecretAccessKey': 'S',"
        " 'SessionToken': f'T{count}', 'Expiration': '2999-01-01T00:00:00Z'}))\n",
    )
    return lambda: len(log.read_text())


@pytest.mark.process
def test_refresh(files, tmp_path):
    """Credentials that the service calls expired are refreshed, even if they claim to be valid."""
    calls = counting_process(tmp_path, files)
    keys = keeper()
    first = keys.frozen()
    assert first == FrozenCredentials("A1", "S", "T1")
    assert keys.frozen() == first
    keys.refresh(first)
    assert keys.frozen() == FrozenCredentials("A2", "S", "T2")
    assert calls() == 2
    # For another request from before the refresh, there is nothing to do.
    keys.refresh(first)
    assert keys.frozen() == FrozenCredentials("A2", "S", "T2")
    assert calls() == 2


@pytest.mark.process
def test_many_threads_refresh_once(files, tmp_path):
    """Twenty threads with the same expired token refresh once."""
    calls = counting_process(tmp_path, files)
    keys = keeper()
    stale = keys.frozen()
    barrier = threading.Barrier(20)

    def work():
        barrier.wait()
        keys.refresh(stale)

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls() == 2
    assert keys.frozen().token == "T2"


@pytest.mark.process
def test_many_threads_look_once(files, tmp_path):
    """Twenty threads that start together look for credentials once."""
    calls = counting_process(tmp_path, files)
    keys = keeper()
    threads = [threading.Thread(target=keys.frozen) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls() == 1


@pytest.mark.process
def test_refresh_without_success(files, tmp_path):
    """A refresh that fails raises a CredentialsError."""
    counting_process(tmp_path, files)
    keys = keeper()
    stale = keys.frozen()
    process_profile(files, tmp_path, "raise SystemExit(1)")
    with pytest.raises(CredentialsError, match="could not be fetched"):
        keys.refresh(stale)


def test_refresh_of_credentials_that_are_gone(files):
    """If the credentials are gone at a refresh, a CredentialsError says so."""
    files(credentials="[default]\naws_access_key_id = A\naws_secret_access_key = S\n")
    keys = keeper()
    stale = keys.frozen()
    files()
    with pytest.raises(CredentialsError, match="there are no others"):
        keys.refresh(stale)


def test_given_credentials_are_not_replaced(files, environment):
    """A refresh never replaces credentials that the caller gave."""
    environment(AWS_ACCESS_KEY_ID="other", AWS_SECRET_ACCESS_KEY="other")
    keys = keeper(given=Credentials("A", "S", "T"))
    keys.refresh(keys.frozen())
    assert keys.frozen() == FrozenCredentials("A", "S", "T")


def test_credentials_of_a_session_are_not_replaced(files, environment):
    """A refresh never replaces credentials that a session was given, static or refreshable."""
    environment(AWS_ACCESS_KEY_ID="other", AWS_SECRET_ACCESS_KEY="other")
    session: Any = boto3.Session("A", "S", "T", region_name="us-east-1")
    keys = keeper(session)
    keys.refresh(keys.frozen())
    assert keys.frozen() == FrozenCredentials("A", "S", "T")

    # Nor does it fail if there are no others to find.
    environment(AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    keys.refresh(keys.frozen())
    assert keys.frozen() == FrozenCredentials("A", "S", "T")
    environment(AWS_ACCESS_KEY_ID="other", AWS_SECRET_ACCESS_KEY="other")

    session = botocore.session.Session()
    expiry = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=5)
    # The usual recipe for a role that is assumed repeatedly.
    session._credentials = RefreshableCredentials(
        "A", "S", "T", expiry, refresh_using=dict, method="sts-assume-role"
    )
    keys = keeper(session)
    keys.refresh(keys.frozen())
    assert keys.frozen() == FrozenCredentials("A", "S", "T")


def test_credentials_that_refresh_themselves():
    """botocore's refreshable credentials are asked again for each signature."""
    count = iter(range(1, 100))

    def fetch():
        number = next(count)
        expiry = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=1)
        return {
            "access_key": f"A{number}",
            "secret_key": "S",
            "token": "T",
            "expiry_time": expiry.isoformat(),
        }

    refreshable = RefreshableCredentials.create_from_metadata(fetch(), fetch, "mine")
    keys = keeper(given=refreshable)
    assert keys.frozen().access_key != keys.frozen().access_key


def test_refreshing_that_fails():
    """botocore's RuntimeError for a refresh that gives expired credentials becomes ours."""
    expired = {
        "access_key": CANARY,
        "secret_key": CANARY,
        "token": CANARY,
        "expiry_time": "2001-01-01T00:00:00Z",
    }
    refreshable = RefreshableCredentials.create_from_metadata(expired, lambda: expired, "mine")
    with pytest.raises(CredentialsError) as caught:
        keeper(given=refreshable).frozen()
    assert CANARY not in str(caught.value)


# ---------------------------------------------------------------- the signing edge


def test_requests_are_signed_by_the_corrected_clock(files, monkeypatch):
    """Requests are signed as botocore signs them, at the service's time once it is known."""
    now = 1_893_553_445.0
    edge = SigningEdge(found(region="us-east-1"), clock=lambda: now)
    keys = FrozenCredentials("A", CANARY, CANARY)
    call = calls.Call("PutPartnerEvents", CANARY.encode(), bytes.decode)
    for server_time in (None, now - 3600, now + 86_400.5):
        if server_time is not None:
            edge.correct_clock(server_time)
        request = edge.request(call, keys, invocation_id="id", attempt=3)
        assert CANARY not in repr(request) + repr(call) + repr(keys) + repr(edge)
        assert request.url == "https://events.us-east-1.amazonaws.com/"
        assert request.body == CANARY.encode()
        assert request.headers["X-Amz-Target"] == "AWSEvents.PutPartnerEvents"
        assert request.headers["amz-sdk-request"] == "attempt=3"
        assert request.headers["User-Agent"] == edge.configuration.user_agent
        moment = datetime.datetime.fromtimestamp(int(server_time or now), datetime.UTC)
        assert request.headers["X-Amz-Date"] == moment.strftime("%Y%m%dT%H%M%SZ")
        assert (
            signature_by_botocore(request, moment, monkeypatch) == request.headers["Authorization"]
        )


def signature_by_botocore(request, moment, monkeypatch):
    signed = request.headers["Authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    headers = {
        name: value for name, value in request.headers.items() if name.lower() in signed.split(";")
    }
    oracle = AWSRequest("POST", request.url, headers=headers, data=request.body)
    monkeypatch.setattr(
        "botocore.auth.get_current_datetime", lambda *args, **kwargs: moment.replace(tzinfo=None)
    )
    SigV4Auth(Credentials("A", CANARY, CANARY), "events", "us-east-1").add_auth(oracle)
    return oracle.headers["Authorization"]


def test_time_goes_on_after_a_correction(files):
    """The correction is an offset: the signing time advances with the clock."""
    times = iter([100.0, 100.0, 160.0])
    edge = SigningEdge(found(region="us-east-1"), clock=lambda: next(times))
    call = calls.Call("PutPartnerEvents", b"", bytes.decode)
    edge.correct_clock(1100.0)
    keys = FrozenCredentials("A", "S")
    dates = [
        edge.request(call, keys, invocation_id="i", attempt=1).headers["X-Amz-Date"]
        for _ in range(2)
    ]
    assert dates == ["19700101T001820Z", "19700101T001920Z"]


def test_a_profile_is_shown_escaped():
    """The profile's name is escaped in errors, so that it cannot forge a log line."""
    client = PartnerEventsClient("us-east-1", profile="x\r\ny\x1b[2K")
    with pytest.raises(ConfigurationError) as caught:
        client.look_up()
    assert r"x\r\ny\x1b[2K" in str(caught.value)
    assert str(caught.value).isprintable()
    assert caught.value.__cause__ is None
