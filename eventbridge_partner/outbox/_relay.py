"""The relay: the plan of each worker, driven by a thread."""

from __future__ import annotations

import functools
import logging
import time
from typing import Final, cast

from eventbridge_partner._bugs import log_bug
from eventbridge_partner._clock import monotonic
from eventbridge_partner._logs import log
from eventbridge_partner._mailbox import Mailbox
from eventbridge_partner._plans import Running
from eventbridge_partner._threads import SendingThread
from eventbridge_partner.line._undelivered import relay_calls
from eventbridge_partner.observing import ClaimSettled, Observer
from eventbridge_partner.outbox._bell import Bell
from eventbridge_partner.outbox._fates import RegionOf, Rules
from eventbridge_partner.outbox._plan import (
    Control,
    Hold,
    Rest,
    Say,
    Send,
    Settings,
    Settle,
    Step,
    Take,
    Tell,
    described,
    work,
)
from eventbridge_partner.outbox._protocol import Outbox, Sender
from eventbridge_partner.outbox._records import DrainReport
from eventbridge_partner.retry import Wait

_SAID_AGAIN: Final = 60.0
_SLACK: Final = 10.0
# A signal that comes just before a wait does not end it: its handler runs after the wait.
_SLICE: Final = 1.0
_MOST_SAID: Final = 100
_STOPPING: Final = Say(
    "stopping", logging.INFO, "the relay stops: what is under way is finished first"
)


@functools.cache
def _default_backoff() -> Wait:
    from tenacity import wait_random_exponential

    return wait_random_exponential(multiplier=1, max=300)


