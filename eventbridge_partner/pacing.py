"""
How many requests a second may go out: at most what the caller sets, and what throttling teaches.

The service's quota is per account and Region, and a token bucket: it lets a burst pass, and then so
many requests a second. A throttled answer cuts our rate, by the share that was throttled. The rate
goes back in straight lines: quickly to just below what was too fast, slowly past that, and quickly
again from where the quota must have grown.

Requests are also throttled for reasons that our rate has no part in. Each cut is an experiment:
what a quota throttles, it throttles much less of while we are slow, and a share that stays the
same says that slowing down does not help. Such a share is ignored from then on.
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

_GAP: Final = 0.05
_GAP_BY_SHARE: Final = 10.0
"""
How far below what was too fast the quick recovery ends: by ten times the share that was throttled,
up to 5 %. In a large quota a single throttled answer costs little then; in a small one the gap is
what keeps answers from being throttled often, and what lets clients that share it converge.
"""

_PAST: Final = 1.05
_RECOVERY: Final = 1.0
_PROBING: Final = 0.02
_EXPLORING: Final = 0.5
"""
Growth, each second, as a share of the rate that was too fast: back to near it within half a second;
then slowly, so that one request of some hundred is throttled at 40 a second; and from 105 % on as
a share of the rate itself, for the quota is not what it was.
"""

_DOUBTING: Final = 4.0
"""How much faster the rate grows past that while cuts seem to be in vain."""

_LEAST_SECONDS: Final = 0.1
"""What is throttled is judged by so many seconds' worth of answers, or more."""

_STEADY: Final = 0.85
"""What was too fast is taken for less by the share that was throttled since, up to this."""

_QUIET_SECONDS: Final = 60.0
"""After so long without throttling, what was learned of it is forgotten."""

_MAX_WINDOW: Final = 1000.0


class _Answers:
    """Answers to requests, and how many of them were throttled, counted by entries."""

    __slots__ = ("count", "throttled")

    def __init__(self) -> None:
        self.count = self.throttled = 0.0

    @property
    def share(self) -> float:
        """The share that was throttled; 0 if there are none."""
        return self.throttled / self.count if self.count else 0.0

    @property
    def share_before_last(self) -> float:
        """The share without the throttled answer that ended the count, which would bias it."""
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
    The share of requests that is throttled whatever our rate.

    Two hypotheses compete at each cut: that the share stays what it was while the rate is low
    (a background), or that it falls to a quarter or less (a quota). The evidence is the logarithm
    of their likelihood ratio for throttling as a Poisson process, and fades from cut to cut. A
    quota is what we believe until there is proof of the other.

    Attributes:
        share: What is believed now; 0 where a quota explains what is throttled.
    """

    __slots__ = ("_evidence", "_fast", "share")

    _MOST: Final = 0.08
    _PROOF: Final = 3.0
    """As a likelihood ratio: 20."""
    _EVIDENCE: Final = (-3.0, 8.0)
    _KEPT: Final = 0.95
    _FAST_KEPT: Final = 0.8
    _FEWEST: Final = 20
    """Slow answers that are fewer tell nothing, above all where many clients share a quota."""
    _UNLIKE: Final = 1.5
    """More than so many times the share at full speed is no background, but somebody's burst."""
    _FOLLOWED: Final = 1 / 8
    """A known share follows each window of answers by this much."""

    def __init__(self) -> None:
        self.share = self._evidence = 0.0
        self._fast = _Answers()

    @property
    def is_likely(self) -> bool:
        """Whether there is more evidence for it than against it."""
        return self._evidence > 0

    def explains(self, answers: _Answers, window: float) -> bool:
        """Tell whether so much may be throttled by chance: up to three standard deviations."""
        by_chance = 3 * math.sqrt(self.share * window)
        return answers.throttled <= self.share * answers.count + by_chance

    def follow(self, window: _Answers) -> None:
        """Take what was throttled of a whole window that it explains."""
        if self.share:
            self.share += (min(window.share, self._MOST) - self.share) * self._FOLLOWED

    def judge(self, slow: _Answers, fast: _Answers, window: float) -> None:
        """
        Learn from what was throttled since a cut, when the next cut is due.

        Args:
            slow: Answers to what was sent while the rate was low.
            fast: Answers to what was sent at full speed after that.
            window: How many answers are enough to tell a share.
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

    Give the same pace to all clients of a process that send to one account and Region. Without a
    rate of its own, a pace is off until the service throttles. It slows down then, as often as
    more is throttled than is whatever the rate, and recovers. So does the number of requests in
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
        self._too_fast = self._near = math.inf
        self._window = _MAX_WINDOW
        self._next_at = -math.inf
        self._grown_at = 0.0
        self._cut_at = -math.inf
        # From a cut until the rate is near again what was too fast.
        self._slow_until = -math.inf
        self._throttled_at = -math.inf
        self._forget()
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
            return  # it knows nothing of the cut
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

    # ------------------------------------------------------------ what is throttled

    def _forget(self) -> None:
        self._background = _Background()
        self._start_counting()

    def _start_counting(self) -> None:
        # Of the answers to what was sent since the last cut: those to what went slowly, those of
        # the window of this moment, and those of the windows before it.
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
        """Cut the rate by the share that was throttled since the last cut, less the background."""
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
        """Return the rate of the last second."""
        lately = [at for at in self._sent.copy() if at >= now - 1]
        return len(lately) / max(now - lately[0], 0.001) if lately else _LEAST_RATE

    def _let_through(self, sent_at: float) -> float:
        """
        Return how much was let through in the second before a request, this one included.

        A token bucket gives no more in a second than its burst and the rate. What went out after
        this request has no answer yet.
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
        Let the rate recover for the time that has passed, and return it.

        Args:
            now: The time.
            is_used: Whether it is the rate that holds requests back. What no request asks for is
                not explored.
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
    """Return how many answers make a window: those of a second, and 50 at least."""
    return max(50.0, rate)
