"""The benchmarks run and show their figures; how good those are is not tested."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import attrs
import cattrs
import pytest

from benchmarks import (
    page,
    peers,
    pieces,
    publishers,
    publishing,
    publishing_apart,
    tables,
    telemetry,
)
from benchmarks.bars import Bar, bars
from benchmarks.cases import BATCH, CASES
from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.figures import (
    LatencyFigures,
    Result,
    Round,
    SendingFigures,
    Spread,
    StartupFigures,
    StreamingFigures,
    cpu_ratio,
    start_ratio,
    wall_ratio,
)
from benchmarks.pictures import cpu_picture, latency_picture
from benchmarks.processes import Process, take_turns
from benchmarks.sending import measure_sending
from benchmarks.service import Service, Usage
from benchmarks.startup import CHECK, FIRST_ANSWER, FROM_FILES, IMPORT
from eventbridge_partner import PublisherStats

ROOT = Path(__file__).parents[1]
SVG = "{http://www.w3.org/2000/svg}"
TITLES = {contender.title for contender in CONTENDERS}


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """Return an environment without peers and without a load generator."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    (tmp_path / "programs").mkdir()
    return os.environ | {"PYTHONPATH": str(ROOT)}


def run(*arguments, module="benchmarks"):
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout


# ---------------------------------------------------------------- the command


@pytest.mark.process
def test_quickest_form_prints_and_writes_all_figures(environment, tmp_path):
    """A few hundred events give every table, both pictures, and the same figures as JSON."""
    file = tmp_path / "figures.json"
    printed = run(
        "--quick", "--tls", "on", "--case", "text-500", "--json", str(file), "--svg", str(tmp_path)
    )

    found = json.loads(file.read_text())
    result: Any = cattrs.structure(found, Result)
    measured = {entrant.name for entrant in result.entrants}
    assert {"boto3", "requests-1", "requests"} <= measured
    assert {"aiobotocore", "javascript", "floor"} <= set(result.missing)
    assert measured | set(result.missing) == {contender.name for contender in CONTENDERS}
    assert [one.contender for one in result.sending] == [one.name for one in result.entrants]
    for row in result.sending:
        assert row.with_tls
        assert 0 < row.cpu.minimum <= row.cpu.median <= row.cpu.third_quartile
        assert 0 < row.wall.minimum <= row.wall.median
        assert [one.number for one in row.rounds] == [0, 1, 2]
        assert row.peak_memory > 1_000_000
    for row in result.latency:
        assert 0 < row.events_per_second.median <= row.in_flight * BATCH / 0.02
        assert row.cores.median > 0
    assert {row.in_flight for row in result.latency} == {32}
    assert {row.contender for row in result.startup} >= {"boto3", "ours"}
    for row in result.startup:
        assert row.wall.minimum > 0
        assert len(row.walls) == 2
        assert row.peak_memory is None or row.peak_memory > 1_000_000
    for stream in result.streaming:
        assert len(stream.samples) == stream.events / stream.sample_every
        assert stream.growth >= 0
    assert {bar["what"] for bar in found["bars"]} == {bar.what for bar in bars(result)}

    for name, need in result.missing.items():
        assert f"not measured: {name}; needs {need}" in printed
    for title, table in tables.sections(result):
        assert title in printed
        assert table in printed
    assert tables.bars_table(bars(result)) in printed
    for name in (page.CPU_PICTURE, page.LATENCY_PICTURE):
        assert ElementTree.parse(tmp_path / name).getroot().tag == f"{SVG}svg"


@pytest.mark.process
def test_a_part_can_be_measured_alone(environment):
    """One part can be measured alone, for one case and contender, without TLS."""
    printed = run(
        "--quick",
        *("--tls", "off", "--only", "sending"),
        *("--case", "mapping-500", "--contender", "requests"),
    )
    assert "Sending without TLS" in printed
    assert "500 B as mapping  ours, requests" in printed
    left_out = (
        "with TLS:",
        "500 B as text",
        "boto3  ",
        "import and first client",
        "growth",
        "wrk;",
    )
    for text in left_out:
        assert text not in printed


