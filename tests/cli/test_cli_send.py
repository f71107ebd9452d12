"""`send`: results, failed entries, summaries and exit statuses, over real HTTP."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventbridge_partner import __version__
from eventbridge_partner.cli import _input
from eventbridge_partner.cli._input import EntryReader, InputEntry
from eventbridge_partner.testing import (
    FailEntries,
    FailRequest,
    FakeEventBridge,
    LimitRate,
    LoseAnswer,
)
from tests.cli.program import SOURCE, entry, json_lines, read_lines


def numbered(count: int) -> str:
    return json_lines(*(entry(Detail={"id": number}) for number in range(count)))


def sent_ids(service: FakeEventBridge) -> list[int]:
    return sorted(json.loads(accepted.detail)["id"] for accepted in service.accepted)


def test_all_events_are_accepted(run, service, endpoint):
    """The command exits with status 0, and prints nothing but a summary of one line."""
    Path("events.jsonl").write_text(numbered(45))
    ended = run("send", "events.jsonl")
    assert (ended.status, ended.out) == (0, "")
    assert ended.err.startswith("45 events in ")
    assert ended.err.endswith("45 accepted\n")
    assert ended.err.count("\n") == 1
    assert sent_ids(service) == list(range(45))


def test_local_ignores_the_environment(run, monkeypatch):
    """`--local` works whatever profile, proxy or retry setting the environment has."""
    monkeypatch.setenv("AWS_PROFILE", "missing")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "many")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    Path("events.jsonl").write_text(numbered(25))
    ended = run("send", "--local", "--region", "eu-central-1", "events.jsonl")
    assert ended.status == 0
    assert "25 accepted\n" in ended.err
    assert "local service: 2 requests over HTTP, signatures verified\n" in ended.err
    assert os.environ["AWS_PROFILE"] == "missing"


def test_results_has_one_line_for_each_event(run, service, endpoint):
    """Results come in input order, with line number, outcome and reason, but without payload."""
    service.play(FailEntries("NotAuthorizedForSourceException", indexes=[1]))
    text = json_lines(entry(), "", entry(), "nonsense", entry(Detail={"secret": "s3cr3t"}))
    ended = run("send", "-", "--results", "-", stdin=text)
    assert ended.status == 1
    ids = [accepted.event_id for accepted in service.accepted]
    bad = ended.results[2].pop("message")
    assert bad.startswith("entry is not JSON")
    assert ended.results == [
        {"line": 1, "outcome": "accepted", "source": SOURCE, "event_id": ids[0], "attempts": 1},
        {
            "line": 3,
            "outcome": "rejected",
            "source": SOURCE,
            "code": "NotAuthorizedForSourceException",
            "message": "Not authorized for the source.",
            "attempts": 1,
        },
        {"line": 4, "outcome": "rejected", "code": "InvalidEvent", "message": bad, "attempts": 0},
        {"line": 5, "outcome": "accepted", "source": SOURCE, "event_id": ids[1], "attempts": 1},
    ]
    assert "s3cr3t" not in ended.out + ended.err


def test_without_results_only_what_was_not_accepted_is_shown(run, endpoint):
    """Standard output has a line for each event that needs attention."""
    ended = run("send", "-", stdin=json_lines(entry(), "nonsense", entry()))
    assert [(each["line"], each["outcome"]) for each in ended.results] == [(2, "rejected")]
    assert "2 accepted, 1 rejected" in ended.err
    assert "InvalidEvent 1" in ended.err
    assert "--failed FILE" in ended.err


def test_results_go_to_a_file_instead(run, endpoint):
    """With a file for the results, standard output stays empty."""
    Path("results.jsonl").write_text("of an earlier run\n" * 9)
    ended = run("send", "-", "--results", "results.jsonl", stdin=json_lines(entry(), "nonsense"))
    assert (ended.status, ended.out) == (1, "")
    results = read_lines(Path("results.jsonl").read_text())
    assert [(each["line"], each["outcome"]) for each in results] == [
        (1, "accepted"),
        (2, "rejected"),
    ]


def test_failed_entries_can_be_sent_again(run, service, endpoint):
    """`--failed` keeps entries as they were, and the next run accepts them."""
    service.play(
        FailEntries("ServiceUnavailable", matching=lambda e: '"id":3' in e["Detail"], times=None)
    )
    ended = run("send", "-", "--failed", "failed.jsonl", stdin=numbered(6))
    assert ended.status == 1
    assert [(each["line"], each["outcome"]) for each in ended.results] == [(4, "exhausted")]
    assert Path("failed.jsonl").read_text() == json_lines(entry(Detail={"id": 3}))
    assert "failed.jsonl has the entries not accepted" in ended.err
    service.clear_faults()
    ended = run("send", "failed.jsonl", "--failed", "again.jsonl")
    assert ended.status == 0
    assert sent_ids(service) == list(range(6))
    assert Path("again.jsonl").read_text() == ""


def test_failed_entries_of_a_pretty_array_become_lines(run, service, endpoint):
    """An entry that was written on several lines comes out on one."""
    service.play(FailEntries("InvalidArgument"))
    entries = [entry(Detail={"id": 1, "text": "two  spaces"}), entry(Detail='{"id": 2}')]
    Path("events.json").write_text(json.dumps(entries, indent=4))
    assert run("send", "events.json", "--failed", "failed.jsonl").status == 1
    assert read_lines(Path("failed.jsonl").read_text()) == entries


def test_lost_answer_is_unconfirmed(run, service, endpoint):
    """The result says that the event may have arrived, and the summary warns of duplicates."""
    service.play(LoseAnswer(times=None))
    ended = run("send", "-", "--max-attempts", "1", stdin=json_lines(entry()))
    assert ended.status == 1
    assert ended.results[0]["outcome"] == "unconfirmed"
    assert "attempt 1 may have arrived" in ended.results[0]["reason"]
    assert "sending them again may duplicate them" in ended.err


def test_max_attempts_bounds_the_requests(run, service, endpoint):
    """An event is in as many requests as allowed, and the result counts them."""
    service.play(FailRequest("InternalFailure", 500, times=None))
    ended = run("send", "-", "--max-attempts", "2", stdin=json_lines(entry()))
    assert (ended.results[0]["outcome"], ended.results[0]["attempts"]) == ("exhausted", 2)
    assert ended.results[0]["code"] == "InternalFailure"
    assert service.request_count == 2
    assert "1 of them were sent more than once" in ended.err


@pytest.mark.slow
def test_deadline_ends_the_sending(run, endpoint, service):
    """Events that the deadline stops are exhausted or unconfirmed, and kept."""
    ended = run(
        *("send", "--local", "--slow", "0.2", "--max-in-flight", "1", "--deadline", "0.5"),
        *("-", "--failed", "failed.jsonl"),
        stdin=numbered(200),
    )
    assert ended.status == 1
    outcomes = {each["outcome"] for each in ended.results}
    assert outcomes == {"exhausted", "unconfirmed"}
    never_sent = [each for each in ended.results if each["attempts"] == 0]
    assert never_sent
    assert {each["code"] for each in never_sent} == {"DeadlineExceeded"}
    assert len(Path("failed.jsonl").read_text().splitlines()) == len(ended.results) < 200


@pytest.mark.slow
def test_the_local_service_plays_the_faults_asked_for(run):
    """Faults are drawn from the seed, and every event still has one outcome."""
    options = ("send", "--local", "-", "--results", "-", "--max-in-flight", "1")
    faults = ("--throttle", "0.02", "--fail-requests", "0.1", "--lose-answers", "0.05")
    ended = run(*options, *faults, "--seed", "7", "--max-attempts", "6", stdin=numbered(300))
    assert [each["line"] for each in ended.results] == list(range(1, 301))
    assert max(each["attempts"] for each in ended.results) > 1
    assert run(*options, stdin=numbered(300)).results[-1]["attempts"] == 1


def test_a_rate_is_kept(run, service, endpoint):
    """A program that stays below the quota is not throttled."""
    service.play(LimitRate(40, burst=2))
    ended = run("send", "-", "--results", "-", "--max-rate", "20", stdin=numbered(100))
    assert ended.status == 0
    assert {each["attempts"] for each in ended.results} == {1}


def test_a_source_that_is_gone_is_reported(run, service, endpoint):
    """The result and the summary say that the source no longer exists."""
    service.play(FailEntries("ResourceNotFoundException"))
    ended = run("send", "-", stdin=json_lines(entry()))
    assert ended.results[0]["source_is_gone"] is True
    assert "1 of these are for sources that no longer exist" in ended.err


def test_array_of_the_aws_cli_is_sent(run, service, endpoint):
    """A file for `aws events put-partner-events` is a valid input."""
    entries = [
        entry(Detail='{"id": 1}', Time="2026-03-01T10:00:00+01:00", Resources=["a", "b"]),
        entry(Detail='{"id": 2}', Time=1772355600),
    ]
    Path("events.json").write_text(json.dumps({"Entries": entries}))
    assert run("send", "events.json").status == 0
    first, second = service.accepted
    assert (first.detail, first.resources, first.time) == ('{"id": 1}', ("a", "b"), 1772355600)
    assert second.time == 1772355600


@pytest.mark.parametrize("text", ["", "\n", "[]"])
def test_empty_input_is_fine(run, endpoint, service, text):
    """An empty input exits with status 0, and empties the failed entries of an earlier run."""
    Path("failed.jsonl").write_text("of an earlier run\n")
    ended = run("send", "-", "--failed", "failed.jsonl", stdin=text)
    assert (ended.status, ended.out, service.request_count) == (0, "", 0)
    assert ended.err.startswith("0 events")
    assert Path("failed.jsonl").read_text() == ""


def test_quiet_says_nothing_if_all_went_well(run, endpoint):
    """With `--quiet`, only failures are printed."""
    ended = run("send", "-", "--quiet", stdin=json_lines(entry()))
    assert (ended.status, ended.out, ended.err) == (0, "", "")
    ended = run("send", "-", "--quiet", stdin=json_lines("nonsense"))
    assert (ended.status, len(ended.results)) == (1, 1)
    assert "1 rejected" in ended.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["send"], "FILE"),
        (["send", "missing.jsonl"], "cannot read missing.jsonl: No such file or directory"),
        (["send", "."], "cannot read .: Is a directory"),
        (["send", "events.jsonl", "--results", "no/dir"], "cannot write no/dir: No such file"),
        (["send", "events.jsonl", "--failed", "events.jsonl"], "--failed is the same file as the"),
        (["send", "events.jsonl", "--results", "./link"], "--results is the same file as the"),
        (["send", "events.jsonl", "--results", "x", "--failed", "./x"], "--failed is the same"),
        (["send", "events.jsonl", "--failed", "-"], "--failed needs a file"),
        (["send", "events.jsonl", "--local", "--profile", "x"], "leave out --profile"),
        (["send", "events.jsonl", "--local", "--endpoint-url", "x"], "leave out --endpoint-url"),
        (["send", "events.jsonl", "--throttle", "0.1"], "--throttle is for the local service"),
        (["send", "events.jsonl", "--lose-answers", "0"], "--lose-answers is for the local"),
        (["send", "events.jsonl", "--deadline", "0"], "allowed: seconds above 0"),
        (["send", "events.jsonl", "--deadline", "nan"], "allowed: seconds above 0"),
        (["send", "events.jsonl", "--max-attempts", "0"], "allowed: a number from 1"),
        (["send", "events.jsonl", "--max-in-flight", "-1"], "allowed: a number from 1"),
        (["send", "events.jsonl", "--max-rate", "0"], "allowed: a number above 0"),
        (["send", "events.jsonl", "--local", "--throttle", "30"], "allowed: 0 to 1"),
        (["send", "events.jsonl", "--dead", "3"], "unrecognized arguments"),
        (["deliver"], "invalid choice"),
        ([], "COMMAND"),
        (["send", "utf16.jsonl"], "the input is UTF-16; needed: UTF-8"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_sent(run, service, endpoint, arguments, says):
    """The command exits with status 2, says what is wrong, and changes no file."""
    Path("events.jsonl").write_text(numbered(3))
    Path("link").symlink_to("events.jsonl")
    Path("utf16.jsonl").write_text(numbered(3), encoding="utf-16")
    ended = run(*arguments)
    assert (ended.status, ended.out) == (2, "")
    assert says in ended.err
    assert "Traceback" not in ended.err
    assert service.request_count == 0
    assert Path("events.jsonl").read_text() == numbered(3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--region", "us-east-1"], "no AWS credentials were found"),
        ([], "region is not set"),
        (["--region", "us east"], "region is 'us east'"),
        (["--region", "us-east-1", "--endpoint-url", "http://example.com"], "endpoint_url"),
        (["--profile", "missing"], "missing"),
    ],
)
def test_credentials_and_configuration_errors_have_their_own_status(run, arguments, says):
    """The command exits with status 3, sends nothing, and keeps an earlier run's failed entries."""
    Path("events.jsonl").write_text(numbered(3))
    Path("failed.jsonl").write_text("of an earlier run\n")
    ended = run("send", "events.jsonl", "--failed", "failed.jsonl", *arguments)
    assert (ended.status, ended.out) == (3, "")
    assert says in ended.err
    assert ended.err.count("\n") == 1
    assert Path("failed.jsonl").read_text() == "of an earlier run\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_output_that_fills_up_stops_reading(run, service, endpoint):
    """If results cannot be written, no more is read, and events already read are finished."""
    Path("events.jsonl").write_text(numbered(5000))
    ended = run("send", "events.jsonl", "--results", "/dev/full", "--failed", "failed.jsonl")
    assert ended.status == 1
    assert "cannot write /dev/full: No space left on device; the input was read up to" in ended.err
    assert 0 < service.accepted_count < 5000
    assert f"{service.accepted_count:,} accepted" in ended.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_failed_entries_that_cannot_be_kept_are_not_reported_as_kept(run):
    """The summary does not claim that the file has them."""
    Path("events.jsonl").write_text(json_lines("nonsense", entry()))
    ended = run("send", "--local", "events.jsonl", "--failed", "/dev/full")
    assert ended.status == 1
    assert "cannot write /dev/full" in ended.err
    assert "is in /dev/full" not in ended.err


def test_version_is_printed(run):
    """`--version` names the program and its version."""
    ended = run("--version")
    assert (ended.status, ended.out) == (0, f"eventbridge-partner {__version__}\n")


def test_help_of_each_command_names_the_statuses(run):
    """The help of every command explains its exit statuses."""
    commands = re.findall(r"^    (\w+)  ", run("--help").out, re.MULTILINE)
    assert "send" in commands
    for command in commands:
        ended = run(command, "--help")
        assert ended.status == 0
        assert re.search(r"Exit status: 0 .*; 2 wrong\s+usage", ended.out, re.DOTALL), command


def test_memory_is_bounded_by_the_window(run, service, endpoint, monkeypatch):
    """Only a limited number of events is read ahead of the outcomes, however long the input."""
    read: list[int] = []
    ahead: list[int] = []

    class Watched(EntryReader):
        def __iter__(self) -> Iterator[InputEntry]:
            for item in super().__iter__():
                read.append(item.line)
                ahead.append(len(read) - service.accepted_count)
                yield item

    monkeypatch.setattr(_input, "EntryReader", Watched)
    assert run("send", "-", stdin=numbered(4000)).status == 0
    assert len(read) == 4000
    assert max(ahead) <= 1100
