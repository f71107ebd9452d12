"""The reference describes what exists."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import eventbridge_partner.testing
from benchmarks import pacing
from eventbridge_partner.cli import main

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/reference"

HelpOf = Callable[..., str]


@pytest.fixture
def help_of(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> HelpOf:
    """Return what a command shows when it is asked for help, in lines that are wide enough."""
    monkeypatch.setenv("COLUMNS", "200")

    def help_of(*command: str) -> str:
        with pytest.raises(SystemExit) as end:
            main([*command, "--help"])
        assert end.value.code == 0
        return capsys.readouterr().out

    return help_of


@pytest.mark.parametrize(
    "command",
    [
        "send",
        "check",
        "doctor",
        "sources",
        "relay",
        "outbox",
        "serve",
        "customer",
        "sample",
        "match",
    ],
)
def test_options_of_the_command_line_are_described(help_of: HelpOf, command: str) -> None:
    """The page has exactly the options that `--help` shows."""
    shown = help_of(command)
    if command == "sources":  # its options are those of its actions
        actions = re.findall(r"^    ([a-z]+) ", shown, re.MULTILINE)
        shown = "".join(help_of(command, action) for action in actions)
    if command == "outbox":
        actions = re.findall(r"^    ([a-z]+) ", shown, re.MULTILINE)
        of_dead = re.findall(r"^    ([a-z]+) ", help_of(command, "dead"), re.MULTILINE)
        shown = "".join(help_of(command, action) for action in actions if action != "dead")
        shown += "".join(help_of(command, "dead", action) for action in of_dead)
    options = set(re.findall(r"^  (?:-h, )?(--[a-z-]+)", shown, re.MULTILINE)) - {"--help"}
    page = (REFERENCE / "cli.md").read_text()
    section = page.partition(f"## {command}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`--[^|]+)\|", section, re.MULTILINE)
    described = {option for row in rows for option in re.findall(r"`(--[a-z-]+)", row)}
    if command == "serve":  # the faults are described once, at `send`
        described |= {"--throttle", "--fail-requests", "--lose-answers", "--slow", "--seed"}
    assert described == options


def test_local_service_is_described_whole() -> None:
    """The page has each name that `testing` exports."""
    page = (REFERENCE / "testing.md").read_text()
    described = set(
        re.findall(
            r"(?:auto)?(?:class|data|function|exception):: eventbridge_partner\.testing\.(\w+)",
            page,
        )
    )
    assert described == set(eventbridge_partner.testing.__all__)


def test_readme_commands_are_marked_once() -> None:
    """The gate runs the commands that follow these marks in README."""
    readme = (ROOT / "README.md").read_text()
    for mark in ("run-command", "test-command"):
        assert len(re.findall(rf"<!-- {mark} -->\n```bash\n[^`]+```\n", readme)) == 1


def test_links_between_pages_lead_somewhere() -> None:
    """A relative link in README, the changelog or the docs names a file that exists."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("benchmarks/*.md")]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []


@pytest.mark.slow
def test_figures_of_pacing_are_those_that_the_script_prints() -> None:
    """The page has the table that `python -m benchmarks.pacing` prints."""
    page = (ROOT / "docs/how-to/pace-requests.md").read_text()
    shown = page.partition("benchmarks.pacing -->\n\n")[2].partition("\n\n<!-- end of pacing")[0]
    assert shown == pacing.table(pacing.SCENES)


def test_figures_of_loads_are_those_that_the_script_prints() -> None:
    """The page has the second table too; only its small loads are run again."""
    page = (ROOT / "docs/how-to/pace-requests.md").read_text()
    shown = page.partition("<!-- loads: printed by benchmarks.pacing -->\n\n")[2]
    lines = shown.partition("\n\n<!-- end of loads")[0].splitlines()
    assert len(lines) == 2 + 2 * len(pacing.LOADS)
    small = {title: load for title, load in pacing.LOADS.items() if load.quota == 40}
    assert small
    for line in pacing.table_of_loads(small).splitlines():
        assert line in lines
