"""The faults that the page on the workbench shows can be pasted into the workbench."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

from eventbridge_partner.testing import FakeEventBridge
from tests.patience import SOON

PAGE = (Path(__file__).parents[2] / "docs/how-to/use-the-workbench.md").read_text()


def test_faults_can_be_played():
    """The service takes them over HTTP, as its page sends them."""
    (block,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    faults = json.loads(block)
    with FakeEventBridge().serve() as server:
        request = urllib.request.Request(
            f"{server.url}/_control/faults",
            json.dumps({"play": faults}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=SOON) as answer:
            in_force = json.load(answer)["faults"]
    assert [fault["fault"] for fault in in_force] == [fault["fault"] for fault in faults]
