"""What a client is told when it is made, and what it looks up at its first use."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

import attrs

from eventbridge_partner._http import Timeouts
from eventbridge_partner.aws.configuration import (
    AwsConfiguration,
    checked_endpoint,
    checked_region,
    open_session,
    resolve,
)
from eventbridge_partner.aws.credentials import Credentials, CredentialsKeeper
from eventbridge_partner.aws.signing import SigningEdge
from eventbridge_partner.delivery.actions import DeliverySettings
from eventbridge_partner.delivery.batching import BatchLimits
from eventbridge_partner.errors import ConfigurationError
from eventbridge_partner.retry import RetryPolicy
from eventbridge_partner.transports import TransportFactory

if TYPE_CHECKING:
    import botocore.session

T = TypeVar("T")

MAX_IN_FLIGHT: Final = 4
"""Requests of one call in flight at a time where each takes a thread, unless told otherwise."""

MAX_MULTIPLEXED: Final = 32
"""The same where one thread keeps them all."""

# An event that waits for its retry holds back the outcomes of those behind it, and by default
# waits up to 3 s in all. So many events can go by meanwhile.
_STREAM_EVENTS: Final = 10_000
_STREAM_BYTES: Final = 16 * 1024 * 1024


@attrs.frozen
class LookedUp:
    """
    What was looked up for a client, in one process.

    Attributes:
        configuration: Region, endpoint and what else the AWS configuration says.
        settings: Of each delivery.
        credentials: What to sign with.
        edge: What signs.
    """

    configuration: AwsConfiguration
    settings: DeliverySettings
    credentials: CredentialsKeeper
    edge: SigningEdge

    @property
    def stream_settings(self) -> DeliverySettings:
        """The settings of a delivery that holds a bounded number of events at a time."""
        return attrs.evolve(self.settings, max_held=_STREAM_EVENTS, max_held_bytes=_STREAM_BYTES)


class SharedSession:
    """
    The session of a client and its siblings in other Regions, and its credentials.

    Opened by the first of them that looks something up, under the lock of that.
    """

    def __init__(self, profile: str | None, session: Any, credentials: Credentials | None) -> None:
        self._profile = profile
        self._session = session
        self._given = credentials
        self._opened: tuple[botocore.session.Session, CredentialsKeeper] | None = None

    def open(self) -> tuple[botocore.session.Session, CredentialsKeeper]:
        """Return both; they are the same from the first time on."""
        if self._opened is None:
            session = open_session(self._profile, self._session)
            self._opened = session, CredentialsKeeper(session, self._given)
        return self._opened

    def forget(self) -> None:
        """Open it anew next time: a thread of the parent may have held one of its locks."""
        self._opened = None


@attrs.frozen(kw_only=True)
class Setup:
    """
    What a client was told, checked as far as that goes without looking anything up.

    Attributes:
        region: The Region, if it was given.
        endpoint_url: Where to send instead of the Region's endpoint, if that was given.
        shared: What it asks for settings and credentials, as its siblings do.
        retry: When to send again.
        limits: How much goes into one request.
        timeouts: Of each request.
        max_in_flight: Requests of one call in flight; None if it depends on the transport.
    """

    region: str | None
    endpoint_url: str | None
    shared: SharedSession = attrs.field(repr=False)
    retry: RetryPolicy
    limits: BatchLimits
    timeouts: Timeouts
    max_in_flight: int | None

    @classmethod
    def of(
        cls,
        *,
        region: str | None,
        endpoint_url: str | None,
        profile: str | None,
        session: Any,
        credentials: Credentials | None,
        retry: RetryPolicy | None,
        timeout: float | Timeouts | None,
        max_in_flight: int | None,
        max_batch_bytes: int,
        max_entry_bytes: int,
    ) -> Self:
        """
        Check what a client was told.

        Raises:
            ConfigurationError: A Region, an endpoint or a session that cannot work.
            ValueError: A number that cannot work.
        """
        if max_in_flight is not None and max_in_flight < 1:
            raise ValueError(f"max_in_flight is {max_in_flight}; allowed: 1 or more")
        if timeout is None:
            timeout = Timeouts()
        elif not isinstance(timeout, Timeouts):
            timeout = Timeouts(connect=timeout, read=timeout)
        if profile is not None and session is not None:
            raise ConfigurationError("profile is given with a session; allowed: one of the two")
        if region is not None:
            checked_region(region)
        if endpoint_url is not None:
            checked_endpoint(endpoint_url)
        return cls(
            region=region,
            endpoint_url=endpoint_url,
            shared=SharedSession(profile, session, credentials),
            retry=retry or RetryPolicy(),
            limits=BatchLimits(max_batch_bytes=max_batch_bytes, max_entry_bytes=max_entry_bytes),
            timeouts=timeout,
            max_in_flight=max_in_flight,
        )

    def in_region(self, region: str) -> Setup:
        """
        Return the same setup for another Region.

        Raises:
            ConfigurationError: It is none.
        """
        return attrs.evolve(self, region=checked_region(region))

    def look_up(self) -> LookedUp:
        """
        Look up Region, endpoint and settings; credentials are looked up when one signs.

        Raises:
            ConfigurationError: No Region, or a setting that cannot work.
        """
        session, credentials = self.shared.open()
        configuration = resolve(session, region=self.region, endpoint_url=self.endpoint_url)
        retry = self.retry
        if configuration.max_attempts is not None:
            retry = retry.with_max_attempts(configuration.max_attempts)
        return LookedUp(
            configuration,
            DeliverySettings(
                retry=retry,
                limits=self.limits,
                max_in_flight=self.max_in_flight or MAX_IN_FLIGHT,
            ),
            credentials,
            SigningEdge(configuration),
        )


def open_transport(
    given: T | TransportFactory[T] | None,
    configuration: AwsConfiguration,
    default: Callable[[], TransportFactory[T]],
) -> tuple[T, bool]:
    """
    Return what sends requests, and whether the client has to close it.

    Args:
        given: What the client was given.
        configuration: What a transport is made with.
        default: Imports and returns what makes one where none is given.
    """
    if given is None:
        factory = default()
    # A class has the method of its instances too.
    elif hasattr(given, "send") and not isinstance(given, type):
        return cast("T", given), False
    else:
        factory = cast("TransportFactory[T]", given)
    return factory(ca_bundle=configuration.ca_bundle, proxies=configuration.proxies), True
