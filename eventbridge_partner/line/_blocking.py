"""The line for threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from eventbridge_partner._clock import monotonic
from eventbridge_partner._http import HttpResponse, Timeouts
from eventbridge_partner._signals import let_pass
from eventbridge_partner.delivery.entries import Batch
from eventbridge_partner.errors import PartnerEventsError, TransportError
from eventbridge_partner.line._base import MAX_IN_FLIGHT, MAX_MULTIPLEXED, BaseLine
from eventbridge_partner.line._flight import (
    Flight,
    Note,
    Recipient,
    log_failure,
    log_info,
    remedy,
    sign,
)
from eventbridge_partner.transports import (
    Answer,
    Flights,
    MultiplexingTransport,
    Transport,
    TransportFactory,
)
from eventbridge_partner.transports.flights import BlockingFlights, WorkerThreads
from eventbridge_partner.wire.calls import Call, answer

if TYPE_CHECKING:
    from eventbridge_partner.line._witness import Origins

T = TypeVar("T")

_ENDED: Final = TransportError("the request was interrupted", may_have_been_sent=True)


@attrs.define(kw_only=True, eq=False, repr=False)
class Line(BaseLine[Transport]):
    """
    All that a client sends with, in one process. Thread-safe.

    Attributes:
        workers: Threads that wait for answers if the transport does not multiplex.
    """

    workers: WorkerThreads

    @classmethod
    def default_transport(cls) -> TransportFactory[Transport]:
        """Import and return the default transport."""
        from eventbridge_partner.transports._default import DefaultTransport

        return DefaultTransport

    @classmethod
    def usual_in_flight(cls, transport: Transport) -> int:
        """Return the default limit of requests of one call in flight."""
        return MAX_MULTIPLEXED if isinstance(transport, MultiplexingTransport) else MAX_IN_FLIGHT

    # ------------------------------------------------------------ batches

    def open_flights(self, *, stays_free: bool = False) -> Flights[Flight]:
        """Open the flights of one delivery. See `BlockingFlights` for `stays_free`."""
        if isinstance(self.transport, MultiplexingTransport):
            return self.transport.flights()
        return BlockingFlights(self.transport, self.workers, stays_free=stays_free)

    def submit(
        self,
        flights: Flights[Flight],
        batch: Batch,
        timeouts: Timeouts,
        origins: Origins | None = None,
    ) -> None:
        """
        Sign a batch and send it.

        Args:
            flights: The flights of its delivery.
            batch: The batch.
            timeouts: The timeouts of its request.
            origins: Where its events come from, if an observer is told of that.

        Raises:
            CredentialsError: There are no credentials to sign it with. Nothing was sent.
        """
        credentials = self.credentials.frozen()
        departure = None
        if self.witness is not None:
            departure = self.witness.batch_departs(batch, origins)
        flight = Flight.of(batch, credentials, departure)
        flights.submit(flight, flight.request(self.edge), timeouts)

    def land(
        self,
        flight: Flight,
        answer: Answer,
        recipient: Recipient,
        note: Note = log_info,
    ) -> None:
        """Read a batch's answer, refresh credentials or clock if needed, and tell the recipient."""
        landed = flight.landed(answer, recipient, note)
        if isinstance(landed, PartnerEventsError):
            error = remedy(landed, flight.credentials, self.credentials, self.edge)
            recipient.failed(flight.batch, error, monotonic())
        self.bugs.log()
        if self.witness is not None:
            self.witness.batch_ended(flight, answer, landed)

    def withdraw(self, flights: Flights[Flight]) -> Batch | None:
        """Drop the held batch without sending it, and return it; None if none is held."""
        if not isinstance(flights, BlockingFlights):
            return None
        held: Flight | None = flights.withdraw()
        if held is None:
            return None
        if held.departure is not None:
            del held.departure.under_way[held.batch]
        return held.batch

    # ------------------------------------------------------------ single requests

    def exchange(
        self, call: Call[T], *, attempt: int = 1, seconds: float | None = None
    ) -> tuple[HttpResponse, T]:
        """
        Send a request once, and read its answer.

        Args:
            call: The request's content.
            attempt: The number of this attempt, from 1.
            seconds: How long it may take; None if only the client's timeouts bound it.

        Returns:
            The answer, and the value read from it.

        Raises:
            CredentialsError: There are no credentials to sign with. Nothing was sent.
            PartnerEventsError: It failed. Credentials or clock are refreshed if that is why.
        """
        credentials = self.credentials.frozen()
        request = sign(self.edge, call, credentials, attempt)
        timeouts = self.timeouts if seconds is None else self.timeouts.within(seconds)
        departure = None if self.witness is None else self.witness.departs()
        response: HttpResponse | None = None
        landed: object = _ENDED
        try:
            response = self.transport.send(request, timeouts)
            landed = value = answer(call, response)
            return response, value
        except PartnerEventsError as error:
            let_pass(error)
            landed = error
            log_failure(call, error, response)
            remedied = remedy(error, credentials, self.credentials, self.edge)
            if remedied is error:
                raise
            raise remedied from error
        finally:
            if self.witness is not None and departure is not None:
                self.witness.request_ended(departure, call, attempt, response, landed)

    # ------------------------------------------------------------ the end

    def close(self) -> None:
        """Close the connections, except those of a transport that was given."""
        self.workers.stop()
        if self.owns_transport:
            self.transport.close()
