"""`python -m support.vector_builds FOLDER` fills a view and merges it, and says when something is parked."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from recollectd.storage.vectors.builders import ProcessBuilder
from recollectd.storage.vectors.building import Built, Job, Progress
from recollectd.storage.vectors.changes import Create
from recollectd.storage.vectors.options import VectorOptions
from recollectd.storage.vectors.spec import Spec
from support.vectors import Journaled, random_vectors

DIMENSIONS = 8
ROWS = 16_000
KEY = (b"s", "texts")
OPTIONS = VectorOptions(exact_rows_max=16, parking_interval_s=0.0)


class Telling(ProcessBuilder):
    """Says when something is parked."""

    def build(self, job: Job, progress: Progress) -> Built:
        """Build in a process."""
        assert job.parking is not None
        state = Path(job.parking.folder, "state")

        def told(done: int, total: int) -> None:
            progress(done, total)
            print("parked" if state.exists() else "begun", flush=True)

        return super().build(job, told)


def fill(folder: Path) -> Journaled:
    """Return a filled view, none of it merged."""
    journaled = Journaled(folder, OPTIONS, Telling())
    journaled.commit(Create(*KEY, Spec(DIMENSIONS)))
    journaled.put(KEY, random_vectors(np.random.default_rng(1), ROWS, DIMENSIONS))
    return journaled


if __name__ == "__main__":
    filled = fill(Path(sys.argv[1]))
    filled.view.checkpoint()
    filled.view.merge(*KEY)
