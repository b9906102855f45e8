"""Searches by graph, filters of every width, ties, isolation of scopes, and the watch over recall."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recollectd._native.vector_scan import Graph
from recollectd.storage.vectors.builders import HereBuilder
from recollectd.storage.vectors.building import new_graph
from recollectd.storage.vectors.changes import Create
from recollectd.storage.vectors.options import VectorOptions
from recollectd.storage.vectors.segment import Segment
from recollectd.storage.vectors.selection import Selection
from recollectd.storage.vectors.spec import Metric, Precision, Spec
from support.vectors import Journaled, random_vectors

DIMENSIONS = 12
KEY = (b"s", "texts")
OPTIONS = VectorOptions(flush_rows=500, exact_rows_max=100, allowed_exact_max=50, coarse_rows_min=64, recall_interval=1)


@pytest.fixture(params=list(Metric))
def journaled(tmp_path: Path, request: pytest.FixtureRequest) -> Journaled:
    """A base and a small segment with graphs, dead rows in both, and a delta."""
    rng = np.random.default_rng(1)
    made = Journaled(tmp_path / "view", OPTIONS)
    made.commit(Create(*KEY, Spec(DIMENSIONS, request.param)))
    made.put(KEY, random_vectors(rng, 2500, DIMENSIONS))
    made.view.merge(*KEY)
    made.put(KEY, random_vectors(rng, 300, DIMENSIONS, "small"))
    made.view.merge(*KEY)
    made.put(KEY, random_vectors(rng, 200, DIMENSIONS, "late"))
    made.delete(KEY, [f"r{at}".encode() for at in range(0, 600, 3)])
    made.put(KEY, random_vectors(rng, 40, DIMENSIONS, "small"))
    assert [segment.has_graph for segment in made.view._spaces[KEY].segments] == [True, True]
    return made


def overlap(journaled: Journaled, limit: int, allowed: list[bytes] | None = None) -> float:
    """Return the recall of approximate searches, having checked all that must hold in any case."""
    rng = np.random.default_rng(7)
    found = wanted = 0
    for _ in range(40):
        query = rng.normal(size=DIMENSIONS).astype(np.float32)
        journaled.check(KEY, query, limit, allowed)
        truth = {one for one, _ in journaled.view.search(*KEY, query, limit, allowed, exact=True)}
        found += len(truth & {one for one, _ in journaled.view.search(*KEY, query, limit, allowed)})
        wanted += len(truth)
    return found / wanted


def test_graphs_find_what_there_is(journaled: Journaled) -> None:
    assert overlap(journaled, 10) > 0.9
    assert journaled.view.statistics()["approximate_searches"]


@pytest.mark.parametrize("step", [2, 7, 30, 200, 5000])
def test_filters_of_every_width(journaled: Journaled, step: int) -> None:
    allowed = sorted(journaled.records[KEY])[::step]
    assert overlap(journaled, 10, [*allowed, b"nobody", b"r0"]) > 0.9


def test_few_rows_are_searched_exactly(journaled: Journaled) -> None:
    before = journaled.view.statistics()["approximate_searches"]
    journaled.view.search(*KEY, np.ones(DIMENSIONS, np.float32), 5, sorted(journaled.records[KEY])[:50])
    journaled.view.search(*KEY, np.ones(DIMENSIONS, np.float32), 5, exact=True)
    assert journaled.view.statistics()["approximate_searches"] == before


def test_a_selection_follows_the_space(journaled: Journaled) -> None:
    selection = Selection([b"r1", b"r2", b"late5", b"new"])
    query = np.ones(DIMENSIONS, np.float32)

    def ids() -> set[bytes]:
        return {record_id for record_id, _ in journaled.view.search(*KEY, query, 9, selection)}

    assert ids() == {b"r1", b"r2", b"late5"}
    journaled.delete(KEY, [b"r1"])
    assert ids() == {b"r2", b"late5"}
    journaled.put(KEY, {b"new": query, b"r2": -query})
    assert ids() == {b"r2", b"late5", b"new"}
    journaled.view.merge(*KEY)
    assert ids() == {b"r2", b"late5", b"new"}


def test_more_are_wanted_than_there_are(journaled: Journaled) -> None:
    journaled.check(KEY, np.ones(DIMENSIONS, np.float32), 10_000)
    journaled.check(KEY, np.ones(DIMENSIONS, np.float32), 10_000, sorted(journaled.records[KEY])[::2])


def test_equals_are_ordered_by_id(tmp_path: Path) -> None:
    journaled = Journaled(tmp_path / "view", OPTIONS)
    journaled.commit(Create(*KEY, Spec(DIMENSIONS)))
    one = np.ones(DIMENSIONS, np.float32)
    names = [f"{number:03}".encode() for number in np.random.default_rng(5).permutation(90).tolist()]
    for start in range(0, 90, 30):
        journaled.put(KEY, dict.fromkeys(names[start : start + 30], one))
        if start < 60:
            journaled.view.merge(*KEY)
    for limit in (1, 10, 50, 89, 90, 91):
        hits = journaled.view.search(*KEY, one, limit)
        assert [record_id for record_id, _ in hits] == sorted(names)[:limit]


def test_neighbours_change_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    tiny = random_vectors(rng, 30, DIMENSIONS)
    huge = random_vectors(rng, 3000, DIMENSIONS) | {one: vector * 1.001 for one, vector in tiny.items()}
    spec = Spec(DIMENSIONS, precision=Precision.BF16)
    alone = Journaled(tmp_path / "alone", OPTIONS)
    beside = Journaled(tmp_path / "beside", OPTIONS)
    alone.commit(Create(b"acme", "texts", spec))
    for key in ((b"acme", "texts"), (b"acme-corp", "texts"), (b"acme", "texts-2"), (b"acm", "etexts")):
        beside.commit(Create(*key, spec))
        if key != (b"acme", "texts"):
            beside.put(key, huge)
            beside.view.merge(*key)
    # Not in the same order, nor in one commit: where a row lies must not matter.
    alone.put((b"acme", "texts"), tiny)
    for one in sorted(tiny, reverse=True):
        beside.put((b"acme", "texts"), {one: tiny[one]})
    for query in random_vectors(rng, 20, DIMENSIONS).values():
        for limit in (1, 7, 100):
            answers = [each.view.search(b"acme", "texts", query, limit) for each in (alone, beside)]
            assert answers[0] == answers[1]
    beside.check_all()


def test_recall_is_watched(journaled: Journaled) -> None:
    rng = np.random.default_rng(8)
    for _ in range(5):
        journaled.view.search(*KEY, rng.normal(size=DIMENSIONS).astype(np.float32), 10)
        while journaled.view.maintain():
            pass
    figures = journaled.view.statistics()
    assert figures["recall_samples"] == 5
    assert figures["recall"] is not None
    assert 0.8 < figures["recall"] <= 1


def test_a_graph_that_finds_nothing_shows_in_the_recall(
    journaled: Journaled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = journaled.view._spaces[KEY].segments[0]
    graph = new_graph(base.spec)
    others = np.random.default_rng(3).normal(size=(base.rows, DIMENSIONS)).astype(np.float32)
    graph.add(np.arange(base.rows, dtype=np.uint64), others)
    graph.save(str(tmp_path / "other"))
    file = (tmp_path / "other").read_bytes()
    wrong = Graph(file, DIMENSIONS, base.spec.measure, base.spec.graph_precision)
    monkeypatch.setattr(base, "graph", wrong)
    rng = np.random.default_rng(8)
    journaled.view.search(*KEY, rng.normal(size=DIMENSIONS).astype(np.float32), 10)
    while journaled.view.maintain():
        pass
    recall = journaled.view.statistics()["recall"]
    assert recall is not None
    assert recall < 0.8


def test_memory_is_accounted(journaled: Journaled) -> None:
    figures = journaled.view.statistics()
    segments = journaled.view._spaces[KEY].segments
    tables = sum(4 * (each.rows + 1) for each in segments)
    assert figures["graph_bytes"] == tables + sum((each.folder / "graph").stat().st_size for each in segments)
    assert figures["mapped_rows_bytes"] == sum((each.folder / "rows").stat().st_size for each in segments)
    assert figures["tombstone_bytes"] == 8 * sum(each.rows for each in segments)
    assert figures["vectors"] == len(journaled.records[KEY])
    assert figures["delta_rows"] == 240


def test_graphs_beyond_the_budget_are_told(tmp_path: Path) -> None:
    options = VectorOptions(exact_rows_max=10, graph_bytes_max=1000)
    journaled = Journaled(tmp_path / "view", options, HereBuilder())
    journaled.commit(Create(*KEY, Spec(DIMENSIONS)))
    journaled.put(KEY, random_vectors(np.random.default_rng(1), 500, DIMENSIONS))
    journaled.view.merge(*KEY)
    figures = journaled.view.statistics()
    assert figures["graph_bytes_over"] == (figures["graph_bytes"] or 0) - 1000
    journaled.check_all()


def test_the_budget_is_for_the_graphs_of_all_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    advised: list[str] = []

    def opened(self: Segment, folder: Path, *arguments: Any, random_access: bool = False) -> None:
        if random_access:
            advised.append(folder.name)
        open_segment(self, folder, *arguments, random_access=random_access)

    open_segment = Segment.__init__
    monkeypatch.setattr(Segment, "__init__", opened)
    options = VectorOptions(exact_rows_max=10, graph_bytes_max=150_000)
    journaled = Journaled(tmp_path / "view", options, HereBuilder())
    for number, name in enumerate(("one", "two")):
        journaled.commit(Create(b"s", name, Spec(DIMENSIONS)))
        journaled.put((b"s", name), random_vectors(np.random.default_rng(number), 600, DIMENSIONS))
        journaled.view.merge(b"s", name)
    (one,), (two,) = (journaled.view._spaces[b"s", name].segments for name in ("one", "two"))
    assert one.graph_bytes < 150_000 < one.graph_bytes + two.graph_bytes
    assert advised == [two.folder.name]
    journaled.reopen()
    assert advised == 2 * [two.folder.name]
    assert journaled.view.statistics()["graph_bytes_max"] == 150_000
    journaled.check_all()


def test_how_far_graphs_are_searched_is_known_after_a_restart(tmp_path: Path) -> None:
    journaled = Journaled(tmp_path / "view", VectorOptions(exact_rows_max=10), HereBuilder())
    journaled.commit(Create(*KEY, Spec(DIMENSIONS)))
    journaled.put(KEY, random_vectors(np.random.default_rng(1), 100, DIMENSIONS))
    journaled.view.merge(*KEY)
    journaled.view._spaces[KEY].effort.now = 181
    journaled.view.checkpoint()
    journaled.reopen()
    assert journaled.view.statistics()["effort_max"] == 181
    journaled.options = VectorOptions(exact_rows_max=10, recall=0.0)  # nothing is learnt: as it was chosen
    journaled.reopen()
    assert journaled.view.statistics()["effort_max"] == journaled.options.expansion_search


@pytest.mark.parametrize(("first", "recall"), [(16, 0.99), (1_024, 0.9)])
def test_graphs_are_searched_as_far_as_the_recall_needs(tmp_path: Path, first: int, recall: float) -> None:
    options = VectorOptions(exact_rows_max=10, recall_interval=1, expansion_search=first, recall=recall)
    journaled = Journaled(tmp_path / "view", options, HereBuilder())
    journaled.commit(Create(*KEY, Spec(DIMENSIONS)))
    rng = np.random.default_rng(1)
    journaled.put(KEY, random_vectors(rng, 3_000, DIMENSIONS))
    journaled.view.merge(*KEY)
    for _ in range(200):
        journaled.view.search(*KEY, rng.normal(size=DIMENSIONS).astype(np.float32), 10)
        while journaled.view.maintain():
            pass
    effort = journaled.view.statistics()["effort_max"]
    assert effort is not None
    assert effort > first if recall > 0.95 else effort < first
    assert overlap(journaled, 10) > recall - 0.03
    journaled.view.search_many(*KEY, [np.ones(DIMENSIONS, np.float32)], 10, effort=64)
    assert journaled.view.statistics()["effort_max"] == effort


def sampled(journaled: Journaled, rng: np.random.Generator, searches: int) -> None:
    for _ in range(searches):
        journaled.view.search(*KEY, rng.normal(size=DIMENSIONS).astype(np.float32), 10)
        while journaled.view.maintain():
            pass


def test_the_recall_is_held_while_memories_come_and_go(tmp_path: Path) -> None:
    options = VectorOptions(exact_rows_max=10, recall_interval=1, expansion_search=16, recall=0.99)
    journaled = Journaled(tmp_path / "view", options, HereBuilder())
    journaled.commit(Create(*KEY, Spec(DIMENSIONS)))
    rng = np.random.default_rng(9)
    journaled.put(KEY, random_vectors(rng, 3_000, DIMENSIONS))
    journaled.view.merge(*KEY)
    sampled(journaled, rng, 100)
    assert overlap(journaled, 10) >= 0.995
    effort = journaled.view._spaces[KEY].effort
    for turn in range(2):
        graphs = effort.generation
        gone = sorted(journaled.records[KEY])[turn::3]
        journaled.delete(KEY, gone[: len(gone) // 8])
        assert effort.generation == graphs  # so few are no other graphs
        journaled.delete(KEY, gone[len(gone) // 8 :])
        assert effort.generation == graphs + 1
        journaled.put(KEY, random_vectors(rng, 1_000, DIMENSIONS, f"turn{turn}-"))
        journaled.view.merge(*KEY)
        assert effort.generation == graphs + 2
        sampled(journaled, rng, 100)
        assert overlap(journaled, 10) >= 0.995
