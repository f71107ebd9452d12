"""Resolves and checks AWS's configuration: Region, endpoint, proxies and certificates."""

from __future__ import annotations

import re
import sys
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from eventbridge_partner._foreign_text import plain_text, quoted
from eventbridge_partner._version import __version__
from eventbridge_partner.aws.insecure_hosts import (
    ARGUMENT,
    VARIABLE,
    hosts_of_environment,
    plain_host,
    warn_of,
)
from eventbridge_partner.aws.settings import REGIONAL, Setting, Settings, of_environment
from eventbridge_partner.errors import ConfigurationError

T = TypeVar("T")

SERVICE: Final = "events"
API_VERSION: Final = "2015-10-07"

_MOST_OF_A_PATH: Final = 500


class Origins(NamedTuple):
    """
    Where each setting comes from: an argument, a variable or a file.

    Attributes:
        region: The origin of the Region.
        endpoint: The origin of the endpoint.
        ca_bundle: The origin of the file of trusted certificates; None for the default ones.
        proxy: The origin of the proxy; None without one.
    """

    region: str
    endpoint: str
    ca_bundle: str | None
    proxy: str | None


class AwsConfiguration(NamedTuple):
    """
    The configuration of a client, resolved once.

    Attributes:
        region: The Region to sign for.
        url: The endpoint's URL, ending in `/`.
        host: The value of the `Host` header.
        ca_bundle: The path of a file of trusted certificates; True for the default ones.
        proxies: Proxy URLs by scheme; they may hold passwords.
        user_agent: The value of the `User-Agent` header.
        max_attempts: From `AWS_MAX_ATTEMPTS` or the config file; None if neither sets it.
        origins: Where the settings come from.
    """

    region: str
    url: str
    host: str
    ca_bundle: str | bool
    proxies: Mapping[str, str]
    user_agent: str
    max_attempts: int | None
    origins: Origins

    def __repr__(self) -> str:
        return f"<AwsConfiguration {self.region} {self.url}>"


def resolve(
    settings: Settings,
    *,
    region: str | None,
    endpoint_url: str | None,
    insecure_hosts: frozenset[str] = frozenset(),
) -> AwsConfiguration:
    """
    Resolve the configuration of a client, except its credentials.

    Args:
        settings: The source of settings that are not given.
        region: The Region, if given.
        endpoint_url: The endpoint, if given.
        insecure_hosts: Hosts for which http is allowed, besides those that the environment names.

    Raises:
        ConfigurationError: A setting is missing or invalid.
    """
    reading = Reading(settings, region, endpoint_url, insecure_hosts)
    where = reading.region()
    url, host, origin = reading.endpoint(where.value)
    _warn_if_insecure(url)
    ca_bundle, proxy = reading.ca_bundle(), reading.proxy(url)
    return AwsConfiguration(
        region=where.value,
        url=url,
        host=host,
        ca_bundle=True if ca_bundle is None else ca_bundle.value,
        proxies={} if proxy is None else {url.partition(":")[0]: proxy.value},
        user_agent=_user_agent(settings),
        max_attempts=reading.max_attempts(),
        origins=Origins(
            region=where.origin,
            endpoint=origin,
            ca_bundle=None if ca_bundle is None else ca_bundle.origin,
            proxy=None if proxy is None else proxy.origin,
        ),
    )


class Examined(NamedTuple):
    """
    Each setting, or the error of an invalid one; None if it is not set.

    Attributes:
        region: The Region.
        endpoint: The URL to post to; also None if it depends on an unknown Region.
        ca_bundle: The path of a file of trusted certificates.
        proxy: The URL of the proxy, which may hold a password.
        max_attempts: The most attempts.
    """

    region: Setting | ConfigurationError
    endpoint: Setting | ConfigurationError | None
    ca_bundle: Setting | ConfigurationError | None
    proxy: Setting | ConfigurationError | None
    max_attempts: int | ConfigurationError | None


_ANY_REGION: Final = "us-east-1"
_ANY_URL: Final = "https://events.amazonaws.com/"


def _tried(read: Callable[[], T]) -> T | ConfigurationError:
    try:
        return read()
    except ConfigurationError as error:
        return error


