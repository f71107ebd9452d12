"""`sample` and `match` show a customer's view of the events in a file."""

from __future__ import annotations

import json

import pytest

from tests.cli.program import entry, json_lines, read_lines


def test_sample_shows_what_rules_see(run):
    """The account and Region given appear in the event, and numbers keep their value."""
    given = json_lines(
        entry(Detail='{"price": 1.50}', Time="2026-03-01T06:10:07.9Z", Resources=["urn:1"]),
        entry(Detail={"id": 2}),
    )
    ended = run("sample", "-", "--account", "210987654321", "--region", "eu-west-1", stdin=given)
    assert (ended.status, ended.err) == (0, "")
    first, second = read_lines(ended.out)
    assert first.pop("id") != second["id"]
    assert first == {
        "version": "0",
        "detail-type": "ticket.created",
        "source": entry()["Source"],
        "account": "210987654321",
        "time": "2026-03-01T06:10:07Z",
        "region": "eu-west-1",
        "resources": ["urn:1"],
        "detail": {"price": 1.5},
    }
    assert second["detail"] == {"id": 2}


def test_sample_reports_entries_that_cannot_be_sent(run):
    """The remaining events are still shown."""
    ended = run("sample", "-", stdin=json_lines("nonsense", entry()))
    assert ended.status == 1
    assert len(read_lines(ended.out)) == 1
    assert "standard input:1: entry is not JSON" in ended.err


@pytest.mark.parametrize("through_sample", [False, True])
def test_match_says_why_not(run, tmp_path, through_sample):
    """The reason is given for events as they are sent, and as `sample` shows them."""
    given = json_lines(entry(Detail={"id": 1}), entry(Detail={"id": 2}))
    if through_sample:
        given = run("sample", "-", stdin=given).out
    (tmp_path / "events").write_text(given)
    (tmp_path / "pattern.json").write_text('{"detail": {"id": [{"numeric": [">", 1]}]}}')
    ended = run("match", "pattern.json", "events")
    assert ended.status == 0
    assert ended.out.splitlines() == [
        'events:1: no match: detail.id is 1; wanted: [{"numeric": [">", 1]}]',
        "events:2: match",
    ]
    assert ended.err == "1 of 2 events matches\n"


def test_match_fails_if_nothing_matches(run):
    """The command exits with status 1, so that a script can tell."""
    pattern = json.dumps({"detail-type": ["x"]})
    ended = run("match", "--quiet", pattern, "-", stdin=json_lines(entry(), "nonsense"))
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.splitlines()[-1] == "0 of 2 events match"


def test_match_knows_account_and_region(run):
    """The pattern sees the account and Region given as options."""
    pattern = json.dumps({"account": ["210987654321"], "region": ["eu-west-1"]})
    options = ("--account", "210987654321", "--region", "eu-west-1")
    assert run("match", pattern, "-", *options, stdin=json_lines(entry())).status == 0
    assert run("match", pattern, "-", stdin=json_lines(entry())).status == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["match", "missing.json", "-"], "cannot read the pattern 'missing.json': No such file"),
        (["match", "{", "-"], "the event pattern: is not JSON"),
        (["match", '{"a": ["x", {"y": 1}]}', "-"], "the event pattern at a: found the operator"),
        (["match", '{"a": ["x"]}', "missing.jsonl"], "cannot read missing.jsonl"),
        (["sample", "missing.jsonl"], "cannot read missing.jsonl"),
        (["sample", "-", "--account", "1"], "allowed: 12 digits"),
    ],
)
def test_wrong_usage(run, arguments, says):
    """The command exits with status 2, and says what is wrong."""
    ended = run(*arguments)
    assert ended.status == 2
    assert says in ended.err


def test_a_pattern_file_must_be_utf_8(run, tmp_path):
    """A pattern file that is not UTF-8 is wrong usage."""
    (tmp_path / "pattern.json").write_bytes(b'{"a": ["\xff"]}')
    ended = run("match", "pattern.json", "-")
    assert ended.status == 2
    assert "is not UTF-8" in ended.err
