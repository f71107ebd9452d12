"""Plans each operation on sources step by step, without I/O."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from eventbridge_partner._foreign_text import plain_text
from eventbridge_partner._plans import Control, Give, Operation, Plan, Sleep, perform
from eventbridge_partner.errors import (
    Finding,
    InvalidEventError,
    PartnerEventsError,
    ResourceAlreadyExistsError,
    ResourceNotFoundError,
    SourceNotActiveError,
    UnreadableAnswerError,
)
from eventbridge_partner.models import EventSource, SourceAccount, SourceName, SourceState
from eventbridge_partner.models._source_name import (
    account_findings,
    prefix_findings,
    source_findings,
)
from eventbridge_partner.retry import Verdict
from eventbridge_partner.wire import source_calls
from eventbridge_partner.wire.calls import Call
from eventbridge_partner.wire.source_calls import Page

T = TypeVar("T")

Progress = Callable[[SourceAccount], object]
"""Called with a source after each check."""

_FIRST_LOOK_AGAIN: Final = 1.0
_LAST_LOOK_AGAIN: Final = 30.0
_LOOK_AGAIN_GROWTH: Final = 1.5
"""
If a customer acts at the console now, we see it within seconds; if it takes days, we make two
requests a minute, of the 3,000 that the quota allows.
"""

_MAX_IN_VAIN: Final = 8
"""How often in a row a repeated token may bring no new items."""

_LEAST_LOOK_SECONDS: Final = 5.0
"""The least time for a check, so that a last one is possible when the time is over."""

_TRANSIENT: Final = frozenset({Verdict.TRANSIENT, Verdict.THROTTLED})


# ---------------------------------------------------------------- arguments


def _check(*findings: tuple[Finding, ...]) -> None:
    if all_findings := sum(findings, ()):
        raise InvalidEventError(all_findings)


def _source_text(name: str | SourceName) -> str:
    return str(name) if isinstance(name, SourceName) else name


def _named(name: str | SourceName) -> str:
    text = _source_text(name)
    _check(source_findings(text))
    return plain_text(text)


def _named_in(name: str | SourceName, account: str) -> tuple[str, str]:
    text = _source_text(name)
    _check(source_findings(text), account_findings(account))
    return plain_text(text), plain_text(account)


# ---------------------------------------------------------------- create, describe, delete


def create(name: str | SourceName, account: str) -> Plan[EventSource]:
    """Plan to create a source that does not exist yet."""
    return functools.partial(_create, *_named_in(name, account), may_exist=False)


def ensure(name: str | SourceName, account: str) -> Plan[EventSource]:
    """Plan to create a source unless it exists."""
    return functools.partial(_create, *_named_in(name, account), may_exist=True)


def _create(
    name: str, account: str, control: Control, *, may_exist: bool
) -> Operation[EventSource]:
    try:
        return (yield from perform(control, source_calls.create(name, account)))
    except ResourceAlreadyExistsError as error:
        # After a lost answer, the existing source most likely comes from an earlier attempt.
        if not may_exist and not error.may_have_been_sent:
            raise
    return (yield from perform(control, source_calls.describe(name)))


def describe(name: str | SourceName) -> Plan[EventSource]:
    """Plan to describe a source."""
    call = source_calls.describe(_named(name))
    return lambda control: perform(control, call)


def delete(name: str | SourceName, account: str, *, missing_ok: bool) -> Plan[None]:
    """Plan to delete a source from an account."""
    return functools.partial(_delete, *_named_in(name, account), missing_ok=missing_ok)


def _delete(name: str, account: str, control: Control, *, missing_ok: bool) -> Operation[None]:
    try:
        yield from perform(control, source_calls.delete(name, account))
    except ResourceNotFoundError as error:
        if not missing_ok and not error.may_have_been_sent:
            raise


# ---------------------------------------------------------------- lists


class _Pages(Generic[T]):
    """
    The pages of a list, each item once.

    An empty page may be followed by others. A repeated token is used again until it has brought
    no new items too often.
    """

    def __init__(
        self,
        control: Control,
        page_of: Callable[[str | None], Call[Page[T]]],
        key: Callable[[T], Hashable],
        deadline: float | None = None,
    ) -> None:
        self._control = control
        self._page_of = page_of
        self._key = key
        self._deadline = deadline
        self._seen: set[Hashable] = set()
        self._used: set[str] = set()
        self._in_vain = 0
        self._token: str | None = None
        self._is_over = False

    def next(self) -> Operation[tuple[T, ...] | None]:
        """Return the new items of the next page; None after the last page."""
        if self._is_over:
            return None
        page = yield from perform(self._control, self._page_of(self._token), self._deadline)
        items = {self._key(item): item for item in page.items}
        new = tuple(item for key, item in items.items() if key not in self._seen)
        self._seen.update(items)
        token = self._token = page.next_token
        if token is None:
            self._is_over = True
            return new
        self._in_vain = 0 if new or token not in self._used else self._in_vain + 1
        self._used.add(token)
        if self._in_vain > _MAX_IN_VAIN:
            raise UnreadableAnswerError(
                f"the list does not end: after {len(self._seen)} items, its tokens repeat"
            )
        return new


def _source_pages(control: Control, prefix: str) -> _Pages[EventSource]:
    page_of = functools.partial(source_calls.list_page, prefix)
    return _Pages(control, page_of, lambda source: source.name)


def _account_pages(
    control: Control, name: str, deadline: float | None = None
) -> _Pages[SourceAccount]:
    page_of = functools.partial(source_calls.accounts_page, name)
    # A deleted source may be listed beside the one created after it.
    return _Pages(control, page_of, lambda one: (one.account, one.creation_time), deadline)


def list_sources(prefix: str) -> Plan[None]:
    """Plan to give all sources whose names begin with a prefix."""
    _check(prefix_findings(prefix))
    return lambda control: _give_all(_source_pages(control, prefix))


def list_accounts(name: str | SourceName, timeout: float | None) -> Plan[None]:
    """Plan to give all accounts that have a source."""
    _check_timeout(timeout)
    text = _named(name)
    return lambda control: _give_all(_account_pages(control, text, _deadline(control, timeout)))


def _give_all(pages: _Pages[T]) -> Operation[None]:
    while (items := (yield from pages.next())) is not None:
        yield Give(items)


def _check_timeout(timeout: float | None) -> None:
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout is {timeout!r}; allowed: seconds above 0, or None")


def _deadline(control: Control, timeout: float | None) -> float | None:
    return None if timeout is None else control.clock() + timeout


# ---------------------------------------------------------------- states


def state(name: str | SourceName, account: str, timeout: float | None) -> Plan[SourceState]:
    """Plan to ask for the state of a source in an account."""
    _check_timeout(timeout)
    return functools.partial(_state, *_named_in(name, account), timeout)


def _state(
    name: str, account: str, timeout: float | None, control: Control
) -> Operation[SourceState]:
    found = yield from _find(control, name, account, _deadline(control, timeout))
    return found.state


def _find(
    control: Control, name: str, account: str, deadline: float | None
) -> Operation[SourceAccount]:
    found: list[SourceAccount] = []
    pages = _account_pages(control, name, deadline)
    while (accounts := (yield from pages.next())) is not None:
        found += [one for one in accounts if one.account == account]
    if not found:
        raise ResourceNotFoundError(
            "ResourceNotFoundException", f"source {name} is not in account {account}", status=200
        )
    return max(found, key=_newest)


_LONG_AGO: Final = datetime.datetime.min.replace(tzinfo=datetime.UTC)
_FAR_OFF: Final = datetime.datetime.max.replace(tzinfo=datetime.UTC)


def _newest(found: SourceAccount) -> tuple[bool, datetime.datetime]:
    return found.state != SourceState.DELETED, found.creation_time or _LONG_AGO


def wait_until_active(
    name: str | SourceName,
    account: str,
    timeout: float | None,
    on_progress: Progress | None,
) -> Plan[SourceAccount]:
    """Plan to check a source until it is ACTIVE."""
    _check_timeout(timeout)
    return functools.partial(_wait, *_named_in(name, account), timeout, on_progress)


def _wait(
    name: str,
    account: str,
    timeout: float | None,
    on_progress: Progress | None,
    control: Control,
) -> Operation[SourceAccount]:
    clock = control.clock
    deadline = _deadline(control, timeout)
    look_again = _FIRST_LOOK_AGAIN
    last: SourceAccount | None = None
    while True:
        failure: PartnerEventsError | None = None
        until = None if deadline is None else max(deadline, clock() + _LEAST_LOOK_SECONDS)
        try:
            found = yield from _find(control, name, account, until)
        except PartnerEventsError as error:
            # An outage is no reason to stop: the customer may take days anyway.
            if control.judge.verdict_on_request(error) not in _TRANSIENT:
                raise
            failure = error
        else:
            last = found
            if on_progress is not None:
                on_progress(found)
            if found.state == SourceState.ACTIVE:
                return found
            if found.state == SourceState.DELETED:
                message = f"source {name} is DELETED in account {account}"
                raise SourceNotActiveError(message, found)
        left = None if deadline is None else deadline - clock()
        if left is not None and left <= 0:
            if last is None and failure is not None:
                raise failure
            if last is not None:
                message = f"source {name} in account {account} is {last.state} after {timeout} s"
                raise SourceNotActiveError(message, last) from failure
        yield Sleep(look_again if left is None else min(look_again, left))
        look_again = min(look_again * _LOOK_AGAIN_GROWTH, _LAST_LOOK_AGAIN)


def expiring(prefix: str, within: datetime.timedelta, now: datetime.datetime) -> Plan[None]:
    """Plan to give the sources with a prefix that expire soon."""
    _check(prefix_findings(prefix))
    try:
        time = now + within
    except OverflowError:
        time = _FAR_OFF if within > datetime.timedelta(0) else _LONG_AGO
    return functools.partial(_expiring, prefix, time)


def _expiring(prefix: str, time: datetime.datetime, control: Control) -> Operation[None]:
    pages = _source_pages(control, prefix)
    while (sources := (yield from pages.next())) is not None:
        for source in sources:
            try:
                yield from _give_expiring(_account_pages(control, source.name), time)
            except ResourceNotFoundError:
                continue  # it was deleted after it was listed


def _give_expiring(pages: _Pages[SourceAccount], time: datetime.datetime) -> Operation[None]:
    while (accounts := (yield from pages.next())) is not None:
        yield Give(tuple(account for account in accounts if account.expires_by(time)))
