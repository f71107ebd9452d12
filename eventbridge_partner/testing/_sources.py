"""
The partner event sources of the local service: their states and transitions.

A source is one (name, customer account) in the service's Region. `TRANSITIONS` has everything that
can happen to one. API reference: CreatePartnerEventSource, DeactivateEventSource, EventSource. Two
facts are inferred: a DELETED source can be created again, and it is gone when its customer deletes
the bus too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal

import attrs

SourceState = Literal["PENDING", "ACTIVE", "DELETED"]
"""Model: EventSourceState."""

SourceAction = Literal["associate", "deactivate", "activate", "delete_bus", "expire"]
"""The actions of a customer on a source."""

PENDING_SECONDS: Final = 14 * 24 * 3600.0
"""API reference: DeactivateEventSource. The onboarding guide says 7 days."""


@attrs.frozen
class LocalSource:
    """
    A snapshot of a partner event source of the local service.

    Attributes:
        name: As created.
        account: The customer's account.
        arn: Its ARN.
        state: PENDING accepts and drops, ACTIVE delivers, DELETED rejects.
        has_bus: Whether the customer has an event bus for it.
        created_at: Epoch seconds, by the service's clock.
        expires_at: When it expires if it is still PENDING then; None unless it is PENDING.
    """

    name: str
    account: str
    arn: str
    state: SourceState
    has_bus: bool
    created_at: float
    expires_at: float | None

    def __str__(self) -> str:
        bus = "with a bus" if self.has_bus else "without a bus"
        return f"{self.name} of account {self.account}, {self.state} {bus}"


_Place = tuple[SourceState, bool]
"""A source's state, and whether it has a bus."""

_GONE: Final = None
"""The service no longer knows the source."""

TRANSITIONS: Final[Mapping[SourceAction, Mapping[_Place, _Place | None]]] = {
    "associate": {("PENDING", False): ("ACTIVE", True)},
    "deactivate": {("ACTIVE", True): ("PENDING", True)},
    "activate": {("PENDING", True): ("ACTIVE", True)},
    "delete_bus": {
        ("ACTIVE", True): ("PENDING", False),
        ("PENDING", True): ("PENDING", False),
        ("DELETED", True): _GONE,
    },
    "expire": {("PENDING", False): _GONE, ("PENDING", True): ("DELETED", True)},
}
"""For each action, the places that it leads from and to. From other places it is refused."""

_DELETED_BY_PARTNER: Final[Mapping[_Place, _Place | None]] = {
    ("PENDING", False): _GONE,
    ("PENDING", True): ("DELETED", True),
    ("ACTIVE", True): ("DELETED", True),
    ("DELETED", True): ("DELETED", True),
}


