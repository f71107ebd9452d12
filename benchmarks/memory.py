"""The memory of this process; imports nothing that would add to it."""

from __future__ import annotations

import resource
import sys


def peak_bytes() -> int:
    """Return the highest resident memory of this process."""
    # Not ru_maxrss on Linux, because that includes the process that started this one.
    for line in _proc_file("status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def resident_bytes() -> int:
    """Return the current resident memory, or the highest where that is not known."""
    pages = _proc_file("statm").split()
    return int(pages[1]) * resource.getpagesize() if pages else peak_bytes()


def _proc_file(name: str) -> str:
    try:
        with open(f"/proc/self/{name}") as file:  # noqa: PTH123  # pathlib would add to the figure
            return file.read()
    except OSError:
        return ""
