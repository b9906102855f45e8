"""What a journal promises when nothing goes wrong."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

import pytest

from recollectd.journal import local
from recollectd.journal.interface import (
    Batch,
    Journal,
    JournalCorrupt,
    JournalOptions,
    JournalTrimmed,
    Progress,
)
from recollectd.journal.local import open_journal
from support.journal_images import OPTIONS, STORE_ID, begin, contents, everything, reopen, settle, until


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def test_a_fresh_journal_is_empty(directory: Path) -> None:
    journal: Journal = begin(directory)
    assert (journal.store_id, journal.epoch) == (STORE_ID, 1)
    assert (journal.first_seq, journal.last_seq, journal.synced_seq, journal.last_time) == (1, 0, 0, 0)
    assert list(journal.read(1)) == []
    assert journal.progress() == Progress(0, 0)
    journal.close()


def test_what_was_appended_comes_back(directory: Path) -> None:
    journal = begin(directory)
    assert journal.append([b"a", b"bc"], 10) == 2
    assert journal.append([b""], 10) == 3
    settle(journal)
    assert [batch._replace(synced_seq=0) for batch in journal.read(1)] == [
        Batch(1, 1, 10, 0, (b"a", b"bc")),
        Batch(1, 3, 10, 0, (b"",)),
    ]
    journal.close()
    journal = reopen(directory)
    assert (journal.epoch, journal.last_seq, journal.synced_seq, journal.last_time) == (2, 3, 3, 10)
    assert everything(journal) == [b"a", b"bc", b""]
    assert journal.append([b"d"], 11) == 4
    settle(journal)
    assert [batch.epoch for batch in journal.read(1)] == [1, 1, 2]
    journal.close()


def test_reading_begins_with_the_batch_that_holds_the_seq(directory: Path) -> None:
    journal = begin(directory)
    for start in range(0, 900, 3):
        journal.append([b"%d" % seq * 20 for seq in range(start, start + 3)], 1)
    settle(journal)
    assert journal.statistics().segments > 3
    for seq in (1, 2, 3, 4, 5, 450, 451, 452, 899, 900):
        batches = list(journal.read(seq))
        assert batches[0].first_seq == (seq - 1) // 3 * 3 + 1
        assert batches[-1].last_seq == 900
        assert sum(len(batch.entries) for batch in batches) == 900 - batches[0].first_seq + 1
    assert list(journal.read(901)) == []
    assert list(journal.read(5000)) == []
    journal.close()


def test_every_opening_begins_an_epoch(directory: Path) -> None:
    begin(directory).close()
    for epoch in range(2, 6):
        journal = reopen(directory)
        assert journal.epoch == epoch
        journal.close()


def test_more_openings_than_a_segment_has_room_for(directory: Path) -> None:
    """Only sealing batches are written, until the first segment is full of them and has to grow."""
    begin(directory).close()
    openings = (OPTIONS.segment_bytes - 4096) // 72 + 5
    for _ in range(openings):
        reopen(directory).close()
    journal = reopen(directory)
    assert journal.epoch == openings + 2
    assert journal.append([b"x" * 9000], 1) == 1
    settle(journal)
    journal.close()
    assert everything(reopen(directory)) == [b"x" * 9000]


def test_sealing_twice_writes_once(directory: Path) -> None:
    journal = begin(directory)
    journal.append([b"a"], 1)
    for _ in range(5):
        journal.seal()
    settle(journal)
    journal.append([b"b"], 1)
    journal.seal()
    settle(journal)
    journal.close()
    assert reopen(directory).last_seq == 2
    assert journal.statistics().batches == 5  # the opening's, "a", a seal, "b", a seal; closing adds none


def test_a_refused_batch_leaves_no_trace(directory: Path) -> None:
    journal = begin(directory)
    journal.append([b"a"], 10)
    with pytest.raises(ValueError, match="at least one"):
        journal.append([], 10)
    with pytest.raises(ValueError, match="backwards"):
        journal.append([b"b"], 9)
    with pytest.raises(TypeError, match="must be bytes"):
        journal.append([b"b", "c"], 10)  # type: ignore[list-item]
    assert journal.append([b"b"], 10) == 2
    settle(journal)
    assert everything(journal) == [b"a", b"b"]
    journal.close()


@pytest.mark.parametrize("count", [1, 50])
def test_long_entries_are_compressed_when_that_helps(directory: Path, count: int) -> None:
    journal = begin(directory)
    text, noise, short = b"to be or not to be " * 500, os.urandom(3000), b"s" * (OPTIONS.compress_bytes_min - 1)
    for _ in range(count):
        journal.append([text, noise, short], 1)
    settle(journal)
    statistics = journal.statistics()
    assert (statistics.entries, statistics.entries_compressed) == (3 * count, count)
    assert statistics.saved_bytes > 9000 * count
    assert everything(journal) == [text, noise, short] * count
    journal.close()
    journal = reopen(directory)
    assert everything(journal) == [text, noise, short] * count
    journal.close()


def test_large_batches_are_packed_elsewhere_and_keep_their_order(directory: Path) -> None:
    options = JournalOptions(segment_bytes=1024 * 1024)
    journal = begin(directory, options)
    noise = random.Random(5).randbytes(local.PACK_INLINE_BYTES_MAX)
    expected = []
    for round_number in range(12):
        large = [noise, b"%d" % round_number] if round_number % 3 else [b"x" * 400_000] * 3
        for entries in (large, [b"small"], [b"small again", b"and again"]):
            expected += entries
            assert journal.append(entries, round_number) == len(expected)
        journal.seal()
    settle(journal)
    assert everything(journal) == expected
    journal.close()
    journal = reopen(directory, options)
    assert everything(journal) == expected
    journal.close()


def test_what_compression_saves_is_room_for_others(directory: Path) -> None:
    journal = begin(directory, JournalOptions(segment_bytes=1024 * 1024))
    for _ in range(20):
        journal.append([bytes(2 * local.PACK_INLINE_BYTES_MAX)], 1)
        settle(journal)
    assert journal.statistics().segments == 1
    journal.close()


def test_a_batch_larger_than_a_segment_gets_its_own(directory: Path) -> None:
    journal = begin(directory)
    large = os.urandom(3 * OPTIONS.segment_bytes)
    entries = [large, b"a", large + b"2", b"b"]
    for entry in entries:
        journal.append([entry], 1)
    settle(journal)
    assert everything(journal) == entries
    journal.close()
    journal = reopen(directory)
    assert everything(journal) == entries
    journal.close()


def test_reading_while_another_thread_appends(directory: Path) -> None:
    journal = begin(directory)
    count = 3000
    seen: list[bytes] = []

    def follow() -> None:
        while len(seen) < count:
            for batch in journal.read(len(seen) + 1):
                assert batch.first_seq == len(seen) + 1
                assert batch.last_seq <= journal.synced_seq
                seen.extend(batch.entries)

    follower = threading.Thread(target=follow)
    follower.start()
    for seq in range(1, count + 1):
        journal.append([b"entry %d" % seq], seq)
    settle(journal)
    follower.join()
    assert seen == [b"entry %d" % seq for seq in range(1, count + 1)]
    assert journal.statistics().segments > 3
    journal.close()


def test_what_is_not_synced_is_not_read(directory: Path) -> None:
    journal = begin(directory)
    journal.append([b"a"], 1)
    settle(journal)
    reading = journal.read(1)
    assert next(reading).entries == (b"a",)
    journal.append([b"b"], 1)
    settle(journal)
    assert next(reading).entries == (b"b",)
    assert next(reading, None) is None
    journal.close()


def filled(directory: Path, count: int = 400) -> local.LocalJournal:
    journal = begin(directory)
    for seq in range(1, count + 1):
        journal.append([b"%d" % seq * 60], seq)
    settle(journal)
    return journal


def test_trimming_deletes_whole_segments_only(directory: Path) -> None:
    journal = filled(directory)
    starts = sorted(int(name[:20]) for name in contents(directory) if name[0] == "0")
    assert len(starts) > 4
    assert journal.trim(starts[1] - 2) == 0
    assert journal.trim(starts[1] - 1) == OPTIONS.segment_bytes
    assert journal.first_seq == starts[1]
    assert journal.trim(starts[3] + 1) == 2 * OPTIONS.segment_bytes
    assert journal.first_seq == starts[3]
    assert everything(journal)[0] == b"%d" % starts[3] * 60
    with pytest.raises(JournalTrimmed):
        journal.read(starts[3] - 1)
    journal.close()
    journal = reopen(directory)
    assert (journal.first_seq, journal.last_seq) == (starts[3], 400)
    assert everything(journal)[-1] == b"400" * 60
    journal.close()


def test_the_newest_segment_is_never_trimmed(directory: Path) -> None:
    journal = filled(directory)
    journal.trim(10**9)
    assert journal.statistics().segments == 1
    assert journal.first_seq <= 400
    assert everything(journal)[-1] == b"400" * 60
    journal.close()


def test_a_reader_overtaken_by_trimming_is_told(directory: Path) -> None:
    journal = filled(directory)
    reading = journal.read(1)
    next(reading)
    journal.trim(10**9)
    with pytest.raises(JournalTrimmed):
        list(reading)
    journal.close()


def spare_files(directory: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(directory).items() if name.startswith("spare-")}


def test_the_next_segment_is_allocated_ahead_and_used(directory: Path) -> None:
    journal = begin(directory)
    assert spare_files(directory) == {}
    journal.append([os.urandom(7000)], 1)
    until(lambda: journal.statistics().spare_bytes)
    settle(journal)
    journal.close()
    spares = spare_files(directory)
    assert list(spares.values()) == [bytes(OPTIONS.segment_bytes)]
    journal = reopen(directory)
    assert spare_files(directory) == spares, "an earlier process's work is thrown away"
    inode = (directory / next(iter(spares))).stat().st_ino
    journal.append([os.urandom(7000)], 1)
    settle(journal)
    assert (directory / "00000000000000000002.segment").stat().st_ino == inode
    journal.close()


def test_statistics_add_up(directory: Path) -> None:
    journal = filled(directory)
    statistics = journal.statistics()
    assert (statistics.first_seq, statistics.last_seq, statistics.synced_seq, statistics.epoch) == (1, 400, 400, 1)
    assert (statistics.entries, statistics.batches) == (400, 401)
    assert statistics.bytes == statistics.segments * OPTIONS.segment_bytes
    assert statistics.syncs == sum(statistics.sync_us_histogram)
    assert 0 < statistics.sync_us_last <= statistics.sync_us_total
    assert statistics.spare_error == ""
    journal.close()


def test_a_closed_journal_refuses(directory: Path) -> None:
    journal = begin(directory)
    journal.append([b"a"], 1)
    journal.close()
    journal.close()
    assert journal.synced_seq == 1
    for call in (lambda: journal.append([b"b"], 1), journal.seal, journal.progress):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_checking_reports_how_far_it_is(directory: Path) -> None:
    filled(directory).close()
    reports: list[tuple[int, int]] = []
    journal = open_journal(
        directory, store_id=STORE_ID, options=OPTIONS, progress=lambda done, total: reports.append((done, total))
    )
    journal.close()
    total = sum(len(data) for name, data in contents(directory).items() if name[0] == "0")
    assert reports == sorted(reports)
    assert len(reports) > 5
    assert reports[-1] == (total, total)


def test_an_empty_folder_is_no_journal(directory: Path) -> None:
    with pytest.raises(JournalCorrupt, match="missing"):
        reopen(directory)
    assert not directory.exists()
    directory.mkdir()
    with pytest.raises(JournalCorrupt, match="missing"):
        reopen(directory)
    assert contents(directory) == {}


def test_a_new_store_is_never_made_over_commits(directory: Path) -> None:
    journal = begin(directory)
    journal.append([b"a"], 1)
    settle(journal)
    journal.close()
    before = contents(directory)
    with pytest.raises(JournalCorrupt, match="commits up to 1"):
        open_journal(directory, store_id=bytes(16), options=OPTIONS, fresh=True)
    assert contents(directory) == before


def test_making_a_store_may_be_repeated_while_it_holds_nothing(directory: Path) -> None:
    begin(directory).close()
    journal = open_journal(directory, store_id=bytes(16), options=OPTIONS, fresh=True)
    assert (journal.epoch, journal.store_id) == (1, bytes(16))
    journal.close()
    assert len(contents(directory)) == 1


def test_store_ids_have_their_length(directory: Path) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        open_journal(directory, store_id=b"short")


@pytest.mark.parametrize("options", [{"segment_bytes": 16383}, {"compress_bytes_min": -1}])
def test_impossible_options_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must"):
        JournalOptions(**options)
