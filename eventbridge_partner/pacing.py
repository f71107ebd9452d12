"""
How many requests a second may go out: at most what the caller sets, and what throttling teaches.

The service's quota is per account and Region, and a token bucket: it lets a burst pass, and then so
many requests a second. A throttled answer halves our rate. It goes back in straight lines: quickly
to just below what was too fast, slowly past that, and quickly again from where the quota must have
grown.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

_LEAST_RATE: Final = 10.0
"""Throttling slows nobody down further, so that one early refusal puts no stream to sleep."""

_CATCH_UP_SECONDS: Final = 0.02
"""How much of what a late wake-up lost is caught up with."""

_CUT_SECONDS: Final = 1.0
"""Between two cuts, unless more than half of everything is throttled after the first."""

_NEAR: Final = 0.95
_PAST: Final = 1.05
_RECOVERY: Final = 1.0
_PROBING: Final = 0.02
_EXPLORING: Final = 0.5
"""
Growth, each second, as a share of the rate that was too fast: back to 95 % of it within half a
second; then slowly, so that one request of some two hundred is throttled; and from 105 % on as a
share of the rate itself, for the quota is not what it was.
"""

_STEADY: Final = 0.85
"""What was too fast is taken for less by the share that was throttled since, up to this."""

_QUIET_SECONDS: Final = 60.0
"""After so long without throttling, what was learned of it is forgotten."""

_MAX_WINDOW: Final = 1000.0


class Pace:
    """
    The rate of requests of one client, or of several that share a quota.

    Give the same pace to all clients of a process that send to one account and Region. Without a
    rate of its own, a pace is off until the service throttles; it halves then, at most once a
    second while most of what is sent is accepted, and recovers. So does the number of requests in
    flight. Safe in threads.

    Args:
        requests_per_second: What never to exceed, above 0; None for no limit but what throttling
            shows. In the long run it is kept to the request; up to 20 ms are caught up with.

    Raises:
        ValueError: The rate is not above 0, or not finite.
    """

    def __init__(self, requests_per_second: float | None = None) -> None:
        if requests_per_second is not None and not 0 < requests_per_second < math.inf:
            raise ValueError(
                f"requests_per_second is {requests_per_second!r}; allowed: a number above 0, or "
                "None for no limit"
            )
        self._limit = requests_per_second
        self._rate = requests_per_second
        self._too_fast = math.inf
        self._window = _MAX_WINDOW
        self._next_at = -math.inf
        self._grown_at = 0.0
        self._cut_at = -math.inf
        # Of the answers to what was sent since the last cut: how many, and how many throttled.
        self._answers = 0.0
        self._throttled = 0.0
        self._sent: deque[float] = deque(maxlen=8192)
        # Of requests that were throttled: when they went out, and the share of their entries.
        self._refused: deque[tuple[float, float]] = deque(maxlen=8192)
        self._lock = threading.RLock()
        # What a signal's handler did in the middle of a step: told when that is done.
        self._is_changing = False
        self._late: deque[tuple[Callable[..., None], tuple[float, ...]]] = deque()

    @property
    def is_on(self) -> bool:
        """Whether there is a rate to keep."""
        return self._rate is not None

    @property
    def requests_per_second(self) -> float | None:
        """The rate of this moment; None if there is none to keep."""
        return self._rate

    @property
    def max_in_flight(self) -> int:
        """How many requests of one call may be in flight at this moment."""
        return int(self._window)

    def ready_at(self) -> float:
        """Return when the next request may go; `-inf` if at any time."""
        return self._next_at

    def sent(self, now: float) -> None:
        """Take that a request goes out. One that goes too early is paid for by the next ones."""
        self._sent.append(now)
        if self._rate is None:
            return
        self._step(self._count_sent, now)

    def accepted(self, sent_at: float) -> None:
        """Take that nothing of a request was throttled."""
        if self._rate is not None:
            self._step(self._count_accepted, sent_at)

    def throttled(self, share: float, sent_at: float, now: float, *, in_flight: int) -> None:
        """
        Take that a request was throttled.

        Args:
            share: The share of its entries that were, above 0; 1 for the request as a whole.
            sent_at: When it went out.
            now: When its answer came.
            in_flight: How many requests of its call were in flight, this one included.
        """
        self._step(self._count_throttled, share, sent_at, now, in_flight)

    def anew(self) -> Pace:
        """Return a pace with the same limit that has learned nothing, for another quota."""
        return Pace(self._limit)

    def after_fork(self) -> None:
        """Make it usable in a child process: a thread of the parent may have held its lock."""
        self._lock = threading.RLock()
        self._is_changing = False
        self._late.clear()

    def _step(self, step: Callable[..., None], *values: float) -> None:
        """Change something, if that interrupts nothing; else after what it interrupts."""
        with self._lock:
            self._late.append((step, values))
            while self._late and not self._is_changing:
                self._is_changing = True
                try:
                    if self._late:  # still, for what interrupts this may have done it
                        late, values = self._late.popleft()
                        late(*values)
                finally:
                    self._is_changing = False

    def _count_sent(self, now: float) -> None:
        rate = self._grow(now)
        if rate is not None:
            due = max(self._next_at, now - _CATCH_UP_SECONDS)
            self._next_at = due + 1 / rate

    def _count_accepted(self, sent_at: float) -> None:
        if sent_at > self._cut_at:
            self._answers += 1
            self._window = min(self._window + 1 / self._window, _MAX_WINDOW)

    def _count_throttled(self, share: float, sent_at: float, now: float, in_flight: float) -> None:
        self._refused.append((sent_at, share))
        if sent_at <= self._cut_at:
            return  # it knows nothing of the cut
        self._answers += 1
        self._throttled += share
        still_too_fast = self._throttled >= 2 and self._throttled > self._answers / 2
        if still_too_fast or now >= self._cut_at + _CUT_SECONDS:
            self._grow(now)
            self._cut(sent_at, now, in_flight, was_too_much=still_too_fast)

    def _cut(self, sent_at: float, now: float, in_flight: float, *, was_too_much: bool) -> None:
        rate = self._rate
        if rate is None:
            lately = [at for at in self._sent.copy() if at >= now - 1]
            rate = len(lately) / max(now - lately[0], 0.001) if lately else _LEAST_RATE
        elif was_too_much:
            # A token bucket gives no more in a second than its burst and the rate. What went out
            # after this request has no answer yet.
            before = sum(sent_at - 1 <= at <= sent_at for at in self._sent.copy())
            refused = sum(share for at, share in self._refused if sent_at - 1 <= at <= sent_at)
            rate = min(rate, before - refused)
        else:
            rate *= max(1 - self._throttled / self._answers, _STEADY)
        self._too_fast = max(rate, 2 * _LEAST_RATE)
        if self._limit is not None:
            self._too_fast = min(self._too_fast, self._limit)
        self._rate = self._too_fast / 2
        self._window = max(1.0, min(self._window, in_flight) / 2)
        self._next_at = now + 1 / self._rate
        self._cut_at = self._grown_at = now
        self._answers = self._throttled = 0.0

    def _grow(self, now: float) -> float | None:
        """Let the rate recover for the time that has passed, and return it."""
        rate = self._rate
        seconds = now - self._grown_at
        if rate is None or self._cut_at == -math.inf or seconds <= 0:
            return rate
        self._grown_at = now
        too_fast = self._too_fast
        if now > self._cut_at + _QUIET_SECONDS:
            rate, self._window, self._cut_at = math.inf, _MAX_WINDOW, -math.inf
        else:
            for end, growth in ((_NEAR, _RECOVERY), (_PAST, _PROBING)):
                if rate < end * too_fast:
                    needed = (end * too_fast - rate) / (growth * too_fast)
                    rate += growth * too_fast * min(seconds, needed)
                    seconds = max(0.0, seconds - needed)
            rate *= 1 + _EXPLORING * seconds
        if self._limit is not None:
            rate = min(rate, self._limit)
        self._rate = None if rate == math.inf else rate
        if self._rate is None:
            self._next_at = -math.inf
        return self._rate
