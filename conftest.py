"""
What holds for every test and every example of the documentation.

No setting of the machine reaches them: no credentials, Region, proxy or configuration file. And
they reach nothing but this machine: a connection to another host fails at once. Only a test with
the mark `process` starts processes and sends signals.
"""

from __future__ import annotations

import functools
import gc
import ipaddress
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from sybil import Sybil
from sybil.integration.pytest import SybilItem
from sybil.parsers.myst import SkipParser

from tests.docs.blocks import parse_others, parse_python, starts_processes, unless_not_run

pytest_plugins = ["pytester", "tests.outbox.postgresql"]

if sys.platform == "win32":  # which has no terminals, forks and limits as these test
    collect_ignore = [
        "tests/cli/test_cli_process.py",
        "tests/test_benchmarks.py",
        "tests/transports/test_blocking.py",
    ]

ENVIRONMENT = pytest.MonkeyPatch()
PROCESSES = {"subprocess.Popen", "os.posix_spawn", "os.fork", "os.kill", "signal.pthread_kill"}
RUNNING: list[pytest.Item] = []


class OutsideConnectionError(AssertionError):
    """A test or an example wanted to talk to another machine."""


class UnmarkedProcessError(AssertionError):
    """A test without the mark `process` wanted to start a process, or to send a signal."""


def pytest_configure() -> None:
    sys.addaudithook(_only_where_marked)
    # A shell starts what it runs in the background with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Else each of hundreds of processes compiles the package and its tests anew.
    sys.dont_write_bytecode = False
    ENVIRONMENT.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    for name in tuple(os.environ):
        if name.startswith("AWS_") or name.upper().endswith(
            ("_PROXY", "_CA_BUNDLE", "SSL_CERT_FILE")
        ):
            ENVIRONMENT.delenv(name)
    ENVIRONMENT.setenv("AWS_EC2_METADATA_DISABLED", "true")
    ENVIRONMENT.setenv("AWS_CONFIG_FILE", os.devnull)
    ENVIRONMENT.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    ENVIRONMENT.setattr(socket, "getaddrinfo", _only_addresses(socket.getaddrinfo))
    ENVIRONMENT.setattr(socket.socket, "connect", _only_loopback(socket.socket.connect))
    ENVIRONMENT.setattr(socket.socket, "connect_ex", _only_loopback(socket.socket.connect_ex))


def pytest_unconfigure() -> None:
    ENVIRONMENT.undo()


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> Generator[None, int, int]:
    """Run three workers on two processors: all tests together wait for a third of their time."""
    workers = yield
    return workers if config.option.markexpr else workers * 3 // 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the commands of the documentation; those of a page take seconds together."""
    for item in items:
        if isinstance(item, SybilItem) and starts_processes(item.example):
            item.add_marker(pytest.mark.process)
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """
    Prepare for the tests that were collected.

    A page whose commands run ends a server after its last block, whatever that is. And the garbage
    collector is spared what collecting left: 360,000 objects that stay to the end.
    """
    for item in session.items:
        if isinstance(item, SybilItem) and item.get_closest_marker("process") and item.parent:
            item.parent.add_marker(pytest.mark.process)
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    RUNNING.append(item)
    try:
        return (yield)
    finally:
        RUNNING.pop()


def _only_where_marked(event: str, arguments: Any) -> None:
    if event in PROCESSES and RUNNING and not RUNNING[0].get_closest_marker("process"):
        raise UnmarkedProcessError(f"{event}; allowed: in a test with the mark process")


def _only_loopback(connect: Any) -> Any:
    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
            self.close()
            raise OutsideConnectionError(f"connection to {address[0]}; allowed: loopback only")
        return connect(self, address)

    return guarded


def _only_addresses(look_up: Any) -> Any:
    def guarded(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in (None, "", "localhost", socket.gethostname()) and not _is_address(host):
            raise OutsideConnectionError(f"look-up of {host}; allowed: localhost and addresses")
        return look_up(host, *args, **kwargs)

    return guarded


def _is_address(host: str | bytes) -> bool:
    try:
        ipaddress.ip_address(host if isinstance(host, str) else host.decode())
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _enter_empty_directory(namespace: dict[str, Any]) -> None:
    from eventbridge_partner import _bugs
    from eventbridge_partner.line import _undelivered

    # Celery, for one, raises the level of the root logger for those that follow.
    logging.getLogger().setLevel(logging.WARNING)
    # Lines that are written once a minute have not been written by another page.
    _bugs.forget()
    _undelivered.forget()
    directory = tempfile.TemporaryDirectory()
    namespace["_left"] = Path.cwd(), directory
    os.chdir(directory.name)


def _leave_directory(namespace: dict[str, Any]) -> None:
    origin, directory = namespace["_left"]
    try:
        if "_terminals" in namespace:
            namespace["_terminals"].close()
    finally:
        os.chdir(origin)
        directory.cleanup()


_page = functools.partial(
    Sybil,
    parsers=[unless_not_run(parse_python), unless_not_run(parse_others), SkipParser()],
    setup=_enter_empty_directory,
    teardown=_leave_directory,
)
# Its commands need a database.
_POSTGRESQL = "docs/how-to/run-an-outbox-on-postgresql.md"

pytest_collect_file = (
    _page(
        patterns=["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md", "docs/**/*.md"],
        excludes=["docs/_build/**", _POSTGRESQL],
    )
    + _page(patterns=[_POSTGRESQL], fixtures=["outbox_of_page"])
).pytest()
