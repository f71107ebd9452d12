"""`doctor.check` says what is wrong with a set-up and how to fix it, and changes nothing."""

from __future__ import annotations

import datetime
import inspect
import json
import socket
import threading
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, get_args

import pytest
from botocore.credentials import RefreshableCredentials

from eventbridge_partner import (
    AsyncPartnerEventsClient,
    ConfigurationError,
    CredentialsError,
    InvalidEventError,
    OutboxUnavailableError,
    PartnerEvent,
    PartnerEventsClient,
    StaticCredentials,
    Timeouts,
    doctor,
)
from eventbridge_partner.doctor import Finding
from eventbridge_partner.doctor._advice import refused
from eventbridge_partner.outbox import OutboxStats, PostgresOutbox, SqliteOutbox
from eventbridge_partner.testing import (
    ExpireToken,
    FailRequest,
    FakeEventBridge,
    GarbleAnswer,
    LocalServer,
    WrongClock,
)
from tests.transports.servers import served, silent

CANARY = "s3cr3tCanary"
PREFIX = "aws.partner/example.com/"
NAME = PREFIX + "acme"
ACCOUNT = "123456789012"

Checked = dict[str, Any]
"""Findings by their check."""


def by_check(found: tuple[Finding, ...]) -> Checked:
    return {finding.check: finding for finding in found}


@pytest.fixture
def look(service: FakeEventBridge, server: LocalServer) -> Callable[..., Checked]:
    """Checks a client of the local service over HTTP; arguments of a client go to the client."""

    def look(
        *, credentials: Any = service.credentials, region: str = service.region, **settings: Any
    ) -> Checked:
        with PartnerEventsClient(
            region, endpoint_url=server.url, credentials=credentials
        ) as client:
            return by_check(doctor.check(client, **settings))

    return look


@pytest.fixture
def service() -> FakeEventBridge:
    return FakeEventBridge()


@pytest.fixture
def server(service: FakeEventBridge) -> Any:
    with service.serve() as server:
        yield server


# ---------------------------------------------------------------- a set-up that can deliver


def test_a_set_up_that_can_deliver(service, look):
    """All checks pass, in the order of their names, with two read-only requests."""
    service.sources.create(NAME, ACCOUNT)
    service.sources.associate(NAME, ACCOUNT)
    found = look(prefix=PREFIX)
    assert {finding.status for finding in found.values()} == {"pass"}
    assert all(finding.fix is None for finding in found.values())
    order = get_args(doctor.CheckName)
    assert sorted(found, key=order.index) == list(found)
    assert [record.operation for record in service.requests] == [
        "ListPartnerEventSources",
        "ListPartnerEventSourceAccounts",
    ]
    assert service.sources.get(NAME, ACCOUNT).state == "ACTIVE"


def test_without_a_prefix(service, look):
    """The service is asked with any prefix, and a warning says that sources were not looked at."""
    found = look()
    assert found["service"].status == "pass"
    assert found["sources"].status == "warn"
    assert "--prefix" in found["sources"].fix
    assert service.request_count == 1


def test_offline(service, look):
    """Offline, the service is not asked, and no finding speaks of it."""
    found = look(offline=True, credentials=StaticCredentials("AKID", CANARY))
    assert service.request_count == 0
    assert found["credentials"].message == "lasting credentials, from the argument credentials"
    assert not {"service", "clock", "sources"} & set(found)


def test_findings_as_plain_values(look):
    """Each finding is ready for JSON."""
    for finding in look().values():
        plain = finding.to_dict()
        assert json.loads(json.dumps(plain)) == plain
        assert set(plain) == {"check", "status", "message", "fix", "facts"}


def test_versions(look):
    """The versions of the package, Python and the libraries are listed."""
    facts = look(offline=True)["versions"].facts
    assert {"eventbridge-partner", "Python", "botocore", "urllib3", "aiohttp", "pycurl"} <= set(
        facts
    )


def test_a_library_that_is_too_old(look, monkeypatch):
    """A library that is too old is named, with the oldest version allowed."""
    installed = metadata.version
    monkeypatch.setattr(
        "importlib.metadata.version",
        lambda name: "1.26.18" if name == "urllib3" else installed(name),
    )
    found = look(offline=True)["versions"]
    assert found.status == "warn"
    assert found.message.startswith("urllib3 1.26.18 is older than 2.")


# ---------------------------------------------------------------- what the service says

