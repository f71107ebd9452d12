"""Names of partner event sources are built and taken apart without loss, or refused."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbridge_partner import InvalidEventError, PartnerEvent, SourceName
from tests.strategies import source_names


@given(source_names)
def test_round_trip(name):
    """Text and parts are two forms of one name."""
    assert SourceName.parse(str(name)) == name
    assert PartnerEvent(name, "t", {}).source == str(name)
    assert pickle.loads(pickle.dumps(name)) == name


@pytest.mark.parametrize(
    ("source", "partner", "namespace", "name"),
    [
        ("aws.partner/example.com/acme", "example.com", (), "acme"),
        ("aws.partner/example.com/a/b/c", "example.com", ("a", "b"), "c"),
        ("aws.partner/./-/_", ".", ("-",), "_"),
    ],
    ids=["two segments", "four segments", "punctuation only"],
)
def test_parts(source, partner, namespace, name):
    """The first segment is the partner, the last the name, the rest the namespace."""
    parsed = SourceName.parse(source)
    assert (parsed.partner, parsed.namespace, parsed.name) == (partner, namespace, name)


def test_namespace_of_one_segment_may_be_a_str():
    """One str is one segment, not one for each of its letters."""
    assert str(SourceName("p", "n", namespace="space")) == "aws.partner/p/space/n"
    assert str(SourceName("p", "n", namespace=iter(["a", "b"]))) == "aws.partner/p/a/b/n"


@pytest.mark.parametrize(
    "source",
    [
        "",
        "aws.partner",
        "aws.partner/",
        "aws.partner/only-one",
        "aws.partner/a//b",
        "aws.partner/a/b/",
        "/aws.partner/a/b",
        "aws_partner/a/b",
        "awsXpartner/a/b",
        "AWS.partner/a/b",
        "aws.partner/a/b\n",
        " aws.partner/a/b",
        "aws.partner/a/b c",
        "aws.partner/a/é",
        "aws.partner/a/١",
        "aws.partner/a/\ud800",
        "aws.partner/a/b\x00",
        "aws.partner\\a\\b",
    ],
    ids=ascii,
)
def test_what_is_no_name(source):
    """A name that does not match the whole pattern is refused, with an ASCII message."""
    with pytest.raises(InvalidEventError) as caught:
        SourceName.parse(source)
    assert [finding.field for finding in caught.value.findings] == ["source"]
    with pytest.raises(InvalidEventError):
        PartnerEvent(source, "t", {})
    assert str(caught.value).isascii()


@pytest.mark.parametrize("length", [256, 257])
def test_length(length):
    """256 characters pass; one more is refused with both numbers, and the name is not repeated."""
    source = "aws.partner/a/".ljust(length, "b")
    if length == 256:
        assert str(SourceName.parse(source)) == source
    else:
        with pytest.raises(InvalidEventError) as caught:
            SourceName.parse(source)
        assert str(caught.value) == "source has 257 characters; the limit is 256"
        with pytest.raises(InvalidEventError, match="has 257 characters"):
            SourceName("a", "b" * 243)


@pytest.mark.parametrize(
    "segment", ["", "a/b", "a b", "é", "a\n", None, 5, b"a", "\ud800"], ids=ascii
)
@pytest.mark.parametrize("where", ["partner", "name", "namespace"])
def test_bad_segments(where, segment):
    """A bad segment is refused at any place, whatever its type."""
    parts = {"partner": "p", "name": "n", "namespace": ("s",)}
    parts[where] = (segment,) if where == "namespace" else segment
    with pytest.raises(InvalidEventError, match="as a segment"):
        SourceName(**parts)


@pytest.mark.parametrize("parts", [["aws.partner/a/b"], ["aws.partner/a/b", "c"]], ids=len)
def test_a_whole_name_in_place_of_a_partner(parts):
    """The error names the method that takes a whole name."""
    with pytest.raises(InvalidEventError, match=r"SourceName\.parse\(\) takes a whole name"):
        SourceName(*parts)


def test_all_bad_segments_are_listed():
    """Three bad segments, three findings."""
    with pytest.raises(InvalidEventError) as caught:
        SourceName("a b", "", namespace=["c/d", "fine"])
    assert len(caught.value.findings) == 3


@pytest.mark.parametrize(
    ("source", "found"), [(None, "is None"), (5, "is of type int"), (b"x", "is of type bytes")]
)
def test_other_types(source, found):
    """A name that is not text is refused with its type."""
    with pytest.raises(InvalidEventError, match=f"source {found}"):
        SourceName.parse(source)


@given(st.text(min_size=65, max_size=500))
def test_long_findings_are_cut(text):
    """The part of a bad name that a finding shows is bounded."""
    with pytest.raises(InvalidEventError) as caught:
        SourceName(text + " ", "n")
    assert len(str(caught.value)) < 1000
