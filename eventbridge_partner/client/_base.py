"""The part of both clients that does not send: arguments, siblings, opening and closing."""

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
    """An object that belongs to a client and must be told of a fork."""

    def after_fork(self) -> None:
        """Make it usable in a child process."""
        ...


SourcesT = TypeVar("SourcesT", bound=ForksWith)


_is_opening: Final[list[object]] = []
"""Holds the client that is looking up its settings, under the lock `first_use`, if there is one."""


class BaseClient(ABC, Generic[TransportT, LineT, SourcesT]):
    """A client of one Region, for threads or for asyncio."""

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
        Check the arguments, and look nothing up.

        Args:
            region: The Region of the customers' partner event sources. If not given, it is taken
                from a Region set on `session`, `AWS_REGION`, `AWS_DEFAULT_REGION`, or the
                profile, in this order.
            endpoint_url: The URL to send to instead of the Region's endpoint: https, or http for
                loopback and the `insecure_hosts`.
            insecure_hosts: Exact names of hosts, besides loopback, for which http is allowed: a
                local service or a sidecar that a container reaches by its name. Events and
                session tokens then travel in clear text, which is logged once as a WARNING. Hosts
                of AWS are refused. `EVENTBRIDGE_PARTNER_INSECURE_HOSTS` adds others, separated by
                commas.
            profile: A profile of AWS's config files.
            session: A boto3 or botocore session to take all settings from.
            credentials: The credentials to sign with, instead of those that botocore finds:
                `StaticCredentials`, or any object with `get_frozen_credentials()`, such as
                botocore's `Credentials`. An asyncio client calls classes that are neither ours nor
                botocore's on a thread, and keeps the result for a second.
            retry: When to retry failed entries.
            timeout: Seconds for one request: a number for both connecting and reading, or
                `Timeouts` for each. The default is 5 s to connect and 30 s for the answer.
            max_in_flight: The most requests of one call in flight. The default is 4 if each takes
                a thread (more than one is used only if answers take longer than 2 ms), and 32 if
                one thread handles all, as with `CurlTransport` and event loops.
            max_batch_bytes: The largest total size of entries that share a request.
            max_entry_bytes: Events larger than this are refused before sending.
            pace: How many requests a second may go out. Share one pace between all clients that
                send to the same account and Region, because they share a quota. The default has
                no fixed rate and slows down when the service throttles.
            sources_pace: How many requests a second `sources` may make; they have a quota of their
                own. The default is 50 a second.
            transport: The transport to use instead of the default one (`RequestsTransport`, or on
                asyncio `AiohttpTransport`): a class such as `CurlTransport`, which is called with
                the certificates and proxies of the configuration (on asyncio, on a thread), or an
                instance, which the caller closes.
            observe: Called with an observation after each request and each call; see
                `eventbridge_partner.observing`.

        Raises:
            TypeError: An argument has the wrong type.
            ConfigurationError: A given Region or endpoint is invalid. The first call reports
                errors in settings that are looked up, and a missing Region.
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
        """Import and return the operations on sources, without looking anything up."""

    @abstractmethod
    def _open_line(self) -> LineT:
        """Look up the settings, and open the line of this process."""

    @property
    def region(self) -> str:
        """The Region that events are sent to. The first access may look it up, which blocks."""
        return self._enter().configuration.region

    @property
    def endpoint_url(self) -> str:
        """The URL that events are sent to. The first access may look it up, which blocks."""
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
        Return this client's sibling in another Region, the same one each time.

        A sibling has the same siblings, so that one client keeps each Region's quotas.

        It shares this client's arguments: session, credentials, settings, and a given
        `endpoint_url` and `transport`. It has its own connections, retry quota and pace (with the
        same limit), because each Region has quotas of its own. Closing the client that was made
        first closes all siblings; a sibling can also be closed alone.

        Args:
            region: The code of the Region.

        Raises:
            ConfigurationError: `region` is not the code of a Region.
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
            # If several threads ask at the same time, all get the same sibling.
            sibling = self._siblings.setdefault(region, sibling)
        return sibling

    # ------------------------------------------------------------ life

    def _enter(self) -> LineT:
        """Return the line of this process, opened at the first use in it."""
        if self._line is None:
            with first_use:
                if self._line is None:
                    # The lock is re-entrant: a signal handler may get here during imports.
                    if _is_opening:
                        raise ConfigurationError(
                            "this call interrupts the first use of a client, which looks up its "
                            "settings; call look_up() before a signal handler may send"
                        )
                    _is_opening.append(self)
                    try:
                        self._line = self._open_line()
                    finally:
                        _is_opening.clear()
        return self._line

    def _forget_process(self) -> None:
        """Start over as if unused: after a fork, a lock may be held forever."""
        self._line = None

    def _decided(self, kind: DeliveryKind, outcomes: Sequence[Outcome]) -> None:
        observe = self._setup.observe
        if observe is None:
            return
        from eventbridge_partner.line._witness import tell
        from eventbridge_partner.observing import OutcomesDecided

        line = self._line if kind == "guard" else None
        region = None if line is None else line.configuration.region
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
    Report outcomes that were decided before the events reached the client.

    Args:
        client: The client, whose observer is told; for any other object, only the log is.
        kind: The part of this package that decided.
        outcomes: The outcomes; none is `Accepted`.
    """
    if not outcomes:
        return
    count_direct(outcomes)
    observed_by(client, kind, outcomes)


def observed_by(client: object, kind: DeliveryKind, outcomes: Sequence[Outcome]) -> None:
    """Report such outcomes to the observer alone; see `decided_by`."""
    if isinstance(client, BaseClient):
        client._decided(kind, outcomes)  # pyright: ignore[reportPrivateUsage]


def check_client(client: object, kind: type[BaseClient[Any, Any, Any]]) -> None:
    """
    Refuse a client of the other kind. Any object with a client's methods is allowed.

    Args:
        client: The caller's client.
        kind: The class that works here.

    Raises:
        TypeError: It is a client for asyncio where one for threads is needed, or the reverse.
    """
    if isinstance(client, BaseClient) and not isinstance(client, kind):
        raise wrong_type("client", client, f"a {kind.__name__}")


def credentials_of(client: BaseClient[Any, Any, Any]) -> CredentialsKeeper:
    """Return what a client and its siblings sign with."""
    return client._setup.shared.credentials  # pyright: ignore[reportPrivateUsage]


def line_of(client: BaseClient[Any, LineT, Any]) -> LineT:
    """
    Return a client's line in this process, for code with its own sending loop.

    Raises:
        ConfigurationError: There is no Region, or a setting is invalid.
    """
    return client._enter()  # pyright: ignore[reportPrivateUsage]


def setup_of(client: BaseClient[Any, Any, Any]) -> Setup:
    """Return what a client was told."""
    return client._setup  # pyright: ignore[reportPrivateUsage]
