"""What operations on sources do after each answer, without a network or a clock."""

from __future__ import annotations

import copy
import datetime
import itertools
from typing import Any

import attrs
import pytest

from eventbridge_partner import (
    ClockSkewError,
    ConcurrentModificationError,
    ConfigurationError,
    CredentialsError,
    EventSource,
    ExpiredCredentialsError,
    InvalidEventError,
    InvalidTokenError,
    LimitExceededError,
    OperationDisabledError,
    Pace,
    PartnerEventsError,
    ResourceAlreadyExistsError,
    ResourceNotFoundError,
    RetryPolicy,
    ServiceError,
    SourceAccount,
    SourceName,
    SourceNotActiveError,
    SourceState,
    ThrottledError,
    TlsError,
    TransportError,
    UnreadableAnswerError,
    Verdict,
)
from eventbridge_partner.sources import _operations
from eventbridge_partner.wire.source_calls import Page
from tests.sources.puppet import Puppet

NAME = "aws.partner/example.com/acme"
PREFIX = "aws.partner/example.com/"
ACCOUNT = "123456789012"
SOURCE = EventSource(NAME, "arn:aws:events:us-east-1::event-source/x")
NOW = datetime.datetime(2030, 1, 2, tzinfo=datetime.UTC)
PENDING, ACTIVE, DELETED = SourceState.PENDING, SourceState.ACTIVE, SourceState.DELETED

LOST = TransportError("no answer", may_have_been_sent=True)
NOT_SENT = TransportError("no connection", may_have_been_sent=False)


def error(kind=ServiceError, code=None, status=400, **more):
    return kind(
        code or kind.__name__.removesuffix("Error") + "Exception", "m", status=status, **more
    )


EXISTS, MISSING = error(ResourceAlreadyExistsError), error(ResourceNotFoundError)


def fresh(failure):
    """Return a copy, because code that handles an error may mark it."""
    return copy.copy(failure)


def in_account(state, account=ACCOUNT, created=NOW, expires=None, source=NAME):
    return SourceAccount(source, account, SourceState(state), created, expires)


def page(*items, token=None):
    return Page(items, token)


# ---------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (lambda: _operations.create("acme", ACCOUNT), "source is 'acme'; allowed: aws.partner/"),
        (lambda: _operations.create(NAME, "12345"), "account is '12345'; allowed: the 12 digits"),
        (lambda: _operations.create(NAME, 123456789012), "account is of type int; allowed: the 12"),
        (lambda: _operations.ensure(NAME, "١٢٣٤٥٦٧٨٩٠١٢"), "account is .*; allowed: the 12 digits"),
        (lambda: _operations.ensure(None, ACCOUNT), "source is None; allowed"),
        (lambda: _operations.describe(NAME + "/"), "source is .*/'; allowed"),
        (lambda: _operations.describe(NAME + "x" * 250), "source has 278 characters; the limit"),
        (lambda: _operations.delete(NAME, "", missing_ok=True), "account is ''; allowed"),
        (lambda: _operations.state(NAME + "\n", ACCOUNT, None), "source is .*; allowed"),
        (lambda: _operations.list_sources("aws.partner/example.com"), "prefix is .*; allowed"),
        (lambda: _operations.list_sources(None), "prefix is None; allowed: aws.partner/"),
        (lambda: _operations.list_accounts("x", None), "source is 'x'; allowed"),
        (lambda: _operations.wait_until_active(NAME, "x", None, None), "account is 'x'; allowed"),
        (lambda: _operations.expiring("", datetime.timedelta(1), NOW), "prefix is ''; allowed"),
    ],
)
def test_names_are_checked_before_anything_is_sent(plan, words):
    """A bad name, account or prefix is refused with what was found and what is allowed."""
    with pytest.raises(InvalidEventError, match=words):
        plan()


