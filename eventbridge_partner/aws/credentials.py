"""AWS credentials: found at the first use, and replaced when they have expired."""

from __future__ import annotations

import datetime
import logging
import math
import sys
import threading
from typing import Any, Final, NamedTuple, Protocol

import attrs

from eventbridge_partner._arguments import wrong_type
from eventbridge_partner._clock import monotonic
from eventbridge_partner._foreign_text import escaped
from eventbridge_partner._logs import log
from eventbridge_partner._signals import let_pass
from eventbridge_partner.aws.environment import EnvironmentCredentials
from eventbridge_partner.aws.settings import of_environment
from eventbridge_partner.errors import CredentialsError
from eventbridge_partner.wire.sigv4 import FrozenCredentials


def _text(_: object, attribute: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str):
        raise wrong_type(attribute.name, value, "a str")
    if not value:
        raise ValueError(f"{attribute.name} is empty; allowed: the value that AWS gave you")


class ReadCredentials(Protocol):
    """The result of `get_frozen_credentials()`, such as botocore's ReadOnlyCredentials."""

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
        """The session token; None or empty for long-term credentials."""
        ...


class Credentials(Protocol):
    """Credentials that may change over time: those of botocore or boto3, or your own."""

    def get_frozen_credentials(self) -> ReadCredentials:
        """Return the credentials to sign with now."""
        ...


@attrs.frozen
class StaticCredentials:
    """
    Credentials that never change. Prefer those of the environment: keys in code leak.

    Attributes:
        access_key_id: The access key ID.
        secret_access_key: The secret access key. Never shown.
        session_token: The session token; None for long-term credentials. Never shown.
    """

    access_key_id: str = attrs.field(validator=_text)
    secret_access_key: str = attrs.field(validator=_text, repr=False)
    session_token: str | None = attrs.field(
        default=None, validator=attrs.validators.optional(_text), repr=False
    )

    def get_frozen_credentials(self) -> ReadCredentials:
        """Return these credentials."""
        return FrozenCredentials(self.access_key_id, self.secret_access_key, self.session_token)


class CredentialsFinder(Protocol):
    """Looks for credentials; see `SharedSession`."""

    def find_credentials(self) -> Credentials | None:
        """Return the credentials; None if there are none."""
        ...

    def find_other_credentials(self) -> Credentials | None:
        """Look for credentials again, ignoring kept or cached ones; None if there are none."""
        ...


class CredentialsAccount(NamedTuple):
    """
    The facts about credentials that may be shown.

    Attributes:
        origin: Where they come from.
        is_temporary: Whether they have a session token.
        expires: When they expire; None if that is unknown.
    """

    origin: str
    is_temporary: bool
    expires: datetime.datetime | None


_PARTS: Final = {
    "access key id": ("AWS_ACCESS_KEY_ID",),
    "secret access key": ("AWS_SECRET_ACCESS_KEY",),
    "session token": ("AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"),
}
"""The parts of credentials, and the variables that hold them."""

_ORIGINS: Final = {
    "explicit": "the session",
    "shared-credentials-file": "AWS's credentials file",
    "config-file": "AWS's config file",
    "assume-role": "an assumed role",
    "assume-role-with-web-identity": "a role assumed with a web identity",
    "custom-process": "a credential_process",
    "sso": "IAM Identity Center",
    "login": "aws login",
    "container-role": "the role of the container",
    "iam-role": "the role of the machine",
}
"""Botocore's names for sources of credentials, and what they mean."""


