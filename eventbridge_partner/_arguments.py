"""Arguments of the wrong type are refused where they are given, not where they are used."""

from __future__ import annotations

from collections.abc import Mapping


def wrong_type(field: str, value: object, allowed: str) -> TypeError:
    """Return the error for an argument. It names the type, never the value, which may be secret."""
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return TypeError(f"{field} is of type {module}{kind.__qualname__}; allowed: {allowed}")


def check_number(field: str, value: object, allowed: str = "a number of seconds") -> None:
    """
    Refuse anything but a number.

    Raises:
        TypeError: The value has another type.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise wrong_type(field, value, allowed)


def check_whole(field: str, value: object) -> None:
    """
    Refuse anything but a whole number.

    Raises:
        TypeError: The value has another type.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong_type(field, value, "a whole number")


def check_instances(kinds: Mapping[str, tuple[object, type]]) -> None:
    """
    Refuse values of the wrong class.

    Args:
        kinds: For each field, its value (None is allowed) and its class.

    Raises:
        TypeError: A value is not an instance of its class.
    """
    for field, (value, kind) in kinds.items():
        if value is not None and not isinstance(value, kind):
            raise wrong_type(field, value, f"a {kind.__name__}, or None")


def check_function(field: str, value: object) -> None:
    """
    Refuse a value that is not callable. None is allowed.

    Raises:
        TypeError: The value is not callable.
    """
    if value is not None and not callable(value):
        raise wrong_type(field, value, "a function, or None")
