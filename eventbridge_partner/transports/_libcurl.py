"""
Transfers through libcurl's multi interface; the caller waits for its sockets.

No Python code runs inside libcurl: pycurl prints and drops any exception of a callback, and Ctrl-C
can raise at the start of any Python function. So all callbacks are built-in functions that only
store their arguments.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import io
import itertools
import math
import os
import re
import socket
import ssl
import types
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from eventbridge_partner._clock import monotonic
from eventbridge_partner._http import MAX_ANSWER_BYTES, HttpRequest, HttpResponse, Timeouts
from eventbridge_partner._signals import let_pass
from eventbridge_partner.errors import ConfigurationError, TransportError
from eventbridge_partner.transports import Answer
from eventbridge_partner.transports._faults import (
    answer_lost,
    no_answer_in_time,
    no_connection,
    not_trusted,
    place_of,
)
from eventbridge_partner.transports._proxies import Proxies
from eventbridge_partner.transports._reading import AnswerReader, GarbledAnswerError
from eventbridge_partner.transports._writing import header_lines

try:
    import pycurl
except ImportError as error:
    raise ConfigurationError(
        "this transport needs pycurl; install it with: pip install 'eventbridge-partner[speed]'"
    ) from error

if pycurl.version_info()[2] < 0x080400:
    # Older versions check an answer's size only if its length is declared.
    raise ConfigurationError(
        f"pycurl is built with libcurl {pycurl.version_info()[1]}; needed: libcurl 8.4 or later, "
        "as in its wheels: pip install --upgrade 'eventbridge-partner[speed]'"
    )

LibcurlError: Final = pycurl.error
"""An error of libcurl itself: it is out of memory, or its state is broken."""

READABLE: Final[int] = pycurl.CSELECT_IN
WRITABLE: Final[int] = pycurl.CSELECT_OUT
TIMEOUT: Final[int] = pycurl.SOCKET_TIMEOUT

_INTERESTS: Final = {
    str(what): interest
    for what, interest in (
        (pycurl.POLL_NONE, 0),
        (pycurl.POLL_IN, READABLE),
        (pycurl.POLL_OUT, WRITABLE),
        (pycurl.POLL_INOUT, READABLE | WRITABLE),
        (pycurl.POLL_REMOVE, 0),
    )
}

_MAX_CONNECTIONS: Final = 100_000
"""Enough to keep every connection. libcurl's default shrinks with the requests in flight."""

_SCHEMES_OF_PROXIES: Final = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")

_BUFFER_BYTES: Final = 512 * 1024
"""Holds most bodies in one piece, which saves a fifth of the CPU of a 100 KB request."""


class Settings:
    """
    The settings of all transfers of a transport.

    Args:
        ca_bundle: The path of a file or directory of trusted certificates; True for the file that
            `requests` uses.
        proxies: Proxy URLs by scheme, as `requests` takes them; they may hold a password.

    Raises:
        ConfigurationError: One of them is invalid.
    """

    def __init__(self, ca_bundle: str | bool, proxies: Mapping[str, str] | None) -> None:
        if ca_bundle is True:
            import certifi

            ca_bundle = certifi.where()
        elif not isinstance(ca_bundle, str):
            raise ConfigurationError(
                "ca_bundle is False; allowed: a path of trusted certificates, or True"
            )
        self._ca_bundle = ca_bundle
        self._is_directory = Path(ca_bundle).is_dir()
        self.proxies: Final = Proxies(proxies, _SCHEMES_OF_PROXIES)

    def can_trust(self) -> bool:
        """Tell whether the trusted certificates can be read now, or only lack a file descriptor."""
        return _can_trust(self._ca_bundle, is_directory=self._is_directory)

    def new_handle(self) -> pycurl.Curl:
        """Return an easy handle that is ready for a request."""
        easy = pycurl.Curl()
        for option, value in (
            (pycurl.POST, 1),
            (pycurl.NOSIGNAL, 1),
            (pycurl.FOLLOWLOCATION, 0),
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
            (pycurl.HTTP_CONTENT_DECODING, 0),
            # libcurl finds the end of chunks but accepts invalid ones: see `_Transfer.answer`.
            (pycurl.HTTP_TRANSFER_DECODING, 0),
            (pycurl.MAXFILESIZE_LARGE, MAX_ANSWER_BYTES),
            (pycurl.UPLOAD_BUFFERSIZE, _BUFFER_BYTES),
            (pycurl.USERAGENT, ""),
            (pycurl.NOPROXY, ""),
        ):
            easy.setopt(option, value)
        # Set all of them: libcurl also trusts the built-in default of each that is not set.
        for of_file, of_directory in (
            (pycurl.CAINFO, pycurl.CAPATH),
            (pycurl.PROXY_CAINFO, pycurl.PROXY_CAPATH),
        ):
            easy.setopt(of_file, None if self._is_directory else self._ca_bundle)
            easy.setopt(of_directory, self._ca_bundle if self._is_directory else None)
        return easy


