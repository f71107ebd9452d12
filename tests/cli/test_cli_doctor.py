"""`doctor` on the command line: a line for each finding, and an exit status for scripts."""

from __future__ import annotations

import socket

import pytest

from eventbridge_partner.testing import FailRequest

CANARY = "s3cr3tCanary"
PREFIX = "aws.partner/example.com/"
ACCOUNT = "123456789012"


@pytest.fixture
def keys(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"AKID{CANARY}")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", CANARY)


def test_a_set_up_that_can_deliver(run, endpoint, service):
    """The command exits with status 0, with a line per finding and a summary on standard error."""
    service.sources.create(PREFIX + "acme", ACCOUNT)
    service.sources.associate(PREFIX + "acme", ACCOUNT)
    ended = run("doctor", "--prefix", PREFIX)
    assert ended.status == 0
    assert {line.split()[0] for line in ended.out.splitlines()} == {"pass"}
    assert f"endpoint      {endpoint}/, from AWS_ENDPOINT_URL_EVENTBRIDGE" in ended.out
    assert ended.err == "9 pass, 0 warn, 0 fail\n"


def test_a_warning_comes_with_its_fix(run, endpoint, service):
    """A warning leaves the exit status at 0."""
    service.sources.create(PREFIX + "acme", ACCOUNT)
    ended = run("doctor", "--prefix", PREFIX)
    assert ended.status == 0
    first, second = ended.out.splitlines()[-2:]
    assert first.startswith("warn  sources       PENDING")
    assert second.strip() == (
        "to fix it: send their customers: eventbridge-partner sources handoff NAME --account ID"
    )


def test_json(run, endpoint):
    """The command prints one JSON line for each finding."""
    ended = run("doctor", "--json")
    assert ended.status == 0
    found = {one["check"]: one for one in ended.results}
    assert found["region"]["facts"] == {"value": "us-east-1", "origin": "AWS_REGION"}
    assert found["service"]["status"] == "pass"
    assert found["sources"]["fix"].startswith("eventbridge-partner doctor --prefix ")


def test_a_failure(run, endpoint, service):
    """The command exits with status 1."""
    service.play(FailRequest("AccessDeniedException", times=None))
    ended = run("doctor")
    assert ended.status == 1
    assert "fail  service" in ended.out


def test_an_empty_environment(run):
    """The command exits with status 3, because nothing could be looked up."""
    ended = run("doctor")
    assert ended.status == 3
    assert "fail  region" in ended.out
    assert "fail  credentials" in ended.out
    assert run("doctor", "--offline", "--region", "us-east-1").status == 0


def test_only_keys(run, keys):
    """The command exits with status 3 without a Region, because no service could be asked."""
    ended = run("doctor")
    assert ended.status == 3
    assert "pass  credentials   temporary credentials, from AWS_ACCESS_KEY_ID" in ended.out
    assert CANARY not in ended.out + ended.err


def test_a_profile_that_does_not_exist(run, monkeypatch):
    """The command exits with status 3, and names the profile."""
    ended = run("doctor", "--profile", "nope", "--region", "us-east-1")
    assert ended.status == 3
    assert "fail  files     the argument profile is 'nope'" in ended.out
    assert run("doctor", "--profile", "nope", "--offline").status == 3


def test_nothing_answers(run, keys):
    """The command exits with status 1, because the host did not answer."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    ended = run("doctor", "--region", "us-east-1", "--endpoint-url", url)
    assert ended.status == 1
    assert f"no connection to 127.0.0.1:{port}" in ended.out
    assert CANARY not in ended.out + ended.err


def test_usage(run):
    """An invalid prefix is wrong usage."""
    assert run("doctor", "--prefix", "acme").status == 2


def test_an_outbox(run, endpoint, monkeypatch):
    """An option or a variable names the outbox, and an invalid URL fails like any check."""
    assert run("outbox", "create", "--outbox", "sqlite:///shop.db").status == 0
    ended = run("doctor", "--outbox", "sqlite:///shop.db")
    assert ended.status == 0
    assert "has version 1 of the tables" in ended.out
    monkeypatch.setenv("EVENTBRIDGE_PARTNER_OUTBOX", f"mysql://user:{CANARY}@host/db")
    ended = run("doctor")
    assert ended.status == 1
    assert "the URL of EVENTBRIDGE_PARTNER_OUTBOX begins with mysql://" in ended.out
    assert CANARY not in ended.out + ended.err


def test_an_outbox_without_a_service(run):
    """The outbox could be looked at, so this is an ordinary failure."""
    run("outbox", "create", "--outbox", "sqlite:///shop.db")
    assert run("doctor", "--outbox", "sqlite:///shop.db").status == 1
    assert run("doctor", "--outbox", "sqlite:///none.db").status == 3


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_no_secret_is_printed(run, keys, monkeypatch, tmp_path, form):
    """No key, token, or password of a proxy, an endpoint or a database is printed."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{CANARY}@127.0.0.1:9")
    dsn = f"postgresql://user:{CANARY}@127.0.0.1:9/shop"
    ended = run("doctor", "--outbox", dsn, *form)
    assert ended.status == 1
    assert "127.0.0.1:9" in ended.out
    assert CANARY not in ended.out + ended.err
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://user:{CANARY}@127.0.0.1")
    ended = run("doctor", "--outbox", dsn + f"?password={CANARY}&nonsense={CANARY}", *form)
    assert ended.status == 3
    assert "AWS_ENDPOINT_URL holds a user name or password" in ended.out
    assert CANARY not in ended.out + ended.err


def test_an_invalid_option(run):
    """The option is refused before anything is looked at, and its password is not shown."""
    ended = run("doctor", "--endpoint-url", f"https://user:{CANARY}@host")
    assert (ended.status, ended.out) == (3, "")
    assert "endpoint_url holds a user name or password" in ended.err
    assert CANARY not in ended.err
