"""The services of `compose.yaml` work as they would in containers, but without containers."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.patience import SOON

EXAMPLES = Path(__file__).parents[2] / "examples"
COMPOSE: dict[str, Any] = yaml.safe_load((EXAMPLES / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
NAME = socket.gethostname()

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@contextmanager
def running(command: list[str], folder: Path, settings: dict[str, str]) -> Iterator[str]:
    """Run a program with only these settings, and yield the first line that names its port."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = kept | {"PYTHONPATH": str(EXAMPLES.parent)} | settings
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    try:
        yield next(line for line in process.stdout if re.search(r"port \d|:\d", line))
    finally:
        process.terminate()
        process.communicate(timeout=SOON)
    assert process.returncode == 0


def port_in(line: str) -> int:
    return int(re.findall(r"(?:port |:)(\d+)", line)[-1])


def posted(port: int, document: object) -> dict[str, Any]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", json.dumps(document).encode())
    with urllib.request.urlopen(request, timeout=SOON) as answer:
        assert answer.status == 202
        return json.load(answer)


@pytest.fixture
def settings() -> Iterator[dict[str, str]]:
    """The services' settings, with this machine's name in place of the container's."""
    program, *arguments = SERVICES["eventbridge"]["command"]
    assert program == "eventbridge-partner"
    arguments = [re.sub("^--port=.*", "--port=0", argument) for argument in arguments]
    command = [sys.executable, "-m", "eventbridge_partner", *arguments]
    with running(command, EXAMPLES, {}) as line:
        assert "for every machine and container" in line
        told = SERVICES["python"]["environment"]
        assert told == SERVICES["node"]["environment"]
        endpoint = f"http://{NAME}:{port_in(line)}"
        yield told | {
            "AWS_ENDPOINT_URL_EVENTBRIDGE": endpoint,
            "EVENTBRIDGE_PARTNER_INSECURE_HOSTS": NAME,
            "PORT": "0",
        }


@pytest.mark.process
@pytest.mark.slow
def test_the_python_service(settings):
    """Each order that the service takes is accepted as an event by the local service."""
    _, *arguments = SERVICES["python"]["command"]
    with running([sys.executable, *arguments], EXAMPLES / "services", settings) as line:
        found = posted(port_in(line), {"order": 1})
        assert found["outcome"] == "accepted"
        assert found["event_id"]


@pytest.mark.process
@pytest.mark.slow
def test_the_node_service_beside_the_python_service(settings, tmp_path):
    """The AWS SDK for JavaScript sends to the same local service, with the same variables."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("needs Node")
    for name in ("package.json", "orders.mjs"):
        shutil.copy(EXAMPLES / "services" / name, tmp_path)
    install = ["npm", "install", "--no-audit", "--no-fund", "--prefer-offline", "--silent"]
    if subprocess.run(install, cwd=tmp_path, check=False, capture_output=True).returncode:
        pytest.skip("needs a registry of npm")
    with ExitStack() as both:
        node = both.enter_context(running(["node", "orders.mjs"], tmp_path, settings))
        python = both.enter_context(
            running([sys.executable, "orders.py"], EXAMPLES / "services", settings)
        )
        assert posted(port_in(node), {"order": 2})["EventId"]
        assert posted(port_in(python), {"order": 3})["event_id"]


def test_files_of_the_containers_exist():
    """Each file that the Dockerfile copies, and each in a volume, is in the repository."""
    copies = re.findall(r"^COPY (.+) \S+$", (EXAMPLES / "Dockerfile").read_text(), re.MULTILINE)
    for name in " ".join(copies).split():
        assert (EXAMPLES.parent / name).exists(), name
    for volume in SERVICES["node"]["volumes"]:
        assert (EXAMPLES / volume.split(":")[0]).is_file(), volume


def test_settings_name_the_container():
    """The endpoint is the local service's container, the only host that may use http."""
    told = SERVICES["python"]["environment"]
    assert told["EVENTBRIDGE_PARTNER_INSECURE_HOSTS"] == "eventbridge"
    assert told["AWS_ENDPOINT_URL_EVENTBRIDGE"] == "http://eventbridge:8080"
    command = SERVICES["eventbridge"]["command"]
    assert {"--host=0.0.0.0", "--port=8080", f"--region={told['AWS_REGION']}"} <= set(command)
    assert {told["AWS_ACCESS_KEY_ID"], told["AWS_SECRET_ACCESS_KEY"]} <= set(command)