class _Multi(pycurl.CurlMulti):
    """A multi handle that is cheap to print: a callback prints it for each change of a socket."""

    __str__: Any = str  # called without self, for the empty text


class Transfers:
    """
    Transfers in progress, and the connections kept for the next ones.

    For one thread at a time. `start` transfers and let them `go`; wait until a socket of `changes`
    is ready or the time of `wakes_at` has come; call `act`; and take what was `answered` and what
    `expired`.

    Attributes:
        is_parents: Whether they belong to the parent process and must not be touched.
        kept: The connections that answers came through, by socket. `changes` may not have shown
            them: a very quick transfer is never waited for.
        distrusted_until: Connections that have been idle since this time or longer must be
            dropped.
    """

    def __init__(self, settings: Settings) -> None:
        self.is_parents = False
        self.kept: dict[int, _Kept] = {}
        self.distrusted_until = -math.inf
        self._takes_no_kept = False
        self._settings = settings
        self._multi = _Multi()
        self._multi.setopt(pycurl.M_MAXCONNECTS, _MAX_CONNECTIONS)
        self._words: list[str] = []
        # `print` needs only a `write` method, here that of a list.
        file: Any = types.SimpleNamespace(write=self._words.append)
        note_change: Any = functools.partial(print, file=file)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, note_change)
        self._idle: list[_Transfer] = []
        self._under_way: dict[pycurl.Curl, _Transfer] = {}
        self._unsent: set[_Transfer] = set()
        self._is_to_go = False
        self._looks_at: float | None = None
        _all[id(self)] = weakref.ref(self)

    def __len__(self) -> int:
        return len(self._under_way)

    def start(self, key: Any, request: HttpRequest, timeouts: Timeouts) -> None:
        """Add a transfer; it begins with the next `go`."""
        transfer = self._idle.pop() if self._idle else _Transfer(self._settings)
        transfer.begin(key, request, timeouts)
        if self._takes_no_kept:
            transfer.go_alone()
        self._launch(transfer)

    def _launch(self, transfer: _Transfer) -> None:
        if self._looks_at is None or transfer.expires_at < self._looks_at:
            self._looks_at = transfer.expires_at
        self._under_way[transfer.easy] = transfer
        self._unsent.add(transfer)
        self._multi.add_handle(transfer.easy)
        self._is_to_go = True

    @property
    def is_to_go(self) -> bool:
        """Whether transfers were started that have not begun."""
        return self._is_to_go

    def go(self) -> None:
        """Begin the started transfers; doing so together is cheaper than one by one."""
        self._is_to_go = False
        self.act(TIMEOUT, 0)

    def act(self, socket: int, readiness: int) -> None:
        """Let libcurl continue: with a ready socket, or after a timeout."""
        self._multi.socket_action(socket, readiness)

    def changes(self) -> Iterable[tuple[int, int]]:
        """Take the changed sockets, each with the events to wait for; 0 for none any more."""
        words = self._words
        if not words:
            return ()
        # For each change: event, " ", socket, " ", "", " ", "None", "\n".
        taken = [
            (int(socket), _INTERESTS[what])
            for what, socket in zip(words[::8], words[2::8], strict=True)
        ]
        words.clear()
        return taken

    def wakes_at(self) -> float | None:
        """Return when, on the monotonic clock, to call `act` if no socket is ready by then."""
        milliseconds = self._multi.timeout()
        if milliseconds < 0:
            return self._looks_at
        due = monotonic() + milliseconds / 1000
        return due if self._looks_at is None else min(due, self._looks_at)

    def are_sent(self) -> bool:
        """Tell whether all requests have left this process."""
        if self._is_to_go:
            return False
        for transfer in tuple(self._unsent):
            if transfer.is_sent():
                self._unsent.discard(transfer)
        return not self._unsent

    def answered(self) -> list[tuple[Any, Answer]]:
        """Take the results of transfers that have ended."""
        ended: list[tuple[Any, Answer]] = []
        left = 1
        while left:
            left, answered, failed = self._multi.info_read()
            for easy in answered:
                number = self._keep(easy)  # before it lands: libcurl then forgets its socket
                transfer = self._landed(easy)
                answer, ends_connection = transfer.answer()
                if ends_connection:
                    self.drop(number)
                ended.append((transfer.key, answer))
                transfer.forget()
                self._idle.append(transfer)
            for easy, number, _ in failed:
                transfer = self._landed(easy)
                if transfer.may_go_again(number):
                    transfer.rewind()
                    self._launch(transfer)
                else:
                    ended.append((transfer.key, self._failed(transfer, number)))
        return ended

    def _failed(self, transfer: _Transfer, number: int) -> TransportError:
        if number in _OF_NETWORK and not transfer.easy.getinfo(pycurl.NUM_CONNECTS):
            self.distrusted_until = max(self.distrusted_until, transfer.started)
        error = transfer.error(number)
        transfer.easy.close()
        return error

    def are_late(self) -> bool:
        """Tell whether it is time to look for transfers that have taken too long."""
        return self._looks_at is not None and self._looks_at <= monotonic()

    def expired(self, now: float) -> list[tuple[Any, Answer]]:
        """
        Take the transfers that have taken too long.

        libcurl itself is only given the timeout for connecting. Its total timeout counts from the
        start, but reading has a timeout of its own; and libcurl would drop an answer that came in
        time but was not read in time.

        Args:
            now: When the arrived bytes began to be read, on the monotonic clock.
        """
        ended: list[tuple[Any, Answer]] = []
        self._looks_at = None
        for easy, transfer in list(self._under_way.items()):
            transfer.note_sending(now)
            if transfer.expires_at <= now:
                self._landed(easy)
                ended.append((transfer.key, self._failed(transfer, pycurl.E_OPERATION_TIMEDOUT)))
            elif self._looks_at is None or transfer.expires_at < self._looks_at:
                self._looks_at = transfer.expires_at
        return ended

    def _keep(self, easy: pycurl.Curl) -> int:
        """Note the connection that an answer came over, and return its socket."""
        getinfo = easy.getinfo
        number: int = getinfo(pycurl.ACTIVESOCKET)
        if number < 0:
            return number
        kept = self.kept.get(number)
        if kept is None or getinfo(pycurl.NUM_CONNECTS):
            ends = (
                getinfo(pycurl.LOCAL_PORT),
                getinfo(pycurl.PRIMARY_IP),
                getinfo(pycurl.PRIMARY_PORT),
            )
            kept = self.kept[number] = _Kept(ends)
        kept.idle_since = monotonic()
        return number

    def drop(self, number: int) -> None:
        """
        Stop using a kept connection.

        libcurl cannot close a connection of our choice. So we shut its socket down: libcurl finds
        it dead, and sends the next request over a new one.
        """
        kept = self.kept.pop(number, None)
        if kept is None:
            return
        try:
            with closing(_socket_of(number)) as found:
                # Otherwise libcurl has closed it, and the number belongs to another file.
                if _ends_of(found) == kept.ends:
                    found.shutdown(socket.SHUT_RDWR)
        except OSError as error:
            let_pass(error)
            if error.errno in _OUT_OF_FILES:
                self._takes_no_kept = True

    def _landed(self, easy: pycurl.Curl) -> _Transfer:
        self._multi.remove_handle(easy)
        transfer = self._under_way.pop(easy)
        self._unsent.discard(transfer)
        return transfer

    def lost(self, words: str) -> list[tuple[Any, Answer]]:
        """Return a failure for each transfer in progress, when nothing waits for them any more."""
        return [(one.key, one.failure(words)) for one in self._under_way.values()]

    def forked(self) -> list[tuple[Any, Answer]]:
        """Return the same in a child process: the parent may send all of these requests."""
        words = "the process was forked"
        return [(one.key, answer_lost(one.place, words)) for one in self._under_way.values()]

    def close(self) -> None:
        """End the transfers in progress, and close all connections."""
        _all.pop(id(self), None)
        self._multi.close()
        self._under_way.clear()
        self._unsent.clear()
        self._idle.clear()


