"""The manifests on the page about readiness match its recipes and the code."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import yaml

from eventbridge_partner import AsyncEventPublisher, EventPublisher

PAGE = (Path(__file__).parents[2] / "docs/how-to/probe-readiness.md").read_text()
MANIFESTS: list[dict[str, Any]] = [
    yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
]


def test_probes_ask_what_the_recipes_serve():
    """The probes ask for the recipes' route, and none is a liveness probe."""
    assert [list(manifest) for manifest in MANIFESTS] == [["readinessProbe"], ["startupProbe"]]
    routes = set(re.findall(r'@\w+\.get\("([^"]+)"\)', PAGE))
    asked = {probe["httpGet"]["path"] for manifest in MANIFESTS for probe in manifest.values()}
    assert asked == routes


def test_probes_wait_for_the_answer():
    """A probe waits longer than `readiness` may take, so that the reasons arrive."""
    for kind in (EventPublisher, AsyncEventPublisher):
        longest = inspect.signature(kind.readiness).parameters["timeout"].default
        for manifest in MANIFESTS:
            (probe,) = manifest.values()
            assert probe["timeoutSeconds"] > longest
