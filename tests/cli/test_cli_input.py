"""What is read from the input, and on which line it is."""

from __future__ import annotations

import io
import itertools
import json
import time
import tracemalloc
from collections.abc import Iterator
from typing import BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventbridge_partner.cli import _input
from eventbridge_partner.cli._exits import UsageError
from eventbridge_partner.cli._input import EntryReader, InputEntry
from tests.cli.program import SOURCE, entry, json_lines


class Chunked(io.RawIOBase):
    """A stream that returns its data in the given pieces, as pipes do."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def read1(self, _: int) -> bytes:
        return next(self._chunks, b"")


def read(text: str | bytes, *, chunk: int = 1 << 16) -> list[InputEntry]:
    """Read an input that arrives in chunks of this many bytes."""
    raw = text if isinstance(text, bytes) else text.encode()
    chunks = (raw[i : i + chunk] for i in range(0, len(raw), chunk))
    return list(EntryReader(cast("BinaryIO", Chunked(chunks))))


def details(entries: list[InputEntry]) -> list[str | None]:
    return [entry.event.detail if entry.event else None for entry in entries]


def test_json_lines_have_the_number_of_their_line():
    """Blank lines are skipped, but counted."""
    entries = read("\n" + json_lines(entry(), "", "  ", entry()) + "\r\n" + json.dumps(entry()))
    assert [entry.line for entry in entries] == [2, 5, 7]
    assert all(entry.event for entry in entries)


@pytest.mark.parametrize("indent", [None, 4])
@pytest.mark.parametrize("wrap", [list, lambda entries: {"Entries": list(entries)}])
def test_arrays_have_the_line_where_each_entry_starts(indent, wrap):
    """The array of the AWS CLI is read, compact or pretty, alone or as `Entries`."""
    text = "\n" + json.dumps(wrap([entry(), entry(), entry()]), indent=indent)
    lines = text.split("\n")
    # A pretty entry begins one line above its first member.
    starts = [number - 1 for number, line in enumerate(lines, 1) if '"Source"' in line]
    entries = read(text)
    assert [entry.line for entry in entries] == (starts if indent else [2, 2, 2])
    assert all(entry.event for entry in entries)


def test_an_empty_input_has_no_entries():
    """An empty text, white space and an empty array hold no entries."""
    for text in ("", "\n \n", "[]", "[ ]\n", '{"Entries": []}'):
        assert read(text) == []


def test_several_documents_follow_each_other():
    """Files of arrays that were joined with cat are read one after the other."""
    array = json.dumps([entry()], indent=1)
    text = f'{array}\n{{"Entries": {array}}}\n{json_lines(entry())}'
    entries = read(text)
    assert [bool(entry.event) for entry in entries] == [True] * 3
    assert [entry.line for entry in entries] == [2, 11, 19]


def test_byte_order_mark_is_skipped():
    """A byte order mark is skipped, and UTF-16 is refused."""
    assert read(b"\xef\xbb\xbf" + json_lines(entry()).encode())[0].event
    with pytest.raises(UsageError, match="UTF-16"):
        read(json_lines(entry()).encode("utf-16"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nonsense", "entry is not JSON"),
        ('{"Source":', "entry is not JSON"),
        ("[1]", "entry is a JSON array"),
        ("7", "entry is a JSON number"),
        ("null", "entry is a JSON null"),
        ("{}", "source is missing"),
        (json.dumps(entry(Detail="[1]")), "detail is a JSON array"),
        (json.dumps(entry(Detail=[1])), "detail is a JSON array"),
        (json.dumps(entry(Detail=1.5)), "detail is a JSON number"),
        (json.dumps(entry(Detail=True)), "detail is a JSON boolean"),
        (json.dumps(entry(Detail=None)), "detail is a JSON null"),
        (json.dumps(entry(Detail={"n": {"m": 2**64}})), "detail.n.m is an integer of 20 digits"),
        (json.dumps(entry(Detail={"n": float("nan")})), "entry is not JSON"),
        (json.dumps(entry(Detail={"n": float("inf")})), "entry is not JSON"),
        (json.dumps(entry(Time="yesterday")), "time is not ISO 8601"),
        (json.dumps(entry(EventBusName="x")), "EventBusName is not a member"),
    ],
)
def test_a_bad_entry_is_refused_alone(text, says):
    """A bad line is refused with its reason, and the lines around it are read."""
    before, bad, after = read(json_lines(entry(), text, entry()))
    assert (bad.line, bad.event, bad.code) == (2, None, "InvalidEvent")
    assert str(bad.findings[0]).startswith(says)
    assert bad.text_on_one_line.decode() == text
    assert before.event
    assert after.event


def test_a_line_that_is_not_utf8_is_refused_alone():
    """A line in another encoding is refused, and kept as it is."""
    good = json.dumps(entry()).encode()
    latin = good.replace(b"ticket", "tické".encode("latin-1"))
    entries = read(b"\n".join([good, latin, good]))
    assert [bool(entry.event) for entry in entries] == [True, False, True]
    assert "is not UTF-8" in str(entries[1].findings[0])
    assert entries[1].text == latin


def test_a_broken_element_of_an_array_is_refused_alone():
    """Elements are cut apart before they are read as JSON."""
    good = json.dumps(entry())
    text = f'[{good},\n{{"Source": nonsense}},\n{good},, "x,]" , {{"a": }}, {good},]'
    entries = read(text)
    assert [bool(entry.event) for entry in entries] == [True, False, True, False, False, True]
    assert [entry.line for entry in entries] == [1, 2, 3, 3, 3, 3]


def test_an_array_that_is_cut_off_is_read_up_to_there():
    """If a file ends too early, only its last entry is refused."""
    text = json.dumps([entry(), entry(), entry()])
    entries = read(text[:-20])
    assert [bool(entry.event) for entry in entries] == [True, True, False]


def test_detail_is_sent_as_it_is_written():
    """JSON text is sent to the letter; an object loses its white space, but no digits."""
    text = '{ "a" : 1.10,  "b": 1E2, "c": "x  \\u00e9 \\" }", "a": 0.12345678901234567890 }'
    as_text = json.dumps(entry(Detail='{"a" :  1.10}'))
    as_object = f'{{"Source":"{SOURCE}","D\\u0065tail":{text},"DetailType":"Detail"}}'
    written = '{"a":1.10,"b":1E2,"c":"x  \\u00e9 \\" }","a":0.12345678901234567890}'
    assert details(read(json_lines(as_text, as_object))) == ['{"a" :  1.10}', written]


def test_last_of_several_members_counts():
    """The last of two members with one name counts, as elsewhere in JSON."""
    text = json.dumps(entry())[:-1] + ', "Detail": {"id": {"Detail": 3}}}'
    assert details(read(text)) == ['{"id":{"Detail":3}}']


def test_detail_may_be_as_deep_as_the_service_allows():
    """A thousand levels are read, and a deeper detail is refused without overflowing the stack."""
    for depth, allowed in ((1000, True), (1001, False), (5000, False)):
        detail = '{"a":' * (depth - 1) + "{}" + "}" * (depth - 1)
        text = json.dumps(entry())[:-1] + f', "Detail": {detail}}}'
        assert bool(read(text)[0].event) is allowed


def test_entry_over_the_limit_is_refused():
    """The service's limit on an entry applies before sending."""
    big = entry(Detail={"pad": "x" * 1024 * 1024})
    refused, fine = read(json_lines(big, entry()))
    assert refused.code == "EntryTooLarge"
    assert str(refused.findings[0]) == "entry has 1,048,639 bytes; the limit is 1,048,575"
    assert fine.event


