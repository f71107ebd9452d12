"""The local service: the public class, and a request's way through its parts."""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from eventbridge_partner.testing import _answers, _received
from eventbridge_partner.testing._decision import Decider, Decision
from eventbridge_partner.testing._faults import Fault, Script, Visit
from eventbridge_partner.testing._journal import Journal, Recent
from eventbridge_partner.testing._received import Received, Receiver
from eventbridge_partner.testing._records import AcceptedEntry, Answer, RequestRecord
from eventbridge_partner.testing._source_operations import MAX_PAGE
from eventbridge_partner.testing._sources import PENDING_SECONDS, LocalSources

if TYPE_CHECKING:
    from botocore.credentials import Credentials

    from eventbridge_partner.testing._server import LocalServer
    from eventbridge_partner.testing._transport import LocalTransport


class FakeEventBridge:
    """
    A local EventBridge for tests: it checks signatures and limits, keeps records, fails on demand.

    Handles requests in process (`transport`) or over HTTP (`serve`), from any number of
    threads.

    Args:
        region: The Region that requests must be signed for.
        access_key_id: The access key id that requests must be signed with.
        secret_access_key: The secret access key.
        session_token: The session token; None for long-term credentials.
        verify_signatures: False accepts requests with any signature, or none.
        max_request_bytes: The total size of a request's entries must be below this.
        clock: Returns epoch seconds; signatures are checked against it.
        seed: The random seed of the faults' shares; the same seed and requests fail alike.
        keep: How many of the newest requests and accepted entries to remember; None for all. The
            counters count all.
        keep_bytes: The approximate memory that they may take, in bytes; the oldest go first. None
            for no limit.
        only_known_sources: True fails entries whose source was never created, or is gone; False
            accepts any source, until the first one is created.
        pending_seconds: Seconds that a source may stay PENDING before it expires, by `clock`.
        page_size: The most items on a page of a list, 1 to 100.

    Attributes:
        region: As given.
        sources: The partner event sources, and what their customers can do with them.
        max_request_bytes: As given.
        max_body_bytes: Requests whose body is larger are refused unread, with status 413.
    """

    def __init__(
        self,
        region: str = "us-east-1",
        *,
        access_key_id: str = "AKIDLOCALEVENTBRIDGE",
        secret_access_key: str = "local-secret-access-key",  # noqa: S107 - opens nothing
        session_token: str | None = None,
        verify_signatures: bool = True,
        max_request_bytes: int = 1024 * 1024,
        clock: Callable[[], float] = time.time,
        seed: int = 0,
        keep: int | None = None,
        keep_bytes: int | None = None,
        only_known_sources: bool = False,
        pending_seconds: float = PENDING_SECONDS,
        page_size: int = MAX_PAGE,
    ) -> None:
        if not 1 <= page_size <= MAX_PAGE:
            raise ValueError(f"page_size is {page_size!r}; allowed: 1 to {MAX_PAGE}")
        self.region = region
        self.max_request_bytes = max_request_bytes
        # One byte of an entry's size takes up to six in JSON (\u0001), plus the JSON around it.
        self.max_body_bytes: int = 6 * max_request_bytes + 64 * 1024
        self._clock = clock
        self._newest = (access_key_id, secret_access_key, session_token)
        self._known: dict[str, Credentials] = {}
        # Re-entrant: a fault's predicate may look at the accepted entries.
        self._lock = threading.RLock()
        self.sources: LocalSources = LocalSources(
            region, clock, self._lock, pending_seconds, only_known=only_known_sources
        )
        dice = random.Random(seed)
        self._script = Script(dice)
        self._receiver = Receiver(
            region, max_request_bytes, self._credentials_of, verifies=verify_signatures
        )
        self._decider = Decider(
            self._script, dice, self.sources, clock, verify_signatures, page_size
        )
        self._journal = Journal(keep, keep_bytes)

    def __repr__(self) -> str:
        return (
            f"<FakeEventBridge {self.region}: {self.request_count} requests, "
            f"{self.accepted_count} entries accepted>"
        )

    # For users to read

    @property
    def credentials(self) -> Credentials:
        """The newest credentials that the service knows, as botocore's class."""
        with self._lock:
            access_key_id, secret_access_key, token = self._newest
            known = self._known.get(access_key_id)
            if known is None:
                from botocore.credentials import Credentials

                known = Credentials(access_key_id, secret_access_key, token)
                self._known[access_key_id] = known
            return known

    @property
    def accepted(self) -> tuple[AcceptedEntry, ...]:
        """The accepted entries, in order of acceptance."""
        with self._lock:
            return tuple(self._journal.accepted)

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """The requests that reached the service, in the order in which it handled them."""
        with self._lock:
            return tuple(self._journal.requests)

    @property
    def accepted_count(self) -> int:
        """How many entries were accepted, remembered or not."""
        return self._journal.counters.accepted

    @property
    def request_count(self) -> int:
        """How many requests reached the service, remembered or not."""
        return self._journal.counters.requests

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults in force, in the order in which they were played."""
        with self._lock:
            return self._script.in_force

    @property
    def unplayed_faults(self) -> tuple[Fault, ...]:
        """The faults that have had no effect on any request so far."""
        with self._lock:
            return self._script.unplayed

    # For users to call

    def play(self, *faults: Fault) -> None:
        """
        Add faults to the script, after those that are already in it.

        Each request plays at most one fault that has a number of `times`: the first in the script
        that concerns the request. Faults with `times=None` hold for all requests, and combine
        with each other and with that one.
        """
        with self._lock:
            self._script.add(faults)

    def stop(self, *faults: Fault) -> None:
        """Remove faults from the script: the same objects that `faults` returns."""
        with self._lock:
            self._script.remove(faults)

    def clear_faults(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._script.clear()

    def forget(self) -> None:
        """Forget accepted entries and requests, and count from 0. Faults and sources stay."""
        with self._lock:
            self._journal.forget()

    def rotate_credentials(self, session_token: str | None = None) -> Credentials:
        """
        Make new credentials; the service still accepts the old ones.

        Args:
            session_token: Their session token; None makes one up if the old credentials have one.
        """
        with self._lock:
            old = self.credentials
            if session_token is None and old.token:
                session_token = secrets.token_urlsafe(48)
            access_key_id = f"AKIDLOCAL{secrets.token_hex(5).upper()}"
            self._newest = (access_key_id, secrets.token_urlsafe(30), session_token)
            return self.credentials

    def transport(self, *, sleep: Callable[[float], None] = time.sleep) -> LocalTransport:
        """
        Return a transport that passes requests to this service without a socket.

        Args:
            sleep: Waits for slow answers, up to the read timeout, in seconds.
        """
        from eventbridge_partner.testing._transport import LocalTransport

        return LocalTransport(self, sleep)

    def serve(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        trusted_peers: Iterable[str] = (),
        trusted_hosts: Iterable[str] = (),
        page: bool = True,
    ) -> LocalServer:
        """
        Start an HTTP server; stop it with `close()`, or use it in a `with` statement.

        Args:
            host: The address to listen on.
            port: The port; 0 for any free one, which `url` shows.
            trusted_peers: Networks, such as `172.17.0.0/16`, that may send control calls besides
                loopback, if their `Host` is a trusted host.
            trusted_hosts: The `Host` headers that such calls may have, each as `HOST:PORT`.
            page: Whether to serve the page, at `page_url`.

        Raises:
            OSError: It cannot listen on that address and port.
            ValueError: A trusted peer is not a network, or a trusted host has no port.
        """
        from eventbridge_partner.testing._server import LocalServer

        return LocalServer(
            self,
            host,
            port,
            trusted_peers=trusted_peers,
            trusted_hosts=trusted_hosts,
            page=page,
        )

    # From request to answer

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """
        Handle a request.

        Args:
            method: The HTTP method.
            path: The path, with the query if there is one.
            headers: As received; names in any case.
            body: As received.
        """
        if len(body) > self.max_body_bytes:
            return self.refuse_unread(headers)
        return self._deal_with(self._receiver.read(method, path, headers, body))

    def send_again(self, entry: Mapping[str, Any]) -> Answer:
        """
        Handle an unsigned request with this one entry.

        Args:
            entry: The entry with the wire's member names, as in a request's record.
        """
        return self._deal_with(self._receiver.read_unsigned(entry))

    def refuse_unread(self, headers: Mapping[str, str]) -> Answer:
        """Refuse a request whose body has more than `max_body_bytes`. Faults do not apply."""
        received = _received.unread(headers)
        with self._lock:
            now = self._clock()
            decision = Decision(_answers.too_large(self.max_body_bytes), shown_time=now)
            answer = _answers.answer_to(self.request_count, received.operation, decision, ())
            self._journal.remember(received, decision, answer, now)
        return answer

    def record_of(self, answer: Answer) -> RequestRecord | None:
        """Return the record of the request that got this answer; None if it was forgotten."""
        with self._lock:
            return self._journal.record_of(answer)

    # For the page and the control calls

    def recent(self, after: int) -> Recent:
        """
        Return what happened after an event, as far as it is remembered.

        Args:
            after: The number of the event; 0 for everything.
        """
        with self._lock:
            journal = self._journal
            requests = tuple(journal.after(after)) if journal.last_event > after else ()
            return Recent(journal.epoch, requests, attrs.evolve(journal.counters))

    def note_undelivered(self, answer: Answer) -> None:
        """Record that the client did not get this answer."""
        with self._lock:
            self._journal.note_undelivered(answer)

    def _deal_with(self, received: Received) -> Answer:
        signed = received.signed
        visit = Visit(
            received.reading.entries,
            (signed.access_key_id, signed.token),
            received.operation,
            received.reading.members.get("NextToken"),
        )
        with self._lock:
            hits = self._script.hits(visit)
            decision = self._decider.decide(received, hits)
            answer = _answers.answer_to(self.request_count, received.operation, decision, hits)
            for fault in decision.effective:
                self._script.spend(fault, visit)
            self._journal.remember(received, decision, answer, self._clock())
        return answer

    def _credentials_of(self, access_key_id: str) -> Credentials | None:
        newest = self.credentials
        return newest if access_key_id == newest.access_key else self._known.get(access_key_id)
