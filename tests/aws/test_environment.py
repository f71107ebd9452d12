"""The environment is read as botocore reads it, without importing botocore if it suffices."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
from collections import Counter

import botocore
import botocore.session
import orjson
import pytest
from botocore.loaders import Loader

from eventbridge_partner import ConfigurationError, CredentialsError, PartnerEventsClient
from eventbridge_partner.aws.configuration import AwsConfiguration, resolve
from eventbridge_partner.aws.credentials import CredentialsKeeper
from eventbridge_partner.aws.endpoint_rules import InstalledBotocore, NotUnderstoodError
from eventbridge_partner.aws.environment import (
    EnvironmentCredentials,
    EnvironmentSettings,
    speaks_alone,
)
from eventbridge_partner.aws.session import BotocoreSession
from eventbridge_partner.aws.shared import SharedSession
from eventbridge_partner.wire.sigv4 import FrozenCredentials

MISSING = "/nonexistent/file"
BOOLEANS = ["", "true", "TRUE", "True", "false", "1", "yes", " true", "tru\u00e9"]
URLS = ["", "https://own.example.com", "https://own.example.com:8443/", "http://localhost:4566",
        "http://own.example.com", "https://user:s3cret@own.example.com", "own.example.com", " "]  # fmt: skip
REGIONS = ["", "us-east-1", "eu-central-1", "us-gov-west-1", "cn-north-1", "us-iso-east-1",
           "xx-new-1", "aws-global", "US-EAST-1", "us east 1", "us-east-1.evil.com", "\u00e9"]  # fmt: skip
PROXIES = ["", "http://proxy:1", "http://user:s3cret@proxy:2", "proxy"]
FILES = ["", os.devnull, MISSING, __file__, "$HOME/config", "~/config"]
ANY_TEXT = ["", "x", "0", "-1", "true", "\u00e9", "a b"]
KEYS = ["", "AKIDEXAMPLE", "a b", "\u00e9", "x\ty"]
NUMBERS = ["", "0", "1", "-1", "7", " 7 ", "1_0", "1.5", "many", "\u0663"]
VALUES = {
    "AWS_REGION": REGIONS,
    "AWS_DEFAULT_REGION": REGIONS,
    "AWS_ENDPOINT_URL": URLS,
    "AWS_ENDPOINT_URL_EVENTBRIDGE": URLS,
    "AWS_ENDPOINT_URL_EVENTS": URLS,
    "AWS_ENDPOINT_URL_S3": URLS,
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": BOOLEANS,
    "AWS_USE_FIPS_ENDPOINT": BOOLEANS,
    "AWS_USE_DUALSTACK_ENDPOINT": BOOLEANS,
    "AWS_CA_BUNDLE": FILES,
    "REQUESTS_CA_BUNDLE": FILES,
    "HTTPS_PROXY": PROXIES,
    "https_proxy": PROXIES,
    "HTTP_PROXY": PROXIES,
    "All_Proxy": PROXIES,
    "NO_PROXY": ["", "*", "amazonaws.com", "localhost", "own.example.com:8443", ".com"],
    "no_proxy": ["", "*", "example.com"],
    "REQUEST_METHOD": ["", "GET"],
    "AWS_MAX_ATTEMPTS": NUMBERS,
    "AWS_SDK_UA_APP_ID": ["", "app", "my app/1", "\u00e9", "a\nb"],
    "AWS_ACCESS_KEY_ID": KEYS,
    "AWS_SECRET_ACCESS_KEY": KEYS,
    "AWS_SESSION_TOKEN": KEYS,
    "AWS_SECURITY_TOKEN": KEYS,
    "AWS_CREDENTIAL_EXPIRATION": ["", "2999-01-01T00:00:00Z", "2001-01-01T00:00:00Z", "soon"],
    "AWS_METADATA_SERVICE_TIMEOUT": NUMBERS,
    "AWS_METADATA_SERVICE_NUM_ATTEMPTS": NUMBERS,
    "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": ["", "ipv4", "IPv6", "ipv5"],
    "AWS_IMDS_USE_IPV6": BOOLEANS,
    "AWS_PROFILE": ["", "default", "missing"],
    "AWS_DEFAULT_PROFILE": ["", "default", "missing"],
    "AWS_CONFIG_FILE": FILES,
    "AWS_SHARED_CREDENTIALS_FILE": FILES,
    "AWS_DATA_PATH": ["", MISSING],
    # These make no difference to us.
    "AWS_ACCOUNT_ID": ANY_TEXT,
    "AWS_CREDENTIAL_FILE": ANY_TEXT,
    "AWS_DEFAULTS_MODE": ["", "legacy", "auto", "x"],
    "AWS_EXECUTION_ENV": ANY_TEXT,
    "AWS_RETRY_MODE": ["", "standard", "adaptive", "x"],
    "AWS_ROLE_SESSION_NAME": ANY_TEXT,
    "AWS_STS_REGIONAL_ENDPOINTS": ANY_TEXT,
    "BOTO_CONFIG": ANY_TEXT,
}
"""The values that each variable can have; it can also be missing."""

RARE = {
    "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_DATA_PATH", "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION", "AWS_METADATA_SERVICE_TIMEOUT",
    "AWS_METADATA_SERVICE_NUM_ATTEMPTS", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
}  # fmt: skip
"""If one of them is set, botocore is asked; if they were common, it always would be."""

COMMON = {"AWS_REGION": "us-west-2", "AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "S"}


def an_environment(chance):
    """Return an environment: a normal one, or one with a few surprises, or with many."""
    variables = dict(chance.choice([{}, COMMON]))
    rare = chance.random() < 0.25
    for name in chance.sample(sorted(VALUES), chance.randrange(13)):
        if rare or name not in RARE:
            variables[name] = chance.choice(VALUES[name])
    return variables


@pytest.fixture
def only(monkeypatch, tmp_path):
    """Set the environment to these variables, with a home that holds one file."""
    (tmp_path / "config").write_text("[default]\nregion = eu-west-3\n")
    before = dict(os.environ)
    kept = {name: before[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in before}

    def write(variables):
        os.environ.clear()
        os.environ.update(kept, HOME=str(tmp_path), AWS_EC2_METADATA_DISABLED="true", **variables)

    yield write
    os.environ.clear()
    os.environ.update(before)


LOADER = Loader()
"""Shared by all sessions, because it caches the files that it has read."""


def session():
    opened = botocore.session.Session(include_builtin_handlers=False)
    opened.register_component("data_loader", LOADER)
    return BotocoreSession(opened)


def result(of):
    """Return what a function returns, or the error that it raises."""
    try:
        return of()
    except (ConfigurationError, CredentialsError) as error:
        return type(error), str(error)


class Finder:
    """Finds credentials by calling the given function."""

    def __init__(self, find):
        self.find_credentials = self.find_other_credentials = find


def compare(endpoint_url):
    """Compare both readings of the environment; return the parts that could be read."""
    if not speaks_alone():
        return set()
    read = {"settings"}
    theirs = result(lambda: resolve(session(), region=None, endpoint_url=endpoint_url))
    try:
        ours = result(
            lambda: resolve(EnvironmentSettings(), region=None, endpoint_url=endpoint_url)
        )
    except NotUnderstoodError:
        assert not isinstance(theirs, AwsConfiguration)  # but an error, in botocore's words
    else:
        assert ours == theirs
        read.add("configuration" if isinstance(ours, AwsConfiguration) else "error")

    found = EnvironmentCredentials.find()
    if found is not None:
        theirs = session().session.get_credentials()
        assert found.method == theirs.method
        assert result(CredentialsKeeper(Finder(lambda: found), None).frozen) == result(
            CredentialsKeeper(Finder(lambda: theirs), None).frozen
        )
        read.add("credentials")
    return read


@pytest.mark.slow
def test_environments_are_read_as_botocore_does(only):
    """Thousands of environments, some malformed or conflicting, are read as botocore reads them."""
    read: Counter[str] = Counter()
    for seed in range(3_000):
        chance = random.Random(seed)
        variables = an_environment(chance)
        only(variables)
        try:
            read.update(compare(chance.choice([None, None, "https://127.0.0.1:9"])))
        except BaseException as error:
            error.add_note(f"environment {seed}: {variables}")
            raise
    assert read["configuration"] > 500
    assert read["error"] > 500
    assert read["credentials"] > 500


def every_region():
    partitions = LOADER.load_data("partitions")["partitions"]
    return [region for partition in partitions for region in partition["regions"]]


@pytest.mark.parametrize("fips", ["false", "true"])
@pytest.mark.parametrize("dual_stack", ["false", "true"])
def test_every_region_has_botocores_endpoint(only, fips, dual_stack):
    """Each Region that botocore knows, and two that it does not know, get botocore's endpoint."""
    only({"AWS_USE_FIPS_ENDPOINT": fips, "AWS_USE_DUALSTACK_ENDPOINT": dual_stack})
    asked = session()
    regions = [*every_region(), "us-east-99", "xx-new-1"]
    assert len(regions) > 40
    for region in regions:
        theirs = result(lambda region=region: resolve(asked, region=region, endpoint_url=None))
        if not isinstance(theirs, AwsConfiguration):
            with pytest.raises(NotUnderstoodError):
                EnvironmentSettings().endpoint(region)
        else:
            ours = resolve(EnvironmentSettings(), region=region, endpoint_url=None)
            assert ours == theirs


