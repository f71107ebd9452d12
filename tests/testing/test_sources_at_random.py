"""Invariants of partner event sources under random sequences of actions."""

from __future__ import annotations

import json
from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from eventbridge_partner.testing import FakeEventBridge, OddPage
from eventbridge_partner.testing._faults import PageOddity
from eventbridge_partner.testing._sources import TRANSITIONS

NAMES = [f"aws.partner/example.com/acme/{word}" for word in ("a", "a-2", "b")]
ACCOUNTS = ["123456789012", "210987654321"]
DAY = 24 * 3600.0

names, accounts = st.sampled_from(NAMES), st.sampled_from(ACCOUNTS)


def call(service: FakeEventBridge, operation: str, **members: Any) -> dict[str, Any]:
    answer = service.handle(
        "POST",
        "/",
        {
            "X-Amz-Target": f"AWSEvents.{operation}",
            "Content-Type": "application/x-amz-json-1.1",
        },
        json.dumps(members).encode(),
    )
    document: dict[str, Any] = json.loads(answer.body or b"{}")
    return document


class Lives(RuleBasedStateMachine):
    """A partner and customers who do anything, in any order."""

    @initialize()
    def start(self) -> None:
        self.now = 1_800_000_000.0
        self.service = FakeEventBridge(
            clock=lambda: self.now, verify_signatures=False, only_known_sources=True
        )

    @rule(name=names, account=accounts)
    def create(self, name: str, account: str) -> None:
        before = self.service.sources.get(name, account)
        answer = call(self.service, "CreatePartnerEventSource", Name=name, Account=account)
        if before is None or before.state == "DELETED":
            assert "EventSourceArn" in answer
            now = self.service.sources.get(name, account)
            assert now is not None
            assert (now.state, now.has_bus, now.created_at) == ("PENDING", False, self.now)
        else:
            assert answer["__type"] == "ResourceAlreadyExistsException"
            assert self.service.sources.get(name, account) == before

    @rule(name=names, account=accounts)
    def delete(self, name: str, account: str) -> None:
        before = self.service.sources.get(name, account)
        assert call(self.service, "DeletePartnerEventSource", Name=name, Account=account) == {}
        after = self.service.sources.get(name, account)
        if before is not None and before.has_bus:
            assert after is not None
            assert after.state == "DELETED"
        else:
            assert after is None

    @rule(name=names, account=accounts, action=st.sampled_from(list(TRANSITIONS)))
    def act(self, name: str, account: str, action: Any) -> None:
        before = self.service.sources.get(name, account)
        try:
            after = self.service.sources.act(action, name, account)
        except LookupError:
            assert before is None
        except ValueError:
            assert before is not None
            assert self.service.sources.get(name, account) == before
        else:
            assert after != before
            assert self.service.sources.get(name, account) == after

    @rule(days=st.integers(1, 15))
    def wait(self, days: int) -> None:
        self.now += days * DAY

    @invariant()
    def states_agree(self) -> None:
        """Lists, states, expiry times and the fate of events agree with each other."""
        if not hasattr(self, "service"):
            return
        listed = call(self.service, "ListPartnerEventSources", NamePrefix="aws.partner/")
        found = {source["Name"] for source in listed["PartnerEventSources"]}
        assert found == {source.name for source in self.service.sources}
        for name in NAMES:
            described = call(self.service, "DescribePartnerEventSource", Name=name)
            assert ("Arn" in described) == (name in found)
            answer = call(self.service, "ListPartnerEventSourceAccounts", EventSourceName=name)
            held = answer.get("PartnerEventSourceAccounts", [])
            assert bool(held) == (name in found)
            for account in held:
                pending = account["State"] == "PENDING"
                assert pending == ("ExpirationTime" in account)
                assert not pending or self.now < account["ExpirationTime"] <= self.now + 14 * DAY
            states = [account["State"] for account in held]
            entry = {"Source": name, "DetailType": "t", "Detail": "{}"}
            sent = call(self.service, "PutPartnerEvents", Entries=[entry])
            assert sent["FailedEntryCount"] == (not {"PENDING", "ACTIVE"} & set(states))
            if not sent["FailedEntryCount"]:
                assert len(self.service.accepted[-1].dropped_for) == states.count("PENDING")


TestLives = Lives.TestCase
TestLives.settings = settings(stateful_step_count=25, max_examples=40)


@given(
    count=st.integers(0, 12),
    page_size=st.integers(1, 5),
    limit=st.none() | st.integers(1, 6),
    oddities=st.lists(
        st.sampled_from([kind for kind in get_args(PageOddity) if kind != "expired-token"]),
        max_size=4,
    ),
    deleted=st.lists(st.integers(0, 11), max_size=3),
)
def test_tokens_lead_to_every_source(count, page_size, limit, oddities, deleted):
    """Whatever the pages are like, and whatever is deleted meanwhile, the rest is listed."""
    service = FakeEventBridge(verify_signatures=False, page_size=page_size)
    present = [f"aws.partner/example.com/{number:02}/x" for number in range(count)]
    for name in present:
        service.sources.create(name, ACCOUNTS[0])
    service.play(*(OddPage(kind) for kind in oddities))
    gone = {present[number] for number in deleted if number < count}
    listed: list[str] = []
    token = None
    for page in range(2 * count + 10):
        answer = call(
            service,
            "ListPartnerEventSources",
            NamePrefix="aws.partner/example.com",
            NextToken=token,
            Limit=limit,
        )
        shown = [source["Name"] for source in answer["PartnerEventSources"]]
        assert len(shown) <= min(page_size, limit or page_size)
        listed += shown
        token = answer.get("NextToken")
        if not token:
            break
        if page == 0:
            for name in gone:
                service.sources.delete(name, ACCOUNTS[0])
    assert not token
    assert set(present) - gone <= set(listed) <= set(present)
    if "repeated-token" not in oddities:
        assert listed == sorted(set(listed))
