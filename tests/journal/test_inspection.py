"""What `journal inspect` shows: of whole journals, of damaged ones, of one in use; and that it never writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from recollectd.journal.inspection import (
    UNFINISHED,
    BatchReport,
    EntryReport,
    SegmentReport,
    inspect_journal,
    list_spare_files,
)
from support.journal_images import (
    OPTIONS,
    STORE_ID,
    SegmentImage,
    begin,
    contents,
    lay_out,
    settle,
    until,
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def inspect(directory: Path, from_seq: int = 1) -> tuple[list[SegmentReport], list[BatchReport]]:
    """Return what is reported, and make sure that nothing was touched."""
    before = contents(directory)
    reports = list(inspect_journal(directory, from_seq=from_seq))
    assert contents(directory) == before
    return (
        [report for report in reports if isinstance(report, SegmentReport)],
        [report for report in reports if isinstance(report, BatchReport)],
    )


def two_segments() -> tuple[SegmentImage, SegmentImage]:
    first = SegmentImage().add(synced=0).add(b"a", b"bc", synced=0).add(synced=2)
    return first, first.successor(epoch=2).add(b"d", synced=2)


def test_a_whole_journal(directory: Path) -> None:
    first, second = two_segments()
    lay_out(directory, first, second)
    segments, batches = inspect(directory)
    assert segments == [
        SegmentReport(first.name, OPTIONS.segment_bytes, 1, 1, 1, STORE_ID.hex(), ""),
        SegmentReport(second.name, OPTIONS.segment_bytes, 2, 3, 1, STORE_ID.hex(), ""),
    ]
    assert [batch.problem for batch in batches] == [""] * 4
    assert [(batch.segment, batch.offset) for batch in batches] == [
        *((first.name, offset) for offset in first.offsets),
        (second.name, second.offsets[0]),
    ]
    assert [batch.sealing for batch in batches] == [True, False, True, False]
    two = batches[1]
    assert (two.epoch, two.first_seq, two.entry_count, two.time_us, two.synced_seq, two.bytes) == (1, 1, 2, 1, 0, 88)
    assert two.entries == (EntryReport(1, 1, 1, False, None), EntryReport(2, 2, 2, False, None))


def test_entries_are_decoded_by_the_caller(directory: Path) -> None:
    lay_out(directory, *two_segments())

    def decode(entry: bytes) -> str:
        if entry == b"d":
            raise ValueError("strange")
        return entry.decode().upper()

    reports = inspect_journal(directory, decode=decode)
    entries = [entry for report in reports if isinstance(report, BatchReport) for entry in report.entries]
    assert [entry.decoded for entry in entries] == ["A", "BC", "cannot be decoded: strange"]


def test_compressed_entries_show_both_sizes(directory: Path) -> None:
    journal = begin(directory)
    journal.append([b"x" * 9000], 1)
    settle(journal)
    journal.close()
    _, batches = inspect(directory)
    (entry,) = batches[1].entries
    assert (entry.seq, entry.bytes, entry.compressed) == (1, 9000, True)
    assert entry.stored_bytes < 100


def test_from_a_seq_on(directory: Path) -> None:
    first, second = two_segments()
    lay_out(directory, first, second)
    segments, batches = inspect(directory, 2)
    assert [segment.segment for segment in segments] == [first.name, second.name]
    assert [(batch.first_seq, batch.entry_count) for batch in batches] == [(1, 2), (3, 0), (3, 1)]
    segments, batches = inspect(directory, 3)
    assert [segment.segment for segment in segments] == [second.name]
    assert [batch.first_seq for batch in batches] == [3]


@pytest.mark.parametrize("position", [0, 20, 60, 68])
def test_behind_a_damaged_header_inspection_goes_on(directory: Path, position: int) -> None:
    first, second = two_segments()
    lay_out(directory, first, second)
    data = first.data()
    data[first.offsets[1] + position] ^= 1
    (directory / first.name).write_bytes(data)
    segments, batches = inspect(directory)
    assert [segment.problem for segment in segments] == ["", ""]
    problems = {batch.offset: batch.problem for batch in batches if batch.segment == first.name}
    assert problems.pop(first.offsets[1])
    assert problems == {first.offsets[0]: "", first.offsets[2]: ""}


def test_a_damaged_payload_keeps_its_header(directory: Path) -> None:
    first, second = two_segments()
    lay_out(directory, first, second)
    data = first.data()
    data[first.offsets[1] + 80] ^= 1
    (directory / first.name).write_bytes(data)
    _, batches = inspect(directory)
    assert (batches[1].first_seq, batches[1].entry_count, batches[1].entries) == (1, 2, ())
    assert batches[1].problem == "the batch's checksum does not match"


def test_a_damaged_segment_header_hides_no_batches(directory: Path) -> None:
    first, second = two_segments()
    lay_out(directory, first, second)
    data = first.data()
    data[20] ^= 1
    (directory / first.name).write_bytes(data)
    segments, batches = inspect(directory)
    assert [bool(segment.problem) for segment in segments] == [True, False]
    assert [batch.problem for batch in batches] == [""] * 4


def test_gaps_and_foreign_batches_are_named(directory: Path) -> None:
    first, second = two_segments()
    third = second.successor().add(b"e", synced=3)
    lay_out(directory, first, third)
    segments, batches = inspect(directory)
    assert [segment.problem for segment in segments] == ["", "a gap: seq 3 is due, 4 is here"]
    other = SegmentImage().add(synced=0).add(b"X", b"YZ", synced=0)
    first.batches[1] = other.batches[1]
    lay_out(directory, first)
    _, batches = inspect(directory)
    assert "chain is broken" in batches[2].problem


def test_a_torn_tail_is_called_unfinished(directory: Path) -> None:
    first, second = two_segments()
    data = second.data()
    data[second.offsets[0] + 70 : second.end] = bytes(second.end - second.offsets[0] - 70)
    lay_out(directory, first, second)
    (directory / second.name).write_bytes(data)
    _, batches = inspect(directory)
    assert [batch.problem for batch in batches] == ["", "", "", UNFINISHED]
    (directory / second.name).unlink()
    data = first.data()
    data[first.offsets[1]] ^= 1
    (directory / first.name).write_bytes(data)
    _, batches = inspect(directory)
    assert [batch.problem for batch in batches] == ["", "no batch begins here", ""]


def test_a_running_journal_shows_no_problem(directory: Path) -> None:
    journal = begin(directory)
    for seq in range(300):
        journal.append([b"%d" % seq * 30], seq)
        if seq % 10 == 0:
            for report in inspect_journal(directory, from_seq=max(seq - 20, 1)):
                assert report.problem in ("", UNFINISHED)
    settle(journal)
    assert not any(report.problem for report in inspect_journal(directory))
    journal.close()


def test_spare_files_are_listed(directory: Path) -> None:
    journal = begin(directory)
    journal.append([os.urandom(9000)], 1)
    until(lambda: journal.statistics().spare_bytes)
    ((name, size),) = list_spare_files(directory)
    assert name.startswith("spare-")
    assert size == OPTIONS.segment_bytes
    journal.close()


def test_no_folder_is_no_journal(directory: Path) -> None:
    assert list(inspect_journal(directory)) == []
