"""Logs: contiguous positions, pages both ways, what is taken away is gone, and its positions are as documented."""

from __future__ import annotations

from typing import Any

import pytest

from memory.asking import NS, append, log_read, plain, raw
from memory.harness import SECOND, START, Store, finish, operation_of
from recollectd.memory.kind import Stale
from recollectd.memory.logs import entries
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import logs
from recollectd.protocol.messages.connection import Deleted
from recollectd.protocol.messages.state import Absent
from recollectd.storage.keyspace import Family


@pytest.fixture
def store() -> Store:
    """A log of ten items, one a second."""
    store = Store()
    for index in range(10):
        store.write(append("l", index))
        store.now += SECOND
    return store


def items(store: Store, log_id: str = "l", **fields: Any) -> list[tuple[int, Any]]:
    return [(item.position, plain(item.value)) for item in store.read(log_read(log_id, **fields)).items]


def same(*positions: int) -> list[tuple[int, int]]:
    return [(position, position) for position in positions]


def head(store: Store, log_id: str = "l", ns: tuple[str, ...] = NS) -> Any:
    return store.read(logs.LogHead(ns, log_id))


def truncate(log_id: str, before: int | None = None, after: int | None = None) -> logs.LogTruncate:
    return logs.LogTruncate(NS, log_id, before, after)


def test_items_get_contiguous_positions() -> None:
    store = Store()
    assert store.write(append("l", "a", "b")) == logs.LogAppended(0, 2, START)
    store.now += SECOND
    assert store.write(append("l", "c")) == logs.LogAppended(2, 3, START + SECOND)
    page = store.read(log_read("l"))
    assert page == logs.LogPage(
        (logs.LogItem(0, START, raw("a")), logs.LogItem(1, START, raw("b")), logs.LogItem(2, START + SECOND, raw("c"))),
        first=0,
        next=3,
        revision=2,
    )
    assert head(store) == logs.LogInfo("l", 0, 3, START, START + SECOND, 2)
    assert store.read(log_read("never")) == logs.LogPage((), 0, 0, 0)
    assert head(store, "never") == Absent()
    store.check_replay()


@pytest.mark.parametrize("applied", [True, False], ids=["applied", "sequenced only"])
def test_appending_if_next(applied: bool) -> None:
    store = Store()

    def won(*values: object, if_next: int) -> bool:
        sequenced = store.sequence(append("l", *values, if_next=if_next))
        if applied:
            store.apply()
        return bool(sequenced.commit.events)

    assert not won("x", if_next=1)
    assert won("a", "b", if_next=0)
    assert not won("x", if_next=0)
    assert won("c", if_next=2)
    assert not won("x", if_next=2)
    store.apply()
    assert [value for _, value in items(store)] == ["a", "b", "c"]
    with pytest.raises(errors.VersionConflict, match="next position is 3") as refused:
        store.write(append("l", "x", if_next=9))
    assert refused.value.field == "if_next"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, range(10)),
        ({"limit": 3}, range(3)),
        ({"start": 4, "limit": 3}, range(4, 7)),
        ({"start": 8, "limit": 3}, range(8, 10)),
        ({"start": 10}, ()),
        ({"start": 2**63}, ()),
        ({"before": 4, "limit": 3}, range(1, 4)),
        ({"before": 2, "limit": 3}, range(2)),
        ({"before": 0}, ()),
        ({"before": 99, "limit": 2}, range(8, 10)),
        ({"last": 3}, range(7, 10)),
        ({"last": 99}, range(10)),
        ({"last": 8, "limit": 2}, range(8, 10)),
        ({"since": START + 7 * SECOND}, range(7, 10)),
        ({"since": START + 7 * SECOND + 1}, range(8, 10)),
        ({"since": START - 1}, range(10)),
        ({"since": START + 100 * SECOND}, ()),
        ({"since": START + 2 * SECOND, "limit": 2}, range(2, 4)),
    ],
    ids=str,
)
def test_pages(store: Store, fields: dict[str, Any], expected: Any) -> None:
    assert items(store, **fields) == same(*expected)


def test_only_one_way_to_say_where(store: Store) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        items(store, start=1, last=2)
    assert refused.value.field == "last"


