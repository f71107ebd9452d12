"""Habits from other command-line programs work here too."""

from __future__ import annotations

import gzip
import io
import sys

import pytest
import requests

from eventbridge_partner.cli._progress import _Counter, _Figures, open_progress
from tests.cli.program import entry, json_lines
from tests.patience import SOON


@pytest.mark.parametrize("command", ["send", "check", "serve", "relay", "sources"])
def test_the_usage_of_the_command_at_fault(run, command):
    """An option that a command does not know is answered with that command's usage."""
    ended = run(command, *{"sources": ["list"]}.get(command, []), "x", "--wrong")
    assert ended.status == 2
    assert ended.err.startswith(f"usage: eventbridge-partner {command}")


@pytest.mark.parametrize("name", ["events.jsonl.gz", "events.jsonl", "-"])
def test_gzip_data_by_its_content(run, endpoint, service, tmp_path, name):
    """Gzip data is recognized by its content, whatever the file's name, also from a pipe."""
    zipped = gzip.compress(json_lines(*[entry()] * 45).encode())
    (tmp_path / "events.jsonl").write_bytes(zipped)
    (tmp_path / "events.jsonl.gz").write_bytes(zipped)
    ended = run("send", name, stdin=zipped)
    assert (ended.status, ended.out) == (0, "")
    assert service.accepted_count == 45


def test_gzip_data_that_cannot_be_read(run, endpoint, service, tmp_path):
    """Entries before the damage are sent, and a line says what is wrong with the rest."""
    zipped = gzip.compress(
        "".join(json_lines(entry(Detail={"n": n})) for n in range(20_000)).encode()
    )
    (tmp_path / "cut.gz").write_bytes(zipped[: len(zipped) // 2])
    ended = run("send", "cut.gz")
    assert ended.status == 1
    assert "the input cannot be read further: its gzip data is cut off" in ended.err
    (tmp_path / "broken.gz").write_bytes(zipped[:10] + b"\xff" * 50)
    ended = run("check", "broken.gz")
    assert ended.status
    assert "its gzip data is broken" in ended.err


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"PK\x03\x04rest", "a ZIP archive"),
        (b"BZh91AY", "bzip2 data"),
        (b"\x28\xb5\x2f\xfdrest", "zstd data"),
        (b"\xfd7zXZ\x00", "xz data"),
        (b"PAR1rest", "a Parquet file"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_an_unreadable_format_is_named(run, tmp_path, data, kind):
    """The kind of file is named, instead of "not JSON on line 1"."""
    (tmp_path / "events").write_bytes(data)
    ended = run("send", "--local", "events")
    assert ended.status == 2
    assert f"the input is {kind}; needed: text in UTF-8, or gzip data of it" in ended.err


def test_the_advice_for_rejected_entries_is_to_fix_them(run, endpoint, service, tmp_path):
    """A rejected entry has to be fixed first, because sending it again cannot help."""
    (tmp_path / "bad.jsonl").write_text(json_lines("nonsense", entry()))
    ended = run("send", "bad.jsonl")
    assert "--failed FILE keeps the entries not accepted, to be fixed\n" in ended.err
    assert "sent again" not in ended.err
    ended = run("send", "bad.jsonl", "--failed", "failed.jsonl")
    assert "failed.jsonl has the entries not accepted, to be fixed\n" in ended.err
    assert "sent again" not in ended.err


def test_progress_in_words(monkeypatch):
    """Counts have their plural; after a second, the rate and the time left are shown."""
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    figures = _Figures(100_000)
    assert figures.text(1, 0, 10) == "1 event"
    assert figures.text(2, 1, 20) == "2 events, 1 not accepted"
    now = 10.0
    assert figures.text(20_000, 0, 25_000) == "20,000 events, 2,000 events/s, 30 s left"
    assert figures.text(20_000, 0, 1_000) == "20,000 events, 2,000 events/s, 16 min 30 s left"
    assert figures.text(20_000, 0, 20) == "20,000 events, 2,000 events/s, 13 h 53 min left"
    assert figures.text(20_000, 0, 100_000) == "20,000 events, 2,000 events/s"
    assert _Figures(None).text(5, 0, 100) == "5 events"


def test_progress_without_rich(monkeypatch):
    """The plain counter shows the same words."""
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    terminal = io.StringIO()
    progress = open_progress(terminal, 100)
    assert isinstance(progress, _Counter)
    with progress:
        progress.show(decided=1, undelivered=0, bytes_read=10)
    assert "\r1 event\x1b[K" in terminal.getvalue()


def test_serve_names_an_unknown_operation(capsys):
    """A line names the operation, and those that are supported."""
    from eventbridge_partner.cli._serve import _RequestPrinter

    service = _RequestPrinter(verify_signatures=False)
    with service.serve() as server:
        headers = {
            "X-Amz-Target": "AWSEvents.PutEvents",
            "Content-Type": "application/x-amz-json-1.1",
        }
        requests.post(server.url, b"{}", headers=headers, timeout=SOON)
    err = capsys.readouterr().err
    assert "PutEvents is not supported, only PutPartnerEvents and operations on" in err


def test_several_files(run, endpoint, service, tmp_path):
    """Files are sent one after the other, and results name the file."""
    (tmp_path / "a.jsonl").write_text(json_lines(entry(), "nonsense"))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(json_lines("nonsense", entry()).encode()))
    ended = run("send", "a.jsonl", "b.jsonl.gz", "-", stdin=json_lines(entry()))
    assert ended.status == 1
    assert service.accepted_count == 3
    assert [(each["file"], each["line"]) for each in ended.results] == [
        ("a.jsonl", 2),
        ("b.jsonl.gz", 1),
    ]
    assert "5 events in" in ended.err
    ended = run("check", "a.jsonl", "b.jsonl.gz")
    assert ended.status == 1
    assert ended.out.startswith("a.jsonl:2: entry is not JSON")
    assert "\nb.jsonl.gz:1: entry is not JSON" in ended.out
    assert "4 events: 2 cannot be sent" in ended.out


def test_several_files_of_which_one_cannot_be_read(run, endpoint, service, tmp_path):
    """Nothing is sent, and the message names the file."""
    (tmp_path / "a.jsonl").write_text(json_lines(entry()))
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04rest")
    for wrong, said in {
        "missing": "cannot read missing: No such file",
        "b.zip": "b.zip is a ZIP archive",
    }.items():
        ended = run("send", "a.jsonl", wrong)
        assert ended.status == 2
        assert said in ended.err
    assert run("send", "-", "-").status == 2
    (tmp_path / "c.jsonl").write_text(json_lines(entry()))
    ended = run("send", "a.jsonl", "c.jsonl", "--failed", "a.jsonl")
    assert "--failed is the same file as the input" in ended.err
    assert service.request_count == 0
