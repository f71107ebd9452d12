"""
The service's error codes, grouped by what a sender should do.

AWS publishes no list for PutPartnerEvents. These are PutEvents' codes, the common errors of AWS's
JSON services, botocore's lists of transient and throttling errors, and the codes that partners'
public code handles. The grouping is partly a guess, so `RetryPolicy(verdicts=…)` overrides it. An
unknown code is retried within bounds and marked as unknown in the outcome.
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
We send too fast: wait longer.

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
"""Sending the same request again cannot help."""

SOURCE_GONE: Final = frozenset(
    {
        "EventBusNotFound",
        "EventBusNotFoundException",
        "ResourceNotFound",
        "ResourceNotFoundException",
    }
)
"""
The partner event source does not exist, has expired or was deleted: stop sending to it.

AWS's partner guide says "Event Bus Not Found" and does not give the literal code.
"""

SOURCE_GONE_MESSAGE: Final = "event bus not found"
"""Part of the message in that case, in lower case, whatever the code."""

UNKNOWN_CREDENTIALS: Final = frozenset({"InvalidClientTokenId", "UnrecognizedClientException"})
"""Permanent, unless the credentials can be refreshed and prove to have been replaced."""

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
"""The local clock is off: the same request may succeed when signed with the service's time."""

CLOCK_SKEW_MESSAGES: Final = ("signature expired", "signature not yet current")
"""The start of messages, in lower case, of signature errors that also mean clock skew."""

TOO_LARGE: Final = frozenset(
    {"RequestEntityTooLarge", "RequestEntityTooLargeException", "RequestTooLargeException"}
)
"""The request is too large; a part of it may pass."""