_all: Final[dict[int, weakref.ref[Transfers]]] = {}
"""
All open transfers, by identity.

Not a WeakSet: it loses a Ctrl-C that comes while it removes dead references.
"""


def _leave_to_parent() -> None:
    """
    Never close connections of the parent process, not even at exit.

    Closing a connection sends a TLS alert, and the peer would take it for the parent's.
    """
    for reference in tuple(_all.values()):
        if (transfers := reference()) is not None:
            transfers.is_parents = True
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(transfers))
    _all.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


class _Transfer:
    """An easy handle, with its current request and answer."""

    def __init__(self, settings: Settings) -> None:
        self.easy = easy = settings.new_handle()
        self._settings = settings
        self._lines: list[bytes] = []
        self._chunks: list[bytes] = []
        # libcurl reads the body through a function and cannot rewind it. If it could, and a kept
        # connection died, it would silently send a request again that the service may have
        # carried out. So it only resends a request if none of its body was read.
        self._body = io.BytesIO()
        self._body_bytes = 0
        self._url = ""
        self.place = ""
        self._connect_seconds = 0.0
        self._is_fresh = False
        easy.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        easy.setopt(pycurl.WRITEFUNCTION, self._chunks.append)
        easy.setopt(pycurl.READFUNCTION, self._body.read)

    def begin(self, key: Any, request: HttpRequest, timeouts: Timeouts) -> None:
        setopt = self.easy.setopt
        setopt(pycurl.HTTPHEADER, _header_lines(request.headers))
        if request.url != self._url:
            self._go_to(request.url)
        if timeouts.connect != self._connect_seconds:
            setopt(pycurl.CONNECTTIMEOUT_MS, max(1, int(timeouts.connect * 1000)))
            self._connect_seconds = timeouts.connect
        # Initialised again to share the bytes: writing them would copy them.
        io.BytesIO.__init__(self._body, request.body)
        self._body_bytes = len(request.body)
        setopt(pycurl.POSTFIELDSIZE_LARGE, self._body_bytes)
        whole = timeouts.connect + timeouts.read if timeouts.total is None else timeouts.total
        self.started = monotonic()
        self._ends_at = self.started + whole
        self._read_seconds = timeouts.read
        self._is_sending = False
        self.expires_at = min(self.started + timeouts.read, self._ends_at)
        self.key = key

    def _go_to(self, url: str) -> None:
        proxy = self._settings.proxies.proxy_for(url)
        self.easy.setopt(pycurl.URL, url)
        self.easy.setopt(pycurl.PROXY, proxy.url if proxy else "")
        for option in (pycurl.PROXYUSERNAME, pycurl.PROXYPASSWORD):
            self.easy.unsetopt(option)
        if proxy and proxy.user is not None:
            self.easy.setopt(pycurl.PROXYUSERNAME, proxy.user.encode("latin-1"))
            self.easy.setopt(pycurl.PROXYPASSWORD, proxy.password.encode("latin-1"))
        self._url, self.place = url, place_of(url)
        if proxy:
            self.place += f" through the proxy {proxy.place}"

    def may_go_again(self, number: int) -> bool:
        """Tell whether it failed on a dead kept connection before anything was sent."""
        getinfo = self.easy.getinfo
        return (
            number in _CUT and not getinfo(pycurl.NUM_CONNECTS) and not getinfo(pycurl.REQUEST_SIZE)
        )

    def rewind(self) -> None:
        """Prepare to be sent again, over a new connection."""
        self.go_alone()
        self._lines.clear()
        self._chunks.clear()
        self._body.seek(0)
        self.started = monotonic()
        self._is_sending = False

    def go_alone(self) -> None:
        """Use a new connection, even if there are kept ones."""
        self.easy.setopt(pycurl.FRESH_CONNECT, 1)
        self._is_fresh = True

    def is_sent(self) -> bool:
        """Tell whether the whole request has left this process."""
        return bool(self.easy.getinfo(pycurl.SIZE_UPLOAD_T) >= self._body_bytes)

    def note_sending(self, now: float) -> None:
        """Start the timeout for reading if the connection is open."""
        if not self._is_sending:
            connected = self.easy.getinfo(pycurl.PRETRANSFER_TIME)
            self._is_sending = connected > 0
            begun = self.started + connected if connected else now
            self.expires_at = min(begun + self._read_seconds, self._ends_at)

    def answer(self) -> tuple[Answer, bool]:
        """
        Return the answer, and whether its connection must not be used again.

        libcurl reads leniently. So an answer that is not plainly well-formed is read once more.
        """
        head, body = b"".join(self._lines), b"".join(self._chunks)
        usual = _USUAL.fullmatch(head) if len(self._lines) < _MANY_LINES else None
        if usual is not None:
            return HttpResponse(int(usual[1]), _Headers(head), body), False
        reader = AnswerReader()
        try:
            is_tunneled = bool(self.easy.getinfo(pycurl.HTTP_CONNECTCODE))
            head = _without_others(self._lines, is_tunneled=is_tunneled)
            answer = reader.feed(head + body) or reader.end()
        except GarbledAnswerError as error:
            return answer_lost(self.place, str(error)), True
        return answer, reader.ends_connection

    def error(self, number: int) -> TransportError:
        """Return the error that says why there is no answer."""
        told = self.easy.errstr()
        words = _WORDS.get(number) or f"libcurl's error {number}"
        if self.may_have_been_sent():
            if number == pycurl.E_OPERATION_TIMEDOUT:
                return no_answer_in_time(self.place)
            return answer_lost(self.place, words)
        if number == pycurl.E_SSL_CACERT_BADFILE and self._settings.can_trust():
            # The file can be read by now: there was no descriptor left, or it was being written.
            return no_connection(self.place, "the trusted certificates could not be read")
        if number in _UNTRUSTED and not _WAS_CUT.search(told):
            return not_trusted(self.place, told or words)
        system = self.easy.getinfo(pycurl.OS_ERRNO)
        if number == pycurl.E_COULDNT_CONNECT and system:
            words = os.strerror(system)
        refused = _REFUSED_TUNNEL.search(told)
        if refused is not None:
            words = f"the proxy answered {refused[1]}"
        return no_connection(self.place, words)

    def failure(self, words: str) -> TransportError:
        """Return the error of a transfer that nothing waits for any more."""
        if self.may_have_been_sent():
            return answer_lost(self.place, words)
        return no_connection(self.place, words)

    def may_have_been_sent(self) -> bool:
        """Tell whether a byte of the request may have been sent."""
        return bool(self.easy.getinfo(pycurl.REQUEST_SIZE))

    def forget(self) -> None:
        """Drop the request and the answer, so that no event stays in memory."""
        self.key = None
        self._lines.clear()
        self._chunks.clear()
        io.BytesIO.__init__(self._body, b"")
        if self._is_fresh:
            self.easy.setopt(pycurl.FRESH_CONNECT, 0)
            self._is_fresh = False


