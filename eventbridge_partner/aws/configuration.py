"""
What AWS's configuration says: Region, endpoint, proxies and certificates.

It asks botocore's session, which reads the environment and AWS's config files as every other SDK
does, but makes no botocore client: that takes longer than all the rest, and its retries would
stack on ours. A test holds the result against a client's.
"""

from __future__ import annotations

import os
import platform
import re
import urllib.parse
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from eventbridge_partner._version import __version__
from eventbridge_partner.errors import ConfigurationError

if TYPE_CHECKING:
    import botocore.session

SERVICE: Final = "events"
_API_VERSION: Final = "2015-10-07"


@attrs.frozen(kw_only=True)
class AwsConfiguration:
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
    proxies: Mapping[str, str] = attrs.field(repr=False)
    user_agent: str
    max_attempts: int | None


def resolve(
    session: botocore.session.Session, *, region: str | None, endpoint_url: str | None
) -> AwsConfiguration:
    """
    Resolve what a client needs to know but its credentials.

    Raises:
        ConfigurationError: A setting is missing or cannot work.
    """
    with _translated_errors():
        region = checked_region(_region(session, region))
        url, host = checked_endpoint(endpoint_url or _endpoint(session, region))
        return AwsConfiguration(
            region=region,
            url=url,
            host=host,
            ca_bundle=_ca_bundle(session),
            proxies=_proxies(session, url),
            user_agent=_user_agent(session),
            max_attempts=_max_attempts(session),
        )


def open_session(profile: str | None, session: Any = None) -> botocore.session.Session:
    """
    Return the botocore session to ask.

    Args:
        profile: A profile of AWS's config files, where no session is given.
        session: A botocore or boto3 session.
    """
    import botocore.session

    if session is None:
        return botocore.session.Session(profile=profile)
    if profile is not None:
        raise ConfigurationError("profile is given with a session; allowed: one of the two")
    # A boto3 session wraps a botocore one, and has no public way to it.
    session = getattr(session, "_session", session)
    if not isinstance(session, botocore.session.Session):
        found = type(session).__qualname__
        raise ConfigurationError(
            f"session is of type {found}; allowed: a botocore or boto3 session"
        )
    return session


# ---------------------------------------------------------------- settings


def _region(session: botocore.session.Session, region: str | None) -> str:
    # botocore does not read AWS_REGION, which every newer SDK and Lambda itself sets. What was
    # said in code of this session goes before it.
    found = (
        region
        or _client_setting(session, "region_name")
        or session.instance_variables().get("region")
        or os.environ.get("AWS_REGION")
        or session.get_config_variable("region")
    )
    if not found:
        raise ConfigurationError(
            "region is not set; needed: the argument region, AWS_REGION, AWS_DEFAULT_REGION or "
            "the region of a profile"
        )
    return str(found)


_REGION: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def checked_region(region: str) -> str:
    """Return a Region if it can stand in a host name and a signature."""
    if not _REGION.fullmatch(region):
        raise ConfigurationError(
            f"region is {region[:64]!a}; allowed: the code of a Region, such as us-east-1"
        )
    return region


def _endpoint(session: botocore.session.Session, region: str) -> str:
    from botocore.configprovider import ConfiguredEndpointProvider
    from botocore.endpoint_provider import EndpointProvider

    if not _setting(session, "ignore_configured_endpoint_urls"):
        profile = session.get_scoped_config()
        configured = ConfiguredEndpointProvider(session.full_config, profile, SERVICE).provide()
        if configured:
            return str(configured)
    loader = session.get_component("data_loader")
    # By its path: looking for the newest version lists the folders of all services.
    rules = loader.load_data(f"{SERVICE}/{_API_VERSION}/endpoint-rule-set-1")
    endpoint = EndpointProvider(rules, loader.load_data("partitions")).resolve_endpoint(
        Region=region,
        UseFIPS=bool(_setting(session, "use_fips_endpoint")),
        UseDualStack=bool(_setting(session, "use_dualstack_endpoint")),
    )
    return str(endpoint.url)


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


def checked_endpoint(endpoint_url: str) -> tuple[str, str]:
    """
    Return the URL to post to and its `Host`, if credentials and events can safely go there.

    Raises:
        ConfigurationError: It is not an https URL (or http on loopback) of nothing but a host
            and a port.
    """
    allowed = "allowed: https://host or https://host:port, http only on loopback"

    def refused(why: str) -> ConfigurationError:
        # Not the URL itself: it may hold a password.
        return ConfigurationError(f"endpoint_url {why}; {allowed}")

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
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise refused(f"has the scheme {parts.scheme[:16]!a}")
    shown = f"[{host}]" if ":" in host else host
    if port is not None and port != {"https": 443, "http": 80}[parts.scheme]:
        shown = f"{shown}:{port}"
    return f"{parts.scheme}://{shown}/", shown


def _ca_bundle(session: botocore.session.Session) -> str | bool:
    # botocore falls back on what requests reads.
    path = session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    if not path:
        return True
    if not Path(path).exists():
        raise ConfigurationError(
            f"ca_bundle is {path!a}, which does not exist; allowed: a file of certificates"
        )
    return str(path)


def _proxies(session: botocore.session.Session, url: str) -> Mapping[str, str]:
    from botocore.utils import get_environ_proxies

    configured = _client_setting(session, "proxies")
    found = dict(configured if configured is not None else get_environ_proxies(url))
    # As botocore does, which takes the one for the URL's own scheme and knows no `ALL_PROXY`.
    scheme = url.partition(":")[0]
    return {scheme: found[scheme]} if found.get(scheme) else {}


_NOT_IN_A_TOKEN: Final = re.compile(r"[^a-zA-Z0-9!$%&'*+\-.^_`|~,]")


def _user_agent(session: botocore.session.Session) -> str:
    import botocore

    words = [
        f"eventbridge-partner/{__version__}",
        f"lang/python#{platform.python_version()}",
        f"md/botocore#{botocore.__version__}",
    ]
    if app_id := _setting(session, "user_agent_appid"):
        words.append(f"app/{_NOT_IN_A_TOKEN.sub('-', str(app_id))}")
    extra = session.user_agent_extra or _client_setting(session, "user_agent_extra")
    if extra:
        words.append(re.sub(r"[^\x20-\x7e]", "-", str(extra)))
    return " ".join(words)


def _max_attempts(session: botocore.session.Session) -> int | None:
    try:
        found = session.get_config_variable("max_attempts")
        if found is None:
            return None
        if int(found) >= 1:
            return int(found)
    except ValueError:
        pass
    shown = os.environ.get("AWS_MAX_ATTEMPTS") or session.get_scoped_config().get("max_attempts")
    raise ConfigurationError(
        f"AWS_MAX_ATTEMPTS or max_attempts is {str(shown)[:32]!a}; allowed: a number from 1"
    )


def _setting(session: botocore.session.Session, name: str) -> Any:
    """Return a setting of the session's default client configuration, else of AWS's files."""
    chosen = _client_setting(session, name)
    return session.get_config_variable(name) if chosen is None else chosen


def _client_setting(session: botocore.session.Session, name: str) -> Any:
    return getattr(session.get_default_client_config(), name, None)


@contextmanager
def _translated_errors() -> Generator[None]:
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except BotoCoreError as error:
        raise ConfigurationError(f"AWS's configuration cannot be used: {error}") from error
