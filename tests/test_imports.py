"""Importing the package loads nothing heavy, and a client loads only what a send needs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

PROGRAM = """
import json, sys
import eventbridge_partner
from eventbridge_partner import PartnerEvent, PartnerEventsClient
{code}
print(json.dumps(sorted(sys.modules)))
"""
CLIENT = """
Given = type("Given", (), {"get_frozen_credentials": None})
client = PartnerEventsClient("us-east-1", credentials=Given())
"""
LOOK_UP = "client.look_up()\n"
TEST_TOOLS = {"boto3", "hypothesis", "moto", "pytest", "responses", "rich", "sybil"}


def loaded(code=""):
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(code=code)],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(json.loads(finished.stdout))


@pytest.fixture(scope="module")
def with_package():
    return loaded()


@pytest.mark.parametrize(
    "name",
    [
        *("requests", "urllib3", "botocore", "tenacity", "cattrs", "asyncio", "ssl", "http.client"),
        *sorted(TEST_TOOLS),
        "eventbridge_partner.transports.requests",
        "eventbridge_partner.testing",
        "eventbridge_partner.cli",
        "eventbridge_partner.doctor",
    ],
)
def test_package_does_not_load(with_package, name):
    """Importing the package does not load what only a send needs."""
    assert name not in with_package


def test_making_events_loads_nothing_more(with_package):
    """Making events of mappings or text imports neither cattrs nor any other library."""
    events = loaded(
        "PartnerEvent('aws.partner/a/b', 't', {'a': [1, 2.5, None, 'é']})\n"
        "PartnerEvent('aws.partner/a/b', 't', '{}')\n"
    )
    more = {name.partition(".")[0] for name in events - with_package}
    assert more <= {"eventbridge_partner", "json", "_json"}


def test_making_a_client_loads_nothing_more(with_package):
    """Making a client imports nothing, because look-ups wait for the first use."""
    assert loaded(CLIENT) - with_package <= {"eventbridge_partner"}


def test_the_first_use_loads_what_a_send_needs():
    """With all settings in the environment, the first use loads urllib3 but not botocore."""
    names = loaded(CLIENT + LOOK_UP)
    assert "urllib3" in names
    unwanted = {"botocore", "requests", "tenacity", "cattrs", "asyncio", *TEST_TOOLS}
    assert not unwanted & names


def test_a_command_loads_no_other(tmp_path):
    """The command `check` loads neither the local service nor what sends."""
    (tmp_path / "events.jsonl").touch()
    check = "from eventbridge_partner.cli import main; main(['check', {file!r}])"
    names = loaded(
        f"import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()):\n"
        f" {check.format(file=str(tmp_path / 'events.jsonl'))}\n"
    )
    assert "eventbridge_partner.cli._check" in names
    assert (
        not {
            "eventbridge_partner.cli._send",
            "eventbridge_partner.cli._serve",
            "eventbridge_partner.testing",
            "requests",
            "urllib3",
        }
        & names
    )


def test_settings_in_files_load_botocore(tmp_path, monkeypatch):
    """Settings in files load botocore's session, and nothing of the C runtime."""
    (tmp_path / "config").touch()
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    names = loaded(CLIENT + LOOK_UP)
    assert "botocore.session" in names
    assert not {"tenacity", "cattrs", "asyncio", "awscrt", *TEST_TOOLS} & names


def test_a_given_transport_needs_no_requests():
    """With a given transport, the default one is not loaded."""
    given = "import types; transport = types.SimpleNamespace(send=None)"
    client = CLIENT.replace("credentials=", "transport=transport, credentials=")
    names = loaded(given + client + LOOK_UP)
    assert "eventbridge_partner.transports.requests" not in names


SENDING = """
import sys
from eventbridge_partner import PartnerEvent, PartnerEventsClient
from eventbridge_partner.testing import FailEntries, FakeEventBridge, LoseAnswer

service = FakeEventBridge()
with service.serve() as server:
    client = PartnerEventsClient(
        "us-east-1", endpoint_url=server.url, credentials=service.credentials
    )
    client.look_up()
    before = set(sys.modules)
    service.play(FailEntries("ThrottlingException", indexes=[0]), LoseAnswer())
    client.put_events([PartnerEvent("aws.partner/a/b", "t", {})] * 30)
    print(sorted(set(sys.modules) - before))
"""


@pytest.mark.process
def test_a_send_imports_nothing() -> None:
    """A send imports nothing: a fork during an import hangs, and no descriptors make it fail."""
    finished = subprocess.run(
        [sys.executable, "-c", SENDING], check=True, capture_output=True, text=True
    )
    assert finished.stdout.strip() == "[]"
