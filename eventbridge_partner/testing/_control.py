"""
Control calls over HTTP, for the page and for tests in other languages.

`Access` decides who may call.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlsplit

import attrs

from eventbridge_partner._version import __version__
from eventbridge_partner.testing import _event_documents, _fault_documents
from eventbridge_partner.testing._patterns import EventPattern, InvalidPatternError
from eventbridge_partner.testing._protocol import LocalService
from eventbridge_partner.testing._records import RequestRecord
from eventbridge_partner.testing._sources import TRANSITIONS, LocalSource, SourceAction

PATH: Final = "/_control/"

MOST_EVENTS: Final = 10_000
"""The most events in one answer."""

MOST_BYTES: Final = 16 * 1024 * 1024
"""The approximate size of all details in one answer; the next answer continues."""

MOST_FAULTS: Final = 1000
"""The most faults in force that are set over HTTP."""

_ACTIONS: Final[Mapping[str, SourceAction]] = {
    f"sources/{action.replace('_', '-')}": action for action in TRANSITIONS
}
_NUMBER: Final = re.compile("[0-9]{1,15}")


class _RefusedError(Exception):
    """A refused call; `document` is the answer."""

    def __init__(self, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.document: dict[str, Any] = {"message": message, **more}


class Control:
    """The control calls of one server. Thread-safe."""

    def __init__(self, service: LocalService) -> None:
        self._service = service
        self._whose = _event_documents.Whose(service.sources, service.region)
        self._standing_lock = threading.Lock()
        self._reads: Mapping[str, Callable[[Mapping[str, str]], Any]] = {
            "health": self._health,
            "events": self._events,
            "sources": lambda _: {"sources": sources_document(self._service)},
            "faults": lambda _: faults_document(self._service),
        }
        self._writes: Mapping[str, Callable[[dict[str, Any]], Any]] = {
            "faults": self._play,
            "forget": self._forget,
            "match": self._match,
            "resend": self._resend,
        }

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes]:
        """
        Carry out a call.

        Args:
            method: The HTTP method.
            path: As received, beginning with `PATH`.
            headers: As received, names in lower case.
            body: As received.

        Returns:
            The status and the JSON text to answer with.
        """
        try:
            document = self._carry_out(method, path, headers, body)
            return 200, _event_documents.encoded(document)
        except _RefusedError as refused:
            return refused.status, _event_documents.encoded(refused.document)

    def _carry_out(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> dict[str, Any]:
        url = urlsplit(path.removeprefix(PATH))
        name = url.path
        reads, writes = name in self._reads, name in self._writes or name in _ACTIONS
        if not reads and not writes:
            raise _RefusedError(404, f"allowed: {self._listed()}")
        if method == "GET" and reads:
            found: dict[str, Any] = self._reads[name](_query(url.query))
            return found
        if method != "POST" or not writes:
            allowed = " or ".join([*["GET"] * reads, *["POST"] * writes])
            raise _RefusedError(405, f"{method}; allowed: {allowed}")
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise _RefusedError(415, "Content-Type; allowed: application/json")
        document = _read(body)
        if name in _ACTIONS:
            return self._act(_ACTIONS[name], document)
        done: dict[str, Any] = self._writes[name](document)
        return done

    def _listed(self) -> str:
        gets = ", ".join(f"{PATH}{name}" for name in (*self._reads, "stream"))
        posts = ", ".join(f"{PATH}{name}" for name in (*self._writes, *_ACTIONS))
        return f"GET of {gets}; POST to {posts}"

    # Reading

    def _health(self, _: Mapping[str, str]) -> dict[str, Any]:
        recent = self._service.recent(_NOTHING_AFTER)
        return {
            "status": "ok",
            "version": __version__,
            "region": self._service.region,
            "epoch": recent.epoch,
            "counters": attrs.asdict(recent.counters),
        }

    def _events(self, query: Mapping[str, str]) -> dict[str, Any]:
        after = _number(query, "after", 0)
        limit = _number(query, "limit", MOST_EVENTS)
        if not 1 <= limit <= MOST_EVENTS:
            raise _RefusedError(400, f"limit; allowed: 1 to {MOST_EVENTS:,}")
        recent = self._service.recent(after)
        events: list[dict[str, Any]] = []
        size = 0
        for record, number, place in _each(recent.requests, after):
            if len(events) == limit or size > MOST_BYTES:
                break
            events.append(_event_documents.whole(record, number, place, self._whose))
            size += 3 * events[-1]["detail_length"]
        return {
            "events": events,
            "after": events[-1]["id"] if events else after,
            "epoch": recent.epoch,
        }

    def _envelope(self, record: RequestRecord, place: int) -> dict[str, Any] | None:
        entry = _event_documents.accepted_entry(record, place)
        return None if entry is None else self._whose.event_of(entry)

    # Writing

    def _act(self, action: SourceAction, document: dict[str, Any]) -> dict[str, Any]:
        name, account = document.get("name"), document.get("account")
        if len(document) != 2 or not isinstance(name, str) or not isinstance(account, str):
            raise _RefusedError(400, 'allowed: {"name": "aws.partner/…", "account": "12 digits"}')
        try:
            source = self._service.sources.act(action, name, account)
        except LookupError as error:
            raise _RefusedError(404, str(error.args[0])) from None
        except ValueError as error:
            raise _RefusedError(409, str(error)) from None
        if source is None:
            return {"name": name, "account": account, "state": None}
        return _source_document(source)

    def _play(self, document: dict[str, Any]) -> dict[str, Any]:
        _only(document, "clear", "standing", "play")
        clear = document.get("clear", False)
        wanted = _standing(document.get("standing", {}))
        given = document.get("play", [])
        if not isinstance(clear, bool) or not isinstance(given, list):
            raise _RefusedError(400, "allowed: clear true or false, play an array of faults")
        try:
            faults = [_fault_documents.read_fault(one) for one in cast("list[object]", given)]
        except ValueError as error:
            raise _RefusedError(400, str(error)) from None
        service = self._service
        with self._standing_lock:
            if clear:
                service.clear_faults()
            if len(service.faults) + len(faults) > MOST_FAULTS:
                raise _RefusedError(409, f"more than {MOST_FAULTS:,} faults would be in force")
            there = _fault_documents.standing(service.faults)
            service.stop(*(there[name][0] for name in wanted if name in there))
            service.play(
                *(
                    _fault_documents.STANDING[name](number)
                    for name, number in wanted.items()
                    if number
                ),
                *faults,
            )
        return faults_document(service)

    def _forget(self, document: dict[str, Any]) -> dict[str, Any]:
        _only(document)
        self._service.forget()
        return self._health({})

    def _match(self, document: dict[str, Any]) -> dict[str, Any]:
        _only(document, "pattern", "after", "event", "envelope")
        try:
            pattern = EventPattern(cast("Any", document.get("pattern")))
        except InvalidPatternError as error:
            raise _RefusedError(400, str(error), path=error.path, reason=error.reason) from None
        envelope = document.get("envelope")
        if envelope is not None:
            if not isinstance(envelope, dict):
                raise _RefusedError(400, "envelope; allowed: an object")
            return _explained(pattern, cast("dict[str, Any]", envelope))
        if "event" in document:
            return self._match_one(pattern, document["event"])
        after = document.get("after", 0)
        if not _is_number(after):
            raise _RefusedError(400, "after; allowed: the number of an event")
        matching: list[int] = []
        compared = 0
        for record, number, place in _each(self._service.recent(after).requests, after):
            after = number
            found = self._envelope(record, place)
            if found is not None:
                compared += 1
                if pattern.matches(found):
                    matching.append(number)
        return {"matching": matching, "compared": compared, "after": after}

    def _match_one(self, pattern: EventPattern, number: object) -> dict[str, Any]:
        record, place = self._find(number)
        envelope = self._envelope(record, place)
        if envelope is None:
            raise _RefusedError(409, "this event was not accepted, so no rule sees it")
        return _explained(pattern, envelope)

    def _resend(self, document: dict[str, Any]) -> dict[str, Any]:
        _only(document, "event")
        record, place = self._find(document.get("event"))
        if not record.entries:
            raise _RefusedError(409, "the entries of this request could not be read")
        answer = self._service.send_again(record.entries[place])
        return {"request": answer.request_index, "status": answer.status}

    def _find(self, number: object) -> tuple[RequestRecord, int]:
        if _is_number(number):
            wanted = cast("int", number)
            for record in self._service.recent(wanted - 1).requests[:1]:
                if record.first_event <= wanted:
                    return record, wanted - record.first_event
        raise _RefusedError(404, "event; allowed: the number of an event that is remembered")


_NOTHING_AFTER: Final = 2**60


def _each(requests: tuple[RequestRecord, ...], after: int) -> list[tuple[RequestRecord, int, int]]:
    return [
        (record, number, place)
        for record in requests
        for number, place in _event_documents.numbers(record, after)
    ]


def _explained(pattern: EventPattern, envelope: Mapping[str, Any]) -> dict[str, Any]:
    mismatches = pattern.explain(envelope)
    return {
        "matches": not mismatches,
        "mismatches": [
            {"path": one.path, "wanted": one.wanted, "found": one.found} for one in mismatches
        ],
    }


def sources_document(service: LocalService) -> list[dict[str, Any]]:
    """Return all sources, each with the actions that its customer can take."""
    return [
        {
            **_source_document(source),
            "actions": [
                action.replace("_", "-")
                for action, places in TRANSITIONS.items()
                if (source.state, source.has_bus) in places
            ],
        }
        for source in service.sources
    ]


def faults_document(service: LocalService) -> dict[str, Any]:
    """Return the faults in force: the sliders' values, and all faults as documents."""
    faults = service.faults
    there = _fault_documents.standing(faults)
    return {
        "standing": {
            name: there[name][1] if name in there else 0 for name in _fault_documents.STANDING
        },
        "faults": [_fault_documents.fault_document(fault) for fault in faults],
    }


