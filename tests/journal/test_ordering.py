"""What must be durable before what: each of these syncs is one that a power cut would punish the lack of."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from recollectd.journal import local
from recollectd.journal.reader import read_batches
from recollectd.journal.segments import Segment
from support.journal_images import SegmentImage, begin, lay_out, reopen, settle

FIRST: Final = "00000000000000000001.segment"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Syncs, renamings and deletions as they happen, by file name."""
    seen: list[str] = []
    sync, rename, unlink = os.fsync, Path.rename, Path.unlink

    def fsync(fd: int) -> None:
        seen.append(f"sync {Path(os.readlink(f'/proc/self/fd/{fd}')).name}")
        sync(fd)

    def renamed(path: Path, target: Path) -> Path:
        seen.append(f"rename {path.name} {target.name}")
        return rename(path, target)

    def unlinked(path: Path, missing_ok: bool = False) -> None:
        seen.append(f"unlink {path.name}")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", renamed)
    monkeypatch.setattr(Path, "unlink", unlinked)
    return seen


def test_a_first_segment_is_durable_before_it_has_its_name(directory: Path, events: list[str]) -> None:
    begin(directory).close()
    spare = events[0].removeprefix("sync ")
    assert spare.startswith("spare-")
    assert events[:4] == [f"sync {spare}", f"rename {spare} {FIRST}", "sync journal", f"sync {directory.parent.name}"]


def test_a_repair_is_durable_before_anything_is_written(
    directory: Path, events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = SegmentImage().add(synced=0).add(b"a", synced=0)
    lay_out(directory, image)
    (directory / image.successor().name).touch()
    begin_epoch = local.LocalJournal.begin_epoch

    def noted(journal: local.LocalJournal) -> None:
        events.append("seal")
        begin_epoch(journal)

    monkeypatch.setattr(local.LocalJournal, "begin_epoch", noted)
    reopen(directory).close()
    assert events == [f"sync {FIRST}", f"unlink {image.successor().name}", "sync journal", "seal"]


def test_an_epoch_has_begun_durably_when_the_opening_returns(directory: Path) -> None:
    begin(directory).close()
    journal = reopen(directory)
    statistics = journal.statistics()
    journal.close()
    assert (statistics.batches, statistics.syncs) == (1, 1)


def test_each_deletion_is_durable_before_the_next(directory: Path, events: list[str]) -> None:
    journal = begin(directory)
    for seq in range(1, 6):
        journal.append([os.urandom(9000)], seq)
    settle(journal)
    events.clear()
    journal.trim(3)
    deleted = [event for event in events if not event.startswith("sync spare-")]
    assert deleted == [event for seq in (1, 2, 3) for event in (f"unlink {seq:020d}.segment", "sync journal")]
    journal.close()


@pytest.mark.parametrize(("synced_seq", "batches"), [(0, 0), (1, 1), (3, 2), (4, 3)])
def test_readers_see_only_what_is_synced(directory: Path, synced_seq: int, batches: int) -> None:
    image = SegmentImage().add(b"a", synced=0).add(b"b", b"c", synced=1).add(b"d", synced=3)
    lay_out(directory, image)
    segment = Segment(directory / image.name, 1, len(image.data()))
    assert len(list(read_batches(1, lambda: [segment], lambda: synced_seq))) == batches
