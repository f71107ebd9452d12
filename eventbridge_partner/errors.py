"""
The exceptions of this package.

    PartnerEventsError
    ├── InvalidEventError (ValueError)      an event or a source breaks a limit; nothing was sent
    ├── ConfigurationError (ValueError)     a setting cannot work: Region, endpoint, attempts
    ├── CredentialsError                    no usable AWS credentials
    ├── ServiceError                        the service refused the whole request
    │   ├── ThrottledError                  too many requests: wait longer
    │   ├── ExpiredCredentialsError         the session token has expired
    │   ├── ClockSkewError                  the local clock is too far off
    │   ├── ResourceNotFoundError           the source does not exist
    │   ├── ResourceAlreadyExistsError      the source already exists
    │   ├── ConcurrentModificationError     another caller is changing the source
    │   ├── LimitExceededError              no more sources allowed: a quota, not throttling
    │   ├── OperationDisabledError          the operation is not available
    │   └── InvalidTokenError               a pagination token is invalid or has expired
    ├── TransportError                      no answer: connection, timeout
    │   └── TlsError                        the peer could not be trusted
    ├── UnreadableAnswerError               the answer cannot be understood
    ├── SourceNotActiveError                a source did not become ACTIVE in time
    ├── InputInterruptedError               the caller's iterable raised; holds the report
    ├── CallInterruptedError                a signal handler ended a call; holds the report
    ├── CallCancelledError                  an asyncio task was cancelled; holds the report
    ├── BufferFullError                     a publisher has no room for the event
    ├── PublisherClosedError                a publisher takes no more events
    ├── NoTransactionError                  an outbox needs a transaction to add an event
    ├── OutboxSchemaError                   an outbox's tables are missing, or of another version
    ├── OutboxUnavailableError              an outbox's database cannot be used at the moment
    └── UndeliveredError                    from raise_for_undelivered(); holds the report

All can be pickled, and all have `may_have_been_sent`. Messages never hold payloads or credentials.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import attrs

from eventbridge_partner._foreign_text import escaped

if TYPE_CHECKING:
    from typing import Self

    from eventbridge_partner.models import DeliveryReport, SourceAccount


_MAX_MESSAGE_CHARACTERS: Final = 1000


class PartnerEventsError(Exception):
    """The base class of all errors that this package raises."""

    may_have_been_sent: bool = False
    """Whether the service may have carried out the request despite the error."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args, self.__dict__)


def _restored(
    cls: type[PartnerEventsError], args: tuple[Any, ...], state: dict[str, Any]
) -> PartnerEventsError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


@attrs.frozen
class Finding:
    """
    One thing that is wrong with an event, or with the name of a source.

    Attributes:
        field: The Python name of the field, with the path inside `detail`: `detail.total`.
        found: What was found, as a predicate: `has 140 characters`. Never the payload itself.
        allowed: What is allowed: `the limit is 128`.
        index: The event's position, from 0; None if there is only one event.
    """

    field: str
    found: str
    allowed: str
    index: int | None = None

    def __str__(self) -> str:
        where = self.field if self.index is None else f"{self.field} of event {self.index}"
        return f"{where} {self.found}; {self.allowed}"


class InvalidEventError(PartnerEventsError, ValueError):
    """
    An event, or the name of a source, breaks the service's rules. Nothing was sent.

    Attributes:
        findings: Everything that is wrong with it.
    """

    findings: tuple[Finding, ...]

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(map(str, self.findings)))

    def at(self, index: int) -> Self:
        """Return the same error with `index` as the position of the event."""
        return type(self)(attrs.evolve(finding, index=index) for finding in self.findings)


class ConfigurationError(PartnerEventsError, ValueError):
    """A setting is invalid: an argument, an environment variable or a line of AWS's config file."""


class CredentialsError(PartnerEventsError):
    """No usable AWS credentials. Nothing was sent."""


