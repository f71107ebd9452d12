"""Runs every row of the failure table in the docs against the local service."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.exceptions
import botocore.session
import pytest
from botocore.config import Config
from tenacity import wait_fixed, wait_none

from eventbridge_partner import (
    Accepted,
    AsyncPartnerEventsClient,
    CallCancelledError,
    CallInterruptedError,
    ConfigurationError,
    CredentialsError,
    Exhausted,
    HttpRequest,
    HttpResponse,
    InputInterruptedError,
    InvalidEventError,
    Outcome,
    Pace,
    PartnerEvent,
    PartnerEventsClient,
    Rejected,
    RetryPolicy,
    Timeouts,
    Unconfirmed,
)
from eventbridge_partner.testing import (
    BlankResults,
    CloseConnection,
    CutAnswer,
    EmptyAnswer,
    ExpireToken,
    FailEntries,
    FailRequest,
    FakeEventBridge,
    Fault,
    GarbleAnswer,
    LoseAnswer,
    MiscountFailures,
    RefuseRequestContaining,
    SlowAnswer,
    WrongClock,
    WrongLength,
)
from eventbridge_partner.transports.requests import RequestsTransport
from tests.transports.answers import REFUSED
from tests.transports.servers import Handler, answer_with, answering, read_request, served

PAGE = Path(__file__).parents[2] / "docs/explanation/delivery-semantics.md"
SOURCE = "aws.partner/example.com/acme"
ENTRY = {"Source": SOURCE, "DetailType": "counted", "Detail": "{}"}
AT_ONCE = RetryPolicy(wait=wait_none(), throttle_wait=wait_none())


def rows() -> dict[str, tuple[str, str, str]]:
    """Return the table's rows by their first cell, without its headings."""
    table = PAGE.read_text().partition("<!-- every-failure -->")[2].partition("\n\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {
        what: (again, seen, attempts)
        for what, again, seen, attempts in cells[1:]
        if not what.startswith("**")
    }


def codes_in(text: str) -> list[str]:
    return re.findall(r"`([A-Z]\w+)`", text)


def events(count: int = 1) -> list[PartnerEvent]:
    return [PartnerEvent(SOURCE, "counted", {"n": number}) for number in range(count)]


def client_of(service: FakeEventBridge, **settings: Any) -> PartnerEventsClient:
    settings.setdefault("retry", AT_ONCE)
    settings.setdefault("transport", service.transport())
    settings.setdefault("credentials", service.credentials)
    return PartnerEventsClient("us-east-1", endpoint_url="http://127.0.0.1:9", **settings)


def the_outcome(*faults: Fault, **settings: Any) -> Outcome:
    """Return the outcome of one event while these faults play."""
    service = FakeEventBridge(session_token="a-token")
    service.play(*faults)
    (outcome,) = client_of(service, **settings).put_events(events())
    return outcome


def described(outcome: Outcome) -> tuple[str, int]:
    """Return an outcome as the table writes it."""
    text = f"`{type(outcome).__name__}`"
    if isinstance(outcome, (Rejected, Exhausted)):
        text += f", code `{outcome.code}`"
    return text, outcome.attempts


# ------------------------------------------------------------ rows that are one fault

TRANSIENT = ["InternalFailure", "InternalException", "ServiceUnavailable"]
THROTTLING = ["ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded"]
STATUSES = [408, 500, 502, 503, 504]

Make = Callable[..., Fault]


def failing_entry(code: str, message: str | None = None) -> Make:
    return lambda **times: FailEntries(code, message, **times)


def failing_request(code: str, status: int = 400, **settings: Any) -> Make:
    return lambda **times: FailRequest(code, status, **settings, **times)


def without_code(status: int) -> Make:
    return lambda **times: FailRequest("-", status, form="html", **times)


def entry_codes(what: str) -> list[tuple[str, Make]]:
    return [(code, failing_entry(code)) for code in codes_in(what)]


def request_codes(what: str) -> list[tuple[str, Make]]:
    return [(code, failing_request(code)) for code in codes_in(what)]