@pytest.mark.process
def test_figures_of_a_file_are_shown_without_measuring(result, tmp_path):
    """The figures of an earlier run are printed again from its file."""
    file = tmp_path / "figures.json"
    file.write_text(json.dumps(cattrs.unstructure(result)))
    printed = run("--from", str(file), "--json", str(tmp_path / "again.json"))
    assert all(table in printed for _, table in tables.sections(result))
    again = json.loads((tmp_path / "again.json").read_text())
    assert cattrs.structure(again, Result) == result


# ---------------------------------------------------------------- who takes part


def test_missing_peers_say_what_they_need(environment, monkeypatch):
    """Without node, wrk and an installed aiobotocore, each says what to do."""
    needs = {contender.name: contender.missing() or "" for contender in CONTENDERS}
    assert needs["boto3"] == needs["requests"] == needs["requests-1"] == ""
    assert needs["aiobotocore"] == "python -m benchmarks --install-peers"
    assert needs["javascript"].startswith("node and npm on PATH")
    assert "apt install wrk" in needs["floor"]


def test_what_cannot_be_installed_is_left_out(environment, monkeypatch, capsys):
    """A failing installation is reported, and the run continues."""

    def fail(command, **_):
        raise subprocess.CalledProcessError(1, command[0])

    monkeypatch.setattr(subprocess, "run", fail)
    peers.install_peers()
    told = capsys.readouterr().err
    assert "aiobotocore is left out: Command" in told
    assert "JavaScript is left out: it needs node and npm on PATH" in told
    assert peers.without_aiobotocore()


def test_installed_sender_is_the_one_of_this_tree(environment, tmp_path):
    """The program for node is beside its SDK, and the same as in this tree."""
    for program in ("node", "npm"):
        (tmp_path / "programs" / program).touch(mode=0o755)
    home = peers.javascript_sender().parent
    home.mkdir(parents=True)
    assert peers.without_javascript() == "python -m benchmarks --install-peers"
    (home / "complete").touch()
    assert peers.without_javascript() is None
    sender = ROOT / "benchmarks" / "javascript" / "sender.mjs"
    assert peers.javascript_sender().read_text() == sender.read_text()


def test_versions_of_peers_are_pinned():
    """The lock file has the versions of package.json, and no address of a mirror."""
    folder = ROOT / "benchmarks" / "javascript"
    asked = json.loads((folder / "package.json").read_text())["dependencies"]
    locked = json.loads((folder / "package-lock.json").read_text())["packages"]
    for name, version in asked.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
        assert locked[f"node_modules/{name}"]["version"] == version
    assert not any("resolved" in package for package in locked.values())


# ---------------------------------------------------------------- turns


class Replies:
    """Stands in for a service, and for its usage."""

    def __init__(self):
        self.cpu = self.requests = 0

    def usage(self):
        return self


class Player(Process):
    """A contender that records its turns."""

    def __init__(self, name: str, calls: Any, every: int = 1) -> None:
        self.contender = Contender(name, name, (), every=every)
        self._calls = calls

    def send(self, events: int, service: Any, number: int = 0) -> Any:
        self._calls.append((number, self.contender.name, events))
        return number


def test_everybody_begins_a_round_once():
    """The order rotates with each round, so that each contender begins once."""
    calls = []
    players = [Player(name, calls) for name in "abc"]
    turns: Any = take_turns(players, Replies(), {"a": 1, "b": 2, "c": 3}, rounds=3)
    assert [name for _, name, _ in calls] == list("abcbcacab")
    assert calls[:3] == [(0, "a", 1), (0, "b", 2), (0, "c", 3)]
    assert turns == {"a": [0, 1, 2], "b": [0, 1, 2], "c": [0, 1, 2]}


def test_a_slow_contender_can_have_fewer_turns():
    """A contender can take part in only every second round, or fewer."""
    calls = []
    players = [Player("a", calls), Player("b", calls, every=2)]
    turns: Any = take_turns(players, Replies(), {"a": 1, "b": 1}, rounds=5)
    assert turns == {"a": [0, 1, 2, 3, 4], "b": [0, 2, 4]}


def contender(program, **settings):
    return Contender("one", "One", (sys.executable, "-c", program), **settings)


