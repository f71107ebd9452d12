"""Runs the program in process, with a service for it to send to."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventbridge_partner.cli import main
from eventbridge_partner.testing import FakeEventBridge
from tests.cli.program import Ended, Run


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the program in an empty directory, in process."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, stdin: str | bytes = b"") -> Ended:
        given = stdin if isinstance(stdin, bytes) else stdin.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(given))))
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        captured = capsys.readouterr()
        return Ended(status, captured.out, captured.err)

    return run


@pytest.fixture
def service() -> FakeEventBridge:
    return FakeEventBridge()


@pytest.fixture
def endpoint(service: FakeEventBridge, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serves the service over HTTP, and sets the environment as its user would."""
    with service.serve() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", server.url)
        monkeypatch.setenv("AWS_REGION", service.region)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", str(service.credentials.access_key))
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", str(service.credentials.secret_key))
        yield server.url
