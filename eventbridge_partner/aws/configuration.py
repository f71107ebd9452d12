"""What AWS's configuration says: Region, endpoint, proxies and certificates; checked."""

from __future__ import annotations

import os
import re
import sys
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from eventbridge_partner._foreign_text import plain_text, quoted
from eventbridge_partner._version import __version__
from eventbridge_partner.aws.insecure_hosts import (
    ARGUMENT,
    VARIABLE,
    hosts_of_environment,
    plain_host,
    warn_of,
)
from eventbridge_partner.errors import ConfigurationError

SERVICE: Final = "events"
API_VERSION: Final = "2015-10-07"

_MOST_OF_A_PATH: Final = 500


class AwsConfiguration(NamedTuple):
    """
    What was resolved once for a client.

    Attributes:
        region: The Region to sign for.
        url: The endpoint's URL, ending in `/`.
        host: The value of the `Host` header.
        ca_bundle: The path of a file of trusted certificates; True for the usual ones.
        proxies: Proxy URLs by scheme; they may hold passwords.
        user_agent: The value of the `User-Agent` header.
        max_attempts: From `AWS_MAX_ATTEMPTS` or the config file; None if neither says.
    """

    region: str
    url: str
    host: str
    ca_bundle: str | bool
    proxies: Mapping[str, str]
    user_agent: str
    max_attempts: int | None

    def __repr__(self) -> str:
        return f"<AwsConfiguration {self.region} {self.url}>"


class Settings(Protocol):
    """What says the settings: a botocore session, or the environment alone."""

    def region(self) -> str | None:
        """Return the Region to send to."""
        ...

    def endpoint(self, region: str) -> str:
        """Return the endpoint that is configured, or else that of the Region."""
        ...

    def ca_bundle(self) -> str | None:
        """Return the path of a file of trusted certificates."""
        ...

    def proxies(self, url: str) -> Mapping[str, str]:
        """Return the proxies through which a URL is to be reached."""
        ...

    def max_attempts(self) -> int | None:
        """Return how often to try."""
        ...

    def app_id(self) -> str | None:
        """Return the application's name for the `User-Agent` header."""
        ...

    def user_agent_extra(self) -> str | None:
        """Return what else to say in the `User-Agent` header."""
        ...

    def botocore_version(self) -> str:
        """Return the version of the botocore whose rules are followed."""
        ...


def resolve(
    settings: Settings,
    *,
    region: str | None,
    endpoint_url: str | None,
    insecure_hosts: frozenset[str] = frozenset(),
) -> AwsConfiguration:
    """
    Resolve what a client needs to know but its credentials.

    Args:
        settings: What is asked for all that is not given.
        region: The Region, if it was given.
        endpoint_url: Where to send instead, if that was given.
        insecure_hosts: Hosts that may be sent to by http, besides those that the environment names.

    Raises:
        ConfigurationError: A setting is missing or cannot work.
    """
    found = region or settings.region()
    if not found:
        raise ConfigurationError(
            "region is not set; needed: the argument region, AWS_REGION, AWS_DEFAULT_REGION or "
            "the region of a profile"
        )
    region = checked_region(found)
    insecure_hosts |= hosts_of_environment()
    endpoint = endpoint_url or settings.endpoint(region)
    setting = _ENDPOINT if endpoint_url else _setting_of(endpoint)
    url, host = checked_endpoint(endpoint, insecure_hosts, setting)
    _warn_if_insecure(url)
    return AwsConfiguration(
        region=region,
        url=url,
        host=host,
        ca_bundle=_ca_bundle(settings),
        proxies=_proxies(settings, url),
        user_agent=_user_agent(settings),
        max_attempts=settings.max_attempts(),
    )


_REGION: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def checked_region(region: str) -> str:
    """Return a Region if it can stand in a host name and a signature."""
    if not _REGION.fullmatch(region):
        raise ConfigurationError(
            f"region is {quoted(region)}; allowed: the code of a Region, such as us-east-1"
        )
    return plain_text(region)


_LOOPBACK_HOSTS: Final = frozenset({"localhost", "::1"})


def _is_loopback(host: str) -> bool:
    return (
        host in _LOOPBACK_HOSTS
        or host.endswith(".localhost")
        or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None
    )


