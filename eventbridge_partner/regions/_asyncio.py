"""The router for event loops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable
from typing import Protocol

from eventbridge_partner.client._asyncio import AsyncPartnerEventsClient
from eventbridge_partner.client._base import check_client, decided_by
from eventbridge_partner.delivery.given import InputError, check_deadline, refuse_single
from eventbridge_partner.errors import CallCancelledError, PartnerEventsError
from eventbridge_partner.models import DeliveryReport, GivenEvent, SourceName
from eventbridge_partner.models._counting import counted
from eventbridge_partner.regions._routing import Lookup, LookupRaisedError, Routing, known_region


class AsyncSender(Protocol):
    """Sends the events of a Region: its client, or a guard in front of it."""

    async def put_events(
        self,
        events: Iterable[GivenEvent] | AsyncIterable[GivenEvent],
        *,
        deadline: float | None = None,
    ) -> DeliveryReport:
        """See `AsyncPartnerEventsClient.put_events`."""
        ...


class AsyncRegionRouter:
    """
    Sends each event through the Region of its source, on an event loop.

    All Regions are sent to at the same time, each through its own sibling of the client, with its
    own connections, retries and pace: a Region that is slow or down does not affect the others.
    The report waits for all Regions; a `deadline` limits that. Safe for any number of tasks.

    Args:
        client: The client whose siblings send; see `in_region`. The caller closes it.
        lookup: The Region of a source by its name: a mapping, or a function that returns None for
            an unknown source. Called once for each source of a call.
        in_front: Called once with each Region's client; returns a wrapper to send through, such as
            an `AsyncSourceGuard`.
    """

    def __init__(
        self,
        client: AsyncPartnerEventsClient,
        lookup: Lookup,
        *,
        in_front: Callable[[AsyncPartnerEventsClient], AsyncSender] | None = None,
    ) -> None:
        check_client(client, AsyncPartnerEventsClient)
        self._client = client
        self._lookup = lookup
        self._in_front = in_front
        self._senders: dict[str, AsyncSender] = {}

    def client_of(self, source: str | SourceName) -> AsyncPartnerEventsClient:
        """
        Return the client of a source's Region, for example to use its `sources`.

        Raises:
            ConfigurationError: The source's Region is unknown or invalid.
        """
        return self._client.in_region(known_region(source, self._lookup))

    async def put_events(
        self,
        events: Iterable[GivenEvent] | AsyncIterable[GivenEvent],
        *,
        deadline: float | None = None,
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
            asyncio.CancelledError: The task was cancelled. Its cause is a `CallCancelledError`,
                whose `report` has the outcomes of all events that had been read.
        """
        check_deadline(deadline)
        refuse_single(events)
        routing = Routing(self._lookup)
        iterator = events if isinstance(events, AsyncIterable) else iter(events)
        try:
            if isinstance(iterator, AsyncIterable):
                async for event in iterator:
                    routing.take(event)
            else:
                for event in iterator:
                    routing.take(event)
        except LookupRaisedError as raised:
            raise raised.error from None
        except asyncio.CancelledError as cancelled:
            for region in routing.routes:
                routing.cancelled(region, None)
            decided_by(self._client, "router", routing.own)
            raise cancelled from _cancelled_call(routing)
        except Exception as error:
            report = await self._send(routing, deadline)
            raise InputError(error).interrupted(routing.count, report) from error
        return await self._send(routing, deadline)

    async def _send(self, routing: Routing, deadline: float | None) -> DeliveryReport:
        try:
            report = await self._send_all(routing, deadline)
        except PartnerEventsError:
            raise  # no event was sent
        except BaseException:
            decided_by(self._client, "router", routing.own)
            raise
        decided_by(self._client, "router", routing.own)
        return report

    async def _send_all(self, routing: Routing, deadline: float | None) -> DeliveryReport:
        if not routing.routes:
            return routing.report()
        sending = [
            asyncio.create_task(self._answer(routing, region, deadline))
            for region in routing.routes
        ]
        try:
            await asyncio.wait(sending)
        except asyncio.CancelledError as cancelled:
            for task in sending:
                task.cancel()
            await asyncio.wait(sending)
            for region, task in zip(routing.routes, sending, strict=True):
                if task.cancelled():  # before it began
                    routing.cancelled(region, None)
            raise cancelled from _cancelled_call(routing)
        for task in sending:
            task.result()
        return routing.report()

    async def _answer(self, routing: Routing, region: str, deadline: float | None) -> None:
        events = routing.routes[region].events
        try:
            report = await self._sender(region).put_events(events, deadline=deadline)
        except asyncio.CancelledError as cancelled:
            cause = cancelled.__cause__
            routing.cancelled(
                region, cause.report if isinstance(cause, CallCancelledError) else None
            )
        except Exception as error:  # noqa: BLE001  # keep the other Regions' outcomes
            routing.failed(region, error)
        else:
            routing.sent(region, report)

    def _sender(self, region: str) -> AsyncSender:
        sender = self._senders.get(region)
        if sender is None:
            client = self._client.in_region(region)
            sender = client if self._in_front is None else self._in_front(client)
            self._senders[region] = sender
        return sender

    def __repr__(self) -> str:
        return f"<AsyncRegionRouter of {self._client!r}>"


def async_region_of(router: AsyncRegionRouter, source: str) -> str:
    """
    Return the Region of a source.

    Raises:
        ConfigurationError: It is unknown or invalid.
    """
    return known_region(source, router._lookup)  # pyright: ignore[reportPrivateUsage]


def async_client_behind(router: AsyncRegionRouter) -> AsyncPartnerEventsClient:
    """Return the client whose siblings send to the Regions."""
    return router._client  # pyright: ignore[reportPrivateUsage]


def async_sender_of(router: AsyncRegionRouter, region: str) -> AsyncSender:
    """Return the sender of a Region."""
    return router._sender(region)  # pyright: ignore[reportPrivateUsage]


def _cancelled_call(routing: Routing) -> CallCancelledError:
    report = routing.report()
    return CallCancelledError(f"the call was cancelled after {counted(len(report))}", report)
