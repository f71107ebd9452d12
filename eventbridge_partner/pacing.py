"""
How many requests a second may go out: limited by the caller's setting and by throttled answers.

The service's quota is a token bucket per account and Region: it lets a burst pass, and then a fixed
number of requests a second. Throttled answers cut our rate by the share that was throttled. The
rate then recovers linearly: quickly to just below the rate that was too fast, slowly past it, and
quickly again above 105 % of it, where the quota must have grown.

Some requests are throttled for reasons that do not depend on our rate. Each cut is an experiment: a
quota throttles a much smaller share while we are slow. A share that stays the same shows that
slowing down does not help, and is ignored from then on.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

_LEAST_RATE: Final = 10.0
"""The lowest rate, in requests a second, so that one early refusal does not stall a stream."""

_CATCH_UP_SECONDS: Final = 0.02
"""How much of the time lost to a late wake-up is caught up with."""

_GAP: Final = 0.05
_GAP_BY_SHARE: Final = 10.0
"""
How far below the too fast rate the quick recovery ends: ten times the share that was throttled, up
to 5 %. With a large quota, a single throttled answer costs little; with a small one, the gap keeps
throttling rare and lets clients that share the quota converge.
"""

_PAST: Final = 1.05
_RECOVERY: Final = 1.0
_PROBING: Final = 0.02
_EXPLORING: Final = 0.5
"""
Growth per second, as a share of the rate that was too fast: back to near it within half a second;
then slowly, so that about one request in a hundred is throttled at 40 a second; and above 105 % as
a share of the current rate, because the quota must have changed.
"""

_DOUBTING: Final = 4.0
"""How much faster the rate grows past the too fast rate while cuts do not seem to help."""

_LEAST_SECONDS: Final = 0.1
"""The rate is judged by at least as many answers as it yields in this time."""

_STEADY: Final = 0.85
"""A cut leaves at least this share of the rate as the new too fast rate."""

_QUIET_SECONDS: Final = 60.0
"""After this time without throttling, everything learned from it is forgotten."""

_MAX_WINDOW: Final = 1000.0


class _Answers:
    """Counts answers and how many were throttled; a partly throttled answer counts in part."""

    __slots__ = ("count", "throttled")

    def __init__(self) -> None:
        self.count = self.throttled = 0.0

    @property
    def share(self) -> float:
        """The share that was throttled; 0 if there are no answers."""
        return self.throttled / self.count if self.count else 0.0

    @property
    def share_before_last(self) -> float:
        """The share without the last throttled answer, which ended the count and would bias it."""
        return max(0.0, self.throttled - 1) / self.count if self.count else 0.0

    def add(self, throttled: float) -> None:
        self.count += 1
        self.throttled += throttled

    def take_over(self, other: _Answers) -> None:
        self.count += other.count
        self.throttled += other.throttled
        other.count = other.throttled = 0.0

    def fade(self, kept: float) -> None:
        self.count *= kept
        self.throttled *= kept


class _Background:
    """
    The share of requests that is throttled whatever our rate is.

    Two hypotheses compete at each cut: while the rate is low, the share stays the same (a
    background), or it falls to a quarter or less (a quota). The evidence is the logarithm of
    their likelihood ratio for throttling as a Poisson process, and fades from cut to cut. We
    assume a quota until a background is proven.

    Attributes:
        share: The share assumed now; 0 if a quota explains the throttling.
    """

    __slots__ = ("_evidence", "_fast", "share")

    _MOST: Final = 0.08
    _PROOF: Final = 3.0
    """A likelihood ratio of 20."""
    _EVIDENCE: Final = (-3.0, 8.0)
    _KEPT: Final = 0.95
    _FAST_KEPT: Final = 0.8
    _FEWEST: Final = 20
    """Fewer slow answers prove nothing, least of all where many clients share a quota."""
    _UNLIKE: Final = 1.5
    """A share more than this many times that at full speed is another client's burst."""
    _FOLLOWED: Final = 1 / 8
    """How far a known share moves towards that of each window of answers."""

    def __init__(self) -> None:
        self.share = self._evidence = 0.0
        self._fast = _Answers()

    @property
    def is_likely(self) -> bool:
        """Whether the evidence is more for a background than against it."""
        return self._evidence > 0

    def explains(self, answers: _Answers, window: float) -> bool:
        """Tell whether the background explains the throttled answers, within three deviations."""
        by_chance = 3 * math.sqrt(self.share * window)
        return answers.throttled <= self.share * answers.count + by_chance

    def follow(self, window: _Answers) -> None:
        """Adjust the share to that of a full window that it explains."""
        if self.share:
            self.share += (min(window.share, self._MOST) - self.share) * self._FOLLOWED

    def judge(self, slow: _Answers, fast: _Answers, window: float) -> None:
        """
        Learn from the answers since the last cut, when the next cut is due.

        Args:
            slow: Answers to requests sent while the rate was low.
            fast: Answers to requests sent at full speed after that.
            window: How many answers are enough to estimate a share.
        """
        before = self._fast
        if before.count and slow.count >= self._FEWEST:
            expected = self.share or before.share_before_last
            most = self._UNLIKE * slow.count * (self.share or before.share)
            seen = min(slow.throttled, most)
            ratio = seen * math.log(4) - slow.count * expected * (1 - 1 / 4)
            least, greatest = self._EVIDENCE
            self._evidence = min(max(self._evidence * self._KEPT + ratio, least), greatest)
        before.fade(self._FAST_KEPT)
        before.take_over(fast)
        if self._evidence <= self._PROOF:
            self.share = 0.0
        elif not self.share:
            self.share = min(before.share, self._MOST)
        else:
            weight = slow.count / (slow.count + window)
            self.share += (min(slow.share, self._MOST) - self.share) * weight


