"""
Event patterns of rules on a customer's event bus: whether they match an event, and why not.

Written from the user guide: "Creating Amazon EventBridge event patterns" and "Comparison operators
for use in event patterns". Where that is silent, AWS's open-source matcher, event-ruler, decides:
its README says that EventBridge uses it.

An event is seen as its leaves: texts, numbers, booleans and nulls, each with the path of names that
leads to it. Arrays add nothing to a path, but conditions on several leaves below the same array
must hold for one element of it. A dot in a name is the same as a step.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeGuard, TypeVar, cast

import attrs

from eventbridge_partner._foreign_text import escaped

MAX_ALTERNATIVES: Final = 1000
"""The most combinations of all `$or` of a pattern together. User guide: "Or matching"."""

MAX_NUMBER: Final = 5.0e9
"""User guide, numeric matching: "limited to values between -5.0e9 and +5.0e9 inclusive"."""

MAX_DEPTH: Final = 200
"""Levels of objects in a pattern. Our own limit; AWS limits a pattern to 4,096 characters."""

REPEATED_PIECES: Final = 4
"""A text between wildcards that repeats this often is refused; see `_is_too_complex`."""

_SHOWN: Final = 200
_Leaf = str | int | float | bool | None
_Test = Callable[[Any], bool]
_T = TypeVar("_T")


class InvalidPatternError(ValueError):
    """
    EventBridge would refuse a text or mapping as an event pattern.

    Attributes:
        path: The place in the pattern, as names joined by dots; empty for the whole.
        reason: What was found there, and what is allowed.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        where = f" at {escaped(self.path, _SHOWN)}" if self.path else ""
        return f"the event pattern{where}: {self.reason}"


@attrs.frozen
class Mismatch:
    """
    One reason why an event does not match.

    Attributes:
        path: Names joined by dots.
        wanted: The pattern's values there, as JSON.
        found: The event's value there, as JSON, cut if it is long; `nothing` if it has no leaf
            there.
    """

    path: str
    wanted: str
    found: str = attrs.field(repr=False)

    def __str__(self) -> str:
        path, found, wanted = (
            escaped(text, 2 * _SHOWN) for text in (self.path, self.found, self.wanted)
        )
        return f"{path} is {found}; wanted: {wanted}"


class EventPattern:
    """
    A validated event pattern.

    Args:
        pattern: JSON text, or the same as a mapping.

    Raises:
        InvalidPatternError: EventBridge would refuse it.
    """

    def __init__(self, pattern: str | Mapping[str, Any]) -> None:
        given = _parsed(pattern) if isinstance(pattern, str) else pattern
        if not isinstance(given, Mapping):
            raise InvalidPatternError("", f"found {_kind(given)}; allowed: a JSON object")
        self._alternatives = tuple(
            tuple(fields.values()) for fields in _compiled(cast("Mapping[str, Any]", given))
        )
        self._text = _text(given)

    def __repr__(self) -> str:
        return f"EventPattern({_cut(self._text)!r})"

    def __str__(self) -> str:
        return self._text

    def matches(self, envelope: Mapping[str, Any]) -> bool:
        """
        Return whether a rule with this pattern would match.

        Args:
            envelope: The event as the customer's rule sees it; `customer_event` makes one.
        """
        return any(_hold(fields, envelope) for fields in self._alternatives)

    def explain(self, envelope: Mapping[str, Any]) -> tuple[Mismatch, ...]:
        """
        Return why a rule with this pattern would not match; empty if it would.

        With `$or`, it explains the alternative that comes closest.

        Args:
            envelope: The event as the customer's rule sees it.
        """
        if self.matches(envelope):
            return ()
        found = (tuple(_mismatches(fields, envelope)) for fields in self._alternatives)
        return min(found, key=len)


# ---------------------------------------------------------------- matching


_Way = tuple[str, int]
"""A name on the way to a field, and how many of the field's steps it covers."""


