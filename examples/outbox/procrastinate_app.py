"""
A relay as a periodic procrastinate task: one task, whatever the number of events.

    procrastinate --app examples.outbox.procrastinate_app.app worker
"""

from __future__ import annotations

import os

import procrastinate

from eventbridge_partner import PartnerEventsClient
from eventbridge_partner.outbox import PostgresOutbox, Relay

DSN = os.environ["DATABASE_URL"]

app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=DSN),
    import_paths=["examples.outbox.procrastinate_app"],
)
relay = Relay(PostgresOutbox(DSN), PartnerEventsClient())


@app.periodic(cron="* * * * *")
@app.task(name="relay_events", queue="relay")
def relay_events(timestamp: int) -> None:
    """Deliver what is due, and finish before the next minute."""
    relay.drain(seconds=50)
