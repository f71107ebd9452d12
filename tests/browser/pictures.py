"""
Takes the documentation's screenshots of the page, with the example's events.

    python -m tests.browser.pictures
"""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from eventbridge_partner import PartnerEvent, PartnerEventsClient, RetryPolicy
from eventbridge_partner.cli._input import EntryReader
from eventbridge_partner.testing import FailEntries, FakeEventBridge
from tests.browsers import found_browser

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/how-to"
ACCOUNT = "123456789012"
PENDING = "kaffeekontor-nord"
PATTERN = """{
  "detail-type": ["ticket.created"],
  "detail": {
    "priority": [{"anything-but": "low"}],
    "channel": ["email"]
  }
}"""


def main() -> None:
    """Send the events, and take one screenshot of the list and one of a pattern."""
    with (ROOT / "examples/tickets.jsonl").open("rb") as file:
        events = [entry.event for entry in EntryReader(file) if entry.event is not None]
    service = FakeEventBridge(seed=3)
    for source in {event.source for event in events}:
        service.sources.create(source, ACCOUNT)
        if PENDING not in source:
            service.sources.associate(source, ACCOUNT)
    service.play(FailEntries("ThrottlingException", entry_share=0.05, times=None))
    _send(service, events)
    with service.serve() as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found_browser(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 640})
        page.goto(str(server.page_url))
        _choose(page, "ticket.created")
        page.screenshot(path=FOLDER / "workbench.png")
        page.get_by_role("tab", name="Pattern").click()
        page.fill("#pattern", PATTERN)
        page.locator("#pattern-count", has_text="matches").wait_for()
        page.select_option("#rule", "miss")
        _choose(page, "ticket.created")
        page.locator("#mismatches li", has_text="wanted").first.wait_for()
        page.screenshot(path=FOLDER / "workbench-pattern.png")
        browser.close()


def _send(service: FakeEventBridge, events: list[PartnerEvent]) -> None:
    with PartnerEventsClient(
        service.region,
        credentials=service.credentials,
        transport=service.transport(),
        retry=RetryPolicy().with_max_attempts(1),
    ) as client:
        client.put_events(events)


def _choose(page: Page, detail_type: str) -> None:
    page.locator(".row .accepted").first.wait_for()
    rows = page.locator(".row:not([hidden])").filter(has=page.locator(".accepted"))
    rows.filter(has_text=detail_type).filter(has_text="northwind").first.click()
    page.locator("#view", has_text="detail-type").wait_for(state="attached")
    page.wait_for_timeout(500)


if __name__ == "__main__":
    main()
