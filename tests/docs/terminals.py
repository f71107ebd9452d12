"""What a reader of a page has open: a shell, the local service, and the servers of the page."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from unittest import SkipTest

from eventbridge_partner.testing import FakeEventBridge
from tests.patience import SOON, until

ROOT = Path(__file__).parents[2]

_INSTALLS = re.compile(r"(?:python3 -m venv|\S*pip install) [^&\n]*?(?: && |\n|\Z)")
_SERVER = re.compile(r"eventbridge-partner (serve|relay)\b(?!.* --once)[^\n]*")


class Terminals:
    """What a reader of a page has open: a shell, the local service, and what `serve` runs."""

    def __init__(self, outbox: str = "") -> None:
        self.printed = ""
        self._outbox = outbox
        self._at_the_end = contextlib.ExitStack()
        service = FakeEventBridge()
        server = self._at_the_end.enter_context(service.serve())
        self._environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "AWS_ENDPOINT_URL_EVENTBRIDGE": server.url,
            "AWS_REGION": service.region,
            "AWS_ACCESS_KEY_ID": str(service.credentials.access_key),
            "AWS_SECRET_ACCESS_KEY": str(service.credentials.secret_key),
        }
        # As in a clone with its environment.
        Path(".venv").symlink_to(sys.prefix)
        Path("examples").symlink_to(ROOT / "examples")

    def enter(self, commands: str, *, status: int = 0) -> None:
        """Run commands, or start a server and enter the lines that it prints."""
        commands = self._in_tests(commands).strip()
        assert commands, "it only installs; say so: <!-- not run: REASON -->"
        for tool in ("jq", "node"):
            if re.search(rf"\b{tool}\b", commands) and not shutil.which(tool):
                raise SkipTest(f"needs {tool}")
        match _SERVER.fullmatch(commands):
            case None:
                self._run(commands, status)
            case server if server[1] == "serve":
                self._serve(commands)
            case _:
                self._relay(commands)

    def close(self) -> None:
        """End what still runs by Ctrl-C; it must end well."""
        self._at_the_end.close()

    def _in_tests(self, commands: str) -> str:
        """Return commands that touch nothing outside of the test."""
        service = self._environment["AWS_ENDPOINT_URL_EVENTBRIDGE"]
        commands = _INSTALLS.sub("", commands)  # the tests run where everything is installed
        commands = commands.replace("--port 8765", "--port 0")  # and beside each other
        commands = commands.replace("http://127.0.0.1:8765", service)
        commands = commands.replace("/run/relay/", "")
        return commands.replace("postgresql://owner@db.internal/shop", shlex.quote(self._outbox))

    def _run(self, commands: str, status: int) -> None:
        shell = self._start(
            *("bash", "-euo", "pipefail", "-c"),
            f"trap 'env -0 > .environment' EXIT\n{commands}",
        )
        try:
            self.printed, _ = shell.communicate(timeout=SOON)
        except BaseException:
            os.killpg(shell.pid, signal.SIGKILL)
            shell.communicate()
            raise
        assert shell.returncode == status, f"exit status {shell.returncode}:\n{self.printed}"
        variables = Path(".environment").read_text().split("\0")[:-1]
        self._environment = dict(variable.split("=", 1) for variable in variables)

    def _start(self, *command: str, **settings: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            start_new_session=True,
            env=self._environment | settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _serve(self, command: str) -> None:
        process = self._start("bash", "-c", f"exec {command}")
        assert process.stdout
        printed = ""
        while "SECRET_ACCESS_KEY=" not in printed:
            line = process.stdout.readline()
            if not line:
                process.communicate()
                raise AssertionError(f"exit status {process.returncode}:\n{printed}")
            printed += line
        self._at_the_end.callback(self._end, process, signal.SIGINT)
        self._run(printed, 0)  # which a reader pastes into the other terminal
        self.printed = printed

    def _relay(self, command: str) -> None:
        """Start it as systemd does, and stop it once it is ready."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
            notified.bind("notify")
            notified.setblocking(False)
            process = self._start("bash", "-c", f"exec {command}", NOTIFY_SOCKET="notify")

            def is_ready() -> bool:
                try:
                    return notified.recv(100) == b"READY=1"
                except BlockingIOError:
                    return process.poll() is not None

            try:
                until(is_ready)
            finally:
                Path("notify").unlink()
                self.printed = self._end(process, signal.SIGTERM)

    def _end(self, process: subprocess.Popen[str], number: int) -> str:
        process.send_signal(number)
        try:
            printed, _ = process.communicate(timeout=SOON)
        finally:
            process.kill()
        assert process.returncode == 0, f"exit status {process.returncode}:\n{printed}"
        assert "Traceback" not in printed
        return printed
