"""Which segments to merge.

Segments are of one size if their sizes have the same logarithm to the base MERGE_FAN. MERGE_FAN of one size become
one, so each document is rewritten about once per size and there are at most MERGE_FAN - 1 segments of each size. A
segment of which more than DEAD_SHARE_MAX is dead is rewritten alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from recollectd.storage.keywords.manifest import SegmentEntry

MERGE_FAN: Final = 4
DEAD_SHARE_MAX: Final = 0.25
SMALLEST_BYTES: Final = 64 * 1024  # all smaller ones are of one size


def size_class(file_bytes: int) -> int:
    """Return the whole logarithm of a size in units of the smallest size."""
    units, found = file_bytes // SMALLEST_BYTES, 0
    while units:
        units //= MERGE_FAN
        found += 1
    return found


def next_merge(segments: Iterable[SegmentEntry]) -> list[int]:
    """Return the numbers of segments to merge next, the smallest first; empty when there is nothing to do."""
    sizes: defaultdict[int, list[SegmentEntry]] = defaultdict(list)
    for entry in segments:
        sizes[size_class(entry.file_bytes)].append(entry)
    for size in sorted(sizes):
        if len(sizes[size]) >= MERGE_FAN:
            return [
                entry.number
                for entry in sorted(sizes[size], key=lambda one: (one.file_bytes, one.number))[: 2 * MERGE_FAN]
            ]
    most = max(
        (entry for group in sizes.values() for entry in group),
        key=lambda entry: entry.dead_documents / max(entry.documents, 1),
        default=None,
    )
    if most is not None and most.dead_documents > most.documents * DEAD_SHARE_MAX:
        return [most.number]
    return []
