"""An order, stored together with its event."""

from __future__ import annotations

from django.db import connection, models, transaction

from eventbridge_partner import PartnerEvent, stamp
from eventbridge_partner.outbox import PostgresOutbox

outbox = PostgresOutbox()


class Order(models.Model):
    """A customer's order."""

    customer = models.CharField(max_length=40)
    number = models.IntegerField(unique=True)


def create_order(customer: str, number: int) -> Order:
    """Store an order together with the event that tells the customer about it."""
    with transaction.atomic():
        order = Order.objects.create(customer=customer, number=number)
        event = PartnerEvent(
            f"aws.partner/shop.example/{customer}/orders", "order.created", stamp({"order": number})
        )
        outbox.add(connection, event)
    return order
