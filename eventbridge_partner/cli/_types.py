"""Parsers for the values of command line options."""

from __future__ import annotations

import argparse
import ipaddress
import math
import re
from typing import Final

from eventbridge_partner._foreign_text import quoted


def positive_int(text: str) -> int:
    """Read an integer of at least 1."""
    number = _whole(text)
    if number is None or number < 1:
        raise argparse.ArgumentTypeError(f"{quoted(text)}; allowed: a number from 1")
    return number


def seconds(text: str) -> float:
    """Read a number of seconds above 0."""
    number = _finite(text)
    if number is None or number <= 0:
        raise argparse.ArgumentTypeError(f"{quoted(text)}; allowed: seconds above 0")
    return number


def rate(text: str) -> float:
    """Read a rate per second, above 0."""
    number = _finite(text)
    if number is None or number <= 0:
        raise argparse.ArgumentTypeError(f"{quoted(text)}; allowed: a number above 0")
    return number


_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhdw]?)")
_LONGEST: Final = 100 * 365 * 86400


def duration(text: str) -> float:
    """Read a duration such as `3d`. Returns seconds, above 0."""
    found = _DURATION.fullmatch(text)
    number = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < number <= _LONGEST:
        raise argparse.ArgumentTypeError(
            f"{quoted(text)}; allowed: a number above 0 with s, m, h, d or w, such as 3d"
        )
    return number


def share(text: str) -> float:
    """Read a share from 0 to 1."""
    number = _finite(text)
    if number is None or not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{quoted(text)}; allowed: 0 to 1")
    return number


def port(text: str) -> int:
    """Read a port number; 0 stands for any free port."""
    number = _whole(text)
    if number is None or not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(
            f"{quoted(text)}; allowed: 0 to 65535, 0 for any free port"
        )
    return number


def account(text: str) -> str:
    """Read an AWS account id."""
    if not re.fullmatch("[0-9]{12}", text):
        raise argparse.ArgumentTypeError(f"{text!a}; allowed: 12 digits")
    return text


def network(text: str) -> str:
    """Read a network such as `172.17.0.0/16`."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{quoted(text)}; allowed: a network such as 172.17.0.0/16"
        ) from None
    return text


def host_and_port(text: str) -> str:
    """Read a host with its port, as a browser shows it: `localhost:9000`."""
    name, _, number = text.rpartition(":")
    if not name or _whole(number) is None or not 0 < int(number) <= 65535:
        raise argparse.ArgumentTypeError(
            f"{quoted(text)}; allowed: HOST:PORT, such as localhost:9000"
        )
    return text


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _finite(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
