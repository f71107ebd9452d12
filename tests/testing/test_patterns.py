"""Event patterns: what they match, what EventBridge would refuse, and why an event is missed."""

from __future__ import annotations

import copy
import itertools
import json
import pickle
import re
import time
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from moto.events.models import EventPattern as MotoPattern

from eventbridge_partner.testing import EventPattern, InvalidPatternError

EVENT = {
    "version": "0",
    "id": "6a7e8feb",
    "source": "aws.partner/desk.example/acme/tickets",
    "detail-type": "ticket.created",
    "account": "123456789012",
    "time": "2026-03-01T06:10:07Z",
    "region": "eu-central-1",
    "resources": ["urn:ticket:7", "urn:agent:3"],
    "detail": {
        "ticket": 7,
        "price": 12.5,
        "huge": 6e9,
        "state": "open",
        "closed": None,
        "urgent": True,
        "calm": False,
        "empty": "",
        "none": [],
        "nothing": {},
        "tags": ["printer", "Paper Jam"],
        "deep": [[["down"]], ["there"]],
        "path": "/users/ada/tickets/7.json",
        "stars": "a*b\\c",
        "ip": "10.1.2.3",
        "ip6": "2001:0db8::0001",
        "customer": {"name": "Ada", "plan": {"name": "pro"}},
        "agent.name": "Grace",
        "notes": [{"by": "ada", "stars": 5}, {"by": "bob", "stars": 1}],
    },
}


def detail(**wanted: Any) -> dict[str, Any]:
    return {"detail": {name.replace("_", "-"): value for name, value in wanted.items()}}


MATCHING = [
    # Values
    {"source": ["aws.partner/desk.example/acme/tickets"]},
    {"source": ["another", "aws.partner/desk.example/acme/tickets"]},
    detail(ticket=[7]),
    detail(ticket=[7.0]),
    detail(price=[12.50]),
    detail(huge=[6_000_000_000]),
    detail(closed=[None]),
    detail(urgent=[True]),
    detail(calm=[False]),
    detail(empty=[""]),
    detail(customer={"plan": {"name": ["pro"]}}),
    detail(ip6=["2001:db8::1"]),
    # Arrays
    {"resources": ["urn:agent:3"]},
    detail(tags=["x", "printer"]),
    detail(deep=["there"]),
    detail(deep=["down"]),
    detail(notes={"by": ["bob"]}),
    detail(notes={"by": ["bob"], "stars": [1]}),
    # Dots
    {"detail.state": ["open"]},
    {"detail": {"customer.plan.name": ["pro"]}},
    {"detail.customer": {"plan.name": ["pro"]}},
    {"detail": {"agent": {"name": ["Grace"]}}},
    # Operators on text
    {"time": [{"prefix": "2026-03-"}]},
    detail(state=[{"prefix": ""}]),
    detail(tags=[{"prefix": "Paper"}]),
    detail(tags=[{"prefix": {"equals-ignore-case": "PAPER"}}]),
    detail(path=[{"suffix": ".json"}]),
    detail(path=[{"suffix": {"equals-ignore-case": ".JSON"}}]),
    detail(state=[{"equals-ignore-case": "OPEN"}]),
    detail(state=[{"wildcard": "*"}]),
    detail(state=[{"wildcard": "open"}]),
    detail(state=[{"wildcard": "o*n"}]),
    detail(state=[{"wildcard": "open*"}]),
    detail(empty=[{"wildcard": ""}]),
    detail(path=[{"wildcard": "/users/*/tickets/*.json"}]),
    detail(stars=[{"wildcard": r"a\*b\\c"}]),
    # Numbers, addresses, presence
    detail(ticket=[{"numeric": ["=", 7]}]),
    detail(ticket=[{"numeric": [">", 6, "<=", 7]}]),
    detail(price=[{"numeric": [">=", 12.5]}]),
    detail(price=[{"numeric": ["<", 12.51]}]),
    detail(ip=[{"cidr": "10.0.0.0/8"}]),
    detail(ip=[{"cidr": "10.1.2.99/24"}]),
    detail(ip6=[{"cidr": "2001:db8::/32"}]),
    detail(state=[{"exists": True}]),
    detail(closed=[{"exists": True}]),
    detail(missing=[{"exists": False}]),
    detail(missing=[{"exists": False}, "x"]),
    detail(none=[{"exists": False}]),
    detail(nothing=[{"exists": False}]),
    detail(customer=[{"exists": False}]),
    # Anything but
    detail(state=[{"anything-but": "closed"}]),
    detail(state=[{"anything-but": ["closed", "new"]}]),
    detail(ticket=[{"anything-but": 8}]),
    detail(ticket=[{"anything-but": [8, 9]}]),
    detail(ticket=[{"anything-but": "7"}]),
    detail(state=[{"anything-but": 7}]),
    detail(closed=[{"anything-but": "x"}]),
    detail(tags=[{"anything-but": "printer"}]),
    detail(state=[{"anything-but": {"prefix": "x"}}]),
    detail(state=[{"anything-but": {"prefix": ["x", "y"]}}]),
    detail(ticket=[{"anything-but": {"prefix": "7"}}]),
    detail(state=[{"anything-but": {"suffix": ["x", "y"]}}]),
    detail(state=[{"anything-but": {"equals-ignore-case": ["CLOSED", "NEW"]}}]),
    detail(path=[{"anything-but": {"wildcard": ["*.xml", "/home/*"]}}]),
    # Or
    {"$or": [{"source": ["x"]}, {"detail-type": ["ticket.created"]}]},
    detail(state=["open"]) | {"$or": [{"id": ["x"]}, {"region": [{"prefix": "eu-"}]}]},
    {"detail": {"$or": [{"state": ["x"]}, {"$or": [{"ticket": [1]}, {"ticket": [7]}]}]}},
]

