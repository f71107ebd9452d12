"""
A transport on libcurl: many requests in flight on one thread, with a fraction of the CPU.

Needs the extra `speed`: `pip install 'eventbridge-partner[speed]'`.
"""

from __future__ import annotations

import functools
import math
import os
import selectors
import socket
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar

from eventbridge_partner._clock import monotonic
from eventbridge_partner._http import HttpRequest, HttpResponse, Timeouts
from eventbridge_partner._signals import let_pass
from eventbridge_partner.errors import TransportError
from eventbridge_partner.transports import Answer
from eventbridge_partner.transports._faults import no_connection, place_of, raised
from eventbridge_partner.transports._libcurl import (
    TIMEOUT,
    LibcurlError,
    Settings,
    Transfers,
)
from eventbridge_partner.transports._unread import with_input
from eventbridge_partner.transports.flights import WorkerThreads

K = TypeVar("K")

_LONGEST_WAIT: Final = 3600.0
"""Selectors do not accept infinity."""

_MOMENT: Final = 0.005
"""If the caller is away for longer than these seconds, a thread sends its requests."""

_LONGEST_MOMENT: Final = 0.04
"""While the caller comes back quickly, the thread looks less often: each look takes the GIL."""

_SOON: Final = 0.001
"""
If the caller was away for less than these seconds, its requests wait for more to go with.

Each request sent alone wakes up the receiver, which costs a fifth of a request.
"""

_SHORTLY: Final = 0.05
"""How many seconds each wait takes if there is no socket left for waking it up."""

_LOOKS: Final = 8
"""How often input is read before a request is given up; an answer takes one or two reads."""

# libcurl itself waits with `select`, which is limited to 1,024 open files.
_Selector: Final[Callable[[], selectors.BaseSelector]] = getattr(
    selectors, "PollSelector", selectors.SelectSelector
)

_KEEPS_WATCHING: Final = hasattr(selectors, "PollSelector")
"""
Whether an idle socket may stay registered, because the next request over it comes soon.

`poll` is given all sockets each time (epoll is not), so a closed one does no harm, whatever file
has its number now. `select` does not accept closed ones.
"""


class CurlTransport:
    """
    Sends any number of requests at a time on one thread, through libcurl.

    Thread-safe: each delivery has connections to itself, and passes them on to the next one.
    After a fork, parent and child use connections of their own.

    Args:
        ca_bundle: The path of a file or directory of trusted certificates; True for those of
            `certifi`.
        proxies: Proxy URLs by scheme, as `requests` takes them.

    Raises:
        ConfigurationError: A proxy is invalid.
    """

    def __init__(
        self, *, ca_bundle: str | bool = True, proxies: Mapping[str, str] | None = None
    ) -> None:
        self._settings = Settings(ca_bundle, proxies)
        self._forget_process()
        _transports.add(self)

    def _forget_process(self) -> None:
        self._idle: list[_Connections] = []
        self._workers = WorkerThreads()

    def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        """Send a request and return its complete answer. See `Transport.send`."""
        flights = self.flights()
        try:
            flights.start(None, request, timeouts)
            [(_, answer)] = flights.collect(None)
        finally:
            flights.close()
        try:
            if isinstance(answer, TransportError):
                raise answer
            return answer
        finally:
            del answer  # an error in its own frame is a reference cycle

    def flights(self) -> CurlFlights[Any]:
        """Open the flights of one delivery."""
        idle = self._idle
        return CurlFlights(
            functools.partial(self._take, idle), functools.partial(self._take_back, idle)
        )

    # No lock: a signal handler that sends while its thread holds it would wait forever. Each
    # change of a list is atomic, and the thread that removes an element owns it.

    def _take(self, idle: list[_Connections]) -> _Connections:
        try:
            return idle.pop()
        except IndexError:
            return _Connections(self._settings, self._workers)

    def _take_back(self, idle: list[_Connections], connections: _Connections) -> None:
        idle.append(connections)
        if idle is not self._idle:
            _close_all(idle)

    def close(self) -> None:
        """Close all idle connections. Sending again opens new ones."""
        idle, self._idle = self._idle, []
        self._workers.stop()
        _close_all(idle)


def _close_all(idle: list[_Connections]) -> None:
    with suppress(IndexError):
        while True:
            idle.pop().close()


_transports: Final[weakref.WeakSet[CurlTransport]] = weakref.WeakSet()


