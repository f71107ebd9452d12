"""The production checklist has the policies and figures of the service and the code."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest

from eventbridge_partner import AsyncEventPublisher, EventPublisher, otel
from eventbridge_partner.wire import source_calls
from eventbridge_partner.wire.calls import put_partner_events

PAGE = (Path(__file__).parents[2] / "docs/how-to/production-checklist.md").read_text()
POLICIES: list[dict[str, Any]] = [
    json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
]
NAME, ACCOUNT = "aws.partner/deskline.example/acme/support", "123456789012"
# From the Service Authorization Reference: these have no resource types.
WITHOUT_RESOURCE = {"PutPartnerEvents", "ListPartnerEventSources"}


def statements() -> list[tuple[set[str], str]]:
    """Return the actions and the resource of each statement."""
    found = []
    for policy in POLICIES:
        assert policy["Version"] == "2012-10-17"
        for statement in policy["Statement"]:
            assert statement["Effect"] == "Allow"
            actions = statement["Action"]
            names = [actions] if isinstance(actions, str) else actions
            found.append(({name.removeprefix("events:") for name in names}, statement["Resource"]))
    return found


def test_policies_allow_what_this_package_sends():
    """The policies together allow exactly the operations that this package calls."""
    allowed = set().union(*(actions for actions, _ in statements()))
    calls = [
        put_partner_events([]),
        source_calls.create(NAME, ACCOUNT),
        source_calls.delete(NAME, ACCOUNT),
        source_calls.describe(NAME),
        source_calls.list_page("aws.partner/deskline.example/", None),
        source_calls.accounts_page(NAME, None),
    ]
    assert allowed == {call.operation for call in calls}


@pytest.mark.parametrize(("actions", "resource"), statements())
def test_resources_are_what_the_actions_take(actions, resource):
    """An action without a resource type has `*`; any other has the ARN of event sources."""
    if actions & WITHOUT_RESOURCE:
        assert actions <= WITHOUT_RESOURCE
        assert resource == "*"
    else:
        assert re.fullmatch(r"arn:aws:events:\*::event-source/aws\.partner/[a-z.]+/\*", resource)


@pytest.mark.parametrize("publisher", [EventPublisher, AsyncEventPublisher])
def test_defaults_of_a_publisher_are_those_of_the_page(publisher):
    """The page's table has each setting with its default."""
    section = PAGE.partition("## Publisher settings")[2].partition("\n## ")[0]
    shown = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", section, re.MULTILINE))
    settings = inspect.signature(publisher).parameters
    written: dict[str, dict[object, str]] = {
        "on_undelivered": {None: "none"},
        "max_buffered_events": {10_000: "10,000"},
        "max_buffered_bytes": {64 * 2**20: "64 MiB"},
        "on_full": {"block": "`block`"},
        "block_timeout": {5.0: "5 s"},
        "linger": {0.05: "50 ms"},
        "exit_timeout": {5.0: "5 s"},
    }
    assert shown == {name: words[settings[name].default] for name, words in written.items()}
    assert set(shown) == set(settings) - {"client"}


def test_metrics_to_alert_on_exist():
    """Each metric that the page names is one that `OpenTelemetry` makes."""
    section = PAGE.partition("## Telemetry and alerts")[2].partition("\n## ")[0]
    named = set(re.findall(r"`((?:eventbridge_partner|messaging)\.[\w.]+)`", section))
    assert named
    made = inspect.getsource(otel)
    assert [name for name in named if f'"{name}"' not in made] == []