MISSING = [
    {"source": ["aws.partner/desk.example"]},
    {"SOURCE": [{"exists": True}]},
    detail(ticket=["7"]),
    detail(ticket=[True]),
    detail(urgent=[1]),
    detail(urgent=["true"]),
    detail(calm=[0]),
    detail(closed=["null"]),
    detail(closed=[False]),
    detail(empty=[None]),
    detail(none=[None]),
    detail(none=[{"exists": True}]),
    detail(customer=[{"exists": True}]),
    detail(customer=["Ada"]),
    detail(state={"name": ["open"]}),
    detail(notes=["ada"]),
    detail(notes={"by": ["ada"], "stars": [1]}),
    detail(notes={"by": ["ada"]}) | {"detail.notes.stars": [1]},
    {"detail.customer": {"plan": ["pro"]}},
    {"detail": {"agent.name": {"name": ["Grace"]}}},
    detail(state=[{"prefix": "pen"}]),
    detail(ticket=[{"prefix": "7"}]),
    detail(path=[{"suffix": ".JSON"}]),
    detail(state=[{"equals-ignore-case": "opened"}]),
    detail(state=[{"wildcard": ""}]),
    detail(state=[{"wildcard": "o"}]),
    detail(state=[{"wildcard": "open*n"}]),
    detail(path=[{"wildcard": "/users/*/tickets/*.xml"}]),
    detail(stars=[{"wildcard": r"a\*c"}]),
    detail(ticket=[{"wildcard": "*"}]),
    detail(ticket=[{"numeric": [">", 7]}]),
    detail(ticket=[{"numeric": [">", 6, "<", 7]}]),
    detail(huge=[{"numeric": [">", 0]}]),
    detail(state=[{"numeric": [">", 0]}]),
    detail(urgent=[{"numeric": ["=", 1]}]),
    detail(closed=[{"numeric": ["<", 1]}]),
    detail(ip=[{"cidr": "10.2.0.0/16"}]),
    detail(ip=[{"cidr": "::/0"}]),
    detail(state=[{"cidr": "10.0.0.0/8"}]),
    detail(ticket=[{"cidr": "0.0.0.0/0"}]),
    detail(missing=[{"exists": True}]),
    detail(state=[{"exists": False}]),
    detail(state=[{"anything-but": "open"}]),
    detail(state=[{"anything-but": ["open", "new"]}]),
    detail(ticket=[{"anything-but": 7.0}]),
    detail(missing=[{"anything-but": "x"}]),
    detail(tags=[{"anything-but": ["printer", "Paper Jam"]}]),
    detail(state=[{"anything-but": {"prefix": ["x", "op"]}}]),
    detail(state=[{"anything-but": {"suffix": "en"}}]),
    detail(state=[{"anything-but": {"equals-ignore-case": "OPEN"}}]),
    detail(path=[{"anything-but": {"wildcard": "*/tickets/*"}}]),
    {"$or": [{"source": ["x"]}, {"id": ["x"]}]},
    detail(state=["x"]) | {"$or": [{"region": ["eu-central-1"]}, {"id": ["x"]}]},
]