@pytest.mark.process
@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("raise SystemExit(3)", "one ended with code 3"),
        (
            'print(\'{"cpu": 1, "wall": 1, "accepted": 19, "memory": 1}\'); input()',
            "one: 19 of 20 were accepted",
        ),
    ],
)
def test_figures_of_a_broken_contender_are_not_used(program, message):
    """A contender that exits or loses events ends the run."""
    with (
        pytest.raises(RuntimeError, match=message),
        Process(contender(program), "text-500", 1, os.environ) as process,
    ):
        process.send(20, Replies())


def test_case_and_number_in_flight_are_the_last_arguments():
    """A contender is told what to send, and how many requests may be in flight if that is set."""
    one = contender("")
    assert one.start("text-500", 4)[-2:] == ["text-500", "4"]
    assert one.start("text-500", None)[-1] == "text-500"


def test_only_full_batches_are_measured():
    """Only multiples of 20 events are allowed, because the service always answers with 20 ids."""
    with pytest.raises(ValueError, match="30 events; allowed: multiples of 20"):
        measure_sending(
            CASES["text-500"], [], None, {}, with_tls=True, events=30, rounds=1, is_quick=True
        )


# ---------------------------------------------------------------- the service


@pytest.mark.process
def test_requests_may_come_in_any_pieces(environment):
    """The service reads a request in any pieces, and the next one after it."""
    with Service(environment, None) as service:
        host, port = service.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            for pieces in (
                (b"POST / HTTP/1.1\r\nContent-", b"Length: 5\r\n\r\n12345"),
                (b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\n", b"12", b"345"),
                (b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r", b"\n12345"),
                (b"POST / HTTP/1.1\r\nContent-Length: 300000\r\n\r\n", b"x" * 300_000),
            ):
                for piece in pieces:
                    assert not answered(connection)
                    connection.sendall(piece)
                connection.settimeout(20)
                head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 OK\r\n")
                assert f"Content-Length: {len(body)}\r\n".encode() in head
                assert len(json.loads(body)["Entries"]) == BATCH
        assert service.usage().requests == 4


def answered(connection):
    connection.settimeout(0.05)
    try:
        return connection.recv(65536)
    except TimeoutError:
        return b""


# ---------------------------------------------------------------- the floor


FAKE_WRK = """#!{python}
import json, re, sys
script = open(sys.argv[sys.argv.index("-s") + 1]).read()
body = open(re.search(r'io.open\\("(.*?)"\\)', script)[1]).read()
assert len(json.loads(body)["Entries"]) == 20
assert "AWS4-HMAC-SHA256" in script
assert sys.argv[-1] == "https://127.0.0.1:9/"
assert "-c7" in sys.argv
print({printed!r})
"""


def measure_floor(tmp_path, environment, printed):
    program = tmp_path / "programs" / "wrk"
    program.write_text(FAKE_WRK.format(python=sys.executable, printed=printed))
    program.chmod(0o755)
    aws = {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
        "AWS_SESSION_TOKEN": "benchmark",
        "AWS_ENDPOINT_URL_EVENTBRIDGE": "https://127.0.0.1:9",
    }
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.floor", "text-500", "7"],
        check=False,
        input="40\n",
        env=environment | aws,
        capture_output=True,
        text=True,
    )


@pytest.mark.process
def test_floor_is_sending_and_hashing(environment, tmp_path):
    """wrk sends the signed bytes, and its figures are scaled to the events that were asked for."""
    done = measure_floor(tmp_path, environment, "  10 requests in 1.00s, 1MB read")
    assert not done.stderr
    answer = json.loads(done.stdout)
    assert answer["accepted"] == 40
    assert 0 < answer["cpu"] < 1
    assert answer["memory"] is None


@pytest.mark.process
@pytest.mark.parametrize(
    ("printed", "message"),
    [
        ("  Socket errors: connect 0, read 7\n  10 requests in 1.00s", "wrk: Socket errors"),
        ("  Non-2xx or 3xx responses: 10\n  10 requests in 1.00s", "wrk: Non-2xx"),
        ("unable to connect", "wrk: it sent nothing"),
    ],
)
def test_failing_load_is_no_floor(environment, tmp_path, printed, message):
    """The run ends if wrk could not send a request."""
    done = measure_floor(tmp_path, environment, printed)
    assert done.returncode
    assert message in done.stderr


# ---------------------------------------------------------------- figures and bars


def spread(median):
    return Spread(median * 0.9, median * 0.95, median, median * 1.1)


def sent(contender, cpu, *, case="text-500", with_tls=True, numbers=(0, 1)):
    rounds = tuple(Round(number, cpu, cpu * 1.5) for number in numbers)
    memory = None if contender == "floor" else 50_000_000
    return SendingFigures(
        contender, case, with_tls, rounds, spread(cpu), spread(cpu * 1.5), memory, 50.0, 0.2
    )


CPU = {
    "boto3": 60.0,
    "aiobotocore": 48.0,
    "javascript": 28.0,
    "requests-1": 15.0,
    "requests": 16.0,
    "curl-1": 6.5,
    "curl": 6.0,
    "aiohttp": 8.0,
    "floor": 1.5,
}


@pytest.fixture
def result():
    """Return a run in which all contenders took part."""
    streams = ("requests", "curl")
    return Result(
        machine={"processor": "a fine one", "load": "0.0"},
        settings={
            "events": 2000,
            "rounds": 2,
            "runs": 2,
            "quick": 0.0,
            "pinned": 1.0,
            "latency_with_tls": 1.0,
        },
        entrants=tuple(one.entrant for one in CONTENDERS),
        missing={},
        sending=tuple(
            sent(name, cpu, case=case, with_tls=with_tls)
            for with_tls in (True, False)
            for case in CASES
            for name, cpu in CPU.items()
        ),
        latency=tuple(
            LatencyFigures(
                one.name,
                number,
                spread(min(number * 900, 1e6 / CPU[one.name])),
                spread(min(1.0, number * 900 * CPU[one.name] / 1e6)),
                0.2,
            )
            for one in CONTENDERS
            if one.has_latency
            for number in (1, 32, 128)
        ),
        startup=tuple(
            StartupFigures(what, who, spread(wall), spread(wall), memory, (wall, wall))
            for what, who, wall, memory in (
                (IMPORT, "ours, the package", 0.5, 9_000_000),
                (FIRST_ANSWER, "boto3", 200.0, 44_000_000),
                (FIRST_ANSWER, "capo-eventbridge", 140.0, 31_000_000),
                (FIRST_ANSWER, "ours", 100.0, 30_800_000),
                (FROM_FILES, "boto3", 200.0, 44_000_000),
                (FROM_FILES, "ours", 250.0, 44_000_000),
                (CHECK, "ours", 90.0, None),
            )
        ),
        streaming=tuple(
            StreamingFigures(
                name, 4000, 0.5, 9_000_000, 46_000_000, 1000, (40, 41, 47_000_041, 46), 2000
            )
            for name in streams
        ),
    )


def test_ratios_are_taken_round_by_round():
    """Ratios are taken per round, without rounds in which one of the two had no turn."""
    peer = sent("boto3", 60.0, numbers=(0, 4))
    own = sent("curl", 6.0, numbers=(0, 1, 2, 3, 4))
    slow = Round(1, 1000.0, 1000.0)
    own = SendingFigures(
        own.contender,
        own.case,
        own.with_tls,
        (own.rounds[0], slow, *own.rounds[2:]),
        own.cpu,
        own.wall,
        own.peak_memory,
        own.service_cpu,
        own.service_busy,
    )
    assert cpu_ratio(peer, own) == Spread(10.0, 10.0, 10.0, 10.0)
    assert wall_ratio(peer, own) == Spread(10.0, 10.0, 10.0, 10.0)


def test_bars_are_those_of_the_right_two(result):
    """Each bar compares the figures that it names."""
    assert [
        (bar.what, round(bar.found, 2), bar.needed, bar.aim, bar.verdict) for bar in bars(result)
    ] == [
        (
            "ours, curl (32 in flight) against boto3, 500 B as text",
            10.0,
            5.2,
            6.5,
            "pass, aim reached",
        ),
        ("ours, aiohttp against aiobotocore, 500 B as text", 6.0, 4.8, 6.0, "pass, aim reached"),
        ("ours, requests (default in flight) against boto3, 500 B as text", 3.75, 3.3, 4.0, "pass"),
        (
            "ours, curl, 128 in flight: one core, answers after 20 ms",
            115200,
            28_000,
            72_000,
            "pass, aim reached",
        ),
        ("first answer, environment, against boto3", 2.0, 1.7, 2.2, "pass"),
        ("first answer, environment, against capo-eventbridge", 1.4, 1.1, 1.4, "pass, aim reached"),
        ("first answer, profile in files, against boto3", 0.8, 0.95, 1.2, "MISS"),
        ("first answer, environment: peak memory as a share of boto3's", 0.7, 0.75, 0.65, "pass"),
        ("import eventbridge_partner", 0.5, 5.0, None, "pass"),
        ("stream_events, ours, requests: growth of memory", 47.0, 5.0, 0.0, "MISS"),
        ("stream_events, ours, curl: growth of memory", 47.0, 5.0, 0.0, "MISS"),
    ]


def test_starts_are_compared_run_by_run():
    """Starts are compared within each run, so that a slow run affects both figures."""
    peer = StartupFigures(FIRST_ANSWER, "boto3", spread(1), spread(1), None, (200.0, 400.0, 100.0))
    own = StartupFigures(FIRST_ANSWER, "ours", spread(1), spread(1), None, (100.0, 200.0, 50.0))
    assert start_ratio(peer, own) == Spread(2.0, 2.0, 2.0, 2.0)


def test_events_of_one_core_are_counted_where_more_were_used():
    """If two cores were used, half of the events count for one."""
    figures = LatencyFigures("curl", 64, spread(60_000.0), spread(2.0), 0.2)
    assert figures.events_per_core_second == 30_000.0


def test_bars_that_were_not_measured_are_left_out(result):
    """A bar is left out without its peer, or without figures with TLS."""
    rows = tuple(one for one in result.sending if one.contender == "curl" or not one.with_tls)
    assert bars(Result({}, {}, result.entrants, {}, sending=rows)) == []


@pytest.mark.parametrize(
    ("bar", "verdict", "found"),
    [
        (Bar("x", 7.96, 8.0, 12.0), "MISS", "8.0x"),
        (Bar("x", 8.0, 8.0, 12.0), "pass", "8.0x"),
        (Bar("x", 11.96, 8.0, 12.0), "pass, aim reached", "12.0x"),
        (Bar("x", 3.2, 3.0), "pass", "3.2x"),
        (Bar("x", 0.951, 0.95, 1.2), "pass", "0.95x"),
        (Bar("x", 0.3, 0.25, 0.5, unit=""), "pass", "0.30"),
        (
            Bar("x", 71_999.7, 28_000, 72_000, unit="events/s"),
            "pass, aim reached",
            "72,000 events/s",
        ),
        (Bar("x", 0.04, 5.0, 0.0, unit="MB", is_bound=True), "pass, aim reached", "0.0 MB"),
        (Bar("x", 4.9, 5.0, 0.0, unit="MB", is_bound=True), "pass", "4.9 MB"),
        (Bar("x", 5.0, 5.0, 0.0, unit="MB", is_bound=True), "MISS", "5.0 MB"),
    ],
)
def test_bars_are_passed_by_figures_and_aims_by_what_is_shown(bar, verdict, found):
    """A bar is passed by the exact figure, and its aim reached by the printed one."""
    assert bar.verdict == verdict
    assert bar.figure(bar.found) == found


def test_sending_table_compares_with_boto3(result):
    """Each row has its ratio to boto3, except boto3's own."""
    (_, table), *_ = tables.sections(result)
    rows = [line for line in table.splitlines() if line.startswith("500 B as text")]
    assert len(rows) == len(CONTENDERS)
    assert rows[0].endswith("|")
    assert re.search(r"ours, curl +32 .* 10\.0x +10\.0-10\.0 +10\.0x$", rows[6])
    assert table.endswith("at work for 20% of the time at most (not counting wrk)")


def test_memory_table_has_all_who_tell(result):
    """The memory table leaves out the floor, whose memory is not known."""
    table = dict(tables.sections(result))["Memory: the process that sent 2,000 events a call"]
    assert "AWS SDK for JavaScript v3" in table
    assert "wrk" not in table


# ---------------------------------------------------------------- publishing


@pytest.mark.process
@pytest.mark.parametrize(
    ("part", "transport", "service"),
    [
        ("caller", "requests", {"entries": 0}),
        ("throughput", "curl", {}),
        ("throughput-asyncio", "aiohttp", {}),
        ("latency", "requests", {"entries": 0}),
        ("memory", "curl", {"delay": 3600}),
        ("boto3", "boto3", {"entries": 0}),
    ],
)
def test_parts_of_the_publishing_benchmark(tmp_path, part, transport, service):
    """Each part runs, and finds figures for the table."""
    here = publishing.plain_environment(tmp_path)
    with Service(here, None, **service) as answering:
        here["AWS_ENDPOINT_URL_EVENTBRIDGE"] = answering.url
        figures = publishing.measure(part, publishing.Load(transport, 200, 2), here)
    shown = publishing.table({"found": figures})
    assert all(value > 0 for key, value in figures.items() if not key.startswith("added"))
    assert shown.count(" - |") == len(publishing.ROWS) - len(figures)


@pytest.mark.process
def test_our_publisher_is_measured_beside_others(tmp_path, environment, capsys):
    """Our publisher is measured on both transports; the output says what the others need."""
    here = publishing.plain_environment(tmp_path)
    columns = publishing.measure_beside_others(here, 200, 1)
    assert list(columns) == ["publisher, requests", "publisher, curl"]
    for found in columns.values():
        assert 0 < found["caller_us"] < found["delivered_us"]
        assert found["service"] > 0
    assert capsys.readouterr().out.splitlines() == [
        f"not measured: {name}; needs {peers.HOW_TO_INSTALL}" for name in publishers.PUBLISHERS
    ]


def test_other_publishers_are_compared_to_ours():
    """The ratios of other publishers are to the first column."""
    ours = {"caller_us": 4.0, "delivered_us": 10.0, "service": 0.1}
    theirs = {"caller_us": 20.0, "delivered_us": 25.0, "service": 0.05}
    lines = publishing.others_table({"ours": ours, "theirs": theirs}).splitlines()
    assert [line for line in lines if line.startswith("| it")] == [
        "| it / the first | 1.0x | 5.0x |",
        "| it / the first | 1.0x | 2.5x |",
    ]
    assert lines[-1].endswith("| 0.10 | 0.05 |")


def test_lost_events_are_no_measurement():
    """A run fails if a publisher sent fewer requests than its events need."""
    before, found = Usage(cpu=1.0, requests=3), {"delivered_us": 10.0}
    share = publishers.service_share(found, before, Usage(cpu=1.001, requests=5), 200, 100)
    assert share == {"service": pytest.approx(0.5)}
    with pytest.raises(RuntimeError, match="200 events arrived in 1 requests"):
        publishers.service_share(found, before, Usage(cpu=1.001, requests=4), 200, 100)


def test_messages_are_counted_without_parsing():
    """Each event has the type once by which the service counts messages."""
    for value in publishers.CASE.values(400):
        assert json.dumps(value).encode().count(publishers.TYPE) == 1


@pytest.mark.slow
@pytest.mark.parametrize("world", publishing_apart.WORLDS)
def test_an_outage_is_measured_in_both_worlds(monkeypatch, capsys, world):
    """Each round has its line and each promise its verdict; every event is accounted for."""
    monkeypatch.setattr(publishing_apart, "CLOSE_SECONDS", 0.2)
    publishing_apart.main(["--events", "800", "--rounds", "1", "--world", world])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[3:5] for line in lines if line.startswith(f"| {world}")] == [
        ["999", "999"],
        ["999", str(999 - 250 - 4)],
    ]
    assert f"PASS  {world}: the ledger balances" in lines
    assert [line.split()[0] in {"PASS", "MISS"} for line in lines[-3:]] == [True] * 3


