"""What was deleted or replaced is returned by nothing, and after a compaction no file holds its bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recollectd.storage.vectors.builders import HereBuilder
from recollectd.storage.vectors.building import Job
from recollectd.storage.vectors.changes import Create
from recollectd.storage.vectors.options import VectorOptions
from recollectd.storage.vectors.spec import Floats, Metric, Precision, Spec
from support.vectors import Journaled, random_vectors

DIMENSIONS = 32
KEY = (b"s", "texts")
OPTIONS = VectorOptions(flush_rows=64, exact_rows_max=16, small_share=0.01, rebuild_share=0.9)


def held(folder: Path, fragments: list[bytes]) -> list[str]:
    """Return the files that hold any of these bytes."""
    return sorted(
        path.name
        for path in folder.rglob("*")
        if path.is_file() and any(fragment in path.read_bytes() for fragment in fragments)
    )


def secret_of(spec: Spec) -> tuple[Floats, list[bytes]]:
    """Return a vector, and what its rows look like in any file: stored, or as the graph's copy, whatever its scale."""
    pattern = np.where(np.arange(DIMENSIONS) % 3 == 0, 1, -1).astype(np.float32)
    pattern[5:9] *= -1
    vector = pattern * np.float32(0.4375)
    kept = vector / np.linalg.norm(vector) if spec.metric is Metric.COSINE else vector
    halves = (kept.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    rounded = ((kept.view(np.uint32) + 0x8000) >> 16).astype(np.uint16).tobytes()
    copies = [(pattern * level).astype(np.int8).tobytes() for level in range(1, 128)]
    return vector, [kept.tobytes(), halves, rounded, *copies]


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize(
    "spec",
    [
        Spec(DIMENSIONS),
        Spec(DIMENSIONS, Metric.COSINE, Precision.I8),
        Spec(DIMENSIONS, Metric.DOT, Precision.BF16),
        Spec(DIMENSIONS, Metric.L2),
    ],
    ids=lambda spec: f"{spec.metric.value}-{spec.precision.value}",
)
def test_no_file_holds_what_was_deleted(tmp_path: Path, spec: Spec, replaced: bool) -> None:
    rng = np.random.default_rng(2)
    journaled = Journaled(tmp_path / "view", OPTIONS)
    vector, fragments = secret_of(spec)
    journaled.commit(Create(*KEY, spec))
    journaled.put(KEY, random_vectors(rng, 100, DIMENSIONS) | {b"the secret": vector, b"its twin": vector})
    journaled.view.checkpoint()
    journaled.view.merge(*KEY)
    journaled.view.checkpoint()
    assert {"graph", "rows"} <= set(held(journaled.folder, fragments))
    for record_id in (b"the secret", b"its twin"):
        if replaced:
            journaled.put(KEY, {record_id: random_vectors(rng, 1, DIMENSIONS)[b"r0"]})
        else:
            journaled.delete(KEY, [record_id])
    journaled.check_all()
    journaled.view.compact(b"s")
    assert held(journaled.folder, fragments) == []
    assert held(journaled.folder, [b"the secret"]) == (["ids"] if replaced else [])
    journaled.check_all()
    journaled.reopen()
    journaled.check_all()


def test_dumps_forget_as_well(tmp_path: Path) -> None:
    journaled = Journaled(tmp_path / "view", OPTIONS)
    vector, fragments = secret_of(Spec(DIMENSIONS))
    journaled.commit(Create(*KEY, Spec(DIMENSIONS)))
    journaled.put(KEY, {b"secret": vector, b"other": -vector + 1})
    journaled.view.checkpoint()
    assert held(journaled.folder, fragments) != []
    journaled.delete(KEY, [b"secret"])
    journaled.view.checkpoint()
    journaled.view.compact()
    assert held(journaled.folder, [*fragments, b"secret"]) == []
    journaled.reopen()
    journaled.check_all()


def test_extending_a_graph_tells_what_it_still_holds(tmp_path: Path) -> None:
    jobs: list[Job] = []
    rng = np.random.default_rng(3)
    journaled = Journaled(tmp_path / "view", OPTIONS, HereBuilder(jobs.append))
    journaled.commit(Create(*KEY, Spec(DIMENSIONS)))
    journaled.put(KEY, random_vectors(rng, 200, DIMENSIONS))
    journaled.view.merge(*KEY)
    journaled.delete(KEY, [f"r{at}".encode() for at in range(20)])
    journaled.put(KEY, random_vectors(rng, 12, DIMENSIONS, "new"))
    journaled.view.merge(*KEY)
    assert [bool(job.extend) for job in jobs] == [False, True]
    (base,) = journaled.view._spaces[KEY].segments
    assert (base.rows, base.dead, base.entry.residue, base.entry.churn) == (200, 8, 8, 20)
    journaled.put(KEY, random_vectors(rng, 30, DIMENSIONS, "newer"))
    journaled.view.merge(*KEY)
    (base,) = journaled.view._spaces[KEY].segments
    assert (base.rows, base.dead, base.entry.residue, base.entry.churn) == (222, 0, 0, 28)
    journaled.check_all()
    journaled.reopen()
    journaled.check_all()
