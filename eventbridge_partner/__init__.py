"""
Deliver a SaaS vendor's events to its customers' Amazon EventBridge partner event buses.

    from eventbridge_partner import PartnerEvent, PartnerEventsClient

    with PartnerEventsClient("us-east-1") as client:
        report = client.put_events([PartnerEvent(source, "ticket.created", {"id": 1})])
        report.raise_for_undelivered()
"""

from __future__ import annotations

from eventbridge_partner._aws import Credentials, ReadCredentials
from eventbridge_partner._http import HttpRequest, HttpResponse, Timeouts
from eventbridge_partner._version import __version__ as __version__
from eventbridge_partner.batching import BatchLimits, plan_batches
from eventbridge_partner.client import PartnerEventsClient
from eventbridge_partner.errors import (
    ClockSkewError,
    ConfigurationError,
    CredentialsError,
    ExpiredCredentialsError,
    Finding,
    InputInterruptedError,
    InvalidEventError,
    PartnerEventsError,
    ServiceError,
    ThrottledError,
    TlsError,
    TransportError,
    UndeliveredError,
    UnreadableAnswerError,
)
from eventbridge_partner.models import (
    Accepted,
    DeliveryReport,
    Exhausted,
    GivenEvent,
    Outcome,
    OutcomeCounts,
    PartnerEvent,
    Rejected,
    ResultEntry,
    SourceName,
    Unconfirmed,
    entry_size,
)
from eventbridge_partner.raw_call import PutPartnerEventsResponse
from eventbridge_partner.retry import RetryPolicy, Verdict
from eventbridge_partner.transports import Transport

__all__ = [
    "Accepted",
    "BatchLimits",
    "ClockSkewError",
    "ConfigurationError",
    "Credentials",
    "CredentialsError",
    "DeliveryReport",
    "Exhausted",
    "ExpiredCredentialsError",
    "Finding",
    "GivenEvent",
    "HttpRequest",
    "HttpResponse",
    "InputInterruptedError",
    "InvalidEventError",
    "Outcome",
    "OutcomeCounts",
    "PartnerEvent",
    "PartnerEventsClient",
    "PartnerEventsError",
    "PutPartnerEventsResponse",
    "ReadCredentials",
    "Rejected",
    "ResultEntry",
    "RetryPolicy",
    "ServiceError",
    "SourceName",
    "ThrottledError",
    "Timeouts",
    "TlsError",
    "Transport",
    "TransportError",
    "Unconfirmed",
    "UndeliveredError",
    "UnreadableAnswerError",
    "Verdict",
    "entry_size",
    "plan_batches",
]