def _header_lines(headers: Mapping[str, str]) -> list[str] | list[bytes]:
    """Return the headers to send, and those that libcurl must not add."""
    lines = header_lines(headers)
    if "" in headers.values():
        lines = [f"{name}: {value}" if value else f"{name};" for name, value in headers.items()]
    lines += ("Accept:", "Expect:")
    if "Content-Type" not in headers:
        lines.append("Content-Type:")
    if all(map(str.isascii, lines)):  # pycurl accepts no other str
        return lines
    return [line.encode("latin-1") for line in lines]


def _without_others(lines: list[bytes], *, is_tunneled: bool) -> bytes:
    """Return the head of an answer and its trailers, without a proxy's head before it."""
    starts = [number for number, line in enumerate(lines) if line.startswith(b"HTTP/")]
    if is_tunneled:
        # The proxy's head ends with its first final status.
        ends = (then for now, then in itertools.pairwise(starts) if lines[now][8:10] != b" 1")
        lines = lines[next(ends, len(lines)) :]
        starts = [number for number, line in enumerate(lines) if line.startswith(b"HTTP/")]
    last = starts[-1] if starts else 0
    end = next((n for n, line in enumerate(lines) if n > last and not line.strip()), len(lines))
    return b"".join(lines[: end + 1])


def _can_trust(bundle: str, *, is_directory: bool) -> bool:
    """Tell whether certificates can be read: libcurl does not say why it could not."""
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(
            cafile=None if is_directory else bundle, capath=bundle if is_directory else None
        )
    except OSError as error:
        return error.errno in _OUT_OF_FILES
    return True


