"""`sources` on the command line, with the local service over HTTP."""

from __future__ import annotations

import datetime
import json
import re

import pytest

from eventbridge_partner.handoff import handoff
from eventbridge_partner.testing import FailRequest, LoseAnswer

PREFIX = "aws.partner/example.com/"
NAME = PREFIX + "acme"
ACCOUNT = "123456789012"
ARN = f"arn:aws:events:us-east-1::event-source/{NAME}"
IN_ACCOUNT = (NAME, "--account", ACCOUNT)


@pytest.fixture(autouse=True)
def _served(endpoint):
    """All tests here talk to the service."""


@pytest.mark.parametrize("action", ["create", "ensure"])
def test_creating_prints_the_arn(run, service, action):
    """The ARN is printed alone, or with the name as JSON."""
    ended = run("sources", action, *IN_ACCOUNT)
    assert (ended.status, ended.out, ended.err) == (0, ARN + "\n", "")
    ended = run("sources", "ensure", *IN_ACCOUNT, "--json")
    assert (ended.status, ended.results) == (0, [{"name": NAME, "arn": ARN}])
    assert service.sources.get(NAME, ACCOUNT).state == "PENDING"


def test_creating_an_existing_source(run):
    """`create` fails, and `ensure` succeeds."""
    assert run("sources", "create", *IN_ACCOUNT).status == 0
    ended = run("sources", "create", *IN_ACCOUNT)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("eventbridge-partner sources create: ResourceAlreadyExists")
    assert run("sources", "ensure", *IN_ACCOUNT).status == 0


def test_list(run, service):
    """Sources are listed in aligned columns, or as a line of JSON each."""
    for name in (NAME, NAME + "-2"):
        service.sources.create(name, ACCOUNT)
    ended = run("sources", "list", PREFIX)
    assert ended.status == 0
    heading, first, second = ended.out.splitlines()
    assert re.fullmatch(r"NAME +ARN", heading)
    assert first.split() == [NAME, ARN]
    assert second.index(ARN) == first.index(ARN) == heading.index("ARN")
    lines = run("sources", "list", PREFIX, "--json").results
    assert lines == [{"name": NAME, "arn": ARN}, {"name": NAME + "-2", "arn": ARN + "-2"}]


def test_an_empty_list(run):
    """An empty list is reported to people, and prints nothing as JSON."""
    ended = run("sources", "list", PREFIX)
    assert (ended.status, ended.out, ended.err) == (0, "", "0 sources\n")
    ended = run("sources", "list", PREFIX, "--json")
    assert (ended.status, ended.out, ended.err) == (0, "", "")


def test_describe(run, service):
    """`describe` prints the ARN, and exits with status 1 if there is no such source."""
    assert run("sources", "describe", NAME).status == 1
    service.sources.create(NAME, ACCOUNT)
    assert run("sources", "describe", NAME).out == ARN + "\n"


def test_accounts(run, service):
    """Accounts are listed with state and times, in UTC."""
    service.sources.create(NAME, ACCOUNT)
    service.sources.create(NAME, "210987654321")
    service.sources.associate(NAME, "210987654321")
    heading, first, second = run("sources", "accounts", NAME).out.splitlines()
    assert heading.split() == ["ACCOUNT", "STATE", "CREATION", "EXPIRATION"]
    assert re.fullmatch(r"123456789012  PENDING  (\d{4}-\d\d-\d\d \d\d:\d\d UTC *){2}", first)
    assert second.endswith(" -")
    found = run("sources", "accounts", NAME, "--json").results
    assert [one["state"] for one in found] == ["PENDING", "ACTIVE"]
    created = datetime.datetime.fromisoformat(found[0]["creation_time"])
    assert created.tzinfo is not None
    assert found[1]["expiration_time"] is None


def test_state(run, service):
    """The state is printed as one word."""
    service.sources.create(NAME, ACCOUNT)
    assert run("sources", "state", *IN_ACCOUNT).out == "PENDING\n"
    assert run("sources", "state", *IN_ACCOUNT, "--json").results == [
        {"source": NAME, "account": ACCOUNT, "state": "PENDING"}
    ]
    assert run("sources", "state", NAME, "--account", "210987654321").status == 1


def test_wait(run, service):
    """The command exits with status 0 once the source is ACTIVE, and with 1 at the timeout."""
    service.sources.create(NAME, ACCOUNT)
    ended = run("sources", "wait", *IN_ACCOUNT, "--timeout", "0.01")
    assert (ended.status, ended.out) == (1, "")
    first, second = ended.err.splitlines()
    assert re.fullmatch(rf"{NAME} is PENDING until \d{{4}}-\d\d-\d\d \d\d:\d\d UTC", first)
    assert "is PENDING after 0.01 s" in second
    service.sources.associate(NAME, ACCOUNT)
    ended = run("sources", "wait", *IN_ACCOUNT)
    assert (ended.status, ended.out, ended.err) == (0, "ACTIVE\n", f"{NAME} is ACTIVE\n")
    assert run("sources", "wait", *IN_ACCOUNT, "--json").results[0]["state"] == "ACTIVE"