def test_all_that_is_wrong_is_said_at_once():
    """A bad name and a bad account are reported together."""
    with pytest.raises(InvalidEventError) as caught:
        _operations.create("acme", "1")
    assert [finding.field for finding in caught.value.findings] == ["source", "account"]


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
def test_timeouts_are_above_0(timeout):
    """A timeout that is not above 0 is refused at once."""
    for plan in (
        lambda: _operations.list_accounts(NAME, timeout),
        lambda: _operations.state(NAME, ACCOUNT, timeout),
        lambda: _operations.wait_until_active(NAME, ACCOUNT, timeout, None),
    ):
        with pytest.raises(ValueError, match=r"timeout is .*; allowed: seconds above 0"):
            plan()


def test_a_source_name_does_as_well_as_its_text():
    """A SourceName is accepted in place of its text."""
    puppet = Puppet(SOURCE)
    puppet.run(_operations.create(SourceName("example.com", "acme"), ACCOUNT))
    assert puppet.sent[0][2] == {"Name": NAME, "Account": ACCOUNT}


# ---------------------------------------------------------------- create, ensure, delete


@attrs.frozen
class Case:
    """
    An operation, and how it ends.

    Attributes:
        answers: What the service answers, in turn.
        asked: The verbs of the requests.
        ends: The result, or the error's class.
    """

    plan: str
    answers: tuple
    asked: list[str]
    ends: Any