FAULTS: dict[str, Callable[[str], list[tuple[str, Make]]]] = {
    "Entry: a transient code": entry_codes,
    "Entry: a throttling code": entry_codes,
    "Entry: a permanent code": entry_codes,
    "Entry: `EventBusNotFound`": lambda what: [
        *entry_codes(what),
        ("NeverHeardOf", failing_entry("NeverHeardOf", "Event Bus Not Found")),
    ],
    "Entry: an unknown code": lambda _: [("NeverHeardOf", failing_entry("NeverHeardOf"))],
    "Request: a transient code": lambda _: [
        *[(code, failing_request(code)) for code in TRANSIENT],
        *[("NeverHeardOf", failing_request("NeverHeardOf", status)) for status in STATUSES],
    ],
    "Request: a throttling code": lambda _: [
        (code, failing_request(code, status)) for code in THROTTLING for status in (400, 429, 503)
    ],
    "Request: status 429 without": lambda _: [("HTTP 429", without_code(429))],
    "Request: status 408 or 503 without": lambda _: [
        (f"HTTP {status}", without_code(status)) for status in (408, 503)
    ],
    "Request: status 500, 502 or 504 without": lambda _: [
        ("", without_code(status)) for status in (500, 502, 504)
    ],
    "Request: `ExpiredTokenException`": request_codes,
    "Request: `RequestTimeTooSkewed`": lambda what: [
        *request_codes(what),
        (
            "InvalidSignatureException",
            failing_request("InvalidSignatureException", message="Signature expired: 20260101"),
        ),
    ],
    "Request: a permanent code": request_codes,
    "Request: another status": lambda _: [
        (f"HTTP {status}", without_code(status)) for status in (301, 307, 401, 403, 404)
    ],
    "Request: status 400 with an unknown": lambda _: [
        ("NeverHeardOf", failing_request("NeverHeardOf"))
    ],
    "The connection closes without": lambda _: [("", LoseAnswer), ("", CloseConnection)],
    "The connection closes in": lambda _: [("", lambda **times: CutAnswer(9, **times))],
    "Status 200 with something": lambda _: [("", GarbleAnswer)],
    "Status 200 with more or fewer": lambda _: [
        ("", lambda **times: WrongLength(-1, **times)),
        ("", lambda **times: WrongLength(1, **times)),
    ],
    "Status 200 with a result": lambda _: [
        ("", BlankResults),
        ("", lambda **times: BlankResults(result=None, **times)),
    ],
    "Status 200 with no results": lambda _: [("", EmptyAnswer)],
}

# ------------------------------------------------------------ rows that are a story

STORIES: dict[str, Callable[[], tuple[str, int | None]]] = {}


def story(beginning: str) -> Callable[[Callable[[], Any]], None]:
    def remember(tell: Callable[[], Any]) -> None:
        STORIES[beginning] = tell

    return remember


def raised(kind: type[BaseException], action: Callable[[], object]) -> tuple[str, int]:
    with pytest.raises(kind):
        action()
    return f"`{kind.__name__}`", 0


@story("There is no Region")
def _() -> Any:
    raised(ConfigurationError, lambda: PartnerEventsClient().put_events(events()))
    return raised(ConfigurationError, lambda: PartnerEventsClient("us-east-1", endpoint_url="x"))


@story("There are no credentials")
def _() -> Any:
    given = iter(events())
    answer = raised(CredentialsError, lambda: PartnerEventsClient("us-east-1").put_events(given))
    assert len(list(given)) == 1
    return answer


@story("`events` is not an iterable")
def _() -> Any:
    client = client_of(FakeEventBridge())
    raised(ValueError, lambda: client.put_events([], deadline=0))
    return raised(TypeError, lambda: client.put_events(events()[0]))  # type: ignore[arg-type]


@story("A `PartnerEvent(…)`")
def _() -> Any:
    return raised(InvalidEventError, lambda: PartnerEvent("nobody", "t", {}))


@story("A mapping in `events`")
def _() -> Any:
    bad, good = client_of(FakeEventBridge()).put_events([{"Source": SOURCE}, *events()])
    assert isinstance(bad, Rejected)
    assert bad.findings
    assert isinstance(good, Accepted)
    return described(bad)


@story("An event is larger")
def _() -> Any:
    (outcome,) = client_of(FakeEventBridge(), max_entry_bytes=10).put_events(events())
    return described(outcome)


