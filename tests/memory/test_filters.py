"""The filter grammar against a plain evaluation of the same tree, and text that is no filter."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from recollectd.memory.memories.filters import EARTH_RADIUS_M, FIELD_NAMES, Subject, parse
from recollectd.memory.memories.heads import MemoryBody, MemoryHead
from recollectd.protocol import errors, limits, prose

Tree = tuple[Any, ...]

scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from([0.5, 1.0, -2.5]) | st.sampled_from('ab"é\\')
values = scalars | st.lists(scalars, max_size=3)
TIMES = ("valid_at", "created_at", "updated_at", "expires_at", "forgotten_at", "superseded_at")
fields = st.sampled_from([name for name in FIELD_NAMES if name != "metadata"]) | st.lists(
    st.sampled_from(["a", "b", "odd name", "ü"]), min_size=1, max_size=2
).map(tuple)
operators = st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "contains"])
times = st.integers(0, 3)
tests = st.one_of(
    st.tuples(operators, fields.filter(lambda field: field not in TIMES), values),
    st.tuples(operators, st.sampled_from(TIMES), times),
    st.tuples(st.just("in"), fields.filter(lambda field: field not in TIMES), st.lists(values, max_size=3)),
    st.tuples(st.just("in"), st.sampled_from(TIMES), st.lists(times, max_size=3)),
    st.tuples(st.just("exists"), fields),
    st.tuples(st.just("within"), st.sampled_from([(0, 0), (10, 10), (90, 0)]), st.sampled_from([1, 1_600_000, 1.9e7])),
)
trees = st.recursive(
    tests,
    lambda inner: st.one_of(
        st.tuples(st.just("and"), inner, inner),
        st.tuples(st.just("or"), inner, inner),
        st.tuples(st.just("not"), inner),
    ),
    max_leaves=8,
)
subjects = st.builds(
    lambda metadata, role, head, **told: Subject(
        "m", MemoryHead(3, 1, 1, **head), MemoryBody(metadata=Raw(msgspec.msgpack.encode(metadata)), **told), role
    ),
    role=st.sampled_from(["", "user", "a"]),
    head=st.fixed_dictionaries(
        {
            **dict.fromkeys(["created_at", "updated_at", "expires_at", "forgotten_at", "superseded_at"], times),
            "superseded_by": st.sampled_from(["", "a", "ab"]),
        }
    ),
    metadata=st.dictionaries(
        st.sampled_from(["a", "b", "odd name", "ü"]),
        values | st.dictionaries(st.sampled_from(["a", "b"]), scalars),
        max_size=3,
    ),
    text=st.sampled_from(["a", "bab", "é"]),
    kind=st.sampled_from(["", "a"]),
    importance=st.sampled_from([None, 0.5, 1.0]),
    pinned=st.booleans(),
    valid_at=st.none() | times,
    place=st.sampled_from([None, (0.0, 0.0), (10.0, 10.0), (-90.0, 0.0)]),
    derived_from=st.sampled_from([(), ("a",), ("a", "b")]),
    conversation_id=st.sampled_from([None, "a"]),
)


def shown(tree: Tree) -> str:
    """Return the text of a tree."""
    match tree:
        case ("and" | "or" as word, left, right):
            return f"({shown(left)}) {word} ({shown(right)})"
        case ("not", inner):
            return f"not ({shown(inner)})"
        case ("exists", field):
            return f"{named(field)} exists"
        case ("within", (latitude, longitude), metres):
            return f"place within [{latitude}, {longitude}, {metres}]"
        case (operator, field, literal):
            return f"{named(field)} {operator} {json.dumps(literal)}"
    raise AssertionError(tree)


def named(field: Any) -> str:
    return field if isinstance(field, str) else "metadata" + "".join(f"[{json.dumps(each)}]" for each in field)


def value_of(subject: Subject, field: Any) -> list[Any]:
    """Return the field's value in a list, an empty list where it is absent."""
    body = subject.body
    if isinstance(field, tuple):
        value: Any = msgspec.msgpack.decode(body.metadata) if body.metadata is not None else {}
        for part in field:
            if not isinstance(value, dict) or part not in value:
                return []
            value = value[part]
        return [value]
    told = {"memory_id": subject.memory_id, "role": subject.role or None}
    value = told[field] if field in told else getattr(body, field, getattr(subject.head, field, None))
    if field in ("expires_at", "forgotten_at", "superseded_at", "superseded_by"):
        value = value or None
    return [] if value is None else [list(value) if isinstance(value, tuple) else value]


