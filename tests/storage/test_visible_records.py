"""The table of records in sight beside a dict: what it says is true, what it forgets is bounded."""

from __future__ import annotations

import random

from recollectd._native.visible_records import VisibleRecords

MIB = 1 << 20


def test_it_says_what_a_dict_says() -> None:
    rng = random.Random(1)
    table, truth = VisibleRecords(MIB, 7), dict[bytes, int]()
    for _ in range(20_000):
        key, until = b"k%d" % rng.randrange(3_000), rng.randrange(100)
        if rng.random() < 0.7:
            table.keep(key, until)
            truth[key] = until
        else:
            table.forget(key)
            truth.pop(key, None)
    assert len(table) == len(truth)
    assert all(table.until(b"k%d" % n) == truth.get(b"k%d" % n, -1) for n in range(3_000))
    table.clear()
    assert (len(table), table.until(b"k1")) == (0, -1)


def test_it_keeps_to_its_memory() -> None:
    table = VisibleRecords(64 * 1024, 7)
    for number in range(20_000):
        table.keep(b"%d" % number, number)
    assert table.memory_bytes <= 64 * 1024
    kept = [number for number in range(20_000) if table.until(b"%d" % number) != -1]
    assert len(kept) == len(table)
    assert 1_500 < len(kept) <= 64 * 1024 // 16
    assert all(table.until(b"%d" % number) == number for number in kept)
    nothing = VisibleRecords(0, 7)
    nothing.keep(b"a", 0)
    nothing.clear()
    assert (nothing.until(b"a"), nothing.memory_bytes, nothing.all_visible(b"", [(b"a", 1.0)], 0)) == (-1, 0, False)


def test_all_hits_must_be_in_sight() -> None:
    table = VisibleRecords(MIB, 7)
    table.keep(b"pa", 0)
    table.keep(b"pb", 10)
    assert table.all_visible(b"p", [(b"a", 1.0), (b"b", 0.5)], 9)
    assert not table.all_visible(b"p", [(b"a", 1.0), (b"b", 0.5)], 10)
    assert not table.all_visible(b"p", [(b"a", 1.0), (b"c", 0.5)], 9)
    assert table.all_visible(b"p", [], 9)