INVALID = [
    ({}, ""),
    ({"detail": {}}, "detail"),
    ({"source": "x"}, "source"),
    ({"source": None}, "source"),
    ({"source": []}, "source"),
    ({"source": [["x"]]}, "source"),
    ({"source": [float("nan")]}, "source"),
    ({"detail": {"a": {"b": 5}}}, "detail.a.b"),
    ({"a": [{}]}, "a"),
    ({"a": [{"prefix": "x", "suffix": "y"}]}, "a"),
    ({"a": [{"matches": "x"}]}, "a"),
    ({"a": [{"PREFIX": "x"}]}, "a"),
    ({"a": [{"prefix": 5}]}, "a.prefix"),
    ({"a": [{"prefix": ["x"]}]}, "a.prefix"),
    ({"a": [{"prefix": {"suffix": "x"}}]}, "a.prefix"),
    ({"a": [{"prefix": {"equals-ignore-case": 5}}]}, "a.prefix.equals-ignore-case"),
    ({"a": [{"suffix": None}]}, "a.suffix"),
    ({"a": [{"equals-ignore-case": ["x"]}]}, "a.equals-ignore-case"),
    ({"a": [{"equals-ignore-case": {"prefix": "x"}}]}, "a.equals-ignore-case"),
    ({"a": [{"wildcard": "a**b"}]}, "a.wildcard"),
    ({"a": [{"wildcard": r"a\b"}]}, "a.wildcard"),
    ({"a": [{"wildcard": "a\\"}]}, "a.wildcard"),
    ({"a": [{"wildcard": ["a"]}]}, "a.wildcard"),
    ({"a": [{"wildcard": "*/*/*/*/*/end"}]}, "a.wildcard"),
    ({"a": [{"numeric": 5}]}, "a.numeric"),
    ({"a": [{"numeric": []}]}, "a.numeric"),
    ({"a": [{"numeric": [">"]}]}, "a.numeric"),
    ({"a": [{"numeric": [">", "5"]}]}, "a.numeric"),
    ({"a": [{"numeric": [">", True]}]}, "a.numeric"),
    ({"a": [{"numeric": ["==", 5]}]}, "a.numeric"),
    ({"a": [{"numeric": [["="], 5]}]}, "a.numeric"),
    ({"a": [{"numeric": [">", 0, "<"]}]}, "a.numeric"),
    ({"a": [{"numeric": [">", 0, ">", 1]}]}, "a.numeric"),
    ({"a": [{"numeric": ["<", 1, ">", 0]}]}, "a.numeric"),
    ({"a": [{"numeric": ["=", 1, "<", 2]}]}, "a.numeric"),
    ({"a": [{"numeric": [">", 1, "<", 1]}]}, "a.numeric"),
    ({"a": [{"numeric": [">", 5_000_000_001]}]}, "a.numeric"),
    ({"a": [{"cidr": "10.0.0.0"}]}, "a.cidr"),
    ({"a": [{"cidr": "10.0.0/8"}]}, "a.cidr"),
    ({"a": [{"cidr": "10.0.0.0/x"}]}, "a.cidr"),
    ({"a": [{"cidr": "10.0.0.0/255.0.0.0"}]}, "a.cidr"),
    ({"a": [{"cidr": "10.0.0.1/32"}]}, "a.cidr"),
    ({"a": [{"cidr": "::1/" + "9" * 5000}]}, "a.cidr"),
    ({"a": [{"cidr": 8}]}, "a.cidr"),
    ({"a": [{"exists": "true"}]}, "a.exists"),
    ({"a": [{"exists": 1}]}, "a.exists"),
    ({"a": [{"anything-but": None}]}, "a.anything-but"),
    ({"a": [{"anything-but": True}]}, "a.anything-but"),
    ({"a": [{"anything-but": []}]}, "a.anything-but"),
    ({"a": [{"anything-but": ["x", 5]}]}, "a.anything-but"),
    ({"a": [{"anything-but": ["x", None]}]}, "a.anything-but"),
    ({"a": [{"anything-but": [[]]}]}, "a.anything-but"),
    ({"a": [{"anything-but": {"exists": True}}]}, "a.anything-but"),
    ({"a": [{"anything-but": {}}]}, "a.anything-but"),
    ({"a": [{"anything-but": {"prefix": ""}}]}, "a.anything-but.prefix"),
    ({"a": [{"anything-but": {"suffix": ["x", ""]}}]}, "a.anything-but.suffix"),
    ({"a": [{"anything-but": {"prefix": []}}]}, "a.anything-but.prefix"),
    ({"a": [{"anything-but": {"prefix": 5}}]}, "a.anything-but.prefix"),
    ({"a": [{"anything-but": {"prefix": {"equals-ignore-case": "x"}}}]}, "a.anything-but.prefix"),
    ({"a": [{"anything-but": {"wildcard": ["**"]}}]}, "a.anything-but.wildcard"),
    ({"$or": []}, "$or"),
    ({"$or": [{"a": ["x"]}]}, "$or"),
    ({"$or": [{"a": ["x"]}, "y"]}, "$or"),
    ({"$or": [{"a": ["x"]}, {}]}, ""),
    ({"$or": {"a": ["x"]}}, "$or"),
    ({"d": {"$or": [{"a": ["x"]}, {"prefix": ["x"]}]}}, "d.prefix"),
]