def same(left: Any, right: Any) -> bool:
    """Return whether two values are equal, written by way of JSON's types."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(same(*pair) for pair in zip(left, right, strict=True))
    if isinstance(left, bool) or isinstance(right, bool) or left is None or right is None:
        return left is right
    if isinstance(left, str) is not isinstance(right, str) or isinstance(left, (list, dict)) or isinstance(right, list):
        return False
    return bool(left == right)


def orderable(left: Any, right: Any) -> bool:
    numbers = all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in (left, right))
    return numbers or (isinstance(left, str) and isinstance(right, str))


def holds(tree: Tree, subject: Subject) -> bool:
    """Evaluate a tree in plain Python."""
    match tree:
        case ("and", left, right):
            return holds(left, subject) and holds(right, subject)
        case ("or", left, right):
            return holds(left, subject) or holds(right, subject)
        case ("not", inner):
            return not holds(inner, subject)
        case ("exists", field):
            return bool(value_of(subject, field))
        case ("within", centre, metres):
            return subject.body.place is not None and angle(subject.body.place, centre) * EARTH_RADIUS_M <= metres
        case ("!=", field, literal):
            return not holds(("==", field, literal), subject)
    operator, field, literal = tree
    for value in value_of(subject, field):
        match operator:
            case "==":
                return same(value, literal)
            case "in":
                return any(same(value, each) for each in literal)
            case "contains" if isinstance(value, list):
                return any(same(each, literal) for each in value)
            case "contains":
                return isinstance(value, str) and isinstance(literal, str) and value.find(literal) >= 0
        if not orderable(value, literal):
            return False
        signs = {"<": (-1,), "<=": (-1, 0), ">": (1,), ">=": (1, 0)}
        return (value > literal) - (value < literal) in signs[operator]
    return False


def angle(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Return the angle between two places by their vectors: another way than haversines."""

    def unit(place: tuple[float, float]) -> tuple[float, float, float]:
        latitude, longitude = map(math.radians, place)
        flat = math.cos(latitude)
        return flat * math.cos(longitude), flat * math.sin(longitude), math.sin(latitude)

    dot = sum(left * right for left, right in zip(unit(one), unit(other), strict=True))
    return math.acos(max(-1.0, min(1.0, dot)))


@settings(max_examples=500)
@given(tree=trees, subject=subjects)
def test_filters_mean_what_the_table_says(tree: Tree, subject: Subject) -> None:
    predicate = parse(shown(tree))
    assert predicate is not None
    assert predicate(subject) is holds(tree, subject), shown(tree)


pieces = st.sampled_from([*FIELD_NAMES, *'()[].,<>=!"', " and ", " or ", " 1"])


@given(st.text(max_size=40) | st.lists(pieces).map("".join))
def test_any_text_is_a_filter_or_refused_by_name(text: str) -> None:
    with suppress(errors.InvalidArgument):
        parse(text)


def test_precedence_is_not_then_and_then_or() -> None:
    subject = Subject("m", MemoryHead(1, 1, 1, 0, 0), MemoryBody("t"))
    yes, no = "version == 1", "version == 2"
    for text, expected in (
        (f"{yes} or {no} and {no}", True),
        (f"({yes} or {no}) and {no}", False),
        (f"not {no} and {yes}", True),
        (f"not ({no} or {yes})", False),
        (f"not not {yes}", True),
    ):
        predicate = parse(text)
        assert predicate is not None
        assert predicate(subject) is expected


def test_times_may_be_iso_text() -> None:
    subject = Subject("m", MemoryHead(1, 1, 1, 0, 0), MemoryBody("t", valid_at=1_700_000_000_000_000))
    for text, expected in (
        ('valid_at == "2023-11-14T22:13:20Z"', True),
        ('valid_at == "2023-11-14T22:13:20"', True),
        ('valid_at < "2023-11-14T23:13:21+01:00"', True),
        ('valid_at in ["2023-11-14T22:13:20+00:00"]', True),
        ('valid_at >= "2024-01-01"', False),
    ):
        predicate = parse(text)
        assert predicate is not None
        assert predicate(subject) is expected, text


def test_the_protocol_names_every_field() -> None:
    fields_told = prose.FILTERS[prose.FILTERS.index("Fields: ") :].partition(" are absent")[0]
    named_there = set(re.findall(r"`(\w+)`", fields_told))
    assert named_there == set(FIELD_NAMES)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind == 'a'", "text stands in double quotes at character 8"),
        ('kind = "a"', "`==` compares at character 5"),
        ('kind == "a', "closing quote at character 8"),
        ('kind == "a" && pinned == true', "it is `and` at character 12"),
        ('kind == "a" || pinned == true', "it is `or` at character 12"),
        ("! pinned == true", "it is `not`"),
        ('kind ~ "a"', "what is this?"),
        ("importance > 0.5 and", "expected one of memory_id"),
    ],
)
def test_a_refusal_says_what_to_write(text: str, says: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=re.escape(says)) as refused:
        parse(text)
    assert refused.value.field == "filter"


@pytest.mark.parametrize(
    "text",
    [
        'kind = "a"',
        "kind ==",
        "nobody == 1",
        "metadata. == 1",
        "metadata[1] == 1",
        'kind in "a"',
        "kind within [1, 2, 3]",
        "place within [1, 2]",
        "place within [91, 0, 1]",
        "place within [0, 0, -1]",
        'valid_at > "yesterday"',
        '(kind == "a"',
        'kind == "a")',
        'kind == "a" kind == "b"',
        'kind == "\\x"',
        "not",
        "(" * (limits.FILTER_DEPTH_MAX + 1) + "pinned exists" + ")" * (limits.FILTER_DEPTH_MAX + 1),
        "kind in " + "[" * 40 + "]" * 40,
        'kind == "' + "a" * limits.FILTER_BYTES_MAX + '"',
    ],
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        parse(text)
    assert refused.value.field == "filter"


def test_the_empty_filter_is_none() -> None:
    assert parse("") is None
    assert parse("  ") is None