def test_items_of_one_time_are_found_together() -> None:
    store = Store()
    for count in (3, 1, 4):
        for index in range(count):
            store.write(append("l", index))
        store.now += 1
    assert len(items(store, since=START)) == 8
    assert len(items(store, since=START + 1)) == 5
    assert len(items(store, since=START + 2)) == 4
    assert len(items(store, since=START + 3)) == 0


@pytest.mark.parametrize("step", [1, 3, 256])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_page_ends_after_so_many_bytes(monkeypatch: pytest.MonkeyPatch, step: int, backwards: bool) -> None:
    monkeypatch.setattr(limits, "PAGE_BYTES_MAX", 1_000)
    monkeypatch.setattr(entries, "_STEP", step)
    store = Store()
    for index in range(10):
        store.write(append("l", f"{index}" + "x" * 300))
    read: list[str] = []
    sizes: list[int] = []
    place: int | None = None
    while len(read) < 10:
        if backwards:
            page = store.read(log_read("l", before=place) if place is not None else log_read("l", last=100))
            read[:0] = [plain(item.value)[0] for item in page.items]
            place = page.items[0].position
        else:
            page = store.read(log_read("l", start=place))
            read += [plain(item.value)[0] for item in page.items]
            place = page.items[-1].position + 1
        sizes.append(len(page.items))
    assert read == [str(index) for index in range(10)]
    assert sizes == [4, 4, 2]


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        (3, None, range(3, 10)),
        (None, 7, range(7)),
        (3, 7, range(3, 7)),
        (5, 5, ()),
        (0, 99, range(10)),
        (10, None, ()),
        (99, None, ()),
        (None, 0, ()),
    ],
)
def test_truncating_on_either_side(store: Store, before: int | None, after: int | None, kept: Any) -> None:
    info = store.write(truncate("l", before, after))
    assert items(store) == same(*kept)
    assert info == head(store)
    assert store.engine.count(Family.ENTRIES) == len(kept)
    if before is not None and after is None:
        assert info.next == 10, "positions before a cut are not given again"
    if after is not None and before is None:
        assert info.next == min(after, 10), "positions behind a cut are"
    first = store.write(append("l", "new")).first
    assert items(store) == [*same(*kept), (first, "new")]
    store.check_replay()


def test_truncating_what_was_truncated(store: Store) -> None:
    store.write(truncate("l", 5))
    revision = head(store).revision
    assert store.write(truncate("l", 3)).revision == revision, "nothing changed"
    assert store.write(truncate("l", None, 10)).revision == revision
    assert store.write(truncate("l", None, 3)).next == 5, "all of it went"
    assert items(store) == []
    with pytest.raises(errors.NotFound):
        store.write(truncate("never", 1))
    for request, field in ((truncate("l"), "before"), (truncate("l", 4, 3), "after")):
        with pytest.raises(errors.InvalidArgument) as refused:
            store.write(request)
        assert refused.value.field == field
    store.check_replay()


def test_popping(store: Store) -> None:
    page = store.write(logs.LogPopLast(NS, "l", 3))
    assert [plain(item.value) for item in page.items] == [7, 8, 9]
    assert (page.first, page.next) == (0, 7)
    assert [item.stored_at for item in page.items] == [START + index * SECOND for index in (7, 8, 9)]
    assert store.write(append("l", "new")).first == 7
    assert [plain(item.value) for item in store.write(logs.LogPopLast(NS, "l")).items] == ["new"]
    assert len(store.write(logs.LogPopLast(NS, "l", 99)).items) == 7
    assert store.write(logs.LogPopLast(NS, "l")).items == ()
    assert (head(store).first, head(store).next) == (0, 0)
    assert store.write(logs.LogPopLast(NS, "never")) == logs.LogPage((), 0, 0, 0)
    assert store.engine.count(Family.ENTRIES) == 0
    store.check_replay()


