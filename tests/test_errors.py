"""Errors have clear messages, can be pickled, and know whether anything may have been sent."""

from __future__ import annotations

import copy
import pickle

import pytest

import eventbridge_partner
from eventbridge_partner import (
    BufferFullError,
    CallCancelledError,
    CallInterruptedError,
    ClockSkewError,
    ConcurrentModificationError,
    ConfigurationError,
    CredentialsError,
    DeliveryReport,
    Exhausted,
    ExpiredCredentialsError,
    Finding,
    InputInterruptedError,
    InvalidEventError,
    InvalidTokenError,
    LimitExceededError,
    NoTransactionError,
    OperationDisabledError,
    OutboxSchemaError,
    OutboxUnavailableError,
    PartnerEvent,
    PartnerEventsError,
    PublisherClosedError,
    ResourceAlreadyExistsError,
    ResourceNotFoundError,
    ServiceError,
    SourceAccount,
    SourceNotActiveError,
    SourceState,
    ThrottledError,
    TlsError,
    TransportError,
    UndeliveredError,
    UnreadableAnswerError,
)
from tests.strategies import SOURCE

REPORT = DeliveryReport(
    [Exhausted("C", "m", PartnerEvent(SOURCE, "t", {"k": "s3cr3t-canary"}), 0, 3)]
)
ACCOUNT = SourceAccount(SOURCE, "123456789012", SourceState.PENDING)
SERVICE = {
    "status": 503,
    "request_id": "r",
    "retry_after": 1.5,
    "server_time": 5.0,
    "may_have_been_sent": True,
}
ERRORS = {
    "invalid event": (InvalidEventError([Finding("detail.a", "is NaN", "allowed: x", 3)]), False),
    "configuration": (ConfigurationError("region is not set"), False),
    "interrupted": (CallInterruptedError("the call was interrupted", REPORT), True),
    "no transaction": (NoTransactionError("connection commits by itself"), False),
    "outbox schema": (OutboxSchemaError("there is no outbox"), False),
    "outbox unavailable": (OutboxUnavailableError("the database is full"), False),
    "credentials": (CredentialsError("none"), False),
    "service": (ServiceError("C", "m", status=400), False),
    "service, all attributes": (ServiceError("C", "m", **SERVICE), True),
    "throttled": (ThrottledError("C", "m", **SERVICE), True),
    "expired": (ExpiredCredentialsError("C", "m", status=400), False),
    "clock": (ClockSkewError("C", "", status=403, server_time=1.0), False),
    "not found": (ResourceNotFoundError("C", "m", status=400), False),
    "exists": (ResourceAlreadyExistsError("C", "m", **SERVICE), True),
    "concurrent": (ConcurrentModificationError("C", "m", status=400), False),
    "quota": (LimitExceededError("C", "m", status=400), False),
    "disabled": (OperationDisabledError("C", "m", status=400), False),
    "token": (InvalidTokenError("C", "m", status=400), False),
    "not active": (SourceNotActiveError("is PENDING", ACCOUNT), False),
    "transport, sent": (TransportError("no answer", may_have_been_sent=True), True),
    "transport, not sent": (TransportError("no connection", may_have_been_sent=False), False),
    "TLS": (TlsError("expired"), False),
    "unreadable": (UnreadableAnswerError("not JSON"), True),
    "undelivered": (UndeliveredError("1 of 1", REPORT), True),
    "cancelled": (CallCancelledError("was cancelled", REPORT), True),
    "buffer": (BufferFullError("the buffer is full"), False),
    "closed": (PublisherClosedError("the publisher is closed"), False),
    "input": (InputInterruptedError("raised", REPORT), True),
}


@pytest.mark.parametrize(("error", "sent"), ERRORS.values(), ids=ERRORS)
def test_errors(error, sent):
    """Each error knows whether anything may have been sent, and can be pickled and copied."""
    assert isinstance(error, PartnerEventsError)
    assert error.may_have_been_sent is sent
    assert "s3cr3t" not in str(error) + repr(error)
    error.add_note("seen in a worker")
    for twin in (
        *(pickle.loads(pickle.dumps(error, protocol)) for protocol in range(2, 6)),
        copy.copy(error),
        copy.deepcopy(error),
    ):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert twin.args == error.args
        assert vars(twin) == vars(error)
        assert twin.may_have_been_sent is sent


def test_every_error_is_in_the_table():
    """Every error class is in the table, so a new one must be pickled here."""
    exported = {
        value
        for value in vars(eventbridge_partner).values()
        if isinstance(value, type) and issubclass(value, PartnerEventsError)
    }
    assert exported == {type(error) for error, _ in ERRORS.values()} | {PartnerEventsError}


@pytest.mark.parametrize("kind", [InvalidEventError, ConfigurationError])
def test_wrong_values_are_value_errors(kind):
    """Errors about bad arguments are ValueErrors."""
    assert issubclass(kind, ValueError)


@pytest.mark.parametrize(
    ("kind", "parent"),
    [
        (ThrottledError, ServiceError),
        (ExpiredCredentialsError, ServiceError),
        (ClockSkewError, ServiceError),
        (ResourceNotFoundError, ServiceError),
        (ResourceAlreadyExistsError, ServiceError),
        (ConcurrentModificationError, ServiceError),
        (LimitExceededError, ServiceError),
        (OperationDisabledError, ServiceError),
        (InvalidTokenError, ServiceError),
        (TlsError, TransportError),
    ],
)
def test_tree(kind, parent):
    """The tree is the one drawn in the module."""
    assert issubclass(kind, parent)


def test_message_of_a_finding():
    """A finding has field, found and allowed, and can name its event."""
    finding = Finding("detail_type", "has 140 characters", "the limit is 128")
    assert str(finding) == "detail_type has 140 characters; the limit is 128"
    assert str(InvalidEventError([finding]).at(7)) == (
        "detail_type of event 7 has 140 characters; the limit is 128"
    )


def test_all_findings_in_one_message():
    """The message of an error has one line for each finding."""
    findings = [Finding("a", "is x", "allowed: y"), Finding("b", "is z", "allowed: y")]
    error = InvalidEventError(iter(findings))
    assert error.findings == tuple(findings)
    assert str(error) == "a is x; allowed: y\nb is z; allowed: y"


def test_message_of_a_service_error():
    """A service error shows code and message, or the code alone."""
    assert str(ServiceError("C", "m", status=400)) == "C: m"
    assert str(ServiceError("C", "", status=400)) == "C"
