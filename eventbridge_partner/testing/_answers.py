"""The answers of the local service, and the damage that faults do to them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from html import escape
from typing import Any

import attrs

from eventbridge_partner.testing._decision import Decision
from eventbridge_partner.testing._faults import (
    SOURCE_OPERATIONS,
    BlankResults,
    CutAnswer,
    EmptyAnswer,
    FailRequest,
    Fault,
    GarbleAnswer,
    LoseAnswer,
    MiscountFailures,
    Reshaping,
    SlowAnswer,
    WrongLength,
    first,
)
from eventbridge_partner.testing._heads import phrase
from eventbridge_partner.testing._received import CONTENT_TYPE
from eventbridge_partner.testing._records import Answer, EntryResult, new_ids
from eventbridge_partner.testing._rules import Refusal


def answer_to(index: int, operation: str, decision: Decision, hits: Sequence[Fault]) -> Answer:
    """
    Return the answer to a request, with the effects of its faults.

    Args:
        index: The number of the request.
        operation: The request's operation.
        decision: The decision on it; faults that change the answer are added to its `effective`.
        hits: The faults that hit the request, in the order played.
    """
    if decision.closes:
        return Answer(index, 0, {}, b"", is_silent=True)
    headers = {
        "x-amzn-requestid": new_ids(1)[0],
        "content-type": CONTENT_TYPE,
        "date": formatdate(decision.shown_time, usegmt=True),
    }
    status = 200
    if decision.refusal is not None:
        status = decision.refusal.status
        body = refusal_body(decision.refusal, decision.form, headers)
    elif operation in SOURCE_OPERATIONS:
        garbled = first(hits, GarbleAnswer)
        body = document_body(decision.document, garbled)
        if garbled is not None:
            decision.effective.append(garbled)
    else:
        reshaping = reshaping_among(hits, decision.results)
        body = results_body(decision.results, reshaping)
        if reshaping is not None:
            decision.effective.append(reshaping)
    answer = Answer(index, status, headers, body)
    for fault in hits:
        match fault:
            case SlowAnswer():
                answer = attrs.evolve(answer, delay=answer.delay + fault.seconds)
            case LoseAnswer() if not answer.is_silent and answer.cut_after is None:
                answer = attrs.evolve(answer, is_silent=True)
            case CutAnswer() if not answer.is_silent and answer.cut_after is None:
                shown = min(fault.after_bytes, max(len(body) - 1, 0))
                answer = attrs.evolve(answer, cut_after=shown)
            case _:
                continue
        decision.effective.append(fault)
    return answer


def too_large(limit: int) -> Refusal:
    """Return the refusal of a body that is too large."""
    message = f"The request body is larger than {limit} bytes."
    return Refusal("RequestEntityTooLargeException", message, 413)


def reshaping_among(hits: Sequence[Fault], results: Sequence[EntryResult]) -> Reshaping | None:
    """Return the first fault that changes the content of an answer with these results."""
    for fault in hits:
        match fault:
            case GarbleAnswer() | WrongLength() | MiscountFailures() | BlankResults():
                return fault
            case EmptyAnswer() if all(result.error_code is None for result in results):
                return fault
            case _:
                pass
    return None


def results_body(results: Sequence[EntryResult], reshaping: Reshaping | None) -> bytes:
    """Return the answer's body with the results, wrong ones if a fault says so."""
    entries: list[dict[str, Any]] = [
        {"EventId": result.event_id}
        if result.event_id is not None
        else {"ErrorCode": result.error_code, "ErrorMessage": result.error_message}
        for result in results
    ]
    failures = sum(result.error_code is not None for result in results)
    match reshaping:
        case GarbleAnswer():
            return reshaping.body
        case EmptyAnswer():
            entries = []
        case WrongLength():
            wanted = len(entries) + reshaping.difference
            if wanted <= 0:
                # No entries and no failures would be moto's answer, which a client may accept.
                wanted = len(entries) + 1
            entries = [entries[place % len(entries)] for place in range(wanted)]
        case MiscountFailures():
            counted = failures + reshaping.difference
            failures = counted if counted >= 0 else failures - reshaping.difference
        case BlankResults(indexes=indexes, result=blank):
            blanks = range(len(entries)) if indexes is None else indexes
            listed = [blank if place in blanks else entry for place, entry in enumerate(entries)]
            return json.dumps({"FailedEntryCount": failures, "Entries": listed}).encode()
        case None:
            pass
    return json.dumps({"FailedEntryCount": failures, "Entries": entries}).encode()


def document_body(document: Mapping[str, Any] | None, garbled: GarbleAnswer | None) -> bytes:
    """Return the body of an answer to a source operation. Without a document, it has none."""
    if garbled is not None:
        return garbled.body
    return b"" if document is None else json.dumps(document).encode()


def refusal_body(refusal: Refusal, form: FailRequest | None, headers: dict[str, str]) -> bytes:
    """Return the body of an error answer, and add the headers of its form to `headers`."""
    code, message = refusal.code, refusal.message
    kind = "__type" if form is None else form.form
    if form is not None:
        headers.update((name.lower(), value) for name, value in form.headers.items())
    match kind:
        case "__type":
            return _json({"__type": code, "message": message})
        case "namespace":
            return _json({"__type": f"com.amazon.coral.service#{code}", "Message": message})
        case "header":
            uri = "http://internal.amazon.com/coral/com.amazon.coral.service/"
            headers["x-amzn-errortype"] = f"{code}:{uri}"
            return _json({"message": message})
        case "code":
            return _json({"code": code, "message": message})
        case "html":
            headers["content-type"] = "text/html"
            title = f"{refusal.status} {phrase(refusal.status)}"
            return f"<html><head><title>{title}</title></head><body></body></html>\r\n".encode()
        case "empty":
            del headers["content-type"]
            return b""
        case "xml":
            headers["content-type"] = "text/xml"
            return (
                f"<ErrorResponse><Error><Type>Sender</Type><Code>{escape(code)}</Code>"
                f"<Message>{escape(message)}</Message></Error>"
                f"<RequestId>{headers['x-amzn-requestid']}</RequestId></ErrorResponse>"
            ).encode()


def error_body(refusal: Refusal) -> bytes:
    """Return an error in the form of AWS's JSON protocol."""
    return _json({"__type": refusal.code, "message": refusal.message})


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()
