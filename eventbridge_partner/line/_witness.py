"""Tells an observer about a line's requests and deliveries."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import attrs

from eventbridge_partner._bugs import log_bug
from eventbridge_partner._clock import monotonic
from eventbridge_partner._http import HttpResponse
from eventbridge_partner._signals import let_pass
from eventbridge_partner._threads import is_sending
from eventbridge_partner.delivery.entries import Batch
from eventbridge_partner.delivery.machine import CANCELLED, DEADLINE_EXCEEDED
from eventbridge_partner.errors import PartnerEventsError
from eventbridge_partner.line._flight import Flight, code_of, request_id_of
from eventbridge_partner.models import Outcome
from eventbridge_partner.models._outcomes import count_outcomes
from eventbridge_partner.observing import (
    MAX_LINKS,
    DeliveryBegan,
    DeliveryEnded,
    DeliveryKind,
    Observation,
    Observer,
    OutcomesDecided,
    RequestEnded,
    link_by,
)
from eventbridge_partner.wire.calls import AllAccepted, Call, EachResult

UnderWay = dict[Batch, Flight]
"""Batches in flight, by the batch."""

_numbers: Final = itertools.count(1)


@attrs.frozen
class Departure:
    """
    When a request was sent.

    Attributes:
        started: The time in seconds since 1970.
        at: The time on the monotonic clock.
        delivery: The number of its call; None if it belongs to none.
        links: Where its events come from.
        under_way: The flights of its call or publisher.
    """

    started: float
    at: float
    delivery: int | None = None
    links: Sequence[str] = ()
    under_way: UnderWay = attrs.field(factory=dict, repr=False, eq=False)


def tell(observe: Observer, observation: Observation) -> None:
    """Call an observer; an exception that it raises is logged and changes nothing."""
    try:
        observe(observation)
    except BaseException as error:
        # `sys.exit` in an observer must not end a thread of ours, but it may end the caller's.
        if not (isinstance(error, Exception) or is_sending()):
            raise
        let_pass(error)
        log_bug("the observer", error)


@attrs.frozen
class Witness:
    """
    Tells an observer what a line does.

    Attributes:
        observe: The observer.
        region: The line's Region.
        endpoint_url: The URL that the line sends to.
    """

    observe: Observer
    region: str
    endpoint_url: str

    def tell(self, observation: Observation) -> None:
        """Call the observer; an exception that it raises changes nothing."""
        tell(self.observe, observation)

    def decided(self, kind: DeliveryKind, outcomes: Iterable[Outcome]) -> None:
        """Report outcomes that belong to no call."""
        self.tell(
            OutcomesDecided(
                delivery=None, kind=kind, region=self.region, outcomes=count_outcomes(outcomes)
            )
        )

    @property
    def links(self) -> bool:
        """Whether the observer can tell where events come from."""
        return link_by(self.observe) is not None

    def link(self) -> str | None:
        """Return where events given now come from; None if the observer does not know."""
        link = link_by(self.observe)
        if link is None:
            return None
        try:
            return link()
        except Exception as error:  # noqa: BLE001  # the caller's observer can raise anything
            let_pass(error)
            log_bug("the observer's link", error)
            return None

    def departs(self) -> Departure:
        """Note that a single request is sent."""
        return Departure(time.time(), time.monotonic())

    def batch_departs(self, batch: Batch, origins: Origins | None) -> Departure:
        """Note that a batch is sent."""
        if origins is None:
            return self.departs()
        return Departure(
            time.time(),
            time.monotonic(),
            origins.delivery,
            origins.links_of(batch)[:MAX_LINKS],
            origins.under_way,
        )

    def batch_ended(self, flight: Flight, arrived: object, landed: object) -> None:
        """Report the end of a batch's request once; see `request_ended`."""
        departure = flight.departure
        if departure is not None and departure.under_way.pop(flight.batch, None) is not None:
            self.request_ended(
                departure, flight.call, flight.batch.attempt, arrived, landed, flight.batch
            )

    def unanswered(self, origins: Origins, code: str) -> None:
        """Report the end of requests whose answers nobody waits for any more."""
        for flight in tuple(origins.under_way.values()):
            self.batch_ended(flight, None, code)

    def request_ended(
        self,
        departure: Departure,
        call: Call[Any],
        attempt: int,
        arrived: object,
        landed: object,
        batch: Batch | None = None,
    ) -> None:
        """
        Report the end of a request.

        Args:
            departure: When it was sent.
            call: The call that was sent.
            attempt: The attempt's number.
            arrived: The answer; any other value if there is none.
            landed: The value read from the answer, or the error of the request, or its code.
            batch: The batch that it carried, if known.
        """
        codes: Counter[str] = Counter()
        entries = 0 if batch is None else len(batch)
        if isinstance(landed, PartnerEventsError):
            codes[code_of(landed)] = max(entries, 1)
        elif isinstance(landed, str):
            codes[landed] = entries
        elif isinstance(landed, AllAccepted):
            entries = len(landed.event_ids)
        elif isinstance(landed, EachResult):
            entries = len(landed.results)
            for result in landed.results:
                if result is None:
                    codes["UnreadableAnswerError"] += 1
                elif result.error_code is not None:
                    codes[result.error_code] += 1
        failed = min(codes.total(), entries)
        sources = set() if batch is None else {event.source for event in batch.events}
        self.tell(
            RequestEnded(
                delivery=departure.delivery,
                operation=call.operation,
                region=self.region,
                endpoint_url=self.endpoint_url,
                attempt=attempt,
                entries=entries,
                size=len(call.body),
                accepted=entries - failed,
                failed=failed,
                codes=codes,
                status=arrived.status if isinstance(arrived, HttpResponse) else None,
                request_id=request_id_of(arrived),
                source=sources.pop() if len(sources) == 1 else None,
                links=departure.links,
                started=departure.started,
                seconds=time.monotonic() - departure.at,
            )
        )

    def account(self, kind: DeliveryKind) -> Account:
        """Open the account of a call, and report that it begins."""
        # A stream's later requests are not part of the span that was current here, so they link.
        link = self.link() if kind == "stream_events" else None
        account = Account(self, kind, next(_numbers), () if link is None else (link,))
        self.tell(
            DeliveryBegan(
                delivery=account.delivery, kind=kind, region=self.region, started=account.started
            )
        )
        return account


