"""The program as a process: signals, pipes and terminals."""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from eventbridge_partner.cli._interruption import Interrupted, Interruption
from eventbridge_partner.testing import SlowAnswer
from tests.cli.program import entry, json_lines, read_lines
from tests.patience import SOON, until

ROOT = Path(__file__).parents[2]

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the program as a process in an empty directory, and kills it at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def start(
        *arguments: str, python: tuple[str, ...] = (), program: tuple[str, ...] = (), **streams: Any
    ) -> Any:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(
            [
                *(program or (sys.executable, *(python or ("-m", "eventbridge_partner")))),
                *arguments,
            ],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"},
            **pipes | streams,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def numbered(count: int) -> list[dict[str, Any]]:
    return [entry(Detail={"id": number}) for number in range(count)]


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.process
def test_the_module_is_the_program(start):
    """`python -m eventbridge_partner` reads standard input, and exits with the status."""
    process = start("send", "--local", "-", "--results", "-", stdin=subprocess.PIPE)
    out, err = process.communicate(json_lines(*numbered(3), "nonsense").encode())
    assert process.returncode == 1
    assert [each["outcome"] for each in read_lines(out)] == ["accepted"] * 3 + ["rejected"]
    assert b"3 accepted, 1 rejected" in err
    assert b"\r" not in err


PROGRAM = f"{sys.executable} -X dev -W error -m eventbridge_partner"


@pytest.mark.process
@pytest.mark.parametrize("where", [">&-", "2>&-", ">&- 2>&-", "2>/dev/full", "<&-"])
@pytest.mark.parametrize("command", ["send --local", "check"])
def test_closed_outputs_do_not_change_the_exit_status(start, tmp_path, command, where):
    """The exit status is the same with outputs closed or full."""
    (tmp_path / "events.jsonl").write_text(json_lines(*numbered(45)))
    (tmp_path / "bad.jsonl").write_text(json_lines("nonsense", *numbered(2)))
    for file, status in (("events.jsonl", 0), ("bad.jsonl", 1)):
        process = start("-c", f"{PROGRAM} {command} {file} {where}", program=("sh",))
        _, err = process.communicate()
        assert process.returncode == status
        assert b"Traceback" not in err


@pytest.mark.process
@pytest.mark.parametrize("command", ["send --local", "check"])
def test_closed_input_is_refused(start, command):
    """A closed input is not mistaken for an empty one."""
    process = start("-c", f"{PROGRAM} {command} - <&-", program=("sh",))
    _, err = process.communicate()
    assert process.returncode == 2
    assert err.endswith(b"cannot read standard input: it is closed\n")


@pytest.mark.process
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
@pytest.mark.parametrize("bad", [0, 1, 2_000])
def test_check_says_that_its_output_cannot_be_written(start, tmp_path, bad):
    """The message blames the full disk, not the input file."""
    (tmp_path / "events.jsonl").write_text(json_lines(*["nonsense"] * bad, entry()))
    process = start("-c", f"{PROGRAM} check events.jsonl > /dev/full", program=("sh",))
    _, err = process.communicate()
    assert process.returncode == 1
    assert err.decode() == (
        "eventbridge-partner check: cannot write standard output: No space left on device\n"
    )


@pytest.mark.process
@pytest.mark.parametrize(
    ("number", "times", "status"),
    [(signal.SIGINT, 2, 130), (signal.SIGTERM, 1, 143)],
)
def test_interruption_is_prompt_and_loses_nothing(
    start, tmp_path, service, endpoint, number, times, status
):
    """Every event read has a result, unaccepted ones are kept, and no answer is waited for."""
    service.play(SlowAnswer(1000, after=1, times=None))
    entries = numbered(400)
    entries[5] = {"Source": "bad"}
    (tmp_path / "events.jsonl").write_text(json_lines(*entries))
    process = start(
        *("send", "events.jsonl", "--max-in-flight", "1"),
        *("--results", "results.jsonl", "--failed", "failed.jsonl"),
    )
    results_file = tmp_path / "results.jsonl"
    until(lambda: lines_of(results_file) >= 20 and service.request_count > 1)
    for time_left in reversed(range(times)):
        process.send_signal(number)
        if time_left:
            wait_for_line(process, b"reading stopped")
    _, err = process.communicate(timeout=SOON)
    assert process.returncode == status
    assert b"Traceback" not in err
    results = read_lines(results_file.read_bytes())
    assert [each["line"] for each in results] == list(range(1, len(results) + 1))
    assert len(results) < 400
    assert {each["outcome"] for each in results} == {"accepted", "rejected", "unconfirmed"}
    assert results[-1]["reason"] == "interrupted before its answer"
    kept = read_lines((tmp_path / "failed.jsonl").read_bytes())
    expected = [entries[each["line"] - 1] for each in results if each["outcome"] != "accepted"]
    assert kept == expected
    assert f"interrupted; the input was read up to the entry on line {len(results)}\n" in (
        err.decode()
    )


def wait_for_line(process, text):
    line = b"-"
    while line and text not in line:
        line = process.stderr.readline()
    assert line


@pytest.mark.process
def test_the_first_ctrl_c_finishes_what_was_read(start, tmp_path):
    """No more is read, and every event read gets its outcome from the service."""
    entries = numbered(20_000)
    (tmp_path / "events.jsonl").write_text(json_lines(*entries))
    process = start(
        *("send", "--local", "--slow", "0.05", "events.jsonl", "--results", "results.jsonl")
    )
    results_file = tmp_path / "results.jsonl"
    until(lambda: lines_of(results_file) >= 20)
    process.send_signal(signal.SIGINT)
    wait_for_line(process, b"reading stopped; press Ctrl-C again to stop waiting for results")
    _, err = process.communicate(timeout=SOON)
    assert process.returncode == 130
    assert b"Traceback" not in err
    results = read_lines(results_file.read_bytes())
    assert [each["line"] for each in results] == list(range(1, len(results) + 1))
    assert len(results) < 20_000
    assert {each["outcome"] for each in results} == {"accepted"}
    assert f"interrupted; the input was read up to the entry on line {len(results):,}\n" in (
        err.decode()
    )


waits_are_shown = pytest.mark.skipif(
    sys.platform != "linux", reason="asks Linux what the process waits in"
)


def what_it_waits_in(process):
    return Path(f"/proc/{process.pid}/wchan").read_text()


@pytest.mark.process
@waits_are_shown
def test_interruption_while_standard_input_is_silent(start):
    """Ctrl-C works while the program waits for input, and no event read is lost."""
    reading, writing = os.pipe()
    process = start("send", "--local", "-", "--results", "-", stdin=reading)
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(json_lines(*numbered(3)).encode())
        pipe.flush()
        until(lambda: not unread_bytes(pipe.fileno()))
        until(lambda: "pipe_read" in what_it_waits_in(process))  # waiting for more input
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=SOON)
    assert process.returncode == 130
    assert len(read_lines(out)) == 3
    assert b"line 3" in err
    assert b"Traceback" not in err


