"""`serve`: run the local service until interrupted."""

from __future__ import annotations

import argparse
import ipaddress
import shlex
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from eventbridge_partner.cli import _local, _types
from eventbridge_partner.cli._exits import ALL_ACCEPTED, UsageError, reason
from eventbridge_partner.cli._interruption import Interrupted, Interruption
from eventbridge_partner.cli._output import amount, flush_out, say, write_out
from eventbridge_partner.testing import SOURCE_OPERATIONS, FakeEventBridge

if TYPE_CHECKING:
    from eventbridge_partner.testing import Answer, LocalServer, RequestRecord

_EPILOG: Final = """\
Prints the environment variables that point the AWS SDKs and this program to the service, ready
for a shell, and then a line for each request on standard error. It remembers the newest 10,000
requests, in at most 64 MiB, so it can run for as long as you like. It accepts events of any source
until the first source is created. `customer` acts on its sources as a customer does.

Exit status: 0 after Ctrl-C or SIGTERM; 2 wrong usage, or an address that it cannot listen on.
"""


def add_parser(subparsers: Any, **settings: Any) -> None:
    """Add the command to a parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "serve",
        description="Run the local service over HTTP, for development and tests.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **settings,
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="0.0.0.0 to serve other machines and containers too (default: 127.0.0.1)",
    )
    parser.add_argument(
        "--port",
        type=_types.port,
        default=0,
        help="the port to listen on (default: 0, any free port)",
    )
    parser.add_argument(
        "--region",
        default=_local.REGION,
        help=f"the Region that requests must be signed for (default: {_local.REGION})",
    )
    parser.add_argument(
        "--access-key-id", metavar="ID", help="the access key id that requests must be signed with"
    )
    parser.add_argument("--secret-access-key", metavar="KEY", help="its secret access key")
    parser.add_argument("--session-token", metavar="TOKEN", help="its session token, if it has one")
    parser.add_argument(
        "--no-verify-signatures",
        dest="verify_signatures",
        action="store_false",
        help="accept requests with any signature, or none",
    )
    parser.add_argument("--quiet", action="store_true", help="print no line for each request")
    parser.add_argument(
        "--page",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="serve the page that shows the events (default: yes)",
    )
    trust = parser.add_argument_group(
        "who may use control calls and the page, besides this machine"
    )
    trust.add_argument(
        "--trust-peer",
        type=_types.network,
        action="append",
        default=[],
        metavar="CIDR",
        help="a network that they may come from, such as a container's bridge; may be repeated",
    )
    trust.add_argument(
        "--trust-host",
        type=_types.host_and_port,
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="a Host header that they may have, such as localhost:9000; may be repeated",
    )
    _local.add_fault_options(parser, title="how the service fails")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, interruption: Interruption) -> int:
    """
    Carry the command out.

    Returns:
        The exit status.

    Raises:
        UsageError: It cannot listen on that address and port.
    """
    if (arguments.access_key_id is None) != (arguments.secret_access_key is None):
        raise UsageError("--access-key-id and --secret-access-key go together: give both or none")
    settings: dict[str, Any] = {
        name: getattr(arguments, name)
        for name in ("access_key_id", "secret_access_key", "session_token")
        if getattr(arguments, name) is not None
    }
    service = _local.local_service(
        arguments,
        _RequestPrinter,
        looked_at=True,
        verify_signatures=arguments.verify_signatures,
        **settings,
    )
    service.prints = not arguments.quiet
    try:
        server = service.serve(
            arguments.host,
            arguments.port,
            trusted_peers=arguments.trust_peer,
            trusted_hosts=arguments.trust_host,
            page=arguments.page,
        )
    except OSError as error:
        where = f"{arguments.host}:{arguments.port}"
        raise UsageError(f"cannot listen on {where}: {reason(error)}") from error
    with server:
        try:
            with interruption.allowed:
                _print_settings(service, server)
            interruption.wait()
        except Interrupted:
            pass
    requests = amount(service.request_count, "request")
    say(f"{requests}, {amount(service.accepted_count, 'event')} accepted")
    return ALL_ACCEPTED


def _print_settings(service: FakeEventBridge, server: LocalServer) -> None:
    credentials = service.credentials
    host, who = _reached_by(server)
    url = server.url if host is None else f"http://{host}:{server.port}"
    lines = [f"# EventBridge for partners, {who}: {url} (Ctrl-C ends it)"]
    if host is not None:
        lines.append("# Without TLS: for networks that you trust, and with made-up events")
    if server.page_url:
        lines.append(f"# See the events in a browser: {server.page_url}")
    values = {
        "AWS_ENDPOINT_URL_EVENTBRIDGE": url,
        **({} if host is None else {"EVENTBRIDGE_PARTNER_INSECURE_HOSTS": host.strip("[]")}),
        "AWS_REGION": service.region,
        "AWS_DEFAULT_REGION": service.region,
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
    }
    if credentials.token:
        values["AWS_SESSION_TOKEN"] = credentials.token
    else:
        lines.append("unset AWS_SESSION_TOKEN")
    lines += (f"export {name}={shlex.quote(str(value))}" for name, value in values.items())
    write_out("\n".join(lines) + "\n")
    flush_out()


def _reached_by(server: LocalServer) -> tuple[str | None, str]:
    """
    Return the host name under which programs reach the service, and say which programs can.

    Returns:
        The name is None if only this machine can, or if this machine's name does not resolve.
    """
    address = ipaddress.ip_address(server.host.partition("%")[0])
    if address.is_loopback:
        return None, "on this machine only"
    if not address.is_unspecified:
        host = f"[{server.host}]" if ":" in server.host else server.host
        return host, f"for every machine that reaches {server.host}"
    who = "for every machine and container that reaches this one"
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, server.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None, f"{who}, by its address; on this machine"
    return name.lower(), who


def _what_became(record: RequestRecord) -> str:
    if record.operation in SOURCE_OPERATIONS:
        return record.operation
    if record.error_code == "UnknownOperationException":
        known = "PutPartnerEvents and operations on partner event sources"
        return f"{record.operation or 'no operation'} is not supported, only {known}"
    accepted = sum(result.event_id is not None for result in record.results)
    dropped = sum(bool(result.dropped_for) for result in record.results)
    what = f"{accepted} of {record.entry_count} entries accepted"
    return f"{what}, {dropped} dropped" if dropped else what


class _RequestPrinter(FakeEventBridge):
    """Prints a line for each request."""

    prints = True

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Handle a request."""
        answer = super().handle(method, path, headers, body)
        if len(body) <= self.max_body_bytes:
            self._print(answer)
        return answer

    def refuse_unread(self, headers: Mapping[str, str]) -> Answer:
        """Refuse a request whose body is too large to be read."""
        answer = super().refuse_unread(headers)
        self._print(answer)
        return answer

    def send_again(self, entry: Mapping[str, Any]) -> Answer:
        """Handle a request that the page sends again."""
        answer = super().send_again(entry)
        self._print(answer)
        return answer

    def _print(self, answer: Answer) -> None:
        if not self.prints:
            return
        line = f"request {answer.request_index:,}: {answer.status or 'no answer'}"
        record = self.record_of(answer)
        if record is not None:
            line += f", {_what_became(record)}"
            reasons = {record.error_code, *(result.error_code for result in record.results)}
            names = sorted(reason for reason in reasons if reason)
            names += (type(fault).__name__ for fault in record.faults)
            line += f" ({', '.join(dict.fromkeys(names))})" if names else ""
        say(line)
