"""The life of sources through both clients, at the local service and at moto's server."""

from __future__ import annotations

import asyncio
import datetime
import inspect
import itertools
import os
import threading
import uuid
from collections import Counter
from typing import Any

import pytest
from botocore.credentials import Credentials

from eventbridge_partner import (
    Accepted,
    AsyncPartnerEventsClient,
    AsyncSources,
    ConcurrentModificationError,
    ConfigurationError,
    CredentialsError,
    InvalidEventError,
    InvalidTokenError,
    LimitExceededError,
    OperationDisabledError,
    Pace,
    PartnerEvent,
    PartnerEventsClient,
    Rejected,
    ResourceAlreadyExistsError,
    ResourceNotFoundError,
    ServiceError,
    SourceNotActiveError,
    Sources,
    SourceState,
    ThrottledError,
    TransportError,
    UnreadableAnswerError,
)
from eventbridge_partner.testing import (
    SOURCE_OPERATIONS,
    CutAnswer,
    ExpireToken,
    FailRequest,
    FakeEventBridge,
    GarbleAnswer,
    LimitRate,
    LoseAnswer,
    OddPage,
    SlowAnswer,
    WrongClock,
)

PREFIX = "aws.partner/example.com/"
NAME = PREFIX + "acme"
ACCOUNT = "123456789012"
OTHER = "210987654321"


# ---------------------------------------------------------------- the surface


def surface(sources: type) -> dict[str, Any]:
    """Return the public methods with their parameters, defaults and annotations."""
    return {
        name: [
            (one.name, one.kind, one.default, one.annotation)
            for one in inspect.signature(found).parameters.values()
        ]
        for name, found in vars(sources).items()
        if not name.startswith("_") and callable(found)
    }


def test_both_have_the_same_methods():
    """Both have the same methods, with the same parameters, types and docstrings."""
    assert surface(AsyncSources) == surface(Sources)
    for name in surface(Sources):
        assert getattr(AsyncSources, name).__doc__ == getattr(Sources, name).__doc__


# ---------------------------------------------------------------- one table


def life(client):
    """Create, describe, send, delete."""
    name = f"{PREFIX}{uuid.uuid4()}"
    created = client.sources.create(name, account=ACCOUNT)
    assert created.name == name
    assert created.arn.startswith("arn:aws:events:us-east-1::event-source/")
    assert client.sources.describe(name) == created
    (outcome,) = client.put_events([PartnerEvent(name, "t", {})])
    assert type(outcome) is Accepted
    assert client.sources.delete(name, account=ACCOUNT) is None


def ensured(client):
    """Ensure a source twice."""
    name = f"{PREFIX}{uuid.uuid4()}"
    first = client.sources.ensure(name, account=ACCOUNT)
    assert client.sources.ensure(name, account=ACCOUNT) == first
    assert client.sources.describe(name) == first
    client.sources.delete(name, account=ACCOUNT)


def several_accounts(client):
    """A name in two accounts is two sources of one name."""
    name = f"{PREFIX}{uuid.uuid4()}"
    first = client.sources.create(name, account=ACCOUNT)
    assert client.sources.create(name, account=OTHER) == first
    for account in (ACCOUNT, OTHER):
        client.sources.delete(name, account=account)


def what_is_not_there(client):
    """Describe a source that does not exist."""
    with pytest.raises(ServiceError):
        client.sources.describe(f"{PREFIX}{uuid.uuid4()}")


EVERYWHERE = [life, ensured, several_accounts, what_is_not_there]


@pytest.mark.parametrize("scenario", EVERYWHERE, ids=lambda one: one.__name__)
def test_at_the_local_service(client, scenario):
    """Each scenario works over HTTP at the local service, which verifies signatures."""
    scenario(client)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", EVERYWHERE, ids=lambda one: one.__name__)
def test_at_motos_server(kind, stack, moto_url, scenario):
    """Each scenario works at moto's server, which shares no code with this package."""
    client = kind.open(
        stack,
        region="us-east-1",
        endpoint_url=moto_url,
        credentials=Credentials("testing", "testing"),
    )
    scenario(client)


# ---------------------------------------------------------------- what moto does not do


