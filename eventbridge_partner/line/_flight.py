"""Signs requests on their way out, and reads their answers."""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Self, Unpack

from eventbridge_partner._clock import monotonic
from eventbridge_partner._foreign_text import escaped
from eventbridge_partner._http import HttpRequest, HttpResponse
from eventbridge_partner._logs import Fields, log
from eventbridge_partner.aws.credentials import CredentialsKeeper
from eventbridge_partner.aws.signing import SigningEdge
from eventbridge_partner.delivery.entries import Batch
from eventbridge_partner.error_codes import UNKNOWN_CREDENTIALS
from eventbridge_partner.errors import (
    ClockSkewError,
    CredentialsError,
    ExpiredCredentialsError,
    PartnerEventsError,
    ServiceError,
    TransportError,
)
from eventbridge_partner.models import ResultEntry
from eventbridge_partner.models._counting import counted
from eventbridge_partner.transports import Answer
from eventbridge_partner.wire.calls import AllAccepted, Call, Results, answer, put_partner_events
from eventbridge_partner.wire.sigv4 import FrozenCredentials

if TYPE_CHECKING:
    from eventbridge_partner.line._witness import Departure

_MAX_ID_CHARACTERS: Final = 128


_24_BITS: Final = 1 << 24


class _InvocationIds:
    """
    Ids of requests, in the form of a random UUID (version 4).

    Asking the system for random bytes takes 2 % of a request, so that is done once in a process. A
    number tells the ids of a process apart, and the time those of two copies of a snapshot.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self.begin()

    def begin(self) -> None:
        """Choose a new start: a child process has its parent's numbers."""
        digits = os.urandom(10).hex()
        self._start = f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-"

    def next(self) -> str:
        """Return an id that no other request has."""
        return f"{self._start}{next(self._numbers) % _24_BITS:06x}{time.time_ns() % _24_BITS:06x}"


_invocation_ids: Final = _InvocationIds()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_invocation_ids.begin)


def sign(
    edge: SigningEdge, call: Call[Any], credentials: FrozenCredentials, attempt: int
) -> HttpRequest:
    """Return the signed request of one attempt of a call."""
    return edge.request(call, credentials, invocation_id=_invocation_ids.next(), attempt=attempt)


def log_failure(call: Call[Any], error: PartnerEventsError, arrived: object) -> None:
    """Log that a single request failed."""
    log(
        logging.INFO,
        "%s failed: %s",
        call.operation,
        error,
        request_id=request_id_of(arrived),
        error_code=code_of(error),
    )


def log_info(text: str, *args: object, **fields: Unpack[Fields]) -> None:
    """Log a note about the request of a batch."""
    log(logging.INFO, text, *args, **fields)


Note = Callable[..., None]
"""Logs a text with its arguments and fields, as `log` does."""


class Recipient(Protocol):
    """Gets the results of batches: a `Delivery`, or an object that has one."""

    def accepted(self, batch: Batch, event_ids: Sequence[str | None], now: float) -> None:
        """Note that all entries were accepted. See `Delivery.accepted`."""
        ...

    def answered(self, batch: Batch, results: Sequence[ResultEntry | None], now: float) -> None:
        """Note the service's result for each entry. See `Delivery.answered`."""
        ...

    def failed(self, batch: Batch, error: PartnerEventsError, now: float) -> None:
        """Note that the whole request failed. See `Delivery.failed`."""
        ...


class Flight(NamedTuple):
    """
    A batch in flight.

    Attributes:
        batch: The batch.
        call: The call that carries it.
        credentials: The credentials that signed the request.
        departure: When it was sent, if an observer is told of it.
    """

    batch: Batch
    call: Call[Results]
    credentials: FrozenCredentials
    departure: Departure | None

    @classmethod
    def of(
        cls, batch: Batch, credentials: FrozenCredentials, departure: Departure | None = None
    ) -> Self:
        """Make the call of a batch."""
        return cls(batch, put_partner_events(batch.events), credentials, departure)

    def request(self, edge: SigningEdge) -> HttpRequest:
        """Return the signed request, which is under way from now on."""
        request = sign(edge, self.call, self.credentials, self.batch.attempt)
        if self.departure is not None:
            self.departure.under_way[self.batch] = self
        return request

    def landed(
        self, arrived: Answer, recipient: Recipient, note: Note = log_info
    ) -> Results | PartnerEventsError:
        """
        Tell a recipient the service's results for the batch.

        Args:
            arrived: The answer, or why there is none.
            recipient: Gets the results.
            note: Logs a note about the request.

        Returns:
            The results; or the error of a failed request, which the recipient is not told yet,
            because a remedy comes first.
        """
        try:
            if isinstance(arrived, TransportError):
                raise arrived
            results = answer(self.call, arrived)
        except PartnerEventsError as error:
            note(
                "a request of %s failed: %s",
                counted(len(self.batch), "entry", "entries"),
                error,
                **self._log_fields(arrived, code_of(error)),
            )
            return error
        if results.note:
            text = "an answer is odd, each result counts for its entry: %s"
            note(text, results.note, **self._log_fields(arrived))
        if isinstance(results, AllAccepted):
            recipient.accepted(self.batch, results.event_ids, monotonic())
        else:
            recipient.answered(self.batch, results.results, monotonic())
        return results

    def _log_fields(self, arrived: Answer, code: str | None = None) -> Fields:
        return {
            "error_code": code,
            "request_id": request_id_of(arrived),
            "delivery": None if self.departure is None else self.departure.delivery,
            "entries": len(self.batch),
        }


def remedy(
    error: PartnerEventsError,
    signed_with: FrozenCredentials,
    credentials: CredentialsKeeper,
    edge: SigningEdge,
) -> PartnerEventsError:
    """Refresh credentials or clock if they are the cause, and return the error to report."""
    match error:
        case ExpiredCredentialsError():
            try:
                credentials.refresh(signed_with)
            except CredentialsError as without:
                return without
        case ServiceError() if error.code in UNKNOWN_CREDENTIALS and credentials.renew(signed_with):
            return ExpiredCredentialsError(
                error.code, error.message, status=error.status, request_id=error.request_id
            )
        case ClockSkewError() if error.server_time is not None:
            edge.correct_clock(error.server_time)
        case _:
            pass
    return error


def request_id_of(arrived: object) -> str | None:
    """Return the service's id for a request; None if there is no answer with one."""
    if not isinstance(arrived, HttpResponse):
        return None
    request_id = arrived.headers.get("x-amzn-requestid")
    return None if request_id is None else escaped(request_id, _MAX_ID_CHARACTERS)


def code_of(error: PartnerEventsError) -> str:
    """Return the service's code, or the name of the error."""
    return error.code if isinstance(error, ServiceError) else type(error).__name__
