"""Finds a browser for the tests of the local service's page."""

from __future__ import annotations

import importlib.util
import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def found_browser() -> str | None:
    """Return the path of a Chromium that the tests can drive; None if there is none."""
    if importlib.util.find_spec("playwright") is None:
        return None
    given = os.environ.get("BROWSER_FOR_TESTS")
    return given or next((path for name in NAMES if (path := shutil.which(name))), None)
