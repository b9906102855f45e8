"""Tables of record ids: both ways, holes, and what is refused."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from recollectd._native.vector_ids import IdLog, IdTable, pack


@given(some.lists(some.binary(max_size=40), unique=True, max_size=60))
def test_every_id_is_found_at_its_row(ids: list[bytes]) -> None:
    table = IdTable(pack(ids))
    assert len(table) == len(ids)
    assert [table[row] for row in range(len(ids))] == ids
    assert [table.find(one) for one in ids] == [row if one else -1 for row, one in enumerate(ids)]
    assert table.find(b"an id of forty-one bytes that is not there") == -1


def test_holes_are_many() -> None:
    table = IdTable(pack([b"", b"a", b"", b""]))
    assert [table[row] for row in range(4)] == [b"", b"a", b"", b""]
    assert table.find(b"") == -1
    with pytest.raises(IndexError):
        table[4]


def test_an_id_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="rows 0 and 2 have one id"):
        pack([b"a", b"b", b"a"])


@pytest.mark.parametrize("length", [0, 15, 16, 20, 40])
def test_what_is_no_table_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="table of ids"):
        IdTable(pack([b"abc", b"defg", b"h"])[:length])


def test_on_disk_as_always() -> None:
    # A table of one slot less or another hash would not find what older files hold: do not change.
    header = "03" + "00" * 7 + "08" + "00" * 7
    offsets = "00000000020000000200000003000000"
    table = "0000000001000000" + "00000000" * 3 + "03000000" + "00000000" * 2
    assert pack([b"ab", b"", b"c"]).hex() == header + offsets + table + b"abc".hex()


def test_a_segments_rows_die_once() -> None:
    table, died = IdTable(pack([b"a", b"", b"b", b"c"])), np.zeros(4, np.uint64)
    assert table.kill_many([b"c", b"a", b"no", b""], died, 7) == [b"c", b"a"]
    assert table.kill_many([b"b", b"a"], died, 8) == [b"b"]
    assert died.tolist() == [7, 0, 8, 7]
    with pytest.raises(ValueError, match="death"):
        table.kill_many([b"a"], died[:3], 9)


def test_a_growing_table_says_what_a_dict_says() -> None:
    rng = random.Random(3)
    table, died = IdLog(9), np.zeros(20_000, np.uint64)
    rows: list[bytes] = []
    living: dict[bytes, int] = {}
    for seq in range(1, 400):
        ids = list({b"%d" % rng.randrange(3_000) for _ in range(rng.randrange(60))})
        if rng.random() < 0.4:
            assert table.kill_many(ids, died, seq) == [one for one in ids if one in living]
            for one in ids:
                if one in living:
                    assert died[living.pop(one)] == seq
        else:
            table.append(ids)
            living.update(zip(ids, range(len(rows), len(rows) + len(ids)), strict=True))
            rows += ids
        asked = [b"%d" % rng.randrange(3_000) for _ in range(20)]
        found = np.frombuffer(table.find_many(asked), np.uint64)
        assert found.tolist() == [living[one] for one in asked if one in living]
    assert len(table) == len(rows) > 5_000
    assert [table[row] for row in range(len(rows))] == rows


@pytest.mark.parametrize("expected", [0, 1, 10_000])
def test_room_kept_from_the_beginning_changes_nothing(expected: int) -> None:
    table = IdLog(1, expected)
    assert (len(table), table.find_many([b"", b"a"])) == (0, b"")
    table.append([b"", b"a", b"a"])
    assert [table[row] for row in range(3)] == [b"", b"a", b"a"]
    assert np.frombuffer(table.find_many([b"a", b""]), np.uint64).tolist() == [2, 0]
    with pytest.raises(IndexError):
        table[3]
    with pytest.raises(ValueError, match="death"):
        table.kill_many([b"a"], np.zeros(2, np.uint64), 1)
