"""`check` says what is wrong with a file and how large it is, without sending it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.program import SOURCE, entry, json_lines


def test_good_file_is_sized(run):
    """Events, bytes, requests, the largest event and the sources are listed without credentials."""
    other = entry(Source="aws.partner/example.com.test/customer-2", Detail={"pad": "é" * 100})
    Path("events.jsonl").write_text(json_lines(*[entry()] * 30, other, entry()))
    ended = run("check", "events.jsonl")
    size = len(SOURCE) + len("ticket.created") + len('{"id":1}')
    largest = len(SOURCE) + len("ticket.created") + len('{"pad":""}') + 6 * 100
    # json.dumps escaped each "é", and the detail is sent as it is written.
    assert ended.out.splitlines() == [
        "32 events: all can be sent",
        (
            f"{31 * size + largest:,} bytes as the service counts them, in 2 requests; "
            f"the largest has {largest:,}, on line 31"
        ),
        "2 sources:",
        f"       31  {SOURCE}",
        "        1  aws.partner/example.com.test/customer-2",
    ]
    assert (ended.status, ended.err) == (0, "")


def test_findings_have_their_line(run):
    """Every finding is printed with its line, and the exit status is 1."""
    bad = entry(Source="x", DetailType="y" * 200)
    ended = run("check", "-", stdin=json_lines(entry(), bad, "nonsense"))
    assert ended.status == 1
    lines = ended.out.splitlines()
    assert lines[0].startswith("standard input:2: source is 'x'; allowed: aws.partner/")
    assert lines[1] == ("standard input:2: detail_type has 200 characters; the limit is 128")
    assert lines[2].startswith("standard input:3: entry is not JSON")
    assert lines[3] == "3 events: 2 cannot be sent"
    assert "of those that can" in lines[4]


def test_only_bad_events(run):
    """A file without a valid event has no size."""
    ended = run("check", "-", stdin="nonsense\n")
    assert ended.status == 1
    assert ended.out.splitlines()[-1] == "1 event: 1 cannot be sent"


def test_empty_file_is_fine(run):
    """An empty file has no errors."""
    ended = run("check", "-")
    assert (ended.status, ended.out) == (0, "0 events\n")


def test_file_that_cannot_be_read(run):
    """A missing file is wrong usage."""
    ended = run("check", "missing.json")
    assert ended.status == 2
    assert "cannot read missing.json: No such file or directory" in ended.err


def test_a_long_list_of_sources_is_cut_short(run):
    """The ten sources with the most events are listed."""
    entries = [entry(Source=f"aws.partner/x.test/{number}") for number in range(13)]
    ended = run("check", "-", stdin=json.dumps(entries))
    assert "13 sources:" in ended.out
    assert ended.out.endswith("and 3 more\n")
    assert ended.out.count("aws.partner/x.test/") == 10
