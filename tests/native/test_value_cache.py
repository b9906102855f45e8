"""The value cache alone: its bound, what it keeps, what it must never answer, its books."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollectd._native.hot_reads import HotReads
from recollectd._native.value_cache import BYTES_MAX, BYTES_MIN, ValueCache
from recollectd.protocol import limits, table
from recollectd.protocol.messages import state
from recollectd.protocol.messages.fields import Kind
from recollectd.protocol.messages.logs import LogItem, LogPage
from recollectd.storage.keyspace import record_key
from support.message_examples import raw

NOW_US: Final = 1_800_000_000_000_000
MIB: Final = 1024 * 1024
PAGE_BYTES: Final = 4096


class Shelf:
    """A cache and a desk to read from it."""

    def __init__(self, bytes_max: int = 4 * MIB, seed: int = 1) -> None:
        self.cache = ValueCache(bytes_max, seed)
        self.now_us = NOW_US
        self.touched: list[tuple[bytes, int]] = []
        self.reads = HotReads(
            self.cache,
            now_us=lambda: self.now_us,
            touched=self.touched.extend,
            limits=limits.table(),
            bytes_in_flight_max=MIB,
            request_bytes=0,
        )

    def put(
        self, name: str, value: bytes = b"\x01", *, seq: int = 1, expires_at: int = 0, sliding: bool = False
    ) -> None:
        self.cache.put(seq, state_key(name), value, 1, NOW_US, NOW_US, expires_at, seq, sliding)

    def fill(self, read_at: int, name: str, value: bytes = b"\x01") -> bool:
        return self.cache.fill(read_at, state_key(name), value, 1, NOW_US, NOW_US, 0, read_at, False)

    def get(self, name: str) -> bytes | None:
        """Return the value, b"" for a record that is absent, None when the cache cannot say."""
        found = self.reads.get(state_key(name))
        if found is None:
            return None
        reply = table.decode_reply(found)
        return bytes(reply.value) if isinstance(reply, state.StateRecord) else b""

    def last(self, wanted: int) -> list[int] | None:
        """Return the positions of the newest items of the one log there is."""
        found = self.reads.last(LOG, wanted)
        if found is None:
            return None
        page = table.decode_reply(found)
        assert isinstance(page, LogPage)
        return [item.position for item in page.items]

    def append(self, position: int, count: int = 1, *, first: int = 0, size: int = 8) -> None:
        items = tuple(item(position + index, size) for index in range(count))
        self.cache.append(1, LOG, first, position + count, 1, position, items)


def state_key(name: str) -> bytes:
    return record_key(Kind.STATE, ("n",), name)


LOG: Final = record_key(Kind.LOG, ("n",), "log")


def item(position: int, size: int = 8) -> bytes:
    return table.encode(LogItem(position, NOW_US, raw(b"i" * size)))


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


# -- bounds ---------------------------------------------------------------------------------------------------------


def test_sizes_out_of_bounds_are_refused() -> None:
    for size in (0, BYTES_MIN - 1, BYTES_MAX + 1):
        with pytest.raises(ValueError, match="bytes"):
            ValueCache(size, 0)


def test_keys_that_are_too_long_are_refused(shelf: Shelf) -> None:
    with pytest.raises(ValueError, match="4095"):
        shelf.cache.put_absent(1, b"\x01" * 4_096)
    shelf.cache.put_absent(1, b"\x01" * 4_095)


@pytest.mark.parametrize("size", [0, 1, 200, 4_000, 20_000])
def test_it_never_takes_more_than_its_bound(size: int) -> None:
    shelf = Shelf(BYTES_MIN)
    for number in range(4 * BYTES_MIN // (size + 50)):
        shelf.put(f"{number}", b"\xc4" + bytes(size), seq=number + 1)
        assert shelf.cache.statistics()["bytes"] <= BYTES_MIN
    assert shelf.cache.statistics()["evictions"]
    assert shelf.cache.statistics()["values"]


def test_what_is_too_large_is_not_kept_nor_what_it_replaces(shelf: Shelf) -> None:
    shelf.put("k")
    shelf.put("k", bytes(MIB))
    assert shelf.get("k") is None
    assert shelf.cache.statistics()["values"] == 0


def test_keys_that_share_a_hash_do_not_make_a_long_chain() -> None:
    """The table grows with what it holds, so a lookup stays short; nothing is lost on the way."""
    shelf = Shelf(64 * MIB)
    for number in range(20_000):
        shelf.put(f"{number}", msgspec.msgpack.encode(number))
    assert [shelf.get(f"{number}") for number in range(20_000)] == list(map(msgspec.msgpack.encode, range(20_000)))


# -- what it keeps --------------------------------------------------------------------------------------------------


def zipf(count: int, noise: random.Random, skew: float = 0.9) -> Callable[[], str]:
    weights = [1 / (rank + 1) ** skew for rank in range(count)]
    names = [f"hot {rank}" for rank in range(count)]
    cumulative: list[float] = []
    for weight in weights:
        cumulative.append((cumulative[-1] if cumulative else 0.0) + weight)
    return lambda: noise.choices(names, cum_weights=cumulative)[0]


def hit_ratio(trace: Iterable[str], shelf: Shelf, value: bytes) -> float:
    """Read a trace, filling in what is missing; return the share of the hot ones that was there."""
    hits = asked = 0
    for name in trace:
        there = shelf.get(name) is not None
        if name.startswith("hot"):
            asked += 1
            hits += there
        if not there:
            shelf.fill(1, name, value)
    return hits / asked


def lru_ratio(trace: Iterable[str], room: int) -> float:
    """Return the same for a cache of `room` values that evicts the least recently used."""
    kept: OrderedDict[str, None] = OrderedDict()
    hits = asked = 0
    for name in trace:
        if name.startswith("hot"):
            asked += 1
            hits += name in kept
        kept[name] = None
        kept.move_to_end(name)
        if len(kept) > room:
            kept.popitem(last=False)
    return hits / asked


def trace_of(scans: bool) -> list[str]:
    noise = random.Random(5)
    draw = zipf(8_000, noise)
    trace = []
    for turn in range(60_000):
        trace.append(draw())
        if scans:
            trace.append(f"scan {turn}")  # once and never again
    return trace


def test_a_scan_does_not_drive_out_what_is_read_often() -> None:
    """Half of all reads walk over keys that nobody asks for twice. It loses less by them than an LRU of its room."""
    value = msgspec.msgpack.encode(b"v" * 200)
    alone, beside = Shelf(BYTES_MIN), Shelf(BYTES_MIN)
    undisturbed = hit_ratio(trace_of(scans=False), alone, value)
    disturbed = hit_ratio(trace_of(scans=True), beside, value)
    room = beside.cache.statistics()["values"]
    lost_by_lru = lru_ratio(trace_of(scans=False), room) - lru_ratio(trace_of(scans=True), room)
    assert undisturbed - disturbed < 0.6 * lost_by_lru
    assert disturbed > lru_ratio(trace_of(scans=True), room) + 0.1


def test_it_is_no_worse_than_lru_without_scans() -> None:
    value = msgspec.msgpack.encode(b"v" * 200)
    shelf = Shelf(BYTES_MIN)
    ours = hit_ratio(trace_of(scans=False), shelf, value)
    assert ours > lru_ratio(trace_of(scans=False), shelf.cache.statistics()["values"])


# -- late fills -----------------------------------------------------------------------------------------------------


def test_a_read_that_began_before_a_change_does_not_fill(shelf: Shelf) -> None:
    read_at = 7
    shelf.cache.drop(8, state_key("k"))
    assert not shelf.fill(read_at, "k", b"\x07")
    assert shelf.get("k") is None
    assert shelf.fill(8, "k", b"\x08")
    assert shelf.get("k") == b"\x08"


@pytest.mark.parametrize("change", ["put", "absent", "touch", "clear", "drop"])
def test_no_change_lets_an_older_read_fill(shelf: Shelf, change: str) -> None:
    key = state_key("k")
    changes: dict[str, Callable[[], None]] = {
        "put": lambda: shelf.put("k", b"\x02", seq=5),
        "absent": lambda: shelf.cache.put_absent(5, key),
        "touch": lambda: shelf.cache.touch(5, key, NOW_US + 1, 5, False),
        "clear": lambda: shelf.cache.clear(5),
        "drop": lambda: shelf.cache.drop(5, key),
    }
    changes[change]()
    expected = shelf.get("k")
    assert not shelf.fill(4, "k", b"\x01")
    assert not shelf.cache.fill_absent(4, key)
    assert shelf.get("k") == expected
    assert shelf.cache.statistics()["fills_late"] == 2


def test_a_late_tail_does_not_fill(shelf: Shelf) -> None:
    shelf.cache.cut(5, LOG, 0, 0, 5)
    assert not shelf.cache.fill_tail(4, LOG, 0, 1, 4, (item(0),))
    assert shelf.cache.fill_tail(5, LOG, 0, 1, 5, (item(0),))
    assert shelf.last(1) == [0]


def test_a_change_elsewhere_seldom_costs_a_fill(shelf: Shelf) -> None:
    for number in range(100):
        shelf.put(f"other {number}", seq=9)
    kept = sum(shelf.fill(8, f"k {number}") for number in range(1_000))
    assert kept > 950


# -- expiry ---------------------------------------------------------------------------------------------------------


def test_an_expired_record_is_absent_from_its_moment_on(shelf: Shelf) -> None:
    shelf.put("k", b"\x05", expires_at=NOW_US + 1)
    assert shelf.get("k") == b"\x05"
    shelf.now_us = NOW_US + 1
    assert shelf.get("k") == b""
    found = shelf.reads.get_many((state_key("k"), state_key("k")))
    assert found is not None
    assert table.decode_reply(found) == state.StateRecords((None, None))


def test_a_touch_moves_the_moment(shelf: Shelf) -> None:
    shelf.put("k", b"\x05", expires_at=NOW_US + 1)
    shelf.cache.touch(2, state_key("k"), NOW_US + 9, 2, False)
    shelf.now_us = NOW_US + 8
    assert shelf.get("k") == b"\x05"
    shelf.cache.touch(3, state_key("k"), 0, 3, False)
    shelf.now_us = NOW_US + 10**9
    assert shelf.get("k") in (b"\x05", None)


def test_sliding_records_that_were_read_are_told(shelf: Shelf) -> None:
    shelf.put("k", expires_at=NOW_US + 5, sliding=True)
    shelf.put("other", expires_at=NOW_US + 5)
    shelf.get("k")
    shelf.get("other")
    assert shelf.touched == [(state_key("k"), NOW_US + 5)]
    shelf.now_us = NOW_US + 5
    shelf.get("k")
    assert len(shelf.touched) == 1, "what has expired is not touched"


# -- tails ----------------------------------------------------------------------------------------------------------


def test_a_tail_has_the_newest_and_says_when_it_does_not_reach(shelf: Shelf) -> None:
    most = shelf.cache.tail_items_max
    for position in range(10 * most):
        shelf.append(position)
        assert shelf.last(1) == [position]
    end = 10 * most
    reach = next(wanted for wanted in range(1, end) if shelf.last(wanted) is None) - 1
    assert most // 2 <= reach <= most
    assert shelf.last(reach) == list(range(end - reach, end))


def test_a_whole_log_is_known_to_be_whole(shelf: Shelf) -> None:
    shelf.append(0, 3)
    assert shelf.last(100) == [0, 1, 2]


def test_a_gap_begins_a_tail_anew(shelf: Shelf) -> None:
    shelf.append(0, 3)
    shelf.append(5, 2)
    assert shelf.last(2) == [5, 6]
    assert shelf.last(3) is None


def test_items_too_large_for_a_tail_are_left_to_the_disk(shelf: Shelf) -> None:
    shelf.append(0, size=100_000)
    assert shelf.last(1) is None
    shelf.append(1)
    assert shelf.last(1) == [1]
    assert shelf.last(2) is None


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(1, 70), st.sampled_from((1, 8, 900, 20_000))),
            st.tuples(st.just("pop"), st.integers(1, 70), st.just(0)),
            st.tuples(st.just("trim"), st.integers(1, 70), st.just(0)),
            st.tuples(st.just("delete"), st.just(0), st.just(0)),
        ),
        max_size=40,
    )
)
def test_a_tail_is_the_end_of_the_log(steps: list[tuple[str, int, int]]) -> None:
    shelf = Shelf(BYTES_MIN)
    log: list[int] = []
    end = 0
    for what, count, size in steps:
        if what == "append":
            shelf.append(end, count, first=log[0] if log else end, size=size)
            log += range(end, end + count)
            end += count
        elif what == "delete":
            shelf.cache.append(1, LOG, 0, 0, 0, 0, ())
            log, end = [], 0
        else:
            log = log[:-count] if what == "pop" else log[count:]
            end = (log[-1] + 1 if log else max(0, end - count)) if what == "pop" else end
            shelf.cache.cut(1, LOG, log[0] if log else end, end, 1)
        for wanted in (1, 5, 64, 10_000):
            found = shelf.last(wanted)
            assert found is None or found == log[-wanted:]


# -- books ----------------------------------------------------------------------------------------------------------


def test_the_books_balance(shelf: Shelf) -> None:
    shelf.put("k", b"\xc4\x03abc")
    shelf.put("gone")
    shelf.cache.drop(2, state_key("gone"))
    shelf.cache.put_absent(3, state_key("absent"))
    shelf.append(0, 2)
    books = shelf.cache.statistics()
    keys = sum(map(len, (state_key("k"), state_key("absent"), LOG)))
    assert (books["values"], books["absent"], books["tails"]) == (1, 1, 1)
    assert books["key_bytes"] == keys
    assert books["value_bytes"] == 5 + 2 * len(item(0))
    assert books["superseded_bytes"] > 0
    parts = (books["key_bytes"], books["value_bytes"], books["overhead_bytes"], books["superseded_bytes"])
    assert books["bytes"] == sum(parts)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from((0, 1, 9, 200, 5_000, -1, -2, -3))), max_size=200))
def test_the_books_follow_every_change(changes: list[tuple[str, int]]) -> None:
    """Held against a dict: values are never another's, and the sums are those of what is there."""
    shelf, kept = Shelf(BYTES_MIN), dict[str, bytes]()
    for seq, (name, size) in enumerate(changes, start=1):
        key = state_key(name)
        if size >= 0:
            kept[name] = msgspec.msgpack.encode(bytes([seq % 256]) * size)
            shelf.put(name, kept[name], seq=seq, expires_at=NOW_US + 1 if size == 9 else 0)
        elif size == -1:
            shelf.cache.put_absent(seq, key)
            kept[name] = b""
        elif size == -2:
            shelf.cache.touch(seq, key, NOW_US + seq, seq, False)
        else:
            shelf.cache.drop(seq, key)
            kept.pop(name, None)
        for each in "abcdef":
            found = shelf.get(each)
            assert found is None or found == kept[each]
    books: dict[str, Any] = dict(shelf.cache.statistics())
    there = {name: found for name in "abcdef" if (found := shelf.get(name)) is not None}
    assert books["values"] + books["absent"] == len(there)
    assert books["key_bytes"] == sum(len(state_key(name)) for name in there)
    assert books["value_bytes"] == sum(len(found) for found in there.values())


def test_clearing_forgets_everything(shelf: Shelf) -> None:
    for number in range(100):
        shelf.put(f"{number}")
    shelf.cache.clear(1)
    assert shelf.get("1") is None
    books = shelf.cache.statistics()
    assert (books["values"], books["key_bytes"], books["superseded_bytes"]) == (0, 0, 0)
    shelf.put("1", b"\x02", seq=2)
    assert shelf.get("1") == b"\x02"
