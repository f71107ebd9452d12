"""
What happens to a publisher's events when its process forks, freezes or ends.

Each program runs in a process of its own and says what its receipts say; the service says what
arrived.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from eventbridge_partner.testing import FakeEventBridge, LocalServer, SlowAnswer
from tests.patience import SOON

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX processes"),
]

PREAMBLE = """
import atexit, json, logging, os, signal, sys, threading, time
from eventbridge_partner import *
from botocore.credentials import Credentials
from eventbridge_partner.transports.curl import CurlTransport

client = PartnerEventsClient(
    "us-east-1",
    endpoint_url={url!r},
    credentials=Credentials({access_key!r}, {secret_key!r}),
    timeout=60,
    transport={transport},
)
def event(number):
    return PartnerEvent(f"aws.partner/example.com/customer-{{number % 7}}", "t", {{"n": number}})
def say(*what):
    os.write(1, (json.dumps(what) + "\\n").encode())
def wait_until(is_so):
    while not is_so():
        time.sleep(0.002)
"""


@pytest.fixture
def service() -> FakeEventBridge:
    return FakeEventBridge()


@pytest.fixture
def server(service: FakeEventBridge) -> Iterator[LocalServer]:
    with service.serve() as server:
        yield server


@pytest.fixture(params=["None", "CurlTransport"], ids=["requests", "curl"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Silence:
    """A service that takes requests, and answers only when it is told to."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._connections: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"

    def wait_for_a_request(self) -> None:
        """Wait until a byte of a request has come: from then on, its events may have arrived."""
        connection, _ = self._listening.accept()
        connection.settimeout(SOON)
        self._connections.append(connection)
        assert connection.recv(1)

    def accept_an_event(self) -> None:
        """Answer the request that was waited for; it holds one event."""
        body = b'{"FailedEntryCount":0,"Entries":[{"EventId":"1"}]}'
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
        self._connections[-1].sendall(head.encode() + body)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


@pytest.fixture
def silence() -> Iterator[Silence]:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
        listening.settimeout(SOON)
        with closing(Silence(listening)) as silence:
            yield silence


class Program:
    """A program that publishes, in a process of its own."""

    def __init__(self, service: FakeEventBridge, url: str, transport: str, body: str) -> None:
        preamble = PREAMBLE.format(
            url=url,
            access_key=service.credentials.access_key,
            secret_key=service.credentials.secret_key,
            transport=transport,
        )
        self.process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-W", "ignore", "-c", preamble + body],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self._stdin, self._stdout = self.process.stdin, self.process.stdout

    def said(self) -> Any:
        """Wait for the next line of the program, and return it decoded."""
        return json.loads(self._stdout.readline())

    def go_on(self) -> None:
        """Answer the `input()` that the program waits in."""
        self._stdin.write("\n")
        self._stdin.flush()

    def end(self, status: int = 0) -> str:
        """Wait for the program to end, and return what it wrote to standard error."""
        _, errors = self.process.communicate(timeout=SOON)
        assert self.process.returncode == status, errors
        assert "Traceback" not in errors
        return errors


Run = Callable[..., Program]


@pytest.fixture
def run() -> Iterator[Run]:
    """Starts programs, and kills those that are left at the end."""
    programs: list[Program] = []

    def start(*arguments: Any) -> Program:
        programs.append(Program(*arguments))
        return programs[-1]

    yield start
    for program in programs:
        program.process.kill()
        program.process.communicate()


def arrived(service: FakeEventBridge) -> Counter[int]:
    return Counter(json.loads(entry.detail)["n"] for entry in service.accepted)


def once(count: int) -> Counter[int]:
    return Counter(range(count))


# ---------------------------------------------------------------- the end


def test_exit_without_close_sends_what_is_buffered(
    run: Run, service: FakeEventBridge, server: LocalServer, transport: str
) -> None:
    """The publisher sends within its exit timeout, and prints nothing."""
    program = run(
        service,
        server.url,
        transport,
        """
publisher = EventPublisher(client, linger=600)
for number in range(90):
    publisher.publish(event(number))
""",
    )
    assert program.end() == ""
    assert arrived(service) == once(90)


