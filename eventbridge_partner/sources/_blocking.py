"""Operations on sources for threads."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from eventbridge_partner._clock import monotonic
from eventbridge_partner._plans import Control, Give, Perform, Plan, Running, Sleep, Step
from eventbridge_partner.errors import PartnerEventsError
from eventbridge_partner.line._blocking import Line
from eventbridge_partner.models import EventSource, SourceAccount, SourceName, SourceState
from eventbridge_partner.pacing import Pace
from eventbridge_partner.retry import RetryQuota
from eventbridge_partner.sources import _operations
from eventbridge_partner.sources._operations import Progress

T = TypeVar("T")


class Sources:
    """
    Partner event sources of one Region: `client.sources`. A client makes it.

    A source is one name in one customer's account and Region. All requests of a client's sources
    share one pace, because they share a quota of 50 a second. The client's `RetryPolicy` retries
    transient failures, even after a lost answer. Thread-safe.

    All methods raise:

    - `InvalidEventError`: a name, prefix or account breaks the service's rules; nothing was sent.
    - `ConfigurationError` or `CredentialsError`: nothing was sent.
    - `ServiceError`: the service refused the request. Its subclasses say why; waiting does not
      help with `LimitExceededError` and `OperationDisabledError`.
    - `TransportError` or `UnreadableAnswerError`: even the last attempt got no readable answer;
      see `may_have_been_sent`.
    """

    def __init__(
        self,
        connect: Callable[[], Line],
        *,
        pace: Pace,
        tokens: int | None,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connect = connect
        self._pace = pace
        self._tokens = tokens
        self._quota = RetryQuota(tokens)
        self._clock = clock
        self._sleep = sleep

    @property
    def pace(self) -> Pace:
        """How many requests a second all operations together may make."""
        return self._pace

    def create(self, name: str | SourceName, *, account: str) -> EventSource:
        """
        Create a source, which is PENDING until the customer associates it with an event bus.

        If an answer was lost and the next attempt finds the source, it counts as created.

        Args:
            name: `aws.partner/<partner>/<namespace…>/<name>`.
            account: The customer's AWS account, 12 digits.

        Raises:
            ResourceAlreadyExistsError: The source already exists; see `ensure`.
        """
        return self._run(_operations.create(name, account))

    def ensure(self, name: str | SourceName, *, account: str) -> EventSource:
        """
        Create a source unless it exists. This is idempotent.

        Args:
            name: `aws.partner/<partner>/<namespace…>/<name>`.
            account: The customer's AWS account, 12 digits.
        """
        return self._run(_operations.ensure(name, account))

    def describe(self, name: str | SourceName) -> EventSource:
        """
        Return a source by its name.

        Raises:
            ResourceNotFoundError: There is no source of that name.
        """
        return self._run(_operations.describe(name))

    def list(self, prefix: str) -> Iterator[EventSource]:
        """
        Yield each source whose name begins with a prefix, once. Pages are requested as needed.

        Args:
            prefix: `aws.partner/<partner>/`, optionally with the start of the rest of a name.

        Raises:
            InvalidTokenError: You iterated so slowly that the pagination token expired.
        """
        return self._iterate(_operations.list_sources(prefix))

    def accounts(
        self, name: str | SourceName, *, timeout: float | None = None
    ) -> Iterator[SourceAccount]:
        """
        Yield each account that has a source, with its state there.

        Args:
            name: The name of the source.
            timeout: Seconds for all attempts at all pages together; None for no limit.

        Raises:
            ResourceNotFoundError: There is no source of that name.
            InvalidTokenError: You iterated so slowly that the pagination token expired.
        """
        return self._iterate(_operations.list_accounts(name, timeout))

    def state(
        self, name: str | SourceName, *, account: str, timeout: float | None = None
    ) -> SourceState:
        """
        Return the state of a source in an account.

        Args:
            name: The name of the source.
            account: The customer's AWS account, 12 digits.
            timeout: Seconds for all attempts together; None for no limit.

        Raises:
            ResourceNotFoundError: There is no source of that name, or none in that account. In
                the second case its `status` is 200: the service returned a list without it.
        """
        return self._run(_operations.state(name, account, timeout))

    def delete(self, name: str | SourceName, *, account: str, missing_ok: bool = False) -> None:
        """
        Delete a source from an account.

        If an answer was lost and the next attempt finds the source gone, it counts as deleted.

        Args:
            name: The name of the source.
            account: The customer's AWS account, 12 digits.
            missing_ok: Whether to succeed if there is no such source.

        Raises:
            ResourceNotFoundError: There is no such source. The service may also report success
                then: its model has no error for it.
        """
        self._run(_operations.delete(name, account, missing_ok=missing_ok))

    def wait_until_active(
        self,
        name: str | SourceName,
        *,
        account: str,
        timeout: float | None = None,
        on_progress: Progress | None = None,
    ) -> SourceAccount:
        """
        Wait until a source is ACTIVE: the customer has associated it with an event bus.

        It checks after a second, then less and less often, down to every 30 seconds. It also
        waits out an outage of the service.

        Args:
            name: The name of the source.
            account: The customer's AWS account, 12 digits.
            timeout: Seconds after which it checks a last time; None for no limit.
            on_progress: Called with the source after each check.

        Raises:
            SourceNotActiveError: The source was DELETED, or not ACTIVE in time.
            ResourceNotFoundError: There is no source of that name, or none in that account.
        """
        return self._run(_operations.wait_until_active(name, account, timeout, on_progress))

    def expiring(self, *, prefix: str, within: datetime.timedelta) -> Iterator[SourceAccount]:
        """
        Yield the sources that will expire soon, or should have expired, unless customers act.

        It makes one request for each page of sources, and at least one for each source.

        Args:
            prefix: The start of the sources' names, as for `list`.
            within: How soon, from now.
        """
        now = datetime.datetime.now(datetime.UTC)
        return self._iterate(_operations.expiring(prefix, within, now))

    # ------------------------------------------------------------ driving

    def _run(self, plan: Plan[T]) -> T:
        line = self._connect()
        running = Running(plan(self._control(line)))
        while (step := running.step) is not None:
            self._do(line, running, step)
        return running.result

    def _iterate(self, plan: Plan[None]) -> Iterator[Any]:
        line = self._connect()
        running = Running(plan(self._control(line)))
        while (step := running.step) is not None:
            if isinstance(step, Give):
                yield from step.items
                running.go_on()
            else:
                self._do(line, running, step)

    def _control(self, line: Line) -> Control:
        return Control(line.judge, self._quota, self._pace, self._clock)

    def _do(self, line: Line, running: Running[Step, Any], step: Step) -> None:
        match step:
            case Perform(call, attempt, seconds):
                try:
                    _, value = line.exchange(call, attempt=attempt, seconds=seconds)
                except PartnerEventsError as error:
                    try:
                        running.fail(error)
                    finally:
                        line.bugs.log()
                else:
                    running.go_on(value)
            case Sleep(seconds):
                self._sleep(seconds)
                running.go_on()
            case Give():
                running.go_on()

    def after_fork(self) -> None:
        """Make it usable in a child process: a thread of the parent may have held a lock."""
        self._quota = RetryQuota(self._tokens)
        self._pace.after_fork()
