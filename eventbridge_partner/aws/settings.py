"""A setting with its origin: an argument, a variable or a file, which errors name."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol


class Setting(NamedTuple):
    """
    A setting.

    Attributes:
        value: Its value, which may hold a password.
        origin: Where it comes from: `AWS_REGION`, or `region of profile dev in ~/.aws/config`.
    """

    value: str
    origin: str

    def __repr__(self) -> str:
        return f"<Setting from {self.origin}>"


class Settings(Protocol):
    """A source of settings: a botocore session, or the environment alone."""

    def region(self) -> Setting | None:
        """Return the Region to send to."""
        ...

    def endpoint(self, region: str) -> Setting:
        """Return the configured endpoint, or else that of the Region."""
        ...

    def ca_bundle(self) -> Setting | None:
        """Return the path of a file of trusted certificates."""
        ...

    def proxies(self, url: str) -> Mapping[str, Setting]:
        """Return the proxies to use for a URL, by scheme."""
        ...

    def max_attempts(self) -> Setting | None:
        """Return the most attempts, as text; None if it is not set."""
        ...

    def app_id(self) -> str | None:
        """Return the application's name for the `User-Agent` header."""
        ...

    def user_agent_extra(self) -> str | None:
        """Return extra text for the `User-Agent` header."""
        ...

    def botocore_version(self) -> str:
        """Return the version of the installed botocore."""
        ...


ENDPOINT_VARIABLES: Final = ("AWS_ENDPOINT_URL_EVENTBRIDGE", "AWS_ENDPOINT_URL")
REGIONAL: Final = "the Region"
"""The origin of an endpoint that no setting names."""


def of_environment(*names: str) -> Setting | None:
    """Return the first of these variables that is set and not empty."""
    for name in names:
        if value := os.environ.get(name):
            return Setting(value, name)
    return None


def proxies_of_environment(found: Mapping[str, str]) -> dict[str, Setting]:
    """Return the proxies that urllib finds, each with the variable that it comes from."""
    return {scheme: Setting(url, _proxy_variable(scheme)) for scheme, url in found.items()}


def _proxy_variable(scheme: str) -> str:
    # As in urllib: the name in lower case wins, and then the last one.
    name = f"{scheme}_proxy"
    if os.environ.get(name):
        return name
    named = [other for other, value in os.environ.items() if value and other.lower() == name]
    if named:
        return named[-1]
    return "the system's proxy" if sys.platform in {"win32", "darwin"} else name
