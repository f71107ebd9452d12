"""A whole program in an empty environment without logging set up shows failures on its console."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventbridge_partner.testing import FailRequest, FakeEventBridge, LocalServer
from tests.patience import SOON

pytestmark = [pytest.mark.process, pytest.mark.slow]

CANARY = "s3cr3t-canary"
PREAMBLE = f"""
import asyncio
from eventbridge_partner import *

EVENTS = [PartnerEvent("aws.partner/example.com/acme", "t", {{"c": "{CANARY}"}})] * 100
"""
ENDINGS = {
    "closed": """
with PartnerEventsClient({settings}) as client, EventPublisher(client) as publisher:
    for event in EVENTS:
        publisher.publish(event)
""",
    "not closed": """
publisher = EventPublisher(PartnerEventsClient({settings}))
for event in EVENTS:
    publisher.publish(event)
""",
    "on a loop": """
async def main():
    async with AsyncPartnerEventsClient({settings}) as client:
        async with AsyncEventPublisher(client) as publisher:
            for event in EVENTS:
                await publisher.publish(event)

asyncio.run(main())
""",
    "on a loop, not closed": """
async def main():
    publisher = AsyncEventPublisher(AsyncPartnerEventsClient({settings}))
    for event in EVENTS:
        await publisher.publish(event)

asyncio.run(main())
""",
}
CALLS = {
    "a call": "PartnerEventsClient({settings}).put_events(EVENTS)",
    "a call on a loop": "asyncio.run(AsyncPartnerEventsClient({settings}).put_events(EVENTS))",
}


@pytest.fixture
def service() -> FakeEventBridge:
    return FakeEventBridge()


@pytest.fixture
def server(service: FakeEventBridge) -> Iterator[LocalServer]:
    with service.serve() as server:
        yield server


def run(program: str, settings: str, home: Path) -> tuple[int, str]:
    """Run a program, and return its exit status and its console."""
    ended = subprocess.run(
        [sys.executable, "-c", PREAMBLE + program.format(settings=settings)],
        # botocore would ask the instance for credentials, over the network.
        env={"HOME": str(home), "AWS_EC2_METADATA_DISABLED": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=SOON,
    )
    assert CANARY not in ended.stdout
    return ended.returncode, ended.stdout


def counted(console: str, what: str) -> int:
    """Return how many events the console reports as not accepted for this reason."""
    pattern = rf"^(\d+) events? of .+ (?:was|were) not accepted: {what}; \S+"
    return sum(map(int, re.findall(pattern, console, re.MULTILINE)))


@pytest.mark.parametrize("program", [*ENDINGS.values(), *CALLS.values()], ids=[*ENDINGS, *CALLS])
def test_a_policy_that_forbids(
    service: FakeEventBridge, server: LocalServer, tmp_path: Path, program: str
) -> None:
    """A line says how many events were lost, why, and what to do."""
    service.play(FailRequest("AccessDeniedException", 400, message=CANARY, times=None))
    keys = service.credentials.get_frozen_credentials()
    settings = (
        f"'us-east-1', endpoint_url={server.url!r}, "
        f"credentials=StaticCredentials({keys.access_key!r}, {keys.secret_key!r})"
    )
    status, console = run(program, settings, tmp_path)
    assert status == 0
    assert counted(console, "Rejected, AccessDeniedException") == 100
    assert "allow events:PutPartnerEvents for the credentials that sign" in console
    assert str(keys.secret_key) not in console


@pytest.mark.parametrize("program", ENDINGS.values(), ids=ENDINGS)
def test_no_credentials(server: LocalServer, tmp_path: Path, program: str) -> None:
    """A line says how many events were lost, why, and where to look."""
    status, console = run(program, f"'us-east-1', endpoint_url={server.url!r}", tmp_path)
    assert status == 0
    assert counted(console, "Exhausted, CredentialsError") == 100
    assert "`eventbridge-partner doctor` shows which are used" in console


@pytest.mark.parametrize("program", CALLS.values(), ids=CALLS)
def test_a_call_without_credentials(server: LocalServer, tmp_path: Path, program: str) -> None:
    """The call raises before it sends anything."""
    status, console = run(program, f"'us-east-1', endpoint_url={server.url!r}", tmp_path)
    assert status == 1
    assert "CredentialsError" in console.splitlines()[-1]


ROUTERS = {
    "threads": """
publisher = EventPublisher(RegionRouter(PartnerEventsClient({settings}), {{}}))
publisher.publish_many(EVENTS)
""",
    "on a loop": """
async def main():
    router = AsyncRegionRouter(AsyncPartnerEventsClient({settings}), {{}})
    await AsyncEventPublisher(router).publish_many(EVENTS)

asyncio.run(main())
""",
}


@pytest.mark.parametrize("program", ROUTERS.values(), ids=ROUTERS)
def test_no_region(tmp_path: Path, program: str) -> None:
    """Events that no sender saw are reported too, if their publisher is not closed."""
    status, console = run(program, "'us-east-1'", tmp_path)
    assert status == 0
    assert counted(console, "Rejected, UnknownRegion") == 100
