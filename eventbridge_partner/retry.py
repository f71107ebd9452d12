"""Which failures are transient, how long to wait, and when to give up."""

from __future__ import annotations

import enum
import random
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import attrs

from eventbridge_partner import error_codes
from eventbridge_partner.errors import (
    ClockSkewError,
    CredentialsError,
    ExpiredCredentialsError,
    PartnerEventsError,
    ServiceError,
    ThrottledError,
    TlsError,
    TransportError,
    UnreadableAnswerError,
)

if TYPE_CHECKING:
    from tenacity import RetryCallState

Wait = Callable[["RetryCallState"], float]
"""Returns how long to wait, in seconds: any of tenacity's `wait` objects."""

Stop = Callable[["RetryCallState"], bool]
"""Returns whether to give up: any of tenacity's `stop` objects."""


class Verdict(enum.Enum):
    """What a failure means for the next attempt."""

    TRANSIENT = "try again soon"
    THROTTLED = "try again after a longer wait"
    PERMANENT = "sending again cannot help"
    SOURCE_GONE = "the partner event source no longer exists"
    UNKNOWN = "nothing is known about it: try again within bounds"
    SPLIT = "some of these entries may pass without the others"
    FRESH_START = "try again at once, with fresh credentials or a corrected clock"
    UNTRUSTED = "the endpoint cannot be trusted: send nothing more"


_VERDICTS: Final[Mapping[str, Verdict]] = MappingProxyType(
    dict.fromkeys(error_codes.TRANSIENT, Verdict.TRANSIENT)
    | dict.fromkeys(error_codes.THROTTLING, Verdict.THROTTLED)
    | dict.fromkeys(error_codes.PERMANENT, Verdict.PERMANENT)
    | dict.fromkeys(error_codes.SOURCE_GONE, Verdict.SOURCE_GONE)
)
_SPLITTING: Final = error_codes.TOO_LARGE | {"ValidationException", "ValidationError"}
_TRANSIENT_STATUSES: Final = frozenset({408, 500, 502, 503, 504})

MAX_ATTEMPTS: Final = 3
"""Attempts in the AWS standard retry mode."""

RETRY_TOKENS: Final = 500
"""Tokens in the retry quota of the AWS standard mode."""

_TRANSIENT_COST: Final = 14
_THROTTLED_COST: Final = 5
_MAX_RETRY_AFTER_EXTRA: Final = 5.0


_TRANSIENT_BASE: Final = 0.05
_THROTTLED_BASE: Final = 1.0
_MAX_WAIT: Final = 20.0


