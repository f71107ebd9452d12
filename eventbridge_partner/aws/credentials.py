"""AWS credentials: found at the first use, and fresh ones when they have expired."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, Protocol

from eventbridge_partner._signals import let_pass
from eventbridge_partner.errors import CredentialsError
from eventbridge_partner.wire.sigv4 import FrozenCredentials

if TYPE_CHECKING:
    import botocore.session


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
            read = self._read()
        except CredentialsError:
            raise
        except Exception as error:
            let_pass(error)
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

    def _read(self) -> ReadCredentials:
        """
        Ask for credentials; what interrupts that on the same thread gets the ones before.

        It could wait for none: the lock of whoever fetches them may be held, such as botocore's.
        """
        thread = threading.get_ident()
        if thread in self._asking:
            if self._remembered is None:
                raise CredentialsError(
                    "the AWS credentials are being fetched by what this call interrupted, and "
                    "there are no others yet"
                )
            return self._remembered
        self._asking.add(thread)
        try:
            return (self._source or self._find()).get_frozen_credentials()
        finally:
            self._asking.discard(thread)

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
        thread = threading.get_ident()
        if thread in self._asking:
            return  # that is what this call interrupted
        self._asking.add(thread)
        try:
            self._look_again(stale)
        except CredentialsError:
            raise
        except Exception as error:
            let_pass(error)
            raise _not_fetched(error) from error
        finally:
            self._asking.discard(thread)

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
