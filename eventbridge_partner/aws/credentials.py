"""AWS credentials: found at the first use, and fresh ones when they have expired."""

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


@attrs.frozen
class StaticCredentials:
    """
    Credentials that stay as they are. Prefer what the environment has: keys in code leak.

    Attributes:
        access_key_id: The access key ID.
        secret_access_key: The secret access key. Never shown.
        session_token: The session token; None for credentials that last. Never shown.
    """

    access_key_id: str = attrs.field(validator=_text)
    secret_access_key: str = attrs.field(validator=_text, repr=False)
    session_token: str | None = attrs.field(
        default=None, validator=attrs.validators.optional(_text), repr=False
    )

    def get_frozen_credentials(self) -> ReadCredentials:
        """Return them."""
        return FrozenCredentials(self.access_key_id, self.secret_access_key, self.session_token)


class CredentialsFinder(Protocol):
    """What looks for credentials: see `SharedSession`."""

    def find_credentials(self) -> Credentials | None:
        """Return the credentials there are, if there are any."""
        ...

    def find_other_credentials(self) -> Credentials | None:
        """Return those that there are now, whatever is kept or cached."""
        ...


class CredentialsAccount(NamedTuple):
    """
    What may be told of credentials.

    Attributes:
        origin: What they are from.
        is_temporary: Whether they have a session token.
        expires: When they expire; None if nothing says so.
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
"""What botocore's words for where it found credentials mean."""