# A label has 63 letters at most, and a name 253: nothing could be sent to any other.
_HOST: Final = re.compile(r"(?=.{1,253}\.?$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_ADDRESS: Final = re.compile(r"[0-9a-f:.]+")


_ENDPOINT: Final = "endpoint_url"
_ENDPOINT_VARIABLES: Final = ("AWS_ENDPOINT_URL_EVENTBRIDGE", "AWS_ENDPOINT_URL")


def _setting_of(endpoint: str) -> str:
    """Return the name of the setting that an endpoint comes from."""
    for name in _ENDPOINT_VARIABLES:
        if os.environ.get(name) == endpoint:
            return name
    return _ENDPOINT


def _warn_if_insecure(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        warn_of(plain_host(parts.hostname or ""))


def checked_endpoint(
    endpoint_url: str, insecure_hosts: frozenset[str] = frozenset(), setting: str = _ENDPOINT
) -> tuple[str, str]:
    """
    Return the URL to post to and its `Host`, if credentials and events can safely go there.

    Args:
        endpoint_url: Where to send.
        insecure_hosts: Hosts that may be sent to by http, though they are not loopback.
        setting: What says so, for the error.

    Raises:
        ConfigurationError: It is not an https URL (or http on loopback or to one of these hosts)
            of nothing but a host and a port.
    """
    allowed = "allowed: https://host or https://host:port, http only on loopback"

    def refused(why: str) -> ConfigurationError:
        # Not the URL itself: it may hold a password.
        return ConfigurationError(f"{setting} {why}; {allowed}")

    if not endpoint_url.isascii() or any(not 0x20 < ord(letter) < 0x7F for letter in endpoint_url):
        raise refused("has characters that no URL may have")
    try:
        parts = urllib.parse.urlsplit(endpoint_url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise refused("is not a URL") from None
    if parts.username is not None or parts.password is not None:
        raise refused("holds a user name or password")
    if not (_ADDRESS if ":" in host else _HOST).fullmatch(host):
        raise refused("has no host" if not host else "has a host that is none")
    if port == 0:
        raise refused("has the port 0")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise refused("has a path, a query or a fragment")
    if parts.scheme == "http":
        if not (_is_loopback(host) or plain_host(host) in insecure_hosts):
            allowed += f", or to a host that {ARGUMENT} or {VARIABLE} names"
            raise refused("has the scheme 'http' and a host that is not loopback")
    elif parts.scheme != "https":
        raise refused(f"has the scheme {quoted(parts.scheme)}")
    shown = f"[{host}]" if ":" in host else host
    if port is not None and port != {"https": 443, "http": 80}[parts.scheme]:
        shown = f"{shown}:{port}"
    return f"{parts.scheme}://{shown}/", shown


def _ca_bundle(settings: Settings) -> str | bool:
    # botocore falls back on what requests reads; Python's ssl and curl know SSL_CERT_FILE.
    path = (
        settings.ca_bundle()
        or os.environ.get("REQUESTS_CA_BUNDLE")
        or os.environ.get("SSL_CERT_FILE")
    )
    if not path:
        return True
    try:
        exists = Path(path).exists()
    except (OSError, ValueError):  # of a name that no file can have
        exists = False
    if not exists:
        raise ConfigurationError(
            f"ca_bundle is {quoted(str(path), _MOST_OF_A_PATH)}, which does not exist; allowed: a "
            "file of certificates (from AWS_CA_BUNDLE, a config file, REQUESTS_CA_BUNDLE or "
            "SSL_CERT_FILE)"
        )
    return path


def _proxies(settings: Settings, url: str) -> Mapping[str, str]:
    found = settings.proxies(url)
    # As botocore does, which takes the one for the URL's own scheme and knows no `ALL_PROXY`.
    scheme = url.partition(":")[0]
    return {scheme: found[scheme]} if found.get(scheme) else {}


_NOT_IN_A_TOKEN: Final = re.compile(r"[^a-zA-Z0-9!$%&'*+\-.^_`|~,]")


def _user_agent(settings: Settings) -> str:
    words = [
        f"eventbridge-partner/{__version__}",
        "lang/python#{}.{}.{}".format(*sys.version_info[:3]),
        f"md/botocore#{settings.botocore_version()}",
    ]
    if app_id := settings.app_id():
        words.append(f"app/{_NOT_IN_A_TOKEN.sub('-', app_id)}")
    if extra := settings.user_agent_extra():
        words.append(re.sub(r"[^\x20-\x7e]", "-", extra))
    return " ".join(words)


def checked_attempts(found: object) -> int | None:
    """
    Return the number of attempts that a variable or a file says, if it says one.

    Raises:
        ConfigurationError: It is not a number from 1.
    """
    if found is None:
        return None
    try:
        attempts = int(str(found))
    except ValueError:
        attempts = 0
    if attempts < 1:
        raise ConfigurationError(
            f"AWS_MAX_ATTEMPTS or max_attempts is {quoted(str(found))}; allowed: a number from 1"
        )
    return attempts