# ---------------------------------------------------------------- when botocore is asked


@pytest.mark.parametrize(
    "variables",
    [
        {"AWS_PROFILE": "x"},
        {"AWS_PROFILE": ""},
        {"AWS_DEFAULT_PROFILE": "x"},
        {"AWS_CONFIG_FILE": "~/config"},
        {"AWS_CONFIG_FILE": "$HOME/config"},
        {"AWS_SHARED_CREDENTIALS_FILE": __file__},
        {"AWS_DATA_PATH": MISSING},
    ],
    ids=str,
)
def test_profiles_and_files_are_left_to_botocore(only, variables):
    """A profile, or a file that exists, is left to botocore."""
    only(COMMON)
    assert speaks_alone()
    only({**COMMON, **variables})
    assert not speaks_alone()


@pytest.mark.parametrize("name", ["config", "credentials"])
def test_files_in_the_home_directory_are_left_to_botocore(only, tmp_path, name):
    """A config or credentials file in the home directory is left to botocore."""
    only(COMMON)
    (tmp_path / ".aws").mkdir()
    assert speaks_alone()
    (tmp_path / ".aws" / name).touch()
    assert not speaks_alone()


def test_custom_models_are_left_to_botocore(only, tmp_path):
    """Data files in the home directory override botocore's own, so botocore reads them."""
    only(COMMON)
    (tmp_path / ".aws" / "models").mkdir(parents=True)
    assert not speaks_alone()


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_system_proxies_are_left_to_botocore(only, monkeypatch, platform):
    """On Windows and macOS, proxies can come from the system, so botocore is asked."""
    only(COMMON)
    monkeypatch.setattr(sys, "platform", platform)
    assert not speaks_alone()


