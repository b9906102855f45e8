"""The index alone: what it refuses, and what it keeps while parts change under it."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from recollectd._native.keyword_index import KeywordIndex

Change = tuple[bytes, bytes, tuple[bytes | None, ...] | None]


def packed(**terms: int) -> bytes:
    """Pack a field of terms and their occurrences, all small."""
    content = bytes([sum(terms.values())])
    for term, occurrences in terms.items():
        content += bytes([len(term)]) + term.encode() + bytes([occurrences])
    return content


def found(index: KeywordIndex, term: bytes = b"ship", scope: bytes = b"s") -> list[bytes]:
    return [name for name, _ in index.search(scope, [term], [(0, 1.0)], 100, 1.2, 0.75)]


def write(index: KeywordIndex, path: Path, segments: list[int], number: int, seq: int) -> None:
    merge = index.merge_begin(segments, seq)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        index.merge_write(merge, descriptor)
        assert os.fstat(descriptor).st_size == merge.file_bytes
        index.merge_install(merge, number, descriptor)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80",
        b"\x01\x04shi",
        b"\x01\x04ship",
        b"\x01\x04ship\x80",
        b"\xff" * 11,
        b"\xff\xff\xff\xff\x0f",
        b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    ],
)
def test_a_field_that_is_not_packed_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="packed"):
        KeywordIndex(1).apply(1, [(b"s", b"a", (content,))])


def test_changes_of_another_form_are_refused() -> None:
    index = KeywordIndex(2)
    bad: list[object] = [
        (b"s", b"a", (packed(ship=1),)),
        (b"s", b"a", [packed(ship=1), None]),
        (b"s", b"a", ("text", None)),
        ("s", b"a", None),
        (b"s", None, None),
        (b"s", b"a"),
    ]
    for change in bad:
        with pytest.raises((ValueError, TypeError)):
            index.apply(1, [(b"s", b"x", (packed(ship=1), None)), change])  # type: ignore[list-item]
    assert index.totals()[:3] == (0, 0, 0)


def test_field_numbers_are_checked() -> None:
    index = KeywordIndex(1)
    with pytest.raises(ValueError, match="no field 1"):
        index.search(b"s", [b"ship"], [(1, 1.0)], 5, 1.2, 0.75)
    for count in (0, 17):
        with pytest.raises(ValueError, match="1 to 16"):
            KeywordIndex(count)


def test_locations_stay_true_through_many_removals() -> None:
    """The table of locations closes its gaps: every document is found again to be removed."""
    rng = random.Random(3)
    index, there = KeywordIndex(1), set[bytes]()
    for seq in range(1, 20_000):
        name = b"%d" % rng.randrange(3000)
        if name in there and rng.random() < 0.6:
            there.remove(name)
            index.apply(seq, [(b"s", name, None)])
        else:
            there.add(name)
            index.apply(seq, [(b"s", name, (packed(ship=1),))])
        assert index.totals()[2] == len(there)
    hits = index.search(b"s", [b"ship"], [(0, 1.0)], 5000, 1.2, 0.75)
    assert {name for name, _ in hits} == there


def test_what_dies_while_a_segment_is_written_is_dead_in_it(tmp_path: Path) -> None:
    index = KeywordIndex(1)
    index.apply(1, [(b"s", b"%d" % number, (packed(ship=1),)) for number in range(6)])
    index.apply(2, [(b"s", b"0", None)])
    assert index.freeze() == 2
    index.apply(3, [(b"s", b"1", None), (b"s", b"2", (packed(oak=1),))])
    merge = index.merge_begin([], 2)
    index.apply(4, [(b"s", b"3", None)])
    with (tmp_path / "one").open("w+b") as file:
        index.merge_write(merge, file.fileno())
        index.apply(5, [(b"s", b"4", None)])
        index.merge_install(merge, 1, file.fileno())
    assert merge.documents == 5
    assert found(index) == [b"5"]
    assert index.segment_size(1) == (5, 4)
    assert [len(index.segment_dead(1, seq)) // 8 for seq in (2, 3, 4, 5)] == [0, 2, 3, 4]
    index.apply(6, [(b"s", b"5", None)])
    assert found(index) == []
    assert found(index, b"oak") == [b"2"]


def test_merging_everything_away_leaves_no_segment_and_no_scope(tmp_path: Path) -> None:
    index = KeywordIndex(1)
    index.apply(1, [(b"s", b"a", (packed(ship=1),))])
    index.freeze()
    write(index, tmp_path / "one", [], 1, 1)
    index.apply(2, [(b"s", b"a", None)])
    write(index, tmp_path / "two", [1], 2, 2)
    assert index.totals()[1:3] == (0, 0)
    for number in (1, 2):
        with pytest.raises(KeyError):
            index.segment_size(number)


def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    index = KeywordIndex(1)
    index.apply(1, [(b"s", b"a", (packed(ship=1),))])
    index.freeze()
    merge = index.merge_begin([], 1)
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OSError, match="No space"):
            index.merge_write(merge, descriptor)
    finally:
        os.close(descriptor)
    write(index, tmp_path / "one", [], 1, 1)
    assert found(index) == [b"a"]


def test_a_long_text_and_a_long_id_fit() -> None:
    index = KeywordIndex(1)
    count = 100_000
    content = b"\xa0\x8d\x06" + b"".join(b"\x05%05d\x01" % number for number in range(count))
    index.apply(1, [(b"s", b"x" * 70_000, (content,)), (b"s", b"y", (packed(ship=1),))])
    assert found(index, b"99999") == [b"x" * 70_000]


def test_memory_is_counted() -> None:
    index = KeywordIndex(1)
    empty = index.totals()[6]
    index.apply(1, [(b"s", b"%d" % number, (packed(**{f"w{number}": 1}),)) for number in range(5_000)])
    _, scopes, documents, delta_documents, delta_bytes, frozen, memory = index.totals()
    assert (scopes, documents, delta_documents, frozen) == (1, 5_000, 5_000, 0)
    assert 5_000 * 80 < delta_bytes < 5_000 * 1_000
    assert memory > empty + delta_bytes
