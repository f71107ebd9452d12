"""One batch in flight: signed on its way out, read on its way back."""

from __future__ import annotations

import logging
import os
from typing import Final, Self

import attrs

from eventbridge_partner._http import HttpRequest
from eventbridge_partner.aws.credentials import CredentialsKeeper
from eventbridge_partner.aws.signing import SigningEdge
from eventbridge_partner.delivery.entries import Batch
from eventbridge_partner.delivery.machine import Delivery
from eventbridge_partner.errors import (
    ClockSkewError,
    CredentialsError,
    ExpiredCredentialsError,
    PartnerEventsError,
    TransportError,
)
from eventbridge_partner.transports import Answer
from eventbridge_partner.wire import calls
from eventbridge_partner.wire.sigv4 import FrozenCredentials

_log: Final = logging.getLogger("eventbridge_partner")


def new_invocation_id() -> str:
    """Return a random UUID (version 4), at a quarter of what `uuid.uuid4` takes for its text."""
    digits = os.urandom(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


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
    call: calls.Call[calls.Results]
    credentials: FrozenCredentials

    @classmethod
    def of(cls, batch: Batch, credentials: FrozenCredentials) -> Self:
        """Make the call of a batch."""
        return cls(batch, calls.put_partner_events(batch.events), credentials)

    def request(self, edge: SigningEdge) -> HttpRequest:
        """Return the signed request."""
        return edge.request(
            self.call,
            self.credentials,
            invocation_id=new_invocation_id(),
            attempt=self.batch.attempt,
        )

    def landed(self, answer: Answer, delivery: Delivery, now: float) -> PartnerEventsError | None:
        """
        Tell a delivery what the service says of the batch.

        Returns:
            The error of a request that failed: what is to be done about it comes before telling.
        """
        try:
            if isinstance(answer, TransportError):
                raise answer
            results = calls.answer(self.call, answer)
        except PartnerEventsError as error:
            _log.info("a request of %d entries failed: %s", len(self.batch), error)
            return error
        if isinstance(results, calls.AllAccepted):
            delivery.accepted(self.batch, results.event_ids, now)
        else:
            delivery.answered(self.batch, results, now)
        return None


def after_remedy(
    error: PartnerEventsError,
    signed_with: FrozenCredentials,
    credentials: CredentialsKeeper,
    edge: SigningEdge,
) -> PartnerEventsError:
    """Do what one more try may need, and return the error to go on with."""
    match error:
        case ExpiredCredentialsError():
            try:
                credentials.refresh(signed_with)
            except CredentialsError as without:
                return without
        case ClockSkewError() if error.server_time is not None:
            edge.correct_clock(error.server_time)
        case _:
            pass
    return error
