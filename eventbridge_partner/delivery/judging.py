"""Asks a retry policy about failures, and the default policy if that raises."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from eventbridge_partner.errors import PartnerEventsError
from eventbridge_partner.retry import (
    MAX_ATTEMPTS,
    RetryPolicy,
    Stop,
    Verdict,
    Wait,
    default_wait,
)

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")

OnBug = Callable[[str, Exception], object]
"""Called with the name of the function that raised, and its exception."""


def ignore_bug(what: str, error: Exception) -> None:
    """Do nothing about a bug."""


class Judge:
    """
    A retry policy that never raises.

    A bug in a policy must not decide what happens to events: if it raises, or returns a wait that
    is not a number of seconds, the default policy decides.

    Args:
        policy: The policy.
        on_bug: Called each time that the policy raises.
    """

    def __init__(self, policy: RetryPolicy, on_bug: OnBug = ignore_bug) -> None:
        self._on_bug = on_bug
        self._policy = attrs.evolve(
            policy,
            wait=self._shielded_wait("wait", policy.wait, Verdict.TRANSIENT),
            throttle_wait=self._shielded_wait(
                "throttle_wait", policy.throttle_wait, Verdict.THROTTLED
            ),
            stop=self._shielded_stop(policy.stop),
        )

    def verdict_on_entry(self, code: str, message: str) -> Verdict:
        """See `RetryPolicy.verdict_on_entry`."""
        return self._ask(lambda policy: policy.verdict_on_entry(code, message))

    def verdict_on_request(self, error: PartnerEventsError) -> Verdict:
        """See `RetryPolicy.verdict_on_request`."""
        return self._ask(lambda policy: policy.verdict_on_request(error))

    def delay_after(
        self,
        tries: int,
        verdict: Verdict,
        error: PartnerEventsError,
        *,
        elapsed: float,
        waited: float,
    ) -> float | None:
        """See `RetryPolicy.delay_after`."""
        return self._ask(
            lambda policy: policy.delay_after(tries, verdict, error, elapsed=elapsed, waited=waited)
        )

    def _ask(self, question: Callable[[RetryPolicy], T]) -> T:
        try:
            return question(self._policy)
        except Exception as error:  # noqa: BLE001  # the caller's policy can raise anything
            self._on_bug("the retry policy", error)
            return question(_DEFAULT)

    def _shielded_wait(self, name: str, wait: Wait | None, verdict: Verdict) -> Wait | None:
        if wait is None:
            return None

        def shielded(state: RetryCallState) -> float:
            try:
                seconds = float(wait(state))
                if not math.isfinite(seconds):
                    raise ValueError(f"it returned {seconds}; allowed: seconds")
            except Exception as error:  # noqa: BLE001  # the caller's policy can raise anything
                self._on_bug(f"{name} of the retry policy", error)
                return default_wait(state.attempt_number, verdict)
            return seconds

        return shielded

    def _shielded_stop(self, stop: Stop | None) -> Stop | None:
        if stop is None:
            return None

        def shielded(state: RetryCallState) -> bool:
            try:
                return bool(stop(state))
            except Exception as error:  # noqa: BLE001  # the caller's policy can raise anything
                self._on_bug("stop of the retry policy", error)
                return state.attempt_number >= MAX_ATTEMPTS

        return shielded


_DEFAULT: Final = RetryPolicy()