PLANS = {
    "create": lambda: _operations.create(NAME, ACCOUNT),
    "ensure": lambda: _operations.ensure(NAME, ACCOUNT),
    "delete": lambda: _operations.delete(NAME, ACCOUNT, missing_ok=False),
    "delete, missing ok": lambda: _operations.delete(NAME, ACCOUNT, missing_ok=True),
    "describe": lambda: _operations.describe(NAME),
}
INTERNAL = error(code="InternalException", status=500)
CASES = {
    "it is created": Case("create", (SOURCE,), ["Create"], SOURCE),
    "it is there": Case("create", (EXISTS,), ["Create"], ResourceAlreadyExistsError),
    "it is there, as wanted": Case("ensure", (EXISTS, SOURCE), ["Create", "Describe"], SOURCE),
    "it is not there yet": Case("ensure", (SOURCE,), ["Create"], SOURCE),
    "the answer is lost": Case(
        "create", (LOST, EXISTS, SOURCE), ["Create", "Create", "Describe"], SOURCE
    ),
    "the answer is lost, and it was not carried out": Case(
        "create", (LOST, SOURCE), ["Create"] * 2, SOURCE
    ),
    "it was not sent": Case(
        "create", (NOT_SENT, EXISTS), ["Create"] * 2, ResourceAlreadyExistsError
    ),
    "an unreadable answer": Case(
        "create",
        (UnreadableAnswerError("?"), EXISTS, SOURCE),
        ["Create", "Create", "Describe"],
        SOURCE,
    ),
    "the service stumbles": Case("create", (INTERNAL, SOURCE), ["Create"] * 2, SOURCE),
    "somebody else changes it": Case(
        "create", (error(ConcurrentModificationError), SOURCE), ["Create"] * 2, SOURCE
    ),
    "somebody else keeps changing it": Case(
        "delete",
        (error(ConcurrentModificationError),) * 3,
        ["Delete"] * 3,
        ConcurrentModificationError,
    ),
    "throttled": Case("create", (error(ThrottledError), SOURCE), ["Create"] * 2, SOURCE),
    "the quota is used up": Case(
        "create", (error(LimitExceededError),), ["Create"], LimitExceededError
    ),
    "not here": Case(
        "ensure", (error(OperationDisabledError),), ["Create"], OperationDisabledError
    ),
    "refused": Case("create", (error(code="AccessDeniedException"),), ["Create"], ServiceError),
    "invalid": Case("create", (error(code="ValidationException"),), ["Create"], ServiceError),
    "untrusted": Case("create", (TlsError("x"),), ["Create"], TlsError),
    "no credentials": Case("create", (CredentialsError("x"),), ["Create"], CredentialsError),
    "no Region": Case("create", (ConfigurationError("x"),), ["Create"], ConfigurationError),
    "the token has expired": Case(
        "create", (error(ExpiredCredentialsError), SOURCE), ["Create"] * 2, SOURCE
    ),
    "the token has expired for good": Case(
        "create",
        (error(ExpiredCredentialsError), error(ExpiredCredentialsError)),
        ["Create"] * 2,
        ExpiredCredentialsError,
    ),
    "the clock is wrong": Case(
        "describe", (error(ClockSkewError), SOURCE), ["Describe"] * 2, SOURCE
    ),
    "no answers at all": Case("create", (LOST,) * 3, ["Create"] * 3, TransportError),
    "it is deleted": Case("delete", (None,), ["Delete"], None),
    "it was never there": Case("delete", (MISSING,), ["Delete"], ResourceNotFoundError),
    "it was never there, and need not": Case("delete, missing ok", (MISSING,), ["Delete"], None),
    "the answer is lost, it is gone": Case("delete", (LOST, MISSING), ["Delete"] * 2, None),
    "not sent, it is gone": Case(
        "delete", (NOT_SENT, MISSING), ["Delete"] * 2, ResourceNotFoundError
    ),
    "it is described": Case("describe", (SOURCE,), ["Describe"], SOURCE),
    "there is none": Case("describe", (MISSING,), ["Describe"], ResourceNotFoundError),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_changes(case):
    """Each operation ends as expected, with exactly the expected requests."""
    answers = [fresh(one) if isinstance(one, Exception) else one for one in case.answers]
    puppet = Puppet(*answers)
    if isinstance(case.ends, type):
        with pytest.raises(PartnerEventsError) as caught:
            puppet.run(PLANS[case.plan]())
        assert caught.value.may_have_been_sent is any(
            one.may_have_been_sent for one in case.answers
        )
        assert type(caught.value) is case.ends
    else:
        assert puppet.run(PLANS[case.plan]()) == case.ends
    assert puppet.operations == case.asked
    runs = (list(run) for _, run in itertools.groupby(case.asked))
    attempts = [attempt for run in runs for attempt in range(1, len(run) + 1)]
    assert [attempt for attempt, _ in puppet.attempts] == attempts


def test_an_earlier_attempt_may_have_been_sent():
    """A final refusal does not hide that an earlier attempt may have been sent."""
    puppet = Puppet(fresh(LOST), error(code="AccessDeniedException"))
    with pytest.raises(ServiceError) as caught:
        puppet.run(_operations.create(NAME, ACCOUNT))
    assert caught.value.may_have_been_sent


def test_waits_follow_the_retry_policy():
    """Transient failures and throttling wait as the policy says; expired credentials do not."""
    throttled = error(ThrottledError)
    puppet = Puppet(error(ExpiredCredentialsError), fresh(INTERNAL), throttled, SOURCE)
    puppet.run(_operations.describe(NAME))
    assert [attempt for attempt, _ in puppet.attempts] == [1, 2, 3, 4]
    # After throttling, the pace may add a wait of its own.
    assert puppet.slept[:2] == [1.0, 5.0]


def test_retries_end_with_the_quota():
    """Retries stop when the retry quota is used up, so that an outage is not met with more load."""
    puppet = Puppet(fresh(INTERNAL), tokens=10)
    with pytest.raises(ServiceError):
        puppet.run(_operations.describe(NAME))
    puppet = Puppet(fresh(INTERNAL), SOURCE, tokens=20)
    puppet.run(_operations.describe(NAME))
    assert puppet.quota.tokens == 20


def test_verdicts_of_the_user_count():
    """A verdict in the retry policy also applies to source operations."""
    retry = RetryPolicy(verdicts={"InternalException": Verdict.PERMANENT})
    with pytest.raises(ServiceError):
        Puppet(fresh(INTERNAL), retry=retry).run(_operations.describe(NAME))


# ---------------------------------------------------------------- pace


def test_all_requests_keep_one_pace():
    """The requests of all operations that share a pace go out at equal intervals."""
    pace = Pace(50)
    one, other = Puppet(*[SOURCE] * 30, pace=pace), Puppet(*[SOURCE] * 30, pace=pace)
    for _ in range(30):
        one.run(_operations.describe(NAME))
        other.run(_operations.describe(NAME))
    times = sorted(at for puppet in (one, other) for at, _, _ in puppet.sent)
    assert times[-1] - times[0] == pytest.approx(
        59 / 50, abs=0.021
    )  # up to 20 ms of delay are made up for
    assert max(sum(at <= time < at + 1 for time in times) for at in times) <= 52


def test_throttling_slows_down():
    """Two throttled answers in a row lower the pace."""
    pace = Pace(50)
    Puppet(error(ThrottledError), error(ThrottledError), SOURCE, pace=pace).run(
        _operations.describe(NAME)
    )
    assert pace.requests_per_second is not None
    assert pace.requests_per_second < 50


# ---------------------------------------------------------------- lists


def sources(*numbers):
    return tuple(EventSource(f"{NAME}-{number}", f"arn:{number}") for number in numbers)


LISTS = {
    "one page": ([page(*sources(1, 2))], [None], [1, 2]),
    "several": ([page(*sources(1), token="a"), page(*sources(2))], [None, "a"], [1, 2]),
    "no source": ([page()], [None], []),
    "an empty page": (
        [page(*sources(1), token="a"), page(token="b"), page(token="c"), page(*sources(2))],
        [None, "a", "b", "c"],
        [1, 2],
    ),
    "an empty page at the end": ([page(*sources(1), token="a"), page()], [None, "a"], [1]),
    "a token that comes again": (
        [page(*sources(1), token="a"), page(*sources(2), token="a"), page(*sources(3))],
        [None, "a", "a"],
        [1, 2, 3],
    ),
    "a page that comes again": (
        [
            page(*sources(1), token="a"),
            page(*sources(2), token="a"),
            page(*sources(2), token="b"),
            page(*sources(3)),
        ],
        [None, "a", "a", "b"],
        [1, 2, 3],
    ),
    "pages that overlap": (
        [page(*sources(1, 2, 2), token="a"), page(*sources(2, 3))],
        [None, "a"],
        [1, 2, 3],
    ),
    "a page that has to be asked for again": (
        [page(*sources(1), token="a"), fresh(INTERNAL), page(*sources(2))],
        [None, "a", "a"],
        [1, 2],
    ),
}


@pytest.mark.parametrize(("pages", "tokens", "numbers"), LISTS.values(), ids=LISTS)
def test_each_source_is_listed_once(pages, tokens, numbers):
    """Each source is listed once, in the service's order, whatever its tokens do."""
    puppet = Puppet(*pages)
    puppet.run(_operations.list_sources(PREFIX))
    assert puppet.given == list(sources(*numbers))
    assert puppet.tokens() == tokens


def test_a_list_in_circles_is_an_error():
    """A list whose tokens repeat yields what it can reach, and then raises an error."""
    puppet = Puppet(page(*sources(1), token="a"), *[page(*sources(2), token="a")] * 10)
    with pytest.raises(UnreadableAnswerError, match="after 2 items, its tokens repeat"):
        puppet.run(_operations.list_sources(PREFIX))
    assert puppet.given == list(sources(1, 2))
    assert len(puppet.sent) == 11


def test_a_list_may_go_in_circles_for_a_while():
    """A list is complete if its tokens repeat for a while and then go on."""
    stuck = [page(*sources(2), token="a")] * 9
    puppet = Puppet(page(*sources(1), token="a"), *stuck, page(*sources(2), token="b"), page())
    puppet.run(_operations.list_sources(PREFIX))
    assert puppet.given == list(sources(1, 2))


def test_an_expired_token_is_an_error_of_its_own():
    """An expired page token is not retried, because only a new list helps."""
    puppet = Puppet(page(*sources(1), token="a"), error(InvalidTokenError))
    with pytest.raises(InvalidTokenError):
        puppet.run(_operations.list_sources(PREFIX))
    assert puppet.given == list(sources(1))


def test_accounts_are_listed_once_each():
    """An account is listed twice only if its source was deleted and created anew."""
    old = in_account("DELETED", created=NOW - datetime.timedelta(days=9))
    new, other = in_account("PENDING"), in_account("ACTIVE", "210987654321")
    puppet = Puppet(page(old, token="a"), page(old, new, token="b"), page(other))
    puppet.run(_operations.list_accounts(NAME, None))
    assert puppet.given == [old, new, other]


def test_a_timeout_bounds_all_pages():
    """Each request gets the time that is left; without any left, the last error is raised."""
    puppet = Puppet(page(token="a"), page(token="b"), page(token="c"), takes=2.0)
    with pytest.raises(TransportError, match="the deadline came before the request's turn"):
        puppet.run(_operations.list_accounts(NAME, 5.0))
    assert [seconds for _, seconds in puppet.attempts] == [5.0, 3.0, 1.0]
    puppet = Puppet(fresh(INTERNAL), fresh(INTERNAL), takes=2.0)
    with pytest.raises(ServiceError):
        puppet.run(_operations.list_accounts(NAME, 5.0))
    assert [seconds for _, seconds in puppet.attempts] == [5.0, 2.0]
    assert puppet.slept == [1.0]  # no wait for an attempt that cannot be made


# ---------------------------------------------------------------- states


def state_of(*items):
    return Puppet(page(*items)).run(_operations.state(NAME, ACCOUNT, None))


def test_state_is_that_of_the_account():
    """The state is that in the given account, even if it is one that we do not know."""
    others = in_account("ACTIVE", "210987654321"), in_account("DELETED", "210987654322")
    assert state_of(*others, in_account("PENDING")) == PENDING
    assert state_of(in_account("FROZEN"), *others) == "FROZEN"


def test_state_of_what_was_deleted_and_created_anew():
    """A deleted source does not count if there is another; of several, the newest counts."""
    earlier = NOW - datetime.timedelta(days=1)
    assert state_of(in_account("PENDING", created=earlier), in_account("DELETED")) == PENDING
    assert state_of(in_account("ACTIVE"), in_account("PENDING", created=earlier)) == ACTIVE
    assert state_of(in_account("PENDING", created=None), in_account("ACTIVE")) == ACTIVE


def test_state_looks_through_all_pages():
    """An account on the last page is found."""
    puppet = Puppet(
        page(in_account("ACTIVE", "210987654321"), token="a"), page(in_account("PENDING"))
    )
    assert puppet.run(_operations.state(NAME, ACCOUNT, None)) == PENDING


def test_state_where_there_is_none():
    """Without such a source, or without one in the account, the state is an error."""
    with pytest.raises(ResourceNotFoundError):
        Puppet(fresh(MISSING)).run(_operations.state(NAME, ACCOUNT, None))
    with pytest.raises(ResourceNotFoundError, match=f"{NAME} is not in account {ACCOUNT}"):
        state_of(in_account("ACTIVE", "210987654321"))


def wait(*answers, timeout=None, seen=None, **more):
    puppet = Puppet(*answers, **more)
    hook = None if seen is None else seen.append
    return puppet, lambda: puppet.run(_operations.wait_until_active(NAME, ACCOUNT, timeout, hook))


def test_waiting_looks_less_and_less_often():
    """Looks are 1 second apart at first and 30 at last, and each is reported."""
    pending, active = page(in_account("PENDING")), in_account("ACTIVE")
    seen = []
    puppet, run = wait(*[pending] * 12, page(active), seen=seen)
    assert run() == active
    assert puppet.slept[:4] == [1.0, 1.5, 2.25, 3.375]
    assert puppet.slept[-2:] == [30.0, 30.0]
    assert [one.state for one in seen] == [PENDING] * 12 + [ACTIVE]


def test_waiting_ends_with_its_timeout():
    """Waiting looks a last time when its timeout is over, and the error has what it saw."""
    puppet, run = wait(*[page(in_account("PENDING"))] * 4, timeout=4.0)
    with pytest.raises(SourceNotActiveError, match=r"is PENDING after 4\.0 s") as caught:
        run()
    assert caught.value.last == in_account("PENDING")
    assert puppet.slept == [1.0, 1.5, 1.5]
    assert len(puppet.sent) == 4
    assert [seconds for _, seconds in puppet.attempts] == [5.0] * 4


def test_waiting_for_what_is_deleted_ends_at_once():
    """Waiting for a DELETED source ends at once, because it cannot become ACTIVE."""
    _, run = wait(page(in_account("PENDING")), page(in_account("DELETED")))
    with pytest.raises(SourceNotActiveError, match="is DELETED in account"):
        run()


def test_waiting_for_what_is_not_there_ends_at_once():
    """Waiting ends at once if the source disappears from the account."""
    _, run = wait(page(in_account("PENDING")), page())
    with pytest.raises(ResourceNotFoundError):
        run()


def test_waiting_outlasts_an_outage():
    """Waiting goes on after a look whose three attempts all failed."""
    puppet, run = wait(
        *[fresh(INTERNAL) for _ in range(3)],
        *[fresh(LOST) for _ in range(3)],
        page(in_account("ACTIVE")),
    )
    assert run().state == ACTIVE
    assert puppet.slept == [1.0, 1.0, 1.0, 1.0, 1.0, 1.5]


@pytest.mark.parametrize("before", [(), (page(in_account("PENDING")),)], ids=["never", "once"])
def test_waiting_ends_with_its_timeout_in_an_outage(before):
    """After the timeout, the error has the last state, or the outage if none was seen."""
    _, run = wait(*before, *[fresh(INTERNAL) for _ in range(20)], timeout=7.0)
    with pytest.raises(SourceNotActiveError if before else ServiceError):
        run()


@pytest.mark.parametrize(("code", "attempts"), [("AccessDeniedException", 1), ("NewCode", 3)])
def test_waiting_ends_with_a_lasting_error(code, attempts):
    """A permanent error ends waiting at once, and an unknown one after three attempts."""
    refusals = [error(code=code) for _ in range(attempts)]
    puppet, run = wait(page(in_account("PENDING")), *refusals)
    with pytest.raises(ServiceError, match=code):
        run()
    assert len(puppet.sent) == 1 + attempts


# ---------------------------------------------------------------- expiring


def test_expiring_lists_sources_that_nobody_associated():
    """Sources that are PENDING or in an unknown state are listed if they expire by then."""

    def days(number):
        return NOW + datetime.timedelta(days=number)

    one, two, three = sources(1, 2, 3)
    soon = in_account("PENDING", expires=days(2), source=one.name)
    late = in_account("PENDING", "210987654321", expires=days(3.01), source=one.name)
    taken = in_account("ACTIVE", "210987654322", expires=days(1), source=one.name)
    gone = in_account("DELETED", "210987654323", expires=days(1), source=one.name)
    open_ended = in_account("PENDING", expires=None, source=two.name)
    overdue = in_account("PENDING", expires=days(-1), source=three.name)
    strange = in_account("FROZEN", "210987654324", expires=days(3), source=three.name)
    puppet = Puppet(
        page(one, two, token="a"),
        page(soon, token="b"),
        page(late, taken, gone),
        page(open_ended),
        page(*sources(4), three),
        fresh(MISSING),
        page(overdue, strange),
    )
    puppet.run(_operations.expiring(PREFIX, datetime.timedelta(days=3), NOW))
    assert puppet.given == [soon, overdue, strange]
    assert puppet.operations == ["List"] * 7
