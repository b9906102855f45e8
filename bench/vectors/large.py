"""A space of a million vectors or so: what it costs to fill, to keep, to open after a kill, and to search cold."""

from __future__ import annotations

import gc
import os
import statistics
import time
from pathlib import Path

from bench.latency import percentiles
from bench.report import Report
from bench.states import drop_page_cache
from bench.vectors import engines
from bench.vectors.data import NEAREST, Data, Floats
from bench.vectors.engines import SCOPE, SPACE, Ours
from recollectd.storage.vectors.changes import Change


def large(folder: Path, base: Floats, data: Data, report: Report) -> None:
    """Fill, weigh, add some more, leave as a kill would, open, search."""
    case = f"{len(base):,} x {base.shape[1]}, synthetic"
    view = engines.open_view(folder, recall_interval=0, build_threads=_processors())
    started = time.monotonic()
    engines.load(view, base)
    engines.settle(view)
    seconds = time.monotonic() - started
    report.add("adds until all are in segments", case, unit="vectors/s", ours=len(base) / seconds)
    more = base[:50_000]
    started = time.monotonic()
    for start in range(0, len(more), engines.PUTS_PER_COMMIT):
        changes: list[Change] = engines.puts(more, range(start, min(start + engines.PUTS_PER_COMMIT, len(more))))
        while (pressure := view.pressure(SCOPE, SPACE, len(changes))) is not None:
            time.sleep(pressure.retry_after_ms / 1000)
        view.apply(view.applied_seq + 1, changes)
    engines.settle(view)
    report.add("sustained replaces", case, unit="vectors/s", ours=len(more) / (time.monotonic() - started))
    view.checkpoint()
    figures = view.statistics()
    for name in ("graph_bytes", "tombstone_bytes", "mapped_rows_bytes", "mapped_ids_bytes"):
        report.add(name.replace("_", " "), case, unit="MB", ours=float(figures[name] or 0) / 1e6)
    report.add("files", case, unit="MB", ours=sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6)
    warm = engines.wall_us(Ours(view), data.queries)
    report.add("search p50", f"{case}, warm", unit="ms", ours=percentiles(warm).p50)
    hits = [
        (
            {record_id for record_id, _ in view.search(SCOPE, SPACE, query, NEAREST)},
            {record_id for record_id, _ in view.search(SCOPE, SPACE, query, NEAREST, exact=True)},
        )
        for query in data.queries[:100]
    ]
    report.add("recall@10 with default options", case, ours=statistics.fmean(len(a & b) / len(b) for a, b in hits))
    # Nothing is made durable by closing: what opens next finds what a kill would have left.
    view.close()
    del view
    _reopen(folder, case, data, report)


def _processors() -> int:
    """All of them build: a space of this size is filled by an import, while nobody waits for searches."""
    return os.cpu_count() or 1


def _reopen(folder: Path, case: str, data: Data, report: Report) -> None:
    os.sync()
    gc.collect()  # pages that are still mapped stay in the cache
    for how in (drop_page_cache(folder), "files in the page cache"):
        started = time.monotonic()
        view = engines.open_view(folder, recall_interval=0, build_threads=_processors())
        view.search(SCOPE, SPACE, data.queries[0], NEAREST)
        seconds = time.monotonic() - started
        report.add("open until the first search", f"{case}, {how}", unit="s", ours=seconds, must="< 10")
        first = engines.wall_us(Ours(view), data.queries[1:101])
        report.add("the next 100 searches p50", f"{case}, {how}", unit="ms", ours=percentiles(first).p50)
        view.close()
        del view
