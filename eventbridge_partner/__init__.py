"""
Deliver a SaaS vendor's events to its customers' Amazon EventBridge partner event buses.

    from eventbridge_partner import PartnerEvent, PartnerEventsClient

    with PartnerEventsClient("us-east-1") as client:
        report = client.put_events([PartnerEvent(source, "ticket.created", {"id": 1})])
        report.raise_for_undelivered()
"""

from __future__ import annotations

from eventbridge_partner._lazy import face
from eventbridge_partner._version import __version__ as __version__

TYPE_CHECKING = False  # as in typing, whose import takes longer than this one
if TYPE_CHECKING:
    from eventbridge_partner._http import HttpRequest, HttpResponse, Timeouts
    from eventbridge_partner.aws.credentials import Credentials, ReadCredentials, StaticCredentials
    from eventbridge_partner.client._asyncio import AsyncPartnerEventsClient
    from eventbridge_partner.client._blocking import PartnerEventsClient
    from eventbridge_partner.client._boto3_shape import (
        PutPartnerEventsResponse,
        ResponseMetadata,
        ResultMembers,
    )
    from eventbridge_partner.delivery.batching import BatchLimits, plan_batches
    from eventbridge_partner.errors import (
        BufferFullError,
        CallCancelledError,
        CallInterruptedError,
        ClockSkewError,
        ConcurrentModificationError,
        ConfigurationError,
        CredentialsError,
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
        PartnerEventsError,
        PublisherClosedError,
        ResourceAlreadyExistsError,
        ResourceNotFoundError,
        ServiceError,
        SourceNotActiveError,
        ThrottledError,
        TlsError,
        TransportError,
        UndeliveredError,
        UnreadableAnswerError,
    )
    from eventbridge_partner.guard import SourceGuard
    from eventbridge_partner.guard._asyncio import AsyncSourceGuard
    from eventbridge_partner.models import (
        Accepted,
        DeliveryReport,
        EventSource,
        Exhausted,
        GivenEvent,
        Outcome,
        OutcomeCounts,
        PartnerEvent,
        Readiness,
        Rejected,
        ResultEntry,
        SourceAccount,
        SourceName,
        SourceState,
        Unconfirmed,
        entry_size,
        stamp,
    )
    from eventbridge_partner.pacing import Pace
    from eventbridge_partner.publisher._asyncio import AsyncEventPublisher
    from eventbridge_partner.publisher._blocking import EventPublisher
    from eventbridge_partner.publisher._receipts import FlushReport, PublisherStats, Receipt
    from eventbridge_partner.regions import RegionRouter
    from eventbridge_partner.regions._asyncio import AsyncRegionRouter
    from eventbridge_partner.retry import RetryPolicy, Verdict
    from eventbridge_partner.sources import Sources
    from eventbridge_partner.sources._asyncio import AsyncSources
    from eventbridge_partner.transports import AsyncTransport, Transport
else:
    # A name is loaded at its first use: a backend pays only for what it uses.
    _NAMES = {
        "_http": "HttpRequest HttpResponse Timeouts",
        "aws.credentials": "Credentials ReadCredentials StaticCredentials",
        "client._asyncio": "AsyncPartnerEventsClient",
        "client._blocking": "PartnerEventsClient",
        "client._boto3_shape": "PutPartnerEventsResponse ResponseMetadata ResultMembers",
        "delivery.batching": "BatchLimits plan_batches",
        "errors": """
            BufferFullError CallCancelledError CallInterruptedError ClockSkewError
            ConcurrentModificationError ConfigurationError CredentialsError
            ExpiredCredentialsError Finding InputInterruptedError InvalidEventError
            InvalidTokenError LimitExceededError NoTransactionError OperationDisabledError
            OutboxSchemaError OutboxUnavailableError PartnerEventsError PublisherClosedError
            ResourceAlreadyExistsError ResourceNotFoundError ServiceError SourceNotActiveError
            ThrottledError TlsError TransportError UndeliveredError UnreadableAnswerError
        """,
        "guard": "SourceGuard",
        "guard._asyncio": "AsyncSourceGuard",
        "models": """
            Accepted DeliveryReport EventSource Exhausted GivenEvent Outcome OutcomeCounts
            PartnerEvent Readiness Rejected ResultEntry SourceAccount SourceName SourceState
            Unconfirmed entry_size stamp
        """,
        "pacing": "Pace",
        "publisher._asyncio": "AsyncEventPublisher",
        "publisher._blocking": "EventPublisher",
        "publisher._receipts": "FlushReport PublisherStats Receipt",
        "regions": "RegionRouter",
        "regions._asyncio": "AsyncRegionRouter",
        "retry": "RetryPolicy Verdict",
        "sources": "Sources",
        "sources._asyncio": "AsyncSources",
        "transports": "AsyncTransport Transport",
    }
    _SUBMODULES = """
        aws cli client delivery doctor error_codes errors guard handoff limits line models
        observing otel outbox pacing publisher pytest_plugin regions retry sources testing
        transports wire
    """
    __getattr__, __dir__ = face(__name__, _NAMES, _SUBMODULES)


__all__ = [
    "Accepted",
    "AsyncEventPublisher",
    "AsyncPartnerEventsClient",
    "AsyncRegionRouter",
    "AsyncSourceGuard",
    "AsyncSources",
    "AsyncTransport",
    "BatchLimits",
    "BufferFullError",
    "CallCancelledError",
    "CallInterruptedError",
    "ClockSkewError",
    "ConcurrentModificationError",
    "ConfigurationError",
    "Credentials",
    "CredentialsError",
    "DeliveryReport",
    "EventPublisher",
    "EventSource",
    "Exhausted",
    "ExpiredCredentialsError",
    "Finding",
    "FlushReport",
    "GivenEvent",
    "HttpRequest",
    "HttpResponse",
    "InputInterruptedError",
    "InvalidEventError",
    "InvalidTokenError",
    "LimitExceededError",
    "NoTransactionError",
    "OperationDisabledError",
    "OutboxSchemaError",
    "OutboxUnavailableError",
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
    "Readiness",
    "Receipt",
    "RegionRouter",
    "Rejected",
    "ResourceAlreadyExistsError",
    "ResourceNotFoundError",
    "ResponseMetadata",
    "ResultEntry",
    "ResultMembers",
    "RetryPolicy",
    "ServiceError",
    "SourceAccount",
    "SourceGuard",
    "SourceName",
    "SourceNotActiveError",
    "SourceState",
    "Sources",
    "StaticCredentials",
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
    "stamp",
]