def test_an_outage_that_delays_others_misses():
    """A delay, a lost event or a slow close breaks its promise."""
    stats = PublisherStats(published=3, accepted=2, exhausted=1)
    calm = publishing_apart.Round((0.01,) * 9, Counter(Accepted=2, Exhausted=1), stats, 3, 1, 2, 1)
    late = attrs.evolve(calm, latencies=(0.0149,) * 9, close_seconds=5.4)
    assert [*publishing_apart.Found([calm], [late]).verdicts().values()] == [True] * 3
    for wrong in (
        {"latencies": (0.016,) * 9, "accepted": 1, "close_seconds": 5.6},
        {"latencies": (0.016,) * 9, "decided": 2, "close_seconds": 5.6},
    ):
        missed = publishing_apart.Found([calm], [attrs.evolve(calm, **wrong)])
        assert [*missed.verdicts().values()] == [False] * 3


# ---------------------------------------------------------------- pictures and the page


def drawn(picture):
    root: Any = ElementTree.fromstring(picture)
    texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    return root, texts


def test_picture_of_cpu_has_a_bar_for_everybody(result):
    """Each contender has a bar for each case, as long as its figure, with the ratio beside it."""
    root, texts = drawn(cpu_picture(result))
    bars_drawn = [one for one in root.iter(f"{SVG}rect") if "fill-" in one.get("class")]
    lengths = [float(one.get("width")) for one in bars_drawn]
    assert len(lengths) == len(CPU) * len(CASES)
    for length, cpu in zip(lengths, list(CPU.values()) * len(CASES), strict=True):
        assert length == pytest.approx(lengths[0] * cpu / CPU["boto3"], abs=0.2)
    for title in TITLES:
        assert sum(text.startswith(title) for text in texts) >= len(CASES)
    assert texts.count("6.0   10.0× less than boto3") == len(CASES)
    assert "Details of 5 KB as text" in texts


