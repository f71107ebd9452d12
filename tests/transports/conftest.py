"""Certificates and transports for the tests in this folder."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.transports.senders import OPENERS, Sender


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of the one authority that signs the servers' certificates."""
    path = tmp_path_factory.mktemp("certificates") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    """Return the TLS settings of a server on `localhost`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture(params=sorted(OPENERS))
def open_sender(request: pytest.FixtureRequest) -> Iterator[Callable[..., Sender]]:
    """Open each transport in its turn, with settings; close it at the end."""
    senders: list[Sender] = []

    def open_one(**settings: Any) -> Sender:
        senders.append(OPENERS[request.param](**settings))
        return senders[-1]

    yield open_one
    for sender in senders:
        sender.end()


@pytest.fixture
def send(open_sender: Callable[..., Sender]) -> Sender:
    """Send on each transport in its turn."""
    return open_sender()
