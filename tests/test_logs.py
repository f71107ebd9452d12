"""The package's log, with handlers that block, raise or log themselves."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from eventbridge_partner import _logs
from eventbridge_partner._logs import log
from eventbridge_partner._threads import SendingThread

SOON = 10.0
Attach = Callable[[Callable[[logging.LogRecord], None]], None]


class Emitting(logging.Handler):
    """Calls a function with each record."""

    def __init__(self, emit: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
        self._emit = emit

    def emit(self, record: logging.LogRecord) -> None:
        self._emit(record)


@pytest.fixture
def attach() -> Iterator[Attach]:
    """Attach handlers to the package's logger, and remove them afterwards."""
    logger = logging.getLogger("eventbridge_partner")
    attached: list[logging.Handler] = []
    level = logger.level

    def attach(emit: Callable[[logging.LogRecord], None]) -> None:
        handler = Emitting(emit)
        attached.append(handler)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)

    yield attach
    for handler in attached:
        logger.removeHandler(handler)
    logger.setLevel(level)


def on_sending_thread(function: Callable[[], None]) -> None:
    thread = SendingThread(function, "sending")
    thread.start()
    thread.join(SOON)
    assert not thread.is_alive()


def test_a_line_is_logged_where_it_is_written(attach: Attach) -> None:
    """A line is logged on the caller's thread, before the caller continues."""
    records: list[logging.LogRecord] = []
    attach(records.append)
    log(logging.INFO, "%d of %d", 1, 2)
    log(logging.DEBUG, "not wanted")
    assert [record.getMessage() for record in records] == ["1 of 2"]
    assert records[0].thread == threading.get_ident()


def test_a_thread_that_sends_waits_for_no_handler(attach: Attach) -> None:
    """The lines of a sending thread are logged in order, on another thread."""
    may_write, texts = threading.Event(), list[str]()
    written = threading.Semaphore(0)

    def emit(record: logging.LogRecord) -> None:
        assert may_write.wait(SOON)
        texts.append(record.getMessage())
        written.release()

    def send() -> None:
        for number in range(30):
            log(logging.INFO, "line %d", number)

    attach(emit)
    on_sending_thread(send)
    assert texts == []
    may_write.set()
    for _ in range(30):
        assert written.acquire(timeout=SOON)
    assert texts == [f"line {n}" for n in range(30)]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a sending thread wait for its line, however busy the machine is."""
    monkeypatch.setattr(_logs, "_PATIENCE", SOON)


@pytest.mark.usefixtures("patient")
def test_a_line_of_a_thread_that_sends_comes_before_what_follows(
    attach: Attach,
) -> None:
    """If the handler does not block, a line is logged before its thread continues."""
    texts: list[str] = []
    attach(lambda record: texts.append(record.getMessage()))

    def send() -> None:
        log(logging.INFO, "first")
        texts.append("second")

    on_sending_thread(send)
    assert texts == ["first", "second"]


@pytest.mark.usefixtures("patient")
def test_what_a_handler_does_is_not_logged_in_turn(attach: Attach) -> None:
    """A line that a handler logs is dropped, so that a handler cannot cause endless lines."""
    texts: list[str] = []

    def emit(record: logging.LogRecord) -> None:
        texts.append(record.getMessage())
        log(logging.INFO, "in turn")

    attach(emit)
    log(logging.INFO, "on this thread")
    on_sending_thread(lambda: log(logging.INFO, "on another"))
    log(logging.INFO, "afterwards")
    assert texts == ["on this thread", "on another", "afterwards"]


def test_a_handler_that_raises_stops_no_later_line(attach: Attach) -> None:
    """A handler that raises stops neither later lines nor the sending thread."""
    texts: list[str] = []

    def emit(record: logging.LogRecord) -> None:
        texts.append(record.getMessage())
        raise ZeroDivisionError

    attach(emit)
    on_sending_thread(lambda: log(logging.INFO, "first"))
    on_sending_thread(lambda: log(logging.INFO, "second"))
    assert texts == ["first", "second"]


def test_what_a_log_handler_raises_stops_nobody(attach: Attach) -> None:
    """What a handler raises does not reach the code that logs, as with Python's own handlers."""
    attach(raise_it(ZeroDivisionError()))
    log(logging.INFO, "line")


@pytest.mark.process
def test_what_the_handler_of_a_signal_raises_passes_through(attach: Attach) -> None:
    """An exception of a signal handler passes through, even if it interrupts a log handler."""

    def time_limit(number: int, frame: object) -> None:
        raise TimeoutError("soft limit")

    before = signal.signal(signal.SIGINT, time_limit)
    try:
        attach(lambda _: signal.raise_signal(signal.SIGINT))
        with pytest.raises(TimeoutError, match="soft limit"):
            log(logging.INFO, "line")
    finally:
        signal.signal(signal.SIGINT, before)


def raise_it(error: Exception) -> Callable[[logging.LogRecord], None]:
    def emit(record: logging.LogRecord) -> None:
        raise error

    return emit


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_process_logs_while_the_parent_is_stuck(attach: Attach) -> None:
    """A child process logs on a thread of its own, even if the parent's is stuck."""
    may_write = threading.Event()
    in_parent = os.getpid()
    reading, writing = os.pipe()

    def emit(record: logging.LogRecord) -> None:
        if os.getpid() == in_parent:
            assert may_write.wait(SOON)
        else:
            os.write(writing, b"x")

    attach(emit)
    on_sending_thread(lambda: log(logging.INFO, "stuck"))
    child = os.fork()
    if child == 0:
        thread = SendingThread(lambda: log(logging.INFO, "in the child"), "sending")
        thread.start()
        thread.join(SOON)
        os._exit(0)
    os.close(writing)
    assert os.read(reading, 1) == b"x"
    os.close(reading)
    assert os.waitpid(child, 0)[1] == 0
    may_write.set()