def _forget_parent() -> None:
    for transport in _transports:
        transport._forget_process()  # pyright: ignore[reportPrivateUsage]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)


class _Connections:
    """
    Transfers, and a selector that waits for their sockets.

    If their user is away for more than a moment, a thread sends what is not yet sent.
    """

    def __init__(self, settings: Settings, workers: WorkerThreads) -> None:
        self.transfers: Transfers = Transfers(settings)
        self._workers = workers
        self._selector = _Selector()
        self._wanted: dict[int, int] = {}
        self._watched: dict[int, int] = {}
        self._call: tuple[socket.socket, socket.socket] | None = None
        self._is_away = False
        self._leaves = 0
        self._is_watched = False
        # Held by the thread while it works. After taking the lock, the thread checks `_is_away`;
        # `come_back` clears that and then checks the lock. So the two never work at once.
        self._minding = threading.Lock()
        self._heard: socket.socket | None = None

    def hear(self, asleep: socket.socket | None) -> None:
        """Make `wait` return, too, when a socket becomes readable; None to stop that."""
        if self._heard is not None:
            self._selector.unregister(self._heard)
        self._heard = asleep
        if asleep is not None:
            self._watch()  # earlier changes of this number were about another socket
            if self._watched.pop(asleep.fileno(), 0):
                self._selector.unregister(asleep)
            self._selector.register(asleep, selectors.EVENT_READ, asleep)

    def go(self) -> None:
        """Begin the started transfers, after checking the kept connections."""
        transfers = self.transfers
        if transfers.is_to_go:
            self._watch()
            self._drop_unfit()
            transfers.go()

    def _drop_unfit(self) -> None:
        """Drop kept connections that have unread input, or may be dead at the other end."""
        transfers = self.transfers
        idle = [number for number in transfers.kept if number not in self._wanted]
        if not idle:
            return
        for number in with_input(idle):
            transfers.drop(number)
        until = transfers.distrusted_until
        if until > -math.inf:
            transfers.distrusted_until = -math.inf
            for number in idle:
                kept = transfers.kept.get(number)
                if kept is not None and kept.idle_since <= until:
                    transfers.drop(number)

    def wait(self, seconds: float) -> bool:
        """Wait up to `seconds` for a ready socket; return whether there was one."""
        transfers = self.transfers
        self.go()
        self._watch()
        wakes_at = transfers.wakes_at()
        if wakes_at is not None:
            seconds = min(seconds, wakes_at - monotonic())
        found = self._selector.select(max(0.0, seconds))
        for key, events in found:
            ready = key.fd
            if ready in self._wanted:
                # Selectors and libcurl use the same numbers for events.
                transfers.act(ready, events)
            elif key.data is None:
                self._selector.unregister(ready)
                del self._watched[ready]
            elif (heard := self._heard) is not None and key.data is heard:
                heard.recv(1024)
        if wakes_at is not None and wakes_at <= monotonic():
            transfers.act(TIMEOUT, 0)
        return bool(found)

    def _watch(self) -> None:
        for changed, interest in self.transfers.changes():
            if not interest:
                self._wanted.pop(changed, None)
                if not _KEEPS_WATCHING and self._watched.pop(changed, 0):
                    self._selector.unregister(changed)
                continue
            self._wanted[changed] = interest
            self._watch_for(changed, interest)

    def _watch_for(self, changed: int, interest: int) -> None:
        watched = self._watched.get(changed)
        if watched == interest:
            return
        if watched is None:
            self._selector.register(changed, interest)
        else:
            self._selector.modify(changed, interest)
        self._watched[changed] = interest

    def leave(self) -> None:
        """Let a thread send what is not yet sent, after a moment, until `come_back`."""
        if self._call is None:
            self._watch()  # earlier changes of this number were about another socket
            self._call = _pair()
            if self._call is None:
                return  # no thread: sending continues after `come_back`
            if self._watched.pop(self._call[0].fileno(), 0):
                self._selector.unregister(self._call[0])
        self._leaves += 1
        self._is_away = True
        if not self._is_watched:
            self._is_watched = True
            with suppress(RuntimeError):  # no more threads: sending continues after `come_back`
                self._workers.run(self._stand_by)

    def _stand_by(self) -> None:
        """Send once the caller stays away for a moment; end if it has not left again meanwhile."""
        leaves, moment = -1, _MOMENT
        while leaves != self._leaves:
            leaves = self._leaves
            time.sleep(moment)
            moment = min(2 * moment, _LONGEST_MOMENT)
        self._is_watched = False
        # The caller will meet the same error after `come_back`.
        with self._minding, suppress(LibcurlError):
            if self._call is not None and self._is_away:
                self._mind(self._call)

    def _mind(self, call: tuple[socket.socket, socket.socket]) -> None:
        self._selector.register(call[0], selectors.EVENT_READ, call)
        try:
            self.go()
            while self._is_away and not self.transfers.are_sent():
                self.wait(_LONGEST_WAIT)
        finally:
            self._selector.unregister(call[0])

    def come_back(self) -> None:
        """Take the transfers back from the thread."""
        self._is_away = False
        if self._call is None or not self._minding.locked():
            return
        asleep, call = self._call
        call.send(b"!")
        with self._minding:
            asleep.recv(1)

    def close(self) -> None:
        """Close all connections."""
        self.come_back()
        self.transfers.close()
        self._selector.close()
        for end in self._call or ():
            end.close()