def test_picture_of_latency_has_a_line_for_everybody(result):
    """Each contender has a line in both plots, with a point for each number in flight."""
    root, texts = drawn(latency_picture(result))
    lines = [one.get("class") for one in root.iter(f"{SVG}polyline")]
    taking_part = [one for one in CONTENDERS if one.has_latency]
    for one in taking_part:
        assert lines.count(f"line-{one.name}") == 3  # and one in the legend
        assert one.title in texts
        points = [shape for shape in root.iter() if shape.get("class") == f"fill-{one.name} edge"]
        assert len(points) == 2 * 3 + 1
    assert "sustained quota, 1,400 requests/s" in texts
    assert "burst quota, 3,600 requests/s" in texts


@pytest.mark.parametrize("draw", [cpu_picture, latency_picture])
def test_pictures_are_read_out_and_stay_inside(draw, result):
    """A picture has a title and a description for screen readers, and nothing is cut off."""
    root, _ = drawn(draw(result))
    assert root.get("role") == "img"
    named = [
        root.find(f"{SVG}*[@id='{name}']").text for name in root.get("aria-labelledby").split()
    ]
    assert all(named)
    assert "ours, curl" in named[1]
    _, _, width, height = map(float, root.get("viewBox").split())
    for one in root.iter():
        for point in one.get("points", "").split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height
        if one.tag == f"{SVG}text":
            length = 6.2 * len("".join(one.itertext()))
            begin = (
                float(one.get("x"))
                - length * {"start": 0, "middle": 0.5, "end": 1}[one.get("text-anchor")]
            )
            assert 0 <= begin <= begin + length <= width
            assert 0 <= float(one.get("y")) <= height