@story("Request: `ValidationException`")
def _() -> Any:
    for code, status in (
        ("ValidationException", 400),
        ("RequestEntityTooLargeException", 413),
        ("NeverHeardOf", 413),
    ):
        service = FakeEventBridge()
        service.play(RefuseRequestContaining(lambda e: '"n":13' in e["Detail"], code, status))
        report = client_of(service).put_events(events(20))
        assert len(report.accepted) == 19
        (rejected,) = report.rejected
        assert (rejected.code, rejected.index) == (code, 13)
        assert max(outcome.attempts for outcome in report) == 6
    return "`Rejected`, that code", 6


@story("The connection is refused")
def _() -> Any:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        port = unheard.getsockname()[1]
        with PartnerEventsClient(
            "us-east-1",
            endpoint_url=f"http://127.0.0.1:{port}",
            credentials=FakeEventBridge().credentials,
            retry=AT_ONCE,
        ) as client:
            (outcome,) = client.put_events(events())
    return described(outcome)


def client_at(port: int, scheme: str = "http", **settings: Any) -> PartnerEventsClient:
    return PartnerEventsClient(
        "us-east-1",
        endpoint_url=f"{scheme}://127.0.0.1:{port}",
        credentials=FakeEventBridge().credentials,
        retry=AT_ONCE,
        **settings,
    )


def sent_over(handle: Handler, count: int = 1, **settings: Any) -> list[Outcome]:
    """Return the outcomes of events that are sent to a server one after another."""
    outcomes: list[Outcome] = []
    with served(handle) as port, client_at(port, **settings) as client:
        for _ in range(count):
            outcomes += client.put_events(events())
    return outcomes


ONE_ACCEPTED = answer_with(b'{"FailedEntryCount":0,"Entries":[{"EventId":"1"}]}')


@story("A proxy cannot work")
def _() -> Any:
    session = botocore.session.Session()
    session.set_default_client_config(Config(proxies={"https": "ftp://proxy.example"}))
    client = PartnerEventsClient("us-east-1", session=session)
    return raised(ConfigurationError, lambda: client.put_events(events()))


@story("The proxy refuses")
def _() -> Any:
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    outcomes: set[tuple[str, int]] = set()
    for behave in (answering(refusal), answering(b"no HTTP\r\n\r\n"), lambda peer: peer.recv(1)):
        with served(behave) as port:
            transport = RequestsTransport(proxies={"https": f"http://127.0.0.1:{port}"})
            with client_at(1, "https", transport=transport, timeout=0.3) as client:
                outcomes |= {described(one) for one in client.put_events(events())}
            transport.close()
    (described_as,) = outcomes
    return described_as


@story("Opening a connection raises")
def _() -> Any:
    def forbidden(*_: object, **__: object) -> Any:
        raise RuntimeError("a test opens a socket")

    with pytest.MonkeyPatch.context() as patch, client_at(1) as client:
        client.look_up()
        patch.setattr(socket, "socket", forbidden)
        (outcome,) = client.put_events(events())
    return described(outcome)


@story("A kept connection was closed")
def _() -> Any:
    has_ended = threading.Semaphore(0)

    def handle(peer: socket.socket) -> None:
        read_request(peer)
        peer.sendall(ONE_ACCEPTED)
        peer.shutdown(socket.SHUT_RDWR)
        has_ended.release()

    with served(handle) as port, client_at(port) as client:
        for _ in range(2):
            client.put_events(events())
            assert has_ended.acquire(timeout=5)
        (outcome,) = client.put_events(events())
    return described(outcome)


@story("A gateway has forgotten")
def _() -> Any:
    opened: list[socket.socket] = []

    def handle(peer: socket.socket) -> None:
        opened.append(peer)
        read_request(peer)
        peer.sendall(ONE_ACCEPTED)
        read_request(peer)
        if len(opened) > 1:
            peer.sendall(ONE_ACCEPTED)

    first, second = sent_over(handle, 2)
    assert described(first) == ("`Accepted`", 1)
    return described(second)


