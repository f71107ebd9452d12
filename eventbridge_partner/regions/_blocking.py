"""The router for threads."""

from __future__ import annotations

import contextvars
import functools
import queue
import threading
from collections.abc import Callable, Iterable
from typing import Protocol

from eventbridge_partner._signals import raised_by_handler
from eventbridge_partner.client._base import check_client, decided_by
from eventbridge_partner.client._blocking import PartnerEventsClient
from eventbridge_partner.delivery.given import (
    InputError,
    check_deadline,
    interrupted_call,
    refuse_single,
)
from eventbridge_partner.errors import CallInterruptedError, PartnerEventsError
from eventbridge_partner.models import DeliveryReport, GivenEvent, SourceName
from eventbridge_partner.regions._routing import Lookup, LookupRaisedError, Routing, known_region


class Sender(Protocol):
    """Sends the events of a Region: its client, or a guard in front of it."""

    def put_events(
        self, events: Iterable[GivenEvent], *, deadline: float | None = None
    ) -> DeliveryReport:
        """See `PartnerEventsClient.put_events`."""
        ...


class RegionRouter:
    """
    Sends each event through the Region of its source.

    All Regions are sent to at the same time, each through its own sibling of the client, with its
    own connections, retries and pace: a Region that is slow or down does not affect the others.
    The report waits for all Regions; a `deadline` limits that. Thread-safe and fork-safe.

    Args:
        client: The client whose siblings send; see `in_region`. The caller closes it.
        lookup: The Region of a source by its name: a mapping, or a function that returns None for
            an unknown source. Called once for each source of a call.
        in_front: Called once with each Region's client; returns a wrapper to send through, such as
            a `SourceGuard`.
    """

    def __init__(
        self,
        client: PartnerEventsClient,
        lookup: Lookup,
        *,
        in_front: Callable[[PartnerEventsClient], Sender] | None = None,
    ) -> None:
        check_client(client, PartnerEventsClient)
        self._client = client
        self._lookup = lookup
        self._in_front = in_front
        self._senders: dict[str, Sender] = {}

    def client_of(self, source: str | SourceName) -> PartnerEventsClient:
        """
        Return the client of a source's Region, for example to use its `sources`.

        Raises:
            ConfigurationError: The source's Region is unknown or invalid.
        """
        return self._client.in_region(known_region(source, self._lookup))

    def put_events(
        self, events: Iterable[GivenEvent], *, deadline: float | None = None
    ) -> DeliveryReport:
        """
        Send events, each to the Region of its source; see `put_events` of the client.

        An event whose Region is unknown is `Rejected` with the code `UnknownRegion`. If one
        Region's client cannot send but another's can, its events are `Exhausted` with the code
        `ConfigurationError` or `CredentialsError`.

        Args:
            events: Any number. All are read before any is sent.
            deadline: Seconds for all attempts together; None for no bound.

        Returns:
            One outcome per event, in the order given.

        Raises:
            ConfigurationError: A setting is wrong. Nothing was sent.
            CredentialsError: No usable AWS credentials. Nothing was sent.
            InputInterruptedError: `events` raised. The events read before that were sent;
                `report` has their outcomes.
        """
        check_deadline(deadline)
        refuse_single(events)
        routing = Routing(self._lookup)
        iterator = iter(events)
        try:
            for event in iterator:
                routing.take(event)
        except LookupRaisedError as raised:
            raise raised.error from None
        except Exception as error:
            if (raised_here := raised_by_handler(error)) is not None:
                raise raised_here from self._not_begun(routing)
            report = self._send(routing, deadline)
            raise InputError(error).interrupted(routing.count, report) from error
        except BaseException as error:
            raise error from self._not_begun(routing)
        return self._send(routing, deadline)

    def _not_begun(self, routing: Routing) -> CallInterruptedError:
        report = routing.not_begun()
        decided_by(self._client, "router", routing.own)
        return interrupted_call(report)

    def _send(self, routing: Routing, deadline: float | None) -> DeliveryReport:
        try:
            report = self._send_all(routing, deadline)
        except PartnerEventsError:
            raise  # no event was sent
        except BaseException:
            decided_by(self._client, "router", routing.own)
            raise
        decided_by(self._client, "router", routing.own)
        return report

    def _send_all(self, routing: Routing, deadline: float | None) -> DeliveryReport:
        answers: queue.SimpleQueue[tuple[str, DeliveryReport | BaseException]]
        answers = queue.SimpleQueue()
        for region in routing.routes:
            send = functools.partial(self._answer, routing, region, deadline, answers)
            if len(routing.routes) == 1:
                send()
            else:
                _start(functools.partial(contextvars.copy_context().run, send))
        try:
            for _ in routing.routes:
                region, answer = answers.get()
                if isinstance(answer, DeliveryReport):
                    routing.sent(region, answer)
                elif isinstance(answer, Exception) and raised_by_handler(answer) is None:
                    routing.failed(region, answer)
                else:
                    if isinstance(cause := answer.__cause__, CallInterruptedError):
                        routing.sent(region, cause.report)
                    raise answer
        except BaseException as error:
            raise error from interrupted_call(routing.interrupted())
        return routing.report()

    def _answer(
        self,
        routing: Routing,
        region: str,
        deadline: float | None,
        answers: queue.SimpleQueue[tuple[str, DeliveryReport | BaseException]],
    ) -> None:
        try:
            report = self._sender(region).put_events(
                routing.routes[region].events, deadline=deadline
            )
        except BaseException as error:  # noqa: BLE001  # raised again on the caller's thread
            answers.put((region, error))
        else:
            answers.put((region, report))

    def _sender(self, region: str) -> Sender:
        sender = self._senders.get(region)
        if sender is None:
            client = self._client.in_region(region)
            made = client if self._in_front is None else self._in_front(client)
            sender = self._senders.setdefault(region, made)
        return sender

    def __repr__(self) -> str:
        return f"<RegionRouter of {self._client!r}>"


def region_of(router: RegionRouter, source: str) -> str:
    """
    Return the Region of a source.

    Raises:
        ConfigurationError: It is unknown or invalid.
    """
    return known_region(source, router._lookup)  # pyright: ignore[reportPrivateUsage]


def client_behind(router: RegionRouter) -> PartnerEventsClient:
    """Return the client whose siblings send to the Regions."""
    return router._client  # pyright: ignore[reportPrivateUsage]


def sender_of(router: RegionRouter, region: str) -> Sender:
    """Return the sender of a Region."""
    return router._sender(region)  # pyright: ignore[reportPrivateUsage]


def _start(send: Callable[[], None]) -> None:
    # A new thread costs little compared with a Region's requests. At interpreter shutdown no
    # thread can start: then send to one Region after the other.
    thread = threading.Thread(target=send, name="eventbridge-partner", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        send()
