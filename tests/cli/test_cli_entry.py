"""The text of an entry is read as it is written, in bounded memory, and shown safely."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbridge_partner import InvalidEventError, PartnerEvent
from eventbridge_partner.cli._entry import EntryTooLargeError, read_entry
from tests.strategies import SOURCE, details, events

MIB = 1024 * 1024
UNKNOWN = "allowed: Source, DetailType, Detail, Resources, Time"


def entry(**members):
    return json.dumps({"Source": SOURCE, "DetailType": "t", "Detail": {}} | members).encode()


def with_detail(text, **members):
    return entry(Detail="DETAIL", **members).replace(b'"DETAIL"', text.encode())


def refusal(text):
    with pytest.raises(InvalidEventError) as caught:
        read_entry(text)
    return [str(finding) for finding in caught.value.findings]


@pytest.mark.slow
@given(events, st.booleans())
def test_an_event_survives_its_entry(event, ascii_only):
    """Whatever an event holds, its entry is read as that event."""
    members = {"Source": event.source, "DetailType": event.detail_type, "Detail": event.detail}
    members |= {"Resources": event.resources} if event.resources else {}
    members |= {"Time": event.time.isoformat()} if event.time else {}
    text = json.dumps(members, ensure_ascii=ascii_only).encode()
    assert read_entry(text) == event


@pytest.mark.slow
@given(details, st.sampled_from([None, 1, "\t"]))
def test_a_detail_that_is_an_object_is_kept_to_the_letter(detail, indent):
    """The detail is sent as it is written, but without its white space."""
    text = json.dumps(detail, ensure_ascii=False, indent=indent)
    compact = json.dumps(detail, ensure_ascii=False, separators=(",", ":"))
    assert read_entry(with_detail(text)).detail == compact


@pytest.mark.parametrize(
    "text",
    ['{"n":1.10}', '{"n":1E400}', '{"n":-0.0}', '{"n":9223372036854775807}', '{"a":1,"a":2}'],
)
def test_numbers_as_they_are_written(text):
    """Numbers are not parsed and written again."""
    assert read_entry(with_detail(text)).detail == text


@pytest.mark.parametrize("depth", [900, 999, 1000])
def test_details_as_deep_as_the_service_allows(depth):
    """An object in an entry may be as deep as a detail given as text."""
    text = '{"a":' * depth + "1E400" + "}" * depth
    assert read_entry(with_detail(text)).detail == text
    assert refusal(with_detail('{"a":' * (1001 - depth) + text + "}" * (1001 - depth)))[0].endswith(
        " is nested more than 1000 deep; the limit is 1000 levels"
    )


def test_a_member_given_twice():
    """The last of two members with one name counts, as in any JSON reader."""
    text = entry(Detail="{}")[:-1] + b',"DetailType":"second"}'
    assert read_entry(text) == PartnerEvent.from_entry(json.loads(text))


FORGED = "x\r\nentries.jsonl:2: all is well\x1b[2K\x9b1A\u202e"


def test_names_of_members_are_shown_escaped_and_cut():
    """A name can neither forge a line nor move the cursor."""
    (of_entry,) = refusal(entry(**{FORGED: 1}))
    assert of_entry == (
        rf"x\r\nentries.jsonl:2: all is well\x1b[2K\x9b1A\u202e is not a member of an entry; {UNKNOWN}"
    )
    (of_detail,) = refusal(entry(Detail={FORGED[:30]: {"number": 2**63}}))
    assert of_detail.startswith(r"detail['x\\r\\nentries.jsonl:2: all is")
    (long,) = refusal(entry(**{"n" * 1000: 1}))
    assert long.startswith("n" * 64 + "… is not a member")


def test_many_unknown_members():
    """Twenty are named, the others are counted, and other findings are listed too."""
    found = refusal(entry(Source="x", **{f"m{number}": number for number in range(50_000)}))
    assert found[:2] == [f"m{number} is not a member of an entry; {UNKNOWN}" for number in (0, 1)]
    assert found[20] == f"entry has 20 of these and 49,980 more; {UNKNOWN}"
    assert found[21].startswith("source is 'x'")


HOSTILE = {
    "arrays": b"[" + b"[]," * (5 * MIB) + b"[]]",
    "arrays in a detail": with_detail('{"a":[' + "[]," * (5 * MIB) + "[]]}"),
    "an array for a detail": with_detail("[" + "[]," * (5 * MIB) + "[]]"),
    "objects for a source": entry(Source=0).replace(b"0", b"[" + b"{}," * (5 * MIB) + b"{}]"),
    "numbers for resources": entry(Resources=[7]).replace(b"7", b"7," * (7 * MIB) + b"7"),
    "members": entry()[:-1] + b',"a":1' * 100_000 + b"}",
    "long integers": with_detail('{"a":[' + "9" * 19 + (",9" + "9" * 19) * (600 * 1024) + "]}"),
    "white space": with_detail("{" + ' "a" : 1 ,' * 200_000 + '"b":1}'),
    "digits": with_detail("9" * (15 * MIB)),
    "no end": with_detail('{"a":[' + "[]," * (5 * MIB)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_memory_is_proportional_to_the_text(name):
    """An entry of 15 MiB takes a few times its text, not a hundred times as its objects would."""
    tracemalloc.start()
    try:
        try:
            read_entry(HOSTILE[name])
        except (InvalidEventError, EntryTooLargeError) as error:
            assert len(str(error)) < 20_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5 * len(HOSTILE[name])


@pytest.mark.parametrize("command", ["check", "send"])
def test_names_of_files_and_arguments_are_shown_escaped(run, command):
    """Text from a shell script can neither forge a line nor move the cursor."""
    for arguments in ((command, "no\x1b[2K\nsuch: file"), (command, "-", "--no\x1b[2K\nsuch")):
        ended = run(*arguments)
        assert ended.status == 2
        last = ended.err.rstrip("\n").split("\n")[-1]
        assert r"no\x1b[2K\nsuch" in last
        assert last.isprintable()
