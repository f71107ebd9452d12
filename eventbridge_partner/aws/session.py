"""
Reads settings from a botocore session: from the environment, AWS's files and code.

It makes no botocore client: that would take longer than all the rest, and its retries would
multiply ours. A test compares the result with a client's.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import attrs
import botocore
import botocore.session
from botocore.configloader import raw_config_parse
from botocore.configprovider import ConfiguredEndpointProvider
from botocore.credentials import create_credential_resolver
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import BotoCoreError, ConfigNotFound, ProfileNotFound
from botocore.utils import get_environ_proxies

from eventbridge_partner._foreign_text import escaped, quoted
from eventbridge_partner.aws.configuration import API_VERSION, SERVICE
from eventbridge_partner.aws.credentials import Credentials
from eventbridge_partner.aws.settings import (
    ENDPOINT_VARIABLES,
    REGIONAL,
    Setting,
    of_environment,
    proxies_of_environment,
)
from eventbridge_partner.errors import ConfigurationError

_MOST_OF_A_MESSAGE: Final = 500
_LOCAL: Final = frozenset({"env", "shared-credentials-file", "config-file"})
"""Sources of credentials that need neither the network nor a process."""

_OTHERS: Final = frozenset(
    {"credential_process", "login_session", "role_arn", "sso_session", "sso_start_url"}
)
"""Settings of a profile that name other sources of credentials."""

_SESSION: Final = "the session"
_CLIENT_CONFIG: Final = "the session's default client config"


P = ParamSpec("P")
T = TypeVar("T")
_Method = Callable[Concatenate["BotocoreSession", P], T]


def _translated(method: _Method[P, T]) -> _Method[P, T]:
    """Make a method raise ConfigurationError instead of botocore's errors."""

    @functools.wraps(method)
    def translated(self: BotocoreSession, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(self, *args, **kwargs)
        except BotoCoreError as error:
            # `from None`, because a traceback would show the original text unescaped.
            raise self.failure(error) from None

    return translated


@attrs.frozen
class BotocoreSession:
    """
    The settings and credentials of a botocore session. See `Settings`.

    Its methods raise a `ConfigurationError` if a file cannot be read.

    Attributes:
        session: The botocore session.
        profile: The given profile, if no session was given.
    """

    session: botocore.session.Session
    profile: str | None = None

    @classmethod
    def open(cls, profile: str | None, session: Any = None) -> BotocoreSession:
        """
        Use a given session, or make one.

        Args:
            profile: A profile of AWS's config files, if no session is given.
            session: A botocore or boto3 session.

        Raises:
            ConfigurationError: `session` is neither.
        """
        if session is None:
            return cls(botocore.session.Session(profile=profile), profile)
        # A boto3 session wraps a botocore one, but has no public attribute for it.
        session = getattr(session, "_session", session)
        if not isinstance(session, botocore.session.Session):
            found = escaped(type(session).__qualname__)
            raise ConfigurationError(
                f"session is of type {found}; allowed: a botocore or boto3 session"
            )
        return cls(session)

    def find_credentials(self) -> Credentials | None:
        """Return the session's credentials; None if it has none."""
        return self.session.get_credentials()

    def find_other_credentials(self) -> Credentials | None:
        """Look for credentials again: the session and its caches keep expired ones."""
        found: Credentials | None = create_credential_resolver(self.session).load_credentials()
        return found

    @_translated
    def find_local_credentials(self) -> Credentials | None:
        """
        Return credentials found without the network or a process, as `find_credentials` would.

        None if there are none, or if the profile uses a role, IAM Identity Center or a process.
        """
        says_other = _OTHERS.intersection(self.session.get_scoped_config())
        for provider in create_credential_resolver(self.session).providers:
            if provider.METHOD in _LOCAL and (provider.METHOD == "env" or not says_other):
                found: Credentials | None = provider.load()
                if found is not None:
                    return found
        return None

    # ------------------------------------------------------------ settings

    @_translated
    def check_files(self) -> None:
        """
        Read AWS's files.

        Raises:
            ConfigurationError: One of them cannot be read, or there is no such profile.
        """
        self.session.get_scoped_config()

    @_translated
    def region(self) -> Setting | None:
        """Return the Region to send to."""
        # botocore does not read AWS_REGION, which newer SDKs read and Lambda sets. A Region set on
        # this session in code takes precedence.
        if said := self._client_setting("region_name"):
            return Setting(str(said), _CLIENT_CONFIG)
        said = self.session.instance_variables().get("region")
        return (Setting(str(said), _SESSION) if said else of_environment("AWS_REGION")) or (
            self._variable("region", "AWS_DEFAULT_REGION")
        )

    @_translated
    def endpoint(self, region: str) -> Setting:
        """Return the configured endpoint, or else that of the Region."""
        session = self.session
        if not self._setting("ignore_configured_endpoint_urls"):
            profile = session.get_scoped_config()
            configured = ConfiguredEndpointProvider(session.full_config, profile, SERVICE).provide()
            if configured:
                in_file = Setting(str(configured), self._in_file("endpoint_url"))
                return of_environment(*ENDPOINT_VARIABLES) or in_file
        loader = session.get_component("data_loader")
        # With the version in the path: looking for the newest lists the folders of all services.
        rules = loader.load_data(f"{SERVICE}/{API_VERSION}/endpoint-rule-set-1")
        endpoint = EndpointProvider(rules, loader.load_data("partitions")).resolve_endpoint(
            Region=region,
            UseFIPS=bool(self._setting("use_fips_endpoint")),
            UseDualStack=bool(self._setting("use_dualstack_endpoint")),
        )
        return Setting(str(endpoint.url), REGIONAL)

    @_translated
    def ca_bundle(self) -> Setting | None:
        """Return the path of a file of trusted certificates."""
        return self._variable("ca_bundle", "AWS_CA_BUNDLE")

    @_translated
    def proxies(self, url: str) -> Mapping[str, Setting]:
        """Return the proxies to use for a URL, by scheme."""
        configured = self._client_setting("proxies")
        if configured is None:
            return proxies_of_environment(get_environ_proxies(url))
        return {scheme: Setting(proxy, _CLIENT_CONFIG) for scheme, proxy in configured.items()}

    @_translated
    def max_attempts(self) -> Setting | None:
        """Return the most attempts, as text; None if it is not set."""
        found: object
        try:
            found = self.session.get_config_variable("max_attempts")
        except ValueError:  # not a number: reported as the text that it is
            found = os.environ.get(
                "AWS_MAX_ATTEMPTS", self.session.get_scoped_config().get("max_attempts")
            )
        if found is None:
            return None
        return Setting(str(found), self._origin("max_attempts", "AWS_MAX_ATTEMPTS"))

    @_translated
    def app_id(self) -> str | None:
        """Return the application's name for the `User-Agent` header."""
        found = self._setting("user_agent_appid")
        return str(found) if found else None

    @_translated
    def user_agent_extra(self) -> str | None:
        """Return extra text for the `User-Agent` header."""
        found = self.session.user_agent_extra or self._client_setting("user_agent_extra")
        return str(found) if found else None

    def botocore_version(self) -> str:
        """Return botocore's version."""
        return botocore.__version__

    def failure(self, error: BotoCoreError) -> ConfigurationError:
        """Return the error that stands for one of botocore's, and names the setting at fault."""
        if not isinstance(error, ProfileNotFound):
            said = escaped(str(error), _MOST_OF_A_MESSAGE)
            return ConfigurationError(f"AWS's configuration cannot be used: {said}")
        named = of_environment("AWS_DEFAULT_PROFILE", "AWS_PROFILE")
        origin = _SESSION if named is None else named.origin
        if self.profile is not None:
            origin = "the argument profile"
        files = [
            escaped(str(self.session.get_config_variable(name)), _MOST_OF_A_MESSAGE)
            for name in ("config_file", "credentials_file")
        ]
        profile = quoted(error.kwargs.get("profile"))
        return ConfigurationError(
            f"{origin} is {profile}, and there is no such profile in {' or '.join(files)}"
        )

    def _variable(self, name: str, variable: str) -> Setting | None:
        found = self.session.get_config_variable(name)
        return Setting(str(found), self._origin(name, variable)) if found else None

    def _origin(self, name: str, variable: str) -> str:
        """Return the origin of a session variable that is set."""
        if name in self.session.instance_variables():
            return _SESSION
        return variable if variable in os.environ else self._in_file(name)

    def _in_file(self, name: str) -> str:
        """Return the profile and the file that hold a setting."""
        profile = self.session.profile or "default"
        file = self.session.get_config_variable("credentials_file")
        try:
            # A setting in both files is taken from this one.
            found = name in raw_config_parse(file).get(profile, {})
        except ConfigNotFound:
            found = False
        if not found:
            file = self.session.get_config_variable("config_file")
        return f"{name} of profile {escaped(profile)} in {escaped(str(file), _MOST_OF_A_MESSAGE)}"

    def _setting(self, name: str) -> Any:
        """Return a setting of the session's default client configuration, or of AWS's files."""
        chosen = self._client_setting(name)
        return self.session.get_config_variable(name) if chosen is None else chosen

    def _client_setting(self, name: str) -> Any:
        return getattr(self.session.get_default_client_config(), name, None)