def default_wait(tries: int, verdict: Verdict) -> float:
    """Return the seconds to wait after `tries` failures: full jitter, doubled up to 20 s."""
    base = _THROTTLED_BASE if verdict is Verdict.THROTTLED else _TRANSIENT_BASE
    return random.uniform(0.0, min(base * 2.0 ** min(tries - 1, 64), _MAX_WAIT))


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """
    When to send a failed entry again.

    The defaults follow the AWS standard retry mode of 2026: three attempts, full jitter
    (`rand * min(base * 2**(n-1), 20 s)` with a base of 0.05 s, or 1 s when throttled), and a
    retry quota of 500 tokens. `wait` and `stop` are tenacity objects. They are only asked for
    their value: tenacity itself never sleeps or calls anything.

    Attributes:
        wait: Returns the seconds to wait after a transient failure.
        throttle_wait: Returns the seconds to wait after a throttled failure.
        stop: Returns whether to give up, asked after each failure. None for `max_attempts`.
        tokens: How many tokens the retry quota holds; None for no quota. A transient failure of
            a request takes 14, a throttled one 5; if only some of its entries failed, it takes
            their share. A success gives the tokens back. Without tokens, failures are final.
        unknown_attempts: After how many attempts to give up on an unknown error code, whatever
            `stop` says.
        verdicts: What error codes mean; overrides this package's own lists, since AWS publishes
            none.
        max_attempts: After how many failures to give up, if there is no `stop`. None for
            `AWS_MAX_ATTEMPTS`, or `max_attempts` in AWS's config file, or else 3.

    A `wait` or `stop` that raises changes no outcome: the default is used instead, and the bug is
    logged once a minute.

    Raises:
        ValueError: A number is too small.
        TypeError: A `wait` or `stop` is not callable.
    """

    wait: Wait | None = None
    throttle_wait: Wait | None = None
    stop: Stop | None = None
    tokens: int | None = RETRY_TOKENS
    unknown_attempts: int = MAX_ATTEMPTS
    verdicts: Mapping[str, Verdict] = attrs.field(factory=dict[str, Verdict])
    max_attempts: int | None = None

    def __attrs_post_init__(self) -> None:
        # Checked now rather than at the first failure, in the middle of a delivery.
        for name in ("wait", "throttle_wait", "stop"):
            value: object = getattr(self, name)
            if value is not None and not callable(value):
                found = type(value).__qualname__
                raise TypeError(
                    f"{name} is of type {found}; allowed: tenacity's {name[-4:]} objects"
                )
        if self.wait or self.throttle_wait or self.stop:
            # Imported now: at a failure, there may be no file descriptor left. No other module
            # imports it at the start, because it imports asyncio.
            import tenacity  # noqa: F401  # pyright: ignore[reportUnusedImport]
        if self.tokens is not None and self.tokens < 0:
            raise ValueError(f"tokens is {self.tokens}; allowed: 0 or more, or None for no quota")
        if self.unknown_attempts < 1:
            raise ValueError(f"unknown_attempts is {self.unknown_attempts}; allowed: 1 or more")
        if self.max_attempts is not None and self.max_attempts < 1:
            raise ValueError(f"max_attempts is {self.max_attempts}; allowed: 1 or more, or None")

    def with_max_attempts(self, attempts: int) -> RetryPolicy:
        """Return this policy with `max_attempts`, unless it sets that or `stop` itself."""
        if self.stop is not None or self.max_attempts is not None:
            return self
        return attrs.evolve(self, max_attempts=attempts)

    def verdict_on_entry(self, code: str, message: str) -> Verdict:
        """Judge the failure of one entry in an answered request."""
        verdict = self.verdicts.get(code) or _VERDICTS.get(code)
        if error_codes.SOURCE_GONE_MESSAGE in message.lower() and code not in self.verdicts:
            return Verdict.SOURCE_GONE
        return verdict or Verdict.UNKNOWN

    def verdict_on_request(self, error: PartnerEventsError) -> Verdict:
        """Judge the failure of a whole request."""
        match error:
            case ServiceError() if error.code in self.verdicts:
                return self.verdicts[error.code]
            case ThrottledError():
                return Verdict.THROTTLED
            case ExpiredCredentialsError() | ClockSkewError():
                return Verdict.FRESH_START
            case ServiceError():
                return self._verdict_on_code(error)
            case TlsError():
                return Verdict.UNTRUSTED
            case TransportError() | UnreadableAnswerError() | CredentialsError():
                return Verdict.TRANSIENT
            case _:
                return Verdict.UNKNOWN

    def _verdict_on_code(self, error: ServiceError) -> Verdict:
        # The code comes first: AWS's own pages disagree about the statuses.
        if error.code in _SPLITTING or error.status == 413:
            return Verdict.SPLIT
        if verdict := _VERDICTS.get(error.code):
            return verdict
        if error.status in _TRANSIENT_STATUSES:
            return Verdict.TRANSIENT
        if error.status == 429:
            return Verdict.THROTTLED
        # An answer without a code is a redirect, or the refusal of a proxy or gateway.
        return Verdict.PERMANENT if error.code.startswith("HTTP ") else Verdict.UNKNOWN

    def delay_after(
        self,
        tries: int,
        verdict: Verdict,
        error: PartnerEventsError,
        *,
        elapsed: float = 0.0,
        waited: float = 0.0,
    ) -> float | None:
        """
        Tell how long to wait before the next attempt.

        Args:
            tries: How many attempts have failed, at least 1.
            verdict: The verdict on the last failure.
            error: The last failure.
            elapsed: Seconds since the first attempt.
            waited: How many of these seconds were spent waiting.

        Returns:
            Seconds; None to give up.
        """
        if verdict is Verdict.UNKNOWN and tries >= self.unknown_attempts:
            return None
        if self.stop is None and tries >= (self.max_attempts or MAX_ATTEMPTS):
            return None
        wait = self.throttle_wait if verdict is Verdict.THROTTLED else self.wait
        if wait is None and self.stop is None:
            return _at_least_asked(default_wait(tries, verdict), error)
        state = _call_state(tries, error, elapsed, waited)
        delay = default_wait(tries, verdict) if wait is None else max(0.0, float(wait(state)))
        delay = _at_least_asked(delay, error)
        state.upcoming_sleep = delay
        if self.stop is not None and self.stop(state):
            return None
        return delay


def _at_least_asked(delay: float, error: PartnerEventsError) -> float:
    """Return a delay, prolonged to what the service asks for, but by at most 5 s."""
    if isinstance(error, ServiceError) and error.retry_after is not None:
        return min(max(delay, error.retry_after), delay + _MAX_RETRY_AFTER_EXTRA)
    return delay


def _call_state(
    tries: int, error: PartnerEventsError, elapsed: float, waited: float
) -> RetryCallState:
    from tenacity import Future, RetryCallState

    # There is no Retrying object: a wait or stop reads the state, never its owner.
    state = RetryCallState(None, None, (), {})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    state.attempt_number = tries
    state.outcome = Future.construct(tries, error, has_exception=True)
    state.start_time = 0.0
    state.outcome_timestamp = elapsed
    state.idle_for = waited
    return state


class RetryQuota:
    """
    How many retries a client may still make. Failures take tokens; successes give them back.

    All calls of a client share it, so that an outage is not met with three times the load.
    """

    def __init__(self, tokens: int | None = RETRY_TOKENS) -> None:
        self._capacity = tokens
        self._tokens = float(tokens or 0)
        self._lock = threading.RLock()  # re-entrant: a signal handler may send, too

    def take(self, verdict: Verdict, share: float) -> float | None:
        """
        Take tokens for a retry.

        Args:
            verdict: The verdict on the failure.
            share: The share of the request's entries with this verdict, above 0 and up to 1.

        Returns:
            The tokens taken; None if there are too few for a retry.
        """
        if self._capacity is None:
            return 0.0
        cost = (_THROTTLED_COST if verdict is Verdict.THROTTLED else _TRANSIENT_COST) * share
        with self._lock:
            if cost > self._tokens:
                return None
            self._tokens -= cost
        return cost

    def give_back(self, tokens: float) -> None:
        """Give tokens back after a success: those taken for it, or 1 if no retry was needed."""
        if self._capacity is None or self._tokens >= self._capacity:
            return
        full = float(self._capacity)
        with self._lock:
            # No call between reading and writing: a signal handler could take tokens there.
            self._tokens = left if (left := self._tokens + tokens) < full else full

    @property
    def tokens(self) -> float:
        """The tokens left."""
        return self._tokens
