"""The fixtures and the marker, used as another project's tests would."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from eventbridge_partner import pytest_plugin
from eventbridge_partner.testing import EVERY_FAULT, EventPattern

pytestmark = pytest.mark.process

HEAD = """\
import pytest
from eventbridge_partner import PartnerEvent
from eventbridge_partner.testing import *

SOURCE = "aws.partner/example.com/acme/tickets"


def event(number=1):
    return PartnerEvent(SOURCE, "ticket.created", {"ticket": number})

"""


@pytest.fixture
def attempt(pytester: pytest.Pytester) -> Any:
    """Return a function that runs tests in a process of their own, with warnings as errors."""

    def attempt(tests: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_it=HEAD + tests)
        pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
        return pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider", *options)

    return attempt


def test_a_client_of_a_service_of_its_own(attempt):
    """Each test has a new service, and a client that does not wait between attempts."""
    ran = attempt("""\
def test_one(eventbridge, eventbridge_client):
    eventbridge.play(FailEntries("ThrottlingException", times=2), SlowAnswer(20))
    assert eventbridge_client.put_events([event()]).counts.accepted == 1
    assert_accepted(eventbridge, detail={"ticket": 1})
    assert eventbridge.request_count == 3

def test_two(eventbridge, eventbridge_client):
    assert_nothing_accepted(eventbridge)
""")
    ran.assert_outcomes(passed=2)
    assert ran.duration < 15


def test_asyncio_with_either_plugin(attempt):
    """The client for asyncio uses the test's loop, with pytest-asyncio and with anyio."""
    ran = attempt("""\
@pytest.mark.asyncio
async def test_with_pytest_asyncio(eventbridge, eventbridge_async_client):
    async with eventbridge_async_client as client:
        await client.put_events([event()])
    assert_accepted(eventbridge)

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_with_anyio(eventbridge, eventbridge_async_client):
    async with eventbridge_async_client as client:
        await client.put_events([event()])
    assert_accepted(eventbridge)

def test_unused(eventbridge_async_client):
    pass
""")
    ran.assert_outcomes(passed=3)


def test_an_async_client_must_be_closed(attempt):
    """A client that is left open fails the test, with advice on what to write."""
    ran = attempt("""\
@pytest.mark.asyncio
async def test_left_open(eventbridge_async_client):
    await eventbridge_async_client.put_events([event()])
""")
    assert ran.parseoutcomes()["errors"] == 1
    ran.stdout.fnmatch_lines(["*left open: use it in `async with eventbridge_async_client:`*"])


def test_code_that_makes_its_own_client(attempt, monkeypatch):
    """`eventbridge_environment` leads boto3 and this package to the service, only in its test."""
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:1")
    ran = attempt("""\
import os
import boto3
from eventbridge_partner import PartnerEventsClient

def test_ours(eventbridge, eventbridge_environment):
    with PartnerEventsClient() as client:
        client.put_events([event()])
    assert_accepted(eventbridge, source=SOURCE)

def test_boto3(eventbridge, eventbridge_environment):
    entry = {"Source": SOURCE, "DetailType": "t", "Detail": "{}"}
    client = boto3.Session().client("events")
    client.put_partner_events(Entries=[entry])
    client.close()
    assert_accepted(eventbridge, detail_type="t")

def test_after():
    assert os.environ["AWS_PROFILE"] == "production"
    assert "AWS_ACCESS_KEY_ID" not in os.environ
""")
    ran.assert_outcomes(passed=3)


def test_the_marker_plays_faults_and_makes_sources(attempt):
    """The marker plays faults and makes sources; for each setting, the nearest marker counts."""
    ran = attempt("""\
@pytest.mark.eventbridge(sources={SOURCE: "ACTIVE"}, seed=7, faults=[LoseAnswer()])
class TestMarked:
    def test_both(self, eventbridge, eventbridge_client):
        (outcome,) = eventbridge_client.put_events([event()])
        assert outcome.attempts == 2
        assert_accepted(eventbridge, 2)

    @pytest.mark.eventbridge(faults=[FailRequest("InternalFailure", 500)])
    def test_nearest(self, eventbridge, eventbridge_client):
        eventbridge_client.put_events([event()])
        assert [record.status for record in eventbridge.requests] == [500, 200]
        assert len(eventbridge.sources) == 1

@pytest.mark.eventbridge(sources={SOURCE: "PENDING"})
def test_pending(eventbridge, eventbridge_client):
    eventbridge_client.put_events([event()])
    (entry,) = assert_accepted(eventbridge)
    assert entry.dropped_for

@pytest.mark.eventbridge(sources={SOURCE: "DELETED"})
def test_deleted(eventbridge, eventbridge_client):
    (outcome,) = eventbridge_client.put_events([event()])
    assert outcome.source_is_gone
""")
    ran.assert_outcomes(passed=4)


def test_faults_that_never_played_fail_the_test(attempt):
    """A test whose fault never played gets an error, unless it failed itself."""
    ran = attempt("""\
@pytest.mark.eventbridge(faults=[LoseAnswer(), FailEntries("X", indexes=[5])])
def test_unplayed(eventbridge_client):
    eventbridge_client.put_events([event()])

@pytest.mark.eventbridge(faults=[LoseAnswer()], unplayed="allow")
def test_allowed(eventbridge):
    pass

@pytest.mark.eventbridge(faults=[LoseAnswer()])
def test_failed(eventbridge):
    assert False
""")
    ran.assert_outcomes(passed=2, failed=1, errors=1)
    ran.stdout.fnmatch_lines(["never played: FailEntries(times=1, *code='X'*unplayed='allow')*"])