class CredentialsKeeper:
    """
    Gives the credentials to sign with, and fresh ones when the service calls them expired.

    Looks for them at the first use. Safe in threads.

    Args:
        finder: What looks for them.
        given: What to sign with instead, if it was given.
    """

    def __init__(self, finder: CredentialsFinder, given: Credentials | None) -> None:
        self._finder = finder
        self._given = given
        self._source = given
        self._lasting: Credentials | None = None
        self._remembered: FrozenCredentials | None = None
        # Refreshed after the service called those before unknown.
        self._renewed: FrozenCredentials | None = None
        self._kept_until = -math.inf
        self._has_warned = False
        self._lock = threading.RLock()
        # The threads that are asking for credentials.
        self._asking: set[int] = set()

    def may_block(self) -> bool:
        """Tell whether `frozen` may have to wait now: for a file, a process or the network."""
        source = self._source
        if source is None:
            return True
        if source is self._lasting:
            return False
        # Not derived classes, which may do as they like.
        if type(source) in {EnvironmentCredentials, StaticCredentials}:
            self._lasting = source
            return False
        botocore: Any = sys.modules.get("botocore.credentials")
        if botocore is None:  # then they are not botocore's
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
        Return the credentials of this moment.

        Raises:
            CredentialsError: There are none, or they could not be fetched or refreshed.
        """
        known = self._remembered
        lasting = self._lasting
        if lasting is not None and lasting is self._source and known is not None:
            # Of most requests: nobody waits for these, and no caller's code runs.
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
            self.may_block()  # which tells whether they last
            return known
        if not access_key or not secret_key:
            raise CredentialsError(
                f"the AWS credentials from {self._origin()} lack an access key id or a secret key"
            )
        for name, part in zip(_PARTS, (access_key, secret_key, read.token or ""), strict=True):
            if not part.isascii() or not part.isprintable() or " " in part:
                raise CredentialsError(
                    f"the {name} from {self._origin(name)} holds a space, a line break or another "
                    "character that no AWS credential has"
                )
        frozen = FrozenCredentials(access_key, secret_key, read.token or None)
        self._remembered = frozen
        return frozen

    def account(self) -> CredentialsAccount:
        """
        Tell where the credentials are from and how long they last, without anything of them.

        Raises:
            CredentialsError: There are none, or they could not be fetched or refreshed.
        """
        is_temporary = self.frozen().token is not None
        expires = getattr(self._source, "_expiry_time", None)  # as botocore calls it
        if not isinstance(expires, datetime.datetime):
            expires = None
        return CredentialsAccount(self._origin(), is_temporary, expires)

    def _origin(self, part: str | None = None) -> str:
        """Return what the credentials, or one part of them, are from."""
        if self._given is not None:
            return "the argument credentials"
        method = str(getattr(self._source, "method", "a provider of your own"))
        if method == EnvironmentCredentials.method:
            found = of_environment(*_PARTS[part or "access key id"])
            return found.origin if found else "the environment"
        return _ORIGINS.get(method, escaped(method))

    def _read(self) -> ReadCredentials:
        """
        Ask for credentials; what interrupts that on the same thread gets the ones before.

        It could wait for none: the lock of whoever fetches them may be held, such as botocore's.
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
            # Botocore asks for others minutes before they expire, and gives none if that fails.
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
            # Those that came are in botocore's window too: not again for the next request.
            self._kept_until = monotonic() + _KEPT_SECONDS
        return read

    def _find(self) -> Credentials:
        with self._lock:
            if self._source is None:
                found = self._finder.find_credentials()
                if found is None:
                    raise CredentialsError(
                        "no AWS credentials were found; needed: the argument credentials, a "
                        "profile, environment variables, or a role of the machine"
                    )
                self._source = found
            return self._source

    def refresh(self, stale: FrozenCredentials, *, by_force: bool = False) -> None:
        """
        Look for credentials again, unless others than the stale ones are here already.

        Args:
            stale: Those that are of no use any more.
            by_force: Whether those that refresh themselves are to do so, though by their own
                account they are good.

        Raises:
            CredentialsError: There are none now.
        """
        thread = threading.get_ident()
        if thread in self._asking:
            return  # that is what this call interrupted
        self._asking.add(thread)
        self._kept_until = -math.inf
        try:
            with _WithoutText():
                self._look_again(stale, by_force=by_force)
        finally:
            self._asking.discard(thread)

    def renew(self, unknown: FrozenCredentials) -> bool:
        """
        Look for credentials again after the service called some unknown, once.

        Returns:
            Whether there are others now.
        """
        if unknown == self._renewed:
            return False
        try:
            self.refresh(unknown, by_force=True)
            found = self.frozen()
        except CredentialsError:
            return False
        self._renewed = found
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
                return  # whoever gave them refreshes them
            method = getattr(self._source, "method", _GIVEN_TO_THE_SESSION)
            if method == _GIVEN_TO_THE_SESSION:
                return
            found: Any = self._finder.find_other_credentials()
            if found is None:
                raise CredentialsError("the AWS credentials have expired and there are no others")
            # From elsewhere they may be another identity's, such as the machine's own role.
            if found.method == method:
                self._source = found


class _Refreshable:
    """What botocore's `RefreshableCredentials` do, and have no public method for."""

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials

    def refresh_needed(self, seconds: int | None = None) -> bool:
        """Tell whether they expire within so many seconds; None for botocore's own bound."""
        return bool(self._credentials.refresh_needed(seconds))

    def kept(self) -> ReadCredentials | None:
        """Return what they hold, without asking for others; None for nothing."""
        found: ReadCredentials | None = getattr(self._credentials, "_frozen_credentials", None)
        return found

    def refresh(self) -> bool:
        """Fetch others now, or tell that this botocore has another way to do so."""
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
_GIVEN_TO_THE_SESSION: Final = "explicit"


class _WithoutText:
    """
    Translates what providers raise, without their exception in its chain.

    Providers raise what they like: botocore's errors, and those of processes, of JSON, of files and
    of callers' own functions. Its text may quote what was read: botocore's has the whole answer of
    an endpoint for credentials. So its kind is told and nothing else of it.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, CredentialsError):
            return
        let_pass(error)
        why = type(error).__name__
        if type(error).__module__ == "botocore.exceptions":
            # Of all that these hold, the names of a provider and of a setting.
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