_OUT_OF_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})

_NAME: Final = rb"(?!(?i:content-length|transfer-encoding):)[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_USUAL: Final = re.compile(
    rb"HTTP/1\.1 ([2-9][0-9]{2})(?: [^\x00-\x08\x0a-\x1f\x7f]*+)?\r\n"
    rb"(?:%(name)s:[^\x00-\x08\x0a-\x1f\x7f]*+\r\n)*+"
    rb"(?i:content-length):[ \t]*[0-9]{1,18}[ \t]*\r\n"
    rb"(?:%(name)s:[^\x00-\x08\x0a-\x1f\x7f]*+\r\n)*+\r\n" % {b"name": _NAME}
)
"""An unambiguous head of an answer: it has one plain Content-Length."""

_MANY_LINES: Final = 100


def _socket_of(number: int) -> socket.SocketType:
    """Return a duplicate socket for a connection of libcurl's."""
    copy = socket.dup(number)
    try:
        return socket.SocketType(fileno=copy)
    except OSError:  # it is not a socket
        socket.close(copy)
        raise


def _ends_of(found: socket.SocketType) -> tuple[Any, Any, Any] | None:
    """Return our port, and the peer's address and port."""
    if found.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    peer = found.getpeername()
    return found.getsockname()[1], peer[0].partition("%")[0], peer[1]


