"""Flights on blocking transports: a thread for each request in flight, where that pays off."""

from __future__ import annotations

import functools
import math
import queue
import weakref
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from eventbridge_partner._clock import monotonic
from eventbridge_partner._http import HttpRequest, HttpResponse, Timeouts
from eventbridge_partner._mailbox import Mailbox
from eventbridge_partner._signals import let_pass
from eventbridge_partner._threads import SendingThread
from eventbridge_partner.errors import TransportError
from eventbridge_partner.transports import Answer, Transport
from eventbridge_partner.transports._faults import raised

K = TypeVar("K")
Job = Callable[[], None]

_HAND_OVER_SECONDS: Final = 0.002
"""
The answer time from which a request is worth a thread of its own.

Handing a request to a thread and its answer back costs about 0.2 ms of CPU, half of a request.
"""


class BlockingFlights(Generic[K]):
    """
    Flights on a blocking transport.

    A worker thread sends a request if the hand-over pays off: if others are in flight with it, and
    answers are not very quick. So the newest request is held until another one comes, or the
    caller collects or flushes.

    Args:
        transport: The transport.
        workers: The threads to send from.
        stays_free: Whether the calling thread must never send itself, however quick the last
            answers were, because a request that hangs would hold up its other work.
    """

    def __init__(
        self, transport: Transport, workers: WorkerThreads, *, stays_free: bool = False
    ) -> None:
        self._transport = transport
        self._stays_free = stays_free
        self._workers = workers
        self._unsent: tuple[K, HttpRequest, Timeouts] | None = None
        self._answered: list[tuple[K, Answer]] = []
        # None makes `collect` return.
        self._from_workers: Mailbox[tuple[K, Answer | BaseException] | None] = Mailbox()
        self._in_workers = 0

    def submit(self, key: K, request: HttpRequest, timeouts: Timeouts) -> None:
        """Send a request. See `Flights.submit`."""
        self._send_now(alone=False)
        self._unsent = (key, request, timeouts)

    def flush(self) -> None:
        """Send the held request now. See `Flights.flush`."""
        self._send_now(alone=False)

    def collect(self, seconds: float | None) -> list[tuple[K, Answer]]:
        """Return the answers that have come. See `Flights.collect`."""
        self._send_now(alone=not self._in_workers)
        collected, self._answered = self._answered, []
        if collected:
            seconds = 0.0
        if not self._in_workers and (collected or seconds is None):
            return collected
        arrived = deque(self._from_workers.collect(seconds))
        try:
            while arrived:
                self._take(collected, arrived.popleft())
        except BaseException:
            # Kept for the next call if one of the answers raises.
            self._answered += collected
            for letter in arrived:
                self._from_workers.put(letter)
            raise
        return collected

    def withdraw(self) -> K | None:
        """Drop the held request without sending it, and return its key; None if none is held."""
        held, self._unsent = self._unsent, None
        return None if held is None else held[0]

    def waker(self) -> Callable[[], None]:
        """Return a function that makes `collect` return. See `Flights.waker`."""
        return functools.partial(self._from_workers.put, None)

    def close(self) -> None:
        """Stop waiting for answers. See `Flights.close`."""
        self._unsent = None

    def _take(
        self,
        collected: list[tuple[K, Answer]],
        arrived: tuple[K, Answer | BaseException] | None,
    ) -> None:
        if arrived is None:
            return
        self._in_workers -= 1
        key, answer = arrived
        if not isinstance(answer, (HttpResponse, TransportError)):
            raise answer
        collected.append((key, answer))

    def _send_now(self, *, alone: bool) -> None:
        if self._unsent is None:
            return
        key, request, timeouts = self._unsent
        self._unsent = None
        is_quick = alone or self._workers.answer_seconds < _HAND_OVER_SECONDS
        if is_quick and not self._stays_free:
            self._answered.append((key, self._send(request, timeouts)))
            return
        from_workers = self._from_workers

        def job() -> None:
            try:
                from_workers.put((key, self._send(request, timeouts)))
            except BaseException as error:  # noqa: BLE001  # `collect` raises it
                from_workers.put((key, error))

        self._in_workers += 1
        try:
            self._workers.run(job)
        except RuntimeError:  # the process is ending and starts no more threads
            job()

    def _send(self, request: HttpRequest, timeouts: Timeouts) -> Answer:
        started = monotonic()
        try:
            return self._transport.send(request, timeouts)
        except TransportError as error:
            let_pass(error)
            return error
        except Exception as error:  # noqa: BLE001  # a transport's bug must not lose events
            let_pass(error)
            return raised(error, may_have_been_sent=True)
        finally:
            self._workers.answer_seconds = monotonic() - started


class WorkerThreads:
    """
    Daemon threads that run jobs; a new one is started only if none is idle.

    Not `ThreadPoolExecutor`: at exit, it waits for all requests in flight, so Ctrl-C would hang for
    up to a read timeout. And no lock: a signal handler that sends while its thread holds it would
    wait forever.

    Attributes:
        answer_seconds: How long the newest answer took; infinite before the first.
    """

    def __init__(self) -> None:
        self.answer_seconds: float = math.inf
        self._begin()

    def _begin(self) -> None:
        self._crew = _Crew()
        self._end = weakref.finalize(self, self._crew.dismiss)
        self._end.atexit = False

    def run(self, job: Job) -> None:
        """
        Run a job on an idle thread, or on a new one.

        Raises:
            RuntimeError: No thread can be started any more. The job does not run.
        """
        crew = self._crew
        if crew.take_idle():
            crew.jobs.put(job)
            return
        SendingThread(_work, "eventbridge-partner", ([job], crew)).start()

    def stop(self) -> None:
        """Let each thread end after its current job; new jobs get new threads."""
        crew = self._crew
        self._end.detach()
        self._begin()
        crew.dismiss()


class _Crew:
    """
    Threads that wait for jobs from one queue.

    An idle thread puts down a token. The taker of a token puts one job into the queue, or None,
    which ends a thread. So no job is left in the queue, and no thread waits in vain.
    """

    def __init__(self) -> None:
        self.jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._tokens: list[None] = []
        self._is_dismissed = False

    def take_idle(self) -> bool:
        """Take the token of an idle thread, if there is one. This is atomic."""
        try:
            self._tokens.pop()
        except IndexError:
            return False
        return True

    def next_job(self) -> Job | None:
        """Wait for a job as an idle thread; None if the thread is to end."""
        self._tokens.append(None)
        if self._is_dismissed and self.take_idle():
            return None
        return self.jobs.get()

    def dismiss(self) -> None:
        """Let all threads end, working ones after their job."""
        self._is_dismissed = True
        while self.take_idle():
            self.jobs.put(None)


def _work(first: list[Job], crew: _Crew) -> None:
    # A thread keeps its arguments alive, so the job is taken out of the list.
    job: Job | None = first.pop()
    while job is not None:
        job()
        del job  # an idle thread must not keep it alive
        job = crew.next_job()
