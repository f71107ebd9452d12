"""
Where a client and its siblings get settings and credentials from.

Botocore's session reads the environment and AWS's files as every other SDK does; it is imported
and opened only where the environment alone does not say everything.
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
    """Finds what was found."""

    credentials: Credentials

    def find_credentials(self) -> Credentials:
        return self.credentials

    def find_other_credentials(self) -> Credentials:
        return self.credentials


class SharedSession:
    """
    What a client and its siblings in other Regions ask for settings, and their credentials.

    Args:
        profile: A profile of AWS's config files, where no session is given.
        session: A botocore or boto3 session.
        credentials: What to sign with, if it was given.
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
        """Look everything up anew: a thread of the parent may have held one of the locks."""
        self._lock = threading.Lock()
        self._session: BotocoreSession | None = None
        self._keeper = CredentialsKeeper(self, self._given_credentials)

    @property
    def credentials(self) -> CredentialsKeeper:
        """What to sign with: the same for all siblings."""
        return self._keeper

    def resolve(
        self,
        region: str | None,
        endpoint_url: str | None,
        insecure_hosts: frozenset[str] = frozenset(),
    ) -> AwsConfiguration:
        """
        Resolve what a client needs to know but its credentials.

        Args:
            region: The Region, if it was given.
            endpoint_url: Where to send instead, if that was given.
            insecure_hosts: Hosts that may be sent to by http.

        Raises:
            ConfigurationError: A setting is missing or cannot work.
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
                    # Botocore will look for the credentials. It is imported here, where no fork
                    # gets in between.
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
        Read what `resolve` does, and go on behind what cannot work.

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
        Tell of the credentials that there are without asking the network or a process.

        Returns:
            What may be told of them; None if there are none, or if finding out takes one of these.

        Raises:
            ConfigurationError: A file cannot be read, or there is no such profile.
            CredentialsError: They cannot be used.
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
        """Return the credentials there are, if there are any."""
        return self._of_the_environment() or self._opened().find_credentials()

    def find_other_credentials(self) -> Credentials | None:
        """Return those that there are now: the session keeps, and its caches keep, the expired."""
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
