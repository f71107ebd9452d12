"""
Fixtures for testing code that sends partner events.

pytest loads this module in every environment that has the package installed, before coverage
starts. So it imports only pytest, and the rest when a fixture is used.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from eventbridge_partner import AsyncPartnerEventsClient, PartnerEventsClient
    from eventbridge_partner.outbox import SqliteOutbox
    from eventbridge_partner.testing import FakeEventBridge, Fault, LocalServer

FAULT_NAMES: Final = (
    "an entry is throttled",
    "an entry is rejected",
    "a source is gone",
    "a request is throttled",
    "a request fails",
    "access is denied",
    "a proxy answers",
    "the token is expired",
    "the clock is wrong",
    "a connection closes",
    "an answer is lost",
    "an answer is cut",
    "an answer is garbled",
    "an answer is too short",
    "an answer is miscounted",
    "a result is blank",
    "an answer is empty",
    "an answer is slow",
)
"""The keys of `EVERY_FAULT`, so that collecting tests need not import it."""

ACCOUNT: Final = "123456789012"
"""The customer's account for the sources that a marker names."""

_MARKER: Final = (
    "eventbridge(faults=(), sources={}, seed=0, unplayed='fail'): the faults and the sources of "
    "the test's local service; see eventbridge_partner.testing"
)
_SETTINGS: Final = {"faults": (), "sources": {}, "seed": 0, "unplayed": "fail"}
_STATES: Final = ("PENDING", "ACTIVE", "DELETED")
_FAILED: Final = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--eventbridge-keep`."""
    parser.getgroup("eventbridge").addoption(
        "--eventbridge-keep",
        metavar="FILE",
        help="write the events accepted in failed tests, as customers' rules see them, to a file "
        "of JSON Lines",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and empty the file of `--eventbridge-keep`."""
    config.addinivalue_line("markers", _MARKER)
    file = config.getoption("--eventbridge-keep")
    if file and not hasattr(config, "workerinput"):  # workers of pytest-xdist append to it
        try:
            Path(file).write_bytes(b"")
        except OSError as error:
            raise pytest.UsageError(
                f"--eventbridge-keep: cannot write {file}: {error.strerror}"
            ) from error


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember whether a test failed, for the fixtures that it used."""
    report = yield
    if report.when in ("setup", "call"):
        item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    return report


@pytest.fixture
def eventbridge(request: pytest.FixtureRequest) -> Iterator[FakeEventBridge]:
    """The local service, new for each test; the marker `eventbridge` sets what it does."""
    from eventbridge_partner.testing import FakeEventBridge

    settings = _settings_of(request.node)
    service = FakeEventBridge(seed=settings["seed"])
    _create_sources(service, settings["sources"])
    service.play(*settings["faults"])
    yield service
    has_failed = request.node.stash.get(_FAILED, False)
    if has_failed:
        _keep(service, request.config.getoption("--eventbridge-keep"))
    elif settings["unplayed"] == "fail":
        _fail_of_unplayed(service, settings["faults"])


@pytest.fixture
def eventbridge_client(eventbridge: FakeEventBridge) -> Iterator[PartnerEventsClient]:
    """A client that calls the service in process, and does not wait before a retry."""
    from eventbridge_partner import PartnerEventsClient, RetryPolicy

    with PartnerEventsClient(
        eventbridge.region,
        credentials=eventbridge.credentials,
        transport=eventbridge.transport(sleep=lambda _: None),
        retry=RetryPolicy(wait=_no_wait, throttle_wait=_no_wait),
    ) as client:
        yield client


@pytest.fixture
def eventbridge_server(eventbridge: FakeEventBridge) -> Iterator[LocalServer]:
    """The service over HTTP, on a free port of the loopback interface."""
    with eventbridge.serve() as server:
        yield server


@pytest.fixture
def eventbridge_async_client(
    eventbridge: FakeEventBridge, eventbridge_server: LocalServer
) -> Iterator[AsyncPartnerEventsClient]:
    """A client for asyncio, over HTTP: use it in `async with` in the test."""
    from eventbridge_partner import AsyncPartnerEventsClient, RetryPolicy
    from eventbridge_partner.transports.aiohttp import AiohttpTransport

    opened: list[object] = []

    class Watched(AiohttpTransport):
        """Knows whether it was closed after its last use."""

        def flights(self) -> Any:
            opened[:] = [self]
            return super().flights()

        async def close(self) -> None:
            opened.clear()
            await super().close()

    yield AsyncPartnerEventsClient(
        eventbridge.region,
        endpoint_url=eventbridge_server.url,
        credentials=eventbridge.credentials,
        transport=Watched,
        retry=RetryPolicy(wait=_no_wait, throttle_wait=_no_wait),
    )
    if opened:
        pytest.fail(
            "eventbridge_async_client was left open: "
            "use it in `async with eventbridge_async_client:`",
            pytrace=False,
        )


@pytest.fixture
def eventbridge_environment(
    eventbridge: FakeEventBridge,
    eventbridge_server: LocalServer,
    monkeypatch: pytest.MonkeyPatch,
) -> LocalServer:
    """Environment variables that point AWS SDKs at the service, for code with its own client."""
    for name in tuple(os.environ):
        if name.upper().startswith("AWS_") or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    credentials = eventbridge.credentials
    values = {
        "AWS_ENDPOINT_URL_EVENTBRIDGE": eventbridge_server.url,
        "AWS_REGION": eventbridge.region,
        "AWS_DEFAULT_REGION": eventbridge.region,
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return eventbridge_server


@pytest.fixture
def eventbridge_outbox(tmp_path: Path) -> Iterator[SqliteOutbox]:
    """An empty outbox in a SQLite file of the test's own, with its tables created."""
    from eventbridge_partner.outbox import SqliteOutbox

    with SqliteOutbox(tmp_path / "outbox.sqlite") as outbox:
        outbox.create()
        yield outbox


@pytest.fixture(params=FAULT_NAMES)
def eventbridge_fault(
    request: pytest.FixtureRequest, eventbridge: FakeEventBridge
) -> Iterator[Fault]:
    """Run the test once for each kind of fault; the service plays it."""
    from eventbridge_partner.testing import EVERY_FAULT

    fault = EVERY_FAULT[request.param]
    eventbridge.play(fault)
    yield fault
    if (
        not request.node.stash.get(_FAILED, False)
        and _settings_of(request.node)["unplayed"] == "fail"
    ):
        _fail_of_unplayed(eventbridge, [fault])


def _no_wait(_: object) -> float:
    return 0.0


def _settings_of(node: pytest.Item) -> dict[str, Any]:
    """Return the markers' settings; for each, the marker nearest to the test counts."""
    settings: dict[str, Any] = dict(_SETTINGS)
    for marker in reversed([*node.iter_markers("eventbridge")]):
        unknown = sorted(set(marker.kwargs) - set(_SETTINGS))
        if marker.args or unknown:
            found = ", ".join([*map(repr, marker.args), *unknown])
            raise pytest.UsageError(
                f"marker eventbridge: found {found}; allowed: {', '.join(_SETTINGS)}, by name"
            )
        settings |= marker.kwargs
    if settings["unplayed"] not in ("fail", "allow"):
        raise pytest.UsageError(
            f"marker eventbridge: unplayed is {settings['unplayed']!r}; allowed: 'fail', 'allow'"
        )
    return settings


def _create_sources(service: FakeEventBridge, states: dict[str, str]) -> None:
    for name, state in states.items():
        if state not in _STATES:
            raise pytest.UsageError(
                f"marker eventbridge: the state of {name} is {state!r}; allowed: "
                f"{', '.join(_STATES)}"
            )
        service.sources.create(name, ACCOUNT)
        if state != "PENDING":
            service.sources.associate(name, ACCOUNT)
        if state == "DELETED":
            service.sources.delete(name, ACCOUNT)


def _fail_of_unplayed(service: FakeEventBridge, faults: Any) -> None:
    given = [*faults]
    unplayed = [fault for fault in service.unplayed_faults if any(fault is one for one in given)]
    if unplayed:
        pytest.fail(
            f"never played: {', '.join(map(repr, unplayed))}; if that is intended: "
            "@pytest.mark.eventbridge(unplayed='allow')",
            pytrace=False,
        )


def _keep(service: FakeEventBridge, file: str | None) -> None:
    """Append the accepted events, as customers' rules see them."""
    if not file:
        return
    from eventbridge_partner.testing import customer_event

    lines: list[str] = []
    for entry in service.accepted:
        try:
            event = customer_event(entry, account=ACCOUNT, region=service.region)
        except ValueError:  # a time that an envelope cannot express
            continue
        lines.append(json.dumps(event, ensure_ascii=False) + "\n")
    with Path(file).open("ab") as kept:
        kept.write("".join(lines).encode())
