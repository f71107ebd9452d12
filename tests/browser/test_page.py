"""The local service's page, as people use it."""

from __future__ import annotations

import json
import os
import re
import time
import urllib.parse

import pytest

from eventbridge_partner.testing import FailEntries, FakeEventBridge

# A browser is a process, and each test takes seconds.
pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.slow]

STEADY_SECONDS = float(os.environ.get("PAGE_SECONDS", "4"))
"""How long events keep coming; the documentation's figures were measured with 60."""

LONGEST_TASK = 100 if "PAGE_SECONDS" in os.environ else 250
"""Milliseconds. In the suite, other tests compete for the processor."""

SOURCE = "aws.partner/deskline.example/aurora/support"
ACCOUNT = "123456789012"


def rows(page):
    return page.locator(".row:not([hidden])")


def wait_for_rows(page, shown):
    """Wait until the list shows this count; the page's strict CSP forbids waiting for functions."""
    page.locator("#shown", has_text=re.compile(f"^{re.escape(shown)}$")).wait_for()


def choose(page, place):
    rows(page).nth(place).click()
    page.locator("#view", has_text="{").wait_for()


def test_events_show_as_they_come(page, send, service):
    """New events appear at the top of the list, each with its outcome."""
    service.play(FailEntries("ThrottlingException", indexes=[1]))
    send({"n": 1}, {"n": 2}, {"n": 3})
    wait_for_rows(page, "3 of 3")
    outcomes = [row.locator(".outcome").text_content() for row in sorted_rows(page)]
    assert outcomes == ["accepted", "failed", "accepted"]
    assert "ThrottlingException" in rows(page).nth(1).text_content()
    send({"n": 4}, detail_type="ticket.closed")
    wait_for_rows(page, "4 of 4")
    assert "ticket.closed" in sorted_rows(page)[0].text_content()
    assert "accepted3" in page.locator("#counters").text_content()


def sorted_rows(page):
    found = rows(page).all()
    return sorted(found, key=lambda row: row.bounding_box()["y"])


def test_dropped_events_stand_out(page, send, service):
    """A dropped event is marked, and names the account that will never see it."""
    service.sources.create(SOURCE, ACCOUNT)
    send({"n": 1})
    wait_for_rows(page, "1 of 1")
    choose(page, 0)
    page.locator("#event-line", has_text=f"dropped: PENDING in account {ACCOUNT}").wait_for()
    assert rows(page).first.locator(".dropped").count() == 1


def test_an_event_is_shown_in_three_views(page, send, service):
    """An event is shown as the customer's rule sees it, as it was sent, and with its request."""
    send({"ticket": 7})
    wait_for_rows(page, "1 of 1")
    choose(page, 0)
    customer = json.loads(page.locator("#view").text_content())
    assert (customer["id"], customer["detail"]) == (service.accepted[0].event_id, {"ticket": 7})
    page.get_by_role("tab", name="Entry").click()
    assert json.loads(page.locator("#view").text_content())["Detail"] == '{"ticket":7}'
    page.get_by_role("tab", name="Request").click()
    assert json.loads(page.locator("#view").text_content())["operation"] == "PutPartnerEvents"


def test_the_address_holds_the_filters(page, open_page, send, service):
    """The page's address holds the filters, so a link shows the same list."""
    # A word that cannot occur in an event id: ids are searched too, and are random hexadecimal.
    service.play(FailEntries("InternalFailure", indexes=[0]))
    send({"n": 1}, {"who": "Lovelace"}, {"who": "Grace"})
    wait_for_rows(page, "3 of 3")
    page.select_option("#outcome", "accepted")
    wait_for_rows(page, "2 of 3")
    page.fill("#text", "lovelace")
    wait_for_rows(page, "1 of 3")
    fragment = page.evaluate("location.hash")
    assert dict(urllib.parse.parse_qsl(fragment[1:])) == {"text": "lovelace", "outcome": "accepted"}
    other = open_page(fragment)
    wait_for_rows(other, "1 of 3")
    other.fill("#text", "")
    other.select_option("#outcome", "")
    other.fill("#code", "internal")
    wait_for_rows(other, "1 of 3")
    other.fill("#code", "")
    other.fill("#source", "nobody")
    wait_for_rows(other, "0 of 3")
    assert other.locator("#nothing").is_visible()


def test_pause_holds_the_list_still(page, send):
    """Pause freezes the list, and no event is lost meanwhile."""
    send({"n": 1})
    wait_for_rows(page, "1 of 1")
    page.click("#pause")
    send({"n": 2}, {"n": 3})
    wait_for_rows(page, "1 of 1, 2 waiting")
    page.click("#pause")
    wait_for_rows(page, "3 of 3")


def test_an_event_is_resent(page, send, service):
    """A resent event is a new one, and appears in the list."""
    send({"n": 1})
    wait_for_rows(page, "1 of 1")
    choose(page, 0)
    page.click("#resend")
    wait_for_rows(page, "2 of 2")
    assert [entry.detail for entry in service.accepted] == ['{"n":1}'] * 2


