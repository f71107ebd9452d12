"""The part that both lines share, and how it is looked up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar, cast

import attrs

from eventbridge_partner._bugs import Bugs
from eventbridge_partner._clock import monotonic
from eventbridge_partner._http import Timeouts
from eventbridge_partner.aws.configuration import AwsConfiguration
from eventbridge_partner.aws.credentials import CredentialsKeeper
from eventbridge_partner.aws.signing import SigningEdge
from eventbridge_partner.delivery.actions import DeliverySettings
from eventbridge_partner.delivery.judging import Judge
from eventbridge_partner.errors import ConfigurationError, PartnerEventsError
from eventbridge_partner.line._setup import Setup
from eventbridge_partner.pacing import Pace
from eventbridge_partner.retry import RetryQuota
from eventbridge_partner.transports import Answer, TransportFactory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eventbridge_partner.delivery.machine import Delivery
    from eventbridge_partner.line._flight import Flight
    from eventbridge_partner.line._witness import Account, Witness
    from eventbridge_partner.observing import DeliveryKind, Observer

TransportT = TypeVar("TransportT")

MAX_IN_FLIGHT: Final = 4
"""The default limit of requests of one call in flight, if each takes a thread."""

MAX_MULTIPLEXED: Final = 32
"""The default limit of requests of one call in flight, if one thread handles all."""

# An event that waits for a retry holds back the outcomes of those after it, by default for up to
# 3 s. This many events can be sent meanwhile.
_STREAM_EVENTS: Final = 10_000
_STREAM_BYTES: Final = 16 * 1024 * 1024


def _made(factory: TransportFactory[TransportT], configuration: AwsConfiguration) -> TransportT:
    try:
        return factory(ca_bundle=configuration.ca_bundle, proxies=configuration.proxies)
    except ConfigurationError as error:
        origins = configuration.origins
        named = {"proxy": origins.proxy, "certificates": origins.ca_bundle}
        said = [f"the {what} by {origin}" for what, origin in named.items() if origin]
        if not said:
            raise
        # Transports do not know the origins of their arguments.
        raise ConfigurationError(f"{error}; set: {', '.join(said)}") from error


@attrs.define(kw_only=True, eq=False, repr=False)
class BaseLine(ABC, Generic[TransportT]):
    """
    All that a client sends with, in one process.

    Attributes:
        configuration: Region, endpoint and the other settings of AWS's configuration.
        settings: The settings of each delivery.
        credentials: The credentials to sign with.
        edge: Signs requests.
        transport: Sends requests.
        owns_transport: Whether to close the transport with the client.
        timeouts: The timeouts of each request.
        quota: How many retries are left.
        pace: How many requests a second may go out.
        bugs: Exceptions of the caller's policy, to be logged while no lock is held.
        witness: Tells the caller's observer about requests; None if there is none.
    """

    configuration: AwsConfiguration
    settings: DeliverySettings
    credentials: CredentialsKeeper
    edge: SigningEdge
    transport: TransportT
    owns_transport: bool
    timeouts: Timeouts
    quota: RetryQuota
    pace: Pace
    bugs: Bugs
    witness: Witness | None

    @classmethod
    def open(cls, setup: Setup, **own: Any) -> Self:
        """
        Look up Region, endpoint and settings; credentials are looked up at the first signature.

        Args:
            setup: The client's arguments.
            own: Attributes that only this subclass has.

        Raises:
            ConfigurationError: There is no Region, or a setting is invalid.
        """
        configuration = setup.shared.resolve(setup.region, setup.endpoint_url, setup.insecure_hosts)
        retry = setup.retry
        if configuration.max_attempts is not None:
            retry = retry.with_max_attempts(configuration.max_attempts)
        bugs = Bugs()
        given = setup.transport
        # A class has the methods of its instances, so `send` alone does not tell an instance.
        owns_transport = given is None or isinstance(given, type) or not hasattr(given, "send")
        transport = cast("TransportT", given)
        if owns_transport:
            factory: TransportFactory[TransportT] = given or cls.default_transport()
            transport = _made(factory, configuration)
        return cls(
            configuration=configuration,
            settings=DeliverySettings(
                retry=retry,
                on_bug=bugs.note,
                limits=setup.limits,
                max_in_flight=setup.max_in_flight or cls.usual_in_flight(transport),
            ),
            credentials=setup.shared.credentials,
            edge=SigningEdge(configuration),
            transport=transport,
            owns_transport=owns_transport,
            timeouts=setup.timeouts,
            quota=RetryQuota(setup.retry.tokens),
            pace=setup.pace,
            bugs=bugs,
            witness=_witness(setup.observe, configuration),
            **own,
        )

    @classmethod
    @abstractmethod
    def default_transport(cls) -> TransportFactory[TransportT]:
        """Import and return the default transport."""

    @classmethod
    @abstractmethod
    def usual_in_flight(cls, transport: TransportT) -> int:
        """Return the default limit of requests of one call in flight."""

    @property
    def stream_settings(self) -> DeliverySettings:
        """The settings of a delivery that holds a bounded number of events."""
        return attrs.evolve(self.settings, max_held=_STREAM_EVENTS, max_held_bytes=_STREAM_BYTES)

    @property
    def judge(self) -> Judge:
        """Decides when to retry."""
        return self.settings.judge

    def land_last(self, answers: Iterable[tuple[Flight, Answer]], delivery: Delivery) -> None:
        """Tell a delivery that ends now the answers that have come; nothing is remedied."""
        for flight, answer in answers:
            landed = flight.landed(answer, delivery)
            if isinstance(landed, PartnerEventsError):
                delivery.failed(flight.batch, landed, monotonic())
            if self.witness is not None:
                self.witness.batch_ended(flight, answer, landed)

    def account(self, kind: DeliveryKind) -> Account | None:
        """Open the account of a call for the observer; None if there is none."""
        return None if self.witness is None else self.witness.account(kind)


def _witness(observe: Observer | None, configuration: AwsConfiguration) -> Witness | None:
    if observe is None:
        return None
    from eventbridge_partner.line._witness import Witness

    return Witness(observe, configuration.region, configuration.url)
