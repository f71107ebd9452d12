"""Asks the service, and makes findings about it, credentials, the clock and sources."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import attrs

from eventbridge_partner._clock import monotonic
from eventbridge_partner._foreign_text import escaped
from eventbridge_partner._http import HttpResponse
from eventbridge_partner.aws.credentials import CredentialsAccount
from eventbridge_partner.doctor._advice import refused, renewal
from eventbridge_partner.doctor._findings import Fact, Finding, Status
from eventbridge_partner.errors import (
    ClockSkewError,
    CredentialsError,
    ExpiredCredentialsError,
    PartnerEventsError,
    ServiceError,
)
from eventbridge_partner.line._blocking import Line
from eventbridge_partner.models import EventSource, SourceAccount, SourceState
from eventbridge_partner.wire import source_calls
from eventbridge_partner.wire.calls import Call
from eventbridge_partner.wire.refusals import read_http_date
from eventbridge_partner.wire.source_calls import Page

T = TypeVar("T")

ANY_PREFIX: Final = "aws.partner/example.com/"
"""
The prefix to list if the partner's own is not given: the service requires one (model).

No source has it, but the answer shows whether the service accepts and allows our requests.
"""

_SOON: Final = datetime.timedelta(minutes=15)
_EXPIRES_SOON: Final = datetime.timedelta(days=3)
_WARN_OF_CLOCK: Final = 30.0
_MOST_OFF: Final = 300.0
"""AWS refuses signatures whose time is off by more than five minutes."""

_MOST_SOURCES: Final = 50
_SHOWN_SOURCES: Final = 5


def credentials(account: CredentialsAccount, now: datetime.datetime) -> Finding:
    """Return the finding about credentials that were found."""
    kind = "temporary" if account.is_temporary else "lasting"
    message = f"{kind} credentials, from {account.origin}"
    facts: dict[str, Fact] = {
        "origin": account.origin,
        "temporary": account.is_temporary,
        "expires": None if account.expires is None else account.expires.isoformat(),
    }
    if account.expires is None:
        return Finding("credentials", "pass", message, facts=facts)
    shown = account.expires.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    fix = renewal(account.origin)
    if account.expires <= now:
        return Finding("credentials", "fail", f"{message}, expired at {shown}", fix, facts=facts)
    if account.expires <= now + _SOON:
        return Finding("credentials", "warn", f"{message}, expire at {shown}", fix, facts=facts)
    return Finding("credentials", "pass", f"{message}, good until {shown}", facts=facts)


def no_credentials(error: CredentialsError) -> Finding:
    """Return the finding about missing credentials."""
    fix = (
        "export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile that has some, or give "
        "the machine a role"
    )
    if any(word in str(error) for word in ("SSO", "Login", "TokenRetrieval")):
        fix = "log in again: aws sso login, or aws login"
    return Finding("credentials", "fail", str(error), fix)


@attrs.frozen
class Asking:
    """
    Asks the service.

    Attributes:
        line: Sends the requests.
        origin: The origin of its credentials.
        prefix: The prefix of the sources to check; None to check none.
        until: When to end, on the monotonic clock.
        tell: Called with each finding.
        clock: Returns this machine's time, in epoch seconds.
    """

    line: Line
    origin: str
    prefix: str | None
    until: float
    tell: Callable[[Finding], None]
    clock: Callable[[], float] = time.time

    def run(self) -> None:
        """List sources: of the requests that change nothing, this one shows the most."""
        host = self.line.configuration.host
        try:
            page = self._ask(source_calls.list_page(self.prefix or ANY_PREFIX, None))
        except PartnerEventsError as error:
            self.tell(refused(error, host, self.origin))
            if isinstance(error, ServiceError):
                self._tell_clock(error.server_time)
            return
        facts: dict[str, Fact] = {"reason": None, "code": None}
        message = f"{host} accepts the signature and allows events:ListPartnerEventSources"
        self.tell(Finding("service", "pass", message, facts=facts))
        if self.prefix is None:
            message = "their states are checked only if you give the prefix of their names"
            fix = "eventbridge-partner doctor --prefix aws.partner/YOUR-PARTNER-NAME/"
            self.tell(Finding("sources", "warn", message, fix))
            return
        for finding in self._sources(self.prefix, page):
            self.tell(finding)

    def _ask(self, call: Call[T]) -> T:
        try:
            return self._exchange(call)
        except (ClockSkewError, ExpiredCredentialsError) as error:
            # The line has refreshed the credentials or corrected the clock, as it does for events.
            if isinstance(error, ClockSkewError):
                self._tell_clock(error.server_time)
            return self._exchange(call)

    def _exchange(self, call: Call[T]) -> T:
        response, value = self.line.exchange(call, seconds=max(0.001, self.until - monotonic()))
        self._tell_clock(_date(response))  # the first finding counts
        return value

    def _tell_clock(self, server_time: float | None) -> None:
        if server_time is not None:
            self.tell(clock(self.clock() - server_time))

    # ------------------------------------------------------------ sources

    def _sources(self, prefix: str, page: Page[EventSource]) -> Iterator[Finding]:
        looked_at = 0
        unfit: list[SourceAccount] = []
        try:
            while True:
                for source in page.items:
                    if looked_at == _MOST_SOURCES or monotonic() > self.until:
                        yield from _told_of(unfit, looked_at, is_all=False)
                        return
                    unfit += self._unfit_of(source)
                    looked_at += 1
                if page.next_token is None:
                    break
                page = self._exchange(source_calls.list_page(prefix, page.next_token))
        except PartnerEventsError as error:
            fix = "allow events:ListPartnerEventSourceAccounts in the IAM policy of this identity"
            message = f"the state of sources cannot be looked at ({error})"
            yield Finding("sources", "warn", message, fix, facts={"looked_at": looked_at})
            return
        yield from _told_of(unfit, looked_at, is_all=True)

    def _unfit_of(self, source: EventSource) -> list[SourceAccount]:
        found: list[SourceAccount] = []
        token = None
        while True:
            page = self._exchange(source_calls.accounts_page(source.name, token))
            found += [one for one in page.items if one.state == SourceState.PENDING]
            token = page.next_token
            if token is None or monotonic() > self.until:
                return found


def _date(response: HttpResponse) -> float | None:
    try:
        return read_http_date(response.headers.get("date", "")).timestamp()
    except (ValueError, OverflowError):
        return None


def clock(ahead: float) -> Finding:
    """
    Return the finding about this machine's clock.

    Args:
        ahead: How many seconds it is ahead of the service's, which has whole seconds.
    """
    facts: dict[str, Fact] = {"ahead": round(ahead, 1)}
    off = abs(ahead)
    if off <= _WARN_OF_CLOCK:
        return Finding(
            "clock", "pass", f"within {max(1, round(off))} s of the service", facts=facts
        )
    side = "ahead of" if ahead > 0 else "behind"
    message = f"{off:.0f} s {side} the service, which refuses more than {_MOST_OFF:.0f} s"
    status: Status = "fail" if off > _MOST_OFF else "warn"
    return Finding("clock", status, message, "timedatectl set-ntp true", facts=facts)


def _told_of(unfit: list[SourceAccount], looked_at: int, *, is_all: bool) -> Iterator[Finding]:
    seen = f"{looked_at:,}" if is_all else f"the first {looked_at:,}"
    soon = datetime.datetime.now(datetime.UTC) + _EXPIRES_SOON
    expiring = [one for one in unfit if one.expires_by(soon)]
    facts: dict[str, Fact] = {
        "looked_at": looked_at,
        "all": is_all,
        "pending": len(unfit),
        "expiring": len(expiring),
    }
    if not looked_at:
        fix = "eventbridge-partner sources create NAME --account ID, or check the prefix"
        yield Finding("sources", "warn", "no source has this prefix", fix, facts=facts)
        return
    if not unfit:
        yield Finding("sources", "pass", f"none of {seen} is PENDING", facts=facts)
        return
    first = sorted(unfit, key=lambda one: not one.expires_by(soon))[:_SHOWN_SOURCES]
    named = ", ".join(escaped(f"{one.source} in {one.account}", 300) for one in first)
    more = f" and {len(unfit) - len(first):,} more" if len(unfit) > len(first) else ""
    message = f"PENDING, so their events are dropped: {len(unfit):,} of {seen} ({named}{more})"
    if expiring:
        message += f"; {len(expiring):,} expire within {_EXPIRES_SOON.days} days"
    fix = "send their customers: eventbridge-partner sources handoff NAME --account ID"
    yield Finding("sources", "warn", message, fix, facts=facts)
