"""A service that tells a customer about each order, with this package."""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from eventbridge_partner import (
    Accepted,
    EventPublisher,
    InvalidEventError,
    PartnerEvent,
    PartnerEventsClient,
)

SOURCE = "aws.partner/shop.example.test/acme"


def serve(publisher: EventPublisher) -> None:
    class Orders(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # http.server's name
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                event = PartnerEvent(SOURCE, "order.placed", body.decode())
            except (InvalidEventError, UnicodeDecodeError) as error:
                self.answer(400, {"error": str(error)})
                return
            outcome = publisher.publish(event).result(timeout=30)
            self.answer(202 if isinstance(outcome, Accepted) else 502, outcome.to_dict())

        def answer(self, status: int, document: object) -> None:
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Log nothing."""

    with ThreadingHTTPServer(("", int(os.environ.get("PORT", "8000"))), Orders) as server:
        print(f"port {server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # All settings come from the environment.
    with PartnerEventsClient() as client, EventPublisher(client, linger=0.01) as publisher:
        serve(publisher)
