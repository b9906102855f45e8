"""The value cache: what a cached value costs in memory above its own bytes, and what share of reads it answers.

Memory is the resident memory by which a process grows that does nothing but fill a cache, less the bytes of keys and
values; each case is a process of its own. Hit ratios are counted over traces, not timed, so every run gives the same.
"""

from __future__ import annotations

import argparse
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Final, NamedTuple

import msgspec
import psutil

from bench.report import Report
from recollectd._native.hot_reads import HotReads
from recollectd._native.value_cache import ValueCache
from recollectd.protocol import limits
from recollectd.protocol.messages.fields import Kind
from recollectd.storage.keyspace import record_key

VALUE_BYTES: Final = 200
MUST: Final = "<= 100"
GOAL_BYTES: Final = 64
_MIB: Final = 1024 * 1024
_NAMESPACE: Final = ("acme", "assistant-7")
_NOW_US: Final = 1_800_000_000_000_000
_HOUR_US: Final = 3_600_000_000

Fill = Callable[[ValueCache, int], None]


class Footprint(NamedTuple):
    """Bytes, and how many values they are for. resident: what the process grew by; counted: what the cache says."""

    resident: int
    counted: int
    content: int
    values: int


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the bench's options."""
    parser.add_argument("--values", type=int, default=500_000, help="values that are put in (default %(default)s)")


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Fill caches, then replay traces."""
    for case in _CASES:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found = pool.submit(footprint, case, arguments.values).result()
        above = (found.resident - found.content) / found.values
        counted = (found.counted - found.content) / found.values
        report.add("memory above key and value", case, unit="bytes/value", ours=above, must=MUST)
        report.add("  as the cache counts it", case, unit="bytes/value", ours=counted)
        report.add("  goal met", case, ours=int(above <= GOAL_BYTES))
        report.add("  values held", case, ours=found.values)
    for case, scans in (("zipf 0.9", False), ("zipf 0.9, half of all reads a walk", True)):
        ours, room = hit_ratio(trace(scans=scans))
        theirs = lru_ratio(trace(scans=scans), room)
        report.add("hit ratio of what is read again", case, peer="LRU of as many", ours=ours, theirs=theirs)


# -- memory --------------------------------------------------------------------------------------------------------


def _key(number: int) -> bytes:
    return record_key(Kind.STATE, _NAMESPACE, f"state:{number:08d}")


def _put(cache: ValueCache, number: int, size: int = VALUE_BYTES, expires_at: int = 0) -> None:
    value = msgspec.msgpack.encode(bytes(size))
    cache.put(1, _key(number), value, 3, _NOW_US, _NOW_US, expires_at, 1_000_000 + number, False)


def _once(cache: ValueCache, values: int) -> None:
    for number in range(values):
        _put(cache, number)


def _expiring(cache: ValueCache, values: int) -> None:
    for number in range(values):
        _put(cache, number, expires_at=_NOW_US + _HOUR_US)


def _rewritten(cache: ValueCache, values: int) -> None:
    """Each three times, with a size between half and one and a half of the usual one."""
    noise = random.Random(1)
    for _ in range(3):
        for number in noise.sample(range(values), values):
            _put(cache, number, noise.randrange(VALUE_BYTES // 2, VALUE_BYTES * 3 // 2))


class _Case(NamedTuple):
    """How a cache is filled; room_percent: of what all values would take."""

    fill: Fill
    room_percent: int


_CASES: Final[dict[str, _Case]] = {
    "200-byte values, room for all": _Case(_once, 150),
    "200-byte values, full": _Case(_once, 50),
    "with a time to live": _Case(_expiring, 150),
    "rewritten in other sizes, full": _Case(_rewritten, 50),
}


def footprint(name: str, values: int) -> Footprint:
    """Fill a cache and weigh it; in a process that does nothing else."""
    case = _CASES[name]
    bytes_max = max(4 * _MIB, values * (VALUE_BYTES + 100) * case.room_percent // 100)
    _put(ValueCache(4 * _MIB, 1), 0)  # what is made once and kept is made now
    process = psutil.Process()
    before = process.memory_info().rss
    cache = ValueCache(bytes_max, 1)
    case.fill(cache, values)
    resident = process.memory_info().rss - before
    figures = cache.statistics()
    content = figures["key_bytes"] + figures["value_bytes"]
    return Footprint(resident, figures["bytes"], content, figures["values"])


# -- hit ratio -----------------------------------------------------------------------------------------------------

_HOT: Final = 8_000
_READS: Final = 100_000


def trace(*, scans: bool) -> Iterator[tuple[int, bool]]:
    """Yield which record is read, and whether it is one that is read again."""
    noise = random.Random(7)
    weights = [1 / (rank + 1) ** 0.9 for rank in range(_HOT)]
    for turn, number in enumerate(noise.choices(range(_HOT), weights, k=_READS)):
        yield number, True
        if scans:
            yield _HOT + turn, False


def hit_ratio(reads: Iterator[tuple[int, bool]]) -> tuple[float, int]:
    """Return the share of reads that a small cache answers, of those that come again, and how many values it holds."""
    cache = ValueCache(_MIB, 1)
    desk = HotReads(
        cache,
        now_us=lambda: _NOW_US,
        touched=lambda touches: None,
        limits=limits.table(),
        bytes_in_flight_max=_MIB,
        request_bytes=0,
    )
    value = msgspec.msgpack.encode(bytes(VALUE_BYTES))
    hits = asked = 0
    for number, again in reads:
        key = _key(number)
        there = desk.get(key) is not None
        hits, asked = hits + (there and again), asked + again
        if not there:
            cache.fill(1, key, value, 1, _NOW_US, _NOW_US, 0, 1, False)
    return hits / asked, cache.statistics()["values"]


def lru_ratio(reads: Iterator[tuple[int, bool]], room: int) -> float:
    """Return the same for a cache of so many values that evicts the least recently used."""
    kept: OrderedDict[int, None] = OrderedDict()
    hits = asked = 0
    for number, again in reads:
        hits, asked = hits + (number in kept and again), asked + again
        kept[number] = None
        kept.move_to_end(number)
        if len(kept) > room:
            kept.popitem(last=False)
    return hits / asked