def test_pictures_have_colors_for_dark_pages(result):
    """Text and panel change together, so that one can be read on the other."""
    root, _ = drawn(cpu_picture(result))
    style = root.find(f"{SVG}style").text
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    for rule in (".panel {", "text {", ".fill-curl {"):
        assert rule in light
        assert rule in dark


def test_pictures_need_figures(result):
    """A run without a section is refused where its picture is drawn."""
    nothing = Result({}, {}, (), {})
    for draw in (cpu_picture, latency_picture):
        with pytest.raises(
            ValueError, match=r"allowed: a run with the section|no such answers|no figures"
        ):
            draw(nothing)


def test_pages_get_the_figures_of_the_newest_run(result, tmp_path):
    """The figures replace those of an earlier run on both pages, and nothing else."""
    copy, results = tmp_path / page.PAGE, tmp_path / page.RESULTS.name
    shutil.copy(ROOT / "docs" / "explanation" / page.PAGE, copy)
    shutil.copy(page.RESULTS, results)
    page.write_page(result, tmp_path, "the first run\n", results)
    first = results.read_text()
    page.write_page(result, tmp_path, "the second run, \\1 of it\n", results)
    second = results.read_text()

    assert "```text\nthe first run\n```" in first
    assert second == first.replace("the first run", "the second run, \\1 of it")
    assert tables.bars_markdown(bars(result)) in second
    shown = copy.read_text()
    assert tables.expected_markdown(result) in shown
    assert "| ours, curl | 6.0 µs (10.0x) |" in shown
    assert "MISS" not in shown
    for text in (second, shown):
        assert "- processor: a fine one\n" in text
        assert "load: 0.0" not in text
    for name in (page.CPU_PICTURE, page.LATENCY_PICTURE):
        assert f"]({name})" in shown
        ElementTree.parse(tmp_path / name)


