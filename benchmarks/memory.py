"""How much memory this process has; imports nothing that would add to it."""

from __future__ import annotations

import resource
import sys


def peak_bytes() -> int:
    """Return the most memory that was resident at a time."""
    # On Linux not ru_maxrss: that one remembers the process which started this one.
    for line in _proc_file("status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def resident_bytes() -> int:
    """Return the memory that is resident now; where nobody tells, the most that ever was."""
    pages = _proc_file("statm").split()
    return int(pages[1]) * resource.getpagesize() if pages else peak_bytes()


def _proc_file(name: str) -> str:
    try:
        with open(f"/proc/self/{name}") as file:  # noqa: PTH123  # pathlib would add to the figure
            return file.read()
    except OSError:
        return ""
