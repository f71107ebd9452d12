"""
What a botocore session says: the environment, AWS's files, and what was said to it in code.

No botocore client is made: that takes longer than all the rest, and its retries would stack on
ours. A test holds the result against a client's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

import attrs
import botocore
import botocore.session
from botocore.configprovider import ConfiguredEndpointProvider
from botocore.credentials import create_credential_resolver
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import BotoCoreError
from botocore.utils import get_environ_proxies

from eventbridge_partner._foreign_text import escaped
from eventbridge_partner.aws.configuration import (
    API_VERSION,
    SERVICE,
    AwsConfiguration,
    checked_attempts,
    resolve,
)
from eventbridge_partner.aws.credentials import Credentials
from eventbridge_partner.errors import ConfigurationError

_MOST_OF_A_MESSAGE: Final = 500


@attrs.frozen
class BotocoreSession:
    """
    The settings and credentials of a botocore session. See `Settings`.

    Attributes:
        session: The session that is asked.
    """

    session: botocore.session.Session

    @classmethod
    def open(cls, profile: str | None, session: Any = None) -> BotocoreSession:
        """
        Take a session that was given, or make one.

        Args:
            profile: A profile of AWS's config files, where no session is given.
            session: A botocore or boto3 session.

        Raises:
            ConfigurationError: It is neither.
        """
        if session is None:
            return cls(botocore.session.Session(profile=profile))
        # A boto3 session wraps a botocore one, and has no public way to it.
        session = getattr(session, "_session", session)
        if not isinstance(session, botocore.session.Session):
            found = escaped(type(session).__qualname__)
            raise ConfigurationError(
                f"session is of type {found}; allowed: a botocore or boto3 session"
            )
        return cls(session)

    def resolve(
        self,
        region: str | None,
        endpoint_url: str | None,
        insecure_hosts: frozenset[str] = frozenset(),
    ) -> AwsConfiguration:
        """
        Resolve what a client needs to know but its credentials.

        Raises:
            ConfigurationError: A setting is missing or cannot work, or a file cannot be read.
        """
        try:
            return resolve(
                self, region=region, endpoint_url=endpoint_url, insecure_hosts=insecure_hosts
            )
        except BotoCoreError as error:
            # Without the original as the cause: a traceback shows that as it is.
            said = escaped(str(error), _MOST_OF_A_MESSAGE)
            raise ConfigurationError(f"AWS's configuration cannot be used: {said}") from None

    def find_credentials(self) -> Credentials | None:
        """Return the session's credentials, if it has any."""
        return self.session.get_credentials()

    def find_other_credentials(self) -> Credentials | None:
        """Return those that there are now: the session keeps, and its caches keep, the expired."""
        found: Credentials | None = create_credential_resolver(self.session).load_credentials()
        return found

    # ------------------------------------------------------------ settings

    def region(self) -> str | None:
        """Return the Region to send to."""
        # botocore does not read AWS_REGION, which every newer SDK and Lambda itself sets. What was
        # said in code of this session goes before it.
        found = (
            self._client_setting("region_name")
            or self.session.instance_variables().get("region")
            or os.environ.get("AWS_REGION")
            or self.session.get_config_variable("region")
        )
        return str(found) if found else None

    def endpoint(self, region: str) -> str:
        """Return the endpoint that is configured, or else that of the Region."""
        session = self.session
        if not self._setting("ignore_configured_endpoint_urls"):
            profile = session.get_scoped_config()
            configured = ConfiguredEndpointProvider(session.full_config, profile, SERVICE).provide()
            if configured:
                return str(configured)
        loader = session.get_component("data_loader")
        # By its path: looking for the newest version lists the folders of all services.
        rules = loader.load_data(f"{SERVICE}/{API_VERSION}/endpoint-rule-set-1")
        endpoint = EndpointProvider(rules, loader.load_data("partitions")).resolve_endpoint(
            Region=region,
            UseFIPS=bool(self._setting("use_fips_endpoint")),
            UseDualStack=bool(self._setting("use_dualstack_endpoint")),
        )
        return str(endpoint.url)

    def ca_bundle(self) -> str | None:
        """Return the path of a file of trusted certificates."""
        path = self.session.get_config_variable("ca_bundle")
        return str(path) if path else None

    def proxies(self, url: str) -> Mapping[str, str]:
        """Return the proxies through which a URL is to be reached."""
        configured = self._client_setting("proxies")
        return dict(configured if configured is not None else get_environ_proxies(url))

    def max_attempts(self) -> int | None:
        """
        Return how often to try.

        Raises:
            ConfigurationError: It is not a number from 1.
        """
        found: object
        try:
            found = self.session.get_config_variable("max_attempts")
        except ValueError:  # without the value that is none
            found = os.environ.get(
                "AWS_MAX_ATTEMPTS", self.session.get_scoped_config().get("max_attempts")
            )
        return checked_attempts(found)

    def app_id(self) -> str | None:
        """Return the application's name for the `User-Agent` header."""
        found = self._setting("user_agent_appid")
        return str(found) if found else None

    def user_agent_extra(self) -> str | None:
        """Return what else to say in the `User-Agent` header."""
        found = self.session.user_agent_extra or self._client_setting("user_agent_extra")
        return str(found) if found else None

    def botocore_version(self) -> str:
        """Return botocore's version."""
        return botocore.__version__

    def _setting(self, name: str) -> Any:
        """Return a setting of the session's default client configuration, else of AWS's files."""
        chosen = self._client_setting(name)
        return self.session.get_config_variable(name) if chosen is None else chosen

    def _client_setting(self, name: str) -> Any:
        return getattr(self.session.get_default_client_config(), name, None)