@pytest.mark.parametrize("pattern", MATCHING, ids=json.dumps)
def test_what_a_rule_matches(pattern):
    """A pattern that matches, given as text or as a mapping, has nothing to explain."""
    for given_as in (pattern, json.dumps(pattern)):
        assert EventPattern(given_as).matches(EVENT)
        assert EventPattern(given_as).explain(EVENT) == ()


@pytest.mark.parametrize("pattern", MISSING, ids=json.dumps)
def test_what_a_rule_misses(pattern):
    """A pattern that misses, given as text or as a mapping, has something to explain."""
    for given_as in (pattern, json.dumps(pattern)):
        assert not EventPattern(given_as).matches(EVENT)
        assert EventPattern(given_as).explain(EVENT)


@pytest.mark.parametrize(("pattern", "path"), INVALID, ids=str)
def test_patterns_that_eventbridge_would_refuse(pattern, path):
    """The error names the place in the pattern."""
    with pytest.raises(InvalidPatternError) as caught:
        EventPattern(pattern)
    assert caught.value.path == path
    assert caught.value.reason in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "x", "[]", '"x"', "null", '{"a": [1]', '{"a": [NaN]}', "[" * 100_000]
)
def test_text_that_is_not_a_json_object(text):
    """Text that is not a JSON object is refused, with no place in it named."""
    with pytest.raises(InvalidPatternError) as caught:
        EventPattern(text)
    assert caught.value.path == ""


