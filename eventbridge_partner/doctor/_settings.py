"""Findings about settings: their values, their origins, and whether they can work."""

from __future__ import annotations

import os
import ssl
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from eventbridge_partner._foreign_text import escaped
from eventbridge_partner.aws.configuration import Examined
from eventbridge_partner.aws.settings import Setting
from eventbridge_partner.doctor._findings import CheckName, Finding
from eventbridge_partner.errors import ConfigurationError
from eventbridge_partner.transports._proxies import Proxies

_MOST_OF_A_PATH: Final = 500
_PROXY_SCHEMES: Final = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
_LOOPBACK: Final = ("localhost", "::1")


def settings(examined: Examined) -> Iterator[Finding]:
    """Yield the finding about each setting."""
    yield _region(examined)
    if examined.endpoint is not None:
        yield _endpoint(examined.endpoint)
    yield _proxy(examined)
    yield _certificates(examined.ca_bundle)
    if isinstance(examined.max_attempts, ConfigurationError):
        fix = "export AWS_MAX_ATTEMPTS=3, or leave the setting out"
        yield _wrong("attempts", examined.max_attempts, fix)


def _wrong(check: CheckName, error: ConfigurationError, fix: str) -> Finding:
    return Finding(check, "fail", str(error), fix)


def _said(check: CheckName, said: Setting, shown: str) -> Finding:
    facts = {"value": shown, "origin": said.origin}
    return Finding(check, "pass", f"{shown}, from {said.origin}", facts=facts)


def _region(examined: Examined) -> Finding:
    if isinstance(examined.region, ConfigurationError):
        fix = "export AWS_REGION=us-east-1, or whichever Region your customers' sources are in"
        return _wrong("region", examined.region, fix)
    return _said("region", examined.region, examined.region.value)


def _endpoint(endpoint: Setting | ConfigurationError) -> Finding:
    if isinstance(endpoint, ConfigurationError):
        fix = "set it to https://HOST, or leave it out: the Region has an endpoint of its own"
        return _wrong("endpoint", endpoint, fix)
    parts = urllib.parse.urlsplit(endpoint.value)
    host = parts.hostname or ""
    is_local = host in _LOOPBACK or host.endswith(".localhost") or host.startswith("127.")
    found = _said("endpoint", endpoint, endpoint.value)
    if parts.scheme == "https" or is_local:
        return found
    message = f"{found.message}: events and session tokens go there in clear text"
    return Finding("endpoint", "warn", message, "use https", facts=found.facts)


def _proxy(examined: Examined) -> Finding:
    proxy = examined.proxy
    fix = "set it to http://HOST:PORT, or leave it out"
    if isinstance(proxy, ConfigurationError):
        return _wrong("proxy", proxy, fix)
    if proxy is None:
        unread = next((name for name in ("ALL_PROXY", "all_proxy") if os.environ.get(name)), None)
        if unread is None:
            return Finding("proxy", "pass", "none", facts={"value": None})
        message = f"none: {unread} is set, which is not read, as boto3 does not read it"
        return Finding("proxy", "warn", message, "set HTTPS_PROXY instead", facts={"value": None})
    try:
        checked = Proxies({"all": proxy.value}, _PROXY_SCHEMES).proxy_for("https://events/")
    except ConfigurationError as error:
        return Finding("proxy", "fail", f"{proxy.origin}: {error}", fix)
    # Without user name and password.
    return _said("proxy", proxy, "" if checked is None else checked.url)


def _certificates(bundle: Setting | ConfigurationError | None) -> Finding:
    fix = "set it to a file of certificates in PEM, or leave it out: those of certifi are used"
    if isinstance(bundle, ConfigurationError):
        return _wrong("certificates", bundle, fix)
    if bundle is None:
        return Finding("certificates", "pass", "those of certifi", facts={"value": None})
    shown = escaped(bundle.value, _MOST_OF_A_PATH)
    place = "capath" if Path(bundle.value).is_dir() else "cafile"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(**{place: bundle.value})
    except OSError as error:  # ssl.SSLError is one
        why = getattr(error, "reason", None) or error.strerror or type(error).__name__
        message = f"{bundle.origin} is {shown}, which cannot be read as certificates ({why})"
        return Finding("certificates", "fail", message, fix)
    return _said("certificates", bundle, shown)