class CredentialsKeeper:
    """
    Returns the credentials to sign with, and fresh ones after the service called them expired.

    Looks for them at the first use. Thread-safe.

    Args:
        finder: Looks for credentials.
        given: The caller's own credentials to use instead, if given.
    """

    def __init__(self, finder: CredentialsFinder, given: Credentials | None) -> None:
        self._finder = finder
        self._given = given
        self._source = given
        self._lasting: Credentials | None = None
        self._remembered: FrozenCredentials | None = None
        # Refreshed after the service called the earlier ones unknown.
        self._renewed: FrozenCredentials | None = None
        self._renewed_at = -math.inf
        self._kept_until = -math.inf
        self._has_warned = False
        self._lock = threading.RLock()
        # The threads that are fetching credentials.
        self._asking: set[int] = set()

    def may_block(self) -> bool:
        """Tell whether `frozen` may have to wait for a file, a process or the network."""
        source = self._source
        if source is None:
            return True
        if source is self._lasting:
            return False
        # Exact classes only: a subclass may block.
        if type(source) in {EnvironmentCredentials, StaticCredentials}:
            self._lasting = source
            return False
        botocore: Any = sys.modules.get("botocore.credentials")
        if botocore is None:  # so they cannot be botocore's
            return True
        if type(source) is botocore.Credentials:
            self._lasting = source
            return False
        refreshable = _refreshable(source)
        if refreshable is None:
            return True
        if self._remembered is not None and monotonic() < self._kept_until:
            return False
        return refreshable.refresh_needed()

    def frozen(self) -> FrozenCredentials:
        """
        Return the current credentials.

        Raises:
            CredentialsError: There are none, or they could not be fetched or refreshed.
        """
        known = self._remembered
        lasting = self._lasting
        if lasting is not None and lasting is self._source and known is not None:
            # The usual case: no wait, and no code of the caller's.
            read = lasting.get_frozen_credentials()
        else:
            with _WithoutText():
                read = self._read()
        access_key, secret_key = read.access_key, read.secret_key
        if (
            known is not None
            and known.access_key == access_key
            and known.secret_key == secret_key
            and known.token == (read.token or None)
        ):
            self.may_block()  # finds out whether they are long-term ones
            return known
        if not access_key or not secret_key:
            raise CredentialsError(
                f"the AWS credentials from {self._origin()} lack an access key id or a secret key"
            )
        for name, part in zip(_PARTS, (access_key, secret_key, read.token or ""), strict=True):
            if not part.isascii() or not part.isprintable() or " " in part:
                raise CredentialsError(
                    f"the {name} from {self._origin(name)} holds a space, a line break or another "
                    "character that is not allowed in AWS credentials"
                )
        frozen = FrozenCredentials(access_key, secret_key, read.token or None)
        self._remembered = frozen
        return frozen

    def account(self) -> CredentialsAccount:
        """
        Return where the credentials come from and when they expire, but no part of them.

        Raises:
            CredentialsError: There are none, or they could not be fetched or refreshed.
        """
        is_temporary = self.frozen().token is not None
        expires = getattr(self._source, "_expiry_time", None)  # as botocore calls it
        if not isinstance(expires, datetime.datetime):
            expires = None
        return CredentialsAccount(self._origin(), is_temporary, expires)

    def _origin(self, part: str | None = None) -> str:
        """Return where the credentials, or one part of them, come from."""
        if self._given is not None:
            return "the argument credentials"
        method = str(getattr(self._source, "method", "a provider of your own"))
        if method == EnvironmentCredentials.method:
            found = of_environment(*_PARTS[part or "access key id"])
            return found.origin if found else "the environment"
        return _ORIGINS.get(method, escaped(method))

    def _read(self) -> ReadCredentials:
        """
        Fetch credentials. A signal handler that interrupts this gets the previous ones.

        It cannot wait for fresh ones: this thread may hold the lock, such as botocore's.
        """
        thread = threading.get_ident()
        if thread in self._asking:
            if self._remembered is None:
                raise CredentialsError(
                    "the AWS credentials are being fetched by the code that this call interrupted, "
                    "and there are no others yet"
                )
            return self._remembered
        self._asking.add(thread)
        try:
            return self._ask(self._source or self._find())
        finally:
            self._asking.discard(thread)

    def _ask(self, source: Credentials) -> ReadCredentials:
        refreshable = _refreshable(source)
        if refreshable is None:
            return source.get_frozen_credentials()
        if self._remembered is not None and monotonic() < self._kept_until:
            return self._remembered
        try:
            read = source.get_frozen_credentials()
        except Exception as error:
            let_pass(error)
            # botocore refreshes them minutes before they expire, and raises if that fails.
            kept = None if refreshable.refresh_needed(0) else refreshable.kept()
            if kept is None:
                raise
            self._kept_until = monotonic() + _ASK_AGAIN_SECONDS
            if not self._has_warned:
                self._has_warned = True
                name = type(error).__name__
                log(
                    logging.WARNING,
                    "the AWS credentials cannot be refreshed (%s); they are used until they expire",
                    name,
                )
            return kept
        self._has_warned = False
        if refreshable.refresh_needed() and not refreshable.refresh_needed(2):
            # The new ones will expire soon too: do not refresh again for the next request.
            self._kept_until = monotonic() + _KEPT_SECONDS
        return read

    def _find(self) -> Credentials:
        with self._lock:
            if self._source is None:
                found = self._finder.find_credentials()
                if found is None:
                    raise CredentialsError(
                        "no AWS credentials were found; needed: the argument credentials, a "
                        "profile, environment variables, or the machine's IAM role"
                    )
                self._source = found
            return self._source

    def refresh(self, stale: FrozenCredentials, *, by_force: bool = False) -> None:
        """
        Look for credentials again, unless the stale ones have been replaced already.

        Args:
            stale: The credentials that no longer work.
            by_force: Whether to refresh even credentials that do not consider themselves expired.

        Raises:
            CredentialsError: There are none.
        """
        thread = threading.get_ident()
        if thread in self._asking:
            return  # this call interrupted a refresh on its own thread
        self._asking.add(thread)
        self._kept_until = -math.inf
        try:
            with _WithoutText():
                self._look_again(stale, by_force=by_force)
        finally:
            self._asking.discard(thread)

    def renew(self, unknown: FrozenCredentials) -> bool:
        """
        Look for credentials again after the service called some unknown, at most once a minute.

        Returns:
            Whether there are different ones now.
        """
        if unknown == self._renewed and monotonic() - self._renewed_at < _RENEWED_SECONDS:
            return False
        try:
            self.refresh(unknown, by_force=True)
            found = self.frozen()
        except CredentialsError:
            return False
        self._renewed, self._renewed_at = found, monotonic()
        return found != unknown

    def _look_again(self, stale: FrozenCredentials, *, by_force: bool) -> None:
        with self._lock:
            if self._source is None:
                return
            current = self._source.get_frozen_credentials()
            if (current.access_key, current.token or None) != (stale.access_key, stale.token):
                return
            refreshable = _refreshable(self._source) if by_force else None
            if refreshable is not None and refreshable.refresh():
                return
            if self._given is not None:
                return  # the caller who gave them refreshes them
            method = getattr(self._source, "method", _GIVEN_TO_THE_SESSION)
            if method == _GIVEN_TO_THE_SESSION:
                return
            found: Any = self._finder.find_other_credentials()
            if found is None:
                raise CredentialsError("the AWS credentials have expired and there are no others")
            # Another method may find another identity, such as the machine's own role.
            if found.method == method:
                self._source = found


