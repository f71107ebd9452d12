"""
The service's error codes, by what they mean for a sender.

AWS publishes no list for PutPartnerEvents. These are PutEvents' codes, the common errors of AWS's
JSON services, botocore's lists of transient and throttling errors, and what partners' public code
handles. They are the least sure of all that this package knows, so `RetryPolicy(verdicts=…)`
overrides them, and a code that stands nowhere here stays visible and is tried again within bounds.
"""

from __future__ import annotations

from typing import Final

TRANSIENT: Final = frozenset(
    {
        "ConcurrentModificationException",
        "InternalError",
        "InternalException",
        "InternalFailure",
        "InternalServerError",
        "InternalServiceError",
        "PriorRequestNotComplete",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
    }
)
"""The same request may succeed soon (botocore's list, and EventBridge's internal failures)."""

THROTTLING: Final = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
"""
Too fast: wait longer.

botocore's list without `LimitExceededException`, which on EventBridge is a hard quota.
"""

PERMANENT: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccountIdException",
        "InvalidAction",
        "InvalidArgument",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "InvalidTokenException",
        "LimitExceededException",
        "MalformedDetail",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "NotAuthorizedForDetailTypeException",
        "NotAuthorizedForSourceException",
        "OperationDisabledException",
        "OptInRequired",
        "RedactionFailure",
        "ResourceAlreadyExistsException",
        "SerializationException",
        "SignatureDoesNotMatch",
        "UnknownOperationException",
        "UnrecognizedClientException",
        "ValidationError",
        "ValidationException",
    }
)
"""Sending the same again cannot help."""

SOURCE_GONE: Final = frozenset(
    {
        "EventBusNotFound",
        "EventBusNotFoundException",
        "ResourceNotFound",
        "ResourceNotFoundException",
    }
)
"""
The partner event source is nonexistent, expired or deleted: stop sending to it.

AWS's partner guide says "Event Bus Not Found" and does not give the literal code.
"""

SOURCE_GONE_MESSAGE: Final = "event bus not found"
"""What the message says then, in lower case, whatever the code."""

UNKNOWN_CREDENTIALS: Final = frozenset({"InvalidClientTokenId", "UnrecognizedClientException"})
"""Permanent, unless refreshable credentials turn out to have been revoked and renewed."""

EXPIRED_CREDENTIALS: Final = frozenset({"ExpiredToken", "ExpiredTokenException"})
"""The session token has expired: the same request may succeed with fresh credentials."""

CLOCK_SKEW: Final = frozenset(
    {
        "RequestExpired",
        "RequestInTheFuture",
        "RequestTimeTooSkewed",
        "RequestTimeTooSkewedException",
    }
)
"""Our clock is off: the same request may succeed when signed with the service's time."""

CLOCK_SKEW_MESSAGES: Final = ("signature expired", "signature not yet current")
"""How messages begin, in lower case, when a signature error means the same."""

TOO_LARGE: Final = frozenset(
    {"RequestEntityTooLarge", "RequestEntityTooLargeException", "RequestTooLargeException"}
)
"""The request as a whole is too large; less of it may pass."""
