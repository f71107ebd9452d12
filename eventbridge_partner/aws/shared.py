"""
The source of settings and credentials for a client and its siblings in other Regions.

A botocore session reads the environment and AWS's files as other SDKs do. botocore is imported,
and a session opened, only if the environment alone does not hold everything.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from eventbridge_partner.aws.configuration import AwsConfiguration, Examined, Reading, resolve
from eventbridge_partner.aws.credentials import (
    Credentials,
    CredentialsAccount,
    CredentialsKeeper,
    StaticCredentials,
)
from eventbridge_partner.aws.endpoint_rules import NotUnderstoodError
from eventbridge_partner.aws.environment import (
    EnvironmentCredentials,
    EnvironmentSettings,
    speaks_alone,
)

if TYPE_CHECKING:
    from eventbridge_partner.aws.session import BotocoreSession


class _Found(NamedTuple):
    """A finder of credentials that were found already."""

    credentials: Credentials

    def find_credentials(self) -> Credentials:
        return self.credentials

    def find_other_credentials(self) -> Credentials:
        return self.credentials


class SharedSession:
    """
    The settings and credentials that a client and its siblings in other Regions share.

    Args:
        profile: A profile of AWS's config files, if no session is given.
        session: A botocore or boto3 session.
        credentials: The credentials to sign with, if given.
    """

    def __init__(
        self,
        profile: str | None = None,
        session: Any = None,
        credentials: Credentials | None = None,
    ) -> None:
        self._profile = profile
        self._given = session
        self._given_credentials = credentials
        self.forget()

    def forget(self) -> None:
        """Start over in a child process: a thread of the parent may have held one of the locks."""
        self._lock = threading.Lock()
        self._session: BotocoreSession | None = None
        self._keeper = CredentialsKeeper(self, self._given_credentials)

    @property
    def credentials(self) -> CredentialsKeeper:
        """The credentials to sign with, shared by all siblings."""
        return self._keeper

    def resolve(
        self,
        region: str | None,
        endpoint_url: str | None,
        insecure_hosts: frozenset[str] = frozenset(),
    ) -> AwsConfiguration:
        """
        Resolve the configuration of a client, except its credentials.

        Args:
            region: The Region, if given.
            endpoint_url: The endpoint, if given.
            insecure_hosts: Hosts for which http is allowed.

        Raises:
            ConfigurationError: A setting is missing or invalid.
        """
        if self._needs_no_session():
            try:
                found = resolve(
                    EnvironmentSettings(),
                    region=region,
                    endpoint_url=endpoint_url,
                    insecure_hosts=insecure_hosts,
                )
            except NotUnderstoodError:
                pass
            else:
                if self._given_credentials is None and EnvironmentCredentials.find() is None:
                    # botocore will be needed for the credentials. It is imported here, where no
                    # fork can happen in between.
                    self._opened()
                return found
        return resolve(
            self._opened(),
            region=region,
            endpoint_url=endpoint_url,
            insecure_hosts=insecure_hosts,
        )

    def examine(
        self,
        region: str | None,
        endpoint_url: str | None,
        insecure_hosts: frozenset[str] = frozenset(),
    ) -> Examined:
        """
        Read the same settings as `resolve`, and continue after an invalid one.

        Raises:
            ConfigurationError: A file cannot be read, or there is no such profile.
        """
        if self._needs_no_session():
            reading = Reading(EnvironmentSettings(), region, endpoint_url, insecure_hosts)
            with contextlib.suppress(NotUnderstoodError):
                return reading.examine()
        session = self._opened()
        session.check_files()
        return Reading(session, region, endpoint_url, insecure_hosts).examine()

    def local_account(self) -> CredentialsAccount | None:
        """
        Return facts about credentials that are found without the network or a process.

        Returns:
            The facts; None if there are none, or if finding them needs the network or a process.

        Raises:
            ConfigurationError: A file cannot be read, or there is no such profile.
            CredentialsError: The credentials are invalid.
        """
        given = self._given_credentials
        if given is None:
            given = self._of_the_environment() or self._opened().find_local_credentials()
            if given is None:
                return None
            keeper = CredentialsKeeper(_Found(given), None)
        elif isinstance(given, StaticCredentials):
            keeper = self._keeper
        else:
            return None
        return keeper.account()

    def find_credentials(self) -> Credentials | None:
        """Return the credentials; None if there are none."""
        return self._of_the_environment() or self._opened().find_credentials()

    def find_other_credentials(self) -> Credentials | None:
        """Look for credentials again: the session and its caches keep expired ones."""
        return self._of_the_environment() or self._opened().find_other_credentials()

    def _of_the_environment(self) -> Credentials | None:
        return EnvironmentCredentials.find() if self._needs_no_session() else None

    def _needs_no_session(self) -> bool:
        return self._profile is None and self._given is None and speaks_alone()

    def _opened(self) -> BotocoreSession:
        with self._lock:
            if self._session is None:
                from eventbridge_partner.aws.session import BotocoreSession

                self._session = BotocoreSession.open(self._profile, self._given)
            return self._session
