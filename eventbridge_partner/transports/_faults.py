"""Errors of requests without an answer, with the same messages for every HTTP library."""

from __future__ import annotations

from eventbridge_partner.errors import TlsError, TransportError

NOT_IN_TIME = "it took too long"
CLOSED = "the connection was closed"


def place_of(url: str) -> str:
    """Return the host of a URL, and its port if it names one."""
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2]


def no_connection(place: str, why: str) -> TransportError:
    """Return the error of a request of which no byte was sent."""
    return TransportError(f"no connection to {place} ({why})", may_have_been_sent=False)


def not_trusted(place: str, why: str) -> TlsError:
    """Return the error of a request that was not sent because its peer could not be verified."""
    return TlsError(f"{place} could not be trusted ({why})")


def no_certificates(place: str, ca_bundle: str | bool) -> TlsError:
    """Return the error of a request that was not sent for lack of trusted certificates."""
    named = f" in {ca_bundle}" if isinstance(ca_bundle, str) else ""
    return not_trusted(place, f"there are no trusted certificates{named}")


def answer_lost(place: str, why: str) -> TransportError:
    """Return the error of a request that may have been sent in part, and has no answer."""
    return TransportError(f"the answer from {place} was lost ({why})", may_have_been_sent=True)


def no_answer_in_time(place: str) -> TransportError:
    """Return the error of a request that timed out after it may have been sent."""
    return TransportError(f"no answer from {place} in time", may_have_been_sent=True)


def raised(error: BaseException, *, may_have_been_sent: bool) -> TransportError:
    """Return the error for an exception that no transport should raise, which becomes its cause."""
    failure = TransportError(
        f"the transport raised {type(error).__name__}", may_have_been_sent=may_have_been_sent
    )
    failure.__cause__ = error
    return failure
