"""State records: versions, guards, values; what is written is what is read."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from memory.asking import NS, delete, get, history, key_of, plain, put, put_many, raw, touch
from memory.harness import SECOND, START, Store
from recollectd.memory.state.writes import Put
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import state
from recollectd.protocol.messages.connection import Deleted
from recollectd.protocol.messages.fields import NIL, Write
from recollectd.protocol.messages.state import Absent, StateStored
from recollectd.storage.keyspace import Family


@pytest.fixture
def store() -> Store:
    return Store()


def test_versions_count_from_one_and_creation_stays(store: Store) -> None:
    first = store.write(put("a", 1))
    store.now += SECOND
    second = store.write(put("a", 2))
    assert first == StateStored(1, START, START, None)
    assert second == StateStored(2, START, START + SECOND, None)
    record = store.read(get("a"))
    assert record == state.StateRecord("a", raw(2), 2, START, START + SECOND, None, revision=2)
    assert store.read(get("b")) == Absent()
    store.check_replay()


def test_a_deletion_is_a_version_and_what_comes_after_is_created_anew(store: Store) -> None:
    store.write(put("a", 1))
    store.now += SECOND
    assert store.write(delete("a")) == Deleted(1)
    assert store.read(get("a")) == Absent()
    assert store.write(delete("a")) == Deleted(0)
    store.now += SECOND
    again = store.write(put("a", 3))
    assert again == StateStored(3, START + 2 * SECOND, START + 2 * SECOND, None)
    versions = store.read(history("a")).versions
    assert [(each.version, plain(each.value), each.deleted) for each in versions] == [
        (3, 3, False),
        (2, None, True),
        (1, 1, False),
    ]
    assert store.read(get("a", version=2)) == Absent()
    assert store.read(get("a", version=1)).created_at == START
    store.check_replay()


@pytest.mark.parametrize("applied", [True, False], ids=["applied", "sequenced only"])
def test_guards_see_what_is_sequenced(store: Store, applied: bool) -> None:
    """A guard against committed state only would let two writes both win."""

    def write(request: Any) -> Any:
        sequenced = store.sequence(request)
        if applied:
            store.apply()
        return msgspec.msgpack.decode(sequenced.commit.reply)[0]

    error, stored = 15, 16
    assert write(put("a", 1, if_version=0)) == stored
    assert write(put("a", 2, if_version=0)) == error
    assert write(put("a", 2, if_absent=True)) == error
    assert write(put("a", 2, if_version=2)) == error
    assert write(put("a", 2, if_version=1)) == stored
    assert write(delete("a", if_version=1)) == error
    assert write(delete("a", if_version=2)) == 6
    assert write(put("a", 3, if_version=3)) == error
    assert write(put("a", 3, if_absent=True, if_version=0)) == stored
    store.apply()
    assert store.read(get("a")).version == 4
    store.check_replay()


def test_a_refused_guard_says_what_was_found(store: Store) -> None:
    store.write(put("a", 1))
    with pytest.raises(errors.VersionConflict, match="expected version 7, found 1") as refused:
        store.write(put("a", 2, if_version=7))
    assert refused.value.field == "if_version"
    assert len(store.journal) == 2, "a refusal is a commit, so that a retry is refused alike"
    assert store.engine.count(Family.VALUES) == 1


@pytest.mark.parametrize("if_version", [0, None])
def test_deleting_nothing_is_no_change(store: Store, if_version: int | None) -> None:
    assert store.write(delete("a", if_version=if_version)) == Deleted(0)
    assert store.engine.count(Family.HEADS) == 0


def test_touch_moves_the_expiry_and_nothing_else(store: Store) -> None:
    store.write(put("a", 1))
    store.now += SECOND
    touched = store.write(touch("a", SECOND))
    assert touched == state.StateTouched(1, START + 2 * SECOND)
    record = store.read(get("a"))
    assert (record.version, record.updated_at, record.expires_at) == (1, START, START + 2 * SECOND)
    assert store.engine.count(Family.INDEX) == 1
    assert store.write(touch("a")) == state.StateTouched(1, None)
    assert store.engine.count(Family.INDEX) == 0
    with pytest.raises(errors.NotFound):
        store.write(touch("b", SECOND))
    store.check_replay()


def test_put_many_writes_all_or_none(store: Store) -> None:
    store.write(put("b", 0))
    reply = store.write(put_many({"a": 1, "b": 2}, ttl_us=SECOND, sliding=True))
    assert [stored.version for stored in reply.stored] == [1, 2]
    assert [record.expires_at for record in store.read(state.StateGetMany(NS, ("b", "a"))).records] == [
        START + SECOND
    ] * 2
    items = tuple(state.StateItem(key, raw(1)) for key in "xyx")
    with pytest.raises(errors.InvalidArgument, match="twice") as refused:
        store.write(state.StatePutMany(NS, items))
    assert refused.value.field == "items"
    with pytest.raises(errors.InvalidArgument):
        store.write(put_many({}))
    assert store.read(get("x")) == Absent()


def test_many_are_read_in_the_order_asked(store: Store) -> None:
    for key in "abc":
        store.write(put(key, key))
    store.write(delete("b"))
    records = store.read(state.StateGetMany(NS, ("c", "b", "a", "never", "c"))).records
    assert [record and record.key for record in records] == ["c", None, "a", None, "c"]
    assert store.read(state.StateGetValues(NS, ("c", "b", "a", "never", "c"))) == state.StateValues(
        (raw("c"), NIL, raw("a"), NIL, raw("c")), (1, 3)
    )


def test_many_end_after_so_many_bytes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAGE_BYTES_MAX", 1_000)
    for index in range(10):
        store.write(put(str(index), b"x" * 400))
    keys = [str(index) for index in range(10)]
    read: list[str] = []
    pages = 0
    while keys:
        records = store.read(state.StateGetMany(NS, tuple(keys))).records
        read += [record.key for record in records if record is not None]
        keys = keys[len(records) :]
        pages += 1
    assert read == [str(index) for index in range(10)]
    assert pages == 4
    page = store.read(state.StateGetValues(NS, ("none", *read)))
    assert page == state.StateValues((NIL, *(raw(b"x" * 400),) * 3), (0,))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**63),
        2**64 - 1,
        1.5,
        float("inf"),
        "",
        "text, 世界, \0",
        b"",
        b"\x00\xff" * 10,
        [],
        {},
        {"nested": [{"deep": [b"\xff"]}]},
        {1: "one", b"two": 2, None: 0},
        pytest.param(msgspec.msgpack.Ext(5, b"extended"), id="extension"),
        pytest.param([msgspec.msgpack.Ext(-128, b"")], id="extension inside"),
        {"list as key": {(1, 2): 3}},
    ],
    ids=repr,
)
def test_any_value_comes_back(store: Store, value: object) -> None:
    store.write(put("a", value))
    assert store.read(get("a")).value == raw(value)
    assert [each.value for each in store.read(history("a")).versions] == [raw(value)]
    store.check_replay()


def test_not_a_number_comes_back(store: Store) -> None:
    store.write(put("a", math.nan))
    assert math.isnan(plain(store.read(get("a")).value))


def test_a_timestamp_comes_back(store: Store) -> None:
    timestamp = Raw(b"\xd6\xff\x00\x00\x00\x01")
    store.write(state.StatePut(NS, "a", timestamp))
    assert store.read(get("a")).value == timestamp


def nested(depth: int) -> Raw:
    return Raw(b"\x91" * depth + b"\x01")


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (nested(limits.VALUE_DEPTH_MAX + 1), "deeper than 64"),
        (nested(5_000), "deeper than 64"),
        (Raw(b"\x81\x01" * 65 + b"\x01"), "deeper than 64"),
        (Raw(b"\x81" + bytes(nested(70)) + b"\x01"), "deeper than 64"),
        (Raw(b"\xa1\xff"), "not UTF-8"),
        (Raw(b"\x92\x01\xa2\xc3\x28"), "not UTF-8"),
        (Raw(b"\x81\xa1\xff\x01"), "not UTF-8"),
        (Raw(b"\xc1"), "no msgpack value"),
        (Raw(b"\x81\x80\x01"), "no msgpack value"),
        (Raw(b"\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff"), "no msgpack value"),
    ],
    ids=lambda each: each if isinstance(each, str) else bytes(each)[:6].hex(),
)
def test_values_that_are_none_are_refused_by_name(store: Store, value: Raw, error: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=error) as refused:
        Put(state.StatePut(NS, "a", value))
    assert refused.value.field == "value"


def test_a_value_may_be_as_deep_as_the_limit_says(store: Store) -> None:
    store.write(state.StatePut(NS, "a", nested(limits.VALUE_DEPTH_MAX)))
    assert store.read(get("a")).value == nested(limits.VALUE_DEPTH_MAX)


def test_a_value_may_be_as_large_as_the_limit_says(store: Store) -> None:
    largest = limits.VALUE_BYTES_MAX - 5
    store.write(put("a", b"x" * largest))
    with pytest.raises(errors.TooLarge) as refused:
        store.write(put("a", b"x" * (largest + 1)))
    assert refused.value.field == "value"
    assert store.read(get("a")).version == 1


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (put(""), "key"),
        (put("k" * (limits.KEY_BYTES_MAX + 1)), "key"),
        (put("a", ns=()), "namespace"),
        (put("a", ns=("a", "")), "namespace[1]"),
        (put("a", ns=("ü" * 65,)), "namespace[0]"),
        (put("a", ns=("a",) * 17), "namespace"),
        (put("a", sliding=True), "sliding"),
        (put("a", if_absent=True, if_version=3), "if_absent"),
        (put_many({"a": 1, "": 2}), "items[1].key"),
        (put_many({"a": 1}, sliding=True), "sliding"),
        (get("a", version=1, as_of=START), "as_of"),
        (get("a", version=0), "version"),
        (state.StateGetMany(NS, ()), "keys"),
        (state.StateGetMany(NS, ("a", "")), "keys[1]"),
        (state.StateGetValues(NS, ()), "keys"),
        (state.StateGetValues(NS, ("a", "")), "keys[1]"),
        (state.StateScan(NS, prefix="k" * 1_025), "prefix"),
        (state.StateScan(NS, pattern="k" * 1_025), "pattern"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_out_of_bounds_is_refused_by_name(store: Store, request_: Any, field: str) -> None:
    carry_out = store.write if isinstance(request_, Write) else store.read
    with pytest.raises(errors.InvalidArgument) as refused:
        carry_out(request_)
    assert refused.value.field == field
    assert not store.journal, "nothing of it reaches the journal"


@pytest.mark.parametrize(
    "key", ["k" * 1_024, "\0", "\0\0\0", "a\0", "a\0b", "\x7f", "\u0080", "\U0010ffff", "é", "e\u0301", "a\nb", "*"]
)
def test_any_key_is_a_key_of_its_own(store: Store, key: str) -> None:
    neighbours = {f"{key}\0", f"{key}x", f"\0{key}", key[:-1], "a", "b"} - {key, ""}
    neighbours = {each for each in neighbours if len(each.encode()) <= limits.KEY_BYTES_MAX}
    for each in sorted(neighbours):
        store.write(put(each, "neighbour"))
    for version in (1, 2, 3):
        store.write(put(key, version))
    assert [plain(each.value) for each in store.read(history(key)).versions] == [3, 2, 1]
    for each in sorted(neighbours):
        assert [plain(version.value) for version in store.read(history(each)).versions] == ["neighbour"]
    store.write(delete(key))
    assert all(store.read(get(each)) != Absent() for each in neighbours)
    assert key_of(key) in store.engine.families[Family.HEADS]
    store.check_replay()


def test_journal_time_never_goes_back(store: Store) -> None:
    store.write(put("a", 1))
    store.now -= 10 * SECOND
    assert store.write(put("a", 2)).updated_at == START