REFUSALS = {
    "denied": (FailRequest("AccessDeniedException", message="User x is not authorized"), "IAM"),
    "no partner": (FailRequest("OperationDisabledException"), "register"),
    "unknown key": (FailRequest("UnrecognizedClientException"), "check"),
    "wrong secret": (
        FailRequest(
            "InvalidSignatureException",
            message=f"The Canonical String for this request should have been '{CANARY}'",
        ),
        "secret",
    ),
    "unavailable": (FailRequest("InternalFailure", status=500), "again"),
    "unreadable": (GarbleAnswer(), "what answers"),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_refusals_are_told_apart(service, look, reason):
    """Each refusal names its fix, and repeats nothing of what was signed."""
    fault, fix = REFUSALS[reason]
    service.play(fault)
    found = look()["service"]
    assert (found.status, found.facts["reason"]) == ("fail", reason)
    assert fix in found.fix
    assert CANARY not in str(found)


def test_throttling_is_a_warning(service, look):
    """Throttling is only a warning, because the credentials were accepted."""
    service.play(FailRequest("ThrottlingException"))
    found = look()["service"]
    assert (found.status, found.facts["reason"]) == ("warn", "throttled")


def test_a_wrong_key_and_a_wrong_secret(service, look):
    """The local service tells them apart, as AWS does, and so does the doctor."""
    key = str(service.credentials.access_key)
    assert look(credentials=StaticCredentials("AKIDOTHER", "x"))["service"].facts["reason"] == (
        "unknown key"
    )
    assert look(credentials=StaticCredentials(key, "x"))["service"].facts["reason"] == (
        "wrong secret"
    )


def test_a_wrong_secret_in_a_variable(service, look, monkeypatch):
    """The fix names the variable of the secret, not that of the key."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", str(service.credentials.access_key))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    assert "in AWS_SECRET_ACCESS_KEY," in look(credentials=None)["service"].fix


def test_a_wrong_region_at_a_fixed_endpoint(service, look):
    """The Region is reported as wrong, not the secret."""
    found = look(region="eu-west-1")["service"]
    assert found.facts["reason"] == "wrong region"
    assert "--region or AWS_REGION" in found.fix


def test_a_stale_token_beside_lasting_keys(service, look):
    """The key is unknown with a token that is not its own, and the fix says to unset the token."""
    keys = service.credentials
    stale = StaticCredentials(str(keys.access_key), str(keys.secret_key), "stale")
    found = look(credentials=stale)["service"]
    assert found.facts["reason"] == "unknown key"
    assert "unset AWS_SESSION_TOKEN" in found.fix


def test_a_token_that_has_expired(service, look):
    """The service says that the token has expired, and the fix asks for fresh credentials."""
    service.play(ExpireToken())
    found = look()
    assert found["service"].facts["reason"] == "expired"
    assert "fresh credentials" in found["service"].fix


@pytest.mark.parametrize(("offset", "status"), [(-7200, "fail"), (100, "warn"), (10, "pass")])
def test_the_clock(service, look, offset, status):
    """The clock is compared with the service's Date header."""
    found = look(clock=lambda: time.time() + offset)["clock"]
    assert found.status == status
    assert found.facts["ahead"] == pytest.approx(offset, abs=3)
    assert (found.fix is None) == (status == "pass")


def test_a_clock_that_the_service_refuses(service, look):
    """The client signs with the service's time, so events are sent; the clock check fails."""
    service.play(WrongClock(7200))
    found = look()
    assert found["clock"].status == "fail"
    assert found["clock"].facts["ahead"] == pytest.approx(-7200, abs=3)
    assert found["service"].status == "pass"


# ---------------------------------------------------------------- sources


def test_pending_sources(service, look):
    """The finding names the sources, counts those that expire soon, and says what to do."""
    for number in range(8):
        service.sources.create(f"{NAME}-{number}", ACCOUNT)
    found = look(prefix=PREFIX)["sources"]
    assert found.status == "warn"
    assert f"8 of 8 ({NAME}-0 in {ACCOUNT}, " in found.message
    assert "and 3 more" in found.message
    assert "sources handoff" in found.fix
    assert found.facts == {"looked_at": 8, "all": True, "pending": 8, "expiring": 0}


def test_sources_about_to_expire():
    """Sources that are about to expire are named first, and the message says how many they are."""
    day = 86400
    now = time.time() - 10 * day
    service = FakeEventBridge(pending_seconds=12 * day, clock=lambda: now)
    service.sources.create(f"{NAME}-old", ACCOUNT)
    now += 10 * day
    for number in range(8):
        service.sources.create(f"{NAME}-{number}", ACCOUNT)
    with (
        service.serve() as server,
        PartnerEventsClient(
            service.region, endpoint_url=server.url, credentials=service.credentials
        ) as client,
    ):
        found = by_check(doctor.check(client, prefix=PREFIX))["sources"]
    assert (found.facts["pending"], found.facts["expiring"]) == (9, 1)
    assert f"9 of 9 ({NAME}-old in {ACCOUNT}, " in found.message
    assert "1 expire within 3 days" in found.message


def test_many_sources_are_not_all_looked_at(service, look):
    """At most fifty sources are looked at, over several pages."""
    for number in range(60):
        service.sources.create(f"{NAME}-{number:02}", ACCOUNT)
    found = look(prefix=PREFIX)["sources"]
    assert (found.facts["looked_at"], found.facts["all"]) == (50, False)
    assert service.request_count == 51


def test_no_sources(look):
    """A prefix without sources may be wrong, so it is a warning."""
    assert look(prefix=PREFIX)["sources"].status == "warn"


def test_states_without_permission_to_look_at_them(service, look):
    """The fix names the missing permission; the check of the service still passes."""
    service.sources.create(NAME, ACCOUNT)
    service.play(FailRequest("AccessDeniedException", operations="ListPartnerEventSourceAccounts"))
    found = look(prefix=PREFIX)
    assert found["service"].status == "pass"
    assert "events:ListPartnerEventSourceAccounts" in found["sources"].fix


# ---------------------------------------------------------------- nothing answers


def test_a_host_that_refuses_connections():
    """The host is named, and told apart from a refusal by the service."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with PartnerEventsClient(
        "us-east-1",
        endpoint_url=f"http://127.0.0.1:{port}",
        credentials=StaticCredentials("A", "S"),
    ) as client:
        found = by_check(doctor.check(client))["service"]
    assert (found.status, found.facts["reason"]) == ("fail", "unreachable")
    assert f"no connection to 127.0.0.1:{port} (" in found.message
    assert f"outgoing connections to 127.0.0.1:{port}" in found.fix


class Hanging:
    """Credentials, an outbox and a transport that hang until the test ends."""

    def __init__(self) -> None:
        self.end = threading.Event()

    def get_frozen_credentials(self, *_: object) -> Any:
        self.end.wait()
        raise RuntimeError

    send = stats = get_frozen_credentials

    def describe(self) -> str:
        return "the outbox"

    def close(self) -> None:
        """Do nothing."""


@pytest.fixture
def hanging():
    hanging = Hanging()
    yield hanging
    hanging.end.set()


def test_a_silent_server_and_a_silent_database(hanging):
    """All checks end in time, and name what did not answer."""
    with (
        served(silent) as port,
        PartnerEventsClient(
            "us-east-1",
            endpoint_url=f"http://127.0.0.1:{port}",
            credentials=StaticCredentials("A", "S"),
            timeout=Timeouts(connect=60, read=60),
        ) as client,
    ):
        started = time.monotonic()
        found = by_check(doctor.check(client, outbox=hanging, timeout=0.2))
        assert time.monotonic() - started < 30
    assert f"no answer from 127.0.0.1:{port}" in found["service"].message
    assert found["service"].facts["reason"] == "unreachable"
    assert found["outbox"].message == "the outbox gave no answer within 0.2 s"


@pytest.mark.parametrize("what", ["credentials", "transport"])
def test_look_ups_and_transports_that_hang(hanging, what):
    """A look-up or a transport that hangs is waited for only until the timeout."""
    given = {"credentials": StaticCredentials("A", "S")} | {what: hanging}
    found = by_check(doctor.check(PartnerEventsClient("us-east-1", **given), timeout=0.2))
    failed = found["credentials" if what == "credentials" else "service"]
    assert failed.status == "fail"
    assert "0.1 s" in failed.message or "0.2 s" in failed.message


def test_ten_seconds_at_most():
    """The default timeout leaves room for starting and printing within ten seconds."""
    assert inspect.signature(doctor.check).parameters["timeout"].default <= 9


def test_a_transport_that_raises_any_exception():
    """The message names the exception's class, but not its text."""

    class Raising(Hanging):
        def send(self, *_: Any) -> Any:
            raise RuntimeError(CANARY)

    client = PartnerEventsClient(
        "us-east-1", credentials=StaticCredentials("A", "S"), transport=Raising()
    )
    found = by_check(doctor.check(client))["service"]
    assert found.message == "the transport raised RuntimeError"


def unfit(*, ca_bundle: Any, proxies: Any) -> Any:
    raise ConfigurationError("it needs a library: pip install it")


def broken(*, ca_bundle: Any, proxies: Any) -> Any:
    raise RuntimeError(CANARY)


@pytest.mark.parametrize(
    ("transport", "message"),
    [(unfit, "it needs a library: pip install it"), (broken, "making it raised RuntimeError")],
)
def test_a_transport_that_cannot_be_made(transport, message):
    """The transport check fails alone, and credentials are still looked at."""
    client = PartnerEventsClient(
        "us-east-1", credentials=StaticCredentials("A", "S"), transport=transport
    )
    found = by_check(doctor.check(client))
    assert (found["transport"].status, found["transport"].message) == ("fail", message)
    assert found["credentials"].status == "pass"
    assert "service" not in found


def test_credentials_that_cannot_be_renewed():
    """The fix for expired credentials without a successor is the command that renews them."""
    error = CredentialsError("the AWS credentials have expired and there are no others")
    found = refused(error, "events", "IAM Identity Center")
    assert (found.facts["reason"], found.fix) == ("expired", "aws sso login")


# ---------------------------------------------------------------- settings and credentials


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Writes AWS's config file for a test."""

    def write(config: str) -> Path:
        path = tmp_path / "config"
        path.write_text(config)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
        return path

    return write


def offline(*arguments: Any, **settings: Any) -> Checked:
    return by_check(doctor.check(PartnerEventsClient(*arguments, **settings), offline=True))


def test_an_empty_environment():
    """Region and credentials are missing, and everything else is still checked."""
    found = by_check(doctor.check(PartnerEventsClient()))
    failed = {name for name, finding in found.items() if finding.status == "fail"}
    assert failed == {"region", "credentials"}
    assert "service" not in found
    assert "AWS_REGION" in found["region"].fix
    assert "AWS_ACCESS_KEY_ID" in found["credentials"].fix


def test_which_setting_won(monkeypatch, files, tmp_path):
    """The finding names the argument, the variable or the file that won."""
    assert offline("eu-west-1")["region"].facts["origin"] == "the argument region"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    assert offline()["region"].message == "eu-west-2, from AWS_DEFAULT_REGION"
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    assert offline()["region"].message == "eu-west-3, from AWS_REGION"
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    path = files("[profile dev]\nregion = eu-north-1\nendpoint_url = https://own.example.com\n")
    found = offline(profile="dev")
    assert found["region"].message == f"eu-north-1, from region of profile dev in {path}"
    assert found["endpoint"].facts["origin"] == f"endpoint_url of profile dev in {path}"
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{CANARY}@proxy.example.com:3128")
    found = offline(profile="dev")
    assert found["proxy"].message == "http://proxy.example.com:3128, from HTTPS_PROXY"


def test_a_profile_that_does_not_exist(files, monkeypatch):
    """The finding names the profile's origin and the files read; nothing else is checked."""
    path = files("[profile dev]\n")
    found = by_check(doctor.check(PartnerEventsClient(profile="nope")))
    assert list(found) == ["versions", "files"]
    assert found["files"].message.startswith("the argument profile is 'nope', and there is no such")
    assert str(path) in found["files"].message
    monkeypatch.setenv("AWS_PROFILE", "gone")
    assert offline()["files"].message.startswith("AWS_PROFILE is 'gone', ")


def test_invalid_settings(monkeypatch, tmp_path):
    """All errors are reported at once, each with the name of its variable, and no password."""
    (tmp_path / "ca.pem").write_text("none")
    monkeypatch.setenv("AWS_REGION", "us east 1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://user:{CANARY}@own.example.com")
    monkeypatch.setenv("https_proxy", f"ftp://user:{CANARY}@proxy")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "many")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{CANARY} ")
    found = by_check(doctor.check(PartnerEventsClient()))
    variables = {
        "region": "AWS_REGION",
        "endpoint": "AWS_ENDPOINT_URL",
        "proxy": "https_proxy",
        "certificates": "AWS_CA_BUNDLE",
        "attempts": "AWS_MAX_ATTEMPTS",
        "credentials": "AWS_SECRET_ACCESS_KEY",
    }
    for check, variable in variables.items():
        assert found[check].status == "fail", check
        assert variable in found[check].message
        assert found[check].fix
    assert CANARY not in str(found)


