"""
Reads entries from a file of any size, each with the line on which it starts.

The input is cut into the texts of its entries before any of them is parsed: at line ends in JSON
Lines, at the commas between elements in an array. So a broken entry does not affect the others,
and only one entry is in memory at a time.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import re
import sys
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, cast

import attrs

from eventbridge_partner import (
    BatchLimits,
    Finding,
    InvalidEventError,
    PartnerEvent,
)
from eventbridge_partner._foreign_text import escaped
from eventbridge_partner.cli._entry import EntryTooLargeError, read_entry
from eventbridge_partner.cli._exits import MOST_OF_A_PATH, UsageError, reason

MAX_TEXT_BYTES: Final = 16 * 1024 * 1024
"""
The longest text of one entry; longer ones are refused without being held in memory.

The largest entry has 1 MiB. Each of its bytes takes up to 7 in JSON text within JSON text, and
pretty-printing adds white space.
"""

MAX_OPENING_BYTES: Final = 4096
"""
The longest `{"Entries": [`, with the white space in it.

Anything longer is read as JSON Lines. The limit keeps the search cheap, however small the chunks.
"""

_CHUNK_BYTES: Final = 64 * 1024
_WHITE: Final = b" \t\r\n"
_BOM: Final = b"\xef\xbb\xbf"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_GZIP: Final = b"\x1f\x8b"
_OTHERS: Final = {
    b"PK\x03\x04": "a ZIP archive",
    b"BZh": "bzip2 data",
    b"\xfd7zX": "xz data",
    b"\x28\xb5\x2f\xfd": "zstd data",
    b"PAR1": "a Parquet file",
}
"""The first bytes of formats that this program cannot read, and their names."""

# The opening of a document that is not JSON Lines, and a possible beginning of one.
_OPENING: Final = re.compile(rb'\[|\{\s*"Entries"\s*:\s*\[')
_PERHAPS_OPENING: Final = re.compile(rb'\{\s*(?:"[A-Za-z]{0,7}(?:"\s*(?::\s*)?)?)?')

# The rest of a string, up to its end or the end of the chunk.
_REST_OF_STRING: Final = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*(")?', re.DOTALL)
_MARK: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(")?|[{}\[\],]', re.DOTALL)
_LINE_ENDS: Final = re.compile(rb"[\r\n]+")


def name_of(file: str) -> str:
    """Return the name of an argument `FILE` in messages."""
    return "standard input" if file == "-" else escaped(file, MOST_OF_A_PATH)


@contextlib.contextmanager
def open_input(file: str) -> Generator[BinaryIO, None, None]:
    """
    Open an argument `FILE`, and close it unless it is standard input.

    Raises:
        UsageError: It cannot be opened.
    """
    if file == "-":
        if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison]
            raise UsageError(f"cannot read {name_of(file)}: it is closed")
        yield _unzipped(sys.stdin.buffer, file)
        return
    try:
        stream = Path(file).open("rb")  # noqa: SIM115  # closed below
    except OSError as error:
        raise unreadable(file, error) from error
    with stream:
        yield _unzipped(stream, file)


class UnzippedInput(gzip.GzipFile):
    """Decompresses gzip data."""

    def read1(self, size: int = -1) -> bytes:
        """Return the next decompressed bytes."""
        try:
            return super().read1(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            what = "cut off" if isinstance(error, EOFError) else "broken"
            raise OSError(errno.EILSEQ, f"its gzip data is {what}") from error


def _unzipped(stream: BinaryIO, file: str) -> BinaryIO:
    """Return a stream that decompresses gzip data; any other stream as it is."""
    if not isinstance(stream, io.BufferedReader):
        return stream
    try:
        opening = stream.peek(len(_GZIP))[: len(_GZIP)]
    except OSError as error:
        raise unreadable(file, error) from error
    if opening != _GZIP:
        return stream
    return cast("BinaryIO", UnzippedInput(fileobj=stream, mode="rb"))


def unreadable(file: str, error: OSError) -> UsageError:
    """Return the error for an argument `FILE` that cannot be read."""
    return UsageError(f"cannot read {name_of(file)}: {reason(error)}")


@attrs.frozen
class InputEntry:
    """
    One entry of the input.

    Attributes:
        line: The line on which it starts, from 1.
        text: As in the input; empty if it was too long.
        event: The event; None if the entry was refused.
        code: The code of a refused entry's outcome.
        findings: Everything that is wrong with it.
        file: The name of its file in messages, if there are several.
    """

    line: int
    text: bytes = attrs.field(repr=False)
    event: PartnerEvent | None = attrs.field(repr=False)
    code: str = ""
    findings: tuple[Finding, ...] = ()
    file: str = ""

    @property
    def text_on_one_line(self) -> bytes:
        """The text without line ends: in JSON they are never part of a value."""
        return b" ".join(line.strip(b" \t") for line in _LINE_ENDS.split(self.text))


class _StoppedError(Exception):
    """Ends a wait for more input."""


class EntryReader:
    """
    Reads entries: JSON Lines, or the array that `aws events put-partner-events` takes.

    Args:
        stream: The input, read from its current position.
        file: Its name in messages, if there are several.

    Attributes:
        bytes_read: How many bytes of the input were read.

    Raises:
        UsageError: The input has a format that this program cannot read.
        OSError: It cannot be read.
    """

    def __init__(self, stream: BinaryIO, file: str = "") -> None:
        self._stream = stream
        self._file = file
        self._is_stopped = False
        self._is_reading = False
        self.bytes_read = 0
        self._source = _Source(self._chunks())
        self._source.look_at(max(map(len, (_BOM, *_UTF_16, *_OTHERS))))
        start = self._source.take()
        if start.startswith(_UTF_16):
            raise UsageError(f"{file or 'the input'} is UTF-16; needed: UTF-8")
        for opening, kind in _OTHERS.items():
            if start.startswith(opening):
                what = f"{file or 'the input'} is {kind}"
                raise UsageError(f"{what}; needed: text in UTF-8, or gzip data of it")
        self._source.put_back(start.removeprefix(_BOM))

    def __iter__(self) -> Iterator[InputEntry]:
        for piece in _pieces(self._source):
            if self._is_stopped:  # this piece may be cut off
                return
            entry = _read(piece)
            yield attrs.evolve(entry, file=self._file) if self._file else entry
            if self._is_stopped:
                return

    def stop(self) -> None:
        """Stop reading: the entry that was yielded last is the last one."""
        self._is_stopped = True

    def stop_now(self) -> None:
        """
        Stop reading, even while it waits for more input. Called in a signal handler.

        Raises:
            _StoppedError: In the wait, to end it.
        """
        self._is_stopped = True
        if self._is_reading:
            raise _StoppedError

    def _chunks(self) -> Iterator[bytes]:
        # read1 returns what is available: events from a pipe need not fill 64 KiB first.
        read = getattr(self._stream, "read1", self._stream.read)
        while chunk := self._read(read):
            self.bytes_read += len(chunk)
            yield chunk

    def _read(self, read: Callable[[int], bytes]) -> bytes:
        try:
            self._is_reading = True
            return b"" if self._is_stopped else read(_CHUNK_BYTES)
        except _StoppedError:
            return b""
        finally:
            self._is_reading = False


class EntryReaders:
    """
    Reads the entries of several inputs, one after another.

    Args:
        inputs: Pairs of an argument `FILE` and its stream; at least one.

    Attributes:
        file: The argument that is being read.

    Raises:
        UsageError: One of them cannot be read.
    """

    def __init__(self, inputs: Sequence[tuple[str, BinaryIO]]) -> None:
        self.file = inputs[0][0]
        self._inputs: list[tuple[str, EntryReader]] = []
        for file, stream in inputs:
            try:
                name = name_of(file) if len(inputs) > 1 else ""
                self._inputs.append((file, EntryReader(stream, name)))
            except OSError as error:
                raise unreadable(file, error) from error

    @property
    def bytes_read(self) -> int:
        """How many bytes were read of all inputs."""
        return sum([reader.bytes_read for _, reader in self._inputs])

    def __iter__(self) -> Iterator[InputEntry]:
        for file, reader in self._inputs:
            self.file = file
            yield from reader

    def stop(self) -> None:
        """Stop reading: the entry that was yielded last is the last one."""
        for _, reader in self._inputs:
            reader.stop()

    def stop_now(self) -> None:
        """Stop reading, even while it waits for more input. Called in a signal handler."""
        self.stop()
        for _, reader in self._inputs:
            reader.stop_now()


def check_files(files: Sequence[str]) -> None:
    """
    Refuse arguments `FILE` that name standard input twice.

    Raises:
        UsageError: They do.
    """
    if files.count("-") > 1:
        raise UsageError("- is given twice; allowed: standard input once")


# ---------------------------------------------------------------- cutting


class _Source:
    """The chunks of the input; a part that was read too early can be put back."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._put_back = b""

    def take(self) -> bytes:
        """Return the next chunk; an empty one at the end."""
        if self._put_back:
            taken, self._put_back = self._put_back, b""
            return taken
        return next(self._chunks, b"")

    def put_back(self, rest: bytes) -> None:
        """Put bytes back, to be returned next."""
        self._put_back = rest + self._put_back

    def look_at(self, count: int) -> None:
        """Make the next chunk at least this long, if the input is."""
        while len(self._put_back) < count and (chunk := next(self._chunks, b"")):
            self._put_back += chunk


