"""
Deliver a SaaS vendor's events to its customers' Amazon EventBridge partner event buses.

    from eventbridge_partner import PartnerEvent, PartnerEventsClient

    with PartnerEventsClient("us-east-1") as client:
        report = client.put_events([PartnerEvent(source, "ticket.created", {"id": 1})])
        report.raise_for_undelivered()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventbridge_partner._aws import Credentials, ReadCredentials
from eventbridge_partner._http import HttpRequest, HttpResponse, Timeouts
from eventbridge_partner._receipts import FlushReport, PublisherStats, Receipt
from eventbridge_partner._version import __version__ as __version__
from eventbridge_partner.batching import BatchLimits, plan_batches
from eventbridge_partner.client import PartnerEventsClient
from eventbridge_partner.errors import (
    BufferFullError,
    CallCancelledError,
    ClockSkewError,
    ConfigurationError,
    CredentialsError,
    ExpiredCredentialsError,
    Finding,
    InputInterruptedError,
    InvalidEventError,
    PartnerEventsError,
    PublisherClosedError,
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
from eventbridge_partner.pacing import Pace
from eventbridge_partner.publisher import EventPublisher
from eventbridge_partner.raw_call import PutPartnerEventsResponse
from eventbridge_partner.retry import RetryPolicy, Verdict
from eventbridge_partner.transports import AsyncTransport, Transport

if TYPE_CHECKING:
    from eventbridge_partner.async_client import AsyncPartnerEventsClient
    from eventbridge_partner.async_publisher import AsyncEventPublisher
else:

    def __getattr__(name: str) -> object:
        # Importing asyncio takes longer than all the rest.
        if name == "AsyncPartnerEventsClient":
            from eventbridge_partner.async_client import AsyncPartnerEventsClient

            return AsyncPartnerEventsClient
        if name == "AsyncEventPublisher":
            from eventbridge_partner.async_publisher import AsyncEventPublisher

            return AsyncEventPublisher
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Accepted",
    "AsyncEventPublisher",
    "AsyncPartnerEventsClient",
    "AsyncTransport",
    "BatchLimits",
    "BufferFullError",
    "CallCancelledError",
    "ClockSkewError",
    "ConfigurationError",
    "Credentials",
    "CredentialsError",
    "DeliveryReport",
    "EventPublisher",
    "Exhausted",
    "ExpiredCredentialsError",
    "Finding",
    "FlushReport",
    "GivenEvent",
    "HttpRequest",
    "HttpResponse",
    "InputInterruptedError",
    "InvalidEventError",
    "Outcome",
    "OutcomeCounts",
    "Pace",
    "PartnerEvent",
    "PartnerEventsClient",
    "PartnerEventsError",
    "PublisherClosedError",
    "PublisherStats",
    "PutPartnerEventsResponse",
    "ReadCredentials",
    "Receipt",
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
