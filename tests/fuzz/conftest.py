"""
Fuzz targets run briefly in the suite, with the same examples each time.

With `--hypothesis-profile=fuzz`, they run FUZZ_EXAMPLES new examples.
"""

from __future__ import annotations

import faulthandler
from pathlib import Path

import hypothesis
import pytest

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def as_long_as_it_takes(request: pytest.FixtureRequest) -> None:
    """Give a long run more time than a test may take before it counts as hanging."""
    if request.config.getoption("--hypothesis-profile") is not None:
        faulthandler.cancel_dump_traceback_later()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--hypothesis-profile") is not None:
        return
    for item in items:
        if HERE in item.path.parents and hypothesis.is_hypothesis_test(item.obj):  # type: ignore[attr-defined]
            hypothesis.seed(0)(item.obj)  # type: ignore[attr-defined]