@attrs.frozen
class _Field:
    """The condition on the leaves at one path: one of its values or tests must fit."""

    steps: tuple[str, ...]
    ways: tuple[tuple[_Way, ...], ...]
    wanted: Sequence[Any]
    texts: frozenset[str]
    numbers: frozenset[float]
    constants: tuple[bool | None, ...]
    tests: tuple[_Test, ...]
    may_be_absent: bool

    @property
    def path(self) -> str:
        return ".".join(self.steps)

    def takes(self, leaf: object) -> bool:
        if isinstance(leaf, str):
            if leaf in self.texts:
                return True
        elif leaf is None or isinstance(leaf, bool):
            if any(leaf is constant for constant in self.constants):
                return True
        elif leaf in self.numbers:
            return True
        return any(test(leaf) for test in self.tests)


_Want = tuple[_Field, int]
"""A field, and how many of its steps have been walked."""


def _hold(fields: Sequence[_Field], event: Mapping[str, Any]) -> bool:
    wants: list[_Want] = []
    leaves: set[str] | None = None
    for field in fields:
        if field.may_be_absent:
            leaves = _leaf_paths(event) if leaves is None else leaves
            if field.path not in leaves:
                continue
        wants.append((field, 0))
    return _all_fit(event, wants)


def _all_fit(node: object, wants: Sequence[_Want]) -> bool:
    """Whether one choice of an element from each array meets all conditions."""
    if isinstance(node, list | tuple):
        return any(_all_fit_one(element, wants) for element in _elements(node))
    return _all_fit_one(node, wants)


def _all_fit_one(node: object, wants: Sequence[_Want]) -> bool:
    if not _is_object(node):
        return all(at == len(field.steps) and field.takes(node) for field, at in wants)
    below: dict[str, list[_Want]] = {}
    for field, at in wants:
        ways = [way for way in field.ways[at] if way[0] in node]
        if len(ways) != 1:
            return bool(ways) and _fit_some_way(node, wants)
        name, end = ways[0]
        below.setdefault(name, []).append((field, end))
    return all(_all_fit(node[name], inner) for name, inner in below.items())


def _fit_some_way(members: Mapping[str, Any], wants: Sequence[_Want]) -> bool:
    """Try all paths, because an event may have both {"a": {"b": …}} and {"a.b": …}."""
    ways = [[way for way in field.ways[at] if way[0] in members] for field, at in wants]
    for chosen in itertools.product(*ways):
        below: dict[str, list[_Want]] = {}
        for (field, _), (name, end) in zip(wants, chosen, strict=True):
            below.setdefault(name, []).append((field, end))
        if all(_all_fit(members[name], inner) for name, inner in below.items()):
            return True
    return False


def _is_object(node: object) -> TypeGuard[Mapping[str, Any]]:
    # isinstance of an abstract class takes longer than all the rest.
    return type(node) is dict or (not isinstance(node, str) and isinstance(node, Mapping))


def _elements(array: Sequence[Any]) -> Iterator[Any]:
    """Yield the elements of an array and of the arrays in it."""
    waiting = [iter(array)]
    while waiting:
        for element in waiting[-1]:
            if isinstance(element, list | tuple):
                waiting.append(iter(element))
                break
            yield element
        else:
            waiting.pop()