WRONG_MARKERS = {
    "fault=[]": "found fault; allowed: faults, sources, seed, unplayed, by name",
    "[]": "found [[][]]; allowed",
    "unplayed='warn'": "unplayed is 'warn'; allowed: 'fail', 'allow'",
    "sources={SOURCE: 'OPEN'}": "is 'OPEN'; allowed: PENDING, ACTIVE, DELETED",
}


def test_a_marker_that_is_wrong(attempt):
    """A wrong marker is an error that says what is allowed."""
    ran = attempt(
        "\n".join(
            f"""\
@pytest.mark.eventbridge({marker})
def test_{number}(eventbridge):
    pass
"""
            for number, marker in enumerate(WRONG_MARKERS)
        )
    )
    assert ran.parseoutcomes() == {"errors": len(WRONG_MARKERS)}
    for number, says in enumerate(WRONG_MARKERS.values()):
        ran.stdout.fnmatch_lines([f"*ERROR at setup of test_{number} *", f"E *{says}*"])


def test_an_outbox_of_its_own(attempt):
    """A test's outbox is created, and a relay delivers from it to the test's service."""
    ran = attempt("""\
import sqlite3
from eventbridge_partner.outbox import Relay

def test_outbox(eventbridge, eventbridge_client, eventbridge_outbox, tmp_path):
    connection = sqlite3.connect(tmp_path / "outbox.sqlite")
    with connection:
        connection.execute("BEGIN")
        eventbridge_outbox.add(connection, event())
    connection.close()
    assert eventbridge_outbox.stats().waiting == 1
    Relay(eventbridge_outbox, eventbridge_client).drain()
    assert_accepted(eventbridge, detail={"ticket": 1})
""")
    ran.assert_outcomes(passed=1)


def test_each_kind_of_fault(attempt):
    """`eventbridge_fault` runs a test once for each fault, which must have played."""
    ran = attempt("""\
def test_every_event_has_an_outcome(eventbridge, eventbridge_client, eventbridge_fault):
    report = eventbridge_client.put_events([event(1), event(2)])
    assert report.counts.total == 2

def test_nothing_sent(eventbridge_fault):
    pass
""")
    count = len(EVERY_FAULT)
    ran.assert_outcomes(passed=2 * count, errors=count)


def test_the_names_of_faults_are_those_of_every_fault():
    """The plugin repeats the names of faults, so that collecting tests imports nothing."""
    assert tuple(EVERY_FAULT) == pytest_plugin.FAULT_NAMES


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_events_of_failed_tests_are_kept(attempt, pytester, workers):
    """Events of failed tests are kept, as JSON Lines of envelopes that `EventPattern` matches."""
    (pytester.path / "kept.jsonl").write_text("old")
    ran = attempt(
        """\
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_even(number, eventbridge, eventbridge_client):
    eventbridge_client.put_events([event(number)])
    assert number % 2 == 0

def test_time(eventbridge, eventbridge_client):
    entry = {"Source": SOURCE, "DetailType": "t", "Detail": "{}"}
    eventbridge.play(LoseAnswer())
    assert False
""",
        *("--eventbridge-keep", "kept.jsonl"),
        *workers,
    )
    ran.assert_outcomes(passed=2, failed=3)
    kept = [json.loads(line) for line in (pytester.path / "kept.jsonl").read_text().splitlines()]
    assert sorted(envelope["detail"]["ticket"] for envelope in kept) == [1, 3]
    assert all(EventPattern({"detail-type": ["ticket.created"]}).matches(one) for one in kept)


def test_a_file_that_cannot_be_written_ends_the_run(attempt):
    """If events cannot be kept, the run ends before the first test."""
    ran = attempt("def test_it(): pass", "--eventbridge-keep", "missing/kept.jsonl")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(
        ["*--eventbridge-keep: cannot write missing/kept.jsonl: No such file*"]
    )


def test_a_session_without_fixtures_imports_nothing_else(pytester):
    """A session without fixtures imports only the plugin, which every project's pytest loads."""
    pytester.makepyfile(
        test_it="""\
import sys

def test_imports():
    print("loaded:", *sorted(name for name in sys.modules if "eventbridge" in name))
"""
    )
    ran = pytester.runpytest_subprocess("-s", "-p", "no:cacheprovider")
    loaded = next(line for line in ran.outlines if "loaded:" in line).split("loaded:")[1].split()
    face = subprocess.run(
        [sys.executable, "-c", "import sys, eventbridge_partner; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(loaded) - set(face.stdout.split()) == {"eventbridge_partner.pytest_plugin"}


def test_fixtures_and_marker_are_described(pytester):
    """`pytest --fixtures` and `--markers` show them."""
    shown = pytester.runpytest_subprocess("--fixtures", "-p", "no:cacheprovider")
    for name in ("eventbridge", "eventbridge_client", "eventbridge_environment"):
        shown.stdout.fnmatch_lines([f"{name} -- *pytest_plugin.py:*"])
    pytester.runpytest_subprocess("--markers").stdout.fnmatch_lines(["@pytest.mark.eventbridge(*"])
