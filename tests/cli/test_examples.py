"""The examples match their README, and can be sent."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from eventbridge_partner.cli._input import EntryReader

EXAMPLES = Path(__file__).parents[2] / "examples"
TICKETS = EXAMPLES / "tickets.jsonl"


def test_tickets_are_made_by_their_generator():
    """Running the generator again gives the same bytes."""
    path = EXAMPLES / "generate_tickets.py"
    spec = importlib.util.spec_from_file_location("generate_tickets", path)
    assert spec
    assert spec.loader
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    assert generator.content() == TICKETS.read_bytes()


def test_tickets_vary():
    """There are many events of several customers, small and large, in several scripts."""
    raw = TICKETS.read_bytes()
    lines = raw.splitlines()
    entries = [json.loads(line) for line in lines]
    assert len(raw) < 2_000_000
    assert len(entries) >= 1200
    assert len({entry["Source"] for entry in entries}) >= 5
    assert len({entry["DetailType"] for entry in entries}) >= 5
    assert min(map(len, lines)) < 250
    assert max(map(len, lines)) > 18_000
    assert {type(entry["Detail"]) for entry in entries} == {str, dict}
    assert all(letter in raw.decode() for letter in "電كक🎉Д")


@pytest.mark.parametrize("name", ["tickets.jsonl", "orders.json"])
def test_examples_are_accepted(run, name):
    """The local service accepts every example event."""
    with (EXAMPLES / name).open("rb") as stream:
        count = sum(1 for _ in EntryReader(stream))
    ended = run("send", "--local", EXAMPLES / name)
    assert (ended.status, ended.out) == (0, "")
    assert f"{count:,} accepted\n" in ended.err
