"""What the view holds, in figures for `status`: memory and mapped files told apart."""

from __future__ import annotations

from collections.abc import Sequence

from recollectd.storage.vectors.manifest import IDS_NAME, ROWS_NAME
from recollectd.storage.vectors.options import VectorOptions
from recollectd.storage.vectors.pressure import MergeClock
from recollectd.storage.vectors.recall import RecallMonitor
from recollectd.storage.vectors.space import Space


def view_statistics(
    spaces: Sequence[Space], clock: MergeClock, recall: RecallMonitor, options: VectorOptions
) -> dict[str, int | float | None]:
    """Return figures by name.

    graph_bytes: of graphs, which must stay in memory to be fast, and are to fit into graph_bytes_max; tombstone_bytes:
    of who died when; mapped_rows_bytes and mapped_ids_bytes: of files that are read here and there; effort_max: how far
    graphs are searched at most. merging_left_s: seconds until the merge under way has entered its rows;
    merged_rows_saved: rows that builds which were cut off had entered.
    """
    segments = [segment for space in spaces for segment in space.segments]
    graph_bytes = sum(segment.graph_bytes for segment in segments)
    files = [segment.entry.files for segment in segments]
    return {
        "spaces": len(spaces),
        "damaged_spaces": sum(bool(space.damaged) for space in spaces),
        "vectors": sum(space.live for space in spaces),
        "segments": len(segments),
        "dead_rows": sum(segment.dead for segment in segments),
        "graph_bytes": graph_bytes,
        "graph_bytes_max": options.graph_bytes_max,
        "graph_bytes_over": max(0, graph_bytes - options.graph_bytes_max) if options.graph_bytes_max else 0,
        "tombstone_bytes": sum(segment.died.nbytes for segment in segments),
        "mapped_rows_bytes": sum(marks[ROWS_NAME].length for marks in files),
        "mapped_ids_bytes": sum(marks[IDS_NAME].length for marks in files),
        "delta_rows": sum(space.delta_rows for space in spaces),
        "delta_bytes": sum(space.delta_bytes for space in spaces),
        "merges": clock.merges,
        "merging_rows": clock.total,
        "merging_rows_done": clock.done,
        "merging_left_s": clock.left_s,
        "merged_rows_saved": clock.rows_saved,
        "merged_rows_per_s": clock.rows_per_s,
        "searches": recall.searches,
        "approximate_searches": recall.approximate,
        "recall_samples": recall.sampled,
        "recall": recall.recall,
        "effort_max": max((space.effort.now for space in spaces if space.segments), default=0),
    }
