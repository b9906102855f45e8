"""Which segments are merged next."""

from __future__ import annotations

import random

from recollectd.storage.keywords.manifest import SegmentEntry
from recollectd.storage.keywords.planning import DEAD_SHARE_MAX, MERGE_FAN, SMALLEST_BYTES, next_merge, size_class


def entry(number: int, file_bytes: int, dead: int = 0) -> SegmentEntry:
    return SegmentEntry(number, file_bytes, 0, 100, bytes(8 * dead))


def test_sizes() -> None:
    steps = [0, SMALLEST_BYTES - 1, SMALLEST_BYTES, SMALLEST_BYTES * MERGE_FAN - 1, SMALLEST_BYTES * MERGE_FAN]
    assert [size_class(file_bytes) for file_bytes in steps] == [0, 0, 1, 1, 2]


def test_few_segments_are_left_alone() -> None:
    assert next_merge([]) == []
    assert next_merge([entry(number, 100) for number in range(MERGE_FAN - 1)]) == []


def test_the_smallest_of_one_size_are_merged() -> None:
    small = [entry(number, 100 - number) for number in range(MERGE_FAN)]
    large = [entry(100 + number, SMALLEST_BYTES * 100) for number in range(MERGE_FAN)]
    assert next_merge([*large, *small]) == [3, 2, 1, 0]
    assert next_merge([*large, *small[1:]]) == [100, 101, 102, 103]


def test_a_segment_with_many_dead_is_rewritten_alone() -> None:
    most = int(100 * DEAD_SHARE_MAX)
    assert next_merge([entry(1, 100, most), entry(2, 100)]) == []
    assert next_merge([entry(1, 100, most + 1), entry(2, 100, most + 2)]) == [2]


def test_segments_stay_few_and_each_byte_is_rewritten_rarely() -> None:
    rng = random.Random(5)
    segments: dict[int, SegmentEntry] = {}
    written = flushed = 0
    for number in range(0, 4000, 2):
        segments[number] = entry(number, rng.randrange(20_000, 90_000))
        flushed += segments[number].file_bytes
        while numbers := next_merge(segments.values()):
            size = sum(segments.pop(one).file_bytes for one in numbers)
            segments[number + 1 + written] = entry(number + 1 + written, size)
            written += size
    assert len(segments) <= 8 * (MERGE_FAN - 1)
    assert written < 8 * flushed
