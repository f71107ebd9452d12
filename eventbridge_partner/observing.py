"""
Observations tell an observer what happened: for your own traces, metrics and logs.

    def observe(observation: Observation) -> None:
        match observation:
            case RequestEnded(error_code=str(code), region=region):
                failures.labels(region, code).inc()
            case OutcomesDecided(outcomes=outcomes):
                for (outcome, code), count in outcomes.items():
                    events.labels(outcome, code).inc(count)

    client = PartnerEventsClient("us-east-1", observe=observe)

An observer is called on the sending thread (with asyncio, in the event loop), so it must be quick.
An exception that it raises is logged once a minute and changes no outcome. Observations never hold
payloads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, Protocol

import attrs

DeliveryKind = Literal["put_events", "stream_events", "publisher", "guard", "router"]
"""The part of this package that events were given to."""


@attrs.frozen(kw_only=True)
class DeliveryBegan:
    """
    A call of `put_events` or `stream_events` begins to send.

    Attributes:
        delivery: The call's number in this process; its later observations have the same.
        kind: `put_events` or `stream_events`.
        region: The Region that it sends to.
        started: When, in seconds since 1970.
    """

    delivery: int
    kind: DeliveryKind
    region: str
    started: float


@attrs.frozen(kw_only=True)
class RequestEnded:
    """
    One attempt of one request ended, with or without an answer.

    Attributes:
        delivery: The number of its call; None for publishers and single requests.
        operation: `PutPartnerEvents`, or the operation on sources.
        region: The Region that it was signed for.
        endpoint_url: The URL that it was posted to.
        attempt: The attempt's number, from 1; of its entries, the one with most attempts counts.
        entries: How many entries it carried; 0 for an operation on sources.
        size: The size of its body, in bytes.
        accepted: How many entries the service accepted.
        failed: How many it did not accept, or may not have.
        codes: The error codes of the failed entries, each with how many entries have it; if the
            request failed as a whole, its code. It is `DeadlineExceeded`, `Cancelled` or
            `PublisherClosed` if the call or the publisher ended before the answer.
        status: The status of the HTTP answer; None without an answer.
        request_id: The service's id for the request, where the answer has one.
        source: The partner event source of its entries, if all have the same; else None.
        links: Where its events come from, as W3C `traceparent` texts; at most 20.
        started: When it was sent, in seconds since 1970.
        seconds: How long it took.
    """

    delivery: int | None
    operation: str
    region: str
    endpoint_url: str
    attempt: int
    entries: int
    size: int
    accepted: int
    failed: int
    codes: Mapping[str, int]
    status: int | None
    request_id: str | None
    source: str | None
    links: Sequence[str]
    started: float
    seconds: float

    @property
    def error_code(self) -> str | None:
        """The request's error code, or its entries' most common one; None if nothing failed."""
        return max(self.codes, key=self.codes.__getitem__, default=None)


@attrs.frozen(kw_only=True)
class OutcomesDecided:
    """
    Events have their final outcomes.

    `put_events` tells them once, at its end; streams and publishers tell them as they come. Each
    event is counted once, even one that a guard or a router held back.

    Attributes:
        delivery: The call's number; None for publishers, guards and routers.
        kind: The part of this package that the events were given to.
        region: The Region; None if a router decided, alone or behind a publisher, or a guard that
            knows no Region yet.
        outcomes: How many events had each outcome, by its name, such as `Rejected`, and its code,
            which is empty for `Accepted` and `Unconfirmed`.
    """

    delivery: int | None
    kind: DeliveryKind
    region: str | None
    outcomes: Mapping[tuple[str, str], int]


@attrs.frozen(kw_only=True)
class DeliveryEnded:
    """
    A call of `put_events` or `stream_events` has ended.

    Attributes:
        delivery: The call's number.
        kind: `put_events` or `stream_events`.
        region: The Region that it sent to.
        outcomes: How many of its events had each outcome; see `OutcomesDecided`.
        started: When it began, in seconds since 1970.
        seconds: How long it took.
    """

    delivery: int
    kind: DeliveryKind
    region: str
    outcomes: Mapping[tuple[str, str], int]
    started: float
    seconds: float


@attrs.frozen(kw_only=True)
class ClaimSettled:
    """
    A relay has settled the rows that it had claimed from an outbox.

    Attributes:
        claimed: How many rows it had claimed.
        gone: How many were accepted and deleted.
        dead: How many became dead letters.
        later: How many wait for another attempt.
        lost: How many another relay had claimed meanwhile, because the lease had expired.
        links: Where the events come from, as W3C `traceparent` texts; at most 20.
        started: When they were claimed, in seconds since 1970.
        seconds: How long it took from the claim to the end.
    """

    claimed: int
    gone: int
    dead: int
    later: int
    lost: int
    links: Sequence[str] = ()
    started: float
    seconds: float


Observation = DeliveryBegan | RequestEnded | OutcomesDecided | DeliveryEnded | ClaimSettled
"""What an observer is called with. A minor version may add kinds: ignore unknown ones."""

Observer = Callable[[Observation], object]
"""A function that is called with each observation. It may have a method `link`; see `Linking`."""

MAX_LINKS: Final = 20
"""The most links of one request: one for each of its entries."""


class Linking(Protocol):
    """An observer that links requests to the spans in which their events were published."""

    def link(self) -> str | None:
        """Return the `traceparent` of the current span; None without one."""
        ...


def link_by(observer: Observer | None) -> Callable[[], str | None] | None:
    """Return an observer's `link` method; None if it has none."""
    return getattr(observer, "link", None)


class all_of:  # noqa: N801  # reads as the function that it is used as
    """
    Pass each observation to several observers.

    An observer that raises does not keep it from the others.
    """

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers
        links = [link for observer in observers if (link := link_by(observer)) is not None]
        if links:
            self.link: Callable[[], str | None] = links[0]

    def __call__(self, observation: Observation) -> None:
        """Pass an observation to each observer."""
        errors: list[Exception] = []
        for observer in self._observers:
            try:
                observer(observation)
            except Exception as error:  # noqa: BLE001  # raised below
                errors.append(error)
        if errors:
            raise errors[0]
