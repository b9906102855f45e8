"""What an operator or a test may choose of the vector view."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VectorOptions:
    """Rows are vectors; bytes are of memory or files as each says.

    flush_rows: a delta of so many rows is made a segment. Fewer: faster searches under writes, more work of merging.
    quiet_rows_min: so many rows are made a segment when the space has not changed for some seconds.
    delta_rows_max: at so many rows not yet in a segment, writes to the space are answered BUSY.
    delta_bytes_max: the same for the memory of all spaces' deltas together.
    exact_rows_max: a space of at most so many live rows is always searched exactly.
    allowed_exact_max: a filter that leaves at most so many rows is searched exactly.
    coarse_rows_min: a delta of more rows is asked by its i8 copies first.
    expansion_search: how far graphs are searched at first; more is slower and finds more.
    recall: so far that they find this share of the nearest at least they are searched once that is known (0 to 1; 0: as
    at first).
    connectivity, expansion_add: how dense graphs are made; more is slower, larger and finds more.
    rebuild_share: a graph of which so much was replaced since it was built is built from scratch.
    small_share: the second segment is merged into the base when it has grown to this share of it.
    build_threads: threads of the building process.
    parking_interval_s: a build keeps its graph so often, for the next one to go on with if it is cut off.
    graph_bytes_max: the part of the page cache that graphs of all spaces may fill; 0: unlimited. Those that do not fit
    are read without read-ahead, which is slow and does not push out the rest.
    dump_files_max: at so many files of deltas all are written as one.
    recall_interval: of how many approximate searches one is asked again exactly, in spaces of up to 20,000 rows, and
    more seldom in larger ones; 0: never.
    """

    flush_rows: int = 16_384
    quiet_rows_min: int = 1_024
    delta_rows_max: int = 131_072
    delta_bytes_max: int = 1 << 30
    exact_rows_max: int = 10_000
    allowed_exact_max: int = 20_000
    coarse_rows_min: int = 2_048
    expansion_search: int = 64
    recall: float = 0.95
    connectivity: int = 16
    expansion_add: int = 128
    rebuild_share: float = 0.3
    small_share: float = 0.15
    build_threads: int = 1
    parking_interval_s: float = 15.0
    graph_bytes_max: int = 0
    dump_files_max: int = 16
    recall_interval: int = 512
