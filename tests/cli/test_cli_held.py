"""Texts of entries that wait to be written."""

from __future__ import annotations

import contextlib
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from eventbridge_partner import PartnerEvent
from eventbridge_partner.cli._held import MAX_HELD_BYTES, HeldTexts
from eventbridge_partner.cli._input import InputEntry
from eventbridge_partner.cli._send import _Sending  # pyright: ignore[reportPrivateUsage]

EVENT = PartnerEvent("aws.partner/example.com/acme", "test", "{}")
MIB = 1024 * 1024


@given(st.lists(st.none() | st.binary(max_size=20)))
def test_first_in_first_out(steps: list[bytes | None]) -> None:
    """Texts come back in order, from memory or disk, and again after all have been taken."""
    expected: list[bytes] = []
    with contextlib.closing(HeldTexts(30)) as held:
        for step in steps:
            if step is not None:
                held.put(step)
                expected.append(step)
            elif expected:
                assert held.take() == expected.pop(0)
            assert len(held) == len(expected)


def test_refused_texts_behind_a_slow_event_are_not_held_in_memory() -> None:
    """The memory limit holds however many there are."""

    def entries():
        yield InputEntry(1, b"{}", EVENT)
        for line in range(2, 66):
            yield InputEntry(line, b"%d" % line * MIB, None, "InvalidEvent")

    class File:
        written = 0

        def begin(self) -> None:
            pass

        def write(self, line: bytes) -> None:
            self.written += len(line)

    results, failed = File(), File()
    sending = _Sending(entries(), results, failed, None, shows_accepted=False)  # type: ignore[arg-type]
    with contextlib.closing(sending):
        tracemalloc.start()
        try:
            taken = list(sending._entries())  # pyright: ignore[reportPrivateUsage]
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(taken) == 65
        assert held < MAX_HELD_BYTES + 4 * MIB