def _leaf_paths(event: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    waiting: list[tuple[str, Any]] = [*event.items()]
    while waiting:
        path, node = waiting.pop()
        if isinstance(node, list | tuple):
            waiting.extend((path, element) for element in _elements(node))
        elif isinstance(node, Mapping):
            members = cast("Mapping[str, Any]", node)
            waiting.extend((f"{path}.{name}", inner) for name, inner in members.items())
        else:
            found.add(path)
    return found


# ---------------------------------------------------------------- explaining


def _mismatches(fields: Sequence[_Field], event: Mapping[str, Any]) -> Iterator[Mismatch]:
    lonely = [field for field in fields if not _hold([field], event)]
    for field in lonely:
        yield Mismatch(field.path, _text(field.wanted), _found(field, event))
    if not lonely:
        # Each holds for some element of an array, but all hold for none.
        groups = [
            group
            for first in fields
            for size in range(1, len(first.steps) + 1)
            if not _hold(group := _below(fields, first.steps[:size]), event)
        ]
        together = min(groups, key=len)
        steps = _common([field.steps for field in together])
        wanted = {field.path: field.wanted for field in together}
        yield Mismatch(".".join(steps), _text(wanted), "each, but in no element all of them")


def _below(fields: Sequence[_Field], steps: tuple[str, ...]) -> list[_Field]:
    return [field for field in fields if field.steps[: len(steps)] == steps]


def _common(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    shared: list[str] = []
    for steps in zip(*paths, strict=False):
        if len(set(steps)) > 1:
            break
        shared.append(steps[0])
    return tuple(shared)


def _found(field: _Field, event: Mapping[str, Any]) -> str:
    values = [*_values(event, field, 0)]
    leaves = [_text(value) for value in values if not isinstance(value, Mapping)]
    if leaves:
        return _cut(", ".join(leaves))
    return "an object, and operators look at leaves" if values else "nothing"


def _values(node: object, field: _Field, at: int) -> Iterator[object]:
    for element in _elements([node]):
        if at == len(field.steps):
            yield element
        elif isinstance(element, Mapping):
            members = cast("Mapping[str, Any]", element)
            for name, end in field.ways[at]:
                if name in members:
                    yield from _values(members[name], field, end)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: object) -> object:
    """Return a mapping as a dict, for json."""
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))
    raise TypeError(f"{type(value).__name__} is not JSON")


# ---------------------------------------------------------------- reading a pattern