def test_initializers_are_called(only, monkeypatch):
    """If an application has registered an initializer, a session is opened and passed to it."""
    only(COMMON)
    monkeypatch.setattr(botocore, "_INITIALIZERS", [])
    called = []
    botocore.register_initializer(called.append)
    SharedSession().resolve(None, None)
    assert called


@pytest.mark.parametrize(
    "name", ["AWS_SECURITY_TOKEN", "AWS_CREDENTIAL_EXPIRATION", "AWS_METADATA_SERVICE_TIMEOUT"]
)
def test_qualified_credentials_are_left_to_botocore(only, name):
    """Variables that qualify the credentials leave them to botocore."""
    only(COMMON)
    assert EnvironmentCredentials.find() is not None
    only({**COMMON, name: "1"})
    assert EnvironmentCredentials.find() is None


def test_a_profile_or_a_session_wins(only):
    """A given profile or session takes precedence over the environment."""
    only(COMMON)
    opened = botocore.session.Session()
    opened.set_config_variable("region", "sa-east-1")
    opened.set_credentials("given", "given")
    shared = SharedSession(session=opened)
    assert shared.resolve(None, None).region == "sa-east-1"
    assert shared.credentials.frozen().access_key == "given"
    with pytest.raises(ConfigurationError, match="missing"):
        SharedSession(profile="missing").resolve(None, None)
    with pytest.raises(ConfigurationError, match="profile is given with a session"):
        PartnerEventsClient(profile="missing", session=opened)


# ---------------------------------------------------------------- credentials that expire


def test_an_expired_token_reads_the_environment_again(only):
    """New values of the variables are used once the service calls the token expired."""
    only({**COMMON, "AWS_SESSION_TOKEN": "T1"})
    credentials = SharedSession().credentials
    assert credentials.may_block()
    stale = credentials.frozen()
    assert not credentials.may_block()
    credentials.refresh(stale)
    assert credentials.frozen() == stale
    os.environ["AWS_SESSION_TOKEN"] = "T2"
    assert credentials.frozen() == stale
    credentials.refresh(stale)
    assert credentials.frozen().token == "T2"


def test_an_empty_token_is_none(only):
    """An empty token counts as none, and such credentials can be renewed too."""
    only({**COMMON, "AWS_SESSION_TOKEN": ""})
    credentials = SharedSession().credentials
    stale = credentials.frozen()
    assert stale.token is None
    os.environ["AWS_SESSION_TOKEN"] = "T1"
    credentials.refresh(stale)
    assert credentials.frozen().token == "T1"


