"""
Reads settings and credentials from environment variables, without botocore.

In Lambda and most containers, Region and credentials are only in the environment. Importing
botocore to read them would take longer than everything else up to the first answer. So this module
reads them exactly as botocore does; the tests compare both for thousands of environments. Where
that is not certain, botocore is asked instead.
"""

from __future__ import annotations

import os
import sys
import urllib.parse
from collections.abc import Mapping
from typing import Final

from eventbridge_partner.aws.endpoint_rules import InstalledBotocore
from eventbridge_partner.aws.settings import (
    ENDPOINT_VARIABLES,
    REGIONAL,
    Setting,
    of_environment,
    proxies_of_environment,
)
from eventbridge_partner.wire.sigv4 import FrozenCredentials

_OTHER_SOURCES: Final = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_DATA_PATH")
"""Variables that name other places to read settings from."""

_FILES: Final = (
    ("AWS_CONFIG_FILE", "~/.aws/config"),
    ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
)

_UNCERTAIN_CREDENTIALS: Final = (
    "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    # botocore prepares to ask for the machine's role before it looks at the environment, and
    # refuses malformed values.
    "AWS_METADATA_SERVICE_TIMEOUT",
    "AWS_METADATA_SERVICE_NUM_ATTEMPTS",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
)
"""If one of these is set, botocore reads the credentials, too."""


def speaks_alone() -> bool:
    """
    Tell whether settings can come only from the environment.

    That is so if no profile is named, none of AWS's files exists, and nothing extends botocore.
    On Windows and macOS, proxies can also come from the system.
    """
    return not (
        sys.platform in {"win32", "darwin"}
        or any(name in os.environ for name in _OTHER_SOURCES)
        or any(_is_file(os.environ.get(name, usual)) for name, usual in _FILES)
        or os.path.isdir(os.path.expanduser("~/.aws/models"))  # noqa: PTH111, PTH112
        # Functions that the application has registered to be called with every session.
        or getattr(sys.modules.get("botocore"), "_INITIALIZERS", None)
    )


def _is_file(path: str) -> bool:
    # In botocore's order; pathlib raises if there is no home.
    return os.path.isfile(os.path.expanduser(os.path.expandvars(path)))  # noqa: PTH111, PTH113


class EnvironmentSettings:
    """Settings from environment variables. See `Settings`."""

    def region(self) -> Setting | None:
        """Return the Region to send to."""
        return of_environment("AWS_REGION", "AWS_DEFAULT_REGION")

    def endpoint(self, region: str) -> Setting:
        """
        Return the configured endpoint, or else that of the Region.

        Raises:
            NotUnderstoodError: Only botocore can tell.
        """
        if not _is_true("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"):
            configured = of_environment(*ENDPOINT_VARIABLES)
            if configured is not None:
                return configured
        found = InstalledBotocore.find().endpoint(
            region,
            use_fips=_is_true("AWS_USE_FIPS_ENDPOINT"),
            use_dual_stack=_is_true("AWS_USE_DUALSTACK_ENDPOINT"),
        )
        return Setting(found, REGIONAL)

    def ca_bundle(self) -> Setting | None:
        """Return the path of a file of trusted certificates."""
        return of_environment("AWS_CA_BUNDLE")

    def proxies(self, url: str) -> Mapping[str, Setting]:
        """Return the proxies to use for a URL, by scheme."""
        if not any(value and name.lower().endswith("_proxy") for name, value in os.environ.items()):
            return {}
        # botocore calls the same functions. They are slow to import, so only for a proxy.
        from urllib.request import getproxies, proxy_bypass

        found = {} if proxy_bypass(urllib.parse.urlsplit(url).netloc) else getproxies()
        return proxies_of_environment(found)

    def max_attempts(self) -> Setting | None:
        """Return the most attempts, as text; None if it is not set."""
        found = os.environ.get("AWS_MAX_ATTEMPTS")
        return None if found is None else Setting(found, "AWS_MAX_ATTEMPTS")

    def app_id(self) -> str | None:
        """Return the application's name for the `User-Agent` header."""
        return os.environ.get("AWS_SDK_UA_APP_ID")

    def user_agent_extra(self) -> None:
        """Return None: only a session can have extra text for the `User-Agent` header."""

    def botocore_version(self) -> str:
        """
        Return botocore's version.

        Raises:
            NotUnderstoodError: It cannot be found without importing it.
        """
        return InstalledBotocore.find().version()


def _is_true(name: str) -> bool:
    return os.environ.get(name, "").lower() == "true"


class EnvironmentCredentials:
    """Credentials from environment variables."""

    method: Final = "env"
    """Botocore's name for this source of credentials."""

    def __init__(self, frozen: FrozenCredentials) -> None:
        self._frozen = frozen

    @classmethod
    def find(cls) -> EnvironmentCredentials | None:
        """Return the current ones; None if only botocore can tell."""
        if any(name in os.environ for name in _UNCERTAIN_CREDENTIALS):
            return None
        access_key = os.environ.get("AWS_ACCESS_KEY_ID")
        secret_key = os.environ.get("AWS_SECRET_ACCESS_KEY")
        if not access_key or not secret_key:
            return None
        token = os.environ.get("AWS_SESSION_TOKEN")
        return cls(FrozenCredentials(access_key, secret_key, token))

    def get_frozen_credentials(self) -> FrozenCredentials:
        """Return these credentials, which do not change until the environment is read again."""
        return self._frozen