def _parsed(text: str) -> object:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise InvalidPatternError("", f"has more than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise InvalidPatternError("", f"is not JSON: {error}") from None


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON value")


_Fields = dict[str, _Field]


def _compiled(pattern: Mapping[str, Any]) -> list[_Fields]:
    alternatives: list[_Fields] = [{}]
    _add_object(alternatives, (), pattern, in_or=False)
    return alternatives


def _add_object(
    alternatives: list[_Fields], above: tuple[str, ...], given: Mapping[Any, Any], *, in_or: bool
) -> None:
    """Add the conditions of an object of the pattern to each alternative so far."""
    path = ".".join(above)
    if len(above) > MAX_DEPTH:
        raise InvalidPatternError(path, f"has more than {MAX_DEPTH} levels")
    if not given:
        raise InvalidPatternError(path, "found an empty object; allowed: one with members")
    for name, value in given.items():
        here = f"{path}.{name}" if path else str(name)
        if not isinstance(name, str):
            raise InvalidPatternError(here, f"found a name that is {_kind(name)}; allowed: a text")
        if name == "$or":
            _add_or(alternatives, above, value, here)
        elif in_or and name in _RESERVED:
            raise InvalidPatternError(
                here, f"{name} is an operator; allowed inside of $or: names of members"
            )
        elif isinstance(value, Mapping):
            members = cast("Mapping[str, Any]", value)
            _add_object(alternatives, (*above, *name.split(".")), members, in_or=in_or)
        elif isinstance(value, list | tuple):
            field = _field((*above, *name.split(".")), value, here)
            for fields in alternatives:
                # Of two members with one name, the last counts, as in JSON.
                fields[here] = field
        else:
            raise InvalidPatternError(
                here, f"found {_kind(value)}; allowed: an array of values, or an object"
            )


def _add_or(alternatives: list[_Fields], above: tuple[str, ...], value: object, path: str) -> None:
    if not isinstance(value, list | tuple) or len(value) < 2:
        raise InvalidPatternError(path, "allowed: an array of at least 2 objects")
    before = [*alternatives]
    alternatives.clear()
    for choice in value:
        if not isinstance(choice, Mapping):
            raise InvalidPatternError(path, f"found {_kind(choice)} in it; allowed: objects")
        added = [dict(fields) for fields in before]
        _add_object(added, above, cast("Mapping[str, Any]", choice), in_or=True)
        alternatives.extend(added)
        if len(alternatives) > MAX_ALTERNATIVES:
            raise InvalidPatternError(
                path, f"makes more than {MAX_ALTERNATIVES:,} combinations of alternatives"
            )


def _field(steps: tuple[str, ...], values: Sequence[Any], path: str) -> _Field:
    if not values:
        raise InvalidPatternError(path, "found an empty array; allowed: one with values")
    texts: set[str] = set()
    numbers: set[float] = set()
    constants: list[bool | None] = []
    tests: list[_Test] = []
    may_be_absent = False
    for value in values:
        if isinstance(value, str):
            texts.add(value)
            if (address := _address(value)) is not None:
                tests.append(_IsAddress(address))
        elif value is None or isinstance(value, bool):
            constants.append(value)
        elif isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
            numbers.add(value)
        elif isinstance(value, Mapping):
            operator, operand = _operation(cast("Mapping[str, Any]", value), path)
            where = f"{path}.{operator}"
            if operator == "exists":
                may_be_absent |= _exists(operand, where, tests)
            else:
                tests.append(_OPERATORS[operator](operand, where))
        else:
            raise InvalidPatternError(
                path,
                f"found {_kind(value)} among the values; allowed: texts, numbers, true, false, "
                "null and operators",
            )
    places = range(len(steps) + 1)
    return _Field(
        steps,
        tuple(tuple((".".join(steps[at:end]), end) for end in places[at + 1 :]) for at in places),
        values,
        frozenset(texts),
        frozenset(numbers),
        tuple(constants),
        tuple(tests),
        may_be_absent,
    )


def _operation(given: Mapping[Any, Any], path: str) -> tuple[str, object]:
    if len(given) != 1:
        raise InvalidPatternError(path, f"found an operator with {len(given)} names; allowed: one")
    ((name, operand),) = given.items()
    if name != "exists" and name not in _OPERATORS:
        allowed = ", ".join(sorted([*_OPERATORS, "exists"]))
        raise InvalidPatternError(
            path, f"found the operator {_cut(str(name))!a}; allowed: {allowed}"
        )
    return name, operand


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case Mapping():
            return "an object"
        case list() | tuple():
            return "an array"
        case _:
            return f"a {type(value).__name__}"


# ---------------------------------------------------------------- operators


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wanted_text(operand: object, path: str) -> str:
    if not isinstance(operand, str):
        raise InvalidPatternError(path, f"found {_kind(operand)}; allowed: a text")
    return operand


def _exists(operand: object, path: str, tests: list[_Test]) -> bool:
    """Return whether the leaf may be absent; if it must exist, accept any leaf."""
    if not isinstance(operand, bool):
        raise InvalidPatternError(path, f"found {_kind(operand)}; allowed: true or false")
    if operand:
        tests.append(lambda _: True)
    return not operand


def _without_case(operand: object, path: str) -> str | None:
    """Return the text of `{"equals-ignore-case": text}` inside another operator."""
    if not isinstance(operand, Mapping):
        return None
    given = cast("Mapping[str, Any]", operand)
    if set(given) != {"equals-ignore-case"}:
        raise InvalidPatternError(path, "allowed: a text, or an object with equals-ignore-case")
    return _wanted_text(given["equals-ignore-case"], f"{path}.equals-ignore-case").lower()


def _prefix(operand: object, path: str) -> _Test:
    if (folded := _without_case(operand, path)) is not None:
        return lambda leaf: isinstance(leaf, str) and leaf.lower().startswith(folded)
    text = _wanted_text(operand, path)
    return lambda leaf: isinstance(leaf, str) and leaf.startswith(text)


def _suffix(operand: object, path: str) -> _Test:
    if (folded := _without_case(operand, path)) is not None:
        return lambda leaf: isinstance(leaf, str) and leaf.lower().endswith(folded)
    text = _wanted_text(operand, path)
    return lambda leaf: isinstance(leaf, str) and leaf.endswith(text)


def _ignoring_case(operand: object, path: str) -> _Test:
    folded = _wanted_text(operand, path).lower()
    return lambda leaf: isinstance(leaf, str) and leaf.lower() == folded


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _address(text: str) -> _Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


@attrs.frozen
class _IsAddress:
    """Compares IP addresses as numbers, however they are written, as event-ruler does."""

    address: _Address

    def __call__(self, leaf: object) -> bool:
        return isinstance(leaf, str) and _address(leaf) == self.address


def _cidr(operand: object, path: str) -> _Test:
    text = _wanted_text(operand, path)
    address, slash, bits = text.partition("/")
    first = _address(address)
    if first is None or not slash or not (bits.isascii() and bits.isdigit()):
        raise InvalidPatternError(path, f"found {_cut(text)!a}; allowed: such as 10.0.0.0/24")
    # event-ruler: "IPv4 mask bits must be < 32", "IPv6 mask bits must be < 128".
    if len(bits) > 3 or int(bits) >= first.max_prefixlen:
        raise InvalidPatternError(
            path,
            f"found {_cut(text)!a}; allowed: 0 to {first.max_prefixlen - 1} bits. "
            "Write a single address as a value",
        )
    network = ipaddress.ip_network(text, strict=False)

    def test(leaf: object) -> bool:
        found = _address(leaf) if isinstance(leaf, str) else None
        return found is not None and found in network

    return test


_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "=": lambda found, bound: found == bound,
    ">": lambda found, bound: found > bound,
    ">=": lambda found, bound: found >= bound,
    "<": lambda found, bound: found < bound,
    "<=": lambda found, bound: found <= bound,
}


