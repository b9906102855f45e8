"""A build that is cut off leaves its graph to the next one, which takes of it only what is still so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recollectd.storage.vectors import building, parking
from recollectd.storage.vectors.builders import HereBuilder
from recollectd.storage.vectors.building import Built, Job, Progress
from recollectd.storage.vectors.changes import Create, Drop
from recollectd.storage.vectors.errors import BuildFailed, BuildStopped
from recollectd.storage.vectors.files import FileMark
from recollectd.storage.vectors.options import VectorOptions
from recollectd.storage.vectors.parking import Parking, State, take_parked
from recollectd.storage.vectors.spec import Metric, Precision, Spec
from support import vector_builds
from support.vector_builds import Telling
from support.vectors import Journaled, random_vectors
from support.waiting import until

DIMENSIONS = 8
KEY = (b"s", "texts")
STEP = 128
ROWS = 12 * STEP
STEPS = 5  # before a build is cut off
OPTIONS = VectorOptions(flush_rows=64, exact_rows_max=16, parking_interval_s=0.0, rebuild_share=0.9)


GOLDEN = (
    "5256503189a56772617068a967726170682d312d31a46d61726b82a66c656e67746805a8636865636b73756d00a473706563"
    "83aa64696d656e73696f6e7302a66d6574726963a6636f73696e65a9707265636973696f6ea3663332ac636f6e6e65637469"
    "7669747910a57363616c65cb3ff8000000000000a5636875726e03a5667265656401a369647392c40161c400a76469676573"
    "7473c41000000000000000000000000000000000c1625db637bf29b0"
)


class Cut(BaseException):
    """Nobody may handle it, as nobody handles a kill."""


class CuttingOff(HereBuilder):
    """Ends builds after some steps, as long as `cutting` is true."""

    def __init__(self) -> None:
        super().__init__()
        self.cutting = True
        self.entered: list[int] = []

    def build(self, job: Job, progress: Progress) -> Built:
        steps = 0

        def told(done: int, total: int) -> None:
            nonlocal steps
            steps += 1
            progress(done, total)
            if self.cutting and steps > STEPS:
                raise Cut
            if done == total:
                self.entered.append(total)

        return super().build(job, told)


@pytest.fixture(autouse=True)
def _parked_after_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking, "PARKING_SHARE", 1e9)
    monkeypatch.setattr(parking, "ROWS_MIN", STEP)
    monkeypatch.setattr(building, "CHUNK_ROWS", STEP)


@pytest.fixture
def builder() -> CuttingOff:
    return CuttingOff()


@pytest.fixture
def cut(tmp_path: Path, builder: CuttingOff) -> Journaled:
    """A view whose first merge was cut off by a crash; nothing but what it has parked is on disk."""
    journaled = Journaled(tmp_path / "view", OPTIONS, builder)
    journaled.commit(Create(*KEY, Spec(DIMENSIONS)))
    journaled.view.checkpoint()
    journaled.put(KEY, random_vectors(np.random.default_rng(1), ROWS, DIMENSIONS))
    cut_off(journaled)
    return journaled


def cut_off(journaled: Journaled, *, whole: bool = False) -> None:
    with pytest.raises(Cut):
        journaled.view.compact() if whole else journaled.view.merge(*KEY)
    journaled.reopen()


def parked(journaled: Journaled) -> list[Path]:
    return sorted((journaled.folder / "parked").iterdir())


def saved(journaled: Journaled) -> int:
    return int(journaled.view.statistics()["merged_rows_saved"] or 0)


def finish(journaled: Journaled) -> None:
    """Merge to the end, hold everything against the model, and every vector against what is found by it."""
    assert isinstance(journaled.builder, CuttingOff)
    journaled.builder.cutting = False
    journaled.view.merge(*KEY)
    journaled.check_all()
    records = journaled.records[KEY]
    sample = sorted(records)[:: max(1, len(records) // 200)]
    found = [journaled.view.search(*KEY, records[one], 1, effort=400)[0][0] for one in sample]
    assert sum(map(bytes.__eq__, found, sample)) >= 0.98 * len(sample)


def test_the_next_build_goes_on(cut: Journaled, builder: CuttingOff) -> None:
    assert [path.name for path in parked(cut)] == [f"{cut.view._spaces[KEY].number}-whole"]
    finish(cut)
    assert saved(cut) == STEPS * STEP
    assert builder.entered == [ROWS - STEPS * STEP]
    assert parked(cut) == []


def test_it_may_be_cut_off_again_and_again(cut: Journaled, builder: CuttingOff) -> None:
    cut_off(cut)
    finish(cut)
    assert builder.entered == [ROWS - 2 * STEPS * STEP]


def test_what_has_changed_is_not_taken(cut: Journaled) -> None:
    rng = np.random.default_rng(2)
    cut.delete(KEY, [f"r{number}".encode() for number in range(50)])
    cut.put(KEY, random_vectors(rng, 100, DIMENSIONS))  # of the first 100, half of which were deleted, others
    cut.delete(KEY, [f"r{number}".encode() for number in range(70, 80)])
    cut.put(KEY, random_vectors(rng, 120, DIMENSIONS, "new"))
    finish(cut)
    assert saved(cut) == STEPS * STEP - 100
    (segment,) = cut.view._spaces[KEY].segments
    assert segment.entry.residue == 0  # more came than had gone
    assert segment.entry.churn == 100


def test_nothing_is_taken_when_most_has_changed(cut: Journaled) -> None:
    cut.put(KEY, random_vectors(np.random.default_rng(3), 400, DIMENSIONS))
    finish(cut)
    assert saved(cut) == 0
    assert parked(cut) == []


def test_extending_goes_on_too(cut: Journaled, builder: CuttingOff) -> None:
    finish(cut)
    cut.view.checkpoint()
    cut.put(KEY, random_vectors(np.random.default_rng(4), 900, DIMENSIONS, "more"))
    cut.delete(KEY, [f"r{number}".encode() for number in range(100)])
    builder.cutting = True
    (base,) = cut.view._spaces[KEY].segments
    cut_off(cut)
    assert [path.name for path in parked(cut)] == [f"{cut.view._spaces[KEY].number}-{base.entry.number}"]
    cut.delete(KEY, [b"more1", b"r200"])
    cut.put(KEY, random_vectors(np.random.default_rng(5), 10, DIMENSIONS, "late"))
    finish(cut)
    assert saved(cut) >= STEPS * STEP - 1
    assert len(cut.view._spaces[KEY].segments) == 1


def test_a_merge_into_the_base_goes_on_though_little_waits(cut: Journaled, builder: CuttingOff) -> None:
    finish(cut)
    cut.view.checkpoint()
    builder.cutting = True
    cut.put(KEY, random_vectors(np.random.default_rng(4), 900, DIMENSIONS, "more"))
    cut_off(cut)
    cut.delete(KEY, [f"more{number}".encode() for number in range(890)])
    finish(cut)
    assert len(cut.view._spaces[KEY].segments) == 1


@pytest.mark.parametrize("sort", ["state", "graph"])
@pytest.mark.parametrize("how", ["first", "middle", "last", "short", "empty", "gone"])
def test_what_is_damaged_is_not_taken(cut: Journaled, sort: str, how: str) -> None:
    (folder,) = parked(cut)
    (path,) = (path for path in folder.iterdir() if path.name.startswith(sort))
    content = bytearray(path.read_bytes())
    match how:
        case "short":
            path.write_bytes(content[:-1])
        case "empty":
            path.write_bytes(b"")
        case "gone":
            path.unlink()
        case _:
            content[{"first": 0, "middle": len(content) // 2, "last": len(content) - 1}[how]] ^= 0x10
            path.write_bytes(content)
    finish(cut)
    assert saved(cut) == 0
    assert parked(cut) == []


def test_the_base_takes_what_was_parked_anew_with_it(cut: Journaled, builder: CuttingOff) -> None:
    finish(cut)
    cut.view.checkpoint()
    builder.cutting = True
    cut.put(KEY, {b"one more": np.ones(DIMENSIONS, np.float32)})
    cut.delete(KEY, [b"r1"])
    cut_off(cut, whole=True)
    (left,) = parked(cut)
    builder.cutting = False
    cut.view.merge(*KEY)  # into a second segment
    assert len(cut.view._spaces[KEY].segments) == 2
    assert parked(cut) == [left]
    cut.put(KEY, random_vectors(np.random.default_rng(6), 900, DIMENSIONS, "more"))
    cut.view.merge(*KEY)
    assert len(cut.view._spaces[KEY].segments) == 1
    assert parked(cut) == []
    cut.check_all()


def test_what_another_space_has_parked_is_not_taken(cut: Journaled) -> None:
    cut.commit(Drop(*KEY), Create(*KEY, Spec(DIMENSIONS, Metric.L2)))
    cut.view.checkpoint()
    assert parked(cut) == []
    cut.put(KEY, random_vectors(np.random.default_rng(1), ROWS, DIMENSIONS))
    finish(cut)
    assert saved(cut) == 0


def test_strangers_are_removed(cut: Journaled) -> None:
    number = cut.view._spaces[KEY].number
    for name in ("77-whole", f"{number}-99", "what"):
        (cut.folder / "parked" / name).mkdir()
    cut.reopen()
    assert [path.name for path in parked(cut)] == [f"{number}-whole"]


def test_compacting_leaves_nothing_parked(cut: Journaled, builder: CuttingOff) -> None:
    builder.cutting = False
    cut.view.compact()
    assert parked(cut) == []
    cut.check_all()


def test_compacting_goes_on_unless_something_died(cut: Journaled, builder: CuttingOff) -> None:
    finish(cut)
    cut.delete(KEY, [b"r1"])
    builder.cutting = True
    cut_off(cut, whole=True)
    builder.cutting = False
    cut.view.compact()
    assert saved(cut) == STEPS * STEP
    cut.delete(KEY, [b"r2"])
    builder.cutting = True
    cut_off(cut, whole=True)
    cut.delete(KEY, [b"r3"])  # is in the graph that was parked
    builder.cutting = False
    cut.view.compact()
    assert saved(cut) == 0
    (segment,) = cut.view._spaces[KEY].segments
    assert segment.entry.residue == 0
    cut.check_all()


def test_a_build_that_fails_by_itself_does_not_keep_what_was_parked(cut: Journaled) -> None:
    class Failing(HereBuilder):
        def build(self, job: Job, progress: Progress) -> Built:
            raise BuildFailed("on purpose")

    class Stopped(HereBuilder):
        def build(self, job: Job, progress: Progress) -> Built:
            raise BuildStopped("on purpose")

    for builder, left in ((Stopped(), 1), (Failing(), 0)):
        cut.view._builder = builder
        with pytest.raises(BuildFailed, match="on purpose"):
            cut.view.merge(*KEY)
        assert len(parked(cut)) == left
    cut.check_all()


def test_a_full_disk_parks_nothing(tmp_path: Path, builder: CuttingOff, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parking, "write_file", full)
    builder.cutting = False
    journaled = Journaled(tmp_path / "view", OPTIONS, builder)
    journaled.commit(Create(*KEY, Spec(DIMENSIONS)))
    journaled.put(KEY, random_vectors(np.random.default_rng(1), ROWS, DIMENSIONS))
    finish(journaled)
    assert list((journaled.folder / "parked").rglob("graph-*")) == []


def test_the_bytes_of_a_state(tmp_path: Path) -> None:
    (tmp_path / "graph-1-1").write_bytes(b"graph")
    state = State(
        *("graph-1-1", FileMark(5, 0), Spec(2, Metric.COSINE, Precision.F32), 16, 1.5, 3, 1, [b"a", b""], bytes(16)),
    )
    parking.write_state(tmp_path, state)
    assert (tmp_path / "state").read_bytes().hex() == GOLDEN
    assert take_parked(Parking(str(tmp_path), 1.0), state.spec, 16) is None  # the graph has another checksum


def test_a_process_that_is_killed_leaves_what_it_parked(tmp_path: Path) -> None:
    folder = tmp_path / "view"
    command = [sys.executable, "-m", "support.vector_builds", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(vector_builds.__file__).parents[1]) as process:
        assert process.stdout is not None
        assert any(line == b"parked\n" for line in process.stdout)
        process.kill()
    journaled = vector_builds.fill(folder)  # the same again, all of it known
    journaled.view.merge(*vector_builds.KEY)
    assert saved(journaled) >= 2048
    journaled.check_all()
    assert journaled.view.count(*vector_builds.KEY) == vector_builds.ROWS


def test_a_view_that_is_closed_leaves_what_was_built(tmp_path: Path) -> None:
    options = VectorOptions(flush_rows=4096, exact_rows_max=16)  # parks in 15 s, or when it is asked to end
    journaled = Journaled(tmp_path / "view", options, Telling(), keeper=True)
    journaled.commit(Create(*KEY, Spec(vector_builds.DIMENSIONS)))
    journaled.view.checkpoint()
    journaled.put(KEY, random_vectors(np.random.default_rng(1), vector_builds.ROWS, vector_builds.DIMENSIONS))
    until(lambda: (journaled.view.statistics()["merging_rows_done"] or 0) >= 4096)
    journaled.view.close()
    assert journaled.view.statistics()["merges"] == 0
    journaled.builder, journaled.keeper = None, False
    journaled.reopen()
    journaled.view.merge(*KEY)
    assert saved(journaled) >= 4096
    journaled.check_all()
