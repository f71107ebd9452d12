"""The publisher for asyncio: takes events one by one, and sends them in batches in a task."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import functools
import inspect
import logging
import math
import threading
from collections import OrderedDict, deque
from collections.abc import AsyncIterable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Final, NoReturn, Self

from eventbridge_partner._arguments import check_function, check_number, check_whole, wrong_type
from eventbridge_partner._bugs import log_bug
from eventbridge_partner._clock import monotonic
from eventbridge_partner._forks import after_fork
from eventbridge_partner._logs import log
from eventbridge_partner.client._asyncio import (
    AsyncPartnerEventsClient,
    async_line_of,
    reasons_within,
)
from eventbridge_partner.client._base import credentials_of, observed_by
from eventbridge_partner.client._probe import check_seconds, reasons_now
from eventbridge_partner.delivery.actions import Send, Wait
from eventbridge_partner.delivery.entries import Batch
from eventbridge_partner.delivery.given import read, refuse_single
from eventbridge_partner.errors import (
    BufferFullError,
    ConfigurationError,
    CredentialsError,
    PublisherClosedError,
    TransportError,
)
from eventbridge_partner.guard._asyncio import AsyncSourceGuard
from eventbridge_partner.guard._base import client_of, plans_of
from eventbridge_partner.line._asyncio import AsyncLine
from eventbridge_partner.line._flight import Flight
from eventbridge_partner.line._off_loop import OffLoop
from eventbridge_partner.models import (
    DeliveryReport,
    GivenEvent,
    Outcome,
    PartnerEvent,
    Readiness,
)
from eventbridge_partner.models._counting import counted
from eventbridge_partner.publisher._async_look_ups import AsyncLookUps
from eventbridge_partner.publisher._buffer import BufferSettings, OnFull, checked_on_full
from eventbridge_partner.publisher._dispatch import (
    REST,
    Dispatch,
    Shared,
    checked_seconds,
    closed_error,
    warn_of_left_out,
    warn_of_lost,
)
from eventbridge_partner.publisher._gate import Gate
from eventbridge_partner.publisher._news import Handing, News, OnUndelivered
from eventbridge_partner.publisher._receipts import (
    Arrival,
    Book,
    Callback,
    FlushReport,
    PublisherStats,
    Receipt,
    close_report,
    flush_report,
    reasons_against,
    run_callback,
)
from eventbridge_partner.publisher._routes import Desk, Routes, sum_of_stats
from eventbridge_partner.regions._asyncio import (
    AsyncRegionRouter,
    async_client_behind,
    async_region_of,
    async_sender_of,
)
from eventbridge_partner.sources._asyncio import AsyncSources
from eventbridge_partner.transports import Answer, AsyncFlights

_LONGEST_WAIT: Final = 3600.0
"""The longest single wait, in seconds; a longer one takes several."""

_TO_END: Final = 0.1
"""Seconds for the task to close its connections when no time is left."""

_LONGEST_HOLD: Final = 0.01
"""Seconds of work at a time, before other tasks of the loop get their turn."""


class AsyncEventPublisher:
    """
    Takes events one at a time, and sends them in batches in a task of its own.

    Like `EventPublisher`, on one event loop: the loop of the first `publish`. Call all methods on
    that loop; receipts can be awaited anywhere. Make one publisher for each loop.

    Close it with `async with` or `close`. If `asyncio.run` ends the loop first, the events left
    have `exit_timeout` seconds, and a warning with the number of lost events is logged.

    Args:
        client: Sends the events: an asynchronous client, an `AsyncSourceGuard` in front of one, or
            an `AsyncRegionRouter`; see `EventPublisher`. Look-ups run in tasks of their own.
        linger: Seconds that an event waits for others to share its request.
        max_buffered_events: The most events without an outcome, including those in flight. One
            source may use nine tenths of the room that other sources leave.
        max_buffered_bytes: The largest total size of these events, as the service counts bytes.
        on_full: What to do when the buffer is full: `block` until there is room, for up to
            `block_timeout`, while other tasks run; `raise` BufferFullError; `drop_oldest` or
            `drop_newest`, which gives the dropped event the outcome `Exhausted` with the code
            `BufferFull`.
        block_timeout: Seconds that `publish` waits for room by default.
        exit_timeout: Seconds for the events left when the loop ends without `close`.
        on_undelivered: Called in a task with the outcomes of all events that are not accepted, in
            lists of at most 1,000, before `close` returns. It may be asynchronous. As many
            outcomes wait for it as the buffer holds events; if it is too slow, the rest are left
            out, and their number is logged. Exceptions that it raises are logged.

    Raises:
        ValueError: A setting is out of range.
        TypeError: An argument has the wrong type, such as a blocking client.
    """

    def __init__(
        self,
        client: AsyncPartnerEventsClient | AsyncSourceGuard | AsyncRegionRouter,
        *,
        linger: float = 0.05,
        max_buffered_events: int = 10_000,
        max_buffered_bytes: int = 64 * 1024 * 1024,
        on_full: OnFull = "block",
        block_timeout: float = 5.0,
        exit_timeout: float = 5.0,
        on_undelivered: OnUndelivered | None = None,
    ) -> None:
        check_number("linger", linger)
        check_number("block_timeout", block_timeout)
        check_number("exit_timeout", exit_timeout)
        check_whole("max_buffered_events", max_buffered_events)
        check_whole("max_buffered_bytes", max_buffered_bytes)
        check_function("on_undelivered", on_undelivered)
        self._client = client
        if not isinstance(client, AsyncRegionRouter):
            _parts(client)
        self._settings = BufferSettings(
            linger=linger,
            max_events=max_buffered_events,
            max_bytes=max_buffered_bytes,
        )
        self._on_full: OnFull = checked_on_full(on_full)
        self._block_timeout = checked_seconds("block_timeout", block_timeout)
        self._exit_timeout = checked_seconds("exit_timeout", exit_timeout)
        self._on_undelivered = on_undelivered
        self._is_closed = False
        self._fleet: _Fleet | None = None
        self._off_loop = OffLoop()
        after_fork(self, AsyncEventPublisher._leave_parent)

    # ------------------------------------------------------------ publishing

    async def publish(self, event: GivenEvent, *, timeout: float | None = None) -> Receipt:  # noqa: ASYNC109  # as in the other publisher
        """
        Queue an event, and return without waiting if there is room for it.

        Args:
            event: A `PartnerEvent`, or a mapping with an entry's member names. An invalid event
                has its outcome, `Rejected`, at once.
            timeout: Seconds to wait for room if `on_full` is `block`; None for the publisher's
                `block_timeout`.

        Returns:
            The event's receipt. Await it for the outcome.

        Raises:
            BufferFullError: There was no room.
            PublisherClosedError: The publisher is closed.
            ConfigurationError: There is no Region, or a setting is wrong; found by the first
                call. The event was not queued.
            asyncio.CancelledError: The task was cancelled while it waited for room. The event was
                not queued.
        """
        fleet = self._current() or await self._begin()
        sender, receipt = fleet.read(event) or await fleet.begin_for(event)
        if sender is None:
            return receipt
        book = sender.dispatch.book
        if not sender.dispatch.admit(receipt):
            await self._without_room(sender, receipt, timeout)
        if book.buffer.gone:
            book.tell()
        return receipt

    async def publish_many(
        self,
        events: Iterable[GivenEvent] | AsyncIterable[GivenEvent],
        *,
        timeout: float | None = None,  # noqa: ASYNC109  # as in the other publisher
    ) -> list[Receipt]:
        """
        Queue events.

        Args:
            events: As for `publish`, any number.
            timeout: Seconds to wait for room, for all events together, if `on_full` is `block`;
                None for the publisher's `block_timeout`.

        Returns:
            A receipt for each event, in the order given. Without room, an event's outcome is
            `Exhausted` with the code `BufferFull`; after a `close`, with `PublisherClosed`.

        Raises:
            PublisherClosedError: The publisher is closed, and no event was queued.
            ConfigurationError: As for `publish`.
            asyncio.CancelledError: The task was cancelled. Events already queued are still sent.
        """
        refuse_single(events)
        fleet = self._current() or await self._begin()
        if fleet.is_closed:
            raise closed_error()
        until = monotonic() + (self._block_timeout if timeout is None else timeout)
        if isinstance(events, AsyncIterable):
            return [await self._publish_one(fleet, event, until) async for event in events]
        return [await self._publish_one(fleet, event, until) for event in events]

    async def _publish_one(self, fleet: _Fleet, event: GivenEvent, until: float) -> Receipt:
        sender, receipt = fleet.read(event) or await fleet.begin_for(event)
        if sender is None:
            return receipt
        book = sender.dispatch.book
        try:
            if not sender.dispatch.admit(receipt):
                await self._without_room(sender, receipt, until - monotonic())
        except BufferFullError:
            book.drop(receipt)
        except PublisherClosedError:
            book.refuse(receipt)
        if book.buffer.gone:
            book.tell()
        return receipt

    async def _without_room(self, sender: _Sender, receipt: Receipt, seconds: float | None) -> None:
        match self._on_full:
            case "block":
                if seconds is None:
                    seconds = self._block_timeout
                if not await sender.admit_within(receipt, seconds):
                    raise BufferFullError(f"the buffer was full for {seconds:g} s")
            case "raise":
                raise BufferFullError("the buffer is full")
            case "drop_newest":
                sender.dispatch.book.drop(receipt)
            case "drop_oldest":
                sender.dispatch.admit_dropping_oldest(receipt)

    # ------------------------------------------------------------ outcomes

    async def flush(self, timeout: float | None = 30.0) -> FlushReport:  # noqa: ASYNC109  # as in the other publisher
        """
        Send the buffered events without lingering, and wait for their outcomes.

        Args:
            timeout: Seconds; None for no bound.

        Returns:
            How many of these events have which outcome, and how many have none yet.
        """
        fleet = self._current()
        return flush_report(()) if fleet is None else await fleet.flush(timeout)

    async def close(self, timeout: float | None = 30.0) -> DeliveryReport:  # noqa: ASYNC109  # as in the other publisher
        """
        Send the buffered events, and close the publisher.

        After `timeout`, or on cancellation, events in flight become `Unconfirmed`, and the others
        `Exhausted` with the code `PublisherClosed`, so every receipt has an outcome. Closing again
        does nothing.

        Args:
            timeout: Seconds; None for no bound.

        Returns:
            One outcome for each event that had none before. Events outside `accepted` were not
            sent, or may not have arrived.
        """
        self._is_closed = True
        fleet = self._current()
        return DeliveryReport(()) if fleet is None else await fleet.close(timeout)

    def stats(self) -> PublisherStats:
        """Return the current figures, and counts since this process began to publish."""
        fleet = self._fleet
        return PublisherStats() if fleet is None else fleet.stats()

    async def readiness(self, *, max_age: float = 60.0, timeout: float = 1.0) -> Readiness:  # noqa: ASYNC109  # as in the other publisher
        """
        Tell whether the publisher can take and send events now. It sends nothing.

        For a readiness probe, which may call it every second; see the how-to "Probe readiness".

        Args:
            max_age: Seconds for which the oldest event may wait for its outcome.
            timeout: Seconds to wait for look-ups; slower ones continue in the background.

        Returns:
            A `Readiness` with every reason why it is not ready. A publisher may be closed, its
            sender may have ended, its oldest event may be too old, and its client may lack
            settings or credentials.

        Raises:
            TypeError: `max_age` or `timeout` is not a number.
            ValueError: One of them is not above 0.
        """
        check_seconds(max_age=max_age, timeout=timeout)
        try:
            fleet = self._current()
        except RuntimeError as error:
            return Readiness((str(error),), self.stats().oldest_age)
        age = 0.0 if fleet is None else fleet.stats().oldest_age
        own = reasons_against(
            is_closed=self._is_closed or (fleet is not None and fleet.is_closed),
            has_ended=fleet is not None and not fleet.is_alive,
            age=age,
            max_age=max_age,
        )
        if isinstance(self._client, AsyncRegionRouter):
            # Shared by its Regions, which are not known in advance.
            credentials = credentials_of(async_client_behind(self._client))
            if credentials.may_block():
                look_up = self._off_loop.run(credentials.frozen)
                reasons = await reasons_within(look_up, timeout)
            else:
                reasons = reasons_now(credentials.frozen)
        else:
            reasons = (await _parts(self._client)[0].readiness(timeout=timeout)).reasons
        return Readiness((*own, *reasons), age)

    # ------------------------------------------------------------ life

    def _current(self) -> _Fleet | None:
        """
        Return the fleet of the running loop, if there is one.

        Raises:
            RuntimeError: The fleet belongs to another loop that still runs.
        """
        fleet = self._fleet
        if fleet is None or fleet.loop is asyncio.get_running_loop():
            return fleet
        if not fleet.loop.is_closed():
            raise RuntimeError("an AsyncEventPublisher serves one event loop; make one for each")
        fleet.end()
        self._fleet = None
        return None

    async def _begin(self) -> _Fleet:
        if self._is_closed:
            raise closed_error()
        line = None
        if not isinstance(self._client, AsyncRegionRouter):
            line = await async_line_of(_parts(self._client)[0])
        if self._is_closed:
            raise closed_error()
        # Another task may have been first.
        fleet = self._current()
        if fleet is None:
            fleet = self._fleet = _Fleet(
                self._client,
                line,
                self._settings,
                self._exit_timeout,
                self._on_undelivered,
                drops_oldest=self._on_full == "drop_oldest",
            )
        return fleet

    def _leave_parent(self) -> None:
        self._fleet = None
        self._off_loop = OffLoop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("an AsyncEventPublisher cannot be pickled: make one in each process")

    def __repr__(self) -> str:
        fleet = self._fleet
        state = "closed" if self._is_closed else "not used yet" if fleet is None else "open"
        held = 0 if fleet is None else fleet.held
        return f"<AsyncEventPublisher, {state}, {counted(held)} without an outcome>"


_Sends = AsyncPartnerEventsClient | AsyncSourceGuard


def _parts(sender: object) -> tuple[AsyncPartnerEventsClient, AsyncSourceGuard | None]:
    """
    Return the client, and the guard in front of it if there is one.

    Raises:
        TypeError: The sender is neither.
    """
    client: object = sender
    guard = None
    if isinstance(sender, AsyncSourceGuard):
        guard, client = sender, client_of(sender)
    if isinstance(client, AsyncPartnerEventsClient):
        return client, guard
    allowed = (
        "an AsyncPartnerEventsClient, an AsyncSourceGuard in front of one, or an "
        "AsyncRegionRouter of these"
    )
    raise wrong_type("client", client, allowed)


class _Waiters:
    """The queue of callers that wait for room, for all Regions."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        # A caller whose turn found no room for its source goes first when there are outcomes
        # again.
        self._waiting: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._refused: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._turns = 0  # turns that were given and not yet used

    async def admit_within(self, dispatch: Dispatch, receipt: Receipt, seconds: float) -> bool:
        """
        Queue an event once there is room for it.

        Raises:
            PublisherClosedError: The publisher is closed.
        """
        until = monotonic() + seconds
        line = self._waiting
        while (left := until - monotonic()) > 0:
            place: asyncio.Future[None] = self._loop.create_future()
            line[place] = None
            is_admitted = False
            try:
                await asyncio.wait([place], timeout=min(left, _LONGEST_WAIT))
                is_admitted = dispatch.admit(receipt)
            finally:
                self._waiting.pop(place, None)
                self._refused.pop(place, None)
                if place.done():
                    self._turns -= 1
                    if not is_admitted:
                        # The room does not fit this event; perhaps it fits another one.
                        self._let_in(1)
            if is_admitted:
                return True
            line = self._refused
        return False

    def _let_in(self, count: int) -> None:
        for _ in range(min(count, len(self._waiting))):
            place = self._waiting.popitem(last=False)[0]
            place.set_result(None)
            self._turns += 1

    def make_way(self, book: Book) -> None:
        """Admit as many callers as there is room for."""
        for place in reversed(self._refused):
            self._waiting[place] = None
            self._waiting.move_to_end(place, last=False)
        self._refused.clear()
        # Not all of them: thousands may wait, and each batch would wake each of them.
        self._let_in(len(self._waiting) if book.is_closed else book.buffer.room - self._turns)

    def clear(self) -> None:
        """Forget all callers: the loop has ended."""
        self._waiting.clear()
        self._refused.clear()