def test_patterns_are_bounded():
    """A pattern has bounded levels, and `$or` bounded combinations."""
    deep: dict[str, Any] = {"a": ["x"]}
    for _ in range(250):
        deep = {"a": deep}
    with pytest.raises(InvalidPatternError, match="levels"):
        EventPattern(deep)
    either = {"$or": [{f"a{number}": ["x"]} for number in range(11)]}
    three = {"x": either, "y": either, "z": either}
    with pytest.raises(InvalidPatternError, match="1,000 combinations"):
        EventPattern(three)
    assert EventPattern({"x": either, "y": either}).matches({"x": {"a1": "x"}, "y": {"a2": "x"}})


def test_the_last_of_two_equal_names_wins():
    """The last of two members with one name counts, in JSON and in recordings of EventBridge."""
    pattern = EventPattern('{"a": [{"prefix": "x"}], "a": [{"anything-but": "z"}]}')
    assert pattern.matches({"a": "y"})
    assert not pattern.matches({"a": "z"})


def test_dots_and_steps_of_an_event_are_the_same():
    """A dot in a member's name means the same as nesting, even if an event has both."""
    pattern = EventPattern({"a": {"b": {"c": [1], "d": [2]}}})
    assert pattern.matches({"a": {"b": 0}, "a.b": {"c": 1, "d": 2}})
    assert pattern.matches({"a": {"b": {"c": 1}}, "a.b.d": 2})
    assert not pattern.matches({"a": {"b": {"c": 1}}, "a.b": {"d": 3}})


def test_explanations_name_place_wanted_and_found():
    """An explanation tells apart what is nested, absent, an object, or several values."""
    pattern = EventPattern(
        detail(
            state=["new"],
            missing=[{"exists": True}],
            customer=["Ada"],
            tags=["x"],
            urgent=[True],
        )
    )
    assert [str(mismatch) for mismatch in pattern.explain(EVENT)] == [
        'detail.state is "open"; wanted: ["new"]',
        'detail.missing is nothing; wanted: [{"exists": true}]',
        'detail.customer is an object, and operators look at leaves; wanted: ["Ada"]',
        'detail.tags is "printer", "Paper Jam"; wanted: ["x"]',
    ]


def test_the_closest_alternative_is_explained():
    """Only the closest alternative of `$or` is explained, so one typo gives one line."""
    pattern = EventPattern(
        {
            "$or": [
                {"source": ["x"], "id": ["x"]},
                {"detail-type": ["x"], "region": ["eu-central-1"]},
            ]
        }
    )
    (mismatch,) = pattern.explain(EVENT)
    assert mismatch.path == "detail-type"


def test_elements_that_match_only_together_are_explained():
    """If each condition has an element, but none has all, the explanation says so."""
    (mismatch,) = EventPattern(detail(notes={"by": ["ada"], "stars": [1]})).explain(EVENT)
    assert mismatch.path == "detail.notes"
    assert json.loads(mismatch.wanted) == {"detail.notes.by": ["ada"], "detail.notes.stars": [1]}
    assert "no element" in mismatch.found


def test_what_was_found_is_cut_and_not_in_the_repr():
    """A payload shows only in the explanation, cut, and not in the repr."""
    (mismatch,) = EventPattern({"a": ["x"]}).explain({"a": "CANARY" * 1000})
    assert len(mismatch.found) < 300
    assert "CANARY" in str(mismatch)
    assert "CANARY" not in repr(mismatch)


def test_foreign_text_is_escaped():
    """No name or value can move a terminal's cursor or begin a new line."""
    name = "\x1b[2J\n\u202e"
    (mismatch,) = EventPattern({name: ["x"]}).explain({name: "\u009b2J\u202e"})
    assert str(mismatch).isprintable()
    with pytest.raises(InvalidPatternError) as caught:
        EventPattern({name: [{name: 1}]})
    assert str(caught.value).isprintable()