class LocalSources:
    """
    The partner event sources of a local service, with their customers' actions.

    `FakeEventBridge.sources` is one. A name may exist in several accounts. Iterating yields all
    sources in order of name and account, and `len` counts them. Sources that stay PENDING for too
    long expire by the service's clock.
    """

    def __init__(
        self,
        region: str,
        clock: Callable[[], float],
        lock: contextlib.AbstractContextManager[object],
        pending_seconds: float,
        *,
        only_known: bool,
    ) -> None:
        self._region = region
        self._clock = clock
        self._lock = lock
        self._pending_seconds = pending_seconds
        self._only_known = only_known
        self._sources: dict[str, dict[str, LocalSource]] = {}

    def __repr__(self) -> str:
        return f"<LocalSources {self._region}: {len(self)} sources>"

    def __iter__(self) -> Iterator[LocalSource]:
        with self._lock:
            found = [source for name in sorted(self._sources) for source in self.accounts(name)]
        return iter(found)

    def __len__(self) -> int:
        with self._lock:
            return sum(len(self.accounts(name)) for name in list(self._sources))

    @property
    def only_known(self) -> bool:
        """Whether entries for unknown sources fail; True once the first source is created."""
        return self._only_known

    def get(self, name: str, account: str) -> LocalSource | None:
        """Return a source as it is now; None if there is none."""
        with self._lock:
            self._expire_overdue(name)
            return self._sources.get(name, {}).get(account)

    def accounts(self, name: str) -> tuple[LocalSource, ...]:
        """Return the sources of this name, in order of account."""
        with self._lock:
            self._expire_overdue(name)
            held = self._sources.get(name, {})
            return tuple(held[account] for account in sorted(held))

    def names(self, prefix: str) -> list[str]:
        """Return the names that begin with a prefix, in order."""
        with self._lock:
            found = sorted(name for name in self._sources if name.startswith(prefix))
            return [name for name in found if self.accounts(name)]

    # The partner's actions, also behind the service's operations

    def create(self, name: str, account: str) -> LocalSource:
        """
        Create a source: PENDING, until the customer associates it.

        Raises:
            ValueError: It exists already, in a state other than DELETED.
        """
        with self._lock:
            there = self.get(name, account)
            if there is not None and there.state != "DELETED":
                raise ValueError(f"{there} exists already")
            self._only_known = True
            now = self._clock()
            arn = source_arn(name, self._region)
            new = LocalSource(
                name, account, arn, "PENDING", False, now, now + self._pending_seconds
            )
            self._sources.setdefault(name, {})[account] = new
            return new

    def delete(self, name: str, account: str) -> None:
        """Delete a source as the partner: DELETED if the customer has a bus for it, else gone."""
        with self._lock:
            source = self.get(name, account)
            if source is not None:
                self._move(source, _DELETED_BY_PARTNER[source.state, source.has_bus])

    # The customer's actions

    def associate(self, name: str, account: str) -> LocalSource:
        """
        Create the event bus that belongs to a PENDING source, which makes it ACTIVE.

        Returns:
            The source as it is now.

        Raises:
            LookupError: There is no such source.
            ValueError: It is not PENDING, or has a bus already.
        """
        return self._customer_source("associate", name, account)

    def deactivate(self, name: str, account: str) -> LocalSource:
        """
        Deactivate an ACTIVE source, which makes it PENDING.

        Returns:
            The source as it is now.

        Raises:
            LookupError: There is no such source.
            ValueError: It is not ACTIVE.
        """
        return self._customer_source("deactivate", name, account)

    def activate(self, name: str, account: str) -> LocalSource:
        """
        Activate a source that was deactivated.

        Returns:
            The source as it is now.

        Raises:
            LookupError: There is no such source.
            ValueError: It was not deactivated.
        """
        return self._customer_source("activate", name, account)

    def delete_bus(self, name: str, account: str) -> LocalSource | None:
        """
        Delete the bus of a source, which makes it PENDING.

        Returns:
            The source as it is now; None if it was DELETED, and is gone now.

        Raises:
            LookupError: There is no such source.
            ValueError: It has no bus.
        """
        return self.act("delete_bus", name, account)

    def expire(self, name: str, account: str) -> LocalSource | None:
        """
        Let a PENDING source expire at once.

        Returns:
            The source as it is now; None if it is gone.

        Raises:
            LookupError: There is no such source.
            ValueError: It is not PENDING.
        """
        return self.act("expire", name, account)

    def act(self, action: SourceAction, name: str, account: str) -> LocalSource | None:
        """
        Call the method with the action's name.

        Returns:
            The source as it is now; None if it is gone.

        Raises:
            LookupError: There is no such source.
            ValueError: The action is unknown, or not possible in the source's state.
        """
        if action not in TRANSITIONS:
            raise ValueError(f"action is {action!r}; allowed: {', '.join(TRANSITIONS)}")
        with self._lock:
            source = self.get(name, account)
            if source is None:
                raise LookupError(f"there is no source {name} of account {account}")
            places = TRANSITIONS[action]
            if (source.state, source.has_bus) not in places:
                raise ValueError(f"cannot {action.replace('_', ' ')}: {source}")
            return self._move(source, places[source.state, source.has_bus])

    # Fates of events

    def dropped_for(self, name: str) -> tuple[str, ...] | None:
        """
        Return the accounts for which an event of this source is dropped: it is PENDING there.

        None if the event is rejected: the source is nowhere PENDING or ACTIVE.
        """
        if not self._only_known:
            return ()
        with self._lock:
            self._expire_overdue(name)
            held = self._sources.get(name, {}).values()
            pending = [source.account for source in held if source.state == "PENDING"]
            if pending or any(source.state == "ACTIVE" for source in held):
                return tuple(sorted(pending))
            return None

    def _customer_source(self, action: SourceAction, name: str, account: str) -> LocalSource:
        source = self.act(action, name, account)
        if source is None:
            raise AssertionError(f"{action} does not end a source")
        return source

    def _move(self, source: LocalSource, place: _Place | None) -> LocalSource | None:
        held = self._sources[source.name]
        if place is None:
            del held[source.account]
            if not held:
                del self._sources[source.name]
            return None
        state, has_bus = place
        # Deleting the bus of a deactivated source does not extend its time.
        expires_at = source.expires_at if state == "PENDING" else None
        if state == "PENDING" and expires_at is None:
            expires_at = self._clock() + self._pending_seconds
        moved = attrs.evolve(source, state=state, has_bus=has_bus, expires_at=expires_at)
        held[source.account] = moved
        return moved

    def _expire_overdue(self, name: str) -> None:
        held = self._sources.get(name)
        if held is None:
            return
        now = self._clock()
        for source in tuple(held.values()):
            if source.expires_at is not None and source.expires_at <= now:
                self._move(source, TRANSITIONS["expire"][source.state, source.has_bus])


def source_arn(name: str, region: str) -> str:
    """Return a source's ARN. Service Authorization Reference: it contains no account."""
    partitions = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
    found = (named for start, named in partitions.items() if region.startswith(start))
    return f"arn:{next(found, 'aws')}:events:{region}::event-source/{name}"
