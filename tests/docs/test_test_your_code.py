"""The tests that the docs show, run by pytest as a reader would."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.process
def test_tests_in_the_docs_pass(tmp_path: Path) -> None:
    """The first two blocks of the page, in a file, are three tests that pass."""
    page = (ROOT / "docs/how-to/test-your-code.md").read_text()
    code, tests, *_ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "test_tickets.py").write_text(code + tests)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert "3 passed" in ran.stdout, ran.stdout