def test_what_a_rule_misses_is_found_and_explained(page, send, service):
    """The count of matches is live, and the page explains why an event does not match."""
    service.play(FailEntries("InternalFailure", indexes=[2]))
    send({"priority": "low"}, {"priority": "high"}, {"priority": "failed, so no rule sees it"})
    wait_for_rows(page, "3 of 3")
    page.get_by_role("tab", name="Pattern").click()
    page.fill("#pattern", '{"detail": {"priority": ["high"]}}')
    page.locator("#pattern-count", has_text="matches 1 of 2 accepted events").wait_for()
    send({"priority": "high"})
    page.locator("#pattern-count", has_text="matches 2 of 3 accepted events").wait_for()
    page.select_option("#rule", "miss")
    wait_for_rows(page, "1 of 4")
    rows(page).first.click()
    page.locator("#mismatches", has_text='detail.priority is "low"; wanted: ["high"]').wait_for()
    page.fill("#pattern", '{"detail": {"priority": [{"x": 1}]}}')
    page.locator("#pattern-count.error", has_text="found the operator 'x'").wait_for()


def test_a_rule_counts_an_event_once(page, send):
    """However many questions about the same events are under way."""
    held = []

    def hold_two(asked):
        if len(held) < 2:
            held.append(asked)
        else:
            asked.continue_()

    page.route("**/_control/match", hold_two)
    send({"priority": "low"}, {"priority": "high"})
    wait_for_rows(page, "2 of 2")
    page.get_by_role("tab", name="Pattern").click()
    with page.expect_request("**/_control/match"):
        page.fill("#pattern", '{"detail": {"priority": ["high"]}}')
    send({"priority": "high"})
    while len(held) < 2:
        page.wait_for_timeout(10)
    for asked in tuple(held):
        with page.expect_response("**/_control/match"):
            asked.continue_()
    page.locator("#pattern-count", has_text="matches 2 of 3 accepted events").wait_for()
    send({"priority": "low"})
    page.locator("#pattern-count", has_text="matches 2 of 4 accepted events").wait_for()


def test_customers_act_on_sources(page, service):
    """The page offers the actions that a source's state allows, and shows its new state."""
    service.sources.create(SOURCE, ACCOUNT)
    page.get_by_role("tab", name="Sources").click()
    item = page.locator("#sources li")
    item.locator("b", has_text="PENDING").wait_for()
    assert item.get_by_role("button", name="deactivate", exact=True).is_disabled()
    item.get_by_role("button", name="associate").click()
    item.locator("b", has_text="ACTIVE").wait_for()
    assert service.sources.get(SOURCE, ACCOUNT).state == "ACTIVE"
    service.sources.delete(SOURCE, ACCOUNT)  # by the partner meanwhile
    item.locator("b", has_text="DELETED").wait_for()


def test_faults_are_set_while_it_runs(page, send, service):
    """Faults can be set while the service runs, by slider and by script."""
    page.get_by_role("tab", name="Faults").click()
    page.locator("#throttle").fill("1")
    page.locator("#faults li", has_text="ThrottlingException").wait_for()
    send({"n": 1})
    assert service.accepted_count == 0
    page.click("#clear-faults")
    page.locator("#fault-done", has_text="stopped").wait_for()
    page.fill("#script", '[{"fault": "FailEntries", "code": "X"}]')
    page.click("#play")
    page.locator("#faults li", has_text='"X"').wait_for()
    assert [fault.code for fault in service.faults] == ["X"]
    page.fill("#script", '[{"fault": "Nothing"}]')
    page.click("#play")
    page.locator("#fault-done.error", has_text="allowed: FailEntries").wait_for()


def test_clear_forgets_all_events(page, send, service):
    """Clear forgets all events; later ones appear."""
    send({"n": 1}, {"n": 2})
    wait_for_rows(page, "2 of 2")
    page.click("#forget")
    wait_for_rows(page, "0 of 0")
    assert service.accepted == ()
    send({"n": 3})
    wait_for_rows(page, "1 of 1")


def test_the_keyboard_is_enough(page, send):
    """Arrows choose an event, Escape deselects it, and slash focuses the filter."""
    send(*({"n": number} for number in range(200)))
    wait_for_rows(page, "200 of 200")
    page.focus("#list")
    page.keyboard.press("ArrowDown")
    page.locator("#view", has_text='"n": ').wait_for()
    first = page.locator("#view").text_content()
    page.keyboard.press("End")
    page.locator(".row[aria-selected=true]").wait_for()
    page.locator("#event-title").wait_for()
    assert page.evaluate("document.getElementById('list').scrollTop") > 1000
    page.keyboard.press("Home")
    page.locator("#view", has_text=first).wait_for()
    page.keyboard.press("Escape")
    page.locator("#choose").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("x")
    assert page.input_value("#text") == "x"
    page.focus("#tab-event")
    page.keyboard.press("ArrowRight")
    assert page.locator("#panel-pattern").is_visible()