def _numeric(operand: object, path: str) -> _Test:
    allowed = 'allowed: such as ["=", 5], [">", 0] or [">", 0, "<=", 5]'
    if not isinstance(operand, list | tuple) or len(operand) not in (2, 4):
        raise InvalidPatternError(path, allowed)
    terms: list[Any] = [*operand]
    signs, bounds = terms[::2], terms[1::2]
    for sign, bound in zip(signs, bounds, strict=True):
        if not isinstance(sign, str) or sign not in _COMPARISONS or not _is_number(bound):
            raise InvalidPatternError(path, allowed)
        if not abs(bound) <= MAX_NUMBER:
            limit = f"{MAX_NUMBER:,.0f}"
            raise InvalidPatternError(path, f"found {bound}; allowed: -{limit} to {limit}")
    if len(signs) == 2 and not (
        signs[0] in (">", ">=") and signs[1] in ("<", "<=") and bounds[0] < bounds[1]
    ):
        raise InvalidPatternError(
            path, f"found {_text(terms)}; allowed: first > or >=, then < or <= a larger number"
        )
    tests = [(_COMPARISONS[sign], bound) for sign, bound in zip(signs, bounds, strict=True)]

    def test(leaf: object) -> bool:
        if not _is_number(leaf) or not abs(cast("float", leaf)) <= MAX_NUMBER:
            return False
        return all(compare(cast("float", leaf), bound) for compare, bound in tests)

    return test


@attrs.frozen
class _Wildcard:
    """A text with wildcards, matched piece by piece, in linear time."""

    pieces: tuple[str, ...]

    def __call__(self, leaf: object) -> bool:
        if not isinstance(leaf, str):
            return False
        first, *inner = self.pieces
        if not inner:
            return leaf == first
        last = inner.pop()
        end = len(leaf) - len(last)
        at = len(first)
        if end < at or not leaf.startswith(first) or not leaf.endswith(last):
            return False
        for piece in inner:
            found = leaf.find(piece, at, end)
            if found < 0:
                return False
            at = found + len(piece)
        return True


def _wildcard(operand: object, path: str) -> _Wildcard:
    text = _wanted_text(operand, path)
    pieces = [""]
    for token in re.findall(r"\\.|.", text, re.DOTALL):
        if token == "*":
            pieces.append("")
        elif len(token) == 2 and token[1] not in "*\\":
            raise InvalidPatternError(path, rf"found {token!a}; allowed after \: * and \ only")
        elif token == "\\":
            raise InvalidPatternError(path, r"ends with a single \; write \\ for one")
        else:
            pieces[-1] += token[-1]
    if "" in pieces[1:-1]:
        raise InvalidPatternError(path, "found ** in it; allowed: single wildcards")
    if _is_too_complex(pieces):
        raise InvalidPatternError(
            path, "is too complex: too many wildcards with the same text after them"
        )
    return _Wildcard(tuple(pieces))


