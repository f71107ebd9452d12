"""The machine and the versions of a run."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import eventbridge_partner
from benchmarks import peers

_PACKAGES = ("boto3", "botocore", "requests", "urllib3", "orjson", "msgspec", "aiohttp")


def machine(contenders: Collection[str]) -> dict[str, str]:
    """
    Describe the machine and the versions of everything that takes part.

    Args:
        contenders: The names of the contenders that are measured.
    """
    return {
        "processor": _processor(),
        "system": f"{_distribution()}, {platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(_packages()),
        "peers": ", ".join(_peers(contenders)),
        "load": ", ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def _processor() -> str:
    facts = ""
    if sys.platform == "linux":
        facts = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", facts, re.MULTILINE)
    is_virtual = re.search(r"^flags\s*:.*\bhypervisor\b", facts, re.MULTILINE)
    count = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    name = model[1] if model else platform.processor() or "unknown"
    cores = f"{count} {'virtual ' if is_virtual else ''}cores"
    return f"{name} ({platform.machine()}), {cores}"


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.platform(terse=True)


def _packages() -> Iterator[str]:
    yield f"eventbridge-partner {eventbridge_partner.__version__}"
    for name in _PACKAGES:
        try:
            yield f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    try:
        pycurl = importlib.import_module("pycurl")
    except ImportError:
        return
    versions = dict(part.split("/", 1) for part in pycurl.version.split() if "/" in part)
    yield f"pycurl {versions['PycURL']}"
    yield f"libcurl {versions['libcurl']}"
    if "OpenSSL" in versions:
        yield f"OpenSSL {versions['OpenSSL']}"


def _peers(contenders: Collection[str]) -> Iterator[str]:
    if "aiobotocore" in contenders:
        yield peers.aiobotocore_version()
    if "javascript" in contenders:
        yield peers.javascript_version()
    if "floor" in contenders:
        yield _wrk_version()


def _wrk_version() -> str:
    # wrk has no option for its version: it prints it with its usage, and fails.
    done = subprocess.run(["wrk", "-v"], check=False, capture_output=True, text=True)
    return " ".join((done.stdout + done.stderr).split()[:2])
