"""Settings for property tests, browser tests and the log."""

from __future__ import annotations

import logging
import os

import pytest
from hypothesis import HealthCheck, settings

from eventbridge_partner import _bugs
from eventbridge_partner.line import _undelivered
from tests.browsers import NAMES, found_browser

settings.register_profile(
    "moderate",
    deadline=None,
    max_examples=100,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile(
    "fuzz",
    settings.get_profile("moderate"),
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "20000")),
)
settings.load_profile("moderate")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that need a browser if there is none."""
    if found_browser() is not None:
        return
    left_out = [item for item in items if item.get_closest_marker("browser")]
    if left_out:
        items[:] = [item for item in items if not item.get_closest_marker("browser")]
        config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say if the page was not tested."""
    if found_browser() is None:
        terminalreporter.write_line(
            "no browser found: the tests of the local service's page were left out; "
            f"needed: playwright, and one of {', '.join(NAMES)}"
        )


@pytest.fixture(autouse=True)
def log_anew() -> None:
    """Reset the log, so that lines limited to one a minute are written in each test."""
    _bugs.forget()
    _undelivered.forget()
    # A framework that configures logging, as Celery does on one page, must not silence later tests.
    logging.disable(logging.NOTSET)
    logging.getLogger().setLevel(logging.WARNING)
    log = logging.getLogger("eventbridge_partner")
    log.disabled, log.propagate = False, True
    log.setLevel(logging.NOTSET)
