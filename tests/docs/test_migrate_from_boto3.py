"""The tests that the page on boto3 shows, run by pytest as a reader would."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.process
def test_tests_for_the_migrated_loop_pass(tmp_path: Path) -> None:
    """The page's tests pass with the function that replaces the loop."""
    page = (ROOT / "docs/how-to/migrate-from-boto3.md").read_text()
    (function,) = re.findall(r"def send\(.*?return failed\n", page, re.DOTALL)
    tests = page.partition("<!-- tests -->\n```python\n")[2].partition("```")[0]
    imports = "from eventbridge_partner import PartnerEventsClient, Unconfirmed\n\n"
    (tmp_path / "test_send.py").write_text(f"{imports}{function}\n{tests}")
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert "4 passed" in ran.stdout, ran.stdout
