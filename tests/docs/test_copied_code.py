"""What a reader copies from a page runs: the code that it shows needs no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import NOT_RUN

ROOT = Path(__file__).parents[2]
INVISIBLE = re.compile(r"<!-- invisible-code-block.*?-->", re.DOTALL)
PYTHON = re.compile(rf"({NOT_RUN.pattern}\s*)?```python\n(.*?)```", re.DOTALL)


def code_of(page: Path) -> str:
    """Return the Python that a page shows, one block after another."""
    shown = INVISIBLE.sub("", page.read_text())
    return "\n".join(code for reason, _, code in PYTHON.findall(shown) if not reason)


PAGES = {
    str(page.relative_to(ROOT)): code
    for page in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")))
    if (code := code_of(page))
}


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("page", PAGES)
def test_the_visible_code_of_a_page_runs(page, tmp_path, monkeypatch):
    """It runs in the order of the page, in an empty directory, without hidden set-up."""
    monkeypatch.chdir(tmp_path)
    exec(compile(PAGES[page], page, "exec"), {"__name__": "__main__"})