def test_exit_with_more_requests_than_threads(
    run: Run, service: FakeEventBridge, server: LocalServer
) -> None:
    """Python starts no threads at exit; requests that have none are sent all the same."""
    service.play(SlowAnswer(0.01, times=None))
    program = run(
        service,
        server.url,
        "None",
        """
publisher = EventPublisher(client, linger=600)
for number in range(19):
    publisher.publish(event(number))
def late():
    for number in range(19, 400):
        publisher.publish(event(number))
atexit.register(late)
""",
    )
    assert program.end() == ""
    assert arrived(service) == once(400)


def test_exit_while_the_service_hangs_says_what_was_lost(
    run: Run, service: FakeEventBridge, silence: Silence, transport: str
) -> None:
    """The program ends in time and prints how many events were lost."""
    program = run(
        service,
        silence.url,
        transport,
        """
publisher = EventPublisher(client, linger=0, exit_timeout=0.3)
for number in range(1000):
    publisher.publish(event(number))
input()
""",
    )
    silence.wait_for_a_request()
    program.go_on()
    errors = program.end()
    found = re.search(r"(\d+) events were not sent, and (\d+) may or may not have", errors)
    assert found is not None, errors
    assert sum(map(int, found.groups())) == 1000
    assert len(errors.splitlines()) == 1
    assert service.accepted_count == 0


def test_exit_after_close_says_nothing(
    run: Run, service: FakeEventBridge, silence: Silence, transport: str
) -> None:
    """The caller of close has the report; only the usual log lines on undelivered events appear."""
    program = run(
        service,
        silence.url,
        transport,
        """
publisher = EventPublisher(client, linger=0)
receipts = [publisher.publish(event(number)) for number in range(100)]
report = publisher.close(0.3)
say(len(report), sum(receipt.done() for receipt in receipts))
""",
    )
    assert program.said() == [100, 100]
    lines = program.end().splitlines()
    found = [
        re.match(r"(\d+) events? of a publisher (?:was|were) not accepted: ", line)
        for line in lines
    ]
    assert sum(int(one[1]) for one in found if one) == 100
    assert all(found)


def test_exit_while_daemon_threads_publish(
    run: Run, service: FakeEventBridge, server: LocalServer
) -> None:
    """Threads that publish during exit are refused, nothing hangs, and taken events arrive."""
    program = run(
        service,
        server.url,
        "None",
        """
publisher = EventPublisher(client)
taken = [0] * 4
def publish(which):
    try:
        while True:
            publisher.publish(event(0))
            taken[which] += 1
    except PublisherClosedError:
        time.sleep(60)
for which in range(4):
    threading.Thread(target=publish, args=(which,), daemon=True).start()
wait_until(lambda: min(taken) > 100)
atexit.register(lambda: say(publisher.stats().published))  # called before the publisher's own
""",
    )
    published = program.said()[0]
    assert program.end() == ""
    assert service.accepted_count >= published > 0


def test_an_uncaught_exception_loses_no_event(
    run: Run, service: FakeEventBridge, server: LocalServer
) -> None:
    """sys.exit loses no event: the interpreter shuts down in order."""
    program = run(
        service,
        server.url,
        "None",
        """
publisher = EventPublisher(client, linger=600)
receipts = publisher.publish_many(map(event, range(30)))
sys.exit(3)
""",
    )
    assert program.end(3) == ""
    assert arrived(service) == once(30)


# ---------------------------------------------------------------- signals


def test_sigterm_that_exits_loses_no_event(
    run: Run, service: FakeEventBridge, server: LocalServer, transport: str
) -> None:
    """A SIGTERM handler that calls sys.exit, as in gunicorn's workers, loses no event."""
    program = run(
        service,
        server.url,
        transport,
        """
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
publisher = EventPublisher(client)
number = 0
try:
    while True:
        publisher.publish(event(number))
        number += 1
        if number == 2000:
            say("busy")
finally:
    say(publisher.stats().published)
""",
    )
    assert program.said() == ["busy"]
    program.process.send_signal(signal.SIGTERM)
    published = program.said()[0]
    assert program.end() == ""
    assert arrived(service) == once(published)


