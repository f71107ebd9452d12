"""Findings about an outbox: its tables, its backlog and its dead letters."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Final, Protocol

from eventbridge_partner.doctor._findings import Fact, Finding
from eventbridge_partner.errors import OutboxSchemaError, PartnerEventsError
from eventbridge_partner.outbox import OutboxStats
from eventbridge_partner.outbox._schema import VERSION

_OLD_SECONDS: Final = 300.0
_OLD_SNAPSHOT_SECONDS: Final = 60.0


class ExaminedOutbox(Protocol):
    """An outbox with the methods that are needed here: `SqliteOutbox` or `PostgresOutbox`."""

    def stats(self) -> OutboxStats:
        """Return the current figures."""
        ...

    def describe(self) -> str:
        """Return a description for messages."""
        ...


def unusable(error: PartnerEventsError) -> Finding:
    """Return the finding about an outbox that cannot be used."""
    if isinstance(error, OutboxSchemaError):
        message, _, fix = str(error).rpartition(": ")
        return Finding("outbox", "fail", message, fix)
    fix = "eventbridge-partner outbox stats --outbox URL, once its database can be used"
    return Finding("outbox", "fail", str(error), fix)


def hangs(outbox: ExaminedOutbox, seconds: float) -> Finding:
    """Return the finding about an outbox that does not answer in time."""
    message = f"{outbox.describe()} gave no answer within {seconds:.1f} s"
    return Finding("outbox", "fail", message, "see whether its database can be reached from here")


def figures(outbox: ExaminedOutbox, stats: OutboxStats) -> Iterator[Finding]:
    """Yield the findings about an outbox that has the tables of this release."""
    yield Finding(
        "outbox",
        "pass",
        f"{outbox.describe()} has version {VERSION} of the tables",
        facts={"version": VERSION},
    )
    yield _backlog(stats)
    dead: dict[str, Fact] = {"dead": stats.dead}
    if stats.dead:
        fix = "eventbridge-partner outbox dead list, then dead redrive or dead purge"
        yield Finding("dead letters", "warn", f"{stats.dead:,}", fix, facts=dead)
    else:
        yield Finding("dead letters", "pass", "none", facts=dead)


def _backlog(stats: OutboxStats) -> Finding:
    age = stats.oldest_age
    facts: dict[str, Fact] = {
        "waiting": stats.waiting,
        "due": stats.due,
        "held_sources": stats.held,
        "oldest_age": age,
    }
    about = "about " if stats.is_estimate else ""
    message = f"{about}{stats.waiting:,} waiting, {about}{stats.due:,} due"
    if age is not None:
        message += f", the oldest for {age:.0f} s"
    if stats.held:
        message += f"; {stats.held:,} held sources, PENDING or failing as a whole"
    if (since := stats.held_back_since) is not None:
        seconds = (datetime.datetime.now(datetime.UTC) - since).total_seconds()
        if seconds > _OLD_SNAPSHOT_SECONDS:
            message += f"; a transaction has been open for {seconds:.0f} s"
            fix = "end that transaction: until then, autovacuum removes nothing"
            return Finding("backlog", "warn", message, fix, facts=facts)
    if age is not None and age > _OLD_SECONDS:
        fix = "see that a relay runs: eventbridge-partner relay"
        return Finding("backlog", "warn", message, fix, facts=facts)
    return Finding("backlog", "pass", message, facts=facts)
