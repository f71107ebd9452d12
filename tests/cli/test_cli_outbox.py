"""`outbox`, `relay` and `send --outbox`, with real databases and over real HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from eventbridge_partner.outbox import Dead, SqliteOutbox
from eventbridge_partner.testing import FailEntries, FailRequest
from tests.cli.program import SOURCE, entry, json_lines, read_lines
from tests.patience import SOON, until

URL = "sqlite:///shop.db"


@pytest.fixture
def outbox(run):
    """An outbox in the directory in which the program runs."""
    assert run("outbox", "create", "--outbox", URL).status == 0
    with SqliteOutbox("shop.db") as outbox:
        yield outbox


def fill(run, count, **members):
    Path("events.jsonl").write_text(
        json_lines(*(entry(**({"Detail": {"id": number}} | members)) for number in range(count)))
    )
    assert run("send", "events.jsonl", "--outbox", URL).status == 0


def bury(outbox, code="MalformedDetail"):
    while (claim := outbox.claim(events=100, max_bytes=2**24, lease=60)) is not None:
        outbox.settle(claim, [Dead(code, "words")] * len(claim.rows))


# ---------------------------------------------------------------- outbox


def test_create(run):
    """`outbox create` makes the tables, says so, and is idempotent."""
    for _ in range(2):
        ended = run("outbox", "create", "--outbox", URL)
        assert (ended.status, ended.err) == (0, "")
        assert ended.out == "the outbox eventbridge_outbox in shop.db is ready\n"
    assert run("outbox", "upgrade", "--outbox", URL, "--json").results == [
        {"table": "eventbridge_outbox", "schema": None}
    ]


def test_the_variable_names_an_outbox(run, monkeypatch):
    """EVENTBRIDGE_PARTNER_OUTBOX replaces --outbox in every command."""
    monkeypatch.setenv("EVENTBRIDGE_PARTNER_OUTBOX", URL)
    assert run("outbox", "create").status == 0
    assert run("outbox", "stats").status == 0
    assert run("relay", "--once", "--region", "eu-west-1").status == 0


def test_no_outbox_is_named(run, monkeypatch):
    """Naming no outbox is wrong usage, and the message says how to name one."""
    monkeypatch.delenv("EVENTBRIDGE_PARTNER_OUTBOX", raising=False)
    for command in (["outbox", "stats"], ["relay"], ["send", "-", "--outbox"]):
        ended = run(*command)
        assert ended.status == 2
        assert "Give --outbox URL or set EVENTBRIDGE_PARTNER_OUTBOX" in ended.err


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("mysql://me:canary@host/db", "begins with mysql://"),
        ("canary", "is no URL"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("", "which outbox"),
    ],
)
def test_invalid_urls(run, url, word, monkeypatch):
    """An invalid outbox URL is refused without being repeated."""
    monkeypatch.delenv("EVENTBRIDGE_PARTNER_OUTBOX", raising=False)
    ended = run("outbox", "stats", "--outbox", url)
    assert ended.status == (3 if url else 2)
    assert word in ended.err
    assert "canary" not in ended.err


def test_passwords_are_never_shown(run):
    """A database that cannot be reached is named without its password."""
    ended = run("outbox", "stats", "--outbox", "postgresql+psycopg://me:canary@127.0.0.1:1/db")
    assert ended.status == 1
    assert "cannot be used" in ended.err
    assert "canary" not in ended.err + ended.out


def test_names(run):
    """A table name that needs quotes is a configuration error."""
    ended = run("outbox", "create", "--outbox", URL, "--table", "Bad Name")
    assert ended.status == 3
    assert "table is 'Bad Name'" in ended.err
    assert run("outbox", "create", "--outbox", URL, "--schema", "x").status == 3


def test_no_tables(run):
    """Without tables, every action names the command that creates them."""
    for action in (["stats"], ["upgrade"], ["dead", "list"]):
        ended = run("outbox", *action, "--outbox", URL)
        assert ended.status == 3
        assert "eventbridge-partner outbox create" in ended.err
    assert not Path("shop.db").exists()


def test_schema(run):
    """`outbox schema` prints what `create` would do, without connecting to a database."""
    ended = run("outbox", "schema", "--outbox", "postgresql://127.0.0.1:1/none")
    assert ended.status == 0
    assert ended.out.startswith("CREATE TABLE eventbridge_outbox (")
    assert run("outbox", "schema", "--outbox", URL, "--since", "1").out == ""
    assert run("outbox", "schema", "--outbox", URL, "--since", "9").status == 2
    (members,) = run("outbox", "schema", "--outbox", URL, "--json").results
    with contextlib.closing(sqlite3.connect("shop.db")) as connection:
        connection.executescript(members["sql"])
    assert run("outbox", "stats", "--outbox", URL).status == 0


def test_stats(run, outbox):
    """Stats are shown as a table or as JSON, and `--max-age` sets the exit status for a probe."""
    fill(run, 3)
    ended = run("outbox", "stats", "--outbox", URL)
    assert ended.out.splitlines()[0].split() == [
        "WAITING",
        "DUE",
        "LEASED",
        "OLDEST",
        "HELD",
        "SOURCES",
        "DEAD",
    ]
    assert ended.out.splitlines()[1].split()[:3] == ["3", "3", "0"]
    (members,) = run("outbox", "stats", "--outbox", URL, "--json").results
    assert (members["waiting"], members["dead"], members["is_estimate"]) == (3, 0, False)
    assert run("outbox", "stats", "--outbox", URL, "--max-age", "1h").status == 0
    time.sleep(0.02)
    assert run("outbox", "stats", "--outbox", URL, "--max-age", "0.01").status == 1


def test_dead_letters(run, outbox):
    """Dead letters are listed, and shown without their payload."""
    assert run("outbox", "dead", "list", "--outbox", URL).err == "0 dead letters\n"
    fill(run, 3, Detail={"secret": "canary"})
    bury(outbox)
    ended = run("outbox", "dead", "list", "--outbox", URL, "--limit", "2")
    assert [line.split()[0] for line in ended.out.splitlines()] == ["ID", "3", "2"]
    assert "MalformedDetail" in ended.out
    listed = run("outbox", "dead", "list", "--outbox", URL, "--json", "--before", "3").results
    assert [one["id"] for one in listed] == [2, 1]
    shown = run("outbox", "dead", "show", "2", "--outbox", URL)
    assert "MalformedDetail" in shown.out
    assert "canary" not in shown.out + ended.out + json.dumps(listed)
    (members,) = run("outbox", "dead", "show", "2", "--outbox", URL, "--json", "--detail").results
    assert members["source"] == SOURCE
    assert json.loads(members["detail"]) == {"secret": "canary"}
    assert run("outbox", "dead", "show", "99", "--outbox", URL).status == 1


def test_redrive(run, outbox):
    """Dead letters that are named are put back; naming none is wrong usage."""
    fill(run, 4)
    bury(outbox)
    assert run("outbox", "dead", "redrive", "--outbox", URL).status == 2
    assert run("outbox", "dead", "redrive", "1", "2", "--outbox", URL).out == (
        "2 dead letters put back\n"
    )
    ended = run("outbox", "dead", "redrive", "1", "--outbox", URL)
    assert (ended.status, ended.err) == (1, "the other ids are not of dead letters\n")
    ended = run("outbox", "dead", "redrive", "--code", "MalformedDetail", "--outbox", URL, "--json")
    assert ended.results == [{"count": 2}]
    assert outbox.stats().waiting == 4


def test_purge(run, outbox):
    """Old dead letters are deleted, and their age must be given."""
    fill(run, 2)
    bury(outbox)
    assert run("outbox", "dead", "purge", "--outbox", URL).status == 2
    assert run("outbox", "dead", "purge", "--older-than", "1h", "--outbox", URL).out == (
        "0 dead letters deleted\n"
    )
    time.sleep(0.02)
    ended = run("outbox", "dead", "purge", "--older-than", "0.01", "--outbox", URL)
    assert ended.out == "2 dead letters deleted\n"


# ---------------------------------------------------------------- send --outbox


def test_send_to_an_outbox(run, outbox):
    """Events are stored instead of sent, each with a result if wanted."""
    Path("events.jsonl").write_text(
        json_lines(entry(), "nonsense", entry(DetailType="a\0b"), entry())
    )
    ended = run(
        "send", "events.jsonl", "--outbox", URL, "--results", "-", "--failed", "failed.jsonl"
    )
    assert ended.status == 1
    assert [(one["line"], one["outcome"]) for one in ended.results] == [
        (1, "stored"), (2, "rejected"), (3, "rejected"), (4, "stored"),
    ]  # fmt: skip
    assert "4 events in " in ended.err
    assert "2 put into the outbox, 2 rejected" in ended.err
    assert len(Path("failed.jsonl").read_bytes().splitlines()) == 2
    assert outbox.stats().waiting == 2


def test_send_much_to_an_outbox(run, outbox):
    """All events of a long file are stored."""
    fill(run, 1201)
    assert outbox.stats().waiting == 1201


def test_send_to_an_outbox_stores_all_or_nothing(run, outbox):
    """A file is stored in one transaction: if one event cannot be stored, none is."""
    with contextlib.closing(sqlite3.connect("shop.db")) as database:
        database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON eventbridge_outbox"
            " WHEN (SELECT count(*) FROM eventbridge_outbox) = 1200"
            " BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    Path("events.jsonl").write_text(json_lines(*[entry()] * 1201))
    ended = run("send", "events.jsonl", "--outbox", URL)
    assert (ended.status, ended.out) == (1, "")
    assert "the outbox in shop.db cannot be used" in ended.err
    assert outbox.stats().waiting == 0


def test_send_to_no_outbox(run):
    """Without tables, nothing is stored or sent."""
    Path("events.jsonl").write_text(json_lines(entry()))
    ended = run("send", "events.jsonl", "--outbox", URL)
    assert ended.status == 3
    assert "outbox create" in ended.err
    assert run("send", "events.jsonl", "--outbox", URL, "--local").status == 2


# ---------------------------------------------------------------- relay


def test_relay_once(run, outbox, service, endpoint):
    """Due events are delivered, and the summary says so."""
    fill(run, 45)
    ended = run("relay", "--outbox", URL, "--once")
    assert ended.status == 0
    assert "45 events accepted in " in ended.err
    assert len(service.accepted) == 45
    assert run("relay", "--outbox", URL, "--once", "--quiet").err == ""


def test_relay_once_with_failures(run, outbox, service, endpoint):
    """Dead letters and outages give exit status 1, and appear in the log."""
    fill(run, 3)
    service.play(FailEntries("MalformedDetail", indexes=[1]))
    ended = run("relay", "--outbox", URL, "--once")
    assert ended.status == 1
    assert "2 events accepted, 1 dead letter in " in ended.err
    assert "ERROR 1 event is a dead letter now (MalformedDetail)" in ended.err
    fill(run, 1)
    service.play(FailRequest("AccessDeniedException", 403, times=None))
    ended = run("relay", "--outbox", URL, "--once")
    assert ended.status == 1
    assert "ERROR nothing gets through (AccessDeniedException)" in ended.err
    assert outbox.stats().waiting == 1


def test_relay_options(run, outbox, service, endpoint):
    """The relay accepts its options, and refuses invalid values."""
    service.sources.create(SOURCE, "123456789012")
    service.sources.associate(SOURCE, "123456789012")
    fill(run, 25)
    ended = run(
        "relay", "--outbox", URL, "--once", "--guard", "--curl", "--workers", "1", "--max-rate",
        "50", "--max-attempts", "1", "--max-in-flight", "2", "--lease", "10", "--max-age", "7d",
        "--heartbeat", "beat",
    )  # fmt: skip
    assert ended.status == 0
    assert len(service.accepted) == 25
    assert Path("beat").exists()
    assert run("relay", "--outbox", URL, "--lease", "0.5").status == 2
    assert run("relay", "--outbox", URL, "--heartbeat", "none/beat").status == 2


def test_relay_without_an_outbox(run, endpoint):
    """A relay without an outbox does not wait for one."""
    assert run("relay", "--outbox", URL).status == 3


@pytest.fixture
def program(endpoint):
    """Starts the program as a process, and kills it at the end."""
    started = []

    def start(*arguments, **environment):
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "eventbridge_partner", *arguments],
                env=os.environ | environment,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_relay(run, outbox, service, program, number):
    """The relay settles what is in flight, beats until its end, and exits with status 0."""
    fill(run, 30)
    relay = program("relay", "--outbox", URL, "--poll", "0.05", "--heartbeat", "beat")
    until(lambda: len(service.accepted) == 30)
    first = Path("beat").stat().st_mtime_ns
    until(lambda: Path("beat").stat().st_mtime_ns > first)
    relay.send_signal(number)
    assert relay.wait(SOON) == 0
    assert "30 events accepted" in relay.stderr.read()
    assert outbox.stats().waiting == 0


@pytest.mark.slow
@pytest.mark.process
def test_a_second_signal_ends_a_relay_at_once(run, outbox, program):
    """The relay does not wait for what is in flight, which the lease covers."""
    fill(run, 30)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        relay = program("relay", "--outbox", URL, "--endpoint-url", url, "--lease", "600")
        until(lambda: outbox.stats().leased == 30)
        relay.send_signal(signal.SIGTERM)
        said = iter(relay.stderr.readline, "")
        assert any("the relay stops: what is under way is finished first" in line for line in said)
        relay.send_signal(signal.SIGTERM)
        assert relay.wait(SOON) == 128 + signal.SIGTERM
    assert outbox.stats().leased == 30


@pytest.mark.slow
@pytest.mark.process
def test_systemd_is_told(run, outbox, program, tmp_path):
    """The relay sends READY when it runs, WATCHDOG while it lives, and STOPPING when it ends."""
    path = tmp_path / "notify"
    heard: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.bind(str(path))
        service.settimeout(SOON)
        relay = program("relay", "--outbox", URL, NOTIFY_SOCKET=str(path))
        heard.append(service.recv(4096).decode())
        heard.append(service.recv(4096).decode())
        relay.send_signal(signal.SIGTERM)
        while heard[-1] != "STOPPING=1":
            heard.append(service.recv(4096).decode())
    assert heard[0] == "READY=1"
    assert heard[1].startswith("WATCHDOG=1\nSTATUS=0 events accepted")
    assert relay.wait(SOON) == 0


@pytest.mark.slow
@pytest.mark.process
def test_counters_on_a_terminal(run, outbox, service, endpoint):
    """On a terminal, counters show while the relay runs."""
    pty = pytest.importorskip("pty")
    fill(run, 5)
    leader, follower = pty.openpty()
    relay = subprocess.Popen(
        [sys.executable, "-m", "eventbridge_partner", "relay", "--outbox", URL], stderr=follower
    )
    os.close(follower)
    shown = b""
    timer = threading.Timer(SOON, relay.kill)
    timer.start()
    while b"\r5 events accepted" not in shown:
        shown += os.read(leader, 4096)
    timer.cancel()
    relay.terminate()
    assert relay.wait(SOON) == 0
    os.close(leader)


def test_json_output(run, outbox):
    """Every action with --json writes nothing but JSON."""
    fill(run, 2)
    bury(outbox)
    for action in (["create"], ["stats"], ["dead", "list"], ["dead", "show", "1"]):
        ended = run("outbox", *action, "--outbox", URL, "--json")
        assert read_lines(ended.out)
        assert ended.status == 0