def test_expiring_sets_the_exit_status(run, service):
    """The command exits with status 1 if a source expires in time, and with 0 otherwise."""
    service.sources.create(NAME, ACCOUNT)
    ended = run("sources", "expiring", PREFIX, "--within", "3d")
    assert (ended.status, ended.out, ended.err) == (0, "", "0 expiring sources\n")
    ended = run("sources", "expiring", PREFIX, "--within", "15d")
    assert ended.status == 1
    heading, line = ended.out.splitlines()
    assert heading.split() == ["SOURCE", "ACCOUNT", "STATE", "EXPIRATION"]
    assert line.startswith(f"{NAME}  {ACCOUNT}  PENDING")
    ended = run("sources", "expiring", PREFIX, "--within", "15d", "--json")
    assert (ended.status, ended.results[0]["source"]) == (1, NAME)
    service.sources.associate(NAME, ACCOUNT)
    assert run("sources", "expiring", PREFIX, "--within", "15d").status == 0


def test_delete(run, service):
    """`delete` prints nothing, and with --missing-ok it does not need a source."""
    service.sources.create(NAME, ACCOUNT)
    ended = run("sources", "delete", *IN_ACCOUNT)
    assert (ended.status, ended.out, ended.err) == (0, "", "")
    assert len(service.sources) == 0
    service.play(FailRequest("ResourceNotFoundException", times=None))
    assert run("sources", "delete", *IN_ACCOUNT).status == 1
    assert run("sources", "delete", *IN_ACCOUNT, "--missing-ok").status == 0


@pytest.mark.parametrize("form", ["text", "cli", "cloudformation", "terraform"])
def test_handoff(run, service, form):
    """Instructions for the customer are printed in the format asked for, and nothing is sent."""
    ended = run("sources", "handoff", *IN_ACCOUNT, "--format", form)
    expected = handoff(NAME, account=ACCOUNT, region="us-east-1", format=form)
    assert (ended.status, ended.out, ended.err) == (0, expected, "")
    found = run("sources", "handoff", *IN_ACCOUNT, "--format", form, "--json").results
    assert found == [
        {
            "source": NAME,
            "account": ACCOUNT,
            "region": "us-east-1",
            "format": form,
            "text": expected,
        }
    ]
    assert service.request_count == 0


def test_handoff_is_for_people_by_default(run):
    """The default format is text, for the Region asked for."""
    expected = handoff(NAME, account=ACCOUNT, region="eu-west-1")
    assert run("sources", "handoff", *IN_ACCOUNT, "--region", "eu-west-1").out == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", "acme", "--account", "1"), "source is 'acme'; allowed: .*; account is '1'"),
        (("list", "acme"), "prefix is 'acme'; allowed"),
        (("expiring", PREFIX, "--within", "3y"), "--within: '3y'; allowed: a number above 0"),
        (("expiring", PREFIX, "--within", "0d"), "--within: '0d'; allowed"),
        (("expiring", PREFIX, "--within", "9" * 400), "--within: '9*'…; allowed"),
        (("wait", *IN_ACCOUNT, "--timeout", "-1"), "--timeout"),
        (("create", NAME), "required: --account"),
        (("expiring", PREFIX), "required: --within"),
        ((), "required: ACTION"),
        (("handoff", "acme", "--account", ACCOUNT), "source is 'acme'; allowed"),
        (("handoff", *IN_ACCOUNT, "--format", "pulumi"), "--format: invalid choice"),
    ],
)
def test_wrong_usage(run, service, arguments, words):
    """The command exits with status 2, and nothing is sent."""
    ended = run("sources", *arguments)
    assert (ended.status, ended.out) == (2, "")
    assert re.search(words, ended.err)
    assert service.request_count == 0


def test_no_credentials(run, monkeypatch):
    """The command exits with status 3."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert run("sources", "list", PREFIX).status == 3


def test_no_region(run, monkeypatch):
    """The command exits with status 3 unless the option or the environment names a Region."""
    monkeypatch.delenv("AWS_REGION")
    assert run("sources", "list", PREFIX).status == 3
    assert run("sources", "list", PREFIX, "--region", "us-east-1").status == 0


def test_a_refusal_by_the_service(run, service):
    """The command exits with status 1, and prints the service's code."""
    service.play(FailRequest("LimitExceededException"))
    ended = run("sources", "create", *IN_ACCOUNT)
    assert (ended.status, ended.out) == (1, "")
    assert "LimitExceededException" in ended.err


def test_an_answer_that_never_comes(run, service):
    """The message says that the operation may have been carried out."""
    service.play(LoseAnswer(times=None))
    ended = run("sources", "create", *IN_ACCOUNT, "--max-attempts", "1")
    assert ended.status == 1
    assert ended.err.endswith("(it may have been carried out)\n")
    assert service.request_count == 1


def test_json_is_one_object_on_each_line(run, service):
    """Programs that read line by line can read it."""
    for number in range(120):
        service.sources.create(f"{NAME}-{number:03}", ACCOUNT)
    lines = run("sources", "list", PREFIX, "--json").out.splitlines()
    assert [json.loads(line)["name"] for line in lines] == [f"{NAME}-{n:03}" for n in range(120)]
