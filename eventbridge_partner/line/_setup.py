"""The arguments of a client, checked before anything is looked up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

from eventbridge_partner._arguments import (
    check_function,
    check_instances,
    check_number,
    check_whole,
    wrong_type,
)
from eventbridge_partner._http import Timeouts
from eventbridge_partner.aws.configuration import (
    checked_endpoint,
    checked_region,
)
from eventbridge_partner.aws.credentials import Credentials
from eventbridge_partner.aws.insecure_hosts import checked_hosts, hosts_of_environment
from eventbridge_partner.aws.shared import SharedSession
from eventbridge_partner.delivery.batching import BatchLimits
from eventbridge_partner.errors import ConfigurationError
from eventbridge_partner.limits import SOURCE_OPERATIONS_PER_SECOND
from eventbridge_partner.pacing import Pace
from eventbridge_partner.retry import RetryPolicy

if TYPE_CHECKING:
    from eventbridge_partner.observing import Observer

T = TypeVar("T")


class Setup(NamedTuple):
    """
    The arguments of a client, checked as far as possible without looking anything up.

    Attributes:
        region: The Region, if given.
        endpoint_url: The URL to send to instead of the Region's endpoint, if given.
        insecure_hosts: Hosts other than loopback for which http is allowed.
        shared: The settings and credentials that it shares with its siblings.
        retry: The retry policy.
        limits: How much goes into one request.
        timeouts: The timeouts of each request.
        max_in_flight: The most requests of one call in flight; None for the transport's default.
        pace: How many requests a second deliveries may make.
        sources_pace: How many requests a second operations on sources may make.
        transport: The given transport, or the function that makes one; None for the default.
        observe: The observer; None for none.
    """

    region: str | None
    endpoint_url: str | None
    insecure_hosts: frozenset[str]
    shared: SharedSession
    retry: RetryPolicy
    limits: BatchLimits
    timeouts: Timeouts
    max_in_flight: int | None
    pace: Pace
    sources_pace: Pace
    transport: Any
    observe: Observer | None

    @classmethod
    def of(
        cls,
        *,
        region: str | None,
        endpoint_url: str | None,
        insecure_hosts: Iterable[str],
        profile: str | None,
        session: Any,
        credentials: Credentials | None,
        retry: RetryPolicy | None,
        timeout: float | Timeouts | None,
        max_in_flight: int | None,
        max_batch_bytes: int,
        max_entry_bytes: int,
        pace: Pace | None,
        sources_pace: Pace | None,
        transport: Any,
        observe: Observer | None,
    ) -> Self:
        """
        Check the arguments of a client.

        Raises:
            ConfigurationError: A Region, an endpoint or a session is invalid.
            TypeError: An argument has the wrong type.
            ValueError: A number is out of range.
        """
        check_instances(
            {
                "region": (region, str),
                "endpoint_url": (endpoint_url, str),
                "profile": (profile, str),
                "retry": (retry, RetryPolicy),
                "pace": (pace, Pace),
                "sources_pace": (sources_pace, Pace),
            }
        )
        if credentials is not None and not hasattr(credentials, "get_frozen_credentials"):
            allowed = "StaticCredentials, anything with get_frozen_credentials(), or None"
            raise wrong_type("credentials", credentials, allowed)
        if transport is not None and not (callable(transport) or hasattr(transport, "send")):
            raise wrong_type("transport", transport, "a transport, a class of them, or None")
        if timeout is not None and not isinstance(timeout, Timeouts):
            check_number("timeout", timeout, "a number of seconds, Timeouts, or None")
        if max_in_flight is not None:
            check_whole("max_in_flight", max_in_flight)
        check_whole("max_batch_bytes", max_batch_bytes)
        check_whole("max_entry_bytes", max_entry_bytes)
        check_function("observe", observe)
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
        hosts = checked_hosts(insecure_hosts)
        if endpoint_url is not None:
            checked_endpoint(endpoint_url, hosts | hosts_of_environment())
        return cls(
            region=region,
            endpoint_url=endpoint_url,
            insecure_hosts=hosts,
            shared=SharedSession(profile, session, credentials),
            retry=retry or RetryPolicy(),
            limits=BatchLimits(max_batch_bytes=max_batch_bytes, max_entry_bytes=max_entry_bytes),
            timeouts=timeout,
            max_in_flight=max_in_flight,
            pace=pace or Pace(),
            sources_pace=sources_pace or Pace(SOURCE_OPERATIONS_PER_SECOND),
            transport=transport,
            observe=observe,
        )

    def in_region(self, region: str) -> Setup:
        """
        Return the same setup for another Region, with paces of its own.

        Raises:
            ConfigurationError: `region` is not the code of a Region.
        """
        return self._replace(
            region=checked_region(region),
            pace=self.pace.anew(),
            sources_pace=self.sources_pace.anew(),
        )
