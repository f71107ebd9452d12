"""
Packages that declare all their names and load each at its first use (PEP 562).

This module loads nothing, not even `typing`: importing the package must cost next to nothing.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def face(
    package: str, names: Mapping[str, str], submodules: str = ""
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """
    Return the `__getattr__` and the `__dir__` of a package.

    Args:
        package: The package's name.
        names: For each submodule, the public names that it holds, separated by spaces.
        submodules: Submodules that are loaded at their first use, separated by spaces.
    """
    homes = {name: submodule for submodule, held in names.items() for name in held.split()}
    modules = submodules.split()
    namespace = vars(sys.modules[package])

    def load(name: str) -> object:
        submodule = homes.get(name, name)
        if name not in homes and name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        path = f"{package}.{submodule}"
        __import__(path)
        module = sys.modules[path]
        # From now on, Python finds the name in the namespace.
        value = namespace[name] = getattr(module, name) if name in homes else module
        return value

    def directory() -> list[str]:
        return sorted({*namespace, *homes, *modules})

    return load, directory
