"""Describes exceptions of the system and of libraries, in the same words for all transports."""

from __future__ import annotations

import os
import socket
import ssl

from eventbridge_partner.transports._faults import CLOSED, NOT_IN_TIME


def words(error: BaseException | None) -> str:
    """Describe an error without the details that libraries add: addresses, URLs, the proxy."""
    match error:
        case None:
            return CLOSED
        case TimeoutError(errno=None):
            return NOT_IN_TIME
        case ssl.SSLError():
            return getattr(error, "verify_message", "") or error.reason or "TLS"
        case socket.gaierror():  # its numbers are not those of errno
            return error.strerror or "the name is unknown"
        case OSError(errno=int(number)):
            return os.strerror(number)
        case UnicodeError():
            return "the name is invalid"
        case _:
            return type(error).__name__
