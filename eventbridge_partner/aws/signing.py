"""The last step before a transport: turns calls into signed HTTP requests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from eventbridge_partner._http import HttpRequest
from eventbridge_partner.aws.configuration import SERVICE, AwsConfiguration
from eventbridge_partner.wire.calls import CONTENT_TYPE, Call
from eventbridge_partner.wire.sigv4 import FrozenCredentials, Signer

if TYPE_CHECKING:
    pass


_TARGET_PREFIX: Final = "AWSEvents"


class SigningEdge:
    """Turns calls into signed HTTP requests."""

    def __init__(
        self,
        configuration: AwsConfiguration,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.configuration = configuration
        self._clock = clock
        self._clock_offset = 0.0
        self._signer = Signer(
            service=SERVICE,
            region=configuration.region,
            host=configuration.host,
            content_type=CONTENT_TYPE,
        )

    def request(
        self, call: Call[Any], credentials: FrozenCredentials, *, invocation_id: str, attempt: int
    ) -> HttpRequest:
        """Return a signed request. Each attempt is signed anew."""
        headers = self._signer.signed_headers(
            credentials,
            target=f"{_TARGET_PREFIX}.{call.operation}",
            body=call.body,
            invocation_id=invocation_id,
            attempt=f"attempt={attempt}",
            epoch_seconds=self._clock() + self._clock_offset,
        )
        headers["User-Agent"] = self.configuration.user_agent
        return HttpRequest(self.configuration.url, headers, call.body)

    def correct_clock(self, server_time: float) -> None:
        """Sign with the service's time from now on; it has a precision of one second."""
        self._clock_offset = server_time - self._clock()
