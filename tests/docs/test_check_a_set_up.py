"""What the page on `doctor` shows of a container at AWS is what `doctor` prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from eventbridge_partner.cli import main
from eventbridge_partner.testing import FailRequest, FakeEventBridge
from tests.docs.blocks import is_shown

PAGE = (Path(__file__).parents[2] / "docs/how-to/check-a-set-up.md").read_text()
COMMAND, *SHOWN = PAGE.partition("```console\n$ ")[2].partition("```")[0].splitlines()
VERSION = re.compile(r"\b\d+(\.\d+)+\S*(?=,)")


def doctor(capsys: pytest.CaptureFixture[str], *more: str) -> list[str]:
    program, *arguments = COMMAND.split()
    assert program == "eventbridge-partner"
    main([*arguments, *more])
    return "".join(capsys.readouterr()).splitlines()


def shown_in(shown: str, printed: list[str]) -> bool:
    return any(is_shown(VERSION.sub("N", shown), VERSION.sub("N", line)) for line in printed)


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines about the settings of the page, and about a service that denies the request."""
    service = FakeEventBridge("eu-west-1", session_token="token")
    service.play(FailRequest("AccessDeniedException", 400, operations=["ListPartnerEventSources"]))
    monkeypatch.setenv("AWS_REGION", service.region)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", str(service.credentials.access_key))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", str(service.credentials.secret_key))
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.internal:3128")
    offline = doctor(capsys, "--offline")
    with service.serve() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", server.url)
        return [*offline, *doctor(capsys)]


def test_what_is_shown_is_printed(printed):
    """Line for line, but for the credentials: no container has a role here."""
    wording = "User … is not authorized …"  # AWS's own
    lines = [line.replace(wording, "…") for line in SHOWN]
    assert [line for line in lines if not shown_in(line, printed)] == [
        line for line in lines if "the role of the container" in line
    ]