class ServiceError(PartnerEventsError):
    """
    The service refused a whole request.

    Attributes:
        code: The service's error code, without namespace; `HTTP 502` if it gave none.
        message: The service's message, without the parts that echo the request.
        status: The HTTP status.
        request_id: The id that AWS support asks for; None if the answer had none.
        retry_after: How many seconds the service asks us to wait; None if it asks for none.
        server_time: The service's clock, epoch seconds from its `Date` header; None without one.
        may_have_been_sent: True if a gateway gave up, so that the result is unknown.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int,
        request_id: str | None = None,
        retry_after: float | None = None,
        server_time: float | None = None,
        may_have_been_sent: bool = False,
    ) -> None:
        self.code = code
        self.message = message
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        self.server_time = server_time
        self.may_have_been_sent = may_have_been_sent
        super().__init__(f"{code}: {message}" if message else code)


class ThrottledError(ServiceError):
    """Too many requests for the quota of the account and Region."""


class ExpiredCredentialsError(ServiceError):
    """The session token that signed the request has expired."""


class ClockSkewError(ServiceError):
    """The request was signed with a time too far from the service's own."""


class ResourceNotFoundError(ServiceError):
    """The partner event source does not exist: it was never created, has expired or was deleted."""


class ResourceAlreadyExistsError(ServiceError):
    """The partner event source already exists."""


class ConcurrentModificationError(ServiceError):
    """Another caller was changing the source at the same time, at each attempt."""


class LimitExceededError(ServiceError):
    """The quota of partner event sources is used up. Waiting does not help."""


class OperationDisabledError(ServiceError):
    """The operation is not available in this Region, or to this account."""


class InvalidTokenError(ServiceError):
    """The pagination token is invalid or has expired: list again from the start."""


class TransportError(PartnerEventsError):
    """
    The request got no answer.

    Attributes:
        may_have_been_sent: False only if the request cannot have reached the service.
    """

    def __init__(self, message: str, *, may_have_been_sent: bool) -> None:
        self.may_have_been_sent = may_have_been_sent
        # The message may quote a peer or a proxy, or come from a third-party transport.
        super().__init__(escaped(message, _MAX_MESSAGE_CHARACTERS))


class TlsError(TransportError):
    """The TLS peer could not be trusted. Nothing was sent, and a retry does not help."""

    def __init__(self, message: str) -> None:
        super().__init__(message, may_have_been_sent=False)


class UnreadableAnswerError(PartnerEventsError):
    """The service's answer does not say what happened to the entries."""

    may_have_been_sent = True


class SourceNotActiveError(PartnerEventsError):
    """
    A source did not become ACTIVE in time, or no longer can.

    Attributes:
        last: The source as last seen.
    """

    def __init__(self, message: str, last: SourceAccount) -> None:
        self.last = last
        super().__init__(message)


class UndeliveredError(PartnerEventsError):
    """Some events of a report were not accepted. `report` holds the outcome of every event."""

    may_have_been_sent = True

    def __init__(self, message: str, report: DeliveryReport) -> None:
        self.report = report
        super().__init__(message)


class CallInterruptedError(PartnerEventsError):
    """
    A signal handler ended a call midway: Ctrl-C, or a worker's time limit.

    It is never raised itself: it is the cause of the exception that the handler raised.

    Attributes:
        report: One outcome for each event that had been read, without the outcomes that had
            already been handed out. Events in flight are `Unconfirmed`; events not sent are
            `Exhausted` with the code `Cancelled`.
    """

    may_have_been_sent = True

    def __init__(self, message: str, report: DeliveryReport) -> None:
        self.report = report
        super().__init__(message)


class CallCancelledError(CallInterruptedError):
    """A call of the asynchronous client was cancelled. It is the cause of the `CancelledError`."""


class BufferFullError(PartnerEventsError):
    """A publisher's buffer has no room for the event, which will not be sent."""


class PublisherClosedError(PartnerEventsError):
    """A publisher is closed or closing. The event will not be sent."""


class NoTransactionError(PartnerEventsError):
    """An outbox adds events only inside a transaction, and there is none. Nothing was written."""


class OutboxSchemaError(PartnerEventsError):
    """An outbox's tables are missing or of another version. The message names the command."""


class OutboxUnavailableError(PartnerEventsError):
    """The database of an outbox cannot be reached, or cannot run a statement."""


class InputInterruptedError(PartnerEventsError):
    """
    The iterable of events raised midway; its exception is the cause.

    Attributes:
        report: One outcome for each event that had been read from the iterable. Those events
            were sent as usual.
    """

    may_have_been_sent = True

    def __init__(self, message: str, report: DeliveryReport) -> None:
        self.report = report
        super().__init__(message)
