"""The settings and state of both guards."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

from eventbridge_partner._arguments import wrong_type
from eventbridge_partner._clock import monotonic
from eventbridge_partner._forks import after_fork
from eventbridge_partner.client._base import BaseClient, decided_by
from eventbridge_partner.guard._holding import Merging
from eventbridge_partner.guard._plan import Plans
from eventbridge_partner.guard._watch import OnPending, Watch
from eventbridge_partner.models import GivenEvent

ClientT = TypeVar("ClientT")


class BaseGuard(ABC, Generic[ClientT]):
    """A guard in front of a client, blocking or asyncio."""

    _is_async: ClassVar[bool]

    def __init__(
        self,
        client: ClientT,
        *,
        on_pending: OnPending | Callable[[GivenEvent], object] = "reject",
        account_of: Callable[[str], str | None] | None = None,
        on_source_gone: Callable[[str], object] | None = None,
        ttl: float = 300.0,
        pending_ttl: float = 30.0,
        patience: float = 10.0,
        max_look_ups: int = 500,
        look_up_timeout: float = 2.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """
        Create a guard.

        Args:
            client: The client that sends. The caller closes it.
            on_pending: How to treat events whose source is PENDING. `reject`: the outcome is
                `Rejected` with the code `SourcePending`. `allow` or `warn`: they are sent, and
                dropped by the service; `warn` logs that once for each look-up. A function: it is
                called with the event, to keep it until the source is ACTIVE and send it again;
                the outcome is `Exhausted` with the code `SourceParked`. On asyncio it may be
                asynchronous.
            account_of: Returns the customer's account for the name of a source, as a dict's `get`
                does; None if unknown. Without an account, a source is PENDING if it is PENDING in
                all its accounts. If the function raises, or returns an invalid account, that is
                logged and counts as None.
            on_source_gone: Called once with the name of a source that no longer exists, on the
                thread or task that found out. Stop sending to the source, and forget it.
                On asyncio it may be asynchronous.
            ttl: Seconds for which the result of a look-up is valid.
            pending_ttl: The same for sources that were PENDING.
            patience: Seconds that the look-ups of one call may take, but at most half of its
                `deadline`. After that, the last known state counts; without one, events are sent.
            max_look_ups: The most sources that one call looks up.
            look_up_timeout: Seconds for one look-up with all its attempts. After a failure there
                is none for 5 s, and for up to 5 minutes if failures continue.
            clock: Returns monotonic seconds; for tests.

        Raises:
            TypeError: The client is asyncio's for a blocking guard, or the other way round.
            ValueError: A setting is out of range.
        """
        self._client: ClientT = client
        is_async = inspect.iscoroutinefunction(getattr(client, "put_events", None))
        if is_async is not self._is_async and (is_async or isinstance(client, BaseClient)):
            allowed = "an asynchronous client" if self._is_async else "a client for threads"
            raise wrong_type("client", client, allowed)
        self._clock = clock
        self._watch = Watch(
            on_pending=on_pending,
            account_of=account_of,
            ttl=ttl,
            pending_ttl=pending_ttl,
            patience=patience,
            max_look_ups=max_look_ups,
            look_up_timeout=look_up_timeout,
            clock=clock,
        )
        park = on_pending if callable(on_pending) else None
        self._plans = Plans(self._watch, park, on_source_gone)
        self._forget_parent()
        after_fork(self, type(self)._forget_parent)

    @abstractmethod
    def _forget_parent(self) -> None:
        """Start with a new lock after a fork: a thread of the parent may have held the old one."""

    def _tell(self, merging: Merging) -> None:
        """Report the events that were held back since the last call."""
        untold, merging.untold = merging.untold, []
        decided_by(self._client, "guard", untold)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} in front of {self._client!r}>"


def plans_of(guard: BaseGuard[Any]) -> Plans:
    """Return a guard's plans, for a publisher."""
    return guard._plans  # pyright: ignore[reportPrivateUsage]


def client_of(guard: BaseGuard[ClientT]) -> ClientT:
    """Return the client behind a guard."""
    return guard._client  # pyright: ignore[reportPrivateUsage]