def test_popping_takes_what_a_page_holds(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAGE_BYTES_MAX", 20)
    page = store.write(logs.LogPopLast(NS, "l", 5))
    assert [plain(item.value) for item in page.items] == [7, 8, 9]
    assert items(store, last=99) == same(4, 5, 6)


def test_popping_what_changed_meanwhile_is_prepared_again(store: Store) -> None:
    """Between reading the items and sequencing there was an append: the items read are not the last any more."""
    operation = operation_of(logs.LogPopLast(NS, "l"))
    store.prepare(operation)
    store.sequence(append("l", "newer"))
    with pytest.raises(Stale):
        store.sequence_prepared(operation)
    assert len(store.waiting) == 1
    sequenced = store.sequence(operation)
    assert b"newer" in sequenced.commit.reply
    store.apply()
    assert items(store) == same(*range(10))


@pytest.mark.parametrize("step", [0, 1])
def test_popping_while_items_go_away(store: Store, step: int) -> None:
    operation = operation_of(logs.LogPopLast(NS, "l", 2))

    def overtake(at: int) -> None:
        if at == step:
            store.write(truncate("l", None, 9))

    finish(operation.prepare(store.view()), store.engine, before=overtake)
    if step == 0:
        store.sequence_prepared(operation)
    else:
        with pytest.raises(Stale):
            store.sequence_prepared(operation)


def test_a_log_deleted_and_written_again_begins_anew(store: Store) -> None:
    assert store.write(logs.LogDelete(NS, "l")) == Deleted(1)
    assert store.write(logs.LogDelete(NS, "l")) == Deleted(0)
    assert head(store) == Absent()
    assert store.engine.count(Family.ENTRIES) == store.engine.count(Family.HEADS) == 0
    store.now += SECOND
    assert store.write(append("l", "anew")) == logs.LogAppended(0, 1, store.now)
    assert items(store) == [(0, "anew")]
    assert head(store).created_at == store.now
    store.check_replay()


def test_a_reader_never_mixes_two_lives_of_a_log(store: Store) -> None:
    """The log is deleted and written again between the reads of head and items: all is read again."""

    def overtake(step: int) -> None:
        if step == 1:
            store.write(logs.LogDelete(NS, "l"))
            store.write(append("l", *"abcdefghijkl"))

    page = store.read(log_read("l"), before=overtake)
    assert [plain(item.value) for item in page.items] == list("abcdefghijkl")
    assert page.next == 12


def test_a_reader_meets_appends_half_way(store: Store) -> None:
    def overtake(step: int) -> None:
        store.write(append("l", "more"))

    page = store.read(log_read("l"), before=overtake)
    assert [plain(item.value) for item in page.items] == [*range(10), "more"]
    assert page.next == 11, "what the head said when it was read"


def test_a_log_rewritten_all_the_time_is_busy(store: Store) -> None:
    def overtake(step: int) -> None:
        store.write(logs.LogPopLast(NS, "l"))
        store.write(append("l", "again"))

    with pytest.raises(errors.Busy):
        store.read(log_read("l"), before=overtake)


def test_listing_logs_by_id() -> None:
    store = Store()
    names = ["a", "a\0", "b", "b:1", "b:2", "ü"]
    for name in reversed(names):
        store.write(append(name, 1))
    listed: list[str] = []
    cursor = b""
    while not listed or cursor:
        page = store.read(logs.LogList(NS, limit=2, cursor=cursor))
        listed += [info.log_id for info in page.logs]
        cursor = page.cursor
    assert listed == names
    assert [info.log_id for info in store.read(logs.LogList(NS, "b:")).logs] == ["b:1", "b:2"]


def test_a_logs_neighbours_keep_their_items(store: Store) -> None:
    for name in ("l\0", "l\0\0", "\0l", "k", "m"):
        store.write(append(name, *range(20)))
    store.write(truncate("l\0", 15))
    store.write(logs.LogDelete(NS, "l"))
    assert items(store, "l\0") == same(*range(15, 20))
    for name in ("l\0\0", "\0l", "k", "m"):
        assert items(store, name) == same(*range(20))
    store.check_replay()


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (append("l"), "items"),
        (append(""), "log_id"),
        (append("l", 1, b"x" * limits.VALUE_BYTES_MAX), "items[1]"),
        (logs.LogCopy(NS, "l", NS, ""), "target_id"),
        (logs.LogCopy(NS, "l", (), "x"), "target_namespace"),
        (logs.LogCopy(NS, "l", ("a", ""), "x"), "target_namespace[1]"),
        (append("l", 1, ns=("",)), "namespace[0]"),
    ],
)
def test_what_is_out_of_bounds_is_refused_by_name(store: Store, request_: Any, field: str) -> None:
    before = len(store.journal)
    with pytest.raises(errors.RecollectdError) as refused:
        store.write(request_)
    assert refused.value.field == field
    assert len(store.journal) == before