class _Handover:
    """
    Passes outcomes to `on_undelivered`, in a task.

    Args:
        on_undelivered: The function; None without one.
        news: Reports outcomes.
        loop: The loop of the task.
        buffering: Limits the outcomes that wait.
    """

    def __init__(
        self,
        on_undelivered: OnUndelivered | None,
        news: News,
        loop: asyncio.AbstractEventLoop,
        buffering: BufferSettings,
    ) -> None:
        self._loop = loop
        self._thread = threading.get_ident()
        self._on_undelivered = on_undelivered
        self._handing = Handing(self._soon, buffering.max_events, buffering.max_bytes)
        self._task: asyncio.Task[None] | None = None
        if on_undelivered is not None:
            news.handing = self._handing

    def _soon(self) -> None:
        if threading.get_ident() == self._thread and self._loop.is_running():
            self._task = self._loop.create_task(self._hand())
        else:
            self.now()

    async def _hand(self) -> None:
        while outcomes := self._handing.take():
            result = self._call(outcomes)
            if inspect.isawaitable(result):
                try:
                    await result
                except Exception as error:  # noqa: BLE001  # the caller's code may raise anything
                    log_bug("on_undelivered", error)
        warn_of_left_out(self._handing)

    def now(self) -> None:
        """Pass on the waiting outcomes without a running loop. A coroutine cannot be awaited."""
        while outcomes := self._handing.take():
            result = self._call(outcomes)
            if inspect.iscoroutine(result):
                result.close()
                self._handing.left_out += len(outcomes)
        warn_of_left_out(self._handing)

    def _call(self, outcomes: list[Outcome]) -> object:
        if self._on_undelivered is None:
            return None
        try:
            return self._on_undelivered(outcomes)
        except Exception as error:  # noqa: BLE001  # the caller's code may raise anything
            log_bug("on_undelivered", error)
            return None

    async def finish(self) -> None:
        """Pass on the outcomes that are left."""
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task])
        await self._hand()


