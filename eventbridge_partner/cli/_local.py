"""The local service, with the faults that the command line asks for."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final, TypeVar

from eventbridge_partner.cli import _types

if TYPE_CHECKING:
    from eventbridge_partner.testing import FakeEventBridge, Fault

S = TypeVar("S", bound="FakeEventBridge")

REGION: Final = "us-east-1"
_KEEP: Final = 16
"""How many requests the service remembers if they are not looked at later."""

_KEEP_FOR_PAGE: Final = {"keep": 10_000, "keep_bytes": 64 * 1024 * 1024}

_FAULTS: Final = ("throttle", "fail_requests", "lose_answers", "slow", "seed")


def add_fault_options(parser: argparse.ArgumentParser, *, title: str) -> None:
    """Add the options that make the local service fail."""
    group = parser.add_argument_group(title)
    shares = {
        "--throttle": "throttle this share of the entries, 0 to 1",
        "--fail-requests": "fail this share of the requests, 0 to 1",
        "--lose-answers": "carry out this share of the requests, 0 to 1, but give no answer",
    }
    for option, meaning in shares.items():
        group.add_argument(option, type=_types.share, metavar="SHARE", help=meaning)
    group.add_argument(
        "--slow", type=_types.seconds, metavar="SECONDS", help="delay each answer by this time"
    )
    group.add_argument(
        "--seed", type=int, metavar="N", help="the seed that the shares are drawn from (default: 0)"
    )


def fault_options(arguments: argparse.Namespace) -> list[str]:
    """Return the fault options that were given."""
    return [
        f"--{name.replace('_', '-')}" for name in _FAULTS if getattr(arguments, name) is not None
    ]


def _play_faults(service: FakeEventBridge, arguments: argparse.Namespace) -> None:
    from eventbridge_partner.testing import FailEntries, FailRequest, LoseAnswer, SlowAnswer

    faults: list[Fault] = []
    if arguments.throttle:
        faults.append(
            FailEntries("ThrottlingException", entry_share=arguments.throttle, times=None)
        )
    if arguments.fail_requests:
        share = arguments.fail_requests
        faults.append(FailRequest("InternalFailure", 500, share=share, times=None))
    if arguments.lose_answers:
        faults.append(LoseAnswer(share=arguments.lose_answers, times=None))
    if arguments.slow:
        faults.append(SlowAnswer(arguments.slow, times=None))
    service.play(*faults)


def local_service(
    arguments: argparse.Namespace, kind: type[S], *, looked_at: bool, **settings: Any
) -> S:
    """
    Return a local service with the options of the command line.

    Args:
        arguments: The command line.
        kind: The class of the service.
        looked_at: Whether a page or a caller looks at the requests that it remembers.
        **settings: Passed to the class.
    """
    memory: dict[str, Any] = _KEEP_FOR_PAGE if looked_at else {"keep": _KEEP}
    service = kind(arguments.region or REGION, seed=arguments.seed or 0, **memory, **settings)
    _play_faults(service, arguments)
    return service


@contextlib.contextmanager
def without_aws_settings() -> Generator[None, None, None]:
    """
    Hide the environment's AWS and proxy settings, and AWS's files.

    A run against the local service must not depend on the machine's AWS settings.
    """
    kept = dict(os.environ)
    for name in kept:
        if name.upper().startswith("AWS_") or name.upper().endswith("_PROXY"):
            del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)
