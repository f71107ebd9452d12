"""The line for event loops."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from eventbridge_partner._clock import monotonic
from eventbridge_partner._http import HttpResponse, Timeouts
from eventbridge_partner.delivery.entries import Batch
from eventbridge_partner.error_codes import UNKNOWN_CREDENTIALS
from eventbridge_partner.errors import (
    ExpiredCredentialsError,
    PartnerEventsError,
    ServiceError,
    TransportError,
)
from eventbridge_partner.line._base import MAX_MULTIPLEXED, BaseLine
from eventbridge_partner.line._flight import (
    Flight,
    Note,
    Recipient,
    log_failure,
    log_info,
    remedy,
    sign,
)
from eventbridge_partner.line._off_loop import OffLoop
from eventbridge_partner.transports import (
    Answer,
    AsyncFlights,
    AsyncTransport,
    MultiplexingAsyncTransport,
    TransportFactory,
)
from eventbridge_partner.transports.tasks import TaskFlights
from eventbridge_partner.wire.calls import Call, answer
from eventbridge_partner.wire.sigv4 import FrozenCredentials

if TYPE_CHECKING:
    from eventbridge_partner.line._witness import Origins

T = TypeVar("T")

_ENDED: Final = TransportError("the request was interrupted", may_have_been_sent=True)

_KEPT_SECONDS: Final = 1.0
"""
How many seconds credentials are reused if fetching them may block.

Fetching them on a thread costs as much as a request; when credentials change, the old ones stay
valid for far longer.
"""


@attrs.define(kw_only=True, eq=False, repr=False)
class AsyncLine(BaseLine[AsyncTransport]):
    """
    All that a client sends with, in one process. For any number of tasks and event loops.

    Attributes:
        off_loop: Runs look-ups of credentials that may block.
    """

    off_loop: OffLoop
    _kept: FrozenCredentials | None = attrs.field(default=None, init=False)
    _kept_until: float = attrs.field(default=0.0, init=False)

    @classmethod
    def default_transport(cls) -> TransportFactory[AsyncTransport]:
        """Import and return the default transport."""
        from eventbridge_partner.transports.aiohttp import AiohttpTransport

        return AiohttpTransport

    @classmethod
    def usual_in_flight(cls, transport: AsyncTransport) -> int:
        """Return the default limit of requests of one call in flight."""
        return MAX_MULTIPLEXED

    # ------------------------------------------------------------ credentials

    def credentials_at_hand(self) -> FrozenCredentials | None:
        """
        Return the credentials to sign with; None if fetching them may block.

        Raises:
            CredentialsError: There are none, as is known at once.
        """
        keeper = self.credentials
        if not keeper.may_block():
            return keeper.frozen()
        if self._kept is not None and time.monotonic() >= self._kept_until:
            self._kept = None
        return self._kept

    async def frozen(self) -> FrozenCredentials:
        """
        Return the credentials to sign with, fetched on a thread if that may block.

        Raises:
            CredentialsError: There are none.
        """
        if (at_hand := self.credentials_at_hand()) is not None:
            return at_hand
        self._kept = await self.off_loop.run(self.credentials.frozen)
        self._kept_until = time.monotonic() + _KEPT_SECONDS
        return self._kept

    async def _remedy(
        self, error: PartnerEventsError, signed_with: FrozenCredentials
    ) -> PartnerEventsError:
        if isinstance(error, ExpiredCredentialsError) or (
            isinstance(error, ServiceError) and error.code in UNKNOWN_CREDENTIALS
        ):
            # A remedy may wait for a file, a process or the network.
            self._kept = None
            return await self.off_loop.run(remedy, error, signed_with, self.credentials, self.edge)
        return remedy(error, signed_with, self.credentials, self.edge)

    # ------------------------------------------------------------ batches

    def open_flights(self) -> AsyncFlights[Flight]:
        """Open the flights of one delivery."""
        if isinstance(self.transport, MultiplexingAsyncTransport):
            return self.transport.flights()
        return TaskFlights(self.transport)

    async def submit(
        self,
        flights: AsyncFlights[Flight],
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
        credentials = self.credentials_at_hand() or await self.frozen()
        departure = None
        if self.witness is not None:
            departure = self.witness.batch_departs(batch, origins)
        flight = Flight.of(batch, credentials, departure)
        flights.submit(flight, flight.request(self.edge), timeouts)

    async def land(
        self,
        flight: Flight,
        answer: Answer,
        recipient: Recipient,
        note: Note = log_info,
    ) -> None:
        """Read a batch's answer, refresh credentials or clock if needed, and tell the recipient."""
        landed = flight.landed(answer, recipient, note)
        if isinstance(landed, PartnerEventsError):
            error = await self._remedy(landed, flight.credentials)
            recipient.failed(flight.batch, error, monotonic())
        self.bugs.log()
        if self.witness is not None:
            self.witness.batch_ended(flight, answer, landed)

    # ------------------------------------------------------------ single requests

    async def exchange(
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
        credentials = await self.frozen()
        request = sign(self.edge, call, credentials, attempt)
        timeouts = self.timeouts if seconds is None else self.timeouts.within(seconds)
        departure = None if self.witness is None else self.witness.departs()
        response: HttpResponse | None = None
        landed: object = _ENDED
        try:
            response = await self.transport.send(request, timeouts)
            landed = value = answer(call, response)
            return response, value
        except PartnerEventsError as error:
            landed = error
            log_failure(call, error, response)
            remedied = await self._remedy(error, credentials)
            if remedied is error:
                raise
            raise remedied from error
        finally:
            if self.witness is not None and departure is not None:
                self.witness.request_ended(departure, call, attempt, response, landed)

    # ------------------------------------------------------------ the end

    async def close(self) -> None:
        """Close the connections, except those of a transport that was given."""
        if self.owns_transport:
            await self.transport.close()
