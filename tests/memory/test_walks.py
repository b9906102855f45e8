"""Walks over keys: order, prefixes, patterns, pages; and namespaces that never see each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memory.asking import NS, count, delete, put, put_many, raw, scan
from memory.harness import Store
from recollectd.protocol import limits
from recollectd.protocol.messages import logs
from recollectd.protocol.messages.fields import NIL

KEYS = [
    "",
    "a",
    "a\0",
    "a\0b",
    "aa",
    "a:1",
    "a:10",
    "a:2",
    "b",
    "z",
    "~",
    "\x7f",
    "ä",
    "ā",
    "世",
    "\ud7ff",
    "\U0001f600",
    "\U0010ffff",
]
KEYS = sorted(KEYS[1:], key=str.encode)


def pages(store: Store, **fields: Any) -> Iterator[Any]:
    cursor = b""
    for _ in range(1_000):
        page = store.read(scan(cursor=cursor, **fields))
        yield page
        cursor = page.cursor
        if not cursor:
            return
    raise AssertionError("the walk does not end")


def walked(store: Store, **fields: Any) -> list[str]:
    return [record.key for page in pages(store, **fields) for record in page.records]


@pytest.fixture
def store() -> Store:
    store = Store()
    store.write(put_many({key: key for key in KEYS}))
    for ns in (("acme",), ("acme", "agent", "x"), ("acme", "agen"), ("acme", "agent-7"), ("acme", "agenu"), ("b",)):
        store.write(put_many(dict.fromkeys(KEYS, "foreign"), ns))
    store.write(logs.LogAppend(NS, "a log", (raw(1),)))
    return store


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
def test_every_key_once_in_the_order_of_its_bytes(store: Store, limit: int, reverse: bool) -> None:
    expected = KEYS[::-1] if reverse else KEYS
    assert walked(store, limit=limit, reverse=reverse) == expected
    assert all(len(page.records) <= limit for page in pages(store, limit=limit, reverse=reverse))


@pytest.mark.parametrize("prefix", ["", "a", "a:", "a\0", "z", "\U0010ffff", "nothing", "a:10", "世"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
def test_a_prefix_narrows(store: Store, prefix: str, reverse: bool) -> None:
    expected = [key for key in KEYS if key.startswith(prefix)]
    assert walked(store, prefix=prefix, reverse=reverse, limit=2) == (expected[::-1] if reverse else expected)
    assert store.read(count(prefix=prefix)).count == len(expected)


@pytest.mark.parametrize(
    ("prefix", "pattern", "expected"),
    [
        ("", "*", KEYS),
        ("", "a:*", ["a:1", "a:10", "a:2"]),
        ("", "a:?", ["a:1", "a:2"]),
        ("", "?", [key for key in KEYS if len(key) == 1]),
        ("", "a:[12]", ["a:1", "a:2"]),
        ("", "a:[!1]", ["a:2"]),
        ("", "a:1", ["a:1"]),
        ("", "[", []),
        ("", "*b", ["a\0b", "b"]),
        ("", "a*0", ["a:10"]),
        ("a:1", "a:*", ["a:1", "a:10"]),
        ("a", "a:1*", ["a:1", "a:10"]),
        ("a:", "b*", []),
        ("b", "a*", []),
        ("a:", "*", ["a:1", "a:10", "a:2"]),
        ("", "A*", []),
        ("", "a", ["a"]),
    ],
)
def test_a_pattern_matches_whole_keys(store: Store, prefix: str, pattern: str, expected: list[str]) -> None:
    assert walked(store, prefix=prefix, pattern=pattern, limit=1) == expected
    assert walked(store, prefix=prefix, pattern=pattern, reverse=True) == expected[::-1]
    assert store.read(count(prefix=prefix, pattern=pattern)).count == len(expected)


def test_a_pattern_matches_special_characters_by_brackets(store: Store) -> None:
    for key in ("[x]", "x*", "x?", "x\ny", "*"):
        store.write(put(key))
    assert walked(store, pattern="[[]x]") == ["[x]"]
    assert walked(store, pattern="x[*]") == ["x*"]
    assert walked(store, pattern="x*") == ["x\ny", "x*", "x?"], "a line's end is a character as any"


def glob_matches(pattern: str, key: str) -> bool:
    """Globs, once more: by recursion over both."""
    if not pattern:
        return not key
    if pattern[0] == "*":
        return any(glob_matches(pattern[1:], key[at:]) for at in range(len(key) + 1))
    if not key:
        return False
    if pattern[0] == "?":
        return glob_matches(pattern[1:], key[1:])
    bracket = re.match(r"\[(!?)([ab-]+)\]", pattern)
    if bracket:
        inside = (key[0] in bracket[2]) != bool(bracket[1])
        return inside and glob_matches(pattern[bracket.end() :], key[1:])
    return pattern[0] == key[0] and glob_matches(pattern[1:], key[1:])


pieces = st.sampled_from(
    ["a", "b", "-", "]", "\0", "\\", ".", "(", "*", "?", "[ab]", "[!a]", "[b]", "[a-]", "|", "^", "$", "&&", "~~"]
)


@settings(max_examples=60)
@given(
    st.lists(pieces, max_size=6).map("".join),
    st.lists(st.text("ab-]\0\\.(*|^$&~", min_size=1, max_size=5), max_size=12),
)
@example("[a-]", ["a", "-", "b"])
def test_patterns_are_globs_whatever_is_in_them(pattern: str, keys: list[str]) -> None:
    store = Store()
    for key in keys:
        store.write(put(key))
    expected = sorted({key for key in keys if not pattern or glob_matches(pattern, key)}, key=str.encode)
    assert walked(store, pattern=pattern, limit=3) == expected


@settings(max_examples=100)
@given(st.text("[]!-ab\\&~|*^", max_size=12))
def test_no_pattern_fails(pattern: str) -> None:
    store = Store()
    store.write(put("ab"))
    walked(store, pattern=pattern)


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [("*a" * 512, True), ("*a" * 511 + "*b", False), ("[" * 1_024, False), ("*" * 1_024, True), ("?" * 1_024, True)],
    ids=["stars", "stars and a miss", "brackets", "stars alone", "any"],
)
def test_long_patterns_end(pattern: str, matches: bool) -> None:
    store = Store()
    store.write(put("a" * 1_024))
    assert len(walked(store, pattern=pattern)) == matches


def test_values_can_be_left_out(store: Store) -> None:
    store.write(put("a", "new"))
    full, narrow = (store.read(scan(values=values)).records for values in (True, False))
    assert [record.value for record in narrow] == [NIL] * len(KEYS)
    strip = [(each.key, each.version, each.created_at, each.updated_at, each.revision) for each in full]
    assert strip == [(each.key, each.version, each.created_at, each.updated_at, each.revision) for each in narrow]


def test_a_page_ends_after_so_many_bytes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAGE_BYTES_MAX", 1_000)
    keys = [f"large {index}" for index in range(9)]
    for key in keys:
        store.write(put(key, b"x" * 300))
    assert walked(store, prefix="large") == keys
    assert walked(store, prefix="large", reverse=True) == keys[::-1]
    assert [len(page.records) for page in pages(store, prefix="large")][:2] == [4, 4]


def test_a_walk_examines_a_bounded_number_of_heads_a_step(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tombstones and misses make a page short or empty, but it goes on; the bound holds for any limit."""
    monkeypatch.setattr(limits, "SCAN_KEYS_EXAMINED_MAX", 40)
    for index in range(100):
        store.write(put(f"k{index:03}", index))
    for index in range(95):
        store.write(delete(f"k{index:03}"))
    for limit in (1, 7, 100):
        seen = list(pages(store, prefix="k", limit=limit))
        assert [record.key for page in seen for record in page.records] == [f"k{index:03}" for index in range(95, 100)]
        assert len(seen) >= 3