def test_page_without_its_places_is_left_alone(result, tmp_path):
    """A missing marker is named, and nothing is written."""
    (tmp_path / page.PAGE).write_text("# Performance\n")
    with pytest.raises(ValueError, match=r"performance\.md has no <!-- expect: written by"):
        page.write_page(result, tmp_path, "", tmp_path / "RESULTS.md")
    assert [file.name for file in tmp_path.iterdir()] == [page.PAGE]


# ---------------------------------------------------------------- single events


@pytest.mark.process
@pytest.mark.slow
def test_single_events_are_measured(environment):
    """Calls with one event are measured for each contender, and compared with boto3."""
    lines = run("--quick", module="benchmarks.single").splitlines()
    assert [line.split("  ")[0] for line in lines if line.startswith("ours")] == [
        "ours",
        "ours, requests imported",
    ]
    assert sum(line.startswith("a call with one event") for line in lines) == 2


def test_what_an_observer_costs(monkeypatch, capsys):
    """A send is measured without an observer, with an idle one, and with OpenTelemetry."""
    monkeypatch.setattr(telemetry, "REQUESTS", 5)
    telemetry.main(["--quick"])
    lines = capsys.readouterr().out.splitlines()
    assert [line[:50].strip() for line in lines] == [*telemetry.WORKS]
    assert all(float(line[50:].split()[0]) > 0 for line in lines)


