"""
Checks whether a setup can deliver: settings, credentials, the service, an outbox. Read-only.

    from eventbridge_partner import PartnerEventsClient, doctor

    for finding in doctor.check(PartnerEventsClient()):
        print(finding.status, finding.check, finding.message, finding.fix or "")
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator
from typing import Final, get_args

from eventbridge_partner._arguments import check_instances, check_number
from eventbridge_partner._clock import monotonic
from eventbridge_partner._signals import let_pass
from eventbridge_partner._threads import Task
from eventbridge_partner.aws.credentials import CredentialsAccount
from eventbridge_partner.client._base import check_client, line_of, setup_of
from eventbridge_partner.client._blocking import PartnerEventsClient
from eventbridge_partner.doctor import _service
from eventbridge_partner.doctor._findings import CheckName, Fact, Finding, Status
from eventbridge_partner.doctor._outbox import ExaminedOutbox, figures, hangs, unusable
from eventbridge_partner.doctor._settings import settings
from eventbridge_partner.doctor._versions import versions
from eventbridge_partner.errors import (
    ConfigurationError,
    CredentialsError,
    InvalidEventError,
    PartnerEventsError,
)
from eventbridge_partner.line._blocking import Line
from eventbridge_partner.models._source_name import prefix_findings
from eventbridge_partner.outbox import OutboxStats

__all__ = ["CheckName", "ExaminedOutbox", "Fact", "Finding", "Status", "check"]

_SECONDS: Final = 8.0
_THREAD: Final = "eventbridge-partner-doctor"


def check(
    client: PartnerEventsClient,
    *,
    prefix: str | None = None,
    outbox: ExaminedOutbox | None = None,
    offline: bool = False,
    timeout: float = _SECONDS,
    clock: Callable[[], float] = time.time,
) -> tuple[Finding, ...]:
    """
    Check everything that events need to be delivered. It changes nothing.

    The service is asked with a signed ListPartnerEventSources, and with
    ListPartnerEventSourceAccounts for the states of up to 50 sources. No event is sent. Findings
    hold no credential, no password and no payload.

    Args:
        client: The client that would send. Its transport, proxy and timeouts are used.
        prefix: The beginning of your sources' names: `aws.partner/<partner>/`. Without it, the
            states of sources are not checked.
        outbox: An outbox whose tables and backlog to check: a `SqliteOutbox` or `PostgresOutbox`.
        offline: Whether to leave out the service, and credentials that are on the network. An
            outbox is still checked.
        timeout: Seconds for all checks together, even if nothing answers.
        clock: Returns epoch seconds; for tests.

    Returns:
        The findings, in the order of `CheckName`. If a Region, a setting or credentials are
        missing, the service cannot be asked, and there is no finding about it.

    Raises:
        TypeError: An argument of the wrong type, such as a client for asyncio.
        InvalidEventError: `prefix` cannot be a partner's.
        ValueError: `timeout` is not above 0.
    """
    check_client(client, PartnerEventsClient)
    check_instances({"client": (client, PartnerEventsClient), "prefix": (prefix, str)})
    check_number("timeout", timeout)
    if not timeout > 0:
        raise ValueError(f"timeout is {timeout!r}; allowed: seconds above 0")
    if prefix is not None and (wrong := prefix_findings(prefix)):
        raise InvalidEventError(wrong)
    examination = _Examination(client, prefix, timeout, clock)
    waiting = None if outbox is None else Task(outbox.stats, _THREAD)
    examination.look(offline=offline)
    order = get_args(CheckName)
    found = sorted(examination.found.values(), key=lambda finding: order.index(finding.check))
    if outbox is not None and waiting is not None:
        found += _outbox(outbox, waiting, examination.until, timeout)
    return tuple(found)


class _Examination:
    """
    The findings so far about a client and the service.

    Attributes:
        found: The first finding of each check.
        until: When the examination must end, on the monotonic clock.
    """

    def __init__(
        self,
        client: PartnerEventsClient,
        prefix: str | None,
        timeout: float,
        clock: Callable[[], float],
    ) -> None:
        self.found: dict[CheckName, Finding] = {}
        self.until = monotonic() + timeout
        self._client = client
        self._setup = setup_of(client)
        self._prefix = prefix
        self._timeout = timeout
        self._clock = clock

    def tell(self, finding: Finding) -> None:
        """Add a finding, unless its check has one."""
        self.found.setdefault(finding.check, finding)

    def look(self, *, offline: bool) -> None:
        """Check the settings, and if they are enough, look up credentials and ask the service."""
        self.tell(versions())
        setup = self._setup
        try:
            examined = setup.shared.examine(setup.region, setup.endpoint_url, setup.insecure_hosts)
        except ConfigurationError as error:
            fix = "name a profile that exists, or make it: aws configure --profile NAME"
            self.tell(Finding("files", "fail", str(error), fix))
            return
        for finding in settings(examined):
            self.tell(finding)
        line = self._line()
        if offline:
            self._look_for_local_credentials()
        elif (account := self._account()) is not None and line is not None:
            self._ask(line, account)

    def _line(self) -> Line | None:
        try:
            opening: Task[Line] = Task(lambda: line_of(self._client), _THREAD)
            return opening.result(self._left())
        except TimeoutError:
            self._missed("the settings were not read")
        except ConfigurationError as error:
            # A wrong setting already has a finding.
            if not any(finding.status == "fail" for finding in self.found.values()):
                self.tell(Finding("transport", "fail", str(error)))
        except Exception as error:  # noqa: BLE001  # a transport may raise anything
            let_pass(error)
            self.tell(Finding("transport", "fail", f"making it raised {type(error).__name__}"))
        return None

    def _look_for_local_credentials(self) -> None:
        try:
            account = self._setup.shared.local_account()
        except (ConfigurationError, CredentialsError) as error:
            self.tell(Finding("credentials", "fail", str(error)))
            return
        if account is not None:
            self.tell(_service.credentials(account, self._now()))
            return
        message = "none in variables or files; other sources are not asked offline"
        fix = "leave --offline out to ask a role, IAM Identity Center or a process"
        self.tell(Finding("credentials", "warn", message, fix))

    def _account(self) -> CredentialsAccount | None:
        # Half of the time; the rest is for the service.
        seconds = self._left() - self._timeout / 2
        try:
            account = Task(self._setup.shared.credentials.account, _THREAD).result(seconds)
        except CredentialsError as error:
            self.tell(_service.no_credentials(error))
            return None
        except TimeoutError:
            message = f"looking for credentials took more than {self._timeout / 2:.1f} s"
            fix = "give credentials in variables or a profile, or see what hangs: a process, a role"
            self.tell(Finding("credentials", "fail", message, fix))
            return None
        self.tell(_service.credentials(account, self._now()))
        return account

    def _ask(self, line: Line, account: CredentialsAccount) -> None:
        asking = _service.Asking(
            line, account.origin, self._prefix, self.until, self.tell, self._clock
        )
        try:
            Task(asking.run, _THREAD).result(self._left())
        except TimeoutError:
            self._missed(f"no answer from {line.configuration.host}")
        except Exception as error:  # noqa: BLE001  # a transport may raise anything
            let_pass(error)
            message = f"the transport raised {type(error).__name__}"
            self.tell(Finding("service", "fail", message, "see that transport's own log"))

    def _missed(self, what: str) -> None:
        message = f"{what} within {self._timeout:.1f} s"
        if "service" in self.found:
            self.tell(Finding("sources", "warn", message, "give more time, or a longer prefix"))
            return
        fix = "check Region, endpoint and proxy above, DNS, and what outgoing connections may reach"
        facts: dict[str, Fact] = {"reason": "unreachable", "code": None}
        self.tell(Finding("service", "fail", message, fix, facts=facts))

    def _left(self) -> float:
        return self.until - monotonic()

    def _now(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self._clock(), datetime.UTC)


def _outbox(
    outbox: ExaminedOutbox, waiting: Task[OutboxStats], until: float, timeout: float
) -> Iterator[Finding]:
    try:
        stats = waiting.result(until - monotonic())
    except TimeoutError:
        yield hangs(outbox, timeout)
    except PartnerEventsError as error:
        yield unusable(error)
    else:
        yield from figures(outbox, stats)