@story("The answer comes in time")
def _() -> Any:
    go_on, answered = threading.Event(), threading.Event()

    def handle(peer: socket.socket) -> None:
        read_request(peer)
        assert go_on.wait(5)
        peer.sendall(ONE_ACCEPTED)
        answered.set()

    def be_kept_away(*_: object) -> None:
        go_on.set()
        assert answered.wait(5)
        time.sleep(0.5)

    before = signal.signal(signal.SIGALRM, be_kept_away)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        (outcome,) = sent_over(handle, timeout=0.4)
    finally:
        signal.signal(signal.SIGALRM, before)
    return described(outcome)


@story("The answer is not well-formed")
def _() -> Any:
    found = {
        described(outcome)
        for answer in REFUSED.values()
        for outcome in sent_over(answering(answer))
    }
    (described_as,) = found
    return described_as


@story("An answer comes over a kept")
def _() -> Any:
    go_on, has_gone = threading.Event(), threading.Event()
    opened: list[socket.socket] = []

    def handle(peer: socket.socket) -> None:
        opened.append(peer)
        read_request(peer)
        peer.sendall(ONE_ACCEPTED.replace(b'"1"', b'"%d"' % len(opened)))
        if len(opened) == 1:
            assert go_on.wait(5)
            peer.sendall(ONE_ACCEPTED.replace(b'"1"', b'"wrong"'))
            has_gone.set()
            read_request(peer)

    with served(handle) as port, client_at(port) as client:
        client.put_events(events())
        go_on.set()
        assert has_gone.wait(5)
        (outcome,) = client.put_events(events())
    assert isinstance(outcome, Accepted)
    assert outcome.event_id == "2"
    return described(outcome)


@contextlib.contextmanager
def answering_without_tls() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    with peer:
                        peer.recv(1000)
                        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@story("The endpoint cannot be trusted")
def _() -> Any:
    with (
        answering_without_tls() as port,
        PartnerEventsClient(
            "us-east-1",
            endpoint_url=f"https://127.0.0.1:{port}",
            credentials=FakeEventBridge().credentials,
            retry=AT_ONCE,
            max_in_flight=1,
        ) as client,
    ):
        report = client.put_events(events(40))
    assert {described(outcome) for outcome in report[20:]} == {("`Exhausted`, code `TlsError`", 0)}
    return described(report[0])


@story("No answer within")
def _() -> Any:
    recovered = the_outcome(SlowAnswer(9), timeout=0.01)
    assert described(recovered) == ("`Accepted`", 2)
    return described(the_outcome(SlowAnswer(9, times=None), timeout=0.01))


class BrokenTransport:
    """A transport with a bug."""

    def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        raise ZeroDivisionError

    def close(self) -> None: ...


@story("A transport of your own raises")
def _() -> Any:
    client = client_of(FakeEventBridge(), transport=BrokenTransport())
    with pytest.raises(ZeroDivisionError):
        client.put_partner_events(Entries=[ENTRY])
    (outcome,) = client.put_events(events())
    return described(outcome)


@story("An answer is lost, and the next attempt is accepted")
def _() -> Any:
    service = FakeEventBridge()
    service.play(LoseAnswer())
    (outcome,) = client_of(service).put_events(events())
    assert service.accepted_count == 2
    return described(outcome)


@story("An answer is lost, and the next attempt is rejected")
def _() -> Any:
    return described(the_outcome(LoseAnswer(), FailEntries("MalformedDetail")))


@story("The deadline passes before")
def _() -> Any:
    return described(_at_the_deadline()[-1])


@story("The deadline passes while")
def _() -> Any:
    return described(_at_the_deadline()[0])


def _at_the_deadline() -> tuple[Outcome, ...]:
    service = FakeEventBridge()
    service.play(SlowAnswer(5, times=None))
    with (
        service.serve() as server,
        PartnerEventsClient(
            "us-east-1",
            endpoint_url=server.url,
            credentials=service.credentials,
            retry=AT_ONCE,
            max_in_flight=2,
        ) as client,
    ):
        return client.put_events(events(60), deadline=0.1).outcomes


@story("The next attempt would come")
def _() -> Any:
    service = FakeEventBridge()
    service.play(FailEntries("InternalFailure", times=None))
    client = client_of(service, retry=RetryPolicy(wait=wait_fixed(60)))
    (outcome,) = client.put_events(events(), deadline=30)
    assert isinstance(outcome, Exhausted)
    assert outcome.code == "InternalFailure"
    return "`Exhausted`, the last error's code", outcome.attempts


