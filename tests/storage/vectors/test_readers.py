"""Readers on many threads while one writes and another merges: every record is found, once, in one of its places."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from recollectd.storage.vectors.builders import HereBuilder
from recollectd.storage.vectors.changes import Create
from recollectd.storage.vectors.options import VectorOptions
from recollectd.storage.vectors.spec import Spec
from support.vectors import Journaled, random_vectors

DIMENSIONS = 16
KEY = (b"s", "texts")
RECORDS = 150
ROUNDS = 60
READERS = 3


@pytest.mark.parametrize("exact_rows_max", [10, 1000], ids=["graphs", "exact"])
def test_a_replaced_record_is_always_there(tmp_path: Path, exact_rows_max: int) -> None:
    options = VectorOptions(flush_rows=400, exact_rows_max=exact_rows_max, coarse_rows_min=100)
    journaled = Journaled(tmp_path / "view", options, HereBuilder())
    vectors = random_vectors(np.random.default_rng(1), RECORDS, DIMENSIONS)
    twins = [vectors, {one: vector * 3 for one, vector in vectors.items()}]  # the same to the cosine metric
    journaled.commit(Create(*KEY, Spec(DIMENSIONS)))
    journaled.put(KEY, vectors)
    everybody = sorted(vectors)
    done = threading.Event()
    wrong: list[object] = []
    searches = [0] * READERS

    def read(number: int) -> None:
        rng = np.random.default_rng(number)
        try:
            while not done.is_set():
                query = rng.normal(size=DIMENSIONS).astype(np.float32)
                chosen = [everybody[at] for at in rng.integers(0, RECORDS, 20).tolist()]
                hits = journaled.view.search(*KEY, query, 2 * RECORDS, exact=True)
                if sorted(one for one, _ in hits) != everybody:
                    wrong.append(hits)
                hits = journaled.view.search(*KEY, query, RECORDS, chosen)
                if sorted(one for one, _ in hits) != sorted(set(chosen)):
                    wrong.append((hits, chosen))
                hits = journaled.view.search(*KEY, query, 5)
                if len({one for one, _ in hits}) != 5:
                    wrong.append(hits)
                searches[number] += 1
        except BaseException as error:
            wrong.append(error)
            raise

    readers = [threading.Thread(target=read, args=(number,)) for number in range(READERS)]
    merger = threading.Thread(target=lambda: _merge_on(journaled, done, wrong))
    for thread in (*readers, merger):
        thread.start()
    rng = np.random.default_rng(99)
    for number in range(ROUNDS):
        chosen = [everybody[at] for at in rng.integers(0, RECORDS, 12).tolist()]
        journaled.put(KEY, {one: twins[number % 2][one] for one in chosen})
    while min(searches) < 3 and not wrong:
        threading.Event().wait(0.001)
    done.set()
    for thread in (*readers, merger):
        thread.join()
    assert wrong == []
    journaled.check_all()
    journaled.reopen()
    journaled.check_all()


def _merge_on(journaled: Journaled, done: threading.Event, wrong: list[object]) -> None:
    try:
        while not done.is_set():
            journaled.view.merge(*KEY)
            journaled.view.checkpoint()
            journaled.view.compact()
    except BaseException as error:
        wrong.append(error)
        raise
