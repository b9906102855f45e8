"""Vector search in process and through the socket: ours beside hnswlib and faiss, in interleaved rounds.

All have M = 16 and efConstruction = 128, one thread, one query at a time. Each is first given the least effort with
which its recall@10 against brute force is .95; then rounds of all queries alternate, and CPU time of the asking thread
is compared. Ours includes what a caller gets: record ids, exact scores from stored vectors, a consistent snapshot.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

import numpy as np

from bench.latency import percentiles
from bench.report import Report
from bench.vectors import engines, large, through_socket
from bench.vectors.data import NEAREST, Data, nearest, read, recall, synthetic
from bench.vectors.engines import SCOPE, SPACE, Engine, FaissHnsw, Hnswlib, Ours
from recollectd.server.main import SWITCH_INTERVAL_S
from recollectd.storage.vectors.changes import Change, Delete, Put
from recollectd.storage.vectors.selection import Selection
from recollectd.storage.vectors.view import VectorView

RECALL: Final = 0.95
CPU_RATIO_MAX: Final = 1.35
ROUNDS: Final = 5
FILTERS: Final = (0.5, 0.1, 0.01)
FILTER_QUERIES: Final = 200
CHURN: Final = 0.3
BURST_PER_S: Final = 6_000
BURST_PER_COMMIT: Final = 20


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the bench's options."""
    parser.add_argument("file", type=Path, help="npz with `base` and `query`, as the data folder's README says")
    parser.add_argument("--rows", type=int, help="only the first so many of the base")
    parser.add_argument("--burst", type=int, default=100_000, help="vectors in the burst (default %(default)s)")
    parser.add_argument("--burst-only", action="store_true", help="nothing but the burst through the socket")
    parser.add_argument("--large", type=int, default=0, help="also `python -m bench large` with so many")


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Search, weigh, filter, churn, burst."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)  # as in the daemon: searches and adds share this interpreter
    data = read(arguments.file, arguments.rows)
    if arguments.burst_only:
        with (
            tempfile.TemporaryDirectory(dir=arguments.folder) as folder,
            through_socket.filled(Path(folder, "d"), data.base, {}, report) as daemon,
        ):
            through_socket.burst(daemon, data, arguments.burst, report)
        return
    peers: list[Engine] = [Hnswlib(data.base), FaissHnsw(data.base)]
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        view = engines.open_view(Path(folder, "searched"), recall_interval=0)
        started = time.monotonic()
        engines.load(view, data.base)
        engines.settle(view)
        seconds = time.monotonic() - started
        case = f"{len(data.base):,} x {data.base.shape[1]}"
        report.add("adds until all are in the base", case, unit="vectors/s", ours=len(data.base) / seconds)
        _compare(view, data, peers, report, case)
        _filters(view, data, report, case)
        _churn(view, data, report, case)
        view.close()
        with through_socket.filled(Path(folder, "d"), data.base, {}, report) as daemon:
            through_socket.compare(daemon, data, peers, report, CPU_RATIO_MAX)
            through_socket.filters(daemon, data, report)
            through_socket.after_churn(daemon, data, CHURN, report)
            through_socket.burst(daemon, data, arguments.burst, report)
        _burst(Path(folder, "burst"), data, arguments.burst, report)
        if arguments.large:
            large.measure(Path(folder), arguments.large, report)


def _compare(view: VectorView, data: Data, peers: list[Engine], report: Report, case: str) -> None:
    """Compare in process; leave everybody at the effort found."""
    every: list[Engine] = [Ours(view), *peers]
    found = {engine.name: engines.effort_for(engine, data, RECALL) for engine in every}
    for engine in every:
        effort, reached = found[engine.name]
        report.add("effort (ef) for recall@10", f"{case}, {engine.name}", unit="", ours=effort)
        report.add("  recall@10 reached", f"{case}, {engine.name}", unit="", ours=reached, must=f">= {RECALL}")
    spent: dict[str, list[float]] = {engine.name: [] for engine in every}
    waited: dict[str, list[float]] = {engine.name: [] for engine in every}
    for _ in range(ROUNDS):
        for engine in every:
            spent[engine.name].append(statistics.fmean(engines.cpu_us(engine, data.queries)))
            waited[engine.name].extend(engines.wall_us(engine, data.queries))
    ours = statistics.median(spent[every[0].name])
    p99 = percentiles(waited[every[0].name]).p99
    for engine in every[1:]:
        theirs = statistics.median(spent[engine.name])
        report.add(
            *("CPU per query at recall .95", case),
            unit="us",
            ours=ours,
            theirs=theirs,
            peer=engine.name,
            must=f"<= {theirs * CPU_RATIO_MAX:.1f}" if engine.name == "hnswlib" else None,
        )
        theirs = percentiles(waited[engine.name]).p99
        report.add("p99 per query at recall .95", case, unit="ms", ours=p99, theirs=theirs, peer=engine.name)
    for engine in every[1:]:
        weight = engine.index_bytes() / 1e6
        mine = every[0].index_bytes() / 1e6
        report.add(
            *("memory of graph and tombstones", case),
            unit="MB",
            ours=mine,
            theirs=weight,
            peer=engine.name,
            must=f"<= {weight / 2:.1f}" if engine.name == "hnswlib" else None,
        )
    figures = view.statistics()
    for name in ("mapped_rows_bytes", "mapped_ids_bytes"):
        report.add(f"  beside it {name}", case, unit="MB", ours=float(figures[name] or 0) / 1e6)