class Origins(Protocol):
    """
    Where the events of batches come from.

    Attributes:
        delivery: The number of their call; None if they belong to none.
        under_way: Their batches that are in flight.
    """

    @property
    def delivery(self) -> int | None:
        """The number of their call; None if they belong to none."""
        ...

    @property
    def under_way(self) -> UnderWay:
        """Their batches that are in flight."""
        ...

    def links_of(self, batch: Batch) -> Sequence[str]:
        """Return the `traceparent` texts of a batch."""
        ...


class Account:
    """
    Tells an observer about one call.

    Attributes:
        delivery: The call's number.
        started: When it began, in seconds since 1970.
        under_way: Its batches that are in flight.
    """

    def __init__(
        self, witness: Witness, kind: DeliveryKind, delivery: int, links: Sequence[str]
    ) -> None:
        self.delivery: int = delivery
        self.started: float = time.time()
        self.under_way: UnderWay = {}
        self._links = links
        self._witness = witness
        self._kind: DeliveryKind = kind
        self._began = time.monotonic()
        self._outcomes: Counter[tuple[str, str]] = Counter()

    def links_of(self, batch: Batch) -> Sequence[str]:
        """Return the span in which the call began, if its requests are not part of it."""
        return self._links

    def decided(self, outcomes: Sequence[Outcome]) -> None:
        """Report outcomes."""
        counted = count_outcomes(outcomes)
        if not counted:
            return
        self._outcomes += counted
        self._witness.tell(
            OutcomesDecided(
                delivery=self.delivery,
                kind=self._kind,
                region=self._witness.region,
                outcomes=counted,
            )
        )

    def ended(self, deadline: float | None) -> None:
        """Report that the call is over, and with it all its requests."""
        is_late = deadline is not None and monotonic() >= deadline
        self._witness.unanswered(self, DEADLINE_EXCEEDED if is_late else CANCELLED)
        self._witness.tell(
            DeliveryEnded(
                delivery=self.delivery,
                kind=self._kind,
                region=self._witness.region,
                outcomes=self._outcomes,
                started=self.started,
                seconds=time.monotonic() - self._began,
            )
        )
