"""`send --outbox`: put the events of a file into an outbox, all of them or none."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import orjson

from eventbridge_partner import InvalidEventError, Rejected
from eventbridge_partner.cli._exits import ALL_ACCEPTED, NOT_ALL_ACCEPTED
from eventbridge_partner.cli._held import HeldTexts
from eventbridge_partner.cli._input import EntryReaders, InputEntry
from eventbridge_partner.cli._output import LineFile, amount, result_line, say

if TYPE_CHECKING:
    from eventbridge_partner.outbox import PostgresOutbox, SqliteOutbox

_CHUNK: Final = 500


class Storing:
    """
    Puts the entries of a file into an outbox, in one transaction.

    Args:
        outbox: Where to put them.
        reader: The entries.
        results: Where to write the results.
        failed: Where to write the entries that are not events, if anywhere.
        shows_stored: Whether the results include the stored events.
    """

    def __init__(
        self,
        outbox: SqliteOutbox | PostgresOutbox,
        reader: EntryReaders,
        results: LineFile,
        failed: LineFile | None,
        *,
        shows_stored: bool,
    ) -> None:
        self._outbox = outbox
        self._reader = reader
        self._results = results
        self._failed = failed
        self._shows_stored = shows_stored
        self._counts: Counter[str] = Counter()
        self._lines: list[bytes] = []
        self._refused = HeldTexts()

    def close(self) -> None:
        """Drop the texts that were not written."""
        self._refused.close()

    def store(self) -> int:
        """
        Store all events, commit, and then write the results.

        Returns:
            The exit status.

        Raises:
            OutboxUnavailableError: The database cannot be used. Nothing was stored.
            OSError: The input cannot be read. Nothing was stored.
        """
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            connection = None
            chunk: list[InputEntry] = []
            for entry in self._reader:
                if connection is None:
                    connection = stack.enter_context(self._outbox.transaction())
                chunk.append(entry)
                if len(chunk) == _CHUNK:
                    self._add(connection, chunk)
                    chunk = []
            if connection is not None:
                self._add(connection, chunk)
        self._results.begin()
        for line in self._lines:
            self._results.write(line)
        if self._failed is not None:
            self._failed.begin()
            while self._refused:
                self._failed.write(self._refused.take())
        stored, rejected = self._counts["stored"], self._counts["rejected"]
        said = f", {rejected:,} rejected, to be fixed or dropped" if rejected else ""
        say(
            f"{amount(stored + rejected, 'event')} in {time.monotonic() - began:.1f} s: "
            f"{stored:,} put into the outbox{said}"
        )
        return NOT_ALL_ACCEPTED if rejected else ALL_ACCEPTED

    def _add(self, connection: object, chunk: list[InputEntry]) -> None:
        try:
            self._outbox.add(connection, *(one.event for one in chunk if one.event is not None))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        except InvalidEventError:
            # The database refuses an event that was valid here: add one by one to find it.
            for one in chunk:
                self._add_one(connection, one)
        else:
            for one in chunk:
                self._tell(one, None)

    def _add_one(self, connection: object, entry: InputEntry) -> None:
        error = None
        if entry.event is not None:
            try:
                self._outbox.add(connection, entry.event)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            except InvalidEventError as raised:
                error = raised
        self._tell(entry, error)

    def _tell(self, entry: InputEntry, error: InvalidEventError | None) -> None:
        if entry.event is not None and error is None:
            self._counts["stored"] += 1
            if self._shows_stored:
                members: dict[str, object] = {"file": entry.file} if entry.file else {}
                members |= {"line": entry.line, "outcome": "stored", "source": entry.event.source}
                self._lines.append(orjson.dumps(members))
            return
        self._counts["rejected"] += 1
        findings = entry.findings if error is None else error.findings
        message = "; ".join(map(str, findings))
        code = entry.code or "InvalidEvent"
        rejected = Rejected(code, message, entry.event or {}, 0, 0, findings)
        self._lines.append(result_line(entry.line, entry.event, rejected, entry.file))
        if self._failed is not None and entry.text:
            self._refused.put(entry.text_on_one_line)
