"""
The exceptions of this package.

    PartnerEventsError
    ├── InvalidEventError (ValueError)      an event or a source breaks a limit; nothing was sent
    ├── ConfigurationError (ValueError)     a setting cannot work: Region, endpoint, retry mode
    ├── CredentialsError                    no usable AWS credentials
    ├── ServiceError                        the service refused the whole request
    │   ├── ThrottledError                  too many requests: wait longer
    │   ├── ExpiredCredentialsError         the session token has expired
    │   ├── ClockSkewError                  our clock is off by too much
    │   ├── ResourceNotFoundError           there is no such source
    │   ├── ResourceAlreadyExistsError      there is such a source already
    │   ├── ConcurrentModificationError     somebody else changes the source at this moment
    │   ├── LimitExceededError              no more sources: a quota, not a throttle
    │   ├── OperationDisabledError          the operation is not available
    │   └── InvalidTokenError               the token of a list's next page has expired
    ├── TransportError                      no answer: connection, timeout
    │   └── TlsError                        the peer could not be trusted
    ├── UnreadableAnswerError               an answer that cannot be understood
    ├── SourceNotActiveError                a source did not become ACTIVE in time
    ├── InputInterruptedError               the caller's iterable raised; holds the report
    ├── CallCancelledError                  an asyncio task was cancelled; holds the report
    ├── BufferFullError                     a publisher has no room for the event
    ├── PublisherClosedError                a publisher takes no more events
    ├── NoTransactionError                  an event was to be added outside of a transaction
    ├── OutboxSchemaError                   an outbox has no tables, or those of another version
    ├── OutboxUnavailableError              an outbox's database cannot be used at the moment
    └── UndeliveredError                    from raise_for_undelivered(); holds the report

All can be pickled, and all know `may_have_been_sent`. None has a payload or a credential in its
message.
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
    """Anything that this package raises."""

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
    One thing that is wrong with an event, or with what names a source.

    Attributes:
        field: Which field, in Python's names, with the path inside of `detail`: `detail.total`.
        found: What is there, as a predicate: `has 140 characters`. Never the payload itself.
        allowed: What may be there: `the limit is 128`.
        index: Which event of several, from 0; None where there is only one.
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
    An event, or what names a source, breaks the service's rules. Nothing was sent.

    Attributes:
        findings: Everything that is wrong with it.
    """

    findings: tuple[Finding, ...]

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(map(str, self.findings)))

    def at(self, index: int) -> Self:
        """Return the same error, said of event `index` of several."""
        return type(self)(attrs.evolve(finding, index=index) for finding in self.findings)


class ConfigurationError(PartnerEventsError, ValueError):
    """A setting cannot work, whether an argument, an environment variable or AWS's config file."""


class CredentialsError(PartnerEventsError):
    """No usable AWS credentials. Nothing was sent."""


class ServiceError(PartnerEventsError):
    """
    The service refused a whole request.

    Attributes:
        code: The service's error code, without namespace; `HTTP 502` where it gave none.
        message: The service's message, without what it echoes of the request.
        status: The HTTP status.
        request_id: What AWS support asks for; None where the answer had none.
        retry_after: Seconds after which the service wants the next try; None where it says none.
        server_time: The service's clock, epoch seconds from its `Date` header; None without one.
        may_have_been_sent: True where a gateway gave up and nobody knows what became of it.
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
    """There is no such partner event source: never created, expired or deleted."""


class ResourceAlreadyExistsError(ServiceError):
    """There is such a partner event source already."""


class ConcurrentModificationError(ServiceError):
    """Somebody else changed the source at the same time, up to the last attempt."""


class LimitExceededError(ServiceError):
    """No more partner event sources: a hard quota, for which waiting is no use."""


class OperationDisabledError(ServiceError):
    """The operation is not available in this Region, or to this account."""


class InvalidTokenError(ServiceError):
    """The token of a list's next page has expired, or is none: list again from the start."""


class TransportError(PartnerEventsError):
    """
    The request got no answer.

    Attributes:
        may_have_been_sent: False only if the request certainly did not reach the service.
    """

    def __init__(self, message: str, *, may_have_been_sent: bool) -> None:
        self.may_have_been_sent = may_have_been_sent
        # Of names that a peer or a proxy chose, and of transports that are not ours.
        super().__init__(escaped(message, _MAX_MESSAGE_CHARACTERS))


class TlsError(TransportError):
    """The peer's TLS could not be trusted. Nothing was sent, and trying again is no use."""

    def __init__(self, message: str) -> None:
        super().__init__(message, may_have_been_sent=False)


class UnreadableAnswerError(PartnerEventsError):
    """The service answered something that does not say what became of the entries."""

    may_have_been_sent = True


class SourceNotActiveError(PartnerEventsError):
    """
    A source did not become ACTIVE in time, or cannot any more.

    Attributes:
        last: What was seen of it last.
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
    A call ended midway: a signal handler raised, such as Ctrl-C's or that of a time limit.

    It is never raised: it is the cause of what was raised.

    Attributes:
        report: One outcome for each event that had been taken, and not handed out as an outcome
            before. What was in flight is `Unconfirmed`; what was not sent is `Exhausted` with the
            code `Cancelled`.
    """

    may_have_been_sent = True

    def __init__(self, message: str, report: DeliveryReport) -> None:
        self.report = report
        super().__init__(message)


class CallCancelledError(CallInterruptedError):
    """A call of the asynchronous client was cancelled. It is the cause of the `CancelledError`."""


class BufferFullError(PartnerEventsError):
    """A publisher has no room for an event. It was not taken, and will not be sent."""


class PublisherClosedError(PartnerEventsError):
    """A publisher is closed, or closing. The event was not taken, and will not be sent."""


class NoTransactionError(PartnerEventsError):
    """An event was to be added to an outbox outside of a transaction. Nothing was written."""


class OutboxSchemaError(PartnerEventsError):
    """An outbox has no tables, or those of another version. The message names the command."""


class OutboxUnavailableError(PartnerEventsError):
    """The database of an outbox cannot be reached, or cannot do what it is asked to."""


class InputInterruptedError(PartnerEventsError):
    """
    The iterable of events raised midway; its exception is the cause.

    Attributes:
        report: One outcome for each event that had been taken from the iterable. All of those
            were sent.
    """

    may_have_been_sent = True

    def __init__(self, message: str, report: DeliveryReport) -> None:
        self.report = report
        super().__init__(message)
