"""The page on architecture shows the package as it is."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs import house

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/explanation/architecture.md").read_text()


def test_the_picture_has_every_floor():
    """The picture is the one that `python -m tests.docs.house` draws."""
    assert house.PICTURE.read_text() == house.drawn()


def test_files_that_the_page_names_are_there():
    """Each path in the package, the tests and the docs leads to a file or a folder."""
    named = re.findall(r"`((?:[\w-]+/)+[\w-]*(?:\.\w+)?)`", PAGE)
    assert len(named) > 20
    bases = (ROOT, ROOT / "eventbridge_partner")
    missing = [name for name in named if not any((base / name).exists() for base in bases)]
    assert missing == []
