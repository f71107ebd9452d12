"""Routes a publisher's events to senders, by the Region of their source."""

from __future__ import annotations

import atexit
import math
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from eventbridge_partner._clock import monotonic
from eventbridge_partner._forks import after_fork
from eventbridge_partner.delivery.batching import BatchLimits
from eventbridge_partner.errors import ConfigurationError
from eventbridge_partner.models import GivenEvent, Outcome, Rejected
from eventbridge_partner.publisher._buffer import Buffer, BufferSettings
from eventbridge_partner.publisher._dispatch import Shared
from eventbridge_partner.publisher._news import News
from eventbridge_partner.publisher._receipts import Book, Callback, PublisherStats, Receipt
from eventbridge_partner.regions._routing import UNKNOWN_REGION

_KNOWN_SECONDS: Final = 60.0
"""Seconds for which a source's Region is cached: the function may query a database."""

_MOST_KNOWN: Final = 100_000


_COUNTED: Final = (
    *("published", "accepted", "rejected", "exhausted", "unconfirmed", "dropped"),
    *("buffered", "in_flight", "buffered_bytes", "throttled"),
)


class Routes:
    """
    Caches the Region of each source for a minute.

    Args:
        region_of: Returns the Region of a source, or raises a ConfigurationError.
    """

    def __init__(self, region_of: Callable[[str], str]) -> None:
        self._region_of = region_of
        self._known: dict[str, tuple[str, float]] = {}

    def region(self, source: str) -> str | ConfigurationError:
        """Return the Region of a source, or why it is unknown. Raises what the look-up raises."""
        now = monotonic()
        region, until = self._known.get(source, ("", -math.inf))
        if now < until:
            return region
        try:
            region = self._region_of(source)
        except ConfigurationError as error:
            return error
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[source] = region, now + _KNOWN_SECONDS
        return region


class Desk:
    """
    Reads the events of a router's publisher, and reports those without a Region.

    Args:
        shared: The state that all its dispatches share.
        call: Calls a callback.
        observed: Reports outcomes to the observer.
    """

    def __init__(
        self,
        shared: Shared,
        call: Callable[[Callback, Receipt], None],
        observed: Callable[[Sequence[Outcome]], None],
    ) -> None:
        buffer = Buffer[Receipt](BufferSettings(linger=0, max_events=1, max_bytes=1), BatchLimits())
        self.news = News(observed, self._remind, shared.tally)
        self.book = Book(
            buffer, call, _nothing, news=self.news, drops_oldest=False, lock=shared.lock
        )
        self._timer: threading.Timer | None = None
        after_fork(self, Desk._leave_to_parent)

    def refused(self, given: GivenEvent, error: ConfigurationError) -> Receipt:
        """Return the receipt of an event whose Region is unknown."""
        receipt = self.book.read(given)
        if receipt.decided is None:
            receipt.decided = Rejected(UNKNOWN_REGION, str(error), given, 0, 0)
        return receipt

    def count(self, receipt: Receipt) -> None:
        """Count an event that has its outcome."""
        with self.book.lock:
            self.book.count_undelivered(receipt)
        self.book.tell()

    def _remind(self) -> None:
        """Have the next log line written when it is due: a desk has no sender to do that."""
        self._cancel()
        due_at = self.news.due_at
        if due_at == math.inf:
            return
        timer = self._timer = threading.Timer(max(0.0, due_at - monotonic()), self._say)
        timer.name, timer.daemon = "eventbridge-partner-desk", True
        _at_end.add(self)
        with suppress(RuntimeError):  # the process is ending, and writes the lines itself
            timer.start()

    def _say(self) -> None:
        _at_end.discard(self)
        self.news.say(monotonic())
        self._remind()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def end(self) -> None:
        """Write the remaining log lines."""
        self._cancel()
        _at_end.discard(self)
        self.news.sum_up()

    def _leave_to_parent(self) -> None:
        _at_end.discard(self)


def _nothing() -> None:
    pass


def sum_of_stats(parts: list[PublisherStats]) -> PublisherStats:
    """Return the sum of the figures of several Regions."""
    if len(parts) == 1:
        return parts[0]
    rates = [one.requests_per_second for one in parts if one.requests_per_second is not None]
    return PublisherStats(
        **{name: sum(getattr(one, name) for one in parts) for name in _COUNTED},
        oldest_age=max((one.oldest_age for one in parts), default=0.0),
        requests_per_second=sum(rates) if rates else None,
    )


_at_end: Final[set[Desk]] = set()
"""The desks of this process with log lines that are not written yet."""


def _end_process() -> None:
    for desk in [*_at_end]:
        desk.end()


atexit.register(_end_process)