def test_copies_are_ready_to_paste(open_page, send):
    """An event is copied as JSON, as an AWS CLI command, or as a pytest assertion."""
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    send({"name": "Ada's", "urgent": True, "none": None})
    wait_for_rows(page, "1 of 1")
    choose(page, 0)

    def copied(button):
        page.click(button)
        page.locator("#done", has_text="copied").wait_for()
        return page.evaluate("navigator.clipboard.readText()")

    assert json.loads(copied("#copy-json"))["detail"]["name"] == "Ada's"
    command = copied("#copy-aws")
    assert command.startswith("aws events test-event-pattern --event-pattern '{")
    assert "Ada'\\''s" in command
    assertion = copied("#copy-pytest")
    compile(assertion, "pasted", "exec")
    assert 'detail={"name": "Ada\'s", "urgent": True, "none": None}' in assertion


HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def test_markup_stays_text(page, send):
    """Markup in a detail type, a detail or a member name is shown as text."""
    page.on("dialog", lambda dialog: pytest.fail("markup was executed"))
    send({HOSTILE: HOSTILE, "rtl": "\u202eمرحبا"}, detail_type=HOSTILE)
    wait_for_rows(page, "1 of 1")
    choose(page, 0)
    assert page.locator("#event-title").text_content() == HOSTILE
    assert HOSTILE in page.locator("#view").text_content()
    assert page.locator("img, #view *, .row script").count() == 0


def test_the_largest_detail_is_shown(open_page, send):
    """A detail of 1 MB is shown in part without a long task, and copied whole."""
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    send({"start": "CANARY", "text": "x" * 1_000_000, "end": "LAST"})
    wait_for_rows(page, "1 of 1")
    page.evaluate("window.longTasks.length = 0")
    rows(page).first.click()
    page.locator("#view", has_text="more characters").wait_for()
    assert page.evaluate("Math.max(0, ...window.longTasks)") <= LONGEST_TASK
    assert "CANARY" in page.locator("#view").text_content()
    page.click("#copy-json")
    page.locator("#done", has_text="copied").wait_for()
    assert json.loads(page.evaluate("navigator.clipboard.readText()"))["detail"]["end"] == "LAST"


def test_a_restart_of_the_service_is_survived(page, server, send, service):
    """After a restart, the page reconnects and shows the new service's events."""
    send({"n": 1}, {"n": 2})
    wait_for_rows(page, "2 of 2")
    server.close()
    page.locator("#connection.lost").wait_for()
    again = FakeEventBridge()
    again.send_again({"Source": SOURCE, "DetailType": "after", "Detail": "{}"})
    with again.serve(port=server.port):
        page.locator("#connection", has_text="live").wait_for()
        wait_for_rows(page, "1 of 1")
        assert "after" in rows(page).first.text_content()


def test_nothing_is_missed_while_the_connection_is_lost(page, server, send, service):
    """After reconnecting, the page continues after the last event that it has."""
    send({"n": 1})
    wait_for_rows(page, "1 of 1")
    server.close()
    send({"n": 2}, {"n": 3})
    with service.serve(port=server.port):
        wait_for_rows(page, "3 of 3")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_no_serious_barriers(open_page, send, service, scheme, width):
    """axe-core finds no serious barrier in any panel, and nothing is wider than the screen."""
    from axe_playwright_python.sync_playwright import Axe

    page = open_page(viewport={"width": width, "height": 740}, color_scheme=scheme)
    service.play(FailEntries("InternalFailure", indexes=[0]))
    service.sources.create(SOURCE, ACCOUNT)
    send({"n": 1}, {"n": 2})
    wait_for_rows(page, "2 of 2")
    choose(page, 0)
    for panel in ("Event", "Pattern", "Sources", "Faults"):
        page.get_by_role("tab", name=panel, exact=True).click()
        found = Axe().run(page).response["violations"]
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        assert serious == [], json.dumps(serious, indent=1)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_ten_thousand_events_and_then_a_steady_stream(open_page, send, service):
    """No task takes long, the heap stays below 100 MB, and the DOM stays small."""
    padding = "x" * 400
    for start in range(0, 10_000, 1000):
        send(*({"n": start + place, "text": padding} for place in range(1000)))
    page = open_page()
    wait_for_rows(page, "10,000 of 10,000")
    page.get_by_role("tab", name="Pattern").click()
    page.fill("#pattern", '{"detail": {"n": [{"numeric": [">", 9000]}]}}')
    page.locator("#pattern-count", has_text="events").wait_for()
    page.evaluate("window.longTasks.length = 0")
    ends = time.monotonic() + STEADY_SECONDS
    sent = 0
    while time.monotonic() < ends:
        send(*({"n": sent + place, "text": padding} for place in range(20)))
        sent += 20
        page.wait_for_timeout(100)
    page.locator("#counters", has_text=f"accepted{10_000 + sent:,}").wait_for()
    assert page.evaluate("Math.max(0, ...window.longTasks)") <= LONGEST_TASK
    page.evaluate("gc()")
    assert page.evaluate("performance.memory.usedJSHeapSize") < 100e6
    assert rows(page).count() < 60
