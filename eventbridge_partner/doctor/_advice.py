"""What a refusal of the service means for a setup, and how to fix it."""

from __future__ import annotations

from typing import Final

from eventbridge_partner.doctor._findings import Finding, Status
from eventbridge_partner.error_codes import THROTTLING, TRANSIENT, UNKNOWN_CREDENTIALS
from eventbridge_partner.errors import (
    ClockSkewError,
    CredentialsError,
    ExpiredCredentialsError,
    PartnerEventsError,
    ServiceError,
    ThrottledError,
    TlsError,
    TransportError,
)

_WRONG_SIGNATURE: Final = frozenset(
    {"IncompleteSignature", "IncompleteSignatureException", "InvalidSignatureException",
     "MissingAuthenticationToken", "MissingAuthenticationTokenException", "SignatureDoesNotMatch"}
)  # fmt: skip
_OTHER_REGION: Final = "Credential should be scoped to a valid region"
"""Begins the service's message if the Region of the signature is not its own."""

_SECRETS: Final = {"AWS_ACCESS_KEY_ID": "AWS_SECRET_ACCESS_KEY"}
"""For the variable of an access key, the variable of its secret."""

_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException"})
_NO_PARTNER: Final = frozenset(
    {"NotAuthorized", "NotAuthorizedForDetailTypeException", "NotAuthorizedForSourceException",
     "OperationDisabledException", "OptInRequired"}
)  # fmt: skip

RENEW: Final = {
    "IAM Identity Center": "aws sso login",
    "aws login": "aws login",
    "the role of the machine": "see that the machine still has its role",
    "the role of the container": "see that the task or pod still has its role",
}
"""How to renew credentials, by their origin."""


def renewal(origin: str) -> str:
    """Return how to renew expired credentials."""
    return RENEW.get(origin, f"put fresh credentials where these are from: {origin}")


def refused(error: PartnerEventsError, host: str, origin: str) -> Finding:
    """
    Return the finding about a request that failed.

    Args:
        error: Why it failed.
        host: The host that it was sent to.
        origin: The origin of the credentials.
    """
    kind, message, fix = _told(error, host, origin)
    code = error.code if isinstance(error, ServiceError) else None
    status: Status = "warn" if isinstance(error, ThrottledError) else "fail"
    return Finding("service", status, message, fix, facts={"reason": kind, "code": code})


def _told(error: PartnerEventsError, host: str, origin: str) -> tuple[str, str, str]:
    match error:
        case TlsError():
            fix = "set AWS_CA_BUNDLE to the certificates of the proxy that opens TLS, if one does"
            return "untrusted", str(error), fix
        case TransportError():
            fix = (
                "check Region, endpoint and proxy above, DNS, and that outgoing connections to "
                f"{host} are allowed"
            )
            return "unreachable", str(error), fix
        case CredentialsError():  # expired ones could not be renewed
            return "expired", str(error), renewal(origin)
        case ExpiredCredentialsError():
            return "expired", f"the credentials have expired ({error.code})", renewal(origin)
        case ClockSkewError():
            # Not the error's text: it repeats the times of the signature.
            fix = "set this machine's clock: timedatectl set-ntp true"
            return "clock", f"the signature's time is refused ({error.code})", fix
        case ServiceError():
            return _refusal(error, host, origin)
        case _:
            fix = f"see what answers at {host}: a proxy, or something other than EventBridge"
            return "unreadable", str(error), fix


def _refusal(error: ServiceError, host: str, origin: str) -> tuple[str, str, str]:
    code = error.code
    if code in UNKNOWN_CREDENTIALS:
        fix = (
            f"use a key that exists: check {origin}; temporary keys need their session token, "
            "long-term keys must have none (unset AWS_SESSION_TOKEN), and keys of another AWS "
            "partition are unknown here"
        )
        return "unknown key", f"AWS does not know the access key ({code})", fix
    if code in _WRONG_SIGNATURE and _OTHER_REGION in error.message:
        fix = f"give the Region that {host} serves: --region or AWS_REGION"
        return "wrong region", f"the signature is for another Region ({code})", fix
    if code in _WRONG_SIGNATURE:
        # Not the service's message: it repeats the signed request, including the session token.
        secret = _SECRETS.get(origin, origin)
        fix = f"check the secret access key in {secret}, and that nothing on the way alters headers"
        return "wrong secret", f"the signature does not match ({code})", fix
    if code in _DENIED:
        fix = (
            "allow events:ListPartnerEventSources, events:ListPartnerEventSourceAccounts and "
            "events:PutPartnerEvents on * in the IAM policy of this identity; if it does, ask AWS "
            "whether the account is registered as a partner"
        )
        return "denied", f"the request is denied ({error})", fix
    if code in _NO_PARTNER:
        fix = (
            "register the account as an EventBridge partner with AWS, use the account that is, or "
            "a Region in which partner operations are available"
        )
        return "no partner", f"partner operations are not open to this account ({error})", fix
    if code in THROTTLING:
        return "throttled", f"throttled ({code}): credentials are accepted", "try again later"
    if code in TRANSIENT or error.status >= 500:
        fix = "try again later; see https://health.aws.amazon.com/health/status"
        return "unavailable", f"{host} cannot answer at the moment ({code})", fix
    return "refused", f"the request is refused ({error})", "see what the message says"