def test_a_proxy_variable_that_is_not_read(monkeypatch):
    """ALL_PROXY is ignored, which surprises those who set it, so it is a warning."""
    monkeypatch.setenv("ALL_PROXY", f"http://user:{CANARY}@proxy")
    found = offline("us-east-1")["proxy"]
    assert found.status == "warn"
    assert "HTTPS_PROXY" in found.fix
    assert CANARY not in str(found)


def test_clear_text(monkeypatch):
    """http to a host that was allowed by name is a warning; http to this machine is not."""
    found = offline("us-east-1", endpoint_url="http://box:4566", insecure_hosts=["box"])
    assert found["endpoint"].status == "warn"
    assert offline("us-east-1", endpoint_url="http://127.0.0.1:1")["endpoint"].status == "pass"


def refreshable(seconds: float) -> RefreshableCredentials:
    expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    metadata = {
        "access_key": "AKID",
        "secret_key": CANARY,
        "token": CANARY,
        "expiry_time": expires.isoformat(),
    }
    return RefreshableCredentials.create_from_metadata(metadata, lambda: metadata, "sso")


@pytest.mark.parametrize(
    ("seconds", "status", "fix"),
    [
        (86400, "pass", None),
        (700, "warn", "put fresh credentials where these are from: the argument credentials"),
    ],
)
def test_credentials_that_expire(look, seconds, status, fix):
    """The finding tells when credentials expire and how to get new ones, never what they are."""
    found = look(credentials=refreshable(seconds))["credentials"]
    assert (found.status, found.fix) == (status, fix)
    assert found.facts["temporary"] is True
    assert found.facts["expires"] is not None
    assert CANARY not in str(found)