@attrs.frozen
class _Piece:
    """The text of one entry; None if it is too long."""

    line: int
    text: bytes | None


class _Growing:
    """The text of an entry while it is coming in, without the white space around it."""

    def __init__(self) -> None:
        self.line = 1
        self._start: int | None = None
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, part: bytes) -> None:
        """Add the next part, and count its lines."""
        if self._start is None:
            stripped = part.lstrip(_WHITE)
            self.line += part.count(b"\n", 0, len(part) - len(stripped))
            if not stripped:
                return
            part = stripped
            self._start = self.line
        self.line += part.count(b"\n")
        self._size += len(part)
        if self._size > MAX_TEXT_BYTES:
            self._parts.clear()
        else:
            self._parts.append(part)

    def end(self) -> _Piece | None:
        """Return the text so far, and start over; None if there is none."""
        if self._start is None:
            return None
        text = b"".join(self._parts).rstrip(_WHITE) if self._size <= MAX_TEXT_BYTES else None
        piece = _Piece(self._start, text)
        self._start = None
        self._parts = []
        self._size = 0
        return piece


def _pieces(source: _Source) -> Iterator[_Piece]:
    """Cut the input into entries: any number of arrays, or JSON Lines to the end."""
    growing = _Growing()
    while head := _next_head(source, growing):
        opening = _OPENING.match(head, 0, MAX_OPENING_BYTES)
        if not opening:
            source.put_back(head)
            yield from _lines(source, growing)
            return
        growing.add(opening[0])
        growing.end()
        source.put_back(head[opening.end() :])
        yield from _elements(source, growing)
        if opening[0] != b"[" and (head := _next_head(source, growing)):
            source.put_back(head.removeprefix(b"}"))


