"""A real Chromium, and the page of a local service in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from eventbridge_partner import PartnerEvent, PartnerEventsClient, RetryPolicy
from eventbridge_partner.testing import FakeEventBridge, LocalServer
from tests.browsers import found_browser

SOURCE = "aws.partner/deskline.example/aurora/support"

LONG_TASKS = """
window.longTasks = [];
new PerformanceObserver((list) => {
  for (const task of list.getEntries()) window.longTasks.push(task.duration);
}).observe({ type: "longtask", buffered: true });
"""


# For the module and no longer: its event loop runs on this thread, and other tests want their own.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # --no-sandbox: the gate runs as root.
        browser = playwright.chromium.launch(
            executable_path=found_browser(),
            args=["--no-sandbox", "--enable-precise-memory-info", "--js-flags=--expose-gc"],
        )
        yield browser
        browser.close()


@pytest.fixture
def service() -> FakeEventBridge:
    return FakeEventBridge(keep=10_000, keep_bytes=64 * 1024 * 1024)


@pytest.fixture
def server(service: FakeEventBridge) -> Iterator[LocalServer]:
    with service.serve() as server:
        yield server


@pytest.fixture
def send(service: FakeEventBridge) -> Iterator[Any]:
    """Send events in process, with these details."""
    with PartnerEventsClient(
        service.region,
        credentials=service.credentials,
        transport=service.transport(),
        retry=RetryPolicy().with_max_attempts(1),
    ) as client:

        def send(*details: Any, detail_type: str = "ticket.created", source: str = SOURCE) -> None:
            client.put_events([PartnerEvent(source, detail_type, detail) for detail in details])

        yield send


@pytest.fixture
def open_page(chromium: Any, server: LocalServer) -> Iterator[Any]:
    """Open the page; it must say nothing in the console, and no script may fail."""
    contexts = []
    said: list[str] = []

    def open_page(fragment: str = "", **settings: Any) -> Any:
        context = chromium.new_context(**({"viewport": {"width": 1280, "height": 800}} | settings))
        contexts.append(context)
        context.add_init_script(LONG_TASKS)
        page = context.new_page()
        page.set_default_timeout(45_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(f"{server.page_url}{fragment}")
        page.locator("#connection", has_text="live").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    # A browser's own words on a service that is away, or that refuses what somebody typed.
    expected = ("ERR_", "status of 400")
    assert [line for line in said if not any(word in line for word in expected)] == []


@pytest.fixture
def page(open_page: Any) -> Any:
    return open_page()
