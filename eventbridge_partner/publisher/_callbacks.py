"""Runs the callbacks of receipts, on a thread of their own."""

from __future__ import annotations

import functools
import queue
import threading
from collections.abc import Callable

from eventbridge_partner._clock import monotonic
from eventbridge_partner.publisher._receipts import (
    Callback,
    Receipt,
    for_lock,
    note_raised,
    run_callback,
)


class Callbacks:
    """Calls callbacks one after another, on a thread that starts when needed."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        # None tells the thread to end, if nothing else is due.
        self._due: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_ended = False

    def expect(self) -> None:
        """Start the thread now: at the end of the process it may be too late."""
        with self._lock:
            if not self._is_ended:
                self._has_thread()

    def run(self, callback: Callback, receipt: Receipt) -> None:
        """Call a callback soon; at once if the process is ending and can start no thread."""
        self.do(functools.partial(run_callback, callback, receipt))

    def do(self, call: Callable[[], None]) -> None:
        """Call a function soon; at once if the process is ending and can start no thread."""
        with self._lock:
            has_thread = self._has_thread()
            if has_thread:
                self._due.put(call)
                if self._is_ended:
                    self._due.put(None)
        if not has_thread:
            call()

    def _has_thread(self) -> bool:
        if self._thread is None:
            # A daemon: a callback that hangs must not keep the process alive.
            thread = threading.Thread(
                target=self._call_all, name="eventbridge-partner-callbacks", daemon=True
            )
            self._thread = thread  # first: a signal handler may get here while it starts
            try:
                thread.start()
            except RuntimeError:
                self._thread = None
        return self._thread is not None

    def _call_all(self) -> None:
        while True:
            due = self._due.get()
            if due is not None:
                try:
                    due()
                except BaseException as error:  # noqa: BLE001  # sys.exit must not end this thread
                    note_raised(error)
                del due  # an idle thread must not keep objects alive
                continue
            with self._lock:
                if self._due.empty():
                    self._thread = None
                    return

    def end(self) -> None:
        """Let the thread end once nothing is due."""
        with self._lock:
            if not self._is_ended:
                self._is_ended = True
                self._due.put(None)

    def join(self, until: float) -> None:
        """Wait until all due callbacks have been called."""
        with self._lock:
            thread = self._thread
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join(for_lock(until - monotonic()))