def _source_document(source: LocalSource) -> dict[str, Any]:
    return {
        "name": source.name,
        "account": source.account,
        "state": source.state,
        "has_bus": source.has_bus,
        "expires_at": source.expires_at,
    }


def _standing(given: object) -> dict[str, float]:
    allowed = "standing; allowed: throttle, fail and lose from 0 to 1, slow in seconds to 3600"
    if not isinstance(given, dict):
        raise _RefusedError(400, allowed)
    numbers: dict[str, float] = {}
    for name, number in cast("dict[str, Any]", given).items():
        most = 3600 if name == "slow" else 1
        if (
            name not in _fault_documents.STANDING
            or isinstance(number, bool)
            or not isinstance(number, int | float)
            or not 0 <= number <= most
        ):
            raise _RefusedError(400, allowed)
        numbers[name] = number
    return numbers


def _only(document: Mapping[str, Any], *names: str) -> None:
    if not set(document) <= set(names):
        raise _RefusedError(400, f"allowed members: {', '.join(names) or 'none'}")


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text):
        raise _RefusedError(400, f"{name}; allowed: a number")
    return int(text)


def _query(text: str) -> Mapping[str, str]:
    try:
        return dict(parse_qsl(text, max_num_fields=10))
    except ValueError:
        raise _RefusedError(400, "allowed: at most 10 parameters") from None


def _read(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise _RefusedError(400, "allowed: a JSON object")
    return cast("dict[str, Any]", document)