def test_states(client, service):
    """A source is PENDING, ACTIVE and then DELETED, and its times are aware."""
    before = datetime.datetime.now(datetime.UTC)
    client.sources.create(NAME, account=ACCOUNT)
    (found,) = client.sources.accounts(NAME)
    assert (found.source, found.account, found.state) == (NAME, ACCOUNT, SourceState.PENDING)
    assert abs(found.creation_time - before) < datetime.timedelta(minutes=1)
    assert found.expiration_time - found.creation_time == datetime.timedelta(days=14)
    service.sources.associate(NAME, ACCOUNT)
    assert client.sources.state(NAME, account=ACCOUNT) == SourceState.ACTIVE
    client.sources.delete(NAME, account=ACCOUNT)
    assert client.sources.state(NAME, account=ACCOUNT) == SourceState.DELETED


def test_there_and_not_there(client):
    """An existing or missing source raises the error of the service's model."""
    client.sources.create(NAME, account=ACCOUNT)
    with pytest.raises(ResourceAlreadyExistsError):
        client.sources.create(NAME, account=ACCOUNT)
    with pytest.raises(ResourceNotFoundError):
        client.sources.state(NAME, account=OTHER)
    client.sources.delete(NAME, account=ACCOUNT)
    client.sources.delete(NAME, account=ACCOUNT, missing_ok=True)
    for ask in (client.sources.describe, client.sources.accounts):
        with pytest.raises(ResourceNotFoundError):
            ask(NAME)


def test_wrong_names_are_not_sent(client, service):
    """An invalid name or prefix is refused before anything is sent."""
    with pytest.raises(InvalidEventError):
        client.sources.create("acme", account=ACCOUNT)
    with pytest.raises(InvalidEventError):
        client.sources.list("aws.partner/")
    assert service.request_count == 0


ODDITIES = [
    "repeated-token",
    "empty-page",
    "extra-page",
    "empty-token",
    "null-token",
]


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2, 7])
@pytest.mark.parametrize("odd", [(), *itertools.combinations(ODDITIES, 1), ODDITIES], ids=str)
def test_250_sources_are_listed_once_each(client, service, odd, times):
    """250 sources on pages of 100 are listed once each, whatever the tokens do."""
    names = [f"{PREFIX}customer-{number:03}" for number in range(250)]
    for name in names:
        service.sources.create(name, ACCOUNT)
    service.sources.create("aws.partner/example.org/other", ACCOUNT)
    service.play(*(OddPage(kind, times=times) for kind in odd))
    assert [source.name for source in client.sources.list(PREFIX)] == names
    if not odd:
        assert service.request_count == 3


def test_250_accounts_of_one_source(client, service):
    """250 accounts of a source are listed once each, and the last one's state is found."""
    accounts = [f"{number:012}" for number in range(250)]
    for account in accounts:
        service.sources.create(NAME, account)
    service.play(OddPage("empty-page"), OddPage("repeated-token"))
    assert [one.account for one in client.sources.accounts(NAME)] == accounts
    assert client.sources.state(NAME, account=accounts[-1]) == SourceState.PENDING


def test_small_pages(kind, stack):
    """A list is complete even if the service puts fewer items on a page than asked for."""
    service = FakeEventBridge(page_size=1)
    with service.serve() as server:
        client = kind.open(
            stack, region="us-east-1", endpoint_url=server.url, credentials=service.credentials
        )
        for number in range(5):
            service.sources.create(f"{PREFIX}c{number}", ACCOUNT)
        assert len(client.sources.list(PREFIX)) == 5
        client.close()


def test_a_list_that_never_ends(client, service):
    """A token that repeats without end raises an error instead of looping."""
    for number in range(250):
        service.sources.create(f"{PREFIX}c{number}", ACCOUNT)
    service.play(OddPage("repeated-token", times=None))
    with pytest.raises(UnreadableAnswerError, match="after 200 items, its tokens repeat"):
        client.sources.list(PREFIX)


def test_an_expired_token(client, service):
    """An expired page token has an error of its own."""
    for number in range(101):
        service.sources.create(f"{PREFIX}c{number}", ACCOUNT)
    service.play(OddPage("expired-token"))
    with pytest.raises(InvalidTokenError):
        client.sources.list(PREFIX)


