"""The page: three static files, and headers that forbid it to load anything else."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

PATH: Final = "/_page/"

_FILES: Final[Mapping[str, tuple[str, str]]] = {
    "": ("page.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
}

HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}
"""Headers of the page's files and of every answer to a control call."""


def file_at(path: str) -> tuple[str, bytes] | None:
    """Return the content type and content of the file at a path; None if there is none."""
    found = _FILES.get(path.partition("?")[0].removeprefix(PATH))
    if found is None:
        return None
    name, content_type = found
    return content_type, _content(name)


@cache
def _content(name: str) -> bytes:
    return (Path(__file__).parent / "page" / name).read_bytes()