def test_a_signal_handler_may_close(
    run: Run, service: FakeEventBridge, server: LocalServer, transport: str
) -> None:
    """The handler may interrupt a publish: a held lock does not block close."""
    program = run(
        service,
        server.url,
        transport,
        """
publisher = EventPublisher(client)
def close(*_):
    report = publisher.close(40)
    say(len(report.accepted), publisher.stats().published)
signal.signal(signal.SIGTERM, close)
number = 0
try:
    while True:
        publisher.publish(event(number))
        number += 1
        if number == 2000:
            say("busy")
except PublisherClosedError:
    say("closed")
""",
    )
    assert program.said() == ["busy"]
    program.process.send_signal(signal.SIGTERM)
    _, published = program.said()
    assert program.said() == ["closed"]
    assert program.end() == ""
    assert arrived(service) == once(published)


def test_ctrl_c_loses_no_event(run: Run, service: FakeEventBridge, server: LocalServer) -> None:
    """Buffered events are sent when a program ends after KeyboardInterrupt."""
    program = run(
        service,
        server.url,
        "None",
        """
publisher = EventPublisher(client, linger=600)
receipts = publisher.publish_many(map(event, range(30)))
try:
    say("ready")
    while True:  # a signal that comes just before a sleep begins does not end it
        time.sleep(0.01)
except KeyboardInterrupt:
    pass
""",
    )
    assert program.said() == ["ready"]
    program.process.send_signal(signal.SIGINT)
    assert program.end() == ""
    assert arrived(service) == once(30)


@pytest.mark.parametrize(("on_full", "room"), [("block", 10**6), ("drop_oldest", 100)])
def test_ctrl_c_in_publish_keeps_the_balance(
    run: Run, service: FakeEventBridge, server: LocalServer, on_full: str, room: int
) -> None:
    """An event is taken as a whole or not at all, wherever the exception is raised."""
    program = run(
        service,
        server.url,
        "CurlTransport",
        f"room, on_full = {room}, {on_full!r}"
        """
import random
publisher = EventPublisher(client, linger=0.001, max_buffered_events=room, on_full=on_full)
publisher.publish(event(0)).result(60)
def interrupt(number, frame):
    if "/eventbridge_partner/publisher/" in frame.f_code.co_filename:
        raise KeyboardInterrupt
signal.signal(signal.SIGALRM, interrupt)
receipts, interrupts = [], 0
while interrupts < 40:
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0002, 0.001))
        for number in range(1000):
            receipts.append(publisher.publish(event(number)))
    except KeyboardInterrupt:
        interrupts += 1
signal.setitimer(signal.ITIMER_REAL, 0)
publisher.close(40)
stats = publisher.stats()
decided = stats.accepted + stats.rejected + stats.exhausted + stats.unconfirmed + stats.dropped
say(all(receipt.done() for receipt in receipts))
say(stats.published - decided, stats.buffered, stats.in_flight, stats.buffered_bytes)
""",
    )
    assert program.said() == [True]
    assert program.said() == [0, 0, 0, 0]
    program.end()


@pytest.mark.parametrize("on_full", ["drop_oldest", "drop_newest"])
def test_events_published_by_signals_and_finalizers_are_accounted_for(
    run: Run, service: FakeEventBridge, server: LocalServer, on_full: str
) -> None:
    """Whatever they interrupt, each receipt has an outcome, and the stats count each drop."""
    program = run(
        service,
        server.url,
        "CurlTransport",
        f"on_full = {on_full!r}"
        """
import gc, random
publisher = EventPublisher(client, linger=0.001, max_buffered_events=50, on_full=on_full)
receipts, extra = [publisher.publish(event(0))], []
class Cycle:
    def __init__(self):
        self.itself = self
    def __del__(self):
        extra.append(publisher.publish(event(1)))
signal.signal(signal.SIGALRM, lambda *_: extra.append(publisher.publish(event(2))))
gc.set_threshold(50)
while len(extra) < 2000:
    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.0005))
    for number in range(100):
        Cycle()
        receipts.append(publisher.publish(event(number)))
signal.setitimer(signal.ITIMER_REAL, 0)
del Cycle.__del__
publisher.close(40)
stats, receipts = publisher.stats(), receipts + extra
say(all(receipt.done() for receipt in receipts))
dropped = sum(getattr(receipt.outcome, "code", None) == "BufferFull" for receipt in receipts)
say(stats.published - len(receipts), stats.dropped - dropped, stats.buffered_bytes)
""",
    )
    assert program.said() == [True]
    assert program.said() == [0, 0, 0]
    program.end()


