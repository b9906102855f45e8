"""Merges in processes of their own: they build what is built here, fail without harm, and end with the view."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from recollectd.storage.vectors.builders import HereBuilder, ProcessBuilder
from recollectd.storage.vectors.building import Built, Job, Progress
from recollectd.storage.vectors.changes import Create
from recollectd.storage.vectors.errors import BuildFailed
from recollectd.storage.vectors.options import VectorOptions
from recollectd.storage.vectors.spec import Spec
from support.vectors import Journaled, random_vectors

DIMENSIONS = 8
KEY = (b"s", "texts")
OPTIONS = VectorOptions(flush_rows=64, exact_rows_max=16, delta_rows_max=128)


def filled(folder: Path, builder: ProcessBuilder | HereBuilder, count: int = 100) -> Journaled:
    journaled = Journaled(folder, OPTIONS, builder)
    journaled.commit(Create(*KEY, Spec(DIMENSIONS)))
    journaled.put(KEY, random_vectors(np.random.default_rng(1), count, DIMENSIONS))
    return journaled


def test_a_process_builds_what_is_built_here(tmp_path: Path) -> None:
    built = []
    for name, builder in (("here", HereBuilder()), ("process", ProcessBuilder())):
        journaled = filled(tmp_path / name, builder)
        journaled.view.merge(*KEY)
        journaled.delete(KEY, [b"r1", b"r7"])
        journaled.put(KEY, random_vectors(np.random.default_rng(2), 30, DIMENSIONS, "more"))
        journaled.view.merge(*KEY)
        journaled.check_all()
        (segment,) = journaled.view._spaces[KEY].segments
        built.append((segment.entry.files["rows"], segment.entry.files["ids"], segment.entry.scale, segment.rows))
        assert journaled.view.statistics()["merges"] == 2
    assert built[0] == built[1]


def test_what_a_process_complains_about_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journaled = filled(tmp_path / "view", ProcessBuilder())
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(BuildFailed, match="ended with 1"):
        journaled.view.merge(*KEY)
    journaled.check_all()
    assert journaled.view.statistics()["delta_rows"] == 100
    monkeypatch.undo()
    journaled.view.merge(*KEY)
    journaled.check_all()


def test_errors_of_the_process_reach_the_caller(tmp_path: Path) -> None:
    class Spoiling(ProcessBuilder):
        def build(self, job: Job, progress: Progress) -> Built:
            (Path(job.folder) / "delta-ids").write_bytes(b"spoilt")
            return super().build(job, progress)

    journaled = filled(tmp_path / "view", Spoiling())
    with pytest.raises(BuildFailed, match="ValidationError"):
        journaled.view.merge(*KEY)
    journaled.check_all()


def test_nothing_is_built_after_the_end(tmp_path: Path) -> None:
    for name, builder in (("here", HereBuilder()), ("process", ProcessBuilder())):
        journaled = filled(tmp_path / name, builder)
        journaled.view.close()
        with pytest.raises(BuildFailed, match="closing"):
            journaled.view.merge(*KEY)
        journaled.check_all()


def test_what_is_under_way_ends_with_the_view(tmp_path: Path) -> None:
    begun = threading.Event()

    class Telling(ProcessBuilder):
        def build(self, job: Job, progress: Progress) -> Built:
            def told(done: int, total: int) -> None:
                begun.set()
                progress(done, total)

            return super().build(job, told)

    options = VectorOptions(flush_rows=4096, exact_rows_max=16)
    journaled = Journaled(tmp_path / "view", options, Telling(), keeper=True)
    journaled.commit(Create(*KEY, Spec(DIMENSIONS)))
    journaled.put(KEY, random_vectors(np.random.default_rng(1), 20_000, DIMENSIONS))
    assert begun.wait(60)
    journaled.view.close()
    assert journaled.view.statistics()["merges"] == 0
    journaled.builder = None
    journaled.keeper = False
    journaled.reopen()
    journaled.check_all()


def test_the_process_says_how_far_it_is(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    class Listening(ProcessBuilder):
        def build(self, job: Job, progress: Progress) -> Built:
            return super().build(job, lambda done, total: told.append((done, total)))

    options = VectorOptions(exact_rows_max=16)
    journaled = Journaled(tmp_path / "view", options, Listening())
    journaled.commit(Create(*KEY, Spec(DIMENSIONS)))
    journaled.put(KEY, random_vectors(np.random.default_rng(1), 5000, DIMENSIONS))
    journaled.view.merge(*KEY)
    assert told == [(2048, 5000), (4096, 5000), (5000, 5000)]


def test_the_view_says_when_a_merge_will_have_ended(tmp_path: Path) -> None:
    seen = []

    class Looking(HereBuilder):
        def build(self, job: Job, progress: Progress) -> Built:
            def told(done: int, total: int) -> None:
                progress(done, total)
                seen.append(journaled.view.statistics())

            return super().build(job, told)

    options = VectorOptions(exact_rows_max=16)
    journaled = Journaled(tmp_path / "view", options, Looking())
    journaled.commit(Create(*KEY, Spec(DIMENSIONS)))
    journaled.put(KEY, random_vectors(np.random.default_rng(1), 5000, DIMENSIONS))
    assert journaled.view.statistics()["merging_left_s"] is None
    journaled.view.merge(*KEY)
    assert [(each["merging_rows_done"], each["merging_rows"]) for each in seen] == [
        (2048, 5000),
        (4096, 5000),
        (5000, 5000),
    ]
    left = [each["merging_left_s"] for each in seen]
    assert all(each is not None and each > 0 for each in left[:2])
    assert left[2] == 0
    assert journaled.view.statistics()["merging_left_s"] is None


def test_what_segments_cover_is_in_no_file_of_deltas(tmp_path: Path) -> None:
    journaled = filled(tmp_path / "view", HereBuilder(), 100)
    another = (b"s", "another")
    journaled.commit(Create(*another, Spec(DIMENSIONS)))
    journaled.put(another, random_vectors(np.random.default_rng(2), 5, DIMENSIONS))
    journaled.view.checkpoint()
    journaled.put(KEY, random_vectors(np.random.default_rng(3), 10, DIMENSIONS, "more"))
    journaled.view.checkpoint()
    assert journaled.view.statistics()["dump_files"] == 2
    journaled.view.merge(*KEY)
    assert journaled.view.statistics()["dump_files"] == 1, "the first one holds the other space, too"
    journaled.view.merge(*another)
    assert list((tmp_path / "view" / "dumps").iterdir()) == []
    journaled.reopen()
    journaled.check_all()


def test_what_comes_faster_than_it_is_merged_goes_into_the_base(tmp_path: Path) -> None:
    journaled = filled(tmp_path / "view", HereBuilder(), 2000)
    journaled.view.merge(*KEY)
    for count, segments in ((63, 2), (128, 1)):
        journaled.put(KEY, random_vectors(np.random.default_rng(count), count, DIMENSIONS, f"{count}-"))
        journaled.view.merge(*KEY)
        assert len(journaled.view._spaces[KEY].segments) == segments
    journaled.check_all()


def test_merges_begin_by_themselves(tmp_path: Path) -> None:
    merged = threading.Semaphore(0)

    class Counting(HereBuilder):
        def build(self, job: Job, progress: Progress) -> Built:
            built = super().build(job, progress)
            merged.release()
            return built

    journaled = Journaled(tmp_path / "view", OPTIONS, Counting(), keeper=True)
    journaled.commit(Create(*KEY, Spec(DIMENSIONS)))
    for number in range(4):
        journaled.put(KEY, random_vectors(np.random.default_rng(number), 64, DIMENSIONS, f"{number}-"))
        assert merged.acquire(timeout=60)
    journaled.view.close()
    journaled.check_all()


def test_pressure_says_when_to_come_back(tmp_path: Path) -> None:
    journaled = filled(tmp_path / "view", HereBuilder(), 100)
    view = journaled.view
    assert view.pressure(*KEY, 28) is None
    pressure = view.pressure(*KEY, 29)
    assert pressure is not None
    assert 100 <= pressure.retry_after_ms <= 10_000
    assert "100 vectors wait" in pressure.reason
    assert view.pressure(b"s", "another") is None
    view.merge(*KEY)
    assert view.pressure(*KEY, 128) is None


def test_memory_of_all_deltas_is_bounded(tmp_path: Path) -> None:
    options = VectorOptions(delta_bytes_max=100_000)
    journaled = Journaled(tmp_path / "view", options)
    for number in range(4):
        journaled.commit(Create(b"s", str(number), Spec(DIMENSIONS)))
        journaled.put((b"s", str(number)), random_vectors(np.random.default_rng(1), 100 + number, DIMENSIONS))
    assert journaled.view.pressure(b"s", "0") is not None
    while journaled.view.maintain():
        pass
    assert journaled.view.pressure(b"s", "0") is None
    assert (journaled.view.statistics()["delta_bytes"] or 0) <= 50_000
    journaled.check_all()


def test_a_rebuild_waits_for_room(tmp_path: Path) -> None:
    journaled = filled(tmp_path / "view", HereBuilder(), 100)
    vectors = random_vectors(np.random.default_rng(3), 3000, DIMENSIONS)
    journaled.records[KEY] = dict(vectors)
    options = journaled.options
    assert options.delta_rows_max < len(vectors)
    journaled.view.rebuild(*KEY, iter(vectors.items()))
    journaled.check_all()
