"""One PutPartnerEvents call in boto3's format, for migration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from eventbridge_partner._http import HttpResponse
from eventbridge_partner.delivery.batching import BatchLimits
from eventbridge_partner.errors import Finding, InvalidEventError, UnreadableAnswerError
from eventbridge_partner.limits import MAX_ENTRIES
from eventbridge_partner.models import PartnerEvent, ResultEntry, entry_size
from eventbridge_partner.wire.calls import AllAccepted, Results


class ResultMembers(TypedDict, total=False):
    """One result of `put_partner_events`: an event id, or an error."""

    EventId: str
    ErrorCode: str
    ErrorMessage: str


class ResponseMetadata(TypedDict):
    """The metadata that boto3 adds to every response."""

    RequestId: str
    HTTPStatusCode: int
    HTTPHeaders: dict[str, str]
    RetryAttempts: int


class PutPartnerEventsResponse(TypedDict):
    """The answer of `put_partner_events`, in boto3's format."""

    FailedEntryCount: int
    Entries: list[ResultMembers]
    ResponseMetadata: ResponseMetadata


def read_entries(entries: Sequence[Mapping[str, Any]], limits: BatchLimits) -> list[PartnerEvent]:
    """
    Read the entries of one request.

    Raises:
        InvalidEventError: An entry breaks a limit, or all entries together do.
    """
    findings: list[Finding] = []
    if not 1 <= len(entries) <= MAX_ENTRIES:
        found = f"has {len(entries)} entries"
        findings.append(Finding("Entries", found, f"allowed: 1 to {MAX_ENTRIES}"))
    events: list[PartnerEvent] = []
    for index, entry in enumerate(entries):
        try:
            events.append(PartnerEvent.from_entry(entry))
        except InvalidEventError as error:
            findings += error.at(index).findings
    size = sum(map(entry_size, events))
    if size > limits.max_entry_bytes:
        found = f"has {size} bytes"
        findings.append(Finding("Entries", found, f"the limit is {limits.max_entry_bytes}"))
    if findings:
        raise InvalidEventError(findings)
    return events


def to_response(response: HttpResponse, answered: Results) -> PutPartnerEventsResponse:
    """
    Return an answer and its results in boto3's format.

    Raises:
        UnreadableAnswerError: A result does not say whether its entry was accepted.
    """
    if isinstance(answered, AllAccepted):
        results = list(map(ResultEntry, answered.event_ids))
    else:
        results = [result for result in answered.results if result is not None]
        if len(results) != len(answered.results):
            index = list(answered.results).index(None)
            raise UnreadableAnswerError(
                f"result {index} has neither an event id nor an error code; "
                f"{len(results)} of {len(answered.results)} results have"
            )
    return {
        "FailedEntryCount": sum(result.error_code is not None for result in results),
        "Entries": list(map(_members, results)),
        "ResponseMetadata": {
            "RequestId": response.headers.get("x-amzn-requestid", ""),
            "HTTPStatusCode": response.status,
            "HTTPHeaders": dict(response.headers),
            "RetryAttempts": 0,
        },
    }


def _members(result: ResultEntry) -> ResultMembers:
    if result.error_code is not None:
        return {"ErrorCode": result.error_code, "ErrorMessage": result.error_message or ""}
    return {} if result.event_id is None else {"EventId": result.event_id}
