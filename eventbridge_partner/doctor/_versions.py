"""Finds out which versions are installed, and whether this release works with them."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from importlib import metadata
from typing import Final

from eventbridge_partner._version import __version__
from eventbridge_partner.doctor._findings import Fact, Finding

_DISTRIBUTION: Final = "eventbridge-partner"
_ALWAYS: Final = ("botocore", "urllib3", "requests")
_EXTRAS: Final = ("aiohttp", "pycurl", "psycopg", "opentelemetry-api")
_BOUND: Final = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?\s*>=\s*([0-9][0-9.]*)")


def versions() -> Finding:
    """Return the finding about the versions of the package, Python and the libraries."""
    found = {_DISTRIBUTION: __version__, "Python": platform.python_version()}
    missing = []
    for name in (*_ALWAYS, *_EXTRAS):
        version = _installed(name)
        if version is not None:
            found[name] = version
        elif name in _ALWAYS:
            missing.append(name)
    facts: dict[str, Fact] = dict(found)
    shown = ", ".join(f"{name} {version}" for name, version in found.items())
    too_old = [
        (name, bound)
        for name, bound in _bounds()
        if name in found and _numbers(found[name]) < _numbers(bound)
    ]
    if missing or too_old:
        wrong = [f"{name} is missing" for name in missing]
        wrong += [f"{name} {found[name]} is older than {bound}" for name, bound in too_old]
        return Finding(
            "versions",
            "fail" if missing else "warn",
            f"{'; '.join(wrong)} ({shown})",
            f"pip install --upgrade {_DISTRIBUTION}",
            facts=facts,
        )
    return Finding("versions", "pass", shown, facts=facts)


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _bounds() -> Iterator[tuple[str, str]]:
    """Yield the oldest versions that this release works with, from its metadata."""
    try:
        requirements = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:  # it is not installed
        return
    for requirement in requirements:
        if (bound := _BOUND.match(requirement)) and "extra == 'test'" not in requirement:
            yield bound[1], bound[2]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:3])