@pytest.mark.parametrize(
    "waits",
    [
        "assert publisher.flush(60).left == 0",
        "assert publisher.publish(event(1)).result(60)",
        "assert receipts[-1].result(60)",
    ],
)
@pytest.mark.parametrize("interrupted", ["publisher.publish(event(number))", "publisher.stats()"])
def test_a_signal_handler_may_wait(
    run: Run, service: FakeEventBridge, server: LocalServer, waits: str, interrupted: str
) -> None:
    """Whatever the handler interrupts, the sender needs no lock that its thread holds."""
    program = run(
        service,
        server.url,
        "CurlTransport",
        f"""
import random
publisher = EventPublisher(client, linger=0.001, on_full="drop_newest")
receipts, longest, waits = [publisher.publish(event(0))], 0.0, 0
def wait(*_):
    global longest, waits
    started = time.monotonic()
    receipts.append(publisher.publish(event(0)))
    {waits}
    longest, waits = max(longest, time.monotonic() - started), waits + 1
signal.signal(signal.SIGALRM, wait)
while waits < 20:
    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.0005))
    for number in range(200):
        {interrupted}
signal.setitimer(signal.ITIMER_REAL, 0)
say(longest)
publisher.close(40)
""",
    )
    assert (
        program.said()[0] < 60
    )  # a wait for something this thread holds would end only at its timeout
    program.end()


def test_a_second_ctrl_c_ends_the_wait_at_the_end(
    run: Run, service: FakeEventBridge, silence: Silence
) -> None:
    """The program prints how many events were lost."""
    program = run(
        service,
        silence.url,
        "None",
        """
publisher = EventPublisher(client, linger=0, exit_timeout=60)
receipts = publisher.publish_many(map(event, range(30)))
main = threading.get_ident()
def interrupt():
    def waits_in_a_publisher():
        frame = sys._current_frames()[main]
        caller = frame.f_back.f_code.co_filename if frame.f_back else ""
        return frame.f_code.co_name == "wait" and "/eventbridge_partner/publisher/" in caller
    wait_until(waits_in_a_publisher)
    time.sleep(0.1)  # until the lock has it
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
""",
    )
    assert "events were not sent" in program.end()


def test_exit_waits_for_no_callback_that_blocks(
    run: Run, service: FakeEventBridge, silence: Silence, transport: str
) -> None:
    """This holds even for one due only at exit, when Python 3.12 starts no more threads."""
    program = run(
        service,
        silence.url,
        transport,
        """
publisher = EventPublisher(client, linger=0, exit_timeout=0.2)
publisher.publish(event(0)).add_done_callback(lambda receipt: time.sleep(1000))
input()
""",
    )
    silence.wait_for_a_request()
    program.go_on()
    assert "1 may or may not have arrived" in program.end()


# ---------------------------------------------------------------- forks


def test_a_fork_leaves_events_to_the_parent(
    run: Run, service: FakeEventBridge, server: LocalServer, transport: str
) -> None:
    """The child starts empty, with a thread of its own, and nothing is sent twice."""
    program = run(
        service,
        server.url,
        transport,
        """
publisher = EventPublisher(client, linger=600)
receipts = publisher.publish_many(map(event, range(50)))
child = os.fork()
if child == 0:
    stats = publisher.stats()
    say(stats.published, stats.buffered, {type(one.result(1)).__name__ for one in receipts}.pop())
    receipts[0].add_done_callback(lambda receipt: say("called"))
    publisher.publish_many(map(event, range(50, 60)))
    sys.exit(0)  # sends, as any end does
_, status = os.waitpid(child, 0)
assert status == 0, status
say(publisher.stats().published, publisher.stats().buffered)
publisher.close(40)
say(publisher.stats().accepted)
""",
    )
    assert program.said() == [0, 0, "Unconfirmed"]
    assert program.said() == ["called"]
    assert program.said() == [50, 50 - 40]
    assert program.said() == [50]
    assert program.end() == ""
    assert arrived(service) == once(60)


