"""The tests that the docs show, run by pytest as a reader would."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from eventbridge_partner.testing import EVERY_FAULT

ROOT = Path(__file__).parents[2]


def blocks() -> list[str]:
    page = (ROOT / "docs/how-to/test-your-code.md").read_text()
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


def run(folder: Path, *code: str) -> str:
    (folder / "test_tickets.py").write_text("".join(code))
    (folder / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    return ran.stdout


@pytest.mark.process
def test_tests_in_the_docs_pass(tmp_path: Path) -> None:
    """The first four blocks of the page, in a file, are tests that pass."""
    ran = run(tmp_path, *blocks()[:4])
    assert f"{6 + len(EVERY_FAULT)} passed" in ran, ran


@pytest.mark.process
def test_the_failing_test_fails_as_shown(tmp_path: Path) -> None:
    """The failing test prints what the page shows, line for line."""
    page = (ROOT / "docs/how-to/test-your-code.md").read_text()
    shown = page.partition("<!-- failing-test -->\n```text\n")[2].partition("```")[0]
    failing = """
def test_priority(eventbridge, eventbridge_client):
    send_tickets(eventbridge_client, [7, 8])
    assert_accepted(eventbridge, detail={"ticket": 7, "priority": "high"})
"""
    ran = run(tmp_path, blocks()[0], "from eventbridge_partner.testing import *\n", failing)
    assert shown in ran, ran