class Relay:
    """
    Sends the events of an outbox, and records their outcomes.

    Any number of relays, processes and hosts may share an outbox in PostgreSQL. A relay that dies
    loses no event: the rows that it had claimed are claimed again when its lease expires.

    Args:
        outbox: The outbox.
        client: Sends the events: a `PartnerEventsClient`, a `SourceGuard` or a `RegionRouter`.
            The caller closes it.
        workers: Threads, each with one claim at a time.
        claim_events: The most rows of one claim.
        claim_bytes: The largest size of one claim, in bytes.
        lease: Seconds for which a claim belongs to this relay. Half of it is for sending.
        poll: Seconds between two looks when nothing is due, give or take a fifth.
        backoff: How long an event waits after a transient failure: any of tenacity's `wait`
            objects. The default is up to 1 s, doubled each time, up to 5 minutes.
        pending_wait: Seconds that the events of a source wait if a guard finds it PENDING.
        max_age: Seconds after which an event that still fails becomes a dead letter; None to
            retry until it is accepted. An outage makes no dead letters.
        observe: Called with each claim once it is settled, on the thread that settled it; see
            `observing`. Give it to the client too, which reports requests and outcomes.

    Raises:
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        outbox: Outbox,
        client: Sender,
        *,
        workers: int = 2,
        claim_events: int = 400,
        claim_bytes: int = 16 * 2**20,
        lease: float = 60.0,
        poll: float = 0.5,
        backoff: Wait | None = None,
        pending_wait: float = 300.0,
        max_age: float | None = None,
        observe: Observer | None = None,
    ) -> None:
        for name, number, least in (
            ("workers", workers, 1),
            ("claim_events", claim_events, 1),
            ("claim_bytes", claim_bytes, 1),
            ("lease", lease, 1),
        ):
            if not number >= least:
                raise ValueError(f"{name} is {number!r}; allowed: {least} or more")
        for name, seconds in (("poll", poll), ("pending_wait", pending_wait), ("max_age", max_age)):
            if seconds is not None and not seconds > 0:
                raise ValueError(f"{name} is {seconds!r}; allowed: seconds above 0")
        self._outbox = outbox
        self._client = client
        self._workers = workers
        self._observe = observe
        self._settings = Settings(
            claim_events=claim_events,
            claim_bytes=claim_bytes,
            lease=lease,
            poll=poll,
            pending_wait=pending_wait,
            rules=Rules(backoff or _default_backoff(), max_age, _region_of(client)),
        )
        self._bell = Bell()
        self._is_stopped = False
        self._control: Control | None = None
        self._said: dict[str, float] = {}
        self._steps: dict[int, float] = {}

    # ------------------------------------------------------------ running

    def run(self) -> DrainReport:
        """
        Send events until `stop` is called; outages only make it pause.

        Returns:
            What the relay did.
        """
        return self._go()

    def drain(self, *, seconds: float | None = None, events: int | None = None) -> DrainReport:
        """
        Send the events that are due, and return: for schedulers, cron and tests.

        Args:
            seconds: The time limit; claims under way are finished. None for no limit: then an
                outage ends it too.
            events: The most events to claim; None for any number.

        Returns:
            What the relay did.

        Raises:
            PartnerEventsError: The outbox cannot be used.
            ValueError: A number is out of range.
        """
        for name, number in (("seconds", seconds), ("events", events)):
            if number is not None and not number > 0:
                raise ValueError(f"{name} is {number!r}; allowed: a number above 0")
        return self._go(seconds=seconds, events=events, drains=True)

    def stop(self) -> None:
        """
        Stop claiming; claims under way are finished, within half a lease.

        May be called from any thread and in a signal handler. A stopped relay cannot be restarted.
        """
        self._is_stopped = True
        self._wake()

    @property
    def report(self) -> DrainReport:
        """What the relay has done so far."""
        return DrainReport() if self._control is None else self._control.report

    @property
    def is_alive(self) -> bool:
        """Whether every worker makes progress, for a probe. False if one hangs, or none runs."""
        longest = self._settings.lease + _SLACK
        steps = tuple(self._steps.values())
        return bool(steps) and monotonic() - min(steps) < longest

    def _go(
        self, *, seconds: float | None = None, events: int | None = None, drains: bool = False
    ) -> DrainReport:
        until = None if seconds is None else monotonic() + seconds
        control = Control(
            self._settings,
            monotonic,
            lambda: self._is_stopped or ended,
            until=until,
            events=events,
            drains=drains,
        )
        ended = False
        self._control = control
        begun: set[int] = set()
        ends: list[BaseException | None] = []
        news: Mailbox[None] = Mailbox()

        def run(number: int) -> None:
            nonlocal ended
            begun.add(number)  # first of all; see below
            relay_calls()
            error = self._work(control, number)
            if error is not None:
                ended = True
                self._wake()
            ends.append(error)
            news.put(None)

        try:
            for number in range(self._workers):
                SendingThread(run, "eventbridge-partner", (number,)).start()
            while len(ends) < self._workers:
                news.collect(_SLICE)
        except BaseException:
            # A signal handler raised on this thread: finish the claims under way first. A worker
            # that has not begun by now finds the relay stopped.
            ended = True
            self._wake()
            self._say(_STOPPING)
            while len(ends) < len(begun):
                news.collect(_SLICE)
            raise
        finally:
            self._steps.clear()
        for error in ends:
            if error is not None:
                raise error
        return control.report

    def _work(self, control: Control, number: int) -> BaseException | None:
        try:
            while True:
                try:
                    self._drive(control, number)
                except Exception as raised:
                    if control.drains:
                        raise
                    # Whatever the error, the relay continues.
                    self._say(
                        Say(
                            "worker",
                            logging.ERROR,
                            "a worker of the relay failed: %s",
                            (described(raised),),
                        )
                    )
                    self._rest(1.0)
                else:
                    return None
                if control.is_over:
                    return None
        except BaseException as raised:  # noqa: BLE001  # raised again on the caller's thread
            return raised
        finally:
            self._steps.pop(number, None)

    def _drive(self, control: Control, number: int) -> None:
        running = Running[Step, None](work(control))
        while (step := running.step) is not None:
            # A rest may take any time; any other step must end within a lease.
            rest = step.seconds if isinstance(step, Rest) else 0.0
            self._steps[number] = monotonic() + rest
            try:
                value = self._do(step)
            except Exception as error:  # noqa: BLE001  # the plan decides
                running.fail(error)
            else:
                running.go_on(value)

    def _do(self, step: Step) -> object:
        settings = self._settings
        match step:
            case Take(events):
                return self._outbox.claim(
                    events=events, max_bytes=settings.claim_bytes, lease=settings.lease
                )
            case Send(events, seconds):
                return self._client.put_events(events, deadline=seconds)
            case Settle(claim, fates):
                return self._outbox.settle(claim, fates)
            case Hold(source, seconds):
                self._outbox.hold(source, seconds=seconds)
            case Rest(seconds, True):
                self._outbox.wait(seconds)
            case Rest(seconds):
                self._rest(seconds)
            case Say():
                self._say(step)
            case Tell():
                self._tell(step)
        return None

    def _wake(self) -> None:
        self._bell.ring()
        self._outbox.wake()

    def _rest(self, seconds: float) -> None:
        since = self._bell.rings
        if not self._is_stopped:
            self._bell.wait(seconds, since)

    def _say(self, said: Say) -> None:
        now = monotonic()
        last = self._said.get(said.what)
        if last is not None and now - last < _SAID_AGAIN and said.level > logging.INFO:
            return
        if len(self._said) >= _MOST_SAID:
            self._said.clear()
        self._said[said.what] = now
        log(said.level, said.text, *said.values)

    def _tell(self, told: Tell) -> None:
        if self._observe is None:
            return
        settled = told.settled
        observation = ClaimSettled(
            claimed=told.claimed,
            gone=settled.gone,
            dead=settled.dead,
            later=settled.later,
            lost=settled.lost,
            links=told.links,
            started=time.time() - told.seconds,
            seconds=told.seconds,
        )
        try:
            self._observe(observation)
        except Exception as error:  # noqa: BLE001  # the caller's code may raise anything
            log_bug("observe", error)

    def __repr__(self) -> str:
        return f"<Relay of {self._outbox!r} through {self._client!r}>"


def _region_of(client: Sender) -> RegionOf | None:
    """Return a function from a source to its Region, if the client sends to several Regions."""
    client_of = getattr(client, "client_of", None)
    if client_of is None:
        return None

    def region_of(source: str) -> str | None:
        return cast("str", client_of(source).region)

    return region_of
