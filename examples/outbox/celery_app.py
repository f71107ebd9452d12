"""
A relay as a periodic Celery task: one task, whatever the number of events.

    celery --app examples.outbox.celery_app worker --beat
"""

from __future__ import annotations

import os

from celery import Celery

from eventbridge_partner import PartnerEventsClient
from eventbridge_partner.outbox import PostgresOutbox, Relay

app = Celery("shop", broker=os.environ["BROKER_URL"])
app.conf.beat_schedule = {
    # A task that waits longer than this for a worker is dropped; the next one does its work.
    "relay": {"task": "relay_events", "schedule": 60.0, "options": {"expires": 55}}
}
relay = Relay(PostgresOutbox(os.environ["DATABASE_URL"]), PartnerEventsClient())


@app.task(name="relay_events", ignore_result=True)
def relay_events() -> None:
    """Deliver what is due, and finish before the next minute."""
    relay.drain(seconds=50)
