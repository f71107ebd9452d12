"""The files of the page, and who may get them."""

from __future__ import annotations

import http.client
import re
from pathlib import Path

import pytest

from eventbridge_partner.testing import FakeEventBridge, _page

FOLDER = Path(_page.__file__).parent / "page"


@pytest.fixture
def get(service):
    with service.serve() as server:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=5)

        def get(path, method="GET", **headers):
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read()

        yield get
        connection.close()


@pytest.mark.parametrize(
    ("path", "kind", "name"),
    [
        ("/_page/", "text/html; charset=utf-8", "page.html"),
        ("/_page/?x", "text/html; charset=utf-8", "page.html"),
        ("/_page/page.css", "text/css; charset=utf-8", "page.css"),
        ("/_page/page.js", "text/javascript; charset=utf-8", "page.js"),
    ],
)
def test_three_files_are_served(get, path, kind, name):
    """The page's files have a policy against loading from elsewhere and against frames."""
    status, headers, body = get(path)
    assert (status, headers["content-type"]) == (200, kind)
    assert body == (FOLDER / name).read_bytes()
    assert headers["x-content-type-options"] == "nosniff"
    policy = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


@pytest.mark.parametrize(
    "path",
    ["/_page/page.html", "/_page/../_page.py", "/_page/%2e%2e/_page.py", "/_page//etc/passwd"],
)
def test_there_is_nothing_else(get, path):
    """A path names a listed file, not a place on the disk."""
    assert get(path)[0] == 404


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}],
    ids=str,
)
def test_other_sites_do_not_get_it(get, headers):
    """Requests from other sites are refused, as for control calls."""
    assert get("/_page/", **headers)[0] == 403


def test_the_page_takes_no_other_methods(get):
    """A DELETE of the page gets status 405."""
    assert get("/_page/", "DELETE")[0] == 405


def test_it_can_be_left_out():
    """Without its page, the service still answers control calls."""
    with FakeEventBridge().serve(page=False) as server:
        assert server.page_url is None
        connection = http.client.HTTPConnection(server.host, server.port, timeout=5)
        for path, status in (("/_page/", 404), ("/_control/health", 200)):
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status
        connection.close()


def test_the_files_hold_to_the_policy():
    """The page's files insert no markup, inline no style or script, and name no other address."""
    page, script = (FOLDER / "page.html").read_text(), (FOLDER / "page.js").read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)
    assert not re.search(r"\sstyle=|\son[a-z]+=|<script>|<style", page)
    assert not re.search(r"https?://", page + script + (FOLDER / "page.css").read_text())
    assert sum(len(file.read_text().splitlines()) for file in FOLDER.iterdir()) <= 900
