"""
A transport on libcurl: many requests in flight on one thread, for a fraction of the CPU.

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
"""No selector takes infinity."""

_MOMENT: Final = 0.005
"""Who is away for longer than these seconds has its requests sent by a thread."""

_SOON: Final = 0.001
"""
Who was away for less than these seconds will be again, and what it submitted can wait for more.

Each request that goes out alone wakes up whoever receives it, which costs a fifth of a request.
"""

_SHORTLY: Final = 0.05
"""For so many seconds at a time it is waited where there is no socket left to be woken by."""

_LOOKS: Final = 8
"""So often it is read what has come before a request is given up: an answer takes one or two."""

# libcurl's own waiting is `select`, which ends at 1,024 open files.
_Selector: Final[Callable[[], selectors.BaseSelector]] = getattr(
    selectors, "PollSelector", selectors.SelectSelector
)

_KEEPS_WATCHING: Final = hasattr(selectors, "PollSelector")
"""
Whether a socket that nobody waits for may stay registered: the next request over it comes soon.

`poll` is told all sockets anew each time (as the kernel is not, of epoll's), so one that was closed
meanwhile does no harm, whatever file has its number now. `select` takes no closed ones.
"""


class CurlTransport:
    """
    Sends requests through libcurl, any number at a time on one thread.

    Safe in threads: each delivery has connections to itself, and hands them on to the next one.
    After a fork, parent and child go on with connections of their own.

    Args:
        ca_bundle: The path of a file or directory of trusted certificates; True for those of
            `certifi`.
        proxies: Proxy URLs by scheme, as `requests` takes them.

    Raises:
        ConfigurationError: A proxy cannot work.
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
        """Send a request and return its whole answer. See `Transport.send`."""
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
            del answer  # an error that its own frame holds keeps all of it alive

    def flights(self) -> CurlFlights[Any]:
        """Open the flights of one delivery."""
        idle = self._idle
        return CurlFlights(
            functools.partial(self._take, idle), functools.partial(self._take_back, idle)
        )

    # No lock here: a signal handler that sends while its thread holds one would wait for ever.
    # Each change of a list is one step, and who removes an element is alone with it.

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

    While who uses them is away for more than a moment, a thread goes on with what is not sent yet.
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
        # Held by a thread that goes on. It looks whether anybody is back after taking it; who comes
        # back says so, and then looks whether it is taken. So never two are at work.
        self._minding = threading.Lock()
        self._heard: socket.socket | None = None

    def hear(self, asleep: socket.socket | None) -> None:
        """Let `wait` return, too, when something can be read from a socket; None for no more."""
        if self._heard is not None:
            self._selector.unregister(self._heard)
        self._heard = asleep
        if asleep is not None:
            self._watch()  # what was said of its number was said of another socket
            if self._watched.pop(asleep.fileno(), 0):
                self._selector.unregister(asleep)
            self._selector.register(asleep, selectors.EVENT_READ, asleep)

    def go(self) -> None:
        """Let begin what was started, over connections that were looked at."""
        transfers = self.transfers
        if transfers.is_to_go:
            self._watch()
            self._drop_unfit()
            transfers.go()

    def _drop_unfit(self) -> None:
        """Drop kept connections on which something lies, or that may have been forgotten."""
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
        """Let libcurl do what there is to do, waiting up to `seconds`; tell whether there was."""
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
                # A selector's readiness has the numbers of libcurl's.
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
        """Let a thread go on with what is not sent yet, in a moment, until `come_back`."""
        if self._call is None:
            self._watch()  # what was said of its number was said of another socket
            self._call = _pair()
            if self._call is None:
                return  # it goes on when we are back
            if self._watched.pop(self._call[0].fileno(), 0):
                self._selector.unregister(self._call[0])
        self._leaves += 1
        self._is_away = True
        if not self._is_watched:
            self._is_watched = True
            with suppress(RuntimeError):  # no more threads: it goes on when we are back
                self._workers.run(self._stand_by)

    def _stand_by(self) -> None:
        """Wait for somebody to stay away, and go on then. Ends when nobody was away lately."""
        leaves = -1
        while leaves != self._leaves:
            leaves = self._leaves
            time.sleep(_MOMENT)
        self._is_watched = False
        # Whoever comes back runs into the error as well.
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
        """Go on alone."""
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
    """Return two sockets that are connected; None if there is no file left for them."""
    try:
        return socket.socketpair()
    except Exception as error:  # noqa: BLE001  # what forbids sockets in tests raises what it likes
        let_pass(error)
        return None


class _Bell:
    """
    Wakes who collects.

    Where nothing is in flight by a lock: a socket's `send` gives way to other threads, the woken
    one first, and costs who rings several times as much.

    Attributes:
        asleep: Becomes readable where a socket is what wakes; None if there was no file left.
        is_rung: Whether it was rung since it was last silent.
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
        """Wake who sleeps or listens, or is about to. In any thread."""
        # Who is to be woken says so first, and looks at this then: one of the two sees the other.
        self.is_rung = True
        if self._is_sleeping:
            with suppress(RuntimeError):  # two have rung
                self._lock.release()
        elif self._is_listening and self._call is not None:
            with suppress(OSError):  # it rings already, or nobody listens any more
                self._call.send(b"!")

    def sleep(self, seconds: float) -> None:
        """Wait for a ring."""
        self._is_sleeping = True
        if not self.is_rung:
            self._lock.acquire(timeout=min(seconds, _LONGEST_WAIT))
        self.fall_silent()
        self._lock.acquire(blocking=False)

    def listen(self) -> bool:
        """Let rings be heard at the socket; False if there was one already."""
        self._is_listening = True
        return not self.is_rung

    def fall_silent(self) -> None:
        """Take that whoever was woken is awake."""
        self._is_sleeping = self._is_listening = self.is_rung = False

    def close(self) -> None:
        """Close the sockets. Ringing has no effect then."""
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
        # None before the first request, and after what was there is given up.
        self._connections: _Connections | None = None
        self._ended: list[tuple[K, Answer]] = []
        self._left_at: float | None = None
        self._comes_back_soon = False
        # Whether no call of ours was left by an exception, such as Ctrl-C. If one was, what we
        # know of the sockets may not be true any more.
        self._is_calm = True
        self._bell: _Bell | None = None

    def submit(self, key: K, request: HttpRequest, timeouts: Timeouts) -> None:
        """Send a request. See `Flights.submit`."""
        try:
            self.start(key, request, timeouts)
        except Exception as error:  # noqa: BLE001  # a transport's fault is no event's fate
            let_pass(error)
            failure = error if isinstance(error, TransportError) else None
            self._ended.append((key, failure or raised(error, may_have_been_sent=False)))

    def start(self, key: K, request: HttpRequest, timeouts: Timeouts) -> None:
        """
        Send a request.

        Raises:
            TransportError: There is no connection. Nothing was sent.
            ValueError: It is none that can be sent.
        """
        self._is_calm = False
        self._take_over()
        try:
            transfers = self._open().transfers
        except (LibcurlError, OSError) as error:
            # It needs a file or two, and says no more than that it could not begin.
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
        """Send what was submitted, here or, in a moment, in a thread. See `Flights.flush`."""
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
        """Return what has been answered. See `Flights.collect`."""
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
        """Read what has come by now, however late we are, and give up what has not come then."""
        now = monotonic()
        ended: list[tuple[K, Answer]] = []
        for _ in range(_LOOKS):
            if not connections.wait(0.0):
                break
            ended += connections.transfers.answered()
        return ended + connections.transfers.expired(now)

    def _take_over(self) -> None:
        """Go on where a thread was at work, or, in a child process, with nothing of it."""
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
        """Return what lets `collect` return. See `Flights.waker`."""
        if self._bell is None:
            self._bell = _Bell()
            if self._connections is not None:
                self._connections.come_back()
                self._connections.hear(self._bell.asleep)
        return self._bell.ring

    def close(self) -> None:
        """End what is in flight, and its connections. See `Flights.close`."""
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