def test_a_fork_leaves_the_events_of_a_forgotten_publisher_to_the_parent(
    run: Run, service: FakeEventBridge, silence: Silence, transport: str
) -> None:
    """The child neither waits for it at exit nor reports it as lost."""
    program = run(
        service,
        silence.url,
        transport,
        """
publisher = EventPublisher(client, linger=0, exit_timeout=1000)
receipt = publisher.publish(event(0))
input()
del publisher
child = os.fork()
if child == 0:
    say(type(receipt.result(60)).__name__)
    sys.exit(0)
say(os.waitpid(child, 0)[1], receipt.done())
say(type(receipt.result(60)).__name__)
""",
    )
    silence.wait_for_a_request()
    program.go_on()
    assert program.said() == ["Unconfirmed"]
    assert program.said() == [0, False]
    silence.accept_an_event()
    assert program.said() == ["Accepted"]
    assert program.end() == ""


def test_forks_in_the_middle_of_everything(
    run: Run, service: FakeEventBridge, server: LocalServer, transport: str
) -> None:
    """The child never inherits a held lock, and each event is sent once."""
    program = run(
        service,
        server.url,
        transport,
        """
import itertools
publisher = EventPublisher(client, linger=0.001)
numbers = itertools.count()
goes_on = True
def publish():
    while goes_on:
        publisher.publish(event(next(numbers))).add_done_callback(lambda receipt: None)
threads = [threading.Thread(target=publish) for _ in range(3)]
for thread in threads:
    thread.start()
children = []
for which in range(20):
    time.sleep(0.01)
    child = os.fork()
    if child == 0:
        signal.alarm(50)  # a child that hangs fails
        many = publisher.publish_many(event(10**6 + which * 100 + n) for n in range(30))
        publisher.close(40)
        os._exit(0 if publisher.stats().accepted == len(many) == 30 else 1)
    children.append(child)
goes_on = False
for thread in threads:
    thread.join()
statuses = [os.waitpid(child, 0)[1] for child in children]
publisher.close(40)
say(statuses, publisher.stats().published, publisher.stats().accepted)
""",
    )
    statuses, published, accepted = program.said()
    assert program.end() == ""
    assert statuses == [0] * 20
    assert accepted == published
    children = Counter(10**6 + which * 100 + n for which in range(20) for n in range(30))
    assert arrived(service) == once(published) + children


def test_a_forked_job_flushes_before_it_exits(
    run: Run, service: FakeEventBridge, server: LocalServer, transport: str
) -> None:
    """RQ's and Celery's children end with os._exit, without exit handlers, so they flush."""
    program = run(
        service,
        server.url,
        transport,
        """
publisher = EventPublisher(client, linger=600)
for job in range(3):
    child = os.fork()
    if child == 0:
        publisher.publish_many(event(10 * job + n) for n in range(10))
        assert publisher.flush(40).left == 0
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
""",
    )
    assert program.end() == ""
    assert arrived(service) == once(30)


def test_os_exit_without_flush_loses_what_lingers(
    run: Run, service: FakeEventBridge, server: LocalServer
) -> None:
    """os._exit leaves no time to send; the recipes exist for this case."""
    program = run(
        service,
        server.url,
        "None",
        """
publisher = EventPublisher(client, linger=600)
publisher.publish_many(map(event, range(10)))
os._exit(0)
""",
    )
    assert program.end() == ""
    assert service.accepted_count == 0


# ---------------------------------------------------------------- freezing


def test_a_frozen_process_continues(
    run: Run, service: FakeEventBridge, server: LocalServer, transport: str
) -> None:
    """A publisher continues after a freeze, flushed or not, as in Lambda between two calls."""
    program = run(
        service,
        server.url,
        transport,
        """
publisher = EventPublisher(client, linger=0.01)
number = 0
for call in range(3):
    for _ in range(30):
        publisher.publish(event(number))
        number += 1
    say(publisher.flush(40).left)
    time.sleep(0.2)
publisher.publish_many(event(n) for n in range(90, 100))
say("unflushed")
time.sleep(0.3)
say(publisher.close(40).counts.undelivered)
""",
    )
    for _ in range(3):
        assert program.said() == [0]
        program.process.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        program.process.send_signal(signal.SIGCONT)
    assert program.said() == ["unflushed"]
    program.process.send_signal(signal.SIGSTOP)
    time.sleep(0.1)
    program.process.send_signal(signal.SIGCONT)
    assert program.said() == [0]
    assert program.end() == ""
    assert arrived(service) == once(100)