def _is_too_complex(pieces: Sequence[str]) -> bool:
    """
    Tell whether AWS would refuse the wildcards as too complex.

    AWS refuses a rule that is "too complex - try using fewer wildcard characters or fewer
    repeating character sequences after a wildcard character", and does not document the limit.
    This refuses only the recorded case: `*:*:*:*:*:event-bus/*`.
    """
    counts = Counter(pieces[1:-1])
    return any(
        count >= REPEATED_PIECES
        and any(other != piece and other.startswith(piece) for other in pieces[1:])
        for piece, count in counts.items()
    )


def _any_of(operand: object, path: str, make: Callable[[object, str], _T]) -> list[_T]:
    if not isinstance(operand, list | tuple):
        return [make(operand, path)]
    if not operand:
        raise InvalidPatternError(path, "found an empty array; allowed: one with values")
    return [make(item, path) for item in operand]


def _prefix_or_suffix_text(operand: object, path: str) -> str:
    text = _wanted_text(operand, path)
    if not text:
        raise InvalidPatternError(path, "found an empty text; allowed: others")
    return text


def _but_prefix(operand: object, path: str) -> _Test:
    texts = tuple(_any_of(operand, path, _prefix_or_suffix_text))
    return lambda leaf: isinstance(leaf, str) and leaf.startswith(texts)


def _but_suffix(operand: object, path: str) -> _Test:
    texts = tuple(_any_of(operand, path, _prefix_or_suffix_text))
    return lambda leaf: isinstance(leaf, str) and leaf.endswith(texts)


def _but_ignoring_case(operand: object, path: str) -> _Test:
    texts = {text.lower() for text in _any_of(operand, path, _wanted_text)}
    return lambda leaf: isinstance(leaf, str) and leaf.lower() in texts


def _but_wildcard(operand: object, path: str) -> _Test:
    wildcards = _any_of(operand, path, _wildcard)
    return lambda leaf: any(wildcard(leaf) for wildcard in wildcards)


_BUT: Final[Mapping[str, Callable[[object, str], _Test]]] = {
    "prefix": _but_prefix,
    "suffix": _but_suffix,
    "equals-ignore-case": _but_ignoring_case,
    "wildcard": _but_wildcard,
}


def _but_values(operand: object, path: str) -> _Test:
    values: list[Any] = [*operand] if isinstance(operand, list | tuple) else [operand]
    texts = frozenset(value for value in values if isinstance(value, str))
    numbers = frozenset(value for value in values if _is_number(value))
    kinds = sum(map(bool, (texts, numbers)))
    if kinds != 1 or any(not isinstance(value, str) and not _is_number(value) for value in values):
        raise InvalidPatternError(
            path, "allowed: texts or numbers, not both, or one of " + ", ".join(sorted(_BUT))
        )
    if texts:
        return lambda leaf: isinstance(leaf, str) and leaf in texts
    return lambda leaf: _is_number(leaf) and leaf in numbers


def _anything_but(operand: object, path: str) -> _Test:
    if isinstance(operand, Mapping):
        given = cast("Mapping[str, Any]", operand)
        if len(given) != 1 or not set(given) <= set(_BUT):
            raise InvalidPatternError(path, "allowed in it: one of " + ", ".join(sorted(_BUT)))
        ((name, inner),) = given.items()
        refused = _BUT[name](inner, f"{path}.{name}")
    else:
        refused = _but_values(operand, path)
    return lambda leaf: not refused(leaf)


_OPERATORS: Final[Mapping[str, Callable[[object, str], _Test]]] = {
    "anything-but": _anything_but,
    "cidr": _cidr,
    "equals-ignore-case": _ignoring_case,
    "numeric": _numeric,
    "prefix": _prefix,
    "suffix": _suffix,
    "wildcard": _wildcard,
}

_RESERVED: Final[Iterable[str]] = {*_OPERATORS, "exists", *_COMPARISONS}
"""Names that would turn members of `$or` into operators."""
