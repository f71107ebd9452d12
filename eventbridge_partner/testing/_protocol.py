"""The local service as its server and its transport see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from eventbridge_partner.testing._faults import Fault
    from eventbridge_partner.testing._journal import Recent
    from eventbridge_partner.testing._records import Answer
    from eventbridge_partner.testing._sources import LocalSources


class LocalService(Protocol):
    """Handles requests from any number of threads."""

    @property
    def region(self) -> str:
        """The Region that requests must be signed for."""
        ...

    @property
    def sources(self) -> LocalSources:
        """The partner event sources, with their customers' actions."""
        ...

    @property
    def max_body_bytes(self) -> int:
        """A larger body is not read; the request goes to `refuse_unread`."""
        ...

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Handle a request."""
        ...

    def refuse_unread(self, headers: Mapping[str, str]) -> Answer:
        """Refuse a request whose body is too large."""
        ...

    def note_undelivered(self, answer: Answer) -> None:
        """Record that the client did not get this answer."""
        ...

    # For the page and the control calls

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults in force."""
        ...

    def play(self, *faults: Fault) -> None:
        """Put faults in force."""
        ...

    def stop(self, *faults: Fault) -> None:
        """Remove faults, compared by identity."""
        ...

    def clear_faults(self) -> None:
        """Remove all faults."""
        ...

    def forget(self) -> None:
        """Forget requests and entries, and count from 0."""
        ...

    def recent(self, after: int) -> Recent:
        """Return what happened after an event, as far as it is remembered."""
        ...

    def send_again(self, entry: Mapping[str, Any]) -> Answer:
        """Handle an unsigned request with this one entry."""
        ...