def test_keys_of_files_are_found_offline(files, monkeypatch, tmp_path):
    """Keys in files are found offline; a process is not asked, and a warning says so."""
    path = files(
        "[default]\nregion = us-east-1\naws_access_key_id = A\naws_secret_access_key = S\n"
    )
    assert offline()["credentials"].message == "lasting credentials, from AWS's config file"
    path.write_text("[default]\nregion = us-east-1\ncredential_process = /nonexistent\n")
    found = offline()["credentials"]
    assert found.status == "warn"
    assert "--offline" in found.fix


# ---------------------------------------------------------------- an outbox


def test_an_outbox(look, tmp_path):
    """The finding covers missing tables, an empty outbox and a backlog."""
    now = [time.time()]
    with SqliteOutbox(tmp_path / "shop.db", clock=lambda: now[0]) as outbox:
        found = look(outbox=outbox)["outbox"]
        assert found.status == "fail"
        assert str(tmp_path / "shop.db") in found.message
        assert "eventbridge-partner outbox create" in found.fix
        outbox.create()
        found = look(outbox=outbox)
        assert found["outbox"].facts == {"version": 1}
        assert found["backlog"].status == found["dead letters"].status == "pass"
        with outbox.transaction() as connection:
            outbox.add(connection, PartnerEvent(NAME, "t", {"canary": CANARY}))
        now[0] += 3600
        found = look(outbox=outbox)["backlog"]
        assert found.status == "warn"
        assert found.message == "1 waiting, 1 due, the oldest for 3600 s"
        assert "eventbridge-partner relay" in found.fix


