"""
The contenders: programs that speak the protocol of `senders.py`.

A contender is a command, so it may be written in any language.
"""

from __future__ import annotations

import functools
import importlib.util
import shutil
import sys
from collections.abc import Callable

import attrs

from benchmarks import peers
from benchmarks.figures import Entrant

IN_FLIGHT = 32
"""Requests in flight: the same number for all contenders that can have many."""


def _always() -> None:
    return None


@attrs.frozen
class Contender:
    """
    One program that is measured.

    Attributes:
        name: Its name in the JSON output and on the command line.
        title: Its name in tables and pictures.
        command: What to start. The name of a case follows, and the number of requests in flight.
        in_flight: That number in the sending part; None for the contender's own default.
        is_ours: Whether it is this package.
        missing: Returns what must be installed for it, or None if nothing is missing.
        warm_up: How many rounds it has before the first that counts.
        every: It takes part only in every nth round.
        has_latency: Whether it takes part in the measurement with slow answers.
    """

    name: str
    title: str
    command: tuple[str, ...]
    in_flight: int | None = None
    is_ours: bool = False
    missing: Callable[[], str | None] = _always
    warm_up: int = 1
    every: int = 1
    has_latency: bool = False

    def start(self, case: str, in_flight: int | None) -> list[str]:
        """Return the command for a case."""
        return [*self.command, case, *([str(in_flight)] if in_flight else [])]

    @property
    def entrant(self) -> Entrant:
        """What tables and pictures need to know of it."""
        return Entrant(self.name, self.title, self.in_flight, self.is_ours)


def _extra(module: str, extra: str, library: str) -> str | None:
    if not importlib.util.find_spec(f"eventbridge_partner.{module}"):
        return f"a version of this package that has {module}"
    if not importlib.util.find_spec(library):
        return f"pip install 'eventbridge-partner[{extra}]'"
    return None


_curl = functools.partial(_extra, "transports.curl", "speed", "pycurl")
_aiohttp = functools.partial(_extra, "transports.aiohttp", "async", "aiohttp")


def _wrk() -> str | None:
    return None if shutil.which("wrk") else "wrk on PATH (Debian: apt install wrk)"


def _sender(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "benchmarks.senders", name)


CONTENDERS = (
    Contender("boto3", "boto3", _sender("boto3"), in_flight=1, has_latency=True),
    Contender(
        "aiobotocore",
        "aiobotocore",
        (str(peers.aiobotocore_python()), "-m", "benchmarks.senders", "aiobotocore"),
        in_flight=IN_FLIGHT,
        missing=peers.without_aiobotocore,
        has_latency=True,
    ),
    Contender(
        "javascript",
        "AWS SDK for JavaScript v3",
        ("node", "--no-warnings", str(peers.javascript_sender())),
        in_flight=IN_FLIGHT,
        missing=peers.without_javascript,
        # V8 keeps compiling hot code for about 80,000 events, and then needs a third of the time.
        warm_up=40,
    ),
    Contender("requests-1", "ours, requests", _sender("requests"), in_flight=1, is_ours=True),
    Contender("requests", "ours, requests", _sender("requests"), is_ours=True, has_latency=True),
    Contender("curl-1", "ours, curl", _sender("curl"), in_flight=1, is_ours=True, missing=_curl),
    Contender(
        "curl",
        "ours, curl",
        _sender("curl"),
        in_flight=IN_FLIGHT,
        is_ours=True,
        missing=_curl,
        has_latency=True,
    ),
    Contender(
        "aiohttp",
        "ours, aiohttp",
        _sender("aiohttp"),
        in_flight=IN_FLIGHT,
        is_ours=True,
        missing=_aiohttp,
        has_latency=True,
    ),
    Contender(
        "floor",
        "C: wrk, and hashes",
        (sys.executable, "-m", "benchmarks.floor"),
        in_flight=IN_FLIGHT,
        missing=_wrk,
        every=4,  # one turn takes a second, so a few are enough
    ),
)
