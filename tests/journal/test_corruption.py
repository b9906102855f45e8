"""Damage to what was acknowledged is never repaired, skipped or overwritten: the journal refuses and says where."""

from __future__ import annotations

from pathlib import Path

import pytest

from recollectd.journal.interface import JournalCorrupt, JournalError, JournalUnsupported
from recollectd.journal.reader import read_batches
from recollectd.journal.segments import Segment
from support.journal_images import (
    OPTIONS,
    STORE_ID,
    SegmentImage,
    begin,
    contents,
    everything,
    lay_out,
    reopen,
    settle,
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def acknowledged() -> SegmentImage:
    """Return a segment whose last batch shows that all before it was durable."""
    return SegmentImage().add(synced=0).add(b"a", b"bc", synced=0).add(b"d", synced=2).add(synced=3).add(b"e", synced=3)


def refuses(directory: Path, kind: type[JournalError] = JournalCorrupt) -> JournalError:
    """Open the journal, which must fail and change nothing; return the refusal."""
    before = contents(directory)
    with pytest.raises(kind) as refusal:
        reopen(directory)
    assert contents(directory) == before
    return refusal.value


def assert_refused_at(directory: Path, segment: str, offset: int, reason: str = "") -> None:
    refusal = refuses(directory)
    assert isinstance(refusal, JournalCorrupt)
    assert (refusal.segment, refusal.offset) == (segment, offset)
    assert reason in refusal.reason
    assert segment in str(refusal)
    assert str(offset) in str(refusal)


def test_the_undamaged_journal_opens(directory: Path) -> None:
    lay_out(directory, acknowledged())
    journal = reopen(directory)
    assert everything(journal) == [b"a", b"bc", b"d", b"e"]
    journal.close()


@pytest.mark.parametrize("batch", range(4), ids=["opening seal", "two entries", "one entry", "seal"])
def test_a_flip_of_every_byte_of_an_acknowledged_batch(directory: Path, batch: int) -> None:
    image = acknowledged()
    lay_out(directory, image)
    offset = image.offsets[batch]
    for position in range(offset, offset + len(image.batches[batch])):
        data = image.data()
        data[position] ^= 1 << position % 8
        (directory / image.name).write_bytes(data)
        assert_refused_at(directory, image.name, offset, "shows that it was durable")


@pytest.mark.parametrize("batch", range(4))
def test_a_page_of_zeros_where_an_acknowledged_batch_was(directory: Path, batch: int) -> None:
    image = acknowledged()
    lay_out(directory, image)
    data = image.data()
    data[image.offsets[batch] : image.offsets[batch + 1]] = bytes(len(image.batches[batch]))
    (directory / image.name).write_bytes(data)
    assert_refused_at(directory, image.name, image.offsets[batch])


@pytest.mark.parametrize("position", range(80))
def test_a_flip_of_every_byte_of_a_segment_header(directory: Path, position: int) -> None:
    image = acknowledged()
    lay_out(directory, image)
    data = image.data()
    data[position] ^= 0x20
    (directory / image.name).write_bytes(data)
    assert_refused_at(directory, image.name, 0)


def test_a_batch_taken_out_of_the_middle(directory: Path) -> None:
    image = acknowledged()
    del image.batches[1]
    lay_out(directory, image)
    assert_refused_at(directory, image.name, image.offsets[1], "a gap: seq 0 is followed by 3")


def test_a_sealing_batch_taken_out_of_the_middle(directory: Path) -> None:
    """No seq is missing then; the chain tells."""
    image = acknowledged()
    del image.batches[3]
    lay_out(directory, image)
    assert_refused_at(directory, image.name, image.offsets[3], "chain")


def test_a_batch_from_another_time(directory: Path) -> None:
    """Whole, in this segment, with the right seq, but written after something else."""
    image = acknowledged()
    other = SegmentImage().add(synced=0).add(b"X", b"YZ", synced=0).add(b"d", synced=2)
    image.batches[2] = other.batches[2]
    lay_out(directory, image)
    assert_refused_at(directory, image.name, image.offsets[2], "chain")


def test_epochs_never_fall(directory: Path) -> None:
    image = SegmentImage(epoch=5).add(synced=0).add(b"a", synced=0, epoch=4)
    lay_out(directory, image)
    assert_refused_at(directory, image.name, image.offsets[1], "epoch 4 follows epoch 5")


def test_a_batch_cannot_vouch_for_itself(directory: Path) -> None:
    image = SegmentImage().add(synced=0).add(b"a", synced=1)
    lay_out(directory, image)
    assert_refused_at(directory, image.name, image.offsets[1], "before it was written")


def three_segments() -> tuple[SegmentImage, SegmentImage, SegmentImage]:
    first = SegmentImage().add(synced=0).add(b"1", synced=0).add(b"2", synced=1)
    second = first.successor().add(b"3", synced=2).add(synced=3)
    third = second.successor().add(b"4", synced=3)
    return first, second, third


def test_three_segments_are_one_journal(directory: Path) -> None:
    lay_out(directory, *three_segments())
    journal = reopen(directory)
    assert everything(journal) == [b"1", b"2", b"3", b"4"]
    journal.close()


def test_the_oldest_segments_may_be_gone(directory: Path) -> None:
    _, second, third = three_segments()
    lay_out(directory, second, third)
    journal = reopen(directory)
    assert journal.first_seq == 3
    assert everything(journal) == [b"3", b"4"]
    journal.close()


def test_a_segment_missing_in_the_middle_is_a_gap(directory: Path) -> None:
    first, _, third = three_segments()
    lay_out(directory, first, third)
    assert_refused_at(directory, first.name, first.end, f"a gap: seq 2 is followed by segment {third.name}")


@pytest.mark.parametrize("batch", range(3))
def test_damage_in_a_segment_with_a_successor(directory: Path, batch: int) -> None:
    """Nothing in the segment itself may prove it; that there is a next one does."""
    first, second, third = three_segments()
    lay_out(directory, first, second, third)
    offset = first.offsets[batch]
    for position in (offset, offset + 71, offset + len(first.batches[batch]) - 1):
        data = first.data()
        data[position] ^= 4
        (directory / first.name).write_bytes(data)
        assert_refused_at(directory, first.name, offset)


def test_a_seal_missing_at_the_end_of_a_segment(directory: Path) -> None:
    first, second, third = three_segments()
    last = second.batches.pop()
    lay_out(directory, first, second, third)
    assert last
    assert_refused_at(directory, second.name, second.offsets[1])


def test_a_segment_that_does_not_continue_the_one_before(directory: Path) -> None:
    first, second, _ = three_segments()
    lay_out(directory, first, SegmentImage(3, previous=first.previous ^ 1).add(b"3", synced=2))
    assert_refused_at(directory, first.name, first.end)
    lay_out(directory, first, SegmentImage(3, previous=first.previous, epoch=0).add(b"3", synced=2))
    assert_refused_at(directory, second.name, 0, "epoch 0 follows epoch 1")


def test_a_renamed_segment(directory: Path) -> None:
    image = acknowledged()
    lay_out(directory, image)
    (directory / image.name).rename(directory / "00000000000000000002.segment")
    assert_refused_at(directory, "00000000000000000002.segment", 0, "begins with seq 1")


def test_a_journal_of_another_store(directory: Path) -> None:
    image = SegmentImage(store_id=STORE_ID[::-1]).add(b"a", synced=0)
    lay_out(directory, image)
    assert_refused_at(directory, image.name, 0, f"another store, {STORE_ID[::-1].hex()}")


def test_an_oldest_segment_cut_short(directory: Path) -> None:
    first, second, third = three_segments()
    lay_out(directory, first, second, third)
    with (directory / first.name).open("r+b") as file:
        file.truncate(first.offsets[2] + 10)
    assert_refused_at(directory, first.name, first.offsets[2])


def test_a_newer_format_is_refused_by_its_name(directory: Path) -> None:
    image = SegmentImage().add(synced=0).add(b"a", synced=0, number=2)
    lay_out(directory, image)
    assert "batch format 2" in str(refuses(directory, JournalUnsupported))


def test_damage_found_while_reading_stops_the_reader(directory: Path) -> None:
    journal = begin(directory)
    for entry in (b"first", b"second", b"third"):
        journal.append([entry], 1)
        settle(journal)
    name = "00000000000000000001.segment"
    data = bytearray((directory / name).read_bytes())
    data[data.index(b"second")] ^= 1
    (directory / name).write_bytes(data)
    reading = journal.read(1)
    assert next(reading).entries == (b"first",)
    with pytest.raises(JournalCorrupt) as refusal:
        next(reading)
    assert (refusal.value.segment, refusal.value.offset) == (name, 4096 + 72 + 72 + 16)
    journal.close()


def test_a_reader_notices_a_batch_from_another_time(directory: Path) -> None:
    image = acknowledged()
    other = SegmentImage().add(synced=0).add(b"X", b"YZ", synced=0).add(b"d", synced=2)
    image.batches[2] = other.batches[2]
    lay_out(directory, image)
    reading = read_batches(1, lambda: [Segment(directory / image.name, 1, OPTIONS.segment_bytes)], lambda: 4)
    assert next(reading).entries == (b"a", b"bc")
    with pytest.raises(JournalCorrupt, match=f"offset {image.offsets[2]}"):
        next(reading)


def test_files_that_are_no_segments_are_left_alone(directory: Path) -> None:
    lay_out(directory, acknowledged())
    (directory / "notes.txt").write_text("keep")
    (directory / "1.segment").write_bytes(b"not one of ours")
    reopen(directory, OPTIONS).close()
    assert {"notes.txt", "1.segment"} <= set(contents(directory))
