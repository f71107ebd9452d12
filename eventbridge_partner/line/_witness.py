"""What an observer is told of a line's requests and deliveries."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from eventbridge_partner._bugs import log_bug
from eventbridge_partner._http import HttpResponse
from eventbridge_partner._signals import let_pass
from eventbridge_partner.delivery.entries import Batch
from eventbridge_partner.errors import PartnerEventsError, ServiceError
from eventbridge_partner.models import Outcome
from eventbridge_partner.observing import (
    MAX_LINKS,
    DeliveryBegan,
    DeliveryEnded,
    DeliveryKind,
    Observation,
    Observer,
    OutcomesDecided,
    RequestEnded,
    count_outcomes,
    link_by,
)
from eventbridge_partner.wire.calls import AllAccepted, Call, EachResult

_numbers: Final = itertools.count(1)


@attrs.frozen
class Departure:
    """
    When a request was sent.

    Attributes:
        started: In seconds since 1970.
        at: By the monotonic clock.
        delivery: The number of the call that it belongs to; None for none.
        links: Where its events come from.
    """

    started: float
    at: float
    delivery: int | None = None
    links: Sequence[str] = ()


@attrs.frozen
class Witness:
    """
    Tells an observer what a line does.

    Attributes:
        observe: The observer.
        region: The line's Region.
        endpoint_url: Where the line sends to.
    """

    observe: Observer
    region: str
    endpoint_url: str

    def tell(self, observation: Observation) -> None:
        """Tell the observer; what it raises changes nothing."""
        try:
            self.observe(observation)
        except Exception as error:  # noqa: BLE001  # the caller's, whatever it is
            let_pass(error)
            log_bug("the observer", error)

    def link(self) -> str | None:
        """Return where events come from that are given to us now; None if nobody knows."""
        link = link_by(self.observe)
        if link is None:
            return None
        try:
            return link()
        except Exception as error:  # noqa: BLE001  # the caller's, whatever it is
            let_pass(error)
            log_bug("the observer's link", error)
            return None

    def batch_departs(self, batch: Batch, account: Account | None) -> Departure:
        """Take that a batch is sent."""
        if account is None:
            return Departure(time.time(), time.monotonic())
        return Departure(
            time.time(), time.monotonic(), account.delivery, account.links_of(batch)[:MAX_LINKS]
        )

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
        Tell of the end of a request.

        Args:
            departure: When it was sent.
            call: What was sent.
            attempt: Which attempt it was.
            arrived: The answer; whatever else for none.
            landed: What the answer says, or the error that it came to.
            batch: What it carried, if that is known.
        """
        codes: Counter[str] = Counter()
        entries = 0 if batch is None else len(batch)
        if isinstance(landed, PartnerEventsError):
            codes[_code_of(landed)] = max(entries, 1)
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
        request_id: str | None = None
        if isinstance(arrived, HttpResponse):
            request_id = arrived.headers.get("x-amzn-requestid")
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
                request_id=request_id,
                source=sources.pop() if len(sources) == 1 else None,
                links=departure.links,
                started=departure.started,
                seconds=time.monotonic() - departure.at,
            )
        )

    def account(self, kind: DeliveryKind, links_of: LinksOf | None = None) -> Account:
        """Open the account of a call, and tell that it begins."""
        account = Account(self, kind, next(_numbers), links_of or _no_links)
        self.tell(
            DeliveryBegan(
                delivery=account.delivery, kind=kind, region=self.region, started=account.started
            )
        )
        return account


LinksOf = Callable[[Batch], Sequence[str]]
"""Tells where the events of a batch come from."""


class Account:
    """
    What an observer is told of one call.

    Attributes:
        delivery: The call's number.
        started: When it began, in seconds since 1970.
        links_of: Tells where the events of a batch come from.
    """

    def __init__(
        self, witness: Witness, kind: DeliveryKind, delivery: int, links_of: LinksOf
    ) -> None:
        self.delivery = delivery
        self.started: float = time.time()
        self.links_of = links_of
        self._witness = witness
        self._kind: DeliveryKind = kind
        self._began = time.monotonic()
        self._outcomes: Counter[tuple[str, str]] = Counter()

    def decided(self, outcomes: Sequence[Outcome]) -> None:
        """Tell of outcomes."""
        if not outcomes:
            return
        counted = count_outcomes(outcomes)
        self._outcomes += counted
        self._witness.tell(
            OutcomesDecided(
                delivery=self.delivery,
                kind=self._kind,
                region=self._witness.region,
                outcomes=counted,
            )
        )

    def ended(self) -> None:
        """Tell that the call is over."""
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


def _no_links(_batch: Batch) -> Sequence[str]:
    return ()


def _code_of(error: PartnerEventsError) -> str:
    return error.code if isinstance(error, ServiceError) else type(error).__name__