class _Kept:
    """
    A connection kept for the next request.

    Attributes:
        ends: Our port, and the peer's address and port: a socket's number may be reused.
        idle_since: When the last answer came, on the monotonic clock.
    """

    __slots__ = ("ends", "idle_since")

    def __init__(self, ends: tuple[Any, Any, Any]) -> None:
        self.ends = ends
        self.idle_since = -math.inf


class _Headers(Mapping[str, str]):
    """The headers of an answer, parsed only when used: those of most answers never are."""

    __slots__ = ("_received",)

    def __init__(self, received: bytes) -> None:
        self._received: bytes | dict[str, str] = received

    def _read(self) -> dict[str, str]:
        if isinstance(self._received, bytes):
            self._received = _read_headers(self._received)
        return self._received

    def __getitem__(self, name: str) -> str:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())


def _read_headers(received: bytes) -> dict[str, str]:
    """Parse the headers of a well-formed answer."""
    headers: dict[str, str] = {}
    for line in received.decode("latin-1").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.lower()] = value.strip(" \t")
    return headers


_CUT: Final = frozenset(
    {
        pycurl.E_GOT_NOTHING,
        pycurl.E_RECV_ERROR,
        pycurl.E_SEND_ERROR,
        pycurl.E_SEND_FAIL_REWIND,
    }
)

_OF_NETWORK: Final = frozenset({*_CUT, pycurl.E_OPERATION_TIMEDOUT, pycurl.E_PARTIAL_FILE})
"""After one of these errors on a kept connection, others may be dead as well."""

_REFUSED_TUNNEL: Final = re.compile("CONNECT tunnel failed, response ([0-9]{3})")

_UNTRUSTED: Final = frozenset(
    {
        pycurl.E_SSL_CONNECT_ERROR,
        pycurl.E_SSL_CERTPROBLEM,
        pycurl.E_SSL_CIPHER,
        pycurl.E_PEER_FAILED_VERIFICATION,
        pycurl.E_SSL_CACERT_BADFILE,
        pycurl.E_SSL_ISSUER_ERROR,
    }
)

_WAS_CUT: Final = re.compile("^(Recv|Send) failure|unexpected eof")
"""libcurl's text for a handshake that the network ended; it has no error number for that."""

_WORDS: Final[dict[int, str]] = {
    **dict.fromkeys(_CUT, "the connection was closed"),
    pycurl.E_COULDNT_RESOLVE_PROXY: "the proxy's name is unknown",
    pycurl.E_COULDNT_RESOLVE_HOST: "the host's name is unknown",
    pycurl.E_COULDNT_CONNECT: "the connection was refused",
    pycurl.E_OPERATION_TIMEDOUT: "it took too long",
    pycurl.E_SSL_CONNECT_ERROR: "the connection was closed",
    pycurl.E_PARTIAL_FILE: "it ended early",
    pycurl.E_FILESIZE_EXCEEDED: f"it has more than {MAX_ANSWER_BYTES} bytes",
    pycurl.E_UNSUPPORTED_PROTOCOL: "it is not HTTP/1.1",
    pycurl.E_FTP_WEIRD_SERVER_REPLY: "it is not HTTP",
}
