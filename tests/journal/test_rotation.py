"""A change of segment cut short at every phase: the folder as each leaves it, opened again.

The phases: old segment synced | header written to the spare | spare synced | spare renamed | directory synced | first
batch written. And segments whose header never arrived, which a journal must bear whoever made them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from recollectd.journal.interface import JournalCorrupt
from support.journal_images import OPTIONS, SegmentImage, contents, everything, lay_out, reopen, settle


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def full() -> SegmentImage:
    """Return a segment with no room for another entry of 2000 bytes."""
    image = SegmentImage().add(synced=0)
    for seq in range(4):
        image.add(b"%d" % seq * 2000, synced=seq)
    return image


def goes_on(directory: Path, entries: int) -> None:
    """Open, append enough to change the segment, close, open again."""
    journal = reopen(directory)
    before = everything(journal)
    assert len(before) == entries
    for _ in range(4):
        journal.append([b"n" * 2000], 10**6)
    settle(journal)
    journal.close()
    journal = reopen(directory)
    assert everything(journal) == before + [b"n" * 2000] * 4
    journal.close()


def test_old_segment_full_and_no_spare(directory: Path) -> None:
    goes_on(lay_out(directory, full()), 4)


def test_old_segment_synced_spare_empty(directory: Path) -> None:
    lay_out(directory, full())
    (directory / "spare-0.segment").write_bytes(bytes(OPTIONS.segment_bytes))
    goes_on(directory, 4)


@pytest.mark.parametrize("kept", [1, 40, 79, 80])
def test_header_in_the_spare(directory: Path, kept: int) -> None:
    old = full()
    lay_out(directory, old)
    new = old.successor()
    (directory / "spare-0.segment").write_bytes(new.header[:kept] + bytes(OPTIONS.segment_bytes - kept))
    goes_on(directory, 4)
    assert "spare-0.segment" not in contents(directory), "it was not used"


def test_spare_shorter_than_a_segment(directory: Path) -> None:
    lay_out(directory, full())
    (directory / "spare-0.segment").write_bytes(bytes(4096))
    goes_on(directory, 4)
    assert {len(data) for data in contents(directory).values()} == {OPTIONS.segment_bytes}


def test_spare_renamed(directory: Path) -> None:
    old = full()
    goes_on(lay_out(directory, old, old.successor()), 4)


@pytest.mark.parametrize("kept", [0, 1, 72, 500, 2000])
def test_first_batch_of_the_new_segment_torn(directory: Path, kept: int) -> None:
    old = full()
    new = old.successor().add(b"4" * 2000, synced=4)
    lay_out(directory, old, new)
    data = new.data()
    data[4096 + kept :] = bytes(len(data) - 4096 - kept)
    (directory / new.name).write_bytes(data)
    goes_on(directory, 4)


def test_first_batch_of_the_new_segment_whole(directory: Path) -> None:
    old = full()
    goes_on(lay_out(directory, old, old.successor().add(b"4" * 2000, synced=4)), 5)


@pytest.mark.parametrize("size", [0, 100, 4096, 16 * 1024])
def test_a_newest_segment_of_zeros_is_legal(directory: Path, size: int) -> None:
    old = full()
    lay_out(directory, old)
    empty = directory / old.successor().name
    empty.write_bytes(bytes(size))
    goes_on(directory, 4)
    assert len(empty.read_bytes()) == OPTIONS.segment_bytes


def test_a_newest_segment_of_zeros_behind_a_torn_one(directory: Path) -> None:
    old = full()
    lay_out(directory, old)
    data = old.data()
    data[old.offsets[-1] + 100 :] = bytes(len(data) - old.offsets[-1] - 100)
    (directory / old.name).write_bytes(data)
    (directory / old.successor().name).write_bytes(bytes(OPTIONS.segment_bytes))
    goes_on(directory, 3)


def test_zeros_with_anything_behind_them_are_damage(directory: Path) -> None:
    old = full()
    lay_out(directory, old)
    empty = directory / old.successor().name
    empty.write_bytes(bytes(9000) + b"x" + bytes(100))
    before = contents(directory)
    with pytest.raises(JournalCorrupt) as refusal:
        reopen(directory)
    assert (refusal.value.segment, refusal.value.offset) == (empty.name, 0)
    assert contents(directory) == before


def test_only_the_newest_segment_may_be_zeros(directory: Path) -> None:
    old = full()
    new = old.successor().add(b"4", synced=4)
    lay_out(directory, old, new)
    (directory / old.name).write_bytes(bytes(OPTIONS.segment_bytes))
    with pytest.raises(JournalCorrupt) as refusal:
        reopen(directory)
    assert (refusal.value.segment, refusal.value.offset) == (old.name, 0)


def test_a_journal_of_nothing_but_zeros_is_missing(directory: Path) -> None:
    directory.mkdir()
    (directory / "00000000000000000001.segment").write_bytes(bytes(4096))
    with pytest.raises(JournalCorrupt, match="missing"):
        reopen(directory)
