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
from eventbridge_partner.errors import TransportError
from eventbridge_partner.transports import Answer
from eventbridge_partner.transports._libcurl import (
    READABLE,
    TIMEOUT,
    LibcurlError,
    Settings,
    Transfers,
)
from eventbridge_partner.transports.flights import WorkerThreads

K = TypeVar("K")

_LONGEST_WAIT: Final = 3600.0
"""No selector takes infinity."""

_UNNOTICED: Final = 1.5
"""
Seconds after a request within which libcurl does not look whether its connection was closed.

It is one since libcurl 8.22, none before.
"""

_MOMENT: Final = 0.005
"""Who is away for longer than these seconds has its requests sent by a thread."""

_SOON: Final = 0.001
"""
Who was away for less than these seconds will be again, and what it submitted can wait for more.

Each request that goes out alone wakes up whoever receives it, which costs a fifth of a request.
"""

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
        self._lock = threading.Lock()

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
        with self._lock:
            idle = self._idle
            connections = idle.pop() if idle else None
        return CurlFlights(
            connections or self._connect(), functools.partial(self._take_back, idle), self._connect
        )

    def _connect(self) -> _Connections:
        return _Connections(self._settings, self._workers)

    def _take_back(self, idle: list[_Connections], connections: _Connections) -> None:
        with self._lock:
            is_open = idle is self._idle
            if is_open:
                idle.append(connections)
        if not is_open:
            connections.close()

    def close(self) -> None:
        """Close all idle connections. Sending again opens new ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        self._workers.stop()
        for connections in idle:
            connections.close()


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
        self._looked_at = 0.0
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

    def wait(self, seconds: float) -> None:
        """Let libcurl do what there is to do, waiting up to `seconds` for it."""
        transfers = self.transfers
        self._watch()
        wakes_at = transfers.wakes_at()
        if wakes_at is not None:
            seconds = min(seconds, wakes_at - monotonic())
        for key, events in self._selector.select(max(0.0, seconds)):
            ready = key.fd
            if ready in self._wanted:
                # A selector's readiness has the numbers of libcurl's.
                transfers.act(ready, events)
            elif key.data is None:
                self._selector.unregister(ready)
                del self._watched[ready]
            elif (heard := self._heard) is not None and key.data is heard:
                heard.recv(1024)
        self._looked_at = monotonic()
        if wakes_at is not None and wakes_at <= self._looked_at:
            transfers.act(TIMEOUT, 0)

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

    def have_died(self) -> bool:
        """
        Tell whether a connection was closed while nothing was in flight.

        libcurl looks for that itself, but not within a second of the last request over it.
        """
        now = monotonic()
        idle, self._looked_at = now - self._looked_at, now
        if not 0.001 < idle < _UNNOTICED:
            return False
        self._watch()
        for kept in self.transfers.sockets - {-1} if _KEEPS_WATCHING else ():
            self._watch_for(kept, READABLE)
        return any(
            events & selectors.EVENT_READ and key.data is None and key.fd not in self._wanted
            for key, events in self._selector.select(0)
        )

    def leave(self) -> None:
        """Let a thread go on with what is not sent yet, in a moment, until `come_back`."""
        if self._call is None:
            self._watch()  # what was said of its number was said of another socket
            self._call = socket.socketpair()
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
            self.transfers.go()
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


class _Bell:
    """
    Wakes who collects.

    Where nothing is in flight by a lock: a socket's `send` gives way to other threads, the woken
    one first, and costs who rings several times as much.

    Attributes:
        asleep: Becomes readable where a socket is what wakes.
        is_rung: Whether it was rung since it was last silent.
    """

    def __init__(self) -> None:
        self.asleep, self._call = socket.socketpair()
        self.asleep.setblocking(False)
        self._call.setblocking(False)
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
        elif self._is_listening:
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
        self.asleep.close()
        self._call.close()


class CurlFlights(Generic[K]):
    """Flights on libcurl. See `eventbridge_partner.transports.Flights`."""

    def __init__(
        self,
        connections: _Connections,
        hand_back: Callable[[_Connections], None],
        connect: Callable[[], _Connections],
    ) -> None:
        self._connections = connections
        self._transfers = connections.transfers
        self._hand_back: Callable[[_Connections], None] | None = hand_back
        self._connect = connect
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
            self._ended.append((key, _fault(error, may_have_been_sent=False)))

    def start(self, key: K, request: HttpRequest, timeouts: Timeouts) -> None:
        """
        Send a request.

        Raises:
            ValueError: It is none that can be sent.
        """
        self._is_calm = False
        self._take_over()
        if not self._transfers and self._connections.have_died():
            self._connections.close()
            self._renew()
        self._transfers.start(key, request, timeouts)
        self._is_calm = True

    def flush(self) -> None:
        """Send what was submitted, here or, in a moment, in a thread. See `Flights.flush`."""
        self._is_calm = False
        self._take_over()
        if not self._comes_back_soon:
            try:
                self._transfers.go()
            except LibcurlError as error:
                self._give_up(error)
        if not self._transfers.are_sent():
            self._connections.leave()
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
        transfers, ended, bell = self._transfers, self._ended, self._bell
        if not transfers:
            if seconds and not ended:
                time.sleep(seconds) if bell is None else bell.sleep(seconds)
            return
        transfers.go()
        ended += transfers.answered()
        until = math.inf if seconds is None else monotonic() + seconds
        while not ended:
            left = until - monotonic()
            if bell is not None and not bell.listen():
                left = 0.0
            self._connections.wait(min(left, _LONGEST_WAIT))
            ended += transfers.answered()
            ended += transfers.expired()
            if left <= 0 or (bell is not None and bell.is_rung):
                break
        if bell is not None:
            bell.fall_silent()

    def _take_over(self) -> None:
        """Go on where a thread was at work, or, in a child process, with nothing of it."""
        if self._left_at is not None:
            self._comes_back_soon = monotonic() - self._left_at < _SOON
            self._left_at = None
        if self._transfers.is_parents:
            lost = TransportError("the process was forked", may_have_been_sent=True)
            self._ended += [(key, lost) for key in self._transfers.in_flight()]
            self._renew()
        self._connections.come_back()

    def _give_up(self, error: Exception) -> None:
        lost = _fault(error, may_have_been_sent=True)
        self._ended += [(key, lost) for key in self._transfers.in_flight()]
        self._connections.close()
        self._renew()

    def _renew(self) -> None:
        self._connections = self._connect()
        self._transfers = self._connections.transfers
        if self._bell is not None:
            self._connections.hear(self._bell.asleep)

    def waker(self) -> Callable[[], None]:
        """Return what lets `collect` return. See `Flights.waker`."""
        if self._bell is None:
            self._bell = _Bell()
            self._connections.come_back()
            self._connections.hear(self._bell.asleep)
        return self._bell.ring

    def close(self) -> None:
        """End what is in flight, and its connections. See `Flights.close`."""
        hand_back, self._hand_back = self._hand_back, None
        if hand_back is None or self._transfers.is_parents:
            return
        self._connections.come_back()
        if self._bell is not None:
            self._connections.hear(None)
            self._bell.close()
        if self._is_calm and not self._transfers:
            hand_back(self._connections)
        else:
            self._connections.close()


def _fault(error: Exception, *, may_have_been_sent: bool) -> TransportError:
    failure = TransportError(
        f"the transport raised {type(error).__name__}", may_have_been_sent=may_have_been_sent
    )
    failure.__cause__ = error
    return failure