@pytest.mark.slow
@pytest.mark.process
@waits_are_shown
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "arguments",
    [
        ("send", "--local", "fifo"),
        ("check", "fifo"),
        ("send", "--local", "events.jsonl", "--results", "fifo"),
        ("send", "--local", "events.jsonl", "--failed", "fifo"),
    ],
    ids=" ".join,
)
def test_interruption_while_a_fifo_waits_for_its_other_end(start, tmp_path, arguments, number):
    """The first signal ends the program, although opening a FIFO waits for its other end."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "events.jsonl").write_text(json_lines(entry()))
    process = start(*arguments)
    until(lambda: what_it_waits_in(process) == "wait_for_partner")
    process.send_signal(number)
    _, err = process.communicate(timeout=SOON)
    assert process.returncode == 128 + number
    assert err.decode() == f"eventbridge-partner {arguments[0]}: interrupted\n"


@pytest.mark.process
def test_a_page_stays_open_after_sending(start, tmp_path):
    """The page stays open until Ctrl-C, and the exit status is that of sending."""
    (tmp_path / "events.jsonl").write_text(json_lines(*numbered(3), "nonsense"))
    process = start("send", "--local", "--page", "events.jsonl")
    assert process.stderr
    said = [process.stderr.readline().decode()]
    while "until Ctrl-C" not in said[-1]:
        said.append(process.stderr.readline().decode())
    url = said[-1].split()[4]
    events = requests.get(url.replace("_page/", "_control/events"), timeout=SOON).json()["events"]
    assert [event["outcome"] for event in events] == ["accepted"] * 3
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=SOON)
    assert process.returncode == 1
    assert b"Traceback" not in err


def unread_bytes(pipe: int) -> int:
    """Return how many bytes written to a pipe have not been read."""
    waiting = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, waiting)
    return waiting[0]


@pytest.mark.process
def test_a_reader_that_leaves_ends_the_sending(start, tmp_path):
    """With `| head`, reading stops once results cannot be written, and the rest is not sent."""
    (tmp_path / "events.jsonl").write_text(json_lines(*numbered(20_000)))
    process = start("send", "--local", "events.jsonl", "--results", "-")
    assert process.stdout
    assert process.stderr
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read().decode()
    assert process.wait(timeout=SOON) == 1
    assert "cannot write standard output: Broken pipe; the input was read up to" in err
    assert "Traceback" not in err
    assert "Exception ignored" not in err


@pytest.mark.process
def test_check_survives_a_reader_that_leaves(start, tmp_path):
    """`check FILE | head` ends without a traceback."""
    (tmp_path / "events.jsonl").write_text("nonsense\n" * 20_000)
    process = start("check", "events.jsonl")
    assert process.stdout
    assert process.stderr
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=SOON) == 1


WITHOUT_RICH = """\
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "rich" else find(name, *rest)
from eventbridge_partner.cli import main
sys.exit(main())
"""


def read_terminal(terminal: int, process: subprocess.Popen[bytes]) -> str:
    shown = b""
    with contextlib.suppress(OSError):  # the other end has closed
        while select.select([terminal], [], [], SOON)[0] and (chunk := os.read(terminal, 65536)):
            shown += chunk
    process.wait(timeout=SOON)
    return shown.decode()


@pytest.mark.process
@pytest.mark.parametrize("python", [(), ("-c", WITHOUT_RICH)], ids=["rich", "plain"])
@pytest.mark.parametrize("option", ["", "--no-progress"])
def test_progress_is_for_terminals(start, tmp_path, python, option):
    """Counts are updated on a terminal, with and without rich, and the summary stays."""
    (tmp_path / "events.jsonl").write_text(json_lines(*numbered(300), "nonsense"))
    ours, theirs = pty.openpty()
    arguments = ["send", "--local", "--slow", "0.05", "events.jsonl", *filter(None, [option])]
    process = start(*arguments, python=python, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = read_terminal(ours, process)
    os.close(ours)
    assert process.returncode == 1
    assert shown.count('"code":"InvalidEvent"') == 1
    assert "300 accepted, 1 rejected" in shown
    assert ("\x1b[" in shown) is not bool(option)
    if not option:
        result = next(line for line in shown.split("\r\n") if "InvalidEvent" in line)
        assert json.loads(result[result.index("{") :])["line"] == 301
        assert "events" in shown[: shown.index("InvalidEvent")]


def test_signal_waits_for_the_end_of_an_uninterruptible_block():
    """A signal in an uninterruptible block takes effect in the next block that allows it."""
    steps: list[str] = []
    interruption = Interruption()

    def work() -> None:
        with interruption:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            steps.append("whole")
            with interruption.allowed:
                steps.append("interrupted")

    with pytest.raises(Interrupted):
        work()
    assert steps == ["whole"]
    assert interruption.status == 130
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
