"""One batch in flight: signed on its way out, read on its way back."""

from __future__ import annotations

import uuid
from typing import Self

import attrs

from eventbridge_partner import _wire
from eventbridge_partner._aws import SigningEdge
from eventbridge_partner._http import HttpRequest
from eventbridge_partner._sigv4 import FrozenCredentials
from eventbridge_partner.delivery import Batch
from eventbridge_partner.errors import TransportError
from eventbridge_partner.models import ResultEntry
from eventbridge_partner.transports import Answer


@attrs.frozen
class Flight:
    """
    A batch in flight.

    Attributes:
        batch: What is in it.
        call: What carries it.
        credentials: What that was signed with.
    """

    batch: Batch
    call: _wire.Call[tuple[ResultEntry, ...]]
    credentials: FrozenCredentials

    @classmethod
    def of(cls, batch: Batch, credentials: FrozenCredentials) -> Self:
        """Make the call of a batch."""
        return cls(batch, _wire.put_partner_events(batch.events), credentials)

    def request(self, edge: SigningEdge) -> HttpRequest:
        """Return the signed request."""
        return edge.request(
            self.call,
            self.credentials,
            invocation_id=str(uuid.uuid4()),
            attempt=self.batch.attempt,
        )

    def results(self, answer: Answer) -> tuple[ResultEntry, ...]:
        """
        Read the answer: one result for each entry of the batch, in their order.

        Raises:
            PartnerEventsError: There is no answer, or none that says what became of the entries.
        """
        if isinstance(answer, TransportError):
            raise answer
        return _wire.answer(self.call, answer)