@pytest.mark.parametrize("opening", ["", "["])
def test_an_endless_entry_is_not_held_in_memory(opening, monkeypatch):
    """An entry that never ends is refused without being held in memory."""
    monkeypatch.setattr(_input, "MAX_TEXT_BYTES", 1024 * 1024)
    head = f"{opening}{json.dumps(entry())}{',' if opening else ''}\n".encode()
    chunks = itertools.chain([head, b'{"Source": "'], [b"x" * 65536] * 320)
    tracemalloc.start()
    try:
        first, endless = EntryReader(cast("BinaryIO", Chunked(iter(chunks))))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert first.event
    assert (endless.line, endless.code, endless.text) == (2, "EntryTooLarge", b"")
    assert peak < 6 * 1024 * 1024


def test_each_line_is_read_as_soon_as_it_arrives():
    """An event from a pipe does not wait for more to arrive."""
    seen: list[int] = []

    def chunks() -> Iterator[bytes]:
        for number in range(1, 4):
            assert len(seen) == number - 1
            yield json_lines(entry()).encode()

    for read_entry in EntryReader(cast("BinaryIO", Chunked(chunks()))):
        seen.append(read_entry.line)
    assert seen == [1, 2, 3]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.dictionaries(st.text(), JSON, max_size=4), max_size=5),
    indent=st.sampled_from([None, 0, 2]),
    form=st.sampled_from(["lines", "array", "entries"]),
    escapes=st.booleans(),
    chunk=st.integers(1, 40),
)
def test_any_detail_is_read_in_any_chunks(values, indent, form, escapes, chunk):
    """Any detail is read, however it is written and however it arrives."""
    entries = [entry(Detail=value) for value in values]
    match form:
        case "lines":
            text = "".join(f"{json.dumps(each, ensure_ascii=escapes)}\n" for each in entries)
        case "array":
            text = json.dumps(entries, indent=indent, ensure_ascii=escapes)
        case _:
            text = json.dumps({"Entries": entries}, indent=indent, ensure_ascii=escapes)
    read_entries = read(text.encode("utf-8", "surrogatepass"), chunk=chunk)
    assert [json.loads(detail or "null") for detail in details(read_entries)] == values
    again = b"\n".join(read_entry.text_on_one_line for read_entry in read_entries)
    assert details(read(again)) == details(read_entries)


@pytest.mark.parametrize("chunk", [1, 1000, 1 << 16])
def test_an_opening_without_end_is_no_array(chunk):
    """After a bounded look, the input is read as JSON Lines, however little arrives at a time."""
    white = " " * 2 * _input.MAX_OPENING_BYTES
    (found,) = read(f'{{{white}"Entries": [{json.dumps(entry())}]}}', chunk=chunk)
    assert found.findings[0].field == "Entries"
    assert found.event is None


def work_of(text: bytes, chunk: int) -> float:
    began = time.process_time()
    for found in read(text, chunk=chunk):
        assert found.event is None
        assert isinstance(found.text_on_one_line, bytes)
    return time.process_time() - began


@pytest.mark.slow
@pytest.mark.parametrize(
    "start", [b"{", b'{"Entries"', b'{"Entries":', b"[", b'["', b"[{", b"{}", b'{"a":"\\', b'"']
)
@pytest.mark.parametrize("filling", [b" ", b"\n ", b"\t", b"[", b"\\", b'\\"', b"{"])
def test_reading_is_linear(start, filling):
    """An entry of 1 MB that never ends takes little time, whatever it consists of."""
    text = (start + filling * (1_000_000 // len(filling)))[:1_000_000]
    assert work_of(text, 1 << 16) < 3


@pytest.mark.parametrize("start", [b"{", b'{"Entries":', b"[{"])
def test_reading_byte_by_byte_is_linear(start):
    """Reading is linear even from a pipe that gives one byte at a time."""
    assert work_of(start + b" " * 100_000, 1) < 3