@pytest.mark.process
def test_pieces_are_measured_one_by_one(monkeypatch, capsys):
    """Each piece of ours is measured, and HTTP on each transport, with and without TLS."""
    monkeypatch.setattr(pieces, "REQUESTS", 3)
    monkeypatch.setattr(pieces, "ROUNDS", 1)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pieces.main(["mapping-500"])
    head, *lines = capsys.readouterr().out.strip().splitlines()
    assert head.startswith("500 B as mapping")
    found = {line[:48].strip(): line[48:] for line in lines if line}
    assert "hashed and signed" in found
    assert {name for name in found if name.startswith("HTTP, ")} == {
        f"HTTP, {library}, {tls}"
        for library in (
            "requests, one after the other",
            "curl, 32 in flight",
            "aiohttp, 32 in flight",
        )
        for tls in ("with TLS", "without")
    }
    assert all(re.fullmatch(r" +-?\d+", figure) for figure in found.values())


# ---------------------------------------------------------------- the outbox


@pytest.mark.slow
@pytest.mark.process
def test_outbox_prints_and_writes_its_figures(tmp_path):
    """The benchmark of the outbox prints its figures and writes them as JSON."""
    file = tmp_path / "figures.json"
    parts = ("--only", "claims", "--only", "fairness", "--only", "transactions")
    command = [sys.executable, "-m", "benchmarks.outbox", "--quick", *parts, "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    figures = json.loads(file.read_text())
    assert len(done.stdout.splitlines()) == len(figures) == 10
    assert {figure["what"] for figure in figures} >= {"the same, worst / best"}
    assert all(figure["found"] > 0 for figure in figures if figure["unit"] != "µs more")