def _pair() -> tuple[socket.socket, socket.socket] | None:
    """Return two connected sockets; None if there are no file descriptors left for them."""
    try:
        return socket.socketpair()
    except Exception as error:  # noqa: BLE001  # test tools that forbid sockets raise anything
        let_pass(error)
        return None


class _Bell:
    """
    Wakes the collecting thread.

    If nothing is in flight, it uses a lock: a socket's `send` lets other threads run, first the
    woken one, and costs the ringing thread several times as much.

    Attributes:
        asleep: A socket that becomes readable on a ring; None if there was no descriptor left.
        is_rung: Whether it was rung since the last `fall_silent`.
    """

    def __init__(self) -> None:
        self.asleep: socket.socket | None
        self._call: socket.socket | None
        self.asleep, self._call = _pair() or (None, None)
        for end in (self.asleep, self._call):
            if end is not None:
                end.setblocking(False)
        self._lock = threading.Lock()
        self._lock.acquire()
        self._is_sleeping = self._is_listening = False
        self.is_rung = False

    def ring(self) -> None:
        """Wake the thread that sleeps or listens, or is about to. Any thread may call it."""
        # The waiting thread first says that it waits, then checks this: one sees the other.
        self.is_rung = True
        if self._is_sleeping:
            with suppress(RuntimeError):  # another thread released it
                self._lock.release()
        elif self._is_listening and self._call is not None:
            with suppress(OSError):  # it was rung already, or is closed
                self._call.send(b"!")

    def sleep(self, seconds: float) -> None:
        """Wait for a ring."""
        self._is_sleeping = True
        if not self.is_rung:
            self._lock.acquire(timeout=min(seconds, _LONGEST_WAIT))
        self.fall_silent()
        self._lock.acquire(blocking=False)

    def listen(self) -> bool:
        """Make rings wake the socket; return False if it was rung already."""
        self._is_listening = True
        return not self.is_rung

    def fall_silent(self) -> None:
        """Reset it: the woken thread is awake."""
        self._is_sleeping = self._is_listening = self.is_rung = False

    def close(self) -> None:
        """Close the sockets. Ringing then has no effect."""
        for end in (self.asleep, self._call):
            if end is not None:
                end.close()


