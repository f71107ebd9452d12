"""Proxies: checked when a transport is made, chosen for each endpoint."""

from __future__ import annotations

import base64
import re
import urllib.parse
from collections.abc import Collection, Mapping
from typing import Final

import attrs

from eventbridge_partner.errors import ConfigurationError

_HOST: Final = re.compile(r"(?=.{1,253}\.?$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_ADDRESS: Final = re.compile(r"[0-9A-Fa-f:.]+")


@attrs.frozen
class Proxy:
    """
    A proxy.

    Attributes:
        url: Its URL without user name and password.
        place: Its host, and its port if the URL names one.
        user: The user name; None if it needs no login.
        password: The password.
    """

    url: str
    place: str
    user: str | None = attrs.field(repr=False)
    password: str = attrs.field(repr=False)

    @property
    def whole_url(self) -> str:
        """The URL with user name and password."""
        if self.user is None:
            return self.url
        scheme, _, place = self.url.partition("://")
        quoted = [urllib.parse.quote(part, safe="") for part in (self.user, self.password)]
        return f"{scheme}://{':'.join(quoted)}@{place}"

    @property
    def authorization(self) -> str | None:
        """The value of the `Proxy-Authorization` header; None if it needs no login."""
        return None if self.user is None else basic(self.user, self.password)


def basic(user: str, password: str) -> str:
    """Return the value of a header for basic authentication."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode('latin-1')).decode()}"


class Proxies:
    """
    The proxies of a transport.

    Args:
        given: URLs by scheme, as `requests` takes them: `https`, `http`, `all`, or with a host,
            such as `https://events.us-east-1.amazonaws.com`.
        schemes: The allowed schemes of the URLs themselves.

    Raises:
        ConfigurationError: One of them is invalid.
    """

    def __init__(self, given: Mapping[str, str] | None, schemes: Collection[str]) -> None:
        self._found: dict[str, Proxy | None] = {
            key: _checked(key, url, schemes) if url else None
            for key, url in (given or {}).items()
            if key.partition("://")[0] in ("http", "https", "all")
        }

    def proxy_for(self, url: str) -> Proxy | None:
        """Return the proxy for a URL, if there is one."""
        found = self._found
        if not found:
            return None
        parts = urllib.parse.urlsplit(url)
        keys = (f"{parts.scheme}://{parts.hostname}", parts.scheme, f"all://{parts.hostname}")
        return next((found[key] for key in (*keys, "all") if key in found), None)

    def urls(self) -> dict[str, str]:
        """Return the URLs with all their parts, including user name and password."""
        return {key: proxy.whole_url if proxy else "" for key, proxy in self._found.items()}


def _checked(key: str, url: str, schemes: Collection[str]) -> Proxy:
    def refused(why: str) -> ConfigurationError:
        # The message leaves out the URL, which may hold a password.
        allowed = ", ".join(sorted(schemes))
        return ConfigurationError(
            f"the proxy for {key} {why}; allowed on this transport: scheme://host:port, or "
            f"scheme://user:password@host:port, where the scheme is one of {allowed}"
        )

    if "://" not in url:
        url = f"http://{url.removeprefix('//')}"
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname or "", parts.port
        user, password = parts.username, parts.password or ""
    except ValueError:
        raise refused("is not a URL") from None
    if parts.scheme not in schemes:
        raise refused(f"has the scheme {parts.scheme[:16]!a}")
    if not host:
        raise refused("has no host")
    if not (_ADDRESS if ":" in host else _HOST).fullmatch(host):
        raise refused("has an invalid host name")
    if port == 0:
        raise refused("has the port 0")
    if not _is_plain(parts.path + parts.query):
        raise refused("has characters that are not allowed in a URL")
    if user is not None or parts.password is not None:
        user, password = urllib.parse.unquote(user or ""), urllib.parse.unquote(password)
        if not _fits_latin_1(user + password):
            raise refused("has a user name or password with a character outside latin-1")
        if not _is_plain(user + password):
            raise refused("has a user name or password with a control character")
    place = f"[{host}]" if ":" in host else host
    if port is not None:
        place = f"{place}:{port}"
    return Proxy(f"{parts.scheme}://{place}", place, user, password)


def _is_plain(text: str) -> bool:
    return not any(letter < " " or letter == "\x7f" for letter in text)


def _fits_latin_1(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True
