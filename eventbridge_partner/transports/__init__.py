"""What sends requests: one protocol, and a file for each HTTP library that can do it."""

from __future__ import annotations

from typing import Protocol

from eventbridge_partner._http import HttpRequest, HttpResponse, Timeouts


class Transport(Protocol):
    """Sends one request at a time from each thread that calls it."""

    def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        """
        Send a request and return its whole answer, whatever its status.

        Redirects are not followed, and nothing is sent twice.

        Raises:
            TransportError: There was no answer, or it was cut short.
        """
        ...

    def close(self) -> None:
        """Close all connections. Sending again opens new ones."""
        ...