class Reading(NamedTuple):
    """
    Reads and checks settings one by one. See `resolve` for its attributes.

    All methods raise a `ConfigurationError` that names the origin of an invalid setting.
    """

    settings: Settings
    given_region: str | None
    given_endpoint: str | None
    insecure_hosts: frozenset[str]

    def region(self) -> Setting:
        """Return the Region."""
        if self.given_region:
            found: Setting | None = Setting(self.given_region, "the argument region")
        else:
            found = self.settings.region()
        if found is None:
            raise ConfigurationError(
                "region is not set; needed: the argument region, AWS_REGION, AWS_DEFAULT_REGION or "
                "the region of a profile"
            )
        return Setting(checked_region(found.value, found.origin), found.origin)

    def endpoint(self, region: str) -> tuple[str, str, str]:
        """Return the URL to post to, its `Host`, and the origin of both."""
        hosts = self.insecure_hosts | hosts_of_environment()
        if self.given_endpoint:
            found = Setting(self.given_endpoint, "the argument endpoint_url")
        else:
            found = self.settings.endpoint(region)
        return *checked_endpoint(found.value, hosts, found.origin), found.origin

    def ca_bundle(self) -> Setting | None:
        """Return the path of a file of trusted certificates; None for the default ones."""
        # botocore falls back on the variable of requests; Python's ssl and curl read SSL_CERT_FILE.
        found = self.settings.ca_bundle() or of_environment("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
        if found is None:
            return None
        try:
            exists = Path(found.value).exists()
        except (OSError, ValueError):  # the name is not a valid file name
            exists = False
        if not exists:
            raise ConfigurationError(
                f"{found.origin} is {quoted(found.value, _MOST_OF_A_PATH)}, which does not exist; "
                "allowed: a file of trusted certificates"
            )
        return found

    def proxy(self, url: str) -> Setting | None:
        """Return the proxy for a URL; None for none."""
        # Like botocore, use only the proxy for the URL's own scheme, and ignore `ALL_PROXY`.
        found = self.settings.proxies(url).get(url.partition(":")[0])
        return found if found is not None and found.value else None

    def examine(self) -> Examined:
        """Read all settings, and continue after an invalid one."""
        region = _tried(self.region)
        is_known = isinstance(region, Setting)
        where = region.value if isinstance(region, Setting) else _ANY_REGION
        found = _tried(lambda: self.endpoint(where))
        endpoint: Setting | ConfigurationError | None = None
        if isinstance(found, ConfigurationError):
            endpoint = found
        elif is_known or found[2] != REGIONAL:
            endpoint = Setting(found[0], found[2])
        url = endpoint.value if isinstance(endpoint, Setting) else _ANY_URL
        return Examined(
            region=region,
            endpoint=endpoint,
            ca_bundle=_tried(self.ca_bundle),
            proxy=_tried(lambda: self.proxy(url)),
            max_attempts=_tried(self.max_attempts),
        )

    def max_attempts(self) -> int | None:
        """Return the most attempts; None if it is not set."""
        found = self.settings.max_attempts()
        if found is None:
            return None
        try:
            attempts = int(found.value)
        except ValueError:
            attempts = 0
        if attempts < 1:
            raise ConfigurationError(
                f"{found.origin} is {quoted(found.value)}; allowed: a number from 1"
            )
        return attempts


_REGION: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def checked_region(region: str, setting: str = "region") -> str:
    """Return a Region if it can be part of a host name and a signature."""
    if not _REGION.fullmatch(region):
        raise ConfigurationError(
            f"{setting} is {quoted(region)}; allowed: the code of a Region, such as us-east-1"
        )
    return plain_text(region)


_LOOPBACK_HOSTS: Final = frozenset({"localhost", "::1"})


def _is_loopback(host: str) -> bool:
    return (
        host in _LOOPBACK_HOSTS
        or host.endswith(".localhost")
        or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None
    )


# The limits of DNS: a label has at most 63 characters, and a name 253.
_HOST: Final = re.compile(r"(?=.{1,253}\.?$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_ADDRESS: Final = re.compile(r"[0-9a-f:.]+")


_ENDPOINT: Final = "endpoint_url"


def _warn_if_insecure(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        warn_of(plain_host(parts.hostname or ""))


def checked_endpoint(
    endpoint_url: str, insecure_hosts: frozenset[str] = frozenset(), setting: str = _ENDPOINT
) -> tuple[str, str]:
    """
    Return the URL to post to and its `Host`, if it is safe to send credentials and events there.

    Args:
        endpoint_url: The endpoint.
        insecure_hosts: Hosts other than loopback for which http is allowed.
        setting: The name of the setting, for the error.

    Raises:
        ConfigurationError: It is not an https URL (or http for loopback or one of these hosts)
            with only a host and a port.
    """
    allowed = "allowed: https://host or https://host:port, http only on loopback"

    def refused(why: str) -> ConfigurationError:
        # The message leaves out the URL, which may hold a password.
        return ConfigurationError(f"{setting} {why}; {allowed}")

    if not endpoint_url.isascii() or any(not 0x20 < ord(letter) < 0x7F for letter in endpoint_url):
        raise refused("has characters that are not allowed in a URL")
    try:
        parts = urllib.parse.urlsplit(endpoint_url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise refused("is not a URL") from None
    if parts.username is not None or parts.password is not None:
        raise refused("holds a user name or password")
    if not (_ADDRESS if ":" in host else _HOST).fullmatch(host):
        raise refused("has no host" if not host else "has an invalid host name")
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