class Pace:
    """
    The rate of requests of one client, or of several that share a quota.

    Give the same pace to all clients in a process that send to the same account and Region.
    Without `requests_per_second`, a pace is off until the service throttles. It then slows down,
    and recovers; so does the number of requests in flight. Throttling that does not depend on the
    rate is ignored. Thread-safe.

    Args:
        requests_per_second: The rate never to exceed, above 0; None to be limited only by
            throttling. The average is exact; after a delay, up to 20 ms are caught up with.

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
        self._too_fast = self._near = math.inf
        self._window = _MAX_WINDOW
        self._next_at = -math.inf
        self._grown_at = 0.0
        self._cut_at = -math.inf
        # The end of the slow phase: from a cut until the rate is near the too fast rate again.
        self._slow_until = -math.inf
        self._throttled_at = -math.inf
        self._forget()
        self._sent: deque[float] = deque(maxlen=8192)
        # For each throttled request: when it went out, and its share of throttled entries.
        self._refused: deque[tuple[float, float]] = deque(maxlen=8192)
        self._lock = threading.RLock()
        # Steps that a signal handler asked for during another one; they are taken after it.
        self._is_changing = False
        self._late: deque[tuple[Callable[..., None], tuple[float, ...]]] = deque()

    @property
    def is_on(self) -> bool:
        """Whether requests are limited at the moment."""
        return self._rate is not None

    @property
    def requests_per_second(self) -> float | None:
        """The current rate; None if requests are not limited."""
        return self._rate

    @property
    def max_in_flight(self) -> int:
        """How many requests of one call may be in flight now."""
        return int(self._window)

    def ready_at(self) -> float:
        """Return when the next request may go out; `-inf` for at once."""
        return self._next_at

    def sent(self, now: float) -> None:
        """Note that a request goes out. If it goes too early, the next ones wait longer."""
        self._sent.append(now)
        if self._rate is None:
            return
        self._step(self._count_sent, now)

    def accepted(self, sent_at: float) -> None:
        """Note that no entry of a request was throttled."""
        if self._rate is not None:
            self._step(self._count_accepted, sent_at)

    def throttled(self, share: float, sent_at: float, now: float, *, in_flight: int) -> None:
        """
        Note that a request was throttled.

        Args:
            share: The share of its entries that were throttled, above 0; 1 for the whole request.
            sent_at: When it went out.
            now: When its answer came.
            in_flight: How many requests of its call were in flight, including this one.
        """
        self._step(self._count_throttled, share, sent_at, now, in_flight)

    def anew(self) -> Pace:
        """Return a new pace with the same limit, for another quota."""
        return Pace(self._limit)

    def after_fork(self) -> None:
        """Make it usable in a child process: a thread of the parent may have held the lock."""
        self._lock = threading.RLock()
        self._is_changing = False
        self._late.clear()

    def _step(self, step: Callable[..., None], *values: float) -> None:
        """Take a step, or queue it if it interrupts another step on this thread."""
        with self._lock:
            self._late.append((step, values))
            while self._late and not self._is_changing:
                self._is_changing = True
                try:
                    if self._late:  # a signal handler may have taken it meanwhile
                        late, values = self._late.popleft()
                        late(*values)
                finally:
                    self._is_changing = False

    def _count_sent(self, now: float) -> None:
        earliest = now - _CATCH_UP_SECONDS
        rate = self._grow(now, is_used=self._next_at >= earliest)
        if rate is not None:
            self._next_at = max(self._next_at, earliest) + 1 / rate

    def _count_accepted(self, sent_at: float) -> None:
        rate = self._rate
        if rate is not None and sent_at > self._cut_at:
            self._count(sent_at, 0.0)
            self._window = min(self._window + 1 / self._window, _MAX_WINDOW)
            self._end_window(rate)

    def _count_throttled(self, share: float, sent_at: float, now: float, in_flight: float) -> None:
        self._refused.append((sent_at, share))
        self._throttled_at = now
        if sent_at <= self._cut_at:
            return  # sent before the cut, so it says nothing about it
        self._count(sent_at, share)
        rate = self._rate
        count = self._slow.count + self._fast.count
        throttled = self._slow.throttled + self._fast.throttled
        if rate is None:
            self._forget()
            self._cut(self._lately(now), now, in_flight)
        elif throttled >= 2 and throttled > count / 2:
            self._forget()
            self._cut(min(rate, self._let_through(sent_at)), now, in_flight)
        elif self._fast.count >= rate * _LEAST_SECONDS and not self._explains(rate):
            self._judge(rate, now, in_flight)
        else:
            self._end_window(rate)

    # ------------------------------------------------------------ judging throttled answers

    def _forget(self) -> None:
        self._background = _Background()
        self._start_counting()

    def _start_counting(self) -> None:
        # Answers to requests sent since the last cut: at the low rate, in the current window at
        # full speed, and in the windows before it.
        self._slow, self._fast, self._earlier = _Answers(), _Answers(), _Answers()

    def _count(self, sent_at: float, throttled: float) -> None:
        answers = self._slow if sent_at < self._slow_until else self._fast
        answers.add(throttled)

    def _explains(self, rate: float) -> bool:
        return self._background.explains(self._fast, _window_of(rate))

    def _end_window(self, rate: float) -> None:
        if self._fast.count >= _window_of(rate):
            self._background.follow(self._fast)
            self._earlier.take_over(self._fast)

    def _judge(self, rate: float, now: float, in_flight: float) -> None:
        """Cut the rate by the share throttled since the last cut, minus the background."""
        self._earlier.take_over(self._fast)
        slow, fast = self._slow, self._earlier
        of_all = (slow.throttled + fast.throttled) / (slow.count + fast.count)
        share = max(of_all, fast.share_before_last)
        self._background.judge(slow, fast, _window_of(rate))
        excess = max(0.0, share - self._background.share)
        rate = self._grow(now) or rate
        too_fast = rate * max(1 - excess, _STEADY)
        self._cut(too_fast, now, in_flight, gap=min(_GAP_BY_SHARE * excess, _GAP))

    def _lately(self, now: float) -> float:
        """Return the rate over the last second."""
        lately = [at for at in self._sent.copy() if at >= now - 1]
        return len(lately) / max(now - lately[0], 0.001) if lately else _LEAST_RATE

    def _let_through(self, sent_at: float) -> float:
        """
        Return how many requests the service let through in the second up to `sent_at`.

        A token bucket lets through at most its burst and its rate in a second. Requests sent
        later have no answer yet.
        """
        before = sum(sent_at - 1 <= at <= sent_at for at in self._sent.copy())
        return before - sum(share for at, share in self._refused if sent_at - 1 <= at <= sent_at)

    # ------------------------------------------------------------ the rate

    def _cut(self, too_fast: float, now: float, in_flight: float, gap: float = _GAP) -> None:
        self._too_fast = max(too_fast, 2 * _LEAST_RATE)
        if self._limit is not None:
            self._too_fast = min(self._too_fast, self._limit)
        self._near = (1 - gap) * self._too_fast
        self._rate = self._too_fast / 2
        self._window = max(1.0, min(self._window, in_flight) / 2)
        self._next_at = now + 1 / self._rate
        self._cut_at = self._grown_at = now
        self._slow_until = math.inf
        self._start_counting()

    def _grow(self, now: float, *, is_used: bool = False) -> float | None:
        """
        Let the rate recover for the time since the last call, and return it.

        Args:
            now: The current time.
            is_used: Whether requests wait for the rate. A rate that no request needs is not
                explored.
        """
        rate = self._rate
        seconds = now - self._grown_at
        if rate is None or self._cut_at == -math.inf or seconds <= 0:
            return rate
        self._grown_at = now
        too_fast = self._too_fast
        if now > self._throttled_at + _QUIET_SECONDS:
            rate, self._window, self._cut_at = math.inf, _MAX_WINDOW, -math.inf
            self._forget()
        else:
            probing = _PROBING * (_DOUBTING if self._background.is_likely else 1)
            for end, growth in ((self._near, _RECOVERY), (_PAST * too_fast, probing)):
                if rate < end:
                    needed = (end - rate) / (growth * too_fast)
                    rate += growth * too_fast * min(seconds, needed)
                    seconds = max(0.0, seconds - needed)
            if is_used:
                rate *= 1 + _EXPLORING * seconds
            if rate >= self._near:
                self._slow_until = min(self._slow_until, now)
        if self._limit is not None:
            rate = min(rate, self._limit)
        self._rate = None if rate == math.inf else rate
        if self._rate is None:
            self._next_at = -math.inf
        return self._rate


def _window_of(rate: float) -> float:
    """Return how many answers make a window: those of one second, but at least 50."""
    return max(50.0, rate)
