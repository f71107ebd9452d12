"""
Events that wait in the application's database, and the relay that sends them.

    from eventbridge_partner.outbox import PostgresOutbox, Relay

    outbox = PostgresOutbox("postgresql://…")
    with Session(engine) as session:
        session.add(order)
        outbox.add(session, PartnerEvent(source, "order.created", detail))
        session.commit()

    Relay(outbox, client).run()
"""

from __future__ import annotations

from eventbridge_partner._lazy import face

TYPE_CHECKING = False  # as in typing, whose import would take longer than this module's
if TYPE_CHECKING:
    from eventbridge_partner.outbox._postgresql import PostgresOutbox
    from eventbridge_partner.outbox._protocol import Outbox, Sender
    from eventbridge_partner.outbox._records import (
        Dead,
        DeadLetter,
        DrainReport,
        Fate,
        Gone,
        Later,
        OutboxStats,
        Settled,
    )
    from eventbridge_partner.outbox._relay import Relay
    from eventbridge_partner.outbox._rows import Claim, ClaimedRow
    from eventbridge_partner.outbox._sqlite import SqliteOutbox
    from eventbridge_partner.outbox._url import open_outbox
else:
    _NAMES = {
        "_postgresql": "PostgresOutbox",
        "_protocol": "Outbox Sender",
        "_records": """
            Dead DeadLetter DrainReport Fate Gone Later OutboxStats Settled
        """,
        "_relay": "Relay",
        "_rows": "Claim ClaimedRow",
        "_sqlite": "SqliteOutbox",
        "_url": "open_outbox",
    }
    __getattr__, __dir__ = face(__name__, _NAMES, "contract")


__all__ = [
    "Claim",
    "ClaimedRow",
    "Dead",
    "DeadLetter",
    "DrainReport",
    "Fate",
    "Gone",
    "Later",
    "Outbox",
    "OutboxStats",
    "PostgresOutbox",
    "Relay",
    "Sender",
    "Settled",
    "SqliteOutbox",
    "open_outbox",
]