@story("The retry quota")
def _() -> Any:
    policy = RetryPolicy(wait=wait_none(), tokens=0)
    outcome = the_outcome(FailEntries("InternalFailure", times=None), retry=policy)
    assert isinstance(outcome, Exhausted)
    assert outcome.code == "InternalFailure"
    return "`Exhausted`, the last error's code", outcome.attempts


class CredentialsThatEnd:
    """Credentials that can be read a given number of times."""

    def __init__(self, service: FakeEventBridge, times: int) -> None:
        self._credentials = service.credentials
        self._times = times

    def get_frozen_credentials(self) -> Any:
        self._times -= 1
        if self._times < 0:
            raise botocore.exceptions.NoCredentialsError
        return self._credentials.get_frozen_credentials()


@story("Credentials can no longer be fetched")
def _() -> Any:
    service = FakeEventBridge()
    credentials = CredentialsThatEnd(service, 2)
    report = client_of(service, credentials=credentials).put_events(events(40))
    assert isinstance(report[0], Accepted)
    return described(report[39])


@story("The iterable of events raises")
def _() -> Any:
    def interrupted() -> Iterator[PartnerEvent]:
        yield from events(30)
        raise OSError("the disk is gone")

    with pytest.raises(InputInterruptedError) as caught:
        client_of(FakeEventBridge()).put_events(interrupted())
    assert isinstance(caught.value.__cause__, OSError)
    assert len(caught.value.report.accepted) == 30
    return "`InputInterruptedError`", 1


@story("The task is cancelled while")
def _() -> Any:
    return described(asyncio.run(_when_cancelled())[0])


@story("The task is cancelled before")
def _() -> Any:
    return described(asyncio.run(_when_cancelled())[-1])


async def _when_cancelled() -> tuple[Outcome, ...]:
    """Cancel a call with one request in flight, and one that waits for its turn."""
    service = FakeEventBridge()
    service.play(SlowAnswer(5, times=None))
    with service.serve() as server:
        async with AsyncPartnerEventsClient(
            "us-east-1",
            endpoint_url=server.url,
            credentials=service.credentials,
            pace=Pace(0.1),
        ) as client:
            call = asyncio.create_task(client.put_events(events(40)))
            while not service.accepted_count:  # noqa: ASYNC110  # it is not on this loop
                await asyncio.sleep(0.01)
            call.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await call
    assert isinstance(caught.value.__cause__, CallCancelledError)
    return caught.value.__cause__.report.outcomes


class InterruptedTransport:
    """A transport whose first request is interrupted by Ctrl-C."""

    def __init__(self, service: FakeEventBridge) -> None:
        self._transport = service.transport()
        self._strikes = True

    def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        if self._strikes:
            self._strikes = False
            raise KeyboardInterrupt
        return self._transport.send(request, timeouts)

    def close(self) -> None:
        self._transport.close()


@story("Ctrl-C")
def _() -> Any:
    service = FakeEventBridge()
    client = client_of(service, transport=InterruptedTransport(service))
    with pytest.raises(KeyboardInterrupt) as caught:
        client.put_events(events())
    assert isinstance(caught.value.__cause__, CallInterruptedError)
    assert [type(outcome) for outcome in caught.value.__cause__.report] == [Unconfirmed]
    assert len(client.put_events(events(3)).accepted) == 3
    return "`KeyboardInterrupt`", None


@story("A `wait`, `stop` or verdict")
def _() -> Any:
    service = FakeEventBridge()
    service.play(FailEntries("ThrottlingException", indexes=[0]))
    policy = RetryPolicy(throttle_wait=lambda state: None)  # type: ignore[arg-type,return-value]
    client = client_of(service, retry=policy)
    assert [described(outcome) for outcome in client.put_events(events(2))] == [
        ("`Accepted`", 2),
        ("`Accepted`", 1),
    ]
    return "nothing", None


@story("Status 200 with a `FailedEntryCount`")
def _() -> Any:
    return described(the_outcome(MiscountFailures(times=None)))