class CurlFlights(Generic[K]):
    """Flights on libcurl. See `eventbridge_partner.transports.Flights`."""

    def __init__(
        self, take: Callable[[], _Connections], hand_back: Callable[[_Connections], None]
    ) -> None:
        self._take = take
        self._hand_back = hand_back
        # None before the first request, and after the connections were given up.
        self._connections: _Connections | None = None
        self._ended: list[tuple[K, Answer]] = []
        self._left_at: float | None = None
        self._comes_back_soon = False
        # False while a call is running, and after an exception such as Ctrl-C ended one: our
        # record of the sockets may then be wrong.
        self._is_calm = True
        self._bell: _Bell | None = None

    def submit(self, key: K, request: HttpRequest, timeouts: Timeouts) -> None:
        """Send a request. See `Flights.submit`."""
        try:
            self.start(key, request, timeouts)
        except Exception as error:  # noqa: BLE001  # a transport's bug must not lose events
            let_pass(error)
            failure = error if isinstance(error, TransportError) else None
            self._ended.append((key, failure or raised(error, may_have_been_sent=False)))

    def start(self, key: K, request: HttpRequest, timeouts: Timeouts) -> None:
        """
        Send a request.

        Raises:
            TransportError: There is no connection. Nothing was sent.
            ValueError: The request cannot be sent.
        """
        self._is_calm = False
        self._take_over()
        try:
            transfers = self._open().transfers
        except (LibcurlError, OSError) as error:
            # libcurl lacks file descriptors, but only says that it could not begin.
            raise no_connection(place_of(request.url), f"libcurl cannot begin: {error}") from error
        transfers.start(key, request, timeouts)
        self._is_calm = True

    def _open(self) -> _Connections:
        connections = self._connections
        if connections is None:
            connections = self._connections = self._take()
            if self._bell is not None:
                connections.hear(self._bell.asleep)
        return connections

    def flush(self) -> None:
        """Send the submitted requests, here or in a thread after a moment. See `Flights.flush`."""
        self._is_calm = False
        self._take_over()
        connections = self._connections
        if connections is not None:
            if not self._comes_back_soon:
                try:
                    connections.go()
                except LibcurlError as error:
                    self._give_up(error)
                    connections = None
            if connections is not None and not connections.transfers.are_sent():
                connections.leave()
        self._left_at = monotonic()
        self._is_calm = True

    def collect(self, seconds: float | None) -> list[tuple[K, Answer]]:
        """Return the answers that have come. See `Flights.collect`."""
        self._is_calm = False
        self._take_over()
        try:
            self._gather(seconds)
        except LibcurlError as error:
            self._give_up(error)
        self._is_calm = True
        ended, self._ended = self._ended, []
        return ended

    def _gather(self, seconds: float | None) -> None:
        connections, ended, bell = self._connections, self._ended, self._bell
        if connections is None or not connections.transfers:
            if seconds and not ended:
                time.sleep(seconds) if bell is None else bell.sleep(seconds)
            return
        transfers = connections.transfers
        connections.go()
        until = math.inf if seconds is None else monotonic() + seconds
        is_over = False
        while True:
            ended += transfers.answered()
            if transfers.are_late():
                ended += self._give_up_late_ones(connections)
            if ended or is_over:
                break
            left = until - monotonic()
            longest = _LONGEST_WAIT
            if bell is not None:
                if not bell.listen():
                    left = 0.0
                elif bell.asleep is None:
                    longest = _SHORTLY
            connections.wait(min(left, longest))
            is_over = left <= 0 or (bell is not None and bell.is_rung)
        if bell is not None:
            bell.fall_silent()

    def _give_up_late_ones(self, connections: _Connections) -> list[tuple[K, Answer]]:
        """Read all input that has come, even if late, then give up requests without an answer."""
        now = monotonic()
        ended: list[tuple[K, Answer]] = []
        for _ in range(_LOOKS):
            if not connections.wait(0.0):
                break
            ended += connections.transfers.answered()
        return ended + connections.transfers.expired(now)

    def _take_over(self) -> None:
        """Take over from the thread; in a child process, give up everything of the parent's."""
        if self._left_at is not None:
            self._comes_back_soon = monotonic() - self._left_at < _SOON
            self._left_at = None
        connections = self._connections
        if connections is None:
            return
        if connections.transfers.is_parents:
            self._ended += connections.transfers.forked()
            self._connections = None
            return
        connections.come_back()

    def _give_up(self, error: Exception) -> None:
        connections, self._connections = self._connections, None
        if connections is not None:
            self._ended += connections.transfers.lost(f"libcurl cannot go on: {error}")
            connections.close()

    def waker(self) -> Callable[[], None]:
        """Return a function that makes `collect` return. See `Flights.waker`."""
        if self._bell is None:
            self._bell = _Bell()
            if self._connections is not None:
                self._connections.come_back()
                self._connections.hear(self._bell.asleep)
        return self._bell.ring

    def close(self) -> None:
        """End the requests in flight and close their connections. See `Flights.close`."""
        connections, self._connections = self._connections, None
        bell, self._bell = self._bell, None
        if connections is not None and not connections.transfers.is_parents:
            connections.come_back()
            connections.hear(None)
            if self._is_calm and not connections.transfers:
                self._hand_back(connections)
            else:
                connections.close()
        if bell is not None:
            bell.close()
