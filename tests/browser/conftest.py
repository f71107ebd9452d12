"""A real Chromium, with the page of a local service."""

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


# No longer than the module: its event loop runs on this thread, and other tests need their own.
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
    """Return a function that sends events with the given details, in process."""
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
    """Return a function that opens the page; console messages and script errors fail the test."""
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
    # The browser's own messages about a service that is down, or that refuses the input.
    expected = ("ERR_", "status of 400")
    assert [line for line in said if not any(word in line for word in expected)] == []


@pytest.fixture
def page(open_page: Any) -> Any:
    return open_page()