def _filters(view: VectorView, data: Data, report: Report, case: str) -> None:
    rng = np.random.default_rng(3)
    queries = data.queries[:FILTER_QUERIES]
    for share in FILTERS:
        allowed = rng.random(len(data.base)) < share
        truth = nearest(data.base, queries, allowed)
        ids = [str(row).encode() for row in np.flatnonzero(allowed).tolist()]
        selection = Selection(ids)
        found, spent = [], []
        for query in queries:
            started = time.thread_time_ns()
            hits = view.search(SCOPE, SPACE, query, NEAREST, selection)
            spent.append((time.thread_time_ns() - started) / 1000)
            found.append([int(record_id) for record_id, _ in hits])
        kind = f"{case}, {share:.0%} allowed"
        report.add("recall@10 with a filter", kind, ours=recall(found, truth), must=f">= {RECALL}")
        report.add("  CPU per query, filter looked up before", kind, unit="us", ours=statistics.median(spent[1:]))
        started = time.thread_time_ns()
        view.search(SCOPE, SPACE, queries[0], NEAREST, ids)
        report.add("  with looking it up", kind, unit="us", ours=(time.thread_time_ns() - started) / 1000)


def _churn(view: VectorView, data: Data, report: Report, case: str) -> None:
    """Delete and add again, under other ids, so much of the rows."""
    rng = np.random.default_rng(4)
    rows = rng.permutation(len(data.base))[: int(len(data.base) * CHURN)].tolist()
    started = time.monotonic()
    for start in range(0, len(rows), engines.PUTS_PER_COMMIT):
        chunk = rows[start : start + engines.PUTS_PER_COMMIT]
        changes: list[Change] = [Delete(SCOPE, SPACE, str(row).encode()) for row in chunk]
        changes += [Put(SCOPE, SPACE, f"0{row}".encode(), data.base[row].tobytes()) for row in chunk]
        while (pressure := view.pressure(SCOPE, SPACE, len(chunk))) is not None:
            time.sleep(pressure.retry_after_ms / 1000)
        view.apply(view.applied_seq + 1, changes)
    engines.settle(view)
    ours = Ours(view)
    reached = recall([ours.find(query) for query in data.queries], data.truth)
    kind = f"{case}, {CHURN:.0%} deleted and added"
    report.add("recall@10 after churn, the effort of before", kind, ours=reached)
    effort, reached = engines.effort_for(ours, data, RECALL)
    report.add("effort (ef) for recall@10 after churn", kind, unit="", ours=effort)
    report.add("  recall@10 reached", kind, ours=reached, must=f">= {RECALL}")
    report.add("  churn until all is in the base", kind, unit="s", ours=time.monotonic() - started)


def _burst(folder: Path, data: Data, count: int, report: Report) -> None:
    """Add at a steady rate while another thread searches without a pause; both in this process."""
    view = engines.open_view(folder, recall_interval=0)
    half = data.base[: len(data.base) // 2]
    engines.load(view, half)
    engines.settle(view)
    extra = synthetic(data.base, count, seed=6)
    waited: list[float] = []
    done = threading.Event()

    def ask() -> None:
        rng = np.random.default_rng(8)
        while not done.is_set():
            query = data.queries[rng.integers(0, len(data.queries))]
            started = time.perf_counter_ns()
            view.search(SCOPE, SPACE, query, NEAREST)
            waited.append((time.perf_counter_ns() - started) / 1000)
            done.wait(0.002)

    asking = threading.Thread(target=ask)
    asking.start()
    refused = 0
    started = time.monotonic()
    for number, start in enumerate(range(0, count, BURST_PER_COMMIT)):
        due = started + number * BURST_PER_COMMIT / BURST_PER_S
        time.sleep(max(0.0, due - time.monotonic()))
        rows = range(start, min(start + BURST_PER_COMMIT, count))
        while (pressure := view.pressure(SCOPE, SPACE, len(rows))) is not None:
            refused += 1
            time.sleep(pressure.retry_after_ms / 1000)
        view.apply(
            view.applied_seq + 1,
            [Put(SCOPE, SPACE, f"x{row}".encode(), extra[row].tobytes()) for row in rows],
        )
    seconds = time.monotonic() - started
    done.set()
    asking.join()
    case = f"{count:,} vectors into {len(half):,}, one thread searching"
    found = percentiles(waited)
    report.add("burst of adds", case, unit="vectors/s", ours=count / seconds, must=">= 5000")
    report.add("  answered BUSY", case, unit="times", ours=refused)
    report.add("  searches meanwhile p50", case, unit="ms", ours=found.p50)
    report.add("  searches meanwhile p99", case, unit="ms", ours=found.p99, must="< 10")
    report.add("  searches meanwhile max", case, unit="ms", ours=found.longest)
    waiting = float(view.statistics()["delta_rows"] or 0)
    report.add("  rows not yet merged at the end", case, unit="rows", ours=waiting)
    merging = time.monotonic()
    engines.settle(view)
    report.add("  until they are", case, unit="s", ours=time.monotonic() - merging)
    rate = float(view.statistics()["merged_rows_per_s"] or 0)
    report.add("sustained rate of merges", f"{len(half) + count:,} at the end", unit="vectors/s", ours=rate)
    view.close()
