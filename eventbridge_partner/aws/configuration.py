"""
What AWS's configuration says: Region, endpoint, credentials, and what goes with them.

The only module that knows botocore. It asks botocore's session, which reads the environment and
AWS's config files as every other SDK does, but makes no botocore client: that takes longer than
all the rest, and its retries would stack on ours. A test holds the result against a client's.
"""

from __future__ import annotations

import os
import platform
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from eventbridge_partner._http import HttpRequest
from eventbridge_partner._version import __version__
from eventbridge_partner.errors import ConfigurationError, CredentialsError
from eventbridge_partner.wire.calls import CONTENT_TYPE, Call
from eventbridge_partner.wire.sigv4 import FrozenCredentials, Signer

if TYPE_CHECKING:
    import botocore.session

SERVICE: Final = "events"
_API_VERSION: Final = "2015-10-07"
_TARGET_PREFIX: Final = "AWSEvents"


class ReadCredentials(Protocol):
    """What `get_frozen_credentials()` returns: botocore's ReadOnlyCredentials."""

    @property
    def access_key(self) -> str | None:
        """The access key ID."""
        ...

    @property
    def secret_key(self) -> str | None:
        """The secret access key."""
        ...

    @property
    def token(self) -> str | None:
        """The session token; None or empty for credentials that last."""
        ...


class Credentials(Protocol):
    """Credentials that may change with time: botocore's and boto3's, or your own."""

    def get_frozen_credentials(self) -> ReadCredentials:
        """Return what is to be signed with now."""
        ...


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
    if not re.fullmatch(r"[a-z0-9._-]+|[0-9a-f:.]+", host):
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
    return dict(configured if configured is not None else get_environ_proxies(url))


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


# ---------------------------------------------------------------- credentials


class CredentialsKeeper:
    """
    Gives the credentials to sign with, and fresh ones when the service calls them expired.

    Looks for them at the first use. Safe in threads.
    """

    def __init__(self, session: botocore.session.Session, given: Credentials | None) -> None:
        self._session = session
        self._given = given
        self._source = given
        self._lasting: Credentials | None = None
        self._remembered: FrozenCredentials | None = None
        self._lock = threading.Lock()

    def may_block(self) -> bool:
        """Tell whether `frozen` may have to wait now: for a file, a process or the network."""
        source = self._source
        if source is None:
            return True
        if source is self._lasting:
            return False
        from botocore.credentials import Credentials as LastingCredentials
        from botocore.credentials import RefreshableCredentials

        # Not a derived class, which may do as it likes.
        if type(source) is LastingCredentials:
            self._lasting = source
            return False
        return not isinstance(source, RefreshableCredentials) or source.refresh_needed()

    def frozen(self) -> FrozenCredentials:
        """
        Return the credentials of this moment.

        Raises:
            CredentialsError: There are none, or they could not be fetched or refreshed.
        """
        try:
            read = (self._source or self._find()).get_frozen_credentials()
        except CredentialsError:
            raise
        except Exception as error:
            raise _not_fetched(error) from error
        access_key, secret_key = read.access_key, read.secret_key
        known = self._remembered
        if known is not None and (known.access_key, known.secret_key, known.token) == (
            access_key,
            secret_key,
            read.token or None,
        ):
            return known
        if not access_key or not secret_key:
            raise CredentialsError("the AWS credentials lack an access key id or a secret key")
        for part in (access_key, secret_key, read.token or ""):
            if not part.isascii() or not part.isprintable() or " " in part:
                raise CredentialsError(
                    "the AWS credentials hold a space, a line break or another character that no "
                    "AWS credential has"
                )
        frozen = FrozenCredentials(access_key, secret_key, read.token or None)
        self._remembered = frozen
        return frozen

    def _find(self) -> Credentials:
        with self._lock:
            if self._source is None:
                found: Any = self._session.get_credentials()
                if found is None:
                    raise CredentialsError(
                        "no AWS credentials were found; needed: the argument credentials, a "
                        "profile, environment variables, or a role of the machine"
                    )
                self._source = found
            return self._source

    def refresh(self, stale: FrozenCredentials) -> None:
        """
        Look for credentials again, unless others than the stale ones are here already.

        Raises:
            CredentialsError: There are none now.
        """
        try:
            self._look_again(stale)
        except CredentialsError:
            raise
        except Exception as error:
            raise _not_fetched(error) from error

    def _look_again(self, stale: FrozenCredentials) -> None:
        with self._lock:
            if self._given is not None or self._source is None:
                return  # whoever gave them refreshes them
            current = self._source.get_frozen_credentials()
            if (current.access_key, current.token) != (stale.access_key, stale.token):
                return
            method = getattr(self._source, "method", _GIVEN_TO_THE_SESSION)
            if method == _GIVEN_TO_THE_SESSION:
                return
            from botocore.credentials import create_credential_resolver

            # A resolver of its own: the session keeps, and its caches keep, what has expired.
            found: Any = create_credential_resolver(self._session).load_credentials()
            if found is None:
                raise CredentialsError("the AWS credentials have expired and there are no others")
            # From elsewhere they may be another identity's, such as the machine's own role.
            if found.method == method:
                self._source = found


_GIVEN_TO_THE_SESSION: Final = "explicit"


def _not_fetched(error: Exception) -> CredentialsError:
    # Providers raise what they like: botocore's errors, and those of processes, of JSON, of files
    # and of callers' own functions. Its kind, not its text, which may quote what was read.
    kind = type(error).__name__
    return CredentialsError(f"the AWS credentials could not be fetched ({kind})")


# ---------------------------------------------------------------- the edge


class SigningEdge:
    """Makes signed HTTP requests of calls: the last step before a transport."""

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
        """Sign with the service's time from now on; it is right to a second."""
        self._clock_offset = server_time - self._clock()
