"""A setting, with what says it: an argument, a variable or a file, which errors name."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol


class Setting(NamedTuple):
    """
    A setting.

    Attributes:
        value: What it says; it may hold a password.
        origin: What says so: `AWS_REGION`, or `region of profile dev in ~/.aws/config`.
    """

    value: str
    origin: str

    def __repr__(self) -> str:
        return f"<Setting from {self.origin}>"


class Settings(Protocol):
    """What says the settings: a botocore session, or the environment alone."""

    def region(self) -> Setting | None:
        """Return the Region to send to."""
        ...

    def endpoint(self, region: str) -> Setting:
        """Return the endpoint that is configured, or else that of the Region."""
        ...

    def ca_bundle(self) -> Setting | None:
        """Return the path of a file of trusted certificates."""
        ...

    def proxies(self, url: str) -> Mapping[str, Setting]:
        """Return the proxies through which a URL is to be reached, by scheme."""
        ...

    def max_attempts(self) -> Setting | None:
        """Return how often to try, as it is said."""
        ...

    def app_id(self) -> str | None:
        """Return the application's name for the `User-Agent` header."""
        ...

    def user_agent_extra(self) -> str | None:
        """Return what else to say in the `User-Agent` header."""
        ...

    def botocore_version(self) -> str:
        """Return the version of the botocore whose rules are followed."""
        ...


ENDPOINT_VARIABLES: Final = ("AWS_ENDPOINT_URL_EVENTBRIDGE", "AWS_ENDPOINT_URL")
REGIONAL: Final = "the Region"
"""What says the endpoint where no setting does."""


def of_environment(*names: str) -> Setting | None:
    """Return what the first of these variables says that says something."""
    for name in names:
        if value := os.environ.get(name):
            return Setting(value, name)
    return None


def proxies_of_environment(found: Mapping[str, str]) -> dict[str, Setting]:
    """Return proxies, as urllib finds them, with the variable that each comes from."""
    return {scheme: Setting(url, _proxy_variable(scheme)) for scheme, url in found.items()}


def _proxy_variable(scheme: str) -> str:
    # As urllib has it: the name in lower case wins, and then the last one.
    name = f"{scheme}_proxy"
    if os.environ.get(name):
        return name
    named = [other for other, value in os.environ.items() if value and other.lower() == name]
    if named:
        return named[-1]
    return "the system's proxy" if sys.platform in {"win32", "darwin"} else name
