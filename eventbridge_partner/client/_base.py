"""What both clients are but sending: what they are told, their siblings, their life."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, Protocol, Self, TypeVar

from eventbridge_partner._arguments import wrong_type
from eventbridge_partner._forks import after_fork, first_use
from eventbridge_partner._http import Timeouts
from eventbridge_partner.aws.credentials import Credentials, CredentialsKeeper
from eventbridge_partner.errors import ConfigurationError
from eventbridge_partner.limits import MAX_BATCH_BYTES, MAX_ENTRY_BYTES
from eventbridge_partner.line._base import BaseLine
from eventbridge_partner.line._setup import Setup
from eventbridge_partner.line._undelivered import count_direct
from eventbridge_partner.models import Outcome
from eventbridge_partner.models._outcomes import count_outcomes
from eventbridge_partner.pacing import Pace
from eventbridge_partner.retry import RetryPolicy
from eventbridge_partner.transports import TransportFactory

if TYPE_CHECKING:
    from eventbridge_partner.observing import DeliveryKind, Observer

TransportT = TypeVar("TransportT")
LineT = TypeVar("LineT", bound=BaseLine[Any])


class ForksWith(Protocol):
    """What forks with a client."""

    def after_fork(self) -> None:
        """Make it usable in a child process."""
        ...


SourcesT = TypeVar("SourcesT", bound=ForksWith)


_is_opening: Final[list[object]] = []
"""The client that looks up its settings now, under the lock `first_use`; empty if none does."""


class BaseClient(ABC, Generic[TransportT, LineT, SourcesT]):
    """A client of one Region, whatever its world."""

    _line: LineT | None

    def __init__(
        self,
        region: str | None = None,
        *,
        endpoint_url: str | None = None,
        insecure_hosts: Iterable[str] = (),
        profile: str | None = None,
        session: Any = None,
        credentials: Credentials | None = None,
        retry: RetryPolicy | None = None,
        timeout: float | Timeouts | None = None,
        max_in_flight: int | None = None,
        max_batch_bytes: int = MAX_BATCH_BYTES,
        max_entry_bytes: int = MAX_ENTRY_BYTES,
        pace: Pace | None = None,
        sources_pace: Pace | None = None,
        transport: TransportT | TransportFactory[TransportT] | None = None,
        observe: Observer | None = None,
    ) -> None:
        """
        Check what the client is told, and look nothing up.

        Args:
            region: The Region of the customers' partner event sources. Without it, that of a
                `session` that was given one, `AWS_REGION`, then what botocore finds:
                `AWS_DEFAULT_REGION`, the profile.
            endpoint_url: Where to send instead of the Region's endpoint. https, or http on
                loopback or to one of the `insecure_hosts`.
            insecure_hosts: Exact names of hosts that http is allowed to, besides loopback: a local
                service or a sidecar that a container reaches by its name. Events and session
                tokens travel in clear text then, which a WARNING says once. Never a host of AWS.
                `EVENTBRIDGE_PARTNER_INSECURE_HOSTS` names others, with commas between them.
            profile: A profile of AWS's config files.
            session: A boto3 or botocore session to take all settings from.
            credentials: What to sign with, instead of what botocore finds: `StaticCredentials`, or
                anything with `get_frozen_credentials()`, such as botocore's `Credentials`. An
                asyncio client asks those of classes that are neither ours nor botocore's on a
                thread, and keeps them for a second.
            retry: When to send failed entries again.
            timeout: Seconds that one request may take, for both connecting and reading, or
                `Timeouts` for each. The default is 5 s to connect and 30 s for the answer.
            max_in_flight: Requests of one call in flight at a time, at most. The default is 4 where
                each takes a thread (so there are more than one only where answers take more than
                2 ms), and 32 where one thread keeps all, as `CurlTransport` and event loops do.
            max_batch_bytes: Up to what size several entries share a request.
            max_entry_bytes: Events larger than this are refused before sending.
            pace: How many requests a second may go out. Give the same to all clients that send to
                one account and Region, which share a quota. The default has no rate of its own, and
                slows down when the service throttles.
            sources_pace: How many requests a second `sources` may make, which share a quota of
                their own: 50 a second unless you give another one.
            transport: What sends requests, instead of `RequestsTransport` or, on asyncio,
                `AiohttpTransport`: a class such as `CurlTransport`, made with the certificates and
                proxies of the configuration (on asyncio on a thread), or a transport, which stays
                the caller's to close.
            observe: Is told of each request and each call afterwards; see
                `eventbridge_partner.observing`.

        Raises:
            TypeError: An argument of the wrong type.
            ConfigurationError: A Region or endpoint is given that cannot work. What is looked up,
                and that no Region is found, is reported by the first call.
        """
        self._set_up(
            Setup.of(
                region=region,
                endpoint_url=endpoint_url,
                insecure_hosts=insecure_hosts,
                profile=profile,
                session=session,
                credentials=credentials,
                retry=retry,
                timeout=timeout,
                max_in_flight=max_in_flight,
                max_batch_bytes=max_batch_bytes,
                max_entry_bytes=max_entry_bytes,
                pace=pace,
                sources_pace=sources_pace,
                transport=transport,
                observe=observe,
            )
        )

    def _set_up(self, setup: Setup, origin: Self | None = None) -> None:
        self._setup = setup
        self._origin = origin
        self._siblings: dict[str, Self] = {}
        self._sources: SourcesT | None = None
        self._forget_process()
        after_fork(self, BaseClient._leave_parent)

    @abstractmethod
    def _make_sources(self, setup: Setup) -> SourcesT:
        """Import and return the operations on sources, which look nothing up yet."""

    @abstractmethod
    def _open_line(self) -> LineT:
        """Look up and open what belongs to this process."""

    @property
    def region(self) -> str:
        """The Region that events are sent to; looked up, if need be, while the caller waits."""
        return self._enter().configuration.region

    @property
    def endpoint_url(self) -> str:
        """The URL that events are sent to; looked up, if need be, while the caller waits."""
        return self._enter().configuration.url

    @property
    def sources(self) -> SourcesT:
        """The partner event sources of the Region: create, find, watch and delete them."""
        if self._sources is None:
            with first_use:
                if self._sources is None:
                    self._sources = self._make_sources(self._setup)
        return self._sources

    def in_region(self, region: str) -> Self:
        """
        Return this client's sibling in another Region: the same one each time.

        A sibling has the same siblings, so that each Region's quotas are kept by one client.

        It shares session, credentials, settings, an `endpoint_url` and a `transport` that were
        given, and what else this client was told. Its connections, its retry quota and its pace
        (of the same limit) are its own, for so are the quotas of its Region. Closing the
        client that was made first closes them all; a sibling can also be closed alone.

        Args:
            region: The code of the Region.

        Raises:
            ConfigurationError: It is none.
        """
        if self._origin is not None:
            return self._origin.in_region(region)
        setup = self._setup.in_region(region)
        if region == self._setup.region:
            return self
        sibling = self._siblings.get(region)
        if sibling is None:
            sibling = object.__new__(type(self))
            sibling._set_up(setup, self)
            # Of several threads that ask at the same time, all have the first one's.
            sibling = self._siblings.setdefault(region, sibling)
        return sibling

    # ------------------------------------------------------------ life

    def _enter(self) -> LineT:
        """Return what belongs to this process, made at the first use in it."""
        if self._line is None:
            with first_use:
                if self._line is None:
                    # The lock lets in what interrupts its holder. Modules are half imported then.
                    if _is_opening:
                        raise ConfigurationError(
                            "this call interrupts the first use of a client, which looks up its "
                            "settings; call look_up() before a signal's handler may send"
                        )
                    _is_opening.append(self)
                    try:
                        self._line = self._open_line()
                    finally:
                        _is_opening.clear()
        return self._line

    def _forget_process(self) -> None:
        """Start as if nothing had been used yet: a lock may be held for ever after a fork."""
        self._line = None

    def _decided(self, kind: DeliveryKind, outcomes: Sequence[Outcome]) -> None:
        observe = self._setup.observe
        if observe is None:
            return
        from eventbridge_partner.line._witness import tell
        from eventbridge_partner.observing import OutcomesDecided

        region = None if self._line is None else self._line.configuration.region
        if kind == "router":
            region = None
        counted = count_outcomes(outcomes)
        tell(observe, OutcomesDecided(delivery=None, kind=kind, region=region, outcomes=counted))

    def _leave_parent(self) -> None:
        self._setup.shared.forget()
        self._setup.pace.after_fork()
        if self._sources is not None:
            self._sources.after_fork()
        self._forget_process()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} cannot be pickled: it holds connections and credentials; "
            "make one in each process"
        )

    def __repr__(self) -> str:
        if self._line is None:
            return f"<{type(self).__name__}, not used yet>"
        configuration = self._line.configuration
        return f"<{type(self).__name__} {configuration.region} {configuration.url}>"


def decided_by(client: object, kind: DeliveryKind, outcomes: Sequence[Outcome]) -> None:
    """
    Tell log and observer of a client of outcomes that were decided before anything got to it.

    Args:
        client: The client; where it is something else, only the log is told.
        kind: What decided.
        outcomes: Of which none is `Accepted`.
    """
    if not outcomes:
        return
    count_direct(outcomes)
    if isinstance(client, BaseClient):
        client._decided(kind, outcomes)  # pyright: ignore[reportPrivateUsage]


def check_client(client: object, kind: type[BaseClient[Any, Any, Any]]) -> None:
    """
    Refuse a client of the other world; what has the methods of one will do.

    Args:
        client: What was given.
        kind: The client of this world.

    Raises:
        TypeError: It cannot be used here.
    """
    if isinstance(client, BaseClient) and not isinstance(client, kind):
        raise wrong_type("client", client, f"a {kind.__name__}")


def credentials_of(client: BaseClient[Any, Any, Any]) -> CredentialsKeeper:
    """Return what a client and its siblings sign with."""
    return client._setup.shared.credentials  # pyright: ignore[reportPrivateUsage]


def line_of(client: BaseClient[Any, LineT, Any]) -> LineT:
    """
    Return what a client sends with in this process, for a sender with a loop of its own.

    Raises:
        ConfigurationError: No Region, or a setting that cannot work.
    """
    return client._enter()  # pyright: ignore[reportPrivateUsage]


def setup_of(client: BaseClient[Any, Any, Any]) -> Setup:
    """Return what a client was told."""
    return client._setup  # pyright: ignore[reportPrivateUsage]
