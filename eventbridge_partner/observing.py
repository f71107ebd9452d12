"""
What happened, told to an observer afterwards: for traces, metrics and logs of your own.

    def observe(observation: Observation) -> None:
        match observation:
            case RequestEnded(error_code=str(code), region=region):
                failures.labels(region, code).inc()
            case OutcomesDecided(outcomes=outcomes):
                for (outcome, code), count in outcomes.items():
                    events.labels(outcome, code).inc(count)

    client = PartnerEventsClient("us-east-1", observe=observe)

An observer is called by the thread that sends (on asyncio, in the loop), so let it be quick. What
it raises is logged once a minute and changes no outcome. Observations hold no payload.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, Protocol

import attrs

DeliveryKind = Literal["put_events", "stream_events", "publisher", "guard", "router"]
"""What events were given to."""


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
    One attempt of one request: it was answered, or there is no answer.

    Attributes:
        delivery: Of the call that it belongs to; None for publishers and single requests.
        operation: `PutPartnerEvents`, or the operation on sources.
        region: The Region that it was signed for.
        endpoint_url: The URL that it was posted to.
        attempt: Which attempt it is, from 1, of the entry that has had the most.
        entries: How many entries it carried; 0 for an operation on sources.
        size: Of its body, in bytes.
        accepted: How many entries the service accepted.
        failed: How many it did not accept, or may not have.
        codes: The error codes of those, each with how many entries have it; of a request that
            failed as a whole, its code.
        status: Of the HTTP answer; None without one.
        request_id: The service's id for the request, where the answer has one.
        source: The partner event source of all its entries, if they have the same.
        links: Where its events come from, as `traceparent` texts of the W3C; at most 20.
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
        """The request's error code, or the one that most of its entries have; None for none."""
        return max(self.codes, key=self.codes.__getitem__, default=None)


@attrs.frozen(kw_only=True)
class OutcomesDecided:
    """
    Events have their final outcomes.

    Told once at the end of `put_events`, and as outcomes come by streams and publishers. Each
    event is counted once, also one that a guard or a router held back.

    Attributes:
        delivery: Of the call; None for publishers, guards and routers.
        kind: What the events were given to.
        region: The Region; None of what a router decided, and where a guard knows none yet.
        outcomes: How many events came to which outcome: its name, such as `Rejected`, and its
            code, empty for `Accepted` and `Unconfirmed`.
    """

    delivery: int | None
    kind: DeliveryKind
    region: str | None
    outcomes: Mapping[tuple[str, str], int]


@attrs.frozen(kw_only=True)
class DeliveryEnded:
    """
    A call that began is over.

    Attributes:
        delivery: The call's number.
        kind: `put_events` or `stream_events`.
        region: The Region that it sent to.
        outcomes: How many of its events came to which outcome; see `OutcomesDecided`.
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
    A relay has settled the rows that it had claimed of an outbox.

    Attributes:
        claimed: How many rows it had claimed.
        gone: How many were accepted, and deleted.
        dead: How many became dead letters.
        later: How many wait for another attempt.
        lost: How many another relay had claimed meanwhile, since the lease had ended.
        links: Where the events come from, as `traceparent` texts of the W3C; at most 20.
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
"""What an observer is told. A minor version may add kinds: leave out what you do not know."""

Observer = Callable[[Observation], object]
"""Is told what happened. It may have a method `link`; see `Linking`."""

MAX_LINKS: Final = 20
"""Links of one request, at most: it has as many entries."""


class Linking(Protocol):
    """An observer that links requests to where their events come from."""

    def link(self) -> str | None:
        """Return the `traceparent` of what goes on now; None if nothing does."""
        ...


def link_by(observer: Observer | None) -> Callable[[], str | None] | None:
    """Return what an observer has to tell where events come from; None if it has nothing."""
    return getattr(observer, "link", None)


class all_of:  # noqa: N801  # reads as the function that it is used as
    """
    Tell several observers, each what the others are told.

    What one of them raises keeps nothing from the others.
    """

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers
        links = [link for observer in observers if (link := link_by(observer)) is not None]
        if links:
            self.link: Callable[[], str | None] = links[0]

    def __call__(self, observation: Observation) -> None:
        """Tell them."""
        errors: list[Exception] = []
        for observer in self._observers:
            try:
                observer(observation)
            except Exception as error:  # noqa: BLE001  # raised below
                errors.append(error)
        if errors:
            raise errors[0]
