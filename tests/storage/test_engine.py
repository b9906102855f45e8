"""The engine's reads and writes, against a plain dict, and its refusals."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from recollectd.storage.engine import Engine, EngineClosed, EngineCorrupt, EngineFailed, EngineStalled
from recollectd.storage.engine_options import EngineOptions
from recollectd.storage.keyspace import APPLIED_KEY, DELETE, DELETE_RANGE, PUT, Family, Write, pack_number
from support.engines import MIB, OPTIONS, OpenEngine, rows


def test_get_many_keeps_the_order_and_says_none_for_what_is_missing(engine: Engine) -> None:
    engine.write([(PUT, Family.VALUES, b"a", b"1"), (PUT, Family.VALUES, b"b", b"")], 1)
    wanted = [b"b", b"missing", b"a", b"b"]
    expected = [b"", None, b"1", b""]
    assert engine.get_many(Family.VALUES, wanted) == expected
    engine.flush()
    assert engine.get_many(Family.VALUES, tuple(wanted)) == expected
    assert engine.get_many(Family.VALUES, []) == []


def test_families_are_apart(engine: Engine) -> None:
    engine.write([(PUT, family, b"key", family.name.encode()) for family in Family], 1)
    for family in Family:
        assert engine.get_many(family, [b"key"]) == [family.name.encode()]
    engine.write([(DELETE, Family.HEADS, b"key", b"")], 2)
    present = {family for family in Family if engine.get_many(family, [b"key"]) != [None]}
    assert present == set(Family) - {Family.HEADS}


def test_the_applied_number_is_written_with_the_batch(open_engine: OpenEngine) -> None:
    engine = open_engine()
    assert engine.applied_seq == 0
    engine.write([], 5)
    engine.write(rows(3), 9)
    assert engine.applied_seq == 9
    assert engine.get_many(Family.META, [APPLIED_KEY]) == [pack_number(9)]
    engine.close()
    assert open_engine().applied_seq == 9


def test_an_applied_row_of_another_size_is_damage(open_engine: OpenEngine) -> None:
    engine = open_engine()
    engine.write([], 1)
    engine._database.put(APPLIED_KEY, b"123", engine._write_options)
    engine.close()
    with pytest.raises(EngineCorrupt, match="3 bytes"):
        open_engine()


@pytest.mark.parametrize("flushed", [False, True])
def test_walk_keeps_to_its_bounds(engine: Engine, flushed: bool) -> None:
    engine.write([*rows(10), *rows(10, Family.INDEX)], 1)
    if flushed:
        engine.flush()
    keys = [b"%08d" % number for number in range(10)]

    def walk(start: bytes, stop: bytes, *, reverse: bool = False, keys_max: int = 100) -> list[bytes]:
        return [key for key, _ in engine.walk(Family.HEADS, start, stop, reverse=reverse, keys_max=keys_max)]

    assert walk(b"", b"\xff") == keys
    assert walk(b"", b"\xff", reverse=True) == keys[::-1]
    assert walk(keys[2], keys[5]) == keys[2:5]
    assert walk(keys[2], keys[5], reverse=True) == keys[4:1:-1]
    assert walk(keys[2], keys[5], keys_max=2) == keys[2:4]
    assert walk(keys[2], keys[5], keys_max=2, reverse=True) == [keys[4], keys[3]]
    assert walk(b"00000002x", b"00000003x") == [keys[3]]
    assert walk(b"00000002x", b"00000003x", reverse=True) == [keys[3]]
    assert walk(keys[5], keys[5]) == walk(keys[6], keys[5]) == walk(b"a", b"b") == []
    assert walk(keys[5], keys[5], reverse=True) == walk(b"a", b"b", reverse=True) == []


def test_walk_ends_after_bytes_max_and_always_makes_progress(engine: Engine) -> None:
    engine.write(rows(10, value=b"v" * 92), 1)  # 100 bytes a row
    for bytes_max, count in [(1, 1), (100, 1), (101, 2), (300, 3), (10_000, 10)]:
        assert len(engine.walk(Family.HEADS, b"", b"\xff", keys_max=100, bytes_max=bytes_max)) == count


def test_random_changes_leave_what_a_dict_would_hold(open_engine: OpenEngine) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    engine = open_engine()
    model: dict[Family, dict[bytes, bytes]] = {family: {} for family in Family}
    keys = [bytes((kind, number)) for kind in range(1, 4) for number in range(60)]

    def some_write() -> Write:
        family, key = chance.choice(list(Family)), chance.choice(keys)
        kind = chance.choices((PUT, DELETE, DELETE_RANGE), (80, 15, 5))[0]
        held = model[family]
        if kind == PUT:
            held[key] = chance.randbytes(chance.randrange(40))
            return PUT, family, key, held[key]
        if kind == DELETE:
            held.pop(key, None)
            return DELETE, family, key, b""
        stop = key + bytes((chance.randrange(1, 9),)) if chance.random() < 0.5 else bytes((key[0], 255))
        for covered in [other for other in held if key <= other < stop]:
            del held[covered]
        return DELETE_RANGE, family, key, stop

    for seq in range(1, 201):
        engine.write([some_write() for _ in range(chance.randrange(30))], seq)
        action = chance.choices((None, engine.flush, engine.compact, "reopen"), (80, 12, 3, 5))[0]
        if action == "reopen":
            engine.close()
            engine = open_engine()
        elif callable(action):
            action()
        family = chance.choice(list(Family))
        start, stop = sorted(chance.sample(keys, 2))
        reverse, keys_max = chance.random() < 0.5, chance.choice((1, 7, 1000))
        expected = sorted(((k, v) for k, v in model[family].items() if start <= k < stop), reverse=reverse)
        assert engine.walk(family, start, stop, reverse=reverse, keys_max=keys_max) == expected[:keys_max]
        assert engine.get_many(family, keys) == [model[family].get(key) for key in keys]
    assert engine.applied_seq == 200


def test_a_large_value_survives_flush_and_compaction(open_engine: OpenEngine) -> None:
    large = random.Random(1).randbytes(8 * MIB)
    engine = open_engine()
    engine.write([(PUT, Family.VALUES, b"large", large), (PUT, Family.VALUES, b"small", b"s")], 1)
    engine.compact()
    assert engine.statistics()["large_values_bytes"] >= len(large)
    engine.close()
    engine = open_engine()
    assert engine.get_many(Family.VALUES, [b"large", b"small"]) == [large, b"s"]


def test_a_reversed_range_never_reaches_rocksdb(engine: Engine) -> None:
    for stop in (b"a", b"b"):
        with pytest.raises(AssertionError):
            engine.write([(PUT, Family.HEADS, b"x", b""), (DELETE_RANGE, Family.HEADS, b"b", stop)], 1)
    engine.write([(DELETE_RANGE, Family.HEADS, b"a", b"b")], 1)
    assert engine.get_many(Family.HEADS, [b"x"]) == [None]


def test_a_store_is_neither_made_over_another_nor_opened_where_none_is(open_engine: OpenEngine, records: Path) -> None:
    with pytest.raises(EngineCorrupt, match="CURRENT"):
        Engine.open(records, OPTIONS)
    assert not records.exists()
    engine = open_engine()
    engine.write(rows(1), 1)
    engine.close()
    with pytest.raises(EngineFailed, match="not empty"):
        Engine.open(records, OPTIONS, create=True)
    assert open_engine().get_many(Family.HEADS, [b"%08d" % 0]) == [b"value 0"]


def test_a_second_opener_is_refused(engine: Engine, records: Path) -> None:
    with pytest.raises(EngineFailed, match="lock"):
        Engine.open(records, OPTIONS)
    engine.write([], 1)


def test_a_reopened_store_has_the_options_given_and_not_those_stored(open_engine: OpenEngine) -> None:
    engine = open_engine()
    engine.write(rows(10), 1)
    engine.close()
    for cache_bytes in (8 * MIB, 32 * MIB):
        engine = open_engine(EngineOptions(cache_bytes, 4 * MIB))
        engine.get_many(Family.HEADS, [b"%08d" % 1])
        figures = engine.statistics()
        assert figures["block_cache_capacity_bytes"] == cache_bytes
        assert figures["block_cache_hits"] + figures["block_cache_misses"] > 0, "the family uses another cache"
        assert 0 < figures["block_cache_bytes"] <= cache_bytes
        for family in engine._families:
            assert family.property_int_value("rocksdb.block-cache-capacity") == cache_bytes
        engine.close()


@pytest.mark.parametrize(
    "sizes", [(1 * MIB, MIB), (8 * MIB, 5 * MIB), (8 * MIB, MIB - 1)], ids=["cache", "memtables", "too small"]
)
def test_sizes_that_do_not_fit_are_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="bytes must be at least"):
        EngineOptions(*sizes)


def test_statistics_follow_what_is_stored(engine: Engine) -> None:
    before = engine.statistics()
    engine.write(rows(20_000, Family.VALUES, b"v" * 100), 3)
    written = engine.statistics()
    assert written["memtable_bytes"] > before["memtable_bytes"] + 2_000_000
    engine.flush()
    flushed = engine.statistics()
    assert flushed["memtable_bytes"] < written["memtable_bytes"]
    assert flushed["files_bytes"] > before["files_bytes"]
    assert flushed["flushed_bytes"] > 0
    assert sum(flushed[f"files_level_{level}"] for level in range(7)) >= 2
    assert flushed["applied_seq"] == 3
    engine.compact()
    compacted = engine.statistics()
    assert compacted["files_level_0"] == 0
    assert compacted["files_level_6"] >= 2
    assert compacted["keys_estimated"] == 20_001
    for name in ("pending_compaction_bytes", "writes_stopped", "stalled_writes", "background_errors"):
        assert compacted[name] == 0, name


def test_a_checkpoint_is_a_store_of_its_own(open_engine: OpenEngine, tmp_path: Path) -> None:
    engine = open_engine()
    engine.write(rows(5), 1)
    assert engine.checkpoint(tmp_path / "copy") == 1
    engine.write([(DELETE_RANGE, Family.HEADS, b"0", b"1")], 2)
    with pytest.raises(EngineFailed, match="exists"):
        engine.checkpoint(tmp_path / "copy")
    engine.close()
    copy = open_engine(path=tmp_path / "copy")
    assert copy.applied_seq == 1
    assert copy.get_many(Family.HEADS, [b"%08d" % 4]) == [b"value 4"]


def test_a_closed_engine_says_so(engine: Engine, tmp_path: Path) -> None:
    engine.close()
    engine.close()
    for use in (
        lambda: engine.get_many(Family.HEADS, [b"a"]),
        lambda: engine.walk(Family.HEADS, b"a", b"b", keys_max=1),
        lambda: engine.write([], 1),
        engine.flush,
        engine.compact,
        engine.statistics,
        lambda: engine.checkpoint(tmp_path / "copy"),
    ):
        with pytest.raises(EngineClosed):
            use()


def test_a_stalled_write_writes_nothing_and_works_later(open_engine: OpenEngine) -> None:
    # Flushes may write next to nothing a second: what waits for them soon is as much as may wait.
    engine = open_engine(EngineOptions(8 * MIB, MIB, compaction_bytes_per_s=4 * MIB))
    seq, stalled = 0, None
    while stalled is None:
        writes = [(PUT, Family.VALUES, b"%d-%d" % (seq, number), random.randbytes(4000)) for number in range(100)]
        try:
            engine.write(writes, seq + 1)
            seq += 1
        except EngineStalled as error:
            stalled = error
        assert seq < 50, "never stalls"
    assert "Write stall" in str(stalled)
    assert engine.applied_seq == seq
    assert engine.get_many(Family.META, [APPLIED_KEY]) == [pack_number(seq)]
    assert engine.get_many(Family.VALUES, [key for _, _, key, _ in writes]) == [None] * 100
    assert engine.statistics()["stalled_writes"] == 1
    engine.flush()  # waits until what is before it is flushed
    engine.write(writes, seq + 1)
    assert engine.get_many(Family.VALUES, [key for _, _, key, _ in writes]) == [value for *_, value in writes]
    assert engine.flush() == seq + 1
