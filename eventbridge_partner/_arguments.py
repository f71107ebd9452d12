"""Arguments of the wrong type: refused where they are given, and not where they are used."""

from __future__ import annotations

from collections.abc import Mapping


def wrong_type(field: str, value: object, allowed: str) -> TypeError:
    """Return the error for an argument; it names the type and never the value, maybe a secret."""
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return TypeError(f"{field} is of type {module}{kind.__qualname__}; allowed: {allowed}")


def check_number(field: str, value: object, allowed: str = "a number of seconds") -> None:
    """
    Refuse what is no number.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise wrong_type(field, value, allowed)


def check_whole(field: str, value: object) -> None:
    """
    Refuse what is no whole number.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong_type(field, value, "a whole number")


def check_instances(kinds: Mapping[str, tuple[object, type]]) -> None:
    """
    Refuse what is not of a class.

    Args:
        kinds: By field, its value (None is allowed) and its class.

    Raises:
        TypeError: One of them is not.
    """
    for field, (value, kind) in kinds.items():
        if value is not None and not isinstance(value, kind):
            raise wrong_type(field, value, f"a {kind.__name__}, or None")


def check_function(field: str, value: object) -> None:
    """
    Refuse what cannot be called.

    Raises:
        TypeError: It cannot.
    """
    if value is not None and not callable(value):
        raise wrong_type(field, value, "a function, or None")