def test_variables_that_are_gone(only):
    """If the variables are gone when the token expires, a CredentialsError says so."""
    only(COMMON)
    credentials = SharedSession().credentials
    stale = credentials.frozen()
    only({})
    with pytest.raises(CredentialsError, match="there are no others"):
        credentials.refresh(stale)


def test_another_identity_is_not_taken(only, tmp_path):
    """Credentials that appear in a file meanwhile are ignored: they are somebody else's."""
    only(COMMON)
    credentials = SharedSession().credentials
    stale = credentials.frozen()
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = B\naws_secret_access_key = S\n"
    )
    only({"AWS_SHARED_CREDENTIALS_FILE": "~/credentials"})
    credentials.refresh(stale)
    assert credentials.frozen() == stale


def test_credentials_do_not_show(only):
    """The repr of the environment's credentials shows no key."""
    only({**COMMON, "AWS_ACCESS_KEY_ID": "s3cret", "AWS_SECRET_ACCESS_KEY": "s3cret"})
    assert "s3cret" not in repr(EnvironmentCredentials.find())


# ---------------------------------------------------------------- without botocore


PROGRAM = """
import sys
from eventbridge_partner import HttpResponse, PartnerEvent, PartnerEventsClient
class Accepting:
    def send(self, request, timeouts):
        return HttpResponse(200, {}, b'{"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}')
client = PartnerEventsClient(transport=Accepting())
client.put_events([PartnerEvent("aws.partner/a/b", "t", "{}")]).raise_for_undelivered()
print(client.endpoint_url, sorted({"botocore", "boto3", "tenacity"} & set(sys.modules)))
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("variables", "printed"),
    [
        ({}, "https://events.us-west-2.amazonaws.com/ []"),
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, "https://events-fips.us-west-2.amazonaws.com/ []"),
        ({"HTTPS_PROXY": "http://proxy:1"}, "https://events.us-west-2.amazonaws.com/ []"),
        ({"AWS_ENDPOINT_URL": "http://localhost:1"}, "http://localhost:1/ []"),
    ],
    ids=str,
)
def test_botocore_is_not_imported(tmp_path, variables, printed):
    """A process with all settings in its environment sends without importing botocore."""
    environment = {**COMMON, **variables, "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, check=True, capture_output=True, text=True
    )
    assert finished.stdout.strip() == printed


def test_credentials_from_elsewhere_load_botocore_at_the_first_use(only, monkeypatch):
    """Botocore is opened at the first look-up, not at signing, where a fork could interrupt it."""
    opened = []
    monkeypatch.setattr(
        "eventbridge_partner.aws.session.BotocoreSession.open", lambda *_: opened.append(True)
    )
    only({"AWS_REGION": "us-west-2"})
    SharedSession(credentials=FrozenCredentials("A", "S")).resolve(None, None)
    assert not opened
    SharedSession().resolve(None, None)
    assert opened


# ---------------------------------------------------------------- unexpected data files


@pytest.fixture
def installed(tmp_path):
    """Return a folder like botocore's, a function that replaces its rules, and the rules."""
    folder = tmp_path / "botocore"
    service = folder / "data" / "events" / "2015-10-07"
    service.mkdir(parents=True)
    (folder / "__init__.py").write_text("__version__ = '1.2.3'\n")
    rules = LOADER.load_data("events/2015-10-07/endpoint-rule-set-1")
    (folder / "data" / "partitions.json").write_text(json.dumps(LOADER.load_data("partitions")))
    (service / "endpoint-rule-set-1.json.gz").write_bytes(gzip.compress(orjson.dumps(rules)))

    def write(content):
        (service / "endpoint-rule-set-1.json").write_bytes(
            content if isinstance(content, bytes) else orjson.dumps(content)
        )

    return InstalledBotocore(folder), write, orjson.loads(orjson.dumps(rules))


def endpoint(found, region="us-east-1"):
    return found.endpoint(region, use_fips=False, use_dual_stack=False)


def test_packed_or_plain_files(installed):
    """The rules are read from a compressed file or from a plain one."""
    found, write, rules = installed
    assert found.version() == "1.2.3"
    assert endpoint(found) == "https://events.us-east-1.amazonaws.com"
    write(rules)
    assert endpoint(found) == "https://events.us-east-1.amazonaws.com"


def rule(conditions, url="https://x"):
    return {"conditions": conditions, "endpoint": {"url": url}, "type": "endpoint"}


