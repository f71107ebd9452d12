"""The commands of the outbox tutorial do in a shell what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from eventbridge_partner.outbox import SqliteOutbox
from eventbridge_partner.testing import FakeEventBridge

TUTORIAL = Path(__file__).parents[2] / "docs/tutorial-outbox.md"


@pytest.mark.slow
@pytest.mark.process
def test_its_commands(tmp_path):
    """The commands after the installation store an event and deliver it."""
    _, store, relay = re.findall(r"```bash\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)
    SqliteOutbox(tmp_path / "shop.db").create()
    service = FakeEventBridge()
    with service.serve() as server:
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "AWS_ENDPOINT_URL_EVENTBRIDGE": server.url,
            "AWS_REGION": service.region,
            "AWS_ACCESS_KEY_ID": str(service.credentials.access_key),
            "AWS_SECRET_ACCESS_KEY": str(service.credentials.secret_key),
        }
        ended = subprocess.run(
            ["bash", "-euc", store + relay],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    assert "1 put into the outbox" in ended.stderr
    assert "1 event accepted in 0 s" in ended.stderr
    assert ended.stdout.splitlines()[1].split()[0] == "1"
    assert [one.detail for one in service.accepted] == ['{"order":7}']