class Standing:
    """An outbox that returns the given stats, or raises the given error."""

    def __init__(self, found: OutboxStats | Exception) -> None:
        self.found = found

    def stats(self) -> OutboxStats:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def describe(self) -> str:
        return "the outbox"


def test_dead_letters_and_old_transactions(look):
    """Each finding says how to deal with it."""
    since = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    stats = OutboxStats(2, 1, 0, dead=3, held=1, oldest_age=5.0, held_back_since=since)
    found = look(outbox=Standing(stats), offline=True)
    assert found["dead letters"].message == "3"
    assert "outbox dead list" in found["dead letters"].fix
    assert "1 held sources" in found["backlog"].message
    assert "transaction" in found["backlog"].fix


def test_a_database_that_cannot_be_used(look):
    """The database's error is reported."""
    found = look(outbox=Standing(OutboxUnavailableError("gone away")), offline=True)["outbox"]
    assert (found.status, found.message) == ("fail", "gone away")


def test_a_databases_password_is_not_shown(look):
    """A database that refuses connections does not reveal its password."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    outbox = PostgresOutbox(f"postgresql://user:{CANARY}@127.0.0.1:{port}/shop")
    found = look(outbox=outbox, offline=True)["outbox"]
    assert found.status == "fail"
    assert str(port) in found.message
    assert CANARY not in str(found)


# ---------------------------------------------------------------- arguments


def test_arguments():
    """An asyncio client, and a prefix that is not one, are refused at once."""
    with pytest.raises(TypeError, match=r"client is of type .*AsyncPartnerEventsClient; allowed"):
        doctor.check(AsyncPartnerEventsClient())
    with pytest.raises(TypeError, match="client is of type str"):
        doctor.check("us-east-1")
    with pytest.raises(InvalidEventError, match="prefix is 'acme'"):
        doctor.check(PartnerEventsClient(), prefix="acme")
    with pytest.raises(ValueError, match="timeout is 0; allowed"):
        doctor.check(PartnerEventsClient(), timeout=0)
