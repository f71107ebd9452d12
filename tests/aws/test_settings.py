"""Errors and look-ups name the setting that won: an argument, a variable or a file."""

from __future__ import annotations

import boto3
import pytest
from botocore.config import Config

from eventbridge_partner import ConfigurationError, CredentialsError, PartnerEventsClient
from eventbridge_partner.aws.shared import SharedSession

CANARY = "s3cr3tCanary"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Write AWS's config and credentials files; return their paths."""

    def write(config="", credentials=""):
        paths = tmp_path / "config", tmp_path / "credentials"
        for path, text in zip(paths, (config, credentials), strict=True):
            path.write_text(text)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(paths[0]))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(paths[1]))
        return paths

    return write


@pytest.fixture(params=["environment", "botocore"])
def reader(request, files):
    """Read the environment directly, or through botocore."""
    if request.param == "botocore":
        files()


def origins(**settings):
    given = {name: settings.pop(name, None) for name in ("region", "endpoint_url")}
    return SharedSession(**settings).resolve(given["region"], given["endpoint_url"]).origins


def test_arguments(reader):
    found = origins(region="eu-west-1", endpoint_url="https://own.example.com")
    assert (found.region, found.endpoint) == ("the argument region", "the argument endpoint_url")
    assert (found.ca_bundle, found.proxy) == (None, None)


def test_variables(reader, monkeypatch):
    """If several variables are set, the one that won is named."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert origins().region == "AWS_DEFAULT_REGION"
    assert origins().endpoint == "the Region"
    for name, value in {
        "AWS_REGION": "eu-west-2",
        "AWS_ENDPOINT_URL": "https://own.example.com",
        "HTTPS_PROXY": "http://proxy:1",
        "SSL_CERT_FILE": __file__,
    }.items():
        monkeypatch.setenv(name, value)
    found = origins()
    assert (found.region, found.endpoint) == ("AWS_REGION", "AWS_ENDPOINT_URL")
    assert (found.ca_bundle, found.proxy) == ("SSL_CERT_FILE", "HTTPS_PROXY")
    for name, value in {
        "AWS_ENDPOINT_URL_EVENTBRIDGE": "https://own.example.com",
        "AWS_CA_BUNDLE": __file__,
        "https_proxy": "http://proxy:2",
    }.items():
        monkeypatch.setenv(name, value)
    found = origins()
    assert found.endpoint == "AWS_ENDPOINT_URL_EVENTBRIDGE"
    assert (found.ca_bundle, found.proxy) == ("AWS_CA_BUNDLE", "https_proxy")


def test_files(files):
    """A setting from a file is named with its profile, and with the file that won."""
    config, credentials = files(
        f"[profile dev]\nregion = eu-west-1\nca_bundle = {__file__}\n"
        "endpoint_url = https://own.example.com\n",
        "[dev]\nregion = eu-west-2\n",
    )
    found = origins(profile="dev")
    assert found.region == f"region of profile dev in {credentials}"
    assert found.endpoint == f"endpoint_url of profile dev in {config}"
    assert found.ca_bundle == f"ca_bundle of profile dev in {config}"


def test_sessions(files):
    """A setting made in code is named as the session's, or as its default client config's."""
    files()
    session = boto3.Session(region_name="eu-west-1")
    assert origins(session=session).region == "the session"
    proxies = {"https": "http://proxy"}
    session._session.set_default_client_config(Config(region_name="eu-west-2", proxies=proxies))
    found = origins(session=session)
    assert found.region == found.proxy == "the session's default client config"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_REGION", "us east 1"),
        ("AWS_DEFAULT_REGION", "us east 1"),
        ("AWS_ENDPOINT_URL", "own.example.com"),
        ("AWS_ENDPOINT_URL_EVENTBRIDGE", f"https://user:{CANARY}@own.example.com"),
        ("AWS_CA_BUNDLE", "/nonexistent"),
        ("REQUESTS_CA_BUNDLE", "/nonexistent"),
        ("SSL_CERT_FILE", "/nonexistent"),
        ("AWS_MAX_ATTEMPTS", "0"),
    ],
)
def test_variables_at_fault_are_named(reader, monkeypatch, name, value):
    """An error begins with the variable's name, whether botocore reads it or we do."""
    if "REGION" not in name:
        monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        PartnerEventsClient().look_up()
    assert str(caught.value).startswith(f"{name} ")
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("setting", ["region", "endpoint_url", "ca_bundle", "max_attempts"])
def test_files_at_fault_are_named(files, setting):
    """An error about a file begins with the setting, the profile and the file."""
    config, _ = files(f"[profile dev]\nregion = us-east-1\n{setting} = not this\n")
    if setting == "region":
        config, _ = files("[profile dev]\nregion = not this\n")
    with pytest.raises(ConfigurationError) as caught:
        PartnerEventsClient(profile="dev").look_up()
    assert str(caught.value).startswith(f"{setting} of profile dev in {config} ")


@pytest.mark.parametrize("variable", [None, "AWS_PROFILE", "AWS_DEFAULT_PROFILE"])
def test_a_profile_that_does_not_exist(files, monkeypatch, variable):
    """The error says what names the profile, and which files lack it."""
    config, credentials = files()
    if variable is not None:
        monkeypatch.setenv(variable, "gone")
    with pytest.raises(ConfigurationError) as caught:
        PartnerEventsClient("us-east-1", profile=None if variable else "gone").look_up()
    assert str(caught.value) == (
        f"{variable or 'the argument profile'} is 'gone', and there is no such profile in "
        f"{config} or {credentials}"
    )


@pytest.mark.parametrize(
    "name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]
)
def test_credentials_at_fault_are_named(reader, monkeypatch, name):
    """The error names the one variable at fault, and shows nothing of its value."""
    for each in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(each, f"{CANARY}\n" if each == name else CANARY)
    with pytest.raises(CredentialsError, match=f"from {name} holds a space") as caught:
        PartnerEventsClient("us-east-1").look_up(credentials=True)
    assert CANARY not in str(caught.value)


def test_half_of_a_pair_of_keys(monkeypatch):
    """The error names the variable that is missing."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", CANARY)
    with pytest.raises(CredentialsError, match="AWS_SECRET_ACCESS_KEY is missing"):
        PartnerEventsClient("us-east-1").look_up(credentials=True)


def test_keys_of_a_file_at_fault(files):
    """The error says that the key comes from the credentials file."""
    files("", f"[default]\naws_access_key_id = A\naws_secret_access_key = {CANARY} x\n")
    with pytest.raises(CredentialsError, match="secret access key from AWS's credentials file"):
        PartnerEventsClient("us-east-1").look_up(credentials=True)