def test_the_error_survives_pickling():
    """An InvalidPatternError is the same after pickling."""
    error = pickle.loads(pickle.dumps(InvalidPatternError("a.b", "is odd")))
    assert (error.path, error.reason, str(error)) == (
        "a.b",
        "is odd",
        "the event pattern at a.b: is odd",
    )


def test_a_pattern_shows_itself():
    """The repr and the text of a pattern show it, because it is not a payload."""
    assert repr(EventPattern({"a": ["x"]})) == 'EventPattern(\'{"a": ["x"]}\')'
    assert json.loads(str(EventPattern({"a": ["x"]}))) == {"a": ["x"]}


@pytest.mark.parametrize("piece", ["a", "ab", "*b"])
def test_sixty_stars_take_no_time(piece):
    """Many wildcards take linear time; a regular expression would backtrack without end."""
    stars = "".join(f"*{piece.strip('*')}" for _ in range(60)) + "*c"
    pattern = EventPattern({"a": [{"wildcard": stars}]})
    for text in ("a" * 100_000, "ab" * 50_000, "ab" * 50_000 + "c"):
        began = time.process_time()
        assert pattern.matches({"a": text}) is (text[-1] == "c")
        assert time.process_time() - began < 0.05


def test_deep_arrays_take_no_stack():
    """Arrays may be nested to any depth."""
    deep: Any = "x"
    for _ in range(50_000):
        deep = [deep]
    assert EventPattern({"a": ["x"]}).matches({"a": deep})
    assert not EventPattern({"a": [{"exists": False}]}).matches({"a": deep})
    while isinstance(deep, list):  # else Python would recurse too deeply to free it
        deep = deep.pop()


# ---------------------------------------------------------------- compared with other matchers

names = st.sampled_from(["a", "b", "c"])
texts = st.text(st.sampled_from("ab*."), max_size=6)
leaves = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 3.0]) | texts
nodes = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)
events = st.dictionaries(names, nodes, min_size=1, max_size=3)
fields = st.dictionaries(
    st.lists(names, min_size=1, max_size=3).map(tuple), st.lists(leaves, min_size=1), min_size=1
)


def nested(wanted):
    pattern: dict[str, Any] = {}
    for path, values in wanted.items():
        inner = pattern
        for step in path[:-1]:
            inner = inner.setdefault(step, {})
            assume(isinstance(inner, dict))
        assume(path[-1] not in inner)
        inner[path[-1]] = values
    return pattern


def choices(node):
    """Return every way to choose one element from each array, as flat leaves."""
    if isinstance(node, list):
        return [choice for element in node for choice in choices(element)]
    if isinstance(node, dict):
        # A name below which there is no element to choose has no leaf.
        inner = [
            [{(name, *path): leaf for path, leaf in flat.items()} for flat in choices(value)]
            or [{}]
            for name, value in node.items()
        ]
        return [
            {path: leaf for flat in chosen for path, leaf in flat.items()}
            for chosen in itertools.product(*inner)
        ]
    return [{(): node}]


def same(leaf, value):
    kinds = [bool, type(None), str]
    kind = next((kind for kind in kinds if isinstance(value, kind)), None)
    other = next((kind for kind in kinds if isinstance(leaf, kind)), None)
    return kind is other and leaf == value


@given(event=events, wanted=fields)
@example({"a": [{"b": 1, "c": 2}, {"b": 3, "c": 4}]}, {("a", "b"): [1], ("a", "c"): [4]})
@example({"a": [[{"b": 1}], [{"c": 4}]]}, {("a", "b"): [1], ("a", "c"): [4]})
def test_arrays_are_matched_as_by_trying_all_choices(event, wanted):
    """One choice of an element per array must meet all conditions below it."""
    expected = any(
        all(
            path in flat and any(same(flat[path], value) for value in values)
            for path, values in wanted.items()
        )
        for flat in choices(event)
    )
    pattern = EventPattern(nested(wanted))
    assert pattern.matches(event) is expected
    assert bool(pattern.explain(event)) is not expected


