"""
Transfers through libcurl's multi interface, for whoever waits for its sockets.

No Python code runs inside of libcurl: what a callback raises, pycurl prints and drops, and Ctrl-C
can raise at the start of any function. So all callbacks are built-in functions that only keep what
they are given.
"""

from __future__ import annotations

import ctypes
import functools
import io
import os
import re
import types
import weakref
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from eventbridge_partner._clock import monotonic
from eventbridge_partner._http import MAX_ANSWER_BYTES, HttpRequest, HttpResponse, Timeouts
from eventbridge_partner.errors import ConfigurationError, TlsError, TransportError
from eventbridge_partner.transports import Answer

try:
    import pycurl
except ImportError as error:
    raise ConfigurationError(
        "this transport needs pycurl; install it with: pip install 'eventbridge-partner[speed]'"
    ) from error

if pycurl.version_info()[2] < 0x080400:
    # Older ones look at an answer's length only where it is declared.
    raise ConfigurationError(
        f"pycurl is built with libcurl {pycurl.version_info()[1]}; needed: libcurl 8.4 or later, "
        "as in its wheels: pip install --upgrade 'eventbridge-partner[speed]'"
    )

LibcurlError: Final = pycurl.error
"""What libcurl itself raises: it is out of memory, or its state is broken."""

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
"""As many as there were requests at a time. libcurl's own bound falls with those in flight now."""

_BUFFER_BYTES: Final = 512 * 1024
"""Most bodies in one piece: a fifth of what a request of 100 KB costs is saved."""


class Settings:
    """
    What all transfers of a transport have in common.

    Args:
        ca_bundle: The path of a file or directory of trusted certificates; True for the file that
            `requests` takes.
        proxies: Proxy URLs by scheme, as `requests` takes them; they may hold a password.
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
        self._proxies = dict(proxies or {})

    def new_handle(self) -> pycurl.Curl:
        """Return an easy handle that lacks nothing but a request."""
        easy = pycurl.Curl()
        for option, value in (
            (pycurl.POST, 1),
            (pycurl.NOSIGNAL, 1),
            (pycurl.FOLLOWLOCATION, 0),
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
            (pycurl.HTTP_CONTENT_DECODING, 0),
            (pycurl.MAXFILESIZE_LARGE, MAX_ANSWER_BYTES),
            (pycurl.UPLOAD_BUFFERSIZE, _BUFFER_BYTES),
            (pycurl.USERAGENT, ""),
            (pycurl.NOPROXY, ""),
        ):
            easy.setopt(option, value)
        # All of them: what is not set is what libcurl was built with, and trusted besides.
        for of_file, of_directory in (
            (pycurl.CAINFO, pycurl.CAPATH),
            (pycurl.PROXY_CAINFO, pycurl.PROXY_CAPATH),
        ):
            easy.setopt(of_file, None if self._is_directory else self._ca_bundle)
            easy.setopt(of_directory, self._ca_bundle if self._is_directory else None)
        return easy

    def proxy(self, url: str) -> str:
        """Return the proxy for a URL; empty if there is none, whatever the environment says."""
        return self._proxies.get(url.partition(":")[0]) or self._proxies.get("all") or ""


class _Multi(pycurl.CurlMulti):
    """A multi handle that costs nothing to print, which is done for each change of a socket."""

    __str__: Any = str  # called without self, for the empty text


class Transfers:
    """
    Transfers under way, and the connections that are kept for the next ones.

    For one thread at a time. `start` transfers and let them `go`; wait until a socket of `changes`
    is ready or `wakes_at` has come; `act` on that; and take what was `answered` and what `expired`.

    Attributes:
        is_parents: Whether they came with a fork, and are not to be touched any more.
        sockets: Those that answers came through. `changes` may not have had them: what goes so
            quickly is never waited for.
    """

    def __init__(self, settings: Settings) -> None:
        self.is_parents = False
        self.sockets: set[int] = set()
        self._settings = settings
        self._multi = _Multi()
        self._multi.setopt(pycurl.M_MAXCONNECTS, _MAX_CONNECTIONS)
        self._words: list[str] = []
        # A list is no file, but all that `print` asks of one is where to write.
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
        """Start a transfer; it begins when it is let go."""
        transfer = self._idle.pop() if self._idle else _Transfer(self._settings)
        transfer.begin(key, request, timeouts)
        self._launch(transfer)

    def _launch(self, transfer: _Transfer) -> None:
        if self._looks_at is None or transfer.expires_at < self._looks_at:
            self._looks_at = transfer.expires_at
        self._under_way[transfer.easy] = transfer
        self._unsent.add(transfer)
        self._multi.add_handle(transfer.easy)
        self._is_to_go = True

    def go(self) -> None:
        """Let begin what was started: together they take less than one by one."""
        if self._is_to_go:
            self._is_to_go = False
            self.act(TIMEOUT, 0)

    def act(self, socket: int, readiness: int) -> None:
        """Let libcurl go on: with a socket that is ready, or because of the time."""
        self._multi.socket_action(socket, readiness)

    def changes(self) -> Iterable[tuple[int, int]]:
        """Take what has changed: sockets, and what they are waited for; 0 for nothing any more."""
        words = self._words
        if not words:
            return ()
        # Of each: what, " ", the socket, " ", "", " ", "None", "\n".
        taken = [
            (int(socket), _INTERESTS[what])
            for what, socket in zip(words[::8], words[2::8], strict=True)
        ]
        words.clear()
        return taken

    def wakes_at(self) -> float | None:
        """Return when, on the monotonic clock, to `act` if no socket is ready before."""
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
        """Take the answers that there are, and what failed."""
        ended: list[tuple[Any, Answer]] = []
        left = 1
        while left:
            left, answered, failed = self._multi.info_read()
            for easy in answered:
                self.sockets.add(easy.getinfo(pycurl.ACTIVESOCKET))
                transfer = self._landed(easy)
                ended.append((transfer.key, transfer.answer()))
                transfer.forget()
                self._idle.append(transfer)
            for easy, number, _ in failed:
                transfer = self._landed(easy)
                if transfer.may_go_again(number):
                    transfer.rewind()
                    self._launch(transfer)
                else:
                    ended.append((transfer.key, transfer.error(number)))
                    easy.close()
        self.go()
        return ended

    def expired(self) -> list[tuple[Any, Answer]]:
        """
        Take what has been under way for too long. Answers that are there are to be read before.

        libcurl only looks after connecting: its bound on the whole counts from the start, where
        reading has a bound of its own; and it would drop an answer that came in time because
        nobody was there to read it.
        """
        now = monotonic()
        if self._looks_at is None or self._looks_at > now:
            return []
        ended: list[tuple[Any, Answer]] = []
        self._looks_at = None
        for easy, transfer in list(self._under_way.items()):
            transfer.note_sending(now)
            if transfer.expires_at <= now:
                self._landed(easy)
                ended.append((transfer.key, transfer.error(pycurl.E_OPERATION_TIMEDOUT)))
                easy.close()
            elif self._looks_at is None or transfer.expires_at < self._looks_at:
                self._looks_at = transfer.expires_at
        return ended

    def _landed(self, easy: pycurl.Curl) -> _Transfer:
        self._multi.remove_handle(easy)
        transfer = self._under_way.pop(easy)
        self._unsent.discard(transfer)
        return transfer

    def in_flight(self) -> list[Any]:
        """Return the keys of what is under way."""
        return [transfer.key for transfer in self._under_way.values()]

    def close(self) -> None:
        """End what is under way, and close all connections."""
        _all.pop(id(self), None)
        self._multi.close()
        self._under_way.clear()
        self._unsent.clear()
        self._idle.clear()


_all: Final[dict[int, weakref.ref[Transfers]]] = {}
"""
Those that are open, by identity.