class _Refreshable:
    """Parts of botocore's `RefreshableCredentials` that have no public method."""

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials

    def refresh_needed(self, seconds: int | None = None) -> bool:
        """Tell whether they expire within `seconds`; None for botocore's own bound."""
        return bool(self._credentials.refresh_needed(seconds))

    def kept(self) -> ReadCredentials | None:
        """Return the credentials that they hold, without a refresh; None for none."""
        found: ReadCredentials | None = getattr(self._credentials, "_frozen_credentials", None)
        return found

    def refresh(self) -> bool:
        """Refresh them now; return False if this botocore has no such method."""
        refresh = getattr(self._credentials, "_protected_refresh", None)
        if refresh is None:
            return False
        refresh(is_mandatory=True)
        return True


def _refreshable(source: Credentials) -> _Refreshable | None:
    botocore: Any = sys.modules.get("botocore.credentials")
    if botocore is None or not isinstance(source, botocore.RefreshableCredentials):
        return None
    return _Refreshable(source)


_ASK_AGAIN_SECONDS: Final = 10.0
_KEPT_SECONDS: Final = 1.0
_RENEWED_SECONDS: Final = 60.0
_GIVEN_TO_THE_SESSION: Final = "explicit"


class _WithoutText:
    """
    Translates exceptions of credential providers, and drops the original.

    Providers raise any kind of error: botocore's, and those of processes, JSON, files and callers'
    functions. The text may quote secrets: botocore's holds the whole answer of a credentials
    endpoint. So the message only names the type, the provider and a missing setting.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, CredentialsError):
            return
        let_pass(error)
        why = type(error).__name__
        if type(error).__module__ == "botocore.exceptions":
            # Only the names of a provider and of a setting are safe to show.
            held: dict[str, object] = getattr(error, "kwargs", {})
            provider, missing = held.get("provider"), held.get("cred_var")
            if missing:
                why = f"{why}: {escaped(str(missing))} is missing"
            if provider:
                why = f"{why}, provider {escaped(str(provider))}"
        failure = CredentialsError(f"the AWS credentials could not be fetched ({why})")
        try:
            raise failure from None
        finally:
            failure.__context__ = None
