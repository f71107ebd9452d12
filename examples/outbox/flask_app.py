"""
An order and its event in one transaction, with Flask and psycopg.

    gunicorn --workers 2 examples.outbox.flask_app:app
"""

from __future__ import annotations

import os

import psycopg
from flask import Flask

from eventbridge_partner import PartnerEvent, stamp
from eventbridge_partner.outbox import PostgresOutbox

DSN = os.environ["DATABASE_URL"]
outbox = PostgresOutbox()
app = Flask("shop")


@app.post("/orders/<customer>/<int:number>")
def create(customer: str, number: int) -> tuple[dict[str, int | str], int]:
    """Store an order together with the event that tells the customer about it."""
    source = f"aws.partner/shop.example/{customer}/orders"
    event = PartnerEvent(source, "order.created", stamp({"order": number}))
    try:
        with psycopg.connect(DSN) as connection:  # commits, or rolls back if an exception leaves it
            connection.execute("INSERT INTO orders VALUES (%s, %s)", (number, customer))
            outbox.add(connection, event)
    except psycopg.errors.UniqueViolation:
        return {"message": "this order already exists"}, 409
    return {"order": number}, 201