class _Fleet:
    """The part of a publisher that belongs to one event loop: a sender for each Region."""

    def __init__(
        self,
        client: _Sends | AsyncRegionRouter,
        line: AsyncLine | None,
        buffering: BufferSettings,
        exit_timeout: float,
        on_undelivered: OnUndelivered | None,
        *,
        drops_oldest: bool,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._is_closed = False
        self._on_undelivered = on_undelivered
        self._shared = Shared()
        self._waiters = _Waiters()
        self._buffering = buffering
        self._exit_timeout = exit_timeout
        self._drops_oldest = drops_oldest
        self._senders: dict[str, _Sender] = {}
        self._only: _Sender | None = None
        if isinstance(client, AsyncRegionRouter):
            self._router = client
            self._routes = Routes(functools.partial(async_region_of, client))
            call = functools.partial(_call_on, self.loop)
            observed = functools.partial(observed_by, async_client_behind(client), "publisher")
            self._desk = Desk(self._shared, call, observed)
            self._handover = _Handover(on_undelivered, self._desk.news, self.loop, buffering)
        elif line is not None:
            self._only = self._senders[""] = self._new_sender(client, line, None)

    @property
    def is_closed(self) -> bool:
        """Whether the publisher is closed."""
        only = self._only
        return self._is_closed or (only is not None and only.dispatch.book.is_closed)

    def _new_sender(self, sends: object, line: AsyncLine, shared: Shared | None) -> _Sender:
        client, guard = _parts(sends)
        return _Sender(
            line,
            self._buffering,
            self._exit_timeout,
            self._on_undelivered,
            drops_oldest=self._drops_oldest,
            gate=None if guard is None else Gate(plans_of(guard), client.sources.pace),
            sources=None if guard is None else client.sources,
            shared=shared,
            waiters=self._waiters,
        )

    def read(self, given: GivenEvent) -> tuple[_Sender | None, Receipt] | None:
        """
        Return an event's sender and receipt; the sender is None if the event has its outcome.

        Returns:
            None instead of the pair if its Region has no sender yet: see `begin_for`.
        """
        if self._only is not None:
            return self._only, self._only.dispatch.book.read(given)
        if self._is_closed:
            raise closed_error()
        event = given if type(given) is PartnerEvent else read(given, None)
        if not isinstance(event, PartnerEvent):
            receipt = self._desk.book.read(given)
            self._desk.count(receipt)
            return None, receipt
        region = self._routes.region(event.source)
        if isinstance(region, ConfigurationError):
            receipt = self._desk.refused(event, region)
            self._desk.count(receipt)
            return None, receipt
        sender = self._senders.get(region)
        return None if sender is None else (sender, sender.dispatch.book.read(event))

    async def begin_for(self, given: GivenEvent) -> tuple[_Sender | None, Receipt]:
        """Start a sender for an event's Region, and return what `read` returns."""
        event = read(given, None)  # read once: the caller may change its mapping
        if isinstance(event, PartnerEvent):
            region = self._routes.region(event.source)
            if not isinstance(region, ConfigurationError):
                sends = async_sender_of(self._router, region)
                line = await async_line_of(_parts(sends)[0])
                if self._is_closed:
                    raise closed_error()
                if region not in self._senders:  # another task may have been first
                    self._senders[region] = self._new_sender(sends, line, self._shared)
                sender = self._senders[region]
                return sender, sender.dispatch.book.read(event)
            receipt = self._desk.refused(event, region)
        else:
            receipt = self._desk.book.read(given)
        self._desk.count(receipt)
        return None, receipt

    def _all(self) -> list[_Sender]:
        return [*self._senders.values()]

    @property
    def is_alive(self) -> bool:
        """Whether each sending task runs."""
        return all(sender.is_alive for sender in self._all())

    @property
    def held(self) -> int:
        """How many events have no outcome yet."""
        return sum([sender.dispatch.book.buffer.held for sender in self._all()])

    def stats(self) -> PublisherStats:
        """See `AsyncEventPublisher.stats`."""
        stats = [sender.dispatch.stats() for sender in self._all()]
        if self._only is None:
            stats.append(self._desk.book.stats(in_flight=0, throttled=0, requests_per_second=None))
        return sum_of_stats(stats)

    async def flush(self, seconds: float | None) -> FlushReport:
        """See `AsyncEventPublisher.flush`."""
        receipts = [receipt for sender in self._all() for receipt in sender.dispatch.hurry()]
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for receipt in receipts:
                    await Arrival(receipt)
        return flush_report(receipts)

    async def close(self, seconds: float | None) -> DeliveryReport:
        """See `AsyncEventPublisher.close`."""
        until = math.inf if seconds is None else monotonic() + seconds
        self._is_closed = True
        senders = self._all()
        receipts = [receipt for sender in senders for receipt in sender.dispatch.retire()]
        try:
            for sender in senders:
                await sender.wait_until_over(until)
        finally:
            for sender in senders:
                sender.cut_off()
        for sender in senders:
            await sender.end_task(until)
        if self._only is None:
            await self._handover.finish()
            self._desk.end()
        return close_report(receipts)

    def end(self) -> None:
        """End after the loop has ended, and log what was lost."""
        self._is_closed = True
        if self._only is None:
            self._handover.now()
            self._desk.end()
        for sender in self._all():
            sender.end()


def _call_on(loop: asyncio.AbstractEventLoop, callback: Callback, receipt: Receipt) -> None:
    try:
        loop.call_soon_threadsafe(run_callback, callback, receipt)
    except RuntimeError:  # the loop has ended
        run_callback(callback, receipt)


class _Sender:
    """The part of a publisher that belongs to one Region: its dispatch, and the sending task."""

    def __init__(
        self,
        line: AsyncLine,
        buffering: BufferSettings,
        exit_timeout: float,
        on_undelivered: OnUndelivered | None,
        *,
        drops_oldest: bool,
        gate: Gate | None,
        sources: AsyncSources | None,
        shared: Shared | None,
        waiters: _Waiters,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._exit_timeout = exit_timeout
        self._line = line
        self._waiters = waiters
        self.dispatch = Dispatch(
            line.settings,
            line.quota,
            line.pace,
            buffering,
            call=self._call,
            on_room=self._make_way,
            witness=line.witness,
            drops_oldest=drops_oldest,
            gate=gate,
            shared=shared,
        )
        self._look_ups: AsyncLookUps | None = None
        if gate is not None and sources is not None:
            self._look_ups = AsyncLookUps(gate, self.dispatch, sources)
            self.dispatch.look_up = self._look_ups.begin
        self._handover = _Handover(on_undelivered, self.dispatch.news, self.loop, buffering)
        self._over = asyncio.Event()
        self._flights: AsyncFlights[Flight] | None = None
        # Answers that are not yet passed to the dispatch; the first may be in progress.
        self._answers: deque[tuple[Flight, Answer]] = deque()
        self._had_turns_at = monotonic()
        self._task = self._begin()
        _at_end.add(self)
        # Kept here: the publisher may be garbage-collected while this still sends.
        after_fork(self, _Sender.leave_to_parent)

    def _call(self, callback: Callback, receipt: Receipt) -> None:
        is_here = threading.get_ident() == self._thread
        call_soon = self.loop.call_soon if is_here else self.loop.call_soon_threadsafe
        try:
            call_soon(run_callback, callback, receipt)
        except RuntimeError:  # the loop has ended
            run_callback(callback, receipt)

    # ------------------------------------------------------------ in any task

    @property
    def is_alive(self) -> bool:
        """Whether its task is alive."""
        return not self._task.done()

    async def admit_within(self, receipt: Receipt, seconds: float) -> bool:
        """
        Queue an event once there is room for it.

        Raises:
            PublisherClosedError: The publisher is closed.
        """
        return await self._waiters.admit_within(self.dispatch, receipt, seconds)

    def _make_way(self) -> None:
        self._waiters.make_way(self.dispatch.book)
        if self.dispatch.is_over:
            self._over.set()

    async def wait_until_over(self, until: float) -> None:
        """Wait until all events have their outcome, or until the time is over."""
        if not self.dispatch.is_over and (left := until - monotonic()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(None if left == math.inf else left):
                    await self._over.wait()

    def cut_off(self) -> None:
        """Stop sending and looking up."""
        self.dispatch.cut_off()
        if self._look_ups is not None:
            self._look_ups.cancel()

    async def end_task(self, until: float) -> None:
        """Give the task the rest of the time to close its connections."""
        left = min(max(_TO_END, until - monotonic()), _LONGEST_WAIT)
        await asyncio.wait([self._task], timeout=left)
        self._task.cancel()
        self.dispatch.news.sum_up()

    def leave_to_parent(self) -> None:
        """Do nothing in a forked child: the parent continues."""
        self.dispatch.leave_to_parent()
        _at_end.discard(self)

    def end(self) -> None:
        """End after the loop has ended, and log what was lost."""
        _at_end.discard(self)
        self.dispatch.wake = _nothing
        self._waiters.clear()
        receipts = self.dispatch.retire()
        self.dispatch.cut_off(says_lost=True)
        warn_of_lost(close_report(receipts))
        self._handover.now()
        self.dispatch.news.sum_up()

    # ------------------------------------------------------------ in the task

    def _begin(self) -> asyncio.Task[None]:
        # In an empty context: it outlives the task that published first.
        task = self.loop.create_task(self._run(), context=contextvars.Context())
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Give every receipt an outcome, whatever ended the task."""
        error = None if task.cancelled() else task.exception()
        if self.dispatch.is_over:
            _at_end.discard(self)
        elif error is None:
            self.end()  # cancelled before its first step
        else:
            # Ctrl-C on a loop that goes on.
            self.dispatch.give_up(error)
            self._task = self._begin()

    async def _run(self) -> None:
        try:
            await self._go_on()
        except asyncio.CancelledError:
            # The loop ends: asyncio.run cancels all tasks and waits for them.
            receipts = self.dispatch.retire()
            with suppress(TimeoutError, asyncio.CancelledError):
                async with asyncio.timeout(self._exit_timeout):
                    await self._go_on()
            self.dispatch.cut_off(says_lost=True)
            warn_of_lost(close_report(receipts))
            with suppress(TimeoutError, asyncio.CancelledError):
                async with asyncio.timeout(self._exit_timeout):
                    await self._handover.finish()
            raise
        else:
            await self._handover.finish()
        finally:
            self.dispatch.note_others()
            self.dispatch.news.sum_up()
            await self._close_flights()

    async def _go_on(self) -> None:
        dispatch = self.dispatch
        while not dispatch.is_over:
            try:
                await self._step()
            except Exception as error:  # noqa: BLE001  # every receipt must get an outcome
                dispatch.give_up(error)
                await self._close_flights()
                await asyncio.sleep(REST)

    async def _close_flights(self) -> None:
        flights, self._flights = self._flights, None
        self.dispatch.wake = _nothing
        self._answers.clear()
        if flights is not None:
            try:
                await flights.close()
            except Exception as error:  # noqa: BLE001  # a transport's error decides no event
                name = type(error).__name__
                log(logging.ERROR, "closing the publisher's connections raised %s", name)
            finally:
                self.dispatch.tell_unanswered()

    async def _step(self) -> None:
        flights = self._flights
        if flights is None:
            flights = self._flights = self._line.open_flights()
            self.dispatch.wake = flights.wake
        now = monotonic()
        if now - self._had_turns_at > _LONGEST_HOLD:
            await asyncio.sleep(0)
            self._had_turns_at = now = monotonic()
        if self._answers:
            await self._tell()
            return
        match self.dispatch.next_step(now):
            case Send(batch):
                await self._send(batch, flights)
            case Wait(until):
                seconds = _LONGEST_WAIT if until is None else until - now
                self._answers.extend(await flights.collect(min(max(0.0, seconds), _LONGEST_WAIT)))
                self.dispatch.has_waited()
                self._had_turns_at = monotonic()
                await self._tell()
            case None:
                pass

    async def _send(self, batch: Batch, flights: AsyncFlights[Flight]) -> None:
        try:
            origins = self.dispatch.origins
            await self._line.submit(flights, batch, self._line.timeouts, origins)
        except CredentialsError as error:
            self.dispatch.not_sent(batch, error)
        except asyncio.CancelledError:
            cancelled = TransportError("the request was cancelled", may_have_been_sent=False)
            self.dispatch.failed(batch, cancelled, monotonic())
            raise

    async def _tell(self) -> None:
        """Pass answers to the dispatch. Each stays in the queue until that is done."""
        answers = self._answers
        while answers:
            await self._line.land(*answers[0], self.dispatch, self.dispatch.note)
            answers.popleft()


def _nothing() -> None:
    pass


# ---------------------------------------------------------------- the end of a process

_at_end: Final[set[_Sender]] = set()
"""The senders of this process that have not ended."""


def _end_process() -> None:
    for sender in [*_at_end]:
        sender.end()


atexit.register(_end_process)