FORKING = f"""
import os
from eventbridge_partner import PartnerEvent, PartnerEventsClient
from eventbridge_partner.testing import FakeEventBridge

service = FakeEventBridge()
with service.serve() as server:
    client = PartnerEventsClient(
        "us-east-1", endpoint_url=server.url, credentials=service.credentials
    )
    events = [PartnerEvent("{SOURCE}", "t", {{}})] * 100
    client.put_events(events).raise_for_undelivered()
    child = os.fork()
    client.put_events(events).raise_for_undelivered()
    if not child:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
assert service.accepted_count == 300
"""


@story("The process forks")
def _() -> Any:
    if not hasattr(sys, "getwindowsversion"):
        subprocess.run([sys.executable, "-c", FORKING], check=True, cwd=PAGE.parents[2], timeout=60)
    return "nothing", None


@story("The client is pickled")
def _() -> Any:
    return raised(TypeError, lambda: pickle.dumps(client_of(FakeEventBridge())))[0], None


# ------------------------------------------------------------ the tests


def cases() -> Iterator[Any]:
    for what, cells in rows().items():
        for beginning, faults in FAULTS.items():
            if what.startswith(beginning):
                for code, make in faults(what):
                    yield pytest.param(*cells, code, make, id=f"{beginning}-{code}")


@pytest.mark.parametrize(("again", "seen", "attempts", "code", "make"), list(cases()))
def test_fault_is_seen_as_the_table_says(
    again: str, seen: str, attempts: str, code: str, make: Make
) -> None:
    """The outcome, its code and its attempts are those of the row."""
    outcome = the_outcome(make(times=None))
    assert outcome.attempts == int(attempts)
    assert seen.startswith(f"`{type(outcome).__name__}`")
    if isinstance(outcome, (Rejected, Exhausted)):
        assert outcome.code == code
        assert "that code" in seen or f"`{code}`" in seen or "`HTTP` and the status" in seen
    if isinstance(outcome, Rejected):
        assert outcome.source_is_gone == ("`source_is_gone`" in seen)
    if isinstance(outcome, Exhausted):
        assert outcome.code_is_known == ("not `code_is_known`" not in seen)
    if isinstance(outcome, Accepted):
        assert outcome.event_id is None
    if again == "no":
        assert outcome.attempts == 1
    else:
        assert described(the_outcome(make())) == ("`Accepted`", 2)


def stories() -> Iterator[Any]:
    for beginning in STORIES:
        marks = [pytest.mark.process] if "forks" in beginning else []
        yield pytest.param(beginning, marks=marks)


@pytest.mark.slow
@pytest.mark.parametrize("beginning", list(stories()))
def test_story_ends_as_the_table_says(beginning: str) -> None:
    """A story ends with the outcome and the attempts that its row says."""
    (cells,) = (cells for what, cells in rows().items() if what.startswith(beginning))
    seen, attempts = STORIES[beginning]()
    assert cells[1].startswith(seen)
    assert cells[2].removeprefix("up to ") == ("" if attempts is None else str(attempts))


def test_every_row_is_run() -> None:
    """Every row of the table has a test, and every test a row."""
    known = (*FAULTS, *STORIES)
    assert [what for what in rows() if not what.startswith(known)] == []
    assert [name for name in known if not any(what.startswith(name) for what in rows())] == []


def test_fresh_start_helps() -> None:
    """One more attempt succeeds after a rotated token or a wrong clock."""

    class Rotating:
        def __init__(self, service: FakeEventBridge) -> None:
            self.service, self.reads = service, 0

        def get_frozen_credentials(self) -> Any:
            self.reads += 1
            if self.reads == 3:
                self.service.rotate_credentials()
            return self.service.credentials.get_frozen_credentials()

    service = FakeEventBridge(session_token="a-token")
    service.play(ExpireToken())
    (outcome,) = client_of(service, credentials=Rotating(service)).put_events(events())
    assert described(outcome) == ("`Accepted`", 2)
    assert described(the_outcome(WrongClock(3600))) == ("`Accepted`", 2)


def test_unconfirmed_says_which_attempt_may_have_arrived() -> None:
    """The reason names the attempt whose answer was lost, and the end of the last one."""
    outcome = the_outcome(LoseAnswer(), FailEntries("MalformedDetail"))
    assert isinstance(outcome, Unconfirmed)
    assert outcome.reason.startswith("attempt 1 may have arrived")
    assert outcome.reason.endswith("attempt 2 failed with MalformedDetail")
