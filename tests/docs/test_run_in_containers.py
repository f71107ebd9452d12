"""What the page on containers adds to `compose.yaml` fits in there, and starts a service."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from eventbridge_partner.cli import _parser

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/run-in-containers.md").read_text()


def test_the_page_of_the_service_can_be_mapped():
    """The options are those of `serve`; ports and hosts are the same on both sides of the map."""
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    added: dict[str, Any] = yaml.safe_load(block)
    compose = yaml.safe_load((ROOT / "examples/compose.yaml").read_text())
    service = compose["services"]["eventbridge"]
    program, *arguments = added["command"]
    assert program == service["command"][0]
    serve = _parser(arguments).parse_args(arguments)
    (mapped,) = added["ports"]
    assert mapped.split(":") == [
        "127.0.0.1",
        serve.trust_host[0].rpartition(":")[2],
        str(serve.port),
    ]
    assert f"--port={serve.port}" in service["command"]