TRANSIENT = {
    "throttled": FailRequest("ThrottlingException"),
    "an internal failure": FailRequest("InternalException", 500),
    "a bad gateway": FailRequest("", 502, form="html"),
    "somebody else changes it": FailRequest("ConcurrentModificationException"),
    "a lost answer": LoseAnswer(),
    "a cut answer": CutAnswer(10),
    "a garbled answer": GarbleAnswer(),
    "a wrong clock": WrongClock(900),
    "a slow answer": SlowAnswer(0.05),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
def test_transient_faults(client, service, fault):
    """Each operation succeeds despite a transient fault, and takes effect once."""
    service.play(fault)
    assert client.sources.create(NAME, account=ACCOUNT).name == NAME
    service.play(fault)
    assert client.sources.ensure(NAME, account=ACCOUNT).name == NAME
    service.play(fault)
    assert client.sources.describe(NAME).name == NAME
    service.play(fault)
    assert len(client.sources.list(PREFIX)) == 1
    service.play(fault)
    assert client.sources.state(NAME, account=ACCOUNT) == SourceState.PENDING
    service.play(fault)
    client.sources.delete(NAME, account=ACCOUNT)
    assert len(service.sources) == 0


LASTING = {
    "a quota": (FailRequest("LimitExceededException"), LimitExceededError, 1),
    "disabled": (FailRequest("OperationDisabledException"), OperationDisabledError, 1),
    "no permission": (FailRequest("AccessDeniedException"), ServiceError, 1),
    "throttling that stays": (
        FailRequest("ThrottlingException", times=None),
        ThrottledError,
        3,
    ),
    "changes that go on": (
        FailRequest("ConcurrentModificationException", times=None),
        ConcurrentModificationError,
        3,
    ),
    "no answer ever": (LoseAnswer(times=None), TransportError, 3),
    "an expired token": (ExpireToken(times=None), ServiceError, 2),
}


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "error", "requests"), LASTING.values(), ids=LASTING)
def test_lasting_faults(client, service, fault, error, requests):
    """Each lasting fault has its error class, and takes no more requests than needed."""
    service.play(fault)
    with pytest.raises(error) as caught:
        client.sources.create(NAME, account=ACCOUNT)
    assert service.request_count == requests
    assert caught.value.may_have_been_sent is isinstance(fault, LoseAnswer)


def test_nothing_is_sent_without_credentials(kind, stack, service):
    """Without credentials or without a Region, nothing is sent."""
    with service.serve() as server:
        client = kind.open(stack, region="us-east-1", endpoint_url=server.url)
        with pytest.raises(CredentialsError):
            client.sources.list(PREFIX)
        client = kind.open(stack)
        with pytest.raises(ConfigurationError):
            client.sources.describe(NAME)
    assert service.request_count == 0


@pytest.mark.slow
def test_source_operations_keep_their_quota(open_client, service):
    """By default, source operations keep to 50 requests a second, so none is throttled."""
    for number in range(70):
        service.sources.create(f"{PREFIX}c{number}", ACCOUNT)
    service.play(LimitRate(50, burst=10, operations=SOURCE_OPERATIONS, times=None))
    client = open_client(sources_pace=None)
    within = datetime.timedelta(days=30)
    assert len(client.sources.expiring(prefix=PREFIX, within=within)) == 70
    assert Counter(record.error_code for record in service.requests) == {None: 71}


def test_events_do_not_wait_for_sources(open_client, service):
    """Events do not wait for the pace of source operations."""
    client = open_client(sources_pace=Pace(0.001))
    client.sources.ensure(NAME, account=ACCOUNT)
    (outcome,) = client.put_events([PartnerEvent(NAME, "t", {})])
    assert type(outcome) is Accepted


@pytest.mark.slow
def test_waiting_for_the_customer(client, service):
    """Waiting ends when the source is ACTIVE, and reports each state on the way."""
    client.sources.create(NAME, account=ACCOUNT)
    seen = []

    def associate_once_seen(found):
        if not seen:
            service.sources.associate(NAME, ACCOUNT)
        seen.append(found.state)

    found = client.sources.wait_until_active(
        NAME, account=ACCOUNT, timeout=60, on_progress=associate_once_seen
    )
    assert found.state == SourceState.ACTIVE
    assert seen == [SourceState.PENDING, SourceState.ACTIVE]


