"""The benchmarks run: what they find is not a matter for a test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CASES = ("text-500", "mapping-500", "text-5000")
CONTENDERS = ("boto3", "ours", "ours-default")


def run(*arguments):
    command = [sys.executable, "-m", "benchmarks", "--quick", *arguments]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout


def test_quickest_form_prints_and_writes_all_figures(tmp_path):
    """A few hundred events give every row of the tables, and the same figures as JSON."""
    file = tmp_path / "figures.json"
    printed = run("--tls", "on", "--json", str(file))

    figures = json.loads(file.read_text())
    rows = [(row["case"], row["contender"]) for row in figures["sending"]["tls"]]
    assert rows == [(case, contender) for case in CASES for contender in CONTENDERS]
    for row in figures["sending"]["tls"]:
        assert 0 < row["cpu"]["minimum"] <= row["cpu"]["median"] <= row["cpu"]["third_quartile"]
        assert 0 < row["wall"]["minimum"] <= row["wall"]["median"]
        assert row["peak_memory"] > 1_000_000
        assert (row["cpu_ratio"] is None) == (row["contender"] == "boto3")
    for row in figures["startup"]:
        assert row["theirs"]["minimum"] > 0
        assert row["ours"]["minimum"] > 0
    assert all(size > 1_000_000 for size in figures["startup_memory"].values())
    assert figures["streaming"]["accepted"] == figures["streaming"]["events"]
    assert figures["streaming"]["growth"] >= 0
    assert [bar["found"] > 0 for bar in figures["bars"]] == [True] * 3

    for title in ("500 B as text", "500 B as mapping", "5 KB as text"):
        lines = [line for line in printed.splitlines() if line.startswith(title)]
        for contender in ("boto3", "put_events, one thread", "put_events, default"):
            # Once with its time, and once more with its memory.
            assert sum(contender in line for line in lines) == 2
    assert "import and first client" in printed
    assert "growth after" in printed


def test_a_part_can_be_measured_alone():
    """One kind of event, without TLS, and nothing else."""
    printed = run("--tls", "off", "--only", "sending", "--case", "mapping-500")
    assert "Sending without TLS" in printed
    assert "500 B as mapping" in printed
    for left_out in ("with TLS", "500 B as text", "import and first client", "growth after"):
        assert left_out not in printed
