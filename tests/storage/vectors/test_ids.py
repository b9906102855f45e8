"""Tables of record ids: both ways, holes, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from recollectd._native.vector_ids import IdTable, pack


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
