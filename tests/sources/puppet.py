"""A driver of operations without a network, on a clock that only operations move."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from eventbridge_partner import Pace, PartnerEventsError, RetryPolicy
from eventbridge_partner._plans import Control, Give, Perform, Plan, Running, Sleep
from eventbridge_partner.delivery.judging import Judge
from eventbridge_partner.retry import RetryQuota


class Puppet:
    """
    Plays the service in an operation.

    Attributes:
        now: Its clock.
        sent: For each request, when it went out, its operation and its members.
        attempts: For each request, which attempt it was, and how many seconds it had.
        slept: All waits, in seconds.
        given: All items that the operation yielded.
    """

    def __init__(
        self,
        *answers: Any,
        retry: RetryPolicy | None = None,
        pace: Pace | None = None,
        tokens: int | None = 500,
        takes: float = 0.0,
    ) -> None:
        self.now = 1000.0
        self.sent: list[tuple[float, str, dict[str, Any]]] = []
        self.attempts: list[tuple[int, float | None]] = []
        self.slept: list[float] = []
        self.given: list[Any] = []
        self.quota = RetryQuota(tokens)
        self._answers = iter(answers)
        self._takes = takes
        self._control = Control(
            Judge(retry or RetryPolicy(wait=lambda _: 1.0, throttle_wait=lambda _: 5.0)),
            self.quota,
            pace or Pace(),
            lambda: self.now,
        )

    def run(self, plan: Plan[Any]) -> Any:
        """Run an operation, and answer its requests with the given answers."""
        running = Running(plan(self._control))
        while (step := running.step) is not None:
            match step:
                case Perform(call, attempt, seconds):
                    self.sent.append((self.now, call.operation, json.loads(call.body)))
                    self.attempts.append((attempt, seconds))
                    self.now += self._takes
                    answer = next(self._answers)
                    if isinstance(answer, PartnerEventsError):
                        running.fail(answer)
                    else:
                        running.go_on(answer)
                case Sleep(seconds):
                    self.slept.append(seconds)
                    self.now += seconds
                    running.go_on()
                case Give(items):
                    self.given += items
                    running.go_on()
        return running.result

    @property
    def operations(self) -> list[str]:
        """The operations of all requests, shortened to their verbs."""
        return [operation.partition("Partner")[0] for _, operation, _ in self.sent]

    def tokens(self) -> Iterable[str | None]:
        """Return the token of each request for a page."""
        return [members.get("NextToken") for _, _, members in self.sent]
