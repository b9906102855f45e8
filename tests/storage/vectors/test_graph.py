"""Graphs that usearch wrote, walked by native code: what is found, who counts, and files that are no graphs."""

from __future__ import annotations

import random
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from recollectd._native import vector_scan
from recollectd.storage.vectors.building import new_graph
from recollectd.storage.vectors.spec import Floats, Metric, Spec
from support.vectors import unit

ROWS, DIMENSIONS, EFFORT, NEAREST = 3_000, 24, 96, 10
SCALE = 200.0


def made(folder: Path, spec: Spec, vectors: Floats, *, removed: int = 0, keys_from: int = 0) -> bytes:
    """Return a graph's file; the first rows are removed from it and others put in their places."""
    graph = new_graph(spec, lookups=True)
    rows = np.clip(np.rint(vectors * SCALE), -127, 127).astype(np.int8) if spec.metric is Metric.COSINE else vectors
    keys = np.arange(keys_from, keys_from + len(rows), dtype=np.uint64)
    graph.add(keys, rows, threads=1)
    if removed:
        graph.remove(keys[:removed])
        graph.add(keys[: removed // 2][::-1], rows[: removed // 2][::-1], threads=1)
    graph.save(str(folder / "graph"))
    return (folder / "graph").read_bytes()


def opened(spec: Spec, file: bytes) -> vector_scan.Graph:
    return vector_scan.Graph(file, spec.dimensions, spec.measure, spec.graph_precision)


@pytest.fixture(params=list(Metric))
def spec(request: pytest.FixtureRequest) -> Spec:
    return Spec(DIMENSIONS, request.param)


def rows_of(spec: Spec, seed: int = 1) -> Floats:
    return unit(np.random.default_rng(seed).normal(size=(ROWS, DIMENSIONS)).astype(np.float32))


def asked(
    spec: Spec, graph: vector_scan.Graph, vectors: Floats, query: Floats, counts: np.ndarray, effort: int = EFFORT
) -> tuple[list[int], int]:
    """Return the rows found, and how many a walk kept; what does not count is dead or masked by turns."""
    died = np.where(counts | (np.arange(len(vectors)) % 2 == 0), 0, 1).astype(np.uint64)
    mask = np.packbits(counts | (np.arange(len(vectors)) % 2 == 1), bitorder="little")
    scan = vector_scan.Scan(spec.measure, spec.native_precision, DIMENSIONS, False, 5)
    scan.add_graph(graph, vectors, len(vectors), effort, NEAREST + 5, died, mask)
    hits, accepted = scan.run(query, NEAREST, 0)
    return [row for _, _, row in hits], accepted[0]


@pytest.mark.parametrize("share", [1.0, 0.7, 0.1])
@pytest.mark.parametrize("removed", [0, 900])
def test_the_nearest_that_count_are_found(tmp_path: Path, spec: Spec, share: float, removed: int) -> None:
    vectors = rows_of(spec)
    graph = opened(spec, made(tmp_path, spec, vectors, removed=removed))
    rng = np.random.default_rng(2)
    counts = rng.random(ROWS) < share
    counts[removed // 2 : removed] = False  # these are gone from the graph
    wanted = found = 0
    for query in unit(rng.normal(size=(50, DIMENSIONS)).astype(np.float32)):
        scores = np.where(counts, vectors @ query, -9)  # of unit vectors all metrics have one order
        truth = set(np.argsort(-scores)[:NEAREST].tolist())
        rows, kept = asked(spec, graph, vectors, query, counts)
        assert counts[rows].all()
        assert len(set(rows)) == NEAREST
        assert kept == EFFORT
        wanted, found = wanted + NEAREST, found + len(truth & set(rows))
    assert found / wanted > 0.95


def test_keys_beyond_the_rows_do_not_count(tmp_path: Path) -> None:
    spec = Spec(DIMENSIONS)
    vectors = rows_of(spec)
    graph = opened(spec, made(tmp_path, spec, vectors, keys_from=10))
    everybody = np.ones(ROWS, bool)
    rows, _ = asked(spec, graph, vectors, vectors[ROWS - 1], everybody, effort=ROWS)
    assert max(rows) < ROWS
    assert asked(spec, graph, vectors, vectors[0], everybody, effort=2 * ROWS)[1] == ROWS - 10


def test_several_queries_at_once_find_the_same(tmp_path: Path) -> None:
    spec = Spec(DIMENSIONS)
    vectors = rows_of(spec)
    graph = opened(spec, made(tmp_path, spec, vectors))
    scan = vector_scan.Scan(spec.measure, spec.native_precision, DIMENSIONS, True, 5)
    scan.add_graph(graph, vectors, ROWS, EFFORT, 20)
    queries = list(rows_of(spec, seed=3)[:40])
    names = [b"%d" % row for row in range(ROWS)]
    together = scan.run_many(queries, NEAREST, 18, 0, [names])
    for query, told in zip(queries, together, strict=True):
        assert told == [(names[row], score) for score, _, row in scan.run(query, 18, 0)[0][:NEAREST]]
    assert scan.run_many(queries[:1], NEAREST, ROWS, 0, [names]) == [None]  # the graph gave 96
    assert scan.run_many(queries[:1], NEAREST, NEAREST, 0, [names]) == [None]  # who comes behind is not known


@pytest.mark.parametrize("limit", [1, 2, 3, NEAREST])
def test_equals_are_told_by_id(tmp_path: Path, limit: int) -> None:
    spec = Spec(DIMENSIONS)
    vectors = rows_of(spec)
    vectors[1] = vectors[2] = vectors[0]
    scan = vector_scan.Scan(spec.measure, spec.native_precision, DIMENSIONS, True, 5)
    scan.add_graph(opened(spec, made(tmp_path, spec, vectors)), vectors, ROWS, EFFORT, 20)
    (told,) = scan.run_many([vectors[0]], limit, 18, 0, [[b"%06d" % (ROWS - row) for row in range(ROWS)]])
    assert told is not None
    assert len(told) == limit
    assert [record_id for record_id, _ in told[:3]] == [b"%06d" % (ROWS - row) for row in (2, 1, 0)][:limit]


def test_more_equals_than_were_asked_for_are_left_to_who_asks_for_more(tmp_path: Path) -> None:
    spec = Spec(DIMENSIONS)
    vectors = rows_of(spec)
    vectors[1:30] = vectors[0]
    scan = vector_scan.Scan(spec.measure, spec.native_precision, DIMENSIONS, True, 5)
    scan.add_range(vectors, ROWS)
    assert scan.run_many([vectors[0]], NEAREST, 18, 0, [list(range(ROWS))]) == [None]


def test_an_empty_graph_finds_nothing(tmp_path: Path) -> None:
    spec = Spec(DIMENSIONS)
    none = np.empty((0, DIMENSIONS), np.float32)
    graph = opened(spec, made(tmp_path, spec, none))
    assert len(graph) == 0
    assert asked(spec, graph, none, np.ones(DIMENSIONS, np.float32), np.ones(0, bool)) == ([], 0)


def test_what_is_no_graph_of_such_vectors_is_refused(tmp_path: Path) -> None:
    spec = Spec(DIMENSIONS)
    file = made(tmp_path, spec, rows_of(spec)[:100])
    head = 8 + 100 * DIMENSIONS
    for wrong in (b"", file[:7], file[:-1], file + b"\0", file[: head + 50], b"\xff" * 8 + file[8:]):
        with pytest.raises(ValueError, match=r"it|its"):
            opened(spec, wrong)
    for at, value in ((head, b"usearx"), (head + 64, struct.pack("<Q", 99)), (head + 64 + 32, struct.pack("<Q", 100))):
        with pytest.raises(ValueError, match=r"it|its"):
            opened(spec, file[:at] + value + file[at + len(value) :])
    with pytest.raises(ValueError, match="size"):
        opened(Spec(DIMENSIONS + 1), file)
    with pytest.raises(ValueError, match="bf16"):
        vector_scan.Graph(file, DIMENSIONS, vector_scan.DOT, vector_scan.F32)


def test_a_graph_of_other_dimensions_than_the_query_is_refused(tmp_path: Path) -> None:
    spec = Spec(DIMENSIONS)
    graph = opened(spec, made(tmp_path, spec, rows_of(spec)[:20]))
    for dimensions in DIMENSIONS - 1, DIMENSIONS + 1:
        scan = vector_scan.Scan(spec.measure, spec.native_precision, dimensions, True, 5)
        with pytest.raises(ValueError, match="dimensions"):
            scan.add_graph(graph, np.zeros((20, dimensions), np.float32), 20, EFFORT, 10)


HEAD_BYTES, FIGURES_BYTES = 64, 40
ODD = (0, 1, 2, 63, 64, 65, 1023, 1024, 1025, 0x7FFF, 0x8000, 0xFFFF, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 64) - 1)


def damage(file: bytes, rows: int, noise: random.Random) -> bytes:
    """Return a graph's file with something wrong: a figure, a level, links, its length."""
    figures = 8 + rows * DIMENSIONS + HEAD_BYTES
    levels = figures + FIGURES_BYTES
    changed = bytearray(file)
    for _ in range(noise.randint(1, 4)):
        odd = struct.pack("<Q", noise.choice(ODD))
        at, size = noise.choice(
            (
                (4 * noise.randrange(2), 4),
                (figures + 8 * noise.randrange(5), 8),
                (levels + 2 * noise.randrange(rows), 2),
                *((noise.randrange(levels + 2 * rows, len(file) - 8), 4) for _ in range(6)),
            )
        )
        changed[at : at + size] = odd[:size]
    if noise.random() < 0.1:
        del changed[noise.randrange(len(changed)) :]
    return bytes(changed) + b"\xff" * (noise.randrange(40) if noise.random() < 0.1 else 0)


@pytest.mark.parametrize("rows", [1, 2, 60])
def test_whatever_a_file_says_a_walk_ends_and_keeps_to_it(tmp_path: Path, rows: int) -> None:
    spec = Spec(DIMENSIONS)
    vectors = rows_of(spec)[:rows]
    file = made(tmp_path, spec, vectors)
    noise, counts = random.Random(rows), np.arange(rows) % 3 != 1
    walked = refused = 0
    for _ in range(1_500):
        try:
            graph = opened(spec, damage(file, rows, noise))
        except ValueError:
            refused += 1
            continue
        found, kept = asked(spec, graph, vectors, vectors[noise.randrange(rows)], counts, noise.choice((1, 16, 200)))
        assert all(row < rows and counts[row] for row in found)
        assert kept <= rows
        walked += 1
    assert min(walked, refused) > 200


def test_threads_walk_on_while_whoever_made_it_lets_go(tmp_path: Path) -> None:
    spec = Spec(DIMENSIONS)
    vectors, names = rows_of(spec), [[b"%d" % row for row in range(ROWS)]]
    file = made(tmp_path, spec, vectors)
    queries = list(rows_of(spec, seed=4)[:20])

    def scan_of(graph: vector_scan.Graph) -> vector_scan.Scan:
        scan = vector_scan.Scan(spec.measure, spec.native_precision, DIMENSIONS, True, 5)
        scan.add_graph(graph, vectors.copy(), ROWS, EFFORT, 20, np.zeros(ROWS, np.uint64))
        return scan

    expected = scan_of(opened(spec, file)).run_many(queries, NEAREST, 18, 0, names)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            scan = scan_of(opened(spec, bytes(bytearray(file))))
            asked_for = [pool.submit(scan.run_many, queries, NEAREST, 18, 0, names) for _ in range(4)]
            del scan
            assert all(each.result() == expected for each in asked_for)


def test_flipped_bytes_harm_nobody(tmp_path: Path) -> None:
    """The view compares checksums before it opens a graph; walks keep to the file all the same."""
    spec = Spec(DIMENSIONS)
    vectors = rows_of(spec)[:400]
    file = bytearray(made(tmp_path, spec, vectors))
    rng = np.random.default_rng(5)
    links = 8 + 400 * DIMENSIONS + 64 + 40 + 800
    opened_ones = 0
    for _ in range(60):
        damaged = bytearray(file)
        for at in rng.integers(links, len(file), 200).tolist():
            damaged[at] = int(rng.integers(0, 256))
        graph = opened(spec, bytes(damaged))
        rows, _ = asked(spec, graph, vectors, vectors[7], np.ones(400, bool))
        assert all(0 <= row < 400 for row in rows)
        opened_ones += 1
    assert opened_ones == 60
