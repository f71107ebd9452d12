"""
Who is measured: each a program that speaks the protocol of `senders.py`.

Because a contender is a command, one in another language is added the same way.
"""

from __future__ import annotations

import sys

import attrs

OURS = "ours"
PEER = "boto3"


@attrs.frozen
class Contender:
    """
    One program, in the columns of the tables.

    Attributes:
        name: In the JSON output.
        title: In the tables.
        command: What to start; the name of a case follows as the last argument.
        peer: The name of the contender that it is compared with.
    """

    name: str
    title: str
    command: tuple[str, ...]
    peer: str | None = None


def _python(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "benchmarks.senders", name)


CONTENDERS = (
    Contender(PEER, "boto3", _python(PEER)),
    Contender(OURS, "put_events, one thread", _python(OURS), PEER),
    Contender("ours-default", "put_events, default", _python("ours-default"), PEER),
)