def _next_head(source: _Source, growing: _Growing) -> bytes:
    """Skip white space, and return enough of the input to tell which kind of document it is."""
    head = b""
    while chunk := source.take():
        head += chunk
        stripped = head.lstrip(_WHITE)
        growing.add(head[: len(head) - len(stripped)])
        head = stripped
        if head and not _PERHAPS_OPENING.fullmatch(head, 0, MAX_OPENING_BYTES):
            break
        if len(head) >= MAX_OPENING_BYTES:
            break
    return head


def _lines(source: _Source, growing: _Growing) -> Iterator[_Piece]:
    while chunk := source.take():
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            growing.add(part)
            if piece := growing.end():
                yield piece
            growing.line += 1
        growing.add(rest)
    if piece := growing.end():
        yield piece


def _elements(source: _Source, growing: _Growing) -> Iterator[_Piece]:
    """Cut an array at the commas between its elements, up to the bracket that closes it."""
    depth = 0
    is_in_string = False
    is_escaped = False
    while chunk := source.take():
        begin = 0  # of the part that is not yet added
        at = 1 if is_escaped else 0
        if is_in_string and (rest := _REST_OF_STRING.match(chunk, at)):
            at = rest.end()
            is_in_string = rest[1] is None
        for mark in () if is_in_string else _MARK.finditer(chunk, at):
            at = mark.end()
            match mark[0]:
                case b"{" | b"[":
                    depth += 1
                case b"}" | b"]" if depth:
                    depth -= 1
                case b"," | b"]" if not depth:
                    growing.add(chunk[begin : at - 1])
                    if piece := growing.end():
                        yield piece
                    if mark[0] == b"]":
                        source.put_back(chunk[at:])
                        return
                    begin = at
                case b"}" | b",":
                    pass
                case _:
                    is_in_string = mark[1] is None
        # An unfinished string stops short of its chunk's end only at a backslash.
        is_escaped = is_in_string and at < len(chunk)
        growing.add(chunk[begin:])
    if piece := growing.end():
        yield piece


# ---------------------------------------------------------------- reading one


def _read(piece: _Piece) -> InputEntry:
    line = piece.line
    if piece.text is None:
        found = f"has more than {MAX_TEXT_BYTES:,} bytes of text"
        finding = Finding("entry", found, f"the limit is {BatchLimits().max_entry_bytes:,}")
        return InputEntry(line, b"", None, "EntryTooLarge", (finding,))
    text = piece.text
    try:
        return InputEntry(line, text, read_entry(text))
    except InvalidEventError as error:
        return InputEntry(line, text, None, "InvalidEvent", error.findings)
    except EntryTooLargeError as error:
        return InputEntry(line, text, None, "EntryTooLarge", (error.finding,))