def test_waiting_in_vain(client, service):
    """Waiting ends with its timeout, and at once if the source is DELETED."""
    client.sources.create(NAME, account=ACCOUNT)
    with pytest.raises(SourceNotActiveError, match=r"is PENDING after 0\.01 s"):
        client.sources.wait_until_active(NAME, account=ACCOUNT, timeout=0.01)
    service.sources.associate(NAME, ACCOUNT)
    client.sources.delete(NAME, account=ACCOUNT)
    with pytest.raises(SourceNotActiveError, match="is DELETED"):
        client.sources.wait_until_active(NAME, account=ACCOUNT)


@pytest.mark.slow
def test_expiring(kind, stack):
    """`expiring` lists the sources under a prefix that no customer has associated."""
    now = [datetime.datetime.now(datetime.UTC).timestamp()]
    service = FakeEventBridge(clock=lambda: now[0], verify_signatures=False)
    days = datetime.timedelta(days=1)
    with service.serve() as server:
        client = kind.open(
            stack, region="us-east-1", endpoint_url=server.url, credentials=service.credentials
        )
        now[0] -= 12 * 86400
        for name in ("old", "old-and-active"):
            service.sources.create(PREFIX + name, ACCOUNT)
        service.sources.associate(PREFIX + "old-and-active", ACCOUNT)
        now[0] += 12 * 86400
        service.sources.create(PREFIX + "new", ACCOUNT)
        within = client.sources.expiring
        assert [one.source for one in within(prefix=PREFIX, within=3 * days)] == [PREFIX + "old"]
        assert within(prefix=PREFIX, within=days) == []
        assert len(within(prefix=PREFIX, within=15 * days)) == 2
        assert len(within(prefix=PREFIX, within=datetime.timedelta.max)) == 2
        assert within(prefix=PREFIX, within=datetime.timedelta.min) == []
        client.close()


def test_what_a_gone_source_means_for_events(client, service):
    """An event for a deleted source is rejected, and says that its source is gone."""
    client.sources.create(NAME, account=ACCOUNT)
    client.sources.delete(NAME, account=ACCOUNT)
    (outcome,) = client.put_events([PartnerEvent(NAME, "t", {})])
    assert type(outcome) is Rejected
    assert outcome.source_is_gone


# ---------------------------------------------------------------- threads, tasks, processes


@pytest.mark.slow
def test_many_threads_share_the_pace():
    """The requests of all threads together keep to the pace."""
    service = FakeEventBridge()
    service.sources.create(NAME, ACCOUNT)
    service.play(LimitRate(50, burst=10, times=None))
    with PartnerEventsClient(
        service.region, credentials=service.credentials, transport=service.transport()
    ) as client:
        threads = [
            threading.Thread(target=lambda: [client.sources.describe(NAME) for _ in range(5)])
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {record.error_code for record in service.requests} == {None}
    assert service.request_count == 40


@pytest.mark.slow
def test_many_tasks_share_the_pace():
    """The requests of all tasks together keep to the pace."""
    service = FakeEventBridge()
    service.sources.create(NAME, ACCOUNT)
    service.play(LimitRate(50, burst=10, times=None))

    async def main(url: str) -> None:
        async with AsyncPartnerEventsClient(
            service.region, credentials=service.credentials, endpoint_url=url
        ) as client:
            await asyncio.gather(*(client.sources.describe(NAME) for _ in range(40)))

    with service.serve() as server:
        asyncio.run(main(server.url))
    assert {record.error_code for record in service.requests} == {None}
    assert service.request_count == 40


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_on_both_sides_of_a_fork(service):
    """A child can keep using its parent's client."""
    service.sources.create(NAME, ACCOUNT)
    with PartnerEventsClient(
        service.region, credentials=service.credentials, transport=service.transport()
    ) as client:
        sources = client.sources
        sources.describe(NAME)
        child = os.fork()
        if not child:
            os._exit(0 if sources.describe(NAME).name == NAME else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