PARAMETERS = {
    "Region": {"required": False},
    "UseFIPS": {"required": True, "default": False},
    "UseDualStack": {"required": True, "default": False},
}
NOT_UNDERSTOOD = {
    "another function": [rule([{"fn": "parseURL", "argv": [{"ref": "Region"}]}])],
    "another kind of argument": [rule([{"fn": "isSet", "argv": [7]}])],
    "too many arguments": [rule([{"fn": "isSet", "argv": [True, True]}])],
    "a path of attributes": [
        rule([{"fn": "getAttr", "argv": [{"ref": "Region"}, "a.b"]}])
    ],
    "an unknown reference": [rule([{"fn": "isSet", "argv": [{"ref": "Bucket"}]}])],
    "an unknown name in the URL": [rule([], "https://{Bucket}")],
    "a value that is no text": [rule([], "https://{UseFIPS}")],
    "a URL that is no text": [rule([], {"ref": "Region"})],
    "unbalanced braces": [rule([], "https://{{Region}}")],
    "a partition whose pattern is none": [
        rule([{"fn": "aws.partition", "argv": [{"ref": "UseFIPS"}]}])
    ],
    "a name that another rule gave": [
        rule([{"fn": "isSet", "argv": [{"ref": "Region"}], "assign": "Given"},
              {"fn": "not", "argv": [True]}]),
        rule([{"fn": "isSet", "argv": [{"ref": "Given"}]}]),
    ],
    "an error": [{"conditions": [], "error": "no", "type": "error"}],
    "another kind of rule": [{"conditions": [], "type": "leaf"}],
    "no rule that applies": [rule([{"fn": "booleanEquals", "argv": [True, False]}])],
    "no rules": [],
    "rules that are none": [7],
}  # fmt: skip


@pytest.mark.parametrize("rules", NOT_UNDERSTOOD.values(), ids=NOT_UNDERSTOOD)
def test_rules_that_are_not_understood(installed, rules):
    """Rules that we do not understand raise NotUnderstoodError, so that botocore is asked."""
    found, write, _ = installed
    write({"parameters": PARAMETERS, "rules": [rule([])]})
    assert endpoint(found) == "https://x"
    write({"parameters": PARAMETERS, "rules": rules})
    with pytest.raises(NotUnderstoodError):
        endpoint(found)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {**PARAMETERS, "Bucket": {"required": True}},
        {name: value for name, value in PARAMETERS.items() if name != "UseDualStack"},
    ],
)
def test_parameters_that_are_not_understood(installed, parameters):
    """Rules with other parameters than ours raise NotUnderstoodError."""
    found, write, _ = installed
    write({"parameters": parameters, "rules": [rule([])]})
    with pytest.raises(NotUnderstoodError):
        endpoint(found)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"\xff", b'{"rules": []}'])
def test_files_that_are_not_understood(installed, content):
    """A broken rules file raises NotUnderstoodError."""
    found, write, _ = installed
    write(content)
    with pytest.raises(NotUnderstoodError):
        endpoint(found)


def test_missing_files(tmp_path):
    """A botocore without a readable folder, as in a zip file, raises NotUnderstoodError."""
    found = InstalledBotocore(tmp_path / "archive.zip" / "botocore")
    with pytest.raises(NotUnderstoodError):
        endpoint(found)
    with pytest.raises(NotUnderstoodError):
        found.version()


@pytest.mark.parametrize("content", ["", "__version__ = compute()\n", "# __version__ = '1'\n"])
def test_versions_that_are_not_understood(installed, tmp_path, content):
    """A version that is not a plain literal raises NotUnderstoodError."""
    found, _, _ = installed
    (tmp_path / "botocore" / "__init__.py").write_text(content)
    with pytest.raises(NotUnderstoodError):
        found.version()


def test_botocore_is_asked_if_its_files_are_not_understood(only, monkeypatch):
    """Botocore is asked if its files are not understood, and the configuration is the same."""
    only(COMMON)
    expected = SharedSession().resolve(None, None)
    monkeypatch.setattr(sys, "meta_path", [Elsewhere, *sys.meta_path])
    monkeypatch.delitem(sys.modules, "botocore")
    with pytest.raises(NotUnderstoodError):
        InstalledBotocore.find()
    assert SharedSession().resolve(None, None) == expected


class Elsewhere:
    """Finds botocore without a folder."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        return importlib_spec(name) if name == "botocore" else None


def importlib_spec(name):
    from importlib.machinery import ModuleSpec

    return ModuleSpec(name, None)