No WeakSet: Ctrl-C is lost if it comes while one of those looks after who has gone.
"""


def _leave_to_parent() -> None:
    """
    Never close what a process has from its parent, not even when it ends.

    A connection that is closed takes leave with a TLS alert, and this one's other end would take
    it for the parent's.
    """
    for reference in tuple(_all.values()):
        if (transfers := reference()) is not None:
            transfers.is_parents = True
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(transfers))
    _all.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


class _Transfer:
    """An easy handle, and the request and the answer that go through it."""

    def __init__(self, settings: Settings) -> None:
        self.easy = easy = settings.new_handle()
        self._settings = settings
        self._lines: list[bytes] = []
        self._chunks: list[bytes] = []
        # The body is read by a function, and libcurl has no way to start it again: where a kept
        # connection dies it would otherwise send on a new one, without telling, what the service
        # may have carried out. As it is, it does that only while none of the body was read.
        self._body = io.BytesIO()
        self._body_bytes = 0
        self._url = ""
        self._connect_seconds = 0.0
        self._is_fresh = False
        easy.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        easy.setopt(pycurl.WRITEFUNCTION, self._chunks.append)
        easy.setopt(pycurl.READFUNCTION, self._body.read)

    def begin(self, key: Any, request: HttpRequest, timeouts: Timeouts) -> None:
        setopt = self.easy.setopt
        setopt(pycurl.HTTPHEADER, _header_lines(request.headers))
        if request.url != self._url:
            setopt(pycurl.URL, request.url)
            setopt(pycurl.PROXY, self._settings.proxy(request.url))
            self._url = request.url
        if timeouts.connect != self._connect_seconds:
            setopt(pycurl.CONNECTTIMEOUT_MS, max(1, int(timeouts.connect * 1000)))
            self._connect_seconds = timeouts.connect
        # Anew, on the bytes that are there: writing them would copy them.
        io.BytesIO.__init__(self._body, request.body)
        self._body_bytes = len(request.body)
        setopt(pycurl.POSTFIELDSIZE_LARGE, self._body_bytes)
        whole = timeouts.connect + timeouts.read if timeouts.total is None else timeouts.total
        self._started = monotonic()
        self._ends_at = self._started + whole
        self._read_seconds = timeouts.read
        self._is_sending = False
        self.expires_at = min(self._started + timeouts.read, self._ends_at)
        self.key = key

    def may_go_again(self, number: int) -> bool:
        """Tell whether it was sent over a kept connection that was dead, and nothing went out."""
        getinfo = self.easy.getinfo
        return (
            number in _CUT and not getinfo(pycurl.NUM_CONNECTS) and not getinfo(pycurl.REQUEST_SIZE)
        )

    def rewind(self) -> None:
        """Make ready to go again, over a new connection."""
        self.easy.setopt(pycurl.FRESH_CONNECT, 1)
        self._is_fresh = True
        self._lines.clear()
        self._chunks.clear()
        self._body.seek(0)
        self._started = monotonic()
        self._is_sending = False

    def is_sent(self) -> bool:
        """Tell whether the whole request has left this process."""
        return bool(self.easy.getinfo(pycurl.SIZE_UPLOAD_T) >= self._body_bytes)

    def note_sending(self, now: float) -> None:
        """Count the time for reading from when the connection was there, if it is."""
        if not self._is_sending:
            connected = self.easy.getinfo(pycurl.PRETRANSFER_TIME)
            self._is_sending = connected > 0
            begun = self._started + connected if connected else now
            self.expires_at = min(begun + self._read_seconds, self._ends_at)

    def answer(self) -> Answer:
        lines = self._lines
        if lines[-1] != b"\r\n" and _is_cut(lines):
            return TransportError("the answer was lost (it ended early)", may_have_been_sent=True)
        status = self.easy.getinfo(pycurl.RESPONSE_CODE)
        return HttpResponse(status, _Headers(b"".join(lines)), b"".join(self._chunks))

    def error(self, number: int) -> TransportError:
        words = _WORDS.get(number) or f"libcurl's error {number}"
        if self.easy.getinfo(pycurl.REQUEST_SIZE):
            if number == pycurl.E_OPERATION_TIMEDOUT:
                return TransportError("no answer in time", may_have_been_sent=True)
            return TransportError(f"the answer was lost ({words})", may_have_been_sent=True)
        told = self.easy.errstr()
        if number in _UNTRUSTED and not _WAS_CUT.search(told):
            return TlsError(f"the endpoint could not be trusted ({told or words})")
        if number == pycurl.E_COULDNT_CONNECT:
            words = os.strerror(self.easy.getinfo(pycurl.OS_ERRNO))
        return TransportError(f"no connection to the endpoint ({words})", may_have_been_sent=False)

    def forget(self) -> None:
        """Keep nothing of the events."""
        self.key = None
        self._lines.clear()
        self._chunks.clear()
        io.BytesIO.__init__(self._body, b"")
        if self._is_fresh:
            self.easy.setopt(pycurl.FRESH_CONNECT, 0)
            self._is_fresh = False


def _header_lines(headers: Mapping[str, str]) -> list[str] | list[bytes]:
    """Return what libcurl is to send, and what it is not to add."""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    if "" in headers.values():
        lines = [f"{name}: {value}" if value else f"{name};" for name, value in headers.items()]
    lines += ("Accept:", "Expect:")
    if "Content-Type" not in headers:
        lines.append("Content-Type:")
    joined = "".join(lines)
    if "\r" in joined or "\n" in joined or "\0" in joined:
        raise ValueError("a header holds a line break or a NUL")
    # pycurl takes text only as ASCII.
    return lines if joined.isascii() else [line.encode("latin-1") for line in lines]


def _is_cut(lines: list[bytes]) -> bool:
    """
    Tell whether the headers of an answer lack their end.

    libcurl takes a connection that ends there for the end of the answer. Behind the headers there
    may be trailers.
    """
    for line in reversed(lines):
        if not line.strip():
            return False
        if line.startswith(b"HTTP/"):
            break
    return True


class _Headers(Mapping[str, str]):
    """The headers of an answer, read when they are asked for: those of most answers never are."""

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
    """Read the headers of an answer; those of interim answers before it, or a proxy's, go."""
    headers: dict[str, str] = {}
    for line in received.decode("latin-1").splitlines():
        name, colon, value = line.partition(":")
        if line.startswith("HTTP/"):
            headers.clear()
        elif colon:
            headers[name.lower()] = value.strip()
    return headers


_CUT: Final = frozenset(
    {
        pycurl.E_GOT_NOTHING,
        pycurl.E_RECV_ERROR,
        pycurl.E_SEND_ERROR,
        pycurl.E_SEND_FAIL_REWIND,
    }
)

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
"""What libcurl says of a handshake that only the network ended. It has no number for that."""

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