@given(event=events, dots=st.data())
def test_an_event_is_matched_by_each_of_its_leaves(event, dots):
    """Each leaf of an event matches, written with dots or nested, and never as absent."""
    for flat in choices(event):
        for path, leaf in flat.items():
            cut = dots.draw(st.integers(1, len(path)))
            start, end = ".".join(path[:cut]), ".".join(path[cut:])
            for wish, expected in (
                ([leaf], True),
                ([{"exists": True}], True),
                ([{"exists": False}], False),
            ):
                pattern = {start: {end: wish}} if end else {start: wish}
                assert EventPattern(pattern).matches(event) is expected


@given(
    text=texts, pieces=st.lists(st.text(st.sampled_from("ab."), min_size=1, max_size=2), min_size=1)
)
def test_wildcards_match_as_regular_expressions_do(text, pieces):
    """A wildcard matches as the corresponding regular expression does."""
    wildcard = "*".join(pieces)
    try:
        pattern = EventPattern({"a": [{"wildcard": f"*{wildcard}"}]})
    except InvalidPatternError:
        assume(False)
    expression = ".*" + ".*".join(map(re.escape, pieces))
    assert pattern.matches({"a": text}) is bool(re.fullmatch(expression, text, re.DOTALL))


def test_escaped_stars_are_stars():
    """An escaped star or backslash matches itself."""
    for text in ("a*b", "a\\b", "*", "\\", "a*\\*b"):
        escaped = text.replace("\\", "\\\\").replace("*", "\\*")
        assert EventPattern({"a": [{"wildcard": escaped}]}).matches({"a": text})
        assert not EventPattern({"a": [{"wildcard": escaped}]}).matches({"a": text + "x"})


text_wishes = texts | st.one_of(
    texts.map(lambda text: {"prefix": text}),
    texts.map(lambda text: {"suffix": text}),
    texts.map(lambda text: {"equals-ignore-case": text}),
    st.lists(texts, min_size=1, max_size=3).map(lambda some: {"anything-but": some}),
    st.just({"exists": True}),
)
numbers = st.integers(-3, 3)
number_wishes = st.one_of(
    numbers.map(lambda number: {"numeric": [">", number]}),
    numbers.map(lambda number: {"numeric": ["<=", number]}),
    numbers.map(lambda number: {"numeric": [">=", number, "<", number + 2]}),
)
members = st.tuples(texts, st.lists(text_wishes, min_size=1, max_size=3)) | st.tuples(
    numbers, st.lists(number_wishes, min_size=1, max_size=3)
)


@given(wished=st.dictionaries(names, members, min_size=1))
def test_moto_says_the_same_where_it_is_right(wished):
    """
    moto agrees about operators on members that are present and of the operator's type.

    It does not know dots, accepts invalid patterns, and compares numbers with texts.
    """
    event = {name: value for name, (value, _) in wished.items()}
    pattern = {name: wishes for name, (_, wishes) in wished.items()}
    moto = MotoPattern.load(json.dumps(pattern))
    assert EventPattern(pattern).matches(event) is moto.matches_event(copy.deepcopy(event))


anything = st.recursive(
    leaves | st.sampled_from(["10.0.0.0/8", "**", "\\", float("nan"), float("inf"), 10**400]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "a",
                    "$or",
                    "prefix",
                    "suffix",
                    "anything-but",
                    "numeric",
                    "cidr",
                    "exists",
                    "wildcard",
                    "equals-ignore-case",
                    "=",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=15,
)


@given(pattern=st.dictionaries(names | st.just("$or"), anything), event=events)
def test_a_pattern_is_taken_or_refused(pattern, event):
    """Any pattern is accepted or raises an InvalidPatternError, and each miss has a reason."""
    try:
        found = EventPattern(pattern)
    except InvalidPatternError:
        return
    assert bool(found.explain(event)) is not found.matches(event)
