"""The distribution's version, exports and marker for type hints."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import eventbridge_partner
import eventbridge_partner.errors

ROOT = Path(__file__).parents[1]


def test_exports_are_listed_in_order():
    """`__all__` has each name once, sorted, so that branches seldom conflict in it."""
    assert list(eventbridge_partner.__all__) == sorted(set(eventbridge_partner.__all__))


def test_all_exports_are_described_in_the_reference():
    """The reference mentions every public name."""
    api = set((ROOT / "docs/reference/api.md").read_text().split())
    errors = {name for name in dir(eventbridge_partner.errors) if not name.startswith("_")}
    assert set(eventbridge_partner.__all__) - api - errors == set()


def test_version_is_the_installed_one():
    """`__version__` and the metadata of the distribution agree."""
    assert eventbridge_partner.__version__ == importlib.metadata.version("eventbridge-partner")


def test_type_hints_are_published():
    """The package carries the marker that makes type checkers read its annotations."""
    assert Path(eventbridge_partner.__file__).with_name("py.typed").exists()