def test_a_walk_examines_no_more_than_it_may(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SCAN_KEYS_EXAMINED_MAX", 40)
    store.write(put_many({f"k{index:03}": index for index in range(100)}))
    for limit in (1, 30, 1_000):
        view = store.view()
        walk, examined = view.walk, 0

        def counting(*args: Any, _walk: Any = walk, **kwargs: Any) -> Any:
            nonlocal examined
            rows = _walk(*args, **kwargs)
            examined += len(rows)
            return rows

        monkeypatch.setattr(view, "walk", counting)
        assert store.read(scan(prefix="k", pattern="*never", limit=limit), view=view).records == ()
        assert examined == 40


def test_a_count_goes_on_in_steps(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SCAN_KEYS_EXAMINED_MAX", 7)
    total, cursor, steps = 0, b"", 0
    while steps == 0 or cursor:
        counted = store.read(count(cursor=cursor))
        total, cursor, steps = total + counted.count, counted.cursor, steps + 1
    assert total == len(KEYS)
    assert steps == len(KEYS) // 7 + 1


def test_what_changes_during_a_walk_is_met_at_most_once(store: Store) -> None:
    walk = pages(store, limit=4)
    seen = [record.key for record in next(walk).records]
    store.write(delete(KEYS[5]))
    store.write(put(KEYS[0], "again"))
    store.write(put(KEYS[-1] + "new", 1))
    seen += [record.key for page in walk for record in page.records]
    assert seen == [*KEYS[:5], *KEYS[6:], KEYS[-1] + "new"]


def test_a_record_deleted_between_walk_and_values_is_left_out(store: Store) -> None:
    def overtake(step: int) -> None:
        if step == 0:
            store.write(delete("b"))

    page = store.read(scan(), before=overtake)
    assert [record.key for record in page.records] == [key for key in KEYS if key != "b"]
